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


import unittest

from osc_gpu.cloud import alias_list
from osc_gpu.cloud import node_comparison as comparison
from osc_gpu.cloud.node_comparison import Alias
from osc_gpu.cloud.node_comparison import Cloud
from osc_gpu.cloud.node_comparison import Conf
from osc_gpu.cloud.node_comparison import Node

IDS = '10de:20b5'
CLASS = 'CUSTOM_PCI_10DE_20B5'
ADDRESS = '0000:20:00.0'


def known(name='a100', defined=True, classes=(CLASS,)):
    return alias_list.Alias(name, defined, 'why', classes, (), ('g1',), 1)


def conf(*aliases, **values):
    return Conf('nova.conf', aliases or (Alias('a100', IDS),), **values)


def node(cards=None, host='gpu1', **values):
    cards = {ADDRESS: (IDS,)} if cards is None else cards
    return Node('node.json', host, cards, **values)


def cloud(*aliases, hosts=None):
    if hosts is None:
        hosts = {'gpu1': {ADDRESS: (CLASS,)}}
    return Cloud(aliases or (known(),), hosts)


def found(nodes=(), confs=(), there=None):
    return [
        (f.severity, f.check, f.subject)
        for f in comparison.compare(nodes, confs, there or cloud())
    ]


class TestAliases(unittest.TestCase):
    def test_good(self):
        on = {'reports': True, 'in_placement': True}
        self.assertEqual([], found([node()], [conf(**on)]))

    def test_unrequested(self):
        self.assertEqual(
            [('info', 'alias-unrequested', 'x')],
            found((), [conf(Alias('a100', IDS), Alias('x', IDS))]),
        )

    def test_nova_api_does_not_know_it(self):
        self.assertEqual(
            [('error', 'alias-unknown', 'a100')],
            found((), [conf()], cloud(known(defined=False))),
        )
        self.assertEqual([], found((), [conf()], cloud(known(defined=None))))

    def test_not_on_the_node(self):
        other = conf(Alias('a100', IDS))
        there = cloud(known(), known('b', classes=()), known('c'))
        self.assertEqual(
            [
                ('warning', 'alias-missing', 'b'),
                ('error', 'alias-missing', 'c'),
            ],
            found([node()], [other], there),
        )
        # A node without such devices needs no alias for them.
        without = node({'0000:20:00.0': '10de:15f8'})
        self.assertNotIn(
            ('error', 'alias-missing', 'c'), found([without], [other], there)
        )
        # Nova-api has it no more than the node.
        there = cloud(known(), known('c', defined=False))
        self.assertEqual([], found([node()], [other], there))

    def test_class(self):
        for alias, is_other in (
            (Alias('a100', IDS), False),
            (Alias('a100', '10de:15f8'), True),
            (Alias('a100', '', 'gpu'), True),
            (Alias('a100', IDS, 'gpu'), True),
            (Alias('a100', '', CLASS.lower()), False),
            (Alias('a100'), False),
        ):
            with self.subTest(alias):
                self.assertEqual(
                    [('error', 'alias-class', 'a100')] if is_other else [],
                    found((), [conf(alias)]),
                )

    def test_several_devices(self):
        both = conf(Alias('a100', IDS), Alias('a100', '10de:15f8'))
        self.assertEqual([], found((), [both]))

    def test_two_files(self):
        other = conf(Alias('a100', IDS), Alias('a100', '10de:15f8'))
        self.assertEqual([], found((), [conf(), conf()]))
        self.assertEqual(
            [('error', 'alias-differs', 'a100')],
            found((), [conf(), other]),
        )

    def test_class_in_placement(self):
        none = cloud(hosts={'gpu1': {}})
        for values, severity in (
            ({}, None),
            ({'reports': True}, 'warning'),
            ({'in_placement': True}, 'error'),
        ):
            expected = [(severity, 'class-missing', 'a100')]
            self.assertEqual(
                expected if severity else [],
                found((), [conf(**values)], none),
            )

    def test_names_of_classes(self):
        for values, name in (
            (('10de:20b5',), CLASS),
            (('10de:20b5', 'CUSTOM_A100'), 'CUSTOM_A100'),
            (('', 'a100-40 gb'), 'CUSTOM_A100_40_GB'),
            (('', 'pgpu'), 'PGPU'),
            (('',), ''),
        ):
            self.assertEqual(name, comparison.class_of(*values))


class TestDevices(unittest.TestCase):
    def test_no_name(self):
        self.assertEqual(
            [('info', 'host-name', 'node.json')], found([node(host=None)])
        )

    def test_no_host(self):
        self.assertEqual(
            [('warning', 'host-unknown', 'x')], found([node(host='x')])
        )

    def test_domain(self):
        hosts = {'gpu1.example.org': {}, 'gpu2.a': {}, 'gpu2.b': {}}
        for name, host in (
            ('gpu1', 'gpu1.example.org'),
            ('GPU1.other', 'gpu1.example.org'),
            ('gpu2', None),
            ('gpu2.a', 'gpu2.a'),
            ('gpu', None),
        ):
            self.assertEqual(host, comparison.host_named(hosts, name))

    def test_gone(self):
        self.assertEqual(
            [('error', 'device-gone', f'gpu1 {ADDRESS}')], found([node({})])
        )

    def test_other_devices(self):
        there = cloud(hosts={'gpu1': {'0000:60:00.0': ('CUSTOM_FPGA',)}})
        self.assertEqual([], found([node()], (), there))

    def test_vfs_are_not_known(self):
        there = cloud(hosts={'gpu1': {'0000:20:00.4': ('VGPU',)}})
        self.assertEqual(
            ['device-gone'],
            [check for _s, check, _o in found([node()], (), there)],
        )
        self.assertEqual([], found([node(has_all=False)], (), there))

    def test_vfs(self):
        """In Placement those that are passed through are with their card."""
        vfs = {f'0000:20:00.{n}': '10de:2238' for n in range(4, 8)}
        card = node({ADDRESS: (IDS, '10de:2238')}, vfs=vfs)
        asked = conf(Alias('vf', '10de:2238'), reports=True)
        there = cloud(
            known('vf', classes=('CUSTOM_PCI_10DE_2238',)),
            hosts={'gpu1': {ADDRESS: ('CUSTOM_PCI_10DE_2238',)}},
        )
        self.assertEqual([], found([card], [asked], there))
        empty = cloud(known('vf'), hosts={'gpu1': {}})
        self.assertEqual(
            [f'gpu1 {ADDRESS}'],
            [
                subject
                for _s, check, subject in found([card], [asked], empty)
                if check == 'device-missing'
            ],
        )
        # A vGPU is with its VF.
        there = cloud(hosts={'gpu1': {'0000:20:00.4': ('VGPU',)}})
        self.assertEqual([], found([card], (), there))

    def test_another_card(self):
        self.assertEqual(
            [('error', 'device-class', f'gpu1 {ADDRESS}')],
            found([node({ADDRESS: ('10de:15f8',)})]),
        )

    def test_missing(self):
        two = node({ADDRESS: (IDS,), '0000:21:00.0': (IDS,)})
        missing = [('error', 'device-missing', 'gpu1 0000:21:00.0')]
        self.assertEqual(missing, found([two], [conf()]))
        # No alias is known to be for it.
        self.assertEqual([], found([two]))
        # The host does not report, and need not.
        none = cloud(hosts={'gpu1': {}})
        self.assertEqual([], found([node()], [conf()], none))
        self.assertIn(
            ('error', 'device-missing', f'gpu1 {ADDRESS}'),
            found([node()], [conf(reports=True)], none),
        )
