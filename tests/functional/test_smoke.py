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

"""The main job, end to end: what `make demo` shows, held against the truth.

Short enough for every release of OpenStack.
"""

from tests.functional import base


class TestMainJob(base.TestCase):
    def test_alias(self):
        flavor = self.make_flavor('--alias', 'a100')
        shown = self.table('gpu', 'flavor', 'show', flavor)
        self.assertEqual('a100:1', shown['gpu_request'])
        self.assertEqual(1, shown['gpu_count'])
        self.assertEqual(
            {'pci_passthrough:alias': 'a100:1'}, shown['properties']
        )

        server = self.make_server(flavor)
        self.assertEqual('ACTIVE', server['status'])
        self.assertEqual('a100:1', server['gpu_request'])
        # A tenant sees neither hosts nor devices.
        self.assertEqual('', server['host'])
        self.assertEqual([], server['devices'])

        guest = self.guest(server['id'])
        (address,) = guest['devices']
        self.assertEqual([address], self.pci_addresses(server['id']))
        provider = f'{guest["host"]}_{address.upper()}'
        held = self.allocations(server['id'])[provider]
        self.assertEqual({'CUSTOM_PCI_10DE_20B5': 1}, held)

        shown = self.table('gpu', 'server', 'show', server['id'])
        self.assertEqual(guest['host'], shown['host'])
        self.assertEqual(
            [
                {
                    'host': guest['host'],
                    'address': address,
                    'resource_class': 'CUSTOM_PCI_10DE_20B5',
                    'amount': 1,
                }
            ],
            shown['devices'],
        )
        (row,) = (
            row
            for row in self.table('gpu', 'inventory', 'list', '--long')
            if (row['Host'], row['Device']) == (guest['host'], address)
        )
        self.assertEqual((1, 0, 1, 0), _numbers(row))
        self.assertEqual('NVIDIA GA100 [A100 PCIe 80GB]', row['Model'])
        self.assertEqual(
            [{'id': server['id'], 'name': server['name'], 'amount': 1}],
            row['Servers'],
        )

    def test_vgpu(self):
        flavor = self.make_flavor('--vgpu')
        self.assertEqual(
            {'resources:VGPU': '1'},
            self.table('gpu', 'flavor', 'show', flavor)['properties'],
        )
        server = self.make_server(flavor)
        guest = self.guest(server['id'])
        (mdev,) = guest['mdevs']
        name = 'pci_' + mdev['parent'].translate({58: 95, 46: 95})
        provider = f'{guest["host"]}_{name}'
        held = self.allocations(server['id'])[provider]
        self.assertEqual({'VGPU': 1}, held)

        (row,) = (
            row
            for row in self.table('gpu', 'inventory', 'list')
            if (row['Host'], row['Device']) == (guest['host'], mdev['parent'])
        )
        self.assertEqual(
            ('VGPU', (16, 0, 1, 15)), (row['Resource Class'], _numbers(row))
        )
        mine = self.table('gpu', 'server', 'list', user='member')
        (row,) = (row for row in mine if row['ID'] == server['id'])
        self.assertEqual(
            {
                'ID': server['id'],
                'Name': server['name'],
                'Status': 'ACTIVE',
                'Flavor': flavor,
                'GPU Request': 'VGPU:1',
                'GPU Count': 1,
                'Host': '',
            },
            row,
        )

    def test_inventory_is_placements(self):
        expected = {}
        providers = self.placement('/resource_providers')
        for provider in providers['resource_providers']:
            path = f'/resource_providers/{provider["uuid"]}'
            inventories = self.placement(f'{path}/inventories')['inventories']
            usages = self.placement(f'{path}/usages')['usages']
            for name, inventory in inventories.items():
                if name == 'VGPU' or name.startswith('CUSTOM_PCI_10DE_'):
                    expected[provider['uuid'], name] = (
                        inventory['total'],
                        inventory['reserved'],
                        usages[name],
                        inventory['total']
                        - inventory['reserved']
                        - usages[name],
                    )
        self.assertTrue(expected)
        found = {
            (row['Provider ID'], row['Resource Class']): _numbers(row)
            for row in self.table('gpu', 'inventory', 'list', '--long')
        }
        self.assertEqual(expected, found)

    def test_refused_by_nova_leaves_nothing(self):
        name = self.name('refused')
        self.addCleanup(self.forget_flavor, name)
        line = self.fails(
            'gpu', 'flavor', 'create', name, '--vcpus', '1', '--ram', '512',
            '--disk', '1', '--vgpu', '--property', 'hw:cpu_policy=nonsense',
        )  # fmt: skip
        self.assertIn('nonsense', line)
        names = [f.name for f in self.admin.compute.flavors(is_public=None)]
        self.assertNotIn(name, names)


def _numbers(row):
    return tuple(row[key] for key in ('Total', 'Reserved', 'Used', 'Free'))
