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

"""Which of Placement's resource classes are GPUs, and of what model.

The table of names is imported where a name is needed: this module is part of
every ``openstack`` run.
"""

from collections.abc import Collection
import re

_PCI_CLASS = re.compile(r'CUSTOM_PCI_([0-9A-F]{4})_([0-9A-F]{4})')
#: A vGPU type made into a class, as operators do for [mdev_*]mdev_class and a
#: device spec's resource_class: nvidia-11, A40-8Q, A100-4-20CME.
_TYPE_CLASS = re.compile(
    r'CUSTOM_(?:NVIDIA_[0-9]+'
    r'|[A-Z0-9_]+_[0-9]+[ABCQ](?:_?(?:ME|NOME|MEALL|GFX))?)'
)


def pci_ids(name: str) -> tuple[str, str] | None:
    """Return the vendor and product id that a class name is made of.

    Nova calls a device without a configured class
    ``CUSTOM_PCI_<vendor>_<product>`` (nova/compute/pci_placement_translator).
    The ids are four lower-case hex digits; None for any other name.
    """
    ids = _PCI_CLASS.fullmatch(name)
    return (ids[1].lower(), ids[2].lower()) if ids else None


def is_gpu_class(name: str, also: Collection[str] = ()) -> bool:
    """Tell whether inventory of a resource class is GPUs.

    VGPU and PGPU are, a class of PCI ids that are known as a GPU's or an
    accelerator's, a class named after an NVIDIA vGPU type (CUSTOM_NVIDIA_11,
    CUSTOM_A40_8Q), any class with GPU in its name.

    :param also: classes that the user says are GPUs too.
    """
    if name in also or 'GPU' in name:
        return True
    ids = pci_ids(name)
    if ids is None:
        return _TYPE_CLASS.fullmatch(name) is not None
    from osc_gpu.data import pci_names

    return pci_names.is_gpu(*ids)


def model(name: str) -> str:
    """Return the model that a class of PCI ids stands for, else ''."""
    from osc_gpu.data import pci_names

    ids = pci_ids(name)
    return (pci_names.lookup(*ids) or '') if ids else ''
