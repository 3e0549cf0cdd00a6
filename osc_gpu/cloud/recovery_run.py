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

"""Recovering a server that is stuck, step by step."""

from collections.abc import Collection
import dataclasses
import time

from osc_gpu.cloud import compute_version
from osc_gpu.cloud import errors
from osc_gpu.cloud import hypervisors
from osc_gpu.cloud import migration
from osc_gpu.cloud import migration_checks
from osc_gpu.cloud import migration_proof
from osc_gpu.cloud import migration_records
from osc_gpu.cloud import migration_state
from osc_gpu.cloud import moving
from osc_gpu.cloud import recovery
from osc_gpu.cloud import recovery_history
from osc_gpu.cloud import recovery_methods
from osc_gpu.cloud import recovery_model
from osc_gpu.cloud import recovery_steps
from osc_gpu.cloud import recovery_texts
from osc_gpu.cloud import servers
from osc_gpu.i18n import _

HEALTHY = 'healthy'
RECOVERED = 'recovered'
PLANNED = 'planned'
#: No API heals it.
BLOCKED = 'blocked'
FAILED = 'failed'
TIMED_OUT = 'timed out'
INTERRUPTED = 'interrupted'

#: How often a step is tried, and how many there may be at all.
_MOST_TRIES = 2
_MOST_STEPS = 40


@dataclasses.dataclass(frozen=True)
class Recovered:
    """What became of a server, as it was seen last.

    ``diagnosis`` is what was wrong at first, ``steps`` what was done, or is
    to be done. ``instructions`` say what is left to others, ``leftover``
    which directories.
    """

    server: servers.GpuServer
    result: str
    diagnosis: str
    steps: tuple[str, ...] = ()
    detail: str = ''
    instructions: tuple[str, ...] = ()
    leftover: tuple[str, ...] = ()

    @property
    def is_healed(self) -> bool:
        """Whether all is well with it now."""
        return self.result in (HEALTHY, RECOVERED)


def recover(
    run: migration.Run,
    server: servers.GpuServer,
    *,
    method: str = '',
    wait: float = moving.WAIT,
    is_dry: bool = False,
    is_forced: bool = False,
    also: Collection[str] = (),
) -> Recovered:
    """Heal a server with the least that heals it, and prove that it is.

    A look is three requests, one for each migration that may hold something,
    and some more for each that failed; a step is one or some more.

    :param method: one of recovery_methods.METHODS; '' is auto
    :param wait: seconds within which each host updates its resources
    :param is_dry: look, and do nothing
    :param is_forced: under a lock of somebody else, too, which stays
    :param also: resource classes that the user says are GPUs too
    :raises osc_lib.exceptions.CommandError: the method is not for this server
    """
    stuck = _Recovery(run, server, method, wait, is_forced, also)
    return stuck.heal(is_dry)


class _Recovery:
    """One server that is stuck."""

    def __init__(
        self,
        run: migration.Run,
        server: servers.GpuServer,
        method: str,
        wait: float,
        is_forced: bool,
        also: Collection[str],
    ) -> None:
        self._run = run
        self._server = server
        self._method = method
        self._wait = wait
        self._is_forced = is_forced
        self._also = also
        self._began: dict[str, bool] = {}
        self._memory = recovery_model.Memory()
        self._forced: list[recovery_model.Step] = []
        self._done: list[recovery_model.Step] = []
        self._tries: dict[recovery_model.Step, int] = {}
        self._first: recovery_model.Diagnosis | None = None
        self._seen = ''
        self._blind = 0
        self._is_fresh = False
        self._said = ''

    def heal(self, is_dry: bool) -> Recovered:
        """Look, and do what is next, until nothing is."""
        since = time.monotonic()
        pause = migration.FIRST_PAUSE
        while not self._run.stopped.is_set():
            try:
                case, diagnosis = self._judge(self._look())
            except errors.REFUSALS as exc:
                self._bear(exc)
                self._run.pause(pause)
                continue
            if not self._first or self._first.kind == recovery_model.BUSY:
                self._first = diagnosis
            if diagnosis.kind == recovery_model.BUSY and not is_dry:
                ended = self._busy(case, diagnosis, since)
                if ended:
                    return ended
                self._run.pause(pause)
                pause = min(pause * 1.5, migration.LONGEST_PAUSE)
                continue
            since, pause = time.monotonic(), migration.FIRST_PAUSE
            diagnosis = self._as_asked(case, diagnosis)
            if is_dry:
                return self._planned(case, diagnosis)
            if ended := self._next(case, diagnosis):
                return ended
        return self._end(
            INTERRUPTED, _("it goes on where it stands: run again")
        )

    # Looking.

    def _look(self) -> recovery_model.Case:
        """Read all that a diagnosis takes."""
        run = self._run
        state = migration_state.read(
            run.conn, self._server.id, self._began, self._also
        )
        self._began = dict(state.began)
        self._server = state.server
        self._notice(state)
        case = recovery_model.Case(run.world, state, memory=self._memory)
        if state.stand == migration_state.BUSY:
            return case
        case = dataclasses.replace(
            case,
            history=recovery_history.read(run.conn, state),
            held=self._read_held(state),
        )
        case = dataclasses.replace(case, world=run.world)
        if case.is_touched and state.server.status == 'ACTIVE':
            case = dataclasses.replace(
                case, power=recovery_steps.read_power(run.conn, state.server)
            )
        self._blind = 0
        return case

    def _judge(
        self, case: recovery_model.Case
    ) -> tuple[recovery_model.Case, recovery_model.Diagnosis]:
        """Diagnose; what is in the way of healing may be so no more."""
        diagnosis = recovery.diagnose(case)
        if diagnosis.obstacle and not self._is_fresh:
            self._is_fresh = True
            self._run.world = migration_state.read_world(self._run.conn)
            case = dataclasses.replace(case, world=self._run.world)
            diagnosis = recovery.diagnose(case)
        return case, diagnosis

    def _notice(self, state: migration_state.State) -> None:
        """Count for how many looks a server has been as it is."""
        newest = state.newest
        seen = ' '.join(
            (
                state.server.status,
                state.server.task_state,
                f'{newest.uuid} {newest.status}' if newest else '',
            )
        )
        looks = self._memory.looks + 1 if seen == self._seen else 1
        self._seen = seen
        self._memory = dataclasses.replace(self._memory, looks=looks)

    def _read_held(self, state: migration_state.State) -> migration_proof.Held:
        """Read what the server holds, and what its migrations may."""
        held = migration_proof.read(
            self._run.conn, state.server.id, *recovery_model.suspects(state)
        )
        if not migration_proof.knows(self._run.world, held):
            self._run.world = migration_state.read_world(self._run.conn)
        return held

    def _bear(self, exc: Exception) -> None:
        """Raise what a look met, unless it may pass."""
        self._blind += 1
        if self._blind >= migration.MOST_BLIND or not errors.may_pass(exc):
            raise exc
        self._say(errors.explain(exc, self._run.conn))

    # Deciding.

    def _busy(
        self,
        case: recovery_model.Case,
        diagnosis: recovery_model.Diagnosis,
        since: float,
    ) -> Recovered | None:
        """Wait on, or say why that is of no use."""
        self._say(diagnosis.text)
        newest = case.state.newest
        hosts = {case.server.host}
        if newest and newest.status in migration_records.IN_PROGRESS:
            hosts |= {newest.source, newest.target}
        down = sorted(
            host
            for host in hosts - {''}
            if case.memory.looks == recovery_model.MOST_LOOKS
            and not hypervisors.is_up(self._run.conn, host)
        )
        if down:
            return self._end(
                FAILED,
                _(
                    "%(what)s; the compute service on %(hosts)s is down, and "
                    "nothing goes on before it is back: openstack compute "
                    "service list"
                )
                % {'what': diagnosis.text, 'hosts': ', '.join(down)},
                case,
                diagnosis,
            )
        if time.monotonic() - since > self._run.timeout:
            return self._end(
                TIMED_OUT,
                _("after %(seconds)d seconds: %(what)s; run again")
                % {'seconds': self._run.timeout, 'what': diagnosis.text},
                case,
                diagnosis,
            )
        return None

    def _as_asked(
        self, case: recovery_model.Case, diagnosis: recovery_model.Diagnosis
    ) -> recovery_model.Diagnosis:
        """Do first what the user's method says."""
        if self._method not in ('', recovery_methods.AUTO):
            self._forced = list(
                recovery_methods.steps(
                    self._method,
                    case,
                    diagnosis,
                    compute_version.newest_microversion(self._run.conn),
                )
            )
            if self._method == recovery_methods.BOUNCE:
                self._memory = dataclasses.replace(
                    self._memory, ignores_room=True
                )
                diagnosis = recovery.diagnose(
                    dataclasses.replace(case, memory=self._memory)
                )
            self._method = ''
        if not self._forced:
            return diagnosis
        return dataclasses.replace(
            diagnosis, steps=tuple(self._forced), obstacle=''
        )

    def _planned(
        self, case: recovery_model.Case, diagnosis: recovery_model.Diagnosis
    ) -> Recovered:
        result = PLANNED
        if diagnosis.kind == recovery_model.HEALTHY and not diagnosis.steps:
            result = HEALTHY
        elif diagnosis.obstacle:
            result = BLOCKED
        self._done = list(diagnosis.steps)
        if result == BLOCKED and diagnosis.kind != recovery_model.RESET_EARLY:
            self._done = []
        return self._end(result, diagnosis.obstacle, case, diagnosis)

    def _next(
        self, case: recovery_model.Case, diagnosis: recovery_model.Diagnosis
    ) -> Recovered | None:
        """Do the next step; return what became of it all if it is over."""
        if diagnosis.kind == recovery_model.HEALTHY and not diagnosis.steps:
            if not self._done:
                return self._end(HEALTHY, _("nothing to do"), case)
            proof = recovery_texts.proof(case, self._done)
            return self._end(RECOVERED, proof, case)
        step = diagnosis.steps[0] if diagnosis.steps else None
        goes_on = not diagnosis.obstacle or (
            diagnosis.kind == recovery_model.RESET_EARLY
        )
        if step is None or not goes_on:
            return self._end(BLOCKED, diagnosis.obstacle, case, diagnosis)
        if not self._is_forced and migration_checks.has_others_lock(
            case.server
        ):
            why = migration_checks.held_back(case.server, 'recover')
            return self._end(BLOCKED, why, case)
        why = self._memory.failed.get(step, '')
        if len(self._done) >= _MOST_STEPS:
            why = why or _("it takes too many steps")
        if why:
            kind = BLOCKED if diagnosis.obstacle else FAILED
            return self._end(
                kind,
                f'{diagnosis.obstacle or diagnosis.text}: {why}',
                case,
                diagnosis,
            )
        if self._forced:
            self._forced.pop(0)
        self._do(case, step)
        return None

    # Doing.

    def _do(
        self, case: recovery_model.Case, step: recovery_model.Step
    ) -> None:
        """Do a step, and remember how it went; the next look shows it."""
        self._say(step.text)
        self._done.append(step)
        tries = self._tries[step] = self._tries.get(step, 0) + 1
        self._memory = dataclasses.replace(self._memory, is_touched=True)
        if tries > 1 and step.name == recovery_model.START:
            # What it tripped over may be gone after Nova's next update.
            self._run.pause(self._wait)
        try:
            why = recovery_steps.do(self._run, case, step, self._wait)
        except errors.REFUSALS as exc:
            why = errors.explain(exc, self._run.conn)
        if step.name == recovery_model.PERIODIC and case.state.newest:
            waited = self._memory.waited | {case.state.newest.uuid}
            self._memory = dataclasses.replace(self._memory, waited=waited)
        if why:
            self._say(why)
        is_worn = tries >= _MOST_TRIES and step.name != recovery_model.STOP
        if why and (is_worn or step.name == recovery_model.MIGRATE):
            failed = {**self._memory.failed, step: why}
            self._memory = dataclasses.replace(self._memory, failed=failed)

    def _say(self, text: str) -> None:
        """Tell what happens, each thing once."""
        if self._said != text:
            self._said = text
            self._run.say(f'{self._server.name or self._server.id}: {text}')

    def _end(
        self,
        result: str,
        detail: str = '',
        case: recovery_model.Case | None = None,
        diagnosis: recovery_model.Diagnosis | None = None,
    ) -> Recovered:
        first = self._first
        instructions: tuple[str, ...] = ()
        if case and diagnosis and result in (BLOCKED, FAILED, TIMED_OUT):
            instructions = recovery_texts.instructions(case, diagnosis)
        return Recovered(
            self._server,
            result,
            f'{first.kind}: {first.text}' if first else '',
            tuple(step.text for step in self._done),
            detail,
            instructions,
            recovery_texts.leftovers(case) if case else (),
        )
