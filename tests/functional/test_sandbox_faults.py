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
"""What Nova leaves behind when something fails at a point, or a host dies.

Each test has a sandbox of its own, of the release that the shared one has,
and leaves all it broke to its end.
"""

import contextlib
import dataclasses
import sqlite3
import time

import openstack

from osc_gpu.sandbox import spec as specs
from tests.functional import base
from tests.functional import test_topology

TOPOLOGY = """
    hosts:
      - name: gpu1
        cards: [{cards1},
          {{type: PF, vendor_id: 10de, product_id: "2235", vfs: 2,
           vf_product_id: "2236", address: "0000:e1:00.0",
           live_migratable: true}}]
      - name: gpu2
        cards: [{cards2},
          {{type: PF, vendor_id: 10de, product_id: "2235", vfs: 2,
           vf_product_id: "2236", address: "0000:e5:00.0",
           live_migratable: true}}]
      - name: vgpu1
        cards: [{{type: mdev, vendor_id: 10de, product_id: 13f2,
          address: "0000:41:00.0", mdev_types: [{{name: nvidia-11}}]}}]
      - name: vgpu2
        cards: [{{type: mdev, vendor_id: 10de, product_id: 13f2,
          address: "0000:84:00.0", mdev_types: [{{name: nvidia-11}}]}}]
      - name: cpu1
    aliases:
      - {{name: a100, vendor_id: 10de, product_id: 20b5}}
      - {{name: a10, vendor_id: 10de, product_id: "2236",
         live_migratable: true}}
""".format(
    **{
        f'cards{host}': ', '.join(
            f'{{type: PCI, vendor_id: 10de, product_id: 20b5, '
            f'address: "0000:{0x20 * host + number:02x}:00.0"}}'
            for number in range(10)
        )
        for host in (1, 2)
    }
)
MIGRATE = {'migrate': {'host': 'gpu2'}}
CONFIRM = {'confirmResize': None}
REVERT = {'revertResize': None}
HARD_REBOOT = {'reboot': {'type': 'HARD'}}
ON, OFF = 'running', 'shutoff'
LIMIT = 120.0
SLOW = 900


@dataclasses.dataclass
class Left:
    """What is left of a server: the cloud's view of it, and the truth."""

    status: str
    host: str | None
    record: str | None = None
    destination: str | None = None
    allocated: str = ''
    moving: str = ''
    devices: str = ''
    guests: str = ''
    action: str | None = None


def live(host):
    return {'os-migrateLive': {'host': host, 'block_migration': 'auto'}}


class TestCase(test_topology.TestCase):
    # Servers that come to one host side by side take each other's cards, as
    # far as Placement is asked: Nova's claim is for another one than the
    # scheduler's, and 409 is what the second gets.
    options = ('--no-pci-in-placement',)

    def setUp(self):
        super().setUp()
        topology = self.write_topology(TOPOLOGY)
        self.up('--topology', topology, *self.options)
        self.compute = self.admin.compute
        self.hosts = [host['name'] for host in self.spec.topology['hosts']]
        self.image = self.admin.image.find_image('cirros').id
        self.network = self.admin.network.find_network('private').id
        self.flavors = {}

    def flavor(self, request):
        """Return a flavor's id that has these extra specs, as a pair."""
        if request not in self.flavors:
            made = self.compute.create_flavor(
                name=self.name('flavor'), vcpus=1, ram=512, disk=1
            )
            if request:
                specs = dict([request])
                self.compute.create_flavor_extra_specs(made, specs)
            self.flavors[request] = made.id
        return self.flavors[request]

    def start(self, host, request=('pci_passthrough:alias', 'a100:1')):
        """Have a server launched on a host; return its id at once."""
        server = {
            'name': self.name('server'),
            'flavorRef': self.flavor(request),
            'imageRef': self.image,
            'networks': [{'uuid': self.network}],
            'host': host,
        }
        response = self.compute.post(
            '/servers', json={'server': server}, microversion='2.74'
        )
        self.assertEqual(202, response.status_code, response.text)
        return response.json()['server']['id']

    def fields(self, server):
        url = f'/servers/{server}'
        return self.compute.get(url, microversion='2.79').json()['server']

    def wait_for(self, server, *statuses):
        def there():
            fields = self.fields(server)
            idle = fields['OS-EXT-STS:task_state'] is None
            return idle and fields['status'] in statuses

        base.wait_until(f'{server} {statuses}', there, LIMIT)

    def act(self, server, body):
        """Ask for an action; nothing is waited for."""
        url = f'/servers/{server}/action'
        response = self.compute.post(url, json=body, microversion='2.95')
        self.assertIn(response.status_code, (202, 204), response.text)

    def record(self, server):
        url = f'/os-migrations?instance_uuid={server}'
        answer = self.compute.get(url, microversion='2.80').json()
        return (answer['migrations'] or [None])[0]

    def rows(self, query, server):
        uri = f'file:{self.state / "db" / "nova.sqlite"}?mode=ro'
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
            return database.execute(query, [server]).fetchall()

    def left(self, server):
        """Look at everything that tells where a server is."""
        fields, record = self.fields(server), self.record(server) or {}
        url = f'/servers/{server}/os-instance-actions'
        actions = self.compute.get(url, microversion='2.84').json()
        devices = self.rows(
            'SELECT DISTINCT host FROM pci_devices JOIN compute_nodes'
            ' ON compute_nodes.id = compute_node_id WHERE instance_uuid = ?'
            " AND status = 'allocated' ORDER BY host",
            server,
        )
        guests = [
            f'{host} {guest["state"]}'
            for host, found in self.control.guests().items()
            for guest in found
            if guest['uuid'] == server
        ]
        return Left(
            fields['status'],
            fields['OS-EXT-SRV-ATTR:host'],
            record.get('status'),
            record.get('dest_compute'),
            self.holds(server),
            self.holds(record['uuid']) if record else '',
            ' '.join(host for (host,) in devices),
            ', '.join(sorted(guests)),
            actions['instanceActions'][0]['message'],
        )

    def holds(self, consumer):
        """Name the hosts on whose own provider a consumer has something."""
        return ' '.join(
            sorted(set(self.allocations(consumer)) & {*self.hosts})
        )

    def assertLeft(self, expected, server, limit=LIMIT):
        """Wait for a state that must come."""
        deadline = time.monotonic() + limit
        while (found := self.left(server)) != expected:
            if time.monotonic() > deadline:
                self.assertEqual(expected, found)
            time.sleep(0.3)

    def assertAll(self, expected, servers):
        for name, left in expected.items():
            with self.subTest(name):
                self.assertLeft(left, servers[name])

    def order(self, point, server, error='libvirt', **more):
        self.control.set_fault(
            {'point': point, 'server': server, 'error': error} | more
        )


class TestColdMigration(TestCase):
    """The failure matrix, for servers with an alias."""

    def test_matrix(self):
        expected = {
            'claim': Left(
                'ERROR', 'gpu1', 'error', 'gpu2', 'gpu1', '',
                'gpu1', f'gpu1 {ON}', 'Error',
            ),
            'claim rollback': Left(
                'ACTIVE', 'gpu1', 'error', 'gpu2', 'gpu1', '',
                'gpu1', f'gpu1 {ON}', 'Error',
            ),
            'source': Left(
                'ERROR', 'gpu1', 'error', 'gpu2', 'gpu1', '',
                'gpu1 gpu2', f'gpu1 {ON}', 'Error',
            ),
            'source rollback': Left(
                'ACTIVE', 'gpu1', 'error', 'gpu2', 'gpu1', '',
                'gpu1 gpu2', f'gpu1 {ON}', 'Error',
            ),
            'destination': Left(
                'ERROR', 'gpu2', 'error', 'gpu2', 'gpu2', '',
                'gpu1 gpu2', f'gpu1 {OFF}', 'Error',
            ),
            'confirm': Left(
                'ERROR', 'gpu2', 'error', 'gpu2', 'gpu2', '',
                'gpu1 gpu2', f'gpu1 {OFF}, gpu2 {ON}', 'Error',
            ),
            'revert': Left(
                'ERROR', 'gpu1', 'error', 'gpu2', 'gpu1', '',
                'gpu1', f'gpu1 {OFF}', 'Error',
            ),
        }  # fmt: skip
        servers = {name: self.start('gpu1') for name in expected}
        for name, server in servers.items():
            self.wait_for(server, 'ACTIVE')
            point, _space, error = name.partition(' ')
            self.order(point, server, error or 'libvirt')
        for server in servers.values():
            self.act(server, MIGRATE)
        for name, body in (('confirm', CONFIRM), ('revert', REVERT)):
            self.wait_for(servers[name], 'VERIFY_RESIZE')
            self.act(servers[name], body)
        self.assertAll(expected, servers)
        self.assertEqual([1] * 7, [f['hits'] for f in self.control.faults()])

        # The guest of one whose claim failed never went down.
        self.act(servers['claim'], HARD_REBOOT)
        self.wait_for(servers['claim'], 'ACTIVE')
        # The one that looks healthy is not.
        self.act(servers['source rollback'], HARD_REBOOT)
        self.wait_for(servers['source rollback'], 'ERROR')
        fault = self.fields(servers['source rollback'])['fault']
        self.assertEqual('KeyError', fault['message'])

    def test_elsewhere_and_shelving(self):
        names = ('anywhere', 'shelve', 'offload', 'unshelve', 'stop', 'start')
        servers = {name: self.start('gpu1') for name in names[1:]}
        servers['anywhere'] = self.start('cpu1', None)
        for server in servers.values():
            self.wait_for(server, 'ACTIVE')
        for point, server in servers.items():
            if point in ('shelve', 'offload', 'stop'):
                self.order(point, server)
        self.order('claim', servers['anywhere'])
        for name, body in (
            ('anywhere', {'migrate': None}),
            ('shelve', {'shelve': None}),
            ('offload', {'shelve': None}),
            ('unshelve', {'shelve': None}),
            ('stop', {'os-stop': None}),
            ('start', {'os-stop': None}),
        ):
            self.act(servers[name], body)
        there = {'allocated': 'gpu1', 'devices': 'gpu1', 'action': 'Error'}
        on, off = {'guests': f'gpu1 {ON}'}, {'guests': f'gpu1 {OFF}'}
        self.assertAll(
            {
                'offload': Left('SHELVED', 'gpu1', **there, **off),
                'stop': Left('ACTIVE', 'gpu1', **there, **on),
            },
            servers,
        )
        # Nova's periodic may have seen already that the guest is off.
        self.wait_for(servers['shelve'], 'ACTIVE', 'SHUTOFF')
        self.assertEqual(OFF, self.guest(servers['shelve'])['state'])
        # The claim failed on one host and was made on another.
        self.wait_for(servers['anywhere'], 'VERIFY_RESIZE')
        self.assertEqual(
            'finished', self.record(servers['anywhere'])['status']
        )

        self.wait_for(servers['unshelve'], 'SHELVED_OFFLOADED')
        self.wait_for(servers['start'], 'SHUTOFF')
        self.order('spawn', servers['unshelve'])
        self.order('start', servers['start'])
        self.act(servers['unshelve'], {'unshelve': {'host': 'gpu2'}})
        self.act(servers['start'], {'os-start': None})
        self.assertAll(
            {
                'unshelve': Left('SHELVED_OFFLOADED', None, action='Error'),
                'start': Left('SHUTOFF', 'gpu1', **there, **off),
            },
            servers,
        )
        for name, body in (
            ('unshelve', {'unshelve': {'host': 'gpu2'}}),
            ('start', {'os-start': None}),
        ):
            self.act(servers[name], body)
            self.wait_for(servers[name], 'ACTIVE')


class TestLiveMigration(TestCase):
    options = ()

    def moved_with_its_vf(self):
        """Have a server with a VF live-migrated to gpu2; return its id.

        Nova's update of the target frees the VF if it looks between the
        writes that end a migration; then it is tried with another server.
        """
        for _attempt in range(3):
            server = self.start('gpu1', ('pci_passthrough:alias', 'a10:1'))
            self.wait_for(server, 'ACTIVE')
            self.act(server, live('gpu2'))
            base.wait_until(
                f'{server} migrated',
                lambda: (
                    (self.record(server) or {}).get('status') == 'completed'
                ),
                LIMIT,
            )
            self.wait_for(server, 'ACTIVE')
            with contextlib.suppress(AssertionError):
                base.wait_until(
                    'its VF',
                    lambda: self.left(server).devices == 'gpu2',
                    base.PERIOD,
                )
                return server
            self.compute.delete_server(server)
        self.fail('a VF never came along')

    def test_it_all(self):
        servers = {
            'plain': self.start('cpu1', None),
            'check': self.start('cpu1', None),
            'live': self.start('cpu1', None),
            'alias': self.start('gpu1'),
            'vgpu': self.start('vgpu1', ('resources:VGPU', '1')),
        }
        for server in servers.values():
            self.wait_for(server, 'ACTIVE')
        self.order('live-check', servers['check'])
        self.order('live', servers['live'])
        for name, host in (
            ('plain', 'vgpu2'), ('check', 'gpu1'), ('live', 'gpu1'),
            ('alias', 'gpu2'), ('vgpu', 'vgpu2'),
        ):  # fmt: skip
            self.act(servers[name], live(host))
        servers['vf'] = self.moved_with_its_vf()
        self.assertAll(
            {
                'plain': Left(
                    'ACTIVE', 'vgpu2', 'completed', 'vgpu2',
                    'vgpu2', guests=f'vgpu2 {ON}',
                ),
                'check': Left(
                    'ACTIVE', 'cpu1', 'error', None,
                    'cpu1', guests=f'cpu1 {ON}', action='Error',
                ),
                # From 2025.2 on Nova takes it for too late to roll back.
                'live': Left(
                    *(
                        ('ACTIVE', 'cpu1', 'failed')
                        if self.release == '2025.1'
                        else ('ERROR', 'cpu1', 'error')
                    ),
                    'gpu1', 'cpu1', guests=f'cpu1 {ON}',
                ),
                'alias': Left(
                    'ACTIVE', 'gpu1', 'error', None, 'gpu1', '',
                    'gpu1', f'gpu1 {ON}', 'Error',
                ),
                'vf': Left(
                    'ACTIVE', 'gpu2', 'completed', 'gpu2', 'gpu2', '',
                    'gpu2', f'gpu2 {ON}',
                ),
                'vgpu': Left(
                    'ACTIVE', 'vgpu2', 'completed', 'vgpu2', 'vgpu2', '',
                    '', f'vgpu2 {ON}',
                ),
            },
            servers,
        )  # fmt: skip
        guest = self.guest(servers['vf'])
        self.assertEqual(guest['devices'], self.pci_addresses(servers['vf']))
        (mdev,) = self.guest(servers['vgpu'])['mdevs']
        self.assertEqual('0000:84:00.0', mdev['parent'])
        # Who came that way can be moved and started as any other.
        for name in ('plain', 'vf'):
            self.act(servers[name], HARD_REBOOT)
            self.wait_for(servers[name], 'ACTIVE')
            self.assertEqual(ON, self.guest(servers[name])['state'])


class TestDeath(TestCase):
    """Both hosts lose their nova-compute while everything is under way."""

    def test_in_the_middle(self):
        points = ('source', 'claim', 'destination', 'confirm', 'revert')
        servers = {name: self.start('gpu1') for name in points}
        servers['live'] = self.start('cpu1', None)
        nodes = self.hypervisors()
        for server in servers.values():
            self.wait_for(server, 'ACTIVE')
        for name in ('confirm', 'revert'):
            self.act(servers[name], MIGRATE)
        for name in ('confirm', 'revert'):
            self.wait_for(servers[name], 'VERIFY_RESIZE')
        for name, server in servers.items():
            self.order(name, server, 'slow', seconds=SLOW)
        for name, body in (
            ('live', live('vgpu2')), ('source', MIGRATE), ('claim', MIGRATE),
            ('destination', MIGRATE), ('confirm', CONFIRM),
            ('revert', REVERT),
        ):  # fmt: skip
            self.act(servers[name], body)
        base.wait_until(
            'all are at it',
            lambda: all(fault['hits'] for fault in self.control.faults()),
            LIMIT,
        )
        # Nobody waits until they are done.
        for host in ('gpu1', 'gpu2', 'cpu1'):
            self.control.change_host(host, 'kill')

        both = f'gpu1 {OFF}, gpu2 {ON}'
        expected = {
            'source': Left(
                'RESIZE', 'gpu1', 'migrating', 'gpu2', 'gpu2', 'gpu1',
                'gpu1 gpu2', f'gpu1 {ON}',
            ),
            'claim': Left(
                'RESIZE', 'gpu1', 'pre-migrating', None, 'gpu2', 'gpu1',
                'gpu1', f'gpu1 {ON}',
            ),
            'destination': Left(
                'RESIZE', 'gpu2', 'post-migrating', 'gpu2', 'gpu2', 'gpu1',
                'gpu1 gpu2', f'gpu1 {OFF}',
            ),
            'confirm': Left(
                'VERIFY_RESIZE', 'gpu2', 'confirming', 'gpu2', 'gpu2', 'gpu1',
                'gpu1 gpu2', both,
            ),
            'revert': Left(
                'REVERT_RESIZE', 'gpu1', 'reverted', 'gpu2', 'gpu1', '',
                'gpu1', f'gpu1 {OFF}',
            ),
            'live': Left(
                'MIGRATING', 'cpu1', 'running', 'vgpu2', 'vgpu2', 'cpu1',
                '', f'cpu1 {ON}',
            ),
        }  # fmt: skip
        # Nova's periodic on the source may have seen the server on neither
        # host while it came back, and may have freed its card.
        expected['revert'].devices = self.left(servers['revert']).devices
        for name, left in expected.items():
            with self.subTest(name):
                self.assertEqual(left, self.left(servers[name]))
        before = self.everything(servers)
        time.sleep(3)
        self.assertEqual(before, self.everything(servers))

        for host in ('gpu1', 'gpu2', 'cpu1'):
            self.control.change_host(host, 'start')
        # This is what Nova makes of it when it starts again.
        for name in ('source', 'claim', 'live'):
            expected[name].status = 'ACTIVE'
        expected['live'].record = 'error'
        self.assertAll(expected, servers)
        self.assertEqual(nodes, self.hypervisors())
        for name, body, status in (
            ('confirm', CONFIRM, 400),
            ('confirm', REVERT, 400),
            ('destination', CONFIRM, 409),
            ('revert', REVERT, 409),
        ):
            with self.subTest(name, body=body):
                url = f'/servers/{servers[name]}/action'
                answer = self.compute.post(url, json=body, microversion='2.95')
                self.assertEqual(status, answer.status_code, answer.text)
        for name in ('source', 'live'):
            self.act(servers[name], {'os-stop': None})
        for host in ('gpu1', 'gpu2'):
            self.wait_for(self.start(host), 'ACTIVE')
        self.wait_for(servers['live'], 'SHUTOFF')

    def hypervisors(self):
        found = self.compute.get('/os-hypervisors', microversion='2.88').json()
        return {
            host['id']: host['hypervisor_hostname']
            for host in found['hypervisors']
        }

    def everything(self, servers):
        """Return the database's rows of the servers, to the second."""
        return [
            self.rows(query, server)
            for server in servers.values()
            for query in (
                'SELECT * FROM instances WHERE uuid = ?',
                'SELECT * FROM migrations WHERE instance_uuid = ?',
                'SELECT * FROM pci_devices WHERE instance_uuid = ?',
                'SELECT * FROM instance_actions WHERE instance_uuid = ?',
                'SELECT e.* FROM instance_actions_events e'
                ' JOIN instance_actions a ON a.id = e.action_id'
                ' WHERE a.instance_uuid = ?',
            )
        ]


class TestTokens(base.TestCase):
    def test_a_revoked_token_is_refused(self):
        clouds = specs.clouds(self.spec)
        mine = openstack.connect(load_envvars=False, **clouds['sandbox-admin'])
        token = mine.auth_token
        self.assertEqual(200, mine.compute.get('/servers').status_code)
        url = f'{self.spec.auth_url}/auth/tokens'
        answer = mine.session.delete(url, headers={'X-Subject-Token': token})
        self.assertEqual(204, answer.status_code)

        def refused():
            answer = self.admin.session.get(
                f'{mine.compute.get_endpoint()}/servers',
                authenticated=False,
                headers={'X-Auth-Token': token},
                raise_exc=False,
            )
            return answer.status_code == 401

        base.wait_until('the token is refused', refused, 20)
        # A client takes a new one.
        self.assertEqual(200, mine.compute.get('/servers').status_code)
        self.assertNotEqual(token, mine.auth_token)
