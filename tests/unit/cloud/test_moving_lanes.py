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
import threading
import time
from typing import Any
import unittest
from unittest import mock

from openstack import exceptions as sdk_exceptions

from osc_gpu.cloud import audit_model
from osc_gpu.cloud import hypervisors
from osc_gpu.cloud import migration
from osc_gpu.cloud import migration_steps as steps
from osc_gpu.cloud import moving
from osc_gpu.cloud import moving_hosts
from osc_gpu.cloud import moving_lanes
from osc_gpu.cloud import placement
from tests.unit.cloud import move_parts
from tests.unit.cloud import moving_case
from tests.unit import fake_moves


def world(*with_cards: str) -> audit_model.Snapshot:
    """Return gpu1 to gpu3, of which some have PCI devices in Placement."""
    hosts = [f'gpu{number}' for number in (1, 2, 3)]
    names = [
        placement.Provider(f'root-{host}', host, f'root-{host}', None, {})
        for host in hosts
    ]
    names += [
        placement.Provider(
            f'card-{host}',
            f'{host}_0000:20:00.0',
            f'root-{host}',
            f'root-{host}',
            {},
        )
        for host in with_cards
    ]
    computes = [
        hypervisors.Hypervisor(f'root-{host}', host, host) for host in hosts
    ]
    return audit_model.Snapshot(
        names={p.uuid: p for p in names},
        providers={},
        hypervisors={h.id: h for h in computes},
        servers={},
    )


def order(
    name: str, target: str, specs: dict[str, str] | None = None
) -> steps.Order:
    found = move_parts.server(specs=specs, id=name, name=name)
    return move_parts.order(server=found, target=target)


class TestLanes(unittest.TestCase):
    def lanes(
        self,
        *orders: steps.Order,
        cards: tuple[str, ...] = ('gpu1', 'gpu2', 'gpu3'),
    ) -> list[str]:
        found = moving_lanes.lanes(orders, world(*cards))
        return [' '.join(o.server.id for o in lane) for lane in found]

    def test_one_host_one_lane(self) -> None:
        self.assertEqual(
            ['a c', 'b'],
            self.lanes(
                order('a', 'gpu2'), order('b', 'gpu3'), order('c', 'gpu2')
            ),
        )

    def test_who_is_on_its_way_goes_first(self) -> None:
        """It would keep the other one away if nobody confirmed it."""
        orders = [order(name, 'gpu2') for name in 'abc']
        orders[1:] = [
            dataclasses.replace(
                one, server=dataclasses.replace(one.server, **changes)
            )
            for one, changes in zip(
                orders[1:],
                ({'status': 'VERIFY_RESIZE'}, {'host': 'gpu2'}),
                strict=True,
            )
        ]
        self.assertEqual(['b c a'], self.lanes(*orders))

    def test_who_takes_no_pci_device_has_its_own(self) -> None:
        self.assertEqual(
            ['a c', 'b', 'd'],
            self.lanes(
                order('a', 'gpu2'),
                order('b', 'gpu2', {}),
                order('c', 'gpu2'),
                order('d', 'gpu2', {'resources:VGPU': '1'}),
            ),
        )

    def test_where_nova_chooses_it_may_be_any_host(self) -> None:
        self.assertEqual(
            ['a b', 'c'],
            self.lanes(order('a', 'gpu2'), order('b', ''), order('c', '', {})),
        )

    def test_devices_that_are_not_in_placement(self) -> None:
        self.assertEqual(
            ['a', 'b'],
            self.lanes(
                order('a', 'gpu2'), order('b', 'gpu2'), cards=('gpu1',)
            ),
        )


class TestMove(moving_case.TestCase):
    """``migration.move`` is scripted: what becomes of a server, by name."""

    def setUp(self) -> None:
        super().setUp()
        self.orders: list[steps.Order] = []
        self.results: dict[str, str] = {}
        self.untidy: dict[str, str] = {}
        self.others: list[str] = []
        self.refusal: Exception | None = None
        self.events: list[str] = []
        self.looks: list[tuple[str, str]] = []
        self.together = 0
        self.most = 0
        self.mutex = threading.Lock()
        for module, name, do in (
            (migration, 'move', self.do_move),
            (moving, 'settle', self.do_settle),
            (moving_hosts, 'tidy', self.do_tidy),
        ):
            self.enterContext(
                mock.patch.object(module, name, autospec=True, side_effect=do)
            )

    def do_move(self, run: Any, order: steps.Order) -> migration.Outcome:
        name = order.server.name
        with self.mutex:
            self.events.append(name)
            self.together += 1
            self.most = max(self.most, self.together)
        run.pause(0.005)
        with self.mutex:
            self.together -= 1
        result = self.results.get(name, steps.MIGRATED)
        return migration.Outcome(
            order, order.server, result, is_others=name in self.others
        )

    def do_settle(
        self, run: Any, outcomes: Any, wait: float
    ) -> moving.Outcomes:
        self.assertEqual(7, wait)
        if self.refusal:
            raise self.refusal
        self.events += [f'settle {o.server.name}' for o in outcomes]
        return tuple(outcomes)

    def do_tidy(
        self, run: Any, host: str, wait: float, before: str, left: list[str]
    ) -> str:
        self.assertEqual(7, wait)
        self.events.append(f'tidy {host}')
        self.looks.append((host, before))
        return self.untidy.get(host, '')

    def add(self, *names: str, target: str = 'gpu2', **changes: Any) -> None:
        """Have servers moved that take PCI devices."""
        for name in names:
            server = self.add_server(name, fake_moves.ALIAS, host='gpu1')
            self.orders.append(self.order(server, target=target, **changes))

    def add_plain(self, *names: str) -> None:
        """Have servers moved that take none."""
        for name in names:
            server = self.add_server(name, host='gpu1')
            self.orders.append(self.order(server, target='gpu2'))

    def rules(self, at_once: int = 1, **rules: Any) -> moving_lanes.Rules:
        return moving_lanes.Rules(at_once, 7, **rules)

    def move_all(
        self, at_once: int = 1, **rules: Any
    ) -> dict[str, migration.Outcome]:
        outcomes = moving_lanes.move(
            self.run_, self.orders, self.rules(at_once, **rules)
        )
        self.assertEqual(len(self.orders), len(outcomes))
        return {o.server.name: o for o in outcomes}

    def results_of(self, *args: int, **rules: Any) -> dict[str, str]:
        return {n: o.result for n, o in self.move_all(*args, **rules).items()}

    @property
    def begun(self) -> list[str]:
        return [event for event in self.events if ' ' not in event]

    def test_none(self) -> None:
        self.assertEqual({}, self.move_all())
        self.assertEqual([], self.events)

    def test_one_lane_is_settled_one_by_one(self) -> None:
        self.add('a', 'b', 'c')
        found = self.results_of(3)
        self.assertEqual(['a', 'b', 'c'], list(found))
        self.assertEqual({steps.MIGRATED}, set(found.values()))
        self.assertEqual(
            'tidy gpu2,a,settle a,tidy gpu2,b,settle b,tidy gpu2,c,settle c',
            ','.join(self.events),
        )
        self.assertEqual(1, self.most)

    def test_lanes_side_by_side(self) -> None:
        self.add('a', 'b')
        self.add('c', 'd', target='gpu3')
        at_work = threading.Barrier(2, timeout=30)

        def meet(run: Any, order: steps.Order) -> migration.Outcome:
            if order.server.name in 'ac':
                at_work.wait()
            return self.do_move(run, order)

        with mock.patch.object(migration, 'move', meet):
            found = self.results_of(2)
        self.assertEqual({*'abcd'}, set(found))
        for first, second in (('a', 'b'), ('c', 'd')):
            self.assertLess(
                self.events.index(f'settle {first}'),
                self.events.index(second),
            )

    def test_bound(self) -> None:
        self.add_plain(*'abcdef')
        self.move_all(3)
        self.assertLessEqual(self.most, 3)

    def test_more_at_once_than_there_are(self) -> None:
        self.add_plain(*'abcdef')
        self.assertEqual(6, len(self.move_all(32)))

    def test_failures_do_not_keep_the_others(self) -> None:
        self.add('a', 'b', 'c')
        for result in (steps.FAILED, steps.TIMED_OUT, steps.REVERTED):
            self.results['a'] = result
            self.events.clear()
            found = self.results_of()
            self.assertEqual(result, found.pop('a'))
            self.assertEqual({steps.MIGRATED}, set(found.values()))
            self.assertNotIn('settle a', self.events)

    def test_stops_at_poison(self) -> None:
        self.add('a', 'b', 'c')
        self.add_plain('d')
        self.results['b'] = steps.POISONED
        found = self.move_all()
        self.assertEqual(['a', 'b'], self.begun)
        for name in 'cd':
            left = found[name]
            self.assertEqual(
                (steps.NOT_BEGUN, 'not begun, as b is poisoned', True),
                (left.result, left.detail, left.is_clean),
            )

    def test_stops_at_poison_without_a_name(self) -> None:
        self.add('', 'b')
        self.results[''] = steps.POISONED
        found = self.move_all()
        self.assertIn(self.orders[0].server.id, found['b'].detail)

    def test_those_under_way_are_seen_through(self) -> None:
        self.add_plain('a', 'b', 'c')
        self.results['a'] = steps.POISONED
        both = threading.Barrier(2, timeout=30)
        workers: dict[str, threading.Thread] = {}

        def do_move(run: Any, order: steps.Order) -> migration.Outcome:
            workers[order.server.name] = threading.current_thread()
            both.wait()
            if order.server.name == 'b':
                workers['a'].join(30)
            return self.do_move(run, order)

        with mock.patch.object(migration, 'move', do_move):
            found = self.results_of(2)
        self.assertEqual(
            {'a': steps.POISONED, 'b': steps.MIGRATED, 'c': steps.NOT_BEGUN},
            found,
        )
        self.assertIn('settle b', self.events)

    def test_goes_on_after_poison(self) -> None:
        self.add('a', 'b', 'c')
        self.results['b'] = steps.POISONED
        found = self.results_of(stops_at_poison=False)
        self.assertEqual(['a', 'b', 'c'], self.begun)
        self.assertEqual(steps.POISONED, found['b'])

    def test_check(self) -> None:
        self.add('a', 'b', 'c')
        self.add_plain('d')
        answers = iter(['', 'the host was enabled meanwhile'])
        found = self.move_all(check=lambda: next(answers))
        self.assertEqual(['a'], self.begun)
        for name in 'bcd':
            self.assertEqual(
                (steps.NOT_BEGUN, 'the host was enabled meanwhile'),
                (found[name].result, found[name].detail),
            )

    def test_check_before_the_first(self) -> None:
        self.add('a')
        self.add_plain('b', 'c')
        found = self.results_of(3, check=lambda: 'no')
        self.assertEqual({steps.NOT_BEGUN}, set(found.values()))
        self.assertEqual([], self.events)

    def test_check_raises(self) -> None:
        self.add('a', 'b', 'c')
        answers = iter([''])
        with self.assertRaises(StopIteration):
            self.move_all(2, check=lambda: next(answers))
        self.assertTrue(self.run_.stopped.is_set())
        self.assertEqual(['a'], self.begun)

    def test_interrupted(self) -> None:
        self.add_plain('a', 'b', 'c')
        two = threading.Barrier(3, timeout=30)
        join = threading.Thread.join

        def do_move(run: Any, order: steps.Order) -> migration.Outcome:
            two.wait()
            self.assertTrue(run.stopped.wait(30))
            return self.do_move(run, order)

        def interrupt(thread: Any, timeout: float | None = None) -> None:
            if timeout is None and thread.daemon:
                two.wait()
                raise KeyboardInterrupt
            join(thread, timeout)

        with (
            mock.patch.object(migration, 'move', do_move),
            mock.patch.object(threading.Thread, 'join', interrupt),
            self.assertRaises(KeyboardInterrupt),
        ):
            self.move_all(2)
        # None is begun any more, nobody is left behind, or settled.
        self.assertEqual({'a', 'b'}, set(self.events))
        self.assertEqual(0, self.together)

    def test_interrupted_while_it_starts(self) -> None:
        self.add_plain('a', 'b')
        start = threading.Thread.start
        started: list[threading.Thread] = []

        def interrupt(thread: threading.Thread) -> None:
            if started:
                raise KeyboardInterrupt
            started.append(thread)
            start(thread)

        with (
            mock.patch.object(threading.Thread, 'start', interrupt),
            self.assertRaises(KeyboardInterrupt),
        ):
            self.move_all(2)
        self.assertTrue(self.run_.stopped.is_set())
        self.assertFalse(started[0].is_alive())

    def test_stopped(self) -> None:
        """What has moved by then stays as it is, and locked."""
        self.add('a', 'b')

        def do_move(run: Any, order: steps.Order) -> migration.Outcome:
            run.stopped.set()
            return self.do_move(run, order)

        with mock.patch.object(migration, 'move', do_move):
            found = self.move_all()
        self.assertEqual(['tidy gpu2', 'a'], self.events)
        self.assertEqual(steps.MIGRATED, found['a'].result)
        self.assertEqual(
            (steps.NOT_BEGUN, 'not begun, as the command was interrupted'),
            (found['b'].result, found['b'].detail),
        )

    def test_settling_is_refused(self) -> None:
        """The others do not suffer from it."""
        self.add('a', 'b')
        self.refusal = sdk_exceptions.ForbiddenException('no right to write')
        found = self.move_all()
        for name in 'ab':
            self.assertEqual(
                (steps.UNSETTLED, False),
                (found[name].result, found[name].is_clean),
            )
            self.assertIn('no right to write', found[name].detail)

    def test_untidy(self) -> None:
        """Only who would take devices of that host is refused."""
        self.add('a', 'b')
        self.add('c', target='gpu3')
        self.add_plain('d')
        self.untidy['gpu2'] = 'gpu2 is a mess'
        found = self.move_all()
        self.assertEqual(['c', 'd'], self.begun)
        self.assertEqual(2, self.events.count('tidy gpu2'))
        self.assertEqual(
            [('gpu2', ''), ('gpu2', 'gpu2 is a mess'), ('gpu3', '')],
            self.looks,
        )
        for name in 'ab':
            self.assertEqual(
                (steps.REFUSED, 'gpu2 is a mess', True),
                (found[name].result, found[name].detail, found[name].is_clean),
            )

    def test_not_tidied_for_who_has_arrived(self) -> None:
        """Else it would never be confirmed, or settled."""
        self.untidy['gpu2'] = 'gpu2 is a mess'
        for name, changes in (
            ('arrived', {'host': 'gpu2'}),
            ('unconfirmed', {'host': 'gpu2', 'status': 'VERIFY_RESIZE'}),
            ('moving', {'host': 'gpu1', 'status': 'RESIZE'}),
            ('preparing', {'host': 'gpu1', fake_moves.TASK: 'resize_prep'}),
        ):
            server = self.add_server(name, fake_moves.ALIAS, **changes)
            self.orders.append(
                self.order(server, source='gpu1', target='gpu2')
            )
        self.assertEqual({steps.MIGRATED}, set(self.results_of().values()))
        self.assertNotIn('tidy gpu2', self.events)
        self.add('next')
        self.assertEqual(steps.REFUSED, self.results_of()['next'])

    def test_tidied_for_who_is_unshelved(self) -> None:
        self.untidy['gpu2'] = 'gpu2 is a mess'
        server = self.add_server(
            'shelved', fake_moves.ALIAS, status='SHELVED_OFFLOADED'
        )
        self.orders = [self.order(server, source='gpu1', target='gpu2')]
        self.assertEqual({'shelved': steps.REFUSED}, self.results_of())

    def test_nothing_to_be_tidied(self) -> None:
        self.add_plain('plain')
        self.add('anywhere', target='')
        self.results_of()
        self.assertFalse([e for e in self.events if e.startswith('tidy')])

    def test_what_a_killed_run_was_settling_is_waited_for(self) -> None:
        """Only a server with PCI devices, and once for all of them."""
        self.add_plain('plain')
        self.add('other', 'a', 'b')
        clock = iter([100.0, 101.0, 103.0, 108.0])
        unsettled = [
            o.server.id for o in self.orders if o.server.name != 'other'
        ]
        with mock.patch.object(
            time,
            'monotonic',
            autospec=True,
            side_effect=lambda: next(clock, 109.0),
        ):
            self.move_all(unsettled=unsettled)
        self.assertEqual([mock.call(4.0)], self.sleep.mock_calls)
        self.assertEqual(
            ['a: waits for Nova to update what it holds'], self.said
        )

    def test_what_another_run_is_settling_is_waited_for(self) -> None:
        self.add_plain('plain')
        self.add('theirs', 'ours')
        self.others = ['plain', 'theirs']
        self.move_all()
        self.assertEqual([mock.call(7)], self.sleep.mock_calls)
        self.assertEqual(
            ['theirs: waits for Nova to update what it holds'], self.said
        )
