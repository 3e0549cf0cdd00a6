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

"""``openstack gpu server migrate``: servers that move with their GPUs."""

import argparse
from collections.abc import Iterable
from typing import Any
from typing import TYPE_CHECKING

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import move_columns
from osc_gpu.v1 import options
from osc_gpu.v1 import terminal

if TYPE_CHECKING:
    from osc_gpu.cloud import server_migration

_PARALLEL = 1


class MigrateServer(command.Lister):
    _description = _("""Migrate servers that have a GPU to other hosts.

Each server is locked, migrated, proven whole on its new host, confirmed, and
unlocked. A migration that cannot be proven is reverted. A command that was
killed is run again: it goes on where the servers stand (admin only).""")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            'servers',
            metavar='<server>',
            nargs='+',
            type=options.not_empty,
            help=_("Server(s) to migrate (name or ID)"),
        )
        parser.add_argument(
            '--host',
            metavar='<host>',
            type=options.not_empty,
            help=_(
                "Host to migrate to, as its compute service is named "
                "(default: for a server with a PCI alias, or that is "
                "shelved, one that is proven to have room; else Nova chooses)"
            ),
        )
        parser.add_argument(
            '--no-confirm',
            action='store_true',
            help=_(
                "Leave each server in VERIFY_RESIZE; it then holds its GPUs "
                "on both hosts"
            ),
        )
        parser.add_argument(
            '--recover',
            action='store_true',
            help=_(
                "Recover a server at once whose migration leaves it broken, "
                "as openstack gpu server recover does"
            ),
        )
        parser.add_argument(
            '--force',
            action='store_true',
            help=_(
                "Migrate despite somebody's lock, a stale claim, or a proof "
                "that fails"
            ),
        )
        parser.add_argument(
            '--dry-run',
            action='store_true',
            help=_("Show what would be done, and do nothing"),
        )
        move_columns.add_options(parser, _PARALLEL)
        options.add_resource_class_option(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
        from osc_gpu.cloud import interrupts
        from osc_gpu.cloud import migration
        from osc_gpu.cloud import migration_state
        from osc_gpu.cloud import migration_steps
        from osc_gpu.cloud import moving_lanes
        from osc_gpu.cloud import server_migration

        world = migration_state.read_world(self.connection)
        wish = server_migration.Wish(
            target=parsed_args.host or '',
            method=parsed_args.method or '',
            confirms=not parsed_args.no_confirm,
            is_forced=parsed_args.force,
            also=tuple(parsed_args.resource_classes),
            at_once=parsed_args.parallel,
        )
        planned = server_migration.plan(
            self.connection, world, parsed_args.servers, wish
        )
        if parsed_args.dry_run:
            return move_columns.COLUMNS, map(_planned_row, planned)
        run = migration.Run(
            self.connection,
            world,
            parsed_args.timeout,
            terminal.progress(),
        )
        with interrupts.explained(move_columns.INTERRUPTED):
            outcomes = server_migration.carry_out(
                run,
                [one.order for one in planned],
                moving_lanes.Rules(
                    parsed_args.parallel,
                    parsed_args.wait,
                    stops_at_poison=not parsed_args.recover,
                    unsettled=server_migration.unsettled(planned),
                ),
                recovers=parsed_args.recover,
            )
        self.failure = move_columns.failed(
            outcomes,
            migration_steps.MIGRATED,
            migration_steps.RECOVERED,
            migration_steps.GONE,
            *([migration_steps.UNCONFIRMED] if parsed_args.no_confirm else []),
        )
        return move_columns.COLUMNS, move_columns.rows(outcomes)


def _planned_row(planned: 'server_migration.Planned') -> tuple[Any, ...]:
    order = planned.order
    return (
        order.server.id,
        order.server.name,
        order.source,
        order.target or planned.room,
        order.method,
        _("would migrate"),
        None,
        order.why,
    )
