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

"""Who holds GPUs that no server has."""

from collections.abc import Iterator

from osc_gpu.cloud import audit_model
from osc_gpu.cloud import migration_records
from osc_gpu.cloud import servers
from osc_gpu import findings
from osc_gpu.i18n import _


def judge(snapshot: audit_model.Snapshot) -> Iterator[audit_model.Problem]:
    """Judge every consumer that is no server."""
    for consumer in snapshot.held.keys() - snapshot.servers.keys():
        record = snapshot.records_by_uuid.get(consumer)
        server = snapshot.servers.get(record.server_id) if record else None
        if record and record.status in migration_records.IN_PROGRESS:
            continue
        if record is None or server is None:
            yield from _orphan(snapshot, consumer, record)
        else:
            yield from _leaked(snapshot, record, server)


def _orphan(
    snapshot: audit_model.Snapshot,
    consumer: str,
    record: migration_records.MigrationRecord | None,
) -> Iterator[audit_model.Problem]:
    gpus = tuple(snapshot.gpus_held(consumer))
    if not gpus:
        return
    yield audit_model.Problem(
        findings.ERROR,
        audit_model.ORPHAN,
        consumer,
        _(
            "%(gpus)s held by a consumer that is neither a server nor a "
            "migration in progress"
        )
        % {'gpus': _listed(snapshot, gpus)},
        _("remove its allocations"),
        consumer=consumer,
        server_id=record.server_id if record else '',
        provider_ids=tuple(sorted({uuid for uuid, _n, _a in gpus})),
        classes=tuple(sorted({name for _u, name, _a in gpus})),
        amount=sum(amount for _u, _n, amount in gpus),
        generation=snapshot.held[consumer].generation,
        hosts=tuple(sorted({snapshot.host(uuid) for uuid, _n, _a in gpus})),
        project_id=snapshot.held[consumer].project_id,
    )


def _leaked(
    snapshot: audit_model.Snapshot,
    record: migration_records.MigrationRecord,
    server: servers.GpuServer,
) -> Iterator[audit_model.Problem]:
    """Find what a migration left behind, of hosts where there are no GPUs.

    With PCI devices that are not in Placement only the rest of the old
    allocation is left, which takes room on a host with GPUs (facts 9).
    """
    held = snapshot.held[record.uuid]
    roots = sorted(
        {
            snapshot.names[uuid].root_uuid
            for uuid in held.held
            if uuid in snapshot.names
        }
        & snapshot.hypervisors.keys()
    )
    if not roots or not snapshot.is_idle(server):
        return
    gpus = tuple(snapshot.gpus_held(record.uuid))
    hosts = ', '.join(snapshot.host(root) for root in roots)
    yield audit_model.Problem(
        findings.ERROR,
        audit_model.LEAKED_MIGRATION,
        record.uuid,
        _(
            "%(gpus)s held by a migration (%(status)s) of server %(server)s, "
            "which is not resizing"
        )
        % {
            'gpus': _listed(snapshot, gpus)
            if gpus
            else _("Resources of %s") % hosts,
            'status': record.status,
            'server': server.name or server.id,
        },
        _("remove its allocations"),
        consumer=record.uuid,
        server_id=server.id,
        provider_ids=tuple(sorted(held.held)),
        classes=tuple(sorted({name for _u, name, _a in gpus})),
        amount=sum(amount for _u, _n, amount in gpus),
        generation=held.generation,
        hosts=tuple(snapshot.host(root) for root in roots),
        project_id=server.project_id,
    )


def _listed(
    snapshot: audit_model.Snapshot, gpus: tuple[tuple[str, str, int], ...]
) -> str:
    return ', '.join(
        f'{amount} {name} ({snapshot.names[uuid].name})'
        for uuid, name, amount in gpus
    )
