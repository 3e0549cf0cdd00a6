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

from tests.unit.node import nodes

T4 = '0000:3b:00.0 0302: 10de:1eb8 (rev a1)\n'
NOTE = '# Not known whether 10de:1eb8 has SR-IOV: if it has, add '


class TestDeviceTypes(unittest.TestCase):
    def test_where_sriov_is_unknown(self):
        for tool, release in (
            ('nova', '2025.1'),
            ('nova', 'ocata'),
            ('devstack', '2025.1'),
            ('tripleo', 'wallaby'),
            ('kolla-ansible', '2025.1'),
            ('kayobe', '2025.1'),
        ):
            with self.subTest(tool=tool, release=release):
                found = nodes.files(
                    tool, [nodes.told(T4)], ['t4'], release=release
                )
                noted = [t for t in found.values() if t.startswith(NOTE)]
                self.assertTrue(noted)
                for path, text in found.items():
                    has_alias = '1eb8' in text and 'alias' in text
                    self.assertEqual(has_alias, NOTE in text, path)
                    words = text.replace('\n# ', ' ')
                    self.assertEqual(
                        has_alias, '"device_type": "type-PF"' in words
                    )

    def test_where_it_is_known(self):
        for machine in ('t4-no-iommu', 'k80'):
            found = nodes.files('nova', [machine], ['a1'])
            self.assertNotIn('Not known', ''.join(found.values()))

    def test_nothing_else_says_so(self):
        for tool in ('modprobe', 'vfio', 'udev'):
            with self.subTest(tool):
                found = nodes.files(tool, [nodes.told(T4)], ['t4'])
                self.assertNotIn(NOTE, ''.join(found.values()))
