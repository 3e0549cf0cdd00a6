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

"""Glance, with its images in files."""

import os
import shutil
from typing import Any

from services import common
from services import sqlite


def options(spec: common.Spec) -> common.Options:
    images = spec.state / 'images'
    return {
        'DEFAULT': common.logging_options(spec)
        | {'enabled_backends': 'files:file', 'enabled_import_methods': '[]'},
        'database': {'connection': spec.database('glance')},
        'glance_store': {'default_backend': 'files'},
        'files': {'filesystem_store_datadir': images / 'store'},
        'os_glance_staging_store': {
            'filesystem_store_datadir': images / 'staging'
        },
        'os_glance_tasks_store': {
            'filesystem_store_datadir': images / 'tasks'
        },
        'paste_deploy': {
            'flavor': 'keystone',
            'config_file': spec.state / 'etc/glance/glance-api-paste.ini',
        },
        'keystone_authtoken': common.auth_options(spec),
    }


def _keeping_input(application: Any) -> Any:
    """Keep Glance from closing what an image was read from.

    The server would close its connection's end with it, and answer 500 to
    the next request on that connection.
    """

    def call(environ: dict[str, Any], start_response: Any) -> Any:
        environ['wsgi.input'].close = lambda: None
        return application(environ, start_response)

    return call


def main() -> None:
    """Start Glance."""
    spec = common.load()
    spec.copy_databases('glance')
    etc = spec.state / 'etc' / 'glance'
    common.write_config(etc / 'glance-api.conf', options(spec))
    for name in ('glance-api-paste.ini',):
        shutil.copy(common.shipped('glance', name), etc / name)
    for store in ('store', 'staging', 'tasks'):
        (spec.state / 'images' / store).mkdir(parents=True, exist_ok=True)
    os.environ['OS_GLANCE_CONFIG_DIR'] = str(etc)
    sqlite.prepare()
    from glance.wsgi import api

    common.serve(spec, 'image', _keeping_input(api.application))


if __name__ == '__main__':
    main()
