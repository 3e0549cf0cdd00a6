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
import json
import unittest

import hypothesis
from hypothesis import strategies

from osc_gpu.guest import tokens


NOW = 1_800_000_000.0


def encoded(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b'=')


def token(header=None, size=256, **claims):
    """Return a token whose signature has so many bytes."""
    claims = {'iss': 'NLS Service Instance', 'exp': NOW + 86400} | claims
    header = encoded(header or {'alg': 'RS256'})
    signature = encoded(bytes(n % 256 for n in range(size)))
    return b'.'.join((header, encoded(claims), signature))


class TestCheck(unittest.TestCase):
    def refused(self, words, content):
        with self.assertRaises(ValueError) as caught:
            tokens.check(content, NOW)
        self.assertIn(words, str(caught.exception))
        self.assertNotIn('\n', str(caught.exception))
        return str(caught.exception)

    def test_right(self):
        for found in (token(), token(nbf=NOW)):
            for end in (b'', b'\n', b'\r\n', b'\n\n'):
                self.assertEqual(
                    found.decode(), tokens.check(found + end, NOW)
                )

    def test_it_need_not_expire(self):
        parts = (encoded({'alg': 'x'}), encoded({'iss': 'x'}), b'eA')
        self.assertTrue(tokens.check(b'.'.join(parts), NOW))

    def test_empty(self):
        for content in (b'', b'\n', b'\r\n\r\n'):
            self.refused('it is empty', content)

    def test_characters_that_nobody_sees(self):
        found = token()
        for character, name in (
            ('\u200b', 'U+200B ZERO WIDTH SPACE'),
            ('\ufeff', 'U+FEFF ZERO WIDTH NO-BREAK SPACE'),
            ('\u00a0', 'U+00A0 NO-BREAK SPACE'),
            ('\u2011', 'U+2011 NON-BREAKING HYPHEN'),
            (' ', 'a space'),
            ('\t', 'a tab'),
            ('\n', 'a line end'),
            ('\r', 'a line end of Windows'),
            ('\x00', 'U+0000'),
        ):
            for place in (0, 30):
                content = found[:place] + character.encode() + found[place:]
                words = self.refused(
                    f'character {place + 1} is {name};', content
                )
                self.assertNotIn(found[:20].decode(), words)

    def test_no_token(self):
        for content in (
            b'x',
            b'a.b.c',
            b'..',
            b'{"alg":"x"}',
            token().rpartition(b'.')[0],
            token().rpartition(b'.')[0] + b'.',
            token(header=[1]),
            token(size=0),
            token() + b'.eA',
            token() + b'.',
            token() + b'=',
            token() + b'+',
            token().rpartition(b'.')[0] + b'.!!!',
            # Four characters have three bytes; one has none.
            token(size=258) + b'A',
            b'a.b.!!!',
            b'-----BEGIN-----',
        ):
            self.refused('not a JSON Web Token', content)

    def test_signatures(self):
        for algorithm, *sizes in (
            ('RS256', 256, 384, 512),
            ('PS512', 256, 512),
            ('ES256', 64),
            ('ES384', 96),
            ('ES512', 132),
            ('HS256', 32),
            ('HS384', 48),
            ('HS512', 64),
            ('EdDSA', 64, 114),
            # Of one that is not known it may have any size.
            ('XY1', 1, 20, 300),
        ):
            header = {'alg': algorithm}
            for size in sizes:
                found = token(header, size)
                self.assertEqual(found.decode(), tokens.check(found, NOW))
                for wrong in (size - 30, size - 1, size + 1):
                    if algorithm != 'XY1' and wrong > 0:
                        self.refused(
                            f'not one of {algorithm}: some of it is missing',
                            token(header, wrong),
                        )
        self.assertEqual(342, len(token().rpartition(b'.')[2]))
        for header in ({'alg': [1]}, {'alg': None}, {'typ': 'JWT'}):
            self.assertTrue(tokens.check(token(header, 3), NOW))

    def test_cut(self):
        for header, size in (
            ({'alg': 'RS256'}, 256),
            ({'alg': 'RS256'}, 512),
            ({'alg': 'ES256'}, 64),
        ):
            found = token(header, size)
            for missing in range(1, 42):
                with self.assertRaises(ValueError):
                    tokens.check(found[:-missing], NOW)

    def test_no_text(self):
        self.refused('byte 3 is not text', b'ab\xff')
        self.refused('16385 bytes', b'x' * 16385)

    def test_times(self):
        self.refused('expired on 2027-01-14', token(exp=NOW - 86400))
        self.refused('not valid before 2027-01-16', token(nbf=NOW + 86400))
        self.assertTrue(tokens.check(token(nbf=NOW + 60), NOW))
        for value in ('soon', None, True, -1, 1e300, [1]):
            self.refused('its exp is not a time', token(exp=value))
        nan = b'{"exp": NaN}'
        content = b'.'.join((encoded({'a': 1}), encoded(nan), b'eA'))
        self.refused('its exp is not a time', content)

    def test_deep(self):
        content = b'.'.join((encoded({'a': 1}), encoded(b'[' * 9000), b'eA'))
        self.refused('not a JSON Web Token', content)

    @hypothesis.given(strategies.binary(max_size=200))
    def test_any(self, content):
        try:
            tokens.check(content, NOW)
        except ValueError as exc:
            self.assertNotIn('\n', str(exc))
