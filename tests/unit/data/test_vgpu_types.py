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

from osc_gpu.data import vgpu_types


class TestNames(unittest.TestCase):
    def test_parse(self):
        for name, *parts in (
            ('GRID A100D-40C', 'A100D-40C', 'A100D', '', 40),
            ('GRID A100D-2-20C', 'A100D-2-20C', 'A100D', '2g.20gb', 20),
            ('A100D-1-10CME', 'A100D-1-10CME', 'A100D', '1g.10gb+me', 10),
            ('NVIDIA L40S-48Q', 'L40S-48Q', 'L40S', '', 48),
            (
                'NVIDIA RTX6000-Ada-48Q',
                'RTX6000-Ada-48Q',
                'RTX6000-Ada',
                '',
                48,
            ),
            (
                'NVIDIA RTX Pro 6000 Blackwell DC-1-24QGFX',
                'DC-1-24QGFX',
                'DC',
                '1g.24gb+gfx',
                24,
            ),
        ):
            with self.subTest(name):
                self.assertEqual(tuple(parts), vgpu_types.parse(name))

    def test_no_name(self):
        for name in ('', 'nvidia-697', 'i915-GVTg_V5_4', 'A100D', '40C'):
            self.assertIsNone(vgpu_types.parse(name))

    def test_every_type_of_the_table_can_be_taken_apart(self):
        for (series, *_ids), types in vgpu_types._table('vgpu_types.txt'):
            for rest, count in types:
                found = vgpu_types.parse(f'NVIDIA {series}-{rest}')
                self.assertEqual(series, found.series)
                self.assertEqual('-' in rest, bool(found.profile))
                self.assertEqual(count, vgpu_types.most(f'{series}-{rest}'))


class TestCards(unittest.TestCase):
    def test_types(self):
        found = vgpu_types.of_card('20B5')
        self.assertEqual(2, found['A100D-40C'])
        self.assertEqual(3, found['A100D-2-20C'])
        self.assertIsNone(vgpu_types.of_card('1b80'))

    def test_two_cards_of_one_id(self):
        found = vgpu_types.of_card('25b6')
        self.assertEqual((16, 16), (found['A2-1Q'], found['A16-1Q']))

    def test_most(self):
        self.assertEqual(2, vgpu_types.most('GRID A100D-40C'))
        self.assertIsNone(vgpu_types.most('GRID M10-8Q'))

    def test_mig_profiles(self):
        self.assertEqual(
            {'1g.10gb': 7, '2g.20gb': 3, '3g.40gb': 2},
            vgpu_types.mig_profiles('20b5'),
        )
        self.assertEqual(4, vgpu_types.mig_profiles('20b0')['1g.10gb'])
        self.assertIsNone(vgpu_types.mig_profiles('15f8'))

    def test_mig_slices(self):
        for product_id, slices in (
            ('20b5', 7),
            ('20b7', 4),
            ('2901', 7),
            ('26b9', None),
            ('15f8', None),
        ):
            self.assertEqual(slices, vgpu_types.mig_slices(product_id))

    def test_both_tables_agree(self):
        for (series, *ids), types in vgpu_types._table('vgpu_types.txt'):
            for product_id in ids:
                profiles = vgpu_types.mig_profiles(product_id) or {}
                for rest, count in types:
                    name = vgpu_types.parse(f'{series}-{rest}')
                    # A part of the RTX PRO can be divided once more.
                    if series != 'DC' and name.profile in profiles:
                        self.assertEqual(profiles[name.profile], count)
