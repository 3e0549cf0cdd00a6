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

"""Why no host was valid: what Placement has free of what was requested.

Only what is certain is said. A host gets no server whose compute service is
disabled, or that has no memory left; what class a PCI alias stands for is in
no API (users 7.2).
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import NamedTuple

from openstack import connection

from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import placement
from osc_gpu.cloud import resource_classes
from osc_gpu.i18n import _

#: Nova sets it on the root provider of a host (nova/compute/manager.py).
_DISABLED = 'COMPUTE_STATUS_DISABLED'


class Need(NamedTuple):
    """An amount of a GPU class that one provider has to give.

    :param own: the traits are those of the provider, not of its whole tree
    """

    resource_class: str
    amount: int
    required: frozenset[str] = frozenset()
    forbidden: frozenset[str] = frozenset()
    own: bool = False


@dataclasses.dataclass(frozen=True)
class Host:
    """A tree of providers: a compute node, or a bare-metal one.

    :param closed: why it gets no server at all; '' if it may get one
    :param has_traits: the traits of its providers were read
    """

    name: str
    closed: str
    has_traits: bool
    providers: tuple[placement.Provider, ...]

    @property
    def traits(self) -> frozenset[str]:
        """The traits that are anywhere in the tree."""
        return frozenset(t for p in self.providers for t in p.traits)

    @property
    def devices(self) -> tuple[placement.Provider, ...]:
        """The PCI devices, those with mdevs among them."""
        return tuple(
            provider
            for provider in self.providers
            if placement.device_of(provider.name, self.name) != provider.name
        )

    def free(self, needs: Collection[Need]) -> list[int]:
        """Return what each provider that suits one of the needs has free.

        :param needs: of one resource class
        """
        return [
            provider.resources[need.resource_class].free
            for provider in self.providers
            for need in [n for n in needs if self._suits(provider, n)][:1]
        ]

    def _suits(self, provider: placement.Provider, need: Need) -> bool:
        if need.resource_class not in provider.resources:
            return False
        own = frozenset(provider.traits)
        return not self.has_traits or (
            need.required <= (own if need.own else self.traits)
            and not need.forbidden & own
        )


def diagnose(
    conn: connection.Connection,
    specs: Mapping[str, str],
    also: Collection[str] = (),
) -> str:
    """Say what Placement has free of what a flavor's extra specs request.

    As many requests as reading all trees takes (placement.read_trees).

    :param also: resource classes that the user says are GPUs too
    """
    classes = {need.resource_class for need in read_needs(specs, also)}
    names = placement.read_names(conn)
    # Bare-metal nodes serve no alias: one class is enough to have done then.
    providers = placement.read_trees(
        conn, names, classes=sorted(classes) or ['VGPU']
    )
    hosts = gather(names, providers)
    is_whole = {p.root_uuid for p in names.values()} <= {
        p.root_uuid for p in providers
    }
    return explain(hosts, specs, also, is_whole=is_whole)


def gather(
    names: Mapping[str, placement.Provider],
    providers: Iterable[placement.Provider],
) -> tuple[Host, ...]:
    """Put the providers of each host together."""
    trees: dict[str, list[placement.Provider]] = {}
    for provider in providers:
        trees.setdefault(provider.root_uuid, []).append(provider)
    hosts = []
    for root_uuid, tree in trees.items():
        # Without a unit of memory, VCPU and disk left the root is not among
        # them, and the others were asked one by one, without their traits.
        root = next((p for p in tree if p.uuid == root_uuid), None)
        memory = root.resources.get('MEMORY_MB') if root else None
        if root and _DISABLED in root.traits:
            closed = _("disabled")
        elif root is None or (memory and not memory.free):
            closed = _("no memory free")
        else:
            closed = ''
        name = names[root_uuid].name if root_uuid in names else root_uuid
        hosts.append(Host(name, closed, root is not None, tuple(tree)))
    return tuple(sorted(hosts, key=lambda host: host.name))


def read_needs(
    specs: Mapping[str, str], also: Collection[str] = ()
) -> tuple[Need, ...]:
    """Read the GPU classes that extra specs request, each with its traits."""
    needs = []
    for slot in extra_specs.gpu_slots(specs, also):
        key = slot.key(extra_specs.RESOURCES)
        amount = extra_specs.parse({key: specs[key]}, also).count
        if amount:
            needs.append(
                Need(
                    slot.name,
                    amount,
                    _traits(specs, slot.group, 'required'),
                    _traits(specs, slot.group, 'forbidden'),
                    own=bool(slot.group),
                )
            )
    return tuple(needs)


def _traits(
    specs: Mapping[str, str], group: str, value: str
) -> frozenset[str]:
    return frozenset(
        trait.name
        for trait in extra_specs.grouped(extra_specs.TRAIT, specs)
        if trait.group == group
        and specs[trait.key(extra_specs.TRAIT)] == value
    )


def explain(
    hosts: Collection[Host],
    specs: Mapping[str, str],
    also: Collection[str] = (),
    *,
    is_whole: bool = True,
) -> str:
    """Say what hosts have free of what extra specs request.

    Nothing is said of an alias when no PCI device is in Placement, as they
    need not be.

    :param is_whole: these are all hosts, so that a trait that none of them
        has is nowhere
    """
    by_class: dict[str, list[Need]] = {}
    for need in read_needs(specs, also):
        by_class.setdefault(need.resource_class, []).append(need)
    missing = _missing(hosts, specs, by_class) if is_whole else ''
    if missing:
        return missing
    lacking = [
        _lacking(hosts, needs)
        for needs in by_class.values()
        if not any(_fits(host, needs) for host in hosts)
    ]
    if lacking:
        return ' '.join(lacking)
    fitting = [
        host
        for host in hosts
        if all(_fits(host, needs) for needs in by_class.values())
    ]
    if not fitting and by_class:
        return _("By Placement no host has all of these free: %s.") % (
            ', '.join(by_class)
        )
    aliases = extra_specs.parse(specs, also).aliases
    free = _free_devices(hosts, by_class) if aliases else {}
    said = [_fitting(fitting[0], by_class)] if by_class else []
    if free:
        said.append(_listed(hosts, free))
    if said and not _is_short(aliases, free):
        said.append(_elsewhere(not aliases and _is_certain(by_class)))
    return ' '.join(said)


def _missing(
    hosts: Collection[Host],
    specs: Mapping[str, str],
    by_class: Mapping[str, Sequence[Need]],
) -> str:
    """Name the required traits that nothing has which could serve."""
    said = []
    for name, needs in by_class.items():
        missing = {t for need in needs for t in _missing_for(need, hosts)}
        if missing:
            said.append(_("no %s has") % name + _trait_names(missing))
    if all(need.own for needs in by_class.values() for need in needs):
        # Nova asks the ungrouped ones of what gives VCPUs, RAM and disk.
        there = {
            trait
            for host in hosts
            for provider in host.providers
            if provider not in host.devices
            for trait in provider.traits
        }
        left = _traits(specs, '', 'required') - there
        if left and all(host.has_traits for host in hosts):
            said.append(_("no host itself has") + _trait_names(left))
    return _("By Placement %s.") % _(", and ").join(said) if said else ''


def _missing_for(need: Need, hosts: Iterable[Host]) -> frozenset[str]:
    plain = need._replace(required=frozenset())
    having = [host for host in hosts if host.free([plain])]
    if not having or not all(host.has_traits for host in having):
        return frozenset()
    return frozenset(
        trait
        for trait in need.required
        if not any(
            host.free([plain._replace(required=frozenset([trait]))])
            for host in having
        )
    )


def _trait_names(traits: Iterable[str]) -> str:
    return _(" the required trait %s") % ', '.join(sorted(traits))


def _fits(host: Host, needs: Sequence[Need]) -> bool:
    free = host.free(needs)
    return (
        not host.closed
        and sum(free) >= sum(need.amount for need in needs)
        and max(free) >= max(need.amount for need in needs)
    )


def _lacking(hosts: Iterable[Host], needs: Sequence[Need]) -> str:
    """Say how much is free of a class of which no host has enough."""
    name = needs[0].resource_class
    if any(need.required or need.forbidden for need in needs):
        name = _("%s of the right traits") % name
    total = sum(need.amount for need in needs)
    largest = max(need.amount for need in needs)
    free = [(host, host.free(needs)) for host in hosts]
    open_ = [units for host, units in free if not host.closed]
    most = max((sum(units) for units in open_), default=0)
    if most < total:
        text = _("By Placement no host has %(total)d free %(name)s, the most "
                 "is %(most)d")  # fmt: skip
    elif total == largest:
        most = max(max(units) for units in open_ if units)
        text = _("By Placement no single device has %(total)d free %(name)s, "
                 "the most is %(most)d")  # fmt: skip
    else:
        text = _("By Placement no host has %(total)d free %(name)s, "
                 "%(largest)d of them on one device")  # fmt: skip
    text %= {'total': total, 'name': name, 'most': most, 'largest': largest}
    closed = [(host, sum(units)) for host, units in free if host.closed]
    return f'{text}.{_closed(closed)}'


def _closed(found: Iterable[tuple[Host, int]]) -> str:
    """Say what is free on hosts that get no server."""
    named = [
        f'{units} on {host.name} ({host.closed})'
        for host, units in found
        if units
    ]
    return _(" Not counted: %s.") % ', '.join(named) if named else ''


def _fitting(host: Host, by_class: Mapping[str, Sequence[Need]]) -> str:
    amounts = []
    for name, needs in by_class.items():
        free = host.free(needs)
        text = f'{sum(free)} free {name}'
        if sum(free) > max(free):
            text = _("%(text)s (at most %(most)d on one device)") % {
                'text': text,
                'most': max(free),
            }
        amounts.append(text)
    return _("By Placement host %(host)s has %(amounts)s.") % {
        'host': host.name,
        'amounts': _(" and ").join(amounts),
    }


def _free_devices(
    hosts: Iterable[Host], by_class: Collection[str]
) -> dict[str, int]:
    """Return how much of what an alias may stand for one host has free."""
    most: dict[str, int] = {}
    for host in hosts:
        here: dict[str, int] = {}
        for name, units in _alias_devices(host):
            if name not in by_class:
                here[name] = here.get(name, 0) + units * (not host.closed)
        for name, units in here.items():
            most[name] = max(most.get(name, 0), units)
    return most


def _alias_devices(host: Host) -> list[tuple[str, int]]:
    """Return the classes, and free units, of what is passed through.

    Devices with mdevs are not, nor are network cards and the like that the
    operator gave no class of their own.
    """
    return [
        (name, resource.free)
        for provider in host.devices
        if not placement.is_mdev_device(provider.name)
        for name, resource in provider.resources.items()
        if resource_classes.is_gpu_class(name)
        or not resource_classes.pci_ids(name)
    ]


def _listed(hosts: Iterable[Host], free: Mapping[str, int]) -> str:
    text = _("Free on one host, at most, by Placement: %s.") % ', '.join(
        f'{name} {units}' for name, units in sorted(free.items())
    )
    closed = [
        (host, sum(u for name, u in _alias_devices(host) if name in free))
        for host in hosts
        if host.closed
    ]
    return text + _closed(closed)


def _is_short(
    aliases: Collection[tuple[str, int]], free: Mapping[str, int]
) -> bool:
    """Say whether of no class enough is free for some alias."""
    return bool(free) and max(free.values()) < max(n for _a, n in aliases)


def _is_certain(by_class: Mapping[str, Sequence[Need]]) -> bool:
    """Say whether a host that fits surely has enough.

    How several needs share devices is not looked into, nor which providers
    Placement would ask for the traits of an ungrouped one.
    """
    needs = [need for needs in by_class.values() for need in needs]
    return len(needs) == 1 and (needs[0].own or not needs[0].required)


def _elsewhere(is_certain: bool) -> str:
    start = _("So look") if is_certain else _("If that is enough, look")
    return start + _(
        " elsewhere: at the VCPUs, RAM and disk that are free there, at a "
        "zone, host or hint that was asked for, at other extra specs, at "
        "compute services that are down."
    )
