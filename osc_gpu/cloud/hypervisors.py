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

"""Nova's hypervisors: which hosts there are, and whether they take servers."""

from collections.abc import Mapping
import dataclasses
from typing import Any

from openstack import connection
from osc_lib import exceptions

from osc_gpu.cloud import rest
from osc_gpu.i18n import _

#: From here on a hypervisor's ID is a UUID, that of its root resource
#: provider; from 2.88 on Nova would call every host for its uptime.
MICROVERSION = '2.53'


@dataclasses.dataclass(frozen=True)
class Hypervisor:
    """A compute node; its ``id`` is that of its root resource provider.

    ``name`` is the hypervisor hostname, ``host`` the compute service's.
    ``numa_nodes`` is 0 where Nova does not tell. ``servers`` are the IDs of
    those on it, if they were asked for.
    """

    id: str
    name: str
    host: str
    is_up: bool = True
    is_enabled: bool = True
    disabled_reason: str = ''
    numa_nodes: int = 0
    servers: tuple[str, ...] = ()


def read(
    conn: connection.Connection, *, with_servers: bool = False
) -> Mapping[str, Hypervisor]:
    """Read all hypervisors by ID, in one request per 1000.

    Those in a cell that does not answer are missing.

    :param with_servers: read which servers are on each, of all projects
    """
    found = rest.pages(
        conn.compute,
        '/os-hypervisors/detail',
        'hypervisors',
        MICROVERSION,
        {'with_servers': 'True'} if with_servers else None,
    )
    return {item['id']: parse(item) for item in found}


def unknown(host: str) -> exceptions.CommandError:
    """Return the error for a name that no compute service host has."""
    return exceptions.CommandError(
        _(
            "No compute service host named '%s'; list them with: openstack "
            "gpu host list --all"
        )
        % host
    )


def is_up(conn: connection.Connection, host: str) -> bool:
    """Tell whether a host's compute service is up now, in one request."""
    query = {'binary': 'nova-compute', 'host': host}
    found = rest.get(conn.compute, '/os-services', MICROVERSION, query)
    return any(service['state'] == 'up' for service in found['services'])


def parse(found: Mapping[str, Any]) -> Hypervisor:
    """Read a hypervisor as Nova shows it at ``MICROVERSION``."""
    service = found.get('service') or {}
    # Drivers other than libvirt's may leave it empty.
    cpu_info = found.get('cpu_info')
    topology = cpu_info.get('topology') if isinstance(cpu_info, dict) else None
    return Hypervisor(
        id=found['id'],
        name=found['hypervisor_hostname'],
        host=service.get('host') or '',
        is_up=found.get('state') == 'up',
        is_enabled=found.get('status') == 'enabled',
        disabled_reason=service.get('disabled_reason') or '',
        numa_nodes=(topology or {}).get('cells') or 0,
        # Nova leaves it out where there are none.
        servers=tuple(s['uuid'] for s in found.get('servers') or ()),
    )
