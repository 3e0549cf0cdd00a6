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

import itertools
import json
from typing import Any
from urllib import parse
import uuid

import requests_mock

from tests.unit import base

A100 = 'CUSTOM_PCI_10DE_20B5'
NIC = 'CUSTOM_PCI_15B3_1017'


def _stock(held: Any) -> dict[str, Any]:
    if isinstance(held, int):
        held = {'total': held}
    elif isinstance(held, tuple):
        held = {'total': held[0], 'reserved': held[1]}
    return {
        'reserved': 0,
        'min_unit': 1,
        'max_unit': held['total'],
        'step_size': 1,
        'allocation_ratio': 1.0,
    } | held


class FakePlacement:
    """Providers and allocations; registers itself on a requests-mock."""

    def __init__(self, cloud: requests_mock.Mocker) -> None:
        self.providers: dict[str, dict[str, Any]] = {}
        self.allocations: dict[str, dict[str, dict[str, int]]] = {}
        self.generations: dict[str, int] = {}
        self.owners: dict[str, tuple[str, str]] = {}
        self.consumer_types: dict[str, str] = {}
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
        cloud.put(
            requests_mock.ANY,
            additional_matcher=self._is_write,
            text=self._write,
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
        """Add a provider.

        Inventory as CLASS=total, (total, reserved) or a dict that may have
        total, reserved, min_unit, max_unit, step_size, allocation_ratio.
        """
        found = str(uuid.uuid5(uuid.NAMESPACE_DNS, name))
        self.providers[found] = {
            'name': name,
            'parent': parent,
            'root': self.providers[parent]['root'] if parent else found,
            'traits': list(traits),
            'inventory': {rc: _stock(held) for rc, held in inventory.items()},
        }
        return found

    def stock(self, provider: str, **inventory: Any) -> None:
        """Change inventory of a provider; see ``provider`` for its shape."""
        for rc, held in inventory.items():
            self._inventory(provider)[rc] = _stock(held)

    def hold(self, consumer: str, provider: str, **amounts: int) -> None:
        """Let a consumer hold amounts of classes of a provider."""
        self.allocations.setdefault(consumer, {})[provider] = amounts
        self.generations.setdefault(consumer, 1)

    def fill(self, provider: str) -> None:
        """Use up everything that a provider has."""
        used = {rc: s['total'] for rc, s in self._inventory(provider).items()}
        self.hold(f'filler-{provider}', provider, **used)

    def touch(self, found: str) -> None:
        """Change the generation of a provider or a consumer."""
        self.generations[found] = self.generations.get(found, 1) + 1

    def _inventory(self, provider: str) -> dict[str, dict[str, Any]]:
        inventory: dict[str, dict[str, Any]]
        inventory = self.providers[provider]['inventory']
        return inventory

    def _capacity(self, provider: str, resource_class: str) -> int:
        stock = self._inventory(provider).get(resource_class)
        if stock is None:
            return 0
        left = stock['total'] - stock['reserved']
        return int(left * stock['allocation_ratio'])

    def _can_give(self, provider: str, wanted: str, amount: int) -> bool:
        stock = self._inventory(provider).get(wanted)
        return (
            stock is not None
            and stock['min_unit'] <= amount <= stock['max_unit']
            and amount % stock['step_size'] == 0
            and amount <= self._free(provider, wanted)
        )

    def _used(self, provider: str, resource_class: str) -> int:
        return sum(
            held.get(provider, {}).get(resource_class, 0)
            for held in self.allocations.values()
        )

    def _free(self, provider: str, resource_class: str) -> int:
        used = self._used(provider, resource_class)
        return self._capacity(provider, resource_class) - used

    def _list(self, request: Any, _context: Any) -> Any:
        in_tree = self._query(request).get('in_tree')
        root = self.providers.get(in_tree, {}).get('root') if in_tree else None
        wanted, _colon, amount = (
            self._query(request).get('resources', '').partition(':')
        )
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
                if (in_tree is None or provider['root'] == root)
                and (not wanted or self._can_give(found, wanted, int(amount)))
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
        wanted = {
            name: int(amount)
            for name, _colon, amount in (
                entry.partition(':') for entry in query['resources'].split(',')
            )
        }
        for name in wanted:
            if name not in self._known_classes():
                context.status_code = 400
                detail = f'No such resource class {name}'
                return {'errors': [{'status': 400, 'detail': detail}]}
        in_tree = query.get('in_tree')
        requests = []
        for root in {p['root']: p for p in self.providers.values()}:
            tree = [u for u, p in self.providers.items() if p['root'] == root]
            givers = [
                [u for u in tree if self._can_give(u, name, amount)]
                for name, amount in wanted.items()
            ]
            if in_tree in (None, root):
                for choice in itertools.product(*givers):
                    held: dict[str, Any] = {}
                    for u, (name, n) in zip(
                        choice, wanted.items(), strict=True
                    ):
                        held.setdefault(u, {'resources': {}})
                        held[u]['resources'][name] = n
                    requests.append({'allocations': held})
        roots = {
            self.providers[u]['root']
            for found in requests
            for u in found['allocations']
        }
        return {
            'allocation_requests': requests,
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
                    'capacity': self._capacity(found, rc),
                    'used': self._used(found, rc),
                }
                for rc in self._inventory(found)
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

    def _is_write(self, request: Any) -> bool:
        path = self._path(request)
        return (len(path) == 2 and path[0] == 'allocations') or (
            len(path) == 4 and path[2] == 'inventories'
        )

    def _write(self, request: Any, context: Any) -> str:
        path, body = self._path(request), request.json()
        if path[0] == 'allocations':
            return self._put_allocations(path[1], body, context)
        stated = body.pop('resource_provider_generation')
        if stated != self.generations.get(path[1], 1):
            return self._conflict(context)
        self._inventory(path[1])[path[3]] |= body
        self.touch(path[1])
        return json.dumps(
            body | {'resource_provider_generation': self.generations[path[1]]}
        )

    def _put_allocations(self, consumer: str, body: Any, context: Any) -> str:
        if body['consumer_generation'] != self.generations.get(consumer):
            return self._conflict(context)
        self.allocations[consumer] = {
            provider: dict(held['resources'])
            for provider, held in body['allocations'].items()
        }
        if not self.allocations[consumer]:
            del self.allocations[consumer], self.generations[consumer]
        else:
            self.touch(consumer)
        context.status_code = 204
        return ''

    @staticmethod
    def _conflict(context: Any) -> str:
        context.status_code = 409
        error = {
            'status': 409,
            'code': 'placement.concurrent_update',
            'detail': 'generation conflict',
        }
        return json.dumps({'errors': [error]})

    def _part(self, request: Any, context: Any) -> Any:
        path = self._path(request)
        if path[0] == 'allocations':
            return self._consumer(path[1])
        if path[1] not in self.providers:
            context.status_code = 404
            return {'errors': [{'status': 404, 'detail': 'No such provider'}]}
        return getattr(self, f'_{path[2]}')(path[1])

    def _consumer(self, consumer: str) -> Any:
        held = self.allocations.get(consumer, {})
        body: dict[str, Any] = {
            'allocations': {
                provider: {'generation': 1, 'resources': amounts}
                for provider, amounts in held.items()
            }
        }
        if held:
            project, user = self.owners.get(consumer, ('p' * 32, 'u' * 32))
            body |= {
                'consumer_generation': self.generations.get(consumer, 1),
                'project_id': project,
                'user_id': user,
                'consumer_type': self.consumer_types.get(consumer, 'unknown'),
            }
        return body

    def _inventories(self, found: str) -> Any:
        return {
            'resource_provider_generation': self.generations.get(found, 1),
            'inventories': self._inventory(found),
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
