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

"""Making sure that a host is fit to be given a server with PCI devices.

After a cold migration Placement may have a device for a server that Nova
gives to the next one (facts 0.4). Placement refuses that in the middle of the
next one's claim, which then fails and leaves a device claimed. So what
servers on a host hold too much is repaired before another one is sent there.
"""

from collections.abc import Mapping
import dataclasses

from osc_gpu.cloud import audit_model
from osc_gpu.cloud import audit_servers
from osc_gpu.cloud import errors
from osc_gpu.cloud import migration
from osc_gpu.cloud import migration_proof
from osc_gpu.cloud import repair
from osc_gpu.cloud import servers
from osc_gpu.cloud import side_by_side
from osc_gpu.i18n import _


def tidy(run: migration.Run, host: str, wait: float) -> str:
    """Repair what servers on a host hold too much.

    One request, one for each server there with an alias, and those of
    repair_excess.mend if there is anything to repair.

    :param host: a compute service's host
    :param wait: seconds within which Nova updates what servers hold
    :returns: why no server with PCI devices may come; '' if it may
    """
    if run.world.pci_roots.isdisjoint(run.world.roots_of.get(host, ())):
        return ''
    try:
        return _tidy(run, host, wait)
    except errors.REFUSALS as exc:
        return _("%(host)s cannot be looked at: %(why)s") % {
            'host': host,
            'why': errors.explain(exc, run.conn),
        }


def _tidy(run: migration.Run, host: str, wait: float) -> str:
    there = {
        server.id: server
        for server in servers.read_all(run.conn, host=host, all_tenants='True')
        if server.gpu_request.aliases
    }
    found = side_by_side.each(
        lambda server_id: migration_proof.read(run.conn, server_id), there
    )
    held = {uuid: one for each in found for uuid, one in each.items()}
    snapshot = dataclasses.replace(run.world, servers=there, held=held)
    excess = surplus(snapshot)
    if not excess:
        return ''
    for problem in excess:
        run.say(f'{host}: {problem.detail}')
    mended = repair.drop_excess(run.conn, snapshot, excess, wait)
    failed = [
        f'{there[server_id].name}: {done.text}'
        for server_id, done in mended.items()
        if not done.is_done
    ]
    if not failed:
        return ''
    return _(
        "%(host)s has servers that hold too many devices (%(why)s); see: "
        "openstack gpu inventory check --repair"
    ) % {'host': host, 'why': '; '.join(sorted(failed))}


def surplus(
    snapshot: audit_model.Snapshot,
) -> tuple[audit_model.Problem, ...]:
    """Return what servers hold too much, and Nova corrects.

    Not of those that something is being done to, nor of those that hold
    something of two hosts.
    """
    found: Mapping[str, list[audit_model.Problem]] = {
        server.id: list(audit_servers.judge_server(snapshot, server))
        for server in snapshot.servers.values()
        if snapshot.is_idle(server)
    }
    return tuple(
        problem
        for problems in found.values()
        for problem in problems
        if problem.check == audit_model.EXCESS
        and audit_servers.is_corrected(snapshot, problem)
        and all(p.check != audit_model.TWO_TREES for p in problems)
    )
