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

import json
import unittest

import hypothesis
from hypothesis import strategies as st

from osc_gpu.node import model
from osc_gpu.node import records
from tests.unit.node import strategies

FUNCTION = {
    'address': '0000:04:00.0',
    'vendor_id': '10de',
    'product_id': '1b80',
}


def node(**more):
    return {'gpus': [{'function': {**FUNCTION, **more}}]}


class TestRecords(unittest.TestCase):
    def refused(self, record):
        text = record if isinstance(record, str) else json.dumps(record)
        with self.assertRaises(ValueError) as caught:
            records.load(text)
        said = str(caught.exception)
        self.assertTrue(said.isprintable(), said)
        self.assertLess(len(said), 200)
        return said

    @hypothesis.settings(deadline=None)
    @hypothesis.given(strategies.NODES)
    def test_there_and_back(self, node):
        self.assertEqual(node, records.load(records.as_text(node)))
        self.assertEqual(node, records.load(records.as_text(node, None)))

    def test_what_is_not_there_is_not_known(self):
        self.assertEqual(
            model.Node(
                gpus=(
                    model.Gpu(model.Function('0000:04:00.0', '10de', '1b80')),
                )
            ),
            records.load(json.dumps(node())),
        )

    def test_not_json(self):
        for text in ('', '{', '{"gpus": [}', '{"gpus": 01}', 'NaN'):
            self.refused(text)
        self.assertIn('digits', self.refused('{"gpus": %s}' % ('9' * 5000)))

    def test_other_json(self):
        for record in ([], {}, 1, None, '"x"', {'GPUs': []}, [node()]):
            self.assertIn('gpu node show -f json', self.refused(record))

    def test_deep(self):
        for text in ('[' * 100000, '{"gpus":' * 100000):
            self.assertIn('nested too deep', self.refused(text))
        self.assertIn(
            'gpus[0] has to be an object, and is a list',
            self.refused('{"gpus": [%s]}' % ('[' * 500 + ']' * 500)),
        )

    def test_wrong_types(self):
        for record, words in (
            ({'gpus': {}}, 'gpus has to be a list, and is an object'),
            ({'gpus': None}, 'gpus has to be a list, and is None'),
            ({'gpus': [{}]}, 'gpus[0].function is missing'),
            (node(address=None), 'address has to be a text, and is None'),
            (node(vendor_id='zzzz'), "vendor_id cannot be 'zzzz'"),
            (node(vendor_id='10DE'), 'cannot be'),
            (node(vendor_id=4318), 'has to be a text, and is 4318'),
            (node(address='04:00.0'), 'cannot be'),
            (node(numa_node=True), '-1 or more, and is True'),
            (node(numa_node=-2), 'a whole number, -1 or more'),
            (node(numa_node=1.5), 'a whole number'),
            (node(numa_node=1 << 70), 'a whole number'),
            (node(driver='a b'), "driver cannot be 'a b'"),
            (node(driver='$(id)'), 'cannot be'),
            (node(modules='nouveau'), 'modules has to be a list'),
            (node(modules=['']), "modules[0] cannot be ''"),
            (node(iommu_group=3), 'iommu_group has to be a text'),
            ({**node(), 'has_iommu': 1}, 'has_iommu has to be true or false'),
            ({**node(), 'kernel': ['x']}, 'kernel has to be a text'),
            ({**node(), 'command_line': ['a\nb']}, 'has to be one line'),
            ({**node(), 'hostname': '\x1b[2J'}, 'cannot be'),
            ({**node(), 'cpu_vendor': '\ud800'}, 'has to be one line'),
            ({**node(), 'colour': 1}, "it has 'colour', which is not known"),
            (node(colour=1), 'gpus[0].function has '),
        ):
            with self.subTest(record):
                self.assertIn(words, self.refused(record))

    def test_nothing_large_is_repeated(self):
        self.assertIn("'xxxx", self.refused(node(address='x' * 100000)))
        self.refused({**node(), 'x' * 100000: 1})

    def test_twice(self):
        gpu = {'function': FUNCTION}
        self.assertIn(
            'has 0000:04:00.0 twice', self.refused({'gpus': [gpu, gpu]})
        )
        self.assertIn(
            'has 0000:04:00.0 twice',
            self.refused({'gpus': [{**gpu, 'vfs': [gpu]}]}),
        )

    @hypothesis.settings(deadline=None, max_examples=300)
    @hypothesis.given(st.data())
    def test_any_value_in_any_place(self, data):
        """A record with one value replaced is a node, or refused."""
        record = records.dump(data.draw(strategies.NODES))
        place = {'': record}
        key = ''
        while True:
            inner = place[key]
            keys = (
                list(inner)
                if isinstance(inner, dict)
                else list(range(len(inner)))
                if isinstance(inner, list)
                else []
            )
            if not keys or data.draw(st.booleans()):
                break
            place, key = inner, data.draw(st.sampled_from(keys))
        place[key] = data.draw(
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.text(),
                lambda inner: (
                    st.lists(inner) | st.dictionaries(st.text(), inner)
                ),
                max_leaves=4,
            )
        )
        try:
            found = records.load(json.dumps(record))
        except ValueError as exc:
            self.assertTrue(str(exc).isprintable(), exc)
        else:
            self.assertEqual(found, records.load(records.as_text(found)))
