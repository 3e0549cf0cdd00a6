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

"""Machines read through the real code, whole and in part."""

import dataclasses
import os
import pathlib
import shutil
import tempfile
import unittest
from unittest import mock

import hypothesis
from hypothesis import strategies as st

from osc_gpu.node import facts
from osc_gpu.node import model
from osc_gpu.node import records
from tests.unit.node import machines
from tests.unit.node import recorded

GIB = 1 << 30
MIB = 1 << 20


class TestCase(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.maxDiff = None
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def build(self, name):
        return machines.build(name, self.folder / name)

    def read(self, name):
        return facts.read(self.build(name))

    def write(self, *devices, **more):
        """Write a machine of these devices; return its root."""
        machine = dataclasses.replace(
            machines.MACHINES['p100'], devices=devices, files=(), **more
        )
        return recorded.write(
            machine, pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        )


def addresses(functions):
    return [function.address for function in functions]


class TestMachines(TestCase):
    def test_k80(self):
        node = self.read('k80')
        self.assertEqual(
            ['0000:04:00.0', '0000:05:00.0', '0000:86:00.0', '0000:87:00.0'],
            addresses(node.gpus),
        )
        self.assertEqual(
            model.Gpu(
                model.Function(
                    '0000:04:00.0', '10de', '102d', '0302', '00', '10de',
                    '106c', '', ('nouveau',), 0, '34',
                ),
                (),
                (),
                (
                    model.Bar(0, 16 * MIB, True),
                    model.Bar(1, 16 * GIB, True),
                    model.Bar(3, 32 * MIB, True),
                ),
                0,
                (),
                model.Vgpus(),
                is_console=False,
            ),
            node.gpus[0],
        )  # fmt: skip
        self.assertEqual(1, node.gpus[2].function.numa_node)
        self.assertEqual(
            (
                'sas03', 'ubuntu-16.04', '4.4.0-78-generic', 'intel', True,
                False, ('ast', 'kvm', 'kvm_intel'), ('nouveau',), (),
            ),
            (
                node.hostname, node.distribution, node.kernel,
                node.cpu_vendor, node.has_iommu, node.secure_boot,
                node.loaded, node.blacklisted, node.vfio_ids,
            ),
        )  # fmt: skip
        self.assertEqual(
            ('intel_iommu=on', 'iommu=pt', 'pci=realloc', 'pci=nocrs'),
            node.command_line[-4:],
        )

    def test_p100(self):
        node = self.read('p100')
        self.assertEqual(
            ['vfio-pci', 'vfio-pci'],
            [gpu.function.driver for gpu in node.gpus],
        )
        self.assertEqual(('10de:15f8',), node.vfio_ids)

    def test_a100_with_vfs(self):
        first, second = self.read('a100-sriov').gpus
        self.assertEqual((16, 16), (first.total_vfs, len(first.vfs)))
        # The slot of a GPU that has VFs is full of them.
        self.assertEqual((), first.companions)
        self.assertEqual('0000:17:00.4', first.vfs[0].function.address)
        self.assertEqual('0000:17:02.3', first.vfs[-1].function.address)
        types = first.vfs[3].vgpus.mdev_types
        self.assertIn(
            model.MdevType('nvidia-697', 'GRID A100D-40C', 1, 0), types
        )
        self.assertEqual(13, len(types))
        self.assertEqual((16, ()), (second.total_vfs, second.vfs))
        self.assertEqual(model.Mig(instances=()), first.mig)
        self.assertEqual(64 * GIB, first.bars[4].size)
        self.assertEqual(8, first.bars[4].index)

    def test_a100_in_parts(self):
        first, second = self.read('a100-mig').gpus
        self.assertEqual(model.Mig(is_enabled=True), first.mig)
        self.assertEqual(model.Mig(instances=()), second.mig)
        made = [
            [t.id for t in vf.vgpus.mdev_types if t.created]
            for gpu in (first, second)
            for vf in gpu.vfs[:5]
        ]
        self.assertEqual(
            [['nvidia-700']] * 3 + [['nvidia-699'], []]
            + [['nvidia-697']] * 2 + [[]] * 3,
            made,
        )  # fmt: skip

    def test_l40s(self):
        node = self.read('l40s')
        first, second = node.gpus
        self.assertEqual(model.Vgpus((), (), '1155'), first.vfs[0].vgpus)
        other = second.vfs[31].vgpus
        self.assertEqual('0', other.vendor_type)
        self.assertEqual(
            model.VgpuType('1156', 'NVIDIA L40S-48Q'), other.vendor_types[-1]
        )
        self.assertIsNone(first.vgpus.vendor_types)
        self.assertTrue(node.secure_boot)

    def test_rtx6000(self):
        node = self.read('rtx6000')
        (gpu,) = node.gpus
        self.assertEqual(
            [
                ('0000:3d:00.1', '10de:10f7', '0403', '00', 'snd_hda_intel'),
                ('0000:3d:00.2', '10de:1ad6', '0c03', '30', 'xhci_hcd'),
                ('0000:3d:00.3', '10de:1ad7', '0c80', '00', 'nvidia-gpu'),
            ],
            [
                (f.address, f.ids, f.class_id, f.interface, f.driver)
                for f in gpu.companions
            ],
        )
        self.assertEqual(
            [('snd_hda_intel',), ('xhci_pci',), ('i2c_nvidia_gpu',)],
            [f.modules for f in gpu.companions],
        )
        self.assertEqual(gpu.companions, gpu.group)
        # Ports are not memory.
        self.assertEqual([0, 1, 3], [bar.index for bar in gpu.bars])

    def test_console(self):
        """Only VGA has a file on that; a 3D controller shows nothing."""
        for name, right in (
            ('rtx6000', [False]),
            ('gtx1080', [None, None]),
            ('p100', [False, False]),
        ):
            gpus = self.read(name).gpus
            self.assertEqual(right, [gpu.is_console for gpu in gpus][:2])
        device = dataclasses.replace(
            machines.MACHINES['gtx1080'].devices[2], boot_vga=1
        )
        (gpu,) = facts.read(self.write(device)).gpus
        self.assertIs(True, gpu.is_console)

    def test_gtx1080(self):
        node = self.read('gtx1080')
        first, second = node.gpus
        # Bridges are left out.
        self.assertEqual(
            ['0000:42:00.1', '0000:43:00.0'], addresses(first.group)
        )
        self.assertEqual('igb', first.group[1].driver)
        self.assertEqual(['0000:84:00.1'], addresses(second.group))
        self.assertEqual(('nouveau', 'snd_hda_intel'), node.blacklisted)
        self.assertEqual(('10de:1b80',), node.vfio_ids)

    def test_mi300x(self):
        node = self.read('mi300x')
        self.assertEqual(8, len(node.gpus))
        self.assertEqual({'1200'}, {g.function.class_id for g in node.gpus})
        self.assertEqual(model.Bar(0, 256 * GIB, True), node.gpus[7].bars[0])
        self.assertEqual('amd', node.cpu_vendor)
        self.assertIsNone(node.gpus[0].mig)

    def test_another_domain(self):
        node = self.read('h100-domain1')
        self.assertEqual(['0001:01:00.0'], addresses(node.gpus))
        self.assertEqual('', node.cpu_vendor)

    def test_no_iommu(self):
        node = self.read('t4-no-iommu')
        self.assertFalse(node.has_iommu)
        first, second = node.gpus
        self.assertIsNone(first.group)
        self.assertEqual(
            [True, False, True, False],
            [bar.is_assigned for bar in second.bars],
        )

    def test_vfio_without_an_iommu(self):
        root = self.build('p100')
        groups = root / 'sys/kernel/iommu_groups'
        (groups / '27/name').write_text('vfio-noiommu\n')
        self.assertTrue(facts.read(root).has_iommu)
        for group in groups.iterdir():
            (group / 'name').write_text('vfio-noiommu\n')
        self.assertFalse(facts.read(root).has_iommu)

    def test_there_and_back(self):
        for name in machines.MACHINES:
            with self.subTest(name):
                node = self.read(name)
                self.assertEqual(node, records.load(records.as_text(node)))


class TestGpus(TestCase):
    def gpus(self, *devices):
        return addresses(facts.read(self.write(*devices)).gpus)

    def test_long_domain(self):
        self.assertEqual(
            ['0000:04:00.0', '10000:e1:00.0'],
            self.gpus(
                recorded.Device('10000:e1:00.0', '10de:102d', '030200'),
                recorded.Device('0000:04:00.0', '10de:102d', '030200'),
            ),
        )

    def test_vf_in_a_guest(self):
        # There it has no physical function.
        self.assertEqual(
            ['0000:05:00.0'],
            self.gpus(recorded.Device('0000:05:00.0', '1002:74b5', '120000')),
        )

    def test_given_up_region(self):
        root = self.write(
            recorded.Device('0000:05:00.0', '10de:102d', '030200')
        )
        self.assertEqual((), facts.read(root).gpus[0].bars)

    def test_old_kernel_without_uevent(self):
        root = self.build('rtx6000')
        whole = facts.read(root)
        for path in root.rglob('uevent'):
            path.unlink()
        self.assertEqual(whole, facts.read(root))


class TestCopies(TestCase):
    """What was not copied is not known."""

    def test_only_sys(self):
        root = self.build('gtx1080')
        whole = facts.read(root)
        for name in ('proc', 'etc', 'usr', 'lib', 'sys/firmware'):
            shutil.rmtree(root / name)
        node = facts.read(root)
        gpus = whole.gpus
        self.assertEqual(
            model.Node(
                has_iommu=True,
                gpus=tuple(_without_modules(gpu) for gpu in gpus),
            ),
            node,
        )

    def test_no_devices(self):
        root = self.build('p100')
        shutil.rmtree(root / 'sys/bus')
        with self.assertRaisesRegex(
            ValueError, '^has no folder sys/bus/pci/devices'
        ):
            facts.read(root)

    def test_dangling_links(self):
        root = self.build('p100')
        shutil.rmtree(root / 'sys/devices')
        with self.assertRaisesRegex(ValueError, 'needs /sys/devices, too$'):
            facts.read(root)

    def test_folders_in_the_place_of_links(self):
        root = self.build('a100-sriov')
        whole = facts.read(root)
        _dereference(root)
        self.assertEqual(whole, facts.read(root))

    def test_absolute_links(self):
        """They lead to below the root, as on the machine itself."""
        root = self.build('k80')
        whole = facts.read(root)
        for link in (root / 'sys/bus/pci/devices').iterdir():
            target = os.path.relpath(link.resolve(), root.resolve())
            link.unlink()
            link.symlink_to(f'/{target}')
        shutil.move(root / 'usr/lib/os-release', root / 'real')
        (root / 'etc/os-release').unlink()
        (root / 'etc/os-release').symlink_to('/../../real')
        self.assertEqual(whole, facts.read(root))

    def test_links_to_elsewhere(self):
        root = self.build('p100')
        secret = self.folder / 'secret'
        secret.write_text('ID=secret\n')
        for target in (secret, '../../../secret', 'os-release'):
            (root / 'etc/os-release').unlink()
            (root / 'etc/os-release').symlink_to(target)
            # The one of /usr is taken.
            self.assertEqual('rhel-7.4', facts.read(root).distribution)

    def test_what_cannot_be_read(self):
        root = self.build('p100')
        for name in ('proc/cmdline', 'proc/modules'):
            (root / name).unlink()
            # Nobody writes to it.
            os.mkfifo(root / name)
        (root / 'proc/cpuinfo').unlink()
        (root / 'proc/cpuinfo').mkdir()
        node = facts.read(root)
        self.assertIsNone(node.command_line)
        self.assertIsNone(node.loaded)
        self.assertIsNone(node.cpu_vendor)
        # It may be forbidden on the command line.
        self.assertIsNone(node.blacklisted)
        self.assertIsNone(node.vfio_ids)

    def test_folder_that_cannot_be_listed(self):
        root = self.build('a100-mig')
        real = os.listdir

        def listdir(path):
            if path.endswith(('0000:17:00.0', '0000:65:00.4')):
                raise PermissionError(path)
            return real(path)

        with mock.patch('os.listdir', listdir):
            first, second = facts.read(root).gpus
        self.assertEqual(
            (None, None, None), (first.total_vfs, first.vfs, first.vgpus)
        )
        self.assertEqual(16, len(second.vfs))
        self.assertIsNone(second.vfs[0].vgpus)

    def test_root_that_is_none(self):
        for root in (self.folder / 'none', pathlib.Path('/dev/null')):
            with self.assertRaises(ValueError):
                facts.read(root)

    @hypothesis.settings(deadline=None, max_examples=60)
    @hypothesis.given(st.data())
    def test_any_part_is_missing_or_of_no_sense(self, data):
        root = self.folder / 'part'
        shutil.rmtree(root, ignore_errors=True)
        machines.build(data.draw(st.sampled_from(_SMALL)), root)
        paths = sorted(
            path
            for path in root.rglob('*')
            if path.is_symlink() or path.is_file()
        )
        for path in data.draw(
            st.lists(st.sampled_from(paths), max_size=12, unique=True)
        ):
            content = data.draw(st.none() | st.binary(max_size=40))
            path.unlink()
            if content is not None:
                path.write_bytes(content)
        try:
            node = facts.read(root)
        except ValueError as exc:
            self.assertRegex(str(exc), '^(does not tell what|has no folder)')
        else:
            self.assertEqual(node, records.load(records.as_text(node)))


_SMALL = ('p100', 'rtx6000', 'gtx1080', 'h100-domain1', 't4-no-iommu')


def _without_modules(gpu):
    def bare(functions):
        return tuple(dataclasses.replace(f, modules=None) for f in functions)

    return dataclasses.replace(
        gpu,
        function=dataclasses.replace(gpu.function, modules=None),
        companions=bare(gpu.companions),
        group=bare(gpu.group),
    )


def _dereference(root):
    """Make folders and files of a tree's links, as far as they end."""
    devices = root / 'sys/bus/pci/devices'
    places = {link.name: link.resolve() for link in devices.iterdir()}
    for name, place in places.items():
        (devices / name).unlink()
        (devices / name).mkdir()
        for path in place.iterdir():
            if path.name in places:
                continue
            copy = devices / name / path.name
            if path.is_symlink():
                copy.mkdir()
                if path.name.startswith(('virtfn', 'physfn')):
                    shutil.copy(path.resolve() / 'uevent', copy / 'uevent')
            elif path.is_dir():
                shutil.copytree(path, copy)
            else:
                shutil.copy(path, copy)
    for link in (root / 'sys/kernel/iommu_groups').glob('*/devices/*'):
        link.unlink()
        link.mkdir()
    shutil.rmtree(root / 'sys/devices')


class TestKernel(TestCase):
    """Command line, modprobe's files, firmware."""

    def node(self, files=(), **more):
        root = self.write(**more)
        for path, text in files:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        return facts.read(root)

    def test_modprobe(self):
        node = self.node(
            (
                (
                    'etc/modprobe.d/a.conf',
                    '# blacklist igb\nblacklist nouveau # why not\n\n'
                    'install nvidia-drm /bin/false\n'
                    'install snd /sbin/modprobe --ignore-install snd\n'
                    'alias i2c_nvidia_gpu off\n'
                    'options vfio-pci ids=10DE:1B80:10de:1234,10de:10f0 \\\n'
                    '  disable_vga=1\noptions vfio_pci ids=x,ffff\n',
                ),
                ('etc/modprobe.d/b.txt', 'blacklist igb\n'),
                # The first of one name hides the others.
                ('run/modprobe.d/a.conf', 'blacklist igb\n'),
                ('usr/lib/modprobe.d/c.conf', 'blacklist xhci_pci\x1b\n'),
                ('lib/modprobe.d/d.conf', 'install ast /usr/bin/true\n'),
            )
        )
        self.assertEqual(
            ('ast', 'i2c_nvidia_gpu', 'nouveau', 'nvidia_drm'),
            node.blacklisted,
        )
        self.assertEqual(('10de:10f0', '10de:1b80'), node.vfio_ids)

    def test_masked_file(self):
        root = self.write()
        (root / 'usr/lib/modprobe.d/a.conf').write_text('blacklist igb\n')
        (root / 'etc/modprobe.d/a.conf').symlink_to('/dev/null')
        self.assertEqual((), facts.read(root).blacklisted)

    def test_command_line(self):
        node = self.node(
            command_line='rd.driver.blacklist=nouveau,nvidiafb '
            'modprobe.blacklist="a-b" module_blacklist=ast '
            'vfio_pci.ids=10de:1eb8 vfio-pci.disable_vga=1 '
            'dyndbg="file x +p"'
        )
        self.assertEqual(
            ('a_b', 'ast', 'nouveau', 'nvidiafb'), node.blacklisted
        )
        self.assertEqual(('10de:1eb8',), node.vfio_ids)
        self.assertEqual('dyndbg="file x +p"', node.command_line[-1])

    def test_secrets_of_the_command_line(self):
        node = self.node(
            command_line='rd.iscsi.password=s3cret '
            'netroot=iscsi:me:s3cret@192.0.2.1::3260 '
            'ks=https://me:s3cret@h/ks.cfg'
        )
        self.assertNotIn('s3cret', str(node))
        self.assertEqual('ks=https://***@h/ks.cfg', node.command_line[-1])

    def test_firmware(self):
        for is_on in (True, False, None):
            node = self.node(secure_boot=is_on)
            # A BIOS has no Secure Boot.
            self.assertEqual(bool(is_on), node.secure_boot)
        root = self.write(secure_boot=True)
        for path in (root / 'sys/firmware/efi/efivars').iterdir():
            path.unlink()
        self.assertIsNone(facts.read(root).secure_boot)
        # A container hides all of it.
        shutil.rmtree(root / 'sys/firmware')
        (root / 'sys/firmware').mkdir()
        self.assertIsNone(facts.read(root).secure_boot)

    def test_distribution(self):
        for text, found in (
            ('ID=arch\n', 'arch'),
            ("ID='ol'\nVERSION_ID='9.4'\n", 'ol-9.4'),
            ('ID=a b\n', 'ab'),
            ('VERSION_ID=9\n', None),
            ('ID="\n', None),
            ('ID="\x1b[2J"\n', None),
        ):
            node = self.node((('usr/lib/os-release', text),))
            self.assertEqual(found, node.distribution, text)


class TestCost(TestCase):
    """What is read of a device: on a large node, most are no GPUs."""

    def opened(self, root):
        real, paths = os.open, []

        def note(path, *args):
            paths.append(os.path.realpath(path))
            return real(path, *args)

        with mock.patch('os.open', note):
            facts.read(root)
        return paths

    def test_files_of_a_device(self):
        port = recorded.Device('', '8086:2030', '060400')
        gpu = machines.MACHINES['k80'].devices[-1]
        many = [
            dataclasses.replace(port, address=f'0001:{bus:02x}:00.0')
            for bus in range(50)
        ]
        few = self.opened(self.write(dataclasses.replace(gpu, parent='')))
        more = self.opened(
            self.write(dataclasses.replace(gpu, parent=''), *many)
        )
        self.assertEqual(50, len(more) - len(few))
        own = [path for path in few if gpu.address in path]
        self.assertEqual(
            ['numa_node', 'resource', 'uevent'],
            sorted(os.path.basename(path) for path in own),
        )

    def test_files_of_a_vf(self):
        """Two, and three for each type of mediated device."""
        own = [
            path
            for path in self.opened(self.build('a100-sriov'))
            if '0000:17:00.5' in path
        ]
        self.assertEqual(2 + 13 * 2, len(own))

    def test_nothing_twice(self):
        for name in ('gtx1080', 'l40s'):
            paths = [
                path
                for path in self.opened(self.build(name))
                if '/sys/devices' in path
            ]
            self.assertEqual(sorted(set(paths)), sorted(paths))
