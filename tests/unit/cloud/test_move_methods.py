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


from osc_gpu.cloud import move_methods
from osc_gpu.cloud import servers
from tests.unit import base

LIVE = frozenset(['COMPUTE_MANAGED_PCI_DEVICE', 'HW_PCI_LIVE_MIGRATABLE'])
FIXED = frozenset(['COMPUTE_MANAGED_PCI_DEVICE'])
ALIAS = {'pci_passthrough:alias': 'a:2'}
VGPU = {'resources:VGPU': '1'}


def server(specs, status='ACTIVE', image='i', ephemeral=0):
    flavor = {'original_name': 'g', 'extra_specs': specs}
    flavor['OS-FLV-EXT-DATA:ephemeral'] = ephemeral
    return servers.parse(
        {
            'id': 's',
            'status': status,
            'image': image,
            'flavor': flavor | {'ephemeral': ephemeral},
        }
    )


class TestChoose(base.TestCase):
    def chosen(self, *asked, wanted='', **more):
        specs, *traits = asked
        choice = move_methods.choose(server(specs, **more), traits, wanted)
        self.assertTrue(choice.why)
        return choice.method

    def test_as_asked(self):
        for method in ('cold', 'shelve', 'live'):
            for specs in ({}, ALIAS, VGPU):
                choice = move_methods.choose(server(specs), (), method)
                self.assertEqual((method, 'as asked'), choice)

    def test_without_gpu(self):
        self.assertEqual('live', self.chosen({}))
        self.assertEqual('live', self.chosen({}, image=''))
        self.assertEqual('cold', self.chosen({}, status='SHUTOFF'))

    def test_alias(self):
        self.assertEqual('live', self.chosen(ALIAS, LIVE, LIVE))
        self.assertEqual('cold', self.chosen(ALIAS, LIVE, FIXED))
        self.assertEqual('cold', self.chosen(ALIAS, FIXED, FIXED))
        self.assertEqual(
            'cold', self.chosen(ALIAS, LIVE, LIVE, status='SHUTOFF')
        )
        self.assertEqual('live', self.chosen(ALIAS, LIVE, LIVE, image=''))

    def test_alias_of_which_not_all_devices_are_known(self):
        self.assertEqual('cold', self.chosen(ALIAS))
        self.assertEqual('cold', self.chosen(ALIAS, LIVE))

    def test_vgpu_is_never_live_by_itself(self):
        choice = move_methods.choose(server(VGPU), (LIVE,))
        self.assertEqual('cold', choice.method)
        self.assertIn('--method live', choice.why)
        self.assertEqual('cold', self.chosen(ALIAS | VGPU, LIVE, LIVE, LIVE))

    def test_volume(self):
        for specs in (ALIAS, VGPU):
            self.assertEqual('shelve', self.chosen(specs, image=''))
            self.assertEqual('cold', self.chosen(specs, image='', ephemeral=1))
            for status in ('SHUTOFF', 'PAUSED', 'VERIFY_RESIZE', 'ERROR'):
                self.assertEqual(
                    'cold', self.chosen(specs, image='', status=status)
                )

    def test_volume_that_may_come_back(self):
        found = server(ALIAS, image='')
        choice = move_methods.choose(found, (), may_return=True)
        self.assertEqual('cold', choice.method)
        choice = move_methods.choose(found, (), 'shelve', may_return=True)
        self.assertEqual('shelve', choice.method)

    def test_hidden_flavor(self):
        found = servers.parse({'id': 's', 'status': 'ACTIVE', 'flavor': {}})
        self.assertEqual('live', move_methods.choose(found, ()).method)
