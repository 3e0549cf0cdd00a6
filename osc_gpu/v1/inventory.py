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

"""``openstack gpu inventory``: the GPUs that Placement knows."""

import argparse
from collections.abc import Iterable
from typing import Any
from typing import TYPE_CHECKING

from cliff import columns as cliff_columns
from osc_lib.cli import format_columns

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import options

if TYPE_CHECKING:
    from osc_gpu.cloud import inventory

_COLUMNS = (
    ('Host', 'host'),
    ('Device', 'device'),
    ('Model', 'model'),
    ('Resource Class', 'resource_class'),
    ('Total', 'total'),
    ('Reserved', 'reserved'),
    ('Used', 'used'),
    ('Free', 'free'),
)
_LONG_COLUMNS = (
    ('Provider ID', 'provider_id'),
    ('Traits', 'traits'),
    ('Servers', 'servers'),
)
_LIMITS = _(
    "Without --host, Total and Reserved of a PCI device with a capacity of 1 "
    "and of a vGPU provider are derived from the capacity, as if nothing was "
    "reserved. A provider without parent and children "
    "(bare-metal node) that has nothing free is listed only with --host."
)


class ServersColumn(cliff_columns.FormattableColumn[Any]):
    """Who holds a GPU: names for people, IDs and amounts for machines."""

    def human_readable(self) -> str:
        """Return a name per line; the ID of what is no server of Nova's."""
        return '\n'.join(holder.name or holder.id for holder in self._value)

    def machine_readable(self) -> list[dict[str, Any]]:
        """Return a list of ``{"id", "name", "amount"}``."""
        return [holder._asdict() for holder in self._value]


def _cell(gpu: 'inventory.GpuInventory', field: str) -> Any:
    value = getattr(gpu, field)
    if field == 'traits':
        return format_columns.ListColumn(list(value))
    if field == 'servers':
        return ServersColumn(value)
    return value


class ListInventory(command.Lister):
    _description = _("List GPU resource providers (admin only)")
    _epilog = _LIMITS  # type: ignore[assignment]

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            '--host',
            metavar='<host>',
            type=options.not_empty,
            help=_(
                "List only GPUs of this host (hypervisor hostname), and ask "
                "for Total and Reserved of each"
            ),
        )
        options.add_resource_class_option(
            parser,
            _(
                "List only this resource class, which counts as that of a "
                "GPU whatever its name is; default: VGPU, PGPU, classes of "
                "PCI devices known as GPUs or accelerators, and classes with "
                "GPU in their name (repeat option to list multiple classes)"
            ),
        )
        parser.add_argument(
            '--free',
            action='store_true',
            help=_("List only GPUs that have something free"),
        )
        parser.add_argument(
            '--long',
            action='store_true',
            help=_(
                "List additional fields in output; takes a request for each "
                "GPU that is in use"
            ),
        )
        options.add_parallel_option(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
        from osc_gpu.cloud import inventory

        gpus = inventory.read(
            self.connection,
            host=parsed_args.host,
            classes=parsed_args.resource_classes,
            free=parsed_args.free,
            details=parsed_args.long,
            at_once=parsed_args.parallel,
        )
        columns = _COLUMNS + (_LONG_COLUMNS if parsed_args.long else ())
        return (
            tuple(header for header, _field in columns),
            (
                tuple(_cell(gpu, field) for _h, field in columns)
                for gpu in gpus
            ),
        )


class ShowInventory(command.ShowOne):
    _description = _("Show a GPU resource provider (admin only)")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            'provider',
            metavar='<provider>',
            help=_(
                "Resource provider to show (name or ID; a device such as "
                "0000:20:00.0 or gpu1_0000:20:00.0 will do if it names only "
                "one)"
            ),
        )
        options.add_resource_class_option(
            parser,
            _(
                "Show this resource class, which counts as that of a GPU "
                "whatever its name is; needed if the provider has several "
                "classes"
            ),
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        from osc_gpu.cloud import inventory

        gpu = inventory.find(
            self.connection,
            parsed_args.provider,
            classes=parsed_args.resource_classes,
        )
        fields = tuple(field for _h, field in _COLUMNS + _LONG_COLUMNS)
        return fields, tuple(_cell(gpu, field) for field in fields)
