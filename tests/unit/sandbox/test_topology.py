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

import itertools
import json
import pathlib
import tempfile
import textwrap
import unittest

import hypothesis
from hypothesis import strategies
import yaml

from osc_gpu.sandbox import topology

COMMON = ('type', 'vendor_id', 'product_id', 'address', 'numa_node')
HOST = 'hosts: [{name: gpu1}]\n'


def parse(text: str) -> topology.Topology:
    return topology.parse(textwrap.dedent(text).encode())


def card(text: str, host: str = '') -> str:
    """Return a topology of one host with one card, in line 3."""
    return f'hosts:\n- name: gpu1\n  cards: [{{{text}}}]\n{host}'


PCI = 'type: PCI, vendor_id: 10de, product_id: 20b5, address: 0000:20:00.0'
PF = 'type: PF, vendor_id: 10de, product_id: 2235, address: 0000:20:00.0'
MDEV = 'type: mdev, vendor_id: 10de, product_id: 13f2, address: 0000:41:00.0'
MDEV_OF = (
    '{{type: mdev, vendor_id: 10de, product_id: 13f2, '
    'address: 0000:{}:00.0, mdev_types: [{}]}}'
)


class TestValid(unittest.TestCase):
    def test_defaults(self) -> None:
        found = parse(HOST)

        self.assertEqual((topology.Host('gpu1'),), found.hosts)
        self.assertEqual(
            {
                'name': 'gpu1',
                'vcpus': 32,
                'memory_mb': 131072,
                'disk_gb': 1000,
                'numa_nodes': 1,
                'cards': [],
            },
            found.as_dict()['hosts'][0],
        )
        self.assertTrue(found.pci_in_placement)
        self.assertEqual((), found.aliases)
        self.assertEqual(
            [('public', True), ('private', False)],
            [(n.name, n.external) for n in found.networks],
        )
        self.assertEqual(
            (topology.Router('router', 'public', ('private',)),), found.routers
        )
        self.assertEqual((topology.Image('cirros', 1, {}),), found.images)
        self.assertEqual(
            (topology.User('member', 'lab', 'member'),), found.users
        )

    def test_default_file(self) -> None:
        found = topology.load(topology.DEFAULT)

        cards = {
            host.name: [(c.product_id, c.address) for c in host.cards]
            for host in found.hosts
        }
        self.assertEqual(
            [4, 2, 3, 2, 1, 0], [len(own) for own in cards.values()]
        )
        self.assertFalse(
            {a for _p, a in cards['gpu1']} & {a for _p, a in cards['gpu2']}
        )
        self.assertEqual(['a100', 'v100'], [a.name for a in found.aliases])
        self.assertEqual({2}, {host.numa_nodes for host in found.hosts})
        # What follows in the file is said to be the default.
        plain = topology.Topology(found.hosts, found.aliases)
        self.assertEqual(plain, found)

    def test_ids_and_addresses_stay_text(self) -> None:
        # YAML 1.1 reads the first as octal, the last as sexagesimal.
        found = parse(
            card(
                'type: PCI, vendor_id: 0010, product_id: 1234, '
                'address: 0000:20:00.0'
            )
        )

        (one,) = found.hosts[0].cards
        self.assertEqual('0010', one.vendor_id)
        self.assertEqual('1234', one.product_id)
        self.assertEqual('0000:20:00.0', one.address)

    def test_hex_in_lower_case(self) -> None:
        (one,) = (
            parse(
                card(
                    'type: PCI, vendor_id: "10DE", product_id: 20B5, '
                    'address: "00A1:C0:1F.7"'
                )
            )
            .hosts[0]
            .cards
        )

        self.assertEqual(
            ('10de', '20b5', '00a1:c0:1f.7'),
            (one.vendor_id, one.product_id, one.address),
        )

    def test_card_keys_by_type(self) -> None:
        for text, keys in (
            (PCI, ['resource_class', 'traits', 'live_migratable']),
            (
                f'{PF}, vfs: 4',
                [
                    'resource_class',
                    'traits',
                    'live_migratable',
                    'vfs',
                    'vf_product_id',
                ],
            ),
            (f'{MDEV}, mdev_types: [{{name: nvidia-11}}]', ['mdev_types']),
        ):
            with self.subTest(text):
                (shown,) = parse(card(text)).as_dict()['hosts'][0]['cards']
                self.assertEqual(
                    [*COMMON, *keys],
                    list(shown),
                )

    def test_functions_follow_the_card(self) -> None:
        (one,) = parse(card(f'{PF}, vfs: 9')).hosts[0].cards

        self.assertEqual('2235', one.vf_product_id)
        self.assertEqual(
            ['0000:20:00.0', '0000:20:00.1', '0000:20:01.0', '0000:20:01.1'],
            [one.addresses()[n] for n in (0, 1, 8, 9)],
        )

    def test_first_mdev_type_is_enabled(self) -> None:
        types = 'mdev_types: [{name: a}, {name: b}]'
        (one,) = parse(card(f'{MDEV}, {types}')).hosts[0].cards

        self.assertEqual([True, False], [t.enabled for t in one.mdev_types])
        self.assertEqual(
            topology.MdevType('a', 16, 'VGPU', True), one.mdev_types[0]
        )

    def test_another_mdev_type_is_enabled(self) -> None:
        types = (
            'mdev_types: [{name: a}, {name: b, enabled: true, instances: 2, '
            'resource_class: CUSTOM_B}]'
        )
        (one,) = parse(card(f'{MDEV}, {types}')).hosts[0].cards

        self.assertEqual([False, True], [t.enabled for t in one.mdev_types])
        self.assertEqual(
            topology.MdevType('b', 2, 'CUSTOM_B', True), one.mdev_types[1]
        )

    def test_alias_takes_its_device_type_from_the_cards(self) -> None:
        alias = 'aliases: [{name: x, vendor_id: 10DE, product_id: "%s"}]\n'
        for cards, product, kind in (
            (PCI, '20b5', 'type-PCI'),
            (f'{PF}, vfs: 2', '2235', 'type-VF'),
            (f'{PF}, vfs: 2, vf_product_id: 2236', '2236', 'type-VF'),
            (PCI, 'ffff', 'type-PCI'),
        ):
            with self.subTest(f'{cards} {product}'):
                (one,) = parse(card(cards, alias % product)).aliases
                self.assertEqual(kind, one.device_type)

    def test_alias_of_a_whole_card_beside_a_pf_with_its_ids(self) -> None:
        whole = PF.replace('type: PF', 'type: PCI')
        (one,) = parse(f"""\
            hosts:
            - {{name: a, cards: [{{{PF}, vfs: 2, vf_product_id: 2236}}]}}
            - {{name: b, cards: [{{{whole}}}]}}
            aliases: [{{name: x, vendor_id: 10de, product_id: 2235}}]
            """).aliases

        self.assertEqual('type-PCI', one.device_type)

    def test_mdev_classes_of_one_type_on_two_hosts(self) -> None:
        # Each host's Nova has options of its own; so it is on a sandbox.
        found = parse(f"""\
            hosts:
            - {{name: a, cards: [{{{MDEV}, mdev_types: [{{name: n}}]}}]}}
            - name: b
              cards:
              - {MDEV_OF.format('41', '{name: n, resource_class: CUSTOM_B}')}
              - {MDEV_OF.format('42', '{name: n, resource_class: CUSTOM_B}')}
              - {MDEV_OF.format('43', '{name: m}, {name: n}')}
            """)

        self.assertEqual(
            [['VGPU'], ['CUSTOM_B', 'CUSTOM_B', 'VGPU']],
            [
                [card.mdev_types[0].resource_class for card in host.cards]
                for host in found.hosts
            ],
        )

    def test_alias_of_two_entries_without_placement(self) -> None:
        found = parse(
            'pci_in_placement: no\n'
            'aliases:\n'
            '- {name: gpu, vendor_id: 10de, product_id: 20b5}\n'
            '- {name: gpu, vendor_id: 10de, product_id: 20b2}\n' + HOST
        )

        self.assertFalse(found.pci_in_placement)
        self.assertEqual(2, len(found.aliases))
        with self.assertRaisesRegex(topology.TopologyError, "'?gpu'?"):
            topology.with_pci_in_placement(found, True)
        self.assertEqual(found, topology.with_pci_in_placement(found, False))

    def test_keys_without_a_value_mean_the_default(self) -> None:
        found = parse(
            'hosts: [{name: a, vcpus: , cards: }]\nimages: ~\nusers:\n'
        )

        self.assertEqual(topology.Topology((topology.Host('a'),)), found)

    def test_nothing_where_nothing_is_asked_for(self) -> None:
        found = parse(HOST + 'networks: []\nimages: []\nusers: []\n')

        self.assertEqual(((), (), ()), (found.networks, found.images,
                                        found.users))  # fmt: skip
        self.assertEqual((), found.routers)

    def test_no_default_router_without_its_networks(self) -> None:
        found = parse(HOST + 'networks: [{name: lan, cidr: 10.1.0.0/16}]\n')

        self.assertEqual((), found.routers)

    def test_yaml_anchors(self) -> None:
        found = parse(f"""\
            hosts:
            - {{name: a, cards: &same [{{{PCI}}}]}}
            - {{name: b, cards: *same}}
            """)

        self.assertEqual(found.hosts[0].cards, found.hosts[1].cards)

    def test_card_without_numa_affinity(self) -> None:
        (one,) = parse(card(f'{PCI}, numa_node: -1')).hosts[0].cards

        self.assertEqual(-1, one.numa_node)

    def test_live_migratable(self) -> None:
        alias = 'name: a, vendor_id: 10de, product_id: 20b5'
        for text, value in (('', False), (', live_migratable: true', True)):
            aliases = f'aliases: [{{{alias}{text}}}]'
            found = parse(card(f'{PCI}{text}', aliases))
            (one,) = found.hosts[0].cards
            self.assertIs(value, one.live_migratable)
            self.assertIs(value, found.aliases[0].live_migratable)

    def test_traits_once_each(self) -> None:
        (one,) = parse(card(f'{PCI}, traits: [B, A, B]')).hosts[0].cards

        self.assertEqual(('B', 'A'), one.traits)

    def test_whole_file_comes_back_from_its_json(self) -> None:
        found = parse(f"""\
            hosts:
            - name: one
              numa_nodes: 2
              cards:
              - {{{PCI}, numa_node: 1, traits: [CUSTOM_X]}}
              - {{{PF.replace(':20', ':30')}, vfs: 4, resource_class: PGPU}}
              - {{{MDEV}, mdev_types: [{{name: a}}, {{name: b}}]}}
            aliases: [{{name: x, vendor_id: 10de, product_id: 20b5,
                        numa_policy: socket, resource_class: CUSTOM_X}}]
            images: [{{name: i, size_mb: 3, properties: {{hw_x: 1.0}}}}]
            users: [{{name: u, project: p, role: reader}}]
            """)

        self.assertEqual({'hw_x': '1.0'}, found.images[0].properties)
        text = json.dumps(found.as_dict())
        self.assertEqual(found, topology.parse(text.encode()))


class TestWrong(unittest.TestCase):
    def check(self, text: str, message: str) -> None:
        with self.assertRaises(topology.TopologyError) as caught:
            parse(text)
        self.assertEqual(message, str(caught.exception))

    def test_no_yaml(self) -> None:
        self.check(
            'hosts: [\n', "no YAML: expected the node content, but found "
            "'<stream end>' (line 2)"
        )  # fmt: skip
        self.check('\x01', 'no YAML: unacceptable character #x0001: special '
                   'characters are not allowed')  # fmt: skip
        self.check(
            'hosts: *nowhere',
            "no YAML: found undefined alias 'nowhere' (line 1)",
        )

    def test_no_text(self) -> None:
        with self.assertRaisesRegex(topology.TopologyError, 'no YAML'):
            topology.parse(b'hosts: \xff\xfe')

    def test_nested_too_deeply(self) -> None:
        self.check('[' * 2000, 'no topology: nested too deeply')

    def test_empty(self) -> None:
        message = "empty: a topology needs at least 'hosts'"
        self.check('', message)
        self.check('# nothing\n', message)
        self.check('~', message)

    def test_two_documents(self) -> None:
        self.check(
            HOST + '---\n' + HOST,
            'no YAML: but found another document (line 2)',
        )

    def test_shape(self) -> None:
        self.check('- a', "this must be a mapping, 'key: value' (line 1)")
        self.check(
            'hosts: gpu1', "hosts: this must be a list, of '- ' or in [ ] "
            "(line 1)"
        )  # fmt: skip
        self.check(
            'hosts: [gpu1]',
            "hosts[0]: this must be a mapping, 'key: value' (line 1)",
        )
        self.check(
            'hosts: [{name: [a]}]',
            'hosts[0].name: this must be a plain value (line 1)',
        )
        self.check('[a]: b', 'this must be a plain value (line 1)')

    def test_unknown_key(self) -> None:
        self.check(
            HOST + 'alias: []\n',
            "alias: unknown key; did you mean 'aliases'? (line 2)",
        )
        self.check(
            HOST + 'x: 1\n',
            'x: unknown key; known are hosts, pci_in_placement, aliases, '
            'networks, routers, images, users (line 2)',
        )

    def test_key_twice(self) -> None:
        self.check(
            HOST + 'users: []\n' + HOST,
            'hosts: given twice, first in line 1 (line 3)',
        )

    def test_merge_key(self) -> None:
        self.check(
            'hosts: [&a {name: b}, {<<: *a}]',
            'hosts[1].<<: merge keys are not supported (line 1)',
        )

    def test_missing_keys(self) -> None:
        self.check('users: []', 'hosts is missing; needed are hosts (line 1)')
        self.check(
            'hosts:\n- vcpus: 3',
            'hosts[0]: name is missing; needed are name (line 2)',
        )
        self.check(
            'hosts:\n- name:', 'hosts[0]: name is missing; needed are name '
            '(line 2)'
        )  # fmt: skip
        self.check(
            card('type: PCI, vendor_id: 10de'),
            'hosts[0].cards[0]: product_id is missing; needed are type, '
            'vendor_id, product_id, address (line 3)',
        )

    def test_number_of_hosts(self) -> None:
        self.check(
            'hosts: []', 'hosts: 0 hosts; there must be 1 to 250 (line 1)'
        )
        hosts = ', '.join(f'{{name: h{n}}}' for n in range(251))
        self.check(
            f'hosts: [{hosts}]',
            'hosts: 251 hosts; there must be 1 to 250 (line 1)',
        )

    def test_host_name(self) -> None:
        for name in ('GPU1', '-a', 'a b', 'a/b', '', 'a.', '\xe4'):
            with self.subTest(name):
                self.check(
                    f'hosts: [{{name: "{name}"}}]',
                    f'hosts[0].name: {name!r} is no host name; use '
                    "lower-case letters, digits, '.', '_' and '-', as gpu1 "
                    '(line 1)',
                )

    def test_long_values_are_cut(self) -> None:
        with self.assertRaises(topology.TopologyError) as caught:
            parse(f'hosts: [{{name: {"a" * 65}}}]')
        self.assertIn(f"'{'a' * 57}...' is no", str(caught.exception))

    def test_strange_keys_are_quoted(self) -> None:
        self.check(
            HOST + '"a\\nb": 1',
            "'a\\nb': unknown key; known are hosts, pci_in_placement, "
            'aliases, networks, routers, images, users (line 2)',
        )

    def test_same_name_twice(self) -> None:
        self.check(
            'hosts:\n- name: a\n- name: a\n',
            "hosts[1]: the name 'a' is taken by hosts[0] (line 3)",
        )
        self.check(
            HOST + 'users:\n- {name: u, project: a}\n'
            '- {name: u, project: b}\n',
            "users[1]: the name 'u' is taken by users[0] (line 4)",
        )

    def test_numbers(self) -> None:
        for value in ('0', '-1', '1.5', 'many', '4097', '1_0', '0x10', '""'):
            with self.subTest(value):
                self.check(
                    f'hosts: [{{name: a, vcpus: {value}}}]',
                    f'hosts[0].vcpus: {value.strip(chr(34))!r} is no whole '
                    'number between 1 and 4096 (line 1)',
                )

    def test_uneven_numa_nodes(self) -> None:
        self.check(
            'hosts:\n- name: a\n  numa_nodes: 3\n  vcpus: 32\n',
            'hosts[0].vcpus: 32 vCPUs do not spread evenly over 3 NUMA '
            'nodes (line 4)',
        )
        self.check(
            'hosts:\n- name: a\n  numa_nodes: 3\n',
            'hosts[0]: 32 vCPUs do not spread evenly over 3 NUMA nodes '
            '(line 2)',
        )

    def test_numa_node_of_a_card(self) -> None:
        self.check(
            card(f'{PCI}, numa_node: 1'),
            "hosts[0].cards[0].numa_node: '1' is no whole number between -1 "
            'and 0 (line 3)',
        )

    def test_addresses(self) -> None:
        for address in ('20:00', '20:00.0', '0000:20:00', '0000:20:20.0',
                        '0000:20:00.8', '00000:20:00.0'):  # fmt: skip
            with self.subTest(address):
                self.check(
                    card(PCI.replace('0000:20:00.0', address)),
                    f"hosts[0].cards[0].address: '{address}' is no PCI "
                    'address; write it with its domain, as 0000:20:00.0 '
                    '(line 3)',
                )

    def test_ids(self) -> None:
        for value in ('0x10de', '10d', '10deg', 'nvidia'):
            with self.subTest(value):
                self.check(
                    card(PCI.replace('10de', value)),
                    f"hosts[0].cards[0].vendor_id: '{value}' is no PCI id; "
                    'write four hexadecimal digits, as 10de (line 3)',
                )

    def test_address_taken(self) -> None:
        self.check(
            f'hosts:\n- name: a\n  cards:\n  - {{{PCI}}}\n  - {{{PCI}}}\n',
            'hosts[0].cards[1].address: 0000:20:00.0, is taken by '
            'hosts[0].cards[0] (line 5)',
        )
        behind = PCI.replace('00.0', '00.3')
        self.check(
            f'hosts:\n- name: a\n  cards:\n  - {{{behind}}}\n'
            f'  - {{{PF}, vfs: 4}}\n',
            'hosts[0].cards[1].address: its VF 3, 0000:20:00.3, is taken by '
            'hosts[0].cards[0] (line 5)',
        )

    def test_card_type(self) -> None:
        self.check(
            card(PCI.replace('type: PCI', 'type: VF')),
            "hosts[0].cards[0].type: 'VF' is none of PCI, PF, mdev (line 3)",
        )

    def test_key_of_another_card_type(self) -> None:
        self.check(
            card(f'{PCI}, vfs: 4'),
            'hosts[0].cards[0].vfs: a card of type PCI has none, only PF has '
            '(line 3)',
        )
        self.check(
            card(f'{MDEV}, mdev_types: [{{name: a}}], traits: [A]'),
            'hosts[0].cards[0].traits: a card of type mdev has none, only '
            'PCI or PF has (line 3)',
        )

    def test_missing_for_its_type(self) -> None:
        self.check(
            card(PF),
            'hosts[0].cards[0]: vfs is missing; a card of type PF has 1 or '
            'more (line 3)',
        )
        self.check(
            card(MDEV),
            'hosts[0].cards[0]: mdev_types is missing; a card of type mdev '
            'has 1 or more (line 3)',
        )
        self.check(
            card(f'{MDEV}, mdev_types: []'),
            'hosts[0].cards[0].mdev_types: empty; an mdev card has 1 type or '
            'more (line 3)',
        )

    def test_too_many_functions(self) -> None:
        self.check(
            card(PF.replace('00.0', '1f.0') + ', vfs: 8'),
            'hosts[0].cards[0].vfs: behind 0000:20:1f.0 is room for 7 VFs '
            'on its bus (line 3)',
        )

    def test_mdev_types(self) -> None:
        self.check(
            card(f'{MDEV}, mdev_types: [{{name: "a b"}}]'),
            "hosts[0].cards[0].mdev_types[0].name: 'a b' is no mdev type, as "
            'nvidia-11 (line 3)',
        )
        self.check(
            card(
                f'{MDEV}, mdev_types: [{{name: a, enabled: yes}}, '
                '{name: b, enabled: yes}]'
            ),
            'hosts[0].cards[0].mdev_types: enabled are a, b; a card creates '
            'instances of one type (line 3)',
        )
        self.check(
            card(f'{MDEV}, mdev_types: [{{name: a, resource_class: PGPU}}]'),
            "hosts[0].cards[0].mdev_types[0].resource_class: 'PGPU' is no "
            'class of vGPUs; use VGPU or CUSTOM_... (line 3)',
        )

    def test_classes_of_an_mdev_type_on_one_host(self) -> None:
        for first, second, line, message in (
            (
                '{name: n}',
                '{name: m}, {name: n, enabled: yes, resource_class: CUSTOM_B}',
                5,
                '[1].resource_class: CUSTOM_B, but n is VGPU in '
                'hosts[0].cards[0].mdev_types[0]',
            ),
            (
                '{name: n, resource_class: CUSTOM_B}',
                '{name: n}',
                5,
                '[0]: VGPU, but n is CUSTOM_B in '
                'hosts[0].cards[0].mdev_types[0].resource_class',
            ),
        ):
            with self.subTest(second):
                self.check(
                    'hosts:\n- name: a\n  cards:\n'
                    f'  - {MDEV_OF.format("41", first)}\n'
                    f'  - {MDEV_OF.format("42", second)}\n',
                    f'hosts[0].cards[1].mdev_types{message}; on one host a '
                    f'type has one class (line {line})',
                )

    def test_alias_of_a_pf_itself(self) -> None:
        other = ', vf_product_id: "2236"'
        for more, vf, text, where in (
            (other, '2236', 'product_id: "2235"', ''),
            (other, '2236', 'product_id: "2235", device_type: type-PF',
             '.device_type'),
            (other, '2236', 'product_id: "2235", device_type: type-VF',
             '.device_type'),
            (other, '2236', 'product_id: "2236", device_type: type-PF',
             '.device_type'),
            ('', '2235', 'product_id: "2235", device_type: type-PF',
             '.device_type'),
            ('', '2235', 'product_id: "2235", device_type: type-PCI',
             '.device_type'),
        ):  # fmt: skip
            with self.subTest(text):
                alias = f'aliases: [{{name: x, vendor_id: 10de, {text}}}]\n'
                self.check(
                    card(f'{PF}, vfs: 2{more}', alias),
                    f'aliases[0]{where}: no server gets such a device, only '
                    f'the VFs of these cards; write product_id: {vf}, '
                    'device_type: type-VF (line 4)',
                )

    def test_names_of_placement(self) -> None:
        message = (
            "%s is no name of Placement's; use upper-case letters, digits "
            "and '_', as CUSTOM_A100 (line 3)"
        )
        self.check(
            card(f'{PCI}, resource_class: a100'),
            'hosts[0].cards[0].resource_class: ' + message % "'a100'",
        )
        self.check(
            card(f'{PCI}, traits: [A, b-c]'),
            'hosts[0].cards[0].traits[1]: ' + message % "'b-c'",
        )

    def test_aliases(self) -> None:
        alias = 'name: x, vendor_id: 10de, product_id: 20b5'
        for text, message in (
            (
                alias.replace('name: x', 'name: "a:1"'),
                "[0].name: 'a:1' is no alias; leave out spaces, ':', ',' "
                "and '\"' (line 2)",
            ),
            (
                f'{alias}, device_type: PCI',
                "[0].device_type: 'PCI' is none of type-PCI, type-PF, "
                'type-VF (line 2)',
            ),
            (
                f'{alias}, numa_policy: strict',
                "[0].numa_policy: 'strict' is none of required, preferred, "
                'legacy, socket (line 2)',
            ),
            (
                f'{alias}}}, {{{alias}',
                "[1]: the alias 'x' is there already; with PCI in Placement "
                'an alias has one entry (line 2)',
            ),
        ):
            with self.subTest(text):
                self.check(
                    f'{HOST}aliases: [{{{text}}}]\n', f'aliases{message}'
                )

    def test_entries_of_an_alias_differ(self) -> None:
        alias = 'name: x, vendor_id: 10de, product_id: 20b5'
        self.check(
            f'{HOST}pci_in_placement: false\naliases:\n- {{{alias}}}\n'
            f'- {{{alias}, numa_policy: socket}}\n',
            "aliases[1]: numa_policy differs from the other entry of the "
            "alias 'x', none (line 5)",
        )

    def test_boolean(self) -> None:
        self.check(
            HOST + 'pci_in_placement: maybe',
            "pci_in_placement: 'maybe' is neither true nor false (line 2)",
        )

    def test_networks(self) -> None:
        for cidr, message in (
            ('10.0.0.0/33', 'is no IPv4 network; write it as 10.0.0.0/24'),
            ('fd00::/64', 'is no IPv4 network; write it as 10.0.0.0/24'),
            ('net', 'is no IPv4 network; write it as 10.0.0.0/24'),
            ('10.0.0.1/24', 'is an address; write a network, as 10.0.0.0/24'),
            ('10.0.0.0', 'is an address; write a network, as 10.0.0.0/24'),
            ('10.0.0.0/30', 'is too small or too large; use /8 to /29'),
            ('0.0.0.0/0', 'is too small or too large; use /8 to /29'),
            (
                '127.0.0.0/8',
                'is no network for servers; use one as 10.0.0.0/24',
            ),
        ):
            with self.subTest(cidr):
                self.check(
                    f'{HOST}networks: [{{name: a, cidr: "{cidr}"}}]',
                    f"networks[0].cidr: '{cidr}' {message} (line 2)",
                )

    def test_routers(self) -> None:
        for text, message in (
            (
                'external: private',
                ".external: 'private' is not an external network; there are "
                'public (line 2)',
            ),
            (
                'networks: [public]',
                ".networks[0]: 'public' is not an internal network; there "
                'are private (line 2)',
            ),
            (
                'networks: [private, private]',
                '.networks: private and private overlap on the same router '
                '(line 2)',
            ),
        ):
            with self.subTest(text):
                self.check(
                    f'{HOST}routers: [{{name: r, {text}}}]',
                    f'routers[0]{message}',
                )
        self.check(
            f'{HOST}networks: []\nrouters: [{{name: r, external: x}}]',
            "routers[0].external: 'x' is not an external network; there are "
            'none (line 3)',
        )

    def test_images(self) -> None:
        for text, message in (
            ('size_mb: 0', ".size_mb: '0' is no whole number between 1 and "
             '10240'),
            ('properties: {visibility: x}', '.properties.visibility: this is '
             "a field of Glance's, no property"),
            ('properties: {os_glance_x: x}', '.properties.os_glance_x: this '
             "is a field of Glance's, no property"),
            ('properties: {a: [b]}', '.properties.a: this must be a plain '
             'value'),
            ('properties: {"": b}', ".properties.'': a property has 1 to 255 "
             'characters'),
        ):  # fmt: skip
            with self.subTest(text):
                self.check(
                    f'{HOST}images: [{{name: i, {text}}}]',
                    f'images[0]{message} (line 2)',
                )

    def test_users(self) -> None:
        for text, message in (
            (
                'name: admin, project: p',
                "name: 'admin' is taken by the sandbox itself; choose "
                'another name',
            ),
            (
                'name: u, project: service',
                "project: 'service' is taken by the sandbox itself; choose "
                'another name',
            ),
            (
                'name: u, project: p, role: owner',
                "role: 'owner' is none of member, reader, manager, admin",
            ),
            (
                'name: "a b", project: p',
                "name: 'a b' is no name; use letters, digits, '.', '_' and "
                "'-', at most 64",
            ),
        ):
            with self.subTest(text):
                self.check(
                    f'{HOST}users: [{{{text}}}]',
                    f'users[0].{message} (line 2)',
                )


class TestFiles(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name, 'rack.yaml')

    def test_error_names_the_file(self) -> None:
        self.path.write_text('hosts: []')
        with self.assertRaises(topology.TopologyError) as caught:
            topology.load(self.path)
        self.assertEqual(
            f'{self.path}: hosts: 0 hosts; there must be 1 to 250 (line 1)',
            str(caught.exception),
        )

    def test_unreadable(self) -> None:
        for path, reason in (
            (self.path, 'No such file or directory'),
            (self.path.parent, 'Is a directory'),
        ):
            with self.subTest(reason):
                with self.assertRaises(topology.TopologyError) as caught:
                    topology.load(path)
                self.assertEqual(f'{path}: {reason}', str(caught.exception))

    def test_impossible_path(self) -> None:
        with self.assertRaises(topology.TopologyError):
            topology.load(pathlib.Path('a\0b'))


class TestPattern(unittest.TestCase):
    def test_valid_by_its_own_rules(self) -> None:
        made = topology.from_pattern(20)

        text = json.dumps(made.as_dict())
        self.assertEqual(made, topology.parse(text.encode()))

    def test_as_many_as_wanted(self) -> None:
        for count in (1, 250):
            hosts = topology.from_pattern(count).hosts
            self.assertEqual(count, len({host.name for host in hosts}))
            for host in hosts:
                addresses = {card.address for card in host.cards}
                self.assertEqual(len(host.cards), len(addresses))
                for address in addresses:
                    self.assertRegex(address, r'^0000:[0-9a-f]{2}:00\.0$')

    def test_no_two_alike(self) -> None:
        hosts = topology.from_pattern(20).hosts
        for one, other in itertools.pairwise(hosts):
            mine = {card.address for card in one.cards}
            theirs = {card.address for card in other.cards}
            self.assertFalse(mine & theirs)
        kinds = {card.type for host in hosts for card in host.cards}
        self.assertEqual({'PCI', 'mdev'}, kinds)
        self.assertTrue(any(not host.cards for host in hosts))
        self.assertLess(1, len({len(host.cards) for host in hosts}))
        self.assertLess(1, len({host.vcpus for host in hosts}))
        nodes = {c.numa_node for host in hosts for c in host.cards}
        self.assertEqual({0, 1}, nodes)

    def test_limits(self) -> None:
        for count in (0, 251, -1):
            with self.subTest(count):
                with self.assertRaises(topology.TopologyError) as caught:
                    topology.from_pattern(count)
                self.assertEqual(
                    f'--hosts: {count} is not between 1 and 250',
                    str(caught.exception),
                )


_SCALARS = (
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats()
    | strategies.text(max_size=12)
    | strategies.sampled_from(
        ['10de', '20b5', '0000:20:00.0', 'PCI', 'PF', 'mdev', 'gpu1', 'VGPU']
    )
)
_KEYS = strategies.sampled_from(
    'pci_in_placement hosts aliases networks routers images users name vcpus '
    'memory_mb disk_gb numa_nodes cards type vendor_id product_id address '
    'numa_node resource_class traits vfs vf_product_id mdev_types instances '
    'enabled device_type numa_policy cidr external size_mb properties '
    'live_migratable project role'.split()
) | strategies.text(max_size=5)
_TREES = strategies.recursive(
    _SCALARS,
    lambda inner: (
        strategies.lists(inner, max_size=3)
        | strategies.dictionaries(_KEYS, inner, max_size=6)
    ),
    max_leaves=25,
)


class TestFuzz(unittest.TestCase):
    def survive(self, content: bytes) -> None:
        try:
            made = topology.parse(content)
        except topology.TopologyError as exc:
            self.assertNotIn('\n', str(exc))
        else:
            self.assertIsInstance(made, topology.Topology)

    @hypothesis.given(
        strategies.fixed_dictionaries(
            {},
            optional={
                'hosts': strategies.lists(
                    strategies.dictionaries(_KEYS, _TREES, max_size=6)
                ),
                'aliases': _TREES,
                'networks': _TREES,
                'images': _TREES,
            },
        )
        | _TREES
    )
    @hypothesis.settings(deadline=None, max_examples=60)
    def test_any_tree(self, tree: object) -> None:
        self.survive(yaml.safe_dump(tree).encode())

    @hypothesis.given(strategies.binary() | strategies.text().map(str.encode))
    @hypothesis.example(b'hosts: "\\UFFFFFFFF"')
    @hypothesis.example(b'%YAML ' + b'9' * 5000 + b'.1\n---\nhosts: 1')
    @hypothesis.example(b'hosts: &a [*a]')
    @hypothesis.example(b'hosts: [&a {name: a, cards: [*a]}]')
    @hypothesis.example(b'&a {*a : 1}')
    @hypothesis.settings(deadline=None, max_examples=60)
    def test_any_bytes(self, content: bytes) -> None:
        self.survive(content)
