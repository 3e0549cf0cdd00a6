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


"""A search for places: items of many units onto sites with providers.

Each item goes where it leaves least; where that leads nowhere, back and
another way. Sites that look alike are tried once, as are providers of a site
that do, and a state that was seen before is not looked into again. Nothing is
known here of servers.
"""

from collections.abc import Hashable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import itertools
import math
from typing import NamedTuple

#: Providers that are tried for one item on one site.
_MOST_TRIED = 2000

#: Amounts by provider and resource class.
Amounts = Mapping[tuple[str, str], int]


class Unit(NamedTuple):
    """Amounts by class that one of some providers has to give.

    No two isolated units of an item share a provider.
    """

    resources: tuple[tuple[str, int], ...]
    providers: tuple[str, ...]
    is_isolated: bool = False


class Item(NamedTuple):
    """What is to be placed.

    ``units`` are what it takes of each site that it may go to; of items of
    one ``form`` they are the same. Sites with the least left of ``classes``
    are tried first, those that it ``shuns`` last. Of items with a common name
    in ``apart`` no two share a site. Items that ``queue`` are brought to a
    site one after the other.
    """

    key: str
    form: int
    units: Mapping[str, Sequence[Unit]]
    classes: tuple[str, ...] = ()
    shuns: frozenset[str] = frozenset()
    apart: frozenset[str] = frozenset()
    queues: bool = False


class Place(NamedTuple):
    """Where an item goes, and what it takes there."""

    site: str
    takes: Amounts


def search(
    sites: Mapping[str, Amounts],
    items: Sequence[Item],
    most_steps: int,
    lanes: int = 1,
) -> dict[str, Place]:
    """Place all items, or as many as are found to go together.

    :param sites: what is free of each, by its name
    :param items: in the order in which they are tried
    :param most_steps: sites that are tried for some item, at most; a first
        result takes as many as it takes
    :param lanes: over how many sites items that queue are spread, if all
        find a place so at the first try
    """
    if lanes > 1:
        spread = _Search(sites, items, 0, lanes).run()
        if len(spread) == len(items):
            return spread
    return _Search(sites, items, most_steps).run()


class _Site:
    """A site while items are placed on it.

    ``look`` tells it from other sites, as it is now: of those alike one is as
    good as another. ``looks`` numbers the looks of all sites. ``queue`` is
    how many items queue for it.
    """

    def __init__(
        self,
        name: str,
        free: Amounts,
        items: Sequence[Item],
        looks: dict[Hashable, int],
    ) -> None:
        self.name = name
        self.free = {key: free[key] for key in sorted(free)}
        self.kinds = _kinds(name, self.free, items)
        self.queue = 0
        self._apart: frozenset[str] = frozenset()
        self._ways = tuple(
            (name in item.units, name in item.shuns) for item in items
        )
        self._looks = looks
        self.look = self.first_look = self._look()

    def change(self, takes: Amounts, item: Item, sign: int) -> None:
        """Take what an item takes (1), or give it back (-1)."""
        for where, amount in takes.items():
            self.free[where] -= sign * amount
        apart = item.apart
        self._apart = self._apart | apart if sign > 0 else self._apart - apart
        self.queue += sign * item.queues
        self.look = self._look()

    def takes_none_of(self, apart: frozenset[str]) -> bool:
        """Whether nothing is here that an item has to be apart from."""
        return self._apart.isdisjoint(apart)

    def left(self, classes: Sequence[str]) -> int:
        """Return how much of some classes is free."""
        return sum(n for (_p, name), n in self.free.items() if name in classes)

    def _look(self) -> int:
        left: dict[str, list[int]] = {}
        for (provider, _name), amount in self.free.items():
            left.setdefault(provider, []).append(amount)
        alike = sorted((self.kinds[p], tuple(n)) for p, n in left.items())
        look = (self._ways, tuple(alike), self._apart)
        return self._looks.setdefault(look, len(self._looks))


_Kind = tuple[tuple[str, ...], tuple[tuple[int, int], ...]]


def _kinds(
    name: str, free: Amounts, items: Sequence[Item]
) -> dict[str, _Kind]:
    """Return what tells the providers of a site apart.

    Which classes they have, and which units of which forms they may give.
    """
    forms = {item.form: item.units.get(name, ()) for item in items}
    gives: dict[str, list[tuple[int, int]]] = {}
    for form, units in sorted(forms.items()):
        for number, unit in enumerate(units):
            for provider in unit.providers:
                gives.setdefault(provider, []).append((form, number))
    classes: dict[str, list[str]] = {}
    for provider, resource_class in free:
        classes.setdefault(provider, []).append(resource_class)
    return {
        provider: (tuple(names), tuple(gives.get(provider, ())))
        for provider, names in classes.items()
    }


class _Search:
    """One search: where items are now, and the best that was found."""

    def __init__(
        self,
        sites: Mapping[str, Amounts],
        items: Sequence[Item],
        most_steps: int,
        lanes: int = 1,
    ) -> None:
        looks: dict[Hashable, int] = {}
        self._sites = [
            _Site(name, sites[name], items, looks) for name in sorted(sites)
        ]
        self._most_steps = most_steps
        self._lanes = lanes
        self._steps = 0
        # What has no room alone must not keep the others searching.
        self._items = [item for item in items if any(self._options(item))]
        self._bound = _least_left_out(sites, self._items)
        self._placed: dict[str, Place] = {}
        self._best: dict[str, Place] | None = None
        self._seen: dict[Hashable, int] = {}

    def run(self) -> dict[str, Place]:
        """Search; return the best that was found."""
        self._descend(0, 0)
        return self._best or {}

    def _descend(self, number: int, skipped: int) -> bool:
        """Place the items from a number on; tell whether to stop there."""
        if self._best is not None and self._steps > self._most_steps:
            return True
        if number == len(self._items):
            self._best = dict(self._placed)
            return skipped <= self._bound
        state = (number, self._state())
        if self._seen.get(state, len(self._items) + 1) <= skipped:
            return False
        self._seen[state] = skipped
        item = self._items[number]
        for site, takes in self._options(item):
            site.change(takes, item, 1)
            self._placed[item.key] = Place(site.name, takes)
            done = self._descend(number + 1, skipped)
            del self._placed[item.key]
            site.change(takes, item, -1)
            if done:
                return True
        # Worth it only if fewer are left out than of the best so far.
        if self._best is None or skipped + 1 < self._left_out:
            return self._descend(number + 1, skipped + 1)
        return False

    @property
    def _left_out(self) -> int:
        return len(self._items) - len(self._best or ())

    def _state(self) -> Hashable:
        """Return what became of the sites, whichever of those alike."""
        changed = (
            (site.first_look, site.look)
            for site in self._sites
            if site.look != site.first_look
        )
        return tuple(sorted(changed))

    def _options(self, item: Item) -> Iterator[tuple[_Site, Amounts]]:
        """Return the sites that have room, the best first, and what of it."""
        seen = set()
        found = []
        for site in self._sites:
            queue = self._queue(site, item)
            if site.name not in item.units or (site.look, queue) in seen:
                continue
            seen.add((site.look, queue))
            if not site.takes_none_of(item.apart):
                continue
            self._steps += 1
            ways = _ways(site, item.units[site.name])
            first = next(ways, None)
            if first is not None:
                rank = (
                    site.name in item.shuns,
                    queue,
                    *(site.left([name]) for name in item.classes),
                    site.name,
                )
                found.append((rank, site, first, ways))
        for _rank, site, first, ways in sorted(found, key=lambda f: f[0]):
            yield site, first
            for takes in ways:
                yield site, takes

    def _queue(self, site: _Site, item: Item) -> float:
        """Return how long an item queues; none opens a lane too many."""
        if self._lanes < 2 or not item.queues:
            return 0
        begun = sum(bool(other.queue) for other in self._sites)
        if begun < self._lanes or site.queue:
            return site.queue
        return math.inf


def _least_left_out(
    sites: Mapping[str, Amounts], items: Sequence[Item]
) -> int:
    """Return how many items at least have no room, by each class alone."""
    free: dict[str, int] = {}
    for name in {name for item in items for name in item.units}:
        for (_provider, resource_class), amount in sites[name].items():
            free[resource_class] = free.get(resource_class, 0) + amount
    needs: dict[int, dict[str, int]] = {}
    wanted: dict[str, list[int]] = {}
    for item in items:
        if item.form not in needs:
            needs[item.form] = _needs(item)
        for resource_class, amount in needs[item.form].items():
            wanted.setdefault(resource_class, []).append(amount)
    most = 0
    for resource_class, sizes in wanted.items():
        sums = itertools.accumulate(sorted(sizes))
        fit = sum(total <= free.get(resource_class, 0) for total in sums)
        most = max(most, len(sizes) - fit)
    return most


def _needs(item: Item) -> dict[str, int]:
    """Return what an item takes of each class, wherever it goes."""
    found: dict[str, int] | None = None
    for units in item.units.values():
        amounts: dict[str, int] = {}
        for unit in units:
            for name, amount in unit.resources:
                amounts[name] = amounts.get(name, 0) + amount
        if found is None:
            found = amounts
        else:
            found = {n: min(a, amounts.get(n, 0)) for n, a in found.items()}
    return found or {}


def _ways(site: _Site, units: Sequence[Unit]) -> Iterator[Amounts]:
    """Return the ways in which a site gives the units of an item."""
    tried = 0
    chosen: list[str] = []
    taken: dict[tuple[str, str], int] = {}

    def give(number: int) -> Iterator[Amounts]:
        nonlocal tried
        if number == len(units):
            yield dict(taken)
            return
        unit = units[number]
        for provider in _able(site, units, chosen, taken):
            tried += 1
            if tried > _MOST_TRIED:
                return
            chosen.append(provider)
            for name, amount in unit.resources:
                taken[provider, name] = taken.get((provider, name), 0) + amount
            yield from give(number + 1)
            for name, amount in unit.resources:
                taken[provider, name] -= amount
            chosen.pop()

    return give(0)


def _able(
    site: _Site,
    units: Sequence[Unit],
    chosen: Sequence[str],
    taken: Amounts,
) -> list[str]:
    """Return the providers that can give the next unit, the fullest first.

    One of those that are alike. Equal units take theirs in order, as it does
    not matter which takes which.
    """
    number = len(chosen)
    unit = units[number]
    least = chosen[-1] if number and units[number - 1] == unit else ''
    isolated = {
        provider
        for provider, other in zip(chosen, units, strict=False)
        if other.is_isolated
    }
    found: dict[Hashable, tuple[tuple[int, ...], str]] = {}
    for provider in unit.providers:
        if provider < least or (unit.is_isolated and provider in isolated):
            continue
        kind = site.kinds[provider]
        left = tuple(
            site.free[provider, name] - taken.get((provider, name), 0)
            for name in kind[0]
        )
        have = dict(zip(kind[0], left, strict=True))
        if all(have[name] >= amount for name, amount in unit.resources):
            look = (kind, left, provider in isolated)
            found.setdefault(look, (left, provider))
    return [provider for _left, provider in sorted(found.values())]
