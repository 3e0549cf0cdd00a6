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

"""What all commands have of their bases."""

import gc
from unittest import mock

from keystoneauth1 import exceptions
import requests
import requests_mock

from tests.unit import base


class TestOneLine(base.TestCase):
    def refused(self, service_url, exc):
        self.cloud.register_uri(
            requests_mock.ANY,
            requests_mock.ANY if service_url is None else service_url,
            exc=exc,
        )

    def test_keystone_down(self):
        self.refused(base.AUTH_URL, requests.exceptions.ConnectionError)
        self.refused(
            f'{base.AUTH_URL}/auth/tokens', requests.exceptions.ConnectionError
        )
        line = self.fails('gpu', 'flavor', 'list')
        self.assertEqual(1, len(line.splitlines()), line)
        self.assertIn(base.AUTH_URL, line)

    def test_the_warning_is_there_for_debugging(self):
        self.refused(base.AUTH_URL, requests.exceptions.ConnectionError)
        result = self.openstack('--debug', 'gpu', 'flavor', 'list')
        self.assertIn('Failed to discover available', result.stderr)

    def test_connection_cut(self):
        self.refused(
            f'{base.PLACEMENT}/resource_providers',
            exceptions.ConnectFailure('Unable to establish connection'),
        )
        line = self.fails('gpu', 'inventory', 'list')
        self.assertEqual(1, len(line.splitlines()), line)

    def test_nothing_answers_where_placement_was(self):
        self.refused(f'{base.PLACEMENT}/', requests.exceptions.ConnectionError)
        self.refused(base.PLACEMENT, requests.exceptions.ConnectionError)
        self.assertEqual(
            'Cannot reach the placement service at http://placement.example',
            self.fails('gpu', 'inventory', 'list'),
        )

    def test_not_in_the_catalogue(self):
        self.missing_services = frozenset({'placement'})
        self._add_keystone()
        line = self.fails('gpu', 'inventory', 'list')
        self.assertEqual(1, len(line.splitlines()), line)
        self.assertIn('placement', line)


class TestEnd(base.TestCase):
    def test_no_last_search_for_garbage(self):
        self.cloud.get(
            f'{base.PLACEMENT}/resource_providers',
            json={'resource_providers': []},
        )
        self.cloud.get(
            f'{base.PLACEMENT}/allocation_candidates',
            json={'allocation_requests': [], 'provider_summaries': {}},
        )
        with mock.patch('atexit.register', autospec=True) as register:
            self.ok('gpu', 'inventory', 'list')
        self.assertIn(mock.call(gc.freeze), register.mock_calls)
        self.assertEqual(0, gc.get_freeze_count())
