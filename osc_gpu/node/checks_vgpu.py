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

"""What keeps cards from being divided into vGPUs, of the kind asked for."""

import collections

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


def check(subject: Subject) -> Found:
    """Check cards for vGPUs; never raises.

    What hangs on something that is wrong already is not said again.
    """
    for gpu in subject.gpus:
        found = (
            list(_check_any_types(subject, gpu))
            or list(_check_kind(subject, gpu))
            or list(_check_driver(subject, gpu))
            or list(_check_vfs(subject, gpu))
            or list(_check_types(subject, gpu))
        )
        yield from found


def check_any(subject: Subject) -> Found:
    """Check what vGPUs there are, for whatever; never raises."""
    for gpu in subject.gpus:
        yield from _check_mig(gpu, subject.is_vgpu)
        if not subject.is_vgpu and (gpu.vfs or ()):
            yield from _check_vfs(subject, gpu)


def _check_any_types(subject: Subject, gpu: model.Gpu) -> Found:
    """What the table of types lacks may be a gap; a driver knows."""
    if gpu.function.driver is None or uses.may_have_vgpus(gpu):
        return
    name = shown(uses.model_of(gpu))
    if uses.has_no_vgpus(subject.node, gpu):
        yield about(
            gpu,
            findings.ERROR,
            'no-vgpus',
            _("no vGPU type of this model is known, and it offers none: %s")
            % name,
            _("Pass it through, and %s") % repairs.check_for(uses.PASSTHROUGH),
        )
    else:
        yield about(
            gpu,
            findings.WARNING,
            'no-vgpus',
            _(
                "no vGPU type of this model is known, and only the driver of "
                "NVIDIA's vGPU manager tells whether it has any: %s"
            )
            % name,
            _("%s; then check again") % repairs.manager(subject.node),
        )


def _check_driver(subject: Subject, gpu: model.Gpu) -> Found:
    """Its driver has to be that of the vGPU manager."""
    if gpu.function.driver is None:
        return
    repair = _repair_driver(subject, gpu, gpu.function.driver)
    if repair:
        detail = _("%s has it; the driver of NVIDIA's vGPU manager should")
        if gpu.function.driver == 'nvidia':
            detail = _(
                "%s has it, but not the driver of the vGPU manager: "
                "nvidia_vgpu_vfio is not loaded"
            )
        driver = shown(gpu.function.driver) or _("no driver")
        yield about(gpu, findings.ERROR, 'driver', detail % driver, repair)


def _repair_driver(subject: Subject, gpu: model.Gpu, driver: str) -> str:
    """Return what gives a card the right driver; '' if it has that."""
    node = subject.node
    if gpu.function.vendor_id != uses.NVIDIA:
        return ''
    if uses.is_vfio(driver):
        return repairs.release(subject, gpu)
    if driver == 'nouveau':
        return '; '.join(
            [repairs.blacklist(node, driver), repairs.manager(node)]
        )
    is_manager = (
        node.loaded is None
        or uses.has_manager(node)
        or uses.has_mdev(gpu)
        or uses.has_vendor_vfio(gpu)
    )
    if driver == 'nvidia' and is_manager:
        return ''
    return repairs.manager(node)


def _check_kind(subject: Subject, gpu: model.Gpu) -> Found:
    """A kernel has mediated devices on VFs, or the vendor's VFIO."""
    if not uses.may_have_vgpus(gpu):
        return
    mode = uses.vgpu_mode(subject.node, gpu)
    if subject.purpose == uses.VGPU and mode == uses.VFIO_VGPU:
        yield about(
            gpu,
            findings.ERROR,
            'vendor-vfio',
            _(
                "with this kernel its vGPUs are VFs of the vendor's VFIO "
                "driver, and [devices] enabled_mdev_types finds none"
            ),
            _("Pass its VFs through, with 'managed': 'no', and %s")
            % repairs.check_for(uses.VFIO_VGPU),
        )
    elif subject.purpose == uses.VFIO_VGPU and mode == uses.VGPU:
        yield about(
            gpu,
            findings.ERROR,
            'mdev',
            _(
                "with this kernel its vGPUs are mediated devices, and its "
                "VFs cannot be passed through as vGPUs"
            )
            if uses.needs_vfs(gpu) is not False
            else _("with any kernel its vGPUs are mediated devices, not VFs"),
            _("Set [devices] enabled_mdev_types, and %s")
            % repairs.check_for(uses.VGPU),
        )


def _check_vfs(subject: Subject, gpu: model.Gpu) -> Found:
    if gpu.vfs is None:
        return
    total, count = gpu.total_vfs, len(gpu.vfs)
    if not count:
        if uses.needs_vfs(gpu) and not uses.has_mdev(gpu):
            yield about(
                gpu,
                findings.ERROR,
                'vfs',
                _("it has no VFs, on which vGPUs of such a card are made"),
                repairs.enable_vfs(gpu)
                if total != 0
                else _("Turn on SR-IOV in the firmware"),
            )
    elif total is not None and count < total:
        yield about(
            gpu,
            findings.WARNING,
            'vfs',
            _("it has %(count)d VFs, and can have %(total)d")
            % {'count': count, 'total': total},
            repairs.enable_vfs(gpu)
            if gpu.function.vendor_id == uses.NVIDIA
            else repairs.set_vfs(gpu, total),
        )


def _check_types(subject: Subject, gpu: model.Gpu) -> Found:
    if subject.purpose == uses.VFIO_VGPU:
        yield from _check_vendor_types(subject, gpu)
    elif uses.tells_vgpus(gpu) and not uses.has_mdev(gpu):
        yield about(
            gpu,
            findings.ERROR,
            'mdev-types',
            _(
                "it offers no mdev types: its displays are on, as some models "
                "have them, or the driver is too old, or too new, for it"
            ),
            _(
                "Turn its displays off with NVIDIA's displaymodeselector, or "
                "install a release of the vGPU manager that knows it"
            ),
        )


def _check_vendor_types(subject: Subject, gpu: model.Gpu) -> Found:
    vfs = [vf for vf in gpu.vfs or () if vf.vgpus is not None]
    if not uses.has_vendor_vfio(gpu):
        mode = uses.vgpu_mode(subject.node, gpu)
        if uses.tells_vgpus(gpu):
            yield about(
                gpu,
                findings.ERROR,
                'vendor-vfio',
                _("its VFs are none of the vendor's VFIO driver"),
                repairs.manager(subject.node)
                if mode == uses.VFIO_VGPU
                else _("Use a kernel of 6.8 or newer, as of Ubuntu 24.04"),
            )
        return
    wrong = [vf for vf in vfs if uses.is_vfio(vf.function.driver)]
    yield from (_wrong_driver(vf) for vf in wrong)
    groups = _shared_groups(gpu)
    if groups:
        yield about(
            gpu,
            findings.ERROR,
            'group',
            _("several of its VFs are in IOMMU group %s") % some(groups),
            _("Turn on ACS in the firmware"),
        )
    yield from _check_set_types(gpu, vfs)


def _wrong_driver(vf: model.VirtualFunction) -> findings.Finding:
    return about(
        vf.function,
        findings.ERROR,
        'driver',
        _("%s has the VF, and no vGPU is made of it; nvidia should")
        % shown(vf.function.driver or ''),
        _("Run 'driverctl set-override %s nvidia'") % vf.function.address,
    )


def _shared_groups(gpu: model.Gpu) -> list[str]:
    groups = collections.Counter(
        vf.function.iommu_group for vf in gpu.vfs or ()
    )
    return [g for g, count in groups.items() if g and count > 1]


def _check_set_types(
    gpu: model.Gpu, vfs: list[model.VirtualFunction]
) -> Found:
    """A VF without a type is no vGPU; once a card is full, others get none."""
    is_any_set = any(_type_of(vf) not in ('', '0') for vf in vfs)
    for vf in vfs:
        types = vf.vgpus.vendor_types if vf.vgpus else None
        if _type_of(vf) != '0' or not types:
            continue
        yield about(
            gpu,
            findings.INFO if is_any_set else findings.ERROR,
            'vgpu-type',
            _("there is room for more vGPUs: VF %s has no type")
            % vf.function.address
            if is_any_set
            else _("none of its VFs has a vGPU type: servers would get none"),
            _(
                "Run 'echo %(type)s > %(path)s' for one of the types: "
                "%(all)s; and have that run at each boot: %(command)s"
            )
            % {
                'type': shown(types[0].id) if len(types) == 1 else '<id>',
                'path': f'{repairs.sysfs(vf.function)}/nvidia/'
                'current_vgpu_type',
                'all': some([f'{type_.id} ({type_.name})' for type_ in types]),
                'command': repairs.units('<name>', vf.function.address),
            },
        )
        return


def _type_of(vf: model.VirtualFunction) -> str:
    return (vf.vgpus and vf.vgpus.vendor_type) or ''


def _check_mig(gpu: model.Gpu, is_vgpu: bool) -> Found:
    """A card in MIG has only types of MIG, and other cards have none."""
    if gpu.mig is None or gpu.mig.is_enabled is None:
        return
    names = set(_names_in_use(gpu)) or set(_names_to_be_had(gpu))
    backed = {name for name in names if uses.is_mig_backed(name)}
    if gpu.mig.is_enabled and names - backed:
        yield about(
            gpu,
            findings.ERROR,
            'mig-types',
            _("MIG is on, and %s share time: they do not work")
            % some(sorted(names - backed)),
            _("%s, or set types such as ...-1-10C") % repairs.disable_mig(gpu),
        )
    elif not gpu.mig.is_enabled and backed:
        yield about(
            gpu,
            findings.ERROR,
            'mig-types',
            _("MIG is off, and %s are parts of MIG: they do not work")
            % some(sorted(backed)),
            _("Run 'nvidia-smi -i %s -mig 1' while no server has it")
            % gpu.address,
        )
    elif gpu.mig.is_enabled and is_vgpu and gpu.mig.instances == ():
        yield about(
            gpu,
            findings.ERROR,
            'mig',
            _("MIG is on, and there are no GPU instances to make vGPUs of"),
            _(
                "Run 'nvidia-smi mig -i %s -cgi <profile>,...' with profiles "
                "that 'nvidia-smi mig -lgip' lists"
            )
            % gpu.address,
        )


def _names_in_use(gpu: model.Gpu) -> list[str]:
    """Return names of the types that vGPUs of a card have."""
    names = [t.name for t in uses.mdev_types(gpu) if t.created and t.name]
    for _function, vgpus in uses.vgpus_of(gpu):
        names += [
            type_.name
            for type_ in vgpus.vendor_types or ()
            if type_.id == vgpus.vendor_type
        ]
    return names


def _names_to_be_had(gpu: model.Gpu) -> list[str]:
    """Return names of the types that vGPUs of a card could have now."""
    names = [t.name for t in uses.mdev_types(gpu) if t.available and t.name]
    for _function, vgpus in uses.vgpus_of(gpu):
        names += [type_.name for type_ in vgpus.vendor_types or ()]
    return names
