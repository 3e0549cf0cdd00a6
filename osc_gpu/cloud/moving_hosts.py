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

"""Making sure that a host is fit to be given a server with PCI devices.

After a cold migration Placement may have a device for a server that Nova
gives to the next one (facts 0.4). Placement refuses that in the middle of the
next one's claim, which then fails and leaves a device claimed. So what
servers on a host hold too much is repaired before another one is sent there.
"""

from collections.abc import Collection
from collections.abc import Iterable
import dataclasses
import time

from osc_gpu.cloud import audit_model
from osc_gpu.cloud import audit_servers
from osc_gpu.cloud import errors
from osc_gpu.cloud import marks
from osc_gpu.cloud import migration
from osc_gpu.cloud import migration_proof
from osc_gpu.cloud import repair
from osc_gpu.cloud import repair_excess
from osc_gpu.cloud import servers
from osc_gpu.cloud import side_by_side
from osc_gpu.i18n import _

_UNCONFIRMED = 'VERIFY_RESIZE'


def tidy(
    run: migration.Run,
    host: str,
    wait: float,
    before: str = '',
    left: Collection[str] = (),
) -> str:
    """Repair what servers on a host hold too much.

    Who is on the move there is waited for. One request, and one for each
    server there with an alias; these again for each look while it is waited,
    and those of repair_excess.mend if there is anything to repair.

    :param host: a compute service's host
    :param wait: seconds within which Nova updates what servers hold
    :param before: why none might come a moment ago: that is looked at, but
        not waited for or repaired once more
    :param left: servers that this run has done with
    :returns: why no server with PCI devices may come; '' if it may
    """
    if run.world.pci_roots.isdisjoint(run.world.roots_of.get(host, ())):
        return ''
    try:
        patience = 0 if before else wait
        snapshot, why = _look_patiently(run, host, patience, left)
        if why:
            return why
        excess = surplus(snapshot)
        if before and excess:
            return before
        return _mend(run, host, snapshot, wait) if excess else ''
    except errors.REFUSALS as exc:
        return _("%(host)s cannot be looked at: %(why)s") % {
            'host': host,
            'why': errors.explain(exc, run.conn),
        }


def _look_patiently(
    run: migration.Run, host: str, patience: float, left: Collection[str]
) -> tuple[audit_model.Snapshot, str]:
    """Look at a host until nobody on the move holds a device too many.

    :param patience: seconds after which whoever still does is in the way
    :returns: what was seen, and who is in the way; '' if nobody is
    """
    deadline = time.monotonic() + patience
    is_said = False
    while True:
        snapshot = _look(run, host)
        found = _in_motion(snapshot)
        why = '; '.join(_why(server, host) for server in found)
        if (
            not found
            or any(not _goes_on(server, left) for server in found)
            or time.monotonic() >= deadline
            or run.stopped.is_set()
        ):
            return snapshot, why
        if not is_said:
            names = ', '.join(server.name for server in found)
            run.say(
                _("%(host)s: waits for %(names)s")
                % {'host': host, 'names': names}
            )
            is_said = True
        time.sleep(repair_excess.POLL)


def _look(run: migration.Run, host: str) -> audit_model.Snapshot:
    there = {
        server.id: server
        for server in servers.read_all(run.conn, host=host, all_tenants='True')
        if server.gpu_request.aliases
    }
    found = side_by_side.each(
        lambda server_id: migration_proof.read(run.conn, server_id), there
    )
    held = {uuid: one for each in found for uuid, one in each.items()}
    return dataclasses.replace(run.world, servers=there, held=held)


def _in_motion(snapshot: audit_model.Snapshot) -> list[servers.GpuServer]:
    """Return who holds too much, and something is being done to."""
    busy = [s for s in snapshot.servers.values() if not snapshot.is_idle(s)]
    ids = {problem.server_id for problem in _excess(snapshot, busy)}
    return [server for server in busy if server.id in ids]


def _goes_on(server: servers.GpuServer, left: Collection[str]) -> bool:
    """Tell whether a server leaves its state without anybody's help.

    One that another command of ours has locked is confirmed by that.
    """
    if server.status != _UNCONFIRMED or server.task_state:
        return True
    is_ours = marks.read_move(server.locked_reason) is not None
    return is_ours and server.id not in left


def _why(server: servers.GpuServer, host: str) -> str:
    words = {'name': server.name or server.id, 'host': host}
    if server.status == _UNCONFIRMED and not server.task_state:
        return (
            _(
                "%(name)s waits in VERIFY_RESIZE on %(host)s and holds a "
                "device too many: confirm or revert it, name another target, "
                "or wait"
            )
            % words
        )
    words['doing'] = server.task_state or server.status
    return (
        _(
            "%(name)s is busy on %(host)s (%(doing)s) and holds a device too "
            "many: name another target, or wait"
        )
        % words
    )


def _mend(
    run: migration.Run, host: str, snapshot: audit_model.Snapshot, wait: float
) -> str:
    excess = surplus(snapshot)
    for problem in excess:
        run.say(f'{host}: {problem.detail}')
    mended = repair.drop_excess(run.conn, snapshot, excess, wait)
    failed = [
        f'{snapshot.servers[server_id].name}: {done.text}'
        for server_id, done in mended.items()
        if not done.is_done
    ]
    if not failed:
        return ''
    return _(
        "%(host)s has servers that hold too many devices (%(why)s); see: "
        "openstack gpu inventory check --repair"
    ) % {'host': host, 'why': '; '.join(sorted(failed))}


def surplus(
    snapshot: audit_model.Snapshot,
) -> tuple[audit_model.Problem, ...]:
    """Return what servers hold too much, and Nova corrects.

    Not of those that something is being done to, nor of those that hold
    something of two hosts.
    """
    return _excess(
        snapshot, filter(snapshot.is_idle, snapshot.servers.values())
    )


def _excess(
    snapshot: audit_model.Snapshot, found: Iterable[servers.GpuServer]
) -> tuple[audit_model.Problem, ...]:
    each = [list(audit_servers.judge_server(snapshot, s)) for s in found]
    return tuple(
        problem
        for problems in each
        for problem in problems
        if problem.check == audit_model.EXCESS
        and audit_servers.is_corrected(snapshot, problem)
        and all(p.check != audit_model.TWO_TREES for p in problems)
    )
