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

"""A cloud with a host to be drained, and servers of several kinds on it."""

import time
from typing import Any
from unittest import mock

from osc_gpu.cloud import drain
from osc_gpu.cloud import drain_return
from osc_gpu.cloud import drain_return_plan
from osc_gpu.cloud import moving
from tests.unit.cloud import moving_case
from tests.unit import fake_cloud

NOW = '2026-11-21T06:30:00Z'
A100 = moving_case.A100
PROJECT = fake_cloud.PROJECT
SOME = moving_case.SOME


class Killed(BaseException):
    """The process is killed."""


class TestCase(moving_case.TestCase):
    """gpu1, gpu2 and gpu3 with two A100 each; vgpu1, vgpu2 and cpu1."""

    def setUp(self) -> None:
        super().setUp()
        self.add_host('cpu1')
        self.clock = 0.0
        self.enterContext(
            mock.patch.object(time, 'monotonic', lambda: self.clock)
        )
        self.sleep.side_effect = self._let_pass

    def _let_pass(self, seconds: float) -> None:
        self.clock += seconds
        for server in tuple(self._doing):
            self.finish(server)
        self.periodic()

    def plain_server(self, name: str, host: str = 'gpu1', **more: Any) -> str:
        """Add a server without a GPU."""
        return self.add_server(
            name, {}, (self.root_of(host), SOME), host=host, **more
        )

    def service(self, host: str) -> Any:
        """Return what Nova has of a host's compute service."""
        return self._hypervisor(host)['service']

    def switch(self, host: str, reason: str | None) -> None:
        """Disable a host for a reason; enable it without."""
        status = 'disabled' if reason else 'enabled'
        self._hypervisor(host)['status'] = status
        self.service(host).update(status=status, disabled_reason=reason)

    def drain(self, host: str = 'gpu1', **task: Any) -> list[Any]:
        """Drain a host; return server name, result and host for each."""
        wanted = drain.Task(host, **({'at_once': 1, 'wait': 5} | task))
        prepared = drain.prepare(self.conn, wanted)
        blocked = [m.why for m in prepared.plan.moves if m.is_blocked]
        self.assertEqual([], blocked)
        drain.begin(self.conn, prepared)
        self.done = drain.carry_out(self.conn, prepared, self.said.append)
        return brief(self.done.outcomes)

    def bring_back(self, host: str = 'gpu1', **task: Any) -> list[Any]:
        """Undrain a host with --return; return the like."""
        wanted = drain_return_plan.Task(
            host, **({'at_once': 1, 'wait': 5} | task)
        )
        plan = drain_return_plan.read(self.conn, wanted)
        unfinished: moving.Outcomes = ()
        if plan.pending:
            unfinished = drain_return.finish(self.conn, plan, self.said.append)
            plan = drain_return_plan.read(self.conn, wanted)
        blocked = [m.why for m in plan.moves if m.is_blocked]
        self.assertEqual([], blocked)
        done = drain_return.carry_out(self.conn, plan, self.said.append)
        return brief((*unfinished, *done))

    def kill_at(self, number: int) -> None:
        """Have the process killed when this request has been answered."""
        self.disturb('', Killed(), after=number - 1, done=True)

    def assert_settled(self, server: str, host: str) -> None:
        """Check that a server is on a host, whole, and not locked."""
        self.finish(server)
        self.periodic()
        found = self.servers[server]
        self.assertEqual(host, self.host_of(server))
        self.assertIn(found['status'], ('ACTIVE', 'SHUTOFF'))
        self.assertFalse(found['locked'])
        held = dict(self.placement.allocations[server])
        self.assertEqual(SOME, held.pop(self.root_of(host)))
        self.assertEqual(self.used[server], held)

    def assert_nothing_leaked(self) -> None:
        """Check that nobody but servers holds anything."""
        self.assertLessEqual(
            set(self.placement.allocations), set(self.servers)
        )


def brief(outcomes: moving.Outcomes) -> list[Any]:
    return [
        (outcome.server.name, outcome.result, outcome.server.host)
        for outcome in outcomes
    ]
