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
from osc_lib import exceptions

from osc_gpu.cloud import license_model


class TestParseMac(unittest.TestCase):
    def test_spellings(self):
        for text in (
            'fa:16:3e:a3:fd:19',
            'FA:16:3E:A3:FD:19',
            'fa-16-3e-a3-fd-19',
        ):
            self.assertEqual(
                'fa:16:3e:a3:fd:19', license_model.parse_mac(text)
            )

    def test_refused(self):
        for text in (
            '',
            'fa163ea3fd19',
            'fa:16:3e:a3:fd',
            'fa:16:3e:a3:fd:19:20',
            'fa:16:3e:a3-fd-19',
            'ga:16:3e:a3:fd:19',
            'fa:16:3e:a3:fd:19\n',
            '$(id)',
        ):
            with self.assertRaisesRegex(ValueError, 'is not a MAC address'):
                license_model.parse_mac(text)
        for text in (
            '00:00:00:00:00:00',
            'ff:ff:ff:ff:ff:ff',
            '01' + 5 * ':00',
        ):
            with self.assertRaisesRegex(ValueError, 'of a single machine'):
                license_model.parse_mac(text)

    @hypothesis.given(strategies.binary(min_size=6, max_size=6))
    def test_what_is_accepted(self, octets):
        text = octets.hex(':')
        hypothesis.assume(any(octets) and not octets[0] & 1)
        self.assertEqual(text, license_model.parse_mac(text.upper()))


class TestNodes(unittest.TestCase):
    def test_nodes(self):
        node = license_model.Node
        for arguments, expected in (
            ((1,), (node('n-1'),)),
            ((2, ['a']), (node('n-1', 'a'), node('n-2'))),
            (
                (2, [], ['x', 'y']),
                (node('n-1', '', 'x'), node('n-2', '', 'y')),
            ),
            ((1, ['a'], ['x']), (node('n-1', 'a', 'x'),)),
        ):
            self.assertEqual(expected, license_model.nodes('n', *arguments))

    def test_too_many(self):
        with self.assertRaisesRegex(exceptions.CommandError, 'takes --ha'):
            license_model.nodes('n', 1, [], ['x', 'y'])


class TestParseAddress(unittest.TestCase):
    def test_parse_address(self):
        self.assertEqual(
            '2001:db8::1', license_model.parse_address('2001:DB8:0::1')
        )
        with self.assertRaisesRegex(ValueError, "'x' is not an IP address"):
            license_model.parse_address('x')
