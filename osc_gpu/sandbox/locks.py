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

"""Locks between the sandbox's own runs."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import fcntl
import os
import pathlib


class Held(Exception):
    """Another process has the lock; ``pid`` is 0 where that is unknown."""

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self.pid = pid


@contextlib.contextmanager
def exclusive(
    path: pathlib.Path, waiting: Callable[[int], None] | None = None
) -> Iterator[None]:
    """Hold a lock file, for as long as the block runs or this process lives.

    When another process has it: with ``waiting`` that is called with the
    holder's pid, and the lock waited for; without, Held is raised. The file
    stays: removing it would let two processes hold two files of one name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is None:
                raise Held(_holder(path, descriptor)) from None
            waiting(_holder(path, descriptor))
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _holder(path: pathlib.Path, descriptor: int) -> int:
    """Return who wrote himself into the file, if he still has it open."""
    content = os.pread(descriptor, 20, 0)
    if not content.isdigit():
        return 0
    wanted = os.path.realpath(path)
    # Descriptors, and the process itself, come and go while one looks.
    with contextlib.suppress(OSError):
        for name in os.listdir(f'/proc/{int(content)}/fd'):
            with contextlib.suppress(OSError):
                if os.readlink(f'/proc/{int(content)}/fd/{name}') == wanted:
                    return int(content)
    return 0
