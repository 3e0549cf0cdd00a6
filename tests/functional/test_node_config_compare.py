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


import json
import pathlib
import tempfile

from tests.functional import shells

ALIAS = '{"vendor_id": "10de", "product_id": "%s", "name": "%s"}'


class TestCompare(shells.TestCase):
    """Nodes and files beside the sandbox's own Nova and Placement."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def compare(self, *argv):
        result = self.openstack(
            'gpu', 'node', 'config', 'compare', *argv, '-f', 'json'
        )
        return result.status, [
            (row['Check'], row['Subject']) for row in result.json
        ]

    def write(self, *lines):
        path = self.folder / 'nova.conf'
        path.write_text('\n'.join(('[DEFAULT]', *lines, '')))
        return str(path)

    def node(self, host, *cards):
        text = ''.join(
            f'{address} 3D controller [0302]: NVIDIA [10de:{product}]\n'
            for address, product in cards
        )
        listed = self.folder / 'lspci'
        listed.write_text(text)
        path = self.folder / 'node.json'
        path.write_text(
            json.dumps(
                self.table('gpu', 'node', 'show', '--from', str(listed))
                | {'hostname': host}
            )
        )
        return str(path)

    def test_novas_own_configuration(self):
        self.make_flavor('--alias', 'a100:1')
        conf = self.state / 'etc' / 'nova' / 'nova.conf'
        _status, found = self.compare('--config', str(conf))
        self.assertNotIn(('alias-unknown', 'a100'), found)
        self.assertNotIn(('alias-missing', 'a100'), found)
        self.assertNotIn('class-missing', dict(found))

    def test_alias_that_nova_does_not_know(self):
        name = self.name('nope')
        self.make_flavor('--alias', f'{name}:1')
        conf = self.write(f'pci_alias = {ALIAS % ("20b5", name)}')
        status, found = self.compare('--config', conf)
        self.assertEqual(1, status)
        self.assertIn(('alias-unknown', name), found)

    def test_node(self):
        cards = [
            (f'0000:{bus}:00.0', '20b5') for bus in ('20', '21', 'a0', 'a1')
        ]
        status, found = self.compare('--from', self.node('gpu1', *cards))
        self.assertEqual((0, []), (status, found))
        swapped = [('0000:20:00.0', '15f8'), *cards[2:]]
        status, found = self.compare('--from', self.node('gpu1', *swapped))
        self.assertEqual(1, status)
        self.assertEqual(
            [
                ('device-class', 'gpu1 0000:20:00.0'),
                ('device-gone', 'gpu1 0000:21:00.0'),
            ],
            found,
        )
