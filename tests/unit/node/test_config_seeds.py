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

"""Configurations value by value as the users' own documents have them.

What is written here is what stands there; the machines are like theirs.
"""

import json
import re
import unittest

import yaml

from osc_gpu.node import conf_file
from osc_gpu.node import host_plan
from tests.unit.node import nodes


def values(text, section, name):
    """Return the values of an option in a nova.conf."""
    return [
        option.value
        for block in conf_file.parse(text).blocks
        for option in block.options
        if (option.section, option.name) == (section, name)
    ]


def rendered(text, host, groups):
    """Return what Jinja makes of a text for a host, as far as it is needed.

    It knows raw blocks, and conditions on the groups of a host.
    """
    found = []
    is_raw, is_wanted = False, True
    for part in re.split(r'(\{%.*?%\}\n?)', text):
        words = part.strip('{}%\n ')
        if part.startswith('{%') and words in ('raw', 'endraw'):
            is_raw = words == 'raw'
        elif part.startswith('{%') and not is_raw:
            condition = re.fullmatch(
                r"if inventory_hostname in groups\['(\w+)'\]|endif", words
            )
            group = condition[1]
            is_wanted = group is None or host in groups[group]
        elif is_wanted:
            found.append(part)
    return ''.join(found)


class TestK80OnDevStack(unittest.TestCase):
    def test_local_conf(self):
        (text,) = nodes.files(
            'devstack', ['k80'], ['K80'], release='ocata'
        ).values()
        self.assertEqual(
            ['[[post-config|$NOVA_CONF]]', '[DEFAULT]'], text.splitlines()[:2]
        )
        plain = text.replace('\\\\\\"', '"')
        self.assertEqual(
            ['RetryFilter,AvailabilityZoneFilter,RamFilter,DiskFilter,'
             'ComputeFilter,ComputeCapabilitiesFilter,ImagePropertiesFilter,'
             'ServerGroupAntiAffinityFilter,ServerGroupAffinityFilter,'
             'SameHostFilter,DifferentHostFilter,PciPassthroughFilter'],
            values(plain, 'DEFAULT', 'scheduler_default_filters'),
        )  # fmt: skip
        (whitelist,) = values(plain, 'DEFAULT', 'pci_passthrough_whitelist')
        self.assertEqual(
            {'vendor_id': '10de', 'product_id': '102d'},
            json.loads(whitelist),
        )
        (alias,) = values(plain, 'DEFAULT', 'pci_alias')
        self.assertEqual(
            {
                'vendor_id': '10de',
                'product_id': '102d',
                'name': 'K80',
                'device_type': 'type-PCI',
            },
            json.loads(alias),
        )


class TestP100OnTripleO(unittest.TestCase):
    def setUp(self):
        super().setUp()
        texts = nodes.files('tripleo', ['p100'], ['a1', 'a2'], release='ocata')
        self.found = {
            path.rpartition('/')[2]: yaml.safe_load(text)
            for path, text in texts.items()
        }

    def test_compute(self):
        parameters = self.found['20-compute-params.yaml']
        self.assertEqual(
            [{'vendor_id': '10de', 'product_id': '15f8'}],
            parameters['parameter_defaults']['NovaPCIPassthrough'],
        )

    def test_controller(self):
        parameters = self.found['20-controller-params.yaml']
        found = parameters['parameter_defaults']
        filters = found['NovaSchedulerDefaultFilters']
        self.assertIn('PciPassthroughFilter', filters)
        self.assertIn('ComputeCapabilitiesFilter', filters)
        aliases = found['ControllerExtraConfig']['nova::api::pci_alias']
        for alias, name in zip(aliases, ('a1', 'a2'), strict=True):
            # They have no device type; without one Nova takes any.
            self.assertEqual('type-PCI', alias.pop('device_type'))
            self.assertEqual(
                {'name': name, 'product_id': '15f8', 'vendor_id': '10de'},
                alias,
            )

    def test_first_boot(self):
        self.assertEqual(
            {
                'resource_registry': {
                    'OS::TripleO::NodeUserData': '../firstboot/first-boot.yaml'
                }
            },
            self.found['10-firstboot-environment.yaml'],
        )
        template = self.found['first-boot.yaml']
        self.assertEqual('2014-10-16', template['heat_template_version'])
        userdata = template['resources']['userdata']
        self.assertEqual('OS::Heat::MultipartMime', userdata['type'])
        self.assertEqual(
            {'parts': [{'config': {'get_resource': 'compute_kernel_args'}}]},
            userdata['properties'],
        )
        arguments = template['resources']['compute_kernel_args']
        self.assertEqual('OS::Heat::SoftwareConfig', arguments['type'])
        script = arguments['properties']['config']
        self.assertTrue(script.startswith('#!/bin/bash\n'))
        for line in (
            'intel_iommu=on iommu=pt',
            'grub2-mkconfig -o /etc/grub2.cfg',
            # Where a node has UEFI.
            'grub2-mkconfig -o /etc/grub2-efi.cfg',
            'systemctl stop os-collect-config.service',
            '/sbin/reboot',
        ):
            self.assertIn(line, script)
        self.assertEqual(
            {'OS::stack_id': {'value': {'get_resource': 'userdata'}}},
            template['outputs'],
        )


class TestA100OnKayobe(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.texts = nodes.files(
            'kayobe', ['a100-mig'], vgpus=nodes.KAYOBE_VGPUS
        )

    def test_definitions(self):
        text = self.texts[
            'inventory/group_vars/compute_multi_instance_gpu/vgpu'
        ]
        self.assertEqual(
            {
                'vgpu_definitions': [
                    {
                        'pci_address': '0000:17:00.0',
                        'virtual_functions': [
                            {'mdev_type': 'nvidia-700', 'index': 0},
                            {'mdev_type': 'nvidia-700', 'index': 1},
                            {'mdev_type': 'nvidia-700', 'index': 2},
                            {'mdev_type': 'nvidia-699', 'index': 3},
                        ],
                        'mig_devices': {'1g.10gb': 1, '2g.20gb': 3},
                    },
                    {
                        'pci_address': '0000:65:00.0',
                        'virtual_functions': [
                            {'mdev_type': 'nvidia-697', 'index': 0},
                            {'mdev_type': 'nvidia-697', 'index': 1},
                        ],
                    },
                ]
            },
            yaml.safe_load(text),
        )
        for line in (
            '# nvidia-697 GRID A100D-40C',
            '# nvidia-699 GRID A100D-1-10C',
            '# nvidia-700 GRID A100D-2-20C',
        ):
            self.assertIn(line, text.splitlines())

    def test_groups(self):
        inventory = self.texts['inventory/gpu'].split('\n\n')
        for group in (
            '[vgpu:children]\ncompute_multi_instance_gpu',
            '[iommu:children]\nvgpu',
            '[compute_multi_instance_gpu]\ncomputegpu001',
        ):
            self.assertIn(group, [part.strip() for part in inventory])
        self.assertEqual(
            {
                'overcloud_group_hosts_map': {
                    'compute_multi_instance_gpu': ['computegpu001']
                }
            },
            yaml.safe_load(self.texts['overcloud.yml']),
        )
        found = yaml.safe_load(self.texts['kolla.yml'])[
            'kolla_overcloud_inventory_top_level_group_map'
        ]
        self.assertEqual(
            {
                'control': {'groups': ['controllers']},
                'network': {'groups': ['network']},
                'compute_multi_instance_gpu': {
                    'groups': ['compute_multi_instance_gpu']
                },
                'compute': {'groups': ['compute']},
                'monitoring': {'groups': ['monitoring']},
                'storage': {
                    'groups': '{{ kolla_overcloud_inventory_storage_groups }}'
                },
            },
            found,
        )

    def test_nova_conf(self):
        groups = {'compute_multi_instance_gpu': ['computegpu001']}
        text = rendered(
            self.texts['kolla/config/nova/nova-compute.conf'],
            'localhost',
            groups,
        )
        _note, _more, first, *_lines, last = text.splitlines()
        self.assertEqual(
            '{% if inventory_hostname in '
            "groups['compute_multi_instance_gpu'] %}",
            first,
        )
        self.assertEqual('{% endif %}', last)
        other = rendered(text, 'computegpu002', groups)
        self.assertNotIn('[', other)
        conf = rendered(text, 'computegpu001', groups)
        self.assertNotIn('%}', conf)
        for section, name, value in (
            ('devices', 'enabled_mdev_types',
             'nvidia-700,nvidia-699,nvidia-697'),
            ('mdev_nvidia-700', 'device_addresses',
             '0000:17:00.4,0000:17:00.5,0000:17:00.6'),
            ('mdev_nvidia-700', 'mdev_class', 'CUSTOM_NVIDIA_700'),
            ('mdev_nvidia-699', 'device_addresses', '0000:17:00.7'),
            ('mdev_nvidia-697', 'device_addresses',
             '0000:65:00.4,0000:65:00.5'),
        ):  # fmt: skip
            self.assertEqual([value], values(conf, section, name))


class TestWhoRendersNovaConf(unittest.TestCase):
    """Kayobe renders it once as the host it runs on, and Kolla then again."""

    def test_blocks_of_several_groups(self):
        asked = (['rtx6000', 'a100-sriov'], ['rtx'], ['A100D-40C=17:00.0'])
        groups = {
            'compute_gpu': ['gpu-rtx-1'],
            'compute_vgpu': ['computegpu000'],
        }
        path = 'kolla/config/nova/nova-compute.conf'
        by_kayobe = nodes.files('kayobe', *asked)[path]
        by_kolla = nodes.files('kolla-ansible', *asked)[f'/etc/{path}']
        self.assertNotIn('raw', by_kolla)
        for text in (rendered(by_kayobe, 'localhost', groups), by_kolla):
            for host, has_spec, types in (
                ('gpu-rtx-1', True, []),
                ('computegpu000', False, ['nvidia-697']),
                ('localhost', False, []),
            ):
                with self.subTest(host):
                    conf = f'[DEFAULT]\n{rendered(text, host, groups)}'
                    self.assertEqual(
                        has_spec, bool(values(conf, 'pci', 'device_spec'))
                    )
                    self.assertEqual(
                        types, values(conf, 'devices', 'enabled_mdev_types')
                    )


class TestRtx6000(unittest.TestCase):
    def test_ids(self):
        asked = nodes.match(['rtx6000'], ['rtx'])
        plan = host_plan.make(asked.nodes[0], asked.gpus, ())
        self.assertEqual(
            ('10de:1e30', '10de:10f7', '10de:1ad6', '10de:1ad7'), plan.ids
        )
        texts = nodes.files('kayobe', ['rtx6000'], ['rtx'])
        kernel = yaml.safe_load(
            texts['inventory/group_vars/compute_gpu/kernel']
        )
        self.assertEqual(
            ['intel_iommu=on', 'iommu=pt'], kernel['kernel_cmdline'][:2]
        )
        self.assertIn('10de:1e30,10de:10f7', kernel['kernel_cmdline'][2])
        # Other modules that somebody forbids there stay forbidden.
        self.assertIn('modprobe.blacklist=nouveau', kernel['kernel_cmdline'])
        self.assertNotIn('modprobe', ''.join(kernel['kernel_cmdline_remove']))

    def test_classes_of_usb(self):
        (rules,) = nodes.files('udev', ['rtx6000'], ['rtx']).values()
        for class_id in ('0c0330', '0c8000'):
            self.assertIn(
                'ACTION=="add", SUBSYSTEM=="pci", ATTR{vendor}=="0x10de", '
                f'ATTR{{class}}=="0x{class_id}", ATTR{{remove}}="1"',
                rules.splitlines(),
            )


class TestGtx1080(unittest.TestCase):
    def test_nova_conf(self):
        texts = nodes.files('nova', ['gtx1080'], ['nvidia'], release='ocata')
        for text in texts.values():
            (alias,) = values(text, 'DEFAULT', 'pci_alias')
            alias = json.loads(alias)
            self.assertEqual('type-PCI', alias.pop('device_type'))
            self.assertEqual(
                {
                    'vendor_id': '10de',
                    'product_id': '1b80',
                    'name': 'nvidia',
                },
                alias,
            )
        (whitelist,) = values(text, 'DEFAULT', 'pci_passthrough_whitelist')
        self.assertEqual(
            {'vendor_id': '10de', 'product_id': '1b80'},
            json.loads(whitelist),
        )

    def test_what_kvm_off_is(self):
        for release, words in (
            ('2026.2', 'hw:hide_hypervisor_id=true'),
            ('ussuri', 'flavor property hide_hypervisor_id=true'),
            ('pike', 'image property img_hide_hypervisor_id=true'),
        ):
            text, *_more = nodes.files(
                'nova', ['gtx1080'], ['nvidia'], release=release
            ).values()
            self.assertIn(words, ' '.join(text.split()).replace('# ', ''))
        # Others need nothing of it.
        for text in nodes.files('nova', ['k80'], ['K80']).values():
            self.assertNotIn('hide_hypervisor', text)
