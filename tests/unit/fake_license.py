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

"""A cloud that license servers are made in: what its services would keep.

``TestCase`` has ``fake``. Who asks is known by the token: its project, and
the roles that were assigned in it.
"""

import json
import re
from typing import Any
from unittest import mock
from urllib import parse

import requests_mock

from osc_gpu.cloud import launch
from tests.unit import base
from tests.unit.cloud import test_launch
from tests.unit import fake_flavors

OWN = base.PROJECT_ID
FLAVOR_ID = 'id-dls'
IMAGE_ID = 'eeeeeeee-0000-4000-8000-000000000001'
PRIVATE = 'eeeeeeee-0000-4000-8000-000000000002'
PUBLIC = 'eeeeeeee-0000-4000-8000-000000000003'
ROLES = {'id-member': 'member', 'id-admin': 'admin', 'id-reader': 'reader'}
NO_VALID_HOST = (
    'No valid host was found. There are not enough hosts available.'
)

Item = dict[str, Any]


def image(**changes: Any) -> Item:
    """Return an image as Glance shows it."""
    return {
        'id': IMAGE_ID,
        'name': 'nls-3.0.0-bios',
        'status': 'active',
        'visibility': 'public',
        'min_ram': 0,
        'min_disk': 0,
        'size': 20 * 1024**3,
    } | changes


def network(network_id: str, name: str, **changes: Any) -> Item:
    """Return a network as Neutron shows it: another project's, shared."""
    return {
        'id': network_id,
        'name': name,
        'project_id': 'f' * 32,
        'shared': True,
        'router:external': False,
        'port_security_enabled': True,
    } | changes


class Refusal(Exception):
    """What a service refuses, with its status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class FakeCloud:
    """Keystone, Glance, Neutron and Nova, as far as they are asked."""

    def __init__(self, case: base.TestCase) -> None:
        self.case = case
        self.reset()
        for url in (
            base.AUTH_URL, base.COMPUTE, base.IMAGE + '/v2',
            base.NETWORK + '/v2.0',
        ):  # fmt: skip
            case.cloud.register_uri(
                requests_mock.ANY,
                re.compile(re.escape(url) + '/[a-z]'),
                text=self._answer,
            )
        case.cloud.register_uri(
            'POST', f'{base.AUTH_URL}/auth/tokens', text=self._log_in
        )

    def reset(self) -> None:
        """Forget all that was made, and all that shall fail."""
        self.projects: dict[str, Item] = {
            OWN: {'id': OWN, 'name': 'admin', 'domain_id': 'default'}
        }
        #: (project, role ID) of the one user
        self.assignments = {(OWN, 'id-member'), (OWN, 'id-admin')}
        #: whether all tokens are for the own project, whatever is asked
        self.stays = False
        self.images = [image()]
        self.keypairs = {'me'}
        self.networks = [
            network(PRIVATE, 'private'),
            network(PUBLIC, 'public', shared=False, **{'router:external': 1}),
        ]
        self.subnets = {PRIVATE: ['10.0.0.0/24'], PUBLIC: ['203.0.113.0/24']}
        self.groups: list[Item] = []
        self.ports: list[Item] = []
        self.server_groups: list[Item] = []
        self.servers: list[Item] = []
        self.limits: Item = {'maxTotalInstances': -1}
        self.quotas: Item = {'port': {'limit': -1, 'used': 0}}
        #: hosts that take one server of a group each
        self.hosts = ['host1', 'host2']
        #: times that servers are looked at until they are built
        self.slowness = 0
        self.faults: list[fake_flavors.Fault] = []
        self.writes: list[str] = []
        #: the project of each write's token
        self.writers: list[str] = []
        self._made = 0

    def be(self, *roles: str) -> None:
        """Let the user have only these roles in the own project."""
        self.assignments = {(OWN, f'id-{name}') for name in roles}

    def add_project(
        self, project_id: str, name: str, *roles: str, domain: str = 'default'
    ) -> None:
        """Add a project in which the user has these roles."""
        project = {'id': project_id, 'name': name, 'domain_id': domain}
        self.projects[project_id] = project
        self.assignments |= {(project_id, f'id-{role}') for role in roles}

    def fail(self, number: int, answer: Any, *, done: bool = False) -> None:
        """Fail the write of this number, counted from 1."""
        self.faults = [fake_flavors.Fault(str(number), '', answer, done)]
        self.writes.clear()

    def heal(self) -> None:
        self.faults = []
        self.writes.clear()

    @property
    def state(self) -> Item:
        """What there is, without anything that two runs differ in."""
        project = {p['id']: p['name'] for p in self.projects.values()}
        return {
            'projects': sorted(project.values()),
            'groups': [
                (g['name'], project[g['project_id']], g['description'])
                for g in self.groups
            ],
            'rules': sorted(
                f'{r["protocol"]} {r["port_range_min"]} '
                f'{r["remote_ip_prefix"]}'
                for g in self.groups
                for r in g['security_group_rules']
            ),
            'ports': sorted(
                (p['name'], len(p['security_groups']), bool(p['device_id']))
                for p in self.ports
            ),
            'server_groups': [
                (g['name'], g['policy'], len(g['members']))
                for g in self.server_groups
            ],
            'servers': sorted(
                (s['name'], s['status'], project[s['tenant_id']])
                for s in self.servers
            ),
        }

    # How it answers.

    def _log_in(self, request: Any, context: Any) -> str:
        wanted = request.json()['auth']['scope']['project']
        project_id = OWN if self.stays else wanted.get('id', OWN)
        roles = [
            ROLES[role]
            for project, role in sorted(self.assignments)
            if project == project_id
        ]
        if not roles:
            context.status_code = 401
            return json.dumps({'error': {'code': 401, 'message': 'No role.'}})
        context.headers['X-Subject-Token'] = project_id
        project = self.projects[project_id]
        token = self.case.token(
            *roles,
            project_id=project_id,
            name=project['name'],
            domain_id='default',
            domain_name='Default',
        )
        return json.dumps(token)

    def _answer(self, request: Any, context: Any) -> str:
        url = parse.urlsplit(request.url)
        path = re.sub(r'^/v[0-9.]+/', '', url.path)
        fault = None
        if request.method != 'GET':
            self.writes.append(f'{request.method} {path}')
            self.writers.append(request.headers['X-Auth-Token'])
            number = str(len(self.writes))
            fault = next((f for f in self.faults if f.method == number), None)
        if fault and not fault.done:
            return _fail(fault, context)
        try:
            body = self._serve(
                request, parse.unquote(path).split('/'), url.query
            )
        except Refusal as exc:
            context.status_code = exc.status
            error = {'code': exc.status, 'message': str(exc)}
            return json.dumps({'error': error})
        if fault:
            return _fail(fault, context)
        return json.dumps(body)

    def _serve(self, request: Any, parts: list[str], query: str) -> Any:
        asked = parse.parse_qs(query)
        mine = request.headers['X-Auth-Token']
        name = '_'.join([request.method, parts[0].replace('-', '_')])
        body = request.json() if request.body else {}
        answer: Any = getattr(self, f'_{name}')(mine, parts[1:], asked, body)
        return answer

    def _is_admin(self, mine: str) -> bool:
        return (mine, 'id-admin') in self.assignments

    def _require_admin(self, mine: str, rule: str) -> None:
        if not self._is_admin(mine):
            raise Refusal(403, f'rule:{rule} is disallowed by policy')

    def _id(self) -> str:
        self._made += 1
        return f'00000000-0000-4000-8000-{self._made:012d}'

    # Keystone

    def _GET_auth(self, mine: str, parts: Any, asked: Any, body: Any) -> Any:
        mine_too = {project for project, role in self.assignments}
        found = [p for p in self.projects.values() if p['id'] in mine_too]
        return {'projects': found}

    def _GET_domains(
        self, mine: str, parts: Any, asked: Any, body: Any
    ) -> Any:
        self._require_admin(mine, 'list_domains')
        names = {'Other': 'other'}
        found = [names[n] for n in asked['name'] if n in names]
        return {'domains': [{'id': domain} for domain in found]}

    def _GET_roles(self, mine: str, parts: Any, asked: Any, body: Any) -> Any:
        self._require_admin(mine, 'list_roles')
        found = [r for r, name in ROLES.items() if name in asked['name']]
        return {'roles': [{'id': role} for role in found]}

    def _GET_projects(
        self, mine: str, parts: Any, asked: Any, body: Any
    ) -> Any:
        self._require_admin(mine, 'list_projects')
        return {'projects': _matching(self.projects.values(), asked)}

    def _POST_projects(
        self, mine: str, parts: Any, asked: Any, body: Any
    ) -> Any:
        self._require_admin(mine, 'create_project')
        project = body['project'] | {'id': f'{len(self.projects):032x}'}
        self.projects[project['id']] = project
        return {'project': project}

    def _PUT_projects(
        self, mine: str, parts: Any, asked: Any, body: Any
    ) -> Any:
        self._require_admin(mine, 'create_grant')
        assert parts[1:3] == ['users', base.USER_ID], parts
        self.assignments.add((parts[0], parts[4]))

    # Glance

    def _GET_images(self, mine: str, parts: Any, asked: Any, body: Any) -> Any:
        if not parts:
            return {'images': _matching(self.images, asked)}
        found = _matching(self.images, {'id': parts})
        if not found:
            raise Refusal(404, 'No image found')
        return found[0]

    # Neutron

    def _GET_networks(
        self, mine: str, parts: Any, asked: Any, body: Any
    ) -> Any:
        return {'networks': _matching(self.networks, asked)}

    def _GET_subnets(
        self, mine: str, parts: Any, asked: Any, body: Any
    ) -> Any:
        found = self.subnets[asked['network_id'][0]]
        return {'subnets': [{'cidr': cidr} for cidr in found]}

    def _GET_quotas(self, mine: str, parts: Any, asked: Any, body: Any) -> Any:
        if not self.quotas:
            raise Refusal(404, 'The resource could not be found.')
        return {'quota': self.quotas}

    def _GET_security_groups(
        self, mine: str, parts: Any, asked: Any, body: Any
    ) -> Any:
        return {'security_groups': _matching(self.groups, asked)}

    def _POST_security_groups(
        self, mine: str, parts: Any, asked: Any, body: Any
    ) -> Any:
        group = body['security_group'] | {'id': self._id()}
        self._require_own(mine, group)
        out = {'direction': 'egress', 'ethertype': 'IPv4', 'protocol': None}
        group['security_group_rules'] = [_rule(group['id'], **out)]
        self.groups.append(group)
        return {'security_group': group}

    def _POST_security_group_rules(
        self, mine: str, parts: Any, asked: Any, body: Any
    ) -> Any:
        made = [_rule(**rule) for rule in body['security_group_rules']]
        for group in self.groups:
            for rule in made:
                if rule in group['security_group_rules']:
                    raise Refusal(409, 'Security group rule already exists.')
            group['security_group_rules'] += [
                rule
                for rule in made
                if rule['security_group_id'] == group['id']
            ]
        return {'security_group_rules': made}

    def _GET_ports(self, mine: str, parts: Any, asked: Any, body: Any) -> Any:
        addresses = [
            value.removeprefix('ip_address=')
            for value in asked.pop('fixed_ips', ())
        ]
        found = [
            port
            for port in _matching(self.ports, asked)
            if not addresses
            or any(ip['ip_address'] in addresses for ip in port['fixed_ips'])
        ]
        if not self._is_admin(mine):
            found = [port for port in found if port['project_id'] == mine]
        return {'ports': found}

    def _POST_ports(self, mine: str, parts: Any, asked: Any, body: Any) -> Any:
        wanted = body['port']
        self._require_own(mine, wanted)
        if 'mac_address' in wanted:
            self._require_admin(mine, 'create_port:mac_address')
        number = len(self.ports)
        address = (
            '10.0.0.%d'
            if wanted['network_id'] == PRIVATE
            else ('203.0.113.%d')
        )
        port = {
            'id': self._id(),
            'mac_address': f'fa:16:3e:00:00:{number:02x}',
            'fixed_ips': [{'ip_address': address % (number + 10)}],
            'device_id': '',
        } | wanted
        for other in self.ports:
            if other['mac_address'] == port['mac_address']:
                raise Refusal(409, 'The mac address is in use.')
        self.ports.append(port)
        return {'port': port}

    def _PUT_ports(self, mine: str, parts: Any, asked: Any, body: Any) -> Any:
        (port,) = _matching(self.ports, {'id': parts})
        port |= body['port']
        return {'port': port}

    def _require_own(self, mine: str, wanted: Item) -> None:
        if wanted['project_id'] != mine:
            self._require_admin(mine, 'create:tenant_id')

    # Nova

    def _GET_flavors(
        self, mine: str, parts: Any, asked: Any, body: Any
    ) -> Any:
        flavor = {
            'id': FLAVOR_ID,
            'name': 'dls',
            'vcpus': 8,
            'ram': 8192,
            'disk': 30,
            'extra_specs': {},
        }
        if parts != ['detail']:
            raise Refusal(404, f'Flavor {parts[0]} could not be found.')
        private = flavor | {
            'id': 'id-own',
            'name': 'own',
            'disk': 10,
            'os-flavor-access:is_public': False,
        }
        return {'flavors': [flavor, private]}

    def _GET_os_keypairs(
        self, mine: str, parts: Any, asked: Any, body: Any
    ) -> Any:
        if parts[0] not in self.keypairs:
            raise Refusal(404, f'Keypair {parts[0]} not found for user x')
        return {'keypair': {'name': parts[0]}}

    def _GET_limits(self, mine: str, parts: Any, asked: Any, body: Any) -> Any:
        if not self.limits:
            raise Refusal(403, 'rule:limits is disallowed by policy')
        return {'limits': {'absolute': self.limits, 'rate': []}}

    def _GET_os_server_groups(
        self, mine: str, parts: Any, asked: Any, body: Any
    ) -> Any:
        found = [g for g in self.server_groups if g['project_id'] == mine]
        return {'server_groups': found[int(asked['offset'][0]) :]}

    def _POST_os_server_groups(
        self, mine: str, parts: Any, asked: Any, body: Any
    ) -> Any:
        group = body['server_group'] | {
            'id': self._id(),
            'project_id': mine,
            'members': [],
            'rules': {},
        }
        self.server_groups.append(group)
        return {'server_group': group}

    def _GET_servers(
        self, mine: str, parts: Any, asked: Any, body: Any
    ) -> Any:
        if self.slowness:
            self.slowness -= 1
        else:
            for server in self.servers:
                if server['status'] == 'BUILD':
                    self._build(server)
        found = [
            server
            for server in self.servers
            if server['tenant_id'] == mine
            and re.match(asked['name'][0], server['name'])
        ]
        return {'servers': found}

    def _POST_servers(
        self, mine: str, parts: Any, asked: Any, body: Any
    ) -> Any:
        wanted = body['server']
        (port,) = wanted['networks']
        (port,) = _matching(self.ports, {'id': [port['port']]})
        if port['device_id']:
            raise Refusal(409, f'Port {port["id"]} is still in use.')
        server = self.add_server(
            wanted['name'],
            port['id'],
            tenant_id=mine,
            description=wanted['description'],
            key_name=wanted.get('key_name'),
            image={'id': wanted['imageRef']},
        )
        hint = body['os:scheduler_hints']['group']
        (group,) = [g for g in self.server_groups if g['id'] == hint]
        group['members'].append(server['id'])
        return {'server': {'id': server['id'], 'adminPass': 'seCret'}}

    def add_server(self, name: str, port_id: str, **changes: Any) -> Item:
        """Add a server that is being built."""
        server = {
            'id': self._id(),
            'name': name,
            'status': 'BUILD',
            'tenant_id': OWN,
            'flavor': {'original_name': 'dls'},
            'image': {'id': IMAGE_ID},
            'key_name': None,
            'description': None,
            'hostId': '',
            'OS-EXT-STS:task_state': None,
            'port': port_id,
        } | changes
        self.servers.append(server)
        return server

    def _build(self, server: Item) -> None:
        """Put a server where none of its group is, if there is room."""
        together = {
            member
            for group in self.server_groups
            if server['id'] in group['members']
            for member in group['members']
        }
        taken = {
            s['OS-EXT-SRV-ATTR:host']
            for s in self.servers
            if s['id'] in together and s['hostId']
        }
        free = [host for host in self.hosts if host not in taken]
        if not free:
            fault = {'code': 500, 'message': NO_VALID_HOST}
            server |= {'status': 'ERROR', 'fault': fault}
            return
        server |= {
            'status': 'ACTIVE',
            'hostId': f'digest of {free[0]}',
            'OS-EXT-SRV-ATTR:host': free[0],
        }
        for port in _matching(self.ports, {'id': [server['port']]}):
            port['device_id'] = server['id']

    def delete_server(self, name: str) -> None:
        """Delete a server as Nova does: its port stays."""
        (server,) = [s for s in self.servers if s['name'] == name]
        self.servers.remove(server)
        for group in self.server_groups:
            group['members'] = [
                m for m in group['members'] if m != server['id']
            ]
        for port in self.ports:
            if port['device_id'] == server['id']:
                port['device_id'] = ''


def _fail(fault: fake_flavors.Fault, context: Any) -> str:
    if not isinstance(fault.answer, int):
        raise fault.answer
    context.status_code = fault.answer
    error = {'code': fault.answer, 'message': 'It is out of order.'}
    return json.dumps({'error': error})


def _matching(found: Any, asked: dict[str, list[str]]) -> list[Item]:
    return [
        item
        for item in found
        if all(item[key] in values for key, values in asked.items())
    ]


def _rule(security_group_id: str, **rule: Any) -> Item:
    return {
        'security_group_id': security_group_id,
        'port_range_min': None,
        'port_range_max': None,
        'remote_ip_prefix': None,
        'remote_group_id': None,
    } | rule


class TestCase(base.TestCase):
    """A cloud where a license server can be made, by an admin."""

    def setUp(self) -> None:
        super().setUp()
        self.fake = FakeCloud(self)
        self.time = test_launch.FakeTime()
        patcher = mock.patch.object(launch, 'time', self.time)
        patcher.start()
        self.addCleanup(patcher.stop)

    def argv(self, *argv: str, **changes: str) -> tuple[str, ...]:
        """Return the words that make a license server."""
        given = {
            'image': 'nls-3.0.0-bios',
            'flavor': 'dls',
            'network': 'private',
        } | changes
        words = [w for k, v in given.items() for w in (f'--{k}', v)]
        name = () if argv and not argv[0].startswith('-') else ('nls',)
        return ('gpu', 'license', 'server', 'create', *name, *argv, *words)
