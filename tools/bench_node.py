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

"""Measure how long a compute node's facts take to read.

    tools/bench_node.py --devices 1000 --runs 5

Writes the files of two nodes below a folder: one where all devices are GPUs,
and one where eight are. Ends with 1 if a read takes a second.
"""

import argparse
from collections.abc import Iterator
import dataclasses
import pathlib
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from osc_gpu.node import facts  # noqa: E402
from osc_gpu.node import records  # noqa: E402
from osc_gpu.node import sources  # noqa: E402
from tests.unit.node import machines  # noqa: E402
from tests.unit.node import recorded  # noqa: E402

MOST_SECONDS = 1.0


def machine(devices: int, gpus: int) -> recorded.Machine:
    """Return a machine with devices, the first of which are GPUs."""
    like = machines.MACHINES['mi300x']
    gpu = like.devices[-1]
    port = recorded.Device('', '8086:2030', '060400', driver='pcieport')

    def some() -> Iterator[recorded.Device]:
        for number in range(devices):
            bus = f'{number >> 8:04x}:{number & 0xFF:02x}:00.0'
            yield dataclasses.replace(
                gpu if number < gpus else port, address=bus, group=number
            )

    return dataclasses.replace(like, devices=tuple(some()))


def main() -> int:
    parser = argparse.ArgumentParser(
        description='Measure how long the facts of a compute node take'
    )
    parser.add_argument('--devices', type=int, default=1000)
    parser.add_argument('--runs', type=int, default=5)
    args = parser.parse_args()
    worst = 0.0
    for gpus in (args.devices, 8):
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name) / 'root'
            root.mkdir()
            recorded.write(machine(args.devices, gpus), root)
            file = pathlib.Path(name) / 'node.json'
            node = facts.read(root)
            if len(node.gpus) != gpus:
                parser.error(f'{len(node.gpus)} GPUs found, not {gpus}')
            file.write_text(records.as_text(node))
            for what, read, path in (
                ('files', facts.read, root),
                ('JSON', sources.read_file, file),
            ):
                seconds = []
                for _run in range(args.runs):
                    began = time.perf_counter()
                    read(path)
                    seconds.append(time.perf_counter() - began)
                median = statistics.median(seconds)
                worst = max(worst, median)
                print(
                    f'{args.devices} devices, {gpus} GPUs, from {what}: '
                    f'{median:.3f} s (best {min(seconds):.3f})'
                )
    return int(worst >= MOST_SECONDS)


if __name__ == '__main__':
    sys.exit(main())
