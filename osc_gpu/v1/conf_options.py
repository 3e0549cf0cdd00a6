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


"""Configuration files that options name."""

import pathlib

from osc_lib import exceptions

from osc_gpu.i18n import _

#: Bytes; a nova.conf with all its comments has half a million.
_MOST = 16 * 1024 * 1024


def read_text(option: str, path: str) -> str:
    """Read a text.

    :raises CommandError: it cannot be read, or is none
    """
    try:
        with pathlib.Path(path).open('rb') as file:
            data = file.read(_MOST + 1)
        if len(data) > _MOST:
            raise ValueError
        return data.decode()
    except OSError as exc:
        why = exc.strerror or type(exc).__name__
    except ValueError:
        why = _("is no text, or larger than 16 MiB")
    raise exceptions.CommandError(f'{option} {path}: {why}')
