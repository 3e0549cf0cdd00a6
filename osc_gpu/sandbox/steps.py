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

"""The steps of an installation: programs that are followed to their end."""

from collections.abc import Callable
from collections.abc import Mapping
import contextlib
import os
import pathlib
import re
import signal
import subprocess

from osc_gpu.i18n import _
from osc_gpu.sandbox import errors

#: What would make pip install something else, or somewhere else. Where it
#: looks for packages, and how it gets there, is the user's business.
_UNWANTED = re.compile(
    r'PYTHON.*|VIRTUAL_ENV.*|__PYVENV_LAUNCHER__|PIP_(USER|TARGET|PREFIX|ROOT|'
    r'SRC|PYTHON|CONSTRAINT|REQUIREMENT|EDITABLE|NO_DEPS|DRY_RUN|REPORT|'
    r'IGNORE_INSTALLED|FORCE_REINSTALL|REQUIRE_HASHES|PRE|QUIET|VERBOSE|'
    r'COMPILE|NO_COMPILE|GROUP)'
)


def run(
    command: list[str],
    log: pathlib.Path,
    folder: pathlib.Path,
    told: Callable[[str], None] = lambda line: None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a step of an installation, its output in the log.

    Each line is also told; SandboxError with the last ones when it fails.
    """
    if environment is None:
        environment = _own_environment()
    with log.open('a', encoding='utf-8', errors='replace') as output:

        def both(line: str) -> None:
            output.write(line)
            told(line)

        status = _follow(command, folder, environment, both)
    if status:
        raise errors.SandboxError(
            _("%(command)s failed, see %(log)s:\n%(tail)s")
            % {
                'command': ' '.join(command[1:4]),
                'log': log,
                'tail': errors.tail(log),
            }
        )


def _own_environment() -> dict[str, str]:
    return {
        key: value
        for key, value in os.environ.items()
        if not _UNWANTED.fullmatch(key)
    }


def _follow(
    command: list[str],
    folder: pathlib.Path,
    environment: Mapping[str, str],
    told: Callable[[str], None],
) -> int:
    """Run a command, tell each line of its output, return its status.

    When we are interrupted, so is it, and all that it has started.
    """
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding='utf-8',
        errors='replace',
        start_new_session=True,
    ) as process:
        try:
            for line in process.stdout or ():
                told(line)
            return process.wait()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
