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


"""How a GPU that is not passed through whole is divided."""

import dataclasses

from osc_gpu.node import model


@dataclasses.dataclass(frozen=True)
class Vgpu:
    """A vGPU that a card is to have.

    :param type: a type of mediated device, nvidia-697, or the number of one
        of a vendor's VFIO driver, 1155
    :param vf: of which VF, by its place in the list of the card's VFs; None
        for the card itself, which then has no SR-IOV
    """

    type: str
    vf: int | None = None

    @property
    def is_mdev(self) -> bool:
        """Whether it is a mediated device."""
        return not self.type.isdigit()


@dataclasses.dataclass(frozen=True)
class Division:
    """What a GPU is divided in.

    :param gpu: as it is in the node that has it
    :param vgpus: several of one type on one function are so many vGPUs
    :param mig: a profile for each part, ('2g.20gb', '1g.10gb'); () without
        MIG
    """

    gpu: model.Gpu
    vgpus: tuple[Vgpu, ...] = ()
    mig: tuple[str, ...] = ()
