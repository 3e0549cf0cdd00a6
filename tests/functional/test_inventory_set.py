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
"""Devices taken out of scheduling and back: what Nova makes of it."""

import time

from tests.functional import base
from tests.functional import shells

V100 = 'CUSTOM_PCI_10DE_1DB6'


class TestCase(shells.TestCase):
    """On the cards of gpu3, the only V100s."""

    def setUp(self):
        super().setUp()
        self.providers = {
            p['name']: p['uuid']
            for p in self.placement('/resource_providers')[
                'resource_providers'
            ]
        }
        self.cards = sorted(n for n in self.providers if n[:9] == 'gpu3_0000')

    def set(self, name, *argv):
        result = self.ok('gpu', 'inventory', 'set', name, *argv)
        self.assertEqual('', result.stdout)
        return result.stderr

    def reserve(self, name):
        """Reserve a card until the end of the test; return what was said."""
        self.addCleanup(self.set, name, '--release')
        return self.set(name, '--reserve')

    def inventory(self, name):
        path = f'/resource_providers/{self.providers[name]}/inventories'
        return self.placement(path)['inventories']


class TestSchedule(TestCase):
    def test_no_server_until_released(self):
        flavor = self.make_flavor('--alias', 'v100')
        before = self.inventory(self.cards[0])
        for name in self.cards:
            self.assertEqual('', self.reserve(name))
        time.sleep(base.PERIOD)
        # Nova has updated its providers, and left it alone.
        self.assertEqual(
            {V100: before[V100] | {'reserved': 1}},
            self.inventory(self.cards[0]),
        )
        name = self.name('server')
        self.addCleanup(self.forget_servers, name)
        line = self.fails(
            'gpu', 'server', 'create', name, '--flavor', flavor,
            '--image', 'cirros', '--network', 'private', '--wait',
        )  # fmt: skip
        self.assertIn('No valid host', line)
        self.set('0000:86:00.0', '--release')
        server = self.make_server(flavor)
        self.assertEqual(['0000:86:00.0'], self.pci_addresses(server['id']))

    def test_server_keeps_its_card(self):
        server = self.make_server(self.make_flavor('--alias', 'v100'))
        (address,) = self.pci_addresses(server['id'])
        (name,) = (n for n in self.cards if n.lower().endswith(address))
        held = self.allocations(server['id'])
        self.assertIn('1 of the reserved', self.reserve(name))
        time.sleep(base.PERIOD)
        self.assertEqual(held, self.allocations(server['id']))
        self.assertEqual(1, self.inventory(name)[V100]['reserved'])
        self.ok('server', 'reboot', '--hard', '--wait', server['id'])
        self.assertEqual([address], self.pci_addresses(server['id']))


class TestRefused(TestCase):
    def test_vgpus(self):
        (name,) = (n for n in self.providers if n.startswith('vgpu2_pci'))
        before = self.inventory(name)
        line = self.fails('gpu', 'inventory', 'set', name, '--reserve')
        self.assertIn('Nova resets what is reserved', line)
        self.assertEqual(before, self.inventory(name))

    def test_tenant(self):
        line = self.fails(
            'gpu', 'inventory', 'set', self.cards[0], '--reserve',
            user='member',
        )  # fmt: skip
        self.assertIn('You lack the right placement:', line)
        self.assertEqual(0, self.inventory(self.cards[0])[V100]['reserved'])

    def test_bad_values(self):
        for status, argv in (
            (1, ('nosuch', '--reserve')),
            (1, ('gpu3', '--reserve')),
            (1, (self.cards[0], '--reserve', '--amount', '2')),
            (1, (self.cards[0], '--release', '--amount', '1')),
            (1, (self.cards[0], '--reserve', '--resource-class', 'VGPU')),
            (2, (self.cards[0],)),
            (2, (self.cards[0], '--reserve', '--release')),
            (2, (self.cards[0], '--reserve', '--amount', '0')),
        ):
            self.fails('gpu', 'inventory', 'set', *argv, status=status)
            held = self.inventory(self.cards[0])
            self.assertEqual(0, held[V100]['reserved'])
