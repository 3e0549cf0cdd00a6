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

"""What keeps whole cards from being passed through to servers."""

from osc_gpu import findings
from osc_gpu.i18n import _
from osc_gpu.node import checks_repairs as repairs
from osc_gpu.node import checks_subject
from osc_gpu.node import model
from osc_gpu.node import uses

about = checks_subject.about
Found = checks_subject.Found
shown = checks_subject.shown
some = checks_subject.some
Subject = checks_subject.Subject

#: What is beside a GPU, and the module that would take it, by class.
_COMPANIONS = {
    '0403': ('audio', 'snd_hda_intel'),
    '0c03': ('USB', 'xhci_pci'),
    '0c80': ('UCSI', 'i2c_nvidia_gpu'),
}


def check(subject: Subject) -> Found:
    """Check cards for passthrough; never raises."""
    for gpu in subject.gpus:
        parts = [*_check_vgpus(gpu), *_check_vfs(gpu)]
        # The driver has to stay until they are gone.
        yield from parts or _check_driver(subject, gpu)
        for companion in gpu.companions:
            yield from _check_companion(subject, gpu, companion)
        yield from _check_group(subject, gpu)
        yield from _check_mig(gpu)
    yield from _check_mixed(subject)


def _check_vgpus(gpu: model.Gpu) -> Found:
    count = uses.count_vgpus(gpu)
    if not count:
        return
    if uses.has_mdev(gpu):
        end = _(
            "end them with 'mdevctl stop --uuid <uuid>' ('mdevctl list' "
            "names them)"
        )
    else:
        end = _("write 0 to nvidia/current_vgpu_type of each VF in sysfs")
    yield about(
        gpu,
        findings.ERROR,
        'vgpus',
        _("a vGPU is made on it, and a server may have it")
        if count == 1
        else _("%d vGPUs are made on it, and servers may have them") % count,
        repairs.sentence(
            [
                _("have no server use them"),
                end,
                _("disable what makes them at each boot"),
            ]
        ),
    )


def _check_vfs(gpu: model.Gpu) -> Found:
    """Of other makers' cards it is the VFs that servers get."""
    if gpu.vfs and gpu.function.vendor_id == uses.NVIDIA:
        yield about(
            gpu,
            findings.ERROR,
            'vfs',
            _("it has VFs, and a card is passed whole without them"),
            repairs.disable_vfs(gpu),
        )


def check_console(subject: Subject, are_named: bool) -> Found:
    """Find GPUs that show the host's console; never raises.

    :param are_named: whether only some GPUs are to be checked
    """
    for gpu in subject.gpus if are_named else subject.node.gpus:
        if not gpu.is_console or uses.is_vfio(gpu.function.driver):
            continue
        if gpu in subject.gpus:
            repair = _(
                "Have the firmware show it elsewhere (Primary Display), or "
                "use a serial console or that of the management controller"
            )
        else:
            repair = _(
                "Leave it to the host, as the other fixes do; if servers are "
                "to have it: run 'openstack gpu node check --for passthrough "
                "--address %s'"
            ) % shown(gpu.address)
        yield about(
            gpu,
            findings.WARNING,
            'console',
            _(
                "the host's console is on it: it goes dark when vfio-pci "
                "takes it"
            ),
            repair,
        )


def _check_driver(subject: Subject, gpu: model.Gpu) -> Found:
    driver = gpu.function.driver
    if driver is None or uses.is_vfio(driver):
        return
    if gpu.function.vendor_id != uses.NVIDIA and _may_have_vfs(gpu):
        # It is the VFs that servers get, and this driver made them.
        return
    twins = subject.at_vfio.get(gpu.function.ids)
    if not driver:
        yield from _check_unbound(subject, gpu)
    elif twins:
        yield about(
            gpu,
            findings.WARNING,
            'same-ids',
            _(
                "%(driver)s has it, and vfio-pci has %(twins)s with the same "
                "ids %(ids)s, by which Nova's device_spec takes it for a "
                "server's, too"
            )
            % {
                'driver': shown(driver),
                'twins': some(twins),
                'ids': gpu.function.ids,
            },
            _(
                "If the host is to keep it: name the others by 'address' in "
                "[pci] device_spec of nova.conf; if not: run 'driverctl "
                "set-override %s vfio-pci'"
            )
            % gpu.address,
        )
    else:
        yield about(
            gpu,
            findings.ERROR,
            'driver',
            _("the host's driver %s has it; vfio-pci should") % shown(driver),
            repairs.vfio(subject, gpu),
        )


def _may_have_vfs(gpu: model.Gpu) -> bool:
    return gpu.total_vfs != 0 if gpu.vfs is None else bool(gpu.vfs)


def _check_unbound(subject: Subject, gpu: model.Gpu) -> Found:
    """Libvirt binds vfio-pci itself, if nothing is faster."""
    node = subject.node
    if node.vfio_ids is not None and gpu.function.ids in node.vfio_ids:
        yield about(
            gpu,
            findings.WARNING,
            'driver',
            _(
                "vfio-pci is to take it by its ids %s, and has not: it is "
                "not loaded, or was not when the machine started"
            )
            % gpu.function.ids,
            repairs.vfio(subject, gpu),
        )
        return
    others = [
        module
        for module in gpu.function.modules or ()
        if uses.is_hosts(module)
        and node.blacklisted is not None
        and module not in node.blacklisted
        and module != 'nouveau'
    ]
    if others:
        yield about(
            gpu,
            findings.WARNING,
            'driver',
            _("no driver has it, and %s may take it; vfio-pci should have it")
            % some(others),
            repairs.vfio(subject, gpu),
        )


def _check_companion(
    subject: Subject, gpu: model.Gpu, companion: model.Function
) -> Found:
    driver = companion.driver
    if driver is None or uses.is_vfio(driver):
        return
    kind, module = _COMPANIONS.get(companion.class_id or '', ('other', ''))
    said = {
        'kind': kind,
        'gpu': gpu.address,
        'driver': shown(driver),
        'modules': some(_open_modules(subject.node, companion, module)),
    }
    severity = findings.WARNING
    if not driver:
        if not said['modules'] or _is_taken(subject.node, companion):
            return
        detail = _(
            "nothing keeps %(modules)s from the %(kind)s function of %(gpu)s: "
            "no driver has it, and vfio-pci is not to"
        )
    elif _is_apart(companion, gpu.function):
        detail = _(
            "the host's driver %(driver)s has the %(kind)s function of "
            "%(gpu)s: it may not be possible to reset the card"
        )
    else:
        severity = findings.ERROR
        detail = _(
            "the host's driver %(driver)s has the %(kind)s function of "
            "%(gpu)s, which no server can get without it"
        )
    yield about(
        companion,
        severity,
        'companion',
        detail % said,
        repairs.companion(subject, gpu, companion),
    )


def _is_apart(one: model.Function, other: model.Function) -> bool:
    """Tell whether functions are known to be in two IOMMU groups."""
    groups = (one.iommu_group, other.iommu_group)
    return None not in groups and groups[0] != groups[1]


def _is_taken(node: model.Node, function: model.Function) -> bool:
    """Tell whether vfio-pci may be to take a function."""
    return node.vfio_ids is None or function.ids in node.vfio_ids


def _open_modules(
    node: model.Node, function: model.Function, usual: str
) -> list[str]:
    """Return modules that could take a function at any time."""
    if node.blacklisted is None:
        return []
    modules = function.modules
    if modules is None:
        modules = (usual,) if usual else ()
    return [
        module
        for module in modules
        if uses.is_hosts(module) and module not in node.blacklisted
    ]


def _check_group(subject: Subject, gpu: model.Gpu) -> Found:
    foreign = _foreign(gpu)
    if not foreign:
        return
    used = [f for f in foreign if uses.is_hosts(f.driver)]
    others = [f for f in foreign if f.slot in subject.slots]
    if used:
        detail = _(
            "its IOMMU group has devices that the host uses: %s; no server "
            "gets it"
        ) % some([f'{f.address} ({f.driver})' for f in used])
    elif others:
        detail = _(
            "its IOMMU group has other cards: %s; while a server has one of "
            "them, no other server gets one"
        ) % some([f.address for f in others])
    else:
        detail = _(
            "its IOMMU group has other devices: %s; the host cannot use them "
            "while a server has it"
        ) % some([f.address for f in foreign])
    yield about(
        gpu,
        findings.ERROR if used or others else findings.WARNING,
        'group',
        detail,
        _(
            "Turn on ACS in the firmware, or put the card in a slot with a "
            "group of its own"
        ),
    )


def _foreign(gpu: model.Gpu) -> list[model.Function]:
    """Return what is in a card's IOMMU group without being part of it."""
    own = {vf.function.address for vf in gpu.vfs or ()}
    return [
        function
        for function in gpu.group or ()
        if function.slot != gpu.function.slot and function.address not in own
    ]


def _check_mig(gpu: model.Gpu) -> Found:
    if gpu.mig and gpu.mig.is_enabled:
        yield about(
            gpu,
            findings.WARNING,
            'mig',
            _("MIG is on: a server gets it as it is, and with its instances"),
            repairs.disable_mig(gpu),
        )


def _check_mixed(subject: Subject) -> Found:
    """Find different cards that ids alone do not tell apart."""
    alike: dict[str, list[model.Gpu]] = {}
    for gpu in subject.gpus:
        alike.setdefault(gpu.function.ids, []).append(gpu)
    for ids, gpus in alike.items():
        boards = {board for gpu in gpus if (board := uses.board_of(gpu))}
        sizes = {size for gpu in gpus if (size := _memory(gpu))}
        if len(boards) < 2 and len(sizes) < 2:
            continue
        what = (
            _("subsystems %s") % some(sorted(boards))
            if len(boards) > 1
            else _("memory regions of %s")
            % some([f'{size >> 20} MiB' for size in sorted(sizes)])
        )
        yield subject.finding(
            findings.WARNING,
            'mixed',
            _(
                "cards with the ids %(ids)s differ, %(what)s: an alias by ids "
                "gives out any of them"
            )
            % {'ids': ids, 'what': what},
            _(
                "Give each kind a resource_class, by address, in [pci] "
                "device_spec of nova.conf, and name that in the alias"
            ),
        )


def _memory(gpu: model.Gpu) -> int:
    """Return the size of the largest region, which maps its memory."""
    return max((bar.size for bar in gpu.bars or ()), default=0)
