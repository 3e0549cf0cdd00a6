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
from osc_gpu.node import uses
from osc_gpu.node import vgpu_catalogue
from osc_gpu.node import vgpu_room

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


@dataclasses.dataclass(frozen=True)
class Vgpu:
    """A vGPU that a card is to have.

    :param index: of the VF that it is on; None for the card itself
    :param function: the VF, or the card's; None for a VF that is not there
    :param is_counted: whether so many fit on the card, or were named; the
        others may be too many, or too few
    """

    type: vgpu_catalogue.VgpuType
    gpu: model.Gpu
    index: int | None
    function: model.Function | None
    is_counted: bool = True


def parse(text: str) -> VgpuOption:
    """Read ``<type>[=<address>[,<address>...]]``.

    :raises ValueError: with a sentence that says what would be right
    """
    name, equals, rest = text.partition('=')
    if not vgpu_catalogue.NAME.fullmatch(name) or name != name.strip():
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
    types = vgpu_catalogue.read(nodes)
    found = [_of_node(node, options, types) for node in nodes]
    everything = [vgpu for vgpus in found for vgpu in vgpus]
    for vgpu in everything:
        if (
            not vgpu_catalogue.MDEV_ID.fullmatch(vgpu.type.id)
            and not vgpu.type.id.isdecimal()
        ):
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


def check_counts(vgpus: Sequence[Vgpu], is_made: bool) -> None:
    """Refuse more vGPUs than a card has room for, or nobody knows how many.

    :param is_made: whether mediated devices are made, too; Nova itself makes
        them when servers need them, but takes any VF for a vGPU
    :raises ValueError: with a sentence that names the card
    """
    counted = [v for v in vgpus if is_made or not v.type.is_mdev]
    for gpu in dict.fromkeys(vgpu.gpu for vgpu in counted):
        on_vfs = (v for v in counted if v.gpu == gpu and v.index is not None)
        vgpu_room.check(gpu, [vgpu.type for vgpu in on_vfs])
    for vgpu in counted:
        if vgpu.is_counted:
            continue
        texts = {'address': vgpu.gpu.address, 'type': vgpu.type.id}
        if vgpu.index is None:
            raise ValueError(
                _(
                    "%(address)s: nothing tells how many vGPUs of type "
                    "%(type)s it can have; load its driver for hosts, and "
                    "read the node again"
                )
                % texts
            )
        raise ValueError(
            _(
                "%(address)s: nothing tells how many vGPUs of type %(type)s "
                "it can have; load its driver for hosts and read the node "
                "again, or name its VFs"
            )
            % texts
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
    node: model.Node,
    options: Sequence[VgpuOption],
    types: vgpu_catalogue.Catalogue,
) -> tuple[Vgpu, ...]:
    """Return the vGPUs of a node, by card and VF."""
    named = {a for option in options for a in option.addresses}
    found: list[Vgpu] = []
    for gpu in node.gpus:
        here = {gpu.address, *(vf.function.address for vf in gpu.vfs or ())}
        for option in options:
            if option.addresses:
                asked = here & {*option.addresses}
                found += _of_card(node, gpu, option, asked, types)
            elif not here & named:
                known = vgpu_catalogue.find(node, gpu, option.type, types)
                if known and not vgpu_room.is_kept_by_mig(gpu, known):
                    found += _of_card(node, gpu, option, {gpu.address}, types)
    return tuple(
        sorted(
            found,
            key=lambda v: (v.gpu.address, -1 if v.index is None else v.index),
        )
    )


def _of_card(
    node: model.Node,
    gpu: model.Gpu,
    option: VgpuOption,
    addresses: set[str],
    types: vgpu_catalogue.Catalogue,
) -> Iterator[Vgpu]:
    """Yield the vGPUs of a type on a card, or on some of its VFs.

    :raises ValueError: the card does not have the type
    """
    if not addresses:
        return
    found = vgpu_catalogue.find(node, gpu, option.type, types)
    if found is None:
        raise ValueError(vgpu_catalogue.missing(node, gpu, option.type, types))
    is_on_vfs = uses.needs_vfs(gpu) is not False
    if gpu.address not in addresses:
        if not is_on_vfs:
            raise ValueError(
                _(
                    "--vgpu-type %(type)s: none of the vGPUs of %(address)s "
                    "is on a VF; name the card itself"
                )
                % {'type': option.type, 'address': gpu.address}
            )
        for index, vf in enumerate(gpu.vfs or ()):
            if vf.function.address in addresses:
                yield Vgpu(found, gpu, index, vf.function)
        return
    most = vgpu_types.most(found.name) if found.name else None
    if not is_on_vfs or (not gpu.vfs and not gpu.total_vfs):
        room = _room(gpu, found) or most
        for _i in range(room or 1):
            yield Vgpu(found, gpu, None, gpu.function, bool(room))
        return
    functions = [vf.function for vf in gpu.vfs or ()]
    total = len(functions) or gpu.total_vfs or 0
    for index in range(min(most or total, total)):
        there = functions[index] if functions else None
        yield Vgpu(found, gpu, index, there, most is not None)


def _room(gpu: model.Gpu, found: vgpu_catalogue.VgpuType) -> int:
    """Return how many a card without VFs says that it can have."""
    for mdev_type in gpu.vgpus.mdev_types if gpu.vgpus else ():
        if mdev_type.id == found.id:
            return mdev_type.available + mdev_type.created
    return 0


def _check_found(
    option: VgpuOption,
    found: Iterable[Vgpu],
    nodes: Sequence[model.Node],
    types: vgpu_catalogue.Catalogue,
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
        option.type == vgpu.type.id
        or vgpu_catalogue.is_name(option.type, vgpu.type.name)
        for vgpu in found
    ):
        for node in nodes:
            for gpu in node.gpus:
                known = vgpu_catalogue.find(node, gpu, option.type, types)
                if known and vgpu_room.is_kept_by_mig(gpu, known):
                    raise ValueError(vgpu_room.mig_is_on(gpu, option.type))
        raise ValueError(
            '; '.join(
                dict.fromkeys(
                    vgpu_catalogue.missing(node, gpu, option.type, types)
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
        vgpu_room.check_mode(gpu, [vgpu.type for vgpu in here])
        vfs = [vgpu.index for vgpu in here if vgpu.index is not None]
        if len(set(vfs)) < len(vfs):
            raise ValueError(
                _(
                    "%s: two types are asked of one card; name its VFs, as "
                    "in nvidia-700=0000:17:00.4,0000:17:00.5"
                )
                % gpu.address
            )
        vgpu_room.check_mig(gpu, [vgpu.type for vgpu in here])
        if len({v.type for v in here if not v.type.is_mdev}) > 1:
            raise ValueError(
                _(
                    "%s: its VFs are one inventory in Placement and need one "
                    "vGPU type (nova-compute refuses to start with two)"
                )
                % gpu.address
            )
