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

"""Writes what the kernel shows of a machine, below a folder of the test's.

Only what is read of it, in the kernel's own form: ``uevent`` has upper case
digits and no leading zeros, ``resource`` thirteen lines, links are relative.
"""

import dataclasses
import os
import pathlib
import uuid

MIB = 1 << 20
GIB = 1 << 30

#: Flags of regions: memory of 32 bits, of 64 that can be prefetched, ports,
#: and what has found no room.
MEM32 = 0x40200
MEM64 = 0x14220C
PORTS = 0x40101
UNSET = 0x20000000

_EFI = 'sys/firmware/efi/efivars'
_SECURE_BOOT = 'SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c'


@dataclasses.dataclass(frozen=True)
class Region:
    """A line of ``resource``."""

    index: int
    size: int
    flags: int = MEM64

    def line(self) -> str:
        start = 0 if self.flags & UNSET else (self.index + 1) << 40
        end = start + self.size - 1
        return f'0x{start:016x} 0x{end:016x} 0x{self.flags:016x}'


@dataclasses.dataclass(frozen=True)
class MdevType:
    id: str
    name: str
    available: int = 0
    created: int = 0


@dataclasses.dataclass(frozen=True)
class Device:
    """A PCI function.

    :param klass: six hex digits
    :param boot_vga: None if it has no such file, as 3D controllers
    :param vfs: those that it has; their places follow from the first one's
    :param vgpu_types: number and name, of the vendor's VFIO driver
    """

    address: str
    ids: str
    klass: str
    subsystem: str = '0000:0000'
    driver: str = ''
    numa_node: int = -1
    group: int | None = None
    regions: tuple[Region, ...] = ()
    parent: str = ''
    total_vfs: int | None = None
    vfs: tuple['Device', ...] = ()
    mdev_types: tuple[MdevType, ...] = ()
    vgpu_types: tuple[tuple[int, str], ...] | None = None
    vgpu_type: int = 0
    boot_vga: int | None = None


@dataclasses.dataclass(frozen=True)
class Machine:
    """A machine.

    :param release: ID and VERSION_ID of its os-release
    :param cpu: vendor_id of its processors; '' for those that have none
    :param secure_boot: None if it was booted by a BIOS
    :param loaded: modules, as lsmod lists them
    :param files: path and text of more files
    :param minors: address of a GPU and device minor, where NVIDIA's driver
        has it
    :param parts: device minor and numbers of its MIG GPU instances
    """

    hostname: str
    release: tuple[str, str]
    kernel: str
    command_line: str
    devices: tuple[Device, ...]
    cpu: str = 'GenuineIntel'
    secure_boot: bool | None = False
    loaded: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    minors: tuple[tuple[str, int], ...] = ()
    parts: tuple[tuple[int, tuple[int, ...]], ...] = ()


def write(machine: Machine, folder: pathlib.Path) -> pathlib.Path:
    """Write a machine's root folder; return it."""
    text = _Writer(folder)
    for name in ('sys/bus/pci/devices', 'sys/kernel/iommu_groups'):
        (folder / name).mkdir(parents=True)
    for device in machine.devices:
        text.device(device)
        for number, vf in enumerate(device.vfs):
            text.device(vf)
            text.vf(device, number, vf)
    text.machine(machine)
    text.nvidia(machine)
    for path, content in machine.files:
        text.put(path, content)
    return folder


class _Writer:
    def __init__(self, root: pathlib.Path) -> None:
        self._root = root
        self._places: dict[str, str] = {}

    def put(self, path: str, text: str) -> None:
        file = self._root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def link(self, path: str, target: str) -> None:
        file = self._root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.symlink_to(os.path.relpath(target, os.path.dirname(path)))

    def machine(self, machine: Machine) -> None:
        name, version = machine.release
        self.put('proc/sys/kernel/hostname', f'{machine.hostname}\n')
        self.put('proc/sys/kernel/osrelease', f'{machine.kernel}\n')
        self.put(
            'proc/cmdline',
            f'BOOT_IMAGE=/vmlinuz-{machine.kernel} root=/dev/sda1 ro '
            f'{machine.command_line}\n',
        )
        self.put(
            'proc/modules',
            ''.join(
                f'{name} 16384 0 - Live 0x0000000000000000\n'
                for name in machine.loaded
            ),
        )
        self.put(
            'proc/cpuinfo',
            f'processor\t: 0\nvendor_id\t: {machine.cpu}\ncpu family\t: 6\n'
            if machine.cpu
            else 'processor\t: 0\nCPU implementer\t: 0x41\n',
        )
        self.put(
            'usr/lib/os-release',
            f'NAME="{name.title()}"\nID={name}\nVERSION_ID="{version}"\n',
        )
        self.link('etc/os-release', 'usr/lib/os-release')
        self.put('etc/hostname', f'{machine.hostname}\n')
        (self._root / 'etc/modprobe.d').mkdir(exist_ok=True)
        (self._root / 'usr/lib/modprobe.d').mkdir()
        (self._root / 'sys/firmware/acpi').mkdir(parents=True)
        if machine.secure_boot is not None:
            (self._root / _EFI).mkdir(parents=True)
            (self._root / _EFI / _SECURE_BOOT).write_bytes(
                bytes([6, 0, 0, 0, machine.secure_boot])
            )

    def device(self, device: Device) -> None:
        domain = device.address.partition(':')[0]
        above = self._places.get(device.parent, f'sys/devices/pci{domain}:00')
        place = f'{above}/{device.address}'
        self._places[device.address] = place
        self.link(f'sys/bus/pci/devices/{device.address}', place)
        for name, text in _attributes(device).items():
            self.put(f'{place}/{name}', f'{text}\n')
        if device.driver:
            driver = f'sys/bus/pci/drivers/{device.driver}'
            (self._root / driver).mkdir(parents=True, exist_ok=True)
            self.link(f'{place}/driver', driver)
        if device.group is not None:
            group = f'sys/kernel/iommu_groups/{device.group}'
            self.link(f'{group}/devices/{device.address}', place)
            self.link(f'{place}/iommu_group', group)
        for mdev_type in device.mdev_types:
            self._mdev_type(f'{place}/mdev_supported_types', mdev_type)
        if device.vgpu_types is not None:
            self._vgpu_types(f'{place}/nvidia', device)

    def vf(self, device: Device, number: int, vf: Device) -> None:
        pf, place = self._places[device.address], self._places[vf.address]
        self.link(f'{pf}/virtfn{number}', place)
        self.link(f'{place}/physfn', pf)

    def _mdev_type(self, place: str, mdev_type: MdevType) -> None:
        folder = f'{place}/{mdev_type.id}'
        self.put(f'{folder}/name', f'{mdev_type.name}\n')
        self.put(f'{folder}/available_instances', f'{mdev_type.available}\n')
        self.put(f'{folder}/device_api', 'vfio-pci\n')
        (self._root / folder / 'devices').mkdir()
        for number in range(mdev_type.created):
            made = uuid.uuid5(uuid.NAMESPACE_URL, f'{folder}/{number}')
            (self._root / folder / 'devices' / str(made)).mkdir()

    def _vgpu_types(self, place: str, device: Device) -> None:
        lines = [f'{n:<5} : {name}\n' for n, name in device.vgpu_types or ()]
        self.put(
            f'{place}/creatable_vgpu_types',
            ''.join(['ID    : vGPU Name\n', *lines]),
        )
        self.put(f'{place}/current_vgpu_type', f'{device.vgpu_type}\n')

    def nvidia(self, machine: Machine) -> None:
        top = 'proc/driver/nvidia'
        for address, minor in machine.minors:
            self.put(
                f'{top}/gpus/{address}/information',
                f'Model: \t\t NVIDIA\nIRQ:   \t\t 91\n'
                f'Bus Location: \t {address}\nDevice Minor: \t {minor}\n',
            )
        for minor, numbers in machine.parts:
            mig = f'{top}/capabilities/gpu{minor}/mig'
            (self._root / mig).mkdir(parents=True)
            for number in numbers:
                self.put(
                    f'{mig}/gi{number}/access',
                    'DeviceFileMinor: 3\nDeviceFileMode: 256\n',
                )


def _attributes(device: Device) -> dict[str, str]:
    """Return the files of a device that are text of one kind or another."""
    vendor, product = device.ids.upper().split(':')
    sub_vendor, sub_product = device.subsystem.upper().split(':')
    klass = device.klass.upper()
    modalias = (
        f'pci:v0000{vendor}d0000{product}sv0000{sub_vendor}'
        f'sd0000{sub_product}bc{klass[:2]}sc{klass[2:4]}i{klass[4:]}'
    )
    uevent = [
        f'PCI_CLASS={klass.lstrip("0") or "0"}',
        f'PCI_ID={vendor}:{product}',
        f'PCI_SUBSYS_ID={sub_vendor}:{sub_product}',
        f'PCI_SLOT_NAME={device.address}',
        f'MODALIAS={modalias}',
    ]
    if device.driver:
        uevent.insert(0, f'DRIVER={device.driver}')
    lines = {region.index: region.line() for region in device.regions}
    nothing = ' '.join(['0x0000000000000000'] * 3)
    found = {
        'uevent': '\n'.join(uevent),
        'vendor': f'0x{vendor.lower()}',
        'device': f'0x{product.lower()}',
        'subsystem_vendor': f'0x{sub_vendor.lower()}',
        'subsystem_device': f'0x{sub_product.lower()}',
        'class': f'0x{device.klass}',
        'modalias': modalias,
        'numa_node': str(device.numa_node),
        'resource': '\n'.join(lines.get(n, nothing) for n in range(13)),
    }
    if device.total_vfs is not None:
        found['sriov_totalvfs'] = str(device.total_vfs)
        found['sriov_numvfs'] = str(len(device.vfs))
    if device.boot_vga is not None:
        found['boot_vga'] = str(device.boot_vga)
    return found
