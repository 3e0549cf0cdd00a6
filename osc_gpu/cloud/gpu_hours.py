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

"""How long servers existed in a period, and what GPUs they requested.

Nova's own usage API counts a server's hours from its launch to its deletion,
stopped or shelved or not (nova/api/openstack/compute/simple_tenant_usage.py).
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import datetime
import logging
import re
from typing import Any
from typing import NamedTuple
from urllib import parse

from openstack import connection

from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import rest
from osc_gpu.cloud import servers
from osc_gpu.i18n import _

LOG = logging.getLogger(__name__)

#: From here on Nova pages.
MICROVERSION = '2.40'

_PATH = '/os-simple-tenant-usage'


@dataclasses.dataclass(frozen=True)
class Period:
    """From the beginning of a day, in UTC, to that of another, or to now."""

    start: datetime.date
    end: datetime.date | None = None

    @property
    def text(self) -> str:
        """The period as people read it: ``2026-11-01 to 2026-12-01``."""
        return f'{self.start} to {self.end or "now"}'


class ServerHours(NamedTuple):
    """For how many hours of the period a server existed."""

    server_id: str
    project_id: str
    hours: float


class GpuHours(NamedTuple):
    """What a server of a project requested, and for how many hours."""

    project_id: str
    gpu_request: extra_specs.GpuRequest
    hours: float


def parse_date(text: str) -> datetime.date:
    """Read a date as core's ``usage list`` takes it.

    :raises ValueError: with a sentence that says what would be right
    """
    try:
        if re.fullmatch('[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}', text):
            return datetime.date.fromisoformat(text)
    except ValueError:
        LOG.debug('No such day: %s', text)
    raise ValueError(
        _("'%s' is not a date, YYYY-MM-DD as in 2026-01-31") % text
    )


def check_period(
    start: datetime.date | None,
    end: datetime.date | None,
    today: datetime.date,
) -> Period | None:
    """Make the period that the options ask for; None for none.

    :raises ValueError: with a sentence that says what would be right
    """
    if start is None:
        if end is None:
            return None
        raise ValueError(_("--end needs --start: the first day to count"))
    if start > today:
        # Nova would count negative hours.
        raise ValueError(
            _("--start %(start)s is later than today, %(today)s (UTC)")
            % {'start': start, 'today': today}
        )
    if end is not None and end <= start:
        raise ValueError(
            _(
                "--end %(end)s is not after --start %(start)s; the day of "
                "--end itself is not counted"
            )
            % {'end': end, 'start': start}
        )
    return Period(start, end)


def read(
    conn: connection.Connection,
    period: Period,
    project_id: str | None = None,
) -> tuple[ServerHours, ...]:
    """Read the hours of all servers, or of a project's, in a period.

    One request per 1000 servers. Servers that only began to exist after the
    period, or have not, are missing or have no hours.
    """
    params = {'start': f'{period.start}T00:00:00'}
    if period.end:
        params['end'] = f'{period.end}T00:00:00'
    path, name = _PATH, 'tenant_usages'
    if project_id:
        path, name = f'{_PATH}/{project_id}', 'tenant_usage'
    else:
        params['detailed'] = '1'
    found: list[ServerHours] = []
    while True:
        body = rest.get(conn.compute, path, MICROVERSION, params)
        page = list(_hours(body[name]))
        found += page
        marker = _next_marker(body.get(f'{name}_links') or ())
        if not page or marker is None:
            return tuple(found)
        params['marker'] = marker


def _hours(body: Any) -> Iterable[ServerHours]:
    """Read what is listed by project, or one project, {} if it had none."""
    for project in body if isinstance(body, list) else [body]:
        for server in project.get('server_usages') or ():
            yield ServerHours(
                server['instance_id'],
                server['tenant_id'],
                max(0.0, server['hours']),
            )


def _next_marker(links: Iterable[Mapping[str, str]]) -> str | None:
    # The servers are grouped by project, so that the last one listed need not
    # be the last one read.
    for link in links:
        if link['rel'] == 'next':
            query = parse.parse_qs(parse.urlsplit(link['href']).query)
            return query.get('marker', [None])[0]
    return None


def read_requests(
    conn: connection.Connection,
    existing: Iterable[servers.GpuServer],
    period: Period | None,
    also: Collection[str] = (),
    project_id: str | None = None,
    *,
    all_projects: bool = False,
) -> tuple[GpuHours, ...]:
    """Read for how long what GPUs were had; no request without a period.

    One request per 1000 servers in the period, and if one of them does not
    exist any more, one per 1000 deleted ones, which Nova keeps until its
    database is purged, with their flavors. A warning counts servers that
    cannot be found.

    :param existing: the servers that exist, also those without a GPU
    :param also: resource classes that the user says are GPUs too
    :param project_id: only this project's
    :param all_projects: those of other projects, too
    """
    if period is None:
        return ()
    hours = [found for found in read(conn, period, project_id) if found.hours]
    known = {server.id: server for server in existing}
    if any(found.server_id not in known for found in hours):
        deleted = servers.read_all(
            conn,
            also,
            project_id=project_id if all_projects else None,
            deleted='True',
            all_tenants='True' if all_projects else None,
            **{'changes-since': f'{period.start}T00:00:00Z'},
        )
        servers.warn_of_unknown(deleted)
        known = {server.id: server for server in deleted} | known
    return join(hours, known)


def join(
    hours: Iterable[ServerHours], known: Mapping[str, servers.GpuServer]
) -> tuple[GpuHours, ...]:
    """Join hours with GPU requests; warn of hours of unknown servers."""
    result, lost = [], []
    for found in hours:
        server = known.get(found.server_id)
        if server is None:
            lost.append(found.hours)
        elif server.gpu_request:
            result.append(
                GpuHours(found.project_id, server.gpu_request, found.hours)
            )
    if lost:
        LOG.warning(
            _(
                "Nova no longer tells the flavors of %(servers)d servers with "
                "%(hours).2f hours in this period: if they had GPUs, these "
                "hours are missing"
            ),
            {'servers': len(lost), 'hours': sum(lost)},
        )
    return tuple(result)
