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

"""Servers with GPUs: which there are, and how Nova shows them.

Nova is asked raw at one microversion, whatever the user chose for core's
commands: from 2.47 on a server embeds its flavor with the extra specs, also
when that flavor is long gone, from 2.69 on a server in a cell that does not
answer is reported instead of left out, and from 2.73 on the reason of a lock
is shown. The SDK's objects cannot tell
extra specs that Nova hides from a flavor that has none.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import logging
import re
from typing import Any

from openstack import connection
from openstack import exceptions as sdk_exceptions

from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import flavors
from osc_gpu.cloud import hypervisors
from osc_gpu.cloud import rest
from osc_gpu.i18n import _

LOG = logging.getLogger(__name__)

MICROVERSION = '2.73'

#: What an ID looks like; a name may look so, too.
UUID = re.compile('[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class GpuServer:
    """A server, and the GPUs that its own flavor requests.

    ``flavor`` is the name that the flavor had when the server was made.
    ``host`` is '' for whom Nova does not tell it, and for a server that is
    on none; ``fault`` is Nova's message, or ''. ``addresses`` lists the
    addresses by network. ``is_hidden``: Nova did not show the flavor's extra
    specs. ``is_partial``: the server's cell does not answer, so that Nova
    knows hardly more than the ID. ``task_state`` is '' while nothing is being
    done to the server, or for whom Nova does not tell it. ``host_id`` is
    Nova's digest of project and host, which tenants see too. ``own_flavor``
    is the flavor as it was when the server was made, without its ID; None if
    its extra specs are hidden. ``has_image`` is False for a server that
    booted from a volume.
    """

    id: str
    name: str
    status: str
    flavor: str
    gpu_request: extra_specs.GpuRequest
    host: str
    project_id: str
    user_id: str
    created_at: str
    addresses: Mapping[str, tuple[str, ...]]
    fault: str
    is_hidden: bool = False
    is_partial: bool = False
    task_state: str = ''
    updated_at: str = ''
    host_id: str = ''
    is_locked: bool = False
    locked_reason: str = ''
    has_image: bool = True
    own_flavor: flavors.Flavor | None = None


def parse(found: Mapping[str, Any], also: Collection[str] = ()) -> GpuServer:
    """Read a server as Nova shows it at ``MICROVERSION``.

    :param also: resource classes that the user says are GPUs too
    """
    flavor = found.get('flavor')
    specs = (flavor or {}).get('extra_specs')
    return GpuServer(
        id=found['id'],
        name=found.get('name') or '',
        status=found.get('status') or '',
        flavor=(flavor or {}).get('original_name') or '',
        gpu_request=extra_specs.parse(specs, also),
        host=found.get('OS-EXT-SRV-ATTR:host') or '',
        project_id=found.get('tenant_id') or '',
        user_id=found.get('user_id') or '',
        created_at=found.get('created') or '',
        addresses={
            network: tuple(a['addr'] for a in addresses if 'addr' in a)
            for network, addresses in (found.get('addresses') or {}).items()
        },
        fault=(found.get('fault') or {}).get('message') or '',
        is_hidden=flavor is not None and specs is None,
        is_partial=flavor is None,
        task_state=found.get('OS-EXT-STS:task_state') or '',
        updated_at=found.get('updated') or '',
        host_id=found.get('hostId') or '',
        is_locked=bool(found.get('locked')),
        locked_reason=found.get('locked_reason') or '',
        has_image=bool(found.get('image', True)),
        own_flavor=_own_flavor(flavor),
    )


def _own_flavor(found: Mapping[str, Any] | None) -> flavors.Flavor | None:
    if found is None or found.get('extra_specs') is None:
        return None
    return flavors.Flavor(
        id='',
        name=found.get('original_name') or '',
        vcpus=found.get('vcpus') or 0,
        ram=found.get('ram') or 0,
        disk=found.get('disk') or 0,
        ephemeral=found.get('ephemeral') or 0,
        swap=found.get('swap') or 0,
        is_public=False,
        extra_specs=found['extra_specs'],
    )


def list_servers(
    conn: connection.Connection,
    *,
    all_projects: bool = False,
    host: str | None = None,
    status: str | None = None,
    flavor_id: str | None = None,
    project_id: str | None = None,
    also: Collection[str] = (),
) -> tuple[GpuServer, ...]:
    """List the servers whose own flavor requests a GPU.

    One request, paged, and one more for a host that has no server. A host or
    a project implies all projects: without them Nova looks in the current
    project only, and drops both filters silently for who may not use them.

    :param host: name of a compute service's host
    :param also: resource classes that the user says are GPUs too
    :returns: sorted by host, name and ID
    :raises osc_lib.exceptions.CommandError: no such host
    """
    found = read_all(
        conn,
        also,
        host=host,
        status=status,
        flavor=flavor_id,
        project_id=project_id,
        all_tenants='True' if all_projects or host or project_id else None,
    )
    if host and not found:
        _refuse_unknown_host(conn, host)
    warn_of_unknown(found)
    servers = (server for server in found if server.gpu_request)
    return tuple(sorted(servers, key=lambda s: (s.host, s.name, s.id)))


def _refuse_unknown_host(conn: connection.Connection, host: str) -> None:
    try:
        found = _get(
            conn, '/os-services', {'binary': 'nova-compute', 'host': host}
        )
    except sdk_exceptions.ForbiddenException as exc:
        LOG.debug('Whether there is a host %s is not shown: %s', host, exc)
        return
    if not found['services']:
        raise hypervisors.unknown(host)


def find_server(
    conn: connection.Connection, name_or_id: str, also: Collection[str] = ()
) -> GpuServer:
    """Find a server by its ID or name; the own project's names come first.

    One request; one more for a name that looks like an ID, and one for a name
    that only other projects have, which takes an admin's rights.

    :raises openstack.exceptions.NotFoundException: there is none
    :raises openstack.exceptions.DuplicateResource: there are several
    """
    if UUID.fullmatch(name_or_id):
        try:
            return read_server(conn, name_or_id, also)
        except sdk_exceptions.NotFoundException:
            LOG.debug('No server with ID %s, so it is a name', name_or_id)
    found = _called(name_or_id, read_named(conn, name_or_id, also=also))
    if not found:
        try:
            others = read_named(conn, name_or_id, also=also, all_projects=True)
            found = _called(name_or_id, others)
        except sdk_exceptions.ForbiddenException as exc:
            LOG.debug('Other projects are not looked at: %s', exc)
    if len(found) == 1:
        return found[0]
    if found:
        raise sdk_exceptions.DuplicateResource(
            _("More than one server has the name '%(name)s': %(ids)s")
            % {
                'name': name_or_id,
                'ids': ', '.join(sorted(server.id for server in found)),
            }
        )
    raise sdk_exceptions.NotFoundException(
        _("No server with a name or ID of '%s' could be found.") % name_or_id
    )


def _called(name: str, found: Iterable[GpuServer]) -> list[GpuServer]:
    return [server for server in found if server.name == name]


def read_server(
    conn: connection.Connection, server_id: str, also: Collection[str] = ()
) -> GpuServer:
    """Read one server by its ID, in one request."""
    return parse(_get(conn, f'/servers/{server_id}', {})['server'], also)


def is_gone(exc: sdk_exceptions.NotFoundException, server_id: str) -> bool:
    """Tell whether Nova says of a server that there is none.

    A proxy, too, answers with 404 while it has no Nova behind it.
    """
    response = exc.response
    if response is None or not response.url.endswith(f'/servers/{server_id}'):
        return False
    try:
        return 'itemNotFound' in response.json()
    except ValueError:
        return False


def read_named(
    conn: connection.Connection,
    name: str,
    suffix: str = '',
    also: Collection[str] = (),
    *,
    all_projects: bool = False,
) -> tuple[GpuServer, ...]:
    """Read the current project's servers of about this name, or everyone's.

    One request, paged. Nova's database matches regular expressions, in its
    own dialect and perhaps in any case: the caller has to look again.

    :param suffix: a regular expression for what may follow the name
    """
    return read_all(
        conn,
        also,
        name=name_pattern(name, suffix),
        all_tenants='True' if all_projects else None,
    )


def name_pattern(name: str, suffix: str = '') -> str:
    """Return what Nova's filter of servers takes for about this name.

    :param suffix: a regular expression for what may follow the name
    """
    # Nova quotes some characters for some databases (nova/db/utils.py), so
    # none must be quoted here; a dot stands for them.
    pattern = re.sub(r'[][\\^$.|?*+(){}]', '.', name)
    return f'^{pattern}{suffix}$'


def warn_of_unknown(found: Iterable[GpuServer]) -> None:
    """Say of how many servers Nova hides whether they have a GPU."""
    found = tuple(found)
    hidden = sum(server.is_hidden for server in found)
    partial = sum(server.is_partial for server in found)
    if hidden:
        LOG.warning(
            _(
                "Nova does not show you the extra specs of flavors (policy "
                "os_compute_api:os-flavor-extra-specs:index). Servers that "
                "may have a GPU, but are not known to: %d"
            ),
            hidden,
        )
    if partial:
        LOG.warning(
            _(
                "A cell of this cloud does not answer. Servers that may have "
                "a GPU, but are not known to: %d"
            ),
            partial,
        )


def read_all(
    conn: connection.Connection,
    also: Collection[str] = (),
    **filters: str | None,
) -> tuple[GpuServer, ...]:
    """Read servers, those without a GPU among them, in one request per 1000.

    :param also: resource classes that the user says are GPUs too
    :param filters: of Nova's GET /servers/detail; None is left out
    """
    params = {key: value for key, value in filters.items() if value}
    found = rest.pages(
        conn.compute, '/servers/detail', 'servers', MICROVERSION, params
    )
    return tuple(parse(server, also) for server in found)


def read_page(
    conn: connection.Connection, **filters: str | Sequence[str]
) -> Sequence[GpuServer]:
    """Read the first servers of a list, in one request.

    :param filters: of Nova's GET /servers/detail; of several values any
    """
    body = _get(conn, '/servers/detail', filters)
    return [parse(server) for server in body['servers']]


def _get(
    conn: connection.Connection, path: str, params: Mapping[str, Any]
) -> Any:
    return rest.get(conn.compute, path, MICROVERSION, params)
