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

"""A compute node as JSON, there and back.

What is read comes from a file that anybody may have written: every value has
to be of the type that ``model`` gives it, and to look like what it says.
"""

from collections.abc import Callable
from collections.abc import Iterable
import dataclasses
import functools
import json
import re
import types
import typing
from typing import Any

from osc_gpu.i18n import _
from osc_gpu.node import grammar
from osc_gpu.node import model

#: What texts have to look like, by the names of their fields.
_PATTERNS: dict[str, re.Pattern[str]] = {
    'address': grammar.ADDRESS,
    'vendor_id': grammar.HEX4,
    'product_id': grammar.HEX4,
    'class_id': grammar.HEX4,
    'interface': grammar.HEX2,
    'subsystem_vendor_id': grammar.HEX4,
    'subsystem_product_id': grammar.HEX4,
    'iommu_group': grammar.NUMBER,
    'vendor_type': grammar.NUMBER,
    'vfio_ids': grammar.IDS,
    'driver': grammar.WORD,
    'modules': grammar.WORD,
    'loaded': grammar.WORD,
    'blacklisted': grammar.WORD,
    'hostname': grammar.WORD,
    'distribution': grammar.WORD,
    'kernel': grammar.WORD,
    'instances': grammar.WORD,
    'id': grammar.WORD,
}
#: Those that are '' where there is none.
_MAY_BE_EMPTY = ('driver', 'cpu_vendor')
#: The one that is -1 where there is none.
_MAY_BE_MINUS_ONE = 'numa_node'
_MOST = 1 << 63


def dump(node: model.Node) -> dict[str, Any]:
    """Return a node as JSON has it."""
    record: dict[str, Any] = _plain(node)
    return record


def as_text(node: model.Node, indent: int | None = 2) -> str:
    """Return the text of a file that ``load`` reads."""
    return json.dumps(dump(node), indent=indent) + '\n'


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {
            field.name: _plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def load(text: str) -> model.Node:
    """Read a node from JSON.

    :raises ValueError: with a sentence that says what is wrong
    """
    try:
        record = json.loads(text)
    except RecursionError:
        raise ValueError(_("is no node: it is nested too deep")) from None
    except ValueError as exc:
        # It says where, and of what is there only a character's name.
        raise ValueError(_("is not JSON: %s") % exc) from None
    if not isinstance(record, dict) or 'gpus' not in record:
        raise ValueError(
            _('is JSON, but not what "openstack gpu node show -f json" prints')
        )
    node: model.Node = _read(model.Node, record, '', '')
    _refuse_twins(node.gpus)
    return node


def _refuse_twins(gpus: Iterable[model.Gpu]) -> None:
    seen = set()
    for gpu in gpus:
        vfs = (vf.function.address for vf in gpu.vfs or ())
        for address in (gpu.address, *vfs):
            if address in seen:
                raise ValueError(_("has %s twice") % address)
            seen.add(address)


@functools.cache
def _types(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _read(wanted: Any, value: Any, where: str, name: str) -> Any:
    """Return a value as a type of ``model`` has it.

    :param where: the way to it, gpus[0].function.modules[1]
    :param name: of the field that it is in, modules
    """
    if isinstance(wanted, types.UnionType):
        if value is None:
            return None
        (wanted,) = (
            t for t in typing.get_args(wanted) if t is not types.NoneType
        )
    if dataclasses.is_dataclass(wanted):
        return _read_object(typing.cast(type, wanted), value, where)
    if typing.get_origin(wanted) is tuple:
        if not isinstance(value, list):
            raise _wrong(where, _("a list"), value)
        item = typing.get_args(wanted)[0]
        return tuple(
            _read(item, one, f'{where}[{number}]', name)
            for number, one in enumerate(value)
        )
    return _SCALARS[wanted](value, where, name)


def _read_object(cls: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, _("an object"), value)
    hints = _types(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in value:
        if key not in fields:
            raise ValueError(
                _(
                    "%(where)s has %(key)s, which is not known: is it of a "
                    "newer osc-gpu?"
                )
                % {'where': where or 'it', 'key': grammar.shown(key)}
            )
    for key, field in fields.items():
        if key not in value and field.default is dataclasses.MISSING:
            raise ValueError(_("%s is missing") % _below(where, key))
    return cls(
        **{
            key: _read(hints[key], one, _below(where, key), key)
            for key, one in value.items()
        }
    )


def _below(where: str, key: str) -> str:
    return f'{where}.{key}' if where else key


def _read_str(value: Any, where: str, name: str) -> str:
    if not isinstance(value, str):
        raise _wrong(where, _("a text"), value)
    if value == '' and name in _MAY_BE_EMPTY:
        return value
    pattern = _PATTERNS.get(name)
    if pattern and not pattern.fullmatch(value):
        raise ValueError(
            _("%(where)s cannot be %(value)s")
            % {'where': where, 'value': grammar.shown(value)}
        )
    if not value or not grammar.is_text(value):
        raise _wrong(where, _("one line of text"), value)
    return value


def _read_int(value: Any, where: str, name: str) -> int:
    least = -1 if name == _MAY_BE_MINUS_ONE else 0
    if (
        not isinstance(value, int)
        or isinstance(value, bool)
        or not least <= value < _MOST
    ):
        raise _wrong(where, _("a whole number, %d or more") % least, value)
    return value


def _read_bool(value: Any, where: str, name: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(where, _("true or false"), value)
    return value


_SCALARS: dict[type, Callable[[Any, str, str], Any]] = {
    str: _read_str,
    int: _read_int,
    bool: _read_bool,
}


def _wrong(where: str, wanted: str, value: Any) -> ValueError:
    return ValueError(
        _("%(where)s has to be %(wanted)s, and is %(value)s")
        % {
            'where': where,
            'wanted': wanted,
            'value': _KINDS.get(type(value)) or grammar.shown(value),
        }
    )


#: What is not shown: it may be large.
_KINDS: dict[type, str] = {list: _("a list"), dict: _("an object")}
