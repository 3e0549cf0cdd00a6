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

from tests.unit import base
from tests.unit import fake_license

MAC = 'fa:16:3e:a3:fd:19'
MAC2 = 'fa:16:3e:a3:fd:20'
MARK = 'NVIDIA license server nls (osc-gpu)'
OWN = fake_license.OWN
LOOK_UP = [
    'GET /v2.0/networks?name=private',
    f'GET /v2.0/subnets?network_id={fake_license.PRIVATE}',
    'GET /flavors/detail?is_public=None',
    'GET /v2/images?name=nls-3.0.0-bios',
]
LIMITS = ['GET /limits', f'GET /v2.0/quotas/{OWN}/details']
SERVERS = 'GET /servers/detail?name=^nls-[12]$'
RULES = [
    ('icmp', None, '10.0.0.0/24'),
    ('tcp', 22, '10.0.0.0/24'),
    ('tcp', 80, '10.0.0.0/24'),
    ('tcp', 443, '10.0.0.0/24'),
    ('tcp', 7070, '10.0.0.0/24'),
]


def present(*names, is_there=False):
    named = ''.join(f'&name={name}' for name in names)
    return [
        SERVERS,
        'GET /os-server-groups?offset=0',
        *(['GET /os-server-groups?offset=1'] if is_there else []),
        f'GET /v2.0/ports?project_id={OWN}{named}',
        f'GET /v2.0/security-groups?project_id={OWN}&name=nls',
    ]


class TestCase(fake_license.TestCase):
    def rules(self):
        (group,) = self.fake.groups
        return [
            (r['protocol'], r['port_range_min'], r['remote_ip_prefix'])
            for r in group['security_group_rules']
            if r['direction'] == 'ingress'
        ]


class TestCreate(TestCase):
    def setUp(self):
        super().setUp()
        self.fake.be('member')

    def test_create(self):
        shown = self.table(*self.argv('--wait'))
        (group,), (port,) = self.fake.groups, self.fake.ports
        (server_group,), (server,) = (
            self.fake.server_groups,
            self.fake.servers,
        )
        self.assertEqual(
            {
                'name': 'nls',
                'status': 'ACTIVE',
                'project_id': OWN,
                'security_group_id': group['id'],
                'server_group_id': server_group['id'],
                'mac_addresses': ['fa:16:3e:00:00:00'],
                'urls': ['https://10.0.0.10/'],
                'servers': [
                    {
                        'name': 'nls-1',
                        'id': server['id'],
                        'status': 'ACTIVE',
                        'port_id': port['id'],
                        'mac_address': 'fa:16:3e:00:00:00',
                        'addresses': ['10.0.0.10'],
                    }
                ],
                'steps': [
                    f'security group nls ({group["id"]})',
                    'rules of security group nls (icmp from 10.0.0.0/24, tcp '
                    '22 from 10.0.0.0/24, tcp 80 from 10.0.0.0/24, tcp 443 '
                    'from 10.0.0.0/24, tcp 7070 from 10.0.0.0/24)',
                    f'port nls-1 ({port["id"]})',
                    f'server group nls ({server_group["id"]})',
                    f'server nls-1 ({server["id"]})',
                ],
            },
            shown,
        )
        self.assertEqual(
            [
                *LOOK_UP,
                *present('nls-1'),
                *LIMITS,
                'POST /v2.0/security-groups',
                'POST /v2.0/security-group-rules',
                'POST /v2.0/ports',
                'POST /os-server-groups',
                'POST /servers',
                SERVERS,
            ],
            self.requests,
        )
        self.assertEqual(RULES, self.rules())
        self.assertEqual([group['id']], port['security_groups'])
        self.assertEqual('anti-affinity', server_group['policy'])
        self.assertEqual(
            [MARK] * 3, [x['description'] for x in (group, port, server)]
        )
        self.assertEqual(server['id'], port['device_id'])
        self.assertIsNone(server['key_name'])

    def test_twice(self):
        self.table(*self.argv('--wait'))
        before = self.fake.state
        self.cloud.reset_mock()
        self.assertEqual([], self.table(*self.argv('--wait'))['steps'])
        self.assertEqual(before, self.fake.state)
        self.assertEqual(
            [
                *LOOK_UP,
                *present('nls-1', is_there=True),
            ],
            self.requests,
        )

    def test_table(self):
        self.assertIn(
            '| nls-1 BUILD fa:16:3e:00:00:00 10.0.0.10 ',
            self.slow().stdout,
        )

    def slow(self):
        self.fake.slowness = 99
        return self.ok(*self.argv())

    def test_wait(self):
        self.slow()
        self.fake.slowness = 2
        self.assertEqual('ACTIVE', self.table(*self.argv('--wait'))['status'])
        self.assertEqual([1.0], self.time.slept)

    def test_wait_gives_up(self):
        self.fake.slowness = 99
        result = self.openstack(*self.argv('--wait', '--timeout', '3'))
        self.assertEqual(1, result.status)
        self.assertIn(' BUILD ', result.stdout)
        server = self.fake.servers[0]['id']
        self.assertEqual(
            f'Server nls-1 ({server}) is not built after 3 seconds.\n',
            result.stderr,
        )

    def test_options(self):
        shown = self.table(
            *self.argv(
                'my nls', '--key-name', 'me', '--remote-ip', '192.0.2.7',
                '--remote-ip', '2001:db8::/32', '--remote-ip', '192.0.2.7/32',
            )
        )  # fmt: skip
        self.assertEqual('my nls-1', shown['servers'][0]['name'])
        self.assertEqual('me', self.fake.servers[0]['key_name'])
        self.assertEqual(
            [
                ('icmp', None, '192.0.2.7/32'),
                ('ipv6-icmp', None, '2001:db8::/32'),
            ],
            [rule for rule in self.rules() if 'icmp' in rule[0]],
        )
        self.assertEqual(10, len(self.rules()))

    def test_ids(self):
        self.table(
            *self.argv(
                image=fake_license.IMAGE_ID,
                network=fake_license.PRIVATE,
                flavor=fake_license.FLAVOR_ID,
            )
        )

    def test_dry_run(self):
        shown = self.table(*self.argv('--dry-run', '--ha'))
        self.assertEqual(
            [
                'security group nls',
                'rules of security group nls',
                'port nls-1',
                'port nls-2',
                'server group nls',
                'server nls-1',
                'server nls-2',
            ],
            [step.partition(' (')[0] for step in shown['steps']],
        )
        self.assertEqual('', shown['status'])
        self.assertEqual([], self.fake.writes)

    def test_no_quotas_are_shown(self):
        self.fake.quotas = self.fake.limits = {}
        self.table(*self.argv())

    def test_the_network_of_an_ipv6_address(self):
        self.fake.subnets[fake_license.PRIVATE] = ['2001:db8::/64']
        self.fake.ports = []
        self.table(*self.argv('--ha'))
        for port in self.fake.ports:
            port['fixed_ips'] = [{'ip_address': '2001:db8::5'}]
        shown = self.table(*self.argv())
        self.assertEqual(['https://[2001:db8::5]/'], shown['urls'])
        (group,) = self.fake.groups
        self.assertEqual(
            {'IPv6'},
            {
                r['ethertype']
                for r in group['security_group_rules']
                if r['direction'] == 'ingress'
            },
        )


class TestUsage(TestCase):
    def test_usage(self):
        for argv, said in (
            (['--mac-address', 'fa:16:3e:a3:fd'], "'fa:16:3e:a3:fd' is not"),
            (['--mac-address', '01:00:5e:00:00:01'], 'no MAC address of a'),
            (['--mac-address', 'x'], '--mac-address'),
            (['--fixed-ip-address', '10.0.0.256'], "'10.0.0.256' is not an"),
            (['--fixed-ip-address', '10.0.0.0/24'], '--fixed-ip-address'),
            (['--remote-ip', '10.0.0.0/33'], "'10.0.0.0/33' is no address"),
            (['--remote-ip', ''], '--remote-ip'),
            (['--key-name', ''], '--key-name: is empty'),
            (['--project', ''], '--project: is empty'),
            (['--project', 'a', '--new-project', 'b'], 'not allowed with'),
            (['--wait', '--timeout', '0'], "'0'"),
            ([' nls'], 'blanks'),
            ([''], 'is empty'),
            (['a\nb'], 'control characters'),
            (['n' * 254], '254 characters'),
        ):
            line = self.fails(*self.argv(*argv), status=2)
            self.assertIn(said, line.replace('\n', ' '), argv)
        for option in ('image', 'flavor', 'network'):
            line = self.fails(*self.argv(**{option: ''}), status=2)
            self.assertIn(f'--{option}: is empty', line)
        self.assertEqual([], self.requests)

    def test_combinations(self):
        for argv, said in (
            (['--timeout', '3'], '--timeout 3 is of no use without --wait'),
            (
                ['--role', 'admin'],
                '--role admin is of no use without --new-project',
            ),
            (
                ['--project', 'p', '--role', 'admin'],
                '--role admin is of no use without --new-project',
            ),
            (
                ['--project-domain', 'd'],
                '--project-domain d is of no use without --project',
            ),
            (
                ['--mac-address', MAC, '--mac-address', MAC2],
                f'--mac-address {MAC2}: a second server takes --ha',
            ),
            (
                ['--ha', *['--fixed-ip-address', '10.0.0.5'] * 2],
                '--fixed-ip-address 10.0.0.5 is given twice',
            ),
            (
                [
                    '--ha', '--mac-address', MAC, '--mac-address', MAC2,
                    '--mac-address', 'fa:16:3e:a3:fd:21',
                ],
                '--mac-address fa:16:3e:a3:fd:21: there are only 2 servers',
            ),
        ):  # fmt: skip
            self.assertEqual(said, self.fails(*self.argv(*argv)))
        self.assertEqual([], self.requests)


class TestPair(TestCase):
    def test_pair(self):
        shown = self.table(
            *self.argv('--ha', '--wait', '--mac-address', MAC.upper(),
                       '--mac-address', MAC2.replace(':', '-'),
                       '--fixed-ip-address', '10.0.0.50')
        )  # fmt: skip
        self.assertEqual([MAC, MAC2], shown['mac_addresses'])
        self.assertEqual(
            ['https://10.0.0.50/', 'https://10.0.0.11/'], shown['urls']
        )
        self.assertEqual(
            ['ACTIVE', 'ACTIVE'], [s['status'] for s in shown['servers']]
        )
        self.assertEqual(
            {'host1', 'host2'},
            {s['OS-EXT-SRV-ATTR:host'] for s in self.fake.servers},
        )
        self.assertEqual([*RULES, ('tcp', None, None)], self.rules())
        (group,) = self.fake.groups
        self.assertEqual(
            group['id'], group['security_group_rules'][-1]['remote_group_id']
        )
        self.assertEqual(
            [
                *LOOK_UP,
                *present('nls-1', 'nls-2'),
                f'GET /v2.0/ports?network_id={fake_license.PRIVATE}'
                f'&mac_address={MAC}&mac_address={MAC2}',
                f'GET /v2.0/ports?network_id={fake_license.PRIVATE}'
                '&fixed_ips=ip_address=10.0.0.50',
                *LIMITS,
                'POST /v2.0/security-groups',
                'POST /v2.0/security-group-rules',
                'POST /v2.0/ports',
                'POST /v2.0/ports',
                'POST /os-server-groups',
                'POST /servers',
                'POST /servers',
                SERVERS,
            ],
            self.requests,
        )

    def test_a_second_server_later(self):
        self.table(*self.argv('--wait'))
        shown = self.table(*self.argv('--ha', '--wait'))
        self.assertEqual(
            [
                'rules of security group nls (tcp from self)',
                'port nls-2',
                'server nls-2',
            ],
            [
                step if step.startswith('rules') else step.partition(' (')[0]
                for step in shown['steps']
            ],
        )
        # One of a pair is looked for as one.
        self.assertEqual([], self.table(*self.argv())['steps'])

    def test_one_host(self):
        self.fake.hosts = ['host1']
        result = self.openstack(*self.argv('--ha', '--wait', '-f', 'json'))
        self.assertEqual(1, result.status)
        self.assertEqual('ERROR', result.json['status'])
        second = self.fake.servers[1]['id']
        said = (
            f'Server nls-2 ({second}) is in ERROR: No valid host was found. '
            'There are not enough hosts available. Server group nls keeps '
            'its servers apart (anti-affinity), so it takes another host '
            'than that of nls-1 (host1) with room for flavor dls (8 VCPUs, '
            '8192 MiB of RAM, 30 GiB of disk). Delete it (openstack server '
            f'delete {second}) and run the same command again; its port '
            'keeps MAC address fa:16:3e:00:00:01.\n'
        )
        self.assertEqual(said, result.stderr)
        # The same without waiting, and nothing is made anew.
        self.assertEqual(said, self.openstack(*self.argv('--ha')).stderr)
        self.fake.delete_server('nls-2')
        self.fake.hosts.append('host2')
        self.table(*self.argv('--ha', '--wait'))
        self.assertEqual(2, len(self.fake.ports))

    def test_both_on_one_host(self):
        self.table(*self.argv('--ha', '--wait'))
        for server in self.fake.servers:
            server['hostId'] = 'same'
        first, second = (s['id'] for s in self.fake.servers)
        result = self.openstack(*self.argv('--ha'))
        self.assertEqual(
            f'nls-1 ({first}) and nls-2 ({second}) are on one host: should '
            'it fail, both are gone.\n',
            result.stderr,
        )


class TestRefusals(TestCase):
    """What is refused before anything is made."""

    def refused(self, *argv, **changes):
        line = self.fails(*self.argv(*argv, **changes))
        self.assertEqual([], self.fake.writes)
        return line

    def test_unknown(self):
        for changes, said in (
            ({'network': 'x'}, 'There is no network x that you can use'),
            ({'image': 'x'}, 'There is no image x that you can use'),
            ({'flavor': 'x'}, 'Flavor x could not be found.'),
        ):
            self.assertEqual(said, self.refused(**changes))
        unknown = 'eeeeeeee-0000-4000-8000-00000000000f'
        for what in ('network', 'image'):
            self.assertEqual(
                f'There is no {what} {unknown} that you can use',
                self.refused(**{what: unknown}),
            )
        self.assertEqual(
            'You have no keypair a/b: see openstack keypair list',
            self.refused('--key-name', 'a/b'),
        )

    def test_ambiguous(self):
        twin = 'eeeeeeee-0000-4000-8000-00000000000a'
        self.fake.networks.append(fake_license.network(twin, 'private'))
        self.assertEqual(
            'There is more than one network private; name one by its ID: '
            f'{fake_license.PRIVATE}, {twin}',
            self.refused(),
        )
        # One's own comes first.
        self.fake.networks[-1] |= {'project_id': OWN}
        self.fake.subnets[twin] = ['10.1.0.0/24']
        self.table(*self.argv('--dry-run'))
        self.fake.images.append(fake_license.image(id=twin))
        self.assertIn(
            'There is more than one image nls-3.0.0-bios', self.refused()
        )

    def test_network(self):
        self.fake.be('member')
        self.assertEqual(
            'Network public is external and not shared: only an admin puts a '
            'server on it (with --new-project: --role admin). Choose a '
            'network of the project and give the server a floating IP, or '
            'have it shared.',
            self.refused(network='public'),
        )
        private = self.fake.networks[0]
        private |= {'shared': False}
        self.assertEqual(
            "Network private is another project's, and not shared with it.",
            self.refused(),
        )
        private |= {'project_id': OWN, 'port_security_enabled': False}
        self.assertEqual(
            'Network private has port security off: there is no security '
            'group on its ports.',
            self.refused(),
        )
        self.fake.subnets[private['id']] = []
        self.assertEqual(
            'Network private has no subnet that you can see', self.refused()
        )

    def test_image(self):
        for changes, said in (
            (
                {'status': 'queued'},
                'Image nls-3.0.0-bios is queued, not active.',
            ),
            (
                {'min_ram': 8193},
                'Image nls-3.0.0-bios takes 8193 MiB of RAM, flavor dls has '
                '8192.',
            ),
            (
                {'min_disk': 31},
                'Image nls-3.0.0-bios takes 31 GiB of disk, flavor dls has '
                '30.',
            ),
            (
                {'virtual_size': 30 * 1024**3 + 1},
                'Image nls-3.0.0-bios takes 31 GiB of disk, flavor dls has '
                '30.',
            ),
        ):
            self.fake.images = [fake_license.image(**changes)]
            self.assertEqual(said, self.refused())

    def test_addresses(self):
        self.table(*self.argv('--mac-address', MAC))
        self.fake.heal()
        port = self.fake.ports[0]['id']
        self.assertEqual(
            f'{MAC} is in use by port {port}. 10.0.0.10 is in use by port '
            f'{port}.',
            self.refused('other', '--mac-address', MAC.upper(),
                         '--fixed-ip-address', '10.0.0.10'),
        )  # fmt: skip
        self.assertEqual(
            'Address 10.0.1.1 is in no subnet of network private: '
            '10.0.0.0/24.',
            self.refused('other', '--fixed-ip-address', '10.0.1.1'),
        )
        self.assertEqual(
            f'Port nls-1 ({port}) has MAC address {MAC}, not {MAC2}.',
            self.refused('--mac-address', MAC2),
        )
        self.assertEqual(
            f'Port nls-1 ({port}) is on network {fake_license.PRIVATE}.',
            self.refused(network='public'),
        )

    def test_quotas(self):
        self.fake.limits = {
            'maxTotalInstances': 10,
            'totalInstancesUsed': 9,
            'maxTotalCores': 15,
            'totalCoresUsed': 0,
            'maxServerGroups': 5,
        }
        self.fake.quotas = {
            'port': {'limit': 10, 'used': 8, 'reserved': 1},
            'security_group': {'limit': -1, 'used': 8, 'reserved': 0},
        }
        self.assertEqual(
            'Quota of instances: 2 needed, 1 left. Quota of cores: 16 '
            'needed, 15 left. Quota of port: 2 needed, 1 left.',
            self.refused('--ha'),
        )

    def test_somebody_elses(self):
        self.fake.add_server('nls-1', 'port', status='ACTIVE')
        self.assertIn('is no license server', self.refused())


class TestForbidden(TestCase):
    def test_mac_address(self):
        self.fake.be('member')
        line = self.fails(*self.argv('--mac-address', MAC))
        self.assertIn(
            'Cannot make port nls-1: You lack the right '
            'create_port:mac_address; ask for a role that has it. Only an '
            'admin or the owner of a network chooses addresses on it: leave '
            'them to Neutron, or have an admin make the port with: openstack '
            f'port create --network {fake_license.PRIVATE} --project {OWN} '
            f'--no-security-group --mac-address {MAC} nls-1. Made so far: '
            'security group nls (',
            line,
        )
        self.assertNotIn('Run the same command again', line)
        self.assertTrue(
            line.endswith(
                'The same command is refused again until that is settled; '
                'then it goes on.'
            ),
            line,
        )


class TestProject(TestCase):
    other = 'd' * 32

    def test_new(self):
        argv = self.argv(
            '--new-project', 'cs', '--role', 'admin', '--mac-address', MAC,
            '--wait', network='public',
        )  # fmt: skip
        shown = self.table(*argv)
        project = shown['project_id']
        self.assertEqual('cs', self.fake.projects[project]['name'])
        self.assertEqual([MAC], shown['mac_addresses'])
        self.assertEqual(
            (project, 'ACTIVE'),
            (self.fake.servers[0]['tenant_id'], shown['status']),
        )
        self.assertEqual(
            [
                ('POST projects', OWN),
                (
                    f'PUT projects/{project}/users/{base.USER_ID}/roles/'
                    'id-admin',
                    OWN,
                ),
                ('POST security-groups', OWN),
                ('POST security-group-rules', OWN),
                ('POST ports', OWN),
                ('POST os-server-groups', project),
                ('POST servers', project),
            ],
            list(zip(self.fake.writes, self.fake.writers, strict=True)),
        )
        self.assertEqual([], self.table(*argv)['steps'])

    def test_dry_run(self):
        shown = self.table(*self.argv('--new-project', 'cs', '--dry-run'))
        self.assertEqual('', shown['project_id'])
        self.assertEqual('project cs', shown['steps'][0])
        self.assertEqual(7, len(shown['steps']))
        self.assertEqual([], self.fake.writes)

    def test_requests(self):
        self.table(*self.argv('--new-project', 'cs'))
        project = next(p for p in self.fake.projects if p != OWN)
        self.assertEqual(
            [
                'GET /auth/projects',
                'GET /roles?name=member',
                'GET /projects?name=cs&domain_id=default',
                *LOOK_UP,
                'POST /projects',
                f'PUT /projects/{project}/users/{base.USER_ID}/roles/'
                'id-member',
                *LOOK_UP,
            ],
            self.requests[:13],
        )

    def test_a_tenant_of_two_projects(self):
        self.fake.be('member')
        self.fake.add_project(self.other, 'lab', 'member')
        shown = self.table(*self.argv('--project', 'lab'))
        self.assertEqual(self.other, shown['project_id'])
        self.assertEqual({self.other}, set(self.fake.writers))

    def test_external_without_admin(self):
        for argv in (['--new-project', 'cs'], ['--project', 'lab']):
            self.fake.add_project(self.other, 'lab', 'member')
            line = self.fails(*self.argv(*argv, network='public'))
            self.assertIn('(with --new-project: --role admin)', line)
        self.assertEqual([], self.fake.writes)

    def test_what_the_project_may_not_use(self):
        self.fake.images = [fake_license.image(visibility='shared', size=1)]
        argv = ('--new-project', 'cs')
        self.assertEqual(
            'Flavor own is not public. Make project cs yourself, take a role '
            'in it, have it use what is not public, and run the same command '
            'again. Image nls-3.0.0-bios is not public. Make project cs '
            'yourself, take a role in it, have it use what is not public, and '
            'run the same command again.',
            self.fails(*self.argv(*argv, flavor='own')),
        )
        self.assertEqual([], self.fake.writes)
        self.table(
            *self.argv(*argv, '--role', 'admin', '--dry-run', flavor='own')
        )

    def test_refused_inside(self):
        self.fake.add_project(self.other, 'cs')
        self.fake.limits = {'maxTotalInstances': 0}
        line = self.fails(*self.argv('--new-project', 'cs'))
        self.assertRegex(
            line,
            r'\AQuota of instances: 1 needed, 0 left\. Made so far: role '
            r'member for \w+ in project cs\. Run the same command again to '
            r'go on\.\Z',
        )
