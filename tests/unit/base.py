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

"""A faked cloud at the wire, and the real ``openstack`` shell in front of it.

Nothing of the client is mocked: authentication, discovery, microversion
negotiation and every request pass through keystoneauth and requests, so a
test sees exactly what a cloud would see.
"""

import dataclasses
import io
import json
import logging
import os
import signal
import sys
import tempfile
from typing import Any
import unittest
from unittest import mock
from urllib import parse

from keystoneauth1 import fixture as ksa_fixture
from openstackclient import shell
import requests_mock

AUTH_URL = 'http://keystone.example/v3'
COMPUTE = 'http://nova.example/v2.1'
PLACEMENT = 'http://placement.example'
IMAGE = 'http://glance.example'
NETWORK = 'http://neutron.example'
PROJECT_ID = 'a' * 32
USER_ID = 'b' * 32

_SERVICES = {
    'compute': COMPUTE,
    'placement': PLACEMENT,
    'image': IMAGE,
    'network': NETWORK,
}


@dataclasses.dataclass(frozen=True)
class Result:
    """What one run of the shell left behind."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


class TestCase(unittest.TestCase):
    """Fake the cloud; ``self.cloud`` is the requests-mock to register on."""

    max_compute_microversion = '2.104'
    #: what is typed, or piped in
    stdin = b''
    #: catalogue types that the faked cloud lacks
    missing_services: frozenset[str] = frozenset()

    def setUp(self) -> None:
        super().setUp()
        self.maxDiff = None
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        clean = {k: v for k, v in os.environ.items() if k[:3] != 'OS_'}
        clean |= {'HOME': home.name, 'COLUMNS': '200'}
        # stevedore reads its cache before HOME moves away from under it.
        clean.setdefault(
            'XDG_CACHE_HOME',
            os.path.join(os.path.expanduser('~'), '.cache'),
        )
        patcher = mock.patch.dict(os.environ, clean, clear=True)
        patcher.start()
        self.addCleanup(patcher.stop)

        self.cloud = requests_mock.Mocker()
        self.cloud.start()
        self.addCleanup(self.cloud.stop)
        self._add_keystone()
        self._add_discovery()

    def token(
        self, *roles: str, project_id: str = PROJECT_ID, **more: Any
    ) -> ksa_fixture.V3Token:
        """Return a token for a project, with the catalogue of the cloud."""
        token = ksa_fixture.V3Token(user_id=USER_ID, project_id=project_id)
        token.set_project_scope(id=project_id, **more)
        for role in roles:
            token.add_role(name=role)
        for service, url in _SERVICES.items():
            if service not in self.missing_services:
                token.add_service(service).add_standard_endpoints(
                    public=url, region='RegionOne'
                )
        token.add_service('identity').add_standard_endpoints(
            public=AUTH_URL, region='RegionOne'
        )
        return token

    def _add_keystone(self) -> None:
        self.cloud.get(
            AUTH_URL,
            json={'version': ksa_fixture.V3Discovery(AUTH_URL)},
        )
        self.cloud.post(
            f'{AUTH_URL}/auth/tokens',
            json=self.token('admin'),
            headers={'X-Subject-Token': 'token'},
        )

    def _add_discovery(self) -> None:
        nova = {
            'id': 'v2.1',
            'status': 'CURRENT',
            'min_version': '2.1',
            'version': self.max_compute_microversion,
            'links': [{'rel': 'self', 'href': COMPUTE}],
        }
        self.cloud.get(COMPUTE, json={'version': nova})
        self.cloud.get(f'{COMPUTE}/', json={'version': nova})
        placement = {
            'id': 'v1.0',
            'status': 'CURRENT',
            'min_version': '1.0',
            'max_version': '1.39',
            'links': [{'rel': 'self', 'href': ''}],
        }
        self.cloud.get(f'{PLACEMENT}/', json={'versions': [placement]})
        glance = ksa_fixture.DiscoveryList(v2=False, v3=False)
        glance.add_v2(f'{IMAGE}/v2')
        self.cloud.get(f'{IMAGE}/', json=glance)
        neutron = ksa_fixture.DiscoveryList(v2=False, v3=False)
        neutron.add_v2(f'{NETWORK}/v2.0')
        self.cloud.get(f'{NETWORK}/', json=neutron)

    def openstack(self, *argv: str) -> Result:
        """Run ``openstack <argv>`` in this process, as an admin."""
        auth = [
            '--os-auth-url', AUTH_URL,
            '--os-username', 'admin',
            '--os-password', 'secret',
            '--os-project-name', 'admin',
            '--os-user-domain-id', 'default',
            '--os-project-domain-id', 'default',
            '--os-region-name', 'RegionOne',
        ]  # fmt: skip
        stdout, stderr = io.StringIO(), io.StringIO()
        stdin = io.TextIOWrapper(io.BytesIO(self.stdin))
        with (
            mock.patch.object(sys, 'stdout', stdout),
            mock.patch.object(sys, 'stderr', stderr),
            mock.patch.object(sys, 'stdin', stdin),
        ):
            root = logging.getLogger()
            handlers, level = root.handlers[:], root.level
            root.handlers[:] = []
            try:
                status = shell.OpenStackShell().run([*auth, *argv])
            except SystemExit as exc:
                status = int(exc.code or 0)
            finally:
                root.handlers[:] = handlers
                root.setLevel(level)
        return Result(int(status or 0), stdout.getvalue(), stderr.getvalue())

    def ok(self, *argv: str) -> Result:
        """Run a command that must succeed without a word on stderr."""
        result = self.openstack(*argv)
        self.assertEqual((0, ''), (result.status, result.stderr), argv)
        return result

    def table(self, *argv: str) -> Any:
        """Run a command that must succeed; return what ``-f json`` gave."""
        return self.ok(*argv, '-f', 'json').json

    def heed_ctrl_c(self) -> None:
        """Have SIGINT interrupt, which it does not in a background job."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)

    def fails(self, *argv: str, status: int = 1) -> str:
        """Run a command that must fail in one line; return that line."""
        result = self.openstack(*argv)
        self.assertEqual(status, result.status, result)
        self.assertEqual('', result.stdout)
        self.assertNotIn('Traceback', result.stderr)
        return result.stderr.strip()

    @property
    def requests(self) -> list[str]:
        """What the cloud was asked, without authentication and discovery.

        Each as ``METHOD /path?query``, the service's root taken away.
        """
        asked = []
        for request in self.cloud.request_history:
            url = str(request.url)
            if url.startswith(f'{AUTH_URL}/auth/tokens'):
                continue
            for root in (*_SERVICES.values(), AUTH_URL):
                if url.startswith(root):
                    url = url[len(root) :]
                    break
            url = parse.unquote(url)
            if url.strip('/'):
                asked.append(f'{request.method} {url}')
        return asked

    def microversions(self, service: str) -> list[str]:
        """The microversions that requests to a service asked for."""
        root = _SERVICES[service]
        headers = (
            request.headers.get('OpenStack-API-Version')
            for request in self.cloud.request_history
            if str(request.url).startswith(root)
        )
        return [str(h).rpartition(' ')[2] for h in headers if h]
