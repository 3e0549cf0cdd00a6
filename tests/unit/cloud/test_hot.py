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

import hypothesis
from hypothesis import strategies as st
from osc_lib import exceptions
import yaml

from osc_gpu.cloud import hot

#: Everything that UTF-8 can hold.
TEXT = st.text(st.characters(exclude_categories=['Cs']))


#: Heat reads with libyaml where it is there.
LOADERS = (yaml.SafeLoader, getattr(yaml, 'CSafeLoader', yaml.SafeLoader))


class TestDump(unittest.TestCase):
    def assertComesBack(self, snippet):
        text = hot.dump(snippet)
        for loader in LOADERS:
            self.assertEqual(snippet, yaml.load(text, Loader=loader))

    @hypothesis.given(TEXT)
    def test_text_comes_back(self, text):
        self.assertComesBack({'a': text, 'b': [text], text: 'c'})

    @hypothesis.given(st.text('\n \t\r#:-|>{}"\'%&*!é\u2028\x85\ufeff'))
    def test_text_that_yaml_has_a_use_for(self, text):
        self.assertComesBack({'a': text})

    def test_what_looks_like_something_else(self):
        for text in (
            '{get_param: x}',
            '!!python/object:os.system',
            '*anchor',
            '&anchor x',
            '2018-08-31',
            'null',
            'yes',
            '~',
            '1e3',
            '0x10',
            '$(reboot)',
            "a'b\"c",
            '',
            '- a',
            'a: b',
            '<<',
        ):
            with self.subTest(text):
                self.assertComesBack({'a': text})

    def test_script_stands_as_it_is(self):
        script = '#!/bin/sh\necho "$1" \'$2\'\n\nexit 0\n'
        self.assertEqual(
            'config: |\n  #!/bin/sh\n  echo "$1" \'$2\'\n\n  exit 0\n',
            hot.dump({'config': script}),
        )

    def test_call_in_one_line(self):
        self.assertEqual(
            'a: {get_param: b}\nc:\n- {get_resource: d}\n',
            hot.dump({'a': hot.parameter('b'), 'c': [hot.resource('d')]}),
        )

    def test_same_thing_twice(self):
        thing = {'x': ['y']}
        self.assertEqual(
            'a:\n  x:\n  - y\nb:\n  x:\n  - y\n',
            hot.dump({'a': thing, 'b': thing}),
        )

    def test_bytes_of_no_encoding(self):
        with self.assertRaises(exceptions.CommandError) as caught:
            hot.dump({'a': 'b\udcff'})
        self.assertEqual(
            "'b\\udcff' is not UTF-8, and a template is",
            str(caught.exception),
        )
