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

from tests.unit import base
from tests.unit import fake_aliases
from tests.unit import fake_cloud

KEY = 'pci_passthrough:alias'


class TestCheckFlavor(fake_cloud.TestCase):
    def setUp(self):
        super().setUp()
        self.aliases = fake_aliases.FakeAliases(self.nova, self.cloud)
        self.aliases.defined = {'a100'}
        self.add_cards(self.add_host('gpu1'), 2)
        self.add_flavor('one', {KEY: 'a100:1'})

    def add_flavor(self, name, specs):
        return self.nova.add(name, specs, vcpus=1, ram=128, disk=1)

    def check(self, *argv, status=0):
        result = self.openstack('gpu', 'flavor', 'check', *argv, '-f', 'json')
        self.assertEqual((status, ''), (result.status, result.stderr))
        return result.json

    def test_clean(self):
        self.assertEqual([], self.check())

    def test_error(self):
        self.add_flavor('none', {KEY: 'a100:0'})
        self.assertEqual(
            [
                {
                    'Flavor': 'none',
                    'Severity': 'error',
                    'Check': 'zero-alias',
                    'Detail': "'a100:0' asks for no device: servers are made "
                    'without this GPU; write a100:1',
                }
            ],
            self.check(status=1),
        )

    def test_warning_and_info(self):
        self.add_flavor('two', {KEY: 'a100:+2'})
        self.add_flavor('cpu', {})
        found = self.check('two', 'cpu', 'one')
        self.assertEqual(
            [
                ('cpu', 'info', 'no-gpu'),
                ('two', 'warning', 'malformed-alias'),
            ],
            [(f['Flavor'], f['Severity'], f['Check']) for f in found],
        )

    def test_resource_class(self):
        self.add_flavor('x', {'resources:CUSTOM_X': '1'})
        self.assertEqual([], self.check())
        found = self.check('--resource-class', 'CUSTOM_X', status=1)
        self.assertEqual(['unknown-class'], [f['Check'] for f in found])

    def test_unknown_flavor(self):
        line = self.fails('gpu', 'flavor', 'check', 'one', 'g9')
        self.assertEqual("Flavor 'g9' could not be found.", line)

    def test_bad_options(self):
        for argv in (('--parallel', 'x'), ('--resource-class', 'x')):
            with self.subTest(argv=argv):
                self.fails('gpu', 'flavor', 'check', *argv, status=2)
                self.assertEqual([], self.requests)

    def test_tenant(self):
        self.cloud.get(
            f'{base.PLACEMENT}/resource_providers',
            status_code=403,
            json={
                'errors': [
                    {
                        'detail': "Policy doesn't allow "
                        'placement:resource_providers:list to be performed.'
                    }
                ]
            },
        )
        line = self.fails('gpu', 'flavor', 'check')
        self.assertIn(
            'You lack the right placement:resource_providers:list', line
        )
        self.assertNotIn('POST /servers', self.requests)
