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

"""What there is of a license server: read, and what is made of it: written.

Everything is asked raw: neither what the user chose for core's commands nor
what the SDK's resources stop at decides what an answer has.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import logging
from typing import Any

from keystoneauth1 import adapter
from openstack import connection
from openstack import exceptions as sdk_exceptions

from osc_gpu.cloud import errors
from osc_gpu.cloud import license_model
from osc_gpu.cloud import license_parts
from osc_gpu.cloud import license_plan
from osc_gpu.cloud import license_rules
from osc_gpu.cloud import rest
from osc_gpu.cloud import servers
from osc_gpu.i18n import _

LOG = logging.getLogger(__name__)

#: From here on a server group has one policy, and its rules.
GROUPS = '2.64'

#: Nova's names in GET /limits: of the quota, what there may be, what there is.
_NOVA_QUOTAS = (
    ('instances', 'maxTotalInstances', 'totalInstancesUsed'),
    ('cores', 'maxTotalCores', 'totalCoresUsed'),
    ('ram', 'maxTotalRAMSize', 'totalRAMUsed'),
    ('server_groups', 'maxServerGroups', 'totalServerGroupsUsed'),
)


@dataclasses.dataclass(frozen=True)
class Clouds:
    """Who asks Nova, and who asks Neutron.

    Nova makes servers in the project of the token. Neutron heeds an admin's
    token for any project, and only that lets one choose a MAC address on a
    network of others. ``project_id`` is '' while it is not made; ``is_admin``
    says whether both tokens are an admin's.
    """

    nova: connection.Connection
    neutron: connection.Connection
    project_id: str
    is_admin: bool


def read_present(
    clouds: Clouds, name: str, nodes: Iterable[license_model.Node]
) -> license_model.Present:
    """Read what there is, in four requests; one more if there are groups.

    :raises osc_lib.exceptions.CommandError: a name is not unique
    """
    names = [node.name for node in nodes]
    # Servers first: those that are built are on their ports by then.
    found = read_servers(clouds.nova, name)
    server_groups = _read_server_groups(clouds.nova)
    owned = {'project_id': clouds.project_id}
    ports = license_parts.read_list(
        clouds.neutron, 'ports', **owned, name=names
    )
    groups = license_parts.read_list(
        clouds.neutron, 'security-groups', **owned, name=name
    )
    return license_plan.present(
        name,
        names,
        [parse_security_group(group) for group in groups],
        [parse_port(port) for port in ports],
        server_groups,
        found,
    )


def parse_security_group(
    found: Mapping[str, Any],
) -> license_model.SecurityGroup:
    """Read a security group as Neutron shows it."""
    return license_model.SecurityGroup(
        id=found['id'],
        name=found['name'],
        description=found.get('description') or '',
        rules=license_rules.parse(found['security_group_rules']),
    )


def parse_port(found: Mapping[str, Any]) -> license_model.Port:
    """Read a port as Neutron shows it."""
    return license_model.Port(
        id=found['id'],
        name=found['name'],
        network_id=found['network_id'],
        mac_address=found['mac_address'].lower(),
        addresses=tuple(ip['ip_address'] for ip in found['fixed_ips']),
        security_groups=tuple(found.get('security_groups') or ()),
        device_id=found.get('device_id') or '',
    )


def _read_server_groups(
    conn: connection.Connection,
) -> list[license_model.ServerGroup]:
    found: list[license_model.ServerGroup] = []
    while True:
        body = rest.get(
            conn.compute, '/os-server-groups', GROUPS, {'offset': len(found)}
        )
        page = body['server_groups']
        if not page:
            return found
        found += [parse_server_group(group) for group in page]


def parse_server_group(found: Mapping[str, Any]) -> license_model.ServerGroup:
    """Read a server group as Nova shows it."""
    rules = found.get('rules') or {}
    return license_model.ServerGroup(
        id=found['id'],
        name=found['name'],
        policy=found['policy'],
        most=int(rules.get('max_server_per_host', 1)),
        members=frozenset(found['members']),
    )


def read_servers(
    conn: connection.Connection, name: str
) -> tuple[license_model.Server, ...]:
    """Read the servers that may be nodes, in one request."""
    found = rest.pages(
        conn.compute,
        '/servers/detail',
        'servers',
        servers.MICROVERSION,
        {'name': servers.name_pattern(name, '-[12]')},
    )
    return tuple(_parse_server(server) for server in found)


def _parse_server(found: Mapping[str, Any]) -> license_model.Server:
    return license_model.Server(
        id=found['id'],
        name=found.get('name') or '',
        status=found.get('status') or '',
        flavor=(found.get('flavor') or {}).get('original_name') or '',
        # '' for a server that booted from a volume
        image_id=(found.get('image') or {}).get('id') or '',
        key_name=found.get('key_name') or '',
        description=found.get('description') or '',
        task_state=found.get('OS-EXT-STS:task_state') or '',
        host=found.get('OS-EXT-SRV-ATTR:host') or '',
        host_id=found.get('hostId') or '',
        fault=(found.get('fault') or {}).get('message') or '',
    )


def read_taken(
    clouds: Clouds, network_id: str, nodes: Iterable[license_model.Node]
) -> tuple[str, ...]:
    """Say which of the addresses that were chosen other ports have.

    A request for MAC addresses, one for IP addresses, if any were chosen.
    Who is no admin sees the own project's ports only.
    """
    nodes = tuple(nodes)
    macs = [node.mac_address for node in nodes if node.mac_address]
    addresses = [node.fixed_ip for node in nodes if node.fixed_ip]
    on_network = {'network_id': network_id}
    found: list[Mapping[str, Any]] = []
    if macs:
        found += license_parts.read_list(
            clouds.neutron, 'ports', **on_network, mac_address=macs
        )
    if addresses:
        found += license_parts.read_list(
            clouds.neutron,
            'ports',
            **on_network,
            fixed_ips=[f'ip_address={address}' for address in addresses],
        )
    ports = [parse_port(port) for port in found]
    return tuple(
        _("%(taken)s is in use by port %(id)s")
        % {'taken': taken, 'id': port.id}
        for port in {port.id: port for port in ports}.values()
        for taken in (port.mac_address, *port.addresses)
        if taken in (*macs, *addresses)
    )


def read_room(clouds: Clouds) -> tuple[dict[str, int], dict[str, int]]:
    """Read what is left of quotas, Nova's and Neutron's, in two requests.

    What has no limit is left out, and so is all that is not shown.
    """
    limits = _read_quotas(clouds.nova.compute, '/limits').get('absolute', {})
    quotas = _read_quotas(
        clouds.neutron.network, f'/quotas/{clouds.project_id}/details'
    )
    nova = {
        name: limits[most] - limits.get(used, 0)
        for name, most, used in _NOVA_QUOTAS
        if limits.get(most, -1) >= 0
    }
    neutron = {
        name: quota['limit'] - quota['used'] - quota.get('reserved', 0)
        for name, quota in quotas.items()
        if quota['limit'] >= 0
    }
    return nova, neutron


def _read_quotas(service: adapter.Adapter, path: str) -> Mapping[str, Any]:
    try:
        (found,) = rest.get(service, path).values()
    except sdk_exceptions.HttpException as exc:
        LOG.debug('Quotas are not shown: %s', errors.explain(exc))
        return {}
    quotas: Mapping[str, Any] = found
    return quotas
