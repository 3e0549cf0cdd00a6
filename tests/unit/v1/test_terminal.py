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

import io
import re
import sys
import unittest
from unittest import mock

from osc_gpu.v1 import terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestProgress(unittest.TestCase):
    def test_terminal(self) -> None:
        stderr = Terminal()
        with mock.patch.object(sys, 'stderr', stderr):
            say = terminal.progress()
            say('train: lock')
            say('train: ü')
        lines = stderr.getvalue().splitlines()
        self.assertEqual(2, len(lines))
        for line, text in zip(lines, ('train: lock', 'train: ü'), strict=True):
            self.assertRegex(line, rf'^\d\d:\d\d:\d\d {re.escape(text)}$')

    def test_no_terminal(self) -> None:
        stderr = io.StringIO()
        with mock.patch.object(sys, 'stderr', stderr):
            terminal.progress()('train: lock')
        self.assertEqual('', stderr.getvalue())
