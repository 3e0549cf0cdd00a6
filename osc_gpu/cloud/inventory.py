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
import functools
import logging
from typing import NamedTuple

from openstack import connection

from osc_gpu.cloud import placement
from osc_gpu.cloud import provider_names
from osc_gpu.cloud import resource_classes
from osc_gpu.cloud import side_by_side
from osc_gpu.i18n import _

LOG = logging.getLogger(__name__)

_ONE_TIME_USE = 'HW_PCI_ONE_TIME_USE'


class Holder(NamedTuple):
    """A consumer of a GPU; its name is None if Nova has no such server."""

    id: str
    name: str | None
    amount: int


class GpuInventory(NamedTuple):
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

    # Of thousands of providers, hardly any has a class of its own.
    is_gpu = functools.cache(resource_classes.is_gpu_class)
    kept = []
    for provider in providers:
        resources = {
            name: resource
            for name, resource in provider.resources.items()
            if wanted(name, resource)
        }
        if len(resources) == len(provider.resources):
            narrowed = provider
        else:
            narrowed = dataclasses.replace(provider, resources=resources)
        if resources:
            kept.append(narrowed)
    return tuple(kept)


def settle(
    providers: Iterable[placement.Provider], *, proven: bool = False
) -> tuple[placement.Provider, ...]:
    """Fill in total and reserved wherever the capacity tells them.

    Proven is only that a device with HW_PCI_ONE_TIME_USE is one: Nova lets no
    VF have the trait. The rest holds unless somebody reserved a part of a
    provider: a PCI device with a capacity of 1 has a total of 1 (a PF counts
    its VFs, so only where no device of its class is seen to count more), and
    of mdevs none are reserved, as Nova resets that, though not at once.
    (Facts 2; users 7.5; Nova's pci_placement_translator.py and libvirt
    driver.)

    :param proven: fill in only what is proven
    """
    providers = tuple(providers)
    counting = {
        name
        for provider in providers
        for name, resource in provider.resources.items()
        if _most_seen(resource) > 1
    }
    settled = []
    for provider in providers:
        stocks = _proven(provider)
        if not proven:
            stocks = _likely(provider, counting) | stocks
        settled.append(stocked(provider, stocks) if stocks else provider)
    return tuple(settled)


def _most_seen(resource: placement.Resource) -> int:
    return max(resource.capacity, resource.used, resource.total or 0)


def _proven(provider: placement.Provider) -> dict[str, placement.Stock]:
    if _ONE_TIME_USE not in provider.traits or not placement.is_pci_device(
        provider.name
    ):
        return {}
    return {
        name: placement.Stock(total=1, reserved=1 - resource.capacity)
        for name, resource in provider.resources.items()
        if _most_seen(resource) <= 1
    }


def _likely(
    provider: placement.Provider, counting: Collection[str]
) -> dict[str, placement.Stock]:
    pci = placement.is_pci_device(provider.name)
    mdev = not pci and placement.is_mdev_device(provider.name)
    return {
        name: placement.Stock(total=resource.capacity, reserved=0)
        for name, resource in provider.resources.items()
        if (mdev and resource.capacity > 0)
        or (pci and resource.capacity == 1 and name not in counting)
    }


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
    model = functools.cache(resource_classes.model)
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
                model=model(resource_class),
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


def read(
    conn: connection.Connection,
    *,
    host: str | None = None,
    classes: Collection[str] = (),
    free: bool = False,
    details: bool = False,
    at_once: int = side_by_side.DEFAULT,
) -> tuple[GpuInventory, ...]:
    """Read the GPUs of the whole cloud, or of one host.

    Two requests; a bounded number more for hosts without any free memory, for
    roots without children, and for devices that are reserved or count VFs.
    For one host, one for each provider besides, for its Total and Reserved,
    as ``find`` has them. With details, one for each that is in use, one for
    each that is reserved or counts VFs, and one (paged) for the servers'
    names.

    :param host: name of the host's root provider
    :param classes: only these resource classes, GPU or not
    :param free: only what has a unit left
    :param details: read traits and servers, too
    :param at_once: requests under way at a time, where they are many
    :raises osc_lib.exceptions.CommandError: no such host
    """
    names = placement.read_names(conn)
    root_uuid = (
        None if host is None else provider_names.host_named(names, host).uuid
    )
    providers = placement.read_trees(
        conn,
        names,
        root_uuid=root_uuid,
        with_traits=details,
        classes=classes,
        at_once=at_once,
    )
    exact = host is not None
    providers = settle(select(providers, classes), proven=exact)
    providers = select(providers, classes, free=free)
    bound = None if exact or details else placement.MOST_ASKED
    providers = _ask_totals(conn, providers, bound, at_once)
    held = _read_holders(conn, providers, at_once) if details else {}
    servers = _read_server_names(conn) if any(held.values()) else {}
    return join(providers, names, held, servers)


def find(
    conn: connection.Connection,
    name_or_id: str,
    *,
    classes: Collection[str] = (),
) -> GpuInventory:
    """Read the GPU class of one provider, with traits and servers.

    Four requests, and two for its servers if it is in use.

    :param name_or_id: as provider_names.provider_named takes it
    :param classes: only these resource classes, GPU or not
    :raises osc_lib.exceptions.CommandError: no such provider or class, no
        GPU, or several of these
    """
    names = placement.read_names(conn)
    meant = provider_names.provider_named(names, name_or_id)
    provider = placement.read_provider(conn, meant)
    providers = select([provider] if provider else [], classes)
    found = [name for shown in providers for name in shown.resources]
    chosen = provider_names.class_meant(name_or_id, found, classes)
    providers = select(providers, [chosen])
    held = _read_holders(conn, providers, 1)
    servers = _read_server_names(conn) if any(held.values()) else {}
    (gpu,) = join(providers, names, held, servers)
    return gpu


def _ask_totals(
    conn: connection.Connection,
    providers: Collection[placement.Provider],
    most: int | None,
    at_once: int,
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
    asked = [provider.uuid for provider in unknown[:most]]
    found = side_by_side.each(
        lambda uuid: placement.read_inventories(conn, uuid), asked, at_once
    )
    stocks = dict(zip(asked, found, strict=True))
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
    return tuple(
        stocked(p, stocks[p.uuid]) if p.uuid in stocks else p
        for p in providers
    )


def _read_holders(
    conn: connection.Connection,
    providers: Iterable[placement.Provider],
    at_once: int,
) -> dict[str, Mapping[str, Mapping[str, int]]]:
    """Read who holds something of the providers that are in use."""
    used = [
        provider.uuid
        for provider in providers
        if any(resource.used for resource in provider.resources.values())
    ]
    held = side_by_side.each(
        lambda uuid: placement.read_consumers(conn, uuid), used, at_once
    )
    return dict(zip(used, held, strict=True))


def _read_server_names(conn: connection.Connection) -> Mapping[str, str]:
    """Read the names of all projects' servers, in one paged request."""
    return {
        server.id: server.name
        for server in conn.compute.servers(details=False, all_projects=True)
        if server.name
    }
