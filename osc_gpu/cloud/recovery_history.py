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

"""What became of a server's migrations, by the actions that Nova lists."""

from collections.abc import Iterable
import dataclasses
import datetime
from typing import Any
from typing import NamedTuple

from openstack import connection

from osc_gpu.cloud import audit_migrations
from osc_gpu.cloud import instance_actions
from osc_gpu.cloud import migration_records
from osc_gpu.cloud import migration_state

_FAILED = 'Error'
_MOVES = ('migrate', 'resize')
_REVERT = 'revertResize'

#: What the events of a move are called (nova/compute/manager.py).
_FINISHED = 'compute_finish_resize'
_REVERTED = 'compute_revert_resize'

#: What somebody asks for who wants a server to run.
_RUN = frozenset(
    ('create', 'start', 'reboot', 'rebuild', 'unshelve', 'resume', 'restore')
)

#: An unlock and a lock of one command are not further apart.
_AT_ONCE = datetime.timedelta(seconds=10)

#: What gives a guest new mediated devices.
_SPAWNS = ('rebuild', 'unshelve', 'evacuate')

#: How migrations end that broke.
BROKEN = (migration_records.ERROR, 'failed')


class Action(NamedTuple):
    """An action on a server; ``events`` has results by name, if read."""

    name: str
    request_id: str
    began: str
    is_failed: bool = False
    events: tuple[tuple[str, str], ...] = ()

    def result(self, event: str) -> str | None:
        """Return an event's result; None if it did not happen."""
        return dict(self.events).get(event)


@dataclasses.dataclass(frozen=True)
class History:
    """All actions on a server, oldest first."""

    actions: tuple[Action, ...] = ()

    def move_of(
        self, record: migration_records.MigrationRecord
    ) -> Action | None:
        """Return the action that a migration belongs to.

        A record does not name its action; it is made right after it.
        """
        moves = [action for action in self.actions if action.name in _MOVES]
        return min(
            moves,
            key=lambda action: abs(
                _moment(action.began) - _moment(record.created_at)
            ),
            default=None,
        )

    def revert_of(
        self, record: migration_records.MigrationRecord
    ) -> Action | None:
        """Return the action that reverted a migration, or tried to."""
        for action in self._after(record):
            if action.name in _MOVES:
                break
            if action.name == _REVERT:
                return action
        return None

    def is_given_up(self, record: migration_records.MigrationRecord) -> bool:
        """Tell whether a migration's target gave up what it had claimed.

        It did so if it was reverted there and failed on the source only.
        """
        revert = self.revert_of(record)
        return revert is not None and revert.result(_REVERTED) == 'Success'

    def has_no_mdevs(self, record: migration_records.MigrationRecord) -> bool:
        """Tell whether a guest was never made on a migration's target."""
        move = self.move_of(record)
        return (
            move is not None
            and move.result(_FINISHED) != 'Success'
            and any(event == _FINISHED for event, _result in move.events)
            and not any(a.name in _SPAWNS for a in self._after(record))
        )

    def wants_to_run(self, is_ours: bool) -> bool:
        """Tell whether whoever asked last wanted the server to run.

        :param is_ours: one of our commands locked it; what was done since
            then is our doing
        """
        asked = list(self.actions)
        if is_ours:
            asked = asked[: self._lock]
        for action in reversed(asked):
            if action.name == 'stop':
                return False
            if action.name in _RUN:
                return True
        return True

    @property
    def _lock(self) -> int | None:
        """Where the first lock since the last unlock is.

        To change the reason of a lock takes an unlock and a lock at once.
        """
        found: int | None = None
        before: Action | None = None
        for number, action in enumerate(self.actions):
            if action.name == 'lock':
                again = before is not None and (
                    _moment(action.began) - _moment(before.began) < _AT_ONCE
                )
                if found is None or (before is not None and not again):
                    found = number
                before = None
            elif action.name == 'unlock':
                before = action
        return found if before is None else None

    @property
    def failed_to_start(self) -> bool:
        """Whether the last thing that was tried was to start it, in vain."""
        actions = [a for a in self.actions if a.name not in ('lock', 'unlock')]
        return (
            bool(actions)
            and actions[-1].name in ('start', 'reboot')
            and actions[-1].is_failed
        )

    def _after(
        self, record: migration_records.MigrationRecord
    ) -> tuple[Action, ...]:
        move = self.move_of(record)
        if move is None:
            return ()
        return self.actions[self.actions.index(move) + 1 :]


def read(conn: connection.Connection, state: migration_state.State) -> History:
    """Read what was done to a server, in one request.

    One or two more for each of its migrations that broke.
    """
    server_id = state.server.id
    found = instance_actions.read(conn, server_id)
    history = History(parse(found))
    wanted = {
        action.request_id
        for record in state.records
        if record.status in BROKEN and audit_migrations.is_cold(record)
        for action in (history.move_of(record), history.revert_of(record))
        if action is not None
    }
    detailed = {
        action.request_id: action._replace(
            events=results(
                instance_actions.events(conn, server_id, action.request_id)
            )
        )
        for action in history.actions
        if action.request_id in wanted and action.name in (*_MOVES, _REVERT)
    }
    return History(
        tuple(detailed.get(a.request_id, a) for a in history.actions)
    )


def parse(found: Iterable[Any]) -> tuple[Action, ...]:
    """Read actions as Nova shows them; return them oldest first."""
    actions = [
        Action(
            item['action'],
            item['request_id'],
            item.get('start_time') or '',
            item.get('message') == _FAILED,
            results(item.get('events') or ()),
        )
        for item in found
    ]
    return tuple(sorted(actions, key=lambda action: action.began))


def results(events: Iterable[Any]) -> tuple[tuple[str, str], ...]:
    """Return events by their names, with their results."""
    return tuple((e['event'], e.get('result') or '') for e in events)


def _moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text.removesuffix('Z'))
