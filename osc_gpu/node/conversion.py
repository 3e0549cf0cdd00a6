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


"""An old nova.conf or local.conf with the names of today.

Nova still reads some old names and no longer others; what is said here is
that of Nova 34 (nova/conf: pci.py, devices.py, scheduler.py).
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses

from osc_gpu.i18n import _
from osc_gpu.node import conf_file
from osc_gpu.node import conf_json
from osc_gpu.node import conversion_notes
from osc_gpu.node import conversion_values

Place = tuple[str, str]

#: Old section and name -> new ones; DEFAULT in capitals, others not.
_RENAMED: Mapping[Place, Place] = {
    ('DEFAULT', 'pci_alias'): conversion_values.ALIAS,
    ('DEFAULT', 'pci_passthrough_whitelist'): conversion_values.SPEC,
    ('pci', 'passthrough_whitelist'): conversion_values.SPEC,
    ('DEFAULT', 'scheduler_default_filters'): conversion_values.ENABLED,
    ('DEFAULT', 'scheduler_available_filters'): conversion_values.AVAILABLE,
    ('devices', 'enabled_vgpu_types'): conversion_values.TYPES,
}
_OLD_SECTION = 'vgpu_'
_NEW_SECTION = 'mdev_'


@dataclasses.dataclass(frozen=True)
class Change:
    """What is, or has to be, another way.

    :param line: of the old file, counted from 1; None for no line
    :param old: [<section>] <option>, '' for what is new
    :param new: likewise, '' for what is gone
    :param behaviour: what changes by it; '' for nothing
    """

    line: int | None
    old: str
    new: str
    behaviour: str = ''


@dataclasses.dataclass(frozen=True)
class Conversion:
    """A file with today's names, and what is new about it."""

    text: str
    changes: tuple[Change, ...]


def convert(text: str) -> Conversion:
    """Convert a file; what is not known stays as it is.

    :raises ValueError: with a sentence that names the line and the option
    """
    file = conf_file.parse(text)
    lines: list[str] = []
    changes: list[Change] = []
    done = 0
    for block in file.blocks:
        rewriting = _Rewriting(file, block)
        lines += file.lines[done : block.start]
        lines += rewriting.lines()
        changes += sorted(rewriting.changes, key=_line)
        done = block.end
    lines += file.lines[done:]
    options = [o for block in file.blocks for o in block.options]
    changes += (
        Change(None, '', shown(place), behaviour)
        for place, behaviour in conversion_notes.steps(
            [(current(o), o.value) for o in options]
        )
    )
    return Conversion('\n'.join(lines), tuple(changes))


def _line(change: Change) -> int:
    return change.line or 0


def current(option: conf_file.Option) -> Place:
    """Return today's section and name of an option."""
    section = option.section
    if section != 'DEFAULT':
        section = section.lower()
    place = _RENAMED.get((section, option.name), (section, option.name))
    return new_section(place[0]), place[1]


def new_section(section: str) -> str:
    """Return today's name of a section."""
    if section.lower().startswith(_OLD_SECTION):
        return _NEW_SECTION + section[len(_OLD_SECTION) :]
    return section


def at(option: conf_file.Option, why: object) -> ValueError:
    """Return the error for an option, which names it and its line."""
    return ValueError(
        _("line %(line)d: %(option)s: %(why)s")
        % {
            'line': option.start + 1,
            'option': shown((option.section, option.name)),
            'why': why,
        }
    )


def shown(place: Place) -> str:
    """Return an option as people write of it: [pci] alias."""
    return f'[{place[0]}] {place[1]}'


class _Rewriting:
    """One block on its way: lines that go, and lines that come."""

    def __init__(
        self, file: conf_file.ConfFile, block: conf_file.Block
    ) -> None:
        self._file = file
        self._block = block
        self.changes: list[Change] = []
        #: Lines that take the place of others, by the first of them.
        self._instead: dict[int, tuple[int, list[str]]] = {}
        #: Lines that go to the end of a section.
        self._moved: dict[str, list[str]] = {}
        self._rename_sections()
        overruled = _overruled(block)
        seen: dict[str, conf_json.Spec] = {}
        for option in block.options:
            if option in overruled:
                self._drop(option)
            else:
                self._convert(option, seen)

    def lines(self) -> list[str]:
        """Return the lines of the block as they are to be."""
        found: list[str] = []
        ends = self._ends()
        number = self._block.start
        while number < self._block.end:
            end, lines = self._instead.get(
                number, (number + 1, [self._file.lines[number]])
            )
            found += lines
            for last in range(number, end):
                found += self._moved.pop(ends.get(last, ''), [])
            number = end
        for section, lines in self._moved.items():
            while found and not found[-1].strip():
                found.pop()
            found += ['', f'[{section}]', *lines]
            # What comes after stays apart; a file ends with a line's end.
            found.append('')
        return found

    def _ends(self) -> dict[int, str]:
        """Return the last line of each section, by the line."""
        last = {
            new_section(section.lower()): number
            for number, section in self._block.headers
        }
        for option in self._block.options:
            section = new_section(option.section.lower())
            if section in last:
                last[section] = max(last[section], option.end - 1)
        return {number: section for section, number in last.items()}

    def _rename_sections(self) -> None:
        for number, section in self._block.headers:
            renamed = new_section(section)
            if renamed != section:
                self._instead[number] = (number + 1, [f'[{renamed}]'])
                self.changes.append(
                    Change(number + 1, f'[{section}]', f'[{renamed}]')
                )

    def _drop(self, option: conf_file.Option) -> None:
        self._instead[option.start] = (option.end, [])
        self.changes.append(
            Change(
                option.start + 1,
                shown((option.section, option.name)),
                '',
                _("Nova heeds another line of the same option instead"),
            )
        )

    def _convert(
        self, option: conf_file.Option, seen: dict[str, conf_json.Spec]
    ) -> None:
        place = current(option)
        old = shown((option.section, option.name))
        try:
            is_local_conf = self._file.is_local_conf
            values = conversion_values.convert(
                place, option.value, is_local_conf
            )
            notes = conversion_notes.of_value(
                place, option.value, is_local_conf, seen
            )
        except ValueError as exc:
            raise at(option, exc) from exc
        renamed = place[1] != option.name
        if not renamed and values.texts is None:
            notes = (*values.notes, *notes)
            self._note(option, old, shown(place), notes)
            return
        of_name = conversion_notes.of_name(place) if renamed else ()
        texts = (option.value,) if values.texts is None else values.texts
        self._put(option, place, texts)
        self._note(
            option,
            old,
            shown(place) if texts else '',
            (*of_name, *values.notes, *notes) or ('',),
        )

    def _put(
        self, option: conf_file.Option, place: Place, texts: Sequence[str]
    ) -> None:
        """Put lines where an option was, or into the section they are of."""
        # A value may go on in lines that begin with a blank.
        lines = [
            f'{place[1]} = {text}'.replace('\n', '\n    ') for text in texts
        ]
        start = option.start
        if place[0] == new_section(option.section.lower()):
            self._instead[start] = (option.end, lines)
        elif not lines:
            self._instead[start] = (option.end, [])
        else:
            # What is said of an option goes with it.
            start = self._first_comment(start)
            said = self._file.lines[start : option.start]
            self._instead[start] = (option.end, [])
            self._moved.setdefault(place[0], []).extend([*said, *lines])

    def _note(
        self,
        option: conf_file.Option,
        old: str,
        new: str,
        notes: Sequence[str],
    ) -> None:
        self.changes += (
            Change(option.start + 1, old, new, note) for note in notes
        )

    def _first_comment(self, number: int) -> int:
        """Return where the comments begin that stand right above a line."""
        while number > self._block.start and self._file.lines[
            number - 1
        ].startswith(('#', ';')):
            number -= 1
        return number


def _overruled(block: conf_file.Block) -> set[conf_file.Option]:
    """Return options that Nova does not heed: it takes one of a list.

    Of lines with today's name the last, else the last one of all.
    """
    found: set[conf_file.Option] = set()
    for place in (conversion_values.ENABLED, conversion_values.TYPES):
        same = [o for o in block.options if current(o) == place]
        same.sort(key=lambda option: option.name == place[1])
        found.update(same[:-1])
    return found
