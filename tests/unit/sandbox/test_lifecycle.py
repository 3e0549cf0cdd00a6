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

import contextlib
from http import server
import io
import json
import os
import pathlib
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any
import unittest
from unittest import mock
import warnings

import requests_mock

from osc_gpu.sandbox import control
from osc_gpu.sandbox import errors
from osc_gpu.sandbox import furnish
from osc_gpu.sandbox import lifecycle
from osc_gpu.sandbox import locks
from osc_gpu.sandbox import processes
from osc_gpu.sandbox import progress
from osc_gpu.sandbox import releases
from osc_gpu.sandbox import spec as specs
from osc_gpu.sandbox import starting
from osc_gpu.sandbox import topology

#: Stands in for all services: answers 200 to everything on its port, and as
#: Nova also on the control port. Files beside its state make it misbehave.
STAND_IN = """\
import http.server, json, os, sys, threading, time
name = 'NAME'
spec = json.load(open(sys.argv[1]))
def told_to(word):
    return os.path.exists(f'../{name}.{word}')
if told_to('die'):
    sys.exit('Traceback: no luck today')
while told_to('wait'):
    time.sleep(0.01)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        hosts = {h['name']: {'state': 'up'} for h in spec['topology']['hosts']}
        body = json.dumps({'ready': True, 'hosts': hosts}).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass
def serve(port):
    address = ('127.0.0.1', port)
    http.server.ThreadingHTTPServer(address, Handler).serve_forever()
if name == 'compute':
    port = spec['ports']['control']
    threading.Thread(target=serve, args=[port], daemon=True).start()
serve(spec['ports'][name])
"""


class SandboxTestCase(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(os.path.realpath(folder.name))
        self.state = self.folder / 'state'
        self.topology = topology.Topology((topology.Host('gpu1'),))
        self.output = io.StringIO()

    def patch(self, patcher: Any) -> Any:
        self.addCleanup(patcher.stop)
        return patcher.start()

    def make_spec(self, **more: Any) -> specs.Spec:
        return specs.make(
            '2026.2', self.state, self.folder, self.topology, **more
        )


class TestUp(SandboxTestCase):
    """Six real processes, though of a few lines only."""

    def setUp(self) -> None:
        super().setUp()
        # The processes outlive the objects that started them, as they must.
        warnings.simplefilter('ignore', ResourceWarning)
        package = self.folder / 'services'
        package.mkdir()
        for service, module in starting.MODULES.items():
            text = STAND_IN.replace('NAME', service)
            (package / f'{module}.py').write_text(text)
        self.patch(mock.patch.object(processes, '_HERE', self.folder))
        place = mock.Mock(
            spec=releases.Installation,
            python=pathlib.Path(sys.executable),
            template=self.folder / 'template',
        )
        self.ensure = self.patch(
            mock.patch.object(
                releases, 'ensure', autospec=True, return_value=place
            )
        )
        self.furnish = self.patch(
            mock.patch.object(starting, 'furnish', autospec=True)
        )
        self.addCleanup(lambda: processes.end(specs.path(self.state)))

    def up(self, **more: Any) -> specs.Spec:
        wanted = lifecycle.Wanted(
            **({'state': self.state, 'topology': self.topology} | more)
        )
        return lifecycle.up(wanted, progress.Progress(self.output))

    def refused(self, *orders: str) -> str:
        """Return why it does not come up, when services misbehave."""
        for order in orders:
            (self.folder / order).touch()
        with self.assertRaises(errors.SandboxError) as caught:
            self.up()
        self.assertEqual([], processes.find(specs.path(self.state)))
        return str(caught.exception)

    def down(self) -> int:
        return lifecycle.down(self.state, progress.Progress(self.output))

    def test_life(self) -> None:
        spec = self.up()

        self.assertEqual(spec, specs.read(self.state))
        self.assertEqual(0o700, self.state.stat().st_mode & 0o777)
        admin = self.furnish.log_in.return_value
        for made in ('make_networks', 'make_images', 'verify'):
            getattr(self.furnish, made).assert_called_once_with(spec, admin)
        found = lifecycle.status(self.state)
        self.assertEqual('running', found.state)
        self.assertEqual({'gpu1': 'up'}, found.hosts)
        self.assertEqual(
            [(name, 'ready') for name in specs.SERVICES],
            [(s['name'], s['state']) for s in found.services],
        )
        self.assertEqual(6, len({s['pid'] for s in found.services}))

        self.assertEqual(6, self.down())
        self.assertEqual('stopped', lifecycle.status(self.state).state)
        self.assertFalse(specs.clouds_path(self.state).exists())
        self.assertTrue((self.state / 'logs' / 'compute.log').exists())
        self.assertEqual(0, self.down())

    def test_again(self) -> None:
        spec = self.up()
        with self.assertRaises(lifecycle.Running) as caught:
            self.up()
        self.assertTrue(caught.exception.same)
        self.assertEqual(
            f'already up: OpenStack 2026.2 at {spec.auth_url}',
            str(caught.exception),
        )
        for more in (
            {'release': '2025.1'},
            {'topology': topology.Topology((topology.Host('b'),))},
            {'port_base': 20000},
            {'extras': ('heat',)},
        ):
            with self.subTest(more):
                with self.assertRaises(lifecycle.Running) as caught:
                    self.up(**more)
                self.assertFalse(caught.exception.same)
                self.assertIn("end it with 'down'", str(caught.exception))
        self.assertEqual(spec, specs.read(self.state))

    def test_with_heat(self) -> None:
        spec = self.up(extras=('heat',))

        self.assertEqual(
            [
                mock.call('2026.2', mock.ANY),
                mock.call('2026.2', mock.ANY, 'heat'),
            ],
            self.ensure.mock_calls,
        )
        found = lifecycle.status(self.state)
        self.assertEqual('running', found.state)
        last = found.services[-1]
        self.assertEqual('orchestration', last['name'])
        self.assertEqual(spec.ports['orchestration'], last['port'])
        with self.assertRaises(lifecycle.Running) as caught:
            self.up(extras=('heat',))
        self.assertTrue(caught.exception.same)
        # One without is another one.
        with self.assertRaises(lifecycle.Running) as caught:
            self.up()
        self.assertFalse(caught.exception.same)
        self.assertEqual(7, self.down())

    def test_heat_cannot_be_installed(self) -> None:
        def ensure(release: str, report: Any, extra: str = '') -> Any:
            if extra:
                raise errors.SandboxError('no heat')
            return mock.DEFAULT

        self.ensure.side_effect = ensure
        with self.assertRaisesRegex(errors.SandboxError, 'no heat'):
            self.up(extras=('heat',))
        self.assertEqual([], processes.find(specs.path(self.state)))

    def test_of_an_earlier_version(self) -> None:
        fewer = {
            name: starting.MODULES[name]
            for name in specs.SERVICES
            if name != 'volume'
        }
        with (
            mock.patch.object(starting, 'MODULES', fewer),
            mock.patch.object(specs, 'SERVICES', (*fewer,)),
        ):
            spec = self.up()

        found = lifecycle.status(self.state)
        self.assertEqual('running', found.state)
        self.assertEqual([*fewer], [s['name'] for s in found.services])
        with self.assertRaises(lifecycle.Running) as caught:
            self.up()
        self.assertFalse(caught.exception.same)
        self.assertEqual(spec, specs.read(self.state))
        self.assertEqual(5, self.down())

    def test_on_the_remains_of_a_crash(self) -> None:
        first = self.up()
        (self.state / 'db').mkdir()
        pids = {p.module: p.pid for p in processes.find(
            specs.path(self.state))}  # fmt: skip
        os.kill(pids['glance_api'], 9)
        self.assertTrue(
            processes.wait_until(
                lambda: lifecycle.status(self.state).state == 'partial', 5
            )
        )
        states = {
            service['name']: service['state']
            for service in lifecycle.status(self.state).services
        }
        self.assertEqual('ended', states['image'])
        self.assertEqual('ready', states['network'])

        second = self.up()

        self.assertNotEqual(first.secrets, second.secrets)
        self.assertFalse((self.state / 'db').exists())
        now = {p.pid for p in processes.find(specs.path(self.state))}
        self.assertFalse(now & set(pids.values()))
        self.assertIn('crashed sandbox', self.output.getvalue())

    def test_service_dies(self) -> None:
        message = self.refused('network.die')

        first, *tail = message.splitlines()
        log = self.state / 'logs' / 'network.log'
        self.assertEqual(f'network ended with status 1; see {log}:', first)
        self.assertEqual(['  Traceback: no luck today'], tail)

    def test_service_does_not_come(self) -> None:
        with mock.patch.object(starting, 'START_LIMIT', 0.3):
            message = self.refused('image.wait')
        self.assertRegex(
            message, r'^not up after 0 s, waiting for .*image.*; see .*\.log:'
        )

    def test_furnishing_fails(self) -> None:
        for job in ('log_in', 'make_networks', 'make_images', 'verify'):
            with self.subTest(job):
                self.furnish.reset_mock(side_effect=True)
                getattr(self.furnish, job).side_effect = ValueError('409')
                self.assertEqual(
                    'furnishing the cloud failed: 409; logs are in '
                    f'{self.state}/logs',
                    self.refused(),
                )
                getattr(self.furnish, job).side_effect = None

    def test_interrupted(self) -> None:
        self.furnish.make_images.side_effect = KeyboardInterrupt
        with self.assertRaises(KeyboardInterrupt):
            self.up()
        self.assertEqual([], processes.find(specs.path(self.state)))
        # And the lock is free again.
        self.furnish.make_images.side_effect = None
        self.up()

    def test_cannot_be_installed(self) -> None:
        self.ensure.side_effect = errors.SandboxError('no pip')
        self.assertEqual('no pip', self.refused())
        self.assertIsNone(specs.read(self.state))

    def test_two_at_once(self) -> None:
        self.state.mkdir()
        with locks.exclusive(self.state / 'lock'):
            self.assertEqual(
                f'a sandbox is being started in {self.state} '
                f'(process {os.getpid()})',
                self.refused(),
            )

    def test_down_interrupts_up(self) -> None:
        code = (
            'import fcntl, os, sys, time\n'
            "lock = open(sys.argv[1], 'w')\n"
            'fcntl.flock(lock, fcntl.LOCK_EX)\n'
            'lock.write(str(os.getpid()))\n'
            'lock.flush()\n'
            "print('held', flush=True)\n"
            'time.sleep(60)\n'
        )
        self.state.mkdir()
        child = subprocess.Popen(
            [sys.executable, '-I', '-S', '-c', code, self.state / 'lock'],
            stdout=subprocess.PIPE,
        )
        self.addCleanup(child.communicate)
        assert child.stdout is not None
        child.stdout.readline()

        self.assertEqual(0, self.down())
        self.assertEqual(-15, child.wait())
        self.assertEqual(
            f"Interrupting 'up' (process {child.pid})\n",
            self.output.getvalue(),
        )

    def test_folder_of_other_things(self) -> None:
        self.state.mkdir()
        (self.state / 'thesis.txt').write_text('irreplaceable')
        self.assertEqual(
            f'{self.state} holds other things, as thesis.txt; name an empty '
            'or a new folder',
            self.refused(),
        )
        self.assertEqual(['thesis.txt'], os.listdir(self.state))

    def test_path_that_no_service_could_be_told(self) -> None:
        for name, found in (
            ('a$HOME', "'$'"), ('50%', "'%'"), ('a#b', "'#'"), ('a?', "'?'"),
            ('a;b', "';'"), ('a\\b', "'\\\\'"), ('a\nb', "'\\n'"),
            ('a\udcff', "'\\udcff'"),
        ):  # fmt: skip
            with self.subTest(name):
                state = self.folder / 'new' / name
                self.addCleanup(processes.end, specs.path(state))
                with self.assertRaises(errors.SandboxError) as caught:
                    self.up(state=state)
                self.assertEqual(
                    f'{str(state)!r} has a {found} in it, with which the '
                    'services cannot be configured; name another folder',
                    str(caught.exception),
                )
                self.assertFalse((self.folder / 'new').exists())
        self.ensure.assert_not_called()

    def test_path_of_many_words(self) -> None:
        state = self.folder / "it's a (new) one, & \xfc [2]"
        self.addCleanup(lambda: processes.end(specs.path(state)))
        self.up(state=state)
        self.assertEqual('running', lifecycle.status(state).state)

    def test_folder_cannot_be_made(self) -> None:
        state = pathlib.Path('/proc/x/state')
        with self.assertRaises(errors.SandboxError) as caught:
            self.up(state=state)
        self.assertEqual(
            f'{state} cannot be written to: No such file or directory; name '
            'another folder',
            str(caught.exception),
        )

    def test_folder_cannot_be_written_to(self) -> None:
        # A mode would not keep root out.
        self.state.mkdir()
        refusal = PermissionError(13, 'Permission denied')
        with mock.patch.object(
            pathlib.Path, 'touch', autospec=True, side_effect=refusal
        ):
            self.assertEqual(
                f'{self.state} cannot be written to: Permission denied; name '
                'another folder',
                self.refused(),
            )
        self.assertEqual([], os.listdir(self.state))

    def test_no_folder(self) -> None:
        self.state.write_text('')
        self.assertEqual(f'{self.state}: Not a directory', self.refused())

    def test_nothing_to_end(self) -> None:
        self.assertEqual(0, self.down())
        self.assertFalse(self.state.exists())
        self.assertEqual(
            lifecycle.Status('stopped', None), lifecycle.status(self.state)
        )


class Handler(server.BaseHTTPRequestHandler):
    answers: dict[str, tuple[int, bytes]] = {}
    asked: list[tuple[Any, ...]] = []

    def answer(self) -> None:
        length = int(self.headers.get('Content-Length') or 0)
        self.asked.append(
            (
                self.command,
                self.path,
                self.headers['X-Sandbox-Token'],
                self.rfile.read(length),
            )
        )
        status, body = self.answers.get(self.path, (404, b'{}'))
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *words: Any) -> None:
        pass


class TestAsking(SandboxTestCase):
    """The control API and the probes, over a real socket."""

    def setUp(self) -> None:
        super().setUp()
        self.spec = self.make_spec(extras=['heat'])
        self.http = server.HTTPServer(('127.0.0.1', 0), Handler)
        self.addCleanup(self.http.server_close)
        thread = threading.Thread(
            target=self.http.serve_forever, args=(0.01,), daemon=True
        )
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.http.shutdown)
        for name in self.spec.ports:
            self.spec.ports[name] = self.http.server_port  # type: ignore[index]
        self.token = self.spec.secrets['control']
        Handler.asked.clear()
        self.control = control.Control(self.spec)

    def answer(self, path: str, body: Any, status: int = 200) -> None:
        content = (
            body if isinstance(body, bytes) else json.dumps(body).encode()
        )
        answers = {path: (status, content)}
        self.patch(mock.patch.object(Handler, 'answers', answers))

    def test_requests(self) -> None:
        for call, path, body, asked in (
            (self.control.status, '/status', {}, ('GET', b'')),
            (self.control.guests, '/guests', {}, ('GET', b'')),
            (self.control.faults, '/faults', [], ('GET', b'')),
            (
                lambda: self.control.set_fault({'point': 'spawn'}),
                '/faults',
                {},
                ('POST', b'{"point": "spawn"}'),
            ),
            (self.control.clear_faults, '/faults', [], ('DELETE', b'')),
            (
                lambda: self.control.change_host('a b', 'kill'),
                '/hosts/a%20b/kill',
                {'state': 'down'},
                ('POST', b'{}'),
            ),
        ):
            with self.subTest(asked):
                self.answer(path, body)
                call()  # type: ignore[operator]
                method, content = asked
                self.assertEqual(
                    (method, path, self.token, content), Handler.asked[-1]
                )

    def test_no_proxy_in_between(self) -> None:
        self.answer('/status', {'ready': True})
        proxy = {'http_proxy': 'http://127.0.0.1:9', 'no_proxy': ''}
        with mock.patch.dict(os.environ, proxy):
            answer = control.Control(self.spec).status()
        self.assertEqual({'ready': True}, answer)

    def test_refused(self) -> None:
        self.answer('/faults', {'error': 'no point x'}, 400)
        with self.assertRaisesRegex(errors.SandboxError, '^no point x$'):
            self.control.set_fault({})

    def test_no_sense(self) -> None:
        self.answer('/faults', b'<html>', 500)
        with self.assertRaisesRegex(errors.SandboxError, 'answered 500'):
            self.control.faults()
        self.answer('/faults', b'<html>')
        with self.assertRaises(control.Unreachable):
            self.control.faults()

    def test_probes(self) -> None:
        paths = {
            'identity': '/v3',
            'placement': '/',
            'image': '/',
            'network': '/v2.0/',
            'orchestration': '/',
        }
        for service, path in paths.items():
            for status, ready in (
                (200, True),
                (300, service != 'identity'),
                (401, service != 'identity'),
                (503, False),
            ):
                with self.subTest(f'{service} {status}'):
                    self.answer(path, {}, status)
                    found = starting.is_ready(self.spec, service)
                    self.assertIs(ready, found)

    def test_compute_probe(self) -> None:
        for ready in (True, False):
            self.answer('/status', {'ready': ready})
            self.assertIs(ready, starting.is_ready(self.spec, 'compute'))
        self.answer('/status', {}, 503)
        self.assertFalse(starting.is_ready(self.spec, 'compute'))

    def test_nobody_there(self) -> None:
        spec = self.make_spec()
        for service in specs.SERVICES:
            self.assertFalse(starting.is_ready(spec, service))


class TestFurnish(SandboxTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.topology = topology.Topology(
            (topology.Host('gpu1'), topology.Host('gpu2')),
            images=(topology.Image('tiny', 1, {'hw_x': 'y'}),),
        )
        self.spec = self.make_spec()
        self.http = requests_mock.Mocker()
        self.patch(self.http)
        identity = self.spec.auth_url
        catalog = [
            {
                'type': kind,
                'id': kind,
                'name': kind,
                'endpoints': [
                    {
                        'id': kind,
                        'interface': 'public',
                        'region': 'RegionOne',
                        'region_id': 'RegionOne',
                        'url': self.spec.url(kind),
                    }
                ],
            }
            for kind in specs.SERVICES
        ]
        token = {
            'catalog': catalog,
            'expires_at': '2099-01-01T00:00:00Z',
            'issued_at': '2020-01-01T00:00:00Z',
            'methods': ['password'],
            'user': {'id': 'u', 'name': 'admin', 'domain': {'id': 'default'}},
            'project': {
                'id': 'p',
                'name': 'admin',
                'domain': {'id': 'default'},
            },
            'roles': [],
        }
        self.http.get(
            identity,
            json={
                'version': {
                    'id': 'v3.14',
                    'status': 'stable',
                    'links': [{'rel': 'self', 'href': identity}],
                }
            },
        )
        self.http.post(
            f'{identity}/auth/tokens',
            json={'token': token},
            headers={'X-Subject-Token': 'token'},
        )
        self.add_versions('network', 'v2.0')
        self.add_versions('image', 'v2.0')
        self.add_versions('compute', 'v2.1')
        self.add_versions('placement', 'v1.0')
        self.admin = furnish.log_in(self.spec)

    def add_versions(self, service: str, version: str) -> None:
        url = self.spec.url(service)
        href = {
            'network': f'{url}/v2.0/',
            'image': f'{url}/v2/',
            'compute': f'{url}/v2.1/',
            'placement': '',
        }[service]
        entry = {
            'id': version,
            'status': 'CURRENT',
            'min_version': '1.0',
            'max_version': '1.39',
            'links': [{'rel': 'self', 'href': href}],
        }
        for path in ('', '/'):
            self.http.get(url + path, json={'versions': [entry]})

    def bodies(self, path: str) -> list[Any]:
        return [
            request.json()
            for request in self.http.request_history
            if request.method in ('POST', 'PUT') and request.path == path
        ]

    def test_logs_in_once_and_alone(self) -> None:
        environ = {'OS_CLOUD': 'x', 'http_proxy': 'http://127.0.0.1:9'}
        with mock.patch.dict(os.environ, environ):
            self.admin = furnish.log_in(self.spec)
            self.assertEqual('token', self.admin.get_token())
        sent = self.http.request_history[-1]
        user = sent.json()['auth']['identity']['password']['user']
        self.assertEqual(
            ('admin', self.spec.secrets['admin']),
            (user['name'], user['password']),
        )
        self.assertEqual({}, dict(sent.proxies))

    def test_networks(self) -> None:
        url = f'{self.spec.url("network")}/v2.0'
        self.http.post(
            f'{url}/networks',
            [{'json': {'network': {'id': n}}} for n in ('n1', 'n2')],
        )
        self.http.post(
            f'{url}/subnets',
            [{'json': {'subnet': {'id': s}}} for s in ('s1', 's2')],
        )
        self.http.post(f'{url}/routers', json={'router': {'id': 'r1'}})
        self.http.put(f'{url}/routers/r1/add_router_interface', json={})

        furnish.make_networks(self.spec, self.admin)

        networks = [b['network'] for b in self.bodies('/v2.0/networks')]
        self.assertEqual(
            [('public', True, False), ('private', False, True)],
            [(n['name'], n['router:external'], n['shared']) for n in networks],
        )
        subnets = [b['subnet'] for b in self.bodies('/v2.0/subnets')]
        self.assertEqual(
            [('n1', '203.0.113.0/24'), ('n2', '10.0.0.0/24')],
            [(s['network_id'], s['cidr']) for s in subnets],
        )
        (router,) = self.bodies('/v2.0/routers')
        self.assertEqual(
            {'network_id': 'n1'}, router['router']['external_gateway_info']
        )
        self.assertEqual(
            [{'subnet_id': 's2'}],
            self.bodies('/v2.0/routers/r1/add_router_interface'),
        )

    def test_network_refused(self) -> None:
        url = f'{self.spec.url("network")}/v2.0'
        self.http.post(f'{url}/networks', status_code=409, json={})
        with self.assertRaisesRegex(Exception, '409'):
            furnish.make_networks(self.spec, self.admin)

    def test_images(self) -> None:
        url = f'{self.spec.url("image")}/v2'
        self.http.post(f'{url}/images', json={'id': 'i1'}, status_code=201)
        sent = []

        def receive(request: Any, context: Any) -> str:
            sent.append(request.body.read())
            return ''

        self.http.put(f'{url}/images/i1/file', text=receive)

        furnish.make_images(self.spec, self.admin)

        self.assertEqual(
            [
                {
                    'name': 'tiny',
                    'disk_format': 'qcow2',
                    'container_format': 'bare',
                    'visibility': 'public',
                    'hw_x': 'y',
                }
            ],
            self.bodies('/v2/images'),
        )
        (content,) = sent
        self.assertEqual((b'QFI\xfb', 1024**2), (content[:4], len(content)))

    def test_image_refused(self) -> None:
        url = f'{self.spec.url("image")}/v2'
        self.http.post(f'{url}/images', json={'id': 'i1'}, status_code=201)
        self.http.put(f'{url}/images/i1/file', status_code=415)
        with self.assertRaisesRegex(Exception, '415'):
            furnish.make_images(self.spec, self.admin)

    def found(self, **changed: Any) -> None:
        network, image, compute, placement = (
            self.spec.url(name)
            for name in ('network', 'image', 'compute', 'placement')
        )
        answers = {
            'networks': [{'name': 'public'}, {'name': 'private'}],
            'images': [{'name': 'tiny', 'status': 'active'}],
            'services': [
                {'host': 'gpu1', 'state': 'up'},
                {'host': 'gpu2', 'state': 'up'},
            ],
            'resource_providers': [{'name': 'gpu1'}, {'name': 'gpu2'}],
        } | changed
        for url, key in (
            (f'{network}/v2.0/networks', 'networks'),
            (f'{image}/v2/images', 'images'),
            (f'{compute}/v2.1/os-services', 'services'),
            (f'{placement}/resource_providers', 'resource_providers'),
        ):
            self.http.get(url, json={key: answers[key]})

    def test_verified(self) -> None:
        self.found()
        furnish.verify(self.spec, self.admin)

    def test_not_all_there(self) -> None:
        for changed, message in (
            ({'networks': [{'name': 'public'}]}, 'network private'),
            ({'images': []}, 'image tiny'),
            (
                {'images': [{'name': 'tiny', 'status': 'queued'}]},
                'image tiny',
            ),
            (
                {'services': [{'host': 'gpu1', 'state': 'down'}]},
                'compute service gpu1, gpu2',
            ),
            ({'resource_providers': []}, 'resource provider gpu1, gpu2'),
        ):
            with self.subTest(message):
                self.found(**changed)
                with self.assertRaises(errors.SandboxError) as caught:
                    furnish.verify(self.spec, self.admin)
                self.assertEqual(
                    f'the cloud came up without {message}',
                    str(caught.exception),
                )

    def test_qcow2(self) -> None:
        for size in (1024**2, 700 * 1024**2):
            with self.subTest(size), tempfile.TemporaryFile() as stream:
                furnish.write_qcow2(stream, size)
                self.assertEqual(size, os.fstat(stream.fileno()).st_size)
                magic, version = struct.unpack('>4sI', stream.read(8))
                self.assertEqual((b'QFI\xfb', 3), (magic, version))
                stream.seek(24)
                (virtual,) = struct.unpack('>Q', stream.read(8))
                self.assertEqual(size, virtual)
                stream.seek(36)
                (entries,) = struct.unpack('>I', stream.read(4))
                self.assertEqual(1 + (size > 512 * 1024**2), entries)


class TestUndisturbed(unittest.TestCase):
    def test_second_interrupt_is_ignored(self) -> None:
        # Whoever runs the tests may have it ignored.
        given = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, given)
        with starting._undisturbed():
            os.kill(os.getpid(), 2)
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), 2)
            time.sleep(1)
            self.fail('not interrupted')

    def test_in_another_thread(self) -> None:
        passed = []

        def run() -> None:
            with starting._undisturbed():
                passed.append(True)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        self.assertEqual([True], passed)
