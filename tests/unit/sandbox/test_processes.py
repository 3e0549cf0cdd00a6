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

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

from osc_gpu.sandbox import errors
from osc_gpu.sandbox import locks
from osc_gpu.sandbox import processes

SLEEP = 'import time; time.sleep(60)'
STUBBORN = (
    'import signal, sys, time; '
    'signal.signal(signal.SIGTERM, signal.SIG_IGN); '
    "print('ready', flush=True); time.sleep(60)"
)
#: its command line becomes one word, as setproctitle leaves it
RETITLED = 'exec -a "python -m services.neutron_api $0" cat'


class ProcessTestCase(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        # A path that a pattern and a shell would misread.
        self.state = pathlib.Path(os.path.realpath(folder.name), "a+ 'b")
        self.state.mkdir()
        self.spec = self.state / 'sandbox.json'
        self.children: list[subprocess.Popen[bytes]] = []
        self.addCleanup(self.kill_all)

    def kill_all(self) -> None:
        for child in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.communicate()

    def spawn(self, *words: str, **more: bool) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            **({'start_new_session': True} | more),
        )
        self.children.append(child)
        return child

    def service(
        self, code: str = SLEEP, module: str = 'keystone_api', **more: bool
    ) -> subprocess.Popen[bytes]:
        """Start a stand-in for a service of the sandbox."""
        child = self.spawn(
            sys.executable, '-I', '-S', '-c', code,
            '-m', f'services.{module}', str(self.spec), **more,
        )  # fmt: skip
        if 'ready' in code:
            assert child.stdout is not None
            child.stdout.readline()
        # Popen returns a moment before the kernel shows the command line.
        self.assertTrue(
            processes.wait_until(lambda: self.has_started(child), 5)
        )
        return child

    def has_started(self, child: subprocess.Popen[bytes]) -> bool:
        pids = [process.pid for process in processes.find(self.spec)]
        return child.pid in pids or child.poll() is not None


class TestFind(ProcessTestCase):
    def test_by_command_line(self) -> None:
        one = self.service()
        two = self.service(module='nova_all')

        self.assertCountEqual(
            [
                processes.Process(one.pid, 'keystone_api'),
                processes.Process(two.pid, 'nova_all'),
            ],
            processes.find(self.spec),
        )

    def test_not_what_is_somebody_elses(self) -> None:
        code = [sys.executable, '-I', '-S', '-c', SLEEP]
        # An editor with the file open, another sandbox, a longer path.
        self.spawn(*code, str(self.spec))
        self.spawn(*code, '-m', 'services.x', f'{self.spec}.bak')
        self.spawn(*code, '-m', 'services.x', f'/x{self.spec}')
        self.spawn(*code, '-m', 'services', str(self.spec))
        self.spawn(*code, '-m', 'services.x', str(self.spec), 'more')

        self.assertEqual([], processes.find(self.spec))

    def test_with_a_title_of_its_own(self) -> None:
        child = self.spawn('bash', '-c', RETITLED, str(self.spec))

        def found() -> bool:
            return processes.find(self.spec) == [
                processes.Process(child.pid, 'neutron_api')
            ]

        self.assertTrue(processes.wait_until(found, 5))

    def test_not_of_another_user(self) -> None:
        self.service()
        with mock.patch.object(
            os, 'getuid', autospec=True, return_value=os.getuid() + 1
        ):
            self.assertEqual([], processes.find(self.spec))

    def test_not_a_zombie(self) -> None:
        child = self.spawn(
            sys.executable, '-I', '-S', '-c', 'pass',
            '-m', 'services.x', str(self.spec),
        )  # fmt: skip
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        self.assertEqual([], processes.find(self.spec))

    def test_users_of_an_environment(self) -> None:
        child = self.service()
        folder = pathlib.Path(sys.executable).parent
        self.assertIn(child.pid, processes.using(folder))
        self.assertNotIn(os.getpid(), processes.using(folder))
        self.assertEqual([], processes.using(self.state))


class TestEnd(ProcessTestCase):
    def test_nothing(self) -> None:
        self.assertEqual(0, processes.end(self.spec))

    def test_at_once(self) -> None:
        children = [self.service() for _each in range(3)]
        began = time.monotonic()

        self.assertEqual(3, processes.end(self.spec, children))
        self.assertLess(time.monotonic() - began, 1.0)
        for child in children:
            self.assertEqual(-signal.SIGTERM, child.returncode)
        self.assertEqual([], processes.find(self.spec))

    def test_child_without_a_command_line_yet(self) -> None:
        child = self.service()
        with mock.patch.object(
            processes, 'find', autospec=True, return_value=[]
        ):
            self.assertEqual(1, processes.end(self.spec, [child]))
        self.assertEqual(-signal.SIGTERM, child.returncode)

    def test_ignoring_sigterm(self) -> None:
        child = self.service(STUBBORN)

        self.assertEqual(1, processes.end(self.spec, [child], grace=0.2))
        self.assertEqual(-signal.SIGKILL, child.returncode)

    def test_not_a_child(self) -> None:
        # As after a crash: the process belongs to nobody who could reap it.
        line = (
            f'{sys.executable} -I -S -c "{SLEEP}" -m services.x "$0" '
            '</dev/null >/dev/null 2>&1 &'
        )
        subprocess.run(['bash', '-c', line, str(self.spec)], check=True)
        self.assertTrue(
            processes.wait_until(lambda: bool(processes.find(self.spec)), 5)
        )

        self.assertEqual(1, processes.end(self.spec))
        self.assertEqual([], processes.find(self.spec))

    def test_group_of_its_own_goes_along(self) -> None:
        code = (
            'import subprocess, sys, time\n'
            "child = subprocess.Popen(['sleep', '60'])\n"
            "print('ready', child.pid, flush=True)\n"
            'time.sleep(60)\n'
        )
        child = self.spawn(
            sys.executable, '-I', '-S', '-c', code,
            '-m', 'services.x', str(self.spec),
        )  # fmt: skip
        assert child.stdout is not None
        helper = int(child.stdout.readline().split()[1])

        processes.end(self.spec, [child])

        def gone() -> bool:
            try:
                stat = pathlib.Path(f'/proc/{helper}/stat').read_text()
            except FileNotFoundError:
                return True
            return stat.rsplit(')', 1)[1].split()[0] == 'Z'

        self.assertTrue(processes.wait_until(gone, 5))

    def test_group_of_others_stays(self) -> None:
        # Started by hand in the group of a shell, which must survive.
        code = (
            f'{sys.executable} -I -S -c "{SLEEP}" -m services.x "$0" '
            '>/dev/null & echo ready; sleep 60'
        )
        shell = self.spawn('bash', '-c', code, str(self.spec))
        assert shell.stdout is not None
        shell.stdout.readline()
        self.assertTrue(
            processes.wait_until(lambda: bool(processes.find(self.spec)), 5)
        )

        self.assertEqual(1, processes.end(self.spec))
        self.assertIsNone(shell.poll())

    def test_unkillable(self) -> None:
        child = self.service()
        with (
            mock.patch.object(processes, '_send', autospec=True),
            mock.patch.object(processes, 'KILL_LIMIT', 0.0),
        ):
            with self.assertRaisesRegex(
                errors.SandboxError, f'after SIGKILL: process {child.pid}$'
            ):
                processes.end(self.spec, grace=0.0)


class TestStart(ProcessTestCase):
    def test_surroundings(self) -> None:
        package = self.state / 'services'
        package.mkdir()
        (package / 'probe.py').write_text(
            'import os, sys\nprint(sys.argv[1:], os.getcwd(), os.getsid(0) '
            '== os.getpid(), sys.stdin.read(), sorted(os.environ))\n'
        )
        log = self.state / 'logs' / 'probe.log'
        environ = {'PATH': '/bin', 'OS_CLOUD': 'x', 'HTTP_PROXY': 'x',
                   'PYTHONDONTWRITEBYTECODE': '1', 'HOME': '/'}  # fmt: skip
        with (
            mock.patch.dict(os.environ, environ, clear=True),
            mock.patch.object(processes, '_HERE', self.state),
        ):
            child = processes.start(
                pathlib.Path(sys.executable), 'probe', self.spec, log
            )
        self.assertEqual(0, child.wait(10), log.read_text())

        environ = ['HOME', 'LANG', 'PATH', 'PYTHONPATH', 'PYTHONSAFEPATH']
        self.assertEqual(
            f'{[str(self.spec)]} {self.state} True  {environ}\n',
            log.read_text(),
        )


class TestLocks(ProcessTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.lock = self.state / 'deep' / 'lock'

    def test_alone(self) -> None:
        for _again in range(2):
            with locks.exclusive(self.lock):
                self.assertEqual(str(os.getpid()), self.lock.read_text())
        self.assertEqual('', self.lock.read_text())

    def test_held(self) -> None:
        with locks.exclusive(self.lock):
            with self.assertRaises(locks.Held) as caught:
                with locks.exclusive(self.lock):
                    self.fail('entered')
        self.assertEqual(os.getpid(), caught.exception.pid)

    def test_holder_unknown(self) -> None:
        for content in ('', 'x', str(2**30)):
            with self.subTest(content), locks.exclusive(self.lock):
                self.lock.write_text(content)
                with self.assertRaises(locks.Held) as caught:
                    with locks.exclusive(self.lock):
                        self.fail('entered')
                self.assertEqual(0, caught.exception.pid)

    def test_waiting(self) -> None:
        code = (
            'import fcntl, os, sys\n'
            "lock = open(sys.argv[1], 'w')\n"
            'fcntl.flock(lock, fcntl.LOCK_EX)\n'
            'lock.write(str(os.getpid()))\n'
            'lock.flush()\n'
            "print('held', flush=True)\n"
            'os.read(0, 1)\n'
        )
        self.lock.parent.mkdir()
        child = subprocess.Popen(
            [sys.executable, '-I', '-S', '-c', code, str(self.lock)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.addCleanup(child.communicate)
        assert child.stdout is not None
        child.stdout.readline()
        told = []

        def waiting(pid: int) -> None:
            told.append(pid)
            assert child.stdin is not None
            child.stdin.write(b'x')
            child.stdin.flush()

        with locks.exclusive(self.lock, waiting):
            self.assertEqual([child.pid], told)

    def test_not_inherited(self) -> None:
        with locks.exclusive(self.lock):
            self.spawn('sleep', '60')
        with locks.exclusive(self.lock):
            pass
