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

"""What capacity is judged by: the hosts as Placement and Nova know them."""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
from typing import NamedTuple

from osc_lib import exceptions

from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import placement
from osc_gpu.cloud import resource_classes
from osc_gpu.i18n import _

DOWN = 'down'
DISABLED = 'disabled'
#: Nova lists no such hypervisor: another tenant of Placement, or a cell that
#: does not answer.
NOT_IN_NOVA = 'no hypervisor'

LEARNED = 'learned'
GIVEN = 'given'
ASSUMED = 'assumed'
REQUESTED = 'requested'


@dataclasses.dataclass(frozen=True)
class Host:
    """A tree of resource providers.

    ``closed`` are the terms for which it gets no server: DOWN, DISABLED,
    NOT_IN_NOVA. ``metadata`` has the values of its aggregates by key.
    ``numa_nodes`` is 0 where Nova does not tell.
    """

    name: str
    root_uuid: str
    providers: tuple[placement.Provider, ...]
    closed: tuple[str, ...] = ()
    metadata: Mapping[str, frozenset[str]] = dataclasses.field(
        default_factory=dict
    )
    numa_nodes: int = 0

    @property
    def classes(self) -> frozenset[str]:
        """The resource classes that are anywhere in the tree."""
        return frozenset(rc for p in self.providers for rc in p.resources)


@dataclasses.dataclass(frozen=True)
class Cloud:
    """All hosts, and what was learned beside them.

    ``refused`` are the providers that have an amount of a class free and
    still do not give it to one server, for their min_unit, max_unit or
    step_size. ``alias_classes`` are the classes learned for aliases.
    ``unread`` are the UUIDs of roots that give an amount of a class and were
    not read. ``undefined`` are aliases that Nova was found not to know,
    ``unproven`` those of which that is not known, with the reason.
    """

    hosts: tuple[Host, ...]
    refused: Mapping[tuple[str, int], frozenset[str]] = dataclasses.field(
        default_factory=dict
    )
    alias_classes: Mapping[str, frozenset[str]] = dataclasses.field(
        default_factory=dict
    )
    unread: Mapping[tuple[str, int], frozenset[str]] = dataclasses.field(
        default_factory=dict
    )
    undefined: frozenset[str] = frozenset()
    unproven: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def classes(self) -> frozenset[str]:
        """The resource classes that any host has."""
        return frozenset(rc for host in self.hosts for rc in host.classes)

    @property
    def has_pci_devices(self) -> bool:
        """Whether any PCI device is in Placement, for aliases to be served."""
        return any(
            placement.is_pci_device(provider.name)
            for host in self.hosts
            for provider in host.providers
        )

    @property
    def pci_gpu_classes(self) -> frozenset[str]:
        """The classes of PCI devices that are, or may be, GPUs.

        Network cards and the like are not, unless the operator gave them a
        class of their own.
        """
        return frozenset(
            name
            for host in self.hosts
            for provider in host.providers
            if placement.is_pci_device(provider.name)
            for name in provider.resources
            if resource_classes.is_gpu_class(name)
            or not resource_classes.pci_ids(name)
        )


class Stands(NamedTuple):
    """What an alias stands for, and how that is known.

    ``resource_class`` is '' where it is not known, and ``how`` says why not;
    otherwise LEARNED, GIVEN or ASSUMED.
    """

    resource_class: str
    how: str


def resolve(
    cloud: Cloud,
    aliases: extra_specs.Amounts,
    given: Mapping[str, str],
) -> dict[str, Stands]:
    """Return what each alias stands for.

    Learned from servers; else as the user gave it; else the only class of
    PCI GPUs that there is.

    :param given: resource classes by alias
    """
    return {name: _resolve(cloud, name, given) for name, _n in aliases}


def _resolve(cloud: Cloud, alias: str, given: Mapping[str, str]) -> Stands:
    if not cloud.has_pci_devices:
        return Stands('', _("no PCI devices in Placement"))
    learned = cloud.alias_classes.get(alias, frozenset())
    if len(learned) == 1:
        return Stands(next(iter(learned)), LEARNED)
    if alias in given:
        return Stands(given[alias], GIVEN)
    choice = sorted(learned or cloud.pci_gpu_classes)
    if len(choice) == 1:
        return Stands(choice[0], ASSUMED)
    if not choice:
        return Stands('', _("no PCI device in Placement is a GPU"))
    return Stands(
        '',
        _("alias %(alias)s may stand for %(classes)s")
        % {'alias': alias, 'classes': ', '.join(choice)},
    )


def require_classes(cloud: Cloud, names: Iterable[str]) -> None:
    """Refuse resource classes that no host has.

    :raises osc_lib.exceptions.CommandError: naming them
    """
    missing = sorted(set(names) - cloud.classes)
    if missing:
        raise exceptions.CommandError(
            _("No resource provider in Placement has %s.") % ', '.join(missing)
        )


def emptied(cloud: Cloud) -> Cloud:
    """Return the cloud without servers, every host up and enabled."""
    return dataclasses.replace(
        cloud,
        hosts=tuple(
            dataclasses.replace(
                host,
                closed=(),
                providers=tuple(map(_unused, host.providers)),
            )
            for host in cloud.hosts
        ),
    )


def _unused(provider: placement.Provider) -> placement.Provider:
    return dataclasses.replace(
        provider,
        resources={
            name: resource._replace(used=0)
            for name, resource in provider.resources.items()
        },
    )
