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

"""What a guest reports, of what it found and of what it did itself."""

import json

from osc_gpu.guest import orders
from osc_gpu.guest import reports
from osc_gpu.sandbox import guest_systems
from tests.unit.guest import machines

NVIDIA = {'driver': 'nvidia', 'cuda': '12.8', 'workload': 'smoke'}
VGPU = {
    'driver': 'nvidia-vgpu',
    'url': machines.RUN,
    'token': machines.TOKEN,
}
AMD = {'driver': 'amdgpu', 'workload': 'smoke'}
FAMILIES = ('ubuntu-24.04', 'rocky-9')

NO_CUDA = 'CUDA is not there, and 12.8 was asked for'
NO_DRIVER = 'no driver is loaded'
NO_WORK = 'workload smoke has not passed: it has not run'


class TestCase(machines.TestCase):
    def make(self, system, order, **more):
        order = dict(order)
        return self.guest(system, order.pop('driver'), **order, **more)


class TestGood(TestCase):
    def test_all_that_is_told(self):
        guest = self.make('ubuntu-24.04', NVIDIA, version='570')
        report = guest.boot().report
        self.assertRegex(report.time, r'^20\d\d-\d\d-\d\dT[0-9:]{8}Z$')
        expected = reports.Report(
            time=report.time,
            system='ubuntu-24.04',
            kernel='6.8.0-51-generic',
            asked=reports.Asked('nvidia', '570', '12.8', False, 'smoke'),
            pci=('0000:05:00.0', '0000:06:00.0'),
            gpus=tuple(
                reports.Gpu(address, 'NVIDIA A100 80GB PCIe', 81920,
                            'Disabled')
                for address in ('0000:05:00.0', '0000:06:00.0')
            ),
            driver='nvidia',
            driver_version='570.195.03',
            cuda='12.8',
            cuda_toolkit='12.8',
            secure_boot=False,
            workload='passed',
            workload_detail=(
                '2 GPUs transposed a matrix, the slowest at 1187 GB/s'
            ),
        )  # fmt: skip
        self.assertEqual(expected, report)
        self.assertEqual(
            '2 of 2 GPUs, NVIDIA A100 80GB PCIe, driver 570.195.03, CUDA 12.8',
            reports.summary(report, 2),
        )

    def test_second_boot_does_nothing_again(self):
        for system in FAMILIES:
            for order in (NVIDIA, VGPU, AMD):
                with self.subTest(f'{system} {order["driver"]}'):
                    guest = self.make(system, order)
                    first, second = guest.boot(), guest.boot()
                    self.assertEqual([], first.problems)
                    self.assertEqual([], second.problems)
                    modules = [['modprobe', 'amdgpu']]
                    if order is not AMD:
                        modules = [
                            ['modprobe', 'nvidia'],
                            ['modprobe', 'nvidia-uvm'],
                        ]
                    self.assertEqual(
                        modules, [call.split() for call in second.calls]
                    )
                    self.assertEqual(first.report.gpus, second.report.gpus)
                    self.assertEqual(
                        first.report.workload_detail,
                        second.report.workload_detail,
                    )

    def test_versions(self):
        for driver, asked, got in (
            ('nvidia', '', '580.95.05'),
            ('nvidia-open', '570', '570.195.03'),
            ('nvidia', '570.86', '570.86.15'),
            ('nvidia-open', '535.247.01', '535.247.01'),
        ):
            for system in ('debian-12', 'rocky-8'):
                with self.subTest(f'{system} {driver} {asked}'):
                    guest = self.guest(system, driver, version=asked)
                    result = guest.boot()
                    self.assertEqual([], result.problems)
                    self.assertEqual(got, result.report.driver_version)

    def test_amd(self):
        result = self.make('rhel-9', AMD).boot()
        report = result.report
        self.assertEqual([], result.problems)
        self.assertEqual(
            [('0000:05:00.0', 'AMD Instinct MI300X', 196608, '')] * 1,
            [(g.address, g.name, g.memory_mib, g.mig) for g in
             report.gpus[:1]],
        )  # fmt: skip
        self.assertEqual('rocminfo lists 2 GPUs', report.workload_detail)

    def test_license(self):
        report = self.make('debian-13', VGPU).boot().report
        self.assertTrue(report.is_licensed)
        self.assertTrue(report.asked.license)

    def test_driver_of_the_image(self):
        result = self.guest(
            'debian-12', 'none', image_driver='550.163.01', workload='smoke'
        ).boot()
        self.assertEqual([], result.problems)
        self.assertEqual('550.163.01', result.report.driver_version)
        self.assertEqual(
            'nvidia-smi lists 2 GPUs; no CUDA compiler is there to do more',
            result.report.workload_detail,
        )

    def test_vgpu_driver_of_the_image(self):
        order = orders.Order('nvidia-vgpu', token=machines.TOKEN)
        for version, problems in (
            ('550.144.03', []),
            ('', ['module nvidia: .* not found', NO_DRIVER, 'licence']),
        ):
            guest = self.new(order, on_disk='rocky-9', image_driver=version)
            if version:
                # The driver's service for licences.
                (guest.machine.folder / 'gridd').touch()
            result = guest.boot()
            self.assertEqual(len(problems), len(result.problems))
            for words, problem in zip(problems, result.problems):
                self.assertRegex(problem, words)
            self.assertEqual(version, result.report.driver_version)
            self.assertNotIn('dnf', '\n'.join(result.calls))

    def test_image_of_a_recipe(self):
        for note, is_installed in (
            ('nvidia 12.8', False),
            ('nvidia', True),
            ('amdgpu 12.8', True),
        ):
            guest = self.make('rocky-9', NVIDIA, image_driver='570.86.15')
            image = guest.machine.root / 'etc/osc-gpu/image'
            image.parent.mkdir()
            image.write_text(f'{note}\n')
            calls = '\n'.join(guest.boot().calls)
            self.assertIn('modprobe nvidia', calls)
            self.assertEqual(is_installed, 'dnf' in calls, note)

    def test_no_driver_at_all(self):
        # The image has no lspci either.
        result = self.guest('debian-12', 'none').boot()
        self.assertEqual(2, len(result.report.pci))
        self.assertEqual(('', ()), (result.report.driver, result.report.gpus))
        self.assertEqual([], result.problems)

    def test_no_serial_console(self):
        guest = self.make('ubuntu-24.04', AMD)
        active = guest.machine.root / 'sys/class/tty/console/active'
        for names in ('tty0', ''):
            active.write_text(names)
            self.assertEqual([], guest.boot().problems)

    def test_sent_elsewhere(self):
        url = 'https://user:pass@h/"\\$(id)[1-3]{a,b}?q=`id`'
        guest = self.make('rocky-9', AMD, report_url=url)
        result = guest.boot()
        escaped = url.replace('\\', '\\\\').replace('"', '\\"')
        calls = result.outcome.calls
        self.assertEqual(f'  url = "{escaped}"', calls[-1])
        self.assertNotIn('pass', '\n'.join(calls[:-1]))
        posted = json.loads((guest.machine.folder / 'posted').read_text())
        self.assertEqual(result.report.time, posted['time'])

    def test_a_snapshot_of_it(self):
        guest = self.make('ubuntu-24.04', NVIDIA)
        guest.boot()
        instance = guest.machine.root / 'var/lib/cloud/data/instance-id'
        instance.write_text('i-2\n')
        result = guest.boot()
        self.assertEqual([], result.problems)
        self.assertIn('nvcc -o', '\n'.join(result.calls))


class TestSpoiled(TestCase):
    def check(self, spoil, order, *problems, boots=1):
        """Check a spoiled guest of each family; return the last one."""
        for system in FAMILIES:
            with self.subTest(f'{system} {spoil}'):
                guest = self.make(system, order)
                result = guest.boot(spoil)
                self.assertEqual(boots, result.outcome.boots)
                self.assertEqual(len(problems), len(result.problems))
                for expected, problem in zip(
                    problems, result.problems, strict=True
                ):
                    self.assertRegex(problem, f'^{expected}')
        return guest, result

    def test_gpu_missing(self):
        self.check(
            'gpu-missing',
            NVIDIA,
            'its PCI bus has 1 of 2 GPUs',
            'the driver has 1 of 2 GPUs',
        )

    def test_gpu_dead(self):
        for order in (NVIDIA, AMD):
            self.check('gpu-dead', order, 'the driver has 1 of 2 GPUs')

    def test_mirror(self):
        _guest, result = self.check(
            'mirror',
            NVIDIA,
            'kernel headers and compiler: E.*(esolve|Curl error)',
            NO_DRIVER,
            NO_CUDA,
            NO_WORK,
        )
        # It was asked more than once.
        self.assertEqual(4, len([c for c in result.calls if 'epel' in c]))

    def test_url_unreachable(self):
        guest = self.make('ubuntu-22.04', VGPU)
        # The distribution's own mirror is reachable, that of the driver not.
        installer = guest.machine.folder / 'bin/curl'
        installer.write_text(
            '#!/bin/sh\necho "curl: (22) error: 404" >&2\nexit 22\n'
        )
        self.assertEqual(
            'driver from the URL: curl: (22) error: 404',
            guest.boot().report.error,
        )

    def test_build(self):
        for order, problems in (
            (NVIDIA, (NO_CUDA, NO_WORK)),
            (AMD, (NO_WORK,)),
        ):
            _guest, result = self.check(
                'build',
                order,
                f'driver {order["driver"]}: Error! Bad return status for '
                'module build on kernel',
                NO_DRIVER,
                *problems,
            )
            built = [c for c in result.calls if c.startswith('dkms')]
            self.assertEqual(1, len(built))
            self.assertRegex(built[0], '^dkms autoinstall -k 5')

    def test_module(self):
        guest, _result = self.check(
            'module',
            NVIDIA,
            "module nvidia: modprobe: ERROR: could not insert 'nvidia': "
            'No such device',
            NO_DRIVER,
            NO_WORK,
            boots=2,
        )
        # It is tried again at the next boot, and nothing else is done again.
        result = guest.boot()
        self.assertEqual([], result.problems)
        self.assertEqual('modprobe nvidia', result.calls[0])

    def test_secure_boot(self):
        for order in (NVIDIA, AMD):
            _guest, result = self.check(
                'secure-boot',
                order,
                f'module {order["driver"]}: Secure Boot is on and refuses',
                NO_DRIVER,
                NO_WORK,
            )
            self.assertTrue(result.report.secure_boot)

    def test_nouveau(self):
        for order in (NVIDIA, VGPU):
            _guest, result = self.check('nouveau', order, boots=2)
            reboot = result.calls.index('systemctl reboot')
            # Not before the reboot: an installer would refuse it.
            for call in result.calls[:reboot]:
                self.assertNotRegex(call, 'cuda|nvidia')

    def test_headers(self):
        for order in (NVIDIA, VGPU, AMD):
            guest, result = self.check('headers', order, boots=2)
            kernel = guest.read('../newest').strip()
            self.assertEqual(kernel, result.report.kernel)
            self.assertIn(
                'rebooting: there are no headers for kernel',
                guest.read('var/log/osc-gpu-setup.log'),
            )

    def test_headers_and_nouveau(self):
        for system in FAMILIES:
            result = self.make(system, VGPU).boot('headers', 'nouveau')
            self.assertEqual(2, result.outcome.boots)
            self.assertEqual([], result.problems)

    def test_later(self):
        # A driver that was fine, under a kernel that it was not built for.
        guest = self.make('rocky-9', NVIDIA)
        self.assertEqual([], guest.boot().problems)
        (guest.machine.folder / 'next').write_text('6.0\n')
        result = guest.boot()
        self.assertEqual(1, result.outcome.boots)
        self.assertEqual(
            'module nvidia: modprobe: FATAL: Module nvidia not found in '
            'directory /lib/modules/6.0',
            result.problems[0],
        )
        # And it tells of the boot, not of one before.
        (guest.machine.folder / 'next').write_text(
            guest_systems.SYSTEMS['rocky-9'].kernel
        )
        self.assertEqual([], guest.boot().problems)

    def test_unlicensed(self):
        self.check(
            'unlicensed',
            VGPU,
            r'the vGPU is not licensed: Unlicensed \(Unrestricted\)',
        )

    def test_workload(self):
        self.check(
            'workload',
            NVIDIA,
            'workload smoke has not passed: GPU 0 has computed a wrong',
        )
        self.check('workload', AMD, 'workload smoke has not passed: ROCk')

    def test_driver_of_the_image(self):
        guest = self.guest(
            'rocky-8', 'none', image_driver='570.86.15', workload='smoke'
        )
        result = guest.boot('module')
        self.assertEqual(2, len(result.problems))
        for problem, before in zip(
            result.problems, ('', 'workload smoke .*: '), strict=True
        ):
            self.assertRegex(problem, f'^{before}NVIDIA-SMI has failed')
        self.assertEqual('', result.report.driver)

    def test_silent(self):
        result = self.make('ubuntu-24.04', NVIDIA).boot('silent')
        self.assertIsNone(result.report)
        self.assertIn('Linux version', result.outcome.console)

    def test_wrong_system(self):
        for order, on_disk, found in (
            ('ubuntu-24.04', 'ubuntu-22.04', 'ubuntu-22.04'),
            ('rocky-9', 'almalinux-9', 'almalinux-9.6'),
            ('debian-12', 'rhel-8', 'rhel-8.10'),
        ):
            result = self.make(order, NVIDIA, on_disk=on_disk).boot()
            self.assertEqual(
                f'is this {order}: this is {found}, and the driver was '
                f'chosen for {order}',
                result.problems[0],
            )
            self.assertNotRegex('\n'.join(result.calls), 'apt|dnf')

    def test_no_such_version(self):
        result = self.guest('ubuntu-24.04', 'nvidia', version='999').boot()
        self.assertEqual(
            'version of the driver: driver 580.95.05 is installed, and 999 '
            'was asked for',
            result.report.error,
        )
        result = self.guest('rocky-9', 'nvidia', version='999').boot()
        self.assertRegex(result.report.error, '^driver nvidia: Error: Unable')

    def test_no_such_toolkit(self):
        guest = self.guest('ubuntu-24.04', 'nvidia', cuda='12.9')
        library = guest.machine.folder / 'lib.sh'
        library.write_text(
            library.read_text().replace('cuda-toolkit-*-*)', 'none)')
        )
        self.assertEqual(
            'CUDA 12.9: E: Unable to locate package cuda-toolkit-12-9',
            guest.boot().report.error,
        )

    def test_cards_of_another_vendor(self):
        guest = self.guest('ubuntu-24.04', 'amdgpu')
        guest._gpus = [machines.A100] * 2
        self.assertEqual(['the driver has 0 of 2 GPUs'], guest.boot().problems)
