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

"""Images that guests boot from: what they say is in them."""

from openstack import connection


def read_system(
    conn: connection.Connection, name_or_id: str
) -> tuple[str, str]:
    """Return an image's properties os_distro and os_version; '' if unset.

    One request; one more for a name.

    :raises openstack.exceptions.NotFoundException: there is no such image
    """
    image = conn.image.find_image(name_or_id, ignore_missing=False)
    return image.os_distro or '', image.os_version or ''
