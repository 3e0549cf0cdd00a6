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

"""Lines on a terminal about what is under way."""

from collections.abc import Callable
import sys
import time


def to_terminal() -> Callable[[str], None]:
    """Return what shows a line with the time; silent without a terminal."""
    if not sys.stderr.isatty():
        return lambda text: None

    def say(text: str) -> None:
        sys.stderr.write(f'{time.strftime("%H:%M:%S")} {text}\n')
        sys.stderr.flush()

    return say
