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


"""What keeps servers from hosts that have room: groups, zones, tenants.

Nova heeds them when it moves a server, whoever names the host. A server of a
group with the policy affinity goes only where the group has a member by now,
itself included, so that alone it goes nowhere (nova/scheduler/utils.py,
setup_instance_group); one that was asked for in an availability zone stays in
it. A host in aggregates that name projects is for these only
(nova/scheduler/filters/aggregate_multitenancy_isolation.py).
"""

import collections
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
from typing import NamedTuple

from openstack import connection

from osc_gpu.cloud import host_aggregates
from osc_gpu.cloud import hypervisors
from osc_gpu.cloud import rest
from osc_gpu.cloud import servers
from osc_gpu.i18n import _

#: From here on a group has one policy, with rules.
_GROUPS = '2.64'

#: From here on a server has the zone that it was asked for in.
_PINNED = '2.96'

_ZONE = 'availability_zone'

#: What metadata begins with that names the projects that a host is for.
_TENANTS = 'filter_tenant_id'


class Group(NamedTuple):
    """A server group that Nova enforces; ``per_host`` is for anti-affinity."""

    id: str
    name: str
    is_affinity: bool
    members: frozenset[str]
    per_host: int = 1


@dataclasses.dataclass(frozen=True)
class Limits:
    """Where servers may be; hosts are those of compute services.

    ``zones`` are the hosts of each availability zone but the default one,
    ``pinned`` the zones of servers that were asked for in one, ``hosts_of``
    where servers are. ``tenants`` are the projects of each host that is not
    for all, ``projects`` those of servers.
    """

    groups: tuple[Group, ...] = ()
    zones: Mapping[str, frozenset[str]] = dataclasses.field(
        default_factory=dict
    )
    pinned: Mapping[str, str] = dataclasses.field(default_factory=dict)
    hosts_of: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tenants: Mapping[str, frozenset[str]] = dataclasses.field(
        default_factory=dict
    )
    projects: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def groups_of(self, server_id: str) -> tuple[Group, ...]:
        """Return the groups that a server is in."""
        return tuple(g for g in self.groups if server_id in g.members)

    def apart(
        self, server_id: str, leaving: Collection[str]
    ) -> frozenset[str]:
        """Return what no two servers on one host may have in common.

        :param leaving: servers that look for a host at the same time
        """
        return frozenset(
            group.id
            for group in self.groups_of(server_id)
            if not group.is_affinity
            and group.per_host < self._most(group, frozenset(leaving))
        )

    def why_not(
        self, server_id: str, host: str, leaving: Collection[str] = ()
    ) -> str:
        """Say what keeps a server from a host; '' if nothing does.

        :param leaving: servers that are not counted where they are
        """
        pinned = self.pinned.get(server_id, '')
        if host not in self.zones.get(pinned, (host,)):
            return _("it was asked for in availability zone %s") % pinned
        project = self.projects.get(server_id, '')
        if project not in self.tenants.get(host, (project,)):
            return _("an aggregate keeps it for other projects")
        for group in self.groups_of(server_id):
            others = self._others(group, server_id)
            if group.is_affinity:
                if others and host not in others.values():
                    return _("server group %s (affinity)") % group.name
            elif group.per_host <= sum(
                place == host and other not in leaving
                for other, place in others.items()
            ):
                return _("server group %s (anti-affinity)") % group.name
        return ''

    def held_by(self, server_id: str, *, is_shelved: bool = False) -> str:
        """Say which group keeps a server on its host; '' if none does.

        :param is_shelved: it is shelved on its way, so that it is nowhere
        """
        host = self.hosts_of.get(server_id)
        for group in self.groups_of(server_id):
            others = set(self._others(group, server_id).values())
            if not group.is_affinity or others - {host}:
                continue
            if others or not is_shelved:
                held = _("server group %(name)s (affinity) keeps it here")
                alone = _("; alone in it, --method shelve moves it")
                return held % {'name': group.name} + ('' if others else alone)
        return ''

    def _most(self, group: Group, leaving: frozenset[str]) -> int:
        """Return how many of a group one host may come to have."""
        staying = collections.Counter(
            self.hosts_of[member]
            for member in group.members - leaving
            if member in self.hosts_of
        )
        return max(staying.values(), default=0) + len(group.members & leaving)

    def _others(self, group: Group, server_id: str) -> Mapping[str, str]:
        """Return where the other servers of a group are."""
        return {
            other: self.hosts_of[other]
            for other in group.members
            if other != server_id and other in self.hosts_of
        }


def read(
    conn: connection.Connection,
    computes: Iterable[hypervisors.Hypervisor],
    aggregates: Collection[host_aggregates.Aggregate],
    found: Collection[servers.GpuServer],
    sources: Iterable[str],
) -> Limits:
    """Read what is in the way of servers that leave some hosts.

    One request, one more if there are server groups, and one for each of the
    hosts if there are availability zones.

    :param computes: with the servers on them
    """
    zones: dict[str, frozenset[str]] = {}
    for aggregate in aggregates:
        if aggregate.is_zone:
            zone = aggregate.metadata[_ZONE]
            hosts = zones.get(zone, frozenset())
            zones[zone] = hosts.union(aggregate.hosts)
    return Limits(
        groups=_read_groups(conn),
        zones=zones,
        pinned=_read_pinned(conn, sources) if zones else {},
        hosts_of={
            server: compute.host
            for compute in computes
            for server in compute.servers
        },
        tenants=_tenants(aggregates),
        projects={server.id: server.project_id for server in found},
    )


def _tenants(
    aggregates: Iterable[host_aggregates.Aggregate],
) -> Mapping[str, frozenset[str]]:
    """Return the projects of the hosts that are not for all of them."""
    named = {
        host: [found[key] for key in found if key.startswith(_TENANTS)]
        for host, found in host_aggregates.values(aggregates).items()
    }
    return {
        host: frozenset().union(*projects)
        for host, projects in named.items()
        if projects
    }


def _read_groups(conn: connection.Connection) -> tuple[Group, ...]:
    """Read the groups of all projects that are not soft."""
    found: list[Group] = []
    offset = 0
    while True:
        body = rest.get(
            conn.compute,
            '/os-server-groups',
            _GROUPS,
            {'all_projects': 'True', 'offset': str(offset)},
        )
        page = body['server_groups']
        if not page:
            return tuple(found)
        offset += len(page)
        found += [
            Group(
                group['id'],
                group['name'],
                group['policy'] == 'affinity',
                frozenset(group['members']),
                int((group.get('rules') or {}).get('max_server_per_host', 1)),
            )
            for group in page
            if group['policy'] in ('affinity', 'anti-affinity')
        ]


def _read_pinned(
    conn: connection.Connection, hosts: Iterable[str]
) -> Mapping[str, str]:
    """Read the zones that servers on some hosts were asked for in."""
    return {
        server['id']: server['pinned_availability_zone']
        for host in hosts
        for server in rest.pages(
            conn.compute,
            '/servers/detail',
            'servers',
            _PINNED,
            {'host': host, 'all_tenants': 'True'},
        )
        if server.get('pinned_availability_zone')
    }
