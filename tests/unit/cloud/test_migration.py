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

import requests

from osc_gpu.cloud import marks
from osc_gpu.cloud import migration
from osc_gpu.cloud import migration_steps as steps
from osc_gpu.cloud import move_methods
from osc_gpu.cloud import moving
from osc_gpu.cloud import server_actions
from tests.unit import base
from tests.unit.cloud import moving_case
from tests.unit import fake_moves

COLD, LIVE, SHELVE = move_methods.COLD, move_methods.LIVE, move_methods.SHELVE
CUT = requests.exceptions.ConnectionError

#: What a write is answered with, and whether it is done all the same.
WRITES = (
    (409, False),
    (503, False),
    (CUT, False),
    (500, True),
    (409, True),
    (CUT, True),
)


class TestCase(moving_case.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.add_gpu_server('train')

    def posted(self) -> list[Any]:
        """Return what Nova was asked to do."""
        return [
            request.json()
            for request in self.cloud.request_history
            if request.method == 'POST'
            and request.url.startswith(base.COMPUTE)
        ]


class TestUndisturbed(TestCase):
    def test_cold(self) -> None:
        before = len(self.requests)
        outcome = self.move(self.server, target='gpu3')
        self.assertEqual(steps.MIGRATED, outcome.result)
        self.assertEqual(('', 'gpu3'), (outcome.detail, outcome.server.host))
        self.assertFalse(outcome.is_clean)
        self.assertFalse(outcome.is_others)
        self.assertGreater(outcome.seconds, 0)
        self.assert_whole(self.server, 'gpu3')
        lock, *others = self.posted()
        reason = lock['lock']['locked_reason']
        self.assertEqual(
            marks.Move('migrate', 'abc', marks.digest('c' * 32, 'gpu1')),
            marks.read_move(reason),
        )
        self.assertEqual(
            [{'migrate': {'host': 'gpu3'}}, {'confirmResize': None}], others
        )
        # Two requests a look, and two for the proof.
        look = [
            f'GET /os-migrations?instance_uuid={self.server}',
            f'GET /servers/{self.server}',
        ]
        act = f'POST /servers/{self.server}/action'
        proof = [
            f'GET /allocations/{self.server}',
            f'GET /allocations/{self.migrations[0]["uuid"]}',
        ]
        self.assertEqual(
            [*look, act, *look, act, *look * 5, *proof, act, *look * 2],
            self.requests[before:],
        )

    def test_what_is_said(self) -> None:
        self.move(self.server, target='gpu2')
        self.assertEqual(
            [
                'train: lock',
                'train: migrate to gpu2',
                'train: RESIZE resize_prep',
                'train: RESIZE resize_migrating',
                'train: RESIZE resize_finish',
                'train: confirm',
                'train: VERIFY_RESIZE confirming',
            ],
            self.said,
        )

    def test_nameless(self) -> None:
        self.servers[self.server]['name'] = ''
        self.move(self.server)
        self.assertEqual(f'{self.server}: lock', self.said[0])

    def test_nova_chooses(self) -> None:
        outcome = self.move(self.server)
        self.assertEqual(steps.MIGRATED, outcome.result)
        self.assertEqual({'migrate': None}, self.posted()[1])
        self.assert_whole(self.server, 'gpu2')

    def test_shut_off(self) -> None:
        self.servers[self.server]['status'] = 'SHUTOFF'
        self.assertEqual(steps.MIGRATED, self.move(self.server).result)
        self.assert_whole(self.server, 'gpu2')
        self.assertEqual('SHUTOFF', self.servers[self.server]['status'])

    def test_live(self) -> None:
        outcome = self.move(self.server, method=LIVE, target='gpu3')
        self.assertEqual(steps.MIGRATED, outcome.result, outcome)
        self.assertEqual(['lock', 'os-migrateLive'], self.asked_for())
        self.assert_whole(self.server, 'gpu3')

    def test_live_falls_back(self) -> None:
        for kind in ('precheck', 'live'):
            with self.subTest(kind):
                server = self.add_gpu_server(kind)
                self.spoil(server, kind)
                before = len(self.posted())
                outcome = self.move(server, method=LIVE, falls_back=True)
                self.assertEqual(steps.MIGRATED, outcome.result, outcome)
                self.assertEqual(
                    ['lock', 'os-migrateLive', 'migrate', 'confirmResize'],
                    self.asked_for()[before:],
                )
                self.remove(server)

    def test_live_that_nova_refuses_falls_back(self) -> None:
        self.disturb('POST .*/action', 400, after=1)
        outcome = self.move(self.server, method=LIVE, falls_back=True)
        self.assertEqual(steps.MIGRATED, outcome.result, outcome)
        self.assert_whole(self.server, 'gpu2')

    def test_live_alone(self) -> None:
        self.spoil(self.server, 'precheck')
        outcome = self.move(self.server, method=LIVE)
        self.assertEqual(
            (steps.FAILED, True), (outcome.result, outcome.is_clean)
        )
        self.assertIn('Not migratable.', outcome.detail)
        self.assert_whole(self.server, 'gpu1')

    def test_shelve(self) -> None:
        for self.offloads in (True, False):
            server = self.add_gpu_server(f'offloads {self.offloads}')
            before = len(self.posted())
            outcome = self.move(server, method=SHELVE, target='gpu3')
            self.assertEqual(steps.MIGRATED, outcome.result, outcome)
            more = [] if self.offloads else ['shelveOffload']
            self.assertEqual(
                ['lock', 'shelve', *more, 'unshelve'],
                self.asked_for()[before:],
            )
            self.assertEqual({'unshelve': {'host': 'gpu3'}}, self.posted()[-1])
            self.remove(server)

    def test_shelve_a_server_that_its_owner_locked(self) -> None:
        self.servers[self.server] |= {'locked': True, 'locked_reason': 'mine'}
        outcome = self.move(
            self.server, method=SHELVE, is_forced=True, target='gpu2'
        )
        self.assertEqual(steps.MIGRATED, outcome.result, outcome)
        self.assertEqual(['shelve', 'unshelve'], self.asked_for())

    def test_vgpu(self) -> None:
        server = self.vgpu_server('render')
        outcome = self.move(server, source='vgpu1')
        self.assertEqual(steps.MIGRATED, outcome.result, outcome)
        self.remove(self.server)
        self.placement.allocations[server] = {}
        self._take(server, self.root_of('vgpu2'))
        self.assertEqual('vgpu2', self.host_of(server))

    def test_no_confirm(self) -> None:
        outcome = self.move(self.server, confirms=False)
        self.assertEqual(
            (steps.UNCONFIRMED, False), (outcome.result, outcome.is_clean)
        )
        self.assertIn('held, on gpu1 and on gpu2', outcome.detail)
        self.assertEqual('VERIFY_RESIZE', self.servers[self.server]['status'])
        self.assertEqual(2, len(self.placement.allocations))
        # The next one that may confirms it.
        self.assertEqual(steps.MIGRATED, self.move(self.server).result)
        self.assert_whole(self.server, 'gpu2')

    def test_a_double_is_no_reason_to_revert(self) -> None:
        self.doubles = True
        self.assertEqual(steps.MIGRATED, self.move(self.server).result)

    def test_cards_that_are_younger_than_the_command(self) -> None:
        self.add_cards(self.add_host('gpu9'), 1)
        outcome = self.move(self.server, target='gpu9')
        self.assertEqual(steps.MIGRATED, outcome.result, outcome)
        self.assertEqual(
            1, self.requests.count('GET /os-hypervisors/detail') - 1
        )

    def asked_for(self) -> list[str]:
        return [name for body in self.posted() for name in body]


class TestNovaFails(TestCase):
    """Each row of the failure matrix of facts 4."""

    def fails(self, *kinds: str, **order: Any) -> migration.Outcome:
        self.spoil(self.server, *kinds)
        return self.move(self.server, **order)

    def test_clean(self) -> None:
        for kind, order, detail in (
            ('no valid host', {}, 'No valid host was found.'),
            ('no valid host', {'target': 'gpu2'}, 'No valid host was found.'),
        ):
            outcome = self.fails(kind, **order)
            self.assertEqual(
                (steps.FAILED, True), (outcome.result, outcome.is_clean)
            )
            self.assertIn(detail, outcome.detail)
            self.assert_whole(self.server, 'gpu1')
        self.assertEqual(steps.MIGRATED, self.move(self.server).result)
        self.assert_whole(self.server, 'gpu2')

    def test_claim_fails_and_nova_tries_another_host(self) -> None:
        outcome = self.fails('claim')
        self.assertEqual(steps.MIGRATED, outcome.result)
        self.assert_whole(self.server, 'gpu3')

    def test_claim_fails_on_the_named_host(self) -> None:
        outcome = self.fails('claim', target='gpu2')
        self.assertEqual(
            (steps.FAILED, False), (outcome.result, outcome.is_clean)
        )
        self.assertIn('in ERROR on gpu1: Claim failed', outcome.detail)
        self.assertIn(f'recover {self.server}', outcome.detail)

    def test_source_rolls_back(self) -> None:
        outcome = self.fails('rollback')
        self.assertEqual(
            (steps.POISONED, False), (outcome.result, outcome.is_clean)
        )
        self.assertIn('DiskNotFound; a migration failed; ', outcome.detail)
        self.assertIn('still claimed on gpu2', outcome.detail)

    def test_source_fails(self) -> None:
        outcome = self.fails('source')
        self.assertEqual(steps.POISONED, outcome.result)
        self.assertIn('DiskNotFound', outcome.detail)
        self.assertIn('still claimed on gpu2', outcome.detail)

    def test_destination_fails(self) -> None:
        outcome = self.fails('destination')
        self.assertEqual(steps.POISONED, outcome.result)
        self.assertIn('libvirtError', outcome.detail)
        self.assertIn('still claimed on gpu1', outcome.detail)

    def test_confirm_fails(self) -> None:
        outcome = self.fails('confirm')
        self.assertEqual(steps.POISONED, outcome.result)
        self.assertIn('still claimed on gpu1', outcome.detail)

    def test_poisoned_stays_poisoned(self) -> None:
        for kind in ('rollback', 'source', 'destination', 'confirm'):
            with self.subTest(kind):
                server = self.add_gpu_server(f'poisoned by {kind}')
                self.spoil(server, kind)
                self.assertEqual(steps.POISONED, self.move(server).result)
                before = len(self.posted())
                again = self.move(server)
                self.assertEqual(steps.POISONED, again.result)
                self.assertEqual([], self.posted()[before:])
                self.remove(server)

    def test_vgpu_servers_are_not_poisoned(self) -> None:
        for kind, host in (('rollback', 'vgpu1'), ('destination', 'vgpu2')):
            server = self.vgpu_server(kind)
            self.spoil(server, kind)
            outcome = self.move(server, source='vgpu1')
            self.assertEqual(steps.FAILED, outcome.result, outcome)
            self.assertEqual(kind == 'rollback', outcome.is_clean)
            self.assertEqual(host, self.host_of(server))

    def test_unshelve_fails_on_the_named_host(self) -> None:
        self.hypervisors[0]['status'] = 'disabled'
        outcome = self.fails(
            'unshelve', 'unshelve', method=SHELVE, target='gpu3'
        )
        self.assertEqual(steps.MIGRATED, outcome.result)
        self.assertEqual('gpu2', outcome.server.host)
        # Twice there, and then anywhere.
        hosts = [w['unshelve'] for w in self.posted() if 'unshelve' in w]
        self.assertEqual([{'host': 'gpu3'}, {'host': 'gpu3'}, None], hosts)

    def test_unshelved_where_it_was(self) -> None:
        outcome = self.fails(
            'unshelve', 'unshelve', method=SHELVE, target='gpu3'
        )
        self.assertEqual(
            (
                steps.FAILED,
                True,
                'no other host took it, so it is back on gpu1',
            ),
            (outcome.result, outcome.is_clean, outcome.detail.split(': ')[-1]),
        )
        self.assert_whole(self.server, 'gpu1')

    def test_unshelve_fails_for_good(self) -> None:
        outcome = self.fails(*['unshelve'] * 9, method=SHELVE)
        self.assertEqual(
            (steps.FAILED, False), (outcome.result, outcome.is_clean)
        )
        self.assertIn('stays SHELVED_OFFLOADED', outcome.detail)
        self.assertIn('No valid host was found.', outcome.detail)
        self._spoilt.clear()
        again = self.move(self.server, method=SHELVE, target='gpu2')
        self.assertEqual(steps.MIGRATED, again.result)

    def test_proof_fails(self) -> None:
        take = self._take

        def take_no_card(server: str, root: str) -> bool:
            self._needs[server] = [n for n in self._needs[server] if n[0]]
            return take(server, root)

        with mock.patch.object(self, '_take', take_no_card):
            outcome = self.move(self.server)
        self.assertEqual(
            (steps.REVERTED, True), (outcome.result, outcome.is_clean)
        )
        self.assertIn('its flavor asks 1', outcome.detail)
        self.assertEqual('gpu1', self.host_of(self.server))
        self.assertEqual('reverted', self.migrations[0]['status'])

    def test_proof_fails_and_is_forced(self) -> None:
        self.placement.owners.clear()
        with mock.patch.object(
            migration.migration_proof,
            'doubts',
            autospec=True,
            return_value=('so what',),
        ):
            outcome = self.move(self.server, is_forced=True)
        self.assertEqual(steps.MIGRATED, outcome.result)

    def test_revert_says_why_even_if_its_answer_is_lost(self) -> None:
        self.disturb('POST .*/action', 500, done=True, after=2)
        with mock.patch.object(
            migration.migration_proof,
            'doubts',
            autospec=True,
            return_value=('no card',),
        ):
            outcome = self.move(self.server)
        self.assertEqual(steps.REVERTED, outcome.result)
        self.assertIn('no card', outcome.detail)
        self.assert_whole(self.server, 'gpu1')

    def test_gone(self) -> None:
        order = self.order(self.server)
        del self.servers[self.server]
        outcome = migration.move(self.run_, order)
        self.assertEqual(
            (steps.GONE, 'somebody has deleted it', False),
            (outcome.result, outcome.detail, outcome.is_clean),
        )
        self.assertEqual('train', outcome.server.name)

    def test_deleted_on_the_way(self) -> None:
        def pause(seconds: float) -> None:
            self.servers.pop(self.server, None)
            self._doing.clear()

        with mock.patch.object(self.run_, 'pause', pause):
            outcome = self.move(self.server)
        self.assertEqual(steps.GONE, outcome.result)
        self.assertEqual(
            [{'lock': mock.ANY}, {'migrate': None}], self.posted()
        )

    def test_404_of_somebody_else_than_nova(self) -> None:
        """A server that cannot be seen may still be there."""
        for pattern in (
            f'GET /servers/{self.server}',
            'GET /os-migrations',
            'GET /allocations',
        ):
            self.disturb(pattern, 404, after=1)
            outcome = self.move(self.server)
            self.faults.clear()
            self.finish(self.server)
            self.assertEqual(steps.FAILED, outcome.result)
            self.assertIn('cannot be seen', outcome.detail)

    def test_refused_statuses(self) -> None:
        for status in ('PAUSED', 'SHELVED', 'SHELVED_OFFLOADED'):
            self.servers[self.server]['status'] = status
            outcome = self.move(self.server)
            self.assertEqual(steps.REFUSED, outcome.result)
            self.assertEqual([], self.posted())

    def test_nova_takes_it_on_and_forgets_it(self) -> None:
        with mock.patch.object(self, '_migrate', lambda *_a: iter(())):
            outcome = self.move(self.server)
        self.assertEqual(
            (steps.FAILED, True), (outcome.result, outcome.is_clean)
        )
        self.assertIn('Nova gave it up (migrate)', outcome.detail)
        self.assert_whole(self.server, 'gpu1')


class TestTheWayToNova(TestCase):
    """What refuses, answers late or not at all, at each request in turn."""

    def requests_of(self, method: str) -> list[str]:
        server = self.add_gpu_server(f'count {method}')
        before = len(self.requests)
        self.move(server, method=method, target='gpu2')
        asked = self.requests[before:]
        self.remove(server)
        return asked

    def disturbed(
        self, method: str, number: int, answer: Any, **more: Any
    ) -> tuple[str, migration.Outcome]:
        server = self.add_gpu_server(f'{method} {number} {answer} {more}')
        self.disturb('', answer, after=number, **more)
        outcome = self.move(server, method=method, target='gpu2')
        self.assertEqual(0, self.faults[0].times, self.faults)
        return server, outcome

    def test_what_may_pass(self) -> None:
        """What is read, and what is written but not begun, or not answered."""
        self.remove(self.server)
        for method in (COLD, LIVE, SHELVE):
            for number, request in enumerate(self.requests_of(method)):
                faults = [((409, 500, 503, CUT)[number % 4], False)]
                if request[:4] == 'POST':
                    faults = WRITES
                for answer, done in faults:
                    with self.subTest(method, request=request, answer=answer):
                        server, outcome = self.disturbed(
                            method, number, answer, done=done
                        )
                        self.assertEqual(
                            steps.MIGRATED, outcome.result, outcome
                        )
                        self.assert_whole(server, 'gpu2')
                        self.remove(server)

    def test_what_does_not_pass(self) -> None:
        self.remove(self.server)
        for method in (COLD, LIVE, SHELVE):
            for number, request in enumerate(self.requests_of(method)):
                answer = (400, 403, 404)[number % 3]
                with self.subTest(method, request=request, answer=answer):
                    server, outcome = self.disturbed(method, number, answer)
                    self.assertEqual(steps.FAILED, outcome.result, outcome)
                    self.assertTrue(outcome.detail)
                    self.finish(server)
                    again = self.move(server, method=method, target='gpu2')
                    self.assertEqual(steps.MIGRATED, again.result, again)
                    self.assert_whole(server, 'gpu2')
                    self.remove(server)

    def test_nova_refuses_for_ever(self) -> None:
        for number, tries, clean in (
            (0, 4, True),
            (1, 5, True),
            (2, 6, False),
        ):
            with self.subTest(number=number):
                server = self.add_gpu_server(f'for ever {number}')
                self.disturb('POST', 409, after=number, times=99)
                before = len(self.posted())
                outcome = self.move(server)
                self.assertEqual(
                    (steps.FAILED, clean), (outcome.result, outcome.is_clean)
                )
                self.assertIn('out of order', outcome.detail)
                self.assertEqual(tries, len(self.posted()[before:]))
                self.remove(server)

    def test_nobody_answers(self) -> None:
        self.disturb('GET', CUT('cut'), times=999)
        outcome = self.move(self.server)
        self.assertEqual(
            (steps.FAILED, False), (outcome.result, outcome.is_clean)
        )
        self.assertIn('where it stands cannot be seen: ', outcome.detail)
        self.assertIn('; run again', outcome.detail)
        # And one more that asks why. Older clients try each again once.
        looks = migration.MOST_BLIND + 1
        self.assertIn(999 - self.faults[0].times, (looks, 2 * looks))

    def test_answers_in_between_count(self) -> None:
        for number in range(1, 30):
            # Each second look fails.
            self.disturb('GET /servers/', 503, after=number)
        self.assertEqual(steps.MIGRATED, self.move(self.server).result)
        failed = sum(not fault.times for fault in self.faults)
        self.assertGreaterEqual(failed, migration.MOST_BLIND)

    def test_nonsense(self) -> None:
        self.cloud.get(
            f'{base.COMPUTE}/servers/{self.server}', text='<html>proxy</html>'
        )
        outcome = self.move(self.server)
        self.assertEqual(steps.FAILED, outcome.result)
        self.assertIn('not JSON', outcome.detail)

    def test_the_world_cannot_be_read_again(self) -> None:
        self.add_cards(self.add_host('gpu9'), 1)
        self.disturb('GET /resource_providers', 503, times=3)
        outcome = self.move(self.server, target='gpu9')
        self.assertEqual(steps.MIGRATED, outcome.result, outcome)


class TestTimeAndInterrupts(TestCase):
    def test_too_slow(self) -> None:
        self.run_ = self.new_run(0)
        outcome = self.move(self.server)
        self.assertEqual(steps.TIMED_OUT, outcome.result)
        self.assertFalse(outcome.is_clean)
        self.assertIn(
            'after 0 seconds still ACTIVE; it is left', outcome.detail
        )
        self.assertEqual([], self.posted())

    def test_too_slow_at_each_look(self) -> None:
        clock = 0.0
        with mock.patch.object(
            migration.time,
            'monotonic',
            autospec=True,
            side_effect=lambda: clock,
        ):
            for looks in range(1, 7):
                with self.subTest(looks=looks):
                    server = self.add_gpu_server(f'after {looks}')
                    self.run_ = self.new_run(60)
                    left = looks

                    def pause(seconds: float) -> None:
                        nonlocal clock, left
                        left -= 1
                        clock += 0 if left > 0 else 61

                    with mock.patch.object(self.run_, 'pause', pause):
                        outcome = self.move(server)
                    self.assertEqual(steps.TIMED_OUT, outcome.result, outcome)
                    self.assertIn('after 60 seconds still ', outcome.detail)
                    self.assertGreater(outcome.seconds, 60)
                    self.run_ = self.new_run()
                    again = self.move(server)
                    self.assertEqual(steps.MIGRATED, again.result)
                    self.remove(server)

    def test_stopped_before_the_first_look(self) -> None:
        self.run_.stopped.set()
        before = len(self.requests)
        outcome = self.move(self.server)
        self.assertEqual(
            (steps.INTERRUPTED, False), (outcome.result, outcome.is_clean)
        )
        self.assertEqual([], self.requests[before:])

    def test_stopped_at_each_pause_and_run_again(self) -> None:
        self.remove(self.server)
        for method in (COLD, LIVE, SHELVE):
            for after in range(1, 9):
                with self.subTest(method, after=after):
                    server = self.add_gpu_server(f'{method} {after}')
                    run = self.run_ = self.new_run()
                    left = after

                    def pause(seconds: float) -> None:
                        nonlocal left
                        left -= 1
                        if not left:
                            run.stopped.set()

                    with mock.patch.object(run, 'pause', pause):
                        outcome = self.move(
                            server, method=method, target='gpu2'
                        )
                    if left > 0:
                        self.remove(server)
                        break
                    self.assertEqual(steps.INTERRUPTED, outcome.result)
                    self.assertIn('run again', outcome.detail)
                    self.run_ = self.new_run()
                    again = self.move(server, method=method, target='gpu2')
                    self.assertEqual(steps.MIGRATED, again.result, again)
                    self.assert_whole(server, 'gpu2')
                    self.remove(server)

    def test_pause(self) -> None:
        run = self.new_run()
        run.pause(0)
        run.stopped.set()
        run.pause(3600)

    def test_pauses_grow_and_begin_anew(self) -> None:
        seconds: list[float] = []
        with (
            mock.patch.object(migration, 'FIRST_PAUSE', 1.0),
            mock.patch.object(migration, 'LONGEST_PAUSE', 3.0),
            mock.patch.object(self.run_, 'pause', seconds.append),
        ):
            self.move(self.server)
        self.assertEqual(
            [1.0, 1.5, 2.25, 3.0, 3.0, 1.0, 1.5][: len(seconds)], seconds
        )


class TestKilled(TestCase):
    """A run that was killed is run again (crash-resume table of facts 4)."""

    def test_after_each_request(self) -> None:
        self.remove(self.server)
        for method in (COLD, LIVE, SHELVE):
            number = 0
            while True:
                server = self.add_gpu_server(f'{method} killed at {number}')
                self.disturb('', KeyboardInterrupt, after=number, done=True)
                self.run_ = self.new_run_unharmed()
                try:
                    self.move(server, method=method, target='gpu2')
                except KeyboardInterrupt:
                    pass
                else:
                    self.remove(server)
                    break
                self.faults.clear()
                with self.subTest(method, number=number):
                    run = self.run_ = self.new_run()
                    outcome = self.move(server, method=method, target='gpu2')
                    self.assertEqual(steps.MIGRATED, outcome.result, outcome)
                    (settled,) = moving.settle(run, [outcome], 0)
                    self.assertEqual(steps.MIGRATED, settled.result, settled)
                    self.assert_whole(server, 'gpu2')
                    self.assertFalse(self.servers[server]['locked'])
                self.remove(server)
                number += 1
            self.assertGreater(number, 10, method)

    def new_run_unharmed(self) -> migration.Run:
        faults, self.faults = self.faults, []
        run = self.new_run()
        self.faults = faults
        return run

    def test_from_each_stand(self) -> None:
        mark = marks.write_move(
            marks.Move('migrate', 'abc', marks.digest('c' * 32, 'gpu1'))
        )
        for host, status, record, target, result, clean in (
            ('gpu1', 'RESIZE', 'migrating', 'gpu2', steps.TIMED_OUT, False),
            (
                'gpu2',
                'VERIFY_RESIZE',
                'finished',
                'gpu2',
                steps.MIGRATED,
                False,
            ),
            ('gpu2', 'ACTIVE', 'confirmed', 'gpu2', steps.MIGRATED, False),
            ('gpu2', 'SHUTOFF', 'confirmed', 'gpu2', steps.MIGRATED, False),
            ('gpu1', 'ACTIVE', 'reverted', 'gpu2', steps.MIGRATED, False),
            ('gpu1', 'ACTIVE', 'error', None, steps.MIGRATED, False),
            ('gpu2', 'ERROR', 'error', 'gpu2', steps.POISONED, False),
            ('gpu2', 'ACTIVE', 'finished', 'gpu2', steps.POISONED, False),
            (
                'gpu1',
                'REVERT_RESIZE',
                'reverting',
                'gpu2',
                steps.TIMED_OUT,
                False,
            ),
        ):
            with self.subTest(host=host, status=status, record=record):
                server = self.add_gpu_server(
                    f'{host} {status} {record}',
                    host,
                    status=status,
                    locked=True,
                    locked_reason=mark,
                )
                found = self.add_migration(server, record, dest_compute=target)
                if record == 'finished':
                    root = self.root_of('gpu1')
                    self.placement.hold(found, root, **moving_case.SOME)
                    (card, *_others) = self._free(root, fake_moves.A100)
                    self.placement.hold(found, card, **{fake_moves.A100: 1})
                self.run_ = self.new_run(600)
                if result == steps.TIMED_OUT:
                    self.run_.timeout = -1
                outcome = self.move(server)
                self.assertEqual(
                    (result, clean),
                    (outcome.result, outcome.is_clean),
                    outcome,
                )
                self.remove(server)

    def test_what_is_reverted_in_this_run_is_new(self) -> None:
        self.move(self.server, confirms=False)
        with mock.patch.object(
            migration.migration_proof,
            'doubts',
            autospec=True,
            return_value=('no card',),
        ):
            outcome = self.move(self.server)
        self.assertEqual(steps.REVERTED, outcome.result, outcome)
        self.assertEqual(1, len(self.migrations))

    def test_what_fails_in_this_run_is_new(self) -> None:
        self.spoil(self.server, 'no valid host')
        server_actions.migrate(self.conn, self.server)
        self.conn.compute.get(f'/servers/{self.server}', microversion='2.73')
        outcome = self.move(self.server)
        self.assertEqual(
            (steps.FAILED, True), (outcome.result, outcome.is_clean), outcome
        )
        self.assertEqual(1, len(self.migrations))

    def test_two_commands_at_once(self) -> None:
        """The second one finds the first one's migration, and follows it."""
        first, second = (
            self.order(self.server, run=run) for run in ('aaa', 'bbb')
        )
        found: list[migration.Outcome] = []
        begun = False

        def pause(seconds: float) -> None:
            # The first one's migration has just begun.
            nonlocal begun
            if not begun:
                begun = True
                found.append(migration.move(self.new_run(), second))

        with mock.patch.object(self.run_, 'pause', pause):
            found.append(migration.move(self.run_, first))
        self.assertEqual([steps.MIGRATED] * 2, [o.result for o in found])
        # The second one confirms it, so the first one may not settle it yet.
        self.assertEqual([False, True], [o.is_others for o in found])
        self.assertEqual(1, len(self.migrations))
        self.assert_whole(self.server, 'gpu2')
