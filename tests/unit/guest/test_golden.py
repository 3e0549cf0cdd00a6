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

"""What each guest does, beside what it did when somebody last read it.

With ``OSC_GPU_GOLDEN=write`` in the environment the files are written anew.
"""

import os
import pathlib
import re
import stat

from osc_gpu.guest import systems
from tests.unit.guest import machines

GOLDEN = pathlib.Path(__file__).with_name('golden')

#: One order for each driver that has a bit of everything; an installer of
#: NVIDIA's own has a form for each family.
_URLS = {'apt': machines.DEB, 'dnf': machines.RPM}
_LICENSE = {'token': machines.TOKEN, 'feature': 'vcs'}


def variants(system):
    """Return name -> order of the guests that each system has a file of."""
    return {
        'nvidia': {
            'driver': 'nvidia',
            'version': '570.86.15',
            'cuda': '12.8',
            'workload': 'smoke',
        },
        'nvidia-open': {'driver': 'nvidia-open'},
        'nvidia-vgpu-run': {
            'driver': 'nvidia-vgpu',
            'url': machines.RUN,
            **_LICENSE,
        },
        'nvidia-vgpu-package': {
            'driver': 'nvidia-vgpu',
            'url': _URLS[system.family],
            **_LICENSE,
        },
        'amdgpu': {
            'driver': 'amdgpu',
            'version': '7.1.1',
            'workload': 'smoke',
        },
    }


def files(root):
    """Return path -> (mode, text) of what is in /etc."""
    return {
        str(path.relative_to(root)): (
            stat.S_IMODE(path.stat().st_mode),
            path.read_text(),
        )
        for path in sorted(root.glob('etc/**/*'))
        if path.is_file()
    }


class TestGolden(machines.TestCase):
    def check(self, distro):
        for system in systems.SYSTEMS:
            if system.distro == distro:
                for name, order in variants(system).items():
                    with self.subTest(f'{system} {name}'):
                        order = dict(order)
                        self.check_one(
                            f'{system}-{name}',
                            self.guest(
                                str(system), order.pop('driver'), **order
                            ),
                        )

    def check_one(self, name, guest):
        before = files(guest.machine.root)
        booted = guest.boot()
        self.assertEqual([], booted.problems)
        lines = ['# What is called', *booted.calls, '']
        for path, found in files(guest.machine.root).items():
            if before.get(path) != found:
                mode, text = found
                lines += [f'# /{path} {mode:04o}', *text.splitlines(), '']
        text = re.sub(r'/tmp/tmp\.\w+', '/tmp/tmp.X', '\n'.join(lines))
        self.compare(GOLDEN / f'{name}.txt', text)

    def compare(self, path, text):
        if os.environ.get('OSC_GPU_GOLDEN') == 'write':
            path.write_text(text)
        self.assertEqual(path.read_text(), text)

    def test_ubuntu(self):
        self.check('ubuntu')

    def test_debian(self):
        self.check('debian')

    def test_rhel(self):
        self.check('rhel')

    def test_rocky(self):
        self.check('rocky')

    def test_almalinux(self):
        self.check('almalinux')

    def test_no_file_is_of_nothing(self):
        self.assertEqual(
            {
                f'{system}-{name}.txt'
                for system in systems.SYSTEMS
                for name in variants(system)
            },
            {path.name for path in GOLDEN.iterdir()},
        )
