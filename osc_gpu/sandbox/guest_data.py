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

"""A guest's user data, taken apart and put together as cloud-init does it.

What a part is, how parts are merged and what their defaults are is decided
in cloud-init's ``user_data.py``, ``handlers`` and ``mergers``.
"""

import base64
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import email
from email import message as messages
import gzip
import re
from typing import Any
import zlib

CONFIG = 'text/cloud-config'
_UNKNOWN = ('text/plain', 'text/x-not-multipart', 'text/x-shellscript')
_PACKED = re.compile('application/(x-)?(gzip|gunzip|compress)')

#: What a part is by its beginning, the longer beginnings first.
_BEGINNINGS = (
    ('#cloud-config-archive', 'text/cloud-config-archive'),
    ('#cloud-config-jsonp', 'text/cloud-config-jsonp'),
    ('## template: jinja', 'text/jinja2'),
    ('#cloud-boothook', 'text/cloud-boothook'),
    ('#include-once', 'text/x-include-once-url'),
    ('#cloud-config', CONFIG),
    ('#part-handler', 'text/part-handler'),
    ('#include', 'text/x-include-url'),
    ('#!', 'text/x-shellscript'),
)

_DEFAULT = 'dict(replace)+list()+str()'

Options = Mapping[str, Collection[str]]


@dataclasses.dataclass(frozen=True)
class Part:
    """One part, of the type that cloud-init takes it for.

    :param merge: the header Merge-Type; '' is none
    """

    type: str
    filename: str
    content: bytes
    merge: str = ''


def parts(content: bytes) -> tuple[Part, ...]:
    """Return the parts of user data, in their order.

    What they include from elsewhere is not fetched.

    :raises ValueError: it is packed, but not whole; or no text
    """
    return tuple(_parts(content))


def _parts(content: bytes) -> Iterator[Part]:
    content = _unpack(content)
    if not content:
        return
    if b'mime-version:' not in content[:4096].lower():
        yield from _open(Part(_UNKNOWN[1], 'part-001', content))
        return
    for number, found in enumerate(
        (
            part
            for part in email.message_from_string(content.decode()).walk()
            if part.get_content_maintype() != 'multipart'
        ),
        1,
    ):
        yield from _open(_part(found, number))


def _part(found: messages.Message, number: int) -> Part:
    payload = found.get_payload(decode=True)
    merge = found.get('Merge-Type') or found.get('X-Merge-Type') or ''
    return Part(
        found.get_content_type(),
        found.get_filename() or f'part-{number:03}',
        payload if isinstance(payload, bytes) else b'',
        str(merge),
    )


def _unpack(content: bytes) -> bytes:
    if not content.startswith(b'\x1f\x8b'):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as exc:
        raise ValueError(f'it cannot be unpacked: {exc}') from exc


def _open(part: Part) -> Iterator[Part]:
    """Yield what a part is, or what is in it."""
    if _PACKED.match(part.type):
        part = dataclasses.replace(
            part, type='text/plain', content=_unpack(part.content)
        )
    if part.type in _UNKNOWN:
        part = dataclasses.replace(part, type=_by_beginning(part, part.type))
    if part.type == 'text/cloud-config-archive':
        yield from _of_archive(part)
    else:
        yield part


def _by_beginning(part: Part, otherwise: str) -> str:
    begin = part.content.lstrip()[:32].decode(errors='replace').lower()
    for beginning, kind in _BEGINNINGS:
        if begin.startswith(beginning):
            return kind
    return otherwise


def _of_archive(archive: Part) -> Iterator[Part]:
    entries = _load(archive.content)
    for number, entry in enumerate(
        entries if isinstance(entries, list) else (), 1
    ):
        if isinstance(entry, str):
            entry = {'content': entry}
        if not isinstance(entry, dict):
            continue
        content = entry.get('content', '')
        part = Part(
            str(entry.get('type') or ''),
            str(entry.get('filename') or f'part-{number:03}'),
            content if isinstance(content, bytes) else str(content).encode(),
        )
        kind = part.type or _by_beginning(part, CONFIG)
        yield dataclasses.replace(part, type=kind)


def _load(content: bytes) -> Any:
    """Read YAML; None where cloud-init would say that it is none."""
    import yaml

    try:
        return yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError):
        return None


@dataclasses.dataclass(frozen=True)
class Config:
    """All parts of cloud-config in one.

    :param ignored: names of the parts that cloud-init could not read
    """

    values: Mapping[str, Any]
    ignored: tuple[str, ...] = ()

    def list(self, key: str) -> list[Any]:
        """Return the list under a key; an empty one where there is none."""
        found = self.values.get(key)
        return list(found) if isinstance(found, list) else []


def config(found: Iterable[Part]) -> Config:
    """Return the cloud-config that some parts make together."""
    values: Any = {}
    ignored = []
    for part in found:
        if part.type != CONFIG:
            continue
        new = _load(part.content)
        if not isinstance(new, dict):
            ignored.append(part.filename)
            continue
        how = new.pop('merge_how', None) or new.pop('merge_type', None)
        try:
            options = _options(how or part.merge or _DEFAULT)
        except (KeyError, TypeError):
            ignored.append(part.filename)
            continue
        values = _merge(options, values, new)
    return Config(values, tuple(ignored))


def _options(how: Any) -> Options:
    """Read ``dict(recurse_list)+list(append)``, or the same as a list."""
    if isinstance(how, str):
        return {
            kind: re.findall('[a-z_]+', options)
            for kind, options in re.findall(
                r'([a-z_]+)\(([^)]*)\)', how.lower().replace('-', '_')
            )
        }
    return {one['name']: one.get('settings') or () for one in how}


def _merge(options: Options, old: Any, new: Any) -> Any:
    """Return ``old`` with ``new`` in it; what is of no such kind stays."""
    for kind, name, merged in _KINDS:
        if isinstance(old, kind) and name in options:
            return merged(options, old, new)
    return old


def _merge_dicts(options: Options, old: dict[Any, Any], new: Any) -> Any:
    if not isinstance(new, dict):
        return old
    how = options['dict']
    result = dict(old)
    for key, value in new.items():
        if key not in result:
            result[key] = value
        elif value is None and 'allow_delete' in how:
            del result[key]
        elif 'replace' in how:
            result[key] = value
        elif isinstance(value, dict) or _is_to_merge(how, value):
            result[key] = _merge(options, result[key], value)
    return result


def _merge_lists(options: Options, old: list[Any], new: Any) -> Any:
    how = options['list']
    if not isinstance(new, list):
        changed = {'append', 'prepend', 'no_replace'} & set(how)
        return old if changed else new
    if 'append' in how:
        return old + new
    if 'prepend' in how:
        return new + old
    pairs = zip(old, new, strict=False)
    if 'no_replace' in how:
        result = [before for before, _after in pairs]
    else:
        result = [
            _merge(options, *pair) if _is_to_merge(how, pair[1]) else pair[1]
            for pair in pairs
        ]
    return result + old[len(result) :]


def _merge_texts(options: Options, old: str, new: Any) -> Any:
    if 'append' in options['str'] and isinstance(new, str):
        return old + new
    return new


def _is_to_merge(how: Collection[str], value: Any) -> bool:
    asked = {
        'list': ('recurse_list', 'recurse_array'),
        'str': ('recurse_str',),
        'dict': ('recurse_dict',),
    }.get(type(value).__name__, ())
    return any(name in how for name in asked)


_KINDS: tuple[tuple[type, str, Callable[[Options, Any, Any], Any]], ...] = (
    (dict, 'dict', _merge_dicts),
    (list, 'list', _merge_lists),
    (str, 'str', _merge_texts),
)


def file_content(entry: Mapping[str, Any]) -> bytes:
    """Return what an entry of write_files has in it.

    :raises ValueError: it is not encoded as it says
    """
    content = entry.get('content') or b''
    found = content if isinstance(content, bytes) else str(content).encode()
    how = str(entry.get('encoding') or '').lower()
    if re.search('b64|base64', how):
        found = base64.b64decode(found)
    if re.search('gz', how):
        found = _unpack(found)
    return found
