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

"""What guests report of their GPUs, as columns and as words."""

from collections.abc import Sequence
import dataclasses
import time
from typing import Any
from typing import TYPE_CHECKING

from cliff import columns as cliff_columns

from osc_gpu.i18n import _
from osc_gpu.v1 import columns

if TYPE_CHECKING:
    from openstack import connection

    from osc_gpu.cloud import servers
    from osc_gpu.guest import reports

#: Seconds that a report is waited for: drivers are built and downloaded.
DEFAULT_TIMEOUT = 1800

FIELDS = (
    'id',
    'name',
    'gpu_request',
    'gpu_count',
    'verdict',
    'problems',
    'summary',
    'reported_at',
    'system',
    'kernel',
    'pci_addresses',
    'gpus',
    'driver',
    'driver_version',
    'cuda',
    'cuda_toolkit',
    'license',
    'secure_boot',
    'workload',
    'workload_detail',
)

OK, SHORT, NO_REPORT = 'ok', 'short', 'no report'


class GpusColumn(cliff_columns.FormattableColumn[Any]):
    """The GPUs that a guest's driver has, a line for each."""

    def human_readable(self) -> str:
        """Return ``<address> <name> <MiB> MiB`` lines."""
        return '\n'.join(
            f'{gpu.address} {gpu.name}'
            + (f' {gpu.memory_mib} MiB' if gpu.memory_mib else '')
            + (f' MIG {gpu.mig}' if gpu.mig else '')
            for gpu in self._value
        )

    def machine_readable(self) -> list[dict[str, Any]]:
        """Return ``{"address", "name", "memory_mib", "mig"}``."""
        return [dataclasses.asdict(gpu) for gpu in self._value]


def values(
    server: 'servers.GpuServer', report: 'reports.Report | None'
) -> tuple[Any, ...]:
    """Return the values of ``FIELDS``."""
    from osc_gpu.guest import reports

    count = server.gpu_request.count
    found = reports.Report() if report is None else report
    return (
        server.id,
        server.name,
        server.gpu_request.text,
        count,
        verdict(report, count),
        columns.LinesColumn(problems(report, count)),
        summary(report, count),
        found.time,
        found.system,
        found.kernel,
        columns.LinesColumn(found.pci),
        GpusColumn(found.gpus),
        found.driver,
        found.driver_version,
        found.cuda,
        found.cuda_toolkit,
        found.license,
        found.secure_boot,
        found.workload,
        found.workload_detail,
    )


def verdict(report: 'reports.Report | None', count: int) -> str:
    """Return OK, SHORT or NO_REPORT."""
    if report is None:
        return NO_REPORT
    return SHORT if problems(report, count) else OK


def problems(report: 'reports.Report | None', count: int) -> list[str]:
    """Return what a guest lacks; that it says nothing is a problem too."""
    from osc_gpu.guest import reports

    if report is None:
        return [_("no report is on its console")]
    return reports.shortcomings(report, count)


def summary(report: 'reports.Report | None', count: int) -> str:
    """Return a line about a report, or '' for none."""
    from osc_gpu.guest import reports

    return '' if report is None else reports.summary(report, count)


def failure(
    found: 'Sequence[tuple[servers.GpuServer, reports.Report | None]]',
) -> str:
    """Say in one line which servers' GPUs are not proven; '' if all are."""
    short = [
        f'{server.name}: {"; ".join(wrong)}'
        for server, report in found
        if (wrong := problems(report, server.gpu_request.count))
    ]
    if not short:
        return ''
    if len(found) == 1:
        return _("GPUs are not proven to work: %s") % short[0]
    return _(
        "%(short)d of %(all)d servers' GPUs are not proven: %(which)s"
    ) % {
        'short': len(short),
        'all': len(found),
        'which': '. '.join(short),
    }


def read(
    conn: 'connection.Connection', server_id: str
) -> 'reports.Report | None':
    """Return a server's last report, if it has one that can be had."""
    from osc_gpu.cloud import consoles
    from osc_gpu.guest import reports

    return reports.find(consoles.peek(conn, server_id))


def watch(
    conn: 'connection.Connection', server_id: str, timeout: float
) -> 'reports.Report | None':
    """Return a server's last report, when there is one.

    :param timeout: in seconds
    """
    from osc_gpu.cloud import consoles
    from osc_gpu.guest import reports

    return consoles.watch(conn, server_id, reports.find, timeout)


def watch_all(
    conn: 'connection.Connection',
    found: 'Sequence[servers.GpuServer]',
    timeout: float,
) -> 'list[tuple[servers.GpuServer, reports.Report | None]]':
    """Return several servers with their last reports, when there are any.

    :param timeout: in seconds, for all of them together
    """
    deadline = time.monotonic() + timeout
    return [
        (server, watch(conn, server.id, max(deadline - time.monotonic(), 0)))
        for server in found
    ]
