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


"""nova.conf and local.conf, line by line, as oslo.config reads them.

An option may be repeated, and which lines it stands in is known: so a file
can be changed in places, and stays what it is elsewhere.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import re

from osc_gpu.i18n import _

#: [[post-config|$NOVA_CONF]]: what follows goes into a file of Nova's, when
#: DevStack has made it. The backslash is left over from a shell's heredoc.
_META = re.compile(r'\[\[\s*([a-z-]+)\s*\|\s*(.*?)\s*\]\]\s*')
_OF_NOVA = re.compile(
    r'\\?\$\{?NOVA_[A-Z_]*CONF\}?|(?:\S*/)?nova(?:[-_.][a-z_.-]*)?\.conf'
)
_SECTION = re.compile(r'\[\[?[A-Za-z][^\[\]]*\]\]?\s*')


@dataclasses.dataclass(frozen=True)
class Option:
    """An option where it stands.

    :param value: without the quotes around it; of several lines joined
    :param start: the first of its lines, counted from 0
    :param end: the line after its last one
    """

    section: str
    name: str
    value: str
    start: int
    end: int


@dataclasses.dataclass(frozen=True)
class Block:
    """Lines that are nova.conf: a file, or a part of local.conf.

    :param headers: lines of section headers, with the section
    """

    start: int
    end: int
    headers: tuple[tuple[int, str], ...]
    options: tuple[Option, ...]


@dataclasses.dataclass(frozen=True)
class ConfFile:
    """A configuration file.

    :param lines: without what ends them
    :param blocks: () for a local.conf that says nothing of Nova
    """

    lines: tuple[str, ...]
    blocks: tuple[Block, ...]
    is_local_conf: bool


def is_conf(text: str) -> bool:
    """Tell whether a text looks like a configuration file at all."""
    return any(_SECTION.fullmatch(line) for line in text.split('\n'))


def parse(text: str) -> ConfFile:
    """Read a nova.conf, or what a local.conf has for one.

    :raises ValueError: with a sentence that names the line
    """
    if '\0' in text or not is_conf(text):
        raise ValueError(_("there is no section like [DEFAULT] in it"))
    lines = tuple(text.split('\n'))
    metas = [
        (number, found)
        for number, line in enumerate(lines)
        if (found := _META.fullmatch(line))
    ]
    if not metas:
        return ConfFile(lines, (_block(lines, 0, len(lines)),), False)
    ends = [number for number, _found in metas[1:]] + [len(lines)]
    return ConfFile(
        lines,
        tuple(
            _block(lines, number + 1, end)
            for (number, found), end in zip(metas, ends, strict=True)
            if found[1] != 'local' and _OF_NOVA.fullmatch(found[2])
        ),
        True,
    )


def _block(lines: Sequence[str], start: int, end: int) -> Block:
    headers: list[tuple[int, str]] = []
    options: list[Option] = []
    # oslo.config takes what comes before a section for DEFAULT's.
    section = 'DEFAULT'
    for first, last in _statements(lines, start, end):
        line = lines[first].rstrip()
        if line.startswith('['):
            if not line.endswith(']') or len(line) < 3:
                raise _malformed(first, _("a section is [<name>]"))
            section = line[1:-1]
            _check_name(first, section)
            headers.append((first, section))
            continue
        found = re.match('([^=:]*)[=:](.*)', line)
        if not found or not found[1].strip():
            raise _malformed(first, _("an option is <name> = <value>"))
        _check_name(first, found[1].strip())
        value = _unquoted(found[2].strip())
        more = (lines[n].strip() for n in range(first + 1, last))
        options.append(
            Option(
                section,
                found[1].strip(),
                '\n'.join((value, *more)),
                first,
                last,
            )
        )
    return Block(start, end, tuple(headers), tuple(options))


def _statements(
    lines: Sequence[str], start: int, end: int
) -> Iterator[tuple[int, int]]:
    """Yield the lines of each header and option; no comments or blanks."""
    number = start
    while number < end:
        first, line = number, lines[number]
        number += 1
        if not line.strip() or line.startswith(('#', ';')):
            continue
        if line[0] in ' \t':
            raise _malformed(first, _("it goes on from an option, of none"))
        if not line.startswith('['):
            while (
                number < end
                and lines[number].strip()
                and lines[number][0] in ' \t'
            ):
                number += 1
        yield first, number


def _check_name(number: int, name: str) -> None:
    if not name.isprintable():
        raise _malformed(number, _("a name has control characters"))


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in '\'"':
        return value[1:-1]
    return value


def _malformed(number: int, why: str) -> ValueError:
    return ValueError(
        _("line %(line)d: %(why)s") % {'line': number + 1, 'why': why}
    )
