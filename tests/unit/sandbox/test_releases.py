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

from collections.abc import Callable
from collections.abc import Mapping
import contextlib
import io
import itertools
import json
import os
import pathlib
import re
import sys
import tempfile
from typing import Any
import unittest
from unittest import mock

from osc_gpu.sandbox import errors
from osc_gpu.sandbox import locks
from osc_gpu.sandbox import processes
from osc_gpu.sandbox import progress
from osc_gpu.sandbox import releases
from osc_gpu.sandbox import steps

PYTHON = '{}.{}'.format(*sys.version_info[:2])
EVERYTHING = ['venv', 'pip', 'services.template']


class FakeRunner:
    """Stands in for venv, pip and the maker of the template."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.commands: list[list[str]] = []
        self.fail = ''

    def __call__(
        self,
        command: list[str],
        log: pathlib.Path,
        folder: pathlib.Path,
        told: Callable[[str], None] = lambda line: None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        step = command[2]
        self.steps.append(step)
        self.commands.append(command)
        if step == 'venv':
            target = pathlib.Path(command[3])
            (target / 'bin').mkdir(parents=True)
            (target / 'lib' / f'python{PYTHON}' / 'site-packages').mkdir(
                parents=True
            )
            (target / 'bin' / 'python').symlink_to(sys.executable)
            script = f'#!{target}/bin/python\n'
            (target / 'bin' / 'nova-manage').write_text(script)
            (target / 'pyvenv.cfg').write_text('home = /usr\n')
        elif step == 'services.template':
            os.mkdir(command[3])
            pathlib.Path(command[3], 'nova.sqlite').write_text('new')
        else:
            told('Collecting nova==1')
            told('Installing collected packages: nova')
        if step == self.fail:
            raise errors.SandboxError(f'{step} failed')


class ReleasesTestCase(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.cache = pathlib.Path(folder.name)
        self.patch(
            mock.patch.dict(os.environ, {'XDG_CACHE_HOME': folder.name})
        )
        self.output = io.StringIO()
        self.place = releases.installation('2026.2')

    def patch(self, patcher: Any) -> Any:
        self.addCleanup(patcher.stop)
        return patcher.start()


class TestEnsure(ReleasesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.runner = FakeRunner()
        self.patch(mock.patch.object(steps, 'run', self.runner))

    def ensure(self) -> list[str]:
        """Install, and return the steps that it took."""
        self.runner.steps.clear()
        report = progress.Progress(self.output)
        self.assertEqual(self.place, releases.ensure('2026.2', report))
        self.assertTrue(releases.is_complete('2026.2'))
        return list(self.runner.steps)

    def folders(self) -> list[str]:
        return sorted(os.listdir(self.place.folder.parent))

    def test_once(self) -> None:
        self.assertFalse(releases.is_complete('2026.2'))
        self.assertEqual(EVERYTHING, self.ensure())
        self.assertEqual([], self.ensure())

        name = f'2026.2-py{PYTHON}'
        self.assertEqual([name, f'{name}.lock', f'{name}.log'], self.folders())
        self.assertTrue((self.place.template / 'nova.sqlite').exists())
        self.assertEqual(
            [
                f'Installing OpenStack 2026.2 into {self.place.folder}, once',
                '  virtual environment',
                f'  {self.pins()} packages',
                '  empty databases',
            ],
            self.output.getvalue().splitlines(),
        )

    def pins(self) -> int:
        text = releases.constraints_file('2026.2').read_text()
        return sum(line[0] != '#' for line in text.splitlines())

    def test_scripts_name_their_final_place(self) -> None:
        self.ensure()

        script = self.place.venv / 'bin' / 'nova-manage'
        self.assertEqual(f'#!{self.place.python}\n', script.read_text())
        self.assertTrue(self.place.python.is_symlink())

    def test_pip_is_told_the_constraints(self) -> None:
        self.ensure()

        command = self.runner.commands[1]
        self.assertEqual('install', command[3])
        index = command.index(
            f'--constraint={releases.constraints_file("2026.2")}'
        )
        self.assertEqual(list(releases.PACKAGES), command[index + 1 :])

    def test_partial(self) -> None:
        for step in EVERYTHING:
            with self.subTest(step):
                self.runner.fail = step
                with self.assertRaises(errors.SandboxError):
                    self.ensure()
                self.assertFalse(releases.is_complete('2026.2'))
                self.assertFalse(self.place.folder.exists())
                self.assertFalse([n for n in self.folders() if 'tmp' in n])
        self.runner.fail = ''
        self.assertEqual(EVERYTHING, self.ensure())

    def test_leftovers_of_a_crash(self) -> None:
        left = self.place.folder.with_name(f'{self.place.folder.name}.tmp-x')
        left.mkdir(parents=True)
        (self.place.folder / 'venv').mkdir(parents=True)
        self.assertEqual(EVERYTHING, self.ensure())
        self.assertFalse(left.exists())

    def test_damaged_marker(self) -> None:
        self.ensure()
        marker = self.place.folder / 'installed.json'
        for content in ('', '[]', '{}', '{"venv": "x"}'):
            with self.subTest(content):
                marker.write_text(content)
                self.assertEqual(EVERYTHING, self.ensure())

    def test_python_gone(self) -> None:
        self.ensure()
        self.place.python.unlink()
        self.place.python.symlink_to('/nowhere/python')
        self.assertEqual(EVERYTHING, self.ensure())

    def test_other_packages(self) -> None:
        self.ensure()
        packages = (*releases.PACKAGES, 'more')
        with mock.patch.object(releases, 'PACKAGES', packages):
            self.assertFalse(releases.is_complete('2026.2'))
            self.assertEqual(EVERYTHING, self.ensure())

    def test_other_constraints(self) -> None:
        self.ensure()
        file = self.cache / 'constraints.txt'
        file.write_text('nova==1\n')
        with mock.patch.object(
            releases, 'constraints_file', lambda release, extra='': file
        ):
            self.assertEqual(EVERYTHING, self.ensure())

    def test_other_template(self) -> None:
        self.ensure()
        (self.place.template / 'nova.sqlite').write_text('old')
        (self.place.template / 'left').touch()
        with mock.patch.object(
            releases,
            '_template_sources',
            autospec=True,
            return_value=['other'],
        ):
            self.assertEqual(['services.template'], self.ensure())
            # The environment stays, and makes its own new template.
            self.assertEqual(
                str(self.place.python), self.runner.commands[-1][0]
            )
            self.assertEqual([], self.ensure())
        self.assertEqual(['nova.sqlite'], os.listdir(self.place.template))
        content = (self.place.template / 'nova.sqlite').read_text()
        self.assertEqual('new', content)

    def test_failing_template_keeps_the_environment(self) -> None:
        self.ensure()
        with mock.patch.object(
            releases,
            '_template_sources',
            autospec=True,
            return_value=['other'],
        ):
            self.runner.fail = 'services.template'
            with self.assertRaises(errors.SandboxError):
                self.ensure()
            self.runner.fail = ''
            self.assertEqual(['services.template'], self.ensure())

    def test_in_use(self) -> None:
        self.ensure()
        packages = (*releases.PACKAGES, 'more')
        with (
            mock.patch.object(releases, 'PACKAGES', packages),
            mock.patch.object(
                processes, 'using', autospec=True, return_value=[42]
            ),
        ):
            with self.assertRaisesRegex(
                errors.SandboxError, r'a running sandbox uses it \(process 42'
            ):
                self.ensure()
        self.assertTrue(releases.is_complete('2026.2'))

    def test_another_installation_under_way(self) -> None:
        real = locks.exclusive

        def exclusive(path: pathlib.Path, waiting: Any) -> Any:
            waiting(42)
            # The other one ends while this one waits.
            with mock.patch.object(locks, 'exclusive', real):
                self.ensure()
            return contextlib.nullcontext()

        with mock.patch.object(locks, 'exclusive', exclusive):
            releases.ensure('2026.2', progress.Progress(self.output))

        self.assertEqual(EVERYTHING, self.runner.steps)
        self.assertEqual(
            'Waiting for another installation (process 42)',
            self.output.getvalue().splitlines()[0],
        )

    def test_wrong_python(self) -> None:
        with mock.patch.object(sys, 'version_info', (3, 14, 1)):
            with self.assertRaises(errors.SandboxError) as caught:
                releases.ensure('2026.2', progress.Progress(self.output))
        self.assertEqual(
            'Python 3.14 cannot run the services; use 3.11, 3.12, 3.13',
            str(caught.exception),
        )
        self.assertEqual([], self.runner.steps)


class TestExtra(ReleasesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.runner = FakeRunner()
        self.patch(mock.patch.object(steps, 'run', self.runner))
        releases.ensure('2026.2', progress.Progress(io.StringIO()))
        self.runner.commands.clear()
        self.runner.steps.clear()

    def ensure(self) -> releases.Installation:
        return releases.ensure(
            '2026.2', progress.Progress(self.output), 'heat'
        )

    def test_beside_its_release(self) -> None:
        release = self.place
        place = self.ensure()

        name = f'2026.2-heat-py{PYTHON}'
        self.assertEqual(release.folder.with_name(name), place.folder)
        self.assertEqual(['venv', 'pip'], self.runner.steps)
        self.assertEqual(
            f'{release.site_packages}\n',
            (place.site_packages / 'release.pth').read_text(),
        )
        self.assertEqual(
            [
                f'--constraint={releases.constraints_file("2026.2", "heat")}',
                f'--constraint={releases.constraints_file("2026.2")}',
                'openstack-heat',
            ],
            self.runner.commands[1][-3:],
        )
        self.assertEqual(
            f'Installing heat of OpenStack 2026.2 into {place.folder}, once',
            self.output.getvalue().splitlines()[0],
        )
        # It is complete, and nobody takes it for the release.
        self.assertTrue(releases.is_complete('2026.2', 'heat'))
        self.assertTrue(releases.is_complete('2026.2'))
        self.ensure()
        self.assertEqual(['venv', 'pip'], self.runner.steps)

    def test_anew_with_its_release(self) -> None:
        self.ensure()
        packages = (*releases.PACKAGES, 'more')
        with mock.patch.object(releases, 'PACKAGES', packages):
            self.assertFalse(releases.is_complete('2026.2', 'heat'))


class TestData(unittest.TestCase):
    def test_constraints_of_every_release(self) -> None:
        for release in releases.RELEASES:
            with self.subTest(release):
                text = releases.constraints_file(release).read_text()
                lines = [x for x in text.splitlines() if x[0] != '#']
                for line in lines:
                    self.assertRegex(line, r'^[A-Za-z0-9._-]+==[^=\s]+( ;|$)')
                pinned = {
                    re.sub('[._]', '-', line.split('==')[0].lower())
                    for line in lines
                }
                for package in releases.PACKAGES:
                    name = package.split('<')[0].lower()
                    self.assertIn(name, pinned)
                self.assertIn('setuptools', pinned)
                self.assertIn('Apache License', text)

    def test_constraints_of_every_extra(self) -> None:
        for release, extra in itertools.product(
            releases.RELEASES, releases.EXTRAS
        ):
            with self.subTest(release=release, extra=extra):
                own = self.pins(releases.constraints_file(release, extra))
                below = self.pins(releases.constraints_file(release))
                self.assertLessEqual({*releases.EXTRAS[extra]}, {*own})
                # pip would have to choose.
                self.assertEqual(set(), {*own} & {*below})

    def pins(self, path: pathlib.Path) -> list[str]:
        return [
            re.sub('[._]', '-', line.split('==')[0].lower())
            for line in path.read_text().splitlines()
            if line[0] != '#'
        ]

    def test_template_depends_on_what_it_imports(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            services = pathlib.Path(folder, 'services')
            services.mkdir()
            (services / 'template.py').write_text(
                'import os\nfrom services import common\n'
            )
            (services / 'common.py').write_text(
                'from services import template'
            )
            (services / 'other.py').write_text('no')
            with mock.patch.object(releases, '_HERE', services.parent):
                sources = releases._template_sources('template')
        self.assertEqual(
            [
                'from services import template',
                'import os\nfrom services import common\n',
            ],
            sources,
        )

    def test_cache_folder(self) -> None:
        for environ, folder in (
            ({'XDG_CACHE_HOME': '/xdg', 'HOME': '/home/ann'}, '/xdg'),
            ({'XDG_CACHE_HOME': 'xdg', 'HOME': '/home/ann'},
             '/home/ann/.cache'),
            ({'HOME': '/home/ann'}, '/home/ann/.cache'),
        ):  # fmt: skip
            with mock.patch.dict(os.environ, environ, clear=True):
                place = releases.installation('2025.1')
            self.assertEqual(
                f'{folder}/osc-gpu/releases/2025.1-py{PYTHON}',
                str(place.folder),
            )

    def test_marker_is_json_of_two_fingerprints(self) -> None:
        found = releases.fingerprints('2025.1')
        self.assertEqual({'venv', 'template'}, set(found))
        self.assertEqual(found, json.loads(json.dumps(found)))
        self.assertNotEqual(found, releases.fingerprints('2025.2'))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestProgress(unittest.TestCase):
    def test_lines_only(self) -> None:
        stream = io.StringIO()
        report = progress.Progress(stream)
        report.step('one')
        report.live('half')
        report.clear()
        report.step('two')
        self.assertEqual('one\ntwo\n', stream.getvalue())

    def test_terminal(self) -> None:
        stream = Terminal()
        report = progress.Progress(stream)
        report.step('one')
        report.live('x' * 500)
        report.step('two')
        report.clear()
        with mock.patch.dict(os.environ, {'COLUMNS': '10'}):
            report.live('y' * 500)
        before, after = stream.getvalue().split('two\n')
        self.assertRegex(before, r'^one\n\r\x1b\[Kx+\r\x1b\[K$')
        self.assertEqual('\r\x1b[K' + 'y' * 9, after)
