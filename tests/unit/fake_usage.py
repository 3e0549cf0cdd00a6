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

"""What usage is made of, on the faked cloud: projects, limits and hours."""

import re
from typing import Any
from urllib import parse

from tests.unit import base
from tests.unit import fake_cloud

LAB = '1' * 32
SHOP = '2' * 32
NAMES = {base.PROJECT_ID: 'admin', LAB: 'lab', SHOP: 'shop'}
NOVA = 'e' * 32


class TestCase(fake_cloud.TestCase):
    """Three projects; ``self.hours`` and ``self.deleted`` are servers."""

    page = 1000

    def setUp(self) -> None:
        super().setUp()
        self.registered: list[dict[str, Any]] = []
        self.limits: list[dict[str, Any]] = []
        self.hours: list[dict[str, Any]] = []
        self.deleted: list[dict[str, Any]] = []
        usage = f'{base.COMPUTE}/os-simple-tenant-usage'
        for url, answer in (
            (f'{base.AUTH_URL}/projects', self._projects),
            (f'{base.AUTH_URL}/registered_limits', self._registered),
            (f'{base.AUTH_URL}/limits', self._limits),
            (f'{base.PLACEMENT}/usages', self._usages),
            (re.compile(re.escape(usage)), self._tenant_usages),
        ):
            self.cloud.get(url, json=answer)
        self.cloud.get(
            f'{base.AUTH_URL}/projects/lab',
            status_code=404,
            json={'error': {'code': 404, 'message': 'Could not find lab.'}},
        )
        self.cloud.get(
            f'{base.COMPUTE}/servers/detail',
            additional_matcher=lambda request: 'changes-since' in request.qs,
            json=lambda _request, _context: {'servers': self.deleted},
        )

    @property
    def requests(self) -> list[str]:
        """As in the base, with a known ID for Nova's service."""
        return [
            re.sub('service_id=[0-9a-f]{32}', 'service_id=NOVA', request)
            for request in super().requests
        ]

    # What there is.

    def add_server(self, *args: Any, **kwargs: Any) -> str:
        """Add a server, whose project owns what it holds, too."""
        server = super().add_server(*args, **kwargs)
        self.placement.owners[server] = (
            self.servers[server]['tenant_id'],
            'u' * 32,
        )
        return server

    def delete(self, server: str) -> None:
        """Let a server be deleted: Nova still knows it, if asked for it."""
        self.deleted.append(self.servers.pop(server) | {'status': 'DELETED'})
        self.placement.allocations.pop(server, None)

    def register_limit(self, name: str, limit: int) -> None:
        """Set what every project may use."""
        self.registered.append({'resource_name': name, 'default_limit': limit})

    def limit(self, project: str | None, name: str, limit: int) -> None:
        """Set what one project, or with None a domain, may use."""
        self.limits.append(
            {
                'project_id': project,
                'domain_id': None if project else 'default',
                'resource_name': name,
                'resource_limit': limit,
            }
        )

    def ran(self, server: str, hours: float, project: str = LAB) -> None:
        """Let a server have existed for so many hours."""
        self.hours.append(
            {'instance_id': server, 'tenant_id': project, 'hours': hours}
        )

    def refuse(self, url: str, status: int = 403, message: str = '') -> None:
        """Let a service refuse what begins with a URL."""
        error = {'code': status, 'message': message or 'Not for you.'}
        self.cloud.get(
            re.compile(re.escape(url)),
            status_code=status,
            json={'error': error},
        )

    # How it is told.

    @staticmethod
    def _asked(request: Any) -> dict[str, str]:
        return dict(parse.parse_qsl(parse.urlsplit(request.url).query))

    def _projects(self, request: Any, _context: Any) -> Any:
        name = self._asked(request).get('name')
        return {
            'projects': [
                {'id': project, 'name': called}
                for project, called in NAMES.items()
                if name in (None, called)
            ]
        }

    def _registered(self, _request: Any, _context: Any) -> Any:
        return {'registered_limits': self.registered}

    def _limits(self, request: Any, _context: Any) -> Any:
        project = self._asked(request).get('project_id')
        return {
            'limits': [
                limit
                for limit in self.limits
                if project in (None, limit['project_id'])
            ]
        }

    def _usages(self, request: Any, _context: Any) -> Any:
        project = self._asked(request)['project_id']
        used: dict[str, int] = {}
        for consumer, held in self.placement.allocations.items():
            owner = self.placement.owners.get(consumer, ('', ''))[0]
            for amounts in held.values() if owner == project else ():
                for name, amount in amounts.items():
                    used[name] = used.get(name, 0) + amount
        return {'usages': used}

    def _tenant_usages(self, request: Any, _context: Any) -> Any:
        asked = self._asked(request)
        project = parse.urlsplit(request.url).path.rpartition('/')[2]
        mine = [
            server
            for server in self.hours
            if project not in NAMES or server['tenant_id'] == project
        ]
        ids = [h['instance_id'] for h in mine]
        first = ids.index(asked['marker']) + 1 if 'marker' in asked else 0
        page = mine[first : first + self.page]
        by_project = [
            {
                'tenant_id': name,
                'server_usages': [h for h in page if h['tenant_id'] == name],
            }
            for name in sorted({h['tenant_id'] for h in page}, reverse=True)
        ]
        key = 'tenant_usages'
        body: dict[str, Any] = {key: by_project}
        if project in NAMES:
            key = 'tenant_usage'
            body = {key: by_project[0] if by_project else {}}
        if len(page) == self.page:
            asked['marker'] = page[-1]['instance_id']
            href = f'http://nova/{key}?{parse.urlencode(asked)}'
            body[f'{key}_links'] = [{'rel': 'next', 'href': href}]
        return body
