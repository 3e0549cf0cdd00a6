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

"""Steps of servers that leave one host, beside one another."""

import dataclasses
from unittest import mock

from osc_gpu.cloud import migration_steps as steps
from osc_gpu.cloud import moving_turns
from osc_gpu.cloud import placement
from tests.unit import base
from tests.unit.cloud import move_parts as parts
from tests.unit.cloud import moving_case

VGPU = {'resources:VGPU': '1'}


def turns(name: str = 'gpu1_0000:41:00.0') -> moving_turns.Turns:
    """Return the turns in a world with one such provider below gpu1."""
    provider = placement.Provider('card', name, 'root-gpu1')
    world = parts.world()
    return moving_turns.Turns(
        dataclasses.replace(world, providers={'card': provider})
    )


def server(number: int, specs: dict[str, str] | None = None):
    return parts.server(specs=specs, id=f'id-{number}')


class TestTurns(base.TestCase):
    def may(self, first, second, specs=None, other=None):
        """Tell whether a server may take a step beside that of another."""
        found = turns()
        self.assertTrue(found.take(server(1, specs), 'gpu1', first))
        return found.take(server(2, other), 'gpu1', second)

    def test_of_alias_servers(self):
        for first, second, expected in (
            (steps.MIGRATE, steps.MIGRATE, True),
            (steps.CONFIRM, steps.CONFIRM, True),
            (steps.CONFIRM, steps.LIVE, False),
            (steps.LIVE, steps.LIVE, False),
            (steps.MIGRATE, steps.CONFIRM, False),
            (steps.MIGRATE, steps.LIVE, False),
            (steps.SHELVE, steps.SHELVE, False),
            (steps.OFFLOAD, steps.MIGRATE, False),
            (steps.SHELVE, steps.CONFIRM, False),
            (steps.LOCK, steps.SHELVE, True),
            (steps.UNSHELVE, steps.CONFIRM, True),
            (steps.REVERT, steps.MIGRATE, True),
        ):
            with self.subTest((first, second)):
                self.assertEqual(expected, self.may(first, second))
                self.assertEqual(expected, self.may(second, first))

    def test_beside_vgpu_servers(self):
        """A vGPU is nothing that Nova would report anew."""
        for step, expected in (
            (steps.MIGRATE, True),
            (steps.CONFIRM, False),
            (steps.LIVE, False),
            (steps.SHELVE, False),
        ):
            with self.subTest(step):
                found = self.may(step, steps.MIGRATE, specs=VGPU)
                self.assertEqual(expected, found)
        self.assertTrue(self.may(steps.SHELVE, steps.SHELVE, VGPU, VGPU))
        self.assertTrue(self.may(steps.LIVE, steps.CONFIRM, VGPU))

    def test_of_other_hosts(self):
        found = turns()
        self.assertTrue(found.take(server(1), 'gpu1', steps.MIGRATE))
        self.assertTrue(found.take(server(2), 'gpu2', steps.CONFIRM))

    def test_its_own(self):
        found = turns()
        self.assertTrue(found.take(server(1), 'gpu1', steps.MIGRATE))
        self.assertTrue(found.take(server(1), 'gpu1', steps.CONFIRM))

    def test_without_pci_devices_in_placement(self):
        found = turns('gpu1_pci_0000_41_00_0')
        self.assertTrue(found.take(server(1), 'gpu1', steps.MIGRATE))
        self.assertTrue(found.take(server(2), 'gpu1', steps.CONFIRM))

    def test_when_a_step_is_over(self):
        for step, status, host, task, record, expected in (
            (steps.MIGRATE, 'ACTIVE', 'gpu1', 'resize_prep', None, False),
            (
                steps.MIGRATE,
                'RESIZE',
                'gpu1',
                'resize_prep',
                'pre-migrating',
                False,
            ),
            (
                steps.MIGRATE,
                'RESIZE',
                'gpu1',
                'resize_migrating',
                'migrating',
                True,
            ),
            (steps.MIGRATE, 'ERROR', 'gpu1', '', 'error', True),
            (steps.CONFIRM, 'VERIFY_RESIZE', 'gpu2', '', 'confirming', False),
            (steps.CONFIRM, 'ACTIVE', 'gpu2', '', 'confirmed', True),
            (steps.LIVE, 'MIGRATING', 'gpu1', 'migrating', 'running', False),
            (steps.LIVE, 'ACTIVE', 'gpu2', '', 'completed', True),
            (steps.SHELVE, 'ACTIVE', 'gpu1', 'shelving', None, False),
            (steps.SHELVE, 'SHELVED_OFFLOADED', 'gpu1', '', None, False),
            (steps.SHELVE, 'SHELVED_OFFLOADED', '', '', None, True),
        ):
            with self.subTest((step, status, record)):
                found = turns()
                found.take(server(1), 'gpu1', step)
                seen = parts.server(status, host, task=task, id='id-1')
                records = [parts.record(record)] if record else []
                found.look(parts.state(seen, *records))
                self.assertEqual(
                    expected, found.take(server(2), 'gpu1', steps.SHELVE)
                )


class TestMoves(moving_case.TestCase):
    def test_waits_for_the_end_of_another_step(self):
        name = self.add_gpu_server('train')
        other = self.read(self.add_gpu_server('other'))
        self.assertTrue(self.run_.turns.take(other, 'gpu1', steps.CONFIRM))
        waited = 0

        def pause(seconds: float) -> None:
            nonlocal waited
            posts = [r for r in self.requests if r.startswith('POST ')]
            waited += len(posts) == 1
            if waited == 3:
                self.run_.turns.end(other.id)

        with mock.patch.object(self.run_, 'pause', pause):
            outcome = self.move(name)
        self.assertEqual(steps.MIGRATED, outcome.result, outcome.detail)
        self.assertEqual(3, waited)
        self.assertIn(
            'train: waits for other servers that leave gpu1', self.said
        )

    def test_nothing_is_left_to_wait_for(self):
        for name in ('one', 'two'):
            outcome = self.move(self.add_gpu_server(name))
            self.assertEqual(steps.MIGRATED, outcome.result)
        self.run_ = self.new_run(0)
        third = self.read(self.add_gpu_server('three'))
        self.assertTrue(self.run_.turns.take(third, 'gpu1', steps.SHELVE))
