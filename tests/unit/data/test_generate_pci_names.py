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

import contextlib
import importlib.util
import io
import pathlib
import tempfile
import unittest
from unittest import mock

from tests.unit.data import test_pci_classes

TOOL = pathlib.Path(__file__).parents[3] / 'tools' / 'generate_pci_names.py'


class TestGenerate(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        spec = importlib.util.spec_from_file_location('generate', TOOL)
        self.tool = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.tool)
        patcher = mock.patch.object(self.tool, 'DATA', self.folder)
        patcher.start()
        self.addCleanup(patcher.stop)

    def generate(self, content: str) -> str:
        source = self.folder / 'pci.ids'
        source.write_text(content)
        with mock.patch('sys.argv', ['generate', str(source)]):
            self.assertEqual(0, self.tool.main())
        return (self.folder / 'pci_names.txt').read_text()

    def test_table(self) -> None:
        text = self.generate(test_pci_classes.SAMPLE)
        header = [line for line in text.splitlines() if line[0] == '#']
        self.assertIn('# Version: 2024.03.09', header)
        self.assertIn('tools/generate_pci_names.py', header[0])
        self.assertEqual(
            [
                '1002  Advanced Micro Devices, Inc. [AMD/ATI]',
                '\t74a1  Aqua Vanjaram [Instinct MI300X]',
                '10de  NVIDIA Corporation',
                '\t1db4  GV100GL [Tesla V100 PCIe 16GB]',
                '\t20b5  GA100 [A100 PCIe 80GB]',
            ],
            text.splitlines()[len(header) :],
        )
        self.assertTrue(text.endswith('\n'))

    def test_it_is_its_own_fixed_point(self) -> None:
        once = self.generate(test_pci_classes.SAMPLE)
        self.assertEqual(once, self.generate(once))

    def test_notice(self) -> None:
        self.generate(test_pci_classes.SAMPLE)
        notice = (self.folder / 'NOTICE').read_text()
        self.assertIn('Martin Mares and Albert Pool', notice)
        self.assertIn('2024.03.09', notice)
        self.assertIn('Redistribution and use', notice)

    def test_not_a_pci_ids_file(self) -> None:
        with contextlib.redirect_stderr(io.StringIO()) as stderr:
            with self.assertRaises(SystemExit):
                self.generate('hello\n')
        self.assertIn('no version line', stderr.getvalue())
        self.assertFalse((self.folder / 'pci_names.txt').exists())

    def test_shipped_table_is_what_the_tool_writes(self) -> None:
        shipped = TOOL.parents[1] / 'osc_gpu' / 'data' / 'pci_names.txt'
        text = shipped.read_text(encoding='utf-8')
        self.assertEqual(text, self.generate(text))
