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


from osc_lib import exceptions

from osc_gpu.cloud import drain_plan
from osc_gpu.cloud import marks
from tests.unit.cloud import wire
from tests.unit import fake_cloud

A100 = fake_cloud.A100
ALIAS = {'pci_passthrough:alias': 'a:1'}
VGPU = {'resources:VGPU': '1'}
SIZES = {'VCPU': 1, 'MEMORY_MB': 128, 'DISK_GB': 1}
LIVE = 'HW_PCI_LIVE_MIGRATABLE'
LISTS = [
    'GET /os-hypervisors/detail?with_servers=True',
    'GET /os-migrations?host=gpu1',
    'GET /os-migrations?status=error',
    'GET /os-migrations?status=finished',
    'GET /servers/detail?locked=True&all_tenants=True',
    'GET /servers/detail?host=gpu1&all_tenants=True',
]
ROOM = [
    'GET /resource_providers',
    'GET /allocation_candidates?resources=MEMORY_MB:1',
    'GET /os-aggregates',
]


class TestCase(fake_cloud.TestCase, wire.TestCase):
    """Three hosts with two cards and a vGPU card each."""

    def setUp(self):
        super().setUp()
        self.roots, self.cards, self.mdevs = [], [], []
        for n in (1, 2, 3):
            self.add_gpu_host(f'gpu{n}')

    def add_gpu_host(self, name, cards=2, **more):
        root = self.add_host(name, VCPU=16, MEMORY_MB=4096, DISK_GB=100)
        self.roots.append(root)
        self.cards.append(self.add_cards(root, cards, **more))
        self.mdevs.append(self.add_vgpus(root, 4))

    def alias(self, name, card=0, **changes):
        return self.server(
            name, ALIAS, (self.cards[0][card], {A100: 1}), **changes
        )

    def vgpu(self, name, **changes):
        return self.server(
            name, VGPU, (self.mdevs[0][0], {'VGPU': 1}), **changes
        )

    def server(self, name, specs, *held, **changes):
        changes = {'host': 'gpu1', 'image': {'id': 'i'}} | changes
        return self.add_server(
            name, specs, (self.roots[0], SIZES), *held, **changes
        )

    def mark(self, server, host='gpu1', verb=marks.MIGRATE):
        found = self.servers[server]
        source = marks.digest(found['tenant_id'], host)
        found['locked'] = True
        found['locked_reason'] = marks.write_move(
            marks.Move(verb, 'abcdef', source)
        )

    def plan(self, host='gpu1', **more):
        plan = drain_plan.read(self.conn, host, **more)
        self.assertEqual(host, plan.host)
        return plan.moves

    def move(self, **more):
        (move,) = self.plan(**more)
        return move

    def rows(self, **more):
        return [(m.server.name, m.method, m.target) for m in self.plan(**more)]

    def blocked(self, **more):
        """The reason of the one server that is to leave, and cannot."""
        move = self.move(**more)
        self.assertTrue(move.is_blocked, move)
        self.assertEqual('', move.target)
        return move.why

    def refused(self, **more):
        with self.assertRaises(exceptions.CommandError) as caught:
            self.plan(**more)
        return str(caught.exception)


class TestRequests(TestCase):
    def test_nobody(self):
        self.assertEqual((), self.plan())
        self.assertEqual(LISTS, self.requests)

    def test_number_does_not_grow_with_servers(self):
        for n in range(2):
            self.alias(f'a{n}', n)
        for n in range(3):
            self.vgpu(f'v{n}')
        for n in range(4):
            self.server(f'w{n}', {})
        self.assertEqual(9, len(self.plan()))
        self.assertCountEqual(
            [
                *LISTS,
                *ROOM,
                # One set of aliases: up to three of its servers.
                *(
                    f'GET /allocations/{server}'
                    for server, found in self.servers.items()
                    if found['name'] in ('a0', 'a1')
                ),
                'GET /resource_providers?resources=DISK_GB:1',
                'GET /resource_providers?resources=MEMORY_MB:128',
                'GET /resource_providers?resources=VCPU:1',
                'GET /resource_providers?resources=VGPU:1',
                'GET /os-server-groups?all_projects=True&offset=0',
            ],
            self.requests,
        )

    def test_zones_and_groups(self):
        server = self.vgpu('v')
        self.add_aggregate('z', ['gpu1', 'gpu2'], availability_zone='z1')
        self.add_group('g', 'soft-affinity', server)
        self.plan()
        self.assertEqual(
            [
                'GET /os-server-groups?all_projects=True&offset=0',
                'GET /os-server-groups?all_projects=True&offset=1',
                'GET /servers/detail?host=gpu1&all_tenants=True',
            ],
            self.requests[-3:],
        )
        self.assertIn('2.96', self.microversions('compute'))


class TestPlan(TestCase):
    def test_order_and_targets(self):
        self.server('web', {})
        self.vgpu('v')
        self.server(
            'two',
            {'pci_passthrough:alias': 'a:2'},
            *((card, {A100: 1}) for card in self.cards[0]),
        )
        self.server('stuck', {}, status='PAUSED')
        self.add_host('plain')
        self.assertEqual(
            [
                ('two', 'cold', 'gpu2'),
                ('v', 'cold', 'gpu2'),
                ('web', 'live', 'plain'),
                ('stuck', 'cold', ''),
            ],
            self.rows(),
        )

    def test_why(self):
        self.alias('a')
        self.assertEqual(
            'its devices are not said to move while it runs', self.move().why
        )

    def test_service_is_named_otherwise_than_its_node(self):
        for found in self.hypervisors:
            name = found['hypervisor_hostname']
            found['service']['host'] = f'svc-{name}'
        self.alias('a', host='svc-gpu1')
        self.add_gpu_host('gpu4', cards=1)
        move = drain_plan.read(self.conn, 'svc-gpu1').moves[0]
        self.assertEqual('gpu4', move.target)
        move = drain_plan.read(self.conn, 'gpu1', targets=['gpu3']).moves[0]
        self.assertEqual('svc-gpu3', move.target)

    def test_gpu_only(self):
        self.server('web', {})
        self.alias('a')
        self.server('hidden', {}, flavor={'original_name': 'h'})
        moves = self.plan(gpu_only=True)
        self.assertEqual(['a', 'hidden'], [m.server.name for m in moves])

    def test_excluded(self):
        first, _second = self.alias('a'), self.alias('b', 1)
        self.assertEqual(
            ['b'], [row[0] for row in self.rows(excluded=[first])]
        )
        self.assertEqual(['a'], [r[0] for r in self.rows(excluded=['b'])])
        self.assertEqual([], self.rows(excluded=['b', 'a']))
        self.assertEqual(
            "No server on gpu1 has the name or ID 'c'",
            self.refused(excluded=['c']),
        )
        self.servers[first]['name'] = 'b'
        self.assertIn(
            "More than one server on gpu1 is named 'b': ",
            self.refused(excluded=['b']),
        )

    def test_excluded_is_refused_before_anything_else(self):
        self.alias('a')
        self.refused(excluded=['c'])
        self.assertEqual(LISTS, self.requests)

    def test_targets(self):
        self.alias('a')
        self.assertEqual('gpu3', self.move(targets=['gpu3']).target)
        self.assertEqual(
            "No compute service host named 'gpu9'; list them with: openstack "
            'gpu host list --all',
            self.refused(targets=['gpu9']),
        )
        self.assertIn(
            'No server can go to --target gpu1: it is on gpu1',
            self.refused(targets=['gpu2', 'gpu1']),
        )
        self.hypervisors[1]['state'] = 'down'
        self.assertIn('gpu2 is down', self.refused(targets=['gpu2']))
        self.hypervisors[1] |= {'state': 'up', 'status': 'disabled'}
        self.hypervisors[1]['service']['disabled_reason'] = 'fans'
        self.assertIn(
            'gpu2 is disabled (fans)', self.refused(targets=['gpu2'])
        )

    def test_unknown_host(self):
        self.assertIn("host named 'gpu9'", self.refused(host='gpu9'))

    def test_no_room(self):
        self.alias('a')
        for cards in self.cards[1:]:
            for card in cards:
                self.placement.fill(card)
        self.assertEqual(f'no room: {A100} on 2 hosts', self.blocked())
        self.assertEqual(
            f'no room on gpu2: {A100} on 1 host',
            self.blocked(targets=['gpu2']),
        )

    def test_target_of_another_model(self):
        self.add_gpu_host('gpu4', resource_class='CUSTOM_PCI_10DE_1DB6')
        self.alias('a')
        self.assertEqual(
            f'no room on gpu4: the host lacks {A100}',
            self.blocked(targets=['gpu4']),
        )

    def test_volume_needs_no_disk(self):
        for root in self.roots[1:]:
            self.placement.stock(root, DISK_GB=0)
        self.alias('a')
        self.assertEqual('no room: disk on 2 hosts', self.blocked())
        for server in self.servers.values():
            server['image'] = ''
        move = self.move()
        self.assertEqual(('shelve', 'gpu2'), (move.method, move.target))

    def test_method(self):
        self.alias('a')
        for method in ('cold', 'shelve', 'live'):
            move = self.move(method=method)
            self.assertEqual(
                (method, 'as asked', False),
                (move.method, move.why, move.is_blocked),
            )

    def test_method_that_nova_refuses(self):
        self.alias('a', status='SHUTOFF')
        self.assertIn('--method cold', self.blocked(method='live'))
        self.assertIn('would start it', self.blocked(method='shelve'))
        self.assertEqual('cold', self.move().method)
        for server in self.servers.values():
            server['status'] = 'ACTIVE'
            server['flavor']['ephemeral'] = 1
        self.assertIn('ephemeral', self.blocked(method='shelve'))

    def test_live_devices(self):
        for cards in self.cards:
            for card in cards:
                self.placement.providers[card]['traits'].append(LIVE)
        first, second = self.alias('a'), self.alias('b', 1)
        self.placement.providers[self.cards[0][1]]['traits'].remove(LIVE)
        methods = {m.server.id: m.method for m in self.plan()}
        self.assertEqual({first: 'live', second: 'cold'}, methods)

    def test_what_is_not_counted(self):
        self.server('a', {'hw:mem_page_size': 'large'})
        self.assertIn('; not counted: hw:mem_page_size=large', self.move().why)
        for root in self.roots[1:]:
            del self.placement.providers[root]['inventory']['DISK_GB']
        self.assertIn('hw:mem_page_size=large, shared disk', self.move().why)

    def test_pci_not_in_placement(self):
        for card in flat(self.cards):
            del self.placement.providers[card]
        self.server('a', ALIAS)
        move = self.move()
        self.assertEqual(('', False), (move.target, move.is_blocked))
        self.assertIn('no PCI devices in Placement: Nova chooses', move.why)
        move = self.move(targets=['gpu3'])
        self.assertEqual('gpu3', move.target)
        self.assertIn('devices are not counted', move.why)


def flat(lists):
    return [item for found in lists for item in found]


class TestOldNova(TestCase):
    """It cannot be told where to unshelve a server."""

    max_compute_microversion = '2.90'

    def test_never_shelved(self):
        self.alias('a', image='')
        move = self.move()
        self.assertEqual(('cold', False), (move.method, move.is_blocked))
        self.assertIn('cannot be told where to unshelve', move.why)
        self.assertIn('compute API 2.91', self.blocked(method='shelve'))


class TestBlocked(TestCase):
    def test_statuses(self):
        for status, words in (
            ('PAUSED', 'openstack server unpause'),
            ('SUSPENDED', 'openstack server resume'),
            ('RESCUE', 'openstack server unrescue'),
            ('SHELVED', 'openstack server unshelve'),
            ('ERROR', 'openstack gpu server recover'),
            ('BUILD', 'wait'),
            ('PASSWORD', 'PASSWORD'),
        ):
            with self.subTest(status):
                server = self.alias('a', status=status)
                why = self.blocked()
                self.assertIn(words, why)
                if words.startswith('openstack'):
                    self.assertIn(server, why)
                self.assertNotIn('\n', why)

    def test_task(self):
        self.alias('a', **{'OS-EXT-STS:task_state': 'image_snapshot'})
        self.assertIn('image_snapshot', self.blocked())

    def test_lock(self):
        server = self.alias('a', locked=True, locked_reason='mine')
        self.assertEqual('somebody has locked it: mine', self.blocked())
        self.mark(server)
        self.assertEqual('gpu2', self.move().target)

    def test_stale_claim(self):
        server = self.alias('a')
        self.add_migration(
            server, 'error', source_compute='gpu1', dest_compute='gpu2'
        )
        self.add_action(
            server, '2026-11-21T06:00:01', 'compute_resize_instance'
        )
        self.assertIn('still claimed for it on gpu2', self.blocked())

    def test_failed_claim_leaves_nothing(self):
        server = self.alias('a')
        self.add_migration(server, 'error')
        self.add_action(server, '2026-11-21T06:00:01', 'compute_prep_resize')
        self.assertFalse(self.move().is_blocked)

    def test_stale_claim_that_was_healed(self):
        """What acquits it is between other hosts."""
        server = self.alias('a')
        for status, source, target in (
            ('error', 'gpu2', 'gpu3'),
            ('confirmed', 'gpu2', 'gpu3'),
            ('confirmed', 'gpu3', 'gpu2'),
            ('confirmed', 'gpu2', 'gpu1'),
        ):
            self.add_migration(
                server, status, source_compute=source, dest_compute=target
            )
        self.add_action(
            server, '2026-11-21T06:00:01', 'compute_resize_instance'
        )
        self.assertFalse(self.move().is_blocked)
        self.assertIn(
            f'GET /os-migrations?instance_uuid={server}', self.requests
        )
        self.migrations[2]['status'] = 'reverted'
        self.assertIn('still claimed', self.blocked())

    def test_never_confirmed(self):
        server = self.vgpu('v')
        self.add_migration(
            server, 'finished', source_compute='gpu2', dest_compute='gpu1'
        )
        self.assertIn('was never confirmed', self.blocked())

    def test_flavors(self):
        self.server('a', {'accel:device_profile': 'fpga'})
        self.assertIn('accel:device_profile', self.blocked())
        self.server('a', {}, flavor={'original_name': 'h'})
        self.assertIn('extra specs', self.blocked())

    def test_source_down(self):
        self.alias('a')
        self.hypervisors[0]['state'] = 'down'
        self.assertIn('gpu1 is down', self.blocked())

    def test_one_does_not_block_the_others(self):
        self.alias('a', status='ERROR')
        self.alias('b', 1)
        moves = self.plan()
        self.assertEqual(
            [('b', False), ('a', True)],
            [(m.server.name, m.is_blocked) for m in moves],
        )


class TestGoesOn(TestCase):
    def goes_on(self, *expected):
        move = self.move()
        self.assertFalse(move.is_blocked)
        self.assertEqual(expected, (move.method, move.target, move.why))

    def test_unconfirmed(self):
        server = self.alias('a', host='gpu3', status='VERIFY_RESIZE')
        self.add_migration(server, 'finished', dest_compute='gpu3')
        self.goes_on('cold', 'gpu3', 'goes on: waits to be confirmed on gpu3')
        self.mark(server)
        self.goes_on('cold', 'gpu3', 'goes on: waits to be confirmed on gpu3')

    def test_unconfirmed_here(self):
        """It came here, and has to leave after it is confirmed."""
        server = self.alias('a', status='VERIFY_RESIZE')
        self.add_migration(
            server, 'finished', source_compute='gpu3', dest_compute='gpu1'
        )
        self.goes_on('cold', 'gpu2', 'goes on: waits to be confirmed on gpu1')

    def test_resize_to_another_flavor(self):
        server = self.alias('a', host='gpu3', status='VERIFY_RESIZE')
        self.add_migration(
            server, 'finished', dest_compute='gpu3', migration_type='resize'
        )
        self.assertIn('owner to confirm', self.blocked())

    def test_under_way(self):
        server = self.alias('a', status='RESIZE')
        self.add_migration(server, 'migrating', dest_compute='gpu3')
        self.goes_on('cold', 'gpu3', 'goes on: is on its way to gpu3')
        self.migrations[0] |= {'status': 'pre-migrating', 'dest_compute': ''}
        self.goes_on('cold', '', 'goes on: Nova looks for a host')

    def test_reverted_to_here(self):
        server = self.alias('a', host='gpu2', status='REVERT_RESIZE')
        self.add_migration(server, 'reverting')
        move = self.move()
        self.assertEqual('goes on: goes back to gpu1', move.why)
        self.assertIn(move.target, ('gpu2', 'gpu3'))

    def test_live(self):
        server = self.server('a', {}, status='MIGRATING')
        self.add_migration(server, 'running', migration_type='live-migration')
        self.goes_on('live', 'gpu2', 'goes on: is on its way to gpu2')

    def test_shelved_by_us(self):
        server = self.alias('a', host='', status='SHELVED_OFFLOADED')
        self.assertEqual((), self.plan())
        self.mark(server)
        self.goes_on('shelve', 'gpu2', 'goes on: shelved_offloaded')
        self.mark(server, 'gpu2')
        self.assertEqual((), self.plan())

    def test_being_shelved_by_us(self):
        server = self.alias('a', **{'OS-EXT-STS:task_state': 'shelving'})
        self.mark(server)
        self.goes_on('shelve', 'gpu2', 'goes on: shelving')

    def test_moved_and_not_yet_unlocked(self):
        server = self.alias('a', host='gpu3')
        self.assertEqual((), self.plan())
        self.mark(server)
        self.goes_on('cold', 'gpu3', 'goes on: is on gpu3 already')

    def test_left_behind_by_a_reset_state(self):
        """It is elsewhere, and not this host's to move."""
        server = self.alias('a', host='gpu3')
        self.add_migration(server, 'finished', dest_compute='gpu3')
        self.assertEqual((), self.plan())

    def test_gone_meanwhile(self):
        self.add_migration('gone', 'migrating')
        self.assertEqual((), self.plan())

    def test_those_on_their_way_come_first(self):
        self.alias('a')
        server = self.alias('b', 1, host='gpu3', status='VERIFY_RESIZE')
        self.add_migration(server, 'finished', dest_compute='gpu3')
        self.assertEqual(['b', 'a'], [row[0] for row in self.rows()])


class TestLimits(TestCase):
    def test_anti_affinity(self):
        first, second = self.alias('a'), self.alias('b', 1)
        self.add_group('g', 'anti-affinity', first, second)
        targets = {row[2] for row in self.rows()}
        self.assertEqual({'gpu2', 'gpu3'}, targets)
        third = self.server('c', {}, host='gpu2')
        self.groups[0]['members'].append(third)
        moves = self.plan()
        self.assertEqual(['gpu3', ''], [move.target for move in moves])
        self.assertEqual('no room that its server group allows', moves[1].why)

    def test_several_per_host(self):
        first = self.alias('a')
        other = self.server('c', {}, host='gpu2')
        self.add_group('g', 'anti-affinity', first, other)
        self.assertEqual('gpu3', self.move().target)
        self.groups[0]['rules'] = {'max_server_per_host': 2}
        self.assertEqual('gpu2', self.move().target)

    def test_affinity(self):
        first = self.alias('a')
        self.add_group('g', 'affinity', first)
        self.assertIn('group g (affinity)', self.blocked())
        self.assertIn('--method shelve', self.blocked())
        self.assertFalse(self.move(method='shelve').is_blocked)
        near = self.server('d', {}, host='gpu1')
        self.groups[0]['members'].append(near)
        for method in ('cold', 'shelve'):
            self.assertEqual(
                'server group g (affinity) keeps it here',
                self.plan(method=method)[0].why,
            )
        del self.servers[near]
        other = self.server('c', {}, host='gpu3')
        self.groups[0]['members'].append(other)
        self.assertEqual('gpu3', self.move().target)
        self.groups[0]['policy'] = 'soft-affinity'
        self.assertEqual('gpu2', self.move().target)

    def test_tenants(self):
        self.alias('a')
        project = next(iter(self.servers.values()))['tenant_id']
        self.add_aggregate('t', ['gpu2'], filter_tenant_id='x, y')
        self.assertEqual('gpu3', self.move().target)
        self.assertTrue(self.move(targets=['gpu2']).is_blocked)
        more = {'filter_tenant_id3': f'z,{project}'}
        self.add_aggregate('more', ['gpu2', 'gpu3'], **more)
        self.assertEqual('gpu2', self.move().target)
        self.add_aggregate('none', ['gpu1'], filter_tenant='x')
        self.assertEqual('gpu2', self.move().target)

    def test_where_it_failed(self):
        """It goes elsewhere, and there again if there is nothing else."""
        server = self.alias('a')
        for failed, target in (
            ((), 'gpu2'),
            (('gpu2',), 'gpu3'),
            (('gpu2', 'gpu3'), 'gpu2'),
        ):
            move = self.move(failed={server: failed})
            self.assertEqual((target, False), (move.target, move.is_blocked))

    def test_zone(self):
        self.add_aggregate('z', ['gpu1', 'gpu3'], availability_zone='z1')
        self.alias('a')
        self.assertEqual('gpu2', self.move().target)
        self.alias('a', pinned_availability_zone='z1')
        self.assertEqual('gpu3', self.move().target)
        self.alias('a', pinned_availability_zone='nova')
        self.assertEqual('gpu2', self.move().target)
