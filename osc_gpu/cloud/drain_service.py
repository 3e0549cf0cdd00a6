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
import logging
import shlex
from typing import Any

from openstack import connection
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from osc_gpu.cloud import errors
from osc_gpu.cloud import hypervisors
from osc_gpu.cloud import marks
from osc_gpu.cloud import server_actions
from osc_gpu.i18n import _

LOG = logging.getLogger(__name__)

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
    is_forced_down: bool = False

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
        is_forced_down=bool(found.get('forced_down')),
    )


def _iso(date: str) -> str:
    try:
        moment = utils.parsedate_to_datetime(date)
    except ValueError:
        return ''
    return moment.astimezone(datetime.UTC).strftime('%Y-%m-%dT%H:%M:%SZ')


def require_up(service: Service) -> None:
    """Make sure that Nova can move servers away from a service's host.

    :raises osc_lib.exceptions.CommandError: it cannot (facts 0.8 for what
        becomes of servers then)
    """
    if service.is_up:
        return
    start = _("Start its nova-compute")
    if service.is_forced_down:
        start = _(
            "It is forced down: openstack --os-compute-api-version 2.11 "
            "compute service set --up %s nova-compute"
        ) % shlex.quote(service.host)
    raise exceptions.CommandError(
        _(
            "Host %(host)s is down, and Nova moves servers only from hosts "
            "that are up. %(start)s, or, if it is dead for certain, use for "
            "each of its servers: openstack server evacuate. Asked for with "
            "compute API 2.95 or later, they arrive stopped; a server with "
            "a PCI alias starts there again only when this host is back"
        )
        % {'host': service.host, 'start': start}
    )


def drain_of(service: Service, run: str, text: str | None) -> marks.Drain:
    """Return the drain that is to be left in the reason of a service.

    One that is there is taken up: its run and its time stay. The reason for
    which somebody else had disabled the service is kept in ours, as much of
    it as Nova has room for.

    :param text: what the user gives as a reason; None if he does not
    :raises osc_lib.exceptions.CommandError: the text is too long for Nova, or
        cannot be told from what we write
    """
    was = None if service.is_enabled else service.disabled_reason
    drain = service.drain or marks.Drain(run, service.now, was=was)
    if text is not None:
        drain = drain._replace(text=text)
        _require_text(drain)
    over = len(marks.write_drain(drain)) - marks.LONGEST
    if over <= 0 or not drain.was:
        return drain
    left = len(drain.was) - over - len(_CUT)
    return drain._replace(was=drain.was[:left] + _CUT if left > 0 else '')


def _require_text(drain: marks.Drain) -> None:
    least = drain._replace(was=None if drain.was is None else '')
    room = marks.LONGEST - len(marks.write_drain(least._replace(text='.'))) + 1
    if len(drain.text) > room:
        raise exceptions.CommandError(
            _(
                "argument --reason: %(length)d characters are too many; "
                "Nova keeps %(room)d beside what we write there"
            )
            % {'length': len(drain.text), 'room': room}
        )
    if marks.read_drain(marks.write_drain(drain)) != drain:
        raise exceptions.CommandError(
            _("argument --reason: leave out '; was disabled'")
        )


def require_ours(service: Service) -> None:
    """Make sure that a service is not disabled for another reason.

    :raises osc_lib.exceptions.CommandError: it is
    """
    if not service.is_enabled and service.drain is None:
        raise exceptions.CommandError(
            _(
                "Host %(host)s is disabled, but not by a drain (reason: "
                "%(reason)s). If it may be enabled: openstack compute service "
                "set --enable %(word)s nova-compute"
            )
            % {
                'host': service.host,
                'word': shlex.quote(service.host),
                'reason': service.disabled_reason or _("none"),
            }
        )


def require_free(service: Service) -> None:
    """Make sure that a host was not disabled before its drain.

    :raises osc_lib.exceptions.CommandError: it was
    """
    if service.drain is not None and service.drain.was is not None:
        raise exceptions.CommandError(
            _(
                "Host %(host)s was disabled before its drain (reason: "
                "%(reason)s), so no server can return to it. To enable it "
                "all the same: --force"
            )
            % {
                'host': service.host,
                'reason': service.drain.was or _("none"),
            }
        )


def end(
    conn: connection.Connection, service: Service, *, is_forced: bool
) -> None:
    """Enable a service that a drain disabled; not one disabled before it.

    :param is_forced: enable that, too
    """
    was = service.drain.was if service.drain else None
    if was is None or is_forced:
        server_actions.enable_service(conn, service.id)
        return
    server_actions.disable_service(conn, service.id, was)
    LOG.warning(
        _(
            "Host %(host)s stays disabled, as it was before its drain "
            "(reason: %(reason)s). If it may be enabled: openstack compute "
            "service set --enable %(word)s nova-compute"
        ),
        {
            'host': service.host,
            'reason': was or _("none"),
            'word': shlex.quote(service.host),
        },
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
