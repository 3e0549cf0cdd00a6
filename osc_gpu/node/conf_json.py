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


"""PCI aliases and device specs, as people have written them."""

import ast
import dataclasses
import json
import re
from typing import Any
import warnings

from osc_gpu.i18n import _
from osc_gpu.node import local_conf

#: Characters of one value; Nova's own have some hundred.
_MOST = 65536
#: A quote as it is in local.conf: DevStack takes up to three backslashes.
_ESCAPED = re.compile(r'\\{1,3}"')

Spec = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Specs:
    """What one value of an option says.

    :param is_list: whether it is a JSON list
    :param fault: what about it no JSON has, '' if it is JSON
    """

    specs: tuple[Spec, ...]
    is_list: bool = False
    fault: str = ''


def read(value: str, is_local_conf: bool = False) -> Specs:
    """Read a JSON object or a list of some.

    Also with the quotes escaped, as DevStack wants them, and with single
    quotes, as Python writes them.

    :param is_local_conf: what DevStack makes JSON of counts as that
    :raises ValueError: with a sentence that says why
    """
    if len(value) > _MOST:
        raise ValueError(_("it is too long"))
    if is_local_conf:
        try:
            return _checked(json.loads(local_conf.arriving(value)))
        except (RecursionError, json.JSONDecodeError):
            pass
    try:
        return _checked(json.loads(value))
    except RecursionError as exc:
        raise ValueError(_("it is too deep")) from exc
    except json.JSONDecodeError as exc:
        why = exc
    if '\\"' in value:
        try:
            found = _checked(json.loads(_ESCAPED.sub('"', value)))
        except json.JSONDecodeError:
            pass
        else:
            return dataclasses.replace(found, fault=_("escaped quotes"))
    try:
        with warnings.catch_warnings(action='ignore'):
            literal = json.loads(json.dumps(ast.literal_eval(value)))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        raise ValueError(
            _("it is no JSON: %(why)s at character %(place)d")
            % {'why': why.msg, 'place': why.pos + 1}
        ) from why
    return dataclasses.replace(_checked(literal), fault=_("single quotes"))


def _checked(found: object) -> Specs:
    specs: list[Any] = found if isinstance(found, list) else [found]
    if not all(
        isinstance(spec, dict) and all(isinstance(key, str) for key in spec)
        for spec in specs
    ):
        raise ValueError(_("it is no JSON object or list of some"))
    # JSON can write any character, and words of it end up on terminals.
    if not all(
        key.isprintable() and str(value).isprintable()
        for spec in specs
        for key, value in spec.items()
    ):
        raise ValueError(_("it has control characters"))
    return Specs(tuple(specs), isinstance(found, list))
