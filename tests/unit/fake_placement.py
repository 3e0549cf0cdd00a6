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

"""A Placement with just enough behind its API, at the wire.

As the real one does, it hides the trees of which the asked class has no unit
left from allocation candidates, and shows whole trees otherwise.
"""

from typing import Any
from urllib import parse
import uuid

import requests_mock

from tests.unit import base

A100 = 'CUSTOM_PCI_10DE_20B5'
NIC = 'CUSTOM_PCI_15B3_1017'


class FakePlacement:
    """Providers and allocations; registers itself on a requests-mock."""

    def __init__(self, cloud: requests_mock.Mocker) -> None:
        self.providers: dict[str, dict[str, Any]] = {}
        self.allocations: dict[str, dict[str, dict[str, int]]] = {}
        self.classes = ['VCPU', 'MEMORY_MB', 'DISK_GB', 'VGPU', 'PGPU']
        root = base.PLACEMENT
        cloud.get(f'{root}/resource_providers', json=self._list)
        cloud.get(f'{root}/resource_classes', json=self._classes)
        cloud.get(f'{root}/allocation_candidates', json=self._candidates)
        cloud.get(
            requests_mock.ANY,
            additional_matcher=self._is_part,
            json=self._part,
        )

    def host(self, name: str, **inventory: Any) -> str:
        """Add a compute node with some of everything, or with this."""
        some = {'MEMORY_MB': 1024, 'VCPU': 8, 'DISK_GB': 100}
        return self.provider(name, **(inventory or some))

    def provider(
        self,
        name: str,
        parent: str | None = None,
        traits: tuple[str, ...] = (),
        **inventory: Any,
    ) -> str:
        """Add a provider; inventory as CLASS=total or (total, reserved)."""
        found = str(uuid.uuid5(uuid.NAMESPACE_DNS, name))
        self.providers[found] = {
            'name': name,
            'parent': parent,
            'root': self.providers[parent]['root'] if parent else found,
            'traits': list(traits),
            'inventory': {
                rc: (held, 0) if isinstance(held, int) else held
                for rc, held in inventory.items()
            },
        }
        return found

    def hold(self, consumer: str, provider: str, **amounts: int) -> None:
        """Let a consumer hold amounts of classes of a provider."""
        self.allocations.setdefault(consumer, {})[provider] = amounts

    def fill(self, provider: str) -> None:
        """Use up everything that a provider has."""
        used = {rc: t for rc, (t, _r) in self._inventory(provider).items()}
        self.hold(f'filler-{provider}', provider, **used)

    def _inventory(self, provider: str) -> dict[str, tuple[int, int]]:
        inventory: dict[str, tuple[int, int]]
        inventory = self.providers[provider]['inventory']
        return inventory

    def _used(self, provider: str, resource_class: str) -> int:
        return sum(
            held.get(provider, {}).get(resource_class, 0)
            for held in self.allocations.values()
        )

    def _free(self, provider: str, resource_class: str) -> int:
        total, reserved = self._inventory(provider).get(resource_class, (0, 0))
        return total - reserved - self._used(provider, resource_class)

    def _list(self, request: Any, _context: Any) -> Any:
        in_tree = self._query(request).get('in_tree')
        root = self.providers.get(in_tree, {}).get('root') if in_tree else None
        return {
            'resource_providers': [
                {
                    'uuid': found,
                    'name': provider['name'],
                    'generation': 1,
                    'root_provider_uuid': provider['root'],
                    'parent_provider_uuid': provider['parent'],
                    'links': [],
                }
                for found, provider in self.providers.items()
                if in_tree is None or provider['root'] == root
            ]
        }

    def _known_classes(self) -> list[str]:
        used = (rc for p in self.providers.values() for rc in p['inventory'])
        return list(dict.fromkeys((*self.classes, *used)))

    def _classes(self, _request: Any, _context: Any) -> Any:
        return {
            'resource_classes': [
                {'name': name, 'links': []} for name in self._known_classes()
            ]
        }

    def _candidates(self, request: Any, context: Any) -> Any:
        query = self._query(request)
        wanted, _colon, amount = query['resources'].partition(':')
        if wanted not in self._known_classes():
            context.status_code = 400
            detail = f'No such resource class {wanted}'
            return {'errors': [{'status': 400, 'detail': detail}]}
        in_tree = query.get('in_tree')
        roots = {
            provider['root']
            for found, provider in self.providers.items()
            if self._free(found, wanted) >= int(amount)
            and in_tree in (None, provider['root'])
        }
        return {
            'allocation_requests': [
                {'allocations': {root: {'resources': {wanted: int(amount)}}}}
                for root in sorted(roots)
            ],
            'provider_summaries': {
                found: self._summary(found)
                for found, provider in self.providers.items()
                if provider['root'] in roots
            },
        }

    def _summary(self, found: str) -> Any:
        return {
            'resources': {
                rc: {
                    'capacity': total - reserved,
                    'used': self._used(found, rc),
                }
                for rc, (total, reserved) in self._inventory(found).items()
            },
            'traits': self.providers[found]['traits'],
            'parent_provider_uuid': self.providers[found]['parent'],
            'root_provider_uuid': self.providers[found]['root'],
        }

    @staticmethod
    def _query(request: Any) -> dict[str, str]:
        return dict(parse.parse_qsl(parse.urlsplit(request.url).query))

    @staticmethod
    def _path(request: Any) -> list[str]:
        url: str = request.url
        if not url.startswith(f'{base.PLACEMENT}/'):
            return []
        return url.removeprefix(f'{base.PLACEMENT}/').split('/')

    def _is_part(self, request: Any) -> bool:
        path = self._path(request)
        return (len(path) == 3 and path[0] == 'resource_providers') or (
            len(path) == 2 and path[0] == 'allocations'
        )

    def _part(self, request: Any, context: Any) -> Any:
        path = self._path(request)
        if path[0] == 'allocations':
            return {'allocations': self._held_by(path[1])}
        if path[1] not in self.providers:
            context.status_code = 404
            return {'errors': [{'status': 404, 'detail': 'No such provider'}]}
        return getattr(self, f'_{path[2]}')(path[1])

    def _held_by(self, consumer: str) -> Any:
        return {
            provider: {'generation': 1, 'resources': amounts}
            for provider, amounts in self.allocations.get(consumer, {}).items()
        }

    def _inventories(self, found: str) -> Any:
        return {
            'resource_provider_generation': 1,
            'inventories': {
                rc: {
                    'total': total,
                    'reserved': reserved,
                    'min_unit': 1,
                    'max_unit': total,
                    'step_size': 1,
                    'allocation_ratio': 1.0,
                }
                for rc, (total, reserved) in self._inventory(found).items()
            },
        }

    def _usages(self, found: str) -> Any:
        return {
            'resource_provider_generation': 1,
            'usages': {
                rc: self._used(found, rc) for rc in self._inventory(found)
            },
        }

    def _traits(self, found: str) -> Any:
        return {
            'resource_provider_generation': 1,
            'traits': self.providers[found]['traits'],
        }

    def _allocations(self, found: str) -> Any:
        return {
            'resource_provider_generation': 1,
            'allocations': {
                consumer: {
                    'consumer_generation': 1,
                    'resources': held[found],
                }
                for consumer, held in self.allocations.items()
                if found in held
            },
        }
