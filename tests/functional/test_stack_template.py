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

"""Templates for Heat, launched by a real one.

The sandbox is one that was started ``--with heat``.
"""

import base64
import dataclasses
import email

import openstack
from openstack import exceptions

from osc_gpu.cloud import hot
from osc_gpu.cloud import stack_template
from osc_gpu.sandbox import spec as specs
from tests.functional import base
from tests.functional import shells

COMMAND = ('gpu', 'stack', 'template', 'show')
A100 = 'CUSTOM_PCI_10DE_20B5'
DRIVER = ('--driver', 'nvidia', '--guest-os', 'ubuntu-24.04')
HOSTILE = '"\'$(id) {get_param: x} #!'


@dataclasses.dataclass(frozen=True)
class Part:
    """Stands in for what modules of ``guest`` make."""

    subtype: str
    filename: str
    text: str


PARTS = (
    Part(
        'x-shellscript',
        'run.sh',
        '#!/bin/sh\necho "$(id)" \'{get_param: flavor}\'\n\ttrue \n',
    ),
    Part(
        'cloud-config', 'a b.yaml', '#cloud-config\n{get_file: /x}\n# \xe9\n'
    ),
    Part('x-shellscript', '{get_param: x}', '{get_param: flavor}'),
)


class TestCase(shells.TestCase):
    def setUp(self):
        super().setUp()
        if 'orchestration' not in self.spec.ports:
            self.fail('no Heat there: tools/with_sandbox.py --with heat')
        self.forgotten = set()
        clouds = specs.clouds(self.spec)
        self.member = openstack.connect(
            load_envvars=False, **clouds['sandbox-member']
        )

    def template(self, *argv):
        """Return a template as our command prints it, for anyone."""
        return self.ok(*COMMAND, *argv).stdout

    def validate(self, conn, template, **parameters):
        """Have Heat itself validate; return its parameters."""
        answer = conn.orchestration.post(
            '/validate', json={'template': template, 'parameters': parameters}
        )
        self.assertEqual(200, answer.status_code, answer.text)
        return answer.json()['Parameters']

    def launch(self, conn, template, **parameters):
        """Launch a stack; return it and its outputs."""
        self.validate(conn, template, **parameters)
        made = conn.orchestration.create_stack(
            name=self.name('stack'), template=template, parameters=parameters
        )
        self.addCleanup(self.forget_stack, conn, made)
        self.settle(conn, made)
        stack = conn.orchestration.get_stack(made.id)
        self.assertEqual('CREATE_COMPLETE', stack.status, stack.status_reason)
        return stack, {
            output['output_key']: output['output_value']
            for output in stack.outputs
        }

    def settle(self, conn, stack):
        """Wait until a stack has become something, or is gone."""

        def settled():
            try:
                found = conn.orchestration.get_stack(
                    stack.id, resolve_outputs=False
                )
            except exceptions.NotFoundException:
                return True
            return not found.status.endswith('IN_PROGRESS')

        base.wait_until(f'stack {stack.name}', settled, limit=180)

    def forget_stack(self, conn, stack):
        """Delete a stack and wait until it is gone; once is enough."""
        if stack.id in self.forgotten:
            return
        conn.orchestration.delete_stack(stack.id, ignore_missing=True)
        self.settle(conn, stack)
        left = conn.orchestration.find_stack(stack.id, ignore_missing=True)
        self.assertIsNone(left, left and left.status_reason)

        # Heat says that it is deleted somewhat earlier.
        def listed():
            return {each.id for each in conn.orchestration.stacks()}

        base.wait_until('not listed', lambda: stack.id not in listed())
        self.forgotten.add(stack.id)

    def make_key(self, conn):
        name = self.name('key')
        conn.compute.create_keypair(name=name)
        self.addCleanup(conn.compute.delete_keypair, name, ignore_missing=True)
        return name

    def present(self, conn):
        """Return everything in a project that a stack may have made."""
        answers = {
            'trusts': conn.identity.get(
                f'/OS-TRUST/trusts?trustor_user_id={conn.current_user_id}'
            ).json()['trusts'],
            'configs': conn.orchestration.get('/software_configs').json()[
                'software_configs'
            ],
        }
        project = conn.current_project_id
        return {
            'servers': {s.id for s in conn.compute.servers(details=False)},
            'stacks': {s.id for s in conn.orchestration.stacks()},
            'ports': {p.id for p in conn.network.ports(project_id=project)},
            'groups': {
                g.id
                for g in conn.network.security_groups(project_id=project)
                if g.name != 'default'
            },
            'ips': {i.id for i in conn.network.ips(project_id=project)},
        } | {kind: {x['id'] for x in found} for kind, found in answers.items()}

    def assert_gpu(self, server):
        """Nova, the guest and Placement agree on one card."""
        devices = self.guest(server)['devices']
        self.assertEqual(1, len(devices))
        self.assertEqual(devices, self.pci_addresses(server))
        held = self.allocations(server).values()
        self.assertEqual(1, sum(amounts.get(A100, 0) for amounts in held))

    def assert_reachable(self, server, outputs):
        """It has the floating IP address that is told, and lets SSH in."""
        (ip,) = self.admin.network.ips(
            floating_ip_address=outputs['floating_ip']
        )
        port = self.admin.network.get_port(ip.port_id)
        self.assertEqual(server, port.device_id)
        self.assertEqual(outputs['address'], ip.fixed_ip_address)
        (group,) = port.security_group_ids
        rules = self.admin.network.security_group_rules(
            security_group_id=group, direction='ingress'
        )
        self.assertEqual(
            [('tcp', 22, 22, '0.0.0.0/0')],
            [
                (
                    rule.protocol,
                    rule.port_range_min,
                    rule.port_range_max,
                    rule.remote_ip_prefix,
                )
                for rule in rules
            ],
        )


class TestUser(TestCase):
    def setUp(self):
        super().setUp()
        self.flavor = self.make_flavor('--alias', 'a100')

    def test_launched(self):
        before = self.present(self.member)
        key = self.make_key(self.member)
        template = self.template(
            '--flavor', self.flavor, '--image', 'cirros',
            '--network', 'private', '--external-network', 'public',
            '--key-name', key, '--server-name', HOSTILE, *DRIVER,
        )  # fmt: skip
        stack, outputs = self.launch(self.member, template)
        server = self.member.compute.get_server(outputs['server_id'])
        self.assertEqual(
            ('ACTIVE', HOSTILE, key),
            (server.status, server.name, server.key_name),
        )
        self.assert_gpu(server.id)
        self.assert_reachable(server.id, outputs)
        self.assertEqual(self.printed(), self.user_data(server.id))
        self.prove(server.id)
        self.forget_stack(self.member, stack)
        self.assertEqual(before, self.present(self.member))
        self.assertEqual({}, self.allocations(server.id))

    def prove(self, server):
        """Boot the guest; ask what it reports of its GPU."""
        argv = ('gpu', 'server', 'verify', server, '-f', 'json')
        silent = self.openstack(*argv, user='member')
        self.assertEqual(1, silent.status, silent)
        self.assertEqual('no report', silent.json['verdict'])
        booted = base.run(
            'osc-gpu-sandbox', 'guest', 'boot', server,
            OSC_GPU_SANDBOX_STATE=str(self.state),
        )  # fmt: skip
        self.assertEqual((0, ''), (booted.status, booted.stderr))
        self.assertIn('System   ubuntu-24.04\nGPUs     1\n', booted.stdout)
        found = self.table(*argv[:-2], user='member')
        self.assertEqual(('ok', []), (found['verdict'], found['problems']))
        self.assertRegex(
            found['summary'], '^1 of 1 GPUs, NVIDIA .*, driver [0-9.]+'
        )

    def test_parts_are_text_to_heat(self):
        template = stack_template.of_server(
            stack_template.Server(
                flavor=self.flavor,
                image='cirros',
                network='private',
                parts=PARTS,
            )
        )
        _stack, outputs = self.launch(self.member, hot.dump(template))
        self.assertEqual(PARTS, self.user_data(outputs['server_id']))

    def printed(self):
        """Return the parts that our own command would send to Nova."""
        result = self.ok(
            'gpu', 'server', 'create', self.name('server'),
            '--flavor', self.flavor, '--image', 'cirros',
            '--network', 'private', *DRIVER, '--print-user-data',
            user='member',
        )  # fmt: skip
        return self.parts(email.message_from_string(result.stdout))

    def user_data(self, server):
        """Return the parts of what Nova was told to give the guest."""
        found = self.admin.compute.get_server(server).user_data
        return self.parts(email.message_from_bytes(base64.b64decode(found)))

    def parts(self, message):
        self.assertEqual('multipart/mixed', message.get_content_type())
        return tuple(
            Part(
                part.get_content_subtype(),
                part.get_filename(),
                part.get_payload(decode=True).decode(),
            )
            for part in message.get_payload()
        )

    def test_hostile_names_are_names_to_heat(self):
        names = {
            'flavor': HOSTILE,
            'image': '{get_file: /etc/passwd}',
            'network': 'a\nb: c\n---\n',
            'external_network': '!!python/object:os.system',
            'key_name': '2018-08-31',
            'server_name': 'null',
        }
        argv = [
            word
            for name, value in names.items()
            for word in (f'--{name.replace("_", "-")}', value)
        ]
        found = self.validate(self.member, self.template(*argv))
        self.assertEqual(
            names, {name: found[name]['Default'] for name in names}
        )

    def test_refused_before_anything_is_made(self):
        before = self.present(self.member)
        template = self.template(
            '--flavor', self.flavor, '--image', 'none such',
            '--network', 'private',
        )  # fmt: skip
        with self.assertRaises(exceptions.BadRequestException) as caught:
            self.member.orchestration.create_stack(
                name=self.name('stack'), template=template
            )
        self.assertIn('none such', str(caught.exception))
        self.assertEqual(before, self.present(self.member))


class TestAdmin(TestCase):
    def test_launched_and_used(self):
        project, user = self.name('vision'), self.name('ann')
        flavor = self.name('gpu.a100')
        template = self.template(
            '--variant', 'admin', '--project', project, '--user', user,
            '--flavor', flavor, '--vcpus', '4', '--ram', '2048',
            '--disk', '1', '--alias', 'a100', '--servers', '2',
        )  # fmt: skip
        stack, outputs = self.launch(self.admin, template)
        self.check_quotas(outputs['project_id'])
        self.check_flavor(outputs['flavor_id'], flavor, outputs)

        password = self.name('password')
        self.admin.identity.update_user(outputs['user_id'], password=password)
        self.use(project, user, password, flavor)

        self.forget_stack(self.admin, stack)
        identity = self.admin.identity
        self.assertIsNone(identity.find_project(project, ignore_missing=True))
        self.assertIsNone(identity.find_user(user, ignore_missing=True))
        self.assertIsNone(
            self.admin.compute.find_flavor(flavor, ignore_missing=True)
        )

    def check_quotas(self, project):
        quotas = self.admin.compute.get(f'/os-quota-sets/{project}').json()
        found = quotas['quota_set']
        self.assertEqual(
            (2, 8, 4096),
            (found['instances'], found['cores'], found['ram']),
        )
        quotas = self.admin.network.get(f'/quotas/{project}').json()
        self.assertEqual(2, quotas['quota']['floatingip'])

    def check_flavor(self, flavor_id, name, outputs):
        flavor = self.admin.compute.get_flavor(flavor_id, get_extra_specs=True)
        self.assertEqual(
            (name, 4, 2048, 1, False, {'pci_passthrough:alias': 'a100:1'}),
            (
                flavor.name,
                flavor.vcpus,
                flavor.ram,
                flavor.disk,
                flavor.is_public,
                flavor.extra_specs,
            ),
        )
        access = self.admin.compute.get_flavor_access(flavor_id)
        self.assertEqual(
            [outputs['project_id']], [entry['tenant_id'] for entry in access]
        )

    def use(self, project, user, password, flavor):
        """As the new user, launch a user's template with the new flavor."""
        auth = specs.clouds(self.spec)['sandbox-member']['auth'] | {
            'username': user,
            'password': password,
            'project_name': project,
        }
        conn = openstack.connect(
            load_envvars=False, auth=auth, region_name=self.spec.region
        )
        # Keystone revokes what it issued in the second of a new password.
        trusts = f'/OS-TRUST/trusts?trustor_user_id={conn.current_user_id}'
        base.wait_until(
            'the user may ask',
            lambda: conn.identity.get(trusts).status_code == 200,
        )
        before = self.present(conn)
        template = self.template(
            '--flavor', flavor, '--image', 'cirros',
            '--external-network', 'public',
        )  # fmt: skip
        # What was not given then is given now.
        stack, outputs = self.launch(conn, template, network='private')
        server = self.admin.compute.get_server(outputs['server_id'])
        self.assertEqual(
            ('ACTIVE', None, None),
            (server.status, server.key_name, server.user_data),
        )
        self.assert_gpu(server.id)
        self.assert_reachable(server.id, outputs)
        self.forget_stack(conn, stack)
        self.assertEqual(before, self.present(conn))
