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
from hypothesis import strategies as st

from osc_gpu.node import nova_refusals

IDS = {'vendor_id': '10de', 'product_id': '1b80'}

#: What Nova starts with, and what it does not start with, and what is said:
#: Nova itself is asked by the functional tests.
GOOD_ALIASES = (
    {},
    {'vendor_id': '10DE'},
    {'device_type': 'type-VF', 'numa_policy': 'socket'},
    {'capability_type': 'pci', 'traits': 'a,b', 'resource_class': 'x'},
    {'live_migratable': ' Yes '},
    {'name': 'x' * 256},
)

BAD_ALIASES = (
    ({'foo': 1, 'address': 'x'}, 'with address, foo in an alias'),
    ({'product_id': 'zz'}, "product_id 'zz': it takes four hex"),
    ({'product_id': '*'}, 'four hex digits'),
    ({'vendor_id': '0x10de'}, 'four hex digits'),
    ({'vendor_id': '10de '}, 'four hex digits'),
    ({'vendor_id': 10}, 'vendor_id 10: it takes a text'),
    ({'vendor_id': None}, 'a text'),
    ({'device_type': 'type-XX'}, 'takes type-PCI, type-PF, type-VF'),
    ({'device_type': 'vdpa'}, 'type-VF'),
    ({'numa_policy': 'x'}, 'required, legacy, preferred, socket'),
    ({'numa_policy': ''}, 'required, legacy, preferred, socket'),
    ({'capability_type': 'x'}, 'it takes pci'),
    ({'live_migratable': True}, 'a text'),
    ({'live_migratable': 'maybe'}, 'true or false'),
    ({'traits': ['a']}, 'a text'),
    ({'name': 'x' * 257}, 'at most 256 characters'),
)

GOOD_SPECS = (
    IDS,
    {'vendor_id': '0x10de', 'product_id': '*'},
    {'vendor_id': ' 10de '},
    {'address': '0000:04:00.0'},
    {'address': '*:0a:00.*'},
    {'address': ':00.'},
    {'address': '.1'},
    {'address': '84:00'},
    {'address': {'bus': '0[2-4]', 'function': '[0-2]'}},
    {'devname': 'none0', 'physical_network': 'a', 'trusted': 'true'},
    {**IDS, 'managed': 'no', 'live_migratable': True},
    {**IDS, 'resource_class': 'A', 'traits': 'B', 'one_time_use': '1'},
    {**IDS, 'remote_managed': 'what', 'address': None},
)

BAD_SPECS = (
    ({'product_id': 'zz'}, "product_id 'zz': it takes at most four"),
    ({'product_id': '10000'}, 'at most four hex digits'),
    ({'product_id': 5}, 'at most four hex digits'),
    ({'vendor_id': ''}, 'at most four hex digits'),
    ({'address': '0000:zz:00.0'}, "address '0000:zz:00.0': it takes "),
    ({'address': '10000:04:00.0'}, '<domain>'),
    ({'address': '0000:04:20.0'}, '<domain>'),
    ({'address': '0000:04:00.8'}, '<domain>'),
    ({'address': '0:0:0:0.0'}, '<domain>'),
    ({'address': '.*.'}, '<domain>'),
    ({'address': 5}, '<domain>'),
    ({'address': {'bus': '['}}, 'regular expressions'),
    ({'address': {'bus': 2}}, 'regular expressions'),
    ({'address': '*', 'devname': 'eth0'}, 'address and devname'),
    ({**IDS, 'managed': 'maybe'}, 'managed'),
    ({**IDS, 'live_migratable': 2}, 'true or false'),
)


class TestAlias(unittest.TestCase):
    def refused(self, **more):
        return list(nova_refusals.of_alias({'name': 'a', **IDS, **more}))

    def test_good(self):
        for more in GOOD_ALIASES:
            with self.subTest(more):
                self.assertEqual([], self.refused(**more))

    def test_bad(self):
        for more, words in BAD_ALIASES:
            with self.subTest(more):
                (said,) = self.refused(**more)
                self.assertIn('Nova does not start with ', said)
                self.assertIn(words, said)


class TestDeviceSpec(unittest.TestCase):
    def notes(self, **spec):
        return list(nova_refusals.of_device_spec(spec))

    def test_good(self):
        for spec in GOOD_SPECS:
            with self.subTest(spec):
                self.assertEqual([], self.notes(**spec))

    def test_bad(self):
        for spec, words in BAD_SPECS:
            with self.subTest(spec):
                said = self.notes(**spec)[0]
                self.assertIn('Nova does not start with ', said)
                self.assertIn(words, said)

    def test_what_limits_nothing(self):
        for spec in (
            {},
            {'vendor_id': '*'},
            {'address': '*'},
            {'devname': ''},
        ):
            (said,) = self.notes(**spec, managed='no')
            self.assertIn('of all PCI devices', said)
        tag, said = self.notes(bogus=1, venodr_id='10de')
        self.assertIn('takes bogus, venodr_id for a tag', tag)
        self.assertIn('of all PCI devices', said)


class TestHostile(unittest.TestCase):
    @hypothesis.settings(deadline=None)
    @hypothesis.given(
        st.dictionaries(
            st.sampled_from(
                ('address', 'managed', 'name', 'product_id', 'traits', 'x')
            ),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.text(),
                lambda some: (
                    st.lists(some)
                    | st.dictionaries(
                        st.sampled_from(('bus', 'domain', 'x')), some
                    )
                ),
            ),
        )
    )
    def test_any_values(self, spec):
        for of in (nova_refusals.of_alias, nova_refusals.of_device_spec):
            for said in of(spec):
                self.assertTrue(said.isprintable(), said)

    def test_large_patterns(self):
        for pattern in ('(' * 9000, 'a{99999999999}', '(?<=a+)', '[' * 9000):
            with self.subTest(pattern[:20]):
                spec = {'address': {'bus': pattern}}
                (said,) = nova_refusals.of_device_spec(spec)
                self.assertIn('regular expressions', said)
