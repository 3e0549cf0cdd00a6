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

"""Whether a driver fits the GPUs that a flavor requests.

No API tells a tenant what an alias stands for, so an alias is taken for what
its name says, where that is the model of one vendor's cards only.
"""

import re

from osc_gpu.cloud import extra_specs
from osc_gpu.data import pci_names
from osc_gpu.i18n import _

_PCI_CLASS = re.compile('CUSTOM_PCI_([0-9A-F]{4})_([0-9A-F]{4})')
_NAMES = {'10de': 'NVIDIA', '1002': 'AMD', '8086': 'Intel'}


def vendor_ids(request: extra_specs.GpuRequest) -> frozenset[str]:
    """Return the PCI vendors of the cards, as far as they are known."""
    found = {
        match[1].lower()
        for name, _count in request.classes
        if (match := _PCI_CLASS.fullmatch(name))
    }
    for name, _count in request.aliases:
        for word in re.findall('[A-Za-z0-9]{3,}', name):
            # L40S or MI300X is a model; a1 is just a name, gpu is no model.
            if re.search('[A-Za-z]', word) and re.search('[0-9]', word):
                vendors = pci_names.vendors_called(word)
                found |= vendors if len(vendors) == 1 else set()
    return frozenset(found)


def misfit(
    request: extra_specs.GpuRequest,
    driver: str,
    vendor_id: str,
    is_for_vgpus: bool,
    has_virtual_functions: bool = False,
) -> str:
    """Say why a driver is of no use for what is requested; '' if it may be.

    :param vendor_id: PCI vendor of the cards that it is for; '' is any
    :param is_for_vgpus: it drives vGPUs, and nothing else
    :param has_virtual_functions: the user says that what the aliases stand
        for are virtual functions with vGPUs (vendor VFIO)
    """
    known = vendor_ids(request)
    if vendor_id and known and vendor_id not in known:
        return _(
            "driver %(driver)s is not for the cards of %(vendors)s in "
            "%(request)s"
        ) % {
            'driver': driver,
            'vendors': ', '.join(sorted(_NAMES.get(v, v) for v in known)),
            'request': request.text,
        }
    whole, virtual = _kinds(request, has_virtual_functions)
    if is_for_vgpus and whole and not virtual:
        return _(
            "driver %(driver)s is for vGPUs, and %(request)s is passed "
            "through whole: use another driver, or --virtual-functions if "
            "its alias stands for virtual functions with vGPUs"
        ) % {'driver': driver, 'request': request.text}
    if vendor_id and not is_for_vgpus and virtual and not whole:
        return _(
            "driver %(driver)s is for whole GPUs, and %(request)s is a vGPU: "
            "it needs NVIDIA's vGPU driver, --driver nvidia-vgpu"
        ) % {'driver': driver, 'request': request.text}
    return ''


def _kinds(
    request: extra_specs.GpuRequest, has_virtual_functions: bool
) -> tuple[bool, bool]:
    """Say whether whole GPUs are requested, and whether vGPUs are."""
    names = {name for name, _count in request.classes}
    by_pci = bool(request.aliases) or any(map(_PCI_CLASS.fullmatch, names))
    if by_pci and has_virtual_functions:
        return False, True
    return by_pci or 'PGPU' in names, 'VGPU' in names
