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

from osc_gpu.cloud import image_properties as props


class TestGet(unittest.TestCase):
    def test_names(self):
        for properties, key, expected in (
            ({}, props.ARCHITECTURE, ''),
            ({'architecture': 'AMD64'}, props.ARCHITECTURE, 'x86_64'),
            (
                {'architecture': 'x86_64', 'hw_architecture': 'aarch64'},
                props.ARCHITECTURE,
                'aarch64',
            ),
            ({'hw_architecture': 'i486'}, props.ARCHITECTURE, 'i686'),
            ({'hw_architecture': 'sun'}, props.ARCHITECTURE, 'sun'),
            ({'os_type': 'Linux'}, props.OS_TYPE, 'linux'),
            ({'vmware_ostype': 'ubuntu'}, props.OS_DISTRO, 'ubuntu'),
            # Nova heeds the case of all others.
            ({'hw_firmware_type': 'UEFI'}, props.FIRMWARE_TYPE, 'UEFI'),
        ):
            with self.subTest(properties):
                self.assertEqual(expected, props.get(properties, key))

    @hypothesis.given(strategies.text('AMDamd64x_\u0130 \n', max_size=9))
    def test_any_value(self, value):
        for key in props.VALUES:
            self.assertIsInstance(props.get({key: value}, key), str)


class TestBoolean(unittest.TestCase):
    def test_as_nova_reads_it(self):
        for value in ('true', 'True', ' yes ', '0', 'off', 'N'):
            self.assertTrue(props.is_boolean(value), value)
        for value in ('', 'ja', 'enabled', '2'):
            self.assertFalse(props.is_boolean(value), value)


class TestMachineTypes(unittest.TestCase):
    def test_kinds(self):
        for value in ('q35', 'pc-q35-9.0', 'pc-q35-rhel9.4.0'):
            self.assertTrue(props.is_q35(value), value)
            self.assertFalse(props.is_i440fx(value), value)
        for value in ('pc', 'pc-i440fx-9.0', 'pc-1.2', 'x-i440fx'):
            self.assertFalse(props.is_q35(value), value)
            self.assertTrue(props.is_i440fx(value), value)
        for value in ('virt', 'virt-9.0', 'pseries', 'pcx', ''):
            self.assertFalse(props.is_q35(value), value)
            self.assertFalse(props.is_i440fx(value), value)

    def test_check(self):
        for value in ('q35', 'pc-q35-9.0', 'virt', 'pc-i440fx-7.2+x'):
            self.assertEqual(value, props.check_machine_type(value))
        for value in ('', ' q35', 'q35\n', '-q35', 'q 35', '$(id)', 'q' * 256):
            with self.subTest(value), self.assertRaises(ValueError):
                props.check_machine_type(value)


class TestRecommended(unittest.TestCase):
    def test_what_is_missing(self):
        q35 = {'hw_machine_type': 'q35'}
        for properties, expected in (
            ({}, q35),
            ({'architecture': 'x86_64'}, q35),
            ({'hw_machine_type': 'pc'}, {}),
            ({'hw_architecture': 'aarch64'}, {}),
        ):
            with self.subTest(properties):
                self.assertEqual(expected, props.recommended(properties))
