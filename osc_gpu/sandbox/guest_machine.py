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

"""A guest that boots in a folder, and changes nothing outside of it.

What runs there for real is the setup of a GPU's driver, every path of which
begins at ``OSC_GPU_ROOT``; whatever else its user data asks for is named and
left alone.
"""

from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import os
import pathlib
import posixpath
import re
import shlex
import shutil
import signal
import subprocess
from typing import Any

from osc_gpu.i18n import _
from osc_gpu.sandbox import errors
from osc_gpu.sandbox import guest_data
from osc_gpu.sandbox import guest_disk
from osc_gpu.sandbox import guest_hardware
from osc_gpu.sandbox import guest_systems

#: The one unit that is run.
_UNIT = 'osc-gpu.service'
#: Seconds that a unit may run, and boots that may follow from one.
_LIMIT = 120.0
_MOST_BOOTS = 4


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a boot.

    :param boots: how many there were, with those that the guest asked for
    :param console: what it wrote to its serial line
    :param calls: the stand-ins that were called, with their arguments
    :param left: what its user data asks for besides, and was not done
    """

    boots: int
    console: str
    calls: tuple[str, ...]
    left: tuple[str, ...]


class Machine:
    """A guest, from its first boot on.

    :param folder: of its own; a guest that is there already is gone on with
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.root = folder / 'root'

    @property
    def system(self) -> str:
        """The name of the system on its disk; '' while that is empty."""
        return self._fact('system')

    def install(
        self, system: guest_systems.System, instance: str, driver: str = ''
    ) -> None:
        """Put a system on its disk.

        :param instance: id of the server
        :param driver: version of the NVIDIA driver that is in the image
        :raises SandboxError: this machine lacks a tool
        """
        guest_disk.install(self.folder, system, instance)
        if driver:
            (self.folder / 'headers' / system.kernel).touch()
            script = '. "$OSC_GPU_MACHINE/lib.sh"; nvidia_driver "$1"'
            self._run(['bash', '-c', script, 'bash', driver])

    def boot(
        self,
        user_data: bytes,
        gpus: Sequence[guest_hardware.Gpu] = (),
        spoils: Collection[str] = (),
    ) -> Outcome:
        """Boot, and boot again as often as the guest asks for it.

        :param spoils: some of ``guest_disk.SPOILS``
        :raises SandboxError: what runs in it comes to no end, or its user
            data cannot be read
        """
        calls, console = self.folder / 'calls', self.root / guest_disk.CONSOLE
        calls.write_text('')
        console.write_text('')
        guest_disk.plug(self.folder, gpus, spoils)
        left: tuple[str, ...] = ()
        for number in range(1, _MOST_BOOTS + 1):
            self._start()
            if 'silent' not in spoils:
                left += self._apply_once(user_data)
                for path in sorted((self.folder / 'started').iterdir()):
                    self._run_unit(path.name)
            if not (self.folder / 'reboot').exists():
                return Outcome(
                    number,
                    console.read_text(errors='replace'),
                    tuple(calls.read_text().splitlines()),
                    left,
                )
        raise errors.SandboxError(
            _("the guest rebooted %d times in a row") % _MOST_BOOTS
        )

    def _start(self) -> None:
        """Begin a boot: the newest kernel, its modules, what is enabled."""
        if (self.folder / 'next').exists():
            (self.folder / 'next').replace(self.folder / 'kernel')
        for name in ('root/sys/module', 'root/sys/bus/pci/drivers', 'started'):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for name in ('reboot', 'licensing', 'licensed'):
            (self.folder / name).unlink(missing_ok=True)
        shutil.copytree(self.folder / 'enabled', self.folder / 'started')
        with (self.root / guest_disk.CONSOLE).open('a') as console:
            console.write(f'[    0.0] Linux version {self._fact("kernel")}\n')
        if self._has_nouveau():
            (self.root / 'sys/module/nouveau').mkdir(parents=True)
        modules = self.root / 'lib/modules' / self._fact('kernel')
        for module in sorted(modules.rglob('*.ko')):
            self._run(['modprobe', module.stem], OSC_GPU_BOOTING='1')
        if (self.folder / 'gridd').exists():
            gridd = ['systemctl', 'restart', 'nvidia-gridd']
            self._run(gridd, OSC_GPU_BOOTING='1')

    def _has_nouveau(self) -> bool:
        settings = (self.root / 'etc/modprobe.d').glob('*.conf')
        if any('blacklist nouveau' in path.read_text() for path in settings):
            return False
        system = guest_systems.SYSTEMS[self.system]
        is_spoiled = (self.folder / 'spoils/nouveau').exists()
        return (system.has_nouveau or is_spoiled) and (
            ' 10de ' in self._fact('gpus')
        )

    def _apply_once(self, user_data: bytes) -> tuple[str, ...]:
        """Do what cloud-init does once; return what it would do besides."""
        mark = self.folder / 'applied'
        if mark.exists():
            return ()
        try:
            parts = guest_data.parts(user_data)
            config = guest_data.config(parts)
            files = [
                (one, guest_data.file_content(one))
                for one in config.list('write_files')
                if isinstance(one, dict)
            ]
        except ValueError as exc:
            raise errors.SandboxError(
                _("the user data cannot be read: %s") % exc
            ) from exc
        mark.touch()
        for entry, content in files:
            self._write_file(entry, content)
        return (*_besides(parts, config), *self._run_commands(config))

    def _write_file(self, entry: Mapping[str, Any], content: bytes) -> None:
        target = self._inside(str(entry.get('path')))
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open('ab' if entry.get('append') else 'wb') as stream:
            stream.write(content)
        with contextlib.suppress(ValueError):
            target.chmod(int(str(entry.get('permissions', '0644')), 8) & 0o777)

    def _inside(self, path: str) -> pathlib.Path:
        return self.root / posixpath.normpath(f'/{path}').lstrip('/')

    def _run_commands(self, config: guest_data.Config) -> list[str]:
        left = []
        for command in config.list('runcmd'):
            words = _systemctl(command)
            if words:
                self._run(words)
            else:
                left.append(f'runcmd {command}')
        return left

    def _run_unit(self, name: str) -> None:
        unit = self.root / 'etc/systemd/system' / name
        if name != _UNIT or not unit.exists():
            return
        for command in re.findall(
            '^ExecStart=(.*)$', unit.read_text(), re.MULTILINE
        ):
            program = self._inside(command)
            if program.is_file():
                self._run([str(program)])

    def _run(self, command: Sequence[str], **more: str) -> None:
        """Run something that finds nothing but the guest's programs."""
        path = str(self.folder / 'bin')
        environ = {
            'PATH': path,
            'HOME': str(self.folder / 'tmp'),
            'TMPDIR': str(self.folder / 'tmp'),
            'LC_ALL': 'C.UTF-8',
            'OSC_GPU_ROOT': str(self.root),
            'OSC_GPU_MACHINE': str(self.folder),
            'OSC_GPU_PAUSE': '0',
        }
        program = shutil.which(command[0], path=path) or command[0]
        with (self.folder / 'output').open('ab') as output:
            process = subprocess.Popen(
                [program, *command[1:]],
                env=environ | more,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            process.wait(_LIMIT)
        except BaseException as exc:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if not isinstance(exc, subprocess.TimeoutExpired):
                raise
            raise errors.SandboxError(
                _("%(command)s has not ended within %(limit).0f s")
                % {'command': command[0], 'limit': _LIMIT}
            ) from exc

    def _fact(self, name: str) -> str:
        path = self.folder / name
        return path.read_text().strip() if path.exists() else ''


def setting(user_data: bytes, path: str, name: str) -> str:
    """Return a variable of a file of settings that user data writes.

    :returns: '' where there is none, or the user data cannot be read
    """
    with contextlib.suppress(ValueError):
        config = guest_data.config(guest_data.parts(user_data))
        for entry in config.list('write_files'):
            if isinstance(entry, dict) and (
                str(entry.get('path')).strip('/') == path
            ):
                text = guest_data.file_content(entry).decode()
                words = shlex.split(text, comments=True)
                found = dict(word.partition('=')[::2] for word in words)
                return found.get(name, '')
    return ''


def _besides(
    parts: Sequence[guest_data.Part], config: guest_data.Config
) -> list[str]:
    """Name what user data has beside files and commands."""
    left = [
        f'{part.type} {part.filename}'
        for part in parts
        if part.type != guest_data.CONFIG
    ]
    left += [f'{guest_data.CONFIG} {name}' for name in config.ignored]
    known = ('write_files', 'runcmd')
    return left + [str(key) for key in config.values if key not in known]


def _systemctl(command: Any) -> list[str]:
    """Return the words of a command of runcmd, if it is systemctl's."""
    if isinstance(command, str) and not re.search('[;&|<>$`\n]', command):
        with contextlib.suppress(ValueError):
            command = shlex.split(command)
    if isinstance(command, list) and command[:1] == ['systemctl']:
        return [str(word) for word in command]
    return []
