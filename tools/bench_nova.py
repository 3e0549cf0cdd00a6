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

"""Nova's answers about an invented cloud, over real HTTP.

What ``bench_scale.py`` puts in Nova's place: a real one would need days to
build thousands of servers. Every request is counted; one that is not foreseen
gets a 404 and is counted as such.
"""

import collections
from collections.abc import Sequence
import functools
from http import server
import json
import threading
from typing import Any
from urllib import parse
import uuid

import bench_cloud

Found = dict[str, Any]

_TIME = '2026-01-01T00:00:00Z'
_MOST = 1000
#: Query parameters of GET /servers/detail, and the keys that they filter by.
_FILTERS = {
    'host': 'OS-EXT-SRV-ATTR:host',
    'status': 'status',
    'project_id': 'tenant_id',
    'name': 'name',
}


def _flavor(flavor: bench_cloud.Flavor) -> Found:
    return {
        'id': flavor.name,
        'name': flavor.name,
        'vcpus': flavor.vcpus,
        'ram': flavor.ram,
        'disk': flavor.disk,
        'swap': 0,
        'rxtx_factor': 1.0,
        'description': None,
        'links': [],
        'os-flavor-access:is_public': True,
        'OS-FLV-DISABLED:disabled': False,
        'OS-FLV-EXT-DATA:ephemeral': 0,
        'extra_specs': flavor.specs,
    }


def _server(host: bench_cloud.Host, made: bench_cloud.Server) -> Found:
    flavor = made.flavor
    return {
        'id': made.id,
        'name': made.name,
        'status': 'ACTIVE',
        'tenant_id': made.project,
        'user_id': made.project,
        'created': _TIME,
        'updated': _TIME,
        'metadata': {},
        'image': {'id': made.project, 'links': []},
        'flavor': {
            'original_name': flavor.name,
            'vcpus': flavor.vcpus,
            'ram': flavor.ram,
            'disk': flavor.disk,
            'ephemeral': 0,
            'swap': 0,
            'extra_specs': flavor.specs,
        },
        'hostId': host.id.replace('-', ''),
        'addresses': {
            'lab': [
                {
                    'version': 4,
                    'addr': '10.0.0.1',
                    'OS-EXT-IPS:type': 'fixed',
                    'OS-EXT-IPS-MAC:mac_addr': 'fa:16:3e:00:00:01',
                }
            ]
        },
        'links': [
            {'rel': 'self', 'href': f'/v2.1/servers/{made.id}'},
            {'rel': 'bookmark', 'href': f'/servers/{made.id}'},
        ],
        'accessIPv4': '',
        'accessIPv6': '',
        'config_drive': '',
        'key_name': None,
        'locked': False,
        'progress': 0,
        'tags': [],
        'security_groups': [{'name': 'default'}],
        'os-extended-volumes:volumes_attached': [],
        'OS-DCF:diskConfig': 'MANUAL',
        'OS-EXT-AZ:availability_zone': 'nova',
        'OS-EXT-SRV-ATTR:host': host.name,
        'OS-EXT-SRV-ATTR:hypervisor_hostname': host.name,
        'OS-EXT-SRV-ATTR:instance_name': made.name,
        'OS-EXT-STS:task_state': None,
        'OS-EXT-STS:vm_state': 'active',
        'OS-EXT-STS:power_state': 1,
        'OS-SRV-USG:launched_at': _TIME,
        'OS-SRV-USG:terminated_at': None,
    }


def _hypervisor(host: bench_cloud.Host) -> Found:
    return {
        'id': host.id,
        'hypervisor_hostname': host.name,
        'hypervisor_type': 'QEMU',
        'hypervisor_version': 8000000,
        'host_ip': '192.0.2.1',
        'state': 'up',
        'status': 'enabled',
        'service': {'id': host.id, 'host': host.name, 'disabled_reason': None},
        'cpu_info': {'arch': 'x86_64', 'topology': {'cells': 2}},
    }


def _service(host: bench_cloud.Host) -> Found:
    return {
        'id': host.id,
        'binary': 'nova-compute',
        'host': host.name,
        'zone': 'nova',
        'status': 'enabled',
        'state': 'up',
        'updated_at': _TIME,
        'disabled_reason': None,
        'forced_down': False,
    }


def _migration(host: bench_cloud.Host, made: bench_cloud.Server) -> Found:
    migration = str(uuid.uuid5(uuid.NAMESPACE_OID, made.id))
    return {
        'id': migration,
        'uuid': migration,
        'instance_uuid': made.id,
        'status': 'confirmed',
        'migration_type': 'migration',
        'source_compute': host.name,
        'dest_compute': host.name,
        'created_at': _TIME,
        'updated_at': _TIME,
    }


class Replay:
    """A Nova on a port of its own, until the ``with`` is left.

    ``counts`` has the number of requests by method and collection,
    ``connections`` that of connections.
    """

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.connections = 0
        self.lists: dict[str, list[Found]] = {}

        class Handler(_Handler):
            replay = self

        self._server = server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self._server.server_port}/v2.1'

    def __enter__(self) -> 'Replay':
        threading.Thread(
            target=self._server.serve_forever, daemon=True
        ).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def show(self, hosts: Sequence[bench_cloud.Host]) -> None:
        """Answer for these hosts from now on."""
        pairs = [(host, made) for host in hosts for made in host.servers]
        flavors = bench_cloud.flavors().values()
        self.lists = {
            'servers': [_server(host, made) for host, made in pairs],
            'flavors': [_flavor(flavor) for flavor in flavors],
            'hypervisors': [_hypervisor(host) for host in hosts],
            'services': [_service(host) for host in hosts],
            'migrations': [_migration(h, made) for h, made in pairs[::10]],
            'aggregates': [],
            'tenant_usages': [],
        }
        self._page.cache_clear()

    def answer(self, method: str, target: str) -> tuple[int, bytes]:
        """Return status and body of a request."""
        url = parse.urlsplit(target)
        parts = url.path.removeprefix('/v2.1').strip('/').split('/')
        if not parts[0]:
            self.counts['discovery'] += 1
            return 200, self._discovery()
        name = parts[0].removeprefix('os-')
        name = 'tenant_usages' if name == 'simple-tenant-usage' else name
        if method == 'POST' and name == 'servers':
            # A build on a host that does not exist, as the alias probe has it.
            self.counts['POST servers'] += 1
            text = 'Compute host nonexistent could not be found.'
            return 400, _encoded(badRequest={'code': 400, 'message': text})
        if method == 'GET' and name in self.lists:
            if parts[1:] in ([], ['detail']):
                self.counts[f'GET {name}'] += 1
                return 200, self._page(name, url.query)
            self.counts[f'GET {name} by ID'] += 1
            for item in self.lists[name]:
                if item['id'] == parts[1]:
                    return 200, _encoded(**{name[:-1]: item})
        self.counts[f'NOT FORESEEN {method} {url.path}'] += 1
        text = 'not in this replay'
        return 404, _encoded(itemNotFound={'code': 404, 'message': text})

    def _discovery(self) -> bytes:
        links = [{'rel': 'self', 'href': self.url + '/'}]
        return _encoded(
            version={
                'id': 'v2.1',
                'status': 'CURRENT',
                'min_version': '2.1',
                'version': '2.104',
                'links': links,
            }
        )

    @functools.cache
    def _page(self, name: str, query: str) -> bytes:
        asked = dict(parse.parse_qsl(query))
        found = self.lists[name]
        if name == 'servers':
            found = [item for item in found if _wanted(item, asked)]
        elif name == 'migrations':
            found = [
                item
                for item in found
                if asked.get('status', item['status']) == item['status']
            ]
        ids = [item['id'] for item in found]
        start = ids.index(asked['marker']) + 1 if 'marker' in asked else 0
        limit = min(_MOST, int(asked.get('limit', _MOST)))
        body: Found = {name: found[start : start + limit]}
        if start + limit < len(found) and name != 'services':
            more = parse.urlencode(asked | {'marker': ids[start + limit - 1]})
            href = f'{self.url}/{name}/detail?{more}'
            body[f'{name}_links'] = [{'rel': 'next', 'href': href}]
        return _encoded(**body)


def _wanted(item: Found, asked: dict[str, str]) -> bool:
    flavor = asked.get('flavor')
    if flavor not in (None, item['flavor']['original_name']):
        return False
    return all(
        asked[key] == item[field]
        for key, field in _FILTERS.items()
        if key in asked
    )


def _encoded(**body: Any) -> bytes:
    return json.dumps(body).encode()


class _Handler(server.BaseHTTPRequestHandler):
    replay: Replay
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.replay.connections += 1

    def _respond(self) -> None:
        self.rfile.read(int(self.headers.get('Content-Length') or 0))
        status, body = self.replay.answer(self.command, self.path)
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        version = self.headers.get('X-OpenStack-Nova-API-Version', '2.1')
        self.send_header('X-OpenStack-Nova-API-Version', version)
        self.send_header('OpenStack-API-Version', f'compute {version}')
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = _respond

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
