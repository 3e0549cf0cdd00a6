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

import argparse
import csv
import io
import json
import pathlib
import tempfile
from unittest import mock

from osc_lib import exceptions

from osc_gpu.node import facts
from osc_gpu.node import records
from osc_gpu.node import sources
from osc_gpu.v1 import node_options
from tests.unit import base
from tests.unit.node import machines

COLUMNS = [
    'Address', 'Model', 'IDs', 'NUMA Node', 'IOMMU Group', 'Driver',
    'Companions', 'VFs', 'mDev Types',
]  # fmt: skip


class TestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def root(self, name):
        folder = self.folder / name
        if not folder.exists():
            machines.build(name, folder)
        return str(folder)

    def file(self, text):
        path = self.folder / 'file'
        if isinstance(text, bytes):
            path.write_bytes(text)
        else:
            path.write_text(text)
        return str(path)

    def show(self, *argv):
        return self.ok('gpu', 'node', 'show', *argv).stdout

    def rows(self, *argv):
        every = [word for name in COLUMNS for word in ('-c', name)]
        return json.loads(self.show(*argv, '-f', 'json', *every))


class TestShowNode(TestCase):
    def cells(self, *argv):
        """Return the first row of a table."""
        row = self.show(*argv).splitlines()[3]
        return [cell.strip() for cell in row.split('|')[1:-1]]

    def test_columns(self):
        text = self.show('--root', self.root('rtx6000'), '-f', 'csv')
        header, row = csv.reader(io.StringIO(text))
        self.assertEqual(COLUMNS, header)
        self.assertEqual(
            ['0000:3d:00.0', 'NVIDIA TU102GL [Quadro RTX 6000/8000]'],
            row[:2],
        )

    def test_values(self):
        (row,) = self.rows('--root', self.root('rtx6000'))
        self.assertEqual(
            {
                'Address': '0000:3d:00.0',
                'Model': 'NVIDIA TU102GL [Quadro RTX 6000/8000]',
                'IDs': '10de:1e30',
                'NUMA Node': 0,
                'IOMMU Group': '35',
                'Driver': 'nouveau',
                'Companions': [
                    {
                        'address': '0000:3d:00.1',
                        'ids': '10de:10f7',
                        'driver': 'snd_hda_intel',
                    },
                    {
                        'address': '0000:3d:00.2',
                        'ids': '10de:1ad6',
                        'driver': 'xhci_hcd',
                    },
                    {
                        'address': '0000:3d:00.3',
                        'ids': '10de:1ad7',
                        'driver': 'nvidia-gpu',
                    },
                ],
                'VFs': {'has': 0, 'total': 0},
                'mDev Types': [],
            },
            row,
        )

    def test_mediated_devices(self):
        _parted, sliced = self.rows('--root', self.root('a100-mig'))
        self.assertEqual({'has': 16, 'total': 16}, sliced['VFs'])
        self.assertIn(
            {
                'id': 'nvidia-697',
                'name': 'GRID A100D-40C',
                'available': 0,
                'created': 2,
            },
            sliced['mDev Types'],
        )
        text = self.show('--root', self.root('a100-mig'))
        self.assertIn('nvidia-697 GRID A100D-40C: 2 made, 0 available', text)
        # There are 13 of each, most of which the cards have no room for.
        self.assertEqual(13, len(sliced['mDev Types']))
        self.assertEqual(3, text.count(' available'))
        self.assertIn('16 of 16', text)

    def test_unknown_and_none(self):
        listing = self.file('04:00.0 0302: 10de:fff0\n')
        (row,) = self.rows('--from', listing)
        self.assertEqual(
            [None, None, None, None, {'has': None, 'total': None}, None],
            [row[n] for n in (
                'Model', 'NUMA Node', 'IOMMU Group', 'Driver', 'VFs',
                'mDev Types',
            )],
        )  # fmt: skip
        cells = self.cells('--from', listing)
        self.assertEqual(['unknown'] * 3, cells[3:6])
        self.assertEqual(['', 'unknown', 'unknown'], cells[6:])
        # Nothing is bound; the kernel has no groups.
        cells = self.cells('--root', self.root('k80'))
        self.assertEqual(['0', '34', 'none'], cells[3:6])
        cells = self.cells('--root', self.root('t4-no-iommu'))
        self.assertEqual(['none', 'nouveau', '', '0 of 16'], cells[4:8])

    def test_the_record(self):
        for name in machines.MACHINES:
            root = self.root(name)
            node = facts.read(pathlib.Path(root))
            for more in ((), ('--noindent',)):
                text = self.show('--root', root, '-f', 'json', *more)
                path = self.file(text)
                self.assertEqual(node, sources.read_file(pathlib.Path(path)))
            # What is read from there says the same.
            self.assertEqual(
                text, self.show('--from', path, '-f', 'json', *more)
            )

    def test_sorted(self):
        rows = self.rows(
            '--root', self.root('mi300x'), '--sort-column', 'NUMA Node',
            '--sort-descending',
        )  # fmt: skip
        self.assertEqual([1] * 4 + [0] * 4, [r['NUMA Node'] for r in rows])

    def test_no_cloud_is_asked(self):
        with mock.patch.object(base, 'AUTH_URL', ''):
            self.show('--root', self.root('p100'))
        self.assertEqual([], self.cloud.request_history)

    def test_this_machine(self):
        with mock.patch.object(facts, 'read', autospec=True) as read:
            read.return_value = facts.model.Node()
            line = self.fails('gpu', 'node', 'show')
        read.assert_called_once_with(pathlib.Path('/'))
        self.assertEqual(
            '--root /: has no GPU: none of its PCI devices is one, of the '
            'classes 0300, 0302, 0380, 1200; the display of a management '
            'controller is none, nor a virtual one',
            line,
        )

    def test_bad_options(self):
        for argv in (
            ('--root', '/', '--from', 'x'),
            ('--root', ''),
            ('--from', ''),
        ):
            self.fails('gpu', 'node', 'show', *argv, status=2)

    def refused(self, *argv):
        line = self.fails('gpu', 'node', 'show', *argv)
        self.assertEqual(1, len(line.splitlines()), line)
        self.assertTrue(line.isprintable(), line)
        return line

    def test_bad_roots(self):
        self.assertIn(
            'has no folder sys/bus/pci/devices',
            self.refused('--root', str(self.folder / 'none')),
        )

    def test_bad_files(self):
        self.assertEqual(
            f'--from {self.folder}/none: No such file or directory',
            self.refused('--from', f'{self.folder}/none'),
        )
        self.assertEqual(
            '--from /: is a folder: use --root', self.refused('--from', '/')
        )
        for content, words in (
            (b'\x7fELF\x00\x1b[2J', 'is neither text of lspci nor'),
            ('\x1b]0;title\x07\n', 'has no line of lspci'),
            ('{"gpus": [}', 'is not JSON'),
            ('{"gpus": [7]}', 'gpus[0] has to be an object'),
            ('[' * 100000, 'nested too deep'),
            ('{"gpus": [], "\x1b[2J": 1}', 'is not JSON'),
            ('{"gpus": [], "\\u001b[2J": 1}', "has '\\x1b[2J', which"),
            ('{"gpus": []}', 'has no GPU'),
            ('00:1f.0 0601: 8086:8d44\n', 'has no GPU'),
            # It is of one of the classes.
            (
                '03:00.0 0300: 102b:0536\n',
                'the display of a management controller is none',
            ),
            # Times in the same text are none of its addresses.
            (
                '| server1 | 2017-10-01T06:19:29Z |\n00:06.0 3D controller: '
                'NVIDIA Corporation GP100GL [Tesla P100 PCIe 16GB] (rev a1)\n',
                'the PCI ids of 0000:00:06.0: give what "lspci -nnk -D"',
            ),
            ('04:00.0 0302: 10de:102d\n' * 2, 'has 0000:04:00.0 twice'),
        ):
            with self.subTest(content):
                self.assertIn(
                    words, self.refused('--from', self.file(content))
                )

    def test_standard_input(self):
        self.stdin = b'04:00.0 0302: 10de:102d\n'
        (row,) = self.rows('--from', '-')
        self.assertEqual('0000:04:00.0', row['Address'])
        self.stdin = b''
        self.assertIn('--from -: ', self.refused('--from', '-'))
        self.stdin = b'\0'
        self.assertIn('is neither text', self.refused('--from', '-'))

    def test_huge_file(self):
        path = self.file('')
        with open(path, 'wb') as file:
            file.truncate(100 << 20)
        self.assertIn('is larger than 16 MiB', self.refused('--from', path))

    def test_nothing_reaches_the_terminal(self):
        root = self.root('a100-sriov')
        for path in pathlib.Path(root).rglob('name'):
            path.write_text('GRID \x1b[31m\x07\n')
        text = self.show('--root', root)
        self.assertTrue(text.replace('\n', '').isprintable())
        self.assertIn('nvidia-697: 0 made', text)


class TestSeveral(TestCase):
    def read(self, *argv, several=True):
        parser = argparse.ArgumentParser()
        node_options.add_source_options(parser, several)
        return node_options.read_nodes(parser.parse_args(argv))

    def test_order(self):
        node = facts.read(pathlib.Path(self.root('k80')))
        path = self.file(records.as_text(node))
        nodes = self.read(
            '--from', path, '--root', self.root('p100'),
            '--root', self.root('mi300x'),
        )  # fmt: skip
        self.assertEqual(
            ['overcloud-compute-0', 'mi300x-1', 'sas03'],
            [node.hostname for node in nodes],
        )

    def test_last_of_one(self):
        (node,) = self.read(
            '--root', self.root('k80'), '--root', self.root('p100'),
            several=False,
        )  # fmt: skip
        self.assertEqual('overcloud-compute-0', node.hostname)

    def test_one_of_several_is_bad(self):
        with self.assertRaisesRegex(
            exceptions.CommandError, '^--root .*/none: has no folder'
        ):
            self.read(
                '--root', self.root('k80'), '--root', f'{self.folder}/none'
            )
