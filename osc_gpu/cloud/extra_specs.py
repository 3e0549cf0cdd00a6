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

"""The grammar of GPU requests: extra specs and text, to and fro.

Nova takes a GPU request from a flavor's extra specs in two forms: PCI aliases
(nova/pci/request.py) and amounts of resource classes in the ungrouped or a
granular request group (nova/scheduler/utils.py, ResourceRequest).
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import re
from typing import NamedTuple

from osc_gpu.cloud import resource_classes
from osc_gpu.i18n import _

ALIAS = 'pci_passthrough:alias'
RESOURCES = 'resources'
TRAIT = 'trait'

#: Lengths that Nova and Placement store at most, in characters.
MAX_VALUE = 255
MAX_NAME = 255

#: What the names of standard traits start with (os-traits).
STANDARD_TRAITS = ('COMPUTE_', 'HW_', 'MISC_', 'OWNER_', 'STORAGE_')
MAX_ALIAS = 256

Amounts = tuple[tuple[str, int], ...]


class Grouped(NamedTuple):
    """A ``resources<group>:<name>`` or ``trait<group>:<name>`` key, split."""

    group: str
    name: str

    def key(self, prefix: str) -> str:
        """Join the key again."""
        return f'{prefix}{self.group}:{self.name}'


@dataclasses.dataclass(frozen=True, eq=False)
class GpuRequest:
    """The GPUs that one server of a flavor gets.

    Two requests are equal when they ask for the same numbers of the same
    things, in whatever order.

    :param aliases: PCI aliases and how many devices of each, in the order of
        their first appearance; equal names are merged.
    :param classes: resource classes and how much of each, likewise.
    """

    aliases: Amounts = ()
    classes: Amounts = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, 'aliases', _merge(self.aliases))
        object.__setattr__(self, 'classes', _merge(self.classes))

    @property
    def text(self) -> str:
        """The request as people read and type it: ``a100:2, VGPU:1``."""
        return ', '.join(
            f'{name}:{count}' for name, count in (*self.aliases, *self.classes)
        )

    @property
    def count(self) -> int:
        """How many GPUs it is all together."""
        return sum(n for _name, n in (*self.aliases, *self.classes))

    def __bool__(self) -> bool:
        return self.count > 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GpuRequest):
            return NotImplemented
        return self._multiset == other._multiset

    def __hash__(self) -> int:
        return hash(self._multiset)

    @property
    def _multiset(self) -> tuple[frozenset[object], ...]:
        return frozenset(self.aliases), frozenset(self.classes)


def _merge(amounts: Iterable[tuple[str, int]]) -> Amounts:
    merged: dict[str, int] = {}
    for name, count in amounts:
        merged[name] = merged.get(name, 0) + count
    return tuple(merged.items())


def split_key(prefix: str, key: str) -> Grouped | None:
    """Split a key as Nova does; None when it is none of that prefix.

    The group is '' for the ungrouped form.
    """
    match = re.fullmatch(rf'{prefix}([a-zA-Z0-9_-]{{1,64}})?:(.+)', key)
    return Grouped(match[1] or '', match[2]) if match else None


def grouped(prefix: str, specs: Iterable[str]) -> list[Grouped]:
    """Return the keys of a prefix: ungrouped first, groups by number."""
    found = (split_key(prefix, key) for key in specs)
    return sorted((item for item in found if item), key=_natural)


def _natural(item: Grouped) -> tuple[int, str, str]:
    group = item.group
    return int(group) if group.isdecimal() else 0, group, item.name


def gpu_slots(
    specs: Iterable[str], also: Collection[str] = ()
) -> list[Grouped]:
    """Return the ``resources`` keys that ask for a GPU class."""
    return [
        item
        for item in grouped(RESOURCES, specs)
        if re.fullmatch('[A-Z0-9_]+', item.name)
        and resource_classes.is_gpu_class(item.name, also)
    ]


def alias_entries(value: str) -> list[tuple[str, str]]:
    """Split the value of ``pci_passthrough:alias`` into names and entries.

    Nothing is judged: an entry may be malformed, and is returned as it is.
    """
    entries = (entry.strip() for entry in value.split(','))
    return [(e.partition(':')[0].strip(), e) for e in entries if e]


def parse(
    extra_specs: Mapping[str, str] | None, also: Collection[str] = ()
) -> GpuRequest:
    """Read the GPU request out of what Nova holds.

    Never raises: below microversion 2.86 Nova stores anything, and accepts a
    count of 0 at any. What has no readable count above 0 requests no GPU.

    :param also: resource classes that the user says are GPUs too.
    """
    specs = extra_specs or {}
    aliases = []
    for name, entry in alias_entries(str(specs.get(ALIAS) or '')):
        count = _count(entry.partition(':')[2])
        if name and count:
            aliases.append((name, count))
    classes = [
        (slot.name, _count(str(specs[slot.key(RESOURCES)])))
        for slot in gpu_slots(specs, also)
    ]
    return GpuRequest(
        tuple(aliases), tuple((name, n) for name, n in classes if n)
    )


def _count(text: str) -> int:
    """Return a count as a number from 1 on; 0 when it is none."""
    text = text.strip()
    # int() takes more than Nova's pattern: signs, underscores.
    return int(text) if re.fullmatch('[0-9]{1,9}', text) else 0


def parse_request(text: str) -> GpuRequest:
    """Read a request as people type it: ``a100:2``, ``VGPU``, ``a:1,b:2``.

    VGPU, PGPU and CUSTOM_* are resource classes, any other name is an alias;
    the count defaults to 1.

    :raises ValueError: with a sentence that says what would be right.
    """
    aliases, classes = [], []
    for entry in text.split(','):
        name, count = parse_alias(entry.strip())
        if name in ('VGPU', 'PGPU') or name.startswith('CUSTOM_'):
            classes.append((check_gpu_class(name), count))
        else:
            aliases.append((name, count))
    refuse_twice(name for name, _n in (*aliases, *classes))
    return GpuRequest(tuple(aliases), tuple(classes))


def parse_alias(text: str) -> tuple[str, int]:
    """Read one ``<name>[:<count>]``; the count defaults to 1.

    :raises ValueError: with a sentence that says what would be right.
    """
    name, colon, count = text.partition(':')
    if ':' in count:
        raise ValueError(
            _(
                "'%s' is not <name>[:<count>] as in a100:2: a PCI alias has "
                "no ':' in its name"
            )
            % text
        )
    check_alias_name(name, text)
    if not colon:
        return name, 1
    if _count(count) == 0 or count != count.strip():
        raise ValueError(
            _(
                "'%(text)s': the count '%(count)s' is not a whole number "
                "from 1 on, as in a100:2"
            )
            % {'text': text, 'count': count}
        )
    return name, int(count)


def check_alias_name(name: str, text: str | None = None) -> str:
    """Return the name of a PCI alias if Nova can look it up.

    Nova splits the extra spec at ',' and ':' and strips the names; aliases
    have 1 to 256 characters (nova/pci/request.py).

    :param text: what the user typed, if that was more than the name.
    :raises ValueError: with a sentence that says what would be right.
    """
    typed = name if text is None else text
    if ',' in name or ':' in name:
        wrong = _("has no ',' or ':' in its name; repeat the option for more")
    elif name != name.strip() or not name.isprintable():
        wrong = _("has no blanks around its name and no control characters")
    elif not name:
        wrong = _("has a name, as in a100:2")
    elif len(name) > MAX_ALIAS:
        typed = f'{name[:20]}...'
        wrong = _("has a name of %d characters at most") % MAX_ALIAS
    else:
        return name
    raise ValueError(
        _("'%(text)s' is not right: a PCI alias %(wrong)s")
        % {'text': typed, 'wrong': wrong}
    )


def check_gpu_class(name: str) -> str:
    """Return the resource class of a vGPU if it can be one.

    :raises ValueError: with a sentence that says what would be right.
    """
    if re.fullmatch('VGPU|PGPU|CUSTOM_[A-Z0-9_]+', name):
        return _check_length(name)
    more = _("; repeat the option for several") if ':' in name else ''
    raise ValueError(
        _(
            "'%(name)s' is no resource class of GPUs: right are VGPU, PGPU "
            "and CUSTOM_<A-Z, 0-9, _>, such as %(right)s%(more)s"
        )
        % {'name': name, 'right': _nearest_class(name), 'more': more}
    )


def check_resource_class(name: str) -> str:
    """Return the name of a resource class if Placement can know it.

    :raises ValueError: with a sentence that says what would be right.
    """
    return _check_upper(name, _("resource class"))


def check_trait(name: str) -> str:
    """Return the name of a trait if Placement can know it.

    :raises ValueError: with a sentence that says what would be right.
    """
    _check_upper(name, _("trait"))
    # Placement takes no other custom trait (placement/schemas/trait.py).
    if not name.startswith(('CUSTOM_', *STANDARD_TRAITS)):
        raise ValueError(
            _(
                "'%(name)s' is no trait: it starts with CUSTOM_, as in "
                "CUSTOM_%(name)s, or is a standard one, in %(standard)s"
            )
            % {'name': name, 'standard': ', '.join(STANDARD_TRAITS)}
        )
    return name


def _check_upper(name: str, what: str) -> str:
    if re.fullmatch('[A-Z0-9_]+', name):
        return _check_length(name)
    raise ValueError(
        _("'%(name)s' is no %(what)s: its name has A-Z, 0-9 and _ only%(as)s")
        % {
            'name': name,
            'what': what,
            'as': _(", such as %s") % _upper(name) if _upper(name) else '',
        }
    )


def _check_length(name: str) -> str:
    if len(name) > MAX_NAME:
        raise ValueError(
            _("'%(name)s...' is too long: %(most)d characters at most")
            % {'name': name[:20], 'most': MAX_NAME}
        )
    return name


def _nearest_class(name: str) -> str:
    upper = _upper(name)
    if upper in ('', 'CUSTOM', 'VGPU', 'PGPU'):
        return upper if upper in ('VGPU', 'PGPU') else 'VGPU'
    # VGPU:2 means two of them
    known = re.fullmatch('(VGPU|PGPU)_[0-9]+', upper)
    if known:
        return known[1]
    return upper if upper.startswith('CUSTOM_') else f'CUSTOM_{upper}'


def _upper(name: str) -> str:
    """Normalise a name as Nova and Placement's clients do."""
    return re.sub('[^A-Z0-9_]+', '_', name.upper()).strip('_')[:MAX_NAME]


def refuse_twice(names: Iterable[str]) -> None:
    """Refuse a list that has a name twice.

    :raises ValueError: naming it.
    """
    seen = set()
    for name in names:
        if name in seen:
            raise ValueError(
                _("'%s' is given twice: give it once, with its count") % name
            )
        seen.add(name)
