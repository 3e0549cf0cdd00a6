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

"""Errors of the sandbox that a person can do something about."""

import os
import pathlib


class SandboxError(Exception):
    """One line that says what is wrong and what would be right.

    Further lines, if any, are the end of a log.
    """


def of_system(exc: OSError) -> str:
    """Return one line for what the operating system refused."""
    reason = exc.strerror or ' '.join(str(exc).split()) or type(exc).__name__
    if exc.filename is None:
        return reason
    return f'{os.fsdecode(exc.filename)}: {reason}'


def tail(log: pathlib.Path, lines: int = 15) -> str:
    """Return the last lines of a log, indented."""
    try:
        with log.open('rb') as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - 64 * 1024))
            content = stream.read().decode(errors='replace')
    except OSError as exc:
        return f'  ({exc.strerror})'
    return '\n'.join(f'  {line}' for line in content.splitlines()[-lines:])
