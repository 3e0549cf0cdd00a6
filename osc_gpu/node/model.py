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

"""What a compute node is, as far as its source tells.

Whatever can be None is None where the source cannot tell it; nothing is
guessed.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Function:
    """A PCI function.

    :param address: domain:bus:slot.function in lower case, 0000:84:00.0
    :param vendor_id: four hex digits in lower case; likewise the other ids
    :param class_id: four hex digits, 0302 for a 3D controller
    :param interface: two hex digits, the programming interface of the class
    :param driver: the one that is bound; '' if none is
    :param modules: kernel modules that claim it
    :param numa_node: -1 if the machine has none
    """

    address: str
    vendor_id: str
    product_id: str
    class_id: str | None = None
    interface: str | None = None
    subsystem_vendor_id: str | None = None
    subsystem_product_id: str | None = None
    driver: str | None = None
    modules: tuple[str, ...] | None = None
    numa_node: int | None = None
    iommu_group: str | None = None

    @property
    def slot(self) -> str:
        """The address without the function: what is one card."""
        return self.address.rpartition('.')[0]

    @property
    def ids(self) -> str:
        """Vendor and product, as kernel arguments have them: 10de:15f8."""
        return f'{self.vendor_id}:{self.product_id}'


@dataclasses.dataclass(frozen=True)
class Bar:
    """A memory region of a function, or of all its VFs together.

    :param index: 0 to 5 of itself, 7 to 12 of its VFs
    :param size: bytes
    :param is_assigned: whether the firmware or the kernel found room for it
    """

    index: int
    size: int
    is_assigned: bool


@dataclasses.dataclass(frozen=True)
class MdevType:
    """A type of mediated device that a function can be divided into.

    :param id: its name in sysfs, nvidia-697
    :param name: its name for people, GRID A100D-40C
    :param available: how many more can be made
    :param created: how many there are
    """

    id: str
    name: str | None
    available: int
    created: int


@dataclasses.dataclass(frozen=True)
class VgpuType:
    """A vGPU type that a vendor's VFIO driver can give a VF.

    :param id: its number in sysfs, 1156
    :param name: its name for people, NVIDIA L40S-48Q
    """

    id: str
    name: str


@dataclasses.dataclass(frozen=True)
class Vgpus:
    """What a function tells of vGPUs.

    :param mdev_types: types of mediated devices; () if it has none
    :param vendor_types: types that the vendor's VFIO driver can give it now;
        None if it has no such driver
    :param vendor_type: the number of the type that it has; '0' for none
    """

    mdev_types: tuple[MdevType, ...] = ()
    vendor_types: tuple[VgpuType, ...] | None = None
    vendor_type: str | None = None


@dataclasses.dataclass(frozen=True)
class VirtualFunction:
    """A virtual function (VF) of a GPU."""

    function: Function
    vgpus: Vgpus | None = None


@dataclasses.dataclass(frozen=True)
class Mig:
    """Multi-Instance GPU (MIG): a card in hardware parts.

    :param is_enabled: None if only the driver knows
    :param instances: profiles of the parts, 1g.10gb; () if there are none,
        None if only the driver knows
    """

    is_enabled: bool | None = None
    instances: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A GPU: a function, what is on the card beside it, what it is parted in.

    :param companions: functions in the same slot: audio, USB, UCSI
    :param group: all else in its IOMMU group, bridges left out
    :param total_vfs: VFs that it can have; 0 without SR-IOV
    :param vfs: VFs that it has
    :param is_console: whether the firmware showed its messages on it, where
        the host's console is since then; None if that is not told
    """

    function: Function
    companions: tuple[Function, ...] = ()
    group: tuple[Function, ...] | None = None
    bars: tuple[Bar, ...] | None = None
    total_vfs: int | None = None
    vfs: tuple[VirtualFunction, ...] | None = None
    vgpus: Vgpus | None = None
    mig: Mig | None = None
    is_console: bool | None = None

    @property
    def address(self) -> str:
        """The address of its function."""
        return self.function.address


@dataclasses.dataclass(frozen=True)
class Node:
    """A machine with GPUs, or without.

    :param distribution: ID-VERSION_ID of its os-release, ubuntu-24.04
    :param kernel: its release, 6.8.0-51-generic
    :param command_line: the kernel's, in words
    :param cpu_vendor: intel or amd; '' for another
    :param has_iommu: whether the kernel uses an IOMMU
    :param secure_boot: None if its firmware cannot be asked
    :param loaded: kernel modules that are loaded, with underscores
    :param blacklisted: modules that modprobe's files or the command line
        forbid, with underscores
    :param vfio_ids: vendor:product of what vfio-pci is to take, by options of
        modprobe's files or the command line
    :param gpus: by address
    """

    hostname: str | None = None
    distribution: str | None = None
    kernel: str | None = None
    command_line: tuple[str, ...] | None = None
    cpu_vendor: str | None = None
    has_iommu: bool | None = None
    secure_boot: bool | None = None
    loaded: tuple[str, ...] | None = None
    blacklisted: tuple[str, ...] | None = None
    vfio_ids: tuple[str, ...] | None = None
    gpus: tuple[Gpu, ...] = ()
