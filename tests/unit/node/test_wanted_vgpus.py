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
import unittest

from osc_gpu.node import model
from osc_gpu.node import vgpu_catalogue
from osc_gpu.node import wanted_vgpus
from tests.unit.node import nodes


class TestParse(unittest.TestCase):
    def test_good(self):
        for text, option in (
            ('nvidia-697', ('nvidia-697', ())),
            ('GRID A100D-40C', ('GRID A100D-40C', ())),
            ('1152=4A:00.4', ('1152', ('0000:4a:00.4',))),
            (
                'x=10000:01:00.0,0000:01:00.1,01:00.1',
                ('x', ('10000:01:00.0', '0000:01:00.1')),
            ),
        ):
            self.assertEqual(option, wanted_vgpus.parse(text))

    def test_bad(self):
        for text in (
            '',
            ' a',
            'a ',
            '{{ x }}',
            'a\nb',
            'a]',
            'a=',
            'a=01:00',
            'a=01:00.8',
            'a=01:00.0,',
            'a=01:00.0;id',
            'a=01:00.0\n',
        ):
            with self.subTest(text), self.assertRaises(ValueError):
                wanted_vgpus.parse(text)


class TestMatch(unittest.TestCase):
    def vgpus(self, *args, **more):
        found = nodes.match(*args, **more)
        return [
            (
                vgpu.type.id,
                vgpu.gpu.address,
                vgpu.index,
                vgpu.function and vgpu.function.address,
            )
            for offer in found.offers
            for vgpu in offer.vgpus
        ]

    def refused(self, *args, **more):
        with self.assertRaises(ValueError) as caught:
            nodes.match(*args, **more)
        self.assertNotIn('\n', str(caught.exception))
        return str(caught.exception)

    def test_vfs(self):
        self.assertEqual(
            [
                ('nvidia-700', '0000:17:00.0', 0, '0000:17:00.4'),
                ('nvidia-700', '0000:17:00.0', 1, '0000:17:00.5'),
                ('nvidia-700', '0000:17:00.0', 2, '0000:17:00.6'),
                ('nvidia-699', '0000:17:00.0', 3, '0000:17:00.7'),
                ('nvidia-697', '0000:65:00.0', 0, '0000:65:00.4'),
                ('nvidia-697', '0000:65:00.0', 1, '0000:65:00.5'),
            ],
            self.vgpus(['a100-mig'], vgpus=nodes.KAYOBE_VGPUS),
        )

    def test_a_card_gets_as_many_as_fit(self):
        one = [
            ('nvidia-697', '0000:17:00.0', 0, '0000:17:00.4'),
            ('nvidia-697', '0000:17:00.0', 1, '0000:17:00.5'),
        ]
        for text in ('nvidia-697', 'A100D-40C', 'grid a100d-40c'):
            with self.subTest(text):
                vgpus = [f'{text}=0000:17:00.0']
                self.assertEqual(one, self.vgpus(['a100-sriov'], vgpus=vgpus))

    def test_all_cards_that_others_leave(self):
        vgpus = ['A100D-40C', 'A100D-7-80C=0000:17:00.4']
        self.assertEqual(
            [
                ('nvidia-703', '0000:17:00.0', 0, '0000:17:00.4'),
                ('nvidia-697', '0000:65:00.0', 0, '0000:65:00.4'),
                ('nvidia-697', '0000:65:00.0', 1, '0000:65:00.5'),
            ],
            self.vgpus(['a100-mig'], vgpus=vgpus),
        )

    def test_vfs_that_are_not_there_yet(self):
        vgpus = ['A100D-80C=0000:65:00.0']
        self.assertEqual(
            [('nvidia-698', '0000:65:00.0', 0, None)],
            self.vgpus(['a100-sriov'], vgpus=vgpus),
        )

    def test_card_without_sriov(self):
        machine = nodes.node('p100')
        types = (model.MdevType('nvidia-83', 'GRID P100-16Q', 1, 0),)
        gpus = tuple(
            dataclasses.replace(gpu, vgpus=model.Vgpus(types))
            for gpu in machine.gpus
        )
        machine = dataclasses.replace(machine, gpus=gpus)
        self.assertEqual(
            [
                ('nvidia-83', '0000:04:00.0', None, '0000:04:00.0'),
                ('nvidia-83', '0000:82:00.0', None, '0000:82:00.0'),
            ],
            self.vgpus([machine], vgpus=['P100-16Q']),
        )

    def test_card_with_sriov_that_has_its_vgpus_on_itself(self):
        types = (model.MdevType('nvidia-230', 'GRID T4-1Q', 16, 0),)
        vf = model.VirtualFunction(
            model.Function('0000:3b:00.4', '10de', '1eb8')
        )
        machine = nodes.node('t4-no-iommu')
        first, _second = machine.gpus
        gpu = dataclasses.replace(first, vgpus=model.Vgpus(types))
        for vfs in ((), (vf,)):
            with self.subTest(vfs=vfs):
                gpus = (dataclasses.replace(gpu, vfs=vfs),)
                told = dataclasses.replace(machine, gpus=gpus)
                self.assertEqual(
                    16
                    * [('nvidia-230', '0000:3b:00.0', None, '0000:3b:00.0')],
                    self.vgpus([told], vgpus=['T4-1Q']),
                )
                (unit,) = (
                    text
                    for path, text in nodes.files(
                        'systemd', [told], vgpus=['T4-1Q']
                    ).items()
                    if path.endswith('.service')
                )
                self.assertNotIn('vfs', unit)
                self.assertEqual(
                    16, unit.count('mdev 0000:3b:00.0 - nvidia-230 ')
                )
        said = self.refused([told], vgpus=['T4-1Q=3b:00.4'])
        self.assertIn('0000:3b:00.0 is on a VF; name the card itself', said)

    def test_vendor_vfio(self):
        found = nodes.match(['l40s'], vgpus=['L40S-24Q'])
        (alias,) = found.aliases
        self.assertEqual(
            ('L40S-24Q', '10de:26b9', 'type-VF'),
            (alias.name, alias.ids, alias.device_type),
        )
        self.assertEqual('CUSTOM_L40S_24Q', alias.vgpu.resource_class)
        self.assertEqual(4, len(found.offers[0].vgpus))
        self.assertEqual(
            self.vgpus(['l40s'], vgpus=['L40S-24Q']),
            self.vgpus(['l40s'], vgpus=[alias.vgpu.id]),
        )

    def test_vendor_vfio_is_one_type_a_card(self):
        said = self.refused(
            ['l40s'],
            vgpus=['L40S-24Q=0000:b1:00.4', 'L40S-48Q=0000:b1:00.5'],
        )
        self.assertIn('0000:b1:00.0: its VFs are one inventory', said)

    def test_name_of_such_an_alias_is_taken(self):
        said = self.refused(
            ['l40s', 'k80'], ['L40S-24Q=10de:102d'], ['L40S-24Q']
        )
        self.assertIn('is the name of a vGPU type', said)

    def test_type_that_the_card_does_not_have(self):
        said = self.refused(['a100-mig'], vgpus=['nvidia-1'])
        self.assertIn('no vGPU type nvidia-1; it has nvidia-692 (GRID', said)
        said = self.refused(['gtx1080'], vgpus=['nvidia-35'])
        self.assertIn('nor any', said)
        said = self.refused(['t4-no-iommu'], vgpus=['T4-80Q'])
        self.assertIn('it has T4-1Q, T4-2Q', said)
        said = self.refused(['t4-no-iommu'], vgpus=['T4-8Q'])
        self.assertIn('so give the id of T4-8Q, such as nvidia-697', said)
        for text in ('T4', 'card-1', '697'):
            said = self.refused(['t4-no-iommu'], vgpus=[text])
            self.assertIn(f'0000:3b:00.0 has no vGPU type {text}', said)
        said = self.refused(['a100-mig'], vgpus=['nvidia-697=0000:99:00.0'])
        self.assertIn('no GPU or VF is at 0000:99:00.0', said)

    def test_unknown_is_not_refused(self):
        text = nodes.told('0000:17:00.0 0302: 10de:20b5 (rev a1)\n')
        ((type_id, *_more),) = self.vgpus([text], vgpus=['nvidia-697'])
        self.assertEqual('nvidia-697', type_id)

    def test_a_kernel_with_vendor_vfio_alone(self):
        said = self.refused(['h100-domain1'], vgpus=['nvidia-1050'])
        self.assertIn("with this kernel its vGPUs are VFs of the", said)
        said = self.refused(['h100-domain1'], vgpus=['H100-20C'])
        self.assertIn('so give the id of H100-20C, such as 1155', said)
        found = nodes.match(['h100-domain1'], vgpus=['1050'])
        self.assertEqual(
            {vgpu_catalogue.VgpuType('1050', '', False, is_told=False)},
            {vgpu.type for vgpu in found.offers[0].vgpus},
        )

    def test_types_of_another_kernel(self):
        """What cards of another node tell is not what its kernel has."""
        other = nodes.renamed('a100-mig', 'new', kernel='6.8.0-51-generic')
        gpus = tuple(
            dataclasses.replace(gpu, vfs=(), vgpus=None) for gpu in other.gpus
        )
        other = dataclasses.replace(other, gpus=gpus)
        found = nodes.match(['a100-mig', other], vgpus=['A100D-40C'])
        self.assertEqual(
            [True, False], [bool(offer.vgpus) for offer in found.offers]
        )
        self.refused([other], vgpus=['nvidia-697'])

    def test_vendor_vfio_without_vfs_yet(self):
        machine = nodes.node('l40s')
        first, second = machine.gpus
        gpus = (dataclasses.replace(first, vfs=()), second)
        machine = dataclasses.replace(machine, gpus=gpus)
        with self.assertRaisesRegex(ValueError, '4a:00.0 has no VFs yet'):
            nodes.files('nova', [machine], vgpus=['L40S-24Q=4a:00.0'])

    def test_either_kind_where_the_kernel_is_unknown(self):
        listing = ''.join(
            f'0000:4a:00.{number} 0302: 10de:26b9 (rev a1)\n'
            for number in (0, 4)
        )
        for text in ('1155', 'nvidia-1155'):
            ((type_id, *_more),) = self.vgpus(
                [nodes.told(listing)], vgpus=[f'{text}=4a:00.4']
            )
            self.assertEqual(text, type_id)

    def test_count_that_nothing_tells(self):
        for tool, machine, vgpu, words in (
            ('systemd', 't4-no-iommu', 'nvidia-9999', 'read the node again'),
            ('systemd', 'h100-domain1', '1050', 'or name its VFs'),
            ('nova', 'h100-domain1', '1050', 'or name its VFs'),
        ):
            with (
                self.subTest(tool=tool, vgpu=vgpu),
                self.assertRaisesRegex(
                    ValueError, f'how many vGPUs of type {vgpu} .*{words}'
                ),
            ):
                nodes.files(tool, [machine], vgpus=[vgpu])
        untold = self.untold('a100-mig')
        for tool in ('systemd', 'kayobe'):
            with self.assertRaisesRegex(ValueError, 'or name its VFs'):
                nodes.files(tool, [untold], vgpus=['nvidia-697=17:00.0'])

    def untold(self, name):
        """Return a machine that has VFs, and tells no types."""
        machine = nodes.node(name)
        gpus = []
        for gpu in machine.gpus:
            vfs = tuple(dataclasses.replace(vf, vgpus=None) for vf in gpu.vfs)
            gpus.append(dataclasses.replace(gpu, vfs=vfs, vgpus=None))
        return dataclasses.replace(machine, gpus=tuple(gpus))

    def test_what_was_not_checked_is_said(self):
        for tool, machine, vgpus, release in (
            ('nova', 't4-no-iommu', ['nvidia-9999'], '2025.1'),
            ('devstack', 't4-no-iommu', ['nvidia-9999'], '2025.1'),
            ('kolla-ansible', 't4-no-iommu', ['nvidia-9999'], '2025.1'),
            ('tripleo', 't4-no-iommu', ['nvidia-9999'], 'wallaby'),
            ('nova', self.untold('l40s'), ['9999=4a:00.4'], '2025.1'),
            ('kayobe', self.untold('a100-mig'), ['nvidia-9=17:00.4'],
             '2025.1'),
            ('systemd', self.untold('a100-mig'), ['nvidia-9=17:00.4'],
             '2025.1'),
        ):  # fmt: skip
            type_id = vgpus[0].partition('=')[0]
            with self.subTest(tool):
                found = nodes.files(
                    tool, [machine], vgpus=vgpus, release=release
                )
                texts = [
                    text
                    for text in found.values()
                    if type_id in text and not text.startswith('#!')
                ]
                self.assertTrue(texts)
                for text in texts:
                    self.assertRegex(
                        text,
                        '^# Not checked whether there is a vGPU type '
                        f'{type_id}: ',
                    )
        told = nodes.files('nova', ['a100-mig'], vgpus=['nvidia-697'])
        self.assertNotIn('Not checked', ''.join(told.values()))

    def test_mig_and_time_sliced(self):
        said = self.refused(
            ['a100-mig'],
            vgpus=['nvidia-700=0000:17:00.4', 'nvidia-697=0000:17:00.5'],
        )
        self.assertIn('0000:17:00.0: a card is in MIG mode or', said)

    def test_time_sliced_where_mig_is_on(self):
        for address in ('17:00.0', '17:00.5'):
            said = self.refused(['a100-mig'], vgpus=[f'A100D-40C={address}'])
            self.assertIn('MIG is on at 0000:17:00.0', said)
            self.assertIn('nvidia-smi -i 0000:17:00.0 -mig 0', said)
            self.assertIn('such as A100D-1-10C', said)
        # What is asked of all cards that can have it others may have.
        self.assertEqual(
            {'0000:65:00.0'},
            {
                address
                for _id, address, *_more in self.vgpus(
                    ['a100-mig'], vgpus=['A100D-40C']
                )
            },
        )
        first, _second = nodes.node('a100-mig').gpus
        parted = nodes.renamed('a100-mig', 'a', gpus=(first,))
        said = self.refused([parted], vgpus=['nvidia-697'])
        self.assertIn('MIG is on at 0000:17:00.0', said)
        self.assertEqual(
            3, len(self.vgpus([parted], vgpus=['A100D-2-20C=17:00.0']))
        )

    def test_time_sliced_where_it_is_not_known_that_mig_is_on(self):
        first, _second = nodes.node('a100-mig').gpus
        for mig in (None, model.Mig(), model.Mig(is_enabled=False)):
            gpu = dataclasses.replace(first, mig=mig)
            machine = nodes.renamed('a100-mig', 'a', gpus=(gpu,))
            self.assertEqual(
                2, len(self.vgpus([machine], vgpus=['A100D-40C']))
            )

    def test_no_room_for_time_sliced(self):
        three = '17:00.4,17:00.5,17:00.6'
        for tool in ('systemd', 'kayobe'):
            for vgpus, words in (
                (
                    [f'A100D-40C={three}'],
                    '0000:17:00.0 has room for 2 of A100D-40C at most',
                ),
                (
                    ['A100D-40C=17:00.4', 'A100D-20C=17:00.5'],
                    'A100D-40C, A100D-20C are asked',
                ),
            ):
                with (
                    self.subTest(tool=tool, vgpus=vgpus),
                    self.assertRaisesRegex(ValueError, words),
                ):
                    nodes.files(tool, ['a100-sriov'], vgpus=vgpus)
        # Nova makes them when servers need them, as long as there is room.
        for vgpus in ([f'A100D-40C={three}'], ['A100D-40C=17:00.4']):
            self.assertTrue(nodes.files('nova', ['a100-sriov'], vgpus=vgpus))
        # But every VF is one for it where they are no mediated devices.
        vgpus = ['L40S-24Q=4a:00.4,4a:00.5,4a:00.6']
        for tool in ('nova', 'systemd'):
            with self.assertRaisesRegex(ValueError, 'room for 2 of L40S-24Q'):
                nodes.files(tool, ['l40s'], vgpus=vgpus)

    def test_time_sliced_of_one_size(self):
        """Series may differ: it is the memory that is divided."""
        machine = nodes.node('a100-sriov')
        gpu = machine.gpus[0]
        types = model.Vgpus(
            (
                model.MdevType('nvidia-1', 'NVIDIA A10-12C', 1, 0),
                model.MdevType('nvidia-2', 'NVIDIA A10-12Q', 1, 0),
            )
        )
        function = dataclasses.replace(gpu.function, product_id='2236')
        vfs = tuple(dataclasses.replace(vf, vgpus=types) for vf in gpu.vfs)
        gpu = dataclasses.replace(gpu, function=function, vfs=vfs)
        machine = dataclasses.replace(machine, gpus=(gpu,))
        vgpus = ['A10-12C=17:00.4', 'A10-12Q=17:00.5']
        self.assertTrue(nodes.files('systemd', [machine], vgpus=vgpus))
        vgpus[1] += ',17:00.6'
        with self.assertRaisesRegex(
            ValueError, 'room for 2 of A10-12C, A10-12Q at most'
        ):
            nodes.files('systemd', [machine], vgpus=vgpus)

    def test_no_room_for_mig(self):
        for vgpus, words in (
            (
                ['nvidia-700=17:00.4,17:00.5,17:00.6,17:00.7'],
                'room for 3 of 2g.20gb at most',
            ),
            (
                ['nvidia-701=17:00.4,17:00.5', 'nvidia-700=17:00.6'],
                'has 7 slices, and 3g.40gb, 3g.40gb, 2g.20gb',
            ),
        ):
            self.assertIn(words, self.refused(['a100-mig'], vgpus=vgpus))

    def test_two_types_of_one_place(self):
        said = self.refused(
            ['a100-sriov'],
            vgpus=['nvidia-696=17:00.0', 'nvidia-697=17:00.4'],
        )
        self.assertIn('name its VFs', said)
        said = self.refused(
            ['a100-sriov'],
            vgpus=['nvidia-696=17:00.4', 'nvidia-697=17:00.4'],
        )
        self.assertIn('two types are asked of 0000:17:00.4', said)
        said = self.refused(['a100-sriov'], vgpus=['nvidia-696', 'nvidia-697'])
        self.assertIn('one at most goes without addresses', said)

    def test_old_releases(self):
        for release, machine, vgpus, words in (
            ('pike', 'a100-mig', ['nvidia-697'], 'queens is the first'),
            (
                'train',
                'a100-mig',
                ['nvidia-697=17:00.4'],
                'ussuri is the first',
            ),
            ('train', 'a100-mig', nodes.KAYOBE_VGPUS, 'ussuri is the first'),
            ('2024.2', 'l40s', ['L40S-24Q'], '2025.1 is the first'),
        ):
            with self.subTest(release):
                self.assertIn(
                    words,
                    self.refused([machine], vgpus=vgpus, release=release),
                )

    def test_hostile_names_of_types(self):
        types = (
            model.MdevType('nvidia-1', '{{ lookup("pipe", "id") }}', 1, 0),
        )
        machine = nodes.node('p100')
        gpus = tuple(
            dataclasses.replace(gpu, vgpus=model.Vgpus(types))
            for gpu in machine.gpus
        )
        machine = dataclasses.replace(machine, gpus=gpus)
        for tool in ('kolla-ansible', 'nova'):
            texts = nodes.files(tool, [machine], vgpus=['nvidia-1'])
            self.assertNotIn('lookup', ''.join(texts.values()))


class TestVgpuType(unittest.TestCase):
    def test_labels_and_classes(self):
        for args, label, name in (
            (('nvidia-697', 'GRID A100D-40C', True), 'A100D-40C',
             'CUSTOM_NVIDIA_697'),
            (('1155', 'NVIDIA L40S-48Q', False), 'L40S-48Q',
             'CUSTOM_L40S_48Q'),
            (('1155', '', False), 'vgpu-1155', 'CUSTOM_VGPU_1155'),
            (('i915-GVTg_V5_4', '', True), 'vgpu-i915-GVTg_V5_4',
             'CUSTOM_I915_GVTG_V5_4'),
        ):  # fmt: skip
            found = vgpu_catalogue.VgpuType(*args)
            self.assertEqual(
                (label, name), (found.label, found.resource_class)
            )
