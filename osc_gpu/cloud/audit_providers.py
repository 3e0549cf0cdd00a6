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

"""What is wrong with hosts, their devices, and classes of these."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping

from osc_gpu.cloud import audit_model
from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import hypervisors
from osc_gpu.cloud import placement
from osc_gpu.cloud import servers
from osc_gpu import findings
from osc_gpu.i18n import _

_ONE_TIME_USE = 'HW_PCI_ONE_TIME_USE'

#: Traits that Nova gives, or that say what a device does, not which it is.
_OF_NOVA = ('COMPUTE_', 'OWNER_', 'HW_PCI_')


def judge(snapshot: audit_model.Snapshot) -> Iterator[audit_model.Problem]:
    """Judge hosts, devices, aggregates and classes."""
    gpus = _gpus(snapshot)
    yield from _reserved(snapshot)
    yield from _without_inventory(snapshot)
    yield from _out_of_order(snapshot, gpus)
    yield from _unknown_hosts(snapshot)
    yield from _aggregates(snapshot, gpus)
    yield from _unused_classes(snapshot, gpus)
    yield from _uncountable(snapshot)


_Gpus = Mapping[str, list[tuple[placement.Provider, str]]]


def _gpus(snapshot: audit_model.Snapshot) -> _Gpus:
    """Return the providers of Nova's hosts and their GPU classes, by root."""
    found: dict[str, list[tuple[placement.Provider, str]]] = {}
    for provider in snapshot.providers.values():
        for name in provider.resources:
            if name in snapshot.gpu_classes and snapshot.is_judged(
                provider.uuid, name
            ):
                found.setdefault(provider.root_uuid, []).append(
                    (provider, name)
                )
    return found


# Devices.


def _reserved(
    snapshot: audit_model.Snapshot,
) -> Iterator[audit_model.Problem]:
    """Find devices that are reserved as a whole (facts 2; users 7.5)."""
    for uuid, stocks in sorted(snapshot.stocks.items()):
        provider = snapshot.providers[uuid]
        for name, stock in sorted(stocks.items()):
            if name not in snapshot.gpu_classes or not (
                0 < stock.total <= stock.reserved
            ):
                continue
            used = provider.resources[name].used
            if _ONE_TIME_USE not in provider.traits:
                yield _about_device(
                    snapshot,
                    provider,
                    name,
                    stock.reserved,
                    findings.INFO,
                    audit_model.RESERVED,
                    _("All %(n)d of %(name)s are reserved, %(used)d in use")
                    % {'n': stock.total, 'name': name, 'used': used},
                    _("release"),
                )
            elif not used:
                yield _about_device(
                    snapshot,
                    provider,
                    name,
                    stock.reserved,
                    findings.WARNING,
                    audit_model.ONE_TIME_USE,
                    _("%s was used once and waits to be cleaned") % name,
                    _("release, once it is clean"),
                )


def _without_inventory(
    snapshot: audit_model.Snapshot,
) -> Iterator[audit_model.Problem]:
    for uuid, provider in snapshot.names.items():
        read = snapshot.providers.get(uuid, provider)
        if (
            provider.parent_uuid is not None
            and provider.root_uuid in snapshot.hypervisors
            and provider.root_uuid in snapshot.providers
            and not read.resources
            and _is_device(provider)
        ):
            yield _about_device(
                snapshot,
                provider,
                '',
                0,
                findings.WARNING,
                audit_model.NO_INVENTORY,
                _("Device without any inventory: nothing can be had of it"),
                _("See the log of nova-compute on %s")
                % snapshot.host(provider.uuid),
            )


def _is_device(provider: placement.Provider) -> bool:
    return placement.is_pci_device(provider.name) or placement.is_mdev_device(
        provider.name
    )


def _about_device(
    snapshot: audit_model.Snapshot,
    provider: placement.Provider,
    resource_class: str,
    amount: int,
    *finding: str,
) -> audit_model.Problem:
    severity, check, detail, repair = finding
    return audit_model.Problem(
        severity,
        check,
        provider.name,
        detail,
        repair,
        provider_ids=(provider.uuid,),
        classes=(resource_class,) if resource_class else (),
        amount=amount,
        hosts=(snapshot.host(provider.uuid),),
    )


# Hosts.


def _out_of_order(
    snapshot: audit_model.Snapshot, gpus: _Gpus
) -> Iterator[audit_model.Problem]:
    """Find GPUs on hosts that are down or disabled."""
    for root, found in sorted(gpus.items()):
        host = snapshot.hypervisors[root]
        if host.is_up and host.is_enabled:
            continue
        resources = [provider.resources[name] for provider, name in found]
        stocks = [
            snapshot.stocks.get(provider.uuid, {}).get(name)
            for provider, name in found
        ]
        number = sum(
            stock.total if stock else max(resource.capacity, resource.used)
            for stock, resource in zip(stocks, resources, strict=True)
        )
        used = sum(resource.used for resource in resources)
        check, detail = _state(host, number, used)
        yield audit_model.Problem(
            findings.WARNING,
            check,
            host.name,
            detail,
            provider_ids=tuple(sorted({p.uuid for p, _n in found})),
            classes=tuple(sorted({name for _p, name in found})),
            amount=number,
            hosts=(host.name,),
        )


def _state(
    host: hypervisors.Hypervisor, number: int, used: int
) -> tuple[str, str]:
    counts = {'n': number, 'used': used}
    if not host.is_up:
        detail = _("%(n)d GPUs, %(used)d in use, on a host that is down")
        return audit_model.HOST_DOWN, detail % counts
    detail = _("%(n)d GPUs, %(used)d in use, on a host that is disabled")
    if host.disabled_reason:
        detail += ': ' + host.disabled_reason.replace('%', '%%')
    return audit_model.HOST_DISABLED, detail % counts


def _unknown_hosts(
    snapshot: audit_model.Snapshot,
) -> Iterator[audit_model.Problem]:
    """Find devices of hosts that Nova does not know.

    Left behind, or another region's, or of a cell that does not answer.
    """
    found: dict[str, list[str]] = {}
    for provider in snapshot.providers.values():
        if (
            provider.parent_uuid is not None
            and provider.root_uuid in snapshot.names
            and provider.root_uuid not in snapshot.hypervisors
            and _is_device(provider)
            and any(c in snapshot.gpu_classes for c in provider.resources)
        ):
            found.setdefault(provider.root_uuid, []).append(provider.uuid)
    for root, uuids in sorted(found.items()):
        name = snapshot.names[root].name
        yield audit_model.Problem(
            findings.INFO,
            audit_model.UNKNOWN_HOST,
            name,
            _(
                "%d devices of a host that this Nova does not know: another "
                "region's, or left behind"
            )
            % len(uuids),
            provider_ids=tuple(sorted(uuids)),
            classes=tuple(
                sorted(
                    {
                        c
                        for uuid in uuids
                        for c in snapshot.providers[uuid].resources
                    }
                )
            ),
            hosts=(name,),
        )


def _uncountable(
    snapshot: audit_model.Snapshot,
) -> Iterator[audit_model.Problem]:
    """Count the aliases on hosts whose PCI devices Placement lacks."""
    found: dict[str, list[servers.GpuServer]] = {}
    for server in snapshot.servers.values():
        roots = snapshot.roots_of.get(server.host, frozenset())
        if (
            roots
            and server.gpu_request.aliases
            and roots.isdisjoint(snapshot.pci_roots)
        ):
            found.setdefault(server.host, []).append(server)
    for alike in found.values():
        number = sum(n for s in alike for _name, n in s.gpu_request.aliases)
        hosts = snapshot.hosts(alike[0])
        yield audit_model.Problem(
            findings.INFO,
            audit_model.UNCOUNTABLE,
            ', '.join(hosts),
            _(
                "%(servers)d servers with %(n)d GPUs by alias, of which "
                "Placement knows nothing: they cannot be counted or checked"
            )
            % {'servers': len(alike), 'n': number},
            _("Set [pci]report_in_placement on the host"),
            amount=number,
            hosts=hosts,
        )


# Aggregates.


def _aggregates(
    snapshot: audit_model.Snapshot, gpus: _Gpus
) -> Iterator[audit_model.Problem]:
    """Find aggregates, other than zones, whose hosts' GPUs disagree."""
    for aggregate in snapshot.aggregates:
        roots = [
            root
            for host in aggregate.hosts
            for root in snapshot.roots_of.get(host, ())
            if root in gpus
        ]
        differences = (
            '' if aggregate.is_zone else _differences(snapshot, gpus, roots)
        )
        if differences:
            yield audit_model.Problem(
                findings.WARNING,
                audit_model.AGGREGATE,
                aggregate.name,
                _("GPUs of its hosts differ: %s") % differences,
                provider_ids=tuple(
                    sorted({p.uuid for root in roots for p, _n in gpus[root]})
                ),
                classes=tuple(
                    sorted({n for root in roots for _p, n in gpus[root]})
                ),
                hosts=tuple(sorted(snapshot.host(root) for root in roots)),
            )


def _differences(
    snapshot: audit_model.Snapshot, gpus: _Gpus, roots: Iterable[str]
) -> str:
    """Say how the GPUs of hosts differ: by class, or traits of one class."""
    classes: dict[str, set[str]] = {}
    traits: dict[str, dict[str, set[str]]] = {}
    for root in roots:
        host = snapshot.host(root)
        key = ' + '.join(sorted({name for _p, name in gpus[root]}))
        classes.setdefault(key, set()).add(host)
        for provider, name in gpus[root]:
            own = (t for t in provider.traits if not t.startswith(_OF_NOVA))
            key = ' + '.join(sorted(own)) or _("no traits")
            traits.setdefault(name, {}).setdefault(key, set()).add(host)
    if len(classes) > 1:
        return _grouped(classes)
    return '; '.join(
        f'{name}: {_grouped(found)}'
        for name, found in sorted(traits.items())
        if len(found) > 1
    )


def _grouped(found: Mapping[str, Iterable[str]]) -> str:
    return '; '.join(
        _("%(what)s on %(hosts)s")
        % {'what': what, 'hosts': ', '.join(sorted(hosts))}
        for what, hosts in sorted(found.items())
    )


# Classes.


def _unused_classes(
    snapshot: audit_model.Snapshot, gpus: _Gpus
) -> Iterator[audit_model.Problem]:
    """Find GPU classes that no flavor asks for.

    Nothing is said of passed-through devices while the class of any alias is
    not known: it may be this one.
    """
    requests = [
        extra_specs.parse(flavor.extra_specs, snapshot.gpu_classes)
        for flavor in snapshot.flavors
    ]
    asked = {name for request in requests for name, _n in request.classes}
    aliases = {name for request in requests for name, _n in request.aliases}
    known = snapshot.alias_classes
    asked.update(*(known.get(alias, ()) for alias in aliases))
    providers: dict[str, list[placement.Provider]] = {}
    for found in gpus.values():
        for provider, name in found:
            providers.setdefault(name, []).append(provider)
    for name, holders in sorted(providers.items()):
        is_pci = any(snapshot.is_pci(provider.uuid) for provider in holders)
        if name in asked or (is_pci and not aliases <= known.keys()):
            continue
        yield audit_model.Problem(
            findings.INFO,
            audit_model.UNUSED_CLASS,
            name,
            _("%d providers have it, and no flavor asks for it")
            % len(holders),
            _("openstack gpu flavor create"),
            provider_ids=tuple(sorted(p.uuid for p in holders)),
            classes=(name,),
            hosts=tuple(sorted({snapshot.host(p.uuid) for p in holders})),
        )
