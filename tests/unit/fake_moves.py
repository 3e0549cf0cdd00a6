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

"""A faked Nova that moves servers, one step whenever it is asked for one.

What it does is a generator for each request: until the first ``yield`` as
Nova's API does, then a step at each GET of the server, so that the records
that were read a moment before are always one step behind. It follows section
4 of the facts: status, task, host, record and allocations change as there,
and break as there where ``spoil`` says so.
"""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import hashlib
import json
import re
from typing import Any
from unittest import mock
from urllib import parse

import requests_mock

from osc_gpu.cloud import migration
from tests.unit import base
from tests.unit import fake_cloud

A100 = fake_cloud.A100
ALIAS = {'pci_passthrough:alias': 'a100:1'}
HOST = 'OS-EXT-SRV-ATTR:host'
TASK = 'OS-EXT-STS:task_state'

#: What Nova says of a claim that fails.
_NO_ROOM = 'Insufficient compute resources: Claim pci failed.'

Steps = Iterator[None]

#: In which statuses Nova takes on what.
_TAKEN_IN = {
    'migrate': ('ACTIVE', 'SHUTOFF'),
    'os-migrateLive': ('ACTIVE', 'PAUSED'),
    'confirmResize': ('VERIFY_RESIZE',),
    'revertResize': ('VERIFY_RESIZE',),
    'shelve': ('ACTIVE', 'SHUTOFF'),
    'shelveOffload': ('SHELVED',),
    'unshelve': ('SHELVED', 'SHELVED_OFFLOADED'),
    'os-stop': ('ACTIVE', 'ERROR'),
    'os-start': ('SHUTOFF',),
    'reboot': ('ACTIVE', 'SHUTOFF', 'ERROR'),
}


@dataclasses.dataclass
class Fault:
    """What answers a request instead.

    :param pattern: searched for in ``METHOD /path?query``
    :param answer: an HTTP status, or something to raise
    :param done: what was asked for is done all the same
    :param after: how many such requests pass before
    """

    pattern: str
    answer: int | BaseException | type[BaseException]
    done: bool = False
    after: int = 0
    times: int = 1


class TestCase(fake_cloud.TestCase):
    """A cloud whose servers move.

    ``doubles``: migrated servers hold a device too many (facts 0.4);
    ``offloads``: shelved servers leave their hosts at once. ``stale`` are the
    hosts on which Nova still counts devices as a server's, ``used`` the
    devices that its guest really has.
    """

    def setUp(self) -> None:
        super().setUp()
        self.doubles = False
        self.offloads = True
        self.stale: dict[str, set[str]] = {}
        self.used: dict[str, dict[str, dict[str, int]]] = {}
        self.faults: list[Fault] = []
        self._needs: dict[str, list[tuple[bool, dict[str, int]]]] = {}
        self._before: dict[str, str] = {}
        self._used_before: dict[str, dict[str, dict[str, int]]] = {}
        self._doing: dict[str, Steps] = {}
        self._spoilt: dict[str, list[str]] = {}
        self._seconds = 0
        nova = re.escape(base.COMPUTE)
        self.cloud.post(
            re.compile(f'{nova}/servers/[^/]+/action'), text=self._post
        )
        self.cloud.put(
            re.compile(f'{nova}/os-services/'), text=self._put_service
        )
        self.cloud.register_uri(
            requests_mock.ANY,
            requests_mock.ANY,
            additional_matcher=self._is_faulty,
            text=self._fail,
        )
        self.enterContext(mock.patch.object(migration, 'FIRST_PAUSE', 0))
        self.enterContext(mock.patch.object(migration, 'LONGEST_PAUSE', 0))
        # Whoever waits sees Nova's periodic tasks having run.
        self.sleep.side_effect = lambda seconds: self.periodic()

    # What there is.

    def add_host(self, name: str, **more: Any) -> str:
        root = super().add_host(name, **more)
        self.hypervisors[-1]['service'] |= {'id': root, 'status': 'enabled'}
        return root

    def add_server(self, name: str, *more: Any, **changes: Any) -> str:
        server = super().add_server(name, *more, **changes)
        held = self.placement.allocations.get(server, {})
        roots = {h['id'] for h in self.hypervisors}
        self._needs[server] = [(u in roots, dict(a)) for u, a in held.items()]
        self.used[server] = {
            u: dict(a) for u, a in held.items() if u not in roots
        }
        self.servers[server] |= {'locked': False, 'locked_reason': None}
        self.servers[server] |= changes
        self._place(self.servers[server], self.servers[server][HOST])
        return server

    def add_gpu_server(
        self, name: str, host: str = 'gpu1', number: int = 1, **changes: Any
    ) -> str:
        """Add a server with so many of the free A100 cards of a host."""
        root = self.root_of(host)
        cards = self._free(root, A100)[:number]
        specs = {'pci_passthrough:alias': f'a100:{number}'}
        held = [(card, {A100: 1}) for card in cards]
        some = (root, {'VCPU': 1, 'MEMORY_MB': 128, 'DISK_GB': 1})
        return self.add_server(name, specs, some, *held, host=host, **changes)

    def root_of(self, host: str) -> str:
        """Return the root provider of a compute service's host."""
        root: str = self._hypervisor(host)['id']
        return root

    def host_of(self, server: str) -> str:
        """Return where Nova says that a server is."""
        host: str = self.servers[server][HOST]
        return host

    def spoil(self, server: str, *kinds: str) -> None:
        """Let the next such step fail, each once.

        ``no valid host``, ``claim`` (on the target), ``rollback`` and
        ``source`` (on the source), ``destination``, ``confirm``, ``precheck``
        and ``live`` (of a live migration), ``unshelve``.
        """
        self._spoilt.setdefault(server, []).extend(kinds)

    def disturb(self, pattern: str, answer: Any, **more: Any) -> None:
        """Answer requests otherwise; see ``Fault``."""
        self.faults.append(Fault(pattern, answer, **more))

    def finish(self, server: str) -> None:
        """Let Nova finish what it is doing to a server."""
        for _step in self._doing.pop(server, iter(())):
            pass

    def periodic(self) -> None:
        """Add back what guests have and servers do not hold (facts 0.4)."""
        for server, used in self.used.items():
            held = self.placement.allocations.get(server)
            if (
                held
                and server not in self._doing
                and not used.items() <= (held.items())
            ):
                held.update({u: dict(a) for u, a in used.items()})
                self.placement.touch(server)

    # How Nova answers.

    def _answer(self, request: Any, context: Any) -> str:
        path = parse.urlsplit(request.url).path.rstrip('/').split('/')
        if path[-2] == 'servers' and path[-1] in self._doing:
            if next(self._doing[path[-1]], self) is self:
                del self._doing[path[-1]]
        return super()._answer(request, context)

    def _post(self, request: Any, context: Any) -> str:
        server = self.servers.get(request.url.split('/')[-2])
        if server is None:
            return self._refuse(context, 404, 'Instance could not be found.')
        ((name, body),) = request.json().items()
        if name in _TAKEN_IN and (
            server[TASK] or server['status'] not in _TAKEN_IN[name]
        ):
            return self._refuse(
                context,
                409,
                f"Cannot '{name}' instance {server['id']} while it is in "
                f"vm_state {server['status'].lower()}",
            )
        wrong = self._objection(server, name, body)
        if wrong:
            return self._refuse(context, *wrong)
        context.status_code = 202
        do: Callable[..., Steps] = getattr(
            self, f'_{name.removeprefix("os-")}'.lower()
        )
        steps = do(server, body or {})
        if next(steps, self) is not self:
            self._doing[server['id']] = steps
        return ''

    def _objection(
        self, server: Any, name: str, body: Any
    ) -> tuple[int, str] | None:
        host = (body or {}).get('host') if isinstance(body, dict) else None
        known = [h for h in self.hypervisors if h['service']['host'] == host]
        if host and not known:
            return 400, f'Compute host {host} could not be found.'
        if name == 'migrate' and host == server[HOST]:
            return 400, 'Cannot migrate to the host where the server exists.'
        source = server[HOST]
        if name in ('confirmResize', 'revertResize'):
            finished = self._finished(server)
            if finished is None:
                return 400, 'Instance has not been resized.'
            source = finished['source_compute']
        if (
            name in ('migrate', 'confirmResize')
            and self._hypervisor(source)['state'] == 'down'
        ):
            return 409, 'Service is unavailable at this time.'
        return None

    def _put_service(self, request: Any, context: Any) -> str:
        root, body = request.url.split('/')[-1], request.json()
        for found in self.hypervisors:
            if found['service']['id'] == root:
                found['status'] = body['status']
                found['service'] |= {
                    'status': body['status'],
                    'disabled_reason': body.get('disabled_reason'),
                }
                return json.dumps({'service': found['service']})
        return self._refuse(context, 404, f'Service {root} not found.')

    @staticmethod
    def _refuse(context: Any, status: int, message: str) -> str:
        context.status_code = status
        return json.dumps({'error': {'code': status, 'message': message}})

    # Faults on the way to the cloud.

    @staticmethod
    def _asked(request: Any) -> str:
        """Return a request as ``requests`` does; '' if it does not count."""
        for root in (base.COMPUTE, base.PLACEMENT):
            path = request.url.removeprefix(root)
            if path != request.url and path.strip('/'):
                return f'{request.method} {parse.unquote(path)}'
        return ''

    def _is_faulty(self, request: Any) -> bool:
        asked = self._asked(request)
        for fault in self.faults if asked else ():
            if fault.times and re.search(fault.pattern, asked):
                fault.after -= 1
                if fault.after < 0:
                    fault.times -= 1
                    request.fault = fault
                    return True
        return False

    def _fail(self, request: Any, context: Any) -> str:
        fault = request.fault
        if fault.done and request.method != 'GET':
            if request.url.startswith(base.PLACEMENT):
                self.placement._write(request, context)
            elif request.method == 'POST':
                self._post(request, context)
            else:
                self._put_service(request, context)
        if not isinstance(fault.answer, int):
            raise fault.answer
        return self._refuse(
            context, fault.answer, 'The cloud is out of order.'
        )

    # What Nova does to a server.

    def _lock(self, server: Any, body: Any) -> Steps:
        server |= {'locked': True, 'locked_reason': body.get('locked_reason')}
        yield from ()

    def _unlock(self, server: Any, body: Any) -> Steps:
        server |= {'locked': False, 'locked_reason': None}
        yield from ()

    def _migrate(self, server: Any, body: Any) -> Steps:
        before = self._before[server['id']] = server['status']
        source = server[HOST]
        server |= {'status': 'RESIZE', TASK: 'resize_prep'}
        action = self._act(server, 'migrate')
        yield
        record = self._record(server, 'migration')
        self._hand_over(server['id'], record['uuid'])
        yield
        target = self._schedule(server, body.get('host'))
        if target and self._breaks(server, 'claim'):
            self._end(action, 'compute_prep_resize', _NO_ROOM)
            self._give_up(server)
            others = {source, target}
            if body.get('host'):
                record['dest_compute'] = target
                self._break(server, record, 'Claim failed')
                return
            target = self._schedule(server, None, others)
        if not target:
            self._end(action, 'cold_migrate', 'No valid host was found.')
            self._break(server, record, '', before)
            return
        record |= {'dest_compute': target, 'status': 'migrating'}
        server[TASK] = 'resize_migrating'
        yield
        for kind, status in (('rollback', before), ('source', 'ERROR')):
            if self._breaks(server, kind):
                self._end(action, 'compute_resize_instance', 'DiskNotFound')
                self._give_up(server)
                self._poison(server, target)
                self._break(server, record, 'DiskNotFound', status)
                return
        action['events'].append({'event': 'compute_resize_instance'})
        record['status'] = 'post-migrating'
        self._place(server, target)
        server[TASK] = 'resize_finish'
        yield
        if self._breaks(server, 'destination'):
            self._end(action, 'compute_finish_resize', 'libvirtError')
            self._poison(server, source)
            self.placement.allocations.pop(record['uuid'])
            self._break(server, record, 'libvirtError')
            return
        record['status'] = 'finished'
        yield
        server |= {'status': 'VERIFY_RESIZE', TASK: None}

    def _confirmresize(self, server: Any, body: Any) -> Steps:
        record = self._finished(server)
        record['status'] = 'confirming'
        action = self._act(server, 'confirmResize')
        yield
        if self._breaks(server, 'confirm'):
            self._end(action, 'compute_confirm_resize', 'libvirtError')
            self._poison(server, record['source_compute'])
            self.placement.allocations.pop(record['uuid'])
            self._break(server, record, 'libvirtError')
            return
        record['status'] = 'confirmed'
        self.stale.get(server['id'], set()).discard(record['source_compute'])
        yield
        server['status'] = self._before.get(server['id'], 'ACTIVE')
        yield
        self.placement.allocations.pop(record['uuid'], None)

    def _revertresize(self, server: Any, body: Any) -> Steps:
        record = self._finished(server)
        record['status'] = 'reverting'
        server |= {'status': 'REVERT_RESIZE', TASK: 'resize_reverting'}
        self._act(server, 'revertResize')
        yield
        self._give_up(server)
        self._hand_over(record['uuid'], server['id'])
        self._place(server, record['source_compute'])
        self.used[server['id']] = self._used_before[server['id']]
        yield
        record['status'] = 'reverted'
        yield
        before = self._before.get(server['id'], 'ACTIVE')
        server |= {'status': before, TASK: None}

    def _migratelive(self, server: Any, body: Any) -> Steps:
        server |= {'status': 'MIGRATING', TASK: 'migrating'}
        action = self._act(server, 'live-migration')
        yield
        record = self._record(server, 'live-migration')
        self._hand_over(server['id'], record['uuid'])
        yield
        target = self._schedule(server, body.get('host'))
        if not target or self._breaks(server, 'precheck'):
            self._end(action, 'compute_check_can_live', 'Not migratable.')
            self._give_up(server)
            self._break(server, record, '', 'ACTIVE')
            return
        record |= {'dest_compute': target, 'status': 'running'}
        yield
        if self._breaks(server, 'live'):
            self._end(action, 'compute_live_migration', 'libvirtError')
            self._give_up(server)
            self._break(server, record, '', 'ACTIVE')
            record['status'] = 'failed'
            return
        self._place(server, target)
        self.placement.allocations.pop(record['uuid'])
        record['status'] = 'completed'
        server |= {'status': 'ACTIVE', TASK: None}

    def _shelve(self, server: Any, body: Any) -> Steps:
        server |= {TASK: 'shelving', 'updated': self._now()}
        action = self._act(server, 'shelve')
        action['events'].append(
            {'event': 'compute_shelve_instance', 'host': server[HOST]}
        )
        yield
        server |= {'status': 'SHELVED', TASK: None}
        if self.offloads:
            server[TASK] = 'shelving_offloading'
            yield
            yield from self._off(server)

    def _shelveoffload(self, server: Any, body: Any) -> Steps:
        server[TASK] = 'shelving_offloading'
        yield
        yield from self._off(server)

    def _off(self, server: Any) -> Steps:
        self._give_up(server)
        server |= {'status': 'SHELVED_OFFLOADED', TASK: None}
        yield
        self._place(server, '')

    def _unshelve(self, server: Any, body: Any) -> Steps:
        assert not server[HOST], 'its guest gets devices of two hosts'
        server[TASK] = 'unshelving'
        action = self._act(server, 'unshelve')
        yield
        target = self._schedule(server, body.get('host'))
        if target and not self._breaks(server, 'unshelve'):
            self._place(server, target)
            server['status'] = 'ACTIVE'
            action['events'].append(
                {'event': 'compute_unshelve_instance', 'host': target}
            )
        else:
            self._give_up(server)
            self._end(action, 'unshelve_instance', 'No valid host was found.')
        server[TASK] = None

    def _stop(self, server: Any, body: Any) -> Steps:
        server[TASK] = 'powering-off'
        yield
        server |= {'status': 'SHUTOFF', TASK: None}

    def _start(self, server: Any, body: Any) -> Steps:
        server[TASK] = 'powering-on'
        action = self._act(server, 'start')
        yield
        server[TASK] = None
        if self.stale.get(server['id']):
            self._end(action, 'compute_start_instance', 'KeyError')
        else:
            server['status'] = 'ACTIVE'

    def _reboot(self, server: Any, body: Any) -> Steps:
        server[TASK] = 'reboot_started_hard'
        action = self._act(server, 'reboot')
        yield
        server |= {'status': 'ACTIVE', TASK: None}
        if self.stale.get(server['id']):
            self._end(action, 'compute_reboot_instance', 'KeyError')
            server |= {'status': 'ERROR', 'fault': {'message': 'KeyError'}}

    def _resetstate(self, server: Any, body: Any) -> Steps:
        server |= {'status': body['state'].upper(), TASK: None}
        yield from ()

    # What its steps are made of.

    def _hypervisor(self, host: str) -> Any:
        return next(
            h for h in self.hypervisors if h['service']['host'] == host
        )

    def _place(self, server: Any, host: str) -> None:
        named = (server['tenant_id'] + host).encode()
        digest = hashlib.sha224(named).hexdigest() if host else ''
        server |= {HOST: host, 'hostId': digest}

    def _finished(self, server: Any) -> Any:
        """Return the record that Nova takes for the one that is meant."""
        return next(
            (
                record
                for record in self.migrations
                if record['instance_uuid'] == server['id']
                and record['status'] == 'finished'
            ),
            None,
        )

    def _record(self, server: Any, kind: str) -> Any:
        self._used_before[server['id']] = self.used[server['id']]
        self.add_migration(
            server['id'],
            'pre-migrating' if kind == 'migration' else 'accepted',
            migration_type=kind,
            source_compute=server[HOST],
            dest_compute=None,
            created_at=self._now(),
            updated_at=self._now(),
        )
        return self.migrations[-1]

    def _now(self) -> str:
        self._seconds += 1
        minutes, seconds = divmod(self._seconds, 60)
        return f'2026-11-21T07:{minutes:02d}:{seconds:02d}.000000'

    def _act(self, server: Any, name: str) -> Any:
        """Begin an action, which Nova lists before the older ones."""
        number = sum(map(len, self.actions.values()))
        action: dict[str, Any] = {
            'action': name,
            'request_id': f'req-{number}',
            'start_time': self._now(),
            'message': None,
            'events': [],
        }
        self.actions.setdefault(server['id'], []).insert(0, action)
        return action

    @staticmethod
    def _end(action: Any, event: str, details: str) -> None:
        action['message'] = 'Error'
        action['events'].append(
            {'event': event, 'result': 'Error', 'details': details}
        )

    def _break(
        self, server: Any, record: Any, fault: str, status: str = 'ERROR'
    ) -> None:
        """End a migration where it is; the server gets back what it held."""
        self._hand_over(record['uuid'], server['id'])
        if server[HOST] == record['source_compute']:
            self.used[server['id']] = self._used_before[server['id']]
        record['status'] = 'error'
        server |= {'status': status, TASK: None}
        if status == 'ERROR':
            server['fault'] = {'message': fault}

    def _breaks(self, server: Any, kind: str) -> bool:
        kinds = self._spoilt.get(server['id'], [])
        if kind not in kinds:
            return False
        kinds.remove(kind)
        return True

    def _poison(self, server: Any, host: str) -> None:
        if 'pci_passthrough:alias' in server['flavor']['extra_specs']:
            self.stale.setdefault(server['id'], set()).add(host)

    def _hand_over(self, giver: str, taker: str) -> None:
        held = self.placement.allocations.pop(giver, None)
        if held is not None:
            self.placement.allocations[taker] = held
            self.placement.generations[taker] = 1
            owner = self.placement.owners.get(giver)
            if owner:
                self.placement.owners[taker] = owner

    def _give_up(self, server: Any) -> None:
        self.placement.allocations.pop(server['id'], None)

    def _free(self, root: str, resource_class: str) -> list[str]:
        return [
            found
            for found, provider in self.placement.providers.items()
            if provider['root'] == root
            and self.placement._free(found, resource_class) > 0
        ]

    def _schedule(
        self, server: Any, host: str | None, others: Any = ()
    ) -> str:
        """Give a server room on a host; return which, '' if there is none."""
        if self._breaks(server, 'no valid host'):
            return ''
        for found in self.hypervisors:
            name: str = found['service']['host']
            if (
                found['state'] == 'up'
                and found['status'] == 'enabled'
                and name == (host or name)
                and name not in (server[HOST], *others)
                and self._take(server['id'], found['id'])
            ):
                return name
        return ''

    def _take(self, server: str, root: str) -> bool:
        """Let a server hold on a host what it needs, if there is room."""
        held: dict[str, dict[str, int]] = {}
        used: dict[str, dict[str, int]] = {}
        for of_root, amounts in self._needs[server]:
            if of_root:
                if any(
                    self.placement._free(root, name) < amount
                    for name, amount in amounts.items()
                ):
                    return False
                held[root] = dict(amounts)
                continue
            for name, amount in amounts.items():
                free = [u for u in self._free(root, name) if u not in held]
                if not free:
                    return False
                too = self.doubles and len(free) > 1
                used[free[-1] if too else free[0]] = {name: amount}
                for uuid in {free[0], free[-1] if too else free[0]}:
                    held[uuid] = {name: amount}
        self.placement.allocations[server] = held
        self.placement.generations[server] = 1
        self.used[server] = used
        return True
