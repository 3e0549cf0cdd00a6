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
from collections.abc import Mapping
import dataclasses
import functools
import itertools
import threading
import time
from typing import Any

#: The driver's method behind each point where a fault can be set.
POINTS: Mapping[str, str] = {
    'spawn': 'spawn',
    'source': 'migrate_disk_and_power_off',
    'destination': 'finish_migration',
    'confirm': 'confirm_migration',
}
ERRORS = ('libvirt', 'rollback', 'slow')


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

    def hit(self, point: str, names: set[str], host: str) -> Fault | None:
        """Return the first fault that fires here, and count it."""
        with self._lock:
            for fault in self._faults:
                if fault.concerns(point, names, host):
                    fault.hits += 1
                    return fault
        return None


def install(faults: Faults) -> None:
    """Wrap the driver's methods so that ordered faults happen in them."""
    from nova.virt.libvirt import driver

    for point, name in POINTS.items():
        method = getattr(driver.LibvirtDriver, name)
        wrapped = _wrap(faults, point, method)
        setattr(driver.LibvirtDriver, name, wrapped)


def _wrap(
    faults: Faults, point: str, method: Callable[..., Any]
) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrapper(driver: Any, *args: Any, **kwargs: Any) -> Any:
        instance = next(
            value
            for value in (*args, *kwargs.values())
            if type(value).__name__ == 'Instance'
        )
        names = {instance.uuid, instance.display_name}
        fault = faults.hit(point, names, driver._host.get_hostname())
        if fault is not None:
            _happen(fault)
        return method(driver, *args, **kwargs)

    return wrapper


def _happen(fault: Fault) -> None:
    from nova import exception
    from nova.tests.fixtures import libvirt as fakelibvirt

    if fault.error == 'slow':
        time.sleep(fault.seconds)
        return
    error = fakelibvirt.make_libvirtError(
        fakelibvirt.libvirtError,
        'Requested operation is not valid: PCI device 0000:84:00.0 is in use '
        f'by driver QEMU, domain instance-0000002a (sandbox fault {fault.id})',
        error_code=fakelibvirt.VIR_ERR_OPERATION_INVALID,
        error_domain=fakelibvirt.VIR_FROM_QEMU,
    )
    if fault.error == 'rollback':
        raise exception.InstanceFaultRollback(inner_exception=error)
    raise error
