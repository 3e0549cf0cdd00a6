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


"""Measure how long it takes to drain a host with 20 GPU servers.

    tools/bench_drain.py [--servers 20] [--parallel 1,2,4] [--slow 2.0]

On a sandbox of its own with 20 hosts: all servers start on one of them, half
with one GPU and half with two. The bound is what cannot be undercut: the
longest server, or the sum of all divided by how many move at once. A server's
own time ends when it has moved; what a repair waits for Nova comes after it.
Requests are those to Nova and Placement, counted by proxies in front of them.
Between two runs the servers are brought back by ``gpu host undrain
--return``, which is measured as well. Nothing is asserted.
"""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SANDBOX = pathlib.Path(sys.executable).parent / 'osc-gpu-sandbox'
HOSTS = 20
SOURCE = 'rack1'

TIMEOUT = '600'


@dataclasses.dataclass(frozen=True)
class Run:
    """One command that moved all servers; seconds, and a server's own."""

    what: str
    parallel: int
    seconds: float
    servers: Sequence[float]
    requests: int
    failed: int

    @property
    def bound(self) -> float:
        """Seconds that no order of the moves undercuts."""
        return max(max(self.servers), sum(self.servers) / self.parallel)


def _topology(servers: int) -> str:
    """Return the cloud: the source has a card for every GPU."""

    def host(name: str, cards: int) -> dict[str, Any]:
        return {
            'name': name,
            'memory_mb': 65536,
            'cards': [
                {
                    'type': 'PCI',
                    'vendor_id': '10de',
                    'product_id': '20b5',
                    'address': f'0000:{0x20 + number:02x}:00.0',
                }
                for number in range(cards)
            ],
        }

    hosts = [host(SOURCE, servers // 2 * 3 + servers % 2)]
    hosts += [host(f'rack{n}', 4) for n in range(2, HOSTS + 1)]
    alias = {'name': 'a100', 'vendor_id': '10de', 'product_id': '20b5'}
    return json.dumps({'hosts': hosts, 'aliases': [alias]})


def _sandbox(*argv: str) -> None:
    subprocess.run(
        [str(SANDBOX), *argv], check=True, stdout=subprocess.DEVNULL
    )


@contextlib.contextmanager
def _cloud(servers: int) -> Iterator[None]:
    folder = pathlib.Path(tempfile.mkdtemp(prefix='osc-gpu-drain-'))
    topology = folder / 'topology.yaml'
    topology.write_text(_topology(servers))
    state = str(folder / 'state')
    os.environ['OSC_GPU_SANDBOX_STATE'] = state
    try:
        _sandbox('up', '--state', state, '--topology', str(topology))
        yield
    finally:
        _sandbox('down', '--state', state)
        shutil.rmtree(folder, ignore_errors=True)


def _measure(servers: int, parallels: Sequence[int], slow: float) -> list[Run]:
    """Fill the source, then drain it and bring all back, as often as asked."""
    from tests.functional import base
    from tests.functional import matrix
    from tests.functional import matrix_cases
    from tests.functional import wire

    runs: list[Run] = []

    class Bench(matrix.TestCase):
        def setUp(self) -> None:
            super().setUp()
            self.placement_api = wire.Proxy(self.spec.url('placement'))
            self.addCleanup(self.placement_api.stop)
            self.clouds = self.write_clouds(
                compute_endpoint_override=self.nova.url,
                placement_endpoint_override=self.placement_api.url,
            )

        def runTest(self) -> None:
            for number in range(servers):
                kind = ('alias', 'alias 2')[number % 2]
                self.launch(matrix_cases.KINDS[kind], SOURCE)
            for parallel in parallels:
                if slow:
                    self.control.set_fault(
                        {
                            'point': 'source',
                            'error': 'slow',
                            'seconds': slow,
                            'times': 10**6,
                        }
                    )
                self.one(parallel, 'drain', SOURCE)
                self.one(parallel, 'undrain', SOURCE, '--return')

        def one(self, parallel: int, *argv: str) -> None:
            apis = (self.nova, self.placement_api)
            for api in apis:
                api.requests.clear()
            began = time.monotonic()
            result = self.openstack(
                'gpu', 'host', *argv, '--parallel', str(parallel),
                '--wait', str(base.PERIOD), '--timeout', TIMEOUT, '-f', 'json',
            )  # fmt: skip
            seconds = time.monotonic() - began
            if not result.stdout:
                self.fail(result.stderr)
            rows = result.json
            runs.append(
                Run(
                    argv[0],
                    parallel,
                    seconds,
                    [row['Duration'] or 0 for row in rows],
                    sum(len(api.requests) for api in apis),
                    sum(row['Result'] != 'migrated' for row in rows),
                )
            )
            print(runs[-1], file=sys.stderr)

    result = unittest.TestResult()
    Bench().run(result)
    for _case, trace in result.errors + result.failures:
        print(trace, file=sys.stderr)
    return runs


def _print(runs: Sequence[Run]) -> None:
    head = (
        'command', 'parallel', 'servers', 'failed', 'seconds', 'bound',
        'longest', 'requests', 'per server',
    )  # fmt: skip
    print('  '.join(f'{word:>10}' for word in head))
    for run in runs:
        count = len(run.servers)
        cells = (
            run.what,
            run.parallel,
            count,
            run.failed,
            f'{run.seconds:.1f}',
            f'{run.bound:.1f}',
            f'{max(run.servers):.1f}',
            run.requests,
            f'{run.requests / count:.1f}',
        )
        print('  '.join(f'{cell!s:>10}' for cell in cells))


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description='Measure drains of a host')
    parser.add_argument('--servers', type=int, default=20)
    parser.add_argument('--parallel', default='1,2,4')
    parser.add_argument(
        '--slow',
        type=float,
        default=0,
        help='seconds that each server takes longer on the source',
    )
    options = parser.parse_args(argv)
    parallels = [int(word) for word in options.parallel.split(',')]
    # Whoever ends us must not leave a sandbox behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _cloud(options.servers):
        runs = _measure(options.servers, parallels, options.slow)
    _print(runs)
    return 0 if len(runs) == 2 * len(parallels) else 1


if __name__ == '__main__':
    sys.path.insert(0, str(ROOT))
    sys.exit(main(sys.argv[1:]))
