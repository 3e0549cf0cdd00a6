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

from openstack import exceptions

from osc_gpu.cloud import allocations
from tests.unit.cloud import wire
from tests.unit import fake_cloud

A100 = fake_cloud.A100


class TestAllocations(fake_cloud.TestCase, wire.TestCase):
    def setUp(self):
        super().setUp()
        self.root = self.add_host('gpu1')
        self.one, self.two = self.add_cards(self.root, 2)
        self.server = self.add_server(
            's1', {}, (self.one, {A100: 1}), (self.two, {A100: 1})
        )

    def test_read(self):
        self.assertEqual(
            allocations.Allocations(
                consumer=self.server,
                held={self.one: {A100: 1}, self.two: {A100: 1}},
                generation=1,
                project_id=fake_cloud.PROJECT,
                user_id='u' * 32,
            ),
            allocations.read(self.conn, self.server),
        )
        self.assertEqual(['1.38'], self.microversions('placement'))

    def test_of_nobody(self):
        found = allocations.read(self.conn, 'nobody')
        self.assertEqual(allocations.Allocations('nobody', {}), found)

    def test_of_another_service(self):
        self.placement.consumer_types[self.server] = 'RESERVATION'
        found = allocations.read(self.conn, self.server)
        self.assertEqual('RESERVATION', found.kind)

    def test_write(self):
        before = allocations.read(self.conn, self.server)
        left = {self.one: {A100: 1}}
        self.assertTrue(allocations.write(self.conn, before, left))
        self.assertEqual(left, self.placement.allocations[self.server])
        request = self.cloud.request_history[-1]
        self.assertEqual(
            {
                'allocations': {self.one: {'resources': {A100: 1}}},
                'consumer_generation': 1,
                'project_id': fake_cloud.PROJECT,
                'user_id': 'u' * 32,
            },
            request.json(),
        )
        self.assertEqual('1.37', self.microversions('placement')[-1])

    def test_together(self):
        other = self.add_server('s2', {}, host='gpu1')
        self.placement.owners[other] = (fake_cloud.PROJECT, 'u' * 32)
        own, others = (
            allocations.read(self.conn, uuid) for uuid in (self.server, other)
        )
        url = f'{fake_cloud.base.PLACEMENT}/allocations'
        for status, code, done in (
            (204, '', True),
            (409, 'placement.concurrent_update', False),
        ):
            self.cloud.post(
                url, status_code=status, json={'errors': [{'code': code}]}
            )
            changes = [(own, {}), (others, own.held)]
            self.assertIs(done, allocations.write_together(self.conn, changes))
        body = self.cloud.request_history[-1].json()
        self.assertEqual({self.server, other}, body.keys())
        self.assertEqual({}, body[self.server]['allocations'])
        self.assertEqual(
            (1, None),
            tuple(
                body[uuid]['consumer_generation']
                for uuid in (self.server, other)
            ),
        )
        self.assertEqual('1.37', self.microversions('placement')[-1])

    def test_nothing_left(self):
        before = allocations.read(self.conn, self.server)
        self.assertTrue(allocations.write(self.conn, before, {}))
        self.assertNotIn(self.server, self.placement.allocations)

    def test_changed_meanwhile(self):
        before = allocations.read(self.conn, self.server)
        self.placement.touch(self.server)
        self.assertFalse(allocations.write(self.conn, before, {}))
        self.assertIn(self.server, self.placement.allocations)

    def test_refused(self):
        before = allocations.read(self.conn, self.server)
        self.cloud.put(
            f'{fake_cloud.base.PLACEMENT}/allocations/{self.server}',
            status_code=409,
            json={'errors': [{'code': 'placement.undefined_code'}]},
        )
        with self.assertRaises(exceptions.ConflictException):
            allocations.write(self.conn, before, {})
