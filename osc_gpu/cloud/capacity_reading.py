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

"""Reading what capacity is judged by, in few requests."""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
from typing import NamedTuple

from openstack import connection
from openstack import exceptions

from osc_gpu.cloud import alias_classes
from osc_gpu.cloud import aliases
from osc_gpu.cloud import capacity
from osc_gpu.cloud import capacity_hosts
from osc_gpu.cloud import errors
from osc_gpu.cloud import flavors
from osc_gpu.cloud import host_aggregates
from osc_gpu.cloud import hypervisors
from osc_gpu.cloud import placement
from osc_gpu.cloud import provider_names
from osc_gpu.cloud import resource_request
from osc_gpu.cloud import rest
from osc_gpu.cloud import side_by_side

_Amount = tuple[str, int]
_Uuids = frozenset[str]

#: Nova sets it on the root provider of a host (nova/compute/manager.py).
_DISABLED = 'COMPUTE_STATUS_DISABLED'

#: From here on providers can be asked for by what they have free, and their
#: list has few links yet.
_HAVING = '1.4'


def read(
    conn: connection.Connection,
    found: Collection[flavors.Flavor],
    also: Collection[str] = (),
    at_once: int = side_by_side.DEFAULT,
    host: str | None = None,
    others: Iterable[flavors.Flavor] = (),
) -> capacity_hosts.Cloud:
    """Read all hosts, and what is needed to judge these flavors.

    Three requests (placement.read_trees names the few more), one for each
    class and amount that the flavors ask one provider for, those of
    alias_classes.read, and one for aggregates if a flavor asks for any.

    :param also: resource classes that the user says are GPUs too
    :param host: a host that there has to be
    :param others: flavors that aliases may be learned from, too
    :raises osc_lib.exceptions.CommandError: there is no such host
    """
    requests = [resource_request.read(flavor, also) for flavor in found]
    names = placement.read_names(conn)
    if host is not None:
        provider_names.host_named(names, host)
    learned = alias_classes.read(
        conn, alias_classes.with_alias(found, others), names, at_once
    )
    classes = {name for request in requests for name in request.gpu_classes}
    providers = _read_providers(conn, names, classes.union(also), at_once)
    hosts = gather(
        names,
        providers,
        hypervisors.read(conn),
        _read_metadata(conn, requests),
    )
    cloud = capacity_hosts.Cloud(hosts, alias_classes=learned)
    return with_refusals(conn, cloud, names, requests, at_once)


def with_refusals(
    conn: connection.Connection,
    cloud: capacity_hosts.Cloud,
    names: Mapping[str, placement.Provider],
    requests: Iterable[resource_request.Request],
    at_once: int = side_by_side.DEFAULT,
) -> capacity_hosts.Cloud:
    """Read what providers refuse to give, and who was not read but gives.

    One request for each class and amount that is asked of one provider.

    :param names: every provider by UUID
    """
    providers = [p for host in cloud.hosts for p in host.providers]
    unread = _unread_roots(names, cloud.hosts)
    amounts = sorted({item for r in requests for item in r.amounts})
    giving = _read_giving(
        conn,
        [a for a in amounts if unread or _able(providers, *a)],
        at_once,
    )
    return dataclasses.replace(
        cloud,
        refused=_filled(
            {a: _able(providers, *a) - uuids for a, uuids in giving.items()}
        ),
        unread=_filled({a: unread & uuids for a, uuids in giving.items()}),
    )


def _filled(found: Mapping[_Amount, _Uuids]) -> Mapping[_Amount, _Uuids]:
    return {amount: uuids for amount, uuids in found.items() if uuids}


def _unread_roots(
    names: Mapping[str, placement.Provider],
    hosts: Iterable[capacity_hosts.Host],
) -> _Uuids:
    """Return the roots with children that placement.read_trees left out."""
    roots = {p.root_uuid for p in names.values() if p.parent_uuid is not None}
    return frozenset(roots - {host.root_uuid for host in hosts})


def _able(
    providers: Iterable[placement.Provider], resource_class: str, amount: int
) -> _Uuids:
    """Return the providers that have so much free."""
    return frozenset(
        provider.uuid
        for provider in providers
        if resource_class in provider.resources
        and provider.resources[resource_class].free >= amount
    )


def _read_providers(
    conn: connection.Connection,
    names: Mapping[str, placement.Provider],
    classes: Collection[str],
    at_once: int,
) -> tuple[placement.Provider, ...]:
    # Bare-metal nodes serve no alias: one class is enough to have done then.
    found = placement.read_trees(
        conn,
        names,
        with_traits=True,
        classes=sorted(classes) or ['VGPU'],
        at_once=at_once,
    )
    return (*found, *_read_roots(conn, names, found, at_once))


def _read_roots(
    conn: connection.Connection,
    names: Mapping[str, placement.Provider],
    providers: Iterable[placement.Provider],
    at_once: int,
) -> tuple[placement.Provider, ...]:
    """Read the roots of hosts that have no memory, VCPU or disk left."""
    providers = tuple(providers)
    missing = {p.root_uuid for p in providers} - {p.uuid for p in providers}
    found = side_by_side.each(
        lambda uuid: placement.read_provider(conn, names[uuid]),
        sorted(missing & names.keys())[: placement.MOST_ASKED],
        at_once,
    )
    return tuple(provider for provider in found if provider)


def _read_metadata(
    conn: connection.Connection,
    requests: Iterable[resource_request.Request],
) -> Mapping[str, Mapping[str, frozenset[str]]]:
    """Read the metadata of aggregates by compute service, if it matters."""
    if not any(request.aggregates for request in requests):
        return {}
    return host_aggregates.values(host_aggregates.read(conn))


def _read_giving(
    conn: connection.Connection, amounts: Iterable[_Amount], at_once: int
) -> Mapping[_Amount, _Uuids]:
    """Read which providers give each amount to one server now.

    min_unit, max_unit and step_size count. Unlike allocation candidates, this
    list of Placement's is never cut short.
    """

    def ask(amount: _Amount) -> tuple[_Amount, _Uuids]:
        query = {'resources': f'{amount[0]}:{amount[1]}'}
        try:
            found = rest.get(
                conn.placement, '/resource_providers', _HAVING, query
            )
        except exceptions.BadRequestException:
            # So Placement answers to a class that it does not know.
            return amount, frozenset()
        return amount, frozenset(
            p['uuid'] for p in found['resource_providers']
        )

    return dict(side_by_side.each(ask, amounts, at_once))


def gather(
    names: Mapping[str, placement.Provider],
    providers: Iterable[placement.Provider],
    computes: Mapping[str, hypervisors.Hypervisor],
    metadata: Mapping[str, Mapping[str, frozenset[str]]] | None = None,
) -> tuple[capacity_hosts.Host, ...]:
    """Put the providers of each host together, by its name.

    :param names: every provider by UUID
    :param computes: hypervisors by the UUID of their root provider
    :param metadata: that of aggregates, by compute service
    """
    trees: dict[str, list[placement.Provider]] = {}
    for provider in providers:
        trees.setdefault(provider.root_uuid, []).append(provider)
    hosts = []
    for root_uuid, tree in trees.items():
        compute = computes.get(root_uuid)
        root = next((p for p in tree if p.uuid == root_uuid), None)
        hosts.append(
            capacity_hosts.Host(
                names[root_uuid].name if root_uuid in names else root_uuid,
                root_uuid,
                tuple(tree),
                _closed(compute, root),
                (metadata or {}).get(compute.host, {}) if compute else {},
                compute.numa_nodes if compute else 0,
            )
        )
    return tuple(sorted(hosts, key=lambda host: host.name))


def _closed(
    compute: hypervisors.Hypervisor | None, root: placement.Provider | None
) -> tuple[str, ...]:
    if compute is None:
        return (capacity_hosts.NOT_IN_NOVA,)
    found = []
    if not compute.is_up:
        found.append(capacity_hosts.DOWN)
    if not compute.is_enabled or (root and _DISABLED in root.traits):
        found.append(capacity_hosts.DISABLED)
    return tuple(found)


def with_totals(
    conn: connection.Connection,
    cloud: capacity_hosts.Cloud,
    classes: Collection[str],
    at_once: int = side_by_side.DEFAULT,
) -> capacity_hosts.Cloud:
    """Read what is reserved of some classes, on ``MOST_ASKED`` providers.

    One request for each, those with the least capacity first.
    """
    asked = [
        provider
        for host in cloud.hosts
        for provider in host.providers
        if any(
            held.total is None
            for name, held in provider.resources.items()
            if name in classes
        )
    ]
    asked.sort(
        key=lambda p: min(
            held.capacity for n, held in p.resources.items() if n in classes
        )
    )
    asked = asked[: placement.MOST_ASKED]
    stocks = side_by_side.each(
        lambda p: placement.read_inventories(conn, p.uuid), asked, at_once
    )
    known = {
        provider.uuid: _stocked(provider, held)
        for provider, held in zip(asked, stocks, strict=True)
    }
    return dataclasses.replace(
        cloud,
        hosts=tuple(
            dataclasses.replace(
                host,
                providers=tuple(known.get(p.uuid, p) for p in host.providers),
            )
            for host in cloud.hosts
        ),
    )


def _stocked(
    provider: placement.Provider, stocks: Mapping[str, placement.Stock]
) -> placement.Provider:
    return dataclasses.replace(
        provider,
        resources={
            name: held._replace(
                total=stocks[name].total, reserved=stocks[name].reserved
            )
            if name in stocks
            else held
            for name, held in provider.resources.items()
        },
    )


class Survey(NamedTuple):
    """What was read, and the verdicts on each flavor, in their order."""

    cloud: capacity_hosts.Cloud
    verdicts: list[capacity.Verdict]


def survey(
    conn: connection.Connection,
    found: Collection[flavors.Flavor],
    *,
    also: Collection[str] = (),
    given: Mapping[str, str] | None = None,
    at_once: int = side_by_side.DEFAULT,
    host: str | None = None,
    others: Iterable[flavors.Flavor] = (),
) -> Survey:
    """Read the cloud, judge flavors, and probe aliases that are doubtful.

    As many requests as ``read`` and ``_probed`` take.

    :param also: resource classes that the user says are GPUs too
    :param given: resource classes by alias, as the user gave them
    :param host: judge only this host
    :param others: flavors that aliases may be learned from, too
    :raises osc_lib.exceptions.CommandError: there is no such host, or no host
        has one of these classes
    """

    def judge(cloud: capacity_hosts.Cloud) -> list[capacity.Verdict]:
        return [
            capacity.judge(
                cloud, resource_request.read(flavor, also), given, host=host
            )
            for flavor in found
        ]

    cloud = read(conn, found, also, at_once, host, others)
    capacity_hosts.require_classes(cloud, (*also, *(given or {}).values()))
    probed = _probed(conn, cloud, found, judge(cloud), at_once)
    return Survey(probed, judge(probed))


def _probed(
    conn: connection.Connection,
    cloud: capacity_hosts.Cloud,
    found: Collection[flavors.Flavor],
    verdicts: Collection[capacity.Verdict],
    at_once: int = side_by_side.DEFAULT,
) -> capacity_hosts.Cloud:
    """Find out whether Nova knows aliases that nothing is proof of.

    Those with a class that was not learned, and those of flavors of which no
    server fits. As many requests as aliases.probe_all takes; none if there
    are no such aliases.
    """
    names = sorted(
        {
            name
            for verdict in verdicts
            for name, _n in verdict.request.aliases
            if not verdict.fits or name not in cloud.alias_classes
        }
    )
    if not names:
        return cloud
    try:
        results = aliases.probe_all(conn, found, names, at_once)
    except errors.REFUSALS as exc:
        why = errors.explain(exc, conn)
        return dataclasses.replace(cloud, unproven=dict.fromkeys(names, why))
    return dataclasses.replace(
        cloud,
        undefined=frozenset(
            name for name, told in results.items() if told.defined is False
        ),
        unproven={
            name: told.why
            for name, told in results.items()
            if told.defined is None
        },
    )
