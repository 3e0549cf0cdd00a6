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
from osc_gpu.cloud import servers

ID = '11111111-2222-4333-8444-555555555555'
A100 = 'CUSTOM_PCI_10DE_20B5'


def raw_server(**changes):
    """A server as Nova shows it to an admin at 2.73."""
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
                own_flavor=server.own_flavor,
            ),
            server,
        )

    def test_lock(self):
        server = servers.parse(
            raw_server(locked=True, locked_reason='mine', hostId='abc')
        )
        self.assertTrue(server.is_locked)
        self.assertEqual(
            ('mine', 'abc'), (server.locked_reason, server.host_id)
        )
        self.assertFalse(servers.parse(raw_server()).is_locked)

    def test_volume(self):
        self.assertTrue(servers.parse(raw_server()).has_image)
        self.assertFalse(servers.parse(raw_server(image='')).has_image)

    def test_own_flavor(self):
        own = servers.parse(raw_server()).own_flavor
        self.assertEqual((8, 16384, 40), (own.vcpus, own.ram, own.disk))
        self.assertEqual({'pci_passthrough:alias': 'a100:2'}, own.extra_specs)
        flavor = {'original_name': 'g1'}
        self.assertIsNone(servers.parse(raw_server(flavor=flavor)).own_flavor)

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
