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

from osc_gpu.cloud import migration_records
from tests.unit.cloud import wire
from tests.unit import fake_cloud


class TestRead(fake_cloud.TestCase, wire.TestCase):
    def test_by_status(self):
        self.add_migration('s1', 'confirmed')
        first = self.add_migration('s1', 'finished')
        second = self.add_migration('s2', 'error', dest_compute=None)
        found = migration_records.read(
            self.conn, statuses=('finished', 'error'), at_once=1
        )
        self.assertEqual([first, second], [record.uuid for record in found])
        self.assertEqual(
            migration_records.MigrationRecord(
                uuid=second,
                status='error',
                kind='migration',
                server_id='s2',
                source='gpu1',
                target='',
                created_at='2026-11-21T06:00:03.000000',
                updated_at='2026-11-21T06:01:03.000000',
            ),
            found[1],
        )
        self.assertEqual(
            [
                'GET /os-migrations?status=error',
                'GET /os-migrations?status=finished',
            ],
            self.requests,
        )
        self.assertEqual(['2.59', '2.59'], self.microversions('compute'))

    def test_of_a_server(self):
        self.add_migration('s1', 'confirmed')
        self.add_migration('s2', 'confirmed')
        found = migration_records.read(self.conn, server_id='s1')
        self.assertEqual(['s1'], [record.server_id for record in found])
        self.assertEqual(
            ['GET /os-migrations?instance_uuid=s1'], self.requests
        )

    def test_of_a_host(self):
        self.add_migration('s1', 'confirmed')
        self.add_migration('s2', 'confirmed', source_compute='gpu3')
        self.add_migration('s3', 'error', dest_compute='gpu4')
        found = migration_records.read(self.conn, host='gpu2')
        self.assertEqual(['s1', 's2'], [r.server_id for r in found])
        self.assertEqual(['GET /os-migrations?host=gpu2'], self.requests)

    def test_pages(self):
        self.add_migration('s1', 'error')
        record = self.migrations[0]
        link = {'migrations_links': [{'rel': 'next', 'href': 'x'}]}
        self.cloud.get(
            f'{fake_cloud.base.COMPUTE}/os-migrations',
            [
                {'json': {'migrations': [record]} | link},
                {'json': {'migrations': [record | {'uuid': 'other'}]}},
            ],
        )
        found = migration_records.read(self.conn, statuses=['error'])
        self.assertEqual(2, len(found))
        self.assertEqual(
            f'GET /os-migrations?status=error&marker={record["uuid"]}',
            self.requests[1],
        )


class TestReadBegan(fake_cloud.TestCase, wire.TestCase):
    """Whether a failed migration left devices claimed (facts 4)."""

    def began(self, *events):
        record = migration_records.parse(self.migrations[0])
        self.actions[record.server_id] = []
        self.add_action(record.server_id, '2026-11-21T06:00:00')
        self.actions[record.server_id][0]['events'] = list(events)
        return migration_records.read_began(self.conn, record)

    def setUp(self):
        super().setUp()
        server = self.add_server('train', host='gpu1')
        self.add_migration(server, 'error')

    def test_source(self):
        self.assertTrue(self.began({'event': 'compute_resize_instance'}))
        self.assertEqual(['2.84', '2.84'], self.microversions('compute'))

    def test_claim(self):
        event = {'event': 'compute_prep_resize', 'result': 'Error'}
        none = 'Insufficient compute resources: Claim pci failed.'
        taken = 'Resource provider inventory and allocation data migration'
        self.assertFalse(self.began(event | {'details': none}))
        self.assertTrue(self.began(event | {'details': taken}))
        self.assertFalse(self.began(event | {'details': None}))
        self.assertFalse(self.began(event | {'result': 'Success'}))

    def test_nothing(self):
        self.assertFalse(self.began())
        self.actions.clear()
        record = migration_records.parse(self.migrations[0])
        self.assertFalse(migration_records.read_began(self.conn, record))
