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

import signal
import threading
from typing import Any
from unittest import mock

import requests

from osc_gpu.cloud import migration
from osc_gpu.cloud import move_methods
from osc_gpu.cloud import moving
from osc_gpu.cloud import moving_lanes
from osc_gpu.cloud import recovery_run
from osc_gpu.cloud import repair_excess
from osc_gpu.v1 import move_columns
from osc_gpu.v1 import server_migrate
from tests.unit import base
from tests.unit import fake_moves

A100 = fake_moves.A100
COLD = 'its devices are not said to move while it runs'
MIGRATE = ('gpu', 'server', 'migrate')
SOME = {'VCPU': 1, 'MEMORY_MB': 128}


class TestCase(fake_moves.TestCase):
    """Two hosts with two cards each, and a server on the first."""

    def setUp(self) -> None:
        super().setUp()
        self.nova.add('g1', fake_moves.ALIAS)
        for name in ('gpu1', 'gpu2'):
            self.add_cards(self.add_host(name), 2)
        self.server = self.add_gpu_server('train')

    def refused(self, *argv: str) -> str:
        """Run a command that must be refused before the first change."""
        text = self.fails(*MIGRATE, *argv)
        self.assertNotIn('\n', text)
        self.assertEqual([], self.writes)
        return text

    def failed(self, *argv: str) -> tuple[list[Any], str]:
        """Run a command that shows its table, and then fails."""
        result = self.openstack(*MIGRATE, *argv, '-f', 'json')
        self.assertEqual(1, result.status, result)
        self.assertNotIn('Traceback', result.stderr)
        return result.json, result.stderr.strip()


class TestMigrate(TestCase):
    def test_table(self) -> None:
        result = self.ok(*MIGRATE, 'train')
        header, row = (
            [cell.strip() for cell in line.strip('|').split('|')]
            for line in result.stdout.splitlines()
            if line.startswith('|')
        )
        self.assertEqual(list(move_columns.COLUMNS), header)
        self.assertEqual(
            [self.server, 'train', 'gpu1', 'gpu2', 'cold', 'migrated'], row[:6]
        )
        self.assertEqual(COLD, row[7])

    def test_json(self) -> None:
        (row,) = self.table(*MIGRATE, self.server, '--host', 'gpu2')
        self.assertIsInstance(row.pop('Duration'), float)
        self.assertEqual(
            {
                'ID': self.server,
                'Name': 'train',
                'From Host': 'gpu1',
                'To Host': 'gpu2',
                'Method': 'cold',
                'Result': 'migrated',
                'Detail': COLD,
            },
            row,
        )
        self.assertEqual('gpu2', self.host_of(self.server))
        self.assertFalse(self.servers[self.server]['locked'])

    def test_several(self) -> None:
        second = self.add_gpu_server('second')
        rows = self.table(*MIGRATE, 'second', 'train', '--parallel', '2')
        self.assertEqual({second, self.server}, {row['ID'] for row in rows})
        self.assertEqual({'migrated'}, {row['Result'] for row in rows})
        self.assertEqual({'gpu2'}, set(map(self.host_of, self.servers)))

    def test_double_is_repaired(self) -> None:
        self.doubles = True
        with mock.patch.object(
            repair_excess.time,
            'monotonic',
            autospec=True,
            side_effect=range(0, 10**6, 50),
        ):
            self.table(*MIGRATE, 'train', '--wait', '1', '--timeout', '99999')
        cards = [
            card
            for card, held in self.placement.allocations[self.server].items()
            if A100 in held
        ]
        self.assertEqual(list(self.used[self.server]), cards)

    def test_no_confirm(self) -> None:
        """Both commands that it names go on, and leave nothing behind."""
        migrate = [*MIGRATE, self.server]
        revert = [
            *('gpu', 'server', 'recover', '--method', 'revert'),
            self.server,
        ]
        self.doubles = True
        for number, host in ((1, 'gpu1'), (0, 'gpu2')):
            (row,) = self.table(*MIGRATE, 'train', '--no-confirm')
            self.assertEqual('unconfirmed', row['Result'])
            self.assertEqual(
                'VERIFY_RESIZE', self.servers[self.server]['status']
            )
            self.assertTrue(self.servers[self.server]['locked'])
            text = row['Detail'].split('go on with: ')[1]
            named = [command.split() for command in text.split(', or ')]
            self.assertEqual(
                [['openstack', *migrate], ['openstack', *revert]], named
            )
            with mock.patch.object(
                repair_excess.time,
                'monotonic',
                autospec=True,
                side_effect=range(0, 10**6, 50),
            ):
                more = ('--wait', '1', '--timeout', '99999')
                self.ok(*named[number][1:], *more)
            self.assertEqual(host, self.host_of(self.server))
            self.assertEqual('ACTIVE', self.servers[self.server]['status'])
            self.assertFalse(self.servers[self.server]['locked'])
            held = self.placement.allocations[self.server].values()
            self.assertEqual(1, sum(A100 in each for each in held))

    def test_methods(self) -> None:
        for method in (move_methods.SHELVE, move_methods.LIVE):
            source = self.host_of(self.server)
            (row,) = self.table(*MIGRATE, 'train', '--method', method)
            self.assertEqual(
                (method, 'migrated', source),
                (row['Method'], row['Result'], row['From Host']),
            )
            self.assertNotEqual(source, self.host_of(self.server))

    def test_force(self) -> None:
        self.servers[self.server] |= {'locked': True, 'locked_reason': 'mine'}
        self.assertIn('locked it: mine', self.refused('train'))
        (row,) = self.table(*MIGRATE, 'train', '--force')
        self.assertEqual('migrated', row['Result'])
        self.assertEqual('mine', self.servers[self.server]['locked_reason'])

    def test_resource_class(self) -> None:
        for host in ('gpu1', 'gpu2'):
            self.placement.provider(
                f'{host}_thing', self.root_of(host), CUSTOM_THING=1
            )
        self.add_server(
            'thing',
            {'resources:CUSTOM_THING': '1'},
            (self.root_of('gpu1'), SOME),
            host='gpu1',
        )
        self.assertIn('has no GPU', self.refused('thing'))
        (row,) = self.table(
            *MIGRATE, 'thing', '--resource-class', 'CUSTOM_THING', '--dry-run'
        )
        self.assertEqual('gpu2', row['To Host'])


class TestDryRun(TestCase):
    def test_dry_run(self) -> None:
        (row,) = self.table(*MIGRATE, 'train', '--dry-run')
        self.assertEqual(
            {
                'ID': self.server,
                'Name': 'train',
                'From Host': 'gpu1',
                'To Host': 'gpu2',
                'Method': 'cold',
                'Result': 'would migrate',
                'Duration': None,
                'Detail': COLD,
            },
            row,
        )
        self.assertEqual([], self.writes)
        self.assertFalse([r for r in self.requests if r[:4] != 'GET '])

    def test_it_refuses_the_same(self) -> None:
        self.servers[self.server]['status'] = 'PAUSED'
        self.assertIn('PAUSED', self.refused('train', '--dry-run'))


class TestFailures(TestCase):
    def test_no_valid_host(self) -> None:
        self.spoil(self.server, 'no valid host')
        (row,), text = self.failed('train')
        self.assertEqual(
            ('failed', '', 'gpu1'),
            (row['Result'], row['To Host'], row['From Host']),
        )
        self.assertIn('No valid host was found.', row['Detail'])
        self.assertEqual('1 of 1 servers failed to move', text)
        self.assertFalse(self.servers[self.server]['locked'])

    def test_poisoned(self) -> None:
        self.add_gpu_server('second')
        self.spoil(self.server, 'destination')
        rows, text = self.failed('train', 'second')
        self.assertEqual(
            ['poisoned', 'not begun'], [row['Result'] for row in rows]
        )
        self.assertIn(f'recover {self.server}', rows[0]['Detail'])
        self.assertEqual('2 of 2 servers failed to move', text)
        self.assertTrue(self.servers[self.server]['locked'])

    def test_one_of_two(self) -> None:
        self.add_gpu_server('second')
        self.spoil(self.server, 'no valid host')
        rows, text = self.failed('train', 'second')
        self.assertEqual(
            ['failed', 'migrated'], [row['Result'] for row in rows]
        )
        self.assertEqual('1 of 2 servers failed to move', text)

    def test_recover(self) -> None:
        self.spoil(self.server, 'destination')
        done = mock.Mock(is_healed=True, detail='bounced')
        done.server.id = self.server
        done.server.name, done.server.host = 'train', 'gpu2'
        with mock.patch.object(
            recovery_run, 'recover', autospec=True, return_value=done
        ) as recover:
            (row,) = self.table(*MIGRATE, 'train', '--recover', '--wait', '7')
        self.assertEqual('recovered', row['Result'])
        self.assertTrue(row['Detail'].endswith('; bounced; it is on gpu2'))
        self.assertEqual(7, recover.call_args.kwargs['wait'])

    def test_recover_and_go_on(self) -> None:
        """Who can be recovered is no reason to leave the others."""
        self.add_gpu_server('second')
        self.spoil(self.server, 'destination')
        done = mock.Mock(is_healed=False, detail='cannot be')
        done.server.id = self.server
        done.server.name, done.server.host = 'train', 'gpu1'
        with mock.patch.object(
            recovery_run, 'recover', autospec=True, return_value=done
        ):
            rows, _text = self.failed('train', 'second', '--recover')
        self.assertEqual(
            ['poisoned', 'migrated'], [row['Result'] for row in rows]
        )

    def test_timeout(self) -> None:
        with mock.patch.object(
            migration.time,
            'monotonic',
            autospec=True,
            side_effect=range(0, 10**6, 7),
        ):
            (row,), _text = self.failed('train', '--timeout', '20')
        self.assertEqual('timed out', row['Result'])
        self.assertIn('run again', row['Detail'])
        (row,) = self.table(*MIGRATE, 'train')
        self.assertEqual('migrated', row['Result'])

    def test_one_that_is_deleted_meanwhile(self) -> None:
        def lock(server: Any, body: Any) -> fake_moves.Steps:
            del self.servers[self.server]
            yield from ()

        with mock.patch.object(self, '_lock', lock):
            (row,) = self.table(*MIGRATE, 'train')
        self.assertEqual(('gone', 'train'), (row['Result'], row['Name']))

    def test_unconfirmed_unasked(self) -> None:
        order = mock.Mock(source='gpu1')
        found = migration.Outcome(order, mock.Mock(), 'unconfirmed')
        self.assertEqual(
            '1 of 1 servers failed to move',
            move_columns.failed([found], 'migrated'),
        )

    def test_cloud_fails_before_the_first_change(self) -> None:
        for path in ('/allocation_candidates', '/os-migrations', '/servers'):
            for answer in (500, requests.ConnectionError('cut')):
                # Older clients try again once what was cut.
                self.disturb(f'GET {path}', answer, times=9)
                self.refused('train')
                self.faults.clear()


class TestRefused(TestCase):
    """Bad input: refused with its reason, and nothing has moved."""

    def test_unknown_server(self) -> None:
        for name in ('nobody', '0' * 8 + '-0000-0000-0000-' + '0' * 12):
            text = self.refused('train', name)
            self.assertIn(f"'{name}' could be found", text)

    def test_unknown_host(self) -> None:
        text = self.refused('train', '--host', 'nowhere')
        self.assertIn("No compute service host named 'nowhere'", text)

    def test_no_gpu(self) -> None:
        plain = self.add_server('plain', host='gpu1')
        self.assertIn(
            f'use openstack server migrate {plain}', self.refused('plain')
        )

    def test_task_in_progress(self) -> None:
        self.servers[self.server][fake_moves.TASK] = 'rebuilding'
        self.assertIn('(rebuilding); wait for its end', self.refused('train'))

    def test_hosts(self) -> None:
        for host, change, words in (
            ('gpu1', {}, 'it is on gpu1 already'),
            ('gpu2', {'state': 'down'}, 'gpu2 is down'),
            ('gpu2', {'status': 'disabled'}, 'gpu2 is disabled'),
        ):
            hypervisor = self._hypervisor(host)
            before = dict(hypervisor)
            hypervisor.update(change)
            self.assertIn(words, self.refused('train', '--host', host))
            hypervisor.update(before)

    def test_no_capacity(self) -> None:
        for card in self._free(self.root_of('gpu2'), A100):
            self.placement.fill(card)
        self.assertIn('no room', self.refused('train', '--host', 'gpu2'))
        self.assertIn('no room', self.refused('train'))

    def test_another_model(self) -> None:
        self.add_cards(self.add_host('gpu9'), 2, 'CUSTOM_PCI_10DE_1EB8')
        self.assertIn('no room', self.refused('train', '--host', 'gpu9'))

    def test_error(self) -> None:
        self.servers[self.server]['status'] = 'ERROR'
        text = self.refused('train')
        self.assertIn(f'openstack gpu server recover {self.server}', text)

    def test_tenant(self) -> None:
        message = (
            "Policy doesn't allow placement:allocation_candidates:list to be "
            'performed.'
        )
        self.cloud.get(
            f'{base.PLACEMENT}/allocation_candidates',
            status_code=403,
            json={'errors': [{'status': 403, 'detail': message}]},
        )
        self.assertIn(
            'You lack the right placement:allocation_candidates:list',
            self.refused('train'),
        )

    def test_arguments(self) -> None:
        for argv, words in (
            ((), '<server>'),
            (('',), 'argument <server>: is empty'),
            (('train', '--host', ''), '--host'),
            (('train', '--method', 'magic'), '--method'),
            (('train', '--parallel', '0'), '--parallel'),
            (('train', '--parallel', '33'), '--parallel'),
            (('train', '--timeout', '0'), '--timeout'),
            (('train', '--timeout', 'x'), '--timeout'),
            (('train', '--wait', '-1'), '--wait'),
        ):
            with self.subTest(argv):
                text = self.fails(*MIGRATE, *argv, status=2)
                self.assertIn(words, text)
        self.assertEqual([], self.requests)


class TestInterrupt(TestCase):
    def test_interrupt(self) -> None:
        with mock.patch.object(
            moving_lanes, 'move', autospec=True, side_effect=KeyboardInterrupt
        ):
            text = self.fails(*MIGRATE, 'train')
        self.assertEqual(
            'Interrupted: what Nova has begun goes on, and servers under way '
            'stay locked; run the same command again to see it through',
            text,
        )

    def test_signals(self) -> None:
        """Nothing is broken off, and the next run goes on."""
        self.heed_ctrl_c()
        for number in (signal.SIGTERM, signal.SIGINT):
            source = self.host_of(self.server)

            def pause(run: Any, seconds: float, number: int = number) -> None:
                main = threading.main_thread().ident
                assert main is not None
                signal.pthread_kill(main, number)
                self.assertTrue(run.stopped.wait(60))

            with mock.patch.object(migration.Run, 'pause', pause):
                text = self.fails(*MIGRATE, 'train')
            self.assertIn('Interrupted', text)
            self.assertEqual('RESIZE', self.servers[self.server]['status'])
            self.assertTrue(self.servers[self.server]['locked'])
            self.table(*MIGRATE, 'train')
            self.assertNotEqual(source, self.host_of(self.server))
            self.assertFalse(self.servers[self.server]['locked'])


class TestParser(TestCase):
    def test_parser_is_pure(self) -> None:
        parser = server_migrate.MigrateServer(mock.Mock(), None).get_parser(
            'x'
        )
        parsed = parser.parse_args(['train'])
        self.assertEqual(
            (1, 1800, moving.WAIT, None, None, False),
            (
                parsed.parallel,
                parsed.timeout,
                parsed.wait,
                parsed.host,
                parsed.method,
                parsed.force,
            ),
        )
        self.assertEqual([], self.requests)
