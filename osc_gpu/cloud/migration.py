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

"""Moving one server to another host, from wherever it stands.

Look, decide, act, look again (``migration_steps``); a request that was not
answered is settled by the next look. Nothing is kept but in the cloud, so a
run that ends anywhere is taken up by the next one.
"""

from collections.abc import Callable
import dataclasses
import threading
import time

from openstack import connection
from openstack import exceptions as sdk_exceptions

from osc_gpu.cloud import audit_model
from osc_gpu.cloud import errors
from osc_gpu.cloud import instance_actions
from osc_gpu.cloud import marks
from osc_gpu.cloud import migration_proof
from osc_gpu.cloud import migration_records
from osc_gpu.cloud import migration_state
from osc_gpu.cloud import migration_steps
from osc_gpu.cloud import moving_turns
from osc_gpu.cloud import server_actions
from osc_gpu.cloud import servers
from osc_gpu.i18n import _

#: Seconds between two looks: at first, and at most.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 5.0

#: How many looks in a row may fail.
MOST_BLIND = 8

_ACTIONS: dict[str, Callable[[connection.Connection, str], None]] = {
    migration_steps.OFFLOAD: server_actions.offload,
    migration_steps.SHELVE: server_actions.shelve,
    migration_steps.CONFIRM: server_actions.confirm,
    migration_steps.REVERT: server_actions.revert,
}
_TARGETED: dict[str, Callable[[connection.Connection, str, str], None]] = {
    migration_steps.MIGRATE: server_actions.migrate,
    migration_steps.LIVE: server_actions.migrate_live,
    migration_steps.UNSHELVE: server_actions.unshelve,
}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one server.

    ``server`` is as it was seen last; ``seconds`` is how long it took.
    ``is_clean``: it is where it was and may be tried again. ``is_others``:
    another command ended its migration, and may be settling it.
    """

    order: migration_steps.Order
    server: servers.GpuServer
    result: str
    detail: str = ''
    seconds: float = 0.0
    is_clean: bool = False
    is_others: bool = False


_ENDING = (
    migration_steps.CONFIRM,
    migration_steps.LIVE,
    migration_steps.UNSHELVE,
)


class Run:
    """What all moves of one command share.

    :param world: as migration_state.read_world returned it
    :param timeout: seconds that one server may take
    :param say: told what happens, a line at a time, from several threads
    """

    def __init__(
        self,
        conn: connection.Connection,
        world: audit_model.Snapshot,
        timeout: float,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.conn = conn
        self.world = world
        self.timeout = timeout
        self.say = say
        self.stopped = threading.Event()
        self.turns = moving_turns.Turns(world)

    def pause(self, seconds: float) -> None:
        """Wait, unless the command is stopped."""
        self.stopped.wait(seconds)


def move(run: Run, order: migration_steps.Order) -> Outcome:
    """Move a server as ordered, or say why it did not move.

    Two requests a look; some more for each step. Never raises what the cloud
    refused.
    """
    began = time.monotonic()
    mover = _Mover(run, order, began + run.timeout)
    try:
        end = mover.run_to_end()
    finally:
        run.turns.end(order.server.id)
    return Outcome(
        order,
        mover.server,
        end.result,
        end.detail,
        time.monotonic() - began,
        end.is_clean,
        end.result == migration_steps.MIGRATED and not mover.has_ended_it,
    )


class _Mover:
    """One server on its way."""

    def __init__(
        self, run: Run, order: migration_steps.Order, deadline: float
    ) -> None:
        self.server = order.server
        self._order = order
        self._run = run
        self._deadline = deadline
        self._seen: migration_steps.Seen | None = None
        self._began: dict[str, bool] = {}
        self._blind = 0
        self._said = ''

    def run_to_end(self) -> migration_steps.End:
        """Look and act until nothing more is to be done."""
        pause = FIRST_PAUSE
        while not self._run.stopped.is_set():
            step = self._look()
            if isinstance(step, migration_steps.End):
                return self._explained(step)
            if time.monotonic() > self._deadline:
                return self._timed_out(step)
            if isinstance(step, migration_steps.Act) and not self._has_turn(
                step.action
            ):
                pause = FIRST_PAUSE
                self._deadline += pause
            elif isinstance(step, migration_steps.Act):
                if self._act(step.action):
                    pause = FIRST_PAUSE
                    if step.action.name == migration_steps.LOCK:
                        continue
            else:
                self._say(step.text)
            self._run.pause(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
        return migration_steps.End(
            migration_steps.INTERRUPTED,
            _("it goes on where it stands: run again"),
        )

    def _look(self) -> migration_steps.Decision:
        """See where the server stands, and decide."""
        try:
            state = migration_state.read(
                self._run.conn, self.server.id, self._began
            )
            self._began = dict(state.began)
            self.server = state.server
            self._run.turns.look(state)
            seen = self._seen or _first_sight(state)
            self._seen = seen.looked(state)
            stale = migration_state.stale_hosts(self._run.world, state)
            step = migration_steps.decide(
                state, self._order, self._seen, stale
            )
            if isinstance(step, migration_steps.Prove):
                step = self._prove(state, step.record)
        except sdk_exceptions.NotFoundException as exc:
            return self._not_found(exc)
        except errors.REFUSALS as exc:
            return self._unseen(exc)
        self._blind = 0
        return step

    def _not_found(
        self, exc: sdk_exceptions.NotFoundException
    ) -> migration_steps.End:
        """Say that the server is gone, if Nova says so."""
        if servers.is_gone(exc, self.server.id):
            return migration_steps.End(
                migration_steps.GONE, _("somebody has deleted it")
            )
        words = errors.explain(exc, self._run.conn)
        return migration_steps.End(
            migration_steps.FAILED,
            _("where it stands cannot be seen: %s; run again") % words,
        )

    def _unseen(self, exc: Exception) -> migration_steps.Decision:
        """Say what a failed look means: look again, or give up."""
        self._blind += 1
        words = errors.explain(exc, self._run.conn)
        if self._blind < MOST_BLIND and errors.may_pass(exc):
            return migration_steps.Wait(words)
        return migration_steps.End(
            migration_steps.FAILED,
            _("where it stands cannot be seen: %s; run again") % words,
        )

    def _prove(
        self,
        state: migration_state.State,
        record: migration_records.MigrationRecord,
    ) -> migration_steps.Decision:
        """Decide whether to confirm or to revert."""
        run = self._run
        held = migration_proof.read(run.conn, state.server.id, record.uuid)
        if not migration_proof.knows(run.world, held):
            run.world = migration_state.read_world(run.conn)
        doubts = migration_proof.doubts(run.world, state, record, held)
        return migration_steps.conclude(self._order, self._known, doubts)

    @property
    def has_ended_it(self) -> bool:
        """Whether Nova took that on from us which ends a migration."""
        return not self._known.taken.isdisjoint(_ENDING)

    @property
    def _known(self) -> migration_steps.Seen:
        return self._seen or migration_steps.Seen()

    def _has_turn(self, action: migration_steps.Action) -> bool:
        """Take a step, unless one of another server has to end before."""
        source = self._order.source
        if self._run.turns.take(self.server, source, action.name):
            return True
        self._say(_("waits for other servers that leave %s") % source)
        return False

    def _act(self, action: migration_steps.Action) -> bool:
        """Ask Nova for something; what came of it shows the next look."""
        self._say(action.text)
        seen = self._known.tried(action.name)
        try:
            self._ask(action)
        except errors.REFUSALS as exc:
            words = errors.explain(exc, self._run.conn)
            self._say(words)
            if not errors.may_pass(exc):
                seen = seen.tried(action.name, migration_steps.MOST_TRIES)
            # It may be done all the same, and then the reason matters.
            words = '; '.join(filter(None, (action.why, words)))
            self._seen = dataclasses.replace(seen, words=words)
            return False
        self._seen = seen.took(action)
        return True

    def _ask(self, action: migration_steps.Action) -> None:
        conn, server = self._run.conn, self.server
        if action.name == migration_steps.LOCK:
            mark = marks.Move(
                self._order.verb,
                self._order.run,
                marks.short(server.host_id),
                self._order.home,
            )
            server_actions.lock(conn, server, marks.write_move(mark))
        elif action.name in _TARGETED:
            _TARGETED[action.name](conn, server.id, action.host)
        else:
            _ACTIONS[action.name](conn, server.id)

    def _say(self, text: str) -> None:
        """Tell what happens, each thing once."""
        if self._said != text:
            self._said = text
            self._run.say(f'{self.server.name or self.server.id}: {text}')

    def _explained(self, end: migration_steps.End) -> migration_steps.End:
        """Add Nova's words for what failed, if it has any."""
        if (
            end.result
            not in (migration_steps.FAILED, migration_steps.POISONED)
            or self._known.words
        ):
            return end
        words = instance_actions.failure(self._run.conn, self.server.id)
        if not words or words in end.detail:
            return end
        return dataclasses.replace(end, detail=f'{words}; {end.detail}')

    def _timed_out(
        self, step: migration_steps.Wait | migration_steps.Act
    ) -> migration_steps.End:
        doing = self.server.status
        if isinstance(step, migration_steps.Wait):
            doing = step.text
        return migration_steps.End(
            migration_steps.TIMED_OUT,
            _(
                "after %(seconds)d seconds still %(doing)s; it is left as it "
                "is, and Nova goes on: run again, or, if nothing changes: "
                "openstack gpu server recover %(id)s"
            )
            % {
                'seconds': self._run.timeout,
                'doing': doing,
                'id': self.server.id,
            },
        )


def _first_sight(state: migration_state.State) -> migration_steps.Seen:
    """Take the migrations that are over for old ones."""
    return migration_steps.Seen(
        frozenset(
            record.uuid
            for record in state.records
            if record.status not in migration_records.IN_PROGRESS
            and record.status != migration_records.FINISHED
        )
    )
