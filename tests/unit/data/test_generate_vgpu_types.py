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

TOOL = pathlib.Path(__file__).parents[3] / 'tools' / 'generate_vgpu_types.py'

VGPUS = """\
version: v1
vgpu-configs:
    A100D-40C:
        - devices: all
          vgpu-devices:
            A100D-40C: 2
    A100D-2-20C:
        - devices: all
          vgpu-devices:
            A100D-2-20C: 3
    A2-16C:
        - devices: all
          vgpu-devices:
            A2-16C: 1
    default:
        - device-filter: ["0x20B510DE", "0x20B810DE"]
          devices: all
          vgpu-devices:
            A100D-40C: 2
"""
MIGS = """\
version: v1
mig-configs:
  all-disabled:
    - devices: all
      mig-enabled: false

  # A100-80GB, A100-40GB
  all-1g.10gb:
    # A100-80GB
    - device-filter: ["0x20B510DE"]
      devices: all
      mig-devices:
        "1g.10gb": 7

    # A100-40GB
    - device-filter: ["0x20B010DE"]
      devices: all
      mig-devices:
        "1g.10gb": 4

  # A100-80GB
  all-2g.20gb:
    - devices: all
      mig-devices:
        "2g.20gb": 3

  # A30-24GB
  all-1g.6gb.me:
    - devices: all
      mig-devices:
        "1g.6gb+me": 1

  # A100-80GB, A30-24GB
  all-balanced:
    # A30-24GB
    - device-filter: "0x20B710DE"
      devices: all
      mig-devices:
        "1g.6gb": 2
        "2g.12gb": 1
    # A100-80GB
    - device-filter: ["0x20B510DE"]
      devices: all
      mig-devices:
        "1g.10gb": 2
        "2g.20gb": 1
"""


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

    def generate(self, vgpus: str, migs: str) -> dict[str, list[str]]:
        paths = [self.folder / 'vgpus.yaml', self.folder / 'migs.yaml']
        for path, text in zip(paths, (vgpus, migs), strict=True):
            path.write_text(text)
        with mock.patch('sys.argv', ['generate', *map(str, paths)]):
            self.assertEqual(0, self.tool.main())
        return {
            path.name: [
                line
                for line in path.read_text().splitlines()
                if line[:1] != '#'
            ]
            for path in self.folder.glob('*.txt')
        }

    def test_tables(self) -> None:
        self.assertEqual(
            {
                'vgpu_types.txt': [
                    'A100D  20b5  20b8',
                    '\t40C  2',
                    '\t2-20C  3',
                    'A2',
                    '\t16C  1',
                ],
                'mig_profiles.txt': [
                    '20b0',
                    '\t1g.10gb  4',
                    '20b5',
                    '\t1g.10gb  7',
                    '\t2g.20gb  3',
                    '20b7',
                ],
            },
            self.generate(VGPUS, MIGS),
        )

    def test_headers(self) -> None:
        self.generate(VGPUS, MIGS)
        for path in self.folder.glob('*.txt'):
            first = path.read_text().splitlines()[0]
            self.assertIn('tools/generate_vgpu_types.py', first)

    def test_other_files(self) -> None:
        for vgpus, migs, words in (
            ('a: b\n', MIGS, 'no vgpu-configs'),
            (VGPUS, 'a: b\n', 'no mig-configs'),
        ):
            with contextlib.redirect_stderr(io.StringIO()) as stderr:
                with self.assertRaises(SystemExit):
                    self.generate(vgpus, migs)
            self.assertIn(words, stderr.getvalue())
            self.assertEqual([], list(self.folder.glob('*.txt')))

    def test_shipped_tables_are_noted(self) -> None:
        data = TOOL.parents[1] / 'osc_gpu' / 'data'
        notice = ' '.join((data / 'NOTICE').read_text().split())
        for name in ('vgpu_types.txt', 'mig_profiles.txt'):
            self.assertIn(name, notice)
            self.assertTrue((data / name).is_file())
        self.assertIn('Apache License, Version 2.0', notice)
