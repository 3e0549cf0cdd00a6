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

"""A whole faked cloud: Placement, and what Nova and Keystone tell of it.

``TestCase`` has ``placement`` (FakePlacement), ``nova`` (FakeNova with the
flavors) and the helpers below to add hosts, servers, migrations and so on.
"""

from collections.abc import Sequence
import json
import re
from typing import Any
from urllib import parse
import uuid

from tests.unit import base
from tests.unit import fake_flavors
from tests.unit import fake_placement

A100 = fake_placement.A100
PROJECT = 'c' * 32


class TestCase(fake_flavors.TestCase):
    """A cloud without anything in it, asked by an admin."""

    def setUp(self) -> None:
        super().setUp()
        self.placement = fake_placement.FakePlacement(self.cloud)
        self.hypervisors: list[dict[str, Any]] = []
        self.servers: dict[str, dict[str, Any]] = {}
        self.migrations: list[dict[str, Any]] = []
        self.aggregates: list[dict[str, Any]] = []
        self.groups: list[dict[str, Any]] = []
        self.actions: dict[str, list[dict[str, Any]]] = {}
        self.cloud.get(
            re.compile(
                re.escape(base.COMPUTE)
                + '/(os-hypervisors|os-services|servers|os-migrations'
                '|os-aggregates|os-server-groups)'
            ),
            text=self._answer,
        )

    # What there is.

    def add_host(
        self, name: str, *, service: str | None = None, **inventory: Any
    ) -> str:
        """Add a compute node, up and enabled; return its root's UUID.

        It has 8 VCPUs, 1024 MiB and 100 GiB unless inventory says otherwise.
        Change ``self.hypervisors[-1]`` to disable it or let it be down.
        """
        root = self.placement.host(name, **inventory)
        self.hypervisors.append(
            {
                'id': root,
                'hypervisor_hostname': name,
                'state': 'up',
                'status': 'enabled',
                'service': {'host': service or name, 'disabled_reason': None},
                'cpu_info': {'topology': {'cells': 1}},
            }
        )
        return root

    def add_cards(
        self, root: str, number: int, resource_class: str = A100, **more: Any
    ) -> list[str]:
        """Add passed-through cards to a host; return the providers' UUIDs."""
        host = self.placement.providers[root]['name']
        traits = more.pop('traits', ())
        return [
            self.placement.provider(
                f'{host}_0000:{bus:02X}:00.0',
                root,
                traits=('COMPUTE_MANAGED_PCI_DEVICE', *traits),
                **{resource_class: more.get('stock', 1)},
            )
            for bus in range(0x20, 0x20 + number)
        ]

    def add_vgpus(
        self, root: str, *totals: int, resource_class: str = 'VGPU'
    ) -> list[str]:
        """Add cards with so many vGPUs each; return the providers' UUIDs."""
        host = self.placement.providers[root]['name']
        return [
            self.placement.provider(
                f'{host}_pci_0000_{bus:02x}_00_0', root, **{resource_class: n}
            )
            for bus, n in enumerate(totals, 0x40)
        ]

    def add_server(
        self,
        name: str,
        specs: dict[str, str] | None = None,
        *held: tuple[str, dict[str, int]],
        host: str = '',
        **changes: Any,
    ) -> str:
        """Add an ACTIVE server and what it holds; return its ID.

        :param held: of providers, amounts by class
        """
        server = str(uuid.uuid5(uuid.NAMESPACE_URL, name))
        self.servers[server] = {
            'id': server,
            'name': name,
            'status': 'ACTIVE',
            'tenant_id': PROJECT,
            'user_id': 'u' * 32,
            'created': '2026-11-21T05:00:00Z',
            'updated': '2026-11-21T05:00:00Z',
            'addresses': {},
            'flavor': {
                'original_name': 'g1',
                'vcpus': 1,
                'ram': 128,
                'disk': 1,
                'extra_specs': dict(specs or {}),
            },
            'OS-EXT-SRV-ATTR:host': host,
            'OS-EXT-STS:task_state': None,
        } | changes
        for provider, amounts in held:
            self.placement.hold(server, provider, **amounts)
        self.placement.owners[server] = (PROJECT, 'u' * 32)
        return server

    def add_migration(self, server: str, status: str, **changes: Any) -> str:
        """Add a migration record; return its UUID."""
        number = len(self.migrations) + 1
        found = str(uuid.uuid5(uuid.NAMESPACE_URL, f'migration {number}'))
        self.migrations.append(
            {
                'id': number,
                'uuid': found,
                'status': status,
                'migration_type': 'migration',
                'instance_uuid': server,
                'source_compute': 'gpu1',
                'dest_compute': 'gpu2',
                'source_node': 'gpu1',
                'dest_node': 'gpu2',
                'created_at': f'2026-11-21T06:00:{number:02d}.000000',
                'updated_at': f'2026-11-21T06:01:{number:02d}.000000',
            }
            | changes
        )
        return found

    def add_aggregate(
        self, name: str, hosts: list[str], **metadata: str
    ) -> None:
        """Add a host aggregate."""
        self.aggregates.append(
            {
                'id': len(self.aggregates) + 1,
                'name': name,
                'hosts': hosts,
                'metadata': metadata,
                'availability_zone': metadata.get('availability_zone'),
            }
        )

    def add_group(self, name: str, policy: str, *servers: str) -> None:
        """Add a server group."""
        self.groups.append(
            {
                'id': f'id-{name}',
                'name': name,
                'policy': policy,
                'rules': {},
                'members': list(servers),
            }
        )

    def add_action(self, server: str, start: str, *events: str) -> None:
        """Add a migrate action that began then, and had these events."""
        self.actions.setdefault(server, []).append(
            {
                'action': 'migrate',
                'request_id': f'req-{len(self.actions.get(server, ()))}',
                'start_time': start,
                'events': [{'event': event} for event in events],
            }
        )

    # How Nova answers.

    def _answer(self, request: Any, context: Any) -> str:
        context.headers['Date'] = 'Sat, 21 Nov 2026 06:30:00 GMT'
        url = parse.urlsplit(request.url)
        path = url.path.removeprefix(parse.urlsplit(base.COMPUTE).path)
        asked = dict(parse.parse_qsl(url.query))
        parts = path.strip('/').split('/')
        if parts == ['os-hypervisors', 'detail']:
            return json.dumps({'hypervisors': self._asked_hosts(asked)})
        if parts == ['os-services']:
            return json.dumps({'services': self._asked_services(asked)})
        if parts == ['os-server-groups']:
            found = self.groups[int(asked.get('offset', 0)) :]
            return json.dumps({'server_groups': found})
        if parts == ['os-aggregates']:
            return json.dumps({'aggregates': self.aggregates})
        if parts == ['os-migrations']:
            return json.dumps({'migrations': self._asked_migrations(asked)})
        if parts == ['servers', 'detail']:
            statuses = parse.parse_qs(url.query).get('status', ())
            found = self._asked_servers(asked, statuses)
            return json.dumps({'servers': found})
        if len(parts) == 2 and parts[1] in self.servers:
            return json.dumps({'server': self.servers[parts[1]]})
        if 'os-instance-actions' in parts and parts[1] in self.servers:
            return self._asked_actions(parts[1], parts[3:])
        context.status_code = 404
        message = f'{parts[-1]} could not be found.'
        return json.dumps({'itemNotFound': {'code': 404, 'message': message}})

    def _asked_hosts(self, asked: dict[str, str]) -> list[Any]:
        if 'with_servers' not in asked:
            return self.hypervisors
        found = []
        for hypervisor in self.hypervisors:
            host = hypervisor['service']['host']
            there = [
                {'uuid': server['id'], 'name': server['name']}
                for server in self.servers.values()
                if server['OS-EXT-SRV-ATTR:host'] == host
            ]
            found.append(hypervisor | ({'servers': there} if there else {}))
        return found

    def _asked_services(self, asked: dict[str, str]) -> list[Any]:
        return [
            found['service'] | {'state': found['state']}
            for found in self.hypervisors
            if asked['host'] == found['service']['host']
        ]

    def _asked_actions(self, server: str, request: list[str]) -> str:
        actions = self.actions.get(server, [])
        for action in actions:
            if request == [action['request_id']]:
                return json.dumps({'instanceAction': action})
        return json.dumps({'instanceActions': actions})

    def _asked_migrations(self, asked: dict[str, str]) -> list[Any]:
        return [
            record
            for record in self.migrations
            if asked.get('status') in (None, record['status'])
            and asked.get('instance_uuid') in (None, record['instance_uuid'])
            and asked.get('host')
            in (None, record['source_compute'], record['dest_compute'])
            and asked.get('source_compute') in (None, record['source_compute'])
            and asked.get('changes-since', '')[:19] <= record['updated_at']
        ]

    def _asked_servers(
        self, asked: dict[str, str], statuses: Sequence[str]
    ) -> list[Any]:
        names = {f['id']: f['name'] for f in self.nova.flavors.values()}
        found = [
            server
            for server in self.servers.values()
            if (not statuses or server['status'] in statuses)
            and (server['status'] != 'SOFT_DELETED' or 'soft_deleted' in asked)
            and asked.get('host') in (None, server['OS-EXT-SRV-ATTR:host'])
            and asked.get('project_id') in (None, server['tenant_id'])
            and ('locked' not in asked or server.get('locked'))
            and asked.get('changes-since', '')[:19] <= server['updated']
            and (
                'flavor' not in asked
                or names.get(asked['flavor'])
                == server['flavor']['original_name']
            )
        ]
        return found[: int(asked.get('limit', 1000))]
