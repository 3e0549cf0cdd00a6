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

"""Which cards the report of a guest takes for GPUs, and who drives them."""

import pathlib
import re

from osc_gpu.data import pci_classes
from osc_gpu.guest import orders
from osc_gpu.guest import reports
from osc_gpu.guest import user_data
from osc_gpu.sandbox import guest_hardware
from tests.unit.guest import machines

FLEX = guest_hardware.Gpu(
    '8086', '56c0', 'Intel Corporation Data Center GPU Flex 170', 0, '0380'
)
SCRIPT = pathlib.Path(user_data.__file__).with_name('scripts') / 'report.sh'


def card(vendor_id: str, pci_class: str) -> guest_hardware.Gpu:
    return guest_hardware.Gpu(vendor_id, '1234', 'x', 0, pci_class)


class TestCards(machines.TestCase):
    def bare(self, *cards: guest_hardware.Gpu, system: str = 'rocky-9'):
        """Return a guest that boots with cards and no driver."""
        guest = self.new(orders.Order(), on_disk=system)
        guest._gpus = list(cards)
        return guest

    def drive(self, guest: machines.Guest, driver: str) -> reports.Report:
        """Let a driver have the first card; return a new report."""
        sys = guest.machine.root / 'sys/bus/pci'
        (sys / 'drivers' / driver).mkdir(parents=True)
        (sys / 'devices/0000:05:00.0/driver').symlink_to(
            sys / 'drivers' / driver
        )
        guest.machine._run(
            [str(guest.machine.root / 'usr/local/sbin/osc-gpu-report')]
        )
        report = reports.find(guest.read('dev/ttyS0'))
        assert report
        return report

    def test_vendors(self):
        found = re.search("^VENDORS='([^']*)'", SCRIPT.read_text(), re.M)
        self.assertEqual(sorted(pci_classes.RULES), found[1].split())

    def test_gpus_and_accelerators(self):
        # The one has lspci, the other has not.
        for system in ('ubuntu-24.04', 'debian-12'):
            guest = self.bare(
                FLEX,
                card('8086', '0300'),
                card('1da3', '1200'),
                card('1e60', '0b40'),
                card('0731', '0302'),
                card('cdfa', '1200'),
                system=system,
            )
            self.assertEqual(6, len(guest.boot().report.pci))

    def test_what_is_none(self):
        for system in ('ubuntu-24.04', 'debian-12'):
            guest = self.bare(
                *(
                    card(vendor, '0300')
                    for vendor in ('1234', '1b36', '1af4', '1a03', '102b',
                                   '15ad', '1013', '19e5')
                ),
                card('10de', '0403'),
                card('10de', '0c03'),
                card('8086', '0b40'),
                card('8086', '0200'),
                system=system,
            )  # fmt: skip
            self.assertEqual((), guest.boot().report.pci)

    def test_no_driver(self):
        result = self.bare(FLEX, FLEX).boot()
        self.assertEqual(['no driver is loaded'], result.problems)
        self.assertEqual(
            '2 of 2 GPUs, no driver', reports.summary(result.report, 2)
        )

    def test_a_driver(self):
        guest = self.bare(FLEX, system='ubuntu-24.04')
        kernel = guest.boot().report.kernel
        report = self.drive(guest, 'xe')
        self.assertEqual([], reports.shortcomings(report, 1))
        self.assertEqual(
            ['the driver has 1 of 2 GPUs'],
            reports.shortcomings(report, 2)[1:],
        )
        self.assertEqual(
            (reports.Gpu('0000:05:00.0', FLEX.name),), report.gpus
        )
        self.assertEqual('xe', report.driver)
        self.assertEqual(kernel, report.driver_version)

    def test_a_driver_with_a_version(self):
        guest = self.bare(card('1da3', '1200'))
        guest.boot()
        module = guest.machine.root / 'sys/module/habanalabs'
        module.mkdir(parents=True)
        (module / 'version').write_text('1.20.0-abc\n')
        report = self.drive(guest, 'habanalabs')
        self.assertEqual('1.20.0-abc', report.driver_version)
        # It has no name without lspci, and that is no error.
        self.assertEqual([], reports.shortcomings(report, 1))

    def test_kept_for_somebody_else(self):
        guest = self.bare(FLEX)
        guest.boot()
        report = self.drive(guest, 'vfio-pci')
        self.assertEqual(
            ['no driver is loaded'], reports.shortcomings(report, 1)
        )
