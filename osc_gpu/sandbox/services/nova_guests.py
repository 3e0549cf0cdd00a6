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

"""Servers and what runs in them: user data in, console out."""

from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from services import nova_computes
from services import nova_fakes


def find(name: str) -> dict[str, Any]:
    """Return what Nova knows of a server that its guest is to know.

    The user data is as Nova holds it, in base64; None if there is none.

    :param name: of the server, or its id
    """
    found = [s for s in _servers() if name in (s.uuid, s.display_name)]
    if not found:
        raise nova_computes.Unknown(f'no server {name}')
    if len(found) > 1:
        ids = ', '.join(server.uuid for server in found)
        raise nova_computes.Conflict(
            f'{len(found)} servers are called {name}; name one by its id: '
            f'{ids}'
        )
    (server,) = found
    image = server.system_metadata
    return {
        'uuid': server.uuid,
        'name': server.display_name,
        'os_distro': image.get('image_os_distro'),
        'os_version': image.get('image_os_version'),
        'user_data': server.user_data,
    }


def _servers() -> list[Any]:
    from nova import context
    from nova import objects

    admin = context.get_admin_context()
    found = []
    for cell in objects.CellMappingList.get_all(admin):
        with context.target_cell(admin, cell) as in_cell:
            found.extend(
                objects.InstanceList.get_by_filters(
                    in_cell,
                    {'deleted': False},
                    expected_attrs=['system_metadata'],
                )
            )
    return found


def say(
    server: str, text: str, guests: Mapping[str, Iterable[Mapping[str, Any]]]
) -> None:
    """Append to the console of a server's guest, as if it had written it.

    :param server: its id
    :param guests: what each host's libvirt runs, by host name
    """
    states = [
        guest['state']
        for host in guests.values()
        for guest in host
        if guest['uuid'] == server
    ]
    if not states:
        raise nova_computes.Conflict('the server has no guest on any host')
    if 'running' not in states:
        raise nova_computes.Conflict(f'the guest is {states[0]}')
    path = nova_fakes.console(server)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('ab') as stream:
        stream.write(text.encode(errors='replace'))
