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

import unittest

from osc_gpu.cloud import recovery_history as rh
from tests.unit.cloud import move_parts as parts
from tests.unit.cloud import moving_case


def action(name: str, second: int, *, failed: bool = False, **events: str):
    return rh.Action(
        name,
        f'req-{name}-{second}',
        f'2026-11-21T06:00:{second:02d}.000000',
        failed,
        tuple(events.items()),
    )


def history(*actions: rh.Action) -> rh.History:
    return rh.History(actions)


class TestWantsToRun(unittest.TestCase):
    def check(self, wants: bool, is_ours: bool, *names: str) -> None:
        """Check with names of actions, 15 seconds apart; ``+`` is at once."""
        actions, second = [], 0
        for name in names:
            second += 1 if name.startswith('+') else 15
            actions.append(
                rh.Action(
                    name.lstrip('+'),
                    str(second),
                    f'2026-11-21T06:{second // 60:02d}:{second % 60:02d}',
                )
            )
        found = rh.History(tuple(actions))
        self.assertEqual(wants, found.wants_to_run(is_ours), names)

    def test_who_asked_last(self) -> None:
        for ours in (False, True):
            self.check(True, ours)
            self.check(True, ours, 'create')
            self.check(True, ours, 'create', 'migrate')
            self.check(False, ours, 'create', 'stop', 'migrate')
            self.check(True, ours, 'create', 'stop', 'start', 'migrate')
            self.check(True, ours, 'stop', 'unshelve')

    def test_what_we_stopped(self) -> None:
        self.check(True, True, 'create', 'migrate', 'lock', 'stop', 'migrate')
        self.check(False, True, 'create', 'stop', 'lock', 'stop', 'migrate')
        self.check(False, False, 'create', 'migrate', 'lock', 'stop')

    def test_older_locks_are_others(self) -> None:
        self.check(False, True, 'create', 'lock', 'unlock', 'stop', 'lock')
        self.check(
            False, True, 'create', 'lock', 'stop', 'unlock', 'lock', 'start'
        )

    def test_the_reason_of_a_lock_was_changed(self) -> None:
        self.check(True, True, 'create', 'lock', 'stop', 'unlock', '+lock')
        self.check(
            True, True, 'create', 'lock', '+stop', 'lock', 'unlock', '+lock'
        )

    def test_locked_before_there_were_actions(self) -> None:
        self.check(False, True, 'create', 'stop', 'lock', 'unlock')


class TestActions(unittest.TestCase):
    def setUp(self) -> None:
        self.record = parts.record('error')
        self.record = self.record.__class__(
            **(
                vars(self.record)
                | {'created_at': '2026-11-21T06:00:10.500000'}
            )
        )

    def test_nearest_move(self) -> None:
        near = action('migrate', 10)
        found = history(action('migrate', 2), near, action('migrate', 20))
        self.assertEqual(near, found.move_of(self.record))
        self.assertIsNone(history().move_of(self.record))
        self.assertIsNone(history().revert_of(self.record))
        self.assertFalse(history().has_no_mdevs(self.record))

    def test_given_up(self) -> None:
        move = action('migrate', 10)
        for result, given_up in (('Success', True), ('Error', False)):
            revert = action('revertResize', 15, compute_revert_resize=result)
            found = history(move, revert)
            self.assertEqual(given_up, found.is_given_up(self.record))
        found = history(move, action('migrate', 12), revert)
        self.assertFalse(found.is_given_up(self.record))

    def test_no_mdevs(self) -> None:
        finish = 'compute_finish_resize'
        for result, lost in (('Error', True), ('', True), ('Success', False)):
            found = history(action('migrate', 10, **{finish: result}))
            self.assertEqual(lost, found.has_no_mdevs(self.record))
        self.assertFalse(
            history(action('migrate', 10)).has_no_mdevs(self.record)
        )
        for name, lost in (('rebuild', False), ('start', True)):
            found = history(
                action('migrate', 10, **{finish: 'Error'}), action(name, 20)
            )
            self.assertEqual(lost, found.has_no_mdevs(self.record))

    def test_failed_to_start(self) -> None:
        failed = action('start', 1, failed=True)
        self.assertTrue(history(failed).failed_to_start)
        self.assertTrue(history(failed, action('lock', 2)).failed_to_start)
        self.assertFalse(history(failed, action('stop', 2)).failed_to_start)
        self.assertFalse(history(action('start', 1)).failed_to_start)
        self.assertFalse(history().failed_to_start)


class TestRead(moving_case.TestCase):
    def test_requests(self) -> None:
        server = self.add_gpu_server('train')
        self.spoil(server, 'destination')
        self.move(server, target='gpu2')
        before = len(self.requests)
        from osc_gpu.cloud import migration_state

        state = migration_state.read(self.conn, server)
        looked = len(self.requests)
        found = rh.read(self.conn, state)
        path = f'GET /servers/{server}/os-instance-actions'
        (move,) = (a for a in found.actions if a.name == 'migrate')
        self.assertEqual(
            [path, f'{path}/{move.request_id}'], self.requests[looked:]
        )
        self.assertEqual('Error', move.result('compute_finish_resize'))
        self.assertTrue(move.is_failed)
        self.assertGreater(looked, before)
