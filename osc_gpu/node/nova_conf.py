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

"""Nova's configuration for GPUs, as sections, by who reads them.

A controller needs aliases for nova-api, filters for nova-scheduler, and
PCI in Placement for both and for nova-conductor. A compute node needs what
devices it offers, and the aliases too: a server that moves there has its
aliases read again (nova/compute/resource_tracker.py, _move_claim).
"""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import re
import textwrap
from typing import NamedTuple

from osc_gpu.i18n import _
from osc_gpu.node import model
from osc_gpu.node import nova_specs
from osc_gpu.node import releases
from osc_gpu.node import wanted

#: Cards whose older drivers refuse to run in a server that says it is one.
_REFUSES = re.compile(r'\b(?:GeForce|TITAN)\b', re.I)


class Entry(NamedTuple):
    """An option and its value; an option may be there several times."""

    name: str
    value: str


class Section(NamedTuple):
    """A group of options, and what to know about it."""

    name: str
    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()


class Computes(NamedTuple):
    """Nodes that have the same sections."""

    nodes: tuple[model.Node, ...]
    sections: tuple[Section, ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        """Their names, as far as they are known."""
        return tuple(n.hostname for n in self.nodes if n.hostname)

    @property
    def has_names(self) -> bool:
        """Whether each has a name of its own."""
        return len(set(self.hosts)) == len(self.nodes)


def controller(
    asked: wanted.Wanted, more_filters: Sequence[str] = ()
) -> tuple[Section, ...]:
    """Return what controllers have to be told.

    :param more_filters: that the scheduler has besides Nova's own
    """
    if not asked.aliases:
        return ()
    release = asked.release
    names = list(releases.filters(release))
    names[-1:-1] = more_filters
    found = [
        (_option(releases.FILTERS, release), Entry('', ','.join(names))),
    ]
    if releases.is_in_placement(release):
        found.append(
            (_option(releases.PCI_IN_PLACEMENT, release), Entry('', 'True'))
        )
    return _sections(
        [
            *((option, entry.value) for option, entry in found),
            *_aliases(asked),
        ],
        {
            'filter_scheduler': _placement_notes(release),
            'pci': _hiding_notes(asked),
            'DEFAULT': _hiding_notes(asked),
        },
    )


def computes(
    asked: wanted.Wanted, classes: Mapping[str, str] | None = None
) -> tuple[Computes, ...]:
    """Return what compute nodes have to be told, nodes alike together.

    :param classes: resource classes of types of mediated devices, where they
        depend on more nodes than are asked about here
    """
    if classes is None:
        classes = nova_specs.mdev_classes(asked)
    found: dict[tuple[Section, ...], list[model.Node]] = {}
    for offer in asked.offers:
        if offer.is_empty:
            continue
        sections = _compute(asked, offer, classes)
        found.setdefault(sections, []).append(offer.node)
    return tuple(
        Computes(tuple(nodes), sections) for sections, nodes in found.items()
    )


def merged(
    one: Iterable[Section], other: Iterable[Section]
) -> tuple[Section, ...]:
    """Return the sections of a machine that has both to read."""
    entries: dict[str, list[Entry]] = {}
    notes: dict[str, list[str]] = {}
    for section in (*one, *other):
        entries.setdefault(section.name, []).extend(section.entries)
        notes.setdefault(section.name, []).extend(section.notes)
    return tuple(
        Section(
            name,
            tuple(dict.fromkeys(found)),
            tuple(dict.fromkeys(notes[name])),
        )
        for name, found in entries.items()
    )


def text(sections: Iterable[Section]) -> str:
    """Return sections as nova.conf has them."""
    return '\n'.join(
        '\n'.join(
            [
                *(
                    f'# {line}'
                    for note in section.notes
                    for line in textwrap.wrap(note, 77)
                ),
                f'[{section.name}]',
                *(f'{e.name} = {e.value}' for e in section.entries),
                '',
            ]
        )
        for section in sections
    )


def _option(purpose: str, release: releases.Release) -> releases.Option:
    found = releases.option(purpose, release)
    if found is None:
        raise ValueError(
            _("Nova of %(release)s has nothing for %(purpose)s")
            % {'release': release, 'purpose': purpose}
        )
    return found


def _sections(
    found: Iterable[tuple[releases.Option, str]],
    notes: dict[str, tuple[str, ...]],
) -> tuple[Section, ...]:
    entries: dict[str, list[Entry]] = {}
    for option, value in found:
        entries.setdefault(option.group, []).append(Entry(option.name, value))
    return tuple(
        Section(group, tuple(values), notes.get(group, ()))
        for group, values in entries.items()
    )


def _aliases(asked: wanted.Wanted) -> list[tuple[releases.Option, str]]:
    option = _option(releases.ALIAS, asked.release)
    return [
        (option, nova_specs.as_json(spec))
        for spec in nova_specs.alias_specs(asked)
    ]


def _compute(
    asked: wanted.Wanted, offer: wanted.Offer, classes: Mapping[str, str]
) -> tuple[Section, ...]:
    release = asked.release
    specs = nova_specs.device_specs(asked, offer)
    found = []
    if specs:
        option = _option(releases.DEVICE_SPEC, release)
        found += [(option, nova_specs.as_json(spec)) for spec in specs]
        if releases.is_in_placement(release):
            report = _option(releases.REPORT_IN_PLACEMENT, release)
            found.append((report, 'True'))
    # A server may come here from another node.
    found += _aliases(asked)
    notes = _report_notes(release) if specs else ()
    pci = _sections(found, {'pci': notes})
    return (*pci, *_devices(asked.release, offer, classes))


def _devices(
    release: releases.Release, offer: wanted.Offer, classes: Mapping[str, str]
) -> tuple[Section, ...]:
    """Return the sections of mediated devices of a node."""
    types = {
        vgpu.type.id: vgpu.type for vgpu in offer.vgpus if vgpu.type.is_mdev
    }
    if not types:
        return ()
    option = _option(releases.MDEV_TYPES, release)
    names = [f'{t.id} is {t.name}' for t in types.values() if t.name]
    found = [
        Section(
            option.group,
            (Entry(option.name, ','.join(types)),),
            tuple(names),
        )
    ]
    for type_id in types:
        entries = []
        if not _is_default(offer) and releases.has(
            releases.SEVERAL_TYPES, release
        ):
            there = nova_specs.addresses(offer, type_id)
            entries.append(Entry('device_addresses', ','.join(there)))
        if type_id in classes:
            entries.append(Entry('mdev_class', classes[type_id]))
        if entries:
            group = releases.type_group(type_id, release)
            found.append(Section(group, tuple(entries)))
    return tuple(found)


def _is_default(offer: wanted.Offer) -> bool:
    """Tell whether a type needs no addresses, and VFs need not be there yet.

    Nova takes the only type for all that can have it (nova/conf/devices.py).
    """
    return (
        len({vgpu.type for vgpu in offer.vgpus}) == 1
        and any(vgpu.function is None for vgpu in offer.vgpus)
        and offer.gpus == offer.node.gpus
    )


def _placement_notes(release: releases.Release) -> tuple[str, ...]:
    if not releases.is_in_placement(release):
        return ()
    return (
        'Set pci_in_placement after report_in_placement, when all compute '
        'nodes have reported their devices to Placement.',
    )


def _report_notes(release: releases.Release) -> tuple[str, ...]:
    if not releases.is_in_placement(release):
        return ()
    return ('report_in_placement cannot be taken back.',)


def _hiding_notes(asked: wanted.Wanted) -> tuple[str, ...]:
    """Return what kvm=off is today, for cards that need it."""
    release = asked.release
    if not any(
        _REFUSES.search(wanted.model_name(alias.ids))
        for alias in asked.aliases
    ):
        return ()
    ways = []
    if releases.has(releases.HIDE_BY_FLAVOR, release):
        # hw: since 22.0.0; the name without it is deprecated.
        prefix = 'hw:' if release.nova >= 22 else ''
        ways.append(f'flavor property {prefix}hide_hypervisor_id=true')
    if releases.has(releases.HIDE_BY_IMAGE, release):
        ways.append('image property img_hide_hypervisor_id=true')
    if not ways:
        return ()
    return (
        'If the driver finds out that it is in a server and refuses to run '
        f'(kvm=off in QEMU): {", or ".join(ways)}.',
    )
