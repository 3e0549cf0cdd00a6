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


"""All of Heat in one process: engine and API.

oslo.messaging's fake transport connects services that share a process.
"""

import hashlib
import os
import signal
import sys

from services import common


def _patch() -> bool:
    """Prepare for threads as Heat's own engine does, first of all.

    Says whether they are green: up to Heat 24.
    """
    from heat.cmd import engine as _engine  # noqa: F401

    patcher = sys.modules.get('eventlet.patcher')
    return bool(patcher and patcher.is_monkey_patched('thread'))


def options(spec: common.Spec) -> common.Options:
    # What Heat encrypts credentials with has 32 characters.
    key = hashlib.sha256(spec.secrets['service'].encode()).hexdigest()[:32]
    credentials = spec.credentials()
    trustee = {k: v for k, v in credentials.items() if 'project' not in k}
    return {
        'DEFAULT': common.logging_options(spec)
        | {
            'host': 'sandbox',
            'transport_url': 'fake:/',
            'auth_encryption_key': key,
            'region_name_for_services': spec.region,
            'stack_user_domain_name': 'heat',
            'stack_domain_admin': 'heat_domain_admin',
            'stack_domain_admin_password': spec.secrets['service'],
            'environment_dir': common.shipped('heat', 'environment.d'),
            'template_dir': common.shipped('heat', 'templates'),
        },
        'paste_deploy': {
            'api_paste_config': common.shipped('heat', 'api-paste.ini')
        },
        'database': {'connection': spec.database('heat')},
        'keystone_authtoken': common.auth_options(spec),
        # With a trust it acts for a user after the request is over.
        'trustee': trustee,
        'clients_keystone': {'auth_uri': spec.url('identity')},
        'oslo_concurrency': {'lock_path': spec.state / 'heat'},
    }


def _initialize(spec: common.Spec) -> None:
    etc = spec.state / 'etc' / 'heat'
    path = common.write_config(etc / 'heat.conf', options(spec))
    (spec.state / 'heat').mkdir(exist_ok=True)
    from services import sqlite

    sqlite.prepare()

    from heat.common import config
    from heat.common import messaging
    from heat.db import migration
    from heat import version
    from oslo_config import cfg
    from oslo_log import log

    log.register_options(cfg.CONF)
    cfg.CONF(
        [],
        project='heat',
        version=version.version_info.version_string(),
        default_config_files=[str(path)],
    )
    log.setup(cfg.CONF, 'heat')
    config.startup_sanity_check()
    messaging.setup()
    migration.db_sync()


def _serve(spec: common.Spec, green: bool) -> None:
    """Serve the API, in threads of the kind that the engine has."""
    from heat.common import config

    application = config.load_paste_app('heat-api')
    if not green:
        common.serve(spec, 'orchestration', application)
        return
    import eventlet
    from eventlet import wsgi

    socket = eventlet.listen((spec.address, spec.ports['orchestration']))
    wsgi.server(socket, application, log_output=False)


def main() -> None:
    """Start the engine, then the API."""
    spec = common.load()
    green = _patch()
    spec.copy_databases()
    _initialize(spec)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    from heat.engine import service
    from heat.rpc import api
    from oslo_config import cfg

    service.EngineService(cfg.CONF.host, api.ENGINE_TOPIC).start()
    _serve(spec, green)


if __name__ == '__main__':
    main()
