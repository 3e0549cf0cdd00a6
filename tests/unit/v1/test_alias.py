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

from osc_gpu.v1 import alias
from tests.unit import base
from tests.unit import fake_aliases
from tests.unit import fake_cloud

A100 = fake_cloud.A100
KEY = 'pci_passthrough:alias'


class TestCase(fake_cloud.TestCase):
    def setUp(self):
        super().setUp()
        self.aliases = fake_aliases.FakeAliases(self.nova, self.cloud)
        self.aliases.defined = {'a100'}
        root = self.add_host('gpu1')
        (card,) = self.add_cards(root, 1)
        self.nova.add('g1', {KEY: 'a100:1'})
        self.nova.add('g2', {KEY: 'nope:1,later:1'})
        self.add_server('s1', {KEY: 'a100:1'}, (card, {A100: 1}), host='gpu1')


class TestListAlias(TestCase):
    def test_json(self):
        self.assertEqual(
            [
                {
                    'Name': 'a100',
                    'Defined': 'yes',
                    'Resource Class': [A100],
                    'Models': ['NVIDIA GA100 [A100 PCIe 80GB]'],
                    'Flavors': ['g1'],
                    'Servers': 1,
                },
                {
                    'Name': 'later',
                    'Defined': 'unknown',
                    'Resource Class': 'unknown',
                    'Models': [],
                    'Flavors': ['g2'],
                    'Servers': 0,
                },
                {
                    'Name': 'nope',
                    'Defined': 'no',
                    'Resource Class': 'unknown',
                    'Models': [],
                    'Flavors': ['g2'],
                    'Servers': 0,
                },
            ],
            self.table('gpu', 'alias', 'list'),
        )

    def test_text(self):
        text = self.ok(
            'gpu', 'alias', 'list', '-f', 'value', '-c', 'Name', '-c',
            'Defined', '-c', 'Resource Class',
        ).stdout  # fmt: skip
        self.assertEqual(
            f"a100 yes ['{A100}']\nlater unknown unknown\nnope no unknown\n",
            text,
        )
        text = self.ok('gpu', 'alias', 'list').stdout
        self.assertIn(f'| a100  | yes     | {A100} | NVIDIA', text)

    def test_several_classes(self):
        column = alias.ClassesColumn(('A', 'B'))
        self.assertEqual('A, B', column.human_readable())
        self.assertEqual(['A', 'B'], column.machine_readable())

    def test_host(self):
        self.add_host('gpu2')
        rows = self.table('gpu', 'alias', 'list', '--host', 'gpu2')
        self.assertEqual([0, 0, 0], [row['Servers'] for row in rows])

    def test_unknown_host(self):
        line = self.fails('gpu', 'alias', 'list', '--host', 'gpu9')
        self.assertIn("No compute service host named 'gpu9'", line)
        self.assertEqual(1, len(line.splitlines()))

    def test_project(self):
        project = {'id': 'd' * 32, 'name': 'other', 'domain_id': 'default'}
        self.cloud.get(
            f'{base.AUTH_URL}/projects/other', json={'project': project}
        )
        rows = self.table('gpu', 'alias', 'list', '--project', 'other')
        self.assertEqual([0, 0, 0], [row['Servers'] for row in rows])

    def test_resource_class(self):
        rows = self.table('gpu', 'alias', 'list', '--resource-class', A100)
        self.assertEqual(['a100'], [row['Name'] for row in rows])

    def test_bad_options(self):
        for argv in (
            ('--parallel', '0'),
            ('--parallel', '11'),
            ('--resource-class', 'a100'),
        ):
            with self.subTest(argv=argv):
                self.fails('gpu', 'alias', 'list', *argv, status=2)
                self.assertEqual([], self.requests)

    def test_tenant(self):
        self.cloud.get(
            f'{base.COMPUTE}/servers/detail',
            status_code=403,
            json={
                'forbidden': {
                    'message': "Policy doesn't allow "
                    'os_compute_api:servers:detail:get_all_tenants to be '
                    'performed.'
                }
            },
        )
        line = self.fails('gpu', 'alias', 'list')
        self.assertIn(
            'You lack the right os_compute_api:servers:detail:get_all', line
        )
        self.assertNotIn('POST /servers', self.requests)

    def test_placement_is_down(self):
        self.cloud.get(f'{base.PLACEMENT}/resource_providers', status_code=503)
        line = self.fails('gpu', 'alias', 'list')
        self.assertEqual(1, len(line.splitlines()))
        self.assertNotIn('POST /servers', self.requests)


class TestShowAlias(TestCase):
    def show(self, name):
        return self.table('gpu', 'alias', 'show', name)

    def test_defined(self):
        self.assertEqual(
            {
                'name': 'a100',
                'defined': 'yes',
                'resource_classes': [A100],
                'models': ['NVIDIA GA100 [A100 PCIe 80GB]'],
                'flavors': ['g1'],
                'servers': 1,
                'detail': 'Nova knows it',
            },
            self.show('a100'),
        )
        self.assertEqual(1, self.requests.count('POST /servers'))

    def test_not_defined(self):
        found = self.show('nope')
        self.assertEqual('no', found['defined'])
        self.assertEqual('PCI alias nope is not defined', found['detail'])

    def test_unknown(self):
        found = self.show('later')
        self.assertEqual('unknown', found['defined'])
        self.assertIn('without nope', found['detail'])

    def test_nobody_names_it(self):
        for name in ('b', '', 'a100:1'):
            line = self.fails('gpu', 'alias', 'show', name)
            self.assertIn(f"No flavor names a PCI alias '{name}'", line)
            self.assertIn('Nova lists no aliases', line)
