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

"""What to do next for a server that shall move: pure rules.

There is no memory but what one run saw of the cloud. A run that was killed is
simply run again: what is next follows from where the server stands.
"""

from collections.abc import Collection
import dataclasses

from osc_gpu.cloud import marks
from osc_gpu.cloud import migration_checks
from osc_gpu.cloud import migration_records
from osc_gpu.cloud import migration_seen
from osc_gpu.cloud import migration_state
from osc_gpu.cloud import move_methods
from osc_gpu.cloud import servers
from osc_gpu.i18n import _

Action = migration_seen.Action
Seen = migration_seen.Seen

#: What became of a server.
MIGRATED = 'migrated'
UNCONFIRMED = 'unconfirmed'
REVERTED = 'reverted'
RECOVERED = 'recovered'
FAILED = 'failed'
POISONED = 'poisoned'
REFUSED = 'refused'
TIMED_OUT = 'timed out'
INTERRUPTED = 'interrupted'
NOT_BEGUN = 'not begun'
#: Somebody has deleted it.
GONE = 'gone'
#: It has moved, but holds what it should not.
UNSETTLED = 'unsettled'

LOCK = 'lock'
MIGRATE = 'migrate'
LIVE = 'live-migrate'
SHELVE = 'shelve'
OFFLOAD = 'offload'
UNSHELVE = 'unshelve'
CONFIRM = 'confirm'
REVERT = 'revert'

MOST_TRIES = migration_seen.MOST_TRIES

#: How many looks it may take until something shows of what Nova took on.
MOST_LOOKS = 4

#: How many looks in a row may show the same of a migration that nobody works
#: on; about a minute.
MOST_STILL = 12


@dataclasses.dataclass(frozen=True)
class Order:
    """What shall become of one server, as it was when that was decided.

    ``source`` is the host that it shall leave; ``target`` is '' where Nova
    chooses. ``home`` is the digest of the host that it returns to, with the
    verb marks.RETURN. ``falls_back``: migrate it cold if live fails.
    ``is_forced``: even if a lock of somebody else or a stale claim speaks
    against it. ``why`` says why the method was chosen.
    """

    server: servers.GpuServer
    run: str
    source: str
    target: str = ''
    method: str = move_methods.COLD
    verb: str = marks.MIGRATE
    home: str = ''
    confirms: bool = True
    falls_back: bool = False
    is_forced: bool = False
    why: str = ''


@dataclasses.dataclass(frozen=True)
class Wait:
    """Look again in a while."""

    text: str


@dataclasses.dataclass(frozen=True)
class Act:
    """Ask Nova for something."""

    action: Action


@dataclasses.dataclass(frozen=True)
class Prove:
    """Confirm this migration if it is proven, else revert it."""

    record: migration_records.MigrationRecord


@dataclasses.dataclass(frozen=True)
class End:
    """Nothing more is to be done. ``is_clean``: it may be tried again."""

    result: str
    detail: str = ''
    is_clean: bool = False


Decision = Wait | Act | End


def decide(
    state: migration_state.State,
    order: Order,
    seen: Seen,
    stale: Collection[str] = (),
) -> Decision | Prove:
    """Return what is next.

    :param stale: hosts on which failed migrations left devices claimed
    """
    stand = state.stand
    if stand == migration_state.BUSY:
        return _busy(state, seen)
    if stand == migration_state.UNKNOWN:
        return Wait(_("its cell does not answer"))
    if stand == migration_state.UNCONFIRMED:
        return _unconfirmed(state, order)
    if stand == migration_state.ERROR:
        return _error(state, stale)
    if stand == migration_state.SHELVED:
        return _shelved(state, order, seen)
    if stand == migration_state.OTHER:
        # With a device claimed elsewhere its tenant would do harm.
        words = _("it is %s") % state.server.status
        return End(REFUSED, words, is_clean=not stale)
    return _idle(state, order, seen, stale)


def _busy(state: migration_state.State, seen: Seen) -> Decision:
    """Wait, unless a compute service died in the middle of the migration.

    Started again, it takes the server for idle and goes on with nothing.
    """
    server, newest = state.server, state.newest
    is_idle = not server.task_state and server.status in _AT_REST
    if newest is None or not is_idle or seen.still < MOST_STILL:
        return Wait(_doing(state))
    return End(
        POISONED if server.gpu_request.aliases else FAILED,
        _(
            "its migration %(record)s stands still as %(status)s, so a "
            "compute service died in it; see: openstack gpu server recover "
            "%(id)s"
        )
        % {
            'record': newest.uuid,
            'status': newest.status,
            'id': server.id,
        },
    )


def _doing(state: migration_state.State) -> str:
    newest = state.newest
    doing = state.server.task_state or (newest.status if newest else '')
    return f'{state.server.status} {doing}'.strip()


def _unconfirmed(
    state: migration_state.State, order: Order
) -> Decision | Prove:
    if len(state.finished) > 1:
        return End(
            POISONED,
            _(
                "%d migrations of it are unconfirmed, and Nova would take the "
                "wrong one: confirm and revert nothing; see: openstack gpu "
                "server recover"
            )
            % len(state.finished),
        )
    if not state.finished:
        return Wait(_("VERIFY_RESIZE without a finished migration"))
    record = state.finished[0]
    if record.kind == 'resize':
        return End(REFUSED, migration_checks.RESIZED, is_clean=True)
    if not order.confirms:
        return End(
            UNCONFIRMED,
            _(
                "two sets of GPUs are held, on %(source)s and on %(target)s; "
                "go on with: openstack gpu server migrate %(id)s, or "
                "openstack gpu server recover --method revert %(id)s"
            )
            % {
                'source': record.source,
                'target': record.target,
                'id': state.server.id,
            },
        )
    return Prove(record)


def _error(state: migration_state.State, stale: Collection[str]) -> Decision:
    fault = ' '.join(state.server.fault.split()) or _("Nova names no fault")
    if stale:
        return End(POISONED, _poisoned(state, stale, fault))
    return End(
        FAILED,
        _(
            "in ERROR on %(host)s: %(fault)s; see: openstack gpu server "
            "recover %(id)s"
        )
        % {
            'host': state.server.host,
            'fault': fault,
            'id': state.server.id,
        },
    )


def _poisoned(
    state: migration_state.State, stale: Collection[str], why: str
) -> str:
    return _(
        "%(why)s; a PCI device is still claimed on %(hosts)s, so do not "
        "start, stop or reboot it; see: openstack gpu server recover %(id)s"
    ) % {
        'why': why,
        'hosts': ', '.join(sorted(stale)),
        'id': state.server.id,
    }


def _shelved(
    state: migration_state.State, order: Order, seen: Seen
) -> Decision:
    # Under a lock of somebody else, which is kept, there is no mark.
    if state.mark is None and SHELVE not in seen.tries:
        return End(REFUSED, _("it is %s") % state.server.status)
    action = OFFLOAD if state.server.status == 'SHELVED' else UNSHELVE
    if action == UNSHELVE and state.server.host:
        # Nova says SHELVED_OFFLOADED, frees its PCI devices, and then takes
        # the host away (_shelve_offload_instance); unshelved in between, its
        # guest would get the old ones as well.
        return Wait(_("SHELVED_OFFLOADED, not yet off %s") % state.server.host)
    if seen.is_worn(action):
        return End(
            FAILED,
            _("it stays %(status)s, with its GPUs given up: %(why)s")
            % {
                'status': state.server.status,
                'why': seen.words or _("no host took it"),
            },
        )
    # Anywhere is better than nowhere.
    anywhere = action == OFFLOAD or seen.tries.get(action, 0) >= 2
    return Act(Action(action, host='' if anywhere else order.target))


def _idle(
    state: migration_state.State,
    order: Order,
    seen: Seen,
    stale: Collection[str],
) -> Decision:
    # Not by the mark: who owns a server can write one, too.
    if state.server.host != order.source:
        if stale and not order.is_forced:
            return End(POISONED, _poisoned(state, stale, _("it has moved")))
        return End(MIGRATED, order.why)
    if UNSHELVE in seen.tries:
        return End(
            FAILED,
            _("no other host took it, so it is back on %s")
            % state.server.host,
            is_clean=True,
        )
    new = [r for r in state.records if r.uuid not in seen.records]
    failed = [r for r in new if r.status in _FAILED]
    if stale and (failed or not order.is_forced):
        return End(POISONED, _poisoned(state, stale, _("a migration failed")))
    if new and new[-1].status == 'reverted':
        return End(REVERTED, seen.words, is_clean=True)
    action = _ACTIONS[order.method]
    if action == LIVE and order.falls_back and (failed or seen.is_worn(LIVE)):
        action = MIGRATE
        failed = [r for r in failed if r.kind != 'live-migration']
    if failed:
        return End(FAILED, _failed(failed[-1], seen.words), is_clean=True)
    if not state.server.is_locked or (
        state.has_left and LOCK not in seen.taken
    ):
        action = LOCK
    if seen.is_worn(action):
        return End(FAILED, seen.words, is_clean=True)
    if action != LOCK and action in seen.taken:
        return _unheard(state, action, seen)
    if migration_checks.has_others_lock(state.server) and (
        not order.is_forced
    ):
        why = migration_checks.held_back(state.server, 'migrate')
        return End(REFUSED, why, is_clean=True)
    targeted = action in (MIGRATE, LIVE)
    return Act(Action(action, host=order.target if targeted else ''))


def _unheard(
    state: migration_state.State, action: str, seen: Seen
) -> Decision:
    """Say what it means that nothing shows of what Nova took on.

    The record of a migration is made a moment later than it is taken on.
    """
    if seen.looks < MOST_LOOKS:
        return Wait(_("Nova has taken it on"))
    return End(
        FAILED,
        _(
            "Nova gave it up (%(action)s); see: "
            "openstack server event list %(id)s"
        )
        % {'action': action, 'id': state.server.id},
        is_clean=True,
    )


def conclude(order: Order, seen: Seen, doubts: Collection[str]) -> Decision:
    """Confirm a migration, or revert it for what speaks against it."""
    action, why = CONFIRM, ''
    if doubts and not order.is_forced:
        action, why = REVERT, '; '.join(doubts)
    if seen.is_worn(action):
        return End(
            FAILED,
            _(
                "it waits in VERIFY_RESIZE, as Nova refused to %(action)s: "
                "%(why)s"
            )
            % {'action': action, 'why': seen.words},
        )
    return Act(Action(action, why))


#: Statuses in which nothing is being done to a server without a task.
_AT_REST = ('ACTIVE', 'SHUTOFF', 'ERROR')

#: How a migration ends that left a server where it was.
_FAILED = ('error', 'failed')

_ACTIONS = {
    move_methods.COLD: MIGRATE,
    move_methods.LIVE: LIVE,
    move_methods.SHELVE: SHELVE,
}


def _failed(record: migration_records.MigrationRecord, words: str) -> str:
    if record.target:
        return _("%(target)s did not take it: %(why)s") % {
            'target': record.target,
            'why': words or _("see openstack server event list"),
        }
    return words or _(
        "if Placement has room, then a device may still be claimed: see "
        "openstack gpu inventory check"
    )
