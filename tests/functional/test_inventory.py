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
"""The inventory in states that a quiet cloud is not in."""

import re
import uuid

from tests.functional import base
from tests.functional import shells

A100 = 'CUSTOM_PCI_10DE_20B5'


class TestCase(shells.TestCase):
    def setUp(self):
        super().setUp()
        self.providers = {
            p['name']: p['uuid']
            for p in self.placement('/resource_providers')[
                'resource_providers'
            ]
        }

    def rows(self, *argv):
        return self.table('gpu', 'inventory', 'list', *argv)

    def row(self, host, device, *argv):
        (row,) = (
            row
            for row in self.rows(*argv)
            if (row['Host'], row['Device']) == (host, device)
        )
        return row

    def reserve(self, provider, resource_class, amount):
        """Reserve units of a provider, or give them back."""
        path = (
            f'/resource_providers/{self.providers[provider]}/inventories/'
            f'{resource_class}'
        )

        def put():
            # Nova's periodic may have been faster.
            wanted = self.placement(path) | {'reserved': amount}
            wanted['resource_provider_generation'] = self.placement(
                path.rpartition('/inventories')[0]
            )['generation']
            answer = self.admin.placement.put(
                path, json=wanted, microversion='1.39'
            )
            self.assertIn(answer.status_code, (200, 409), answer.text)
            return answer.status_code == 200

        base.wait_until(f'{provider} reserved', put, 10)

    def make_provider(self, name, parent, resource_class, total):
        """Make a provider below a host, as Nova would."""
        made = {
            'name': name,
            'uuid': str(uuid.uuid4()),
            'parent_provider_uuid': self.providers[parent],
        }
        path = f'/resource_providers/{made["uuid"]}'
        placement = self.admin.placement
        answer = placement.post(
            '/resource_providers', json=made, microversion='1.39'
        )
        self.assertEqual(200, answer.status_code, answer.text)
        self.addCleanup(placement.delete, path, microversion='1.39')
        if resource_class.startswith('CUSTOM_'):
            where = f'/resource_classes/{resource_class}'
            placement.put(where, microversion='1.39')
            self.addCleanup(placement.delete, where, microversion='1.39')
        answer = placement.put(
            f'{path}/inventories',
            json={
                'resource_provider_generation': 0,
                'inventories': {resource_class: {'total': total}},
            },
            microversion='1.39',
        )
        self.assertEqual(200, answer.status_code, answer.text)
        self.addCleanup(
            placement.delete, f'{path}/inventories', microversion='1.39'
        )


class TestListInventory(TestCase):
    def test_reserved(self):
        provider, place = 'gpu2_0000:3B:00.0', ('gpu2', '0000:3b:00.0')
        self.reserve(provider, A100, 1)
        self.addCleanup(self.reserve, provider, A100, 0)
        row = self.row(*place)
        self.assertEqual((1, 1, 0, 0), numbers(row))
        self.assertEqual(row, self.row(*place, '--host', 'gpu2'))
        free = self.rows('--free', '--host', 'gpu2')
        self.assertEqual(['0000:af:00.0'], [row['Device'] for row in free])
        shown = self.table('gpu', 'inventory', 'show', provider)
        self.assertEqual(
            (1, 1, 0, 0),
            tuple(shown[k] for k in ('total', 'reserved', 'used', 'free')),
        )

    def test_all_used_and_the_host_full(self):
        """Nothing of a host is left, and still it shows what it has."""
        server = self.make_server(self.make_flavor('--alias', 'a100:2'))
        guest = self.guest(server['id'])
        host, devices = guest['host'], sorted(guest['devices'])
        memory = self.placement(
            f'/resource_providers/{self.providers[host]}/inventories/MEMORY_MB'
        )
        before = self.rows('--long')
        mine = [row for row in before if row['Device'] in devices]
        self.assertEqual(devices, [row['Device'] for row in mine])
        for row in mine:
            self.assertEqual((1, 0, 1, 0), numbers(row))
            self.assertEqual(
                [{'id': server['id'], 'name': server['name'], 'amount': 1}],
                row['Servers'],
            )
            self.assertIn('COMPUTE_MANAGED_PCI_DEVICE', row['Traits'])

        self.reserve(host, 'MEMORY_MB', memory['total'])
        self.addCleanup(self.reserve, host, 'MEMORY_MB', memory['reserved'])
        self.assertEqual(before, self.rows('--long'))
        for resource_class in ('VCPU', 'DISK_GB'):
            full = self.placement(
                f'/resource_providers/{self.providers[host]}/inventories/'
                f'{resource_class}'
            )
            self.reserve(host, resource_class, full['total'])
            self.addCleanup(
                self.reserve, host, resource_class, full['reserved']
            )
        self.assertEqual(before, self.rows('--long'))
        free = [
            (row['Host'], row['Device'])
            for row in before
            if row['Device'] not in devices
        ]
        self.assertEqual(
            free, [(r['Host'], r['Device']) for r in self.rows('--free')]
        )

    def test_filters(self):
        every = self.rows()
        self.assertEqual(
            sorted(every, key=lambda r: (r['Host'], r['Device'])), every
        )
        for host in ('gpu1', 'vgpu2', 'cpu1'):
            self.assertEqual(
                [row for row in every if row['Host'] == host],
                self.rows('--host', host),
            )
        self.assertEqual(
            [row for row in every if row['Resource Class'] == 'VGPU'],
            self.rows('--resource-class', 'VGPU'),
        )
        # What is asked for by name counts as a GPU, whatever it is.
        cpus = self.rows('--resource-class', 'VCPU')
        self.assertEqual(
            {h['name']: h['vcpus'] for h in self.spec.topology['hosts']},
            {row['Device']: row['Total'] for row in cpus},
        )
        for words, argv in (
            ("No host named 'nosuch'", ('--host', 'nosuch')),
            ('Did you mean gpu1?', ('--host', 'gpu1.example.org')),
        ):
            self.assertIn(words, self.fails('gpu', 'inventory', 'list', *argv))

    def test_what_no_sandbox_has(self):
        """Providers that somebody else made, and addresses behind a VMD."""
        self.make_provider('cpu1_pci_10000_01_00_0', 'cpu1', 'VGPU', 4)
        self.make_provider('cpu1_my_card', 'cpu1', 'CUSTOM_GPU_TEST', 2)
        self.make_provider('cpu1_0000:01:00.0', 'cpu1',
                           'CUSTOM_PCI_8086_1572', 1)  # fmt: skip
        self.assertEqual(
            [
                ('10000:01:00.0', 'VGPU', 4),
                ('cpu1_my_card', 'CUSTOM_GPU_TEST', 2),
            ],
            [
                (row['Device'], row['Resource Class'], row['Free'])
                for row in self.rows('--host', 'cpu1')
            ],
        )

    def test_host_that_died(self):
        before = self.rows('--long')
        self.control.change_host('gpu3', 'kill')
        self.addCleanup(self.control.change_host, 'gpu3', 'start')
        self.assertEqual(before, self.rows('--long'))

    def test_two_requests_to_placement(self):
        result = self.ok('gpu', 'inventory', 'list', '--debug', '-f', 'json')
        asked = re.findall(
            r'^REQ: curl .*?"?(http[^ "]+)', result.stderr, re.M
        )
        ports = self.spec.ports
        roots = [
            f'http://{self.spec.address}:{ports["identity"]}',
            f'http://{self.spec.address}:{ports["placement"]}',
        ]
        # Microversions are explicit, but the API's root is found out first.
        self.assertEqual(
            [
                f'{roots[0]}/v3',
                roots[1],
                f'{roots[1]}/resource_providers',
                f'{roots[1]}/allocation_candidates?resources=MEMORY_MB%3A1',
            ],
            asked,
        )


class TestShowInventory(TestCase):
    def test_every_way_to_name_it(self):
        name, device = 'gpu1_0000:A1:00.0', '0000:a1:00.0'
        shown = self.table('gpu', 'inventory', 'show', name)
        provider_id = self.providers[name]
        self.assertEqual(
            {
                'host': 'gpu1',
                'device': device,
                'model': 'NVIDIA GA100 [A100 PCIe 80GB]',
                'resource_class': A100,
                'total': 1,
                'reserved': 0,
                'used': 0,
                'free': 1,
                'provider_id': provider_id,
                'traits': shown['traits'],
                'servers': [],
            },
            shown,
        )
        self.assertIn('COMPUTE_MANAGED_PCI_DEVICE', shown['traits'])
        for same in (provider_id, device, f'gpu1_{device}', device.upper()):
            with self.subTest(same):
                self.assertEqual(
                    shown, self.table('gpu', 'inventory', 'show', same)
                )

    def test_refused(self):
        for words, argv in (
            (("name or ID of 'nosuch'",), ('nosuch',)),
            ((f"name or ID of '{A100}'",), (A100,)),
            (("'gpu1' is no GPU",), ('gpu1',)),
            (
                ("'vgpu2_pci_0000_84_00_0' has no CUSTOM_NVIDIA_11",),
                (
                    'vgpu2_pci_0000_84_00_0',
                    '--resource-class',
                    'CUSTOM_NVIDIA_11',
                ),
            ),
        ):
            with self.subTest(argv):
                line = self.fails('gpu', 'inventory', 'show', *argv)
                for word in words:
                    self.assertIn(word, line)

    def test_right_that_a_tenant_lacks(self):
        for argv in (('list',), ('list', '--long'), ('show', 'gpu1')):
            with self.subTest(argv):
                line = self.fails('gpu', 'inventory', *argv, user='member')
                self.assertIn(
                    'the right placement:resource_providers:list', line
                )


def numbers(row):
    return tuple(row[key] for key in ('Total', 'Reserved', 'Used', 'Free'))
