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

"""Servers for which devices are claimed on hosts where they are not."""

from collections.abc import Iterator
import shlex

from osc_gpu.cloud import audit_model
from osc_gpu.cloud import migration_state
from osc_gpu.cloud import recovery_model
from osc_gpu.i18n import _


def diagnose(case: recovery_model.Case) -> recovery_model.Diagnosis:
    """Say where they are, and plan how to get rid of them."""
    hosts = sorted({host for _record, host in case.stale})
    text = _(
        "a PCI device is still claimed for it on %s: it fails to start and "
        "to reboot"
    ) % ', '.join(hosts)
    if case.state.stand not in (migration_state.IDLE, migration_state.ERROR):
        why = _("it is %s, and Nova migrates no such server") % (
            case.server.status
        )
        return recovery_model.Diagnosis(
            recovery_model.STALE_CLAIM, text, obstacle=why
        )
    steps = tuple(_bounce(case, hosts))
    return recovery_model.Diagnosis(
        recovery_model.STALE_CLAIM, text, steps, _obstacle(case, hosts)
    )


def _bounce(
    case: recovery_model.Case, hosts: list[str]
) -> Iterator[recovery_model.Step]:
    """Migrate to each host with a stale claim and away again (facts 4).

    One that runs goes on running: should the way back fail, it could not be
    started again.
    """
    server, memory = case.server, case.memory
    if server.status == 'ERROR':
        yield recovery_model.Step(recovery_model.STOP)
    newest = case.state.newest
    if server.host in hosts and not (newest and newest.uuid in memory.waited):
        yield recovery_model.Step(recovery_model.PERIODIC, server.host)
    for host in hosts:
        if host != server.host:
            yield recovery_model.Step(recovery_model.MIGRATE, host)
            yield recovery_model.Step(recovery_model.PERIODIC, host)
    yield recovery_model.Step(recovery_model.MIGRATE, _way_out(case, hosts))
    if server.status != 'ACTIVE' and case.wants_to_run:
        yield recovery_model.Step(recovery_model.START)


def _way_out(case: recovery_model.Case, hosts: list[str]) -> str:
    """Return where the server goes back to; '' is wherever there is room.

    It is where it was before the bounce.
    """
    host = case.server.host
    for record in reversed(case.cold):
        if record.status != 'confirmed':
            break
        host = record.source
    if (
        host in hosts
        or recovery_model.Step(recovery_model.MIGRATE, host)
        in case.memory.failed
    ):
        return ''
    return '' if why_not(case.world, host) else host


def _obstacle(case: recovery_model.Case, hosts: list[str]) -> str:
    """Say why a server cannot go where its claims are."""
    if case.memory.ignores_room:
        return ''
    for host in hosts:
        if host != case.server.host:
            why = why_not(case.world, host) or _no_room(case, host)
            if why:
                return why
    return ''


def why_not(world: audit_model.Snapshot, host: str) -> str:
    """Say why Nova would send no server to a host; '' if it would."""
    found = [h for h in world.hypervisors.values() if h.host == host]
    if not found:
        return _("there is no host %s any more") % host
    if not all(h.is_up for h in found):
        return _("%s is down") % host
    if not all(h.is_enabled for h in found):
        return _(
            "%(host)s is disabled: enable it meanwhile (openstack compute "
            "service set --enable %(word)s nova-compute)"
        ) % {'host': host, 'word': shlex.quote(host)}
    return ''


def _no_room(case: recovery_model.Case, host: str) -> str:
    """Say that a host lacks free GPUs besides those that are claimed there.

    Nothing is known of PCI devices that are not in Placement.
    """
    world, held = case.world, case.held.get(case.server.id)
    classes = {
        name
        for uuid, amounts in (held.held.items() if held else ())
        if uuid in world.names and world.is_pci(uuid)
        for name in amounts
    }
    roots = world.roots_of.get(host, frozenset())
    devices = [
        resource
        for provider in world.providers.values()
        if provider.root_uuid in roots
        for name, resource in provider.resources.items()
        if name in classes
    ]
    asked = sum(number for _name, number in case.server.gpu_request.aliases)
    claims = sum(1 for _record, where in case.stale if where == host)
    needed = asked * (1 + claims)
    free = sum(max(0, d.capacity - d.used) for d in devices)
    if not devices or free >= needed:
        return ''
    return _(
        "%(host)s has %(free)d free GPUs of its kind; it takes %(needed)d: "
        "those claimed for it, and as many again"
    ) % {'host': host, 'free': free, 'needed': needed}
