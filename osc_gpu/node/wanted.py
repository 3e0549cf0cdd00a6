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

"""What a configuration is to offer, matched against the facts of nodes."""

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import re
from typing import NamedTuple

from osc_gpu.data import pci_names
from osc_gpu.i18n import _
from osc_gpu.node import host_division
from osc_gpu.node import host_values
from osc_gpu.node import model
from osc_gpu.node import releases
from osc_gpu.node import uses
from osc_gpu.node import vgpu_catalogue
from osc_gpu.node import wanted_vgpus

PCI = 'type-PCI'
PF = 'type-PF'
VF = 'type-VF'

#: nova/pci/request.py, _ALIAS_SCHEMA.
_MAX_NAME = 256


class AliasOption(NamedTuple):
    """What ``--alias`` asks for.

    :param ids: vendor and product, 10de:15f8; '' where the name has to do
    """

    name: str
    ids: str = ''


@dataclasses.dataclass(frozen=True)
class Alias:
    """A PCI alias, and the devices that it is for.

    :param ids: vendor and product, 10de:15f8
    :param device_type: PCI, PF or VF; None where facts cannot tell
    :param vgpu: the vGPU type that the VFs have, if they have one
    """

    name: str
    ids: str
    device_type: str | None = None
    vgpu: vgpu_catalogue.VgpuType | None = None


@dataclasses.dataclass(frozen=True)
class Offer:
    """What a node offers.

    :param passed: functions that servers get whole, by address
    :param vgpus: what its cards are divided in, by card and VF
    """

    node: model.Node
    passed: tuple[model.Function, ...] = ()
    vgpus: tuple[wanted_vgpus.Vgpu, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it has nothing of what is asked for."""
        return not self.passed and not self.vgpus

    @property
    def gpus(self) -> tuple[model.Gpu, ...]:
        """The cards that servers get, or get a part of."""
        passed = {function.address for function in self.passed}
        divided = {vgpu.gpu.address for vgpu in self.vgpus}
        return tuple(
            gpu
            for gpu in self.node.gpus
            if gpu.address in divided
            or any(
                f.address in passed for f in (gpu.function, *gpu.companions)
            )
        )


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a cloud of a release is to offer, by node."""

    release: releases.Release
    aliases: tuple[Alias, ...]
    offers: tuple[Offer, ...]

    @property
    def nodes(self) -> tuple[model.Node, ...]:
        """The nodes."""
        return tuple(offer.node for offer in self.offers)

    @property
    def gpus(self) -> tuple[model.Gpu, ...]:
        """The cards that servers get whole."""
        return tuple(
            gpu
            for offer in self.offers
            for gpu in offer.gpus
            if all(gpu != vgpu.gpu for vgpu in offer.vgpus)
        )

    @property
    def divisions(self) -> tuple[host_division.Division, ...]:
        """How the others are divided."""
        return tuple(
            division
            for offer in self.offers
            for division in wanted_vgpus.divisions(offer.vgpus)
        )

    @property
    def mdev_types(self) -> tuple[vgpu_catalogue.VgpuType, ...]:
        """The types of mediated devices, each once."""
        found = (
            vgpu.type
            for offer in self.offers
            for vgpu in offer.vgpus
            if vgpu.type.is_mdev
        )
        return tuple(dict.fromkeys(found))


def parse_alias(text: str) -> AliasOption:
    """Read ``<name>[=<vendor>:<product>]``.

    :raises ValueError: with a sentence that says what would be right
    """
    name, equals, ids = text.rpartition('=')
    if not equals:
        name, ids = text, ''
    if equals and not re.fullmatch('(?a:[0-9a-f]{4}:[0-9a-f]{4})', ids, re.I):
        raise ValueError(
            _(
                "%(text)r: %(ids)r are no ids; write <vendor>:<product> in "
                "hex, as in a100=10de:20b5"
            )
            % {'text': text[:80], 'ids': ids[:40]}
        )
    if (
        not 0 < len(name) <= _MAX_NAME
        or name != name.strip()
        or not name.isprintable()
        or set(name) & set(',:')
    ):
        raise ValueError(
            _(
                "%r is no alias: its name has 1 to 256 characters, no ',' or "
                "':', no control characters and no blanks around it"
            )
            % text[:80]
        )
    return AliasOption(name, ids.lower())


def match(
    nodes: Sequence[model.Node],
    alias_options: Sequence[AliasOption],
    vgpu_options: Sequence[wanted_vgpus.VgpuOption],
    release: releases.Release = releases.NEWEST,
) -> Wanted:
    """Return what options ask of nodes.

    :param nodes: one that is there twice is taken once; without its name
        nobody can tell it from others that are like it
    :raises ValueError: with a sentence: they ask for what the nodes do not
        have, or the release cannot
    """
    nodes = [
        node
        for index, node in enumerate(nodes)
        if node.hostname is None or node not in nodes[:index]
    ]
    if not alias_options and not vgpu_options:
        raise ValueError(
            _("say what the nodes are to offer: give --alias or --vgpu-type")
        )
    for node in nodes:
        host_values.check_node(node)
    names = [option.name for option in alias_options]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(_("--alias %r is there twice") % name)
    by_node = wanted_vgpus.match(nodes, vgpu_options, release)
    left = [
        _Left(
            node,
            tuple(
                gpu
                for gpu in node.gpus
                if all(gpu != vgpu.gpu for vgpu in vgpus)
            ),
        )
        for node, vgpus in zip(nodes, by_node, strict=True)
    ]
    matched = [_match_alias(option, left) for option in alias_options]
    offers = tuple(
        Offer(
            node,
            tuple(
                {
                    function.address: function
                    for _a, passed in matched
                    for function in passed[index]
                }.values()
            ),
            by_node[index],
        )
        for index, node in enumerate(nodes)
    )
    aliases = (*(a for a, _p in matched), *_of_vgpus(offers, names))
    return Wanted(release, aliases, offers)


class _Left(NamedTuple):
    """The cards of a node that are not divided."""

    node: model.Node
    gpus: tuple[model.Gpu, ...]


def _match_alias(
    option: AliasOption, nodes: Sequence[_Left]
) -> tuple[Alias, list[tuple[model.Function, ...]]]:
    """Return an alias, and by node the functions that are passed with it."""
    gpus = [gpu for left in nodes for gpu in left.gpus]
    if not option.ids:
        # What a host needs itself has to be named by its ids.
        gpus = list(uses.spare(gpus) or gpus)
    ids = option.ids or _ids_by_name(option.name, gpus)
    if any(gpu.function.ids == ids for gpu in gpus):
        whole = [gpu for gpu in gpus if gpu.function.ids == ids]
        free = [gpu for gpu in whole if not gpu.vfs]
        if not free:
            raise ValueError(
                _(
                    "--alias %(name)s: %(address)s has VFs, and a card is "
                    "passed whole without them; remove them, or divide it "
                    "with --vgpu-type"
                )
                % {'name': option.name, 'address': whole[0].address}
            )
        kind = _device_type(option.name, free)
        return Alias(option.name, ids, kind), [
            tuple(g.function for g in left.gpus if g in free) for left in nodes
        ]
    for device_type, kind_of in ((PCI, _companions), (VF, _vfs)):
        found = [
            tuple(f for f in kind_of(left.gpus) if f.ids == ids)
            for left in nodes
        ]
        if any(found):
            return Alias(option.name, ids, device_type), found
    raise ValueError(
        _("--alias %(name)s: no GPU is %(ids)s; there are %(models)s")
        % {'name': option.name, 'ids': ids, 'models': _models(gpus)}
    )


def _companions(gpus: Iterable[model.Gpu]) -> list[model.Function]:
    return [function for gpu in gpus for function in gpu.companions]


def _vfs(gpus: Iterable[model.Gpu]) -> list[model.Function]:
    return [vf.function for gpu in gpus for vf in gpu.vfs or ()]


def _ids_by_name(name: str, gpus: Sequence[model.Gpu]) -> str:
    """Return the ids of the one model that an alias can be for.

    It is the one with the alias' name in its own, as a word; or else the only
    one there is, unless the name is that of another.
    """
    ids = sorted({gpu.function.ids for gpu in gpus})
    word = re.compile(rf'(?<![^\W_]){re.escape(name)}(?![^\W_])', re.I)
    found = [i for i in ids if word.search(model_name(i))]
    if not found and len(ids) == 1 and not _is_other(name):
        found = ids
    if len(found) == 1:
        return found[0]
    texts = {'name': name, 'models': _models(gpus)}
    if found:
        raise ValueError(
            _(
                "--alias %(name)s matches more than one model of %(models)s: "
                "write which, as in %(name)s=%(ids)s"
            )
            % {**texts, 'ids': found[0]}
        )
    raise ValueError(
        _(
            "--alias %(name)s matches no model of %(models)s: write which, "
            "as in %(name)s=<vendor>:<product>"
        )
        % texts
    )


def _is_other(name: str) -> bool:
    """Tell whether an alias has the name of a model.

    People call aliases a1 and a2, which is a model too, without meaning it;
    and gpu, which is in the names of some.
    """
    is_like_one = len(name) > 2 and any(char.isdigit() for char in name)
    return is_like_one and bool(pci_names.vendors_called(name))


def model_name(ids: str) -> str:
    """Return the name of a model; '' if it is not known."""
    vendor_id, _colon, product_id = ids.partition(':')
    return pci_names.lookup(vendor_id, product_id) or ''


def _models(gpus: Iterable[model.Gpu]) -> str:
    found = sorted({gpu.function.ids for gpu in gpus})
    return ', '.join(
        f'{model_name(ids)} ({ids})' if model_name(ids) else ids
        for ids in found
    ) or _("none left")


def _device_type(name: str, gpus: Sequence[model.Gpu]) -> str | None:
    """Return what Nova takes cards for that it passes whole.

    A card that can have VFs is a PF, whether it has some or not: libvirt
    tells it by its SR-IOV capability (nova/virt/libvirt/host.py).

    :raises ValueError: some can have VFs, and some cannot
    """
    kinds = {
        PF if gpu.total_vfs else PCI
        for gpu in gpus
        if gpu.total_vfs is not None
    }
    if len(kinds) > 1:
        able = next(gpu.address for gpu in gpus if gpu.total_vfs)
        raise ValueError(
            _(
                "--alias %(name)s: %(address)s can have VFs and others of its "
                "model cannot, but an alias has one device type; set SR-IOV "
                "alike in the firmware of all nodes"
            )
            % {'name': name, 'address': able}
        )
    return kinds.pop() if kinds else None


def _of_vgpus(
    offers: Iterable[Offer], taken: Sequence[str]
) -> tuple[Alias, ...]:
    """Return the aliases of vGPUs that are VFs: an alias for each type.

    :raises ValueError: the name of one is taken
    """
    found = dict.fromkeys(
        Alias(vgpu.type.label, vgpu.function.ids, VF, vgpu.type)
        for offer in offers
        for vgpu in offer.vgpus
        if not vgpu.type.is_mdev and vgpu.function is not None
    )
    for alias in found:
        if alias.name in taken:
            raise ValueError(
                _("--alias %s is the name of a vGPU type: take another")
                % alias.name
            )
    return tuple(found)
