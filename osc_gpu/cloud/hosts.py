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


"""Hosts with GPUs: their compute services, what is free, who is on them."""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
from typing import NamedTuple

from openstack import connection
from osc_lib import exceptions

from osc_gpu.cloud import hypervisors
from osc_gpu.cloud import inventory
from osc_gpu.cloud import marks
from osc_gpu.cloud import servers
from osc_gpu.cloud import side_by_side
from osc_gpu.i18n import _


class Host(NamedTuple):
    """A compute service's host, and the GPUs on it, which are counts.

    ``status`` is enabled or disabled, ``state`` up or down. ``servers`` is
    how many servers are on it, with a GPU or without.
    """

    host: str
    status: str
    state: str
    gpus: int
    used: int
    free: int
    servers: int


@dataclasses.dataclass(frozen=True)
class Details:
    """A host with all that is on it.

    ``drain`` is what our command left in ``disabled_reason``, if it did.
    """

    host: Host
    disabled_reason: str
    drain: marks.Drain | None
    devices: tuple[inventory.GpuInventory, ...]
    servers: tuple[servers.GpuServer, ...]


def join(
    computes: Iterable[hypervisors.Hypervisor],
    gpus: Iterable[inventory.GpuInventory],
) -> tuple[Host, ...]:
    """Join what was read into one row per compute service's host, by name.

    A host of several hypervisors, as of bare metal, is up and enabled if any
    of these is.

    :param gpus: of providers that no hypervisor has are left out
    """
    nodes: dict[str, list[hypervisors.Hypervisor]] = {}
    for compute in computes:
        nodes.setdefault(compute.host, []).append(compute)
    held: dict[str, list[inventory.GpuInventory]] = {}
    for gpu in gpus:
        held.setdefault(gpu.host, []).append(gpu)
    return tuple(
        _host(name, found, [g for n in found for g in held.get(n.name, ())])
        for name, found in sorted(nodes.items())
    )


def _host(
    name: str,
    nodes: Iterable[hypervisors.Hypervisor],
    gpus: Iterable[inventory.GpuInventory],
) -> Host:
    nodes, gpus = tuple(nodes), tuple(gpus)
    return Host(
        host=name,
        status='enabled' if any(n.is_enabled for n in nodes) else 'disabled',
        state='up' if any(n.is_up for n in nodes) else 'down',
        gpus=sum(gpu.total for gpu in gpus),
        used=sum(gpu.used for gpu in gpus),
        free=sum(gpu.free for gpu in gpus),
        servers=len({server for node in nodes for server in node.servers}),
    )


def read(
    conn: connection.Connection,
    *,
    every: bool = False,
    at_once: int = side_by_side.DEFAULT,
) -> tuple[Host, ...]:
    """Read the hosts that have GPUs.

    Two requests and a bounded number more (inventory.read), and one per 1000
    hypervisors.

    :param every: those without a GPU in Placement, too
    :param at_once: requests under way at a time, where they are many
    """
    gpus = inventory.read(conn, at_once=at_once)
    computes = hypervisors.read(conn, with_servers=True)
    found = join(computes.values(), gpus)
    return tuple(host for host in found if every or host.gpus)


def find(conn: connection.Connection, name: str) -> hypervisors.Hypervisor:
    """Find a host, in one request per 1000 hypervisors.

    :raises osc_lib.exceptions.CommandError: as ``named`` does
    """
    return named(hypervisors.read(conn), name)


def named(
    computes: Mapping[str, hypervisors.Hypervisor], name: str
) -> hypervisors.Hypervisor:
    """Return the hypervisor of a compute service's host, or of this name.

    :raises osc_lib.exceptions.CommandError: there is none, or several
    """
    found = [c for c in computes.values() if c.host == name]
    found = found or [c for c in computes.values() if c.name == name]
    if not found:
        raise hypervisors.unknown(name)
    if len(found) > 1:
        raise exceptions.CommandError(
            _(
                "Compute service host '%(host)s' has %(count)d hypervisors, "
                "as of bare metal; give the name of one of them, such as "
                "%(name)s"
            )
            % {
                'host': name,
                'count': len(found),
                'name': min(c.name for c in found),
            }
        )
    return found[0]


def show(
    conn: connection.Connection,
    name: str,
    at_once: int = side_by_side.DEFAULT,
) -> Details:
    """Read one host with all that is on it.

    Four requests, and one for each GPU for its Total and Reserved;
    placement.read_trees names the few more for a full host.

    :raises osc_lib.exceptions.CommandError: there is no such host
    """
    compute = find(conn, name)
    gpus = inventory.read(conn, host=compute.name, at_once=at_once)
    found = servers.read_all(conn, host=compute.host, all_tenants='True')
    there = tuple(sorted(found, key=lambda s: (s.name, s.id)))
    ids = tuple(server.id for server in there)
    (host,) = join([dataclasses.replace(compute, servers=ids)], gpus)
    return Details(
        host,
        compute.disabled_reason,
        marks.read_drain(compute.disabled_reason),
        gpus,
        there,
    )
