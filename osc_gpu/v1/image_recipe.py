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

"""``openstack gpu image recipe show``: how to build an image with a driver."""

import argparse

from osc_lib import exceptions

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import options


class ShowImageRecipe(command.Command):
    _description = _("""Show a recipe for an image with a GPU's driver.

Prints a script for bash that makes an image with kernel headers, a compiler,
and the driver if one is named, so that servers have it when they boot first.
What it needs, and how it is used, stands at its beginning. No cloud is asked
for anything.""")

    auth_required = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        from osc_gpu.guest import image_recipe
        from osc_gpu.guest import orders
        from osc_gpu.guest import systems

        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            '--for',
            metavar='<tool>',
            dest='tool',
            required=True,
            choices=image_recipe.TOOLS,
            help=_("What makes the image: %s")
            % ' or '.join(image_recipe.TOOLS),
        )
        parser.add_argument(
            '--guest-os',
            metavar='<distro-version>',
            required=True,
            type=options.checked(systems.parse),
            help=_("System in the image: %s")
            % ', '.join(map(str, systems.SYSTEMS)),
        )
        parser.add_argument(
            '--driver',
            metavar='<driver>',
            choices=orders.DRIVERS,
            default=orders.NONE,
            help=_(
                "Driver to build into the image: %s; with none only what is "
                "needed to build one (default: none)"
            )
            % ', '.join(orders.DRIVERS),
        )
        parser.add_argument(
            '--driver-version',
            metavar='<version>',
            type=options.checked(orders.check_version),
            help=_(
                "Version of the driver, or its beginning, such as 570 or "
                "570.86.15; for amdgpu a release of ROCm (default: the newest "
                "in the vendor's repository)"
            ),
        )
        parser.add_argument(
            '--driver-url',
            metavar='<url>',
            type=options.checked(orders.check_url),
            help=_(
                "Installer of the driver, ending with .run, .deb or .rpm, on "
                "a server that can be reached where the image is made"
            ),
        )
        parser.add_argument(
            '--cuda',
            metavar='<version>',
            type=options.checked(orders.check_cuda),
            help=_("Install this version of the CUDA toolkit, such as 12.9"),
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from osc_gpu.guest import image_recipe
        from osc_gpu.guest import orders

        order = orders.Order(
            parsed_args.driver,
            system=parsed_args.guest_os,
            version=parsed_args.driver_version or '',
            url=parsed_args.driver_url or '',
            cuda=parsed_args.cuda or '',
        )
        try:
            order = orders.complete(order, lambda: None)
            text = image_recipe.text(parsed_args.tool, order)
        except ValueError as exc:
            raise exceptions.CommandError(str(exc)) from exc
        self.app.stdout.write(text)
