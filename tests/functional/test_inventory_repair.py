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
"""Repairs, with Placement, Nova's database and the guests as witnesses."""

import os
import pty
import signal
import uuid

from tests.functional import base
from tests.functional import shells
from tests.functional import wire

V100 = 'CUSTOM_PCI_10DE_1DB6'
#: longer than the sandbox's update_resources_interval
WAIT = str(base.PERIOD)
CHECK = ('gpu', 'inventory', 'check', '--host', 'gpu3', '-f', 'json')


class TestCase(shells.TestCase):
    """On gpu3, which has the only V100s."""

    def setUp(self):
        super().setUp()
        self.providers = {
            p['name']: p['uuid']
            for p in self.placement('/resource_providers')[
                'resource_providers'
            ]
        }
        self.cards = sorted(n for n in self.providers if n[:9] == 'gpu3_0000')

    def check(self, *argv, status=0, host='gpu3'):
        """Check one host; return check and subject -> what of the repair."""
        result = self.openstack(*CHECK[:4], host, *CHECK[5:], *argv)
        self.assertEqual(status, result.status, result)
        self.assertEqual('', result.stderr)
        return {
            (row['Check'], row['Subject']): row['Repair']
            for row in result.json
            if row['Severity'] == 'error' or 'reserved' in row['Check']
        }

    def write(self, consumer, held, owner=None):
        """Write allocations: provider name -> class -> amount."""
        before = self.placement(f'/allocations/{consumer}')
        body = {
            'allocations': {
                self.providers[name]: {'resources': amounts}
                for name, amounts in held.items()
            },
            'consumer_generation': before.get('consumer_generation'),
            'project_id': before.get('project_id') or '0' * 32,
            'user_id': before.get('user_id') or '0' * 32,
        }
        response = self.admin.placement.put(
            f'/allocations/{consumer}', json=body, microversion='1.37'
        )
        self.assertEqual(204, response.status_code, response.text)

    def orphan(self):
        """Have nobody hold a card that is free; return the consumer."""
        listed = self.placement(f'/resource_providers?resources={V100}:1')
        card = listed['resource_providers'][0]['name']
        consumer = str(uuid.uuid4())
        self.addCleanup(self.write, consumer, {})
        self.write(consumer, {card: {V100: 1}})
        return consumer

    def double(self, server, card):
        """Have a server hold another card, too, as Nova's migrations do."""
        held = self.allocations(server) | {card: {V100: 1}}
        self.write(server, held)
        self.assertEqual(held, self.allocations(server))

    def assert_right(self, server, address):
        """The server has its card, and everybody says the same."""
        self.assertEqual([address], self.pci_addresses(server))
        self.assertEqual(
            [f'gpu3_{address.upper()}'],
            [name for name in self.allocations(server) if name != 'gpu3'],
        )
        self.assertEqual([address], self.guest(server)['devices'])
        self.assertEqual(
            'ACTIVE', self.admin.compute.get_server(server).status
        )


class TestOrphan(TestCase):
    def test_removed(self):
        live = self.make_server(self.make_flavor('--alias', 'v100'))['id']
        held = self.allocations(live)
        consumer = self.orphan()
        found = {('orphan', consumer): 'would be done: remove its allocations'}
        self.assertEqual(found, self.check('--repair', '--dry-run', status=1))
        self.assertEqual(1, len(self.allocations(consumer)))
        self.assertEqual(
            {('orphan', consumer): 'removed'}, self.check('--repair', '--yes')
        )
        self.assertEqual({}, self.allocations(consumer))
        self.assertEqual(held, self.allocations(live))
        self.assertEqual({}, self.check())

    def test_nobody_to_ask(self):
        consumer = self.orphan()
        line = self.fails(*CHECK, '--repair')
        self.assertIn('give --yes, or --dry-run', line)
        self.assertEqual(1, len(self.allocations(consumer)))

    def test_tenant(self):
        consumer = self.orphan()
        line = self.fails(*CHECK, '--repair', '--yes', user='member')
        self.assertIn('You lack the right placement:', line)
        self.assertEqual(1, len(self.allocations(consumer)))

    def test_asks_on_a_terminal(self):
        consumer = self.orphan()
        for answer, left, status in ((b'n\n', 1, 1), (b'y\n', 0, 0)):
            shown = self.answer(answer, status)
            self.assertIn(f'{consumer}: 1 {V100}', shown)
            self.assertIn('Repair these 1? [y/N]', shown)
            self.assertEqual(left, len(self.allocations(consumer)))

    def answer(self, answer, status):
        """Run it with somebody to answer; return stderr."""
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        os.write(master, answer)
        process = self.process('--repair', stdin=slave)
        os.close(slave)
        _stdout, stderr = process.communicate(timeout=base.LIMIT)
        self.assertEqual(status, process.returncode, stderr)
        return stderr.decode()

    def process(self, *argv, **more):
        return process(self.state, *CHECK, *argv, **more)


def process(state, *argv, **more):
    """Begin a command in a process of its own."""
    return base.begin(*argv, env=base.cloud_of(state), text=False, **more)


class TestLeaked(TestCase):
    """A state that was reset while a resize waited (facts 0.3)."""

    def test_removed(self):
        server = self.make_server(self.make_flavor('--alias', 'a100'))['id']
        compute = self.admin.compute
        compute.migrate_server(server)
        base.wait_until(
            'migrated',
            lambda: compute.get_server(server).status == 'VERIFY_RESIZE',
        )
        (record,) = compute.get(
            f'/os-migrations?instance_uuid={server}', microversion='2.59'
        ).json()['migrations']
        # It is not leaked yet.
        source = record['source_compute']
        self.assertEqual({}, self.check('--repair', '--yes', host=source))
        self.assertIn(source, self.allocations(record['uuid']))
        compute.reset_server_state(server, 'active')
        held = self.allocations(server)
        # What keeps it from starting again is not to be mended by API.
        found = self.check('--repair', '--yes', host=source, status=1)
        self.assertEqual(
            'removed', found.pop(('leaked-migration', record['uuid']))
        )
        self.assertEqual([('stale-claim', server)], list(found))
        self.assertEqual({}, self.allocations(record['uuid']))
        self.assertEqual(held, self.allocations(server))


class TestExcess(TestCase, wire.TestCase):
    def setUp(self):
        super().setUp()
        self.flavor = self.make_flavor('--alias', 'v100')

    def server_on(self, card):
        """Return a server on a card, as no other one is to be had."""
        others = [name for name in self.cards if name != card]
        for name in others:
            self.ok('gpu', 'inventory', 'set', name, '--reserve')
            self.addCleanup(
                self.ok, 'gpu', 'inventory', 'set', name, '--release'
            )
        server = self.make_server(self.flavor)['id']
        for name in others:
            self.ok('gpu', 'inventory', 'set', name, '--release')
        (address,) = self.pci_addresses(server)
        self.assertEqual(card, f'gpu3_{address.upper()}')
        return server, address

    def test_first_guess_is_right(self):
        server, address = self.server_on(self.cards[0])
        self.double(server, self.cards[-1])
        found = self.check('--repair', '--yes', '--wait', WAIT)
        self.assertEqual(
            {('excess', server): f'dropped {self.cards[-1]}'}, found
        )
        self.assert_right(server, address)

    def test_first_guess_is_wrong(self):
        """It is killed before it can know, too, and run again."""
        server, address = self.server_on(self.cards[-1])
        self.double(server, self.cards[0])
        self.kill(server)
        # Nova's update writes what the server has.
        base.wait_until(
            'added back', lambda: len(self.allocations(server)) == 3
        )
        found = self.check('--repair', '--yes', '--wait', WAIT)
        dropped = {('excess', server): f'dropped {self.cards[0]}'}
        self.assertEqual(dropped, found)
        self.assert_right(server, address)
        self.ok('server', 'reboot', '--hard', '--wait', server)
        self.assert_right(server, address)

    def kill(self, server):
        """End a repair at its first write, before it waits for Nova."""
        proxy = wire.Proxy(self.spec.url('placement'))
        self.addCleanup(proxy.stop)
        clouds = self.write_clouds(placement_endpoint_override=proxy.url)

        def end(request):
            if request.startswith('PUT /allocations'):
                begun.kill()

        proxy.before = end
        begun = base.begin(
            *CHECK, '--repair', '--yes', '--wait', WAIT,
            env=base.cloud_of(self.state) | {'OS_CLIENT_CONFIG_FILE': clouds},
        )  # fmt: skip
        begun.communicate(timeout=base.LIMIT)
        self.assertEqual(-signal.SIGKILL, begun.returncode)
        self.assertEqual(2, len(self.allocations(server)))


class TestReserved(TestCase):
    def test_released_when_told(self):
        self.ok('gpu', 'inventory', 'set', self.cards[0], '--reserve')
        self.addCleanup(
            self.ok, 'gpu', 'inventory', 'set', self.cards[0], '--release'
        )
        about = ('reserved', self.cards[0])
        for argv, done in (
            ((), 'release'),
            (('--release', 'one-time-use'), 'release'),
            (('--release', 'all', '--dry-run'), 'would be done: release it'),
            (('--release', 'all'), 'released'),
        ):
            found = self.check('--repair', '--yes', *argv)
            self.assertEqual({about: done}, found)
        path = f'/resource_providers/{self.providers[self.cards[0]]}'
        held = self.placement(f'{path}/inventories')['inventories']
        self.assertEqual(0, held[V100]['reserved'])
        self.assertEqual({}, self.check())


class TestFaults(TestCase, wire.TestCase):
    """A Placement that fails at the write."""

    def setUp(self):
        super().setUp()
        self.proxy = wire.Proxy(self.spec.url('placement'))
        self.addCleanup(self.proxy.stop)
        url = self.proxy.url
        self.clouds = self.write_clouds(placement_endpoint_override=url)

    def fail_writes(self, verdict, times=99):
        left = [verdict] * times

        def decide(request):
            is_write = request.startswith('PUT /allocations')
            return left.pop() if is_write and left else None

        self.proxy.decide = decide

    def writes(self):
        return [r for r in self.proxy.requests if r.startswith('PUT ')]

    def test_not_done(self):
        consumer = self.orphan()
        for verdict, words in (
            (500, 'failed: '),
            (503, 'HTTP 503'),
            (wire.CUT, 'the connection was cut'),
        ):
            self.fail_writes(verdict)
            found = self.check('--repair', '--yes', status=1)
            self.assertIn(words, found['orphan', consumer])
            self.assertEqual(1, len(self.allocations(consumer)))

    def test_done_but_not_answered(self):
        consumer = self.orphan()
        self.fail_writes(wire.LOSE)
        found = self.check('--repair', '--yes')
        self.assertEqual({('orphan', consumer): 'removed'}, found)
        self.assertEqual({}, self.allocations(consumer))

    def test_only_allowed_to_read(self):
        orphans = [self.orphan() for _n in range(3)]
        self.fail_writes(403)
        line = self.fails(*CHECK, '--repair', '--yes')
        self.assertIn('Forbidden', line)
        self.assertEqual(1, len(self.writes()))
        for consumer in orphans:
            self.assertEqual(1, len(self.allocations(consumer)))
