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

"""Real commands against a running sandbox, and the truth beside them.

The sandbox is that of ``OSC_GPU_SANDBOX_STATE``; ``tools/with_sandbox.py``
starts one for a test run, or one for each of its workers. What a command says
is compared with Placement's API, with Nova's database and with what the
guests' libvirt has, never with another command of ours.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import fcntl
import functools
import itertools
import json
import os
import pathlib
import sqlite3
import subprocess
import sys
import time
from typing import Any
from typing import TextIO
import unittest

import openstack
from openstack import connection

from osc_gpu.sandbox import control
from osc_gpu.sandbox import spec as specs

BIN = pathlib.Path(sys.executable).parent
LIMIT = 90.0

#: Seconds; the sandbox's update_resources_interval (6 s), and more than as
#: much again for a busy machine, whose updates of all hosts take their time.
PERIOD = 15

_numbers = itertools.count(1)


def _claim_sandbox() -> TextIO | None:
    """Take a sandbox that no other worker has, for as long as we live."""
    folders = os.environ.get('OSC_GPU_TEST_SANDBOXES')
    for folder in folders.split(os.pathsep) if folders else ():
        claim = open(pathlib.Path(folder, 'claimed'), 'a')
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            claim.close()
            continue
        os.environ['OSC_GPU_SANDBOX_STATE'] = folder
        return claim
    if folders:
        raise RuntimeError(f'more workers than sandboxes: {folders}')
    return None


_claim = _claim_sandbox()


@dataclasses.dataclass(frozen=True)
class Result:
    """What one process left behind."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


def environment(**more: str) -> dict[str, str]:
    """Return our environment without any cloud, and what is added to it."""
    clean = {k: v for k, v in os.environ.items() if k[:3] != 'OS_'}
    return clean | {'COLUMNS': '200'} | more


def cloud_of(state: pathlib.Path, user: str = 'admin') -> dict[str, str]:
    """Return what tells the client to be a user of a sandbox."""
    return {
        'OS_CLIENT_CONFIG_FILE': str(specs.clouds_path(state)),
        'OS_CLOUD': specs.cloud(user),
    }


def begin(
    *argv: str, env: Mapping[str, str], **more: Any
) -> subprocess.Popen[Any]:
    """Begin ``openstack <argv>`` in a process of its own.

    :param env: the cloud, as ``cloud_of`` returns it
    :param more: for Popen, where it is to be otherwise
    """
    usual = {
        'stdin': subprocess.DEVNULL,
        'stdout': subprocess.PIPE,
        'stderr': subprocess.PIPE,
        'text': True,
    }
    return subprocess.Popen(
        [str(BIN / 'openstack'), *argv],
        env=environment(**env),
        **usual | more,
    )


def run(*argv: str, limit: float = LIMIT, **env: str) -> Result:
    """Run one of the environment's programs; nothing is waited for longer."""
    done = subprocess.run(
        [str(BIN / argv[0]), *argv[1:]],
        env=environment(**env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def wait_until(
    what: str, check: Callable[[], Any], limit: float = LIMIT
) -> Any:
    """Wait for a state and return what the check found; fail with a name."""
    deadline, pause = time.monotonic() + limit, 0.1
    while not (found := check()):
        if time.monotonic() > deadline:
            raise AssertionError(f'{what}: not within {limit:.0f} s')
        time.sleep(pause)
        # Looking costs the sandbox what it needs to get on.
        pause = min(pause * 1.5, 1.0)
    return found


class TestCase(unittest.TestCase):
    """A sandbox with an admin and a tenant, furnished and running."""

    def setUp(self) -> None:
        super().setUp()
        self.maxDiff = None
        self.state = specs.state_folder()
        found = specs.read(self.state)
        if found is None:
            self.fail(f'no sandbox in {self.state}: see tools/with_sandbox.py')
        self.spec: specs.Spec = found

    # What people type.

    def openstack(self, *argv: str, user: str = 'admin') -> Result:
        """Run ``openstack <argv>`` as a user of the sandbox."""
        return run('openstack', *argv, **cloud_of(self.state, user))

    def ok(self, *argv: str, user: str = 'admin') -> Result:
        """Run a command that must succeed."""
        result = self.openstack(*argv, user=user)
        self.assertEqual(0, result.status, f'{argv}: {result}')
        return result

    def table(self, *argv: str, user: str = 'admin') -> Any:
        """Run a command that must succeed; return what ``-f json`` gave."""
        return self.ok(*argv, '-f', 'json', user=user).json

    def fails(self, *argv: str, user: str = 'admin', status: int = 1) -> str:
        """Run a command that must fail with one line; return that line."""
        result = self.openstack(*argv, user=user)
        self.assertEqual(status, result.status, f'{argv}: {result}')
        self.assertEqual('', result.stdout)
        self.assertNotIn('Traceback', result.stderr)
        line = result.stderr.strip()
        if status == 1:
            self.assertEqual(1, len(line.splitlines()), line)
        return line

    # What a test makes, and takes away again.

    @staticmethod
    def name(stem: str) -> str:
        """Return a name that no other test of this run uses."""
        return f'{stem}-{os.getpid()}-{next(_numbers)}'

    def make_flavor(self, *request: str, name: str = 'flavor') -> str:
        """Create a small GPU flavor with our command; return its name."""
        name = self.name(name)
        sizes = ('--vcpus', '2', '--ram', '1024', '--disk', '1')
        self.ok('gpu', 'flavor', 'create', name, *sizes, *request)
        self.addCleanup(self.forget_flavor, name)
        return name

    def forget_flavor(self, name: str) -> None:
        """Delete a flavor, if it is there."""
        flavor = self.admin.compute.find_flavor(
            name, get_extra_specs=False, ignore_missing=True
        )
        if flavor:
            self.admin.compute.delete_flavor(flavor, ignore_missing=True)

    def make_server(
        self, flavor: str, *more: str, user: str = 'member'
    ) -> dict[str, Any]:
        """Launch a GPU server with our command and wait; return its fields."""
        name = self.name('server')
        self.addCleanup(self.forget_servers, name)
        server: dict[str, Any] = self.table(
            'gpu', 'server', 'create', name, '--flavor', flavor,
            '--image', 'cirros', '--network', 'private', '--wait', *more,
            user=user,
        )  # fmt: skip
        return server

    def forget_servers(self, name: str) -> None:
        """Delete all servers with that name and wait until they are gone."""

        def present() -> list[Any]:
            servers = self.admin.compute.servers(
                details=False, all_projects=True, name=f'^{name}'
            )
            return list(servers)

        for server in present():
            self.admin.compute.delete_server(server, ignore_missing=True)
        wait_until(f'{name} gone', lambda: not present())

    # The truth.

    @functools.cached_property
    def admin(self) -> connection.Connection:
        """An SDK connection of the admin, beside the commands under test."""
        clouds = specs.clouds(self.spec)
        return openstack.connect(load_envvars=False, **clouds['sandbox-admin'])

    def placement(self, path: str) -> Any:
        """GET something from Placement itself."""
        response = self.admin.placement.get(path, microversion='1.39')
        self.assertEqual(200, response.status_code, response.text)
        return response.json()

    def allocations(self, consumer: str) -> dict[str, dict[str, int]]:
        """Return what a consumer holds: provider name -> class -> amount."""
        held = self.placement(f'/allocations/{consumer}')['allocations']
        names = {
            p['uuid']: p['name']
            for p in self.placement('/resource_providers')[
                'resource_providers'
            ]
        }
        return {names[uuid]: a['resources'] for uuid, a in held.items()}

    def pci_addresses(self, server: str) -> list[str]:
        """Return the PCI addresses that Nova's database gives a server."""
        path = self.state / 'db' / 'nova.sqlite'
        uri = f'file:{path}?mode=ro'
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
            rows = database.execute(
                'SELECT address FROM pci_devices'
                " WHERE instance_uuid = ? AND status = 'allocated'"
                ' AND deleted = 0 ORDER BY address',
                [server],
            )
            return [row[0] for row in rows]

    @property
    def control(self) -> control.Control:
        """The sandbox's control API."""
        return control.Control(self.spec)

    def guest(self, server: str) -> dict[str, Any]:
        """Return what a server's guest really has, and on which ``host``."""
        found = [
            guest | {'host': host}
            for host, guests in self.control.guests().items()
            for guest in guests
            if guest['uuid'] == server
        ]
        self.assertEqual(1, len(found), found)
        return found[0]

    @contextlib.contextmanager
    def fault(self, **fault: Any) -> Iterator[None]:
        """Set a fault for the time of a test."""
        self.control.set_fault(fault)
        try:
            yield
        finally:
            self.control.clear_faults()
