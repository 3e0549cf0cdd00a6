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


"""``openstack gpu host list`` and ``show``: hosts that have GPUs."""

import argparse
from collections.abc import Iterable
from typing import Any
from typing import TYPE_CHECKING

from cliff import columns as cliff_columns

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import options

if TYPE_CHECKING:
    from osc_gpu.cloud import hosts

_COLUMNS = ('Host', 'Status', 'State', 'GPUs', 'Used', 'Free', 'Servers')
_FIELDS = (
    'host',
    'status',
    'state',
    'gpus',
    'used',
    'free',
    'disabled_reason',
    'drain',
    'devices',
    'servers',
)
_DEVICE = (
    'device',
    'model',
    'resource_class',
    'total',
    'reserved',
    'used',
    'free',
)


class DrainColumn(cliff_columns.FormattableColumn[Any]):
    """The drain that a host was disabled by, or none."""

    def human_readable(self) -> str:
        """Return its name, when it began and the operator's text."""
        if self._value is None:
            return ''
        run, since, text, was = self._value
        text = f': {text}' if text else ''
        if was is not None:
            text += _("; was disabled before") + (f': {was}' if was else '')
        return _("run %(run)s since %(since)s%(text)s") % {
            'run': run,
            'since': since,
            'text': text,
        }

    def machine_readable(self) -> dict[str, str | None] | None:
        """Return ``{"run", "since", "text", "was"}``, or None."""
        return None if self._value is None else dict(self._value._asdict())


class DevicesColumn(cliff_columns.FormattableColumn[Any]):
    """The GPUs of a host."""

    def human_readable(self) -> str:
        """Return device, class and how much of it is in use, in lines."""
        return '\n'.join(
            _("%(device)s %(class)s: %(used)d of %(total)d used%(reserved)s")
            % {
                'device': gpu.device,
                'class': gpu.resource_class,
                'used': gpu.used,
                'total': gpu.total,
                'reserved': _(", %d reserved") % gpu.reserved
                if gpu.reserved
                else '',
            }
            for gpu in self._value
        )

    def machine_readable(self) -> list[dict[str, Any]]:
        """Return a list of what ``gpu inventory list`` has of each."""
        return [
            {field: getattr(gpu, field) for field in _DEVICE}
            for gpu in self._value
        ]


class ServersColumn(cliff_columns.FormattableColumn[Any]):
    """The servers on a host, those without a GPU too."""

    def human_readable(self) -> str:
        """Return name, status and GPU request, a line for each."""
        return '\n'.join(
            f'{server.name or server.id} {server.status} '
            f'{server.gpu_request.text}'.strip()
            for server in self._value
        )

    def machine_readable(self) -> list[dict[str, str]]:
        """Return a list of ``{"id", "name", "status", "gpu_request"}``."""
        return [
            {
                'id': server.id,
                'name': server.name,
                'status': server.status,
                'gpu_request': server.gpu_request.text,
            }
            for server in self._value
        ]


def _values(found: 'hosts.Details') -> tuple[Any, ...]:
    """Return the values of ``_FIELDS``."""
    return (
        *found.host[:-1],
        found.disabled_reason,
        DrainColumn(found.drain),
        DevicesColumn(found.devices),
        ServersColumn(found.servers),
    )


class ListHost(command.Lister):
    _description = _("""List compute hosts that have GPUs (admin only).

GPUs, Used and Free are what Placement knows; PCI devices that Nova does not
report to it are not among them. Servers counts all servers on the host, those
without a GPU too.""")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            '--all',
            action='store_true',
            help=_("Include hosts without a GPU in Placement"),
        )
        options.add_parallel_option(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
        from osc_gpu.cloud import hosts

        return _COLUMNS, hosts.read(
            self.connection,
            every=parsed_args.all,
            at_once=parsed_args.parallel,
        )


class ShowHost(command.ShowOne):
    _description = _("Show a compute host and its GPUs (admin only)")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            'host',
            metavar='<host>',
            type=options.not_empty,
            help=_(
                "Host to show (as the compute service names it, or its "
                "hypervisor hostname)"
            ),
        )
        options.add_parallel_option(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        from osc_gpu.cloud import hosts

        return _FIELDS, _values(
            hosts.show(self.connection, parsed_args.host, parsed_args.parallel)
        )
