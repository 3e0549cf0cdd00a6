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

from openstack import exceptions

from osc_gpu.cloud import marks
from osc_gpu.cloud import migration_records
from osc_gpu.cloud import migration_state as ms
from tests.unit.cloud import move_parts as parts
from tests.unit.cloud import wire
from tests.unit import fake_moves

BUSY = ('BUILD', 'RESIZE', 'REVERT_RESIZE', 'MIGRATING')
OTHER = ('PAUSED', 'SUSPENDED', 'RESCUE', 'REBUILD', 'REBOOT', 'DELETED', '')


class TestStand(unittest.TestCase):
    def check(self, stand: str, *args: object, **more: object) -> None:
        found = parts.server(*args, **more)  # type: ignore[arg-type]
        self.assertEqual(stand, parts.state(found).stand, (args, more))

    def test_statuses(self) -> None:
        for stand, statuses in (
            (ms.BUSY, BUSY),
            (ms.IDLE, ('ACTIVE', 'SHUTOFF')),
            (ms.ERROR, ('ERROR',)),
            (ms.UNCONFIRMED, ('VERIFY_RESIZE',)),
            (ms.SHELVED, ('SHELVED', 'SHELVED_OFFLOADED')),
            (ms.OTHER, OTHER),
        ):
            for status in statuses:
                self.check(stand, status)

    def test_a_task_is_under_way(self) -> None:
        for status in (
            'ACTIVE',
            'ERROR',
            'VERIFY_RESIZE',
            'SHELVED',
            'PAUSED',
        ):
            self.check(ms.BUSY, status, task='powering-off')

    def test_a_cell_does_not_answer(self) -> None:
        for status in ('UNKNOWN', 'ACTIVE'):
            self.check(ms.UNKNOWN, status, flavor=None)
            self.check(ms.UNKNOWN, status, flavor=None, task='x')

    def test_a_migration_is_under_way(self) -> None:
        for status in migration_records.IN_PROGRESS:
            for kind in ('migration', 'resize', 'live-migration'):
                found = parts.record(status, kind=kind)
                for stand in ('ACTIVE', 'VERIFY_RESIZE', 'ERROR'):
                    state = parts.state(parts.server(stand), found)
                    self.assertEqual(ms.BUSY, state.stand, found)

    def test_an_older_one_is_under_way(self) -> None:
        state = parts.state(
            None, parts.record('migrating'), parts.record('error', number=2)
        )
        self.assertEqual(ms.BUSY, state.stand)

    def test_an_evacuation_that_its_source_has_yet_to_see(self) -> None:
        for status in ('accepted', 'pre-migrating'):
            found = parts.record(status, kind='evacuation')
            self.assertEqual(ms.IDLE, parts.state(None, found).stand)

    def test_migrations_that_are_over(self) -> None:
        for status in ('finished', 'confirmed', 'reverted', 'error', 'failed'):
            state = parts.state(None, parts.record(status))
            self.assertEqual(ms.IDLE, state.stand)


class TestState(unittest.TestCase):
    def test_no_records(self) -> None:
        state = parts.state()
        self.assertIsNone(state.newest)
        self.assertEqual((), state.finished)
        self.assertEqual('gpu1', state.origin)

    def test_newest(self) -> None:
        records = [parts.record('error', number=n) for n in (1, 2)]
        self.assertEqual(records[1], parts.state(None, *records).newest)

    def test_finished(self) -> None:
        records = [
            parts.record('finished', number=1),
            parts.record('finished', kind='resize', number=2),
            parts.record('finished', kind='live-migration', number=3),
            parts.record('finished', kind='evacuation', number=4),
            parts.record('confirmed', number=5),
        ]
        state = parts.state(None, *records)
        self.assertEqual(tuple(records[:2]), state.finished)

    def test_mark(self) -> None:
        state = parts.state(parts.server(reason=parts.mark()))
        assert state.mark is not None
        self.assertEqual(marks.MIGRATE, state.mark.verb)
        for found in (
            parts.server(),
            parts.server(reason=''),
            parts.server(reason='do not touch'),
            # Nova keeps no reason of an unlocked server; yet if it did:
            parts.server(locked_reason=parts.mark()),
        ):
            self.assertIsNone(parts.state(found).mark)

    def test_has_left(self) -> None:
        for host, reason, left in (
            ('gpu1', parts.mark('gpu1'), False),
            ('gpu2', parts.mark('gpu1'), True),
            ('', parts.mark('gpu1'), False),
            ('gpu2', None, False),
            ('gpu2', 'do not touch', False),
        ):
            state = parts.state(parts.server(host=host, reason=reason))
            self.assertIs(left, state.has_left, (host, reason))

    def test_origin(self) -> None:
        for status, origin in (
            ('pre-migrating', 'gpu1'),
            ('post-migrating', 'gpu1'),
            ('confirming', 'gpu1'),
            ('finished', 'gpu1'),
            ('confirmed', 'gpu2'),
            ('reverted', 'gpu2'),
            ('error', 'gpu2'),
        ):
            found = parts.server(host='gpu2')
            state = parts.state(found, parts.record(status))
            self.assertEqual(origin, state.origin, status)


class TestRead(fake_moves.TestCase, wire.TestCase):
    def setUp(self) -> None:
        super().setUp()
        for name in ('gpu1', 'gpu2'):
            self.add_cards(self.add_host(name), 2)
        self.server = self.add_gpu_server('train')

    def test_requests(self) -> None:
        state = ms.read(self.conn, self.server)
        self.assertEqual(ms.IDLE, state.stand)
        self.assertEqual(
            [
                f'GET /os-migrations?instance_uuid={self.server}',
                f'GET /servers/{self.server}',
            ],
            self.requests,
        )

    def test_only_its_own_records(self) -> None:
        other = self.add_gpu_server('other')
        self.add_migration(other, 'finished')
        mine = self.add_migration(self.server, 'confirmed')
        state = ms.read(self.conn, self.server)
        self.assertEqual([mine], [r.uuid for r in state.records])

    def test_gone(self) -> None:
        with self.assertRaises(exceptions.NotFoundException):
            ms.read(self.conn, parts.ID)

    def test_whether_a_failed_one_began(self) -> None:
        failed = self.add_migration(self.server, 'error')
        self.add_action(
            self.server,
            '2026-11-21T06:00:01.000000',
            'compute_resize_instance',
        )
        state = ms.read(self.conn, self.server)
        self.assertEqual({failed: True}, state.began)
        self.assertEqual(4, len(self.requests))
        again = ms.read(self.conn, self.server, state.began)
        self.assertEqual(state.began, again.began)
        self.assertEqual(6, len(self.requests))

    def test_what_is_not_asked_of_others(self) -> None:
        self.add_migration(self.server, 'error', dest_compute=None)
        self.add_migration(self.server, 'error', dest_compute='gpu1')
        self.add_migration(
            self.server, 'error', migration_type='live-migration'
        )
        self.add_migration(self.server, 'confirmed')
        self.assertEqual({}, ms.read(self.conn, self.server).began)
        self.assertEqual(2, len(self.requests))

    def test_classes_that_the_user_says_are_gpus(self) -> None:
        flavor = self.servers[self.server]['flavor']
        flavor['extra_specs'] = {'resources:CUSTOM_THING': '1'}
        found = ms.read(self.conn, self.server).server
        self.assertFalse(found.gpu_request)
        found = ms.read(self.conn, self.server, also=('CUSTOM_THING',)).server
        self.assertTrue(found.gpu_request)

    def test_what_was_known_is_not_changed(self) -> None:
        self.add_migration(self.server, 'error')
        known: dict[str, bool] = {}
        ms.read(self.conn, self.server, known)
        self.assertEqual({}, known)

    def test_world(self) -> None:
        world = ms.read_world(self.conn)
        self.assertEqual(3, len(self.requests), self.requests)
        self.assertEqual(6, len(world.names))
        self.assertEqual(
            ['gpu1', 'gpu2'],
            sorted(h.host for h in world.hypervisors.values()),
        )
        self.assertEqual({}, world.servers)
        traits = {t for p in world.providers.values() for t in p.traits}
        self.assertEqual({'COMPUTE_MANAGED_PCI_DEVICE'}, traits)


class TestPoison(unittest.TestCase):
    def stale(self, *args: object, **more: object) -> list[str]:
        state = parts.state(*args, **more)  # type: ignore[arg-type]
        return sorted(ms.stale_hosts(parts.world(), state))

    def test_destination_failed(self) -> None:
        found = parts.server('ERROR', 'gpu2')
        self.assertEqual(['gpu1'], self.stale(found, parts.record('error')))

    def test_source_failed(self) -> None:
        for status in ('ERROR', 'ACTIVE'):
            found = parts.server(status, 'gpu1')
            began = {'m-1': True}
            self.assertEqual(
                ['gpu2'],
                self.stale(found, parts.record('error'), began=began),
            )

    def test_claim_failed(self) -> None:
        found = parts.server('ERROR', 'gpu1')
        self.assertEqual(
            [], self.stale(found, parts.record('error'), began={'m-1': False})
        )

    def test_reset_while_unconfirmed(self) -> None:
        found = parts.server('ACTIVE', 'gpu2')
        self.assertEqual(['gpu1'], self.stale(found, parts.record('finished')))

    def test_no_alias(self) -> None:
        found = parts.server('ERROR', 'gpu2', specs={'resources:VGPU': '1'})
        self.assertEqual([], self.stale(found, parts.record('error')))

    def test_unconfirmed_or_busy(self) -> None:
        for status, task in (('VERIFY_RESIZE', ''), ('ACTIVE', 'stopping')):
            found = parts.server(status, 'gpu2', task=task)
            self.assertEqual([], self.stale(found, parts.record('finished')))

    def test_several(self) -> None:
        found = parts.server('ERROR', 'gpu3')
        records = (
            parts.record('error', 'gpu1', 'gpu2', number=1),
            parts.record('error', 'gpu2', 'gpu3', number=2),
        )
        self.assertEqual(['gpu1', 'gpu2'], self.stale(found, *records))

    def test_snapshot(self) -> None:
        state = parts.state(None, parts.record('error'), began={'m-1': True})
        found = ms.snapshot(parts.world(), state)
        self.assertEqual({parts.ID: state.server}, found.servers)
        self.assertEqual(
            (state.records, {'m-1': True}), (found.records, found.began)
        )
