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

"""Generated configurations, read by Nova's own code, and given to a cloud.

What reads them is ``nova_reads.py``, by the Python of a release; of its
sandboxes none has to run for that.
"""

import json
import pathlib
import subprocess
import tempfile
import unittest

import yaml

from osc_gpu.node import conf_file
from osc_gpu.sandbox import progress
from osc_gpu.sandbox import releases
from tests.functional import base
from tests.functional import test_topology
from tests.unit.node import nodes
from tests.unit.node import recorded

READER = pathlib.Path(__file__).with_name('nova_reads.py')

#: As Ansible's template does, for a cloud with one node in all groups.
RENDER = """\
import collections, sys
import jinja2

groups = collections.defaultdict(lambda: ['gpu-rtx-1'])
jinja = jinja2.Environment(trim_blocks=True)
text = jinja.from_string(sys.stdin.read())
print(text.render(inventory_hostname=sys.argv[1], groups=groups))
"""

#: name -> machine, aliases, vGPU types; what each is read as, beside it.
CASES = {
    'k80': ('k80', ['K80'], ()),
    'p100': ('p100', ['a1', 'a2'], ()),
    'a100': ('a100-mig', (), nodes.KAYOBE_VGPUS),
    'rtx6000': ('rtx6000', ['rtx', 'audio=10de:10f7'], ()),
    'gtx1080': ('gtx1080', ['nvidia'], ()),
    'l40s': ('l40s', (), ['L40S-24Q']),
    'mi300x': ('mi300x', ['mi300x'], ()),
    'domain1': ('h100-domain1', ['h100'], ()),
    'mixed': ('a100-sriov', ['a100'], ['A100D-40C=0000:17:00.0']),
    'hostile': ('k80', ['a "$x{{y}}%{z}\\ü=10de:102d'], ()),
}


class TestNovaReads(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.maxDiff = None
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def read(self, release, *texts):
        """Return what the Nova of a release takes each nova.conf for."""
        place = releases.ensure(release, progress.Progress())
        paths = [self.folder / f'{n}.conf' for n in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
        done = subprocess.run(
            [str(place.python), str(READER), *map(str, paths)],
            capture_output=True,
            text=True,
            timeout=base.LIMIT,
        )
        self.assertEqual(0, done.returncode, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def check(self, release):
        """Have Nova read all cases; return what computes are to it."""
        files = {
            name: list(nodes.files('nova', [machine], *more, release).values())
            for name, (machine, *more) in CASES.items()
        }
        texts = [text for found in files.values() for text in found]
        read = iter(self.read(release, *texts))
        computes = {}
        for name, (machine, *more) in CASES.items():
            *controllers, computes[name] = [next(read) for _f in files[name]]
            with self.subTest(name):
                asked = nodes.match([machine], *more, release)
                self.check_one(asked.aliases, controllers, computes[name])
        return computes

    def check_one(self, wanted, controllers, compute):
        wanted = {alias.name: alias for alias in wanted}
        self.assertEqual(set(wanted), set(compute['aliases']))
        for name, (_policy, specs) in compute['aliases'].items():
            (spec,) = specs
            vendor_id, product_id = wanted[name].ids.split(':')
            self.assertEqual(
                (vendor_id, product_id, wanted[name].device_type),
                (spec['vendor_id'], spec['product_id'], spec['dev_type']),
            )
            # Some device of the node is what the alias asks for.
            self.assertIn(
                (vendor_id, product_id, spec['resource_class']),
                [
                    (s['vendor_id'], s['product_id'],
                     s['tags']['resource_class'])
                    for s in compute['specs']
                ],
            )  # fmt: skip
        self.assertEqual(bool(wanted), compute['report_in_placement'])
        self.assertEqual(bool(wanted), bool(controllers))
        for controller in controllers:
            self.assertEqual(compute['aliases'], controller['aliases'])
            self.assertTrue(controller['pci_in_placement'])
            self.assertIn('PciPassthroughFilter', controller['filters'])

    def test_oldest(self):
        self.check(releases.RELEASES[0])

    def test_newest(self):
        found = self.check(releases.RELEASES[-1])
        self.assertEqual(
            {
                'nvidia-700': {
                    'addresses': [
                        '0000:17:00.4',
                        '0000:17:00.5',
                        '0000:17:00.6',
                    ],
                    'class': 'CUSTOM_NVIDIA_700',
                },
                'nvidia-699': {
                    'addresses': ['0000:17:00.7'],
                    'class': 'CUSTOM_NVIDIA_699',
                },
                'nvidia-697': {
                    'addresses': ['0000:65:00.4', '0000:65:00.5'],
                    'class': 'CUSTOM_NVIDIA_697',
                },
            },
            found['a100']['mdevs'],
        )
        # libvirt leaves the VFs to the vendor's driver.
        specs = found['l40s']['specs']
        self.assertEqual(
            ['0000:4a:00.4', '0000:4a:00.5', '0000:b1:00.4', '0000:b1:00.5'],
            [spec['address'] for spec in specs],
        )
        self.assertEqual(
            {'false'}, {spec['tags']['managed'] for spec in specs}
        )

    def rendered(self, release, text, host):
        """Return a template as Ansible renders it on a machine."""
        done = subprocess.run(
            [str(releases.ensure(release, progress.Progress()).python),
             '-c', RENDER, host],
            input=text,
            capture_output=True,
            text=True,
            timeout=base.LIMIT,
        )  # fmt: skip
        self.assertEqual(0, done.returncode, done.stderr)
        return done.stdout

    def test_what_kayobe_leaves_to_kolla_ansible(self):
        release = releases.RELEASES[-1]
        files = nodes.files('kayobe', ['rtx6000'], ['rtx'], ())
        ours = self.rendered(
            release, files['kolla/config/nova/nova-compute.conf'], 'localhost'
        )
        of_node, of_other = self.read(
            release,
            self.rendered(release, ours, 'gpu-rtx-1'),
            self.rendered(release, ours, 'other'),
        )
        self.assertEqual(
            [('10de', '1e30')],
            [(s['vendor_id'], s['product_id']) for s in of_node['specs']],
        )
        self.assertTrue(of_node['report_in_placement'])
        self.assertEqual([], of_other['specs'])

    def test_old_names_are_still_read(self):
        """Today's Nova takes what is written for yesterday's."""
        for release in ('ocata', 'yoga'):
            texts = nodes.files('nova', ['gtx1080'], ['nvidia'], (), release)
            *_more, text = texts.values()
            (found,) = self.read(releases.RELEASES[-1], text)
            self.assertEqual(['nvidia'], list(found['aliases']))
            (spec,) = found['specs']
            self.assertEqual('1b80', spec['product_id'])


class TestSandbox(test_topology.TestCase):
    def test_server_with_what_is_generated(self):
        """A cloud whose aliases and classes are the generated ones."""
        machine = recorded.Machine(
            'gpu1',
            ('ubuntu', '24.04'),
            '6.8.0-51-generic',
            'intel_iommu=on iommu=pt',
            tuple(
                recorded.Device(
                    f'0000:{bus}:00.0', '10de:20b5', '030200', total_vfs=0
                )
                for bus in ('20', '21')
            ),
        )
        root = recorded.write(machine, self.folder / 'gpu1')
        out = self.folder / 'out'
        # There is no cloud yet.
        done = base.run(
            'openstack', 'gpu', 'node', 'config', 'show', '--for', 'nova',
            '--alias', 'a100', '--release', self.release,
            '--root', str(root), '--output', str(out),
        )  # fmt: skip
        self.assertEqual((0, ''), (done.status, done.stderr))
        conf = conf_file.parse(
            (out / 'compute/etc/nova/nova.conf').read_text()
        )
        found = {
            option.name: json.loads(option.value)
            for block in conf.blocks
            for option in block.options
            if option.value.startswith('{')
        }
        path = self.folder / 'topology.yaml'
        path.write_text(
            yaml.safe_dump(
                {
                    'hosts': [
                        {
                            'name': 'gpu1',
                            'cards': [
                                {
                                    'type': 'PCI',
                                    'address': device.address,
                                    **found['device_spec'],
                                }
                                for device in machine.devices
                            ],
                        }
                    ],
                    'aliases': [found['alias']],
                }
            )
        )
        self.up('--topology', str(path))
        self.addCleanup(self.down)
        server = self.make_server(self.make_flavor('--alias', 'a100:2'))
        self.assertEqual('ACTIVE', server['status'])
        addresses = [device.address for device in machine.devices]
        self.assertEqual(addresses, self.pci_addresses(server['id']))
        self.assertEqual(
            {
                f'gpu1_{address}': {found['alias']['resource_class']: 1}
                for address in addresses
            },
            {
                name: held
                for name, held in self.allocations(server['id']).items()
                if name != 'gpu1'
            },
        )
