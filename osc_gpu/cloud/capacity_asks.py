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

"""What one server asks of the providers of a host, and how often it fits."""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import NamedTuple

from osc_gpu.cloud import capacity_hosts
from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import packing
from osc_gpu.cloud import placement
from osc_gpu.cloud import resource_request

_TERMS = {'MEMORY_MB': 'RAM', 'DISK_GB': 'disk'}

#: What Nova has on the root provider of every host; what of it is reserved
#: is the host's own.
OF_HOSTS = ('VCPU', 'PCPU', 'MEMORY_MB', 'DISK_GB')

#: More servers than any host takes.
_MANY = 10**9


class Ask(NamedTuple):
    """What a server asks of one provider, so many times.

    ``own``: the traits are those of this provider. Otherwise they are the
    ungrouped ones: the required ones are looked for on all providers together
    that ungrouped asks go to (placement/objects/allocation_candidate.py).
    """

    resources: extra_specs.Amounts
    times: int = 1
    required: frozenset[str] = frozenset()
    forbidden: frozenset[str] = frozenset()
    own: bool = False
    isolated: bool = False

    @property
    def name(self) -> str:
        """The resource class; several of one group joined by +."""
        return '+'.join(name for name, _n in self.resources)

    @property
    def term(self) -> str:
        """The word of the field for what it asks for."""
        return _TERMS.get(self.name, self.name)

    @property
    def amount(self) -> int:
        """How much of the class; 1 of several that go together."""
        return self.resources[0][1] if len(self.resources) == 1 else 1

    def free(self, provider: placement.Provider, unreserved: bool) -> int:
        """Return what a provider has free, in the units of ``amount``."""
        units = [
            (
                _free(
                    provider.resources[name],
                    unreserved and name not in OF_HOSTS,
                ),
                amount,
            )
            for name, amount in self.resources
        ]
        if len(units) > 1:
            return min(free // amount for free, amount in units)
        return units[0][0]


def _free(resource: placement.Resource, unreserved: bool) -> int:
    if not unreserved:
        return resource.free
    # Without its total known, what has no capacity at all is one device.
    total = resource.total or max(resource.capacity, resource.used, 1)
    return max(0, max(total, resource.capacity) - resource.used)


class Fitting(NamedTuple):
    """An ask, with the providers of one host that suit it."""

    ask: Ask
    kind: packing.Kind


def read(
    request: resource_request.Request,
    stands: Mapping[str, capacity_hosts.Stands],
) -> tuple[Ask, ...]:
    """Return all that a server asks for; equal asks are counted together.

    :param stands: what each alias of the request stands for
    """
    found = [
        Ask(((name, amount),), 1, request.required, request.forbidden)
        for name, amount in request.resources.items()
    ]
    alike: dict[Ask, int] = {}
    for ask in _grouped(request, stands):
        key = ask._replace(times=1)
        alike[key] = alike.get(key, 0) + ask.times
    grouped = (ask._replace(times=n) for ask, n in alike.items())
    return (*found, *grouped)


def _grouped(
    request: resource_request.Request,
    stands: Mapping[str, capacity_hosts.Stands],
) -> Iterable[Ask]:
    for group in request.groups:
        yield Ask(
            tuple(sorted(group.resources.items())),
            1,
            group.required,
            group.forbidden,
            own=True,
            isolated=request.is_isolated,
        )
    for alias, count in request.aliases:
        yield Ask(
            ((stands[alias].resource_class, 1),),
            count,
            own=True,
            isolated=request.is_isolated,
        )


def tangled(asks: Collection[Ask]) -> str:
    """Name a class asked for with others of one provider, and elsewhere.

    How often such a server fits is not worked out. '' if there is none.
    """
    for ask in asks:
        if len(ask.resources) > 1:
            names = {name for name, _n in ask.resources}
            for other in asks:
                both = names & {name for name, _n in other.resources}
                if other is not ask and both:
                    return min(both)
    return ''


def fit(
    host: capacity_hosts.Host,
    asks: Sequence[Ask],
    refused: Mapping[tuple[str, int], frozenset[str]],
    *,
    traits: bool = True,
) -> list[Fitting]:
    """Find the providers of a host that suit each ask.

    :param refused: capacity_hosts.Cloud.refused
    :param traits: heed traits
    """
    found = {
        ask: frozenset(
            provider.uuid
            for provider in host.providers
            if _suits(provider, ask, refused, traits)
        )
        for ask in asks
    }
    if traits:
        _narrow(host, found)
    return [
        Fitting(
            ask,
            packing.Kind(ask.name, ask.amount, ask.times, uuids, ask.isolated),
        )
        for ask, uuids in found.items()
    ]


def _suits(
    provider: placement.Provider,
    ask: Ask,
    refused: Mapping[tuple[str, int], frozenset[str]],
    traits: bool,
) -> bool:
    return all(
        item[0] in provider.resources
        and provider.uuid not in refused.get(item, ())
        for item in ask.resources
    ) and not (
        traits
        and (
            ask.forbidden.intersection(provider.traits)
            or (ask.own and not ask.required.issubset(provider.traits))
        )
    )


def _narrow(
    host: capacity_hosts.Host, found: dict[Ask, frozenset[str]]
) -> None:
    """Have the ungrouped required traits among the ungrouped providers.

    Those of a provider without alternative are there anyway. What they lack,
    the first ask that can has to bring; if several could, by turns, this is
    not more than the truth.
    """
    ungrouped = [ask for ask in found if not ask.own and ask.required]
    if not ungrouped:
        return
    having = {p.uuid: frozenset(p.traits) for p in host.providers}
    missing = set(ungrouped[0].required)
    for ask in ungrouped:
        if len(found[ask]) == 1:
            missing -= having[next(iter(found[ask]))]
    if not missing:
        return
    for ask in ungrouped:
        able = frozenset(u for u in found[ask] if missing <= having[u])
        if able:
            found[ask] = able
            return
    found.update(dict.fromkeys(ungrouped, frozenset()))


def count(
    host: capacity_hosts.Host,
    fitting: Collection[Fitting],
    unreserved: bool = False,
) -> int:
    """Return how many servers the host has room for; 0 if they ask nothing.

    :param unreserved: as if nothing was reserved
    """
    providers = {p.uuid: p for p in host.providers}
    kinds = [kind for _ask, kind in fitting]
    free = {
        (uuid, ask.name): ask.free(providers[uuid], unreserved)
        for ask, kind in fitting
        for uuid in kind.providers
    }
    bound = min(
        (
            sum(
                free[uuid, kind.resource_class] // kind.amount
                for uuid in kind.providers
            )
            // kind.groups
            for kind in kinds
        ),
        default=0,
    )
    if not bound or not _contend(kinds):
        return bound
    return packing.most(kinds, free, _MANY)


def _contend(kinds: Collection[packing.Kind]) -> bool:
    """Say whether groups stand in each other's way."""
    pairs = [(uuid, k.resource_class) for k in kinds for uuid in k.providers]
    isolated = sum(kind.groups for kind in kinds if kind.isolated)
    return len(set(pairs)) < len(pairs) or isolated > 1
