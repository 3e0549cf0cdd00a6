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


"""Hosts as Nova and Placement have them, and where their servers would go."""

from osc_gpu.cloud import drain_plan
from tests.functional import base
from tests.functional import shells

A100 = 'CUSTOM_PCI_10DE_20B5'


class TestCase(shells.TestCase):
    def hosts(self):
        """What Nova says, by host."""
        response = self.admin.compute.get(
            '/os-hypervisors/detail', microversion='2.53'
        )
        return {
            found['service']['host']: found
            for found in response.json()['hypervisors']
        }

    def gpus(self, host):
        """What Placement has of GPUs below a host: total and used."""
        total = used = 0
        root = self.hosts()[host]['id']
        listed = self.placement(f'/resource_providers?in_tree={root}')
        for provider in listed['resource_providers']:
            if provider['uuid'] != root:
                path = f'/resource_providers/{provider["uuid"]}'
                for held in self.placement(f'{path}/inventories')[
                    'inventories'
                ].values():
                    total += held['total']
                usages = self.placement(f'{path}/usages')['usages']
                used += sum(usages.values())
        return total, used

    def disable(self, host, reason):
        """Disable a host's service for the time of a test."""
        (service,) = (
            s
            for s in self.admin.compute.services(binary='nova-compute')
            if s.host == host
        )

        def put(**body):
            response = self.admin.compute.put(
                f'/os-services/{service.id}', json=body, microversion='2.53'
            )
            self.assertEqual(200, response.status_code, response.text)

        put(status='disabled', disabled_reason=reason)
        self.addCleanup(put, status='enabled')


class TestListHost(TestCase):
    def rows(self, *argv):
        listed = self.table('gpu', 'host', 'list', *argv)
        return {row['Host']: row for row in listed}

    def test_list(self):
        server = self.make_server(self.make_flavor('--alias', 'a100:1'))
        host = self.guest(server['id'])['host']
        rows, known = self.rows(), self.hosts()
        every = self.rows('--all')
        self.assertEqual(sorted(known), sorted(every))
        for name, row in every.items():
            total, used = self.gpus(name)
            self.assertEqual((total, used), (row['GPUs'], row['Used']), name)
            self.assertEqual(known[name]['running_vms'], row['Servers'], name)
            self.assertEqual(total > 0, name in rows, name)
        self.assertLess(0, rows[host]['Servers'])

    def test_disabled(self):
        self.disable('gpu3', 'fans')
        self.assertEqual('disabled', self.rows()['gpu3']['Status'])

    def test_tenant(self):
        line = self.fails('gpu', 'host', 'list', user='member')
        self.assertIn('You lack the right', line)


class TestShowHost(TestCase):
    def test_show(self):
        server = self.make_server(self.make_flavor('--alias', 'a100:2'))
        guest = self.guest(server['id'])
        shown = self.table('gpu', 'host', 'show', guest['host'])
        self.assertEqual(self.gpus(guest['host'])[0], shown['gpus'])
        self.assertIn(
            {
                'id': server['id'],
                'name': server['name'],
                'status': 'ACTIVE',
                'gpu_request': 'a100:2',
            },
            shown['servers'],
        )
        used = {d['device'] for d in shown['devices'] if d['used']}
        self.assertLessEqual(set(guest['devices']), used)

    def test_drain(self):
        reason = 'osc-gpu drain run 3fa2b1 since 2026-11-21T05:00:00Z: fans'
        self.disable('gpu3', reason)
        shown = self.table('gpu', 'host', 'show', 'gpu3')
        self.assertEqual(reason, shown['disabled_reason'])
        self.assertEqual('3fa2b1', shown['drain']['run'])
        self.assertEqual('fans', shown['drain']['text'])

    def test_unknown(self):
        line = self.fails('gpu', 'host', 'show', 'gpu99')
        self.assertIn('openstack gpu host list', line)

    def test_tenant(self):
        line = self.fails('gpu', 'host', 'show', 'gpu1', user='member')
        self.assertIn('You lack the right', line)


class TestPlan(TestCase):
    """What a drain would do is what Nova does."""

    def move(self, server, **more):
        host = self.guest(server['id'])['host']
        (move,) = (
            m
            for m in drain_plan.read(self.admin, host, **more).moves
            if m.server.id == server['id']
        )
        return move

    def migrate(self, server, target):
        """Ask Nova for a migration; return its record when that is over."""
        body = {'migrate': {'host': target}}
        response = self.admin.compute.post(
            f'/servers/{server["id"]}/action', json=body, microversion='2.56'
        )
        self.assertEqual(202, response.status_code, response.text)

        def over():
            found = self.admin.compute.migrations(instance_uuid=server['id'])
            return next(
                (m for m in found if m.status in ('error', 'finished')), None
            )

        return base.wait_until('migrated', over)

    def test_nova_takes_the_target(self):
        server = self.make_server(self.make_flavor('--alias', 'a100:1'))
        move = self.move(server)
        self.assertEqual(('cold', False), (move.method, move.is_blocked))
        record = self.migrate(server, move.target)
        self.assertEqual('finished', record.status)
        moves = drain_plan.read(self.admin, record.source_compute).moves
        (again,) = (m for m in moves if m.server.id == server['id'])
        self.assertEqual(
            (move.target, f'goes on: waits to be confirmed on {move.target}'),
            (again.target, again.why),
        )

    def test_affinity(self):
        group = self.admin.compute.create_server_group(
            name=self.name('group'), policy='affinity'
        )
        self.addCleanup(self.admin.compute.delete_server_group, group)
        server = self.make_server(
            self.make_flavor('--alias', 'a100:1'),
            '--hint',
            f'group={group.id}',
            user='admin',
        )
        target = self.move(server, method='shelve').target
        move = self.move(server)
        self.assertTrue(move.is_blocked)
        self.assertIn('--method shelve', move.why)
        record = self.migrate(server, target)
        self.assertEqual(('error', None), (record.status, record.dest_compute))
