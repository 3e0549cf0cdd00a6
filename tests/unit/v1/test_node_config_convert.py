# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.


import pathlib
import stat

from tests.unit import base

ARGV = ('gpu', 'node', 'config', 'convert')
OLD = '[DEFAULT]\npci_passthrough_whitelist = {"vendor_id": "10de"}\n'
NEW = '[DEFAULT]\n\n[pci]\ndevice_spec = {"vendor_id": "10de"}\n'


class TestConvert(base.TestCase):
    def setUp(self):
        super().setUp()
        self.old = pathlib.Path.home() / 'nova.conf'
        self.old.write_text(OLD)
        self.new = pathlib.Path.home() / 'new.conf'

    def test_list(self):
        rows = self.table(*ARGV, '--from', str(self.old))
        self.assertEqual(
            {
                'Line': 2,
                'Old': '[DEFAULT] pci_passthrough_whitelist',
                'New': '[pci] device_spec',
                'Behaviour': '',
            },
            rows[0],
        )
        self.assertEqual([2, None, None, None], [row['Line'] for row in rows])
        self.assertEqual([], self.cloud.request_history)
        text = self.ok(*ARGV, '--from', str(self.old)).stdout
        self.assertNotIn('None', text)

    def test_output(self):
        self.ok(*ARGV, '--from', str(self.old), '--output', str(self.new))
        self.assertEqual(NEW, self.new.read_text())
        self.assertEqual(0o600, stat.S_IMODE(self.new.stat().st_mode))
        rows = self.table(*ARGV, '--from', str(self.new))
        self.assertEqual([None] * 3, [row['Line'] for row in rows])

    def test_nothing_is_overwritten(self):
        for path in (self.old, pathlib.Path.home()):
            line = self.fails(
                *ARGV, '--from', str(self.old), '--output', str(path)
            )
            self.assertEqual(f'--output {path}: File exists', line)
        self.assertEqual(OLD, self.old.read_text())

    def test_bad_file(self):
        for data, words in (
            (b'\xff\xfe[DEFAULT]', 'is no text'),
            (b'\x7fELF\0', 'no section'),
            (b'[DEFAULT]\npci_alias = {\n', 'line 2: [DEFAULT] pci_alias: it'),
        ):
            self.old.write_bytes(data)
            line = self.fails(
                *ARGV, '--from', str(self.old), '--output', str(self.new)
            )
            self.assertIn(words, line)
            self.assertEqual(1, len(line.splitlines()))
            self.assertFalse(self.new.exists())

    def test_large_file(self):
        with self.old.open('wb') as file:
            file.truncate(17 * 1024 * 1024)
        self.assertIn('16 MiB', self.fails(*ARGV, '--from', str(self.old)))
