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

from typing import Any

from openstack import connection

from osc_gpu.cloud import errors
from osc_gpu.cloud import rest

#: From here on an event has details, in Nova's words, for everybody.
_MICROVERSION = '2.84'

_FAILED = 'Error'


def failure(conn: connection.Connection, server_id: str) -> str:
    """Return why the newest action on a server failed; '' if it did not.

    Two requests at most. Never raises what the cloud refused.
    """
    path = f'/servers/{server_id}/os-instance-actions'
    try:
        body = rest.get(conn.compute, path, _MICROVERSION, {'limit': 1})
        newest = next(iter(body['instanceActions']), None)
        if newest is None or newest.get('message') != _FAILED:
            return ''
        path = f'{path}/{newest["request_id"]}'
        found = rest.get(conn.compute, path, _MICROVERSION)['instanceAction']
    except errors.REFUSALS:
        return ''
    return words(found)


def words(action: Any) -> str:
    """Return what the events of an action say that went wrong."""
    said = [
        ' '.join((event.get('details') or '').split())
        for event in action.get('events') or ()
        if event.get('result') == _FAILED
    ]
    return '; '.join(dict.fromkeys(filter(None, said)))
