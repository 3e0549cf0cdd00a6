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


"""All of Cinder in one process: volume service, scheduler, API.

oslo.messaging's fake transport connects services that share a process.
"""

import os
import shutil
import signal
from typing import Any

from services import common

_BACKEND = 'sandbox'


def _patch() -> None:
    """Turn threads green, before anything opens a socket or a database.

    Cinder's own programs do so first of all, in every release up to now.
    """
    try:
        from cinder import monkey_patch
    except ImportError:  # up to Cinder 28
        import eventlet

        eventlet.monkey_patch()
    else:
        monkey_patch.patch()


def options(spec: common.Spec) -> common.Options:
    etc = spec.state / 'etc' / 'cinder'
    cinder = spec.state / 'cinder'
    unlimited = dict.fromkeys(
        (
            'quota_volumes',
            'quota_snapshots',
            'quota_gigabytes',
            'per_volume_size_limit',
        ),
        -1,
    )
    return {
        'DEFAULT': common.logging_options(spec)
        | unlimited
        | {
            'host': 'sandbox',
            'my_ip': spec.address,
            'transport_url': 'fake:/',
            'auth_strategy': 'keystone',
            'enabled_backends': _BACKEND,
            'api_paste_config': etc / 'api-paste.ini',
            'resource_query_filters_file': etc / 'resource_filters.json',
            'state_path': cinder,
            'glance_api_servers': spec.url('image'),
            # The database says 10 of each; what stands here is to count.
            'use_default_quota_class': 'false',
            # Both services live and die with this process, and Cinder
            # reports the heartbeat of but one of them.
            'service_down_time': 7 * 24 * 3600,
        },
        'coordination': {'backend_url': f'file://{cinder}'},
        'oslo_concurrency': {'lock_path': cinder / 'locks'},
        'database': {'connection': spec.database('cinder')},
        'keystone_authtoken': common.auth_options(spec),
        _BACKEND: {
            'volume_driver': 'services.cinder_driver.Driver',
            'volume_backend_name': _BACKEND,
        },
    }


def _initialize(spec: common.Spec) -> None:
    etc = spec.state / 'etc' / 'cinder'
    path = common.write_config(etc / 'cinder.conf', options(spec))
    for name in ('api-paste.ini', 'resource_filters.json'):
        shutil.copy(common.shipped('cinder', name), etc / name)
    (spec.state / 'cinder' / 'locks').mkdir(parents=True, exist_ok=True)
    from services import sqlite

    sqlite.prepare()

    from cinder.common import config
    from cinder import objects
    from cinder import rpc
    from cinder import version
    from oslo_config import cfg
    from oslo_log import log

    objects.register_all()
    cfg.CONF(
        [],
        project='cinder',
        version=version.version_string(),
        default_config_files=[str(path)],
    )
    log.setup(cfg.CONF, 'cinder')
    config.set_middleware_defaults()
    rpc.init(cfg.CONF)


def _start_services() -> None:
    from cinder import service

    volume = service.Service.create(
        host=f'sandbox@{_BACKEND}',
        service_name=_BACKEND,
        binary='cinder-volume',
        coordination=True,
    )
    volume.start()
    if not volume.manager.driver.initialized:
        raise SystemExit('The volume driver did not start')
    # Waits until the volume service has told it what it can do.
    service.Service.create(binary='cinder-scheduler').start()


def _api() -> Any:
    from oslo_config import cfg
    from oslo_service import wsgi

    return wsgi.Loader(cfg.CONF).load_app(name='osapi_volume')


def main() -> None:
    """Start everything; the API answers when the rest is there."""
    spec = common.load()
    _patch()
    import eventlet
    from eventlet import wsgi

    spec.copy_databases('cinder')
    _initialize(spec)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    _start_services()
    socket = eventlet.listen((spec.address, spec.ports['volume']))
    wsgi.server(socket, _api(), log_output=False)


if __name__ == '__main__':
    main()
