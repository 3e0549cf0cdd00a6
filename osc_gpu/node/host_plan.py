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


"""What a node has to do, that its GPUs are there for servers."""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import functools

from osc_gpu.node import host_division
from osc_gpu.node import host_values
from osc_gpu.node import model

NVIDIA = '10de'

#: os-release's ID of what has apt, and of what has dnf or yum.
_APT = ('debian', 'ubuntu')
_DNF = ('almalinux', 'centos', 'fedora', 'ol', 'rhel', 'rocky')


@dataclasses.dataclass(frozen=True)
class Plan:
    """What becomes of each card of a node.

    :param passed: GPUs that are passed through whole
    :param divisions: those that are divided
    :param others: those that stay as they are
    :param wanted: companions that servers get by themselves
    """

    node: model.Node
    passed: tuple[model.Gpu, ...]
    divisions: tuple[host_division.Division, ...]
    others: tuple[model.Gpu, ...]
    wanted: frozenset[model.Function] = frozenset()

    @property
    def used(self) -> tuple[model.Gpu, ...]:
        """The GPUs that servers get, or a part of."""
        return (*self.passed, *(d.gpu for d in self.divisions))

    @functools.cached_property
    def functions(self) -> tuple[model.Function, ...]:
        """What vfio-pci has to have: GPUs passed through, and companions."""
        return tuple(
            function
            for gpu in self.passed
            for function in (gpu.function, *gpu.companions)
        )

    @functools.cached_property
    def ids(self) -> tuple[str, ...]:
        """What vfio-pci takes by vendor and product.

        Not what a card that stays with the host has, too.
        """
        found = dict.fromkeys(function.ids for function in self.functions)
        return tuple(ids for ids in found if ids not in self._kept)

    @functools.cached_property
    def by_address(self) -> tuple[model.Function, ...]:
        """What vfio-pci takes by address instead."""
        return tuple(f for f in self.functions if f.ids in self._kept)

    @functools.cached_property
    def vfio_ids(self) -> tuple[str, ...]:
        """``ids``, and those of what else the node has given to vfio-pci.

        Whoever names ids replaces what was named before.
        """
        foreign = (i for i in self.node.vfio_ids or () if i not in self._known)
        if not self.ids and not self.is_stale:
            return ()
        return tuple(dict.fromkeys((*self.ids, *foreign)))

    @property
    def is_stale(self) -> bool:
        """Whether vfio-pci takes cards by ids now that it is not to take."""
        now = self._known.intersection(self.node.vfio_ids or ())
        return not now <= set(self.ids)

    @functools.cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(
            function.ids
            for gpu in self.node.gpus
            for function in (gpu.function, *gpu.companions)
        )

    @functools.cached_property
    def _kept(self) -> frozenset[str]:
        passed = {function.address for function in self.functions}
        return frozenset(
            function.ids
            for gpu in self.node.gpus
            for function in host_values.functions(gpu)
            if function.address not in passed
        )

    @property
    def has_nouveau(self) -> bool:
        """Whether nouveau has to go, and nothing of the host needs it."""
        return any(
            gpu.function.vendor_id == NVIDIA for gpu in self.used
        ) and not any(gpu.function.driver == 'nouveau' for gpu in self.others)

    @property
    def is_apt(self) -> bool:
        """Whether it is Debian, or made of it; False if that is unknown."""
        return self._distro in _APT

    @property
    def is_dnf(self) -> bool:
        """Whether it is RHEL, or like it; False if that is unknown."""
        return self._distro in _DNF

    @property
    def _distro(self) -> str:
        return (self.node.distribution or '').partition('-')[0]


def make(
    node: model.Node,
    gpus: Collection[model.Gpu],
    divisions: Sequence[host_division.Division],
    functions: Collection[model.Function] = (),
) -> Plan:
    """Sort the cards of a node by what becomes of them."""
    here = tuple(d for d in divisions if d.gpu in node.gpus)
    divided = [d.gpu for d in here]
    passed = tuple(
        gpu for gpu in node.gpus if gpu in gpus and gpu not in divided
    )
    return Plan(
        node,
        passed,
        here,
        tuple(
            gpu
            for gpu in node.gpus
            if gpu not in passed and gpu not in divided
        ),
        frozenset(functions),
    )


def comments(*sentences: str) -> list[str]:
    """Return lines of comments, each a sentence."""
    return [f'# {sentence}' for sentence in sentences]


def text(lines: Iterable[str]) -> str:
    """Return a file that has these lines."""
    return ''.join(f'{line}\n' for line in lines)
