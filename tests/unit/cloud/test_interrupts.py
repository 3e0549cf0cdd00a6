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

import os
import signal
import threading
import unittest
from unittest import mock

from osc_lib import exceptions

from osc_gpu.cloud import interrupts


class TestInterrupts(unittest.TestCase):
    def test_sigterm(self):
        before = signal.getsignal(signal.SIGTERM)
        with self.assertRaises(KeyboardInterrupt), interrupts.as_ctrl_c():
            os.kill(os.getpid(), signal.SIGTERM)
        self.assertIs(before, signal.getsignal(signal.SIGTERM))

    def test_nothing_happens(self):
        before = signal.getsignal(signal.SIGTERM)
        with interrupts.as_ctrl_c():
            self.assertIsNot(before, signal.getsignal(signal.SIGTERM))
        self.assertIs(before, signal.getsignal(signal.SIGTERM))

    def test_a_handler_that_is_not_pythons(self):
        before = signal.getsignal(signal.SIGTERM)
        self.addCleanup(signal.signal, signal.SIGTERM, before)
        with mock.patch.object(
            signal, 'signal', autospec=True, return_value=None
        ) as install:
            with interrupts.as_ctrl_c():
                pass
        install.assert_called_with(signal.SIGTERM, signal.SIG_DFL)

    def test_explained(self):
        with (
            self.assertRaisesRegex(exceptions.CommandError, '^Stopped$'),
            interrupts.explained('Stopped'),
        ):
            os.kill(os.getpid(), signal.SIGTERM)
        with self.assertRaises(ValueError), interrupts.explained('Stopped'):
            raise ValueError

    def test_outside_the_main_thread(self):
        before = signal.getsignal(signal.SIGTERM)
        seen = []

        def run():
            with interrupts.as_ctrl_c():
                seen.append(signal.getsignal(signal.SIGTERM))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        self.assertEqual([before], seen)
