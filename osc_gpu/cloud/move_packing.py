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


"""Where servers of different flavors all fit: which host takes which.

Servers with most GPUs come first, each where it leaves least. What is placed
has its units on named providers, so all of it fits at once. Placement may
give a server other units than these: what fits is to be asked anew before the
next one moves.
"""

from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import NamedTuple

from osc_gpu.cloud import aggregate_specs
from osc_gpu.cloud import capacity
from osc_gpu.cloud import capacity_asks
from osc_gpu.cloud import capacity_hosts
from osc_gpu.cloud import move_search
from osc_gpu.cloud import placement
from osc_gpu.cloud import resource_classes
from osc_gpu.cloud import resource_request
from osc_gpu.i18n import _

#: Hosts that are tried for some server before the best so far is taken; that
#: is about a second.
MOST_STEPS = 5000

_RAM = 'MEMORY_MB'
_DISK = 'DISK_GB'


class Wish(NamedTuple):
    """A server that looks for a host.

    ``away_from`` are names of hosts (root providers) that it must not go to.
    Of servers with a common name in ``apart`` no two may share a host.
    """

    key: str
    request: resource_request.Request
    away_from: frozenset[str] = frozenset()
    apart: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Packed:
    """Which host takes which server, all of them together.

    ``places`` are names of root providers by key. ``unplaced`` says of the
    others what stands in their way. ``uncounted`` says of servers, placed or
    not, why it is not known what their devices are: only the rest of what
    they need is placed, and Nova knows the hosts that have the devices.
    """

    places: Mapping[str, str]
    unplaced: Mapping[str, str]
    uncounted: Mapping[str, str] = dataclasses.field(default_factory=dict)


_Asks = tuple[capacity_asks.Ask, ...]


def pack(
    cloud: capacity_hosts.Cloud,
    wishes: Collection[Wish],
    most_steps: int = MOST_STEPS,
    at_once: int = 1,
) -> Packed:
    """Find a host for each server, so that all of them fit at once.

    If that cannot be, or is not found within so many steps: for as many as
    were found to fit. Those with an alias, of which a host takes one after
    the other, are spread over as many hosts as servers move at once, if so
    they fit, too; others go where least is left.
    """
    uncounted: dict[str, str] = {}
    known: list[tuple[Wish, _Asks]] = []
    for wish in sorted(wishes, key=_size):
        stands = capacity_hosts.resolve(cloud, wish.request.aliases, {})
        doubts = [s.how for s in stands.values() if not s.resource_class]
        if doubts:
            uncounted[wish.key] = doubts[0]
            rest = dataclasses.replace(wish.request, aliases=())
            wish, stands = wish._replace(request=rest), {}
        known.append((wish, capacity_asks.read(wish.request, stands)))
    places = move_search.search(
        {host.name: _free(host) for host in cloud.hosts},
        _items(cloud, known),
        most_steps,
        at_once,
    )
    left = _with_placed(cloud, places.values())
    return Packed(
        {key: place.site for key, place in places.items()},
        {
            wish.key: _why(cloud, left, wish)
            for wish, _asks in known
            if wish.key not in places
        },
        uncounted,
    )


def _size(wish: Wish) -> tuple[int, int, str]:
    """Order servers: those with most GPUs first, then most memory."""
    memory = wish.request.resources.get(_RAM, 0)
    return -wish.request.gpu_request.count, -memory, wish.key


# What the search is given.


def _free(host: capacity_hosts.Host) -> move_search.Amounts:
    return {
        (provider.uuid, name): resource.free
        for provider in host.providers
        for name, resource in provider.resources.items()
    }


def _items(
    cloud: capacity_hosts.Cloud, known: Sequence[tuple[Wish, _Asks]]
) -> list[move_search.Item]:
    with_gpus = frozenset(h.name for h in cloud.hosts if _has_gpus(h))
    forms: dict[object, int] = {}
    units: dict[object, dict[str, list[move_search.Unit]]] = {}
    found = []
    for wish, asks in known:
        # Servers of one flavor need the same, and come by the dozen.
        form = (asks, tuple(sorted(wish.request.aggregates.items())))
        if form not in units and not wish.request.refused:
            units[form] = _units(cloud, wish.request, asks)
        names = (name for ask in asks for name, _n in ask.resources)
        devices = dict.fromkeys(n for n in names if n not in _OF_HOSTS)
        found.append(
            move_search.Item(
                wish.key,
                forms.setdefault(form, len(forms)),
                {
                    name: taken
                    for name, taken in units.get(form, {}).items()
                    if name not in wish.away_from
                },
                (*devices, _RAM),
                frozenset() if wish.request.gpu_request else with_gpus,
                wish.apart,
                bool(wish.request.aliases),
            )
        )
    return found


_OF_HOSTS = capacity_asks.OF_HOSTS


def _has_gpus(host: capacity_hosts.Host) -> bool:
    return any(
        resource_classes.is_gpu_class(name)
        or placement.is_pci_device(provider.name)
        for provider in host.providers
        for name in provider.resources
    )


def _units(
    cloud: capacity_hosts.Cloud,
    request: resource_request.Request,
    asks: _Asks,
) -> dict[str, list[move_search.Unit]]:
    """Return what servers take of each host that is open to them."""
    return {
        host.name: [
            move_search.Unit(
                ask.resources, tuple(sorted(kind.providers)), ask.isolated
            )
            for ask, kind in capacity_asks.fit(
                host, _of_its_own(host, asks), cloud.refused
            )
            for _n in range(ask.times)
        ]
        for host in cloud.hosts
        if not host.closed
        and aggregate_specs.match(host.metadata, request.aggregates)
    }


def _of_its_own(host: capacity_hosts.Host, asks: _Asks) -> _Asks:
    """Leave out the disk where that is none of the host's.

    Which hosts share which storage, and how much of it is left, is not read.
    """
    if _DISK in host.classes:
        return asks
    return tuple(ask for ask in asks if ask.name != _DISK)


# Why not.


def _with_placed(
    cloud: capacity_hosts.Cloud, places: Collection[move_search.Place]
) -> capacity_hosts.Cloud:
    """Return the cloud with servers on their places."""
    taken: dict[tuple[str, str], int] = {}
    for place in places:
        for where, amount in place.takes.items():
            taken[where] = taken.get(where, 0) + amount

    def used(provider: placement.Provider) -> placement.Provider:
        more = {
            name: held._replace(
                used=held.used + taken.get((provider.uuid, name), 0)
            )
            for name, held in provider.resources.items()
        }
        return dataclasses.replace(provider, resources=more)

    return dataclasses.replace(
        cloud,
        hosts=tuple(
            dataclasses.replace(host, providers=tuple(map(used, h)))
            for host in cloud.hosts
            for h in [host.providers]
        ),
    )


def _why(
    cloud: capacity_hosts.Cloud, left: capacity_hosts.Cloud, wish: Wish
) -> str:
    """Say what keeps a server from every host.

    :param left: the cloud with the other servers on their places
    """
    names = [host.name for host in _open_to(cloud, wish).hosts]
    if not names:
        return _("no other host")
    only = names[0] if len(names) == 1 else None
    alone, beside = (
        capacity.judge(_open_to(found, wish), wish.request, host=only)
        for found in (cloud, left)
    )
    blocked = capacity.blocked_by(beside)
    if not blocked:
        return _("no room that its server group allows")
    if alone.fits:
        return _("no room beside the others: %s") % blocked
    if only:
        return _("no room on %(host)s: %(why)s") % {
            'host': only,
            'why': blocked,
        }
    return _("no room: %s") % blocked


def _open_to(cloud: capacity_hosts.Cloud, wish: Wish) -> capacity_hosts.Cloud:
    return dataclasses.replace(
        cloud,
        hosts=tuple(h for h in cloud.hosts if h.name not in wish.away_from),
    )
