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

from osc_gpu.cloud import limits
from tests.unit import base
from tests.unit.cloud import wire
from tests.unit import fake_usage
from tests.unit.fake_usage import LAB
from tests.unit.fake_usage import SHOP


class TestRead(fake_usage.TestCase, wire.TestCase):
    def test_project_before_registered(self):
        self.register_limit('class:VGPU', 8)
        self.register_limit('class:PGPU', -1)
        self.limit(LAB, 'class:VGPU', 2)
        found = limits.read(self.conn)
        self.assertEqual(
            (2, 8, -1, None),
            (
                found.of(LAB, 'VGPU'),
                found.of(SHOP, 'VGPU'),
                found.of(LAB, 'PGPU'),
                found.of(LAB, 'CUSTOM_A'),
            ),
        )
        scope = 'service_id=NOVA&region_id=RegionOne'
        self.assertEqual(
            [f'GET /registered_limits?{scope}', f'GET /limits?{scope}'],
            self.requests,
        )

    def test_zero_is_a_limit(self):
        self.register_limit('class:VGPU', 8)
        self.limit(LAB, 'class:VGPU', 0)
        self.assertEqual(0, limits.read(self.conn).of(LAB, 'VGPU'))

    def test_others_are_left_out(self):
        self.register_limit('servers', 10)
        self.limit(LAB, 'servers', 10)
        self.limit(None, 'class:VGPU', 3)
        self.assertEqual(({}, {}), limits.read(self.conn))

    def test_one_project(self):
        self.limit(LAB, 'class:VGPU', 2)
        self.limit(SHOP, 'class:VGPU', 3)
        found = limits.read(self.conn, LAB)
        self.assertEqual({(LAB, 'VGPU'): 2}, found.projects)
        self.assertTrue(
            self.requests[1].endswith(f'&project_id={LAB}'), self.requests
        )

    def test_refused(self):
        for refused in ('registered_limits', 'limits'):
            for status in (403, 404, 500):
                with (
                    self.subTest(refused, status=status),
                    self.assertLogs(limits.LOG, 'WARNING') as logs,
                ):
                    self.refuse(f'{base.AUTH_URL}/{refused}', status)
                    self.assertEqual(({}, {}), limits.read(self.conn))
                self.assertIn('Limits cannot be seen: ', logs.output[0])


class TestWithoutNova(TestRead):
    """A catalogue without Nova asks for the limits of any service."""

    missing_services = frozenset(('compute',))

    def test_project_before_registered(self):
        limits.read(self.conn)
        self.assertEqual(
            ['GET /registered_limits', 'GET /limits'], self.requests
        )

    def test_one_project(self):
        limits.read(self.conn, LAB)
        self.assertEqual(
            ['GET /registered_limits', f'GET /limits?project_id={LAB}'],
            self.requests,
        )
