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

"""Whatever is wrong with the inventories of a cloud.

``check`` reads, judges, and looks again at whatever can also be the sight of
something under way. What it returns is ``Problem``: a ``findings.Finding``
(``check`` is the kind: ``excess``, ``orphan``, ``leaked-migration``,
``reserved``, ``one-time-use``, ...) that knows its consumer, providers,
classes, amount, server and generation (``audit_model``). ``still`` is one more
look, without a pause: which of these problems are there now, with fresh
generations; a repair asks it right before it writes.
"""

from collections.abc import Iterable
import time
from typing import NamedTuple

from openstack import connection

from osc_gpu.cloud import audit_consumers
from osc_gpu.cloud import audit_migrations
from osc_gpu.cloud import audit_model
from osc_gpu.cloud import audit_providers
from osc_gpu.cloud import audit_reading
from osc_gpu.cloud import audit_servers
from osc_gpu import findings

Options = audit_model.Options
Problem = audit_model.Problem
Snapshot = audit_model.Snapshot

#: How often suspects are looked at again, and after how many seconds each.
LOOKS = 2
PAUSE = 3.0

#: Checks that something under way can look like.
_SUSPICIONS = frozenset(
    (
        audit_model.EXCESS,
        audit_model.MISSING,
        audit_model.ORPHAN,
        audit_model.LEAKED_MIGRATION,
        audit_model.UNCONFIRMED_RESIZE,
        audit_model.STALE_CLAIM,
        audit_model.TWO_TREES,
        audit_model.NO_INVENTORY,
    )
)


class Checked(NamedTuple):
    """What a check read, and what it found."""

    snapshot: Snapshot
    problems: tuple[Problem, ...]


def check(conn: connection.Connection, options: Options) -> Checked:
    """Find whatever is wrong.

    A constant number of requests, one for each GPU server, one or two for
    each GPU that these do not explain, and a few for each suspect.

    :raises osc_lib.exceptions.CommandError: no such host
    """
    snapshot = audit_reading.read(conn, options)
    problems = judge(snapshot, options)
    suspects = [p for p in problems if p.check in _SUSPICIONS]
    sure = [p for p in problems if p.check not in _SUSPICIONS]
    for _look in range(LOOKS):
        if suspects:
            time.sleep(PAUSE)
            snapshot, suspects = _look_again(conn, snapshot, suspects, options)
    return Checked(snapshot, findings.ordered([*sure, *suspects]))


def judge(snapshot: Snapshot, options: Options) -> tuple[Problem, ...]:
    """Return what looks wrong, in order."""
    found = (
        *audit_servers.judge(snapshot),
        *audit_migrations.judge(snapshot, options),
        *audit_consumers.judge(snapshot),
        *audit_providers.judge(snapshot),
    )
    return findings.ordered(p for p in found if _is_wanted(p, options))


def still(
    conn: connection.Connection,
    snapshot: Snapshot,
    problems: Iterable[Problem],
    options: Options,
) -> Checked:
    """Look again at once; return the problems that are there now.

    They may have changed since: other amounts, other generations.
    """
    problems = tuple(problems)
    fresh = audit_reading.read_again(conn, snapshot, problems, options)
    about = {_about(problem) for problem in problems}
    return Checked(
        fresh,
        tuple(p for p in judge(fresh, options) if _about(p) in about),
    )


def _look_again(
    conn: connection.Connection,
    snapshot: Snapshot,
    suspects: Iterable[Problem],
    options: Options,
) -> tuple[Snapshot, list[Problem]]:
    """Keep the suspects that did not change."""
    before = {_about(suspect): suspect for suspect in suspects}
    fresh, now = still(conn, snapshot, before.values(), options)
    kept = [
        problem
        for problem in now
        if _same(problem, before[_about(problem)])
        and _touched(snapshot, problem) == _touched(fresh, problem)
    ]
    return fresh, kept


def _about(problem: Problem) -> tuple[object, ...]:
    """Return what stays the same of a problem, however it changes.

    The consumer that nobody knew may turn out to be a migration of old.
    """
    kind = problem.check
    if kind == audit_model.LEAKED_MIGRATION:
        kind = audit_model.ORPHAN
    if problem.consumer:
        return kind, problem.consumer, problem.classes
    return kind, problem.subject, ()


def _same(problem: Problem, before: Problem) -> bool:
    return (
        problem.provider_ids == before.provider_ids
        and problem.amount == before.amount
        and problem.generation == before.generation
    )


def _touched(snapshot: Snapshot, problem: Problem) -> str:
    """Return when Nova last changed the server that a problem is about."""
    server = snapshot.servers.get(problem.server_id)
    return server.updated_at if server else ''


def _is_wanted(problem: Problem, options: Options) -> bool:
    """Apply the filters; what is of no known class may be of any."""
    return (
        (not options.host or options.host in problem.hosts)
        and (
            not options.classes
            or not problem.classes
            or not set(problem.classes).isdisjoint(options.classes)
        )
        and options.project_id in ('', problem.project_id)
    )
