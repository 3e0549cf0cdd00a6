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

"""What has to be said beside the numbers of a capacity."""

from collections.abc import Iterable
from collections.abc import Mapping
from typing import NamedTuple

from osc_gpu.cloud import capacity
from osc_gpu.cloud import capacity_hosts
from osc_gpu.i18n import _


class Fragment(NamedTuple):
    """How the free units of a GPU class lie.

    ``free`` units in all on hosts that take servers, ``most`` on one of
    them. ``ruled_out`` are the flavors that ask for more than that of one
    host, and not for more than there is.
    """

    resource_class: str
    free: int
    most: int
    ruled_out: tuple[str, ...]

    @property
    def text(self) -> str:
        """The same as a sentence without full stop."""
        said = _(
            "%(free)d %(class)s free in all, at most %(most)d on one host"
        )
        said %= {
            'free': self.free,
            'class': self.resource_class,
            'most': self.most,
        }
        if not self.ruled_out:
            return said
        return _("%(said)s; rules out: %(flavors)s") % {
            'said': said,
            'flavors': ', '.join(self.ruled_out),
        }


def fragments(
    cloud: capacity_hosts.Cloud,
    verdicts: Iterable[capacity.Verdict],
    given: Mapping[str, str],
) -> tuple[Fragment, ...]:
    """Return how each GPU class of some flavors lies."""
    needs: dict[str, dict[str, int]] = {}
    for verdict in verdicts:
        for name, amount in _needs(cloud, verdict, given).items():
            needs.setdefault(name, {})[verdict.request.flavor] = amount
    found = []
    for name, by_flavor in sorted(needs.items()):
        free = [
            sum(
                provider.resources[name].free
                for provider in host.providers
                if name in provider.resources
            )
            for host in cloud.hosts
            if not host.closed
        ]
        total, most = sum(free), max(free, default=0)
        ruled_out = [f for f, n in by_flavor.items() if most < n <= total]
        found.append(Fragment(name, total, most, tuple(sorted(ruled_out))))
    return tuple(found)


def _needs(
    cloud: capacity_hosts.Cloud,
    verdict: capacity.Verdict,
    given: Mapping[str, str],
) -> dict[str, int]:
    """Return how much of each GPU class one server takes."""
    request = verdict.request
    needs = dict(request.gpu_request.classes)
    stands = capacity_hosts.resolve(cloud, request.aliases, given)
    for alias, amount in request.aliases:
        name = stands[alias].resource_class
        needs[name] = needs.get(name, 0) + amount
    needs.pop('', None)
    return needs


def of_aliases(
    cloud: capacity_hosts.Cloud,
    verdict: capacity.Verdict,
    given: Mapping[str, str],
) -> list[str]:
    """Return what is assumed of a flavor's aliases, or not counted."""
    stands = capacity_hosts.resolve(cloud, verdict.request.aliases, given)
    assumed = _(
        "Assumed, as it is the only class of PCI GPUs: alias %(alias)s stands "
        "for %(class)s"
    )
    unproven = _("Whether alias %(alias)s is defined is not known: %(why)s")
    found = [
        assumed % {'alias': alias, 'class': known.resource_class}
        for alias, known in stands.items()
        if known.how == capacity_hosts.ASSUMED and alias not in cloud.undefined
    ]
    found += [
        unproven % {'alias': alias, 'why': cloud.unproven[alias]}
        for alias in stands
        if alias in cloud.unproven
    ]
    several = _(
        "Devices of %s have different traits: what traits an alias asks for "
        "is in no API, and not counted"
    )
    classes = {known.resource_class for known in stands.values()}
    return found + [
        several % name
        for name in sorted(classes)
        if _has_several_kinds(cloud, name)
    ]


def read(
    cloud: capacity_hosts.Cloud,
    verdict: capacity.Verdict,
    given: Mapping[str, str],
) -> tuple[str, ...]:
    """Return what the numbers of one flavor stand on, and leave out."""
    request = verdict.request
    found = of_aliases(cloud, verdict, given)
    if request.aggregates:
        found.append(
            _(
                "Aggregates matter only where AggregateInstanceExtraSpecs"
                "Filter is enabled, which is in no API; it is counted"
            )
        )
    if request.uncounted:
        text = _("Hosts that %s may rule out are counted all the same")
        found.append(text % ', '.join(request.uncounted))
    return (*found, *_units(cloud, verdict))


def _has_several_kinds(cloud: capacity_hosts.Cloud, name: str) -> bool:
    kinds = {
        frozenset(t for t in provider.traits if t.startswith('CUSTOM_'))
        for host in cloud.hosts
        for provider in host.providers
        if name in provider.resources
    }
    return len(kinds) > 1


def _units(
    cloud: capacity_hosts.Cloud, verdict: capacity.Verdict
) -> Iterable[str]:
    judged = {host.host for host in verdict.hosts}
    for name, amount in sorted(verdict.request.amounts):
        uuids = cloud.refused.get((name, amount), frozenset())
        hosts = [
            host.name
            for host in cloud.hosts
            if host.name in judged
            and any(provider.uuid in uuids for provider in host.providers)
        ]
        if hosts:
            yield _(
                "%(name)s:%(amount)d is free on %(hosts)s, but one server "
                "does not get it there (min_unit, max_unit, step_size)"
            ) % {
                'name': name,
                'amount': amount,
                'hosts': _few(hosts),
            }


def _few(names: list[str]) -> str:
    if len(names) <= 3:
        return ', '.join(names)
    return _("%d hosts") % len(names)
