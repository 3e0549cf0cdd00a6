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

from osc_gpu.cloud import image_flavor_checks
from tests.unit.cloud import test_image_property_checks

ALIAS = {'pci_passthrough:alias': 'a100:1'}
GIB = 1 << 30


def check(properties, specs, image=None, driver='', **flavor):
    subject = test_image_property_checks.subject(
        properties, specs, image=image or {}, driver=driver
    )
    made = test_image_property_checks.test_flavor_spec_checks.make(
        specs, **flavor
    )
    return [
        (found.severity, found.check, found.detail, found.repair)
        for found in image_flavor_checks.check(subject, made)
    ]


class TestCheck(unittest.TestCase):
    def assert_found(self, severity, name, words, repair, *args, **more):
        found = check(*args, **more)
        self.assertEqual(
            [(severity, name, repair)],
            [(item[0], item[1], item[3]) for item in found],
            found,
        )
        self.assertIn(words, found[0][2])

    def assert_clean(self, *args, **more):
        self.assertEqual([], check(*args, **more))

    def test_clean(self):
        self.assert_clean({}, ALIAS)
        self.assert_clean({}, {'resources:VGPU': '1'})

    def test_no_gpu(self):
        self.assert_found(
            'info', 'no-gpu', 'flavor g1 requests no GPU', '', {}, {}
        )

    def test_driver(self):
        vgpu = {'resources:CUSTOM_NVIDIA_A40_8Q': '1'}
        for driver, specs in (
            ('none', ALIAS),
            ('nvidia', ALIAS),
            ('nvidia-open', ALIAS),
            ('nvidia-vgpu', vgpu),
            ('amdgpu', {'pci_passthrough:alias': 'a1:1'}),
        ):
            self.assert_clean({}, specs, driver=driver)
        for driver, specs, severity, words in (
            ('amdgpu', ALIAS, 'error', 'cards of NVIDIA in a100:1'),
            ('nvidia', vgpu, 'error', 'is a vGPU'),
            # Who creates the server may know that it is one.
            ('nvidia-vgpu', ALIAS, 'warning', '--virtual-functions if'),
        ):
            self.assert_found(
                severity, 'driver', words, '', {}, specs, driver=driver
            )

    def test_min_ram(self):
        image = {'min_ram': 256}
        self.assert_found(
            'error',
            'min-ram',
            'wants 256 MiB of RAM, flavor g1 has 255',
            '',
            {},
            ALIAS,
            image,
            ram=255,
        )
        self.assert_clean({}, ALIAS, image, ram=256)

    def test_min_disk(self):
        for image in (
            {'min_disk': 4},
            {'size': 3 * GIB + 1},
            {'size': 1, 'virtual_size': 4 * GIB},
            {'min_disk': 1, 'virtual_size': 4 * GIB - 1},
        ):
            with self.subTest(image):
                self.assert_found(
                    'error',
                    'min-disk',
                    'wants a disk of 4 GiB, flavor g1 has 3',
                    '',
                    {},
                    ALIAS,
                    image,
                    disk=3,
                )
                self.assert_clean({}, ALIAS, image, disk=4)
                # As much as the image takes.
                self.assert_clean({}, ALIAS, image, disk=0)

    def test_conflicts(self):
        for key, own, spec, asked in (
            (
                'hw_pci_numa_affinity_policy',
                'preferred',
                'hw:pci_numa_affinity_policy',
                'required',
            ),
            ('os_secure_boot', 'required', 'os:secure_boot', 'disabled'),
            (
                'hw_maxphysaddr_mode',
                'passthrough',
                'hw:maxphysaddr_mode',
                'emulate',
            ),
        ):
            with self.subTest(key):
                self.assert_found(
                    'error',
                    'conflict',
                    f'{key} is {own}, and {spec} of flavor g1 is {asked}',
                    f'openstack image unset --property {key} i1',
                    {key: own},
                    ALIAS | {spec: asked},
                )
                self.assert_clean({key: own}, ALIAS | {spec: own})
                self.assert_clean({key: own}, ALIAS)
                self.assert_clean({}, ALIAS | {spec: asked})

    def test_hiding(self):
        key, spec = 'img_hide_hypervisor_id', 'hw:hide_hypervisor_id'
        unset = f'openstack image unset --property {key} i1'
        for own, specs in (
            ('true', {spec: 'false'}),
            ('false', {spec: 'true'}),
            ('false', {'hide_hypervisor_id': 'true'}),
        ):
            with self.subTest(own=own, specs=specs):
                self.assert_found(
                    'warning',
                    'conflict',
                    'the hypervisor is hidden',
                    unset,
                    {key: own},
                    ALIAS | specs,
                )
        for own, specs in (
            ('true', {spec: 'yes'}),
            ('false', {spec: '0'}),
            ('true', {}),
        ):
            self.assert_clean({key: own}, ALIAS | specs)

    def test_address_space(self):
        eight = {'pci_passthrough:alias': 'a100:8'}
        self.assert_found(
            'warning',
            'maxphysaddr',
            '1024 MiB of RAM and 8 GPUs',
            'openstack image set --property hw_maxphysaddr_mode=passthrough '
            'i1',
            {},
            eight,
            ram=1024,
        )
        self.assert_clean({'hw_maxphysaddr_mode': 'emulate'}, eight, ram=1024)
        self.assert_clean(
            {}, eight | {'hw:maxphysaddr_mode': 'emulate'}, ram=1024
        )
