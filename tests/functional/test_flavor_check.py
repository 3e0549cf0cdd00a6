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

"""Findings about flavors, with Nova, which has to agree, as the witness."""

from tests.functional import base
from tests.functional import test_alias

KEY = 'pci_passthrough:alias'


class TestCase(test_alias.TestCase):
    def make_specs(self, specs, **sizes):
        """Create a flavor with extra specs that nobody looks at."""
        flavor = self.admin.compute.create_flavor(
            **{
                'name': self.name('specs'),
                'vcpus': 1,
                'ram': 128,
                'disk': 1,
                **sizes,
            }
        )
        self.addCleanup(self.forget_flavor, flavor.name)
        response = self.admin.compute.post(
            f'/flavors/{flavor.id}/os-extra_specs',
            json={'extra_specs': specs},
            microversion='2.61',
        )
        self.assertEqual(200, response.status_code, response.text)
        return flavor.name

    def check(self, *flavors, status=0, user='admin'):
        """Return the checks that found something, once each."""
        result = self.openstack(
            'gpu', 'flavor', 'check', *flavors, '-f', 'json', user=user
        )
        self.assertEqual((status, ''), (result.status, result.stderr))
        return [(row['Severity'], row['Check']) for row in result.json]

    def assert_error(self, check, flavor):
        self.assertEqual([('error', check)], self.check(flavor, status=1))

    def launch(self, flavor):
        """Have Nova judge: return its refusal, or the server's end state."""
        image = self.admin.image.find_image('cirros', ignore_missing=False)
        found = self.admin.compute.find_flavor(flavor, ignore_missing=False)
        name = self.name('server')
        self.addCleanup(self.forget_servers, name)
        response = self.admin.compute.post(
            '/servers',
            json={
                'server': {
                    'name': name,
                    'flavorRef': found.id,
                    'imageRef': image.id,
                    'networks': 'none',
                }
            },
            microversion='2.74',
        )
        if response.status_code != 202:
            return response.status_code
        server = response.json()['server']['id']

        def built():
            status = self.admin.compute.get_server(server).status
            return status if status != 'BUILD' else ''

        status = base.wait_until('built', built)
        return server if status == 'ACTIVE' else status


class TestClean(TestCase):
    def test_flavors_of_every_kind(self):
        flavors = [
            self.make_flavor('--alias', 'a100:1'),
            self.make_flavor('--alias', 'v100:1'),
            self.make_flavor('--vgpu'),
            self.make_flavor('--vgpu', '--vgpu'),
            self.make_flavor(
                '--alias', 'a100:2', '--numa-policy', 'required',
                '--property', 'hw:numa_nodes=1',
            ),
        ]  # fmt: skip
        before = self.rows()
        self.assertEqual([], self.check(*flavors))
        self.assertEqual(before, self.rows())

    def test_all_flavors(self):
        """A flavor that is not named is checked, and only if it has a GPU."""
        name = self.make_raw('a100:0')
        rows = self.openstack('gpu', 'flavor', 'check', '-f', 'json')
        self.assertEqual(1, rows.status)
        found = {row['Flavor'] for row in rows.json}
        self.assertIn(name, found)
        self.assertNotIn('m1.tiny', found)

    def test_tenant(self):
        flavor = self.make_flavor('--alias', 'a100:1')
        line = self.fails('gpu', 'flavor', 'check', flavor, user='member')
        self.assertIn('You lack the right', line)


class TestErrors(TestCase):
    def test_undefined_alias(self):
        flavor = self.make_flavor('--alias', f'{self.name("nope")}:1')
        self.assert_error('undefined-alias', flavor)
        self.assertEqual(400, self.launch(flavor))

    def test_malformed_alias(self):
        for value in ('a100', 'a100:x', 'a100:1,', ''):
            with self.subTest(value=value):
                flavor = self.make_raw(value)
                self.assert_error('malformed-alias', flavor)
                self.assertEqual(500, self.launch(flavor))

    def test_zero_alias(self):
        flavor = self.make_raw('a100:0')
        self.assert_error('zero-alias', flavor)
        server = self.launch(flavor)
        self.assertEqual([], self.pci_addresses(server))

    def test_zero_class(self):
        flavor = self.make_specs({'resources:VGPU': '0'})
        self.assert_error('zero-class', flavor)
        server = self.launch(flavor)
        held = self.allocations(server).values()
        self.assertFalse([amounts for amounts in held if 'VGPU' in amounts])

    def test_unknown_class(self):
        flavor = self.make_specs({'resources:CUSTOM_GPU_NONE': '1'})
        self.assert_error('unknown-class', flavor)
        self.assertEqual('ERROR', self.launch(flavor))

    def test_unknown_trait(self):
        flavor = self.make_specs(
            {'resources:VGPU': '1', 'trait:CUSTOM_NONE': 'required'}
        )
        self.assert_error('unknown-trait', flavor)
        self.assertEqual('ERROR', self.launch(flavor))

    def test_trait_in_a_group_without_resources(self):
        flavor = self.make_specs(
            {'resources:VGPU': '1', 'trait1:HW_CPU_X86_AVX2': 'required'}
        )
        found = self.check(flavor, status=1)
        self.assertIn(('error', 'trait-group'), found)
        self.assertEqual('ERROR', self.launch(flavor))

    def test_trait_of_hosts_in_the_gpus_group(self):
        flavor = self.make_specs(
            {'resources1:VGPU': '1', 'trait1:COMPUTE_NODE': 'required'}
        )
        self.assert_error('trait-group', flavor)
        self.assertEqual('ERROR', self.launch(flavor))

    def test_trait_of_gpus_outside_their_group(self):
        """Placement has the managed devices' trait on no root."""
        flavor = self.make_specs(
            {
                KEY: 'a100:1',
                'trait:COMPUTE_MANAGED_PCI_DEVICE': 'required',
            }
        )
        self.assert_error('trait-group', flavor)
        self.assertEqual('ERROR', self.launch(flavor))

    def test_group_policy(self):
        flavor = self.make_specs(
            {'resources1:VGPU': '1', 'resources2:VGPU': '1'}
        )
        self.assert_error('group-policy', flavor)
        self.assertEqual('ERROR', self.launch(flavor))

    def test_too_many(self):
        flavor = self.make_raw('v100:99')
        found = self.check(flavor, status=1)
        self.assertIn(('error', 'too-many'), found)
        self.assertEqual('ERROR', self.launch(flavor))

    def test_never_fits(self):
        flavor = self.make_specs({KEY: 'a100:1'}, ram=1 << 24)
        found = self.check(flavor, status=1)
        self.assertIn(('error', 'never-fits'), found)
        self.assertEqual('ERROR', self.launch(flavor))

    def test_class_of_pci_devices(self):
        """The server holds the device in Placement, and does not have it."""
        devices = self.table('gpu', 'inventory', 'list', '--host', 'gpu3')
        resource_class = devices[0]['Resource Class']
        flavor = self.make_specs({f'resources:{resource_class}': '1'})
        self.assert_error('class-without-alias', flavor)
        server = self.launch(flavor)
        held = self.allocations(server).values()
        self.assertIn({resource_class: 1}, held)
        self.assertEqual([], self.pci_addresses(server))

    def test_alias_and_class(self):
        flavor = self.make_flavor('--alias', 'v100:1')
        server = self.make_server(flavor)
        held = self.allocations(server['id'])
        (resource_class,) = {
            name for amounts in held.values() for name in amounts
        } - {'VCPU', 'MEMORY_MB', 'DISK_GB'}
        both = self.make_specs(
            {KEY: 'v100:1', f'resources:{resource_class}': '1'}
        )
        self.assert_error('alias-and-class', both)


class TestWarnings(TestCase):
    def test_several_in_one_group(self):
        flavor = self.make_specs({'resources:VGPU': '2'})
        self.assertEqual(
            [('warning', 'several-in-one-group')], self.check(flavor)
        )

    def test_numa_policy(self):
        flavor = self.make_specs({KEY: 'a100:2'})
        self.assertEqual([('warning', 'numa-policy')], self.check(flavor))
        flavor = self.make_specs({KEY: 'a100:1', 'hw:numa_nodes': '1'})
        self.assertEqual([('warning', 'numa-policy')], self.check(flavor))

    def test_maxphysaddr(self):
        flavor = self.make_specs({KEY: 'a100:8'})
        found = self.check(flavor, status=1)
        self.assertIn(('warning', 'maxphysaddr'), found)

    def test_no_gpu(self):
        flavor = self.make_specs({'hw:cpu_policy': 'shared'})
        self.assertEqual([('info', 'no-gpu')], self.check(flavor))
