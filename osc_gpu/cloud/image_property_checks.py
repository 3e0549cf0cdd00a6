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

"""What is wrong with an image for servers with a GPU, whatever the flavor."""

from collections.abc import Iterator

from osc_gpu.cloud import flavor_specs
from osc_gpu.cloud import image_properties as props
from osc_gpu.cloud import image_subject
from osc_gpu import findings
from osc_gpu.i18n import _

Found = image_subject.Found
shown = image_subject.shown
Subject = image_subject.Subject


def check(subject: Subject) -> Found:
    """Check what an image says, by what Nova makes of it; never raises."""
    yield from _check_status(subject)
    yield from _check_values(subject)
    yield from _check_machine_type(subject)
    yield from _check_buses(subject)
    yield from _check_firmware(subject)
    yield from _check_secure_boot(subject)
    yield from _check_hiding(subject)
    yield from _check_video(subject)
    yield from _check_encryption(subject)
    yield from _check_system(subject)


def _check_status(subject: Subject) -> Found:
    if subject.image.status != 'active':
        yield subject.error(
            'status',
            _("the image is %s: Nova makes no server from it")
            % shown(subject.image.status),
        )


def _check_values(subject: Subject) -> Found:
    """See nova/compute/api.py, _get_image_meta_obj."""
    properties = subject.image.properties
    for key, known in props.VALUES.items():
        for name in props.names_of(key):
            if name in properties and (
                props.normalized(key, properties[name]) not in known
            ):
                yield _unknown_value(subject, name, known)


def _unknown_value(
    subject: Subject, name: str, known: tuple[str, ...]
) -> findings.Finding:
    value = subject.image.properties[name]
    right = value.strip().lower()
    return subject.error(
        'unknown-value',
        _(
            "%(name)s is '%(value)s': Nova refuses every server, it knows "
            "%(known)s"
        )
        % {'name': name, 'value': shown(value), 'known': _some(known)},
        subject.set_properties(**{name: right})
        if right in known
        else subject.unset(name),
    )


def _some(known: tuple[str, ...]) -> str:
    """Name values, but not as many as there are processors."""
    if len(known) > 10:
        return _("x86_64, aarch64 and others")
    return ', '.join(known)


def _check_machine_type(subject: Subject) -> Found:
    value = subject.get(props.MACHINE_TYPE)
    is_set = props.MACHINE_TYPE in subject.image.properties
    if is_set and not props.is_machine_type(value):
        yield subject.error(
            'machine-type',
            _("hw_machine_type is '%s', which no host has: no server starts")
            % shown(value),
            subject.unset(props.MACHINE_TYPE),
        )
    elif subject.is_aarch64 and (
        props.is_q35(value) or props.is_i440fx(value)
    ):
        yield subject.error(
            'machine-type',
            _("hw_machine_type is %s, which no host has for aarch64")
            % shown(value),
            subject.unset(props.MACHINE_TYPE),
        )
    elif subject.is_x86 and (not value or props.is_i440fx(value)):
        reasons = list(_reasons_for_q35(subject, bool(value)))
        if reasons:
            yield _wants_q35(subject, value, reasons)


def _wants_q35(
    subject: Subject, value: str, reasons: list[tuple[str, str]]
) -> findings.Finding:
    order = (findings.ERROR, findings.WARNING, findings.INFO)
    said = {
        'value': shown(value),
        'reasons': '; '.join(reason for _severity, reason in reasons),
    }
    return subject.finding(
        min((severity for severity, _reason in reasons), key=order.index),
        'machine-type',
        _("hw_machine_type is %(value)s, which has no PCIe: %(reasons)s")
        % said
        if value
        else _(
            "hw_machine_type is not set, and a host without one of its own in "
            "nova.conf takes pc, which has no PCIe: %(reasons)s"
        )
        % said,
        _set_q35(subject),
    )


def _set_q35(subject: Subject, *more: str) -> str:
    """Return the command for q35, with what has to go with it."""
    if subject.get(props.DISK_BUS) == 'ide':
        firmware = {props.FIRMWARE_TYPE: 'uefi'} if more else {}
        return subject.set_properties(
            hw_machine_type='q35', hw_disk_bus='sata', **firmware
        )
    return subject.set('--machine-type', 'q35', *more)


def _set_uefi(subject: Subject) -> str:
    """Return the command for UEFI: on x86 with q35, as Nova recommends."""
    machine_type = subject.get(props.MACHINE_TYPE)
    if subject.is_x86 and not props.is_q35(machine_type):
        return _set_q35(subject, '--firmware-type', 'uefi')
    return subject.set('--firmware-type', 'uefi')


def _reasons_for_q35(
    subject: Subject, is_set: bool
) -> Iterator[tuple[str, str]]:
    """Say what q35 is needed for, and how bad its lack is.

    What Nova refuses it refuses for sure only where no host's own default can
    be another (nova/virt/libvirt/driver.py).
    """
    refused = findings.ERROR if is_set else findings.WARNING
    viommu = subject.spec('hw:viommu_model') or subject.get(props.VIOMMU_MODEL)
    if subject.is_uefi and subject.secure_boot == 'required':
        yield refused, _("Secure Boot needs q35")
    if viommu:
        yield refused, _("a virtual IOMMU needs q35")
    if subject.is_uefi:
        yield (
            findings.WARNING,
            _("some hosts, such as those on RHEL, have UEFI for q35 only"),
        )
    if subject.driver == image_subject.AMD:
        yield findings.WARNING, _("AMD's ROCm uses atomics of PCIe")
    if subject.takes_devices:
        is_sure = is_set and subject.flavor
        yield (
            findings.WARNING if is_sure else findings.INFO,
            _(
                "drivers may not start cards that map much memory, such as "
                "an A100"
            ),
        )


def _check_buses(subject: Subject) -> Found:
    """libvirt refuses what q35 has not: it was made without IDE."""
    if not props.is_q35(subject.get(props.MACHINE_TYPE)):
        return
    for key, check in (
        (props.DISK_BUS, subject.error),
        # It only matters if there is a CD-ROM, as a config drive may be.
        (props.CDROM_BUS, subject.warning),
    ):
        if subject.get(key) == 'ide':
            yield check(
                'ide',
                _(
                    "%s is ide, which q35 has not: servers do not start; it "
                    "has sata, scsi and virtio"
                )
                % key,
                subject.set_properties(**{key: 'sata'}),
            )


def _check_firmware(subject: Subject) -> Found:
    value = subject.get(props.FIRMWARE_TYPE)
    if subject.is_aarch64 and value == 'bios':
        yield subject.error(
            'firmware-type',
            _("hw_firmware_type is bios, which there is none of for aarch64"),
            subject.set('--firmware-type', 'uefi'),
        )
    elif subject.is_x86 and not value and subject.takes_devices:
        yield subject.info(
            'firmware-type',
            _(
                "hw_firmware_type is not set, so that servers boot by BIOS, "
                "which may find no room for cards that map much memory, or "
                "for several; uefi does, if the image has an EFI system "
                "partition"
            ),
            _set_uefi(subject),
        )


def _check_secure_boot(subject: Subject) -> Found:
    wanted = subject.secure_boot
    if wanted == 'required' and not subject.is_uefi:
        yield subject.warning(
            'secure-boot',
            _(
                "Secure Boot is required, and is off all the same: it needs "
                "hw_firmware_type uefi"
            ),
            _set_uefi(subject),
        )
    elif wanted in ('required', 'optional') and subject.is_uefi:
        yield from _check_signing(subject, wanted)


def _check_signing(subject: Subject, wanted: str) -> Found:
    is_ours = not subject.spec('os:secure_boot')
    fix = subject.set('--secure-boot', 'disabled') if is_ours else ''
    said = {
        'state': _("Secure Boot is required")
        if wanted == 'required'
        else _("Secure Boot is optional, and on where a host has it"),
        'driver': subject.driver,
    }
    if not subject.driver:
        yield subject.info(
            'secure-boot',
            _(
                "%(state)s: only a driver that is signed by a key which the "
                "firmware or the distribution's shim knows is loaded"
            )
            % said,
            fix,
        )
    elif subject.driver != image_subject.NO_DRIVER:
        check = subject.error if wanted == 'required' else subject.warning
        yield check(
            'secure-boot',
            _(
                "%(state)s: it refuses %(driver)s, which is built in each "
                "server and signed by no key that the firmware knows"
            )
            % said,
            fix,
        )


def _check_hiding(subject: Subject) -> Found:
    key = props.HIDE_HYPERVISOR
    value = subject.get(key)
    if key in subject.image.properties and not props.is_boolean(value):
        yield subject.warning(
            'hide-hypervisor',
            _("%(key)s is '%(value)s', which is false to Nova")
            % {'key': key, 'value': shown(value)},
            subject.set('--show-hypervisor'),
        )
    elif flavor_specs.is_true(value):
        yield subject.info(
            'hide-hypervisor',
            _(
                "%s hides KVM, and with it what makes guests fast on it, such "
                "as its clock; only NVIDIA's drivers before 465 need that, "
                "for GeForce cards"
            )
            % key,
            subject.set('--show-hypervisor'),
        )


def _check_video(subject: Subject) -> Found:
    value = subject.get(props.VIDEO_MODEL)
    if value in props.NOT_OF_KVM:
        yield subject.error(
            'video-model',
            _("hw_video_model is %s, which KVM has not: no server starts")
            % value,
            subject.set('--video-model', 'virtio'),
        )
    elif not value and subject.takes_devices:
        yield subject.info(
            'video-model',
            _(
                "hw_video_model is not set: servers have an emulated "
                "graphics card beside the GPU, for the console. If a desktop "
                "is to be on the GPU, it is in the way"
            ),
            subject.set('--video-model', 'none'),
        )


def _check_encryption(subject: Subject) -> Found:
    """See Nova's documentation, doc/source/admin/sev.rst, Limitations."""
    key = props.MEM_ENCRYPTION
    if flavor_specs.is_true(subject.get(key)):
        yield subject.warning(
            'mem-encryption',
            _(
                "%s is true: by Nova's documentation no device can be passed "
                "to a server with encrypted memory"
            )
            % key,
            subject.unset(key),
        )


def _check_system(subject: Subject) -> Found:
    """Check what a driver's installation has to know of the system."""
    if subject.driver == image_subject.NO_DRIVER:
        return
    key = props.OS_TYPE
    if subject.get(key) == 'windows' and (subject.driver or subject.system):
        check = subject.error if subject.driver else subject.warning
        yield check(
            'system',
            _("os_type is windows: no driver can be installed in it")
            if not subject.system
            else _("os_type is windows, and os_distro a Linux: %s")
            % subject.system,
            subject.set('--guest-os', subject.system)
            if subject.system
            else '',
        )
    elif not subject.system:
        yield _unknown_system(subject)
    if subject.driver == image_subject.AMD and subject.is_aarch64:
        yield subject.error(
            'system',
            _("AMD's packages of its driver are for x86_64, not for aarch64"),
        )


def _unknown_system(subject: Subject) -> findings.Finding:
    distro, version = (
        subject.get(key) for key in (props.OS_DISTRO, props.OS_VERSION)
    )
    if distro and version:
        check = subject.error if subject.driver else subject.info
        return check(
            'system',
            _("a driver cannot be installed in %(distro)s %(version)s")
            % {'distro': shown(distro), 'version': shown(version)},
        )
    check = subject.warning if subject.driver else subject.info
    return check(
        'system',
        _(
            "os_distro and os_version do not say what system it is, by which "
            "a driver is chosen; set it with --guest-os"
        ),
    )
