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
"""The real shell against the real cloud, without a process for each run.

For what tests ask often. Launches have a process each, as core's code for
them keeps things between runs.
"""

import contextlib
import io
import logging
import os
import sys
from unittest import mock
import warnings

from openstackclient import shell
from osc_lib import clientmanager

from osc_gpu.sandbox import spec as specs
from tests.functional import base


class TestCase(base.TestCase):
    """Run commands in this process, unless they launch servers."""

    def openstack(self, *argv: str, user: str = 'admin') -> base.Result:
        if argv[:3] == ('gpu', 'server', 'create'):
            return super().openstack(*argv, user=user)
        clouds = str(specs.clouds_path(self.state))
        return run(clouds, specs.cloud(user), *argv)


def run(clouds: str, cloud: str, *argv: str) -> base.Result:
    """Run ``openstack <argv>`` with a cloud of a clouds.yaml."""
    env = base.environment(OS_CLIENT_CONFIG_FILE=clouds, OS_CLOUD=cloud)
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, env, clear=True))
        for name, stream in (
            ('stdin', io.StringIO()),
            ('stdout', stdout),
            ('stderr', stderr),
        ):
            stack.enter_context(mock.patch.object(sys, name, stream))
        # It keeps clients on the class, with the first user's token.
        stack.enter_context(
            mock.patch.object(clientmanager.ClientCache, '__get__', _fresh)
        )
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(_own_logging())
        try:
            status = shell.OpenStackShell().run(list(argv))
        except SystemExit as exc:
            status = int(exc.code or 0)
    return base.Result(status or 0, stdout.getvalue(), stderr.getvalue())


def _fresh(cache, instance, owner):
    return cache.factory(instance)


@contextlib.contextmanager
def _own_logging():
    """Let the shell set up logging as in a new process, and undo it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
