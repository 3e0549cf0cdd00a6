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

"""Who returns to a host that was drained, and whether there is room for them.

A server returns if a migration or a shelving took it from the host since the
drain began, and it is still where that took it: who was moved on since then
was moved on by somebody's will.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import logging
import shlex

from openstack import connection
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from osc_gpu.cloud import audit_model
from osc_gpu.cloud import capacity_hosts
from osc_gpu.cloud import drain_departures
from osc_gpu.cloud import drain_marked
from osc_gpu.cloud import drain_plan
from osc_gpu.cloud import drain_service
from osc_gpu.cloud import marks
from osc_gpu.cloud import migration_checks
from osc_gpu.cloud import migration_proof
from osc_gpu.cloud import migration_state
from osc_gpu.cloud import move_methods
from osc_gpu.cloud import move_packing
from osc_gpu.cloud import move_room
from osc_gpu.cloud import moving
from osc_gpu.cloud import servers
from osc_gpu.cloud import side_by_side
from osc_gpu.i18n import _

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Task:
    """To which host servers return, and how.

    ``excluded`` are names or IDs of servers that do not. ``is_forced``: the
    host is enabled even if it was disabled before its drain. Times are in
    seconds: ``timeout`` for each server, ``wait`` for Nova to update what
    servers hold.
    """

    host: str
    excluded: tuple[str, ...] = ()
    method: str = ''
    at_once: int = 2
    timeout: float = 1800
    wait: float = moving.WAIT
    is_forced: bool = False


@dataclasses.dataclass(frozen=True)
class Look:
    """A server that is to return, as it was seen, and what it holds."""

    state: migration_state.State
    held: migration_proof.Held

    @property
    def server(self) -> servers.GpuServer:
        """The server."""
        return self.state.server

    @property
    def is_marked(self) -> bool:
        """Whether its lock says that it returns from where it is now."""
        mark = self.state.mark
        if mark is None or mark.verb != marks.RETURN:
            return False
        return (
            self.state.stand != migration_state.IDLE or not self.state.has_left
        )

    def is_home(self, host: str) -> bool:
        """Whether it has returned already, and is only to be settled."""
        return (
            self.state.stand == migration_state.IDLE
            and self.server.host == host
        )

    def seeks(self, host: str) -> bool:
        """Whether it needs room on the host that is not held for it yet."""
        stands = (migration_state.IDLE, migration_state.SHELVED)
        return self.state.stand in stands and not self.is_home(host)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Who returns to a host, and how.

    ``pending`` are those that the drain has begun to move and not finished;
    ``locked`` those that it has only locked, and ``left_out`` those that were
    marked to return and shall not: these are unlocked. ``world`` takes the
    host for enabled.
    """

    task: Task
    service: drain_service.Service
    world: audit_model.Snapshot
    looks: Mapping[str, Look]
    moves: tuple[drain_plan.Move, ...]
    pending: tuple[drain_marked.Marked, ...] = ()
    locked: tuple[drain_marked.Marked, ...] = ()
    left_out: tuple[servers.GpuServer, ...] = ()


def read(conn: connection.Connection, task: Task) -> Plan:
    """Plan who returns to a host; change nothing.

    Two requests, those of drain_departures.read, of
    migration_state.read_world and of move_room.read, and three
    for each server.

    :raises osc_lib.exceptions.CommandError: nobody can, or nothing tells who
    """
    service = drain_service.read(conn, task.host)
    drain_service.require_ours(service)
    if not task.is_forced:
        drain_service.require_free(service)
    if not service.is_up:
        raise exceptions.CommandError(
            _("Host %s is down: start its nova-compute first") % service.host
        )
    marked = drain_marked.read(conn)
    returning = drain_marked.returning(marked, service.host)
    if service.drain is None and not returning:
        raise exceptions.CommandError(
            _(
                "Nothing tells which servers are to return to %s, as it is "
                "not disabled by a drain"
            )
            % service.host
        )
    departed: Mapping[str, drain_departures.Departure] = {}
    if service.drain is not None:
        departed = drain_departures.read(
            conn, service.host, service.drain.since
        )
    leaving = drain_marked.leaving(marked, service.host)
    pending = [
        m for m in leaving if not drain_marked.is_untouched(m, service.host)
    ]
    looks = _look(
        conn,
        {m.server.id for m in returning},
        departed.keys() - {m.server.id for m in pending},
        departed,
        service.host,
    )
    kept = exclude(looks, task.excluded)
    world = _with_enabled(migration_state.read_world(conn), service.host)
    return Plan(
        task,
        service,
        world,
        kept,
        (
            *(_unfinished(one, service.host) for one in pending),
            *_moves(conn, world, kept.values(), task, service.host),
        ),
        tuple(pending),
        tuple(
            m for m in leaving if drain_marked.is_untouched(m, service.host)
        ),
        tuple(
            look.server
            for key, look in looks.items()
            if key not in kept and look.state.mark is not None
        ),
    )


def _unfinished(marked: drain_marked.Marked, host: str) -> drain_plan.Move:
    return drain_plan.Move(
        marked.server,
        '',
        host,
        _("what the drain has begun is finished first"),
    )


# Who returns.


def _look(
    conn: connection.Connection,
    returning: Collection[str],
    left: Collection[str],
    departed: Mapping[str, drain_departures.Departure],
    host: str,
) -> dict[str, Look]:
    """Look at the servers that are to return, those that still are."""

    def look(server_id: str) -> Look | None:
        try:
            state = migration_state.read(conn, server_id)
        except sdk_exceptions.NotFoundException:
            return None
        if server_id not in returning and not _stayed(
            state.server, departed[server_id], host
        ):
            return None
        return Look(state, migration_proof.read(conn, server_id))

    found = side_by_side.each(look, sorted({*returning, *left}))
    return {one.server.id: one for one in found if one is not None}


def _stayed(
    server: servers.GpuServer,
    departure: drain_departures.Departure,
    host: str,
) -> bool:
    """Tell whether a server is where it went when it left the host."""
    if server.host == departure.target:
        return True
    if server.host != host:
        LOG.warning(
            _(
                "Server %(name)s went from %(host)s to %(target)s and was "
                "moved on: it does not return. To bring it: openstack gpu "
                "server migrate --host %(word)s %(id)s"
            ),
            {
                'name': server.name,
                'host': host,
                'word': shlex.quote(host),
                'target': departure.target,
                'id': server.id,
            },
        )
    return False


def exclude(
    looks: Mapping[str, Look], names: Iterable[str]
) -> dict[str, Look]:
    """Leave out the servers of these names or IDs.

    :raises osc_lib.exceptions.CommandError: there is none, or several
    """
    kept = dict(looks)
    for name in names:
        meant = [
            i for i, look in kept.items() if name in (i, look.server.name)
        ]
        if len(meant) != 1:
            raise exceptions.CommandError(
                _(
                    "argument --exclude: %(count)d of the servers that are to "
                    "return have the name or ID '%(name)s'"
                )
                % {'count': len(meant), 'name': name}
            )
        del kept[meant[0]]
    return kept


# Whether and how.


def _with_enabled(
    world: audit_model.Snapshot, host: str
) -> audit_model.Snapshot:
    """Return the world as it is when a host is enabled."""
    return dataclasses.replace(
        world,
        hypervisors={
            uuid: dataclasses.replace(
                found, is_enabled=found.is_enabled or found.host == host
            )
            for uuid, found in world.hypervisors.items()
        },
    )


def _moves(
    conn: connection.Connection,
    world: audit_model.Snapshot,
    looks: Iterable[Look],
    task: Task,
    host: str,
) -> list[drain_plan.Move]:
    looks = sorted(looks, key=lambda look: (look.server.name, look.server.id))
    why = {
        look.server.id: '; '.join(_refusals(world, look, task.method, host))
        for look in looks
    }
    seeking = [
        look for look in looks if look.seeks(host) and not why[look.server.id]
    ]
    packed = _pack(conn, world, seeking, host)
    why |= packed.unplaced
    order = {key: number for number, key in enumerate(packed.places)}
    moves = [
        _move(world, look, task.method, host, why[look.server.id])
        for look in looks
    ]
    # Those on their way hold two sets of GPUs; then the largest.
    return sorted(moves, key=lambda m: order.get(m.server.id, -1))


def _refusals(
    world: audit_model.Snapshot, look: Look, wanted: str, host: str
) -> Iterable[str]:
    target = host if look.seeks(host) else ''
    yield from migration_checks.refusals(world, look.state, target)
    if target and look.state.stand == migration_state.IDLE:
        yield from move_methods.refusals(
            look.server, wanted, can_shelve=world.can_shelve
        )


def _pack(
    conn: connection.Connection,
    world: audit_model.Snapshot,
    looks: Collection[Look],
    host: str,
) -> move_packing.Packed:
    """Find out whether there is room on the host for all of them."""
    if not looks:
        return move_packing.Packed({}, {})
    room = move_room.read(
        conn,
        world,
        {look.server.id: look.server for look in looks},
        {look.server.id: look.held[look.server.id].held for look in looks},
    )
    homes = {h.id for h in world.hypervisors.values() if h.host == host}
    return move_room.pack(
        world,
        room._replace(cloud=_opened(room.cloud, homes)),
        [(look.server, look.server.host) for look in looks],
        host,
    )


def _opened(
    cloud: capacity_hosts.Cloud, roots: Collection[str]
) -> capacity_hosts.Cloud:
    """Return the cloud as it is when a host is enabled."""
    return dataclasses.replace(
        cloud,
        hosts=tuple(
            dataclasses.replace(
                host,
                closed=tuple(
                    term
                    for term in host.closed
                    if term != capacity_hosts.DISABLED
                ),
            )
            if host.root_uuid in roots
            else host
            for host in cloud.hosts
        ),
    )


def _move(
    world: audit_model.Snapshot,
    look: Look,
    wanted: str,
    host: str,
    blocked: str,
) -> drain_plan.Move:
    traits = move_methods.device_traits(
        look.held[look.server.id].held, world.providers
    )
    choice = move_methods.choose(
        look.server, traits, wanted, can_shelve=world.can_shelve
    )
    why = choice.why
    if look.is_home(host):
        why = _("has returned already")
    elif not look.seeks(host):
        why = _("goes on from %s") % look.server.status
    return drain_plan.Move(
        look.server, choice.method, host, blocked or why, bool(blocked)
    )
