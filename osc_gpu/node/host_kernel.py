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


"""Kernel arguments: an IOMMU, and vfio-pci at its cards from the start."""

from collections.abc import Iterator
from collections.abc import Mapping
import shlex

from osc_gpu.node import host_plan

#: Where Debian's and Ubuntu's update-grub finds it.
DROP_IN = '/etc/default/grub.d/osc-gpu.cfg'
DEFAULTS = '/etc/default/grub'
GRUB_FILES = (DROP_IN, DEFAULTS)
#: A script to run on the node: there is no file for kernels that are there.
SCRIPT = 'kernel-arguments.sh'
#: What iommu=pt is with processors of neither Intel nor AMD.
IOMMU_PT_OF_OTHERS = 'iommu.passthrough=1'

_VARIABLES = ('GRUB_CMDLINE_LINUX', 'GRUB_CMDLINE_LINUX_DEFAULT')


def write(plan: host_plan.Plan) -> Mapping[str, str]:
    """Return the kernel's arguments as the node's distribution takes them."""
    if not plan.used:
        return {}
    words = arguments(plan)
    if plan.is_dnf:
        return {SCRIPT: _grubby(plan, words)}
    line = f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {" ".join(words)}"'
    if plan.is_apt:
        after = 'Then run update-grub, and reboot.'
        path = DROP_IN
    else:
        after = 'Then run update-grub or grub2-mkconfig, and reboot.'
        path = DEFAULTS
    if not words:
        return {}
    return {
        path: host_plan.text(
            [
                *host_plan.comments(*_remarks(plan), after),
                line,
            ]
        )
    }


def arguments(plan: host_plan.Plan) -> list[str]:
    """Return the arguments, in the order in which people write them."""
    words = {
        'intel': ['intel_iommu=on', 'iommu=pt'],
        # The kernel has AMD's on by itself.
        'amd': ['iommu=pt'],
        # AMD's heeds no intel_iommu.
        None: ['intel_iommu=on', 'iommu=pt'],
    }.get(plan.node.cpu_vendor, [IOMMU_PT_OF_OTHERS])
    if any(not bar.is_assigned for gpu in plan.used for bar in gpu.bars or ()):
        words.append('pci=realloc')
    if plan.vfio_ids:
        words.append(f'vfio-pci.ids={",".join(plan.vfio_ids)}')
    return words


def all_arguments(plan: host_plan.Plan) -> list[str]:
    """Return the arguments, and what else can be said by one.

    For tools that write the kernel's arguments, and no file of modprobe's.
    """
    words = arguments(plan)
    if plan.has_nouveau:
        words.append('modprobe.blacklist=nouveau')
    return words


def lacking(wanted: str, text: str) -> list[str]:
    """Return the arguments that a file of GRUB's lacks.

    Who has merged lists of ids, or arguments in another order, has them.

    :raises ValueError: it is no shell text
    """
    there = {
        key: set(value.split(',')) for key, value in _grub_arguments(text)
    }
    return [
        f'{key}={value}' if value else key
        for key, value in _grub_arguments(wanted)
        if key not in there or not there[key].issuperset(value.split(','))
    ]


def _grub_arguments(text: str) -> Iterator[tuple[str, str]]:
    """Yield the arguments that a file gives to every kernel."""
    for token in shlex.split(text, comments=True):
        name, _equals, value = token.partition('=')
        if name.removesuffix('+') in _VARIABLES:
            for word in value.split():
                if not word.startswith('$'):
                    key, _equals, value = word.partition('=')
                    yield key, value


def _remarks(plan: host_plan.Plan) -> list[str]:
    found = []
    if plan.node.cpu_vendor is None:
        found.append(
            "Whose the processors are is not known; AMD's heed no intel_iommu."
        )
    for gpu in plan.passed:
        if gpu.is_console:
            found.append(
                f"The host's console is on {gpu.address}: it goes dark."
            )
    if plan.by_address:
        found += [
            'vfio-pci.ids has not what a card that stays with the host has,',
            'too: the udev rules and the systemd unit bind those by address.',
        ]
    return found


def _grubby(plan: host_plan.Plan, words: list[str]) -> str:
    """Return a script: on these systems each kernel has an entry (BLS)."""
    # What grubby adds replaces the value that an argument had.
    call = 'grubby --update-kernel=ALL'
    lines = [
        '#!/bin/bash',
        *host_plan.comments(*_remarks(plan), 'Run as root, then reboot.'),
        'set -eu',
    ]
    if plan.is_stale and not plan.vfio_ids:
        lines.append(f'{call} --remove-args=vfio-pci.ids')
    if words:
        lines.append(f"{call} --args='{' '.join(words)}'")
    return host_plan.text(lines)
