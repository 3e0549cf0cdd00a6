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

"""How many servers of a flavor fit, where, and what stands in the way."""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import NamedTuple

from osc_gpu.cloud import aggregate_specs
from osc_gpu.cloud import capacity_asks
from osc_gpu.cloud import capacity_hosts
from osc_gpu.cloud import resource_request
from osc_gpu.i18n import _

TRAIT = 'trait'
RESERVED = 'reserved'
AGGREGATE = 'aggregate'
NOT_DEFINED = 'alias not defined'
REQUESTED = 'requested'

emptied = capacity_hosts.emptied


@dataclasses.dataclass(frozen=True)
class HostVerdict:
    """How many servers one host takes.

    ``limits`` are the terms that leave it at this number: the resource class
    of a GPU, VCPU, PCPU, RAM, disk, or one of the words above and in
    capacity_hosts. ``free`` are the units that the flavor's GPU requests can
    use by class, none on a host that takes no server. ``unknown`` says why it
    cannot be told how many it takes.
    """

    host: str
    fits: int
    limits: tuple[str, ...]
    free: Mapping[str, int]
    unknown: str = ''


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How many servers of a flavor fit.

    ``fits`` is None where that cannot be known, for the reason ``why``, which
    also says why it is 0 where no single host is to blame. ``hosts`` are
    those that have all GPU classes of the request, by name. ``classes`` are
    the GPU classes, with how they are known: REQUESTED, or as in
    capacity_hosts.Stands.
    """

    request: resource_request.Request
    fits: int | None
    why: str = ''
    hosts: tuple[HostVerdict, ...] = ()
    classes: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def hosts_that_fit(self) -> int:
        """How many hosts take at least one server."""
        return sum(host.fits > 0 for host in self.hosts)

    @property
    def free(self) -> int:
        """Units free for the flavor's GPU requests on hosts that are open."""
        return sum(sum(host.free.values()) for host in self.hosts)

    @property
    def most_free(self) -> int:
        """The most units of it that are free on one host."""
        return max((sum(h.free.values()) for h in self.hosts), default=0)

    @property
    def blocking(self) -> dict[str, int]:
        """How many hosts each term keeps from taking any, most first."""
        found: dict[str, int] = {}
        for host in self.hosts:
            for term in host.limits if not host.fits else ():
                found[term] = found.get(term, 0) + 1
        return dict(sorted(found.items(), key=lambda item: -item[1]))


def judge(
    cloud: capacity_hosts.Cloud,
    request: resource_request.Request,
    given: Mapping[str, str] | None = None,
    lift: Collection[str] = (),
    host: str | None = None,
) -> Verdict:
    """Judge how many more servers of a flavor the cloud takes.

    :param given: resource classes by alias, as the user gave them
    :param lift: terms that are not heeded
    :param host: judge only this host
    """
    if request.refused:
        return Verdict(request, 0, request.refused)
    stands = capacity_hosts.resolve(cloud, request.aliases, given or {})
    classes = dict.fromkeys(request.gpu_classes, REQUESTED) | {
        known.resource_class: known.how
        for known in stands.values()
        if known.resource_class
    }
    undefined = [name for name in stands if name in cloud.undefined]
    if undefined and NOT_DEFINED not in lift:
        why = [_("alias %s not defined") % ', '.join(undefined)]
        return Verdict(request, 0, why[0], classes=classes)
    why = [s.how for s in stands.values() if not s.resource_class]
    if why:
        return Verdict(request, None, why[0], classes=classes)
    asks = capacity_asks.read(request, stands)
    tangled = capacity_asks.tangled(asks)
    if tangled:
        why = [_("one group asks for %s beside other classes") % tangled]
        return Verdict(request, None, why[0], classes=classes)
    question = _Question(
        request,
        tuple(ask for ask in asks if ask.term not in lift),
        frozenset(classes),
        cloud.refused,
        frozenset(lift),
    )
    return dataclasses.replace(
        _judge_hosts(cloud, question, host), classes=classes
    )


def _judge_hosts(
    cloud: capacity_hosts.Cloud, question: '_Question', host: str | None
) -> Verdict:
    judged = tuple(
        _judge_host(candidate, question)
        for candidate in cloud.hosts
        if question.gpu_classes <= candidate.classes
        and host in (None, candidate.name)
    )
    unknown = [found.unknown for found in judged if found.unknown]
    unread = _unread(cloud, question.request)
    if unread and host is None:
        unknown.append(_("%d hosts with devices are not read") % len(unread))
    return Verdict(
        question.request,
        None if unknown else sum(found.fits for found in judged),
        unknown[0] if unknown else _nowhere(cloud, question, judged, host),
        judged,
    )


def _unread(
    cloud: capacity_hosts.Cloud, request: resource_request.Request
) -> frozenset[str]:
    """Return the roots that were not read, and may have room."""
    giving = [
        cloud.unread.get(item, frozenset())
        for item in request.resources.items()
        if item[0] in capacity_asks.OF_HOSTS
    ]
    return frozenset.intersection(*giving) if giving else frozenset()


def _nowhere(
    cloud: capacity_hosts.Cloud,
    question: '_Question',
    hosts: Collection[HostVerdict],
    host: str | None,
) -> str:
    """Say which class no host has, or that none has all of them."""
    if hosts:
        return ''
    missing = question.gpu_classes - cloud.classes
    wanted = ', '.join(sorted(missing or question.gpu_classes))
    if host is not None:
        return _("the host lacks %s") % wanted
    if missing:
        return _("no host has %s") % wanted
    return _("no host has all of %s") % wanted


class _Question(NamedTuple):
    request: resource_request.Request
    asks: tuple[capacity_asks.Ask, ...]
    gpu_classes: frozenset[str]
    refused: Mapping[tuple[str, int], frozenset[str]]
    lift: frozenset[str]

    def is_gpu(self, ask: capacity_asks.Ask) -> bool:
        return any(name in self.gpu_classes for name, _n in ask.resources)

    @property
    def unreserved(self) -> bool:
        return RESERVED in self.lift

    def fit(
        self, host: capacity_hosts.Host, traits: bool
    ) -> list[capacity_asks.Fitting]:
        return capacity_asks.fit(
            host,
            self.asks,
            self.refused,
            traits=traits and TRAIT not in self.lift,
        )


def _judge_host(host: capacity_hosts.Host, question: _Question) -> HostVerdict:
    closed = [term for term in host.closed if term not in question.lift]
    wanted = question.request.aggregates
    if AGGREGATE not in question.lift and not aggregate_specs.match(
        host.metadata, wanted
    ):
        closed.append(AGGREGATE)
    fitting = question.fit(host, traits=True)
    fits = capacity_asks.count(host, fitting, question.unreserved)
    limits = []
    if not fits:
        limits = _blocking(host, question, fitting)
    elif not closed:
        limits = _binding(host, question, fitting, fits)
    return HostVerdict(
        host.name,
        0 if closed else fits,
        (*closed, *limits),
        {} if closed else _free(host, question, fitting),
        '' if closed else _unknown(host, question.request, limits),
    )


def _unknown(
    host: capacity_hosts.Host,
    request: resource_request.Request,
    limits: Collection[str],
) -> str:
    """Say why the terms that limit a host may not; '' if they do."""
    doubts = {}
    if 'DISK_GB' not in host.classes:
        doubts['disk'] = _(
            "host %s has no DISK_GB of its own, and shared storage is not "
            "counted"
        )
    if request.is_pinned and 'PCPU' not in host.classes:
        doubts['PCPU'] = _(
            "host %s has no PCPU: Nova may pin its VCPUs instead, and which "
            "of them are pinned is in no API"
        )
    if not limits or not doubts.keys() >= set(limits):
        return ''
    return doubts[next(iter(limits))] % host.name


def _terms(
    fitting: Iterable[capacity_asks.Fitting],
) -> dict[str, list[capacity_asks.Fitting]]:
    found: dict[str, list[capacity_asks.Fitting]] = {}
    for item in fitting:
        found.setdefault(item.ask.term, []).append(item)
    return found


def _binding(
    host: capacity_hosts.Host,
    question: _Question,
    fitting: Sequence[capacity_asks.Fitting],
    fits: int,
) -> list[str]:
    """Return the terms that, alone, would let no more servers fit."""
    alone = [
        term
        for term, items in _terms(fitting).items()
        if capacity_asks.count(host, items, question.unreserved) == fits
    ]
    return alone or _gpu_terms(question)


def _blocking(
    host: capacity_hosts.Host,
    question: _Question,
    fitting: Sequence[capacity_asks.Fitting],
) -> list[str]:
    """Return the terms each of which, alone, lets no server fit."""
    plain = _terms(question.fit(host, traits=False))
    found: dict[str, None] = {}
    for term, items in _terms(fitting).items():
        if capacity_asks.count(host, items, question.unreserved):
            continue
        if capacity_asks.count(host, plain[term], question.unreserved):
            found[TRAIT] = None
        elif capacity_asks.count(host, plain[term], unreserved=True):
            found[RESERVED] = None
        else:
            found[term] = None
    return list(found) or _gpu_terms(question)


def _gpu_terms(question: _Question) -> list[str]:
    """Return the GPU classes: what stands in its own way, by its groups."""
    terms = (ask.term for ask in question.asks if question.is_gpu(ask))
    return list(dict.fromkeys(terms))


def _free(
    host: capacity_hosts.Host,
    question: _Question,
    fitting: Iterable[capacity_asks.Fitting],
) -> dict[str, int]:
    """Return what is free of each GPU class for some of the requests."""
    able: dict[str, set[str]] = {}
    for ask, kind in fitting:
        for name, _n in ask.resources:
            if name in question.gpu_classes:
                able.setdefault(name, set()).update(kind.providers)
    return {
        name: sum(
            provider.resources[name].free
            for provider in host.providers
            if provider.uuid in uuids
        )
        for name, uuids in able.items()
    }


class Relaxed(NamedTuple):
    """How many servers would fit, on how many hosts, without one term."""

    term: str
    fits: int
    hosts: int


def relax(
    cloud: capacity_hosts.Cloud,
    verdict: Verdict,
    given: Mapping[str, str] | None = None,
) -> tuple[Relaxed, ...]:
    """Return what would fit without each term that limits any host.

    Of two terms that both leave no room on a host, neither helps alone.
    """
    terms = [term for host in verdict.hosts for term in host.limits]
    if any(name in cloud.undefined for name, _n in verdict.request.aliases):
        terms.append(NOT_DEFINED)
    found = []
    for term in dict.fromkeys(terms):
        without = judge(cloud, verdict.request, given, [term])
        if without.fits is not None:
            found.append(Relaxed(term, without.fits, without.hosts_that_fit))
    return tuple(found)


def blocked_by(verdict: Verdict) -> str:
    """Say in a few words what leaves no server; '' if one fits."""
    if verdict.why or verdict.fits:
        return verdict.why
    return ', '.join(_on_hosts(*item) for item in verdict.blocking.items())


def _on_hosts(term: str, hosts: int) -> str:
    if hosts == 1:
        return _("%s on 1 host") % term
    return _("%(term)s on %(hosts)d hosts") % {'term': term, 'hosts': hosts}
