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

"""Interrupts, while what a cloud was asked to do is under way."""

from collections.abc import Iterator
import contextlib
import signal
import threading

from osc_lib import exceptions


@contextlib.contextmanager
def as_ctrl_c() -> Iterator[None]:
    """Have SIGTERM do what Ctrl-C does: raise KeyboardInterrupt.

    Outside the main thread, where Python takes no signals, nothing changes.
    """

    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


@contextlib.contextmanager
def explained(text: str) -> Iterator[None]:
    """Have Ctrl-C and SIGTERM end a command with a sentence.

    :raises osc_lib.exceptions.CommandError: with this text
    """
    with as_ctrl_c():
        try:
            yield
        except KeyboardInterrupt as exc:
            raise exceptions.CommandError(text) from exc
