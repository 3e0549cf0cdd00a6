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

"""A compute node as the text of ``lspci`` tells it.

Read are the forms of ``lspci -nn``, ``-n``, both with ``-k``, ``-v``, ``-vv``
and ``-D``; ``lspci -vmm`` with ``-n``, ``-nn`` and ``-k``; and ``lspci`` alone
as far as it gives ids. Around them may stand what a terminal had there, and
what somebody wrote; a page that lost its line breaks has all of them in one
line, which ``lspci_lines`` takes apart.

Text may have been through grep, so what it does not have may be there all the
same: no line on a driver does not mean that there is none. Without a domain
an address is in domain 0000: lspci leaves it out only if there is no other.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import re

from osc_gpu.data import pci_names
from osc_gpu.i18n import _
from osc_gpu.node import gpus
from osc_gpu.node import grammar
from osc_gpu.node import lspci_lines
from osc_gpu.node import model

_RIGHT = 'lspci -nnk -D'

#: 0000:04:00.0 3D controller [0302]: NVIDIA Corporation ... [10de:102d]
_HEAD = re.compile(
    rf'\s*(?P<address>{lspci_lines.ADDRESS})\s+(?P<what>\S.*)', re.I
)
#: 0302: 10de:102d (rev a1)
_NUMERIC = re.compile(
    r'(?:class )?(?P<class_id>[0-9a-f]{4}): (?P<ids>[0-9a-f]{4}:[0-9a-f]{4})'
    r'(?![0-9a-f:])',
    re.I,
)
#: 3D controller [0302]: NVIDIA Corporation GK210GL [Tesla K80] [10de:102d]
_NAMED = re.compile(
    r'(?P<name>[^:\[]+?)(?: \[(?P<class_id>[0-9a-f]{4})\])?: (?P<rest>\S.*)',
    re.I,
)
_PROG_IF = re.compile(r'([0-9a-f]{2})(?: \[[^]]*\])?\)?\s*$', re.I)
_REVISION = re.compile(r' \(rev [0-9a-f]{2}\)\s*$', re.I)
_LAST_IDS = re.compile(r' \[([0-9a-f]{4}:[0-9a-f]{4})\]$', re.I)
_LAST_ID = re.compile(r'(?:^|.* \[)([0-9a-f]{4})\]?$', re.I)
#: NVIDIA Corporation Device 1b80, Device 1b80:0001 of an unknown vendor
_DEVICE = re.compile(
    r'(?:(?P<vendor>\S.*) )?Device (?:(?P<vendor_id>[0-9a-f]{4}):)?'
    r'(?P<product_id>[0-9a-f]{4})'
)

_ADDRESS = re.compile(lspci_lines.ADDRESS, re.I)
_DRIVER = re.compile(r'\s*Kernel driver in use: (\S+)\s*$')
_MODULES = re.compile(r'\s*Kernel modules: (\S.*)$')
_SUBSYSTEM = re.compile(
    r'\s*Subsystem: '
    r'(?:(?:\S.{0,400}? \[|\[)?([0-9a-f]{4}:[0-9a-f]{4})(?![0-9a-f:])|\S)',
    re.I,
)
_NUMA = re.compile(r'\s*(?:Flags: .*)?\bNUMA node:? ([0-9]{1,4})\b')
_GROUP = re.compile(r'\s*(?:Flags: .*)?\bIOMMU group:? ([0-9]{1,10})\b')
_REGION = re.compile(
    r'\s*Region ([0-5]): Memory at (\S+) .*?\[size=([0-9]{1,4})([KMGT]?)\]'
)
_VFS = re.compile(
    r'.*\bTotal VFs: ([0-9]{1,5}), Number of VFs: ([0-9]{1,5})\b'
)
_UNITS = {'': 0, 'K': 10, 'M': 20, 'G': 30, 'T': 40}


@dataclasses.dataclass
class _Entry:
    """What is said of a function, so far."""

    address: str
    class_id: str | None = None
    interface: str | None = None
    ids: str = ''
    #: what lspci calls it, where it gives no ids
    called: str = ''
    subsystem: str | None = None
    is_bound: bool = False
    driver: str | None = None
    modules: tuple[str, ...] | None = None
    numa_node: int | None = None
    iommu_group: str | None = None
    bars: list[model.Bar] = dataclasses.field(default_factory=list)
    total_vfs: int | None = None
    number_of_vfs: int | None = None

    def function(self) -> model.Function:
        """Return it, once all lines are read."""
        subsystem = self.subsystem or ''
        # lspci names the driver first: there is none if it is not named.
        driver = self.driver
        if self.modules is not None and not self.is_bound:
            driver = ''
        return model.Function(
            self.address,
            self.ids[:4],
            self.ids[5:],
            self.class_id,
            self.interface,
            subsystem[:4] or None,
            subsystem[5:] or None,
            driver,
            self.modules,
            self.numa_node,
            self.iommu_group,
        )


def parse(text: str) -> model.Node:
    """Read what ``lspci`` printed, whatever stands around it.

    :raises ValueError: with a sentence that says what would be right
    """
    entries: dict[str, _Entry] = {}
    lines = tuple(lspci_lines.split(text))
    for entry in (*_listed(lines), *_tagged(lines)):
        if not entry.class_id and not entry.ids:
            continue
        if entry.address in entries:
            raise ValueError(
                _("has %s twice: give what one run of lspci printed")
                % entry.address
            )
        entries[entry.address] = entry
    if not entries:
        raise ValueError(
            _('has no line of lspci: give what "%s" prints') % _RIGHT
        )
    _complete(entries)
    vfs = _vfs(entries)
    functions = [e.function() for e in entries.values() if e.ids]
    return model.Node(
        has_iommu=True
        if any(entry.iommu_group for entry in entries.values())
        else None,
        gpus=tuple(
            _gpu(function, beside, entries, functions, vfs)
            for function, beside in gpus.cards(functions, vfs)
        ),
    )


def _listed(lines: Iterable[str]) -> Iterator[_Entry]:
    """Yield what has a line of its own, and lines with more below it."""
    entry = None
    for line in (*lines, ''):
        found = _HEAD.match(line)
        head = _head(found['address'], found['what']) if found else None
        if entry and (head or line.strip() in ('', '--')):
            yield entry
            entry = None
        if head:
            _check(head)
            entry = head
        elif entry:
            _add(entry, line)


def _head(address: str, what: str) -> _Entry | None:
    """Read the line of a function; None if it is something else."""
    address = address.lower()
    if address.count(':') == 1:
        address = f'0000:{address}'
    entry = _Entry(address)
    before, _between, after = what.rpartition(' (prog-if ')
    if prog_if := _PROG_IF.match(after) if before else None:
        entry.interface = prog_if[1].lower()
        what = before
    numeric = _NUMERIC.match(what)
    if numeric:
        entry.class_id = numeric['class_id'].lower()
        entry.ids = numeric['ids'].lower()
        return entry
    what = _REVISION.sub('', what).rstrip()
    named = _NAMED.fullmatch(what)
    if named is None:
        return None
    entry.called = named['rest']
    if not named['class_id']:
        entry.class_id = lspci_lines.CLASSES.get(named['name'])
        return entry
    entry.class_id = named['class_id'].lower()
    # -nn has both ids, or it is not what it printed.
    ids = _LAST_IDS.search(what)
    entry.ids = ids[1].lower() if ids else ''
    return entry


def _check(head: _Entry) -> None:
    """Refuse a line in which there is more than one function.

    :raises ValueError: whose ids it has cannot be told
    """
    if head.class_id and _ADDRESS.search(head.called):
        raise ValueError(
            _(
                'has another address in the line of %(address)s: give what '
                '"%(right)s" prints, with its line breaks'
            )
            % {'address': head.address, 'right': _RIGHT}
        )


def _add(entry: _Entry, line: str) -> None:
    """Take what a line says below that of its function."""
    if found := _DRIVER.match(line):
        entry.is_bound, entry.driver = True, grammar.word(found[1])
    elif found := _MODULES.match(line):
        entry.modules = _modules(found[1].split(','))
    elif found := _SUBSYSTEM.match(line):
        entry.subsystem = found[1] and found[1].lower()
    elif found := _REGION.match(line):
        size = int(found[3]) << _UNITS[found[4]]
        entry.bars.append(
            model.Bar(int(found[1]), size, not found[2].startswith('<'))
        )
    elif found := _VFS.match(line):
        entry.total_vfs = int(found[1])
        entry.number_of_vfs = int(found[2])
    # The first two may stand in one line.
    if found := _NUMA.match(line):
        entry.numa_node = int(found[1])
    if found := _GROUP.match(line):
        entry.iommu_group = found[1]


def _modules(names: Iterable[str]) -> tuple[str, ...]:
    return grammar.words(grammar.module(name.strip()) for name in names)


def _tagged(lines: Iterable[str]) -> Iterator[_Entry]:
    """Yield the records of ``lspci -vmm``: a tag, a tab and a value a line."""
    record: dict[str, list[str]] = {}
    for line in (*lines, ''):
        found = re.fullmatch(r'\s*([A-Za-z]+):\t(.*)', line)
        if found and found[1] == 'Slot' and record:
            yield from _record(record)
            record = {}
        if found:
            record.setdefault(found[1], []).append(found[2].strip())
        elif not line.strip():
            yield from _record(record)
            record = {}


def _record(record: Mapping[str, list[str]]) -> Iterator[_Entry]:
    def one(tag: str) -> str:
        return record.get(tag, [''])[0]

    def hexes(tag: str) -> str:
        found = _LAST_ID.match(one(tag))
        return found[1].lower() if found else ''

    slot = _HEAD.match(f'{one("Slot")} -')
    if slot is None or not record.keys() >= {'Class', 'Vendor', 'Device'}:
        return
    entry = _head(slot['address'], '0000: 0000:0000')
    if entry is None:
        return
    entry.class_id = hexes('Class') or lspci_lines.CLASSES.get(one('Class'))
    entry.ids = _joined(hexes('Vendor'), hexes('Device'))
    entry.called = f'{one("Vendor")} {one("Device")}'
    entry.subsystem = _joined(hexes('SVendor'), hexes('SDevice')) or None
    prog_if = one('ProgIf').lower()
    if grammar.HEX2.fullmatch(prog_if):
        entry.interface = prog_if
    entry.is_bound = 'Driver' in record
    entry.driver = grammar.word(one('Driver'))
    if 'Module' in record:
        entry.modules = _modules(record['Module'])
    if re.fullmatch('[0-9]{1,4}', one('NUMANode')):
        entry.numa_node = int(one('NUMANode'))
    if grammar.NUMBER.fullmatch(one('IOMMUGroup')):
        entry.iommu_group = one('IOMMUGroup')
    yield entry


def _joined(first: str, second: str) -> str:
    return f'{first}:{second}' if first and second else ''


def _complete(entries: Mapping[str, _Entry]) -> None:
    """Give ids to what has only a name, as far as the name says them.

    :raises ValueError: a GPU, or what is beside one, has none that way
    """
    lacking = []
    for entry in entries.values():
        found = _DEVICE.fullmatch(entry.called)
        if not entry.ids and found:
            vendor_id = found['vendor_id'] or pci_names.vendor_named(
                found['vendor'] or ''
            )
            entry.ids = _joined(vendor_id or '', found['product_id'])
        if not entry.ids:
            lacking.append(entry)
    slots = {
        address.rpartition('.')[0]
        for address, entry in entries.items()
        if _may_be_gpu(entry)
    }
    for entry in lacking:
        if entry.address.rpartition('.')[0] in slots:
            raise ValueError(
                _(
                    "does not have the PCI ids of %(address)s: give what "
                    '"%(right)s" prints'
                )
                % {'address': entry.address, 'right': _RIGHT}
            )


def _may_be_gpu(entry: _Entry) -> bool:
    vendor_id = entry.ids[:4] or pci_names.vendor_of(entry.called) or ''
    return gpus.may_be(entry.class_id, vendor_id)


def _vfs(entries: Mapping[str, _Entry]) -> dict[str, str]:
    """Return VFs, each with its GPU, as far as addresses tell them.

    At the end of a PCIe link there is one device, whose number is 0. What is
    like it and has another number on its bus, or the same ids, is a VF of it.
    That says nothing of bus 0, which is no link.
    """
    found = {}
    for address, entry in entries.items():
        bus, _colon, place = address.rpartition(':')
        first = entries.get(f'{bus}:00.0')
        if (
            first is not None
            and place != '00.0'
            and not bus.endswith(':00')
            and entry.class_id in gpus.CLASSES
            and entry.class_id == first.class_id
            and entry.ids[:4] == first.ids[:4]
            and (entry.ids == first.ids or place[:2] != '00')
        ):
            found[address] = first.address
    return found


def _gpu(
    function: model.Function,
    beside: tuple[model.Function, ...],
    entries: Mapping[str, _Entry],
    functions: Iterable[model.Function],
    vfs: Mapping[str, str],
) -> model.Gpu:
    entry = entries[function.address]
    own = sorted(
        (f for f in functions if vfs.get(f.address) == function.address),
        key=gpus.order,
    )
    is_told = own or entry.number_of_vfs == 0
    return model.Gpu(
        function,
        beside,
        bars=tuple(entry.bars) or None,
        total_vfs=entry.total_vfs,
        vfs=tuple(map(model.VirtualFunction, own)) if is_told else None,
    )
