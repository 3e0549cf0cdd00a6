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

"""Where there is room for servers that shall move."""

from collections.abc import Collection
from collections.abc import Mapping
import dataclasses
from typing import NamedTuple

from openstack import connection

from osc_gpu.cloud import alias_classes
from osc_gpu.cloud import audit_model
from osc_gpu.cloud import capacity_hosts
from osc_gpu.cloud import capacity_reading
from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import flavors
from osc_gpu.cloud import host_aggregates
from osc_gpu.cloud import hypervisors
from osc_gpu.cloud import move_limits
from osc_gpu.cloud import move_packing
from osc_gpu.cloud import resource_request
from osc_gpu.cloud import servers
from osc_gpu.i18n import _


class Room(NamedTuple):
    """What room there is, and what keeps servers from it."""

    cloud: capacity_hosts.Cloud
    limits: move_limits.Limits


def pack(
    world: audit_model.Snapshot,
    room: Room,
    leaving: Collection[tuple[servers.GpuServer, str]],
    target: str,
    also: Collection[str] = (),
    at_once: int = 1,
) -> move_packing.Packed:
    """Find a host for each server, but of who tells nothing of its needs.

    :param leaving: each with the host that it leaves
    :param target: the host that all of them go to; '' for any
    """
    ids = {server.id for server, _source in leaving}
    packed = move_packing.pack(
        room.cloud,
        [
            move_packing.Wish(
                server.id,
                request,
                _away_from(world, room.limits, (server.id, source), target),
                room.limits.apart(server.id, ids),
            )
            for server, source in leaving
            for request in [resource_request.read_server(server, also)]
            if request is not None
        ],
        at_once=at_once,
    )
    closed = {
        server.id: _("not to %(host)s: %(why)s") % {'host': target, 'why': why}
        for server, _source in leaving
        for why in [target and room.limits.why_not(server.id, target)]
        if why
    }
    return dataclasses.replace(packed, unplaced={**packed.unplaced, **closed})


def read(
    conn: connection.Connection,
    world: audit_model.Snapshot,
    found: Mapping[str, servers.GpuServer],
    held: Mapping[str, Mapping[str, Mapping[str, int]]],
    also: Collection[str] = (),
) -> Room:
    """Read what room there is for servers.

    One request for aggregates, one for hypervisors, those of
    move_limits.read, and one for each class and amount that is asked of one
    provider. What stands behind their aliases is learned from what they hold;
    else from others, with one request for flavors and those of
    alias_classes.read.

    :param held: what each of them holds: provider -> class -> amount
    """
    learned = alias_classes.learn(
        (
            alias_classes.Sample(server.gpu_request, held[server.id])
            for server in found.values()
            if server.gpu_request.aliases
        ),
        world.names,
    )
    asked = {
        name
        for server in found.values()
        for name, _number in server.gpu_request.aliases
    }
    if asked - learned.keys():
        # One that is shelved holds nothing to learn from.
        learned = {**_learn_from_others(conn, world, asked), **learned}
    aggregates = host_aggregates.read(conn)
    cloud = capacity_hosts.Cloud(
        capacity_reading.gather(
            world.names,
            world.providers.values(),
            world.hypervisors,
            host_aggregates.values(aggregates),
        ),
        alias_classes=learned,
    )
    requests = [
        request
        for server in found.values()
        for request in [resource_request.read_server(server, also)]
        if request is not None
    ]
    return Room(
        capacity_reading.with_refusals(conn, cloud, world.names, requests),
        move_limits.read(
            conn,
            hypervisors.read(conn, with_servers=True).values(),
            aggregates,
            found.values(),
            sorted({s.host for s in found.values() if s.host}),
        ),
    )


def _away_from(
    world: audit_model.Snapshot,
    limits: move_limits.Limits,
    leaving: tuple[str, str],
    target: str,
) -> frozenset[str]:
    """Return the root providers' names that a server must not go to.

    :param leaving: the server's ID, and the host that it leaves
    """
    server_id, source = leaving
    return frozenset(
        h.name
        for h in world.hypervisors.values()
        if h.host == source
        or target not in ('', h.host)
        or limits.why_not(server_id, h.host)
    )


def _learn_from_others(
    conn: connection.Connection,
    world: audit_model.Snapshot,
    asked: Collection[str],
) -> alias_classes.Classes:
    offered = [
        flavor
        for flavor in flavors.list_flavors(conn)
        for request in [extra_specs.parse(flavor.extra_specs)]
        if any(name in asked for name, _number in request.aliases)
    ]
    return alias_classes.read(conn, offered, world.names)
