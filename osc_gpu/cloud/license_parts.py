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

"""What a license server is to be made of: looked up, and judged.

All is asked for by names that people type: a network, an image, a keypair.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import ipaddress
from typing import Any
from urllib import parse

from openstack import connection
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from osc_gpu.cloud import flavors
from osc_gpu.cloud import license_model
from osc_gpu.cloud import rest
from osc_gpu.cloud import servers
from osc_gpu.i18n import _

_GIB = 1024**3


@dataclasses.dataclass(frozen=True)
class Network:
    """A network, and its subnets as networks in CIDR notation."""

    id: str
    name: str
    project_id: str
    is_shared: bool
    is_external: bool
    has_port_security: bool
    subnets: tuple[str, ...] = ()

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions of IP that it has addresses of."""
        found = {ipaddress.ip_network(cidr).version for cidr in self.subnets}
        return tuple(sorted(found))


@dataclasses.dataclass(frozen=True)
class Image:
    """An image; RAM in MiB, ``disk`` in GiB, all that it takes at least."""

    id: str
    name: str
    status: str
    ram: int
    disk: int
    is_public: bool


@dataclasses.dataclass(frozen=True)
class Parts:
    """All that people name."""

    flavor: flavors.Flavor
    image: Image
    network: Network


def read_network(conn: connection.Connection, name_or_id: str) -> Network:
    """Find a network, without its subnets, in one request.

    Two for an ID. The own project's networks come before others of the name.

    :raises osc_lib.exceptions.CommandError: there is none, or several
    """
    found = read_list(conn, 'networks', name=name_or_id)
    if not found and servers.UUID.fullmatch(name_or_id):
        found = read_list(conn, 'networks', id=name_or_id)
    own = conn.current_project_id
    found = [n for n in found if n['project_id'] == own] or found
    network = _single(_("network"), name_or_id, found)
    return Network(
        id=network['id'],
        name=network['name'],
        project_id=network['project_id'],
        is_shared=network['shared'],
        is_external=network.get('router:external', False),
        has_port_security=network.get('port_security_enabled', True),
    )


def with_subnets(conn: connection.Connection, network: Network) -> Network:
    """Read the subnets of a network, in one request.

    :raises osc_lib.exceptions.CommandError: it has none
    """
    found = read_list(conn, 'subnets', network_id=network.id)
    if not found:
        raise exceptions.CommandError(
            _("Network %s has no subnet that you can see") % network.name
        )
    cidrs = tuple(sorted(subnet['cidr'] for subnet in found))
    return dataclasses.replace(network, subnets=cidrs)


def read_image(conn: connection.Connection, name_or_id: str) -> Image:
    """Find an image in one request, two for an ID.

    :raises osc_lib.exceptions.CommandError: there is none, or several
    """
    found = rest.get(conn.image, '/images', params={'name': name_or_id})
    images = found['images']
    if not images and servers.UUID.fullmatch(name_or_id):
        try:
            images = [rest.get(conn.image, f'/images/{name_or_id}')]
        except sdk_exceptions.NotFoundException:
            images = []
    image = _single(_("image"), name_or_id, images)
    # Nova looks at the size, libvirt's driver at the size once unpacked.
    size = max(image.get('size') or 0, image.get('virtual_size') or 0)
    return Image(
        id=image['id'],
        name=image['name'],
        status=image['status'],
        ram=image.get('min_ram') or 0,
        disk=max(image.get('min_disk') or 0, -(-size // _GIB)),
        is_public=image['visibility'] in ('public', 'community'),
    )


def require_keypair(conn: connection.Connection, name: str) -> None:
    """Refuse a keypair that the user does not have; one request.

    :raises osc_lib.exceptions.CommandError: there is none
    """
    path = f'/os-keypairs/{parse.quote(name, safe="")}'
    try:
        rest.get(conn.compute, path, flavors.MICROVERSION)
    except sdk_exceptions.NotFoundException as exc:
        raise exceptions.CommandError(
            _("You have no keypair %s: see openstack keypair list") % name
        ) from exc


def read_list(
    conn: connection.Connection, what: str, **filters: Any
) -> list[Mapping[str, Any]]:
    """Read a list of Neutron's, in one request.

    :param what: as in its path, such as ``security-groups``
    :param filters: of several values any
    """
    found = rest.get(conn.network, f'/{what}', params=filters)
    items: list[Mapping[str, Any]] = found[what.replace('-', '_')]
    return items


def _single(
    what: str, name: str, found: Iterable[Mapping[str, Any]]
) -> Mapping[str, Any]:
    items = list(found)
    if len(items) == 1:
        return items[0]
    if not items:
        raise exceptions.CommandError(
            _("There is no %(what)s %(name)s that you can use")
            % {'what': what, 'name': name}
        )
    raise exceptions.CommandError(
        _(
            "There is more than one %(what)s %(name)s; name one by its ID: "
            "%(ids)s"
        )
        % {
            'what': what,
            'name': name,
            'ids': ', '.join(sorted(item['id'] for item in items)),
        }
    )


def misfits(parts: Parts) -> tuple[str, ...]:
    """Say why Nova would make no server of a flavor and an image.

    Nova takes a flavor without a disk for one that is as large as the image.
    """
    flavor, image = parts.flavor, parts.image
    found = []
    if image.status != 'active':
        found.append(
            _("Image %(name)s is %(status)s, not active")
            % {'name': image.name, 'status': image.status}
        )
    for what, unit, has, takes in (
        (_("RAM"), 'MiB', flavor.ram, image.ram),
        (_("disk"), 'GiB', flavor.disk or image.disk, image.disk),
    ):
        if takes > has:
            found.append(
                _(
                    "Image %(image)s takes %(takes)d %(unit)s of %(what)s, "
                    "flavor %(flavor)s has %(has)d"
                )
                % {
                    'image': image.name,
                    'takes': takes,
                    'unit': unit,
                    'what': what,
                    'flavor': flavor.name,
                    'has': has,
                }
            )
    return tuple(found)


def hidden(parts: Parts, project: str) -> tuple[str, ...]:
    """Say what a project that one is not in yet may be unable to use.

    :param project: its name
    """
    return tuple(
        _(
            "%(what)s %(name)s is not public. Make project %(project)s "
            "yourself, take a role in it, have it use what is not public, and "
            "run the same command again"
        )
        % {'what': what, 'name': name, 'project': project}
        for what, name, is_public in (
            (_("Flavor"), parts.flavor.name, parts.flavor.is_public),
            (_("Image"), parts.image.name, parts.image.is_public),
        )
        if not is_public
    )


def unfit(
    network: Network, project_id: str, *, is_admin: bool
) -> tuple[str, ...]:
    """Say why a license server cannot be on a network.

    :param project_id: of the license server; '' while it is not made
    :param is_admin: whether the user is an admin, also in that project
    """
    found = []
    if not network.has_port_security:
        found.append(
            _(
                "Network %s has port security off: there is no security "
                "group on its ports"
            )
            % network.name
        )
    if network.is_shared or network.project_id == project_id:
        return tuple(found)
    if not network.is_external:
        found.append(
            _("Network %s is another project's, and not shared with it")
            % network.name
        )
    elif not is_admin:
        found.append(
            _(
                "Network %s is external and not shared: only an admin puts a "
                "server on it (with --new-project: --role admin). Choose a "
                "network of the project and give the server a floating IP, "
                "or have it shared"
            )
            % network.name
        )
    return tuple(found)


def outside(
    network: Network, nodes: Iterable[license_model.Node]
) -> tuple[str, ...]:
    """Say which addresses that were chosen no subnet has."""
    return tuple(
        _(
            "Address %(address)s is in no subnet of network %(network)s: "
            "%(subnets)s"
        )
        % {
            'address': node.fixed_ip,
            'network': network.name,
            'subnets': ', '.join(network.subnets),
        }
        for node in nodes
        if node.fixed_ip
        and not any(
            ipaddress.ip_address(node.fixed_ip) in ipaddress.ip_network(cidr)
            for cidr in network.subnets
        )
    )
