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

"""The cloud that ``bench_scale.py`` measures: invented, the same every time.

One host that Nova itself reported to Placement, with a card of each kind, is
the pattern of all others.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import pathlib
import sqlite3
import uuid

CARDS = 8
#: Cards in use on each of five hosts in a row: 24 of 40, which is 60 %.
_SERVERS = (
    (2, 1, 1, 1, 1, 1, 1),
    (2, 1, 1, 1, 1),
    (2, 1, 1, 1),
    (1, 1, 1, 1),
    (1,),
)
_RACK = 25
_PROJECTS = 20
_NOW = '2026-01-01 00:00:00'


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of card, with the bus of its pattern in ``TOPOLOGY``."""

    name: str
    resource_class: str
    bus: str
    is_mdev: bool = False

    def device(self, host: str, bus: str) -> str:
        """Return what Nova calls the provider of a card."""
        if self.is_mdev:
            return f'{host}_pci_0000_{bus}_00_0'.lower()
        return f'{host}_0000:{bus}:00.0'.upper().replace(host.upper(), host)


KINDS = (
    Kind('a100', 'CUSTOM_PCI_10DE_20B5', '20'),
    Kind('h100', 'CUSTOM_PCI_10DE_2330', '30'),
    Kind('l40s', 'CUSTOM_PCI_10DE_26B9', '40'),
    Kind('vgpu', 'VGPU', '50', is_mdev=True),
)

#: What the sandbox is told: one host with everything.
TOPOLOGY = """\
hosts:
  - name: pattern
    vcpus: 128
    memory_mb: 1048576
    disk_gb: 10000
    cards:
      - {type: PCI, vendor_id: 10de, product_id: 20b5, address: '0000:20:00.0'}
      - {type: PCI, vendor_id: 10de, product_id: '2330',
         address: '0000:30:00.0'}
      - {type: PCI, vendor_id: 10de, product_id: 26b9, address: '0000:40:00.0'}
      - type: mdev
        vendor_id: 10de
        product_id: 25b6
        address: '0000:50:00.0'
        mdev_types: [{name: nvidia-11, instances: 4}]
aliases:
  - {name: a100, vendor_id: 10de, product_id: 20b5}
  - {name: h100, vendor_id: 10de, product_id: '2330'}
  - {name: l40s, vendor_id: 10de, product_id: 26b9}
"""


@dataclasses.dataclass(frozen=True)
class Flavor:
    """A flavor of so many GPUs; MiB and GiB."""

    name: str
    specs: dict[str, str]
    vcpus: int
    ram: int
    disk: int


@dataclasses.dataclass(frozen=True)
class Server:
    """A server; ``cards`` are indexes of those of its host."""

    id: str
    name: str
    flavor: Flavor
    cards: tuple[int, ...]
    project: str


@dataclasses.dataclass(frozen=True)
class Host:
    """A host with ``CARDS`` cards of one kind."""

    id: str
    name: str
    kind: Kind
    servers: tuple[Server, ...]

    def device(self, card: int) -> str:
        """Return the name of a card's provider."""
        return self.kind.device(self.name, f'{0x20 + card:02x}')


def _uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def flavors() -> dict[tuple[str, int], Flavor]:
    """Return a flavor for each kind and each of 1, 2, 4 and 8 GPUs."""
    found = {}
    for kind in KINDS:
        for number in (1, 2, 4, 8):
            specs = {'pci_passthrough:alias': f'{kind.name}:{number}'}
            if kind.is_mdev:
                specs = {
                    f'resources{i}:VGPU': '1' for i in range(1, number + 1)
                } | {'group_policy': 'isolate'}
            found[kind.name, number] = Flavor(
                f'{kind.name}.{number}',
                specs,
                12 * number,
                98304 * number,
                200 * number,
            )
    return found


def invent(number: int) -> tuple[Host, ...]:
    """Return so many hosts; racks of them have the same kind of card."""
    of = flavors()
    hosts = []
    for index in range(number):
        kind = KINDS[index // _RACK % len(KINDS)]
        name = f'gpu{index:04}'
        servers: list[Server] = []
        taken = 0
        for size in _SERVERS[index % len(_SERVERS)]:
            label = f'{name}-{kind.name}-{taken}'
            servers.append(
                Server(
                    _uuid(label),
                    label,
                    of[kind.name, size],
                    tuple(range(taken, taken + size)),
                    _uuid(f'project {(index + taken) % _PROJECTS}'),
                )
            )
            taken += size
        hosts.append(Host(_uuid(name), name, kind, tuple(servers)))
    return tuple(hosts)


class _Pattern:
    """Inventories and traits of the provider that Nova reported."""

    def __init__(self, database: sqlite3.Connection, name: str) -> None:
        ((number,),) = database.execute(
            'SELECT id FROM resource_providers WHERE name = ?', (name,)
        ).fetchall()
        self.stocks = database.execute(
            'SELECT resource_class_id, total, reserved, min_unit, max_unit, '
            'step_size, allocation_ratio FROM inventories '
            'WHERE resource_provider_id = ?',
            (number,),
        ).fetchall()
        self.traits = database.execute(
            'SELECT trait_id FROM resource_provider_traits '
            'WHERE resource_provider_id = ?',
            (number,),
        ).fetchall()


_TABLES = (
    'allocations',
    'consumers',
    'users',
    'projects',
    'inventories',
    'resource_provider_traits',
    'resource_provider_aggregates',
    'resource_providers',
)


class Filler:
    """Puts invented hosts into the database of a real Placement."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        with self._open() as database:
            self.root = _Pattern(database, 'pattern')
            self.cards = {
                kind.name: _Pattern(database, kind.device('pattern', kind.bus))
                for kind in KINDS
            }
            self.classes = dict(
                database.execute('SELECT name, id FROM resource_classes')
            )

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(
            sqlite3.connect(self.path, timeout=60)
        ) as database:
            with database:
                yield database

    def fill(self, hosts: Sequence[Host]) -> None:
        """Replace whatever there is, in one transaction."""
        with self._open() as database:
            database.execute('BEGIN IMMEDIATE')
            for table in _TABLES:
                database.execute(f'DELETE FROM {table}')  # noqa: S608
            for index, host in enumerate(hosts):
                self._add_host(database, host, 1 + index * (1 + CARDS))

    def _add_host(
        self, database: sqlite3.Connection, host: Host, root: int
    ) -> None:
        self._add_provider(database, host.id, host.name, root, root, self.root)
        for card in range(CARDS):
            name = host.device(card)
            self._add_provider(
                database,
                _uuid(name),
                name,
                root + 1 + card,
                root,
                self.cards[host.kind.name],
            )
        for server in host.servers:
            self._add_server(database, host, server, root)

    def _add_provider(
        self,
        database: sqlite3.Connection,
        provider: str,
        name: str,
        number: int,
        root: int,
        pattern: _Pattern,
    ) -> None:
        parent = None if number == root else root
        database.execute(
            'INSERT INTO resource_providers VALUES (?,?,?,?,?,?,?,?)',
            (_NOW, _NOW, number, provider, name, 1, root, parent),
        )
        database.executemany(
            'INSERT INTO inventories VALUES (?,?,NULL,?,?,?,?,?,?,?,?)',
            [(_NOW, _NOW, number, *stock) for stock in pattern.stocks],
        )
        database.executemany(
            'INSERT INTO resource_provider_traits VALUES (?,?,?,?)',
            [(_NOW, _NOW, trait, number) for (trait,) in pattern.traits],
        )

    def _add_server(
        self,
        database: sqlite3.Connection,
        host: Host,
        server: Server,
        root: int,
    ) -> None:
        for table in ('projects', 'users'):
            database.execute(
                f'INSERT OR IGNORE INTO {table} VALUES (?,?,NULL,?)',  # noqa: S608
                (_NOW, _NOW, server.project),
            )
        database.execute(
            'INSERT INTO consumers SELECT ?,?,NULL,?,p.id,u.id,1,NULL '
            'FROM projects p, users u '
            'WHERE p.external_id = ? AND u.external_id = ?',
            (_NOW, _NOW, server.id, server.project, server.project),
        )
        held = [
            (root, 'VCPU', server.flavor.vcpus),
            (root, 'MEMORY_MB', server.flavor.ram),
            (root, 'DISK_GB', server.flavor.disk),
        ]
        held += [
            (root + 1 + card, host.kind.resource_class, 1)
            for card in server.cards
        ]
        database.executemany(
            'INSERT INTO allocations VALUES (?,?,NULL,?,?,?,?)',
            [
                (_NOW, _NOW, number, server.id, self.classes[name], amount)
                for number, name, amount in held
            ],
        )
