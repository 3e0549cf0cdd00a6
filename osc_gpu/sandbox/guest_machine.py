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

``root`` in the folder stands for /, ``bin`` is all of the PATH: stand-ins
for what would change a machine or look at its hardware, and a few tools that
only read and write the files they are told of. What runs there for real is
the setup of a GPU's driver, of which every path begins at ``OSC_GPU_ROOT``;
whatever else user data asks for is named and left alone.
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
from osc_gpu.sandbox import guest_systems

#: Ways to spoil a guest; the stand-ins ask for most of them.
SPOILS = (
    'gpu-missing',
    'gpu-dead',
    'build',
    'module',
    'secure-boot',
    'nouveau',
    'headers',
    'mirror',
    'unlicensed',
    'workload',
    'silent',
)

#: The one unit that is run.
_UNIT = 'osc-gpu.service'
_STAND_INS = pathlib.Path(__file__).with_name('stand_ins')
#: Those that come with packages or files.
_LATER = ('lspci', 'nvidia-smi', 'nvcc', 'rocminfo')
#: Those that only have to be called.
_RECORDED = ('dracut', 'subscription-manager', 'sync', 'update-initramfs')
_TOOLS = (
    'awk', 'bash', 'cat', 'chmod', 'cp', 'cut', 'date', 'find', 'grep',
    'head', 'iconv', 'mkdir', 'mktemp', 'mv', 'od', 'rm', 'sed', 'sh',
    'sleep', 'tail', 'timeout', 'touch', 'tr', 'wc',
)  # fmt: skip
_FOLDERS = (
    'dev',
    'etc/apt/sources.list.d',
    'etc/profile.d',
    'etc/yum.repos.d',
    'lib/modules',
    'sys/class/tty/console',
    'sys/firmware/efi/efivars',
    'sys/module',
    'usr/local/sbin',
    'var/lib/cloud/data',
    'var/log',
)
_SECURE_BOOT = 'SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c'
#: Seconds that a unit may run, and boots that may follow from one.
_LIMIT = 120
_MOST_BOOTS = 4


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A GPU as the guest sees it.

    :param pci_class: four hexadecimal digits, 0302 is a 3D controller
    """

    vendor_id: str
    product_id: str
    name: str
    memory_mib: int = 16384
    pci_class: str = '0302'


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a boot.

    :param boots: how many there were, of those that the guest asked for too
    :param console: what it wrote to its serial line
    :param calls: the stand-ins that were called, with their arguments
    :param left: what the user data asks for besides, which was not done
    """

    boots: int
    console: str
    calls: tuple[str, ...]
    left: tuple[str, ...]


class Machine:
    """A guest's disk and its hardware.

    :param folder: what was there is gone on with, if it was a guest's
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.root = folder / 'root'

    @property
    def system(self) -> str:
        """The name of the system on its disk; '' if that is empty."""
        return self._fact('system')

    def install(
        self, system: guest_systems.System, driver: str = '', instance: str = ''
    ) -> None:
        """Put a system on an empty disk.

        :param driver: version of the NVIDIA driver that is in the image
        :param instance: id of the server
        """
        for name in ('bin', 'headers', 'later', 'lists', 'enabled', 'tmp'):
            (self.folder / name).mkdir(parents=True)
        for name in _FOLDERS:
            (self.root / name).mkdir(parents=True)
        self._make_path(system)
        self._write('distro', system.distro)
        self._write('kernel', system.kernel)
        self._write('newest', system.newest)
        _lay(self.root / 'etc/os-release', system.os_release)
        _lay(self.root / 'sys/class/tty/console/active', 'tty1 ttyS0\n')
        _lay(self.root / 'var/lib/cloud/data/instance-id', f'{instance}\n')
        if system.distro == 'debian':
            _lay(
                self.root / 'etc/apt/sources.list.d/debian.sources',
                'Types: deb\nURIs: mirror+file:///etc/apt/mirrors/debian.list\n'
                f'Suites: {system.codename}\nComponents: main\n',
            )
        if driver:
            (self.folder / 'headers' / system.kernel).touch()
            self._run(['bash', '-c', '. $OSC_GPU_MACHINE/lib.sh; '
                       f'nvidia_driver {shlex.quote(driver)}'])  # fmt: skip
        self._write('system', system.name)

    def _make_path(self, system: guest_systems.System) -> None:
        shutil.copy(_STAND_INS / 'lib.sh', self.folder)
        for path in _STAND_INS.iterdir():
            if path.name in _LATER:
                _copy_program(path, self.folder / 'later' / path.name)
            elif path.name not in ('lib.sh', 'recorded'):
                _copy_program(path, self.folder / 'bin' / path.name)
        for name in _RECORDED:
            _copy_program(_STAND_INS / 'recorded', self.folder / 'bin' / name)
        if system.has_lspci:
            shutil.copy(self.folder / 'later/lspci', self.folder / 'bin')
        for name in _TOOLS:
            found = shutil.which(name, path=os.defpath)
            if found is None:
                raise errors.SandboxError(
                    _("guests need %s, which is not on this machine") % name
                )
            (self.folder / 'bin' / name).symlink_to(found)

    def boot(
        self,
        user_data: bytes,
        gpus: Sequence[Gpu] = (),
        spoils: Collection[str] = (),
    ) -> Outcome:
        """Boot, and boot again as often as the guest asks for it.

        :raises SandboxError: what runs in it comes to no end, or its user
            data cannot be read
        """
        (self.folder / 'calls').write_text('')
        (self.root / 'dev/ttyS0').write_text('')
        self._plug(gpus, spoils)
        left: tuple[str, ...] = ()
        for number in range(1, _MOST_BOOTS + 1):
            self._start()
            if 'silent' not in spoils:
                if self._is_new():
                    left = self._apply(user_data)
                for path in (self.folder / 'started').iterdir():
                    self._run_unit(path.name)
            if not (self.folder / 'reboot').exists():
                return Outcome(
                    number,
                    (self.root / 'dev/ttyS0').read_text(errors='replace'),
                    tuple((self.folder / 'calls').read_text().splitlines()),
                    left,
                )
        raise errors.SandboxError(
            _("the guest rebooted %d times in a row") % _MOST_BOOTS
        )

    def _plug(self, gpus: Sequence[Gpu], spoils: Collection[str]) -> None:
        """Let the guest have its hardware, and what is wrong with it."""
        shutil.rmtree(self.folder / 'spoils', ignore_errors=True)
        (self.folder / 'spoils').mkdir()
        for name in spoils:
            (self.folder / 'spoils' / name).touch()
        seen = gpus[: len(gpus) - ('gpu-missing' in spoils)]
        lines = [
            f'0000:{5 + number:02x}:00.0 {gpu.vendor_id} {gpu.product_id} '
            f'{gpu.pci_class} {gpu.memory_mib} {gpu.name}\n'
            for number, gpu in enumerate(seen)
        ]
        (self.folder / 'gpus').write_text(''.join(lines))
        working = lines[: len(lines) - ('gpu-dead' in spoils)]
        (self.folder / 'working').write_text(''.join(working))
        devices = self.root / 'sys/bus/pci/devices'
        shutil.rmtree(devices, ignore_errors=True)
        for line in lines:
            address, vendor, product, pci_class, *_rest = line.split()
            for name, value in (
                ('class', f'0x{pci_class}00'),
                ('vendor', f'0x{vendor}'),
                ('device', f'0x{product}'),
            ):
                _lay(devices / address / name, f'{value}\n')
        # Four bytes of attributes come before the value.
        secure = bytes([6, 0, 0, 0, 'secure-boot' in spoils])
        variables = self.root / 'sys/firmware/efi/efivars'
        (variables / _SECURE_BOOT).write_bytes(secure)

    def _start(self) -> None:
        """Begin a boot: the newest kernel, its modules, the units."""
        next_kernel = self.folder / 'next'
        if next_kernel.exists():
            next_kernel.replace(self.folder / 'kernel')
        for folder in ('sys/module', 'sys/bus/pci/drivers'):
            shutil.rmtree(self.root / folder, ignore_errors=True)
        for name in ('reboot', 'licensing', 'licensed'):
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder / 'started', ignore_errors=True)
        shutil.copytree(self.folder / 'enabled', self.folder / 'started')
        with (self.root / 'dev/ttyS0').open('a') as console:
            console.write(f'[    0.0] Linux version {self._fact("kernel")}\n')
        self._load_modules()

    def _load_modules(self) -> None:
        system = guest_systems.SYSTEMS.get(self.system)
        off = any(
            'blacklist nouveau' in path.read_text()
            for path in (self.root / 'etc/modprobe.d').glob('*.conf')
        )
        has_nouveau = (self.folder / 'spoils/nouveau').exists() or (
            system is not None and system.has_nouveau
        )
        if has_nouveau and not off and '10de' in self._fact('gpus'):
            (self.root / 'sys/module/nouveau').mkdir(parents=True)
        modules = self.root / 'lib/modules' / self._fact('kernel')
        for module in modules.rglob('*.ko'):
            self._run(['modprobe', module.stem], OSC_GPU_BOOTING='1')
        if (self.folder / 'gridd').exists():
            self._run(
                ['systemctl', 'restart', 'nvidia-gridd'], OSC_GPU_BOOTING='1'
            )

    def _is_new(self) -> bool:
        """Tell whether this is the first boot that cloud-init sees."""
        mark = self.folder / 'booted'
        is_new = not mark.exists()
        mark.touch()
        return is_new

    def _apply(self, user_data: bytes) -> tuple[str, ...]:
        """Do what cloud-init does at first boot; return what is left out."""
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
        for entry, content in files:
            self._write_file(entry, content)
        left = [
            f'{part.type} {part.filename}'
            for part in parts
            if part.type != guest_data.CONFIG
        ]
        left += [f'{guest_data.CONFIG} {name}' for name in config.ignored]
        left += [
            key
            for key in config.values
            if key not in ('write_files', 'runcmd')
        ]
        for command in config.list('runcmd'):
            words = _systemctl(command)
            if words:
                self._run(words)
            else:
                left.append(f'runcmd {command}')
        return tuple(left)

    def _write_file(self, entry: Mapping[str, Any], content: bytes) -> None:
        path = posixpath.normpath(f'/{entry.get("path", "")}').lstrip('/')
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open('ab' if entry.get('append') else 'wb') as stream:
            stream.write(content)
        with contextlib.suppress(ValueError):
            target.chmod(int(str(entry.get('permissions', '0644')), 8) & 0o777)

    def _run_unit(self, name: str) -> None:
        if name != _UNIT:
            return
        unit = self.root / 'etc/systemd/system' / name
        text = unit.read_text() if unit.exists() else ''
        for command in re.findall('^ExecStart=(.*)$', text, re.MULTILINE):
            path = posixpath.normpath(f'/{command}').lstrip('/')
            if (self.root / path).is_file():
                self._run([str(self.root / path)])

    def _run(self, command: Sequence[str], **more: str) -> None:
        """Run something with nothing but the guest's PATH."""
        environ = {
            'PATH': str(self.folder / 'bin'),
            'HOME': str(self.folder / 'tmp'),
            'TMPDIR': str(self.folder / 'tmp'),
            'LC_ALL': 'C.UTF-8',
            'OSC_GPU_ROOT': str(self.root),
            'OSC_GPU_MACHINE': str(self.folder),
            'OSC_GPU_PAUSE': '0',
        }
        program = shutil.which(command[0], path=environ['PATH'])
        with (self.folder / 'output').open('ab') as output:
            process = subprocess.Popen(
                [program or command[0], *command[1:]],
                env=environ | more,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            process.wait(_LIMIT)
        except subprocess.TimeoutExpired as exc:
            raise errors.SandboxError(
                _("%(command)s has not ended within %(limit)d s")
                % {'command': command[0], 'limit': _LIMIT}
            ) from exc
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _fact(self, name: str) -> str:
        path = self.folder / name
        return path.read_text().strip() if path.exists() else ''

    def _write(self, name: str, value: str) -> None:
        _lay(self.folder / name, f'{value}\n')


def _systemctl(command: Any) -> list[str]:
    """Return the words of a command of runcmd, if it is systemctl's."""
    if isinstance(command, str) and not re.search('[;&|<>$`\n]', command):
        with contextlib.suppress(ValueError):
            command = shlex.split(command)
    if isinstance(command, list) and command[:1] == ['systemctl']:
        return [str(word) for word in command]
    return []


def _copy_program(source: pathlib.Path, target: pathlib.Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o755)


def _lay(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
