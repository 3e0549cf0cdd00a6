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

"""Cards that Nova itself lets a server hold twice, and their repair.

Run on a sandbox of its own, as tools/with_sandbox.py makes it of
doubles.yaml. A cold migration takes the free card with the lowest address,
and Placement's candidate is the first in an order of its own; a host with
four free cards doubles with a probability of three in four (facts 0.4, 9.3).
"""

from tests.functional import base
from tests.functional import shells
from tests.functional import truth

A100 = 'CUSTOM_PCI_10DE_20B5'
#: more than the sandbox's update_resources_interval
WAIT = str(base.PERIOD)


class TestDoubles(shells.TestCase):
    def setUp(self):
        super().setUp()
        self.hosts = sorted(self.control.status()['hosts'])
        if len(self.hosts) < 12:
            self.skipTest('this sandbox has too few hosts')

    def settled(self, server, *statuses):
        found = self.admin.compute.get_server(server)
        self.assertNotEqual('ERROR', found.status, found)
        return found.status in statuses and not found.task_state

    def migrate(self, server, host):
        """Migrate a server to a host and confirm it."""
        compute = self.admin.compute
        compute.migrate_server(server, host=host)
        base.wait_until(
            'migrated', lambda: self.settled(server, 'VERIFY_RESIZE')
        )
        compute.confirm_server_resize(server)
        base.wait_until('confirmed', lambda: self.settled(server, 'ACTIVE'))

    def cards(self, server):
        """Return the addresses of the cards that a server holds."""
        return sorted(
            name.rpartition('_')[2].lower()
            for name, amounts in self.allocations(server).items()
            if A100 in amounts
        )

    def double(self, server):
        """Migrate a server until Placement and Nova's database differ."""
        own = self.guest(server)['host']
        for host in self.hosts:
            if host != own:
                self.migrate(server, host)
                own = host
            if self.cards(server) != self.pci_addresses(server):
                return
        self.fail('no host doubles')

    def check(self, *argv, status):
        """Return check, subject -> row."""
        result = self.openstack(
            'gpu', 'inventory', 'check', '-f', 'json', *argv
        )
        self.assertEqual(status, result.status, result)
        self.assertEqual('', result.stderr)
        return {(r['Check'], r['Subject']): r for r in result.json}

    def lifetime(self, server):
        """Return the guest, and when Nova last did something to it."""
        path = f'/servers/{server}/os-instance-actions'
        actions = self.admin.compute.get(path, microversion='2.58').json()
        (last, *_older) = actions['instanceActions']
        return self.guest(server), last['request_id']

    def assert_same(self, server):
        """Placement, Nova's database and the guest say the same."""
        guest = self.guest(server)
        self.assertEqual('running', guest['state'])
        self.assertEqual(1, len(guest['devices']))
        self.assertEqual(guest['devices'], self.pci_addresses(server))
        self.assertEqual(guest['devices'], self.cards(server))

    def test_repair(self):
        flavor = self.make_flavor('--alias', 'a100')
        servers = [self.make_server(flavor)['id'] for _n in range(2)]
        wrong, right = servers
        self.assertEqual({}, self.check(status=0))
        self.double(wrong)
        before = {server: self.lifetime(server) for server in servers}
        held = self.allocations(right)
        used = self.pci_addresses(wrong)
        self.assertEqual(2, len(self.cards(wrong)))
        self.assertEqual(used, before[wrong][0]['devices'])
        self.assertLess(set(used), set(self.cards(wrong)))
        # It stays, periodic update or not, and is found.
        found = self.check(status=1)
        self.assertEqual([('excess', wrong)], list(found))
        (row,) = found.values()
        self.assertIn(f'holds 2 of {A100}, its flavor asks 1', row['Detail'])
        found = self.check('--repair', '--yes', '--wait', WAIT, status=0)
        self.assertEqual([('excess', wrong)], list(found))
        self.assertIn('dropped', found['excess', wrong]['Repair'])
        self.assert_same(wrong)
        self.assertEqual(used, self.pci_addresses(wrong))
        self.assertEqual(held, self.allocations(right))
        # Nobody did anything to either guest.
        after = {server: self.lifetime(server) for server in servers}
        self.assertEqual(before, after)
        self.assertEqual({}, self.check(status=0))
        # Whatever is done to it next works.
        self.admin.compute.reboot_server(wrong, 'HARD')
        base.wait_until('up', lambda: self.settled(wrong, 'ACTIVE'))
        self.assert_same(wrong)
        own = before[wrong][0]['host']
        self.migrate(wrong, next(h for h in self.hosts if h != own))
        guest = self.guest(wrong)
        self.assertNotEqual(own, guest['host'])
        self.assertEqual(guest['devices'], self.pci_addresses(wrong))
        self.assertLessEqual(set(guest['devices']), set(self.cards(wrong)))

    def test_the_next_one(self):
        """A server comes whole to a host where another one holds too much.

        Nova alone breaks its migration off in the middle, if the card that
        it takes is the one too many: Placement refuses that.
        """
        flavor = self.make_flavor('--alias', 'a100')
        first = self.make_server(flavor, user='admin')['id']
        second = self.make_server(flavor, user='admin')['id']
        self.double(first)
        host = self.guest(first)['host']
        if self.guest(second)['host'] == host:
            self.migrate(second, next(h for h in self.hosts if h != host))
        result = self.openstack(
            'gpu', 'server', 'migrate', second, '--host', host, '--wait', WAIT
        )
        self.assertEqual((0, ''), (result.status, result.stderr), result)
        for server in (first, second):
            found = truth.read(self, server)
            self.assertEqual([], truth.troubles(found, truth.Wanted(1)))
            self.assertEqual(host, found.host)
