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

"""``openstack gpu flavor check``: what is wrong with GPU flavors."""

import argparse
from collections.abc import Iterable
from typing import Any

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import options

_COLUMNS = ('Flavor', 'Severity', 'Check', 'Detail')


class CheckFlavor(command.Check):
    _description = _("""Check flavors that request GPUs (admin only).

Lists what is wrong with them on this cloud: the exit status is 1 if any of
that is an error. Nothing is changed, and no server is made.""")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            'flavors',
            metavar='<flavor>',
            nargs='*',
            help=_(
                "Flavor(s) to check (name or ID); default: all that request a "
                "GPU"
            ),
        )
        options.add_resource_class_option(parser)
        options.add_parallel_option(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
        from osc_gpu.cloud import flavor_checks
        from osc_gpu import findings

        found = flavor_checks.read(
            self.connection,
            parsed_args.flavors,
            also=parsed_args.resource_classes,
            at_once=parsed_args.parallel,
        )
        self.has_error = findings.has_error(found)
        return _COLUMNS, (
            (f.subject, f.severity, f.check, f.detail) for f in found
        )
