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

import hypothesis

from osc_gpu.node import comparison
from osc_gpu.node import model
from tests.unit.node import sound
from tests.unit.node.sound import change
from tests.unit.node.sound import with_function
from tests.unit.node.sound import with_gpu
from tests.unit.node import strategies


def other(machine, **more):
    return change(machine, hostname='gpu2', **more)


def with_types(*types, **more):
    return sound.a100(types, **more)


ONE = sound.mdev('nvidia-697', 'GRID A100D-40C', 0, 1)
TWO = sound.mdev('nvidia-698', 'GRID A100D-80C', 0, 0)
PARTED = model.Mig(True, ('1g.10gb', '2g.20gb', '2g.20gb'))


def set_types(*numbers):
    machine = sound.l40s()
    for place, number in enumerate(numbers):
        machine = sound.with_vf(
            machine,
            place,
            vgpus=model.Vgpus(vendor_types=(), vendor_type=number),
        )
    return machine


#: Name, the two nodes, findings of the way there, and of the way back.
CASES = (
    (
        'no such card',
        sound.k80(),
        other(sound.rtx6000()),
        [('error', 'ids', '10de:102d'), ('info', 'ids', '10de:1e30')],
        [('info', 'ids', '10de:102d'), ('error', 'ids', '10de:1e30')],
    ),
    (
        'fewer cards',
        sound.k80(),
        other(sound.node(sound.k80().gpus[0])),
        [('warning', 'count', '10de:102d'), ('warning', 'numa', '10de:102d')],
        [('info', 'count', '10de:102d'), ('info', 'numa', '10de:102d')],
    ),
    (
        'vGPUs, and a whole card',
        sound.t4(),
        other(sound.node(sound.gpu('0000:3b:00.0', '10de:1eb8'))),
        [('error', 'mode', '10de:1eb8')],
        [('error', 'mode', '10de:1eb8')],
    ),
    (
        'mdev, and vendor VFIO',
        sound.l40s(),
        other(
            sound.node(
                sound.gpu(
                    '0000:4a:00.0',
                    '10de:26b9',
                    'nvidia',
                    vgpus=model.Vgpus((sound.mdev('nvidia-1', 'L40S-1Q'),)),
                ),
                distribution=sound.l40s().distribution,
                kernel=sound.l40s().kernel,
            )
        ),
        [('error', 'mode', '10de:26b9')],
        [('error', 'mode', '10de:26b9')],
    ),
    (
        'a card that the host has',
        sound.k80(),
        other(
            with_function(
                with_function(sound.k80(), driver='nvidia'),
                1,
                driver='nvidia',
            )
        ),
        [('error', 'mode', '10de:102d')],
        [('info', 'mode', '10de:102d')],
    ),
    (
        'SR-IOV off',
        with_gpu(with_gpu(sound.k80(), total_vfs=8), 1, total_vfs=8),
        other(sound.k80()),
        [('error', 'device-type', '10de:102d')],
        [('error', 'device-type', '10de:102d')],
    ),
    (
        'another board',
        sound.node(sound.k80().gpus[0]),
        other(
            with_function(
                sound.node(sound.k80().gpus[0]), subsystem_product_id='106c'
            )
        ),
        [('warning', 'model', '10de:102d')],
        [('warning', 'model', '10de:102d')],
    ),
    (
        'managed',
        sound.k80(),
        other(with_function(sound.k80(), driver='')),
        [('info', 'managed', '10de:102d')],
        [('info', 'managed', '10de:102d')],
    ),
    (
        'no IOMMU',
        sound.k80(),
        other(sound.k80(has_iommu=False)),
        [('error', 'iommu', 'gpu2')],
        [('info', 'iommu', 'gpu2')],
    ),
    (
        'NUMA',
        sound.k80(),
        other(with_function(sound.k80(), 1, numa_node=1)),
        [('warning', 'numa', '10de:102d')],
        [('info', 'numa', '10de:102d')],
    ),
    (
        'a type that is not there, in use',
        with_types(ONE, TWO),
        other(with_types(TWO)),
        [('error', 'mdev-types', '10de:20b5')],
        [('info', 'mdev-types', '10de:20b5')],
    ),
    (
        'a type that is not there, not in use',
        with_types(ONE, TWO),
        other(with_types(ONE)),
        [('warning', 'mdev-types', '10de:20b5')],
        [('info', 'mdev-types', '10de:20b5')],
    ),
    (
        'another id',
        with_types(ONE),
        other(with_types(change(ONE, id='nvidia-475'))),
        [('warning', 'mdev-ids', '10de:20b5')],
        [('warning', 'mdev-ids', '10de:20b5')],
    ),
    (
        'another name',
        with_types(ONE),
        other(with_types(change(ONE, name='GRID A100D-20C'))),
        [('error', 'mdev-names', '10de:20b5')],
        [('error', 'mdev-names', '10de:20b5')],
    ),
    (
        'divided otherwise',
        with_types(ONE, TWO),
        other(with_types(change(ONE, created=0), change(TWO, created=1))),
        [('error', 'mdev-room', '10de:20b5')],
        [('error', 'mdev-room', '10de:20b5')],
    ),
    (
        'other VFs',
        sound.l40s(),
        other(set_types('1156', '0')),
        [('error', 'vgpu-types', '10de:26b9')],
        [('error', 'vgpu-types', '10de:26b9')],
    ),
    (
        'fewer VFs with a type',
        sound.l40s(),
        other(set_types('1155', '0')),
        [('warning', 'count', '10de:26b9')],
        [('info', 'count', '10de:26b9')],
    ),
    (
        'fewer VFs than before',
        sound.a100(),
        with_gpu(sound.a100(), vfs=sound.a100().gpus[0].vfs[:8]),
        [('warning', 'count', '10de:20b5')],
        [('info', 'count', '10de:20b5')],
    ),
    (
        'no VFs at all',
        sound.l40s(),
        other(with_gpu(sound.l40s(), vfs=())),
        [('error', 'mode', '10de:26b9')],
        [('info', 'mode', '10de:26b9')],
    ),
    (
        'MIG',
        sound.a100(sound.MIG, PARTED),
        other(sound.a100(sound.MIG, model.Mig(False, ()))),
        [('error', 'mig', '10de:20b5')],
        [('error', 'mig', '10de:20b5')],
    ),
    (
        'MIG, of which one knows only that there is some',
        sound.a100(sound.MIG, model.Mig(True)),
        other(sound.a100(sound.MIG, model.Mig(None, ()))),
        [('error', 'mig', '10de:20b5')],
        [('error', 'mig', '10de:20b5')],
    ),
    (
        'profiles',
        sound.a100(sound.MIG, PARTED),
        other(sound.a100(sound.MIG, model.Mig(True, ('2g.20gb',)))),
        [
            ('error', 'mig-profiles', '10de:20b5'),
            ('warning', 'count', '10de:20b5'),
        ],
        [
            ('info', 'count', '10de:20b5'),
            ('info', 'mig-profiles', '10de:20b5'),
        ],
    ),
    (
        'system',
        sound.k80(),
        other(
            sound.k80(
                kernel='6.8.0-51-generic', distribution='ubuntu-24.04'
            )
        ),
        [
            ('info', 'distribution', 'gpu1, gpu2'),
            ('info', 'kernel', 'gpu1, gpu2'),
        ],
        [
            ('info', 'distribution', 'gpu2, gpu1'),
            ('info', 'kernel', 'gpu2, gpu1'),
        ],
    ),
    (
        'processors',
        sound.k80(),
        other(sound.k80(cpu_vendor='')),
        [('info', 'processor', 'gpu1, gpu2')],
        [('info', 'processor', 'gpu2, gpu1')],
    ),
    (
        'too old to migrate live',
        sound.t4(kernel='5.15.0-1-generic'),
        other(sound.t4(kernel='5.15.0-1-generic')),
        [('info', 'live-migration', 'gpu1, gpu2')],
        [('info', 'live-migration', 'gpu2, gpu1')],
    ),
)  # fmt: skip


ALIKE = (
    sound.k80(),
    sound.rtx6000(),
    sound.t4(),
    sound.a100(sound.MIG, PARTED),
    sound.l40s(),
)


def brief(found):
    return [(f.severity, f.check, f.subject) for f in found]


class TestCompare(unittest.TestCase):
    maxDiff = None

    def test_alike(self):
        for machine in ALIKE:
            self.assertEqual((), comparison.compare(machine, machine))
            self.assertEqual((), comparison.compare(machine, other(machine)))

    def test_one_difference_each(self):
        for name, one, two, there, back in CASES:
            with self.subTest(name):
                self.assertEqual(there, brief(comparison.compare(one, two)))
            with self.subTest(f'{name}, back'):
                self.assertEqual(back, brief(comparison.compare(two, one)))

    def test_more_at_the_other(self):
        """More cards, another kind besides: nothing is in the way."""
        more = other(
            sound.node(
                *sound.k80().gpus, sound.gpu('0000:a0:00.0', '10de:20b5')
            )
        )
        self.assertEqual(
            [('info', 'ids', '10de:20b5')],
            brief(comparison.compare(sound.k80(), more)),
        )

    def test_said(self):
        (finding,) = comparison.compare(
            sound.k80(), other(sound.k80(has_iommu=False))
        )
        self.assertEqual(
            'gpu2 uses no IOMMU: no server gets a card there; not so from '
            'gpu2 to gpu1',
            finding.detail,
        )
        (finding,) = comparison.compare(
            other(sound.k80(has_iommu=False)), sound.k80()
        )
        self.assertEqual(
            'only from gpu1 to gpu2: gpu2 uses no IOMMU: no server gets a '
            'card there',
            finding.detail,
        )

    def test_names(self):
        bad = sound.k80(has_iommu=False)
        for one, two, names in (
            (sound.k80(), bad, ('a.json', 'b.json')),
            (sound.k80(hostname=None), bad, ('a.json', 'gpu1')),
            (sound.k80(), change(bad, hostname=None), ('gpu1', 'b.json')),
            (sound.k80(hostname='b.json'), bad, ('b.json', 'gpu1')),
        ):
            (finding,) = comparison.compare(one, two, ('a.json', 'b.json'))
            self.assertEqual(names[1], finding.subject)
            self.assertIn(f'to {names[0]}', finding.detail)

    def test_unknown(self):
        """Only ids are known of one: what they tell, and what they do not."""
        bare = model.Node(
            hostname='gpu2',
            gpus=(
                model.Gpu(model.Function('0000:04:00.0', '10de', '102d')),
                model.Gpu(model.Function('0000:05:00.0', '10de', '102d')),
            ),
        )
        found = comparison.compare(sound.k80(), bare)
        self.assertEqual([('info', 'unknown', 'gpu2')], brief(found))
        for word in ('IOMMU', 'drivers', 'SR-IOV', 'vGPU', 'NUMA'):
            self.assertIn(word, found[0].detail)
        self.assertEqual(
            [
                ('error', 'ids', '10de:1e30'),
                ('info', 'ids', '10de:102d'),
                ('info', 'unknown', 'gpu2'),
            ],
            sorted(brief(comparison.compare(sound.rtx6000(), bare))),
        )

    def test_a_fact_less(self):
        """What one node does not tell is no difference."""
        for machine in ALIKE:
            for poorer in sound.poorer_than(machine):
                for one, two in (
                    (machine, other(poorer)),
                    (other(poorer), machine),
                ):
                    self.assertLessEqual(
                        {f.check for f in comparison.compare(one, two)},
                        {'unknown'},
                    )

    def test_a_driver_is_not_all(self):
        """By its driver alone a card is neither divided nor the host's."""
        bare = model.Node(
            hostname='gpu2',
            gpus=(
                model.Gpu(
                    sound.function(
                        '0000:3b:00.0', '10de:1eb8', driver='nvidia'
                    )
                ),
            ),
        )
        for one, two in ((sound.t4(), bare), (bare, sound.t4())):
            self.assertEqual(
                [('info', 'unknown', 'gpu2')],
                brief(comparison.compare(one, two)),
            )

    def test_processors_own(self):
        own = sound.gpu('0000:00:02.0', '8086:3e9b', 'i915')
        self.assertEqual(
            (),
            comparison.compare(
                sound.node(own, *sound.k80().gpus), other(sound.k80())
            ),
        )

    @hypothesis.given(strategies.NODES, strategies.NODES)
    def test_never_raises(self, one, two):
        for finding in comparison.compare(one, two):
            text = (finding.subject, finding.check, finding.detail)
            self.assertTrue(all(text), finding)
            self.assertTrue(''.join(text).isprintable(), finding)

    @hypothesis.given(strategies.NODES)
    def test_the_same(self, one):
        found = comparison.compare(one, one)
        self.assertLessEqual(
            {f.check for f in found}, {'unknown', 'live-migration'}
        )
