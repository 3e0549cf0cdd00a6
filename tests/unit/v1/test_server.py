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

import re

import requests

from tests.unit import base
from tests.unit.cloud import test_servers

A100 = test_servers.A100
ID = test_servers.ID
OTHER = '99999999-2222-4333-8444-555555555555'
ROOT = 'aaaaaaaa-0000-4000-8000-000000000001'
CARD = 'aaaaaaaa-0000-4000-8000-000000000002'
PROJECT = 'c' * 32

DETAIL = f'{base.COMPUTE}/servers/detail'
SERVER = f'{base.COMPUTE}/servers/{ID}'
FLAVORS = f'{base.COMPUTE}/flavors/detail'
ALLOCATIONS = f'{base.PLACEMENT}/allocations/{ID}'
PROVIDERS = f'{base.PLACEMENT}/resource_providers'

server = test_servers.raw_server


def plain(**changes):
    flavor = {'original_name': 'm1.small', 'extra_specs': {}}
    return server(**{'flavor': flavor} | changes)


def flavor(name='g1.a100', **changes):
    return {
        'id': f'id-{name}',
        'name': name,
        'vcpus': 8,
        'ram': 16384,
        'disk': 40,
        'OS-FLV-EXT-DATA:ephemeral': 0,
        'swap': '',
        'os-flavor-access:is_public': True,
        'extra_specs': {'pci_passthrough:alias': 'a100:2'},
    } | changes


def nova_error(status, message, name='error'):
    return {
        'status_code': status,
        'json': {name: {'code': status, 'message': message}},
    }


def provider(uuid, name):
    return {
        'uuid': uuid,
        'name': name,
        'root_provider_uuid': ROOT,
        'parent_provider_uuid': None if uuid == ROOT else ROOT,
        'generation': 1,
    }


def add_devices(cloud, server_id=ID, resource_class=A100):
    """Let Placement say that a server holds one card of host gpu1."""
    cloud.get(
        f'{base.PLACEMENT}/allocations/{server_id}',
        json={
            'allocations': {
                ROOT: {'generation': 1, 'resources': {'VCPU': 8}},
                CARD: {'generation': 1, 'resources': {resource_class: 1}},
            },
            'project_id': PROJECT,
            'user_id': 'u',
            'consumer_generation': 1,
        },
    )
    cloud.get(
        PROVIDERS,
        json={
            'resource_providers': [
                provider(ROOT, 'gpu1'),
                provider(CARD, 'gpu1_0000:20:00.0'),
            ]
        },
    )


class TestListServer(base.TestCase):
    def add(self, *found, **answer):
        self.cloud.get(DETAIL, json={'servers': list(found)} | answer)

    def test_list(self):
        self.add(server(), plain(id=OTHER))
        self.assertEqual(
            [
                {
                    'ID': ID,
                    'Name': 'train',
                    'Status': 'ACTIVE',
                    'Flavor': 'g1.a100',
                    'GPU Request': 'a100:2',
                    'GPU Count': 2,
                    'Host': 'gpu1',
                }
            ],
            self.table('gpu', 'server', 'list'),
        )
        self.assertEqual(['GET /servers/detail'], self.requests)
        self.assertEqual(['2.73'], self.microversions('compute'))

    def test_long(self):
        self.add(server())
        row = self.table('gpu', 'server', 'list', '--long')[0]
        self.assertEqual(
            [
                'ID',
                'Name',
                'Status',
                'Flavor',
                'GPU Request',
                'GPU Count',
                'Host',
                'Project ID',
                'User ID',
                'Created At',
            ],
            list(row),
        )
        self.assertEqual(
            ['p' * 32, 'u' * 32, '2026-11-21T05:00:00Z'],
            list(row.values())[-3:],
        )

    def test_nothing(self):
        self.add()
        self.assertEqual([], self.table('gpu', 'server', 'list'))

    def test_as_tenant(self):
        raw = server()
        del raw['OS-EXT-SRV-ATTR:host']
        self.add(raw)
        self.assertEqual('', self.table('gpu', 'server', 'list')[0]['Host'])

    def test_order(self):
        def one(number, name, host):
            attribute = {'OS-EXT-SRV-ATTR:host': host}
            return server(id=str(number), name=name, **attribute)

        self.add(
            one(5, 'a', 'gpu2'),
            one(4, 'b', 'gpu1'),
            one(3, 'a', 'gpu1'),
            one(2, 'a', 'gpu1'),
            one(1, 'z', None),
        )
        self.assertEqual(
            ['1', '2', '3', '4', '5'],
            [row['ID'] for row in self.table('gpu', 'server', 'list')],
        )

    def test_pages(self):
        self.cloud.get(
            DETAIL,
            [
                {
                    'json': {
                        'servers': [server(id='1'), plain(id='2')],
                        'servers_links': [{'rel': 'next', 'href': 'x'}],
                    }
                },
                {'json': {'servers': [server(id='3')]}},
            ],
        )
        rows = self.table('gpu', 'server', 'list', '--all-projects')
        self.assertEqual(['1', '3'], [row['ID'] for row in rows])
        self.assertEqual(
            [
                'GET /servers/detail?all_tenants=True',
                'GET /servers/detail?all_tenants=True&marker=2',
            ],
            self.requests,
        )

    def test_an_explicit_microversion_does_not_matter(self):
        self.add(server())
        for version in ('2.1', '2.40', '2.96'):
            self.openstack(
                '--os-compute-api-version', version, 'gpu', 'server', 'list'
            )
        self.assertEqual(['2.73'] * 3, self.microversions('compute'))

    def test_filters(self):
        self.add(server())
        self.cloud.get(FLAVORS, json={'flavors': [flavor()]})
        for argv, query in (
            (['--status', 'ERROR'], 'status=ERROR'),
            (['--host', 'gpu1'], 'host=gpu1&all_tenants=True'),
            (['--flavor', 'g1.a100'], 'flavor=id-g1.a100'),
            (['--flavor', 'id-g1.a100'], 'flavor=id-g1.a100'),
        ):
            self.cloud.reset_mock()
            self.table('gpu', 'server', 'list', *argv)
            *before, last = self.requests
            self.assertEqual(f'GET /servers/detail?{query}', last)
            self.assertEqual(
                ['GET /flavors/detail?is_public=None']
                if '--flavor' in argv
                else [],
                before,
            )

    def services(self, **answer):
        self.cloud.get(f'{base.COMPUTE}/os-services', **answer)

    def test_unknown_host(self):
        self.add()
        self.services(json={'services': []})
        self.assertEqual(
            "No compute service host named 'nosuch'; list them with: "
            "openstack gpu host list --all",
            self.fails('gpu', 'server', 'list', '--host', 'nosuch'),
        )
        self.assertEqual(
            [
                'GET /servers/detail?host=nosuch&all_tenants=True',
                'GET /os-services?binary=nova-compute&host=nosuch',
            ],
            self.requests,
        )

    def test_known_host_without_servers(self):
        self.add()
        self.services(json={'services': [{'host': 'cpu1'}]})
        self.assertEqual(
            [], self.table('gpu', 'server', 'list', '--host', 'cpu1')
        )

    def test_known_host_without_gpu_servers(self):
        self.add(plain())
        self.assertEqual(
            [], self.table('gpu', 'server', 'list', '--host', 'cpu1')
        )
        self.assertEqual(1, len(self.requests))

    def test_a_host_that_may_be_known(self):
        self.add()
        self.services(**nova_error(403, 'No.', 'forbidden'))
        self.assertEqual(
            [], self.table('gpu', 'server', 'list', '--host', 'cpu1')
        )

    def test_whether_a_host_is_known_fails(self):
        self.add()
        self.services(**nova_error(500, 'Oops.'))
        self.assertIn(
            'Oops.', self.fails('gpu', 'server', 'list', '--host', 'cpu1')
        )

    def test_project(self):
        self.add(server())
        self.cloud.get(
            f'{base.AUTH_URL}/projects/lab', status_code=404, json={}
        )
        self.cloud.get(
            f'{base.AUTH_URL}/projects',
            json={'projects': [{'id': PROJECT, 'name': 'lab'}]},
        )
        self.table('gpu', 'server', 'list', '--project', 'lab')
        self.assertEqual(
            f'GET /servers/detail?project_id={PROJECT}&all_tenants=True',
            self.requests[-1],
        )

    def test_unknown_project(self):
        self.cloud.get(
            f'{base.AUTH_URL}/projects/lab', status_code=404, json={}
        )
        self.cloud.get(f'{base.AUTH_URL}/projects', json={'projects': []})
        line = self.fails('gpu', 'server', 'list', '--project', 'lab')
        self.assertIn('lab', line)
        self.assertEqual(1, len(line.splitlines()))

    def test_unknown_flavor(self):
        self.cloud.get(FLAVORS, json={'flavors': [flavor()]})
        self.cloud.get(
            f'{base.COMPUTE}/flavors/nope',
            **nova_error(
                404, 'Flavor nope could not be found.', 'itemNotFound'
            ),
        )
        self.assertEqual(
            'Flavor nope could not be found.',
            self.fails('gpu', 'server', 'list', '--flavor', 'nope'),
        )

    def test_resource_class(self):
        self.add(
            server(
                flavor={
                    'original_name': 'a16',
                    'extra_specs': {'resources:CUSTOM_BIGCARD': '1'},
                }
            )
        )
        self.assertEqual([], self.table('gpu', 'server', 'list'))
        rows = self.table(
            'gpu', 'server', 'list', '--resource-class', 'CUSTOM_BIGCARD'
        )
        self.assertEqual('CUSTOM_BIGCARD:1', rows[0]['GPU Request'])

    def test_hidden_extra_specs(self):
        self.add(*[server(flavor={'original_name': 'g1'}, id=i) for i in '12'])
        result = self.openstack('gpu', 'server', 'list', '-f', 'json')
        self.assertEqual((0, []), (result.status, result.json))
        self.assertEqual(
            'Nova does not show you the extra specs of flavors (policy '
            'os_compute_api:os-flavor-extra-specs:index). Servers that may '
            'have a GPU, but are not known to: 2\n',
            result.stderr,
        )

    def test_cell_down(self):
        self.add(
            server(),
            {'id': OTHER, 'status': 'UNKNOWN', 'tenant_id': 'p', 'links': []},
        )
        result = self.openstack('gpu', 'server', 'list', '-f', 'json')
        self.assertEqual([ID], [row['ID'] for row in result.json])
        self.assertEqual(
            'A cell of this cloud does not answer. Servers that may have a '
            'GPU, but are not known to: 1\n',
            result.stderr,
        )

    def test_refusals(self):
        policy = 'os_compute_api:servers:detail:get_all_tenants'
        for answer, said in (
            (
                nova_error(
                    403,
                    f"Policy doesn't allow {policy} to be performed.",
                    'forbidden',
                ),
                policy,
            ),
            (
                nova_error(400, 'Invalid status value', 'badRequest'),
                'Invalid status value',
            ),
            (nova_error(500, 'Unexpected API Error.'), 'Unexpected API Error'),
            ({'status_code': 503, 'text': 'Service Unavailable'}, '503'),
            ({'exc': requests.exceptions.ConnectionError}, 'nova.example'),
            ({'text': 'surprise'}, 'not JSON'),
        ):
            self.cloud.get(DETAIL, **answer)
            line = self.fails('gpu', 'server', 'list', '--all-projects')
            self.assertIn(said, line)
            # The SDK of 2025.1 says that it tries a connection again.
            self.assertLessEqual(len(line.splitlines()), 1 + ('exc' in answer))


CONSOLE = re.compile('/servers/[^/]+/action$')


class TestShowServer(base.TestCase):
    def setUp(self):
        super().setUp()
        self.cloud.post(CONSOLE, json={'output': 'Booting\n'})

    def test_admin(self):
        self.cloud.get(SERVER, json={'server': server()})
        add_devices(self.cloud)
        shown = self.table('gpu', 'server', 'show', ID)
        self.assertEqual(
            {
                'id': ID,
                'name': 'train',
                'status': 'ACTIVE',
                'flavor': 'g1.a100',
                'gpu_request': 'a100:2',
                'gpu_count': 2,
                'host': 'gpu1',
                'project_id': 'p' * 32,
                'devices': [
                    {
                        'host': 'gpu1',
                        'address': '0000:20:00.0',
                        'resource_class': A100,
                        'amount': 1,
                    }
                ],
                'addresses': {'private': ['10.0.0.5', '203.0.113.9']},
                'report': '',
                'fault': '',
            },
            shown,
        )
        self.assertEqual(
            'id name status flavor gpu_request gpu_count host project_id '
            'devices addresses report fault'.split(),
            list(shown),
        )
        self.assertEqual(
            [
                f'GET /servers/{ID}',
                f'GET /allocations/{ID}',
                f'GET /resource_providers?in_tree={CARD}',
                f'POST /servers/{ID}/action',
            ],
            self.requests,
        )
        self.assertEqual(['2.73', '2.1'], self.microversions('compute'))

    def test_report(self):
        line = (
            'osc-gpu-report-begin {"driver": "nvidia", "driver_version": '
            '"570.86", "pci": [{}, {}], "gpus": [{"name": "NVIDIA A100"}, '
            '{"name": "NVIDIA A100"}]} osc-gpu-report-end'
        )
        self.cloud.get(SERVER, json={'server': server()})
        add_devices(self.cloud)
        self.cloud.post(CONSOLE, json={'output': f'x\r\n{line}\r\n'})
        self.assertEqual(
            '2 of 2 GPUs, NVIDIA A100, driver 570.86',
            self.table('gpu', 'server', 'show', ID)['report'],
        )
        # That of a boot that is over tells nothing.
        for status in ('SHUTOFF', 'REBOOT'):
            self.cloud.get(SERVER, json={'server': server(status=status)})
            self.assertEqual(
                '', self.table('gpu', 'server', 'show', ID)['report']
            )
        self.cloud.get(SERVER, json={'server': server()})
        # It is one thing of many.
        for status in (403, 404, 409, 500, 501):
            self.cloud.post(CONSOLE, status_code=status)
            shown = self.table('gpu', 'server', 'show', ID)
            self.assertEqual('', shown['report'])

    def test_for_people(self):
        self.cloud.get(SERVER, json={'server': server()})
        add_devices(self.cloud)
        for field, text in (
            ('devices', f'gpu1 0000:20:00.0 {A100}:1'),
            ('addresses', 'private=10.0.0.5, 203.0.113.9'),
        ):
            result = self.ok(
                'gpu', 'server', 'show', ID, '-f', 'value', '-c', field
            )
            table = self.ok('gpu', 'server', 'show', ID, '-c', field)
            self.assertIn(text, table.stdout)
            self.assertTrue(result.stdout.strip())

    def test_by_name(self):
        others = [server(id=OTHER, name='TRAIN')]
        self.cloud.get(DETAIL, json={'servers': [server(), *others]})
        add_devices(self.cloud)
        self.assertEqual(
            ID, self.table('gpu', 'server', 'show', 'train')['id']
        )
        self.assertEqual('GET /servers/detail?name=^train$', self.requests[0])
        self.assertEqual(4, len(self.requests))

    def test_by_name_in_another_project(self):
        def answer(request, context):
            everyone = 'all_tenants' in request.qs
            return {'servers': [server()] if everyone else []}

        self.cloud.get(DETAIL, json=answer)
        add_devices(self.cloud)
        self.assertEqual(
            ID, self.table('gpu', 'server', 'show', 'train')['id']
        )
        self.assertEqual(
            [
                'GET /servers/detail?name=^train$',
                'GET /servers/detail?name=^train$&all_tenants=True',
            ],
            self.requests[:2],
        )

    def test_by_name_as_a_tenant(self):
        self.cloud.get(DETAIL, json={'servers': []})
        self.cloud.get(
            f'{DETAIL}?all_tenants=True', **nova_error(403, 'Policy does not')
        )
        self.assertEqual(
            "No server with a name or ID of 'train' could be found.",
            self.fails('gpu', 'server', 'show', 'train'),
        )

    def test_a_name_is_no_pattern(self):
        self.cloud.get(DETAIL, json={'servers': [server(name='a.(b|c')]})
        add_devices(self.cloud)
        self.table('gpu', 'server', 'show', 'a.(b|c')
        self.assertEqual('GET /servers/detail?name=^a..b.c$', self.requests[0])

    def test_names_that_are_no_paths(self):
        self.cloud.get(DETAIL, json={'servers': []})
        for name in ('', '..', '../flavors', '?name=x', 'detail', 'ä/ö'):
            self.cloud.reset_mock()
            self.assertEqual(
                f"No server with a name or ID of '{name}' could be found.",
                self.fails('gpu', 'server', 'show', '--', name),
            )
            self.assertEqual(2, len(self.requests))
            for request in self.requests:
                self.assertTrue(
                    request.startswith('GET /servers/detail?name=^')
                )

    def test_a_name_like_an_id(self):
        self.cloud.get(
            SERVER, **nova_error(404, 'Instance x could not be found.')
        )
        self.cloud.get(DETAIL, json={'servers': [server(id=OTHER, name=ID)]})
        self.cloud.get(
            f'{base.PLACEMENT}/allocations/{OTHER}', json={'allocations': {}}
        )
        self.assertEqual(OTHER, self.table('gpu', 'server', 'show', ID)['id'])

    def test_several_of_a_name(self):
        self.cloud.get(DETAIL, json={'servers': [server(id=OTHER), server()]})
        self.assertEqual(
            f"More than one server has the name 'train': {ID}, {OTHER}",
            self.fails('gpu', 'server', 'show', 'train'),
        )

    def test_tenant(self):
        raw = server()
        del raw['OS-EXT-SRV-ATTR:host']
        self.cloud.get(SERVER, json={'server': raw})
        self.cloud.get(
            ALLOCATIONS,
            status_code=403,
            json={'errors': [{'status': 403, 'detail': 'Policy does not'}]},
        )
        shown = self.table('gpu', 'server', 'show', ID)
        self.assertEqual(('', []), (shown['host'], shown['devices']))
        table = self.ok('gpu', 'server', 'show', ID)
        self.assertNotIn('None', table.stdout)

    def test_holds_no_gpu(self):
        self.cloud.get(SERVER, json={'server': plain()})
        self.cloud.get(
            ALLOCATIONS,
            json={'allocations': {ROOT: {'resources': {'VCPU': 1}}}},
        )
        shown = self.table('gpu', 'server', 'show', ID)
        self.assertEqual(
            ('', 0, []),
            (shown['gpu_request'], shown['gpu_count'], shown['devices']),
        )
        self.assertEqual(
            [
                f'GET /servers/{ID}',
                f'GET /allocations/{ID}',
                f'POST /servers/{ID}/action',
            ],
            self.requests,
        )

    def test_two_hosts(self):
        trees = {
            'c1': [('r1', 'gpu1'), ('c1', 'gpu1_0000:20:00.0')],
            'c2': [('r2', 'gpu2'), ('c2', 'gpu2_0000:20:00.0')],
        }
        self.cloud.get(SERVER, json={'server': server()})
        self.cloud.get(
            ALLOCATIONS,
            json={'allocations': {c: {'resources': {A100: 1}} for c in trees}},
        )
        for card, tree in trees.items():
            self.cloud.get(
                f'{PROVIDERS}?in_tree={card}',
                json={
                    'resource_providers': [
                        provider(uuid, name)
                        | {'root_provider_uuid': tree[0][0]}
                        for uuid, name in tree
                    ]
                },
            )
        shown = self.table('gpu', 'server', 'show', ID)
        self.assertEqual(
            [('gpu1', '0000:20:00.0'), ('gpu2', '0000:20:00.0')],
            [(d['host'], d['address']) for d in shown['devices']],
        )
        self.assertEqual(5, len(self.requests))

    def test_fault(self):
        self.cloud.get(
            SERVER,
            json={
                'server': server(
                    status='ERROR',
                    fault={'code': 500, 'message': 'No valid host was found.'},
                )
            },
        )
        self.cloud.get(ALLOCATIONS, json={'allocations': {}})
        self.assertEqual(
            'No valid host was found.',
            self.table('gpu', 'server', 'show', ID)['fault'],
        )

    def test_hidden_extra_specs(self):
        self.cloud.get(
            SERVER, json={'server': server(flavor={'original_name': 'g1'})}
        )
        self.cloud.get(ALLOCATIONS, json={'allocations': {}})
        result = self.openstack('gpu', 'server', 'show', ID, '-f', 'json')
        self.assertEqual('', result.json['gpu_request'])
        self.assertIn('os-flavor-extra-specs:index', result.stderr)

    def test_placement_fails(self):
        self.cloud.get(SERVER, json={'server': server()})
        for url in (ALLOCATIONS, PROVIDERS):
            for answer in (
                {'status_code': 503, 'text': 'down'},
                {'status_code': 500, 'text': 'down'},
                {'exc': requests.exceptions.ConnectionError},
                {'text': 'surprise'},
            ):
                add_devices(self.cloud)
                self.cloud.get(url, **answer)
                result = self.openstack(
                    'gpu', 'server', 'show', ID, '-f', 'json'
                )
                self.assertEqual(0, result.status)
                self.assertEqual('train', result.json['name'])
                self.assertEqual([], result.json['devices'])
                lines = result.stderr.splitlines()
                self.assertTrue(
                    lines[-1].startswith(
                        'What the server holds cannot be seen: '
                    ),
                    lines,
                )
                # The SDK of 2025.1 says that it tries a connection again.
                self.assertLessEqual(len(lines), 1 + ('exc' in answer))

    def test_placement_is_down(self):
        self.cloud.get(SERVER, json={'server': server()})
        for url in (base.PLACEMENT, f'{base.PLACEMENT}/'):
            self.cloud.get(url, exc=requests.exceptions.ConnectionError)
        result = self.openstack('gpu', 'server', 'show', ID, '-f', 'json')
        self.assertEqual(
            (0, 'train', []),
            (result.status, result.json['name'], result.json['devices']),
        )
        self.assertEqual(
            'What the server holds cannot be seen: Cannot reach the placement '
            'service at http://placement.example\n',
            result.stderr,
        )

    def test_a_class_of_its_own(self):
        self.cloud.get(SERVER, json={'server': server()})
        add_devices(self.cloud, resource_class='CUSTOM_BIGCARD')
        self.assertEqual(
            [
                {
                    'host': 'gpu1',
                    'address': '0000:20:00.0',
                    'resource_class': 'CUSTOM_BIGCARD',
                    'amount': 1,
                }
            ],
            self.table('gpu', 'server', 'show', ID)['devices'],
        )
        self.assertEqual(4, len(self.requests))

    def test_a_class_of_its_own_that_no_alias_requests(self):
        vgpu = {'original_name': 'v', 'extra_specs': {'resources:VGPU': '1'}}
        self.cloud.get(SERVER, json={'server': server(flavor=vgpu)})
        add_devices(self.cloud, resource_class='CUSTOM_BIGCARD')
        self.assertEqual(
            [], self.table('gpu', 'server', 'show', ID)['devices']
        )
        self.assertEqual(3, len(self.requests))


class TestShowServerWithoutPlacement(base.TestCase):
    missing_services = frozenset({'placement'})

    def setUp(self):
        super().setUp()
        self.cloud.post(CONSOLE, json={'output': 'Booting\n'})

    def test_show(self):
        self.cloud.get(SERVER, json={'server': server()})
        shown = self.table('gpu', 'server', 'show', ID)
        self.assertEqual([], shown['devices'])
        self.assertEqual(
            [f'GET /servers/{ID}', f'POST /servers/{ID}/action'], self.requests
        )
