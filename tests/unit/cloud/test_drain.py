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


import dataclasses
import logging
import threading
from typing import Any
from unittest import mock

from osc_lib import exceptions

from osc_gpu.cloud import drain
from osc_gpu.cloud import drain_plan
from osc_gpu.cloud import drain_service
from osc_gpu.cloud import marks
from osc_gpu.cloud import migration
from osc_gpu.cloud import migration_steps as steps
from osc_gpu.cloud import moving_lanes
from tests.unit.cloud import drain_case

MIGRATED = steps.MIGRATED


class TestCase(drain_case.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.one = self.add_gpu_server('one')
        self.plain = self.plain_server('plain', status='SHUTOFF')

    def assert_drained(self) -> None:
        """Check that both are elsewhere, whole, and that nothing is left."""
        for server, root in ((self.one, 'gpu'), (self.plain, '')):
            host = self.host_of(server)
            self.assertNotEqual('gpu1', host)
            self.assertTrue(host.startswith(root))
            self.assert_settled(server, host)
        self.assert_nothing_leaked()


class TestDrain(TestCase):
    def test_servers_leave_and_the_host_is_disabled(self) -> None:
        done = self.drain(text='fan')
        self.assertEqual(
            [('one', MIGRATED, 'gpu2'), ('plain', MIGRATED, 'cpu1')], done
        )
        self.assert_drained()
        left = marks.read_drain(self.service('gpu1')['disabled_reason'])
        self.assertEqual((drain_case.NOW, 'fan'), (left.since, left.text))
        self.assertEqual('disabled', self.service('gpu1')['status'])
        self.assertIn('one: migrate to gpu2', self.said)

    def test_several_at_once(self) -> None:
        other = self.add_gpu_server('other')
        self.drain(at_once=3)
        self.assert_drained()
        self.assert_settled(other, self.host_of(other))

    def test_nothing_there(self) -> None:
        with self.assertLogs('osc_gpu', 'WARNING') as logs:
            self.assertEqual([], self.drain('gpu3'))
        self.assertIn('gpu3 has no server', logs.output[0])
        self.assertEqual('disabled', self.service('gpu3')['status'])

    def test_requests(self) -> None:
        before = len(self.requests)
        self.drain()
        asked = self.requests[before:]
        writes = [r for r in asked if r[:3] != 'GET']
        service = f'/os-services/{self.root_of("gpu1")}'
        one, plain = (
            f'POST /servers/{server}/action'
            for server in (self.one, self.plain)
        )
        # Lock, migrate, confirm, unlock.
        self.assertEqual([f'PUT {service}', *4 * [one], *4 * [plain]], writes)
        checks = '/os-services?binary=nova-compute&host=gpu1'
        self.assertEqual(3, asked.count(f'GET {checks}'))

    def test_keep_enabled(self) -> None:
        self.drain(keeps_enabled=True)
        self.assert_drained()
        self.assertEqual('enabled', self.service('gpu1')['status'])

    def test_gpu_only_and_excluded_stay(self) -> None:
        two = self.add_gpu_server('two')
        done = self.drain(gpu_only=True, excluded=('two',))
        self.assertEqual([('one', MIGRATED, 'gpu2')], done)
        self.assertEqual('gpu1', self.host_of(self.plain))
        self.assertEqual('gpu1', self.host_of(two))

    def test_shelve(self) -> None:
        self.servers[self.plain]['status'] = 'ACTIVE'
        self.drain(method='shelve')
        self.assert_drained()

    def test_doubles_are_taken_away(self) -> None:
        self.doubles = True
        self.drain()
        self.assert_drained()

    def test_doubles_in_the_way_of_the_next(self) -> None:
        self.doubles = True
        two = self.add_gpu_server('two')
        done = self.drain(targets=('gpu2',))
        self.assertEqual({MIGRATED}, {result for _n, result, _h in done})
        self.assert_settled(self.one, 'gpu2')
        self.assert_settled(two, 'gpu2')
        self.assert_nothing_leaked()


class TestRefusals(TestCase):
    def refused(self, *args: str, **task: object) -> str:
        wanted = drain.Task(*(args or ('gpu1',)), **task)  # type: ignore
        with self.assertRaises(exceptions.CommandError) as caught:
            drain.prepare(self.conn, wanted)
        self.assertFalse(any('PUT' in r or 'POST' in r for r in self.requests))
        return str(caught.exception)

    def test_unknown_host(self) -> None:
        text = self.refused('gpu9')
        self.assertIn("No compute service host named 'gpu9'", text)
        self.assertIn('openstack gpu host list --all', text)

    def test_host_is_down(self) -> None:
        self._hypervisor('gpu1')['state'] = 'down'
        text = self.refused()
        self.assertIn('Start its nova-compute, or, ', text)
        self.assertIn('each of its servers: openstack server evacuate', text)
        self.assertIn('PCI alias starts there again only when this host', text)
        self.assertIn('API 2.95 or later, they arrive stopped', text)

    def test_host_is_forced_down(self) -> None:
        self._hypervisor('gpu1')['state'] = 'down'
        self.service('gpu1')['forced_down'] = True
        text = self.refused()
        self.assertNotIn('Start its nova-compute', text)
        self.assertIn(
            'openstack --os-compute-api-version 2.11 compute service set '
            '--up gpu1 nova-compute, or, ',
            text,
        )

    def test_bad_target(self) -> None:
        self.switch('gpu2', 'fan')
        self.assertIn('gpu2', self.refused(targets=('gpu2',)))
        self.assertIn('gpu9', self.refused(targets=('gpu9',)))

    def test_reason_too_long(self) -> None:
        text = self.refused(text='x' * 250)
        self.assertIn('--reason: 250 characters are too many', text)

    def test_unknown_excluded(self) -> None:
        self.assertIn('nobody', self.refused(excluded=('nobody',)))


class TestTakenUp(TestCase):
    def setUp(self) -> None:
        super().setUp()
        logging.disable(logging.WARNING)
        self.addCleanup(logging.disable, logging.NOTSET)

    def test_what_an_earlier_run_left(self) -> None:
        self.kill_at(45)
        with self.assertRaises(drain_case.Killed):
            self.drain(text='fan')
        left = self.service('gpu1')['disabled_reason']
        self.assertTrue(marks.read_drain(left))
        self.drain()
        self.assertEqual(left, self.service('gpu1')['disabled_reason'])
        self.assert_drained()

    def test_killed_at_any_request(self) -> None:
        """After every seventh request; tools/kill_drain.py takes each one."""
        self.doubles = True
        before = len(self.requests)
        self.drain(gpu_only=True)
        number = len(self.requests) - before
        killed = 0
        for at in range(1, number + 1, 7):
            home = self.host_of(self.one)
            other = 'gpu1' if home != 'gpu1' else 'gpu2'
            self.switch(home, None)
            self.switch(other, None)
            with self.subTest(at=at):
                self.kill_at(at)
                try:
                    self.drain(home, targets=(other,), gpu_only=True)
                except drain_case.Killed:
                    killed += 1
                self.faults.clear()
                self.drain(home, targets=(other,), gpu_only=True)
                self.assert_settled(self.one, other)
                self.assert_nothing_leaked()
        self.assertGreater(killed, 6)


class TestTrouble(TestCase):
    def test_one_that_fails_without_harm_is_tried_again(self) -> None:
        self.spoil(self.one, 'no valid host')
        done = self.drain()
        self.assertEqual({MIGRATED}, {result for _n, result, _h in done})
        self.assertIn('another round for 1 servers', self.said)
        self.assert_drained()

    def test_three_rounds_at_most(self) -> None:
        self.spoil(self.one, *9 * ['no valid host'])
        done = self.drain()
        self.assertEqual(
            [('one', steps.FAILED, 'gpu1'), ('plain', MIGRATED, 'cpu1')], done
        )
        self.assertEqual(
            ['gpu2', 'gpu3', 'gpu2'],
            [
                said.removeprefix('one: migrate to ')
                for said in self.said
                if said.startswith('one: migrate')
            ],
        )
        self.assertFalse(self.servers[self.one]['locked'])
        self.assert_settled(self.one, 'gpu1')

    def test_a_target_that_failed_is_left_to_nova(self) -> None:
        self.spoil(self.plain, 'no valid host')
        self.drain()
        self.assertIn('plain: migrate to cpu1', self.said)
        self.assertIn('plain: migrate', self.said)

    def test_who_takes_pci_devices_goes_elsewhere(self) -> None:
        """Each host is to be looked at before, so Nova does not choose."""
        self.spoil(self.one, 'no valid host')
        done = self.drain()
        self.assertIn(('one', MIGRATED, 'gpu3'), done)
        self.assertIn('one: migrate to gpu2', self.said)

    def test_no_host_is_left(self) -> None:
        self.spoil(self.one, *9 * ['no valid host'])
        task = drain.Task('gpu1', targets=('gpu2',), gpu_only=True, wait=5)
        prepared = drain.prepare(self.conn, task)
        drain.begin(self.conn, prepared)
        done = drain.carry_out(self.conn, prepared, self.said.append)
        (outcome,) = done.outcomes
        self.assertEqual(steps.FAILED, outcome.result)
        self.assertTrue(
            outcome.detail.endswith(
                '; no host is left but gpu2, tried before'
            ),
            outcome.detail,
        )

    def test_but_not_if_the_user_names_targets(self) -> None:
        self.spoil(self.plain, 'no valid host')
        self.drain(targets=('gpu2', 'cpu1'))
        self.assertNotIn('plain: migrate', self.said)

    def test_poison_stops_the_others(self) -> None:
        self.spoil(self.one, 'rollback')
        done = self.drain()
        self.assertEqual(
            [
                ('one', steps.POISONED, 'gpu1'),
                ('plain', steps.NOT_BEGUN, 'gpu1'),
            ],
            done,
        )
        self.assertTrue(self.servers[self.one]['locked'])
        self.assertFalse(self.servers[self.plain]['locked'])

    def test_who_is_not_begun_again_is_unlocked(self) -> None:
        """It failed without harm before, and stayed locked since."""
        two = self.add_gpu_server('two')
        for server in (self.one, two):
            self.spoil(server, 'no valid host', 'rollback')
        done = self.drain(gpu_only=True)
        found = {self.named(name)['locked']: r for name, r, _host in done}
        self.assertEqual({True: steps.POISONED, False: steps.FAILED}, found)

    def named(self, name: str) -> Any:
        (found,) = (s for s in self.servers.values() if s['name'] == name)
        return found

    def test_poison_stops_nobody_if_so_wished(self) -> None:
        self.spoil(self.one, 'rollback')
        done = self.drain(keeps_going=True)
        self.assertEqual(
            [('one', steps.POISONED, 'gpu1'), ('plain', MIGRATED, 'cpu1')],
            done,
        )

    def test_enabled_by_somebody_meanwhile(self) -> None:
        said = []

        def say(text: str) -> None:
            said.append(text)
            if text == 'one: confirm':
                self.switch('gpu1', None)

        self.said = mock.Mock(append=say)
        done = self.drain()
        self.assertEqual(
            [
                ('one', MIGRATED, 'gpu2'),
                ('plain', steps.NOT_BEGUN, 'gpu1'),
            ],
            done,
        )

    def test_somebody_came_meanwhile(self) -> None:
        def say(text: str) -> None:
            if text == 'plain: confirm':
                self.late = self.plain_server('late', status='SHUTOFF')
                self.paused = self.plain_server('paused', status='PAUSED')

        self.said = mock.Mock(append=say)
        done = self.drain()
        self.assertEqual(
            [
                ('one', MIGRATED),
                ('plain', MIGRATED),
                ('late', MIGRATED),
                ('paused', steps.REFUSED),
            ],
            [(name, result) for name, result, _host in done],
        )

    def test_what_is_left_cannot_be_seen(self) -> None:
        self.disturb(r'GET /servers/detail\?.*host=gpu1', 503, after=1)
        self.assertEqual({MIGRATED}, {r for _n, r, _h in self.drain()})
        self.assertIn('What is left on gpu1 is not known', self.done.unknown)

    def test_a_repair_that_is_refused(self) -> None:
        self.doubles = True
        self.disturb('GET /os-hypervisors', 503, after=2, times=9)
        done = self.drain(gpu_only=True, wait=1)
        self.assertEqual([('one', steps.UNSETTLED, 'gpu2')], done)
        self.assertTrue(self.servers[self.one]['locked'])

    def test_interrupted(self) -> None:
        reached = threading.Event()

        def move(run: migration.Run, order: object) -> None:
            reached.set()
            run.stopped.wait(30)
            raise AssertionError('its worker ends')

        def join(thread: threading.Thread, timeout: object = None) -> None:
            if thread.daemon and timeout is None:
                reached.wait(30)
                raise KeyboardInterrupt

        with (
            mock.patch.object(migration, 'move', move),
            mock.patch.object(threading.Thread, 'join', join),
            self.assertRaises(KeyboardInterrupt),
        ):
            self.drain()
        self.assertEqual('disabled', self.service('gpu1')['status'])

    def test_stopped_before_it_settles(self) -> None:
        """What has moved by then stays locked, for the next run to settle."""

        def say(text: str) -> None:
            if text == 'one: VERIFY_RESIZE confirming':
                self.run_.stopped.set()

        self.run_.say = say
        orders = [
            self.order(self.one, target='gpu2'),
            self.order(self.plain, target='cpu1'),
        ]
        rules = moving_lanes.Rules(1, 5)
        with mock.patch.object(self.run_, 'pause', autospec=True):
            one, plain = moving_lanes.move(self.run_, orders, rules)
        self.assertIn(one.result, (steps.INTERRUPTED, MIGRATED))
        self.assertEqual(steps.NOT_BEGUN, plain.result)
        self.assertTrue(self.servers[self.one]['locked'])

    def test_what_seems_blocked_is_looked_at_again(self) -> None:
        found = []
        read = drain_plan.read

        def read_twice(*args: object, **more: object) -> drain_plan.Plan:
            plan = read(*args, **more)  # type: ignore[arg-type]
            found.append(plan)
            if len(found) > 1:
                return plan
            moves = tuple(
                dataclasses.replace(
                    move,
                    server=dataclasses.replace(
                        move.server, task_state='resize_prep'
                    ),
                    is_blocked=True,
                )
                for move in plan.moves
            )
            return dataclasses.replace(plan, moves=moves)

        with mock.patch.object(drain_plan, 'read', read_twice):
            prepared = drain.prepare(self.conn, drain.Task('gpu1'))
        self.assertEqual(2, len(found))
        self.assertFalse(any(m.is_blocked for m in prepared.plan.moves))


class TestService(TestCase):
    def read(self) -> drain_service.Service:
        return drain_service.read(self.conn, 'gpu1')

    def drain_of(self, text: str | None = None) -> marks.Drain:
        return drain_service.drain_of(self.read(), 'abc', text)

    def test_the_clouds_time_is_that_of_the_answer(self) -> None:
        self.assertEqual(drain_case.NOW, self.read().now)

    def test_the_clouds_time_without_a_date(self) -> None:
        for date in ('', 'yesterday'):
            found = drain_service.parse(
                self.service('gpu1')
                | {'state': 'up', 'updated_at': '2026-11-21T06:29:51.000000'},
                date,
            )
            self.assertEqual('2026-11-21T06:29:51Z', found.now)

    def test_a_new_drain(self) -> None:
        self.assertEqual(
            marks.Drain('abc', drain_case.NOW, 'fan'), self.drain_of('fan')
        )
        self.assertEqual('', self.drain_of().text)

    def test_a_drain_that_goes_on(self) -> None:
        before = marks.Drain('123', '2026-11-20T00:00:00Z', 'fan')
        self.switch('gpu1', marks.write_drain(before))
        self.assertEqual(before, self.drain_of())
        self.assertEqual(before._replace(text='psu'), self.drain_of('psu'))

    def test_what_somebody_wrote_by_hand_is_kept(self) -> None:
        self.switch('gpu1', 'broken fan')
        for text in (None, 'psu'):
            drain = self.drain_of(text)
            self.assertEqual((text or '', 'broken fan'), drain[2:])
        self.switch('gpu1', marks.write_drain(drain))
        self.assertEqual(('psu', 'broken fan'), self.drain_of()[2:])
        self.assertEqual(('fan', 'broken fan'), self.drain_of('fan')[2:])

    def test_even_if_it_is_long(self) -> None:
        self.switch('gpu1', 'x' * 255)
        for text in (None, 'fan'):
            drain = self.drain_of(text)
            self.assertTrue((drain.was or '').endswith('x...'))
            self.assertEqual(255, len(marks.write_drain(drain)))

    def test_the_longest_reason_beside_what_was_there(self) -> None:
        self.switch('gpu1', 'broken fan')
        least = self.drain_of('y')._replace(was='')
        room = 255 - len(marks.write_drain(least)) + 1
        for used, was in (
            (room, ''),
            (room - 5, ''),
            (room - 6, 'b...'),
            (room - 11, 'broken...'),
            (room - 12, 'broken fan'),
        ):
            with self.subTest(used):
                drain = self.drain_of('y' * used)
                self.assertEqual(('y' * used, was), drain[2:])
                written = marks.write_drain(drain)
                self.assertLessEqual(len(written), 255)
                self.assertEqual(drain, marks.read_drain(written))
        with self.assertRaises(exceptions.CommandError):
            self.drain_of('y' * (room + 1))

    def test_a_reason_that_reads_like_ours(self) -> None:
        with self.assertRaises(exceptions.CommandError) as caught:
            self.drain_of('fan; was disabled: no')
        self.assertIn("leave out '; was disabled'", str(caught.exception))

    def test_the_longest_reason(self) -> None:
        room = 255 - len(marks.write_drain(self.drain_of('x'))) + 1
        self.assertEqual(
            255, len(marks.write_drain(self.drain_of('x' * room)))
        )
        with self.assertRaises(exceptions.CommandError):
            self.drain_of('x' * (room + 1))

    def test_disabled_only_if_need_be(self) -> None:
        drain = self.drain_of('fan')
        for _time in range(2):
            drain_service.disable(self.conn, self.read(), drain)
        self.assertEqual(1, sum(r.startswith('PUT') for r in self.requests))

    def test_why_stop(self) -> None:
        def why() -> str:
            return drain_service.why_stop(self.conn, 'gpu1')

        self.assertIn('has enabled gpu1', why())
        self.switch('gpu1', 'broken fan')
        self.assertIn('for another reason', why())
        self.switch('gpu1', marks.write_drain(marks.Drain('a', 'b')))
        self.assertEqual('', why())
        self.disturb('os-services', 503)
        self.assertEqual('', why())
        self.hypervisors.remove(self._hypervisor('gpu1'))
        self.assertIn("not begun: No compute service host named 'gpu1'", why())
