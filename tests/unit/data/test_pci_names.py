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

import pathlib
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

from osc_gpu.data import pci_classes
from osc_gpu.data import pci_names

NEWER = """\
#\tVersion: 2999.01.02
10de  NVIDIA, renamed
\t1db4  GV100GL [Tesla V100, renamed]
\t9999  GX999 [Tesla X999]
\t20b5  GA100 High Definition Audio Controller
1da3  Habana Labs Ltd.
\t2000  Gaudi4 AI Training Accelerator
1a03  ASPEED Technology, Inc.
\t2000  ASPEED Graphics Family
"""


class TestCase(unittest.TestCase):
    """Look up as if these were the system's files."""

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        paths = tuple(str(self.folder / name) for name in 'abc')
        patcher = mock.patch.object(pci_names, 'SYSTEM_FILES', paths)
        patcher.start()
        self.addCleanup(patcher.stop)
        self.forget()
        self.addCleanup(self.forget)

    def forget(self) -> None:
        for cached in (
            pci_names._own_text,
            pci_names._system_text,
            pci_names._section,
            pci_names._vendors,
        ):
            cached.cache_clear()

    def system(self, name: str, content: str | bytes) -> None:
        if isinstance(content, str):
            content = content.encode()
        (self.folder / name).write_bytes(content)
        self.forget()


class TestVendors(TestCase):
    def test_names(self) -> None:
        for name, vendor_id in {
            'NVIDIA Corporation': '10de',
            'nVidia Corporation': '10de',
            'Advanced Micro Devices, Inc. [AMD/ATI]': '1002',
            'Intel Corporation': '8086',
            'NVIDIA': None,
            'ASPEED Technology, Inc.': None,
            '': None,
        }.items():
            self.assertEqual(vendor_id, pci_names.vendor_named(name), name)

    def test_names_before_others(self) -> None:
        for text, vendor_id in {
            'NVIDIA Corporation GP104 [GeForce GTX 1080]': '10de',
            'Intel Corporation Device 0001': '8086',
            'NVIDIA CorporationX': None,
            'Matrox Electronics Systems Ltd. G200eR2': None,
        }.items():
            self.assertEqual(vendor_id, pci_names.vendor_of(text), text)

    def test_name_of_two(self) -> None:
        table = '10de  Twins Ltd.\n\t0001  A\n1002  Twins Ltd.\n\t0001  B\n'
        with mock.patch.object(
            pci_names, '_own_text', autospec=True, return_value=table
        ) as text:
            text.cache_clear = lambda: None
            self.assertIsNone(pci_names.vendor_named('Twins Ltd.'))
            pci_names._vendors.cache_clear()


class TestOwnTable(TestCase):
    def test_models(self) -> None:
        for ids, model in {
            '10de:1db4': 'NVIDIA GV100GL [Tesla V100 PCIe 16GB]',
            '10de:102d': 'NVIDIA GK210GL [Tesla K80]',
            '10de:15f8': 'NVIDIA GP100GL [Tesla P100 PCIe 16GB]',
            '10de:1eb8': 'NVIDIA TU104GL [Tesla T4]',
            '10de:20b5': 'NVIDIA GA100 [A100 PCIe 80GB]',
            '10de:25b6': 'NVIDIA GA107GL [A2 / A16]',
            '10de:26b9': 'NVIDIA AD102GL [L40S]',
            '10de:27b8': 'NVIDIA AD104GL [L4]',
            '10de:2331': 'NVIDIA GH100 [H100 PCIe]',
            '10de:2335': 'NVIDIA GH100 [H200 SXM 141GB]',
            '10de:31c2': 'NVIDIA GB110 [GB300]',
            '1002:738c': 'AMD Arcturus GL-XL [Instinct MI100]',
            '1002:7551': 'AMD Navi 48 [Radeon AI PRO R9700]',
            '1002:75a3': 'AMD Aqua Vanjaram [Instinct MI355X]',
            '1da3:1060': 'Habana Gaudi3 AI Training Accelerator',
            '1ed5:0323': 'Moore Threads MTT S4000',
        }.items():
            with self.subTest(ids=ids):
                vendor_id, product_id = ids.split(':')
                self.assertEqual(
                    model, pci_names.lookup(vendor_id, product_id)
                )
                self.assertTrue(pci_names.is_gpu(vendor_id, product_id))

    def test_any_case(self) -> None:
        self.assertEqual(
            pci_names.lookup('10de', '20b5'), pci_names.lookup('10DE', '20B5')
        )

    def test_vendor_in_full(self) -> None:
        self.assertEqual(
            pci_names.Name('NVIDIA Corporation', 'TU104GL [Tesla T4]'),
            pci_names.find('10de', '1eb8'),
        )

    def test_not_gpus(self) -> None:
        for vendor_id, product_id in (
            ('10de', '1aef'),  # audio
            ('10de', '1ad8'),  # USB
            ('10de', '22a3'),  # NVSwitch
            ('15b3', '101e'),  # a network card
            ('1a03', '2000'),  # a management controller's display
            ('8086', '1533'),
            ('10de', 'ffff'),
            ('', ''),
            ('10de', ''),
            ('nonsense', '.*'),
        ):
            with self.subTest(vendor_id=vendor_id, product_id=product_id):
                self.assertFalse(pci_names.is_gpu(vendor_id, product_id))
                self.assertIsNone(pci_names.lookup(vendor_id, product_id))

    def test_table_is_small_sorted_and_only_gpus(self) -> None:
        path = pathlib.Path(pci_classes.__file__).with_name('pci_names.txt')
        text = path.read_text(encoding='utf-8')
        self.assertLess(path.stat().st_size, 150_000)
        vendors = [
            line[:4] for line in text.splitlines() if line[0] not in '#\t'
        ]
        self.assertEqual(sorted(vendors), vendors)
        total = 0
        for vendor_id in vendors:
            vendor, devices = pci_classes.section(text, vendor_id)
            self.assertTrue(vendor)
            self.assertEqual(sorted(devices), list(devices))
            for name in devices.values():
                self.assertTrue(pci_classes.is_gpu(vendor_id, name), name)
            total += len(devices)
        lines = [line for line in text.splitlines() if line[0] == '\t']
        self.assertEqual(len(lines), total)

    def test_first_lookup_is_fast(self) -> None:
        fastest = 1.0
        for _ in range(5):
            self.forget()
            start = time.perf_counter()
            pci_names.lookup('10de', '20b5')
            fastest = min(fastest, time.perf_counter() - start)
        self.assertLess(fastest, 0.03)

    def test_nothing_is_read_before_a_name_is_needed(self) -> None:
        script = (
            'import builtins, io\n'
            'from osc_gpu.cloud import resource_classes as r\n'
            'def refuse(*a, **k): raise AssertionError(a)\n'
            'builtins.open = io.open = refuse\n'
            "assert r.is_gpu_class('VGPU')\n"
            "assert not r.is_gpu_class('VCPU')\n"
            "assert not r.is_gpu_class('CUSTOM_PCI_15B3_101E')\n"
        )
        subprocess.run([sys.executable, '-c', script], check=True)


class TestSystemFile(TestCase):
    def test_newer_one_wins(self) -> None:
        self.system('b', NEWER)
        self.assertEqual(
            'NVIDIA GV100GL [Tesla V100, renamed]',
            pci_names.lookup('10de', '1db4'),
        )
        self.assertEqual(
            pci_names.Name('NVIDIA, renamed', 'GX999 [Tesla X999]'),
            pci_names.find('10DE', '9999'),
        )
        self.assertTrue(pci_names.is_gpu('1da3', '2000'))

    def test_same_rules_decide_what_a_gpu_is(self) -> None:
        self.system('b', NEWER)
        self.assertFalse(pci_names.is_gpu('10de', '20b5'))
        self.assertFalse(pci_names.is_gpu('1a03', '2000'))

    def test_what_it_lacks_comes_from_our_table(self) -> None:
        self.system('b', NEWER)
        self.assertEqual(
            'NVIDIA TU104GL [Tesla T4]', pci_names.lookup('10de', '1eb8')
        )
        self.assertTrue(pci_names.is_gpu('8086', '0bda'))

    def test_the_newest_of_several(self) -> None:
        self.system('a', NEWER)
        self.system('c', NEWER.replace('2999', '3000').replace('X999', 'Y'))
        self.assertEqual(
            'NVIDIA GY [Tesla Y]', pci_names.lookup('10de', '9999')
        )

    def test_older_one_is_not_read(self) -> None:
        self.system('a', NEWER.replace('2999', '2020'))
        self.assertIsNone(pci_names.lookup('10de', '9999'))
        self.assertEqual('', pci_names._system_text())

    def test_without_a_version(self) -> None:
        self.system('a', NEWER.partition('\n')[2])
        self.assertIsNone(pci_names.lookup('10de', '9999'))

    def test_broken_encoding(self) -> None:
        raw = NEWER.encode().replace(b'GX999', b'G\xff\xfe9')
        self.system('a', raw + b'\t\xff\xff\n\x00\x00' * 100)
        self.assertEqual(
            'NVIDIA GV100GL [Tesla V100, renamed]',
            pci_names.lookup('10de', '1db4'),
        )
        self.assertIn('[Tesla X999]', pci_names.lookup('10de', '9999') or '')

    def test_malformed_lines(self) -> None:
        self.system('a', '# Version: 2999.01.02\n10de\n\t\n\t9\n10de  \n')
        self.assertEqual(
            'NVIDIA TU104GL [Tesla T4]', pci_names.lookup('10de', '1eb8')
        )

    def test_unreadable(self) -> None:
        self.system('b', NEWER)
        (self.folder / 'a').mkdir()
        (self.folder / 'c').symlink_to('nowhere')
        self.assertTrue(pci_names.is_gpu('10de', '9999'))
        self.forget()
        with mock.patch(
            'builtins.open', autospec=True, side_effect=PermissionError
        ):
            self.assertEqual('', pci_names._read(str(self.folder / 'b')))
