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

"""A compute node as its own ``/sys``, ``/proc`` and ``/etc`` tell it."""

import pathlib
import re
import shlex

from osc_gpu.node import grammar
from osc_gpu.node import kernel
from osc_gpu.node import model
from osc_gpu.node import roots
from osc_gpu.node import sysfs

_RELEASE = ('ID', 'VERSION_ID')
_CPU_VENDORS = {'GenuineIntel': 'intel', 'AuthenticAMD': 'amd'}
#: The first processor's part of it.
_CPU_BYTES = 1 << 14
#: EFI_GLOBAL_VARIABLE of the UEFI specification; before the value come four
#: bytes of attributes.
_SECURE_BOOT = 'SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c'


def read(root: pathlib.Path) -> model.Node:
    """Read a node from a root folder: ``/``, or a copy of one.

    What is not there, or may not be read, is None.

    :raises ValueError: with a sentence; PCI devices cannot be read there
    """
    top = roots.Root(root)
    devices = sysfs.devices(top)
    release = grammar.word(top.at('proc/sys/kernel').text('osrelease'))
    line = kernel.command_line(top)
    lines = kernel.settings(top)
    aliases = kernel.Aliases(top, release)
    return model.Node(
        hostname=_hostname(top),
        distribution=_distribution(top),
        kernel=release,
        command_line=line,
        cpu_vendor=_cpu_vendor(top),
        has_iommu=sysfs.has_iommu(top, devices.values()),
        secure_boot=_secure_boot(top),
        loaded=kernel.loaded(top),
        blacklisted=kernel.blacklisted(line, lines),
        vfio_ids=kernel.vfio_ids(line, lines),
        gpus=sysfs.Reader(top, devices, aliases).gpus(),
    )


def _hostname(root: roots.Root) -> str | None:
    return grammar.word(
        root.at('proc/sys/kernel').text('hostname')
    ) or grammar.word(root.at('etc').text('hostname'))


def _distribution(root: roots.Root) -> str | None:
    """Return ID and VERSION_ID of os-release, which a shell could read."""
    text = root.at('etc').text('os-release')
    if text is None:
        text = root.at('usr/lib').text('os-release')
    found = {}
    for key, value in re.findall('^(ID|VERSION_ID)=(.*)$', text or '', re.M):
        try:
            found[key] = ''.join(shlex.split(value))
        except ValueError:
            return None
    if 'ID' not in found:
        return None
    return grammar.word('-'.join(filter(None, map(found.get, _RELEASE))))


def _cpu_vendor(root: roots.Root) -> str | None:
    text = root.at('proc').text('cpuinfo', _CPU_BYTES)
    if not text:
        return None
    found = re.search(r'^vendor_id\s*:\s*(\S+)', text, re.M)
    return _CPU_VENDORS.get(found[1], '') if found else ''


def _secure_boot(root: roots.Root) -> bool | None:
    """Tell whether the firmware demanded signatures; a BIOS never does."""
    names = root.at('sys/firmware').names()
    if names and 'efi' not in names:
        return False
    content = root.at('sys/firmware/efi/efivars').bytes(_SECURE_BOOT, 16)
    if content is None or len(content) != 5:
        return None
    return content[4] == 1
