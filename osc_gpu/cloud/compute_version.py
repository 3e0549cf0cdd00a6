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

"""What the compute API is new enough for."""

from openstack import connection


def newest_microversion(conn: connection.Connection) -> tuple[int, int]:
    """Return the newest microversion that Nova has."""
    data = conn.compute.get_endpoint_data()
    newest = data.max_microversion if data else None
    return (int(newest[0]), int(newest[1])) if newest else (2, 1)


def unshelves_to_host(conn: connection.Connection) -> bool:
    """Tell whether Nova can be told where to unshelve a server."""
    return newest_microversion(conn) >= (2, 91)
