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

"""Which vGPUs cards are to be divided in, matched against their facts."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import re
from typing import NamedTuple

from osc_gpu.data import vgpu_types
from osc_gpu.i18n import _
from osc_gpu.node import host_division
from osc_gpu.node import model
from osc_gpu.node import releases

_TYPE = re.compile('(?a:[A-Za-z0-9][A-Za-z0-9 _.-]{0,99})')
_ID = re.compile(r'(?a:[A-Za-z0-9]+-[A-Za-z0-9_.-]+)')
_ADDRESS = re.compile(
    r'(?a:(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7])', re.I
)


class VgpuOption(NamedTuple):
    """What ``--vgpu-type`` asks for.

    :param type: id or name of a type
    :param addresses: of cards or VFs; () for all cards that can have it
    """

    type: str
    addresses: tuple[str, ...] = ()


class VgpuType(NamedTuple):
    """A vGPU type.

    :param id: nvidia-697 for a mediated device, or the number that a vendor's
        VFIO driver gives it
    :param name: GRID A100D-40C; '' if nothing tells it
    """

    id: str
    name: str
    is_mdev: bool

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


@dataclasses.dataclass(frozen=True)
class Vgpu:
    """A vGPU that a card is to have.

    :param index: of the VF that it is on; None for the card itself
    :param function: the VF, or the card's; None for a VF that is not there
    """

    type: VgpuType
    gpu: model.Gpu
    index: int | None
    function: model.Function | None


_Catalogue = dict[str, list[VgpuType]]


def parse(text: str) -> VgpuOption:
    """Read ``<type>[=<address>[,<address>...]]``.

    :raises ValueError: with a sentence that says what would be right
    """
    name, equals, rest = text.partition('=')
    if not _TYPE.fullmatch(name) or name != name.strip():
        raise ValueError(
            _("%r is no vGPU type, such as nvidia-697 or A100D-40C")
            % text[:80]
        )
    addresses = []
    for address in rest.split(',') if equals else ():
        if not _ADDRESS.fullmatch(address):
            raise ValueError(
                _("%(text)r: %(address)r is no PCI address, as 0000:65:00.4")
                % {'text': text[:80], 'address': address[:40]}
            )
        domain = '0000:' if address.count(':') == 1 else ''
        addresses.append(f'{domain}{address}'.lower())
    return VgpuOption(name, tuple(dict.fromkeys(addresses)))


def match(
    nodes: Sequence[model.Node],
    options: Sequence[VgpuOption],
    release: releases.Release,
) -> list[tuple[Vgpu, ...]]:
    """Return the vGPUs of each node.

    :raises ValueError: with a sentence: the nodes do not have what is asked
        for, or the release cannot
    """
    _check_options(options, release)
    types = _catalogue(nodes)
    found = [_of_node(node, options, types) for node in nodes]
    everything = [vgpu for vgpus in found for vgpu in vgpus]
    for vgpu in everything:
        if not _ID.fullmatch(vgpu.type.id) and not vgpu.type.id.isdecimal():
            raise ValueError(_("%r is no vGPU type") % vgpu.type.id[:80])
    for option in options:
        _check_found(option, everything, nodes, types)
    for vgpus in found:
        _check_cards(vgpus)
    if any(not vgpu.type.is_mdev for vgpu in everything):
        _need(releases.MANAGED, release, _("vGPUs that are VFs"))
    return found


def divisions(vgpus: Sequence[Vgpu]) -> Iterator[host_division.Division]:
    """Yield how each card is divided."""
    for gpu in dict.fromkeys(vgpu.gpu for vgpu in vgpus):
        here = [vgpu for vgpu in vgpus if vgpu.gpu == gpu]
        profiles = [vgpu.type.mig_profile for vgpu in here]
        yield host_division.Division(
            gpu,
            tuple(host_division.Vgpu(v.type.id, v.index) for v in here),
            tuple(profile for profile in profiles if profile),
        )


def _need(feature: str, release: releases.Release, what: str) -> None:
    if not releases.has(feature, release):
        raise ValueError(
            _("Nova of %(release)s has no %(what)s; %(first)s is the first")
            % {
                'release': release,
                'what': what,
                'first': releases.first(feature),
            }
        )


def _check_options(
    options: Sequence[VgpuOption], release: releases.Release
) -> None:
    if not options:
        return
    _need(releases.VGPUS, release, _("vGPUs"))
    if len(options) > 1:
        _need(releases.SEVERAL_TYPES, release, _("two vGPU types on a node"))
    if any(option.addresses for option in options):
        _need(releases.SEVERAL_TYPES, release, _("addresses of a vGPU type"))
    if sum(not option.addresses for option in options) > 1:
        raise ValueError(
            _(
                "of several --vgpu-type one at most goes without addresses: "
                "name cards or VFs, as in nvidia-697=0000:65:00.0"
            )
        )
    named = [address for option in options for address in option.addresses]
    for address in named:
        if named.count(address) > 1:
            raise ValueError(
                _("--vgpu-type: two types are asked of %s") % address
            )


def _of_node(
    node: model.Node, options: Sequence[VgpuOption], types: _Catalogue
) -> tuple[Vgpu, ...]:
    """Return the vGPUs of a node, by card and VF."""
    named = {a for option in options for a in option.addresses}
    found: list[Vgpu] = []
    for gpu in node.gpus:
        here = {gpu.address, *(vf.function.address for vf in gpu.vfs or ())}
        for option in options:
            if option.addresses:
                asked = here & {*option.addresses}
                found += _of_card(gpu, option, asked, types)
            elif not here & named and _find_type(gpu, option.type, types):
                found += _of_card(gpu, option, {gpu.address}, types)
    return tuple(
        sorted(
            found,
            key=lambda v: (v.gpu.address, -1 if v.index is None else v.index),
        )
    )


def _of_card(
    gpu: model.Gpu,
    option: VgpuOption,
    addresses: set[str],
    types: _Catalogue,
) -> Iterator[Vgpu]:
    """Yield the vGPUs of a type on a card, or on some of its VFs.

    :raises ValueError: the card does not have the type
    """
    if not addresses:
        return
    found = _find_type(gpu, option.type, types)
    if found is None:
        raise ValueError(_missing(gpu, option.type, types))
    if gpu.address not in addresses:
        for index, vf in enumerate(gpu.vfs or ()):
            if vf.function.address in addresses:
                yield Vgpu(found, gpu, index, vf.function)
        return
    most = vgpu_types.most(found.name) if found.name else None
    if not gpu.vfs and not gpu.total_vfs:
        for _i in range(_room(gpu, found) or most or 1):
            yield Vgpu(found, gpu, None, gpu.function)
        return
    functions = [vf.function for vf in gpu.vfs or ()]
    total = len(functions) or gpu.total_vfs or 0
    for index in range(min(most or total, total)):
        there = functions[index] if functions else None
        yield Vgpu(found, gpu, index, there)


def _room(gpu: model.Gpu, found: VgpuType) -> int:
    """Return how many a card without VFs says that it can have."""
    for mdev_type in gpu.vgpus.mdev_types if gpu.vgpus else ():
        if mdev_type.id == found.id:
            return mdev_type.available + mdev_type.created
    return 0


def _find_type(
    gpu: model.Gpu, text: str, types: _Catalogue
) -> VgpuType | None:
    """Return a type of a card by its id or name; None if it has it not.

    Where facts cannot tell, a well-formed id of a mediated device is taken
    for one.
    """
    known = types.get(gpu.function.ids, [])
    for found in known:
        if text == found.id or _same(text, found.name):
            return found
    if known or not _ID.fullmatch(text) or vgpu_types.parse(text):
        return None
    is_told = any(source is not None for source in _sources(gpu))
    if is_told and vgpu_types.of_card(gpu.function.product_id) is None:
        return None
    return VgpuType(text, '', True)


def _sources(gpu: model.Gpu) -> list[model.Vgpus | None]:
    return [gpu.vgpus, *(vf.vgpus for vf in gpu.vfs or ())]


def _catalogue(nodes: Iterable[model.Node]) -> _Catalogue:
    """Return the types by model, as cards of all nodes tell them.

    A card that is divided already does not tell all of its own.
    """
    found: _Catalogue = {}
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


def _types(gpu: model.Gpu) -> Iterator[VgpuType]:
    """Yield the types that a card or its VFs tell of."""
    for source in _sources(gpu):
        if source is None:
            continue
        for mdev_type in source.mdev_types:
            yield VgpuType(mdev_type.id, _sound(mdev_type.name), True)
        for vendor_type in source.vendor_types or ():
            yield VgpuType(vendor_type.id, _sound(vendor_type.name), False)


def _sound(name: str | None) -> str:
    """Return a name if files may have it, and '' otherwise.

    Templates of Ansible are among them.
    """
    return name if name and _TYPE.fullmatch(name) else ''


def _same(text: str, name: str) -> bool:
    bare = name.removeprefix('GRID ').removeprefix('NVIDIA ')
    return text.lower() in (name.lower(), bare.lower())


def _missing(gpu: model.Gpu, text: str, types: _Catalogue) -> str:
    known = types.get(gpu.function.ids, [])
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
        if any(_same(text, name) for name in table):
            return _(
                "%(address)s does not tell its vGPU types, so give the id of "
                "%(type)s, such as nvidia-697"
            ) % {'address': gpu.address, 'type': text}
        return _("%(address)s has no vGPU type %(type)s; it has %(right)s") % {
            'address': gpu.address,
            'type': text,
            'right': ', '.join(table),
        }
    return _(
        "%(address)s has no vGPU type %(type)s, nor any: it cannot be "
        "divided, or its driver for hosts is not loaded"
    ) % {'address': gpu.address, 'type': text}


def _check_found(
    option: VgpuOption,
    found: Iterable[Vgpu],
    nodes: Sequence[model.Node],
    types: _Catalogue,
) -> None:
    """Refuse an option that asks for what no node has."""
    there: set[str] = set()
    for gpu in (gpu for node in nodes for gpu in node.gpus):
        there.add(gpu.address)
        there.update(vf.function.address for vf in gpu.vfs or ())
    for address in option.addresses:
        if address not in there:
            raise ValueError(
                _("--vgpu-type %(type)s: no GPU or VF is at %(address)s")
                % {'type': option.type, 'address': address}
            )
    if not option.addresses and not any(
        option.type == vgpu.type.id or _same(option.type, vgpu.type.name)
        for vgpu in found
    ):
        raise ValueError(
            '; '.join(
                dict.fromkeys(
                    _missing(gpu, option.type, types)
                    for node in nodes
                    for gpu in node.gpus[:1]
                )
            )
        )


def _check_cards(vgpus: Sequence[Vgpu]) -> None:
    """Refuse what one card cannot be at once.

    :raises ValueError: with a sentence that names the card
    """
    for gpu in dict.fromkeys(vgpu.gpu for vgpu in vgpus):
        here = [vgpu for vgpu in vgpus if vgpu.gpu == gpu]
        profiles = [vgpu.type.mig_profile for vgpu in here]
        named = [p for v, p in zip(here, profiles, strict=True) if v.type.name]
        if any(named) and not all(named):
            raise ValueError(
                _(
                    "%s: a card is in MIG mode or time-sliced, but types of "
                    "both kinds are asked of it"
                )
                % gpu.address
            )
        vfs = [vgpu.index for vgpu in here if vgpu.index is not None]
        if len(set(vfs)) < len(vfs):
            raise ValueError(
                _(
                    "%s: two types are asked of one card; name its VFs, as "
                    "in nvidia-700=0000:17:00.4,0000:17:00.5"
                )
                % gpu.address
            )
        _check_mig(gpu, [profile for profile in profiles if profile])
        if len({v.type for v in here if not v.type.is_mdev}) > 1:
            raise ValueError(
                _(
                    "%s: its VFs are one inventory in Placement and need one "
                    "vGPU type (nova-compute refuses to start with two)"
                )
                % gpu.address
            )


def _check_mig(gpu: model.Gpu, profiles: Sequence[str]) -> None:
    """Refuse more MIG instances than a card has room for."""
    if gpu.function.vendor_id != vgpu_types.VENDOR_ID:
        return
    room = vgpu_types.mig_slices(gpu.function.product_id)
    known = vgpu_types.mig_profiles(gpu.function.product_id) or {}
    for profile in dict.fromkeys(profiles):
        most = known.get(profile)
        if most is not None and profiles.count(profile) > most:
            raise ValueError(
                _("%(address)s has room for %(most)d of %(profile)s at most")
                % {'address': gpu.address, 'most': most, 'profile': profile}
            )
    slices = sum(int(profile[0]) for profile in profiles)
    if room is not None and slices > room:
        raise ValueError(
            _("%(address)s has %(room)d slices, and %(profiles)s need more")
            % {
                'address': gpu.address,
                'room': room,
                'profiles': ', '.join(profiles),
            }
        )
