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

import shlex
import unittest

import hypothesis
from hypothesis import strategies

from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import image_properties as props
from osc_gpu.cloud import image_property_checks
from osc_gpu.cloud import image_subject
from tests.unit.cloud import test_flavor_spec_checks
from tests.unit import fake_images

DRIVERS = ('none', 'nvidia', 'nvidia-open', 'nvidia-vgpu', 'amdgpu')
#: Nothing is to be said of an image that says all this.
GOOD = {
    'hw_machine_type': 'q35',
    'hw_firmware_type': 'uefi',
    'hw_video_model': 'virtio',
    'os_distro': 'ubuntu',
    'os_version': '24.04',
}
Q35 = 'openstack gpu image set --machine-type q35 i1'
UEFI = 'openstack gpu image set --firmware-type uefi i1'


def subject(properties=None, specs=None, **more):
    image = fake_images.make(properties, **more.pop('image', {}))
    given = {'label': 'i1', 'system': 'ubuntu-24.04'} | more
    if specs is not None:
        given['flavor'] = test_flavor_spec_checks.make(specs)
        given['request'] = extra_specs.parse(specs)
    return image_subject.Subject(image, **given)


def check(*args, **more):
    return list(image_property_checks.check(subject(*args, **more)))


class TestCase(unittest.TestCase):
    def assert_found(self, severity, name, words, repair, *args, **more):
        found = check(*args, **more)
        self.assertEqual(
            [(severity, name, repair)],
            [(f.severity, f.check, f.repair) for f in found],
            found,
        )
        self.assertIn(words, found[0].detail)
        self.assertEqual('i1', found[0].subject)

    def assert_clean(self, *args, **more):
        self.assertEqual([], check(*args, **more))


class TestClean(TestCase):
    def test_good(self):
        for driver in ('', *DRIVERS):
            with self.subTest(driver):
                self.assert_clean(GOOD, driver=driver)

    def test_good_on_arm(self):
        arm = {'hw_architecture': 'aarch64', 'hw_video_model': 'virtio'}
        for more in (
            {},
            {'hw_machine_type': 'virt'},
            {'hw_machine_type': 'virt-9.0', 'hw_firmware_type': 'uefi'},
        ):
            with self.subTest(more):
                self.assert_clean(arm | more)

    def test_a_working_image_is_no_error(self):
        for driver in ('', *DRIVERS):
            for specs in (
                None,
                {'pci_passthrough:alias': 'a100:1'},
                {'resources:VGPU': '1'},
            ):
                found = check({}, specs, driver=driver)
                severities = {f.severity for f in found}
                self.assertNotIn('error', severities, found)
                if driver != 'amdgpu':
                    self.assertNotIn('warning', severities, found)

    def test_vgpu_alone_needs_nothing(self):
        self.assert_clean({}, {'resources:VGPU': '1'})

    @hypothesis.given(
        strategies.dictionaries(
            strategies.sampled_from(
                [
                    *props.VALUES,
                    props.MACHINE_TYPE,
                    props.HIDE_HYPERVISOR,
                    props.MEM_ENCRYPTION,
                    'architecture',
                ]
            ),
            strategies.one_of(
                strategies.text('pcq35-v \n\x1b$\u202e', max_size=12),
                strategies.sampled_from(
                    sorted(v for known in props.VALUES.values() for v in known)
                ),
            ),
        ),
        strategies.sampled_from(['', *DRIVERS]),
    )
    def test_never_raises_and_prints_one_line(self, properties, driver):
        for found in check(properties, driver=driver):
            self.assertTrue(found.detail.isprintable(), found)
            self.assertTrue(found.repair.isprintable(), found)
            self.assertIn('i1', shlex.split(found.repair or 'i1'))


class TestStatus(TestCase):
    def test_not_active(self):
        for status in ('queued', 'deactivated', 'killed'):
            self.assert_found(
                'error',
                'status',
                f'the image is {status}',
                '',
                GOOD,
                image={'status': status},
            )


class TestValues(TestCase):
    def test_unknown(self):
        for key, value, repair in (
            ('hw_firmware_type', 'UEFI', 'set'),
            ('hw_firmware_type', 'efi', 'unset'),
            ('hw_firmware_type', '', 'unset'),
            ('hw_video_model', 'Virtio', 'set'),
            ('hw_video_model', 'cirrus2', 'unset'),
            ('os_type', 'bsd', 'unset'),
            ('os_secure_boot', 'true', 'unset'),
            ('hw_pci_numa_affinity_policy', 'strict', 'unset'),
            ('hw_disk_bus', 'nvme', 'unset'),
            ('hw_architecture', 'pdp11', 'unset'),
            ('architecture', 'pdp11', 'unset'),
            ('hw_viommu_model', 'smmu', 'unset'),
            ('hw_maxphysaddr_mode', 'Emulate', 'set'),
        ):
            with self.subTest(key=key, value=value):
                found = [
                    f
                    for f in check(GOOD | {key: value})
                    if f.check == 'unknown-value'
                ]
                self.assertEqual(['error'], [f.severity for f in found])
                self.assertIn(f"{key} is '{value}'", found[0].detail)
                property_ = (
                    f'{key}={value.lower()}' if repair == 'set' else key
                )
                self.assertEqual(
                    f'openstack image {repair} --property {property_} i1',
                    found[0].repair,
                )

    def test_old_name_beside_the_new(self):
        self.assert_found(
            'error',
            'unknown-value',
            "architecture is 'sun'",
            'openstack image unset --property architecture i1',
            GOOD | {'architecture': 'sun', 'hw_architecture': 'x86_64'},
        )

    def test_case_where_nova_does_not_mind(self):
        self.assert_clean(
            GOOD | {'os_type': 'Linux', 'hw_architecture': 'AMD64'}
        )

    def test_hostile(self):
        found = check(GOOD | {'os_type': '\x1b[2J' + 'x' * 99})
        self.assertIn("'\\x1b[2Jxxx", found[0].detail)
        self.assertIn("x...'", found[0].detail)


class TestMachineType(TestCase):
    def setUp(self):
        super().setUp()
        self.rest = {
            key: value
            for key, value in GOOD.items()
            if key != 'hw_machine_type'
        } | {'hw_firmware_type': 'bios'}

    def test_pc(self):
        for value in ('pc', 'pc-i440fx-9.0'):
            for severity, specs in (
                ('info', None),
                ('warning', {'pci_passthrough:alias': 'a100:1'}),
            ):
                with self.subTest(value=value, specs=specs):
                    self.assert_found(
                        severity,
                        'machine-type',
                        f'hw_machine_type is {value}, which has no PCIe',
                        Q35,
                        self.rest | {'hw_machine_type': value},
                        specs,
                    )

    def test_unset(self):
        for specs in (None, {'pci_passthrough:alias': 'a100:8'}):
            self.assert_found(
                'info',
                'machine-type',
                'hw_machine_type is not set',
                Q35,
                self.rest,
                specs,
            )

    def test_what_needs_q35(self):
        secure = {'os_secure_boot': 'required', 'hw_firmware_type': 'uefi'}
        for more, words, driver, severities in (
            (secure, 'Secure Boot needs q35', 'none', ('error', 'warning')),
            (
                {'hw_viommu_model': 'intel'},
                'a virtual IOMMU needs q35',
                '',
                ('error', 'warning'),
            ),
            (
                {'hw_firmware_type': 'uefi'},
                'such as those on RHEL',
                '',
                ('warning', 'warning'),
            ),
            ({}, 'atomics of PCIe', 'amdgpu', ('warning', 'warning')),
        ):
            for severity, value in zip(severities, ('pc', ''), strict=True):
                with self.subTest(words=words, value=value):
                    machine = {'hw_machine_type': value} if value else {}
                    self.assert_found(
                        severity,
                        'machine-type',
                        words,
                        Q35,
                        self.rest | more | machine,
                        driver=driver,
                    )

    def test_flavor_asks_for_it(self):
        specs = {'hw:viommu_model': 'auto', 'resources:VGPU': '1'}
        self.assert_found(
            'error',
            'machine-type',
            'a virtual IOMMU needs q35',
            Q35,
            self.rest | {'hw_machine_type': 'pc'},
            specs,
        )

    def test_arm(self):
        arm = {'hw_architecture': 'aarch64', 'hw_video_model': 'virtio'}
        for value in ('q35', 'pc'):
            self.assert_found(
                'error',
                'machine-type',
                'which no host has for aarch64',
                'openstack image unset --property hw_machine_type i1',
                arm | {'hw_machine_type': value},
            )

    def test_what_is_none(self):
        for value in ('', 'q35 ', 'pc\n'):
            self.assert_found(
                'error',
                'machine-type',
                'which no host has: no server starts',
                'openstack image unset --property hw_machine_type i1',
                GOOD | {'hw_machine_type': value},
            )

    def test_others_are_left_alone(self):
        self.assert_clean(GOOD | {'hw_machine_type': 'microvm'})


class TestBuses(TestCase):
    def test_ide(self):
        for severity, key in (
            ('error', 'hw_disk_bus'),
            ('warning', 'hw_cdrom_bus'),
        ):
            self.assert_found(
                severity,
                'ide',
                f'{key} is ide, which q35 has not',
                f'openstack image set --property {key}=sata i1',
                GOOD | {key: 'ide'},
            )
        self.assert_clean(GOOD | {'hw_disk_bus': 'sata'})

    def test_pc_has_ide(self):
        found = check({'hw_machine_type': 'pc', 'hw_disk_bus': 'ide'})
        self.assertNotIn('ide', [f.check for f in found])


class TestFirmware(TestCase):
    def test_unset(self):
        rest = {k: v for k, v in GOOD.items() if k != 'hw_firmware_type'}
        self.assert_found(
            'info', 'firmware-type', 'EFI system partition', UEFI, rest
        )
        self.assert_clean(rest, {'resources:VGPU': '1'})
        self.assert_clean(rest | {'hw_firmware_type': 'bios'})

    def test_with_q35(self):
        # Together, or setting one of them would be refused.
        for more, repair in (
            (
                {'hw_machine_type': 'pc'},
                'openstack gpu image set --machine-type q35 --firmware-type '
                'uefi i1',
            ),
            (
                {'hw_machine_type': 'pc', 'hw_disk_bus': 'ide'},
                'openstack image set --property hw_machine_type=q35 '
                '--property hw_disk_bus=sata --property '
                'hw_firmware_type=uefi i1',
            ),
        ):
            found = {f.check: f.repair for f in check(more)}
            self.assertEqual(repair, found['firmware-type'])
        self.assertEqual(
            'openstack image set --property hw_machine_type=q35 --property '
            'hw_disk_bus=sata i1',
            found['machine-type'],
        )

    def test_arm_has_no_bios(self):
        self.assert_found(
            'error',
            'firmware-type',
            'none of for aarch64',
            UEFI,
            {
                'hw_architecture': 'aarch64',
                'hw_firmware_type': 'bios',
                'hw_video_model': 'virtio',
            },
        )


class TestSecureBoot(TestCase):
    def test_drivers(self):
        off = 'openstack gpu image set --secure-boot disabled i1'
        for value, driver, severity in (
            ('required', '', 'info'),
            ('required', 'nvidia', 'error'),
            ('required', 'nvidia-open', 'error'),
            ('required', 'nvidia-vgpu', 'error'),
            ('required', 'amdgpu', 'error'),
            ('optional', '', 'info'),
            ('optional', 'nvidia', 'warning'),
        ):
            with self.subTest(value=value, driver=driver):
                self.assert_found(
                    severity,
                    'secure-boot',
                    f'Secure Boot is {value}',
                    off,
                    GOOD | {'os_secure_boot': value},
                    driver=driver,
                )
        for value, driver in (('required', 'none'), ('disabled', 'nvidia')):
            self.assert_clean(GOOD | {'os_secure_boot': value}, driver=driver)

    def test_flavor_asks_for_it(self):
        specs = {
            'os:secure_boot': 'required',
            'pci_passthrough:alias': 'a100:1',
        }
        self.assert_found(
            'error',
            'secure-boot',
            'it refuses nvidia',
            # The image cannot change that.
            '',
            GOOD,
            specs,
            driver='nvidia',
        )

    def test_without_uefi(self):
        self.assert_found(
            'warning',
            'secure-boot',
            'is off all the same',
            UEFI,
            GOOD | {'hw_firmware_type': 'bios', 'os_secure_boot': 'required'},
        )


class TestHiding(TestCase):
    def test_hidden(self):
        show = 'openstack gpu image set --show-hypervisor i1'
        for value in ('true', 'True', 'yes'):
            self.assert_found(
                'info',
                'hide-hypervisor',
                'hides KVM',
                show,
                GOOD | {'img_hide_hypervisor_id': value},
            )
        for value in ('ja', ''):
            self.assert_found(
                'warning',
                'hide-hypervisor',
                'false to Nova',
                show,
                GOOD | {'img_hide_hypervisor_id': value},
            )
        self.assert_clean(GOOD | {'img_hide_hypervisor_id': 'false'})


class TestVideo(TestCase):
    def test_models(self):
        for value in ('xen', 'gop'):
            self.assert_found(
                'error',
                'video-model',
                'which KVM has not',
                'openstack gpu image set --video-model virtio i1',
                GOOD | {'hw_video_model': value},
            )
        for value in ('none', 'vga'):
            self.assert_clean(GOOD | {'hw_video_model': value})

    def test_unset(self):
        rest = {k: v for k, v in GOOD.items() if k != 'hw_video_model'}
        self.assert_found(
            'info',
            'video-model',
            'hw_video_model is not set',
            'openstack gpu image set --video-model none i1',
            rest,
        )


class TestEncryption(TestCase):
    def test_encrypted(self):
        self.assert_found(
            'warning',
            'mem-encryption',
            'no device can be passed',
            'openstack image unset --property hw_mem_encryption i1',
            GOOD | {'hw_mem_encryption': 'true'},
        )
        self.assert_clean(GOOD | {'hw_mem_encryption': 'false'})


class TestSystem(TestCase):
    def test_not_said(self):
        rest = {k: v for k, v in GOOD.items() if k != 'os_version'}
        for driver, severity in (('', 'info'), ('nvidia', 'warning')):
            self.assert_found(
                severity,
                'system',
                'do not say what system it is',
                '',
                rest,
                system='',
                driver=driver,
            )
        self.assert_clean(rest, system='', driver='none')

    def test_none_of_ours(self):
        fedora = GOOD | {'os_distro': 'fedora', 'os_version': '41'}
        for driver, severity in (('', 'info'), ('amdgpu', 'error')):
            self.assert_found(
                severity,
                'system',
                'fedora 41',
                '',
                fedora,
                system='',
                driver=driver,
            )

    def test_windows(self):
        windows = GOOD | {'os_type': 'windows', 'os_distro': 'windows'}
        self.assert_found(
            'error',
            'system',
            'no driver can be installed',
            '',
            windows,
            system='',
            driver='nvidia',
        )
        # Nobody has asked for a driver: it is a system like any other.
        self.assert_found(
            'info', 'system', 'windows 24.04', '', windows, system=''
        )

    def test_windows_and_linux(self):
        for driver, severity in (('', 'warning'), ('nvidia', 'error')):
            self.assert_found(
                severity,
                'system',
                'os_distro a Linux: ubuntu-24.04',
                'openstack gpu image set --guest-os ubuntu-24.04 i1',
                GOOD | {'os_type': 'windows'},
                driver=driver,
            )

    def test_amd_on_arm(self):
        self.assert_found(
            'error',
            'system',
            'for x86_64',
            '',
            {'hw_architecture': 'aarch64', 'hw_video_model': 'none'},
            driver='amdgpu',
        )


class TestRepairs(TestCase):
    def test_hostile_label(self):
        for found in check({'hw_firmware_type': 'UEFI'}, label='a; $(id) b'):
            if found.repair:
                self.assertEqual('a; $(id) b', shlex.split(found.repair)[-1])
