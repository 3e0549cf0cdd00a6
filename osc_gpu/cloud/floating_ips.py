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

"""Floating IPs for new servers."""

import dataclasses

from openstack import connection
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from osc_gpu.cloud import rest
from osc_gpu.i18n import _


@dataclasses.dataclass(frozen=True)
class Plan:
    """Where a server's floating IP comes from.

    :param network_id: the external network that it is made of; '' for one
        that is there
    :param floating_ip_id: of one that is there
    :param address: of one that is there
    """

    network_id: str = ''
    floating_ip_id: str = ''
    address: str = ''


def plan(
    conn: connection.Connection, network: str | None, address: str | None
) -> Plan | None:
    """Find what is named, before anything is made. One request.

    :param network: external network to make one of (name or ID)
    :param address: one that is there
    :returns: None if neither is given
    :raises osc_lib.exceptions.CommandError: it is not there, or in use
    """
    if address:
        return _free_one(conn, address)
    return Plan(network_id=_external(conn, network)) if network else None


def _external(conn: connection.Connection, name_or_id: str) -> str:
    found = rest.get(
        conn.network, '/networks', params={'router:external': 'true'}
    )['networks']
    chosen = [n for n in found if name_or_id in (n['id'], n['name'])]
    if len(chosen) == 1:
        return str(chosen[0]['id'])
    if chosen:
        raise exceptions.CommandError(
            _(
                "More than one external network has the name '%(name)s': "
                "%(ids)s"
            )
            % {
                'name': name_or_id,
                'ids': ', '.join(sorted(n['id'] for n in chosen)),
            }
        )
    names = ', '.join(sorted(n['name'] for n in found))
    raise exceptions.CommandError(
        _("--floating-ip: no external network '%(name)s'; there are: %(all)s")
        % {'name': name_or_id, 'all': names or _("none")}
    )


def _free_one(conn: connection.Connection, address: str) -> Plan:
    found = rest.get(
        conn.network,
        '/floatingips',
        params={'floating_ip_address': address},
    )['floatingips']
    if not found:
        raise exceptions.CommandError(
            _("--floating-ip-address: no floating IP has address %s") % address
        )
    if found[0].get('port_id'):
        raise exceptions.CommandError(
            _("--floating-ip-address: %(address)s is in use by port %(port)s")
            % {'address': address, 'port': found[0]['port_id']}
        )
    return Plan(floating_ip_id=found[0]['id'], address=address)


def give(conn: connection.Connection, asked: Plan, server_id: str) -> str:
    """Bind a floating IP to a server's first port that can have one.

    Two requests; one more for each port that Neutron has no router for. One
    that has to be made is bound in the request that makes it, so that a
    refusal leaves nothing behind.

    :returns: its address
    :raises openstack.exceptions.SDKException: Neutron refused
    :raises osc_lib.exceptions.CommandError: the server has no port with an
        IPv4 address
    """
    ports = rest.get(conn.network, '/ports', params={'device_id': server_id})[
        'ports'
    ]
    # As the server has them.
    ports.sort(key=lambda port: str(port.get('created_at')))
    able = [
        port['id']
        for port in ports
        if any('.' in ip['ip_address'] for ip in port['fixed_ips'])
    ]
    refusal: Exception = exceptions.CommandError(
        _("the server has no port with an IPv4 address")
    )
    for port_id in able:
        try:
            return _bind(conn, asked, port_id)
        except sdk_exceptions.NotFoundException as exc:
            # Neutron: no router leads from there to the external network.
            refusal = exc
    raise refusal


def _bind(conn: connection.Connection, asked: Plan, port_id: str) -> str:
    if asked.floating_ip_id:
        path = f'/floatingips/{asked.floating_ip_id}'
        body = {'port_id': port_id}
        response = conn.network.put(path, json={'floatingip': body})
    else:
        body = {'port_id': port_id, 'floating_network_id': asked.network_id}
        response = conn.network.post('/floatingips', json={'floatingip': body})
    sdk_exceptions.raise_from_response(response)
    return str(response.json()['floatingip']['floating_ip_address'])
