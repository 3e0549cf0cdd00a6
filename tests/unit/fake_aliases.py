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

"""A Nova that knows PCI aliases, as far as a probe can tell, and an image."""

import json
from typing import Any

from tests.unit import base
from tests.unit import fake_flavors

IMAGE = '33333333-3333-4333-8333-333333333333'


class FakeAliases:
    """Answer requests for servers on a host that is not there, as Nova does.

    ``defined`` are the aliases of nova.conf; ``images`` the active ones;
    ``answers`` replaces what is said to the flavor of an ID: (status, words).
    """

    def __init__(self, nova: fake_flavors.FakeNova, cloud: Any) -> None:
        self.nova = nova
        self.defined: set[str] = set()
        self.images = [{'id': IMAGE}]
        self.answers: dict[str, tuple[int, str]] = {}
        cloud.get(f'{base.IMAGE}/v2/images', text=self._images)
        cloud.post(f'{base.COMPUTE}/servers', text=self._refuse)

    def _images(self, request: Any, context: Any) -> str:
        return json.dumps({'images': self.images})

    def _refuse(self, request: Any, context: Any) -> str:
        asked = request.json()['server']
        assert request.headers['OpenStack-API-Version'] == 'compute 2.74'
        assert asked['host'].startswith('osc-gpu-probe-')
        assert asked['networks'] == 'none'
        flavor = self.nova.flavors[asked['flavorRef']]
        status, words = self.answers.get(flavor['id']) or self._judge(
            flavor['extra_specs'].get('pci_passthrough:alias'), asked['host']
        )
        context.status_code = status
        context.headers['Content-Type'] = 'application/json'
        return json.dumps({'badRequest': {'code': status, 'message': words}})

    def _judge(self, value: str | None, host: str) -> tuple[int, str]:
        """Follow nova/pci/request.py, _translate_alias_to_requests."""
        try:
            for name, count in (
                [spec.split(':') for spec in value.split(',')] if value else ()
            ):
                if name.strip() not in self.defined:
                    return 400, f'PCI alias {name.strip()} is not defined'
                int(count)
        except ValueError:
            return 500, "Unexpected API Error.\n<class 'ValueError'>"
        return 400, f'Compute host {host} could not be found.'
