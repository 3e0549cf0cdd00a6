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

"""Taking away the PCI devices that servers hold, but do not use.

Only Nova knows which of the devices that a server holds are really its own,
and no API tells. But what Nova misses in the allocations of a server it adds
at its next update, which is what makes this safe: drop as many as are too
many, wait, and if Nova adds one back, then that one is used, and another goes
in its place (facts 0.4 and 9.3). A server never holds less than its flavor
asks for.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import time

from openstack import connection

from osc_gpu.cloud import allocations
from osc_gpu.cloud import hypervisors
from osc_gpu.cloud import placement
from osc_gpu.cloud import repair_writing
from osc_gpu.cloud import servers
from osc_gpu.cloud import side_by_side
from osc_gpu.i18n import _

_CHANGING = _("its allocations change all the time: run again")

#: Seconds between two looks at the allocations of servers.
POLL = 2.0

Names = Mapping[str, placement.Provider]

#: A provider and a resource class of it.
Unit = tuple[str, str]


#: Resource classes, any of which a server may hold.
Classes = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Case:
    """A server that holds too much of some classes.

    ``asked`` is how much of any of some classes is right. ``others`` are
    providers that are none of this matter. The rest is how far the repair is:
    how much there was of what was ``dropped`` and not added back, what is
    ``used``, as Nova added it back, what was last ``written``, of which
    ``server``, and when by the monotonic clock.
    """

    server_id: str
    asked: Mapping[Classes, int]
    others: frozenset[str] = frozenset()
    dropped: Mapping[Unit, int] = dataclasses.field(default_factory=dict)
    used: frozenset[Unit] = frozenset()
    written: allocations.Held | None = None
    server: servers.GpuServer | None = None
    since: float = 0.0


def amounts(
    case: Case, held: allocations.Held, names: Names, classes: Classes
) -> dict[Unit, int]:
    """Return how much of any of some classes PCI devices give."""
    return {
        (uuid, name): amount
        for uuid, given in held.items()
        if uuid in names
        and uuid not in case.others
        and placement.is_pci_device(names[uuid].name)
        for name, amount in given.items()
        if name in classes
    }


def surplus(case: Case, held: allocations.Held, names: Names) -> list[int]:
    """Return how much too much is held; negative is too little."""
    return [
        sum(amounts(case, held, names, classes).values()) - asked
        for classes, asked in case.asked.items()
    ]


def choose(
    case: Case, held: allocations.Held, names: Names, roots: Collection[str]
) -> allocations.Held:
    """Return what a server shall hold instead.

    What Nova added back is kept. Dropped are devices of other hosts first,
    then the highest addresses, as Nova claims the lowest that is free.

    :param roots: the root providers of the server's host
    """

    def rank(unit: Unit) -> tuple[bool, str]:
        provider = names[unit[0]]
        return provider.root_uuid not in roots, provider.name

    after = {uuid: dict(given) for uuid, given in held.items()}
    too_much = surplus(case, held, names)
    for classes, left in zip(case.asked, too_much, strict=True):
        given = amounts(case, held, names, classes)
        for unit in sorted(given.keys() - case.used, key=rank, reverse=True):
            gone = max(0, min(left, given[unit]))
            left -= gone
            after[unit[0]][unit[1]] -= gone
    return {
        uuid: kept
        for uuid, given in after.items()
        if (kept := {name: n for name, n in given.items() if n})
    }


def difference(
    more: allocations.Held, less: allocations.Held
) -> frozenset[Unit]:
    """Return of which providers and classes the first holds more."""
    return frozenset(
        (uuid, name)
        for uuid, given in more.items()
        for name, amount in given.items()
        if amount > less.get(uuid, {}).get(name, 0)
    )


def mend(
    conn: connection.Connection,
    cases: Iterable[Case],
    names: Names,
    wait: float,
    at_once: int = side_by_side.DEFAULT,
) -> Mapping[str, repair_writing.Outcome]:
    """Repair servers side by side: one time of waiting for all of them.

    One request for the hypervisors; for each server one at each look, and
    some more around each write. A refused write of one server does not keep
    the others from theirs, unless the user has no right to write.

    :param wait: seconds within which Nova updates its allocations
    :returns: what became of each server, by ID
    :raises openstack.exceptions.ForbiddenException: the user may not write
    """
    waiting = list(cases)
    if not waiting:
        return {}
    hosts = tuple(hypervisors.read(conn).values())
    outcomes: dict[str, repair_writing.Outcome] = {}

    def look(case: Case) -> Case | repair_writing.Outcome:
        return repair_writing.attempt(
            lambda: _look(conn, case, names, hosts, wait)
        )

    while True:
        seen = side_by_side.each(look, waiting, at_once)
        outcomes |= {
            case.server_id: found
            for case, found in zip(waiting, seen, strict=True)
            if not isinstance(found, Case)
        }
        waiting = [found for found in seen if isinstance(found, Case)]
        if not waiting:
            return outcomes
        time.sleep(POLL)


def _look(
    conn: connection.Connection,
    case: Case,
    names: Names,
    hosts: Sequence[hypervisors.Hypervisor],
    wait: float,
) -> Case | repair_writing.Outcome:
    """Look at a server once: drop, wait on, or say what became of it."""
    found = allocations.read(conn, case.server_id)
    too_much = surplus(case, found.held, names)
    if case.written is not None:
        added = difference(found.held, case.written) & case.dropped.keys()
        left = {u: n for u, n in case.dropped.items() if u not in added}
        case = dataclasses.replace(case, used=case.used | added, dropped=left)
    if any(amount > 0 for amount in too_much):
        return _drop(conn, case, names, hosts)
    if case.written is None:
        return repair_writing.Outcome(_("nothing to do any more"))
    if any(too_much):
        return _give_back(conn, case, _("somebody else took some away"))
    if time.monotonic() - case.since < wait:
        return case
    return _finish(conn, case, names)


def _drop(
    conn: connection.Connection,
    case: Case,
    names: Names,
    hosts: Sequence[hypervisors.Hypervisor],
) -> Case | repair_writing.Outcome:
    """Drop what is too much; judged again whenever it changed meanwhile."""
    for _try in range(repair_writing.MOST_TRIES):
        found = allocations.read(conn, case.server_id)
        server = repair_writing.read_idle(conn, case.server_id)
        if server is None:
            return repair_writing.Outcome(_("the server is gone"))
        _check_same(case, server)
        roots = _roots(conn, server, names, hosts)
        after = choose(case, found.held, names, roots)
        _check_enough(server, after, names)
        if after == found.held:
            if max(surplus(case, found.held, names)) > 0:
                raise repair_writing.LeftAlone(
                    _("left alone: Nova uses more than its flavor asks for")
                )
            return case
        if repair_writing.replace(conn, found, after):
            return dataclasses.replace(
                case,
                dropped={**case.dropped, **_amounts_of(found.held, after)},
                written=after,
                server=server,
                since=time.monotonic(),
            )
    raise repair_writing.LeftAlone(_CHANGING)


def _amounts_of(
    held: allocations.Held, after: allocations.Held
) -> dict[Unit, int]:
    return {
        (uuid, name): held[uuid][name]
        for uuid, name in difference(held, after)
    }


def _check_same(case: Case, server: servers.GpuServer) -> None:
    """Make sure that a server is where it was, and asks for what it did.

    Else nothing that was found out about its devices holds any more.
    """
    before = case.server or server
    if (before.host, before.gpu_request) != (server.host, server.gpu_request):
        raise repair_writing.LeftAlone(
            _("left alone: it was moved or resized meanwhile: run again")
        )


def _roots(
    conn: connection.Connection,
    server: servers.GpuServer,
    names: Names,
    hosts: Sequence[hypervisors.Hypervisor],
) -> frozenset[str]:
    """Return the roots of the server's host, if that would add devices back.

    :raises repair_writing.LeftAlone: it would not
    """
    if not server.host:
        raise repair_writing.LeftAlone(_("left alone: it is on no host"))
    own = [host for host in hosts if host.host == server.host]
    if not hypervisors.is_up(conn, server.host):
        raise repair_writing.LeftAlone(
            _(
                "left alone: host %s is down, so Nova would not add back what "
                "is used"
            )
            % server.host
        )
    roots = frozenset(host.id for host in own)
    if not any(
        provider.root_uuid in roots and placement.is_pci_device(provider.name)
        for provider in names.values()
    ):
        raise repair_writing.LeftAlone(
            _("left alone: host %s does not report its PCI devices")
            % server.host
        )
    return roots


def _check_enough(
    server: servers.GpuServer, after: allocations.Held, names: Names
) -> None:
    """Make sure that a server keeps what its flavor, as it is now, asks."""
    left = sum(
        sum(given.values())
        for uuid, given in after.items()
        if uuid in names and placement.is_pci_device(names[uuid].name)
    )
    if left < sum(number for _name, number in server.gpu_request.aliases):
        raise repair_writing.LeftAlone(
            _("left alone: its flavor changed meanwhile")
        )


def _give_back(
    conn: connection.Connection, case: Case, reason: str
) -> repair_writing.Outcome:
    """Put back what was dropped, as nothing is known of what is used."""
    for _try in range(repair_writing.MOST_TRIES):
        found = allocations.read(conn, case.server_id)
        server = repair_writing.read_idle(conn, case.server_id)
        if server is None:
            return repair_writing.Outcome(_("the server is gone"))
        _check_same(case, server)
        if not found.held:
            raise repair_writing.LeftAlone(
                _("left alone: it holds nothing at all any more")
            )
        after = {uuid: dict(given) for uuid, given in found.held.items()}
        for (uuid, name), amount in case.dropped.items():
            given = after.setdefault(uuid, {})
            given[name] = max(amount, given.get(name, 0))
        if repair_writing.replace(conn, found, after):
            return repair_writing.Outcome(
                _("failed, and put back: %s meanwhile: run again") % reason,
                False,
            )
    raise repair_writing.LeftAlone(_CHANGING)


def _finish(
    conn: connection.Connection, case: Case, names: Names
) -> repair_writing.Outcome:
    """Say what was dropped, as a Nova that is there has not added it back."""
    host = case.server.host if case.server else ''
    if not hypervisors.is_up(conn, host):
        return _give_back(conn, case, _("host %s went down") % host)
    text = _("dropped %s") % ', '.join(
        sorted(names[uuid].name for uuid, _name in case.dropped)
    )
    doing = repair_writing.doing_now(conn, case.server_id)
    return repair_writing.Outcome(f'{text}; {doing}' if doing else text)
