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

"""A cloud's life: up, status, down."""

from collections.abc import Mapping
from concurrent import futures
import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import time
from typing import Any

from osc_gpu.i18n import _
from osc_gpu.sandbox import control
from osc_gpu.sandbox import errors
from osc_gpu.sandbox import locks
from osc_gpu.sandbox import processes
from osc_gpu.sandbox import progress
from osc_gpu.sandbox import releases
from osc_gpu.sandbox import spec as specs
from osc_gpu.sandbox import starting
from osc_gpu.sandbox import topology

_POLL = 0.05
#: what means something in a path to oslo.config, PasteDeploy or SQLAlchemy
_FORBIDDEN = '$%#?;\\'


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What ``up`` is asked for."""

    state: pathlib.Path
    topology: topology.Topology
    release: str = releases.DEFAULT
    port_base: int | None = None
    extras: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Status:
    """How a sandbox is right now; state is running, partial or stopped."""

    state: str
    spec: specs.Spec | None
    services: tuple[Mapping[str, Any], ...] = ()
    hosts: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Running(errors.SandboxError):
    """A sandbox runs here already; ``same`` says whether it is as wanted."""

    def __init__(self, message: str, same: bool) -> None:
        super().__init__(message)
        self.same = same


def up(wanted: Wanted, report: progress.Progress) -> specs.Spec:
    """Start a sandbox, furnish it, and return it.

    Whatever keeps it from coming up, an interrupt included, ends all that
    was started. Raises Running when there is one, SandboxError else.
    """
    _check_path(wanted.state)
    _check_folder(wanted.state)
    _make_folder(wanted.state)
    try:
        with locks.exclusive(wanted.state / 'lock'):
            _check_not_running(wanted)
            place = releases.ensure(wanted.release, report)
            pythons = dict.fromkeys(specs.SERVICES, place.python)
            for extra in wanted.extras:
                beside = releases.ensure(wanted.release, report, extra)
                pythons[specs.EXTRAS[extra]] = beside.python
            _clean(wanted.state, report)
            spec = specs.make(
                wanted.release,
                wanted.state,
                place.template,
                wanted.topology,
                wanted.port_base,
                wanted.extras,
            )
            specs.write(spec)
            starting.start(spec, pythons, report)
            return spec
    except locks.Held as exc:
        raise errors.SandboxError(
            _("a sandbox is being started in %(state)s (process %(pid)d)")
            % {'state': wanted.state, 'pid': exc.pid}
        ) from exc
    finally:
        report.clear()


def _check_path(state: pathlib.Path) -> None:
    """Refuse a path that cannot stand in the services' configuration."""
    wrong = sorted(
        {c for c in str(state) if c in _FORBIDDEN or not c.isprintable()}
    )
    if wrong:
        raise errors.SandboxError(
            _(
                "%(state)s has a %(character)s in it, with which the services "
                "cannot be configured; name another folder"
            )
            % {'state': repr(str(state)), 'character': repr(wrong[0])}
        )


def _make_folder(state: pathlib.Path) -> None:
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        (state / 'lock').touch(0o600)
    except OSError as exc:
        raise errors.SandboxError(
            _(
                "%(state)s cannot be written to: %(reason)s; name another "
                "folder"
            )
            % {'state': state, 'reason': exc.strerror}
        ) from exc


def _check_folder(state: pathlib.Path) -> None:
    """Refuse a folder that holds anything but a sandbox."""
    try:
        present = set(os.listdir(state)) - {'lock'}
    except FileNotFoundError:
        return
    except OSError as exc:
        raise errors.SandboxError(f'{state}: {exc.strerror}') from exc
    if present and specs.read(state) is None:
        raise errors.SandboxError(
            _(
                "%(state)s holds other things, as %(name)s; name an empty or "
                "a new folder"
            )
            % {'state': state, 'name': min(present)}
        )


def _check_not_running(wanted: Wanted) -> None:
    """Raise Running if all services of a sandbox are alive here."""
    spec = specs.read(wanted.state)
    if spec is None:
        return
    alive = {process.module for process in processes.find(_path(wanted))}
    if not alive.issuperset(starting.services(spec).values()):
        return
    same = (
        {*starting.services(spec)} == {*specs.services(wanted.extras)}
        and spec.release == wanted.release
        and spec.topology == specs.plain(wanted.topology)
        and wanted.port_base in (None, spec.ports['identity'])
    )
    if same:
        message = _("already up: OpenStack %(release)s at %(url)s")
    else:
        message = _(
            "another sandbox is up here: OpenStack %(release)s at %(url)s; "
            "end it with 'down' or choose another --state"
        )
    raise Running(
        message % {'release': spec.release, 'url': spec.auth_url}, same
    )


def _path(wanted: Wanted) -> pathlib.Path:
    return specs.path(wanted.state)


def _clean(state: pathlib.Path, report: progress.Progress) -> None:
    """End and remove what a sandbox before has left."""
    if processes.find(specs.path(state)):
        report.step(_("Ending what a crashed sandbox left"))
        processes.end(specs.path(state))
    state.chmod(0o700)
    for entry in state.iterdir():
        if entry.name == 'lock':
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def down(state: pathlib.Path, report: progress.Progress) -> int:
    """End a sandbox for certain; return how many processes that took.

    An ``up`` that is under way is interrupted first. Logs stay.
    """
    with contextlib.ExitStack() as held:
        if state.is_dir():
            _take_over(held, state, report)
        count = processes.end(specs.path(state))
        specs.clouds_path(state).unlink(missing_ok=True)
    return count


def _take_over(
    held: contextlib.ExitStack,
    state: pathlib.Path,
    report: progress.Progress,
) -> None:
    lock = state / 'lock'
    deadline = time.monotonic() + 10.0
    asked = 0
    while True:
        try:
            held.enter_context(locks.exclusive(lock))
            return
        except locks.Held as exc:
            if exc.pid and exc.pid != asked:
                report.step(_("Interrupting 'up' (process %d)") % exc.pid)
                os.kill(exc.pid, signal.SIGTERM)
                asked = exc.pid
            if time.monotonic() > deadline:
                raise errors.SandboxError(
                    _("process %d is starting it and does not let go")
                    % exc.pid
                ) from exc
        time.sleep(_POLL)


def status(state: pathlib.Path) -> Status:
    """Look how a sandbox is: its processes, its services, its hosts."""
    spec = specs.read(state)
    found = {p.module: p.pid for p in processes.find(specs.path(state))}
    if spec is None or not found:
        return Status('partial' if found else 'stopped', spec)
    services = []
    modules = starting.services(spec)
    with futures.ThreadPoolExecutor(len(modules)) as pool:
        ready = dict(
            zip(
                modules,
                pool.map(lambda name: starting.is_ready(spec, name), modules),
                strict=True,
            )
        )
    for service, module in modules.items():
        how = 'ready' if ready[service] else 'not ready'
        services.append(
            {
                'name': service,
                'pid': found.get(module),
                'port': spec.ports[service],
                'state': how if module in found else 'ended',
                'log': str(spec.logs / f'{service}.log'),
            }
        )
    hosts = dict.fromkeys(
        [host['name'] for host in spec.topology['hosts']], 'unknown'
    )
    with contextlib.suppress(errors.SandboxError):
        answer = control.Control(spec, limit=5.0).status()['hosts']
        hosts |= {name: str(host['state']) for name, host in answer.items()}
    whole = all(service['state'] == 'ready' for service in services)
    return Status(
        'running' if whole else 'partial', spec, tuple(services), hosts
    )
