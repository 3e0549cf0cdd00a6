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

"""``openstack gpu server recover``: a server that is stuck."""

import argparse
from typing import Any

from osc_lib import exceptions

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import columns
from osc_gpu.v1 import move_columns
from osc_gpu.v1 import options
from osc_gpu.v1 import terminal

_FIELDS = (
    'id',
    'name',
    'status',
    'host',
    'diagnosis',
    'steps',
    'result',
    'instructions',
    'leftover',
    'detail',
)

#: Seconds that Nova may take over what it is doing with the server.
_TIMEOUT = 1800


class RecoverServer(command.ShowOne):
    _description = _("""Recover a server that has a GPU and is stuck.

Finds out what is wrong with it after a migration that failed or was broken
off, does the least that heals it, and proves that it is healed. Where no API
heals it, instructions say what to do. A command that was killed is run again:
it goes on where the server stands (admin only).""")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        from osc_gpu.cloud import recovery_methods

        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            'server',
            metavar='<server>',
            type=options.not_empty,
            help=_("Server to recover (name or ID)"),
        )
        parser.add_argument(
            '--dry-run',
            action='store_true',
            help=_("Show what is wrong and what would be done; do nothing"),
        )
        parser.add_argument(
            '--force',
            action='store_true',
            help=_("Recover despite somebody's lock, which stays as it is"),
        )
        parser.add_argument(
            '--method',
            metavar='<method>',
            choices=recovery_methods.METHODS,
            default=recovery_methods.AUTO,
            help=_(
                "auto (default); confirm or revert a migration, proven or "
                "not; restart (stop and start); migrate, which makes vGPUs "
                "anew; bounce (migrate to where devices are claimed, and "
                "back) despite too few free GPUs; reset (reset the state, "
                "stop, start), which only Nova before 26 (Zed) bears"
            ),
        )
        parser.add_argument(
            '--wait',
            metavar='<seconds>',
            type=options.whole_number(1),
            default=_wait(),
            help=_(
                "How long to wait for each host to update its resources; more "
                "than update_resources_interval in nova.conf (default: "
                "%(default)s)"
            ),
        )
        parser.add_argument(
            '--timeout',
            metavar='<seconds>',
            type=options.whole_number(1),
            default=_TIMEOUT,
            help=_(
                "How long each migration, and whatever Nova is doing, may "
                "take (default: %(default)s)"
            ),
        )
        options.add_resource_class_option(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        from osc_gpu.cloud import interrupts
        from osc_gpu.cloud import migration
        from osc_gpu.cloud import migration_state
        from osc_gpu.cloud import recovery_run
        from osc_gpu.cloud import servers

        conn, also = self.connection, parsed_args.resource_classes
        server = servers.find_server(conn, parsed_args.server, also)
        if not (server.gpu_request or server.is_hidden or server.is_partial):
            raise exceptions.CommandError(
                _(
                    "%(name)s has no GPU: see openstack server event list "
                    "%(id)s"
                )
                % {'name': server.name, 'id': server.id}
            )
        run = migration.Run(
            conn,
            migration_state.read_world(conn),
            parsed_args.timeout,
            terminal.progress(),
        )
        with interrupts.explained(move_columns.INTERRUPTED):
            done = recovery_run.recover(
                run,
                server,
                method=parsed_args.method,
                wait=parsed_args.wait,
                is_dry=parsed_args.dry_run,
                is_forced=parsed_args.force,
                also=also,
            )
        if not done.is_healed and done.result != recovery_run.PLANNED:
            self.failure = _("Server %(name)s is not healed: %(detail)s") % {
                'name': done.server.name or done.server.id,
                'detail': done.detail,
            }
        return _FIELDS, (
            done.server.id,
            done.server.name,
            done.server.status,
            done.server.host,
            done.diagnosis,
            columns.LinesColumn(list(done.steps)),
            done.result,
            columns.LinesColumn(list(done.instructions)),
            columns.LinesColumn(list(done.leftover)),
            done.detail,
        )


def _wait() -> int:
    from osc_gpu.cloud import moving

    return moving.WAIT
