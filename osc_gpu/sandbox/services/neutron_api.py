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

"""Neutron with ML2, without any agent."""

import os
import shutil

from services import common
from services import sqlite

_ENTRY_POINT = """\
[neutron.ml2.mechanism_drivers]
sandbox = services.neutron_driver:Driver
"""


def options(spec: common.Spec) -> common.Options:
    unlimited = dict.fromkeys(
        (
            'quota_network',
            'quota_subnet',
            'quota_port',
            'quota_router',
            'quota_floatingip',
            'quota_security_group',
            'quota_security_group_rule',
        ),
        -1,
    )
    return {
        'DEFAULT': common.logging_options(spec)
        | {
            'core_plugin': 'ml2',
            'service_plugins': 'router',
            'transport_url': 'fake:/',
            'auth_strategy': 'keystone',
            'notify_nova_on_port_status_changes': 'false',
            'notify_nova_on_port_data_changes': 'false',
            'rpc_workers': 0,
            'api_paste_config': spec.state / 'etc/neutron/api-paste.ini',
            'state_path': spec.state / 'neutron',
        },
        'oslo_concurrency': {'lock_path': spec.state / 'neutron'},
        'database': {'connection': spec.database('neutron')},
        'quotas': unlimited,
        'keystone_authtoken': common.auth_options(spec),
        'ml2': {
            'type_drivers': 'flat,geneve,vlan,local',
            'tenant_network_types': 'geneve',
            'mechanism_drivers': 'sandbox',
            'extension_drivers': 'port_security',
        },
        'ml2_type_flat': {'flat_networks': '*'},
        'ml2_type_geneve': {'vni_ranges': '1:10000', 'max_header_size': 38},
    }


def main() -> None:
    """Start Neutron."""
    spec = common.load()
    spec.copy_databases('neutron')
    etc = spec.state / 'etc' / 'neutron'
    config = common.write_config(etc / 'neutron.conf', options(spec))
    shutil.copy(common.shipped('neutron', 'api-paste.ini'), etc)
    (spec.state / 'neutron').mkdir(exist_ok=True)
    common.advertise(spec, _ENTRY_POINT)
    os.environ['OS_NEUTRON_CONFIG_DIR'] = str(etc)
    os.environ['OS_NEUTRON_CONFIG_FILES'] = str(config)
    sqlite.prepare()
    from neutron.wsgi import api

    common.serve(spec, 'network', api.application)


if __name__ == '__main__':
    main()
