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

"""Has Nova's own code take aliases and device specs; prints which it refuses.

    <python of a release> nova_refuses.py < <JSON>

The JSON is ``{"aliases": [...], "specs": [...]}``; printed is, in its place,
why Nova does not start with one, or null. Runs in a release's own virtual
environment, which has nothing of ours.
"""

import json
import sys

import nova.conf
from nova.pci import devspec
from nova.pci import request


def why_not(call, *args):
    try:
        call(*args)
    except Exception as exc:
        return repr(exc)
    return None


def take_alias(alias):
    nova.conf.CONF.set_override('alias', [json.dumps(alias)], group='pci')
    # Nova keeps the first that it took.
    request.get_alias_from_config.cache_clear()
    request.get_alias_from_config()


def main():
    nova.conf.CONF([], project='nova', default_config_files=[])
    # one_time_use needs it; no value shows that.
    nova.conf.CONF.set_override('report_in_placement', True, group='pci')
    found = json.load(sys.stdin)
    print(
        json.dumps(
            {
                'aliases': [why_not(take_alias, a) for a in found['aliases']],
                'specs': [
                    why_not(devspec.PciDeviceSpec, s) for s in found['specs']
                ],
            }
        )
    )


if __name__ == '__main__':
    main()
