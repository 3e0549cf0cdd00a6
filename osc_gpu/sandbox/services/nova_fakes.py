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

"""Nova's libvirt driver over Nova's own fake of libvirt.

What the driver would do to the machine itself (disks, sysfs, the network) is
replaced; the PCI tracker, the guests' XML, mediated devices and everything
above them are Nova's own.
"""

from collections.abc import Callable
from collections.abc import Mapping
import contextlib
import functools
import io
import os
import pathlib
import re
from typing import Any
from unittest import mock
import uuid
from xml.sax import saxutils

from services import nova_cards

_GUEST_STATES = {1: 'running', 3: 'paused', 5: 'shutoff'}
#: libvirt 10.0.0 and QEMU 8.2.2, which migrate live what Nova lets them
_VERSIONS = {'version': 10_000_000, 'hv_version': 8_002_002}

#: the fake libvirt of each host, where live migrations find the other one
_connections: dict[str, Any] = {}


def install() -> None:
    """Put the fakes in place for the whole process; call it once."""
    from nova.privsep import path as privileged_path
    from nova.tests import fixtures as nova_fixtures
    from nova.tests.fixtures import libvirt as fakelibvirt
    from nova.tests.fixtures import libvirt_imagebackend
    from nova.virt.libvirt import driver
    from nova.virt.libvirt import host
    from nova.virt.libvirt import utils

    fakelibvirt.LibvirtFixture().setUp()
    libvirt_imagebackend.LibvirtImageBackendFixture().setUp()
    nova_fixtures.CGroupsFixture().setUp()
    for target, attribute, fake in (
        (driver.LibvirtDriver, '_create_image', _created),
        (driver.LibvirtDriver, '_get_local_gb_info', _local_gb),
        (driver.LibvirtDriver, '_get_instance_disk_info', _no_disks),
        (
            driver.LibvirtDriver,
            '_get_instance_disk_info_from_config',
            _no_disks,
        ),
        (driver.LibvirtDriver, '_create_mdev', _create_mdev),
        (driver.LibvirtDriver, 'migrate_disk_and_power_off', _power_off),
        (driver.LibvirtDriver, 'snapshot', _snapshot),
        (driver.LibvirtDriver, 'get_host_uptime', _uptime),
        (driver.LibvirtDriver, 'get_volume_connector', _connector),
        (host.Host, 'get_online_cpus', _online_cpus),
        (host.Host, '_get_avail_memory_kb', _available_memory),
        (host.Host, 'get_memory_mb_total', _total_memory),
        (fakelibvirt.Domain, 'migrateToURI3', _migrate),
        (fakelibvirt.Domain, 'jobStats', _job),
        (
            fakelibvirt.Domain,
            'XMLDesc',
            functools.partialmethod(_describe, fakelibvirt.Domain.XMLDesc),
        ),
        (
            fakelibvirt.Domain,
            'createWithFlags',
            functools.partialmethod(
                _start, fakelibvirt.Domain.createWithFlags
            ),
        ),
        (
            fakelibvirt.Connection,
            'defineXML',
            functools.partialmethod(_define, fakelibvirt.Connection.defineXML),
        ),
        (utils, 'is_valid_hostname', lambda name: True),
        (privileged_path, 'last_bytes', _last_bytes),
    ):
        setattr(target, attribute, fake)
    mock.patch(
        'nova.privsep.utils.supports_direct_io', lambda path: True
    ).start()


def connect(host: Mapping[str, Any]) -> Any:
    """Return the fake libvirt of one of the topology's hosts."""
    from nova.tests.fixtures import libvirt as fakelibvirt

    mdevs = fakelibvirt.HostMdevDevicesInfo(devices={})
    connection = fakelibvirt.Connection(
        'qemu:///system',
        host_info=fakelibvirt.HostInfo(
            cpu_nodes=host['numa_nodes'],
            cpu_sockets=1,
            cpu_cores=host['vcpus'] // host['numa_nodes'],
            cpu_threads=1,
            kB_mem=host['memory_mb'] * 1024,
        ),
        pci_info=nova_cards.Devices(host, mdevs.devices),
        mdev_info=mdevs,
        hostname=host['name'],
        **_VERSIONS,
    )
    connection.sandbox_disk_gb = host['disk_gb']
    _connections[host['name']] = connection
    return connection


def guests(connection: Any) -> list[dict[str, Any]]:
    """Return what the guests of a host really have: the ground truth."""
    found = []
    for domain in list(connection._vms.values()):
        devices, mdevs = [], []
        for hostdev in domain._def['devices']['hostdevs']:
            if hostdev['type'] == 'mdev':
                mdevs.append(_mdev(connection, hostdev['address_uuid']))
            else:
                parts = ('domain', 'bus', 'slot', 'function')
                numbers = (int(hostdev[part], 16) for part in parts)
                devices.append(str(nova_cards.Address(*numbers)))
        found.append(
            {
                'uuid': domain.UUIDString(),
                'state': _GUEST_STATES.get(domain._state, 'other'),
                'devices': sorted(devices),
                'mdevs': mdevs,
            }
        )
    return found


def _mdev(connection: Any, mdev_uuid: str) -> dict[str, Any]:
    for name, device in connection.mdev_info.devices.items():
        if mdev_uuid.replace('-', '_') in name:
            parent = re.sub('^pci_', '', device.parent).split('_')
            return {
                'uuid': mdev_uuid,
                'parent': '{}:{}:{}.{}'.format(*parent),
                'type': device.type_id,
            }
    return {'uuid': mdev_uuid, 'parent': None, 'type': None}


def console(guest_uuid: str) -> pathlib.Path:
    """Return where a guest's serial line is written to, for Nova to read."""
    import nova.conf

    folder = pathlib.Path(nova.conf.CONF.instances_path, guest_uuid)
    return folder / 'console.log'


def _last_bytes(path: str, num: int) -> tuple[bytes, int]:
    # Consoles are our own files here, and Nova would have sudo read them.
    with open(path, 'rb') as stream:
        start = max(0, stream.seek(0, os.SEEK_END) - num)
        stream.seek(start)
        return stream.read(), start


def _describe(domain: Any, describe: Callable[..., str], flags: int) -> str:
    # The one thing that Nova's fake does not take from Nova's own XML.
    path = saxutils.quoteattr(str(console(domain.UUIDString())))
    return describe(domain, flags).replace("path='dummy.log'", f'path={path}')


def _start(domain: Any, start: Callable[..., None], flags: int) -> None:
    _clear_console(domain)
    start(domain, flags)


def _clear_console(domain: Any) -> None:
    # libvirt does, for each new process of a guest: Nova asks for a log that
    # is not appended to.
    with contextlib.suppress(FileNotFoundError):
        os.truncate(console(domain.UUIDString()), 0)


def _connection(driver: Any) -> Any:
    return driver._host.get_connection()


def _created(
    driver: Any, context: Any, instance: Any, *args: Any, **kwargs: Any
) -> tuple[bool, bool]:
    from nova.virt.libvirt import utils

    # The guest's console log goes there.
    folder = pathlib.Path(utils.get_instance_path(instance))
    folder.mkdir(parents=True, exist_ok=True)
    return False, False


def _no_disks(driver: Any, *args: Any, **kwargs: Any) -> list[Any]:
    return []


def _local_gb(driver: Any) -> dict[str, int]:
    total = _connection(driver).sandbox_disk_gb
    return {'total': total, 'used': 0, 'free': total}


def _online_cpus(host: Any) -> set[int]:
    return set(range(host.get_connection().host_info.cpus))


def _available_memory(host: Any) -> int:
    memory: int = host.get_connection().host_info.kB_mem
    return memory


def _total_memory(host: Any) -> int:
    # libvirt tells MiB there; Nova's fake tells what its NUMA cells want.
    return _available_memory(host) // 1024


def _create_mdev(
    driver: Any, dev_name: str, mdev_type: str, uuid: str | None = None
) -> str:
    from nova.tests.fixtures import libvirt as fakelibvirt
    from nova.virt.libvirt import utils

    mdev_uuid = uuid or _new_uuid()
    name = utils.mdev_uuid2name(mdev_uuid)
    device = fakelibvirt.FakeMdevDevice(name, mdev_type, dev_name)
    device.parent, device.type_id = dev_name, mdev_type
    _connection(driver).mdev_info.devices[name] = device
    return mdev_uuid


def _new_uuid() -> str:
    return str(uuid.uuid4())


def _power_off(
    driver: Any,
    context: Any,
    instance: Any,
    dest: str,
    flavor: Any,
    network_info: Any,
    block_device_info: Any = None,
    timeout: int = 0,
    retry_interval: int = 0,
) -> str:
    driver.power_off(instance, timeout, retry_interval)
    return '{}'


def _migrate(
    domain: Any, uri: str, params: Mapping[str, Any], flags: int
) -> None:
    """Move a guest to another host's libvirt, as it runs."""
    from nova.tests.fixtures import libvirt as fakelibvirt

    source = domain._connection
    destination = _connections[uri.split('/')[2]]
    moved = fakelibvirt.Domain(
        destination, params['destination_xml'], running=True
    )
    destination._vms[moved.name()] = moved
    _clear_console(domain)
    domain.destroy()
    source._vms.pop(domain.name(), None)
    domain.complete_job()


def _job(domain: Any, flags: int = 0) -> dict[str, int]:
    # Up to 2025.1 Nova's fake has every guest migrate all the time, and so
    # a migration that failed would never end.
    from nova.tests.fixtures import libvirt as fakelibvirt

    done = fakelibvirt.VIR_DOMAIN_JOB_COMPLETED
    none = fakelibvirt.VIR_DOMAIN_JOB_NONE
    return {'type': done if domain._job_type == done else none}


def _define(connection: Any, define: Callable[..., Any], xml: str) -> Any:
    # A guest that came here goes on running when Nova stores it for good;
    # Nova's fake would put one that is off in its place.
    from nova.tests.fixtures import libvirt as fakelibvirt

    name = fakelibvirt.Domain(connection, xml).name()
    for domain in list(connection._running_vms.values()):
        if domain.name() == name:
            return domain
    return define(connection, xml)


def _uptime(driver: Any) -> str:
    # Nova asks for it with each update of each host, and to fork a process of
    # this size costs more than all the rest of the update.
    return ' 12:00:00 up 1 day,  1:00,  0 users,  load average: 0.0, 0.0, 0.0'


def _connector(driver: Any, instance: Any) -> dict[str, Any]:
    # What os-brick would ask the machine, and answer the same for each host.
    return {'host': driver._host.get_hostname(), 'ip': '127.0.0.1'}


def _snapshot(
    driver: Any,
    context: Any,
    instance: Any,
    image_id: str,
    update_task_state: Any,
) -> None:
    from nova.compute import task_states

    update_task_state(task_state=task_states.IMAGE_PENDING_UPLOAD)
    update_task_state(
        task_state=task_states.IMAGE_UPLOADING,
        expected_state=task_states.IMAGE_PENDING_UPLOAD,
    )
    metadata = {
        'status': 'active',
        'disk_format': 'raw',
        'container_format': 'bare',
        'properties': {},
    }
    content = io.BytesIO(b'sandbox')
    driver._image_api.update(context, image_id, metadata, content)
