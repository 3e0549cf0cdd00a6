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

"""What somebody with more than the API has to do, or else: in words."""

from collections.abc import Iterable
from collections.abc import Iterator
import shlex

from osc_gpu.cloud import migration_records
from osc_gpu.cloud import migration_state
from osc_gpu.cloud import recovery_history
from osc_gpu.cloud import recovery_model
from osc_gpu.i18n import _


def instructions(
    case: recovery_model.Case, diagnosis: recovery_model.Diagnosis
) -> tuple[str, ...]:
    """Say how else a server can be healed, a step in each string."""
    if diagnosis.kind == recovery_model.NO_VGPU:
        return tuple(_make_room(case))
    if diagnosis.kind in (
        recovery_model.STALE_CLAIM,
        recovery_model.RESET_EARLY,
        recovery_model.ABANDONED,
        recovery_model.BUSY,
    ):
        return (
            *_end_shelving(case, diagnosis.kind),
            *_forget_migrations(case, diagnosis.kind),
        )
    if diagnosis.kind == recovery_model.BROKEN:
        return (_recreate(case),)
    return ()


def statements(case: recovery_model.Case, kind: str) -> tuple[str, ...]:
    """Return what has Nova forget the migrations that are in the way.

    Nova counts devices as the server's where a migration of it is in error,
    or not over (facts 0.1); nova-manage has no command for it.
    """
    state = case.state
    records = {record.uuid: record for record, _host in case.stale}
    if kind == recovery_model.RESET_EARLY:
        finished = state.finished
        if state.stand == migration_state.UNCONFIRMED:
            finished = finished[:-1]
        records |= {record.uuid: record for record in finished}
    elif kind in (recovery_model.ABANDONED, recovery_model.BUSY):
        records |= {
            record.uuid: record
            for record in case.cold
            if record.status in migration_records.IN_PROGRESS
        }
    return tuple(
        f"UPDATE migrations SET status='{_status(case, record)}' "  # noqa: S608
        f"WHERE uuid='{record.uuid}' AND status='{record.status}';"
        for record in records.values()
    )


def _status(
    case: recovery_model.Case, record: migration_records.MigrationRecord
) -> str:
    """Return what a migration that is in the way has to be.

    One that was not confirmed to its end can be confirmed again, and only
    that gives up its source (nova/compute/manager.py, confirm_resize).
    """
    if record.status == 'confirming' and (
        case.state.server.status == 'VERIFY_RESIZE'
    ):
        return migration_records.FINISHED
    return 'failed'


def _end_shelving(case: recovery_model.Case, kind: str) -> Iterator[str]:
    """Say how a server gets out of a shelving that nobody does any more."""
    if kind == recovery_model.BUSY and case.server.task_state.startswith(
        'shelving'
    ):
        yield _(
            "Only if Nova does not go on, as its compute service died in the "
            "middle of it: openstack server set --auto-approve --state active "
            "%(id)s; then run: openstack gpu server recover %(id)s"
        ) % {'id': case.server.id}


def _forget_migrations(case: recovery_model.Case, kind: str) -> Iterator[str]:
    found = statements(case, kind)
    if not found:
        return
    if kind == recovery_model.BUSY:
        yield _(
            "Only if Nova does not go on: a compute service that died in the "
            "middle of it never does, even when it is back; make sure that "
            "nothing copies its disk any more"
        )
    for statement in found:
        yield (
            _(
                "In the database of its cell (nova-manage cell_v2 "
                "list_cells; it has no command for this): %s"
            )
            % statement
        )
    hosts = sorted(
        {host for _record, host in case.stale}
        | {r.source for r in case.state.finished}
        | {
            host
            for r in case.cold
            if r.status in migration_records.IN_PROGRESS
            for host in (r.source, r.target)
            if host
        }
    )
    yield _(
        "Wait for the next update of resources on %(hosts)s "
        "(update_resources_interval, 60 seconds unless nova.conf says "
        "otherwise), which frees what is claimed; then run: openstack gpu "
        "server recover %(id)s"
    ) % {'hosts': ', '.join(hosts), 'id': case.server.id}
    if kind != recovery_model.BUSY:
        yield _recreate(case)


def _make_room(case: recovery_model.Case) -> Iterator[str]:
    yield (
        _(
            "Make room for it on another host, and run: openstack gpu server "
            "recover %s"
        )
        % case.server.id
    )
    yield _(
        "Or, in this order: openstack server stop %(id)s (unless it is "
        "SHUTOFF); openstack server shelve %(id)s; openstack server unshelve "
        "%(id)s, which makes its vGPUs anew, if nobody else takes them "
        "meanwhile"
    ) % {'id': case.server.id}


def _recreate(case: recovery_model.Case) -> str:
    server = case.server
    words = {
        'id': server.id,
        'name': _argument(server.name, '<name>'),
        'flavor': shlex.quote(server.flavor),
        'image': shlex.quote(f'{server.name}-rescue'),
        'project': server.project_id,
        'stop': _("openstack server stop %s, and wait for SHUTOFF; ")
        % server.id
        if server.status == 'ERROR'
        else '',
    }
    if server.has_image:
        text = _(
            "Or recreate it from a snapshot, as a user of its project "
            "%(project)s: %(stop)sopenstack server image create --wait "
            "--name=%(image)s %(id)s; openstack server delete --wait %(id)s; "
            "openstack gpu server create %(name)s --flavor=%(flavor)s "
            "--image=%(image)s --network <network>. The snapshot lacks its "
            "ephemeral disks. Its volumes with delete_on_termination are "
            "deleted with it. "
        )
    else:
        text = _(
            "Or recreate it from its volume, as a user of its project "
            "%(project)s: openstack server volume list %(id)s; for each "
            "volume: openstack --os-compute-api-version 2.85 server volume "
            "update --preserve-on-termination %(id)s <volume>; openstack "
            "server delete --wait %(id)s; openstack server create %(name)s "
            "--flavor=%(flavor)s --volume <volume> --network <network>. "
            "Ephemeral disks are lost. "
        )
    text += _(
        "Its addresses are lost, unless its ports were made before it: then "
        "--port <port> in place of --network."
    )
    return text % words


def _argument(value: str, placeholder: str) -> str:
    """Return what may be an argument; an option must not be made of it."""
    return placeholder if value.startswith('-') else shlex.quote(value)


def leftovers(case: recovery_model.Case) -> tuple[str, ...]:
    """Say which directories migrations that broke may have left.

    A migration away from the same host removes that of an earlier one
    (nova/virt/libvirt/driver.py, migrate_disk_and_power_off).
    """
    found = []
    for number, record in enumerate(case.cold, 1):
        again = any(
            later.source == record.source and later.status == 'confirmed'
            for later in case.cold[number:]
        )
        may_be = (
            record.status in recovery_history.BROKEN
            and case.state.began.get(record.uuid, True)
        ) or (
            record in case.state.finished
            and case.state.stand != migration_state.UNCONFIRMED
        )
        if may_be and not again and record.source not in found:
            found.append(record.source)
    return tuple(
        _(
            "%(host)s: <instances_path>/%(id)s_resize, or with rbd the "
            "snapshot nova-resize of %(id)s_disk; before it is removed, make "
            "sure that openstack server show %(id)s says ACTIVE or "
            "SHUTOFF%(on)s, and openstack server migration list --server "
            "%(id)s nothing that is under way"
        )
        % {
            'host': host,
            'id': case.server.id,
            'on': _(" on another host") if host != case.server.host else '',
        }
        for host in found
    )


def proof(
    case: recovery_model.Case, done: Iterable[recovery_model.Step]
) -> str:
    """Say what shows that all is well."""
    server = case.server
    if server.status != 'ACTIVE':
        return _(
            "it is %(status)s, and may be started; it was not, as it was "
            "stopped before"
        ) % {'status': server.status}
    names = [step.name for step in done]
    if recovery_model.START in names or recovery_model.REBOOT in names:
        return _("it started on %s, and holds what its flavor asks") % (
            server.host
        )
    return _(
        "it runs on %(host)s, and holds what its flavor asks; only a hard "
        "reboot would prove that it starts"
    ) % {'host': server.host}
