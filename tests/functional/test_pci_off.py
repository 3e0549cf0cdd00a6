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
"""A cloud that keeps its PCI devices out of Placement.

Run on a sandbox of its own, as tools/with_sandbox.py --pci-off starts it.
"""

from tests.functional import shells


class TestPciOff(shells.TestCase):
    def setUp(self):
        super().setUp()
        if self.spec.topology['pci_in_placement']:
            self.skipTest('this sandbox has PCI in Placement')

    def test_alias(self):
        flavor = self.make_flavor('--alias', 'a100:2')
        server = self.make_server(flavor)
        self.assertEqual(
            ('ACTIVE', 'a100:2', 2, []),
            (
                server['status'],
                server['gpu_request'],
                server['gpu_count'],
                server['devices'],
            ),
        )
        guest = self.guest(server['id'])
        devices = sorted(guest['devices'])
        self.assertEqual(2, len(devices))
        self.assertEqual(devices, self.pci_addresses(server['id']))
        # Placement knows nothing of it, and neither do we.
        held = self.allocations(server['id'])
        self.assertEqual(
            {guest['host']: {'VCPU', 'MEMORY_MB', 'DISK_GB'}},
            {name: set(resources) for name, resources in held.items()},
        )
        shown = self.table('gpu', 'server', 'show', server['id'])
        self.assertEqual(guest['host'], shown['host'])
        self.assertEqual([], shown['devices'])
        (row,) = self.table('gpu', 'server', 'list', '--host', guest['host'])
        self.assertEqual(
            (server['id'], 'a100:2', 2),
            (row['ID'], row['GPU Request'], row['GPU Count']),
        )
        rows = self.table('gpu', 'inventory', 'list')
        self.assertNotIn(guest['host'], {row['Host'] for row in rows})

    def test_no_valid_host(self):
        flavor = self.make_flavor('--alias', 'a100:5')
        name = self.name('greedy')
        self.addCleanup(self.forget_servers, name)
        line = self.fails(
            'gpu', 'server', 'create', name, '--flavor', flavor,
            '--image', 'cirros', '--network', 'private', '--wait',
        )  # fmt: skip
        self.assertIn('requests a100:5 on one host', line)
        # What Placement has free is something else, and must not mislead.
        self.assertNotIn('VGPU', line)

    def test_vgpu(self):
        server = self.make_server(self.make_flavor('--vgpu'))
        guest = self.guest(server['id'])
        (mdev,) = guest['mdevs']
        shown = self.table('gpu', 'server', 'show', server['id'])
        self.assertEqual(
            [
                {
                    'host': guest['host'],
                    'address': mdev['parent'],
                    'resource_class': 'VGPU',
                    'amount': 1,
                }
            ],
            shown['devices'],
        )
        rows = self.table('gpu', 'inventory', 'list', '--long')
        self.assertEqual({'VGPU'}, {row['Resource Class'] for row in rows})
        cards = [
            (host['name'], card['address'])
            for host in self.spec.topology['hosts']
            for card in host['cards']
            if card['type'] == 'mdev'
        ]
        self.assertEqual(
            sorted(cards), [(row['Host'], row['Device']) for row in rows]
        )
        (used,) = (row for row in rows if row['Used'])
        self.assertEqual(
            (guest['host'], mdev['parent'], 1, 15),
            (used['Host'], used['Device'], used['Used'], used['Free']),
        )
        self.assertEqual(
            [{'id': server['id'], 'name': server['name'], 'amount': 1}],
            used['Servers'],
        )

    def test_flavor(self):
        flavor = self.make_flavor('--alias', 'a100', '--vgpu')
        self.ok('gpu', 'flavor', 'unset', flavor, '--vgpu', 'VGPU')
        shown = self.table('gpu', 'flavor', 'show', flavor)
        self.assertEqual('a100:1', shown['gpu_request'])
        line = self.fails('gpu', 'inventory', 'show', '0000:20:00.0')
        self.assertIn("name or ID of '0000:20:00.0'", line)


class TestCapacity(shells.TestCase):
    def setUp(self):
        super().setUp()
        if self.spec.topology['pci_in_placement']:
            self.skipTest('this sandbox has PCI in Placement')

    def test_alias(self):
        flavor = self.make_flavor('--alias', 'a100')
        why = 'no PCI devices in Placement'
        (row,) = self.table('gpu', 'capacity', 'list', '--flavor', flavor)
        self.assertEqual(
            [flavor, 'a100:1', 'unknown', 'unknown', 'unknown', why],
            list(row.values()),
        )
        shown = self.table('gpu', 'capacity', 'show', flavor)
        self.assertEqual(
            ('unknown', why, []),
            (shown['fits'], shown['blocked_by'], shown['hosts']),
        )

    def test_alias_that_is_not_defined(self):
        flavor = self.make_flavor('--alias', 'nope')
        (row,) = self.table('gpu', 'capacity', 'list', '--flavor', flavor)
        self.assertEqual(
            (0, 'alias nope not defined'), (row['Fits'], row['Blocked By'])
        )

    def test_vgpu(self):
        flavor = self.make_flavor('--property', 'resources:VGPU=16')
        (before,) = self.table('gpu', 'capacity', 'list', '--flavor', flavor)
        self.make_server(self.make_flavor('--vgpu'))
        (after,) = self.table('gpu', 'capacity', 'list', '--flavor', flavor)
        self.assertEqual(before['Fits'] - 1, after['Fits'])
