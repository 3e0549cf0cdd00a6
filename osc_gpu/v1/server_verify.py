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

"""``openstack gpu server verify``: what the guest says of its GPUs."""

import argparse
from typing import Any

from osc_lib import exceptions

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import options


class VerifyServer(command.ShowOne):
    _description = _("""Show what a server's guest reports of its GPUs.

Reads the last report from the server's console, which a guest writes at each
boot if it was made with "gpu server create --driver" or "--verify", and
compares it with what the server's flavor requests and its user asked for.
Ends with exit status 1 unless all is as it should be; without a report since
its last boot nothing is proven, nor while the server is not ACTIVE. To get a
new one, reboot the server, or run "sudo osc-gpu-report" in it.""")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            'server',
            metavar='<server>',
            help=_("Server to verify (name or ID)"),
        )
        parser.add_argument(
            '--timeout',
            metavar='<seconds>',
            type=options.whole_number(0),
            default=0,
            help=_(
                "Seconds to wait for a report if there is none yet "
                "(default: 0)"
            ),
        )
        options.add_resource_class_option(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        from osc_gpu.cloud import interrupts
        from osc_gpu.cloud import servers
        from osc_gpu.v1 import guest_reports

        server = servers.find_server(
            self.connection, parsed_args.server, parsed_args.resource_classes
        )
        servers.warn_of_unknown([server])
        if not (server.gpu_request or server.is_hidden or server.is_partial):
            raise exceptions.CommandError(
                _("Server %(name)s has flavor %(flavor)s, without a GPU")
                % {'name': server.name, 'flavor': server.flavor}
            )
        with interrupts.explained(
            _("Interrupted before server %s reported") % server.name
        ):
            seen = guest_reports.watch(
                self.connection, server, parsed_args.timeout
            )
        self.failure = guest_reports.failure([seen])
        return guest_reports.FIELDS, guest_reports.values(seen)
