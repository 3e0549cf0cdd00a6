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

"""A cloud of three hosts with cards, and servers that are to be moved."""

from typing import Any

from osc_gpu.cloud import migration
from osc_gpu.cloud import migration_state
from osc_gpu.cloud import migration_steps
from osc_gpu.cloud import servers
from tests.unit.cloud import wire
from tests.unit import fake_moves

A100 = fake_moves.A100
SOME = {'VCPU': 1, 'MEMORY_MB': 128, 'DISK_GB': 1}


class TestCase(fake_moves.TestCase, wire.TestCase):
    """gpu1, gpu2 and gpu3 with two A100 each; vgpu1 and vgpu2."""

    def setUp(self) -> None:
        super().setUp()
        self.nova.add('g1', fake_moves.ALIAS)
        for number in (1, 2, 3):
            self.add_cards(self.add_host(f'gpu{number}'), 2)
        for number in (1, 2):
            self.add_vgpus(self.add_host(f'vgpu{number}'), 2)
        self.said: list[str] = []
        self.run_ = self.new_run()

    def new_run(self, timeout: float = 600) -> migration.Run:
        world = migration_state.read_world(self.conn)
        return migration.Run(self.conn, world, timeout, self.said.append)

    def read(self, server: str) -> servers.GpuServer:
        return servers.parse(self.servers[server])

    def order(self, server: str, **changes: Any) -> migration_steps.Order:
        """Return an order to move a server from where it is."""
        found = self.read(server)
        wanted = {'server': found, 'run': 'abc', 'source': found.host}
        return migration_steps.Order(**(wanted | changes))

    def move(self, server: str, **changes: Any) -> migration.Outcome:
        """Move a server that is on gpu1."""
        order = self.order(server, **({'source': 'gpu1'} | changes))
        return migration.move(self.run_, order)

    def vgpu_server(self, name: str) -> str:
        root = self.root_of('vgpu1')
        (card,) = (
            found
            for found, provider in self.placement.providers.items()
            if provider['parent'] == root
        )
        return self.add_server(
            name,
            {'resources:VGPU': '1'},
            (root, SOME),
            (card, {'VGPU': 1}),
            host='vgpu1',
        )

    def remove(self, server: str) -> None:
        """Delete a server with all that it has."""
        self.finish(server)
        del self.servers[server]
        self.placement.allocations.clear()
        self.migrations.clear()
        self.faults.clear()

    def assert_whole(self, server: str, host: str) -> None:
        """Check that a server is there, holds what it uses, and no more."""
        self.finish(server)
        self.assertEqual(host, self.host_of(server))
        self.assertIn(self.servers[server]['status'], ('ACTIVE', 'SHUTOFF'))
        self.assertIsNone(self.servers[server][fake_moves.TASK])
        self.assertEqual({server}, set(self.placement.allocations))
        held = self.placement.allocations[server]
        root = self.root_of(host)
        self.assertEqual(SOME, held[root])
        devices = {u: a for u, a in held.items() if u != root}
        self.assertEqual(self.used[server], devices)
        for device in devices:
            self.assertEqual(root, self.placement.providers[device]['root'])
