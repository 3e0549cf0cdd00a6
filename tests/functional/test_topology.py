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
"""Sandboxes of the user's own making, and those that come to harm.

Each class starts sandboxes of its own, in temporary folders, of the release
that the shared one has.
"""

import contextlib
import json
import os
import pathlib
import signal
import socket
import tempfile
import textwrap

from osc_gpu.sandbox import processes
from osc_gpu.sandbox import spec as specs
from tests.functional import base
from tests.functional import shells

#: names that look like addresses, PCI domains beyond the first, functions of
#: a card, classes and traits of one's own, and a card that is no GPU
TOPOLOGY = """
    hosts:
      - name: rack1.a_pci_0000.example
        cards:
          - {type: PCI, vendor_id: 10de, product_id: 2330,
             address: "0001:03:00.0", resource_class: CUSTOM_H100_GPU,
             traits: [CUSTOM_NVLINK, CUSTOM_PAIR_A]}
          - {type: PCI, vendor_id: 8086, product_id: "1572",
             address: "0000:18:00.0"}
      - name: gpu_01
        cards:
          - {type: PF, vendor_id: 10de, product_id: "2235",
             vf_product_id: "2236", address: "ffff:25:00.0", vfs: 8}
      - name: mig.example_net
        cards:
          - {type: mdev, vendor_id: 10de, product_id: 20b5,
             address: "0002:41:00.0", mdev_types: [{name: nvidia-700,
             instances: 4, resource_class: CUSTOM_NVIDIA_700}]}
    aliases:
      - {name: h100, vendor_id: 10de, product_id: 2330,
         resource_class: CUSTOM_H100_GPU, traits: [CUSTOM_NVLINK]}
      - {name: a10vf, vendor_id: 10de, product_id: "2236"}
"""


class TestCase(shells.TestCase):
    """A sandbox in a folder of its own; ``sandbox`` runs its commands."""

    def setUp(self):
        super().setUp()
        self.release = self.spec.release
        folder = tempfile.TemporaryDirectory(prefix='osc-gpu-test-')
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(os.path.realpath(folder.name))
        self.state = self.folder / 'state'
        self.addCleanup(processes.end, specs.path(self.state))

    def sandbox(self, *argv):
        return base.run('osc-gpu-sandbox', *argv, '--state', str(self.state))

    def up(self, *argv):
        result = self.sandbox('up', '--release', self.release, *argv)
        self.assertEqual(0, result.status, result.stderr)
        self.spec = specs.read(self.state)
        # A connection to the former one is of no use.
        self.__dict__.pop('admin', None)
        return result

    def down(self):
        result = self.sandbox('down')
        self.assertEqual((0, ''), (result.status, result.stderr))
        self.assertNothingRuns()
        return result

    def assertNothingRuns(self):
        self.assertEqual([], processes.find(specs.path(self.state)))

    def write_topology(self, text):
        path = self.folder / 'topology.yaml'
        path.write_text(textwrap.dedent(text))
        return str(path)

    def refused(self, *argv):
        """Run an ``up`` that fails in one line; return that line."""
        result = self.sandbox('up', '--release', self.release, *argv)
        self.assertEqual((1, ''), (result.status, result.stdout))
        (line,) = result.stderr.splitlines()
        self.assertNothingRuns()
        return line


class TestTopology(TestCase):
    def test_hostile_names_and_addresses(self):
        self.up('--topology', self.write_topology(TOPOLOGY))
        rack, gpu, mig = (h['name'] for h in self.spec.topology['hosts'])
        providers = {
            p['name']: p['uuid']
            for p in self.placement('/resource_providers')[
                'resource_providers'
            ]
        }
        rows = self.table('gpu', 'inventory', 'list', '--long')
        self.assertEqual(
            [
                (gpu, 'ffff:25:00.0', 'CUSTOM_PCI_10DE_2236', 8,
                 'NVIDIA GA102GL [A10]', f'{gpu}_FFFF:25:00.0'),
                (mig, '0002:41:00.0', 'CUSTOM_NVIDIA_700', 4,
                 '', f'{mig}_pci_0002_41_00_0'),
                (rack, '0001:03:00.0', 'CUSTOM_H100_GPU', 1,
                 '', f'{rack}_0001:03:00.0'),
            ],
            [
                (row['Host'], row['Device'], row['Resource Class'],
                 row['Free'], row['Model'],
                 {v: k for k, v in providers.items()}[row['Provider ID']])
                for row in rows
            ],
        )  # fmt: skip
        self.assertLess({'CUSTOM_NVLINK', 'CUSTOM_PAIR_A'},
                        set(rows[2]['Traits']))  # fmt: skip
        # The network card is in Placement, and is none of ours.
        self.assertIn(f'{rack}_0000:18:00.0', providers)
        line = self.fails('gpu', 'inventory', 'show', '0000:18:00.0')
        self.assertIn('is no GPU', line)
        for row in rows:
            for name in (row['Device'], f'{row["Host"]}_{row["Device"]}'):
                shown = self.table('gpu', 'inventory', 'show', name)
                self.assertEqual(row['Provider ID'], shown['provider_id'])

        for request, host, address, resource_class in (
            (('--alias', 'h100'), rack, '0001:03:00.0', 'CUSTOM_H100_GPU'),
            (('--alias', 'a10vf:3'), gpu, 'ffff:25:00.0',
             'CUSTOM_PCI_10DE_2236'),
            (('--vgpu', 'CUSTOM_NVIDIA_700'), mig, '0002:41:00.0',
             'CUSTOM_NVIDIA_700'),
        ):  # fmt: skip
            with self.subTest(host):
                flavor = self.make_flavor(*request)
                server = self.make_server(flavor)
                guest = self.guest(server['id'])
                self.assertEqual(host, guest['host'])
                amount = server['gpu_count']
                if guest['mdevs']:
                    (mdev,) = guest['mdevs']
                    self.assertEqual(address, mdev['parent'])
                else:
                    self.assertEqual(amount, len(guest['devices']))
                    self.assertEqual(
                        sorted(guest['devices']),
                        self.pci_addresses(server['id']),
                    )
                shown = self.table('gpu', 'server', 'show', server['id'])
                self.assertEqual(
                    [
                        {
                            'host': host,
                            'address': address,
                            'resource_class': resource_class,
                            'amount': amount,
                        }
                    ],
                    shown['devices'],
                )
        self.assertReservedFunctions(providers[f'{gpu}_FFFF:25:00.0'])

    def assertReservedFunctions(self, provider):
        """Two of the functions that are left are kept back."""
        path = f'/resource_providers/{provider}'
        inventories = self.placement(f'{path}/inventories')
        inventories['inventories']['CUSTOM_PCI_10DE_2236']['reserved'] = 2
        answer = self.admin.placement.put(
            f'{path}/inventories', json=inventories, microversion='1.39'
        )
        self.assertEqual(200, answer.status_code, answer.text)
        (row,) = self.table('gpu', 'inventory', 'list', '--host', 'gpu_01')
        self.assertEqual(
            (8, 2, 3, 3),
            (row['Total'], row['Reserved'], row['Used'], row['Free']),
        )

    def test_refused(self):
        """Whatever is wrong, it is said in a line, and nothing is started."""
        for words, text in (
            (
                ('hosts[0].cards[0].address', '10000:01:00.0'),
                """
                hosts:
                  - name: gpu1
                    cards:
                      - {type: PCI, vendor_id: 10de, product_id: 20b5,
                         address: "10000:01:00.0"}
                """,
            ),
            (
                ('colour',),
                """
                hosts: [{name: gpu1, colour: blue}]
                """,
            ),
            (('hosts',), 'hosts: []\n'),
        ):
            with self.subTest(words):
                path = self.write_topology(text)
                line = self.refused('--topology', path)
                self.assertIn(path, line)
                for word in words:
                    self.assertIn(word, line)
        line = self.refused('--topology', str(self.folder / 'nosuch'))
        self.assertIn('No such file or directory', line)

        with contextlib.closing(socket.socket()) as occupied:
            occupied.bind((specs.ADDRESS, 0))
            occupied.listen()
            port = occupied.getsockname()[1]
            line = self.refused('--port-base', str(port))
        self.assertIn(f'port {port}', line)
        self.assertIn('--port-base', line)

        self.state.mkdir(exist_ok=True)
        for path in self.state.iterdir():
            path.unlink()
        mine = self.state / 'thesis.txt'
        mine.write_text('years of work')
        self.assertIn('thesis.txt', self.refused())
        self.assertEqual('years of work', mine.read_text())
        self.assertEqual(3, self.sandbox('status').status)


class TestTwentyHosts(TestCase):
    def test_up_crash_and_up_again(self):
        self.up('--hosts', '20')
        rows = self.table('gpu', 'inventory', 'list')
        cards = [
            (host['name'], card['address'])
            for host in self.spec.topology['hosts']
            for card in host['cards']
        ]
        self.assertEqual(
            sorted(cards), [(row['Host'], row['Device']) for row in rows]
        )
        self.assertEqual(0, self.sandbox('status').status)

        # A service dies: it is said, by those who are asked for it.
        found = {p.module: p.pid for p in self.processes()}
        self.assertEqual(6, len(found))
        os.kill(found['placement_api'], signal.SIGKILL)
        base.wait_until('gone', lambda: len(self.processes()) == 5, 10)
        status = self.sandbox('status', '-f', 'json')
        self.assertEqual(1, status.status)
        data = json.loads(status.stdout)
        self.assertEqual('partial', data['status'])
        self.assertEqual(
            {'placement': 'ended'},
            {
                service['name']: service['state']
                for service in data['services']
                if service['state'] != 'ready'
            },
        )
        dead = self.openstack('gpu', 'inventory', 'list')
        self.assertEqual((1, ''), (dead.status, dead.stdout))
        self.assertNotIn('Traceback', dead.stderr)
        self.assertIn('placement', dead.stderr.splitlines()[-1])

        # What is left of it is no hindrance.
        self.up()
        self.assertEqual(6, len(self.processes()))
        self.assertFalse(
            set(found.values()) & {p.pid for p in self.processes()}
        )
        self.assertEqual(12, len(self.table('gpu', 'inventory', 'list')))

        # Nor is it for ending it.
        os.kill({p.module: p.pid for p in self.processes()}['nova_all'],
                signal.SIGKILL)  # fmt: skip
        self.down()
        self.assertEqual(3, self.sandbox('status').status)
        self.assertIn('No sandbox was running', self.down().stdout)

    def processes(self):
        return processes.find(specs.path(self.state))
