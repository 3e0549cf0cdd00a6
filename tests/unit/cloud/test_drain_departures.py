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
import unittest

from osc_gpu.cloud import drain_departures
from osc_gpu.cloud import migration_records
from tests.unit.cloud import drain_case
from tests.unit.cloud import move_parts

SINCE = drain_case.NOW


def record(
    at: str, target: str = 'gpu2', kind: str = 'migration', **more: Any
) -> migration_records.MigrationRecord:
    known = {
        'uuid': f'm-{at}',
        'status': 'confirmed',
        'kind': kind,
        'server_id': 'one',
        'source': 'gpu1',
        'target': target,
        'created_at': f'2026-11-21T{at}.000000',
        'updated_at': '',
    }
    return migration_records.MigrationRecord(**(known | more))


def action(name: str, at: str, request: str) -> dict[str, Any]:
    return {
        'action': name,
        'start_time': f'2026-11-21T{at}.000000',
        'request_id': request,
    }


def event(name: str, host: str) -> dict[str, Any]:
    return {'event': name, 'host': host, 'start_time': 'then'}


class TestRules(unittest.TestCase):
    def targets(
        self, *records: migration_records.MigrationRecord
    ) -> dict[str, str]:
        found = drain_departures.newest(records, SINCE)
        return {key: departure.target for key, departure in found.items()}

    def test_the_last_departure_counts(self) -> None:
        self.assertEqual(
            {'one': 'gpu3'},
            self.targets(record('09:00:00', 'gpu3'), record('08:00:00')),
        )

    def test_the_second_of_the_drain_itself_counts(self) -> None:
        self.assertEqual({'one': 'gpu2'}, self.targets(record('06:30:00')))
        self.assertEqual({}, self.targets(record('06:29:59')))

    def test_what_was_somebody_elses_wish_does_not(self) -> None:
        self.assertEqual(
            {},
            self.targets(
                record('08:00:00', kind='resize'),
                record('08:00:00', kind='evacuation'),
                record('08:00:00', 'gpu1'),
            ),
        )

    def test_who_may_be_shelved(self) -> None:
        found = [
            move_parts.server(id='plain', name='plain', specs={}, host='gpu2'),
            move_parts.server(id='gpu', name='gpu', host='gpu2'),
            move_parts.server(id='volume', name='v', host='gpu2', image=''),
            move_parts.server(id='known', host='gpu2'),
            move_parts.server(id='home', host='gpu1'),
            move_parts.server(id='gone', host=''),
        ]
        self.assertEqual(
            ['plain', 'gpu', 'volume'],
            [
                server.id
                for server in drain_departures.may_be_shelved(
                    found, 'gpu1', ('known',)
                )
            ],
        )

    def test_shelved_and_unshelved_since(self) -> None:
        actions = [
            action('unshelve', '09:30:00', 'd'),
            action('unshelve', '09:00:00', 'c'),
            action('reboot', '08:30:00', 'x'),
            action('shelve', '08:00:00', 'b'),
            action('shelve', '06:00:00', 'a'),
        ]
        self.assertEqual(('b', 'd'), drain_departures.shelving(actions, SINCE))
        self.assertIsNone(drain_departures.shelving(actions[3:], SINCE))
        self.assertIsNone(drain_departures.shelving(actions[:1], SINCE))

    def test_shelved_on_the_host(self) -> None:
        shelved = event('compute_shelve_instance', 'gpu1')
        unshelved = event('compute_unshelve_instance', 'gpu2')
        found = drain_departures.shelved_departure(
            'one', [shelved, unshelved], 'gpu1'
        )
        self.assertEqual(
            drain_departures.Departure('one', 'gpu2', 'then'), found
        )
        for events, host in (
            ([shelved, unshelved], 'gpu3'),
            ([shelved], 'gpu1'),
            ([unshelved], 'gpu1'),
            ([shelved, event('compute_unshelve_instance', 'gpu1')], 'gpu1'),
        ):
            self.assertIsNone(
                drain_departures.shelved_departure('one', events, host)
            )


class TestRead(drain_case.TestCase):
    def departed(self) -> dict[str, str]:
        found = drain_departures.read(self.conn, 'gpu1', SINCE)
        names = {key: self.servers[key]['name'] for key in found}
        return {names[key]: d.target for key, d in found.items()}

    def test_migrated_live_and_shelved(self) -> None:
        for name, method in (('a', 'cold'), ('b', 'live'), ('c', 'shelve')):
            server = self.plain_server(name)
            self.move(server, target='gpu2', method=method)
        self.plain_server('d', 'gpu2')
        before = len(self.requests)
        self.assertEqual(dict.fromkeys('abc', 'gpu2'), self.departed())
        # Three lists, the actions of c, and two of these.
        self.assertEqual(6, len(self.requests) - before)

    def test_all_that_changed_are_looked_at(self) -> None:
        self.move(
            self.plain_server('shelved'),
            target='gpu2',
            method='shelve',
        )
        for number in range(310):
            server = self.plain_server(f's{number}', host='vgpu2')
            self.servers[server]['updated'] = SINCE
        last = self.plain_server('last')
        self.move(last, target='gpu2', method='shelve')
        self.assertEqual({'shelved', 'last'}, set(self.departed()))

    def test_gone_meanwhile(self) -> None:
        self.move(self.plain_server('a'), target='gpu2', method='shelve')
        self.disturb('os-instance-actions', 404)
        self.assertEqual({}, self.departed())
