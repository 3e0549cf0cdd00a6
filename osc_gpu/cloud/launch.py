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

"""The launch of servers with GPUs: which flavor, until when, why not."""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import shlex
import time
from typing import Protocol
from typing import TypeVar

from openstack import connection
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from osc_gpu.cloud import capacity
from osc_gpu.cloud import capacity_reading
from osc_gpu.cloud import errors
from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import flavors
from osc_gpu.cloud import resource_request
from osc_gpu.cloud import servers
from osc_gpu.i18n import _

#: Flavors that an error names, at most.
MOST_NAMED = 5

#: Seconds between two looks at a server that is being built.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 5.0


@dataclasses.dataclass(frozen=True)
class Order:
    """What is launched: up to ``most`` servers of a name and a flavor.

    :param also: resource classes that the user says are GPUs too
    """

    name: str
    flavor: flavors.Flavor
    most: int = 1
    also: tuple[str, ...] = ()

    @property
    def gpu_request(self) -> extra_specs.GpuRequest:
        """The GPUs that each of the servers gets."""
        return extra_specs.parse(self.flavor.extra_specs, self.also)


def choose(
    conn: connection.Connection,
    name_or_id: str | None,
    request: extra_specs.GpuRequest | None,
    also: Collection[str] = (),
) -> flavors.Flavor:
    """Find the flavor that is named, or the smallest for a GPU request.

    One request, paged. Flavors that are private to other projects, which an
    admin can see, have to be named.

    :param also: resource classes that the user says are GPUs too
    :raises openstack.exceptions.NotFoundException: no flavor has the name
    :raises osc_lib.exceptions.CommandError: it requests no GPU, or none
        requests these
    """
    if request:
        return smallest(flavors.list_flavors(conn, True), request, also)
    flavor = flavors.find_flavor(conn, name_or_id or '')
    if not extra_specs.parse(flavor.extra_specs, also):
        raise exceptions.CommandError(
            _("Flavor %(name)s requests no GPU. %(others)s%(hint)s")
            % {
                'name': flavor.name,
                'others': gpu_flavors(flavors.list_flavors(conn, True), also),
                'hint': _hint(flavor),
            }
        )
    return flavor


def _hint(flavor: flavors.Flavor) -> str:
    """Say how a class is called a GPU that does not look like one."""
    found = extra_specs.grouped(extra_specs.RESOURCES, flavor.extra_specs)
    classes = {slot.name for slot in found if slot.name.startswith('CUSTOM_')}
    return ''.join(
        _(" If %(name)s is one, say so with --resource-class %(name)s.")
        % {'name': name}
        for name in sorted(classes)
    )


def smallest(
    found: Iterable[flavors.Flavor],
    request: extra_specs.GpuRequest,
    also: Collection[str] = (),
) -> flavors.Flavor:
    """Return the smallest flavor that requests exactly these GPUs.

    By VCPUs, then RAM, then disk, then name.

    :raises osc_lib.exceptions.CommandError: there is none
    """
    found = tuple(found)
    exact = [
        flavor
        for flavor in found
        if extra_specs.parse(flavor.extra_specs, also) == request
    ]
    if not exact:
        raise exceptions.CommandError(
            _("No flavor requests exactly %(request)s. %(others)s")
            % {'request': request.text, 'others': gpu_flavors(found, also)}
        )
    return min(exact, key=lambda f: (f.vcpus, f.ram, f.disk, f.name))


def gpu_flavors(
    found: Iterable[flavors.Flavor], also: Collection[str] = ()
) -> str:
    """Say which flavors request a GPU: a handful, and how many more."""
    requests = [
        (flavor.name, extra_specs.parse(flavor.extra_specs, also))
        for flavor in sorted(found, key=lambda f: f.name)
    ]
    named = [
        f'{name} ({request.text})' for name, request in requests if request
    ]
    if not named:
        return _("No flavor that you can use requests a GPU.")
    more = len(named) - MOST_NAMED
    if more > 0:
        return _("GPU flavors: %(named)s and %(more)d more.") % {
            'named': ', '.join(named[:MOST_NAMED]),
            'more': more,
        }
    return _("GPU flavors: %s.") % ', '.join(named)


def read_earlier(conn: connection.Connection, order: Order) -> frozenset[str]:
    """Read which servers have the names of those to be made, by ID.

    One request, paged; none for a single server, which Nova gives the ID of.
    """
    if order.most <= 1:
        return frozenset()
    return frozenset(server.id for server in _read_alike(conn, order))


def read_new(
    conn: connection.Connection,
    order: Order,
    server_id: str,
    earlier: Collection[str] = (),
) -> tuple[servers.GpuServer, ...]:
    """Read the servers that an order made, by their numbers.

    One request, paged. Nova gives the ID of the first only.

    :param earlier: what ``read_earlier`` found before they were ordered
    :raises openstack.exceptions.NotFoundException: all are gone
    """
    if order.most <= 1:
        return (servers.read_server(conn, server_id, order.also),)
    found = _read_alike(conn, order)
    new = tuple(server for server in found if server.id not in earlier)
    if not new:
        raise sdk_exceptions.NotFoundException(
            _("Server %s could not be found.") % server_id
        )
    return new


def _read_alike(
    conn: connection.Connection, order: Order
) -> tuple[servers.GpuServer, ...]:
    # Nova names several servers <name>-1 to <name>-<most>, and one <name>
    # even if there may have been more (nova/compute/api.py).
    numbers = {f'{order.name}-{n}': n for n in range(1, order.most + 1)}
    numbers[order.name] = 0
    found = servers.read_named(conn, order.name, '(-[0-9]+)?', order.also)
    return tuple(
        sorted(
            (server for server in found if server.name in numbers),
            key=lambda s: (numbers[s.name], s.id),
        )
    )


class _Server(Protocol):
    """A server of any kind, as long as it has a status."""

    @property
    def status(self) -> str: ...


S = TypeVar('S', bound=_Server)

#: Statuses in which servers are on their way to run.
_STARTING = ('BUILD', 'UNKNOWN', 'REBOOT', 'HARD_REBOOT', 'REBUILD')


def is_building(server: _Server) -> bool:
    """Tell whether it is still open what becomes of a new server."""
    return server.status in ('BUILD', 'UNKNOWN')


def is_starting(server: _Server) -> bool:
    """Tell whether a server will run if it is only waited for."""
    return server.status in _STARTING


def wait(
    read: Callable[[], Sequence[S]],
    timeout: float,
    is_open: Callable[[_Server], bool] = is_building,
) -> Sequence[S]:
    """Look until every server is built or failed, or the time is over.

    :param read: reads all of them, in one request
    :param timeout: in seconds
    :param is_open: whether one is still waited for
    :returns: what was read last
    """
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        found = read()
        left = deadline - time.monotonic()
        if left <= 0 or not any(is_open(server) for server in found):
            return found
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def require_built(
    conn: connection.Connection,
    found: Sequence[servers.GpuServer],
    order: Order,
    timeout: float,
) -> None:
    """Refuse what became of new servers unless every one was built.

    :raises osc_lib.exceptions.CommandError: some are in ERROR, or not built
        within the timeout (in seconds); with all that is known about why
    """
    failed = [server for server in found if server.status == 'ERROR']
    building = [server for server in found if is_building(server)]
    said = []
    if failed:
        said.append(_failed(failed, len(found)))
        if any('No valid host' in server.fault for server in failed):
            said += [_asked(order), _free(conn, order)]
    if building:
        said.append(_unfinished(building, len(found), timeout))
    if said:
        raise exceptions.CommandError(' '.join(filter(None, said)))


def _failed(failed: Sequence[servers.GpuServer], total: int) -> str:
    if total == 1:
        return _("Server %(server)s is in ERROR: %(fault)s") % {
            'server': _named(failed[0]),
            'fault': _fault(failed[0]),
        }
    return _("%(failed)d of %(total)d servers are in ERROR: %(servers)s") % {
        'failed': len(failed),
        'total': total,
        'servers': ' '.join(
            f'{", ".join(map(_named, alike))}: {fault}'
            for fault, alike in _by_fault(failed).items()
        ),
    }


def _by_fault(
    failed: Iterable[servers.GpuServer],
) -> dict[str, list[servers.GpuServer]]:
    found: dict[str, list[servers.GpuServer]] = {}
    for server in failed:
        found.setdefault(_fault(server), []).append(server)
    return found


def _unfinished(
    building: Sequence[servers.GpuServer], total: int, timeout: float
) -> str:
    if total == 1:
        return _(
            "Server %(server)s is in status %(status)s after %(seconds)d "
            "seconds; it is left as it is."
        ) % {
            'server': _named(building[0]),
            'status': building[0].status,
            'seconds': timeout,
        }
    return _(
        "%(building)d of %(total)d servers are not built after %(seconds)d "
        "seconds, and are left as they are: %(servers)s."
    ) % {
        'building': len(building),
        'total': total,
        'seconds': timeout,
        'servers': ', '.join(f'{_named(s)} {s.status}' for s in building),
    }


def _named(server: servers.GpuServer) -> str:
    return f'{server.name} ({server.id})'


def _fault(server: servers.GpuServer) -> str:
    fault = ' '.join(server.fault.split()) or _("Nova names no fault")
    return fault if fault.endswith(('.', '!', '?')) else f'{fault}.'


def _asked(order: Order) -> str:
    return _(
        "Flavor %(flavor)s (%(vcpus)d VCPUs, %(ram)d MiB of RAM, %(disk)d GiB "
        "of disk) requests %(request)s on one host."
    ) % {
        'flavor': order.flavor.name,
        'vcpus': order.flavor.vcpus,
        'ram': order.flavor.ram,
        'disk': order.flavor.disk,
        'request': order.gpu_request.text,
    }


def _free(conn: connection.Connection, order: Order) -> str:
    """Say what Placement has of it, or who can see that."""
    try:
        cloud = capacity_reading.read(
            conn,
            [order.flavor],
            order.also,
            others=flavors.list_flavors(conn),
        )
    except sdk_exceptions.ForbiddenException:
        return _(
            "An admin sees what is free with: openstack gpu capacity show %s"
        ) % shlex.quote(order.flavor.name)
    except errors.REFUSALS as exc:
        return _("What is free cannot be seen: %s") % errors.explain(exc, conn)
    request = resource_request.read(order.flavor, order.also)
    verdict = capacity.judge(cloud, request)
    return _room(verdict, capacity.relax(cloud, verdict))


def _room(
    verdict: capacity.Verdict, relaxed: Iterable[capacity.Relaxed]
) -> str:
    """Say how many servers fit, or what is in the way."""
    if verdict.fits is None:
        return _("How many fit is not known: %s.") % verdict.why
    if not verdict.fits:
        said = [
            _("By Placement none fits: %s.") % capacity.blocked_by(verdict)
        ]
        said += [
            _("Without %(term)s %(fits)d would.") % found._asdict()
            for found in relaxed
            if found.fits
        ]
        return ' '.join(said)
    fitting = [host.host for host in verdict.hosts if host.fits]
    named = ', '.join(fitting[:MOST_NAMED])
    if len(fitting) > MOST_NAMED:
        named = _("%d hosts") % len(fitting)
    return _(
        "By Placement %(fits)d fit, on %(hosts)s. So look elsewhere: at a "
        "zone, host or hint that was asked for, at the image's properties, at "
        "other extra specs."
    ) % {'fits': verdict.fits, 'hosts': named}
