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

"""What the commands that move servers have in common: options, and rows."""

import argparse
from collections.abc import Iterable
from typing import Any
from typing import TYPE_CHECKING

from osc_gpu.i18n import _
from osc_gpu.v1 import options

if TYPE_CHECKING:
    from osc_gpu.cloud import migration

COLUMNS = (
    'ID',
    'Name',
    'From Host',
    'To Host',
    'Method',
    'Result',
    'Duration',
    'Detail',
)

INTERRUPTED = _(
    "Interrupted: what Nova has begun goes on, and servers under way stay "
    "locked; run the same command again to see it through"
)

#: Seconds that a server may take: Nova's shutdown_timeout, and the copy of a
#: large disk.
_TIMEOUT = 1800


def add_options(parser: argparse.ArgumentParser, parallel: int) -> None:
    """Add ``--method``, ``--parallel``, ``--timeout`` and ``--wait``."""
    from osc_gpu.cloud import move_methods
    from osc_gpu.cloud import moving

    parser.add_argument(
        '--method',
        metavar='<method>',
        choices=(
            move_methods.COLD,
            move_methods.SHELVE,
            move_methods.LIVE,
        ),
        help=_(
            "cold, shelve (and unshelve) or live (default: chosen for each "
            "server, --dry-run shows it)"
        ),
    )
    parser.add_argument(
        '--parallel',
        metavar='<servers>',
        type=options.whole_number(1, 32),
        default=parallel,
        help=_("How many servers to move at once (default: %(default)s)"),
    )
    parser.add_argument(
        '--timeout',
        metavar='<seconds>',
        type=options.whole_number(1),
        default=_TIMEOUT,
        help=_(
            "How long to wait for one server; then it is left as it is "
            "(default: %(default)s)"
        ),
    )
    parser.add_argument(
        '--wait',
        metavar='<seconds>',
        type=options.whole_number(1),
        default=moving.WAIT,
        help=_(
            "How long to wait for Nova to add back a device that was taken "
            "for one too many; more than update_resources_interval in "
            "nova.conf (default: %(default)s)"
        ),
    )


def rows(
    outcomes: 'Iterable[migration.Outcome]',
) -> list[tuple[Any, ...]]:
    """Return the values of COLUMNS; Duration is in seconds."""
    return [
        (
            o.server.id,
            o.server.name,
            o.order.source,
            o.server.host if o.server.host != o.order.source else '',
            o.order.method,
            o.result,
            round(o.seconds, 1),
            o.detail,
        )
        for o in outcomes
    ]


def failed(outcomes: 'Iterable[migration.Outcome]', *fine: str) -> str:
    """Say how many servers failed to move; '' if none did.

    :param fine: the results that are no failures
    """
    outcomes = list(outcomes)
    bad = sum(o.result not in fine for o in outcomes)
    if not bad:
        return ''
    return _("%(bad)d of %(total)d servers failed to move") % {
        'bad': bad,
        'total': len(outcomes),
    }
