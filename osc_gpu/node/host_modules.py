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


"""Kernel modules: which are loaded, in which order, and which are not."""

from collections.abc import Mapping
import re

from osc_gpu.node import host_plan
from osc_gpu.node import host_udev
from osc_gpu.node import model

MODPROBE = '/etc/modprobe.d/osc-gpu.conf'
_DRACUT = '/etc/dracut.conf.d/osc-gpu.conf'
_INITRAMFS = '/etc/initramfs-tools/modules'
_HOOK = '/etc/initramfs-tools/hooks/osc-gpu'
_LOAD = '/etc/modules-load.d/vfio.conf'

#: What drives GPUs of a vendor on a host.
_GPU_DRIVERS = {
    host_plan.NVIDIA: ('nouveau', 'nvidia', 'nvidiafb'),
    '1002': ('amdgpu', 'radeon'),
    '8086': ('i915', 'xe'),
}
#: What drives companions, by class.
_DRIVERS = {
    '0403': ('snd_hda_intel',),
    '0c03': ('xhci_pci',),
    '0c80': ('i2c_nvidia_gpu',),
}

_MODULES = ('vfio', 'vfio_iommu_type1', 'vfio_pci')
#: A module of its own until this kernel; in vfio from there on.
_VIRQFD = 'vfio_virqfd'
_WITHOUT_VIRQFD = (6, 2)


def modprobe(plan: host_plan.Plan) -> Mapping[str, str]:
    """Return modprobe's rules: vfio-pci before all that wants its cards."""
    lines = []
    if plan.has_nouveau:
        lines += ['blacklist nouveau', 'options nouveau modeset=0']
    if plan.vfio_ids:
        lines.append(f'options vfio-pci ids={",".join(plan.vfio_ids)}')
    drivers = {
        driver for function in plan.functions for driver in _drivers(function)
    }
    lines += [f'softdep {name} pre: vfio-pci' for name in sorted(drivers)]
    if not lines:
        return {}
    return {
        MODPROBE: host_plan.text(
            [
                *host_plan.comments(
                    'Then run update-initramfs -u -k all, or',
                    'dracut --force --regenerate-all; and reboot.',
                ),
                *lines,
            ]
        )
    }


def _drivers(function: model.Function) -> set[str]:
    """Return the modules that want a function, vfio's left out."""
    found = {name.replace('-', '_') for name in function.modules or ()}
    if function.class_id in _DRIVERS:
        found.update(_DRIVERS[function.class_id])
    elif (function.class_id or '03')[:2] in ('03', '12'):
        found.update(_GPU_DRIVERS.get(function.vendor_id, ()))
    return {name for name in found if not name.startswith('vfio')}


def vfio(plan: host_plan.Plan) -> Mapping[str, str]:
    """Return what systemd loads at boot."""
    if not plan.passed:
        return {}
    return {_LOAD: host_plan.text(_modules(plan))}


def _modules(plan: host_plan.Plan) -> tuple[str, ...]:
    found = re.match(r'([0-9]{1,4})\.([0-9]{1,4})', plan.node.kernel or '')
    # Where the kernel is not known, modprobe still loads what vfio_pci needs;
    # Red Hat patches its 5.14 with what later kernels have.
    if not found or '.el9' in (plan.node.kernel or ''):
        return _MODULES
    is_old = (int(found[1]), int(found[2])) < _WITHOUT_VIRQFD
    return (*_MODULES, _VIRQFD) if is_old else _MODULES


def initramfs(plan: host_plan.Plan) -> Mapping[str, str]:
    """Return what is in the initramfs: by dracut, initramfs-tools or both.

    Both where the distribution is not known: each looks for its own.
    """
    if not plan.passed:
        return {}
    found = {}
    if not plan.is_apt:
        found[_DRACUT] = _dracut(plan)
    if not plan.is_dnf:
        found[_INITRAMFS] = host_plan.text(_modules(plan))
        if plan.by_address:
            found[_HOOK] = _hook()
    return found


def _dracut(plan: host_plan.Plan) -> str:
    # Without the blanks inside the quotes, dracut makes one word of what two
    # files add.
    lines = [
        *host_plan.comments(
            'Then run dracut --force --regenerate-all, and reboot.'
        ),
        f'force_drivers+=" {" ".join(_modules(plan))} "',
    ]
    if plan.by_address:
        lines.append(f'install_items+=" {host_udev.PATH} "')
    return host_plan.text(lines)


def _hook() -> str:
    """Return a hook of initramfs-tools: it has no list of files."""
    return host_plan.text(
        [
            '#!/bin/sh',
            *host_plan.comments(
                'Make it executable, then run update-initramfs -u -k all.'
            ),
            'if [ "$1" = prereqs ]; then',
            '    exit 0',
            'fi',
            f'mkdir -p "$DESTDIR{host_udev.FOLDER}"',
            f'cp -p {host_udev.PATH} "$DESTDIR{host_udev.FOLDER}/"',
        ]
    )
