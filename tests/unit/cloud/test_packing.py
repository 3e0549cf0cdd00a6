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

import functools
import itertools
import unittest

import hypothesis
from hypothesis import strategies

from osc_gpu.cloud import packing

X = 'VGPU'
Y = 'CUSTOM_Y'


def kind(providers, count=1, amount=1, isolated=False, resource_class=X):
    return packing.Kind(
        resource_class, amount, count, frozenset(providers), isolated
    )


def most(kinds, free, at_most=100):
    classes = {k.resource_class for k in kinds}
    if not isinstance(next(iter(free), ()), tuple):
        free = {(p, c): n for p, n in free.items() for c in classes}
    return packing.most(kinds, free, at_most)


def brute_force(kinds, free):
    """Place server after server in every possible way."""
    groups = [k for k in kinds for _n in range(k.groups)]

    @functools.cache
    def count(state):
        free = dict(state)
        best = 0
        choices = [sorted(k.providers) for k in groups]
        for choice in itertools.product(*choices):
            apart = [
                p for p, k in zip(choice, groups, strict=True) if k.isolated
            ]
            if len(set(apart)) < len(apart):
                continue
            left = dict(free)
            for p, k in zip(choice, groups, strict=True):
                key = p, k.resource_class
                left[key] = left.get(key, 0) - k.amount
            if min(left.values(), default=0) >= 0:
                best = max(best, 1 + count(tuple(sorted(left.items()))))
        return best

    return count(tuple(sorted(free.items())))


class TestMost(unittest.TestCase):
    def test_cards(self):
        cards = dict.fromkeys('abcdefgh', 1)
        for wanted, fit in ((1, 8), (2, 4), (3, 2), (8, 1), (9, 0)):
            with self.subTest(wanted=wanted):
                self.assertEqual(fit, most([kind(cards, wanted)], cards))

    def test_at_most(self):
        self.assertEqual(3, most([kind('a')], {'a': 16}, 3))
        self.assertEqual(0, most([kind('a')], {'a': 16}, 0))
        self.assertEqual(0, most([kind('a')], {'a': 16}, -1))

    def test_nothing_asked(self):
        self.assertEqual(7, most([], {}, 7))

    def test_one_provider_gives_the_whole_amount(self):
        free = {'a': 3, 'b': 3}
        self.assertEqual(2, most([kind('ab', amount=2)], free))
        self.assertEqual(0, most([kind('ab', amount=4)], free))

    def test_isolated(self):
        pair = [kind('ab', 2, isolated=True)]
        self.assertEqual(3, most(pair, {'a': 16, 'b': 3}))
        self.assertEqual(9, most([kind('ab', 2)], {'a': 16, 'b': 3}))
        self.assertEqual(0, most([kind('a', 2, isolated=True)], {'a': 16}))
        three = [kind('abc', 2, isolated=True)]
        self.assertEqual(3, most(three, {'a': 2, 'b': 2, 'c': 2}))

    def test_traits_overlap(self):
        """What can go anywhere makes room for what cannot."""
        kinds = [kind('ab'), kind('a')]
        self.assertEqual(2, most(kinds, {'a': 2, 'b': 2}))
        self.assertEqual(1, most(kinds, {'a': 1, 'b': 9}))

    def test_classes(self):
        free = {('a', X): 2, ('a', Y): 1, ('b', X): 5}
        kinds = [kind('ab'), kind('a', resource_class=Y)]
        self.assertEqual(1, packing.most(kinds, free, 100))

    def test_amounts_that_divide(self):
        kinds = [kind('ab', amount=2), kind('ab', amount=1)]
        self.assertEqual(1, most(kinds, {'a': 3, 'b': 2}))
        self.assertEqual(2, most(kinds, {'a': 3, 'b': 3}))

    def test_many(self):
        free = {f'p{n}': 32 for n in range(64)}
        self.assertEqual(
            1024, most([kind(free, 2, isolated=True)], free, 10**6)
        )

    @hypothesis.settings(max_examples=150)
    @hypothesis.given(
        strategies.dictionaries(
            strategies.sampled_from('abcd'),
            strategies.integers(0, 3),
            min_size=1,
        ),
        strategies.lists(
            strategies.tuples(
                strategies.sets(strategies.sampled_from('abcd'), min_size=1),
                strategies.integers(1, 2),
                strategies.booleans(),
            ),
            min_size=1,
            max_size=2,
        ),
        strategies.integers(1, 2),
    )
    def test_as_brute_force(self, units, groups, amount):
        """One class, one amount: what is free, shared, isolated."""
        kinds = [kind(p, n, amount, apart) for p, n, apart in groups]
        free = {(p, X): n for p, n in units.items()}
        self.assertEqual(brute_force(kinds, free), most(kinds, free))

    @hypothesis.settings(max_examples=150)
    @hypothesis.given(
        strategies.dictionaries(
            strategies.tuples(
                strategies.sampled_from('abc'), strategies.sampled_from([X, Y])
            ),
            strategies.integers(0, 3),
            min_size=1,
        ),
        strategies.lists(
            strategies.tuples(
                strategies.sets(strategies.sampled_from('abc'), min_size=1),
                strategies.integers(1, 2),
                strategies.integers(1, 3),
                strategies.booleans(),
                strategies.sampled_from([X, Y]),
            ),
            min_size=1,
            max_size=2,
        ),
    )
    def test_never_too_much(self, free, groups):
        kinds = [kind(*group) for group in groups]
        found = packing.most(kinds, free, 100)
        truth = brute_force(kinds, free)
        self.assertLessEqual(found, truth)
        here = [{k.resource_class, k.amount} for k in kinds]
        if here[0] == here[-1]:
            self.assertEqual(truth, found)
        if len({k.amount for k in kinds}) == 1 and all(
            k.isolated for k in kinds
        ):
            self.assertEqual(truth, found)
