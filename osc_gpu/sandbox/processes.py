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

"""The processes of a sandbox: started, found again, ended for certain.

There are no pid files. A process belongs to a sandbox when its command line
ends in ``-m services.<module> <state folder>/sandbox.json``: that holds after
a crash of whoever started it, and names no process that came later.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import time

from osc_gpu.i18n import _
from osc_gpu.sandbox import errors

_PROC = pathlib.Path('/proc')
_HERE = pathlib.Path(__file__).resolve().parent

#: how long a process may take to end by itself, and how long to be gone
#: after it was killed; seconds
GRACE = 1.5
KILL_LIMIT = 10.0


@dataclasses.dataclass(frozen=True)
class Process:
    """A running process of a sandbox; module is 'keystone_api' or so."""

    pid: int
    module: str


def environment() -> dict[str, str]:
    """Return what a service finds in its environment, and nothing else."""
    kept = {
        key: os.environ[key]
        for key in ('PATH', 'HOME', 'OSC_GPU_SANDBOX_DEBUG')
        if key in os.environ
    }
    return kept | {
        'LANG': 'C.UTF-8',
        'PYTHONPATH': str(_HERE),
        'PYTHONSAFEPATH': '1',
    }


def start(
    python: pathlib.Path, module: str, spec: pathlib.Path, log: pathlib.Path
) -> subprocess.Popen[bytes]:
    """Start a service, its output appended to a log file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open('ab') as output:
        return subprocess.Popen(
            [str(python), '-m', f'services.{module}', str(spec)],
            cwd=spec.parent,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _command_lines() -> Iterator[tuple[int, str]]:
    """Yield (pid, command line) of every process of this user.

    The arguments are joined by spaces: setproctitle, which Neutron uses,
    leaves them so, without ever being asked for another title.
    """
    for entry in os.listdir(_PROC):
        if not entry.isdigit():
            continue
        # It may end at any moment; and of a zombie nothing is left to read.
        with contextlib.suppress(OSError):
            if os.stat(_PROC / entry).st_uid != os.getuid():
                continue
            content = (_PROC / entry / 'cmdline').read_bytes()
            words = content.rstrip(b'\0').split(b'\0')
            yield int(entry), os.fsdecode(b' '.join(words))


def find(spec: pathlib.Path) -> list[Process]:
    """Return the processes of the sandbox with this ``sandbox.json``."""
    # A worker's title may quote its parent's command line in brackets.
    ours = re.compile(rf' -m services\.(\w+) {re.escape(str(spec))}\)?\Z')
    found = []
    for pid, line in _command_lines():
        if match := ours.search(line):
            found.append(Process(pid, match[1]))
    return sorted(found, key=lambda process: process.pid)


def using(folder: pathlib.Path) -> list[int]:
    """Return the pids of services that run from below a folder."""
    prefix = f'{folder}{os.sep}'
    return [
        pid
        for pid, line in _command_lines()
        if line.startswith(prefix) and ' -m services.' in line
    ]


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # Each service leads a group of its own. Where it does not (it
            # was started by hand), the group is somebody else's.
            if os.getpgid(pid) == pid:
                os.killpg(pid, number)
            else:
                os.kill(pid, number)


def end(
    spec: pathlib.Path,
    children: Sequence[subprocess.Popen[bytes]] = (),
    grace: float = GRACE,
) -> int:
    """End all processes of a sandbox, and return how many there were.

    ``children`` are those that this process has started and must reap; one
    just started may not have a command line yet. Raises SandboxError when a
    process survives even SIGKILL.
    """
    seen: set[int] = set()

    def alive() -> set[int]:
        left = {process.pid for process in find(spec)}
        left |= {child.pid for child in children if child.poll() is None}
        seen.update(left)
        return left

    def gone() -> bool:
        return not alive() and all(map(_dead, seen))

    _send(alive(), signal.SIGTERM)
    if not wait_until(gone, grace):
        # Killed again and again: a process may have had a child meanwhile.
        deadline = time.monotonic() + KILL_LIMIT
        while not wait_until(gone, 0.1):
            _send(alive(), signal.SIGKILL)
            if time.monotonic() > deadline:
                raise errors.SandboxError(
                    _("still running after SIGKILL: process %s")
                    % ', '.join(str(pid) for pid in seen if not _dead(pid))
                )
    return len(seen)


def _dead(pid: int) -> bool:
    """Say whether a process has let go of all it had, its ports included.

    Its command line is gone somewhat earlier.
    """
    try:
        stat = (_PROC / str(pid) / 'stat').read_text()
    except OSError:
        return True
    return stat.rpartition(')')[2].split()[0] in 'ZX'


def wait_until(check: Callable[[], bool], limit: float) -> bool:
    """Poll until ``check`` holds; return False after ``limit`` seconds."""
    deadline = time.monotonic() + limit
    while not check():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.03)
    return True
