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

from osc_gpu.sandbox import guest_hardware

HOSTS = [
    {
        'name': 'gpu1',
        'cards': [
            {'type': 'PCI', 'vendor_id': '10de', 'product_id': '20b5',
             'address': '0000:2A:00.0'},
            {'type': 'PF', 'vendor_id': '10de', 'product_id': '2235',
             'address': '0000:e1:00.0', 'vfs': 9, 'vf_product_id': '2236'},
        ],
    },
    {
        'name': 'vgpu1',
        'cards': [
            {'type': 'mdev', 'vendor_id': '10de', 'product_id': '13f2',
             'address': '0000:41:00.0', 'mdev_types': []},
            {'type': 'PCI', 'vendor_id': 'abcd', 'product_id': '0001',
             'address': '0000:42:00.0'},
        ],
    },
]  # fmt: skip


def guest(uuid='s', state='running', devices=(), mdevs=()):
    return {'uuid': uuid, 'state': state, 'devices': devices, 'mdevs': mdevs}


class TestHardware(unittest.TestCase):
    def gpus(self, **guests):
        return guest_hardware.of_server(HOSTS, guests, 's')

    def test_cards(self):
        found = self.gpus(
            gpu1=[
                guest('other', devices=['0000:2a:00.0']),
                guest(devices=['0000:2a:00.0', '0000:e1:01.1']),
            ],
            vgpu1=[],
        )
        self.assertEqual(
            (
                guest_hardware.Gpu(
                    '10de', '20b5', 'NVIDIA A100 PCIe 80GB', 81920, '0302'
                ),
                '2236',
            ),
            (found[0], found[1].product_id),
        )

    def test_mdevs(self):
        mdev = {'uuid': 'm', 'parent': '0000:41:00.0', 'type': 'nvidia-11'}
        self.assertEqual(
            (
                guest_hardware.Gpu(
                    '10de', '13f2', 'NVIDIA Tesla M60 nvidia-11', 2048, '0300'
                ),
            ),
            self.gpus(vgpu1=[guest(mdevs=[mdev])]),
        )

    def test_unknown(self):
        (found,) = self.gpus(vgpu1=[guest(devices=['0000:42:00.0'])])
        self.assertEqual('abcd 0001', found.name)

    def test_none_runs(self):
        for state in ('shutoff', 'paused'):
            guests = [guest(state=state, devices=['0000:2a:00.0'])]
            self.assertEqual((), self.gpus(gpu1=guests))
        self.assertEqual((), self.gpus())
