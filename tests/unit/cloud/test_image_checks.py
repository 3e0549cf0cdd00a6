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

from osc_lib import exceptions

from osc_gpu.cloud import image_checks
from tests.unit.cloud import wire
from tests.unit import fake_flavors
from tests.unit import fake_images


def system_of(distro, version):
    return f'{distro}-{version}' if distro == 'ubuntu' else ''


class TestRead(fake_flavors.TestCase, wire.TestCase):
    def setUp(self):
        super().setUp()
        self.glance = fake_images.FakeGlance(self.cloud)
        self.bad = self.glance.add('bad', hw_firmware_type='UEFI')
        self.plain = self.glance.add('plain')

    def read(self, *names, **purpose):
        found = image_checks.read(
            self.conn, names, image_checks.Purpose(system_of, **purpose)
        )
        return [(f.subject, f.severity, f.check) for f in found]

    def test_all(self):
        # What is only advice is left out.
        self.assertEqual([('bad', 'error', 'unknown-value')], self.read())
        self.assertEqual(['GET /v2/images?limit=1000'], self.requests)

    def test_named(self):
        self.assertEqual(
            [
                ('plain', 'info', 'firmware-type'),
                ('plain', 'info', 'machine-type'),
                ('plain', 'info', 'system'),
                ('plain', 'info', 'video-model'),
            ],
            self.read('plain'),
        )
        self.assertEqual(
            ['GET /v2/images?name=eq:plain&os_hidden=false'], self.requests
        )

    def test_several(self):
        found = self.read('plain', self.bad, 'plain', 'bad')
        # Each once, and called what it was called first.
        self.assertEqual({'plain', self.bad}, {name for name, *_ in found})
        self.assertEqual(len(set(found)), len(found))
        self.assertEqual(3, len(self.requests))

    def test_flavor(self):
        self.nova.add(
            'g1', {'pci_passthrough:alias': 'a100:1'}, ram=128, disk=1
        )
        self.glance.images[self.plain]['min_ram'] = 256
        self.glance.images[self.plain]['hw_machine_type'] = 'pc'
        self.assertEqual(
            [
                ('bad', 'error', 'unknown-value'),
                ('plain', 'error', 'min-ram'),
                ('plain', 'warning', 'machine-type'),
            ],
            self.read(flavor='g1'),
        )
        self.assertEqual(
            [
                'GET /flavors/detail?is_public=None',
                'GET /v2/images?limit=1000',
            ],
            self.requests,
        )

    def test_class_of_its_own(self):
        self.nova.add('g1', {'resources:CUSTOM_X': '1'}, disk=20)
        self.assertIn(
            ('plain', 'info', 'no-gpu'), self.read('plain', flavor='g1')
        )
        self.assertNotIn(
            ('plain', 'info', 'no-gpu'),
            self.read('plain', flavor='g1', also=['CUSTOM_X']),
        )

    def test_driver(self):
        image = self.glance.images[self.plain]
        self.assertIn(
            ('plain', 'warning', 'system'), self.read(driver='nvidia')
        )
        image |= {'os_distro': 'fedora', 'os_version': '41'}
        self.assertIn(('plain', 'error', 'system'), self.read(driver='nvidia'))
        image['os_distro'] = 'ubuntu'
        checks = [check for *_rest, check in self.read(driver='nvidia')]
        self.assertNotIn(('plain', 'error', 'system'), checks)

    def test_same_names(self):
        twin = self.glance.add('bad', hw_firmware_type='efi')
        self.assertEqual(
            sorted(
                (name, 'error', 'unknown-value') for name in (self.bad, twin)
            ),
            self.read(),
        )

    def test_unknown(self):
        for names, purpose, words in (
            (('nothing',), {}, "Image 'nothing' could not be found."),
            ((), {'flavor': '.'}, "Flavor '.' could not be found."),
        ):
            with self.assertRaisesRegex(exceptions.CommandError, words):
                self.read(*names, **purpose)
