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
they are known. Words of the node's own command line are quoted. What is to be
in files is left to "gpu node config show" wherever that can say it.
"""

from collections.abc import Iterable
import shlex

from osc_gpu.i18n import _
from osc_gpu.node import checks_subject
from osc_gpu.node import host_files
from osc_gpu.node import host_kernel
from osc_gpu.node import host_modules
from osc_gpu.node import host_udev
from osc_gpu.node import model

Subject = checks_subject.Subject

_DEBIAN = ('debian', 'ubuntu')
_RED_HAT = ('rhel', 'centos', 'rocky', 'almalinux', 'ol', 'fedora')
#: What keeps a module out that config show has nothing to say of.
_BLACKLIST = '/etc/modprobe.d/blacklist-%s.conf'
_SUSE = ('sles', 'opensuse')


def _is(node: model.Node, family: tuple[str, ...]) -> bool:
    return (node.distribution or '').startswith(family)


def _joined(steps: Iterable[str]) -> str:
    """Join steps, each of them once."""
    *first, last = dict.fromkeys(steps)
    if not first:
        return last
    return _("%(first)s, and %(last)s") % {
        'first': ', '.join(first),
        'last': last,
    }


def sentence(steps: Iterable[str]) -> str:
    """Join steps, each of them once, as one sentence."""
    text = _joined(steps)
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
    where = host_kernel.DEFAULTS
    if _is(node, _DEBIAN):
        where = (
            _("%(path)s or %(path)s.d") % {'path': where}
            if old
            else host_kernel.DROP_IN
        )
    values = {'add': add, 'old': shlex.quote(old), 'where': where}
    if old and add:
        step = _(
            "write '%(add)s' for %(old)s in GRUB_CMDLINE_LINUX of %(where)s"
        )
    elif old:
        step = _("take %(old)s out of GRUB_CMDLINE_LINUX in %(where)s")
    elif where == host_kernel.DROP_IN:
        step = _(
            "add the line 'GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX "
            "%(add)s\"' to %(where)s"
        )
    else:
        step = _("add '%(add)s' to GRUB_CMDLINE_LINUX in %(where)s")
    return [step % values, _boot_menu(node)]


def _boot_menu(node: model.Node) -> str:
    """Return what makes the kernel's arguments take effect."""
    if _is(node, _RED_HAT):
        command = f'bash {host_kernel.SCRIPT}'
    elif _is(node, _DEBIAN):
        command = 'update-grub'
    elif _is(node, _SUSE):
        command = 'grub2-mkconfig -o /boot/grub2/grub.cfg'
    else:
        command = _("update-grub (or grub2-mkconfig -o /boot/grub2/grub.cfg)")
    return _("run %s") % command


def arguments(node: model.Node, add: str, remove: Iterable[str] = ()) -> str:
    """Return how arguments of the kernel are changed, as a sentence."""
    return sentence([*argument_steps(node, add, remove), _("reboot")])


def _ramdisk(node: model.Node) -> str:
    if _is(node, _DEBIAN):
        return _("run update-initramfs -u -k all")
    if _is(node, _RED_HAT) or _is(node, _SUSE):
        return _("run dracut --force --regenerate-all")
    return _(
        "run update-initramfs -u -k all (or dracut --force --regenerate-all)"
    )


def blacklist(node: model.Node, module: str) -> str:
    """Return how a module is kept from being loaded."""
    lines, path = f"'blacklist {module}'", _BLACKLIST % module
    if module == 'nouveau':
        lines += f" and 'options {module} modeset=0'"
        path = host_modules.MODPROBE
    return sentence(
        [
            _("write %(lines)s to %(path)s") % {'lines': lines, 'path': path},
            _ramdisk(node),
            _("reboot"),
        ]
    )


def keep_out(subject: Subject, module: str) -> str:
    """Return how a module is kept from what is checked."""
    text = host_modules.modprobe(subject.plan).get(host_modules.MODPROBE, '')
    if subject.is_passthrough and f'blacklist {module}\n' in text:
        return sentence(
            [
                _put(subject, 'modprobe', host_modules.MODPROBE),
                _ramdisk(subject.node),
                _("reboot"),
            ]
        )
    return blacklist(subject.node, module)


def boot_with(subject: Subject, add: str, remove: Iterable[str] = ()) -> str:
    """Return how the kernel gets arguments that GPUs need.

    :param remove: words of the command line as they are
    """
    node, plan = subject.node, subject.plan
    if (
        not add
        or not subject.is_passthrough
        or _is(node, _RED_HAT)
        or not plan.used
        or not set(add.split()).issubset(host_kernel.arguments(plan))
    ):
        return arguments(node, add, remove)
    (path,) = host_kernel.write(plan)
    taken = argument_steps(node, '', remove)[:1] if remove else []
    return sentence(
        [
            *taken,
            _put(subject, 'grub', path),
            _boot_menu(node),
            _("reboot"),
        ]
    )


def _put(subject: Subject, tool: str, path: str) -> str:
    return _("put what '%(command)s' prints in %(path)s") % {
        'command': _show(subject, tool),
        'path': path,
    }


def _show(subject: Subject, tool: str) -> str:
    """Return the command that prints a tool's files."""
    ids = subject.ids
    names = [f'gpu{n}' for n in range(1, len(ids) + 1)]
    if len(ids) == 1:
        names = ['gpu']
    aliases = (f'--alias {n}={i}' for n, i in zip(names, ids, strict=True))
    command = f'openstack gpu node config show --for {tool}'
    return ' '.join([command, *aliases])


def _ids_arguments(node: model.Node) -> list[str]:
    """Return the words of the command line that give vfio-pci its ids."""
    return [
        word
        for word in node.command_line or ()
        if word.replace('-', '_').startswith('vfio_pci.ids=')
    ]


def _old_ids_steps(subject: Subject) -> list[str]:
    """Return how ids for vfio-pci go that would count instead of others."""
    node, plan = subject.node, subject.plan
    old = _ids_arguments(node)
    if old:
        if old == [f'vfio-pci.ids={",".join(plan.vfio_ids)}']:
            return []
        return argument_steps(node, '', old)[:1]
    if set(plan.vfio_ids).issubset(node.vfio_ids or plan.vfio_ids):
        return []
    return [
        _("take 'options vfio-pci ids=...' out of other files of %s")
        % host_modules.MODPROBE.rpartition('/')[0]
    ]


def vfio(
    subject: Subject, gpu: model.Gpu, function: model.Function | None = None
) -> str:
    """Return how vfio-pci gets all that it should.

    :param function: of the GPU, if not its own
    """
    node = subject.node
    if gpu not in subject.plan.passed:
        # By its ids it would get another card, too.
        address = (function or gpu).address
        return _("Run 'driverctl set-override %s vfio-pci'") % address
    tools = host_files.tools(subject.plan)
    steps = [*_old_ids_steps(subject)]
    if 'grub' in tools:
        steps.append(_boot_menu(node))
    steps.append(_ramdisk(node))
    if 'systemd' in tools:
        steps.append(_("make programs executable and enable units"))
    return _(
        "For each <tool> of %(tools)s: put what '%(command)s' prints where "
        "its first line says; then %(steps)s"
    ) % {
        'tools': ', '.join(tools),
        'command': _show(subject, '<tool>'),
        'steps': _joined([*steps, _("reboot")]),
    }


def companion(
    subject: Subject, gpu: model.Gpu, function: model.Function
) -> str:
    """Return what is done with a function beside a GPU."""
    plan = subject.plan
    if gpu not in plan.passed or not host_udev.is_taken_away(plan, function):
        return vfio(subject, gpu, function)
    return sentence(
        [
            _put(subject, 'udev', host_udev.PATH),
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
    if node.vfio_ids is not None and gpu.function.ids not in node.vfio_ids:
        return (
            _(
                "Run 'driverctl unset-override %s', or take away the udev "
                "rule or the unit that sets its driver_override, and reboot"
            )
            % gpu.address
        )
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
    return _(
        "Run '/usr/lib/nvidia/sriov-manage -e %(address)s', and have that "
        "run at each boot: %(command)s"
    ) % {'address': gpu.address, 'command': units('<type>', gpu.address)}


def set_vfs(gpu: model.Gpu, count: int) -> str:
    """Return how a card of others than NVIDIA gets so many VFs."""
    return _("Run 'echo %(count)d > %(path)s' while it has none") % {
        'count': count,
        'path': f'{sysfs(gpu)}/sriov_numvfs',
    }


def units(type_name: str, address: str) -> str:
    """Return the command that prints what makes vGPUs at each boot."""
    return (
        'openstack gpu node config show --for systemd '
        f'--vgpu-type {type_name}={address}'
    )


def disable_vfs(gpu: model.Gpu) -> str:
    """Return how a card of NVIDIA loses its VFs."""
    return (
        _(
            "Run '/usr/lib/nvidia/sriov-manage -d %s' while no server has a "
            "VF or vGPU of it, and disable what makes VFs at each boot"
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
