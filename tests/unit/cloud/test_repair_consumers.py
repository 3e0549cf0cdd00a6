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

from openstack import exceptions
import requests

from osc_gpu.cloud import migration_records
from osc_gpu.cloud import repair_consumers
from tests.unit import base
from tests.unit.cloud import wire
from tests.unit import fake_cloud

A100 = fake_cloud.A100
STRANGER = '5' * 8 + '-aaaa-bbbb-cccc-' + '5' * 12


class TestCase(fake_cloud.TestCase, wire.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.root = self.add_host('gpu1')
        self.cards = self.add_cards(self.root, 4)
        self.homes = {'gpu1': [self.root, *self.cards]}

    def stranger(self, consumer: str = STRANGER, card: int = 0) -> str:
        self.placement.hold(consumer, self.cards[card], **{A100: 1})
        return consumer

    def moved(self, state: str, **server: Any) -> tuple[str, str]:
        """Add a server, and a migration of it that holds a card, too."""
        found = self.add_server(
            'moved', {}, (self.cards[1], {A100: 1}), host='gpu1', **server
        )
        migration = self.add_migration(found, state)
        return found, self.stranger(migration, 2)

    def remove(self, **servers: str) -> dict[str, str]:
        found = repair_consumers.remove(self.conn, servers, self.homes)
        return {c: outcome.text for c, outcome in found.items()}

    def is_kept(self, consumer: str) -> bool:
        return consumer in self.placement.allocations

    def keeps(self, words: str, consumer: str, server: str = '') -> None:
        found = repair_consumers.remove(
            self.conn, {consumer: server}, self.homes
        )
        self.assertFalse(found[consumer].is_done)
        self.assertIn(words, found[consumer].text)
        self.assertTrue(self.is_kept(consumer))
        self.assertEqual([], self.writes)

    @property
    def writes(self) -> list[str]:
        return [line for line in self.requests if line[:4] == 'PUT ']


class TestOrphan(TestCase):
    def test_removed(self) -> None:
        consumer = self.stranger()
        self.assertEqual({consumer: 'removed'}, self.remove(**{consumer: ''}))
        self.assertFalse(self.is_kept(consumer))

    def test_requests(self) -> None:
        self.remove(**{self.stranger(): ''})
        statuses = {*migration_records.IN_PROGRESS, 'finished'}
        self.assertEqual(f'GET /allocations/{STRANGER}', self.requests[0])
        self.assertEqual(
            sorted(f'GET /os-migrations?status={s}' for s in statuses),
            sorted(line.replace('+', ' ') for line in self.requests[1:-4]),
        )
        self.assertEqual(
            [
                f'GET /servers/{STRANGER}',
                f'GET /servers/detail?uuid={STRANGER}&all_tenants=True',
                f'GET /allocations/{STRANGER}',
                f'PUT /allocations/{STRANGER}',
            ],
            self.requests[-4:],
        )

    def test_shown_in_lists_only(self) -> None:
        server = self.add_server('s1', {}, (self.cards[0], {A100: 1}))
        self.cloud.get(
            f'{base.COMPUTE}/servers/{server}', status_code=404, json={}
        )
        self.keeps('it is a server', server)

    def test_of_a_server_that_is_gone(self) -> None:
        consumer = self.stranger()
        self.remove(**{consumer: 'f' * 36})
        self.assertFalse(self.is_kept(consumer))

    def test_many(self) -> None:
        found = {self.stranger(f'{n}' * 36, n): '' for n in range(4)}
        self.assertEqual({'removed'}, set(self.remove(**found).values()))
        self.assertEqual({}, self.placement.allocations)
        # Migration records are not read for each.
        lists = [line for line in self.requests if 'os-migrations' in line]
        self.assertEqual(11, len(lists))

    def test_none(self) -> None:
        self.assertEqual({}, self.remove())
        self.assertEqual([], self.requests)

    def test_gone_already(self) -> None:
        self.assertEqual(
            {STRANGER: 'nothing to do any more'},
            self.remove(**{STRANGER: ''}),
        )
        self.assertEqual([], self.writes)

    def test_is_a_server(self) -> None:
        server = self.add_server('s1', {}, (self.cards[0], {A100: 1}))
        self.keeps('it is a server', server)

    def test_of_another_service(self) -> None:
        self.placement.consumer_types[self.stranger()] = 'CYBORG'
        self.keeps('another service (CYBORG)', STRANGER)

    def test_of_nova_by_type(self) -> None:
        self.placement.consumer_types[self.stranger()] = 'MIGRATION'
        self.remove(**{STRANGER: ''})
        self.assertFalse(self.is_kept(STRANGER))

    def test_migration_under_way(self) -> None:
        for status in migration_records.IN_PROGRESS:
            self.migrations.clear()
            _server, migration = self.moved(status)
            self.keeps(f'busy ({status})', migration)

    def test_migration_of_a_server_that_goes(self) -> None:
        server, migration = self.moved('reverting')
        del self.servers[server]
        self.keeps('busy (reverting)', migration)


class TestLeaked(TestCase):
    def test_removed(self) -> None:
        for status in ('finished', 'error', 'confirmed'):
            server, migration = self.moved(status)
            self.assertEqual(
                {migration: 'removed'}, self.remove(**{migration: server})
            )
            self.assertFalse(self.is_kept(migration))
            self.assertTrue(self.is_kept(server))

    def test_not_confirmed_yet(self) -> None:
        server, migration = self.moved('finished', status='VERIFY_RESIZE')
        self.keeps('busy (VERIFY_RESIZE)', migration, server)
        # Also when it was taken for one without a server.
        self.keeps('busy (VERIFY_RESIZE)', migration)

    def test_busy(self) -> None:
        server, migration = self.moved(
            'error', **{'OS-EXT-STS:task_state': 'resize_prep'}
        )
        self.keeps('busy (resize_prep)', migration, server)

    def test_next_migration_under_way(self) -> None:
        server, migration = self.moved('finished')
        self.add_migration(server, 'pre-migrating')
        self.keeps('busy (pre-migrating)', migration, server)

    def test_server_has_nothing_else(self) -> None:
        server, migration = self.moved('error')
        del self.placement.allocations[server]
        self.keeps(
            'its server holds nothing else on its host', migration, server
        )
        self.servers[server]['status'] = 'SHELVED_OFFLOADED'
        self.remove(**{migration: server})
        self.assertFalse(self.is_kept(migration))

    def test_server_has_nothing_on_its_host(self) -> None:
        """Its migration failed to give back what it took there."""
        other = self.add_host('gpu2')
        server, migration = self.moved('error')
        self.placement.allocations[server] = {other: {'VCPU': 1}}
        self.keeps('nothing else on its host', migration, server)

    def test_begins_something(self) -> None:
        server, migration = self.moved('finished')

        def begin(request: Any, context: Any) -> str:
            self.servers[server]['status'] = 'RESIZE'
            return self.placement._write(request, context)

        self.cloud.put(f'{base.PLACEMENT}/allocations/{migration}', text=begin)
        self.assertEqual(
            'removed; busy (RESIZE): run again',
            self.remove(**{migration: server})[migration],
        )


class TestMeanwhile(TestCase):
    def put(self, consumer: str, answer: Any) -> None:
        url = f'{base.PLACEMENT}/allocations/{consumer}'
        self.cloud.put(url, text=answer)

    def test_conflict(self) -> None:
        left = [1] * 4

        def conflict(request: Any, context: Any) -> str:
            if left:
                left.pop()
                self.placement.touch(STRANGER)
            return self.placement._write(request, context)

        self.put(self.stranger(), conflict)
        self.assertEqual({STRANGER: 'removed'}, self.remove(**{STRANGER: ''}))
        self.assertEqual(5, len(self.writes))

    def test_judged_again(self) -> None:
        """A server comes to be between reading and writing."""

        def build(request: Any, context: Any) -> str:
            self.servers[STRANGER] = {'id': STRANGER, 'flavor': {}}
            self.placement.touch(STRANGER)
            return self.placement._write(request, context)

        self.put(self.stranger(), build)
        found = self.remove(**{STRANGER: ''})
        self.assertEqual({STRANGER: 'left alone: it is a server'}, found)
        self.assertTrue(self.is_kept(STRANGER))

    def test_always_in_conflict(self) -> None:
        self.put(
            self.stranger(),
            lambda r, context: self.placement._conflict(context),
        )
        found = self.remove(**{STRANGER: ''})
        self.assertIn('change all the time', found[STRANGER])
        self.assertEqual(5, len(self.writes))

    def test_one_does_not_keep_the_others(self) -> None:
        for answer, words in (
            ({'status_code': 500, 'text': 'oops'}, 'HTTP 500'),
            ({'status_code': 503}, 'HTTP 503'),
            ({'exc': requests.exceptions.ConnectionError('x')}, 'failed: '),
        ):
            good = self.stranger('9' * 36, 1)
            bad = self.stranger()
            self.cloud.put(f'{base.PLACEMENT}/allocations/{bad}', **answer)
            found = self.remove(**{bad: '', good: ''})
            self.assertIn(words, found[bad])
            self.assertEqual('removed', found[good])
            self.assertTrue(self.is_kept(bad))

    def test_done_but_not_answered(self) -> None:
        def lose(request: Any, context: Any) -> str:
            self.placement._write(request, context)
            raise requests.exceptions.ConnectionError('cut')

        self.put(self.stranger(), lose)
        self.assertEqual({STRANGER: 'removed'}, self.remove(**{STRANGER: ''}))

    def test_nova_does_not_answer(self) -> None:
        with mock.patch.dict(self.servers):
            self.cloud.get(
                f'{base.COMPUTE}/servers/{self.stranger()}', status_code=503
            )
            self.keeps('HTTP 503', STRANGER)

    def test_no_right_to_write(self) -> None:
        found = {self.stranger(f'{n}' * 36, n): '' for n in range(4)}
        for consumer in found:
            self.cloud.put(
                f'{base.PLACEMENT}/allocations/{consumer}', status_code=403
            )
        with self.assertRaises(exceptions.ForbiddenException):
            self.remove(**found)
        self.assertEqual(1, len(self.writes))
