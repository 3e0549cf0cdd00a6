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

from osc_gpu.cloud import aggregate_specs
from tests.unit import base


class TestMatch(base.TestCase):
    def test_operators(self):
        # (what the aggregate has, what the flavor wants, whether they match)
        for value, want, matches in (
            ('gpu', 'gpu', True),
            ('gpu', 'cpu', False),
            ('', '', True),
            ('gpu', 's== gpu', True),
            ('gpu', 's!= gpu', False),
            ('b', 's< c', True),
            ('b', 's>= c', False),
            ('big gpu', '<in> gpu', True),
            ('gpu', '<in> big', False),
            ('gpu', '<or> cpu <or> gpu', True),
            ('gpu', '<or> cpu <or> tpu', False),
            ('<or>', '<or> cpu <or> gpu', False),
            ('aes mmx', '<all-in> aes mmx', True),
            ('aes', '<all-in> aes mmx', False),
            ('8', '>= 7', True),
            ('8', '= 9', False),
            ('8', '== 8.0', True),
            ('8', '!= 8', False),
            ('8', '<= 8', True),
            ('many', '>= 7', False),
            ('8', '>=', False),
            ('8', 's==', False),
            ('8', '<all-in>', False),
        ):
            with self.subTest(value=value, want=want):
                self.assertIs(
                    matches,
                    aggregate_specs.match(
                        {'k': frozenset([value])}, {'k': want}
                    ),
                )

    def test_every_key(self):
        metadata = {'a': frozenset('12'), 'b': frozenset('3')}
        self.assertTrue(aggregate_specs.match(metadata, {}))
        self.assertTrue(aggregate_specs.match(metadata, {'a': '2', 'b': '3'}))
        self.assertFalse(aggregate_specs.match(metadata, {'a': '2', 'b': '4'}))
        self.assertFalse(aggregate_specs.match(metadata, {'c': '1'}))

    def test_values(self):
        self.assertEqual(
            {'a': frozenset('123'), 'b': frozenset('4')},
            aggregate_specs.values([{'a': '1, 2'}, {'a': '3', 'b': '4'}]),
        )
