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


"""What units run, on a /sys that is made of plain files."""

import os
import pathlib
import subprocess
import tempfile
import unittest

from osc_gpu.node import host_units

ADDRESS = '0000:17:00.0'
UUID = '0b283e1b-b561-5a2a-bfca-557450ca3eae'

#: Stand-ins: each writes down how it was called.
_CALLED = '#!/bin/bash\necho "${0##*/} $*" >> "$CALLS"\n'
_PROGRAMS = {
    'modprobe': '',
    'mdevctl': '',
    'sriov-manage': 'echo 16 > "$CARD/sriov_numvfs"\n'
    'ln -s ../vf0 "$CARD/virtfn0"\n',
    'nvidia-smi': 'case $* in\n'
    '*-lgi) [ -e "$STATE/parts" ] && echo "| 0 MIG 2g.20gb 14 1 4:2 |" ||\n'
    '    exit 6 ;;\n'
    '*-cgi*) touch "$STATE/parts" ;;\n'
    '*query*) cat "$STATE/mode" ;;\n'
    '*-mig*) [ -e "$STATE/busy" ] || echo Enabled > "$STATE/mode" ;;\n'
    'esac\n',
}


class TestCase(unittest.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.root = pathlib.Path(folder)
        self.card = self.root / 'bus/pci/devices' / ADDRESS
        self.vf = self.card.parent / 'vf0'
        programs = self.root / 'bin'
        for path in (self.card, self.vf, programs):
            path.mkdir(parents=True)
        for name, text in _PROGRAMS.items():
            (programs / name).write_text(_CALLED + text)
            (programs / name).chmod(0o755)
        self.env = {
            'PATH': f'{programs}:{os.environ["PATH"]}',
            'SYS': str(self.root),
            'PCI': str(self.root / 'bus/pci'),
            'CARD': str(self.card),
            'STATE': str(self.root),
            'CALLS': str(self.root / 'calls'),
            'SRIOV_MANAGE': str(programs / 'sriov-manage'),
            'PATIENCE': '1',
        }
        self.write(self.root / 'mode', 'Disabled')

    def write(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{text}\n')

    def run_script(self, name, *argv):
        path = self.root / name
        path.write_text(host_units._script(name))
        calls = self.root / 'calls'
        calls.write_text('')
        done = subprocess.run(
            ['bash', str(path), *argv],
            env=self.env,
            capture_output=True,
            text=True,
        )
        return (
            done.returncode,
            [
                line
                for line in calls.read_text().splitlines()
                if 'query' not in line
            ],
            done.stderr.strip(),
        )


class TestDivide(TestCase):
    def divide(self, step, *argv):
        return self.run_script('divide.sh', step, ADDRESS, *argv)

    def test_mig(self):
        self.assertEqual(
            (0, [f'nvidia-smi -i {ADDRESS} -mig 1'], ''), self.divide('mig')
        )
        self.assertEqual((0, [], ''), self.divide('mig'))

    def test_mig_waits_for_a_reset(self):
        (self.root / 'busy').touch()
        status, _calls, said = self.divide('mig')
        self.assertEqual(1, status)
        self.assertIn(f'{ADDRESS} has MIG only after a reset', said)

    def test_vfs(self):
        self.write(self.card / 'sriov_numvfs', '0')
        self.assertEqual(
            (0, [f'sriov-manage -e {ADDRESS}'], ''), self.divide('vfs')
        )
        self.assertEqual((0, [], ''), self.divide('vfs'))

    def test_no_vfs(self):
        status, _calls, said = self.divide('vfs')
        self.assertEqual(1, status)
        self.assertIn('sriov_numvfs is not there after 1 seconds', said)

    def test_parts(self):
        status, calls, _said = self.divide('parts', '2g.20gb,1g.10gb')
        self.assertEqual(0, status)
        self.assertEqual(
            f'nvidia-smi mig -i {ADDRESS} -cgi 2g.20gb,1g.10gb', calls[-1]
        )
        status, calls, _said = self.divide('parts', '2g.20gb,1g.10gb')
        self.assertEqual(
            (0, [f'nvidia-smi mig -i {ADDRESS} -lgi']), (status, calls)
        )

    def test_mdev(self):
        (self.card / 'virtfn0').symlink_to('../vf0')
        (self.vf / 'mdev_supported_types/nvidia-700').mkdir(parents=True)
        self.assertEqual(
            (
                0,
                [
                    f'mdevctl start --uuid {UUID} --parent vf0 '
                    '--type nvidia-700'
                ],
                '',
            ),
            self.divide('mdev', '0', 'nvidia-700', UUID),
        )
        (self.root / 'bus/mdev/devices' / UUID).mkdir(parents=True)
        self.assertEqual(
            (0, [], ''), self.divide('mdev', '0', 'nvidia-700', UUID)
        )

    def test_vfio(self):
        current = self.card / 'nvidia/current_vgpu_type'
        self.write(current, '0')
        self.assertEqual((0, [], ''), self.divide('vfio', '-', '1155'))
        self.assertEqual('1155\n', current.read_text())
        current.chmod(0o444)
        self.assertEqual((0, [], ''), self.divide('vfio', '-', '1155'))

    def test_no_such_vf(self):
        status, _calls, said = self.divide('vfio', '3', '1155')
        self.assertEqual(1, status)
        self.assertIn('virtfn3 is not there', said)

    def test_no_such_step(self):
        self.assertEqual(1, self.divide('what')[0])


class TestVfio(TestCase):
    def setUp(self):
        super().setUp()
        self.write(self.card / 'vendor', '0x10de')
        self.write(self.card / 'device', '0x20b5')

    def give(self, ids='10de:20b5'):
        return self.run_script('vfio.sh', f'{ADDRESS}={ids}')

    def written(self, name):
        path = self.root / 'bus/pci' / name
        return path.read_text().strip() if path.exists() else None

    def test_bound_to_another(self):
        driver = self.root / 'bus/pci/drivers/nvidia'
        driver.mkdir(parents=True)
        (self.card / 'driver').symlink_to(driver)
        self.assertEqual((0, ['modprobe vfio-pci'], ''), self.give())
        self.assertEqual(
            'vfio-pci', self.written(f'devices/{ADDRESS}/driver_override')
        )
        self.assertEqual(ADDRESS, self.written('drivers/nvidia/unbind'))
        self.assertEqual(ADDRESS, self.written('drivers_probe'))

    def test_bound_to_none(self):
        self.assertEqual(0, self.give()[0])
        self.assertEqual(ADDRESS, self.written('drivers_probe'))

    def test_done_already(self):
        driver = self.root / 'bus/pci/drivers/vfio-pci'
        driver.mkdir(parents=True)
        (self.card / 'driver').symlink_to(driver)
        self.assertEqual(0, self.give()[0])
        self.assertIsNone(self.written('drivers_probe'))

    def test_another_card_is_there(self):
        for ids in ('10de:20b7', '8086:20b5'):
            status, _calls, said = self.give(ids)
            self.assertEqual(1, status)
            self.assertIn(f'there is no {ids} at {ADDRESS}', said)
            self.assertIsNone(self.written('drivers_probe'))
