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

"""Nova's host aggregates."""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses

from openstack import connection

from osc_gpu.cloud import aggregate_specs
from osc_gpu.cloud import rest


@dataclasses.dataclass(frozen=True)
class Aggregate:
    """A host aggregate; ``hosts`` are those of compute services."""

    name: str
    hosts: tuple[str, ...]
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def is_zone(self) -> bool:
        """Whether it is an availability zone."""
        return bool(self.metadata.get('availability_zone'))


def read(conn: connection.Connection) -> tuple[Aggregate, ...]:
    """Read all host aggregates, in one request."""
    body = rest.get(conn.compute, '/os-aggregates', '2.1')
    return tuple(
        Aggregate(
            name=found['name'],
            hosts=tuple(sorted(found['hosts'])),
            metadata=found['metadata'],
        )
        for found in body['aggregates']
    )


def values(
    found: Iterable[Aggregate],
) -> Mapping[str, Mapping[str, frozenset[str]]]:
    """Return what aggregates say of each compute service's host, by key."""
    by_host: dict[str, list[Mapping[str, str]]] = {}
    for aggregate in found:
        for host in aggregate.hosts:
            by_host.setdefault(host, []).append(aggregate.metadata)
    return {h: aggregate_specs.values(held) for h, held in by_host.items()}
