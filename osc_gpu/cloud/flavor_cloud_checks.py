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

"""What is wrong with a flavor's GPU request on the cloud that there is."""

from collections.abc import Collection
from collections.abc import Iterator

from osc_gpu.cloud import aliases
from osc_gpu.cloud import capacity
from osc_gpu.cloud import capacity_hosts
from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import flavor_facts
from osc_gpu.cloud import flavor_spec_checks
from osc_gpu.cloud import flavors
from osc_gpu import findings
from osc_gpu.i18n import _

Found = Iterator[findings.Finding]

error = flavor_spec_checks.error
warning = flavor_spec_checks.warning

#: Extra specs that give the guest a NUMA topology of its own, without which
#: Nova heeds no affinity (nova/virt/hardware.py: numa_get_constraints).
_TOPOLOGY = ('hw:numa_nodes', 'hw:mem_page_size', 'hw:cpu_policy', 'hw:pmem')


def check(subject: flavor_facts.Subject) -> Found:
    """Check a flavor against the cloud; never raises."""
    yield from _check_defined(subject)
    yield from _check_amounts(subject)
    yield from _check_classes(subject)
    yield from _check_traits(subject)
    yield from _check_pci_classes(subject)
    yield from _check_numa(subject)
    if subject.facts.is_whole:
        yield from _check_ungrouped_traits(subject)
        yield from _check_grouped_traits(subject)
        yield from _check_number(subject)


def _check_defined(subject: flavor_facts.Subject) -> Found:
    for name in aliases.named_by(subject.flavor):
        probe = subject.facts.probes.get(name)
        if probe and probe.defined is False:
            yield error(
                subject.flavor,
                'undefined-alias',
                _(
                    "Nova knows no PCI alias %s and refuses every server; "
                    "define it in [pci]alias of nova-api and nova-compute"
                )
                % name,
            )


def _check_amounts(subject: flavor_facts.Subject) -> Found:
    for slot, amount in subject.slots:
        key = slot.key(extra_specs.RESOURCES)
        spec = f'{key}={subject.flavor.extra_specs[key]}'
        if not amount:
            yield error(
                subject.flavor,
                'zero-class',
                _("%s asks for nothing: servers are made without this GPU")
                % spec,
            )
        elif amount > 1 and not subject.facts.is_of_pci_devices(slot.name):
            yield warning(
                subject.flavor,
                'several-in-one-group',
                _(
                    "%(spec)s takes %(amount)d vGPUs from one physical GPU, "
                    "which gives a server only one with NVIDIA; ask for one "
                    "in each of %(amount)d groups"
                )
                % {'spec': spec, 'amount': amount},
            )


def _check_classes(subject: flavor_facts.Subject) -> Found:
    for name in subject.missing_classes:
        if name in subject.facts.classes_elsewhere:
            yield warning(
                subject.flavor,
                'unknown-class',
                _(
                    "no provider has resource class %s, as far as Placement "
                    "shows them: not those that are in use and have no devices"
                )
                % name,
            )
        else:
            yield error(
                subject.flavor,
                'unknown-class',
                _("no provider has resource class %s") % name,
            )


def _check_traits(subject: flavor_facts.Subject) -> Found:
    for trait in subject.missing_traits:
        if trait not in subject.facts.traits_elsewhere:
            yield error(
                subject.flavor,
                'unknown-trait',
                _("no provider has trait %s") % trait,
            )


def _check_ungrouped_traits(subject: flavor_facts.Subject) -> Found:
    """Ungrouped traits count where ungrouped resources come from."""
    ungrouped = subject.request.resources.keys()
    for trait in sorted(subject.request.required):
        carriers = [p for p in subject.facts.providers if trait in p.traits]
        if carriers and all(
            ungrouped.isdisjoint(provider.resources) for provider in carriers
        ):
            yield error(
                subject.flavor,
                'trait-group',
                _(
                    "trait:%(trait)s=required is looked for where %(classes)s "
                    "come from, and only providers such as %(carrier)s have "
                    "it: no server ever fits"
                )
                % {
                    'trait': trait,
                    'classes': ', '.join(sorted(ungrouped)),
                    'carrier': min(p.name for p in carriers),
                },
            )


def _check_grouped_traits(subject: flavor_facts.Subject) -> Found:
    """Traits of a group must be on the provider of its resources."""
    for group in subject.request.groups:
        for trait in sorted(group.required & subject.facts.traits):
            carriers = [
                p for p in subject.facts.providers if trait in p.traits
            ]
            served = any(
                group.resources.keys() <= p.resources.keys() for p in carriers
            )
            known = all(map(subject.facts.having, group.resources))
            if known and not served:
                yield error(
                    subject.flavor,
                    'trait-group',
                    _(
                        "trait%(group)s:%(trait)s=required is looked for on "
                        "the provider of %(classes)s, and only providers such "
                        "as %(carrier)s have it: no server ever fits"
                    )
                    % {
                        'group': group.name,
                        'trait': trait,
                        'classes': ', '.join(sorted(group.resources)),
                        'carrier': min(p.name for p in carriers),
                    },
                )


def _check_pci_classes(subject: flavor_facts.Subject) -> Found:
    """Nova attaches PCI devices for aliases only, whatever is allocated."""
    for slot, amount in subject.slots:
        if not amount or not subject.facts.is_of_pci_devices(slot.name):
            continue
        key = slot.key(extra_specs.RESOURCES)
        alias = next(
            (a for a, name in subject.behind.items() if name == slot.name), ''
        )
        if alias:
            yield error(
                subject.flavor,
                'alias-and-class',
                _(
                    "alias %(alias)s stands for the class that %(key)s asks "
                    "for again: each server takes %(amount)d more devices "
                    "than it gets"
                )
                % {'alias': alias, 'key': key, 'amount': amount},
            )
        else:
            yield error(
                subject.flavor,
                'class-without-alias',
                _(
                    "%(key)s takes %(amount)d PCI devices that the server "
                    "does not get: Nova attaches them for aliases only"
                )
                % {'key': key, 'amount': amount},
            )


def _check_number(subject: flavor_facts.Subject) -> Found:
    cloud = subject.facts.cloud
    wanted: dict[frozenset[str], int] = {}
    for slot, amount in subject.slots:
        key = frozenset([slot.name])
        wanted[key] = wanted.get(key, 0) + amount
    if cloud.has_pci_devices:
        for alias, count in subject.request.aliases:
            behind = subject.behind[alias]
            key = frozenset([behind]) if behind else cloud.pci_gpu_classes
            wanted[key] = wanted.get(key, 0) + count
    for classes, count in wanted.items():
        most = max((_units(h, classes) for h in cloud.hosts), default=0)
        if 0 < most < count:
            yield error(
                subject.flavor,
                'too-many',
                _("%(count)d of %(classes)s on one host; none has over %(n)d")
                % {
                    'count': count,
                    'classes': ', '.join(sorted(classes)),
                    'n': most,
                },
            )


def _units(host: capacity_hosts.Host, classes: Collection[str]) -> int:
    """Count a host's units of classes, in use and reserved or not."""
    return sum(
        resource.total or max(resource.capacity, resource.used, 1)
        for provider in host.providers
        for name, resource in provider.resources.items()
        if name in classes
    )


def _has_topology(flavor: flavors.Flavor) -> bool:
    specs = flavor.extra_specs
    return any(specs.get(k) not in (None, '', 'shared') for k in _TOPOLOGY)


def _may_need_numa_policy(flavor: flavors.Flavor) -> bool:
    """Tell whether the NUMA nodes of hosts matter to a flavor's devices."""
    request = extra_specs.parse(flavor.extra_specs)
    devices = sum(count for _alias, count in request.aliases)
    return devices > 1 or (devices == 1 and _has_topology(flavor))


def _check_numa(subject: flavor_facts.Subject) -> Found:
    """See nova/pci/stats.py, _filter_pools_for_numa_cells."""
    if not _may_need_numa_policy(subject.flavor):
        return
    hosts = _hosts_of_several_nodes(subject)
    if not hosts:
        return
    said = {'host': _(" or ").join(hosts)}
    if not _has_topology(subject.flavor):
        yield warning(
            subject.flavor,
            'numa-policy',
            _(
                "GPUs of one server may be on different NUMA nodes of a host "
                "such as %(host)s; set hw:numa_nodes=1 and "
                "hw:pci_numa_affinity_policy=required to keep them on one "
                "(the policy alone is not heeded)"
            )
            % said,
        )
    elif not subject.flavor.extra_specs.get('hw:pci_numa_affinity_policy'):
        yield warning(
            subject.flavor,
            'numa-policy',
            _(
                "without hw:pci_numa_affinity_policy, unless the alias has "
                "one, a host such as %(host)s with free GPUs on one NUMA node "
                "and free CPUs on another is refused; set preferred to take "
                "it, required to say so"
            )
            % said,
        )


def _hosts_of_several_nodes(subject: flavor_facts.Subject) -> list[str]:
    """Return a host with several nodes for each class of the aliases.

    Of classes of which it is not known which one it is, each has to have one.
    """
    known = {name for name in subject.behind.values() if name}
    classes = known or subject.facts.cloud.pci_gpu_classes
    found = {_host_of_several_nodes(subject.facts, name) for name in classes}
    if '' in found and not known:
        return []
    return sorted(found - {''})


def _host_of_several_nodes(
    facts: flavor_facts.Facts, resource_class: str
) -> str:
    names = (
        host.name
        for host in facts.cloud.hosts
        if host.numa_nodes > 1 and resource_class in host.classes
    )
    return min(names, default='')


def check_fit(subject: flavor_facts.Subject) -> Found:
    """Check that a server would fit the cloud if it were empty.

    Where not all of the cloud was read, that is not known. An alias of which
    the class is not known is tried with each that it may stand for.
    """
    if not subject.facts.is_whole:
        return
    empty = capacity.emptied(subject.facts.cloud)
    verdicts = [
        capacity.judge(empty, subject.request, given, [capacity.RESERVED])
        for given in _possible_classes(subject)
    ]
    if all(verdict.fits == 0 for verdict in verdicts):
        why = dict.fromkeys(map(capacity.blocked_by, verdicts))
        yield error(
            subject.flavor,
            'never-fits',
            _("fits no host, however empty: %s") % _("; or ").join(why),
        )


def _possible_classes(subject: flavor_facts.Subject) -> list[dict[str, str]]:
    """Return what an alias may stand for; several are not tried out."""
    unknown = [name for name, known in subject.behind.items() if not known]
    if len(unknown) != 1:
        return [{}]
    cloud = subject.facts.cloud
    learned = cloud.alias_classes.get(unknown[0], frozenset())
    choice = sorted(learned or cloud.pci_gpu_classes)
    return [{unknown[0]: name} for name in choice] or [{}]
