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


"""How the servers of a host would leave it, each to which host.

A plan is made of what the cloud says now. Servers that are on their way
already, whoever sent them, go on; what is in the way of the others is said.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses

from openstack import connection

from osc_gpu.cloud import drain_reading
from osc_gpu.cloud import migration_checks
from osc_gpu.cloud import migration_records
from osc_gpu.cloud import migration_state
from osc_gpu.cloud import move_methods
from osc_gpu.cloud import move_packing
from osc_gpu.cloud import resource_request
from osc_gpu.cloud import servers
from osc_gpu.i18n import _

#: What ends a state in which Nova moves no server.
_WAYS_OUT = {
    'PAUSED': 'openstack server unpause %(id)s',
    'SUSPENDED': 'openstack server resume %(id)s',
    'RESCUE': 'openstack server unrescue %(id)s',
    'SHELVED': 'openstack server unshelve %(id)s',
    'SOFT_DELETED': _(
        "it keeps all that it has here, GPUs too, until Nova deletes it: "
        "openstack server restore %(id)s, or openstack server delete "
        "--force %(id)s"
    ),
}


#: The compute services' hosts where servers failed, by server.
Failed = Mapping[str, Collection[str]]


@dataclasses.dataclass(frozen=True)
class Move:
    """How one server leaves the host, or why it does not.

    ``target`` is a compute service's host; '' where Nova chooses, and of one
    that is blocked. ``why`` says in a few words why so, or what is in the way
    and what to type.
    """

    server: servers.GpuServer
    method: str
    target: str
    why: str
    is_blocked: bool = False


@dataclasses.dataclass(frozen=True)
class Plan:
    """How all servers leave a host, in the order in which they best do.

    Those that are on their way come first, as they hold two sets of GPUs,
    then the largest; those that are blocked come last.
    """

    host: str
    moves: tuple[Move, ...]


@dataclasses.dataclass(frozen=True)
class _Draft:
    """A move before it has a target. ``seeks``: it needs a host to go to."""

    server: servers.GpuServer
    method: str
    why: str
    target: str = ''
    seeks: bool = False
    is_blocked: bool = False


def read(
    conn: connection.Connection,
    host: str,
    *,
    targets: Collection[str] = (),
    excluded: Collection[str] = (),
    gpu_only: bool = False,
    method: str = '',
    at_once: int = 1,
    failed: Failed | None = None,
) -> Plan:
    """Plan how the servers of a host leave it; drain_reading.read counts.

    :param targets: names of the hosts that may take servers; empty for all
    :param excluded: names or IDs of servers that stay
    :param gpu_only: leave the servers without a GPU
    :param method: one of move_methods for all; '' to choose for each
    :param at_once: how many servers shall move side by side
    :param failed: see plan
    :raises osc_lib.exceptions.CommandError: there is no such host or server,
        or it is none that servers can go to
    """
    snapshot = drain_reading.read(
        conn, host, targets=targets, excluded=excluded, gpu_only=gpu_only
    )
    return plan(snapshot, method, at_once, failed or {})


def plan(
    snapshot: drain_reading.Snapshot,
    method: str,
    at_once: int,
    failed: Failed,
) -> Plan:
    """Plan how the servers of a host leave it.

    :param method: one of move_methods for all; '' to choose for each
    :param at_once: how many servers shall move side by side
    :param failed: where servers failed before: they go there only if there is
        room for them nowhere else, as what was in their way may be gone
    """
    drafts = [
        draft
        for state in snapshot.states
        for draft in [_draft(snapshot, state, method)]
        if draft is not None
    ]
    seeking = {draft.server.id for draft in drafts if draft.seeks}
    wishes = {
        draft.server.id: _wish(snapshot, draft.server.id, request, seeking)
        for draft in drafts
        for request in [resource_request.read_server(draft.server)]
        if draft.seeks and request is not None
    }
    packed = _pack(snapshot, wishes, at_once, failed)
    moves = [_move(snapshot, draft, packed, wishes) for draft in drafts]
    order = {key: number for number, key in enumerate(packed.places)}
    moves.sort(
        key=lambda move: (
            move.is_blocked,
            move.server.id in wishes,
            order.get(move.server.id, 0),
            move.server.name,
            move.server.id,
        )
    )
    return Plan(snapshot.host.host, tuple(moves))


# What becomes of each server.


def _draft(
    snapshot: drain_reading.Snapshot,
    state: migration_state.State,
    wanted: str,
) -> _Draft | None:
    """Say how a server leaves; None for one that has done so."""
    server, host = state.server, snapshot.host.host
    idle = state.stand == migration_state.IDLE
    if idle and server.host != host and state.mark is None:
        return None
    choice = move_methods.choose(
        server,
        snapshot.traits.get(server.id, ()),
        wanted,
        can_shelve=snapshot.world.can_shelve,
    )
    blocked = [
        *migration_checks.refusals(snapshot.world, state),
        *_way_out(server),
        *(_of_choice(snapshot, server, choice.method) if idle else ()),
    ]
    if blocked:
        why = '; '.join(blocked)
        return _Draft(server, choice.method, why, is_blocked=True)
    if not idle:
        return _under_way(state, host)
    if server.host != host:
        why = _("goes on: is on %s already") % server.host
        return _Draft(server, choice.method, why, server.host)
    return _Draft(server, choice.method, choice.why, seeks=True)


def _way_out(server: servers.GpuServer) -> Iterable[str]:
    """Say what to type to get a server out of its status."""
    if server.status in _WAYS_OUT and server.host:
        yield _WAYS_OUT[server.status] % {'id': server.id}


def _of_group(
    snapshot: drain_reading.Snapshot, server: servers.GpuServer, method: str
) -> Iterable[str]:
    """Say which server group keeps a server here."""
    held = snapshot.limits.held_by(
        server.id, is_shelved=method == move_methods.SHELVE
    )
    if held and server.host == snapshot.host.host:
        yield held


def _of_choice(
    snapshot: drain_reading.Snapshot, server: servers.GpuServer, method: str
) -> Iterable[str]:
    """Say what is in the way of a server that would set out now."""
    yield from move_methods.refusals(
        server, method, can_shelve=snapshot.world.can_shelve
    )
    yield from _of_group(snapshot, server, method)


def _under_way(state: migration_state.State, host: str) -> _Draft:
    """Say how a move goes on that somebody has begun."""
    server, record = state.server, _under_way_record(state)
    if record is None:
        doing = server.task_state or server.status
        # A server that is being shelved has no record of it.
        method = (
            move_methods.SHELVE
            if 'shel' in doing.lower()
            else move_methods.COLD
        )
        return _Draft(
            server, method, _("goes on: %s") % doing.lower(), seeks=True
        )
    live = record.kind == 'live-migration'
    method = move_methods.LIVE if live else move_methods.COLD
    end = record.target
    if server.status == 'REVERT_RESIZE' or record.status == 'reverting':
        end = record.source
        why = _("goes on: goes back to %s") % end
    elif record.status == migration_records.FINISHED:
        why = _("goes on: waits to be confirmed on %s") % end
    elif end:
        why = _("goes on: is on its way to %s") % end
    else:
        why = _("goes on: Nova looks for a host")
    if end == host:
        return _Draft(server, method, why, seeks=True)
    return _Draft(server, method, why, end)


def _under_way_record(
    state: migration_state.State,
) -> migration_records.MigrationRecord | None:
    """Return the migration that is not over yet."""
    record = state.newest
    if record is not None and (
        record.status == migration_records.FINISHED
        or record.status in migration_records.IN_PROGRESS
    ):
        return record
    return None


# Where it goes.


def _pack(
    snapshot: drain_reading.Snapshot,
    wishes: Mapping[str, move_packing.Wish],
    at_once: int,
    failed: Failed,
) -> move_packing.Packed:
    """Find a host for each server, another one than where it failed."""
    names = {h: name for name, h in _services(snapshot).items()}
    others = {
        key: wish._replace(
            away_from=wish.away_from.union(
                names.get(host, host) for host in failed.get(key, ())
            )
        )
        for key, wish in wishes.items()
    }
    packed = move_packing.pack(
        snapshot.cloud, others.values(), at_once=at_once
    )
    stuck = {key: wishes[key] for key in packed.unplaced if key in failed}
    if not stuck:
        return packed
    return move_packing.pack(
        snapshot.cloud, {**others, **stuck}.values(), at_once=at_once
    )


def _wish(
    snapshot: drain_reading.Snapshot,
    key: str,
    request: resource_request.Request,
    seeking: Collection[str],
) -> move_packing.Wish:
    """Say what a server needs, and where it must not go."""
    services = _services(snapshot)
    limits, targets = snapshot.limits, snapshot.targets

    def is_open(host: str) -> bool:
        return (
            host != snapshot.host.host
            and (not targets or host in targets)
            and not limits.why_not(key, host, seeking)
        )

    return move_packing.Wish(
        key,
        request,
        frozenset(
            host.name
            for host in snapshot.cloud.hosts
            if not is_open(services.get(host.name, ''))
        ),
        limits.apart(key, seeking),
    )


def _services(snapshot: drain_reading.Snapshot) -> Mapping[str, str]:
    """Return the compute services' hosts by the names of root providers."""
    computes = snapshot.world.hypervisors.values()
    return {compute.name: compute.host for compute in computes}


def _move(
    snapshot: drain_reading.Snapshot,
    draft: _Draft,
    packed: move_packing.Packed,
    wishes: Mapping[str, move_packing.Wish],
) -> Move:
    """Give a server its target, or say why it has none."""
    server, key = draft.server, draft.server.id
    if not draft.seeks:
        return Move(
            server, draft.method, draft.target, draft.why, draft.is_blocked
        )
    if key in packed.unplaced:
        why = packed.unplaced[key]
        return Move(server, draft.method, '', why, is_blocked=True)
    place = packed.places[key]
    target = _services(snapshot).get(place, place)
    notes = [draft.why]
    if key in packed.uncounted:
        notes.append(_("%s: devices are not counted") % packed.uncounted[key])
        if not snapshot.targets:
            target = ''
            notes[-1] = _("%s: Nova chooses") % packed.uncounted[key]
    notes += _not_counted(snapshot, wishes[key], place)
    return Move(server, draft.method, target, '; '.join(notes))


def _not_counted(
    snapshot: drain_reading.Snapshot, wish: move_packing.Wish, place: str
) -> Iterable[str]:
    """Say what a server needs that no room was proven for."""
    extra = list(wish.request.uncounted)
    host = next(h for h in snapshot.cloud.hosts if h.name == place)
    if 'DISK_GB' in wish.request.resources and 'DISK_GB' not in host.classes:
        extra.append(_("shared disk"))
    if extra:
        yield _("not counted: %s") % ', '.join(extra)
