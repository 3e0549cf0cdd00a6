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

import os
import pathlib
import tempfile
import time
import unittest

import hypothesis
from hypothesis import strategies as st

from osc_gpu.node import facts
from osc_gpu.node import records
from osc_gpu.node import sources
from tests.unit.node import machines


class TestReadFile(unittest.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.file = self.folder / 'node'

    def refused(self, content):
        self.file.write_bytes(content)
        with self.assertRaises(ValueError) as caught:
            sources.read_file(self.file)
        return str(caught.exception)

    def test_json(self):
        node = facts.read(machines.build('a100-mig', self.folder / 'root'))
        for before in ('', '\ufeff', '\n  '):
            self.file.write_text(before + records.as_text(node))
            self.assertEqual(node, sources.read_file(self.file))

    def test_lspci(self):
        self.file.write_text('04:00.0 0302: 10de:102d (rev a1)\n')
        (gpu,) = sources.read_file(self.file).gpus
        self.assertEqual('10de:102d', gpu.function.ids)

    def test_binary(self):
        for content in (b'\x7fELF\0\0', b'\xff\xfe[\0', b'04:00.0\0', b'\x80'):
            self.assertIn(
                'is neither text of lspci nor', self.refused(content)
            )

    def test_huge(self):
        """It is refused without being read to its end."""
        with open(self.file, 'wb') as file:
            file.truncate(100 << 30)
        began = time.process_time()
        with self.assertRaisesRegex(ValueError, 'is larger than 16 MiB'):
            sources.read_file(self.file)
        self.assertLess(time.process_time() - began, 5)
        with self.assertRaisesRegex(ValueError, 'is larger than 16 MiB'):
            sources.read_file(pathlib.Path('/dev/zero'))

    def test_large_and_legitimate(self):
        line = '{:04x}:{:02x}:00.0 0302: 10de:102d (rev a1)\n'.format
        self.file.write_text(
            ''.join(line(n >> 8, n & 0xFF) for n in range(256, 1256))
        )
        self.assertEqual(1000, len(sources.read_file(self.file).gpus))

    def test_what_is_no_file(self):
        for path in (self.folder, self.folder / 'none'):
            with self.assertRaises(OSError):
                sources.read_file(path)

    def test_pipe(self):
        """As in --from <(ssh node lspci -nnk -D)."""
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        os.write(write, b'04:00.0 0302: 10de:102d\n')
        os.close(write)
        node = sources.read_file(pathlib.Path(f'/dev/fd/{read}'))
        self.assertEqual(1, len(node.gpus))

    @hypothesis.settings(deadline=None)
    @hypothesis.given(st.binary())
    def test_any_content(self, content):
        try:
            self.file.write_bytes(content)
            sources.read_file(self.file)
        except ValueError as exc:
            self.assertTrue(str(exc).isprintable(), exc)
