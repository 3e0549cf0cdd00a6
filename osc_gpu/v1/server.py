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

"""``openstack gpu server list`` and ``show``: servers that have a GPU."""

import argparse
from collections.abc import Collection
from collections.abc import Iterable
import dataclasses
from typing import Any
from typing import TYPE_CHECKING

from cliff import columns as cliff_columns
from osc_lib.cli import format_columns
from osc_lib.cli import identity as identity_options

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import options

if TYPE_CHECKING:
    from osc_gpu.cloud import server_devices
    from osc_gpu.cloud import servers
    from osc_gpu.guest import reports

#: The fields of one server, as show and create print them.
FIELDS = (
    'id',
    'name',
    'status',
    'flavor',
    'gpu_request',
    'gpu_count',
    'host',
    'project_id',
    'devices',
    'addresses',
    'report',
    'fault',
)

_COLUMNS = (
    'ID',
    'Name',
    'Status',
    'Flavor',
    'GPU Request',
    'GPU Count',
    'Host',
)
_LONG_COLUMNS = ('Project ID', 'User ID', 'Created At')


class DevicesColumn(cliff_columns.FormattableColumn[Any]):
    """What a server holds: a device per line, or a list of dicts."""

    def human_readable(self) -> str:
        """Return ``<host> <address> <resource class>:<amount>`` lines."""
        return '\n'.join(
            f'{d.host} {d.address} {d.resource_class}:{d.amount}'.lstrip()
            for d in self._value
        )

    def machine_readable(self) -> list[dict[str, Any]]:
        """Return ``{"host", "address", "resource_class", "amount"}``."""
        return [dataclasses.asdict(device) for device in self._value]


def values(
    server: 'servers.GpuServer',
    devices: 'Collection[server_devices.Device]',
    report: 'reports.Report | None' = None,
) -> tuple[Any, ...]:
    """Return the values of ``FIELDS``."""
    from osc_gpu.v1 import guest_reports

    return (
        server.id,
        server.name,
        server.status,
        server.flavor,
        server.gpu_request.text,
        server.gpu_request.count,
        server.host,
        server.project_id,
        DevicesColumn(devices),
        format_columns.DictListColumn(
            {name: list(found) for name, found in server.addresses.items()}
        ),
        guest_reports.summary(report, server.gpu_request.count),
        server.fault,
    )


class ListServer(command.Lister):
    _description = _("""List servers that have a GPU.

Servers whose own flavor, as it was when they were made, requests a GPU. Host
is only shown to whom Nova shows it (admin).""")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            '--all-projects',
            action='store_true',
            help=_("Include all projects (admin only)"),
        )
        parser.add_argument(
            '--host',
            metavar='<host>',
            type=options.not_empty,
            help=_(
                "List only servers on this host, as the compute service names "
                "it; implies --all-projects (admin only)"
            ),
        )
        parser.add_argument(
            '--status',
            metavar='<status>',
            type=options.not_empty,
            help=_("List only servers in this status, such as ACTIVE"),
        )
        parser.add_argument(
            '--flavor',
            metavar='<flavor>',
            type=options.not_empty,
            help=_("List only servers of this flavor (name or ID)"),
        )
        identity_options.add_project_owner_option_to_parser(parser)
        options.add_resource_class_option(parser)
        parser.add_argument(
            '--long',
            action='store_true',
            help=_("List additional fields in output"),
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
        from osc_gpu.cloud import flavors
        from osc_gpu.cloud import servers

        flavor_id = None
        if parsed_args.flavor:
            flavor_id = flavors.find_flavor(
                self.connection, parsed_args.flavor
            ).id
        project = options.find_project(self.connection, parsed_args)
        found = servers.list_servers(
            self.connection,
            all_projects=parsed_args.all_projects,
            host=parsed_args.host,
            status=parsed_args.status,
            flavor_id=flavor_id,
            project_id=project.id if project else None,
            also=parsed_args.resource_classes,
        )
        if parsed_args.long:
            return _COLUMNS + _LONG_COLUMNS, (
                (*_row(server), *_long_row(server)) for server in found
            )
        return _COLUMNS, (_row(server) for server in found)


def _row(server: 'servers.GpuServer') -> tuple[Any, ...]:
    return (
        server.id,
        server.name,
        server.status,
        server.flavor,
        server.gpu_request.text,
        server.gpu_request.count,
        server.host,
    )


def _long_row(server: 'servers.GpuServer') -> tuple[str, ...]:
    return server.project_id, server.user_id, server.created_at


class ShowServer(command.ShowOne):
    _description = _("""Show a server and the GPUs that it holds.

The field devices is what Placement says that the server holds, host, address,
resource class and amount; it is empty without the right to ask Placement
(admin), and for PCI devices that Nova does not report to Placement. The field
report is what the guest last said of its GPUs on its console, if it was made
to; "openstack gpu server verify" shows all of it.""")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            'server',
            metavar='<server>',
            help=_("Server to show (name or ID)"),
        )
        options.add_resource_class_option(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        from osc_gpu.cloud import server_devices
        from osc_gpu.cloud import servers
        from osc_gpu.v1 import guest_reports

        also = parsed_args.resource_classes
        server = servers.find_server(self.connection, parsed_args.server, also)
        servers.warn_of_unknown([server])
        devices = server_devices.read(self.connection, server, also)
        report = guest_reports.read(self.connection, server)
        return FIELDS, values(server, devices, report)
