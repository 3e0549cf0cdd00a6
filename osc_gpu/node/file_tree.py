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

"""Generated files below a folder."""

from collections.abc import Iterator
from collections.abc import Sequence
import os
import pathlib

from osc_gpu.i18n import _
from osc_gpu.node import files as node_files


def places(file: node_files.File) -> Iterator[str]:
    """Yield where a file goes below a folder; for several nodes several.

    What a deployment tool reads is below the folder as it is; what nodes and
    controllers read is below who reads it, as they have the same paths.
    """
    path = file.path.lstrip('/')
    if file.reader == node_files.DEPLOYMENT:
        yield path
        return
    for host in file.hosts or ('',):
        yield os.path.join(file.reader, host, path)


def write(
    folder: pathlib.Path, found: Sequence[node_files.File]
) -> tuple[pathlib.Path, ...]:
    """Write files below a folder; return those that were not there.

    :raises ValueError: a file is there that says something else; nothing was
        written then
    :raises OSError: a file cannot be read or written
    """
    texts = {
        folder / place: file.text for file in found for place in places(file)
    }
    new = []
    for path, text in texts.items():
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(_("%s is outside of the folder") % path)
        if not os.path.lexists(path):
            new.append(path)
        elif _read(path) != text:
            raise ValueError(
                _(
                    "%s is there and says something else: remove it, or name "
                    "another folder"
                )
                % path
            )
    for path in new:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, 'x', encoding='utf-8') as file:
            file.write(texts[path])
        if texts[path].startswith('#!'):
            path.chmod(0o755)
    return tuple(new)


def _read(path: pathlib.Path) -> str | None:
    try:
        return path.read_text(encoding='utf-8')
    except UnicodeDecodeError:
        return None
