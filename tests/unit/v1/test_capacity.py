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

from unittest import mock

from osc_gpu.cloud import aliases
from tests.unit import fake_cloud

A100 = fake_cloud.A100
V100 = 'CUSTOM_PCI_10DE_1DB6'
ALIAS = 'pci_passthrough:alias'


class TestCase(fake_cloud.TestCase):
    def setUp(self):
        super().setUp()
        sizes = {'VCPU': 64, 'MEMORY_MB': 65536, 'DISK_GB': 1000}
        self.one = self.add_host('gpu1', **sizes)
        self.two = self.add_host('gpu2', **sizes)
        patcher = mock.patch.object(aliases, 'probe_all', autospec=True)
        self.probe_all = patcher.start()
        self.addCleanup(patcher.stop)
        self.probe_all.return_value = {}

    def list(self, *argv):
        return self.rows('gpu', 'capacity', 'list', *argv)

    def rows(self, *argv):
        return self.table(*argv)

    def show(self, *argv):
        return self.table('gpu', 'capacity', 'show', *argv)


class TestList(TestCase):
    def test_rows(self):
        self.add_vgpus(self.one, 3, 2)
        self.add_vgpus(self.two, 4)
        self.nova.add('v1', {'resources:VGPU': '1'})
        self.nova.add('big', {'resources:VGPU': '1'}, ram=65536)
        self.nova.add('huge', {'resources:VGPU': '1'}, ram=65537)
        self.nova.add('cpu')
        result = self.openstack('gpu', 'capacity', 'list')
        self.assertEqual('', result.stderr)
        columns = [
            'Flavor',
            'GPU Request',
            'Fits',
            'Hosts',
            'Free GPUs',
            'Blocked By',
        ]
        self.assertEqual(
            [
                ['big', 'VGPU:1', 2, 2, 9, ''],
                ['huge', 'VGPU:1', 0, 0, 9, 'RAM on 2 hosts'],
                ['v1', 'VGPU:1', 9, 2, 9, ''],
            ],
            [list(row.values()) for row in self.list()],
        )
        self.assertEqual(columns, list(self.list()[0]))

    def test_requests(self):
        self.add_vgpus(self.one, 3)
        for n in range(5):
            self.nova.add(f'v{n}', {'resources:VGPU': '1'})
        self.list('--parallel', '1')
        having = 'GET /resource_providers?resources='
        self.assertEqual(
            [
                'GET /flavors/detail?is_public=None',
                'GET /resource_providers',
                'GET /allocation_candidates?resources=MEMORY_MB:1',
                'GET /os-hypervisors/detail',
                f'{having}DISK_GB:40',
                f'{having}MEMORY_MB:8192',
                f'{having}VCPU:4',
                f'{having}VGPU:1',
            ],
            self.requests,
        )

    def test_nothing_to_list(self):
        self.nova.add('cpu')
        self.assertEqual([], self.list())

    def test_flavors(self):
        self.add_vgpus(self.one, 3)
        for n in range(3):
            self.nova.add(f'v{n}', {'resources:VGPU': '1'})
        self.nova.add('cpu')
        rows = self.list(
            '--flavor', 'v2', '--flavor', 'id-v0', '--flavor', 'v2'
        )
        self.assertEqual(['v0', 'v2'], [row['Flavor'] for row in rows])
        self.assertIn(
            'nope could not be found',
            self.fails('gpu', 'capacity', 'list', '--flavor', 'nope'),
        )
        self.assertIn(
            'Flavor cpu requests no GPU.',
            self.fails('gpu', 'capacity', 'list', '--flavor', 'cpu'),
        )

    def test_host(self):
        self.add_vgpus(self.one, 3)
        self.add_vgpus(self.two, 4)
        self.nova.add('v1', {'resources:VGPU': '1'})
        (row,) = self.list('--host', 'gpu2')
        self.assertEqual(4, row['Fits'])
        self.assertIn(
            "No host named 'gpu3'",
            self.fails('gpu', 'capacity', 'list', '--host', 'gpu3'),
        )

    def test_malformed_alias(self):
        self.add_vgpus(self.one, 3)
        self.nova.add('bad', {ALIAS: 'a'})
        self.nova.add('none', {ALIAS: 'a:0'})
        (row,) = self.list()
        self.assertEqual(
            ['bad', '', 0, 0, 0, f'malformed {ALIAS}'], list(row.values())
        )
        (row,) = self.list('--flavor', 'bad')
        self.assertEqual('bad', row['Flavor'])
        self.assertEqual(f'malformed {ALIAS}', self.show('bad')['blocked_by'])
        self.assertIn(
            'none requests no GPU',
            self.fails('gpu', 'capacity', 'list', '--flavor', 'none'),
        )

    def test_class(self):
        self.add_vgpus(self.one, 3)
        self.add_vgpus(self.two, 4, resource_class='CUSTOM_BIG')
        self.nova.add('v1', {'resources:VGPU': '1'})
        self.nova.add('b1', {'resources:CUSTOM_BIG': '1'})
        (row,) = self.list('--resource-class', 'CUSTOM_BIG')
        self.assertEqual(('b1', 4), (row['Flavor'], row['Fits']))
        self.assertIn(
            'has CUSTOM_X.',
            self.fails(
                'gpu', 'capacity', 'list', '--resource-class', 'CUSTOM_X'
            ),
        )
        for text in ('nope', 'a=', '=VGPU', 'a=b', 'a:1=VGPU'):
            self.fails(
                'gpu', 'capacity', 'list', '--resource-class', text, status=2
            )

    def test_alias(self):
        self.add_cards(self.one, 2)
        self.add_cards(self.two, 3, V100)
        self.nova.add('a1', {ALIAS: 'a:1'})
        (row,) = self.list()
        self.assertEqual(['unknown'] * 3, list(row.values())[2:5])
        self.assertEqual(
            f'alias a may stand for {V100}, {A100}', row['Blocked By']
        )
        (row,) = self.list('--resource-class', f'a={V100}')
        self.assertEqual(3, row['Fits'])
        (row,) = self.list(
            '--resource-class', f'a={V100}', '--resource-class', V100
        )
        self.assertEqual(3, row['Fits'])
        self.assertEqual([], self.list('--resource-class', V100))

    def test_sorted_by_a_number_that_is_not_known(self):
        self.add_vgpus(self.one, 4, 6)
        self.nova.add('b1', {ALIAS: 'a:1'})
        self.nova.add('c1', {'resources:VGPU': '1'}, ram=1)
        self.nova.add('a11', {'resources:VGPU': '11'})
        rows = self.list('--sort-column', 'Fits')
        self.assertEqual(['unknown', 0, 10], [row['Fits'] for row in rows])
        rows = self.list('--sort-column', 'Fits', '--sort-descending')
        self.assertEqual([10, 0, 'unknown'], [row['Fits'] for row in rows])

    def test_what_is_assumed_and_what_lies_scattered(self):
        self.add_cards(self.one, 2)
        self.add_cards(self.two, 2)
        self.nova.add('a1', {ALIAS: 'a:1'})
        self.nova.add('a3', {ALIAS: 'a:3'})
        self.assertEqual(
            'Assumed, as it is the only class of PCI GPUs: alias a stands for '
            f'{A100}\n'
            f'4 {A100} free in all, at most 2 on one host; rules out: a3\n',
            self.openstack('gpu', 'capacity', 'list').stderr,
        )

    def test_alias_that_is_not_defined(self):
        self.add_cards(self.one, 2)
        self.nova.add('a1', {ALIAS: 'a:1'})
        self.probe_all.return_value = {'a': mock.Mock(defined=False)}
        result = self.openstack('gpu', 'capacity', 'list', '-f', 'value')
        self.assertEqual(
            ('a1 a:1 0 0 0 alias a not defined\n', ''),
            (result.stdout, result.stderr),
        )


class TestShow(TestCase):
    def test_fields(self):
        cards = self.add_cards(self.one, 3)
        self.add_cards(self.two, 2)
        specs = {ALIAS: 'a:1'}
        self.nova.add('a1', specs)
        self.nova.add('a3', {ALIAS: 'a:3'})
        self.add_server('s', specs, (cards[0], {A100: 1}))
        self.servers[next(iter(self.servers))]['flavor']['original_name'] = (
            'a1'
        )
        self.hypervisors[-1]['state'] = 'down'
        self.assertEqual(
            {
                'flavor': 'a1',
                'gpu_request': 'a:1',
                'resource_classes': {A100: 'learned'},
                'fits': 2,
                'hosts_that_fit': 1,
                'free_gpus': 2,
                'most_free_on_one_host': 2,
                'blocked_by': '',
                'without': [
                    {'term': A100, 'fits': 8, 'hosts': 1},
                    {'term': 'down', 'fits': 4, 'hosts': 2},
                ],
                'fragmentation': [
                    f'2 {A100} free in all, at most 2 on one host'
                ],
                'notes': [],
                'hosts': [
                    {'host': 'gpu1', 'fits': 2, 'limit': [A100]},
                    {'host': 'gpu2', 'fits': 0, 'limit': ['down']},
                ],
            },
            self.show('a1'),
        )
        result = self.openstack('gpu', 'capacity', 'show', 'a1')
        for line in (
            f'gpu1: 2 ({A100})',
            'gpu2: 0 (down)',
            f' {A100}: 8 on 1 host ',
            ' down: 4 on 2 hosts',
        ):
            self.assertIn(line, result.stdout)

    def test_host_of_which_it_is_not_known(self):
        self.add_vgpus(self.one, 2)
        self.nova.add(
            'p1', {'resources:VGPU': '1', 'hw:cpu_policy': 'dedicated'}
        )
        shown = self.show('p1')
        self.assertEqual('unknown', shown['fits'])
        self.assertIn('host gpu1 has no PCPU', shown['blocked_by'])
        self.assertEqual(
            [{'host': 'gpu1', 'fits': 'unknown', 'limit': ['PCPU']}],
            shown['hosts'],
        )

    def test_learned_from_another_flavor(self):
        cards = self.add_cards(self.one, 4)
        self.add_cards(self.two, 2, V100)
        self.nova.add('a1', {ALIAS: 'a:1'})
        self.nova.add('a2', {ALIAS: 'a:2'})
        self.nova.add('b1', {ALIAS: 'b:1'})
        server = self.add_server('s', {ALIAS: 'a:1'}, (cards[0], {A100: 1}))
        self.servers[server]['flavor']['original_name'] = 'a1'
        shown = self.show('a2')
        self.assertEqual(
            ({A100: 'learned'}, 1), (shown['resource_classes'], shown['fits'])
        )
        asked = [r for r in self.requests if '/servers/detail' in r]
        self.assertEqual(2, len(asked))
        (row,) = self.list('--flavor', 'a2')
        self.assertEqual(1, row['Fits'])

    def test_nothing_fits(self):
        (card,) = self.add_cards(self.one, 1)
        self.placement.stock(card, **{A100: (1, 1)})
        self.nova.add('a1', {ALIAS: 'a:1'})
        shown = self.show('a1', '--resource-class', A100)
        self.assertEqual('reserved on 1 host', shown['blocked_by'])
        self.assertEqual({A100: 'given'}, shown['resource_classes'])
        self.assertEqual(
            [{'term': 'reserved', 'fits': 1, 'hosts': 1}], shown['without']
        )
        self.assertIn(
            f'GET /resource_providers/{card}/inventories', self.requests
        )

    def test_unknown(self):
        self.nova.add('a1', {ALIAS: 'a:1'})
        shown = self.show('a1')
        self.assertEqual(['unknown'] * 4, list(shown.values())[3:7])
        self.assertEqual('no PCI devices in Placement', shown['blocked_by'])

    def test_refused(self):
        self.add_cards(self.one, 1)
        self.nova.add('cpu')
        self.nova.add('v1', {'resources:VGPU': '1'})
        self.nova.add('ab', {ALIAS: 'a:1,b:1'})
        for argv, said in (
            (['nope'], 'nope could not be found'),
            (['cpu'], 'Flavor cpu requests no GPU.'),
            (['v1', '--resource-class', A100], 'has 0 aliases'),
            (['ab', '--resource-class', A100], 'has 2 aliases'),
            (
                ['v1', '--resource-class', f'c={A100}'],
                'Flavor v1 does not request alias c.',
            ),
            (['ab', '--resource-class', f'a={V100}'], f'has {V100}.'),
        ):
            with self.subTest(argv):
                self.assertIn(
                    said, self.fails('gpu', 'capacity', 'show', *argv)
                )

    def test_class_that_only_the_user_calls_a_gpu(self):
        self.add_vgpus(self.one, 4, resource_class='CUSTOM_BIG')
        self.nova.add('b1', {'resources:CUSTOM_BIG': '2'})
        shown = self.show('b1', '--resource-class', 'CUSTOM_BIG')
        self.assertEqual(
            (2, {'CUSTOM_BIG': 'requested'}),
            (shown['fits'], shown['resource_classes']),
        )
