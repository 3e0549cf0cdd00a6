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
import importlib.util
import io
import os
import pathlib
import stat
import tempfile
from typing import Any
import unittest
from unittest import mock

DEMO = pathlib.Path(__file__).parents[3] / 'tools' / 'demo.py'

#: Stands in for every program: notes how it was called, and answers or
#: fails as files beside it say.
STAND_IN = """\
#!/bin/sh
cd "$(dirname "$0")"
name="$(basename "$0") $1"
echo "${OS_CLOUD--} $(basename "$0") $*" >> calls
cat "$name $2.out" "$name.out" 2> /dev/null
test ! -e "$name.fails"
"""

ENV = """\
unset OS_AUTH_URL
unset OS_USERNAME
export OS_CLIENT_CONFIG_FILE='/tmp/export a/unset b/clouds.yaml'
export OS_CLOUD=sandbox-admin
"""


def load() -> Any:
    spec = importlib.util.spec_from_file_location('demo', DEMO)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestDemo(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(os.path.realpath(folder.name))
        for name in ('openstack', 'osc-gpu-sandbox'):
            program = self.folder / name
            program.write_text(STAND_IN)
            program.chmod(stat.S_IRWXU)
        self.answer('osc-gpu-sandbox env', ENV)
        environ = {
            'PATH': os.environ['PATH'],
            'OS_USERNAME': 'me',
            'OS_AUTH_URL': 'http://prod',
        }
        patcher = mock.patch.dict(os.environ, environ, clear=True)
        patcher.start()
        self.addCleanup(patcher.stop)
        self.demo = load()
        self.demo.BIN = self.folder
        self.output = io.StringIO()

    def answer(self, words: str, text: str) -> None:
        (self.folder / f'{words}.out').write_text(text)

    def calls(self) -> list[str]:
        return (self.folder / 'calls').read_text().splitlines()

    def run_demo(self) -> str:
        with contextlib.redirect_stdout(self.output):
            self.demo.main()
        return self.output.getvalue()

    def failed(self) -> str:
        with (
            contextlib.redirect_stdout(self.output),
            self.assertRaises(SystemExit) as caught,
        ):
            self.demo.main()
        return str(caught.exception.code)

    def test_environment(self) -> None:
        self.run_demo()

        self.assertEqual(
            {
                'OS_CLIENT_CONFIG_FILE': '/tmp/export a/unset b/clouds.yaml',
                'OS_CLOUD': 'sandbox-admin',
            },
            {k: v for k, v in os.environ.items() if k.startswith('OS_')},
        )
        self.assertEqual(
            ['- osc-gpu-sandbox up', '- osc-gpu-sandbox env'],
            self.calls()[:2],
        )
        self.assertIn(
            'sandbox-member openstack gpu server create desk1 --gpu VGPU:1 '
            '--image cirros --network private --wait',
            self.calls(),
        )
        self.assertNotIn('earlier demo', self.output.getvalue())

    def test_another_sandbox_is_up(self) -> None:
        (self.folder / 'osc-gpu-sandbox up.fails').touch()

        message = self.failed()

        program = os.path.relpath(self.folder / 'osc-gpu-sandbox')
        self.assertEqual(
            f'demo: that failed; end that sandbox first: {program} down',
            message,
        )
        self.assertEqual(
            ['- osc-gpu-sandbox up', '- osc-gpu-sandbox status'], self.calls()
        )

    def test_none_comes_up(self) -> None:
        for command in ('up', 'status'):
            (self.folder / f'osc-gpu-sandbox {command}.fails').touch()
        self.assertEqual('demo: that failed', self.failed())

    def test_a_command_fails(self) -> None:
        (self.folder / 'openstack gpu.fails').touch()
        self.assertEqual('demo: that failed, exit status 1', self.failed())

    def test_after_an_earlier_demo(self) -> None:
        self.answer('openstack server list', 'mine\ndesk1\n')
        self.answer('openstack flavor list', 'a100.1\nm1.small\nvgpu.1\n')

        text = self.run_demo()

        self.assertEqual(
            [
                'sandbox-member openstack server delete --wait desk1',
                'sandbox-admin openstack flavor delete a100.1 vgpu.1',
            ],
            [call for call in self.calls() if ' delete ' in call],
        )
        for what, command in (
            ('Servers', 'openstack server delete --wait desk1'),
            ('Flavors', 'openstack flavor delete a100.1 vgpu.1'),
        ):
            self.assertIn(
                f'# {what} of an earlier demo go first.\n$ {command}\n', text
            )
