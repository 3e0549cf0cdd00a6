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

"""The compute service of a host: its mark of a drain, read and left."""

import dataclasses
import datetime
from email import utils
from typing import Any

from openstack import connection
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from osc_gpu.cloud import errors
from osc_gpu.cloud import hypervisors
from osc_gpu.cloud import marks
from osc_gpu.cloud import server_actions
from osc_gpu.i18n import _

_CUT = '...'


@dataclasses.dataclass(frozen=True)
class Service:
    """A host's compute service, as Nova shows it.

    ``now`` is the cloud's own time when it was read, ISO 8601 in UTC: what a
    drain has moved is told by Nova's times, not by those of our clock.
    """

    id: str
    host: str
    is_up: bool
    is_enabled: bool
    disabled_reason: str
    now: str

    @property
    def drain(self) -> marks.Drain | None:
        """What a drain left in the reason for which it is disabled."""
        if self.is_enabled:
            return None
        return marks.read_drain(self.disabled_reason)


def read(conn: connection.Connection, host: str) -> Service:
    """Read the compute service of a host, in one request.

    :raises osc_lib.exceptions.CommandError: there is no such host
    """
    response = conn.compute.get(
        '/os-services',
        params={'binary': 'nova-compute', 'host': host},
        microversion=hypervisors.MICROVERSION,
    )
    sdk_exceptions.raise_from_response(response)
    found = response.json()['services']
    if not found:
        raise hypervisors.unknown(host)
    return parse(found[0], response.headers.get('Date') or '')


def parse(found: Any, date: str) -> Service:
    """Read a service as Nova shows it at hypervisors.MICROVERSION.

    :param date: the header of the answer; without it, or without sense in
        it, the service's last sign of life is the cloud's time
    """
    return Service(
        id=found['id'],
        host=found['host'],
        is_up=found['state'] == 'up',
        is_enabled=found['status'] == 'enabled',
        disabled_reason=found.get('disabled_reason') or '',
        now=_iso(date) or f'{(found.get("updated_at") or "")[:19]}Z',
    )


def _iso(date: str) -> str:
    try:
        moment = utils.parsedate_to_datetime(date)
    except ValueError:
        return ''
    return moment.astimezone(datetime.UTC).strftime('%Y-%m-%dT%H:%M:%SZ')


def drain_of(service: Service, run: str, text: str | None) -> marks.Drain:
    """Return the drain that is to be left in the reason of a service.

    One that is there is taken up: its run and its time stay. What somebody
    wrote there by hand becomes the text of ours.

    :param text: what the user gives as a reason; None if he does not
    :raises osc_lib.exceptions.CommandError: the text is too long for Nova
    """
    before = service.drain
    drain = before or marks.Drain(run, service.now)
    room = marks.LONGEST - len(marks.write_drain(drain._replace(text='.'))) + 1
    if text is not None:
        if len(text) > room:
            raise exceptions.CommandError(
                _(
                    "argument --reason: %(length)d characters are too many; "
                    "Nova keeps %(room)d beside what we write there"
                )
                % {'length': len(text), 'room': room}
            )
        return drain._replace(text=text)
    if before is not None or service.is_enabled:
        return drain
    kept = service.disabled_reason
    if len(kept) > room:
        kept = kept[: room - len(_CUT)] + _CUT
    return drain._replace(text=kept)


def require_ours(service: Service) -> None:
    """Make sure that a service is not disabled for another reason.

    :raises osc_lib.exceptions.CommandError: it is
    """
    if not service.is_enabled and service.drain is None:
        raise exceptions.CommandError(
            _(
                "Host %(host)s is disabled, but not by a drain (reason: "
                "%(reason)s). If it may be enabled: openstack compute service "
                "set --enable %(host)s nova-compute"
            )
            % {
                'host': service.host,
                'reason': service.disabled_reason or _("none"),
            }
        )


def disable(
    conn: connection.Connection, service: Service, drain: marks.Drain
) -> None:
    """Disable a service with the mark of a drain, unless it has it."""
    reason = marks.write_drain(drain)
    if service.is_enabled or service.disabled_reason != reason:
        server_actions.disable_service(conn, service.id, reason)


def why_stop(conn: connection.Connection, host: str) -> str:
    """Say why a drain must begin nothing more; '' if it may.

    One request. What is not answered stops nothing.
    """
    try:
        service = read(conn, host)
    except errors.REFUSALS:
        return ''
    except exceptions.CommandError as exc:
        return _("not begun: %s") % exc
    if service.is_enabled:
        return _("not begun, as somebody has enabled %s meanwhile") % host
    if service.drain is None:
        return (
            _(
                "not begun, as somebody has disabled %s for another reason "
                "meanwhile"
            )
            % host
        )
    return ''
