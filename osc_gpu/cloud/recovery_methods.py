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

"""Ways to recover that the user asks for: what they do, and when they may."""

from osc_lib import exceptions

from osc_gpu.cloud import migration_state
from osc_gpu.cloud import recovery_model
from osc_gpu.i18n import _

AUTO = 'auto'
CONFIRM = 'confirm'
REVERT = 'revert'
RESTART = 'restart'
MIGRATE = 'migrate'
BOUNCE = 'bounce'
RESET = 'reset'

METHODS = (AUTO, CONFIRM, REVERT, RESTART, MIGRATE, BOUNCE, RESET)

#: The newest microversion of the last Nova that restarts a server whose
#: state was reset, whatever its failed migration claimed (facts 0.1).
_LAST = (2, 90)


def steps(
    method: str,
    case: recovery_model.Case,
    diagnosis: recovery_model.Diagnosis,
    microversion: tuple[int, int],
) -> tuple[recovery_model.Step, ...]:
    """Return what a method does first; after that it is judged as ever.

    :param microversion: the newest of the cloud's Nova
    :raises osc_lib.exceptions.CommandError: it would do harm, or nothing
    """
    why = _objection(method, case, diagnosis, microversion)
    if why:
        raise exceptions.CommandError(
            _("Nothing was done. --method %(method)s: %(why)s")
            % {'method': method, 'why': why}
        )
    names = {
        CONFIRM: [recovery_model.CONFIRM],
        REVERT: [recovery_model.REVERT],
        RESTART: [recovery_model.STOP, recovery_model.START],
        MIGRATE: [recovery_model.STOP, recovery_model.MIGRATE],
        RESET: [
            recovery_model.REVIVE,
            recovery_model.STOP,
            recovery_model.START,
        ],
    }.get(method, [])
    status = case.server.status
    if recovery_model.STOP in names and (
        status == 'SHUTOFF' or (method == MIGRATE and status == 'ACTIVE')
    ):
        names.remove(recovery_model.STOP)
    return tuple(recovery_model.Step(name) for name in names)


def _objection(
    method: str,
    case: recovery_model.Case,
    diagnosis: recovery_model.Diagnosis,
    microversion: tuple[int, int],
) -> str:
    """Say why a method must not be used; '' if it may be."""
    if method in (CONFIRM, REVERT):
        if diagnosis.kind != recovery_model.UNCONFIRMED:
            return _("it does not wait to be confirmed (%s)") % diagnosis.text
        return ''
    if method == BOUNCE:
        if diagnosis.kind != recovery_model.STALE_CLAIM or not diagnosis.steps:
            return _("it is for stale claims only (%s)") % diagnosis.text
        return ''
    if case.state.stand not in (migration_state.IDLE, migration_state.ERROR):
        return _("it is %s") % case.server.status
    if case.state.finished:
        return diagnosis.text
    if method == RESET:
        return _no_reset(case, microversion)
    if case.stale:
        return diagnosis.text
    return ''


def _no_reset(case: recovery_model.Case, microversion: tuple[int, int]) -> str:
    if microversion > _LAST:
        return _(
            "it destroys servers on Nova 26 (Zed) and later, as this one is "
            "(%s): such a server does not start any more"
        ) % '.'.join(map(str, microversion))
    newest = case.cold[-1] if case.cold else None
    if (
        case.server.status != 'ERROR'
        or newest is None
        or newest.status != 'error'
        or newest.target != case.server.host
    ):
        return _("it is for servers in ERROR where they were migrated to")
    return ''
