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

"""What an admin types or writes so that a finding about a node goes away.

Sentences in the imperative, for the node's distribution and processor where
they are known. Words of the node's own command line are quoted.
"""

from collections.abc import Iterable
import shlex

from osc_gpu.i18n import _
from osc_gpu.node import checks_subject
from osc_gpu.node import host_modules
from osc_gpu.node import host_udev
from osc_gpu.node import model

Subject = checks_subject.Subject

_DEBIAN = ('debian', 'ubuntu')
_RED_HAT = ('rhel', 'centos', 'rocky', 'almalinux', 'ol', 'fedora')
_SUSE = ('sles', 'opensuse')


def _is(node: model.Node, family: tuple[str, ...]) -> bool:
    return (node.distribution or '').startswith(family)


def sentence(steps: Iterable[str]) -> str:
    """Join steps, each of them once, as one sentence."""
    *first, text = dict.fromkeys(steps)
    if first:
        text = _("%(first)s, and %(last)s") % {
            'first': ', '.join(first),
            'last': text,
        }
    return text[0].upper() + text[1:]


def argument_steps(
    node: model.Node, add: str, remove: Iterable[str] = ()
) -> list[str]:
    """Return how arguments of the kernel are changed.

    :param remove: words of the command line as they are
    """
    old = ' '.join(remove)
    if _is(node, _RED_HAT):
        words = ['grubby', '--update-kernel=ALL']
        if old:
            words.append(f'--remove-args={shlex.quote(old)}')
        if add:
            words.append(f"--args='{add}'")
        return [_("run %s") % ' '.join(words)]
    values = {'add': add, 'old': shlex.quote(old)}
    if old and add:
        step = _(
            "write '%(add)s' for %(old)s in GRUB_CMDLINE_LINUX of "
            "/etc/default/grub"
        )
    elif old:
        step = _("take %(old)s out of GRUB_CMDLINE_LINUX in /etc/default/grub")
    else:
        step = _("add '%(add)s' to GRUB_CMDLINE_LINUX in /etc/default/grub")
    if _is(node, _DEBIAN):
        command = 'update-grub'
    elif _is(node, _SUSE):
        command = 'grub2-mkconfig -o /boot/grub2/grub.cfg'
    else:
        command = _("update-grub (or grub2-mkconfig -o /boot/grub2/grub.cfg)")
    return [step % values, _("run %s") % command]


def arguments(node: model.Node, add: str, remove: Iterable[str] = ()) -> str:
    """Return how arguments of the kernel are changed, as a sentence."""
    return sentence([*argument_steps(node, add, remove), _("reboot")])


def _ramdisk(node: model.Node) -> str:
    if _is(node, _DEBIAN):
        return _("run update-initramfs -u")
    if _is(node, _RED_HAT) or _is(node, _SUSE):
        return _("run dracut -f")
    return _("run update-initramfs -u (or dracut -f)")


def _early_vfio(node: model.Node) -> str:
    if _is(node, _DEBIAN):
        return _("add the line vfio-pci to /etc/initramfs-tools/modules")
    if _is(node, _RED_HAT) or _is(node, _SUSE):
        return (
            _(
                "write 'force_drivers+=\" vfio vfio_iommu_type1 vfio_pci \"' "
                "to %s"
            )
            % host_modules.DRACUT
        )
    return _("have vfio-pci in the initramfs")


def blacklist_steps(node: model.Node, module: str) -> list[str]:
    """Return how a module is kept from being loaded."""
    options = f" and 'options {module} modeset=0'" * (module == 'nouveau')
    return [
        _("write 'blacklist %(module)s'%(options)s to %(path)s")
        % {
            'module': module,
            'options': options,
            'path': f'/etc/modprobe.d/blacklist-{module}.conf',
        },
        _ramdisk(node),
    ]


def blacklist(node: model.Node, module: str) -> str:
    """Return how a module is kept from being loaded, as a sentence."""
    return sentence([*blacklist_steps(node, module), _("reboot")])


def _ids_arguments(node: model.Node) -> list[str]:
    """Return the words of the command line that give vfio-pci its ids."""
    return [
        word
        for word in node.command_line or ()
        if word.replace('-', '_').startswith('vfio_pci.ids=')
    ]


def vfio(subject: Subject, function: model.Function) -> str:
    """Return how vfio-pci gets a function, and all others that it should."""
    node, driver = subject.node, function.driver
    steps = [_early_vfio(node)]
    if driver == 'nouveau':
        steps = [*blacklist_steps(node, driver)[:1], *steps]
    if function.ids in subject.foreign_ids:
        # By its ids it would get another card, too.
        return _("Run 'driverctl set-override %s vfio-pci'") % function.address
    old = _ids_arguments(node)
    if node.vfio_ids and not old:
        steps.append(
            _(
                "write 'options vfio-pci ids=%s' where /etc/modprobe.d has "
                "that option"
            )
            % subject.vfio_ids
        )
    elif old != [f'vfio-pci.ids={subject.vfio_ids}']:
        new = f'vfio-pci.ids={subject.vfio_ids}'
        steps += argument_steps(node, new, old)
    return sentence([*steps, _ramdisk(node), _("reboot")])


def companion(subject: Subject, function: model.Function) -> str:
    """Return what is done with a function beside a GPU."""
    if not checks_subject.is_removed(function):
        return vfio(subject, function)
    matches = [
        'ACTION=="add"',
        'SUBSYSTEM=="pci"',
        f'ATTR{{vendor}}=="0x{function.vendor_id}"',
        f'ATTR{{device}}=="0x{function.product_id}"',
    ]
    if function.ids in subject.foreign_ids:
        matches.append(f'KERNEL=="{function.address}"')
    return sentence(
        [
            _("write '%(rule)s' to %(path)s")
            % {
                'rule': ', '.join([*matches, 'ATTR{remove}="1"']),
                'path': host_udev.PATH,
            },
            _("run 'echo 1 > %s'") % f'{sysfs(function)}/remove',
        ]
    )


def release(subject: Subject, gpu: model.Gpu) -> str:
    """Return how vfio-pci lets go of a card."""
    node = subject.node
    old = _ids_arguments(node)
    if old:
        left = [i for i in node.vfio_ids or () if i != gpu.function.ids]
        new = f'vfio-pci.ids={",".join(left)}' if left else ''
        return arguments(node, new, old)
    return sentence(
        [
            _(
                "take %s out of the ids of 'options vfio-pci' in "
                "/etc/modprobe.d"
            )
            % gpu.function.ids,
            _ramdisk(node),
            _("reboot"),
        ]
    )


def manager(node: model.Node) -> str:
    """Return how NVIDIA's vGPU manager is installed."""
    if _is(node, ('ubuntu',)):
        command = 'apt install ./nvidia-vgpu-ubuntu-<version>_amd64.deb'
    elif _is(node, _RED_HAT):
        command = 'dnf install ./NVIDIA-vGPU-rhel-<version>.x86_64.rpm'
    else:
        command = 'sh NVIDIA-Linux-x86_64-<version>-vgpu-kvm.run'
    return (
        _(
            "Run '%s' with the host's driver from NVIDIA's licensing portal, "
            "and reboot"
        )
        % command
    )


def sysfs(function: model.Function | model.Gpu) -> str:
    """Return a function's folder in sysfs."""
    return f'/sys/bus/pci/devices/{function.address}'


def enable_vfs(gpu: model.Gpu) -> str:
    """Return how a card of NVIDIA gets its VFs, now and at each boot."""
    return (
        _(
            "Run '/usr/lib/nvidia/sriov-manage -e %s', and have that run at "
            "each boot: openstack gpu node config show --for systemd"
        )
        % gpu.address
    )


def disable_vfs(gpu: model.Gpu) -> str:
    """Return how a card of NVIDIA loses its VFs, once no server has one."""
    return (
        _(
            "Run '/usr/lib/nvidia/sriov-manage -d %s', and disable what makes "
            "VFs at each boot"
        )
        % gpu.address
    )


def disable_mig(gpu: model.Gpu) -> str:
    """Return how a card leaves MIG."""
    return _("Run 'nvidia-smi -i %s -mig 0' while no server has it") % (
        gpu.address
    )


def iommu_in_firmware(node: model.Node) -> str:
    """Return what the firmware's switch of the IOMMU is called."""
    name = {'intel': 'VT-d', 'amd': 'AMD-Vi (IOMMU)', '': 'SMMU'}.get(
        'unknown' if node.cpu_vendor is None else node.cpu_vendor,
        _("VT-d or AMD-Vi"),
    )
    return _("Turn on %s in the firmware") % name


def check_for(purpose: str) -> str:
    """Return the command that checks for another purpose."""
    return _("run '%s'") % f'openstack gpu node check --for {purpose}'
