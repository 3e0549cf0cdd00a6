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

"""Placement."""

import os

from services import common
from services import sqlite


def options(spec: common.Spec) -> common.Options:
    return {
        'DEFAULT': common.logging_options(spec),
        'placement_database': {'connection': spec.database('placement')},
        'api': {'auth_strategy': 'keystone'},
        'keystone_authtoken': common.auth_options(spec),
    }


def main() -> None:
    """Start Placement."""
    spec = common.load()
    spec.copy_databases('placement')
    etc = spec.state / 'etc' / 'placement'
    common.write_config(etc / 'placement.conf', options(spec))
    os.environ['OS_PLACEMENT_CONFIG_DIR'] = str(etc)
    sqlite.prepare()
    from placement.wsgi import api

    common.serve(spec, 'placement', api.application)


if __name__ == '__main__':
    main()
