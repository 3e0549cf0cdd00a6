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
its name says, where that is a vendor or the model of a card; likewise a
resource class that is not made of PCI ids. A driver that would work is never
refused for a name that may mean anything.
"""

from collections.abc import Iterator
import re

from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import resource_classes
from osc_gpu.data import pci_classes
from osc_gpu.data import pci_names
from osc_gpu.i18n import _

#: PCI ids of vendors.
NVIDIA, AMD, INTEL = '10de', '1002', '8086'

_VENDORS = {
    'nvidia': NVIDIA,
    'tesla': NVIDIA,
    'quadro': NVIDIA,
    'geforce': NVIDIA,
    'amd': AMD,
    'radeon': AMD,
    'instinct': AMD,
    'intel': INTEL,
}
#: Of the models with two characters only those of NVIDIA's that nobody
#: numbers aliases with: a1, a2, k1 or g4 are names that people give.
_SHORT_MODELS = frozenset({'l4', 'm4', 'm6', 'p4', 'p6', 't4'})

#: Classes of whole machines (Ironic) or whole cards, whatever they are of.
_WHOLE = re.compile('BARE_?METAL|PGPU')


def vendor_ids(request: extra_specs.GpuRequest) -> frozenset[str]:
    """Return the PCI vendors that the cards may be of; empty if any."""
    found: set[str] = set()
    for name, _count in request.aliases:
        found |= _of_name(name)
    for name, _count in request.classes:
        ids = resource_classes.pci_ids(name)
        found |= {ids[0]} if ids else _of_name(name)
    return frozenset(found)


def _of_name(name: str) -> frozenset[str]:
    """Return the vendors that all words of a name allow, or else any does.

    An A40 is NVIDIA's or Intel's, an intel-a40 is Intel's; but an amd-a100
    may be an A100 beside AMD's processors.
    """
    told = [found for found in map(_of_word, _words(name)) if found]
    if not told:
        return frozenset()
    return frozenset.intersection(*told) or frozenset.union(*told)


def _words(name: str) -> Iterator[str]:
    return (word.lower() for word in re.findall('[A-Za-z0-9]+', name))


def _of_word(word: str) -> frozenset[str]:
    if word in _VENDORS:
        return frozenset({_VENDORS[word]})
    if word in _SHORT_MODELS:
        return frozenset({NVIDIA})
    # L40S or MI300X is a model; gpu is none, nor is the 80gb beside one, nor
    # is x86 or gen3, though there is a "Tegra on x86" and a "GEN3 ESI".
    if re.fullmatch('(?!x86|gen)[a-z](?=.*[0-9]).{2,}', word):
        return pci_names.vendors_called(word)
    return frozenset()


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
            'vendors': ', '.join(sorted(map(_vendor, known))),
            'request': request.text,
        }
    whole, virtual = _kinds(request, has_virtual_functions)
    if is_for_vgpus and whole and not virtual:
        return _(
            "driver %(driver)s is for vGPUs, and %(request)s is passed "
            "through whole: use another driver, or --virtual-functions if "
            "its alias stands for virtual functions with vGPUs"
        ) % {'driver': driver, 'request': request.text}
    # Other vendors have one driver for both.
    may_need_vgpu = bool(vendor_id) and (not known or NVIDIA in known)
    if may_need_vgpu and virtual and not (whole or is_for_vgpus):
        return _(
            "driver %(driver)s is for whole GPUs, and %(request)s is a vGPU: "
            "it needs NVIDIA's vGPU driver, --driver nvidia-vgpu"
        ) % {'driver': driver, 'request': request.text}
    return ''


def _vendor(vendor_id: str) -> str:
    rule = pci_classes.RULES.get(vendor_id)
    return rule.vendor if rule else vendor_id


def _kinds(
    request: extra_specs.GpuRequest, has_virtual_functions: bool
) -> tuple[bool, bool]:
    """Say whether whole GPUs are requested, and whether vGPUs are."""
    names = [name for name, _count in request.classes]
    by_pci = bool(request.aliases) or any(map(resource_classes.pci_ids, names))
    if by_pci and has_virtual_functions:
        return False, True
    return by_pci or 'PGPU' in names, any(map(_is_virtual, names))


def _is_virtual(name: str) -> bool:
    """Tell whether a resource class is vGPUs.

    Nova gives a server what is in a class of its own name only where that is
    mediated devices ([mdev_*]mdev_class); PCI devices come by an alias.
    """
    if not name.startswith('CUSTOM_'):
        return name == 'VGPU'
    return (
        resource_classes.pci_ids(name) is None
        and resource_classes.is_gpu_class(name)
        and not _WHOLE.search(name)
    )
