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

from osc_gpu.cloud import license_rules

GROUP = 'id-group'


def rule(remote='10.0.0.0/24', port=22, protocol='tcp', version=4, last=None):
    return license_rules.Rule(version, protocol, port, last or port, remote)


def body(**changes):
    return {
        'security_group_id': GROUP,
        'direction': 'ingress',
        'ethertype': 'IPv4',
        'protocol': 'tcp',
        'port_range_min': None,
        'port_range_max': None,
        'remote_ip_prefix': None,
        'remote_group_id': None,
    } | changes


class TestWanted(unittest.TestCase):
    def test_one(self):
        self.assertEqual(
            (
                rule(protocol='icmp', port=None),
                *(rule(port=port) for port in (22, 80, 443, 7070)),
            ),
            license_rules.wanted(['10.0.0.0/24'], False, [4]),
        )

    def test_pair(self):
        found = license_rules.wanted(['::/0'], True, [4, 6])
        self.assertEqual(rule('::/0', None, 'ipv6-icmp', version=6), found[0])
        self.assertEqual(
            (rule('self', None), rule('self', None, version=6)), found[5:]
        )

    def test_nothing_is_there_twice(self):
        twice = license_rules.wanted(['10.0.0.0/24'] * 2, False, [4])
        self.assertEqual(5, len(twice))


class TestBody(unittest.TestCase):
    def test_what_is_written_is_read(self):
        for remotes in (['10.0.0.0/24'], ['2001:db8::/32', '192.0.2.1/32']):
            for found in license_rules.wanted(remotes, True, [4, 6]):
                written = body() | license_rules.as_body(found, GROUP)
                self.assertEqual((found,), license_rules.parse([written]))

    def test_other_words_for_the_same(self):
        for changes, expected in (
            ({'protocol': '6'}, rule('0.0.0.0/0', None)),
            ({'protocol': 'TCP'}, rule('0.0.0.0/0', None)),
            ({'protocol': '1'}, rule('0.0.0.0/0', None, 'icmp')),
            (
                {'protocol': 'icmp', 'ethertype': 'IPv6'},
                rule('::/0', None, 'ipv6-icmp', 6),
            ),
            (
                {'protocol': 'icmpv6', 'ethertype': 'IPv6'},
                rule('::/0', None, 'ipv6-icmp', 6),
            ),
            ({'protocol': None}, rule('0.0.0.0/0', None, '')),
            ({'protocol': 'any'}, rule('0.0.0.0/0', None, '')),
            (
                {'remote_ip_prefix': '10.0.0.7/24'},
                rule('10.0.0.0/24', None),
            ),
            ({'remote_group_id': GROUP}, rule('self', None)),
            ({'remote_group_id': 'other'}, rule('other', None)),
            ({'remote_address_group_id': 'list'}, rule('list', None)),
        ):
            self.assertEqual(
                (expected,), license_rules.parse([body(**changes)]), changes
            )

    def test_what_is_let_out(self):
        self.assertEqual((), license_rules.parse([body(direction='egress')]))


class TestTooWide(unittest.TestCase):
    def test_too_wide(self):
        wanted = license_rules.wanted(['10.0.0.0/24'], False, [4])
        for found, is_wide in (
            (rule(), False),
            (rule('0.0.0.0/0'), True),
            (rule('0.0.0.0/0', 1, last=65535), True),
            (rule('0.0.0.0/0', None), True),
            (rule('0.0.0.0/0', None, ''), True),
            (rule('0.0.0.0/0', None, 'icmp'), True),
            (rule('0.0.0.0/0', 8, 'icmp'), True),
            (rule('::/0', None, 'ipv6-icmp', 6), True),
            (rule('other', 443), True),
            (rule('self', None), False),
            (rule('0.0.0.0/0', 161, 'udp'), False),
            (rule('0.0.0.0/0', 9100), False),
            (rule('0.0.0.0/0', 81, last=442), False),
        ):
            self.assertEqual(
                (found,) if is_wide else (),
                license_rules.too_wide([found], wanted),
                found,
            )

    def test_words(self):
        for found, text in (
            (rule(), 'tcp 22 from 10.0.0.0/24'),
            (rule(port=1, last=90), 'tcp 1-90 from 10.0.0.0/24'),
            (rule('0.0.0.0/0', None, ''), 'everything from 0.0.0.0/0'),
        ):
            self.assertEqual(text, found.text)


class TestParseNetwork(unittest.TestCase):
    def test_parse_network(self):
        for text, expected in (
            ('10.0.0.0/8', '10.0.0.0/8'),
            ('10.0.0.7/24', '10.0.0.0/24'),
            ('192.0.2.7', '192.0.2.7/32'),
            ('2001:DB8::/32', '2001:db8::/32'),
            ('0.0.0.0/0', '0.0.0.0/0'),
        ):
            self.assertEqual(expected, license_rules.parse_network(text))
        for text in ('', 'any', '10.0.0.0/33', '10.0.0', '10.0.0.0/24 '):
            with self.assertRaisesRegex(ValueError, 'such as 10.0.0.0/24'):
                license_rules.parse_network(text)
