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

from tests.unit import fake_flavors
from tests.unit import fake_images

COLUMNS = ['Severity', 'Check', 'Subject', 'Detail', 'Repair']


class TestCase(fake_flavors.TestCase):
    def setUp(self):
        super().setUp()
        self.glance = fake_images.FakeGlance(self.cloud)
        self.image_id = self.glance.add(
            'ubuntu',
            hw_machine_type='q35',
            hw_firmware_type='uefi',
            hw_video_model='virtio',
            os_distro='ubuntu',
            os_version='24.04',
        )
        self.image = self.glance.images[self.image_id]


class TestCheckImage(TestCase):
    def check(self, *argv, status=0):
        result = self.openstack('gpu', 'image', 'check', *argv, '-f', 'json')
        self.assertEqual((status, ''), (result.status, result.stderr))
        return result.json

    def test_clean(self):
        self.assertEqual([], self.check())
        self.assertEqual([], self.check('ubuntu', self.image_id))

    def test_error(self):
        self.image['hw_disk_bus'] = 'ide'
        self.assertEqual(
            [
                dict(
                    zip(
                        COLUMNS,
                        (
                            'error',
                            'ide',
                            'ubuntu',
                            'hw_disk_bus is ide, which q35 has not: servers '
                            'do not start; it has sata, scsi and virtio',
                            'openstack image set --property hw_disk_bus=sata '
                            'ubuntu',
                        ),
                        strict=True,
                    )
                )
            ],
            self.check(status=1),
        )

    def test_warning_and_info(self):
        self.image |= {'hw_machine_type': 'pc', 'img_hide_hypervisor_id': '1'}
        found = self.check('ubuntu')
        self.assertEqual(
            [('warning', 'machine-type'), ('info', 'hide-hypervisor')],
            [(f['Severity'], f['Check']) for f in found],
        )

    def test_flavor_and_driver(self):
        self.nova.add('g1', {'os:secure_boot': 'required'}, disk=0)
        found = self.check(
            'ubuntu', '--flavor', 'g1', '--driver', 'nvidia-open', status=1
        )
        self.assertEqual(
            [('error', 'secure-boot'), ('info', 'no-gpu')],
            [(f['Severity'], f['Check']) for f in found],
        )
        self.nova.specs('id-g1')['resources:CUSTOM_X'] = '1'
        found = self.check(
            'ubuntu', '--flavor', 'g1', '--resource-class', 'CUSTOM_X'
        )
        self.assertEqual(['secure-boot'], [f['Check'] for f in found])

    def test_driver_of_another_vendor(self):
        self.nova.add('g1', {'pci_passthrough:alias': 'nvidia-t4:1'}, disk=0)
        found = self.check(
            'ubuntu', '--flavor', 'g1', '--driver', 'amdgpu', status=1
        )
        self.assertIn(
            ('error', 'driver'), [(f['Severity'], f['Check']) for f in found]
        )

    def test_system(self):
        self.image['os_distro'] = 'fedora'
        found = self.check('--driver', 'amdgpu', status=1)
        self.assertEqual(['system'], [f['Check'] for f in found])

    def test_bad_options(self):
        for argv in (
            ('--driver', 'cuda'),
            ('--flavor', ''),
            ('',),
            ('--resource-class', 'x'),
        ):
            with self.subTest(argv=argv):
                self.fails('gpu', 'image', 'check', *argv, status=2)
        self.assertEqual([], self.requests)

    def test_unknown_image(self):
        line = self.fails('gpu', 'image', 'check', 'ubuntu', 'i9')
        self.assertEqual("Image 'i9' could not be found.", line)


class TestSetImage(TestCase):
    def set(self, *argv):
        """Set something; return what was written, and said."""
        result = self.openstack('gpu', 'image', 'set', 'ubuntu', *argv)
        self.assertEqual((0, ''), (result.status, result.stdout), result)
        written = {
            change['path'][1:]: change['value']
            for patch in self.glance.patches
            for change in patch
        }
        self.assertLessEqual(len(self.glance.patches), 1)
        self.glance.patches.clear()
        return written, result.stderr

    def test_every_option(self):
        written, said = self.set(
            '--machine-type', 'pc-q35-9.0',
            '--firmware-type', 'bios',
            '--secure-boot', 'disabled',
            '--video-model', 'none',
            '--numa-policy', 'socket',
            '--hide-hypervisor',
            '--guest-os', 'rocky-9.4',
        )  # fmt: skip
        self.assertEqual(
            {
                'hw_machine_type': 'pc-q35-9.0',
                'hw_firmware_type': 'bios',
                'os_secure_boot': 'disabled',
                'hw_video_model': 'none',
                'hw_pci_numa_affinity_policy': 'socket',
                'img_hide_hypervisor_id': 'true',
                'os_distro': 'rocky',
                'os_version': '9.4',
                'os_type': 'linux',
            },
            written,
        )
        self.assertEqual('', said)
        self.assertEqual(
            ({'img_hide_hypervisor_id': 'false'}, ''),
            self.set('--show-hypervisor', '--recommended'),
        )

    def test_other_names_of_systems(self):
        for text, distro, version in (
            ('alma-9', 'almalinux', '9'),
            ('rockylinux-8.10', 'rocky', '8.10'),
            ('opensuse-leap-15.6', 'opensuse-leap', '15.6'),
        ):
            with self.subTest(text):
                self.set('--guest-os', text)
                self.assertEqual(
                    (distro, version),
                    (self.image['os_distro'], self.image['os_version']),
                )

    def test_recommended(self):
        for key in ('hw_machine_type', 'hw_firmware_type', 'hw_video_model'):
            del self.image[key]
        self.assertEqual(
            ({'hw_machine_type': 'q35'}, ''), self.set('--recommended')
        )
        self.assertEqual(({}, ''), self.set('--recommended'))

    def test_firmware_is_said(self):
        self.image['hw_firmware_type'] = 'bios'
        written, said = self.set('--firmware-type', 'uefi')
        self.assertEqual({'hw_firmware_type': 'uefi'}, written)
        self.assertIn('EFI system partition', said)

    def test_nothing(self):
        line = self.fails('gpu', 'image', 'set', 'ubuntu')
        self.assertEqual(
            'Nothing to set: give --recommended or another option', line
        )
        self.assertEqual([], self.requests)

    def test_bad_options(self):
        for argv, words in (
            (('--firmware-type', 'UEFI'), "'bios', 'uefi'"),
            (('--secure-boot', 'yes'), "'disabled', 'optional', 'required'"),
            (('--video-model', 'cirrus2'), "'cirrus'"),
            (('--numa-policy', 'strict'), "'socket'"),
            (('--machine-type', 'q35; x'), 'right are q35, pc, virt'),
            (('--guest-os', 'ubuntu'), 'not <distro>-<version>'),
            (('--guest-os', 'Ubuntu-24.04'), 'not <distro>-<version>'),
            (('--guest-os', 'ubuntu-24.04\n'), 'not <distro>-<version>'),
            (('--guest-os', 'ubuntu-$(id)'), 'not <distro>-<version>'),
            (('--hide-hypervisor', '--show-hypervisor'), 'not allowed with'),
        ):
            with self.subTest(argv=argv):
                said = self.fails(
                    'gpu', 'image', 'set', 'ubuntu', *argv, status=2
                )
                # Newer Pythons quote no choices.
                self.assertIn(words.replace("'", ''), said.replace("'", ''))
        self.fails('gpu', 'image', 'set', '', '--recommended', status=2)
        self.assertEqual([], self.requests)

    def test_refused(self):
        line = self.fails(
            'gpu', 'image', 'set', 'ubuntu', '--video-model', 'xen'
        )
        self.assertIn('Image ubuntu is not changed, since then', line)
        self.glance.refusal = (
            403,
            'You are not authorized to complete modify_image action.',
        )
        line = self.fails(
            'gpu', 'image', 'set', 'ubuntu', '--machine-type', 'pc'
        )
        self.assertIn('only its owner can, or an admin', line)
        self.assertEqual([], self.glance.patches)
