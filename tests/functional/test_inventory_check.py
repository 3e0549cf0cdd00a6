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

"""Each check, produced on a real cloud and found.

The witnesses are Placement, Nova's database and the guests, as everywhere.
"""

import collections
import threading
import time
from unittest import mock
import uuid

from openstack import exceptions as sdk_exceptions

from osc_gpu.cloud import audit
from tests.functional import base
from tests.functional import shells

A100 = 'CUSTOM_PCI_10DE_20B5'
V100 = 'CUSTOM_PCI_10DE_1DB6'


class TestCase(shells.TestCase):
    """A cloud with PCI in Placement."""

    def setUp(self):
        super().setUp()
        if not self.spec.topology['pci_in_placement']:
            self.skipTest('this sandbox has no PCI in Placement')

    def check(self, *argv, status=None):
        """Return what is found, but for classes that flavors lack."""
        result = self.openstack(
            'gpu', 'inventory', 'check', '-f', 'json', *argv
        )
        self.assertEqual('', result.stderr)
        found = result.json
        for row in found:
            self.assertEqual(
                ['Severity', 'Check', 'Subject', 'Detail', 'Repair'], list(row)
            )
        errors = any(row['Severity'] == 'error' for row in found)
        self.assertEqual(int(errors), result.status, result)
        return [row for row in found if row['Check'] != 'unused-class']

    def find(self, check, subject, *argv):
        """Return the one finding of this check about this subject."""
        found = [
            row
            for row in self.check(*argv)
            if (row['Check'], row['Subject']) == (check, subject)
        ]
        self.assertEqual(1, len(found), f'{check} {subject}: {found}')
        return found[0]

    def about(self, *subjects):
        """Return the checks that found something about these."""
        return [r['Check'] for r in self.check() if r['Subject'] in subjects]

    def provider(self, name):
        found = self.placement(f'/resource_providers?name={name}')
        (provider,) = found['resource_providers']
        return provider

    def cards(self, host):
        """Return the names of a host's devices that nobody uses."""
        root = self.provider(host)['uuid']
        found = self.placement(f'/resource_providers?in_tree={root}')
        return sorted(
            p['name']
            for p in found['resource_providers']
            if p['uuid'] != root
            and not self.placement(
                f'/resource_providers/{p["uuid"]}/allocations'
            )['allocations']
        )

    def put(self, path, body):
        response = self.admin.placement.put(
            path, json=body, microversion='1.37'
        )
        self.assertIn(response.status_code, (200, 204), response.text)

    def allocate(self, consumer, change, project='0' * 32):
        """Change what a consumer holds: provider name -> class -> amount."""
        before = self.placement(f'/allocations/{consumer}')
        held = self.allocations(consumer)
        for name, amounts in change.items():
            held[name] = amounts
        self.put(
            f'/allocations/{consumer}',
            {
                'allocations': {
                    self.provider(name)['uuid']: {'resources': amounts}
                    for name, amounts in held.items()
                    if amounts
                },
                'consumer_generation': before.get('consumer_generation'),
                'project_id': before.get('project_id', project),
                'user_id': before.get('user_id', '0' * 32),
            },
        )

    def forget(self, consumer):
        self.allocate(consumer, {n: {} for n in self.allocations(consumer)})

    def inventory(self, name, **fields):
        """Change the only inventory of a device."""
        provider = self.provider(name)['uuid']
        path = f'/resource_providers/{provider}/inventories'
        before = self.placement(path)
        ((resource_class, stock),) = before['inventories'].items()
        self.put(
            f'{path}/{resource_class}',
            stock
            | fields
            | {
                'resource_provider_generation': before[
                    'resource_provider_generation'
                ]
            },
        )

    def server(self, server):
        return self.admin.compute.get_server(server)

    def wait_for(self, server, *statuses):
        def settled():
            found = self.server(server)
            return found.status in statuses and not found.task_state

        base.wait_until(f'{server} {statuses}', settled)

    def migrate(self, server, *statuses, host=None):
        self.admin.compute.migrate_server(server, host=host)
        self.wait_for(server, *statuses)

    def confirm(self, server):
        self.admin.compute.confirm_server_resize(server)
        self.wait_for(server, 'ACTIVE')

    def records(self, server):
        found = self.admin.compute.get(
            f'/os-migrations?instance_uuid={server}', microversion='2.59'
        )
        return found.json()['migrations']


class TestAmounts(TestCase):
    def test_excess(self):
        server = self.make_server(self.make_flavor('--alias', 'v100'))['id']
        self.assertEqual([], self.about(server))
        extra = self.cards('gpu3')[0]
        self.allocate(server, {extra: {V100: 1}})
        found = self.find('excess', server, '--host', 'gpu3')
        self.assertIn(f'holds 2 of {V100}', found['Detail'])
        self.assertIn('drop 1', found['Repair'])
        self.assertEqual(1, len(self.pci_addresses(server)))
        self.assertEqual([], self.check('--host', 'gpu1'))
        self.allocate(server, {extra: {}})
        self.assertEqual([], self.about(server))

    def test_after_a_migration(self):
        # Whether Nova doubles is luck (facts 9); the check must know.
        server = self.make_server(self.make_flavor('--alias', 'a100'))['id']
        for _turn in range(2):
            self.migrate(server, 'VERIFY_RESIZE')
            self.confirm(server)
            held = [
                name
                for name, amounts in self.allocations(server).items()
                if A100 in amounts
            ]
            used = self.pci_addresses(server)
            self.assertEqual(1, len(used))
            doubled = ['excess'] if len(held) > len(used) else []
            self.assertEqual(doubled, self.about(server))

    def test_missing(self):
        server = self.make_server(self.make_flavor('--vgpu'))['id']
        (card,) = (n for n in self.allocations(server) if '_pci_' in n)
        self.allocate(server, {card: {}})
        found = self.find('missing', server, '--resource-class', 'VGPU')
        self.assertIn('holds 0 of VGPU', found['Detail'])
        self.allocate(server, {card: {'VGPU': 1}})
        self.assertEqual([], self.about(server))

    def test_shelved(self):
        server = self.make_server(self.make_flavor('--alias', 'v100'))['id']
        self.admin.compute.shelve_server(server)
        self.wait_for(server, 'SHELVED_OFFLOADED')
        self.assertEqual({}, self.allocations(server))
        self.assertEqual([], self.about(server))
        self.admin.compute.unshelve_server(server)
        self.wait_for(server, 'ACTIVE')
        self.assertEqual([], self.about(server))
        self.assertEqual(
            self.guest(server)['devices'], self.pci_addresses(server)
        )

    def test_two_trees(self):
        server = self.make_server(self.make_flavor('--vgpu'))['id']
        self.allocate(server, {'cpu1': {'VCPU': 1}})
        found = self.find('two-trees', server)
        self.assertIn('cpu1', found['Detail'])
        self.allocate(server, {'cpu1': {}})
        self.assertEqual([], self.about(server))


class TestConsumers(TestCase):
    def test_orphan(self):
        live = self.make_server(self.make_flavor('--alias', 'v100'))['id']
        consumer = str(uuid.uuid4())
        card = self.cards('gpu3')[0]
        self.addCleanup(self.forget, consumer)
        lab = self.admin.identity.find_project('lab', ignore_missing=False).id
        self.allocate(consumer, {card: {V100: 1}}, lab)
        found = self.find('orphan', consumer)
        self.assertEqual('error', found['Severity'])
        self.assertIn(card, found['Detail'])
        self.assertEqual('remove its allocations', found['Repair'])
        self.find('orphan', consumer, '--project', 'lab')
        self.assertEqual([], self.about(live))
        with self.assertRaises(sdk_exceptions.NotFoundException):
            self.server(consumer)

    def test_reset_in_verify_resize(self):
        server = self.make_server(self.make_flavor('--alias', 'a100'))['id']
        self.migrate(server, 'VERIFY_RESIZE')
        self.assertEqual([], self.about(server))
        self.admin.compute.reset_server_state(server, 'active')
        (record,) = self.records(server)
        self.addCleanup(self.forget, record['uuid'])
        # Nova's own database has devices of both hosts as the server's.
        self.assertEqual(2, len(self.pci_addresses(server)))
        self.assertIn(
            record['source_compute'], self.allocations(record['uuid'])
        )
        found = self.find('leaked-migration', record['uuid'])
        self.assertIn('(finished)', found['Detail'])
        found = self.find('stale-claim', server)
        self.assertIn(f'on {record["source_compute"]}', found['Detail'])
        # It holds: what the check says will happen, happens.
        self.admin.compute.stop_server(server)
        self.wait_for(server, 'SHUTOFF')
        self.admin.compute.start_server(server)
        base.wait_until(
            'start failed',
            lambda: (
                self.admin.compute.get(
                    f'/servers/{server}/os-instance-actions'
                ).json()['instanceActions'][0]['message']
                == 'Error'
            ),
        )
        self.forget_servers(self.server(server).name)
        found = self.find('orphan', record['uuid'])
        self.assertIn(A100, found['Detail'])

    def test_unconfirmed(self):
        server = self.make_server(self.make_flavor('--alias', 'a100'))['id']
        self.migrate(server, 'VERIFY_RESIZE')
        time.sleep(1.1)
        found = self.find('unconfirmed-resize', server, '--resize-age', '0')
        self.assertEqual('warning', found['Severity'])
        self.assertIn('gpu1, gpu2', found['Detail'])
        self.assertEqual([], self.about(server))


class TestStaleClaim(TestCase):
    def test_destination_failed(self):
        server = self.make_server(self.make_flavor('--alias', 'a100'))['id']
        source = self.server(server).compute_host
        with self.fault(point='destination', server=server):
            self.migrate(server, 'ERROR')
        self.assertNotEqual(source, self.server(server).compute_host)
        self.assertEqual(2, len(self.pci_addresses(server)))
        found = self.find('stale-claim', server)
        self.assertIn(f'on {source},', found['Detail'])
        self.assertIn('KeyError', found['Detail'])

    def test_source_rolled_back(self):
        server = self.make_server(self.make_flavor('--alias', 'a100'))['id']
        source = self.server(server).compute_host
        with self.fault(point='source', server=server, error='rollback'):
            self.admin.compute.migrate_server(server)
            base.wait_until(
                'migration failed',
                lambda: (
                    [r['status'] for r in self.records(server)] == ['error']
                ),
            )
            self.wait_for(server, 'ACTIVE')
        self.assertEqual(source, self.server(server).compute_host)
        self.assertEqual(2, len(self.pci_addresses(server)))
        (record,) = self.records(server)
        found = self.find('stale-claim', server)
        self.assertIn(f'on {record["dest_compute"]},', found['Detail'])

    def test_no_valid_host(self):
        # The only V100s are on one host: clean, says Nova's database, too.
        server = self.make_server(self.make_flavor('--alias', 'v100'))['id']
        with self.assertRaises(sdk_exceptions.BadRequestException):
            self.admin.compute.migrate_server(server, host='nowhere')
        self.admin.compute.migrate_server(server)
        base.wait_until(
            'migration failed',
            lambda: [r['status'] for r in self.records(server)] == ['error'],
        )
        self.wait_for(server, 'ACTIVE')
        self.assertEqual(1, len(self.pci_addresses(server)))
        self.assertEqual([], self.about(server))

    def test_vgpu_is_not_poisoned(self):
        server = self.make_server(self.make_flavor('--vgpu'))['id']
        with self.fault(point='destination', server=server):
            self.migrate(server, 'ERROR')
        self.assertEqual([], self.about(server))


class TestProviders(TestCase):
    def test_reserved(self):
        card = self.cards('gpu3')[0]
        self.addCleanup(self.inventory, card, reserved=0)
        self.inventory(card, reserved=1)
        found = self.find('reserved', card)
        self.assertEqual(
            ('info', 'release'), (found['Severity'], found['Repair'])
        )
        self.inventory(card, reserved=0)
        self.assertEqual([], self.about(card))

    def test_one_time_use(self):
        card = self.cards('gpu3')[0]
        path = f'/resource_providers/{self.provider(card)["uuid"]}/traits'
        before = self.placement(path)['traits']
        self.addCleanup(self.set_traits, path, before)
        self.addCleanup(self.inventory, card, reserved=0)
        self.inventory(card, reserved=1)

        def found():
            # Nova takes foreign traits of PCI devices away again.
            self.set_traits(path, [*before, 'HW_PCI_ONE_TIME_USE'])
            return 'one-time-use' in self.about(card)

        base.wait_until('one-time-use found', found)

    def set_traits(self, path, traits):
        generation = self.placement(path)['resource_provider_generation']
        self.put(
            path,
            {'traits': traits, 'resource_provider_generation': generation},
        )

    def test_no_inventory(self):
        root = self.provider('cpu1')['uuid']
        name = 'cpu1_0000:77:00.0'
        made = self.admin.placement.post(
            '/resource_providers',
            json={'name': name, 'parent_provider_uuid': root},
            microversion='1.20',
        )
        self.assertEqual(200, made.status_code, made.text)
        self.addCleanup(
            self.admin.placement.delete,
            f'/resource_providers/{made.json()["uuid"]}',
            microversion='1.20',
        )
        self.assertEqual(
            'warning', self.find('no-inventory', name)['Severity']
        )

    def test_aggregate(self):
        name = self.name('aggregate')
        aggregate = self.admin.compute.create_aggregate(name=name)
        self.addCleanup(self.admin.compute.delete_aggregate, aggregate)
        for host in ('gpu1', 'gpu2', 'gpu3', 'cpu1'):
            self.admin.compute.add_host_to_aggregate(aggregate, host)
            self.addCleanup(
                self.admin.compute.remove_host_from_aggregate, aggregate, host
            )
        found = self.find('aggregate', name)
        self.assertIn(f'{A100} on gpu1, gpu2', found['Detail'])
        self.assertIn(f'{V100} on gpu3', found['Detail'])
        self.admin.compute.remove_host_from_aggregate(aggregate, 'gpu3')
        self.assertEqual([], self.about(name))
        self.admin.compute.add_host_to_aggregate(aggregate, 'gpu3')

    def test_unused_class(self):
        def unused():
            return {
                row['Subject']
                for row in self.table('gpu', 'inventory', 'check')
                if row['Check'] == 'unused-class'
            }

        asked = {
            key
            for flavor in self.admin.compute.flavors(get_extra_specs=True)
            for key in flavor.extra_specs
        }
        self.assertEqual('resources:VGPU' not in asked, 'VGPU' in unused())
        self.make_flavor('--vgpu')
        self.assertNotIn('VGPU', unused())
        # As long as nothing runs with it, the alias may be for any class.
        flavor = self.make_flavor('--alias', 'v100')
        self.assertEqual(set(), unused())
        self.make_server(flavor)
        if not any('pci_passthrough' in key for key in asked):
            self.assertEqual({A100}, unused())

    def test_disabled(self):
        (service,) = self.admin.compute.services(
            binary='nova-compute', host='gpu3'
        )
        self.addCleanup(self.admin.compute.enable_service, service)
        self.admin.compute.disable_service(
            service, disabled_reason='fan is broken'
        )
        found = self.find('host-disabled', 'gpu3')
        self.assertIn('3 GPUs', found['Detail'])
        self.assertIn('fan is broken', found['Detail'])

    def test_down(self):
        self.addCleanup(self.up, 'gpu3')
        self.control.change_host('gpu3', 'kill')
        base.wait_until('down', lambda: self.state_of('gpu3') == 'down')
        found = self.find('host-down', 'gpu3')
        self.assertEqual('warning', found['Severity'])
        self.up('gpu3')
        self.assertEqual([], self.about('gpu3'))

    def up(self, host):
        if self.control.status()['hosts'][host]['state'] != 'up':
            self.control.change_host(host, 'start')
        base.wait_until('up', lambda: self.state_of(host) == 'up')

    def state_of(self, host):
        (service,) = self.admin.compute.services(
            binary='nova-compute', host=host
        )
        return service.state


class TestRefusals(TestCase):
    def test_tenant(self):
        line = self.fails('gpu', 'inventory', 'check', user='member')
        self.assertIn('You lack the right', line)

    def test_unknown(self):
        for option, value in (
            ('--host', 'nowhere'),
            ('--resource-class', 'CUSTOM_NOWHERE'),
            ('--project', 'nobody'),
        ):
            with self.subTest(option):
                line = self.fails('gpu', 'inventory', 'check', option, value)
                self.assertIn(value, line)


class TestNoFalseAlarm(TestCase):
    """Servers come, move, change and go while the check looks."""

    SECONDS = 40
    #: for a cloud that is so slow that nothing looks wrong
    MOST_SECONDS = 150

    def seconds(self):
        return self.SECONDS if self.suspected else self.MOST_SECONDS

    def setUp(self):
        super().setUp()
        self.vgpu = self.make_flavor('--vgpu')
        self.larger = self.make_flavor('--vgpu', '--hide-hypervisor')
        # Of two launches at once that want the same card, Nova fails one.
        self.alias = self.make_flavor('--alias', 'v100')
        self.other = self.make_flavor('--alias', 'a100')
        self.image = self.admin.compute.find_image(
            'cirros', ignore_missing=False
        )
        self.stop = threading.Event()
        self.turns = 0
        self.broken = []
        self.suspected = collections.Counter()
        self.look_again = audit._look_again
        self.enterContext(
            mock.patch.object(audit, '_look_again', self.count_suspects)
        )

    def count_suspects(self, conn, snapshot, suspects, options):
        self.suspected.update(suspect.check for suspect in suspects)
        return self.look_again(conn, snapshot, suspects, options)

    def test_while_servers_move(self):
        workers = [
            threading.Thread(target=self.work, args=(life,))
            for life in (self.move_vgpu, self.come_and_go, self.flicker)
        ]
        for worker in workers:
            worker.start()
        begin = time.monotonic()
        found = []
        looks = 0
        try:
            while time.monotonic() - begin < self.seconds():
                looks += 1
                argv = ('--repair', '--yes') if looks % 2 else ()
                found += [
                    row
                    for row in self.check(*argv)
                    if row['Severity'] != 'info'
                ]
        finally:
            self.stop.set()
            for worker in workers:
                worker.join()
        self.assertEqual([], self.broken)
        self.assertEqual([], found)
        self.assertGreater(self.turns, 2)
        self.assertGreater(looks, 2)
        # Without a second look there had been false alarms.
        self.assertGreater(self.suspected.total(), 0)

    def work(self, life):
        try:
            while not self.stop.is_set():
                life()
                self.turns += 1
        except Exception as exc:
            self.broken.append(exc)

    def launch(self, flavor):
        compute = self.admin.compute
        name = self.name('restless')
        self.addCleanup(self.forget_servers, name)
        server = compute.create_server(
            name=name,
            flavor_id=compute.find_flavor(flavor, ignore_missing=False).id,
            image_id=self.image.id,
            networks='none',
        )
        self.wait_for(server.id, 'ACTIVE')
        return server.id

    def move_vgpu(self):
        compute = self.admin.compute
        server = self.launch(self.vgpu)
        self.migrate(server, 'VERIFY_RESIZE')
        self.confirm(server)
        flavor = compute.find_flavor(self.larger, ignore_missing=False)
        compute.resize_server(server, flavor.id)
        self.wait_for(server, 'VERIFY_RESIZE')
        compute.revert_server_resize(server)
        self.wait_for(server, 'ACTIVE')
        self.delete(server)

    def come_and_go(self):
        compute = self.admin.compute
        server = self.launch(self.alias)
        compute.stop_server(server)
        self.wait_for(server, 'SHUTOFF')
        compute.start_server(server)
        self.wait_for(server, 'ACTIVE')
        self.delete(server)

    def flicker(self):
        self.delete(self.launch(self.other))

    def delete(self, server):
        compute = self.admin.compute
        compute.delete_server(server)
        base.wait_until(
            f'{server} gone',
            lambda: not compute.find_server(server, ignore_missing=True),
        )


class TestPciOff(shells.TestCase):
    def test_pci_off_uncountable(self):
        if self.spec.topology['pci_in_placement']:
            self.skipTest('this sandbox has PCI in Placement')
        server = self.make_server(self.make_flavor('--alias', 'a100:2'))['id']
        host = self.guest(server)['host']
        found = [
            (row['Check'], row['Severity'])
            for row in self.table('gpu', 'inventory', 'check')
            if row['Subject'] == host
        ]
        self.assertEqual([('uncountable', 'info')], found)
        self.assertEqual(2, len(self.pci_addresses(server)))
