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

"""Servers that are stuck, for real: healed, or by the book that is printed.

The truth is in Placement, in Nova's database and in the guests.
"""

import contextlib
import re
import shlex
import signal
import sqlite3

from tests.functional import base
from tests.functional import shells
from tests.functional import truth

ALIAS = truth.Wanted(devices=1)
VGPU = truth.Wanted(vgpus=1)


class TestCase(shells.TestCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.control.clear_faults)

    # Servers, and how they break.

    def boot(self, host, *request):
        """Make a server of the member on a host; return its ID."""
        name = self.name('stuck')
        flavor = self.admin.compute.find_flavor(self.make_flavor(*request))
        network = self.admin.network.find_network('private')
        image = self.admin.image.find_image('cirros')
        self.addCleanup(self.forget_servers, name)
        response = self.admin.compute.post(
            '/servers',
            json={
                'server': {
                    'name': name,
                    'flavorRef': flavor.id,
                    'imageRef': image.id,
                    'networks': [{'uuid': network.id}],
                    'host': host,
                }
            },
            microversion='2.74',
        )
        self.assertEqual(202, response.status_code, response.text)
        server = response.json()['server']['id']
        self.settle(server)
        self.assertEqual('active', self.truth(server).state)
        return server

    def truth(self, server):
        return truth.read(self, server)

    def settle(self, server):
        """Wait until Nova has nothing more to do."""

        def settled():
            try:
                found = self.truth(server)
            except LookupError:
                return None
            busy = {'pre-migrating', 'migrating', 'post-migrating',
                    'confirming', 'reverting'}  # fmt: skip
            idle = found.is_settled and not busy & set(found.open)
            return found if idle else None

        return base.wait_until(f'{server} idle', settled)

    def act(self, server, **body):
        response = self.admin.compute.post(
            f'/servers/{server}/action', json=body, microversion='2.90'
        )
        self.assertLess(response.status_code, 300, response.text)
        return self.settle(server)

    def spoil(self, server, point, host, **fault):
        """Have a migration to a host fail at a point; return the truth."""
        self.control.set_fault({'point': point, 'server': server, **fault})
        return self.act(server, migrate={'host': host})

    # What is expected.

    def recover(self, server, *more):
        """Recover a server; return the fields."""
        argv = ('gpu', 'server', 'recover', server, '--wait', str(base.PERIOD))
        return self.table(*argv, *more)

    def blocked(self, server, *more):
        """Recover a server that no API heals; return the fields."""
        argv = ('gpu', 'server', 'recover', server, '--wait', str(base.PERIOD))
        result = self.openstack(*argv, *more, '-f', 'json')
        self.assertEqual(1, result.status, result)
        self.assertIn('is not healed', result.stderr)
        self.assertNotIn('Traceback', result.stderr)
        return result.json

    def follow(self, shown):
        """Do what the instructions ask a database admin for; return when."""
        found = [
            statement
            for text in shown['instructions']
            for statement in re.findall('UPDATE [^;]*;', text)
        ]
        self.assertTrue(found, shown)
        path = self.state / 'db' / 'nova.sqlite'
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as database:
            for statement in found:
                self.assertEqual(1, database.execute(statement).rowcount)
            database.commit()

    def assert_whole(self, server, wanted):
        """Check everything; then that it starts, stops and reboots."""

        def check(when):
            found = self.settle(server)
            # What is left of it on the other host nobody can remove but
            # somebody with a shell there.
            there = tuple(g for g in found.guests if g['host'] == found.host)
            found = truth.dataclasses.replace(found, guests=there)
            self.assertEqual([], truth.troubles(found, wanted), when)
            self.assertEqual('active', found.state, when)
            return found.host

        host = check('as it was recovered')
        self.act(server, **{'os-stop': None})
        self.act(server, **{'os-start': None})
        check('after stop and start')
        self.act(server, reboot={'type': 'HARD'})
        check('after a hard reboot')
        return host


class TestHealed(TestCase):
    def check(self, server, wanted, diagnosis, host):
        dry = self.recover(server, '--dry-run')
        self.assertEqual('planned', dry['result'])
        before = self.truth(server)
        self.assertEqual(before, self.truth(server))
        shown = self.recover(server)
        self.assertEqual('recovered', shown['result'])
        self.assertIn(diagnosis, shown['diagnosis'])
        self.assertEqual(dry['diagnosis'], shown['diagnosis'])
        self.assertEqual('ACTIVE', shown['status'])
        self.assertEqual(host, self.assert_whole(server, wanted))
        again = self.recover(server)
        self.assertEqual('healthy', again['result'], again)
        return shown

    def test_alias_failed_on_its_destination(self):
        server = self.boot('gpu1', '--alias', 'a100')
        found = self.spoil(server, 'destination', 'gpu2')
        self.assertEqual({'gpu1', 'gpu2'}, {row[0] for row in found.rows})
        self.check(server, ALIAS, 'still claimed for it on gpu1', 'gpu2')

    def test_alias_failed_on_its_source(self):
        server = self.boot('gpu1', '--alias', 'a100')
        found = self.spoil(server, 'source', 'gpu2')
        self.assertEqual('error', found.state)
        self.check(server, ALIAS, 'still claimed for it on gpu2', 'gpu1')

    def test_alias_rolled_back(self):
        """The time bomb; it is never stopped but by its migrations."""
        server = self.boot('gpu1', '--alias', 'a100')
        found = self.spoil(server, 'source', 'gpu2', error='rollback')
        self.assertEqual('active', found.state)
        shown = self.check(
            server, ALIAS, 'still claimed for it on gpu2', 'gpu1'
        )
        self.assertNotIn('stop', shown['steps'])

    def test_alias_tripped_over_its_claim(self):
        server = self.boot('gpu1', '--alias', 'a100')
        self.spoil(server, 'source', 'gpu2', error='rollback')
        # The end of a rollback is that Nova clears the task once more, and
        # a reboot that has begun before gives up.
        base.wait_until(
            'in ERROR',
            lambda: self.act(server, reboot={'type': 'HARD'}).state == 'error',
        )
        self.check(server, ALIAS, 'still claimed for it on gpu2', 'gpu1')

    def test_alias_failed_to_be_confirmed(self):
        server = self.boot('gpu1', '--alias', 'a100')
        self.act(server, migrate={'host': 'gpu2'})
        self.control.set_fault({'point': 'confirm', 'server': server})
        self.act(server, confirmResize=None)
        base.wait_until('error', lambda: self.truth(server).state == 'error')
        self.check(server, ALIAS, 'still claimed for it on gpu1', 'gpu2')

    def half_reverted(self):
        """Return a server whose revert failed, and that has its card.

        Nova's update frees the card where it looks while the migration is
        reverted and the server not back yet. Its next one claims it, but not
        always; then it is tried with another server.
        """
        for _attempt in range(3):
            server = self.boot('gpu1', '--alias', 'a100')
            self.act(server, migrate={'host': 'gpu2'})
            self.control.set_fault({'point': 'revert', 'server': server})
            found = self.act(server, revertResize=None)
            self.assertEqual('error', found.state)
            with contextlib.suppress(AssertionError):
                base.wait_until(
                    'claimed',
                    lambda: (
                        {row[0] for row in self.truth(server).rows} == {'gpu1'}
                    ),
                    2 * base.PERIOD,
                )
                return server
        self.fail('Nova never kept the card')

    def test_alias_failed_to_be_reverted(self):
        """Its target gave up the claim: it just starts again."""
        server = self.half_reverted()
        shown = self.check(server, ALIAS, 'in ERROR on gpu1', 'gpu1')
        self.assertEqual(['stop', 'start', 'unlock'], shown['steps'])

    def test_alias_was_not_claimed(self):
        server = self.boot('gpu1', '--alias', 'a100')
        self.spoil(server, 'claim', 'gpu2')
        shown = self.check(server, ALIAS, 'in ERROR on gpu1', 'gpu1')
        self.assertEqual(['reboot hard', 'unlock'], shown['steps'])

    def test_alias_waits_to_be_confirmed(self):
        server = self.boot('gpu1', '--alias', 'a100')
        self.act(server, migrate={'host': 'gpu2'})
        self.check(server, ALIAS, 'unconfirmed', 'gpu2')

    def test_vgpu_failed_on_its_destination(self):
        server = self.boot('vgpu1', '--property', 'resources:VGPU=1')
        self.spoil(server, 'destination', 'vgpu2')
        shown = self.check(server, VGPU, 'in ERROR on vgpu2', 'vgpu2')
        self.assertEqual(['stop', 'start', 'unlock'], shown['steps'])
        self.assertIn(f'{server}_resize', shown['leftover'][0])
        self.assertTrue(shown['leftover'][0].startswith('vgpu1: '))

    def test_vgpu_in_a_numbered_group(self):
        """A start alone would silently take its vGPU away."""
        server = self.boot('vgpu1', '--property', 'resources1:VGPU=1')
        self.spoil(server, 'destination', 'vgpu2')
        self.check(server, VGPU, 'lost vGPU', 'vgpu1')

    def test_vgpu_lost_by_a_restart(self):
        server = self.boot('vgpu1', '--property', 'resources1:VGPU=1')
        self.spoil(server, 'destination', 'vgpu2')
        self.act(server, **{'os-stop': None})
        self.act(server, **{'os-start': None})
        guests = [g for g in self.truth(server).guests if g['host'] == 'vgpu2']
        self.assertEqual([[]], [guest['mdevs'] for guest in guests])
        self.check(server, VGPU, 'lost vGPU', 'vgpu1')


class TestKilled(TestCase):
    def test_in_the_middle_of_a_bounce(self):
        server = self.boot('gpu1', '--alias', 'a100')
        self.spoil(server, 'destination', 'gpu2')
        argv = ('gpu', 'server', 'recover', server, '--wait', '60')
        client = base.begin(*argv, env=base.cloud_of(self.state))
        self.addCleanup(client.communicate)
        self.addCleanup(client.kill)
        base.wait_until('moved', lambda: self.truth(server).host == 'gpu1')
        client.send_signal(signal.SIGKILL)
        client.wait()
        self.settle(server)
        shown = self.recover(server)
        self.assertEqual('recovered', shown['result'])
        self.assert_whole(server, ALIAS)


class TestByTheBook(TestCase):
    """What no API heals is healed by what is printed."""

    def test_reset_while_unconfirmed(self):
        server = self.boot('gpu1', '--alias', 'a100')
        self.act(server, migrate={'host': 'gpu2'})
        found = self.act(server, **{'os-resetState': {'state': 'active'}})
        self.assertEqual({'gpu1', 'gpu2'}, {row[0] for row in found.rows})
        for _again in range(2):
            shown = self.blocked(server)
            self.assertEqual('blocked', shown['result'])
            self.assertEqual({}, self.truth(server).leaked)
        self.follow(shown)
        base.wait_until('freed', lambda: len(self.truth(server).rows) == 1)
        # Its migration may have given it a device too many (facts 0.4).
        done = self.recover(server)
        self.assertIn(done['result'], ('healthy', 'recovered'), done)
        self.assertNotIn('start', done['steps'])
        self.assertEqual('gpu2', self.assert_whole(server, ALIAS))

    def test_no_room_for_a_bounce(self):
        server = self.boot('gpu1', '--alias', 'a100')
        self.spoil(server, 'destination', 'gpu2')
        self.boot('gpu1', '--alias', 'a100:3')
        before = self.truth(server)
        shown = self.blocked(server)
        self.assertEqual(before, self.truth(server))
        self.assertIn('free GPUs of its kind', shown['detail'])
        self.follow(shown)
        # Even at once: a start that fails is tried again after the wait.
        self.assertEqual('recovered', self.recover(server)['result'])
        self.assertEqual('gpu2', self.assert_whole(server, ALIAS))

    def test_recreated_from_a_snapshot(self):
        server = self.boot('gpu1', '--alias', 'a100')
        self.spoil(server, 'destination', 'gpu2')
        self.boot('gpu1', '--alias', 'a100:3')
        name = self.admin.compute.get_server(server).name
        shown = self.blocked(server)
        (text,) = [t for t in shown['instructions'] if 'recreate it' in t]
        user = self.user_of(re.search('its project ([0-9a-f]+)', text)[1])
        self.addCleanup(self.forget_image, f'{name}-rescue')
        for step in re.findall(r'openstack .*?(?=; |, and|\. )', text):
            argv = shlex.split(step.replace('<network>', 'private'))[1:]
            self.ok(*argv, user=user)
            if argv[1] == 'stop':
                # As it is said after the command.
                self.settle(server)
        again = base.wait_until(
            'the new one',
            lambda: next(
                (
                    one.id
                    for one in self.admin.compute.servers(
                        name=name, all_projects=True
                    )
                    if one.status == 'ACTIVE'
                ),
                None,
            ),
        )
        self.assertNotEqual(server, again)
        self.assert_whole(again, ALIAS)

    def user_of(self, project):
        (name,) = [p.name for p in self.admin.identity.projects()
                   if p.id == project]  # fmt: skip
        return 'admin' if name == 'admin' else 'member'

    def forget_image(self, name):
        image = self.admin.image.find_image(name)
        if image:
            self.admin.image.delete_image(image)

    def test_its_destination_died_in_the_middle(self):
        server = self.boot('gpu1', '--alias', 'a100')
        self.die(server, 'destination', 'resize_finish', 'gpu2')
        shown = self.blocked(server, '--timeout', '10')
        self.assertEqual('timed out', shown['result'])
        self.follow(shown)
        shown = self.recover(server)
        self.assertEqual('reset state to error', shown['steps'][0])
        self.assertEqual('gpu2', self.assert_whole(server, ALIAS))

    def test_its_source_died_in_the_middle(self):
        server = self.boot('gpu1', '--alias', 'a100')
        self.die(server, 'source', 'resize_migrating', 'gpu1')
        shown = self.blocked(server)
        self.assertIn('abandoned', shown['diagnosis'] + shown['detail'])
        self.follow(shown)
        shown = self.recover(server)
        self.assertEqual('recovered', shown['result'])
        base.wait_until('freed', lambda: len(self.truth(server).rows) == 1)
        self.assertEqual('gpu1', self.assert_whole(server, ALIAS))

    def die(self, server, point, task, host):
        """Let a host die in the middle of a migration, and come back."""
        self.control.set_fault(
            {'point': point, 'server': server, 'error': 'slow', 'seconds': 8}
        )
        self.admin.compute.post(
            f'/servers/{server}/action',
            json={'migrate': {'host': 'gpu2'}},
            microversion='2.90',
        )
        base.wait_until(task, lambda: self.truth(server).task == task)
        self.control.change_host(host, 'kill')
        self.control.change_host(host, 'start')
        base.wait_until(
            f'{host} is back',
            lambda: all(
                service.state == 'up'
                for service in self.admin.compute.services(
                    host=host, binary='nova-compute'
                )
            ),
        )


class TestRefused(TestCase):
    def test_tenants(self):
        server = self.boot('gpu1', '--alias', 'a100')
        line = self.fails('gpu', 'server', 'recover', server, user='member')
        self.assertNotIn('Traceback', line)

    def test_methods(self):
        server = self.boot('gpu1', '--alias', 'a100')
        before = self.truth(server)
        for method in ('reset', 'bounce', 'confirm', 'revert'):
            line = self.fails(
                'gpu', 'server', 'recover', server, '--method', method
            )
            self.assertIn(f'--method {method}', line)
        self.assertEqual(before, self.truth(server))
