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

"""Which resource class a PCI alias stands for, learned from its servers.

No API tells (users 7.2). A server on a host holds devices of the classes
that its aliases stand for.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from typing import NamedTuple

from openstack import connection

from osc_gpu.cloud import allocations
from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import flavors
from osc_gpu.cloud import placement
from osc_gpu.cloud import servers
from osc_gpu.cloud import side_by_side

#: Servers of a flavor that are looked at, at most.
MOST_SERVERS = 3

#: In these a server holds what its own flavor asks for. While it is moved or
#: resized it may hold what another one asks for.
_HOLDING = (
    'ACTIVE',
    'SHUTOFF',
    'PAUSED',
    'SUSPENDED',
    'RESCUE',
    'VERIFY_RESIZE',
)

Classes = Mapping[str, frozenset[str]]


class Sample(NamedTuple):
    """What a server requested, and what Placement says it holds."""

    gpu_request: extra_specs.GpuRequest
    held: allocations.Held


def learn(
    samples: Iterable[Sample], names: Mapping[str, placement.Provider]
) -> Classes:
    """Return the classes of aliases, as far as the samples tell.

    A server of one alias holds its class, or, of an alias that names several
    products, one of its classes. Of several aliases those that are known from
    others are taken away; what one class is left for one alias is its.

    :param names: every provider by UUID
    """
    found: dict[str, set[str]] = {}
    left = [
        (dict(sample.gpu_request.aliases), pci_amounts(sample, names))
        for sample in samples
    ]
    left.sort(key=lambda item: len(item[0]))
    for aliases, amounts in left:
        unknown = [name for name in aliases if name not in found]
        known = {c for name in aliases for c in found.get(name, ())}
        classes = set(amounts) - known
        if len(aliases) == 1:
            found.setdefault(next(iter(aliases)), set()).update(amounts)
        elif len(unknown) == 1 and len(classes) == 1:
            found[unknown[0]] = classes
    return {name: frozenset(c) for name, c in found.items() if c}


def pci_amounts(
    sample: Sample, names: Mapping[str, placement.Provider]
) -> dict[str, int]:
    """Return what a server holds of PCI devices for its aliases, by class.

    What its flavor requests by resource class is not of an alias.
    """
    asked = {name for name, _n in sample.gpu_request.classes}
    found: dict[str, int] = {}
    for uuid, amounts in sample.held.items():
        if uuid in names and placement.is_pci_device(names[uuid].name):
            for name, amount in amounts.items():
                if name not in asked:
                    found[name] = found.get(name, 0) + amount
    return found


def with_alias(
    found: Collection[flavors.Flavor], others: Iterable[flavors.Flavor]
) -> list[flavors.Flavor]:
    """Return all flavors that have an alias of the first ones."""
    every = {flavor.id: flavor for flavor in (*found, *others)}
    aliases = {name for flavor in found for name in _aliases(flavor)}
    return [f for f in every.values() if aliases & set(_aliases(f))]


def _aliases(flavor: flavors.Flavor) -> list[str]:
    return [name for name, _n in extra_specs.parse(flavor.extra_specs).aliases]


def read(
    conn: connection.Connection,
    found: Iterable[flavors.Flavor],
    names: Mapping[str, placement.Provider],
    at_once: int = side_by_side.DEFAULT,
) -> Classes:
    """Learn the classes of the aliases that flavors name.

    One request for each flavor with an alias, and one for each of the few
    servers of it that are looked at.

    :param names: every provider by UUID
    """
    asking = [
        flavor
        for flavor in found
        if extra_specs.parse(flavor.extra_specs).aliases
    ]

    def holding(flavor: flavors.Flavor) -> Collection[servers.GpuServer]:
        return servers.read_page(
            conn,
            flavor=flavor.id,
            status=_HOLDING,
            all_tenants='True',
            limit=str(MOST_SERVERS),
        )

    pages = side_by_side.each(holding, asking, at_once)
    found_servers = [server for page in pages for server in page]
    return learn(sample(conn, found_servers, at_once), names)


def sample(
    conn: connection.Connection,
    found: Iterable[servers.GpuServer],
    at_once: int = side_by_side.DEFAULT,
) -> list[Sample]:
    """Read what a few servers of each set of aliases hold.

    Those that run come first; the others that are settled hold their devices
    as well. One request for each server.
    """
    chosen: dict[frozenset[str], list[servers.GpuServer]] = {}
    for server in sorted(found, key=lambda s: s.status != 'ACTIVE'):
        key = frozenset(name for name, _n in server.gpu_request.aliases)
        if key and server.status in _HOLDING:
            chosen.setdefault(key, []).append(server)
    asked = [s for alike in chosen.values() for s in alike[:MOST_SERVERS]]
    held = side_by_side.each(
        lambda server: allocations.read(conn, server.id).held, asked, at_once
    )
    return [
        Sample(server.gpu_request, amounts)
        for server, amounts in zip(asked, held, strict=True)
    ]
