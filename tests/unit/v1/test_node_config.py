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

import os
import pathlib
import tempfile
from unittest import mock

import yaml

from tests.unit import base
from tests.unit.node import machines


class TestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def root(self, name):
        return str(machines.build(name, self.folder / name))


class TestShow(TestCase):
    def show(self, *argv):
        return self.ok('gpu', 'node', 'config', 'show', *argv).stdout

    def refused(self, *argv, status=1):
        return self.fails(
            'gpu', 'node', 'config', 'show', *argv, status=status
        )

    def test_files_one_after_the_other(self):
        text = self.show(
            '--for', 'nova', '--alias', 'k80', '--root', self.root('k80')
        )
        first, second = text.split('\n# /etc/nova/nova.conf (compute)\n')
        self.assertTrue(
            first.startswith('# /etc/nova/nova.conf (controller)\n')
        )
        self.assertIn('[filter_scheduler]\n', first)
        self.assertIn('[pci]\ndevice_spec = {"vendor_id"', second)

    def test_script_can_be_run_as_it_is_printed(self):
        text = self.show(
            '--for', 'systemd', '--vgpu-type', 'nvidia-697', '--root',
            self.root('a100-mig'),
        )  # fmt: skip
        self.assertIn(
            '\n\n#!/bin/bash\n# /usr/local/sbin/osc-gpu-divide (compute)\n',
            text,
        )

    def test_no_cloud_is_asked(self):
        argv = ('--for', 'devstack', '--alias', 'K80', '--root')
        root = self.root('k80')
        self.show(*argv, root)
        self.assertEqual([], self.cloud.request_history)
        with mock.patch.object(base, 'AUTH_URL', ''):
            self.show(*argv, root)

    def test_several_nodes(self):
        text = self.show(
            '--for', 'nova', '--alias', 'a=10de:102d', '--alias',
            'b=10de:15f8', '--root', self.root('k80'), '--root',
            self.root('p100'),
        )  # fmt: skip
        self.assertIn('# /etc/nova/nova.conf (compute of sas03)\n', text)
        self.assertIn('(compute of overcloud-compute-0)\n', text)

    def test_text_of_lspci(self):
        path = self.folder / 'lspci.txt'
        path.write_text('04:00.0 0302: 10de:102d (rev a1)\n')
        text = self.show(
            '--for', 'devstack', '--alias', 'K80', '--release', 'ocata',
            '--from', str(path),
        )  # fmt: skip
        self.assertIn(r'\\\"name\\\": \\\"K80\\\"}', text)

    def test_vgpus(self):
        text = self.show(
            '--for', 'kayobe', '--vgpu-type', 'A100D-40C=65:00.0', '--root',
            self.root('a100-mig'),
        )  # fmt: skip
        self.assertIn('# inventory/group_vars/compute_vgpu/vgpu (dep', text)
        self.assertIn('mdev_type: nvidia-697', text)

    def test_hosts_own_files(self):
        text = self.show(
            '--for', 'modprobe', '--alias', 'rtx', '--root',
            self.root('rtx6000'),
        )  # fmt: skip
        self.assertIn('blacklist nouveau\n', text)

    def test_tripleo_is_of_its_last_release(self):
        text = self.show(
            '--for', 'tripleo', '--alias', 'a1', '--root', self.root('p100')
        )
        self.assertIn('NovaSchedulerEnabledFilters', text)

    def test_output(self):
        argv = (
            '--for', 'tripleo', '--alias', 'a1', '--root', self.root('p100'),
            '--output', str(self.folder / 'out'),
        )  # fmt: skip
        paths = self.show(*argv).splitlines()
        self.assertEqual(
            [
                'out/environments/20-compute-params.yaml',
                'out/environments/20-controller-params.yaml',
            ],
            [os.path.relpath(path, self.folder) for path in paths],
        )
        for path in paths:
            self.assertIn(
                'parameter_defaults',
                yaml.safe_load(pathlib.Path(path).read_text()),
            )
        self.assertEqual('', self.show(*argv))
        pathlib.Path(paths[0]).write_text('mine\n')
        self.assertIn('says something else', self.refused(*argv))
        self.assertEqual('mine\n', pathlib.Path(paths[0]).read_text())

    def test_output_that_cannot_be(self):
        path = self.folder / 'file'
        path.write_text('')
        said = self.refused(
            '--for', 'nova', '--alias', 'K80', '--root', self.root('k80'),
            '--output', str(path),
        )  # fmt: skip
        self.assertIn('--output', said)

    def test_refused(self):
        root = ('--root', self.root('k80'))
        nova = ('--for', 'nova')
        for argv, words in (
            (nova, 'give --alias or --vgpu-type'),
            ((*nova, '--alias', 'a100'), 'matches no model'),
            ((*nova, '--alias', 'a=10de:20b5'), 'no GPU is 10de:20b5'),
            ((*nova, '--vgpu-type', 'nvidia-35'), 'has no vGPU type'),
            (
                (*nova, '--vgpu-type', 'nvidia-35', '--release', 'pike'),
                'queens is the first',
            ),
            (
                ('--for', 'tripleo', '--alias', 'K80', '--release', '2025.1'),
                'say --release wallaby',
            ),
            (
                ('--for', 'systemd', '--alias', 'K80'),
                'systemd has nothing to do',
            ),
        ):
            with self.subTest(argv):
                self.assertIn(words, self.refused(*argv, *root))

    def test_bad_options(self):
        nova = ('--for', 'nova')
        for argv, words in (
            (('--alias', 'a'), '--for'),
            (('--for', 'salt', '--alias', 'a'), 'kolla-ansible'),
            ((*nova, '--alias', 'a=10de:xyzz'), 'are no ids'),
            ((*nova, '--vgpu-type', 'a=1'), 'is no PCI address'),
            ((*nova, '--alias', 'a', '--release', 'essex'), 'no release'),
        ):
            with self.subTest(argv):
                self.assertIn(words, self.refused(*argv, status=2))


class TestCheck(TestCase):
    def check(self, *argv):
        return self.openstack('gpu', 'node', 'config', 'check', *argv)

    def test_good_and_bad(self):
        argv = ('--for', 'nova', '--alias', 'K80', '--root', self.root('k80'))
        out = self.folder / 'out'
        self.ok('gpu', 'node', 'config', 'show', *argv, '--output', str(out))
        result = self.check(*argv, '--diff', str(out), '-f', 'json')
        self.assertEqual((0, []), (result.status, result.json))
        (out / 'compute/etc/nova/nova.conf').write_text('[pci]\n')
        result = self.check(*argv, '--diff', str(out), '-f', 'json')
        self.assertEqual(1, result.status)
        self.assertEqual(
            ['Severity', 'Check', 'Subject', 'Detail', 'Fix'],
            list(result.json[0]),
        )
        self.assertEqual({'error'}, {row['Severity'] for row in result.json})

    def test_old_names_are_warnings(self):
        path = self.folder / 'nova.conf'
        path.write_text(
            '[DEFAULT]\npci_alias = {"name": "K80", "vendor_id": "10de", '
            '"product_id": "102d"}\n'
            'pci_passthrough_whitelist = {"vendor_id": "10de", '
            '"product_id": "102d"}\n'
            '[pci]\nreport_in_placement = True\n'
        )
        argv = (
            '--for', 'nova', '--alias', 'K80', '--root', self.root('k80'),
            '--diff', str(path), '--reader', 'compute',
        )  # fmt: skip
        result = self.check(*argv, '-f', 'json')
        self.assertEqual(0, result.status)
        self.assertEqual(
            ['old-name'] * 2, [row['Check'] for row in result.json]
        )
        result = self.check(*argv, '--release', 'ocata', '-f', 'json')
        self.assertEqual([], result.json)

    def test_refused(self):
        argv = ('--for', 'nova', '--alias', 'K80', '--root', self.root('k80'))
        path = self.folder / 'nova.conf'
        for content, more, words in (
            (None, ('--reader', 'compute'), 'No such file'),
            ('[a]\n', (), '--reader'),
            ('\0', ('--reader', 'compute'), 'no section'),
            ('[a]\n', ('--reader', 'deployment'), 'there is no file'),
        ):
            if content is not None:
                path.write_text(content)
            said = self.fails(
                'gpu', 'node', 'config', 'check', *argv, '--diff', str(path),
                *more,
            )  # fmt: skip
            self.assertIn(words, said)
