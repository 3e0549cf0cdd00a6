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

import dataclasses
import unittest

import yaml

from osc_gpu.cloud import hot
from osc_gpu.cloud import stack_template


@dataclasses.dataclass(frozen=True)
class Part:
    subtype: str
    filename: str
    text: str


SCRIPT = Part('x-shellscript', 'run.sh', '#!/bin/sh\ntrue\n')
CONFIG = Part('cloud-config', 'config.yaml', '#cloud-config\n{}\n')
HOSTILE = (
    '"\'\n$(reboot) {get_param: x} {{ x }} %s\t#',
    '{get_file: /etc/passwd}',
    '{"get_param": "flavor"}',
    '!!python/object:os.system x',
    '&a *a',
    '|\n  x: y\n',
    'resources:\n  server: {}\n',
    '---\n...\n',
    '\x00\x1b[2J',
    ' ',
)

WHOLE = stack_template.Server(
    flavor='gpu.a100',
    image='ubuntu-24.04',
    network='lab',
    external_network='public',
    key_name='me',
    name='train',
    parts=(SCRIPT, CONFIG),
)
TENANT = stack_template.Tenant(
    project='vision',
    user='ann',
    flavor='gpu.a100',
    vcpus=8,
    ram=65536,
    disk=40,
    extra_specs={'pci_passthrough:alias': 'a100:1'},
    servers=4,
)

SERVER_RESOURCES = """\
security_group:
  type: OS::Neutron::SecurityGroup
  properties:
    rules:
    - direction: ingress
      ethertype: IPv4
      protocol: tcp
      port_range_min: 22
      port_range_max: 22
      remote_ip_prefix: {get_param: ssh_cidr}
port:
  type: OS::Neutron::Port
  properties:
    network: {get_param: network}
    security_groups:
    - {get_resource: security_group}
floating_ip:
  type: OS::Neutron::FloatingIP
  properties:
    floating_network: {get_param: external_network}
    port_id: {get_resource: port}
part_1:
  type: OS::Heat::SoftwareConfig
  properties:
    config: |
      #!/bin/sh
      true
part_2:
  type: OS::Heat::SoftwareConfig
  properties:
    config: |
      #cloud-config
      {}
user_data:
  type: OS::Heat::MultipartMime
  properties:
    parts:
    - config: {get_resource: part_1}
      type: text
      subtype: x-shellscript
      filename: run.sh
    - config: {get_resource: part_2}
      type: text
      subtype: cloud-config
      filename: config.yaml
server:
  type: OS::Nova::Server
  properties:
    name: {get_param: server_name}
    flavor: {get_param: flavor}
    image: {get_param: image}
    key_name: {get_param: key_name}
    networks:
    - port: {get_resource: port}
    user_data_format: RAW
    user_data: {get_resource: user_data}
"""

TENANT_RESOURCES = """\
project:
  type: OS::Keystone::Project
  properties:
    name: {get_param: project_name}
    domain: {get_param: domain}
user:
  type: OS::Keystone::User
  properties:
    name: {get_param: user_name}
    domain: {get_param: domain}
    default_project: {get_resource: project}
    roles:
    - role: {get_param: role}
      project: {get_resource: project}
compute_quota:
  type: OS::Nova::Quota
  properties:
    project: {get_resource: project}
    instances: {get_param: servers}
    cores:
      yaql:
        expression: $.data.each * $.data.servers
        data:
          each: {get_param: vcpus}
          servers: {get_param: servers}
    ram:
      yaql:
        expression: $.data.each * $.data.servers
        data:
          each: {get_param: ram}
          servers: {get_param: servers}
network_quota:
  type: OS::Neutron::Quota
  properties:
    project: {get_resource: project}
    floatingip: {get_param: servers}
flavor:
  type: OS::Nova::Flavor
  properties:
    name: {get_param: flavor_name}
    vcpus: {get_param: vcpus}
    ram: {get_param: ram}
    disk: {get_param: disk}
    is_public: false
    tenants:
    - {get_resource: project}
    extra_specs: {get_param: extra_specs}
"""


def defaults(template):
    """Return the defaults of the parameters that have one."""
    return {
        name: found['default']
        for name, found in template['parameters'].items()
        if 'default' in found
    }


def calls(snippet, function):
    """Return what all calls of a function are about, wherever they are."""
    if isinstance(snippet, list):
        return {x for item in snippet for x in calls(item, function)}
    if not isinstance(snippet, dict):
        return set()
    if [*snippet] == [function]:
        (found,) = snippet.values()
        return {found[0] if isinstance(found, list) else found}
    return {x for item in snippet.values() for x in calls(item, function)}


class TestCase(unittest.TestCase):
    def assertWhole(self, template):
        """Assert that all that is used is there, and the reverse."""
        body = [template['resources'], template['outputs']]
        self.assertEqual({*template['parameters']}, calls(body, 'get_param'))
        for function in ('get_resource', 'get_attr'):
            self.assertLessEqual(
                calls(body, function), {*template['resources']}
            )


class TestServer(TestCase):
    def test_whole(self):
        template = stack_template.of_server(WHOLE)
        self.assertWhole(template)
        self.assertEqual(SERVER_RESOURCES, hot.dump(template['resources']))
        self.assertEqual(
            {
                'flavor': 'gpu.a100',
                'image': 'ubuntu-24.04',
                'network': 'lab',
                'external_network': 'public',
                'key_name': 'me',
                'server_name': 'train',
                'ssh_cidr': '0.0.0.0/0',
            },
            defaults(template),
        )
        self.assertEqual(
            ['server_id', 'address', 'floating_ip'], [*template['outputs']]
        )

    def test_nothing_given(self):
        template = stack_template.of_server(stack_template.Server())
        self.assertWhole(template)
        self.assertEqual(
            ['flavor', 'image', 'network', 'ssh_cidr'],
            [*template['parameters']],
        )
        # What is left has to be given when a stack is launched.
        self.assertEqual({'ssh_cidr': '0.0.0.0/0'}, defaults(template))
        self.assertEqual(
            ['security_group', 'port', 'server'], [*template['resources']]
        )
        self.assertEqual(
            {
                'flavor': {'get_param': 'flavor'},
                'image': {'get_param': 'image'},
                'networks': [{'port': {'get_resource': 'port'}}],
                'user_data_format': 'RAW',
            },
            template['resources']['server']['properties'],
        )
        self.assertNotIn('floating_ip', template['outputs'])

    def test_heat_checks_names_before_it_makes_anything(self):
        parameters = stack_template.of_server(WHOLE)['parameters']
        self.assertEqual(
            {
                'flavor': 'nova.flavor',
                'image': 'glance.image',
                'network': 'neutron.network',
                'external_network': 'neutron.network',
                'key_name': 'nova.keypair',
                'ssh_cidr': 'net_cidr',
            },
            {
                name: found['constraints'][0]['custom_constraint']
                for name, found in parameters.items()
                if 'constraints' in found
            },
        )

    def test_hostile_values_are_text(self):
        for text in HOSTILE:
            with self.subTest(text):
                hostile = stack_template.Server(
                    *[text] * 6, parts=(Part(text, text, text),)
                )
                template = stack_template.of_server(hostile)
                self.assertEqual(template, yaml.safe_load(hot.dump(template)))
                self.assertEqual(
                    {*defaults(template).values()}, {text, '0.0.0.0/0'}
                )
                resources = template['resources']
                self.assertEqual(
                    {'config': text}, resources['part_1']['properties']
                )
                (part,) = resources['user_data']['properties']['parts']
                self.assertEqual(
                    (text, text), (part['subtype'], part['filename'])
                )
                # Nothing of it got anywhere else.
                self.assertWhole(template)


class TestTenant(TestCase):
    def test_whole(self):
        template = stack_template.of_tenant(TENANT)
        self.assertWhole(template)
        self.assertEqual(TENANT_RESOURCES, hot.dump(template['resources']))
        self.assertEqual(
            {
                'domain': 'default',
                'project_name': 'vision',
                'user_name': 'ann',
                'role': 'member',
                'flavor_name': 'gpu.a100',
                'vcpus': 8,
                'ram': 65536,
                'disk': 40,
                'extra_specs': {'pci_passthrough:alias': 'a100:1'},
                'servers': 4,
            },
            defaults(template),
        )

    def test_nothing_given(self):
        template = stack_template.of_tenant(stack_template.Tenant())
        self.assertWhole(template)
        self.assertEqual(
            {'domain', 'role', 'extra_specs', 'servers'},
            {*defaults(template)},
        )

    def test_hostile_extra_spec(self):
        specs = {'get_param': 'user_name'}
        template = stack_template.of_tenant(
            dataclasses.replace(TENANT, extra_specs=specs)
        )
        # Only in a resource would Heat take it for a function.
        self.assertEqual(specs, defaults(template)['extra_specs'])
        self.assertEqual(
            {'get_param': 'extra_specs'},
            template['resources']['flavor']['properties']['extra_specs'],
        )
        self.assertEqual(template, yaml.safe_load(hot.dump(template)))
