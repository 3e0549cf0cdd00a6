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

"""What the checks of a node are about, and how they say what they found."""

from collections.abc import Iterator
import dataclasses
import functools

from osc_gpu import findings
from osc_gpu.i18n import _
from osc_gpu.node import host_plan
from osc_gpu.node import model
from osc_gpu.node import uses

Found = Iterator[findings.Finding]

_MOST = 4


@dataclasses.dataclass(frozen=True)
class Subject:
    """A node, and what its GPUs are to be for.

    :param gpus: those that are checked
    :param purpose: one of uses.PURPOSES, '' if that is open
    """

    node: model.Node
    gpus: tuple[model.Gpu, ...]
    purpose: str = ''

    @property
    def name(self) -> str:
        """What findings about the whole node call it."""
        return shown(self.node.hostname or _("this node"))

    @property
    def is_passthrough(self) -> bool:
        """Whether whole cards are to be given to servers."""
        return self.purpose == uses.PASSTHROUGH

    @property
    def is_vgpu(self) -> bool:
        """Whether vGPUs are, of either kind."""
        return self.purpose in (uses.VGPU, uses.VFIO_VGPU)

    @property
    def of_nvidia(self) -> tuple[model.Gpu, ...]:
        """The cards of NVIDIA."""
        return tuple(
            gpu for gpu in self.gpus if gpu.function.vendor_id == uses.NVIDIA
        )

    @functools.cached_property
    def foreign_ids(self) -> frozenset[str]:
        """Ids of what is on cards that are not checked."""
        checked = {gpu.address for gpu in self.gpus}
        return frozenset(
            function.ids
            for gpu in self.node.gpus
            if gpu.address not in checked
            for function in (gpu.function, *gpu.companions)
        )

    @functools.cached_property
    def plan(self) -> host_plan.Plan:
        """What config show makes of the node for passthrough, by ``ids``."""
        passed = [
            gpu
            for gpu in self.node.gpus
            if gpu.function.ids in self.ids and not gpu.vfs
        ]
        return host_plan.make(self.node, passed, ())

    @functools.cached_property
    def ids(self) -> tuple[str, ...]:
        """The ids that tell what is checked from all other cards."""
        found = dict.fromkeys(gpu.function.ids for gpu in self.gpus)
        return tuple(ids for ids in found if ids not in self.foreign_ids)

    @functools.cached_property
    def at_vfio(self) -> dict[str, list[str]]:
        """Addresses of the cards that vfio-pci has, by ids."""
        found: dict[str, list[str]] = {}
        for gpu in self.node.gpus:
            if uses.is_vfio(gpu.function.driver):
                found.setdefault(gpu.function.ids, []).append(gpu.address)
        return found

    @functools.cached_property
    def slots(self) -> frozenset[str]:
        """The slots of all cards."""
        return frozenset(gpu.function.slot for gpu in self.node.gpus)

    def finding(
        self, severity: str, check: str, detail: str, repair: str = ''
    ) -> findings.Finding:
        """Say something about the node."""
        return findings.Finding(severity, check, self.name, detail, repair)


def about(
    function: model.Function | model.Gpu,
    severity: str,
    check: str,
    detail: str,
    repair: str = '',
) -> findings.Finding:
    """Say something about a card, or a function of one."""
    return findings.Finding(severity, check, function.address, detail, repair)


def shown(text: str) -> str:
    """Return text from outside as one line, which it might not be."""
    line = ''.join(char if char.isprintable() else '?' for char in text)
    return line if len(line) <= 80 else f'{line[:77]}...'


def some(texts: Iterator[str] | tuple[str, ...] | list[str]) -> str:
    """Name things, but not all of them if they are many."""
    named = [shown(text) for text in dict.fromkeys(texts)]
    if len(named) <= _MOST:
        return ', '.join(named)
    return _("%(some)s and %(more)d more") % {
        'some': ', '.join(named[: _MOST - 1]),
        'more': len(named) - _MOST + 1,
    }
