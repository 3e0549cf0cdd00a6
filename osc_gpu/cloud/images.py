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

"""Images as Glance has them.

Asked raw: the SDK gives properties names and types of its own, which differ
between its releases.
"""

import collections
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import re
from typing import Any

from openstack import connection
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from osc_gpu.cloud import rest
from osc_gpu.i18n import _

#: Glance shows so many images in one answer (api_limit_max).
_PAGE = '1000'
#: Kernels and ramdisks of other images; no server is made from one alone.
_PARTS = ('aki', 'ari')
#: What Glance itself shows of an image (glance/api/v2/images.py).
_OWN = frozenset(
    (
        'checksum',
        'container_format',
        'created_at',
        'direct_url',
        'disk_format',
        'file',
        'id',
        'name',
        'owner',
        'schema',
        'self',
        'status',
        'stores',
        'updated_at',
        'visibility',
    )
)
_PATCH = {'Content-Type': 'application/openstack-images-v2.1-json-patch'}


@dataclasses.dataclass(frozen=True)
class Image:
    """An image.

    :param name: '' if it has none.
    :param min_ram: MiB.
    :param min_disk: GiB.
    :param size: bytes, as ``virtual_size``; 0 if Glance does not know it.
    :param properties: what stands there for Nova and others to read.
    """

    id: str
    name: str
    status: str
    min_ram: int
    min_disk: int
    size: int
    virtual_size: int
    properties: Mapping[str, str]


def list_images(conn: connection.Connection) -> list[Image]:
    """Return the images that servers can be made from, a request per 1000.

    Those that Glance lists: neither hidden ones nor other projects' community
    images are among them.
    """
    query = {'limit': _PAGE}
    found: list[Image] = []
    while True:
        body = rest.get(conn.image, '/images', params=query)
        page = body['images']
        found += [read(i) for i in page if i.get('disk_format') not in _PARTS]
        if not page or 'next' not in body:
            return found
        query['marker'] = page[-1]['id']


def find_image(conn: connection.Connection, name_or_id: str) -> Image:
    """Return the image of an ID, else of a name, hidden ones too.

    One request; a second one for a hidden image, or for a name that looks
    like an ID.

    :raises CommandError: there is none, or several have the name
    """
    if re.fullmatch(
        '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}', name_or_id
    ):
        try:
            return read(rest.get(conn.image, f'/images/{name_or_id}'))
        except sdk_exceptions.NotFoundException:
            pass
    for hidden in ('false', 'true'):
        # Without the operator, Glance takes one out of a name with a colon.
        query = {'name': f'eq:{name_or_id}', 'os_hidden': hidden}
        found = rest.get(conn.image, '/images', params=query)['images']
        if len(found) == 1:
            return read(found[0])
        if found:
            raise exceptions.CommandError(
                _("Several images are named '%(name)s': give an ID, %(ids)s")
                % {
                    'name': name_or_id,
                    'ids': _(" or ").join(image['id'] for image in found),
                }
            )
    raise exceptions.CommandError(
        _("Image '%s' could not be found.") % name_or_id
    )


def read(body: Mapping[str, Any]) -> Image:
    """Read an image out of Glance's words."""
    return Image(
        id=body['id'],
        name=body.get('name') or '',
        status=body['status'],
        min_ram=body.get('min_ram') or 0,
        min_disk=body.get('min_disk') or 0,
        size=body.get('size') or 0,
        virtual_size=body.get('virtual_size') or 0,
        properties={
            key: value
            for key, value in body.items()
            if isinstance(value, str)
            and key not in _OWN
            and not key.startswith('os_hash_')
        },
    )


def names(images: Iterable[Image]) -> dict[str, str]:
    """Return what to call each image on a command line, by ID.

    Its name, unless that is not one that a command would find it by.
    """
    images = list(images)
    bearers = collections.Counter(image.name for image in images)
    return {
        image.id: image.name
        if bearers[image.name] == 1 and _is_plain(image.name)
        else image.id
        for image in images
    }


def _is_plain(name: str) -> bool:
    return bool(name) and name.isprintable() and not name.startswith('-')


def set_properties(
    conn: connection.Connection, image: Image, properties: Mapping[str, str]
) -> None:
    """Add properties to an image, or replace them, in one request.

    :raises openstack.exceptions.SDKException: Glance refused
    """
    # To Glance as in RFC 6902, to add what is there means to replace it.
    changes = [
        {'op': 'add', 'path': f'/{key}', 'value': value}
        for key, value in sorted(properties.items())
    ]
    response = conn.image.patch(
        f'/images/{image.id}', json=changes, headers=_PATCH
    )
    sdk_exceptions.raise_from_response(response)
