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

import gc
import string
import unittest
from unittest import mock

from hypothesis import example
from hypothesis import given
from hypothesis import strategies
from keystoneauth1 import session
from openstack import connection
from openstack import exceptions

from osc_gpu.cloud import placement
from tests.unit import base
from tests.unit import fake_placement

A100 = fake_placement.A100
CANDIDATES = 'GET /allocation_candidates?resources='

hosts = strategies.text(
    string.ascii_letters + string.digits + '._-', min_size=1, max_size=40
)
addresses = strategies.builds(
    '{:04x}:{:02x}:{:02x}.{:x}'.format,
    strategies.integers(0, 0xFFFF) | strategies.integers(0, 0xFFFFFFFF),
    strategies.integers(0, 0xFF),
    strategies.integers(0, 0x1F),
    strategies.integers(0, 7),
)


def mdev_name(address: str) -> str:
    return 'pci_' + address.replace(':', '_').replace('.', '_')


class TestDeviceOf(unittest.TestCase):
    def test_both_forms(self) -> None:
        for name, expected in {
            'gpu1_0000:84:00.0': '0000:84:00.0',
            'gpu1_0000:A1:00.0': '0000:a1:00.0',
            'gpu1_pci_0000_84_00_0': '0000:84:00.0',
            'gpu1_pci_10000_e1_00_0': '10000:e1:00.0',
            'gpu1_10000:E1:00.0': '10000:e1:00.0',
        }.items():
            self.assertEqual(expected, placement.device_of(name, 'gpu1'))
            self.assertEqual(expected, placement.device_of(name))

    def test_host_names_that_look_like_devices(self) -> None:
        for host in (
            'x_pci_0000_84_00_0',
            'a_pci',
            'pci',
            'rack.1_pci_0000',
            '0000',
        ):
            name = f'{host}_0000:20:00.0'
            self.assertEqual('0000:20:00.0', placement.device_of(name, host))
            name = f'{host}_pci_0001_21_00_1'
            self.assertEqual('0001:21:00.1', placement.device_of(name, host))
            self.assertEqual(host, placement.device_of(host, host))
            name = f'{host}_mtty_mtty'
            self.assertEqual(name, placement.device_of(name, host))

    def test_another_host(self) -> None:
        self.assertEqual(
            '0000:20:00.0',
            placement.device_of('gpu1.example.org_0000:20:00.0', 'gpu1'),
        )

    def test_own_name_for_the_rest(self) -> None:
        for name in (
            'gpu1',
            '',
            'gpu1_',
            'gpu1:NIC Switch agent:eth0',
            'gpu1_mtty_mtty',
            'gpu1_000:84:00.0',
            'gpu1_0000:84:00.8',
            'gpu1_0000:84:00',
            'gpu1_0000:84:00.0_extra',
            'gpu1_0000:84:00.0\n',
            'gpu1_0000_84_00_0',
            'gpu10000:84:00.0',
            'gpu1_' + 4 * chr(0x660) + ':84:00.0',
        ):
            self.assertEqual(name, placement.device_of(name, 'gpu1'))

    @given(hosts, addresses)
    @example('pci_0000_84_00_0', '0000:84:00.0')
    def test_round_trip(self, host: str, address: str) -> None:
        for name in (
            f'{host}_{address.upper()}',
            f'{host}_{mdev_name(address)}',
        ):
            self.assertEqual(address, placement.device_of(name, host))
            self.assertEqual(address, placement.device_of(name))
            self.assertEqual(
                'pci' in name[len(host) :], placement.is_mdev_device(name)
            )

    @given(strategies.text(), strategies.none() | strategies.text())
    def test_never_fails(self, name: str, host: str | None) -> None:
        self.assertIsInstance(placement.device_of(name, host), str)


class PlacementTestCase(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.placement = fake_placement.FakePlacement(self.cloud)
        self.conn = connection.Connection(
            auth={
                'auth_url': base.AUTH_URL,
                'username': 'admin',
                'password': 'secret',
                'project_name': 'admin',
                'user_domain_id': 'default',
                'project_domain_id': 'default',
            },
            region_name='RegionOne',
        )

    def gpu_host(self, name: str, cards: int = 1) -> str:
        host = self.placement.host(name)
        for i in range(cards):
            self.placement.provider(
                f'{name}_0000:{i:02X}:00.0',
                host,
                ('COMPUTE_MANAGED_PCI_DEVICE',),
                **{A100: 1},
            )
        return host

    def read(
        self, *, root: str | None = None, traits: bool = False
    ) -> dict[str, placement.Provider]:
        found = placement.read_trees(
            self.conn,
            placement.read_names(self.conn),
            root_uuid=root,
            with_traits=traits,
        )
        names = [p.name for p in found]
        self.assertCountEqual(set(names), names)
        return {p.name: p for p in found}


class TestBulkReads(PlacementTestCase):
    def test_no_collection_meanwhile_and_one_afterwards(self) -> None:
        seen = []
        read = placement._by_uuid

        def spy(listed: object) -> object:
            seen.append(gc.isenabled())
            return read(listed)

        with mock.patch.object(placement, '_by_uuid', spy):
            placement.read_names(self.conn)
            self.assertTrue(gc.isenabled())
            gc.disable()
            self.addCleanup(gc.enable)
            placement.read_names(self.conn)
        self.assertFalse(gc.isenabled())
        self.assertEqual([False, False], seen)

    def test_collected_again_after_a_failure(self) -> None:
        self.cloud.get(f'{base.PLACEMENT}/resource_providers', status_code=500)
        with self.assertRaises(exceptions.HttpException):
            placement.read_names(self.conn)
        self.assertTrue(gc.isenabled())

    def test_decoded_for_the_log_only_if_that_is_read(self) -> None:
        """keystoneauth decodes what it logs, whether or not it is read."""
        self.gpu_host('gpu1')
        for argv, times in (((), 0), (('--debug',), 2)):
            with (
                self.subTest(argv),
                mock.patch.object(
                    session.Session, '_http_log_response', autospec=True
                ) as decode,
            ):
                self.openstack(*argv, 'gpu', 'inventory', 'list')
                urls = [c.kwargs['response'].url for c in decode.mock_calls]
                paths = ('/resource_providers', '/allocation_candidates')
                found = [u for u in urls if any(p in u for p in paths)]
                self.assertEqual(times, len(found), urls)


class TestSmallReads(PlacementTestCase):
    def test_tree(self) -> None:
        host = self.gpu_host('gpu1')
        self.gpu_host('gpu2')
        tree = placement.read_tree(self.conn, host)
        self.assertEqual(
            ['gpu1', 'gpu1_0000:00:00.0'], [p.name for p in tree.values()]
        )
        self.assertEqual({host}, {p.root_uuid for p in tree.values()})
        self.assertEqual([None, host], [p.parent_uuid for p in tree.values()])
        self.assertEqual([], list(placement.read_tree(self.conn, 'nope')))
        self.assertEqual(
            f'GET /resource_providers?in_tree={host}', self.requests[0]
        )

    def test_consumers(self) -> None:
        host = self.gpu_host('gpu1')
        self.placement.hold('s1', host, VCPU=2)
        self.assertEqual(
            {'s1': {'VCPU': 2}}, placement.read_consumers(self.conn, host)
        )

    def test_inventories(self) -> None:
        card = self.placement.provider('c', VGPU=(4, 1))
        self.assertEqual(
            {'VGPU': placement.Stock(4, 1, 1.0)},
            placement.read_inventories(self.conn, card),
        )

    def test_inventories_of_a_provider_that_went_away(self) -> None:
        self.assertEqual({}, placement.read_inventories(self.conn, 'nope'))

    def test_refusal(self) -> None:
        self.cloud.get(f'{base.PLACEMENT}/resource_providers', status_code=403)
        with self.assertRaises(exceptions.ForbiddenException):
            placement.read_names(self.conn)

    def test_not_placement_at_all(self) -> None:
        self.cloud.get(
            f'{base.PLACEMENT}/resource_providers', text='<html>Hi</html>'
        )
        with self.assertRaises(exceptions.SDKException) as caught:
            placement.read_names(self.conn)
        self.assertEqual(
            'The placement service answered GET /resource_providers with '
            'something that is not JSON.',
            str(caught.exception),
        )


class TestReadTrees(PlacementTestCase):
    def test_whole_cloud_is_two_requests(self) -> None:
        for i in range(5):
            self.gpu_host(f'gpu{i}', cards=8)
        found = self.read(traits=True)
        self.assertEqual(45, len(found))
        self.assertEqual(
            ['GET /resource_providers', f'{CANDIDATES}MEMORY_MB:1'],
            self.requests,
        )
        self.assertEqual(['1.14', '1.31'], self.microversions('placement'))

    def test_what_is_read(self) -> None:
        host = self.gpu_host('gpu1')
        card = self.placement.provider('gpu1_x', host, ('B', 'A'), VGPU=(4, 1))
        self.placement.hold('s1', card, VGPU=2)
        self.assertEqual(
            placement.Provider(
                uuid=card,
                name='gpu1_x',
                root_uuid=host,
                parent_uuid=host,
                traits=('A', 'B'),
                resources={'VGPU': placement.Resource(3, 2)},
            ),
            self.read()['gpu1_x'],
        )

    def test_one_tree(self) -> None:
        host = self.gpu_host('gpu1')
        full = self.gpu_host('gpu2')
        self.placement.fill(full)
        found = self.read(root=host)
        self.assertEqual(['gpu1', 'gpu1_0000:00:00.0'], sorted(found))
        self.assertEqual(
            [
                'GET /resource_providers',
                f'{CANDIDATES}MEMORY_MB:1&in_tree={host}',
            ],
            self.requests,
        )

    def test_hosts_without_memory_come_by_vcpu_then_by_disk(self) -> None:
        self.gpu_host('gpu1')
        self.placement.hold('s1', self.gpu_host('gpu2'), MEMORY_MB=1024)
        bulk = [
            'GET /resource_providers',
            f'{CANDIDATES}MEMORY_MB:1',
            f'{CANDIDATES}VCPU:1',
        ]
        self.assertIn('gpu2_0000:00:00.0', self.read())
        self.assertEqual(bulk, self.requests)

        self.cloud.reset_mock()
        self.placement.hold(
            's2', self.gpu_host('gpu3'), MEMORY_MB=1024, VCPU=8
        )
        self.assertIn('gpu3_0000:00:00.0', self.read())
        self.assertEqual([*bulk, f'{CANDIDATES}DISK_GB:1'], self.requests)

    def test_full_hosts_are_asked_card_by_card(self) -> None:
        self.gpu_host('gpu1')
        full = self.gpu_host('gpu2', cards=2)
        self.placement.fill(full)
        card = next(
            uuid
            for uuid, p in self.placement.providers.items()
            if p['name'] == 'gpu2_0000:01:00.0'
        )
        self.placement.stock(card, **{A100: (1, 1)})
        self.placement.hold('s1', card, **{A100: 1})
        found = self.read()
        self.assertEqual(
            {A100: placement.Resource(0, 1, 1, 1)},
            found['gpu2_0000:01:00.0'].resources,
        )
        self.assertEqual((), found['gpu2_0000:01:00.0'].traits)
        self.assertEqual(
            {A100: placement.Resource(1, 0, 1, 0)},
            found['gpu2_0000:00:00.0'].resources,
        )
        self.assertEqual(4 + 2 * 2, len(self.requests))

    def test_traits_of_full_hosts_cost_a_request_more(self) -> None:
        self.placement.fill(self.gpu_host('gpu1'))
        found = self.read(traits=True)
        self.assertEqual(
            ('COMPUTE_MANAGED_PCI_DEVICE',),
            found['gpu1_0000:00:00.0'].traits,
        )
        self.assertEqual(4 + 3, len(self.requests))

    def test_children_that_are_no_gpus_cost_nothing(self) -> None:
        self.gpu_host('gpu1')
        plain = self.placement.host('plain')
        self.placement.provider('plain:NIC Switch agent', plain)
        self.placement.provider('plain:NIC Switch agent:eth0', plain)
        self.placement.provider('blazar_plain', plain)
        self.placement.fill(plain)
        self.read()
        self.assertEqual(2, len(self.requests))

    def test_lone_roots_are_found_by_class(self) -> None:
        self.gpu_host('gpu1')
        self.placement.host('bm1', CUSTOM_BAREMETAL_GPU=1)
        self.placement.host('bm2', CUSTOM_BAREMETAL=1)
        self.placement.host('ceph', CUSTOM_STORAGE=1)
        found = self.read()
        self.assertEqual(
            {'CUSTOM_BAREMETAL_GPU': placement.Resource(1, 0)},
            found['bm1'].resources,
        )
        self.assertEqual({'gpu1', 'gpu1_0000:00:00.0', 'bm1'}, set(found))
        # A100 is seen already; the rest are no classes of GPUs.
        self.assertEqual(
            [
                'GET /resource_providers',
                f'{CANDIDATES}MEMORY_MB:1',
                'GET /resource_classes',
                f'{CANDIDATES}CUSTOM_BAREMETAL_GPU:1',
                f'{CANDIDATES}PGPU:1',
                f'{CANDIDATES}VGPU:1',
            ],
            self.requests,
        )
        self.assertEqual({'1.14', '1.31'}, {*self.microversions('placement')})

    def test_no_more_classes_are_tried_once_all_lone_roots_show(self) -> None:
        self.placement.host('bm1', CUSTOM_BAREMETAL_GPU=1)
        self.placement.host('bm2', CUSTOM_BAREMETAL_GPU=1)
        self.assertEqual({'bm1', 'bm2'}, set(self.read()))
        self.assertEqual(4, len(self.requests))

    def test_lone_roots_are_found_by_given_classes(self) -> None:
        self.placement.host('bm1', CUSTOM_BAREMETAL_GPU=1)
        self.placement.host('bm2', CUSTOM_BIG=1)
        found = placement.read_trees(
            self.conn,
            placement.read_names(self.conn),
            classes=['CUSTOM_BIG'],
        )
        self.assertEqual(['bm2'], [p.name for p in found])
        self.assertEqual(
            [
                'GET /resource_providers',
                f'{CANDIDATES}MEMORY_MB:1',
                f'{CANDIDATES}CUSTOM_BIG:1',
            ],
            self.requests,
        )

    def test_given_class_that_does_not_exist(self) -> None:
        self.placement.host('bm1', CUSTOM_BAREMETAL_GPU=1)
        found = placement.read_trees(
            self.conn,
            placement.read_names(self.conn),
            classes=['CUSTOM_NONE', 'CUSTOM_BAREMETAL_GPU'],
        )
        self.assertEqual(['bm1'], [p.name for p in found])

    def test_lone_roots_cost_a_bounded_number_of_requests(self) -> None:
        self.placement.classes += [f'CUSTOM_GPU_{i:02}' for i in range(12)]
        self.placement.host('ceph', CUSTOM_STORAGE=1)
        with self.assertLogs('osc_gpu', 'WARNING') as logs:
            self.read()
        self.assertEqual(3 + 10, len(self.requests))
        (line,) = logs.output
        self.assertIn(': CUSTOM_GPU_10, CUSTOM_GPU_11, PGPU, VGPU. ', line)

    def test_used_up_lone_root_shows_only_if_asked_for(self) -> None:
        root = self.placement.host('bm1', CUSTOM_BAREMETAL_GPU=1)
        self.placement.fill(root)
        self.assertEqual({}, self.read())
        self.cloud.reset_mock()
        found = self.read(root=root)
        self.assertEqual(
            {'CUSTOM_BAREMETAL_GPU': placement.Resource(1, 1, 1, 0)},
            found['bm1'].resources,
        )
        self.assertEqual(
            [
                'GET /resource_providers',
                f'GET /resource_providers/{root}/inventories',
                f'GET /resource_providers/{root}/usages',
            ],
            self.requests,
        )

    def test_traits_of_a_lone_root_that_was_asked_for(self) -> None:
        root = self.placement.provider('bm1', traits=('T',), VGPU=1)
        self.assertEqual(
            ('T',), self.read(root=root, traits=True)['bm1'].traits
        )

    def test_lone_root_that_goes_away_in_between(self) -> None:
        root = self.placement.host('bm1', CUSTOM_BAREMETAL_GPU=1)
        names = placement.read_names(self.conn)
        del self.placement.providers[root]
        self.assertEqual(
            (), placement.read_trees(self.conn, names, root_uuid=root)
        )

    def test_class_of_a_lone_root_may_bring_a_full_host_along(self) -> None:
        self.placement.host('ceph', CUSTOM_STORAGE=1)
        self.placement.fill(self.gpu_host('gpu1'))
        self.assertEqual({'gpu1', 'gpu1_0000:00:00.0'}, set(self.read()))
        self.assertNotIn('/usages', ' '.join(self.requests))

    def test_a_bounded_number_is_asked_card_by_card(self) -> None:
        for i in range(8):
            self.placement.fill(self.gpu_host(f'gpu{i}', cards=8))
        with self.assertLogs('osc_gpu', 'WARNING') as logs:
            found = self.read()
        self.assertEqual(6 * 8, len(found))
        self.assertEqual(4 + 6 * 8 * 2, len(self.requests))
        (line,) = logs.output
        self.assertIn('Missing here: gpu6, gpu7. ', line)

    def test_a_host_that_was_asked_for_is_never_left_out(self) -> None:
        full = self.gpu_host('gpu1', cards=60)
        self.placement.fill(full)
        with self.assertNoLogs('osc_gpu', 'WARNING'):
            self.assertEqual(60, len(self.read(root=full)))

    def test_provider_that_goes_away_in_between(self) -> None:
        full = self.gpu_host('gpu1')
        self.placement.fill(full)
        names = placement.read_names(self.conn)
        for uuid in [u for u in self.placement.providers if u != full]:
            del self.placement.providers[uuid]
        self.assertEqual((), placement.read_trees(self.conn, names))

    def test_provider_that_comes_in_between(self) -> None:
        names = placement.read_names(self.conn)
        host = self.gpu_host('gpu1')
        found = placement.read_trees(self.conn, names)
        self.assertEqual(2, len(found))
        self.assertEqual(found[0].uuid, found[0].name)
        self.assertEqual(host, found[0].root_uuid)

    def test_root_that_is_not_listed(self) -> None:
        full = self.gpu_host('gpu1')
        self.placement.fill(full)
        names = dict(placement.read_names(self.conn))
        del names[full]
        self.assertEqual((), placement.read_trees(self.conn, names))

    def test_empty_cloud(self) -> None:
        self.assertEqual({}, self.read())
        self.assertEqual(2, len(self.requests))
