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

from osc_gpu.cloud import migration
from osc_gpu.v1 import move_columns
from tests.unit.cloud import move_parts as parts


def outcome(result: str, host: str, detail: str = '') -> migration.Outcome:
    return migration.Outcome(
        parts.order(), parts.server(host=host), result, detail, 12.345
    )


class TestRows(unittest.TestCase):
    def test_rows(self) -> None:
        rows = move_columns.rows(
            [outcome('migrated', 'gpu2'), outcome('failed', 'gpu1', 'why')]
        )
        self.assertEqual(
            [
                (
                    parts.ID,
                    'train',
                    'gpu1',
                    'gpu2',
                    'cold',
                    'migrated',
                    12.3,
                    '',
                ),
                (parts.ID, 'train', 'gpu1', '', 'cold', 'failed', 12.3, 'why'),
            ],
            rows,
        )
        self.assertEqual(len(move_columns.COLUMNS), len(rows[0]))

    def test_on_no_host(self) -> None:
        self.assertEqual('', move_columns.rows([outcome('failed', '')])[0][3])


class TestFailed(unittest.TestCase):
    def test_failed(self) -> None:
        good, bad = outcome('migrated', 'gpu2'), outcome('failed', 'gpu1')
        for outcomes, text in (
            ([], ''),
            ([good], ''),
            ([good, bad], '1 of 2 servers failed to move'),
            ([bad, bad], '2 of 2 servers failed to move'),
        ):
            self.assertEqual(
                text, move_columns.failed(outcomes, 'migrated', 'recovered')
            )

    def test_iterators(self) -> None:
        found = iter([outcome('failed', 'gpu1')])
        self.assertTrue(move_columns.failed(found, 'migrated'))
