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

"""The PCI devices of a node, as its sysfs tells them.

The kernel's Documentation/ABI/testing/sysfs-bus-pci says what the files are,
Documentation/driver-api/vfio-mediated-device.rst those of mediated devices,
NVIDIA's vGPU documentation those of its VFIO driver.

Of a device that is no GPU, and beside none, one file and one link are read.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import re

from osc_gpu.i18n import _
from osc_gpu.node import gpus
from osc_gpu.node import grammar
from osc_gpu.node import kernel
from osc_gpu.node import model
from osc_gpu.node import nvidia
from osc_gpu.node import roots

DEVICES = 'sys/bus/pci/devices'
GROUPS = 'sys/kernel/iommu_groups'

#: Lines of ``resource``: regions of the function, then of all its VFs. The
#: one between them is a ROM (include/linux/pci.h).
_REGIONS = (*range(6), *range(7, 13))
#: include/linux/ioport.h
_IORESOURCE_MEM = 0x200
_IORESOURCE_UNSET = 0x20000000
_BRIDGES = '06'
#: drivers/vfio/group.c
_NO_IOMMU = 'vfio-noiommu'


@dataclasses.dataclass(frozen=True)
class Device:
    """A PCI function, and where its files are."""

    function: model.Function
    folder: roots.Folder
    modalias: str | None = None


def devices(root: roots.Root) -> dict[str, Device]:
    """Read what every PCI function is, by address.

    :raises ValueError: they are not to be read there
    """
    folder = root.at(DEVICES)
    names = folder.names()
    if names is None:
        raise ValueError(
            _("has no folder %s that can be read: give a root folder")
            % DEVICES
        )
    groups = _groups(root)
    found = {}
    for name in names:
        if grammar.ADDRESS.fullmatch(name):
            device = _device(folder.folder(name), name, groups)
            # One that went away meanwhile is not missed.
            if device is None and name in (folder.names() or ()):
                raise ValueError(
                    _(
                        "does not tell what %s is: a copy of a machine's /sys "
                        "needs /sys/devices, too"
                    )
                    % f'{DEVICES}/{name}'
                )
            if device:
                found[name] = device
    return found


def has_iommu(root: roots.Root, found: Iterable[Device]) -> bool | None:
    """Tell whether the kernel has put devices into IOMMU groups.

    VFIO without an IOMMU, which a parameter of it allows, makes groups of its
    own, and names them.
    """
    groups = {device.function.iommu_group for device in found} - {None}
    if groups:
        names = (root.at(f'{GROUPS}/{group}').text('name') for group in groups)
        return any((name or '').strip() != _NO_IOMMU for name in names)
    others = root.at(GROUPS).names()
    return None if others is None else bool(others)


def _groups(root: roots.Root) -> dict[str, str]:
    """Return IOMMU groups by address, where links are not links any more.

    A copy that has folders in the place of links tells a device's group only
    from the other side.
    """
    folder = root.at(GROUPS)
    name = next(iter(root.at(DEVICES).names() or ()), '')
    if root.at(f'{DEVICES}/{name}').link('iommu_group'):
        return {}
    return {
        address: group
        for group in folder.names() or ()
        for address in root.at(f'{GROUPS}/{group}/devices').names() or ()
    }


def _device(
    folder: roots.Folder | None, address: str, groups: Mapping[str, str]
) -> Device | None:
    """Return what a device's files say that it is; None if they do not."""
    if folder is None:
        return None
    says = _uevent(folder) or _files(folder)
    ids = says.get('PCI_ID', '').lower()
    if not grammar.IDS.fullmatch(ids):
        return None
    vendor_id, _colon, product_id = ids.partition(':')
    class_id = says.get('PCI_CLASS', '').lower().zfill(6)
    if not re.fullmatch('[0-9a-f]{6}', class_id):
        return None
    subsystem = says.get('PCI_SUBSYS_ID', '').lower()
    is_told = grammar.IDS.fullmatch(subsystem)
    group = folder.link('iommu_group') or groups.get(address, '')
    function = model.Function(
        address,
        vendor_id,
        product_id,
        class_id[:4],
        class_id[4:],
        subsystem[:4] if is_told else None,
        subsystem[5:] if is_told else None,
        driver=_driver(folder, says),
        iommu_group=group if grammar.NUMBER.fullmatch(group) else None,
    )
    return Device(function, folder, grammar.line(says.get('MODALIAS')))


def _uevent(folder: roots.Folder) -> dict[str, str]:
    text = folder.text('uevent') or ''
    says = dict(
        line.split('=', 1) for line in text.splitlines() if '=' in line
    )
    # What the kernel does not name there is not bound.
    return {'DRIVER': '', **says} if 'PCI_ID' in says else {}


def _files(folder: roots.Folder) -> dict[str, str]:
    """Return what uevent would say, from files for each of it."""

    def hexes(name: str) -> str:
        return (folder.text(name) or '').strip().removeprefix('0x')

    return {
        'PCI_CLASS': hexes('class'),
        'PCI_ID': f'{hexes("vendor")}:{hexes("device")}',
        'PCI_SUBSYS_ID': (
            f'{hexes("subsystem_vendor")}:{hexes("subsystem_device")}'
        ),
        'MODALIAS': folder.text('modalias') or '',
    }


def _driver(folder: roots.Folder, says: Mapping[str, str]) -> str | None:
    """Return the driver that is bound; '' if none is."""
    if 'DRIVER' in says:
        return grammar.word(says['DRIVER']) if says['DRIVER'] else ''
    if 'driver' in (folder.names() or ()):
        return grammar.word(folder.link('driver'))
    return ''


class Reader:
    """Reads all that is told of GPUs, among the devices of a node."""

    def __init__(
        self,
        root: roots.Root,
        found: Mapping[str, Device],
        aliases: kernel.Aliases,
    ) -> None:
        """Take what is known of every device."""
        self._found = found
        self._aliases = aliases
        self._nvidia = nvidia.Driver(root)
        self._members: dict[str, list[str]] = {}
        for address, device in found.items():
            group = device.function.iommu_group
            if group is not None:
                self._members.setdefault(group, []).append(address)
        self._done: dict[str, model.Function] = {}

    def gpus(self) -> tuple[model.Gpu, ...]:
        """Read the GPUs."""
        vfs = frozenset(
            address
            for address, device in self._found.items()
            if device.function.class_id in gpus.CLASSES
            and _is_vf(device.folder)
        )
        functions = (device.function for device in self._found.values())
        return tuple(
            self._gpu(function.address, beside)
            for function, beside in gpus.cards(functions, vfs)
        )

    def _gpu(
        self, address: str, beside: Iterable[model.Function]
    ) -> model.Gpu:
        folder = self._found[address].folder
        names = folder.names()
        function = self._function(address)
        total_vfs = None
        if names is not None:
            total_vfs = (
                folder.number('sriov_totalvfs')
                if 'sriov_totalvfs' in names
                else 0
            )
        return model.Gpu(
            function,
            tuple(self._function(other.address) for other in beside),
            self._group(function),
            _bars(folder),
            total_vfs,
            self._vfs(folder, names),
            _vgpus(folder, names),
            self._nvidia.mig(address),
            _is_console(function, folder, names),
        )

    def _function(self, address: str) -> model.Function:
        """Read the rest of what there is to know of a function."""
        if address not in self._done:
            device = self._found[address]
            numa_node = device.folder.number('numa_node')
            self._done[address] = dataclasses.replace(
                device.function,
                modules=self._aliases.of(device.modalias),
                numa_node=None
                if numa_node is None or numa_node < -1
                else numa_node,
            )
        return self._done[address]

    def _group(
        self, function: model.Function
    ) -> tuple[model.Function, ...] | None:
        if function.iommu_group is None:
            return None
        found = (
            self._function(address)
            for address in self._members[function.iommu_group]
            if address != function.address
        )
        return tuple(
            sorted(
                (f for f in found if (f.class_id or '')[:2] != _BRIDGES),
                key=gpus.order,
            )
        )

    def _vfs(
        self, folder: roots.Folder, names: Collection[str] | None
    ) -> tuple[model.VirtualFunction, ...] | None:
        if names is None:
            return None
        found = []
        for name in names:
            if re.fullmatch('virtfn[0-9]+', name):
                vf = self._found.get(_slot(folder, name))
                if vf is None:
                    return None
                found.append(vf)
        return tuple(
            model.VirtualFunction(
                self._function(vf.function.address),
                _vgpus(vf.folder, vf.folder.names()),
            )
            for vf in sorted(found, key=lambda vf: gpus.order(vf.function))
        )


def _is_console(
    function: model.Function,
    folder: roots.Folder,
    names: Collection[str] | None,
) -> bool | None:
    """Tell whether the console is on a GPU; only VGA has a file on that."""
    if names is None:
        return None
    if 'boot_vga' in names:
        number = folder.number('boot_vga')
        return None if number is None else bool(number)
    return None if function.class_id == gpus.VGA else False


def _is_vf(folder: roots.Folder) -> bool:
    return folder.link('physfn') is not None or 'physfn' in (
        folder.names() or ()
    )


def _slot(folder: roots.Folder, name: str) -> str:
    """Return the address of a device that a link, or a copy of it, is to."""
    address = folder.link(name)
    if address is None:
        beyond = folder.folder(name)
        address = _uevent(beyond).get('PCI_SLOT_NAME') if beyond else None
    return address or ''


def _bars(folder: roots.Folder) -> tuple[model.Bar, ...] | None:
    """Read the memory regions of a function, and those of its VFs.

    One that the kernel has given up is a line of zeros: of it nothing is
    known, not even the size.
    """
    text = folder.text('resource')
    if text is None:
        return None
    found = []
    for index, line in enumerate(text.splitlines()):
        words = re.findall(r'\b0x([0-9a-f]{1,16})\b', line)
        if len(words) != 3:
            return None
        start, end, flags = (int(word, 16) for word in words)
        if index in _REGIONS and flags & _IORESOURCE_MEM and end > start:
            is_assigned = bool(start) and not flags & _IORESOURCE_UNSET
            found.append(model.Bar(index, end - start + 1, is_assigned))
    return tuple(found)


def _vgpus(
    folder: roots.Folder, names: Collection[str] | None
) -> model.Vgpus | None:
    """Read what a function can be divided into; None if that is not told."""
    if names is None:
        return None
    types: tuple[model.MdevType, ...] | None = ()
    if 'mdev_supported_types' in names:
        types = _mdev_types(folder.folder('mdev_supported_types'))
    if types is None:
        return None
    if 'nvidia' not in names:
        return model.Vgpus(types)
    vendor_types, vendor_type = nvidia.vgpu_types(folder.folder('nvidia'))
    return model.Vgpus(types, vendor_types, vendor_type)


def _mdev_types(
    folder: roots.Folder | None,
) -> tuple[model.MdevType, ...] | None:
    names = folder.names() if folder else None
    if folder is None or names is None:
        return None
    found = []
    for name in sorted(names, key=lambda name: (len(name), name)):
        one = folder.folder(name)
        available = one.number('available_instances') if one else None
        inside = one.folder('devices') if one else None
        created = inside.names() if inside else None
        if not grammar.word(name) or one is None:
            continue
        if available is None or available < 0:
            return None
        found.append(
            model.MdevType(
                name,
                grammar.line(one.text('name')),
                available,
                len(created or ()),
            )
        )
    return tuple(found)
