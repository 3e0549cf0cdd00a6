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

import signal

from tests.functional import base
from tests.functional import shells
from tests.functional import truth

#: More than the sandbox's update_resources_interval.
WAIT = ('--wait', str(base.PERIOD))


class TestCase(shells.TestCase):
    def setUp(self):
        super().setUp()
        self.a100 = self.make_flavor('--alias', 'a100')

    def migrate(self, *argv, user='admin'):
        return self.openstack(
            'gpu', 'server', 'migrate', *argv, *WAIT, '-f', 'json', user=user
        )

    def migrated(self, *argv):
        """Migrate servers, which must succeed; return the rows by name."""
        result = self.migrate(*argv)
        self.assertEqual((0, ''), (result.status, result.stderr), result)
        return {row['Name']: row for row in result.json}

    def refused(self, *argv, user='admin'):
        """Have a migration refused, with nothing done; return why."""
        before = self.moves()
        line = self.fails('gpu', 'server', 'migrate', *argv, user=user)
        self.assertEqual(before, self.moves())
        return line

    def moves(self):
        found = self.admin.compute.get('/os-migrations', microversion='2.59')
        return [m['uuid'] for m in found.json()['migrations']]

    def status(self, server):
        return self.admin.compute.get_server(server).status

    def shown(self, server):
        found = self.admin.compute.get(
            f'/servers/{server}', microversion='2.73'
        )
        return found.json()['server']

    def assert_whole(self, server, **wanted):
        """Assert that a server is on one host, with its GPUs, unlocked."""
        found = truth.read(self, server)
        self.assertEqual([], truth.troubles(found, truth.Wanted(**wanted)))
        self.assertFalse(found.is_locked)
        return found.host


class TestMigrate(TestCase):
    def test_alias(self):
        server = self.make_server(self.a100)
        source = server['host'] or self.assert_whole(server['id'], devices=1)
        target = 'gpu1' if source == 'gpu2' else 'gpu2'
        rows = self.migrated(server['id'])
        row = rows[server['name']]
        self.assertEqual(
            (source, target, 'cold', 'migrated'),
            tuple(
                row[key]
                for key in ('From Host', 'To Host', 'Method', 'Result')
            ),
        )
        self.assertIn('not said to move while it runs', row['Detail'])
        self.assertEqual(target, self.assert_whole(server['id'], devices=1))
        # And back, by name and to a named host.
        self.migrated(server['name'], '--host', source)
        self.assertEqual(source, self.assert_whole(server['id'], devices=1))

    def test_vgpu_that_is_shut_off(self):
        server = self.make_server(self.make_flavor('--vgpu'))
        self.admin.compute.stop_server(server['id'])
        base.wait_until(
            'stopped', lambda: self.status(server['id']) == 'SHUTOFF'
        )
        self.migrated(server['id'])
        self.assertEqual('SHUTOFF', self.status(server['id']))
        self.admin.compute.start_server(server['id'])
        base.wait_until(
            'started', lambda: self.status(server['id']) == 'ACTIVE'
        )
        self.assert_whole(server['id'], vgpus=1)

    def test_several(self):
        names = [self.make_server(self.a100)['name'] for _n in range(2)]
        rows = self.migrated(*names, '--parallel', '2')
        self.assertEqual(set(names), rows.keys())
        for row in rows.values():
            self.assert_whole(row['ID'], devices=1)

    def test_dry_run(self):
        server = self.make_server(self.a100)
        before = self.moves()
        row = self.migrated(server['id'], '--dry-run')[server['name']]
        self.assertEqual('would migrate', row['Result'])
        self.assertIn(row['To Host'], ('gpu1', 'gpu2'))
        self.assertEqual(before, self.moves())
        self.assertFalse(self.shown(server['id'])['locked'])

    def test_no_confirm(self):
        server = self.make_server(self.a100)
        row = self.migrated(server['id'], '--no-confirm')[server['name']]
        self.assertEqual('unconfirmed', row['Result'])
        for word in (row['From Host'], row['To Host']):
            self.assertIn(word, row['Detail'])
        self.assertEqual('VERIFY_RESIZE', self.status(server['id']))
        migrate, _revert = self.named(row['Detail'])
        self.assertEqual(['gpu', 'server', 'migrate', server['id']], migrate)
        source = row['From Host']
        row = self.migrated(*migrate[3:])[server['name']]
        self.assertEqual(
            ('migrated', source), (row['Result'], row['From Host'])
        )
        self.assertNotEqual(source, self.assert_whole(server['id'], devices=1))
        # And the other way out.
        source = row['To Host']
        row = self.migrated(server['id'], '--no-confirm')[server['name']]
        _migrate, revert = self.named(row['Detail'])
        shown = self.table(*revert, *WAIT)
        self.assertEqual('recovered', shown['result'], shown)
        self.assertEqual(source, self.assert_whole(server['id'], devices=1))

    def named(self, detail):
        """Return the commands that a Detail names, to go on with."""
        found = detail.split('go on with: ')[1].split(', or ')
        return [command.split()[1:] for command in found]


class TestFailures(TestCase):
    def test_source_rolls_back(self):
        server = self.make_server(self.a100)
        with self.fault(
            point='source', error='rollback', server=server['name']
        ):
            result = self.migrate(server['id'])
        self.assertEqual(1, result.status)
        self.assertEqual('1 of 1 servers failed to move\n', result.stderr)
        (row,) = result.json
        self.assertEqual('poisoned', row['Result'])
        self.assertIn('openstack gpu server recover', row['Detail'])
        # Its tenant would destroy it now.
        self.assertTrue(self.shown(server['id'])['locked'])
        self.assertIn('still claimed', self.refused(server['id']))

    def test_too_slow(self):
        server = self.make_server(self.a100)
        slow = {'point': 'destination', 'error': 'slow', 'seconds': 8}
        with self.fault(**slow, server=server['name']):
            result = self.migrate(server['id'], '--timeout', '3')
            self.assertEqual(1, result.status)
            (row,) = result.json
            self.assertEqual('timed out', row['Result'])
            self.assertIn('run again', row['Detail'])
            row = self.migrated(server['id'])[server['name']]
        self.assertEqual('migrated', row['Result'])
        self.assert_whole(server['id'], devices=1)

    def test_terminated(self):
        server = self.make_server(self.a100)
        slow = {'point': 'destination', 'error': 'slow', 'seconds': 6}
        with self.fault(**slow, server=server['name']):
            process = self.begin(server['id'])
            base.wait_until(
                'migrating', lambda: self.status(server['id']) == 'RESIZE'
            )
            process.send_signal(signal.SIGTERM)
            _out, said = process.communicate(timeout=30)
            self.assertEqual(1, process.returncode)
            self.assertIn('Interrupted', said)
            self.assertEqual(1, len(said.splitlines()), said)
            self.migrated(server['id'])
        self.assert_whole(server['id'], devices=1)

    def begin(self, server):
        """Begin a migration in a process of its own."""
        argv = ('gpu', 'server', 'migrate', server)
        return base.begin(*argv, env=base.cloud_of(self.state))


class TestRefused(TestCase):
    def test_unknown(self):
        self.assertIn('nobody', self.refused('nobody'))
        server = self.make_server(self.a100)
        line = self.refused(server['id'], '--host', 'nowhere')
        self.assertIn("No compute service host named 'nowhere'", line)

    def test_wrong_hosts(self):
        server = self.make_server(self.a100)
        host = self.assert_whole(server['id'], devices=1)
        self.assertIn(
            f'it is on {host} already',
            self.refused(server['id'], '--host', host),
        )
        self.assertIn(
            'CUSTOM_PCI_10DE_20B5',
            self.refused(server['id'], '--host', 'gpu3'),
        )

    def test_no_gpu(self):
        flavor = self.name('plain')
        self.ok(
            'flavor', 'create', flavor,
            '--vcpus', '1', '--ram', '128', '--disk', '1',
        )  # fmt: skip
        self.addCleanup(self.forget_flavor, flavor)
        name = self.name('server')
        self.addCleanup(self.forget_servers, name)
        self.ok(
            'server', 'create', name, '--flavor', flavor,
            '--image', 'cirros', '--network', 'private', '--wait',
        )  # fmt: skip
        self.assertIn('openstack server migrate', self.refused(name))

    def test_somebody_elses(self):
        server = self.make_server(self.a100)
        self.admin.compute.lock_server(server['id'], 'hands off')
        line = self.refused(server['id'])
        self.assertIn('locked', line)
        self.assertIn('hands off', line)
        self.migrated(server['id'], '--force')
        self.assertEqual(
            'hands off', self.shown(server['id'])['locked_reason']
        )

    def test_disabled_and_down(self):
        server = self.make_server(self.a100)
        host = self.assert_whole(server['id'], devices=1)
        other = 'gpu1' if host == 'gpu2' else 'gpu2'
        (service,) = self.admin.compute.services(
            host=other, binary='nova-compute'
        )
        compute = self.admin.compute
        compute.disable_service(service, disabled_reason='fan')
        self.addCleanup(compute.enable_service, service)
        line = self.refused(server['id'], '--host', other)
        self.assertIn(f'{other} is disabled (fan)', line)
        compute.enable_service(service)
        self.control.change_host(other, 'kill')
        try:
            line = self.refused(server['id'], '--host', other)
        finally:
            self.control.change_host(other, 'start')
        self.assertIn(f'{other} is down', line)

    def test_tenant(self):
        server = self.make_server(self.a100)
        line = self.refused(server['id'], user='member')
        self.assertIn('right', line)
