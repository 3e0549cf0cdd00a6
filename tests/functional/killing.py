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

"""Commands that are killed at any request, and what is left of servers.

Six servers of all kinds are driven from one host to another and back; each
drain is killed at another request, and run again. Then everything has to be
as if nothing had happened, by Placement, by Nova's database and by the
guests.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import itertools
import pathlib
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time

import openstack
import yaml

from osc_gpu.sandbox import spec as specs
from tests.functional import base
from tests.functional import truth
from tests.functional import wire

LEFT, RIGHT = 'left', 'right'

#: Kill the client when the cloud has done what it was asked for and not
#: answered yet, or when it has answered.
BEFORE, AFTER = 'before', 'after'

#: Which requests count until the one to be killed at: all of them, those that
#: change something, or all from the first of those on.
ALL, WRITES, SINCE = 'all', 'writes', 'since'

#: Times that one drain is killed, at most; each has changed something.
MOST_KILLS = 80

_WAIT = ('--wait', str(base.PERIOD))

#: Seconds that a whole drain may take.
LIMIT = 900.0

_CARD = (
    '{{type: PCI, vendor_id: 10de, product_id: 20b5,'
    ' address: "0000:2{}:00.0"}}'
)
_SHARED = (
    '{type: mdev, vendor_id: 10de, product_id: 13f2, address: "0000:41:00.0",'
    ' mdev_types: [{name: nvidia-11, instances: 4}]}'
)
#: Finding.check of what says nothing of servers.
_HARMLESS = ('unused-class', 'host-disabled')

Spec = Mapping[str, str]


def topology(cards: int = 6) -> str:
    """Return a topology of two hosts that are alike."""
    own = [_CARD.format(number) for number in range(cards)] + [_SHARED]
    lines = ''.join(f'      - {card}\n' for card in own)
    hosts = ''.join(
        f'  - name: {name}\n    cards:\n{lines}' for name in (LEFT, RIGHT)
    )
    alias = '{name: a100, vendor_id: 10de, product_id: 20b5}'
    return f'hosts:\n{hosts}aliases:\n  - {alias}\n'


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of server: what its flavor asks for."""

    name: str
    specs: Spec
    wanted: truth.Wanted
    is_off: bool = False


_ONE = {'pci_passthrough:alias': 'a100:1'}

_SHARE = {'resources:VGPU': '1'}

KINDS = (
    Kind('one', _ONE, truth.Wanted(devices=1)),
    Kind('two', {'pci_passthrough:alias': 'a100:2'}, truth.Wanted(devices=2)),
    Kind('off', _ONE, truth.Wanted(devices=1), is_off=True),
    Kind('vgpu', _SHARE, truth.Wanted(vgpus=1)),
    Kind('other', _SHARE, truth.Wanted(vgpus=1)),
    Kind('plain', {}, truth.Wanted()),
)


@dataclasses.dataclass(frozen=True)
class Killed:
    """What came of a command; ``request`` is the one that it died at.

    ``requests`` are all that it made, until then.
    """

    result: base.Result
    requests: tuple[str, ...]

    @property
    def is_killed(self) -> bool:
        return self.result.status == -signal.SIGKILL


#: The APIs that a Rig stands in front of, each with its path.
_APIS = {'compute': '/v2.1', 'placement': ''}


class Rig:
    """Commands on a sandbox, with a trigger in front of its APIs."""

    def __init__(
        self, case: base.TestCase, apis: Mapping[str, str] = _APIS
    ) -> None:
        self.case = case
        self._stack = contextlib.ExitStack()
        self._lock = threading.Lock()
        self._asked: list[str] = []
        self._at = 0
        self._counted = 0
        self._counting = ALL
        #: the thread that serves the request to be killed at
        self._chosen = 0
        self._when = AFTER
        self._process: subprocess.Popen[str] | None = None
        endpoints = {}
        for name, path in apis.items():
            proxy = wire.Proxy(f'{case.spec.url(name)}{path}')
            self._stack.callback(proxy.stop)
            proxy.before = lambda request: self._reached(BEFORE, request)
            proxy.after = lambda request: self._reached(AFTER, request)
            endpoints[f'{name}_endpoint_override'] = proxy.url
        folder = self._stack.enter_context(tempfile.TemporaryDirectory())
        clouds = specs.clouds(case.spec)
        self._clouds = pathlib.Path(folder, 'clouds.yaml')
        self._clouds.write_text(
            yaml.safe_dump(
                {'clouds': {k: v | endpoints for k, v in clouds.items()}}
            )
        )

    def stop(self) -> None:
        self._stack.close()

    def _reached(self, when: str, request: str) -> None:
        """Count a request, and kill the client if it is the one."""
        with self._lock:
            if when == BEFORE:
                self._asked.append(request)
                if self._counts(request):
                    self._counted += 1
                    if self._counted == self._at:
                        self._chosen = threading.get_ident()
            # Others may be under way.
            is_it = when == self._when and (
                threading.get_ident() == self._chosen
            )
            if is_it and self._process and self._process.poll() is None:
                self._chosen = 0
                self._process.send_signal(signal.SIGKILL)
                self._process.wait()

    def _counts(self, request: str) -> bool:
        if request.startswith('GET '):
            return self._counting == ALL or (
                self._counting == SINCE and self._counted > 0
            )
        return True

    def run(
        self,
        *argv: str,
        at: int = 0,
        when: str = AFTER,
        counting: str = ALL,
        user: str = 'admin',
    ) -> Killed:
        """Run ``openstack <argv>``; kill it at a request, if that is given.

        :param counting: ALL, WRITES or SINCE
        """
        with self._lock:
            self._asked.clear()
            self._at, self._when = at, when
            self._counted, self._counting = 0, counting
            self._chosen = 0
            process = self._process = base.begin(
                *argv,
                env={
                    'OS_CLIENT_CONFIG_FILE': str(self._clouds),
                    'OS_CLOUD': specs.cloud(user),
                },
            )
        try:
            out, err = process.communicate(timeout=LIMIT)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        result = base.Result(process.returncode, out, err)
        with self._lock:
            asked = tuple(self._asked)
        return Killed(result, asked)


class Fleet:
    """Servers of all kinds that a tenant has."""

    def __init__(
        self, case: base.TestCase, kinds: Sequence[Kind] = KINDS
    ) -> None:
        self.case = case
        self.kinds = kinds
        self.servers: dict[str, Kind] = {}

    def launch(self, host: str) -> None:
        """Launch them on a host, by letting no other one take them."""
        other = RIGHT if host == LEFT else LEFT
        self._set_service(other, 'disabled')
        clouds = specs.clouds(self.case.spec)
        member = openstack.connect(
            load_envvars=False, **clouds[specs.cloud('member')]
        )
        image = member.image.find_image('cirros').id
        for kind in self.kinds:
            server = member.compute.create_server(
                name=kind.name,
                flavor_id=self._make_flavor(kind),
                image_id=image,
                networks='none',
            )
            self.servers[server.id] = kind
            # Nova may give the same card to two that it builds at once, and
            # has no other host for the second one.
            self._wait(server.id, 'ACTIVE')
            if kind.is_off:
                member.compute.stop_server(server.id)
                self._wait(server.id, 'SHUTOFF')
        self._set_service(other, 'enabled')

    def _make_flavor(self, kind: Kind) -> str:
        compute = self.case.admin.compute
        flavor = compute.create_flavor(
            name=self.case.name(kind.name), vcpus=1, ram=256, disk=1
        )
        if kind.specs:
            compute.create_flavor_extra_specs(flavor, dict(kind.specs))
        found: str = flavor.id
        return found

    def _wait(self, server_id: str, status: str) -> None:
        base.wait_until(
            f'{server_id} {status}',
            lambda: (
                self.case.admin.compute.get_server(server_id).status == status
            ),
        )

    def _set_service(self, host: str, status: str) -> None:
        compute = self.case.admin.compute
        (found,) = compute.services(binary='nova-compute', host=host)
        compute.put(
            f'/os-services/{found.id}',
            json={'status': status},
            microversion='2.53',
        )

    def troubles(self, empty: str) -> list[str]:
        """Say what is not as it should be with a host empty."""
        found = []
        for server, kind in self.servers.items():
            seen = truth.read(self.case, server)
            found += [
                f'{kind.name}: {trouble}'
                for trouble in truth.troubles(seen, kind.wanted)
            ]
            if seen.host == empty:
                found.append(f'{kind.name}: it is on {empty}')
            if (seen.state == 'stopped') != kind.is_off:
                found.append(f'{kind.name}: it is {seen.state}')
        guests = self.case.control.guests()[empty]
        found += [f'a guest on {empty}: {guest}' for guest in guests]
        path = self.case.state / 'db' / 'nova.sqlite'
        with contextlib.closing(
            sqlite3.connect(f'file:{path}?mode=ro', uri=True, timeout=30)
        ) as database:
            (count,) = database.execute(
                'SELECT COUNT(*) FROM instances WHERE deleted = 0'
            ).fetchone()
            claimed = database.execute(
                'SELECT p.address, p.status FROM pci_devices p'
                ' JOIN compute_nodes n ON n.id = p.compute_node_id'
                " WHERE n.host = ? AND p.status != 'available'",
                [empty],
            ).fetchall()
        if count != len(self.servers):
            found.append(f'there are {count} servers')
        found += [f'a device of {empty} is still {row}' for row in claimed]
        return found + self._of_placement(empty)

    def _of_placement(self, empty: str) -> list[str]:
        """Say what is still held of a host that should be empty."""
        found = []
        providers = self.case.placement('/resource_providers')
        for provider in providers['resource_providers']:
            if provider['name'].startswith(empty):
                path = f'/resource_providers/{provider["uuid"]}/usages'
                used = self.case.placement(path)['usages']
                if any(used.values()):
                    found.append(f'{provider["name"]} is used: {used}')
        return found

    def findings(self, rig: Rig) -> list[str]:
        """Return what ``gpu inventory check`` finds wrong."""
        found = rig.run('gpu', 'inventory', 'check', '-f', 'json').result
        return [
            f'{row["Check"]} {row["Subject"]}: {row["Detail"]}'
            for row in found.json
            if row['Check'] not in _HARMLESS
        ]


@dataclasses.dataclass(frozen=True)
class Point:
    """A drain that was killed, and run again.

    ``request`` is the last that it made. Seconds are those of both runs.
    """

    number: int
    when: str
    is_killed: bool
    request: str
    troubles: tuple[str, ...]
    seconds: float


def points(
    rig: Rig,
    fleet: Fleet,
    numbers: Iterable[tuple[int, str]],
    *options: str,
    counting: str = ALL,
) -> Iterator[Point]:
    """Kill drains at these requests until one is over before its end.

    :param numbers: each with BEFORE or AFTER
    :param options: more of them for ``gpu host drain``
    :param counting: ALL or WRITES
    """
    hosts = itertools.cycle((LEFT, RIGHT))
    for (number, when), host in zip(numbers, hosts, strict=False):
        began = time.monotonic()
        argv = ('gpu', 'host', 'drain', host, *_WAIT, *options)
        first = rig.run(*argv, at=number, when=when, counting=counting)
        troubles: list[str] = []
        if first.is_killed:
            again = rig.run(*argv).result
            if again.status:
                troubles.append(f'run again: {again.stdout}{again.stderr}')
        elif first.result.status:
            troubles.append(f'{first.result.stdout}{first.result.stderr}')
        troubles += fleet.troubles(host) + fleet.findings(rig)
        rig.run('gpu', 'host', 'undrain', host)
        request = first.requests[-1] if first.requests else ''
        seconds = time.monotonic() - began
        yield Point(
            number, when, first.is_killed, request, tuple(troubles), seconds
        )
        if not first.is_killed:
            return


@dataclasses.dataclass(frozen=True)
class Chain:
    """A drain that was killed and run again until nothing was left to do.

    :param number: each run was killed at that request, counted from its first
        one that changes something
    :param kills: the last request of each run that was killed
    """

    number: int
    kills: tuple[str, ...]
    troubles: tuple[str, ...]
    seconds: float


def chains(
    rig: Rig, fleet: Fleet, numbers: Iterable[int], *options: str
) -> Iterator[Chain]:
    """Drain hosts with runs that are killed, each time, until one is not.

    :param numbers: as in Chain; the client is killed by turns BEFORE and
        AFTER it has the answer
    """
    for number, host in zip(
        numbers, itertools.cycle((LEFT, RIGHT)), strict=False
    ):
        began = time.monotonic()
        argv = ('gpu', 'host', 'drain', host, *_WAIT, *options)
        kills: list[str] = []
        for when in itertools.cycle((BEFORE, AFTER)):
            run = rig.run(*argv, at=number, when=when, counting=SINCE)
            if not run.is_killed or len(kills) == MOST_KILLS:
                break
            kills.append(run.requests[-1])
        troubles = [*fleet.troubles(host), *fleet.findings(rig)]
        if run.result.status:
            troubles.append(f'{run.result.stdout}{run.result.stderr}')
        rig.run('gpu', 'host', 'undrain', host)
        seconds = time.monotonic() - began
        yield Chain(number, tuple(kills), tuple(troubles), seconds)


def start(case: base.TestCase, kinds: Sequence[Kind] = KINDS) -> Fleet:
    """Launch servers on the left host."""
    fleet = Fleet(case, kinds)
    fleet.launch(LEFT)
    return fleet
