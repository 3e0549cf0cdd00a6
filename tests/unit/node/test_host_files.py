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


"""Files that hosts read, of machines that are recorded.

With ``OSC_GPU_GOLDEN=write`` in the environment the files are written anew.
"""

import dataclasses
import functools
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from osc_gpu.node import facts
from osc_gpu.node.host_division import Division
from osc_gpu.node.host_division import Vgpu
from osc_gpu.node import host_files
from osc_gpu.node import model
from tests.unit.node import machines

GOLDEN = pathlib.Path(__file__).with_name('host_golden')
SHELLCHECK = pathlib.Path(sys.executable).with_name('shellcheck')
VERIFY = shutil.which('systemd-analyze')

#: Sections, keys and values that units have (systemd.unit, systemd.service).
_SERVICES = r'\A[\w@-]+\.service( [\w@-]+\.service)*\Z'
UNIT = {
    'Unit': {
        'Description': r'\A[^%$\\]+\Z',
        'After': _SERVICES,
        'Before': _SERVICES,
    },
    'Service': {
        'Type': r'\Aoneshot\Z',
        'RemainAfterExit': r'\Ayes\Z',
        'TimeoutStartSec': r'\A[0-9]+\Z',
        # Neither specifiers, variables, quotes nor a second command.
        'ExecStart': r'\A/[\w/.-]+( [\w:.,=-]+)+\Z',
    },
    'Install': {'WantedBy': r'\Amulti-user\.target\Z'},
}

IDS = model.Function('0000:17:00.0', '10de', '20b5', '0302', '00')


@functools.cache
def node(name):
    with tempfile.TemporaryDirectory() as folder:
        return facts.read(machines.build(name, pathlib.Path(folder)))


def gpu(address='0000:17:00.0', ids='10de:20b5', **values):
    function = {'class_id': '0302', 'interface': '00'}
    for key in [k for k in values if k in model.Function.__annotations__]:
        function[key] = values.pop(key)
    return model.Gpu(
        model.Function(address, *ids.split(':'), **function), **values
    )


def machine(*gpus, **values):
    return model.Node(**({'hostname': 'gpu1', 'gpus': gpus} | values))


def text(tool, nodes, gpus, divisions=()):
    """Return path -> text."""
    nodes = nodes if isinstance(nodes, list) else [nodes]
    return {
        file.path: file.text
        for file in host_files.files(tool, nodes, gpus, divisions)
    }


def whole(name):
    return node(name), node(name).gpus, ()


def a100_kayobe():
    """Return what seed 003 has: one card with MIG, one time-sliced."""
    found = node('a100-mig')
    mig = Division(
        found.gpus[0],
        (*(Vgpu('nvidia-700', n) for n in range(3)), Vgpu('nvidia-699', 3)),
        ('1g.10gb', '2g.20gb', '2g.20gb', '2g.20gb'),
    )
    others = tuple(
        Division(other, (Vgpu('nvidia-697', 0), Vgpu('nvidia-697', 1)))
        for other in found.gpus[1:]
    )
    return found, (), (mig, *others)


def l40s():
    found = node('l40s')
    vgpus = (Vgpu('1155', 0), Vgpu('1155', 1))
    return found, (), (Division(found.gpus[0], vgpus),)


CASES = {
    **{
        name: functools.partial(whole, name)
        for name in (
            'gtx1080', 'h100-domain1', 'k80', 'mi300x', 'p100', 'rtx6000',
        )
    },
    'a100-mig': a100_kayobe,
    'l40s': l40s,
}  # fmt: skip


def every():
    for name, make in CASES.items():
        found, gpus, divisions = make()
        for tool in host_files.TOOLS:
            yield name, tool, text(tool, found, gpus, divisions)


class TestGolden(unittest.TestCase):
    def test_files(self):
        self.maxDiff = None
        for name in CASES:
            with self.subTest(name):
                lines = []
                for case, tool, found in every():
                    for path, content in found.items() if case == name else ():
                        if not path.startswith('/usr/local'):
                            lines += [f'## {tool}: {path}', content]
                path = GOLDEN / f'{name}.txt'
                if os.environ.get('OSC_GPU_GOLDEN') == 'write':
                    path.write_text('\n'.join(lines))
                self.assertEqual(path.read_text(), '\n'.join(lines))

    def test_form(self):
        for name, tool, found in every():
            for path, content in found.items():
                with self.subTest(name=name, tool=tool, path=path):
                    self.assertTrue(content.endswith('\n'))
                    self.assertNotRegex(content, '[ \t]\n|\n\n\n')
                    self.assertTrue(content.isascii())

    def test_scripts(self):
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for name, tool, found in every():
                for path, content in found.items():
                    if content.startswith('#!'):
                        stem = path.rpartition('/')[2]
                        target = pathlib.Path(folder, f'{name}-{stem}')
                        target.write_text(content)
                        paths.append(str(target))
                        self.assertIn(tool, ('grub', 'systemd', 'dracut'))
            self.assertGreater(len(paths), 3)
            for path in paths:
                subprocess.run(['bash', '-n', path], check=True)
            done = subprocess.run(
                [str(SHELLCHECK), '--severity=style', *paths],
                capture_output=True,
                text=True,
            )
        self.assertEqual((0, ''), (done.returncode, done.stdout))

    def test_units(self):
        """Each key is one of systemd's; systemd says so too where it is."""
        with tempfile.TemporaryDirectory() as folder:
            units = []
            for name, make in {**CASES, 'same-ids': same_ids}.items():
                files = text('systemd', *make())
                for path, content in files.items():
                    target = pathlib.Path(folder, pathlib.Path(path).name)
                    if target.suffix == '.service':
                        self.assert_unit(content, files)
                        target = target.with_stem(f'{target.stem}-{name}')
                        units.append(str(target))
                    target.write_text(
                        content.replace('/usr/local/sbin', folder)
                    )
                    target.chmod(0o755 if 'sbin' in path else 0o644)
            self.assertGreater(len(units), 2)
            if VERIFY:
                self.assert_verified(units)

    def assert_unit(self, content, files):
        """Read a unit as systemd does: its sections, keys and values."""
        section, found = '', {}
        for line in filter(None, content.splitlines()):
            if line.startswith('['):
                section = line.strip('[]')
                continue
            key, equals, value = line.partition('=')
            self.assertRegex(value, UNIT[section][key], line)
            self.assertEqual('=', equals, line)
            found.setdefault((section, key), []).append(value)
        self.assertEqual(
            {(section, key) for section, keys in UNIT.items() for key in keys},
            set(found),
        )
        for command in found['Service', 'ExecStart']:
            self.assertIn(command.split()[0], files)

    def assert_verified(self, units):
        done = subprocess.run(
            [VERIFY, 'verify', '--man=no', *units],
            capture_output=True,
            text=True,
        )
        # Of its own units it says more.
        said = [line for line in done.stderr.splitlines() if 'osc-gpu' in line]
        self.assertEqual((0, []), (done.returncode, said))


def same_ids():
    """Return two cards alike, of which one stays with the host."""
    stays, goes = gpu(), gpu('0000:65:00.0')
    return machine(stays, goes), (goes,), ()


class TestKernelArguments(unittest.TestCase):
    def line(self, *args):
        return ''.join(text('grub', *args).values())

    def test_seeds(self):
        self.assertIn('intel_iommu=on iommu=pt', self.line(*whole('k80')))
        self.assertIn('vfio-pci.ids=10de:102d', self.line(*whole('k80')))
        self.assertIn('vfio-pci.ids=10de:15f8', self.line(*whole('p100')))
        self.assertIn(
            'vfio-pci.ids=10de:1e30,10de:10f7,10de:1ad6,10de:1ad7',
            self.line(*whole('rtx6000')),
        )
        self.assertIn(
            'vfio-pci.ids=10de:1b80,10de:10f0', self.line(*whole('gtx1080'))
        )

    def test_processor(self):
        one = gpu()
        for vendor, words in (
            ('intel', ' intel_iommu=on iommu=pt vfio'),
            ('amd', 'LINUX iommu=pt vfio'),
            ('', 'LINUX iommu.passthrough=1 vfio'),
            (None, ' intel_iommu=on iommu=pt vfio'),
        ):
            line = self.line(machine(one, cpu_vendor=vendor), [one])
            self.assertIn(words, line)
            self.assertEqual(vendor is None, 'is not known' in line)

    def test_distribution(self):
        one = gpu()
        for distribution, path in (
            ('ubuntu-24.04', '/etc/default/grub.d/osc-gpu.cfg'),
            ('debian-13', '/etc/default/grub.d/osc-gpu.cfg'),
            ('rocky-9.4', 'kernel-arguments.sh'),
            ('rhel-7.4', 'kernel-arguments.sh'),
            ('suse-15', '/etc/default/grub'),
            (None, '/etc/default/grub'),
        ):
            found = text(
                'grub', machine(one, distribution=distribution), [one]
            )
            self.assertEqual([path], list(found))

    def test_realloc(self):
        for assigned in (True, False):
            one = gpu(bars=(model.Bar(1, 2**34, assigned),))
            line = self.line(machine(one), [one])
            self.assertEqual(not assigned, 'pci=realloc' in line)

    def test_a_card_that_stays_has_the_same_ids(self):
        found = same_ids()
        self.assertNotIn('vfio-pci.ids=', self.line(*found))
        self.assertNotIn('ids=', ''.join(text('modprobe', *found).values()))
        (rules,) = text('udev', *found).values()
        self.assertIn(
            'KERNEL=="0000:65:00.0", ATTR{vendor}=="0x10de", '
            'ATTR{device}=="0x20b5", ATTR{driver_override}="vfio-pci"\n',
            rules,
        )
        self.assertNotIn('0000:17:00.0', rules)
        self.assertIn(
            'osc-gpu-vfio 0000:65:00.0=10de:20b5\n',
            text('systemd', *found)[
                '/etc/systemd/system/osc-gpu-vfio.service'
            ],
        )
        self.assertIn(
            '/etc/initramfs-tools/hooks/osc-gpu', text('dracut', *found)
        )

    def test_others_keep_their_ids(self):
        one = gpu()
        found = machine(one, vfio_ids=('144d:a808', '10de:20b5'))
        self.assertIn(
            'vfio-pci.ids=10de:20b5,144d:a808"', self.line(found, [one])
        )

    def test_divided(self):
        for ids, words in (
            (None, "--args='intel_iommu=on iommu=pt'"),
            (('144d:a808',), "--args='intel_iommu=on iommu=pt'"),
            (('10de:20b5',), '--remove-args=vfio-pci.ids\n'),
            (('10de:20b5', '144d:a808'), 'vfio-pci.ids=144d:a808'),
        ):
            found = machine(gpu(), distribution='rocky-9.4', vfio_ids=ids)
            line = self.line(found, [], [Division(found.gpus[0])])
            self.assertIn(words, line)
            self.assertEqual('vfio-pci.ids' in words, 'pci.ids' in line)

    def test_nothing(self):
        for tool in host_files.TOOLS:
            self.assertEqual((), host_files.files(tool, [machine(gpu())], []))


class TestModules(unittest.TestCase):
    def test_virqfd(self):
        one = gpu()
        for kernel, has in (
            ('4.18.0-553.el8_10.x86_64', True),
            ('5.15.0-126-generic', True),
            ('6.1.0-28-amd64', True),
            ('5.14.0-427.el9.x86_64', False),
            ('6.2.0-39-generic', False),
            ('6.8.0-51-generic', False),
            (None, False),
            ('what', False),
        ):
            (loaded,) = text(
                'vfio', machine(one, kernel=kernel), [one]
            ).values()
            self.assertEqual(has, 'vfio_virqfd\n' in loaded, kernel)
            self.assertIn('vfio\nvfio_iommu_type1\nvfio_pci\n', loaded)

    def test_initramfs(self):
        one = gpu()
        for distribution, paths in (
            ('rocky-9', {'/etc/dracut.conf.d/osc-gpu.conf'}),
            ('ubuntu-24.04', {'/etc/initramfs-tools/modules'}),
            (
                None,
                {
                    '/etc/dracut.conf.d/osc-gpu.conf',
                    '/etc/initramfs-tools/modules',
                },
            ),
        ):
            found = text(
                'dracut', machine(one, distribution=distribution), [one]
            )
            self.assertEqual(paths, set(found))

    def test_nouveau_stays_where_the_host_has_a_display_by_it(self):
        shows = gpu('0000:03:00.0', ids='10de:1cb1', driver='nouveau')
        goes = gpu()
        for gpus in ((goes,), (goes, shows)):
            (rules,) = text('modprobe', machine(*gpus), [goes]).values()
            self.assertEqual(shows not in gpus, 'blacklist nouveau' in rules)
            self.assertIn('softdep nouveau pre: vfio-pci\n', rules)

    def test_vendor(self):
        one = gpu(ids='1002:74a1', class_id='1200')
        (rules,) = text('modprobe', machine(one), [one]).values()
        self.assertIn('softdep amdgpu pre: vfio-pci\n', rules)
        self.assertNotIn('nouveau', rules)

    def test_companions_whose_modules_are_not_told(self):
        """By lspci -nn, what wants a function is known by its class."""
        for class_id, driver in (
            ('0403', 'snd_hda_intel'),
            ('0c03', 'xhci_pci'),
            ('0c80', 'i2c_nvidia_gpu'),
        ):
            beside = model.Function('0000:17:00.1', '10de', '1ad7', class_id)
            one = gpu(companions=(beside,))
            (rules,) = text('modprobe', machine(one), [one]).values()
            self.assertIn(f'\nsoftdep {driver} pre: vfio-pci\n', rules)


class TestUdev(unittest.TestCase):
    AUDIO = model.Function('0000:17:00.1', '10de', '10f7', '0403', '00')

    def rules(self, *args):
        return ''.join(text('udev', *args).values())

    def test_seed(self):
        rules = self.rules(*whole('rtx6000'))
        for class_ in ('0x0c0330', '0x0c8000', '0x040300'):
            self.assertIn(
                'ACTION=="add", SUBSYSTEM=="pci", ATTR{vendor}=="0x10de", '
                f'ATTR{{class}}=="{class_}", ATTR{{remove}}="1"\n',
                rules,
            )

    def test_another_card_keeps_its_own(self):
        mine = gpu(companions=(self.AUDIO,))
        audio = dataclasses.replace(
            self.AUDIO, address='0000:65:00.1', product_id='1aef'
        )
        other = gpu('0000:65:00.0', ids='10de:2230', companions=(audio,))
        rules = self.rules(machine(mine, other), [mine])
        self.assertIn(
            'KERNEL=="0000:17:00.1", ATTR{vendor}=="0x10de", '
            'ATTR{device}=="0x10f7", ATTR{remove}="1"\n',
            rules,
        )
        self.assertNotIn('ATTR{class}', rules)

    def test_another_vendor_has_such_functions_on_boards(self):
        audio = dataclasses.replace(self.AUDIO, vendor_id='1002')
        one = gpu(ids='1002:744c', companions=(audio,))
        rules = self.rules(machine(one), [one])
        self.assertIn('KERNEL=="0000:17:00.1"', rules)

    def test_servers_get_it(self):
        usb = dataclasses.replace(
            self.AUDIO, address='0000:17:00.2', class_id='0c03'
        )
        one = gpu(companions=(self.AUDIO, usb))
        (file,) = host_files.files(
            'udev', [machine(one)], [one], functions=[self.AUDIO]
        )
        self.assertIn('0x0c03', file.text)
        self.assertNotIn('0x0403', file.text)

    def test_unknown_class(self):
        audio = dataclasses.replace(self.AUDIO, interface=None)
        one = gpu(companions=(audio,))
        rules = self.rules(machine(one), [one])
        self.assertIn('ATTR{class}=="0x0403??"', rules)


class TestUnits(unittest.TestCase):
    def steps(self, division):
        found = text('systemd', machine(division.gpu), [], [division])
        unit = '\n'.join(
            content for path, content in found.items() if 'systemd' in path
        )
        return re.findall('^ExecStart=/usr/local/sbin/osc-gpu-divide (.*)$',
                          unit, re.MULTILINE)  # fmt: skip

    def test_seed(self):
        found, _gpus, divisions = a100_kayobe()
        steps = self.steps(divisions[0])
        address = found.gpus[0].address
        self.assertEqual(
            [
                f'mig {address}',
                f'vfs {address}',
                f'parts {address} 2g.20gb,2g.20gb,2g.20gb,1g.10gb',
            ],
            steps[:3],
        )
        self.assertEqual(
            [
                f'mdev {address} {place} {type_}'
                for place, type_ in (
                    (0, 'nvidia-700'),
                    (1, 'nvidia-700'),
                    (2, 'nvidia-700'),
                    (3, 'nvidia-699'),
                )
            ],
            [step.rpartition(' ')[0] for step in steps[3:]],
        )
        # The same vGPUs after each boot, and no two alike.
        self.assertEqual(steps, self.steps(divisions[0]))
        self.assertEqual(len(steps), len(set(steps)))

    def test_several_on_the_card_itself(self):
        steps = self.steps(Division(gpu(), (Vgpu('nvidia-222'),) * 2))
        self.assertEqual(2, len(set(steps)))
        self.assertTrue(steps[0].startswith('mdev 0000:17:00.0 - nvidia-222 '))

    def test_vendor_vfio(self):
        self.assertEqual(
            ['vfs 0000:17:00.0', 'vfio 0000:17:00.0 3 1155'],
            self.steps(Division(gpu(), (Vgpu('1155', 3),))),
        )

    def test_vfs_only(self):
        self.assertEqual(
            ['vfs 0000:17:00.0'], self.steps(Division(gpu(total_vfs=16)))
        )
        self.assertEqual([], self.steps(Division(gpu())))

    def test_another_vendor(self):
        with self.assertRaisesRegex(ValueError, '0000:17:00.0 is no card of'):
            self.steps(Division(gpu(ids='1002:74a1'), (Vgpu('x-1', 0),)))

    def test_before_what_makes_servers(self):
        found = text(*('systemd', *l40s()))
        unit = next(c for p, c in found.items() if p.endswith('.service'))
        before = re.search('^Before=(.*)$', unit, re.MULTILINE)[1].split()
        self.assertLessEqual(
            {'libvirtd.service', 'nova-compute.service'}, set(before)
        )


class TestSeveralNodes(unittest.TestCase):
    def test_alike(self):
        one = gpu()
        nodes = [machine(one), machine(one, hostname='gpu2')]
        (file,) = host_files.files('vfio', nodes, [one])
        self.assertEqual((), file.hosts)

    def test_different(self):
        one, other = gpu(), gpu(ids='10de:15f8')
        nodes = [
            machine(one),
            machine(one, hostname='gpu2'),
            machine(other, hostname='gpu3'),
            machine(hostname='cpu1'),
        ]
        files = host_files.files('grub', nodes, [one, other])
        self.assertEqual(
            [('gpu1', 'gpu2'), ('gpu3',)], [file.hosts for file in files]
        )
        nameless = dataclasses.replace(nodes[2], hostname=None)
        for bad in (nameless, dataclasses.replace(nodes[2], hostname='gpu1')):
            with self.assertRaisesRegex(ValueError, 'differs between nodes'):
                host_files.files('grub', [nodes[0], bad], [one, other])


class TestHostile(unittest.TestCase):
    BAD = (
        '$(reboot)', '`reboot`', '10de"', "10de'", '10de\n', 'a\nb', '', '%n',
        '../../x', 'x y', '10DE', '\u0661\u0662\u0663\u0664', 'a' * 300,
    )  # fmt: skip

    def refused(self, one=None, divisions=(), **values):
        one = one or gpu()
        for tool in host_files.TOOLS:
            with self.assertRaises(ValueError) as caught:
                host_files.files(tool, [machine(one, **values)], [one],
                                 divisions)  # fmt: skip
            self.assertEqual(1, len(str(caught.exception).splitlines()))

    def test_functions(self):
        for field in (
            'address', 'vendor_id', 'product_id', 'class_id', 'interface',
        ):  # fmt: skip
            for value in (*self.BAD, 5):
                bad = dataclasses.replace(IDS, **{field: value})
                with self.subTest(field=field, value=value):
                    self.refused(model.Gpu(bad))
                    self.refused(model.Gpu(IDS, companions=(bad,)))
                    self.refused(model.Gpu(IDS, group=(bad,)))
                    vf = model.VirtualFunction(bad)
                    self.refused(model.Gpu(IDS, vfs=(vf,)))

    def test_nodes(self):
        for value in (*self.BAD, '..', 'a..b', '-a', 'a/b'):
            with self.subTest(value):
                if value != '10DE':
                    self.refused(hostname=value)
                self.refused(vfio_ids=(value,))
                if value not in ('10DE', '-a'):
                    self.refused(gpu(modules=(value,)))

    def test_divisions(self):
        for value in self.BAD:
            if value != '10DE':
                self.refused(divisions=[Division(gpu(), (Vgpu(value, 0),))])
            self.refused(divisions=[Division(gpu(), (), (value,))])
        self.refused(divisions=[Division(gpu(), (Vgpu('1', -1),))])

    def test_words(self):
        # Of these nothing is written.
        one = gpu(driver='$(reboot)')
        found = machine(
            one,
            distribution='$(reboot)-"',
            kernel='6.8.0$(reboot)',
            command_line=('$(reboot)',),
            loaded=('$(reboot)',),
        )
        for tool in host_files.TOOLS:
            self.assertNotIn('reboot)', str(text(tool, found, [one])))
