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

from osc_gpu.node import facts
from osc_gpu.node import records
from tests.unit import fake_aliases
from tests.unit import fake_cloud
from tests.unit.node import machines

A100 = fake_cloud.A100
KEY = 'pci_passthrough:alias'
ARGV = ('gpu', 'node', 'config', 'compare')

NOVA_CONF = """\
[DEFAULT]
pci_alias = {"vendor_id": "10de", "product_id": "20b5", "name": "a100"}
[pci]
alias = {"vendor_id": "10DE", "product_id": "15f8", "name": "p100"}
report_in_placement = true
"""


class TestCompare(fake_cloud.TestCase):
    def setUp(self):
        super().setUp()
        self.aliases = fake_aliases.FakeAliases(self.nova, self.cloud)
        self.aliases.defined = {'a100'}
        root = self.add_host('gpu1')
        (card,) = self.add_cards(root, 1)
        self.nova.add('g1', {KEY: 'a100:1'})
        self.nova.add('g2', {KEY: 'p100:1'})
        self.add_server('s1', {KEY: 'a100:1'}, (card, {A100: 1}), host='gpu1')
        self.folder = pathlib.Path.home()
        self.conf = self.write('nova.conf', NOVA_CONF)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def node(self, name):
        tree = self.folder / name
        tree.mkdir()
        found = facts.read(machines.build(name, tree))
        return self.write(f'{name}.json', json.dumps(records.dump(found)))

    def compare(self, *argv, status=1):
        result = self.openstack(*ARGV, *argv, '-f', 'json')
        self.assertEqual((status, ''), (result.status, result.stderr))
        return [
            (row['Severity'], row['Check'], row['Subject'])
            for row in result.json
        ]

    def test_nova_conf(self):
        self.assertEqual(
            [
                ('error', 'alias-unknown', 'p100'),
                ('warning', 'class-missing', 'p100'),
            ],
            self.compare('--config', self.conf),
        )

    def test_requests(self):
        self.compare('--config', self.conf)
        asked = [request.partition('?')[0] for request in self.requests]
        self.assertEqual(
            [
                'GET /allocation_candidates',
                'GET /allocations/' + next(iter(self.servers)),
                'GET /flavors/detail',
                'GET /resource_providers',
                'GET /resource_providers',
                'GET /servers/detail',
                'GET /v2/images',
                'POST /servers',
                'POST /servers',
            ],
            sorted(asked),
        )

    def test_node(self):
        found = self.compare('--from', self.node('p100'), status=0)
        self.assertEqual(
            [('warning', 'host-unknown')], [row[:2] for row in found]
        )

    def test_nothing_is_asked_for_bad_files(self):
        for option, text, words in (
            ('--config', '[pci]\nalias = {\n', 'line 2: [pci] alias: '),
            ('--config', '[pci]\n', 'neither [pci] alias nor'),
            ('--config', '{}', 'no section'),
            ('--from', '{}', ''),
        ):
            with self.subTest(text):
                path = self.write('bad', text)
                line = self.fails(*ARGV, option, path)
                self.assertIn(f'{option} {path}: ', line)
                self.assertIn(words, line)
                self.assertEqual(1, len(line.splitlines()))
        self.assertEqual([], self.requests)

    def test_no_file(self):
        self.assertIn(
            'No such file', self.fails(*ARGV, '--config', '/does/not/exist')
        )

    def test_good(self):
        one = '"product_id": "20b5", "name": "a100"}\n'
        path = self.write('good.conf', NOVA_CONF.partition(one)[0] + one)
        self.assertEqual([], self.compare('--config', path, status=0))
