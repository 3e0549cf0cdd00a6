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

"""What tools are given, beside what they were when somebody last read it.

With ``OSC_GPU_GOLDEN=write`` in the environment the files are written anew.
"""

import os
import pathlib
import unittest

from osc_gpu.node import configs
from tests.unit.node import nodes

GOLDEN = pathlib.Path(__file__).with_name('golden')

#: name -> (tool, machines, aliases, vGPU types, release): what the users' own
#: documents configure, then and today, and what is newer than they are.
CASES = {
    'k80-devstack-ocata': ('devstack', ['k80'], ['K80'], (), 'ocata'),
    'k80-devstack': ('devstack', ['k80'], ['K80'], (), '2026.2'),
    'p100-tripleo-ocata': ('tripleo', ['p100'], ['a1', 'a2'], (), 'ocata'),
    'p100-tripleo': ('tripleo', ['p100'], ['a1', 'a2'], (), 'wallaby'),
    'a100-tripleo': (
        'tripleo',
        ['a100-mig'],
        (),
        nodes.KAYOBE_VGPUS,
        'wallaby',
    ),
    'a100-kayobe': ('kayobe', ['a100-mig'], (), nodes.KAYOBE_VGPUS, '2026.2'),
    'a100-kayobe-new': (
        'kayobe',
        ['a100-sriov'],
        (),
        ['nvidia-696'],
        '2026.2',
    ),
    'rtx6000-kayobe': ('kayobe', ['rtx6000'], ['rtx'], (), '2026.2'),
    'rtx6000-kolla-ansible': (
        'kolla-ansible',
        ['rtx6000', 'gtx1080'],
        ['rtx=10de:1e30', 'audio=10de:10f7', 'nvidia=10de:1b80'],
        (),
        '2026.2',
    ),
    'gtx1080-nova-ocata': ('nova', ['gtx1080'], ['nvidia'], (), 'ocata'),
    'gtx1080-nova': ('nova', ['gtx1080'], ['nvidia'], (), '2026.2'),
    'gtx1080-nova-yoga': (
        'nova',
        ['gtx1080'],
        ['nvidia', 'audio=10de:10f0'],
        (),
        'yoga',
    ),
    'a100-nova': ('nova', ['a100-mig'], (), nodes.KAYOBE_VGPUS, '2026.2'),
    'a100-nova-wallaby': (
        'nova',
        ['a100-mig'],
        (),
        nodes.KAYOBE_VGPUS,
        'wallaby',
    ),
    'a100-kolla-ansible': (
        'kolla-ansible',
        ['a100-sriov', 'mi300x'],
        ['a100', 'mi300x'],
        ['A100D-40C=0000:17:00.0'],
        '2026.2',
    ),
    'l40s-nova': ('nova', ['l40s'], (), ['L40S-24Q'], '2025.1'),
}


def shown(name):
    """Return the files of a case as one text."""
    tool, machines, aliases, vgpus, release = CASES[name]
    asked = nodes.match(machines, aliases, vgpus, release)
    return '\n'.join(
        f'### {file.path} | {file.reader} | {" ".join(file.hosts)}\n'
        f'{file.text}'
        for file in configs.files(tool, asked)
    )


class TestGolden(unittest.TestCase):
    def test_every_case(self):
        self.maxDiff = None
        names = set()
        for name in CASES:
            with self.subTest(name):
                path = GOLDEN / f'{name}.txt'
                names.add(path.name)
                text = shown(name)
                if os.environ.get('OSC_GPU_GOLDEN') == 'write':
                    path.parent.mkdir(exist_ok=True)
                    path.write_text(text)
                self.assertEqual(path.read_text(), text)
        self.assertEqual(names, {path.name for path in GOLDEN.iterdir()})
