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

from osc_gpu.cloud import host_aggregates
from tests.unit.cloud import wire
from tests.unit import fake_cloud


class TestRead(fake_cloud.TestCase, wire.TestCase):
    def test_read(self):
        self.add_aggregate('rack', ['gpu2', 'gpu1'], gpu='a100')
        self.add_aggregate('zone', [], availability_zone='az1')
        rack, zone = host_aggregates.read(self.conn)
        self.assertEqual(
            host_aggregates.Aggregate(
                'rack', ('gpu1', 'gpu2'), {'gpu': 'a100'}
            ),
            rack,
        )
        self.assertFalse(rack.is_zone)
        self.assertTrue(zone.is_zone)
        self.assertEqual(['GET /os-aggregates'], self.requests)

    def test_none(self):
        self.assertEqual((), host_aggregates.read(self.conn))

    def test_values(self):
        self.add_aggregate('a', ['gpu1', 'gpu2'], gpu='a100')
        self.add_aggregate('b', ['gpu1'], gpu='v100', rack='1')
        self.assertEqual(
            {
                'gpu1': {
                    'gpu': frozenset(['a100', 'v100']),
                    'rack': frozenset(['1']),
                },
                'gpu2': {'gpu': frozenset(['a100'])},
            },
            host_aggregates.values(host_aggregates.read(self.conn)),
        )
