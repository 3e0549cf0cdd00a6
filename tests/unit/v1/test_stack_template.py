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

import email

import yaml

from tests.unit import base
from tests.unit.v1 import test_server_create

COMMAND = ('gpu', 'stack', 'template', 'show')
ADMIN = (*COMMAND, '--variant', 'admin')
SIZES = ('--vcpus', '8', '--ram', '65536', '--disk', '40')


class TestShowStackTemplate(base.TestCase):
    def template(self, *argv):
        """Return the template, which is all of what is printed."""
        found = yaml.safe_load(self.ok(*argv).stdout)
        self.assertEqual('2018-08-31', found['heat_template_version'])
        # Nor did it log in.
        self.assertEqual([], self.cloud.request_history)
        return found

    def default(self, template, name):
        return template['parameters'][name]['default']

    def test_user(self):
        template = self.template(
            *COMMAND, '--flavor', 'gpu.a100', '--image', 'ubuntu',
            '--network', 'lab', '--external-network', 'public',
            '--key-name', 'me', '--server-name', 'train',
        )  # fmt: skip
        for name, value in {
            'flavor': 'gpu.a100',
            'image': 'ubuntu',
            'network': 'lab',
            'external_network': 'public',
            'key_name': 'me',
            'server_name': 'train',
        }.items():
            self.assertEqual(value, self.default(template, name))
        self.assertEqual(
            ['security_group', 'port', 'floating_ip', 'server'],
            [*template['resources']],
        )

    def test_nothing_given(self):
        template = self.template(*COMMAND)
        self.assertEqual(
            ['security_group', 'port', 'server'], [*template['resources']]
        )
        self.assertNotIn('default', template['parameters']['flavor'])

    def test_admin(self):
        template = self.template(
            *ADMIN, '--project', 'vision', '--user', 'ann',
            '--flavor', 'gpu.a100', *SIZES, '--servers', '4',
            '--alias', 'a100:2', '--hide-hypervisor',
            '--property', 'hw:cpu_policy=dedicated',
        )  # fmt: skip
        for name, value in {
            'project_name': 'vision',
            'user_name': 'ann',
            'flavor_name': 'gpu.a100',
            'vcpus': 8,
            'ram': 65536,
            'disk': 40,
            'servers': 4,
            'extra_specs': {
                'pci_passthrough:alias': 'a100:2',
                'hw:hide_hypervisor_id': 'true',
                'hw:cpu_policy': 'dedicated',
            },
        }.items():
            self.assertEqual(value, self.default(template, name))
        self.assertNotIn('server', template['resources'])

    def test_admin_with_vgpus(self):
        template = self.template(*ADMIN, '--vgpu')
        self.assertEqual(
            {'resources:VGPU': '1'}, self.default(template, 'extra_specs')
        )
        self.assertEqual(1, self.default(template, 'servers'))

    def test_hostile_names(self):
        hostile = '"\'\n$(reboot) {get_param: x} !!x &y *z'
        template = self.template(
            *COMMAND, '--flavor', hostile, '--server-name', '{get_file: /x}'
        )
        self.assertEqual(hostile, self.default(template, 'flavor'))
        self.assertEqual(
            '{get_file: /x}', self.default(template, 'server_name')
        )

    def test_refused(self):
        for argv, message in (
            (
                (*ADMIN, '--image', 'x', '--alias', 'a100'),
                '--image goes with --variant user only',
            ),
            (
                (*ADMIN, '--external-network', 'x', '--alias', 'a100'),
                '--external-network goes with --variant user only',
            ),
            (
                (*ADMIN, '--driver', 'nvidia', '--alias', 'a100'),
                '--driver goes with --variant user only',
            ),
            (
                (*ADMIN, '--guest-os', 'rocky-9', '--alias', 'a100'),
                '--guest-os goes with --variant user only',
            ),
            (
                (*ADMIN, '--license-token', 'x', '--alias', 'a100'),
                '--license-token goes with --variant user only',
            ),
            (
                (*COMMAND, '--guest-os', 'rocky-9'),
                '--guest-os is of no use without --driver',
            ),
            (
                (*COMMAND, '--disk', '0'),
                '--disk goes with --variant admin only',
            ),
            (
                (*COMMAND, '--servers', '2'),
                '--servers goes with --variant admin only',
            ),
            (
                (*COMMAND, '--alias', 'a100'),
                'A GPU request is for the flavor that --variant admin '
                'creates; give --flavor here',
            ),
            (
                (*COMMAND, '--property', 'a=b'),
                'A GPU request is for the flavor that --variant admin '
                'creates; give --flavor here',
            ),
            (
                (*COMMAND, '--flavor', 'a\udcff'),
                "'a\\udcff' is not UTF-8, and a template is",
            ),
        ):
            with self.subTest(argv):
                self.assertEqual(message, self.fails(*argv))
        line = self.fails(*ADMIN, *SIZES)
        self.assertIn('No GPU is requested: give --alias or --vgpu', line)
        self.assertEqual([], self.cloud.request_history)

    def test_no_secret_is_kept(self):
        for option, url in (
            ('--driver-url', 'https://me:passw0rd@h/x.run'),
            ('--driver-url', 'https://h/x.run?token=passw0rd'),
            ('--report-url', 'https://me:passw0rd@h/'),
        ):
            line = self.fails(
                *COMMAND, '--driver', 'nvidia', '--guest-os', 'rocky-9',
                option, url,
            )  # fmt: skip
            self.assertIn(f'{option} has ', line)
            self.assertIn('a template is a file that is kept', line)
            self.assertNotIn('passw0rd', line)
        # It is not read, nor does it have to be there.
        line = self.fails(*COMMAND, '--license-token', 'none-such')
        self.assertIn('--license-token: a template is no place', line)

    def test_usage(self):
        for argv, message in (
            (('--variant', 'x'), "invalid choice: 'x'"),
            (('--flavor', ''), 'argument --flavor: is empty'),
            (('--vcpus', '0'), "'0' is not a whole number from 1"),
            (('--alias', 'a100:0'), "the count '0' is not a whole number"),
            (('--virtual-functions',), 'arguments: --virtual-functions'),
        ):
            with self.subTest(argv):
                line = self.fails(*COMMAND, *argv, status=2)
                self.assertIn(message, line)


class TestDriver(test_server_create.TestCase):
    def parts(self, *argv):
        """Return the parts of a template's user data, and the template."""
        template = yaml.safe_load(self.ok(*COMMAND, *argv).stdout)
        self.assertEqual([], self.cloud.request_history)
        resources = template['resources']
        found = []
        for part in resources['user_data']['properties']['parts']:
            config = resources[part['config']['get_resource']]
            self.assertEqual('OS::Heat::SoftwareConfig', config['type'])
            found.append(
                (
                    f'{part["type"]}/{part["subtype"]}',
                    part['filename'],
                    config['properties']['config'],
                )
            )
        return found, template

    def sent(self, *argv):
        """Return the parts that a server would be created with."""
        text = self.ok(*self.argv(*argv, '--print-user-data')).stdout
        return [
            (
                part.get_content_type(),
                part.get_filename(),
                part.get_payload(decode=True).decode(),
            )
            for part in email.message_from_string(text).get_payload()
        ]

    def test_as_a_server_is_created(self):
        for argv in (
            ('--driver', 'none'),
            ('--workload', 'smoke', '--report-url', "https://h/'$(id)'"),
            ('--driver', 'nvidia', '--guest-os', 'ubuntu-24.04',
             '--cuda', '12.9', '--workload', 'smoke'),
            ('--driver', 'nvidia-open', '--guest-os', 'rocky-9',
             '--driver-url', "https://h/{get_param:flavor}'$(id)'.run"),
        ):  # fmt: skip
            with self.subTest(argv):
                self.cloud.reset_mock()
                found, template = self.parts(*argv)
                self.assertEqual(self.sent(*argv), found)
                self.assertEqual(
                    ['security_group', 'port', 'part_1', 'user_data',
                     'server'],
                    [*template['resources']],
                )  # fmt: skip
                server = template['resources']['server']['properties']
                self.assertEqual('RAW', server['user_data_format'])
                self.assertEqual(
                    {'get_resource': 'user_data'}, server['user_data']
                )

    def test_refused(self):
        for argv, message in (
            (
                ('--driver', 'nvidia'),
                'which system is in the image is not known: name one with '
                '--guest-os, of ',
            ),
            (
                ('--driver', 'amdgpu', '--cuda', '12.9'),
                "--driver-url and --cuda are for NVIDIA's drivers",
            ),
            (
                ('--driver', 'nvidia-vgpu', '--license-token', '/none/such'),
                '--license-token: a template is no place for a secret; '
                'launch with: openstack gpu server create',
            ),
            (
                ('--license-feature', 'vws'),
                '--license-token and --license-feature need --driver',
            ),
        ):
            with self.subTest(argv):
                self.assertIn(message, self.fails(*COMMAND, *argv))
        self.assertEqual([], self.cloud.request_history)
