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

"""The folder that a guest boots in; what it reports is tested elsewhere."""

import os
import pathlib
import tempfile
import textwrap
import unittest
from unittest import mock

from osc_gpu.sandbox import errors
from osc_gpu.sandbox import guest_disk
from osc_gpu.sandbox import guest_machine
from osc_gpu.sandbox import guest_systems

UNIT = '/etc/systemd/system/osc-gpu.service'


def user_data(script='', *more, path='/usr/local/sbin/setup', runcmd=None):
    """Return user data that lets our unit run a script."""
    import yaml

    text = f'#!/bin/bash\n{textwrap.dedent(script)}'
    config = {
        'write_files': [
            {'path': path, 'permissions': '0755', 'content': text},
            {'path': UNIT, 'content': f'[Service]\nExecStart={path}\n'},
            *more,
        ],
        'runcmd': [
            ['systemctl', 'enable', 'osc-gpu.service'],
            'systemctl start osc-gpu.service',
            *(runcmd or ()),
        ],
    }
    return f'#cloud-config\n{yaml.safe_dump(config)}'.encode()


class TestMachine(unittest.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(os.path.realpath(folder.name))
        self.machine = guest_machine.Machine(self.folder / 'guest')
        self.assertEqual('', self.machine.system)
        system = guest_systems.SYSTEMS['rocky-9']
        self.machine.install(system, 'i-1')
        self.assertEqual('rocky-9', self.machine.system)

    def boot(self, *args, **kwargs):
        return self.machine.boot(user_data(*args, **kwargs))

    def read(self, path):
        return (self.machine.root / path).read_text()

    def test_what_it_finds(self):
        self.boot("""\
            echo "$PATH" > "$OSC_GPU_ROOT/path"
            compgen -c > "$OSC_GPU_ROOT/programs"
            env > "$OSC_GPU_ROOT/env" || echo none > "$OSC_GPU_ROOT/env"
            pwd > "$OSC_GPU_ROOT/pwd"
        """)
        self.assertEqual(f'{self.machine.folder}/bin\n', self.read('path'))
        programs = set(self.read('programs').split())
        # Of the shell itself, ours, and those that are harmless.
        self.assertLess({'apt-get', 'dnf', 'systemctl', 'curl'}, programs)
        self.assertFalse(
            {'python3', 'ssh', 'wget', 'reboot', 'mount', 'dd', 'perl',
             'insmod', 'ip', 'kmod', 'lspci', 'nvidia-smi', 'sudo', 'env'}
            & programs
        )  # fmt: skip
        self.assertEqual('none\n', self.read('env'))
        self.assertEqual(f'{self.machine.root}\n', self.read('pwd'))

    def test_programs_are_ours_or_harmless(self):
        for path in (self.machine.folder / 'bin').iterdir():
            if path.is_symlink():
                self.assertIn(path.name, guest_disk._TOOLS)
            else:
                text = path.read_text()
                self.assertIn('. "$OSC_GPU_MACHINE/lib.sh"', text, path)

    def test_no_secrets_of_ours(self):
        with mock.patch.dict(os.environ, {'OS_PASSWORD': 'secret'}):
            self.boot('echo "${OS_PASSWORD:-}" > "$OSC_GPU_ROOT/password"')
        self.assertEqual('\n', self.read('password'))

    def test_files_stay_inside(self):
        for path in ('../../../../etc/x', '/../x', 'a/../../../b', '//c'):
            self.machine = guest_machine.Machine(self.folder / str(len(path)))
            system = guest_systems.SYSTEMS['debian-13']
            self.machine.install(system, 'i-1')
            before = set(self.folder.rglob('*'))
            self.boot('', {'path': path, 'content': 'x'})
            made = set(self.folder.rglob('*')) - before
            for found in made:
                self.assertIn(self.machine.folder, found.parents)
        self.assertFalse(pathlib.Path('/etc/x').exists())

    def test_files(self):
        self.boot(
            '',
            {'path': '/a', 'content': 'MTI=', 'encoding': 'b64'},
            {'path': '/a', 'content': '3', 'append': True,
             'permissions': '0600'},
            {'path': '/b', 'content': '4', 'permissions': 'odd'},
            'none',
        )  # fmt: skip
        self.assertEqual('123', self.read('a'))
        mode = (self.machine.root / 'a').stat().st_mode
        self.assertEqual(0o600, mode & 0o777)
        self.assertEqual('4', self.read('b'))

    def test_what_is_left(self):
        outcome = self.boot(
            '',
            runcmd=[
                'touch /tmp/x',
                ['reboot'],
                'systemctl stop x; rm -rf /',
                "systemctl 'unclosed",
                None,
                ['systemctl', 'start', 'other.service'],
            ],
        )
        self.assertEqual(
            (
                'runcmd touch /tmp/x',
                "runcmd ['reboot']",
                'runcmd systemctl stop x; rm -rf /',
                "runcmd systemctl 'unclosed",
                'runcmd None',
            ),
            outcome.left,
        )
        self.assertEqual(
            (
                'systemctl enable osc-gpu.service',
                'systemctl start osc-gpu.service',
                'systemctl start other.service',
            ),
            outcome.calls,
        )

    def test_other_user_data(self):
        for content, left in (
            (b'', ()),
            (b'#!/bin/sh\ntouch pwned\n', ('text/x-shellscript part-001',)),
            (b'#cloud-config\n[', ('text/cloud-config part-001',)),
            (b'#cloud-config\nusers: []\n', ('users',)),
        ):
            (self.machine.folder / 'applied').unlink(missing_ok=True)
            self.assertEqual(left, self.machine.boot(content).left)
        self.assertFalse(list(self.folder.rglob('pwned')))

    def test_units_of_others(self):
        other = {
            'path': '/etc/systemd/system/other.service',
            'content': '[Service]\nExecStart=/usr/local/sbin/setup\n',
        }
        script = 'echo ran >> "$OSC_GPU_ROOT/ran"'
        self.boot(script, other, runcmd=[['systemctl', 'start',
                                          'other.service']])  # fmt: skip
        self.assertEqual('ran\n', self.read('ran'))

    def test_program_of_the_machine(self):
        # ExecStart is looked up on the guest's own disk.
        outcome = self.boot('', {
            'path': UNIT,
            'content': '[Service]\nExecStart=/../../bin/touch\n',
        })  # fmt: skip
        self.assertEqual(1, outcome.boots)

    def test_console(self):
        outcome = self.boot('echo hello >> "$OSC_GPU_ROOT/dev/ttyS0"')
        self.assertEqual(
            '[    0.0] Linux version 5.14.0-570.12.1.el9_6.x86_64\nhello\n',
            outcome.console,
        )

    def test_each_boot(self):
        script = 'echo boot >> "$OSC_GPU_ROOT/boots"'
        for number in (1, 2, 3):
            self.boot(script)
            self.assertEqual('boot\n' * number, self.read('boots'))

    def test_not_enabled(self):
        script = 'echo boot >> "$OSC_GPU_ROOT/boots"'
        content = user_data(script).replace(b'- enable\n', b'- show\n')
        self.machine.boot(content)
        self.machine.boot(content)
        self.assertEqual('boot\n', self.read('boots'))

    def test_reboots(self):
        outcome = self.boot("""\
            [ -e "$OSC_GPU_ROOT/once" ] || systemctl reboot
            touch "$OSC_GPU_ROOT/once"
        """)
        self.assertEqual(2, outcome.boots)
        self.assertEqual(2, outcome.console.count('Linux version'))
        with self.assertRaisesRegex(errors.SandboxError, '4 times in a row'):
            self.machine.root.joinpath('usr/local/sbin/setup').write_text(
                '#!/bin/bash\nsystemctl reboot\n'
            )
            self.machine.boot(b'')

    def test_no_end(self):
        with (
            mock.patch.object(guest_machine, '_LIMIT', 0.5),
            self.assertRaisesRegex(errors.SandboxError, 'not ended within'),
        ):
            self.boot('echo $$ > "$OSC_GPU_ROOT/pid"; sleep 60')
        with self.assertRaises(ProcessLookupError):
            os.kill(int(self.read('pid')), 0)

    def test_broken_user_data(self):
        with self.assertRaisesRegex(errors.SandboxError, 'cannot be read'):
            self.machine.boot(b'\x1f\x8b')

    def test_missing_tool(self):
        with (
            mock.patch.object(guest_disk, '_TOOLS', ('no-such-tool',)),
            self.assertRaisesRegex(errors.SandboxError, 'no-such-tool'),
        ):
            guest_machine.Machine(self.folder / 'other').install(
                guest_systems.SYSTEMS['rocky-9'], 'i'
            )


class TestSetting(unittest.TestCase):
    def test_found(self):
        content = (
            b"#cloud-config\nwrite_files: [x, {path: /a/b, content: "
            b"\"# c\\nONE='1 2'\\nTWO=3\\n\"}]\n"
        )
        for name, value in (('ONE', '1 2'), ('TWO', '3'), ('THREE', '')):
            self.assertEqual(
                value, guest_machine.setting(content, 'a/b', name)
            )
        self.assertEqual('', guest_machine.setting(content, 'a/c', 'ONE'))
        for content in (b'', b'\x1f\x8b', b'#!/bin/sh'):
            self.assertEqual('', guest_machine.setting(content, 'a', 'ONE'))


class TestSystems(unittest.TestCase):
    def test_os_release(self):
        for name, system in guest_systems.SYSTEMS.items():
            distro, _dash, version = name.rpartition('-')
            self.assertIn(f'\nID={distro}\n', system.os_release)
            self.assertIn(f'\nVERSION_ID="{version}', system.os_release)
            # What takes the place of a variable of that name.
            self.assertIn('\nVERSION="', system.os_release)
