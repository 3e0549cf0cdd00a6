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

import threading
import unittest

from osc_gpu.cloud import side_by_side


class TestEach(unittest.TestCase):
    def test_order(self):
        for at_once in (1, 3, 8):
            for number in (0, 1, 2, 20):
                with self.subTest(at_once=at_once, number=number):
                    found = side_by_side.each(str, range(number), at_once)
                    self.assertEqual([str(n) for n in range(number)], found)

    def test_really_at_once_and_bounded(self):
        at_work = 0
        most = 0
        lock = threading.Lock()
        meeting = threading.Barrier(3, timeout=30)

        def call(item):
            nonlocal at_work, most
            with lock:
                at_work += 1
                most = max(most, at_work)
            if item:
                meeting.wait()
            with lock:
                at_work -= 1

        # Six meet three by three: fewer threads would wait for ever.
        side_by_side.each(call, range(7), 3)
        self.assertEqual(3, most)

    def test_failure_ends_it(self):
        called = []

        def call(item):
            called.append(item)
            if item == 1:
                raise ValueError(item)
            threading.Event().wait(0.01)

        with self.assertRaisesRegex(ValueError, '1'):
            side_by_side.each(call, range(1000), 2)
        self.assertLess(len(called), 900)
