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

from osc_lib import exceptions

from osc_gpu.cloud import image_checks
from osc_gpu.cloud import image_writing
from tests.unit.cloud import wire
from tests.unit import fake_images

Wanted = image_writing.Wanted


class TestChanges(unittest.TestCase):
    def test_changes(self):
        q35 = {'hw_machine_type': 'q35'}
        for old, wanted, expected in (
            ({}, Wanted(q35), q35),
            ({'hw_machine_type': 'pc'}, Wanted(q35), q35),
            (q35, Wanted(q35), {}),
            ({}, Wanted({}, True), q35),
            # Nothing that is there is overwritten unless it is asked for.
            ({'hw_machine_type': 'pc'}, Wanted({}, True), {}),
            (
                {},
                Wanted({'hw_machine_type': 'virt'}, True),
                {'hw_machine_type': 'virt'},
            ),
            ({'a': 'b'}, Wanted({'a': 'c'}, True), {'a': 'c'} | q35),
        ):
            with self.subTest(old=old, wanted=wanted):
                self.assertEqual(expected, image_writing.changes(old, wanted))

    def test_nothing_wanted(self):
        self.assertFalse(Wanted({}))
        self.assertTrue(Wanted({}, True))
        self.assertTrue(Wanted({'a': 'b'}))


class TestWrite(wire.TestCase):
    def setUp(self):
        super().setUp()
        self.glance = fake_images.FakeGlance(self.cloud)
        self.image_id = self.glance.add('ubuntu')
        self.image = self.glance.images[self.image_id]

    def write(self, recommended=False, **properties):
        image_writing.write(
            self.conn,
            'ubuntu',
            Wanted(properties, recommended),
            image_checks.Purpose(lambda distro, version: ''),
        )

    def refused(self, **properties):
        before = dict(self.image)
        with self.assertRaises(exceptions.CommandError) as caught:
            self.write(**properties)
        self.assertEqual(before, self.image)
        return str(caught.exception)

    def test_one_request(self):
        self.write(hw_machine_type='q35', os_version='9')
        self.assertEqual(
            [
                'GET /v2/images?name=eq:ubuntu&os_hidden=false',
                f'PATCH /v2/images/{self.image_id}',
            ],
            self.requests,
        )
        self.assertEqual('q35', self.image['hw_machine_type'])

    def test_twice(self):
        self.write(hw_machine_type='q35')
        self.cloud.reset_mock()
        with self.assertNoLogs('osc_gpu', 'WARNING'):
            self.write(True, hw_machine_type='q35')
        self.assertEqual(1, len(self.requests))

    def test_what_would_break(self):
        self.image['hw_disk_bus'] = 'ide'
        self.assertEqual(
            'Image ubuntu is not changed, since then hw_disk_bus is ide, '
            'which q35 has not: servers do not start; it has sata, scsi and '
            'virtio',
            self.refused(hw_machine_type='q35'),
        )
        self.assertIn('ide', self.refused(recommended=True))
        del self.image['hw_disk_bus']
        self.assertIn('KVM has not', self.refused(hw_video_model='gop'))
        self.image['hw_architecture'] = 'aarch64'
        self.assertIn('aarch64', self.refused(hw_machine_type='pc'))
        self.assertIn('aarch64', self.refused(hw_firmware_type='bios'))

    def test_what_is_broken_already(self):
        # One thing can be mended after the other.
        self.image |= {'os_type': 'bsd', 'hw_video_model': 'gop'}
        self.write(hw_video_model='virtio')
        self.assertEqual('virtio', self.image['hw_video_model'])

    def test_firmware(self):
        self.image['hw_machine_type'] = 'q35'
        with self.assertLogs('osc_gpu', 'WARNING') as logs:
            self.write(hw_firmware_type='uefi')
        self.assertEqual(
            [
                'ubuntu: new servers boot by UEFI now, which they only can if '
                'the image has an EFI system partition; back with: openstack '
                'gpu image set --firmware-type bios ubuntu'
            ],
            [record.getMessage() for record in logs.records],
        )
        with self.assertNoLogs('osc_gpu', 'WARNING'):
            self.write(hw_firmware_type='bios')

    def test_warnings(self):
        with self.assertLogs('osc_gpu', 'WARNING') as logs:
            self.write(hw_machine_type='pc', hw_firmware_type='uefi')
        self.assertIn('have UEFI for q35 only', logs.output[0])
        self.assertEqual(2, len(logs.output))

    def test_image_of_others(self):
        self.glance.refusal = (
            403,
            'You are not authorized to complete modify_image action.',
        )
        self.assertEqual(
            'Image ubuntu is not changed: only its owner can, or an admin. '
            'You lack the right modify_image; ask for a role that has it',
            self.refused(hw_machine_type='q35'),
        )

    def test_protected_property(self):
        self.glance.refusal = (
            403,
            'Attribute &#x27;hw_machine_type&#x27; is reserved.',
        )
        self.assertEqual(
            'Image ubuntu is not changed: 403 Forbidden Attribute '
            "'hw_machine_type' is reserved.",
            self.refused(hw_machine_type='q35'),
        )
