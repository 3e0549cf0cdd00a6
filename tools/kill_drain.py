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

"""Kill a drain of six servers at every request, and run it again each time.

Two hosts take turns. After each: the host is empty, each server is there once
with all that it asks for, nothing else is held, and nothing is locked.

With --chains a drain is killed again and again, each run at its nth request
from the first one that changes something, until a run is over before that:
so each nth request after each change of the cloud is met.
"""

import argparse
from collections.abc import Iterator
import itertools
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

if TYPE_CHECKING:
    from tests.functional import killing

_BIN = pathlib.Path(sys.executable).parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--every', type=int, default=1, metavar='<n>')
    parser.add_argument('--first', type=int, default=1, metavar='<n>')
    parser.add_argument('--last', type=int, default=None, metavar='<n>')
    parser.add_argument(
        '--writes',
        action='store_true',
        help='count only requests that change something',
    )
    parser.add_argument(
        '--chains',
        action='store_true',
        help='kill the runs that follow, too; numbers count from each '
        "run's first change",
    )
    parser.add_argument('--parallel', default='3', metavar='<servers>')
    parser.add_argument('--method', metavar='<method>')
    parser.add_argument('--cards', type=int, default=6, metavar='<n>')
    parser.add_argument('--release', metavar='<release>')
    asked = parser.parse_args()
    # The sandbox is to be taken down in any case.
    signal.signal(signal.SIGTERM, lambda *_args: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix='osc-gpu-kill-') as folder:
        state = pathlib.Path(folder, 'state')
        os.environ['OSC_GPU_SANDBOX_STATE'] = str(state)
        from tests.functional import killing

        topology = pathlib.Path(folder, 'topology.yaml')
        topology.write_text(killing.topology(asked.cards))
        release = ['--release', asked.release] if asked.release else []
        sandbox = str(_BIN / 'osc-gpu-sandbox')
        try:
            subprocess.run(
                [sandbox, 'up', '--state', str(state),
                 '--topology', str(topology), *release],
                check=True,
                stdout=subprocess.DEVNULL,
            )  # fmt: skip
            return _kill(asked)
        finally:
            subprocess.run([sandbox, 'down', '--state', str(state)])


def _kill(asked: argparse.Namespace) -> int:
    from tests.functional import base
    from tests.functional import killing

    class Case(base.TestCase):
        def runTest(self) -> None:
            pass

    case = Case()
    case.setUp()
    fleet = killing.start(case)
    rig = killing.Rig(case)
    options = ['--parallel', asked.parallel]
    if asked.method:
        options += ['--method', asked.method]
    numbers: Iterator[int] = itertools.count(asked.first, asked.every)
    if asked.last:
        numbers = itertools.takewhile(lambda n: n <= asked.last, numbers)
    play = _chains if asked.chains else _points
    try:
        killed, bad = play(asked, rig, fleet, numbers, options)
    finally:
        rig.stop()
    print(f'killed {killed} times, not whole after running again: {bad}')
    return bool(bad)


def _points(
    asked: argparse.Namespace,
    rig: 'killing.Rig',
    fleet: 'killing.Fleet',
    numbers: Iterator[int],
    options: list[str],
) -> tuple[int, int]:
    from tests.functional import killing

    killed = bad = 0
    whens = itertools.cycle((killing.AFTER, killing.BEFORE))
    counting = killing.WRITES if asked.writes else killing.ALL
    for point in killing.points(
        rig,
        fleet,
        zip(numbers, whens, strict=False),
        *options,
        counting=counting,
    ):
        killed += point.is_killed
        bad += bool(point.troubles)
        print(
            f'{point.number:4} {point.when:6} {point.seconds:6.1f} s '
            f'{"killed" if point.is_killed else "ended "} {point.request}',
            flush=True,
        )
        _say_troubles(point.troubles)
    return killed, bad


def _chains(
    asked: argparse.Namespace,
    rig: 'killing.Rig',
    fleet: 'killing.Fleet',
    numbers: Iterator[int],
    options: list[str],
) -> tuple[int, int]:
    from tests.functional import killing

    killed = bad = 0
    for chain in killing.chains(rig, fleet, numbers, *options):
        killed += len(chain.kills)
        bad += bool(chain.troubles)
        print(
            f'{chain.number:4} killed {len(chain.kills):2} times '
            f'{chain.seconds:6.1f} s',
            flush=True,
        )
        for request in chain.kills:
            print(f'       {request}')
        _say_troubles(chain.troubles)
        if not chain.kills:
            break
    return killed, bad


def _say_troubles(troubles: tuple[str, ...]) -> None:
    for trouble in troubles:
        print(f'       ! {trouble}', flush=True)


if __name__ == '__main__':
    sys.exit(main())
