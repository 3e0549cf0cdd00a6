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

from osc_gpu.node import releases


class TestReleases(unittest.TestCase):
    def names(self, purpose):
        found = {}
        for name in releases.RELEASES:
            option = releases.option(purpose, releases.parse(name))
            text = f'[{option.group}] {option.name}' if option else None
            found.setdefault(text, name)
        return found

    def test_first_release_of_each_name(self):
        for purpose, names in (
            (
                releases.ALIAS,
                {'[DEFAULT] pci_alias': 'ocata', '[pci] alias': 'pike'},
            ),
            (
                releases.DEVICE_SPEC,
                {
                    '[DEFAULT] pci_passthrough_whitelist': 'ocata',
                    '[pci] passthrough_whitelist': 'pike',
                    '[pci] device_spec': 'zed',
                },
            ),
            (
                releases.MDEV_TYPES,
                {
                    None: 'ocata',
                    '[devices] enabled_vgpu_types': 'queens',
                    '[devices] enabled_mdev_types': 'xena',
                },
            ),
            (
                releases.FILTERS,
                {
                    '[DEFAULT] scheduler_default_filters': 'ocata',
                    '[filter_scheduler] enabled_filters': 'pike',
                },
            ),
            (
                releases.REPORT_IN_PLACEMENT,
                {None: 'ocata', '[pci] report_in_placement': 'zed'},
            ),
            (
                releases.PCI_IN_PLACEMENT,
                {
                    None: 'ocata',
                    '[filter_scheduler] pci_in_placement': '2023.1',
                },
            ),
        ):
            with self.subTest(purpose):
                self.assertEqual(names, self.names(purpose))

    def test_first_release_of_each_feature(self):
        for feature, first in (
            (releases.VGPUS, 'queens'),
            (releases.SEVERAL_TYPES, 'ussuri'),
            (releases.MDEV_CLASS, 'xena'),
            (releases.MANAGED, '2025.1'),
            (releases.HIDE_BY_IMAGE, 'pike'),
            (releases.HIDE_BY_FLAVOR, 'rocky'),
        ):
            with self.subTest(feature):
                self.assertEqual(first, releases.first(feature))
                has = [
                    name
                    for name in releases.RELEASES
                    if releases.has(feature, releases.parse(name))
                ]
                self.assertEqual(first, has[0])
                self.assertEqual('2026.2', has[-1])

    def test_groups_of_types(self):
        for name, group in (
            ('ussuri', 'vgpu_nvidia-35'),
            ('wallaby', 'vgpu_nvidia-35'),
            ('xena', 'mdev_nvidia-35'),
            ('2026.2', 'mdev_nvidia-35'),
        ):
            release = releases.parse(name)
            self.assertEqual(group, releases.type_group('nvidia-35', release))

    def test_filters_are_the_release_s_own_and_that_for_pci(self):
        for name, first, count in (
            ('ocata', 'RetryFilter', 10),
            ('pike', 'RetryFilter', 8),
            ('train', 'AvailabilityZoneFilter', 7),
            ('xena', 'ComputeFilter', 6),
        ):
            found = releases.filters(releases.parse(name))
            self.assertEqual(
                (first, count, 'PciPassthroughFilter'),
                (found[0], len(found), found[-1]),
            )

    def test_parse(self):
        self.assertEqual('zed', str(releases.parse('Zed')))
        self.assertLess(releases.parse('zed'), releases.parse('2023.1'))
        for text in ('', 'newton', '2026.3', 'x' * 900):
            with self.assertRaisesRegex(ValueError, 'right are ocata, pike'):
                releases.parse(text)

    def test_old_names_are_known(self):
        self.assertEqual(
            releases.ALIAS, releases.purpose_of('DEFAULT', 'pci_alias')
        )
        self.assertIsNone(releases.purpose_of('DEFAULT', 'alias'))
