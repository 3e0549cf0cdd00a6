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

from osc_gpu.cloud import extra_specs

names = strategies.text(
    strategies.characters(
        codec='utf-8', exclude_characters=',:', exclude_categories=('C', 'Z')
    ),
    min_size=1,
    max_size=20,
).filter(lambda name: name not in ('VGPU', 'PGPU') and name[:7] != 'CUSTOM_')
classes = strategies.sampled_from(
    ['VGPU', 'PGPU', 'CUSTOM_GPU_A100', 'CUSTOM_NVIDIA_11', 'CUSTOM_PCI_X']
)
counts = strategies.integers(1, 10**6)
requests = strategies.builds(
    lambda aliases, of_class: extra_specs.GpuRequest(
        tuple(aliases.items()), tuple(of_class.items())
    ),
    strategies.dictionaries(names, counts, max_size=4),
    strategies.dictionaries(classes, counts, max_size=4),
).filter(bool)


class TestGpuRequest(unittest.TestCase):
    def test_text_count_and_truth(self) -> None:
        both = extra_specs.GpuRequest((('a100', 2),), (('VGPU', 1),))
        self.assertEqual('a100:2, VGPU:1', both.text)
        self.assertEqual(3, both.count)
        self.assertTrue(both)

        self.assertEqual('', extra_specs.GpuRequest().text)
        self.assertEqual(0, extra_specs.GpuRequest().count)
        self.assertFalse(extra_specs.GpuRequest())

    def test_equal_names_are_merged_where_they_first_appear(self) -> None:
        self.assertEqual(
            'b:3, a:1',
            extra_specs.GpuRequest((('b', 1), ('a', 1), ('b', 2))).text,
        )

    def test_the_order_does_not_matter_to_equality(self) -> None:
        one = extra_specs.GpuRequest((('a', 1), ('b', 2)))
        other = extra_specs.GpuRequest((('b', 2), ('a', 1)))
        self.assertEqual(one, other)
        self.assertEqual(hash(one), hash(other))
        self.assertNotEqual(one, extra_specs.GpuRequest((('a', 1), ('b', 1))))
        # an alias may be called as a class is
        self.assertNotEqual(
            extra_specs.GpuRequest((('VGPU', 1),)),
            extra_specs.GpuRequest((), (('VGPU', 1),)),
        )
        self.assertNotEqual(one, 'a:1, b:2')


class TestParse(unittest.TestCase):
    def check(self, text: str, specs: dict[str, str], *also: str) -> None:
        self.assertEqual(text, extra_specs.parse(specs, also).text)

    def test_aliases(self) -> None:
        for text, value in (
            ('a100:2', 'a100:2'),
            ('a100:1, v100:2', 'a100:1,v100:2'),
            ('a100:1, v100:2', ' a100 : 1 , v100:2 '),
            ('a1:2', 'a1:1,a1:1'),
            ('my gpu:1', 'my gpu:1'),
        ):
            with self.subTest(value):
                self.check(text, {'pci_passthrough:alias': value})

    def test_what_is_malformed_requests_nothing_and_never_raises(self) -> None:
        for value in (
            *('', ',', ':', 'a100', 'a100:', 'a100:x', 'a100:0', 'a100:-1'),
            *('a100:1.5', 'a100:1:1', ':1', 'a100:+1', 'a100:1_0', 'a100:²'),
            *('a100:٣', 'a100:' + '9' * 5000, '\x00', '{"a": 1}'),
        ):
            with self.subTest(value[:20]):
                self.check('', {'pci_passthrough:alias': value})
        self.check('b:1', {'pci_passthrough:alias': 'a,b:1,c:0'})

    def test_classes_in_any_group(self) -> None:
        for text, specs in (
            ('VGPU:1', {'resources:VGPU': '1'}),
            ('VGPU:2', {'resources1:VGPU': '1', 'resources2:VGPU': '1'}),
            ('VGPU:1', {'resources_gpu-a:VGPU': '1'}),
            ('PGPU:4', {'resources:PGPU': ' 4 '}),
            ('CUSTOM_GPU_X:1', {'resources:CUSTOM_GPU_X': '1'}),
            (
                'CUSTOM_PCI_10DE_20B5:1',
                {'resources:CUSTOM_PCI_10DE_20B5': '1'},
            ),
            ('', {'resources:VGPU': '0'}),
            ('', {'resources:VGPU': 'x'}),
            ('', {'resources:VCPU': '4', 'resources:CUSTOM_FPGA': '1'}),
            ('', {'resources: VGPU': '1', 'resource:VGPU': '1'}),
            ('', {f'resources{"x" * 65}:VGPU': '1'}),
        ):
            with self.subTest(specs):
                self.check(text, specs)

    def test_a_class_counts_when_the_user_says_so(self) -> None:
        specs = {'resources:CUSTOM_FOO': '1'}
        self.check('', specs)
        self.check('CUSTOM_FOO:1', specs, 'CUSTOM_FOO')

    def test_the_text_does_not_depend_on_the_order_of_the_keys(self) -> None:
        specs = {
            'resources10:PGPU': '1',
            'resources2:VGPU': '1',
            'resources:CUSTOM_GPU': '1',
            'pci_passthrough:alias': 'z:1',
        }
        for items in (specs.items(), reversed(specs.items())):
            self.check('z:1, CUSTOM_GPU:1, VGPU:1, PGPU:1', dict(items))

    def test_nothing(self) -> None:
        self.assertFalse(extra_specs.parse(None))
        self.assertFalse(extra_specs.parse({}))

    @hypothesis.settings(deadline=None)
    @hypothesis.given(
        strategies.dictionaries(
            strategies.one_of(
                strategies.sampled_from(
                    ['pci_passthrough:alias', 'resources:VGPU']
                ),
                strategies.text(),
            ),
            strategies.text(),
        )
    )
    def test_never_raises(self, specs: dict[str, str]) -> None:
        self.assertGreaterEqual(extra_specs.parse(specs).count, 0)

    @hypothesis.settings(deadline=None)
    @hypothesis.given(requests)
    def test_reads_back_what_a_flavor_would_hold(
        self, request: extra_specs.GpuRequest
    ) -> None:
        specs = {f'resources:{name}': str(n) for name, n in request.classes}
        if request.aliases:
            specs['pci_passthrough:alias'] = ','.join(
                f'{name}:{n}' for name, n in request.aliases
            )
        self.assertEqual(
            request, extra_specs.parse(specs, also=dict(request.classes))
        )


class TestParseRequest(unittest.TestCase):
    def test_aliases_and_classes(self) -> None:
        for text, aliases, classes in (
            ('a100', (('a100', 1),), ()),
            ('a100:2', (('a100', 2),), ()),
            ('a100:02', (('a100', 2),), ()),
            ('VGPU', (), (('VGPU', 1),)),
            ('PGPU:3', (), (('PGPU', 3),)),
            ('CUSTOM_NVIDIA_11:2', (), (('CUSTOM_NVIDIA_11', 2),)),
            ('vgpu:1', (('vgpu', 1),), ()),
            ('a:1, VGPU:2 ,b', (('a', 1), ('b', 1)), (('VGPU', 2),)),
        ):
            with self.subTest(text):
                self.assertEqual(
                    extra_specs.GpuRequest(aliases, classes),
                    extra_specs.parse_request(text),
                )

    def test_refusals_say_what_is_right(self) -> None:
        for text, part in (
            ('', 'has a name, as in a100:2'),
            ('a100:1,', 'has a name, as in a100:2'),
            (':2', 'has a name, as in a100:2'),
            ('a100:0', "the count '0' is not a whole number from 1 on"),
            ('a100:-1', "the count '-1' is not"),
            ('a100:x', "the count 'x' is not"),
            ('a100:', "the count '' is not"),
            ('a100: 2', "the count ' 2' is not"),
            ('a100:1:2', "no ':' in its name"),
            ('a100:1,a100:1', "'a100' is given twice"),
            ('VGPU:1,VGPU:1', "'VGPU' is given twice"),
            ('CUSTOM_foo:1', 'such as CUSTOM_FOO'),
            ('CUSTOM_', 'such as VGPU'),
            ('a\x1b[2J:1', 'no control characters'),
            ('x' * 257, '256 characters at most'),
            ('CUSTOM_' + 'X' * 249, '255 characters at most'),
        ):
            with self.subTest(text[:20]):
                with self.assertRaises(ValueError) as caught:
                    extra_specs.parse_request(text)
                self.assertIn(part, str(caught.exception))

    @hypothesis.settings(deadline=None)
    @hypothesis.given(requests)
    def test_reads_back_its_own_text(
        self, request: extra_specs.GpuRequest
    ) -> None:
        self.assertEqual(request, extra_specs.parse_request(request.text))

    @hypothesis.settings(deadline=None)
    @hypothesis.given(strategies.text())
    def test_raises_nothing_but_value_errors(self, text: str) -> None:
        try:
            self.assertTrue(extra_specs.parse_request(text))
        except ValueError as exc:
            self.assertTrue(str(exc))


class TestNames(unittest.TestCase):
    def test_gpu_classes(self) -> None:
        for name in ('VGPU', 'PGPU', 'CUSTOM_FOO', 'CUSTOM_' + 'X' * 248):
            self.assertEqual(name, extra_specs.check_gpu_class(name))

    def test_wrong_gpu_classes_are_told_the_nearest_right_one(self) -> None:
        for name, right in (
            ('vgpu', 'such as VGPU'),
            ('Pgpu', 'such as PGPU'),
            ('', 'such as VGPU'),
            ('VCPU', 'such as CUSTOM_VCPU'),
            ('nvidia-11', 'such as CUSTOM_NVIDIA_11'),
            ('custom_foo', 'such as CUSTOM_FOO'),
            ('VGPU:2', 'such as VGPU; repeat the option for several'),
            ('CUSTOM_FOO\n', 'such as CUSTOM_FOO'),
            ('CUSTOM_GPÜ', 'such as CUSTOM_GP'),
        ):
            with self.subTest(name):
                with self.assertRaises(ValueError) as caught:
                    extra_specs.check_gpu_class(name)
                self.assertTrue(
                    str(caught.exception).endswith(right),
                    str(caught.exception),
                )

    def test_traits_and_classes(self) -> None:
        for check in (
            extra_specs.check_trait,
            extra_specs.check_resource_class,
        ):
            self.assertEqual('CUSTOM_A', check('CUSTOM_A'))
            self.assertEqual('HW_GPU_API_VULKAN', check('HW_GPU_API_VULKAN'))
            for name, part in (
                ('', 'A-Z, 0-9 and _ only'),
                ('-', 'A-Z, 0-9 and _ only'),
                ('custom_a', ', such as CUSTOM_A'),
                ('A B', ', such as A_B'),
                ('A\n', ', such as A'),
                ('X' * 256, '255 characters at most'),
            ):
                with self.subTest(name[:10]):
                    with self.assertRaises(ValueError) as caught:
                        check(name)
                    self.assertIn(part, str(caught.exception))
                    self.assertNotIn('such as \n', str(caught.exception))
