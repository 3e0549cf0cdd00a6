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

"""Measure the commands that read a whole cloud, on a large one.

    tools/bench_scale.py --hosts 1000 --runs 5

Starts a sandbox, fills its Placement with an invented cloud, puts a replay in
the place of Nova, and runs real ``openstack`` processes, side by side with
other ways to the same answer. Ends with 1 if a limit is broken.
"""

import argparse
from collections.abc import Sequence
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'tools')]

import bench_cloud  # noqa: E402
import bench_nova  # noqa: E402
import bench_processes  # noqa: E402
from osc_gpu.sandbox import releases  # noqa: E402

#: Times the two bare requests that ``gpu inventory list`` may take.
MOST_RATIO = 1.5
MOST_MIB = 300

LIST = ('gpu', 'inventory', 'list', '-f', 'json')
TABLE = LIST[:3]
LONG = (*TABLE, '--long', '-f', 'json')
OTHERS = (
    LONG,
    ('gpu', 'capacity', 'list', '-f', 'json'),
    ('gpu', 'inventory', 'check', '-f', 'json'),
)

# What a script of one's own does, at its best: connections kept alive, no
# shell. Both print seconds, from the first request to the last answer decoded.
_HEAD = """\
import sys, time
from concurrent import futures
import requests
token, url = sys.argv[1:]
session = requests.Session()
session.headers['X-Auth-Token'] = token
def get(path, version):
    headers = {'OpenStack-API-Version': f'placement {version}'}
    response = session.get(url + path, headers=headers)
    response.raise_for_status()
    return response.json()
began = time.perf_counter()
found = get('/resource_providers', '1.14')['resource_providers']
"""
_TAIL = 'print(time.perf_counter() - began)\n'
BARE = (
    _HEAD
    + "get('/allocation_candidates?resources=MEMORY_MB:1', '1.31')\n"
    + _TAIL
)
POOL = (
    _HEAD
    + """\
def ask(provider):
    for what in ('inventories', 'usages'):
        get(f'/resource_providers/{provider["uuid"]}/{what}', '1.14')
cards = [p for p in found if p['parent_provider_uuid']]
with futures.ThreadPoolExecutor(8) as pool:
    list(pool.map(ask, cards))
"""
    + _TAIL
)


def _name(words: Sequence[str]) -> str:
    return ' '.join(words).removesuffix(' -f json')


def _check(
    words: Sequence[str], run: bench_processes.Run, cards: int, used: int
) -> str:
    """Return what is wrong with what a command said, or ''."""
    if run.status not in (0, 1) or (run.status and not run.output):
        return (run.errors.strip() or f'exit {run.status}').splitlines()[-1]
    if words[:3] == LIST[:3] and '-f' in words:
        rows = json.loads(run.output)
        if (len(rows), sum(row['Used'] for row in rows)) != (cards, used):
            return 'wrong rows'
    return ''


class Report:
    """Prints lines, and remembers what broke a limit."""

    def __init__(self) -> None:
        self.broken: list[str] = []

    def limit(self, what: str, value: float, most: float) -> None:
        """Print a value beside its limit."""
        kept = value <= most
        print(f'{what:58} {value:9.2f}  limit {most:g}', flush=True)
        if not kept:
            self.broken.append(what)

    def line(self, what: str, value: float, unit: str) -> None:
        """Print a value."""
        print(f'{what:58} {value:9.2f}  {unit}', flush=True)


def compare(
    bench: bench_processes.Bench, report: Report, runs: int, cards: int
) -> float:
    """Measure the list against the two bare requests; return its seconds."""
    bare = []
    taken: dict[Sequence[str], list[float]] = {
        bench_processes.IDLE: [],
        LIST: [],
        TABLE: [],
    }
    for _round in range(runs):
        # In turns, so that whatever else the machine does hits all alike.
        bare.append(bench.script(BARE))
        for words, seconds in taken.items():
            seconds.append(bench.openstack(*words).seconds)
    limit = statistics.median(bare)
    idle = statistics.median(taken[bench_processes.IDLE])
    report.line('two bare requests, decoded', limit, 's')
    report.line('the shell alone', idle, 's')
    for words in (TABLE, LIST):
        own = statistics.median(taken[words]) - idle
        report.line(f'{" ".join(words)}, without the shell', own, 's')
        report.limit('  times the bare requests', own / limit, MOST_RATIO)
    pool = bench.script(POOL)
    report.line(f'8 threads, {2 * cards} requests', pool, 's')
    report.line('  times gpu inventory list', pool / own, 'x')
    return own


def grow(
    bench: bench_processes.Bench,
    report: Report,
    sizes: Sequence[int],
    runs: int,
) -> None:
    """Measure every command on clouds of several sizes."""
    head = ('hosts', 'seconds', 'peak MiB', 'Placement', 'Nova')
    for words in (LIST, *OTHERS):
        print(f'\n{_name(words)} (seconds without the shell; requests)')
        print(''.join(f'{word:>11}' for word in head), flush=True)
        taken: list[float] = []
        for number in sizes:
            hosts = bench.fill(number)
            servers = [made for host in hosts for made in host.servers]
            used = sum(len(made.cards) for made in servers)
            seconds, run = _measure(bench, words, runs if words == LIST else 1)
            wrong = _check(words, run, number * bench_cloud.CARDS, used)
            if wrong:
                print(f'{number:11} not measured: {wrong}', flush=True)
                report.broken.append(_name(words))
                break
            taken.append(seconds)
            print(
                f'{number:11}{seconds:11.2f}{run.mib:11.0f}'
                f'{run.placement:11}{run.nova:11}',
                flush=True,
            )
            _show_unforeseen(bench.nova)
        else:
            # What is the same at any size must not look like a curve.
            first, last = taken[1] - taken[0], taken[2] - taken[1]
            times = last / max(first, 0.01)
            report.line('second step to the first (2: linear)', times, 'x')
            report.limit('peak MiB', run.mib, MOST_MIB)
            asked = (run.placement + run.nova) / used
            report.limit('requests for each GPU in use', asked, 1.1)


def _measure(
    bench: bench_processes.Bench, words: Sequence[str], runs: int
) -> tuple[float, bench_processes.Run]:
    """Return the median seconds without the shell, and the last run."""
    idle = []
    done = []
    for _round in range(runs):
        idle.append(bench.openstack(*bench_processes.IDLE).seconds)
        done.append(bench.openstack(*words))
    seconds = statistics.median(run.seconds for run in done)
    return seconds - statistics.median(idle), done[-1]


def _show_unforeseen(nova: bench_nova.Replay) -> None:
    for name, number in nova.counts.items():
        if name.startswith('NOT FORESEEN'):
            print(f'{"":11}{name}: {number}', flush=True)


def side_by_side(
    bench: bench_processes.Bench, report: Report, number: int
) -> None:
    """Measure what ``--parallel`` brings, and count the connections."""
    bench.fill(number)
    idle = bench.openstack(*bench_processes.IDLE).seconds
    print(f'\n{_name(LONG)}, {number} hosts, without the shell')
    for most in ('1', '2', '8'):
        run = bench.openstack(*LONG, '--parallel', most)
        report.line(f'--parallel {most}', run.seconds - idle, 's')
    # The shell's own log tells of each connection that it opens.
    log = bench.openstack(*LONG, '--debug').errors
    opened = log.count('Starting new HTTP connection')
    print(f'connections for {run.placement + run.nova} requests', flush=True)
    # One each to Keystone and Nova, one to ask Placement for its versions.
    report.limit('with --parallel 8', opened, 8 + 3)


def shell_loop(
    bench: bench_processes.Bench,
    report: Report,
    hosts: int,
    scale: int,
    own: float,
) -> None:
    """Measure a loop over osc-placement's commands, one for each card."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        pip = [f'{folder}/bin/python', '-m', 'pip', 'install', '--quiet']
        try:
            subprocess.run(
                [*pip, 'osc-placement', 'python-openstackclient'],
                stderr=subprocess.DEVNULL,
                check=True,
            )
        except subprocess.CalledProcessError:
            print('\nosc-placement cannot be installed: not compared')
            return
        program = f'{folder}/bin/openstack'
        bench.fill(hosts)
        began = time.perf_counter()
        listed = bench.openstack(
            *('resource', 'provider', 'list', '-f', 'json'),
            *('--os-placement-api-version', '1.14'),
            program=program,
        )
        cards = [
            found['uuid']
            for found in json.loads(listed.output)
            if found['parent_provider_uuid']
        ]
        for card in cards:
            bench.openstack(
                *('resource', 'provider', 'inventory', 'list', card),
                program=program,
            )
        seconds = time.perf_counter() - began
    print()
    report.line(f'loop over osc-placement, {hosts} hosts', seconds, 's')
    scaled = seconds * scale / hosts
    report.line(f'  scaled to {scale} hosts', scaled, 's')
    report.line('  times gpu inventory list', scaled / own, 'x')


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--hosts', metavar='<count>', type=int, default=1000)
    parser.add_argument(
        '--runs',
        metavar='<count>',
        type=int,
        default=5,
        help='of what takes seconds; the median counts',
    )
    parser.add_argument(
        '--shell-hosts',
        metavar='<count>',
        type=int,
        default=50,
        help='to loop over with osc-placement; 0 for not at all',
    )
    parser.add_argument(
        '--release',
        metavar='<release>',
        choices=releases.RELEASES,
        default=releases.DEFAULT,
    )
    options = parser.parse_args(argv)
    # Whoever ends the script ends the sandbox with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    report = Report()
    with (
        bench_processes.sandbox(options.release) as state,
        bench_nova.Replay() as nova,
    ):
        bench = bench_processes.Bench(state, nova)
        hosts = bench.fill(options.hosts)
        cards = options.hosts * bench_cloud.CARDS
        servers = [made for host in hosts for made in host.servers]
        print(
            f'{os.cpu_count()} cores, Python {sys.version.split()[0]}, '
            f'OpenStack {options.release}\n{options.hosts} hosts, '
            f'{options.hosts + cards} providers, '
            f'{sum(len(made.cards) for made in servers)} GPUs in use by '
            f'{len(servers)} servers\n',
            flush=True,
        )
        own = compare(bench, report, options.runs, cards)
        sizes = [options.hosts // 4, options.hosts // 2, options.hosts]
        grow(bench, report, sizes, options.runs)
        side_by_side(bench, report, min(50, options.hosts))
        if options.shell_hosts:
            shell_loop(bench, report, options.shell_hosts, options.hosts, own)
    for what in report.broken:
        print(f'broken: {what}')
    return 1 if report.broken else 0


if __name__ == '__main__':
    sys.exit(main())
