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

"""``openstack gpu inventory check``: what is wrong with a cloud's GPUs."""

import argparse
from collections.abc import Iterable
from typing import Any

from osc_lib.cli import identity as identity_options

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import inventory_repair
from osc_gpu.v1 import options

_COLUMNS = ('Severity', 'Check', 'Subject', 'Detail', 'Repair')
_STATUSES = _(
    "The exit status is 1 if any finding is an error. What can also be the "
    "sight of a server that is just being built, moved or deleted is looked "
    "at again for some seconds before it becomes a finding."
)


class CheckInventory(command.Check):
    _description = _(
        "Check inventories, allocations and migrations of GPUs (admin only)"
    )
    _epilog = _STATUSES  # type: ignore[assignment]

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            '--host',
            metavar='<host>',
            type=options.not_empty,
            help=_("Check only this host (hypervisor hostname)"),
        )
        options.add_resource_class_option(
            parser,
            _(
                "Check only this resource class, which counts as that of a "
                "GPU whatever its name is (repeat option to check several)"
            ),
        )
        identity_options.add_project_owner_option_to_parser(parser)
        parser.add_argument(
            '--resize-age',
            metavar='<minutes>',
            type=options.whole_number(0),
            default=60,
            help=_(
                "Report resizes that have waited to be confirmed for more "
                "than so many minutes (default: %(default)s)"
            ),
        )
        options.add_parallel_option(parser)
        inventory_repair.add_repair_options(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
        from osc_gpu.cloud import audit
        from osc_gpu import findings

        inventory_repair.check_options(parsed_args)
        project = options.find_project(self.connection, parsed_args)
        audit_options = audit.Options(
            host=parsed_args.host or '',
            classes=parsed_args.resource_classes,
            project_id=project.id if project else '',
            resize_age=parsed_args.resize_age,
            at_once=parsed_args.parallel,
        )
        checked = audit.check(self.connection, audit_options)
        problems = checked.problems
        self.has_error = findings.has_error(problems)
        if parsed_args.repair:
            problems, self.has_error = inventory_repair.repair(
                self.connection, checked, audit_options, parsed_args
            )
        return _COLUMNS, (
            (p.severity, p.check, p.subject, p.detail, p.repair)
            for p in problems
        )
