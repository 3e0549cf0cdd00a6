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

import threading
from typing import NamedTuple

from osc_gpu.cloud import audit_model
from osc_gpu.cloud import migration_state
from osc_gpu.cloud import migration_steps
from osc_gpu.cloud import placement
from osc_gpu.cloud import servers

#: What takes away what a server holds of the host that it leaves.
_TAKING = (
    migration_steps.MIGRATE,
    migration_steps.LIVE,
    migration_steps.SHELVE,
    migration_steps.OFFLOAD,
)
#: What ends with an update of that host.
_UPDATING = (
    migration_steps.CONFIRM,
    migration_steps.LIVE,
    migration_steps.SHELVE,
    migration_steps.OFFLOAD,
)

#: Record statuses of a migration that has begun on its source: what the
#: server held there is its migration's by then.
_BEGUN = ('migrating', 'post-migrating', 'running', 'running (post-copy)')


class _Step(NamedTuple):
    """A step of a server that leaves a host.

    ``takes`` PCI devices from it; ``updates`` it in Placement.
    """

    host: str
    takes: bool
    updates: bool

    def clashes(self, other: '_Step') -> bool:
        return self.host == other.host and (
            (self.takes and other.updates) or (self.updates and other.takes)
        )


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
        self._steps: dict[str, _Step] = {}

    def take(self, server: servers.GpuServer, host: str, step: str) -> bool:
        """Take a step on the host that a server leaves, if it may be now."""
        if not self._are_needed:
            return True
        wanted = _Step(
            host,
            step in _TAKING and bool(server.gpu_request.aliases),
            step in _UPDATING,
        )
        with self._lock:
            if any(
                wanted.clashes(other)
                for server_id, other in self._steps.items()
                if server_id != server.id
            ):
                return False
            self._steps[server.id] = wanted
            return True

    def look(self, state: migration_state.State) -> None:
        """End a server's step, or what it takes, if that is over."""
        server_id, newest = state.server.id, state.newest
        if state.stand == migration_state.BUSY:
            with self._lock:
                step = self._steps.get(server_id)
                if step and newest and newest.status in _BEGUN:
                    self._steps[server_id] = step._replace(takes=False)
        elif state.stand != migration_state.SHELVED or not state.server.host:
            self.end(server_id)

    def end(self, server_id: str) -> None:
        """End a server's step."""
        with self._lock:
            self._steps.pop(server_id, None)
