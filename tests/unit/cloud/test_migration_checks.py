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

import unittest

from osc_gpu.cloud import migration_checks
from tests.unit.cloud import move_parts as parts

OURS = parts.mark()


class TestCase(unittest.TestCase):
    hosts = (
        parts.host('gpu1'),
        parts.host('gpu2'),
        parts.host('down', is_up=False),
        parts.host('off', is_enabled=False, disabled_reason='new RAM'),
        parts.host('out', is_enabled=False),
    )

    def refusals(
        self,
        found: object = None,
        *records: object,
        target: str = '',
        forced: bool = False,
        began: dict[str, bool] | None = None,
    ) -> tuple[str, ...]:
        return migration_checks.refusals(
            parts.world(*self.hosts),
            parts.state(found, *records, began=began),  # type: ignore[arg-type]
            target,
            is_forced=forced,
        )

    def refused(self, words: str, *args: object, **more: object) -> None:
        found = self.refusals(*args, **more)  # type: ignore[arg-type]
        self.assertEqual(1, len(found), found)
        self.assertIn(words, found[0])
        self.assertNotIn('\n', found[0])

    def allowed(self, *args: object, **more: object) -> None:
        found = self.refusals(*args, **more)  # type: ignore[arg-type]
        self.assertEqual((), found)


class TestServer(TestCase):
    def test_movable(self) -> None:
        for status in ('ACTIVE', 'SHUTOFF'):
            for target in ('', 'gpu2'):
                self.allowed(parts.server(status), target=target)
        self.allowed(parts.server(specs={'resources:VGPU': '1'}))

    def test_a_cell_does_not_answer(self) -> None:
        self.refused('its cell does not answer', parts.server(flavor=None))

    def test_hidden_extra_specs(self) -> None:
        self.refused(
            'does not show you the extra specs',
            parts.server(flavor={'original_name': 'g1'}),
        )

    def test_cyborg(self) -> None:
        specs = {**parts.ALIAS, 'accel:device_profile': 'fpga'}
        self.refused('accel:device_profile', parts.server(specs=specs))

    def test_alias_that_is_no_alias(self) -> None:
        for alias in ('a100', 'a100:x', ''):
            specs = {'pci_passthrough:alias': alias}
            self.refused(
                'Nova cannot read its pci_passthrough:alias',
                parts.server(specs=specs),
            )


class TestStand(TestCase):
    def test_error(self) -> None:
        for fault, words in (
            ({'message': 'KeyError'}, 'KeyError'),
            (None, 'no fault'),
        ):
            found = parts.server('ERROR', fault=fault)
            self.refused(f'it is in ERROR ({words})', found)
            self.refused(f'recover {parts.ID}', found, forced=True)

    def test_other(self) -> None:
        for status in ('PAUSED', 'SUSPENDED', 'RESCUE'):
            self.refused(f'it is {status}; only', parts.server(status))

    def test_shelved(self) -> None:
        for status in ('SHELVED', 'SHELVED_OFFLOADED'):
            self.refused(
                f'it is {status} and holds no GPU', parts.server(status, '')
            )
            self.allowed(parts.server(status, '', reason=OURS))

    def test_task_in_progress(self) -> None:
        found = parts.server(task='rebuilding')
        self.refused('something is being done to it (rebuilding)', found)
        self.refused('rebuilding', found, forced=True)
        self.refused('(BUILD)', parts.server('BUILD'))

    def test_ours_is_under_way(self) -> None:
        self.allowed(parts.server('RESIZE', task='resize_prep', reason=OURS))

    def test_a_migration_of_somebody_else_is_under_way(self) -> None:
        found = parts.server('RESIZE', task='resize_prep')
        for kind, allowed in (
            ('migration', True),
            ('live-migration', True),
            ('resize', False),
            ('evacuation', False),
        ):
            record = parts.record('migrating', kind=kind)
            if allowed:
                self.allowed(found, record)
            else:
                self.refused('(resize_prep)', found, record)
        # One that is over says nothing of the task.
        self.refused('(resize_prep)', found, parts.record('confirmed'))

    def test_unconfirmed(self) -> None:
        found = parts.server('VERIFY_RESIZE', 'gpu2')
        record = parts.record('finished')
        self.allowed(found, record)
        self.allowed(found, record, target='gpu2')
        self.refused(
            'it was migrated to gpu2 and waits there',
            found,
            record,
            target='gpu1',
        )
        self.allowed(found)

    def test_unconfirmed_resize(self) -> None:
        self.refused(
            'its resize to another flavor',
            parts.server('VERIFY_RESIZE', 'gpu2'),
            parts.record('finished', kind='resize'),
        )


class TestOthers(TestCase):
    def test_locked(self) -> None:
        for reason, words in (
            ('mine', 'somebody has locked it: mine'),
            ('', 'somebody has locked it'),
            ('osc-gpu moves it', 'somebody has locked it: osc-gpu moves it'),
        ):
            found = parts.server(reason=reason)
            self.refused(words, found)
            self.allowed(found, forced=True)

    def test_locked_by_us(self) -> None:
        self.allowed(parts.server(reason=OURS))

    def test_stale_claim(self) -> None:
        found, record = parts.server(), parts.record('error')
        self.refused(
            'still claimed for it on gpu2', found, record, began={'m-1': True}
        )
        self.allowed(found, record, began={'m-1': True}, forced=True)
        self.allowed(found, record, began={'m-1': False})

    def test_never_confirmed(self) -> None:
        # It has no alias, so nothing is claimed: but for Nova's mistake.
        found = parts.server(specs={'resources:VGPU': '1'})
        record = parts.record('finished', 'gpu2', 'gpu1')
        self.refused('its migration m-1 was never confirmed', found, record)
        self.allowed(found, record, forced=True)


class TestHosts(TestCase):
    def test_source_is_down(self) -> None:
        found = parts.server(host='down')
        self.refused('its host down is down', found)
        self.refused('is down', found, forced=True)

    def test_host_of_one_that_waits_to_be_confirmed_is_down(self) -> None:
        found = parts.server('VERIFY_RESIZE', 'down')
        record = parts.record('finished', target='down')
        self.refused(
            'VERIFY_RESIZE on down, which is down, and not even a revert goes '
            'on without that host: start its nova-compute and run this again, '
            'or go back: openstack gpu server recover --method revert '
            f'{parts.ID}',
            found,
            record,
        )
        # It is the source that confirms: nothing is said of that one here.
        there = parts.server('VERIFY_RESIZE', 'gpu2')
        self.allowed(there, parts.record('finished', 'down'))

    def test_source_is_not_known(self) -> None:
        self.allowed(parts.server(host='elsewhere'))

    def test_source_of_a_host_with_several_hypervisors(self) -> None:
        self.hosts = (
            parts.host('gpu1'),
            parts.host('n2', host='gpu1', is_up=False),
        )
        self.refused('is down', parts.server())

    def test_targets(self) -> None:
        for target, words in (
            ('nowhere', "host named 'nowhere'; list them with: openstack gpu"),
            ('gpu1', 'it is on gpu1 already'),
            ('down', 'down is down'),
            ('off', 'off is disabled (new RAM)'),
            ('out', 'out is disabled'),
            ('GPU2', "No compute service host named 'GPU2'"),
        ):
            for forced in (False, True):
                self.refused(
                    words, parts.server(), target=target, forced=forced
                )

    def test_target_of_one_that_is_there(self) -> None:
        found = parts.server(host='gpu2', reason=parts.mark('gpu1'))
        self.allowed(found, target='gpu2')

    def test_target_of_one_under_way(self) -> None:
        found = parts.server('RESIZE', task='resize_prep', reason=OURS)
        self.allowed(found, target='off')


class TestSeveral(TestCase):
    def test_all_are_said(self) -> None:
        found = self.refusals(
            parts.server('PAUSED', 'down', reason='mine'),
            parts.record('error', 'down', 'gpu2'),
        )
        self.assertEqual(4, len(found), found)
