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

"""Files below a root folder: a machine's own ``/``, or a copy of one.

A copy's links are followed as on the machine that it is of: an absolute one
begins at the root folder, and none leads out of it. What is not there, or may
not be read, is None.
"""

import errno
import os
import pathlib
import stat

#: Links that are followed for one path; what the kernel takes is 40.
_MOST_LINKS = 40
_MOST_BYTES = 1 << 20
# A pipe that nobody writes to must not stop us.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Folder:
    """A folder below a root; whether it exists shows when it is read."""

    def __init__(self, root: 'Root', path: str) -> None:
        """Name it.

        :param path: its path below the root, without links: '', '/etc'
        """
        self._root = root
        self._path = path

    def names(self) -> frozenset[str] | None:
        """Return what is in it."""
        try:
            return frozenset(os.listdir(self._root.top + self._path))
        except OSError:
            return None

    def folder(self, name: str) -> 'Folder | None':
        """Return a folder in it, links followed; None for endless ones."""
        path = self._root.resolve(f'{self._path}/{name}')
        return None if path is None else Folder(self._root, path)

    def link(self, name: str) -> str | None:
        """Return the last word of where a link in it leads to."""
        try:
            target = os.readlink(f'{self._root.top}{self._path}/{name}')
        except OSError:
            return None
        return target.rstrip('/').rpartition('/')[2]

    def bytes(self, name: str, most: int = _MOST_BYTES) -> bytes | None:
        """Return the beginning of a file in it."""
        path = f'{self._path}/{name}'
        try:
            return _read(self._root.top + path, most)
        except OSError:
            pass
        # One of its folders' links is resolved already: this is the file's.
        if self.link(name) is None:
            return None
        found = self._root.resolve(path)
        try:
            return (
                None if found is None else _read(self._root.top + found, most)
            )
        except OSError:
            return None

    def text(self, name: str, most: int = _MOST_BYTES) -> str | None:
        """Return the beginning of a text file in it."""
        content = self.bytes(name, most)
        return None if content is None else content.decode(errors='replace')

    def number(self, name: str) -> int | None:
        """Return the decimal number in a file in it."""
        try:
            return int((self.text(name, 32) or '').strip())
        except ValueError:
            return None


class Root(Folder):
    """The root folder itself."""

    def __init__(self, path: pathlib.Path) -> None:
        """Name it."""
        top = os.path.realpath(path)
        self.top = '' if top == '/' else top
        self._links: dict[str, str | None] = {}
        super().__init__(self, '')

    def at(self, path: str) -> Folder:
        """Return a folder by its path below the root."""
        return self.folder(path) or Folder(self, f'/{path}')

    def resolve(self, path: str) -> str | None:
        """Return a path below the root without links; None for endless ones.

        What does not exist is left as it is.
        """
        done, rest, links = '', path.split('/')[::-1], 0
        while rest:
            name = rest.pop()
            if name == '..':
                done = done.rpartition('/')[0]
            elif name not in ('', '.'):
                target = self._target(f'{done}/{name}')
                if target is None:
                    done = f'{done}/{name}'
                    continue
                links += 1
                if links > _MOST_LINKS:
                    return None
                done = '' if target.startswith('/') else done
                rest += target.split('/')[::-1]
        return done

    def _target(self, path: str) -> str | None:
        """Return where a link leads to, None if it is none; asked once."""
        if path not in self._links:
            try:
                self._links[path] = os.readlink(self.top + path)
            except OSError:
                self._links[path] = None
        return self._links[path]


def _read(path: str, most: int) -> bytes:
    handle = os.open(path, _FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            # Containers hide files behind devices that are always empty.
            raise OSError(errno.EINVAL, path)
        parts = []
        while most > 0:
            parts.append(os.read(handle, min(most, 1 << 16)))
            if not parts[-1]:
                break
            most -= len(parts[-1])
        return b''.join(parts)
    finally:
        os.close(handle)
