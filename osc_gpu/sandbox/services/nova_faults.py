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

"""Faults that someone ordered: what fails, for whom, how often."""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
import dataclasses
import functools
import importlib
import itertools
import threading
from typing import Any

from services import nova_deaths

_DRIVER = 'nova.virt.libvirt.driver:LibvirtDriver.'

#: What in Nova is behind each point where a fault can be set.
POINTS: Mapping[str, str] = {
    'spawn': _DRIVER + 'spawn',
    'claim': 'nova.compute.claims:MoveClaim._claim_test',
    'source': _DRIVER + 'migrate_disk_and_power_off',
    'destination': _DRIVER + 'finish_migration',
    'confirm': _DRIVER + 'confirm_migration',
    'revert': _DRIVER + 'finish_revert_migration',
    'live-check': _DRIVER + 'check_can_live_migrate_destination',
    'live': _DRIVER + '_live_migration_operation',
    'stop': _DRIVER + 'power_off',
    'start': _DRIVER + '_hard_reboot',
    'shelve': _DRIVER + 'snapshot',
    'offload': 'nova.compute.manager:ComputeManager._shelve_offload_instance',
}
ERRORS = ('libvirt', 'rollback', 'slow')

#: Where waiting happens when not there: claims are made under a lock that
#: is each host's own in a real cloud, and that of all of them here.
_WAITS: Mapping[str, str] = {
    'claim': 'nova.compute.resource_tracker:ResourceTracker.resize_claim',
}


@dataclasses.dataclass
class Fault:
    """An order: fail, or dawdle, at one point of the driver."""

    id: int
    point: str
    error: str
    times: int
    seconds: float
    server: str | None = None
    host: str | None = None
    hits: int = 0

    def concerns(self, point: str, names: set[str], host: str) -> bool:
        """Say whether it fires here, now."""
        return (
            self.point == point
            and self.hits < self.times
            and (self.server is None or self.server in names)
            and (self.host is None or self.host == host)
        )


class Faults:
    """The faults of this cloud, kept in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._faults: list[Fault] = []

    def add(
        self,
        point: str,
        error: str = 'libvirt',
        times: int = 1,
        seconds: float = 30.0,
        server: str | None = None,
        host: str | None = None,
    ) -> Fault:
        """Set a fault; ValueError says what is wrong with it."""
        if point not in POINTS:
            raise ValueError(f'no point {point!r}: {", ".join(POINTS)}')
        if error not in ERRORS:
            raise ValueError(f'no error {error!r}: {", ".join(ERRORS)}')
        if times < 1 or seconds < 0:
            raise ValueError('times must be 1 or more, seconds 0 or more')
        with self._lock:
            fault = Fault(
                next(self._ids), point, error, times, seconds, server, host
            )
            self._faults.append(fault)
        return fault

    def list(self) -> list[dict[str, Any]]:
        """Return all faults, also those that are used up."""
        with self._lock:
            return [dataclasses.asdict(fault) for fault in self._faults]

    def clear(self) -> None:
        """Forget them all."""
        with self._lock:
            self._faults.clear()

    def hit(
        self,
        point: str,
        names: set[str],
        host: str,
        errors: Collection[str] = ERRORS,
    ) -> Fault | None:
        """Return the first fault that fires here, and count it."""
        with self._lock:
            for fault in self._faults:
                if fault.error in errors and fault.concerns(
                    point, names, host
                ):
                    fault.hits += 1
                    return fault
        return None


def install(faults: Faults) -> None:
    """Wrap Nova's methods so that ordered faults happen in them."""
    for point, place in POINTS.items():
        errors: Collection[str] = ERRORS
        if point in _WAITS:
            _wrap(_WAITS[point], faults, point, ('slow',))
            errors = ('libvirt', 'rollback')
        _wrap(place, faults, point, errors)


def _wrap(
    place: str, faults: Faults, point: str, errors: Collection[str]
) -> None:
    module, names = place.split(':')
    class_name, method_name = names.split('.')
    owner = getattr(importlib.import_module(module), class_name)
    method: Callable[..., Any] = getattr(owner, method_name)

    @functools.wraps(method)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        instance = _instance(self, *args, *kwargs.values())
        names = {instance.uuid, instance.display_name}
        fault = faults.hit(point, names, _host(self), errors)
        if fault is not None:
            _happen(fault)
        return method(self, *args, **kwargs)

    setattr(owner, method_name, wrapper)


def _instance(owner: Any, *values: Any) -> Any:
    # A claim keeps its server; all others are told.
    return next(
        value
        for value in (*values, getattr(owner, 'instance', None))
        if type(value).__name__ == 'Instance'
    )


def _host(owner: Any) -> str:
    """Return the host of a driver, a claim, a tracker or a manager."""
    if hasattr(owner, '_host'):
        return str(owner._host.get_hostname())
    return str(getattr(owner, 'tracker', owner).host)


def _happen(fault: Fault) -> None:
    if fault.error == 'slow':
        nova_deaths.sleep(fault.seconds)
        return
    error = _error(fault)
    if fault.error == 'rollback':
        from nova import exception

        raise exception.InstanceFaultRollback(inner_exception=error)
    raise error


def _error(fault: Fault) -> Exception:
    """Return what Nova's code would meet there."""
    from nova import exception
    from nova.tests.fixtures import libvirt as fakelibvirt

    mine = f'(sandbox fault {fault.id})'
    error: Exception
    if fault.point == 'claim':
        error = exception.ComputeResourcesUnavailable(
            reason=f'Claim pci failed {mine}'
        )
    elif fault.point == 'live-check':
        error = exception.MigrationPreCheckError(
            reason=f'CPU does not have compatibility {mine}'
        )
    else:
        error = fakelibvirt.make_libvirtError(
            fakelibvirt.libvirtError,
            'Requested operation is not valid: PCI device 0000:84:00.0 is in '
            f'use by driver QEMU, domain instance-0000002a {mine}',
            error_code=fakelibvirt.VIR_ERR_OPERATION_INVALID,
            error_domain=fakelibvirt.VIR_FROM_QEMU,
        )
    return error
