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

"""GPUs in use by project and resource class, beside what they may use.

What is in use is what Placement counts for a project, as Nova's unified
limits do: a server that waits for its resize to be confirmed counts twice,
and so does what was leaked (facts 6). GPUs of hosts that do not report their
PCI devices to Placement are taken from the flavors of their servers, and of
no known class.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import logging
from typing import NamedTuple

from openstack import connection

from osc_gpu.cloud import alias_classes
from osc_gpu.cloud import errors
from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import gpu_hours
from osc_gpu.cloud import hypervisors
from osc_gpu.cloud import limits
from osc_gpu.cloud import placement
from osc_gpu.cloud import resource_classes
from osc_gpu.cloud import rest
from osc_gpu.cloud import servers
from osc_gpu.cloud import side_by_side
from osc_gpu.i18n import _

LOG = logging.getLogger(__name__)

#: Stands for the resource class of GPUs of which none is known.
UNKNOWN = 'unknown'

#: Hosts that a warning names, at most.
_MOST_NAMED = 5

#: From here on Placement sums up what a project uses.
_MICROVERSION = '1.9'

Amounts = Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Usage:
    """What a project uses of one resource class, in GPUs.

    ``requested`` is what the flavors of its ``servers`` ask for; ``limit`` is
    None where none is set, -1 where there is none.
    """

    project_id: str
    project: str
    resource_class: str
    used: int
    servers: int
    requested: int
    limit: int | None
    gpu_hours: float


class Devices(NamedTuple):
    """What is known of the devices that aliases stand for.

    :param classes: of an alias, the resource classes it was found to be
    :param seen: all classes that servers hold for their aliases
    :param uncounted: servers whose host has no PCI device in Placement, by ID
    """

    classes: alias_classes.Classes = {}
    seen: Collection[str] = frozenset()
    uncounted: Collection[str] = frozenset()


class Facts(NamedTuple):
    """All that ``join`` needs.

    :param found: the servers with a GPU
    :param used: project -> resource class -> what Placement counts
    :param names: of projects, by ID
    """

    found: Sequence[servers.GpuServer]
    used: Mapping[str, Amounts]
    devices: Devices
    limits: limits.Limits
    names: Mapping[str, str]
    hours: Sequence[gpu_hours.GpuHours] = ()


def read(
    conn: connection.Connection,
    *,
    project: tuple[str, str] | None = None,
    also: Collection[str] = (),
    period: gpu_hours.Period | None = None,
    at_once: int = side_by_side.DEFAULT,
) -> tuple[Usage, ...]:
    """Read what the projects that have GPU servers, or one, use.

    One request per 1000 servers, one for each of these projects, three for
    names and limits. With servers of aliases, two more and one for each of
    the few servers of an alias that are looked at. With a period, one per
    1000 servers in it, and one per 1000 deleted ones if there are any.

    :param project: only this one, its ID and name
    :param also: only these classes, which are GPUs whatever their names
    """
    project_id = project[0] if project else None
    known = servers.read_all(
        conn, also, project_id=project_id, all_tenants='True'
    )
    servers.warn_of_unknown(known)
    found = [server for server in known if server.gpu_request]
    hours = gpu_hours.read_requests(
        conn, known, period, also, project_id, all_projects=True
    )
    devices = _read_devices(conn, found, at_once)
    _warn_of_uncounted(found, devices)
    projects = {s.project_id for s in found} | {h.project_id for h in hours}
    facts = Facts(
        found,
        _read_used(conn, projects | ({project_id} - {None}), at_once),
        devices,
        limits.read(conn, project_id),
        dict([project]) if project else _read_project_names(conn),
        hours,
    )
    return join(facts, also)


def join(facts: Facts, only: Collection[str] = ()) -> tuple[Usage, ...]:
    """Join what is known into a row for each project and class.

    :param only: leave out other classes; they are GPUs whatever their names
    :returns: sorted by the project's name and ID, and class
    """
    sums: dict[tuple[str, str], dict[str, float]] = {}

    def add(project_id: str, name: str, **amounts: float) -> None:
        if not only or name in only:
            row = sums.setdefault((project_id, name), {})
            for key, amount in amounts.items():
                row[key] = row.get(key, 0) + amount

    for project_id, used in facts.used.items():
        for name, amount in used.items():
            if name in facts.devices.seen or _is_gpu(name, only):
                add(project_id, name, used=amount)
    for server in facts.found:
        for name, asked in _asked(server, facts.devices).items():
            add(server.project_id, name, servers=1, requested=asked)
        if server.id in facts.devices.uncounted:
            amount = sum(n for _name, n in server.gpu_request.aliases)
            add(server.project_id, UNKNOWN, used=amount)
    for item in facts.hours:
        asking = by_class(item.gpu_request, facts.devices.classes)
        for name, amount in asking.items():
            add(item.project_id, name, hours=item.hours * amount)
    rows = (_row(key, amounts, facts) for key, amounts in sums.items())
    return tuple(
        sorted(rows, key=lambda r: (r.project, r.project_id, r.resource_class))
    )


def _row(
    key: tuple[str, str], amounts: Mapping[str, float], facts: Facts
) -> Usage:
    project_id, name = key
    return Usage(
        project_id=project_id,
        project=facts.names.get(project_id) or project_id,
        resource_class=name,
        used=int(amounts.get('used', 0)),
        servers=int(amounts.get('servers', 0)),
        requested=int(amounts.get('requested', 0)),
        limit=facts.limits.of(project_id, name),
        gpu_hours=round(amounts.get('hours', 0.0), 2),
    )


def by_class(
    request: extra_specs.GpuRequest, classes: alias_classes.Classes
) -> dict[str, int]:
    """Return how much a request asks of each resource class.

    An alias counts as its class where exactly one is known, else as
    ``UNKNOWN``.
    """
    found = dict(request.classes)
    for alias, count in request.aliases:
        held = classes.get(alias, ())
        name = next(iter(held)) if len(held) == 1 else UNKNOWN
        found[name] = found.get(name, 0) + count
    return found


def _asked(server: servers.GpuServer, devices: Devices) -> dict[str, int]:
    is_counted = server.id not in devices.uncounted
    return by_class(server.gpu_request, devices.classes if is_counted else {})


def _is_gpu(name: str, only: Collection[str]) -> bool:
    return resource_classes.is_gpu_class(name, only)


def _read_devices(
    conn: connection.Connection,
    found: Iterable[servers.GpuServer],
    at_once: int,
) -> Devices:
    """Learn of aliases from what some of their servers hold."""
    asking = [server for server in found if server.gpu_request.aliases]
    if not asking:
        return Devices()
    names = placement.read_names(conn)
    uncounted = outside_placement(asking, hypervisors.read(conn), names)
    samples = alias_classes.sample(
        conn, [s for s in asking if s.id not in uncounted], at_once
    )
    return Devices(
        alias_classes.learn(samples, names),
        {c for s in samples for c in alias_classes.pci_amounts(s, names)},
        uncounted,
    )


def outside_placement(
    found: Iterable[servers.GpuServer],
    hosts: Mapping[str, hypervisors.Hypervisor],
    names: Mapping[str, placement.Provider],
) -> frozenset[str]:
    """Return the servers of aliases whose host has no PCI device there.

    :param hosts: hypervisors by the UUID of their root provider
    :param names: every provider by UUID
    :returns: IDs; those of servers on no host are not among them
    """
    roots = {
        provider.root_uuid
        for provider in names.values()
        if placement.is_pci_device(provider.name)
    }
    reporting = {hosts[root].host for root in roots if root in hosts}
    return frozenset(
        server.id
        for server in found
        if server.gpu_request.aliases
        and server.host
        and server.host not in reporting
    )


def _warn_of_uncounted(
    found: Iterable[servers.GpuServer], devices: Devices
) -> None:
    alike = [server for server in found if server.id in devices.uncounted]
    hosts = sorted({server.host for server in alike})
    if alike:
        LOG.warning(
            _(
                "Hosts that do not report their PCI devices to Placement: "
                "%(hosts)s. %(gpus)d GPUs that %(servers)d servers on them "
                "request are counted by their flavors, with an unknown "
                "resource class; quotas do not count them"
            ),
            {
                'hosts': ', '.join(hosts[:_MOST_NAMED])
                + (', ...' if len(hosts) > _MOST_NAMED else ''),
                'gpus': sum(
                    n for s in alike for _name, n in s.gpu_request.aliases
                ),
                'servers': len(alike),
            },
        )


def _read_used(
    conn: connection.Connection, projects: Iterable[str | None], at_once: int
) -> dict[str, Amounts]:
    asked = sorted(project for project in projects if project)
    found = side_by_side.each(
        lambda project: read_used(conn, project), asked, at_once
    )
    return dict(zip(asked, found, strict=True))


def read_used(conn: connection.Connection, project_id: str) -> Amounts:
    """Read what Placement counts for a project, by class, in one request."""
    query = {'project_id': project_id}
    found = rest.get(conn.placement, '/usages', _MICROVERSION, query)
    return dict(found['usages'])


def _read_project_names(conn: connection.Connection) -> dict[str, str]:
    try:
        found = rest.get(conn.identity, '/projects')
    except errors.REFUSALS as exc:
        LOG.debug('Names of projects are not shown: %s', exc)
        return {}
    return {item['id']: item['name'] for item in found['projects']}
