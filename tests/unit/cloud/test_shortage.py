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

from osc_gpu.cloud import placement
from osc_gpu.cloud import shortage

A100 = 'CUSTOM_PCI_10DE_20B5'
ELSEWHERE = (
    ' elsewhere: at the VCPUs, RAM and disk that are free there, at a zone, '
    'host or hint that was asked for, at other extra specs, at compute '
    'services that are down.'
)
SO = f' So look{ELSEWHERE}'
IF = f' If that is enough, look{ELSEWHERE}'


def tree(name, *devices, traits=(), memory=64, root=True):
    """Return a host's providers; devices as (class, free, traits...)."""
    resources = {'MEMORY_MB': placement.Resource(64, 64 - memory)}
    found = [
        placement.Provider(
            name, name, name, traits=tuple(traits), resources=resources
        )
    ]
    for number, (resource_class, free, *own) in enumerate(devices):
        pci = resource_class not in ('VGPU', 'CUSTOM_NVIDIA_11')
        form = f'0000:{number}0:00.0' if pci else f'pci_0000_{number}0_00_0'
        if resource_class == 'CUSTOM_SHELF':
            form = 'shelf'
        found.append(
            placement.Provider(
                f'{name}-{number}',
                f'{name}_{form}',
                name,
                name,
                traits=tuple(own),
                resources={resource_class: placement.Resource(free + 1, 1)},
            )
        )
    return found if root else found[1:]


def alias(text, **more):
    return {'pci_passthrough:alias': text} | more


class TestExplain(unittest.TestCase):
    def explain(self, specs, *trees, also=(), is_whole=True):
        providers = [provider for found in trees for provider in found]
        names = {p.uuid: p for found in trees for p in found}
        names |= {
            p.root_uuid: placement.Provider(
                p.root_uuid, p.root_uuid, p.root_uuid
            )
            for p in providers
            if p.root_uuid not in names
        }
        hosts = shortage.gather(names, providers)
        return shortage.explain(hosts, specs, also, is_whole=is_whole)

    def test_class_is_short(self):
        self.assertEqual(
            'By Placement no host has 2 free VGPU, the most is 1.',
            self.explain(
                {'resources1:VGPU': '1', 'resources2:VGPU': '1'},
                tree('a', ('VGPU', 1)),
                tree('b', ('VGPU', 1), ('VGPU', 0)),
            ),
        )

    def test_class_is_nowhere(self):
        self.assertEqual(
            'By Placement no host has 1 free VGPU, the most is 0.',
            self.explain({'resources:VGPU': '1'}, tree('a')),
        )
        self.assertEqual(
            'By Placement no host has 1 free VGPU, the most is 0.',
            self.explain({'resources:VGPU': '1'}),
        )

    def test_no_device_has_enough(self):
        self.assertEqual(
            'By Placement no single device has 2 free VGPU, the most is 1.',
            self.explain(
                {'resources:VGPU': '2'}, tree('a', ('VGPU', 1), ('VGPU', 1))
            ),
        )
        self.assertEqual(
            'By Placement no host has 3 free VGPU, 2 of them on one device.',
            self.explain(
                {'resources1:VGPU': '2', 'resources2:VGPU': '1'},
                tree('a', *[('VGPU', 1)] * 3),
                tree('b', ('VGPU', 2)),
            ),
        )

    def test_class_is_there(self):
        self.assertEqual(
            'By Placement host b has 3 free VGPU (at most 2 on one device).'
            + SO,
            self.explain(
                {'resources:VGPU': '2'},
                tree('a', ('VGPU', 1)),
                tree('b', ('VGPU', 1), ('VGPU', 2)),
            ),
        )

    def test_several_may_be_in_each_others_way(self):
        self.assertEqual(
            'By Placement host a has 2 free VGPU.' + IF,
            self.explain(
                {
                    'resources1:VGPU': '1',
                    'resources2:VGPU': '1',
                    'group_policy': 'isolate',
                },
                tree('a', ('VGPU', 2)),
            ),
        )

    def test_disabled_hosts_do_not_count(self):
        disabled = tree('a', ('VGPU', 16), traits=['COMPUTE_STATUS_DISABLED'])
        self.assertEqual(
            'By Placement no host has 1 free VGPU, the most is 0. Not '
            'counted: 16 on a (disabled).',
            self.explain(
                {'resources:VGPU': '1'}, disabled, tree('b', ('VGPU', 0))
            ),
        )
        self.assertEqual(
            'By Placement host b has 1 free VGPU.' + SO,
            self.explain(
                {'resources:VGPU': '1'}, disabled, tree('b', ('VGPU', 1))
            ),
        )

    def test_disabled_hosts_do_not_count_for_an_alias(self):
        self.assertEqual(
            f'Free on one host, at most, by Placement: {A100} 0. Not counted: '
            f'1 on a (disabled).',
            self.explain(
                alias('a100:1'),
                tree('a', (A100, 1), traits=['COMPUTE_STATUS_DISABLED']),
                tree('b', (A100, 0)),
            ),
        )

    def test_full_hosts_do_not_count(self):
        for full in (
            tree('a', ('VGPU', 16), memory=0),
            # Its root is not shown then.
            tree('a', ('VGPU', 16), root=False),
        ):
            self.assertEqual(
                'By Placement no host has 1 free VGPU, the most is 0. Not '
                'counted: 16 on a (no memory free).',
                self.explain({'resources:VGPU': '1'}, full),
            )

    def test_required_trait_is_nowhere(self):
        device = ('VGPU', 4, 'CUSTOM_OTHER')
        for group in ('', '1'):
            specs = {
                f'resources{group}:VGPU': '1',
                f'trait{group}:CUSTOM_RED': 'required',
                f'trait{group}:CUSTOM_OTHER': 'required',
            }
            self.assertEqual(
                'By Placement no VGPU has the required trait CUSTOM_RED.',
                self.explain(specs, tree('a', device)),
            )
            # There may be more than Placement shows.
            self.assertEqual(
                'By Placement no host has 1 free VGPU of the right traits, '
                'the most is 0.',
                self.explain(specs, tree('a', device), is_whole=False),
            )

    def test_required_trait_may_be_on_a_full_host(self):
        self.assertEqual(
            'By Placement no host has 1 free VGPU of the right traits, the '
            'most is 0. Not counted: 4 on b (no memory free).',
            self.explain(
                {'resources1:VGPU': '1', 'trait1:CUSTOM_RED': 'required'},
                tree('a', ('VGPU', 4)),
                tree('b', ('VGPU', 4), root=False),
            ),
        )

    def test_required_trait_of_the_host(self):
        host = tree('a', ('VGPU', 4), traits=['CUSTOM_RED'])
        ungrouped = {'resources:VGPU': '1', 'trait:CUSTOM_RED': 'required'}
        self.assertEqual(
            'By Placement host a has 4 free VGPU.' + IF,
            self.explain(ungrouped, host),
        )
        grouped = {'resources1:VGPU': '1', 'trait1:CUSTOM_RED': 'required'}
        self.assertEqual(
            'By Placement no VGPU has the required trait CUSTOM_RED.',
            self.explain(grouped, host),
        )

    def test_traits_of_used_up_devices(self):
        specs = {'resources1:VGPU': '1', 'trait1:CUSTOM_RED': 'required'}
        self.assertEqual(
            'By Placement no host has 1 free VGPU of the right traits, the '
            'most is 0.',
            self.explain(
                specs, tree('a', ('VGPU', 4), ('VGPU', 0, 'CUSTOM_RED'))
            ),
        )

    def test_forbidden_trait(self):
        specs = {'resources1:VGPU': '1', 'trait1:CUSTOM_RED': 'forbidden'}
        red, blue = ('VGPU', 4, 'CUSTOM_RED'), ('VGPU', 2)
        self.assertEqual(
            'By Placement no host has 1 free VGPU of the right traits, the '
            'most is 0.',
            self.explain(specs, tree('a', red)),
        )
        self.assertEqual(
            'By Placement host a has 2 free VGPU.' + SO,
            self.explain(specs, tree('a', red, blue)),
        )

    def test_trait_beside_an_alias(self):
        specs = alias('a100:1', **{'trait:CUSTOM_RED': 'required'})
        self.assertEqual(
            'By Placement no host itself has the required trait CUSTOM_RED.',
            self.explain(specs, tree('a', (A100, 1, 'CUSTOM_RED'))),
        )
        self.assertEqual(
            f'Free on one host, at most, by Placement: {A100} 1.' + IF,
            self.explain(specs, tree('a', (A100, 1), traits=['CUSTOM_RED'])),
        )

    def test_several_things_are_missing(self):
        self.assertEqual(
            'By Placement no VGPU has the required trait CUSTOM_RED, and no '
            'host itself has the required trait CUSTOM_BLUE.',
            self.explain(
                {
                    'resources1:VGPU': '1',
                    'trait1:CUSTOM_RED': 'required',
                    'trait:CUSTOM_BLUE': 'required',
                },
                tree('a', ('VGPU', 1)),
            ),
        )

    def test_two_classes(self):
        specs = {'resources:VGPU': '1', 'resources:CUSTOM_NVIDIA_11': '1'}
        one, other = ('VGPU', 1), ('CUSTOM_NVIDIA_11', 1)
        self.assertEqual(
            'By Placement no host has all of these free: CUSTOM_NVIDIA_11, '
            'VGPU.',
            self.explain(specs, tree('a', one), tree('b', other)),
        )
        self.assertEqual(
            'By Placement host a has 1 free CUSTOM_NVIDIA_11 and 1 free VGPU.'
            + IF,
            self.explain(specs, tree('a', one, other)),
        )

    def test_alias(self):
        hosts = (
            tree('a', (A100, 1), (A100, 1), ('CUSTOM_BIGCARD', 3)),
            tree('b', (A100, 1), ('CUSTOM_PCI_8086_1572', 9)),
            tree('c', ('VGPU', 16), ('CUSTOM_SHELF', 7)),
        )
        listed = (
            f'Free on one host, at most, by Placement: CUSTOM_BIGCARD 3, '
            f'{A100} 2.'
        )
        self.assertEqual(listed + IF, self.explain(alias('a100:3'), *hosts))
        # Whatever it stands for, it is not there.
        self.assertEqual(listed, self.explain(alias('a100:4'), *hosts))

    def test_alias_without_pci_in_placement(self):
        self.assertEqual('', self.explain(alias('a100:2'), tree('a')))
        # Of mdevs there is a class all the same, and no alias asks for it.
        self.assertEqual(
            '', self.explain(alias('a100:2'), tree('a', ('VGPU', 16)))
        )

    def test_alias_and_class(self):
        specs = alias('a100:1', **{'resources:VGPU': '1'})
        self.assertEqual(
            'By Placement no host has 1 free VGPU, the most is 0.',
            self.explain(specs, tree('a', (A100, 1), ('VGPU', 0))),
        )
        self.assertEqual(
            f'By Placement host a has 5 free VGPU. Free on one host, at most, '
            f'by Placement: {A100} 1.' + IF,
            self.explain(specs, tree('a', (A100, 1), ('VGPU', 5))),
        )
        # The alias' devices are not in Placement: they may be what lacks.
        self.assertEqual(
            'By Placement host a has 5 free VGPU.' + IF,
            self.explain(specs, tree('a', ('VGPU', 5))),
        )

    def test_class_that_only_the_user_calls_a_gpu(self):
        specs = {'resources:CUSTOM_SHELF': '1'}
        host = tree('a', ('CUSTOM_SHELF', 1))
        self.assertEqual('', self.explain(specs, host))
        self.assertEqual(
            'By Placement host a has 1 free CUSTOM_SHELF.' + SO,
            self.explain(specs, host, also=['CUSTOM_SHELF']),
        )

    def test_no_gpu(self):
        self.assertEqual('', self.explain({'resources:VGPU': '0'}, tree('a')))
