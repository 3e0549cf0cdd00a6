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
from osc_gpu.cloud import placement
from osc_gpu.cloud import servers

ID = '11111111-2222-4333-8444-555555555555'
A100 = 'CUSTOM_PCI_10DE_20B5'


def raw_server(**changes):
    """A server as Nova shows it to an admin at 2.69."""
    return {
        'id': ID,
        'name': 'train',
        'status': 'ACTIVE',
        'tenant_id': 'p' * 32,
        'user_id': 'u' * 32,
        'created': '2026-11-21T05:00:00Z',
        'addresses': {
            'private': [
                {'addr': '10.0.0.5', 'version': 4},
                {'addr': '203.0.113.9', 'version': 4},
            ]
        },
        'flavor': {
            'original_name': 'g1.a100',
            'vcpus': 8,
            'ram': 16384,
            'disk': 40,
            'extra_specs': {'pci_passthrough:alias': 'a100:2'},
        },
        'OS-EXT-SRV-ATTR:host': 'gpu1',
    } | changes


class TestParse(unittest.TestCase):
    def test_admin(self):
        server = servers.parse(raw_server())
        self.assertEqual(
            servers.GpuServer(
                id=ID,
                name='train',
                status='ACTIVE',
                flavor='g1.a100',
                gpu_request=extra_specs.parse_request('a100:2'),
                host='gpu1',
                project_id='p' * 32,
                user_id='u' * 32,
                created_at='2026-11-21T05:00:00Z',
                addresses={'private': ('10.0.0.5', '203.0.113.9')},
                fault='',
            ),
            server,
        )

    def test_tenant(self):
        raw = raw_server()
        del raw['OS-EXT-SRV-ATTR:host']
        self.assertEqual('', servers.parse(raw).host)

    def test_no_host_yet(self):
        raw = raw_server(**{'OS-EXT-SRV-ATTR:host': None})
        self.assertEqual('', servers.parse(raw).host)

    def test_fault(self):
        raw = raw_server(fault={'code': 500, 'message': 'No valid host.'})
        self.assertEqual('No valid host.', servers.parse(raw).fault)
        self.assertEqual('', servers.parse(raw_server(fault=None)).fault)

    def test_hidden_extra_specs(self):
        server = servers.parse(raw_server(flavor={'original_name': 'g1'}))
        self.assertTrue(server.is_hidden)
        self.assertFalse(server.is_partial)
        self.assertFalse(server.gpu_request)
        self.assertEqual('g1', server.flavor)

    def test_no_extra_specs_are_not_hidden(self):
        server = servers.parse(
            raw_server(flavor={'original_name': 'm1', 'extra_specs': {}})
        )
        self.assertFalse(server.is_hidden)

    def test_cell_down(self):
        server = servers.parse(
            {'id': ID, 'status': 'UNKNOWN', 'tenant_id': 'p', 'created': 'c'}
        )
        self.assertTrue(server.is_partial)
        self.assertFalse(server.is_hidden)
        self.assertEqual(
            ('', '', {}), (server.name, server.flavor, server.addresses)
        )

    def test_addresses_without_address(self):
        raw = raw_server(addresses={'private': [{}], 'empty': []})
        self.assertEqual(
            {'private': (), 'empty': ()}, servers.parse(raw).addresses
        )

    def test_also(self):
        raw = raw_server(
            flavor={
                'original_name': 'x',
                'extra_specs': {'resources:CUSTOM_BIGCARD': '1'},
            }
        )
        self.assertFalse(servers.parse(raw).gpu_request)
        self.assertEqual(
            'CUSTOM_BIGCARD:1',
            servers.parse(raw, ['CUSTOM_BIGCARD']).gpu_request.text,
        )


class TestDevices(unittest.TestCase):
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
                servers.Device('gpu_1', '0000:41:00.0', 'VGPU', 1),
                servers.Device('gpu_1', '0000:a1:00.0', A100, 1),
            ),
            servers.devices(held, self.providers),
        )

    def test_no_gpu(self):
        held = {'root': {'VCPU': 8}, 'nic': {'CUSTOM_PCI_8086_1572': 1}}
        self.assertEqual((), servers.devices(held, self.providers))

    def test_also(self):
        held = {'card': {'CUSTOM_BIGCARD': 2}}
        self.assertEqual((), servers.devices(held, self.providers))
        self.assertEqual(
            (servers.Device('gpu_1', '0000:a1:00.0', 'CUSTOM_BIGCARD', 2),),
            servers.devices(held, self.providers, ['CUSTOM_BIGCARD']),
        )

    def test_provider_is_gone(self):
        self.assertEqual(
            (servers.Device('', 'gone', 'VGPU', 1),),
            servers.devices({'gone': {'VGPU': 1}}, {}),
        )

    def test_root_is_gone(self):
        providers = {'card': self.providers['card']}
        self.assertEqual(
            (servers.Device('', '0000:a1:00.0', A100, 1),),
            servers.devices({'card': {A100: 1}}, providers),
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
            (servers.Device('gpu_1', '0000:a1:00.0', 'CUSTOM_BIGCARD', 1),),
            servers.devices(held, providers, any_class=True),
        )

    def test_a_host_named_like_a_device(self):
        providers = {
            'r': placement.Provider('r', 'rack_0000:a1:00.0', 'r'),
        }
        self.assertEqual(
            (),
            servers.devices({'r': {'VCPU': 1}}, providers, any_class=True),
        )
