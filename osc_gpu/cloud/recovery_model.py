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

"""What can be wrong with a server that is stuck, and what can be done."""

from collections.abc import Mapping
import dataclasses
from typing import NamedTuple

from osc_gpu.cloud import audit_migrations
from osc_gpu.cloud import audit_model
from osc_gpu.cloud import migration_proof
from osc_gpu.cloud import migration_records
from osc_gpu.cloud import migration_state
from osc_gpu.cloud import recovery_history
from osc_gpu.cloud import servers
from osc_gpu.i18n import _

#: What can be wrong.
HEALTHY = 'healthy'
BUSY = 'busy'
#: Its migration is under way for ever, as a host died in the middle.
ABANDONED = 'abandoned'
#: Its migration was given up, but Nova still counts it as being resized.
STRANDED = 'stranded'
UNCONFIRMED = 'unconfirmed'
#: Its state was reset while it waited to be confirmed.
RESET_EARLY = 'reset before it was confirmed'
STALE_CLAIM = 'stale claim'
#: What it holds in Placement is that of the other host.
MISPLACED = 'misplaced'
NO_VGPU = 'lost vGPU'
BROKEN = 'error'
OFF = 'shut off'
LEFTOVER = 'leftover'
LOCKED = 'locked'
NOT_OURS = 'not a migration'

#: What can be done.
WAIT = 'wait'
SETTLE = 'confirm, or revert if it cannot be proven'
CONFIRM = 'confirm'
REVERT = 'revert'
STOP = 'stop'
START = 'start'
REBOOT = 'reboot hard'
MIGRATE = 'migrate'
PERIODIC = 'wait for the update of resources'
REMOVE = 'remove what its migrations still hold'
SWAP = 'take over what its migration holds'
REPAIR = 'drop what it holds too much'
RESET = 'reset state to error'
REVIVE = 'reset state to active'
UNLOCK = 'unlock'

#: libvirt's and Nova's number of a guest that runs.
RUNNING = 1

#: How many broken migrations are looked at, the newest ones.
_MOST_RECORDS = 10

#: How many looks tell a migration that nobody works on from one that just
#: changes its state.
MOST_LOOKS = 6


class Step(NamedTuple):
    """Something to do; ``host`` is where to, or where."""

    name: str
    host: str = ''

    @property
    def text(self) -> str:
        """The step in words."""
        if self.name == PERIODIC:
            return _("%(step)s on %(host)s") % {
                'step': self.name,
                'host': self.host,
            }
        if self.name == MIGRATE:
            where = self.host or _("wherever there is room")
            return _("migrate to %s, and confirm") % where
        return self.name


@dataclasses.dataclass(frozen=True)
class Memory:
    """What one run did.

    ``looks`` is how often the server was seen as it is now; ``waited`` are
    the migrations after which Nova's periodic task was waited for; ``failed``
    says why steps failed. ``ignores_room``: as the user wants it.
    """

    looks: int = 0
    waited: frozenset[str] = frozenset()
    failed: Mapping[Step, str] = dataclasses.field(default_factory=dict)
    ignores_room: bool = False
    is_touched: bool = False


@dataclasses.dataclass(frozen=True)
class Case:
    """A server as it was seen, with what it and its migrations hold.

    ``power`` is Nova's power_state, None where it was not asked for.
    """

    world: audit_model.Snapshot
    state: migration_state.State
    held: migration_proof.Held = dataclasses.field(default_factory=dict)
    history: recovery_history.History = dataclasses.field(
        default_factory=recovery_history.History
    )
    power: int | None = None
    memory: Memory = Memory()

    @property
    def server(self) -> servers.GpuServer:
        return self.state.server

    @property
    def is_touched(self) -> bool:
        """Whether we had our hands on it, now or in an earlier run."""
        return self.memory.is_touched or self.state.mark is not None

    @property
    def wants_to_run(self) -> bool:
        """Whether it shall run when all is well."""
        return self.history.wants_to_run(self.state.mark is not None)

    @property
    def stale(
        self,
    ) -> list[tuple[migration_records.MigrationRecord, str]]:
        """The migrations that left devices claimed, and where."""
        return [
            (record, host)
            for record, host in migration_state.poison(self.world, self.state)
            if not (host == record.target and self.history.is_given_up(record))
        ]

    @property
    def cold(self) -> list[migration_records.MigrationRecord]:
        """Its migrations that copied it to another host, oldest first."""
        return [r for r in self.state.records if audit_migrations.is_cold(r)]

    @property
    def leaks(self) -> list[str]:
        """The migrations that are over, and hold something."""
        over = {
            record.uuid
            for record in self.state.records
            if record.status not in migration_records.IN_PROGRESS
        }
        return sorted(
            uuid
            for uuid, found in self.held.items()
            if uuid in over and found.held
        )

    @property
    def problems(self) -> tuple[audit_model.Problem, ...]:
        """What is wrong with what it holds."""
        if self.server.id not in self.held:
            return ()
        return migration_proof.problems(self.world, self.state, self.held)

    @property
    def swap(self) -> str:
        """The migration that holds what the server should, or ''."""
        roots = self.world.roots_of.get(self.server.host, frozenset())
        if self.server.id not in self.held or self._is_on(
            self.server.id, roots
        ):
            return ''
        return next((u for u in self.leaks if self._is_on(u, roots)), '')

    def _is_on(self, consumer: str, roots: frozenset[str]) -> bool:
        return not roots.isdisjoint(self.held[consumer].held)


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What is wrong, in words, and what heals it.

    ``obstacle`` says why nothing that we can do heals it.
    """

    kind: str
    text: str
    steps: tuple[Step, ...] = ()
    obstacle: str = ''


def suspects(state: migration_state.State) -> frozenset[str]:
    """Return the migrations that may hold what they should not.

    Those that broke, or that nobody confirmed; and the newest one, which may
    have ended a moment before it gives up what it holds.
    """
    cold = [r for r in state.records if audit_migrations.is_cold(r)]
    broken = [
        record.uuid
        for record in cold
        if record.status in recovery_history.BROKEN
        or record.status == migration_records.FINISHED
    ]
    newest = [record.uuid for record in cold[-1:]]
    return frozenset((*broken[-_MOST_RECORDS:], *newest))
