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

"""Flavors as Nova has them, with what they request.

Asked raw with an explicit microversion: what the user or the SDK picks for
other commands must not decide whether extra specs come along.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
from typing import Any
from urllib import parse

from openstack import connection
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from osc_gpu.cloud import extra_specs
from osc_gpu.i18n import _

#: From here on extra specs come with the flavor.
MICROVERSION = '2.61'


@dataclasses.dataclass(frozen=True)
class Flavor:
    """A flavor.

    :param ram: MiB, as ``swap``.
    :param disk: GiB, as ``ephemeral``.
    """

    id: str
    name: str
    vcpus: int
    ram: int
    disk: int
    ephemeral: int
    swap: int
    is_public: bool
    extra_specs: Mapping[str, str]


def list_flavors(
    conn: connection.Connection, is_public: bool | None = None
) -> list[Flavor]:
    """Return flavors with their extra specs, in one request per 1000.

    :param is_public: True for the public ones and those of the own project,
        False for private ones, None for all. Nova heeds it for admins; all
        others get the public ones and those of their project.
    :raises CommandError: when Nova does not show their extra specs.
    """
    query = {'is_public': str(is_public)}
    found: list[Flavor] = []
    while True:
        body = _get(conn, f'/flavors/detail?{parse.urlencode(query)}')
        page = [read(item) for item in body['flavors']]
        found += page
        if not page or not _has_next(body):
            return found
        query['marker'] = page[-1].id


def _has_next(body: Mapping[str, Any]) -> bool:
    return any(link['rel'] == 'next' for link in body.get('flavors_links', ()))


def find_flavor(conn: connection.Connection, name_or_id: str) -> Flavor:
    """Return the flavor of an ID, else of a name, private ones too.

    One request; a second one for a flavor that no list shows, or for Nova's
    own words that there is none.

    :raises CommandError: when Nova does not show its extra specs.
    """
    flavors = list_flavors(conn)
    for flavor in flavors:
        if flavor.id == name_or_id:
            return flavor
    for flavor in flavors:
        if flavor.name == name_or_id:
            return flavor
    # As a path these would name something else than a flavor.
    if name_or_id in ('', '.', '..', 'detail'):
        raise exceptions.CommandError(
            _("Flavor '%s' could not be found.") % name_or_id
        )
    return get_flavor(conn, name_or_id)


def with_gpu(
    flavors: Iterable[Flavor],
    aliases: Collection[str] = (),
    classes: Collection[str] = (),
) -> list[tuple[Flavor, extra_specs.GpuRequest]]:
    """Return the flavors that request a GPU, by name, with their requests.

    :param aliases: only those that request one of these, unless empty.
    :param classes: likewise; any class named here counts as a GPU.
    """
    found = []
    for flavor in sorted(flavors, key=lambda f: (f.name, f.id)):
        request = extra_specs.parse(flavor.extra_specs, classes)
        if (
            request
            and _has_one(request.aliases, aliases)
            and _has_one(request.classes, classes)
        ):
            found.append((flavor, request))
    return found


def _has_one(amounts: extra_specs.Amounts, names: Collection[str]) -> bool:
    return not names or any(name in names for name, _n in amounts)


def get_flavor(conn: connection.Connection, flavor_id: str) -> Flavor:
    """Return the flavor of an ID.

    :raises NotFoundException: with Nova's words that there is none.
    """
    return read(_get(conn, path(flavor_id))['flavor'])


def path(flavor_id: str, *more: str) -> str:
    """Return the path of a flavor, or of something below it."""
    quoted = [parse.quote(part, safe=':') for part in (flavor_id, *more)]
    return '/flavors/' + '/'.join(quoted)


def _get(conn: connection.Connection, path: str) -> dict[str, Any]:
    # Without the SDK of 2025.1 repeating it, with a warning of its own.
    response = conn.compute.get(
        path, microversion=MICROVERSION, connect_retries=0
    )
    sdk_exceptions.raise_from_response(response)
    body: dict[str, Any] = response.json()
    return body


def read(body: Mapping[str, Any]) -> Flavor:
    """Read a flavor out of Nova's words.

    :raises CommandError: when its extra specs are not among them.
    """
    if body.get('extra_specs') is None:
        raise exceptions.CommandError(
            _(
                "You lack the right "
                "os_compute_api:os-flavor-extra-specs:index: Nova does not "
                "show you what flavors request"
            )
        )
    return Flavor(
        id=body['id'],
        name=body['name'],
        vcpus=body['vcpus'],
        ram=body['ram'],
        disk=body['disk'],
        ephemeral=body.get('OS-FLV-EXT-DATA:ephemeral', 0),
        # '' stands for none (nova/api/openstack/compute/views/flavors.py)
        swap=body.get('swap') or 0,
        is_public=body.get('os-flavor-access:is_public', True),
        extra_specs=body['extra_specs'],
    )
