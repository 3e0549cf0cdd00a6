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

"""Enabling a host again, and bringing back who its drain has moved away.

What that drain has begun and not finished is finished first. Then each server
that is to return is locked with a mark that says so, and only then the
service is enabled, which erases the mark of the drain: at any moment one of
the two tells who is to return.
"""

from collections.abc import Callable
from collections.abc import Iterable
import dataclasses
import logging
import shlex

from openstack import connection

from osc_gpu.cloud import drain
from osc_gpu.cloud import drain_marked
from osc_gpu.cloud import drain_plan
from osc_gpu.cloud import drain_return_plan
from osc_gpu.cloud import drain_service
from osc_gpu.cloud import marks
from osc_gpu.cloud import migration
from osc_gpu.cloud import migration_steps
from osc_gpu.cloud import moving_lanes
from osc_gpu.cloud import moving_rounds
from osc_gpu.cloud import server_actions
from osc_gpu.cloud import servers
from osc_gpu.cloud import side_by_side
from osc_gpu.i18n import _

LOG = logging.getLogger(__name__)

Outcomes = tuple[migration.Outcome, ...]
Say = Callable[[str], None]


def enable(
    conn: connection.Connection, host: str, *, is_forced: bool = False
) -> None:
    """Have servers come to a host again, and let go what its drain locked.

    A host that was disabled before its drain stays so, for the reason that
    it had, unless this is forced. Two requests, one if it is disabled, and
    one for each server that the drain has only locked.

    :raises osc_lib.exceptions.CommandError: there is no such host, or it is
        disabled for another reason than a drain
    """
    service = drain_service.read(conn, host)
    drain_service.require_ours(service)
    leaving = drain_marked.leaving(drain_marked.read(conn), service.host)
    if not service.is_enabled:
        drain_service.end(conn, service, is_forced=is_forced)
    untouched = [
        one for one in leaving if drain_marked.is_untouched(one, service.host)
    ]
    _unlock(conn, (one.server for one in untouched))
    others = [one.server.id for one in leaving if one not in untouched]
    if others:
        LOG.warning(
            _(
                "The drain of %(host)s has begun to move servers and not "
                "finished; they stay locked until openstack gpu host drain "
                "runs again: %(ids)s"
            ),
            {'host': service.host, 'ids': ', '.join(others)},
        )


def _unlock(
    conn: connection.Connection, found: Iterable[servers.GpuServer]
) -> None:
    side_by_side.each(
        lambda server: server_actions.unlock(conn, server.id), found
    )


def finish(
    conn: connection.Connection, plan: drain_return_plan.Plan, say: Say
) -> Outcomes:
    """Finish what the drain has begun; return who could not be.

    :raises KeyboardInterrupt: nothing is lost
    """
    task, host = plan.task, plan.service.host
    pending = {one.server.id for one in plan.pending}
    left = drain_plan.read(conn, host)
    orders = [
        drain.order_of(move, marks.new_run(), host, falls_back=True)
        for move in left.moves
        if move.server.id in pending and not move.is_blocked
    ]
    outcomes = moving_rounds.move(
        migration.Run(conn, plan.world, task.timeout, say),
        orders,
        lambda done: (),
        moving_lanes.Rules(
            task.at_once, task.wait, unsettled=drain.unsettled(left)
        ),
    )
    return tuple(o for o in outcomes if o.result != migration_steps.MIGRATED)


def carry_out(
    conn: connection.Connection, plan: drain_return_plan.Plan, say: Say
) -> Outcomes:
    """Mark who returns, enable the host, and bring them back, in rounds.

    :raises KeyboardInterrupt: those on their way stay marked
    """
    task, host = plan.task, plan.service.host
    name = plan.service.drain.run if plan.service.drain else marks.new_run()
    orders = [order_of(look, move, name, host) for look, move in _both(plan)]
    _mark(conn, plan, orders)
    if not plan.service.is_enabled:
        server_actions.enable_service(conn, plan.service.id)
    _unlock(conn, [one.server for one in plan.locked] + [*plan.left_out])
    returned = [key for key, look in plan.looks.items() if look.is_home(host)]
    outcomes = moving_rounds.move(
        migration.Run(conn, plan.world, task.timeout, say),
        orders,
        again,
        moving_lanes.Rules(task.at_once, task.wait, unsettled=returned),
    )
    return tuple(_with_way_out(outcome, host) for outcome in outcomes)


def _both(
    plan: drain_return_plan.Plan,
) -> list[tuple[drain_return_plan.Look, drain_plan.Move]]:
    looks = plan.looks
    return [
        (looks[move.server.id], move)
        for move in plan.moves
        if move.server.id in looks and not move.is_blocked
    ]


def order_of(
    look: drain_return_plan.Look,
    move: drain_plan.Move,
    run: str,
    host: str,
) -> migration_steps.Order:
    """Return the order for a server that is to return."""
    mark = look.state.mark if look.is_marked else None
    source = look.state.origin
    if look.is_home(host):
        source = look.state.newest.source if look.state.newest else ''
    return migration_steps.Order(
        look.server,
        mark.run if mark else run,
        source,
        host,
        move.method,
        verb=marks.RETURN,
        home=marks.digest(look.server.project_id, host),
        falls_back=True,
        why=move.why,
    )


def _mark(
    conn: connection.Connection,
    plan: drain_return_plan.Plan,
    orders: Iterable[migration_steps.Order],
) -> None:
    """Lock who returns, so that it is known when the drain's mark is gone."""

    def mark(order: migration_steps.Order) -> None:
        server = order.server
        move = marks.Move(
            order.verb, order.run, marks.short(server.host_id), order.home
        )
        server_actions.lock(conn, server, marks.write_move(move))

    side_by_side.each(
        mark,
        [o for o in orders if not plan.looks[o.server.id].is_marked],
    )


def again(done: Outcomes) -> list[migration_steps.Order]:
    """Return the orders of who failed without harm: Nova may now have room."""
    return [
        dataclasses.replace(outcome.order, server=outcome.server)
        for outcome in done
        if moving_rounds.may_try_again(outcome)
    ]


def _with_way_out(outcome: migration.Outcome, host: str) -> migration.Outcome:
    """Say how to bring a server that is not marked to return any more."""
    if not moving_rounds.may_try_again(outcome):
        return outcome
    return dataclasses.replace(
        outcome,
        detail=_(
            "%(why)s; to bring it: openstack gpu server migrate --host "
            "%(host)s %(id)s"
        )
        % {
            'why': outcome.detail,
            'host': shlex.quote(host),
            'id': outcome.server.id,
        },
    )
