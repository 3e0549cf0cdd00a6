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
"""GPU flavors: what the commands say, held against what Nova stores."""

import uuid

from openstack import exceptions as sdk_exceptions

from tests.functional import shells
from tests.functional import wire

SIZES = ('--vcpus', '1', '--ram', '512', '--disk', '1')


class TestCase(shells.TestCase):
    def flavor(self, flavor_id):
        """Return a flavor as Nova's API has it."""
        response = self.admin.compute.get(
            f'/flavors/{flavor_id}', microversion='2.61'
        )
        self.assertEqual(200, response.status_code, response.text)
        return response.json()['flavor']

    def extra_specs(self, name):
        return self.flavor(self.find(name).id)['extra_specs']

    def find(self, name):
        return self.admin.compute.find_flavor(
            name, get_extra_specs=False, ignore_missing=False
        )

    def names(self):
        return [f.name for f in self.admin.compute.flavors(is_public=None)]

    def plain_flavor(self, *properties):
        """Create a flavor without a GPU, with core's command."""
        name = self.name('core')
        self.addCleanup(self.forget_flavor, name)
        argv = [word for spec in properties for word in ('--property', spec)]
        self.ok('flavor', 'create', name, *SIZES, *argv)
        return name


class TestCreateFlavor(TestCase):
    def test_every_option(self):
        name, flavor_id = self.name('every'), uuid.uuid4().hex
        self.addCleanup(self.forget_flavor, name)
        shown = self.table(
            'gpu', 'flavor', 'create', name,
            '--id', flavor_id,
            '--description', 'All of it',
            '--vcpus', '4',
            '--ram', '2048',
            '--disk', '10',
            '--ephemeral', '3',
            '--swap', '256',
            '--private',
            '--project', 'lab',
            '--alias', 'a100',
            '--alias', 'v100:2',
            '--vgpu', 'CUSTOM_NVIDIA_11',
            '--vgpu',
            '--group-policy', 'isolate',
            '--trait', 'CUSTOM_GOLD',
            '--forbid-trait', 'CUSTOM_BROKEN',
            '--numa-policy', 'socket',
            '--hide-hypervisor',
            '--property', 'hw:cpu_policy=dedicated',
            '--property', 'hw:maxphysaddr_mode=emulate',
            '--property', 'hw:maxphysaddr_bits=42',
        )  # fmt: skip
        stored = self.flavor(flavor_id)
        self.assertEqual(
            {
                'pci_passthrough:alias': 'a100:1,v100:2',
                'resources1:CUSTOM_NVIDIA_11': '1',
                'resources2:VGPU': '1',
                'group_policy': 'isolate',
                'trait1:CUSTOM_GOLD': 'required',
                'trait2:CUSTOM_GOLD': 'required',
                'trait1:CUSTOM_BROKEN': 'forbidden',
                'trait2:CUSTOM_BROKEN': 'forbidden',
                'hw:pci_numa_affinity_policy': 'socket',
                'hw:hide_hypervisor_id': 'true',
                'hw:cpu_policy': 'dedicated',
                'hw:maxphysaddr_mode': 'emulate',
                'hw:maxphysaddr_bits': '42',
            },
            stored['extra_specs'],
        )
        self.assertEqual('All of it', stored['description'])
        self.assertEqual(
            {
                'id': flavor_id,
                'name': name,
                'vcpus': stored['vcpus'],
                'ram': stored['ram'],
                'disk': stored['disk'],
                'ephemeral': stored['OS-FLV-EXT-DATA:ephemeral'],
                'swap': stored['swap'],
                'is_public': stored['os-flavor-access:is_public'],
                'gpu_request': 'a100:1, v100:2, CUSTOM_NVIDIA_11:1, VGPU:1',
                'gpu_count': 5,
                'properties': stored['extra_specs'],
            },
            shown,
        )
        self.assertEqual(
            (4, 2048, 10, 3, 256, False),
            (
                stored['vcpus'],
                stored['ram'],
                stored['disk'],
                stored['OS-FLV-EXT-DATA:ephemeral'],
                stored['swap'],
                stored['os-flavor-access:is_public'],
            ),
        )
        access = self.admin.compute.get_flavor_access(flavor_id)
        lab = self.admin.identity.find_project('lab', ignore_missing=False)
        self.assertEqual([lab.id], [entry['tenant_id'] for entry in access])
        # Who may use it sees it, and what it requests.
        self.assertEqual(
            shown, self.table('gpu', 'flavor', 'show', name, user='member')
        )

    def test_one_vgpu_has_the_key_that_a_reboot_looks_for(self):
        name = self.make_flavor(
            '--vgpu', '--trait', 'CUSTOM_GOLD', '--show-hypervisor'
        )
        self.assertEqual(
            {
                'resources:VGPU': '1',
                'trait:CUSTOM_GOLD': 'required',
                'hw:hide_hypervisor_id': 'false',
            },
            self.extra_specs(name),
        )

    def test_nothing_is_left_of_what_is_refused(self):
        before = self.names()
        taken = self.make_flavor('--alias', 'a100')
        other = self.name('other')
        self.addCleanup(self.forget_flavor, other)
        create = ('gpu', 'flavor', 'create')
        for expected, argv in (
            (
                f'Flavor with name {taken} already exists.',
                (taken, '--alias', 'v100'),
            ),
            (
                'exists already',
                (other, '--id', self.find(taken).id, '--alias', 'v100'),
            ),
            (
                'nonsense',
                (other, '--alias', 'a100', '--private', '--project',
                 'nonsense'),
            ),
            (
                'hw:nonsense',
                (other, '--alias', 'a100', '--property', 'hw:nonsense=1'),
            ),
        ):  # fmt: skip
            with self.subTest(argv):
                self.assertIn(expected, self.fails(*create, *argv, *SIZES))
        self.assertCountEqual([*before, taken], self.names())
        self.assertEqual(
            {'pci_passthrough:alias': 'a100:1'}, self.extra_specs(taken)
        )

    def test_right_that_a_tenant_lacks(self):
        taken = self.make_flavor('--alias', 'a100')
        before = self.names()
        for rule, argv in (
            (
                'os-flavor-manage:create',
                ('create', self.name('mine'), *SIZES, '--vgpu'),
            ),
            ('os-flavor-extra-specs:create', ('set', taken, '--alias', 'x')),
            ('os-flavor-extra-specs:delete', ('unset', taken, '--gpu')),
        ):
            with self.subTest(argv):
                line = self.fails('gpu', 'flavor', *argv, user='member')
                self.assertIn(f'the right os_compute_api:{rule}', line)
        self.assertEqual(before, self.names())
        self.assertEqual(
            {'pci_passthrough:alias': 'a100:1'}, self.extra_specs(taken)
        )


class TestSetFlavor(TestCase):
    def test_a_flavor_of_cores(self):
        mine = {'hw:cpu_policy': 'shared', 'mine:key': 'x'}
        name = self.plain_flavor(*(f'{k}={v}' for k, v in mine.items()))
        given = self.ok(
            'gpu', 'flavor', 'set', name,
            '--alias', 'a100:2',
            '--numa-policy', 'required',
            '--hide-hypervisor',
            '--property', 'hw:maxphysaddr_mode=passthrough',
        )  # fmt: skip
        self.assertEqual(('', ''), (given.stdout, given.stderr))
        gpu = {
            'pci_passthrough:alias': 'a100:2',
            'hw:pci_numa_affinity_policy': 'required',
            'hw:hide_hypervisor_id': 'true',
            'hw:maxphysaddr_mode': 'passthrough',
        }
        self.assertEqual(mine | gpu, self.extra_specs(name))

        # Added to, and replaced.
        self.ok(
            'gpu', 'flavor', 'set', name, '--alias', 'v100',
            '--alias', 'a100:1', '--vgpu', '--trait', 'CUSTOM_GOLD',
            '--show-hypervisor',
        )  # fmt: skip
        gpu |= {
            'pci_passthrough:alias': 'a100:1,v100:1',
            'hw:hide_hypervisor_id': 'false',
            'resources:VGPU': '1',
            'trait:CUSTOM_GOLD': 'required',
        }
        self.assertEqual(mine | gpu, self.extra_specs(name))

    def test_from_one_vgpu_to_two_and_back(self):
        name = self.make_flavor('--vgpu')
        flavor_set = ('gpu', 'flavor', 'set', name)
        self.ok(*flavor_set, '--vgpu', '--vgpu', '--trait', 'CUSTOM_GOLD')
        self.assertEqual(
            {
                'resources1:VGPU': '1',
                'resources2:VGPU': '1',
                'trait1:CUSTOM_GOLD': 'required',
                'trait2:CUSTOM_GOLD': 'required',
                'group_policy': 'none',
            },
            self.extra_specs(name),
        )
        self.ok(*flavor_set, '--vgpu')
        self.assertEqual(
            {'resources:VGPU': '1', 'trait:CUSTOM_GOLD': 'required'},
            self.extra_specs(name),
        )

    def test_refused(self):
        name = self.plain_flavor('hw:cpu_policy=shared')
        for expected, argv in (
            ('could not be found', (self.name('none'), '--alias', 'a100')),
            ('No GPU is requested', (name, '--hide-hypervisor')),
            ('Nothing to set', (name,)),
            (
                'hw:nonsense',
                (name, '--alias', 'a100', '--property', 'hw:nonsense=1'),
            ),
        ):
            with self.subTest(argv):
                self.assertIn(
                    expected, self.fails('gpu', 'flavor', 'set', *argv)
                )
        self.assertEqual({'hw:cpu_policy': 'shared'}, self.extra_specs(name))


class TestUnsetFlavor(TestCase):
    def test_every_form(self):
        name = self.make_flavor(
            '--alias', 'a100:2', '--alias', 'v100',
            '--vgpu', '--vgpu', 'CUSTOM_NVIDIA_11',
            '--trait', 'CUSTOM_GOLD', '--forbid-trait', 'CUSTOM_BROKEN',
            '--numa-policy', 'legacy', '--hide-hypervisor',
            '--property', 'mine:key=x', '--property', 'hw:cpu_policy=shared',
        )  # fmt: skip
        specs = self.extra_specs(name)

        def unset(*argv):
            result = self.ok('gpu', 'flavor', 'unset', name, *argv)
            self.assertEqual(('', ''), (result.stdout, result.stderr))
            self.assertEqual(specs, self.extra_specs(name))

        specs['pci_passthrough:alias'] = 'v100:1'
        for key in ('trait1:CUSTOM_BROKEN', 'trait2:CUSTOM_BROKEN'):
            del specs[key]
        unset('--alias', 'a100', '--trait', 'CUSTOM_BROKEN')

        for key in (
            'resources2:CUSTOM_NVIDIA_11',
            'trait2:CUSTOM_GOLD',
            'group_policy',
            'mine:key',
        ):
            del specs[key]
        unset('--vgpu', 'CUSTOM_NVIDIA_11', '--property', 'mine:key')

        before = dict(specs)
        line = self.fails(
            'gpu', 'flavor', 'unset', name, '--alias', 'a100', '--alias',
            'v100', '--vgpu', 'PGPU', '--property', 'mine:key',
        )  # fmt: skip
        for missing in ('--alias a100', '--vgpu PGPU', '--property mine:key'):
            self.assertIn(missing, line)
        self.assertNotIn('v100', line)
        self.assertEqual(before, self.extra_specs(name))

        specs.clear()
        specs['hw:cpu_policy'] = 'shared'
        unset('--gpu', '--numa-policy', '--hide-hypervisor')
        self.assertIn(
            'Nothing to unset', self.fails('gpu', 'flavor', 'unset', name)
        )

    def test_trait_beside_the_vgpu_is_pointed_out(self):
        name = self.make_flavor('--vgpu', '--trait', 'CUSTOM_GOLD')
        result = self.ok('gpu', 'flavor', 'unset', name, '--gpu')
        self.assertIn('keeps trait CUSTOM_GOLD', result.stderr)
        self.assertEqual(
            {'trait:CUSTOM_GOLD': 'required'}, self.extra_specs(name)
        )


class TestListFlavor(TestCase):
    def setUp(self):
        super().setUp()
        self.made = {
            'alias': self.make_flavor('--alias', 'v100:2', name='alias'),
            'vgpu': self.make_flavor('--vgpu', name='vgpu'),
            'hidden': self.make_flavor(
                '--alias', 'a100', '--vgpu', '--private', name='hidden'
            ),
            'lab': self.make_flavor(
                '--vgpu', 'CUSTOM_NVIDIA_11', '--private', '--project', 'lab',
                name='lab',
            ),
            # Core's option, as the name of its class says nothing.
            'odd': self.plain_flavor('resources:CUSTOM_FPGA=1'),
        }  # fmt: skip

    def assertListed(self, expected, *argv, user='admin'):
        rows = self.table('gpu', 'flavor', 'list', *argv, user=user)
        listed = {row['Name'] for row in rows}
        self.assertEqual(
            {self.made[stem] for stem in expected},
            listed & set(self.made.values()),
        )
        return rows

    def test_filters(self):
        everything = {'alias', 'vgpu', 'hidden', 'lab'}
        for expected, argv in (
            ({'alias', 'vgpu'}, ()),
            ({'alias', 'vgpu'}, ('--public',)),
            ({'hidden', 'lab'}, ('--private',)),
            (everything, ('--all',)),
            ({'alias'}, ('--all', '--alias', 'v100')),
            (
                {'alias', 'hidden'},
                ('--all', '--alias', 'v100', '--alias', 'a100'),
            ),
            ({'vgpu', 'hidden'}, ('--all', '--resource-class', 'VGPU')),
            (
                {'hidden'},
                ('--all', '--resource-class', 'VGPU', '--alias', 'a100'),
            ),
            ({'odd'}, ('--resource-class', 'CUSTOM_FPGA')),
            ({'lab'}, ('--private', '--resource-class', 'CUSTOM_NVIDIA_11')),
            (set(), ('--alias', 'nonsense')),
        ):
            with self.subTest(argv):
                self.assertListed(expected, *argv)

    def test_tenant(self):
        for expected, argv in (
            ({'alias', 'vgpu', 'lab'}, ()),
            ({'alias', 'vgpu', 'lab'}, ('--all',)),
            ({'lab'}, ('--private',)),
        ):
            with self.subTest(argv):
                self.assertListed(expected, *argv, user='member')
        self.assertIn(
            'could not be found',
            self.fails(
                'gpu', 'flavor', 'show', self.made['hidden'], user='member'
            ),
        )

    def test_columns(self):
        rows = self.assertListed({'alias'}, '--alias', 'v100', '--long')
        (row,) = (row for row in rows if row['Name'] == self.made['alias'])
        stored = self.find(self.made['alias'])
        self.assertEqual(
            {
                'ID': stored.id,
                'Name': stored.name,
                'VCPUs': stored.vcpus,
                'RAM': stored.ram,
                'Disk': stored.disk,
                'GPU Request': 'v100:2',
                'GPU Count': 2,
                'Public': True,
                'Properties': {'pci_passthrough:alias': 'v100:2'},
            },
            row,
        )


class TestBadInput(wire.TestCase):
    def test_refused_before_nova_is_asked(self):
        for status, words, argv in (
            (2, "--alias 'a100:0'", ('--alias', 'a100:0')),
            (2, "--alias 'a100:-1'", ('--alias', 'a100:-1')),
            (2, "--alias 'a100:two'", ('--alias', 'a100:two')),
            (2, "--alias 'a:b:1'", ('--alias', 'a:b:1')),
            (2, "--alias 'a,b'", ('--alias', 'a,b')),
            (1, "--alias 'a100'", ('--alias', 'a100', '--alias', 'a100:2')),
            (2, "--vgpu 'MEMORY_MB'", ('--vgpu', 'MEMORY_MB')),
            (
                2,
                "--vgpu 'nvidia-11' CUSTOM_NVIDIA_11",
                ('--vgpu', 'nvidia-11'),
            ),
            (
                2,
                "--trait 'custom_x' CUSTOM_X",
                ('--vgpu', '--trait', 'custom_x'),
            ),
            (2, "--forbid-trait 'A-B'", ('--vgpu', '--forbid-trait', 'A-B')),
            (2, "--ram '0'", ('--vgpu', '--ram', '0')),
            (2, "--vcpus '-1'", ('--vgpu', '--vcpus', '-1')),
            (
                1,
                'hw:hide_hypervisor_id=false --hide-hypervisor',
                ('--vgpu', '--hide-hypervisor', '--property',
                 'hw:hide_hypervisor_id=false'),
            ),
            (
                1,
                'pci_passthrough:alias=v100:1 --alias',
                ('--alias', 'a100', '--property',
                 'pci_passthrough:alias=v100:1'),
            ),
            (
                1,
                '--forbid-trait CUSTOM_X --trait',
                ('--vgpu', '--trait', 'CUSTOM_X', '--forbid-trait',
                 'CUSTOM_X'),
            ),
            (1, '--project --private', ('--vgpu', '--project', 'lab')),
            (1, '--alias --vgpu', ()),
        ):  # fmt: skip
            with self.subTest(argv):
                line = self.fails(
                    'gpu', 'flavor', 'create', self.name('bad'), *SIZES,
                    *argv, status=status,
                ).splitlines()[-1]  # fmt: skip
                for word in words.split(' '):
                    self.assertIn(word, line)
        self.assertEqual([], self.nova.requests)

    def test_ids_that_nova_refuses(self):
        for flavor_id in ('auto', 'a/b', ' ', ''):
            with self.subTest(flavor_id):
                line = self.fails(
                    'gpu', 'flavor', 'create', self.name('bad'), *SIZES,
                    '--vgpu', '--id', flavor_id, status=2,
                ).splitlines()[-1]  # fmt: skip
                self.assertIn(f"argument --id: '{flavor_id}'", line)
        self.assertEqual([], self.nova.requests)

    def test_nova_would_have_taken_the_worst_of_it(self):
        """What is refused here for good reason: Nova does not."""
        name = self.make_flavor('--vgpu')
        path = f'/flavors/{self.admin.compute.find_flavor(name).id}'
        for microversion, value, status in (
            ('2.86', 'a100:0', 200),
            ('2.61', 'a100:x', 200),
            ('2.86', 'a100:x', 400),
        ):
            response = self.admin.compute.post(
                f'{path}/os-extra_specs',
                json={'extra_specs': {'pci_passthrough:alias': value}},
                microversion=microversion,
            )
            self.assertEqual(status, response.status_code, response.text)
        # And what it holds then is shown, not stumbled over.
        shown = self.table('gpu', 'flavor', 'show', name)
        self.assertEqual('VGPU:1', shown['gpu_request'])
        with self.assertRaises(sdk_exceptions.BadRequestException):
            sdk_exceptions.raise_from_response(response)
