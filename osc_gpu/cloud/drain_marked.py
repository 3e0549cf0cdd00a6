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

"""Servers that a run of ours has begun to move, as their locks tell."""

from collections.abc import Iterable
from typing import NamedTuple

from openstack import connection

from osc_gpu.cloud import marks
from osc_gpu.cloud import servers


class Marked(NamedTuple):
    """A server, and what the reason of its lock says."""

    server: servers.GpuServer
    mark: marks.Move


def read(conn: connection.Connection) -> tuple[Marked, ...]:
    """Read all servers that we have locked, in one request per 1000."""
    found = servers.read_all(conn, all_tenants='True', locked='True')
    return tuple(
        Marked(server, mark)
        for server in found
        if server.is_locked
        and (mark := marks.read_move(server.locked_reason)) is not None
    )


def leaving(marked: Iterable[Marked], host: str) -> tuple[Marked, ...]:
    """Return those that are to leave a host, and not to return to another."""
    return tuple(
        one
        for one in marked
        if one.mark.verb == marks.MIGRATE
        and one.mark.source == marks.digest(one.server.project_id, host)
    )


def returning(marked: Iterable[Marked], host: str) -> tuple[Marked, ...]:
    """Return those that are to return to a host."""
    return tuple(
        one
        for one in marked
        if one.mark.verb == marks.RETURN
        and one.mark.home == marks.digest(one.server.project_id, host)
    )


def is_untouched(marked: Marked, host: str) -> bool:
    """Tell whether a drain has locked a server, and no more."""
    server = marked.server
    return (
        server.host == host
        and server.status in ('ACTIVE', 'SHUTOFF')
        and not server.task_state
    )
