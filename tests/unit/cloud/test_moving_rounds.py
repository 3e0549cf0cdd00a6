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

import dataclasses
from typing import Any
import unittest
from unittest import mock

from osc_gpu.cloud import migration
from osc_gpu.cloud import migration_steps as steps
from osc_gpu.cloud import moving
from osc_gpu.cloud import moving_lanes
from osc_gpu.cloud import moving_rounds
from tests.unit.cloud import move_parts

RULES = moving_lanes.Rules(3, 7)


def order(name: str) -> steps.Order:
    return move_parts.order(server=move_parts.server(id=name, name=name))


def outcome(result: str, *, clean: bool = False) -> migration.Outcome:
    return migration.Outcome(
        order('a'), move_parts.server(), result, is_clean=clean
    )


class TestMove(unittest.TestCase):
    """``moving_lanes.move`` is scripted: what becomes of whom, each round."""

    def setUp(self) -> None:
        self.said: list[str] = []
        self.run_ = migration.Run(
            mock.Mock(), move_parts.world(), 600, self.said.append
        )
        self.script: dict[str, list[str]] = {}
        self.rounds: list[str] = []
        self.asked: list[str] = []
        self.settled: list[str] = []
        for module, name, do in (
            (moving_lanes, 'move', self.do_move),
            (moving, 'settle', self.do_settle),
        ):
            self.enterContext(
                mock.patch.object(module, name, autospec=True, side_effect=do)
            )

    def do_move(
        self, run: Any, orders: Any, rules: moving_lanes.Rules
    ) -> moving.Outcomes:
        self.assertIs(RULES, rules)
        self.rounds.append(' '.join(o.server.id for o in orders))
        done = []
        for one in orders:
            results = self.script.get(one.server.id)
            result = results.pop(0) if results else steps.MIGRATED
            clean = result in (steps.FAILED, steps.REVERTED, steps.NOT_BEGUN)
            done.append(
                migration.Outcome(one, one.server, result, is_clean=clean)
            )
        # In the order in which they end.
        return tuple(reversed(done))

    def do_settle(
        self, run: Any, outcomes: Any, wait: float
    ) -> moving.Outcomes:
        self.assertEqual(RULES.wait, wait)
        self.settled += [o.server.id for o in outcomes]
        return tuple(
            dataclasses.replace(o, detail='unlocked') for o in outcomes
        )

    def again(self, done: moving.Outcomes) -> list[steps.Order]:
        """Try again whoever may be, and whoever came meanwhile."""
        self.asked.append(' '.join(f'{o.server.id}={o.result}' for o in done))
        new = [order(name) for name in self.script.pop('new', [])]
        return [
            *(o.order for o in done if moving_rounds.may_try_again(o)),
            *new,
        ]

    def move(self, *names: str) -> list[str]:
        found = moving_rounds.move(
            self.run_, [order(name) for name in names], self.again, RULES
        )
        return [f'{o.server.id}={o.result} {o.detail}'.strip() for o in found]

    def test_none(self) -> None:
        self.assertEqual([], self.move())

    def test_one_round(self) -> None:
        self.assertEqual(['a=migrated', 'b=migrated'], self.move('a', 'b'))
        self.assertEqual(['a b'], self.rounds)
        self.assertEqual(1, len(self.asked))
        self.assertEqual(([], []), (self.settled, self.said))

    def test_another_round(self) -> None:
        self.script = {'a': [steps.FAILED], 'c': [steps.REVERTED]}
        self.assertEqual(
            ['a=migrated', 'b=migrated', 'c=migrated'],
            self.move('a', 'b', 'c'),
        )
        self.assertEqual(['a b c', 'c a'], self.rounds)
        self.assertEqual(['another round for 2 servers'], self.said)
        self.assertEqual([], self.settled)

    def test_three_rounds_at_most(self) -> None:
        self.script = {'a': 9 * [steps.FAILED]}
        self.assertEqual(
            ['a=failed unlocked', 'b=migrated'], self.move('a', 'b')
        )
        self.assertEqual(['a b', 'a', 'a'], self.rounds)
        # Nothing could be done after the last.
        self.assertEqual(2, len(self.asked))
        self.assertEqual(['a'], self.settled)

    def test_told_of_all_rounds(self) -> None:
        self.script = {'a': [steps.FAILED, steps.POISONED]}
        self.move('a', 'b')
        self.assertEqual(
            ['b=migrated a=failed', 'b=migrated a=poisoned'], self.asked
        )

    def test_who_came_meanwhile(self) -> None:
        self.script = {'new': ['late', 'later']}
        self.assertEqual(
            ['a=migrated', 'late=migrated', 'later=migrated'], self.move('a')
        )
        self.assertEqual(['a', 'late later'], self.rounds)

    def test_who_is_left_out(self) -> None:
        self.script = {'a': [steps.FAILED], 'b': [steps.POISONED]}
        with mock.patch.object(self, 'again', autospec=True, return_value=[]):
            found = self.move('a', 'b')
        self.assertEqual(['a=failed unlocked', 'b=poisoned'], found)
        self.assertEqual(['a b'], self.rounds)

    def test_stopped(self) -> None:
        """What failed is settled, and nothing is tried any more."""
        self.script = {'a': [steps.FAILED], 'b': [steps.NOT_BEGUN]}
        self.assertEqual(
            ['a=failed unlocked', 'b=not begun'], self.move('a', 'b')
        )
        self.assertEqual([], self.asked)

    def test_stopped_before_the_second_try(self) -> None:
        """It has failed, and is unlocked as others that have."""
        self.script = {
            'a': [steps.FAILED, steps.POISONED],
            'b': [steps.FAILED, steps.NOT_BEGUN],
        }
        self.assertEqual(
            ['a=poisoned', 'b=failed unlocked'], self.move('a', 'b')
        )
        self.assertEqual(['b'], self.settled)


class TestMayTryAgain(unittest.TestCase):
    def test_results(self) -> None:
        for result in (
            steps.MIGRATED,
            steps.UNCONFIRMED,
            steps.REVERTED,
            steps.RECOVERED,
            steps.FAILED,
            steps.POISONED,
            steps.REFUSED,
            steps.TIMED_OUT,
            steps.INTERRUPTED,
            steps.NOT_BEGUN,
            steps.UNSETTLED,
        ):
            with self.subTest(result):
                self.assertFalse(moving_rounds.may_try_again(outcome(result)))
                self.assertIs(
                    result in (steps.FAILED, steps.REVERTED),
                    moving_rounds.may_try_again(outcome(result, clean=True)),
                )
