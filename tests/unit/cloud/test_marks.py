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

from hypothesis import given
from hypothesis import strategies as st

from osc_gpu.cloud import marks

HEX = st.text('0123456789abcdef', min_size=1, max_size=12)
DIGEST = st.just('') | HEX


class TestDigest(unittest.TestCase):
    def test_is_what_nova_shows(self) -> None:
        # nova.api.openstack.common.ViewBuilder: sha224 of project and host.
        self.assertEqual('18ca77eb931c', marks.digest('c' * 32, 'gpu1'))

    def test_of_no_host(self) -> None:
        self.assertEqual('', marks.digest('c' * 32, ''))
        self.assertEqual('', marks.short(''))

    def test_odd_names(self) -> None:
        names = (
            'gpu1',
            'GPU1',
            'gpu1.example.org',
            'gpü1',
            'gpu 1',
            '1' * 255,
        )
        found = {marks.digest('p', name) for name in names}
        self.assertEqual(len(names), len(found))
        self.assertEqual({12}, {len(digest) for digest in found})

    def test_projects_differ(self) -> None:
        self.assertNotEqual(
            marks.digest('a' * 32, 'gpu1'), marks.digest('b' * 32, 'gpu1')
        )


class TestMove(unittest.TestCase):
    @given(st.sampled_from([marks.MIGRATE, marks.RETURN]), HEX, DIGEST, DIGEST)
    def test_round_trip(
        self, verb: str, run: str, source: str, home: str
    ) -> None:
        move = marks.Move(verb, run, source, home)
        text = marks.write_move(move)
        self.assertEqual(move, marks.read_move(text))
        self.assertTrue(marks.is_ours(text))

    def test_tenants_read_no_host(self) -> None:
        source = marks.digest('p' * 32, 'gpu1')
        text = marks.write_move(marks.Move(marks.MIGRATE, 'abc', source))
        self.assertNotIn('gpu1', text)
        self.assertEqual(
            f'osc-gpu migrate run abc from {source}: an operator moves this '
            'server to another host',
            text,
        )

    def test_nova_takes_its_length(self) -> None:
        move = marks.Move(marks.MIGRATE, marks.new_run(), 'a' * 12, 'b' * 12)
        self.assertLess(len(marks.write_move(move)), marks.LONGEST)

    def test_what_follows_is_words(self) -> None:
        # They are translated, and may change.
        for words in (': et cetera', ': from 123 to 456', ''):
            with self.subTest(words):
                self.assertEqual(
                    marks.Move(marks.RETURN, '0f', 'ab', 'cd'),
                    marks.read_move(
                        f'osc-gpu return run 0f from ab to cd{words}'
                    ),
                )

    def test_not_ours(self) -> None:
        for text in (
            '',
            'maintenance',
            'osc-gpu',
            'osc-gpu migrate',
            'osc-gpu migrate run abc',
            'osc-gpu migrate run abc from gpu1: x',
            'osc-gpu migrate run abc from ab to gpu1: x',
            'osc-gpu migrate run xyz from ab: x',
            'osc-gpu migrate run  from ab: x',
            'osc-gpu migrate run ABC from ab: x',
            'osc-gpu migrate run abc from abx',
            'osc-gpu migrate run abc from ab, please',
            'osc-gpu migrate run abc from ab to : x',
            'osc-gpu drain run abc from ab: x',
            'osc-gpu moves run abc from ab: x',
            ' osc-gpu migrate run abc from ab: x',
            'Osc-gpu migrate run abc from ab: x',
            'see osc-gpu migrate run abc from ab: x',
            'osc-gpu\nmigrate run abc from ab: x',
            'osc-gpu migrate run \u0661\u0662 from ab: x',
            'osc-gpu:abc:gpu1\u2192gpu2',
        ):
            with self.subTest(text):
                self.assertIsNone(marks.read_move(text))
                self.assertFalse(marks.is_ours(text))

    @given(st.text(max_size=300))
    def test_anything(self, text: str) -> None:
        move = marks.read_move(text)
        if move is not None:
            self.assertTrue(text.startswith('osc-gpu '), text)


class TestDrain(unittest.TestCase):
    @given(
        HEX,
        st.datetimes(),
        st.text(max_size=200),
        st.none() | st.sampled_from(('', '; was disabled: x')) | st.text(),
    )
    def test_round_trip(
        self, run: str, since: object, text: str, was: str | None
    ) -> None:
        drain = marks.Drain(run, f'{since:%Y-%m-%dT%H:%M:%SZ}', text, was)
        self.assertEqual(drain, marks.read_drain(marks.write_drain(drain)))

    def test_words(self) -> None:
        drain = marks.Drain('abc', '2026-11-21T05:00:00Z', 'new RAM: 2 TB')
        text = 'osc-gpu drain run abc since 2026-11-21T05:00:00Z'
        self.assertEqual(f'{text}: new RAM: 2 TB', marks.write_drain(drain))
        self.assertEqual(text, marks.write_drain(drain._replace(text='')))
        self.assertEqual(
            f'{text}: new RAM: 2 TB; was disabled: bad fan',
            marks.write_drain(drain._replace(was='bad fan')),
        )

    def test_not_ours(self) -> None:
        for text in (
            '',
            'broken fan',
            'osc-gpu drain',
            'osc-gpu drain run abc',
            'osc-gpu drain run abc since ',
            'osc-gpu drain run gpu1 since 2026-11-21T05:00:00Z',
            'osc-gpu drain run abc since 2026-11-21T05:00:00Z and so on',
            ' osc-gpu drain run abc since 2026-11-21T05:00:00Z',
            'osc-gpu migrate run abc from ab: x',
        ):
            with self.subTest(text):
                self.assertIsNone(marks.read_drain(text))

    @given(st.text(max_size=300))
    def test_anything(self, text: str) -> None:
        marks.read_drain(text)
        self.assertIsNotNone(
            marks.read_drain(f'osc-gpu drain run 0 since x: {text}')
        )


class TestRun(unittest.TestCase):
    def test_is_in_the_grammar(self) -> None:
        runs = {marks.new_run() for _n in range(20)}
        self.assertGreater(len(runs), 15)
        for run in runs:
            text = marks.write_move(marks.Move(marks.MIGRATE, run, 'ab'))
            self.assertTrue(marks.is_ours(text))
