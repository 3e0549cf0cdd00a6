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

"""What is said and asked beside a command's output: on standard error."""

from collections.abc import Callable
from collections.abc import Iterable
import sys
import time


def progress() -> Callable[[str], None]:
    """Return what shows a line with the time; silent without a terminal."""
    if not sys.stderr.isatty():
        return lambda text: None
    return lambda text: _write(f'{time.strftime("%H:%M:%S")} {text}\n')


def can_be_asked() -> bool:
    """Tell whether anybody is there to answer."""
    return sys.stdin.isatty()


def ask(lines: Iterable[str], question: str) -> bool:
    """Show some lines, and ask whether to go on; no is the default."""
    _write(''.join(f'{line}\n' for line in lines) + question)
    return sys.stdin.readline().strip().lower() in ('y', 'yes')


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
