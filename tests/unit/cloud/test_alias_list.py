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


from osc_lib import exceptions

from osc_gpu.cloud import alias_list
from tests.unit.cloud import wire
from tests.unit import fake_aliases
from tests.unit import fake_cloud

A100 = fake_cloud.A100
KEY = 'pci_passthrough:alias'


class TestCase(fake_cloud.TestCase, wire.TestCase):
    def setUp(self):
        super().setUp()
        self.aliases = fake_aliases.FakeAliases(self.nova, self.cloud)

    def add_flavor(self, name, value):
        return self.nova.add(name, {KEY: value})

    @property
    def probed(self):
        return [
            request.json()['server']['flavorRef']
            for request in self.cloud.request_history
            if request.method == 'POST' and request.url.endswith('/servers')
        ]


class TestRead(TestCase):
    def setUp(self):
        super().setUp()
        self.aliases.defined = {'a'}
        root = self.add_host('gpu1')
        self.add_host('gpu2')
        one, two = self.add_cards(root, 2)
        self.add_flavor('one', 'a:1')
        self.add_flavor('two', 'a:2,b:1')
        self.nova.add('cpu')
        self.add_server('s1', {KEY: 'a:1'}, (one, {A100: 1}), host='gpu1')
        self.add_server(
            's2',
            {KEY: 'a:1'},
            (two, {A100: 1}),
            host='gpu1',
            tenant_id='other',
        )
        self.add_server('s3', {}, host='gpu2')

    def read(self, **more):
        return {
            found.name: found for found in alias_list.read(self.conn, **more)
        }

    def test_all(self):
        found = self.read()
        self.assertEqual(['a', 'b'], list(found))
        self.assertEqual(
            alias_list.Alias(
                'a',
                True,
                'Nova knows it',
                (A100,),
                ('NVIDIA GA100 [A100 PCIe 80GB]',),
                ('one', 'two'),
                2,
            ),
            found['a'],
        )
        self.assertEqual(
            alias_list.Alias(
                'b', False, 'PCI alias b is not defined', (), (), ('two',), 0
            ),
            found['b'],
        )

    def test_requests(self):
        self.read(at_once=1)
        self.assertEqual(
            [
                'GET /flavors/detail?is_public=None',
                'GET /servers/detail?all_tenants=True',
                'GET /resource_providers',
                *(
                    f'GET /allocations/{s["id"]}'
                    for s in self.servers.values()
                    if s['flavor']['extra_specs']
                ),
                'GET /v2/images?status=active&size_min=1&sort=size:asc'
                '&limit=1',
                'POST /servers',
                'POST /servers',
            ],
            self.requests,
        )

    def test_host_and_project(self):
        self.assertEqual(2, self.read(host='gpu1')['a'].servers)
        self.assertEqual(0, self.read(host='gpu2')['a'].servers)
        self.assertEqual(1, self.read(project_id='other')['a'].servers)
        self.assertEqual(
            0, self.read(host='gpu2', project_id='other')['a'].servers
        )

    def test_host_without_servers(self):
        self.add_host('gpu3')
        self.assertEqual(0, self.read(host='gpu3')['a'].servers)

    def test_unknown_host(self):
        with self.assertRaisesRegex(exceptions.CommandError, "named 'gpu9'"):
            self.read(host='gpu9')

    def test_classes(self):
        self.assertEqual(['a'], list(self.read(classes=[A100])))
        self.assertEqual({}, self.read(classes=['VGPU']))

    def test_names(self):
        self.assertEqual(['b'], list(self.read(names=['b', 'c'])))
        self.assertEqual(['id-two'], self.probed)

    def test_no_alias(self):
        self.nova.flavors.clear()
        self.assertEqual({}, self.read())
        self.assertEqual(
            [
                'GET /flavors/detail?is_public=None',
                'GET /servers/detail?all_tenants=True',
            ],
            self.requests,
        )

    def test_must_not_probe(self):
        rule = 'compute:servers:create:requested_destination'
        for flavor in self.nova.flavors:
            self.aliases.answers[flavor] = (
                403,
                f"Policy doesn't allow {rule} to be performed.",
            )
        with self.assertRaisesRegex(
            exceptions.CommandError, f'takes an admin: You lack .* {rule}'
        ):
            self.read()
