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

from typing import Any
from unittest import mock

from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from osc_gpu.cloud import marks
from osc_gpu.cloud import migration
from osc_gpu.cloud import migration_steps as steps
from osc_gpu.cloud import move_methods
from osc_gpu.cloud import moving_lanes
from osc_gpu.cloud import recovery_run
from osc_gpu.cloud import server_migration
from tests.unit.cloud import moving_case
from tests.unit import fake_moves

A100 = fake_moves.A100
T4 = 'CUSTOM_PCI_10DE_1EB8'


class TestCase(moving_case.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.add_gpu_server('train')

    def plan(
        self, *names: str, **wish: Any
    ) -> tuple[server_migration.Planned, ...]:
        return server_migration.plan(
            self.conn,
            self.new_run().world,
            names or ('train',),
            server_migration.Wish(**wish),
        )

    def refused(self, words: str, *names: str, **wish: Any) -> None:
        before = len(self.writes)
        with self.assertRaises(exceptions.CommandError) as caught:
            self.plan(*names, **wish)
        text = str(caught.exception)
        self.assertIn(words, text)
        self.assertTrue(text.startswith('Nothing was moved. '), text)
        self.assertNotIn('\n', text)
        self.assertEqual([], self.writes[before:])

    def lock(self, reason: str | None) -> None:
        self.servers[self.server] |= {'locked': True, 'locked_reason': reason}

    def mark(self, source: str) -> str:
        return marks.write_move(
            marks.Move('migrate', 'fade', marks.digest('c' * 32, source))
        )


class TestPlan(TestCase):
    def test_order(self) -> None:
        (planned,) = self.plan()
        order = planned.order
        self.assertEqual(
            (self.server, 'gpu1', move_methods.COLD),
            (order.server.id, order.source, order.method),
        )
        # A host that gives PCI devices is looked at before.
        self.assertEqual(planned.room, order.target)
        self.assertEqual(
            (True, True, False, marks.MIGRATE),
            (order.confirms, order.falls_back, order.is_forced, order.verb),
        )
        self.assertEqual(
            'its devices are not said to move while it runs',
            planned.order.why,
        )
        self.assertIn(planned.room, ('gpu2', 'gpu3'))

    def test_wishes(self) -> None:
        (planned,) = self.plan(
            target='gpu3',
            method=move_methods.LIVE,
            confirms=False,
            is_forced=True,
        )
        order = planned.order
        self.assertEqual(
            ('gpu3', 'live', False, False, True),
            (
                order.target,
                order.method,
                order.confirms,
                order.falls_back,
                order.is_forced,
            ),
        )
        self.assertEqual(
            ('as asked', 'gpu3'), (planned.order.why, planned.room)
        )

    def test_requests(self) -> None:
        world = self.new_run().world
        before = len(self.requests)
        server_migration.plan(
            self.conn, world, [self.server], server_migration.Wish()
        )
        asked = self.requests[before:]
        self.assertEqual(
            [
                f'GET /servers/{self.server}',
                f'GET /os-migrations?instance_uuid={self.server}',
                f'GET /servers/{self.server}',
                f'GET /allocations/{self.server}',
            ],
            asked[:4],
        )
        more = len(asked) - 4
        self.add_gpu_server('second')
        before = len(self.requests)
        server_migration.plan(
            self.conn, world, ['train', 'second'], server_migration.Wish()
        )
        self.assertEqual(2 * 4 + more, len(self.requests[before:]))

    def test_the_same_twice(self) -> None:
        self.assertEqual(1, len(self.plan('train', self.server, 'train')))

    def test_several_share_a_run(self) -> None:
        self.add_gpu_server('second')
        first, second = self.plan('train', 'second')
        self.assertEqual(first.order.run, second.order.run)
        self.assertNotEqual('', first.order.run)

    def test_odd_names(self) -> None:
        for name in ('a b', 'x(1)', '*', 'ünïcode', "it's"):
            server = self.add_gpu_server(name)
            (planned,) = self.plan(name)
            self.assertEqual(server, planned.order.server.id)
            del self.servers[server]
            del self.placement.allocations[server]

    def test_methods(self) -> None:
        self.servers[self.server]['image'] = ''
        (planned,) = self.plan()
        order = planned.order
        self.assertEqual(move_methods.SHELVE, order.method)
        # Else Nova might bring it back to where it was.
        self.assertNotIn(order.target, ('', 'gpu1'))
        self.assertEqual(planned.room, order.target)
        self.assertIn('volume', planned.order.why)

    def test_live(self) -> None:
        for provider in self.placement.providers.values():
            provider['traits'].append(move_methods.LIVE_TRAIT)
        (planned,) = self.plan()
        self.assertEqual(move_methods.LIVE, planned.order.method)
        self.assertTrue(planned.order.falls_back)

    def test_vgpu(self) -> None:
        self.vgpu_server('render')
        (planned,) = self.plan('render')
        self.assertEqual('vgpu2', planned.room)
        self.assertIn('vGPU', planned.order.why)
        # Nova chooses for whom that does no harm.
        self.assertEqual('', planned.order.target)

    def test_devices_that_are_uncounted(self) -> None:
        """Only Nova knows which hosts have them, so it chooses."""
        held = self.placement.allocations[self.server]
        for card in [card for card in held if A100 in held[card]]:
            del held[card]
        self.add_cards(self.add_host('gpu9'), 2, T4)
        (planned,) = self.plan()
        self.assertEqual(('', ''), (planned.room, planned.order.target))
        (planned,) = self.plan(target='gpu3')
        self.assertEqual('gpu3', planned.order.target)
        # Unshelved by Nova's choice it might be where it was.
        self.servers[self.server]['image'] = ''
        (planned,) = self.plan()
        self.assertEqual(move_methods.COLD, planned.order.method)
        self.refused('name one with --host', method=move_methods.SHELVE)
        for wish in (
            {'target': 'gpu3'},
            {'target': 'gpu3', 'method': move_methods.SHELVE},
        ):
            (planned,) = self.plan(**wish)
            self.assertEqual(move_methods.SHELVE, planned.order.method)
            self.assertEqual('gpu3', planned.order.target)

    def test_uncounted_on_a_disabled_host(self) -> None:
        """Nova unshelves it anywhere but there."""
        held = self.placement.allocations[self.server]
        for card in [card for card in held if A100 in held[card]]:
            del held[card]
        self.add_cards(self.add_host('gpu9'), 2, T4)
        self.servers[self.server]['image'] = ''
        self.hypervisors[0]['status'] = 'disabled'
        (planned,) = self.plan()
        self.assertEqual(move_methods.SHELVE, planned.order.method)

    def test_classes_that_the_user_says_are_gpus(self) -> None:
        for host in ('gpu1', 'gpu2'):
            self.placement.provider(
                f'{host}_thing', self.root_of(host), CUSTOM_THING=1
            )
        server = self.add_server(
            'thing',
            {'resources:CUSTOM_THING': '1'},
            (self.root_of('gpu1'), moving_case.SOME),
            host='gpu1',
        )
        self.refused('has no GPU', 'thing')
        (planned,) = self.plan('thing', also=('CUSTOM_THING',))
        self.assertEqual(
            (server, 'gpu2'), (planned.order.server.id, planned.room)
        )


class TestOldNova(TestCase):
    """It cannot be told where to unshelve a server."""

    max_compute_microversion = '2.90'

    def test_never_shelved(self) -> None:
        self.servers[self.server]['image'] = ''
        (planned,) = self.plan()
        self.assertEqual(move_methods.COLD, planned.order.method)
        self.refused('takes compute API 2.91', method=move_methods.SHELVE)


class TestLimits(TestCase):
    """What Nova heeds whoever names the host."""

    def pin(self, zone: str, *hosts: str) -> None:
        self.add_aggregate(zone, list(hosts), availability_zone=zone)
        self.servers[self.server]['pinned_availability_zone'] = zone

    def test_zone(self) -> None:
        (before,) = self.plan()
        other = 'gpu2' if before.room == 'gpu3' else 'gpu3'
        self.pin('az1', 'gpu1', other)
        (planned,) = self.plan()
        self.assertEqual((other, other), (planned.room, planned.order.target))

    def test_zone_that_the_user_would_leave(self) -> None:
        self.pin('az1', 'gpu1', 'gpu3')
        self.refused(
            'train: not to gpu2: it was asked for in availability zone az1',
            target='gpu2',
        )

    def test_anti_affinity(self) -> None:
        self.add_group('g', 'anti-affinity', self.server)
        for host in ('gpu2', 'gpu3'):
            near = self.add_server('near', host=host)
            self.groups[0]['members'] = [self.server, near]
            (planned,) = self.plan()
            self.assertNotEqual(host, planned.order.target)
            self.refused('group g (anti-affinity)', target=host)
            del self.servers[near]

    def test_anti_affinity_of_those_that_move(self) -> None:
        second = self.add_gpu_server('second')
        self.add_group('g', 'anti-affinity', self.server, second)
        rooms = {one.order.target for one in self.plan('train', 'second')}
        self.assertEqual({'gpu2', 'gpu3'}, rooms)
        wish = {'target': 'gpu2'}
        self.refused('server group allows', 'train', 'second', **wish)
        self.groups[0]['rules'] = {'max_server_per_host': 2}
        self.assertEqual(2, len(self.plan('train', 'second', **wish)))

    def test_requests(self) -> None:
        """Once for all servers, but for one of each host that they leave."""
        self.pin('az1', 'gpu1', 'gpu2', 'gpu3')
        self.add_gpu_server('second')
        self.add_group('g', 'anti-affinity')
        before = len(self.requests)
        self.plan('train', 'second')
        asked = self.requests[before:]
        for request, times in (
            ('GET /os-server-groups', 2),
            ('GET /servers/detail?host=gpu1', 1),
            ('GET /os-hypervisors/detail?with_servers=True', 1),
        ):
            self.assertEqual(
                times, sum(r.startswith(request) for r in asked), asked
            )


class TestGoesOn(TestCase):
    def test_where_it_was_interrupted(self) -> None:
        self.lock(self.mark('gpu1'))
        (planned,) = self.plan()
        self.assertEqual(
            ('fade', 'gpu1'), (planned.order.run, planned.order.source)
        )

    def test_under_way(self) -> None:
        for status, task, record in (
            ('RESIZE', 'resize_prep', 'migrating'),
            ('VERIFY_RESIZE', None, 'finished'),
        ):
            server = self.add_gpu_server(status, 'gpu2', status=status)
            self.servers[server][fake_moves.TASK] = task
            self.add_migration(server, record)
            before = len(self.requests)
            (planned,) = self.plan(status)
            self.assertEqual('gpu1', planned.order.source)
            self.assertEqual(f'goes on from {status}', planned.order.why)
            # Room for it is taken already.
            self.assertLess(len(self.requests) - before, 8)

    def test_it_has_left(self) -> None:
        self.lock(self.mark('gpu3'))
        (planned,) = self.plan(target='gpu1')
        self.assertEqual('gpu3', planned.order.source)
        self.assertEqual('goes on from ACTIVE', planned.order.why)
        outcome = migration.move(self.run_, planned.order)
        self.assertEqual(steps.MIGRATED, outcome.result)

    def test_shelved(self) -> None:
        self.lock(self.mark('gpu1'))
        self.servers[self.server]['status'] = 'SHELVED_OFFLOADED'
        self._place(self.servers[self.server], '')
        del self.placement.allocations[self.server]
        (planned,) = self.plan()
        self.assertEqual('gpu1', planned.order.source)
        self.assertEqual('goes on from SHELVED_OFFLOADED', planned.order.why)
        # Left to Nova, it may go back to where it was.
        self.assertEqual('shelve', planned.order.method)
        self.assertIn(planned.order.target, ('gpu2', 'gpu3'))

    def test_a_mark_that_its_owner_wrote(self) -> None:
        for source in ('elsewhere', ''):
            self.lock(self.mark(source))
            (planned,) = self.plan(target='gpu3')
            self.assertEqual('gpu1', planned.order.source)
            outcome = migration.move(self.run_, planned.order)
            self.assertEqual(
                (steps.MIGRATED, 'gpu3'), (outcome.result, outcome.server.host)
            )
            self.remove(self.server)
            self.server = self.add_gpu_server('train')


class TestRefused(TestCase):
    def test_unknown(self) -> None:
        for name in ('nobody', '0' * 8 + '-0000-0000-0000-' + '0' * 12):
            with self.assertRaises(sdk_exceptions.NotFoundException):
                self.plan('train', name)
        self.assertEqual([], self.writes)

    def test_ambiguous(self) -> None:
        twin = self.add_server('other', fake_moves.ALIAS, host='gpu1')
        self.servers[twin]['name'] = 'train'
        with self.assertRaises(sdk_exceptions.DuplicateResource):
            self.plan()

    def test_no_gpu(self) -> None:
        plain = self.add_server('plain', host='gpu1')
        self.refused(
            f'plain has no GPU: use openstack server migrate {plain}',
            'train',
            'plain',
        )

    def test_each_with_its_reasons(self) -> None:
        self.add_gpu_server('second')
        for server in self.servers.values():
            server['status'] = 'PAUSED'
        self.lock('mine')
        self.refused('train: it is PAUSED; ', 'train', 'second')
        self.refused(
            '; somebody has locked it: mine. second: it is PAUSED',
            'train',
            'second',
        )

    def test_one_is_refused(self) -> None:
        self.add_gpu_server('second')
        self.lock('mine')
        self.refused('train: somebody has locked it: mine.', 'second', 'train')

    def test_no_room(self) -> None:
        for host in ('gpu2', 'gpu3'):
            for card in self._free(self.root_of(host), A100):
                if card != self.root_of(host):
                    self.placement.fill(card)
        self.refused('train: no room')
        self.refused('train: no room', target='gpu2')
        # Nova may know better, but then again it would not.
        self.refused('train: no room', is_forced=True)

    def test_room_for_one_only(self) -> None:
        self.add_gpu_server('second')
        cards = self._free(self.root_of('gpu2'), A100)
        self.placement.fill(cards[0])
        self.refused('no room beside', 'train', 'second', target='gpu2')
        self.assertEqual(2, len(self.plan('train', 'second')))

    def test_another_model(self) -> None:
        self.add_cards(self.add_host('gpu9'), 2, T4)
        self.refused('train: no room', target='gpu9')

    def test_disabled(self) -> None:
        self.hypervisors[1]['status'] = 'disabled'
        self.refused('train: gpu2 is disabled', target='gpu2')

    def test_on_two_hosts(self) -> None:
        self.placement.hold(self.server, self.root_of('gpu2'), VCPU=1)
        self.refused('also has allocations on gpu2')
        self.assertEqual(1, len(self.plan(is_forced=True)))

    def test_a_tenant(self) -> None:
        self.disturb('GET', 403)
        with self.assertRaises(sdk_exceptions.ForbiddenException):
            server_migration.plan(
                self.conn, self.run_.world, ['train'], server_migration.Wish()
            )


class TestCarryOut(TestCase):
    def carry_out(self, **more: Any) -> list[migration.Outcome]:
        orders = [self.order(server) for server in sorted(self.servers)]
        rules = moving_lanes.Rules(1, 0, **more.pop('rules', {}))
        found = server_migration.carry_out(self.run_, orders, rules, **more)
        self.assertEqual(
            [order.server.id for order in orders], [o.server.id for o in found]
        )
        return list(found)

    def test_all_is_well(self) -> None:
        (outcome,) = self.carry_out()
        self.assertEqual(steps.MIGRATED, outcome.result)
        self.assert_whole(self.server, outcome.server.host)
        self.assertFalse(self.servers[self.server]['locked'])

    def test_poison(self) -> None:
        second = self.add_gpu_server('second')
        for server in (self.server, second):
            self.spoil(server, 'destination')
        found = self.carry_out()
        self.assertEqual(
            [steps.POISONED, steps.NOT_BEGUN], [o.result for o in found]
        )
        self.assertEqual(
            [True, False],
            [self.servers[o.server.id]['locked'] for o in found],
        )

    def test_in_the_order_of_the_orders(self) -> None:
        """Whatever the lanes are: those of one host are done in one go."""
        second = self.add_gpu_server('second')
        third = self.add_gpu_server('third', 'gpu2')
        orders = [
            self.order(self.server, target='gpu3'),
            self.order(third, target='gpu1'),
            self.order(second, target='gpu3'),
        ]
        found = server_migration.carry_out(
            self.run_, orders, moving_lanes.Rules(1, 0)
        )
        self.assertEqual(
            [self.server, third, second], [o.server.id for o in found]
        )
        self.assertEqual({steps.MIGRATED}, {o.result for o in found})
        done = [s.split(':')[0] for s in self.said if s.endswith(': lock')]
        self.assertEqual(['train', 'second', 'third'], done)

    def test_goes_on_after_poison(self) -> None:
        second = self.add_gpu_server('second')
        self.spoil(self.server, 'destination')
        found = self.carry_out(rules={'stops_at_poison': False})
        results = {o.server.id: o.result for o in found}
        self.assertEqual(
            {self.server: steps.POISONED, second: steps.MIGRATED}, results
        )

    def test_who_failed_is_unlocked(self) -> None:
        self.spoil(self.server, 'no valid host')
        (outcome,) = self.carry_out()
        self.assertEqual(
            (steps.FAILED, True), (outcome.result, outcome.is_clean)
        )
        self.assertFalse(self.servers[self.server]['locked'])

    def test_paused_after_it_was_locked(self) -> None:
        def lock(server: Any, body: Any) -> fake_moves.Steps:
            server |= {'locked': True, 'locked_reason': body['locked_reason']}
            server['status'] = 'PAUSED'
            yield from ()

        with mock.patch.object(self, '_lock', lock):
            (outcome,) = self.carry_out()
        self.assertEqual(
            (steps.REFUSED, 'it is PAUSED'), (outcome.result, outcome.detail)
        )
        self.assertFalse(self.servers[self.server]['locked'])

    def test_recover(self) -> None:
        for kind, healed, result in (
            ('destination', True, steps.RECOVERED),
            ('destination', False, steps.POISONED),
            ('no valid host', True, steps.FAILED),
            (None, True, steps.MIGRATED),
        ):
            with self.subTest(kind, healed=healed):
                self.remove(self.server)
                self.server = self.add_gpu_server('train')
                if kind:
                    self.spoil(self.server, kind)
                done = mock.Mock(
                    server=self.read(self.server),
                    is_healed=healed,
                    detail='bounced',
                )
                with mock.patch.object(
                    recovery_run, 'recover', autospec=True, return_value=done
                ) as recover:
                    (outcome,) = self.carry_out(recovers=True)
                self.assertEqual(result, outcome.result)
                if kind == 'destination':
                    recover.assert_called_once()
                    said = '; bounced'
                    if healed:
                        said += '; it is still on gpu1'
                    self.assertTrue(outcome.detail.endswith(said))
                else:
                    recover.assert_not_called()

    def test_a_recovery_that_is_refused(self) -> None:
        """It costs nobody a row."""
        second = self.add_gpu_server('second')
        for server in (self.server, second):
            self.spoil(server, 'destination')
        for refusal in (
            sdk_exceptions.SDKException('Quota exceeded'),
            exceptions.CommandError('Quota exceeded'),
        ):
            with mock.patch.object(
                recovery_run, 'recover', autospec=True, side_effect=refusal
            ) as recover:
                found = self.carry_out(
                    recovers=True, rules={'stops_at_poison': False}
                )
            self.assertEqual(2, recover.call_count)
            for outcome in found:
                self.assertEqual(steps.POISONED, outcome.result)
                self.assertTrue(
                    outcome.detail.endswith('; not recovered: Quota exceeded'),
                    outcome.detail,
                )
