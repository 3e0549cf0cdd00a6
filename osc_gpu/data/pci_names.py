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

"""The names of GPUs and accelerators by their PCI ids.

The names come from the table ``pci_names.txt`` beside this module, or from
the system's own pci.ids file where that is newer.  Either is read when the
first name is asked for, and of a system's file only the lines of the vendors
asked for are looked at.
"""

import functools
import os
import re
from typing import NamedTuple

from osc_gpu.data import pci_classes

#: Where distributions keep their pci.ids.
SYSTEM_FILES = (
    '/usr/share/hwdata/pci.ids',
    '/usr/share/misc/pci.ids',
    '/usr/share/pci.ids',
)
#: The version and date lines stand within the first few hundred bytes.
_HEADER_BYTES = 4096


class Name(NamedTuple):
    """What a pci.ids file calls a device, and its vendor in full."""

    vendor: str
    device: str


def find(vendor_id: str, product_id: str) -> Name | None:
    """Return a GPU's or accelerator's names; None if it is not known as one.

    :param vendor_id: four hex digits, in any case; likewise product_id.
    """
    vendor_id, product_id = vendor_id.lower(), product_id.lower()
    if vendor_id not in pci_classes.RULES:
        return None
    for text in (_system_text(), _own_text()):
        vendor, devices = _section(text, vendor_id)
        device = devices.get(product_id)
        if device is not None:
            known = pci_classes.is_gpu(vendor_id, device)
            return Name(vendor, device) if known else None
    return None


def lookup(vendor_id: str, product_id: str) -> str | None:
    """Return the model as shown to people, ``NVIDIA TU104GL [Tesla T4]``.

    None if the device is not known as a GPU or accelerator.  The ids are four
    hex digits each, in any case.
    """
    name = find(vendor_id, product_id)
    if name is None:
        return None
    return f'{pci_classes.RULES[vendor_id.lower()].vendor} {name.device}'


def is_gpu(vendor_id: str, product_id: str) -> bool:
    """Tell whether PCI ids are those of a known GPU or accelerator."""
    return find(vendor_id, product_id) is not None


def vendors_called(word: str) -> frozenset[str]:
    """Return the vendors that have a GPU with this word in a model's name.

    The model is what stands in brackets: the ``T4`` of ``TU104GL [Tesla T4]``.

    :param word: in any case
    """
    pattern = re.compile(rf'\[[^]]*\b{re.escape(word)}\b', re.IGNORECASE)
    return frozenset(
        vendor_id
        for vendor_id in pci_classes.RULES
        for device in _section(_own_text(), vendor_id)[1].values()
        if pattern.search(device) and pci_classes.is_gpu(vendor_id, device)
    )


def vendor_named(name: str) -> str | None:
    """Return the id of the vendor of GPUs that has this name in full.

    :param name: in any case: nVidia has become NVIDIA
    """
    return _vendors().get(name.casefold())


def vendor_of(text: str) -> str | None:
    """Return the id of the vendor of GPUs with whose name a text begins."""
    text = text.casefold()
    for name, vendor_id in _vendors().items():
        if text.startswith(f'{name} '):
            return vendor_id
    return None


@functools.cache
def _vendors() -> dict[str, str]:
    """Return the ids of vendors by their names, where these are of one."""
    found = re.findall(
        '^([0-9a-f]{4})[ \t]+(\\S.*)$', _own_text(), re.MULTILINE
    )
    names = [name.casefold() for _id, name in found]
    return {
        name: vendor_id
        for (vendor_id, _name), name in zip(found, names)
        if names.count(name) == 1
    }


@functools.cache
def _own_text() -> str:
    from importlib import resources

    table = resources.files('osc_gpu.data').joinpath('pci_names.txt')
    return table.read_text(encoding='utf-8')


@functools.cache
def _system_text() -> str:
    """Return the newest system file's text; '' if none is newer than ours."""
    newest, chosen = pci_classes.version(_own_text()), None
    for path in SYSTEM_FILES:
        version = pci_classes.version(_read(path, _HEADER_BYTES))
        if version > newest:
            newest, chosen = version, path
    return _read(chosen) if chosen else ''


def _read(path: str, size: int = -1) -> str:
    """Return a file's text, or '' where it cannot be read."""
    try:
        if not os.path.isfile(path):
            return ''
        with open(path, 'rb') as file:
            return file.read(size).decode('utf-8', 'replace')
    except OSError:
        return ''


@functools.cache
def _section(text: str, vendor_id: str) -> tuple[str, dict[str, str]]:
    return pci_classes.section(text, vendor_id)
