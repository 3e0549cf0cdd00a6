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

from osc_gpu.cloud import capacity_reading
from osc_gpu.cloud import flavor_checks
from tests.unit import base
from tests.unit.cloud import wire
from tests.unit import fake_aliases
from tests.unit import fake_cloud

A100 = fake_cloud.A100
KEY = 'pci_passthrough:alias'


class TestCase(fake_cloud.TestCase, wire.TestCase):
    def setUp(self):
        super().setUp()
        self.aliases = fake_aliases.FakeAliases(self.nova, self.cloud)
        self.aliases.defined = {'a100', 'b'}
        self.gpu1 = self.add_host('gpu1')
        self.cards = self.add_cards(self.gpu1, 2)
        self.vgpu1 = self.add_host('vgpu1')
        self.add_vgpus(self.vgpu1, 4)

    def add_flavor(self, name, specs, **more):
        sizes = {'vcpus': 1, 'ram': 128, 'disk': 1}
        return self.nova.add(name, specs, **(sizes | more))

    def read(self, *names, **more):
        return [
            (found.subject, found.severity, found.check)
            for found in flavor_checks.read(
                self.conn, names, at_once=1, **more
            )
        ]


class TestRead(TestCase):
    def test_clean(self):
        self.add_flavor('one', {KEY: 'a100:1'})
        self.add_flavor('vgpu', {'resources:VGPU': '1'})
        self.add_flavor('cpu', {})
        self.assertEqual([], self.read())

    def test_pinned_cpus(self):
        # Nova pins VCPUs of hosts that have no PCPU.
        specs = {'resources:VGPU': '1', 'hw:cpu_policy': 'dedicated'}
        self.add_flavor('pinned', specs)
        self.assertEqual([], self.read())

    def test_nothing_to_check(self):
        self.add_flavor('cpu', {})
        self.assertEqual([], self.read())
        self.assertEqual(['GET /flavors/detail?is_public=None'], self.requests)

    def test_requests_of_a_clean_cloud(self):
        for number in range(20):
            self.add_flavor(f'vgpu{number}', {'resources:VGPU': '1'})
        self.add_flavor('one', {KEY: 'a100:1'})
        self.read()
        self.assertEqual(
            [
                'GET /flavors/detail?is_public=None',
                'GET /resource_providers',
                'GET /servers/detail?flavor=id-one&status=ACTIVE'
                '&status=SHUTOFF&status=PAUSED&status=SUSPENDED'
                '&status=RESCUE&status=VERIFY_RESIZE'
                '&all_tenants=True&limit=3',
                'GET /allocation_candidates?resources=MEMORY_MB:1',
                'GET /os-hypervisors/detail',
            ],
            self.requests[:5],
        )
        # What capacity_reading asks for each class and amount.
        self.assertEqual(
            [
                'GET /v2/images?status=active&size_min=1&sort=size:asc'
                '&limit=1',
                'POST /servers',
            ],
            [r for r in self.requests[5:] if '?resources=' not in r],
        )

    def test_all_findings_by_flavor(self):
        self.add_flavor('zero', {KEY: 'a100:0'})
        self.add_flavor('nope', {KEY: 'nope:1'})
        self.add_flavor('many', {KEY: 'a100:3'})
        self.add_flavor('large', {KEY: 'a100:1'}, ram=4096)
        self.add_flavor('class', {'resources:CUSTOM_GPU_X': '1'})
        self.add_flavor(
            'trait', {'resources:VGPU': '1', 'trait:CUSTOM_X': 'required'}
        )
        self.assertEqual(
            [
                ('class', 'error', 'unknown-class'),
                ('large', 'error', 'never-fits'),
                ('many', 'error', 'too-many'),
                ('nope', 'error', 'undefined-alias'),
                ('trait', 'error', 'unknown-trait'),
                ('zero', 'error', 'zero-alias'),
            ],
            self.read(),
        )

    def test_also(self):
        specs = {'resources:CUSTOM_X': '1'}
        self.add_flavor('x', specs)
        self.assertEqual([], self.read())
        self.assertEqual(
            [('x', 'error', 'unknown-class')], self.read(also=['CUSTOM_X'])
        )

    def test_names(self):
        self.add_flavor('zero', {KEY: 'a100:0'})
        self.add_flavor('nope', {KEY: 'nope:1'})
        self.add_flavor('cpu', {})
        expected = [
            ('cpu', 'info', 'no-gpu'),
            ('nope', 'error', 'undefined-alias'),
        ]
        self.assertEqual(expected, self.read('nope', 'cpu', 'id-nope'))
        self.assertEqual(expected[:1], self.read('id-cpu'))

    def test_an_id_goes_before_a_name(self):
        self.add_flavor('id-two', {KEY: 'nope:1'}, id='one')
        self.add_flavor('two', {}, id='id-two')
        self.assertEqual([('two', 'info', 'no-gpu')], self.read('id-two'))

    def test_unknown_name(self):
        with self.assertRaisesRegex(
            exceptions.CommandError, "Flavor 'g9' could not be found"
        ):
            self.read('g9')
        self.assertEqual(['GET /flavors/detail?is_public=None'], self.requests)

    def test_servers_that_run_do_not_spoil_it(self):
        specs = {KEY: 'a100:2'}
        self.add_flavor('two', specs)
        held = [(card, {A100: 1}) for card in self.cards]
        self.add_server(
            's1', specs, (self.gpu1, {'MEMORY_MB': 1024}), *held, host='gpu1'
        )
        self.hypervisors[0]['state'] = 'down'
        self.assertEqual([], self.read())


class TestLearnMore(TestCase):
    V100 = 'CUSTOM_PCI_10DE_1DB6'

    def setUp(self):
        super().setUp()
        self.add_cards(self.add_host('gpu2'), 1, self.V100)
        self.add_flavor('one', {KEY: 'a100:1'})
        specs = {KEY: 'a100:1', f'resources:{A100}': '1'}
        self.add_flavor('both', specs)

    def test_from_servers_of_another_flavor(self):
        self.add_server(
            's1',
            {KEY: 'a100:1'},
            (self.cards[0], {A100: 1}),
            host='gpu1',
            flavor={
                'original_name': 'one',
                'extra_specs': {KEY: 'a100:1'},
            },
        )
        self.assertEqual(
            [('both', 'error', 'alias-and-class')], self.read('both')
        )
        asked = [r for r in self.requests if 'flavor=id-' in r]
        self.assertEqual(2, len(asked))

    def test_from_nobody(self):
        self.assertEqual(
            [('both', 'error', 'class-without-alias')], self.read('both')
        )


class TestProbes(TestCase):
    def test_another_flavor_is_probed(self):
        self.add_flavor('one', {KEY: 'a100:1'})
        self.add_flavor('two', {KEY: 'nope:1,a100:1'})
        with self.assertNoLogs('osc_gpu.cloud.flavor_checks', 'WARNING'):
            found = self.read('two')
        self.assertIn(('two', 'error', 'undefined-alias'), found)

    def test_unknown(self):
        self.aliases.images = []
        self.add_flavor('one', {KEY: 'a100:1,b:1'})
        with self.assertLogs('osc_gpu.cloud.flavor_checks') as logs:
            self.assertEqual([], self.read())
        self.assertEqual(
            [
                'WARNING:osc_gpu.cloud.flavor_checks:Whether Nova knows '
                'a100, b cannot be told: There is no active image to probe '
                'with'
            ],
            logs.output,
        )

    def test_malformed_is_not_unknown(self):
        self.add_flavor('one', {KEY: 'a100:x'})
        with self.assertNoLogs('osc_gpu.cloud.flavor_checks', 'WARNING'):
            found = self.read()
        self.assertEqual([('one', 'error', 'malformed-alias')], found)
        self.assertNotIn('POST /servers', self.requests)


class TestNuma(TestCase):
    def setUp(self):
        super().setUp()
        self.hypervisors[0]['cpu_info'] = {'topology': {'cells': 2}}

    def test_it(self):
        self.add_flavor('two', {KEY: 'a100:2'})
        self.assertEqual([('two', 'warning', 'numa-policy')], self.read())
        self.assertEqual(1, self.requests.count('GET /os-hypervisors/detail'))


class TestRootIsNotRead(TestCase):
    def test_whether_it_fits_is_not_known(self):
        self.add_flavor('one', {KEY: 'a100:1'})
        full = {'MEMORY_MB': 1024, 'VCPU': 8, 'DISK_GB': 100}
        self.placement.hold('someone', self.gpu1, **full)
        self.assertEqual([], self.read())
        with mock.patch.object(
            capacity_reading, '_read_roots', autospec=True, return_value=()
        ):
            self.assertEqual([], self.read())


class TestNotAllIsShown(TestCase):
    """A host without devices that has nothing left hides from Placement."""

    def setUp(self):
        super().setUp()
        self.cpu1 = self.add_host('cpu1', traits=('CUSTOM_X',))
        full = {'MEMORY_MB': 1024, 'VCPU': 8, 'DISK_GB': 100}
        self.placement.hold('someone', self.cpu1, **full)

    def answer(self, path, status, body):
        return self.cloud.get(
            f'{base.PLACEMENT}{path}', status_code=status, json=body
        )

    def test_class_that_does_not_exist(self):
        asked = self.answer('/resource_classes/CUSTOM_GPU_X', 404, {})
        self.add_flavor('g1', {'resources:CUSTOM_GPU_X': '1'})
        self.assertEqual([('g1', 'error', 'unknown-class')], self.read())
        self.assertEqual(1, asked.call_count)

    def test_class_that_exists(self):
        self.answer('/resource_classes/CUSTOM_GPU_X', 200, {})
        self.add_flavor('g1', {'resources:CUSTOM_GPU_X': '1'})
        self.assertEqual([('g1', 'warning', 'unknown-class')], self.read())

    def test_trait_that_a_hidden_host_has(self):
        self.answer(
            '/resource_providers?required=CUSTOM_X',
            200,
            {'resource_providers': [{}]},
        )
        specs = {'resources:VGPU': '1', 'trait:CUSTOM_X': 'required'}
        self.add_flavor('g1', specs)
        self.assertEqual([('g1', 'error', 'never-fits')], self.read())

    def test_trait_that_nobody_has(self):
        for status, body in ((200, {'resource_providers': []}), (400, {})):
            with self.subTest(status=status):
                self.answer(
                    '/resource_providers?required=CUSTOM_X', status, body
                )
                specs = {'resources:VGPU': '1', 'trait:CUSTOM_X': 'required'}
                self.add_flavor('g1', specs)
                self.assertEqual(
                    [('g1', 'error', 'unknown-trait')], self.read()
                )

    def test_name_that_is_no_trait(self):
        specs = {'resources:VGPU': '1', 'trait:x,y': 'required'}
        self.add_flavor('g1', specs)
        self.assertEqual([('g1', 'error', 'unknown-trait')], self.read())
