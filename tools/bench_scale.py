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
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
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
from osc_gpu.sandbox import releases  # noqa: E402
from osc_gpu.sandbox import spec  # noqa: E402

#: Times the two bare requests that ``gpu inventory list`` may take.
MOST_RATIO = 1.5
MOST_MIB = 300

#: A process that loads the shell and logs in, and does nothing else.
IDLE = ('token', 'issue', '-f', 'json')
LIST = ('gpu', 'inventory', 'list', '-f', 'json')
TABLE = LIST[:3]
LONG = (*TABLE, '--long', '-f', 'json')
OTHERS = (
    LONG,
    (*LONG, '--parallel', '1'),
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


def _name(words: Sequence[str]) -> str:
    return ' '.join(words).removesuffix(' -f json')


def _check(words: Sequence[str], run: Run, cards: int, used: int) -> str:
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


def compare(bench: Bench, report: Report, runs: int, cards: int) -> float:
    """Measure the list against the two bare requests; return the latter."""
    taken: dict[str, list[float]] = {}
    for _round in range(runs):
        # In turns, so that whatever else the machine does hits all alike.
        taken.setdefault('bare', []).append(bench.script(BARE))
        for words in (IDLE, LIST, TABLE):
            run = bench.openstack(*words)
            taken.setdefault(_name(words), []).append(run.seconds)
            if words == TABLE:
                taken.setdefault('table', []).append(run.seconds)
    idle = taken[_name(IDLE)]
    bare = statistics.median(taken['bare'])
    report.line('two bare requests, decoded', bare, 's')
    report.line('the shell alone', statistics.median(idle), 's')
    for label, key in (('-f json', _name(LIST)), ('as a table', 'table')):
        own = statistics.median(taken[key]) - statistics.median(idle)
        report.line(
            f'gpu inventory list, {label}, without the shell', own, 's'
        )
        report.limit('  times the bare requests', own / bare, MOST_RATIO)
    pool = bench.script(POOL)
    report.line(f'8 threads, {2 * cards} requests', pool, 's')
    report.line('  times gpu inventory list', pool / own, 'x')
    return own


def grow(
    bench: Bench, report: Report, sizes: Sequence[int], runs: int
) -> None:
    """Measure every command on clouds of several sizes."""
    head = ('hosts', 'seconds', 'peak MiB', 'Placement', 'Nova')
    for words in (LIST, *OTHERS):
        print(f'\n{_name(words)} (seconds without the shell; requests)')
        print(''.join(f'{word:>11}' for word in head), flush=True)
        for number in sizes:
            hosts = bench.fill(number)
            servers = [made for host in hosts for made in host.servers]
            used = sum(len(made.cards) for made in servers)
            cards = number * bench_cloud.CARDS
            repeat = runs if words == LIST else 1
            idle = [bench.openstack(*IDLE).seconds for _ in range(repeat)]
            done = [bench.openstack(*words) for _ in range(repeat)]
            run = done[-1]
            wrong = _check(words, run, cards, used)
            if wrong:
                print(f'{number:11} not measured: {wrong}', flush=True)
                report.broken.append(_name(words))
                break
            seconds = statistics.median(one.seconds for one in done)
            own = seconds - statistics.median(idle)
            print(
                f'{number:11}{own:11.2f}{run.mib:11.0f}'
                f'{run.placement:11}{run.nova:11}',
                flush=True,
            )
            _show_unforeseen(bench.nova)
            if number == sizes[-1]:
                report.limit('peak MiB', run.mib, MOST_MIB)
                asked = run.placement + run.nova
                report.limit('requests for each GPU in use', asked / used, 1.1)


def _show_unforeseen(nova: bench_nova.Replay) -> None:
    for name, number in nova.counts.items():
        if name.startswith('NOT FORESEEN'):
            print(f'{"":11}{name}: {number}', flush=True)


def connections(bench: Bench, report: Report) -> None:
    """Count connections where requests are many, in the shell's own log."""
    bench.fill(25)
    log = bench.openstack(*LONG, '--debug').errors
    opened = log.count('Starting new HTTP connection')
    sent = bench.openstack(*LONG)
    print(f'\nconnections of gpu inventory list --long: {opened} for '
          f'{sent.placement + sent.nova} requests, and Keystone')  # fmt: skip
    report.limit('connections', opened, 8 + 3)


def shell_loop(
    bench: Bench, report: Report, hosts: int, scale: int, own: float
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
        sandbox(options.release) as state,
        bench_nova.Replay() as nova,
    ):
        bench = Bench(state, nova)
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
        connections(bench, report)
        if options.shell_hosts:
            shell_loop(bench, report, options.shell_hosts, options.hosts, own)
    for what in report.broken:
        print(f'broken: {what}')
    return 1 if report.broken else 0


if __name__ == '__main__':
    sys.exit(main())
