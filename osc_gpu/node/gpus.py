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

"""Which PCI functions are GPUs, and which are on a card beside one.

A GPU that has a name in the table of PCI names is one. One that is newer than
the table is known by its class: a 3D controller or a processing accelerator
is a GPU, unless its maker's are something else; a display that is not known
is one only if its vendor makes GPUs, which leaves out the display chips of
management controllers (ASPEED, Matrox, Huawei) and virtual ones (QXL,
virtio, VMware).
"""

from collections.abc import Collection
from collections.abc import Iterable
import itertools

from osc_gpu.data import pci_classes
from osc_gpu.data import pci_names
from osc_gpu.node import model

VGA = '0300'
CONTROLLER_3D = '0302'
DISPLAY = '0380'
ACCELERATOR = '1200'
CLASSES = (VGA, CONTROLLER_3D, DISPLAY, ACCELERATOR)

_INTEL = '8086'
#: Whose displays are GPUs: those that make all sorts of things, and those of
#: whom everything is one. Huawei, which the rules know too, makes displays of
#: management controllers.
_DISPLAY_MAKERS = frozenset({'10de', _INTEL}) | {
    vendor_id
    for vendor_id, rule in pci_classes.RULES.items()
    if rule.include == pci_classes.ANYTHING
}
#: Whose accelerators are FPGAs (Xilinx, Altera, Intel) or neural units that
#: are functions of a processor (Intel), unless their names say otherwise.
_OTHER_ACCELERATORS = frozenset({'10ee', '1172', _INTEL})


def is_known(function: model.Function) -> bool:
    """Tell whether a function has a class and a name of a GPU's."""
    return function.class_id in CLASSES and pci_names.is_gpu(
        function.vendor_id, function.product_id
    )


def may_be(class_id: str | None, vendor_id: str) -> bool:
    """Tell whether a function without a known name is a GPU by its class."""
    if class_id == CONTROLLER_3D:
        return True
    if class_id == ACCELERATOR:
        return vendor_id not in _OTHER_ACCELERATORS
    return class_id in CLASSES and vendor_id in _DISPLAY_MAKERS


def cards(
    functions: Iterable[model.Function], vfs: Collection[str]
) -> tuple[tuple[model.Function, tuple[model.Function, ...]], ...]:
    """Return GPUs and, with each, what else is in its slot, by address.

    :param vfs: addresses of VFs, which are neither
    """
    found = []
    physical = sorted(
        (f for f in functions if f.address not in vfs), key=order
    )
    for _slot, together in itertools.groupby(physical, lambda f: f.slot):
        slot = tuple(together)
        chosen = [f for f in slot if is_known(f)] or [
            # Old cards have a display of no use as their second function.
            f
            for f in slot
            if may_be(f.class_id, f.vendor_id)
        ][:1]
        beside = tuple(f for f in slot if f not in chosen)
        found += [(gpu, beside if gpu is chosen[0] else ()) for gpu in chosen]
    return tuple(found)


def order(function: model.Function) -> tuple[int, str]:
    """Sort functions by address; domains are of different lengths."""
    return len(function.address), function.address
