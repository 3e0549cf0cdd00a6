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

"""vGPU types of cards, as their facts tell them."""

from collections.abc import Iterable
from collections.abc import Iterator
import re
from typing import NamedTuple

from osc_gpu.data import vgpu_types
from osc_gpu.i18n import _
from osc_gpu.node import model
from osc_gpu.node import uses

NAME = re.compile('(?a:[A-Za-z0-9][A-Za-z0-9 _.-]{0,99})')
MDEV_ID = re.compile(r'(?a:[A-Za-z0-9]+-[A-Za-z0-9_.-]+)')
#: What NVIDIA's driver calls its types, and what its VFIO driver does.
_NVIDIA_ID = re.compile('nvidia-[0-9]{1,9}')
_NUMBER = re.compile('[0-9]{1,9}')


class VgpuType(NamedTuple):
    """A vGPU type.

    :param id: nvidia-697 for a mediated device, or the number that a vendor's
        VFIO driver gives it
    :param name: GRID A100D-40C; '' if nothing tells it
    :param is_told: whether a card tells that it has it
    """

    id: str
    name: str
    is_mdev: bool
    is_told: bool = True

    @property
    def label(self) -> str:
        """A short name, A100D-40C."""
        known = vgpu_types.parse(self.name)
        return known.bare if known else self.name or f'vgpu-{self.id}'

    @property
    def mig_profile(self) -> str:
        """The MIG profile that it needs; '' for none, or if unknown."""
        known = vgpu_types.parse(self.name)
        return known.profile if known else ''

    @property
    def resource_class(self) -> str:
        """A resource class of its own."""
        text = self.id if self.is_mdev else self.label
        return 'CUSTOM_' + re.sub('[^A-Z0-9_]+', '_', text.upper())


_EXAMPLES = {
    uses.VGPU: 'nvidia-697',
    uses.VFIO_VGPU: '1155',
    None: _("nvidia-697, or 1155 from Linux 6.8 on"),
}

#: Types by the ids of a card.
Catalogue = dict[str, list[VgpuType]]


def read(nodes: Iterable[model.Node]) -> Catalogue:
    """Return the types by model, as cards of all nodes tell them.

    A card that is divided already does not tell all of its own.
    """
    found: Catalogue = {}
    for gpu in (gpu for node in nodes for gpu in node.gpus):
        known = found.setdefault(gpu.function.ids, [])
        known += [t for t in dict.fromkeys(_types(gpu)) if t not in known]
    for node in nodes:
        for gpu in node.gpus:
            known = found[gpu.function.ids]
            for source in _sources(gpu):
                number = source.vendor_type if source else None
                if number in (None, '0') or any(number == t.id for t in known):
                    continue
                known.append(VgpuType(str(number), '', False))
    return found


def find(
    node: model.Node, gpu: model.Gpu, text: str, types: Catalogue
) -> VgpuType | None:
    """Return a type of a card by its id or name; None if it has it not.

    Where facts cannot tell, a well-formed id of the kind that the kernel has
    is taken for one.
    """
    known = _known(node, gpu, types)
    for found in known:
        if text == found.id or is_name(text, found.name):
            return found
    if known or not _may_be_id(node, gpu, text):
        return None
    is_told = any(source is not None for source in _sources(gpu))
    if is_told and vgpu_types.of_card(gpu.function.product_id) is None:
        return None
    return VgpuType(text, '', not _NUMBER.fullmatch(text), is_told=False)


def _known(
    node: model.Node, gpu: model.Gpu, types: Catalogue
) -> list[VgpuType]:
    """Return the types of a model that the kernel of a node has.

    A card of the same model in another node may have another kernel.
    """
    mode = uses.vgpu_mode(node, gpu)
    return [
        found
        for found in types.get(gpu.function.ids, [])
        if mode is None or found.is_mdev == (mode == uses.VGPU)
    ]


def _may_be_id(node: model.Node, gpu: model.Gpu, text: str) -> bool:
    """Tell whether a text is the id of a type, for a card that tells none."""
    mode = uses.vgpu_mode(node, gpu)
    if _NUMBER.fullmatch(text):
        return mode == uses.VFIO_VGPU or (
            mode is None and uses.needs_vfs(gpu) is True
        )
    is_nvidia = gpu.function.vendor_id == uses.NVIDIA
    grammar = _NVIDIA_ID if is_nvidia else MDEV_ID
    return (
        mode != uses.VFIO_VGPU
        and bool(grammar.fullmatch(text))
        and not vgpu_types.parse(text)
    )


def missing(
    node: model.Node, gpu: model.Gpu, text: str, types: Catalogue
) -> str:
    """Say why a card does not have a type, and what would be right."""
    known = _known(node, gpu, types)
    if known:
        right = ', '.join(
            f'{found.id} ({found.name})' if found.name else found.id
            for found in known
        )
        return _("%(address)s has no vGPU type %(type)s; it has %(right)s") % {
            'address': gpu.address,
            'type': text,
            'right': right,
        }
    table = vgpu_types.of_card(gpu.function.product_id)
    if table is not None and gpu.function.vendor_id == vgpu_types.VENDOR_ID:
        mode = uses.vgpu_mode(node, gpu)
        if mode == uses.VFIO_VGPU and _NVIDIA_ID.fullmatch(text):
            return _(
                "%(address)s has no vGPU type %(type)s: with this kernel its "
                "vGPUs are VFs of the vendor's VFIO driver, whose types have "
                "numbers, such as 1155"
            ) % {'address': gpu.address, 'type': text}
        if mode == uses.VGPU and _NUMBER.fullmatch(text):
            return _(
                "%(address)s has no vGPU type %(type)s: its vGPUs are "
                "mediated devices, whose types have ids such as nvidia-697"
            ) % {'address': gpu.address, 'type': text}
        if any(is_name(text, name) for name in table):
            return _(
                "%(address)s does not tell its vGPU types, so give the id of "
                "%(type)s, such as %(id)s"
            ) % {'address': gpu.address, 'type': text, 'id': _EXAMPLES[mode]}
        return _("%(address)s has no vGPU type %(type)s; it has %(right)s") % {
            'address': gpu.address,
            'type': text,
            'right': ', '.join(table),
        }
    return _(
        "%(address)s has no vGPU type %(type)s, nor any: it cannot be "
        "divided, or its driver for hosts is not loaded"
    ) % {'address': gpu.address, 'type': text}


def _sources(gpu: model.Gpu) -> list[model.Vgpus | None]:
    return [gpu.vgpus, *(vf.vgpus for vf in gpu.vfs or ())]


def _types(gpu: model.Gpu) -> Iterator[VgpuType]:
    """Yield the types that a card or its VFs tell of."""
    for source in _sources(gpu):
        if source is None:
            continue
        for mdev_type in source.mdev_types:
            yield VgpuType(mdev_type.id, _sound(mdev_type.name), True)
        for vendor_type in source.vendor_types or ():
            yield VgpuType(vendor_type.id, _sound(vendor_type.name), False)


def is_name(text: str, name: str) -> bool:
    bare = name.removeprefix('GRID ').removeprefix('NVIDIA ')
    return text.lower() in (name.lower(), bare.lower())


def _sound(name: str | None) -> str:
    """Return a name if files may have it, and '' otherwise.

    Templates of Ansible are among them.
    """
    return name if name and NAME.fullmatch(name) else ''
