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

from osc_gpu.guest import systems


class TestSystems(unittest.TestCase):
    def test_parse(self):
        for text, right in (
            ('ubuntu-24.04', 'ubuntu-24.04'),
            (' Ubuntu-22.04 ', 'ubuntu-22.04'),
            ('debian-13', 'debian-13'),
            ('debian-12.8', 'debian-12'),
            ('rocky-9', 'rocky-9'),
            ('rocky-9.4', 'rocky-9'),
            ('rockylinux-8', 'rocky-8'),
            ('alma-9', 'almalinux-9'),
            ('red-hat-9', 'rhel-9'),
            ('rhel-8.10', 'rhel-8'),
        ):
            self.assertEqual(right, str(systems.parse(text)))

    def test_refused(self):
        for text in (
            '',
            '-',
            'ubuntu',
            'ubuntu-',
            'ubuntu-24',
            'ubuntu-24.04.1',
            'ubuntu-20.04',
            'rocky-10',
            'rocky-.9',
            'fedora-41',
            'ubuntu-24.04; reboot',
            '$(reboot)-9',
        ):
            with self.assertRaises(ValueError) as caught:
                systems.parse(text)
            self.assertIn(f"'{text}'", str(caught.exception))
            self.assertIn('rocky-9', str(caught.exception))

    def test_of_image(self):
        for distro, version, right in (
            ('ubuntu', '24.04', 'ubuntu-24.04'),
            ('Rocky', '9.4', 'rocky-9'),
            ('almalinux', ' 8 ', 'almalinux-8'),
            ('ubuntu', None, 'None'),
            (None, '9', 'None'),
            ('windows', '2022', 'None'),
        ):
            self.assertEqual(right, str(systems.of_image(distro, version)))
