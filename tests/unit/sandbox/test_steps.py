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

import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any
import unittest
from unittest import mock

from osc_gpu.sandbox import errors
from osc_gpu.sandbox import steps


class TestRun(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_python(self, code: str, **more: Any) -> pathlib.Path:
        log = self.folder / 'log'
        command = [sys.executable, '-S', '-c', code]
        steps.run(command, log, self.folder, **more)
        return log

    def test_output_is_logged_and_told(self) -> None:
        lines: list[str] = []
        log = self.run_python(
            'import os; os.write(1, b"a\\n\\xff\\n"); os.write(2, b"b\\n")',
            told=lines.append,
        )
        self.assertEqual('a\n\ufffd\nb\n', log.read_text())
        self.assertEqual(['a\n', '\ufffd\n', 'b\n'], lines)

    def test_failure_shows_the_end_of_the_log(self) -> None:
        with self.assertRaises(errors.SandboxError) as caught:
            self.run_python(
                'for n in range(50): print(n)\nraise SystemExit(3)'
            )
        lines = str(caught.exception).splitlines()
        self.assertIn(f'failed, see {self.folder / "log"}:', lines[-16])
        self.assertEqual(['  48', '  49'], lines[-2:])

    def test_environment(self) -> None:
        unwanted = dict.fromkeys(
            (
                'PYTHONPATH', 'PYTHONHOME', 'VIRTUAL_ENV', 'PIP_USER',
                'PIP_TARGET', 'PIP_CONSTRAINT', 'PIP_NO_DEPS', 'PIP_QUIET',
            ),
            '/x',
        )  # fmt: skip
        wanted = dict.fromkeys(
            ('PIP_INDEX_URL', 'PIP_CERT', 'PIP_FIND_LINKS', 'HTTPS_PROXY'),
            '/x',
        )
        with mock.patch.dict(os.environ, unwanted | wanted):
            with mock.patch.object(
                subprocess, 'Popen', autospec=True
            ) as started:
                process = started.return_value.__enter__.return_value
                process.wait.return_value = 0
                process.stdout = []
                self.run_python('')
        environ = started.call_args.kwargs['env']
        self.assertEqual(set(wanted), {*wanted} & {*environ})
        self.assertEqual(set(), {*unwanted} & {*environ})

    def test_interrupted(self) -> None:
        def told(line: str) -> None:
            raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            self.run_python(
                'import time; print("x", flush=True); time.sleep(60)',
                told=told,
            )

    def test_no_such_log(self) -> None:
        self.assertEqual(
            '  (No such file or directory)',
            errors.tail(self.folder / 'missing'),
        )
