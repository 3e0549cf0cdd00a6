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

"""What is done with new servers once they run: an address, and a proof.

The servers are there by then, so nothing that fails ends the command: it is
said after what there is to show.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from osc_lib import exceptions

from osc_gpu.cloud import errors
from osc_gpu.i18n import _
from osc_gpu.v1 import floating_ip_options
from osc_gpu.v1 import guest_reports
from osc_gpu.v1 import terminal

if TYPE_CHECKING:
    from openstack import connection

    from osc_gpu.cloud import floating_ips
    from osc_gpu.cloud import servers
    from osc_gpu.guest import reports


class Finish:
    """What came of it, as far as it went.

    :ivar floating_ip: its address; '' without one
    :ivar report: of the first server's guest
    :ivar failure: what went wrong, in one line; '' if nothing did
    """

    floating_ip = ''
    report: 'reports.Report | None' = None
    failure = ''

    def __init__(
        self,
        conn: 'connection.Connection',
        found: 'Sequence[servers.GpuServer]',
    ) -> None:
        self._conn = conn
        self._found = found

    def run(
        self, address: 'floating_ips.Plan | None', timeout: float | None
    ) -> None:
        """Bind a floating IP to the first server, and watch for reports.

        :param timeout: in seconds, for all reports; None for no reports
        """
        from osc_gpu.cloud import interrupts

        try:
            with interrupts.as_ctrl_c():
                if address:
                    self._bind(address)
                if timeout is not None:
                    self._verify(timeout)
        except KeyboardInterrupt:
            self._fail(
                _(
                    "Interrupted: %(servers)s left as created. Look again "
                    "with: openstack gpu server verify %(id)s"
                )
                % {'servers': self._names(), 'id': self._found[0].id}
            )

    def _bind(self, address: 'floating_ips.Plan') -> None:
        try:
            self.floating_ip = floating_ip_options.give(
                self._conn, address, self._found[0]
            )
        except exceptions.CommandError as exc:
            self._fail(str(exc))

    def _verify(self, timeout: float) -> None:
        terminal.progress()(
            _("%(servers)s built%(address)s; waiting up to %(timeout)d s for "
              "what its guest reports")
            % {
                'servers': self._names(),
                'address': self.floating_ip and f', {self.floating_ip}',
                'timeout': timeout,
            }
        )  # fmt: skip
        try:
            reports = guest_reports.watch_all(self._conn, self._found, timeout)
        except errors.REFUSALS as exc:
            self._fail(
                _("%(servers)s created, but cannot be verified: %(why)s")
                % {
                    'servers': self._names(),
                    'why': errors.explain(exc, self._conn),
                }
            )
            return
        self.report = reports[0][1]
        self._fail(guest_reports.failure(reports))

    def _fail(self, why: str) -> None:
        self.failure = '. '.join(filter(None, (self.failure, why)))

    def _names(self) -> str:
        return ', '.join(f'{s.name} ({s.id})' for s in self._found)
