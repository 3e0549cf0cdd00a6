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

from osc_gpu.cloud import alias_classes
from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import flavors
from osc_gpu.cloud import placement
from osc_gpu.cloud import servers
from tests.unit.cloud import wire
from tests.unit import fake_cloud

A100 = fake_cloud.A100
V100 = 'CUSTOM_PCI_10DE_1DB6'


class TestCase(fake_cloud.TestCase, wire.TestCase):
    pass


class TestRead(TestCase):
    def learn(self):
        names = placement.read_names(self.conn)
        found = flavors.list_flavors(self.conn)
        del self.cloud.request_history[:]
        return alias_classes.read(self.conn, found, names, at_once=1)

    def test_one_alias(self):
        root = self.add_host('gpu1')
        (card,) = self.add_cards(root, 1)
        self.nova.add('g1', {'pci_passthrough:alias': 'a100:1'})
        self.nova.add('cpu', {})
        server = self.add_server(
            's1',
            {'pci_passthrough:alias': 'a100:1'},
            (root, {'VCPU': 1}),
            (card, {A100: 1}),
        )
        self.assertEqual({'a100': frozenset([A100])}, self.learn())
        self.assertEqual(
            [
                'GET /servers/detail?flavor=id-g1&status=ACTIVE'
                '&status=SHUTOFF&status=PAUSED&status=SUSPENDED'
                '&status=RESCUE&status=VERIFY_RESIZE'
                '&all_tenants=True&limit=3',
                f'GET /allocations/{server}',
            ],
            self.requests,
        )

    def test_servers_that_tell_nothing(self):
        root = self.add_host('gpu1')
        cards = self.add_cards(root, 2)
        (other,) = self.add_cards(self.add_host('gpu2'), 1, V100)
        specs = {'pci_passthrough:alias': 'a100:1'}
        self.nova.add('g1', specs)
        for number in range(alias_classes.MOST_SERVERS):
            self.add_server(f'failed{number}', specs, status='ERROR')
        # It already holds what the flavor that it gets asks for.
        self.add_server('moved', specs, (other, {V100: 1}), status='RESIZE')
        self.assertEqual({}, self.learn())
        self.add_server('off', specs, (cards[0], {A100: 1}), status='SHUTOFF')
        self.assertEqual({'a100': frozenset([A100])}, self.learn())

    def test_those_that_run_come_first(self):
        root = self.add_host('gpu1')
        cards = self.add_cards(root, 1)
        specs = {'pci_passthrough:alias': 'a100:1'}
        for number in range(alias_classes.MOST_SERVERS + 1):
            self.add_server(f'off{number}', specs, status='SHUTOFF')
        on = self.add_server('on', specs, (cards[0], {A100: 1}))
        found = servers.read_all(self.conn)
        del self.cloud.request_history[:]
        samples = alias_classes.sample(self.conn, found, at_once=1)
        self.assertEqual(alias_classes.MOST_SERVERS, len(samples))
        self.assertEqual(f'GET /allocations/{on}', self.requests[0])

    def test_nobody_runs(self):
        self.nova.add('g1', {'pci_passthrough:alias': 'a100:1'})
        self.assertEqual({}, self.learn())


class TestLearn(TestCase):
    def setUp(self):
        super().setUp()
        root = self.add_host('gpu1')
        self.one, self.two = self.add_cards(root, 2)
        (self.mdev,) = self.add_vgpus(root, 4)
        self.names = placement.read_names(self.conn)

    def sample(self, alias, held, **specs):
        request = extra_specs.parse({'pci_passthrough:alias': alias} | specs)
        return alias_classes.Sample(request, held)

    def learn(self, *samples):
        return alias_classes.learn(samples, self.names)

    def test_second_alias_by_the_first(self):
        both = self.sample(
            'a:1,b:1', {self.one: {A100: 1}, self.two: {V100: 1}}
        )
        one = self.sample('a:1', {self.one: {A100: 1}})
        self.assertEqual({}, self.learn(both))
        self.assertEqual(
            {'a': frozenset([A100]), 'b': frozenset([V100])},
            self.learn(both, one),
        )

    def test_alias_of_several_products(self):
        found = self.learn(
            self.sample('a:1', {self.one: {A100: 1}}),
            self.sample('a:1', {self.two: {V100: 1}}),
        )
        self.assertEqual({'a': frozenset([A100, V100])}, found)

    def test_vgpus_and_asked_classes_are_not_the_alias(self):
        held = {self.one: {A100: 1}, self.mdev: {'VGPU': 1}}
        sample = self.sample('a:1', held, **{f'resources:{A100}': '1'})
        self.assertEqual({}, self.learn(sample))

    def test_pci_devices_not_in_placement(self):
        self.assertEqual({}, self.learn(self.sample('a:1', {})))
