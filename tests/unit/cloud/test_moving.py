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

    def test_hosts_cannot_be_read(self) -> None:
        outcome = self.arrived()
        self.disturb('GET /os-hypervisors', 503, times=99)
        settled = self.settle(outcome)
        self.assertEqual(steps.UNSETTLED, settled.result)
        self.assertIn('failed: ', settled.detail)
        self.assertTrue(self.servers[self.server]['locked'])
        self.faults.clear()
        self.assertEqual(steps.MIGRATED, self.settle(outcome).result)
        self.assert_whole(self.server, 'gpu3')

    def arrived(self) -> migration.Outcome:
        """Have the server moved, with a device too many and a leak."""
        self.doubles = True
        order = self.order(self.server)
        found = self.servers[self.server]
        mark = marks.Move('migrate', 'abc', marks.short(found['hostId']))
        found |= {'locked': True, 'locked_reason': marks.write_move(mark)}
        self._take(self.server, self.root_of('gpu3'))
        self._place(found, 'gpu3')
        record = self.add_migration(
            self.server, 'confirmed', dest_compute='gpu3'
        )
        self.placement.hold(record, self.root_of('gpu1'), VCPU=1)
        return migration.Outcome(order, order.server, steps.MIGRATED)

    def test_disturbed_at_each_request_and_run_again(self) -> None:
        """A double and a leak, and every request refused or cut once."""
        number = -1
        while True:
            number += 1
            self.remove(self.server)
            self.server = self.add_gpu_server(f'disturbed at {number}')
            outcome = self.arrived()
            answer = (503, CUT)[number % 2]
            self.disturb('', answer, after=number, done=number % 3 == 0)
            with self.subTest(number=number, answer=answer):
                settled = self.settle(outcome)
                if self.faults[0].times:
                    break
                self.assertIn(
                    settled.result, (steps.MIGRATED, steps.UNSETTLED)
                )
                again = self.settle(outcome)
                self.assertEqual(steps.MIGRATED, again.result, again)
                self.assert_whole(self.server, 'gpu3')
                self.assertFalse(self.servers[self.server]['locked'])
        self.assertGreater(number, 20)
