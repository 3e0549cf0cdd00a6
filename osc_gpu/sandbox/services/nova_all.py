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

"""All of Nova in one process: conductor, scheduler, computes, API.

oslo.messaging's fake transport connects services that share a process.
"""

import inspect
import os

# Before anything that may import eventlet or open a database: up to Nova 32
# the services are green threads, and everything must be patched for them.
from nova import monkey_patch

if (
    'backend'
    in inspect.signature(
        getattr(monkey_patch, 'patch', lambda: None)
    ).parameters
):
    os.environ['OS_NOVA_DISABLE_EVENTLET_PATCHING'] = 'true'
    monkey_patch.patch(backend='threading')
elif hasattr(monkey_patch, 'patch'):
    monkey_patch.patch()

import json
import shutil
import signal
import sqlite3
import sys
import threading
from typing import Any

from services import common
from services import nova_computes
from services import nova_control
from services import nova_deaths
from services import nova_fakes
from services import nova_faults
from services import sqlite

GREEN = 'eventlet' in sys.modules and getattr(
    monkey_patch, 'MONKEY_PATCHED', True
)

_FILTERS = (
    'ComputeFilter',
    'ComputeCapabilitiesFilter',
    'ImagePropertiesFilter',
    'ServerGroupAntiAffinityFilter',
    'ServerGroupAffinityFilter',
    'PciPassthroughFilter',
    'NUMATopologyFilter',
)


def options(spec: common.Spec) -> common.Options:
    pci = spec.topology['pci_in_placement']
    nova = spec.state / 'nova'
    credentials = spec.credentials()
    return {
        'DEFAULT': common.logging_options(spec)
        | {
            'host': 'sandbox',
            'my_ip': spec.address,
            'transport_url': 'fake:/',
            'compute_driver': 'libvirt.LibvirtDriver',
            'state_path': nova,
            'instances_path': nova / 'instances',
            'vif_plugging_timeout': 0,
            'vif_plugging_is_fatal': 'false',
            'report_interval': 10,
            'service_down_time': 30,
            'update_resources_interval': 6,
            'rpc_response_timeout': 60,
            'osapi_compute_workers': 1,
            # How often Nova looks whether a volume is made: each second.
            'block_device_allocate_retries_interval': 1,
        },
        'api': {'auth_strategy': 'keystone'},
        'database': {'connection': spec.database('nova')},
        'api_database': {'connection': spec.database('nova_api')},
        'keystone_authtoken': common.auth_options(spec),
        'service_user': credentials | {'send_service_user_token': 'true'},
        'keystone': credentials,
        'placement': credentials,
        'neutron': credentials,
        'glance': {'region_name': spec.region},
        'cinder': credentials
        | {
            'catalog_info': 'block-storage::publicURL',
            'os_region_name': spec.region,
        },
        'oslo_concurrency': {'lock_path': nova / 'locks'},
        'filter_scheduler': {
            'enabled_filters': ','.join(_FILTERS),
            'pci_in_placement': pci,
        },
        'pci': {
            'alias': [_alias(alias) for alias in spec.topology['aliases']],
            'report_in_placement': pci,
        },
        'libvirt': {'virt_type': 'kvm', 'cpu_mode': 'none'},
        'vnc': {'enabled': 'false'},
        'quota': {
            'instances': -1,
            'cores': -1,
            'ram': -1,
            'key_pairs': -1,
            'server_groups': -1,
            'server_group_members': -1,
        },
        'wsgi': {'api_paste_config': spec.state / 'etc/nova/api-paste.ini'},
    }


def _alias(alias: Any) -> str:
    entry = {key: value for key, value in alias.items() if value}
    if 'traits' in entry:
        entry['traits'] = ','.join(entry['traits'])
    if 'live_migratable' in entry:
        entry['live_migratable'] = 'yes'
    return json.dumps(entry)


def _place_cells(spec: common.Spec) -> None:
    """Tell the copied API database where the copied cells are."""
    spec.copy_databases('nova_api', 'nova', 'nova_cell0')
    path = spec.state / 'db' / 'nova_api.sqlite'
    connection = sqlite3.connect(path)
    with connection:
        connection.executemany(
            'UPDATE cell_mappings SET database_connection = ? WHERE name = ?',
            [
                (spec.database('nova_cell0'), 'cell0'),
                (spec.database('nova'), 'cell1'),
            ],
        )
    connection.close()


def _initialize(spec: common.Spec) -> None:
    etc = spec.state / 'etc' / 'nova'
    path = common.write_config(etc / 'nova.conf', options(spec))
    shutil.copy(common.shipped('nova', 'api-paste.ini'), etc)
    for folder in ('instances', 'locks'):
        (spec.state / 'nova' / folder).mkdir(parents=True, exist_ok=True)
    os.environ['OS_NOVA_CONFIG_DIR'] = str(etc)
    sqlite.prepare()

    import nova.conf
    from nova import config
    from nova import objects
    from oslo_log import log
    from oslo_service import _options

    config.parse_args(sys.argv, default_config_files=[str(path)])
    nova.conf.CONF.register_opts(_options.service_opts)
    log.setup(nova.conf.CONF, 'nova')
    objects.register_all()


def _start_service(name: str) -> None:
    from nova import service

    service.Service.create(
        host='sandbox', binary=f'nova-{name}', topic=name
    ).start()


def _api(spec: common.Spec) -> Any:
    from nova.api.openstack import wsgi_app
    from paste import deploy

    # init_application() would parse the arguments a second time.
    wsgi_app._setup_service('sandbox', 'osapi_compute')
    paste = spec.state / 'etc' / 'nova' / 'api-paste.ini'
    return deploy.loadapp(f'config:{paste}', name='osapi_compute')


def _discover_hosts() -> None:
    from nova import context
    from nova.objects import host_mapping

    host_mapping.discover_hosts(context.get_admin_context())


def _serve(spec: common.Spec, service: str, application: Any) -> None:
    """Serve in a thread, green or native, as Nova of this release runs."""
    if GREEN:
        import eventlet
        from eventlet import wsgi

        socket = eventlet.listen((spec.address, spec.ports[service]))
        eventlet.spawn(wsgi.server, socket, application, log_output=False)
    else:
        from cheroot import wsgi as cheroot

        server = cheroot.Server(
            (spec.address, spec.ports[service]), application, numthreads=12
        )
        threading.Thread(target=server.start, daemon=True).start()


def main() -> None:
    """Start everything; /status of the control API says when it is ready."""
    spec = common.load()
    _place_cells(spec)
    _initialize(spec)
    nova_fakes.install()
    faults = nova_faults.Faults()
    nova_faults.install(faults)
    nova_deaths.install()
    computes = nova_computes.Computes(spec.topology)
    control = nova_control.Control(spec.secrets['control'], computes, faults)
    _serve(spec, 'control', control)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    common.wait_for_identity(spec)
    _start_service('conductor')
    _start_service('scheduler')
    _serve(spec, 'compute', _api(spec))
    computes.start_all()
    _discover_hosts()
    control.ready = True
    threading.Event().wait()


if __name__ == '__main__':
    main()
