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

from hypothesis import given
from hypothesis import strategies as st

from osc_gpu.cloud import flavors
from osc_gpu.cloud import resource_request
from tests.unit import base


def flavor(specs=None, **more):
    sizes = {
        'vcpus': 4,
        'ram': 2048,
        'disk': 10,
        'ephemeral': 0,
        'swap': 0,
    } | more
    return flavors.Flavor(
        id='1', name='g1', is_public=True, extra_specs=specs or {}, **sizes
    )


def read(specs=None, also=(), **more):
    return resource_request.read(flavor(specs, **more), also)


class TestResources(base.TestCase):
    def test_flavor(self):
        request = read(ephemeral=5, swap=1025)
        self.assertEqual(
            {'VCPU': 4, 'MEMORY_MB': 2048, 'DISK_GB': 17}, request.resources
        )
        self.assertEqual('g1', request.flavor)
        self.assertEqual('', request.refused)
        self.assertEqual(
            {('VCPU', 4), ('MEMORY_MB', 2048), ('DISK_GB', 17)},
            request.amounts,
        )

    def test_no_disk(self):
        self.assertNotIn('DISK_GB', read(disk=0).resources)

    def test_override(self):
        request = read(
            {
                'resources:VCPU': '0',
                'resources:MEMORY_MB': '1',
                'resources:DISK_GB': '0',
                'resources:CUSTOM_BAREMETAL_GPU': '1',
            }
        )
        self.assertEqual(
            {'MEMORY_MB': 1, 'CUSTOM_BAREMETAL_GPU': 1}, request.resources
        )
        self.assertEqual(('CUSTOM_BAREMETAL_GPU',), request.gpu_classes)

    def test_asked_for_in_a_group(self):
        request = read({'resources1:VCPU': '2', 'resources1:MEMORY_MB': '5'})
        self.assertEqual({'DISK_GB': 10}, request.resources)
        (group,) = request.groups
        self.assertEqual({'VCPU': 2, 'MEMORY_MB': 5}, group.resources)

    def test_what_nova_leaves_out(self):
        for key, value in (
            ('resources:vgpu', '1'),
            ('resources:NO_SUCH', '1'),
            ('resources:VGPU', 'one'),
            ('resources:VGPU', '-1'),
            ('resource:VGPU', '1'),
        ):
            with self.subTest(key=key, value=value):
                self.assertEqual(
                    {'VCPU', 'MEMORY_MB', 'DISK_GB'},
                    read({key: value}).resources.keys(),
                )

    def test_dedicated(self):
        specs = {'hw:cpu_policy': 'dedicated'}
        request = read(specs)
        self.assertEqual(4, request.resources['PCPU'])
        self.assertNotIn('VCPU', request.resources)
        self.assertEqual(('hw:cpu_policy=dedicated',), request.uncounted)
        specs['hw:emulator_threads_policy'] = 'isolate'
        self.assertEqual(5, read(specs).resources['PCPU'])

    def test_mixed(self):
        request = read({'hw:cpu_policy': 'mixed'})
        self.assertEqual({'MEMORY_MB', 'DISK_GB'}, request.resources.keys())
        self.assertEqual(('hw:cpu_policy=mixed',), request.uncounted)

    def test_pcpu_instead_of_vcpu(self):
        request = read({'resources:PCPU': '2'})
        self.assertEqual(2, request.resources['PCPU'])
        self.assertNotIn('VCPU', request.resources)

    def test_encrypted_memory(self):
        request = read({'hw:mem_encryption': 'True'})
        self.assertEqual(1, request.resources['MEM_ENCRYPTION_CONTEXT'])


class TestTraits(base.TestCase):
    def test_groups(self):
        request = read(
            {
                'resources:VGPU': '1',
                'trait:CUSTOM_HOST': 'required',
                'trait:CUSTOM_OLD': 'forbidden',
                'trait:CUSTOM_ODD': 'preferred',
                'resources2:VGPU': '1',
                'trait2:CUSTOM_A': 'required',
                'trait2:CUSTOM_B': 'forbidden',
            }
        )
        self.assertEqual({'CUSTOM_HOST'}, request.required)
        self.assertEqual({'CUSTOM_OLD'}, request.forbidden)
        (group,) = request.groups
        self.assertEqual({'CUSTOM_A'}, group.required)
        self.assertEqual({'CUSTOM_B'}, group.forbidden)

    def test_translated(self):
        for key, value, trait in (
            (
                'hw:maxphysaddr_mode',
                'passthrough',
                'COMPUTE_ADDRESS_SPACE_PASSTHROUGH',
            ),
            (
                'hw:maxphysaddr_mode',
                'emulate',
                'COMPUTE_ADDRESS_SPACE_EMULATED',
            ),
            (
                'hw:pci_numa_affinity_policy',
                'socket',
                'COMPUTE_SOCKET_PCI_NUMA_AFFINITY',
            ),
            (
                'os:secure_boot',
                'required',
                'COMPUTE_SECURITY_UEFI_SECURE_BOOT',
            ),
        ):
            with self.subTest(key=key, value=value):
                self.assertEqual({trait}, read({key: value}).required)

    def test_tpm(self):
        self.assertEqual(
            {'COMPUTE_SECURITY_TPM_2_0', 'COMPUTE_SECURITY_TPM_CRB'},
            read(
                {'hw:tpm_version': '2.0', 'hw:tpm_model': 'tpm-crb'}
            ).required,
        )
        self.assertEqual(
            {'COMPUTE_SECURITY_TPM_1_2', 'COMPUTE_SECURITY_TPM_TIS'},
            read({'hw:tpm_version': '1.2'}).required,
        )

    def test_threads(self):
        self.assertEqual(
            {'HW_CPU_HYPERTHREADING'},
            read({'hw:cpu_thread_policy': 'isolate'}).forbidden,
        )


class TestRefused(base.TestCase):
    def test_fine(self):
        for specs in (
            {'pci_passthrough:alias': 'a:1, b:2'},
            {'resources1:VGPU': '1'},
            {
                'resources1:VGPU': '1',
                'resources2:VGPU': '1',
                'group_policy': 'none',
            },
            # Nova takes the empty group out.
            {'resources1:VGPU': '1', 'resources2:VGPU': '0'},
        ):
            with self.subTest(specs):
                self.assertEqual('', read(specs).refused)

    def test_alias(self):
        for value in ('', 'a', 'a:b', 'a:1,', ',a:1', 'a:1:2', ' '):
            with self.subTest(value):
                self.assertEqual(
                    'malformed pci_passthrough:alias',
                    read({'pci_passthrough:alias': value}).refused,
                )

    def test_traits_without_resources(self):
        self.assertEqual(
            'group 1 has traits without resources',
            read({'trait1:CUSTOM_A': 'required'}).refused,
        )

    def test_no_policy(self):
        for policy in ({}, {'group_policy': 'nonsense'}):
            self.assertEqual(
                'several request groups without group_policy',
                read(
                    {'resources1:VGPU': '1', 'resources2:VGPU': '1'} | policy
                ).refused,
            )


class TestRest(base.TestCase):
    def test_aliases(self):
        request = read(
            {'pci_passthrough:alias': 'a:2', 'group_policy': 'isolate'}
        )
        self.assertEqual((('a', 2),), request.aliases)
        self.assertTrue(request.is_isolated)

    def test_aggregates(self):
        request = read({'aggregate_instance_extra_specs:gpu': 'yes'})
        self.assertEqual({'gpu': 'yes'}, request.aggregates)
        self.assertEqual((), request.uncounted)

    def test_uncounted(self):
        self.assertEqual(
            (
                'capabilities:x=1',
                'hw:mem_page_size=large',
                'hw:numa_nodes=2',
                'plain=1',
                'hw:pci_numa_affinity_policy=required',
            ),
            read(
                {
                    'hw:numa_nodes': '2',
                    'hw:mem_page_size': 'large',
                    'hw:pci_numa_affinity_policy': 'required',
                    'hw:hide_hypervisor_id': 'true',
                    'capabilities:x': '1',
                    'plain': '1',
                    'group_policy': 'none',
                }
            ).uncounted,
        )

    def test_also(self):
        specs = {'resources:CUSTOM_BIG': '1'}
        self.assertEqual((), read(specs).gpu_classes)
        self.assertEqual(
            ('CUSTOM_BIG',), read(specs, ['CUSTOM_BIG']).gpu_classes
        )

    @given(
        st.dictionaries(
            st.from_regex('(resources|trait|hw|pci_passthrough)[0-9]?:.*')
            | st.text(),
            st.text(),
        )
    )
    def test_never_raises(self, specs):
        request = read(specs)
        self.assertTrue(all(n > 0 for _name, n in request.amounts))
