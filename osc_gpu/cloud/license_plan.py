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

"""What is missing of a license server, and what is in the way."""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import shlex
from typing import TypeVar

from osc_lib import exceptions

from osc_gpu.cloud import flavors
from osc_gpu.cloud import license_model
from osc_gpu.cloud import license_rules
from osc_gpu.i18n import _

POLICY = 'anti-affinity'

# Step.what, as people read it.
SECURITY_GROUP = 'security group'
RULES = 'rules of security group'
PORT = 'port'
MEMBERSHIP = 'security group membership of port'
SERVER_GROUP = 'server group'
SERVER = 'server'


@dataclasses.dataclass(frozen=True)
class Step:
    """Something to be made; ``rules`` only with RULES."""

    what: str
    name: str
    rules: tuple[license_rules.Rule, ...] = ()

    @property
    def title(self) -> str:
        """A few words for it, such as ``port nls-1``."""
        return f'{self.what} {self.name}'

    @property
    def text(self) -> str:
        """All that there is to say of it."""
        rules = ', '.join(rule.text for rule in self.rules)
        return f'{self.title} ({rules})' if rules else self.title


def named(step: Step, there: license_model.Present) -> str:
    """Word a step that was taken, with the ID of what was made."""
    made = {
        SECURITY_GROUP: there.security_group,
        SERVER_GROUP: there.server_group,
        PORT: there.ports.get(step.name),
        SERVER: there.servers.get(step.name),
    }.get(step.what)
    return f'{step.title} ({made.id})' if made else step.text


Named = TypeVar(
    'Named',
    license_model.SecurityGroup,
    license_model.Port,
    license_model.ServerGroup,
    license_model.Server,
)


def present(
    name: str,
    names: Collection[str],
    security_groups: Iterable[license_model.SecurityGroup],
    ports: Iterable[license_model.Port],
    server_groups: Iterable[license_model.ServerGroup],
    found: Iterable[license_model.Server],
) -> license_model.Present:
    """Find out what there is among all that a project has.

    :param names: of the nodes
    :raises osc_lib.exceptions.CommandError: a name is not unique
    """
    return license_model.Present(
        _only(SECURITY_GROUP, [name], security_groups).get(name),
        _only(SERVER_GROUP, [name], server_groups).get(name),
        _only(PORT, names, ports),
        servers(names, found),
    )


def servers(
    names: Collection[str], found: Iterable[license_model.Server]
) -> dict[str, license_model.Server]:
    """Return the nodes among servers, by name.

    :raises osc_lib.exceptions.CommandError: a name is not unique
    """
    # Nova lists a server for a moment longer than it is there.
    alive = [server for server in found if server.status != 'DELETED']
    return _only(SERVER, names, alive)


def _only(
    what: str, names: Collection[str], found: Iterable[Named]
) -> dict[str, Named]:
    known: dict[str, Named] = {}
    for item in found:
        if item.name not in names:
            continue
        if item.name in known:
            ids = sorted((known[item.name].id, item.id))
            raise exceptions.CommandError(
                _(
                    "There is more than one %(what)s %(name)s: %(ids)s. "
                    "Delete what is too much, or choose another name"
                )
                % {'what': what, 'name': item.name, 'ids': ', '.join(ids)}
            )
        known[item.name] = item
    return known


def missing(
    wanted: license_model.Wanted, there: license_model.Present
) -> tuple[Step, ...]:
    """Return what has to be made, in that order."""
    group = there.security_group
    steps = [] if group else [Step(SECURITY_GROUP, wanted.name)]
    rules = license_rules.missing(group.rules if group else (), wanted.rules)
    if rules:
        steps.append(Step(RULES, wanted.name, rules))
    for node in wanted.nodes:
        port = there.ports.get(node.name)
        if port is None and node.name in there.servers:
            # A new one would be of no use to it.
            continue
        if port is None:
            steps.append(Step(PORT, node.name))
        elif group is None or group.id not in port.security_groups:
            steps.append(Step(MEMBERSHIP, node.name))
    absent = [n.name for n in wanted.nodes if n.name not in there.servers]
    # Nova puts no server into a group that is there already.
    if absent and not there.server_group:
        steps.append(Step(SERVER_GROUP, wanted.name))
    return (*steps, *(Step(SERVER, name) for name in absent))


def refusals(
    wanted: license_model.Wanted, there: license_model.Present
) -> tuple[str, ...]:
    """Say why nothing can be made of what there is."""
    found = [
        *_refuse_security_group(wanted, there.security_group),
        *_refuse_server_group(there.server_group),
    ]
    for node in wanted.nodes:
        port = there.ports.get(node.name)
        server = there.servers.get(node.name)
        if port:
            found += _refuse_port(wanted, node, port)
        if server:
            found += _refuse_server(wanted, server, port)
        elif port and port.device_id:
            found.append(
                _("Port %(name)s (%(id)s) is in use by %(device_id)s")
                % dataclasses.asdict(port)
            )
    return tuple(found)


def _refuse_security_group(
    wanted: license_model.Wanted, group: license_model.SecurityGroup | None
) -> list[str]:
    if group is None or group.description == wanted.mark:
        return []
    lacking = license_rules.missing(group.rules, wanted.rules)
    if not lacking:
        return []
    command = ['openstack', 'security', 'group', 'set', '--description']
    return [
        _(
            "Security group %(name)s (%(id)s) is not of this command's "
            "making, and other servers may be in it; it lacks %(rules)s. Add "
            "them, choose another name, or leave it to this command with: "
            "%(command)s"
        )
        % {
            'name': group.name,
            'id': group.id,
            'rules': ', '.join(rule.text for rule in lacking),
            'command': shlex.join([*command, wanted.mark, group.id]),
        }
    ]


def _refuse_server_group(group: license_model.ServerGroup | None) -> list[str]:
    if group is None or (group.policy == POLICY and group.most == 1):
        return []
    return [
        _(
            "Server group %(name)s (%(id)s) lets servers share a host "
            "(policy %(policy)s, at most %(most)d): it has to be of policy "
            "%(wanted)s. Choose another name, or delete it"
        )
        % (dataclasses.asdict(group) | {'wanted': POLICY})
    ]


def _refuse_server(
    wanted: license_model.Wanted,
    server: license_model.Server,
    port: license_model.Port | None,
) -> list[str]:
    if server.task_state == 'deleting':
        return [
            _("Server %s is being deleted: wait until it is gone")
            % server.text
        ]
    # While it is built, nothing is attached to the port yet.
    is_on_port = port is not None and port.device_id == server.id
    if server.description == wanted.mark or is_on_port:
        return []
    return [
        _(
            "Server %(server)s is no license server: it is not on port "
            "%(name)s, and not described as '%(mark)s'. Choose another name"
        )
        % {'server': server.text, 'name': server.name, 'mark': wanted.mark}
    ]


def _refuse_port(
    wanted: license_model.Wanted,
    node: license_model.Node,
    port: license_model.Port,
) -> list[str]:
    """Say in what a port is not as it should be, and cannot become so."""
    about = {'name': port.name, 'id': port.id}
    found = []
    if port.network_id != wanted.network_id:
        found.append(
            _("Port %(name)s (%(id)s) is on network %(network)s")
            % {**about, 'network': port.network_id}
        )
    if node.mac_address and node.mac_address != port.mac_address:
        found.append(
            _("Port %(name)s (%(id)s) has MAC address %(mac)s, not %(wanted)s")
            % {**about, 'mac': port.mac_address, 'wanted': node.mac_address}
        )
    if node.fixed_ip and node.fixed_ip not in port.addresses:
        found.append(
            _("Port %(name)s (%(id)s) has address %(has)s, not %(wanted)s")
            % {
                **about,
                'has': ', '.join(port.addresses) or _("none"),
                'wanted': node.fixed_ip,
            }
        )
    return found


def differences(
    wanted: license_model.Wanted, there: license_model.Present
) -> tuple[str, ...]:
    """Say what is not as it should be, and is left so."""
    found = []
    group = there.security_group
    wide = license_rules.too_wide(group.rules if group else (), wanted.rules)
    if group and wide:
        found.append(
            _(
                "Security group %(name)s (%(id)s) also lets in %(rules)s; "
                "remove what is too much with: openstack security group rule "
                "delete"
            )
            % {
                'name': group.name,
                'id': group.id,
                'rules': ', '.join(rule.text for rule in wide),
            }
        )
    for node in wanted.nodes:
        server, port = there.servers.get(node.name), there.ports.get(node.name)
        if group and port:
            found += _port_groups(group, port)
        if server:
            found += _server_differences(wanted, there, server, port)
    return tuple(found)


def _port_groups(
    group: license_model.SecurityGroup, port: license_model.Port
) -> list[str]:
    others = [found for found in port.security_groups if found != group.id]
    if not others:
        return []
    return [
        _("Port %(name)s (%(id)s) is in other security groups too: %(others)s")
        % {'name': port.name, 'id': port.id, 'others': ', '.join(others)}
    ]


def _server_differences(
    wanted: license_model.Wanted,
    there: license_model.Present,
    server: license_model.Server,
    port: license_model.Port | None,
) -> list[str]:
    found = [
        _("Server %(server)s has %(what)s %(has)s, not %(wanted)s")
        % {
            'server': server.text,
            'what': what,
            'has': has or _("none"),
            'wanted': should,
        }
        for what, has, should in (
            (_("flavor"), server.flavor, wanted.flavor.name),
            (_("image"), server.image_id, wanted.image_id),
            (_("keypair"), server.key_name, wanted.key_name),
        )
        if has != should and should
    ]
    group = there.server_group
    if group is None or server.id not in group.members:
        found.append(
            _("Server %(server)s is not in server group %(group)s")
            % {'server': server.text, 'group': wanted.name}
        )
    if server.status not in ('BUILD', 'ERROR') and (
        port is None or port.device_id != server.id
    ):
        found.append(
            _("Server %(server)s is not on port %(port)s")
            % {'server': server.text, 'port': server.name}
        )
    return found


def needs(
    steps: Iterable[Step], flavor: flavors.Flavor
) -> tuple[dict[str, int], dict[str, int]]:
    """Return what steps take of quotas: by Nova's names, by Neutron's."""
    number = {SERVER: 0, SERVER_GROUP: 0, PORT: 0, SECURITY_GROUP: 0}
    rules = 0
    for step in steps:
        number[step.what] = number.get(step.what, 0) + 1
        rules += len(step.rules)
    servers = number[SERVER]
    return (
        {
            'instances': servers,
            'cores': servers * flavor.vcpus,
            'ram': servers * flavor.ram,
            'server_groups': number[SERVER_GROUP],
        },
        {
            'port': number[PORT],
            'security_group': number[SECURITY_GROUP],
            'security_group_rule': rules,
        },
    )


def over_quota(
    needed: Mapping[str, int], room: Mapping[str, int]
) -> tuple[str, ...]:
    """Say what exceeds its quota.

    :param room: what is left of each quota that there is
    """
    return tuple(
        _("Quota of %(what)s: %(needed)d needed, %(left)d left")
        % {'what': what, 'needed': number, 'left': max(0, room[what])}
        for what, number in needed.items()
        if number > room.get(what, number)
    )
