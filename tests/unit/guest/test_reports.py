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

import json
import unittest

import hypothesis
from hypothesis import strategies

from osc_gpu.guest import reports

A100 = {
    'address': '00000000:00:06.0',
    'name': 'NVIDIA A100 80GB PCIe',
    'memory_mib': 81920,
    'mig': 'Disabled',
}
GOOD = {
    'version': 1,
    'time': '2026-11-21T18:53:59Z',
    'system': 'ubuntu-24.04',
    'kernel': '6.8.0-45-generic',
    'asked': {
        'driver': 'nvidia',
        'version': '570',
        'cuda': '12.9',
        'license': False,
        'workload': 'smoke',
    },
    'pci': [{'address': '0000:00:06.0'}],
    'driver': 'nvidia',
    'driver_version': '570.86.15',
    'cuda': '12.8',
    'cuda_toolkit': '12.9',
    'gpus': [A100],
    'license': None,
    'secure_boot': False,
    'workload': 'passed',
    'workload_detail': '1 GPUs transposed a matrix',
    'error': None,
}


def line(found, end='\n'):
    text = found if isinstance(found, str) else json.dumps(found)
    return f'osc-gpu-report-begin {text} osc-gpu-report-end{end}'


def report(**changes):
    found = reports.find(line(GOOD | changes))
    assert found
    return found


class TestFind(unittest.TestCase):
    def test_good(self):
        found = report()
        self.assertEqual('ubuntu-24.04', found.system)
        self.assertEqual(('0000:00:06.0',), found.pci)
        self.assertEqual(81920, found.gpus[0].memory_mib)
        self.assertEqual('570', found.asked.version)
        self.assertIs(False, found.secure_boot)
        self.assertEqual('', found.error)

    def test_none(self):
        for console in (
            '',
            'login: ',
            'osc-gpu-report-begin ',
            line('{'),
            line('[]'),
            line('[' * 9000),
            line('"x"'),
        ):
            self.assertIsNone(reports.find(console))

    def test_the_last_that_can_be_read(self):
        first, second = GOOD | {'time': 'one'}, GOOD | {'time': 'two'}
        torn = line(GOOD).replace('"kernel"', '[   3.1] usb 1-1: new\n"ke')
        for console in (
            line(first, '\r\n') + 'x' + line(second, '\r\n') + 'login: ',
            line(first) + line(second) + torn,
            line(first) + line(second) + 'osc-gpu-report-begin {"time": ',
        ):
            found = reports.find(console)
            self.assertEqual('two', found.time)

    def test_a_newer_boot(self):
        boot = '[    0.000000] Linux version 6.8.0-45-generic (buildd@x)\r\n'
        old, new = line(GOOD | {'time': 'old'}), line(GOOD | {'time': 'new'})
        for banner in (boot, f'[    0.000000][    T0]{boot[14:]}', boot[15:]):
            self.assertIsNone(reports.find(banner + old + banner))
            self.assertIsNone(reports.find(old + banner + 'login: '))
            found = reports.find(old + banner + new)
            self.assertEqual('new', found.time)
        for no_boot in (
            'Welcome to Rocky Linux version 9.6\n',
            line(GOOD | {'error': boot.strip()}).replace('"version": 1', ''),
        ):
            self.assertEqual(
                'old', reports.find(boot + old + no_boot).time, no_boot
            )

    def test_a_terminal_can_take_it(self):
        name = 'A\x1b[2J\x1b]0;own\x07\u202e\u200b\r\n' + 'x' * 1000
        found = report(driver=name, gpus=[A100 | {'name': name}])
        for text in (found.driver, found.gpus[0].name):
            self.assertTrue(text.isprintable())
            self.assertLess(len(text), 500)

    def test_wrong_types(self):
        odd = ({}, [], 7, True, 'x', [7], [[]], {'a': 1}, None)
        for key in GOOD:
            for value in odd:
                found = report(**{key: value})
                reports.shortcomings(found, 1)
                reports.summary(found, 1)
        many = report(gpus=[A100] * 1000)
        self.assertEqual(64, len(many.gpus))

    @hypothesis.given(strategies.text())
    def test_any_text(self, text):
        reports.find(line(text))

    # Making values, not reading them, takes long on a busy machine.
    @hypothesis.settings(
        suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    @hypothesis.given(
        strategies.recursive(
            strategies.none()
            | strategies.booleans()
            | strategies.floats()
            | strategies.text(),
            lambda inner: (
                strategies.lists(inner, max_size=4)
                | strategies.dictionaries(
                    strategies.sampled_from([*GOOD, 'name', 'address']), inner
                )
            ),
            max_leaves=12,
        )
    )
    def test_any_json(self, value):
        found = reports.find(line(value))
        if found:
            self.assertTrue(reports.summary(found, 1).isprintable())


class TestShortcomings(unittest.TestCase):
    def short(self, words, count=1, **changes):
        found = reports.shortcomings(report(**changes), count)
        self.assertTrue(any(words in one for one in found), found)
        return found

    def test_good(self):
        self.assertEqual([], reports.shortcomings(report(), 1))
        # More than requested is none of a lack: a display adapter, say.
        two = report(pci=[{}, {}], gpus=[A100, A100])
        self.assertEqual([], reports.shortcomings(two, 1))

    def test_one_is_missing(self):
        found = self.short('its PCI bus has 1 of 2 GPUs', 2)
        self.assertIn('the driver has 1 of 2 GPUs', found)
        self.short('the driver has 1 of 2 GPUs', 2, pci=[{}, {}])

    def test_the_first_error_comes_first(self):
        found = self.short('dkms', error='driver nvidia: dkms failed', gpus=[])
        self.assertEqual('driver nvidia: dkms failed', found[0])

    def test_no_driver(self):
        self.short('no driver is loaded', driver=None, gpus=[])
        asked = {'driver': 'none'}
        # Where none was to be installed, the image was to have one.
        none = report(asked=asked, driver=None, gpus=[], workload=None)
        self.assertEqual(
            ['no driver is loaded'], reports.shortcomings(none, 1)
        )
        # One that is in the image has to have them all the same.
        self.short('the driver has 0 of 1', asked=asked, gpus=[])

    def test_versions(self):
        self.short('570 was asked for', driver_version='575.51.03')
        self.short('570 was asked for', driver_version='5700.1')
        self.short('not there, and 570', driver_version=None)
        self.short('12.9 was asked for', cuda_toolkit='12.90')
        self.short('CUDA is not there', cuda_toolkit=None)

    def test_license(self):
        asked = GOOD['asked'] | {'license': True}
        for words in ('Unlicensed (Unrestricted)', 'Licensing', None):
            self.short('not licensed', asked=asked, license=words)
        good = report(asked=asked, license='Licensed (Expiry: 2027-1-1)')
        self.assertEqual([], reports.shortcomings(good, 1))

    def test_license_of_the_image(self):
        for driver in ('none', 'nvidia-vgpu'):
            asked = {'driver': driver, 'license': False}
            self.short(
                'not licensed: Unlicensed (Unrestricted)',
                asked=asked,
                license='Unlicensed (Unrestricted)',
            )
            good = report(asked=asked, license='Licensed')
            self.assertEqual([], reports.shortcomings(good, 1))
        self.short('nothing of a licence', asked=asked, license=None)

    def test_workload(self):
        self.short(
            'smoke has not passed: wrong',
            workload='failed',
            workload_detail='wrong',
        )
        self.short('it has not run', workload=None, workload_detail=None)


class TestSummary(unittest.TestCase):
    def test_summary(self):
        for words, count, changes in (
            (
                '1 of 1 GPUs, NVIDIA A100 80GB PCIe, driver 570.86.15, '
                'CUDA 12.9',
                1,
                {},
            ),
            ('0 of 2 GPUs, no driver', 2,
             {'pci': [], 'gpus': [], 'driver': None, 'cuda': None,
              'cuda_toolkit': None}),
            ('1 of 1 GPUs, no driver', 1,
             {'gpus': [], 'driver': None, 'cuda': None,
              'cuda_toolkit': None}),
            ('0 of 1 GPUs, driver amdgpu', 1,
             {'gpus': [], 'driver': 'amdgpu', 'driver_version': None,
              'cuda': None, 'cuda_toolkit': None}),
            ('1 of 1 GPUs, NVIDIA A100 80GB PCIe, driver 570.86.15, '
             'CUDA 12.8, licence Licensed', 1,
             {'cuda_toolkit': None, 'license': 'Licensed'}),
        ):  # fmt: skip
            self.assertEqual(words, reports.summary(report(**changes), count))
