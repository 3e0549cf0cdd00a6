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

from osc_gpu.cloud import hypervisors
from tests.unit.cloud import wire
from tests.unit import fake_cloud


class TestRead(fake_cloud.TestCase, wire.TestCase):
    def test_read(self):
        one = self.add_host('gpu1.example', service='gpu1')
        self.hypervisors[0]['cpu_info'] = {'topology': {'cells': 2}}
        two = self.add_host('gpu2')
        self.hypervisors[1] |= {
            'state': 'down',
            'status': 'disabled',
            'service': {'host': 'gpu2', 'disabled_reason': 'fan'},
            'cpu_info': '',
        }
        self.assertEqual(
            {
                one: hypervisors.Hypervisor(
                    one, 'gpu1.example', 'gpu1', numa_nodes=2
                ),
                two: hypervisors.Hypervisor(
                    two, 'gpu2', 'gpu2', False, False, 'fan'
                ),
            },
            hypervisors.read(self.conn),
        )
        self.assertEqual(['GET /os-hypervisors/detail'], self.requests)
        self.assertEqual(['2.53'], self.microversions('compute'))

    def test_with_servers(self):
        root = self.add_host('gpu1', service='svc')
        self.add_host('gpu2')
        ids = [self.add_server(name, {}, host='svc') for name in 'ab']
        found = hypervisors.read(self.conn, with_servers=True)
        self.assertEqual(tuple(ids), found[root].servers)
        self.assertEqual(
            [(), ()],
            [h.servers for h in hypervisors.read(self.conn).values()],
        )
        self.assertEqual(
            [
                'GET /os-hypervisors/detail?with_servers=True',
                'GET /os-hypervisors/detail',
            ],
            self.requests,
        )

    def test_pages(self):
        self.add_host('gpu1')
        first = self.hypervisors[0]
        link = {'hypervisors_links': [{'rel': 'next', 'href': 'x'}]}
        self.cloud.get(
            f'{fake_cloud.base.COMPUTE}/os-hypervisors/detail',
            [
                {'json': {'hypervisors': [first]} | link},
                {'json': {'hypervisors': [first | {'id': 'other'}]}},
            ],
        )
        self.assertEqual(2, len(hypervisors.read(self.conn)))
        self.assertEqual(
            f'GET /os-hypervisors/detail?marker={first["id"]}',
            self.requests[1],
        )
