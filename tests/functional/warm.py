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

"""The ``openstack`` process, without the second that its imports take.

A server imports what the client's console script would, and forks a process
for each command, which then calls the script's ``main``. What concerns the
start of the process itself is tested with the script (``base.run``'s others).
"""

from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import gc
from importlib import metadata
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from typing import Any

#: what the client loads whatever the command is
_GROUPS = ('openstack.cli.base', 'openstack.cli.extension')


class Server:
    """A server of this process; it ends with us."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix='osc-gpu-warm-')
        self._path = str(pathlib.Path(self._folder.name, 'socket'))
        self._process = subprocess.Popen(
            [sys.executable, '-m', __name__, self._path],
            cwd=pathlib.Path(__file__).resolve().parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        self._process.stdout.readline()

    def start(self, argv: Sequence[str], env: Mapping[str, str]) -> 'Command':
        """Start ``openstack <argv>``."""
        return Command(self._path, argv, env)


class Command:
    """A process of the client; ``status`` is None as long as it runs."""

    def __init__(
        self, path: str, argv: Sequence[str], env: Mapping[str, str]
    ) -> None:
        self.status: int | None = None
        self._lock = threading.Lock()
        self._argv = ['openstack', *argv]
        self._out = tempfile.TemporaryFile()
        self._err = tempfile.TemporaryFile()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        asked = json.dumps({'argv': list(argv), 'env': dict(env)})
        files = [self._out.fileno(), self._err.fileno()]
        socket.send_fds(self._socket, [asked.encode()], files)
        self._socket.shutdown(socket.SHUT_WR)
        self._answers = self._socket.makefile()
        self.pid = int(self._answers.readline())

    def kill(self) -> None:
        """Kill it, and wait for its end."""
        os.kill(self.pid, signal.SIGKILL)
        self._end()

    def communicate(self, limit: float) -> tuple[int, str, str]:
        """Wait for its end; return its status and what it wrote.

        :param limit: seconds
        :raises subprocess.TimeoutExpired: it took longer, and was killed
        """
        with self._answers, self._socket, self._out, self._err:
            if self.status is None:
                ready, _w, _x = select.select([self._socket], [], [], limit)
                if not ready:
                    self.kill()
                    raise subprocess.TimeoutExpired(self._argv, limit)
            return self._end(), _read(self._out), _read(self._err)

    def _end(self) -> int:
        # One thread may wait for it, and another one kill it.
        with self._lock:
            if self.status is None:
                self.status = int(self._answers.readline())
            return self.status


def _read(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode())


# The server.


def _serve(path: str) -> dict[str, Any]:
    """Fork for each command; return what a fork is to do."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        print('ready', flush=True)
        while True:
            ready, _w, _x = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                os._exit(0)
            connection, _address = listener.accept()
            if not os.fork():
                break
            connection.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    data, files, _flags, _address = socket.recv_fds(connection, 1 << 20, 2)
    while more := connection.recv(1 << 20):
        data += more
    pid = os.fork()
    if pid:
        connection.sendall(f'{pid}\n'.encode())
        _pid, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        with contextlib.suppress(OSError):
            connection.sendall(f'{code}\n'.encode())
        os._exit(0)
    connection.close()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate((nothing, *files)):
        os.dup2(file, number)
    os.closerange(3, 256)
    asked: dict[str, Any] = json.loads(data)
    return asked


def _main(path: str) -> Any:
    # The client's name is what it is called by when it is imported.
    sys.argv = ['openstack']
    from openstackclient import shell

    for group in _GROUPS:
        for entry in metadata.entry_points(group=group):
            entry.load()
    gc.freeze()
    asked = _serve(path)
    os.environ.clear()
    os.environ.update(asked['env'])
    sys.argv += asked['argv']
    return shell.main()


if __name__ == '__main__':
    sys.exit(_main(sys.argv[1]))
