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

from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import guest_drivers


def request(text):
    return extra_specs.parse_request(text)


class TestVendors(unittest.TestCase):
    def test_vendors(self):
        for text, right in (
            ('a100:2', {'10de'}),
            ('NVIDIA-L40S', {'10de'}),
            ('gpu_v100_32g', {'10de'}),
            ('k80', {'10de'}),
            ('mi300x', {'1002'}),
            ('CUSTOM_PCI_1002_74A1', {'1002'}),
            ('CUSTOM_PCI_10DE_20B5,mi300x', {'10de', '1002'}),
            ('nvidia-t4', {'10de'}),
            ('T4:2', {'10de'}),
            ('gpu_l4', {'10de'}),
            ('p4', {'10de'}),
            ('nvidia', {'10de'}),
            ('gpu-nvidia-a2', {'10de'}),
            ('amd-gpu', {'1002'}),
            ('Radeon_1', {'1002'}),
            ('intel_gpu', {'8086'}),
            # Two vendors have one; neither is AMD.
            ('a40', {'10de', '8086'}),
            ('intel-a40', {'8086'}),
            ('nvidia-a40', {'10de'}),
            # In a host with AMD's processors, or with memory of some size.
            ('amd-a100', {'1002', '10de'}),
            ('mi300x-80gb', {'1002'}),
            ('CUSTOM_NVIDIA_11', {'10de'}),
            ('CUSTOM_NVIDIA_A40_8Q', {'10de'}),
            ('CUSTOM_A100_4_20CME', {'10de'}),
            ('CUSTOM_AMD_VGPU', {'1002'}),
            # What is called so may be anything.
            ('a1', set()),
            ('a2:2', set()),
            ('g4', set()),
            ('r7', set()),
            ('gpu', set()),
            ('gpu1', set()),
            ('gpu-80gb', set()),
            ('gpu_x86_64', set()),
            ('pcie-gen3', set()),
            ('VGPU', set()),
            ('CUSTOM_VGPU', set()),
        ):
            self.assertEqual(right, guest_drivers.vendor_ids(request(text)))


class TestMisfit(unittest.TestCase):
    def misfit(self, text, driver, **more):
        vendor = {'none': '', 'amdgpu': '1002'}.get(driver, '10de')
        return guest_drivers.misfit(
            request(text), driver, vendor, driver == 'nvidia-vgpu', **more
        )

    def test_fits(self):
        for text, *drivers in (
            ('a100', 'none', 'nvidia', 'nvidia-open'),
            ('mi300x', 'none', 'amdgpu'),
            ('gpu:2', 'nvidia', 'amdgpu'),
            ('VGPU', 'none', 'nvidia-vgpu'),
            ('PGPU', 'nvidia', 'amdgpu'),
            ('a1,a2', 'nvidia', 'nvidia-open', 'amdgpu'),
            ('nvidia-t4', 'nvidia', 'nvidia-open'),
            ('a40', 'nvidia', 'nvidia-open'),
            ('CUSTOM_NVIDIA_11', 'none', 'nvidia-vgpu'),
            ('CUSTOM_NVIDIA_A40_8Q', 'none', 'nvidia-vgpu'),
            ('CUSTOM_AMD_VGPU', 'amdgpu'),
            # Ironic's, and one that only its user knows to be GPUs.
            ('CUSTOM_BAREMETAL_GPU', 'nvidia', 'amdgpu', 'nvidia-vgpu'),
            ('CUSTOM_FAST', 'nvidia', 'amdgpu', 'nvidia-vgpu'),
            ('a100,VGPU', 'nvidia', 'nvidia-vgpu'),
            ('CUSTOM_PCI_10DE_20B5', 'nvidia'),
        ):
            for driver in drivers:
                self.assertEqual('', self.misfit(text, driver), text)

    def test_another_vendor(self):
        self.assertIn('cards of NVIDIA in a100:2', self.misfit(
            'a100:2', 'amdgpu'))  # fmt: skip
        self.assertIn('cards of AMD', self.misfit('mi300x', 'nvidia'))
        self.assertIn('AMD', self.misfit('CUSTOM_PCI_1002_74A1', 'nvidia'))
        for text in ('nvidia-t4', 'l4', 'p4', 'CUSTOM_NVIDIA_A40_8Q'):
            self.assertIn('cards of NVIDIA', self.misfit(text, 'amdgpu'))
        self.assertIn(
            'cards of Intel, NVIDIA in a40', self.misfit('a40', 'amdgpu')
        )
        for driver in ('nvidia', 'nvidia-vgpu'):
            self.assertIn('cards of AMD', self.misfit('amd', driver))

    def test_whole_and_virtual(self):
        for text in ('a100', 'gpu', 'PGPU', 'CUSTOM_PCI_10DE_20B5'):
            self.assertIn(
                'passed through whole', self.misfit(text, 'nvidia-vgpu')
            )
        for driver in ('nvidia', 'nvidia-open', 'amdgpu'):
            self.assertIn(
                '--driver nvidia-vgpu', self.misfit('VGPU:2', driver)
            )
        for text in (
            'CUSTOM_NVIDIA_11',
            'CUSTOM_NVIDIA_A40_8Q',
            'CUSTOM_A40_8Q',
            'CUSTOM_VGPU_SMALL',
        ):
            for driver in ('nvidia', 'nvidia-open'):
                self.assertIn('is a vGPU', self.misfit(text, driver), text)

    def test_virtual_functions(self):
        for text in ('l40s', 'CUSTOM_PCI_10DE_26B9'):
            self.assertEqual(
                '',
                self.misfit(text, 'nvidia-vgpu', has_virtual_functions=True),
            )
            self.assertIn(
                'is a vGPU',
                self.misfit(text, 'nvidia', has_virtual_functions=True),
            )
