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


"""Nova's own code reads what was converted; no sandbox has to run for it."""

import json
import pathlib
import subprocess
import tempfile
import unittest

from osc_gpu.node import conversion
from osc_gpu.sandbox import progress
from osc_gpu.sandbox import releases
from tests.functional import base
from tests.unit.node import test_nova_refusals

READER = pathlib.Path(__file__).with_name('nova_reads.py')
REFUSER = READER.with_name('nova_refuses.py')

OLD = """\
[DEFAULT]
pci_passthrough_whitelist = {"vendor_id": "10de", "product_id": "1b80"}
pci_alias = {"vendor_id": "10de", "product_id": "1b80", "name": "nvidia"}
pci_alias = {\\"vendor_id\\": \\"10de\\", \\"product_id\\": \\"102d\\", \
\\"name\\": \\"K80\\", \\"device_type\\": \\"type-PCI\\"}
scheduler_default_filters = RetryFilter,AvailabilityZoneFilter,RamFilter,\
ComputeFilter,AggregateCoreFilter,DiskFilter,PciPassthroughFilter
[devices]
enabled_vgpu_types = nvidia-35
[vgpu_nvidia-35]
device_addresses = 0000:84:00.0
"""


class TestNovaReads(unittest.TestCase):
    def read(self, release):
        place = releases.ensure(release, progress.Progress())
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, 'nova.conf')
            path.write_text(conversion.convert(OLD).text)
            done = subprocess.run(
                [str(place.python), str(READER), str(path)],
                capture_output=True,
                text=True,
                timeout=base.LIMIT,
            )
        self.assertEqual(0, done.returncode, done.stderr)
        # Of what is converted nothing has an old name.
        self.assertNotIn('Deprecated: Option', done.stderr)
        return json.loads(done.stdout)

    def check(self, release):
        found = self.read(release)
        self.assertEqual(
            ['ComputeFilter', 'PciPassthroughFilter'], found['filters']
        )
        self.assertEqual({'nvidia', 'K80'}, set(found['aliases']))
        self.assertEqual(
            [('10de', '1b80')],
            [(s['vendor_id'], s['product_id']) for s in found['specs']],
        )
        self.assertEqual(
            ['0000:84:00.0'], found['mdevs']['nvidia-35']['addresses']
        )

    def test_oldest(self):
        self.check('2025.1')

    def test_newest(self):
        self.check('2026.2')


class TestNovaRefuses(unittest.TestCase):
    """What is said of values is what Nova does with them."""

    def check(self, release):
        place = releases.ensure(release, progress.Progress())
        cases = {
            'aliases': (
                test_nova_refusals.GOOD_ALIASES,
                test_nova_refusals.BAD_ALIASES,
            ),
            'specs': (
                test_nova_refusals.GOOD_SPECS,
                test_nova_refusals.BAD_SPECS,
            ),
        }
        whole = {'name': 'a', **test_nova_refusals.IDS}
        asked = {
            'aliases': [
                *(whole | more for more in cases['aliases'][0]),
                *(whole | more for more, _said in cases['aliases'][1]),
            ],
            'specs': [
                *cases['specs'][0],
                *(spec for spec, _said in cases['specs'][1]),
            ],
        }
        done = subprocess.run(
            [str(place.python), str(REFUSER)],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=base.LIMIT,
        )
        self.assertEqual(0, done.returncode, done.stderr)
        for what, answers in json.loads(done.stdout).items():
            good = len(cases[what][0])
            for number, (value, why) in enumerate(
                zip(asked[what], answers, strict=True)
            ):
                with self.subTest(f"{value}: {why}"):
                    self.assertEqual(number >= good, why is not None)

    def test_oldest(self):
        self.check('2025.1')

    def test_newest(self):
        self.check('2026.2')
