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

"""The steps of a recovery, each as the cloud is asked for it."""

from collections.abc import Callable
import dataclasses
import time

from openstack import connection

from osc_gpu.cloud import allocations
from osc_gpu.cloud import instance_actions
from osc_gpu.cloud import marks
from osc_gpu.cloud import migration
from osc_gpu.cloud import migration_state
from osc_gpu.cloud import migration_steps
from osc_gpu.cloud import moving_hosts
from osc_gpu.cloud import recovery_model
from osc_gpu.cloud import repair
from osc_gpu.cloud import repair_consumers
from osc_gpu.cloud import rest
from osc_gpu.cloud import server_actions
from osc_gpu.cloud import servers
from osc_gpu.i18n import _

#: From here on several consumers are written at once, with generations.
_WRITING = '1.37'

_POWER = 'OS-EXT-STS:power_state'

_SIMPLE: dict[str, Callable[[connection.Connection, str], None]] = {
    recovery_model.CONFIRM: server_actions.confirm,
    recovery_model.REVERT: server_actions.revert,
    recovery_model.STOP: server_actions.stop,
    recovery_model.START: server_actions.start,
    recovery_model.REBOOT: server_actions.reboot_hard,
    recovery_model.UNLOCK: server_actions.unlock,
}

#: Steps after which the server is waited for.
_RESTARTS = (recovery_model.START, recovery_model.REBOOT)

#: Steps that leave the server itself alone.
_UNLOCKED = (
    recovery_model.SETTLE,
    recovery_model.REMOVE,
    recovery_model.REPAIR,
    recovery_model.SWAP,
    recovery_model.UNLOCK,
)


def do(
    run: migration.Run,
    case: recovery_model.Case,
    step: recovery_model.Step,
    wait: float,
) -> str:
    """Do a step; return why it failed, or ''.

    :param wait: seconds within which each host updates its resources
    :raises openstack.exceptions.SDKException: what the cloud refused
    """
    conn, server = run.conn, case.server
    if step.name not in _UNLOCKED:
        _lock(run, case)
    if step.name == recovery_model.PERIODIC:
        run.pause(wait)
    elif step.name == recovery_model.RESET:
        server_actions.reset_state(conn, server.id, 'error')
    elif step.name == recovery_model.REVIVE:
        server_actions.reset_state(conn, server.id, 'active')
    elif step.name in (recovery_model.SETTLE, recovery_model.MIGRATE):
        return _move(run, case, step, wait)
    elif step.name == recovery_model.REMOVE:
        return _remove(run, case)
    elif step.name == recovery_model.REPAIR:
        return _repair(run, case, wait)
    elif step.name == recovery_model.SWAP:
        return _swap(conn, case)
    else:
        _SIMPLE[step.name](conn, server.id)
        if step.name in _RESTARTS:
            return _see_it_run(run, server.id)
    return ''


def read_power(
    conn: connection.Connection, server: servers.GpuServer
) -> int | None:
    """Return Nova's power_state of a server, which may be an old one."""
    path = f'/servers/{server.id}'
    found = rest.get(conn.compute, path, servers.MICROVERSION)['server']
    power: int | None = found.get(_POWER)
    return power


def _lock(run: migration.Run, case: recovery_model.Case) -> None:
    """Keep others off the server; what somebody else locked stays so."""
    server = case.server
    if not server.is_locked:
        source = marks.short(server.host_id)
        mark = marks.Move(marks.MIGRATE, marks.new_run(), source)
        server_actions.lock(run.conn, server, marks.write_move(mark))


def _move(
    run: migration.Run,
    case: recovery_model.Case,
    step: recovery_model.Step,
    wait: float,
) -> str:
    """Migrate, and confirm; or see through what waits to be confirmed."""
    state = case.state
    if step.host and state.server.gpu_request.aliases:
        untidy = moving_hosts.tidy(run, step.host, wait)
        if untidy:
            return untidy
    mark = state.mark or marks.Move(marks.MIGRATE, marks.new_run(), '')
    outcome = migration.move(
        run,
        migration_steps.Order(
            state.server,
            mark.run,
            state.origin,
            step.host,
            verb=mark.verb,
            home=mark.home,
            is_forced=step.name == recovery_model.MIGRATE,
        ),
    )
    if outcome.result == migration_steps.MIGRATED or (
        step.name == recovery_model.SETTLE
        and outcome.result
        in (migration_steps.REVERTED, migration_steps.POISONED)
    ):
        return ''
    return outcome.detail or outcome.result


def _see_it_run(run: migration.Run, server_id: str) -> str:
    """Wait until Nova has started a server; return why it did not."""
    deadline = time.monotonic() + run.timeout
    state = migration_state.read(run.conn, server_id, {})
    pause = migration.FIRST_PAUSE
    while state.stand == migration_state.BUSY and not run.stopped.is_set():
        if time.monotonic() > deadline:
            return _("after %d seconds it has still not started") % run.timeout
        run.pause(pause)
        pause = min(pause * 1.5, migration.LONGEST_PAUSE)
        state = migration_state.read(run.conn, server_id, state.began)
    if state.server.status == 'ACTIVE':
        return ''
    return (
        instance_actions.failure(run.conn, server_id)
        or _("it is %s") % state.server.status
    )


def _remove(run: migration.Run, case: recovery_model.Case) -> str:
    """Remove what migrations hold that are over."""
    snapshot = migration_state.snapshot(run.world, case.state)
    outcomes = repair_consumers.remove(
        run.conn,
        dict.fromkeys(case.leaks, case.server.id),
        repair.providers_of(snapshot),
    )
    return '; '.join(o.text for o in outcomes.values() if not o.is_done)


def _repair(run: migration.Run, case: recovery_model.Case, wait: float) -> str:
    """Drop the devices that the server holds and does not use."""
    snapshot = dataclasses.replace(
        migration_state.snapshot(run.world, case.state), held=case.held
    )
    outcomes = repair.drop_excess(run.conn, snapshot, case.problems, wait)
    return '; '.join(o.text for o in outcomes.values() if not o.is_done)


def _swap(conn: connection.Connection, case: recovery_model.Case) -> str:
    """Give a server what its migration holds, in one write."""
    own, others = case.held[case.server.id], case.held[case.swap]
    own = dataclasses.replace(
        own, project_id=others.project_id, user_id=others.user_id
    )
    if allocations.write_together(conn, [(own, others.held), (others, {})]):
        return ''
    return _("its allocations changed meanwhile")
