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

"""Which servers left a host since it was disabled, by Nova's own records.

A migration has a record that names both hosts. Shelving and unshelving has
none: there the events of the server's actions tell.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

from openstack import connection
from openstack import exceptions as sdk_exceptions

from osc_gpu.cloud import instance_actions
from osc_gpu.cloud import migration_records
from osc_gpu.cloud import servers
from osc_gpu.cloud import side_by_side

#: How the migrations end that took a server to its target.
_ENDS = ('completed', 'confirmed')

#: A resize, or an evacuation, was somebody else's wish.
_KINDS = frozenset(('live-migration', 'migration'))

_SHELVED = 'compute_shelve_instance'
_UNSHELVED = 'compute_unshelve_instance'


class Departure(NamedTuple):
    """A server left the host for ``target`` at a time, ISO 8601 in UTC."""

    server_id: str
    target: str
    at: str


def read(
    conn: connection.Connection, host: str, since: str
) -> Mapping[str, Departure]:
    """Read which servers left a host since then, and where to, by ID.

    Of one that left it several times, the last. Three requests, each paged;
    for each server that changed since then and is elsewhere without a
    migration one, as nothing else tells of a shelving and the host's mark of
    the drain is gone when it is asked again; two more for each that was
    shelved.
    """
    found = newest(
        migration_records.read(conn, statuses=_ENDS, source=host, since=since),
        since,
    )
    changed = servers.read_all(
        conn,
        all_tenants='True',
        deleted='False',
        **{'changes-since': since},
    )
    suspects = may_be_shelved(changed, host, found)
    shelved = side_by_side.each(
        lambda server: _read_shelving(conn, server, host, since),
        suspects,
    )
    return {**found, **{d.server_id: d for d in shelved if d is not None}}


def newest(
    records: Iterable[migration_records.MigrationRecord], since: str
) -> dict[str, Departure]:
    """Return the last departure of each server."""
    found: dict[str, Departure] = {}
    for record in sorted(records, key=lambda r: (r.created_at, r.uuid)):
        if (
            record.kind in _KINDS
            and record.source != record.target
            and not _is_before(record.created_at, since)
        ):
            found[record.server_id] = Departure(
                record.server_id, record.target, record.created_at
            )
    return found


def _is_before(time: str, since: str) -> bool:
    """Compare times in UTC, of which one may have parts of seconds."""
    return time[:19] < since[:19]


def may_be_shelved(
    changed: Iterable[servers.GpuServer],
    host: str,
    known: Collection[str],
) -> Sequence[servers.GpuServer]:
    """Return who may have been shelved on a host and unshelved elsewhere."""
    return [
        server
        for server in changed
        if server.host not in ('', host) and server.id not in known
    ]


def _read_shelving(
    conn: connection.Connection,
    server: servers.GpuServer,
    host: str,
    since: str,
) -> Departure | None:
    """Read whether a server was shelved on a host since then."""
    try:
        actions = instance_actions.read(conn, server.id)
        chosen = shelving(actions, since)
        if chosen is None:
            return None
        events = [
            event
            for request_id in chosen
            for event in instance_actions.events(conn, server.id, request_id)
        ]
    except sdk_exceptions.NotFoundException:
        return None
    return shelved_departure(server.id, events, host)


def shelving(
    actions: Iterable[Mapping[str, Any]], since: str
) -> tuple[str, str] | None:
    """Return the requests of the last shelving and unshelving since then."""
    found: tuple[str, str] | None = None
    shelved = ''
    for action in sorted(actions, key=lambda a: str(a['start_time'])):
        if _is_before(action['start_time'], since):
            continue
        if action['action'] == 'shelve':
            shelved = action['request_id']
        elif action['action'] == 'unshelve' and shelved:
            found = shelved, action['request_id']
    return found


def shelved_departure(
    server_id: str, events: Iterable[Mapping[str, Any]], host: str
) -> Departure | None:
    """Return whether the events are those of a server leaving the host."""
    hosts = {}
    at = ''
    for event in events:
        hosts[event['event']] = event.get('host') or ''
        at = event.get('start_time') or at
    target = hosts.get(_UNSHELVED, '')
    if hosts.get(_SHELVED) != host or target in ('', host):
        return None
    return Departure(server_id, target, at)
