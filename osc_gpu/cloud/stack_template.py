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

"""Heat templates: a server with a GPU, and what its tenant needs before.

Two of them, as Heat makes everything in the project of who launches a stack:
an admin's makes project, user, quotas and flavor, a tenant's the server.
What is told beforehand is the default of a parameter, so that a template can
be launched elsewhere. Heat looks for functions in resources only, so what
comes from outside is a parameter's default or a plain string.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Protocol

from osc_gpu.cloud import hot


class Part(Protocol):
    """A part of multi-part user data, as modules of ``guest`` make them."""

    @property
    def subtype(self) -> str:
        """What follows ``text/`` in its type, such as ``x-shellscript``."""

    @property
    def filename(self) -> str:
        """Its file name."""

    @property
    def text(self) -> str:
        """Its content."""


@dataclasses.dataclass(frozen=True)
class Server:
    """A server, as a tenant launches it.

    Names, or IDs, are defaults of parameters; one that is None has to be
    given when a stack is launched, but for the last three, without which the
    server has none.
    """

    flavor: str | None = None
    image: str | None = None
    network: str | None = None
    external_network: str | None = None
    key_name: str | None = None
    name: str | None = None
    parts: Sequence[Part] = ()


@dataclasses.dataclass(frozen=True)
class Tenant:
    """A tenant with a flavor of its own, as an admin makes it.

    What is None has to be given when a stack is launched. The user has no
    password yet: Heat would tell it in the events of the stack.

    :param ram: of the flavor, in MiB
    :param disk: of the flavor, in GiB
    :param servers: how many servers of the flavor the quotas leave room for
    """

    project: str | None = None
    user: str | None = None
    flavor: str | None = None
    vcpus: int | None = None
    ram: int | None = None
    disk: int | None = None
    extra_specs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    servers: int = 1


def of_server(server: Server) -> hot.Snippet:
    """Make the template that launches a server."""
    outputs = {
        'server_id': hot.output('ID of the server', hot.resource('server')),
        'address': hot.output(
            'Address of the server on its network',
            hot.attribute('port', 'fixed_ips', 0, 'ip_address'),
        ),
    }
    if server.external_network is not None:
        outputs['floating_ip'] = hot.output(
            'Floating IP address of the server',
            hot.attribute('floating_ip', 'floating_ip_address'),
        )
    return hot.template(
        'A server with a GPU.',
        _server_parameters(server),
        _network_resources(server)
        | _user_data_resources(server.parts)
        | {'server': _server_resource(server)},
        outputs,
    )


def _server_parameters(server: Server) -> hot.Snippet:
    found = {
        'flavor': hot.text(
            'Flavor that requests a GPU', server.flavor, 'nova.flavor'
        ),
        'image': hot.text('Image to boot from', server.image, 'glance.image'),
        'network': hot.text(
            'Network of the server', server.network, 'neutron.network'
        ),
        'ssh_cidr': hot.text(
            'Addresses that may connect by SSH', '0.0.0.0/0', 'net_cidr'
        ),
    }
    if server.external_network is not None:
        found['external_network'] = hot.text(
            'Network of the floating IP address',
            server.external_network,
            'neutron.network',
        )
    if server.key_name is not None:
        found['key_name'] = hot.text(
            'Key pair to log in with', server.key_name, 'nova.keypair'
        )
    if server.name is not None:
        found['server_name'] = hot.text('Name of the server', server.name)
    return found


def _network_resources(server: Server) -> hot.Snippet:
    found = {
        'security_group': hot.made(
            'OS::Neutron::SecurityGroup',
            rules=[
                {
                    'direction': 'ingress',
                    'ethertype': 'IPv4',
                    'protocol': 'tcp',
                    'port_range_min': 22,
                    'port_range_max': 22,
                    'remote_ip_prefix': hot.parameter('ssh_cidr'),
                }
            ],
        ),
        'port': hot.made(
            'OS::Neutron::Port',
            network=hot.parameter('network'),
            security_groups=[hot.resource('security_group')],
        ),
    }
    if server.external_network is not None:
        found['floating_ip'] = hot.made(
            'OS::Neutron::FloatingIP',
            floating_network=hot.parameter('external_network'),
            port_id=hot.resource('port'),
        )
    return found


def _user_data_resources(parts: Sequence[Part]) -> hot.Snippet:
    """Make a resource of each part, and the one that joins them."""
    if not parts:
        return {}
    found = {
        f'part_{number}': hot.made(
            'OS::Heat::SoftwareConfig', config=part.text
        )
        for number, part in enumerate(parts, 1)
    }
    found['user_data'] = hot.made(
        'OS::Heat::MultipartMime',
        parts=[
            {
                'config': hot.resource(name),
                'type': 'text',
                'subtype': part.subtype,
                'filename': part.filename,
            }
            for name, part in zip(found, parts, strict=True)
        ],
    )
    return found


def _server_resource(server: Server) -> hot.Snippet:
    properties: hot.Snippet = {}
    if server.name is not None:
        properties['name'] = hot.parameter('server_name')
    properties['flavor'] = hot.parameter('flavor')
    properties['image'] = hot.parameter('image')
    if server.key_name is not None:
        properties['key_name'] = hot.parameter('key_name')
    properties['networks'] = [{'port': hot.resource('port')}]
    # Heat would have the guest call its CloudFormation API otherwise.
    properties['user_data_format'] = 'RAW'
    if server.parts:
        properties['user_data'] = hot.resource('user_data')
    return hot.made('OS::Nova::Server', **properties)


def of_tenant(tenant: Tenant) -> hot.Snippet:
    """Make the template that makes a project, its user and its flavor."""
    return hot.template(
        'A project that may launch servers of a flavor with a GPU.',
        _tenant_parameters(tenant),
        _identity_resources()
        | _quota_resources()
        | {'flavor': _flavor_resource()},
        {
            'project_id': hot.output(
                'ID of the project', hot.resource('project')
            ),
            'user_id': hot.output('ID of the user', hot.resource('user')),
            'flavor_id': hot.output(
                'ID of the flavor', hot.resource('flavor')
            ),
        },
    )


def _tenant_parameters(tenant: Tenant) -> hot.Snippet:
    return {
        'domain': hot.text(
            'Domain of the project and the user', 'default', 'keystone.domain'
        ),
        'project_name': hot.text('Name of the new project', tenant.project),
        'user_name': hot.text('Name of the new user', tenant.user),
        'role': hot.text(
            'Role of the user in the project', 'member', 'keystone.role'
        ),
        'flavor_name': hot.text('Name of the new flavor', tenant.flavor),
        'vcpus': hot.number('Number of vCPUs of the flavor', tenant.vcpus),
        'ram': hot.number('Memory size of the flavor in MiB', tenant.ram),
        'disk': hot.number(
            'Root disk size of the flavor in GiB', tenant.disk, 0
        ),
        'extra_specs': hot.mapping(
            'Extra specs of the flavor: its GPU request', tenant.extra_specs
        ),
        'servers': hot.number(
            'Number of servers of the flavor that the quotas leave room for',
            tenant.servers,
        ),
    }


def _identity_resources() -> hot.Snippet:
    return {
        'project': hot.made(
            'OS::Keystone::Project',
            name=hot.parameter('project_name'),
            domain=hot.parameter('domain'),
        ),
        'user': hot.made(
            'OS::Keystone::User',
            name=hot.parameter('user_name'),
            domain=hot.parameter('domain'),
            default_project=hot.resource('project'),
            roles=[
                {
                    'role': hot.parameter('role'),
                    'project': hot.resource('project'),
                }
            ],
        ),
    }


def _quota_resources() -> hot.Snippet:
    return {
        'compute_quota': hot.made(
            'OS::Nova::Quota',
            project=hot.resource('project'),
            instances=hot.parameter('servers'),
            cores=_for_all_servers('vcpus'),
            ram=_for_all_servers('ram'),
        ),
        'network_quota': hot.made(
            'OS::Neutron::Quota',
            project=hot.resource('project'),
            floatingip=hot.parameter('servers'),
        ),
    }


def _for_all_servers(name: str) -> hot.Snippet:
    return {
        'yaql': {
            'expression': '$.data.each * $.data.servers',
            'data': {
                'each': hot.parameter(name),
                'servers': hot.parameter('servers'),
            },
        }
    }


def _flavor_resource() -> hot.Snippet:
    return hot.made(
        'OS::Nova::Flavor',
        name=hot.parameter('flavor_name'),
        vcpus=hot.parameter('vcpus'),
        ram=hot.parameter('ram'),
        disk=hot.parameter('disk'),
        is_public=False,
        tenants=[hot.resource('project')],
        extra_specs=hot.parameter('extra_specs'),
    )
