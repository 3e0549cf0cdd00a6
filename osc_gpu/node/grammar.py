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

"""What the words of a node's facts look like.

Facts end up in configuration files and on terminals: what does not look like
this is no fact.
"""

from collections.abc import Iterable
import re

ADDRESS = re.compile(r'[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]')
HEX2 = re.compile('[0-9a-f]{2}')
HEX4 = re.compile('[0-9a-f]{4}')
IDS = re.compile('[0-9a-f]{4}:[0-9a-f]{4}')
NUMBER = re.compile('[0-9]{1,10}')
#: Of modules, drivers, types of devices, hosts and releases.
WORD = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.+~:-]{0,254}')

_LONGEST = 4096
_SHOWN = 40


def is_text(text: str) -> bool:
    """Tell whether a text is one line that can be shown."""
    return len(text) <= _LONGEST and text.isprintable()


def line(text: str | None) -> str | None:
    """Return a text of one line without the blanks around it, if it is one."""
    text = (text or '').strip()
    return text if text and is_text(text) else None


def word(text: str | None) -> str | None:
    """Return a word without the blanks around it, if it is one."""
    text = (text or '').strip()
    return text if WORD.fullmatch(text) else None


def words(texts: Iterable[str]) -> tuple[str, ...]:
    """Return what is a word of some texts, each once, sorted."""
    return tuple(sorted({text for text in texts if WORD.fullmatch(text)}))


def module(name: str) -> str:
    """Return a module's name as the kernel has it: with underscores."""
    return name.replace('-', '_')


def shown(value: object) -> str:
    """Return something from outside as a message may have it."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f'{text[:_SHOWN]}...'
