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

import dataclasses
import unittest

from osc_gpu.node import uses
from tests.unit.node import nodes


class TestVgpuMode(unittest.TestCase):
    def test_what_a_driver_shows(self):
        """It is right, whatever the kernel is said to be."""
        for name, right in (
            ('a100-mig', uses.VGPU),
            ('l40s', uses.VFIO_VGPU),
        ):
            for kernel in ('5.15.0', '6.8.0', None):
                node = nodes.renamed(name, name, kernel=kernel)
                for gpu in node.gpus:
                    self.assertEqual(right, uses.vgpu_mode(node, gpu))

    def test_what_a_kernel_has(self):
        old, new = uses.VGPU, uses.VFIO_VGPU
        for kernel, distribution, right in (
            ('6.8.0-51-generic', 'ubuntu-24.04', new),
            ('6.12.0-55.9.1.el10_0.x86_64', 'rhel-10.0', new),
            ('6.8.0-51-generic', 'ubuntu-22.04', new),
            ('6.5.0-41-generic', 'ubuntu-22.04', old),
            ('5.14.0-503.el9.x86_64', 'rocky-9.5', old),
            ('6.8.0', None, new),
            ('5.15.0', None, old),
            (None, 'ubuntu-24.04', new),
            (None, 'ubuntu-26.04', new),
            (None, 'ubuntu-22.04', None),
            (None, 'rhel-10.0', new),
            (None, 'almalinux-9.4', old),
            (None, 'debian-13', None),
            (None, 'ubuntu-', None),
            (None, None, None),
            ('', '', None),
        ):
            with self.subTest(kernel=kernel, distribution=distribution):
                node = dataclasses.replace(
                    nodes.node('h100-domain1'),
                    kernel=kernel,
                    distribution=distribution,
                )
                self.assertEqual(right, uses.vgpu_mode(node, node.gpus[0]))

    def test_what_a_card_is(self):
        """Cards whose vGPUs are on no VF have mediated devices as ever."""
        for name, right in (
            ('t4-no-iommu', uses.VGPU),
            ('p100', uses.VGPU),
            ('mi300x', None),
        ):
            node = nodes.renamed(name, name, kernel='6.8.0')
            self.assertEqual(right, uses.vgpu_mode(node, node.gpus[0]))
