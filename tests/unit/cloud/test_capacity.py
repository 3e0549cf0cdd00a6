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

"""How many fit, of hosts put together by hand."""

import itertools

from hypothesis import given
from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies as st

from osc_gpu.cloud import capacity
from osc_gpu.cloud import capacity_hosts
from osc_gpu.cloud import capacity_notes
from osc_gpu.cloud import flavors
from osc_gpu.cloud import placement
from osc_gpu.cloud import resource_request
from tests.unit import base
from tests.unit import fake_cloud

A100 = fake_cloud.A100
V100 = 'CUSTOM_PCI_10DE_1DB6'
DOWN = capacity_hosts.DOWN


def flavor(specs, name='g1', vcpus=1, ram=1024, disk=1):
    return flavors.Flavor(
        id=f'id-{name}',
        name=name,
        vcpus=vcpus,
        ram=ram,
        disk=disk,
        ephemeral=0,
        swap=0,
        is_public=True,
        extra_specs=specs,
    )


def request(specs, **sizes):
    return resource_request.read(flavor(specs, **sizes))


class TestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.hosts = []
        self.refused = {}

    def provider(self, uuid, root, resources, traits=(), name=None):
        return placement.Provider(
            uuid=uuid,
            name=name or uuid,
            root_uuid=root,
            parent_uuid=None if uuid == root else root,
            traits=traits,
            resources={
                rc: n
                if isinstance(n, placement.Resource)
                else placement.Resource(n, 0)
                for rc, n in resources.items()
            },
        )

    def host(self, name, *devices, traits=(), closed=(), **sizes):
        """Add a host; a device is (resources, traits)."""
        sizes = {'VCPU': 16, 'MEMORY_MB': 16384, 'DISK_GB': 100} | sizes
        root = self.provider(name, name, sizes, traits)
        found = [
            self.provider(
                f'{name}-{n}',
                name,
                resources,
                more,
                name=f'{name}_0000:{n:02X}:00.0',
            )
            for n, (resources, *rest) in enumerate(devices)
            for more in [rest[0] if rest else ()]
        ]
        self.hosts.append(
            capacity_hosts.Host(name, name, (root, *found), closed)
        )

    @property
    def whole(self):
        return capacity_hosts.Cloud(
            tuple(self.hosts), self.refused, {'a': frozenset([A100])}
        )

    def judge(self, specs, given=None, lift=(), **sizes):
        return capacity.judge(self.whole, request(specs, **sizes), given, lift)

    def limits(self, verdict):
        return {h.host: (h.fits, h.limits) for h in verdict.hosts}


class TestJudge(TestCase):
    def test_each_term(self):
        for sizes, fits, term in (
            ({'VCPU': 3}, 3, 'VCPU'),
            ({'MEMORY_MB': 2048 + 1023}, 2, 'RAM'),
            ({'DISK_GB': 1}, 1, 'disk'),
            ({}, 4, 'VGPU'),
            ({'VCPU': 0}, 0, 'VCPU'),
            ({'MEMORY_MB': 1023}, 0, 'RAM'),
        ):
            with self.subTest(sizes):
                self.hosts.clear()
                self.host('gpu1', ({'VGPU': 4},), **sizes)
                verdict = self.judge({'resources:VGPU': '1'})
                self.assertEqual(fits, verdict.fits)
                self.assertEqual(
                    {'gpu1': (fits, (term,))}, self.limits(verdict)
                )
                self.assertEqual(4, verdict.free)
                self.assertEqual({'VGPU': 'requested'}, verdict.classes)
                self.assertEqual(
                    '' if fits else f'{term} on 1 host',
                    capacity.blocked_by(verdict),
                )

    def test_several_limits(self):
        self.host('gpu1', ({'VGPU': 2},), VCPU=2)
        verdict = self.judge({'resources:VGPU': '1'})
        self.assertEqual({'gpu1': (2, ('VGPU', 'VCPU'))}, self.limits(verdict))

    def test_whole_devices(self):
        self.host('gpu1', ({'VGPU': 5},), ({'VGPU': 4},))
        verdict = self.judge({'resources:VGPU': '3'})
        self.assertEqual(
            (2, 9, 9), (verdict.fits, verdict.free, verdict.most_free)
        )

    def test_groups(self):
        specs = {'resources1:VGPU': '1', 'resources2:VGPU': '1'}
        self.host('gpu1', ({'VGPU': 5},), ({'VGPU': 2},))
        self.host('gpu2', ({'VGPU': 4},))
        self.assertEqual(5, self.judge(specs | {'group_policy': 'none'}).fits)
        verdict = self.judge(specs | {'group_policy': 'isolate'})
        self.assertEqual(
            {'gpu1': (2, ('VGPU',)), 'gpu2': (0, ('VGPU',))},
            self.limits(verdict),
        )
        self.assertEqual(0, self.judge(specs).fits)

    def test_group_of_two_classes(self):
        both = {'VGPU': 4, 'CUSTOM_X': 1}
        self.host('gpu1', (both,), ({'VGPU': 8},))
        specs = {'resources1:VGPU': '2', 'resources1:CUSTOM_X': '1'}
        verdict = self.judge(specs)
        self.assertEqual(1, verdict.fits)
        self.assertEqual(4, verdict.free)
        verdict = self.judge(specs | {'resources:VGPU': '1'})
        self.assertIsNone(verdict.fits)
        self.assertIn('VGPU', verdict.why)

    def test_trait_of_the_device(self):
        self.host('gpu1', ({'VGPU': 4}, ('CUSTOM_X',)), ({'VGPU': 8},))
        specs = {'resources1:VGPU': '1'}
        for word, fits in (('required', 4), ('forbidden', 8)):
            verdict = self.judge(specs | {'trait1:CUSTOM_X': word})
            self.assertEqual((fits, fits), (verdict.fits, verdict.free))
        verdict = self.judge(specs | {'trait1:CUSTOM_Y': 'required'})
        self.assertEqual('trait on 1 host', capacity.blocked_by(verdict))
        (relaxed,) = capacity.relax(self.whole, verdict)
        self.assertEqual(('trait', 12, 1), relaxed)

    def test_ungrouped_trait(self):
        specs = {'resources:VGPU': '1', 'trait:CUSTOM_X': 'required'}
        self.host('gpu1', ({'VGPU': 3}, ('CUSTOM_X',)), ({'VGPU': 8},))
        self.host('gpu2', ({'VGPU': 5},), traits=('CUSTOM_X',))
        self.host('gpu3', ({'VGPU': 5},))
        self.assertEqual(
            {
                'gpu1': (3, ('VGPU',)),
                'gpu2': (5, ('VGPU',)),
                'gpu3': (0, ('trait',)),
            },
            self.limits(self.judge(specs)),
        )
        specs['trait:CUSTOM_X'] = 'forbidden'
        self.assertEqual(
            {
                'gpu1': (8, ('VGPU',)),
                'gpu2': (0, ('trait',)),
                'gpu3': (5, ('VGPU',)),
            },
            self.limits(self.judge(specs)),
        )

    def test_trait_brought_by_one_of_two_asks(self):
        self.host(
            'gpu1',
            ({'VGPU': 4}, ('CUSTOM_X',)),
            ({'VGPU': 4},),
            ({'PGPU': 2},),
        )
        verdict = self.judge(
            {
                'resources:VGPU': '1',
                'resources:PGPU': '1',
                'trait:CUSTOM_X': 'required',
            }
        )
        self.assertEqual(2, verdict.fits)

    def test_refused_amount(self):
        self.host('gpu1', ({'VGPU': 4},))
        self.refused = {('VCPU', 1): frozenset(['gpu1'])}
        verdict = self.judge({'resources:VGPU': '1'})
        self.assertEqual('VCPU on 1 host', capacity.blocked_by(verdict))
        self.assertIn(
            'VCPU:1 is free on gpu1',
            capacity_notes.read(self.whole, verdict, {})[0],
        )

    def test_closed(self):
        self.host('gpu1', ({'VGPU': 4},), closed=(DOWN, 'disabled'))
        self.host('gpu2', ({'VGPU': 4},), closed=('disabled',), VCPU=0)
        self.host('gpu3', ({'VGPU': 1},))
        verdict = self.judge({'resources:VGPU': '1'})
        self.assertEqual(
            {
                'gpu1': (0, ('down', 'disabled')),
                'gpu2': (0, ('disabled', 'VCPU')),
                'gpu3': (1, ('VGPU',)),
            },
            self.limits(verdict),
        )
        self.assertEqual((1, 1), (verdict.free, verdict.most_free))
        self.assertEqual(
            {'disabled': 2, 'down': 1, 'VCPU': 1}, verdict.blocking
        )
        relaxed = {r.term: r for r in capacity.relax(self.whole, verdict)}
        self.assertEqual(1, relaxed['down'].fits)
        # Without the class, RAM and VCPUs are what is left to count.
        self.assertEqual(('VGPU', 16, 1), relaxed['VGPU'])
        empty = capacity.emptied(self.whole)
        found = capacity.judge(empty, verdict.request)
        self.assertEqual(5, found.fits)

    def test_emptied(self):
        self.host(
            'gpu1',
            ({'VGPU': placement.Resource(4, 4)},),
            VCPU=placement.Resource(16, 16),
        )
        verdict = self.judge({'resources:VGPU': '1'})
        self.assertEqual({'gpu1': (0, ('VGPU', 'VCPU'))}, self.limits(verdict))
        empty = capacity.emptied(self.whole)
        self.assertEqual(4, capacity.judge(empty, verdict.request).fits)

    def test_reserved(self):
        self.host('gpu1', ({A100: 0},), ({A100: placement.Resource(0, 1)},))
        self.host(
            'gpu2', ({A100: placement.Resource(2, 2, total=8, reserved=6)},)
        )
        verdict = self.judge({'pci_passthrough:alias': 'a:1'})
        self.assertEqual('reserved on 2 hosts', capacity.blocked_by(verdict))
        (relaxed,) = capacity.relax(self.whole, verdict)
        self.assertEqual(('reserved', 1 + 6, 2), relaxed)

    def test_aggregate(self):
        self.host('gpu1', ({'VGPU': 4},))
        specs = {
            'resources:VGPU': '1',
            'aggregate_instance_extra_specs:x': '1',
        }
        verdict = self.judge(specs)
        self.assertEqual('aggregate on 1 host', capacity.blocked_by(verdict))
        self.assertEqual(4, self.judge(specs, lift=['aggregate']).fits)
        self.assertIn(
            'AggregateInstanceExtraSpecsFilter',
            capacity_notes.read(self.whole, verdict, {})[0],
        )

    def test_class_of_no_host(self):
        self.host('gpu1', ({'VGPU': 4},))
        self.host('gpu2', ({'PGPU': 4},))
        for specs, why in (
            ({'resources:CUSTOM_GPU': '1'}, 'no host has CUSTOM_GPU'),
            (
                {'resources:VGPU': '1', 'resources:PGPU': '1'},
                'no host has all of PGPU, VGPU',
            ),
        ):
            verdict = self.judge(specs)
            self.assertEqual((0, why), (verdict.fits, verdict.why))
            self.assertEqual(why, capacity.blocked_by(verdict))

    def test_only_one_host(self):
        self.host('gpu1', ({'VGPU': 4},))
        self.host('gpu2', ({'PGPU': 2},))
        wanted = request({'resources:VGPU': '1'})
        for host, fits, why in (
            ('gpu1', 4, ''),
            ('gpu2', 0, 'the host lacks VGPU'),
        ):
            verdict = capacity.judge(self.whole, wanted, host=host)
            self.assertEqual((fits, why), (verdict.fits, verdict.why))

    def test_shared_storage(self):
        self.host('gpu1', ({'VGPU': 4},))
        self.hosts[0].providers[0].resources.pop('DISK_GB')
        verdict = self.judge({'resources:VGPU': '1'})
        self.assertIsNone(verdict.fits)
        self.assertIn('host gpu1 has no DISK_GB', verdict.why)
        self.assertEqual(4, self.judge({'resources:VGPU': '1'}, disk=0).fits)
        full = self.judge({'resources:VGPU': '1'}, vcpus=17)
        self.assertEqual(0, full.fits)

    def test_pinned_cpus(self):
        specs = {'resources:VGPU': '1', 'hw:cpu_policy': 'dedicated'}
        self.host('gpu1', ({'VGPU': 4},))
        verdict = self.judge(specs, vcpus=2)
        self.assertIsNone(verdict.fits)
        self.assertIn('host gpu1 has no PCPU', verdict.why)
        self.assertEqual(0, self.judge(specs, ram=16385).fits)
        # Asked for by the class, there is nothing instead of it.
        asked = {'resources:VGPU': '1', 'resources:PCPU': '2'}
        self.assertEqual(0, self.judge(asked).fits)
        self.hosts[0].providers[0].resources.pop('DISK_GB')
        self.assertIsNone(self.judge(specs, vcpus=2).fits)
        self.hosts.clear()
        self.host('gpu2', ({'VGPU': 4},), PCPU=5)
        self.assertEqual(2, self.judge(specs, vcpus=2).fits)
        self.assertEqual(0, self.judge(specs, vcpus=6).fits)

    def test_hosts_that_were_not_read(self):
        self.host('gpu1', ({'VGPU': 4},))
        wanted = request({'resources:VGPU': '1'})
        unread = dict.fromkeys(wanted.resources.items(), frozenset(['gpu9']))
        cloud = capacity_hosts.Cloud(tuple(self.hosts), unread=unread)
        self.assertIsNone(capacity.judge(cloud, wanted).fits)
        self.assertEqual(4, capacity.judge(cloud, wanted, host='gpu1').fits)
        unread['VCPU', 1] = frozenset()
        self.assertEqual(4, capacity.judge(cloud, wanted).fits)

    def test_refused_flavor(self):
        self.host('gpu1', ({A100: 4},))
        verdict = self.judge({'pci_passthrough:alias': 'a'})
        self.assertEqual(
            (0, 'malformed pci_passthrough:alias'),
            (verdict.fits, capacity.blocked_by(verdict)),
        )

    @given(st.lists(st.integers(0, 6), min_size=1, max_size=4))
    def test_never_more_than_is_free(self, units):
        self.hosts.clear()
        self.host('gpu1', *(({'VGPU': n},) for n in units))
        verdict = self.judge(
            {
                'resources1:VGPU': '1',
                'resources2:VGPU': '2',
                'group_policy': 'isolate',
            }
        )
        self.assertLessEqual(3 * verdict.fits, sum(units))
        if len(units) == 1:
            self.assertEqual(0, verdict.fits)


class TestAliases(TestCase):
    alias = 'pci_passthrough:alias'

    def test_learned(self):
        self.host('gpu1', ({A100: 1},), ({A100: 1},), ({A100: 1},))
        verdict = self.judge({self.alias: 'a:2'}, {'a': V100})
        self.assertEqual((1, 3), (verdict.fits, verdict.free))
        self.assertEqual({A100: 'learned'}, verdict.classes)

    def test_virtual_functions(self):
        self.host('gpu1', ({A100: 8},))
        self.assertEqual(2, self.judge({self.alias: 'a:4'}).fits)
        specs = {self.alias: 'a:4', 'group_policy': 'isolate'}
        self.assertEqual(0, self.judge(specs).fits)

    def test_given(self):
        self.host('gpu1', ({A100: 1},), ({V100: 1},))
        verdict = self.judge({self.alias: 'b:1'}, {'b': V100})
        self.assertEqual((1, {V100: 'given'}), (verdict.fits, verdict.classes))

    def test_assumed(self):
        # A network card is no GPU, a class of the operator's may be.
        self.host('gpu1', ({V100: 1},), ({fake_cloud.fake_placement.NIC: 1},))
        verdict = self.judge({self.alias: 'b:1'})
        self.assertEqual({V100: 'assumed'}, verdict.classes)
        self.assertEqual(
            [
                'Assumed, as it is the only class of PCI GPUs: alias b stands '
                f'for {V100}'
            ],
            capacity_notes.of_aliases(self.whole, verdict, {}),
        )

    def test_not_known(self):
        self.host('gpu1', ({A100: 1},), ({V100: 1},))
        verdict = self.judge({self.alias: 'b:1'})
        self.assertIsNone(verdict.fits)
        self.assertEqual(f'alias b may stand for {V100}, {A100}', verdict.why)
        self.hosts.clear()
        self.host('gpu1', ({fake_cloud.fake_placement.NIC: 1},))
        self.assertEqual(
            'no PCI device in Placement is a GPU',
            self.judge({self.alias: 'b:1'}).why,
        )

    def test_nothing_in_placement(self):
        self.host('cpu1')
        verdict = self.judge({self.alias: 'a:1'}, {'a': A100})
        self.assertEqual(
            (None, 'no PCI devices in Placement'),
            (verdict.fits, verdict.why),
        )

    def test_not_defined(self):
        self.host('gpu1', ({A100: 1},))
        cloud = capacity_hosts.Cloud(
            tuple(self.hosts), undefined=frozenset(['b'])
        )
        verdict = capacity.judge(cloud, request({self.alias: 'b:1'}))
        self.assertEqual(
            (0, 'alias b not defined'), (verdict.fits, verdict.why)
        )
        self.assertEqual(
            [('alias not defined', 1, 1)],
            list(capacity.relax(cloud, verdict)),
        )

    def test_devices_that_differ(self):
        self.host('gpu1', ({A100: 1}, ('CUSTOM_X',)), ({A100: 1},))
        verdict = self.judge({self.alias: 'a:1', 'hw:numa_nodes': '2'})
        traits, numa = capacity_notes.read(self.whole, verdict, {})
        self.assertIn(f'Devices of {A100} have different traits', traits)
        self.assertIn('hw:numa_nodes=2', numa)


class TestFragments(TestCase):
    def test_ruled_out(self):
        self.host('gpu1', ({A100: 3},))
        self.host('gpu2', ({A100: 2},))
        self.host('gpu3', ({A100: 9},), closed=(DOWN,))
        cloud = self.whole
        verdicts = [
            capacity.judge(
                cloud,
                request({'pci_passthrough:alias': f'a:{n}'}, name=f'g{n}'),
            )
            for n in (1, 3, 4, 5, 6)
        ]
        (found,) = capacity_notes.fragments(cloud, verdicts, {})
        self.assertEqual((A100, 5, 3, ('g4', 'g5')), found)
        self.assertEqual(
            f'5 {A100} free in all, at most 3 on one host; rules out: g4, g5',
            found.text,
        )
        self.assertEqual(
            f'5 {A100} free in all, at most 3 on one host',
            found._replace(ruled_out=()).text,
        )


UNITS = st.lists(
    st.tuples(st.integers(0, 3), st.sets(st.sampled_from('XY'))),
    min_size=1,
    max_size=3,
)


class TestTruth(TestCase):
    """Against trying everything, on a host of a few devices."""

    # How fast it is depends on what else the machine does.
    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        UNITS,
        st.sets(st.sampled_from('XY')),
        st.sampled_from([None, 'required', 'forbidden']),
        st.sampled_from([None, 'required', 'forbidden']),
        st.integers(0, 2),
        st.booleans(),
    )
    def test_brute_force(self, units, root, word, word1, groups, isolate):
        self.hosts.clear()
        devices = [
            ({'VGPU': n}, tuple(f'CUSTOM_{t}' for t in traits))
            for n, traits in units
        ]
        self.host('h', *devices, traits=tuple(f'CUSTOM_{t}' for t in root))
        specs = {
            'resources:VGPU': '1',
            'group_policy': 'isolate' if isolate else 'none',
        }
        specs |= {f'resources{n}:VGPU': '1' for n in range(1, groups + 1)}
        if word:
            specs['trait:CUSTOM_X'] = word
        if word1 and groups:
            specs['trait1:CUSTOM_Y'] = word1
        words = [word, word1, None][: groups + 1]
        truth = self.most(
            tuple(n for n, _t in units),
            [(t, root) for _n, t in units],
            words,
            isolate,
        )
        self.assertEqual(truth, self.judge(specs).fits)

    def most(self, free, traits, words, isolate):
        return max(
            (
                1 + self.most(left, traits, words, isolate)
                for left in self.servers(free, traits, words, isolate)
            ),
            default=0,
        )

    def servers(self, free, traits, words, isolate):
        """Return what is left after each way to place one server."""
        found = set()
        for chosen in itertools.product(range(len(free)), repeat=len(words)):
            left = [n - chosen.count(i) for i, n in enumerate(free)]
            apart = len(set(chosen[1:])) == len(chosen[1:]) or not isolate
            if min(left) >= 0 and apart and self.suits(chosen, traits, words):
                found.add(tuple(left))
        return found

    def suits(self, chosen, traits, words):
        for number, (device, word) in enumerate(
            zip(chosen, words, strict=True)
        ):
            own, root = traits[device]
            # The ungrouped one takes the root's traits, too.
            having = own | root if number == 0 else own
            trait = 'X' if number == 0 else 'Y'
            if word == 'required' and trait not in having:
                return False
            if word == 'forbidden' and trait in having:
                return False
        return True
