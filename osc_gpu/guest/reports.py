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

"""What a guest said of its GPUs on its console, and whether it is enough.

The report is written by ``scripts/report.sh``: a line of JSON between two
markers. Everything in it comes from the guest, so nothing in it is trusted
to have a type, a length, or only characters that a terminal can take.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import json
import re
from typing import Any

from osc_gpu.guest import orders
from osc_gpu.i18n import _

#: A report; or the line with which a kernel begins (linux_banner, in
#: init/version.c), and not a system that is named so.
_SAID = re.compile(
    'osc-gpu-report-begin (.*?) osc-gpu-report-end'
    r'|(?<![A-Za-z] )Linux version \d'
)
#: Characters of a text, and GPUs, that are taken at most.
_LONGEST = 400
_MOST_GPUS = 64


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A GPU that the driver has.

    :param memory_mib: MiB; None if it is not told
    :param mig: Enabled, Disabled, or '' for a card that has no MIG
    """

    address: str
    name: str
    memory_mib: int | None = None
    mig: str = ''


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the guest was asked for when it was launched."""

    driver: str = orders.NONE
    version: str = ''
    cuda: str = ''
    license: bool = False
    workload: str = ''


@dataclasses.dataclass(frozen=True)
class Report:
    """What a guest said; '' where it said nothing.

    :param time: of the guest's clock, UTC
    :param pci: the addresses of the GPUs that its PCI bus has
    :param gpus: those that its driver has
    :param driver: the driver's name
    :param cuda: what the driver can do at most
    :param cuda_toolkit: what is installed
    :param error: what went wrong first
    """

    time: str = ''
    system: str = ''
    kernel: str = ''
    asked: Asked = Asked()
    pci: tuple[str, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    driver: str = ''
    driver_version: str = ''
    cuda: str = ''
    cuda_toolkit: str = ''
    license: str = ''
    secure_boot: bool | None = None
    workload: str = ''
    workload_detail: str = ''
    error: str = ''

    @property
    def is_licensed(self) -> bool:
        """Whether each vGPU has its licence."""
        return self.license.startswith('Licensed')


def find(console: str) -> Report | None:
    """Return the last report in a console's text that can be read.

    One from before the last boot, if the text has that, is none.
    """
    for text in reversed(_SAID.findall(console)):
        if not text:
            return None
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            # The kernel spoke in the middle of it.
            continue
        if isinstance(found, dict):
            return _report(found)
    return None


def _report(found: Mapping[str, Any]) -> Report:
    asked = found.get('asked')
    asked = asked if isinstance(asked, dict) else {}
    secure = found.get('secure_boot')
    return Report(
        asked=Asked(
            driver=_text(asked.get('driver')) or orders.NONE,
            version=_text(asked.get('version')),
            cuda=_text(asked.get('cuda')),
            license=asked.get('license') is True,
            workload=_text(asked.get('workload')),
        ),
        pci=tuple(_text(one.get('address')) for one in _objects(found, 'pci')),
        gpus=tuple(_gpu(one) for one in _objects(found, 'gpus')),
        secure_boot=secure if isinstance(secure, bool) else None,
        **{name: _text(found.get(name)) for name in _TEXTS},
    )


_TEXTS = (
    'time',
    'system',
    'kernel',
    'driver',
    'driver_version',
    'cuda',
    'cuda_toolkit',
    'license',
    'workload',
    'workload_detail',
    'error',
)


def _objects(found: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    values = found.get(name)
    values = values if isinstance(values, list) else []
    return [one for one in values[:_MOST_GPUS] if isinstance(one, dict)]


def _gpu(found: Mapping[str, Any]) -> Gpu:
    memory = found.get('memory_mib')
    is_number = isinstance(memory, int) and not isinstance(memory, bool)
    return Gpu(
        _text(found.get('address')),
        _text(found.get('name')),
        memory if is_number else None,
        _text(found.get('mig')),
    )


def _text(value: object) -> str:
    text = value if isinstance(value, str) else ''
    return ''.join(c if c.isprintable() else ' ' for c in text[:_LONGEST])


def shortcomings(report: Report, count: int) -> list[str]:
    """Say what a guest lacks of what it was to have; nothing if all is well.

    :param count: of the GPUs that its flavor requests
    """
    return list(_shortcomings(report, count))


def _shortcomings(report: Report, count: int) -> Iterator[str]:
    asked = report.asked
    # The first error explains the others.
    if report.error:
        yield report.error
    if len(report.pci) < count:
        yield _("its PCI bus has %(found)d of %(count)d GPUs") % {
            'found': len(report.pci),
            'count': count,
        }
    # Without one no GPU works, whoever was to install it.
    if not report.driver:
        yield _("no driver is loaded")
    elif len(report.gpus) < count:
        yield _("the driver has %(found)d of %(count)d GPUs") % {
            'found': len(report.gpus),
            'count': count,
        }
    if not _begins(report.driver_version, asked.version):
        yield _("the driver is %(found)s, and %(asked)s was asked for") % {
            'found': report.driver_version or _("not there"),
            'asked': asked.version,
        }
    if not _begins(report.cuda_toolkit, asked.cuda):
        yield _("CUDA is %(found)s, and %(asked)s was asked for") % {
            'found': report.cuda_toolkit or _("not there"),
            'asked': asked.cuda,
        }
    if _needs_license(report) and not report.is_licensed:
        yield _("the vGPU is not licensed: %s") % (
            report.license or _("the driver tells nothing of a licence")
        )
    if asked.workload and report.workload != 'passed':
        yield _("workload %(name)s has not passed: %(detail)s") % {
            'name': asked.workload,
            'detail': report.workload_detail or _("it has not run"),
        }


def _needs_license(report: Report) -> bool:
    """Whether it is a vGPU: no other driver tells the state of a licence.

    Its licence can come from the image, or the user's own user data.
    """
    asked = report.asked
    return bool(asked.license or asked.driver == orders.VGPU or report.license)


def _begins(found: str, asked: str) -> bool:
    """Whether a version is the one that was asked for, or one of those."""
    return not asked or f'{found}.'.startswith(f'{asked}.')


def summary(report: Report, count: int) -> str:
    """Return a line such as ``1 of 1 GPUs, NVIDIA A100, driver 570.86``."""
    names = sorted({gpu.name for gpu in report.gpus if gpu.name})
    seen = report.gpus if report.driver else report.pci
    said = [_("%(found)d of %(count)d GPUs")
            % {'found': len(seen), 'count': count}, *names]  # fmt: skip
    if report.driver:
        said.append(_("driver %s") % (report.driver_version or report.driver))
    else:
        said.append(_("no driver"))
    cuda = report.cuda_toolkit or report.cuda
    if cuda:
        said.append(_("CUDA %s") % cuda)
    if report.license:
        said.append(_("licence %s") % report.license)
    return ', '.join(said)
