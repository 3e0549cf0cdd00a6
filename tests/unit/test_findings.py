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

from osc_gpu import findings


def finding(severity, subject='s', check='c'):
    return findings.Finding(severity, check, subject, 'd')


class TestFindings(unittest.TestCase):
    def test_order(self):
        info, warning, error = map(finding, ('info', 'warning', 'error'))
        other = finding('error', subject='r')
        self.assertEqual(
            (other, error, warning, info),
            findings.ordered([info, error, other, warning]),
        )

    def test_has_error(self):
        self.assertTrue(
            findings.has_error([finding('info'), finding('error')])
        )
        self.assertFalse(findings.has_error([finding('warning')]))
        self.assertFalse(findings.has_error([]))
