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

"""From a YAML file's values to a topology in which everything fits."""

from collections.abc import Iterable
import dataclasses
import functools
import ipaddress

from osc_gpu.i18n import _
from osc_gpu.sandbox import topology
from osc_gpu.sandbox import topology_hosts
from osc_gpu.sandbox.yaml_reader import shown
from osc_gpu.sandbox.yaml_reader import Value

_NAME = r'[A-Za-z0-9_]([A-Za-z0-9._-]{0,62}[A-Za-z0-9_])?'
_ROLES = ('member', 'reader', 'manager', 'admin')
#: what Glance keeps about every image itself
_IMAGE_FIELDS = frozenset(
    'checksum container_format created_at direct_url disk_format file id '
    'locations min_disk min_ram name os_hash_algo os_hash_value os_hidden '
    'owner protected schema self size status stores tags updated_at '
    'virtual_size visibility'.split()
)


def read(root: Value) -> topology.Topology:
    """Return the topology; TopologyError for the first thing wrong."""
    given = root.fields(
        {'hosts': topology_hosts.hosts},
        {
            'pci_in_placement': Value.boolean,
            'aliases': lambda value: value,
            'networks': lambda value: value.each(_network),
            'routers': lambda value: value,
            'images': lambda value: value.each(_image),
            'users': lambda value: value.each(_user),
        },
    )
    aliases = given.pop('aliases', None)
    routers = given.pop('routers', None)
    result = topology.Topology(**given)
    if aliases is not None:
        result = dataclasses.replace(
            result,
            aliases=topology_hosts.aliases(
                aliases, result.hosts, result.pci_in_placement
            ),
        )
    if routers is not None:
        router = functools.partial(_router, networks=result.networks)
        return dataclasses.replace(result, routers=routers.each(router))
    # The default router goes with networks of these names.
    external = {network.name: network.external for network in result.networks}
    if external.get('public') is True and external.get('private') is False:
        return result
    return dataclasses.replace(result, routers=())


def _name(value: Value) -> str:
    return value.matching(
        _NAME,
        _(
            "%(value)s is no name; use letters, digits, '.', '_' and '-', "
            "at most 64"
        ),
    )


def _network(value: Value) -> topology.Network:
    return topology.Network(
        **value.fields(
            {'name': _name, 'cidr': _cidr}, {'external': Value.boolean}
        )
    )


def _cidr(value: Value) -> str:
    text = value.text()
    try:
        interface = ipaddress.IPv4Interface(text)
    except ValueError as exc:
        raise value.error(
            _("%s is no IPv4 network; write it as 10.0.0.0/24") % shown(text)
        ) from exc
    network = interface.network
    if '/' not in text or interface.ip != network.network_address:
        raise value.error(
            _("%s is an address; write a network, as 10.0.0.0/24")
            % shown(text)
        )
    if not 8 <= network.prefixlen <= 29:
        raise value.error(
            _("%s is too small or too large; use /8 to /29") % shown(text)
        )
    if network.is_multicast or network.is_loopback or network.is_link_local:
        raise value.error(
            _("%s is no network for servers; use one as 10.0.0.0/24")
            % shown(text)
        )
    return str(network)


def _router(
    value: Value, networks: Iterable[topology.Network]
) -> topology.Router:
    known = {network.name: network for network in networks}

    def pick(item: Value, external: bool) -> str:
        fitting = [n for n, net in known.items() if net.external is external]
        if item.text() not in fitting:
            kind = _("an external") if external else _("an internal")
            raise item.error(
                _("%(value)s is not %(kind)s network; there are %(known)s")
                % {
                    'value': shown(item.text()),
                    'kind': kind,
                    'known': ', '.join(fitting) or _("none"),
                }
            )
        return item.text()

    fields = value.fields(
        {'name': _name},
        {
            'external': lambda item: pick(item, True),
            'networks': lambda items: tuple(
                pick(item, False) for item in items.items()
            ),
        },
    )
    router = topology.Router(**fields)
    inside = [*router.networks, *filter(None, [router.external])]
    for index, name in enumerate(inside):
        for other in inside[:index]:
            if _overlap(known[name], known[other]):
                raise value.at('networks').error(
                    _("%(one)s and %(other)s overlap on the same router")
                    % {'one': name, 'other': other}
                )
    return router


def _overlap(one: topology.Network, other: topology.Network) -> bool:
    cidr = ipaddress.IPv4Network(one.cidr)
    return cidr.overlaps(ipaddress.IPv4Network(other.cidr))


def _image(value: Value) -> topology.Image:
    return topology.Image(
        **value.fields(
            {'name': _name},
            {
                'size_mb': lambda item: item.integer(1, 10240),
                'properties': _properties,
            },
        )
    )


def _properties(value: Value) -> dict[str, str]:
    properties = {}
    for key, item in value.values().items():
        if key in _IMAGE_FIELDS or key.startswith('os_glance_'):
            raise item.error(_("this is a field of Glance's, no property"))
        if not 0 < len(key) <= 255 or len(item.text()) > 255:
            raise item.error(_("a property has 1 to 255 characters"))
        properties[key] = item.text()
    return properties


def _user(value: Value) -> topology.User:
    return topology.User(
        **value.fields(
            {'name': _user_name, 'project': _project_name},
            {'role': lambda item: item.one_of(_ROLES)},
        )
    )


def _user_name(value: Value) -> str:
    if value.text() in topology.RESERVED_USERS:
        raise value.error(
            _("%s is taken by the sandbox itself; choose another name")
            % shown(value.text())
        )
    return _name(value)


def _project_name(value: Value) -> str:
    if value.text() in topology.RESERVED_PROJECTS:
        raise value.error(
            _("%s is taken by the sandbox itself; choose another name")
            % shown(value.text())
        )
    return _name(value)
