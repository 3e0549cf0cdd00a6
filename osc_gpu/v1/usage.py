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

"""``openstack gpu usage``: who uses how many GPUs, and may use how many."""

import argparse
from collections.abc import Iterable
from typing import Any
from typing import TYPE_CHECKING

from osc_lib.cli import format_columns
from osc_lib.cli import identity as identity_options
from osc_lib import exceptions

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import options

if TYPE_CHECKING:
    from osc_gpu.cloud import gpu_hours

_COLUMNS = (
    ('Project', 'project'),
    ('Resource Class', 'resource_class'),
    ('Used', 'used'),
    ('Servers', 'servers'),
    ('Limit', 'limit'),
)
_LONG_COLUMNS = (
    ('Project ID', 'project_id'),
    ('Requested', 'requested'),
)
_HOURS_COLUMN = ('GPU Hours', 'gpu_hours')


def _add_period_options(parser: argparse.ArgumentParser) -> None:
    from osc_gpu.cloud import gpu_hours

    date = options.checked(gpu_hours.parse_date)
    parser.add_argument(
        '--start',
        metavar='<date>',
        type=date,
        help=_(
            "Count the hours of GPUs from the beginning of this day on, UTC, "
            "such as 2026-01-31"
        ),
    )
    parser.add_argument(
        '--end',
        metavar='<date>',
        type=date,
        help=_(
            "Count the hours of GPUs up to the beginning of this day, UTC "
            "(default: until now); needs --start"
        ),
    )


def _period(parsed_args: argparse.Namespace) -> 'gpu_hours.Period | None':
    import datetime

    from osc_gpu.cloud import gpu_hours

    today = datetime.datetime.now(datetime.UTC).date()
    try:
        return gpu_hours.check_period(
            parsed_args.start, parsed_args.end, today
        )
    except ValueError as exc:
        raise exceptions.CommandError(str(exc)) from exc


class ListUsage(command.Lister):
    _description = _("""List GPUs in use by project (admin only).

One row for each resource class of a project that has GPU servers. Used is
what Placement counts, as quotas do: twice while a resize waits to be
confirmed. GPUs of hosts that do not report PCI devices to Placement have the
resource class unknown.""")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        identity_options.add_project_owner_option_to_parser(parser)
        options.add_resource_class_option(
            parser,
            _(
                "List only this resource class, which counts as that of a "
                "GPU whatever its name is (repeat option to list multiple "
                "classes)"
            ),
        )
        _add_period_options(parser)
        parser.add_argument(
            '--long',
            action='store_true',
            help=_("List additional fields in output"),
        )
        options.add_parallel_option(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
        from osc_gpu.cloud import usage

        period = _period(parsed_args)
        project = options.find_project(self.connection, parsed_args)
        rows = usage.read(
            self.connection,
            project=(project.id, project.name) if project else None,
            also=parsed_args.resource_classes,
            period=period,
            at_once=parsed_args.parallel,
        )
        columns = (
            *_COLUMNS,
            *((_HOURS_COLUMN,) if period else ()),
            *(_LONG_COLUMNS if parsed_args.long else ()),
        )
        return (
            tuple(header for header, _field in columns),
            (
                tuple(getattr(row, field) for _h, field in columns)
                for row in rows
            ),
        )


class ShowUsage(command.ShowOne):
    _description = _("""Show the GPUs that your own project uses.

The field used is what Placement counts for the project, by resource class,
and limits what it may use of these. GPU hours are counted by what the flavors
of servers request, resource classes and PCI aliases.""")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        options.add_resource_class_option(parser)
        _add_period_options(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        from osc_gpu.cloud import own_usage

        period = _period(parsed_args)
        found = own_usage.read(
            self.connection, also=parsed_args.resource_classes, period=period
        )
        fields = {
            'project_id': found.project_id,
            'servers': found.servers,
            'used': format_columns.DictColumn(dict(found.used)),
            'limits': format_columns.DictColumn(dict(found.limits)),
        }
        if period:
            fields |= {
                'gpu_hours': format_columns.DictColumn(dict(found.gpu_hours)),
                'period': period.text,
            }
        return tuple(fields), tuple(fields.values())
