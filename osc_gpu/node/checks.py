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

"""What is wrong with a compute node's GPUs, for what they are to be for."""

from collections.abc import Collection
from collections.abc import Iterator

from osc_gpu import findings
from osc_gpu.i18n import _
from osc_gpu.node import checks_before
from osc_gpu.node import checks_host
from osc_gpu.node import checks_passthrough
from osc_gpu.node import checks_repairs as repairs
from osc_gpu.node import checks_subject
from osc_gpu.node import checks_vgpu
from osc_gpu.node import model
from osc_gpu.node import uses

Found = checks_subject.Found
Subject = checks_subject.Subject

#: The last region of a function itself, and the last of its VFs (Linux
#: include/linux/pci.h).
_REGIONS = 5
_REGIONS_OF_VFS = 12


def check(
    node: model.Node,
    purpose: str = '',
    addresses: Collection[str] = (),
    before: model.Node | None = None,
) -> tuple[findings.Finding, ...]:
    """Check a node; never raises.

    What a fact that is None decides is left out, and named in one finding.

    :param purpose: one of uses.PURPOSES; '' for what is wrong for any
    :param addresses: of the GPUs to check, those that there are; all if none,
        but for what the host needs itself
    :param before: the node as it was, if that is known
    """
    gpus = (
        tuple(gpu for gpu in node.gpus if gpu.address in addresses)
        if addresses
        else uses.spare(node.gpus)
    )
    subject = Subject(node, gpus, purpose)
    found = [*checks_host.check(subject), *_check_regions(subject)]
    if subject.is_passthrough:
        found += checks_passthrough.check(subject)
        found += checks_passthrough.check_console(subject, bool(addresses))
    else:
        found += checks_vgpu.check_any(subject)
    if subject.is_vgpu:
        found += checks_vgpu.check(subject)
    if not purpose:
        found += _check_nouveau(subject)
    if before is not None:
        lost = list(checks_before.check(subject, before, bool(addresses)))
        # What it can have is of no interest then.
        said = {(one.check, one.subject) for one in lost}
        found = [f for f in found if (f.check, f.subject) not in said] + lost
    return findings.ordered([*found, *_check_unknown(subject)])


def _check_nouveau(subject: Subject) -> Found:
    """It is good for no purpose."""
    for gpu in subject.of_nvidia:
        if gpu.function.driver == 'nouveau':
            yield checks_subject.about(
                gpu,
                findings.ERROR,
                'driver',
                _("nouveau has it: no server can get it, or a vGPU of it"),
                repairs.blacklist(subject.node, 'nouveau'),
            )


def _check_regions(subject: Subject) -> Found:
    node = subject.node
    for gpu in subject.gpus:
        most = _REGIONS
        if subject.is_vgpu and uses.needs_vfs(gpu) is not False:
            most = _REGIONS_OF_VFS
        lost = [
            bar
            for bar in gpu.bars or ()
            if not bar.is_assigned and bar.index <= most
        ]
        if not lost:
            continue
        firmware = _("Turn on 'Above 4G Decoding' in the firmware")
        if node.command_line is None or 'pci=realloc' not in node.command_line:
            firmware = _("%(firmware)s; if that does not help: %(fix)s") % {
                'firmware': firmware,
                'fix': repairs.boot_with(subject, 'pci=realloc'),
            }
        yield checks_subject.about(
            gpu,
            findings.ERROR,
            'memory-regions',
            _("no addresses were found for its memory: %s")
            % checks_subject.some(
                [
                    _("region %(index)d of %(size)s")
                    % {'index': bar.index, 'size': _size(bar.size)}
                    for bar in lost
                ]
            ),
            firmware,
        )


def _size(size: int) -> str:
    """Return bytes as people say them."""
    for unit, shift in (('GiB', 30), ('MiB', 20), ('KiB', 10)):
        if size >> shift:
            return f'{size >> shift} {unit}'
    return f'{size} B'


def _check_unknown(subject: Subject) -> Found:
    """Say once what could not be seen, and so was not checked."""
    unknown = list(_unknown(subject))
    if unknown:
        yield subject.finding(
            findings.INFO,
            'unknown',
            _("not checked, as the source does not tell it: %s")
            % ', '.join(unknown),
            _(
                "Run 'openstack gpu node show -f json > node.json' on the "
                "node, and give --from node.json"
            ),
        )


def _unknown(subject: Subject) -> Iterator[str]:
    node, gpus = subject.node, subject.gpus
    if node.has_iommu is None:
        yield _("whether there is an IOMMU")
    if node.command_line is None:
        yield _("the kernel's arguments")
    if node.loaded is None:
        yield _("the modules that are loaded")
    if node.blacklisted is None or node.vfio_ids is None:
        yield _("modprobe's files")
    if any(gpu.function.driver is None for gpu in gpus):
        yield _("drivers")
    if (
        subject.is_passthrough
        and node.has_iommu is not False
        and any(gpu.group is None for gpu in gpus)
    ):
        yield _("IOMMU groups")
    if subject.is_passthrough and any(
        gpu.vfs is None and gpu.function.vendor_id != uses.NVIDIA
        for gpu in gpus
    ):
        yield _("VFs")
    if any(gpu.bars is None for gpu in gpus):
        yield _("memory regions")
    if any(gpu.function.numa_node is None for gpu in gpus):
        yield _("NUMA nodes")
    if subject.is_vgpu and any(
        not uses.tells_vgpus(gpu) for gpu in subject.of_nvidia
    ):
        yield _("VFs and vGPU types")
