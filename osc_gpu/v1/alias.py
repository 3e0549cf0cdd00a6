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

"""``openstack gpu alias``: the PCI aliases that flavors name."""

import argparse
from collections.abc import Iterable
from typing import Any
from typing import TYPE_CHECKING

from cliff import columns as cliff_columns
from osc_lib.cli import format_columns
from osc_lib.cli import identity as identity_options
from osc_lib import exceptions

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import options

if TYPE_CHECKING:
    from osc_gpu.cloud import alias_list

_COLUMNS = (
    'Name',
    'Defined',
    'Resource Class',
    'Models',
    'Flavors',
    'Servers',
)
_FIELDS = (
    'name',
    'defined',
    'resource_classes',
    'models',
    'flavors',
    'servers',
)

_DEFINED = {True: 'yes', False: 'no', None: 'unknown'}


class ClassesColumn(cliff_columns.FormattableColumn[Any]):
    """Resource classes, or the word unknown while none is known."""

    def human_readable(self) -> str:
        """Return the classes, separated by commas."""
        return ', '.join(self._value) or 'unknown'

    def machine_readable(self) -> Any:
        """Return a list of classes."""
        return list(self._value) or 'unknown'


def _values(alias: 'alias_list.Alias') -> tuple[Any, ...]:
    return (
        alias.name,
        _DEFINED[alias.defined],
        ClassesColumn(alias.resource_classes),
        format_columns.ListColumn(list(alias.models)),
        format_columns.ListColumn(list(alias.flavors)),
        alias.servers,
    )


class ListAlias(command.Lister):
    _description = _("""List PCI aliases that flavors name (admin only).

Nova lists no aliases. Whether one is defined is found by asking for a server
of a flavor that names it, on a host that does not exist: Nova refuses and
nothing is made. The resource class is that of the devices that servers with
the alias hold; it is unknown while there is none. With --host and --project
all aliases are listed, and only servers there are counted.""")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            '--host',
            metavar='<host>',
            type=options.not_empty,
            help=_(
                "Count only servers on this host, as the compute service "
                "names it"
            ),
        )
        identity_options.add_project_owner_option_to_parser(parser)
        options.add_resource_class_option(
            parser,
            _(
                "List only aliases known to stand for this resource class "
                "(repeat option for several)"
            ),
        )
        options.add_parallel_option(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
        from osc_gpu.cloud import alias_list

        project = options.find_project(self.connection, parsed_args)
        found = alias_list.read(
            self.connection,
            host=parsed_args.host,
            project_id=project.id if project else None,
            classes=parsed_args.resource_classes,
            at_once=parsed_args.parallel,
        )
        return _COLUMNS, (_values(alias) for alias in found)


class ShowAlias(command.ShowOne):
    _description = _("Show a PCI alias that a flavor names (admin only)")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            'alias', metavar='<alias>', help=_("PCI alias to show (name)")
        )
        options.add_parallel_option(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        from osc_gpu.cloud import alias_list

        found = alias_list.read(
            self.connection,
            names=(parsed_args.alias,),
            at_once=parsed_args.parallel,
        )
        if not found:
            raise exceptions.CommandError(
                _(
                    "No flavor names a PCI alias '%s': Nova lists no aliases, "
                    "and only those that a flavor names can be probed"
                )
                % parsed_args.alias
            )
        return (*_FIELDS, 'detail'), (*_values(found[0]), found[0].why)
