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

import dataclasses
import os
import pathlib
import tempfile
import unittest

from osc_gpu import findings
from osc_gpu.node import config_check
from osc_gpu.node import configs
from osc_gpu.node import file_tree
from osc_gpu.node import files as node_files
from osc_gpu.node import releases
from tests.unit.node import nodes


class TestCase(unittest.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def files(self, tool='nova', machine='gtx1080', alias='nvidia'):
        return configs.files(tool, nodes.match([machine], [alias]))

    def put(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


class TestWrite(TestCase):
    def test_places(self):
        for file, places in (
            (node_files.File('/etc/a', '', hosts=()), ['compute/etc/a']),
            (
                node_files.File('/etc/a', '', hosts=('x', 'y')),
                ['compute/x/etc/a', 'compute/y/etc/a'],
            ),
            (
                node_files.File('/etc/a', '', node_files.CONTROLLER),
                ['controller/etc/a'],
            ),
            (node_files.File('/a', '', node_files.DEPLOYMENT), ['a']),
        ):
            self.assertEqual(places, list(file_tree.places(file)))

    def test_twice(self):
        found = self.files()
        self.assertEqual(2, len(file_tree.write(self.folder, found)))
        self.assertEqual((), file_tree.write(self.folder, found))

    def test_other_content_is_left(self):
        found = self.files()
        place = 'compute/etc/nova/nova.conf'
        for content in ('mine\n', b'\xff'):
            path = self.put(place, '')
            path.write_bytes(
                content if isinstance(content, bytes) else content.encode()
            )
            with self.assertRaisesRegex(ValueError, f'{place} is there and'):
                file_tree.write(self.folder, found)
            # Nothing at all is written then.
            self.assertEqual(
                [path], [p for p in self.folder.rglob('*') if p.is_file()]
            )

    def test_nothing_outside(self):
        evil = node_files.File('../a', '', node_files.DEPLOYMENT)
        with self.assertRaisesRegex(ValueError, 'outside'):
            file_tree.write(self.folder, [evil])
        outside = tempfile.mkdtemp()
        self.addCleanup(os.rmdir, outside)
        (self.folder / 'compute').symlink_to(outside)
        with self.assertRaisesRegex(ValueError, 'outside'):
            file_tree.write(self.folder, self.files())
        dangling = self.folder / 'local.conf'
        dangling.symlink_to(self.folder / 'nowhere')
        with self.assertRaises(OSError):
            file_tree.write(self.folder, self.files('devstack'))


class TestCheck(TestCase):
    def check(self, path, wanted=None, release='2026.2', **more):
        return [
            (found.severity, found.check, found.detail)
            for found in config_check.check(
                wanted or self.files(), path, releases.parse(release), **more
            )
        ]

    def test_what_was_written_is_right(self):
        for tool in configs.TOOLS:
            if tool in ('tripleo', 'systemd'):
                # The one has ended, the other has nothing to do for this.
                continue
            wanted = self.files(tool)
            folder = self.folder / tool
            file_tree.write(folder, wanted)
            with self.subTest(tool):
                self.assertEqual([], self.check(folder, wanted))

    def test_missing_file(self):
        self.assertEqual(
            [('error', 'missing-file', 'it is not there')] * 2,
            self.check(self.folder),
        )

    def test_same_meaning(self):
        path = self.put(
            'nova.conf',
            '[DEFAULT]\ndebug = True\n'
            'pci_passthrough_whitelist = [{"product_id": "1b80",\n'
            '    "vendor_id": "10de"}]\n'
            '[pci]\nreport_in_placement = true\n'
            'alias: {"name":"nvidia","product_id":"1b80","vendor_id":"10de"}\n'
            'alias = {"name":"nic","vendor_id":"8086","product_id":"1"}\n',
        )
        self.assertEqual(
            [
                (
                    'warning',
                    'old-name',
                    '[DEFAULT] pci_passthrough_whitelist is an old name of '
                    '[pci] device_spec',
                ),
                ('info', 'more', '[pci] alias nic is there besides'),
            ],
            self.check(path, reader='compute'),
        )

    def test_what_goes_without_saying(self):
        wanted = [
            file
            for file in self.files(machine='k80', alias='k80')
            if file.reader == 'compute'
        ]
        alias = (
            '{"name":"k80","product_id":"102d","vendor_id":"10de"'
            ',"resource_class":"%s"}'
        )
        spec = '{"product_id":"102d","vendor_id":"10de"}'
        plain = alias.replace(',"resource_class":"%s"', '')
        typed = plain.replace('}', ',"device_type":"type-PCI"}')
        for one, other, is_good in (
            (spec, plain, True),
            (spec, typed, True),
            (spec.upper().replace('_ID', '_id').replace('PRODUCT', 'product')
             .replace('VENDOR', 'vendor'), plain, True),
            (spec.replace('10de', '0x10de'), plain, True),
            # Nova takes an alias' ids as they stand there.
            (spec, plain.replace('10de', '10DE'), False),
            (spec, alias % 'pci_10de_102d', True),
            (spec, alias % 'PCI-10de 102d', True),
            (spec, alias % 'CUSTOM_PCI-10DE_102D', False),
            (spec, alias % 'GPU', False),
            (spec.replace('}', ',"resource_class":"GPU"}'), plain, False),
            (spec, plain.replace('}', ',"device_type":"type-PF"}'), False),
        ):  # fmt: skip
            with self.subTest((one, other)):
                path = self.put(
                    'nova.conf',
                    f'[pci]\ndevice_spec = {one}\nalias = {other}\n'
                    'report_in_placement = True\n',
                )
                found = self.check(path, wanted)
                self.assertEqual(is_good, found == [], found)

    def test_differing(self):
        path = self.put(
            'nova.conf',
            '[filter_scheduler]\nenabled_filters = ComputeFilter\n'
            'pci_in_placement = False\n'
            '[pci]\nalias = {"name": "nvidia", "vendor_id": "10de", '
            '"product_id": "1b81"}\n',
        )
        self.assertEqual(
            [
                (
                    'error',
                    'option',
                    '[filter_scheduler] enabled_filters has no '
                    'PciPassthroughFilter',
                ),
                (
                    'error',
                    'option',
                    "[filter_scheduler] pci_in_placement is 'False'",
                ),
                (
                    'error',
                    'option',
                    '[pci] alias nvidia is not there as it is to be',
                ),
            ],
            self.check(path, reader='controller'),
        )

    def test_types(self):
        wanted = configs.files(
            'nova', nodes.match(['a100-mig'], vgpus=nodes.KAYOBE_VGPUS)
        )
        path = self.put(
            'nova.conf',
            '[devices]\nenabled_vgpu_types=nvidia-697, nvidia-699,nvidia-700\n'
            '[vgpu_nvidia-700]\nmdev_class = CUSTOM_NVIDIA_700\n'
            'device_addresses = 0000:17:00.5,0000:17:00.4,0000:17:00.6\n'
            '[mdev_nvidia-699]\nmdev_class = CUSTOM_NVIDIA_699\n'
            'device_addresses = 0000:17:00.7\n'
            '[mdev_nvidia-697]\ndevice_addresses = 0000:65:00.4\n',
        )
        self.assertEqual(
            [
                (
                    'error',
                    'option',
                    "[mdev_nvidia-697] device_addresses is '0000:65:00.4'",
                ),
                (
                    'error',
                    'option',
                    '[mdev_nvidia-697] mdev_class is not set',
                ),
                (
                    'warning',
                    'old-name',
                    '[devices] enabled_vgpu_types is an old name of '
                    '[devices] enabled_mdev_types',
                ),
            ],
            self.check(path, wanted),
        )

    def test_text(self):
        wanted = self.files('modprobe')
        path = self.put('osc-gpu.conf', 'blacklist nouveau\nmine\n')
        ((severity, check, detail),) = self.check(path, wanted)
        self.assertEqual(('error', 'text'), (severity, check))
        self.assertRegex(detail, r'^\d+ lines are missing and \d+ are too')

    def test_comments_of_whole_files(self):
        (file,) = self.files('modprobe')
        path = self.put('osc-gpu.conf', f'# Where it belongs\n\n{file.text}')
        self.assertEqual([], self.check(path, [file]))
        for text in ('#!/bin/bash\nset -eu\n', '#!/bin/sh\nset -eu\n'):
            script = dataclasses.replace(
                file, text=f'{text.partition(chr(10))[0]}\n# x\nset -eu\n'
            )
            path.write_text('#!/bin/sh\nset -eu\n')
            with self.subTest(text):
                self.assertEqual(
                    'bash' in text, bool(self.check(path, [script]))
                )

    def test_arguments_of_the_kernel(self):
        """An operator may have merged them with others by hand."""
        machine = nodes.renamed('gtx1080', 'a', distribution=None)
        (file,) = self.files('grub', machine)
        ids = 'vfio-pci.ids=10de:1b80,10de:10f0'
        self.assertIn(f'intel_iommu=on iommu=pt {ids}"', file.text)
        there = (
            f'GRUB_CMDLINE_LINUX="quiet iommu=pt {ids},8086:1"\n'
            'GRUB_CMDLINE_LINUX_DEFAULT="intel_iommu=on,sm_on splash"\n'
        )
        for text, missing in (
            (there, ''),
            (f'# x\nGRUB_TIMEOUT=5\n{file.text}', ''),
            (there.replace('LINUX=', 'LINUX+='), ''),
            (there.replace(',10de:10f0', ''), ids),
            (there.replace('iommu=pt ', ''), 'iommu=pt'),
            (there.replace('intel_iommu=on', 'intel_iommu=off'),
             'intel_iommu=on'),
            (there.replace('GRUB_CMDLINE', '#GRUB_CMDLINE'),
             f'intel_iommu=on iommu=pt {ids}'),
        ):  # fmt: skip
            with self.subTest(text):
                path = self.put('grub', text)
                self.assertEqual(
                    [
                        (
                            'error',
                            'text',
                            f'arguments of the kernel are missing: {missing}',
                        )
                    ]
                    if missing
                    else [],
                    self.check(path, [file]),
                )
        path.write_text('GRUB_CMDLINE_LINUX="')
        with self.assertRaisesRegex(ValueError, 'grub: No closing quotation'):
            self.check(path, [file])

    def test_local_conf(self):
        wanted = self.files('devstack')
        (file,) = wanted
        path = self.put('local.conf', f'A=1\n{file.text}\nFLOATING_RANGE=1\n')
        self.assertEqual([], self.check(path, wanted))
        text = '[[local|localrc]]\nA=1\n' + file.text.replace('\\\\\\"', '\\"')
        path.write_text(text)
        details = [detail for _s, _c, detail in self.check(path, wanted)]
        self.assertEqual(2, len(details))
        for detail in details:
            self.assertIn('it is no JSON', detail)
        # What is to be done can be written there as it is.
        path.write_text('[[local|localrc]]\nA=1\n')
        found = config_check.check(
            wanted, path, releases.parse('2026.2'), None, None
        )
        self.assertTrue(found)
        for finding in found:
            value = finding.repair.partition(' = ')[2]
            self.assertIn(value, file.text)

    def test_what_others_write_to_as_well(self):
        for tool, place, more in (
            ('dracut', '/etc/initramfs-tools/modules', 'loop\n'),
            ('kayobe', 'kolla.yml', 'kolla_enable_x: true\n'),
            ('kayobe', 'overcloud.yml', 'a: b\n'),
            ('kayobe', 'kolla/config/nova.conf', '[api]\na = b\n'),
            ('kolla-ansible', '/etc/kolla/config/nova.conf', '[api]\na = b\n'),
        ):
            with self.subTest(place):
                wanted = [
                    file for file in self.files(tool) if file.path == place
                ]
                (file,) = wanted
                path = self.put(
                    os.path.basename(place), f'# x\n{more}\n{file.text}{more}'
                )
                lines = 2 * len(more.splitlines())
                self.assertEqual(
                    [('info', 'more', f'{lines} lines are there besides')],
                    self.check(path, wanted),
                )
                path.write_text(more)
                found = self.check(path, wanted)
                self.assertEqual(('error', 'text'), found[0][:2])
                self.assertIn('lines are missing: ', found[0][2])

    def test_order_of_yaml(self):
        wanted = [
            file for file in self.files('kayobe') if file.path == 'kolla.yml'
        ]
        lines = wanted[0].text.splitlines()
        path = self.put('kolla.yml', '\n'.join(reversed(lines)))
        self.assertIn(
            'error', [found[0] for found in self.check(path, wanted)]
        )

    def test_kayobe_leaves_nothing_without_raw_tags(self):
        place = 'kolla/config/nova/nova-compute.conf'
        wanted = [f for f in self.files('kayobe') if f.path == place]
        lines = wanted[0].text.splitlines(keepends=True)
        path = self.put(
            os.path.basename(place),
            ''.join(x for x in lines if 'raw' not in x),
        )
        self.assertEqual(
            [('error', 'text', '2 lines are missing: {% raw %}')],
            self.check(path, wanted),
        )

    def test_quotes_that_nova_does_not_read(self):
        path = self.put('nova.conf', '')
        wanted = [f for f in self.files() if f.reader == 'compute']
        for quote in ('\\"', "'"):
            path.write_text(wanted[0].text.replace('"', quote))
            details = [detail for _s, _c, detail in self.check(path, wanted)]
            self.assertEqual(2, len(details))
            for detail in details:
                self.assertIn('Nova reads no ', detail)

    def test_no_json(self):
        path = self.put('nova.conf', '[pci]\nalias = {name: nvidia}\n')
        details = [d for _s, _c, d in self.check(path, reader='compute')]
        self.assertTrue(any('it is no JSON' in d for d in details), details)

    def test_refused(self):
        path = self.put('nova.conf', '[pci]\n')
        for more, words in (
            ({}, 'say which with --reader or --node'),
            ({'reader': 'deployment'}, 'there is no file'),
        ):
            with self.assertRaisesRegex(ValueError, words):
                self.check(path, **more)
        for content in (b'\xff\xfe', b'[a]\n' * (1 << 19), b'hello'):
            path.write_bytes(content)
            with self.assertRaisesRegex(ValueError, 'nova.conf'):
                self.check(path, reader='compute')

    def test_one_of_several_nodes(self):
        wanted = configs.files(
            'nova',
            nodes.match(['k80', 'p100'], ['K80=10de:102d', 'p=10de:15f8']),
        )
        file_tree.write(self.folder, wanted)
        self.assertEqual([], self.check(self.folder, wanted, host='sas03'))
        path = self.folder / 'compute/sas03/etc/nova/nova.conf'
        self.assertEqual(
            [], self.check(path, wanted, reader='compute', host='sas03')
        )
        found = self.check(
            path, wanted, reader='compute', host='overcloud-compute-0'
        )
        self.assertIn(findings.ERROR, [severity for severity, *_m in found])
