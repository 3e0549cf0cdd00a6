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
from unittest import mock

from tests.unit import base
from tests.unit.node import nodes
from tests.unit.node import sound
from tests.unit.v1 import node_case


class TestDiffNode(node_case.TestCase):
    def diff(self, one, two, status=0):
        result = self.openstack('gpu', 'node', 'diff', one, two, '-f', 'json')
        self.assertEqual((status, ''), (result.status, result.stderr))
        return result.json

    def test_alike(self):
        one = self.write('a.json', sound.k80())
        two = self.write('b.json', sound.k80(hostname='gpu2'))
        self.assertEqual([], self.diff(one, two))

    def test_one_way(self):
        one = self.write('a.json', sound.k80())
        two = self.write('b.json', sound.k80(hostname='gpu2', has_iommu=False))
        (there,) = self.diff(one, two, status=1)
        self.assertEqual(node_case.COLUMNS, list(there))
        self.assertEqual('error', there['Severity'])
        (back,) = self.diff(two, one)
        self.assertEqual('info', back['Severity'])

    def test_vfs_that_a_node_has_lost(self):
        for name in ('a100-mig', 'l40s'):
            before = nodes.node(name)
            one = self.write('old.json', before)
            for count, check in ((1, 'count'), (0, 'mode')):
                after = dataclasses.replace(
                    before,
                    gpus=tuple(
                        dataclasses.replace(gpu, vfs=gpu.vfs[:count])
                        for gpu in before.gpus
                    ),
                )
                two = self.write('new.json', after)
                result = self.openstack(
                    'gpu', 'node', 'diff', one, two, '-f', 'json'
                )
                with self.subTest((name, count)):
                    self.assertIn(check, [row['Check'] for row in result.json])
        for command, words in (
            ('diff', 'lost, such as VFs'),
            ('check', 'With an older file of the node, GPUs and VFs that are'),
        ):
            said = self.ok('gpu', 'node', command, '--help').stdout
            self.assertIn(words, ' '.join(said.split()))

    def test_lspci(self):
        one = self.write('a.txt', node_case.LSPCI)
        two = self.write('b.txt', node_case.LSPCI)
        found = self.diff(one, two)
        # Neither has a name but that of its file.
        self.assertEqual([one, two], [f['Subject'] for f in found])

    def test_bad_files(self):
        good = self.write('a.json', sound.k80())
        for bad, words in (
            (str(self.folder / 'none'), 'No such file'),
            (str(self.folder), 'directory'),
            (self.write('c.json', '{"gpus": 5}'), 'c.json'),
            (self.write('d.json', sound.node()), 'has no GPU: none of its'),
            (self.write('e.txt', '\0'), 'lspci'),
        ):
            for argv in ((good, bad), (bad, good)):
                with self.subTest(argv):
                    line = self.fails('gpu', 'node', 'diff', *argv)
                    self.assertIn(words, line)
                    # As of files of --from.
                    self.assertEqual(f'{bad}: ', line[: len(bad) + 2])

    def test_bad_options(self):
        for argv in ((), ('a',), ('', 'b'), ('a', 'b', 'c')):
            with self.subTest(argv):
                self.fails('gpu', 'node', 'diff', *argv, status=2)

    def test_no_cloud_is_asked(self):
        one = self.write('a.json', sound.k80())
        with mock.patch.object(base, 'AUTH_URL', ''):
            self.diff(one, one)
        self.assertEqual([], self.cloud.request_history)
