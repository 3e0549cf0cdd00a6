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

from unittest import mock

from osc_lib import exceptions

from osc_gpu.cloud import gpu_hours
from osc_gpu.cloud import own_usage
from tests.unit import base
from tests.unit.cloud import wire
from tests.unit import fake_usage

OWN = base.PROJECT_ID
A100 = fake_usage.fake_cloud.A100
ODD = 'CUSTOM_ODD'
SCOPE = 'service_id=NOVA&region_id=RegionOne'


class TestCase(fake_usage.TestCase, wire.TestCase):
    """A tenant, who is not told on which hosts the servers are."""

    def setUp(self):
        super().setUp()
        root = self.add_host('gpu1')
        self.cards = self.add_cards(root, 4)
        (self.vgpus,) = self.add_vgpus(root, 16)

    def add_alias_server(self, name, *cards, resource_class=A100, **more):
        return self.add_server(
            name,
            {'pci_passthrough:alias': f'a100:{more.pop("count", 1)}'},
            *((card, {resource_class: 1}) for card in cards),
            **({'tenant_id': OWN} | more),
        )

    def add_vgpu_server(self, name, held=1, **more):
        return self.add_server(
            name,
            {'resources:VGPU': '1'},
            (self.vgpus, {'VGPU': held, 'VCPU': 1}),
            **({'tenant_id': OWN} | more),
        )


class TestRead(TestCase):
    def test_nothing(self):
        found = own_usage.read(self.conn)
        self.assertEqual(own_usage.OwnUsage(OWN, 0, {}, {}, {}), found)
        self.assertEqual(
            [
                'GET /servers/detail',
                f'GET /usages?project_id={OWN}',
                f'GET /registered_limits?{SCOPE}',
                f'GET /limits?{SCOPE}&project_id={OWN}',
            ],
            self.requests,
        )

    def test_used(self):
        self.add_vgpu_server('v1')
        self.add_alias_server('a1', *self.cards[:2], count=2)
        self.add_server('cpu', tenant_id=OWN)
        with self.assertNoLogs('osc_gpu', 'WARNING'):
            found = own_usage.read(self.conn)
        self.assertEqual(2, found.servers)
        self.assertEqual({'VGPU': 1, A100: 2}, found.used)

    def test_class_not_known_as_that_of_gpus(self):
        self.add_alias_server('a1', self.cards[0], resource_class=ODD)
        with self.assertLogs(own_usage.LOG, 'WARNING') as logs:
            found = own_usage.read(self.conn)
        self.assertEqual({'unknown': 1}, found.used)
        self.assertIn('1 GPUs that your servers request', logs.output[0])
        with self.assertNoLogs('osc_gpu', 'WARNING'):
            found = own_usage.read(self.conn, also=[ODD])
        self.assertEqual({ODD: 1}, found.used)

    def test_limits(self):
        self.register_limit('class:VGPU', 4)
        self.register_limit('class:PGPU', 1)
        self.register_limit('class:VCPU', 8)
        self.limit(OWN, 'class:VGPU', 2)
        self.limit(OWN, f'class:{A100}', 3)
        self.limit(OWN, f'class:{ODD}', 5)
        self.limit(fake_usage.LAB, 'class:CUSTOM_NVIDIA_11', 5)
        self.assertEqual(
            {A100: 3, 'PGPU': 1, 'VGPU': 2}, own_usage.read(self.conn).limits
        )
        self.assertEqual(
            {A100: 3, 'PGPU': 1, 'VGPU': 2, ODD: 5},
            own_usage.read(self.conn, also=[ODD]).limits,
        )

    def test_placement_refuses(self):
        self.add_vgpu_server('v1', held=2)
        self.add_alias_server('a1', self.cards[0])
        self.add_alias_server('a2', status='SHELVED_OFFLOADED')
        self.refuse(f'{base.PLACEMENT}/usages')
        with self.assertLogs(own_usage.LOG, 'WARNING') as logs:
            found = own_usage.read(self.conn)
        self.assertEqual({'VGPU': 1, 'unknown': 1}, found.used)
        self.assertEqual(1, len(logs.output))
        self.assertIn("your servers' flavors request", logs.output[0])

    def test_no_project(self):
        name = 'openstack.connection.Connection.current_project_id'
        with (
            mock.patch(name, None),
            self.assertRaisesRegex(exceptions.CommandError, 'for a project'),
        ):
            own_usage.read(self.conn)
        self.assertEqual([], self.requests)

    def test_hours(self):
        self.ran(self.add_alias_server('a1', count=2), 1.5, OWN)
        gone = self.add_vgpu_server('v1')
        self.ran(gone, 0.123, OWN)
        self.delete(gone)
        period = gpu_hours.Period(gpu_hours.parse_date('2026-11-01'))
        with self.assertLogs(own_usage.LOG, 'WARNING'):
            found = own_usage.read(self.conn, period=period)
        self.assertEqual({'VGPU': 0.12, 'a100': 3.0}, found.gpu_hours)
        start = 'start=2026-11-01T00:00:00'
        self.assertEqual(
            [
                'GET /servers/detail',
                f'GET /os-simple-tenant-usage/{OWN}?{start}',
                'GET /servers/detail?deleted=True&changes-since='
                '2026-11-01T00:00:00Z',
            ],
            self.requests[:3],
        )


class TestWithoutPlacement(TestCase):
    missing_services = frozenset(('placement',))

    def test_flavors_tell(self):
        self.add_vgpu_server('v1')
        with self.assertLogs(own_usage.LOG, 'WARNING'):
            found = own_usage.read(self.conn)
        self.assertEqual({'VGPU': 1}, found.used)


class TestJoin(TestCase):
    def join(self, counted):
        found = own_usage.servers.read_all(self.conn)
        return own_usage.join(found, counted)

    def test_twice_counted_vgpus_do_not_hide_less(self):
        self.add_vgpu_server('v1')
        self.add_alias_server('a1', count=3)
        self.assertEqual({'VGPU': 1, 'unknown': 3}, self.join({'VGPU': 1}))
        self.assertEqual(
            {'VGPU': 1, A100: 2, 'unknown': 1},
            self.join({'VGPU': 1, A100: 2, 'VCPU': 7}),
        )
        self.assertEqual({'VGPU': 1, A100: 4}, self.join({'VGPU': 1, A100: 4}))

    def test_servers_that_hold_nothing(self):
        for status in ('BUILD', 'ERROR', 'SHELVED_OFFLOADED'):
            self.add_alias_server(status, status=status)
        self.assertEqual({}, self.join({}))
        self.add_alias_server('off', status='SHUTOFF')
        self.assertEqual({'unknown': 1}, self.join({}))

    def test_missing_vgpus_are_not_unknown(self):
        self.add_vgpu_server('v1')
        self.assertEqual({}, self.join({}))
