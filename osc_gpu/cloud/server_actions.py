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

"""What is done to servers and compute services.

Nothing is tried again here: what became of a request that was not answered
is read from the cloud.
"""

from collections.abc import Mapping
from typing import Any

from openstack import connection
from openstack import exceptions

from osc_gpu.cloud import servers

_LOCK = '2.73'
_MIGRATE = '2.56'
_UNSHELVE = '2.91'
_LIVE = '2.30'
_SERVICE = '2.53'


def _act(
    conn: connection.Connection,
    server_id: str,
    body: Mapping[str, Any],
    microversion: str,
) -> None:
    response = conn.compute.post(
        f'/servers/{server_id}/action', json=body, microversion=microversion
    )
    exceptions.raise_from_response(response)


def lock(
    conn: connection.Connection, server: servers.GpuServer, reason: str
) -> None:
    """Lock a server for everybody but admins, with a reason for all to see.

    One that is locked is unlocked first, in one more request: Nova keeps the
    old reason for an admin who owns the server.
    """
    if server.is_locked:
        unlock(conn, server.id)
    body = {'lock': {'locked_reason': reason}}
    _act(conn, server.id, body, _LOCK)


def unlock(conn: connection.Connection, server_id: str) -> None:
    """Unlock a server."""
    _act(conn, server_id, {'unlock': None}, _LOCK)


def migrate(
    conn: connection.Connection, server_id: str, host: str = ''
) -> None:
    """Begin a cold migration, to a host or wherever Nova finds room."""
    body = {'migrate': {'host': host} if host else None}
    _act(conn, server_id, body, _MIGRATE)


def migrate_live(
    conn: connection.Connection, server_id: str, host: str = ''
) -> None:
    """Begin a live migration; Nova decides how disks are moved."""
    body = {
        'os-migrateLive': {'host': host or None, 'block_migration': 'auto'}
    }
    _act(conn, server_id, body, _LIVE)


def confirm(conn: connection.Connection, server_id: str) -> None:
    """Confirm a migration, which gives up the source."""
    _act(conn, server_id, {'confirmResize': None}, servers.MICROVERSION)


def revert(conn: connection.Connection, server_id: str) -> None:
    """Revert a migration, which gives up the destination."""
    _act(conn, server_id, {'revertResize': None}, servers.MICROVERSION)


def stop(conn: connection.Connection, server_id: str) -> None:
    """Stop a server; Nova does that in ERROR, too (facts 0.6)."""
    _act(conn, server_id, {'os-stop': None}, servers.MICROVERSION)


def start(conn: connection.Connection, server_id: str) -> None:
    """Start a stopped server."""
    _act(conn, server_id, {'os-start': None}, servers.MICROVERSION)


def reboot_hard(conn: connection.Connection, server_id: str) -> None:
    """Reboot a server from its definition; Nova does that in ERROR, too."""
    body = {'reboot': {'type': 'HARD'}}
    _act(conn, server_id, body, servers.MICROVERSION)


def reset_state(
    conn: connection.Connection, server_id: str, state: str
) -> None:
    """Have Nova take a server for active, or for in error, whatever it is."""
    body = {'os-resetState': {'state': state}}
    _act(conn, server_id, body, servers.MICROVERSION)


def shelve(conn: connection.Connection, server_id: str) -> None:
    """Shelve a server, and have it offloaded as the cloud is set up."""
    _act(conn, server_id, {'shelve': None}, servers.MICROVERSION)


def offload(conn: connection.Connection, server_id: str) -> None:
    """Take a shelved server off its host."""
    _act(conn, server_id, {'shelveOffload': None}, servers.MICROVERSION)


def unshelve(
    conn: connection.Connection, server_id: str, host: str = ''
) -> None:
    """Bring a shelved server to a host, or to wherever Nova finds room."""
    if host:
        _act(conn, server_id, {'unshelve': {'host': host}}, _UNSHELVE)
    else:
        _act(conn, server_id, {'unshelve': None}, servers.MICROVERSION)


def disable_service(
    conn: connection.Connection, service_id: str, reason: str
) -> None:
    """Have no new servers come to a compute service's host.

    :param reason: '' for none, which Nova takes only if it is left out
    """
    body = {'status': 'disabled'}
    if reason:
        body['disabled_reason'] = reason
    _set_service(conn, service_id, body)


def enable_service(conn: connection.Connection, service_id: str) -> None:
    """Have servers come to a compute service's host again."""
    _set_service(conn, service_id, {'status': 'enabled'})


def _set_service(
    conn: connection.Connection, service_id: str, body: Mapping[str, str]
) -> None:
    response = conn.compute.put(
        f'/os-services/{service_id}', json=body, microversion=_SERVICE
    )
    exceptions.raise_from_response(response)
