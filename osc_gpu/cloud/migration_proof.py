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

"""Whether a server that was migrated is whole where it is now.

The rules are the audit's; here they are asked about one server, before a
migration is confirmed and after it.
"""

from collections.abc import Mapping
import dataclasses

from openstack import connection

from osc_gpu.cloud import allocations
from osc_gpu.cloud import audit_model
from osc_gpu.cloud import audit_servers
from osc_gpu.cloud import migration_records
from osc_gpu.cloud import migration_state
from osc_gpu.i18n import _

Held = Mapping[str, allocations.Allocations]


def read(conn: connection.Connection, *consumers: str) -> Held:
    """Read what consumers hold, one request for each."""
    return {uuid: allocations.read(conn, uuid) for uuid in consumers}


def knows(world: audit_model.Snapshot, held: Held) -> bool:
    """Tell whether all providers that something is held of are known."""
    return all(
        uuid in world.names for found in held.values() for uuid in found.held
    )


def problems(
    world: audit_model.Snapshot, state: migration_state.State, held: Held
) -> tuple[audit_model.Problem, ...]:
    """Return what is wrong with what a server holds."""
    snapshot = dataclasses.replace(
        migration_state.snapshot(world, state), held=held
    )
    return tuple(audit_servers.judge_server(snapshot, state.server))


def doubts(
    world: audit_model.Snapshot,
    state: migration_state.State,
    record: migration_records.MigrationRecord,
    held: Held,
) -> tuple[str, ...]:
    """Say what speaks against confirming a migration; empty if nothing does.

    Devices that are held too many are Nova's habit, and can be mended once
    it is confirmed (facts 0.4).

    :param held: of the server and of the migration
    """
    server = state.server
    if server.host != record.target:
        return (
            _("it is on %(host)s, not on %(target)s")
            % {'host': server.host, 'target': record.target},
        )
    snapshot = migration_state.snapshot(world, state)
    found = [
        problem.detail
        for problem in problems(world, state, held)
        if problem.check != audit_model.EXCESS
        or not audit_servers.is_corrected(snapshot, problem)
    ]
    for consumer, host, what in (
        (server.id, record.target, _("the server")),
        (record.uuid, record.source, _("its migration")),
    ):
        roots = snapshot.roots_of.get(host, frozenset())
        if not any(
            world.names[uuid].root_uuid in roots
            for uuid in held[consumer].held
            if uuid in world.names
        ):
            found.append(
                _("%(what)s holds nothing on %(host)s")
                % {'what': what, 'host': host}
            )
    return tuple(found)
