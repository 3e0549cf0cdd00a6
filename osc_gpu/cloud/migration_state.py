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

"""Where one server stands on its way from host to host, by what Nova says."""

from collections.abc import Collection
from collections.abc import Mapping
import dataclasses

from openstack import connection

from osc_gpu.cloud import audit_migrations
from osc_gpu.cloud import audit_model
from osc_gpu.cloud import compute_version
from osc_gpu.cloud import hypervisors
from osc_gpu.cloud import marks
from osc_gpu.cloud import migration_records
from osc_gpu.cloud import placement
from osc_gpu.cloud import servers

#: Something is being done to the server.
BUSY = 'busy'
#: It was migrated, and waits to be confirmed or reverted.
UNCONFIRMED = 'unconfirmed'
#: It runs, or is shut off, and nothing is being done to it.
IDLE = 'idle'
SHELVED = 'shelved'
ERROR = 'error'
#: Paused, suspended, rescued and the like.
OTHER = 'other'
#: Its cell does not answer.
UNKNOWN = 'unknown'

_STANDS = {
    'ACTIVE': IDLE,
    'SHUTOFF': IDLE,
    'ERROR': ERROR,
    'VERIFY_RESIZE': UNCONFIRMED,
    'SHELVED': SHELVED,
    'SHELVED_OFFLOADED': SHELVED,
    'BUILD': BUSY,
    'RESIZE': BUSY,
    'REVERT_RESIZE': BUSY,
    'MIGRATING': BUSY,
}


@dataclasses.dataclass(frozen=True)
class State:
    """One look at a server.

    ``records`` are all its migration records, oldest first. ``began`` says of
    those of them that failed after a claim whether the source had begun.
    """

    server: servers.GpuServer
    records: tuple[migration_records.MigrationRecord, ...] = ()
    began: Mapping[str, bool] = dataclasses.field(default_factory=dict)

    @property
    def stand(self) -> str:
        """One of the constants above."""
        if self.server.is_partial:
            return UNKNOWN
        if self.server.task_state or any(
            record.status in migration_records.IN_PROGRESS
            for record in self.records
            if record.kind != 'evacuation'
        ):
            return BUSY
        return _STANDS.get(self.server.status, OTHER)

    @property
    def newest(self) -> migration_records.MigrationRecord | None:
        """The newest migration record."""
        return self.records[-1] if self.records else None

    @property
    def finished(self) -> tuple[migration_records.MigrationRecord, ...]:
        """The cold migrations that nobody confirmed or reverted."""
        return tuple(
            record
            for record in self.records
            if record.status == migration_records.FINISHED
            and record.kind in ('migration', 'resize')
        )

    @property
    def mark(self) -> marks.Move | None:
        """What one of our commands left in the reason of the lock."""
        if not self.server.is_locked:
            return None
        return marks.read_move(self.server.locked_reason)

    @property
    def has_left(self) -> bool:
        """Whether it is on another host than when we marked it."""
        mark = self.mark
        return (
            mark is not None
            and bool(self.server.host_id)
            and marks.short(self.server.host_id) != mark.source
        )

    @property
    def origin(self) -> str:
        """The host that it comes from, or is on when it is not moving."""
        record = self.newest
        if record and (
            record.status in migration_records.IN_PROGRESS
            or record.status == migration_records.FINISHED
        ):
            return record.source
        return self.server.host


def read(
    conn: connection.Connection,
    server_id: str,
    began: Mapping[str, bool] | None = None,
    also: Collection[str] = (),
) -> State:
    """Look at a server, in two requests.

    Two more for each failed migration that is not known yet to have begun or
    not.

    :param began: what earlier looks found out
    :param also: resource classes that the user says are GPUs too
    :raises openstack.exceptions.NotFoundException: it is gone
    """
    # In this order: a migration that ends in between is seen as under way.
    records = migration_records.read(conn, server_id=server_id)
    server = servers.read_server(conn, server_id, also)
    known = dict(began or {})
    for record in records:
        if (
            record.status == migration_records.ERROR
            and audit_migrations.is_cold(record)
            and record.uuid not in known
        ):
            known[record.uuid] = migration_records.read_began(conn, record)
    return State(server, records, known)


def read_world(conn: connection.Connection) -> audit_model.Snapshot:
    """Read what servers are judged against: all hosts, without servers.

    Three requests; placement.read_trees names the few more.
    """
    names = placement.read_names(conn)
    trees = placement.read_trees(conn, names, with_traits=True)
    return audit_model.Snapshot(
        names=names,
        providers={provider.uuid: provider for provider in trees},
        hypervisors=hypervisors.read(conn),
        servers={},
        can_shelve=compute_version.unshelves_to_host(conn),
    )


def snapshot(
    world: audit_model.Snapshot, state: State
) -> audit_model.Snapshot:
    """Return the world with this one server in it."""
    return dataclasses.replace(
        world,
        servers={state.server.id: state.server},
        records=state.records,
        began=state.began,
    )


def poison(
    world: audit_model.Snapshot, state: State
) -> list[tuple[migration_records.MigrationRecord, str]]:
    """Return which migrations left devices claimed, and where (facts 0.1).

    None while one waits to be confirmed, which claims on both hosts.
    """
    if state.stand in (BUSY, UNCONFIRMED, UNKNOWN):
        return []
    return audit_migrations.stale_claims(snapshot(world, state), state.server)


def stale_hosts(world: audit_model.Snapshot, state: State) -> frozenset[str]:
    """Return the hosts on which failed migrations left devices claimed."""
    return frozenset(host for _record, host in poison(world, state))
