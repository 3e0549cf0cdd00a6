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
import re
import unittest

import hypothesis
from hypothesis import strategies
import yaml

from osc_gpu.node import configs
from osc_gpu.node import local_conf
from osc_gpu.node import nova_conf
from osc_gpu.node import nova_specs
from osc_gpu.node import wanted
from osc_gpu.node import yaml_text
from tests.unit.node import nodes
from tests.unit.node.test_config_seeds import values

#: Lines that PyYAML itself brings back.
LINES = strategies.text(
    strategies.characters(
        min_codepoint=32, max_codepoint=0x17F, exclude_categories=['Cc']
    ),
    max_size=20,
)

#: What people, and whoever wants to do harm, could call an alias.
NAMES = LINES | strategies.sampled_from(
    [
        'a"b',
        "a'b",
        'a\\b',
        '$(id)',
        '`id`',
        '${x}',
        '$x',
        '{{ x }}',
        '{% x %}',
        '{# x #}',
        '%{x}',
        'a;b',
        '"}',
        'a  b',
        '#a',
        '[a]',
        'true',
        '1e30',
        '0x10',
        '~',
        '- a',
        '&a',
        '*a',
        '!a',
        '@a',
        '10',
        'ü',
        '=',
        'a=b',
    ]
)


def option(name):
    """Return an option of an alias with that name; not one that is none."""
    try:
        return wanted.parse_alias(f'{name}=10de:102d')
    except ValueError:
        hypothesis.reject()


def asked(name, release='2026.2'):
    return wanted.match(
        [nodes.node('k80')],
        [option(name)],
        [],
        nodes.releases.parse(release),
    )


class TestQuoting(unittest.TestCase):
    @hypothesis.settings(deadline=None)
    @hypothesis.given(NAMES)
    def test_nova_conf_and_templates(self, name):
        for tool in ('nova', 'kolla-ansible'):
            for file in configs.files(tool, asked(name)):
                if not file.path.endswith('.conf'):
                    continue
                lines = [
                    line
                    for line in file.text.splitlines()
                    if line[:1] not in ('{', '#')
                ]
                text = '\n'.join(lines)
                # Neither Ansible nor oslo.config finds anything of theirs.
                self.assertIsNone(re.search(r'{{|{%|{#|\$', text))
                for value in values(text, 'pci', 'alias'):
                    self.assertTrue(value.isascii())
                    self.assertEqual(name, json.loads(value)['name'])

    @hypothesis.settings(deadline=None)
    @hypothesis.given(NAMES)
    def test_tripleo(self, name):
        found = asked(name, 'wallaby')
        try:
            files = configs.files('tripleo', found)
        except ValueError as exc:
            self.assertRegex(name, r'\$|%{')
            self.assertNotIn('\n', str(exc))
            return
        for file in files:
            content = yaml.safe_load(file.text)['parameter_defaults']
            for extra in ('ComputeExtraConfig', 'ControllerExtraConfig'):
                for alias in content.get(extra, {}).get(
                    'nova::pci::aliases', []
                ):
                    self.assertEqual(name, alias['name'])

    @hypothesis.settings(deadline=None)
    @hypothesis.given(NAMES)
    def test_devstack(self, name):
        found = asked(name)
        try:
            (file,) = configs.files('devstack', found)
        except ValueError as exc:
            self.assertNotRegex(name, r'\A[A-Za-z0-9_.+@-]+\Z')
            self.assertNotIn('\n', str(exc))
            return
        (line,) = re.findall('^alias = (.*)$', file.text, re.M)
        # What read takes, and what the shell takes within double quotes.
        self.assertNotRegex(line, '[$`]')
        read = re.sub(r'\\(.)', r'\1', line)
        self.assertNotRegex(read, r'(?<!\\)"')
        value = re.sub(r'\\(["\\])', r'\1', read)
        self.assertEqual(name, json.loads(value)['name'])

    @hypothesis.given(strategies.dictionaries(LINES, LINES | NAMES))
    def test_yaml(self, content):
        self.assertEqual(content, yaml.safe_load(yaml_text.dump(content)))

    def test_what_ruby_takes_for_numbers_is_quoted(self):
        text = yaml_text.dump({'a': '1e30', 'b': '0123', 'c': '10de'})
        self.assertEqual("a: '1e30'\nb: '0123'\nc: '10de'\n", text)


class TestSections(unittest.TestCase):
    def test_release_without_placement(self):
        found = nodes.match(['k80'], ['K80'], release='zed')
        text = nova_conf.text(
            nova_conf.merged(
                nova_conf.controller(found),
                nova_conf.computes(found)[0].sections,
            )
        )
        self.assertNotIn('placement', text)
        self.assertNotIn('resource_class', text)
        self.assertIn('device_spec = {"vendor_id"', text)

    def test_merged_has_nothing_twice(self):
        found = nodes.match(['k80'], ['K80'])
        sections = nova_conf.merged(
            nova_conf.controller(found), nova_conf.computes(found)[0].sections
        )
        (pci,) = (s for s in sections if s.name == 'pci')
        self.assertEqual(
            ['alias', 'device_spec', 'report_in_placement'],
            [entry.name for entry in pci.entries],
        )

    def test_one_type_is_vgpu(self):
        found = nodes.match(['a100-mig'], vgpus=['nvidia-697=65:00.0'])
        text = nova_conf.text(nova_conf.computes(found)[0].sections)
        self.assertNotIn('mdev_class', text)

    def test_types_of_several_nodes_have_classes(self):
        gpu = nodes.node('a100-mig').gpus[1]
        other = nodes.renamed('a100-mig', 'b', gpus=(gpu,))
        one = nodes.renamed(
            'a100-sriov', 'a', gpus=nodes.node('a100-sriov').gpus[:1]
        )
        vgpus = ['nvidia-698=17:00.4', 'nvidia-697=65:00.0']
        found = nodes.match([one, other], vgpus=vgpus)
        for group in nova_conf.computes(found):
            self.assertIn('mdev_class', nova_conf.text(group.sections))
        texts = nodes.files('kolla-ansible', [one, other], vgpus=vgpus)
        self.assertIn(
            'mdev_class = CUSTOM_NVIDIA_697',
            texts['/etc/kolla/config/nova/b/nova.conf'],
        )

    def test_address_where_a_card_stays(self):
        machine = nodes.node('k80')
        found = nodes.match([machine], ['K80'])
        offer = found.offers[0]
        short = wanted.Offer(offer.node, offer.passed[:1])
        specs = nova_specs.device_specs(found, short)
        self.assertEqual(
            [offer.passed[0].address], [spec['address'] for spec in specs]
        )

    def test_nodes_that_offer_nothing_are_left_alone(self):
        texts = nodes.files('kayobe', ['k80', 'p100'], ['K80=10de:102d'])
        self.assertNotIn('overcloud-compute-0', ''.join(texts.values()))

    def test_no_vfs_yet(self):
        texts = nodes.files('nova', ['a100-sriov'], vgpus=['nvidia-696'])
        (text,) = texts.values()
        self.assertNotIn('device_addresses', text)
        with self.assertRaisesRegex(ValueError, '65:00.0 has no VFs yet'):
            nodes.files('nova', ['a100-sriov'], vgpus=['nvidia-696=65:00.0'])


class TestTools(unittest.TestCase):
    def refused(self, *args, **more):
        with self.assertRaises(ValueError) as caught:
            nodes.files(*args, **more)
        return str(caught.exception)

    def test_nodes_that_differ(self):
        one = nodes.renamed('k80', 'a', gpus=nodes.node('k80').gpus)
        other = nodes.renamed('p100', 'b')
        aliases = ['K80=10de:102d', 'p=10de:15f8']
        texts = nodes.files('nova', [one, other], aliases)
        self.assertEqual(
            [
                '/etc/nova/nova.conf',
                '/etc/nova/nova.conf compute a',
                '/etc/nova/nova.conf compute b',
            ],
            list(texts),
        )
        for tool in ('devstack', 'tripleo'):
            self.assertIn(
                'the nodes differ',
                self.refused(tool, [one, other], aliases, release='wallaby'),
            )
        for name in ('a', None):
            other = nodes.renamed('p100', name)
            for tool in ('nova', 'kolla-ansible', 'kayobe'):
                self.assertIn(
                    'gpu node show -f json',
                    self.refused(tool, [one, other], aliases),
                )

    def test_tripleo_has_ended(self):
        said = self.refused('tripleo', ['p100'], ['a1'], release='xena')
        self.assertIn('say --release wallaby', said)

    def test_tripleo_sets_kernel_arguments_itself_from_train_on(self):
        for release, is_first_boot in (('stein', True), ('train', False)):
            texts = nodes.files('tripleo', ['p100'], ['a1'], release=release)
            self.assertEqual(
                is_first_boot, 'firstboot/first-boot.yaml' in texts
            )
            self.assertEqual(
                not is_first_boot, 'KernelArgs' in ''.join(texts.values())
            )

    def test_tripleo_keeps_nouveau_away(self):
        for release in ('stein', 'wallaby'):
            texts = nodes.files('tripleo', ['rtx6000'], ['rtx'], (), release)
            self.assertIn(
                ' modprobe.blacklist=nouveau', ''.join(texts.values())
            )
            self.assertEqual(
                [
                    '# Also needed on the nodes: what gpu node config show '
                    'prints with --for',
                    '# modprobe, udev, dracut, vfio.',
                ],
                texts['environments/20-compute-params.yaml'].splitlines()[:2],
            )
        # Where no card is NVIDIA's, there is no nouveau to keep away.
        texts = nodes.files('tripleo', ['mi300x'], ['mi300x'], (), 'wallaby')
        self.assertNotIn('nouveau', ''.join(texts.values()))

    def test_tripleo_before_types_had_addresses(self):
        texts = nodes.files(
            'tripleo', ['a100-mig'], vgpus=['nvidia-697'], release='train'
        )
        found = yaml.safe_load(texts['environments/20-compute-params.yaml'])
        self.assertEqual(
            {'nova::compute::vgpu::enabled_vgpu_types': ['nvidia-697']},
            found['parameter_defaults']['ComputeExtraConfig'],
        )

    def test_tripleo_has_addresses_of_types_from_ussuri_on(self):
        vgpus = ['nvidia-697=65:00.0']
        texts = nodes.files(
            'tripleo', ['a100-mig'], vgpus=vgpus, release='ussuri'
        )
        found = yaml.safe_load(texts['environments/20-compute-params.yaml'])
        parameters = found['parameter_defaults']
        self.assertEqual(
            {'nvidia-697': ['0000:65:00.4', '0000:65:00.5']},
            parameters['NovaVGPUTypesDeviceAddressesMapping'],
        )
        self.assertNotIn('ComputeExtraConfig', parameters)

    def test_kayobe_cannot_do_vendor_vfio(self):
        said = self.refused('kayobe', ['l40s'], vgpus=['L40S-24Q'])
        self.assertIn('--for systemd', said)

    def kernel(self, texts):
        """Return kernel arguments by group or host, and all remarks."""
        found = {
            path.split('/')[2]: text
            for path, text in texts.items()
            if path.endswith('/kernel')
        }
        remarks = ' '.join(
            line.removeprefix('# ')
            for text in found.values()
            for line in text.splitlines()
            if line.startswith('#')
        )
        return {
            name: yaml.safe_load(text)['kernel_cmdline']
            for name, text in found.items()
        }, remarks

    def test_kayobe_has_kernel_arguments_beside_vgpus(self):
        a100s, p100s = nodes.node('a100-sriov').gpus, nodes.node('p100').gpus
        machine = nodes.renamed('a100-sriov', 'a', gpus=(a100s[0], *p100s))
        vgpus = ['A100D-40C=17:00.0']
        found, remarks = self.kernel(
            nodes.files('kayobe', [machine], ['p100'], vgpus)
        )
        self.assertEqual(
            [
                'iommu=pt',
                'vfio-pci.ids=10de:15f8',
                'modprobe.blacklist=nouveau',
            ],
            found['compute_vgpu'],
        )
        # No systemd: the role vgpu is there for the other card.
        self.assertIn('--for modprobe, dracut, vfio.', remarks)
        # A card of the model that is divided is bound by its address.
        found, remarks = self.kernel(
            nodes.files('kayobe', ['a100-sriov'], ['a100'], vgpus)
        )
        self.assertEqual(['compute_vgpu'], list(found))
        self.assertIn('dracut, vfio, systemd. Of the units only', remarks)
        found, _remarks = self.kernel(
            nodes.files('kayobe', ['a100-sriov'], (), vgpus)
        )
        self.assertEqual({}, found)

    def test_kayobe_has_kernel_arguments_where_some_hosts_need_them(self):
        one = nodes.node('a100-sriov')
        other = nodes.renamed('a100-sriov', 'b', gpus=one.gpus[:1])
        found, _remarks = self.kernel(
            nodes.files(
                'kayobe', [one, other], ['a100'], ['A100D-40C=17:00.0']
            )
        )
        self.assertEqual(['computegpu000'], list(found))

    def test_kayobe_says_who_reads_kernel_arguments(self):
        _found, remarks = self.kernel(
            nodes.files('kayobe', ['rtx6000'], ['rtx'])
        )
        self.assertIn(
            'The role stackhpc.linux.grubcmdline reads this: a play for the '
            'group iommu has to import it.',
            remarks,
        )

    def test_every_escaped_value_of_devstack(self):
        self.assertEqual(r'{\\\"a\\\": 1}', local_conf.escaped('{"a": 1}'))

    def test_hosts_without_names(self):
        text = nodes.told('0000:04:00.0 0302: 10de:102d (rev a1)\n')
        texts = nodes.files('kayobe', [text], ['K80'])
        self.assertIn("# The nodes' names", texts['inventory/gpu'])
        self.assertNotIn('overcloud.yml', texts)
