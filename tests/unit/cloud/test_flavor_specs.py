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

import unittest

import hypothesis
from hypothesis import strategies
from osc_lib import exceptions

from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import flavor_specs
from osc_gpu.cloud import gpu_groups

Specs = dict[str, str]
ALIAS = 'pci_passthrough:alias'


def wanted(*vgpus: str, **more: object) -> flavor_specs.Wanted:
    return flavor_specs.Wanted(vgpus=vgpus, **more)


def aliases(*pairs: tuple[str, int], **more: object) -> flavor_specs.Wanted:
    return flavor_specs.Wanted(aliases=pairs, **more)


class TestNew(unittest.TestCase):
    """``apply`` on a flavor that is not there yet."""

    def check(self, specs: Specs, want: flavor_specs.Wanted) -> None:
        self.assertEqual(specs, flavor_specs.apply({}, want))

    def refuse(self, text: str, want: flavor_specs.Wanted) -> None:
        with self.assertRaises(exceptions.CommandError) as caught:
            flavor_specs.apply({}, want)
        self.assertEqual(text, str(caught.exception))

    def test_aliases(self) -> None:
        self.check({ALIAS: 'a100:2'}, aliases(('a100', 2)))
        self.check({ALIAS: 'a:1,b:3'}, aliases(('a', 1), ('b', 3)))

    def test_one_vgpu_is_ungrouped(self) -> None:
        self.check({'resources:VGPU': '1'}, wanted('VGPU'))
        self.check(
            {
                'resources:CUSTOM_A': '1',
                'trait:CUSTOM_T': 'required',
                'trait:CUSTOM_U': 'forbidden',
            },
            wanted(
                'CUSTOM_A', required=('CUSTOM_T',), forbidden=('CUSTOM_U',)
            ),
        )

    def test_several_have_groups_of_their_own(self) -> None:
        self.check(
            {
                'resources1:VGPU': '1',
                'resources2:VGPU': '1',
                'trait1:CUSTOM_T': 'required',
                'trait2:CUSTOM_T': 'required',
                'trait1:CUSTOM_U': 'forbidden',
                'trait2:CUSTOM_U': 'forbidden',
                'group_policy': 'none',
            },
            wanted(
                'VGPU',
                'VGPU',
                required=('CUSTOM_T', 'CUSTOM_T'),
                forbidden=('CUSTOM_U',),
            ),
        )
        self.check(
            {
                'resources1:VGPU': '1',
                'resources2:CUSTOM_A': '1',
                'group_policy': 'isolate',
            },
            wanted('VGPU', 'CUSTOM_A', group_policy='isolate'),
        )

    def test_groups_keep_clear_of_those_in_properties(self) -> None:
        self.check(
            {
                'resources1:CUSTOM_BANDWIDTH': '9',
                'trait3:CUSTOM_X': 'required',
                'resources2:VGPU': '1',
                'resources4:VGPU': '1',
                'group_policy': 'none',
            },
            wanted(
                'VGPU',
                'VGPU',
                properties={
                    'resources1:CUSTOM_BANDWIDTH': '9',
                    'trait3:CUSTOM_X': 'required',
                },
            ),
        )

    def test_traits_without_a_vgpu_are_ungrouped(self) -> None:
        self.check(
            {ALIAS: 'a:1', 'trait:CUSTOM_T': 'required'},
            aliases(('a', 1), required=('CUSTOM_T',)),
        )

    def test_policies_and_properties(self) -> None:
        self.check(
            {
                ALIAS: 'a:1',
                'hw:pci_numa_affinity_policy': 'required',
                'hw:hide_hypervisor_id': 'true',
                'hw:cpu_policy': 'dedicated',
            },
            aliases(
                ('a', 1),
                numa_policy='required',
                hide_hypervisor=True,
                properties={'hw:cpu_policy': 'dedicated'},
            ),
        )
        self.check(
            {ALIAS: 'a:1', 'hw:hide_hypervisor_id': 'false'},
            aliases(('a', 1), hide_hypervisor=False),
        )

    def test_properties_may_be_the_request(self) -> None:
        for properties in (
            {ALIAS: 'a100:2'},
            {'resources:VGPU': '1'},
            {'resources7:VGPU': '1', 'trait7:CUSTOM_T': 'required'},
        ):
            self.check(properties, flavor_specs.Wanted(properties=properties))

    def test_properties_that_say_the_same_as_an_option(self) -> None:
        for specs, want in (
            (
                {ALIAS: 'b:1,a:2'},
                aliases(('a', 2), properties={ALIAS: 'b:1,a:2'}),
            ),
            (
                {'resources:VGPU': '1'},
                wanted('VGPU', properties={'resources:VGPU': '1'}),
            ),
            (
                {
                    'resources7:VGPU': '1',
                    'resources8:VGPU': '1',
                    'group_policy': 'isolate',
                },
                wanted(
                    'VGPU',
                    'VGPU',
                    properties={
                        'resources7:VGPU': '1',
                        'resources8:VGPU': '1',
                        'group_policy': 'isolate',
                    },
                ),
            ),
            (
                {ALIAS: 'a:1', 'hw:hide_hypervisor_id': 'true'},
                aliases(
                    ('a', 1),
                    hide_hypervisor=True,
                    properties={
                        'hw:hide_hypervisor_id': 'Yes',
                        'hide_hypervisor_id': '1',
                    },
                ),
            ),
        ):
            with self.subTest(want):
                self.check(specs, want)

    def test_properties_that_contradict_an_option(self) -> None:
        for want, option in (
            (aliases(('a', 1), properties={ALIAS: 'a:2'}), '--alias'),
            (aliases(('a', 1), properties={ALIAS: 'b:1'}), '--alias'),
            (wanted('VGPU', properties={'resources:VGPU': '2'}), '--vgpu'),
            (wanted('VGPU', properties={'resources1:VGPU': '1'}), '--vgpu'),
            (
                wanted('CUSTOM_A', properties={'resources:CUSTOM_A': 'x'}),
                '--vgpu',
            ),
            (
                wanted(
                    'VGPU',
                    required=('CUSTOM_T',),
                    properties={'trait:CUSTOM_T': 'forbidden'},
                ),
                '--trait, --forbid-trait',
            ),
            (
                aliases(
                    ('a', 1),
                    numa_policy='socket',
                    properties={'hw:pci_numa_affinity_policy': 'legacy'},
                ),
                '--numa-policy',
            ),
            (
                aliases(
                    ('a', 1),
                    hide_hypervisor=True,
                    properties={'hw:hide_hypervisor_id': 'false'},
                ),
                '--hide-hypervisor, --show-hypervisor',
            ),
            (
                aliases(
                    ('a', 1),
                    hide_hypervisor=False,
                    properties={'hide_hypervisor_id': 'true'},
                ),
                '--hide-hypervisor, --show-hypervisor',
            ),
            (
                wanted(
                    'VGPU',
                    'VGPU',
                    group_policy='none',
                    properties={'group_policy': 'isolate'},
                ),
                '--group-policy',
            ),
        ):
            ((key, value),) = want.properties.items()
            with self.subTest(option):
                self.refuse(
                    f'argument --property {key}={value}: it contradicts '
                    f'{option}: give one of the two',
                    want,
                )

    def test_malformed_properties(self) -> None:
        for key, value, part in (
            (ALIAS, 'a100', "'a100' has no count: Nova wants a100:1"),
            (ALIAS, 'a:1,b', "'b' has no count: Nova wants b:1"),
            (ALIAS, 'a100:0', "the count '0' is not"),
            (ALIAS, 'a100:x', "the count 'x' is not"),
            (ALIAS, 'a:1,', 'has a name'),
            (ALIAS, '', 'has a name'),
            (ALIAS, 'a:1:1', "no ':' in its name"),
            (ALIAS, 'a:1,a:1', "'a' is given twice"),
            ('resources:VGPU', 'x', 'an amount is a whole number'),
            ('resources1:CUSTOM_GPU_A', '-1', 'an amount is a whole number'),
            ('a/b', '1', 'a key has 1 to 255 characters'),
            ('ä', '1', 'a key has 1 to 255 characters'),
            ('a' * 256, '1', 'a key has 1 to 255 characters'),
        ):
            with self.subTest(key=key, value=value):
                with self.assertRaises(exceptions.CommandError) as caught:
                    flavor_specs.apply(
                        {}, wanted('VGPU', properties={key: value})
                    )
                text = str(caught.exception)
                self.assertTrue(
                    text.startswith(f'argument --property {key}={value}: '),
                    text,
                )
                self.assertIn(part, text)
        self.refuse(
            'argument --property a: a value has 255 characters at most',
            wanted('VGPU', properties={'a': 'x' * 256}),
        )

    def test_options_that_contradict_each_other(self) -> None:
        self.refuse(
            "argument --alias: 'a' is given twice: give it once, with its "
            "count",
            aliases(('a', 1), ('a', 2)),
        )
        self.refuse(
            'argument --forbid-trait CUSTOM_T: --trait requires it: give one '
            'of the two',
            wanted('VGPU', required=('CUSTOM_T',), forbidden=('CUSTOM_T',)),
        )
        self.refuse(
            'argument --group-policy isolate: it needs two request groups or '
            'more: give --vgpu repeatedly',
            wanted('VGPU', group_policy='isolate'),
        )

    def test_more_aliases_than_nova_stores(self) -> None:
        many = [(f'alias-number-{n}', 1) for n in range(20)]
        self.refuse(
            'argument --alias alias-number-19: Nova stores 255 characters of '
            'aliases at most',
            aliases(*many),
        )

    def test_no_gpu(self) -> None:
        for want in (
            flavor_specs.Wanted(),
            flavor_specs.Wanted(hide_hypervisor=True),
            flavor_specs.Wanted(required=('CUSTOM_T',)),
            flavor_specs.Wanted(properties={'resources:VGPU': '0'}),
            flavor_specs.Wanted(properties={'resources:CUSTOM_FPGA': '1'}),
        ):
            with self.subTest(want):
                self.refuse(
                    'No GPU is requested: give --alias or --vgpu. This is for '
                    'GPU flavors; use `openstack flavor create` or `set` for '
                    'others',
                    want,
                )
        self.assertTrue(
            flavor_specs.apply(
                {},
                flavor_specs.Wanted(properties={'resources:CUSTOM_FPGA': '1'}),
                {'CUSTOM_FPGA'},
            )
        )

    def test_truth(self) -> None:
        self.assertFalse(flavor_specs.Wanted())
        self.assertTrue(flavor_specs.Wanted(hide_hypervisor=False))
        self.assertTrue(flavor_specs.Wanted(properties={'a': 'b'}))
        self.assertFalse(flavor_specs.Unwanted())
        self.assertTrue(flavor_specs.Unwanted(gpu=True))

    @hypothesis.settings(deadline=None)
    @hypothesis.given(
        strategies.dictionaries(
            strategies.from_regex('[a-z0-9-]{1,9}', fullmatch=True),
            strategies.integers(1, 999),
            max_size=5,
        ),
        strategies.lists(
            strategies.sampled_from(['VGPU', 'PGPU', 'CUSTOM_A', 'CUSTOM_B']),
            max_size=5,
        ),
    )
    def test_the_request_is_what_was_wanted(
        self, names: dict[str, int], classes: list[str]
    ) -> None:
        hypothesis.assume(names or classes)
        want = flavor_specs.Wanted(tuple(names.items()), tuple(classes))
        specs = flavor_specs.apply({}, want)
        request = extra_specs.GpuRequest(
            tuple(names.items()), tuple((name, 1) for name in classes)
        )
        self.assertEqual(request, extra_specs.parse(specs, classes))
        # and doing it again changes nothing
        self.assertEqual(specs, flavor_specs.apply(specs, want))
        # and all of it can be taken away again
        self.assertEqual(
            {},
            flavor_specs.take_away(
                specs, flavor_specs.Unwanted(gpu=True), classes
            ),
        )


class TestSet(unittest.TestCase):
    """``apply`` on a flavor that has extra specs."""

    def check(self, old: Specs, want: flavor_specs.Wanted, new: Specs) -> None:
        self.assertEqual(new, flavor_specs.apply(old, want))
        self.assertEqual(new, flavor_specs.apply(new, want))

    def refuse(self, old: Specs, want: flavor_specs.Wanted, part: str) -> None:
        with self.assertRaises(exceptions.CommandError) as caught:
            flavor_specs.apply(old, want)
        self.assertIn(part, str(caught.exception))

    def test_other_properties_stay(self) -> None:
        self.check(
            {'hw:cpu_policy': 'dedicated', 'resources:VCPU': '0'},
            aliases(('a100', 1)),
            {
                'hw:cpu_policy': 'dedicated',
                'resources:VCPU': '0',
                ALIAS: 'a100:1',
            },
        )

    def test_an_alias_is_added_or_gets_its_count(self) -> None:
        for old, new in (
            ('v100:1', 'v100:1,a100:2'),
            ('a100:1', 'a100:2'),
            ('a100:1, v100:1', 'a100:2,v100:1'),
            ('a100:1,a100:1', 'a100:2'),
            ('a100', 'a100:2'),
            ('', 'a100:2'),
            ('odd,a100:1', 'odd,a100:2'),
        ):
            with self.subTest(old):
                self.check({ALIAS: old}, aliases(('a100', 2)), {ALIAS: new})

    def test_a_vgpu_joins_an_alias(self) -> None:
        self.check(
            {ALIAS: 'a:1'},
            wanted('VGPU'),
            {ALIAS: 'a:1', 'resources:VGPU': '1'},
        )

    def test_from_one_vgpu_to_several(self) -> None:
        self.check(
            {'resources:VGPU': '1', 'x': 'y'},
            wanted('VGPU', 'VGPU'),
            {
                'x': 'y',
                'resources1:VGPU': '1',
                'resources2:VGPU': '1',
                'group_policy': 'none',
            },
        )

    def test_from_several_to_one(self) -> None:
        self.check(
            {
                'resources1:VGPU': '1',
                'resources2:VGPU': '1',
                'trait1:CUSTOM_T': 'required',
                'trait2:CUSTOM_T': 'required',
                'group_policy': 'isolate',
            },
            wanted('VGPU'),
            {'resources:VGPU': '1', 'trait:CUSTOM_T': 'required'},
        )

    def test_groups_are_kept_and_traits_follow(self) -> None:
        self.check(
            {
                'resources5:VGPU': '2',
                'trait5:CUSTOM_T': 'required',
                'resources1:CUSTOM_NET': '1',
                'group_policy': 'isolate',
            },
            wanted('VGPU', 'VGPU', forbidden=('CUSTOM_U',)),
            {
                'resources5:VGPU': '1',
                'resources2:VGPU': '1',
                'trait5:CUSTOM_T': 'required',
                'trait2:CUSTOM_T': 'required',
                'trait5:CUSTOM_U': 'forbidden',
                'trait2:CUSTOM_U': 'forbidden',
                'resources1:CUSTOM_NET': '1',
                'group_policy': 'isolate',
            },
        )

    def test_a_group_that_is_shared_stays_with_its_traits(self) -> None:
        self.check(
            {
                'resources1:VGPU': '1',
                'resources1:CUSTOM_NET': '1',
                'trait1:CUSTOM_T': 'required',
            },
            wanted('VGPU'),
            {
                'resources1:CUSTOM_NET': '1',
                'trait1:CUSTOM_T': 'required',
                'resources:VGPU': '1',
                'trait:CUSTOM_T': 'required',
            },
        )

    def test_vgpus_of_other_classes_stay_where_they_are(self) -> None:
        self.check(
            {'resources:PGPU': '1'},
            wanted('VGPU'),
            {'resources:PGPU': '1', 'resources1:VGPU': '1'},
        )
        self.check(
            {
                'resources1:PGPU': '1',
                'resources2:VGPU': '1',
                'trait2:CUSTOM_T': 'required',
                'group_policy': 'isolate',
            },
            wanted('VGPU', required=('CUSTOM_U',)),
            {
                'resources1:PGPU': '1',
                'resources2:VGPU': '1',
                'trait2:CUSTOM_T': 'required',
                'trait2:CUSTOM_U': 'required',
                'group_policy': 'isolate',
            },
        )

    def test_traits_alone_reach_every_vgpu(self) -> None:
        self.check(
            {
                'resources1:VGPU': '1',
                'resources2:VGPU': '1',
                'trait1:CUSTOM_T': 'forbidden',
                'group_policy': 'none',
            },
            flavor_specs.Wanted(required=('CUSTOM_T',)),
            {
                'resources1:VGPU': '1',
                'resources2:VGPU': '1',
                'trait1:CUSTOM_T': 'required',
                'trait2:CUSTOM_T': 'required',
                'group_policy': 'none',
            },
        )

    def test_groups_that_disagree_about_a_trait(self) -> None:
        old = {
            'resources1:VGPU': '1',
            'resources2:VGPU': '1',
            'trait1:CUSTOM_T': 'required',
            'trait2:CUSTOM_T': 'forbidden',
            'group_policy': 'none',
        }
        self.refuse(
            old,
            wanted('VGPU'),
            "argument --vgpu VGPU: the flavor's request groups disagree about "
            'CUSTOM_T: give --trait or --forbid-trait for it',
        )
        self.check(
            old,
            wanted('VGPU', forbidden=('CUSTOM_T',)),
            {'resources:VGPU': '1', 'trait:CUSTOM_T': 'forbidden'},
        )

    def test_where_an_ungrouped_trait_belongs_must_be_said(self) -> None:
        old = {'resources:VGPU': '1', 'trait:CUSTOM_T': 'required'}
        self.refuse(
            old,
            wanted('VGPU', 'VGPU'),
            'the flavor has trait:CUSTOM_T=required: give --trait CUSTOM_T '
            'too if that is meant for the vGPUs, --property '
            'trait:CUSTOM_T=required if for the host',
        )
        self.refuse(
            {'resources:VGPU': '1', 'trait:CUSTOM_T': 'forbidden'},
            wanted('VGPU', 'VGPU'),
            'give --forbid-trait CUSTOM_T too',
        )
        groups = {
            'resources1:VGPU': '1',
            'resources2:VGPU': '1',
            'group_policy': 'none',
        }
        self.check(
            old,
            wanted('VGPU', 'VGPU', required=('CUSTOM_T',)),
            {
                **groups,
                'trait1:CUSTOM_T': 'required',
                'trait2:CUSTOM_T': 'required',
            },
        )
        self.check(
            old,
            wanted('VGPU', 'VGPU', properties={'trait:CUSTOM_T': 'required'}),
            {**groups, 'trait:CUSTOM_T': 'required'},
        )
        # one vGPU: it stays beside it
        self.check(old, wanted('VGPU'), old)

    def test_the_group_policy_alone(self) -> None:
        groups = {'resources1:VGPU': '1', 'resources2:VGPU': '1'}
        self.check(
            {**groups, 'group_policy': 'none'},
            flavor_specs.Wanted(group_policy='isolate'),
            {**groups, 'group_policy': 'isolate'},
        )
        self.refuse(
            {'resources:VGPU': '1'},
            flavor_specs.Wanted(group_policy='isolate'),
            'argument --group-policy isolate: it needs two request groups',
        )

    def test_a_policy_that_never_was_for_vgpus_stays(self) -> None:
        # with PCI devices in Placement each is a group
        old = {ALIAS: 'a:2', 'group_policy': 'isolate'}
        self.check(old, wanted('VGPU'), {**old, 'resources:VGPU': '1'})

    def test_a_policy_as_given_stays(self) -> None:
        self.check(
            {
                'resources1:VGPU': '1',
                'resources2:VGPU': '1',
                'group_policy': 'none',
            },
            wanted('VGPU', properties={'group_policy': 'isolate'}),
            {'resources:VGPU': '1', 'group_policy': 'isolate'},
        )

    def test_the_old_key_would_go_on_hiding_the_hypervisor(self) -> None:
        self.check(
            {ALIAS: 'a:1', 'hide_hypervisor_id': 'true'},
            flavor_specs.Wanted(hide_hypervisor=False),
            {ALIAS: 'a:1', 'hw:hide_hypervisor_id': 'false'},
        )

    def test_a_property_replaces_what_the_flavor_has(self) -> None:
        self.check(
            {ALIAS: 'a:1', 'x': 'y'},
            flavor_specs.Wanted(properties={ALIAS: 'b:1'}),
            {ALIAS: 'b:1', 'x': 'y'},
        )

    def test_no_gpu(self) -> None:
        self.refuse(
            {'hw:cpu_policy': 'shared'},
            flavor_specs.Wanted(required=('CUSTOM_T',)),
            'No GPU is requested',
        )
        self.refuse(
            {'resources:VGPU': '1'},
            flavor_specs.Wanted(properties={'resources:VGPU': '0'}),
            'No GPU is requested',
        )


class TestTakeAway(unittest.TestCase):
    OLD = {
        ALIAS: 'a100:2,v100:1',
        'resources1:VGPU': '1',
        'trait1:CUSTOM_T': 'required',
        'resources2:PGPU': '1',
        'trait2:CUSTOM_T': 'forbidden',
        'trait:CUSTOM_HOST': 'required',
        'group_policy': 'isolate',
        'hw:pci_numa_affinity_policy': 'socket',
        'hw:hide_hypervisor_id': 'true',
        'hide_hypervisor_id': 'true',
        'x': 'y',
    }

    def check(
        self,
        gone: str,
        old: Specs | None = None,
        new: Specs | None = None,
        **unwanted: object,
    ) -> None:
        old = self.OLD if old is None else old
        keys = gone.split()
        left = {k: v for k, v in old.items() if k not in keys}
        self.assertEqual(
            left | (new or {}),
            flavor_specs.take_away(old, flavor_specs.Unwanted(**unwanted)),
        )

    def refuse(self, text: str, **unwanted: object) -> None:
        with self.assertRaises(exceptions.CommandError) as caught:
            flavor_specs.take_away(
                {'x': 'y', ALIAS: 'a:1'}, flavor_specs.Unwanted(**unwanted)
            )
        self.assertEqual(text, str(caught.exception))

    def test_an_alias(self) -> None:
        self.check('', new={ALIAS: 'v100:1'}, aliases=('a100',))
        self.check(ALIAS, aliases=('a100', 'v100'))
        self.check(
            '', {ALIAS: 'a, b:x, c:1'}, {ALIAS: 'b:x,c:1'}, aliases=('a',)
        )

    def test_a_class_takes_its_groups_and_their_traits_along(self) -> None:
        self.check(
            'resources1:VGPU trait1:CUSTOM_T group_policy', vgpus=('VGPU',)
        )
        self.check(
            'resources1:VGPU trait1:CUSTOM_T resources2:PGPU trait2:CUSTOM_T '
            'group_policy',
            vgpus=('VGPU', 'PGPU'),
        )
        self.check(
            'resources:CUSTOM_FOO',
            {'resources:CUSTOM_FOO': '1', 'trait:CUSTOM_T': 'required'},
            vgpus=('CUSTOM_FOO',),
        )
        # of a group that something else is in too, only the vGPU
        self.check(
            'resources1:VGPU',
            {
                'resources1:VGPU': '1',
                'resources1:CUSTOM_NET': '1',
                'trait1:CUSTOM_T': 'required',
            },
            vgpus=('VGPU',),
        )

    def test_the_policy_of_other_groups_stays(self) -> None:
        self.check(
            'resources3:VGPU',
            {
                'resources1:CUSTOM_A': '1',
                'resources2:CUSTOM_B': '1',
                'resources3:VGPU': '1',
                'group_policy': 'isolate',
            },
            vgpus=('VGPU',),
        )

    def test_the_whole_request(self) -> None:
        self.check(
            f'{ALIAS} resources1:VGPU trait1:CUSTOM_T resources2:PGPU '
            'trait2:CUSTOM_T group_policy',
            gpu=True,
        )
        self.check(ALIAS, {ALIAS: 'a100', 'x': 'y'}, gpu=True)
        self.check(ALIAS, {ALIAS: 'a:1,b:1'}, gpu=True, aliases=('a',))
        self.check(
            'resources:VGPU', {'resources:VGPU': '1', 'x': 'y'}, gpu=True
        )

    def test_traits_policies_properties(self) -> None:
        self.check('trait1:CUSTOM_T trait2:CUSTOM_T', traits=('CUSTOM_T',))
        self.check('trait:CUSTOM_HOST', traits=('CUSTOM_HOST',))
        self.check('hw:pci_numa_affinity_policy', numa_policy=True)
        self.check(
            'hw:hide_hypervisor_id hide_hypervisor_id', hide_hypervisor=True
        )
        self.check('x group_policy', properties=('x', 'group_policy'))
        self.check(
            'resources1:VGPU trait1:CUSTOM_T group_policy',
            vgpus=('VGPU',),
            traits=('CUSTOM_T',),
            new={},
            old={k: v for k, v in self.OLD.items() if k[:6] != 'trait2'},
        )

    def test_what_is_not_there(self) -> None:
        for text, unwanted in (
            ('--alias b', {'aliases': ('a', 'b')}),
            ('--vgpu VGPU', {'vgpus': ('VGPU',)}),
            ('--trait CUSTOM_T', {'traits': ('CUSTOM_T',)}),
            ('--numa-policy', {'numa_policy': True}),
            ('--hide-hypervisor', {'hide_hypervisor': True}),
            ('--property z', {'properties': ('x', 'z')}),
            (
                '--vgpu VGPU, --alias c, --property z',
                {
                    'aliases': ('c',),
                    'vgpus': ('VGPU',),
                    'properties': ('z',),
                    'gpu': True,
                },
            ),
        ):
            with self.subTest(text):
                self.refuse(f'The flavor has nothing of {text}', **unwanted)
        with self.assertRaisesRegex(exceptions.CommandError, 'of --gpu$'):
            flavor_specs.take_away(
                {'resources:CUSTOM_FOO': '1'}, flavor_specs.Unwanted(gpu=True)
            )

    def test_a_class_that_the_user_says_is_a_gpu(self) -> None:
        self.assertEqual(
            {},
            flavor_specs.take_away(
                {'resources:CUSTOM_FOO': '1'},
                flavor_specs.Unwanted(gpu=True),
                {'CUSTOM_FOO'},
            ),
        )

    def test_stray_traits(self) -> None:
        old = {'resources:VGPU': '1', 'trait:CUSTOM_T': 'required'}
        new = {'trait:CUSTOM_T': 'required'}
        self.assertEqual(['CUSTOM_T'], flavor_specs.stray_traits(old, new))
        self.assertEqual([], flavor_specs.stray_traits(old, old))
        self.assertEqual([], flavor_specs.stray_traits(new, new))
        self.assertEqual([], flavor_specs.stray_traits(old, {}))


class TestChanges(unittest.TestCase):
    def test_only_what_differs(self) -> None:
        self.assertEqual(
            flavor_specs.Changes({'b': '2', 'c': '1'}, ('d',)),
            flavor_specs.changes(
                {'a': '1', 'b': '1', 'd': '1'}, {'a': '1', 'b': '2', 'c': '1'}
            ),
        )

    def test_traits_go_first_and_the_policy_last(self) -> None:
        old = {
            'group_policy': 'none',
            'resources1:VGPU': '1',
            ALIAS: 'a:1',
            'trait1:CUSTOM_T': 'required',
            'trait:CUSTOM_T': 'required',
        }
        self.assertEqual(
            (
                'trait1:CUSTOM_T',
                'trait:CUSTOM_T',
                ALIAS,
                'resources1:VGPU',
                'group_policy',
            ),
            flavor_specs.changes(old, {}).delete,
        )


class TestGroups(unittest.TestCase):
    def test_a_group_serves_one_vgpu_only(self) -> None:
        specs = {'resources1:VGPU': '1', 'resources1:PGPU': '1'}
        gpu_groups.place(
            specs,
            extra_specs.gpu_slots(specs),
            ('VGPU', 'PGPU'),
            decided={},
            given={},
        )
        self.assertEqual(2, len(gpu_groups.names(specs)))
