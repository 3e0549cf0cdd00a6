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

"""Moving servers side by side, but to one host one after the other.

Nova's scheduler gives a server that migrates one PCI device of its new host
in Placement, and the host takes another one for it (facts 0.4). Until that is
repaired, or while another server is on its way to the same host, the device
that it takes may be in Placement another server's: then Nova breaks the
migration off half way and leaves the server poisoned. So a host is given one
server with PCI devices at a time, and that is settled before the next one.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
import dataclasses
import threading
import time

from osc_gpu.cloud import audit_model
from osc_gpu.cloud import errors
from osc_gpu.cloud import migration
from osc_gpu.cloud import migration_steps
from osc_gpu.cloud import moving
from osc_gpu.cloud import moving_hosts
from osc_gpu.i18n import _

#: Seconds in which whoever is stopped looks up from what he does.
_PATIENCE = 10.0

Lane = tuple[migration_steps.Order, ...]
Outcomes = tuple[migration.Outcome, ...]


@dataclasses.dataclass(frozen=True)
class Rules:
    """What holds for all servers of a run.

    ``at_once`` is how many lanes there are in use. ``wait`` is in seconds,
    within which Nova updates what servers hold. ``check`` is asked before
    each server, and says why none may be begun any more. ``unsettled`` are
    servers that an earlier run may have been settling.
    """

    at_once: int
    wait: float
    check: Callable[[], str] = lambda: ''
    stops_at_poison: bool = True
    unsettled: Collection[str] = ()


def lanes(
    orders: Iterable[migration_steps.Order], world: audit_model.Snapshot
) -> tuple[Lane, ...]:
    """Part servers into lanes, each of which is gone through one by one.

    A server has a lane for itself unless it takes PCI devices that Placement
    knows of. Where Nova chooses the host of any of these, it may be that of
    all others. Who is on its way already goes first, as it may keep others
    from its host until it is settled.
    """
    orders = tuple(orders)
    taking = [order for order in orders if _takes_devices(order, world)]
    is_open = any(not order.target for order in taking)
    found: dict[str, list[migration_steps.Order]] = {}
    for order in orders:
        key = f'server {order.server.id}'
        if _takes_devices(order, world):
            key = 'any host' if is_open else f'host {order.target}'
        found.setdefault(key, []).append(order)
    return tuple(
        tuple(sorted(lane, key=lambda order: _is_to_arrive(order, world)))
        for lane in found.values()
    )


def _is_to_arrive(
    order: migration_steps.Order, world: audit_model.Snapshot
) -> bool:
    """Tell whether a server has yet to be given devices of its target.

    Whoever has taken them has only to be seen through.
    """
    return (
        _takes_devices(order, world)
        and order.server.host != order.target
        and world.is_idle(order.server)
    )


def _takes_devices(
    order: migration_steps.Order, world: audit_model.Snapshot
) -> bool:
    if not order.server.gpu_request.aliases:
        return False
    roots = world.roots_of.get(order.target, frozenset())
    return not order.target or not roots.isdisjoint(world.pci_roots)


def move(
    run: migration.Run,
    orders: Iterable[migration_steps.Order],
    rules: Rules,
) -> Outcomes:
    """Move servers, so many lanes at once, and settle each that has moved.

    Servers that failed without harm stay locked: they are to be tried again,
    or settled.

    :raises KeyboardInterrupt: none is begun any more, and those under way
        stay as they are
    """
    work = _Work(run, rules, lanes(orders, run.world))
    # Daemons, as a repair waits for Nova, and nobody is to wait for that who
    # has been interrupted; what it has done is safe to be left as it is.
    workers = [
        threading.Thread(target=work.drive, daemon=True)
        for _number in range(min(rules.at_once, len(work.todo)))
    ]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    except BaseException:
        run.stopped.set()
        for worker in workers:
            # One that has not been started cannot be joined.
            if worker.is_alive():
                worker.join(_PATIENCE)
        raise
    if work.broken is not None:
        raise work.broken
    return tuple(work.done)


class _Work:
    """Lanes that wait for somebody to drive through them."""

    def __init__(
        self, run: migration.Run, rules: Rules, todo: Iterable[Lane]
    ) -> None:
        self.todo = list(todo)
        self.done: list[migration.Outcome] = []
        self.broken: BaseException | None = None
        self._run = run
        self._rules = rules
        self._lock = threading.Lock()
        self._why = ''
        self._untidy_hosts: dict[str, str] = {}
        self._settled_at = time.monotonic() + rules.wait

    def drive(self) -> None:
        """Go through one lane after the other."""
        try:
            while lane := self._next():
                for order in lane:
                    self.done.append(self._move(order))
        except BaseException as exc:
            self.broken = exc
            self._run.stopped.set()

    def _next(self) -> Lane:
        with self._lock:
            return self.todo.pop(0) if self.todo else ()

    def _move(self, order: migration_steps.Order) -> migration.Outcome:
        why = self._may_not()
        if why:
            return migration.Outcome(
                order,
                order.server,
                migration_steps.NOT_BEGUN,
                why,
                is_clean=True,
            )
        untidy = self._untidy(order)
        if untidy:
            return migration.Outcome(
                order,
                order.server,
                migration_steps.REFUSED,
                untidy,
                is_clean=True,
            )
        outcome = migration.move(self._run, order)
        if (
            outcome.result == migration_steps.POISONED
            and self._rules.stops_at_poison
        ):
            self._why = _("not begun, as %s is poisoned") % (
                outcome.server.name or outcome.server.id
            )
        if outcome.result != migration_steps.MIGRATED:
            return outcome
        return self._settle(outcome)

    def _untidy(self, order: migration_steps.Order) -> str:
        """Say why a host is not fit for a server now.

        Whoever came there since the one before, or was left unconfirmed, may
        hold too much.
        """
        if not order.target or not _is_to_arrive(order, self._run.world):
            return ''
        left = [
            outcome.server.id
            for outcome in self.done
            if outcome.result != migration_steps.MIGRATED
        ]
        self._untidy_hosts[order.target] = moving_hosts.tidy(
            self._run,
            order.target,
            self._rules.wait,
            self._untidy_hosts.get(order.target, ''),
            left,
        )
        return self._untidy_hosts[order.target]

    def _may_not(self) -> str:
        """Say why nothing may be begun any more."""
        with self._lock:
            if self._run.stopped.is_set():
                return _("not begun, as the command was interrupted")
            self._why = self._why or self._rules.check()
            return self._why

    def _settle(self, outcome: migration.Outcome) -> migration.Outcome:
        self._let_update(outcome)
        if self._run.stopped.is_set():
            return outcome
        try:
            (settled,) = moving.settle(self._run, [outcome], self._rules.wait)
        except errors.REFUSALS as exc:
            return dataclasses.replace(
                outcome,
                result=migration_steps.UNSETTLED,
                detail=errors.explain(exc, self._run.conn),
            )
        return settled

    def _let_update(self, outcome: migration.Outcome) -> None:
        """Wait until Nova has added back what another run took of a server.

        It may have taken a device that is used, for one too many, and only
        Nova's next update shows that. A run that was killed has done so before
        this one began; one that is under way may be about to.
        """
        left = 0.0
        if outcome.server.id in self._rules.unsettled:
            left = self._settled_at - time.monotonic()
        elif outcome.is_others:
            left = self._rules.wait
        if left > 0 and outcome.server.gpu_request.aliases:
            self._run.say(
                _("%s: waits for Nova to update what it holds")
                % outcome.server.name
            )
            time.sleep(left)
