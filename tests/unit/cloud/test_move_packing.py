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


"""Many servers on hosts put together by hand, and by chance."""

import itertools
from unittest import mock

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from osc_gpu.cloud import capacity_hosts
from osc_gpu.cloud import move_packing
from osc_gpu.cloud import move_search
from tests.unit.cloud import test_capacity

A100 = test_capacity.A100
V100 = test_capacity.V100
CARD = ({A100: 1},)


class TestCase(test_capacity.TestCase):
    def setUp(self):
        super().setUp()
        self.wishes = []

    def wish(self, specs, away=(), apart=(), **sizes):
        """Ask for a place; return the key."""
        key = f's{len(self.wishes)}'
        self.wishes.append(
            move_packing.Wish(
                key,
                test_capacity.request(specs, **sizes),
                frozenset(away),
                frozenset(apart),
            )
        )
        return key

    def alias(self, count=1, **more):
        return self.wish({'pci_passthrough:alias': f'a:{count}'}, **more)

    def pack(self, steps=move_packing.MOST_STEPS):
        return move_packing.pack(self.whole, self.wishes, steps)

    def places(self, *keys):
        packed = self.pack()
        self.assertEqual({}, packed.unplaced)
        return [packed.places[key] for key in keys]

    def why(self, key):
        packed = self.pack()
        self.assertNotIn(key, packed.places)
        return packed.unplaced[key]


class TestPack(TestCase):
    def test_nobody(self):
        self.host('gpu1', CARD)
        packed = self.pack()
        self.assertEqual(
            ({}, {}, {}), (packed.places, packed.unplaced, packed.uncounted)
        )

    def test_large_ones_first(self):
        self.host('gpu1', *[CARD] * 4)
        self.host('gpu2', *[CARD] * 4)
        two, four, other = self.alias(2), self.alias(4), self.alias(2)
        found = self.places(two, four, other)
        self.assertEqual(found[0], found[2])
        self.assertNotEqual(found[0], found[1])

    def test_tightest_host(self):
        self.host('gpu1', *[CARD] * 4)
        self.host('gpu2', *[CARD] * 2)
        self.host('gpu3', *[CARD] * 3)
        self.assertEqual(['gpu2'], self.places(self.alias(2)))

    def test_goes_back_where_the_first_way_leads_nowhere(self):
        # 4 fits tightest on the 6, where it leaves room for no 3.
        self.host('gpu1', *[CARD] * 6)
        self.host('gpu2', *[CARD] * 7)
        keys = [self.alias(n) for n in (4, 3, 3, 3)]
        packed = self.pack()
        self.assertEqual({}, packed.unplaced)
        self.assertEqual('gpu2', packed.places[keys[0]])

    def spread(self, at_once, *keys):
        packed = move_packing.pack(self.whole, self.wishes, at_once=at_once)
        self.assertEqual({}, packed.unplaced)
        return [packed.places[key] for key in keys]

    def test_spread_over_as_many_hosts_as_move_at_once(self):
        for name, cards in (('gpu1', 4), ('gpu2', 2), ('gpu3', 1)):
            self.host(name, *[CARD] * cards)
        keys = [self.alias() for _n in range(4)]
        for at_once, hosts in (
            (1, ['gpu3', 'gpu2', 'gpu2', 'gpu1']),
            (2, ['gpu3', 'gpu2', 'gpu2', 'gpu1']),
            (3, ['gpu3', 'gpu2', 'gpu1', 'gpu2']),
            (9, ['gpu3', 'gpu2', 'gpu1', 'gpu2']),
        ):
            with self.subTest(at_once):
                self.assertEqual(hosts, self.spread(at_once, *keys))

    def test_spread_evenly(self):
        for name in ('gpu1', 'gpu2', 'gpu3'):
            self.host(name, *[CARD] * 8)
        keys = [self.alias() for _n in range(7)]
        self.assertEqual(['gpu1'] * 7, self.spread(1, *keys))
        self.assertEqual(
            ['gpu1', 'gpu2', 'gpu1', 'gpu2', 'gpu1', 'gpu2', 'gpu1'],
            self.spread(2, *keys),
        )

    def test_spread_only_what_queues(self):
        for name in ('gpu1', 'gpu2'):
            self.host(name, ({'VGPU': 8},))
        keys = [self.wish({'resources:VGPU': '1'}) for _n in range(3)]
        self.assertEqual(['gpu1'] * 3, self.spread(2, *keys))

    def test_not_spread_where_they_would_not_fit(self):
        self.host('gpu1', *[CARD] * 4)
        self.host('gpu2', *[CARD] * 3)
        keys = [self.alias(n) for n in (2, 2, 3)]
        self.assertEqual(['gpu1', 'gpu1', 'gpu2'], self.spread(2, *keys))

    def test_closed_hosts(self):
        for n, term in enumerate(('down', 'disabled', 'no hypervisor')):
            self.host(f'gpu{n}', CARD, closed=(term,))
        self.assertEqual(
            'no room: down on 1 host, disabled on 1 host, '
            'no hypervisor on 1 host',
            self.why(self.alias()),
        )

    def test_away_from(self):
        self.host('gpu1', CARD)
        self.host('gpu2', CARD)
        keys = self.alias(away=['gpu1']), self.alias(away=['gpu2'])
        self.assertEqual(['gpu2', 'gpu1'], self.places(*keys))
        key = self.alias(away=['gpu1', 'gpu2'])
        self.assertEqual('no other host', self.why(key))

    def test_each_term(self):
        for sizes, term in (
            ({'VCPU': 0}, 'VCPU'),
            ({'MEMORY_MB': 1023}, 'RAM'),
            ({'DISK_GB': 0}, 'disk'),
        ):
            self.hosts.clear()
            self.wishes.clear()
            self.host('gpu1', CARD, **sizes)
            key = self.alias()
            self.assertEqual(
                f'no room on gpu1: {term} on 1 host', self.why(key)
            )

    def test_no_room_beside_the_others(self):
        self.host('gpu1', *[CARD] * 3)
        large, small = self.alias(3), self.alias(1)
        packed = self.pack()
        self.assertEqual({large: 'gpu1'}, packed.places)
        self.assertEqual(
            {small: f'no room beside the others: {A100} on 1 host'},
            packed.unplaced,
        )

    def test_as_many_as_possible(self):
        self.host('gpu1', *[CARD] * 4)
        for _n in range(6):
            self.alias()
        packed = self.pack()
        self.assertEqual((4, 2), (len(packed.places), len(packed.unplaced)))

    def test_another_class(self):
        self.host('gpu1', ({V100: 1},))
        self.assertEqual(
            f'no room on gpu1: the host lacks {A100}', self.why(self.alias())
        )

    def test_units_of_one_provider(self):
        self.host('gpu1', ({'VGPU': 3},), ({'VGPU': 3},))
        keys = [self.wish({'resources:VGPU': '2'}) for _n in range(3)]
        packed = self.pack()
        self.assertEqual(2, len(packed.places))
        self.assertIn('VGPU on 1 host', packed.unplaced[keys[2]])

    def test_traits(self):
        self.host('gpu1', ({'VGPU': 1}, ('T1',)), ({'VGPU': 1}, ('T2',)))
        self.host('gpu2', ({'VGPU': 1}, ('T2',)))
        wants = {'resources1:VGPU': '1'}
        first = self.wish(wants | {'trait1:T1': 'required'})
        second = self.wish(wants | {'trait1:T1': 'forbidden'})
        third = self.wish(wants | {'trait1:T2': 'required'})
        packed = self.pack()
        self.assertEqual({}, packed.unplaced)
        self.assertEqual('gpu1', packed.places[first])
        self.assertEqual(
            {'gpu1', 'gpu2'}, {packed.places[second], packed.places[third]}
        )
        fourth = self.wish(wants | {'trait1:T1': 'required'})
        self.assertIn('beside the others: VGPU', self.why(fourth))

    def test_a_device_for_whom_no_other_will_do(self):
        """Who could have any leaves it the one that it needs."""
        self.host('gpu1', ({'VGPU': 1}, ('T1',)), ({'VGPU': 1}, ('T2',)))
        self.wish({'resources1:VGPU': '1'}, ram=2048)
        self.wish({'resources1:VGPU': '1', 'trait1:T1': 'required'})
        self.assertEqual({}, self.pack().unplaced)

    def test_isolated_groups(self):
        specs = {
            'resources1:VGPU': '1',
            'resources2:VGPU': '1',
            'group_policy': 'isolate',
        }
        self.host('gpu1', ({'VGPU': 8},))
        key = self.wish(specs)
        self.assertIn('VGPU', self.why(key))
        self.host('gpu2', ({'VGPU': 1},), ({'VGPU': 2},))
        self.assertEqual(['gpu2'], self.places(key))
        self.wishes.clear()
        both = self.wish(specs | {'group_policy': 'none'})
        self.assertEqual(1, len(self.places(both)))

    def test_groups_that_share_a_provider(self):
        specs = {
            'resources1:VGPU': '1',
            'resources2:VGPU': '1',
            'group_policy': 'none',
        }
        self.host('gpu1', ({'VGPU': 2},))
        self.assertEqual(['gpu1'], self.places(self.wish(specs)))

    def test_several_classes_of_one_group(self):
        specs = {'resources1:VGPU': '1', 'resources1:CUSTOM_M': '2'}
        self.host('gpu1', ({'VGPU': 9, 'CUSTOM_M': 1},), ({'CUSTOM_M': 9},))
        key = self.wish(specs)
        self.assertIn('VGPU', self.why(key))
        self.host('gpu2', ({'VGPU': 1, 'CUSTOM_M': 2},))
        self.assertEqual(['gpu2'], self.places(key))

    def test_aggregates(self):
        self.host('gpu1', CARD)
        key = self.wish(
            {
                'pci_passthrough:alias': 'a:1',
                'aggregate_instance_extra_specs:gpu': 'yes',
            }
        )
        self.assertIn('aggregate on 1 host', self.why(key))
        (host,) = self.hosts
        self.hosts[:] = [
            capacity_hosts.Host(
                host.name,
                host.root_uuid,
                host.providers,
                metadata={'gpu': frozenset(['yes'])},
            )
        ]
        self.assertEqual(['gpu1'], self.places(key))

    def test_refused_amounts(self):
        self.host('gpu1', ({'VGPU': 4},))
        key = self.wish({'resources:VGPU': '2'})
        self.assertEqual(['gpu1'], self.places(key))
        self.refused['VGPU', 2] = frozenset(['gpu1-0'])
        self.assertIn('VGPU on 1 host', self.why(key))

    def test_refused_requests(self):
        self.host('gpu1', CARD)
        key = self.wish({'pci_passthrough:alias': 'a'})
        self.assertIn('malformed', self.why(key))

    def test_without_gpu(self):
        self.host('gpu1', CARD)
        self.host('plain2', MEMORY_MB=4096)
        self.host('plain1', MEMORY_MB=8192)
        keys = [self.wish({}, ram=2048), self.wish({}, ram=4096)]
        # The larger first; and then where it leaves least.
        self.assertEqual(['plain1', 'plain2'], self.places(*keys))
        self.wish({}, ram=4096)
        self.assertNotIn('gpu1', self.pack().places.values())
        self.wish({}, ram=4096)
        self.assertIn('gpu1', self.pack().places.values())

    def test_gpus_of_unknown_class(self):
        self.host('gpu1', CARD, ({V100: 1},))
        key = self.wish({'pci_passthrough:alias': 'b:1'})
        packed = self.pack()
        self.assertEqual({key: 'gpu1'}, packed.places)
        self.assertIn('b may stand for', packed.uncounted[key])

    def test_pci_not_in_placement(self):
        self.host('gpu1')
        key = self.alias()
        packed = self.pack()
        self.assertEqual({key: 'gpu1'}, packed.places)
        self.assertEqual(
            {key: 'no PCI devices in Placement'},
            packed.uncounted,
        )
        other = self.alias(ram=99999)
        self.assertEqual('no room on gpu1: RAM on 1 host', self.why(other))

    def test_shared_disk(self):
        self.host('gpu1', CARD, DISK_GB=0)
        key = self.alias(disk=10)
        self.assertIn('disk', self.why(key))
        root = self.hosts[0].providers[0]
        del root.resources['DISK_GB']
        self.assertEqual(['gpu1'], self.places(key))

    def test_apart(self):
        self.host('gpu1', CARD, CARD)
        self.host('gpu2', CARD, CARD)
        keys = [self.alias(apart=['g']) for _n in range(2)]
        self.assertEqual({'gpu1', 'gpu2'}, set(self.places(*keys)))
        third = self.alias(apart=['g'])
        packed = self.pack()
        self.assertEqual(2, len(packed.places))
        self.assertEqual(
            ['no room that its server group allows'],
            list(packed.unplaced.values()),
        )
        self.assertIn(third, self.pack().unplaced)

    def test_the_first_result_stands_when_steps_run_out(self):
        self.host('gpu1', *[CARD] * 2)
        self.host('gpu2', *[CARD] * 2)
        for _n in range(3):
            self.alias()
        self.assertEqual({}, self.pack(0).unplaced)

    def test_what_fits_nowhere_does_not_keep_the_others_searching(self):
        for n in range(20):
            self.host(f'gpu{n:02d}', *[CARD] * (n % 5), ({'VGPU': n % 4},))
        large = self.alias(6)
        for n in range(8):
            self.alias(1 + n % 4)
            self.wish({'resources:VGPU': str(1 + n % 3)})
        packed = self.pack(100)
        self.assertEqual([large], list(packed.unplaced))

    def test_too_many_are_told_by_their_number(self):
        """No way but the first is tried once it cannot be bettered."""
        for n in range(8):
            self.host(f'gpu{n}', CARD, CARD, DISK_GB=100 + n)
        keys = [self.alias(disk=1 + n) for n in range(18)]
        with mock.patch.object(
            move_search, '_ways', wraps=move_search._ways
        ) as tried:
            packed = self.pack()
        self.assertEqual(16, len(packed.places))
        self.assertEqual(2, len(set(keys) & packed.unplaced.keys()))
        self.assertLess(tried.call_count, 300)


def brute(frees, wanted):
    """Return how many of the servers fit, at most, of one class."""
    best = 0
    for places in itertools.product(
        (None, *range(len(frees))), repeat=len(wanted)
    ):
        used = [0] * len(frees)
        for place, amount in zip(places, wanted, strict=True):
            if place is not None:
                used[place] += amount
        if all(u <= f for u, f in zip(used, frees, strict=True)):
            best = max(best, sum(place is not None for place in places))
    return best


class TestAgainstBruteForce(TestCase):
    @given(
        st.lists(st.integers(0, 5), min_size=1, max_size=3),
        st.lists(st.integers(1, 4), min_size=1, max_size=5),
    )
    @settings(deadline=None, max_examples=30)
    def test_whole_devices(self, frees, wanted):
        self.hosts.clear()
        self.wishes.clear()
        for n, free in enumerate(frees):
            self.host(f'gpu{n}', *[CARD] * free)
        # So that there is the class, whatever comes.
        self.host('zero', CARD, MEMORY_MB=0)
        for amount in wanted:
            self.alias(amount)
        packed = self.pack()
        self.assertEqual(brute(frees, wanted), len(packed.places))
        self.check(packed)
        spread = move_packing.pack(self.whole, self.wishes, at_once=2)
        self.assertEqual(packed.places.keys(), spread.places.keys())
        self.check(spread)

    @given(
        st.lists(
            st.lists(st.integers(0, 4), min_size=1, max_size=3),
            min_size=1,
            max_size=2,
        ),
        st.lists(st.integers(1, 3), min_size=1, max_size=5),
    )
    @settings(deadline=None, max_examples=30)
    def test_parts_of_devices(self, hosts, wanted):
        """Of the devices, each is a bin of its own."""
        self.hosts.clear()
        self.wishes.clear()
        for n, frees in enumerate(hosts):
            self.host(f'gpu{n}', *[({'VGPU': free},) for free in frees])
        for amount in wanted:
            self.wish({'resources:VGPU': str(amount)})
        packed = self.pack()
        bins = [free for frees in hosts for free in frees]
        self.assertEqual(brute(bins, wanted), len(packed.places))

    @given(
        st.lists(
            st.lists(
                st.tuples(
                    st.integers(0, 3), st.sampled_from(((), ('T',), ('U',)))
                ),
                max_size=3,
            ),
            min_size=1,
            max_size=2,
        ),
        st.lists(
            st.tuples(
                st.integers(1, 2),
                st.sampled_from(('', 'required', 'forbidden')),
            ),
            min_size=1,
            max_size=4,
        ),
    )
    @settings(deadline=None, max_examples=30)
    def test_traits(self, hosts, wanted):
        """Devices of several kinds, as if each was a bin for some."""
        self.hosts.clear()
        self.wishes.clear()
        for n, devices in enumerate(hosts):
            self.host(f'gpu{n}', *[({'VGPU': f}, t) for f, t in devices])
        for amount, word in wanted:
            specs = {'resources1:VGPU': str(amount)}
            self.wish(specs | ({'trait1:T': word} if word else {}))
        bins = [device for devices in hosts for device in devices]
        best = 0
        for places in itertools.product(
            (None, *range(len(bins))), repeat=len(wanted)
        ):
            used = [0] * len(bins)
            suits = True
            for place, (amount, word) in zip(places, wanted, strict=True):
                if place is not None:
                    used[place] += amount
                    has = 'T' in bins[place][1]
                    suits &= not word or has == (word == 'required')
            if suits and all(
                u <= f for u, (f, _t) in zip(used, bins, strict=True)
            ):
                best = max(best, sum(place is not None for place in places))
        self.assertEqual(best, len(self.pack().places))

    @given(
        st.lists(
            st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 4)),
            min_size=1,
            max_size=3,
        ),
        st.lists(
            st.tuples(st.integers(0, 2), st.integers(1, 2), st.integers(0, 2)),
            min_size=1,
            max_size=4,
        ),
    )
    @settings(deadline=None, max_examples=30)
    def test_never_more_than_there_is(self, hosts, wanted):
        """Cards, memory and vGPUs at once: what is placed does fit."""
        self.hosts.clear()
        self.wishes.clear()
        for n, (cards, memory, vgpus) in enumerate(hosts):
            devices = [CARD] * cards + [({'VGPU': vgpus},)]
            self.host(f'gpu{n}', *devices, MEMORY_MB=memory * 1024)
        self.host('zero', CARD, ({'VGPU': 1},), MEMORY_MB=0)
        for cards, memory, vgpus in wanted:
            specs = {'pci_passthrough:alias': f'a:{cards}'} if cards else {}
            if vgpus:
                specs['resources:VGPU'] = str(vgpus)
            self.wish(specs, ram=memory * 1024)
        self.check(self.pack())
        self.check(move_packing.pack(self.whole, self.wishes, at_once=2))

    def check(self, packed):
        used = {}
        for wish in self.wishes:
            place = packed.places.get(wish.key)
            if place is not None:
                held = used.setdefault(place, {})
                amounts = {
                    A100: sum(n for _a, n in wish.request.aliases),
                    **wish.request.resources,
                }
                for name, amount in amounts.items():
                    held[name] = held.get(name, 0) + amount
        for host in self.hosts:
            free = {}
            for provider in host.providers:
                for name, resource in provider.resources.items():
                    free[name] = free.get(name, 0) + resource.free
            for name, amount in used.get(host.name, {}).items():
                self.assertLessEqual(amount, free.get(name, 0), host.name)
