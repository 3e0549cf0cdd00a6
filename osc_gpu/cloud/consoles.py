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

"""What servers wrote to their serial consoles, as Nova keeps it."""

from collections.abc import Callable
import time
from typing import TypeVar

from openstack import connection
from openstack import exceptions as sdk_exceptions

from osc_gpu.cloud import errors

T = TypeVar('T')

#: Seconds between two looks at a console.
_FIRST_PAUSE = 2.0
_LONGEST_PAUSE = 15.0


def read(conn: connection.Connection, server_id: str) -> str:
    """Return the end of a server's console: Nova gives up to 100 KiB.

    One request.

    :raises openstack.exceptions.SDKException: there is none, or it is not to
        be had (nova/compute/manager.py, get_console_output)
    """
    response = conn.compute.post(
        f'/servers/{server_id}/action',
        json={'os-getConsoleOutput': {}},
        microversion='2.1',
    )
    sdk_exceptions.raise_from_response(response)
    output = response.json().get('output')
    return output if isinstance(output, str) else ''


def peek(conn: connection.Connection, server_id: str) -> str:
    """Return the end of a server's console, or '' where it has none.

    One request; for whom it is only one thing of many that are shown.
    """
    try:
        return read(conn, server_id)
    except errors.REFUSALS:
        return ''


def watch(
    conn: connection.Connection,
    server_id: str,
    find: Callable[[str], T | None],
    timeout: float,
) -> T | None:
    """Read a server's console until something is found in it.

    :param find: looks for it in the console's text
    :param timeout: in seconds; 0 looks once
    :returns: what was found; None after the timeout
    :raises openstack.exceptions.SDKException: the console is not to be had,
        and asking again would not change that
    """
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        try:
            found = find(read(conn, server_id))
        except errors.REFUSALS as exc:
            # A server that boots may not have one yet.
            if timeout <= 0 or not errors.may_pass(exc):
                raise
            found = None
        left = deadline - time.monotonic()
        if found is not None or left <= 0:
            return found
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, _LONGEST_PAUSE)
