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

"""What the security group of a license server lets in.

Ports are those of the appliance that the StackHPC guide names for a server
without HA; the nodes of a pair reach each other on all.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import ipaddress
from typing import Any

from osc_gpu.i18n import _

#: TCP: SSH, the web interface, licenses for clients.
PORTS = (22, 80, 443, 7070)

#: Rule.remote of what members of the group themselves send.
SELF = 'self'

_ICMP = {4: 'icmp', 6: 'ipv6-icmp'}
_ANYWHERE = {4: '0.0.0.0/0', 6: '::/0'}

#: Other names that Neutron takes for a protocol.
_PROTOCOLS = {
    '6': 'tcp',
    '1': 'icmp',
    '58': 'ipv6-icmp',
    'icmpv6': 'ipv6-icmp',
}


@dataclasses.dataclass(frozen=True)
class Rule:
    """What is let in.

    ``version`` is that of IP; ``protocol`` is '' for any, ``first`` and
    ``last`` are None for all ports; ``remote`` is a network, SELF or the ID
    of another group.
    """

    version: int
    protocol: str
    first: int | None
    last: int | None
    remote: str

    @property
    def text(self) -> str:
        """Words for it, such as ``tcp 443 from 10.0.0.0/24``."""
        words = [self.protocol or _("everything")]
        if self.first is not None:
            ports = {self.first: None, self.last: None}
            words.append('-'.join(str(port) for port in ports))
        return _("%(what)s from %(remote)s") % {
            'what': ' '.join(words),
            'remote': self.remote,
        }


def parse_network(text: str) -> str:
    """Return a network as Neutron writes it: 10.0.0.0/24 for 10.0.0.7/24.

    :raises ValueError: it is none
    """
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError as exc:
        raise ValueError(
            _("'%s' is no address and no network such as 10.0.0.0/24") % text
        ) from exc


def wanted(
    remotes: Iterable[str], is_pair: bool, versions: Collection[int]
) -> tuple[Rule, ...]:
    """Return the rules that a license server needs.

    :param remotes: the networks to let in
    :param is_pair: whether two nodes have to reach each other
    :param versions: of IP, that the nodes have addresses of
    """
    found: list[Rule] = []
    for remote in remotes:
        version = ipaddress.ip_network(remote).version
        found.append(Rule(version, _ICMP[version], None, None, remote))
        found += [Rule(version, 'tcp', port, port, remote) for port in PORTS]
    if is_pair:
        found += [
            Rule(version, 'tcp', None, None, SELF) for version in versions
        ]
    return tuple(dict.fromkeys(found))


def parse(found: Iterable[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """Read the rules of a security group; what is let out is left out."""
    return tuple(
        _parse(rule) for rule in found if rule['direction'] == 'ingress'
    )


def _parse(found: Mapping[str, Any]) -> Rule:
    version = 6 if found['ethertype'] == 'IPv6' else 4
    protocol = str(found['protocol'] or '').lower()
    protocol = _PROTOCOLS.get(protocol, protocol)
    if protocol in _ICMP.values():
        # Neutron takes the old name for both.
        protocol = _ICMP[version]
    return Rule(
        version,
        '' if protocol == 'any' else protocol,
        found['port_range_min'],
        found['port_range_max'],
        _remote(found, version),
    )


def _remote(found: Mapping[str, Any], version: int) -> str:
    group: str = found.get('remote_group_id') or ''
    if group:
        return SELF if group == found['security_group_id'] else group
    addresses: str = found.get('remote_address_group_id') or ''
    prefix = found.get('remote_ip_prefix') or _ANYWHERE[version]
    return addresses or parse_network(prefix)


def as_body(rule: Rule, group_id: str) -> dict[str, Any]:
    """Return a rule as Neutron wants it."""
    body: dict[str, Any] = {
        'security_group_id': group_id,
        'direction': 'ingress',
        'ethertype': f'IPv{rule.version}',
        'protocol': rule.protocol,
    }
    if rule.first is not None:
        body |= {'port_range_min': rule.first, 'port_range_max': rule.last}
    if rule.remote == SELF:
        return body | {'remote_group_id': group_id}
    return body | {'remote_ip_prefix': rule.remote}


def missing(
    found: Collection[Rule], needed: Iterable[Rule]
) -> tuple[Rule, ...]:
    """Return the rules that are needed and not there."""
    return tuple(rule for rule in needed if rule not in found)


def too_wide(
    found: Iterable[Rule], needed: Collection[Rule]
) -> tuple[Rule, ...]:
    """Return the rules that let others in to the ports of a license server.

    What concerns other ports is no matter of ours.
    """
    return tuple(
        rule
        for rule in found
        if rule not in needed and rule.remote != SELF and _concerns(rule)
    )


def _concerns(rule: Rule) -> bool:
    if rule.protocol != 'tcp' or rule.first is None or rule.last is None:
        return rule.protocol in ('', 'tcp', *_ICMP.values())
    return any(rule.first <= port <= rule.last for port in PORTS)
