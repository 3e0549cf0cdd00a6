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

"""How often a server's GPUs fit into the devices of one host.

A question of routing units: every server needs groups of several kinds, every
device has so many units to give.
"""

from collections.abc import Hashable
from collections.abc import Mapping
from collections.abc import Sequence
import itertools
from typing import NamedTuple

#: Units that are free, by provider and resource class.
Free = Mapping[tuple[str, str], int]

_Graph = dict[Hashable, dict[Hashable, int]]
_Groups = dict[tuple[int, str], int]

_SOURCE = 'source'
_SINK = 'sink'


class Kind(NamedTuple):
    """Request groups of a server that ask for the same.

    :param resource_class: what each of them asks for
    :param amount: how many units each takes, all from one provider
    :param groups: how many of these a server has
    :param providers: the UUIDs of those whose traits suit
    :param isolated: no two isolated groups of a server share a provider
    """

    resource_class: str
    amount: int
    groups: int
    providers: frozenset[str]
    isolated: bool = False


def most(kinds: Sequence[Kind], free: Free, at_most: int) -> int:
    """Return how many servers fit, up to so many.

    n servers need n times the groups of each kind, and their isolated groups
    take at most n from one provider. Wherever units can be routed like that,
    they can be split into n servers, as a bipartite multigraph of degree n
    splits into n matchings (König). So this is exact where no provider serves
    groups of several amounts or, besides isolated ones, several classes.
    There it is never too much; and exact, too, if each amount divides the
    next and nothing is isolated.
    """
    low, high = 0, max(0, at_most)
    for kind in kinds:
        pieces = sum(
            free.get((provider, kind.resource_class), 0) // kind.amount
            for provider in kind.providers
        )
        high = min(high, pieces // kind.groups)
    while low < high:
        middle = (low + high + 1) // 2
        if _fits(kinds, free, middle):
            low = middle
        else:
            high = middle - 1
    return low


def _fits(kinds: Sequence[Kind], free: Free, servers: int) -> bool:
    """Say whether so many servers fit, the larger amounts placed first."""
    left = dict(free)
    apart = {p: servers for kind in kinds for p in kind.providers}
    for amount in sorted({kind.amount for kind in kinds}, reverse=True):
        alike = [kind for kind in kinds if kind.amount == amount]
        taken = _share_out(alike, left, apart, servers)
        if taken is None:
            return False
        for (number, provider), groups in taken.items():
            left[provider, alike[number].resource_class] -= groups * amount
            if alike[number].isolated:
                apart[provider] -= groups
    return True


def _share_out(
    kinds: Sequence[Kind], free: Free, apart: Mapping[str, int], servers: int
) -> _Groups | None:
    """Route the groups of so many servers to providers.

    :param kinds: all of one amount
    :param apart: isolated groups that each provider may take
    :returns: groups by the number of the kind and provider, or None
    """
    graph = _graph(kinds, free, apart, servers)
    whole = {node: dict(edges) for node, edges in graph.items()}
    while path := _path(graph):
        _push(graph, path)
    if any(graph[_SOURCE].values()):
        return None
    return {
        (number, provider): used
        for number, kind in enumerate(kinds)
        for provider in kind.providers
        for first in _way(kinds, kind, provider)[:1]
        if (used := whole[number][first] - graph[number][first])
    }


def _graph(
    kinds: Sequence[Kind], free: Free, apart: Mapping[str, int], servers: int
) -> _Graph:
    graph: _Graph = {_SOURCE: {}, _SINK: {}}
    for number, kind in enumerate(kinds):
        wanted = servers * kind.groups
        graph[_SOURCE][number] = wanted
        graph[number] = {_SOURCE: 0}
        for provider in kind.providers:
            bounds = {
                'units': free.get((provider, kind.resource_class), 0)
                // kind.amount,
                'apart': apart[provider],
            }
            node: Hashable = number
            capacity = wanted
            way = _way(kinds, kind, provider)
            for following in way:
                graph.setdefault(node, {})[following] = capacity
                graph.setdefault(following, {}).setdefault(node, 0)
                node, capacity = following, bounds[following[0]]
            graph[node][_SINK] = capacity
            graph[_SINK][node] = 0
    return graph


def _way(
    kinds: Sequence[Kind], kind: Kind, provider: str
) -> list[tuple[str, ...]]:
    """Return the bounds that a kind's groups pass on their way, in order."""
    here = [other for other in kinds if provider in other.providers]
    units = ('units', provider, kind.resource_class)
    if len({other.resource_class for other in here}) == 1:
        return [('apart', provider), units] if kind.isolated else [units]
    if any(other.isolated for other in here):
        return [units, ('apart', provider)]
    return [units]


def _path(graph: _Graph) -> list[Hashable] | None:
    """Find a shortest way with capacity left from source to sink."""
    before: dict[Hashable, Hashable] = {}
    todo: list[Hashable] = [_SOURCE]
    for node in todo:
        for following, capacity in graph[node].items():
            if capacity and following not in before and following != _SOURCE:
                before[following] = node
                todo.append(following)
        if _SINK in before:
            break
    else:
        return None
    path: list[Hashable] = [_SINK]
    while path[-1] != _SOURCE:
        path.append(before[path[-1]])
    return path[::-1]


def _push(graph: _Graph, path: Sequence[Hashable]) -> None:
    """Send as much along a path as it takes."""
    steps = list(itertools.pairwise(path))
    amount = min(graph[node][following] for node, following in steps)
    for node, following in steps:
        graph[node][following] -= amount
        graph[following][node] += amount
