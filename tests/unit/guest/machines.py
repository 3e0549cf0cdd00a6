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

"""Guests that boot with what is sent to them, in a folder of the test's."""

import dataclasses
import functools
import pathlib
import re
import tempfile
import unittest

from osc_gpu.guest import orders
from osc_gpu.guest import reports
from osc_gpu.guest import systems
from osc_gpu.guest import user_data
from osc_gpu.sandbox import guest_hardware
from osc_gpu.sandbox import guest_machine
from osc_gpu.sandbox import guest_systems

RUN = 'https://mirror.example/NVIDIA-Linux-x86_64-550.144.03-grid.run'
DEB = 'https://mirror.example/nvidia-linux-grid-550_550.144.03_amd64.deb'
RPM = 'https://mirror.example/nvidia-linux-grid-550-550.144.03-1.x86_64.rpm'
TOKEN = 'aGVhZA.Y2xhaW1z.c2lnbg'

A100 = guest_hardware.Gpu('10de', '20b5', 'NVIDIA A100 80GB PCIe', 81920)
MI300X = guest_hardware.Gpu(
    '1002', '74a1', 'AMD Instinct MI300X', 196608, '1200'
)


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of a boot, and what the guest said of it."""

    outcome: guest_machine.Outcome
    report: reports.Report | None

    @property
    def calls(self) -> list[str]:
        """What was called that changes something."""
        looks = re.compile('(lspci|nvidia-smi|rocminfo|modinfo|nvcc --v)')
        return [c for c in self.outcome.calls if not looks.match(c)]

    @functools.cached_property
    def problems(self) -> list[str]:
        assert self.report is not None
        return reports.shortcomings(self.report, 2)


class Guest:
    """A guest with two GPUs of an order's vendor."""

    def __init__(
        self,
        folder: pathlib.Path,
        order: orders.Order,
        on_disk: str = '',
        image_driver: str = '',
        users: bytes = b'',
    ) -> None:
        """Install it.

        :param on_disk: the system in its image, if not the order's
        :param image_driver: the version of one that is in its image
        """
        self.machine = guest_machine.Machine(folder)
        self.user_data = user_data.pack(user_data.compose(order, users))
        self.machine.install(
            guest_systems.SYSTEMS[on_disk or str(order.system)],
            'i-1',
            image_driver,
        )
        card = MI300X if order.vendor_id == MI300X.vendor_id else A100
        self._gpus = [card] * 2

    def boot(self, *spoils: str) -> Result:
        outcome = self.machine.boot(self.user_data, self._gpus, spoils)
        return Result(outcome, reports.find(outcome.console))

    def read(self, path: str) -> str:
        """Return the text of a file of the guest's; '' if it is not there."""
        return self.read_bytes(path).decode()

    def read_bytes(self, path: str) -> bytes:
        found = self.machine.root / path
        return found.read_bytes() if found.exists() else b''


class TestCase(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.maxDiff = None
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self._count = 0

    def guest(self, system: str, driver: str, **more) -> Guest:
        """Return a new guest.

        :param more: for the order, and what ``Guest`` takes
        """
        its = ('on_disk', 'image_driver', 'users')
        own = {key: more.pop(key) for key in its if key in more}
        order = orders.Order(driver, systems.parse(system), **more)
        return self.new(order, **own)

    def new(self, order: orders.Order, **more) -> Guest:
        self._count += 1
        return Guest(self.folder / str(self._count), order, **more)
