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

import requests

from osc_gpu.cloud import instance_actions
from tests.unit.cloud import wire
from tests.unit import fake_moves


def event(details: str | None, result: str = 'Error') -> dict[str, str | None]:
    return {'event': 'compute_x', 'result': result, 'details': details}


class TestWords(unittest.TestCase):
    def test_events(self) -> None:
        for events, words in (
            ([], ''),
            ([event('It broke.')], 'It broke.'),
            ([event('fine', 'Success'), event('It broke.')], 'It broke.'),
            ([event('a'), event('b'), event('a')], 'a; b'),
            ([event('many\n  lines\t')], 'many lines'),
            ([event(None), event('')], ''),
            ([{'event': 'still under way'}], ''),
        ):
            with self.subTest(events=events):
                self.assertEqual(words, instance_actions.words(events))


class TestFailure(fake_moves.TestCase, wire.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.add_cards(self.add_host('gpu1'), 1)
        self.server = self.add_gpu_server('train')

    def act(self, message: str | None, *events: dict[str, str | None]) -> None:
        self.actions.setdefault(self.server, []).insert(
            0,
            {
                'request_id': f'req-{len(self.actions.get(self.server, ()))}',
                'message': message,
                'events': list(events),
            },
        )

    def test_no_events(self) -> None:
        self.act('Error')
        self.actions[self.server][0]['events'] = None
        self.assertEqual('', instance_actions.failure(self.conn, self.server))

    def test_newest_failed(self) -> None:
        self.act(None, event('long ago'))
        self.act('Error', event('No valid host was found.'))
        before = len(self.requests)
        self.assertEqual(
            'No valid host was found.',
            instance_actions.failure(self.conn, self.server),
        )
        path = f'GET /servers/{self.server}/os-instance-actions'
        self.assertEqual(
            [f'{path}?limit=1', f'{path}/req-1'], self.requests[before:]
        )
        self.assertEqual('2.84', self.microversions('compute')[-1])

    def test_newest_did_not_fail(self) -> None:
        self.act('Error', event('long ago'))
        self.act(None, event('fine', 'Success'))
        self.assertEqual('', instance_actions.failure(self.conn, self.server))
        self.assertEqual(1, len(self.requests))

    def test_no_action(self) -> None:
        self.assertEqual('', instance_actions.failure(self.conn, self.server))

    def test_what_the_cloud_refuses(self) -> None:
        self.act('Error', event('x'))
        for after in (0, 1):
            for answer in (403, 404, 500, requests.ConnectionError('cut')):
                with self.subTest(after=after, answer=answer):
                    self.faults.clear()
                    # Older clients try again once what was cut.
                    self.disturb(
                        'os-instance-actions', answer, after=after, times=9
                    )
                    self.assertEqual(
                        '', instance_actions.failure(self.conn, self.server)
                    )
