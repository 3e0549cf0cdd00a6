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

"""What Keystone's unified limits allow projects of a resource class.

Nova looks for them by its own service and region, both exactly (oslo.limit),
under the name ``class:<resource class>`` (nova/limit/placement.py).
"""

from collections.abc import Mapping
import logging
from typing import Any
from typing import NamedTuple

from openstack import connection

from osc_gpu.cloud import errors
from osc_gpu.cloud import rest
from osc_gpu.i18n import _

LOG = logging.getLogger(__name__)

_PREFIX = 'class:'


class Limits(NamedTuple):
    """Registered limits by class, and limits by project and class."""

    registered: Mapping[str, int]
    projects: Mapping[tuple[str, str], int]

    def of(self, project_id: str, resource_class: str) -> int | None:
        """Return a project's limit; -1 is none at all, None is not set."""
        return self.projects.get(
            (project_id, resource_class), self.registered.get(resource_class)
        )


def read(conn: connection.Connection, project_id: str | None = None) -> Limits:
    """Read limits of resource classes, in two requests.

    Empty, with a warning, where Keystone refuses or fails: what is in use is
    worth showing without.

    :param project_id: read the limits of this project only
    """
    scope = _scope(conn)
    of_projects = scope | ({'project_id': project_id} if project_id else {})
    try:
        return parse(
            _list(conn, 'registered_limits', scope),
            _list(conn, 'limits', of_projects),
        )
    except errors.REFUSALS as exc:
        LOG.warning(_("Limits cannot be seen: %s"), errors.explain(exc, conn))
        return Limits({}, {})


def parse(registered: Any, limits: Any) -> Limits:
    """Read the limits that Keystone lists; those of domains are left out."""
    return Limits(
        {
            _class_of(found): found['default_limit']
            for found in registered
            if found['resource_name'].startswith(_PREFIX)
        },
        {
            (found['project_id'], _class_of(found)): found['resource_limit']
            for found in limits
            if found['resource_name'].startswith(_PREFIX)
            and found.get('project_id')
        },
    )


def _class_of(found: Mapping[str, Any]) -> str:
    name: str = found['resource_name']
    return name.removeprefix(_PREFIX)


def _scope(conn: connection.Connection) -> dict[str, str]:
    """Return Nova's service ID and region, as far as the catalogue tells."""
    auth: Any = conn.session.auth
    catalog = auth.get_access(conn.session).service_catalog.catalog
    region: str | None = conn.config.get_region_name('compute')
    for service in catalog:
        if service['type'] == 'compute':
            regions = [e.get('region_id') for e in service['endpoints']]
            found = {
                'service_id': service.get('id'),
                'region_id': region or next(iter(regions), None),
            }
            return {key: value for key, value in found.items() if value}
    return {}


def _list(
    conn: connection.Connection, name: str, query: Mapping[str, str]
) -> Any:
    return rest.get(conn.identity, f'/{name}', params=query)[name]
