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
"""A cloud that fails in the middle: nothing is left half-made, one line."""

import contextlib
import functools
import signal
import socket
import threading

from osc_gpu.sandbox import spec as specs
from tests.functional import base
from tests.functional import wire

SIZES = ('--vcpus', '1', '--ram', '512', '--disk', '1')


def closed_port():
    """Return a port of the loopback that nobody listens on."""
    with contextlib.closing(socket.socket()) as free:
        free.bind((specs.ADDRESS, 0))
        return free.getsockname()[1]


class TestCase(wire.TestCase):
    def setUp(self):
        super().setUp()
        self.flavor = self.name('half')
        self.addCleanup(self.forget_flavor, self.flavor)
        self.create = (
            'gpu', 'flavor', 'create', self.flavor, *SIZES,
            '--alias', 'a100', '--property', 'hw:maxphysaddr_mode=emulate',
        )  # fmt: skip

    def stored(self):
        """Return the flavor's extra specs; None when there is no flavor."""
        found = self.admin.compute.find_flavor(
            self.flavor, get_extra_specs=True, ignore_missing=True
        )
        return found and found.extra_specs

    def fail_at(self, words, verdict, times=1):
        """Do something to the first requests with all these words."""
        left = [verdict] * times

        def decide(request):
            if left and all(word in request for word in words):
                return left.pop()
            return None

        self.nova.decide = decide


class TestNoKeystone(TestCase):
    def test_said_and_done(self):
        url = f'http://{specs.ADDRESS}:{closed_port()}/v3'
        line = self.fails('--os-auth-url', url, *self.create)
        self.assertIn(f'Unable to establish connection to {url}', line)
        self.assertIsNone(self.stored())


class TestNovaFails(TestCase):
    def test_before_anything(self):
        for verdict, words in (
            (500, 'HTTP 500'),
            (503, 'HTTP 503'),
            (wire.CUT, 'the connection was cut'),
            # Nova did it, and nobody heard: it must not stay.
            (wire.LOSE, 'the connection was cut'),
        ):
            with self.subTest(verdict):
                self.fail_at(['POST /flavors'], verdict)
                line = self.fails(*self.create)
                self.assertIn(words, line)
                self.assertIsNone(self.stored())

    def test_between_flavor_and_extra_specs(self):
        for verdict, words in (
            (409, 'Conflict'),
            (500, 'HTTP 500'),
            (503, 'HTTP 503'),
            (wire.CUT, 'the connection was cut'),
            (wire.LOSE, 'the connection was cut'),
        ):
            with self.subTest(verdict):
                self.fail_at(['POST', '/os-extra_specs'], verdict)
                line = self.fails(*self.create)
                self.assertIn(words, line)
                self.assertIn(f'the new flavor {self.flavor} is removed', line)
                self.assertIsNone(self.stored())

    def test_removing_it_fails_too(self):
        self.nova.decide = lambda request: (
            503 if 'os-extra_specs' in request or 'DELETE' in request else None
        )
        line = self.fails(*self.create)
        self.assertIn(f'flavor {self.flavor} is left without its GPU', line)
        self.assertEqual({}, self.stored())
        # What it says to type does it.
        command = line.rpartition('remove it with ')[2].split()
        self.assertEqual(['openstack', 'flavor', 'delete'], command[:3])
        self.nova.decide = lambda request: None
        self.ok(*command[1:])
        self.assertIsNone(self.stored())

    def test_set_says_how_to_finish(self):
        self.ok(*self.create)
        before = self.stored()
        arguments = (
            'gpu', 'flavor', 'set', self.flavor, '--alias', 'a100:2',
            '--property', 'hw:maxphysaddr_mode=passthrough',
        )  # fmt: skip
        # Nothing was done yet: it says so by saying no more than why.
        self.fail_at(['POST', '/os-extra_specs'], 503)
        line = self.fails(*arguments)
        self.assertIn('HTTP 503', line)
        self.assertEqual(before, self.stored())

        posts = []

        def decide(request):
            if 'POST' in request:
                posts.append(request)
                if len(posts) == 2:
                    return wire.CUT
            return None

        self.nova.decide = decide
        line = self.fails(*arguments)
        done = before | {'pci_passthrough:alias': 'a100:2'}
        self.assertEqual(done, self.stored())
        command = line.rpartition('to finish: ')[2].split()
        self.ok(*command[1:])
        done |= {'hw:maxphysaddr_mode': 'passthrough'}
        self.assertEqual(done, self.stored())

    def test_lists_and_shows(self):
        for argv in (
            ('gpu', 'flavor', 'list'),
            ('gpu', 'flavor', 'show', 'any'),
            ('gpu', 'server', 'list'),
            ('gpu', 'server', 'show', 'any'),
        ):
            for verdict, words in (
                (503, 'HTTP 503'),
                (wire.CUT, 'the connection was cut'),
            ):
                with self.subTest(argv, verdict=verdict):
                    self.fail_at([], verdict, times=99)
                    line = self.fails(*argv)
                    self.assertIn(self.nova.address, line)
                    self.assertIn(words, line)

    def test_server_that_cannot_be_watched(self):
        self.nova.decide = lambda request: None
        self.ok(*self.create)
        name = self.name('unseen')
        self.addCleanup(self.forget_servers, name)

        def decide(request):
            made = 'POST /servers' in self.nova.requests
            return 503 if made and 'GET /servers/' in request else None

        self.nova.decide = decide
        line = self.fails(
            'gpu', 'server', 'create', name, '--flavor', self.flavor,
            '--image', 'cirros', '--network', 'private', '--wait',
        )  # fmt: skip
        (server,) = self.admin.compute.servers(name=name, all_projects=True)
        self.assertIn(server.id, line)
        self.assertIn('HTTP 503', line)


class TestInterrupted(TestCase):
    """The client itself is stopped while Nova has but half of it."""

    def stop_halfway(self, number):
        held, go_on = threading.Event(), threading.Event()

        def decide(request):
            if 'POST' in request and 'os-extra_specs' in request:
                held.set()
                go_on.wait(base.LIMIT)
                return wire.CUT
            return None

        self.nova.decide = decide
        client = base.begin(
            *self.create,
            env={
                'OS_CLIENT_CONFIG_FILE': self.clouds,
                'OS_CLOUD': specs.cloud('admin'),
            },
            # Whoever runs the tests may have Ctrl-C ignored.
            preexec_fn=functools.partial(
                signal.signal, signal.SIGINT, signal.SIG_DFL
            ),
        )
        try:
            self.assertTrue(held.wait(base.LIMIT), 'no extra specs posted')
            self.assertEqual({}, self.stored())
            client.send_signal(number)
            stdout, stderr = client.communicate(timeout=base.LIMIT)
        finally:
            go_on.set()
            client.kill()
            client.wait()
        self.nova.decide = lambda request: None
        return base.Result(client.returncode, stdout, stderr)

    def test_interrupts_leave_nothing(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number):
                result = self.stop_halfway(number)
                self.assertEqual((1, ''), (result.status, result.stdout))
                self.assertNotIn('Traceback', result.stderr)
                self.assertIn('Interrupted', result.stderr)
                self.assertIn('is removed again', result.stderr)
                self.assertIsNone(self.stored())

    def test_killed(self):
        """Nothing can be done about it then; what is left can be healed."""
        result = self.stop_halfway(signal.SIGKILL)
        self.assertEqual(-signal.SIGKILL, result.status)
        self.assertEqual({}, self.stored())
        line = self.fails(*self.create)
        self.assertIn(f'Flavor with name {self.flavor} already exists', line)
        self.assertIn(f'openstack gpu flavor set {self.flavor}', line)
        self.ok('gpu', 'flavor', 'set', *self.create[3:4], *self.create[-4:])
        self.assertEqual(
            {
                'pci_passthrough:alias': 'a100:1',
                'hw:maxphysaddr_mode': 'emulate',
            },
            self.stored(),
        )


class TestNoPlacement(wire.TestCase):
    def test_unreachable(self):
        url = f'http://{specs.ADDRESS}:{closed_port()}'
        self.clouds = self.write_clouds(placement_endpoint_override=url)
        line = self.fails('gpu', 'inventory', 'list')
        self.assertIn(f'Cannot reach {url}', line)
        self.assertIn('Connection refused', line)

    def test_not_in_the_catalogue(self):
        placement = next(
            service
            for service in self.admin.identity.services(type='placement')
        )
        self.admin.identity.update_service(placement, is_enabled=False)
        self.addCleanup(
            self.admin.identity.update_service, placement, is_enabled=True
        )
        line = self.fails('gpu', 'inventory', 'list')
        self.assertIn('catalogue has no placement service', line)
        self.assertEqual([], self.nova.requests)
