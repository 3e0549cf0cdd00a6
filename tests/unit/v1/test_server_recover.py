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

from osc_gpu.cloud import migration
from osc_gpu.cloud import recovery_run
from osc_gpu.cloud import repair_excess
from tests.unit import fake_moves

RECOVER = ('gpu', 'server', 'recover')


class TestCase(fake_moves.TestCase):
    """Two hosts with two cards each, and a server on the first."""

    def setUp(self) -> None:
        super().setUp()
        self.nova.add('g1', fake_moves.ALIAS)
        for name in ('gpu1', 'gpu2'):
            self.add_cards(self.add_host(name), 2)
        self.server = self.add_gpu_server('train')
        self.enterContext(
            mock.patch.object(migration.Run, 'pause', self.pause)
        )
        self.enterContext(mock.patch.object(repair_excess, 'POLL', 0))
        self.waits: list[float] = []

    def pause(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.periodic()

    def spoilt(self) -> None:
        """Break the server as a migration to gpu2 does that fails there."""
        self.spoil(self.server, 'destination')
        self.ok('server', 'migrate', self.server, '--host', 'gpu2')
        self.finish(self.server)

    def writes_of(self, since: int) -> list[str]:
        return [r for r in self.requests[since:] if not r.startswith('GET ')]


class TestRecover(TestCase):
    def test_fields(self) -> None:
        self.spoilt()
        self.assertEqual(
            {
                'id': self.server,
                'name': 'train',
                'status': 'ACTIVE',
                'host': 'gpu2',
                'diagnosis': (
                    'stale claim: a PCI device is still claimed for it on '
                    'gpu1: it fails to start and to reboot'
                ),
                'steps': [
                    'stop',
                    'migrate to gpu1, and confirm',
                    'wait for the update of resources on gpu1',
                    'migrate to gpu2, and confirm',
                    'start',
                    'unlock',
                ],
                'result': 'recovered',
                'instructions': [],
                'leftover': [],
                'detail': (
                    'it started on gpu2, and holds what its flavor asks'
                ),
            },
            self.table(*RECOVER, 'train'),
        )
        self.assertIn(90, self.waits)

    def test_wait_and_timeout(self) -> None:
        self.spoilt()
        self.ok(*RECOVER, 'train', '--wait', '7', '--timeout', '99')
        self.assertIn(7, self.waits)
        self.assertNotIn(90, self.waits)

    def test_nothing_to_do(self) -> None:
        shown = self.table(*RECOVER, self.server)
        self.assertEqual('healthy', shown['result'])
        self.assertEqual('nothing to do', shown['detail'])
        self.assertEqual([], shown['steps'])

    def test_dry_run_changes_nothing(self) -> None:
        self.spoilt()
        before = len(self.requests)
        shown = self.table(*RECOVER, self.server, '--dry-run')
        self.assertEqual('planned', shown['result'])
        self.assertEqual(5, len(shown['steps']))
        self.assertEqual([], self.writes_of(before))
        record = self.migrations[-1]['uuid']
        actions = f'GET /servers/{self.server}/os-instance-actions'
        request = self.actions[self.server][0]['request_id']
        began = [actions, f'{actions}/{request}']
        asked = self.requests[before:]
        held = asked[-2:]
        self.assertCountEqual(
            [f'GET /allocations/{u}' for u in (self.server, record)], held
        )
        self.assertEqual(
            [
                f'GET /servers/{self.server}',
                'GET /resource_providers',
                'GET /allocation_candidates?resources=MEMORY_MB:1',
                'GET /os-hypervisors/detail',
                f'GET /os-migrations?instance_uuid={self.server}',
                f'GET /servers/{self.server}',
                *began,
                *began,
            ],
            asked[:-2],
        )

    def test_blocked(self) -> None:
        self.spoilt()
        self.add_gpu_server('other')
        for more in ((), ('--dry-run',)):
            result = self.openstack(*RECOVER, 'train', *more, '-f', 'json')
            self.assertEqual(1, result.status)
            shown = result.json
            self.assertEqual('blocked', shown['result'])
            self.assertEqual([], shown['steps'])
            self.assertIn('UPDATE migrations', shown['instructions'][0])
            self.assertIn('_resize', shown['leftover'][0])
            line = result.stderr.strip()
            self.assertEqual(1, len(line.splitlines()), line)
            self.assertIn('Server train is not healed: gpu1 has 1', line)

    def test_locked_by_somebody_else(self) -> None:
        self.spoilt()
        self.servers[self.server] |= {
            'locked': True,
            'locked_reason': 'mine',
        }
        before = len(self.requests)
        result = self.openstack(*RECOVER, 'train')
        self.assertEqual(1, result.status)
        self.assertIn(
            'is not healed: somebody has locked it: mine', result.stderr
        )
        shown = self.table(*RECOVER, 'train', '--dry-run')
        self.assertEqual('planned', shown['result'])
        self.assertEqual([], self.writes_of(before))
        shown = self.table(*RECOVER, 'train', '--force')
        self.assertEqual('recovered', shown['result'])
        self.assertEqual('mine', self.servers[self.server]['locked_reason'])

    def test_table(self) -> None:
        result = self.ok(*RECOVER, 'train')
        for field in ('id', 'diagnosis', 'instructions', 'leftover'):
            self.assertIn(f'| {field} ', result.stdout)


class TestRefused(TestCase):
    def test_before_anything(self) -> None:
        for argv, words in (
            ((), 'server'),
            (('',), 'is empty'),
            (('train', '--method', 'magic'), 'magic'),
            (('train', '--wait', '0'), 'from 1 to'),
            (('train', '--timeout', 'x'), 'whole number'),
        ):
            with self.subTest(argv):
                self.assertIn(words, self.fails(*RECOVER, *argv, status=2))
                self.assertEqual([], self.requests)

    def test_unknown(self) -> None:
        line = self.fails(*RECOVER, 'nobody')
        self.assertIn('nobody', line)

    def test_without_a_gpu(self) -> None:
        server = self.add_server('plain', host='gpu1', status='ERROR')
        line = self.fails(*RECOVER, 'plain')
        self.assertIn(f'openstack server event list {server}', line)

    def test_method(self) -> None:
        line = self.fails(*RECOVER, 'train', '--method', 'bounce')
        self.assertIn('Nothing was done. --method bounce', line)

    def test_no_right(self) -> None:
        self.disturb('GET /os-migrations', 403)
        self.disturb('GET /resource_providers', 403)
        before = len(self.requests)
        self.fails(*RECOVER, 'train')
        self.assertEqual([], self.writes_of(before))

    def test_interrupted(self) -> None:
        with mock.patch.object(
            recovery_run,
            'recover',
            autospec=True,
            side_effect=KeyboardInterrupt,
        ):
            line = self.fails(*RECOVER, 'train')
        self.assertIn('run the same command again', line)

    def test_progress_on_a_terminal_only(self) -> None:
        self.spoilt()
        said: list[Any] = []
        with mock.patch(
            'osc_gpu.v1.terminal.progress',
            autospec=True,
            return_value=said.append,
        ):
            self.table(*RECOVER, 'train')
        self.assertIn('train: stop', said)
