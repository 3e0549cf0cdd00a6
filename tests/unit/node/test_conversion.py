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


import json
import unittest

import hypothesis
from hypothesis import strategies

from osc_gpu.node import conf_pci
from osc_gpu.node import conversion
from osc_gpu.node import local_conf
from tests.unit.node import nodes

#: What seed 000 puts into a local.conf.
K80 = r"""FLOATING_RANGE=192.168.111.0/24
if [[ -n "$X" ]]; then
[[post-config|$NOVA_CONF]]
[DEFAULT]
# Add scheduler filter
scheduler_default_filters = RetryFilter,RamFilter,ComputeFilter,PciPassthroughFilter
scheduler_available_filters = nova.scheduler.filters.all_filters
# whitelist GPU devices
pci_passthrough_whitelist={\"vendor_id\":\"10de\", \"product_id\":\"102d\"}
# create aliases
pci_alias={\"vendor_id\":\"10de\", \"product_id\":\"102d\", \"name\":\"K80\", \"device_type\":\"type-PCI\"}

[[post-config|$NEUTRON_CONF]]
[DEFAULT]
pci_alias = not Nova's
"""  # noqa: E501
K80_TODAY = r"""FLOATING_RANGE=192.168.111.0/24
if [[ -n "$X" ]]; then
[[post-config|$NOVA_CONF]]
[DEFAULT]

[filter_scheduler]
# Add scheduler filter
enabled_filters = ComputeFilter,PciPassthroughFilter
available_filters = nova.scheduler.filters.all_filters

[pci]
# whitelist GPU devices
device_spec = {\\\"vendor_id\\\": \\\"10de\\\", \\\"product_id\\\": \\\"102d\\\"}
# create aliases
alias = {\\\"vendor_id\\\": \\\"10de\\\", \\\"product_id\\\": \\\"102d\\\", \\\"name\\\": \\\"K80\\\", \\\"device_type\\\": \\\"type-PCI\\\"}

[[post-config|$NEUTRON_CONF]]
[DEFAULT]
pci_alias = not Nova's
"""  # noqa: E501

CARD = '{"vendor_id": "10de", "product_id": "1b80"}'
ALIAS = (
    '{"vendor_id": "10de", "product_id": "1b80", "name": "a", '
    '"device_type": "type-PCI"}'
)


def text(conf):
    return conversion.convert(conf).text


def notes(conf):
    return [change.behaviour for change in conversion.convert(conf).changes]


def steps(conf):
    return [
        change.new
        for change in conversion.convert(conf).changes
        if change.line is None
    ]


class TestNames(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.maxDiff = None

    def test_local_conf(self):
        self.assertEqual(K80_TODAY, text(K80))
        # What is converted stays.
        self.assertEqual(K80_TODAY, text(K80_TODAY))

    def test_heredoc(self):
        self.assertIn('[pci]\n', text(K80.replace('|$', '|\\$')))

    def test_local_conf_without_nova(self):
        conf = '[[local|localrc]]\npci_alias = x\n[[post-config|$X]]\n[y]\n'
        self.assertEqual(
            conversion.Conversion(conf, ()), conversion.convert(conf)
        )

    def test_nova_conf(self):
        conf = (
            '[DEFAULT]\ndebug = true\n\n[pci]\n# kept\n'
            f'passthrough_whitelist = {CARD}\nother=1\n\n[api]\nx: y\n'
        )
        self.assertEqual(
            conf.replace('passthrough_whitelist', 'device_spec'), text(conf)
        )

    def test_into_a_section_that_is_there(self):
        self.assertEqual(
            f'[DEFAULT]\n\n[pci]\na = 1\ndevice_spec = {CARD}\n\n[x]\ny = 2\n',
            text(
                f'[DEFAULT]\npci_passthrough_whitelist = {CARD}\n\n'
                '[pci]\na = 1\n\n[x]\ny = 2\n'
            ),
        )

    def test_vgpu(self):
        conf = (
            '[devices]\nenabled_vgpu_types = nvidia-35, nvidia-36\n'
            '[vgpu_nvidia-35]\ndevice_addresses = 0000:84:00.0\n'
        )
        self.assertEqual(conf.replace('vgpu', 'mdev'), text(conf))
        self.assertEqual(['[pci] device_spec'], steps(conf))
        self.assertIn('no mediated devices', notes(conf)[-1])
        self.assertIn('[mdev_i915-GVTg_V5_4]', text('[vgpu_i915-GVTg_V5_4]'))

    def test_several_types_for_all_cards(self):
        self.assertEqual(
            ['[mdev_nvidia-36] device_addresses', '[pci] device_spec'],
            steps('[devices]\nenabled_mdev_types = nvidia-35,nvidia-36\n'),
        )

    def test_unknown_and_comments_stay(self):
        conf = (
            '; one\n# two\n[DEFAULT]\nmy_ip = $x\nlist = a,\n    b\n'
            'log: %(x)s\n\n\n[oslo]\r\nempty =\n\t'
        )
        self.assertEqual(
            conversion.Conversion(conf, ()), conversion.convert(conf)
        )

    def test_value_of_several_lines(self):
        self.assertEqual(
            '[DEFAULT]\n\n[pci]\ndevice_spec = {"vendor_id": "10de",\n'
            '    "product_id": "1b80"}\n',
            text(
                '[DEFAULT]\npci_passthrough_whitelist = {"vendor_id": "10de",'
                '\n  "product_id": "1b80"}\n'
            ),
        )

    def test_changes(self):
        changes = conversion.convert(K80).changes
        self.assertEqual(
            [
                (6, '[filter_scheduler] enabled_filters'),
                (6, '[filter_scheduler] enabled_filters'),
                (6, '[filter_scheduler] enabled_filters'),
                (7, '[filter_scheduler] available_filters'),
                (9, '[pci] device_spec'),
                (11, '[pci] alias'),
                (11, '[pci] alias'),
                (None, '[pci] report_in_placement'),
                (None, '[filter_scheduler] pci_in_placement'),
            ],
            [(change.line, change.new) for change in changes],
        )
        self.assertEqual('[DEFAULT] pci_alias', changes[5].old)


class TestFilters(unittest.TestCase):
    def filters(self, names, option='[filter_scheduler]\nenabled_filters'):
        return text(f'{option} = {names}\n').splitlines()[-1]

    def test_gone(self):
        self.assertEqual(
            'enabled_filters = ComputeFilter,PciPassthroughFilter',
            self.filters(
                'RetryFilter,AvailabilityZoneFilter,RamFilter,DiskFilter,'
                'CoreFilter,AggregateRamFilter,AggregateCoreFilter,'
                'ComputeFilter,PciPassthroughFilter'
            ),
        )

    def test_several_lines(self):
        self.assertEqual(
            'enabled_filters = ComputeFilter,PciPassthroughFilter',
            self.filters(
                'ComputeFilter,\n  RamFilter,\n  PciPassthroughFilter'
            ),
        )

    def test_all_gone(self):
        self.assertEqual('[filter_scheduler]', self.filters('RamFilter'))

    def test_misspelt(self):
        conf = (
            '[filter_scheduler]\nenabled_filters = '
            'AggregateImagePropertiesStrictIsolation, MyFilter\n'
        )
        self.assertEqual(conf, text(conf))
        first, second = notes(conf)
        self.assertIn('did you mean AggregateImageProperties', first)
        self.assertIn('MyFilter is no filter of Nova', second)

    def test_one_of_several_lines_counts(self):
        conf = (
            '[DEFAULT]\nscheduler_default_filters = RamFilter\n'
            '[filter_scheduler]\nenabled_filters = ComputeFilter\n'
            'enabled_filters = PciPassthroughFilter\n'
        )
        self.assertEqual(
            '[DEFAULT]\n[filter_scheduler]\n'
            'enabled_filters = PciPassthroughFilter\n',
            text(conf),
        )
        self.assertEqual(
            2, len([n for n in notes(conf) if 'heeds another line' in n])
        )

    def test_old_name_of_all(self):
        self.assertIn(
            'available_filters = nova.scheduler.filters.all_filters\n',
            text(
                '[DEFAULT]\nscheduler_available_filters = '
                'nova.scheduler.filters.standard_filters\n'
            ),
        )

    def test_none_for_pci(self):
        self.assertIn(
            '[filter_scheduler] enabled_filters',
            steps(f'[pci]\nalias = {ALIAS}\n'),
        )


class TestValues(unittest.TestCase):
    def alias(self, value, head='[pci]\n'):
        return text(f'{head}alias = {value}\n').removeprefix(head)

    def test_escaped_for_nova(self):
        escaped = ALIAS.replace('"', '\\"')
        self.assertEqual(f'alias = {ALIAS}\n', self.alias(escaped))
        self.assertEqual(f'alias = {ALIAS}\n', self.alias(f'"{escaped}"'))

    def test_escaped_for_devstack(self):
        head = '[[post-config|$NOVA_CONF]]\n[pci]\n'
        escaped = ALIAS.replace('"', '\\\\\\"')
        for old, count in (
            (ALIAS, 1),
            (ALIAS.replace('"', '\\"'), 1),
            # Two arrive as well as three.
            (ALIAS.replace('"', '\\\\"'), 0),
            (escaped, 0),
        ):
            with self.subTest(old):
                self.assertEqual(
                    f'alias = {escaped if count else old}\n',
                    self.alias(old, head),
                )
                said = [
                    note
                    for note in notes(f'{head}alias = {old}\n')
                    if 'one backslash or none' in note
                ]
                self.assertEqual(count, len(said))
        self.assertEqual(f'alias = {ALIAS}\n', self.alias(escaped))

    def test_any_name_arrives(self):
        head = '[[post-config|$NOVA_CONF]]\n[pci]\n'
        alias = json.dumps({'name': 'é"\\', **json.loads(CARD)})
        found = self.alias(alias, head).removeprefix('alias = ').rstrip('\n')
        self.assertEqual(alias, local_conf.arriving(found))
        self.assertEqual(f'alias = {found}\n', self.alias(found, head))

    def test_what_is_made_stays(self):
        for release in ('ocata', '2026.2'):
            (conf,) = nodes.files(
                'devstack', ['k80'], ['K80'], release=release
            ).values()
            found = conversion.convert(conf)
            self.assertFalse([n for n in notes(conf) if 'backslash' in n])
            if release != 'ocata':
                self.assertEqual(conf, found.text)

    def test_quotes(self):
        quoted = ALIAS.replace('"', "'")
        self.assertEqual(f'alias = {ALIAS}\n', self.alias(quoted))
        # oslo.config takes quotes around a value off.
        self.assertEqual(f"alias = '{ALIAS}'\n", self.alias(f"'{ALIAS}'"))

    def test_list(self):
        self.assertEqual(
            f'alias = {ALIAS}\nalias = {CARD}\n',
            self.alias(f'[{ALIAS}, {CARD}]'),
        )
        conf = f'[pci]\ndevice_spec = [{CARD}]\n'
        self.assertEqual(conf, text(conf))

    def test_repeated(self):
        conf = f'[pci]\nalias = {ALIAS}\nalias = {ALIAS}\n'
        self.assertEqual(conf, text(conf))
        self.assertTrue(
            any('does not start with pci_in_placement' in n
                for n in notes(conf))
        )  # fmt: skip
        conf = conf.replace(', "device_type": "type-PCI"', '')
        self.assertTrue(
            any('unless both have a device_type' in n for n in notes(conf))
        )

    def test_alias_that_nova_refuses(self):
        found = ' '.join(notes('[pci]\nalias = {"managed": "no"}\n'))
        for words in (
            'without a name', 'with managed in', 'needs vendor_id', 'type-PF',
        ):  # fmt: skip
            self.assertIn(words, found)

    def test_values_that_nova_refuses(self):
        for option, value, words in (
            ('alias', '{"name": "a", "product_id": "zz"}', "product_id 'zz'"),
            ('alias', '{"device_type": "type-XX"}', "device_type 'type-XX'"),
            ('device_spec', '{"product_id": "zz"}', "product_id 'zz'"),
            ('passthrough_whitelist', '[{"address": "z"}]', "address 'z'"),
            ('device_spec', '{"bogus": 1}', 'all PCI devices of the host'),
        ):
            with self.subTest(value):
                said = [
                    change.behaviour
                    for change in conversion.convert(
                        f'[pci]\n{option} = {value}\n'
                    ).changes
                    if change.line == 2
                ]
                self.assertIn(words, ' '.join(said))

    def test_repeated_with_a_difference(self):
        for more, is_same in (
            ('"device_type": "type-PCI"', True),
            ('"device_type": "type-PCI", "numa_policy": "legacy"', True),
            ('"device_type": "type-PF"', False),
            ('"device_type": "type-PCI", "numa_policy": "socket"', False),
        ):
            other = ALIAS.replace('"device_type": "type-PCI"', more)
            said = ' '.join(
                notes(f'[pci]\nalias = {ALIAS}\nalias = {other}\n')
            )
            with self.subTest(more):
                self.assertEqual(
                    not is_same, 'the same device_type and numa_policy' in said
                )

    def test_order_of_placement(self):
        both = ['[pci] report_in_placement', '[filter_scheduler] pci_in_pl']
        head = '[filter_scheduler]\nenabled_filters = PciPassthroughFilter\n'
        for more, count in (
            ('', (0, 2)),
            ('report_in_placement = True\n', (1, 2)),
            ('[filter_scheduler]\npci_in_placement = True\n', (0, 2)),
            ('report_in_placement = 1\n[filter_scheduler]\n'
             'pci_in_placement = true\n', (2, 2)),
        ):  # fmt: skip
            found = steps(f'{head}[pci]\nalias = {ALIAS}\n{more}')
            self.assertEqual(
                [step[:27] for step in found],
                [step[:27] for step in both[slice(*count)]],
            )


class TestHostile(unittest.TestCase):
    def fails(self, conf):
        with self.assertRaises(ValueError) as caught:
            conversion.convert(conf)
        self.assertEqual(1, len(str(caught.exception).splitlines()))
        return str(caught.exception)

    def test_json(self):
        for value in (
            '{"vendor_id": 10de}', '{', '"a"', '5', '[1]', '{1, 2}',
            '__import__("os")', "{'a': b'x'}", '[' * 9000, '{"a":' * 9000,
            'x' * 70000, '', '{\\"a}',
        ):  # fmt: skip
            with self.subTest(value[:20]):
                said = self.fails(f'[DEFAULT]\n\npci_alias = {value}\n')
                self.assertIn('line 3: [DEFAULT] pci_alias: ', said)

    def test_control_characters(self):
        for conf in (
            '[vgpu_\x1b[31m]\n',
            'a\x1bb = c\n',
            '[pci]\nalias = {"name": "\\u001b[31m"}\n',
            '[pci]\nalias = {"\\u001b": "x"}\n',
            '[devices]\nenabled_vgpu_types = a,\x1bb,c\n',
            '[filter_scheduler]\nenabled_filters = \x1bFilter\n',
        ):
            with self.subTest(conf):
                self.assertTrue(self.fails(f'[x]\n{conf}').isprintable())
        # What is not shown may be anything.
        text('[x]\ny = \x1b\n# \x1b\n')

    def test_no_configuration(self):
        for conf in ('', 'x', '[[]]', '\0[DEFAULT]', '{"a": 1}', '[{}]'):
            self.assertIn('no section', self.fails(conf))

    def test_lines(self):
        for line in ('what', '= x', '[', '[]', '[x'):
            self.assertIn('line 2: ', self.fails(f'[DEFAULT]\n{line}\n'))
        self.assertIn('line 1: ', self.fails(' x\n[DEFAULT]\n'))

    @hypothesis.given(
        strategies.text(
            strategies.sampled_from('[]|=:#; \t\n\r"\'\\{}pci_alsnov$DEFAULT')
        )
    )
    @hypothesis.settings(deadline=None)
    def test_any_text(self, conf):
        try:
            found = conversion.convert(f'[DEFAULT]\n{conf}')
        except ValueError as exc:
            self.assertEqual(1, len(str(exc).splitlines()))
        else:
            # Once is enough.
            again = conversion.convert(found.text)
            self.assertEqual(found.text, again.text)


class TestPci(unittest.TestCase):
    def test_old_and_new(self):
        found = conf_pci.read(
            f'[DEFAULT]\npci_alias = {ALIAS}\n[pci]\nalias = [{CARD}]\n'
            f'device_spec = {CARD}\nreport_in_placement = True\n'
        )
        self.assertEqual((2, 1), (len(found.aliases), len(found.specs)))
        self.assertTrue(found.reports)
        self.assertFalse(found.in_placement)

    def test_nothing(self):
        with self.assertRaisesRegex(ValueError, 'neither'):
            conf_pci.check(conf_pci.read('[pci]\n'))
        with self.assertRaisesRegex(ValueError, r'line 2: \[pci\] alias: '):
            conf_pci.read('[pci]\nalias = {\n')
