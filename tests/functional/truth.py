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


"""What is true of a server that was moved, and what is wrong with it.

From Nova's database, Placement and the guests' libvirt, never from a command
of ours.
"""

from collections.abc import Mapping
import contextlib
import dataclasses
import re
import sqlite3
from typing import Any

from tests.functional import base

_ENDED = ('confirmed', 'reverted', 'error', 'failed', 'completed', 'done')
_ADDRESS = re.compile(
    r'_(?:pci_)?([0-9a-f]{4})[:_]([0-9a-f]{2})[:_]([0-9a-f]{2})[._]([0-7])$',
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a server's flavor asks for: whole devices, and vGPUs."""

    devices: int = 0
    vgpus: int = 0


@dataclasses.dataclass(frozen=True)
class Truth:
    """Where a server is, and what it has there.

    ``rows`` are those of pci_devices: host, address, status. ``held`` and
    ``leaked`` (by migration) name providers; ``open`` are the statuses of
    migrations that have not ended.
    """

    state: str
    task: str | None
    host: str | None
    is_locked: bool
    guests: tuple[Mapping[str, Any], ...]
    rows: frozenset[tuple[str, str, str]]
    held: Mapping[str, Mapping[str, int]]
    leaked: Mapping[str, Mapping[str, Mapping[str, int]]]
    open: tuple[str, ...]
    migrations: tuple[str, ...]

    @property
    def is_settled(self) -> bool:
        """Whether Nova has nothing more to do."""
        return not (
            self.task
            or self.state == 'building'
            or {*self.open} - {'finished'}
        )


def read(case: base.TestCase, server: str) -> Truth:
    """Read all that there is to know of a server.

    :raises LookupError: no cell has it yet, or any more
    """
    path = case.state / 'db' / 'nova.sqlite'
    with contextlib.closing(
        sqlite3.connect(f'file:{path}?mode=ro', uri=True, timeout=30)
    ) as database:
        instance = database.execute(
            'SELECT vm_state, task_state, host, locked FROM instances'
            ' WHERE uuid = ? AND deleted = 0',
            [server],
        ).fetchone()
        if instance is None:
            raise LookupError(server)
        rows = database.execute(
            'SELECT n.host, p.address, p.status FROM pci_devices p'
            ' JOIN compute_nodes n ON n.id = p.compute_node_id'
            ' WHERE p.instance_uuid = ? AND p.deleted = 0',
            [server],
        ).fetchall()
        migrations = database.execute(
            'SELECT uuid, status FROM migrations WHERE instance_uuid = ?',
            [server],
        ).fetchall()
    held = {uuid: case.allocations(uuid) for uuid, _status in migrations}
    return Truth(
        state=instance[0],
        task=instance[1],
        host=instance[2],
        is_locked=bool(instance[3]),
        guests=tuple(
            guest | {'host': host}
            for host, guests in case.control.guests().items()
            for guest in guests
            if guest['uuid'] == server
        ),
        rows=frozenset(rows),
        held=case.allocations(server),
        leaked={uuid: found for uuid, found in held.items() if found},
        open=tuple(s for _uuid, s in migrations if s not in _ENDED),
        migrations=tuple(uuid for uuid, _status in migrations),
    )


def troubles(
    truth: Truth, wanted: Wanted, pci_in_placement: bool = True
) -> list[str]:
    """Say what is wrong with a server; nothing if it is as it should be."""
    found = []
    if truth.state not in ('active', 'stopped') or truth.task:
        found.append(f'it is {truth.state}, {truth.task or "idle"}')
    if truth.open:
        found.append(f'migrations are {", ".join(truth.open)}')
    if truth.leaked:
        found.append(f'migrations hold {dict(truth.leaked)}')
    if truth.is_locked:
        found.append('it is locked')
    found += _of_guests(truth, wanted)
    addresses = {
        address
        for host, address, status in truth.rows
        if (host, status) == (truth.host, 'allocated')
    }
    if len(truth.rows) != wanted.devices or len(addresses) != wanted.devices:
        found.append(f'Nova gives it {sorted(truth.rows)}')
    found += _of_placement(truth, wanted, pci_in_placement)
    return found


def _of_guests(truth: Truth, wanted: Wanted) -> list[str]:
    where = [(guest['host'], guest['state']) for guest in truth.guests]
    if truth.state != 'active':
        # Nova may, or may not, keep the definition of one that is shut off.
        is_right = where in ([], [(truth.host, 'shutoff')])
        return [] if is_right else [f'its guests are {where}']
    if where != [(truth.host, 'running')]:
        return [f'it is on {truth.host}, its guests are {where}']
    (guest,) = truth.guests
    mine = sorted(a for _host, a, _status in truth.rows)
    found = []
    if sorted(guest['devices']) != mine:
        found.append(f'its guest has {guest["devices"]}, Nova says {mine}')
    mdevs = sorted(str(mdev['parent']) for mdev in guest['mdevs'])
    if len(mdevs) != wanted.vgpus or mdevs != _addresses(truth, 'VGPU'):
        found.append(f'its guest has the vGPUs {mdevs} of {wanted.vgpus}')
    return found


def _of_placement(
    truth: Truth, wanted: Wanted, pci_in_placement: bool
) -> list[str]:
    others = [
        name
        for name in truth.held
        if name != truth.host and not name.startswith(f'{truth.host}_')
    ]
    pci = _addresses(truth, 'CUSTOM_')
    mine = sorted(address for _host, address, _status in truth.rows)
    if (
        others
        or truth.host not in truth.held
        or len(_addresses(truth, 'VGPU')) != wanted.vgpus
        or pci != (mine if pci_in_placement else [])
    ):
        return [f'it holds {dict(truth.held)}']
    return []


def _addresses(truth: Truth, prefix: str) -> list[str]:
    """Return the address of each unit that is held of some classes."""
    found = []
    for name, amounts in truth.held.items():
        if matched := _ADDRESS.search(name):
            address = '{}:{}:{}.{}'.format(*matched.groups()).lower()
            for resource_class, amount in amounts.items():
                if resource_class.startswith(prefix):
                    found += [address] * amount
    return sorted(found)
