#!/usr/bin/env python3
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

"""Measure how long a sandbox takes to come up and go, and its memory.

    tools/measure_sandbox.py --runs 5 --release 2026.2 -- --hosts 20

What follows ``--`` goes to ``osc-gpu-sandbox up``. Each run has a state
folder of its own; the release is installed before the first one.
"""

import argparse
from collections.abc import Sequence
import dataclasses
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from osc_gpu.sandbox import releases  # noqa: E402


@dataclasses.dataclass(frozen=True)
class Run:
    """One life of a sandbox: seconds, and MiB while it idles."""

    up: float
    down: float
    pss: float
    rss: float


def _sandbox(*words: str) -> tuple[float, str]:
    """Run a command of the sandbox; return its seconds and its output."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, '-m', 'osc_gpu.sandbox.shell', *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return time.monotonic() - began, done.stdout


def _memory(pid: int) -> tuple[float, float]:
    """Return a process' share (PSS) and its resident memory (RSS) in MiB."""
    text = pathlib.Path(f'/proc/{pid}/smaps_rollup').read_text()
    fields = dict(
        line.split(':', 1) for line in text.splitlines() if ':' in line[:20]
    )
    return tuple(int(fields[key].split()[0]) / 1024 for key in ('Pss', 'Rss'))  # type: ignore[return-value]


def measure(release: str, settle: float, options: Sequence[str]) -> Run:
    """Start a sandbox, let it settle, weigh it, end it."""
    with tempfile.TemporaryDirectory() as state:
        where = ('--state', state)
        try:
            up, _text = _sandbox('up', *where, '--release', release, *options)
            time.sleep(settle)
            _seconds, text = _sandbox('status', *where, '-f', 'json')
            pids = [item['pid'] for item in json.loads(text)['services']]
            memory = [_memory(pid) for pid in pids]
        finally:
            down, _text = _sandbox('down', *where)
    return Run(
        up, down, *(sum(column) for column in zip(*memory, strict=True))
    )


def show(runs: Sequence[Run]) -> None:
    """Print a table with a line for each run, and their medians."""
    print(
        f'{"run":>6} {"up s":>7} {"down s":>7} {"PSS MiB":>8} {"RSS MiB":>8}'
    )
    rows = [(str(n), dataclasses.astuple(r)) for n, r in enumerate(runs, 1)]
    columns = zip(*(row for _name, row in rows), strict=True)
    rows.append(('median', tuple(map(statistics.median, columns))))
    for name, (up, down, pss, rss) in rows:
        print(f'{name:>6} {up:7.1f} {down:7.2f} {pss:8.0f} {rss:8.0f}')


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--runs', metavar='<count>', type=int, default=3)
    parser.add_argument(
        '--release',
        metavar='<release>',
        choices=releases.RELEASES,
        default=releases.DEFAULT,
    )
    parser.add_argument(
        '--settle',
        metavar='<seconds>',
        type=float,
        default=5.0,
        help='idle time before memory is measured',
    )
    parser.add_argument('options', metavar='<up-option>', nargs='*')
    options = parser.parse_args(argv)
    _sandbox('install', '--release', options.release)
    show(
        [
            measure(options.release, options.settle, options.options)
            for _run in range(max(1, options.runs))
        ]
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
