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

"""From a spec to a cloud in which everything answers."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from concurrent import futures
import contextlib
import dataclasses
import http.client
import pathlib
import signal
import subprocess
import time

from osc_gpu.i18n import _
from osc_gpu.sandbox import control
from osc_gpu.sandbox import errors
from osc_gpu.sandbox import furnish
from osc_gpu.sandbox import processes
from osc_gpu.sandbox import progress
from osc_gpu.sandbox import spec as specs

#: the module that runs each service
MODULES = {
    'identity': 'keystone_api',
    'placement': 'placement_api',
    'image': 'glance_api',
    'network': 'neutron_api',
    'compute': 'nova_all',
    'volume': 'cinder_all',
    'orchestration': 'heat_all',
}

#: seconds after which a start has failed, however busy the machine
START_LIMIT = 300.0
_POLL = 0.05

#: the paths that say whether a service answers; compute's is its control
_PROBES = {
    'identity': '/v3',
    'placement': '/',
    'image': '/',
    'network': '/v2.0/',
    'volume': '/',
    'orchestration': '/',
}


def start(
    spec: specs.Spec,
    pythons: Mapping[str, pathlib.Path],
    report: progress.Progress,
) -> None:
    """Start all services at once, wait for them, and furnish the cloud.

    ``pythons`` has the interpreter that runs each of them. When something
    fails, or is interrupted, everything is ended again. Raises SandboxError
    with the end of the log of what failed.
    """
    path = specs.path(pathlib.Path(spec.state))
    children: dict[str, subprocess.Popen[bytes]] = {}
    report.step(_("Starting OpenStack %s") % spec.release)
    try:
        for service, python in pythons.items():
            log = spec.logs / f'{service}.log'
            children[service] = processes.start(
                python, MODULES[service], path, log
            )
        deadline = time.monotonic() + START_LIMIT
        _furnish(_Watch(spec, children, report, deadline, list(children)))
    except BaseException:
        report.clear()
        with _undisturbed():
            processes.end(path, list(children.values()))
        raise


def services(spec: specs.Spec) -> dict[str, str]:
    """Return the modules of a sandbox's services, by service.

    Not each has extras, and one that an earlier version of this package has
    started has fewer.
    """
    return {name: MODULES[name] for name in MODULES if name in spec.ports}


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no second Ctrl-C stop the cleaning up after the first."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    try:
        before = {n: signal.signal(n, signal.SIG_IGN) for n in numbers}
    except ValueError:  # only the main thread may; only it is interrupted
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclasses.dataclass
class _Watch:
    """The services of a start, and which of them are still awaited."""

    spec: specs.Spec
    children: Mapping[str, subprocess.Popen[bytes]]
    report: progress.Progress
    deadline: float
    waiting: list[str]

    def look(self) -> None:
        """Ask those awaited; SandboxError when one died or time is up."""
        self.check_alive()
        self.waiting = [s for s in self.waiting if not is_ready(self.spec, s)]
        if time.monotonic() > self.deadline:
            raise errors.SandboxError(_late(self.spec, self.waiting))
        self.report.live(_("  waiting for %s") % _names(self.waiting))
        time.sleep(_POLL)

    def check_alive(self) -> None:
        """Raise SandboxError with the end of the log of what has died."""
        for service, child in self.children.items():
            if child.poll() is not None:
                log = self.spec.logs / f'{service}.log'
                raise errors.SandboxError(
                    _(
                        "%(service)s ended with status %(status)d; see "
                        "%(log)s:\n%(tail)s"
                    )
                    % {
                        'service': service,
                        'status': child.returncode,
                        'log': log,
                        'tail': errors.tail(log),
                    }
                )


def _furnish(watch: _Watch) -> None:
    """Wait for the services, and furnish the cloud as soon as they answer."""
    try:
        while 'identity' in watch.waiting:
            watch.look()
        # One login for all that follows.
        admin = furnish.log_in(watch.spec)
        jobs = {'network': furnish.make_networks, 'image': furnish.make_images}
        running: list[futures.Future[None]] = []
        pool = futures.ThreadPoolExecutor(max_workers=len(jobs))
        try:
            while watch.waiting or jobs or running:
                for service in jobs.keys() - set(watch.waiting):
                    job = jobs.pop(service)
                    running.append(pool.submit(job, watch.spec, admin))
                watch.look()
                for done in [future for future in running if future.done()]:
                    running.remove(done)
                    done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        furnish.verify(watch.spec, admin)
    except errors.SandboxError:
        raise
    except Exception as exc:
        # An API refused: its service may have died, or its log says why.
        watch.check_alive()
        raise errors.SandboxError(
            _("furnishing the cloud failed: %(error)s; logs are in %(logs)s")
            % {'error': exc, 'logs': watch.spec.logs}
        ) from exc


def _names(waiting: Sequence[str]) -> str:
    return ', '.join(waiting) or _("networks and images")


def _late(spec: specs.Spec, waiting: Sequence[str]) -> str:
    service = waiting[0] if waiting else 'network'
    log = spec.logs / f'{service}.log'
    return _(
        "not up after %(limit)d s, waiting for %(names)s; see %(log)s:\n"
        "%(tail)s"
    ) % {
        'limit': START_LIMIT,
        'names': _names(waiting),
        'log': log,
        'tail': errors.tail(log),
    }


def is_ready(spec: specs.Spec, service: str) -> bool:
    """Ask a service whether it can be used."""
    if service == 'compute':
        try:
            return bool(control.Control(spec, limit=2.0).status()['ready'])
        except errors.SandboxError:
            return False
    connection = http.client.HTTPConnection(
        spec.address, spec.ports[service], timeout=2.0
    )
    try:
        connection.request('GET', _PROBES[service])
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    # Keystone answers once everything in it is made; the others may say 401.
    limit = 201 if service == 'identity' else 500
    return answer.status < limit
