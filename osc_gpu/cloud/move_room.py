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
from collections.abc import Iterable
from collections.abc import Mapping

from openstack import connection

from osc_gpu.cloud import alias_classes
from osc_gpu.cloud import audit_model
from osc_gpu.cloud import capacity_hosts
from osc_gpu.cloud import capacity_reading
from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import flavors
from osc_gpu.cloud import host_aggregates
from osc_gpu.cloud import move_packing
from osc_gpu.cloud import resource_request
from osc_gpu.cloud import servers


def wishes(
    world: audit_model.Snapshot,
    leaving: Iterable[tuple[servers.GpuServer, str]],
    target: str,
    also: Collection[str] = (),
) -> list[move_packing.Wish]:
    """Return what servers need on another host; none of who tells nothing.

    :param leaving: each with the host that it leaves
    :param target: the host that all of them go to; '' for any
    """
    return [
        move_packing.Wish(
            server.id, request, _away_from(world, source, target)
        )
        for server, source in leaving
        for request in [resource_request.read_server(server, also)]
        if request is not None
    ]


def read(
    conn: connection.Connection,
    world: audit_model.Snapshot,
    found: Mapping[str, servers.GpuServer],
    held: Mapping[str, Mapping[str, Mapping[str, int]]],
    also: Collection[str] = (),
) -> capacity_hosts.Cloud:
    """Read what room there is for servers.

    One request for aggregates, and one for each class and amount that is
    asked of one provider. What stands behind their aliases is learned from
    what they hold; else from others, with one request for flavors and those
    of alias_classes.read.

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
    metadata = host_aggregates.values(host_aggregates.read(conn))
    cloud = capacity_hosts.Cloud(
        capacity_reading.gather(
            world.names,
            world.providers.values(),
            world.hypervisors,
            metadata,
        ),
        alias_classes=learned,
    )
    requests = [
        request
        for server in found.values()
        for request in [resource_request.read_server(server, also)]
        if request is not None
    ]
    return capacity_reading.with_refusals(conn, cloud, world.names, requests)


def _away_from(
    world: audit_model.Snapshot, source: str, target: str
) -> frozenset[str]:
    """Return the root providers' names that a server must not go to."""
    return frozenset(
        h.name
        for h in world.hypervisors.values()
        if h.host == source or target not in ('', h.host)
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
