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

import logging

from osc_lib import exceptions

from osc_gpu.cloud import drain_return
from osc_gpu.cloud import drain_return_plan
from osc_gpu.cloud import marks
from osc_gpu.cloud import migration_steps as steps
from tests.unit.cloud import drain_case

MIGRATED = steps.MIGRATED


class TestCase(drain_case.TestCase):
    def setUp(self) -> None:
        super().setUp()
        logging.disable(logging.WARNING)
        self.addCleanup(logging.disable, logging.NOTSET)
        self.one = self.add_gpu_server('one')
        self.plain = self.plain_server('plain', status='SHUTOFF')

    def plan(self, **task: object) -> drain_return_plan.Plan:
        wanted = drain_return_plan.Task('gpu1', **task)  # type: ignore
        return drain_return_plan.read(self.conn, wanted)

    def refused(self, **task: object) -> str:
        with self.assertRaises(exceptions.CommandError) as caught:
            self.plan(**task)
        return str(caught.exception)

    def brought(self, *left: str) -> None:
        """Check that both are back, whole, but for those that are not."""
        for name, server in (('one', self.one), ('plain', self.plain)):
            if name not in left:
                self.assert_settled(server, 'gpu1')
        self.assert_nothing_leaked()
        self.assertEqual('enabled', self.service('gpu1')['status'])


class TestEnable(TestCase):
    def test_enabled(self) -> None:
        self.drain()
        drain_return.enable(self.conn, 'gpu1')
        self.assertEqual('enabled', self.service('gpu1')['status'])
        self.assert_settled(self.one, 'gpu2')

    def test_twice(self) -> None:
        drain_return.enable(self.conn, 'gpu1')
        self.assertEqual(
            [
                'GET /os-services?binary=nova-compute&host=gpu1',
                'GET /servers/detail?all_tenants=True&locked=True',
            ],
            self.requests[-2:],
        )

    def test_disabled_for_another_reason(self) -> None:
        self.switch('gpu1', 'broken fan')
        with self.assertRaises(exceptions.CommandError) as caught:
            drain_return.enable(self.conn, 'gpu1')
        self.assertIn('(reason: broken fan)', str(caught.exception))
        self.assertIn('openstack compute service set', str(caught.exception))

    def test_what_the_drain_has_only_locked_is_let_go(self) -> None:
        mark = marks.Move('migrate', 'a', marks.digest('c' * 32, 'gpu1'))
        for server in (self.one, self.plain):
            self.servers[server] |= {
                'locked': True,
                'locked_reason': marks.write_move(mark),
            }
        self.servers[self.one]['status'] = 'VERIFY_RESIZE'
        logging.disable(logging.NOTSET)
        with self.assertLogs('osc_gpu', 'WARNING') as logs:
            drain_return.enable(self.conn, 'gpu1')
        self.assertFalse(self.servers[self.plain]['locked'])
        self.assertTrue(self.servers[self.one]['locked'])
        self.assertIn(self.one, logs.output[0])


class TestReturn(TestCase):
    def test_all_come_back(self) -> None:
        self.drain()
        self.assertEqual(
            [('one', MIGRATED, 'gpu1'), ('plain', MIGRATED, 'gpu1')],
            self.bring_back(),
        )
        self.brought()

    def test_those_that_were_shelved_too(self) -> None:
        self.servers[self.plain]['status'] = 'ACTIVE'
        self.drain(method='shelve')
        self.bring_back()
        self.brought()

    def test_doubles(self) -> None:
        self.doubles = True
        self.drain()
        self.bring_back()
        self.brought()

    def test_marked_before_the_host_is_enabled(self) -> None:
        self.drain()
        before = len(self.requests)
        self.bring_back()
        writes = [r for r in self.requests[before:] if r[:3] != 'GET']
        locks = [
            f'POST /servers/{server}/action'
            for server in (self.one, self.plain)
        ]
        service = f'PUT /os-services/{self.root_of("gpu1")}'
        self.assertEqual([*locks, service], writes[:3])

    def test_not_who_was_moved_on(self) -> None:
        self.drain()
        self.move(self.one, source='gpu2', target='gpu3')
        self.servers[self.one] |= {'locked': False, 'locked_reason': None}
        logging.disable(logging.NOTSET)
        with self.assertLogs('osc_gpu', 'WARNING') as logs:
            done = self.bring_back()
        self.assertEqual([('plain', MIGRATED, 'gpu1')], done)
        self.assertIn(
            f'openstack gpu server migrate --host gpu1 {self.one}',
            logs.output[0],
        )

    def test_not_who_is_back_or_gone(self) -> None:
        self.drain()
        self.remove_server(self.one)
        self.switch('gpu1', 'x')
        self.switch(
            'gpu1', marks.write_drain(marks.Drain('a', drain_case.NOW))
        )
        self._hypervisor('gpu1')['status'] = 'enabled'
        self.move(self.plain, source='cpu1', target='gpu1')
        self.servers[self.plain] |= {'locked': False, 'locked_reason': None}
        self._hypervisor('gpu1')['status'] = 'disabled'
        self.assertEqual([], self.bring_back())

    def remove_server(self, server: str) -> None:
        del self.servers[server]
        self.placement.allocations.pop(server)

    def test_excluded(self) -> None:
        self.drain()
        self.assertEqual(
            [('plain', MIGRATED, 'gpu1')], self.bring_back(excluded=('one',))
        )
        self.brought('one')
        self.assert_settled(self.one, 'gpu2')

    def test_one_that_fails_is_tried_again(self) -> None:
        self.drain()
        self.spoil(self.one, 'no valid host')
        self.bring_back()
        self.brought()

    def test_one_that_fails_for_good(self) -> None:
        self.drain()
        self.spoil(self.one, *9 * ['no valid host'])
        task = drain_return_plan.Task('gpu1', wait=5)
        plan = drain_return_plan.read(self.conn, task)
        one, _plain = drain_return.carry_out(self.conn, plan, self.said.append)
        self.assertEqual(steps.FAILED, one.result)
        self.assertIn('openstack gpu server migrate --host gpu1', one.detail)
        self.assert_settled(self.one, 'gpu2')


class TestRefusals(TestCase):
    def test_not_drained(self) -> None:
        self.assertIn('not disabled by a drain', self.refused())

    def test_disabled_for_another_reason(self) -> None:
        self.switch('gpu1', 'broken fan')
        self.assertIn('broken fan', self.refused())

    def test_host_is_down(self) -> None:
        self._hypervisor('gpu1')['state'] = 'down'
        self.assertIn('gpu1 is down', self.refused())

    def test_excluded_that_does_not_return(self) -> None:
        self.drain()
        text = self.refused(excluded=('nobody',))
        self.assertIn("name or ID 'nobody'", text)

    def test_no_room_any_more(self) -> None:
        self.drain()
        for card in self._free(self.root_of('gpu1'), drain_case.A100):
            self.placement.hold('somebody', card, **{drain_case.A100: 1})
            self.placement.fill(card)
        blocked = [m for m in self.plan().moves if m.is_blocked]
        self.assertEqual(['one'], [m.server.name for m in blocked])
        self.assertIn('no room', blocked[0].why)

    def test_a_server_group_keeps_it_away(self) -> None:
        self.drain()
        near = self.plain_server('near')
        self.add_group('g', 'anti-affinity', self.one, near)
        (blocked,) = (m for m in self.plan().moves if m.is_blocked)
        self.assertEqual(
            ('one', 'not to gpu1: server group g (anti-affinity)'),
            (blocked.server.name, blocked.why),
        )

    def test_somebody_has_locked_it(self) -> None:
        self.drain()
        self.servers[self.one] |= {'locked': True, 'locked_reason': 'mine'}
        blocked = [m.why for m in self.plan().moves if m.is_blocked]
        self.assertEqual(['somebody has locked it: mine'], blocked)


class TestTakenUp(TestCase):
    def test_the_drain_is_not_finished(self) -> None:
        self.kill_at(45)
        with self.assertRaises(drain_case.Killed):
            self.drain()
        plan = self.plan()
        self.assertTrue(plan.pending)
        self.assertIn('finished first', plan.moves[0].why)
        self.bring_back()
        self.brought()

    def test_the_drain_has_only_locked(self) -> None:
        self.drain(targets=('gpu2',), excluded=('plain',))
        mark = marks.Move('migrate', 'a', marks.digest('c' * 32, 'gpu1'))
        self.servers[self.plain] |= {
            'locked': True,
            'locked_reason': marks.write_move(mark),
        }
        self.bring_back()
        self.brought()

    def test_unmarked_if_excluded_later(self) -> None:
        self.drain()
        self.kill_before('PUT /os-services')
        with self.assertRaises(drain_case.Killed):
            self.bring_back()
        self.faults.clear()
        self.bring_back(excluded=('one',))
        self.brought('one')
        self.assert_settled(self.one, 'gpu2')

    def kill_before(self, pattern: str) -> None:
        self.disturb(pattern, drain_case.Killed())

    def test_moved_on_after_it_was_marked(self) -> None:
        self.drain()
        self.kill_before(f'POST /servers/{self.one}/action')
        self.faults[-1].after = 1
        with self.assertRaises(drain_case.Killed):
            self.bring_back()
        self.move(self.one, source='gpu2', target='gpu3')
        self.assertEqual('gpu3', self.host_of(self.one))
        self.bring_back()
        self.brought()

    def test_killed_at_any_request(self) -> None:
        """After every seventh request; only Nova's records tell the rest."""
        self.doubles = True
        self.drain(gpu_only=True)
        before = len(self.requests)
        self.bring_back()
        number = len(self.requests) - before
        killed = 0
        for at in range(1, number + 1, 7):
            with self.subTest(at=at):
                self.drain(gpu_only=True, targets=('gpu2',))
                self.kill_at(at)
                try:
                    self.bring_back()
                except drain_case.Killed:
                    killed += 1
                self.faults.clear()
                try:
                    self.bring_back()
                except exceptions.CommandError as exc:
                    # All was done, but for the answer to the last unlock.
                    self.assertIn('Nothing tells', str(exc))
                self.assert_settled(self.one, 'gpu1')
                self.assert_nothing_leaked()
        self.assertGreater(killed, 6)


class TestOldNova(TestCase):
    """It cannot be told where to unshelve a server."""

    max_compute_microversion = '2.90'

    def test_shelving_is_refused(self) -> None:
        self.drain()
        self.servers[self.one]['image'] = ''
        self.assertEqual('cold', self.plan().moves[0].method)
        moves = self.plan(method='shelve').moves
        self.assertEqual({True}, {move.is_blocked for move in moves})
        self.assertIn('compute API 2.91', moves[0].why)
