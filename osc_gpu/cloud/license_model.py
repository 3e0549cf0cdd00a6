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

"""A license server: what it is made of, and what there is of one.

NVIDIA's licenses are bound to the MAC address of the appliance, so its port
is made beforehand and outlives the server. All that is made is found again
by its name, in the project that it is in.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import ipaddress
import itertools
import re

from osc_lib import exceptions

from osc_gpu.cloud import flavors
from osc_gpu.cloud import license_rules
from osc_gpu.i18n import _

_MAC = re.compile('[0-9a-f]{2}(?:([:-])[0-9a-f]{2})(?:\\1[0-9a-f]{2}){4}')


@dataclasses.dataclass(frozen=True)
class Node:
    """A server of the pair, or the only one; '' where nothing was chosen."""

    name: str
    mac_address: str = ''
    fixed_ip: str = ''


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A license server as it should be.

    ``flavor``, ``image_id`` and ``key_name`` are of its servers; ``key_name``
    is '' for none.
    """

    name: str
    network_id: str
    flavor: flavors.Flavor
    image_id: str
    key_name: str
    nodes: tuple[Node, ...]
    rules: tuple[license_rules.Rule, ...]

    @property
    def mark(self) -> str:
        """The description of all that has one, by which ours is known."""
        return mark(self.name)


@dataclasses.dataclass(frozen=True)
class SecurityGroup:
    """A security group, and what it lets in."""

    id: str
    name: str
    description: str = ''
    rules: tuple[license_rules.Rule, ...] = ()


@dataclasses.dataclass(frozen=True)
class Port:
    """A port; ``device_id`` is '' while nothing is attached to it."""

    id: str
    name: str
    network_id: str
    mac_address: str
    addresses: tuple[str, ...]
    security_groups: tuple[str, ...] = ()
    device_id: str = ''


@dataclasses.dataclass(frozen=True)
class ServerGroup:
    """A server group; ``most`` is how many of its servers share a host.

    ``members`` are IDs of servers.
    """

    id: str
    name: str
    policy: str
    most: int = 1
    members: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Server:
    """A server; ``flavor`` is the name that its flavor had.

    ``image_id`` is '' if it booted from a volume, ``host`` for whom Nova does
    not tell it, ``host_id`` (Nova's digest of the host) while it has none.
    """

    id: str
    name: str
    status: str
    flavor: str
    image_id: str
    key_name: str = ''
    description: str = ''
    task_state: str = ''
    host: str = ''
    host_id: str = ''
    fault: str = ''

    @property
    def text(self) -> str:
        return f'{self.name} ({self.id})'


@dataclasses.dataclass(frozen=True)
class Present:
    """What there is of a license server; ports and servers by name."""

    security_group: SecurityGroup | None = None
    server_group: ServerGroup | None = None
    ports: Mapping[str, Port] = dataclasses.field(default_factory=dict)
    servers: Mapping[str, Server] = dataclasses.field(default_factory=dict)


def mark(name: str) -> str:
    """Return the description that tells what belongs to a license server."""
    return f'NVIDIA license server {name} (osc-gpu)'


def parse_mac(text: str) -> str:
    """Return a MAC address as Neutron writes it.

    :raises ValueError: it is none, or none that a port can have
    """
    found = text.lower()
    if not _MAC.fullmatch(found):
        raise ValueError(
            _("'%s' is not a MAC address such as fa:16:3e:a3:fd:19") % text
        )
    found = found.replace('-', ':')
    if int(found[:2], 16) & 1 or found == '00:00:00:00:00:00':
        raise ValueError(
            _("'%s' is no MAC address of a single machine") % text
        )
    return found


def parse_address(text: str) -> str:
    """Return an IP address as Neutron writes it.

    :raises ValueError: it is none
    """
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as exc:
        raise ValueError(_("'%s' is not an IP address") % text) from exc


def nodes(
    name: str,
    number: int,
    macs: Sequence[str] = (),
    addresses: Sequence[str] = (),
) -> tuple[Node, ...]:
    """Return the nodes, each with what was chosen for it, in turn.

    :raises osc_lib.exceptions.CommandError: too much was chosen, or twice
    """
    for option, values in (
        ('--mac-address', macs),
        ('--fixed-ip-address', addresses),
    ):
        if len(values) > number:
            raise exceptions.CommandError(
                _("%(option)s %(value)s: there are only %(number)d servers")
                % {
                    'option': option,
                    'value': values[number],
                    'number': number,
                }
                if number > 1
                else _("%(option)s %(value)s: a second server takes --ha")
                % {'option': option, 'value': values[number]}
            )
        if len(set(values)) < len(values):
            raise exceptions.CommandError(
                _("%(option)s %(value)s is given twice")
                % {'option': option, 'value': values[0]}
            )
    chosen = itertools.zip_longest(
        range(1, number + 1), macs, addresses, fillvalue=''
    )
    return tuple(Node(f'{name}-{n}', mac, ip) for n, mac, ip in chosen)
