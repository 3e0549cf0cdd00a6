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

import time
from unittest import mock

import requests

from osc_gpu.cloud import marks
from osc_gpu.cloud import migration
from osc_gpu.cloud import migration_steps as steps
from osc_gpu.cloud import moving_hosts
from osc_gpu.cloud import moving_lanes
from osc_gpu.cloud import repair_excess
from tests.unit.cloud import moving_case
from tests.unit import fake_moves

A100 = fake_moves.A100
THERE = 'GET /servers/detail?host=gpu3&all_tenants=True'
WAIT = 5


class TestCase(moving_case.TestCase):
    """Each sleep lets time pass, and Nova update what servers hold."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = 0.0
        self.enterContext(
            mock.patch.object(time, 'monotonic', lambda: self.clock)
        )
        self.sleep.side_effect = self._let_pass
        self.asked_before = len(self.requests)

    def _let_pass(self, seconds: float) -> None:
        self.clock += seconds
        self.periodic()

    def tidy(self, host: str = 'gpu3') -> str:
        self.asked_before = len(self.requests)
        return moving_hosts.tidy(self.run_, host, WAIT)

    @property
    def asked(self) -> list[str]:
        """What the last call asked of the cloud."""
        return self.requests[self.asked_before :]

    def double(self, name: str = 'double', **changes: str) -> str:
        """Add a server that holds both cards of gpu3, and uses the second."""
        server = self.add_gpu_server(name, 'gpu3', **changes)
        (used,) = self.cards_of(server)
        (free,) = (c for c in self._free(self.root_of('gpu3'), A100))
        del self.placement.allocations[server][used]
        for card in (used, free):
            self.placement.hold(server, card, **{A100: 1})
        self.used[server] = {free: {A100: 1}}
        return server

    def cards_of(self, server: str) -> list[str]:
        held = self.placement.allocations[server]
        return [card for card, amounts in held.items() if A100 in amounts]

    def assert_left(self, server: str) -> None:
        """Check that a server keeps its double, and nothing was written."""
        self.assertEqual(2, len(self.cards_of(server)))
        self.assertFalse([r for r in self.asked if r[:4] != 'GET '])


class TestTidy(TestCase):
    def test_no_pci_devices_in_placement(self) -> None:
        self.add_host('cpu1')
        self.run_ = self.new_run()
        for host in ('cpu1', 'vgpu1', 'nowhere', ''):
            self.assertEqual('', self.tidy(host))
            self.assertEqual([], self.asked)

    def test_nobody_there(self) -> None:
        self.add_gpu_server('elsewhere', 'gpu2')
        self.assertEqual('', self.tidy())
        self.assertEqual([THERE], self.asked)

    def test_nothing_wrong(self) -> None:
        ids = [self.add_gpu_server(name, 'gpu3') for name in 'ab']
        # Whoever has no alias cannot hold too much of what Nova corrects.
        self.add_server(
            'plain', {}, (self.root_of('gpu3'), moving_case.SOME), host='gpu3'
        )
        self.assertEqual('', self.tidy())
        self.assertEqual(
            [THERE, *sorted(f'GET /allocations/{uuid}' for uuid in ids)],
            [self.asked[0], *sorted(self.asked[1:])],
        )
        self.assertEqual([], self.said)

    def test_double(self) -> None:
        server = self.double()
        self.assertEqual('', self.tidy())
        self.assert_whole(server, 'gpu3')
        (said,) = self.said
        self.assertTrue(said.startswith('gpu3: Server double holds 2 of'))

    def test_one_double_of_several_servers(self) -> None:
        # The first two are there already.
        self.add_cards(self.root_of('gpu3'), 5)
        self.run_ = self.new_run()
        whole = self.add_gpu_server('whole', 'gpu3')
        double = self.add_gpu_server('double', 'gpu3')
        spare = self._free(self.root_of('gpu3'), A100)[-1]
        self.placement.hold(double, spare, **{A100: 1})
        self.assertEqual('', self.tidy())
        for server in (whole, double):
            self.assertEqual(list(self.used[server]), self.cards_of(server))
        writes = [r for r in self.asked if r[:4] != 'GET ']
        self.assertEqual({f'PUT /allocations/{double}'}, set(writes))

    def test_too_little_is_no_hindrance(self) -> None:
        server = self.add_gpu_server('train', 'gpu3')
        (card,) = self.cards_of(server)
        del self.placement.allocations[server][card]
        self.assertEqual('', self.tidy())
        self.assertEqual([], [r for r in self.asked if r[:4] != 'GET '])

    def test_too_much_that_nova_does_not_correct(self) -> None:
        (card,) = self.add_vgpus(self.root_of('gpu3'), 4)
        self.run_ = self.new_run()
        server = self.add_gpu_server('train', 'gpu3')
        self.placement.hold(server, card, VGPU=1)
        self.assertEqual('', self.tidy())
        self.assertEqual([], [r for r in self.asked if r[:4] != 'GET '])


class TestLeft(TestCase):
    def test_busy_and_whole(self) -> None:
        for status in ('VERIFY_RESIZE', 'REVERT_RESIZE', 'UNKNOWN'):
            server = self.add_gpu_server('busy', 'gpu3', status=status)
            self.assertEqual('', self.tidy())
            self.assertEqual([THERE, f'GET /allocations/{server}'], self.asked)
            self.remove(server)

    def test_on_two_hosts(self) -> None:
        server = self.double()
        self.placement.hold(server, self.root_of('gpu2'), VCPU=1)
        self.assertEqual('', self.tidy())
        self.assert_left(server)

    def test_a_device_that_is_younger_than_the_run(self) -> None:
        server = self.double()
        young = self.placement.provider(
            'gpu3_0000:40:00.0', self.root_of('gpu3'), **{A100: 1}
        )
        self.placement.hold(server, young, **{A100: 1})
        self.assertEqual('', self.tidy())
        self.assertEqual(3, len(self.cards_of(server)))


class TestBusy(TestCase):
    """What is held too much by whom something is being done to."""

    def mark(self, server: str) -> None:
        mark = marks.Move('migrate', 'fade', marks.digest('c' * 32, 'gpu1'))
        self.servers[server] |= {
            'locked': True,
            'locked_reason': marks.write_move(mark),
        }

    def test_waits_to_be_confirmed(self) -> None:
        """Nobody says when that will be, so it is not waited for."""
        server = self.double(status='VERIFY_RESIZE')
        self.assertEqual(
            'double waits in VERIFY_RESIZE on gpu3 and holds a device too '
            'many: confirm or revert it, name another target, or wait',
            self.tidy(),
        )
        self.assert_left(server)
        self.assertEqual([THERE, f'GET /allocations/{server}'], self.asked)
        self.assertEqual(0, self.clock)

    def test_waited_for_until_the_end(self) -> None:
        for number, changes in enumerate(
            (
                {'status': 'REVERT_RESIZE'},
                {'status': 'UNKNOWN'},
                {fake_moves.TASK: 'rebooting'},
                {'status': 'VERIFY_RESIZE', fake_moves.TASK: 'deleting'},
            )
        ):
            with self.subTest(changes):
                began = self.clock
                server = self.double(f'busy {number}', **changes)
                why = self.tidy()
                self.assertIn(f'busy {number} is busy on gpu3 (', why)
                self.assertIn('name another target, or wait', why)
                self.assertLessEqual(WAIT, self.clock - began)
                self.assertLess(self.clock - began, WAIT + repair_excess.POLL)
                self.assert_left(server)
                self.remove(server)

    def test_mended_when_it_is_done(self) -> None:
        server = self.double(**{fake_moves.TASK: 'rebooting'})
        self.sleep.side_effect = self._reboot
        self.assertEqual('', self.tidy())
        self.assert_whole(server, 'gpu3')
        self.assertEqual('gpu3: waits for double', self.said[0])

    def test_another_command_confirms_it(self) -> None:
        server = self.double(status='VERIFY_RESIZE')
        self.mark(server)
        self.sleep.side_effect = self._reboot
        self.assertEqual('', self.tidy())
        self.assert_whole(server, 'gpu3')

    def _reboot(self, seconds: float) -> None:
        for server in self.servers.values():
            server |= {'status': 'ACTIVE', fake_moves.TASK: None}
        self._let_pass(seconds)

    def test_this_command_has_left_it(self) -> None:
        server = self.double(status='VERIFY_RESIZE')
        self.mark(server)
        why = moving_hosts.tidy(self.run_, 'gpu3', WAIT, left=[server])
        self.assertIn('confirm or revert it', why)
        self.assertEqual(0, self.clock)

    def test_looked_at_before(self) -> None:
        """A look is what it takes then, and no more waiting."""
        server = self.double(**{fake_moves.TASK: 'rebooting'})
        look = [THERE, f'GET /allocations/{server}']

        def tidy() -> str:
            self.asked_before = len(self.requests)
            return moving_hosts.tidy(self.run_, 'gpu3', WAIT, 'a mess')

        self.assertIn('is busy', tidy())
        self.servers[server][fake_moves.TASK] = None
        self.assertEqual('a mess', tidy())
        self.assertEqual(look, self.asked)
        self.remove(server)
        self.assertEqual('', tidy())
        self.assertEqual(0, self.clock)

    def test_interrupted(self) -> None:
        self.double(**{fake_moves.TASK: 'rebooting'})
        self.run_.stopped.set()
        self.assertIn('is busy', self.tidy())
        self.assertEqual(0, self.clock)


class TestRefused(TestCase):
    def refused(self) -> str:
        why = self.tidy()
        self.assertNotEqual('', why)
        self.assertNotIn('\n', why)
        self.assertIn('gpu3', why)
        return why

    def test_cannot_be_mended(self) -> None:
        self.double()
        self.disturb('PUT /allocations', 500, times=99)
        why = self.refused()
        self.assertIn('gpu3 has servers that hold too many devices', why)
        self.assertIn('(double: failed: ', why)
        self.assertTrue(
            why.endswith('see: openstack gpu inventory check --repair')
        )

    def test_becomes_busy(self) -> None:
        server = self.double()
        self.add_migration(server, 'pre-migrating')
        self.assertIn('double: busy (pre-migrating)', self.refused())
        self.assert_left(server)

    def test_each_that_cannot_be_mended_is_named(self) -> None:
        cards = self.add_cards(self.root_of('gpu2'), 6)[2:]
        self.run_ = self.new_run()
        ids = []
        for name, two in (('b', cards[:2]), ('a', cards[2:])):
            held = [(card, {A100: 1}) for card in two]
            root = (self.root_of('gpu2'), moving_case.SOME)
            ids.append(
                self.add_server(
                    name, fake_moves.ALIAS, root, *held, host='gpu2'
                )
            )
        for server in ids:
            self.disturb(f'PUT /allocations/{server}', 500, times=99)
        why = self.tidy('gpu2')
        self.assertIn('(a: failed: ', why)
        self.assertIn('; b: failed: ', why)

    def test_no_right_to_write(self) -> None:
        server = self.double()
        self.disturb('PUT /allocations', 403, times=9)
        self.assertIn('gpu3 cannot be looked at: ', self.refused())
        self.assertEqual(2, len(self.cards_of(server)))

    def test_the_cloud_fails(self) -> None:
        self.double()
        for pattern in ('GET /servers/detail', 'GET /allocations'):
            for answer in (503, requests.exceptions.ConnectionError('cut')):
                with self.subTest(pattern, answer=answer):
                    self.disturb(pattern, answer, times=9)
                    self.assertIn('gpu3 cannot be looked at', self.refused())
                    self.faults.clear()
        self.assertEqual([], self.writes)


class TestThenMoves(TestCase):
    """What is done before a server with PCI devices is sent somewhere."""

    def setUp(self) -> None:
        super().setUp()
        self.add_cards(self.add_host('gpu4'), 3)
        self.run_ = self.new_run()
        root = self.root_of('gpu4')
        used, *_others, spare = self._free(root, A100)
        self.there = self.add_server(
            'there',
            fake_moves.ALIAS,
            (root, moving_case.SOME),
            (used, {A100: 1}),
            host='gpu4',
        )
        self.placement.hold(self.there, spare, **{A100: 1})
        self.server = self.add_gpu_server('train')
        self.sleep.side_effect = self._let_pass

    def _let_pass(self, seconds: float) -> None:
        for server in tuple(self._doing):
            self.finish(server)
        super()._let_pass(seconds)

    def move_there(self) -> migration.Outcome:
        self.asked_before = len(self.requests)
        order = self.order(self.server, target='gpu4')
        (outcome,) = moving_lanes.move(
            self.run_, [order], moving_lanes.Rules(1, WAIT)
        )
        return outcome

    def test_mended_first(self) -> None:
        outcome = self.move_there()
        self.assertEqual(steps.MIGRATED, outcome.result, outcome)
        self.assertEqual(
            list(self.used[self.there]), self.cards_of(self.there)
        )
        self.assertEqual('gpu4', self.host_of(self.server))
        writes = [r for r in self.asked if r[:4] != 'GET ']
        self.assertEqual(
            [
                f'PUT /allocations/{self.there}',
                f'POST /servers/{self.server}/action',
            ],
            writes[:2],
        )

    def test_left_unconfirmed(self) -> None:
        """It holds one too many, so nobody may follow until it is settled."""
        self.placement.allocations.pop(self.there)
        del self.servers[self.there]
        self.doubles = True
        second = self.add_gpu_server('second')
        orders = [
            self.order(server, target='gpu4', confirms=False)
            for server in (self.server, second)
        ]
        first, refused = moving_lanes.move(
            self.run_, orders, moving_lanes.Rules(1, WAIT)
        )
        self.assertEqual(steps.UNCONFIRMED, first.result)
        self.assertEqual(
            (steps.REFUSED, True), (refused.result, refused.is_clean)
        )
        self.assertIn('train waits in VERIFY_RESIZE', refused.detail)

    def test_requests(self) -> None:
        """Who is there is listed once for each that is to arrive."""
        orders = [
            self.order(server, target='gpu4')
            for server in (self.server, self.add_gpu_server('second'))
        ]
        self.asked_before = len(self.requests)
        moving_lanes.move(self.run_, orders, moving_lanes.Rules(1, WAIT))
        there = THERE.replace('gpu3', 'gpu4')
        self.assertEqual(2, self.asked.count(there))

    def test_refused(self) -> None:
        self.disturb('PUT /allocations', 500, times=99)
        outcome = self.move_there()
        self.assertEqual(
            (steps.REFUSED, True), (outcome.result, outcome.is_clean)
        )
        self.assertIn('openstack gpu inventory check', outcome.detail)
        self.assertEqual('gpu1', self.host_of(self.server))
        self.assertFalse(self.servers[self.server]['locked'])
        self.assertFalse([r for r in self.asked if r.startswith('POST')])


class TestPoll(TestCase):
    def test_waits_as_long_as_it_is_told(self) -> None:
        self.double()
        self.tidy()
        self.assertGreaterEqual(self.clock, WAIT)
        self.assertLess(self.clock, 3 * WAIT + 3 * repair_excess.POLL)
