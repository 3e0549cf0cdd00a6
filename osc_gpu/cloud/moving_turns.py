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

"""Which steps of servers that leave one host may overlap.

When nova-compute updates a host in Placement, it lists the consumers there
and then reads each. A server with a PCI alias that Nova begins to migrate in
between holds nothing for that moment; Nova takes that for a device that was
never reported, sends it without a project, and Placement refuses the update
(``get_allocations_for_provider_tree`` of nova/scheduler/client/report.py,
``update_allocations`` of nova/compute/pci_placement_translator.py). Then the
server is in ERROR whose confirmation or live migration asked for the update.
"""

from collections.abc import Iterable
import threading

from osc_gpu.cloud import audit_model
from osc_gpu.cloud import migration_state
from osc_gpu.cloud import migration_steps
from osc_gpu.cloud import placement
from osc_gpu.cloud import servers

#: what takes away what a server holds of the host that it leaves
_TAKES = frozenset((migration_steps.MIGRATE,))
#: what ends with an update of that host
_UPDATES = frozenset((migration_steps.CONFIRM, migration_steps.LIVE))
#: what does both
_BOTH = frozenset((migration_steps.SHELVE, migration_steps.OFFLOAD))

#: Record statuses of a migration that has begun on its source: what the
#: server held there is its migration's by then.
_BEGUN = ('migrating', 'post-migrating')


class Turns:
    """The steps under way, of all servers that one command moves.

    :param world: without PCI devices in Placement nobody has to wait
    """

    def __init__(self, world: audit_model.Snapshot) -> None:
        self._are_needed = any(
            placement.is_pci_device(provider.name)
            for provider in world.providers.values()
        )
        self._lock = threading.Lock()
        self._steps: dict[str, tuple[str, str]] = {}

    def take(self, server: servers.GpuServer, host: str, step: str) -> bool:
        """Take a step on the host that a server leaves, if it may be now."""
        kind = _kind(server, step)
        if not self._are_needed or not kind:
            return True
        with self._lock:
            others = [
                other
                for server_id, (where, other) in self._steps.items()
                if where == host and server_id != server.id
            ]
            if not _go_together(kind, others):
                return False
            self._steps[server.id] = host, kind
            return True

    def look(self, state: migration_state.State) -> None:
        """End a server's step if it is over by what is seen."""
        newest = state.newest
        if state.stand == migration_state.BUSY:
            is_over = newest is not None and newest.status in _BEGUN
        else:
            is_over = not (
                state.stand == migration_state.SHELVED and state.server.host
            )
        if is_over:
            self.end(state.server.id)

    def end(self, server_id: str) -> None:
        """End a server's step."""
        with self._lock:
            self._steps.pop(server_id, None)


def _kind(server: servers.GpuServer, step: str) -> str:
    if step in _UPDATES:
        return 'updates'
    if step in _BOTH:
        return 'both' if server.gpu_request.aliases else 'updates'
    if step in _TAKES and server.gpu_request.aliases:
        return 'takes'
    return ''


def _go_together(kind: str, others: Iterable[str]) -> bool:
    return all(kind == other != 'both' for other in others)
