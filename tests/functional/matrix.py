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


"""Moves of GPU servers that something goes wrong in, played and judged.

One case makes a server, has something fail while ``gpu server migrate`` moves
it, and then does what an operator would: run it again, have it recovered,
read what is said. The verdict is over the truth, as ``truth`` reads it.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import functools
import json
import re
import sqlite3
import threading
import time
from typing import Any

import openstack
from openstack import connection

from osc_gpu.sandbox import spec as specs
from tests.functional import base
from tests.functional import matrix_cases as cases
from tests.functional import matrix_wire
from tests.functional import truth
from tests.functional import wire

MIGRATE = ('gpu', 'server', 'migrate')
RECOVER = ('gpu', 'server', 'recover')

# "run again" alone is none.
_WAY_OUT = re.compile(r'openstack (gpu )?\w|UPDATE migrations|nova-manage')
_COMMAND = re.compile(
    r'openstack (server '
    r'(?:reboot --hard|stop|start|set --auto-approve --state active)'
    r' [0-9a-f-]{36})'
)
_LEFTOVER = re.compile(r'([\w.-]+): <instances_path>')
_STATEMENT = re.compile(r'(UPDATE migrations SET [^;]*;)')


class TestCase(wire.TestCase):
    """Plays cases on the sandbox, one at a time."""

    #: what the last command printed
    _said = ''
    _was_met = True
    _was_recovered = False

    make_proxy = matrix_wire.Proxy

    def play(self, kind: str, fault: str) -> cases.Played:
        """Play one case, and take away all that it made."""
        began = time.monotonic()
        self._story: list[str] = []
        self._was_recovered = False
        verdict = self._verdict(cases.KINDS[kind], cases.FAULTS[fault])
        return cases.Played(
            kind,
            fault,
            verdict,
            tuple(self._story),
            time.monotonic() - began,
            len(self.nova.requests),
        )

    def plays(self, kind: str, fault: str) -> bool:
        """Tell whether there is such a case on this sandbox."""
        if not cases.KINDS[kind].has_volume:
            return True
        return 'volume' in self.spec.ports and all(
            self._point(cases.KINDS[kind], cases.FAULTS[fault], order['point'])
            for order in cases.FAULTS[fault].orders
        )

    def _point(self, kind: cases.Kind, fault: cases.Fault, point: str) -> str:
        """Return where such a server meets a fault; '' if it does not.

        One on volumes is shelved, if a host is known to have room for it.
        """
        is_known = self.spec.topology['pci_in_placement'] or fault.is_targeted
        if kind.has_volume and is_known:
            return cases.SHELVING.get(point, '')
        return point

    def _verdict(self, kind: cases.Kind, fault: cases.Fault) -> str:
        server = self.launch(kind)
        source = str(truth.read(self, server).host)
        target = self.another(source)
        argv = [*MIGRATE, server, '--wait', str(base.PERIOD)]
        if fault.is_targeted:
            argv += ['--host', target]
        with self.going_wrong(kind, fault, server, source, target):
            status = self.tell(*argv, '--timeout', str(fault.timeout))
        # What died does nothing more.
        limit = fault.timeout if fault.dies else 60
        verdict = cases.AT_ONCE
        if status:
            verdict = cases.AGAIN
            status = self.tell(*argv, '--timeout', str(limit))
        if status:
            verdict = cases.RECOVERED
            status = self.recover(server, limit)
        if not status:
            wrong = self.judge(server, kind)
            self._story += wrong
            if not self._was_met:
                verdict = cases.MISSED
            return cases.LOST if wrong else verdict
        return self._reported(server, kind)

    def _reported(self, server: str, kind: cases.Kind) -> str:
        """Judge what was said of a server that no command healed.

        Statements for its database are carried out, else commands are run;
        then it has to be recovered.
        """
        found = truth.read(self, server)
        self._story.append(f'{found}')
        running = [g for g in found.guests if g['state'] == 'running']
        if len(running) > 1 or not _WAY_OUT.search(self._said):
            return cases.LOST
        statements = _STATEMENT.findall(self._said)
        commands = _COMMAND.findall(self._said)
        if statements:
            self._carry_out(statements)
        elif commands:
            for command in commands:
                self._story.append(f'$ {command}')
                self.openstack(*command.split())
                self.settle(server)
        else:
            return cases.REPORTED
        if self.recover(server):
            return cases.LOST
        wrong = self.judge(server, kind)
        self._story += wrong
        return cases.LOST if wrong else cases.REPORTED

    def _carry_out(self, statements: Sequence[str]) -> None:
        """Do as a database's admin is told, and wait for Nova's periodic."""
        path = self.state / 'db' / 'nova.sqlite'
        with (
            contextlib.closing(sqlite3.connect(path, timeout=30)) as database,
            database,
        ):
            for statement in statements:
                database.execute(statement)
        self._story += [f'sqlite> {statement}' for statement in statements]
        time.sleep(base.PERIOD)

    def recover(self, server: str, limit: int = 60) -> int:
        self._was_recovered = True
        return self.tell(
            *RECOVER, server,
            '--wait', str(base.PERIOD), '--timeout', str(limit),
        )  # fmt: skip

    def tell(self, *argv: str) -> int:
        """Run a command and remember what it said."""
        began = time.monotonic()
        result = self.openstack(*argv, '-f', 'json')
        self._said = f'{result.stdout}\n{result.stderr}'
        words = [result.stderr.strip()]
        with contextlib.suppress(ValueError):
            rows = json.loads(result.stdout)
            for row in rows if isinstance(rows, list) else [rows]:
                words += [
                    f'{key}: {row[key]}'
                    for key in row
                    if key.lower() not in ('id', 'name') and row[key]
                ]
        self._story.append(
            f'$ {" ".join(argv[1:3])} {" ".join(argv[4:])} -> '
            f'{result.status} ({time.monotonic() - began:.1f} s) '
            + ' | '.join(filter(None, words))
        )
        if 'Traceback' in result.stderr:
            self._said = ''
        return result.status

    # A server of a kind.

    @property
    def in_placement(self) -> bool:
        return bool(self.spec.topology['pci_in_placement'])

    @functools.cached_property
    def member(self) -> connection.Connection:
        """The tenant's connection."""
        clouds = specs.clouds(self.spec)
        return openstack.connect(
            load_envvars=False, **clouds['sandbox-member']
        )

    def launch(self, kind: cases.Kind, host: str = '') -> str:
        """Make a server as a tenant does, or on a host; return its ID."""
        name = self.name('matrix')
        flavor = self.admin.compute.create_flavor(
            name=name, vcpus=1, ram=512, disk=0 if kind.has_volume else 1
        )
        self.addCleanup(self.admin.compute.delete_flavor, flavor)
        self.admin.compute.create_flavor_extra_specs(flavor, dict(kind.specs))
        image = self.admin.image.find_image('cirros', ignore_missing=False)
        network = self.admin.network.find_network(
            'private', ignore_missing=False
        )
        device = {
            'uuid': image.id,
            'source_type': 'image',
            'destination_type': 'volume' if kind.has_volume else 'local',
            'boot_index': 0,
            'delete_on_termination': True,
        }
        more: dict[str, Any] = {}
        if kind.has_volume:
            device['volume_size'] = 1
        else:
            more['image_id'] = image.id
        if host:
            more['availability_zone'] = f'nova:{host}'
        self.addCleanup(self.clear, name)
        compute = (self.admin if host else self.member).compute
        server = str(
            compute.create_server(
                name=name,
                flavor_id=flavor.id,
                block_device_mapping=[device],
                networks=[{'uuid': network.id}],
                **more,
            ).id
        )
        self.settle(server, 'active')
        if kind.is_off:
            compute.stop_server(server)
            self.settle(server, 'stopped')
        return server

    def settle(self, server: str, *states: str) -> truth.Truth:
        """Wait until Nova is through with a server; it is in such a state."""

        def settled() -> truth.Truth | None:
            with contextlib.suppress(LookupError):
                found = truth.read(self, server)
                return found if found.is_settled else None
            return None

        found: truth.Truth = base.wait_until(f'{server} settled', settled)
        if states and found.state not in states:
            raise AssertionError(f'{server} is {found}')
        return found

    def clear(self, name: str) -> None:
        """Take a server away, and what its migrations left behind."""
        migrations: set[str] = set()
        for server in self.admin.compute.servers(
            all_projects=True, name=f'^{name}$'
        ):
            with contextlib.suppress(LookupError):
                migrations.update(truth.read(self, server.id).migrations)
        self.forget_servers(name)
        for uuid in migrations:
            self.admin.placement.delete(f'/allocations/{uuid}')

    def another(self, source: str) -> str:
        """Return another host with the same cards."""
        cards = {
            host['name']: {
                (card['type'], card['product_id']) for card in host['cards']
            }
            for host in self.spec.topology['hosts']
        }
        return next(
            name
            for name, found in cards.items()
            if name != source and found == cards[source]
        )

    # What goes wrong.

    @contextlib.contextmanager
    def going_wrong(
        self,
        kind: cases.Kind,
        fault: cases.Fault,
        server: str,
        source: str,
        target: str,
    ) -> Iterator[None]:
        """Have a fault while a command runs, and heal the cloud after it."""
        for order in fault.orders:
            point = self._point(kind, fault, order['point'])
            self.control.set_fault(order | {'point': point, 'server': server})
        over = threading.Event()
        dead = {'source': source, 'target': target}.get(fault.dies, '')
        killer = threading.Thread(target=self._kill, args=(dead, over))
        if dead:
            killer.start()
        self.nova.meet = matrix_wire.Meeting(
            fault, lambda: self._close(source)
        ).meet
        try:
            yield
        finally:
            over.set()
            self.nova.meet = lambda action: None
            hits = [fault['hits'] for fault in self.control.faults()]
            self._was_met = any(hits) or not hits
            self.control.clear_faults()
            if dead:
                killer.join()
                if self.control.status()['hosts'][dead]['state'] == 'down':
                    self.control.change_host(dead, 'start')
            if fault.closes:
                self._open()

    def _kill(self, host: str, over: threading.Event) -> None:
        while not over.wait(0.1):
            if any(fault['hits'] for fault in self.control.faults()):
                self.control.change_host(host, 'kill')
                return

    def _close(self, source: str) -> None:
        compute = self.admin.compute
        for service in compute.services(binary='nova-compute'):
            if service.host != source:
                compute.disable_service(service, disabled_reason='full')

    def _open(self) -> None:
        compute = self.admin.compute
        for service in compute.services(binary='nova-compute'):
            if service.status == 'disabled':
                compute.enable_service(service)

    # The judge.

    def judge(self, server: str, kind: cases.Kind) -> list[str]:
        """Say what is wrong with a server that is said to be well.

        It is as it was before, by Nova, Placement and libvirt, and still is
        after it was stopped and started; the audit has nothing to say.
        """
        wrong = self.troubles(server, kind)
        found = truth.read(self, server)
        states = {'stopped' if kind.is_off else 'active'}
        if self._was_recovered:
            # Whether it starts can be known by starting it only.
            states.add('active')
        if not wrong and found.state not in states:
            wrong.append(f'it was left {found.state}')
        ours = {server, *found.migrations}
        check = self.openstack('gpu', 'inventory', 'check', '-f', 'json')
        wrong += [
            f'the audit says {row["Detail"]}'
            for row in check.json
            if any(uuid in json.dumps(row) for uuid in ours)
        ]
        return wrong or self.restart(server, kind, found.state)

    def troubles(self, server: str, kind: cases.Kind) -> list[str]:
        """Say what is wrong now, and still after Nova's next periodic."""

        def look() -> list[str]:
            found = self._without_leftovers(truth.read(self, server))
            return truth.troubles(found, kind.wanted, self.in_placement)

        deadline = time.monotonic() + base.PERIOD
        while (wrong := look()) and time.monotonic() < deadline:
            time.sleep(1)
        return wrong

    def _without_leftovers(self, found: truth.Truth) -> truth.Truth:
        """Overlook what we said is left for somebody with a shell."""
        hosts = {*_LEFTOVER.findall(self._said)} - {found.host}
        return dataclasses.replace(
            found,
            guests=tuple(
                guest
                for guest in found.guests
                if guest['state'] != 'shutoff' or guest['host'] not in hosts
            ),
        )

    def restart(self, server: str, kind: cases.Kind, state: str) -> list[str]:
        """Stop and start a server; say what is wrong with it then."""
        compute = self.admin.compute
        if state == 'active':
            compute.stop_server(server)
            self.settle(server, 'stopped')
        compute.start_server(server)
        found = self.settle(server)
        if found.state != 'active':
            return [f'started, it is {found.state}']
        return [f'started: {words}' for words in self.troubles(server, kind)]
