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

"""What is wrong with migrations of servers: unconfirmed, or half undone."""

from collections.abc import Iterable
from collections.abc import Iterator
import datetime

from osc_gpu.cloud import audit_model
from osc_gpu.cloud import migration_records
from osc_gpu.cloud import servers
from osc_gpu import findings
from osc_gpu.i18n import _

#: Types of migrations that claim PCI devices on two hosts (facts 4).
_COLD = frozenset(('migration', 'resize'))

#: A server that nobody has confirmed or reverted the resize of.
_UNCONFIRMED = 'VERIFY_RESIZE'

_CONFIRMED = 'confirmed'


def judge(
    snapshot: audit_model.Snapshot, options: audit_model.Options
) -> Iterator[audit_model.Problem]:
    """Judge every server by its migrations."""
    for server in snapshot.servers.values():
        if server.status == _UNCONFIRMED:
            yield from _unconfirmed(snapshot, server, options.resize_age)
        elif snapshot.is_idle(server):
            yield from _stale_claims(snapshot, server)


def ends(record: migration_records.MigrationRecord) -> frozenset[str]:
    """Return the hosts that a migration is between."""
    return frozenset((record.source, record.target)) - {''}


def is_cold(record: migration_records.MigrationRecord) -> bool:
    """Tell whether a migration claims devices that a restart trips over.

    One that has no target claimed none; of one within a host no experiment
    tells (facts 0.2 and 4).
    """
    return record.kind in _COLD and len(ends(record)) == 2


# Resizes that nobody confirms.


def _unconfirmed(
    snapshot: audit_model.Snapshot, server: servers.GpuServer, limit: int
) -> Iterator[audit_model.Problem]:
    """Find a resize that has waited for more than so many minutes."""
    records = snapshot.records_of.get(server.id, ())
    waiting = [r for r in records if r.status == migration_records.FINISHED]
    busy = any(r.status in migration_records.IN_PROGRESS for r in records)
    consumers = [server.id, *(r.uuid for r in waiting)]
    classes = {n for c in consumers for _u, n, _a in snapshot.gpus_held(c)}
    if busy or server.task_state or not (server.gpu_request or classes):
        return
    since = waiting[-1].updated_at if waiting else server.updated_at
    seconds = _seconds(since, snapshot.now)
    if seconds <= limit * 60:
        return
    hosts = {server.host}.union(*(ends(record) for record in waiting[-1:]))
    roots = [u for host in hosts for u in snapshot.roots_of.get(host, ())]
    yield audit_model.Problem(
        findings.WARNING,
        audit_model.UNCONFIRMED_RESIZE,
        server.id,
        _(
            "%(server)s has waited %(minutes)d minutes to be confirmed, "
            "keeping GPUs on %(hosts)s"
        )
        % {
            'server': audit_model.called(server),
            'minutes': seconds // 60,
            'hosts': ', '.join(sorted(hosts - {''})),
        },
        _("openstack server resize confirm, or revert"),
        server_id=server.id,
        classes=tuple(sorted(classes)),
        hosts=snapshot.hosts(server, roots),
        project_id=server.project_id,
    )


def _seconds(since: str, now: str) -> int:
    """Return the seconds between two times of Nova's, which are UTC."""
    try:
        began, ended = (
            datetime.datetime.fromisoformat(text.removesuffix('Z'))
            for text in (since, now)
        )
    except ValueError:
        return 0
    return int((ended - began).total_seconds())


# Claims that keep a server from starting.


def _stale_claims(
    snapshot: audit_model.Snapshot, server: servers.GpuServer
) -> Iterator[audit_model.Problem]:
    """Find PCI devices that Nova still counts as a server's on other hosts.

    Its failed migrations leave them, and a reset state in VERIFY_RESIZE does
    (facts 0.1 to 0.3); the next start trips over them.
    """
    found = stale_claims(snapshot, server)
    if not found:
        return
    aliases = [name for name, _n in server.gpu_request.aliases]
    hosts = sorted({host for _r, host in found})
    uuids = list(dict.fromkeys(record.uuid for record, _h in found))
    roots = [u for host in hosts for u in snapshot.roots_of.get(host, ())]
    known = (snapshot.alias_classes.get(alias, ()) for alias in aliases)
    yield audit_model.Problem(
        findings.ERROR,
        audit_model.STALE_CLAIM,
        server.id,
        _(
            "%(server)s still has a PCI device claimed on %(hosts)s, left by "
            "migration %(migrations)s: start and reboot fail with KeyError"
        )
        % {
            'server': audit_model.called(server),
            'hosts': _(" or ").join(hosts),
            'migrations': ', '.join(uuids),
        },
        _(
            "Set that migration to failed in Nova's database; or migrate to "
            "%s, confirm, wait a minute, migrate away, confirm; or recreate "
            "the server"
        )
        % _(" or ").join(hosts),
        server_id=server.id,
        classes=tuple(sorted(set().union(*known))),
        hosts=snapshot.hosts(server, roots),
        project_id=server.project_id,
    )


def stale_claims(
    snapshot: audit_model.Snapshot, server: servers.GpuServer
) -> list[tuple[migration_records.MigrationRecord, str]]:
    """Return the migrations that left devices claimed, and on which hosts."""
    aliases = server.gpu_request.aliases
    records = snapshot.records_of.get(server.id, ()) if aliases else ()
    return [
        (record, host)
        for number, record in enumerate(records, 1)
        for host in sorted(
            _stale_hosts(snapshot, server, record, records[number:])
        )
    ]


def _stale_hosts(
    snapshot: audit_model.Snapshot,
    server: servers.GpuServer,
    record: migration_records.MigrationRecord,
    later: Iterable[migration_records.MigrationRecord],
) -> frozenset[str]:
    """Return where a migration may have left a device claimed.

    On the end where the server was not afterwards, which the source of its
    next migration tells. On the target only if the source began: else it was
    the target's claim that failed, which leaves nothing (facts 4).
    """
    later = tuple(later)
    if record.status == migration_records.FINISHED and is_cold(record):
        hosts = frozenset((record.source,))
    elif record.status == migration_records.ERROR and is_cold(record):
        where = next((r.source for r in later if r.source), server.host)
        hosts = ends(record) - {where}
        if where != record.target and not snapshot.began.get(
            record.uuid, True
        ):
            return frozenset()
    else:
        return frozenset()
    return frozenset(host for host in hosts if not _is_healed(host, later))


def _is_healed(
    host: str, later: Iterable[migration_records.MigrationRecord]
) -> bool:
    """Tell whether a server went to a host and away again (facts 4)."""
    confirmed = [r for r in later if r.status == _CONFIRMED and is_cold(r)]
    arrived = [n for n, r in enumerate(confirmed) if r.target == host]
    return bool(arrived) and any(
        record.source == host for record in confirmed[arrived[0] + 1 :]
    )
