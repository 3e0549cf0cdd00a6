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

"""What Nova wrote down of the actions on a server."""

from collections.abc import Iterable
from typing import Any

from openstack import connection

from osc_gpu.cloud import errors
from osc_gpu.cloud import rest

#: From here on an event has details, in Nova's words; and, for admins, its
#: host.
_MICROVERSION = '2.84'

_FAILED = 'Error'


def read(
    conn: connection.Connection, server_id: str, most: int | None = None
) -> list[Any]:
    """Read what was done to a server, newest first, in one request.

    :param most: no more than so many
    """
    params = {'limit': most} if most else {}
    body = rest.get(conn.compute, _path(server_id), _MICROVERSION, params)
    return list(body['instanceActions'])


def events(
    conn: connection.Connection, server_id: str, request_id: str
) -> list[Any]:
    """Read the events of one action, in one request."""
    path = f'{_path(server_id)}/{request_id}'
    found = rest.get(conn.compute, path, _MICROVERSION)['instanceAction']
    return list(found.get('events') or ())


def _path(server_id: str) -> str:
    return f'/servers/{server_id}/os-instance-actions'


def failure(conn: connection.Connection, server_id: str) -> str:
    """Return why the newest action on a server failed; '' if it did not.

    Two requests at most. Never raises what the cloud refused.
    """
    try:
        newest = next(iter(read(conn, server_id, 1)), None)
        if newest is None or newest.get('message') != _FAILED:
            return ''
        return words(events(conn, server_id, newest['request_id']))
    except errors.REFUSALS:
        return ''


def words(found: Iterable[Any]) -> str:
    """Return what events say that went wrong."""
    said = [
        ' '.join((event.get('details') or '').split())
        for event in found
        if event.get('result') == _FAILED
    ]
    return '; '.join(dict.fromkeys(filter(None, said)))
