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

"""``openstack gpu server create``: core's, with an eye on the GPU."""

import argparse
from collections.abc import Collection
from collections.abc import Sequence
import logging
import time
from typing import Any
from typing import TYPE_CHECKING

from openstackclient.compute.v2 import server as core_server
from osc_lib import exceptions

from osc_gpu.cloud import errors
from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import options
from osc_gpu.v1 import server as server_commands

if TYPE_CHECKING:
    from osc_gpu.cloud import floating_ips
    from osc_gpu.cloud import launch
    from osc_gpu.cloud import server_devices
    from osc_gpu.cloud import servers

    _Launched = tuple[
        dict[str, Any],
        Sequence[servers.GpuServer],
        Collection[server_devices.Device],
    ]

LOG = logging.getLogger(__name__)

DEFAULT_TIMEOUT = 600


class CreateServer(command.CloudMixin, core_server.CreateServer):
    _description = _("""Create a server with a GPU.

Takes what "openstack server create" takes, and refuses a flavor that requests
no GPU. The compute API microversion is negotiated: no option needs
--os-compute-api-version, and an older one given there withholds the options
that it does not have. Of several servers made at once, all are waited for and
the first is shown.

With --driver the guest installs a driver at first boot, by user data that is
added to your own. With --verify the command waits for what the guest reports
of its GPUs, and ends with exit status 1 if it is not what was asked for.""")

    # Core requires --flavor; the definition below takes its place.
    conflict_handler = 'resolve'

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        from osc_gpu.cloud import extra_specs
        from osc_gpu.v1 import floating_ip_options
        from osc_gpu.v1 import guest_options
        from osc_gpu.v1 import guest_reports

        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        flavor = parser.add_mutually_exclusive_group(required=True)
        flavor.add_argument(
            '--flavor',
            metavar='<flavor>',
            help=_(
                "Create server with this flavor, which has to request a GPU "
                "(name or ID)"
            ),
        )
        flavor.add_argument(
            '--gpu',
            metavar='<request>',
            type=options.checked(extra_specs.parse_request),
            help=_(
                "Create server with the smallest flavor (by VCPUs, then RAM, "
                "then disk) that requests exactly these GPUs: "
                "<alias>[:<count>] or <resource-class>[:<count>], such as "
                "a100:2 or VGPU:1, several joined by commas"
            ),
        )
        parser.add_argument(
            '--timeout',
            metavar='<seconds>',
            type=options.whole_number(1),
            help=_(
                "Seconds after which --wait gives up, leaving the server as "
                "it is (default: %(build)d, with --verify %(verify)d)"
            )
            % {
                'build': DEFAULT_TIMEOUT,
                'verify': guest_reports.DEFAULT_TIMEOUT,
            },
        )
        options.add_resource_class_option(parser)
        guest_options.add_options(parser)
        floating_ip_options.add_options(parser)
        _add_after_options(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        from osc_gpu.cloud import launch
        from osc_gpu.v1 import floating_ip_options
        from osc_gpu.v1 import guest_options

        # The shell has an option of that name, and takes it wherever it
        # stands.
        if getattr(self.app.options, 'verify', None):
            parsed_args.verify = True
        _check(parsed_args)
        also = list(parsed_args.resource_classes)
        if parsed_args.gpu:
            also += [name for name, _n in parsed_args.gpu.classes]
        flavor = launch.choose(
            self.connection, parsed_args.flavor, parsed_args.gpu, also
        )
        if parsed_args.gpu:
            # Below this level nobody would see it.
            LOG.warning(_("Using flavor %s"), flavor.name)
        order = launch.Order(
            parsed_args.server_name, flavor, parsed_args.max, tuple(also)
        )
        guest = guest_options.read_order(
            self.connection, parsed_args, order.gpu_request
        )
        users = guest_options.read_user_data(parsed_args.user_data)
        content = guest_options.pack(guest, users)
        address = floating_ip_options.plan(self.connection, parsed_args)
        if guest and parsed_args.print_user_data:
            return ('user_data',), (guest_options.to_show(guest, users),)
        with guest_options.as_file(content) as path:
            parsed_args.user_data = path if content else None
            return self._make(parsed_args, order, address)

    def produce_output(
        self,
        parsed_args: argparse.Namespace,
        column_names: Sequence[str],
        data: Sequence[Any],
    ) -> int:
        """Print user data as it is, and all else in the format asked for."""
        if parsed_args.print_user_data:
            self.app.stdout.write(data[0])
            return 0
        status: int = super().produce_output(parsed_args, column_names, data)
        return status

    def _make(
        self,
        parsed_args: argparse.Namespace,
        order: 'launch.Order',
        address: 'floating_ips.Plan | None',
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Create, wait, bind and verify, as far as that is asked for."""
        from osc_gpu.v1 import guest_reports
        from osc_gpu.v1 import server_finish

        began = time.monotonic()
        timeout = parsed_args.timeout or (
            guest_reports.DEFAULT_TIMEOUT
            if parsed_args.verify
            else DEFAULT_TIMEOUT
        )
        created, found, devices = self._launch(parsed_args, order, timeout)
        left = max(timeout - (time.monotonic() - began), 0)
        finish = server_finish.Finish(self.connection, found)
        finish.run(address, left if parsed_args.verify else None)
        self.failure = finish.failure
        # Nova tells the password that it made up this once.
        more = {}
        if created.get('adminPass') and not parsed_args.password:
            more['admin_password'] = created['adminPass']
        if finish.floating_ip:
            more['floating_ip'] = finish.floating_ip
        shown = server_commands.values(found[0], devices, finish.report)
        return (*server_commands.FIELDS, *more), (*shown, *more.values())

    def _launch(
        self,
        parsed_args: argparse.Namespace,
        order: 'launch.Order',
        timeout: float,
    ) -> '_Launched':
        """Create the servers and look at them; an interrupt says how far."""
        from osc_gpu.cloud import interrupts
        from osc_gpu.cloud import launch

        earlier = launch.read_earlier(self.connection, order)
        created: dict[str, Any] = {}
        with interrupts.as_ctrl_c():
            try:
                created = self._create(parsed_args, order.flavor.id)
                found = self._look(
                    _waits(parsed_args) and timeout,
                    order,
                    created['id'],
                    earlier,
                )
                _say_others(found)
                devices = self._devices(found[0], order.also)
            except KeyboardInterrupt as exc:
                raise exceptions.CommandError(
                    _("Interrupted: server %s is created and left as it is.")
                    % _named(order, created['id'])
                    if created
                    else _(
                        "Interrupted: server %s may be created. Look with: "
                        "openstack server list"
                    )
                    % order.name
                ) from exc
        return created, found, devices

    def _create(
        self, parsed_args: argparse.Namespace, flavor_id: str
    ) -> dict[str, Any]:
        """Let core create it; return the columns that core would show."""
        parsed_args = argparse.Namespace(**vars(parsed_args))
        parsed_args.flavor = flavor_id
        # Core waits without end, and only for the first of several.
        parsed_args.wait = False
        columns, data = super().take_action(parsed_args)
        return dict(zip(columns, data))

    def _look(
        self,
        timeout: float,
        order: 'launch.Order',
        server_id: str,
        earlier: Collection[str],
    ) -> 'Sequence[servers.GpuServer]':
        """Read the new servers, once they are built; at once without time."""
        from osc_gpu.cloud import launch

        def read() -> 'Sequence[servers.GpuServer]':
            return launch.read_new(self.connection, order, server_id, earlier)

        try:
            if not timeout:
                return read()
            found = launch.wait(read, timeout)
            launch.require_built(self.connection, found, order, timeout)
            return found
        except errors.REFUSALS as exc:
            raise exceptions.CommandError(
                _(
                    "Server %(server)s is created and left as it is, but "
                    "cannot be seen: %(why)s"
                )
                % {
                    'server': _named(order, server_id),
                    'why': errors.explain(exc),
                }
            ) from exc

    def _devices(
        self, server: 'servers.GpuServer', also: Collection[str]
    ) -> 'Collection[server_devices.Device]':
        from osc_gpu.cloud import server_devices

        # Without a host it holds nothing yet, or nobody may see what.
        if not server.host:
            return ()
        return server_devices.read(self.connection, server, also)


def _add_after_options(parser: argparse.ArgumentParser) -> None:
    """Add what is done with a server once it is built."""
    parser.add_argument(
        '--verify',
        '--verify-gpu',
        action='store_true',
        help=_(
            "Wait for what the guest reports of its GPUs, and fail if it is "
            "less than the flavor requests or than was asked for; implies "
            "--wait. Of --verify the shell takes notice too, and verifies the "
            "cloud's certificate, as it does by default: say --verify-gpu "
            "where that is not wanted"
        ),
    )
    parser.add_argument(
        '--print-user-data',
        action='store_true',
        help=_(
            "Print the user data that would be sent, without the licence "
            "token, and make nothing"
        ),
    )


def _check(parsed_args: argparse.Namespace) -> None:
    """Refuse options that are of no use together."""
    from osc_gpu.v1 import floating_ip_options

    if parsed_args.timeout and not _waits(parsed_args):
        raise exceptions.CommandError(
            _("--timeout %d is of no use without --wait") % parsed_args.timeout
        )
    if parsed_args.max > 1 and floating_ip_options.is_asked_for(parsed_args):
        raise exceptions.CommandError(
            _("a floating IP is for one server: omit --max %d")
            % parsed_args.max
        )


def _waits(parsed_args: argparse.Namespace) -> bool:
    from osc_gpu.v1 import floating_ip_options

    return bool(
        parsed_args.wait
        or parsed_args.verify
        or floating_ip_options.is_asked_for(parsed_args)
    )


def _named(order: 'launch.Order', server_id: str) -> str:
    return f'{order.name} ({server_id})'


def _say_others(found: 'Sequence[servers.GpuServer]') -> None:
    if len(found) > 1:
        # Below this level nobody would see it.
        LOG.warning(
            _("Created %(count)d servers: %(servers)s"),
            {
                'count': len(found),
                'servers': ', '.join(f'{s.name} ({s.id})' for s in found),
            },
        )
