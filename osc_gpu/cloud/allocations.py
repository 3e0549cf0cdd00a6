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

"""What consumers hold in Placement, read and written with generations."""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
from typing import Any

from openstack import connection
from openstack import exceptions
import requests

from osc_gpu.cloud import rest

#: From here on Placement says of what type a consumer is.
MICROVERSION = '1.38'

#: Nova makes its consumers without a type; written back, Placement refuses
#: that word, so writes use an older version (facts 5).
_UNTYPED = 'unknown'
_WRITING = '1.37'

#: Placement's error code for it, from 1.23 on.
_CONCURRENT = 'placement.concurrent_update'

Held = Mapping[str, Mapping[str, int]]


@dataclasses.dataclass(frozen=True)
class Allocations:
    """What a consumer holds: ``held`` is provider -> class -> amount.

    ``generation`` is None for a consumer that holds nothing. ``kind`` is
    Placement's consumer type, '' where the consumer has none, as all of
    Nova's.
    """

    consumer: str
    held: Held
    generation: int | None = None
    project_id: str = ''
    user_id: str = ''
    kind: str = ''


def read(conn: connection.Connection, consumer: str) -> Allocations:
    """Read what a server, a migration or another consumer holds."""
    body = rest.get(conn.placement, f'/allocations/{consumer}', MICROVERSION)
    kind = body.get('consumer_type') or ''
    return Allocations(
        consumer=consumer,
        held={
            uuid: dict(held['resources'])
            for uuid, held in body['allocations'].items()
        },
        generation=body.get('consumer_generation'),
        project_id=body.get('project_id') or '',
        user_id=body.get('user_id') or '',
        kind='' if kind == _UNTYPED else kind,
    )


def write(
    conn: connection.Connection, before: Allocations, held: Held
) -> bool:
    """Replace what a consumer holds, unless it changed since it was read.

    :param before: as it was read, with its generation
    :param held: what it shall hold; nothing at all when empty
    :returns: False when it changed since: read again, and judge again
    """
    response = conn.placement.put(
        f'/allocations/{before.consumer}',
        json=_body(before, held),
        microversion=_WRITING,
    )
    return not is_conflict(response)


def write_together(
    conn: connection.Connection, changes: Iterable[tuple[Allocations, Held]]
) -> bool:
    """Replace what several consumers hold: all of it, or nothing.

    :param changes: as each was read, and what it shall hold
    :returns: False when any changed since: read again, and judge again
    """
    response = conn.placement.post(
        '/allocations',
        json={
            before.consumer: _body(before, held) for before, held in changes
        },
        microversion=_WRITING,
    )
    return not is_conflict(response)


def _body(before: Allocations, held: Held) -> dict[str, Any]:
    return {
        'allocations': {
            uuid: {'resources': dict(amounts)}
            for uuid, amounts in held.items()
        },
        'consumer_generation': before.generation,
        'project_id': before.project_id,
        'user_id': before.user_id,
    }


def is_conflict(response: requests.Response) -> bool:
    """Tell whether Placement refused a write for its generation alone.

    :raises openstack.exceptions.HttpException: any other refusal, such as a
        409 for more than the capacity
    """
    if response.status_code == 409 and _CONCURRENT in response.text:
        return True
    exceptions.raise_from_response(response)
    return False
