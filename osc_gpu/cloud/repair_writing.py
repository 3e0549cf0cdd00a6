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

"""What every repair of allocations rests on: proof before a write."""

from collections.abc import Callable
import dataclasses
from typing import TypeVar

from openstack import connection
from openstack import exceptions as sdk_exceptions

from osc_gpu.cloud import allocations
from osc_gpu.cloud import errors
from osc_gpu.cloud import migration_records
from osc_gpu.cloud import servers
from osc_gpu.i18n import _

T = TypeVar('T')

#: How often a write is tried while others change the same, too.
MOST_TRIES = 5

#: Statuses in which a server is on its way, or stands between two hosts,
#: whether or not a task is said to be under way.
_MOVING = frozenset(
    ('BUILD', 'RESIZE', 'VERIFY_RESIZE', 'REVERT_RESIZE', 'MIGRATING')
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one repair, as words for a table."""

    text: str
    is_done: bool = True


class LeftAlone(Exception):
    """Something is not repaired, for a reason that is not a failure."""


def read_idle(
    conn: connection.Connection, server_id: str
) -> servers.GpuServer | None:
    """Return a server that nothing is being done to; None if it is gone.

    Two requests.

    :raises LeftAlone: it is in the middle of an operation, or unknown for
        now, as its cell does not answer
    """
    try:
        server = servers.read_server(conn, server_id)
    except sdk_exceptions.NotFoundException:
        return None
    if server.is_partial:
        raise LeftAlone(_("left alone: its cell does not answer"))
    doing = server.task_state
    if not doing and server.status in _MOVING:
        doing = server.status
    if not doing:
        records = migration_records.read(conn, server_id=server_id)
        doing = next(
            (
                record.status
                for record in records
                if record.status in migration_records.IN_PROGRESS
            ),
            '',
        )
    if doing:
        raise LeftAlone(_("busy (%s): run again") % doing)
    return server


def doing_now(conn: connection.Connection, server_id: str) -> str:
    """Return what a server has begun since it was read as idle, or ''."""
    try:
        read_idle(conn, server_id)
    except LeftAlone as exc:
        return str(exc)
    except errors.REFUSALS as exc:
        # What was written stays written.
        return errors.explain(exc, conn)
    return ''


def replace(
    conn: connection.Connection,
    before: allocations.Allocations,
    held: allocations.Held,
) -> bool:
    """Write allocations; what was done but not answered counts as done.

    They are read once more right before. A migration gives a server new
    ones, whose generation begins at 1 again and may be that of the old.

    :returns: False when they changed since they were read
    :raises openstack.exceptions.ForbiddenException: the user may not write
    """
    try:
        if allocations.read(conn, before.consumer) != before:
            return False
        return allocations.write(conn, before, held)
    except sdk_exceptions.ForbiddenException:
        raise
    except errors.REFUSALS:
        if allocations.read(conn, before.consumer).held == held:
            return True
        raise


def attempt(call: Callable[[], T]) -> T | Outcome:
    """Return what a repair returns, or what became of it as it could not.

    :raises openstack.exceptions.ForbiddenException: the user may not write
    """
    try:
        return call()
    except sdk_exceptions.ForbiddenException:
        raise
    except LeftAlone as exc:
        return Outcome(str(exc), False)
    except errors.REFUSALS as exc:
        return failed(exc)


def failed(exc: Exception) -> Outcome:
    """Return the outcome of a repair that the cloud refused."""
    return Outcome(_("failed: %s") % errors.explain(exc), False)
