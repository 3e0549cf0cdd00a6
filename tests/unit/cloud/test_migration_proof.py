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

from typing import Any

from osc_gpu.cloud import audit_model
from osc_gpu.cloud import migration_proof
from osc_gpu.cloud import migration_state
from tests.unit.cloud import wire
from tests.unit import fake_moves

A100 = fake_moves.A100
SOME = {'VCPU': 1, 'MEMORY_MB': 128, 'DISK_GB': 1}


class TestCase(fake_moves.TestCase, wire.TestCase):
    """A server that was migrated from gpu1 to gpu2, and not yet confirmed."""

    def setUp(self) -> None:
        super().setUp()
        self.roots = [self.add_host(name) for name in ('gpu1', 'gpu2')]
        self.cards = [self.add_cards(root, 3) for root in self.roots]
        self.server = self.add_gpu_server('train', 'gpu2')
        self.servers[self.server]['status'] = 'VERIFY_RESIZE'
        self.record = self.add_migration(self.server, 'finished')
        self.hold(self.record, self.roots[0], self.cards[0][0])
        self.world = migration_state.read_world(self.conn)

    def hold(self, consumer: str, root: str, *cards: str) -> None:
        self.placement.allocations.pop(consumer, None)
        self.placement.hold(consumer, root, **SOME)
        for card in cards:
            self.placement.hold(consumer, card, **{A100: 1})

    def judge(self) -> tuple[str, ...]:
        state = migration_state.read(self.conn, self.server)
        held = migration_proof.read(self.conn, self.server, self.record)
        assert state.newest is not None
        return migration_proof.doubts(self.world, state, state.newest, held)


class TestDoubts(TestCase):
    def test_all_is_well(self) -> None:
        self.assertEqual((), self.judge())

    def test_it_is_elsewhere(self) -> None:
        self._place(self.servers[self.server], 'gpu3')
        self.assertEqual(('it is on gpu3, not on gpu2',), self.judge())

    def test_it_is_still_on_its_source(self) -> None:
        self._place(self.servers[self.server], 'gpu1')
        self.assertEqual(('it is on gpu1, not on gpu2',), self.judge())

    def test_too_many_devices(self) -> None:
        # Nova's habit, which is mended afterwards.
        self.hold(self.server, self.roots[1], *self.cards[1][:2])
        self.assertEqual((), self.judge())

    def test_too_many_of_what_nova_does_not_correct(self) -> None:
        vgpus = self.add_vgpus(self.roots[1], 4)
        self.servers[self.server]['flavor']['extra_specs'] = {
            'resources:VGPU': '1'
        }
        self.hold(self.server, self.roots[1])
        self.placement.hold(self.server, vgpus[0], VGPU=2)
        self.world = migration_state.read_world(self.conn)
        (doubt,) = self.judge()
        self.assertIn('holds 2 of VGPU, its flavor asks 1', doubt)

    def test_no_device(self) -> None:
        self.hold(self.server, self.roots[1])
        (doubt,) = self.judge()
        self.assertIn('its flavor asks 1', doubt)

    def test_it_holds_nothing(self) -> None:
        self.placement.allocations.pop(self.server)
        self.assertIn('the server holds nothing on gpu2', self.judge())

    def test_it_holds_something_elsewhere_only(self) -> None:
        self.hold(self.server, self.roots[0], self.cards[0][1])
        self.assertIn('the server holds nothing on gpu2', self.judge())

    def test_on_two_hosts(self) -> None:
        self.placement.hold(self.server, self.roots[0], **SOME)
        found = self.judge()
        self.assertEqual(1, len(found), found)
        self.assertIn('also has allocations on gpu1', found[0])

    def test_its_migration_holds_nothing(self) -> None:
        self.placement.allocations.pop(self.record)
        self.assertEqual(
            ('its migration holds nothing on gpu1',), self.judge()
        )

    def test_its_migration_holds_the_target(self) -> None:
        self.hold(self.record, self.roots[1])
        self.assertEqual(
            ('its migration holds nothing on gpu1',), self.judge()
        )

    def test_devices_are_not_in_placement(self) -> None:
        for cards in self.cards:
            for card in cards:
                del self.placement.providers[card]
        self.hold(self.server, self.roots[1])
        self.hold(self.record, self.roots[0])
        self.world = migration_state.read_world(self.conn)
        self.assertEqual((), self.judge())

    def test_an_unknown_host(self) -> None:
        del self.hypervisors[1]
        self.world = migration_state.read_world(self.conn)
        self.assertIn('the server holds nothing on gpu2', self.judge())


class TestProblems(TestCase):
    def problems(self) -> list[tuple[str, str]]:
        state = migration_state.read(self.conn, self.server)
        held = migration_proof.read(self.conn, self.server)
        found = migration_proof.problems(self.world, state, held)
        return [(p.check, p.server_id) for p in found]

    def test_none(self) -> None:
        self.assertEqual([], self.problems())

    def test_each(self) -> None:
        hold: dict[str, Any] = {
            audit_model.MISSING: [self.roots[1]],
            audit_model.EXCESS: [self.roots[1], *self.cards[1][:2]],
        }
        for check, held in hold.items():
            self.hold(self.server, *held)
            self.assertEqual([(check, self.server)], self.problems())
        self.hold(self.server, self.roots[1], self.cards[1][0])
        self.placement.hold(self.server, self.roots[0], **SOME)
        self.assertEqual(
            [(audit_model.TWO_TREES, self.server)], self.problems()
        )


class TestKnows(TestCase):
    def knows(self) -> bool:
        held = migration_proof.read(self.conn, self.server, self.record)
        return migration_proof.knows(self.world, held)

    def test_knows(self) -> None:
        self.assertTrue(self.knows())
        self.placement.allocations.clear()
        self.assertTrue(self.knows())

    def test_a_card_that_is_younger(self) -> None:
        card = self.add_cards(self.add_host('gpu9'), 1)
        self.placement.hold(self.record, card[0], **{A100: 1})
        self.assertFalse(self.knows())

    def test_requests(self) -> None:
        before = len(self.requests)
        self.knows()
        self.assertEqual(
            [
                f'GET /allocations/{self.server}',
                f'GET /allocations/{self.record}',
            ],
            self.requests[before:],
        )
