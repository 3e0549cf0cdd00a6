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
from hypothesis import strategies

from osc_gpu.cloud import flavor_spec_checks
from osc_gpu.cloud import flavors
from osc_gpu.cloud import resource_request

KEY = 'pci_passthrough:alias'


def make(specs, **more):
    """Return a flavor with these extra specs."""
    return flavors.Flavor(
        **{
            'id': 'id-g1',
            'name': 'g1',
            'vcpus': 1,
            'ram': 128,
            'disk': 1,
            'ephemeral': 0,
            'swap': 0,
            'is_public': True,
            'extra_specs': specs,
            **more,
        }
    )


def check(specs, **more):
    flavor = make(specs, **more)
    request = resource_request.read(flavor)
    return [
        (found.severity, found.check, found.detail)
        for found in flavor_spec_checks.check(flavor, request)
    ]


class TestCase(unittest.TestCase):
    def assert_found(self, severity, check_name, words, specs, **more):
        found = check(specs, **more)
        self.assertEqual(
            [(severity, check_name)], [item[:2] for item in found], found
        )
        self.assertIn(words, found[0][2])

    def assert_clean(self, specs, **more):
        self.assertEqual([], check(specs, **more))


class TestAliases(TestCase):
    def test_right(self):
        for value in ('a:1', 'a:1,b:2', 'a:1, b:2', 'a: 1', 'a:1,a:1', 'a:01'):
            with self.subTest(value=value):
                self.assert_clean({KEY: value})
        self.assert_clean({})

    def test_malformed(self):
        for value, words in (
            ('a1', "'a1' is not <alias>:<count>"),
            ('a1:x', 'write a1:1'),
            ('a:1:2', "'a:1:2' is not"),
            ('a:', 'HTTP 500'),
            ('a:1,', "'' is not"),
            ('', 'write <alias>:1'),
            (':1', "':1' names no alias"),
            ('a:10000000000', 'more devices than any host has'),
        ):
            with self.subTest(value=value):
                self.assert_found(
                    'error', 'malformed-alias', words, {KEY: value}
                )

    def test_each_entry(self):
        found = check({KEY: 'a,b:0,c:1'})
        self.assertEqual(
            ['malformed-alias', 'zero-alias'], [item[1] for item in found]
        )

    def test_zero(self):
        for value in ('a:0', 'a:-1', 'a: 00 ', 'a:-0'):
            with self.subTest(value=value):
                self.assert_found('error', 'zero-alias', 'a', {KEY: value})

    def test_odd(self):
        for value in ('a:+2', 'a:0_2', 'a:٢'):
            with self.subTest(value=value):
                self.assert_found(
                    'warning', 'malformed-alias', 'write a:2', {KEY: value}
                )


class TestGroups(TestCase):
    def test_no_policy(self):
        specs = {'resources1:VGPU': '1', 'resources2:VGPU': '1'}
        words = 'groups 1, 2 need group_policy'
        self.assert_found('error', 'group-policy', words, specs)
        self.assert_found(
            'error', 'group-policy', words, {**specs, 'group_policy': 'all'}
        )

    def test_policy(self):
        specs = {'resources1:VGPU': '1', 'resources2:VGPU': '1'}
        for policy in ('none', 'isolate'):
            self.assert_clean({**specs, 'group_policy': policy})

    def test_one_group(self):
        self.assert_clean({'resources1:VGPU': '1', KEY: 'a:2'})
        self.assert_clean({'resources1:VGPU': '1', 'resources2:VGPU': '0'})

    def test_trait_without_resources(self):
        for word in ('required', 'forbidden'):
            with self.subTest(word=word):
                self.assert_found(
                    'error',
                    'trait-group',
                    f'trait1:CUSTOM_X={word} is in group 1',
                    {'resources:VGPU': '1', 'trait1:CUSTOM_X': word},
                )

    def test_trait_with_resources(self):
        self.assert_clean({'resources1:VGPU': '1', 'trait1:X': 'required'})
        self.assert_clean({'resources:VGPU': '1', 'trait:X': 'required'})

    def test_trait_that_nova_leaves_out(self):
        self.assert_clean({'resources:VGPU': '1', 'trait1:X': 'maybe'})


class TestAddressSpace(TestCase):
    def test_large(self):
        self.assert_found(
            'warning',
            'maxphysaddr',
            '1 MiB of RAM and 8 GPUs',
            {KEY: 'a:4,b:4'},
            ram=1,
        )

    def test_much_ram(self):
        self.assert_clean({KEY: 'a:1'}, ram=(1024 - 128) << 10)
        self.assert_found(
            'warning',
            'maxphysaddr',
            'set hw:maxphysaddr_mode',
            {KEY: 'a:1'},
            ram=((1024 - 128) << 10) + 1,
        )

    def test_without_alias(self):
        self.assert_clean({'resources:VGPU': '1'}, ram=1 << 22)

    def test_mode(self):
        self.assert_clean(
            {KEY: 'a:8', 'hw:maxphysaddr_mode': 'passthrough'}, ram=1024
        )


class TestHostile(TestCase):
    keys = strategies.sampled_from(
        [
            KEY,
            'group_policy',
            'resources:VGPU',
            'resources1:VGPU',
            'resources2:CUSTOM_GPU',
            'trait:CUSTOM_A',
            'trait1:CUSTOM_A',
            'hw:maxphysaddr_mode',
        ]
    )

    @hypothesis.settings(deadline=None, max_examples=100)
    @hypothesis.given(
        strategies.dictionaries(
            strategies.one_of(keys, strategies.text()),
            strategies.one_of(
                strategies.text(),
                strategies.from_regex('[a-b]?:?[0-9+-_]*,?[a-b]:[0-9]'),
                strategies.sampled_from(['required', 'none', '1', '-1']),
            ),
        )
    )
    def test_never_raises(self, specs):
        for found in check(specs):
            self.assertIn(found[0], ('error', 'warning'))
            self.assertTrue(found[2])
