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
"""A way to Nova that can fail: a proxy on the loopback.

It forwards every request to the real API unless a test says otherwise for
one of them, and remembers what it was asked.
"""

from collections.abc import Callable
import contextlib
import http.client
import http.server
import pathlib
import tempfile
import threading
from typing import Any
from urllib import parse

import yaml

from osc_gpu.sandbox import spec as specs
from tests.functional import base
from tests.functional import shells

#: what a test can have done to a request, beside a status to answer with
CUT = 'cut the connection before Nova hears of it'
LOSE = 'let Nova do it, and cut the connection instead of answering'

Decide = Callable[[str], Any]


class Proxy:
    """A proxy in front of the API below ``target``.

    ``decide`` is called with each ``METHOD /path``, the root taken away; it
    returns None to forward it, a status to answer with, CUT or LOSE. It may
    take its time. ``before`` and ``after`` are called when a request that was
    forwarded is about to be answered, and when it was.
    """

    def __init__(self, target: str) -> None:
        split = parse.urlsplit(target)
        self.requests: list[str] = []
        self.decide: Decide = lambda request: None
        self.before: Decide = lambda request: None
        self.after: Decide = lambda request: None
        self._target = split.netloc
        self._root = split.path
        self._server = http.server.ThreadingHTTPServer(
            (specs.ADDRESS, 0), _handler(self)
        )
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        ).start()

    @property
    def address(self) -> str:
        return f'{specs.ADDRESS}:{self._server.server_port}'

    @property
    def url(self) -> str:
        """The URL that takes the place of the target."""
        return f'http://{self.address}{self._root}'

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get('Content-Length') or 0)
        body = handler.rfile.read(length)
        path = handler.path.removeprefix(self._root)
        request = f'{handler.command} {path}'
        # Discovery is not what the tests count, nor what they break.
        verdict = None
        if path.strip('/'):
            self.requests.append(request)
            verdict = self.decide(request)
        if verdict == CUT:
            handler.close_connection = True
            return
        if isinstance(verdict, int):
            _send(handler, verdict, {}, b'')
            return
        status, headers, content = self._forward(handler, body)
        if verdict == LOSE:
            handler.close_connection = True
            return
        self.before(request)
        _send(handler, status, headers, content)
        self.after(request)

    def _forward(
        self, handler: http.server.BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        headers = dict(handler.headers) | {'Host': self._target}
        connection = http.client.HTTPConnection(self._target, timeout=60)
        with contextlib.closing(connection):
            connection.request(handler.command, handler.path, body, headers)
            response = connection.getresponse()
            content = response.read()
        # Links must lead back here.
        content = content.replace(self._target.encode(), self.address.encode())
        kept = ('Content-Type', 'x-openstack-request-id')
        return (
            response.status,
            {k: v for k in kept if (v := response.getheader(k))},
            content,
        )


def _handler(proxy: Proxy) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def handle_one_request(self) -> None:
            with contextlib.suppress(ConnectionError):
                super().handle_one_request()

        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            proxy.answer(self)

        do_POST = do_PUT = do_DELETE = do_GET

    return Handler


def _send(
    handler: http.server.BaseHTTPRequestHandler,
    status: int,
    headers: dict[str, str],
    content: bytes,
) -> None:
    handler.send_response(status)
    for key, value in headers.items():
        handler.send_header(key, value)
    handler.send_header('Content-Length', str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


class TestCase(shells.TestCase):
    """Commands that reach Nova through ``self.nova``."""

    make_proxy: Callable[[str], Any] = Proxy

    def setUp(self) -> None:
        super().setUp()
        self.nova = self.make_proxy(f'{self.spec.url("compute")}/v2.1')
        self.addCleanup(self.nova.stop)
        self.clouds = self.write_clouds(
            compute_endpoint_override=self.nova.url
        )

    def write_clouds(self, **more: Any) -> str:
        """Write the sandbox's clouds, changed, and return where."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        clouds = specs.clouds(self.spec)
        path = pathlib.Path(folder.name, 'clouds.yaml')
        path.write_text(
            yaml.safe_dump(
                {'clouds': {k: v | more for k, v in clouds.items()}}
            )
        )
        return str(path)

    def openstack(self, *argv: str, user: str = 'admin') -> base.Result:
        if argv[:3] == ('gpu', 'server', 'create'):
            return base.run(
                'openstack',
                *argv,
                OS_CLIENT_CONFIG_FILE=self.clouds,
                OS_CLOUD=specs.cloud(user),
            )
        return shells.run(self.clouds, specs.cloud(user), *argv)
