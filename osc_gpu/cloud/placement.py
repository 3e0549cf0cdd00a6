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

"""What Placement knows: provider trees, inventories, allocations.

Everything is asked raw, with explicit microversions that a Placement of
2025.1 has, because the SDK's Placement resources stop at older ones. Amounts
are counts of a resource class. Whatever Placement refuses is raised as the
SDK's exceptions.
"""

from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import re
from typing import Any
from typing import NamedTuple

from openstack import connection
from openstack import exceptions

from osc_gpu.cloud import hidden_trees
from osc_gpu.cloud import rest
from osc_gpu.cloud import side_by_side

#: Providers that one command asks one by one, at most.
MOST_ASKED = 50

#: Classes of which nearly every host has a unit left, in the order tried.
_OF_EVERY_HOST = ('MEMORY_MB', 'VCPU', 'DISK_GB')

# Nova upper-cases the address of a PCI device and takes libvirt's node device
# name for one that is capable of mdevs. A domain has four digits, or more
# behind Intel's VMD. Compiled when first needed: this is imported on every run
# of the shell, as are the tuples below, which cost less than dataclasses.
_ADDRESS = (
    '(?ai)(?:^|_)(?:'
    '([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})[.]([0-7])'
    '|pci_([0-9a-f]{4,8})_([0-9a-f]{2})_([0-9a-f]{2})_([0-7])'
    r')\Z'
)


class Resource(NamedTuple):
    """Inventory of one resource class at one provider, in its own units.

    ``capacity`` is what Placement gives out: (total - reserved) * ratio.
    ``total`` and ``reserved`` are None where only the capacity is known.
    """

    capacity: int
    used: int
    total: int | None = None
    reserved: int | None = None

    @property
    def free(self) -> int:
        """Units left; reserving units in use never makes it negative."""
        return max(0, self.capacity - self.used)


class Stock(NamedTuple):
    """What a provider has of one resource class, whoever uses it."""

    total: int
    reserved: int
    ratio: float = 1.0

    def resource(self, used: int) -> Resource:
        """Return the resource of which this many units are in use."""
        capacity = int((self.total - self.reserved) * self.ratio)
        return Resource(capacity, used, self.total, self.reserved)


@dataclasses.dataclass(frozen=True, slots=True)
class Provider:
    """A resource provider; traits and resources are empty where not read."""

    uuid: str
    name: str
    root_uuid: str
    parent_uuid: str | None = None
    traits: tuple[str, ...] = ()
    resources: Mapping[str, Resource] = dataclasses.field(default_factory=dict)


def device_of(provider_name: str, host: str | None = None) -> str:
    """Return the device that a provider's name gives.

    :param provider_name: ``<host>_0000:84:00.0`` (hex digits of either case)
        or ``<host>_pci_0000_84_00_0``, as Nova names its providers (facts 2
        and 3)
    :param host: the name of the provider's root, taken off first where given
    :returns: a PCI address in lower case with its domain, else the provider's
        own name
    """
    if provider_name == host:
        return provider_name
    rest = provider_name.removeprefix(f'{host}_')
    found = re.search(_ADDRESS, rest) or re.search(_ADDRESS, provider_name)
    if found is None:
        return provider_name
    domain, bus, slot, function = (g for g in found.groups() if g is not None)
    return f'{domain}:{bus}:{slot}.{function}'.lower()


def is_mdev_device(provider_name: str) -> bool:
    """Say whether the name is that of a device with mdevs (facts 3)."""
    found = re.search(_ADDRESS, provider_name)
    return found is not None and found.group(5) is not None


def is_pci_device(provider_name: str) -> bool:
    """Say whether the name is that of a device passed through (facts 2)."""
    found = re.search(_ADDRESS, provider_name)
    return found is not None and found.group(5) is None


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Keep Python from looking for garbage while thousands of objects grow.

    It would look through all that the shell has loaded, again and again.
    """
    import gc

    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def read_tree(
    conn: connection.Connection, provider_uuid: str
) -> Mapping[str, Provider]:
    """Read the names in the tree that a provider belongs to, by UUID.

    The host is the provider whose UUID is the others' ``root_uuid``. Traits
    and resources are not read. Empty for an unknown provider.
    """
    return _by_uuid(
        _get(conn, '/resource_providers', '1.14', in_tree=provider_uuid)
    )


@_uncollected()
def read_names(conn: connection.Connection) -> Mapping[str, Provider]:
    """Read the names of the whole cloud's providers, by UUID.

    One request; traits and resources are not read.
    """
    return _by_uuid(_get(conn, '/resource_providers', '1.14'))


def read_consumers(
    conn: connection.Connection, provider_uuid: str
) -> Mapping[str, Mapping[str, int]]:
    """Read who holds something of a provider: consumer -> class -> amount.

    A consumer is a server's UUID, or a migration's while one is under way.
    """
    found = _get(
        conn, f'/resource_providers/{provider_uuid}/allocations', '1.28'
    )
    return {
        consumer: dict(held['resources'])
        for consumer, held in found['allocations'].items()
    }


def read_trees(
    conn: connection.Connection,
    names: Mapping[str, Provider],
    *,
    root_uuid: str | None = None,
    with_traits: bool = False,
    classes: Collection[str] = (),
    at_once: int = side_by_side.DEFAULT,
) -> tuple[Provider, ...]:
    """Read resources, and traits, of all providers, or of one tree.

    Allocation candidates for one MiB of memory bring every provider of every
    host that has one left, also the used up and the reserved ones, in one
    request (facts 0.7). Hosts with devices but without memory are tried by
    VCPU, then by disk, each one request for all of them; what remains then is
    asked provider by provider, up to ``MOST_ASKED`` unless one tree was asked
    for, and a warning names the hosts left out.

    Roots without children (bare-metal nodes, shared storage) that memory does
    not bring are tried by class, one request for each, bounded as in
    ``hidden_trees``. Those that have nothing of it left are not found, unless
    asked for as the one tree.

    :param names: what ``read_names`` returned
    :param root_uuid: read only the tree below this provider
    :param with_traits: read the traits of providers asked one by one, too
    :param classes: find roots without children by these, not by GPU classes
    :param at_once: requests under way at a time, where they are many
    """
    if root_uuid is not None and root_uuid in hidden_trees.lone_roots(names):
        alone = read_provider(conn, names[root_uuid], with_traits=with_traits)
        return () if alone is None else (alone,)
    shown: dict[str, Provider] = {}
    hidden: Mapping[str, Collection[Provider]] = {}
    for resource_class in _OF_EVERY_HOST:
        shown |= _read_summaries(conn, names, resource_class, root_uuid)
        hidden = hidden_trees.devices(names, shown, root_uuid)
        if not hidden:
            break
    if root_uuid is None:
        shown |= _read_lone_roots(conn, names, shown, classes)
        hidden = hidden_trees.within_bounds(
            names, hidden_trees.devices(names, shown), MOST_ASKED
        )
    one_by_one = side_by_side.each(
        lambda provider: read_provider(
            conn, provider, with_traits=with_traits
        ),
        (provider for providers in hidden.values() for provider in providers),
        at_once,
    )
    return (*shown.values(), *(p for p in one_by_one if p is not None))


def _read_lone_roots(
    conn: connection.Connection,
    names: Mapping[str, Provider],
    shown: Mapping[str, Provider],
    classes: Collection[str],
) -> dict[str, Provider]:
    """Find roots without children by their class; free if all are shown."""
    missing = hidden_trees.lone_roots(names) - shown.keys()
    found: dict[str, Provider] = {}
    if not missing:
        return found
    for resource_class in classes or hidden_trees.classes_to_try(
        _read_classes(conn), shown
    ):
        try:
            found |= _read_summaries(conn, names, resource_class, None)
        except exceptions.BadRequestException:
            # So Placement answers to a class that it does not know.
            continue
        if missing <= found.keys():
            break
    return found


def read_provider(
    conn: connection.Connection,
    provider: Provider,
    *,
    with_traits: bool = True,
) -> Provider | None:
    """Read resources, and traits, of one provider; None if it went away."""
    path = f'/resource_providers/{provider.uuid}'
    stocks = read_inventories(conn, provider.uuid)
    usages = _get_if_there(conn, f'{path}/usages', '1.14')
    traits = (
        _get_if_there(conn, f'{path}/traits', '1.14') if with_traits else None
    )
    if usages is None:
        return None
    return dataclasses.replace(
        provider,
        traits=tuple(sorted(traits['traits'])) if traits else (),
        resources={
            name: stock.resource(usages['usages'].get(name, 0))
            for name, stock in stocks.items()
        },
    )


def read_inventories(
    conn: connection.Connection, provider_uuid: str
) -> Mapping[str, Stock]:
    """Read how much of each class a provider has; {} if it went away."""
    found = _get_if_there(
        conn, f'/resource_providers/{provider_uuid}/inventories', '1.14'
    )
    return {
        name: Stock(
            total=held['total'],
            reserved=held['reserved'],
            ratio=held['allocation_ratio'],
        )
        for name, held in (found['inventories'] if found else {}).items()
    }


def _get(
    conn: connection.Connection,
    path: str,
    microversion: str,
    **params: str,
) -> Any:
    return rest.get(conn.placement, path, microversion, params)


def _get_if_there(
    conn: connection.Connection, path: str, microversion: str
) -> Any:
    """Like _get; None if the provider went away since it was listed."""
    try:
        return _get(conn, path, microversion)
    except exceptions.NotFoundException:
        return None


def _read_classes(conn: connection.Connection) -> tuple[str, ...]:
    found = _get(conn, '/resource_classes', '1.14')
    return tuple(held['name'] for held in found['resource_classes'])


def _by_uuid(listed: Any) -> dict[str, Provider]:
    return {
        found['uuid']: Provider(
            uuid=found['uuid'],
            name=found['name'],
            root_uuid=found['root_provider_uuid'],
            parent_uuid=found['parent_provider_uuid'],
        )
        for found in listed['resource_providers']
    }


@_uncollected()
def _read_summaries(
    conn: connection.Connection,
    names: Mapping[str, Provider],
    resource_class: str,
    root_uuid: str | None,
) -> dict[str, Provider]:
    narrowed = {} if root_uuid is None else {'in_tree': root_uuid}
    found = _get(
        conn,
        '/allocation_candidates',
        '1.31',
        resources=f'{resource_class}:1',
        **narrowed,
    )
    return {
        uuid: Provider(
            uuid=uuid,
            # A provider made between the two requests has no name yet.
            name=names[uuid].name if uuid in names else uuid,
            root_uuid=summary['root_provider_uuid'],
            parent_uuid=summary['parent_provider_uuid'],
            traits=tuple(sorted(summary['traits'])),
            resources={
                name: Resource(held['capacity'], held['used'])
                for name, held in summary['resources'].items()
            },
        )
        for uuid, summary in found['provider_summaries'].items()
    }
