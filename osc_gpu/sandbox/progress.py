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

"""What goes on, told on standard error."""

import shutil
import sys
from typing import TextIO


class Progress:
    """Steps as lines; on a terminal also a last line that changes."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._live = False

    def step(self, text: str) -> None:
        """Begin a step: a line of its own."""
        self.clear()
        self._stream.write(f'{text}\n')
        self._stream.flush()

    def live(self, text: str) -> None:
        """Say how far the step is; only a terminal shows it."""
        if not self._terminal:
            return
        width = shutil.get_terminal_size().columns
        self._stream.write(f'\r\033[K{text[: width - 1]}')
        self._stream.flush()
        self._live = True

    def clear(self) -> None:
        """Take the changing line away again."""
        if self._live:
            self._stream.write('\r\033[K')
            self._stream.flush()
            self._live = False
