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

import threading
from typing import Any
from unittest import mock

from openstack import exceptions as sdk_exceptions
import requests

from osc_gpu.cloud import marks
from osc_gpu.cloud import migration
from osc_gpu.cloud import migration_steps as steps
from osc_gpu.cloud import moving
from osc_gpu.cloud import repair_excess
from tests.unit.cloud import moving_case
from tests.unit import fake_moves

A100 = fake_moves.A100
CUT = requests.exceptions.ConnectionError


class TestMoveAll(moving_case.TestCase):
    """``migration.move`` is scripted: what becomes of a server, by name."""

    def setUp(self) -> None:
        super().setUp()
        self.orders = [
            self.order(self.add_server(f's{n}', fake_moves.ALIAS, host='gpu1'))
            for n in range(6)
        ]
        self.results: dict[str, str] = {}
        self.begun: list[str] = []
        self.together = 0
        self.most = 0
        self.mutex = threading.Lock()
        self.enterContext(
            mock.patch.object(migration, 'move', side_effect=self.do_move)
        )

    def do_move(self, run: Any, order: steps.Order) -> migration.Outcome:
        name = order.server.name
        with self.mutex:
            self.begun.append(name)
            self.together += 1
            self.most = max(self.most, self.together)
        run.pause(0.005)
        with self.mutex:
            self.together -= 1
        result = self.results.get(name, steps.MIGRATED)
        return migration.Outcome(order, order.server, result)

    def move_all(self, at_once: int = 1, **more: Any) -> dict[str, str]:
        outcomes = moving.move_all(self.run_, self.orders, at_once, **more)
        self.assertEqual(len(self.orders), len(outcomes))
        return {o.server.name: o.result for o in outcomes}

    def test_one_after_the_other(self) -> None:
        found = self.move_all()
        self.assertEqual([f's{n}' for n in range(6)], self.begun)
        self.assertEqual(self.begun, list(found))
        self.assertEqual({steps.MIGRATED}, set(found.values()))
        self.assertEqual(1, self.most)

    def test_bound(self) -> None:
        self.move_all(3)
        self.assertLessEqual(self.most, 3)
        self.assertGreater(self.most, 1)

    def test_none(self) -> None:
        self.orders = []
        self.assertEqual({}, self.move_all())

    def test_more_at_once_than_there_are(self) -> None:
        self.assertEqual(6, len(self.move_all(32)))

    def test_failures_do_not_keep_the_others(self) -> None:
        for result in (steps.FAILED, steps.TIMED_OUT, steps.REVERTED):
            self.results['s0'] = result
            found = self.move_all()
            self.assertEqual(result, found.pop('s0'))
            self.assertEqual({steps.MIGRATED}, set(found.values()))

    def test_stops_at_poison(self) -> None:
        self.results['s1'] = steps.POISONED
        outcomes = moving.move_all(self.run_, self.orders, 1)
        self.assertEqual(['s0', 's1'], self.begun)
        left = [o for o in outcomes if o.result == steps.NOT_BEGUN]
        self.assertEqual(4, len(left))
        self.assertEqual({'not begun, as s1 is poisoned'}, {o.detail for o in left})
        self.assertTrue(all(o.is_clean for o in left))

    def test_stops_at_poison_without_a_name(self) -> None:
        server = self.order(self.add_server('', host='gpu1')).server
        self.orders[0] = steps.Order(server, 'abc', 'gpu1')
        self.results[''] = steps.POISONED
        outcomes = moving.move_all(self.run_, self.orders, 1)
        self.assertIn(server.id, outcomes[-1].detail)

    def test_those_under_way_are_seen_through(self) -> None:
        self.results['s0'] = steps.POISONED
        found = self.move_all(2)
        self.assertEqual(steps.MIGRATED, found['s1'])
        self.assertIn(steps.NOT_BEGUN, found.values())

    def test_goes_on_after_poison(self) -> None:
        self.results['s1'] = steps.POISONED
        found = self.move_all(stops_at_poison=False)
        self.assertEqual(6, len(self.begun))
        self.assertEqual(steps.POISONED, found['s1'])

    def test_check(self) -> None:
        answers = iter(['', '', 'the host was enabled meanwhile'])
        outcomes = moving.move_all(
            self.run_, self.orders, 1, check=lambda: next(answers)
        )
        self.assertEqual(['s0', 's1'], self.begun)
        self.assertEqual(
            ['', ''] + ['the host was enabled meanwhile'] * 4,
            [o.detail for o in outcomes],
        )

    def test_check_before_the_first(self) -> None:
        found = self.move_all(3, check=lambda: 'no')
        self.assertEqual({steps.NOT_BEGUN}, set(found.values()))
        self.assertEqual([], self.begun)

    def test_check_raises(self) -> None:
        answers = iter([''])
        with self.assertRaises(StopIteration):
            moving.move_all(
                self.run_, self.orders, 2, check=lambda: next(answers)
            )
        self.assertTrue(self.run_.stopped.is_set())
        self.assertEqual(['s0'], self.begun)
        self.assertEqual(0, self.together)

    def test_interrupt(self) -> None:
        from concurrent import futures

        with (
            mock.patch.object(futures, 'wait', side_effect=KeyboardInterrupt),
            self.assertRaises(KeyboardInterrupt),
        ):
            self.move_all(2)
        self.assertTrue(self.run_.stopped.is_set())
        # Nobody is left behind.
        self.assertEqual((0, 2), (self.together, len(self.begun)))


class TestSettle(moving_case.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.add_gpu_server('train')
        self.enterContext(mock.patch.object(repair_excess, 'POLL', 0))

    def moved(self, **order: Any) -> migration.Outcome:
        outcome = self.move(self.server, target='gpu3', **order)
        self.assertEqual(steps.MIGRATED, outcome.result, outcome)
        return outcome

    def settle(self, *outcomes: migration.Outcome) -> migration.Outcome:
        settled = moving.settle(self.run_, outcomes, 0)
        self.assertEqual(len(outcomes), len(settled))
        return settled[0]

    def test_nothing(self) -> None:
        self.assertEqual((), moving.settle(self.run_, [], 0))

    def test_unlocks(self) -> None:
        outcome = self.moved()
        before = len(self.requests)
        self.assertEqual(outcome, self.settle(outcome))
        self.assertFalse(self.servers[self.server]['locked'])
        self.assert_whole(self.server, 'gpu3')
        look = [
            f'GET /os-migrations?instance_uuid={self.server}',
            f'GET /servers/{self.server}',
        ]
        allocations = [
            f'GET /allocations/{self.server}',
            f'GET /allocations/{self.migrations[0]["uuid"]}',
        ]
        self.assertEqual(
            [
                *look,
                *allocations,
                *look,
                f'POST /servers/{self.server}/action',
                *look,
            ],
            self.requests[before:],
        )

    def test_double(self) -> None:
        self.doubles = True
        outcome = self.moved()
        self.finish(self.server)
        self.assertEqual(3, len(self.placement.allocations[self.server]))
        self.assertEqual(steps.MIGRATED, self.settle(outcome).result)
        self.assert_whole(self.server, 'gpu3')
        self.assertIn('train: dropped ', self.said[-1])
        self.assertFalse(self.servers[self.server]['locked'])

    def test_doubles_of_several(self) -> None:
        self.doubles = True
        self.remove(self.server)
        self.add_cards(self.add_host('gpu4'), 8)
        servers = [self.add_gpu_server(f's{n}') for n in range(2)]
        outcomes = [self.move(s, target='gpu4') for s in servers]
        settled = moving.settle(self.run_, outcomes, 0)
        self.assertEqual(servers, [o.server.id for o in settled])
        for server in servers:
            self.assertEqual(2, len(self.placement.allocations[server]))
        self.assertEqual(set(servers), set(self.placement.allocations))

    def test_double_that_cannot_be_mended(self) -> None:
        self.doubles = True
        outcome = self.moved()
        self.disturb('PUT /allocations', 500, times=99)
        settled = self.settle(outcome)
        self.assertEqual(steps.UNSETTLED, settled.result)
        self.assertIn('holds 2 of', settled.detail)
        self.assertTrue(self.servers[self.server]['locked'])

    def test_migration_that_still_holds_something(self) -> None:
        outcome = self.moved()
        self.finish(self.server)
        root = self.root_of('gpu1')
        self.placement.hold(self.migrations[0]['uuid'], root, VCPU=1)
        self.assertEqual(steps.MIGRATED, self.settle(outcome).result)
        self.assert_whole(self.server, 'gpu3')

    def test_leak_that_cannot_be_removed(self) -> None:
        outcome = self.moved()
        self.finish(self.server)
        root = self.root_of('gpu1')
        self.placement.hold(self.migrations[0]['uuid'], root, VCPU=1)
        self.disturb('PUT /allocations', 500, times=99)
        settled = self.settle(outcome)
        self.assertEqual(steps.UNSETTLED, settled.result)
        self.assertIn('failed: ', settled.detail)

    def test_too_little(self) -> None:
        outcome = self.moved()
        self.finish(self.server)
        self.placement.hold(self.server, self.root_of('gpu3'), VCPU=1)
        held = self.placement.allocations[self.server]
        (card,) = (u for u, a in held.items() if A100 in a)
        del held[card]
        settled = self.settle(outcome)
        self.assertEqual(steps.UNSETTLED, settled.result)
        self.assertIn('its flavor asks 1', settled.detail)
        self.assertTrue(self.servers[self.server]['locked'])

    def test_what_is_unlocked(self) -> None:
        mark = marks.write_move(marks.Move('migrate', 'abc', 'ab'))
        for result, clean, unlocked in (
            (steps.MIGRATED, False, True),
            (steps.REVERTED, True, True),
            (steps.FAILED, True, True),
            (steps.FAILED, False, False),
            (steps.POISONED, False, False),
            (steps.UNCONFIRMED, False, False),
            (steps.TIMED_OUT, False, False),
            (steps.INTERRUPTED, False, False),
            (steps.REFUSED, False, False),
            (steps.UNSETTLED, False, False),
            # It may be locked by an earlier run.
            (steps.NOT_BEGUN, True, False),
        ):
            with self.subTest(result, clean=clean):
                found = self.servers[self.server]
                found |= {'locked': True, 'locked_reason': mark}
                order = self.order(self.server)
                outcome = migration.Outcome(
                    order, order.server, result, 'why', is_clean=clean
                )
                self.assertEqual(outcome, self.settle(outcome))
                self.assertIs(not unlocked, found['locked'])

    def test_locks_of_others_stay(self) -> None:
        found = self.servers[self.server]
        for reason in (None, 'mine', 'osc-gpu migrates it'):
            found |= {'locked': True, 'locked_reason': reason}
            order = self.order(self.server)
            outcome = migration.Outcome(order, order.server, steps.MIGRATED)
            self.settle(outcome)
            self.assertTrue(found['locked'])

    def test_gone(self) -> None:
        outcome = self.moved()
        del self.servers[self.server]
        settled = self.settle(outcome)
        self.assertEqual(steps.UNSETTLED, settled.result)
        clean = migration.Outcome(
            outcome.order, outcome.server, steps.FAILED, is_clean=True
        )
        self.assertEqual(clean, self.settle(clean))

    def test_cannot_unlock(self) -> None:
        outcome = self.moved()
        self.disturb('POST .*/action', 503, times=99)
        settled = self.settle(outcome)
        self.assertEqual(steps.UNSETTLED, settled.result)
        self.assertIn('it is still locked: ', settled.detail)
        self.assertEqual(steps.MOST_TRIES, 99 - self.faults[0].times)

    def test_no_right_to_write(self) -> None:
        self.doubles = True
        outcome = self.moved()
        self.disturb('PUT /allocations', 403, times=9)
        with self.assertRaises(sdk_exceptions.ForbiddenException):
            self.settle(outcome)

    def test_disturbed_at_each_request_and_run_again(self) -> None:
        """A double and a leak, and every request refused or cut once."""
        number = -1
        while True:
            number += 1
            self.remove(self.server)
            self.server = self.add_gpu_server(f'disturbed at {number}')
            self.doubles = True
            outcome = self.moved()
            self.finish(self.server)
            root = self.root_of('gpu1')
            self.placement.hold(self.migrations[0]['uuid'], root, VCPU=1)
            answer = (503, CUT)[number % 2]
            self.disturb('', answer, after=number, done=number % 3 == 0)
            with self.subTest(number=number, answer=answer):
                settled = self.settle(outcome)
                if self.faults[0].times:
                    break
                self.assertIn(
                    settled.result, (steps.MIGRATED, steps.UNSETTLED)
                )
                again = self.settle(self.move(self.server))
                self.assertEqual(steps.MIGRATED, again.result, again)
                self.assert_whole(self.server, 'gpu3')
                self.assertFalse(self.servers[self.server]['locked'])
        self.assertGreater(number, 20)
