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

"""Nova's migration records."""

from collections.abc import Collection
from collections.abc import Mapping
import dataclasses
import datetime
from typing import Any

from openstack import connection

from osc_gpu.cloud import instance_actions
from osc_gpu.cloud import rest
from osc_gpu.cloud import side_by_side

#: From here on a record has its UUID, which is a consumer in Placement, and
#: lists are paged.
MICROVERSION = '2.59'

#: The event of an action that the source of a migration has begun.
_SOURCE_BEGAN = 'compute_resize_instance'

#: The event of an action that the target of a migration claims devices.
_PREPARED = 'compute_prep_resize'

#: What Nova says of a claim that failed, and left nothing.
_NO_CLAIM = 'Insufficient compute resources'

#: A cold migration or resize that nobody has confirmed or reverted yet.
FINISHED = 'finished'
ERROR = 'error'

#: States in which Nova is still at work on a migration, of any type
#: (nova/objects/migration.py, nova/conductor/tasks).
IN_PROGRESS = frozenset(
    (
        'accepted',
        'queued',
        'preparing',
        'running',
        'running (post-copy)',
        'pre-migrating',
        'migrating',
        'post-migrating',
        'confirming',
        'reverting',
    )
)


@dataclasses.dataclass(frozen=True)
class MigrationRecord:
    """A migration of a server; hosts are those of compute services.

    ``kind`` is migration, resize, live-migration or evacuation; ``target``
    is '' before the destination claimed anything. Times are ISO 8601 in UTC.
    """

    uuid: str
    status: str
    kind: str
    server_id: str
    source: str
    target: str
    created_at: str
    updated_at: str


def read(
    conn: connection.Connection,
    *,
    statuses: Collection[str] = (),
    server_id: str | None = None,
    host: str | None = None,
    source: str | None = None,
    since: str | None = None,
    at_once: int = side_by_side.DEFAULT,
) -> tuple[MigrationRecord, ...]:
    """Read migration records, oldest first.

    One request for each status, paged; Nova takes one at a time.

    :param statuses: only these, unless empty
    :param server_id: only those of this server
    :param host: only those from or to this compute service's host
    :param source: only those from this compute service's host
    :param since: only those that changed since then, ISO 8601 in UTC
    """

    def read_one(status: str) -> list[MigrationRecord]:
        params = {
            'status': status,
            'instance_uuid': server_id,
            'host': host,
            'source_compute': source,
            'changes-since': since,
        }
        found = rest.pages(
            conn.compute,
            '/os-migrations',
            'migrations',
            MICROVERSION,
            {key: value for key, value in params.items() if value},
            marker='uuid',
        )
        return [parse(item) for item in found]

    pages = side_by_side.each(read_one, sorted(statuses) or [''], at_once)
    found = {record.uuid: record for page in pages for record in page}
    return tuple(sorted(found.values(), key=lambda r: (r.created_at, r.uuid)))


def parse(found: Mapping[str, Any]) -> MigrationRecord:
    """Read a record as Nova shows it at ``MICROVERSION``."""
    return MigrationRecord(
        uuid=found['uuid'],
        status=found.get('status') or '',
        kind=found.get('migration_type') or '',
        server_id=found.get('instance_uuid') or '',
        source=found.get('source_compute') or '',
        target=found.get('dest_compute') or '',
        created_at=found.get('created_at') or '',
        updated_at=found.get('updated_at') or '',
    )


def read_began(conn: connection.Connection, record: MigrationRecord) -> bool:
    """Ask whether a failed migration left devices claimed.

    Two requests. It did if its source began; or if the target failed after
    its claim, as it does when Placement refuses what Nova claimed there. It
    did not if the claim itself failed (facts 4).
    """
    moves = [
        action
        for action in instance_actions.read(conn, record.server_id)
        if action['action'] in ('migrate', 'resize')
    ]
    if not moves:
        return False
    # A record does not name its action; it is made right after it.
    nearest = min(moves, key=lambda a: _apart(a['start_time'], record))
    request_id = nearest['request_id']
    return any(
        _is_claimed(event)
        for event in instance_actions.events(
            conn, record.server_id, request_id
        )
    )


def _is_claimed(event: Mapping[str, Any]) -> bool:
    if event['event'] == _SOURCE_BEGAN:
        return True
    return (
        event['event'] == _PREPARED
        and event.get('result') == 'Error'
        and _NO_CLAIM not in (event.get('details') or _NO_CLAIM)
    )


def _apart(time: str, record: MigrationRecord) -> datetime.timedelta:
    moments = (time, record.created_at)
    began, made = (datetime.datetime.fromisoformat(m) for m in moments)
    return abs(began - made)
