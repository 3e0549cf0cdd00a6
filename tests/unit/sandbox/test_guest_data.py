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


import base64
import gzip
import unittest

from osc_gpu.sandbox import guest_data


def types(content: bytes) -> list[str]:
    return [part.type for part in guest_data.parts(content)]


def merged(*texts: str) -> guest_data.Config:
    """Return what some parts of cloud-config are together."""
    return guest_data.config(
        guest_data.Part(guest_data.CONFIG, f'part-{number}', text.encode())
        for number, text in enumerate(texts)
    )


class TestParts(unittest.TestCase):
    def test_by_their_beginning(self) -> None:
        for text, expected in (
            ('#!/bin/sh', 'text/x-shellscript'),
            ('#cloud-config\n', 'text/cloud-config'),
            ('\n #CLOUD-CONFIG\n', 'text/cloud-config'),
            ('#cloud-config-jsonp', 'text/cloud-config-jsonp'),
            ('#cloud-boothook', 'text/cloud-boothook'),
            ('#include', 'text/x-include-url'),
            ('#include-once', 'text/x-include-once-url'),
            ('#part-handler', 'text/part-handler'),
            ('## template: jinja\n#cloud-config', 'text/jinja2'),
            ('hello', 'text/x-not-multipart'),
        ):
            with self.subTest(text):
                self.assertEqual([expected], types(text.encode()))
                packed = gzip.compress(text.encode())
                self.assertEqual([expected], types(packed))

    def test_none(self) -> None:
        self.assertEqual((), guest_data.parts(b''))

    def test_of_a_message(self) -> None:
        packed = base64.encodebytes(gzip.compress(b'#!/bin/sh\n')).decode()
        content = (
            'Content-Type: multipart/mixed; boundary=B\n'
            'MIME-Version: 1.0\n\n'
            '--B\nContent-Type: text/cloud-config\n'
            'Merge-Type: list(append)\n\nruncmd: [x]\n'
            '--B\nContent-Type: application/x-gzip\n'
            'Content-Disposition: attachment; filename="a.gz"\n'
            f'Content-Transfer-Encoding: base64\n\n{packed}\n'
            '--B\n\n#cloud-config\n'
            '--B--\n'
        )
        self.assertEqual(
            (
                guest_data.Part('text/cloud-config', 'part-001',
                                b'runcmd: [x]', 'list(append)'),
                guest_data.Part('text/x-shellscript', 'a.gz',
                                b'#!/bin/sh\n'),
                guest_data.Part('text/cloud-config', 'part-003',
                                b'#cloud-config'),
            ),
            guest_data.parts(content.encode()),
        )  # fmt: skip

    def test_broken(self) -> None:
        for content in (
            gzip.compress(b'#!/bin/sh\n' * 99)[:-9],
            b'\x1f\x8b\x00\x00',
            b'MIME-Version: 1.0\n\n\xff',
        ):
            with self.assertRaises(ValueError):
                guest_data.parts(content)

    def test_archive(self) -> None:
        content = b"""#cloud-config-archive
- {type: text/x-shellscript, filename: a, content: echo}
- "#!/bin/sh"
- {content: 'packages: [x]'}
- 3
"""
        self.assertEqual(
            [('text/x-shellscript', 'a'), ('text/x-shellscript', 'part-002'),
             ('text/cloud-config', 'part-003')],
            [(p.type, p.filename) for p in guest_data.parts(content)],
        )  # fmt: skip
        self.assertEqual([], types(b'#cloud-config-archive\n[x'))


class TestConfig(unittest.TestCase):
    def test_the_later_one_replaces(self) -> None:
        config = merged(
            'runcmd: [a, b]\nx: {y: 1, z: 2}', 'runcmd: [c]\nx: {y: 3}'
        )
        self.assertEqual(['c'], config.list('runcmd'))
        self.assertEqual({'y': 3}, config.values['x'])
        self.assertEqual([], config.list('write_files'))

    def test_added(self) -> None:
        for how, expected in (
            ('dict(recurse_list)+list(append)', ['a', 'b', 'c']),
            ('dict(recurse_array)+list(prepend)', ['c', 'a', 'b']),
            ('dict(recurse_list)+list()', ['c', 'b']),
            ('dict(recurse-list)+list(no_replace)', ['a', 'b']),
            ('dict()+list(append)', ['a', 'b']),
            ('list(append)', ['a', 'b']),
        ):
            with self.subTest(how):
                config = merged(
                    'runcmd: [a, b]', f'merge_how: {how}\nruncmd: [c]'
                )
                self.assertEqual(expected, config.list('runcmd'))

    def test_deep(self) -> None:
        how = (
            'merge_type: [{name: dict, settings: [recurse_str, allow_delete]},'
            ' {name: str, settings: [append]}]\n'
        )
        config = merged('a: {b: x, c: 1, d: 2}', how + 'a: {b: y, c: null}')
        self.assertEqual({'a': {'b': 'xy', 'd': 2}}, config.values)
        how = 'merge_how: dict(recurse_list)+list(recurse_dict)\n'
        config = merged('a: [{b: 1}, 2]', how + 'a: [{c: 3}, 4, 5]')
        self.assertEqual([{'b': 1, 'c': 3}, 4], config.values['a'])

    def test_what_nothing_is_added_to(self) -> None:
        # As in cloud-init: it takes an empty key for a value, not a list.
        how = 'merge_how: dict(recurse_list)+list(append)\n'
        config = merged('runcmd:', how + 'runcmd: [a]')
        self.assertIsNone(config.values['runcmd'])

    def test_ignored(self) -> None:
        config = merged('a: [', 'b: 1', '- c', '', 'merge_how: 7\nd: 1')
        self.assertEqual({'b': 1}, config.values)
        self.assertEqual(
            ('part-0', 'part-2', 'part-3', 'part-4'), config.ignored
        )

    def test_header(self) -> None:
        parts = [
            guest_data.Part(guest_data.CONFIG, 'a', b'x: [1]'),
            guest_data.Part(guest_data.CONFIG, 'b', b'x: [2]',
                            'dict(recurse_list)+list(append)'),
        ]  # fmt: skip
        self.assertEqual({'x': [1, 2]}, guest_data.config(parts).values)


class TestFile(unittest.TestCase):
    def test_encodings(self) -> None:
        text = 'a\u00e4\n'.encode()
        packed = gzip.compress(text)
        for entry, expected in (
            ({'content': 'a\u00e4\n'}, text),
            ({'content': base64.b64encode(text).decode(),
              'encoding': 'b64'}, text),
            ({'content': base64.b64encode(packed).decode(),
              'encoding': 'gz+base64'}, text),
            ({'content': packed, 'encoding': 'gzip'}, text),
            ({'content': None}, b''),
            ({}, b''),
        ):  # fmt: skip
            self.assertEqual(expected, guest_data.file_content(entry))

    def test_broken(self) -> None:
        with self.assertRaises(ValueError):
            guest_data.file_content({'content': 'a', 'encoding': 'b64'})
