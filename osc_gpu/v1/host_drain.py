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

import argparse
from collections.abc import Iterable
from typing import Any
from typing import TYPE_CHECKING

from osc_lib import exceptions

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import move_columns
from osc_gpu.v1 import options
from osc_gpu.v1 import terminal

if TYPE_CHECKING:
    from osc_gpu.cloud import drain
    from osc_gpu.cloud import drain_plan
    from osc_gpu.cloud import drain_return_plan
    from osc_gpu.cloud import migration

_PARALLEL = 2

_PLAN = ('Server', 'Project', 'GPU Request', 'Method', 'Target', 'Why')

_Table = tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]


class _MovingLister(command.Lister):
    """A command that moves servers, or shows how it would."""

    def _show_plan(self, moves: 'Iterable[drain_plan.Move]') -> _Table:
        """Show a plan, and fail if anything stands in its way."""
        moves = tuple(moves)
        self.failure = _blocked(moves)
        return _PLAN, (
            (
                move.server.name,
                move.server.project_id,
                move.server.gpu_request.text,
                move.method,
                move.target,
                move.why,
            )
            for move in moves
        )

    def _show_outcomes(
        self, outcomes: 'Iterable[migration.Outcome]'
    ) -> _Table:
        """Show what became of servers, and fail if any did not move."""
        from osc_gpu.cloud import migration_steps

        outcomes = tuple(outcomes)
        self.failure = move_columns.failed(
            outcomes, migration_steps.MIGRATED, migration_steps.GONE
        )
        return move_columns.COLUMNS, move_columns.rows(outcomes)


def _blocked(moves: 'Iterable[drain_plan.Move]') -> str:
    moves = tuple(moves)
    blocked = [move.server for move in moves if move.is_blocked]
    if not blocked:
        return ''
    return _(
        "%(blocked)d of %(total)d servers cannot be moved, so nothing is "
        "changed; mend what the table says, or leave them where they are: "
        "%(options)s"
    ) % {
        'blocked': len(blocked),
        'total': len(moves),
        'options': ' '.join(f'--exclude {server.id}' for server in blocked),
    }


class DrainHost(_MovingLister):
    _description = _("""Move all servers from a host, and keep new ones away.

The compute service is disabled, and each server is migrated to a host with
room for it, proven whole there, and confirmed. A command that was killed is
run again: it goes on where the servers stand (admin only).""")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            'host',
            metavar='<host>',
            type=options.not_empty,
            help=_("Host to drain, as its compute service is named"),
        )
        _add_choice_options(parser)
        parser.add_argument(
            '--reason',
            metavar='<text>',
            help=_("Why, for whoever looks at the disabled service"),
        )
        parser.add_argument(
            '--keep-enabled',
            action='store_true',
            help=_(
                "Do not disable the compute service; new servers may come, "
                "and undrain --return will not know who left"
            ),
        )
        parser.add_argument(
            '--keep-going',
            action='store_true',
            help=_(
                "Move the others even if a server is left with a device "
                "claimed on two hosts, which may be so for all of them"
            ),
        )
        parser.add_argument(
            '--dry-run',
            action='store_true',
            help=_("Show what would be done, and do nothing"),
        )
        move_columns.add_options(parser, _PARALLEL)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> _Table:
        from osc_gpu.cloud import drain
        from osc_gpu.cloud import interrupts

        prepared = drain.prepare(self.connection, _drain_task(parsed_args))
        moves = prepared.plan.moves
        if parsed_args.dry_run or any(move.is_blocked for move in moves):
            return self._show_plan(moves)
        with interrupts.explained(move_columns.INTERRUPTED):
            drain.begin(self.connection, prepared)
            done = drain.carry_out(
                self.connection, prepared, terminal.progress()
            )
        table = self._show_outcomes(done.outcomes)
        self.failure = '; '.join(filter(None, (self.failure, done.unknown)))
        return table


def _add_choice_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--target',
        metavar='<host>',
        dest='targets',
        action='append',
        default=[],
        type=options.not_empty,
        help=_(
            "Host that may take servers (repeat option for several; default: "
            "all)"
        ),
    )
    _add_exclude_option(parser, _("Server to leave where it is"))
    parser.add_argument(
        '--gpu-only',
        action='store_true',
        help=_("Leave the servers without a GPU where they are"),
    )


def _add_exclude_option(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument(
        '--exclude',
        metavar='<server>',
        dest='excluded',
        action='append',
        default=[],
        type=options.not_empty,
        help=_("%s (name or ID; repeat option for several)") % text,
    )


def _drain_task(parsed_args: argparse.Namespace) -> 'drain.Task':
    from osc_gpu.cloud import drain

    return drain.Task(
        host=parsed_args.host,
        targets=tuple(parsed_args.targets),
        excluded=tuple(parsed_args.excluded),
        gpu_only=parsed_args.gpu_only,
        method=parsed_args.method or '',
        text=parsed_args.reason,
        at_once=parsed_args.parallel,
        timeout=parsed_args.timeout,
        wait=parsed_args.wait,
        keeps_enabled=parsed_args.keep_enabled,
        keeps_going=parsed_args.keep_going,
    )


class UndrainHost(_MovingLister):
    _description = _("""Enable a host that was drained.

With --return the servers that left it since then are brought back, unless
somebody has moved them on. Nova's own records tell which these are. A command
that was killed is run again: it goes on where the servers stand (admin
only).""")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            'host',
            metavar='<host>',
            type=options.not_empty,
            help=_("Host to enable, as its compute service is named"),
        )
        parser.add_argument(
            '--return',
            dest='brings_back',
            action='store_true',
            help=_("Bring back the servers that its drain has moved away"),
        )
        _add_exclude_option(
            parser, _("With --return: server that does not return")
        )
        parser.add_argument(
            '--dry-run',
            action='store_true',
            help=_("With --return: show what would be done, and do nothing"),
        )
        parser.add_argument(
            '--force',
            action='store_true',
            help=_("Enable a host that was disabled before its drain, too"),
        )
        move_columns.add_options(parser, _PARALLEL)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> _Table:
        from osc_gpu.cloud import drain_return
        from osc_gpu.cloud import interrupts

        if not parsed_args.brings_back:
            _check_options(parsed_args)
            drain_return.enable(
                self.connection,
                parsed_args.host,
                is_forced=parsed_args.force,
            )
            return (), ()
        with interrupts.explained(move_columns.INTERRUPTED):
            return self._bring_back(parsed_args)

    def _bring_back(self, parsed_args: argparse.Namespace) -> _Table:
        from osc_gpu.cloud import drain_return
        from osc_gpu.cloud import drain_return_plan

        task = _return_task(parsed_args)
        say = terminal.progress()
        plan = drain_return_plan.read(self.connection, task)
        unfinished: tuple[migration.Outcome, ...] = ()
        if plan.pending and not (parsed_args.dry_run or _blocked(plan.moves)):
            unfinished = drain_return.finish(self.connection, plan, say)
            plan = drain_return_plan.read(self.connection, task)
        if parsed_args.dry_run or _blocked(plan.moves):
            return self._show_plan(plan.moves)
        outcomes = drain_return.carry_out(self.connection, plan, say)
        return self._show_outcomes((*unfinished, *outcomes))

    def produce_output(
        self,
        parsed_args: argparse.Namespace,
        column_names: Any,
        data: Any,
    ) -> int:
        """Show a table, and nothing at all where nobody was to return."""
        if not column_names:
            return 0
        status: int = super().produce_output(parsed_args, column_names, data)
        return status


def _check_options(parsed_args: argparse.Namespace) -> None:
    for option, is_given in (
        ('--exclude', parsed_args.excluded),
        ('--dry-run', parsed_args.dry_run),
    ):
        if is_given:
            raise exceptions.CommandError(
                _("argument %s: it is only of use with --return") % option
            )


def _return_task(
    parsed_args: argparse.Namespace,
) -> 'drain_return_plan.Task':
    from osc_gpu.cloud import drain_return_plan

    return drain_return_plan.Task(
        host=parsed_args.host,
        excluded=tuple(parsed_args.excluded),
        method=parsed_args.method or '',
        at_once=parsed_args.parallel,
        timeout=parsed_args.timeout,
        wait=parsed_args.wait,
        is_forced=parsed_args.force,
    )
