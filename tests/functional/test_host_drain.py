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
import signal
import tempfile

from osc_gpu.sandbox import processes
from osc_gpu.sandbox import spec as specs
from tests.functional import base
from tests.functional import killing
from tests.functional import shells
from tests.functional import truth

_WAIT = ('--wait', str(base.PERIOD))

#: Requests of a drain of three servers after which it is killed: while it
#: looks around, while servers move, and while the last ones are settled.
_POINTS = (
    (24, killing.AFTER),
    (47, killing.BEFORE),
    (70, killing.AFTER),
)

_ONE = truth.Wanted(devices=1)


class TestDrain(shells.TestCase):
    """A host of the default topology, and one more with the same cards."""

    def setUp(self):
        super().setUp()
        flavor = self.make_flavor('--alias', 'a100:1')
        self.server = self.make_server(flavor)['id']
        self.home = self.host_of(self.server)
        self.other = 'gpu2' if self.home == 'gpu1' else 'gpu1'
        self.addCleanup(self.enable, self.home)
        self.drain = ('gpu', 'host', 'drain', self.home, *_WAIT)

    def host_of(self, server):
        return truth.read(self, server).host

    def service(self, host):
        (found,) = self.admin.compute.services(
            binary='nova-compute', host=host
        )
        return found

    def enable(self, host):
        self.admin.compute.put(
            f'/os-services/{self.service(host).id}',
            json={'status': 'enabled'},
            microversion='2.53',
        )

    def assert_whole(self, host):
        found = truth.read(self, self.server)
        self.assertEqual([], truth.troubles(found, _ONE))
        self.assertEqual(host, found.host)
        problems = [
            row
            for row in self.openstack(
                'gpu', 'inventory', 'check', '-f', 'json'
            ).json
            if self.server in row['Subject']
        ]
        self.assertEqual([], problems)

    def start(self):
        """Begin a drain in a process of its own."""
        process = base.begin(*self.drain, env=base.cloud_of(self.state))
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def wait_until_begun(self):
        base.wait_until(
            'migration', lambda: truth.read(self, self.server).migrations
        )

    def test_there_and_back(self):
        plan = self.table(*self.drain, '--dry-run')
        self.assertEqual('enabled', self.service(self.home).status)
        (row,) = [r for r in plan if r['Target'] == self.other]
        self.assertEqual('a100:1', row['GPU Request'])

        rows = self.table(*self.drain, '--reason', 'fan')
        found = {row['ID']: row for row in rows}[self.server]
        self.assertEqual(
            (self.home, self.other, 'migrated'),
            tuple(found[k] for k in ('From Host', 'To Host', 'Result')),
        )
        self.assert_whole(self.other)
        service = self.service(self.home)
        self.assertEqual('disabled', service.status)
        self.assertTrue(service.disabled_reason.endswith(': fan'))

        rows = self.table(
            'gpu', 'host', 'undrain', self.home, '--return', *_WAIT
        )
        self.assertIn(self.server, [row['ID'] for row in rows])
        self.assert_whole(self.home)
        self.assertEqual('enabled', self.service(self.home).status)

    def test_two_operators(self):
        first = self.start()
        self.wait_until_begun()
        second = self.ok(*self.drain)
        self.assertIn('is being drained by run', second.stderr)
        self.assertEqual(0, first.wait(base.LIMIT))
        self.assert_whole(self.other)

    def test_stopped_and_run_again(self):
        process = self.start()
        self.wait_until_begun()
        process.send_signal(signal.SIGTERM)
        _out, err = process.communicate(timeout=base.LIMIT)
        self.assertEqual(1, process.returncode, err)
        self.assertIn('Interrupted', err)
        self.ok(*self.drain)
        self.assert_whole(self.other)

    def test_tenants_are_refused(self):
        for verb in ('drain', 'undrain'):
            line = self.fails('gpu', 'host', verb, self.home, user='member')
            self.assertIn('os-services', line)
        self.assertEqual('enabled', self.service(self.home).status)

    def test_host_is_down(self):
        self.addCleanup(self.control.change_host, self.home, 'start')
        self.control.change_host(self.home, 'kill')
        base.wait_until(
            'down', lambda: self.service(self.home).state == 'down'
        )
        self.assertIn('openstack server evacuate', self.fails(*self.drain))


class TestKilled(base.TestCase):
    """The short form of tools/kill_drain.py, on a sandbox of its own."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix='osc-gpu-test-')
        self.addCleanup(folder.cleanup)
        path = pathlib.Path(os.path.realpath(folder.name))
        topology = path / 'topology.yaml'
        topology.write_text(killing.topology(4))
        release, self.state = self.spec.release, path / 'state'
        self.addCleanup(processes.end, specs.path(self.state))
        result = base.run(
            'osc-gpu-sandbox', 'up', '--release', release,
            '--topology', str(topology), '--state', str(self.state),
        )  # fmt: skip
        self.assertEqual(0, result.status, result.stderr)
        self.spec = specs.read(self.state)

    def test_killed_and_run_again(self):
        kinds = [k for k in killing.KINDS if k.name in ('one', 'vgpu', 'off')]
        fleet = killing.start(self, kinds)
        rig = killing.Rig(self)
        self.addCleanup(rig.stop)
        killed = 0
        for point in killing.points(rig, fleet, _POINTS):
            with self.subTest(point=point):
                self.assertEqual((), point.troubles)
            killed += point.is_killed
        self.assertEqual(len(_POINTS), killed)
