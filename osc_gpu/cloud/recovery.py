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

"""What is wrong with a server that is stuck, and the least that heals it.

Pure rules over what was seen. There is no memory but what one run did: after
each step the server is looked at, and judged, again, so that a run that was
killed is taken up by the next one.
"""

from collections.abc import Iterator

from osc_gpu.cloud import audit_model
from osc_gpu.cloud import audit_servers
from osc_gpu.cloud import marks
from osc_gpu.cloud import migration_checks
from osc_gpu.cloud import migration_records
from osc_gpu.cloud import migration_state
from osc_gpu.cloud import recovery_bounce
from osc_gpu.cloud import recovery_history
from osc_gpu.cloud import recovery_model
from osc_gpu.i18n import _


def diagnose(case: recovery_model.Case) -> recovery_model.Diagnosis:
    """Say what is wrong with a server, and plan what heals it."""
    stand = case.state.stand
    if stand == migration_state.UNKNOWN or case.server.own_flavor is None:
        return recovery_model.Diagnosis(
            recovery_model.NOT_OURS,
            _("Nova does not show enough of it"),
            obstacle=_("its cell does not answer, or you are no admin"),
        )
    if stand == migration_state.BUSY:
        return _busy(case)
    if stand == migration_state.UNCONFIRMED or case.state.finished:
        return _unconfirmed(case)
    if case.stale:
        return recovery_bounce.diagnose(case)
    return next(_of_server(case), None) or next(
        _of_holdings(case),
        recovery_model.Diagnosis(
            recovery_model.HEALTHY, _("nothing is wrong with it")
        ),
    )


def _busy(case: recovery_model.Case) -> recovery_model.Diagnosis:
    server, newest = case.server, case.state.newest
    worn = case.memory.looks >= recovery_model.MOST_LOOKS
    under_way = newest is not None and (
        newest.status in migration_records.IN_PROGRESS
    )
    if worn and under_way and not server.task_state and server.status in (
        'ACTIVE', 'SHUTOFF', 'ERROR',
    ):  # fmt: skip
        return recovery_model.Diagnosis(
            recovery_model.ABANDONED,
            _("Nova counts a migration of it as under way that nobody does"),
            obstacle=_("no API ends it"),
        )
    if (
        worn
        and server.status == 'RESIZE'
        and newest
        and (newest.status == 'failed')
    ):
        return recovery_model.Diagnosis(
            recovery_model.STRANDED,
            _("its migration was given up, and it was left in RESIZE"),
            (
                recovery_model.Step(recovery_model.RESET),
                recovery_model.Step(recovery_model.STOP),
                recovery_model.Step(recovery_model.START),
            ),
        )
    doing = server.task_state or (newest.status if newest else '')
    text = _("something is being done to it: %s") % (
        f'{server.status} {doing}'.strip()
    )
    return recovery_model.Diagnosis(
        recovery_model.BUSY, text, (recovery_model.Step(recovery_model.WAIT),)
    )


def _unconfirmed(case: recovery_model.Case) -> recovery_model.Diagnosis:
    finished = case.state.finished
    if case.state.stand == migration_state.UNCONFIRMED and len(finished) < 2:
        if not finished:
            return recovery_model.Diagnosis(
                recovery_model.BUSY,
                _("it is being confirmed"),
                (recovery_model.Step(recovery_model.WAIT),),
            )
        if finished[0].kind == 'resize':
            return recovery_model.Diagnosis(
                recovery_model.UNCONFIRMED,
                migration_checks.RESIZED,
                obstacle=_(
                    "its resize is its owner's to decide: openstack server "
                    "resize confirm %(id)s, or openstack server resize revert "
                    "%(id)s"
                )
                % {'id': case.server.id},
            )
        return recovery_model.Diagnosis(
            recovery_model.UNCONFIRMED,
            _("it was migrated from %(source)s to %(target)s, and waits")
            % {'source': finished[0].source, 'target': finished[0].target},
            (recovery_model.Step(recovery_model.SETTLE),),
        )
    is_stable = case.state.stand != migration_state.UNCONFIRMED
    return recovery_model.Diagnosis(
        recovery_model.RESET_EARLY,
        _("its state was reset while it waited to be confirmed"),
        (recovery_model.Step(recovery_model.REMOVE),)
        if is_stable and case.leaks
        else (),
        _("Nova will take migration %s for the next one; no API forgets it")
        % finished[0].uuid,
    )


# The server itself.


def _of_server(
    case: recovery_model.Case,
) -> Iterator[recovery_model.Diagnosis]:
    server, wants = case.server, case.wants_to_run
    if case.swap:
        yield recovery_model.Diagnosis(
            recovery_model.MISPLACED,
            _("it holds nothing on %s, where it is; its migration does")
            % server.host,
            (recovery_model.Step(recovery_model.SWAP),),
        )
    if case.state.stand in (migration_state.IDLE, migration_state.ERROR):
        yield from _no_vgpu(case)
    if server.status == 'ERROR':
        yield _error(case)
    elif (
        server.status == 'SHUTOFF'
        and wants
        and (case.is_touched or case.history.failed_to_start)
    ):
        yield recovery_model.Diagnosis(
            recovery_model.OFF,
            _("it is shut off, and shall run"),
            (recovery_model.Step(recovery_model.START),),
        )
    elif (
        server.status == 'ACTIVE'
        and case.is_touched
        and (case.power not in (None, recovery_model.RUNNING))
    ):
        yield recovery_model.Diagnosis(
            recovery_model.OFF,
            _("Nova does not know whether its guest runs"),
            (recovery_model.Step(recovery_model.REBOOT),),
        )


def _no_vgpu(case: recovery_model.Case) -> Iterator[recovery_model.Diagnosis]:
    """Find a guest that was, or will be, started without its vGPUs.

    Nova makes them anew at a start only if the flavor has the literal key
    resources:VGPU, and on the target of a migration always (facts 0.5).
    """
    flavor = case.server.own_flavor
    if (
        not case.server.gpu_request.classes
        or flavor is None
        or 'resources:VGPU' in flavor.extra_specs
        or not case.cold
    ):
        return
    newest = case.cold[-1]
    if (
        newest.status not in recovery_history.BROKEN
        or newest.target != case.server.host
        or not case.history.has_no_mdevs(newest)
    ):
        return
    steps = [recovery_model.Step(recovery_model.MIGRATE)]
    if case.server.status == 'ERROR':
        steps.insert(0, recovery_model.Step(recovery_model.STOP))
    if case.server.status != 'ACTIVE' and case.wants_to_run:
        steps.append(recovery_model.Step(recovery_model.REBOOT))
    yield recovery_model.Diagnosis(
        recovery_model.NO_VGPU,
        _("a start gives it no vGPU, as its flavor lacks resources:VGPU"),
        tuple(steps),
    )


def _error(case: recovery_model.Case) -> recovery_model.Diagnosis:
    fault = ' '.join(case.server.fault.split()) or _("Nova names no fault")
    newest = case.cold[-1] if case.cold else None
    broke = newest is not None and newest.status in recovery_history.BROKEN
    # What has our lock was broken by what our command asked for.
    ours = broke or case.state.mark is not None
    if not case.server.host or not (ours or case.server.fault == 'KeyError'):
        return recovery_model.Diagnosis(
            recovery_model.NOT_OURS,
            _("it is in ERROR, and no migration did it: %s") % fault,
            obstacle=_(
                "see openstack server event list %(id)s; perhaps openstack "
                "server reboot --hard %(id)s"
            )
            % {'id': case.server.id},
        )
    unmoved = (
        newest is not None
        and newest.source == case.server.host
        and not case.state.began.get(newest.uuid, True)
    )
    steps: tuple[recovery_model.Step, ...]
    if not case.wants_to_run:
        steps = (recovery_model.Step(recovery_model.STOP),)
    elif unmoved or not broke:
        steps = (recovery_model.Step(recovery_model.REBOOT),)
    else:
        steps = (
            recovery_model.Step(recovery_model.STOP),
            recovery_model.Step(recovery_model.START),
        )
    text = _("it is in ERROR on %(host)s: %(fault)s") % {
        'host': case.server.host,
        'fault': fault,
    }
    return recovery_model.Diagnosis(recovery_model.BROKEN, text, steps)


# What it holds.


def _of_holdings(
    case: recovery_model.Case,
) -> Iterator[recovery_model.Diagnosis]:
    snapshot = migration_state.snapshot(case.world, case.state)
    if case.leaks:
        yield recovery_model.Diagnosis(
            recovery_model.LEFTOVER,
            _("its migration %s still holds resources")
            % ', '.join(case.leaks),
            (recovery_model.Step(recovery_model.REMOVE),),
        )
    for problem in case.problems:
        is_mended = (
            problem.check == audit_model.EXCESS
            and audit_servers.is_corrected(snapshot, problem)
        )
        yield recovery_model.Diagnosis(
            recovery_model.LEFTOVER,
            problem.detail,
            (recovery_model.Step(recovery_model.REPAIR),) if is_mended else (),
            '' if is_mended else problem.repair,
        )
    mark = case.state.mark
    if mark and mark.home in ('', marks.short(case.server.host_id)):
        yield recovery_model.Diagnosis(
            recovery_model.LOCKED,
            _("one of our commands left it locked"),
            (recovery_model.Step(recovery_model.UNLOCK),),
        )
