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

"""Mending what the audit found, as far as the APIs can.

Each write carries the generation of what was read, and is proven right by
what is read after that: should anything change in between, then Placement
refuses the write, and all is read and judged again. What is in the middle of
an operation is left alone. No step leaves a state that is worse than before,
so one that is killed is simply run again.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses

from openstack import connection
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from osc_gpu.cloud import audit
from osc_gpu.cloud import audit_model
from osc_gpu.cloud import audit_servers
from osc_gpu.cloud import errors
from osc_gpu.cloud import placement
from osc_gpu.cloud import repair_consumers
from osc_gpu.cloud import repair_excess
from osc_gpu.cloud import repair_writing
from osc_gpu.cloud import reserving
from osc_gpu.cloud import side_by_side
from osc_gpu import findings
from osc_gpu.i18n import _

#: What ``--release`` can mean: checks whose findings are released.
RELEASES: Mapping[str, Collection[str]] = {
    audit_model.ONE_TIME_USE: (audit_model.ONE_TIME_USE,),
    'all': (audit_model.ONE_TIME_USE, audit_model.RESERVED),
}

_REMOVED = (audit_model.ORPHAN, audit_model.LEAKED_MIGRATION)

Outcomes = Mapping[audit.Problem, repair_writing.Outcome]


def plan(
    checked: audit.Checked, release: str | None = None
) -> tuple[audit.Problem, ...]:
    """Return the problems that a repair mends, in their order.

    :param release: one of RELEASES; reserved devices stay so without
    """
    released = RELEASES[release] if release else ()
    return tuple(
        problem
        for problem in checked.problems
        if problem.check in (*_REMOVED, *released)
        or (
            problem.check == audit_model.EXCESS
            and audit_servers.is_corrected(checked.snapshot, problem)
        )
    )


def providers_of(snapshot: audit.Snapshot) -> Mapping[str, set[str]]:
    """Return the providers of each compute service's host."""
    found: dict[str, set[str]] = {}
    for uuid, provider in snapshot.names.items():
        hypervisor = snapshot.hypervisors.get(provider.root_uuid)
        if hypervisor:
            found.setdefault(hypervisor.host, set()).add(uuid)
    return found


def intend(
    found: Iterable[audit.Problem], steps: Collection[audit.Problem]
) -> tuple[audit.Problem, ...]:
    """Say of what is planned that it would be done."""
    return tuple(
        dataclasses.replace(
            problem, repair=_("would be done: %s") % action(problem)
        )
        if problem in steps
        else problem
        for problem in found
    )


def action(problem: audit.Problem) -> str:
    """Return what is done to a problem, in the imperative."""
    if problem.check in RELEASES['all']:
        return _("release it")
    return problem.repair


def cases(
    snapshot: audit.Snapshot, problems: Iterable[audit.Problem]
) -> tuple[repair_excess.Case, ...]:
    """Return one case for each server that holds too much."""
    found: dict[str, repair_excess.Case] = {}
    concerned: dict[str, set[str]] = {}
    steps = [p for p in problems if p.check == audit_model.EXCESS]
    for step in steps:
        concerned.setdefault(step.server_id, set()).update(step.provider_ids)
    for step in steps:
        held = snapshot.held[step.server_id].held
        others = frozenset(held) - concerned[step.server_id]
        case = found.get(
            step.server_id, repair_excess.Case(step.server_id, {}, others)
        )
        given = repair_excess.amounts(case, held, snapshot.names, step.classes)
        asked = sum(given.values()) - step.amount
        found[step.server_id] = dataclasses.replace(
            case, asked={**case.asked, step.classes: asked}
        )
    return tuple(found.values())


def drop_excess(
    conn: connection.Connection,
    snapshot: audit.Snapshot,
    problems: Iterable[audit.Problem],
    wait: float,
    at_once: int = side_by_side.DEFAULT,
) -> Mapping[str, repair_writing.Outcome]:
    """Take away what servers hold too much, of all of them side by side.

    :param problems: others than of excess are left alone
    :param wait: seconds within which Nova updates its allocations
    :returns: what became of each server, by ID
    :raises openstack.exceptions.ForbiddenException: the user may not write
    """
    return repair_excess.mend(
        conn, cases(snapshot, problems), snapshot.names, wait, at_once
    )


def carry_out(
    conn: connection.Connection,
    checked: audit.Checked,
    steps: Sequence[audit.Problem],
    options: audit.Options,
    wait: float,
) -> Outcomes:
    """Mend problems; what one of them meets does not keep the others.

    All are judged again first, as it may have taken a while to say yes.

    :param wait: seconds within which Nova updates its allocations
    :returns: what became of each
    :raises openstack.exceptions.ForbiddenException: the user may not write
    """
    if not steps:
        return {}
    now = audit.still(conn, checked.snapshot, steps, options)
    again = plan(now, 'all')
    names = now.snapshot.names
    done = repair_consumers.remove(
        conn,
        {s.consumer: s.server_id for s in again if s.check in _REMOVED},
        providers_of(now.snapshot),
        options.at_once,
    )
    released = _release(conn, again, names, options.at_once)
    dropped = drop_excess(conn, now.snapshot, again, wait, options.at_once)
    gone = repair_writing.Outcome(_("nothing to do any more"))

    def outcome(step: audit.Problem) -> repair_writing.Outcome:
        if step.check == audit_model.EXCESS:
            return dropped.get(step.server_id, gone)
        if step.check in _REMOVED:
            return done.get(step.consumer, gone)
        return released.get((step.provider_ids, step.classes), gone)

    return {step: outcome(step) for step in steps}


def _release(
    conn: connection.Connection,
    steps: Iterable[audit.Problem],
    names: Mapping[str, placement.Provider],
    at_once: int,
) -> dict[tuple[tuple[str, ...], tuple[str, ...]], repair_writing.Outcome]:
    def release(step: audit.Problem) -> repair_writing.Outcome:
        try:
            for uuid in step.provider_ids:
                for name in step.classes:
                    reserving.write_reserved(
                        conn,
                        names[uuid],
                        reserving.Change(False),
                        name,
                        only_unused=step.check == audit_model.ONE_TIME_USE,
                    )
        except sdk_exceptions.ForbiddenException:
            raise
        except exceptions.CommandError as exc:
            return repair_writing.Outcome(_("left alone: %s") % exc, False)
        except errors.REFUSALS as exc:
            return repair_writing.failed(exc)
        return repair_writing.Outcome(_("released"))

    todo = [
        step
        for step in steps
        if step.check in RELEASES['all'] and step.provider_ids
    ]
    outcomes = side_by_side.each(release, todo, at_once)
    return {
        (step.provider_ids, step.classes): outcome
        for step, outcome in zip(todo, outcomes, strict=True)
    }


def report(
    outcomes: Outcomes, after: Iterable[audit.Problem]
) -> tuple[audit.Problem, ...]:
    """Join what was done with what a check found after that."""
    left = {_key(problem): problem for problem in after}
    rows = []
    for step, outcome in outcomes.items():
        text = outcome.text
        if left.pop(_key(step), None) and outcome.is_done:
            text = _("%s, but it is still found: run again") % text
        rows.append(dataclasses.replace(step, repair=text))
    return findings.ordered([*rows, *left.values()])


def mend(
    conn: connection.Connection,
    checked: audit.Checked,
    steps: Sequence[audit.Problem],
    options: audit.Options,
    wait: float,
) -> tuple[tuple[audit.Problem, ...], bool]:
    """Carry out a plan and check again.

    :param wait: seconds within which Nova updates its allocations
    :returns: what was found, its ``repair`` saying what became of it, and
        whether an error, or something that was planned, is left
    :raises openstack.exceptions.ForbiddenException: the user may not write
    """
    outcomes = carry_out(conn, checked, steps, options, wait)
    after = audit.check(conn, options).problems
    failed = not all(outcome.is_done for outcome in outcomes.values())
    return report(outcomes, after), failed or findings.has_error(after)


def _key(problem: audit.Problem) -> tuple[object, ...]:
    about = problem.consumer or problem.provider_ids or problem.subject
    return problem.check, about, problem.classes
