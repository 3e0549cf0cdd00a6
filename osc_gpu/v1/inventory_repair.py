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

"""The part of ``openstack gpu inventory check`` that mends what it found."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from openstack import connection
from osc_lib import exceptions

from osc_gpu.i18n import _
from osc_gpu.v1 import options
from osc_gpu.v1 import terminal

if TYPE_CHECKING:
    from osc_gpu.cloud import audit

#: Nova updates its allocations each minute, unless told otherwise
#: (nova.conf, update_resources_interval).
_WAIT = 90


def add_repair_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--repair`` and what is only of use with it."""
    parser.add_argument(
        '--repair',
        action='store_true',
        help=_(
            "Mend what can be: PCI devices that a server holds and does not "
            "use, allocations of nobody, allocations left by migrations"
        ),
    )
    parser.add_argument(
        '--release',
        metavar='<which>',
        choices=('one-time-use', 'all'),
        help=_(
            "With --repair: also release fully reserved devices: "
            "one-time-use (those that wait to be cleaned) or all"
        ),
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help=_("With --repair: only show what would be done"),
    )
    parser.add_argument(
        '--yes',
        action='store_true',
        help=_("With --repair: do it without asking"),
    )
    parser.add_argument(
        '--wait',
        metavar='<seconds>',
        type=options.whole_number(1),
        help=_(
            "With --repair: how long to wait for Nova to add back what a "
            "server uses; more than update_resources_interval in nova.conf "
            "(default: %d)"
        )
        % _WAIT,
    )


def check_options(parsed_args: argparse.Namespace) -> None:
    """Refuse, before anything is asked, what cannot be carried out."""
    for option in ('release', 'dry_run', 'yes', 'wait'):
        if getattr(parsed_args, option) and not parsed_args.repair:
            raise exceptions.CommandError(
                _("argument --%s: it is only of use with --repair")
                % option.replace('_', '-')
            )
    silent = parsed_args.yes or parsed_args.dry_run
    if parsed_args.repair and not silent and not terminal.can_be_asked():
        raise exceptions.CommandError(
            _(
                "Nobody can be asked whether to repair, as this is no "
                "terminal: give --yes, or --dry-run"
            )
        )


def repair(
    conn: connection.Connection,
    checked: 'audit.Checked',
    audit_options: 'audit.Options',
    parsed_args: argparse.Namespace,
) -> 'tuple[tuple[audit.Problem, ...], bool]':
    """Mend what was found, as the options say.

    :returns: what to show, and whether an error is left
    """
    from osc_gpu.cloud import interrupts
    from osc_gpu.cloud import repair
    from osc_gpu import findings

    steps = repair.plan(checked, parsed_args.release)
    found = checked.problems
    if parsed_args.dry_run:
        return repair.intend(found, steps), findings.has_error(found)
    with interrupts.explained(
        _("Interrupted: nothing is half done; run it again for what is left")
    ):
        if not steps or not (parsed_args.yes or _agreed(steps)):
            return found, findings.has_error(found)
        wait = parsed_args.wait or _WAIT
        return repair.mend(conn, checked, steps, audit_options, wait)


def _agreed(steps: 'Sequence[audit.Problem]') -> bool:
    """Show on a terminal what would be done, and ask."""
    from osc_gpu.cloud import repair

    return terminal.ask(
        (f'{s.subject}: {s.detail}: {repair.action(s)}' for s in steps),
        _("Repair these %d? [y/N] ") % len(steps),
    )
