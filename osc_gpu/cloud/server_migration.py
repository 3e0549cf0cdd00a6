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

"""Migrating servers that were named: look at all of them, then move them."""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses

from openstack import connection
from osc_lib import exceptions

from osc_gpu.cloud import audit_model
from osc_gpu.cloud import errors
from osc_gpu.cloud import marks
from osc_gpu.cloud import migration
from osc_gpu.cloud import migration_checks
from osc_gpu.cloud import migration_proof
from osc_gpu.cloud import migration_state
from osc_gpu.cloud import migration_steps
from osc_gpu.cloud import move_methods
from osc_gpu.cloud import move_packing
from osc_gpu.cloud import move_room
from osc_gpu.cloud import moving
from osc_gpu.cloud import moving_lanes
from osc_gpu.cloud import recovery_run
from osc_gpu.cloud import servers
from osc_gpu.cloud import side_by_side
from osc_gpu.i18n import _


#: What leaves a server as it was, but for our lock.
_CLEAN = (
    migration_steps.FAILED,
    migration_steps.REFUSED,
    migration_steps.REVERTED,
)

#: Why a server may not be recovered.
_UNRECOVERED: tuple[type[Exception], ...] = (
    *errors.REFUSALS,
    exceptions.CommandError,
)


@dataclasses.dataclass(frozen=True)
class Wish:
    """How servers shall be migrated.

    ``target`` is '' where Nova chooses, ``method`` where we do. ``also`` are
    resource classes that the user says are GPUs too. ``at_once`` servers move
    side by side.
    """

    target: str = ''
    method: str = ''
    confirms: bool = True
    is_forced: bool = False
    also: tuple[str, ...] = ()
    at_once: int = 1


_NOWHERE = _(
    "no host is known to have room, and Nova may unshelve it where it was: "
    "name one with --host"
)


@dataclasses.dataclass(frozen=True)
class Planned:
    """A server that can be migrated, and where there is room for it."""

    order: migration_steps.Order
    room: str


@dataclasses.dataclass(frozen=True)
class _Look:
    """One look at a server; ``source`` is the host that it shall leave."""

    state: migration_state.State
    held: migration_proof.Held
    source: str

    @property
    def server(self) -> servers.GpuServer:
        return self.state.server

    @property
    def is_new(self) -> bool:
        """Whether its move has not begun yet."""
        return (
            self.state.stand == migration_state.IDLE
            and self.server.host == self.source
        )

    @property
    def seeks(self) -> bool:
        """Whether it needs a host to go to."""
        return self.is_new or self.state.stand == migration_state.SHELVED


def plan(
    conn: connection.Connection,
    world: audit_model.Snapshot,
    names: Iterable[str],
    wish: Wish,
) -> tuple[Planned, ...]:
    """Look at servers, and plan how to migrate all of them.

    One request for each server to find it and three to look at it; those of
    capacity_reading.read.

    :param names: names or IDs
    :raises osc_lib.exceptions.CommandError: one must not be migrated, and why
    """
    found = {
        server.id: server
        for server in (
            servers.find_server(conn, name, wish.also) for name in names
        )
    }
    servers.warn_of_unknown(found.values())
    _require_gpus(found.values())
    looks = side_by_side.each(
        lambda server: _look(conn, world, server, wish.also), found.values()
    )
    said = {look.server.id: _refusals(world, look, wish) for look in looks}
    packed = move_packing.Packed({}, {})
    if not any(said.values()):
        packed = _pack(conn, world, looks, wish)
        said |= {
            server_id: [why] for server_id, why in packed.unplaced.items()
        }
        said |= {
            look.server.id: [_NOWHERE]
            for look in looks
            if look.is_new
            and wish.method == move_methods.SHELVE
            and _may_return(world, look, wish, packed)
        }
    refused = [
        f'{found[server_id].name}: {"; ".join(reasons)}'
        for server_id, reasons in said.items()
        if reasons
    ]
    if refused:
        raise exceptions.CommandError(
            _("Nothing was moved. %s.") % '. '.join(refused)
        )
    run = marks.new_run()
    hosts = {h.name: h.host for h in world.hypervisors.values()}
    return tuple(
        _planned(
            world,
            look,
            wish,
            run,
            hosts.get(_room(packed, look.server.id), ''),
            _may_return(world, look, wish, packed),
        )
        for look in looks
    )


def _room(packed: move_packing.Packed, server_id: str) -> str:
    """Return the name of a host that is proven to have room."""
    if server_id in packed.uncounted:
        return ''
    return packed.places.get(server_id, '')


def _may_return(
    world: audit_model.Snapshot,
    look: _Look,
    wish: Wish,
    packed: move_packing.Packed,
) -> bool:
    """Tell whether no host can be named, and its own one would do for Nova."""
    own = [h for h in world.hypervisors.values() if h.host == look.source]
    return (
        not wish.target
        and not _room(packed, look.server.id)
        and any(hypervisor.is_enabled for hypervisor in own)
    )


def _require_gpus(found: Collection[servers.GpuServer]) -> None:
    for server in found:
        if not server.gpu_request and not (
            server.is_hidden or server.is_partial
        ):
            raise exceptions.CommandError(
                _(
                    "Nothing was moved. %(name)s has no GPU: use openstack "
                    "server migrate %(id)s"
                )
                % {'name': server.name, 'id': server.id}
            )


def _look(
    conn: connection.Connection,
    world: audit_model.Snapshot,
    server: servers.GpuServer,
    also: Collection[str],
) -> _Look:
    state = migration_state.read(conn, server.id, also=also)
    held = migration_proof.read(conn, server.id)
    return _Look(state, held, _source(world, state))


def _source(world: audit_model.Snapshot, state: migration_state.State) -> str:
    """Return the host that a server shall leave, or has left."""
    if state.mark and state.stand in (
        migration_state.IDLE,
        migration_state.SHELVED,
    ):
        project_id = state.server.project_id
        for hypervisor in world.hypervisors.values():
            found = marks.digest(project_id, hypervisor.host)
            if found == state.mark.source:
                return hypervisor.host
    return state.origin


def _refusals(
    world: audit_model.Snapshot, look: _Look, wish: Wish
) -> list[str]:
    found = list(
        migration_checks.refusals(
            world, look.state, wish.target, is_forced=wish.is_forced
        )
    )
    if look.is_new and wish.method:
        found += move_methods.refusals(
            look.server, wish.method, can_shelve=world.can_shelve
        )
    if look.is_new and not wish.is_forced:
        found += [
            problem.detail
            for problem in migration_proof.problems(
                world, look.state, look.held
            )
            if problem.check == audit_model.TWO_TREES
        ]
    return found


def _pack(
    conn: connection.Connection,
    world: audit_model.Snapshot,
    looks: Sequence[_Look],
    wish: Wish,
) -> move_packing.Packed:
    """Find out whether there is room for all that have yet to move."""
    new = [look for look in looks if look.seeks and look.server.own_flavor]
    if not new:
        return move_packing.Packed({}, {})
    room = move_room.read(
        conn,
        world,
        {look.server.id: look.server for look in new},
        {look.server.id: look.held[look.server.id].held for look in new},
        wish.also,
    )
    return move_room.pack(
        world,
        room,
        [(look.server, look.source) for look in new],
        wish.target,
        wish.also,
        wish.at_once,
    )


def _planned(
    world: audit_model.Snapshot,
    look: _Look,
    wish: Wish,
    run: str,
    room: str,
    may_return: bool,
) -> Planned:
    server = look.server
    traits = move_methods.device_traits(
        look.held[server.id].held, world.providers
    )
    choice = move_methods.choose(
        server, traits, wish.method, may_return, can_shelve=world.can_shelve
    )
    if look.state.stand == migration_state.SHELVED:
        choice = choice._replace(method=move_methods.SHELVE)
    # Without a host Nova may unshelve it where it was, and a host that is to
    # give it PCI devices has to be fit for that (moving_hosts).
    is_named = choice.method == move_methods.SHELVE or (
        server.gpu_request.aliases
    )
    target = wish.target or (room if is_named else '')
    mark = look.state.mark
    why = choice.why
    if not look.is_new:
        why = _("goes on from %s") % server.status
    order = migration_steps.Order(
        server,
        mark.run if mark else run,
        look.source,
        target,
        choice.method,
        confirms=wish.confirms,
        falls_back=not wish.method,
        is_forced=wish.is_forced,
        why=why,
    )
    return Planned(order, room)


def unsettled(planned: Iterable[Planned]) -> frozenset[str]:
    """Return the servers that have moved, and are still to be looked after."""
    return frozenset(
        one.order.server.id
        for one in planned
        if one.order.server.host not in ('', one.order.source)
        and one.order.server.status in ('ACTIVE', 'SHUTOFF')
    )


def carry_out(
    run: migration.Run,
    orders: Sequence[migration_steps.Order],
    rules: moving_lanes.Rules,
    *,
    recovers: bool = False,
) -> tuple[migration.Outcome, ...]:
    """Migrate servers, recover those that broke if so wished, and tidy up.

    :returns: the outcomes in the order of the orders
    :raises KeyboardInterrupt: nothing that Nova does is broken off
    """
    done = {o.server.id: o for o in moving_lanes.move(run, orders, rules)}
    if recovers:
        done = {key: _recover(run, o, rules.wait) for key, o in done.items()}
    failed = [o for o in done.values() if o.is_clean and o.result in _CLEAN]
    settled = moving.settle(run, failed, rules.wait)
    done |= {o.server.id: o for o in settled}
    return tuple(done[order.server.id] for order in orders)


def _recover(
    run: migration.Run, outcome: migration.Outcome, wait: float
) -> migration.Outcome:
    """Recover a server that its migration left broken.

    What the cloud refuses is said of this server; the others have their rows.
    """
    broken = outcome.result == migration_steps.POISONED or (
        outcome.result == migration_steps.FAILED
        and outcome.server.status == 'ERROR'
    )
    if not broken:
        return outcome
    try:
        done = recovery_run.recover(
            run,
            outcome.server,
            wait=wait,
            is_forced=outcome.order.is_forced,
        )
    except _UNRECOVERED as exc:
        why = errors.explain(exc, run.conn)
        return dataclasses.replace(
            outcome,
            detail=_("%(detail)s; not recovered: %(why)s")
            % {'detail': outcome.detail, 'why': why},
        )
    result, detail = outcome.result, f'{outcome.detail}; {done.detail}'
    if done.is_healed:
        result = migration_steps.RECOVERED
        where = _("it is on %s")
        if done.server.host == outcome.order.source:
            where = _("it is still on %s")
        detail = f'{detail}; {where % done.server.host}'
    return dataclasses.replace(
        outcome, server=done.server, result=result, detail=detail
    )
