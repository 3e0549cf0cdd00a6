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

from osc_lib import exceptions

from osc_gpu.cloud import placement
from osc_gpu.cloud import provider_names


def provider(name: str, root: str = 'gpu1') -> placement.Provider:
    """A provider whose UUID is its name."""
    return placement.Provider(
        uuid=name,
        name=name,
        root_uuid=root,
        parent_uuid=None if name == root else root,
    )


def named(*providers: placement.Provider) -> dict[str, placement.Provider]:
    return {p.uuid: p for p in providers}


class TestProviderNames(unittest.TestCase):
    host = provider('gpu1.example.org', 'gpu1.example.org')
    other = provider('gpu2', 'gpu2')
    card = provider('gpu1.example.org_0000:A1:00.0', 'gpu1.example.org')
    mdev = provider('gpu2_pci_0000_84_00_0', 'gpu2')
    twin = provider('gpu2_0000:A1:00.0', 'gpu2')
    odd = provider('gpu2_mtty_mtty', 'gpu2')
    names = named(host, other, card, mdev, twin, odd)

    def test_host(self) -> None:
        self.assertEqual(
            self.other, provider_names.host_named(self.names, 'gpu2')
        )

    def test_unknown_host(self) -> None:
        for host, message in {
            'gpu9': "No host named 'gpu9' in Placement.",
            'gpu2_mtty_mtty': "No host named 'gpu2_mtty_mtty' in Placement.",
            'gpu1': (
                "No host named 'gpu1' in Placement. Did you mean "
                "gpu1.example.org?"
            ),
        }.items():
            with self.assertRaises(exceptions.CommandError) as caught:
                provider_names.host_named(self.names, host)
            self.assertEqual(message, str(caught.exception))

    def test_provider(self) -> None:
        for text, expected in {
            self.card.name: self.card,
            self.card.name.lower(): self.card,
            'gpu1.example.org_0000:a1:00.0': self.card,
            'gpu2_0000:84:00.0': self.mdev,
            '0000:84:00.0': self.mdev,
            'gpu2_0000:a1:00.0': self.twin,
            'gpu2_mtty_mtty': self.odd,
            'gpu2': self.other,
        }.items():
            self.assertIs(
                expected, provider_names.provider_named(self.names, text), text
            )

    def test_an_exact_name_beats_the_same_in_another_case(self) -> None:
        upper, lower = provider('GPU1'), provider('gpu1')
        names = named(upper, lower)
        self.assertIs(lower, provider_names.provider_named(names, 'gpu1'))
        self.assertIs(upper, provider_names.provider_named(names, 'GPU1'))

    def test_provider_whose_root_is_not_listed(self) -> None:
        names = named(self.twin)
        self.assertIs(
            self.twin, provider_names.provider_named(names, '0000:a1:00.0')
        )

    def test_unknown_provider(self) -> None:
        for text in ('nope', '', 'mtty', '0000:a1:00.1'):
            with self.assertRaises(exceptions.CommandError) as caught:
                provider_names.provider_named(self.names, text)
            self.assertEqual(
                f"No resource provider with a name or ID of '{text}' in "
                "Placement.",
                str(caught.exception),
            )

    def test_ambiguous_provider(self) -> None:
        with self.assertRaises(exceptions.CommandError) as caught:
            provider_names.provider_named(self.names, '0000:A1:00.0')
        self.assertEqual(
            "More than one resource provider is named '0000:A1:00.0': "
            "gpu1.example.org_0000:A1:00.0, gpu2_0000:A1:00.0. "
            "Give one of these.",
            str(caught.exception),
        )


class TestClassMeant(unittest.TestCase):
    def meant(self, found, named=()):
        return provider_names.class_meant('gpu1_0000:20:00.0', found, named)

    def test_the_one(self):
        self.assertEqual('VGPU', self.meant(['VGPU']))

    def test_refused(self):
        for found, named, words in (
            (['VGPU', 'CUSTOM_A'], [], 'several GPU classes: CUSTOM_A, VGPU.'),
            ([], ['CUSTOM_A', 'B'], 'has no CUSTOM_A, B.'),
            ([], [], 'is no GPU'),
        ):
            with (
                self.subTest(words),
                self.assertRaisesRegex(exceptions.CommandError, words),
            ):
                self.meant(found, named)
