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

"""Removing what nobody holds: allocations of consumers that are no more."""

from collections.abc import Collection
from collections.abc import Mapping

from openstack import connection
from openstack import exceptions as sdk_exceptions

from osc_gpu.cloud import allocations
from osc_gpu.cloud import migration_records
from osc_gpu.cloud import repair_writing
from osc_gpu.cloud import servers
from osc_gpu.cloud import side_by_side
from osc_gpu.i18n import _

#: Statuses whose records may have a claim to their allocations.
_HOLDING = migration_records.IN_PROGRESS | {migration_records.FINISHED}

#: Consumer types of Nova's; it gives none as yet.
_OF_NOVA = ('', 'INSTANCE', 'MIGRATION')

_NOTHING = repair_writing.Outcome(_("nothing to do any more"))
_CHANGING = repair_writing.Outcome(
    _("its allocations change all the time: run again"), False
)

Records = Mapping[str, migration_records.MigrationRecord]

#: Compute service's host -> UUIDs of its providers.
Providers = Mapping[str, Collection[str]]


def remove(
    conn: connection.Connection,
    consumers: Mapping[str, str],
    providers_of: Providers,
    at_once: int = side_by_side.DEFAULT,
) -> Mapping[str, repair_writing.Outcome]:
    """Remove allocations of consumers, as far as they are proven stale.

    A constant number of requests for migration records, and up to nine for
    each consumer; again, at the most ``repair_writing.MOST_TRIES`` times, for
    those whose allocations changed meanwhile.

    :param consumers: the server that each is about, or ''
    :param providers_of: the providers of each compute service's host
    :returns: what became of each
    :raises openstack.exceptions.ForbiddenException: the user may not write
    """
    outcomes: dict[str, repair_writing.Outcome] = {}
    left = sorted(consumers)
    for _try in range(repair_writing.MOST_TRIES):
        if not left:
            break
        # Read before what proves them stale: what begins after that gives
        # them another generation.
        held = side_by_side.each(
            lambda consumer: allocations.read(conn, consumer), left, at_once
        )
        records = {
            record.uuid: record
            for record in migration_records.read(
                conn, statuses=_HOLDING, at_once=at_once
            )
        }

        def attempt(
            found: allocations.Allocations, records: Records = records
        ) -> repair_writing.Outcome | None:
            server_id = consumers[found.consumer]
            return repair_writing.attempt(
                lambda: _remove(conn, found, server_id, records, providers_of)
            )

        tried = side_by_side.each(attempt, held, at_once)
        outcomes |= {
            consumer: outcome
            for consumer, outcome in zip(left, tried, strict=True)
            if outcome is not None
        }
        left = [consumer for consumer in left if consumer not in outcomes]
    return outcomes | dict.fromkeys(left, _CHANGING)


def _remove(
    conn: connection.Connection,
    found: allocations.Allocations,
    server_id: str,
    records: Records,
    providers_of: Providers,
) -> repair_writing.Outcome | None:
    """Return what became of it; None if it changed since it was read."""
    if not found.held:
        return _NOTHING
    record = records.get(found.consumer)
    server_id = record.server_id if record else server_id
    server = _prove_stale(conn, found, server_id, record)
    if server:
        _check_home(conn, server, providers_of)
    if not repair_writing.replace(conn, found, {}):
        return None
    text = _("removed")
    doing = repair_writing.doing_now(conn, server.id) if server else ''
    return repair_writing.Outcome(f'{text}; {doing}' if doing else text)


def _prove_stale(
    conn: connection.Connection,
    found: allocations.Allocations,
    server_id: str,
    record: migration_records.MigrationRecord | None,
) -> servers.GpuServer | None:
    """Return the server whose migration it was, if there still is one.

    :raises repair_writing.LeftAlone: somebody has a claim to it
    """
    if found.kind not in _OF_NOVA:
        raise repair_writing.LeftAlone(
            _("left alone: it belongs to another service (%s)") % found.kind
        )
    if record and record.status in migration_records.IN_PROGRESS:
        raise repair_writing.LeftAlone(
            _("busy (%s): run again") % record.status
        )
    if _is_server(conn, found.consumer):
        raise repair_writing.LeftAlone(_("left alone: it is a server"))
    if server_id in ('', found.consumer):
        return None
    return repair_writing.read_idle(conn, server_id)


def _check_home(
    conn: connection.Connection,
    server: servers.GpuServer,
    providers_of: Providers,
) -> None:
    """Make sure that a server has allocations where it is.

    What a migration failed to give back to its server may be all that the
    server has on the host where it runs.
    """
    if server.status == 'SHELVED_OFFLOADED':
        return
    held = allocations.read(conn, server.id).held
    if held.keys().isdisjoint(providers_of.get(server.host, ())):
        raise repair_writing.LeftAlone(
            _("left alone: its server holds nothing else on its host")
        )


def _is_server(conn: connection.Connection, consumer: str) -> bool:
    """Tell whether Nova knows a server, in whichever way it tells it.

    Of those of other projects the policy may show a list only.
    """
    try:
        servers.read_server(conn, consumer)
    except sdk_exceptions.NotFoundException:
        found = servers.read_page(conn, uuid=consumer, all_tenants='True')
        return any(server.id == consumer for server in found)
    return True
