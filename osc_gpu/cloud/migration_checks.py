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

"""Why a server must not be moved, or not to that host: pure rules.

What Nova would refuse, what it would take and destroy the server with (facts
0 and 4), and what is somebody else's to decide.
"""

from collections.abc import Iterable
from collections.abc import Iterator

from osc_gpu.cloud import audit_model
from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import hypervisors
from osc_gpu.cloud import marks
from osc_gpu.cloud import migration_records
from osc_gpu.cloud import migration_state
from osc_gpu.cloud import servers
from osc_gpu.i18n import _

_CYBORG = 'accel:device_profile'

#: Why a server stays in VERIFY_RESIZE that was not migrated, but resized.
RESIZED = _(
    "its resize to another flavor waits for its owner to confirm or revert it"
)

Hosts = Iterable[hypervisors.Hypervisor]


def refusals(
    world: audit_model.Snapshot,
    state: migration_state.State,
    target: str = '',
    *,
    is_forced: bool = False,
) -> tuple[str, ...]:
    """Say why a server must not be moved; empty if nothing speaks against it.

    One that is on its way, or waits to be confirmed, may be: then the move
    goes on.

    :param target: the compute service's host that it shall go to, if any
    :param is_forced: despite a lock of somebody else, or a stale claim
    """
    found = [*_of_server(state), *_of_stand(state, target)]
    if not is_forced:
        found += _of_others(world, state)
    hosts = world.hypervisors.values()
    found += _of_host(hosts, state)
    if target and state.stand == migration_state.IDLE and not state.has_left:
        found += of_target(hosts, target, state.server.host)
    return tuple(found)


def _of_server(state: migration_state.State) -> Iterator[str]:
    server = state.server
    if server.is_partial:
        yield _("its cell does not answer")
    elif server.own_flavor is None:
        yield _("Nova does not show you the extra specs of its flavor")
    elif _CYBORG in server.own_flavor.extra_specs:
        yield _("Nova moves no server with %s") % _CYBORG
    elif extra_specs.ALIAS in server.own_flavor.extra_specs and not (
        server.gpu_request.aliases
    ):
        yield _("Nova cannot read its %s") % extra_specs.ALIAS


def _of_stand(state: migration_state.State, target: str) -> Iterator[str]:
    """Say what of the server's status is in the way."""
    server, stand, newest = state.server, state.stand, state.newest
    if stand == migration_state.ERROR:
        yield _(
            "it is in ERROR (%(fault)s); see: openstack gpu server recover "
            "%(id)s"
        ) % {'fault': server.fault or _("no fault"), 'id': server.id}
    elif stand == migration_state.OTHER:
        yield _("it is %s; only ACTIVE and SHUTOFF servers are moved") % (
            server.status
        )
    elif stand == migration_state.SHELVED and state.mark is None:
        yield _("it is %s and holds no GPU") % server.status
    elif stand == migration_state.BUSY:
        if state.mark is None and not is_migrating(state):
            yield _("something is being done to it (%s); wait for its end") % (
                server.task_state or server.status
            )
    elif stand == migration_state.UNCONFIRMED and newest is not None:
        if newest.kind == 'resize':
            yield RESIZED
        elif target not in ('', newest.target):
            yield _(
                "it was migrated to %(to)s and waits there to be confirmed: "
                "name no other host"
            ) % {'to': newest.target}


def is_migrating(state: migration_state.State) -> bool:
    """Tell whether a migration to another host is under way, by anyone."""
    newest = state.newest
    return newest is not None and (
        newest.kind in ('migration', 'live-migration')
        and newest.status in migration_records.IN_PROGRESS
    )


def _of_others(
    world: audit_model.Snapshot, state: migration_state.State
) -> Iterator[str]:
    """Say what ``--force`` overrides."""
    server = state.server
    if has_others_lock(server):
        yield _others_lock(server)
    stale = migration_state.stale_hosts(world, state)
    if stale:
        yield _(
            "a PCI device is still claimed for it on %(hosts)s; see: "
            "openstack gpu server recover %(id)s"
        ) % {'hosts': ', '.join(sorted(stale)), 'id': server.id}
    elif state.finished and state.stand in (
        migration_state.IDLE,
        migration_state.ERROR,
    ):
        yield _(
            "its migration %(record)s was never confirmed, and Nova would "
            "take it for the next one; see: openstack gpu server recover "
            "%(id)s"
        ) % {'record': state.finished[0].uuid, 'id': server.id}


def has_others_lock(server: servers.GpuServer) -> bool:
    """Tell whether somebody else than one of our commands has locked it."""
    return server.is_locked and not marks.is_ours(server.locked_reason)


def held_back(server: servers.GpuServer, command: str) -> str:
    """Say that somebody else has locked a server, and what overrides it.

    :param command: the one of ours that does, with ``--force``
    """
    return _(
        "%(lock)s; despite that: openstack gpu server %(command)s --force "
        "%(id)s"
    ) % {'lock': _others_lock(server), 'command': command, 'id': server.id}


def _others_lock(server: servers.GpuServer) -> str:
    reason = f': {server.locked_reason}' if server.locked_reason else ''
    return _("somebody has locked it%s") % reason


def _of_host(hosts: Hosts, state: migration_state.State) -> Iterator[str]:
    """Say that nothing is done on the host where a server is.

    That host, and not the source, begins a revert (nova/compute/rpcapi.py,
    revert_resize): one that is asked for meanwhile waits for it.
    """
    host = state.server.host
    if not any(h.host == host and not h.is_up for h in hosts):
        return
    if state.stand == migration_state.UNCONFIRMED:
        yield _(
            "it waits in VERIFY_RESIZE on %(host)s, which is down, and not "
            "even a revert goes on without that host: start its nova-compute "
            "and run this again, or go back: openstack gpu server recover "
            "--method revert %(id)s"
        ) % {'host': host, 'id': state.server.id}
    else:
        yield (
            _("its host %s is down; Nova migrates only from hosts that are up")
            % host
        )


def of_target(hosts: Hosts, target: str, source: str) -> Iterator[str]:
    """Say why a host takes no server from another one."""
    found = [h for h in hosts if h.host == target]
    if not found:
        yield str(hypervisors.unknown(target))
    elif target == source:
        yield _("it is on %s already") % target
    elif not all(h.is_up for h in found):
        yield _("%s is down") % target
    elif not all(h.is_enabled for h in found):
        reason = next((h.disabled_reason for h in found), '')
        yield _("%(host)s is disabled%(reason)s") % {
            'host': target,
            'reason': f' ({reason})' if reason else '',
        }
