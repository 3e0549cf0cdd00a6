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

"""What the current project uses of GPUs, as its own members may see it.

A tenant may ask Placement for the sums of the project, and Keystone for its
limits, but not what a single server holds: which class an alias stands for
cannot be learned.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import logging

from keystoneauth1 import exceptions as ksa_exceptions
from openstack import connection
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from osc_gpu.cloud import errors
from osc_gpu.cloud import gpu_hours
from osc_gpu.cloud import limits
from osc_gpu.cloud import resource_classes
from osc_gpu.cloud import servers
from osc_gpu.cloud import usage
from osc_gpu.i18n import _

LOG = logging.getLogger(__name__)

#: In these a server holds nothing, or is not known to hold anything.
_WITHOUT_HOST = frozenset(('SHELVED_OFFLOADED', 'ERROR', 'BUILD'))


@dataclasses.dataclass(frozen=True)
class OwnUsage:
    """What a project uses: GPUs by resource class, ``servers`` a count.

    ``gpu_hours`` is by what flavors name, resource classes and aliases.
    """

    project_id: str
    servers: int
    used: Mapping[str, int]
    limits: Mapping[str, int]
    gpu_hours: Mapping[str, float]


def read(
    conn: connection.Connection,
    *,
    also: Collection[str] = (),
    period: gpu_hours.Period | None = None,
) -> OwnUsage:
    """Read what the token's own project uses.

    One request per 1000 servers, one to Placement, two for limits; with a
    period one per 1000 servers in it, and one per 1000 deleted ones if there
    are any.

    :param also: resource classes that the user says are GPUs too
    :raises osc_lib.exceptions.CommandError: the token is for no project
    """
    project_id = conn.current_project_id
    if not project_id:
        raise exceptions.CommandError(
            _(
                "Your token is not for a project; name one with "
                "--os-project-name, or ask for all with: "
                "openstack gpu usage list"
            )
        )
    known = servers.read_all(conn, also)
    servers.warn_of_unknown(known)
    found = [server for server in known if server.gpu_request]
    hours = gpu_hours.read_requests(conn, known, period, also, project_id)
    used = _read_used(conn, project_id, found, also)
    return OwnUsage(
        project_id=project_id,
        servers=len(found),
        used=used,
        limits=_read_limits(conn, project_id, used, also),
        gpu_hours=_by_name(hours),
    )


def _read_limits(
    conn: connection.Connection,
    project_id: str,
    used: Iterable[str],
    also: Collection[str],
) -> dict[str, int]:
    """Read the limits of all GPU classes that have one."""
    may_use = limits.read(conn, project_id)
    classes = {
        *used,
        *may_use.registered,
        *(name for _project, name in may_use.projects),
    }
    return {
        name: limit
        for name in sorted(classes)
        if resource_classes.is_gpu_class(name, also)
        and (limit := may_use.of(project_id, name)) is not None
    }


def _read_used(
    conn: connection.Connection,
    project_id: str,
    found: Collection[servers.GpuServer],
    also: Collection[str],
) -> dict[str, int]:
    try:
        counted = usage.read_used(conn, project_id)
    except (
        ksa_exceptions.EndpointNotFound,
        sdk_exceptions.ForbiddenException,
        sdk_exceptions.ServiceDisabledException,
    ) as exc:
        LOG.warning(
            _(
                "What is used is what your servers' flavors request, as "
                "Placement does not tell: %s"
            ),
            errors.explain(exc, conn),
        )
        return requested(found)
    used = join(found, counted, also)
    if usage.UNKNOWN in used:
        LOG.warning(
            _(
                "%d GPUs that your servers request by PCI alias are not "
                "counted in Placement, or in a resource class not known to be "
                "that of GPUs; if you know the class, name it with "
                "--resource-class"
            ),
            used[usage.UNKNOWN],
        )
    return used


def requested(found: Iterable[servers.GpuServer]) -> dict[str, int]:
    """Return what servers that may hold something request, by class."""
    sums: dict[str, int] = {}
    for server in found:
        if server.status not in _WITHOUT_HOST:
            for name, n in usage.by_class(server.gpu_request, {}).items():
                sums[name] = sums.get(name, 0) + n
    return dict(sorted(sums.items()))


def join(
    found: Iterable[servers.GpuServer],
    counted: Mapping[str, int],
    also: Collection[str] = (),
) -> dict[str, int]:
    """Return the GPUs that Placement counts, by class, and those it misses.

    What servers request by alias, and nothing counted beyond what servers
    request by class accounts for, is ``usage.UNKNOWN``.
    """
    used = {
        name: amount
        for name, amount in sorted(counted.items())
        if resource_classes.is_gpu_class(name, also)
    }
    asked = requested(found)
    by_alias = asked.pop(usage.UNKNOWN, 0)
    spare = sum(max(0, n - asked.get(name, 0)) for name, n in used.items())
    if by_alias > spare:
        used[usage.UNKNOWN] = by_alias - spare
    return used


def _by_name(hours: Iterable[gpu_hours.GpuHours]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for item in hours:
        request = item.gpu_request
        for name, count in (*request.aliases, *request.classes):
            sums[name] = sums.get(name, 0.0) + item.hours * count
    return {name: round(total, 2) for name, total in sorted(sums.items())}
