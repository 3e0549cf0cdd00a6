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

"""What flavors are checked against, and what a flavor asks of it."""

from collections.abc import Collection
from collections.abc import Mapping
import dataclasses
import functools

from osc_gpu.cloud import aliases
from osc_gpu.cloud import capacity_hosts
from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import flavors
from osc_gpu.cloud import placement
from osc_gpu.cloud import resource_request


@dataclasses.dataclass(frozen=True)
class Facts:
    """What flavors are checked against.

    ``probes`` by alias. ``is_whole``: every host with devices was read, so
    that what fits none of them fits nowhere. ``classes_elsewhere`` are classes
    that providers which were not read may have, ``traits_elsewhere`` traits
    that they have.
    """

    cloud: capacity_hosts.Cloud
    probes: Mapping[str, aliases.Probe]
    is_whole: bool = True
    classes_elsewhere: frozenset[str] = frozenset()
    traits_elsewhere: frozenset[str] = frozenset()

    @functools.cached_property
    def providers(self) -> tuple[placement.Provider, ...]:
        """The providers of all hosts."""
        return tuple(p for host in self.cloud.hosts for p in host.providers)

    @functools.cached_property
    def traits(self) -> frozenset[str]:
        """The traits that any provider has."""
        return frozenset(t for p in self.providers for t in p.traits)

    def having(self, resource_class: str) -> list[placement.Provider]:
        """Return the providers of a class."""
        return [p for p in self.providers if resource_class in p.resources]

    def is_of_pci_devices(self, resource_class: str) -> bool:
        """Say whether a class is that of devices passed through, only."""
        having = self.having(resource_class)
        return bool(having) and all(
            placement.is_pci_device(provider.name) for provider in having
        )


@dataclasses.dataclass(frozen=True)
class Subject:
    """A flavor that is checked, and what Nova makes of it."""

    flavor: flavors.Flavor
    request: resource_request.Request
    facts: Facts
    also: Collection[str] = ()

    @functools.cached_property
    def slots(self) -> list[tuple[extra_specs.Grouped, int]]:
        """The keys that ask for GPU classes, with how many of each."""
        specs = self.flavor.extra_specs
        found = []
        for slot in extra_specs.gpu_slots(specs, self.also):
            key = slot.key(extra_specs.RESOURCES)
            found.append((slot, _amount(str(specs[key]))))
        return found

    @functools.cached_property
    def behind(self) -> dict[str, str]:
        """The class that each alias stands for, '' where that is unknown."""
        stands = capacity_hosts.resolve(
            self.facts.cloud, self.request.aliases, {}
        )
        return {name: known.resource_class for name, known in stands.items()}

    @functools.cached_property
    def missing_classes(self) -> list[str]:
        """The GPU classes that no provider has, as far as was read."""
        wanted = dict.fromkeys(slot.name for slot, _amount in self.slots)
        return [name for name in wanted if not self.facts.having(name)]

    @functools.cached_property
    def missing_traits(self) -> list[str]:
        """The required traits that no provider has, as far as was read."""
        groups = (group.required for group in self.request.groups)
        required = self.request.required.union(*groups)
        return sorted(required - self.facts.traits)


def _amount(text: str) -> int:
    return max(0, int(text)) if aliases.is_number(text) else 0
