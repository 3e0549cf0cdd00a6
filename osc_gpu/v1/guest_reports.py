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
from typing import NamedTuple
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

#: The status of a server whose guest can be asked.
_RUNS = 'ACTIVE'


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


class Seen(NamedTuple):
    """A server, and what its guest said since its last boot.

    :param waited: seconds that there were for it to say something
    """

    server: 'servers.GpuServer'
    report: 'reports.Report | None'
    waited: float = 0


def values(seen: Seen) -> tuple[Any, ...]:
    """Return the values of ``FIELDS``."""
    from osc_gpu.guest import reports

    server = seen.server
    count = server.gpu_request.count
    found = reports.Report() if seen.report is None else seen.report
    return (
        server.id,
        server.name,
        server.gpu_request.text,
        count,
        verdict(seen),
        columns.LinesColumn(problems(seen)),
        summary(seen.report, count),
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


def verdict(seen: Seen) -> str:
    """Return OK, SHORT or NO_REPORT."""
    if seen.report is None:
        return NO_REPORT
    return SHORT if problems(seen) else OK


def problems(seen: Seen) -> list[str]:
    """Return what a guest lacks; that it says nothing is a problem too."""
    from osc_gpu.guest import reports

    server, report, _waited = seen
    if server.status != _RUNS:
        return [_("the server is %s") % server.status]
    if report is None:
        return [_no_report(seen)]
    return reports.shortcomings(report, server.gpu_request.count)


def _no_report(seen: Seen) -> str:
    if not seen.waited:
        return _(
            "no report is on its console since its last boot; to wait for "
            "one, add --timeout <seconds>"
        )
    return _(
        "no report is on its console after %(seconds)d s: it may still be "
        "installing; look again with: openstack gpu server verify %(id)s"
    ) % {'seconds': round(seen.waited), 'id': seen.server.id}


def summary(report: 'reports.Report | None', count: int) -> str:
    """Return a line about a report, or '' for none."""
    from osc_gpu.guest import reports

    return '' if report is None else reports.summary(report, count)


def failure(found: Sequence[Seen]) -> str:
    """Say in one line which servers' GPUs are not proven; '' if all are."""
    short = [
        f'{seen.server.name}: {"; ".join(wrong)}'
        for seen in found
        if (wrong := problems(seen))
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
    conn: 'connection.Connection', server: 'servers.GpuServer'
) -> 'reports.Report | None':
    """Return a server's last report, if it runs and has one to be had."""
    from osc_gpu.cloud import consoles
    from osc_gpu.guest import reports

    if server.status != _RUNS:
        return None
    return reports.find(consoles.peek(conn, server.id))


def watch(
    conn: 'connection.Connection',
    server: 'servers.GpuServer',
    timeout: float,
) -> Seen:
    """Return a server with its last report, when it runs and has one.

    :param timeout: in seconds; 0 looks once
    """
    from osc_gpu.cloud import consoles
    from osc_gpu.guest import reports

    deadline = time.monotonic() + timeout
    if timeout:
        server = _await_start(conn, server, timeout)
    if server.status != _RUNS:
        # What its console has is of a boot that is over.
        return Seen(server, None, timeout)
    left = max(deadline - time.monotonic(), 0)
    return Seen(
        server,
        consoles.watch(conn, server.id, reports.find, left),
        timeout,
    )


def _await_start(
    conn: 'connection.Connection',
    server: 'servers.GpuServer',
    timeout: float,
) -> 'servers.GpuServer':
    """Return a server as it is when it is not on its way to run any more."""
    from osc_gpu.cloud import launch
    from osc_gpu.cloud import servers

    if not launch.is_starting(server):
        return server
    [now] = launch.wait(
        lambda: [servers.read_server(conn, server.id)],
        timeout,
        launch.is_starting,
    )
    return dataclasses.replace(server, status=now.status)


def watch_all(
    conn: 'connection.Connection',
    found: 'Sequence[servers.GpuServer]',
    timeout: float,
) -> list[Seen]:
    """Return several servers with their last reports, when there are any.

    :param timeout: in seconds, for all of them together
    """
    deadline = time.monotonic() + timeout
    return [
        watch(conn, server, max(deadline - time.monotonic(), 0))._replace(
            waited=timeout
        )
        for server in found
    ]
