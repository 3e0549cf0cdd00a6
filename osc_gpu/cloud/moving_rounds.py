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

"""Moving servers in rounds: who fails without harm is tried once more.

What others hold too much until they are settled may have been in the way, or
a host that has more room for somebody else now.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses

from osc_gpu.cloud import migration
from osc_gpu.cloud import migration_steps
from osc_gpu.cloud import moving
from osc_gpu.cloud import moving_lanes
from osc_gpu.i18n import _

#: How often servers are tried.
MOST_ROUNDS = 3

Orders = Sequence[migration_steps.Order]
Outcomes = tuple[migration.Outcome, ...]

#: Returns what is to be done in the next round, after what became of whom.
Again = Callable[[Outcomes], Orders]


def move(
    run: migration.Run,
    orders: Orders,
    again: Again,
    rules: moving_lanes.Rules,
) -> Outcomes:
    """Move servers, and settle them, until nothing is left to be tried.

    Who is tried again stays locked in between: its mark is all that tells
    another run of it.

    :param again: asked after each round but the last; of the servers that it
        leaves out, what became of them stays so
    :raises KeyboardInterrupt: servers under way stay locked
    """
    outcomes: dict[str, migration.Outcome] = {}
    order: list[str] = []
    for left in reversed(range(MOST_ROUNDS)):
        order += [o.server.id for o in orders if o.server.id not in outcomes]
        done = moving_lanes.move(run, orders, rules)
        outcomes |= {
            o.server.id: _of_both(outcomes.get(o.server.id), o) for o in done
        }
        is_stopped = any(o.result == migration_steps.NOT_BEGUN for o in done)
        orders = ()
        if left and not is_stopped:
            orders = again(tuple(outcomes.values()))
        if not orders:
            break
        run.say(_("another round for %d servers") % len(orders))
    failed = [
        o
        for o in outcomes.values()
        if may_try_again(o) or o.result == migration_steps.REFUSED
    ]
    if failed:
        settled = moving.settle(run, failed, rules.wait)
        outcomes |= {o.server.id: o for o in settled}
    return tuple(outcomes[key] for key in order)


def _of_both(
    before: migration.Outcome | None, now: migration.Outcome
) -> migration.Outcome:
    """Return what became of a server that was perhaps tried before.

    One that is not begun again has failed, and is still locked from that.
    """
    if before is None or now.result != migration_steps.NOT_BEGUN:
        return now
    return dataclasses.replace(before, detail=f'{before.detail}; {now.detail}')


def may_try_again(outcome: migration.Outcome) -> bool:
    """Tell whether a server failed to move, and is as it was."""
    return outcome.is_clean and outcome.result in (
        migration_steps.FAILED,
        migration_steps.REVERTED,
    )
