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
import dataclasses
import io
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import tempfile
from typing import Any
import unittest
from unittest import mock

import yaml

from osc_gpu.sandbox import commands
from osc_gpu.sandbox import control
from osc_gpu.sandbox import errors
from osc_gpu.sandbox import lifecycle
from osc_gpu.sandbox import processes
from osc_gpu.sandbox import releases
from osc_gpu.sandbox import shell
from osc_gpu.sandbox import spec as specs
from osc_gpu.sandbox import topology


@dataclasses.dataclass(frozen=True)
class Result:
    status: int
    stdout: str
    stderr: str


class ShellTestCase(unittest.TestCase):
    def setUp(self) -> None:
        self.maxDiff = None
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(os.path.realpath(folder.name))
        self.state = self.folder / 'state'
        environ = {'HOME': folder.name, 'COLUMNS': '80',
                   'OSC_GPU_SANDBOX_STATE': str(self.state)}  # fmt: skip
        self.patch(mock.patch.dict(os.environ, environ, clear=True))

    def patch(self, patcher: Any) -> Any:
        self.addCleanup(patcher.stop)
        return patcher.start()

    def run_shell(self, *words: str) -> Result:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = shell.main(words)
            except SystemExit as exc:
                status = int(exc.code or 0)
        return Result(status, out.getvalue(), err.getvalue())

    def ok(self, *words: str) -> str:
        result = self.run_shell(*words)
        self.assertEqual((0, ''), (result.status, result.stderr))
        return result.stdout

    def refused(self, *words: str, status: int = 1) -> str:
        """Return the last line of a refusal, without the program's name."""
        result = self.run_shell(*words)
        self.assertEqual(status, result.status, result)
        self.assertEqual('', result.stdout)
        return result.stderr.splitlines()[-1].partition(': ')[2]

    def make_running(self) -> specs.Spec:
        """Let a sandbox of two hosts and two users look as if it ran."""
        wanted = topology.Topology(
            (topology.Host('gpu1'), topology.Host('gpu2'))
        )
        spec = specs.make('2026.2', self.state, self.folder, wanted)
        self.state.mkdir(exist_ok=True)
        specs.write(spec)
        found = [processes.Process(42, 'nova_all')]
        self.find = self.patch(
            mock.patch.object(
                processes, 'find', autospec=True, return_value=found
            )
        )
        return spec


class TestUsage(ShellTestCase):
    def test_wrong(self) -> None:
        for line, message in (
            ('', 'error: the following arguments are required: <command>'),
            ('upp', "invalid choice: 'upp'"),
            ('fault', 'required: <action>'),
            ('host kill', 'required: <host>'),
            ('up --release 2024.1', "invalid choice: '2024.1'"),
            ('up --hosts 0', '--hosts: 0 is not between 1 and 250'),
            ('up --hosts 251', '--hosts: 251 is not between 1 and 250'),
            ('up --hosts two', "--hosts: 'two' is no whole number"),
            ('up --hosts \u0663', 'is no whole number'),
            ('up --hosts 2 --topology x', 'not allowed with argument'),
            ('up --port-base 65531', '65531 is not between 1 and 65530'),
            (
                'up --pci-in-placement --no-pci-in-placement',
                'not allowed with argument',
            ),
            ('fault set boot', "invalid choice: 'boot'"),
            ('fault set spawn --error oops', "invalid choice: 'oops'"),
            ('fault set spawn --times 0', '0 is not between 1 and 1000000'),
            ('install --all --release 2025.1', 'not allowed with argument'),
            ('up --with swift', "invalid choice: 'swift'"),
            ('status -f yaml', "invalid choice: 'yaml'"),
            ('guest say', 'required: <server>'),
            ('guest boot s --spoil all', "invalid choice: 'all'"),
            ('guest boot s --os beos-5', "invalid choice: 'beos-5'"),
        ):
            with self.subTest(line):
                result = self.run_shell(*line.split())
                self.assertEqual(2, result.status)
                self.assertIn(message, result.stderr.splitlines()[-1])

    def test_help_of_everything(self) -> None:
        for line in (
            '', 'up', 'down', 'status', 'env', 'fault', 'fault set',
            'fault list', 'fault clear', 'host', 'host kill', 'host start',
            'guest', 'guest say', 'guest boot', 'install',
        ):  # fmt: skip
            with self.subTest(line):
                text = self.ok(*line.split(), '--help')
                self.assertIn(f'usage: osc-gpu-sandbox {line}'.strip(), text)

    def test_light(self) -> None:
        # What takes time to import is for those who need it.
        code = (
            'import sys; from osc_gpu.sandbox import shell; '
            'shell.make_parser(); '
            "print({'openstack', 'yaml', 'requests', 'keystoneauth1'} "
            '& set(sys.modules))'
        )
        found = subprocess.run(
            [sys.executable, '-c', code],
            capture_output=True,
            check=True,
            text=True,
            env={'PYTHONPATH': os.pathsep.join(sys.path)},
        )
        self.assertEqual('set()', found.stdout.strip())


class TestUp(ShellTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.up = self.patch(mock.patch.object(lifecycle, 'up', autospec=True))
        self.up.side_effect = lambda wanted, report: specs.make(
            wanted.release, wanted.state, self.folder, wanted.topology
        )

    def wanted(self) -> lifecycle.Wanted:
        wanted = self.up.call_args.args[0]
        assert isinstance(wanted, lifecycle.Wanted)
        return wanted

    def test_default(self) -> None:
        lines = self.ok('up').splitlines()

        self.assertEqual(
            lifecycle.Wanted(
                self.state, topology.load(topology.DEFAULT), '2026.2', None
            ),
            self.wanted(),
        )
        self.assertRegex(
            lines[0],
            r'^OpenStack 2026\.2 is up after \d+ s: 6 hosts, 12 cards$',
        )
        self.assertEqual(
            [
                'eval "$(osc-gpu-sandbox env)"',
                'eval "$(osc-gpu-sandbox env --user member)"',
                'openstack gpu inventory list',
                'osc-gpu-sandbox down',
            ],
            [line.partition('#')[0].strip() for line in lines[1:]],
        )

    def test_hints_name_the_state_folder(self) -> None:
        state = f'{self.folder}/a b'
        text = self.ok('up', '--state', state)
        self.assertIn(f"  osc-gpu-sandbox down --state '{state}'  ", text)
        self.assertIn(f"env --state '{state}' --user member)", text)

    def test_no_hint_without_users(self) -> None:
        file = self.folder / 'cloud.yaml'
        file.write_text('hosts: [{name: a}]\nusers: []\n')
        self.assertNotIn('--user', self.ok('up', '--topology', str(file)))

    def test_options(self) -> None:
        file = self.folder / 'cloud.yaml'
        file.write_text('hosts: [{name: a}]')
        self.ok(
            'up', '--topology', str(file), '--release', '2025.1',
            '--port-base', '20000', '--no-pci-in-placement',
        )  # fmt: skip
        wanted = self.wanted()
        self.assertEqual('2025.1', wanted.release)
        self.assertEqual(20000, wanted.port_base)
        self.assertEqual(('a',), tuple(h.name for h in wanted.topology.hosts))
        self.assertFalse(wanted.topology.pci_in_placement)

    def test_with_heat(self) -> None:
        self.ok('up', '--with', 'heat', '--with', 'heat')
        self.assertEqual(('heat',), self.wanted().extras)

    def test_pci_in_placement_after_all(self) -> None:
        file = self.folder / 'cloud.yaml'
        file.write_text('hosts: [{name: a}]\npci_in_placement: false\n')
        self.ok('up', '--topology', str(file))
        self.assertFalse(self.wanted().topology.pci_in_placement)
        self.ok('up', '--topology', str(file), '--pci-in-placement')
        self.assertTrue(self.wanted().topology.pci_in_placement)

    def test_hosts(self) -> None:
        self.ok('up', '--hosts', '20')
        self.assertEqual(topology.from_pattern(20), self.wanted().topology)

    def test_wrong_topology(self) -> None:
        file = self.folder / 'cloud.yaml'
        file.write_text('hosts:\n- name: A\n')
        self.assertEqual(
            f"{file}: hosts[0].name: 'A' is no host name; use lower-case "
            "letters, digits, '.', '_' and '-', as gpu1 (line 2)",
            self.refused('up', '--topology', str(file)),
        )
        self.up.assert_not_called()
        self.assertFalse(self.state.exists())

    def test_running_already(self) -> None:
        self.up.side_effect = lifecycle.Running('already up: x', same=True)
        self.assertEqual('already up: x\n', self.ok('up'))
        self.up.side_effect = lifecycle.Running('another one', same=False)
        self.assertEqual('another one', self.refused('up'))

    def test_end_of_a_log(self) -> None:
        self.up.side_effect = errors.SandboxError('see x.log:\n  a\n  b')
        result = self.run_shell('up')
        self.assertEqual(1, result.status)
        self.assertEqual(
            'osc-gpu-sandbox: see x.log:\n  a\n  b\n', result.stderr
        )

    def test_refused_by_the_system(self) -> None:
        for error, message in (
            (OSError(28, 'No space left', '/x/y'), '/x/y: No space left'),
            (OSError(28, 'No space left', b'/x'), '/x: No space left'),
            (OSError(28, 'No space left'), 'No space left'),
            (OSError('a\nb'), 'a b'),
            (TimeoutError(), 'TimeoutError'),
        ):
            with self.subTest(message):
                self.up.side_effect = error
                result = self.run_shell('up')
                self.assertEqual(
                    Result(1, '', f'osc-gpu-sandbox: {message}\n'), result
                )

    def test_interrupted(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with self.subTest(number):
                cleaned: list[int] = []

                def up(wanted: Any, report: Any) -> None:
                    try:
                        os.kill(os.getpid(), number)
                    finally:
                        # A second one does not disturb the cleaning up.
                        os.kill(os.getpid(), number)
                        cleaned.append(number)

                # Whoever runs the tests may have it ignored.
                given = signal.signal(number, signal.SIG_DFL)
                self.addCleanup(signal.signal, number, given)
                before = signal.getsignal(number)
                self.up.side_effect = up
                result = self.run_shell('up')
                self.assertEqual(128 + number, result.status)
                self.assertEqual(
                    'osc-gpu-sandbox: interrupted\n', result.stderr
                )
                self.assertEqual([number], cleaned)
                self.assertEqual(before, signal.getsignal(number))


class TestStatus(ShellTestCase):
    def test_none(self) -> None:
        result = self.run_shell('status')
        self.assertEqual(3, result.status)
        self.assertEqual(
            f'No sandbox is running in {self.state}\n'
            'Start one with: osc-gpu-sandbox up\n',
            result.stdout,
        )

    def test_ended(self) -> None:
        spec = self.make_running()
        self.find.return_value = []
        result = self.run_shell('status')
        self.assertIn(f'Logs of the last one: {spec.logs}', result.stdout)
        self.assertEqual(3, result.status)
        result = self.run_shell('status', '-f', 'json')
        self.assertEqual(3, result.status)
        self.assertEqual('stopped', json.loads(result.stdout)['status'])

    def found(self, state: str) -> specs.Spec:
        spec = self.make_running()
        services = (
            {'name': 'identity', 'pid': 7, 'port': 5000, 'state': 'ready',
             'log': '/l'},
            {'name': 'image', 'pid': None, 'port': 9292, 'state': 'ended',
             'log': '/l'},
        )  # fmt: skip
        found = lifecycle.Status(state, spec, services, {'gpu1': 'up'})
        self.patch(
            mock.patch.object(
                lifecycle, 'status', autospec=True, return_value=found
            )
        )
        return spec

    def test_running(self) -> None:
        spec = self.found('running')
        lines = self.ok('status').splitlines()
        self.assertEqual(
            [
                'OpenStack 2026.2, running',
                f'Address  {spec.auth_url}',
                f'State    {self.state}',
                f'Logs     {self.state}/logs',
                'SERVICE   PID  PORT  STATE',
                'identity  7    5000  ready',
                'image     -    9292  ended',
                'HOST  STATE',
                'gpu1  up',
            ],
            lines[:9],
        )
        self.assertIn('osc-gpu-sandbox down', lines[-1])

    def test_in_part(self) -> None:
        self.found('partial')
        result = self.run_shell('status')
        self.assertEqual(1, result.status)
        self.assertIn('OpenStack 2026.2, running in part', result.stdout)
        self.assertIn("End the rest with 'down'", result.stdout)

    def test_json(self) -> None:
        spec = self.found('running')
        data = json.loads(self.ok('status', '-f', 'json'))
        self.assertEqual(
            {
                'status': 'running',
                'state': str(self.state),
                'release': '2026.2',
                'auth_url': spec.auth_url,
                'logs': f'{self.state}/logs',
                'clouds': f'{self.state}/clouds.yaml',
                'hosts': {'gpu1': 'up'},
            },
            {key: data[key] for key in data if key != 'services'},
        )
        self.assertIsNone(data['services'][1]['pid'])


class TestDown(ShellTestCase):
    def test_messages(self) -> None:
        with mock.patch.object(
            lifecycle, 'down', autospec=True, side_effect=[5, 0]
        ):
            self.assertEqual('Ended; 5 processes\n', self.ok('down'))
            self.assertEqual(
                f'No sandbox was running in {self.state}\n', self.ok('down')
            )


class TestEnv(ShellTestCase):
    def exports(self, *words: str) -> dict[str, str]:
        """Let a shell read the lines, as a user would."""
        text = self.ok('env', *words)
        done = subprocess.run(
            ['sh', '-c', f'{text}\nenv'],
            check=True,
            capture_output=True,
            text=True,
        )
        pairs = (line.partition('=') for line in done.stdout.splitlines())
        return {key: value for key, _sign, value in pairs}

    def test_admin_and_others(self) -> None:
        self.state = self.folder / "it's a $HOME"
        os.environ['OSC_GPU_SANDBOX_STATE'] = str(self.state)
        self.make_running()
        found = self.exports()
        self.assertEqual('sandbox-admin', found['OS_CLOUD'])
        self.assertEqual(
            f'{self.state}/clouds.yaml', found['OS_CLIENT_CONFIG_FILE']
        )
        self.assertEqual(
            'sandbox-member', self.exports('--user', 'member')['OS_CLOUD']
        )

    def test_variables_in_the_way(self) -> None:
        self.make_running()
        os.environ |= {
            'OS_USERNAME': 'me',
            'OS_AUTH_URL': 'http://prod',
            'OS_PROJECT_ID': 'x',
            'OS_VOLUME_API_VERSION': '2',
            'OS_STDOUT_CAPTURE': '1',
        }
        found = self.exports()
        self.assertEqual(
            {'OS_CLOUD', 'OS_CLIENT_CONFIG_FILE', 'OS_STDOUT_CAPTURE'},
            {key for key in found if key.startswith('OS_')},
        )

    def test_proxy_in_the_way(self) -> None:
        self.make_running()
        self.assertNotIn('no_proxy', self.ok('env'))
        os.environ |= {'HTTP_PROXY': 'http://p', 'no_proxy': 'local'}
        found = self.exports()
        self.assertEqual('local,127.0.0.1', found['no_proxy'])
        self.assertEqual('local,127.0.0.1', found['NO_PROXY'])
        os.environ['no_proxy'] = '127.0.0.1,local'
        self.assertNotIn('no_proxy', self.ok('env'))

    def test_unknown_user(self) -> None:
        self.make_running()
        self.assertEqual(
            '--user: there is no bob; users are admin, member',
            self.refused('env', '--user', 'bob'),
        )

    def test_written(self) -> None:
        spec = self.make_running()
        file = self.folder / 'clouds.yaml'
        self.assertEqual('', self.ok('env', '--write-clouds', str(file)))
        content = yaml.safe_load(file.read_text())
        self.assertEqual({'clouds': specs.clouds(spec)}, content)

    def test_not_running(self) -> None:
        message = f"no sandbox is running in {self.state}; start one with 'up'"
        for line in ('env', 'fault list', 'fault clear', 'fault set spawn',
                     'host kill gpu1', 'host start gpu1'):  # fmt: skip
            with self.subTest(line):
                self.assertEqual(message, self.refused(*line.split()))


class TestControl(ShellTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.make_running()
        factory = self.patch(
            mock.patch.object(control, 'Control', autospec=True)
        )
        self.control = factory.return_value
        self.control.set_fault.side_effect = lambda order: (
            {'id': 1, 'hits': 0, 'seconds': 30.0} | dict(order)
        )

    def test_fault_set(self) -> None:
        self.assertEqual(
            'ID  POINT  ERROR    SERVER  HOST  TIMES  HITS  SECONDS\n'
            '1   spawn  libvirt  -       -     1      0     -\n',
            self.ok('fault', 'set', 'spawn'),
        )
        self.control.set_fault.assert_called_once_with(
            {'point': 'spawn', 'server': None, 'host': None,
             'error': 'libvirt', 'times': 1}
        )  # fmt: skip

    def test_fault_set_with_all(self) -> None:
        line = 'source --server s1 --host gpu1 --error slow --times 3'
        for more, seconds in (('', 30), (' --seconds 5', 5)):
            self.ok('fault', 'set', *shlex.split(line + more))
            self.control.set_fault.assert_called_with(
                {'point': 'source', 'server': 's1', 'host': 'gpu1',
                 'error': 'slow', 'times': 3, 'seconds': seconds}
            )  # fmt: skip

    def test_fault_refused(self) -> None:
        self.assertEqual(
            '--seconds goes with --error slow only',
            self.refused('fault', 'set', 'spawn', '--seconds', '3'),
        )
        self.assertEqual(
            '--host: there is no x; hosts are gpu1, gpu2',
            self.refused('fault', 'set', 'spawn', '--host', 'x'),
        )
        self.control.set_fault.assert_not_called()
        self.control.set_fault.side_effect = errors.SandboxError('no luck')
        self.assertEqual('no luck', self.refused('fault', 'set', 'spawn'))

    def test_fault_list(self) -> None:
        fault = {'id': 2, 'point': 'spawn', 'error': 'slow', 'server': 's',
                 'host': None, 'times': 1, 'hits': 1,
                 'seconds': 9}  # fmt: skip
        self.control.faults.return_value = [fault]
        self.assertEqual(
            '2   spawn  slow   s       -     1      1     9',
            self.ok('fault', 'list').splitlines()[1],
        )
        self.assertEqual(
            [fault], json.loads(self.ok('fault', 'list', '-f', 'json'))
        )
        self.control.faults.return_value = []
        self.assertEqual(
            'ID  POINT  ERROR  SERVER  HOST  TIMES  HITS  SECONDS\n',
            self.ok('fault', 'list'),
        )

    def test_fault_clear(self) -> None:
        self.assertEqual('', self.ok('fault', 'clear'))
        self.control.clear_faults.assert_called_once_with()

    def test_hosts(self) -> None:
        for action, state in (('kill', 'down'), ('start', 'up')):
            self.control.change_host.return_value = state
            self.assertEqual(
                f'gpu2 is {state}\n', self.ok('host', action, 'gpu2')
            )
            self.control.change_host.assert_called_with('gpu2', action)
        self.assertEqual(
            'host: there is no x; hosts are gpu1, gpu2',
            self.refused('host', 'kill', 'x'),
        )


class TestInstall(ShellTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ensure = self.patch(
            mock.patch.object(releases, 'ensure', autospec=True)
        )
        self.ensure.side_effect = lambda release, report, extra='': (
            releases.Installation(
                release, pathlib.Path('/cache', release), extra
            )
        )

    def installed(self, *words: str) -> list[str]:
        return [
            line.split()[1] for line in self.ok('install', *words).splitlines()
        ]

    def test_which(self) -> None:
        self.assertEqual(['2026.2'], self.installed())
        self.assertEqual(list(releases.RELEASES), self.installed('--all'))
        self.assertEqual(
            ['2025.2', '2025.1'],
            self.installed(
                '--release', '2025.2', '--release', '2025.1',
                '--release', '2025.2',
            ),
        )  # fmt: skip

    def test_text(self) -> None:
        self.assertEqual(
            'OpenStack 2026.2 is in /cache/2026.2\n', self.ok('install')
        )

    def test_with_heat(self) -> None:
        self.assertEqual(
            'OpenStack 2025.1 is in /cache/2025.1\n'
            'heat of OpenStack 2025.1 is in /cache/2025.1\n',
            self.ok('install', '--release', '2025.1', '--with', 'heat'),
        )


class TestPipe(ShellTestCase):
    def test_reader_gone(self) -> None:
        # As with `osc-gpu-sandbox status | head -1`.
        read, write = os.pipe()
        os.close(read)
        found = subprocess.run(
            [sys.executable, '-m', 'osc_gpu.sandbox.shell', 'status'],
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
        )
        os.close(write)
        self.assertEqual((1, ''), (found.returncode, found.stderr))

    def test_no_room(self) -> None:
        with open('/dev/full', 'wb') as full:
            found = subprocess.run(
                [sys.executable, '-m', 'osc_gpu.sandbox.shell', 'status'],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
            )
        self.assertEqual(
            (1, 'osc-gpu-sandbox: No space left on device\n'),
            (found.returncode, found.stderr),
        )


class TestExit(unittest.TestCase):
    def test_of_status(self) -> None:
        self.assertEqual(
            {'running': 0, 'partial': 1, 'stopped': 3}, commands._EXIT
        )
