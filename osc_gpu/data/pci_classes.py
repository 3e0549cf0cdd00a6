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

"""Which lines of a pci.ids file are GPUs or accelerators, and how to read it.

A pci.ids file gives names only, no device classes, so the decision is made by
name: a vendor's rule must exist, its ``include`` must be found in the
device's name, its ``exclude`` and ``OTHER_FUNCTIONS`` must not be.  The tool
that generates our table and the look-up in a system's own file share these
rules.

Left out on purpose: display chips of servers' management controllers (ASPEED,
Matrox), virtual displays (virtio, VMware), FPGA boards, crypto and
compression engines, and the neural units that are functions of a client CPU.
"""

from collections.abc import Iterator
import re
from typing import NamedTuple

ANYTHING = r'.'
NOTHING = r'(?!)'


class Rule(NamedTuple):
    """How to tell one vendor's GPUs and accelerators by their names.

    ``vendor`` is the name shown to people; ``include`` and ``exclude`` are
    regular expressions, searched for without regard to case.
    """

    vendor: str
    include: str = ANYTHING
    exclude: str = NOTHING


#: The functions that sit beside a GPU on its card, whoever made it.
OTHER_FUNCTIONS = (
    r'\baudio\b|\bUSB\b|\bUCSI\b|\btype-c\b|\bethernet\b|\bS?ATA\b|\bSMBus\b'
    r'|\bNVMe\b|\bSSD\b|\bNIC\b|\broot (?:port|complex)\b'
    r'|\bPCI(?:e|[- ]express)?(?:[- ]to[- ]PCI)? (?:bridge|switch)\b'
    r'|\bNV(?:Switch|Link)\b|\bConnectX\b|\bBlueField\b|\btranscode\b'
)

#: Chip codes (NV50, G92, GT218, GK210GL, TU104, AD102, GB202, GR102,
#: C51: the last being the GPU of a chipset) or a brand in brackets.
_NVIDIA = (
    r'^(?:NV|G|G[A-Z]|AD|TU|C)\d'
    r'|\[(?:GeForce|Quadro|Tesla|GRID|NVS|ION|RTX|CMP)\b'
)
_NVIDIA_NOT = (
    r'\bcontroller\b|\bbridge\b|\bhost\b|\bco-?processor\b|\bIDE\b'
    r'|^NF200|\bendpoint\b|\bnetwork\b|\bCPU\b'
)
_AMD_NOT = (
    r'\((?:secondary|absent)|^(?:IXP )?SB\d|^SBx|^(?:Xilleon|Theater)\b'
    r'|\b(?:TV Wonder HD|host|controller|bridge|northbridge|port|IOMMU)\b'
    r'|\b(?:coprocessor|tuner|die|dummy function)\b'
)
_INTEL = (
    r'\bgraphics\b|\bGPU\b|\bArc\b|\bIris\b|^DG\d\b|^Ponte Vecchio\b'
    r'|^Battlemage\b|^Larrabee\b|^Knights Ferry\b|^Xeon Phi coprocessor\b'
    r'|\bNNP-[IT]\b|^Crescent Island\b|^Jaguar Shores\b|\bGaudi\b'
)
_INTEL_NOT = (
    r'\bDRAM\b|\b(?:port|hub|GMCH|root|memory controller)\b'
    r'|(?<!ivy )(?<!ivy)(?<!sandy )bridge\b|\bCPU to\b|\bGNA\b'
    r'|\bsystem and graphics\b|\bFPGA\b|\bneural\b'
)

RULES: dict[str, Rule] = {
    '0731': Rule('Jingjia'),
    '0ccd': Rule(
        'Preferred Networks', r'^MN-Core', r'\b(?:connect|middle-plane)\b'
    ),
    '1002': Rule('AMD', ANYTHING, _AMD_NOT),
    '10de': Rule('NVIDIA', _NVIDIA, _NVIDIA_NOT),
    '17cb': Rule('Qualcomm', r'\bCloud AI\b|\bAIC\d'),
    '19e5': Rule('Huawei', r'\bAscend\b'),
    '1ac1': Rule('Google', r'\bTPU\b'),
    '1ae0': Rule('Google', r'\bTPU\b'),
    '1bcf': Rule('NEC', r'\bVector Engine\b'),
    '1d22': Rule('Baidu', r'\bKunlun'),
    '1d26': Rule('Kalray', r'\baccelerator\b'),
    '1d87': Rule('Rockchip', r'\bNeural Network\b|\bAI Computing\b'),
    '1d94': Rule('Hygon', r'^K\d{3}|^BW\d{3}|^Z100|\bDCU\b'),
    '1d95': Rule('Graphcore'),
    '1da3': Rule('Habana'),
    '1de0': Rule('Groq'),
    '1e0d': Rule('SambaNova'),
    '1e30': Rule('Sophgo', r'\baccelerator\b'),
    '1e36': Rule('Enflame'),
    '1e38': Rule('Blaize'),
    '1e3e': Rule('Iluvatar CoreX'),
    '1e52': Rule('Tenstorrent'),
    '1e60': Rule('Hailo'),
    '1e67': Rule('Untether AI'),
    '1e7c': Rule('BrainChip'),
    '1e9f': Rule('Lynxi'),
    '1ea0': Rule('Tencent', r'\bInference\b'),
    '1ec6': Rule('Vastai'),
    '1ecc': Rule('Sunrise'),
    '1ed2': Rule('FuriosaAI'),
    '1ed5': Rule('Moore Threads'),
    '1eed': Rule('XDX', ANYTHING, r'\bTJ\d+\b'),
    '1eff': Rule('Rebellions'),
    '1f0d': Rule('DeGirum'),
    '1f1c': Rule('Sophgo', r'\baccelerator\b'),
    '1f2e': Rule('AzurEngine'),
    '1f56': Rule('SAPEON'),
    '1f82': Rule('d-Matrix'),
    '1f9d': Rule('Axelera AI'),
    '1faa': Rule('Hexaflake'),
    '1fb0': Rule('ICube'),
    '1fe9': Rule('MemryX'),
    '1ff4': Rule('DEEPX'),
    '2077': Rule('OpenAI'),
    '209f': Rule('Mobilint'),
    '20a1': Rule('Etched'),
    '22b8': Rule('Flex Logix'),
    '4c54': Rule('Lisuan'),
    '6766': Rule('Glenfly'),
    '8086': Rule('Intel', _INTEL, _INTEL_NOT),
    '8510': Rule('Sietium'),
    '9999': Rule('MetaX'),
    'cabc': Rule('Cambricon'),
    'cdfa': Rule('NextSilicon', r'^Maverick'),
}

_LINE = re.compile(
    r'^(?:\t(?P<device>[0-9a-f]{4})[ \t]+(?P<name>\S.*)|[^\s#])',
    re.MULTILINE | re.IGNORECASE,
)
_STAMP = re.compile(
    r'^#\s*(?:version|date):?\s+(\d{4})[.-](\d{1,2})[.-](\d{1,2})\b',
    re.MULTILINE | re.IGNORECASE,
)


def is_gpu(vendor_id: str, device_name: str) -> bool:
    """Tell by its name whether a device is a GPU or an accelerator.

    :param vendor_id: four lower-case hex digits.
    :param device_name: the name that a pci.ids file gives the device.
    """
    rule = RULES.get(vendor_id)
    if rule is None or not re.search(rule.include, device_name, re.I):
        return False
    return not any(
        re.search(pattern, device_name, re.I)
        for pattern in (rule.exclude, OTHER_FUNCTIONS)
    )


def version(text: str) -> tuple[int, int, int]:
    """Return the year, month and day of a pci.ids file, from its header.

    A file that does not say when it was made is older than any other:
    (0, 0, 0).
    """
    found = _STAMP.search(text)
    if found is None:
        return (0, 0, 0)
    year, month, day = found.groups()
    return (int(year), int(month), int(day))


def section(text: str, vendor_id: str) -> tuple[str, dict[str, str]]:
    """Return a vendor's name and its devices' names by product id.

    Reads only the vendor's own lines.  A vendor that is not in the file has
    the name '' and no devices; lines that make no sense are passed over.
    """
    head = re.search(
        rf'^{re.escape(vendor_id)}[ \t]+(\S.*)$', text, re.M | re.I
    )
    if head is None:
        return '', {}
    return head[1].strip(), dict(_devices(text, head.end()))


def _devices(text: str, start: int) -> Iterator[tuple[str, str]]:
    for line in _LINE.finditer(text, start):
        if line['device'] is None:
            return
        yield line['device'].lower(), line['name'].strip()
