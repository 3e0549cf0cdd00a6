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

from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import gpu_hours
from osc_gpu.cloud import hypervisors
from osc_gpu.cloud import limits
from osc_gpu.cloud import placement
from osc_gpu.cloud import usage
from tests.unit.cloud import wire
from tests.unit import fake_usage
from tests.unit.fake_usage import LAB
from tests.unit.fake_usage import SHOP

A100 = fake_usage.fake_cloud.A100
ODD = 'CUSTOM_ODD'
SCOPE = 'service_id=NOVA&region_id=RegionOne'
LAST = [
    f'GET /registered_limits?{SCOPE}',
    f'GET /limits?{SCOPE}',
    'GET /projects',
]


def alias(request):
    return {'pci_passthrough:alias': request}


class TestByClass(fake_usage.TestCase):
    def test_by_class(self):
        request = extra_specs.parse(
            alias('one:2,two:1,none:4') | {'resources:VGPU': '1'}
        )
        classes = {
            'one': frozenset([A100]),
            'two': frozenset([A100, ODD]),
            'other': frozenset([ODD]),
        }
        self.assertEqual(
            {'VGPU': 1, A100: 2, usage.UNKNOWN: 5},
            usage.by_class(request, classes),
        )

    def test_alias_of_a_class_that_is_requested_as_well(self):
        request = extra_specs.parse(alias('one:2') | {'resources:VGPU': '1'})
        self.assertEqual(
            {'VGPU': 3},
            usage.by_class(request, {'one': frozenset(['VGPU'])}),
        )


class TestCase(fake_usage.TestCase, wire.TestCase):
    """A host with cards, one with vGPUs, one that reports no PCI device."""

    def setUp(self):
        super().setUp()
        self.gpu1 = self.add_host('gpu1.example', service='gpu1')
        self.cards = self.add_cards(self.gpu1, 4)
        self.vgpu1 = self.add_host('vgpu1')
        (self.vgpus,) = self.add_vgpus(self.vgpu1, 16)
        self.off1 = self.add_host('off1')

    def add_alias_server(
        self, name, request, *cards, resource_class=A100, **more
    ):
        held = [(card, {resource_class: 1}) for card in cards]
        more = {'host': 'gpu1', 'tenant_id': LAB} | more
        return self.add_server(name, alias(request), *held, **more)

    def add_vgpu_server(self, name, tenant_id=LAB):
        return self.add_server(
            name,
            {'resources:VGPU': '1'},
            (self.vgpu1, {'VCPU': 1, 'MEMORY_MB': 128}),
            (self.vgpus, {'VGPU': 1}),
            host='vgpu1',
            tenant_id=tenant_id,
        )

    def read(self, **kwargs):
        return [
            (u.project, u.resource_class, u.used, u.servers, u.requested)
            for u in usage.read(self.conn, **kwargs)
        ]


class TestRead(TestCase):
    def test_nothing(self):
        self.add_server('cpu')
        self.assertEqual([], self.read())
        self.assertEqual(
            ['GET /servers/detail?all_tenants=True', *LAST], self.requests
        )

    def test_projects_and_classes(self):
        self.add_vgpu_server('v1')
        self.add_vgpu_server('v2')
        self.add_vgpu_server('v3', SHOP)
        server = self.add_alias_server('a1', 'a100:2', *self.cards[:2])
        self.assertEqual(
            [
                ('lab', A100, 2, 1, 2),
                ('lab', 'VGPU', 2, 2, 2),
                ('shop', 'VGPU', 1, 1, 1),
            ],
            self.read(at_once=1),
        )
        self.assertEqual(
            [
                'GET /servers/detail?all_tenants=True',
                'GET /resource_providers',
                'GET /os-hypervisors/detail',
                f'GET /allocations/{server}',
                f'GET /usages?project_id={LAB}',
                f'GET /usages?project_id={SHOP}',
                *LAST,
            ],
            self.requests,
        )
        self.assertIn('1.9', self.microversions('placement'))

    def test_leaks_and_moves_count_as_quotas_count_them(self):
        self.add_alias_server('a1', 'a100:1', *self.cards[:2])
        self.placement.hold('migration', self.cards[2], **{A100: 1})
        self.placement.owners['migration'] = (LAB, 'u' * 32)
        self.assertEqual([('lab', A100, 3, 1, 1)], self.read())

    def test_class_that_is_only_known_from_servers(self):
        # Also from those that are stopped.
        self.add_alias_server(
            'a1',
            'odd:1',
            self.cards[0],
            resource_class=ODD,
            status='SHUTOFF',
        )
        self.assertEqual([('lab', ODD, 1, 1, 1)], self.read())

    def test_servers_looked_at_are_few_and_active(self):
        for number in range(5):
            self.add_alias_server(f'off{number}', 'a100:1', status='SHUTOFF')
        self.add_alias_server('on', 'a100:1', self.cards[0])
        self.assertEqual([('lab', A100, 1, 6, 6)], self.read())
        asked = [r for r in self.requests if r.startswith('GET /allocations')]
        self.assertEqual(3, len(asked))

    def test_aliases_that_cannot_be_told_apart(self):
        self.placement.stock(self.cards[1], **{ODD: 1})
        self.add_server(
            'both',
            alias('one:1,two:1'),
            (self.cards[0], {A100: 1}),
            (self.cards[1], {ODD: 1}),
            host='gpu1',
            tenant_id=LAB,
        )
        self.assertEqual(
            [
                ('lab', ODD, 1, 0, 0),
                ('lab', A100, 1, 0, 0),
                ('lab', 'unknown', 0, 1, 2),
            ],
            self.read(),
        )

    def test_server_on_no_host(self):
        self.add_alias_server(
            'gone', 'a100:1', host='', status='SHELVED_OFFLOADED'
        )
        with self.assertNoLogs('osc_gpu', 'WARNING'):
            self.assertEqual([('lab', 'unknown', 0, 1, 1)], self.read())

    def test_outside_placement(self):
        self.add_alias_server('in', 'a100:1', self.cards[0])
        self.add_alias_server('out1', 'a100:2', host='off1')
        self.add_alias_server('out2', 'a100:1', host='vgpu1', tenant_id=SHOP)
        with self.assertLogs(usage.LOG, 'WARNING') as logs:
            found = self.read()
        self.assertEqual(
            [
                ('lab', A100, 1, 1, 1),
                ('lab', 'unknown', 2, 1, 2),
                ('shop', 'unknown', 1, 1, 1),
            ],
            found,
        )
        asked = [r for r in self.requests if r.startswith('GET /allocations')]
        self.assertEqual(1, len(asked))
        (line,) = logs.output
        self.assertIn('Placement: off1, vgpu1. 3 GPUs that 2 servers', line)

    def test_few_hosts_are_named(self):
        for number in range(6):
            self.add_alias_server(f's{number}', 'a100:1', host=f'h{number}')
        with self.assertLogs(usage.LOG, 'WARNING') as logs:
            self.read()
        self.assertIn('h0, h1, h2, h3, h4, .... 6 GPUs', logs.output[0])

    def test_vgpus_beside_aliases_outside_placement(self):
        self.add_server(
            'both',
            alias('a100:1') | {'resources:VGPU': '1'},
            (self.vgpus, {'VGPU': 1}),
            host='vgpu1',
            tenant_id=LAB,
        )
        with self.assertLogs(usage.LOG, 'WARNING'):
            found = self.read()
        self.assertEqual(
            [('lab', 'VGPU', 1, 1, 1), ('lab', 'unknown', 1, 1, 1)], found
        )

    def test_only_classes(self):
        self.add_vgpu_server('v1')
        self.add_alias_server('a1', 'a100:1', self.cards[0])
        self.assertEqual([('lab', 'VGPU', 1, 1, 1)], self.read(also=['VGPU']))
        self.assertEqual([], self.read(also=['CUSTOM_NONE']))

    def test_class_that_the_user_names(self):
        self.add_server(
            's', {f'resources:{ODD}': '1'}, (self.vgpus, {ODD: 1}),
            tenant_id=LAB,
        )  # fmt: skip
        self.assertEqual([], self.read())
        self.assertEqual([('lab', ODD, 1, 1, 1)], self.read(also=[ODD]))

    def test_one_project(self):
        self.add_vgpu_server('v1')
        self.add_vgpu_server('v2', SHOP)
        self.assertEqual(
            [('Lab', 'VGPU', 1, 1, 1)], self.read(project=(LAB, 'Lab'))
        )
        self.assertEqual(
            [
                f'GET /servers/detail?project_id={LAB}&all_tenants=True',
                f'GET /usages?project_id={LAB}',
                f'GET /registered_limits?{SCOPE}',
                f'GET /limits?{SCOPE}&project_id={LAB}',
            ],
            self.requests,
        )

    def test_one_project_without_servers_shows_its_leaks(self):
        self.placement.hold('leak', self.vgpus, VGPU=2)
        self.placement.owners['leak'] = (LAB, 'u' * 32)
        self.assertEqual(
            [('lab', 'VGPU', 2, 0, 0)], self.read(project=(LAB, 'lab'))
        )

    def test_names_are_not_shown(self):
        self.add_vgpu_server('v1')
        self.refuse(f'{fake_usage.base.AUTH_URL}/projects')
        self.assertEqual([(LAB, 'VGPU', 1, 1, 1)], self.read())

    def test_project_that_is_gone(self):
        self.add_vgpu_server('v1', 'f' * 32)
        self.assertEqual([('f' * 32, 'VGPU', 1, 1, 1)], self.read())

    def test_limits(self):
        self.add_vgpu_server('v1')
        self.add_vgpu_server('v2', SHOP)
        self.add_alias_server('a1', 'a100:1', self.cards[0])
        self.register_limit('class:VGPU', 4)
        self.limit(SHOP, 'class:VGPU', 1)
        found = usage.read(self.conn)
        self.assertEqual([None, 4, 1], [row.limit for row in found])


class TestHours(TestCase):
    period = gpu_hours.Period(gpu_hours.parse_date('2026-11-01'))

    def read(self):
        return [
            (u.project, u.resource_class, u.used, u.gpu_hours)
            for u in usage.read(self.conn, period=self.period)
        ]

    def test_by_gpus(self):
        self.ran(self.add_alias_server('a1', 'a100:2', *self.cards[:2]), 1.5)
        self.ran(self.add_alias_server('a2', 'a100:1', self.cards[2]), 0.333)
        self.ran(self.add_server('cpu', tenant_id=LAB), 9.0)
        self.assertEqual([('lab', A100, 3, 3.33)], self.read())
        self.assertEqual(
            'GET /os-simple-tenant-usage?start=2026-11-01T00:00:00&detailed=1',
            self.requests[1],
        )
        self.assertFalse([r for r in self.requests if 'changes' in r])

    def test_deleted_servers_of_a_project_without_others(self):
        server = self.add_vgpu_server('v1', SHOP)
        self.ran(server, 2.0, SHOP)
        self.delete(server)
        self.assertEqual([('shop', 'VGPU', 0, 2.0)], self.read())
        self.assertIn(f'GET /usages?project_id={SHOP}', self.requests)
        self.assertIn('all_tenants=True', self.requests[2])

    def test_deleted_server_of_an_alias(self):
        server = self.add_alias_server('a1', 'a100:1', self.cards[0])
        self.ran(server, 2.0)
        self.delete(server)
        self.assertEqual([('lab', 'unknown', 0, 2.0)], self.read())
        # Its class is known as soon as another server tells.
        self.add_alias_server('a2', 'a100:1', self.cards[0])
        self.assertEqual([('lab', A100, 1, 2.0)], self.read())


class TestJoin(TestCase):
    def test_two_projects_of_one_name(self):
        facts = usage.Facts(
            (),
            {SHOP: {'VGPU': 2}, LAB: {'VGPU': 1, 'VCPU': 4}},
            usage.Devices(),
            limits.Limits({}, {}),
            {LAB: 'same', SHOP: 'same'},
        )
        self.assertEqual(
            [(LAB, 'same', 1), (SHOP, 'same', 2)],
            [(u.project_id, u.project, u.used) for u in usage.join(facts)],
        )


class TestOutsidePlacement(TestCase):
    def test_host_that_nova_does_not_list(self):
        self.add_alias_server('a1', 'a100:1', host='nowhere')
        names = placement.read_names(self.conn)
        found = usage.servers.read_all(self.conn, all_tenants='True')
        hosts = hypervisors.read(self.conn)
        self.assertEqual(
            {found[0].id}, usage.outside_placement(found, hosts, names)
        )
        self.assertEqual(
            {found[0].id}, usage.outside_placement(found, {}, names)
        )
