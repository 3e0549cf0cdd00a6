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

"""What an audit asks of a cloud, and asks again about suspects."""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import datetime
from typing import Any

from openstack import connection
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from osc_gpu.cloud import allocations
from osc_gpu.cloud import audit_migrations
from osc_gpu.cloud import audit_model
from osc_gpu.cloud import audit_servers
from osc_gpu.cloud import flavors
from osc_gpu.cloud import host_aggregates
from osc_gpu.cloud import hypervisors
from osc_gpu.cloud import migration_records
from osc_gpu.cloud import placement
from osc_gpu.cloud import provider_names
from osc_gpu.cloud import servers
from osc_gpu.cloud import side_by_side
from osc_gpu.i18n import _

#: Records of these are read for the whole cloud. What was confirmed or
#: reverted piles up, and is read only where a suspect needs it.
_STATUSES = migration_records.IN_PROGRESS | {
    migration_records.FINISHED,
    migration_records.ERROR,
    audit_model.EVACUATED,
}


def read(
    conn: connection.Connection, options: audit_model.Options
) -> audit_model.Snapshot:
    """Read what is judged.

    What providers say is in use is read first and what servers hold after
    that: a server made meanwhile explains more than is in use, which is no
    suspect, and never less.

    :raises osc_lib.exceptions.CommandError: no such host, or class
    """
    names = placement.read_names(conn)
    root = ''
    if options.host:
        root = provider_names.host_named(names, options.host).uuid
    trees = placement.read_trees(conn, names, with_traits=True)
    _refuse_unknown_classes(trees, options.classes)
    snapshot = _read_lists(conn, names, trees, options)
    hosts = (
        frozenset((snapshot.hypervisors[root].host,))
        if root in snapshot.hypervisors
        else None
    )
    snapshot = _with_held(
        conn, snapshot, _expected_consumers(snapshot, hosts), options
    )
    unexplained = [
        uuid
        for uuid in audit_servers.unexplained(snapshot)
        if root in ('', names[uuid].root_uuid)
    ]
    found = side_by_side.each(
        lambda uuid: placement.read_consumers(conn, uuid),
        unexplained,
        options.at_once,
    )
    strangers = {c for consumers in found for c in consumers}
    snapshot = _with_held(
        conn, snapshot, strangers - snapshot.held.keys(), options
    )
    return dataclasses.replace(
        snapshot, stocks=_read_stocks(conn, snapshot, options)
    )


def _refuse_unknown_classes(
    trees: Iterable[placement.Provider], classes: Iterable[str]
) -> None:
    unknown = set(classes).difference(*(p.resources for p in trees))
    if unknown:
        raise exceptions.CommandError(
            _("No resource provider has %s.") % ', '.join(sorted(unknown))
        )


def _read_lists(
    conn: connection.Connection,
    names: Mapping[str, placement.Provider],
    trees: Iterable[placement.Provider],
    options: audit_model.Options,
) -> audit_model.Snapshot:
    """Read Nova's lists, several at once."""
    also = frozenset(options.classes)
    lists: list[Callable[[], Any]] = [
        lambda: hypervisors.read(conn),
        lambda: servers.read_all(conn, also, all_tenants='True'),
        lambda: flavors.list_flavors(conn),
        lambda: host_aggregates.read(conn),
    ]
    known, found, offered, aggregates = side_by_side.each(
        lambda call: call(), lists, options.at_once
    )
    servers.warn_of_unknown(found)
    return audit_model.Snapshot(
        names=names,
        providers={provider.uuid: provider for provider in trees},
        hypervisors=known,
        servers={server.id: server for server in found},
        records=migration_records.read(
            conn, statuses=_STATUSES, at_once=options.at_once
        ),
        flavors=tuple(offered),
        aggregates=aggregates,
        also=also,
        now=_now(),
    )


def _now() -> str:
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    return now.isoformat(timespec='seconds')


def _expected_consumers(
    snapshot: audit_model.Snapshot, hosts: frozenset[str] | None
) -> list[str]:
    """Return who should hold GPUs: servers, and migrations of these.

    :param hosts: only those of these compute services, unless None
    """
    wanted = [
        server.id
        for server in snapshot.servers.values()
        if server.gpu_request
        and server.host
        and (hosts is None or server.host in hosts)
    ]
    wanted += [
        record.uuid
        for record in snapshot.records
        if record.status
        in (*migration_records.IN_PROGRESS, migration_records.FINISHED)
        and record.server_id in snapshot.servers
        and snapshot.servers[record.server_id].gpu_request
        and (
            hosts is None
            or not hosts.isdisjoint(audit_migrations.ends(record))
        )
    ]
    return wanted


def _with_held(
    conn: connection.Connection,
    snapshot: audit_model.Snapshot,
    consumers: Iterable[str],
    options: audit_model.Options,
) -> audit_model.Snapshot:
    """Read what consumers hold."""
    found = side_by_side.each(
        lambda consumer: allocations.read(conn, consumer),
        sorted(consumers),
        options.at_once,
    )
    held = {item.consumer: item for item in found}
    return dataclasses.replace(snapshot, held={**snapshot.held, **held})


def _read_stocks(
    conn: connection.Connection,
    snapshot: audit_model.Snapshot,
    options: audit_model.Options,
) -> Mapping[str, Mapping[str, placement.Stock]]:
    """Read the inventories of devices that have no capacity left."""
    asked = [
        provider.uuid
        for provider in snapshot.providers.values()
        if provider.parent_uuid is not None
        and any(
            resource.capacity <= 0 and snapshot.is_judged(provider.uuid, name)
            for name, resource in provider.resources.items()
        )
    ]
    found = side_by_side.each(
        lambda uuid: placement.read_inventories(conn, uuid),
        asked,
        options.at_once,
    )
    return dict(zip(asked, found, strict=True))


def read_again(
    conn: connection.Connection,
    snapshot: audit_model.Snapshot,
    problems: Iterable[audit_model.Problem],
    options: audit_model.Options,
) -> audit_model.Snapshot:
    """Read again what problems are about, first who holds, then who is there.

    Two requests for each consumer, one for each server's migrations; for a
    consumer that nobody knew all migrations of the cloud, as Nova does not
    find them by their UUID.
    """
    problems = tuple(problems)
    consumers = {p.consumer for p in problems if p.consumer}
    snapshot = _with_held(conn, snapshot, consumers, options)
    strangers = {p.consumer for p in problems if p.check == audit_model.ORPHAN}
    ids = strangers | {p.server_id for p in problems if p.server_id}
    found = side_by_side.each(
        lambda server_id: _read_server(conn, server_id, snapshot.also),
        sorted(ids),
        options.at_once,
    )
    known = {**snapshot.servers, **{s.id: s for s in found if s is not None}}
    there = {s.id for s in found if s is not None}
    for gone in ids - there:
        known.pop(gone, None)
    snapshot = dataclasses.replace(snapshot, servers=known, now=_now())
    snapshot = _read_records_again(conn, snapshot, ids, strangers, options)
    snapshot = _look_into_failures(conn, snapshot, problems, options)
    return _read_inventories_again(conn, snapshot, problems, options)


def _read_server(
    conn: connection.Connection, server_id: str, also: Collection[str]
) -> servers.GpuServer | None:
    try:
        return servers.read_server(conn, server_id, also)
    except sdk_exceptions.NotFoundException:
        return None


def _read_records_again(
    conn: connection.Connection,
    snapshot: audit_model.Snapshot,
    ids: Collection[str],
    strangers: Collection[str],
    options: audit_model.Options,
) -> audit_model.Snapshot:
    if strangers:
        return dataclasses.replace(
            snapshot, records=migration_records.read(conn)
        )
    pages = side_by_side.each(
        lambda server_id: migration_records.read(conn, server_id=server_id),
        sorted(ids),
        options.at_once,
    )
    records = [r for r in snapshot.records if r.server_id not in ids]
    records += [record for page in pages for record in page]
    records.sort(key=lambda r: (r.created_at, r.uuid))
    return dataclasses.replace(snapshot, records=tuple(records))


def _look_into_failures(
    conn: connection.Connection,
    snapshot: audit_model.Snapshot,
    problems: Iterable[audit_model.Problem],
    options: audit_model.Options,
) -> audit_model.Snapshot:
    """Ask of failed migrations, once, whether their source had begun."""
    records = [
        record
        for problem in problems
        if problem.check == audit_model.STALE_CLAIM
        and problem.server_id in snapshot.servers
        for record in snapshot.records_of.get(problem.server_id, ())
        if record.status == migration_records.ERROR
        and audit_migrations.is_cold(record)
        and record.uuid not in snapshot.began
    ]
    found = side_by_side.each(
        lambda record: migration_records.read_began(conn, record),
        records,
        options.at_once,
    )
    began = dict(zip((r.uuid for r in records), found, strict=True))
    return dataclasses.replace(snapshot, began={**snapshot.began, **began})


def _read_inventories_again(
    conn: connection.Connection,
    snapshot: audit_model.Snapshot,
    problems: Iterable[audit_model.Problem],
    options: audit_model.Options,
) -> audit_model.Snapshot:
    empty = [
        uuid
        for problem in problems
        if problem.check == audit_model.NO_INVENTORY
        for uuid in problem.provider_ids
    ]
    found = side_by_side.each(
        lambda uuid: placement.read_provider(conn, snapshot.names[uuid]),
        empty,
        options.at_once,
    )
    names, providers = dict(snapshot.names), dict(snapshot.providers)
    for uuid, provider in zip(empty, found, strict=True):
        if provider is None:
            del names[uuid]
        else:
            providers[uuid] = provider
    return dataclasses.replace(snapshot, names=names, providers=providers)
