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

"""Machines with GPUs, each as its kernel shows it.

``build`` writes the files of one; all go through the code that reads a real
machine's. Ids, classes, regions and types are those of the real cards.
"""

import dataclasses
import pathlib

from tests.unit.node import recorded
from tests.unit.node.recorded import Device
from tests.unit.node.recorded import GIB
from tests.unit.node.recorded import Machine
from tests.unit.node.recorded import MdevType
from tests.unit.node.recorded import MEM32
from tests.unit.node.recorded import MEM64
from tests.unit.node.recorded import MIB
from tests.unit.node.recorded import PORTS
from tests.unit.node.recorded import Region
from tests.unit.node.recorded import UNSET

#: A Tesla of Kepler to Turing: registers, memory, registers for guests.
_TESLA_16G = (
    Region(0, 16 * MIB, MEM32),
    Region(1, 16 * GIB),
    Region(3, 32 * MIB),
)
#: A card for displays: a window of its memory, and ports.
_DISPLAY = (
    Region(0, 16 * MIB, MEM32),
    Region(1, 256 * MIB),
    Region(3, 32 * MIB),
    Region(5, 128, PORTS),
)
_A100_80G = (
    Region(0, 16 * MIB, MEM32),
    Region(1, 128 * GIB),
    Region(3, 32 * MIB),
    Region(7, 4 * MIB, MEM32),
    Region(8, 64 * GIB),
    Region(10, 512 * MIB),
)
_MI300X = (
    Region(0, 256 * GIB),
    Region(2, 2 * MIB),
    Region(5, 512 * 1024, MEM32),
)

_ALIASES = """\
# Aliases extracted from modules themselves.
alias pci:v00001002d000074A1sv*sd*bc12sc00i00* amdgpu
alias pci:v000010DEd*sv*sd*bc03sc00i00* nouveau
alias pci:v000010DEd*sv*sd*bc03sc02i00* nouveau
alias pci:v000010DEd00001AD7sv*sd*bc*sc*i* i2c_nvidia_gpu
alias pci:v000010DEd*sv*sd*bc04sc03i00* snd_hda_intel
alias pci:v*d*sv*sd*bc0Csc03i30* xhci_pci
alias usb:v046DpC52B* hid_logitech_dj
"""
_NVIDIA_ALIASES = (
    _ALIASES
    + """\
alias pci:v000010DEd*sv*sd*bc03sc00i00* nvidia
alias pci:v000010DEd*sv*sd*bc03sc02i00* nvidia
alias pci:v000010DEd*sv*sd*bc03sc00i00* nvidia-drm
"""
)

_VFIO = ('vfio_pci', 'vfio_pci_core', 'vfio_iommu_type1', 'vfio', 'kvm')
_NOUVEAU_OFF = (
    'etc/modprobe.d/blacklist-nouveau.conf',
    '# Nothing but vfio-pci may have it.\n'
    'blacklist nouveau\noptions nouveau modeset=0\n',
)


def _aliases(kernel: str, text: str = _ALIASES) -> tuple[str, str]:
    return f'lib/modules/{kernel}/modules.alias', text


def _port(address: str, ids: str, group: int | None) -> Device:
    """A root port, or one of a switch."""
    return Device(address, ids, '060400', driver='pcieport', group=group)


def _bmc(address: str, group: int | None) -> Device:
    """The display chip of a management controller."""
    return Device(address, '1a03:2000', '030000', '15d9:086d', 'ast', 0, group)


def _k80() -> Machine:
    """Two cards of two GPUs each, as on devstack; nobody has them."""
    kernel = '4.4.0-78-generic'
    gpu = Device('', '10de:102d', '030200', '10de:106c', regions=_TESLA_16G)
    found = [
        Device('0000:00:00.0', '8086:6f00', '060000', group=0),
        _bmc('0000:0b:00.0', 20),
    ]
    group = 30
    for numa_node, (port, bus) in enumerate(
        (('00:03.0', 2), ('80:02.0', 0x84))
    ):
        root, up = f'0000:{port}', f'0000:{bus:02x}:00.0'
        downs = [f'0000:{bus + 1:02x}:{n}.0' for n in ('08', '10')]
        found.append(_port(root, '8086:6f08', group))
        found.append(
            dataclasses.replace(_port(up, '10b5:8747', group + 1), parent=root)
        )
        for number, down in enumerate(downs):
            found.append(
                dataclasses.replace(
                    _port(down, '10b5:8747', group + 2 + number), parent=up
                )
            )
            found.append(
                dataclasses.replace(
                    gpu,
                    address=f'0000:{bus + 2 + number:02x}:00.0',
                    parent=down,
                    numa_node=numa_node,
                    group=group + 4 + number,
                )
            )
        group += 10
    return Machine(
        'sas03',
        ('ubuntu', '16.04'),
        kernel,
        'intel_iommu=on iommu=pt pci=realloc pci=nocrs',
        tuple(found),
        secure_boot=None,
        loaded=('ast', 'kvm_intel', 'kvm'),
        files=(_aliases(kernel), _NOUVEAU_OFF),
    )


def _p100() -> Machine:
    """Two P100s under vfio-pci, as on TripleO."""
    kernel = '3.10.0-693.el7.x86_64'
    gpu = Device(
        '', '10de:15f8', '030200', '10de:118f', 'vfio-pci', 0, 0, _TESLA_16G
    )
    return Machine(
        'overcloud-compute-0',
        ('rhel', '7.4'),
        kernel,
        'console=tty0 quiet intel_iommu=on iommu=pt',
        (
            Device('0000:00:00.0', '8086:6f00', '060000', group=0),
            _port('0000:00:02.0', '8086:6f04', 1),
            dataclasses.replace(
                gpu, address='0000:04:00.0', parent='0000:00:02.0', group=27
            ),
            _port('0000:80:02.0', '8086:6f04', 2),
            dataclasses.replace(
                gpu,
                address='0000:82:00.0',
                parent='0000:80:02.0',
                group=41,
                numa_node=1,
            ),
        ),
        loaded=_VFIO,
        files=(
            _aliases(kernel),
            _NOUVEAU_OFF,
            (
                'etc/modprobe.d/vfio.conf',
                'options vfio-pci ids=10de:15f8 disable_vga=1\n',
            ),
        ),
    )


#: Types of an A100 80GB: time-sliced ones and how many fit, then MIG's.
_A100_SLICED = (
    (692, '4C', 20),
    (693, '8C', 10),
    (694, '10C', 8),
    (695, '16C', 5),
    (696, '20C', 4),
    (697, '40C', 2),
    (698, '80C', 1),
)
_A100_MIG = (
    (699, '1-10C'),
    (700, '2-20C'),
    (701, '3-40C'),
    (702, '4-40C'),
    (703, '7-80C'),
    (707, '1-10CME'),
)


def _a100_types(
    available: frozenset[int] = frozenset(), created: int = 0
) -> tuple[MdevType, ...]:
    """Types of a VF.

    :param available: of which one more can be made
    :param created: the one that there is
    """
    names = [(n, name) for n, name, _most in _A100_SLICED] + list(_A100_MIG)
    return tuple(
        MdevType(
            f'nvidia-{number}',
            f'GRID A100D-{name}',
            int(number in available),
            int(number == created),
        )
        for number, name in names
    )


def _a100(
    bus: int, group: int, vf_types: tuple[tuple[MdevType, ...], ...]
) -> Device:
    """An A100 80GB with a VF for each of these."""
    vf = Device('', '10de:20b5', '030200', '10de:1533', 'nvidia', bus // 0x40)
    places = range(4, 4 + len(vf_types))
    return Device(
        f'0000:{bus:02x}:00.0',
        '10de:20b5',
        '030200',
        '10de:1533',
        'nvidia',
        bus // 0x40,
        group,
        _A100_80G,
        total_vfs=16,
        vfs=tuple(
            dataclasses.replace(
                vf,
                address=f'0000:{bus:02x}:{place // 8:02x}.{place % 8}',
                group=group + place,
                mdev_types=types,
            )
            for place, types in zip(places, vf_types)
        ),
    )


_SLICED = frozenset(number for number, _name, _most in _A100_SLICED)
_VGPU_HOST = ('nvidia', 'nvidia_vgpu_vfio', 'mdev', *_VFIO)


def _a100_sriov() -> Machine:
    """One A100 with its VFs, none of them in use, and one without VFs."""
    kernel = '5.14.0-362.8.1.el9_3.x86_64'
    return Machine(
        'computegpu000',
        ('rocky', '9.3'),
        kernel,
        'iommu=pt amd_iommu=on',
        (
            Device('0000:00:00.0', '1022:1480', '060000', group=0),
            _bmc('0000:03:00.0', 5),
            _a100(0x17, 40, (_a100_types(_SLICED),) * 16),
            _a100(0x65, 80, ()),
        ),
        cpu='AuthenticAMD',
        loaded=_VGPU_HOST,
        files=(_aliases(kernel, _NVIDIA_ALIASES), _NOUVEAU_OFF),
        minors=(('0000:17:00.0', 0), ('0000:65:00.0', 1)),
        parts=((0, ()), (1, ())),
    )


def _a100_mig() -> Machine:
    """As on Kayobe: one A100 in MIG parts, one time-sliced; all in use."""
    kernel = '5.14.0-362.8.1.el9_3.x86_64'
    # Three of 2g.20gb and one of 1g.10gb are all there is of seven slices.
    parted = [_a100_types(created=n) for n in (700, 700, 700, 699)]
    sliced = [_a100_types(created=697)] * 2
    return Machine(
        'computegpu001',
        ('rocky', '9.3'),
        kernel,
        'intel_iommu=on iommu=pt',
        (
            Device('0000:00:00.0', '8086:09a2', '088000', group=0),
            _a100(0x17, 40, (*parted, *[_a100_types()] * 12)),
            _a100(0x65, 80, (*sliced, *[_a100_types()] * 14)),
        ),
        loaded=_VGPU_HOST,
        files=(_aliases(kernel, _NVIDIA_ALIASES), _NOUVEAU_OFF),
        minors=(('0000:17:00.0', 0), ('0000:65:00.0', 1)),
        parts=((0, (3, 4, 5, 13)), (1, ())),
    )


_L40S_TYPES = tuple(
    (1147 + number, f'NVIDIA L40S-{name}')
    for number, name in enumerate(
        ('1Q', '2Q', '3Q', '4Q', '6Q', '8Q', '12Q', '16Q', '24Q', '48Q')
    )
)


def _l40s() -> Machine:
    """Two L40S under a kernel that has only the vendor's VFIO for vGPUs.

    Of the first card two VFs have a vGPU of its half; beside them there is
    an NVMe disk in a domain that Intel's VMD made.
    """
    kernel = '6.8.0-51-generic'
    half = _L40S_TYPES[8]

    def card(bus: int, group: int, halves: int) -> Device:
        pf = Device(
            f'0000:{bus:02x}:00.0',
            '10de:26b9',
            '030200',
            '10de:1851',
            'nvidia',
            int(bus > 0x80),
            group,
            (
                Region(0, 16 * MIB, MEM32),
                Region(1, 64 * GIB),
                Region(3, 32 * MIB),
                Region(7, 8 * MIB, MEM32),
                Region(8, 64 * GIB),
                Region(10, 1 * GIB),
            ),
            total_vfs=32,
        )
        vfs = []
        for number in range(32):
            place = 4 + number
            has_one = number < halves
            left = (half,) if halves == 1 else ()
            vfs.append(
                dataclasses.replace(
                    pf,
                    address=f'0000:{bus:02x}:{place // 8:02x}.{place % 8}',
                    group=group + place,
                    regions=(),
                    total_vfs=None,
                    vgpu_types=()
                    if has_one
                    else left or (() if halves else _L40S_TYPES),
                    vgpu_type=half[0] if has_one else 0,
                )
            )
        return dataclasses.replace(pf, vfs=tuple(vfs))

    return Machine(
        'l40s-1',
        ('ubuntu', '24.04'),
        kernel,
        'intel_iommu=on iommu=pt',
        (
            Device('0000:00:00.0', '8086:09a2', '088000', group=0),
            Device('0000:e0:05.5', '8086:28c0', '010400', driver='vmd'),
            card(0x4A, 60, 2),
            card(0xB1, 100, 0),
            Device(
                '10000:e1:00.0', '144d:a80a', '010802', '144d:a801', 'nvme'
            ),
        ),
        secure_boot=True,
        loaded=('nvidia', 'nvidia_vgpu_vfio', *_VFIO),
        files=(_aliases(kernel, _NVIDIA_ALIASES), _NOUVEAU_OFF),
        minors=(('0000:4a:00.0', 0), ('0000:b1:00.0', 1)),
    )


def _rtx6000() -> Machine:
    """A Quadro RTX 6000 of four functions, none of them prepared."""
    kernel = '4.18.0-193.el8.x86_64'
    gpu = Device(
        '0000:3d:00.0',
        '10de:1e30',
        '030000',
        '10de:12ba',
        'nouveau',
        0,
        35,
        _DISPLAY,
        parent='0000:3c:00.0',
        boot_vga=0,
    )
    beside = [
        dataclasses.replace(
            gpu,
            address=f'0000:3d:00.{number}',
            ids=ids,
            klass=klass,
            driver=driver,
            regions=regions,
            boot_vga=None,
        )
        for number, ids, klass, driver, regions in (
            (
                1,
                '10de:10f7',
                '040300',
                'snd_hda_intel',
                (Region(0, 16 * 1024, MEM32),),
            ),
            (
                2,
                '10de:1ad6',
                '0c0330',
                'xhci_hcd',
                (Region(0, 256 * 1024), Region(2, 64 * 1024)),
            ),
            (
                3,
                '10de:1ad7',
                '0c8000',
                'nvidia-gpu',
                (Region(0, 4096, MEM32),),
            ),
        )
    ]
    return Machine(
        'gpu-rtx-1',
        ('centos', '8'),
        kernel,
        'crashkernel=auto rhgb quiet intel_iommu=on',
        (
            Device('0000:00:00.0', '8086:2020', '060000', group=0),
            Device(
                '0000:03:00.0',
                '102b:0536',
                '030000',
                '1028:08fd',
                'mgag200',
                boot_vga=1,
            ),
            _port('0000:3c:00.0', '8086:2030', 34),
            gpu,
            *beside,
        ),
        loaded=('nouveau', 'snd_hda_intel', 'i2c_nvidia_gpu', 'kvm'),
        files=(_aliases(kernel),),
    )


def _gtx1080() -> Machine:
    """GTX 1080s; the first is in one IOMMU group with a network card."""
    kernel = '4.6.0-1-amd64'
    gpu = Device(
        '0000:42:00.0',
        '10de:1b80',
        '030000',
        '1043:8591',
        'vfio-pci',
        1,
        33,
        _DISPLAY,
    )
    audio = dataclasses.replace(
        gpu,
        address='0000:42:00.1',
        ids='10de:10f0',
        klass='040300',
        driver='',
        regions=(Region(0, 16 * 1024, MEM32),),
    )
    port = _port('0000:40:02.0', '8086:0e04', 33)
    return Machine(
        'gpu-cloud-7',
        ('debian', '9'),
        kernel,
        'intel_iommu=on modprobe.blacklist=snd_hda_intel,nouveau '
        'vfio-pci.ids=10de:1b80',
        (
            Device('0000:00:00.0', '8086:0e00', '060000', group=0),
            port,
            gpu,
            audio,
            Device(
                '0000:43:00.0',
                '8086:1521',
                '020000',
                '1028:1f73',
                'igb',
                1,
                33,
            ),
            dataclasses.replace(port, address='0000:80:02.0', group=50),
            dataclasses.replace(gpu, address='0000:84:00.0', group=51),
            dataclasses.replace(audio, address='0000:84:00.1', group=51),
        ),
        secure_boot=None,
        loaded=('igb', *_VFIO),
        files=(_aliases(kernel),),
    )


def _mi300x() -> Machine:
    """Eight MI300X under AMD's driver."""
    kernel = '5.15.0-116-generic'
    gpu = Device(
        '',
        '1002:74a1',
        '120000',
        '1002:74a1',
        'amdgpu',
        regions=_MI300X,
        total_vfs=8,
    )
    buses = (0x05, 0x26, 0x46, 0x65, 0x85, 0xA6, 0xC6, 0xE5)
    return Machine(
        'mi300x-1',
        ('ubuntu', '22.04'),
        kernel,
        'amd_iommu=on iommu=pt pci=realloc=off',
        (
            Device('0000:00:00.0', '1022:14a4', '060000', group=0),
            _bmc('0000:02:00.0', 3),
            *(
                dataclasses.replace(
                    gpu,
                    address=f'0000:{bus:02x}:00.0',
                    numa_node=int(bus > 0x80),
                    group=20 + number,
                )
                for number, bus in enumerate(buses)
            ),
        ),
        cpu='AuthenticAMD',
        loaded=('amdgpu', 'amdttm', 'amdkcl', 'kvm_amd', 'kvm'),
        files=(_aliases(kernel),),
    )


def _h100_domain1() -> Machine:
    """An H100 in PCI domain 0001 of a machine with Arm processors."""
    kernel = '6.8.0-1021-nvidia-64k'
    return Machine(
        'altra-1',
        ('ubuntu', '24.04'),
        kernel,
        'iommu.passthrough=1',
        (
            Device('0000:00:00.0', '1def:e100', '060000', group=0),
            _port('0001:00:01.0', '1def:e101', 9),
            Device(
                '0001:01:00.0',
                '10de:2331',
                '030200',
                '10de:1626',
                'vfio-pci',
                0,
                10,
                (
                    Region(0, 16 * MIB),
                    Region(2, 128 * GIB),
                    Region(4, 32 * MIB),
                ),
                parent='0001:00:01.0',
                total_vfs=20,
            ),
        ),
        cpu='',
        loaded=_VFIO,
        files=(_aliases(kernel), _NOUVEAU_OFF),
    )


def _t4_no_iommu() -> Machine:
    """Two T4s of a kernel that uses no IOMMU; one's memory found no room."""
    kernel = '6.1.0-28-amd64'
    gpu = Device(
        '0000:3b:00.0',
        '10de:1eb8',
        '030200',
        '10de:12a2',
        'nouveau',
        0,
        None,
        (
            Region(0, 16 * MIB, MEM32),
            Region(1, 256 * MIB),
            Region(3, 32 * MIB),
            Region(7, 1 * MIB, MEM32),
            Region(8, 16 * GIB),
            Region(10, 512 * MIB),
        ),
        total_vfs=16,
    )
    return Machine(
        't4-1',
        ('debian', '12'),
        kernel,
        'quiet',
        (
            Device('0000:00:00.0', '8086:2020', '060000'),
            gpu,
            dataclasses.replace(
                gpu,
                address='0000:d8:00.0',
                numa_node=1,
                regions=(
                    Region(0, 16 * MIB, MEM32),
                    Region(1, 256 * MIB, MEM64 | UNSET),
                    Region(3, 32 * MIB),
                    Region(8, 16 * GIB, MEM64 | UNSET),
                ),
            ),
        ),
        secure_boot=True,
        loaded=('nouveau', 'kvm_intel', 'kvm'),
        files=(_aliases(kernel),),
    )


MACHINES = {
    'k80': _k80(),
    'p100': _p100(),
    'a100-sriov': _a100_sriov(),
    'a100-mig': _a100_mig(),
    'l40s': _l40s(),
    'rtx6000': _rtx6000(),
    'gtx1080': _gtx1080(),
    'mi300x': _mi300x(),
    'h100-domain1': _h100_domain1(),
    't4-no-iommu': _t4_no_iommu(),
}


def build(name: str, folder: pathlib.Path) -> pathlib.Path:
    """Write the root folder of a machine; return it.

    :param folder: is made, or empty
    """
    folder.mkdir(parents=True, exist_ok=True)
    return recorded.write(MACHINES[name], folder)
