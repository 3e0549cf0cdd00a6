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

import re
import unittest

import hypothesis
from hypothesis import strategies

from osc_gpu.data import pci_classes

SAMPLE = """\
#
#\tList of PCI IDs
#
#\tVersion: 2024.03.09
#\tDate:    2024-03-09 03:15:01
#
1002  Advanced Micro Devices, Inc. [AMD/ATI]
\t74a1  Aqua Vanjaram [Instinct MI300X]
# Comment between devices
\t\t1002 74a1  A subsystem
\t1308  Kaveri HDMI/DP Audio Controller

10DE  NVIDIA Corporation
\t1DB4  GV100GL [Tesla V100 PCIe 16GB]
\tzzzz  No id at all
   a line that makes no sense
\t20b5  GA100 [A100 PCIe 80GB]
10df  Emulex Corporation
\t20b6  Not NVIDIA's
C 03  Display controller
\t00  VGA compatible controller
"""


class TestIsGpu(unittest.TestCase):
    def assertGpus(self, expected: bool, vendor_id: str, *names: str) -> None:
        for name in names:
            with self.subTest(vendor_id=vendor_id, name=name):
                self.assertIs(expected, pci_classes.is_gpu(vendor_id, name))

    def test_nvidia(self) -> None:
        self.assertGpus(
            True,
            '10de',
            'GV100GL [Tesla V100 PCIe 16GB]',
            'GA107GL [A2 / A16]',
            'GB110 [GB300]',
            'TU104GL [Tesla T4]',
            'GR102',
            'G92 [GeForce 8800 GT]',
            'NV1 [NV1 Series]',
            'MCP89 [GeForce 320M]',
            'AD102GL [L40 CNX]',
        )

    def test_not_of_nvidia(self) -> None:
        self.assertGpus(
            False,
            '10de',
            'GA102 High Definition Audio Controller',
            'TU104 USB Type-C UCSI Controller',
            'TU104 USB 3.1 Host Controller',
            'GA100 [A100 NVSwitch]',
            'MCP55 SATA Controller',
            'MCP78S [GeForce 8200] SMBus',
            'MCP78S [GeForce 8200] Memory Controller',
            'MCP78S [GeForce 8200] Co-Processor',
            'nForce2 Ethernet Controller',
            'C51 PCI Express Bridge',
            'C55 Host Bridge',
            'NF200 PCIe 2.0 switch for GTX 295',
            'GB10 GEN5 X4 PCIe host',
            'Vera Rubin CPU',
            'Tegra PCIe Endpoint Virtual Network',
        )

    def test_amd(self) -> None:
        self.assertGpus(
            True,
            '1002',
            'Aqua Vanjaram [Instinct MI300X VF]',
            'Navi 48 [Radeon AI PRO R9700]',
            'Hawaii',
            '215CT [Mach64 CT PCI]',
        )
        self.assertGpus(
            False,
            '1002',
            'Navi 21 USB',
            'Navi 31 HDMI/DP Audio',
            'Navi 10 XL Upstream Port of PCI Express Switch',
            'R300 [Radeon 9700 PRO] (Secondary)',
            'SB600 IDE',
            'SBx00 SMBus Controller',
            'RS690 PCI to PCI Bridge (Internal gfx)',
            'Theater 506 PCIe',
            'Dummy Function (absent graphics controller)',
        )

    def test_intel(self) -> None:
        self.assertGpus(
            True,
            '8086',
            'Ponte Vecchio XT (1 Tile) [Data Center GPU Max 1100]',
            'Ponte Vecchio XL (2 Tile)',
            'ATS-M [Data Center GPU Flex 170]',
            'Battlemage G21 [Arc Pro B60]',
            'DG1 [Iris Xe MAX 100]',
            'Ivy Bridge mobile GT2 [HD Graphics 4000]',
            'Haswell-ULT Integrated Graphics Controller',
            'Xeon Phi coprocessor 7220',
        )
        self.assertGpus(
            False,
            '8086',
            'DG2 Audio Controller',
            '82810 GMCH (Graphics Memory Controller Hub)',
            'Raptor Lake PCI Express 4.0 Graphics Port',
            'Xeon E3-1200 v2/Ivy Bridge DRAM Controller',
            'PAC with Intel Arria 10 GX FPGA',
            'Data Streaming Accelerator (DSA)',
            'Core Ultra 200 Series Processors NPU',
            'I210 Gigabit Network Connection',
        )

    def test_others(self) -> None:
        self.assertGpus(True, '1da3', 'Gaudi3 AI Training Accelerator')
        self.assertGpus(True, '1ed5', 'MTT S4000')
        self.assertGpus(False, '1ed5', 'MTT HDMI/DP Audio')
        self.assertGpus(True, '1d22', 'Kunlun AI Accelerator')
        self.assertGpus(False, '1d22', 'Cloud Storage Device')

    def test_vendor_without_rule(self) -> None:
        self.assertGpus(False, '1022', 'Ariel Internal GPU')
        self.assertGpus(False, '15b3', 'MT2894 Family [ConnectX-6 Lx]')
        self.assertGpus(False, '1a03', 'ASPEED Graphics Family')
        self.assertGpus(False, '', 'GPU')

    def test_rules_are_well_formed(self) -> None:
        self.assertEqual(sorted(pci_classes.RULES), list(pci_classes.RULES))
        for vendor_id, rule in pci_classes.RULES.items():
            self.assertRegex(vendor_id, r'\A[0-9a-f]{4}\Z')
            self.assertTrue(rule.vendor)
            re.compile(rule.include)
            re.compile(rule.exclude)


class TestVersion(unittest.TestCase):
    def test_version_line(self) -> None:
        self.assertEqual((2024, 3, 9), pci_classes.version(SAMPLE))

    def test_date_line_alone(self) -> None:
        self.assertEqual(
            (2019, 12, 1), pci_classes.version('#Date:  2019-12-01 03:15:02\n')
        )

    def test_none(self) -> None:
        for text in ('', '# Version: snapshot\n', '10de  NVIDIA\n'):
            self.assertEqual((0, 0, 0), pci_classes.version(text))

    def test_ours_reads_its_own(self) -> None:
        self.assertEqual(
            (2026, 8, 22), pci_classes.version('# Version: 2026.08.22\n')
        )


class TestSection(unittest.TestCase):
    def test_only_the_vendors_lines(self) -> None:
        self.assertEqual(
            (
                'NVIDIA Corporation',
                {
                    '1db4': 'GV100GL [Tesla V100 PCIe 16GB]',
                    '20b5': 'GA100 [A100 PCIe 80GB]',
                },
            ),
            pci_classes.section(SAMPLE, '10de'),
        )

    def test_comments_and_subsystems_are_passed_over(self) -> None:
        vendor, devices = pci_classes.section(SAMPLE, '1002')
        self.assertEqual('Advanced Micro Devices, Inc. [AMD/ATI]', vendor)
        self.assertEqual(['74a1', '1308'], list(devices))

    def test_windows_line_ends(self) -> None:
        vendor, devices = pci_classes.section(
            SAMPLE.replace('\n', '\r\n'), '10de'
        )
        self.assertEqual('NVIDIA Corporation', vendor)
        self.assertEqual('GA100 [A100 PCIe 80GB]', devices['20b5'])

    def test_unknown_vendor(self) -> None:
        self.assertEqual(('', {}), pci_classes.section(SAMPLE, '8086'))
        self.assertEqual(('', {}), pci_classes.section('', '8086'))

    @hypothesis.given(strategies.text(), strategies.text(max_size=6))
    def test_never_raises(self, text: str, vendor_id: str) -> None:
        pci_classes.section(text, vendor_id)
        pci_classes.version(text)
        pci_classes.is_gpu('10de', text)
