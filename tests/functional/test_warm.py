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

"""The forked client is the one of the console script."""

import os
import subprocess
import unittest

from tests.functional import base


class TestWarm(unittest.TestCase):
    def scripted(self, *argv, **env):
        clean = {k: v for k, v in os.environ.items() if k[:3] != 'OS_'}
        done = subprocess.run(
            [str(base.BIN / 'openstack'), *argv],
            env=clean | {'COLUMNS': '200'} | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        return base.Result(done.returncode, done.stdout, done.stderr)

    def test_no_different(self):
        for argv, env, status in (
            (['--version'], {}, 0),
            (['gpu', 'host', 'drain', '--help'], {}, 0),
            (['gpu', 'host', 'list', '--nonsense'], {}, 1),
            (['gpu', 'host', 'lst'], {}, 2),
            (['gpu', 'host', 'list'], {'OS_AUTH_URL': 'http://[::1]:9'}, 1),
            (['-v', 'gpu', 'host', 'list'], {'OS_CLOUD': 'nowhere'}, 1),
        ):
            with self.subTest(argv):
                found = base.run('openstack', *argv, **env)
                self.assertEqual(self.scripted(*argv, **env), found)
                self.assertEqual(status, found.status)

    def test_too_slow(self):
        with self.assertRaises(subprocess.TimeoutExpired):
            base.run('openstack', 'help', limit=0.001)

    def test_killed(self):
        command = base.start('help')
        command.kill()
        self.assertEqual((-9, '', ''), command.communicate(10))
