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

from osc_gpu.node import checks
from osc_gpu.node import uses
from tests.unit.node import sound

PASSTHROUGH, VGPU, VFIO_VGPU = uses.PURPOSES


def found(now, before, *more):
    return [
        (one.severity, one.check, one.subject, one.detail)
        for one in checks.check(now, *more, before=before)
    ]


class TestBefore(unittest.TestCase):
    def test_nothing_has_changed(self):
        for machine in (sound.k80(), sound.l40s(), sound.a100()):
            self.assertEqual([], found(machine, machine))

    def test_more_than_before(self):
        now = sound.l40s()
        before = sound.with_gpu(
            sound.node(*now.gpus[:1]), vfs=now.gpus[0].vfs[:1]
        )
        self.assertEqual([], found(now, before))

    def test_card_that_is_gone(self):
        before = sound.k80()
        now = sound.node(before.gpus[0])
        address = before.gpus[1].address
        self.assertEqual(
            [
                (
                    'error',
                    'gone',
                    address,
                    'there was a GPU before: NVIDIA GK210GL [Tesla K80]',
                )
            ],
            found(now, before),
        )
        (finding,) = checks.check(now, before=before)
        self.assertIn(f"grep -i '{address[:-2]}'\"", finding.repair)

    def test_only_those_that_are_chosen(self):
        before = sound.k80()
        now = sound.node(before.gpus[0])
        self.assertEqual([], found(now, before, '', [now.gpus[0].address]))

    def test_fewer_vfs(self):
        before = sound.a100()
        had = len(before.gpus[0].vfs)
        address = before.gpus[0].address
        for left in (0, had - 1):
            now = sound.with_gpu(
                before, total_vfs=had, vfs=before.gpus[0].vfs[:left]
            )
            for purpose in ('', VGPU):
                with self.subTest(left, purpose=purpose):
                    self.assertEqual(
                        [
                            (
                                'error',
                                'vfs',
                                address,
                                f'it has {left} VFs, and had {had} before',
                            )
                        ],
                        found(now, before, purpose),
                    )
            (finding,) = checks.check(now, before=before)
            self.assertIn(f'sriov-manage -e {address}', finding.repair)
            said = [
                check
                for _s, check, *_more in found(now, before, 'passthrough')
            ]
            self.assertNotIn('gone', said)

    def test_whole_cards_of_nvidia_are_to_have_no_vfs(self):
        before = sound.l40s()
        now = sound.with_gpu(before, vfs=())
        self.assertFalse(
            [one for one in found(now, before, PASSTHROUGH) if 'had' in one[3]]
        )

    def test_vfs_of_others(self):
        vfs = sound.vfs('0000:05:00.0', '1002:74b5', 4, None, driver='')
        before = sound.node(
            sound.gpu(
                '0000:05:00.0', '1002:74a1', 'amdgpu', total_vfs=8, vfs=vfs
            )
        )
        now = sound.with_gpu(before, vfs=vfs[:1])
        for purpose in ('', PASSTHROUGH):
            (finding,) = [
                one
                for one in checks.check(now, purpose, before=before)
                if one.check == 'vfs'
            ]
            self.assertEqual('it has 1 VFs, and had 4 before', finding.detail)
            self.assertIn(
                "'echo 4 > /sys/bus/pci/devices/0000:05:00.0/sriov_numvfs'",
                finding.repair,
            )

    def test_unknown_vfs(self):
        before = sound.l40s()
        self.assertEqual([], found(before, sound.with_gpu(before, vfs=None)))
        now = sound.with_gpu(before, vfs=None)
        self.assertFalse(
            [one for one in found(now, before) if one[1] == 'vfs']
        )

    def test_another_card_in_the_slot(self):
        before = sound.l40s()
        now = sound.node(sound.gpu(before.gpus[0].address, '10de:1b80'))
        self.assertFalse(
            [one for one in found(now, before) if 'had' in one[3]]
        )
