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
"""GPU servers: launched for real, or refused with what is known."""

from tests.functional import base
from tests.functional import shells

V100 = 'CUSTOM_PCI_10DE_1DB6'


class TestCase(shells.TestCase):
    def make_sized_flavor(self, vcpus, ram, *request):
        name = self.name('sized')
        self.addCleanup(self.forget_flavor, name)
        self.ok(
            'gpu', 'flavor', 'create', name, '--vcpus', str(vcpus),
            '--ram', str(ram), '--disk', '1', *request,
        )  # fmt: skip
        return name

    def create(self, name, *argv):
        """Return the words that create a server, to be taken away again."""
        self.addCleanup(self.forget_servers, name)
        return (
            'gpu', 'server', 'create', name,
            '--image', 'cirros', '--network', 'private', *argv,
        )  # fmt: skip

    def server(self, name, **query):
        """Return the server of a name as Nova's API has it; None if none."""
        found = [
            server
            for server in self.admin.compute.servers(
                all_projects=True, name=f'^{name}$'
            )
        ]
        self.assertLess(len(found), 2)
        return found[0] if found else None


class TestCreateServer(TestCase):
    def test_gpu_takes_the_smallest_flavor(self):
        smallest = self.make_sized_flavor(1, 1024, '--alias', 'v100:2')
        self.make_sized_flavor(1, 2048, '--alias', 'v100:2')
        self.make_sized_flavor(2, 512, '--alias', 'v100:2')
        # Smaller ones, of something else.
        self.make_sized_flavor(1, 512, '--alias', 'v100')
        self.make_sized_flavor(1, 512, '--alias', 'v100:2', '--vgpu')
        self.make_sized_flavor(1, 512, '--alias', 'v100:2', '--private')

        name = self.name('server')
        result = self.ok(
            *self.create(name, '--gpu', 'v100:2', '--wait', '-f', 'json'),
            user='member',
        )
        self.assertEqual(f'Using flavor {smallest}\n', result.stderr)
        shown = result.json
        self.assertEqual(
            ('ACTIVE', smallest, 'v100:2', 2),
            (
                shown['status'],
                shown['flavor'],
                shown['gpu_request'],
                shown['gpu_count'],
            ),
        )
        server = self.server(name)
        self.assertEqual(
            (shown['id'], 'ACTIVE', smallest),
            (server.id, server.status, server.flavor['original_name']),
        )
        self.assertTrue(shown['admin_password'])

        # Two cards: in the guest, in Nova's database, in Placement, and for
        # the admin of another project.
        guest = self.guest(server.id)
        devices = sorted(guest['devices'])
        self.assertEqual(2, len(devices))
        self.assertEqual(devices, self.pci_addresses(server.id))
        held = self.allocations(server.id)
        del held['gpu3']
        self.assertEqual(
            {f'gpu3_{a.upper()}': {V100: 1} for a in devices}, held
        )
        shown = self.table('gpu', 'server', 'show', server.id)
        self.assertEqual(
            [
                {
                    'host': 'gpu3',
                    'address': address,
                    'resource_class': V100,
                    'amount': 1,
                }
                for address in devices
            ],
            shown['devices'],
        )
        self.assertEqual(('gpu3', ''), (shown['host'], shown['fault']))
        network = self.admin.network.ports(device_id=server.id)
        addresses = [ip['ip_address'] for p in network for ip in p.fixed_ips]
        self.assertEqual([{'private': addresses}], [shown['addresses']])

    def test_min_and_max(self):
        flavor = self.make_flavor('--alias', 'v100')
        name = self.name('several')
        result = self.ok(
            *self.create(name, '--flavor', flavor, '--min', '2', '--max', '3',
                         '--wait', '-f', 'json'),
            user='member',
        )  # fmt: skip
        servers = [self.server(f'{name}-{n}') for n in (1, 2, 3)]
        self.assertEqual(['ACTIVE'] * 3, [s.status for s in servers])
        self.assertEqual(servers[0].id, result.json['id'])
        self.assertIn('Created 3 servers: ', result.stderr)
        for server in servers:
            self.assertIn(f'{server.name} ({server.id})', result.stderr)
        devices = [self.guest(s.id)['devices'] for s in servers]
        self.assertEqual([1, 1, 1], [len(held) for held in devices])
        self.assertEqual(3, len({address for (address,) in devices}))

        # gpu3 is full now.
        full = self.name('full')
        line = self.fails(
            *self.create(full, '--flavor', flavor, '--wait'), user='member'
        )
        self.assertIn('No valid host was found', line)
        self.assertIn('requests v100:1 on one host', line)
        self.assertIn('openstack gpu capacity show', line)
        server = self.server(full)
        self.assertIn(f'Server {full} ({server.id}) is in ERROR', line)
        self.assertEqual('ERROR', server.status)

    def test_more_than_any_host_has(self):
        flavor = self.make_flavor('--alias', 'a100:5')
        name = self.name('greedy')
        line = self.fails(*self.create(name, '--flavor', flavor, '--wait'))
        self.assertIn('No valid host was found', line)
        self.assertIn('requests a100:5 on one host', line)
        # What an alias stands for is in no API, unless a server tells.
        self.assertRegex(
            line,
            'alias a100 may stand for .*CUSTOM_PCI_10DE_20B5'
            '|By Placement none fits: CUSTOM_PCI_10DE_20B5 on 2 hosts',
        )
        self.assertEqual('ERROR', self.server(name).status)

        flavor = self.make_flavor('--property', 'resources:VGPU=17')
        name = self.name('greedy')
        line = self.fails(*self.create(name, '--flavor', flavor, '--wait'))
        self.assertIn('requests VGPU:17 on one host', line)
        self.assertIn('By Placement none fits: VGPU on 2 hosts.', line)

    def test_fault(self):
        flavor = self.make_flavor('--alias', 'v100')
        name = self.name('unlucky')
        with self.fault(point='spawn', error='libvirt', server=name, times=9):
            line = self.fails(
                *self.create(name, '--flavor', flavor, '--wait'),
                user='member',
            )
        server = self.server(name)
        self.assertEqual('ERROR', server.status)
        self.assertIn(f'Server {name} ({server.id}) is in ERROR: ', line)
        self.assertIn(server.fault['message'].rstrip('.'), line)
        shown = self.table('gpu', 'server', 'show', name, user='member')
        self.assertEqual(server.fault['message'], shown['fault'])
        self.assertEqual([], shown['devices'])
        self.assertEqual({}, self.allocations(server.id))

    def test_timeout(self):
        flavor = self.make_flavor('--alias', 'v100')
        name = self.name('slow')
        with self.fault(point='spawn', error='slow', seconds=4, server=name):
            line = self.fails(
                *self.create(name, '--flavor', flavor, '--wait', '--timeout',
                             '1'),
                user='member',
            )  # fmt: skip
        server = self.server(name)
        self.assertIn(f'{name} ({server.id}) is in status BUILD after 1', line)
        # It was left alone, and goes on.
        self.assertEqual('BUILD', server.status)
        base.wait_until(
            'built', lambda: self.server(name).status == 'ACTIVE', 30
        )

    def test_without_waiting(self):
        flavor = self.make_flavor('--vgpu')
        name = self.name('quick')
        result = self.ok(
            *self.create(name, '--flavor', flavor, '-f', 'json'),
            user='member',
        )
        self.assertEqual('', result.stderr)
        self.assertEqual('VGPU:1', result.json['gpu_request'])
        self.assertEqual(self.server(name).id, result.json['id'])
        base.wait_until(
            'built', lambda: self.server(name).status == 'ACTIVE', 30
        )


class TestRefused(TestCase):
    def test_in_one_line(self):
        gpu = self.make_flavor('--alias', 'a100')
        plain = self.name('plain')
        self.addCleanup(self.forget_flavor, plain)
        self.admin.compute.create_flavor(name=plain, vcpus=1, ram=512, disk=1)
        name = self.name('refused')
        create = ('gpu', 'server', 'create', name)
        net = ('--network', 'private')
        image = ('--image', 'cirros')
        self.addCleanup(self.forget_servers, name)
        for user, words, argv in (
            (
                'member',
                (f'Flavor {plain} requests no GPU.', f'{gpu} (a100:1)'),
                ('--flavor', plain, *image, *net),
            ),
            (
                'member',
                ('No flavor requests exactly v100:7.', f'{gpu} (a100:1)'),
                ('--gpu', 'v100:7', *image, *net),
            ),
            ('member', ('nosuch',), ('--flavor', 'nosuch', *image, *net)),
            (
                'member',
                ('nosuch',),
                ('--flavor', gpu, '--image', 'nosuch', *net),
            ),
            (
                'member',
                ('nosuch',),
                ('--flavor', gpu, *image, '--network', 'nosuch'),
            ),
            (
                'admin',
                ('nosuch',),
                ('--flavor', gpu, *image, *net, '--host', 'nosuch'),
            ),
            (
                'member',
                ('the right compute:servers:create:requested_destination',),
                ('--flavor', gpu, *image, *net, '--host', 'gpu1'),
            ),
            (
                'member',
                ('--timeout 5', '--wait'),
                ('--flavor', gpu, *image, *net, '--timeout', '5'),
            ),
            (
                'member',
                ('olume',),  # core's words, which changed
                ('--flavor', gpu, *net, '--volume', 'nosuch'),
            ),
        ):
            with self.subTest(argv):
                line = self.fails(*create, *argv, user=user)
                for word in words:
                    self.assertIn(word, line)
        self.assertIsNone(self.server(name))
        self.assertIn(
            "argument --gpu: 'v100:0'",
            self.fails(*create, '--gpu', 'v100:0', *image, *net, status=2),
        )

    def test_show_and_list(self):
        for words, argv in (
            (('nosuch', 'could be found'), ('show', 'nosuch')),
            (('nosuch',), ('list', '--flavor', 'nosuch')),
            (('nosuch',), ('list', '--project', 'nosuch')),
            (("service host named 'nosuch'",), ('list', '--host', 'nosuch')),
        ):
            with self.subTest(argv):
                line = self.fails('gpu', 'server', *argv)
                for word in words:
                    self.assertIn(word, line)


class TestListServer(TestCase):
    def test_filters(self):
        alias = self.make_flavor('--alias', 'v100', name='alias')
        vgpu = self.make_flavor('--vgpu', name='vgpu')
        card = self.make_server(alias)
        share = self.make_server(vgpu, user='admin')
        host = self.guest(share['id'])['host']
        card_host = self.guest(card['id'])['host']
        # A server without a GPU is none of ours.
        plain = self.name('plain')
        self.addCleanup(self.forget_flavor, plain)
        flavor = self.admin.compute.create_flavor(
            name=plain, vcpus=1, ram=64, disk=0
        )
        self.addCleanup(self.forget_servers, plain)
        network = self.admin.network.find_network('private')
        image = self.admin.image.find_image('cirros')
        self.admin.compute.wait_for_server(
            self.admin.compute.create_server(
                name=plain,
                flavor_id=flavor.id,
                image_id=image.id,
                networks=[{'uuid': network.id}],
            ),
            interval=0.5,
        )
        # Its flavor is its own: what becomes of it later says nothing.
        self.forget_flavor(alias)

        both = {card['id'], share['id']}
        for expected, user, argv in (
            ({card['id']}, 'member', ()),
            ({share['id']}, 'admin', ()),
            (both, 'admin', ('--all-projects',)),
            (both, 'admin', ('--all-projects', '--status', 'ACTIVE')),
            (set(), 'admin', ('--all-projects', '--status', 'ERROR')),
            ({share['id']}, 'admin', ('--host', host)),
            (set(), 'admin', ('--host', 'cpu1')),
            ({card['id']}, 'admin', ('--project', 'lab')),
            ({share['id']}, 'admin', ('--all-projects', '--flavor', vgpu)),
            (set(), 'member', ('--flavor', vgpu)),
        ):
            with self.subTest(argv, user=user):
                rows = self.table('gpu', 'server', 'list', *argv, user=user)
                self.assertEqual(expected, {row['ID'] for row in rows})

        (row,) = self.table('gpu', 'server', 'list', '--project', 'lab',
                            '--long')  # fmt: skip
        stored = self.admin.compute.get_server(card['id'])
        self.assertEqual(
            {
                'ID': stored.id,
                'Name': stored.name,
                'Status': stored.status,
                'Flavor': alias,
                'GPU Request': 'v100:1',
                'GPU Count': 1,
                'Host': card_host,
                'Project ID': stored.project_id,
                'User ID': stored.user_id,
                'Created At': stored.created_at,
            },
            row,
        )
        line = self.fails(
            'gpu', 'server', 'list', '--all-projects', user='member'
        )
        self.assertIn('the right os_compute_api:servers:detail:get_all', line)
