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


"""What nodes and their nova.conf say, beside what a cloud says of them."""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import re

from openstack import connection

from osc_gpu.cloud import alias_list
from osc_gpu.cloud import placement
from osc_gpu.cloud import resource_classes
from osc_gpu.cloud import side_by_side
from osc_gpu import findings
from osc_gpu.i18n import _


@dataclasses.dataclass(frozen=True)
class Alias:
    """A PCI alias of a nova.conf.

    :param ids: vendor:product, '' if it names none
    :param resource_class: as it names it, '' if it does not
    """

    name: str
    ids: str = ''
    resource_class: str = ''

    @property
    def shown_class(self) -> str:
        """The class that Placement has its devices under, '' if unknown."""
        return class_of(self.ids, self.resource_class)


@dataclasses.dataclass(frozen=True)
class Conf:
    """A nova.conf.

    :param source: its name for people
    :param reports: whether nova-compute reports devices to Placement
    :param in_placement: whether Placement chooses devices
    """

    source: str
    aliases: tuple[Alias, ...]
    reports: bool = False
    in_placement: bool = False


@dataclasses.dataclass(frozen=True)
class Node:
    """A compute node.

    :param source: its name for people
    :param host: its host name, None if that is unknown
    :param cards: vendor:product of each GPU and of its VFs, by its address:
        in Placement VFs that are passed through are inventory of their card
        (nova/compute/pci_placement_translator.py)
    :param vfs: vendor:product of each VF, by address: vGPUs are inventory of
        their VF
    :param has_all: whether no VF can be missing among them
    """

    source: str
    host: str | None
    cards: Mapping[str, Collection[str]]
    vfs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    has_all: bool = True

    def ids(self, address: str) -> Collection[str]:
        """Return what can be there; () if nothing is."""
        if address in self.vfs:
            return (self.vfs[address],)
        return self.cards.get(address, ())


@dataclasses.dataclass(frozen=True)
class Cloud:
    """What a cloud says.

    :param aliases: those that its flavors name
    :param hosts: classes by device, by host; mdev-capable devices too
    """

    aliases: tuple[alias_list.Alias, ...]
    hosts: Mapping[str, Mapping[str, tuple[str, ...]]]

    @functools.cached_property
    def classes(self) -> frozenset[str]:
        """The classes of all devices."""
        return frozenset(
            name
            for devices in self.hosts.values()
            for classes in devices.values()
            for name in classes
        )


def class_of(ids: str, resource_class: str = '') -> str:
    """Return the class that Nova gives a device.

    nova/compute/pci_placement_translator.py: a name of the operator's, made
    to fit, or one of the ids.
    """
    if resource_class:
        name = resource_class.upper()
        # A standard class stays what it is.
        if name.startswith('CUSTOM_') or name in ('VGPU', 'PGPU'):
            return name
        return f'CUSTOM_{re.sub("[^A-Z0-9_]", "_", name)}'
    vendor, colon, product = ids.partition(':')
    return f'CUSTOM_PCI_{vendor}_{product}'.upper() if colon else ''


def read(
    conn: connection.Connection, at_once: int = side_by_side.DEFAULT
) -> Cloud:
    """Read what a cloud says.

    What ``alias_list.read`` asks for, and what ``placement.read_trees`` does.

    :raises CommandError: the caller must not probe
    """
    aliases = alias_list.read(conn, at_once=at_once)
    names = placement.read_names(conn)
    hosts: dict[str, dict[str, tuple[str, ...]]] = {
        provider.name: {}
        for provider in names.values()
        if provider.uuid == provider.root_uuid
    }
    for provider in placement.read_trees(conn, names, at_once=at_once):
        root = names.get(provider.root_uuid)
        if root is None:
            continue
        device = placement.device_of(provider.name, root.name)
        if device != provider.name:
            hosts[root.name][device] = tuple(provider.resources)
    return Cloud(aliases, hosts)


def compare(
    nodes: Sequence[Node], confs: Sequence[Conf], cloud: Cloud
) -> tuple[findings.Finding, ...]:
    """Return what does not go together."""
    return findings.ordered(
        (
            *_differing(confs),
            *(f for conf in confs for f in _of_conf(conf, nodes, cloud)),
            *(f for node in nodes for f in _of_node(node, confs, cloud)),
        )
    )


def _differing(confs: Sequence[Conf]) -> Iterator[findings.Finding]:
    """Find aliases that two files have, and not alike."""
    first: dict[str, tuple[Conf, set[Alias]]] = {}
    for conf in confs:
        for name in dict.fromkeys(alias.name for alias in conf.aliases):
            mine = {alias for alias in conf.aliases if alias.name == name}
            other, theirs = first.setdefault(name, (conf, mine))
            if mine != theirs:
                yield findings.Finding(
                    findings.ERROR,
                    'alias-differs',
                    name,
                    _("%(one)s and %(other)s have it for other devices")
                    % {'one': other.source, 'other': conf.source},
                    _("Have the same [pci] alias lines in both"),
                )


def _of_conf(
    conf: Conf, nodes: Sequence[Node], cloud: Cloud
) -> Iterator[findings.Finding]:
    here = {alias.name for alias in conf.aliases}
    known = {alias.name: alias for alias in cloud.aliases}
    for name in sorted(here - known.keys()):
        yield findings.Finding(
            findings.INFO,
            'alias-unrequested',
            name,
            _(
                "%s has it and no flavor requests it: whether nova-api knows "
                "it cannot be told"
            )
            % conf.source,
        )
    for alias in cloud.aliases:
        if alias.name in here:
            yield from _of_alias(conf, alias)
        elif alias.defined is not False:
            yield from _missing(conf, alias, nodes)
    yield from _of_classes(conf, cloud)


def _of_alias(
    conf: Conf, alias: alias_list.Alias
) -> Iterator[findings.Finding]:
    if alias.defined is False:
        yield findings.Finding(
            findings.ERROR,
            'alias-unknown',
            alias.name,
            _("%(conf)s has it, and nova-api does not know it: %(why)s")
            % {'conf': conf.source, 'why': alias.why},
            _("Add it to the nova.conf of nova-api and restart nova-api"),
        )
    classes = {a.shown_class for a in conf.aliases if a.name == alias.name}
    held = set(alias.resource_classes)
    if held and '' not in classes and held.isdisjoint(classes):
        yield findings.Finding(
            findings.ERROR,
            'alias-class',
            alias.name,
            _("it is for %(mine)s in %(conf)s, and its servers hold %(held)s")
            % {
                'mine': _joined(classes),
                'conf': conf.source,
                'held': _joined(held),
            },
            _("Have the same [pci] alias for nova-api and every nova-compute"),
        )


def _missing(
    conf: Conf, alias: alias_list.Alias, nodes: Sequence[Node]
) -> Iterator[findings.Finding]:
    there = {
        class_of(ids)
        for node in nodes
        for found in node.cards.values()
        for ids in found
    }
    has_devices = not there.isdisjoint(alias.resource_classes)
    if nodes and alias.resource_classes and not has_devices:
        return
    yield findings.Finding(
        findings.ERROR if has_devices else findings.WARNING,
        'alias-missing',
        alias.name,
        _(
            "flavors request it, and %s has it not: a nova-compute without "
            "it takes no server that is resized or migrated"
        )
        % conf.source,
        _("Add it to the nova.conf of every nova-compute with such devices"),
    )


def _of_classes(conf: Conf, cloud: Cloud) -> Iterator[findings.Finding]:
    if not conf.reports and not conf.in_placement:
        return
    for alias in dict.fromkeys(conf.aliases):
        name = alias.shown_class
        if name and name not in cloud.classes:
            yield findings.Finding(
                findings.ERROR if conf.in_placement else findings.WARNING,
                'class-missing',
                alias.name,
                _("Placement has no device of its class, %s") % name,
                _(
                    "Have [pci] report_in_placement and a device_spec of that "
                    "class for the nova-computes, and restart them"
                ),
            )


def _of_node(
    node: Node, confs: Sequence[Conf], cloud: Cloud
) -> Iterator[findings.Finding]:
    if node.host is None:
        yield findings.Finding(
            findings.INFO,
            'host-name',
            node.source,
            _("its host name is not known, so Placement was not asked for it"),
            _("Give what openstack gpu node show -f json prints on the node"),
        )
        return
    host = host_named(cloud.hosts, node.host)
    if host is None:
        yield findings.Finding(
            findings.WARNING,
            'host-unknown',
            node.host,
            _("Placement has no host of this name"),
            _("Start nova-compute on it, or see [DEFAULT] host"),
        )
        return
    found = cloud.hosts[host]
    for device, classes in found.items():
        yield from _of_device(host, node, device, classes)
    if any(conf.reports for conf in confs) or any(
        resource_classes.pci_ids(name)
        for classes in found.values()
        for name in classes
    ):
        yield from _unreported(host, node, confs, found)


def host_named(hosts: Collection[str], name: str) -> str | None:
    """Return the host of a name, which may have a domain or not."""
    if name in hosts:
        return name
    short = name.partition('.')[0].lower()
    found = [h for h in hosts if h.partition('.')[0].lower() == short]
    return found[0] if len(found) == 1 else None


def _of_device(
    host: str, node: Node, device: str, classes: Iterable[str]
) -> Iterator[findings.Finding]:
    subject = f'{host} {device}'
    gpu_classes = [c for c in classes if resource_classes.is_gpu_class(c)]
    ids = node.ids(device)
    if not node.has_all:
        # VFs are parents of mediated devices, not of what is passed through.
        gpu_classes = [c for c in gpu_classes if resource_classes.pci_ids(c)]
    if not ids and gpu_classes:
        yield findings.Finding(
            findings.ERROR,
            'device-gone',
            subject,
            _("Placement has it as %s, and the node has no GPU there")
            % _joined(gpu_classes),
            _("Take it out of [pci] device_spec and restart nova-compute"),
        )
    if not ids:
        return
    for name in gpu_classes:
        named = resource_classes.pci_ids(name)
        if named and ':'.join(named) not in ids:
            yield findings.Finding(
                findings.ERROR,
                'device-class',
                subject,
                _("Placement has it as %(name)s, and it is %(ids)s")
                % {'name': name, 'ids': _joined(ids)},
                _("Restart nova-compute when no server has the device"),
            )


def _unreported(
    host: str,
    node: Node,
    confs: Sequence[Conf],
    found: Collection[str],
) -> Iterator[findings.Finding]:
    """Find GPUs that an alias is for, and Placement does not have."""
    wanted = {alias.ids for conf in confs for alias in conf.aliases}
    for device, ids in node.cards.items():
        if device not in found and not wanted.isdisjoint(ids):
            yield findings.Finding(
                findings.ERROR,
                'device-missing',
                f'{host} {device}',
                _("an alias is for it, and Placement does not have it"),
                _(
                    "Add it to [pci] device_spec with report_in_placement, "
                    "and restart nova-compute"
                ),
            )


def _joined(names: Iterable[str]) -> str:
    return ', '.join(sorted(names))
