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

import uuid

from tests.functional import base

A100 = 'CUSTOM_PCI_10DE_20B5'


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


class TestWhatIsTrue(base.TestCase):
    """What is learned, counted, checked and repaired."""

    def test_alias_capacity_and_usage(self):
        undefined = self.make_flavor('--alias', 'nope')
        flavor = self.make_flavor('--alias', 'a100')
        server = self.make_server(flavor)
        rows = {row['Name']: row for row in self.table('gpu', 'alias', 'list')}
        self.assertEqual('no', rows['nope']['Defined'])
        self.assertEqual(
            ('yes', [A100]),
            (rows['a100']['Defined'], rows['a100']['Resource Class']),
        )
        found = self.openstack(
            'gpu', 'flavor', 'check', undefined, flavor, '-f', 'json'
        )
        self.assertEqual(1, found.status, found)
        self.assertEqual(
            [(undefined, 'undefined-alias')],
            [(row['Flavor'], row['Check']) for row in found.json],
        )

        (row,) = self.table('gpu', 'capacity', 'list', '--flavor', flavor)
        # Cards are all that a server so small is short of.
        self.assertEqual(self.free_cards(), row['Fits'])
        shown = self.table('gpu', 'usage', 'show', user='member')
        usages = self.placement(f'/usages?project_id={server["project_id"]}')
        held = sum(used.get(A100, 0) for used in usages['usages'].values())
        self.assertEqual(held, shown['used'][A100])

    def free_cards(self):
        listed = self.placement(f'/resource_providers?resources={A100}:1')
        return len(listed['resource_providers'])

    def test_orphan_is_repaired(self):
        self.make_server(self.make_flavor('--alias', 'a100'))
        check = ('gpu', 'inventory', 'check', '--resource-class', A100)
        self.assertEqual([], self.table(*check))
        listed = self.placement(f'/resource_providers?resources={A100}:1')
        card = listed['resource_providers'][0]['uuid']
        consumer = str(uuid.uuid4())
        answer = self.admin.placement.put(
            f'/allocations/{consumer}',
            json={
                'allocations': {card: {'resources': {A100: 1}}},
                'consumer_generation': None,
                'project_id': 'p' * 32,
                'user_id': 'u' * 32,
            },
            microversion='1.37',
        )
        self.assertEqual(204, answer.status_code, answer.text)
        found = self.openstack(*check, '-f', 'json')
        self.assertEqual(1, found.status, found)
        self.assertEqual(
            [('orphan', consumer)],
            [(row['Check'], row['Subject']) for row in found.json],
        )
        (row,) = self.table(*check, '--repair', '--yes')
        self.assertEqual('removed', row['Repair'])
        self.assertEqual({}, self.allocations(consumer))
        self.assertEqual([], self.table(*check))


def _numbers(row):
    return tuple(row[key] for key in ('Total', 'Reserved', 'Used', 'Free'))
