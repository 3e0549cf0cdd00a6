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

import unittest

from osc_gpu.cloud import hidden_trees
from osc_gpu.cloud import placement

A100 = 'CUSTOM_PCI_10DE_20B5'


def provider(name: str, root: str, *classes: str) -> placement.Provider:
    """A provider whose UUID is its name, with one free of each class."""
    return placement.Provider(
        uuid=name,
        name=name,
        root_uuid=root,
        parent_uuid=None if name == root else root,
        resources={c: placement.Resource(1, 0) for c in classes},
    )


def named(*providers: placement.Provider) -> dict[str, placement.Provider]:
    return {p.uuid: p for p in providers}


class TestDevices(unittest.TestCase):
    names = named(
        provider('a', 'a'),
        provider('a_2', 'a'),
        provider('a_1', 'a'),
        provider('a:NIC Switch agent:eth0', 'a'),
        provider('blazar_a', 'a'),
        provider('b', 'b'),
        provider('b_1', 'b'),
        provider('lone', 'lone'),
        provider('orphan', 'gone'),
    )

    def devices(self, *shown: str, root: str | None = None) -> dict[str, list]:
        found = hidden_trees.devices(
            self.names, {s: self.names[s] for s in shown}, root
        )
        return {root: [p.name for p in ps] for root, ps in found.items()}

    def test_by_root_in_order_of_their_names(self) -> None:
        self.assertEqual({'a': ['a_1', 'a_2'], 'b': ['b_1']}, self.devices())

    def test_not_what_is_shown(self) -> None:
        self.assertEqual({'b': ['b_1']}, self.devices('a'))

    def test_of_one_tree(self) -> None:
        self.assertEqual({'b': ['b_1']}, self.devices(root='b'))

    def test_lone_roots(self) -> None:
        self.assertEqual({'lone'}, hidden_trees.lone_roots(self.names))


class TestClassesToTry(unittest.TestCase):
    def test_gpus_only_and_those_of_bare_metal_first(self) -> None:
        self.assertEqual(
            ['CUSTOM_A_GPU', 'CUSTOM_Z_GPU', A100, 'PGPU', 'VGPU'],
            hidden_trees.classes_to_try(
                ['VCPU', 'VGPU', 'PGPU', A100, 'CUSTOM_Z_GPU', 'CUSTOM_A_GPU',
                 'CUSTOM_GOLD', 'CUSTOM_PCI_15B3_1017'],
                {},
            ),
        )  # fmt: skip

    def test_not_what_is_seen(self) -> None:
        shown = named(provider('a_1', 'a', A100), provider('b_1', 'b', 'VGPU'))
        self.assertEqual(
            ['CUSTOM_GPU'],
            hidden_trees.classes_to_try(['VGPU', A100, 'CUSTOM_GPU'], shown),
        )

    def test_as_many_as_are_allowed(self) -> None:
        classes = [f'CUSTOM_GPU_{i}' for i in range(hidden_trees.MOST_CLASSES)]
        with self.assertNoLogs('osc_gpu', 'WARNING'):
            self.assertEqual(classes, hidden_trees.classes_to_try(classes, {}))
