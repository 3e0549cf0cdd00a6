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


from tests.unit import base
from tests.unit import fake_cloud

A100 = fake_cloud.A100
COLUMNS = ['Host', 'Status', 'State', 'GPUs', 'Used', 'Free', 'Servers']
FIELDS = [
    'host',
    'status',
    'state',
    'gpus',
    'used',
    'free',
    'disabled_reason',
    'drain',
    'devices',
    'servers',
]
DRAIN = 'osc-gpu drain run 3fa2b1 since 2026-11-21T05:00:00Z'


class HostTestCase(fake_cloud.TestCase):
    """A host with cards, one with a vGPU card, one without."""

    def setUp(self) -> None:
        super().setUp()
        self.root = self.add_host('gpu1')
        self.cards = self.add_cards(self.root, 2)
        self.mdev = self.add_vgpus(self.add_host('vgpu1'), 4)[0]
        self.add_host('plain')
        self.train = self.add_server(
            'train',
            {'pci_passthrough:alias': 'a:1'},
            (self.cards[0], {A100: 1}),
            host='gpu1',
        )
        self.add_server('web', {}, host='gpu1', status='SHUTOFF')


class TestListHost(HostTestCase):
    def test_list(self) -> None:
        listed = self.table('gpu', 'host', 'list')
        self.assertEqual(COLUMNS, list(listed[0]))
        self.assertEqual(
            [
                ['gpu1', 'enabled', 'up', 2, 1, 1, 2],
                ['vgpu1', 'enabled', 'up', 4, 0, 4, 0],
            ],
            [list(row.values()) for row in listed],
        )

    def test_requests(self) -> None:
        self.ok('gpu', 'host', 'list')
        self.assertEqual(
            [
                'GET /resource_providers',
                'GET /allocation_candidates?resources=MEMORY_MB:1',
                'GET /os-hypervisors/detail?with_servers=True',
            ],
            self.requests,
        )
        self.assertEqual({'2.53'}, set(self.microversions('compute')))

    def test_all(self) -> None:
        listed = self.table('gpu', 'host', 'list', '--all')
        self.assertEqual(
            ['gpu1', 'plain', 'vgpu1'], [row['Host'] for row in listed]
        )
        self.assertEqual(
            ['plain', 'enabled', 'up', 0, 0, 0, 0], list(listed[1].values())
        )

    def test_state(self) -> None:
        self.hypervisors[0] |= {'state': 'down', 'status': 'disabled'}
        row = self.table('gpu', 'host', 'list')[0]
        self.assertEqual(('disabled', 'down'), (row['Status'], row['State']))

    def test_reserved(self) -> None:
        self.placement.stock(self.cards[1], **{A100: (1, 1)})
        row = self.table('gpu', 'host', 'list')[0]
        self.assertEqual((2, 1, 0), (row['GPUs'], row['Used'], row['Free']))

    def test_service_is_named_otherwise(self) -> None:
        self.hypervisors[0]['service']['host'] = 'compute-17'
        row = self.table('gpu', 'host', 'list')[0]
        self.assertEqual(('compute-17', 2), (row['Host'], row['GPUs']))

    def test_providers_of_no_hypervisor(self) -> None:
        del self.hypervisors[0]
        listed = self.table('gpu', 'host', 'list', '--all')
        self.assertEqual(['plain', 'vgpu1'], [row['Host'] for row in listed])

    def test_nothing(self) -> None:
        self.hypervisors.clear()
        self.assertEqual([], self.table('gpu', 'host', 'list'))

    def test_forbidden(self) -> None:
        self.cloud.get(
            f'{base.PLACEMENT}/resource_providers',
            status_code=403,
            json={'errors': [{'status': 403, 'detail': 'no rights'}]},
        )
        line = self.fails('gpu', 'host', 'list')
        self.assertEqual(1, len(line.splitlines()), line)


class TestShowHost(HostTestCase):
    def show(self, *argv: str):
        return self.table('gpu', 'host', 'show', *(argv or ('gpu1',)))

    def test_show(self) -> None:
        shown = self.show()
        self.assertEqual(FIELDS, list(shown))
        self.assertEqual(
            ['gpu1', 'enabled', 'up', 2, 1, 1, '', None],
            [shown[field] for field in FIELDS[:8]],
        )
        self.assertEqual(
            {
                'device': '0000:20:00.0',
                'model': 'NVIDIA GA100 [A100 PCIe 80GB]',
                'resource_class': A100,
                'total': 1,
                'reserved': 0,
                'used': 1,
                'free': 0,
            },
            shown['devices'][0],
        )
        self.assertEqual(
            {
                'id': self.train,
                'name': 'train',
                'status': 'ACTIVE',
                'gpu_request': 'a:1',
            },
            shown['servers'][0],
        )
        self.assertEqual(
            ['train', 'web'], [s['name'] for s in shown['servers']]
        )

    def test_requests(self) -> None:
        self.show()
        inventories = [
            f'GET /resource_providers/{card}/inventories'
            for card in self.cards
        ]
        self.assertEqual(
            [
                'GET /os-hypervisors/detail',
                'GET /resource_providers',
                'GET /allocation_candidates?resources=MEMORY_MB:1'
                f'&in_tree={self.root}',
                *inventories,
                'GET /servers/detail?host=gpu1&all_tenants=True',
            ],
            self.requests,
        )

    def test_as_people_read_it(self) -> None:
        self.placement.stock(self.cards[1], **{A100: (1, 1)})
        self.hypervisors[0]['service']['disabled_reason'] = f'{DRAIN}: fans'
        text = self.ok('gpu', 'host', 'show', 'gpu1').stdout
        for line in (
            f'0000:20:00.0 {A100}: 1 of 1 used ',
            f'0000:21:00.0 {A100}: 0 of 1 used, 1 reserved ',
            'train ACTIVE a:1 ',
            'web SHUTOFF ',
            'run 3fa2b1 since 2026-11-21T05:00:00Z: fans ',
        ):
            self.assertIn(f'| {line}', text)

    def test_drain(self) -> None:
        service = self.hypervisors[0]['service']
        service['disabled_reason'] = DRAIN
        shown = self.show()
        self.assertEqual(
            {
                'run': '3fa2b1',
                'since': '2026-11-21T05:00:00Z',
                'text': '',
                'was': None,
            },
            shown['drain'],
        )
        self.assertEqual(DRAIN, shown['disabled_reason'])
        service['disabled_reason'] = f'{DRAIN}; was disabled: bad RAM'
        self.assertEqual('bad RAM', self.show()['drain']['was'])
        service['disabled_reason'] = 'fans'
        self.assertIsNone(self.show()['drain'])
        self.assertEqual('fans', self.show()['disabled_reason'])

    def test_by_hypervisor_hostname(self) -> None:
        self.hypervisors[0]['service']['host'] = 'compute-17'
        self.assertEqual('compute-17', self.show('gpu1')['host'])
        self.assertEqual(2, self.show('compute-17')['gpus'])

    def test_host_without_gpu(self) -> None:
        shown = self.show('plain')
        self.assertEqual((0, []), (shown['gpus'], shown['devices']))

    def test_unknown(self) -> None:
        self.assertEqual(
            "No compute service host named 'gpu9'; list them with: openstack "
            'gpu host list --all',
            self.fails('gpu', 'host', 'show', 'gpu9'),
        )
        self.assertEqual(['GET /os-hypervisors/detail'], self.requests)

    def test_empty(self) -> None:
        line = self.fails('gpu', 'host', 'show', '', status=2)
        self.assertIn('is empty', line)
        self.assertEqual([], self.requests)
