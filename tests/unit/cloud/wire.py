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

"""The faked cloud without a shell: what ``osc_gpu.cloud`` is given."""

import warnings

from openstack import connection

from tests.unit import base


class TestCase(base.TestCase):
    """``self.conn`` is a connection like the one that the shell makes."""

    def setUp(self) -> None:
        super().setUp()
        # The shell silences the SDK's warnings.
        self.enterContext(warnings.catch_warnings(action='ignore'))
        self.conn = connection.Connection(
            auth={
                'auth_url': base.AUTH_URL,
                'username': 'admin',
                'password': 'secret',
                'project_name': 'admin',
                'user_domain_id': 'default',
                'project_domain_id': 'default',
            },
            region_name='RegionOne',
        )
