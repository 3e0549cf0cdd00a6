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

from osc_gpu.cloud import rest
from tests.unit import base
from tests.unit.cloud import wire

THINGS = f'{base.COMPUTE}/things'


class TestGet(wire.TestCase):
    def test_asks_as_told(self):
        self.cloud.get(THINGS, json={'things': [1]})
        found = rest.get(self.conn.compute, '/things', '2.53', {'a': 'b'})
        self.assertEqual({'things': [1]}, found)
        self.assertEqual(['GET /things?a=b'], self.requests)
        self.assertEqual(['2.53'], self.microversions('compute'))

    def test_refused(self):
        self.cloud.get(THINGS, status_code=403)
        with self.assertRaises(exceptions.ForbiddenException):
            rest.get(self.conn.compute, '/things')

    def test_no_json(self):
        self.cloud.get(THINGS, text='<html>')
        with self.assertRaisesRegex(
            exceptions.SDKException,
            'compute service answered GET /things with something',
        ):
            rest.get(self.conn.compute, '/things')


class TestPages(wire.TestCase):
    def pages(self, *answers, **more):
        self.cloud.get(THINGS, [{'json': answer} for answer in answers])
        return rest.pages(
            self.conn.compute, '/things', 'things', '2.53', {'a': 'b'}, **more
        )

    def test_to_the_end(self):
        link = {'things_links': [{'rel': 'next', 'href': 'http://elsewhere'}]}
        found = self.pages(
            {'things': [{'id': 1}, {'id': 2}]} | link,
            {'things': [{'id': 3}]} | link,
            {'things': [{'id': 4}]},
        )
        self.assertEqual([1, 2, 3, 4], [item['id'] for item in found])
        self.assertEqual(
            ['GET /things?a=b']
            + [f'GET /things?a=b&marker={n}' for n in (2, 3)],
            self.requests,
        )

    def test_marker(self):
        link = {'things_links': []}
        list(
            self.pages(
                {'things': [{'uuid': 'x'}]} | link,
                {'things': []} | link,
                marker='uuid',
            )
        )
        self.assertEqual('GET /things?a=b&marker=x', self.requests[-1])

    def test_asks_no_sooner_than_needed(self):
        link = {'things_links': []}
        found = self.pages({'things': [{'id': 1}]} | link, {'things': []})
        next(found)
        self.assertEqual(1, len(self.requests))
