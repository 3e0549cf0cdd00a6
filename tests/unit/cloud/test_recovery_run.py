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

import re
import shlex
from typing import Any
from unittest import mock

from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from osc_gpu.cloud import marks
from osc_gpu.cloud import migration
from osc_gpu.cloud import recovery_methods
from osc_gpu.cloud import recovery_model
from osc_gpu.cloud import recovery_run
from osc_gpu.cloud import repair_excess
from tests.unit import base
from tests.unit.cloud import moving_case
from tests.unit import fake_moves

GROUPED = {'resources1:VGPU': '1'}


class TestCase(moving_case.TestCase):
    """Waiting is Nova's periodic task, and takes no time."""

    def setUp(self) -> None:
        super().setUp()
        self.waits: list[float] = []

        def pause(run: migration.Run, seconds: float) -> None:
            self.waits.append(seconds)
            self.periodic()

        self.enterContext(mock.patch.object(migration.Run, 'pause', pause))
        self.enterContext(mock.patch.object(repair_excess, 'POLL', 0))

    def recover(self, server: str, **more: Any) -> recovery_run.Recovered:
        run = self.new_run()
        return recovery_run.recover(
            run, self.read(server), **({'wait': 0.01} | more)
        )

    def break_(self, server: str, *kinds: str, **changes: Any) -> None:
        """Have a server's migration fail, as it does without us."""
        self.spoil(server, *kinds)
        self.act(server, 'migrate', host=changes.get('target', 'gpu2'))

    def act(self, server: str, name: str, **body: Any) -> None:
        """Do something to a server as somebody else would."""
        response = self.conn.compute.post(
            f'/servers/{server}/action',
            json={name: body or None},
            microversion='2.73',
        )
        sdk_exceptions.raise_from_response(response)
        self.finish(server)

    def did(self, server: str, name: str, when: str, **more: Any) -> None:
        """Add an action to the list that Nova keeps."""
        action = {
            'action': name,
            'request_id': f'req-{name}-{when}',
            'start_time': when,
            'message': None,
            'events': [],
        }
        self.actions.setdefault(server, []).append(action | more)

    def made(self, server: str) -> list[str]:
        """Return what Nova was asked to do to a server."""
        return [
            next(iter(request.json()))
            for request in self.cloud.request_history
            if request.method == 'POST' and request.url.endswith('/action')
        ]

    def assert_healed(self, found: recovery_run.Recovered, host: str) -> None:
        self.assertEqual(recovery_run.RECOVERED, found.result, found)
        self.assertTrue(found.is_healed)
        self.assertEqual((), found.instructions)
        self.assert_whole(found.server.id, host)
        self.assertFalse(self.stale.get(found.server.id))
        self.assertFalse(self.servers[found.server.id]['locked'])

    def asked_at_last(self) -> int:
        return len(self.cloud.request_history)


class TestHealthy(TestCase):
    def test_nothing_to_do(self) -> None:
        server = self.add_gpu_server('train')
        found = self.recover(server)
        self.assertEqual(recovery_run.HEALTHY, found.result)
        self.assertEqual((), found.steps)
        self.assertEqual([], self.made(server))

    def test_shut_off_stays_so(self) -> None:
        server = self.add_gpu_server('train', status='SHUTOFF')
        found = self.recover(server)
        self.assertEqual(recovery_run.HEALTHY, found.result)

    def test_left_locked(self) -> None:
        server = self.add_gpu_server('train')
        mark = marks.Move(marks.MIGRATE, 'abc', marks.digest('x', 'gpu1'))
        self.servers[server] |= {
            'locked': True,
            'locked_reason': marks.write_move(mark),
            'OS-EXT-STS:power_state': 1,
        }
        found = self.recover(server)
        self.assertEqual((recovery_model.UNLOCK,), found.steps)
        self.assertFalse(self.servers[server]['locked'])

    def test_one_that_a_drain_shall_bring_home(self) -> None:
        server = self.add_gpu_server('train')
        mark = marks.Move(marks.RETURN, 'abc', 'a' * 12, 'b' * 12)
        self.servers[server] |= {
            'locked': True,
            'locked_reason': marks.write_move(mark),
            'OS-EXT-STS:power_state': 1,
        }
        self.assertEqual(recovery_run.HEALTHY, self.recover(server).result)
        self.assertTrue(self.servers[server]['locked'])

    def test_requests_of_a_look(self) -> None:
        server = self.add_gpu_server('train')
        run = self.new_run()
        before = len(self.requests)
        recovery_run.recover(run, self.read(server), is_dry=True)
        self.assertEqual(
            [
                f'GET /os-migrations?instance_uuid={server}',
                f'GET /servers/{server}',
                f'GET /servers/{server}/os-instance-actions',
                f'GET /allocations/{server}',
            ],
            self.requests[before:],
        )


class TestBounce(TestCase):
    def test_destination_failed(self) -> None:
        server = self.add_gpu_server('train')
        self.break_(server, 'destination')
        self.assertEqual({'gpu1'}, self.stale[server])
        found = self.recover(server)
        self.assertEqual(
            (
                'stop',
                'migrate to gpu1, and confirm',
                'wait for the update of resources on gpu1',
                'migrate to gpu2, and confirm',
                'start',
                'unlock',
            ),
            found.steps,
        )
        self.assert_healed(found, 'gpu2')
        self.assertIn(0.01, self.waits)
        self.assertIn('started on gpu2', found.detail)

    def test_source_failed(self) -> None:
        server = self.add_gpu_server('train')
        self.break_(server, 'source')
        self.assertEqual({'gpu2'}, self.stale[server])
        self.assert_healed(self.recover(server), 'gpu1')

    def test_time_bomb_is_never_stopped(self) -> None:
        server = self.add_gpu_server('train')
        self.break_(server, 'rollback')
        self.assertEqual('ACTIVE', self.servers[server]['status'])
        self.servers[server]['OS-EXT-STS:power_state'] = 1
        found = self.recover(server)
        self.assertNotIn('os-stop', self.made(server))
        self.assert_healed(found, 'gpu1')
        self.assertIn('only a hard reboot', found.detail)

    def test_power_that_nova_lost(self) -> None:
        server = self.add_gpu_server('train')
        self.break_(server, 'rollback')
        self.servers[server]['OS-EXT-STS:power_state'] = 0

        def reboot(found: Any, body: Any) -> fake_moves.Steps:
            found['OS-EXT-STS:power_state'] = 1
            yield from ()

        self._reboot = reboot  # type: ignore[method-assign]
        found = self.recover(server)
        self.assertIn(recovery_model.REBOOT, found.steps)
        self.assert_healed(found, 'gpu1')

    def test_confirm_failed(self) -> None:
        server = self.add_gpu_server('train')
        self.act(server, 'migrate', host='gpu2')
        self.spoil(server, 'confirm')
        self.act(server, 'confirmResize')
        self.assert_healed(self.recover(server), 'gpu2')

    def test_several_hosts(self) -> None:
        server = self.add_gpu_server('train')
        self.break_(server, 'rollback')
        self.break_(server, 'rollback', target='gpu3')
        self.servers[server]['OS-EXT-STS:power_state'] = 1
        self.assertEqual({'gpu2', 'gpu3'}, self.stale[server])
        found = self.recover(server)
        self.assertEqual(2, len([s for s in found.steps if 'wait' in s]))
        self.assert_healed(found, 'gpu1')

    def test_doubles_are_dropped(self) -> None:
        self.doubles = True
        server = self.add_gpu_server('train')
        self.break_(server, 'destination')
        found = self.recover(server)
        self.assertIn(recovery_model.REPAIR, found.steps)
        self.assert_healed(found, 'gpu2')

    def test_a_restart_that_tripped_over_it(self) -> None:
        server = self.add_gpu_server('train')
        self.break_(server, 'rollback')
        self.act(server, 'reboot', type='HARD')
        self.assertEqual('KeyError', self.servers[server]['fault']['message'])
        self.assert_healed(self.recover(server), 'gpu1')

    def test_goes_on_from_wherever_it_was_killed(self) -> None:
        for number in range(1, 200, 4):
            server = self.add_gpu_server(f'train{number}')
            self.break_(server, 'destination')
            self.disturb('.', KeyboardInterrupt, after=number)
            try:
                self.recover(server)
            except KeyboardInterrupt:
                self.faults.clear()
                self.finish(server)
            else:
                break
            with self.subTest(number):
                found = self.recover(server)
                self.assertTrue(found.is_healed, found)
                self.assert_whole(server, self.host_of(server))
                self.assertFalse(self.stale.get(server))
                self.assertFalse(self.servers[server]['locked'])
                self.assertEqual('ACTIVE', self.servers[server]['status'])
            self.remove(server)
        self.assertGreater(number, 50)

    def test_one_request_fails(self) -> None:
        for answer in (500, 503):
            for number in range(5, 70, 11):
                server = self.add_gpu_server(f'train{number}')
                self.break_(server, 'destination')
                run = self.new_run()
                self.disturb('(GET /servers|POST)', answer, after=number)
                found = recovery_run.recover(run, self.read(server), wait=0.01)
                with self.subTest(answer=answer, number=number):
                    self.assert_healed(found, self.host_of(server))
                self.remove(server)

    def test_stays_off_if_it_was(self) -> None:
        server = self.add_gpu_server('train', status='SHUTOFF')
        self.did(server, 'create', '2026-11-20T05:00:00')
        self.did(server, 'stop', '2026-11-20T06:00:00')
        self.break_(server, 'destination')
        found = self.recover(server)
        self.assertNotIn('os-start', self.made(server))
        self.assert_healed(found, 'gpu2')
        self.assertEqual('SHUTOFF', found.server.status)
        self.assertIn('may be started', found.detail)

    def test_anothers_lock_stays(self) -> None:
        server = self.add_gpu_server('train')
        self.break_(server, 'destination')
        self.servers[server] |= {'locked': True, 'locked_reason': 'mine'}
        found = self.recover(server, is_forced=True)
        self.assertEqual(recovery_run.RECOVERED, found.result, found)
        self.assertEqual('mine', self.servers[server]['locked_reason'])
        self.assertTrue(self.servers[server]['locked'])

    def test_anothers_lock_is_respected(self) -> None:
        broken = self.add_gpu_server('train')
        self.break_(broken, 'destination')
        waiting = self.add_gpu_server('waits', 'gpu3')
        self.act(waiting, 'migrate', host='gpu2')
        before = len(self.requests)
        for server, more in (
            (broken, {}),
            (broken, {'method': recovery_methods.BOUNCE}),
            (waiting, {}),
            (waiting, {'method': recovery_methods.CONFIRM}),
        ):
            self.servers[server] |= {'locked': True, 'locked_reason': 'mine'}
            found = self.recover(server, **more)
            self.assertEqual(recovery_run.BLOCKED, found.result, found)
            self.assertEqual(
                'somebody has locked it: mine; despite that: openstack gpu '
                f'server recover --force {server}',
                found.detail,
            )
            self.assertEqual(((), ()), (found.steps, found.instructions))
            planned = self.recover(server, is_dry=True, **more)
            self.assertEqual(recovery_run.PLANNED, planned.result)
            self.assertEqual(planned.diagnosis, found.diagnosis)
            self.assertTrue(planned.steps)
        asked = self.requests[before:]
        self.assertEqual([], [r for r in asked if not r.startswith('GET ')])

    def test_anothers_lock_on_a_healthy_server(self) -> None:
        server = self.add_gpu_server('train')
        self.servers[server] |= {'locked': True, 'locked_reason': 'mine'}
        self.assertEqual(recovery_run.HEALTHY, self.recover(server).result)

    def test_the_way_home_is_kept(self) -> None:
        server = self.add_gpu_server('train')
        self.break_(server, 'destination')
        mark = marks.Move(marks.RETURN, 'abc', 'a' * 12, 'b' * 12)
        self.servers[server] |= {
            'locked': True,
            'locked_reason': marks.write_move(mark),
        }
        self.recover(server)
        left = marks.read_move(self.servers[server]['locked_reason'])
        assert left is not None
        self.assertEqual((marks.RETURN, 'b' * 12), (left.verb, left.home))
        self.assertTrue(self.servers[server]['locked'])


class TestNoBounce(TestCase):
    """What is in the way of a bounce is said before anything is done."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.add_gpu_server('train')
        self.break_(self.server, 'destination')

    def blocked(self, **more: Any) -> recovery_run.Recovered:
        before = self.made(self.server)
        found = self.recover(self.server, **more)
        self.assertEqual(recovery_run.BLOCKED, found.result, found)
        self.assertFalse(found.is_healed)
        self.assertEqual((), found.steps)
        self.assertEqual(before, self.made(self.server))
        (record,) = self.migrations
        self.assertIn(
            "UPDATE migrations SET status='failed' WHERE "
            f"uuid='{record['uuid']}' AND status='error';",
            ' '.join(found.instructions),
        )
        self.assertIn('on gpu1', found.instructions[1])
        self.assertIn('Or recreate it', found.instructions[-1])
        self.assertIn(f'{self.server}_resize', found.leftover[0])
        self.assertTrue(found.leftover[0].startswith('gpu1: '))
        return found

    def test_no_second_gpu(self) -> None:
        self.add_gpu_server('other')
        found = self.blocked()
        self.assertIn('gpu1 has 1 free GPUs of its kind', found.detail)
        self.assertEqual(found, self.recover(self.server, is_dry=True))

    def test_room_that_was_made_meanwhile(self) -> None:
        other = self.add_gpu_server('other')
        run = self.new_run()
        del self.placement.allocations[other]
        found = recovery_run.recover(run, self.read(self.server), wait=0.01)
        self.assertEqual(recovery_run.RECOVERED, found.result, found)

    def test_disabled(self) -> None:
        self._hypervisor('gpu1')['status'] = 'disabled'
        self.assertIn('service set --enable gpu1', self.blocked().detail)

    def test_down(self) -> None:
        self._hypervisor('gpu1')['state'] = 'down'
        self.assertIn('gpu1 is down', self.blocked().detail)

    def test_gone(self) -> None:
        self.hypervisors = [
            h for h in self.hypervisors if h['service']['host'] != 'gpu1'
        ]
        self.assertIn('no host gpu1', self.blocked().detail)

    def test_shelved(self) -> None:
        self.servers[self.server]['status'] = 'SHELVED_OFFLOADED'
        self.assertIn('SHELVED_OFFLOADED', self.blocked().detail)

    def test_booted_from_volume(self) -> None:
        self.servers[self.server]['image'] = ''
        self._hypervisor('gpu1')['state'] = 'down'
        text = self.blocked().instructions[-1]
        self.assertIn(
            'openstack --os-compute-api-version 2.85 server volume update '
            f'--preserve-on-termination {self.server} <volume>; ',
            text,
        )
        self.assertNotIn('delete_on_termination', text)

    def test_recreated_as_its_project(self) -> None:
        self.servers[self.server]['tenant_id'] = 'p7'
        self._hypervisor('gpu1')['state'] = 'down'
        text = self.blocked().instructions[-1]
        self.assertIn('as a user of its project p7: ', text)
        self.assertIn('volumes with delete_on_termination are deleted', text)
        self.assertIn('addresses are lost, unless', text)

    def test_names_are_words_of_a_shell(self) -> None:
        flavor = self.servers[self.server]['flavor']
        flavor['original_name'] = 'f$(touch /tmp/pwn)'
        self._hypervisor('gpu1')['state'] = 'down'
        for name, argument in (
            ('x; touch /tmp/pwn', 'x; touch /tmp/pwn'),
            ("it's", "it's"),
            ('--os-cloud=mine', '<name>'),
        ):
            for image in ('', {'id': 'i1'}):
                self.servers[self.server] |= {'name': name, 'image': image}
                text = self.blocked().instructions[-1]
                create = text[text.index('server create') :]
                words = shlex.split(create.replace('<name>', "'<name>'"))
                self.assertEqual(argument, words[2])
                self.assertEqual('--flavor=f$(touch /tmp/pwn)', words[3])
                if image:
                    self.assertEqual(f'--image={name}-rescue', words[4])
                    self.assertIn(
                        f'--name={shlex.quote(name + "-rescue")} ', text
                    )

    def test_all_the_same(self) -> None:
        self.add_gpu_server('other')
        found = self.recover(self.server, method=recovery_methods.BOUNCE)
        self.assert_healed_beside(found)

    def assert_healed_beside(self, found: recovery_run.Recovered) -> None:
        self.assertEqual(recovery_run.RECOVERED, found.result, found)
        self.assertFalse(self.stale[self.server])

    def test_database_admin(self) -> None:
        """What the instructions say heals it."""
        self.add_gpu_server('other')
        text = ' '.join(self.blocked().instructions)
        found = re.search(r"status='(\w+)' WHERE uuid='([^']+)'", text)
        assert found is not None
        for record in self.migrations:
            if record['uuid'] == found[2]:
                record['status'] = found[1]
        self.stale.clear()
        healed = self.recover(self.server)
        self.assertEqual(('stop', 'start', 'unlock'), healed.steps, healed)
        self.assertTrue(healed.is_healed)

    def test_the_way_there_fails(self) -> None:
        self.spoil(self.server, 'no valid host')
        found = self.recover(self.server)
        self.assertEqual(recovery_run.FAILED, found.result, found)
        self.assertIn('No valid host', found.detail)
        self.assertIn('UPDATE migrations', ' '.join(found.instructions))
        self.assertTrue(self.servers[self.server]['locked'])

    def test_the_way_back_fails(self) -> None:
        """Then it goes wherever there is room."""

        def pause(run: migration.Run, seconds: float) -> None:
            if seconds == 0.01:
                self.add_gpu_server('thief', 'gpu2', 2)

        with mock.patch.object(migration.Run, 'pause', pause):
            found = self.recover(self.server)
        self.assertEqual(recovery_run.RECOVERED, found.result, found)
        self.assertEqual('gpu3', self.host_of(self.server))


class TestVgpu(TestCase):
    def test_literal(self) -> None:
        server = self.vgpu_server('infer')
        self.break_(server, 'destination', target='vgpu2')
        found = self.recover(server)
        self.assertEqual(('stop', 'start', 'unlock'), found.steps)
        self.assertNotIn('os-resetState', self.made(server))
        self.assert_healed(found, 'vgpu2')

    def grouped(self) -> str:
        server = self.vgpu_server('infer')
        self.servers[server]['flavor']['extra_specs'] = GROUPED
        return server

    def test_numbered_group(self) -> None:
        server = self.grouped()
        self.break_(server, 'destination', target='vgpu2')
        found = self.recover(server)
        self.assertEqual(2, self.made(server).count('migrate'))
        self.assert_healed(found, 'vgpu1')

    def test_started_without_its_vgpu(self) -> None:
        server = self.grouped()
        self.break_(server, 'destination', target='vgpu2')
        self.servers[server] |= {
            'status': 'ACTIVE',
            'OS-EXT-STS:power_state': 1,
        }
        found = self.recover(server)
        self.assertIn('lost vGPU', found.diagnosis)
        self.assert_healed(found, 'vgpu1')

    def test_no_room(self) -> None:
        server = self.grouped()
        self.break_(server, 'destination', target='vgpu2')
        self._hypervisor('vgpu1')['status'] = 'disabled'
        found = self.recover(server)
        self.assertEqual(recovery_run.FAILED, found.result, found)
        self.assertIn('shelve', ' '.join(found.instructions))

    def test_unshelved_meanwhile(self) -> None:
        server = self.grouped()
        self.break_(server, 'destination', target='vgpu2')
        self.servers[server]['status'] = 'ACTIVE'
        self.did(server, 'unshelve', '2026-11-21T09:00:00')
        self.assertEqual(recovery_run.HEALTHY, self.recover(server).result)

    def test_source_failed(self) -> None:
        server = self.grouped()
        self.break_(server, 'source', target='vgpu2')
        found = self.recover(server)
        self.assertEqual(('stop', 'start', 'unlock'), found.steps)
        self.assert_healed(found, 'vgpu1')


class TestOthers(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.add_gpu_server('train')

    def test_claim_failed(self) -> None:
        self.break_(self.server, 'claim')
        found = self.recover(self.server)
        self.assertEqual(('reboot hard', 'unlock'), found.steps)
        self.assert_healed(found, 'gpu1')

    def test_claim_failed_of_one_that_was_off(self) -> None:
        self.did(self.server, 'stop', '2026-11-20T06:00:00')
        self.servers[self.server]['status'] = 'SHUTOFF'
        self.break_(self.server, 'claim')
        found = self.recover(self.server)
        self.assertEqual(('stop', 'unlock'), found.steps)
        self.assert_healed(found, 'gpu1')

    def test_unconfirmed(self) -> None:
        self.act(self.server, 'migrate', host='gpu2')
        found = self.recover(self.server)
        self.assertEqual(
            ('confirm, or revert if it cannot be proven',), found.steps
        )
        self.assert_healed(found, 'gpu2')

    def resized(self) -> None:
        self.act(self.server, 'migrate', host='gpu2')
        self.migrations[-1]['migration_type'] = 'resize'

    def test_a_resize_is_its_owners(self) -> None:
        self.resized()
        before = self.made(self.server)
        for is_dry in (True, False):
            found = self.recover(self.server, is_dry=is_dry)
            self.assertEqual(recovery_run.BLOCKED, found.result, found)
            self.assertIn('resize to another flavor waits', found.diagnosis)
            for what in ('confirm', 'revert'):
                self.assertIn(
                    f'openstack server resize {what} {self.server}',
                    found.detail,
                )
        self.assertEqual(before, self.made(self.server))

    def test_a_resize_that_is_decided_by_hand(self) -> None:
        for method, host in (('revert', 'gpu1'), ('confirm', 'gpu2')):
            self.resized()
            found = self.recover(self.server, method=method)
            self.assertEqual(recovery_run.RECOVERED, found.result, found)
            self.assertEqual(host, self.host_of(self.server))

    def test_unconfirmed_that_cannot_be_proven(self) -> None:
        self.act(self.server, 'migrate', host='gpu2')
        root = self.root_of('gpu2')
        held = self.placement.allocations[self.server]
        self.placement.allocations[self.server] = {root: held[root]}
        found = self.recover(self.server)
        self.assertIn('revertResize', self.made(self.server))
        self.assert_healed(found, 'gpu1')

    def test_error_of_something_else(self) -> None:
        self.servers[self.server] |= {
            'status': 'ERROR',
            'fault': {'message': 'No valid host was found.'},
        }
        found = self.recover(self.server)
        self.assertEqual(recovery_run.BLOCKED, found.result)
        self.assertIn('openstack server event list', found.detail)
        self.assertEqual([], self.made(self.server))

    def test_error_of_what_our_command_asked_for(self) -> None:
        """An unshelve that failed leaves no migration record."""
        mark = marks.Move(marks.MIGRATE, 'abc', marks.digest('x', 'gpu1'))
        self.servers[self.server] |= {
            'locked': True,
            'locked_reason': marks.write_move(mark),
            'status': 'ERROR',
            'fault': {'message': 'libvirtError'},
        }
        found = self.recover(self.server)
        self.assertEqual(('reboot hard', 'unlock'), found.steps)
        self.assertEqual(recovery_run.RECOVERED, found.result)

    def test_cell_does_not_answer(self) -> None:
        del self.servers[self.server]['flavor']
        found = self.recover(self.server)
        self.assertEqual(recovery_run.BLOCKED, found.result)

    def test_leaked_allocations(self) -> None:
        self.act(self.server, 'migrate', host='gpu2')
        self.act(self.server, 'confirmResize')
        record = self.migrations[-1]['uuid']
        self.placement.hold(record, self.root_of('gpu1'), VCPU=1)
        self.servers[self.server]['OS-EXT-STS:power_state'] = 1
        found = self.recover(self.server)
        self.assertEqual((recovery_model.REMOVE,), found.steps)
        self.assert_healed(found, 'gpu2')

    def test_reset_while_unconfirmed(self) -> None:
        self.act(self.server, 'migrate', host='gpu2')
        self.servers[self.server]['status'] = 'ACTIVE'
        self.stale[self.server] = {'gpu1'}
        record = self.migrations[-1]
        for _again in range(2):
            found = self.recover(self.server)
            self.assertEqual(recovery_run.BLOCKED, found.result, found)
            self.assertNotIn(record['uuid'], self.placement.allocations)
            text = ' '.join(found.instructions)
            self.assertIn(
                f"uuid='{record['uuid']}' AND status='finished';", text
            )
            self.assertNotIn('migrate', self.made(self.server)[1:])
        record['status'] = 'failed'
        self.stale.clear()
        self.assertEqual(
            recovery_run.HEALTHY, self.recover(self.server).result
        )

    def test_two_unconfirmed(self) -> None:
        """Nova would confirm the older one."""
        self.act(self.server, 'migrate', host='gpu2')
        self.servers[self.server]['status'] = 'ACTIVE'
        self.act(self.server, 'migrate', host='gpu3')
        found = self.recover(self.server)
        self.assertEqual(recovery_run.BLOCKED, found.result)
        text = ' '.join(found.instructions)
        old, new = (record['uuid'] for record in self.migrations)
        self.assertIn(old, text)
        self.assertNotIn(new, text)
        self.migrations[0]['status'] = 'failed'
        self.assertTrue(self.recover(self.server).is_healed)
        self.assertEqual('gpu3', self.host_of(self.server))

    def test_a_start_that_failed(self) -> None:
        """Nova frees a claim a while after its record was mended."""
        self.break_(self.server, 'destination')
        self.migrations[-1]['status'] = 'failed'
        starts = self.stale[self.server]

        def pause(run: migration.Run, seconds: float) -> None:
            if seconds == 0.01:
                starts.clear()

        with mock.patch.object(migration.Run, 'pause', pause):
            found = self.recover(self.server)
        self.assertEqual(2, self.made(self.server).count('os-start'))
        self.assert_healed(found, 'gpu2')

    def test_a_start_that_fails_for_good(self) -> None:
        self.break_(self.server, 'destination')
        self.migrations[-1]['status'] = 'failed'
        found = self.recover(self.server)
        self.assertEqual(recovery_run.FAILED, found.result)
        self.assertIn('KeyError', found.detail)
        self.assertEqual(2, self.made(self.server).count('os-start'))

    def test_reverted_on_the_target_only(self) -> None:
        """It gave up its claim there: nothing needs a bounce."""
        self.act(self.server, 'migrate', host='gpu2')
        self.act(self.server, 'revertResize')
        record = self.migrations[-1]
        record['status'] = 'error'
        self.servers[self.server]['status'] = 'ERROR'
        self.actions[self.server][0]['events'] = [
            {'event': 'compute_revert_resize', 'result': 'Success'},
            {'event': 'compute_finish_revert_resize', 'result': 'Error'},
        ]
        self.actions[self.server][1]['events'] = [
            {'event': 'compute_resize_instance', 'result': 'Success'}
        ]
        record['created_at'] = self.actions[self.server][1]['start_time']
        found = self.recover(self.server)
        self.assertEqual(('stop', 'start', 'unlock'), found.steps)
        self.assert_healed(found, 'gpu1')


class TestBusy(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.add_gpu_server('train')

    def test_goes_on_when_it_is_over(self) -> None:
        body = {'migrate': {'host': 'gpu2'}}
        self.conn.compute.post(f'/servers/{self.server}/action', json=body)
        found = self.recover(self.server)
        self.assertIn('unconfirmed', found.diagnosis)
        self.assert_healed(found, 'gpu2')

    def test_host_is_down(self) -> None:
        self.servers[self.server] |= {
            'status': 'RESIZE',
            fake_moves.TASK: 'resize_finish',
        }
        record = self.add_migration(self.server, 'post-migrating')
        self._hypervisor('gpu2')['state'] = 'down'
        found = self.recover(self.server)
        self.assertEqual(recovery_run.FAILED, found.result)
        self.assertIn('compute service on gpu2 is down', found.detail)
        self.assertIn(record, ' '.join(found.instructions))

    def test_for_too_long(self) -> None:
        self.servers[self.server] |= {
            'status': 'RESIZE',
            fake_moves.TASK: 'resize_finish',
        }
        self.add_migration(self.server, 'post-migrating')
        run = self.new_run(timeout=0)
        found = recovery_run.recover(run, self.read(self.server))
        self.assertEqual(recovery_run.TIMED_OUT, found.result)
        self.assertIn('never does', ' '.join(found.instructions))

    def test_a_start_that_does_not_end(self) -> None:
        """What a start or a reboot takes is bounded as all else is."""

        def start(found: Any, body: Any) -> fake_moves.Steps:
            while True:
                found[fake_moves.TASK] = 'powering-on'
                yield

        self.servers[self.server]['status'] = 'SHUTOFF'
        self._start = start  # type: ignore[method-assign]
        run = self.new_run(timeout=0)
        found = recovery_run.recover(
            run, self.read(self.server), method='restart'
        )
        self.assertEqual(recovery_run.TIMED_OUT, found.result, found)
        self.assertIn('SHUTOFF powering-on', found.detail)

    def test_shelving_for_ever(self) -> None:
        self.servers[self.server][fake_moves.TASK] = 'shelving'
        run = self.new_run(timeout=0)
        found = recovery_run.recover(run, self.read(self.server))
        self.assertEqual(recovery_run.TIMED_OUT, found.result)
        self.assertIn(
            'openstack server set --auto-approve --state active '
            f'{self.server};',
            ' '.join(found.instructions),
        )

    def test_confirming_for_ever(self) -> None:
        """It is to be confirmed once more, and not to be given up."""
        self.servers[self.server]['status'] = 'VERIFY_RESIZE'
        record = self.add_migration(self.server, 'confirming')
        run = self.new_run(timeout=0)
        found = recovery_run.recover(run, self.read(self.server))
        self.assertIn(
            f"UPDATE migrations SET status='finished' WHERE uuid='{record}' "
            "AND status='confirming';",
            ' '.join(found.instructions),
        )

    def abandoned(self) -> str:
        """Leave a server as a source that died in the middle does."""
        record = self.add_migration(
            self.server, 'migrating', source_compute='gpu1'
        )
        held = self.placement.allocations[self.server]
        self.placement.allocations[record] = held
        self.placement.generations[record] = 1
        root = self.root_of('gpu2')
        card = self._free(root, moving_case.A100)[0]
        self.placement.allocations[self.server] = {
            root: moving_case.SOME,
            card: {moving_case.A100: 1},
        }
        return record

    def test_abandoned(self) -> None:
        record = self.abandoned()
        found = self.recover(self.server)
        self.assertEqual(recovery_run.BLOCKED, found.result)
        self.assertIn(
            f"uuid='{record}' AND status='migrating';",
            ' '.join(found.instructions),
        )
        self.migrations[-1]['status'] = 'failed'
        conflict = {'errors': [{'code': 'placement.concurrent_update'}]}
        posted = self.cloud.post(
            f'{base.PLACEMENT}/allocations',
            [
                {'status_code': 409, 'json': conflict},
                {'text': self.write_several},
            ],
        )
        healed = self.recover(self.server)
        self.assertEqual((recovery_model.SWAP,) * 2, healed.steps[:2], healed)
        self.assertEqual(2, posted.call_count)
        self.assertTrue(healed.is_healed)

    def write_several(self, request: Any, context: Any) -> str:
        for consumer, body in request.json().items():
            self.placement._put_allocations(consumer, body, context)
        context.status_code = 204
        return ''

    def test_stranded(self) -> None:
        """Its target died in the middle, and its record was mended."""
        self.act(self.server, 'migrate', host='gpu2')
        self.migrations[-1]['status'] = 'failed'
        self.servers[self.server] |= {
            'status': 'RESIZE',
            fake_moves.TASK: 'resize_finish',
        }
        found = self.recover(self.server)
        self.assertEqual(recovery_model.RESET, found.steps[0])
        self.assert_healed(found, 'gpu2')

    def test_stopped(self) -> None:
        run = self.new_run()
        run.stopped.set()
        found = recovery_run.recover(run, self.read(self.server))
        self.assertEqual(recovery_run.INTERRUPTED, found.result)

    def test_cannot_be_seen(self) -> None:
        run = self.new_run()
        self.disturb('GET /servers/', 500, times=3)
        found = recovery_run.recover(run, self.read(self.server))
        self.assertEqual(recovery_run.HEALTHY, found.result)
        for answer, times in ((500, 99), (403, 1)):
            self.disturb('GET /servers/', answer, times=times)
            with self.assertRaises(sdk_exceptions.HttpException):
                recovery_run.recover(run, self.read(self.server))
            self.faults.clear()


class TestMethods(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.add_gpu_server('train')

    def refused(self, method: str) -> str:
        before = self.made(self.server)
        with self.assertRaises(exceptions.CommandError) as caught:
            self.recover(self.server, method=method)
        self.assertEqual(before, self.made(self.server))
        text = str(caught.exception)
        self.assertIn(f'--method {method}', text)
        return text

    def test_of_no_use(self) -> None:
        for method in ('confirm', 'revert', 'bounce'):
            with self.subTest(method):
                self.refused(method)

    def test_confirm_and_revert(self) -> None:
        for method, host in (('revert', 'gpu1'), ('confirm', 'gpu2')):
            self.act(self.server, 'migrate', host='gpu2')
            found = self.recover(self.server, method=method)
            self.assert_healed(found, host)

    def test_restart(self) -> None:
        found = self.recover(self.server, method='restart')
        self.assertEqual(('stop', 'start', 'unlock'), found.steps)
        self.assert_healed(found, 'gpu1')

    def test_restart_would_destroy_it(self) -> None:
        self.break_(self.server, 'rollback')
        for method in ('restart', 'migrate'):
            self.assertIn('still claimed', self.refused(method))

    def test_migrate(self) -> None:
        self.servers[self.server]['OS-EXT-STS:power_state'] = 1
        found = self.recover(self.server, method='migrate')
        self.assert_healed(found, 'gpu2')

    def test_reset_is_refused(self) -> None:
        self.break_(self.server, 'destination')
        text = self.refused('reset')
        self.assertIn('Nova 26 (Zed)', text)
        self.assertIn('2.104', text)

    def test_not_while_unconfirmed(self) -> None:
        self.act(self.server, 'migrate', host='gpu2')
        for method in ('reset', 'restart', 'migrate', 'bounce'):
            self.refused(method)
        self.servers[self.server]['status'] = 'ERROR'
        for method in ('reset', 'restart', 'migrate'):
            self.refused(method)


class TestOldNova(TestCase):
    max_compute_microversion = '2.90'

    def test_reset(self) -> None:
        server = self.add_gpu_server('train')
        self.break_(server, 'destination')
        self.stale.clear()
        self.migrations[-1]['dest_compute'] = 'gpu2'
        run = self.new_run()
        found = recovery_run.recover(
            run, self.read(server), method='reset', is_dry=True
        )
        self.assertEqual(
            (recovery_model.REVIVE, recovery_model.STOP, recovery_model.START),
            found.steps,
        )
        self.recover(server, method='reset')
        made = self.made(server)
        begin = made.index('os-resetState')
        self.assertEqual(
            ['os-resetState', 'os-stop', 'os-start'], made[begin : begin + 3]
        )

    def test_only_in_error_on_the_destination(self) -> None:
        server = self.add_gpu_server('train')
        with self.assertRaisesRegex(exceptions.CommandError, 'in ERROR'):
            self.recover(server, method='reset')
