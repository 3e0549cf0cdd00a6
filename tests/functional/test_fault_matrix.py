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


"""The fault matrix in its short form: each fault once, each kind in turn.

``tools/fault_matrix.py`` plays all of it.
"""

import dataclasses
import unittest

from tests.functional import base
from tests.functional import matrix
from tests.functional import matrix_cases as cases
from tests.functional import truth

#: fault -> the kind of server that it meets
ROTATION = {
    'no fault': 'vgpu group',
    'no valid host': 'alias 2',
    'claim': 'alias',
    'targeted claim': 'vgpu',
    'source rollback': 'alias',
    'source error': 'vgpu group',
    'destination error': 'alias',
    'confirm error': 'vgpu',
    'slow': 'shut off',
    'destination dies': 'vgpu',
    'source dies': 'alias',
    'source dies confirming': 'vgpu',
    '409': 'volume',
    '500': 'shut off',
    '503': 'vgpu',
    'cut': 'alias 2',
    'not answered': 'vgpu group',
    'API gone': 'volume',
    'token expired': 'shut off',
}

#: The same without PCI devices in Placement, where Nova alone counts them.
ROTATION_PCI_OFF = {
    'no fault': 'alias 2',
    'claim': 'alias',
    'destination error': 'alias',
    'cut': 'shut off',
}


class TestCase(matrix.TestCase):
    def check(self, fault: str, kind: str) -> None:
        if not self.plays(kind, fault):
            self.skipTest('this sandbox has no such servers')
        played = self.play(kind, fault)
        self.assertNotEqual(cases.LOST, played.verdict, played)
        # Who is not healed by it is told so by no more than that.
        if not cases.FAULTS[fault].breaks:
            self.assertNotEqual(cases.REPORTED, played.verdict, played)


def _test(fault, kind):
    return lambda self: self.check(fault, kind)


class TestFaultMatrix(TestCase):
    """With PCI devices in Placement."""


class TestFaultMatrixPciOff(TestCase):
    """Without."""

    def setUp(self) -> None:
        super().setUp()
        self.assertFalse(self.in_placement)


def _fill(case, rotation):
    for fault, kind in rotation.items():
        name = '_'.join(fault.lower().split())
        setattr(case, f'test_{name}', _test(fault, kind))


_fill(TestFaultMatrix, ROTATION)
_fill(TestFaultMatrixPciOff, ROTATION_PCI_OFF)


class TestJudge(matrix.TestCase):
    """The judge sees what core's commands leave behind."""

    def test_poisoned(self):
        kind = cases.KINDS['alias']
        server = self.launch(kind)
        source = truth.read(self, server).host
        target = self.another(source)
        self.assertEqual([], self.troubles(server, kind))
        with self.fault(point='destination', server=server):
            self.admin.compute.migrate_server(server, host=target)
            found = self.settle(server, 'error')
        self.assertEqual(target, found.host)
        self.assertEqual({source, target}, {row[0] for row in found.rows})
        wrong = truth.troubles(found, kind.wanted, self.in_placement)
        self.assertIn('it is error, idle', wrong)
        self.assertIn(f'Nova gives it {sorted(found.rows)}', wrong)

    def test_left_unconfirmed(self):
        kind = cases.KINDS['vgpu group']
        server = self.launch(kind)
        source = truth.read(self, server).host
        self.admin.compute.migrate_server(server, host=self.another(source))
        found = self.settle(server, 'resized')
        wrong = truth.troubles(found, kind.wanted, self.in_placement)
        self.assertIn('it is resized, idle', wrong)
        self.assertIn('migrations are finished', wrong)
        self.assertIn(f'migrations hold {found.leaked}', wrong)
        self.admin.compute.confirm_server_resize(server)
        base.wait_until(
            'confirmed',
            lambda: truth.read(self, server).state == 'active',
        )
        self.assertEqual([], self.judge(server, kind))


ADDRESSES = ('0000:20:00.0', '0000:a1:00.0')


class TestTroubles(unittest.TestCase):
    """Whatever is wrong with a server is found; no sandbox is asked."""

    def setUp(self):
        super().setUp()
        guest = {'state': 'running', 'devices': ADDRESSES, 'mdevs': ()}
        self.wanted = truth.Wanted(devices=2)
        self.whole = truth.Truth(
            state='active',
            task=None,
            host='gpu1',
            is_locked=False,
            guests=(guest | {'host': 'gpu1'},),
            rows=frozenset(('gpu1', a, 'allocated') for a in ADDRESSES),
            held={
                'gpu1': {'VCPU': 1},
                'gpu1_0000:20:00.0': {'CUSTOM_PCI_10DE_20B5': 1},
                'gpu1_0000:A1:00.0': {'CUSTOM_PCI_10DE_20B5': 1},
            },
            leaked={},
            open=(),
            migrations=(),
        )

    def troubles(self, **changes):
        found = dataclasses.replace(self.whole, **changes)
        return truth.troubles(found, self.wanted)

    def test_whole(self):
        self.assertEqual([], self.troubles())
        (guest,) = self.whole.guests
        off = guest | {'state': 'shutoff'}
        self.assertEqual([], self.troubles(state='stopped', guests=(off,)))
        self.assertEqual([], self.troubles(state='stopped', guests=()))

    def test_wrong(self):
        (guest,) = self.whole.guests
        held = dict(self.whole.held)
        rows = self.whole.rows
        for changes, word in (
            ({'state': 'error'}, 'it is error'),
            ({'task': 'resize_finish'}, 'resize_finish'),
            ({'is_locked': True}, 'locked'),
            ({'open': ('finished',)}, 'finished'),
            ({'leaked': {'migration': held}}, 'migrations hold'),
            ({'guests': ()}, 'its guests'),
            ({'guests': (guest, guest | {'host': 'gpu2'})}, 'its guests'),
            ({'guests': (guest | {'host': 'gpu2'},)}, 'its guests'),
            ({'guests': (guest | {'state': 'shutoff'},)}, 'its guests'),
            ({'guests': (guest | {'devices': ()},)}, 'its guest has'),
            ({'state': 'stopped'}, 'its guests'),
            (
                {'guests': (guest | {'mdevs': ({'parent': None},)},)},
                'vGPUs',
            ),
            ({'rows': rows - {next(iter(rows))}}, 'Nova gives'),
            ({'rows': rows | {('gpu2', '0:0', 'claimed')}}, 'Nova gives'),
            ({'rows': rows | {('gpu1', '0:0', 'allocated')}}, 'Nova gives'),
            ({'held': {}}, 'it holds'),
            ({'held': {'gpu1': held['gpu1']}}, 'it holds'),
            ({'held': held | {'gpu2': {'VCPU': 1}}}, 'it holds'),
            (
                {'held': held | {'gpu1_0000:22:00.0': {'CUSTOM_PCI': 1}}},
                'it holds',
            ),
            (
                {'held': held | {'gpu1_pci_0000_41_00_0': {'VGPU': 1}}},
                'it holds',
            ),
        ):
            with self.subTest(changes):
                self.assertIn(word, '; '.join(self.troubles(**changes)))
