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

from typing import Any
from unittest import mock

import requests

from tests.unit import base
from tests.unit import fake_placement

A100 = fake_placement.A100
NIC = fake_placement.NIC
A100_MODEL = 'NVIDIA GA100 [A100 PCIe 80GB]'
COLUMNS = [
    'Host',
    'Device',
    'Model',
    'Resource Class',
    'Total',
    'Reserved',
    'Used',
    'Free',
]
BULK = [
    'GET /resource_providers',
    'GET /allocation_candidates?resources=MEMORY_MB:1',
]


class InventoryTestCase(base.TestCase):
    """A cloud of two A100 hosts, one for vGPUs and one without any GPU."""

    def setUp(self) -> None:
        super().setUp()
        self.placement = fake_placement.FakePlacement(self.cloud)
        add = self.placement.provider
        self.gpu1 = self.placement.host('gpu1')
        self.used = add(
            'gpu1_0000:A1:00.0', self.gpu1, ('T2', 'T1'), **{A100: 1}
        )
        self.free = add('gpu1_0000:20:00.0', self.gpu1, **{A100: 1})
        add('gpu1_0000:30:00.0', self.gpu1, **{NIC: 1})
        self.gpu2 = self.placement.host('gpu2')
        self.reserved = add('gpu2_0000:20:00.0', self.gpu2, **{A100: (1, 1)})
        self.vgpu1 = self.placement.host('vgpu1')
        self.mdev = add('vgpu1_pci_0000_84_00_0', self.vgpu1, VGPU=16)
        self.placement.host('plain')
        self.placement.hold('s1', self.used, **{A100: 1})
        self.placement.hold('s1', self.gpu1, VCPU=1)
        self.placement.hold('s2', self.mdev, VGPU=1)
        self.placement.hold('m1', self.mdev, VGPU=2)
        self.cloud.get(
            f'{base.COMPUTE}/servers',
            json={
                'servers': [
                    {'id': 's1', 'name': 'train', 'links': []},
                    {'id': 's2', 'name': 'desktop', 'links': []},
                    {'id': 's3', 'name': 'web', 'links': []},
                ]
            },
        )

    def rows(self, *argv: str) -> list[list[Any]]:
        listed = self.table('gpu', 'inventory', 'list', *argv)
        return [list(row.values()) for row in listed]

    def devices(self, *argv: str) -> list[tuple[str, str]]:
        return [(row[0], row[1]) for row in self.rows(*argv)]


class TestListInventory(InventoryTestCase):
    def test_list(self) -> None:
        self.assertEqual(
            [
                ['gpu1', '0000:20:00.0', A100_MODEL, A100, 1, 0, 0, 1],
                ['gpu1', '0000:a1:00.0', A100_MODEL, A100, 1, 0, 1, 0],
                ['gpu2', '0000:20:00.0', A100_MODEL, A100, 1, 1, 0, 0],
                ['vgpu1', '0000:84:00.0', '', 'VGPU', 16, 0, 3, 13],
            ],
            self.rows(),
        )

    def test_columns(self) -> None:
        row = self.table('gpu', 'inventory', 'list')[0]
        self.assertEqual(COLUMNS, list(row))
        row = self.table('gpu', 'inventory', 'list', '--long')[0]
        self.assertEqual(
            [*COLUMNS, 'Provider ID', 'Traits', 'Servers'], list(row)
        )

    def test_whole_cloud_is_two_requests(self) -> None:
        del self.placement.providers[self.reserved]
        for i in range(20):
            host = self.placement.host(f'more{i}')
            for bus in range(8):
                card = self.placement.provider(
                    f'more{i}_0000:{bus:02X}:00.0', host, **{A100: 1}
                )
                self.placement.hold(f'x{i}-{bus}', card, **{A100: 1})
        self.assertEqual(163, len(self.rows()))
        self.assertEqual(BULK, self.requests)
        self.assertEqual(['1.14', '1.31'], self.microversions('placement'))

    def test_reserved_is_asked(self) -> None:
        self.rows()
        self.assertEqual(
            [*BULK, f'GET /resource_providers/{self.reserved}/inventories'],
            self.requests,
        )

    def test_no_gpus(self) -> None:
        self.placement.providers.clear()
        self.placement.host('plain')
        self.assertEqual([], self.rows())
        self.assertEqual(BULK, self.requests)

    def test_vfs_partly_reserved(self) -> None:
        self.placement.provider(
            'gpu2_0000:40:00.0', self.gpu2, CUSTOM_PCI_10DE_25B6=(4, 1)
        )
        row = self.rows('--resource-class', 'CUSTOM_PCI_10DE_25B6')[0]
        self.assertEqual([4, 1, 0, 3], row[4:])

    def test_reserved_after_it_was_taken(self) -> None:
        self.placement.hold('s9', self.reserved, **{A100: 1})
        self.assertEqual([1, 1, 1, 0], self.rows('--host', 'gpu2')[0][4:])

    def test_bounded_number_of_reserved_ones_is_asked(self) -> None:
        for i in range(60):
            self.placement.provider(
                f'gpu2_0000:{i + 33:02X}:00.0', self.gpu2, **{A100: (1, 1)}
            )
        result = self.openstack('gpu', 'inventory', 'list', '-f', 'json')
        self.assertEqual(0, result.status)
        self.assertEqual(64, len(result.json))
        self.assertEqual(len(BULK) + 50, len(self.requests))
        self.assertEqual(1, result.stderr.count('\n'), result.stderr)
        self.assertIn('Reserved of 11 GPU resource providers', result.stderr)
        self.assertEqual(
            {(1, 1, 0, 0)},
            {
                tuple(list(row.values())[4:])
                for row in result.json
                if row['Host'] == 'gpu2'
            },
        )

        self.cloud.reset_mock()
        self.assertEqual(61, len(self.rows('--host', 'gpu2')))
        self.assertEqual(len(BULK) + 61, len(self.requests))

    def test_reserved_ones_are_asked_first(self) -> None:
        for i in range(60):
            self.placement.provider(
                f'gpu1_0000:{i + 64:02X}:00.0',
                self.gpu1,
                CUSTOM_PCI_10DE_25B6=4,
            )
        self.openstack('gpu', 'inventory', 'list')
        self.assertEqual(len(BULK) + 50, len(self.requests))
        self.assertIn(
            f'GET /resource_providers/{self.reserved}/inventories',
            self.requests,
        )

    def test_full_host(self) -> None:
        before = self.rows()
        self.placement.fill(self.gpu1)
        self.cloud.reset_mock()
        self.assertEqual(before, self.rows('--parallel', '1'))
        gpu1 = [
            (uuid, what)
            for uuid in (
                self.free,
                self.placement.provider('gpu1_0000:30:00.0', self.gpu1),
                self.used,
            )
            for what in ('inventories', 'usages')
        ]
        self.assertEqual(
            [
                *BULK,
                'GET /allocation_candidates?resources=VCPU:1',
                'GET /allocation_candidates?resources=DISK_GB:1',
                *(f'GET /resource_providers/{u}/{w}' for u, w in gpu1),
                f'GET /resource_providers/{self.reserved}/inventories',
            ],
            self.requests,
        )

    def test_long(self) -> None:
        listed = self.table('gpu', 'inventory', 'list', '--long')
        self.assertEqual(
            [
                [self.free, [], []],
                [
                    self.used,
                    ['T1', 'T2'],
                    [{'id': 's1', 'name': 'train', 'amount': 1}],
                ],
                [self.reserved, [], []],
                [
                    self.mdev,
                    [],
                    [
                        {'id': 's2', 'name': 'desktop', 'amount': 1},
                        {'id': 'm1', 'name': None, 'amount': 2},
                    ],
                ],
            ],
            [list(row.values())[8:] for row in listed],
        )
        self.assertEqual(
            [
                *BULK,
                f'GET /resource_providers/{self.reserved}/inventories',
                f'GET /resource_providers/{self.used}/allocations',
                f'GET /resource_providers/{self.mdev}/allocations',
                'GET /servers?all_tenants=True',
            ],
            self.requests,
        )

    def test_long_for_people(self) -> None:
        shown = self.ok(
            'gpu', 'inventory', 'list', '--long', '-c', 'Servers'
        ).stdout
        cells = [line.strip('| ') for line in shown.splitlines()[3:-1]]
        self.assertEqual(['', 'train', '', 'desktop', 'm1'], cells)

    def test_long_asks_who_holds_only_what_is_used(self) -> None:
        self.placement.allocations.clear()
        self.rows('--long')
        self.assertEqual(
            [*BULK, f'GET /resource_providers/{self.reserved}/inventories'],
            self.requests,
        )

    def test_long_asks_for_what_is_free_only_where_it_must(self) -> None:
        for i in range(60):
            self.placement.provider(
                f'gpu1_0000:{i + 64:02X}:00.0', self.gpu1, **{A100: 1}
            )
        self.placement.allocations.clear()
        self.assertEqual(64, len(self.rows('--long')))
        self.assertEqual(len(BULK) + 1, len(self.requests))

    def test_long_asks_all_reserved_ones_and_says_nothing(self) -> None:
        for i in range(60):
            self.placement.provider(
                f'gpu1_0000:{i + 64:02X}:00.0', self.gpu1, **{A100: (1, 1)}
            )
        self.placement.allocations.clear()
        rows = self.rows('--long', '--parallel', '3')
        self.assertEqual(61, sum(row[5] for row in rows))
        self.assertEqual(len(BULK) + 61, len(self.requests))

    def test_long_asks_side_by_side(self) -> None:
        for i in range(8):
            card = self.placement.provider(
                f'gpu1_0000:{i + 64:02X}:00.0', self.gpu1, **{A100: 1}
            )
            self.placement.hold('s1', card, **{A100: 1})
        for most in ('1', '4'):
            with self.subTest(most=most):
                self.cloud.reset_mock()
                rows = self.rows('--long', '--parallel', most)
                holders = [held['id'] for row in rows for held in row[10]]
                self.assertEqual(9, holders.count('s1'))
                self.assertEqual(
                    10, sum('/allocations' in r for r in self.requests)
                )

    def test_bad_parallel(self) -> None:
        for most in ('0', '11', 'x', '-1'):
            with self.subTest(most=most):
                result = self.openstack(
                    'gpu', 'inventory', 'list', '--long', '--parallel', most
                )
                self.assertEqual(2, result.status)
                self.assertIn('--parallel', result.stderr)
        self.assertEqual([], self.requests)

    def test_totals_are_those_of_show_where_they_were_asked(self) -> None:
        add = self.placement.provider
        # Reserved in part: mdevs, which Nova leaves so for a while, and the
        # only PF of its class, down to one VF.
        self.placement.stock(self.mdev, VGPU=(16, 6))
        card = add('gpu2_0000:40:00.0', self.gpu2, CUSTOM_PCI_10DE_25B6=(4, 3))
        self.placement.host('bm1', CUSTOM_BAREMETAL_GPU=(2, 1))
        shown = {}
        for uuid in (self.mdev, card, 'bm1'):
            row = self.table('gpu', 'inventory', 'show', uuid)
            shown[row['host'], row['device']] = list(row.values())[4:8]
        self.assertEqual(
            [[16, 6, 3, 7], [4, 3, 0, 1], [2, 1, 0, 1]], list(shown.values())
        )
        for host, device in shown:
            listed = {r[1]: r[4:8] for r in self.rows('--host', host)}
            self.assertEqual(shown[host, device], listed[device])
        # As documented, the list of the whole cloud derives the first two.
        for argv in ((), ('--long',), ('--long', '--free')):
            listed = {(r[0], r[1]): r[4:8] for r in self.rows(*argv)}
            self.assertEqual(
                [[10, 0, 3, 7], [1, 0, 0, 1], [2, 1, 0, 1]],
                [listed[k] for k in shown],
                argv,
            )

    def test_used_once_need_not_be_asked(self) -> None:
        self.placement.providers[self.reserved]['traits'] = [
            'HW_PCI_ONE_TIME_USE'
        ]
        row = self.rows('--host', 'gpu2')[0]
        self.assertEqual([1, 1, 0, 0], row[4:])
        self.assertEqual(2, len(self.requests))
        self.cloud.reset_mock()
        self.assertEqual([1, 1, 0, 0], self.rows()[2][4:])
        self.assertEqual(BULK, self.requests)

    def test_bare_metal(self) -> None:
        root = self.placement.host('bm1', CUSTOM_BAREMETAL_GPU=1)
        row = ['bm1', 'bm1', '', 'CUSTOM_BAREMETAL_GPU', 1, 0, 0, 1]
        self.assertEqual(row, self.rows()[0])
        for argv in (
            ('--host', 'bm1'),
            ('--resource-class', 'CUSTOM_BAREMETAL_GPU'),
            ('--host', 'bm1', '--free'),
        ):
            self.assertEqual([row], self.rows(*argv), argv)
        self.placement.fill(root)
        self.assertEqual(('gpu1', '0000:20:00.0'), self.devices()[0])
        row[-2:] = [1, 0]
        self.assertEqual([row], self.rows('--host', 'bm1'))
        self.assertEqual([], self.rows('--host', 'bm1', '--free'))

    def test_classes_that_placement_may_not_list(self) -> None:
        self.placement.host('bm1', CUSTOM_BAREMETAL_GPU=1)
        self.cloud.get(f'{base.PLACEMENT}/resource_classes', status_code=403)
        self.assertNotIn('\n', self.fails('gpu', 'inventory', 'list'))

    def test_help_says_what_is_derived_and_what_is_missing(self) -> None:
        told = ' '.join(
            self.ok('gpu', 'inventory', 'list', '--help').stdout.split()
        )
        self.assertIn('are derived from the capacity', told)
        self.assertIn('that has nothing free is listed only with --host', told)

    def test_long_can_be_sorted_by_servers(self) -> None:
        rows = self.rows('--long', '--sort-column', 'Servers')
        self.assertEqual(4, len(rows))

    def test_long_pages_servers(self) -> None:
        self.cloud.get(
            f'{base.COMPUTE}/servers',
            [
                {
                    'json': {
                        'servers': [{'id': 's3', 'name': 'web'}],
                        'servers_links': [
                            {
                                'rel': 'next',
                                'href': f'{base.COMPUTE}/servers'
                                '?all_tenants=True&marker=s3',
                            }
                        ],
                    }
                },
                {
                    'json': {
                        'servers': [
                            {'id': 's1', 'name': 'train'},
                            # of a cell that is down, Nova knows no more
                            {'id': 's2', 'status': 'UNKNOWN'},
                        ]
                    }
                },
            ],
        )
        rows = self.rows('--long')
        self.assertEqual('train', rows[1][-1][0]['name'])
        self.assertEqual([None, None], [h['name'] for h in rows[3][-1]])

    def test_host(self) -> None:
        self.assertEqual(
            [('gpu1', '0000:20:00.0'), ('gpu1', '0000:a1:00.0')],
            self.devices('--host', 'gpu1'),
        )
        self.assertEqual(
            [
                BULK[0],
                f'{BULK[1]}&in_tree={self.gpu1}',
                f'GET /resource_providers/{self.free}/inventories',
                f'GET /resource_providers/{self.used}/inventories',
            ],
            self.requests,
        )

    def test_full_host_alone(self) -> None:
        self.placement.fill(self.gpu1)
        self.placement.fill(self.vgpu1)
        self.assertEqual(2, len(self.devices('--host', 'gpu1')))
        self.assertEqual(4 + 3 * 2, len(self.requests))

    def test_host_without_gpus(self) -> None:
        self.assertEqual([], self.rows('--host', 'plain'))

    def test_unknown_host(self) -> None:
        self.assertEqual(
            "No host named 'gpu9' in Placement.",
            self.fails('gpu', 'inventory', 'list', '--host', 'gpu9'),
        )
        self.assertEqual(BULK[:1], self.requests)

    def test_resource_class(self) -> None:
        self.assertEqual(
            [('vgpu1', '0000:84:00.0')],
            self.devices('--resource-class', 'VGPU'),
        )
        self.assertEqual(
            [('gpu1', '0000:30:00.0'), ('vgpu1', '0000:84:00.0')],
            self.devices('--resource-class', 'VGPU', '--resource-class', NIC),
        )
        self.assertEqual([], self.rows('--resource-class', 'CUSTOM_NONE'))
        self.placement.host('bm1', CUSTOM_BAREMETAL_GPU=1)
        self.assertEqual([], self.rows('--resource-class', 'CUSTOM_NONE'))

    def test_bad_resource_class(self) -> None:
        for bad in ('vgpu', 'VGPU:1', '', 'A B', 'A' * 256):
            for command in (('list',), ('show', self.used)):
                error = self.fails(
                    'gpu', 'inventory', *command, '--resource-class', bad,
                    status=2,
                )  # fmt: skip
                self.assertIn('argument --resource-class: ', error)
                self.assertIn(f"'{bad[:9]}", error)
        self.assertEqual([], self.requests)

    def test_free(self) -> None:
        self.assertEqual(
            [('gpu1', '0000:20:00.0'), ('vgpu1', '0000:84:00.0')],
            self.devices('--free'),
        )
        self.assertEqual(BULK, self.requests)

    def test_no_rights(self) -> None:
        self.cloud.get(
            f'{base.PLACEMENT}/resource_providers',
            status_code=403,
            headers={'Content-Type': 'application/json'},
            json={
                'errors': [
                    {
                        'status': 403,
                        'title': 'Forbidden',
                        'detail': 'Access was denied to this resource.\n\n '
                        'placement:resource_providers:list  ',
                        'request_id': 'req-1',
                    }
                ]
            },
        )
        error = self.fails('gpu', 'inventory', 'list')
        self.assertNotIn('\n', error)
        self.assertIn('placement:resource_providers:list', error)

    def test_placement_answers_503(self) -> None:
        self.cloud.get(
            f'{base.PLACEMENT}/allocation_candidates', status_code=503
        )
        self.assertNotIn('\n', self.fails('gpu', 'inventory', 'list'))

    def test_placement_cuts_the_connection(self) -> None:
        self.cloud.get(
            f'{base.PLACEMENT}/allocation_candidates',
            exc=requests.exceptions.ConnectionError('reset by peer'),
        )
        # The clients of 2025.1 try again, and say so in a line before.
        with mock.patch('time.sleep', autospec=True):
            error = self.fails('gpu', 'inventory', 'list').splitlines()[-1]
        self.assertIn(f'{base.PLACEMENT}/allocation_candidates', error)


class TestListWithoutPlacement(base.TestCase):
    missing_services = frozenset({'placement'})

    def test_says_so(self) -> None:
        error = self.fails('gpu', 'inventory', 'list')
        self.assertNotIn('\n', error)
        self.assertIn('placement', error.lower())


class TestShowInventory(InventoryTestCase):
    def test_show(self) -> None:
        self.assertEqual(
            {
                'host': 'gpu1',
                'device': '0000:a1:00.0',
                'model': A100_MODEL,
                'resource_class': A100,
                'total': 1,
                'reserved': 0,
                'used': 1,
                'free': 0,
                'provider_id': self.used,
                'traits': ['T1', 'T2'],
                'servers': [{'id': 's1', 'name': 'train', 'amount': 1}],
            },
            self.table('gpu', 'inventory', 'show', 'gpu1_0000:A1:00.0'),
        )
        self.assertEqual(
            [
                BULK[0],
                f'GET /resource_providers/{self.used}/inventories',
                f'GET /resource_providers/{self.used}/usages',
                f'GET /resource_providers/{self.used}/traits',
                f'GET /resource_providers/{self.used}/allocations',
                'GET /servers?all_tenants=True',
            ],
            self.requests,
        )

    def test_other_names(self) -> None:
        for name in (self.mdev, '0000:84:00.0', 'vgpu1_0000:84:00.0'):
            shown = self.table('gpu', 'inventory', 'show', name)
            self.assertEqual(self.mdev, shown['provider_id'])
            self.assertEqual((16, 3), (shown['total'], shown['used']))

    def test_of_a_full_host(self) -> None:
        before = self.table('gpu', 'inventory', 'show', self.used)
        self.placement.fill(self.gpu1)
        after = self.table('gpu', 'inventory', 'show', self.used)
        self.assertEqual(before, after)

    def test_bare_metal(self) -> None:
        self.placement.provider('node', CUSTOM_BAREMETAL_GPU=1)
        shown = self.table('gpu', 'inventory', 'show', 'node')
        self.assertEqual(
            ('node', 'node', 1),
            (shown['host'], shown['device'], shown['free']),
        )

    def test_that_went_away(self) -> None:
        for part in ('inventories', 'usages', 'traits'):
            self.cloud.get(
                f'{base.PLACEMENT}/resource_providers/{self.free}/{part}',
                status_code=404,
            )
        self.assertIn(
            'is no GPU', self.fails('gpu', 'inventory', 'show', self.free)
        )

    def test_reserved(self) -> None:
        shown = self.table('gpu', 'inventory', 'show', self.reserved)
        self.assertEqual(
            (1, 1, 0, 0, []),
            tuple(
                shown[k]
                for k in ('total', 'reserved', 'used', 'free', 'servers')
            ),
        )
        self.assertEqual(4, len(self.requests))

    def test_several_classes(self) -> None:
        self.placement.provider(
            'gpu2_odd', self.gpu2, VGPU=4, CUSTOM_GPU_SLICE=2, VCPU=1
        )
        self.assertEqual(
            "Resource provider 'gpu2_odd' has several GPU classes: "
            "CUSTOM_GPU_SLICE, VGPU. Choose one with --resource-class.",
            self.fails('gpu', 'inventory', 'show', 'gpu2_odd'),
        )
        shown = self.table(
            'gpu', 'inventory', 'show', 'gpu2_odd', '--resource-class', 'VGPU'
        )
        self.assertEqual(
            ('gpu2_odd', 'VGPU', 4),
            (shown['device'], shown['resource_class'], shown['total']),
        )
        self.assertEqual(
            2, len([r for r in self.rows() if r[1] == 'gpu2_odd'])
        )

    def test_no_gpu(self) -> None:
        self.assertEqual(
            "Resource provider 'gpu1' is no GPU: it has no inventory of a "
            "GPU class. Name a class that is one with --resource-class.",
            self.fails('gpu', 'inventory', 'show', 'gpu1'),
        )
        self.assertEqual(
            "Resource provider 'gpu1' has no VGPU, PGPU.",
            self.fails(
                'gpu', 'inventory', 'show', 'gpu1',
                '--resource-class', 'VGPU', '--resource-class', 'PGPU',
            ),
        )  # fmt: skip

    def test_given_class_counts_as_gpu(self) -> None:
        shown = self.table(
            'gpu', 'inventory', 'show', '0000:30:00.0',
            '--resource-class', NIC,
        )  # fmt: skip
        self.assertEqual((NIC, ''), (shown['resource_class'], shown['model']))

    def test_unknown(self) -> None:
        self.assertEqual(
            "No resource provider with a name or ID of 'nope' in Placement.",
            self.fails('gpu', 'inventory', 'show', 'nope'),
        )
        self.assertEqual(BULK[:1], self.requests)

    def test_ambiguous(self) -> None:
        self.assertEqual(
            "More than one resource provider is named '0000:20:00.0': "
            "gpu1_0000:20:00.0, gpu2_0000:20:00.0. Give one of these.",
            self.fails('gpu', 'inventory', 'show', '0000:20:00.0'),
        )
