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

import json
import os
import signal
import tempfile
from unittest import mock

from osc_lib import clientmanager
import requests

from osc_gpu.cloud import launch
from tests.unit import base
from tests.unit.cloud import test_launch
from tests.unit.v1 import test_server

A100 = test_server.A100
ID = test_server.ID
IMAGE_ID = 'eeeeeeee-0000-4000-8000-000000000001'
NETWORK_ID = 'eeeeeeee-0000-4000-8000-000000000002'
CREATE = f'{base.COMPUTE}/servers'
NO_VALID_HOST = (
    'No valid host was found. There are not enough hosts available.'
)
SO = (
    'By Placement 1 fit, on gpu1. So look elsewhere: at a zone, host or hint '
    "that was asked for, at the image's properties, at other extra specs."
)

flavor = test_server.flavor
nova_error = test_server.nova_error
server = test_server.server


class TestCase(base.TestCase):
    flavors = (
        flavor('g1.a100'),
        flavor('g0.a100', vcpus=4),
        flavor('g1.vgpu', extra_specs={'resources:VGPU': '1'}),
        flavor('m1.small', extra_specs={}),
    )

    def setUp(self):
        super().setUp()
        # OSC caches its clients, and with them what the cloud once was, on a
        # class that outlives the test.
        caches = vars(clientmanager.ClientManager)
        for service in ('compute', 'image', 'network'):
            if service in caches:
                caches[service]._handle = None
        self.time = test_launch.FakeTime()
        patcher = mock.patch.object(launch, 'time', self.time)
        patcher.start()
        self.addCleanup(patcher.stop)
        self.cloud.get(
            test_server.FLAVORS, json={'flavors': list(self.flavors)}
        )
        for found in self.flavors:
            self.cloud.get(
                f'{base.COMPUTE}/flavors/{found["id"]}', json={'flavor': found}
            )
        image = {'id': IMAGE_ID, 'name': 'cirros', 'status': 'active'}
        self.cloud.get(f'{base.IMAGE}/v2/images/{IMAGE_ID}', json=image)
        network = {'id': NETWORK_ID, 'name': 'private'}
        self.cloud.get(
            f'{base.NETWORK}/v2.0/networks/{NETWORK_ID}',
            json={'network': network},
        )
        self.cloud.post(CREATE, status_code=202, json={'server': {'id': ID}})
        self.shows(server())

    def shows(self, *found, allocations=True):
        """Let Nova show a server as each of these, the last for ever."""
        # Core reads the new server once, itself.
        self.cloud.get(
            test_server.SERVER,
            [{'json': {'server': found[0]}}]
            + [{'json': {'server': one}} for one in found],
        )
        if allocations:
            test_server.add_devices(self.cloud)

    def argv(self, *argv, flavor=('--flavor', 'g1.a100')):
        return (
            'gpu', 'server', 'create', 'train', *flavor, '--image', IMAGE_ID,
            '--network', NETWORK_ID, *argv,
        )  # fmt: skip

    def posted(self):
        return [
            json.loads(request.body)
            for request in self.cloud.request_history
            if request.method == 'POST' and '/servers' in str(request.url)
        ]


class TestCreateServer(TestCase):
    def test_create(self):
        shown = self.table(*self.argv())
        self.assertEqual(
            'id name status flavor gpu_request gpu_count host project_id '
            'devices addresses report fault'.split(),
            list(shown),
        )
        self.assertEqual(
            (ID, 'train', 'g1.a100', 'a100:2', 2, 'gpu1'),
            (
                shown['id'],
                shown['name'],
                shown['flavor'],
                shown['gpu_request'],
                shown['gpu_count'],
                shown['host'],
            ),
        )
        self.assertEqual('0000:20:00.0', shown['devices'][0]['address'])
        self.assertEqual(
            [
                'GET /flavors/detail?is_public=None',
                f'GET /v2/images/{IMAGE_ID}',
                'GET /flavors/id-g1.a100',
                f'GET /v2.0/networks/{NETWORK_ID}',
                'POST /servers',
                f'GET /servers/{ID}',
                f'GET /servers/{ID}',
                f'GET /allocations/{ID}',
                f'GET /resource_providers?in_tree={test_server.CARD}',
            ],
            self.requests,
        )
        created = self.posted()[0]['server']
        self.assertEqual('id-g1.a100', created['flavorRef'])
        self.assertEqual([{'uuid': NETWORK_ID}], created['networks'])

    def test_options_need_no_microversion(self):
        self.table(
            *self.argv(
                '--host',
                'gpu1',
                '--description',
                'x',
                '--property',
                'a=b',
                '--hint',
                'group=g',
                '--availability-zone',
                'nova',
                '--use-config-drive',
                '--key-name',
                'key',
            )
        )
        body = self.posted()[0]
        created = body['server']
        self.assertEqual('gpu1', created['host'])
        self.assertEqual('x', created['description'])
        self.assertEqual({'a': 'b'}, created['metadata'])
        self.assertEqual('nova', created['availability_zone'])
        self.assertEqual('key', created['key_name'])
        self.assertIs(True, created['config_drive'])
        self.assertEqual({'group': 'g'}, body['OS-SCH-HNT:scheduler_hints'])

    def test_user_data(self):
        with tempfile.NamedTemporaryFile() as data:
            data.write(b'#cloud-config')
            data.flush()
            self.table(*self.argv('--user-data', data.name))
        self.assertEqual(
            'I2Nsb3VkLWNvbmZpZw==', self.posted()[0]['server']['user_data']
        )
        self.assertFalse(os.path.exists(data.name))

    def test_no_network(self):
        for argv in (['--no-network'], ['--nic', 'none']):
            self.table(
                'gpu', 'server', 'create', 'train', '--flavor', 'g1.a100',
                '--image', IMAGE_ID, *argv,
            )  # fmt: skip
            self.assertEqual('none', self.posted()[-1]['server']['networks'])

    def test_boot_from_volume(self):
        self.table(*self.argv('--boot-from-volume', '20'))
        created = self.posted()[0]['server']
        self.assertEqual('', created['imageRef'])
        self.assertEqual(
            20, created['block_device_mapping_v2'][0]['volume_size']
        )

    def test_an_older_microversion_is_heeded(self):
        argv = ('--os-compute-api-version', '2.60')
        result = self.openstack(*argv, *self.argv('--host', 'gpu1'))
        self.assertEqual(1, result.status)
        self.assertIn(
            '--os-compute-api-version 2.74 or greater is required',
            result.stderr,
        )
        self.assertEqual([], self.posted())
        # Ours are asked as ever.
        shown = self.openstack(*argv, *self.argv(), '-f', 'json').json
        self.assertEqual('a100:2', shown['gpu_request'])

    def test_not_scheduled_yet(self):
        self.shows(
            server(status='BUILD', **{'OS-EXT-SRV-ATTR:host': None}),
            allocations=False,
        )
        shown = self.table(*self.argv())
        self.assertEqual(
            ('BUILD', '', []),
            (shown['status'], shown['host'], shown['devices']),
        )

    def test_password(self):
        self.cloud.post(
            CREATE, json={'server': {'id': ID, 'adminPass': 'seCret'}}
        )
        result = self.ok(*self.argv(), '-f', 'json')
        self.assertEqual('seCret', result.json['admin_password'])
        self.assertEqual('admin_password', list(result.json)[-1])
        # Who gave one need not read it again.
        shown = self.table(*self.argv('--password', 'seCret'))
        self.assertNotIn('admin_password', shown)

    def test_placement_fails(self):
        self.cloud.get(test_server.ALLOCATIONS, status_code=503, text='x')
        result = self.openstack(*self.argv(), '-f', 'json')
        self.assertEqual((0, []), (result.status, result.json['devices']))
        self.assertIn('What the server holds cannot be seen', result.stderr)

    def test_usage(self):
        for argv, said in (
            ([], 'one of the arguments --flavor --gpu is required'),
            (
                ['--flavor', 'f', '--gpu', 'a100'],
                'not allowed with argument --flavor',
            ),
            (['--gpu', 'a100:0'], "'a100:0'"),
            (['--gpu', 'a100:two'], "'a100:two'"),
            (['--gpu', 'VGPU:-1'], "'VGPU:-1'"),
            (['--gpu', ''], '--gpu'),
            (['--gpu', 'CUSTOM_a'], 'CUSTOM_A'),
            (['--gpu', 'a100,a100'], 'given twice'),
            (['--gpu', 'a100', '--wait', '--timeout', '0'], "'0'"),
            (['--gpu', 'a100', '--wait', '--timeout', 'x'], "'x'"),
            (['--gpu', 'a100', '--resource-class', 'x'], "'x'"),
        ):
            line = self.fails(
                'gpu', 'server', 'create', 'x', *argv, '--image', 'i',
                status=2,
            )  # fmt: skip
            self.assertIn(said, line, argv)
        self.assertEqual([], self.requests)

    def test_timeout_needs_wait(self):
        self.assertEqual(
            '--timeout 30 is of no use without --wait',
            self.fails(*self.argv('--timeout', '30')),
        )
        self.assertEqual([], self.requests)


class TestFlavor(TestCase):
    def test_by_id(self):
        self.table(*self.argv(flavor=('--flavor', 'id-g1.vgpu')))
        self.assertEqual('id-g1.vgpu', self.posted()[0]['server']['flavorRef'])

    def test_without_gpu(self):
        self.assertEqual(
            'Flavor m1.small requests no GPU. GPU flavors: g0.a100 (a100:2), '
            'g1.a100 (a100:2), g1.vgpu (VGPU:1).',
            self.fails(*self.argv(flavor=('--flavor', 'm1.small'))),
        )
        self.assertEqual(
            [
                'GET /flavors/detail?is_public=None',
                'GET /flavors/detail?is_public=True',
            ],
            self.requests,
        )

    def test_unknown(self):
        self.cloud.get(
            f'{base.COMPUTE}/flavors/nope',
            **nova_error(
                404, 'Flavor nope could not be found.', 'itemNotFound'
            ),
        )
        self.assertEqual(
            'Flavor nope could not be found.',
            self.fails(*self.argv(flavor=('--flavor', 'nope'))),
        )

    def test_smallest(self):
        result = self.openstack(
            *self.argv(flavor=('--gpu', 'a100:2')), '-f', 'json'
        )
        self.assertEqual(0, result.status)
        self.assertEqual('Using flavor g0.a100\n', result.stderr)
        self.assertEqual(ID, result.json['id'])
        self.assertEqual('id-g0.a100', self.posted()[0]['server']['flavorRef'])
        self.assertEqual(
            'GET /flavors/detail?is_public=True', self.requests[0]
        )

    def test_quiet(self):
        self.ok(*self.argv(flavor=('--gpu', 'a100:2')), '--quiet')

    def test_none_matches(self):
        self.assertEqual(
            'No flavor requests exactly a100:1. GPU flavors: g0.a100 '
            '(a100:2), g1.a100 (a100:2), g1.vgpu (VGPU:1).',
            self.fails(*self.argv(flavor=('--gpu', 'a100'))),
        )
        self.assertEqual([], self.posted())

    def test_custom_class(self):
        specs = {'resources:CUSTOM_BIGCARD': '1'}
        found = flavor('a16', extra_specs=specs)
        self.cloud.get(test_server.FLAVORS, json={'flavors': [found]})
        self.cloud.get(
            f'{base.COMPUTE}/flavors/id-a16', json={'flavor': found}
        )
        embedded = {'original_name': 'a16', 'extra_specs': specs}
        self.shows(server(flavor=embedded))
        for argv in (
            ('--gpu', 'CUSTOM_BIGCARD'),
            ('--flavor', 'a16', '--resource-class', 'CUSTOM_BIGCARD'),
        ):
            result = self.openstack(*self.argv(flavor=argv), '-f', 'json')
            self.assertEqual('CUSTOM_BIGCARD:1', result.json['gpu_request'])
        self.assertEqual(
            'Flavor a16 requests no GPU. No flavor that you can use requests '
            'a GPU. If CUSTOM_BIGCARD is one, say so with --resource-class '
            'CUSTOM_BIGCARD.',
            self.fails(*self.argv(flavor=('--flavor', 'a16'))),
        )


class TestWait(TestCase):
    building = server(status='BUILD', **{'OS-EXT-SRV-ATTR:host': None})

    def test_active(self):
        self.shows(self.building, self.building, server())
        shown = self.table(*self.argv('--wait'))
        self.assertEqual('ACTIVE', shown['status'])
        self.assertEqual('gpu1', shown['devices'][0]['host'])
        self.assertEqual([1.0, 1.5], self.time.slept)

    def failed(self, message):
        return server(
            status='ERROR',
            fault={'code': 500, 'message': message},
            **{'OS-EXT-SRV-ATTR:host': None},
        )

    def test_fault(self):
        self.shows(self.building, self.failed('Claim pci failed.'))
        self.assertEqual(
            f'Server train ({ID}) is in ERROR: Claim pci failed.',
            self.fails(*self.argv('--wait')),
        )
        self.assertEqual([], [r for r in self.requests if 'alloc' in r])

    def no_valid_host(self, flavor='g1.a100'):
        self.shows(self.building, self.failed(NO_VALID_HOST))
        return self.fails(*self.argv('--wait', flavor=('--flavor', flavor)))

    def test_no_valid_host_for_a_tenant(self):
        self.cloud.get(
            test_server.PROVIDERS,
            status_code=403,
            json={'errors': [{'status': 403, 'detail': 'Policy does not'}]},
        )
        self.shows(
            self.building, self.failed(NO_VALID_HOST), allocations=False
        )
        self.assertEqual(
            f'Server train ({ID}) is in ERROR: {NO_VALID_HOST} Flavor '
            'g1.a100 (8 VCPUs, 16384 MiB of RAM, 40 GiB of disk) requests '
            'a100:2 on one host. An admin sees what is free with: openstack '
            'gpu capacity show g1.a100',
            self.fails(*self.argv('--wait')),
        )

    def test_no_valid_host_and_no_placement(self):
        self.shows(
            self.building, self.failed(NO_VALID_HOST), allocations=False
        )
        self.cloud.get(test_server.PROVIDERS, status_code=503, text='down')
        line = self.fails(*self.argv('--wait'))
        self.assertTrue(
            line.endswith(
                'requests a100:2 on one host. What is free cannot be seen: '
                'http://placement.example/resource_providers failed with HTTP '
                '503: down'
            ),
            line,
        )

    def candidates(self, resource_class, used, status='enabled'):
        sizes = {'MEMORY_MB': 99999, 'VCPU': 16, 'DISK_GB': 999}
        root = {
            'resources': {
                name: {'capacity': capacity, 'used': 0}
                for name, capacity in sizes.items()
            },
            'traits': [],
            'parent_provider_uuid': None,
            'root_provider_uuid': test_server.ROOT,
        }
        card = root | {
            'resources': {resource_class: {'capacity': 1, 'used': used}},
            'parent_provider_uuid': test_server.ROOT,
        }
        self.cloud.get(
            f'{base.PLACEMENT}/allocation_candidates',
            json={
                'allocation_requests': [],
                'provider_summaries': {
                    test_server.ROOT: root,
                    test_server.CARD: card,
                },
            },
        )
        self.computes(status)

    def computes(self, status='enabled'):
        compute = {
            'id': test_server.ROOT,
            'hypervisor_hostname': 'gpu1',
            'state': 'up',
            'status': status,
            'service': {'host': 'gpu1'},
        }
        self.cloud.get(
            f'{base.COMPUTE}/os-hypervisors/detail',
            json={'hypervisors': [compute]},
        )
        self.cloud.get(f'{base.COMPUTE}/servers/detail', json={'servers': []})

    def test_no_valid_host_for_an_admin(self):
        self.candidates(A100, used=0)
        line = self.no_valid_host()
        self.assertTrue(
            line.endswith(
                'requests a100:2 on one host. By Placement none fits: '
                f'{A100} on 1 host. Without {A100} 2 would.'
            ),
            line,
        )

    def test_no_vgpu_is_free(self):
        self.candidates('VGPU', used=1)
        self.assertTrue(
            self.no_valid_host('g1.vgpu').endswith(
                'requests VGPU:1 on one host. By Placement none fits: VGPU on '
                '1 host. Without VGPU 2 would.'
            )
        )

    def test_vgpus_are_free_on_a_disabled_host_only(self):
        self.candidates('VGPU', used=0, status='disabled')
        self.assertTrue(
            self.no_valid_host('g1.vgpu').endswith(
                'By Placement none fits: disabled on 1 host. Without disabled '
                '1 would.'
            )
        )
        asked = [r for r in self.requests if 'allocation_cand' in r]
        self.assertEqual(1, len(asked))

    def test_vgpus_are_free(self):
        self.candidates('VGPU', used=0)
        line = self.no_valid_host('g1.vgpu')
        self.assertTrue(line.endswith(SO), line)

    def test_a_class_that_only_the_user_calls_a_gpu(self):
        found = flavor('a16', extra_specs={'resources:CUSTOM_BIGCARD': '1'})
        self.cloud.get(test_server.FLAVORS, json={'flavors': [found]})
        self.cloud.get(
            f'{base.COMPUTE}/flavors/id-a16', json={'flavor': found}
        )
        self.candidates('CUSTOM_BIGCARD', used=0)
        self.shows(self.building, self.failed(NO_VALID_HOST))
        result = self.openstack(
            *self.argv('--wait', flavor=('--gpu', 'CUSTOM_BIGCARD'))
        )
        self.assertTrue(result.stderr.endswith(f'{SO}\n'), result.stderr)

    def test_no_pci_device_is_in_placement(self):
        self.cloud.get(
            f'{base.PLACEMENT}/allocation_candidates',
            json={'allocation_requests': [], 'provider_summaries': {}},
        )
        self.cloud.get(test_server.PROVIDERS, json={'resource_providers': []})
        self.computes()
        self.shows(
            self.building, self.failed(NO_VALID_HOST), allocations=False
        )
        self.assertTrue(
            self.openstack(*self.argv('--wait')).stderr.endswith(
                'requests a100:2 on one host. How many fit is not known: no '
                'PCI devices in Placement.\n'
            )
        )

    def test_timeout(self):
        self.shows(self.building)
        self.assertEqual(
            f'Server train ({ID}) is in status BUILD after 30 seconds; it is '
            f'left as it is.',
            self.fails(*self.argv('--wait', '--timeout', '30')),
        )
        self.assertEqual(30, sum(self.time.slept))
        self.assertEqual(
            ['POST /servers'],
            [r for r in self.requests if not r.startswith('GET')],
        )

    def test_default_timeout(self):
        self.shows(self.building)
        self.assertIn('600 seconds', self.fails(*self.argv('--wait')))
        self.assertAlmostEqual(600, sum(self.time.slept))

    def test_interrupt(self):
        self.shows(self.building)
        with mock.patch.object(
            self.time, 'sleep', autospec=True, side_effect=KeyboardInterrupt
        ):
            line = self.fails(*self.argv('--wait'))
        self.assertEqual(
            f'Interrupted: server train ({ID}) is created and left as it is.',
            line,
        )

    def test_sigterm(self):
        self.shows(self.building)

        def terminate(_seconds):
            os.kill(os.getpid(), signal.SIGTERM)

        before = signal.getsignal(signal.SIGTERM)
        with mock.patch.object(
            self.time, 'sleep', autospec=True, side_effect=terminate
        ):
            line = self.fails(*self.argv('--wait'))
        self.assertEqual(
            f'Interrupted: server train ({ID}) is created and left as it is.',
            line,
        )
        self.assertIs(before, signal.getsignal(signal.SIGTERM))

    def test_sigterm_while_it_is_looked_at(self):
        def terminate(_request):
            os.kill(os.getpid(), signal.SIGTERM)
            return False

        self.cloud.get(test_server.ALLOCATIONS, additional_matcher=terminate)
        self.assertIn(f'server train ({ID}) is', self.fails(*self.argv()))

    def test_sigterm_before_nova_answers(self):
        def terminate(_request):
            os.kill(os.getpid(), signal.SIGTERM)
            return False

        self.cloud.post(CREATE, additional_matcher=terminate)
        self.assertEqual(
            'Interrupted: server train may be created. Look with: openstack '
            'server list',
            self.fails(*self.argv()),
        )

    def test_deleted_meanwhile(self):
        self.cloud.get(
            test_server.SERVER,
            [
                {'json': {'server': self.building}},
                {'json': {'server': self.building}},
                nova_error(404, 'Instance could not be found.'),
            ],
        )
        self.assertEqual(
            f'Server train ({ID}) is created and left as it is, but cannot be '
            f'seen: Instance could not be found.',
            self.fails(*self.argv('--wait')),
        )


class TestSeveral(TestCase):
    def setUp(self):
        super().setUp()
        self.old = server(id='old', name='train-2')
        self.one = server(name='train-1')
        self.two = server(id='two', name='train-2')
        self.odd = server(id='odd', name='train-7')
        self.shows(self.one)

    def listed(self, *pages):
        self.cloud.get(
            test_server.DETAIL,
            [
                {'json': {'servers': [self.old, self.odd]}},
                *({'json': {'servers': page}} for page in pages),
            ],
        )

    def create(self, *argv):
        argv = (*self.argv('--min', '2', '--max', '2', *argv), '-f', 'json')
        result = self.openstack(*argv)
        asked = r'GET /servers/detail?name=^train(-[0-9]+)?$'
        self.assertLess(
            self.requests.index(asked), self.requests.index('POST /servers')
        )
        created = self.posted()[0]['server']
        self.assertEqual((2, 2), (created['min_count'], created['max_count']))
        return result

    def test_all_are_named(self):
        self.listed([self.two, self.old, self.one, self.odd])
        result = self.create()
        self.assertEqual(('train-1', 0), (result.json['name'], result.status))
        self.assertEqual(
            f'Created 2 servers: train-1 ({ID}), train-2 (two)\n',
            result.stderr,
        )

    def test_all_are_waited_for(self):
        building = self.two | {'status': 'BUILD'}
        self.listed(
            [self.one, building, self.old], [self.one, self.two, self.old]
        )
        result = self.create('--wait')
        self.assertEqual(0, result.status)
        self.assertEqual([1.0], self.time.slept)
        self.assertEqual(
            3, len([r for r in self.requests if 'detail?name' in r])
        )

    def test_one_fails(self):
        failed = self.two | {'status': 'ERROR', 'fault': {'message': 'Why.'}}
        self.listed([self.one, failed, self.old])
        result = self.create('--wait')
        self.assertEqual((1, ''), (result.status, result.stdout))
        self.assertEqual(
            '1 of 2 servers are in ERROR: train-2 (two): Why.\n',
            result.stderr,
        )

    def test_all_are_gone(self):
        self.listed([self.old])
        result = self.create('--wait')
        self.assertEqual(1, result.status)
        self.assertIn(f'Server {ID} could not be found.', result.stderr)

    def test_only_one_was_made(self):
        self.listed([self.old, server()])
        self.assertEqual('', self.create().stderr)


class TestRefusals(TestCase):
    def check(self, said, *argv, lines=1):
        line = self.fails(*self.argv(*argv))
        self.assertIn(said, line)
        # The SDK of 2025.1 says that it tries a connection again.
        self.assertLessEqual(len(line.splitlines()), lines, line)

    def test_create(self):
        policy = 'os_compute_api:servers:create:requested_destination'
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
                nova_error(400, 'PCI alias a100 is not defined', 'badRequest'),
                'PCI alias a100 is not defined',
            ),
            (
                nova_error(
                    400, 'Compute host x could not be found.', 'badRequest'
                ),
                'Compute host x could not be found.',
            ),
            (
                nova_error(
                    403,
                    'Quota exceeded for instances: Requested 1, but already '
                    'used 10 of 10 instances',
                    'forbidden',
                ),
                'Quota exceeded',
            ),
            (nova_error(409, 'Port is in use', 'conflict'), 'in use'),
            (
                nova_error(
                    500,
                    "Unexpected API Error.\n<class 'ValueError'>",
                    'computeFault',
                ),
                'ValueError',
            ),
            ({'status_code': 503, 'text': 'Service Unavailable'}, '503'),
            (
                {'exc': requests.exceptions.ConnectionError},
                'Cannot reach http://nova.example',
            ),
        ):
            self.cloud.post(CREATE, **answer)
            self.check(said, lines=1 + ('exc' in answer))

    def test_flavors(self):
        self.cloud.get(test_server.FLAVORS, status_code=503, text='x')
        self.check('503')
        self.assertEqual(1, len(self.requests))

    def test_unknown_image(self):
        self.cloud.get(
            f'{base.IMAGE}/v2/images/{IMAGE_ID}', status_code=404, json={}
        )
        self.cloud.get(f'{base.IMAGE}/v2/images', json={'images': []})
        self.check(IMAGE_ID)
        self.assertEqual([], self.posted())

    def test_unknown_network(self):
        self.cloud.get(
            f'{base.NETWORK}/v2.0/networks/{NETWORK_ID}',
            status_code=404,
            json={},
        )
        self.cloud.get(f'{base.NETWORK}/v2.0/networks', json={'networks': []})
        self.check(NETWORK_ID)
        self.assertEqual([], self.posted())

    def test_after_create(self):
        self.cloud.get(
            test_server.SERVER,
            [
                {'json': {'server': server()}},
                {'status_code': 503, 'text': 'x'},
            ],
        )
        self.check(f'Server train ({ID}) is created and left as it is')
