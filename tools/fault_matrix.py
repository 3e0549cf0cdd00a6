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


r"""Move GPU servers of every kind while everything fails, and judge.

    python tools/fault_matrix.py [--pci-off] [--release R] [--jobs N] \
        [--kinds "alias,alias 2"] [--faults "claim,source dies"]

Each case is played as ``tests/functional/matrix.py`` says, on sandboxes of
our own, side by side. What is printed is the table of the documentation
(contributor/faults.rst), the counts, and the story of each case that was not
healed. The exit status is 1 if a server was lost.
"""

import argparse
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from typing import Any
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SANDBOX = pathlib.Path(sys.executable).parent / 'osc-gpu-sandbox'

#: Seconds after which a case counts as one that hangs.
LIMIT = 400
#: What is none of matrix_cases.VERDICTS: the case itself failed.
BROKEN = 'broken'

TOPOLOGY = """\
hosts:
  - name: gpu1
    memory_mb: 65536
    cards: &cards
      - {type: PCI, vendor_id: 10de, product_id: 20b5, address: '0000:20:00.0'}
      - {type: PCI, vendor_id: 10de, product_id: 20b5, address: '0000:21:00.0'}
      - {type: PCI, vendor_id: 10de, product_id: 20b5, address: '0000:a0:00.0'}
      - {type: PCI, vendor_id: 10de, product_id: 20b5, address: '0000:a1:00.0'}
  - {name: gpu2, memory_mb: 65536, cards: *cards}
  - {name: gpu3, memory_mb: 65536, cards: *cards}
  - name: vgpu1
    memory_mb: 65536
    cards: &shared
      - {type: mdev, vendor_id: 10de, product_id: 13f2,
         address: '0000:41:00.0', mdev_types: [{name: nvidia-11}]}
      - {type: mdev, vendor_id: 10de, product_id: 13f2,
         address: '0000:c1:00.0', mdev_types: [{name: nvidia-11}]}
  - {name: vgpu2, memory_mb: 65536, cards: *shared}
  - {name: vgpu3, memory_mb: 65536, cards: *shared}
aliases:
  - {name: a100, vendor_id: 10de, product_id: 20b5}
"""

Case = tuple[str, str]
Results = dict[Case, dict[str, Any]]


def _parse(argv: list[str]) -> argparse.Namespace:
    from tests.functional import matrix_cases

    parser = argparse.ArgumentParser(description='Play the fault matrix')
    parser.add_argument('--pci-off', action='store_true')
    parser.add_argument('--release', help='release of OpenStack')
    parser.add_argument('--jobs', type=int, default=1)
    parser.add_argument('--kinds', default=','.join(matrix_cases.KINDS))
    parser.add_argument('--faults', default=','.join(matrix_cases.FAULTS))
    parser.add_argument('--log', type=pathlib.Path, help='append stories here')
    parser.add_argument('--work', action='store_true', help=argparse.SUPPRESS)
    return parser.parse_args(argv)


# One process that plays the cases which it is told, on its sandbox.


def _work() -> None:
    for line in sys.stdin:
        kind, fault = json.loads(line)
        print(json.dumps(_play(kind, fault)), flush=True)


def _play(kind: str, fault: str) -> dict[str, Any] | None:
    """Play a case; None if this sandbox cannot have it."""
    from tests.functional import matrix
    from tests.functional import matrix_cases

    class Player(matrix.TestCase):
        played: matrix_cases.Played | None = None

        def runTest(self) -> None:
            if self.plays(kind, fault):
                Player.played = self.play(kind, fault)

    result = unittest.TestResult()
    Player().run(result)
    played = Player.played
    for _case, trace in result.errors + result.failures:
        return {'verdict': BROKEN, 'seconds': 0, 'text': trace}
    if played is None:
        return None
    return {
        'verdict': played.verdict,
        'seconds': played.seconds,
        'text': str(played),
    }


# The process that tells them.


def _up(folder: pathlib.Path, options: argparse.Namespace) -> str:
    topology = folder / 'topology.yaml'
    topology.write_text(TOPOLOGY)
    state = str(folder / 'state')
    up = [str(SANDBOX), 'up', '--state', state, '--topology', str(topology)]
    if options.release:
        up += ['--release', options.release]
    if options.pci_off:
        up += ['--no-pci-in-placement']
    subprocess.run(up, check=True, stdout=subprocess.DEVNULL)
    return state


@contextlib.contextmanager
def _sandbox(options: argparse.Namespace) -> Iterator[str]:
    folder = pathlib.Path(tempfile.mkdtemp(prefix='osc-gpu-matrix-'))
    down = [str(SANDBOX), 'down', '--state', str(folder / 'state')]
    try:
        yield _up(folder, options)
    finally:
        subprocess.run(down, check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)


class _Worker:
    """A process of ours with a sandbox; a new one after it hung."""

    def __init__(self, state: str) -> None:
        self._env = os.environ | {'OSC_GPU_SANDBOX_STATE': state}
        self._is_over = False
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, '-W', 'ignore', __file__, '--work'],
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def play(self, case: Case) -> dict[str, Any] | None:
        process = self._process
        killer = threading.Timer(LIMIT, process.kill)
        killer.start()
        try:
            print(json.dumps(case), file=process.stdin, flush=True)
            answer = process.stdout.readline() if process.stdout else ''
        finally:
            killer.cancel()
        if answer:
            found: dict[str, Any] | None = json.loads(answer)
            return found
        if self._is_over:
            return None
        process.communicate()
        self._process = self._start()
        words = f'{" x ".join(case)}: no end after {LIMIT} s'
        return {'verdict': BROKEN, 'seconds': LIMIT, 'text': words}

    def stop(self) -> None:
        """End it, whatever it is doing."""
        self._is_over = True
        self._process.kill()
        self._process.wait()


class _Game:
    """All cases, those that play them, and how they went."""

    def __init__(
        self, options: argparse.Namespace, cases: Iterable[Case]
    ) -> None:
        self.results: Results = {}
        self._options = options
        self._cases = list(cases)
        self._workers: list[_Worker] = []
        self._failed: list[str] = []

    def play(self) -> None:
        """Play until there are no more cases, or we are interrupted."""
        threads = [
            threading.Thread(target=self._drive)
            for _n in range(self._options.jobs)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        finally:
            self._cases.clear()
            for worker in self._workers:
                worker.stop()
            for thread in threads:
                thread.join()
        if self._failed:
            raise RuntimeError(self._failed[0])

    def _drive(self) -> None:
        """Play cases on one sandbox."""
        try:
            with _sandbox(self._options) as state:
                worker = _Worker(state)
                self._workers.append(worker)
                try:
                    while self._play_next(worker):
                        pass
                finally:
                    worker.stop()
        except Exception:
            self._failed.append(traceback.format_exc())

    def _play_next(self, worker: _Worker) -> bool:
        """Play a case; tell whether there was one."""
        try:
            case = self._cases.pop(0)
        except IndexError:
            return False
        played = worker.play(case)
        if played is not None:
            self.results[case] = played
            _tell(case, played, self._options.log)
        return True


def _tell(
    case: Case, played: dict[str, Any], log: pathlib.Path | None
) -> None:
    line = f'{played["verdict"]:9} {played["seconds"]:5.0f} s  '
    print(line + ' x '.join(case), file=sys.stderr, flush=True)
    if log:
        with log.open('a') as stream:
            stream.write(f'{played["text"]}\n')


# What is printed.


def _table(results: Mapping[Case, dict[str, Any]]) -> str:
    kinds = list(dict.fromkeys(kind for kind, _fault in results))
    faults = list(dict.fromkeys(fault for _kind, fault in results))
    rows = [['fault', *kinds]]
    for fault in faults:
        cells = [results.get((kind, fault)) for kind in kinds]
        rows.append([fault, *(c['verdict'] if c else '--' for c in cells)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ' '.join('=' * width for width in widths)
    lines = [
        ' '.join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return '\n'.join([rule, lines[0], rule, *lines[1:], rule])


def _counts(results: Mapping[Case, dict[str, Any]], seconds: float) -> str:
    from tests.functional import matrix_cases

    verdicts = [played['verdict'] for played in results.values()]
    counts = ', '.join(
        f'{verdicts.count(verdict)} {verdict}'
        for verdict in (*matrix_cases.VERDICTS, BROKEN)
        if verdict in verdicts or verdict == matrix_cases.LOST
    )
    return f'{len(verdicts)} cases in {seconds / 60:.0f} min: {counts}'


def main(argv: list[str]) -> int:
    from tests.functional import matrix_cases

    options = _parse(argv)
    if options.work:
        _work()
        return 0
    began = time.monotonic()
    cases = list(
        itertools.product(options.kinds.split(','), options.faults.split(','))
    )
    for kind, fault in cases:
        if kind not in matrix_cases.KINDS or fault not in matrix_cases.FAULTS:
            sys.exit(f'no case {kind} x {fault}')
    game = _Game(options, cases)
    # Whoever ends us must not leave sandboxes behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        game.play()
    except KeyboardInterrupt:
        print('Interrupted: so far', file=sys.stderr)
    results = {c: game.results[c] for c in cases if c in game.results}
    if not results:
        return 1
    print(_table(results))
    print(f'\n{_counts(results, time.monotonic() - began)}')
    bad = (matrix_cases.REPORTED, matrix_cases.LOST, BROKEN)
    for played in results.values():
        if played['verdict'] in bad:
            print(f'\n{played["text"]}')
    lost = (matrix_cases.LOST, BROKEN)
    return int(any(p['verdict'] in lost for p in results.values()))


if __name__ == '__main__':
    sys.path.insert(0, str(ROOT))
    sys.exit(main(sys.argv[1:]))
