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
from typing import Any
from unittest import mock

from osc_gpu.cloud import drain
from osc_gpu.cloud import marks
from tests.unit import base
from tests.unit.cloud import drain_case
from tests.unit import fake_moves

PLAN = ['Server', 'Project', 'GPU Request', 'Method', 'Target', 'Why']
COLD = 'its devices are not said to move while it runs'
DONE = [
    'ID',
    'Name',
    'From Host',
    'To Host',
    'Method',
    'Result',
    'Duration',
    'Detail',
]


class TestCase(drain_case.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.one = self.add_gpu_server('one')
        self.plain = self.plain_server('plain')

    def ended(self, *argv: str) -> tuple[object, str]:
        """Run a command that shows a table and fails; return both."""
        result = self.openstack(*argv, '-f', 'json')
        self.assertEqual(1, result.status, result)
        return result.json, result.stderr.strip()

    def writes(self) -> list[str]:
        return [r for r in self.requests if r[:4] != 'GET ']


class TestDrain(TestCase):
    def test_dry_run(self) -> None:
        rows = self.table('gpu', 'host', 'drain', 'gpu1', '--dry-run')
        self.assertEqual(
            [
                dict(
                    zip(
                        PLAN,
                        (
                            'one',
                            drain_case.PROJECT,
                            'a100:1',
                            'cold',
                            'gpu2',
                            COLD,
                        ),
                        strict=True,
                    )
                ),
                dict(
                    zip(
                        PLAN,
                        (
                            'plain',
                            drain_case.PROJECT,
                            '',
                            'live',
                            'cpu1',
                            'no GPU: moves while it runs',
                        ),
                        strict=True,
                    )
                ),
            ],
            rows,
        )
        self.assertEqual([], self.writes())

    def test_one_that_may_be_restored(self) -> None:
        """Nova lists it only if asked to, and it keeps its GPUs."""
        self.servers[self.one]['status'] = 'SOFT_DELETED'
        rows, error = self.ended('gpu', 'host', 'drain', 'gpu1')
        self.assertEqual(['plain', 'one'], [row['Server'] for row in rows])
        self.assertIn(
            f'openstack server restore {self.one}, or openstack server '
            f'delete --force {self.one}',
            rows[1]['Why'],
        )
        self.assertIn(f'--exclude {self.one}', error)
        self.assertEqual([], self.writes())
        asked = [r for r in self.requests if 'soft_deleted' in r]
        self.assertEqual(1, len(asked))
        self.assertIn('host=gpu1', asked[0])
        self.table('gpu', 'host', 'drain', 'gpu1', '--exclude', self.one)
        self.assertEqual('gpu1', self.host_of(self.one))
        self.assertNotEqual('gpu1', self.host_of(self.plain))

    def test_no_other_server_of_the_host_is_asked_for(self) -> None:
        self.table('gpu', 'host', 'drain', 'gpu1', '--dry-run')
        self.assertFalse([r for r in self.requests if 'soft_deleted' in r])

    def test_requests_of_a_plan(self) -> None:
        before = len(self.requests)
        self.table('gpu', 'host', 'drain', 'gpu1', '--dry-run')
        asked = self.requests[before:]
        self.assertEqual(
            'GET /os-services?binary=nova-compute&host=gpu1', asked[0]
        )
        self.assertLess(len(asked), 22)

    def test_drained(self) -> None:
        rows = self.table('gpu', 'host', 'drain', 'gpu1', '--reason', 'fan')
        self.assertEqual(DONE, list(rows[0]))
        self.assertEqual(
            [
                (self.one, 'one', 'gpu1', 'gpu2', 'cold', 'migrated', COLD),
                (
                    self.plain,
                    'plain',
                    'gpu1',
                    'cpu1',
                    'live',
                    'migrated',
                    'no GPU: moves while it runs',
                ),
            ],
            [
                tuple(v for k, v in row.items() if k != 'Duration')
                for row in rows
            ],
        )
        self.assertIn('fan', self.service('gpu1')['disabled_reason'])
        self.assert_settled(self.one, 'gpu2')

    def test_all_options_arrive(self) -> None:
        with mock.patch.object(
            drain, 'prepare', autospec=True, side_effect=OSError('enough')
        ) as prepare:
            self.openstack(
                'gpu', 'host', 'drain', 'gpu1', '--target', 'a', '--target',
                'b', '--exclude', 'c', '--gpu-only', '--method', 'cold',
                '--reason', 'fan', '--parallel', '3', '--timeout', '4',
                '--wait', '5', '--keep-enabled', '--keep-going',
            )  # fmt: skip
        self.assertEqual(
            drain.Task(
                'gpu1',
                ('a', 'b'),
                ('c',),
                gpu_only=True,
                method='cold',
                text='fan',
                at_once=3,
                timeout=4,
                wait=5,
                keeps_enabled=True,
                keeps_going=True,
            ),
            prepare.call_args.args[1],
        )

    def test_going_on_is_told(self) -> None:
        mark = marks.Drain('abc', drain_case.NOW, 'fan')
        self.switch('gpu1', marks.write_drain(mark))
        result = self.openstack('gpu', 'host', 'drain', 'gpu1')
        self.assertEqual(0, result.status, result)
        self.assertEqual(
            f'Host gpu1 is being drained by run abc since {drain_case.NOW}: '
            'going on with that',
            result.stderr.strip(),
        )

    def test_blocked(self) -> None:
        self.servers[self.plain]['status'] = 'PAUSED'
        rows, line = self.ended('gpu', 'host', 'drain', 'gpu1')
        self.assertEqual(PLAN, list(rows[0]))
        self.assertEqual(
            '1 of 2 servers cannot be moved, so nothing is changed; mend what '
            'the table says, or leave them where they are: --exclude '
            f'{self.plain}',
            line,
        )
        self.assertEqual([], self.writes())

    def test_blocked_dry_run(self) -> None:
        self.servers[self.plain]['status'] = 'PAUSED'
        rows, _line = self.ended('gpu', 'host', 'drain', 'gpu1', '--dry-run')
        self.assertIn('openstack server unpause', rows[1]['Why'])

    def test_one_that_is_deleted_meanwhile(self) -> None:
        """The host is empty all the same."""

        def lock(server: Any, body: Any) -> fake_moves.Steps:
            if server['id'] == self.one:
                del self.servers[self.one]
            server |= {'locked': True, 'locked_reason': body['locked_reason']}
            yield from ()

        with mock.patch.object(self, '_lock', lock):
            rows = self.table('gpu', 'host', 'drain', 'gpu1')
        self.assertEqual(
            [('gone', 'somebody has deleted it'), ('migrated', mock.ANY)],
            [(row['Result'], row['Detail']) for row in rows],
        )

    def test_what_is_left_is_not_known(self) -> None:
        self.disturb(r'GET /servers/detail\?.*host=gpu1', 503, after=1)
        rows, line = self.ended('gpu', 'host', 'drain', 'gpu1')
        self.assertEqual({'migrated'}, {row['Result'] for row in rows})
        self.assertTrue(line.startswith('What is left on gpu1 is not known'))

    def test_some_failed(self) -> None:
        self.spoil(self.one, 'rollback')
        rows, line = self.ended('gpu', 'host', 'drain', 'gpu1', '--keep-going')
        self.assertEqual(
            ['poisoned', 'migrated'], [row['Result'] for row in rows]
        )
        self.assertEqual('1 of 2 servers failed to move', line)

    def test_interrupted(self) -> None:
        with mock.patch.object(
            drain, 'carry_out', autospec=True, side_effect=KeyboardInterrupt
        ):
            line = self.fails('gpu', 'host', 'drain', 'gpu1')
        self.assertIn('run the same command again', line)

    def test_bad_values(self) -> None:
        before = self.requests
        for argv in (
            ('',),
            ('gpu1', '--target', ''),
            ('gpu1', '--exclude', ''),
            ('gpu1', '--parallel', '0'),
            ('gpu1', '--timeout', '0'),
            ('gpu1', '--wait', 'x'),
            ('gpu1', '--method', 'warm'),
        ):
            result = self.openstack('gpu', 'host', 'drain', *argv)
            self.assertEqual(2, result.status, argv)
        self.assertEqual(before, self.requests)

    def test_tenants_are_refused_in_one_line(self) -> None:
        message = "Policy doesn't allow os_compute_api:os-services:list to be "
        self.cloud.get(
            f'{base.COMPUTE}/os-services',
            status_code=403,
            json={'forbidden': {'message': f'{message}performed.'}},
        )
        for verb in ('drain', 'undrain'):
            line = self.fails('gpu', 'host', verb, 'gpu1')
            self.assertIn('os-services:list', line)
            self.assertEqual(1, len(line.splitlines()))


class TestUndrain(TestCase):
    def test_silent(self) -> None:
        self.drain()
        for _time in range(2):
            result = self.ok('gpu', 'host', 'undrain', 'gpu1')
            self.assertEqual('', result.stdout)
        self.assertEqual('enabled', self.service('gpu1')['status'])

    def test_return_dry_run(self) -> None:
        self.drain()
        done = self.writes()
        rows = self.table(
            'gpu', 'host', 'undrain', 'gpu1', '--return', '--dry-run'
        )
        self.assertEqual(
            [('one', 'gpu1'), ('plain', 'gpu1')],
            [(row['Server'], row['Target']) for row in rows],
        )
        self.assertEqual(done, self.writes())

    def test_return(self) -> None:
        self.drain()
        rows = self.table('gpu', 'host', 'undrain', 'gpu1', '--return')
        self.assertEqual(DONE, list(rows[0]))
        self.assertEqual({'gpu1'}, {row['To Host'] for row in rows})
        self.assertEqual({'migrated'}, {row['Result'] for row in rows})
        self.assertEqual(
            {'one': COLD, 'plain': 'no GPU: moves while it runs'},
            {row['Name']: row['Detail'] for row in rows},
        )
        self.assert_settled(self.one, 'gpu1')

    def test_return_after_an_unfinished_drain(self) -> None:
        self.kill_at(45)
        with self.assertRaises(drain_case.Killed):
            self.drain()
        self.faults.clear()
        rows = self.table('gpu', 'host', 'undrain', 'gpu1', '--return')
        self.assertEqual({'migrated'}, {row['Result'] for row in rows})
        self.assert_settled(self.one, 'gpu1')
        self.assert_settled(self.plain, 'gpu1')

    def test_blocked(self) -> None:
        self.drain()
        done = self.writes()
        self.servers[self.plain]['status'] = 'PAUSED'
        rows, line = self.ended('gpu', 'host', 'undrain', 'gpu1', '--return')
        self.assertEqual(PLAN, list(rows[0]))
        self.assertIn('1 of 2 servers cannot be moved', line)
        self.assertEqual(done, self.writes())

    def test_interrupted(self) -> None:
        self.drain()
        with mock.patch.object(
            time, 'monotonic', autospec=True, side_effect=KeyboardInterrupt
        ):
            line = self.fails('gpu', 'host', 'undrain', 'gpu1', '--return')
        self.assertIn('run the same command again', line)

    def test_disabled_before_its_drain(self) -> None:
        for reason in ('bad RAM', ''):
            with self.subTest(reason):
                self.switch('gpu1', reason)
                self._hypervisor('gpu1')['status'] = 'disabled'
                self.service('gpu1')['status'] = 'disabled'
                self.openstack(
                    'gpu', 'host', 'drain', 'gpu1', '--reason', 'fans'
                )
                left = self.service('gpu1')['disabled_reason']
                self.assertIn(': fans; was disabled', left)
                result = self.openstack('gpu', 'host', 'undrain', 'gpu1')
                self.assertEqual(0, result.status)
                self.assertIn('gpu1 stays disabled', result.stderr)
                service = self.service('gpu1')
                self.assertEqual('disabled', service['status'])
                self.assertEqual(reason, service['disabled_reason'] or '')

    def test_return_to_one_that_was_disabled_before(self) -> None:
        self.switch('gpu1', 'bad RAM')
        self.drain()
        done = self.writes()
        line = self.fails('gpu', 'host', 'undrain', 'gpu1', '--return')
        self.assertIn('was disabled before its drain (reason: bad RAM)', line)
        self.assertIn('--force', line)
        self.assertEqual(done, self.writes())
        self.table('gpu', 'host', 'undrain', 'gpu1', '--return', '--force')
        self.assert_settled(self.one, 'gpu1')
        self.assertEqual('enabled', self.service('gpu1')['status'])

    def test_forced(self) -> None:
        self.switch('gpu1', 'bad RAM')
        self.drain()
        self.ok('gpu', 'host', 'undrain', 'gpu1', '--force')
        self.assertEqual('enabled', self.service('gpu1')['status'])

    def test_nothing_tells_who_returns(self) -> None:
        line = self.fails('gpu', 'host', 'undrain', 'gpu1', '--return')
        self.assertIn('not disabled by a drain', line)

    def test_of_use_with_return_only(self) -> None:
        before = self.requests
        for option in (('--dry-run',), ('--exclude', 'x')):
            line = self.fails('gpu', 'host', 'undrain', 'gpu1', *option)
            self.assertIn('--return', line)
        self.assertEqual(before, self.requests)
