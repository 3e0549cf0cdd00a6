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

"""Which GPUs there are, and who holds them.

Providers, inventories, allocations and servers are joined here by pure
functions; ``read`` and ``find`` at the end fetch what they join.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import logging
from typing import NamedTuple

from openstack import connection
from osc_lib import exceptions

from osc_gpu.cloud import placement
from osc_gpu.cloud import resource_classes
from osc_gpu.i18n import _

LOG = logging.getLogger(__name__)


class Holder(NamedTuple):
    """A consumer of a GPU; its name is None if Nova has no such server."""

    id: str
    name: str | None
    amount: int


@dataclasses.dataclass(frozen=True)
class GpuInventory:
    """One resource class of one GPU resource provider; amounts are counts.

    ``servers``, and ``traits`` of some hosts, are empty unless asked for.
    """

    host: str
    device: str
    model: str
    resource_class: str
    total: int
    reserved: int
    used: int
    free: int
    provider_id: str
    traits: tuple[str, ...] = ()
    servers: tuple[Holder, ...] = ()


def select(
    providers: Iterable[placement.Provider],
    classes: Collection[str] = (),
    *,
    free: bool = False,
) -> tuple[placement.Provider, ...]:
    """Keep the GPUs: providers with no resource class but those of GPUs.

    :param classes: keep exactly these, GPU or not, instead
    :param free: keep only what has a unit left
    """

    def wanted(name: str, resource: placement.Resource) -> bool:
        shown = name in classes if classes else is_gpu(name)
        return shown and (resource.free > 0 or not free)

    is_gpu = resource_classes.is_gpu_class
    narrowed = (
        dataclasses.replace(
            provider,
            resources={
                name: resource
                for name, resource in provider.resources.items()
                if wanted(name, resource)
            },
        )
        for provider in providers
    )
    return tuple(provider for provider in narrowed if provider.resources)


def settle(
    providers: Iterable[placement.Provider],
) -> tuple[placement.Provider, ...]:
    """Fill in total and reserved wherever the capacity tells them for sure.

    A PCI device has a total of 1, unless it is a PF that counts its VFs, of
    which some may be reserved: one unit is all of it only when no device of
    its class counts more. Nova keeps resetting ``reserved`` of devices with
    mdevs to 0. (Facts 2; Nova's pci_placement_translator.py and libvirt
    driver.)
    """
    providers = tuple(providers)
    counting = {
        name
        for provider in providers
        for name, resource in provider.resources.items()
        if max(resource.capacity, resource.used, resource.total or 0) > 1
    }
    settled = []
    for provider in providers:
        mdev = placement.is_mdev_device(provider.name)
        pci = not mdev and placement.device_of(provider.name) != provider.name
        whole = {
            name: placement.Stock(total=resource.capacity, reserved=0)
            for name, resource in provider.resources.items()
            if (mdev and resource.capacity > 0)
            or (pci and resource.capacity == 1 and name not in counting)
        }
        settled.append(stocked(provider, whole))
    return tuple(settled)


def stocked(
    provider: placement.Provider, stocks: Mapping[str, placement.Stock]
) -> placement.Provider:
    """Fill in a provider's unknown totals from its inventory."""
    return dataclasses.replace(
        provider,
        resources={
            name: stocks[name].resource(resource.used)
            if resource.total is None and name in stocks
            else resource
            for name, resource in provider.resources.items()
        },
    )


def join(
    providers: Iterable[placement.Provider],
    names: Mapping[str, placement.Provider],
    held: Mapping[str, Mapping[str, Mapping[str, int]]] | None = None,
    servers: Mapping[str, str] | None = None,
) -> tuple[GpuInventory, ...]:
    """Join what was read into one row per provider and class.

    A total that is not known is taken for what is seen of it.

    :param names: every provider by UUID, for the names of the hosts
    :param held: provider -> consumer -> resource class -> amount
    :param servers: names of servers by ID
    :returns: the rows, sorted by host, device and class
    """
    rows = []
    for provider in providers:
        root = names.get(provider.root_uuid)
        host = root.name if root else provider.root_uuid
        consumers = (held or {}).get(provider.uuid, {})
        for resource_class, resource in provider.resources.items():
            total = resource.total
            if total is None:
                total = max(resource.capacity, resource.used, 1)
            reserved = resource.reserved
            if reserved is None:
                reserved = total - resource.capacity
            row = GpuInventory(
                host=host,
                device=placement.device_of(provider.name, host),
                model=resource_classes.model(resource_class),
                resource_class=resource_class,
                total=total,
                reserved=reserved,
                used=resource.used,
                free=resource.free,
                provider_id=provider.uuid,
                traits=provider.traits,
                servers=_holders(consumers, resource_class, servers or {}),
            )
            rows.append(row)
    rows.sort(key=lambda r: (r.host, r.device, r.resource_class))
    return tuple(rows)


def _holders(
    consumers: Mapping[str, Mapping[str, int]],
    resource_class: str,
    servers: Mapping[str, str],
) -> tuple[Holder, ...]:
    holders = [
        Holder(consumer, servers.get(consumer), amounts[resource_class])
        for consumer, amounts in consumers.items()
        if resource_class in amounts
    ]
    return tuple(sorted(holders, key=lambda h: (h.name or h.id, h.id)))


def host_named(
    names: Mapping[str, placement.Provider], host: str
) -> placement.Provider:
    """Return the root provider of a host.

    :raises osc_lib.exceptions.CommandError: Placement has no such host
    """
    roots = {p.name: p for p in names.values() if p.uuid == p.root_uuid}
    if host in roots:
        return roots[host]
    similar = sorted(
        name
        for name in roots
        if name.split('.')[0].lower() == host.split('.')[0].lower()
    )
    hint = _(" Did you mean %s?") % ', '.join(similar) if similar else ''
    raise exceptions.CommandError(
        _("No host named '%s' in Placement.") % host + hint
    )


def provider_named(
    names: Mapping[str, placement.Provider], name_or_id: str
) -> placement.Provider:
    """Return the one provider that is meant.

    By its ID, by its name, by its name in another case, or by its device
    (``0000:20:00.0``, ``<host>_0000:20:00.0``): the first of these that fits
    any.

    :raises osc_lib.exceptions.CommandError: it fits none, or more than one
    """
    lowered = name_or_id.lower()
    found = [p for p in names.values() if name_or_id in (p.uuid, p.name)]
    if not found:
        found = [
            p for p in names.values() if lowered in (p.uuid, p.name.lower())
        ]
    if not found:
        found = [p for p in names.values() if lowered in _devices(p, names)]
    if not found:
        raise exceptions.CommandError(
            _("No resource provider with a name or ID of '%s' in Placement.")
            % name_or_id
        )
    if len(found) > 1:
        raise exceptions.CommandError(
            _(
                "More than one resource provider is named '%(name)s': "
                "%(found)s. Give one of these."
            )
            % {
                'name': name_or_id,
                'found': ', '.join(sorted(p.name for p in found)),
            }
        )
    return found[0]


def _devices(
    provider: placement.Provider, names: Mapping[str, placement.Provider]
) -> tuple[str, ...]:
    root = names.get(provider.root_uuid)
    host = root.name if root else None
    device = placement.device_of(provider.name, host)
    if device == provider.name:
        return ()
    return (device, f'{host}_{device}'.lower())


def read(
    conn: connection.Connection,
    *,
    host: str | None = None,
    classes: Collection[str] = (),
    free: bool = False,
    details: bool = False,
) -> tuple[GpuInventory, ...]:
    """Read the GPUs of the whole cloud, or of one host.

    Two requests; a bounded number more for hosts without any free memory and
    for devices that are reserved or count VFs. With details, one more for
    each provider that is in use, and one (paged) for the servers' names.

    :param host: name of the host's root provider
    :param classes: only these resource classes, GPU or not
    :param free: only what has a unit left
    :param details: read traits and servers, too
    :raises osc_lib.exceptions.CommandError: no such host
    """
    names = placement.read_names(conn)
    root_uuid = None if host is None else host_named(names, host).uuid
    providers = placement.read_trees(
        conn, names, root_uuid=root_uuid, with_traits=details
    )
    providers = settle(select(providers, classes))
    providers = select(providers, classes, free=free)
    bound = placement.MOST_ASKED if host is None else None
    providers = _ask_totals(conn, providers, bound)
    return _with_holders(conn, providers, names, details)


def find(
    conn: connection.Connection,
    name_or_id: str,
    *,
    classes: Collection[str] = (),
) -> tuple[GpuInventory, ...]:
    """Read the GPU classes of one provider, with traits and servers.

    Four requests, and two for its servers if it is in use.

    :param name_or_id: as provider_named takes it
    :param classes: only these resource classes, GPU or not
    :returns: a row for each class; none if the provider is no GPU
    :raises osc_lib.exceptions.CommandError: no such provider, or several
    """
    names = placement.read_names(conn)
    meant = provider_named(names, name_or_id)
    provider = placement.read_provider(conn, meant)
    providers = select([provider] if provider else [], classes)
    return _with_holders(conn, providers, names, True)


def _ask_totals(
    conn: connection.Connection,
    providers: Collection[placement.Provider],
    most: int | None,
) -> tuple[placement.Provider, ...]:
    """Ask for the totals that are not known yet, of so many providers."""
    unknown = [
        provider
        for provider in providers
        if any(held.total is None for held in provider.resources.values())
    ]
    # Of a device that is all reserved nothing can be told without asking.
    unknown.sort(
        key=lambda p: (min(r.capacity for r in p.resources.values()), p.name)
    )
    stocks = {
        provider.uuid: placement.read_inventories(conn, provider.uuid)
        for provider in unknown[:most]
    }
    if len(unknown) > len(stocks):
        LOG.warning(
            _(
                "Total and Reserved of %(left)d GPU resource providers are "
                "estimates, as Placement tells them one by one and only "
                "%(most)d are asked. Name a host with --host to have all of "
                "its own asked."
            ),
            {'left': len(unknown) - len(stocks), 'most': most},
        )
    return tuple(stocked(p, stocks.get(p.uuid, {})) for p in providers)


def _with_holders(
    conn: connection.Connection,
    providers: Collection[placement.Provider],
    names: Mapping[str, placement.Provider],
    details: bool,
) -> tuple[GpuInventory, ...]:
    if not details:
        return join(providers, names)
    held = {
        provider.uuid: placement.read_consumers(conn, provider.uuid)
        for provider in providers
        if any(resource.used for resource in provider.resources.values())
    }
    servers = _read_server_names(conn) if any(held.values()) else {}
    return join(providers, names, held, servers)


def _read_server_names(conn: connection.Connection) -> Mapping[str, str]:
    """Read the names of all projects' servers, in one paged request."""
    return {
        server.id: server.name
        for server in conn.compute.servers(details=False, all_projects=True)
        if server.name
    }
