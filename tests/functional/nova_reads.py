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

"""Has Nova's own code read nova.confs; prints what it took each for.

    <python of a release> nova_reads.py <nova.conf> [<nova.conf> ...]

Runs in a release's own virtual environment, which has nothing of ours. Each
file has a process of its own: Nova keeps what it read first.
"""

import json
import os
import sys

import nova.conf
from nova.conf import devices
from nova.pci import devspec
from nova.pci import request


def read(path):
    conf = nova.conf.CONF
    conf([], project='nova', default_config_files=[path])
    devices.register_dynamic_opts(conf)
    specs = []
    for text in conf.pci.device_spec:
        found = json.loads(text)
        spec = devspec.PciDeviceSpec(dict(found))
        address = spec.address.pci_address_spec
        specs.append(
            {
                'vendor_id': spec.vendor_id,
                'product_id': spec.product_id,
                'address': ':'.join(
                    (address.domain, address.bus, address.slot)
                )
                + f'.{address.func}',
                'tags': spec.get_tags(),
            }
        )
    return {
        'aliases': request.get_alias_from_config(),
        'specs': specs,
        'report_in_placement': conf.pci.report_in_placement,
        'pci_in_placement': conf.filter_scheduler.pci_in_placement,
        'filters': conf.filter_scheduler.enabled_filters,
        'mdevs': {
            name: {
                'addresses': conf[f'mdev_{name}'].device_addresses,
                'class': conf[f'mdev_{name}'].mdev_class,
            }
            for name in conf.devices.enabled_mdev_types
        },
    }


if __name__ == '__main__':
    for path in sys.argv[1:]:
        child = os.fork()
        if not child:
            print(json.dumps(read(path)), flush=True)
            os._exit(0)
        _pid, status = os.waitpid(child, 0)
        if status:
            sys.exit(f'{path} cannot be read')
