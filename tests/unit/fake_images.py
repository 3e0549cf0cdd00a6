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

"""A Glance that has nothing but images, and fails when it is told to."""

import json
import re
from typing import Any
from urllib import parse
import uuid

from osc_gpu.cloud import images
from tests.unit import base

PATCH = 'application/openstack-images-v2.1-json-patch'

#: What Glance says in a page of HTML.
_PAGE = """<html>
 <head>
  <title>%(title)s</title>
 </head>
 <body>
  <h1>%(title)s</h1>
  %(text)s<br /><br />



 </body>
</html>"""


class FakeGlance:
    """The state of a Glance; ``images`` by ID, as its API shows them."""

    def __init__(self, cloud: Any) -> None:
        self.images: dict[str, dict[str, Any]] = {}
        self.page = 1000
        #: what PATCH is refused with: a status and a text
        self.refusal: tuple[int, str] | None = None
        self.patches: list[list[dict[str, Any]]] = []
        address = re.compile(re.escape(base.IMAGE) + '/v2/images')
        cloud.get(address, text=self._get)
        cloud.patch(address, text=self._patch)

    def add(self, name: str | None, **more: Any) -> str:
        """Add an active image; return its ID."""
        found = str(
            uuid.uuid5(uuid.NAMESPACE_URL, f'{name}{len(self.images)}')
        )
        self.images[found] = {
            'id': found,
            'name': name,
            'status': 'active',
            'owner': base.PROJECT_ID,
            'disk_format': 'qcow2',
            'container_format': 'bare',
            'visibility': 'shared',
            'min_ram': 0,
            'min_disk': 0,
            'size': 1 << 20,
            'virtual_size': None,
            'protected': False,
            'os_hidden': False,
            'os_hash_algo': 'sha512',
            'tags': [],
            'self': f'/v2/images/{found}',
            'schema': '/v2/schemas/image',
        } | more
        return found

    def _get(self, request: Any, context: Any) -> str:
        url = parse.urlsplit(request.url)
        image_id = url.path.rpartition('/')[2]
        if image_id != 'images':
            if image_id in self.images:
                return json.dumps(self.images[image_id])
            return self._refuse(
                context, 404, f'No image found with ID {image_id}'
            )
        asked = dict(parse.parse_qsl(url.query, keep_blank_values=True))
        hidden = asked.get('os_hidden', 'false') == 'true'
        found = [i for i in self.images.values() if i['os_hidden'] == hidden]
        if 'name' in asked:
            operator, _colon, name = asked['name'].partition(':')
            if operator != 'eq':
                return self._refuse(
                    context, 400, f"Unable to filter by '{operator}'."
                )
            found = [i for i in found if (i['name'] or '') == name]
        if 'marker' in asked:
            ids = [i['id'] for i in found]
            found = found[ids.index(asked['marker']) + 1 :]
        body: dict[str, Any] = {'images': found[: self.page]}
        if len(found) > self.page:
            body['next'] = '/v2/images?marker=x'
        return json.dumps(body)

    def _patch(self, request: Any, context: Any) -> str:
        if request.headers['Content-Type'] != PATCH:
            return self._refuse(context, 415, 'Unsupported Content-Type')
        if self.refusal:
            return self._refuse(context, *self.refusal)
        image = self.images[request.path.rpartition('/')[2]]
        self.patches.append(request.json())
        for change in request.json():
            image[change['path'][1:]] = change['value']
        return json.dumps(image)

    def _refuse(self, context: Any, status: int, text: str) -> str:
        context.status_code = status
        context.headers['Content-Type'] = 'text/html; charset=UTF-8'
        titles = {400: 'Bad Request', 403: 'Forbidden', 404: 'Not Found'}
        title = f'{status} {titles.get(status, "Conflict")}'
        return _PAGE % {'title': title, 'text': text}


def make(properties: dict[str, str] | None = None, **more: Any) -> Any:
    """Return an image with these properties."""
    return images.Image(
        **{
            'id': 'id-i1',
            'name': 'i1',
            'status': 'active',
            'min_ram': 0,
            'min_disk': 0,
            'size': 0,
            'virtual_size': 0,
            'properties': properties or {},
            **more,
        }
    )
