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
import unittest

import hypothesis
from hypothesis import strategies

from osc_gpu.cloud import aliases
from osc_gpu.cloud import capacity_hosts
from osc_gpu.cloud import flavor_cloud_checks
from osc_gpu.cloud import flavor_facts
from osc_gpu.cloud import placement
from osc_gpu.cloud import resource_request
from tests.unit.cloud import test_flavor_spec_checks as spec_checks

KEY = 'pci_passthrough:alias'
A100 = 'CUSTOM_PCI_10DE_20B5'
V100 = 'CUSTOM_PCI_10DE_1DB6'


def provider(name, host, traits=(), **resources):
    return placement.Provider(
        f'uuid-{name}',
        name,
        f'uuid-{host}',
        None if name == host else f'uuid-{host}',
        tuple(traits),
        {rc: placement.Resource(n, 0) for rc, n in resources.items()},
    )


def host(name, *devices, **more):
    """Make a host; devices are (class, amount[, trait...])."""
    root = provider(
        name,
        name,
        ['COMPUTE_NODE'],
        **{'VCPU': 8, 'MEMORY_MB': 1024, 'DISK_GB': 100},
    )
    children = [
        provider(
            f'{name}_pci_0000_{bus:02x}_00_0'
            if device[0] == 'VGPU'
            else f'{name}_0000:{bus:02X}:00.0',
            name,
            device[2:],
            **{device[0]: device[1]},
        )
        for bus, device in enumerate(devices, 0x20)
    ]
    return capacity_hosts.Host(name, root.uuid, (root, *children), **more)


GPU1 = host('gpu1', (A100, 1), (A100, 1))
VGPU1 = host('vgpu1', ('VGPU', 4, 'CUSTOM_FAST'))


class TestCase(unittest.TestCase):
    hosts = (GPU1, VGPU1)
    classes = {'a100': frozenset([A100])}
    probes = {'a100': aliases.Probe(True, '', '')}
    numa_nodes = {}
    is_whole = True
    elsewhere = frozenset()

    def check(self, specs, also=(), **more):
        flavor = spec_checks.make(specs, **more)
        facts = flavor_facts.Facts(
            capacity_hosts.Cloud(
                tuple(
                    dataclasses.replace(
                        host, numa_nodes=self.numa_nodes.get(host.name, 0)
                    )
                    for host in self.hosts
                ),
                {},
                self.classes,
            ),
            self.probes,
            self.is_whole,
            self.elsewhere,
            self.elsewhere,
        )
        subject = flavor_facts.Subject(
            flavor, resource_request.read(flavor, also), facts, also
        )
        found = list(flavor_cloud_checks.check(subject))
        return found or list(flavor_cloud_checks.check_fit(subject))

    def assert_clean(self, specs, *args, **more):
        self.assertEqual([], self.check(specs, *args, **more))

    def assert_found(self, severity, check, words, specs, *args, **more):
        found = self.check(specs, *args, **more)
        self.assertEqual(
            [('g1', severity, check)],
            [(f.subject, f.severity, f.check) for f in found],
            found,
        )
        self.assertIn(words, found[0].detail)


class TestClean(TestCase):
    def test_it(self):
        for specs in (
            {KEY: 'a100:1'},
            {KEY: 'a100:2'},
            {KEY: 'unheard:1'},
            {'resources:VGPU': '1'},
            {'resources:VGPU': '1', 'trait:CUSTOM_FAST': 'required'},
            {'resources1:VGPU': '1', 'trait1:CUSTOM_FAST': 'required'},
            {'resources:VGPU': '1', 'trait:COMPUTE_NODE': 'required'},
            {'resources:VGPU': '1', 'trait:CUSTOM_SLOW': 'forbidden'},
            {
                'resources1:VGPU': '1',
                'resources2:VGPU': '1',
                'group_policy': 'none',
            },
            {},
        ):
            with self.subTest(specs=specs):
                self.assert_clean(specs)


class TestAlias(TestCase):
    def test_undefined(self):
        self.probes = {'nope': aliases.Probe(False, 'nope', '')}
        self.assert_found(
            'error', 'undefined-alias', 'no PCI alias nope', {KEY: 'nope:1'}
        )

    def test_unknown(self):
        self.probes = {'a100': aliases.Probe(None, '', 'Who knows')}
        self.assert_clean({KEY: 'a100:1'})

    def test_class_again(self):
        self.assert_found(
            'error',
            'alias-and-class',
            f'alias a100 stands for the class that resources:{A100} asks',
            {KEY: 'a100:1', f'resources:{A100}': '1'},
        )

    def test_class_again_is_assumed(self):
        self.classes = {}
        self.assert_found(
            'error',
            'alias-and-class',
            'each server takes 1 more',
            {KEY: 'other:1', f'resources1:{A100}': '1'},
        )

    def test_class_without_alias(self):
        self.assert_found(
            'error',
            'class-without-alias',
            f'resources:{A100} takes 2 PCI devices',
            {f'resources:{A100}': '2'},
        )
        self.hosts = (GPU1, host('gpu2', (V100, 1)))
        found = self.check({KEY: 'a100:1', f'resources:{V100}': '1'})
        self.assertEqual(['class-without-alias'], [f.check for f in found])

    def test_alias_and_vgpu(self):
        self.hosts = (host('both', (A100, 1), ('VGPU', 1)),)
        self.assert_clean({KEY: 'a100:1', 'resources:VGPU': '1'})


class TestClass(TestCase):
    def test_unknown(self):
        self.assert_found(
            'error',
            'unknown-class',
            'no provider has resource class CUSTOM_GPU_X',
            {'resources:CUSTOM_GPU_X': '1'},
        )

    def test_no_resource_class_at_all(self):
        self.assert_found(
            'error', 'unknown-class', 'GPUS', {'resources:GPUS': '1'}
        )

    def test_one_the_user_names(self):
        self.assert_found(
            'error',
            'unknown-class',
            'CUSTOM_X',
            {'resources:CUSTOM_X': '1'},
            ['CUSTOM_X'],
        )

    def test_not_all_was_read(self):
        self.elsewhere = {'CUSTOM_GPU_X'}
        self.assert_found(
            'warning',
            'unknown-class',
            'CUSTOM_GPU_X, as far as Placement shows them',
            {'resources:CUSTOM_GPU_X': '1'},
        )

    def test_zero(self):
        for value in ('0', '-1', 'x', ''):
            with self.subTest(value=value):
                self.assert_found(
                    'error',
                    'zero-class',
                    f'resources:VGPU={value} asks for nothing',
                    {'resources:VGPU': value},
                )

    def test_several(self):
        for key in ('resources:VGPU', 'resources1:VGPU'):
            with self.subTest(key=key):
                self.assert_found(
                    'warning',
                    'several-in-one-group',
                    f'{key}=2 takes 2 vGPUs from one physical GPU',
                    {key: '2'},
                )


class TestTrait(TestCase):
    def test_unknown(self):
        for group in ('', '1'):
            self.assert_found(
                'error',
                'unknown-trait',
                'no provider has trait CUSTOM_SLOW',
                {
                    f'resources{group}:VGPU': '1',
                    f'trait{group}:CUSTOM_SLOW': 'required',
                },
            )

    def test_elsewhere(self):
        self.elsewhere = {'CUSTOM_SLOW'}
        specs = {'resources:VGPU': '1', 'trait:CUSTOM_SLOW': 'required'}
        self.assertEqual(
            ['never-fits'], [found.check for found in self.check(specs)]
        )

    def test_of_the_gpu_outside_its_group(self):
        self.assert_found(
            'error',
            'trait-group',
            'DISK_GB, MEMORY_MB, VCPU come from, and only providers such as '
            'vgpu1_pci_0000_20_00_0 have it',
            {'resources1:VGPU': '1', 'trait:CUSTOM_FAST': 'required'},
        )

    def test_of_the_gpu_of_an_alias(self):
        self.hosts = (host('gpu1', (A100, 1, 'CUSTOM_FAST')),)
        self.assert_found(
            'error',
            'trait-group',
            'trait:CUSTOM_FAST=required',
            {KEY: 'a100:1', 'trait:CUSTOM_FAST': 'required'},
        )

    def test_of_the_host_in_the_gpus_group(self):
        self.assert_found(
            'error',
            'trait-group',
            'trait1:COMPUTE_NODE=required is looked for on the provider of '
            'VGPU, and only providers such as gpu1 have it',
            {'resources1:VGPU': '1', 'trait1:COMPUTE_NODE': 'required'},
        )

    def test_not_all_was_read(self):
        self.is_whole = False
        self.assert_clean(
            {'resources1:VGPU': '1', 'trait:CUSTOM_FAST': 'required'}
        )

    def test_class_unknown_too(self):
        found = self.check(
            {'resources1:CUSTOM_GPU': '1', 'trait1:COMPUTE_NODE': 'required'}
        )
        self.assertEqual(['unknown-class'], [f.check for f in found])


class TestNumber(TestCase):
    def test_alias(self):
        self.assert_found(
            'error',
            'too-many',
            f'3 of {A100} on one host; none has over 2',
            {KEY: 'a100:3'},
        )

    def test_aliases_of_one_class(self):
        self.classes = {'a100': {A100}, 'b': {A100}}
        self.assert_found(
            'error', 'too-many', f'3 of {A100}', {KEY: 'a100:2,b:1'}
        )

    def test_class_that_is_not_known(self):
        self.hosts = (GPU1, host('gpu2', (V100, 1)))
        self.classes = {}
        self.assert_clean({KEY: 'a100:2'})
        self.assert_found(
            'error',
            'too-many',
            f'3 of {V100}, {A100} on one host',
            {KEY: 'a100:3'},
        )

    def test_vgpus(self):
        found = self.check({'resources:VGPU': '5'})
        self.assertIn('too-many', [f.check for f in found])

    def test_pci_devices_not_in_placement(self):
        self.hosts = (VGPU1,)
        self.assert_clean({KEY: 'a100:99'})

    def test_not_all_was_read(self):
        self.is_whole = False
        self.assert_clean({KEY: 'a100:3'})

    def test_reserved(self):
        self.hosts = (host('gpu1', (A100, 0)),)
        self.assert_clean({KEY: 'a100:1'})


class TestFit(TestCase):
    def test_ram(self):
        self.assert_found(
            'error',
            'never-fits',
            'RAM on 1 host',
            {KEY: 'a100:1'},
            ram=1025,
        )

    def test_not_all_was_read(self):
        self.is_whole = False
        self.assert_clean({KEY: 'a100:1'}, ram=1025)

    def test_alias_of_any_class(self):
        self.classes = {}
        self.hosts = (GPU1, host('gpu2', (V100, 1)))
        self.assert_clean({KEY: 'any:1'})
        self.assert_found(
            'error',
            'never-fits',
            'however empty: RAM on 1 host',
            {KEY: 'any:1'},
            ram=1025,
        )

    def test_alias_that_fits_as_one_of_its_classes(self):
        self.classes = {'any': {A100, V100}}
        self.hosts = (GPU1, host('gpu2', (V100, 1)))
        self.assert_clean({KEY: 'any:2'})

    def test_several_aliases_of_any_class(self):
        self.classes = {}
        self.hosts = (GPU1, host('gpu2', (V100, 1)))
        self.assert_clean({KEY: 'any:1,other:1'}, ram=1025)

    def test_closed_hosts(self):
        self.hosts = (host('gpu1', (A100, 1), closed=('down',)),)
        self.assert_clean({KEY: 'a100:1'})

    def test_aggregate(self):
        key = 'aggregate_instance_extra_specs:gpu'
        self.hosts = (host('gpu1', (A100, 1), metadata={'gpu': {'no'}}),)
        self.assert_found(
            'error', 'never-fits', 'aggregate', {KEY: 'a100:1', key: 'yes'}
        )


class TestNuma(TestCase):
    numa_nodes = {'gpu1': 2, 'vgpu1': 2}

    def test_topology(self):
        for key, value in (
            ('hw:numa_nodes', '1'),
            ('hw:cpu_policy', 'dedicated'),
            ('hw:cpu_policy', 'mixed'),
            ('hw:mem_page_size', 'large'),
        ):
            specs = {KEY: 'a100:1', key: value}
            with self.subTest(specs=specs):
                found = self.check(specs)
                self.assertEqual('numa-policy', found[0].check)
                self.assertEqual('warning', found[0].severity)
                self.assertIn('a host such as gpu1', found[0].detail)
                specs['hw:pci_numa_affinity_policy'] = 'preferred'
                self.assertNotIn(
                    'numa-policy', [f.check for f in self.check(specs)]
                )

    def test_several_gpus_without_topology(self):
        for more in (
            {},
            {'hw:cpu_policy': 'shared'},
            {'hw:pci_numa_affinity_policy': 'required'},
        ):
            with self.subTest(more=more):
                self.assert_found(
                    'warning',
                    'numa-policy',
                    'set hw:numa_nodes=1',
                    {KEY: 'a100:2', **more},
                )

    def test_one_gpu_without_topology(self):
        self.assert_clean({KEY: 'a100:1'})

    def test_vgpus(self):
        self.assert_clean({'resources:VGPU': '1', 'hw:numa_nodes': '1'})

    def test_one_node(self):
        self.numa_nodes = {'gpu1': 1, 'vgpu1': 2}
        self.assert_clean({KEY: 'a100:2'})

    def test_hosts_of_another_class(self):
        self.hosts = (GPU1, host('gpu2', (V100, 1), (V100, 1)))
        self.classes = {'v100': {V100}}
        self.assert_clean({KEY: 'v100:2'})
        self.assert_clean({KEY: 'any:2'})
        self.numa_nodes = {'gpu1': 2, 'gpu2': 2}
        self.assert_found(
            'warning',
            'numa-policy',
            'such as gpu1 or gpu2;',
            {KEY: 'any:2'},
        )
        self.assert_found(
            'warning', 'numa-policy', 'such as gpu2;', {KEY: 'v100:2'}
        )


class TestHostile(TestCase):
    numa_nodes = {'gpu1': 2}
    keys = strategies.sampled_from(
        [
            KEY,
            'group_policy',
            'resources:VGPU',
            'resources1:VGPU',
            f'resources2:{A100}',
            'resources:CUSTOM_GPU',
            'resources1:MEMORY_MB',
            'trait:CUSTOM_FAST',
            'trait1:COMPUTE_NODE',
            'trait2:CUSTOM_SLOW',
            'hw:numa_nodes',
            'hw:cpu_policy',
        ]
    )

    @hypothesis.settings(deadline=None, max_examples=100)
    @hypothesis.given(
        strategies.dictionaries(
            strategies.one_of(keys, strategies.text()),
            strategies.one_of(
                strategies.text(),
                strategies.from_regex('a100:[0-9+-_]*,?[a-b]:[0-9]'),
                strategies.sampled_from(
                    ['required', 'isolate', '1', '2', '-1', 'a100:1']
                ),
            ),
        )
    )
    def test_never_raises(self, specs):
        for found in self.check(specs):
            self.assertTrue(found.detail)
