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

from osc_gpu.cloud import audit
from tests.unit.cloud import wire
from tests.unit import fake_cloud

A100 = fake_cloud.A100
T4 = 'CUSTOM_PCI_10DE_1EB8'
ALIAS = {'pci_passthrough:alias': 'a100:1'}
ALIAS_T4 = {'pci_passthrough:alias': 't4:1'}
VGPU = {'resources:VGPU': '1'}
HOST = {'VCPU': 1, 'MEMORY_MB': 128}


class TestCase(fake_cloud.TestCase, wire.TestCase):
    """Two hosts with two A100 each, one with vGPUs; nothing is wrong."""

    def setUp(self) -> None:
        super().setUp()
        self.roots = [self.add_host(name) for name in ('gpu1', 'gpu2')]
        self.cards = [self.add_cards(root, 2) for root in self.roots]
        self.vroot = self.add_host('vgpu1')
        self.vgpus = self.add_vgpus(self.vroot, 4, 4)
        self.nova.add('alias', ALIAS)
        self.nova.add('vgpu', VGPU)
        self.good = self.add_server(
            'good',
            ALIAS,
            (self.roots[0], HOST),
            (self.cards[0][0], {A100: 1}),
            host='gpu1',
        )
        self.add_server(
            'vgood',
            VGPU,
            (self.vroot, HOST),
            (self.vgpus[0], {'VGPU': 1}),
            host='vgpu1',
        )
        #: What happens while the check waits, one after the other.
        self.meanwhile: list[Any] = []
        self.sleep.side_effect = self.pass_time

    def pass_time(self, _seconds: float) -> None:
        if self.meanwhile:
            self.meanwhile.pop(0)()

    def check(self, **options: Any) -> tuple[audit.Problem, ...]:
        return audit.check(self.conn, audit.Options(**options)).problems

    def found(self, **options: Any) -> list[tuple[str, str, str]]:
        return [
            (p.severity, p.check, p.subject) for p in self.check(**options)
        ]

    def the_one(self, **options: Any) -> audit.Problem:
        problems = self.check(**options)
        self.assertEqual(1, len(problems), problems)
        return problems[0]

    def asked(self) -> list[str]:
        return [
            f'{r.method} {r.path}'
            for r in self.cloud.request_history
            if 'v3' not in r.path and r.path != '/' and r.path != '/v2.1'
        ]


class TestClean(TestCase):
    def test_nothing_found(self) -> None:
        self.assertEqual([], self.found())

    def test_requests(self) -> None:
        self.check()
        asked = self.asked()
        allocations = [a for a in asked if '/allocations/' in a]
        self.assertEqual(2, len(allocations))
        # names, trees, hypervisors, servers, flavors, aggregates, 13 statuses
        self.assertEqual(19, len(asked) - 2, asked)

    def test_requests_do_not_grow_with_free_gpus(self) -> None:
        self.check()
        before = len(self.asked())
        for number in range(10):
            root = self.add_host(f'more{number}')
            self.add_cards(root, 8)
        self.cloud.reset_mock()
        self.check()
        self.assertEqual(before, len(self.asked()))

    def test_all_that_goes_on(self) -> None:
        for number, (status, task) in enumerate(
            (
                ('BUILD', 'spawning'),
                ('RESIZE', 'resize_migrating'),
                ('VERIFY_RESIZE', ''),
                ('REVERT_RESIZE', ''),
                ('MIGRATING', 'migrating'),
                ('ACTIVE', 'deleting'),
                ('SHELVED', 'shelving_offloading'),
                ('REBUILD', 'rebuilding'),
                ('SHELVED_OFFLOADED', 'spawning'),
                ('UNKNOWN', ''),
            )
        ):
            self.add_server(
                f'busy{number}',
                ALIAS,
                host='gpu2',
                status=status,
                updated='2099-01-01T00:00:00Z',
                **{'OS-EXT-STS:task_state': task},
            )
        self.assertEqual([], self.found())

    def test_of_others(self) -> None:
        # Another region's host, Cyborg's card, a network card, a consumer of
        # another service, and servers that Nova says nothing of.
        other = self.placement.host('elsewhere')
        self.placement.hold('stranger', other, VCPU=1)
        card = self.placement.provider('elsewhere_gpu', other, **{'VGPU': 1})
        self.placement.hold('stranger2', card, VGPU=1)
        cyborg = self.placement.provider(
            'gpu1_0000:99:00.0', self.roots[0], ('OWNER_CYBORG',), PGPU=1
        )
        self.placement.hold('arq', cyborg, PGPU=1)
        nic = self.placement.provider(
            'gpu1:nic', self.roots[0], NET_BW_EGR_KILOBIT_PER_SEC=10
        )
        self.placement.hold('port', nic, NET_BW_EGR_KILOBIT_PER_SEC=1)
        self.placement.hold('reservation', self.cards[1][0], **{A100: 1})
        self.placement.consumer_types['reservation'] = 'BLAZAR'
        self.add_server('hidden', {}, (self.cards[1][1], {A100: 1}))
        for server in self.servers.values():
            if server['name'] == 'hidden':
                del server['flavor']['extra_specs']
        self.assertEqual([], self.found())


class TestExcess(TestCase):
    def test_double(self) -> None:
        self.placement.hold(self.good, self.cards[0][1], **{A100: 1})
        problem = self.the_one()
        self.assertEqual('excess', problem.check)
        self.assertEqual('error', problem.severity)
        self.assertEqual(self.good, problem.consumer)
        self.assertEqual(tuple(sorted(self.cards[0])), problem.provider_ids)
        self.assertEqual((1, (A100,)), (problem.amount, problem.classes))
        self.assertEqual(1, problem.generation)
        self.assertIn('drop 1', problem.repair)
        self.assertEqual(('gpu1',), problem.hosts)
        self.assertIn('good holds 2', problem.detail)

    def test_class_known_from_another(self) -> None:
        self.nova.add('t4', ALIAS_T4)
        cards = [
            self.placement.provider(
                f'gpu1_0000:4{n}:00.0', self.roots[0], **{T4: 1}
            )
            for n in range(2)
        ]
        self.add_server('t', ALIAS_T4, (cards[0], {T4: 1}), host='gpu1')
        self.add_server('a', ALIAS, (self.cards[1][0], {A100: 1}), host='gpu2')
        self.placement.hold(self.good, cards[1], **{T4: 1})
        problem = self.the_one()
        self.assertEqual(
            ('excess', 1, (T4,), (cards[1],)),
            (
                problem.check,
                problem.amount,
                problem.classes,
                problem.provider_ids,
            ),
        )

    def test_class_unknown(self) -> None:
        # Nobody else tells which of the two the alias stands for.
        card = self.placement.provider(
            'gpu1_0000:40:00.0', self.roots[0], **{T4: 1}
        )
        self.placement.hold(self.good, card, **{T4: 1})
        problem = self.the_one()
        self.assertEqual(
            ('excess', 1, (T4, A100)),
            (problem.check, problem.amount, problem.classes),
        )

    def test_vgpu(self) -> None:
        server = self.add_server(
            'v2', VGPU, (self.vgpus[1], {'VGPU': 2}), host='vgpu1'
        )
        problem = self.the_one()
        self.assertEqual((server, 'excess'), (problem.subject, problem.check))
        self.assertIn('Migrate', problem.repair)

    def test_server_without_gpu_in_its_flavor(self) -> None:
        self.add_server('cpu', {}, (self.cards[1][0], {A100: 1}), host='gpu2')
        self.assertEqual(1, self.the_one().amount)

    def test_offloaded(self) -> None:
        self.add_server(
            'off',
            ALIAS,
            (self.cards[1][0], {A100: 1}),
            status='SHELVED_OFFLOADED',
        )
        self.assertEqual('excess', self.the_one().check)

    def test_only_for_a_moment(self) -> None:
        self.placement.hold(self.good, self.cards[0][1], **{A100: 1})
        self.meanwhile = [
            lambda: None,
            lambda: self.placement.allocations[self.good].pop(
                self.cards[0][1]
            ),
        ]
        self.assertEqual([], self.found())

    def test_somebody_writes(self) -> None:
        self.placement.hold(self.good, self.cards[0][1], **{A100: 1})
        self.meanwhile = [lambda: self.placement.touch(self.good)]
        self.assertEqual([], self.found())

    def test_server_becomes_busy(self) -> None:
        self.placement.hold(self.good, self.cards[0][1], **{A100: 1})
        server = self.servers[self.good]
        self.meanwhile = [lambda: server.update(status='RESIZE')]
        self.assertEqual([], self.found())

    def test_server_was_busy(self) -> None:
        self.placement.hold(self.good, self.cards[0][1], **{A100: 1})
        server = self.servers[self.good]
        self.meanwhile = [lambda: server.update(updated='2026-11-22')]
        self.assertEqual([], self.found())

    def test_evacuated(self) -> None:
        self.servers[self.good]['OS-EXT-SRV-ATTR:host'] = 'gpu2'
        self.placement.hold(self.good, self.cards[1][0], **{A100: 1})
        self.placement.hold(self.good, self.roots[1], **HOST)
        self.add_migration(self.good, 'done', migration_type='evacuation')
        self.assertEqual([], self.found())


class TestMissing(TestCase):
    def test_nothing(self) -> None:
        server = self.add_server('none', VGPU, host='vgpu1')
        problem = self.the_one()
        self.assertEqual(
            ('error', 'missing', server, 1, ('vgpu1',)),
            (
                problem.severity,
                problem.check,
                problem.subject,
                problem.amount,
                problem.hosts,
            ),
        )

    def test_alias_unknown(self) -> None:
        self.add_server('none', ALIAS_T4, host='gpu2')
        problem = self.the_one()
        self.assertEqual(('missing', ()), (problem.check, problem.classes))
        self.assertIn('t4:1', problem.detail)

    def test_alias_known(self) -> None:
        specs = {'pci_passthrough:alias': 'a100:2'}
        self.add_server(
            'half', specs, (self.cards[1][0], {A100: 1}), host='gpu2'
        )
        self.assertEqual((A100,), self.the_one().classes)

    def test_gone_when_looked_at_again(self) -> None:
        server = self.add_server('none', VGPU, host='vgpu1')
        self.meanwhile = [lambda: self.servers.pop(server)]
        self.assertEqual([], self.found())

    def test_host_that_nova_does_not_know(self) -> None:
        self.add_server('far', VGPU, host='elsewhere')
        self.assertEqual([], self.found())

    def test_provider_younger_than_the_names(self) -> None:
        self.add_server('new', VGPU, ('young', {'VGPU': 1}), host='vgpu1')
        self.assertEqual([], self.found())

    def test_pci_not_in_placement(self) -> None:
        # Here only the explicit class can be judged, known alias or not.
        self.add_host('off1')
        for name in ('a100', 't4'):
            specs = {'pci_passthrough:alias': f'{name}:1'} | VGPU
            self.add_server(name, specs, host='off1')
        found = [p for p in self.check() if p.check == 'missing']
        self.assertEqual([('VGPU',)] * 2, [p.classes for p in found])

    def test_never_placed(self) -> None:
        self.add_server('failed', ALIAS, status='ERROR')
        self.assertEqual([], self.found())


class TestTwoTrees(TestCase):
    def test_two_hosts(self) -> None:
        self.placement.hold(self.good, self.roots[1], **HOST)
        problem = self.the_one()
        self.assertEqual(
            ('error', 'two-trees'), (problem.severity, problem.check)
        )
        self.assertEqual((self.roots[1],), problem.provider_ids)
        self.assertEqual(('gpu1', 'gpu2'), problem.hosts)

    def test_shared_storage(self) -> None:
        storage = self.placement.provider('storage', DISK_GB=1000)
        self.placement.hold(self.good, storage, DISK_GB=1)
        self.assertEqual([], self.found())


class TestOrphan(TestCase):
    def test_orphan(self) -> None:
        self.placement.hold('orphan', self.cards[1][0], **{A100: 1})
        problem = self.the_one()
        self.assertEqual(
            ('error', 'orphan', 'orphan', 1, 1),
            (
                problem.severity,
                problem.check,
                problem.consumer,
                problem.amount,
                problem.generation,
            ),
        )
        self.assertEqual('p' * 32, problem.project_id)
        self.assertEqual(('gpu2',), problem.hosts)

    def test_behind_a_known_server(self) -> None:
        self.placement.hold('orphan', self.vgpus[0], VGPU=1)
        self.assertEqual('orphan', self.the_one().check)

    def test_server_made_meanwhile(self) -> None:
        server = self.add_server(
            'late', ALIAS, (self.cards[1][0], {A100: 1}), host='gpu2'
        )
        late = self.servers.pop(server)
        self.meanwhile = [lambda: self.servers.update({server: late})]
        self.assertEqual([], self.found())

    def test_migration_begun_meanwhile(self) -> None:
        migration = self.add_migration(self.good, 'migrating')
        record = self.migrations.pop()
        self.placement.hold(migration, self.cards[1][0], **{A100: 1})
        self.meanwhile = [lambda: self.migrations.append(record)]
        self.assertEqual([], self.found())

    def test_freed_meanwhile(self) -> None:
        self.placement.hold('orphan', self.cards[1][0], **{A100: 1})
        self.meanwhile = [
            lambda: None,
            lambda: self.placement.allocations.pop('orphan'),
        ]
        self.assertEqual([], self.found())

    def test_record_of_a_deleted_server(self) -> None:
        migration = self.add_migration('gone', 'error')
        self.placement.hold(migration, self.cards[1][0], **{A100: 1})
        self.assertEqual('orphan', self.the_one().check)

    def test_migration_of_a_server_that_is_not_listed(self) -> None:
        migration = self.add_migration('unlisted', 'migrating')
        self.placement.hold(migration, self.cards[1][0], **{A100: 1})
        self.assertEqual([], self.found())

    def test_cut_in_the_second_look(self) -> None:
        self.placement.hold('orphan', self.cards[1][0], **{A100: 1})
        self.meanwhile = [
            lambda: self.cloud.get(
                f'{wire.base.COMPUTE}/servers/orphan', status_code=500
            )
        ]
        with self.assertRaises(sdk_exceptions.HttpException):
            self.check()


class TestLeakedMigration(TestCase):
    def leak(self, status: str, **held: int) -> str:
        migration = self.add_migration(self.good, status, dest_compute=None)
        self.placement.hold(migration, self.cards[1][0], **held or {A100: 1})
        return migration

    def test_finished(self) -> None:
        migration = self.leak('finished')
        problem = self.the_one()
        self.assertEqual(
            ('error', 'leaked-migration', migration, self.good),
            (
                problem.severity,
                problem.check,
                problem.consumer,
                problem.server_id,
            ),
        )

    def test_confirmed_long_ago(self) -> None:
        migration = self.leak('confirmed')
        problem = self.the_one()
        self.assertEqual(
            ('leaked-migration', migration), (problem.check, problem.consumer)
        )

    def test_without_pci_in_placement(self) -> None:
        migration = self.add_migration(self.good, 'finished')
        self.migrations[-1]['dest_compute'] = None
        self.placement.hold(migration, self.roots[1], **HOST)
        problem = self.the_one()
        self.assertEqual('leaked-migration', problem.check)
        self.assertIn('gpu2', problem.detail)

    def test_resizing(self) -> None:
        for status in ('pre-migrating', 'post-migrating', 'confirming'):
            with self.subTest(status):
                self.leak(status)
                self.assertEqual([], self.found())
                self.migrations.clear()
                self.placement.allocations.popitem()

    def test_unconfirmed(self) -> None:
        self.leak('finished')
        self.servers[self.good]['status'] = 'VERIFY_RESIZE'
        self.migrations[-1]['updated_at'] = '2099-01-01T00:00:00.000000'
        self.assertEqual([], self.found())

    def test_holds_nothing(self) -> None:
        self.add_migration(self.good, 'finished', dest_compute=None)
        self.assertEqual([], self.found())


class TestUnconfirmed(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.servers[self.good]['status'] = 'VERIFY_RESIZE'
        self.migration = self.add_migration(
            self.good, 'finished', updated_at='2026-11-21T06:01:01.000000'
        )

    def check_at(self, now: str, **options: Any) -> list[Any]:
        with mock.patch(
            'osc_gpu.cloud.audit_reading._now', autospec=True, return_value=now
        ):
            return [(p.severity, p.check) for p in self.check(**options)]

    def test_age(self) -> None:
        found = [('warning', 'unconfirmed-resize')]
        self.assertEqual([], self.check_at('2026-11-21T07:01:01'))
        self.assertEqual(found, self.check_at('2026-11-21T07:01:02'))
        self.assertEqual(
            found, self.check_at('2026-11-21T06:03:01', resize_age=1)
        )

    def test_without_record(self) -> None:
        self.migrations.clear()
        self.assertEqual([], self.check_at('2026-11-21T05:59:00'))
        self.assertEqual(1, len(self.check_at('2026-11-21T06:02:00')))

    def test_from_a_gpu_to_none(self) -> None:
        self.servers[self.good]['flavor']['extra_specs'] = {}
        del self.placement.allocations[self.good][self.cards[0][0]]
        self.assertEqual([], self.check_at('2026-11-22T07:02:01'))
        self.placement.hold(self.migration, self.cards[1][0], **{A100: 1})
        self.assertEqual(1, len(self.check_at('2026-11-22T07:02:01')))

    def test_being_confirmed(self) -> None:
        self.add_migration(self.good, 'confirming')
        self.assertEqual([], self.check_at('2026-11-22T07:02:01'))

    def test_strange_time(self) -> None:
        self.migrations[-1]['updated_at'] = 'yesterday'
        self.assertEqual([], self.check_at('2026-11-22T07:02:01'))

    def test_hosts(self) -> None:
        self.assertEqual(('gpu1', 'gpu2'), self.the_one(resize_age=0).hosts)


class TestStaleClaim(TestCase):
    def test_destination_failed(self) -> None:
        # gpu2 -> gpu1, where the server is.
        record = self.add_migration(
            self.good, 'error', source_compute='gpu2', dest_compute='gpu1'
        )
        problem = self.the_one()
        self.assertEqual(
            ('error', 'stale-claim', self.good),
            (problem.severity, problem.check, problem.subject),
        )
        self.assertIn('on gpu2', problem.detail)
        self.assertIn(record, problem.detail)
        self.assertIn('KeyError', problem.detail)
        self.assertEqual(('gpu1', 'gpu2'), problem.hosts)
        self.assertEqual((A100,), problem.classes)

    def test_source_failed(self) -> None:
        self.add_migration(self.good, 'error')
        self.add_action(
            self.good,
            '2026-11-21T06:00:00.000000',
            'compute_prep_resize',
            'compute_resize_instance',
        )
        self.assertIn('on gpu2', self.the_one().detail)

    def test_claim_failed(self) -> None:
        self.add_migration(self.good, 'error')
        self.add_action(
            self.good,
            '2026-11-21T01:00:00.000000',
            'compute_resize_instance',
        )
        self.add_action(
            self.good, '2026-11-21T06:00:00.000000', 'compute_prep_resize'
        )
        self.assertEqual([], self.found())

    def test_no_action_known(self) -> None:
        self.add_migration(self.good, 'error')
        self.assertEqual([], self.found())

    def test_reset_in_verify_resize(self) -> None:
        self.add_migration(
            self.good, 'finished', source_compute='gpu2', dest_compute='gpu1'
        )
        self.assertIn('on gpu2', self.the_one().detail)

    def test_no_valid_host(self) -> None:
        self.add_migration(self.good, 'error', dest_compute=None)
        self.assertEqual([], self.found())

    def test_other_kinds(self) -> None:
        for kind in ('live-migration', 'evacuation'):
            self.add_migration(
                self.good,
                'error',
                migration_type=kind,
                source_compute='gpu2',
                dest_compute='gpu1',
            )
        self.assertEqual([], self.found())

    def test_vgpu(self) -> None:
        server = next(
            i for i, s in self.servers.items() if s['name'] == 'vgood'
        )
        self.add_migration(server, 'error', dest_compute='vgpu1')
        self.assertEqual([], self.found())

    def move(
        self, source: str, target: str, status: str = 'confirmed'
    ) -> None:
        self.add_migration(
            self.good, status, source_compute=source, dest_compute=target
        )

    def test_healed_by_a_bounce(self) -> None:
        self.move('gpu2', 'gpu1', 'error')
        self.move('gpu1', 'gpu2')
        self.move('gpu2', 'gpu1')
        self.assertEqual([], self.found())

    def test_half_a_bounce(self) -> None:
        self.move('gpu1', 'gpu2', 'error')
        self.add_action(
            self.good, '2026-11-21T06:00:00Z'[:-1], 'compute_resize_instance'
        )
        self.move('gpu1', 'gpu2')
        self.servers[self.good]['OS-EXT-SRV-ATTR:host'] = 'gpu2'
        found = [p for p in self.check() if p.check == 'stale-claim']
        self.assertEqual(1, len(found))
        self.assertIn('on gpu2', found[0].detail)

    def test_moved_elsewhere_later(self) -> None:
        # It failed on gpu2 and went from there to a third host.
        self.move('gpu1', 'gpu2', 'error')
        self.move('gpu2', 'gpu3')
        self.assertIn('on gpu1', self.the_one().detail)

    def test_set_to_failed(self) -> None:
        self.move('gpu2', 'gpu1', 'failed')
        self.assertEqual([], self.found())

    def test_while_migrating_again(self) -> None:
        self.move('gpu2', 'gpu1', 'error')
        self.move('gpu1', 'gpu2', 'migrating')
        self.assertEqual([], self.found())


class TestReserved(TestCase):
    def test_reserved(self) -> None:
        self.placement.stock(self.cards[1][0], **{A100: (1, 1)})
        problem = self.the_one()
        self.assertEqual(
            ('info', 'reserved', 'gpu2_0000:20:00.0', 'release'),
            (
                problem.severity,
                problem.check,
                problem.subject,
                problem.repair,
            ),
        )
        self.assertEqual(1, problem.amount)

    def test_in_part(self) -> None:
        self.placement.stock(self.vgpus[0], VGPU=(4, 2))
        self.assertEqual([], self.found())

    def test_one_time_use(self) -> None:
        card = self.cards[1][0]
        self.placement.stock(card, **{A100: (1, 1)})
        self.placement.providers[card]['traits'] += ['HW_PCI_ONE_TIME_USE']
        problem = self.the_one()
        self.assertEqual(
            ('warning', 'one-time-use'), (problem.severity, problem.check)
        )

    def test_one_time_use_in_use(self) -> None:
        card = self.cards[0][0]
        self.placement.stock(card, **{A100: (1, 1)})
        self.placement.providers[card]['traits'] += ['HW_PCI_ONE_TIME_USE']
        self.assertEqual([], self.found())


class TestAggregate(TestCase):
    def test_agree(self) -> None:
        self.add_aggregate('a', ['gpu1', 'gpu2', 'unknown'])
        self.assertEqual([], self.found())

    def test_classes_differ(self) -> None:
        self.add_aggregate('mixed', ['gpu1', 'vgpu1'])
        problem = self.the_one()
        self.assertEqual(
            ('warning', 'aggregate', 'mixed'),
            (problem.severity, problem.check, problem.subject),
        )
        self.assertIn(f'{A100} on gpu1; VGPU on vgpu1', problem.detail)

    def test_traits_differ(self) -> None:
        self.add_aggregate('a', ['gpu1', 'gpu2'])
        traits = self.placement.providers[self.cards[0][0]]['traits']
        traits += ['OWNER_NOVA', 'HW_PCI_LIVE_MIGRATABLE']
        self.assertEqual([], self.found())
        traits += ['CUSTOM_BIG']
        self.assertIn('CUSTOM_BIG on gpu1', self.the_one().detail)

    def test_zone(self) -> None:
        self.add_aggregate('z', ['gpu1', 'vgpu1'], availability_zone='z')
        self.assertEqual([], self.found())


class TestUnusedClass(TestCase):
    def test_vgpu(self) -> None:
        self.add_vgpus(self.roots[1], 4, resource_class='CUSTOM_NVIDIA_11')
        self.assertEqual(
            [('info', 'unused-class', 'CUSTOM_NVIDIA_11')], self.found()
        )

    def test_pci(self) -> None:
        self.add_cards(self.vroot, 1, T4)
        self.assertEqual([('info', 'unused-class', T4)], self.found())

    def test_pci_with_an_alias_that_nobody_knows(self) -> None:
        self.add_cards(self.vroot, 1, T4)
        self.nova.add('other', ALIAS_T4)
        self.assertEqual([], self.found())


class TestHosts(TestCase):
    def test_no_inventory(self) -> None:
        card = self.placement.provider('gpu1_0000:77:00.0', self.roots[0])
        problem = self.the_one()
        self.assertEqual(
            ('warning', 'no-inventory', 'gpu1_0000:77:00.0', (card,)),
            (
                problem.severity,
                problem.check,
                problem.subject,
                problem.provider_ids,
            ),
        )

    def test_inventory_comes(self) -> None:
        card = self.placement.provider('gpu1_0000:77:00.0', self.roots[0])
        self.meanwhile = [lambda: self.placement.stock(card, **{A100: 1})]
        self.assertEqual([], self.found())

    def test_provider_goes(self) -> None:
        card = self.placement.provider('gpu1_0000:77:00.0', self.roots[0])
        self.meanwhile = [lambda: self.placement.providers.pop(card)]
        self.assertEqual([], self.found())

    def test_down(self) -> None:
        self.hypervisors[0] |= {'state': 'down', 'status': 'disabled'}
        problem = self.the_one()
        self.assertEqual(
            ('warning', 'host-down', 'gpu1', 2),
            (
                problem.severity,
                problem.check,
                problem.subject,
                problem.amount,
            ),
        )
        self.assertIn('2 GPUs, 1 in use', problem.detail)

    def test_disabled(self) -> None:
        self.hypervisors[2]['status'] = 'disabled'
        self.hypervisors[2]['service']['disabled_reason'] = '100% broken'
        problem = self.the_one()
        self.assertEqual('host-disabled', problem.check)
        self.assertIn('8 GPUs, 1 in use', problem.detail)
        self.assertTrue(problem.detail.endswith(': 100% broken'))

    def test_down_without_gpu(self) -> None:
        self.add_host('cpu1')
        self.hypervisors[-1]['state'] = 'down'
        self.assertEqual([], self.found())

    def test_unknown(self) -> None:
        root = self.placement.host('old1')
        self.add_cards(root, 2)
        self.assertEqual([('info', 'unknown-host', 'old1')], self.found())

    def test_uncountable(self) -> None:
        self.add_host('off1')
        for name in ('x', 'y'):
            self.add_server(
                name, {'pci_passthrough:alias': 'a100:2'}, host='off1'
            )
        problem = self.the_one()
        self.assertEqual(
            ('info', 'uncountable', 'off1', 4),
            (
                problem.severity,
                problem.check,
                problem.subject,
                problem.amount,
            ),
        )
        self.assertIn('2 servers with 4 GPUs', problem.detail)


class TestFilters(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.placement.hold('orphan', self.cards[1][0], **{A100: 1})
        self.bad = self.add_server(
            'none', VGPU, host='vgpu1', tenant_id='d' * 32
        )

    def subjects(self, **options: Any) -> list[str]:
        return [p.subject for p in self.check(**options)]

    def test_host(self) -> None:
        self.assertEqual(['orphan'], self.subjects(host='gpu2'))
        self.assertEqual([self.bad], self.subjects(host='vgpu1'))
        self.assertEqual([], self.subjects(host='gpu1'))

    def test_host_asks_less(self) -> None:
        self.check(host='gpu1')
        asked = [a for a in self.asked() if '/allocations' in a]
        self.assertEqual([f'GET /allocations/{self.good}'], asked)

    def test_host_unknown_to_nova(self) -> None:
        self.placement.host('elsewhere')
        self.assertEqual([], self.subjects(host='elsewhere'))

    def test_no_such_host(self) -> None:
        with self.assertRaisesRegex(exceptions.CommandError, "'nowhere'"):
            self.check(host='nowhere')

    def test_class(self) -> None:
        self.assertEqual(['orphan'], self.subjects(classes=[A100]))
        self.assertEqual([self.bad], self.subjects(classes=['VGPU']))

    def test_no_such_class(self) -> None:
        with self.assertRaisesRegex(exceptions.CommandError, 'CUSTOM_X'):
            self.check(classes=['CUSTOM_X', 'VGPU'])

    def test_project(self) -> None:
        self.assertEqual([self.bad], self.subjects(project_id='d' * 32))
        self.assertEqual(['orphan'], self.subjects(project_id='p' * 32))

    def test_one_at_a_time(self) -> None:
        self.assertEqual(2, len(self.subjects(at_once=1)))


class TestStill(TestCase):
    def test_with_fresh_generation(self) -> None:
        self.placement.hold('orphan', self.cards[1][0], **{A100: 1})
        options = audit.Options()
        snapshot, problems = audit.check(self.conn, options)
        self.placement.touch('orphan')
        now = audit.still(self.conn, snapshot, problems, options)
        self.assertEqual([2], [p.generation for p in now.problems])
        del self.placement.allocations['orphan']
        now = audit.still(self.conn, now.snapshot, now.problems, options)
        self.assertEqual((), now.problems)
