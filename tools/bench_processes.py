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

"""Processes of the shell on the cloud that ``bench_scale.py`` measures."""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import bench_cloud
import bench_nova
from osc_gpu.sandbox import spec

ROOT = pathlib.Path(__file__).resolve().parent.parent

#: A process that loads the shell and logs in, and does nothing else.
IDLE = ('token', 'issue', '-f', 'json')


@dataclasses.dataclass(frozen=True)
class Run:
    """One process: seconds, peak MiB, requests to Placement and to Nova."""

    seconds: float
    mib: float
    placement: int
    nova: int
    status: int
    output: str
    errors: str


def _tool(name: str) -> str:
    return str(pathlib.Path(sys.executable).with_name(name))


class Bench:
    """A sandbox whose Placement is filled and whose Nova is replayed."""

    def __init__(self, state: pathlib.Path, nova: bench_nova.Replay) -> None:
        found = spec.read(state)
        assert found is not None  # noqa: S101
        self.nova = nova
        self.url = found.url('placement')
        self.log = found.logs / 'placement.log'
        self.filler = bench_cloud.Filler(state / 'db' / 'placement.sqlite')
        clouds = spec.clouds(found)
        clouds['sandbox-admin']['compute_endpoint_override'] = nova.url
        path = state / 'bench-clouds.yaml'
        # JSON is YAML.
        spec.write_private(path, json.dumps({'clouds': clouds}))
        self.environment = os.environ | {
            'OS_CLIENT_CONFIG_FILE': str(path),
            'OS_CLOUD': 'sandbox-admin',
        }

    def fill(self, number: int) -> tuple[bench_cloud.Host, ...]:
        """Let the cloud have so many hosts."""
        hosts = bench_cloud.invent(number)
        self.filler.fill(hosts)
        self.nova.show(hosts)
        return hosts

    def openstack(self, *words: str, program: str = '') -> Run:
        """Run a process of the shell to its end."""
        return self._run([program or _tool('openstack'), *words])

    def script(self, text: str) -> float:
        """Run a script with a token; return the seconds that it measured."""
        token = json.loads(self.openstack(*IDLE).output)['id']
        run = self._run([sys.executable, '-c', text, token, self.url])
        return float(run.output)

    def _run(self, argv: Sequence[str]) -> Run:
        asked = self._asked(0)
        self.nova.counts.clear()
        self.nova.connections = 0
        with (
            tempfile.TemporaryFile('w+') as output,
            tempfile.TemporaryFile('w+') as errors,
        ):
            began = time.perf_counter()
            process = subprocess.Popen(
                argv, stdout=output, stderr=errors, env=self.environment
            )
            _pid, status, used = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            errors.seek(0)
            return Run(
                seconds,
                used.ru_maxrss / 1024,
                self._asked(asked),
                self.nova.counts.total(),
                process.returncode,
                output.read(),
                errors.read(),
            )

    def _asked(self, before: int) -> int:
        """Return how many requests Placement has logged since."""
        with self.log.open('rb') as lines:
            return sum(b'placement.requestlog' in x for x in lines) - before


@contextlib.contextmanager
def sandbox(release: str) -> Iterator[pathlib.Path]:
    """Start a cloud of one host, and stop its Nova from changing anything."""

    def call(*words: str) -> None:
        command = [sys.executable, '-m', 'osc_gpu.sandbox.shell', *words]
        subprocess.run(
            [*command, '--state', folder],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    with tempfile.TemporaryDirectory() as folder:
        topology = pathlib.Path(folder, 'topology.yaml')
        topology.write_text(bench_cloud.TOPOLOGY)
        state = pathlib.Path(folder, 'state')
        folder = str(state)
        try:
            call('up', '--release', release, '--topology', str(topology))
            call('host', 'kill', 'pattern')
            yield state
        finally:
            call('down')
