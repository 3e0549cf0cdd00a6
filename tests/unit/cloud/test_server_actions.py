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
import re
from typing import Any

from openstack import exceptions

from osc_gpu.cloud import server_actions
from tests.unit import base
from tests.unit.cloud import move_parts
from tests.unit.cloud import wire

ACTIONS = (
    ('unlock', (), '2.73', {'unlock': None}),
    ('migrate', (), '2.56', {'migrate': None}),
    ('migrate', ('gpu2',), '2.56', {'migrate': {'host': 'gpu2'}}),
    (
        'migrate_live',
        (),
        '2.30',
        {'os-migrateLive': {'host': None, 'block_migration': 'auto'}},
    ),
    (
        'migrate_live',
        ('gpu2',),
        '2.30',
        {'os-migrateLive': {'host': 'gpu2', 'block_migration': 'auto'}},
    ),
    ('confirm', (), '2.73', {'confirmResize': None}),
    ('revert', (), '2.73', {'revertResize': None}),
    ('stop', (), '2.73', {'os-stop': None}),
    ('start', (), '2.73', {'os-start': None}),
    ('reboot_hard', (), '2.73', {'reboot': {'type': 'HARD'}}),
    (
        'reset_state',
        ('active',),
        '2.73',
        {'os-resetState': {'state': 'active'}},
    ),
    ('shelve', (), '2.73', {'shelve': None}),
    ('offload', (), '2.73', {'shelveOffload': None}),
    ('unshelve', (), '2.73', {'unshelve': None}),
    ('unshelve', ('gpu2',), '2.91', {'unshelve': {'host': 'gpu2'}}),
)

SERVICES = (
    (
        'disable_service',
        ('why',),
        {'status': 'disabled', 'disabled_reason': 'why'},
    ),
    ('enable_service', (), {'status': 'enabled'}),
)


class TestServerActions(wire.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.status = 202
        self.cloud.post(
            f'{base.COMPUTE}/servers/s-1/action', text=self._answer
        )
        self.cloud.put(f'{base.COMPUTE}/os-services/x-1', text=self._answer)

    def _answer(self, request: Any, context: Any) -> str:
        context.status_code = self.status
        return ''

    def asked(self) -> tuple[Any, str]:
        """Return the last request's body and microversion."""
        request = self.cloud.last_request
        version = request.headers['OpenStack-API-Version']
        return request.json(), version.removeprefix('compute ')

    def test_actions(self) -> None:
        for name, arguments, microversion, body in ACTIONS:
            with self.subTest(name, arguments=arguments):
                done = getattr(server_actions, name)(
                    self.conn, 's-1', *arguments
                )
                self.assertIsNone(done)
                self.assertEqual((body, microversion), self.asked())
        self.assertEqual(
            ['POST /servers/s-1/action'] * len(ACTIONS), self.requests
        )

    def test_lock(self) -> None:
        body = ({'lock': {'locked_reason': 'why'}}, '2.73')
        for is_locked, requests in ((False, 1), (True, 2)):
            server = dataclasses.replace(
                move_parts.server(), id='s-1', is_locked=is_locked
            )
            before = len(self.requests)
            server_actions.lock(self.conn, server, 'why')
            self.assertEqual(body, self.asked())
            self.assertEqual(requests, len(self.requests) - before)
        # Else the old reason may stay.
        first = self.cloud.request_history[-2].json()
        self.assertEqual({'unlock': None}, first)
        self.status = 409
        with self.assertRaises(exceptions.HttpException):
            server_actions.lock(self.conn, server, 'why')

    def test_services(self) -> None:
        self.status = 200
        for name, arguments, body in SERVICES:
            with self.subTest(name):
                getattr(server_actions, name)(self.conn, 'x-1', *arguments)
                self.assertEqual((body, '2.53'), self.asked())
        self.assertEqual(['PUT /os-services/x-1'] * 2, self.requests)

    def test_each_raises_what_was_refused_at_once(self) -> None:
        calls = [(name, 's-1', arguments) for name, arguments, *_b in ACTIONS]
        calls += [(name, 'x-1', arguments) for name, arguments, _b in SERVICES]
        for status in (400, 403, 404, 409, 500, 503):
            self.status = status
            for name, found, arguments in calls:
                with (
                    self.subTest(name, status=status),
                    self.assertRaises(exceptions.HttpException),
                ):
                    getattr(server_actions, name)(self.conn, found, *arguments)
        self.assertEqual(6 * len(calls), len(self.requests))

    def test_all_of_them_are_here(self) -> None:
        with open(server_actions.__file__, encoding='utf-8') as source:
            public = set(re.findall(r'^def ([a-z]\w+)', source.read(), re.M))
        tested = {name for name, *_more in (*ACTIONS, *SERVICES)}
        self.assertEqual(public, {'lock', *tested})
