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

import re
from unittest import mock

from tests.unit import base
from tests.unit.node import machines
from tests.unit.node import sound
from tests.unit.v1 import node_case


class TestCheckNode(node_case.TestCase):
    def check(self, *argv, status=0):
        result = self.openstack('gpu', 'node', 'check', *argv, '-f', 'json')
        self.assertEqual((status, ''), (result.status, result.stderr))
        return result.json

    def test_clean(self):
        path = self.write('a.json', sound.k80())
        self.assertEqual(
            [], self.check('--for', 'passthrough', '--from', path)
        )
        self.assertEqual([], self.check('--from', path))

    def test_error(self):
        path = self.write('a.json', sound.k80(has_iommu=False))
        self.assertEqual(
            [
                dict(
                    zip(
                        node_case.COLUMNS,
                        (
                            'error',
                            'iommu',
                            'gpu1',
                            'there is no IOMMU: it is off in the firmware; '
                            'without one no server gets a card',
                            'Turn on VT-d in the firmware',
                        ),
                        strict=True,
                    )
                )
            ],
            self.check('--for', 'passthrough', '--from', path, status=1),
        )

    def test_purposes(self):
        path = self.write('a.json', sound.l40s())
        self.assertEqual([], self.check('--for', 'vfio-vgpu', '--from', path))
        for purpose, right in (
            ('vgpu', ['vendor-vfio']),
            ('passthrough', ['vfs', 'vgpus']),
        ):
            found = self.check('--for', purpose, '--from', path, status=1)
            self.assertEqual(right, [f['Check'] for f in found])

    def test_before(self):
        before = self.write('before.json', sound.k80())
        now = self.write('now.json', sound.node(sound.k80().gpus[0]))
        (found,) = self.check('--from', now, '--before', before, status=1)
        self.assertEqual('gone', found['Check'])
        self.assertEqual([], self.check('--from', before, '--before', now))

    def test_before_that_is_none(self):
        now = self.write('now.json', sound.k80())
        other = self.write('other.json', sound.k80(hostname='gpu2'))
        text = self.folder / 'text'
        text.write_text('no node')
        for path, words in (
            (other, f'--before {other}: is of gpu2, and checked is gpu1'),
            (self.folder / 'none', 'none: No such file or directory'),
            (text, f'--before {text}: '),
        ):
            result = self.openstack(
                'gpu', 'node', 'check', '--from', now, '--before', str(path)
            )
            with self.subTest(path):
                self.assertEqual(1, result.status)
                self.assertIn(words, result.stderr)

    def test_root(self):
        root = machines.build('gtx1080', self.folder / 'root')
        found = self.check(
            '--for', 'passthrough', '--root', str(root), status=1
        )
        self.assertEqual(
            [('error', 'group'), ('warning', 'iommu-pt')],
            [(f['Severity'], f['Check']) for f in found],
        )

    def test_fixes_name_what_config_show_prints(self):
        """Every command runs, and prints what is for the file named."""
        seen = set()
        for name in ('rtx6000', 't4-no-iommu', 'mi300x', 'gtx1080'):
            root = str(machines.build(name, self.folder / name))
            for finding in self.check(
                '--for', 'passthrough', '--root', root, status=1
            ):
                fix = finding['Fix']
                found = re.search("'openstack (gpu node config .*?)'", fix)
                if found is None:
                    self.assertNotIn('/etc/', fix)
                    continue
                tools = re.search('For each <tool> of (.*?):', fix)
                for tool in tools[1].split(', ') if tools else [None]:
                    command = found[1].replace('<tool>', str(tool))
                    text = self.ok(*command.split(), '--root', root).stdout
                    paths = re.findall(r'^# (\S+) \(compute\)$', text, re.M)
                    self.assertTrue(paths, command)
                    if tool is None:
                        self.assertIn(f' prints in {paths[0]}', fix)
                    seen.add(tool)
        self.assertEqual(
            {'grub', 'modprobe', 'udev', 'dracut', 'vfio', None}, seen
        )

    def test_lspci(self):
        path = self.write('lspci.txt', node_case.LSPCI)
        (finding,) = self.check('--for', 'passthrough', '--from', path)
        self.assertEqual(
            ('info', 'unknown'), (finding['Severity'], finding['Check'])
        )

    def test_some(self):
        path = self.write(
            'a.json',
            sound.node(
                sound.gpu('0000:04:00.0', '10de:102d'),
                sound.gpu('0000:05:00.0', '10de:1eb8', 'nvidia'),
            ),
        )
        passthrough = ('--for', 'passthrough', '--from', path)
        for argv, status in (
            ((), 1),
            (('--address', '0000:04:00.0'), 0),
            (('--address', '04:00.0'), 0),
            (('--alias', 'k80'), 0),
            (('--alias', 'gpu=10de:102d'), 0),
            (('--alias', 'T4'), 1),
            (('--alias', 'k80', '--alias', 't4'), 1),
            (('--alias', 'k80', '--address', '05:00.0'), 1),
        ):
            with self.subTest(argv):
                self.check(*passthrough, *argv, status=status)

    def test_alias_of_vfs(self):
        vfs = sound.vfs('0000:05:00.0', '1002:74b5', 8, None, 'vfio-pci')
        path = self.write(
            'a.json',
            sound.node(
                sound.gpu(
                    '0000:05:00.0', '1002:74a1', 'gim', total_vfs=8, vfs=vfs
                ),
                sound.gpu('0000:06:00.0', '10de:1eb8', 'nvidia'),
            ),
        )
        argv = ('--for', 'passthrough', '--from', path)
        self.assertEqual([], self.check(*argv, '--alias', 'mi=1002:74b5'))
        self.check(*argv, '--alias', 't4', status=1)

    def test_none_of_those(self):
        path = self.write(
            'a.json',
            sound.node(
                sound.gpu('0000:04:00.0', '10de:102d'),
                sound.gpu('0000:05:00.0', '10de:1eb8'),
            ),
        )
        for argv, words in (
            (
                ('--address', '06:00.0'),
                '--address 0000:06:00.0: no GPU is there; GPUs: 0000:04:00.0,',
            ),
            (('--alias', 'gpu'), 'matches no model'),
            (('--alias', 'a100=10de:20b5'), 'no GPU is 10de:20b5'),
        ):
            with self.subTest(argv):
                line = self.fails(
                    'gpu', 'node', 'check', '--from', path, *argv
                )
                self.assertIn(words, line)

    def test_no_gpu(self):
        path = self.write('a.json', sound.node())
        self.assertIn(
            'no GPU', self.fails('gpu', 'node', 'check', '--from', path)
        )

    def test_bad_options(self):
        for argv in (
            ('--for', 'mig'),
            ('--address', '04:00'),
            ('--address', '04:00.0; reboot'),
            ('--alias', 'a=b'),
            ('--from', ''),
        ):
            with self.subTest(argv):
                self.fails('gpu', 'node', 'check', *argv, status=2)

    def test_no_cloud_is_asked(self):
        path = self.write('a.json', sound.k80())
        with mock.patch.object(base, 'AUTH_URL', ''):
            self.check('--from', path)
        self.assertEqual([], self.cloud.request_history)
