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

"""YAML read strictly, with errors that know the key and the line."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import difflib
import re
import typing
from typing import Any
from typing import Protocol
from typing import TypeVar

from osc_gpu.i18n import _
from osc_gpu.sandbox import errors

if typing.TYPE_CHECKING:
    import yaml

_NULL = 'tag:yaml.org,2002:null'
_PLAIN_KEY = re.compile(r'[A-Za-z0-9_.<-]{1,60}')
_INTEGER = re.compile(r'[+-]?[0-9]{1,12}')
_BOOLEANS = {
    'true': True,
    'yes': True,
    'on': True,
    'false': False,
    'no': False,
    'off': False,
}


class _Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar('T', bound=_Named)
Converters = Mapping[str, Callable[['Value'], Any]]


class TopologyError(errors.SandboxError):
    """A topology that cannot be: where, what, and what would be right."""


class Value:
    """A value in a YAML file: its node, and the path of keys that leads there.

    Text is taken as it stands in the file. YAML itself would read a PCI
    address as a number to the base of sixty, and some PCI ids as octal.
    """

    def __init__(self, node: 'yaml.Node', path: str = '') -> None:
        self._node = node
        self.path = path

    @property
    def line(self) -> int:
        """The line it begins in, counted from 1."""
        return int(self._node.start_mark.line) + 1

    @property
    def empty(self) -> bool:
        """Whether nothing was written, which means the default."""
        return bool(self._node.tag == _NULL)

    def error(self, message: str) -> TopologyError:
        """Return an error about this value."""
        where = f'{self.path}: ' if self.path else ''
        return TopologyError(
            _("%(where)s%(message)s (line %(line)d)")
            % {'where': where, 'message': message, 'line': self.line}
        )

    def fields(
        self, required: Converters, optional: Converters | None = None
    ) -> dict[str, Any]:
        """Return a mapping's values, each read by its key's converter.

        Keys without a value are left out, as if they were not there.
        """
        converters = {**required, **(optional or {})}
        found = self.values()
        for key, value in found.items():
            if key not in converters:
                raise value.error(_unknown_key(key, list(converters)))
        for key in required:
            if key not in found or found[key].empty:
                raise self.error(
                    _("%(key)s is missing; needed are %(keys)s")
                    % {'key': key, 'keys': ', '.join(required)}
                )
        return {
            key: converters[key](value)
            for key, value in found.items()
            if not value.empty
        }

    def at(self, key: str) -> 'Value':
        """Return a key's value, or this mapping where it is not there."""
        return self.values().get(key, self)

    def values(self) -> dict[str, 'Value']:
        """Return all values of a mapping, whatever its keys."""
        import yaml

        if not isinstance(self._node, yaml.MappingNode):
            raise self.error(_("this must be a mapping, 'key: value'"))
        found: dict[str, Value] = {}
        for key_node, value_node in self._node.value:
            key = Value(key_node, self.path).text()
            shown_key = key if _PLAIN_KEY.fullmatch(key) else shown(key)
            path = f'{self.path}.{shown_key}' if self.path else shown_key
            value = Value(value_node, path)
            value._check_flat_key(key_node)
            if key in found:
                raise Value(key_node, path).error(
                    _("given twice, first in line %d") % found[key].line
                )
            found[key] = value
        return found

    def _check_flat_key(self, key_node: 'yaml.Node') -> None:
        if key_node.tag == 'tag:yaml.org,2002:merge':
            raise self.error(_("merge keys are not supported"))

    def items(self) -> list['Value']:
        """Return the items of a list."""
        import yaml

        if not isinstance(self._node, yaml.SequenceNode):
            raise self.error(_("this must be a list, of '- ' or in [ ]"))
        return [
            Value(node, f'{self.path}[{index}]')
            for index, node in enumerate(self._node.value)
        ]

    def each(self, make: Callable[['Value'], T]) -> tuple[T, ...]:
        """Make something of each item; no two of them may share a name."""
        made: list[T] = []
        seen: dict[str, str] = {}
        for item in self.items():
            thing = make(item)
            name = thing.name
            if name in seen:
                raise item.error(
                    _("the name %(name)s is taken by %(other)s")
                    % {'name': shown(name), 'other': seen[name]}
                )
            seen[name] = item.path
            made.append(thing)
        return tuple(made)

    def text(self) -> str:
        """Return a plain value as it was written."""
        import yaml

        if not isinstance(self._node, yaml.ScalarNode):
            raise self.error(_("this must be a plain value"))
        return str(self._node.value)

    def matching(self, pattern: str, message: str) -> str:
        """Return text that matches all of ``pattern``.

        ``message`` may use ``%(value)s``.
        """
        text = self.text()
        if not re.fullmatch(pattern, text):
            raise self.error(message % {'value': shown(text)})
        return text

    def one_of(self, choices: Sequence[str]) -> str:
        """Return text that is one of a few words."""
        text = self.text()
        if text not in choices:
            raise self.error(
                _("%(value)s is none of %(choices)s")
                % {'value': shown(text), 'choices': ', '.join(choices)}
            )
        return text

    def integer(self, least: int, most: int) -> int:
        """Return a whole number between two bounds."""
        text = self.text()
        if not _INTEGER.fullmatch(text) or not least <= int(text) <= most:
            raise self.error(
                _(
                    "%(value)s is no whole number between %(least)d and "
                    "%(most)d"
                )
                % {'value': shown(text), 'least': least, 'most': most}
            )
        return int(text)

    def boolean(self) -> bool:
        """Return true or false."""
        text = self.text()
        if text.lower() not in _BOOLEANS:
            raise self.error(_("%s is neither true nor false") % shown(text))
        return _BOOLEANS[text.lower()]


def shown(text: str) -> str:
    """Quote a value for an error: one line, and not too long a one."""
    return repr(text if len(text) <= 60 else text[:57] + '...')


def _unknown_key(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    if close:
        return _("unknown key; did you mean '%s'?") % close[0]
    return _("unknown key; known are %s") % ', '.join(known)


def read(content: bytes) -> Value:
    """Return the one document of a YAML file.

    Raises TopologyError for what is no YAML, empty or several documents.
    """
    import yaml

    try:
        loader = yaml.SafeLoader(content)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        raise TopologyError(
            _("no YAML: %(problem)s (line %(line)d)")
            % {
                'problem': exc.problem or exc.context,
                'line': mark.line + 1 if mark else 1,
            }
        ) from exc
    except RecursionError as exc:
        raise TopologyError(_("no topology: nested too deeply")) from exc
    except (yaml.YAMLError, ValueError, OverflowError) as exc:
        problem = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise TopologyError(_("no YAML: %s") % problem) from exc
    if node is None or node.tag == _NULL:
        raise TopologyError(_("empty: a topology needs at least 'hosts'"))
    return Value(node)
