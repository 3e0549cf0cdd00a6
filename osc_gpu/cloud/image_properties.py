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

"""Image properties that servers with a GPU heed, and the values they have.

All pure. Names and values are those of nova/objects/image_meta.py and
nova/objects/fields.py, the same from 2025.1 to 2026.2.
"""

from collections.abc import Mapping
import re

from osc_gpu.cloud import flavor_specs
from osc_gpu.i18n import _

ARCHITECTURE = 'hw_architecture'
CDROM_BUS = 'hw_cdrom_bus'
DISK_BUS = 'hw_disk_bus'
FIRMWARE_TYPE = 'hw_firmware_type'
HIDE_HYPERVISOR = 'img_hide_hypervisor_id'
MACHINE_TYPE = 'hw_machine_type'
MAXPHYSADDR_MODE = 'hw_maxphysaddr_mode'
MEM_ENCRYPTION = 'hw_mem_encryption'
NUMA_POLICY = 'hw_pci_numa_affinity_policy'
OS_DISTRO = 'os_distro'
OS_TYPE = 'os_type'
OS_VERSION = 'os_version'
SECURE_BOOT = 'os_secure_boot'
VIDEO_MODEL = 'hw_video_model'
VIOMMU_MODEL = 'hw_viommu_model'

#: Nova makes no server from an image where one of these has another value.
VALUES: Mapping[str, tuple[str, ...]] = {
    ARCHITECTURE: (
        'aarch64', 'alpha', 'armv6', 'armv7b', 'armv7l', 'cris', 'i686',
        'ia64', 'lm32', 'm68k', 'microblaze', 'microblazeel', 'mips',
        'mips64', 'mips64el', 'mipsel', 'openrisc', 'parisc', 'parisc64',
        'ppc', 'ppc64', 'ppc64le', 'ppcemb', 'ppcle', 's390', 's390x', 'sh4',
        'sh4eb', 'sparc', 'sparc64', 'unicore32', 'x86_64', 'xtensa',
        'xtensaeb',
    ),
    DISK_BUS: (
        'fdc', 'ide', 'lxc', 'sata', 'scsi', 'uml', 'usb', 'virtio', 'xen',
    ),
    FIRMWARE_TYPE: ('bios', 'uefi'),
    MAXPHYSADDR_MODE: ('emulate', 'passthrough'),
    NUMA_POLICY: ('legacy', 'preferred', 'required', 'socket'),
    OS_TYPE: ('linux', 'windows'),
    SECURE_BOOT: ('disabled', 'optional', 'required'),
    VIDEO_MODEL: (
        'bochs', 'cirrus', 'gop', 'none', 'qxl', 'vga', 'virtio', 'vmvga',
        'xen',
    ),
    VIOMMU_MODEL: ('auto', 'intel', 'smmuv3', 'virtio'),
}  # fmt: skip

#: Video models that Nova knows, and that KVM has not.
NOT_OF_KVM = ('gop', 'xen')

#: Older names that Nova reads where the present one is missing.
_LEGACY = {ARCHITECTURE: 'architecture', OS_DISTRO: 'vmware_ostype'}

#: Other words for architectures that Nova understands.
_ARCHITECTURES = {
    'amd64': 'x86_64',
    'i386': 'i686',
    'i486': 'i686',
    'i586': 'i686',
    'x86_32': 'i686',
    'x86_32p': 'i686',
}

_FALSE = ('0', 'f', 'false', 'off', 'n', 'no')


def names_of(key: str) -> tuple[str, ...]:
    """Return the names that Nova reads a property by, the first one first."""
    return (key, _LEGACY[key]) if key in _LEGACY else (key,)


def get(properties: Mapping[str, str], key: str) -> str:
    """Return a property as Nova reads it; '' if it is not set."""
    for name in names_of(key):
        if name in properties:
            return normalized(key, properties[name])
    return ''


def normalized(key: str, value: str) -> str:
    """Return the value that Nova takes a value for."""
    if key in (ARCHITECTURE, OS_TYPE):
        value = value.lower()
    return _ARCHITECTURES.get(value, value) if key == ARCHITECTURE else value


def is_boolean(value: str) -> bool:
    """Tell whether Nova takes a value for true or false for its own sake.

    Anything else is false to it.
    """
    return flavor_specs.is_true(value) or value.strip().lower() in _FALSE


def is_q35(machine_type: str) -> bool:
    """Tell whether a machine type is a version of q35, as Nova does."""
    return 'q35' in machine_type


def is_i440fx(machine_type: str) -> bool:
    """Tell whether a machine type is one of x86 without PCIe."""
    return not is_q35(machine_type) and bool(
        re.match('pc(-|$)', machine_type) or 'i440fx' in machine_type
    )


def is_machine_type(value: str) -> bool:
    """Tell whether QEMU may have a machine type of that name.

    Nova takes any text, as there are new ones in every release of QEMU.
    """
    return bool(re.fullmatch('[A-Za-z0-9][A-Za-z0-9._+-]{0,254}', value))


def check_machine_type(text: str) -> str:
    """Return a machine type if QEMU may have one of that name.

    :raises ValueError: with a sentence that says what would be right
    """
    if is_machine_type(text):
        return text
    raise ValueError(
        _(
            "'%s' is no machine type: right are q35, pc, virt or one with a "
            "version, such as pc-q35-9.0"
        )
        % text
    )


def recommended(properties: Mapping[str, str]) -> dict[str, str]:
    """Return what an image lacks that is good for any GPU.

    But for what might keep its system from booting, as another firmware.
    """
    is_x86 = get(properties, ARCHITECTURE) in ('', 'x86_64')
    if is_x86 and not get(properties, MACHINE_TYPE):
        return {MACHINE_TYPE: 'q35'}
    return {}
