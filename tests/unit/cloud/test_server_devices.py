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

from osc_gpu.cloud import placement
from osc_gpu.cloud import server_devices

A100 = 'CUSTOM_PCI_10DE_20B5'


class TestJoin(unittest.TestCase):
    providers = {
        'root': placement.Provider('root', 'gpu_1', 'root'),
        'card': placement.Provider('card', 'gpu_1_0000:A1:00.0', 'root'),
        'mdev': placement.Provider('mdev', 'gpu_1_pci_0000_41_00_0', 'root'),
    }

    def test_join(self):
        held = {
            'root': {'VCPU': 8, 'MEMORY_MB': 1024},
            'mdev': {'VGPU': 1},
            'card': {A100: 1},
        }
        self.assertEqual(
            (
                server_devices.Device('gpu_1', '0000:41:00.0', 'VGPU', 1),
                server_devices.Device('gpu_1', '0000:a1:00.0', A100, 1),
            ),
            server_devices.join(held, self.providers),
        )

    def test_no_gpu(self):
        held = {'root': {'VCPU': 8}, 'nic': {'CUSTOM_PCI_8086_1572': 1}}
        self.assertEqual((), server_devices.join(held, self.providers))

    def test_also(self):
        held = {'card': {'CUSTOM_BIGCARD': 2}}
        self.assertEqual((), server_devices.join(held, self.providers))
        self.assertEqual(
            (
                server_devices.Device(
                    'gpu_1', '0000:a1:00.0', 'CUSTOM_BIGCARD', 2
                ),
            ),
            server_devices.join(held, self.providers, ['CUSTOM_BIGCARD']),
        )

    def test_provider_is_gone(self):
        self.assertEqual(
            (server_devices.Device('', 'gone', 'VGPU', 1),),
            server_devices.join({'gone': {'VGPU': 1}}, {}),
        )

    def test_root_is_gone(self):
        providers = {'card': self.providers['card']}
        self.assertEqual(
            (server_devices.Device('', '0000:a1:00.0', A100, 1),),
            server_devices.join({'card': {A100: 1}}, providers),
        )

    def test_any_class_of_pci_devices(self):
        held = {
            'root': {'VCPU': 8, 'MEMORY_MB': 1024, 'DISK_GB': 1},
            'card': {'CUSTOM_BIGCARD': 1},
            'other': {'CUSTOM_STORAGE': 1},
            'gone': {'CUSTOM_GONE': 1},
        }
        providers = self.providers | {
            'other': placement.Provider('other', 'gpu_1:x', 'root'),
        }
        self.assertEqual(
            (
                server_devices.Device(
                    'gpu_1', '0000:a1:00.0', 'CUSTOM_BIGCARD', 1
                ),
            ),
            server_devices.join(held, providers, any_class=True),
        )

    def test_a_host_named_like_a_device(self):
        providers = {
            'r': placement.Provider('r', 'rack_0000:a1:00.0', 'r'),
        }
        self.assertEqual(
            (),
            server_devices.join({'r': {'VCPU': 1}}, providers, any_class=True),
        )
