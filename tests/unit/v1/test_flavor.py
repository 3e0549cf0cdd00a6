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
from unittest import mock
import uuid

import requests

from tests.unit import base
from tests.unit import fake_flavors

ALIAS = 'pci_passthrough:alias'
ID = '11111111-2222-3333-4444-555555555555'
CUT = requests.exceptions.ConnectionError(
    "('Connection aborted.', RemoteDisconnected('Remote end closed connection "
    "without response'))"
)
SIZE = ('--vcpus', '8', '--ram', '16384', '--disk', '80')
FIELDS = [
    'id',
    'name',
    'vcpus',
    'ram',
    'disk',
    'ephemeral',
    'swap',
    'is_public',
    'gpu_request',
    'gpu_count',
    'properties',
]
COLUMNS = [
    'ID',
    'Name',
    'VCPUs',
    'RAM',
    'Disk',
    'GPU Request',
    'GPU Count',
    'Public',
]
HIDDEN = (
    'You lack the right os_compute_api:os-flavor-extra-specs:index: Nova '
    'does not show you what flavors request'
)


class TestCase(fake_flavors.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.enterContext(
            mock.patch.object(
                uuid, 'uuid4', autospec=True, return_value=uuid.UUID(ID)
            )
        )

    def usage(self, *argv: str) -> str:
        """Run a command that argparse refuses; return what is wrong."""
        line = self.fails(*argv, status=2).splitlines()[-1]
        self.assertEqual([], self.requests)
        return line.partition(' error: ')[2] or line


class TestCreateFlavor(TestCase):
    create = ('gpu', 'flavor', 'create', 'gpu.big', *SIZE)

    def test_an_alias_flavor(self) -> None:
        shown = self.table(*self.create, '--alias', 'a100:2')
        self.assertEqual(
            {
                'id': ID,
                'name': 'gpu.big',
                'vcpus': 8,
                'ram': 16384,
                'disk': 80,
                'ephemeral': 0,
                'swap': 0,
                'is_public': True,
                'gpu_request': 'a100:2',
                'gpu_count': 2,
                'properties': {ALIAS: 'a100:2'},
            },
            shown,
        )
        self.assertEqual(FIELDS, list(shown))
        self.assertEqual({ALIAS: 'a100:2'}, self.nova.specs(ID))
        self.assertEqual(
            [
                'POST /flavors compute 2.61',
                f'POST /flavors/{ID}/os-extra_specs compute 2.86',
            ],
            self.writes,
        )
        self.assertEqual(2, len(self.requests))

    def test_all_options(self) -> None:
        shown = self.table(
            *self.create,
            *('--id', 'big', '--ephemeral', '10', '--swap', '512'),
            *('--private', '--description', 'two halves'),
            *('--alias', 'a100', '--vgpu', 'CUSTOM_A40_8Q', '--vgpu'),
            *('--group-policy', 'isolate', '--numa-policy', 'preferred'),
            *('--trait', 'CUSTOM_T', '--forbid-trait', 'CUSTOM_U'),
            *('--hide-hypervisor', '--property', 'hw:cpu_policy=dedicated'),
            *('--property', 'x=a=b'),
        )
        specs = {
            ALIAS: 'a100:1',
            'resources1:CUSTOM_A40_8Q': '1',
            'resources2:VGPU': '1',
            'trait1:CUSTOM_T': 'required',
            'trait2:CUSTOM_T': 'required',
            'trait1:CUSTOM_U': 'forbidden',
            'trait2:CUSTOM_U': 'forbidden',
            'group_policy': 'isolate',
            'hw:pci_numa_affinity_policy': 'preferred',
            'hw:hide_hypervisor_id': 'true',
            'hw:cpu_policy': 'dedicated',
            'x': 'a=b',
        }
        self.assertEqual(
            {
                'id': 'big',
                'name': 'gpu.big',
                'vcpus': 8,
                'ram': 16384,
                'disk': 80,
                'ephemeral': 10,
                'swap': 512,
                'is_public': False,
                'gpu_request': 'a100:1, CUSTOM_A40_8Q:1, VGPU:1',
                'gpu_count': 3,
                'properties': specs,
            },
            shown,
        )
        self.assertEqual(specs, self.nova.specs('big'))
        self.assertEqual('two halves', self.nova.flavors['big']['description'])

    def test_class_that_nobody_knows(self) -> None:
        result = self.openstack(*self.create, '--vgpu', 'CUSTOM_FOO')
        self.assertEqual(0, result.status)
        self.assertIn('CUSTOM_FOO:1', result.stdout)
        self.assertEqual(
            'Nothing in the name of CUSTOM_FOO tells that it is a GPU: other '
            'commands count it as one with --resource-class CUSTOM_FOO\n',
            result.stderr,
        )

    def test_the_table_shows_properties_as_text(self) -> None:
        result = self.ok(*self.create, '--vgpu', '--show-hypervisor')
        self.assertIn(
            "| properties  | hw:hide_hypervisor_id='false', resources:VGPU='1'"
            ' |',
            result.stdout,
        )

    def test_what_novas_validator_wrongly_refuses(self) -> None:
        shown = self.table(
            *self.create,
            *('--alias', 'a100', '--property', 'hw:maxphysaddr_bits=42'),
            *('--property', 'hw:maxphysaddr_mode=emulate'),
        )
        specs = {
            ALIAS: 'a100:1',
            'hw:maxphysaddr_bits': '42',
            'hw:maxphysaddr_mode': 'emulate',
        }
        self.assertEqual(specs, shown['properties'])
        self.assertEqual(specs, self.nova.specs(ID))
        self.assertEqual(
            [
                'POST /flavors compute 2.61',
                f'POST /flavors/{ID}/os-extra_specs compute 2.86',
                f'POST /flavors/{ID}/os-extra_specs compute 2.61',
            ],
            self.writes,
        )

    def test_the_version_that_the_user_chose_does_not_matter(self) -> None:
        result = self.openstack(
            *('--os-compute-api-version', '2.10', *self.create),
            *('--alias', 'a100', '--description', 'x'),
        )
        self.assertEqual(0, result.status, result.stderr)
        self.assertEqual(['2.61', '2.86'], self.microversions('compute'))

    def _add_project(self, **answer: object) -> None:
        url = f'{base.AUTH_URL}/projects'
        self.cloud.get(f'{url}/lab', **(answer or {'status_code': 404}))
        self.cloud.get(
            f'{url}?name=lab',
            json={'projects': [{'id': 'p' * 32, 'name': 'lab'}]},
        )

    def test_a_project_may_use_it(self) -> None:
        self._add_project()
        self.ok(*self.create, '--vgpu', '--private', '--project', 'lab')
        self.assertEqual({ID: ['p' * 32]}, self.nova.access)
        self.assertEqual(
            [
                'GET /projects/lab',
                'GET /projects?name=lab',
                'POST /flavors',
                f'POST /flavors/{ID}/os-extra_specs',
                f'POST /flavors/{ID}/action',
            ],
            self.requests,
        )

    def test_a_project_of_a_domain(self) -> None:
        self.cloud.get(
            f'{base.AUTH_URL}/domains/d', json={'domain': {'id': 'd'}}
        )
        self.cloud.get(
            f'{base.AUTH_URL}/projects/lab',
            json={'project': {'id': 'lab', 'domain_id': 'd'}},
        )
        self.ok(
            *self.create,
            *('--vgpu', '--private', '--project', 'lab'),
            *('--project-domain', 'd'),
        )
        self.assertEqual({ID: ['lab']}, self.nova.access)

    def test_an_unknown_project(self) -> None:
        url = f'{base.AUTH_URL}/projects'
        self.cloud.get(f'{url}/lab', status_code=404)
        self.cloud.get(f'{url}?name=lab', json={'projects': []})
        self.assertIn(
            'lab',
            self.fails(
                *self.create, '--vgpu', '--private', '--project', 'lab'
            ),
        )
        self.assertEqual([], self.writes)

    def test_a_project_needs_a_private_flavor(self) -> None:
        self.assertEqual(
            'argument --project: it is only allowed with --private',
            self.fails(*self.create, '--vgpu', '--project', 'lab'),
        )
        self.assertEqual([], self.requests)

    def test_usage(self) -> None:
        for argv, text in (
            (
                ('--alias', 'a100:0'),
                "argument --alias: 'a100:0': the count '0' is not a whole "
                'number from 1 on, as in a100:2',
            ),
            (('--alias', 'a100:-1'), "the count '-1' is not"),
            (('--alias', 'a100:x'), "the count 'x' is not"),
            (('--alias', 'a:b:1'), "no ':' in its name"),
            (('--alias', 'a,b'), 'repeat the option for more'),
            (('--alias', ''), 'has a name'),
            (('--alias', 'x' * 257), '256 characters at most'),
            (
                ('--vgpu', 'gpu.big'),
                '; the name of the flavor goes before --vgpu',
            ),
            (
                ('--vgpu', 'nvidia-11'),
                "argument --vgpu: 'nvidia-11' is no resource class of GPUs: "
                'right are VGPU, PGPU and CUSTOM_<A-Z, 0-9, _>, such as '
                'CUSTOM_NVIDIA_11',
            ),
            (
                ('--trait', 'A100'),
                "argument --trait: 'A100' is no trait: it starts with "
                'CUSTOM_, as in CUSTOM_A100, or is a standard one',
            ),
            (
                ('--trait', 'nvlink'),
                "argument --trait: 'nvlink' is no trait: its name has A-Z, "
                '0-9 and _ only, such as NVLINK',
            ),
            (('--forbid-trait', 'A-B'), 'argument --forbid-trait:'),
            (('--numa-policy', 'near'), 'argument --numa-policy:'),
            (('--group-policy', 'some'), 'argument --group-policy:'),
            (('--property', 'x'), 'argument --property:'),
            (
                ('--ram', '0'),
                "argument --ram: '0' is not a whole number from 1 to "
                '2147483647',
            ),
            (('--vcpus', '0'), "argument --vcpus: '0' is not"),
            (('--vcpus', 'x'), "argument --vcpus: 'x' is not"),
            (('--disk', '-1'), "argument --disk: '-1' is not"),
            (('--disk', '9999999999'), "argument --disk: '9999999999' is"),
            (('--swap', '1.5'), "argument --swap: '1.5' is not"),
            (('--ephemeral', ''), "argument --ephemeral: '' is not"),
            (('--id', 'a/b'), "argument --id: 'a/b' is no ID"),
            (('--id', 'auto'), 'leave --id out to have one made'),
            (('--id', ' a'), "argument --id: ' a' is no ID"),
            (('--hide-hypervisor', '--show-hypervisor'), 'not allowed with'),
            (('--public', '--private'), 'not allowed with'),
        ):
            with self.subTest(argv):
                self.assertIn(
                    text, self.usage(*self.create, '--alias', 'a100', *argv)
                )

    def test_names(self) -> None:
        for name, text in (
            ('', 'is no name for a flavor'),
            (' x', 'is no name for a flavor'),
            ('a\x1bb', 'is no name for a flavor'),
            ('x' * 256, '255 characters at most'),
        ):
            with self.subTest(name[:9]):
                self.assertIn(
                    text,
                    self.usage(
                        *('gpu', 'flavor', 'create', name, *SIZE),
                        '--vgpu=VGPU',
                    ),
                )

    def test_sizes_are_required(self) -> None:
        self.assertIn(
            '--vcpus, --ram, --disk',
            self.usage('gpu', 'flavor', 'create', 'g', '--alias', 'a'),
        )

    def test_refused_before_the_first_request(self) -> None:
        for argv, text in (
            ((), 'No GPU is requested: give --alias or --vgpu.'),
            (
                ('--alias', 'a', '--alias', 'a:2'),
                "argument --alias: 'a' is given twice",
            ),
            (
                ('--alias', 'a', '--property', f'{ALIAS}=a:2'),
                f'argument --property {ALIAS}=a:2: it contradicts --alias',
            ),
            (
                ('--property', f'{ALIAS}=a'),
                f"argument --property {ALIAS}=a: 'a' has no count",
            ),
            (
                ('--vgpu', '--group-policy', 'isolate'),
                'argument --group-policy isolate: it needs two',
            ),
            (
                ('--vgpu', '--trait', 'HW_A', '--forbid-trait', 'HW_A'),
                'argument --forbid-trait HW_A: --trait requires it',
            ),
            (
                ('--vgpu', '--private', '--project-domain', 'd'),
                'argument --project-domain d: it is only of use with',
            ),
        ):
            with self.subTest(argv):
                line = self.fails(*self.create, *argv)
                self.assertTrue(line.startswith(text), line)
                self.assertNotIn('\n', line)
                self.assertEqual([], self.requests)

    def test_a_name_that_is_taken(self) -> None:
        self.nova.add('gpu.big', {ALIAS: 'a100:1'})
        self.assertEqual(
            'Flavor with name gpu.big already exists.',
            self.fails(*self.create, '--vgpu'),
        )
        self.assertEqual('POST /flavors', self.requests[0])
        self.assertEqual(['id-gpu.big'], list(self.nova.flavors))

    def test_a_name_that_a_killed_create_took(self) -> None:
        self.nova.add('gpu.big')
        self.assertEqual(
            'Flavor with name gpu.big already exists; it requests no GPU: to '
            'give it one, type openstack gpu flavor set gpu.big and the same '
            'GPU options',
            self.fails(*self.create, '--vgpu'),
        )
        self.assertEqual(['id-gpu.big'], list(self.nova.flavors))
        self.nova.fail('GET', '/flavors/detail', 500)
        self.assertEqual(
            'Flavor with name gpu.big already exists.',
            self.fails(*self.create, '--vgpu'),
        )

    def test_an_id_that_is_taken(self) -> None:
        self.nova.add('other', {'x': 'y'}, id='big')
        self.assertEqual(
            "argument --id: a flavor with ID 'big' exists already",
            self.fails(*self.create, '--vgpu', '--id', 'big'),
        )
        self.assertEqual([], self.writes)

    def test_an_id_that_cannot_be_looked_up(self) -> None:
        self.nova.fail('GET', '/big', 503)
        self.assertEqual(
            'http://nova.example/v2.1/flavors/big failed with HTTP 503: Nova '
            'is out of order.',
            self.fails(*self.create, '--vgpu', '--id', 'big'),
        )
        self.assertEqual([], self.writes)

    def test_no_right_to_make_flavors(self) -> None:
        self.nova.fail(
            *('POST', '/flavors', 403),
            message="Policy doesn't allow os_compute_api:os-flavor-manage:"
            'create to be performed.',
        )
        self.assertEqual(
            'You lack the right os_compute_api:os-flavor-manage:create; ask '
            'for a role that has it',
            self.fails(*self.create, '--vgpu'),
        )
        self.assertEqual(1, len(self.writes))

    def test_nova_refuses_an_extra_spec(self) -> None:
        self.assertEqual(
            "Validation failed; extra spec 'hw:nonsense' does not appear to "
            'be a valid extra spec; the new flavor gpu.big is removed again',
            self.fails(*self.create, '--vgpu', '--property', 'hw:nonsense=1'),
        )
        self.assertEqual({}, self.nova.flavors)
        self.assertEqual(f'DELETE /flavors/{ID}', self.requests[-1])

    def test_a_request_is_never_repeated(self) -> None:
        # The SDK of 2025.1 would, and Nova would refuse its own flavor.
        self.nova.fail('POST', '/flavors', CUT, done=True)
        self.fails(*self.create, '--vgpu')
        self.assertEqual(
            ['POST /flavors', f'DELETE /flavors/{ID}'], self.requests
        )


class TestCreateFlavorOnOldNova(TestCase):
    max_compute_microversion = '2.79'

    def test_extra_specs_are_posted_at_what_it_has(self) -> None:
        self.ok('gpu', 'flavor', 'create', 'g', *SIZE, '--vgpu')
        self.assertEqual(
            [
                'POST /flavors compute 2.61',
                f'POST /flavors/{ID}/os-extra_specs compute 2.79',
            ],
            self.writes,
        )


class TestListFlavor(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.nova.add('m1.small')
        self.nova.add('v', {ALIAS: 'v100:1', 'x': 'y'})
        self.nova.add('a', {ALIAS: 'a100:2,v100:1'})
        self.nova.add('foo', {'resources:CUSTOM_FOO': '2'})
        self.nova.add(
            'hidden',
            {'resources:VGPU': '1'},
            **{'os-flavor-access:is_public': False},
        )

    def names(self, *argv: str) -> list[str]:
        rows = self.table('gpu', 'flavor', 'list', *argv)
        return [row['Name'] for row in rows]

    def test_columns(self) -> None:
        rows = self.table('gpu', 'flavor', 'list')
        self.assertEqual(
            [
                {
                    'ID': 'id-a',
                    'Name': 'a',
                    'VCPUs': 4,
                    'RAM': 8192,
                    'Disk': 40,
                    'GPU Request': 'a100:2, v100:1',
                    'GPU Count': 3,
                    'Public': True,
                },
                {
                    'ID': 'id-v',
                    'Name': 'v',
                    'VCPUs': 4,
                    'RAM': 8192,
                    'Disk': 40,
                    'GPU Request': 'v100:1',
                    'GPU Count': 1,
                    'Public': True,
                },
            ],
            rows,
        )
        self.assertEqual(COLUMNS, list(rows[0]))
        self.assertEqual(['GET /flavors/detail?is_public=True'], self.requests)
        self.assertEqual(['2.61'], self.microversions('compute'))

    def test_long(self) -> None:
        rows = self.table('gpu', 'flavor', 'list', '--long')
        self.assertEqual([*COLUMNS, 'Properties'], list(rows[1]))
        self.assertEqual({ALIAS: 'v100:1', 'x': 'y'}, rows[1]['Properties'])
        self.assertEqual(1, len(self.requests))

    def test_public_private_all(self) -> None:
        for argv, names, asked in (
            ((), ['a', 'v'], 'True'),
            (('--public',), ['a', 'v'], 'True'),
            (('--private',), ['hidden'], 'False'),
            (('--all',), ['a', 'hidden', 'v'], 'None'),
        ):
            with self.subTest(argv):
                self.assertEqual(names, self.names(*argv))
                self.assertEqual(
                    f'GET /flavors/detail?is_public={asked}',
                    self.requests[-1],
                )

    def test_a_tenant_sees_what_nova_shows_whatever_was_asked(self) -> None:
        body = {'flavors': list(self.nova.flavors.values())}
        self.cloud.get(f'{base.COMPUTE}/flavors/detail', json=body)
        self.assertEqual(['a', 'hidden', 'v'], self.names())
        self.assertEqual(['a', 'v'], self.names('--public'))
        self.assertEqual(['hidden'], self.names('--private'))

    def test_by_alias_and_class(self) -> None:
        for argv, names in (
            (('--alias', 'a100'), ['a']),
            (('--alias', 'v100'), ['a', 'v']),
            (('--alias', 'a100', '--alias', 'v100'), ['a', 'v']),
            (('--alias', 'h100'), []),
            (('--resource-class', 'CUSTOM_FOO'), ['foo']),
            (('--resource-class', 'VGPU', '--all'), ['hidden']),
            (
                (
                    *('--resource-class', 'VGPU', '--all'),
                    *('--resource-class', 'CUSTOM_FOO'),
                ),
                ['foo', 'hidden'],
            ),
            (('--alias', 'a100', '--resource-class', 'VGPU'), []),
        ):
            with self.subTest(argv):
                self.assertEqual(names, self.names(*argv))

    def test_usage(self) -> None:
        self.assertIn(
            "has no ',' or ':' in its name",
            self.usage('gpu', 'flavor', 'list', '--alias', 'a100:2'),
        )
        self.assertIn(
            'argument --resource-class:',
            self.usage('gpu', 'flavor', 'list', '--resource-class', 'vgpu'),
        )

    def test_what_nova_says(self) -> None:
        for answer, line in (
            (403, 'Nova is out of order.'),
            (
                503,
                'http://nova.example/v2.1/flavors/detail failed with HTTP '
                '503: Nova is out of order.',
            ),
            (
                CUT,
                'Cannot reach http://nova.example/v2.1/flavors/detail: the '
                'connection was cut',
            ),
        ):
            with self.subTest(answer):
                self.nova.faults.clear()
                self.nova.fail('GET', '/detail', answer)
                self.assertEqual(line, self.fails('gpu', 'flavor', 'list'))

    def test_extra_specs_that_are_not_shown(self) -> None:
        self.nova.hide_extra_specs = True
        self.assertEqual(HIDDEN, self.fails('gpu', 'flavor', 'list'))


class TestShowFlavor(TestCase):
    def test_a_gpu_flavor(self) -> None:
        self.nova.add('g', {ALIAS: 'a100:2', 'resources:VGPU': '1'})
        for ref in ('g', 'id-g'):
            with self.subTest(ref):
                shown = self.table('gpu', 'flavor', 'show', ref)
                self.assertEqual(FIELDS, list(shown))
                self.assertEqual('a100:2, VGPU:1', shown['gpu_request'])
                self.assertEqual(3, shown['gpu_count'])
        self.assertEqual(
            ['GET /flavors/detail?is_public=None'] * 2, self.requests
        )

    def test_a_flavor_without_gpus(self) -> None:
        self.nova.add('m1', {'resources:CUSTOM_FOO': '1'})
        shown = self.table('gpu', 'flavor', 'show', 'm1')
        self.assertEqual(('', 0), (shown['gpu_request'], shown['gpu_count']))
        self.assertEqual({'resources:CUSTOM_FOO': '1'}, shown['properties'])
        shown = self.table(
            *('gpu', 'flavor', 'show', 'm1'),
            *('--resource-class', 'CUSTOM_FOO'),
        )
        self.assertEqual('CUSTOM_FOO:1', shown['gpu_request'])

    def test_an_unknown_one(self) -> None:
        self.assertEqual(
            'Flavor nope could not be found.',
            self.fails('gpu', 'flavor', 'show', 'nope'),
        )
        self.assertEqual(
            ['GET /flavors/detail?is_public=None', 'GET /flavors/nope'],
            self.requests,
        )


class TestSetFlavor(TestCase):
    def set(self, *argv: str) -> None:
        self.assertEqual('', self.ok('gpu', 'flavor', 'set', *argv).stdout)

    def test_a_flavor_becomes_a_gpu_flavor(self) -> None:
        self.nova.add('m1.xlarge', {'hw:cpu_policy': 'shared'})
        self.set('m1.xlarge', '--alias', 'K80:1')
        self.assertEqual(
            {'hw:cpu_policy': 'shared', ALIAS: 'K80:1'},
            self.nova.specs('id-m1.xlarge'),
        )
        self.assertEqual(
            ['POST /flavors/id-m1.xlarge/os-extra_specs compute 2.86'],
            self.writes,
        )
        self.assertEqual(
            {'extra_specs': {ALIAS: 'K80:1'}},
            json.loads(str(self.cloud.last_request.text)),
        )
        self.assertEqual(2, len(self.requests))

    def test_set_before_the_old_keys_go(self) -> None:
        self.nova.add('my v', {'resources:VGPU': '1', 'x': 'y'}, id='my v')
        self.set('my v', '--vgpu', '--vgpu')
        self.assertEqual(
            {
                'x': 'y',
                'resources1:VGPU': '1',
                'resources2:VGPU': '1',
                'group_policy': 'none',
            },
            self.nova.specs('my v'),
        )
        self.assertEqual(
            [
                'POST /flavors/my v/os-extra_specs compute 2.86',
                'DELETE /flavors/my v/os-extra_specs/resources:VGPU compute '
                '2.61',
            ],
            self.writes,
        )
        self.assertIn('/flavors/my%20v/', self.cloud.last_request.url)

    def test_what_is_so_already_is_not_written(self) -> None:
        self.nova.add('v', {'resources:VGPU': '1'})
        self.set('v', '--vgpu')
        self.assertEqual([], self.writes)

    def test_only_what_novas_validator_wrongly_refuses(self) -> None:
        self.nova.add('v', {'resources:VGPU': '1'})
        self.set('v', '--property', 'hw:maxphysaddr_mode=emulate')
        self.assertEqual(
            ['POST /flavors/id-v/os-extra_specs compute 2.61'], self.writes
        )

    def test_a_class_that_the_user_says_is_a_gpu(self) -> None:
        self.nova.add('f', {'resources:CUSTOM_FOO': '1'})
        self.set(
            *('f', '--trait', 'CUSTOM_T', '--resource-class', 'CUSTOM_FOO')
        )
        self.assertEqual('required', self.nova.specs('id-f')['trait:CUSTOM_T'])

    def test_refused_before_the_first_request(self) -> None:
        for argv, text in (
            ((), 'Nothing to set: give --alias, --vgpu or another option'),
            (
                ('--alias', 'a', '--alias', 'a'),
                "argument --alias: 'a' is given twice",
            ),
            (
                ('--alias', 'a', '--property', f'{ALIAS}=b:1'),
                f'argument --property {ALIAS}=b:1: it contradicts --alias',
            ),
        ):
            with self.subTest(argv):
                line = self.fails('gpu', 'flavor', 'set', 'f', *argv)
                self.assertTrue(line.startswith(text), line)
                self.assertEqual([], self.requests)
        self.assertIn(
            'argument --alias:',
            self.usage('gpu', 'flavor', 'set', 'f', '--alias', 'a:0'),
        )

    def test_refused_before_the_first_write(self) -> None:
        self.nova.add('m1')
        self.assertIn(
            'No GPU is requested',
            self.fails('gpu', 'flavor', 'set', 'm1', '--trait', 'CUSTOM_T'),
        )
        self.assertEqual(
            'Flavor nope could not be found.',
            self.fails('gpu', 'flavor', 'set', 'nope', '--vgpu'),
        )
        self.nova.hide_extra_specs = True
        self.assertEqual(
            HIDDEN, self.fails('gpu', 'flavor', 'set', 'm1', '--vgpu')
        )
        self.assertEqual([], self.writes)


class TestUnsetFlavor(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.nova.add(
            'g',
            {
                ALIAS: 'a100:2,v100:1',
                'resources1:VGPU': '1',
                'resources2:VGPU': '1',
                'trait1:CUSTOM_T': 'required',
                'group_policy': 'none',
                'hw:pci_numa_affinity_policy': 'socket',
                'hw:hide_hypervisor_id': 'true',
                'x': 'y',
            },
        )

    def unset(self, *argv: str) -> None:
        self.assertEqual('', self.ok('gpu', 'flavor', 'unset', *argv).stdout)

    def test_one_alias(self) -> None:
        self.unset('g', '--alias', 'a100')
        self.assertEqual('v100:1', self.nova.specs('id-g')[ALIAS])
        self.assertEqual(
            ['POST /flavors/id-g/os-extra_specs compute 2.86'], self.writes
        )

    def test_a_class_with_its_groups(self) -> None:
        self.unset('g', '--vgpu', 'VGPU')
        url = 'DELETE /flavors/id-g/os-extra_specs'
        self.assertEqual(
            [
                f'{url}/trait1:CUSTOM_T compute 2.61',
                f'{url}/resources1:VGPU compute 2.61',
                f'{url}/resources2:VGPU compute 2.61',
                f'{url}/group_policy compute 2.61',
            ],
            self.writes,
        )

    def test_everything(self) -> None:
        self.unset('g', '--gpu', '--numa-policy', '--hide-hypervisor')
        self.assertEqual({'x': 'y'}, self.nova.specs('id-g'))
        self.nova.add('v', {'resources:VGPU': '1'})
        self.unset('v', '--gpu')
        self.assertEqual({}, self.nova.specs('id-v'))

    def test_trait_property_class(self) -> None:
        self.unset('g', '--trait', 'CUSTOM_T', '--property', 'x')
        self.assertEqual(6, len(self.nova.specs('id-g')))
        self.nova.add('f', {'resources:CUSTOM_FOO': '1', 'a b': 'c'})
        self.unset('f', '--gpu', '--resource-class', 'CUSTOM_FOO')
        self.unset('f', '--property', 'a b')
        self.assertEqual({}, self.nova.specs('id-f'))

    def test_traits_that_stay_beside_nothing(self) -> None:
        self.nova.add(
            'v', {'resources:VGPU': '1', 'trait:CUSTOM_T': 'required'}
        )
        result = self.openstack('gpu', 'flavor', 'unset', 'v', '--gpu')
        self.assertEqual(0, result.status)
        self.assertEqual(
            'Flavor v keeps trait CUSTOM_T; if it was meant for the vGPU, '
            'take it away with --trait CUSTOM_T\n',
            result.stderr,
        )
        self.unset('v', '--trait', 'CUSTOM_T')

    def test_what_is_not_there(self) -> None:
        self.assertEqual(
            'The flavor has nothing of --vgpu PGPU, --alias b, --trait '
            'CUSTOM_U, --property z',
            self.fails(
                *('gpu', 'flavor', 'unset', 'g', '--alias', 'a100'),
                *('--alias', 'b', '--vgpu', 'PGPU', '--property', 'z'),
                *('--trait', 'CUSTOM_U'),
            ),
        )
        self.assertEqual([], self.writes)

    def test_nothing_to_unset(self) -> None:
        self.assertEqual(
            'Nothing to unset: give --gpu, --alias or another option',
            self.fails('gpu', 'flavor', 'unset', 'g'),
        )
        self.assertEqual([], self.requests)

    def test_usage(self) -> None:
        for argv, text in (
            (('--alias', 'a:1'), "has no ',' or ':'"),
            (('--vgpu', 'vgpu'), 'such as VGPU'),
            (('--vgpu',), 'expected one argument'),
            (('--trait', 'a'), 'such as A'),
        ):
            with self.subTest(argv):
                self.assertIn(
                    text, self.usage('gpu', 'flavor', 'unset', 'g', *argv)
                )

    def test_nova_refuses_a_write(self) -> None:
        for answer in (409, CUT):
            with self.subTest(answer):
                self.nova.faults.clear()
                self.nova.fail('POST', '/os-extra_specs', answer)
                line = self.fails(
                    'gpu', 'flavor', 'unset', 'g', '--alias', 'a100'
                )
                self.assertNotIn('to finish', line)
                self.assertNotIn('\n', line)
                self.assertEqual(
                    'a100:2,v100:1', self.nova.specs('id-g')[ALIAS]
                )
                self.nova.fail('DELETE', '/resources1:VGPU', answer)
                self.nova.specs('id-g')['trait1:CUSTOM_T'] = 'required'
                line = self.fails('gpu', 'flavor', 'unset', 'g', '--gpu')
                self.assertIn(
                    'openstack flavor unset --property resources1:VGPU '
                    '--property resources2:VGPU --property group_policy id-g',
                    line,
                )
                self.nova.specs('id-g')[ALIAS] = 'a100:2,v100:1'
