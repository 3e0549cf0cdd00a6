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

"""Emptying a host: refuse first, then disable it, then move its servers.

All that a run knows is in the cloud: the reason for which the service is
disabled, the locks of the servers, and where they stand. So a run that was
killed is taken up by the next one, and two may run at once: each step is safe
to be asked for twice.
"""

from collections.abc import Callable
from collections.abc import Iterable
import dataclasses
import logging
import time

from openstack import connection
from osc_lib import exceptions

from osc_gpu.cloud import drain_plan
from osc_gpu.cloud import drain_service
from osc_gpu.cloud import errors
from osc_gpu.cloud import marks
from osc_gpu.cloud import migration
from osc_gpu.cloud import migration_state
from osc_gpu.cloud import migration_steps
from osc_gpu.cloud import moving
from osc_gpu.cloud import moving_lanes
from osc_gpu.cloud import moving_rounds
from osc_gpu.cloud import servers
from osc_gpu.i18n import _

LOG = logging.getLogger(__name__)

Outcomes = tuple[migration.Outcome, ...]

#: How often a plan is made again, and the seconds before.
_MORE_LOOKS = 2
_PAUSE = 3.0

#: Statuses that servers have while they are moved.
_MOVING = ('MIGRATING', 'RESIZE', 'REVERT_RESIZE', 'VERIFY_RESIZE')

#: What can come of a plan that is made amid the moves.
_UNPLANNED: tuple[type[Exception], ...] = (
    exceptions.CommandError,
    *errors.REFUSALS,
)


@dataclasses.dataclass(frozen=True)
class Task:
    """What is to be emptied, and how.

    ``targets`` and ``excluded`` are names as the user gives them, ``text`` is
    his reason, None without one. Times are in seconds: ``timeout`` for each
    server, ``wait`` for Nova to update what servers hold.
    """

    host: str
    targets: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    gpu_only: bool = False
    method: str = ''
    text: str | None = None
    at_once: int = 2
    timeout: float = 1800
    wait: float = moving.WAIT
    keeps_enabled: bool = False
    keeps_going: bool = False


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A drain that can begin, unless servers of its plan are blocked."""

    task: Task
    service: drain_service.Service
    drain: marks.Drain
    plan: drain_plan.Plan


@dataclasses.dataclass(frozen=True)
class Done:
    """What became of servers; ``unknown`` says why there may be more left."""

    outcomes: Outcomes = ()
    unknown: str = ''


def prepare(conn: connection.Connection, task: Task) -> Prepared:
    """Find out how the servers of a host would leave it; change nothing.

    One request, and those of drain_plan.read, which are made again for some
    seconds if servers that are under way seem to be blocked.

    :raises osc_lib.exceptions.CommandError: the host, or anything else that
        the task names, is not there or is of no use
    """
    service = drain_service.read(conn, task.host)
    drain_service.require_up(service)
    drain = drain_service.drain_of(service, marks.new_run(), task.text)
    plan = _plan(conn, task)
    for _look in range(_MORE_LOOKS):
        if not any(is_passing(move, service.host) for move in plan.moves):
            break
        time.sleep(_PAUSE)
        plan = _plan(conn, task)
    return Prepared(task, service, drain, plan)


def is_passing(move: drain_plan.Move, host: str) -> bool:
    """Tell whether what is in a server's way may be a moment of its move."""
    return move.is_blocked and (
        bool(move.server.task_state)
        or move.server.status in _MOVING
        or move.server.host != host
    )


def _plan(
    conn: connection.Connection,
    task: Task,
    failed: drain_plan.Failed | None = None,
) -> drain_plan.Plan:
    return drain_plan.read(
        conn,
        task.host,
        targets=task.targets,
        excluded=task.excluded,
        gpu_only=task.gpu_only,
        method=task.method,
        at_once=task.at_once,
        failed=failed,
    )


def begin(conn: connection.Connection, prepared: Prepared) -> None:
    """Have no new servers come to the host, and say what there is to say.

    One request, or none if it is disabled by a drain already.
    """
    host, before = prepared.service.host, prepared.service.drain
    if before is not None:
        LOG.warning(
            _(
                "Host %(host)s is being drained by run %(run)s since "
                "%(since)s: going on with that"
            ),
            {'host': host, 'run': before.run, 'since': before.since},
        )
    if not prepared.task.keeps_enabled:
        drain_service.disable(conn, prepared.service, prepared.drain)
    if not prepared.plan.moves:
        LOG.warning(_("Host %s has no server that is to leave it"), host)


def carry_out(
    conn: connection.Connection,
    prepared: Prepared,
    say: Callable[[str], None],
) -> Done:
    """Move the servers away, in rounds; say what became of each.

    Those of migration_state.read_world and the moves, one before each move,
    and one after each round, or those of a plan if anything is left to do.

    :raises KeyboardInterrupt: the host stays disabled, and servers under way
        stay locked
    """
    task = prepared.task
    if not prepared.plan.moves:
        return Done()
    run = migration.Run(
        conn, migration_state.read_world(conn), task.timeout, say
    )
    planner = _Planner(conn, prepared)

    def check() -> str:
        if task.keeps_enabled:
            return ''
        return drain_service.why_stop(conn, prepared.service.host)

    outcomes = moving_rounds.move(
        run,
        [planner.order(move) for move in prepared.plan.moves],
        planner.again,
        moving_lanes.Rules(
            task.at_once,
            task.wait,
            check,
            stops_at_poison=not task.keeps_going,
            unsettled=unsettled(prepared.plan),
        ),
    )
    return Done(
        (*map(planner.with_tried, outcomes), *planner.refused),
        planner.unknown,
    )


def unsettled(plan: drain_plan.Plan) -> frozenset[str]:
    """Return the servers that have moved, and are still ours to look after."""
    return frozenset(
        move.server.id
        for move in plan.moves
        if move.server.host not in ('', plan.host)
        and move.server.status in ('ACTIVE', 'SHUTOFF')
        and not move.server.task_state
    )


def order_of(
    move: drain_plan.Move,
    run: str,
    source: str,
    *,
    falls_back: bool,
    failed_at: str = '',
) -> migration_steps.Order:
    """Return the order for a move of the plan.

    :param failed_at: where it failed before; there Nova shall choose now,
        but not for who takes PCI devices: each host is to be looked at before
    """
    chooses = move.target == failed_at and not move.server.gpu_request.aliases
    mark = marks.read_move(move.server.locked_reason)
    return migration_steps.Order(
        move.server,
        mark.run if mark else run,
        source,
        '' if chooses else move.target,
        move.method,
        falls_back=falls_back,
        why=move.why,
    )


class _Planner:
    """Says what is to be done in each round."""

    def __init__(
        self, conn: connection.Connection, prepared: Prepared
    ) -> None:
        self._refused: dict[str, migration.Outcome] = {}
        self._failed: dict[str, list[str]] = {}
        self._stuck: set[str] = set()
        self.unknown = ''
        self._conn = conn
        self._prepared = prepared

    @property
    def refused(self) -> Outcomes:
        """Who came meanwhile, and is not to be moved."""
        return tuple(self._refused.values())

    def order(
        self, move: drain_plan.Move, failed_at: str = ''
    ) -> migration_steps.Order:
        """Return the order for a move of the plan."""
        task = self._prepared.task
        return order_of(
            move,
            self._prepared.drain.run,
            self._prepared.service.host,
            falls_back=not task.method,
            failed_at='' if task.targets else failed_at,
        )

    def with_tried(self, outcome: migration.Outcome) -> migration.Outcome:
        """Say of a server that failed everywhere that no host is left."""
        server_id = outcome.server.id
        if server_id not in self._stuck or not moving_rounds.may_try_again(
            outcome
        ):
            return outcome
        return dataclasses.replace(
            outcome,
            detail=_("%(why)s; no host is left but %(tried)s, tried before")
            % {
                'why': outcome.detail,
                'tried': ', '.join(self._failed[server_id]),
            },
        )

    def again(self, done: Outcomes) -> list[migration_steps.Order]:
        """Return the orders for who is left, and for who came meanwhile."""
        try:
            if not self._has_more(done):
                return []
            self._remember(done)
            plan = _plan(self._conn, self._prepared.task, self._failed)
        except _UNPLANNED as exc:
            # What has moved is to be told in any case.
            self.unknown = _(
                "What is left on %(host)s is not known: %(why)s"
            ) % {
                'host': self._prepared.service.host,
                'why': errors.explain(exc, self._conn),
            }
            return []
        return self._rest(plan, done)

    def _remember(self, done: Outcomes) -> None:
        """Take down where servers failed that are to go elsewhere now."""
        for outcome in done:
            target, server = outcome.order.target, outcome.server
            if (
                target
                and moving_rounds.may_try_again(outcome)
                and (server.gpu_request.aliases or self._prepared.task.targets)
            ):
                tried = self._failed.setdefault(server.id, [])
                if target not in tried:
                    tried.append(target)

    def _has_more(self, done: Outcomes) -> bool:
        if any(moving_rounds.may_try_again(o) for o in done):
            return True
        found = servers.read_all(
            self._conn, host=self._prepared.service.host, all_tenants='True'
        )
        return bool(newcomers(found, self._prepared.task, done))

    def _rest(
        self, plan: drain_plan.Plan, done: Outcomes
    ) -> list[migration_steps.Order]:
        tried = {outcome.server.id: outcome for outcome in done}
        orders = []
        for move in plan.moves:
            before = tried.get(move.server.id)
            if before is None and move.is_blocked:
                self._refused[move.server.id] = migration.Outcome(
                    self.order(move),
                    move.server,
                    migration_steps.REFUSED,
                    _("it came meanwhile: %s") % move.why,
                )
            elif move.is_blocked or (
                before and not moving_rounds.may_try_again(before)
            ):
                continue
            else:
                target = before.order.target if before else ''
                if move.target in self._failed.get(move.server.id, ()):
                    self._stuck.add(move.server.id)
                orders.append(self.order(move, target))
        return orders


def newcomers(
    found: Iterable[servers.GpuServer], task: Task, done: Outcomes
) -> tuple[servers.GpuServer, ...]:
    """Return the servers on the host that no plan knew of."""
    known = {outcome.server.id for outcome in done}
    return tuple(
        server
        for server in found
        if server.id not in known
        and server.id not in task.excluded
        and server.name not in task.excluded
        and (server.gpu_request or not task.gpu_only)
    )
