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


"""What a drain is planned from: who is on a host, and where there is room."""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
from typing import Any

from openstack import connection
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from osc_gpu.cloud import alias_classes
from osc_gpu.cloud import allocations
from osc_gpu.cloud import audit_model
from osc_gpu.cloud import capacity_hosts
from osc_gpu.cloud import capacity_reading
from osc_gpu.cloud import compute_version
from osc_gpu.cloud import host_aggregates
from osc_gpu.cloud import hosts
from osc_gpu.cloud import hypervisors
from osc_gpu.cloud import marks
from osc_gpu.cloud import migration_checks
from osc_gpu.cloud import migration_records
from osc_gpu.cloud import migration_state
from osc_gpu.cloud import move_limits
from osc_gpu.cloud import move_methods
from osc_gpu.cloud import placement
from osc_gpu.cloud import resource_request
from osc_gpu.cloud import servers
from osc_gpu.cloud import side_by_side
from osc_gpu.i18n import _


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A host as it is to be drained, and the cloud around it.

    ``states`` are of the servers that are to leave it: those on it, and those
    on their way from it. ``targets`` are the compute services' hosts that may
    take them; empty for all. ``limits`` keep servers from hosts that have
    room. ``traits`` are, for each PCI device that a server holds, those of
    its provider; servers are missing wherever no device of the host can be
    moved while it is in use.
    """

    host: hypervisors.Hypervisor
    world: audit_model.Snapshot
    cloud: capacity_hosts.Cloud = dataclasses.field(
        default_factory=lambda: capacity_hosts.Cloud(())
    )
    states: tuple[migration_state.State, ...] = ()
    targets: frozenset[str] = frozenset()
    limits: move_limits.Limits = dataclasses.field(
        default_factory=move_limits.Limits
    )
    traits: Mapping[str, tuple[frozenset[str], ...]] = dataclasses.field(
        default_factory=dict
    )


def read(
    conn: connection.Connection,
    name: str,
    *,
    targets: Collection[str] = (),
    excluded: Collection[str] = (),
    gpu_only: bool = False,
    at_once: int = side_by_side.DEFAULT,
) -> Snapshot:
    """Read what a drain is planned from.

    Six requests, and one if the host has servers that Nova lists nowhere
    else. If there is anything to move, three more (and the few of
    placement.read_trees), those of move_limits.read, one for each class and
    amount that the servers' flavors ask one provider for, and up to three for
    each set of aliases. For each server with an alias one, if any device of
    the host can be moved while in use; for each that is on its way without a
    lock of ours one; for each that a failed migration is suspected to have
    left claims of two, and two for each of these migrations.

    :param targets: names of the hosts that may take servers; empty for all
    :param excluded: names or IDs of servers that stay
    :param gpu_only: leave the servers without a GPU
    :raises osc_lib.exceptions.CommandError: there is no such host or server,
        or it is none that servers can go to
    """
    computes = hypervisors.read(conn, with_servers=True)
    host = hosts.named(computes, name)
    takers = _targets(computes, host.host, targets)
    states = _read_states(conn, host, at_once)
    states = _without(states, excluded, host.host)
    if gpu_only:
        states = tuple(
            s for s in states if s.server.gpu_request or s.server.is_hidden
        )
    world = audit_model.Snapshot(
        {},
        {},
        computes,
        {},
        can_shelve=compute_version.unshelves_to_host(conn),
    )
    if not states:
        return Snapshot(host, world, targets=takers)
    states = _look_closer(conn, world, states, at_once)
    snapshot = Snapshot(host, world, states=states, targets=takers)
    return _with_room(conn, snapshot, at_once)


def _targets(
    computes: Mapping[str, hypervisors.Hypervisor],
    source: str,
    names: Iterable[str],
) -> frozenset[str]:
    """Return the targets; refuse what takes no server."""
    found = [hosts.named(computes, name).host for name in names]
    for name in found:
        for why in migration_checks.of_target(computes.values(), name, source):
            raise exceptions.CommandError(
                _("No server can go to --target %(host)s: %(why)s")
                % {'host': name, 'why': why}
            )
    return frozenset(found)


# Who is to leave.


def _read_states(
    conn: connection.Connection, compute: hypervisors.Hypervisor, at_once: int
) -> tuple[migration_state.State, ...]:
    """Read the servers on a host, and those on their way from it."""
    host = compute.host
    # Servers come last: a migration that ends in between is seen under way.
    calls: list[Callable[[], Any]] = [
        lambda: migration_records.read(conn, host=host),
        lambda: migration_records.read(
            conn,
            statuses=(migration_records.ERROR, migration_records.FINISHED),
            at_once=1,
        ),
        lambda: servers.read_all(conn, locked='True', all_tenants='True'),
        lambda: servers.read_all(conn, host=host, all_tenants='True'),
    ]
    near, left, locked, there = (call() for call in calls)
    found = {s.id: s for s in locked if _has_left(s, host)}
    found |= {s.id: s for s in there}
    if not found.keys() >= set(compute.servers):
        found |= {s.id: s for s in _read_soft_deleted(conn, host)}
    records = sorted(
        {record.uuid: record for record in (*near, *left)}.values(),
        key=lambda record: (record.created_at, record.uuid),
    )
    leaving = {
        record.server_id
        for record in near
        if record.source == host and _is_under_way(record)
    }
    found |= _read_servers(conn, sorted(leaving - found.keys()), at_once)
    return tuple(
        migration_state.State(
            server,
            tuple(r for r in records if r.server_id == server.id),
        )
        for server in sorted(found.values(), key=lambda s: (s.name, s.id))
    )


def _read_soft_deleted(
    conn: connection.Connection, host: str
) -> tuple[servers.GpuServer, ...]:
    """Read the servers that may be restored, and hold what they held.

    Nova lists them only if asked for them (nova/db/main/api.py,
    instance_get_all_by_filters_sort).
    """
    return servers.read_all(
        conn,
        host=host,
        status='SOFT_DELETED',
        soft_deleted='True',
        all_tenants='True',
    )


def _has_left(server: servers.GpuServer, host: str) -> bool:
    """Tell whether a command of ours took a server from a host."""
    mark = marks.read_move(server.locked_reason)
    return (
        mark is not None
        and server.host != host
        and mark.source == marks.digest(server.project_id, host)
    )


def _is_under_way(record: migration_records.MigrationRecord) -> bool:
    return record.kind != 'evacuation' and (
        record.status == migration_records.FINISHED
        or record.status in migration_records.IN_PROGRESS
    )


def _read_servers(
    conn: connection.Connection, ids: Iterable[str], at_once: int
) -> dict[str, servers.GpuServer]:
    def read_one(server_id: str) -> servers.GpuServer | None:
        try:
            return servers.read_server(conn, server_id)
        except sdk_exceptions.NotFoundException:
            return None

    found = side_by_side.each(read_one, ids, at_once)
    return {server.id: server for server in found if server}


def _without(
    states: Iterable[migration_state.State],
    excluded: Iterable[str],
    host: str,
) -> tuple[migration_state.State, ...]:
    """Leave servers out, each named by its ID or its name."""
    left = list(states)
    for name in excluded:
        meant = [s for s in left if s.server.id == name]
        meant = meant or [s for s in left if s.server.name == name]
        if len(meant) > 1:
            raise exceptions.CommandError(
                _(
                    "More than one server on %(host)s is named '%(name)s': "
                    "%(ids)s"
                )
                % {
                    'host': host,
                    'name': name,
                    'ids': ', '.join(s.server.id for s in meant),
                }
            )
        if not meant:
            raise exceptions.CommandError(
                _("No server on %(host)s has the name or ID '%(name)s'")
                % {'host': host, 'name': name}
            )
        left.remove(meant[0])
    return tuple(left)


def _look_closer(
    conn: connection.Connection,
    world: audit_model.Snapshot,
    states: Iterable[migration_state.State],
    at_once: int,
) -> tuple[migration_state.State, ...]:
    """Read all migrations of those that one seems to have left claims of.

    What was read of all servers has too few of them to acquit one.
    """

    def look(state: migration_state.State) -> migration_state.State:
        if not migration_state.poison(world, state):
            return state
        try:
            return migration_state.read(conn, state.server.id)
        except sdk_exceptions.NotFoundException:
            return state

    return tuple(side_by_side.each(look, states, at_once))


# Where there is room.


def _with_room(
    conn: connection.Connection, snapshot: Snapshot, at_once: int
) -> Snapshot:
    """Read what all hosts have free."""
    found = [state.server for state in snapshot.states]
    requests = [
        r for r in map(resource_request.read_server, found) if r is not None
    ]
    classes = {name for r in requests for name in r.gpu_classes}
    names = placement.read_names(conn)
    trees = placement.read_trees(
        conn,
        names,
        with_traits=True,
        # Bare-metal nodes take no server: one class is enough to be done.
        classes=sorted(classes) or ['VGPU'],
        at_once=at_once,
    )
    aggregates = host_aggregates.read(conn)
    providers = {provider.uuid: provider for provider in trees}
    is_live = any(
        provider.root_uuid == snapshot.host.id
        and move_methods.LIVE_TRAIT in provider.traits
        for provider in trees
    )
    with_alias = [s for s in found if s.gpu_request.aliases and s.host]
    if is_live:
        samples = _read_held(conn, with_alias, at_once)
    else:
        samples = {}
    learned = alias_classes.learn(
        samples.values() or alias_classes.sample(conn, with_alias, at_once),
        names,
    )
    computes = snapshot.world.hypervisors
    cloud = capacity_hosts.Cloud(
        capacity_reading.gather(
            names, trees, computes, host_aggregates.values(aggregates)
        ),
        alias_classes=learned,
    )
    return dataclasses.replace(
        snapshot,
        cloud=capacity_reading.with_refusals(
            conn, cloud, names, requests, at_once
        ),
        limits=move_limits.read(
            conn,
            computes.values(),
            aggregates,
            found,
            [snapshot.host.host],
        ),
        traits={
            server: move_methods.device_traits(sample.held, providers)
            for server, sample in samples.items()
        },
    )


def _read_held(
    conn: connection.Connection,
    found: Iterable[servers.GpuServer],
    at_once: int,
) -> dict[str, alias_classes.Sample]:
    """Read what servers hold, one request for each."""
    found = tuple(found)
    held = side_by_side.each(
        lambda server: allocations.read(conn, server.id).held, found, at_once
    )
    return {
        server.id: alias_classes.Sample(server.gpu_request, amounts)
        for server, amounts in zip(found, held, strict=True)
    }
