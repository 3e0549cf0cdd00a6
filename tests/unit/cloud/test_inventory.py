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

import dataclasses
from typing import Any
import unittest

from hypothesis import given
from hypothesis import strategies

from osc_gpu.cloud import inventory
from osc_gpu.cloud import placement

A100 = 'CUSTOM_PCI_10DE_20B5'
NIC = 'CUSTOM_PCI_15B3_1017'


def provider(name: str, root: str = 'gpu1', **resources: Any) -> Any:
    """A provider whose UUID is its name; resources as (capacity, used)."""
    return placement.Provider(
        uuid=name,
        name=name,
        root_uuid=root,
        parent_uuid=None if name == root else root,
        resources={
            rc: placement.Resource(*held) for rc, held in resources.items()
        },
    )


def named(*providers: placement.Provider) -> dict[str, placement.Provider]:
    return {p.uuid: p for p in providers}


def totals(found: placement.Provider) -> dict[str, Any]:
    return {rc: (r.total, r.reserved) for rc, r in found.resources.items()}


class TestSelect(unittest.TestCase):
    host = provider('gpu1', MEMORY_MB=(10, 0))
    card = provider('gpu1_0000:20:00.0', **{A100: (1, 0)})
    used = provider('gpu1_0000:21:00.0', **{A100: (1, 1)})
    nic = provider('gpu1_0000:22:00.0', **{NIC: (1, 0)})

    def select(self, *args: Any, **kwargs: Any) -> list[str]:
        providers = (self.host, self.card, self.used, self.nic)
        return [p.name for p in inventory.select(providers, *args, **kwargs)]

    def test_gpus_only(self) -> None:
        self.assertEqual([self.card.name, self.used.name], self.select())

    def test_free_only(self) -> None:
        self.assertEqual([self.card.name], self.select(free=True))

    def test_given_classes_only_whatever_they_are(self) -> None:
        self.assertEqual([self.nic.name], self.select([NIC]))
        self.assertEqual(['gpu1'], self.select(['MEMORY_MB']))

    def test_other_classes_of_a_gpu_go(self) -> None:
        mixed = provider('x', VGPU=(4, 0), VCPU=(2, 0))
        (kept,) = inventory.select([mixed])
        self.assertEqual(['VGPU'], list(kept.resources))


class TestSettle(unittest.TestCase):
    def settle(self, name: str, **resources: Any) -> Any:
        (found,) = inventory.settle([provider(name, **resources)])
        return next(iter(totals(found).values()))

    def test_pci_device(self) -> None:
        found = self.settle('gpu1_0000:20:00.0', **{A100: (1, 1)})
        self.assertEqual((1, 0), found)

    def test_reserved_pci_device_has_to_be_asked(self) -> None:
        found = self.settle('gpu1_0000:20:00.0', **{A100: (0, 0)})
        self.assertEqual((None, None), found)

    def test_vfs_have_to_be_asked(self) -> None:
        found = self.settle('gpu1_0000:20:00.0', **{A100: (4, 1)})
        self.assertEqual((None, None), found)

    def test_more_used_than_capacity_has_to_be_asked(self) -> None:
        found = self.settle('gpu1_0000:20:00.0', **{A100: (1, 2)})
        self.assertEqual((None, None), found)

    def test_mdevs(self) -> None:
        found = self.settle('gpu1_pci_0000_84_00_0', VGPU=(16, 3))
        self.assertEqual((16, 0), found)

    def test_mdevs_without_capacity_have_to_be_asked(self) -> None:
        found = self.settle('gpu1_pci_0000_84_00_0', VGPU=(0, 3))
        self.assertEqual((None, None), found)

    def test_other_names_have_to_be_asked(self) -> None:
        self.assertEqual(
            (None, None), self.settle('gpu1_mtty_mtty', VGPU=(1, 0))
        )

    def test_one_left_of_a_class_that_counts_vfs_has_to_be_asked(self) -> None:
        found = inventory.settle(
            [
                provider('gpu1_0000:20:00.0', **{A100: (1, 0)}),
                provider('gpu2_0000:20:00.0', **{A100: (4, 0)}),
                provider('gpu2_0000:30:00.0', CUSTOM_GPU=(1, 0)),
            ]
        )
        self.assertEqual(
            [
                {A100: (None, None)},
                {A100: (None, None)},
                {'CUSTOM_GPU': (1, 0)},
            ],
            [totals(p) for p in found],
        )

    def once(self, capacity: int, used: int, name: str = '') -> Any:
        card = dataclasses.replace(
            provider(name or 'gpu1_0000:20:00.0', **{A100: (capacity, used)}),
            traits=('COMPUTE_MANAGED_PCI_DEVICE', 'HW_PCI_ONE_TIME_USE'),
        )
        (found,) = inventory.settle([card], proven=True)
        return totals(found)[A100]

    def test_used_once_is_one(self) -> None:
        self.assertEqual((1, 0), self.once(1, 0))
        self.assertEqual((1, 1), self.once(0, 0))
        self.assertEqual((1, 1), self.once(0, 1))

    def test_used_once_and_yet_more_has_to_be_asked(self) -> None:
        self.assertEqual((None, None), self.once(2, 0))
        self.assertEqual((None, None), self.once(0, 2))
        self.assertEqual((None, None), self.once(1, 0, 'gpu1_mtty_mtty'))
        self.assertEqual(
            (None, None), self.once(1, 0, 'gpu1_pci_0000_84_00_0')
        )

    def test_used_once_beside_one_that_counts_vfs(self) -> None:
        once = dataclasses.replace(
            provider('gpu1_0000:20:00.0', **{A100: (1, 0)}),
            traits=('HW_PCI_ONE_TIME_USE',),
        )
        found = inventory.settle(
            [once, provider('gpu1_0000:30:00.0', **{A100: (4, 0)})]
        )
        self.assertEqual((1, 0), totals(found[0])[A100])

    def test_proven_is_nothing_else(self) -> None:
        for name in ('gpu1_0000:20:00.0', 'gpu1_pci_0000_84_00_0'):
            (found,) = inventory.settle(
                [provider(name, VGPU=(1, 0))], proven=True
            )
            self.assertEqual((None, None), totals(found)['VGPU'])

    def test_what_is_known_stays(self) -> None:
        known = placement.Stock(total=1, reserved=1).resource(0)
        found = dataclasses.replace(
            provider('gpu1_pci_0000_84_00_0'), resources={'VGPU': known}
        )
        self.assertEqual((found,), inventory.settle([found]))


class TestStocked(unittest.TestCase):
    def test_fills_in_what_is_unknown(self) -> None:
        card = provider('gpu1_0000:20:00.0', **{A100: (0, 1), 'VGPU': (2, 0)})
        found = inventory.stocked(
            card, {A100: placement.Stock(total=1, reserved=1)}
        )
        self.assertEqual({A100: (1, 1), 'VGPU': (None, None)}, totals(found))
        self.assertEqual(1, found.resources[A100].used)
        self.assertEqual(0, found.resources[A100].free)

    def test_ratio(self) -> None:
        stock = placement.Stock(total=9, reserved=1, ratio=1.5)
        self.assertEqual(12, stock.resource(0).capacity)
        self.assertEqual(2, stock.resource(10).free)


class TestJoin(unittest.TestCase):
    host = provider('gpu1')
    card = provider('gpu1_0000:A1:00.0', **{A100: (1, 1)})

    def test_row(self) -> None:
        (settled,) = inventory.settle([self.card])
        settled = dataclasses.replace(settled, traits=('T',))
        (row,) = inventory.join(
            [settled],
            named(self.host),
            {
                self.card.uuid: {
                    's1': {A100: 1},
                    'm1': {A100: 1},
                    'other': {'VGPU': 1},
                }
            },
            {'s1': 'train'},
        )
        self.assertEqual('gpu1', row.host)
        self.assertEqual('0000:a1:00.0', row.device)
        self.assertIn('A100', row.model)
        self.assertEqual(A100, row.resource_class)
        self.assertEqual(
            (1, 0, 1, 0), (row.total, row.reserved, row.used, row.free)
        )
        self.assertEqual(self.card.uuid, row.provider_id)
        self.assertEqual(('T',), row.traits)
        self.assertEqual(
            (
                inventory.Holder('m1', None, 1),
                inventory.Holder('s1', 'train', 1),
            ),
            row.servers,
        )

    def test_unknown_totals_are_what_is_seen(self) -> None:
        for held, expected in {
            (0, 0): (1, 1, 0),
            (0, 1): (1, 1, 0),
            (4, 1): (4, 0, 3),
            (1, 3): (3, 2, 0),
        }.items():
            card = provider('gpu1_0000:20:00.0', **{A100: held})
            (row,) = inventory.join([card], named(self.host))
            self.assertEqual(
                expected, (row.total, row.reserved, row.free), held
            )

    def test_host_that_came_later(self) -> None:
        (row,) = inventory.join([self.card], {})
        self.assertEqual('gpu1', row.host)

    def test_order_is_host_device_class(self) -> None:
        hosts = named(provider('b', 'b'), provider('a', 'a'))
        two = {'VGPU': (1, 0), 'CUSTOM_GPU': (1, 0)}
        rows = inventory.join(
            [
                provider('b_0000:20:00.0', 'b', **two),
                provider('a_0000:30:00.0', 'a', **two),
                provider('a_0000:20:00.0', 'a', VGPU=(1, 0)),
            ],
            hosts,
        )
        self.assertEqual(
            [
                ('a', '0000:20:00.0', 'VGPU'),
                ('a', '0000:30:00.0', 'CUSTOM_GPU'),
                ('a', '0000:30:00.0', 'VGPU'),
                ('b', '0000:20:00.0', 'CUSTOM_GPU'),
                ('b', '0000:20:00.0', 'VGPU'),
            ],
            [(r.host, r.device, r.resource_class) for r in rows],
        )

    @given(
        capacity=strategies.integers(0, 64),
        used=strategies.integers(0, 64),
        total=strategies.none() | strategies.integers(64, 128),
    )
    def test_numbers_always_add_up(
        self, capacity: int, used: int, total: int | None
    ) -> None:
        reserved = None if total is None else total - capacity
        resource = placement.Resource(capacity, used, total, reserved)
        card = dataclasses.replace(self.card, resources={'VGPU': resource})
        (row,) = inventory.join([card], named(self.host))
        self.assertGreaterEqual(row.total, 1)
        self.assertGreaterEqual(row.reserved, 0)
        self.assertEqual(max(0, row.total - row.reserved - row.used), row.free)
