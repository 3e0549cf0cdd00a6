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

"""The compute services of all hosts, side by side in one process."""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import datetime
import inspect
import json
import threading
from typing import Any
from unittest import mock
import uuid

from services import nova_cards
from services import nova_deaths
from services import nova_fakes

_LONG_AGO = datetime.datetime(2000, 1, 1)
_NAMESPACE = uuid.UUID('2f0a7f3c-6c55-4f0b-8f0e-3f2f8f4b2d11')


class Unknown(Exception):
    """No such host."""


class Conflict(Exception):
    """The host is in that state already."""


class Computes:
    """Starts, kills and starts again one nova-compute per host."""

    def __init__(self, topology: Mapping[str, Any]) -> None:
        self._hosts = {host['name']: host for host in topology['hosts']}
        self._connections: dict[str, Any] = {}
        self._services: dict[str, Any] = {}
        # Configuration and patches are the process's: one start at a time.
        self._lock = threading.Lock()

    def start_all(self) -> None:
        """Start every host's service, one after the other."""
        for name in self._hosts:
            self.start(name)

    def states(self) -> dict[str, dict[str, str]]:
        """Say which services run."""
        return {
            name: {'state': 'up' if name in self._services else 'down'}
            for name in self._hosts
        }

    def guests(self) -> dict[str, list[dict[str, Any]]]:
        """Return every host's guests, as its fake libvirt has them."""
        return {
            name: nova_fakes.guests(connection)
            for name, connection in self._connections.items()
        }

    def start(self, name: str) -> None:
        """Start a host's service; its identity and guests are the old ones."""
        from nova import service

        host = self._host(name)
        with self._lock:
            if name in self._services:
                raise Conflict(f'nova-compute on {name} runs already')
            if name not in self._connections:
                self._connections[name] = nova_fakes.connect(host)
            connection = self._connections[name]
            with _local(host, connection):
                compute = service.Service.create(
                    host=name,
                    binary='nova-compute',
                    topic='compute',
                    **_alternative_topic(),
                )
                compute.start()
                libvirt = compute.manager.driver._host
                libvirt.get_connection = lambda: connection
                libvirt.get_node_uuid()
            self._services[name] = compute
            _set_heartbeat(name, None)

    def kill(self, name: str) -> None:
        """Let a host's service die, with all that it is just doing.

        What it has written until then stays as it is, its guests as well;
        messages that come for it wait until it is started again.
        """
        self._host(name)
        with self._lock:
            if name not in self._services:
                raise Conflict(f'nova-compute on {name} is down already')
            compute = self._services.pop(name)
            manager = compute.manager
            nova_deaths.bury(
                compute,
                compute.servicegroup_api._driver,
                manager,
                manager.rt,
                manager.driver,
            )
            manager.driver._host.get_connection = nova_deaths.die
            compute.tg.stop()
            for attribute in ('rpcserver', 'rpcserver_alt'):
                server = getattr(compute, attribute, None)
                if server is not None:
                    server.stop()
                    # Those who die now see to their locks, and no more.
                    threading.Thread(target=server.wait, daemon=True).start()
            _set_heartbeat(name, _LONG_AGO)

    def _host(self, name: str) -> Mapping[str, Any]:
        if name not in self._hosts:
            raise Unknown(f'no host {name}: {", ".join(self._hosts)}')
        host: Mapping[str, Any] = self._hosts[name]
        return host


def _alternative_topic() -> dict[str, str]:
    # Nova 33 and later listen on a second topic while shutting down.
    from nova import service

    if 'topic_alt' not in inspect.signature(service.Service.create).parameters:
        return {}
    return {'topic_alt': 'compute-alt'}


def _set_heartbeat(name: str, when: datetime.datetime | None) -> None:
    # Nova takes a service for dead service_down_time after its last report,
    # and for alive again some seconds after it came back; nobody wants to
    # wait for that.
    from nova import context
    from nova.db.main import api
    from nova import exception
    from nova import objects
    from oslo_utils import timeutils

    admin = context.get_admin_context()
    try:
        cell = objects.HostMapping.get_by_host(admin, name).cell_mapping
    except exception.HostMappingNotFound:
        return
    with context.target_cell(admin, cell) as in_cell:
        row = objects.Service.get_by_host_and_binary(
            in_cell, name, 'nova-compute'
        )
        seen = when or timeutils.utcnow()
        api.service_update(in_cell, row.id, {'last_seen_up': seen})


@contextlib.contextmanager
def _local(host: Mapping[str, Any], connection: Any) -> Iterator[None]:
    """Make the process look like one host, while its service starts."""
    import nova.conf

    conf = nova.conf.CONF
    node = str(uuid.uuid5(_NAMESPACE, host['name']))
    with (
        mock.patch(
            'nova.virt.libvirt.host.Host.get_connection',
            lambda self: connection,
        ),
        mock.patch('nova.virt.node.get_local_node_uuid', lambda: node),
        mock.patch('nova.virt.node.read_local_node_uuid', lambda: node),
    ):
        conf.set_override('device_spec', device_spec(host), group='pci')
        types = mdev_types(host)
        conf.set_override('enabled_mdev_types', list(types), group='devices')
        nova.conf.devices.register_dynamic_opts(conf)
        for name, options in types.items():
            for key, value in options.items():
                conf.set_override(key, value, group=f'mdev_{name}')
        yield


def device_spec(host: Mapping[str, Any]) -> list[str]:
    """Return [pci]device_spec of a host: one entry per function."""
    entries = []
    for card in host['cards']:
        if card['type'] == 'mdev':
            continue
        product = 'vf_product_id' if card['type'] == 'PF' else 'product_id'
        entry = {
            'vendor_id': card['vendor_id'],
            'product_id': card[product],
        }
        if card['resource_class']:
            entry['resource_class'] = card['resource_class']
        if card['traits']:
            entry['traits'] = ','.join(card['traits'])
        if card['live_migratable']:
            entry['live_migratable'] = 'yes'
        entries += [
            json.dumps(entry | {'address': str(address)})
            for address in nova_cards.functions_of(card)
        ]
    return entries


def mdev_types(host: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the [mdev_<type>] groups of a host."""
    groups: dict[str, dict[str, Any]] = {}
    for card in host['cards']:
        if card['type'] != 'mdev':
            continue
        for kind in card['mdev_types']:
            if kind['enabled']:
                group = groups.setdefault(
                    kind['name'],
                    {
                        'device_addresses': [],
                        'mdev_class': kind['resource_class'],
                    },
                )
                group['device_addresses'].append(card['address'])
    return groups
