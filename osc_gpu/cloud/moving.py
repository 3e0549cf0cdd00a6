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

"""Tidying up after servers that have moved."""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import NamedTuple
from typing import TypeVar

from openstack import exceptions as sdk_exceptions

from osc_gpu.cloud import audit_model
from osc_gpu.cloud import audit_servers
from osc_gpu.cloud import errors
from osc_gpu.cloud import migration
from osc_gpu.cloud import migration_proof
from osc_gpu.cloud import migration_records
from osc_gpu.cloud import migration_state
from osc_gpu.cloud import migration_steps
from osc_gpu.cloud import repair
from osc_gpu.cloud import repair_consumers
from osc_gpu.cloud import repair_writing
from osc_gpu.cloud import server_actions
from osc_gpu.cloud import side_by_side
from osc_gpu.i18n import _

T = TypeVar('T')

#: Seconds within which Nova updates what servers hold, and some more.
WAIT = 90

Outcomes = tuple[migration.Outcome, ...]


class _Left(NamedTuple):
    """What a server that has moved holds, and its migration still does."""

    outcome: migration.Outcome
    state: migration_state.State
    held: migration_proof.Held

    @property
    def leaks(self) -> list[str]:
        """The migrations that are over and hold something."""
        over = {
            record.uuid
            for record in self.state.records
            if record.status not in migration_records.IN_PROGRESS
        }
        return [u for u in over & self.held.keys() if self.held[u].held]


def settle(
    run: migration.Run,
    outcomes: Collection[migration.Outcome],
    wait: float = WAIT,
    at_once: int = side_by_side.DEFAULT,
) -> Outcomes:
    """Take away what servers that have moved hold too much, and unlock them.

    Those that can be tried again are unlocked, too. All others stay locked,
    for their tenants would do harm. Four requests for each server, and those
    of the repair.

    :param wait: seconds within which Nova updates what servers hold
    :returns: the outcomes in their order
    :raises openstack.exceptions.ForbiddenException: the user may not write
    """
    moved = [o for o in outcomes if o.result == migration_steps.MIGRATED]
    found = side_by_side.each(
        lambda o: _persist(run, lambda: _read_left(run, o)),
        moved,
        at_once,
    )
    said = {
        o.server.id: one.text
        for o, one in zip(moved, found, strict=True)
        if isinstance(one, repair_writing.Outcome)
    }
    left = [one for one in found if isinstance(one, _Left)]
    mended = _persist(run, lambda: _mend(run, left, wait))
    if isinstance(mended, repair_writing.Outcome):
        mended = {one.state.server.id: mended.text for one in left}
    said |= mended
    settled = [
        dataclasses.replace(
            o, result=migration_steps.UNSETTLED, detail=said[o.server.id]
        )
        if o.server.id in said
        else o
        for o in outcomes
    ]
    return tuple(
        side_by_side.each(lambda o: _unlock(run, o), settled, at_once)
    )


def _persist(
    run: migration.Run, call: Callable[[], T]
) -> T | repair_writing.Outcome:
    """Return what a call returns; try again what the cloud refused.

    :raises openstack.exceptions.ForbiddenException: the user may not write
    """
    for _try in range(migration_steps.MOST_TRIES):
        found = repair_writing.attempt(call)
        if not isinstance(found, repair_writing.Outcome):
            break
        run.pause(migration.FIRST_PAUSE)
    return found


def _read_left(run: migration.Run, outcome: migration.Outcome) -> _Left:
    state = migration_state.read(run.conn, outcome.server.id)
    uuids = [r.uuid for r in state.records if r.kind == 'migration'][-1:]
    held = migration_proof.read(run.conn, state.server.id, *uuids)
    return _Left(outcome, state, held)


def _mend(
    run: migration.Run, left: Sequence[_Left], wait: float
) -> Mapping[str, str]:
    """Repair what servers hold; return what is still wrong, by server."""
    snapshot = dataclasses.replace(
        run.world,
        servers={one.state.server.id: one.state.server for one in left},
        records=tuple(r for one in left for r in one.state.records),
        held={uuid: held for one in left for uuid, held in one.held.items()},
    )
    leaks = {u: one.state.server.id for one in left for u in one.leaks}
    removed = repair_consumers.remove(
        run.conn,
        leaks,
        repair.providers_of(snapshot),
        side_by_side.DEFAULT,
    )
    wrong = [
        problem
        for one in left
        for problem in audit_servers.judge_server(snapshot, one.state.server)
    ]
    said = {
        leaks[u]: done.text for u, done in removed.items() if not done.is_done
    }
    said |= {p.server_id: p.detail for p in wrong}
    mended = repair.drop_excess(run.conn, snapshot, wrong, wait)
    others = {p.server_id for p in wrong if p.check != audit_model.EXCESS}
    for server_id, done in mended.items():
        run.say(f'{snapshot.servers[server_id].name}: {done.text}')
        if done.is_done and server_id not in others:
            del said[server_id]
    return said


def _unlock(
    run: migration.Run, outcome: migration.Outcome
) -> migration.Outcome:
    """Unlock a server that we locked, and that may be touched again."""
    is_over = outcome.result == migration_steps.MIGRATED or outcome.is_clean
    if not is_over or outcome.result == migration_steps.NOT_BEGUN:
        return outcome
    why = ''
    for _try in range(migration_steps.MOST_TRIES):
        try:
            state = migration_state.read(run.conn, outcome.server.id)
            if state.mark is None:
                return outcome
            server_actions.unlock(run.conn, outcome.server.id)
        except sdk_exceptions.NotFoundException:
            return outcome
        except errors.REFUSALS as exc:
            why = errors.explain(exc, run.conn)
            run.pause(migration.FIRST_PAUSE)
    return dataclasses.replace(
        outcome,
        result=migration_steps.UNSETTLED,
        detail=_("it is still locked: %s") % why,
    )
