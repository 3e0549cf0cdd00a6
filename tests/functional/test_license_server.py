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

"""License servers: made for real, twice, killed in between, or refused."""

import contextlib
import shlex

from tests.functional import killing
from tests.functional import shells

MAC = 'fa:16:3e:a3:fd:{:02x}'
PORTS = {('icmp', None)} | {('tcp', port) for port in (22, 80, 443, 7070)}
SUBNET = '10.0.0.0/24'
APIS = {'compute': '/v2.1', 'network': '/v2.0', 'identity': '/v3'}
NO_VALID_HOST = (
    'is in ERROR: No valid host was found. There are not enough hosts '
    'available. Server group '
)


class TestCase(shells.TestCase):
    def setUp(self):
        super().setUp()
        self.flavor = self.name('dls')
        self.addCleanup(self.forget_flavor, self.flavor)
        self.admin.compute.create_flavor(
            name=self.flavor, vcpus=1, ram=512, disk=1
        )

    def license_name(self, stem='nls'):
        """Return the name of a license server, to be taken away again."""
        name = self.name(stem)
        self.addCleanup(self.forget, name)
        return name

    def argv(self, name, *more, network='private'):
        return (
            'gpu', 'license', 'server', 'create', name, '--image', 'cirros',
            '--flavor', self.flavor, '--network', network, *more,
        )  # fmt: skip

    def create(self, name, *more, user='member', **changes):
        return self.table(*self.argv(name, *more, **changes), user=user)

    def found(self, name):
        """Return all that there is of a license server, by kind."""
        network = self.admin.network
        names = {f'{name}-1', f'{name}-2'}
        return {
            'groups': list(network.security_groups(name=name)),
            'ports': [p for n in sorted(names) for p in network.ports(name=n)],
            'server_groups': [
                group
                for group in self.admin.compute.server_groups(
                    all_projects=True
                )
                if group.name == name
            ],
            'servers': [
                server
                for server in self.admin.compute.servers(
                    all_projects=True, name=f'^{name}-[12]$'
                )
                if server.name in names
            ],
        }

    def forget(self, name):
        self.forget_servers(f'{name}-')
        found = self.found(name)
        for port in found['ports']:
            self.admin.network.delete_port(port)
        for group in found['groups']:
            self.admin.network.delete_security_group(group)
        for group in found['server_groups']:
            self.admin.compute.delete_server_group(group)

    def forget_project(self, name):
        for project in self.admin.identity.projects(name=name):
            for group in self.admin.network.security_groups(
                project_id=project.id
            ):
                self.admin.network.delete_security_group(group)
            self.admin.identity.delete_project(project)

    def check(self, name, servers=1, remote=SUBNET):
        """Look whether all is there, once, and as it should be."""
        found = self.found(name)
        (group,), (server_group,) = found['groups'], found['server_groups']
        rules = [
            rule
            for rule in group.security_group_rules
            if rule['direction'] == 'ingress'
        ]
        self.assertEqual(
            PORTS | ({('tcp', None)} if servers > 1 else set()),
            {(r['protocol'], r['port_range_min']) for r in rules},
        )
        self.assertEqual(5 + (servers > 1), len(rules))
        self.assertEqual(
            {remote} | ({None} if servers > 1 else set()),
            {r['remote_ip_prefix'] for r in rules},
        )
        self.assertEqual('anti-affinity', server_group.policy)
        names = [f'{name}-{n}' for n in range(1, servers + 1)]
        self.assertEqual(names, sorted(s.name for s in found['servers']))
        self.assertEqual(names, [port.name for port in found['ports']])
        self.assertEqual(
            {server.id for server in found['servers']},
            set(server_group.member_ids),
        )
        for server in found['servers']:
            (port,) = [p for p in found['ports'] if p.name == server.name]
            self.assertEqual('ACTIVE', server.status)
            self.assertEqual(server.id, port.device_id)
            self.assertEqual([group.id], port.security_group_ids)
            # What the guest has is what the license is bound to.
            (nic,) = [
                address
                for addresses in server.addresses.values()
                for address in addresses
            ]
            self.assertEqual(port.mac_address, nic['OS-EXT-IPS-MAC:mac_addr'])
        hosts = [server.compute_host for server in found['servers']]
        self.assertEqual(len(hosts), len(set(hosts)))
        owner = {item.project_id for items in found.values() for item in items}
        self.assertEqual(1, len(owner))
        return found, owner.pop()


class TestCreate(TestCase):
    def test_a_tenants(self):
        name = self.license_name()
        shown = self.create(name, '--wait')
        found, project = self.check(name)
        (server,), (port,) = found['servers'], found['ports']
        self.assertEqual(
            (
                name,
                'ACTIVE',
                project,
                found['groups'][0].id,
                found['server_groups'][0].id,
                [port.mac_address],
                [f'https://{port.fixed_ips[0]["ip_address"]}/'],
                [
                    {
                        'name': server.name,
                        'id': server.id,
                        'status': 'ACTIVE',
                        'port_id': port.id,
                        'mac_address': port.mac_address,
                        'addresses': [port.fixed_ips[0]['ip_address']],
                    }
                ],
                5,
            ),
            (*list(shown.values())[:-1], len(shown['steps'])),
        )
        lab = self.admin.identity.find_project('lab', ignore_missing=False)
        self.assertEqual(lab.id, project)

        # Twice: nothing is made.
        self.assertEqual([], self.create(name, '--wait')['steps'])
        again, _project = self.check(name)
        self.assertEqual(found['servers'][0].id, again['servers'][0].id)

        # The server is made anew, on the port that is there.
        self.ok('server', 'delete', '--wait', server.name, user='member')
        (step,) = self.create(name, '--wait')['steps']
        self.assertIn(f'server {server.name} (', step)
        again, _project = self.check(name)
        self.assertEqual(
            [(port.id, port.mac_address)],
            [(p.id, p.mac_address) for p in again['ports']],
        )

        # A second one.
        dry = self.create(name, '--ha', '--dry-run')
        self.assertEqual(3, len(dry['steps']))
        self.check(name)
        shown = self.create(name, '--ha', '--wait')
        self.assertEqual(3, len(shown['steps']))
        self.check(name, 2)
        self.assertEqual([], self.create(name, '--ha')['steps'])

    def test_a_pair_with_addresses(self):
        name = self.license_name()
        macs = [MAC.format(n) for n in (1, 2)]
        argv = [
            '--ha', '--wait', '--mac-address', macs[0],
            '--mac-address', macs[1].upper(),
            '--fixed-ip-address', '10.0.0.201', '--remote-ip', '192.0.2.1',
        ]  # fmt: skip
        shown = self.create(name, *argv, user='admin')
        self.assertEqual(macs, shown['mac_addresses'])
        self.assertEqual('https://10.0.0.201/', shown['urls'][0])
        self.check(name, 2, '192.0.2.1/32')
        self.assertEqual([], self.create(name, *argv, user='admin')['steps'])
        other = self.license_name()
        line = self.fails(
            *self.argv(other, '--mac-address', macs[0]), user='admin'
        )
        self.assertIn(f'{macs[0]} is in use by port ', line)
        self.assertEqual([], self.found(other)['groups'])

    def test_a_new_project(self):
        name, project = self.license_name(), self.name('cs')
        self.addCleanup(self.forget_project, project)
        self.addCleanup(self.forget, name)
        argv = [
            '--new-project', project, '--mac-address', MAC.format(3), '--wait',
        ]  # fmt: skip
        shown = self.create(name, *argv, user='admin')
        self.assertEqual(7, len(shown['steps']))
        _found, owner = self.check(name)
        made = self.admin.identity.get_project(owner)
        self.assertEqual((project, owner), (made.name, shown['project_id']))
        self.assertEqual([], self.create(name, *argv, user='admin')['steps'])
        argv = ['--project', project, '--ha', '--wait']
        self.create(name, *argv, user='admin')
        self.check(name, 2)

    def test_an_external_network(self):
        name, project = self.license_name(), self.name('cs')
        self.addCleanup(self.forget_project, project)
        self.addCleanup(self.forget, name)
        argv = self.argv(name, '--new-project', project, network='public')
        self.assertIn('--role admin', self.fails(*argv))
        self.assertEqual([], list(self.admin.identity.projects(name=project)))
        self.table(*argv, '--role', 'admin', '--wait')
        self.check(name, remote='203.0.113.0/24')

    def test_a_port_that_an_admin_made(self):
        name = self.license_name()
        argv = self.argv(name, '--wait', '--mac-address', MAC.format(4))
        line = self.fails(*argv, user='member')
        self.assertIn(f'Cannot make port {name}-1: You lack the ', line)
        self.assertIn('Made so far: security group', line)
        command = line.partition('make the port with: ')[2].split()
        self.assertEqual('openstack', command[0])
        self.ok(*command[1 : command.index(f'{name}-1.')], f'{name}-1')
        shown = self.table(*argv, user='member')
        self.assertEqual([MAC.format(4)], shown['mac_addresses'])
        self.check(name)

    def test_one_host(self):
        name = self.license_name()
        with self.only_host('cpu1'):
            result = self.openstack(
                *self.argv(name, '--ha', '--wait', '-f', 'json'), user='member'
            )
        self.assertEqual((1, 'ERROR'), (result.status, result.json['status']))
        failed = [s for s in result.json['servers'] if s['status'] == 'ERROR']
        (other,) = [
            s for s in result.json['servers'] if s['status'] == 'ACTIVE'
        ]
        self.assertEqual(1, len(failed))
        self.assertIn(NO_VALID_HOST, result.stderr)
        self.assertIn(
            f'takes another host than that of {other["name"]} with room for',
            result.stderr,
        )
        self.ok('server', 'delete', '--wait', failed[0]['id'], user='member')
        shown = self.create(name, '--ha', '--wait')
        self.assertEqual(result.json['mac_addresses'], shown['mac_addresses'])
        self.check(name, 2)

    @contextlib.contextmanager
    def only_host(self, name):
        """Let Nova put new servers on this host only."""
        compute = self.admin.compute
        others = [
            service
            for service in compute.services(binary='nova-compute')
            if service.host != name
        ]
        for service in others:
            compute.disable_service(service)
        try:
            yield
        finally:
            for service in others:
                compute.enable_service(service)


class TestKilled(TestCase):
    """Killed when the cloud did what it was asked for and did not answer."""

    def setUp(self):
        super().setUp()
        self.rig = killing.Rig(self, APIS)
        self.addCleanup(self.rig.stop)

    def kill(self, number, name, *more, user):
        killed = self.rig.run(
            *self.argv(name, '--wait', *more),
            at=number,
            when=killing.BEFORE,
            counting=killing.WRITES,
            user=user,
        )
        self.assertTrue(killed.is_killed, killed)

    def test_a_pair(self):
        for number in range(1, 8):
            with self.subTest(number=number):
                name = self.license_name()
                self.kill(number, name, '--ha', user='member')
                shown = self.create(name, '--ha', '--wait')
                self.assertEqual(7 - number, len(shown['steps']))
                self.check(name, 2)
                self.forget(name)

    def test_a_new_project(self):
        for number in range(1, 4):
            with self.subTest(number=number):
                name, project = self.license_name(), self.name('cs')
                self.addCleanup(self.forget_project, project)
                self.addCleanup(self.forget, name)
                new = ('--new-project', project)
                self.kill(number, name, *new, user='admin')
                shown = self.create(name, *new, '--wait', user='admin')
                self.assertEqual(7 - number, len(shown['steps']))
                self.check(name)
                found = list(self.admin.identity.projects(name=project))
                self.assertEqual(1, len(found))


class TestBadInput(TestCase):
    def refused(self, *more, user='member', **changes):
        name = self.license_name()
        line = self.fails(*self.argv(name, *more, **changes), user=user)
        found = self.found(name)
        self.assertEqual([], [i for items in found.values() for i in items])
        return line

    def test_what_is_not_there(self):
        for argv, said in (
            (['--image', 'nope'], 'There is no image nope'),
            (['--network', 'nope'], 'There is no network nope'),
            (['--flavor', 'nope'], 'Flavor nope could not be found.'),
            (['--key-name', 'nope'], 'You have no keypair nope'),
            (['--project', 'nope'], 'You have no role in a project nope.'),
            (['--project', 'service'], 'You have no role in a project'),
            (['--fixed-ip-address', '10.9.9.9'], 'is in no subnet of network'),
        ):
            self.assertIn(said, self.refused(*argv))

    def test_rights(self):
        self.assertIn(
            '--new-project cs takes an admin: You lack the right identity:',
            self.refused('--new-project', 'cs'),
        )
        self.assertIn(
            'Network public is external and not shared',
            self.refused(network='public'),
        )
        self.assertIn(
            'There is no role nope',
            self.refused(
                '--new-project', self.name('cs'), '--role', 'nope',
                user='admin',
            ),
        )  # fmt: skip

    def test_quotas(self):
        lab = self.admin.identity.find_project('lab', ignore_missing=False)
        nova = f'/os-quota-sets/{lab.id}'
        neutron = f'/quotas/{lab.id}'
        self.addCleanup(self.admin.compute.delete, nova)
        self.addCleanup(self.admin.network.delete, neutron)
        quota = {'instances': 1, 'server_groups': 0, 'force': True}
        self.admin.compute.put(nova, json={'quota_set': quota})
        self.admin.network.put(neutron, json={'quota': {'port': 0}})
        line = self.refused('--ha')
        for said in (
            'Quota of instances: 2 needed, ',
            'Quota of server_groups: 1 needed, 0 left.',
            'Quota of port: 2 needed, 0 left.',
        ):
            self.assertIn(said, line)

    def test_names_of_others(self):
        name = self.license_name()
        self.ok(
            'server', 'create', f'{name}-1', '--image', 'cirros', '--flavor',
            self.flavor, '--network', 'private', '--wait', user='member',
        )  # fmt: skip
        line = self.fails(*self.argv(name), user='member')
        self.assertIn('is no license server', line)
        other = self.license_name()
        self.ok('security', 'group', 'create', other, user='member')
        line = self.fails(*self.argv(other), user='member')
        self.assertIn("is not of this command's making", line)
        # What the line says to do, does it.
        command = line.partition(' with: ')[2].removesuffix('.')
        self.ok(*shlex.split(command)[1:], user='member')
        self.create(other, '--wait')
        self.check(other)
        self.ok('security', 'group', 'create', other, user='member')
        line = self.fails(*self.argv(other), user='member')
        self.assertIn(f'more than one security group {other}: ', line)


class TestHostile(TestCase):
    def test_a_name(self):
        name = self.name("$(id) 'x\" [1]")
        self.addCleanup(self.forget, name)
        self.create(name, '--wait')
        self.assertEqual([], self.create(name)['steps'])
