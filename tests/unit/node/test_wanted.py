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
import unittest

from osc_gpu.node import wanted
from tests.unit.node import nodes
from tests.unit.node import sound


class TestParseAlias(unittest.TestCase):
    def test_good(self):
        for text, option in (
            ('a1', ('a1', '')),
            ('a100=10DE:20b5', ('a100', '10de:20b5')),
            ('x=y=10de:20b5', ('x=y', '10de:20b5')),
            ('Große Karte', ('Große Karte', '')),
        ):
            self.assertEqual(option, wanted.parse_alias(text))

    def test_bad(self):
        for text, words in (
            ('', 'is no alias'),
            (' a', 'is no alias'),
            ('a:2', 'is no alias'),
            ('a,b', 'is no alias'),
            ('a\nb', 'is no alias'),
            ('a\x1b', 'is no alias'),
            ('a' * 257, 'is no alias'),
            ('=10de:20b5', 'is no alias'),
            ('a=', 'are no ids'),
            ('a=10de', 'are no ids'),
            ('a=10de:20zz', 'are no ids'),
            ('a=10de:020b5', 'are no ids'),
            ('a=10de:\uff12\uff10b5', 'are no ids'),
            ('a=10de:20b5\n', 'are no ids'),
        ):
            with self.subTest(text):
                with self.assertRaisesRegex(ValueError, words) as caught:
                    wanted.parse_alias(text)
                self.assertNotIn('\n', str(caught.exception))


class TestMatch(unittest.TestCase):
    def alias(self, *args, **more):
        (found,) = nodes.match(*args, **more).aliases
        return found.name, found.ids, found.device_type

    def refused(self, *args, **more):
        with self.assertRaises(ValueError) as caught:
            nodes.match(*args, **more)
        self.assertNotIn('\n', str(caught.exception))
        return str(caught.exception)

    def test_by_name(self):
        for machine, name, ids, kind in (
            ('k80', 'K80', '10de:102d', 'type-PCI'),
            ('a100-sriov', 'a100', '10de:20b5', 'type-PF'),
            ('mi300x', 'mi300x', '1002:74a1', 'type-PF'),
            ('h100-domain1', 'H100 PCIe', '10de:2331', 'type-PF'),
            ('t4-no-iommu', 't4', '10de:1eb8', 'type-PF'),
        ):
            with self.subTest(machine):
                self.assertEqual(
                    (name, ids, kind), self.alias([machine], [name])
                )

    def test_any_name_for_the_only_model(self):
        for name in ('a1', 'a2', 'nvidia', 'gpu'):
            with self.subTest(name):
                self.assertEqual(
                    (name, '10de:15f8', 'type-PCI'),
                    self.alias(['p100'], [name]),
                )

    def test_console(self):
        """It goes dark: it is taken if it is named, or the only model."""
        console = sound.gpu('0000:01:00.0', '10de:1cb3', is_console=True)
        t4 = sound.gpu('0000:3b:00.0', '10de:1eb8')
        both = sound.node(console, t4)
        self.assertEqual('10de:1eb8', self.alias([both], ['gpu'])[1])
        self.assertEqual('10de:1cb3', self.alias([both], ['a=10de:1cb3'])[1])
        self.assertIn(
            'matches no model of NVIDIA TU104GL [Tesla T4]',
            self.refused([both], ['p400']),
        )
        self.assertEqual(
            '10de:1cb3', self.alias([sound.node(console)], ['p400'])[1]
        )
        files = nodes.files('grub', [both], ['a=10de:1cb3'])
        self.assertIn(
            "# The host's console is on 0000:01:00.0: it goes dark.\n",
            ''.join(files.values()),
        )

    def test_name_of_another_model(self):
        said = self.refused(['p100'], ['a100'])
        self.assertIn('--alias a100 matches no model of NVIDIA GP100', said)
        self.assertIn('a100=<vendor>:<product>', said)

    def test_two_models(self):
        said = self.refused(['p100', 'k80'], ['tesla'])
        self.assertIn('more than one model', said)
        self.assertIn('(10de:102d), NVIDIA GP100GL', said)
        said = self.refused(['p100', 'k80'], ['gpu'])
        self.assertIn('matches no model', said)

    def test_ids_that_nobody_has(self):
        said = self.refused(['k80'], ['K80=10de:20b5'])
        self.assertIn('no GPU is 10de:20b5', said)
        self.assertIn('[Tesla K80] (10de:102d)', said)

    def test_companions(self):
        found = nodes.match(['rtx6000'], ['rtx', 'audio=10de:10f7'])
        self.assertEqual(
            [
                ('rtx', '10de:1e30', 'type-PCI'),
                ('audio', '10de:10f7', 'type-PCI'),
            ],
            [(a.name, a.ids, a.device_type) for a in found.aliases],
        )
        (offer,) = found.offers
        self.assertEqual(
            ['0000:3d:00.0', '0000:3d:00.1'],
            [function.address for function in offer.passed],
        )
        self.assertEqual(1, len(found.gpus))

    def test_card_with_vfs_is_left_out(self):
        found = nodes.match(['a100-sriov'], ['a100'])
        (offer,) = found.offers
        self.assertEqual(['0000:65:00.0'], [f.address for f in offer.passed])
        said = self.refused(['a100-mig'], ['a100'])
        self.assertIn('0000:17:00.0 has VFs', said)

    def test_card_that_is_divided_is_left_out(self):
        found = nodes.match(
            ['a100-sriov'], ['a100'], ['A100D-40C=0000:17:00.0']
        )
        (offer,) = found.offers
        self.assertEqual(['0000:65:00.0'], [f.address for f in offer.passed])
        self.assertEqual(['0000:65:00.0'], [gpu.address for gpu in found.gpus])
        (division,) = found.divisions
        self.assertEqual('0000:17:00.0', division.gpu.address)

    def test_vfs_by_their_ids(self):
        machine = nodes.node('mi300x')
        first = machine.gpus[0]
        function = dataclasses.replace(
            first.function, address='0000:05:02.0', product_id='74b5'
        )
        vf = type(nodes.node('a100-sriov').gpus[0].vfs[0])(function)
        gpus = (dataclasses.replace(first, vfs=(vf,)), *machine.gpus[1:])
        machine = dataclasses.replace(machine, gpus=gpus)
        found = nodes.match([machine], ['vf=1002:74b5'])
        (alias,) = found.aliases
        self.assertEqual('type-VF', alias.device_type)
        (offer,) = found.offers
        self.assertEqual(['0000:05:02.0'], [f.address for f in offer.passed])

    def test_unknown_whether_it_can_have_vfs(self):
        text = nodes.told('04:00.0 0302: 10de:102d (rev a1)\n')
        self.assertEqual(
            ('K80', '10de:102d', None), self.alias([text], ['K80'])
        )
        # Another node may know.
        self.assertEqual(
            ('K80', '10de:102d', 'type-PCI'),
            self.alias([text, 'k80'], ['K80']),
        )

    def test_nodes_do_not_agree_on_vfs(self):
        machine = nodes.node('t4-no-iommu')
        gpus = tuple(
            dataclasses.replace(gpu, total_vfs=0) for gpu in machine.gpus
        )
        other = nodes.renamed('t4-no-iommu', 't4-2', gpus=gpus)
        said = self.refused([machine, other], ['t4'])
        self.assertIn('0000:3b:00.0 can have VFs', said)

    def test_nothing_and_twice(self):
        self.assertIn('give --alias', self.refused(['k80']))
        self.assertIn('twice', self.refused(['k80'], ['a', 'a']))

    def test_one_node_twice(self):
        found = nodes.match(['k80', 'k80'], ['K80'])
        self.assertEqual([nodes.node('k80')], list(found.nodes))
        # Of those without names nobody can tell that they are one.
        nameless = nodes.renamed('k80', None)
        found = nodes.match([nameless, nameless], ['K80'])
        self.assertEqual(2, len(found.nodes))
        self.assertTrue(nodes.files('kayobe', found.nodes, ['K80']))

    def test_two_nodes_of_one_name(self):
        k80 = nodes.node('k80')
        other = nodes.renamed('k80', k80.hostname, kernel='6.1')
        for tool in ('kolla-ansible', 'kayobe'):
            with self.assertRaisesRegex(
                ValueError, f'two nodes that differ are called {k80.hostname}'
            ):
                nodes.files(tool, [k80, other], ['K80'])
        # No other tool needs their names, as long as they get the same.
        for tool in ('nova', 'tripleo', 'grub'):
            self.assertTrue(
                nodes.files(tool, [k80, other], ['K80'], release='wallaby')
            )
        # Nor is one in the way that offers nothing.
        p100 = nodes.renamed('p100', k80.hostname)
        self.assertTrue(nodes.files('kayobe', [k80, p100], ['K80=10de:102d']))

    def test_nodes_that_are_no_nodes(self):
        evil = nodes.renamed('k80', '../../etc')
        self.assertIn('host name', self.refused([evil], ['K80']))
