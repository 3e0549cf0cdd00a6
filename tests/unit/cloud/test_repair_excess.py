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

import json
from typing import Any
from unittest import mock

from openstack import exceptions
import requests

from osc_gpu.cloud import placement
from osc_gpu.cloud import repair_excess
from osc_gpu.cloud import repair_writing
from tests.unit import base
from tests.unit.cloud import wire
from tests.unit import fake_cloud

A100 = fake_cloud.A100
OTHER = 'CUSTOM_GPU_B'
ALIAS = {'pci_passthrough:alias': 'a100:1'}
UPDATE = 10.0


class TestCase(fake_cloud.TestCase, wire.TestCase):
    """A Nova that adds back what a server uses every ten seconds."""

    def setUp(self) -> None:
        super().setUp()
        self.root = self.add_host('gpu1')
        self.cards = self.add_cards(self.root, 4)
        self.clock = 0.0
        #: server -> what it really uses: provider -> class -> amount
        self.used: dict[str, dict[str, dict[str, int]]] = {}
        self.events: dict[float, Any] = {}
        for name, do in (
            ('sleep', self._sleep),
            ('monotonic', lambda: self.clock),
        ):
            self.enterContext(mock.patch.object(repair_excess.time, name, do))

    def _sleep(self, seconds: float) -> None:
        before, self.clock = self.clock, self.clock + seconds
        for when in sorted(self.events):
            if before < when <= self.clock:
                self.events.pop(when)()
        if before // UPDATE != self.clock // UPDATE:
            self.update()

    def update(self) -> None:
        """Do what Nova's resource tracker does to the allocations."""
        for server, used in self.used.items():
            held = self.placement.allocations.get(server)
            if held and any(held.get(u) != given for u, given in used.items()):
                held.update({u: dict(given) for u, given in used.items()})
                self.placement.touch(server)

    def server(self, name: str, used: int, *too: int, **more: Any) -> str:
        """Add a server that uses a card, and holds others too."""
        held = [(self.cards[n], {A100: 1}) for n in (used, *too)]
        root = (self.root, {'VCPU': 2})
        more = {'host': 'gpu1', 'specs': ALIAS} | more
        specs = more.pop('specs')
        server = self.add_server(name, specs, root, *held, **more)
        self.used[server] = {self.cards[used]: {A100: 1}}
        return server

    def mend(
        self, *cases: repair_excess.Case, wait: float = 15.0
    ) -> dict[str, str]:
        names = placement.read_names(self.conn)
        outcomes = repair_excess.mend(self.conn, cases, names, wait)
        return {server: found.text for server, found in outcomes.items()}

    def cards_of(self, server: str) -> list[int]:
        held = self.placement.allocations[server]
        self.assertEqual({'VCPU': 2}, held[self.root])
        return [n for n, card in enumerate(self.cards) if card in held]

    @property
    def writes(self) -> list[str]:
        return [line for line in self.requests if line[:4] == 'PUT ']


def case(server: str, **asked: int) -> repair_excess.Case:
    return repair_excess.Case(
        server, {(name,): n for name, n in (asked or {A100: 1}).items()}
    )


class TestMend(TestCase):
    def test_first_guess_is_right(self) -> None:
        server = self.server('s1', 0, 2)
        self.assertEqual(
            {server: 'dropped gpu1_0000:22:00.0'}, self.mend(case(server))
        )
        self.assertEqual([0], self.cards_of(server))
        self.assertEqual(1, len(self.writes))
        self.assertGreaterEqual(self.clock, 15)

    def test_first_guess_is_wrong(self) -> None:
        server = self.server('s1', 2, 0)
        self.assertEqual(
            {server: 'dropped gpu1_0000:20:00.0'}, self.mend(case(server))
        )
        self.assertEqual([2], self.cards_of(server))
        self.assertEqual(2, len(self.writes))
        # It is waited for whether Nova adds the second one back, too.
        self.assertGreaterEqual(self.clock, 25)

    def test_several_guesses(self) -> None:
        server = self.server('s1', 1, 0, 2, 3)
        self.mend(case(server))
        self.assertEqual([1], self.cards_of(server))

    def test_never_less_than_asked(self) -> None:
        server = self.server('s1', 2, 0, 1, 3)
        seen = []
        put = self.placement._put_allocations

        def spy(consumer: str, body: Any, context: Any) -> str:
            held = body['allocations']
            seen.append(sum(A100 in h['resources'] for h in held.values()))
            return put(consumer, body, context)

        with mock.patch.object(self.placement, '_put_allocations', spy):
            self.mend(case(server))
        self.assertEqual({1}, set(seen))

    def test_two_of_three(self) -> None:
        server = self.server(
            's1', 0, 1, 2, specs={'pci_passthrough:alias': 'a100:2'}
        )
        self.used[server] = {self.cards[n]: {A100: 1} for n in (1, 2)}
        self.mend(case(server, **{A100: 2}))
        self.assertEqual([1, 2], self.cards_of(server))

    def test_other_host_first(self) -> None:
        # Its address is lower, and its name is first.
        (there,) = self.add_cards(self.add_host('gpu0'), 1)
        server = self.server('s1', 3)
        self.placement.hold(server, there, **{A100: 1})
        self.assertEqual(
            {server: 'dropped gpu0_0000:20:00.0'}, self.mend(case(server))
        )
        self.assertEqual([3], self.cards_of(server))
        self.assertEqual(1, len(self.writes))

    def test_functions_of_one_card(self) -> None:
        self.placement.stock(self.cards[3], **{A100: 8})
        server = self.server('s1', 0)
        self.placement.hold(server, self.cards[3], **{A100: 3})
        self.used[server] = {self.cards[3]: {A100: 1}}
        self.mend(case(server))
        self.assertEqual([3], self.cards_of(server))
        self.assertEqual(
            {A100: 1}, self.placement.allocations[server][self.cards[3]]
        )

    def test_a_part_of_a_card(self) -> None:
        self.placement.stock(self.cards[3], **{A100: 8})
        specs = {'pci_passthrough:alias': 'a100:2'}
        server = self.server('s1', 3, specs=specs)
        self.placement.hold(server, self.cards[3], **{A100: 3})
        self.used[server] = {self.cards[3]: {A100: 2}}
        self.mend(case(server, **{A100: 2}))
        self.assertEqual(
            {A100: 2}, self.placement.allocations[server][self.cards[3]]
        )
        self.assertEqual(1, len(self.writes))

    def test_any_of_two_classes(self) -> None:
        card = self.placement.provider(
            'gpu1_0000:90:00.0', self.root, **{OTHER: 1}
        )
        server = self.server('s1', 0)
        self.placement.hold(server, card, **{OTHER: 1})
        self.mend(repair_excess.Case(server, {(A100, OTHER): 1}))
        self.assertEqual([0], self.cards_of(server))
        self.assertNotIn(card, self.placement.allocations[server])

    def test_two_classes_at_once(self) -> None:
        cards = [
            self.placement.provider(
                f'gpu1_0000:9{n}:00.0', self.root, **{OTHER: 1}
            )
            for n in range(2)
        ]
        server = self.server('s1', 0, 1)
        for found in cards:
            self.placement.hold(server, found, **{OTHER: 1})
        self.used[server][cards[1]] = {OTHER: 1}
        self.mend(case(server, **{A100: 1, OTHER: 1}))
        self.assertEqual([0], self.cards_of(server))
        held = self.placement.allocations[server]
        self.assertEqual([False, True], [found in held for found in cards])

    def test_others_are_left(self) -> None:
        nic = self.placement.provider(
            'gpu1_0000:99:00.0', self.root, **{A100: 1}
        )
        server = self.server('s1', 0, 1)
        self.placement.hold(server, nic, **{A100: 1})
        self.mend(repair_excess.Case(server, {(A100,): 1}, frozenset((nic,))))
        self.assertEqual([0], self.cards_of(server))
        self.assertIn(nic, self.placement.allocations[server])

    def test_side_by_side(self) -> None:
        wrong = self.server('s1', 2, 0)
        right = self.server('s2', 1, 3)
        self.mend(case(wrong), case(right))
        self.assertEqual([2], self.cards_of(wrong))
        self.assertEqual([1], self.cards_of(right))
        self.assertLess(self.clock, 30)

    def test_requests(self) -> None:
        server = self.server('s1', 0, 2)
        self.mend(case(server), wait=3)
        held = f'GET /allocations/{server}'
        idle = [
            f'GET /servers/{server}',
            f'GET /os-migrations?instance_uuid={server}',
        ]
        up = 'GET /os-services?binary=nova-compute&host=gpu1'
        self.assertEqual(
            [
                'GET /resource_providers',
                'GET /os-hypervisors/detail',
                held, held, *idle, up, held, f'PUT /allocations/{server}',
                held,
                held, up, *idle,
            ],
            self.requests,
        )  # fmt: skip

    def test_all_of_it_is_used(self) -> None:
        server = self.server('s1', 0, 1)
        self.used[server] = {self.cards[n]: {A100: 1} for n in (0, 1)}
        self.assertEqual(
            {server: 'left alone: Nova uses more than its flavor asks for'},
            self.mend(case(server)),
        )
        self.assertEqual([0, 1], self.cards_of(server))
        self.assertEqual(2, len(self.writes))

    def test_nothing_to_do(self) -> None:
        self.assertEqual({}, self.mend())
        self.assertEqual(['GET /resource_providers'], self.requests)
        server = self.server('s1', 0)
        self.assertEqual(
            {server: 'nothing to do any more'}, self.mend(case(server))
        )
        self.assertEqual([], self.writes)

    def test_run_again_after_a_kill(self) -> None:
        server = self.server('s1', 2, 0)

        def kill() -> None:
            raise KeyboardInterrupt

        self.events[4.0] = kill
        with self.assertRaises(KeyboardInterrupt):
            self.mend(case(server))
        self.assertEqual([0], self.cards_of(server))
        self.update()
        self.assertEqual([0, 2], self.cards_of(server))
        self.mend(case(server))
        self.assertEqual([2], self.cards_of(server))


class TestLeftAlone(TestCase):
    def refuses(self, server: str, words: str) -> None:
        before = json.dumps(self.placement.allocations)
        self.assertIn(words, self.mend(case(server))[server])
        self.assertEqual([], self.writes)
        self.assertEqual(before, json.dumps(self.placement.allocations))

    def test_busy(self) -> None:
        for status in ('BUILD', 'VERIFY_RESIZE', 'MIGRATING'):
            server = self.server('s1', 0, 1, status=status)
            self.refuses(server, f'busy ({status}): run again')
        self.refuses(
            self.server('s2', 0, 1, **{'OS-EXT-STS:task_state': 'deleting'}),
            'busy (deleting)',
        )

    def test_migration_under_way(self) -> None:
        server = self.server('s1', 0, 1)
        self.add_migration(server, 'confirmed')
        self.add_migration(server, 'pre-migrating')
        self.refuses(server, 'busy (pre-migrating)')

    def test_cell_is_down(self) -> None:
        server = self.server('s1', 0, 1)
        del self.servers[server]['flavor']
        self.refuses(server, 'its cell does not answer')

    def test_host_is_down(self) -> None:
        self.hypervisors[0]['state'] = 'down'
        self.refuses(self.server('s1', 0, 1), 'host gpu1 is down')
        self.refuses(self.server('s2', 0, 1, host=''), 'on no host')

    def test_host_does_not_report(self) -> None:
        self.add_host('gpu9')
        self.refuses(
            self.server('s1', 0, 1, host='gpu9'), 'gpu9 does not report'
        )

    def test_flavor_changed(self) -> None:
        server = self.server(
            's1', 0, 1, specs={'pci_passthrough:alias': 'a100:2'}
        )
        self.refuses(server, 'its flavor changed')

    def test_server_is_gone(self) -> None:
        server = self.server('s1', 0, 1)
        del self.servers[server]
        self.refuses(server, 'the server is gone')


class TestMeanwhile(TestCase):
    def test_conflict(self) -> None:
        server = self.server('s1', 0, 1)
        put = self.placement._put_allocations
        left = [self.placement.touch] * 4

        def conflict(consumer: str, body: Any, context: Any) -> str:
            if left:
                left.pop()(consumer)
            return put(consumer, body, context)

        with mock.patch.object(self.placement, '_put_allocations', conflict):
            self.mend(case(server))
            self.assertEqual([0], self.cards_of(server))
            self.assertEqual(5, len(self.writes))

    def test_always_in_conflict(self) -> None:
        server = self.server('s1', 0, 1)

        def conflict(consumer: str, body: Any, context: Any) -> str:
            return self.placement._conflict(context)

        with mock.patch.object(self.placement, '_put_allocations', conflict):
            self.assertIn(
                'change all the time', self.mend(case(server))[server]
            )
        self.assertEqual(5, len(self.writes))
        self.assertEqual([0, 1], self.cards_of(server))

    def test_healed_between(self) -> None:
        server = self.server('s1', 0, 1)
        put = self.placement._put_allocations

        def heal(consumer: str, body: Any, context: Any) -> str:
            self.placement.allocations[server].pop(self.cards[1], None)
            self.placement.touch(server)
            return put(consumer, body, context)

        with mock.patch.object(self.placement, '_put_allocations', heal):
            self.mend(case(server))
        self.assertEqual([0], self.cards_of(server))
        self.assertEqual(1, len(self.writes))

    def test_begins_something(self) -> None:
        server = self.server('s1', 0, 1)

        def begin() -> None:
            self.servers[server]['OS-EXT-STS:task_state'] = 'resize_prep'

        self.events[4.0] = begin
        self.assertEqual(
            'dropped gpu1_0000:21:00.0; busy (resize_prep): run again',
            self.mend(case(server))[server],
        )

    def test_deleted(self) -> None:
        server = self.server('s1', 0, 1)

        def delete() -> None:
            del self.servers[server], self.placement.allocations[server]
            del self.placement.generations[server]

        self.events[4.0] = delete
        self.assertEqual('the server is gone', self.mend(case(server))[server])
        self.assertNotIn(server, self.placement.allocations)

    def test_somebody_takes_the_rest(self) -> None:
        server = self.server('s1', 1, 0)
        self.used.clear()

        def take() -> None:
            del self.placement.allocations[server][self.cards[0]]
            self.placement.touch(server)

        self.events[4.0] = take
        self.assertIn('somebody else', self.mend(case(server))[server])
        self.assertEqual([1], self.cards_of(server))

    def test_resized_to_fewer(self) -> None:
        """Another host, and less: what was dropped is none of its."""
        server = self.server('s1', 0, 1)
        elsewhere = self.add_host('gpu2')
        card, _other = self.add_cards(elsewhere, 2, OTHER)
        self.used.clear()

        def resize() -> None:
            self.servers[server] |= {
                'OS-EXT-SRV-ATTR:host': 'gpu2',
                'flavor': {'extra_specs': {'pci_passthrough:alias': 'b:1'}},
            }
            self.placement.allocations[server] = {card: {OTHER: 1}}

        self.events[4.0] = resize
        self.assertIn('moved or resized', self.mend(case(server))[server])
        self.assertEqual(
            {card: {OTHER: 1}}, self.placement.allocations[server]
        )

    def test_moved(self) -> None:
        """To where Nova doubles again: that is another matter."""
        server = self.server('s1', 0, 1)
        cards = self.add_cards(self.add_host('gpu2'), 2)
        self.used.clear()

        def move() -> None:
            self.servers[server]['OS-EXT-SRV-ATTR:host'] = 'gpu2'
            held = {card: {A100: 1} for card in cards}
            self.placement.allocations[server] = held
            self.placement.touch(server)

        self.events[4.0] = move
        self.assertIn('moved or resized', self.mend(case(server))[server])
        self.assertEqual(set(cards), set(self.placement.allocations[server]))

    def test_host_goes_down(self) -> None:
        """Then that nothing is added back does not tell anything."""
        server = self.server('s1', 1, 0)
        self.used.clear()

        def die() -> None:
            self.hypervisors[0]['state'] = 'down'

        self.events[4.0] = die
        self.assertIn('gpu1 went down', self.mend(case(server))[server])
        self.assertEqual([0, 1], self.cards_of(server))

    def test_all_of_a_part_is_put_back(self) -> None:
        (card,) = self.add_cards(self.add_host('gpu2'), 1, OTHER, stock=8)
        server = self.server('s1', 0)
        self.placement.hold(server, card, **{OTHER: 3})

        def die() -> None:
            for hypervisor in self.hypervisors:
                hypervisor['state'] = 'down'

        self.events[4.0] = die
        self.mend(case(server, **{A100: 1, OTHER: 1}))
        self.assertEqual({OTHER: 3}, self.placement.allocations[server][card])

    def test_same_generation(self) -> None:
        """A migration makes new allocations, whose generation is as old."""
        server = self.server('s1', 0, 1)
        (card,) = self.add_cards(self.add_host('gpu2'), 1)
        read = repair_writing.read_idle

        def migrate(*args: Any) -> Any:
            found = read(*args)
            self.placement.allocations[server] = {card: {A100: 1}}
            return found

        with mock.patch.object(repair_writing, 'read_idle', migrate):
            self.mend(case(server))
        self.assertEqual([], self.writes)


class TestRefused(TestCase):
    def answer(self, server: str, **answer: Any) -> None:
        self.cloud.put(f'{base.PLACEMENT}/allocations/{server}', **answer)

    def test_one_does_not_keep_the_others(self) -> None:
        for answer, words in (
            ({'status_code': 500, 'text': 'oops'}, 'failed: '),
            ({'status_code': 503}, 'HTTP 503'),
            ({'status_code': 409, 'text': 'capacity'}, 'capacity'),
            ({'exc': requests.exceptions.ConnectionError('x')}, 'failed: '),
        ):
            bad = self.server('s1', 0, 1)
            good = self.server('s2', 2, 3)
            self.answer(bad, **answer)
            found = self.mend(case(bad), case(good))
            self.assertIn(words, found[bad])
            self.assertEqual('dropped gpu1_0000:23:00.0', found[good])
            self.assertEqual([0, 1], self.cards_of(bad))

    def test_done_but_not_answered(self) -> None:
        server = self.server('s1', 1, 0)

        def lose(request: Any, context: Any) -> str:
            self.placement._write(request, context)
            raise requests.exceptions.ConnectionError('cut')

        self.answer(server, text=lose)
        # The wrong one was dropped: also then it waits, and looks again.
        self.mend(case(server))
        self.assertEqual([1], self.cards_of(server))

    def test_no_right_to_write(self) -> None:
        found = [self.server(f's{n}', 0, 1) for n in range(4)]
        for server in found:
            self.answer(server, status_code=403)
        with self.assertRaises(exceptions.ForbiddenException):
            self.mend(*map(case, found))
        self.assertEqual(1, len(self.writes))


class TestReadIdle(TestCase):
    def test_gone(self) -> None:
        self.assertIsNone(repair_writing.read_idle(self.conn, 'x' * 36))
