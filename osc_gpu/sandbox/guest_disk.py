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

"""A folder that is a guest's machine: its disk, its PATH, its hardware.

``root`` in the folder stands for /, ``bin`` is all of the PATH: stand-ins
for what would change a machine or look at its hardware, and a few tools that
only read and write the files they are told of. Whatever else is in the
folder is for the stand-ins, which ``lib.sh`` among them explains.
"""

from collections.abc import Collection
from collections.abc import Sequence
import os
import pathlib
import shutil

from osc_gpu.i18n import _
from osc_gpu.sandbox import errors
from osc_gpu.sandbox import guest_hardware
from osc_gpu.sandbox import guest_systems

#: Ways to spoil a guest; the stand-ins ask for most of them.
SPOILS = (
    'gpu-missing',
    'gpu-dead',
    'mirror',
    'headers',
    'nouveau',
    'build',
    'module',
    'secure-boot',
    'unlicensed',
    'workload',
    'silent',
)

CONSOLE = 'dev/ttyS0'
_STAND_INS = pathlib.Path(__file__).with_name('stand_ins')
#: Those that come with packages or files.
_LATER = ('dkms', 'lspci', 'nvidia-smi', 'nvcc', 'rocminfo')
#: Those that only have to be called.
_RECORDED = ('dracut', 'subscription-manager', 'sync', 'update-initramfs')
_TOOLS = (
    'awk', 'bash', 'cat', 'chmod', 'cp', 'cut', 'date', 'find', 'grep',
    'head', 'iconv', 'mkdir', 'mktemp', 'mv', 'od', 'rm', 'sed', 'sh',
    'sleep', 'tail', 'timeout', 'touch', 'tr', 'wc',
)  # fmt: skip
_FOLDERS = (
    'bin',
    'enabled',
    'headers',
    'later',
    'lists',
    'tmp',
    'root/dev',
    'root/etc/apt/sources.list.d',
    'root/etc/profile.d',
    'root/etc/yum.repos.d',
    'root/lib/modules',
    'root/sys/firmware/efi/efivars',
    'root/sys/module',
    'root/usr/local/sbin',
    'root/var/log',
)
_SECURE_BOOT = 'SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c'
_SOURCES = """\
Types: deb
URIs: mirror+file:///etc/apt/mirrors/debian.list
Suites: {codename}
Components: main
"""


def install(
    folder: pathlib.Path, system: guest_systems.System, instance: str
) -> None:
    """Put a system on a new disk.

    :param instance: id of the server, as cloud-init writes it down
    :raises SandboxError: this machine lacks a tool
    """
    for name in _FOLDERS:
        (folder / name).mkdir(parents=True)
    _make_path(folder, system)
    root = folder / 'root'
    for path, text in (
        (folder / 'distro', system.distro),
        (folder / 'kernel', system.kernel),
        (folder / 'newest', system.newest),
        (root / 'etc/os-release', system.os_release),
        (root / 'sys/class/tty/console/active', 'tty1 ttyS0'),
        (root / 'var/lib/cloud/data/instance-id', instance),
    ):
        _lay(path, f'{text.rstrip()}\n')
    if system.distro == 'debian':
        _lay(
            root / 'etc/apt/sources.list.d/debian.sources',
            _SOURCES.format(codename=system.codename),
        )
    _lay(folder / 'system', system.name)


def _make_path(folder: pathlib.Path, system: guest_systems.System) -> None:
    shutil.copy(_STAND_INS / 'lib.sh', folder)
    for path in _STAND_INS.iterdir():
        if path.name in _LATER:
            _copy_program(path, folder / 'later' / path.name)
        elif path.is_file() and path.name not in ('lib.sh', 'recorded'):
            _copy_program(path, folder / 'bin' / path.name)
    for name in _RECORDED:
        _copy_program(_STAND_INS / 'recorded', folder / 'bin' / name)
    if system.has_lspci:
        shutil.copy(folder / 'later/lspci', folder / 'bin')
    for name in _TOOLS:
        found = shutil.which(name, path=os.defpath)
        if found is None:
            raise errors.SandboxError(
                _("guests need %s, which is not on this machine") % name
            )
        (folder / 'bin' / name).symlink_to(found)


def _copy_program(source: pathlib.Path, target: pathlib.Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o755)


def plug(
    folder: pathlib.Path,
    gpus: Sequence[guest_hardware.Gpu],
    spoils: Collection[str],
) -> None:
    """Let a guest have its hardware, and what is to be wrong with it."""
    shutil.rmtree(folder / 'spoils', ignore_errors=True)
    for name in spoils:
        _lay(folder / 'spoils' / name, '')
    seen = gpus[: max(0, len(gpus) - ('gpu-missing' in spoils))]
    lines = [
        f'0000:{5 + number:02x}:00.0 {gpu.vendor_id} {gpu.product_id} '
        f'{gpu.pci_class} {gpu.memory_mib} {gpu.name}\n'
        for number, gpu in enumerate(seen)
    ]
    _lay(folder / 'gpus', ''.join(lines))
    working = lines[: max(0, len(lines) - ('gpu-dead' in spoils))]
    _lay(folder / 'working', ''.join(working))
    _make_sysfs(folder / 'root/sys', lines)
    # Four bytes of attributes come before the value.
    secure = bytes([6, 0, 0, 0, 'secure-boot' in spoils])
    variables = folder / 'root/sys/firmware/efi/efivars'
    (variables / _SECURE_BOOT).write_bytes(secure)


def _make_sysfs(sys: pathlib.Path, lines: Sequence[str]) -> None:
    devices = sys / 'bus/pci/devices'
    shutil.rmtree(devices, ignore_errors=True)
    for line in lines:
        address, vendor, product, pci_class, *_rest = line.split()
        for name, value in (
            ('class', f'0x{pci_class}00'),
            ('vendor', f'0x{vendor}'),
            ('device', f'0x{product}'),
        ):
            _lay(devices / address / name, f'{value}\n')


def _lay(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
