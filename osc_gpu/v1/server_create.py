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
    from osc_gpu.cloud import launch
    from osc_gpu.cloud import server_devices
    from osc_gpu.cloud import servers

    _Launched = tuple[
        dict[str, Any], servers.GpuServer, Collection[server_devices.Device]
    ]

LOG = logging.getLogger(__name__)

DEFAULT_TIMEOUT = 600


class CreateServer(command.CloudMixin, core_server.CreateServer):
    _description = _("""Create a server with a GPU.

Takes what "openstack server create" takes, and refuses a flavor that requests
no GPU. The compute API microversion is negotiated: no option needs
--os-compute-api-version, and an older one given there withholds the options
that it does not have. Of several servers made at once, all are waited for and
the first is shown.""")

    # Core requires --flavor; the definition below takes its place.
    conflict_handler = 'resolve'

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        from osc_gpu.cloud import extra_specs

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
                "it is (default: %d)"
            )
            % DEFAULT_TIMEOUT,
        )
        options.add_resource_class_option(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        from osc_gpu.cloud import launch

        if parsed_args.timeout and not parsed_args.wait:
            raise exceptions.CommandError(
                _("--timeout %d is of no use without --wait")
                % parsed_args.timeout
            )
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
        created, server, devices = self._launch(parsed_args, order)
        # Nova tells the password that it made up this once.
        made_up = None if parsed_args.password else created.get('adminPass')
        return _shown(server, devices, made_up)

    def _launch(
        self, parsed_args: argparse.Namespace, order: 'launch.Order'
    ) -> '_Launched':
        """Create the servers and look at them; an interrupt says how far."""
        from osc_gpu.cloud import interrupts
        from osc_gpu.cloud import launch

        earlier = launch.read_earlier(self.connection, order)
        created: dict[str, Any] = {}
        with interrupts.as_ctrl_c():
            try:
                created = self._create(parsed_args, order.flavor.id)
                found = self._look(parsed_args, order, created['id'], earlier)
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
        return created, found[0], devices

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
        parsed_args: argparse.Namespace,
        order: 'launch.Order',
        server_id: str,
        earlier: Collection[str],
    ) -> 'Sequence[servers.GpuServer]':
        """Read the new servers, once they are built if that is wanted."""
        from osc_gpu.cloud import launch

        def read() -> 'Sequence[servers.GpuServer]':
            return launch.read_new(self.connection, order, server_id, earlier)

        try:
            if not parsed_args.wait:
                return read()
            timeout = parsed_args.timeout or DEFAULT_TIMEOUT
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


def _shown(
    server: 'servers.GpuServer',
    devices: 'Collection[server_devices.Device]',
    password: str | None,
) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    fields: tuple[str, ...] = server_commands.FIELDS
    values = server_commands.values(server, devices)
    if password:
        return (*fields, 'admin_password'), (*values, password)
    return fields, values


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
