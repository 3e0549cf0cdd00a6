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

"""Whether a host's aggregates have what a flavor demands of them.

After AggregateInstanceExtraSpecsFilter and its operators
(nova/scheduler/filters/extra_specs_ops.py).
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
import operator

_NUMBERS: dict[str, Callable[[float, float], bool]] = {
    '=': operator.ge,
    '==': operator.eq,
    '!=': operator.ne,
    '>=': operator.ge,
    '<=': operator.le,
}
_TEXTS: dict[str, Callable[[str, str], bool]] = {
    '<in>': operator.contains,
    's==': operator.eq,
    's!=': operator.ne,
    's<': operator.lt,
    's<=': operator.le,
    's>': operator.gt,
    's>=': operator.ge,
}


def values(
    metadata: Collection[Mapping[str, str]],
) -> dict[str, frozenset[str]]:
    """Return the values by key of all aggregates that a host is in.

    Nova takes a comma for the end of a value.
    """
    found: dict[str, set[str]] = {}
    for held in metadata:
        for key, text in held.items():
            parts = (part.strip() for part in str(text).split(','))
            found.setdefault(key, set()).update(parts)
    return {key: frozenset(texts) for key, texts in found.items()}


def match(
    metadata: Mapping[str, frozenset[str]], wanted: Mapping[str, str]
) -> bool:
    """Tell whether some value of each key is as wanted."""
    return all(
        any(_is_match(value, want) for value in metadata.get(key, ()))
        for key, want in wanted.items()
    )


def _is_match(value: str, want: str) -> bool:
    word, *words = want.split() or ['']
    if word == '<or>':
        return value in words[::2]
    if word == '<all-in>':
        return bool(words) and all(part in value for part in words)
    if word in _TEXTS:
        return bool(words) and _TEXTS[word](value, words[0])
    if word in _NUMBERS:
        try:
            return _NUMBERS[word](float(value), float(words[0]))
        except (ValueError, IndexError):
            return False
    return value == want
