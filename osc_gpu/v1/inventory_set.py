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

"""``openstack gpu inventory set``: reserve GPUs, and release them."""

import argparse

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import options


class SetInventory(command.Command):
    _description = _(
        "Take a GPU out of scheduling, or give it back (admin only)"
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        from osc_gpu.cloud import extra_specs

        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            'provider',
            metavar='<provider>',
            help=_(
                "Resource provider to modify (name or ID; a device such as "
                "0000:20:00.0 or gpu1_0000:20:00.0 will do if it names only "
                "one)"
            ),
        )
        action = parser.add_mutually_exclusive_group(required=True)
        action.add_argument(
            '--reserve',
            dest='is_reserve',
            action='store_true',
            help=_(
                "Reserve it: no server gets it any more; a server that has "
                "it keeps it"
            ),
        )
        action.add_argument(
            '--release',
            dest='is_reserve',
            action='store_false',
            help=_("Release what is reserved of it"),
        )
        parser.add_argument(
            '--amount',
            metavar='<amount>',
            type=options.whole_number(1),
            help=_(
                "Reserve so many more, or release so many (default: all of "
                "them)"
            ),
        )
        parser.add_argument(
            '--resource-class',
            metavar='<resource-class>',
            type=options.checked(extra_specs.check_resource_class),
            help=_(
                "Modify this resource class, which counts as that of a GPU "
                "whatever its name is; needed if the provider has several "
                "classes"
            ),
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from osc_gpu.cloud import reserving

        reserving.change_reserved(
            self.connection,
            parsed_args.provider,
            reserving.Change(parsed_args.is_reserve, parsed_args.amount),
            parsed_args.resource_class,
        )
