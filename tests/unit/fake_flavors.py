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

"""A Nova that has nothing but flavors, and fails when it is told to."""

from collections.abc import Callable
import dataclasses
import json
import re
import time
from typing import Any
from unittest import mock
from urllib import parse

import requests_mock

from tests.unit import base

Specs = dict[str, str]


@dataclasses.dataclass
class Fault:
    """What Nova does instead of answering a request as it should.

    :param done: it does what it was asked for all the same.
    :param answer: an HTTP status, or something to raise.
    """

    method: str
    path: str
    answer: int | BaseException | type[BaseException]
    done: bool = False
    message: str = 'Nova is out of order.'


class FakeNova:
    """The state of a Nova; ``flavors`` by ID, as its API shows them."""

    def __init__(self, cloud: requests_mock.Mocker) -> None:
        self.flavors: dict[str, dict[str, Any]] = {}
        self.faults: list[Fault] = []
        self.access: dict[str, list[str]] = {}
        self.page = 1000
        self.hide_extra_specs = False
        # What a tenant's list leaves out, though a GET by ID shows it.
        self.unlisted: set[str] = set()
        cloud.register_uri(
            requests_mock.ANY,
            re.compile(re.escape(base.COMPUTE) + '/flavors'),
            text=self._answer,
        )

    def add(self, name: str, specs: Specs | None = None, **more: Any) -> str:
        """Add a flavor; return its ID."""
        flavor_id: str = more.pop('id', f'id-{name}')
        self.flavors[flavor_id] = {
            'id': flavor_id,
            'name': name,
            'vcpus': 4,
            'ram': 8192,
            'disk': 40,
            'OS-FLV-EXT-DATA:ephemeral': 0,
            'swap': '',
            'os-flavor-access:is_public': True,
            'extra_specs': dict(specs or {}),
            **more,
        }
        return flavor_id

    def specs(self, flavor_id: str) -> Specs:
        specs: Specs = self.flavors[flavor_id]['extra_specs']
        return specs

    def fail(self, method: str, path: str, answer: Any, **more: Any) -> None:
        """Fail the requests of a method whose path ends so."""
        self.faults.append(Fault(method, path, answer, **more))

    def _answer(self, request: Any, context: Any) -> str:
        url = parse.urlsplit(request.url)
        path = url.path.removeprefix(parse.urlsplit(base.COMPUTE).path)
        for fault in self.faults:
            if fault.method == request.method and parse.unquote(path).endswith(
                fault.path
            ):
                if fault.done:
                    self._serve(request, path, context)
                if not isinstance(fault.answer, int):
                    raise fault.answer
                return self._refuse(context, fault.answer, fault.message)
        body = self._serve(request, path, context)
        return '' if body is None else json.dumps(body)

    def _refuse(self, context: Any, status: int, message: str) -> str:
        context.status_code = status
        return json.dumps({'fault': {'code': status, 'message': message}})

    def _serve(self, request: Any, path: str, context: Any) -> Any:
        parts = [parse.unquote(part) for part in path.split('/')[2:]]
        if request.method == 'GET' and parts == ['detail']:
            return self._list(parse.urlsplit(request.url).query)
        if request.method == 'POST' and not parts:
            return self._create(request.json()['flavor'], context)
        if parts[0] not in self.flavors:
            return json.loads(
                self._refuse(
                    context, 404, f'Flavor {parts[0]} could not be found.'
                )
            )
        serve: Callable[..., Any] = {
            ('GET',): self._show,
            ('DELETE',): self._delete,
            ('POST', 'os-extra_specs'): self._post_extra_specs,
            ('DELETE', 'os-extra_specs'): self._delete_extra_spec,
            ('POST', 'action'): self._act,
        }[(request.method, *parts[1:2])]
        return serve(request, context, *parts[:1], *parts[2:])

    def _view(self, flavor: dict[str, Any]) -> dict[str, Any]:
        hidden = {'extra_specs'} if self.hide_extra_specs else set()
        return {k: v for k, v in flavor.items() if k not in hidden}

    def _list(self, query: str) -> Any:
        asked = dict(parse.parse_qsl(query))
        found = [
            flavor
            for flavor in self.flavors.values()
            if flavor['id'] not in self.unlisted
            and asked['is_public']
            in ('None', str(flavor['os-flavor-access:is_public']))
        ]
        start = 0
        if 'marker' in asked:
            ids = [flavor['id'] for flavor in found]
            start = ids.index(asked['marker']) + 1
        body: dict[str, Any] = {
            'flavors': [
                self._view(f) for f in found[start : start + self.page]
            ]
        }
        if len(found) > start + self.page:
            body['flavors_links'] = [
                {'rel': 'next', 'href': 'http://elsewhere/flavors?marker=x'}
            ]
        return body

    def _create(self, wanted: dict[str, Any], context: Any) -> Any:
        for flavor in self.flavors.values():
            if flavor['name'] == wanted['name']:
                return json.loads(
                    self._refuse(
                        context,
                        409,
                        f'Flavor with name {wanted["name"]} already exists.',
                    )
                )
        self.add(wanted.pop('name'), **wanted)
        return {'flavor': self._view(self.flavors[wanted['id']])}

    def _show(self, request: Any, context: Any, flavor_id: str) -> Any:
        return {'flavor': self._view(self.flavors[flavor_id])}

    def _delete(self, request: Any, context: Any, flavor_id: str) -> None:
        context.status_code = 202
        del self.flavors[flavor_id]

    def _post_extra_specs(
        self, request: Any, context: Any, flavor_id: str
    ) -> Any:
        specs = request.json()['extra_specs']
        version = request.headers['OpenStack-API-Version'].rpartition('.')[2]
        for key in specs if int(version) >= 86 else ():
            if key.startswith(('hw:maxphysaddr_', 'hw:nonsense')):
                return json.loads(
                    self._refuse(
                        context,
                        400,
                        f"Validation failed; extra spec '{key}' does not "
                        "appear to be a valid extra spec.",
                    )
                )
        self.specs(flavor_id).update(specs)
        return {'extra_specs': specs}

    def _delete_extra_spec(
        self, request: Any, context: Any, flavor_id: str, key: str
    ) -> None:
        del self.specs(flavor_id)[key]

    def _act(self, request: Any, context: Any, flavor_id: str) -> Any:
        access = self.access.setdefault(flavor_id, [])
        access.append(request.json()['addTenantAccess']['tenant'])
        return {'flavor_access': []}


class TestCase(base.TestCase):
    """A faked cloud whose compute service is a FakeNova."""

    def setUp(self) -> None:
        super().setUp()
        self.nova = FakeNova(self.cloud)
        self.sleep = self.enterContext(
            mock.patch.object(time, 'sleep', autospec=True)
        )

    @property
    def writes(self) -> list[str]:
        """The requests that change something, each with its microversion."""
        return [
            f'{request.method} '
            f'{parse.unquote(request.url[len(base.COMPUTE) :])} '
            f'{request.headers["OpenStack-API-Version"]}'
            for request in self.cloud.request_history
            if request.method != 'GET' and request.url.startswith(base.COMPUTE)
        ]
