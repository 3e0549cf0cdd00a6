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
"""Guests in the sandbox: what they say, and what they boot with."""

from osc_gpu.guest import reports
from tests.functional import base
from tests.functional import shells


class TestCase(shells.TestCase):
    def sandbox(self, *argv):
        """Run ``osc-gpu-sandbox guest ...``; return what came of it."""
        state = {'OSC_GPU_SANDBOX_STATE': str(self.state)}
        return base.run('osc-gpu-sandbox', 'guest', *argv, **state)

    def done(self, *argv):
        result = self.sandbox(*argv)
        self.assertEqual((0, ''), (result.status, result.stderr), argv)
        return result.stdout

    def refused(self, *argv):
        result = self.sandbox(*argv)
        self.assertEqual((1, ''), (result.status, result.stdout), argv)
        return result.stderr.strip()

    def console(self, server):
        return self.ok('console', 'log', 'show', server, user='member').stdout

    def report(self, server):
        """Return the last report on the console."""
        return reports.find(self.console(server))


class TestSay(TestCase):
    def has(self, server, state):
        """Tell whether a server's guest is in a state.

        For a moment there is none: to start it Nova defines it anew.
        """
        return any(
            (guest['uuid'], guest['state']) == (server, state)
            for guests in self.control.guests().values()
            for guest in guests
        )

    def test_on_the_console(self):
        server = self.make_server(self.make_flavor('--alias', 'v100'))['id']
        self.assertEqual('', self.console(server).strip())
        self.assertIn('name one with --os', self.refused('boot', server))
        self.done('say', server, 'one "and" $(two)')
        self.done('say', server, 'three')
        self.assertEqual(
            'one "and" $(two)\nthree', self.console(server).strip()
        )

        # Only what runs speaks, and a new process has a new log.
        self.ok('server', 'stop', server, user='member')
        base.wait_until('off', lambda: self.has(server, 'shutoff'))
        self.assertIn('the guest is shutoff', self.refused('say', server, ''))
        self.assertIn('three', self.console(server))
        self.ok('server', 'start', server, user='member')
        base.wait_until('on', lambda: self.has(server, 'running'))
        self.assertEqual('', self.console(server).strip())

    def test_no_such_server(self):
        self.assertEqual(
            'osc-gpu-sandbox: no server a/b "c"?',
            self.refused('say', 'a/b "c"?', 'hello'),
        )


class TestBoot(TestCase):
    def make_driven_server(self, request, *more):
        flavor = self.make_flavor(*request)
        return self.make_server(flavor, '--guest-os', 'rocky-9', *more)['id']

    def test_gpus_of_the_guest(self):
        server = self.make_driven_server(
            ('--alias', 'v100:2'), '--driver', 'nvidia', '--cuda', '12.9',
            '--workload', 'smoke',
        )  # fmt: skip
        self.done('boot', server, '--spoil', 'silent')
        self.assertIn('Linux version', self.console(server))
        self.assertIsNone(self.report(server))

        text = self.done('boot', server)
        self.assertIn('System   rocky-9\nGPUs     2\nBoots    1\n', text)
        report = self.report(server)
        self.assertEqual([], reports.shortcomings(report, 2))
        self.assertEqual(2, len(self.guest(server)['devices']))
        self.assertEqual('12.9', report.cuda_toolkit)

        # The next boot is one of the same disk.
        self.done('boot', server, '--spoil', 'gpu-missing')
        report = self.report(server)
        self.assertEqual(1, len(report.pci))
        self.assertEqual('580.95.05', report.driver_version)

    def test_vgpu_of_the_guest(self):
        server = self.make_driven_server(
            ('--vgpu',), '--driver', 'nvidia-vgpu', '--driver-url',
            'https://mirror/NVIDIA-Linux-x86_64-550.144.03-grid.run',
        )  # fmt: skip
        self.done('boot', server)
        report = self.report(server)
        self.assertEqual([], reports.shortcomings(report, 1))
        self.assertEqual(
            ['NVIDIA Tesla M60 nvidia-11'], [gpu.name for gpu in report.gpus]
        )
