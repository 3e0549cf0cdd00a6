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

import unittest

import hypothesis
from hypothesis import strategies

from osc_gpu.cloud import resource_classes


class TestIsGpuClass(unittest.TestCase):
    def test_gpus(self) -> None:
        for name in (
            'VGPU',
            'PGPU',
            'CUSTOM_GPU_A100',
            'CUSTOM_MY_VGPUS',
            'CUSTOM_NVIDIA_11',
            'CUSTOM_A40_8Q',
            'CUSTOM_A16_16A',
            'CUSTOM_A100_4_20CME',
            'CUSTOM_GRID_T4_2B',
            'CUSTOM_DC_1_24Q_GFX',
            'CUSTOM_PCI_10DE_20B5',
            'CUSTOM_PCI_1DA3_1060',
            'CUSTOM_PCI_1002_74A1',
        ):
            with self.subTest(name=name):
                self.assertTrue(resource_classes.is_gpu_class(name))

    def test_others(self) -> None:
        for name in (
            'VCPU',
            'PCPU',
            'MEMORY_MB',
            'DISK_GB',
            'SRIOV_NET_VF',
            'FPGA',
            'CUSTOM_NVIDIA',
            'CUSTOM_NVIDIA_11_X',
            'CUSTOM_NIC_100G',
            # A network card's virtual function, not a vGPU type.
            'CUSTOM_PCI_15B3_101B',
            'CUSTOM_NVME',
            'CUSTOM_8Q',
            'CUSTOM_DISK_2T',
            'CUSTOM_PCI_15B3_101E',  # a network card
            'CUSTOM_PCI_10DE_1AEF',  # a GPU's audio
            'CUSTOM_PCI_144D_A80A',  # a disk
            'CUSTOM_PCI_10DE_20B5_X',
            'CUSTOM_PCI_10DE',
            'CUSTOM_PCI_10de_20b5',
            '',
        ):
            with self.subTest(name=name):
                self.assertFalse(resource_classes.is_gpu_class(name))

    def test_what_the_user_says(self) -> None:
        self.assertTrue(
            resource_classes.is_gpu_class('CUSTOM_A100', ['CUSTOM_A100'])
        )
        self.assertTrue(
            resource_classes.is_gpu_class(
                'CUSTOM_PCI_15B3_101E', {'CUSTOM_PCI_15B3_101E'}
            )
        )
        self.assertFalse(
            resource_classes.is_gpu_class('CUSTOM_A10', ['CUSTOM_A100'])
        )


class TestModel(unittest.TestCase):
    def test_pci_ids(self) -> None:
        self.assertEqual(
            ('10de', '20b5'), resource_classes.pci_ids('CUSTOM_PCI_10DE_20B5')
        )
        for name in ('VGPU', 'CUSTOM_PCI_10DE', 'CUSTOM_PCI_10DE_20B5\n', ''):
            self.assertIsNone(resource_classes.pci_ids(name))

    def test_model(self) -> None:
        for name, model in {
            'CUSTOM_PCI_10DE_20B5': 'NVIDIA GA100 [A100 PCIe 80GB]',
            'CUSTOM_PCI_10DE_FFFF': '',
            'CUSTOM_PCI_15B3_101E': '',
            'VGPU': '',
        }.items():
            self.assertEqual(model, resource_classes.model(name))

    @hypothesis.given(strategies.integers(0, 0xFFFF), strategies.text())
    def test_never_raises(self, product: int, text: str) -> None:
        name = f'CUSTOM_PCI_10DE_{product:04X}'
        self.assertEqual(
            ('10de', f'{product:04x}'), resource_classes.pci_ids(name)
        )
        self.assertEqual(
            bool(resource_classes.model(name)),
            resource_classes.is_gpu_class(name),
        )
        resource_classes.is_gpu_class(text)
        self.assertEqual('', resource_classes.model(text))
