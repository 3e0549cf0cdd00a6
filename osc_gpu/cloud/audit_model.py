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

"""What the audit sees, and the shape of what it finds.

``Snapshot`` is what was read; its properties are what follows from it, worked
out once. ``Problem`` is a finding with what a repair needs to know.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import functools

from osc_gpu.cloud import alias_classes
from osc_gpu.cloud import allocations
from osc_gpu.cloud import flavors
from osc_gpu.cloud import host_aggregates
from osc_gpu.cloud import hypervisors
from osc_gpu.cloud import migration_records
from osc_gpu.cloud import placement
from osc_gpu.cloud import resource_classes
from osc_gpu.cloud import servers
from osc_gpu.cloud import side_by_side
from osc_gpu import findings
from osc_gpu.i18n import _

EXCESS = 'excess'
MISSING = 'missing'
ORPHAN = 'orphan'
LEAKED_MIGRATION = 'leaked-migration'
UNCONFIRMED_RESIZE = 'unconfirmed-resize'
STALE_CLAIM = 'stale-claim'
RESERVED = 'reserved'
ONE_TIME_USE = 'one-time-use'
TWO_TREES = 'two-trees'
AGGREGATE = 'aggregate'
UNUSED_CLASS = 'unused-class'
NO_INVENTORY = 'no-inventory'
HOST_DOWN = 'host-down'
HOST_DISABLED = 'host-disabled'
UNKNOWN_HOST = 'unknown-host'
UNCOUNTABLE = 'uncountable'

#: An evacuation whose source has not come back yet to clean up.
EVACUATED = 'done'

# Snapshot has fields of these modules' names.
_Flavor = flavors.Flavor
_Server = servers.GpuServer

#: Consumer types of Nova's; it gives none as yet.
_OF_NOVA = frozenset(('', 'INSTANCE', 'MIGRATION'))

#: Statuses in which a server can stay for ever.
_STABLE = frozenset(
    (
        'ACTIVE',
        'ERROR',
        'PAUSED',
        'RESCUE',
        'SHELVED',
        'SHELVED_OFFLOADED',
        'SHUTOFF',
        'SUSPENDED',
    )
)

#: What providers have that are hosts, not devices.
_OF_HOSTS = frozenset(('VCPU', 'PCPU', 'MEMORY_MB', 'DISK_GB'))

#: Cyborg names its providers as Nova does, and its requests are in device
#: profiles instead of flavors.
_OF_CYBORG = 'OWNER_CYBORG'


@dataclasses.dataclass(frozen=True)
class Options:
    """What to check; '' and () are everything.

    ``host`` is a root provider's name, ``classes`` count as GPUs whatever
    their names are. ``resize_age`` in minutes is how long a resize may wait
    to be confirmed. ``at_once`` is how many requests may be under way.
    """

    host: str = ''
    classes: Collection[str] = ()
    project_id: str = ''
    resize_age: int = 60
    at_once: int = side_by_side.DEFAULT


@dataclasses.dataclass(frozen=True)
class Problem(findings.Finding):
    """A finding, and what a repair needs to know.

    ``consumer`` is whose allocations are wrong: a server, a migration, or
    nobody that is known; ``generation`` is what its allocations had.
    ``server_id`` is the server that it is about, if any; it may be gone.
    ``provider_ids`` are sorted: of ``excess`` all providers from which one of
    ``classes`` is held, of which ``amount`` units are too many; of the other
    checks those concerned. ``hosts`` are names of root providers.
    """

    consumer: str = ''
    server_id: str = ''
    provider_ids: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    amount: int = 0
    generation: int | None = None
    hosts: tuple[str, ...] = ()
    project_id: str = ''


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A cloud as it was read.

    ``names`` has every provider by UUID, ``providers`` those whose resources
    and traits were read. ``held`` has what was read of consumers, by UUID;
    ``stocks`` the inventories of the providers without capacity. ``began``
    says of failed migrations whether their source had begun, which takes a
    claim on the target; those not looked into are missing. ``now`` is the
    time in UTC, ISO 8601. ``can_shelve``: a server can be shelved and then
    unshelved to a host, which not every Nova can.
    """

    names: Mapping[str, placement.Provider]
    providers: Mapping[str, placement.Provider]
    hypervisors: Mapping[str, hypervisors.Hypervisor]
    servers: Mapping[str, _Server]
    records: tuple[migration_records.MigrationRecord, ...] = ()
    flavors: tuple[_Flavor, ...] = ()
    aggregates: tuple[host_aggregates.Aggregate, ...] = ()
    held: Mapping[str, allocations.Allocations] = dataclasses.field(
        default_factory=dict
    )
    stocks: Mapping[str, Mapping[str, placement.Stock]] = dataclasses.field(
        default_factory=dict
    )
    began: Mapping[str, bool] = dataclasses.field(default_factory=dict)
    also: frozenset[str] = frozenset()
    now: str = ''
    can_shelve: bool = True

    @functools.cached_property
    def alias_classes(self) -> alias_classes.Classes:
        """The classes of aliases, learned from servers with all they ask."""
        samples = (
            alias_classes.Sample(server.gpu_request, self.held[server.id].held)
            for server in self.servers.values()
            if server.id in self.held and server.gpu_request.aliases
        )
        return alias_classes.learn(
            (
                sample
                for sample in samples
                if sum(n for _name, n in sample.gpu_request.aliases)
                == sum(alias_classes.pci_amounts(sample, self.names).values())
            ),
            self.names,
        )

    @functools.cached_property
    def gpu_classes(self) -> frozenset[str]:
        """The classes of GPUs that any provider has, or anybody holds."""
        also = self.also.union(*self.alias_classes.values())
        every = {c for p in self.providers.values() for c in p.resources}
        for found in self.held.values():
            every.update(*found.held.values())
        return frozenset(
            c for c in every if resource_classes.is_gpu_class(c, also)
        )

    @functools.cached_property
    def roots_of(self) -> Mapping[str, frozenset[str]]:
        """The root providers of a compute service's host."""
        found: dict[str, set[str]] = {}
        for hypervisor in self.hypervisors.values():
            found.setdefault(hypervisor.host, set()).add(hypervisor.id)
        return {host: frozenset(roots) for host, roots in found.items()}

    @functools.cached_property
    def pci_roots(self) -> frozenset[str]:
        """The roots of hosts that report PCI devices to Placement."""
        return frozenset(
            p.root_uuid for p in self.names.values() if self.is_pci(p.uuid)
        )

    @functools.cached_property
    def records_by_uuid(
        self,
    ) -> Mapping[str, migration_records.MigrationRecord]:
        """Migration records by their UUID, which may be a consumer's."""
        return {record.uuid: record for record in self.records}

    @functools.cached_property
    def records_of(
        self,
    ) -> Mapping[str, tuple[migration_records.MigrationRecord, ...]]:
        """Migration records by server, oldest first."""
        found: dict[str, list[migration_records.MigrationRecord]] = {}
        for record in self.records:
            found.setdefault(record.server_id, []).append(record)
        return {server: tuple(records) for server, records in found.items()}

    def host(self, provider_uuid: str) -> str:
        """Return the name of the host that a provider belongs to."""
        provider = self.names.get(provider_uuid)
        root = self.names.get(provider.root_uuid) if provider else None
        return root.name if root else ''

    def hosts(
        self, server: _Server, providers: Iterable[str] = ()
    ) -> tuple[str, ...]:
        """Return the names of a server's host and of those of providers."""
        roots = self.roots_of.get(server.host, frozenset())
        found = {self.host(uuid) for uuid in (*roots, *providers)}
        return tuple(sorted(found - {''}))

    def is_pci(self, provider_uuid: str) -> bool:
        """Tell whether a provider is a device that Nova passes through."""
        provider = self.names[provider_uuid]
        return (
            provider.parent_uuid is not None
            and placement.is_pci_device(provider.name)
            and self._is_of_nova(provider_uuid)
        )

    def is_judged(self, provider_uuid: str, resource_class: str) -> bool:
        """Tell whether who holds this of a provider is Nova's business.

        Other regions, and cells that do not answer, have providers too whose
        servers are unknown here. PCI devices of any class are judged, as an
        alias may stand for any.
        """
        provider = self.names.get(provider_uuid)
        return (
            provider is not None
            and provider.root_uuid in self.hypervisors
            and resource_class not in _OF_HOSTS
            and self._is_of_nova(provider_uuid)
            and (
                resource_class in self.gpu_classes
                or self.is_pci(provider_uuid)
            )
        )

    def _is_of_nova(self, provider_uuid: str) -> bool:
        provider = self.providers.get(provider_uuid)
        return provider is None or _OF_CYBORG not in provider.traits

    def gpus_held(self, consumer: str) -> Iterator[tuple[str, str, int]]:
        """Return what a consumer holds of devices: provider, class, amount.

        Nothing of a consumer that is not Nova's.
        """
        found = self.held.get(consumer)
        if found is None or found.kind not in _OF_NOVA:
            return
        for uuid, amounts in sorted(found.held.items()):
            for name, amount in sorted(amounts.items()):
                if self.is_judged(uuid, name):
                    yield uuid, name, amount

    def is_idle(self, server: _Server) -> bool:
        """Tell whether nothing is being done to a server that is known."""
        return (
            server.status in _STABLE
            and not server.task_state
            and not server.is_hidden
            and not server.is_partial
            and not any(
                record.status in migration_records.IN_PROGRESS
                for record in self.records_of.get(server.id, ())
            )
        )


def called(server: _Server) -> str:
    """Return what a sentence calls a server at its start."""
    return _("Server %s") % (server.name or server.id)
