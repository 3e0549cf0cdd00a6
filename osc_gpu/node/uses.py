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

"""What a GPU is set up for, as far as its facts tell."""

from collections.abc import Collection
from collections.abc import Iterator
import re

from osc_gpu.data import pci_names
from osc_gpu.data import vgpu_types
from osc_gpu.node import model

PASSTHROUGH = 'passthrough'
VGPU = 'vgpu'
VFIO_VGPU = 'vfio-vgpu'
#: What a node's GPUs can be for: whole cards, vGPUs as mediated devices, vGPUs
#: as VFs that the vendor's VFIO driver made.
PURPOSES = (PASSTHROUGH, VGPU, VFIO_VGPU)
#: Neither: a driver of the host has it, and no vGPU is offered.
HOST = 'host'

NVIDIA = '10de'
AMD = '1002'
INTEL = '8086'

#: From Ampere on, NVIDIA's vGPUs are made on VFs.
_ON_VFS = re.compile('(?:GA|AD|GH|GB|GR)[0-9]')
#: From here on Linux has no mediated devices for NVIDIA's vGPUs on VFs.
_VENDOR_KERNEL = (6, 8)
#: Where a release of a distribution tells its kernel: made of RHEL, from
#: 10 on 6.12 and before that 5.14 or older; Ubuntu from 24.04 on 6.8.
_LIKE_RHEL = ('almalinux', 'centos', 'ol', 'rhel', 'rocky')
#: NVIDIA's vGPU manager takes none of these.
_OF_CONSUMERS = re.compile(r'\b(?:GeForce|TITAN)\b')
_ON_CARDS = re.compile('(?:GM|GP|GV|TU)[0-9]')


def is_vfio(driver: str | None) -> bool:
    """Tell whether a driver keeps a function for servers."""
    return driver == 'pci-stub' or 'vfio' in (driver or '')


def is_hosts(driver: str | None) -> bool:
    """Tell whether a driver is one that the host uses a function with."""
    return bool(driver) and not is_vfio(driver)


def is_mig_backed(name: str) -> bool:
    """Tell whether a vGPU type is a part of MIG, by its name."""
    known = vgpu_types.parse(name)
    return known is not None and bool(known.profile)


def of_functions(node: model.Node, addresses: Collection[str]) -> set[str]:
    """Return the addresses of cards, by those of any of their functions."""
    return {
        gpu.address
        for gpu in node.gpus
        for function in (
            gpu.function,
            *gpu.companions,
            *(vf.function for vf in gpu.vfs or ()),
        )
        if function.address in addresses
    }


def vgpus_of(gpu: model.Gpu) -> Iterator[tuple[model.Function, model.Vgpus]]:
    """Return what tells of vGPUs: the card's function, and its VFs."""
    if gpu.vgpus is not None:
        yield gpu.function, gpu.vgpus
    for vf in gpu.vfs or ():
        if vf.vgpus is not None:
            yield vf.function, vf.vgpus


def mdev_types(gpu: model.Gpu) -> Iterator[model.MdevType]:
    """Return the mdev types of a card and its VFs, each as often as it is."""
    for _function, vgpus in vgpus_of(gpu):
        yield from vgpus.mdev_types


def count_vgpus(gpu: model.Gpu) -> int:
    """Return how many vGPUs are made on a card and its VFs."""
    return sum(
        sum(type_.created for type_ in vgpus.mdev_types)
        + (vgpus.vendor_type not in (None, '0'))
        for _function, vgpus in vgpus_of(gpu)
    )


def has_mdev(gpu: model.Gpu) -> bool:
    """Tell whether vGPUs of a card are mediated devices."""
    return any(True for _type in mdev_types(gpu))


def has_vendor_vfio(gpu: model.Gpu) -> bool:
    """Tell whether vGPUs of a card are VFs of the vendor's VFIO driver."""
    return any(
        vgpus.vendor_types is not None for _function, vgpus in vgpus_of(gpu)
    )


def mode(gpu: model.Gpu) -> str | None:
    """Return what a card is set up for; None if that cannot be seen."""
    if has_mdev(gpu):
        return VGPU
    if has_vendor_vfio(gpu):
        return VFIO_VGPU
    driver = gpu.function.driver
    if not is_hosts(driver):
        return None if driver is None else PASSTHROUGH
    return HOST if tells_vgpus(gpu) else None


def needs_vfs(gpu: model.Gpu) -> bool | None:
    """Tell whether NVIDIA's vGPUs of a card are made on VFs.

    A T4 can have VFs, too, but none of its vGPUs is on one: the chip decides.
    """
    function = gpu.function
    name = pci_names.find(function.vendor_id, function.product_id)
    if name and _ON_VFS.match(name.device):
        return True
    if gpu.total_vfs == 0 or (name and _ON_CARDS.match(name.device)):
        return False
    return None


def vgpu_mode(node: model.Node, gpu: model.Gpu) -> str | None:
    """Return which kind of vGPUs a card has: VGPU or VFIO_VGPU.

    A driver that is not loaded does not tell it. Then the kernel does:
    NVIDIA's vGPUs on VFs are mediated devices before Linux 6.8, and VFs of
    its own VFIO driver from there on (Ubuntu 24.04, RHEL 10). Those on cards
    are always mediated devices.

    :returns: None if that cannot be told
    """
    mdev, vendor = has_mdev(gpu), has_vendor_vfio(gpu)
    if mdev or vendor:
        return None if mdev and vendor else VGPU if mdev else VFIO_VGPU
    needed = needs_vfs(gpu)
    if gpu.function.vendor_id != NVIDIA or needed is None:
        return None
    if not needed:
        return VGPU
    has_vendor = _has_vendor_kernel(node)
    if has_vendor is None:
        return None
    return VFIO_VGPU if has_vendor else VGPU


def _has_vendor_kernel(node: model.Node) -> bool | None:
    kernel = kernel_version(node)
    if kernel is not None:
        return kernel >= _VENDOR_KERNEL
    name, _dash, text = (node.distribution or '').partition('-')
    found = re.match('[0-9]{1,3}', text)
    if found is None:
        return None
    if name in _LIKE_RHEL:
        return int(found[0]) >= 10
    # Older ones may have a kernel of a newer one.
    return True if name == 'ubuntu' and int(found[0]) >= 24 else None


def may_have_vgpus(gpu: model.Gpu) -> bool:
    """Tell whether vGPU types of a card are known, or it offers some."""
    if has_mdev(gpu) or has_vendor_vfio(gpu):
        return True
    function = gpu.function
    return function.vendor_id == NVIDIA and (
        vgpu_types.of_card(function.product_id) is not None
    )


def has_manager(node: model.Node) -> bool:
    """Tell whether the driver of NVIDIA's vGPU manager is loaded."""
    return 'nvidia_vgpu_vfio' in (node.loaded or ())


def has_no_vgpus(node: model.Node, gpu: model.Gpu) -> bool:
    """Tell whether a card of which no vGPU type is known surely has none."""
    return (
        gpu.function.vendor_id != NVIDIA
        or _OF_CONSUMERS.search(model_of(gpu)) is not None
        or (
            gpu.function.driver == 'nvidia'
            and has_manager(node)
            and tells_vgpus(gpu)
        )
    )


def tells_vgpus(gpu: model.Gpu) -> bool:
    """Tell whether a card's vGPUs are to be seen, if it has any."""
    of_card = gpu.vgpus is not None
    of_vfs = gpu.vfs is not None and all(
        vf.vgpus is not None for vf in gpu.vfs
    )
    needed = needs_vfs(gpu)
    if needed is None:
        return of_card and of_vfs
    return of_vfs if needed else of_card


def is_integrated(gpu: model.Gpu) -> bool:
    """Tell whether a GPU is the processor's own, which shows the console."""
    _domain, bus, _rest = gpu.address.split(':')
    return gpu.function.vendor_id == INTEL and bus == '00'


def spare(gpus: Collection[model.Gpu]) -> tuple[model.Gpu, ...]:
    """Return GPUs that nobody has to name: not those that a host needs.

    One that shows the console is among them if there is no other model.
    """
    apart = tuple(gpu for gpu in gpus if not is_integrated(gpu))
    if len({gpu.function.ids for gpu in apart}) == 1:
        return apart
    return tuple(gpu for gpu in apart if not gpu.is_console)


def model_of(gpu: model.Gpu) -> str:
    """Return a card's name as shown to people; its ids if it has none."""
    function = gpu.function
    name = pci_names.lookup(function.vendor_id, function.product_id)
    return name or function.ids


def board_of(gpu: model.Gpu) -> str:
    """Return the ids of a card's subsystem, '' if they are not known."""
    function = gpu.function
    if not (function.subsystem_vendor_id and function.subsystem_product_id):
        return ''
    return f'{function.subsystem_vendor_id}:{function.subsystem_product_id}'


def kernel_version(node: model.Node) -> tuple[int, int] | None:
    """Return the version of a node's kernel: (6, 8) for 6.8.0-51-generic."""
    found = re.match(r'([0-9]{1,3})\.([0-9]{1,3})', node.kernel or '')
    return (int(found[1]), int(found[2])) if found else None
