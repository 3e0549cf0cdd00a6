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

"""The project of a license server: found or made, and entered.

Nova makes a server in the project of the token, also for an admin. What is
made in another project than one's own takes a role there, and a connection
of its own.
"""

from collections.abc import Mapping
import dataclasses
import shlex
from typing import Any
from urllib import parse

from keystoneauth1 import exceptions as ksa_exceptions
from openstack import connection
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from osc_gpu.cloud import errors
from osc_gpu.cloud import rest
from osc_gpu.i18n import _

#: The role that those have who may do everything.
ADMIN = 'admin'


@dataclasses.dataclass(frozen=True)
class Asked:
    """The project that people name; '' is the token's own.

    ``domain`` is a name or an ID; '' is any, and the token's for a new one.
    With ``is_new`` the project is made unless it is there, and ``role`` taken
    in it unless one is held.
    """

    project: str = ''
    domain: str = ''
    is_new: bool = False
    role: str = ''


@dataclasses.dataclass(frozen=True)
class Place:
    """The project that a license server is in, and what it takes to get in.

    ``id`` is '' while it has to be made; ``role_id`` is '' unless the role
    has to be taken. ``user`` is (name, ID) of who asks.
    """

    id: str
    name: str
    domain_id: str
    user: tuple[str, str]
    is_own: bool = False
    role: str = ''
    role_id: str = ''

    @property
    def steps(self) -> tuple[str, ...]:
        """What has to be done first, in words."""
        project = [] if self.id else [_("project %s") % self.name]
        role = _("role %(role)s for %(user)s in project %(project)s") % {
            'role': self.role,
            'user': self.user[0],
            'project': self.name,
        }
        return (*project, *([role] if self.role_id else []))


def roles(conn: connection.Connection) -> frozenset[str]:
    """Return the names of the roles that a connection's token has."""
    return frozenset(_access(conn).role_names)


def find(conn: connection.Connection, asked: Asked) -> Place:
    """Find the project that is asked for; none, up to four requests.

    :raises osc_lib.exceptions.CommandError: it is not there, and shall not
        be made; the user has no role in it, and shall not take one
    """
    access = _access(conn)
    user = (access.username, access.user_id)
    own = Place(
        access.project_id or '',
        access.project_name or '',
        access.project_domain_id or access.user_domain_id,
        user,
        is_own=True,
    )
    if not asked.project:
        if not own.id:
            raise exceptions.CommandError(
                _("Your token is not for a project; name one with --project")
            )
        return own
    domain_id = _domain_id(conn, access, asked.domain)
    if own.id and _is_it(asked, domain_id, own):
        return own
    found = _read_held(conn, asked, domain_id, user)
    if found:
        return found
    if not asked.is_new:
        raise exceptions.CommandError(_no_role(asked, user[0]))
    return _new(conn, asked, domain_id or own.domain_id, user)


def _is_it(asked: Asked, domain_id: str, place: Place) -> bool:
    if asked.project == place.id and not asked.is_new:
        return True
    is_domain = domain_id in ('', place.domain_id)
    return asked.project == place.name and is_domain


def _read_held(
    conn: connection.Connection,
    asked: Asked,
    domain_id: str,
    user: tuple[str, str],
) -> Place | None:
    """Find the project among those that the user has a role in."""
    projects = rest.get(conn.identity, '/auth/projects')['projects']
    found = [
        place
        for project in projects
        if _is_it(
            asked,
            domain_id,
            place := Place(
                project['id'], project['name'], project['domain_id'], user
            ),
        )
    ]
    if len(found) > 1:
        raise exceptions.CommandError(
            _(
                "There is more than one project %(name)s; name its domain "
                "with --project-domain, or its ID: %(ids)s"
            )
            % {
                'name': asked.project,
                'ids': ', '.join(sorted(place.id for place in found)),
            }
        )
    return found[0] if found else None


def _no_role(asked: Asked, user: str) -> str:
    command = ['openstack', 'role', 'add', '--user', user, '--project']
    return _(
        "You have no role in a project %(project)s. An admin gives you one "
        "with: %(command)s; --new-project %(quoted)s makes the project"
    ) % {
        'project': asked.project,
        'command': shlex.join([*command, asked.project, 'member']),
        'quoted': shlex.quote(asked.project),
    }


def _domain_id(
    conn: connection.Connection, access: Any, name_or_id: str
) -> str:
    """Return the ID of a domain; only one that is not known takes a request.

    That one takes an admin's rights.
    """
    known = {
        access.project_domain_id: access.project_domain_name,
        access.user_domain_id: access.user_domain_name,
    }
    for domain_id, name in known.items():
        if domain_id and name_or_id in (domain_id, name):
            return str(domain_id)
    if not name_or_id:
        return ''
    try:
        found = rest.get(
            conn.identity, '/domains', params={'name': name_or_id}
        )
    except sdk_exceptions.ForbiddenException:
        return name_or_id
    return found['domains'][0]['id'] if found['domains'] else name_or_id


def _new(
    conn: connection.Connection,
    asked: Asked,
    domain_id: str,
    user: tuple[str, str],
) -> Place:
    """Look whether a project has to be made, and how to get into it."""
    filters = {'name': asked.project, 'domain_id': domain_id}
    try:
        roles = rest.get(conn.identity, '/roles', params={'name': asked.role})[
            'roles'
        ]
        projects = rest.get(conn.identity, '/projects', params=filters)
    except sdk_exceptions.ForbiddenException as exc:
        raise exceptions.CommandError(
            _("--new-project %(project)s takes an admin: %(why)s")
            % {'project': asked.project, 'why': errors.explain(exc)}
        ) from exc
    if not roles:
        raise exceptions.CommandError(
            _("There is no role %s: name another one with --role") % asked.role
        )
    there: list[Mapping[str, Any]] = projects['projects']
    return Place(
        there[0]['id'] if there else '',
        asked.project,
        domain_id,
        user,
        role=asked.role,
        role_id=roles[0]['id'],
    )


def make(conn: connection.Connection, place: Place, text: str) -> Place:
    """Make a project.

    :param text: its description
    """
    body = {
        'name': place.name,
        'domain_id': place.domain_id,
        'description': text,
    }
    response = conn.identity.post(
        '/projects', json={'project': body}, connect_retries=0
    )
    sdk_exceptions.raise_from_response(response)
    return dataclasses.replace(place, id=response.json()['project']['id'])


def take_role(conn: connection.Connection, place: Place) -> Place:
    """Take the role that lets one in."""
    user_id = parse.quote(place.user[1], safe='')
    response = conn.identity.put(
        f'/projects/{place.id}/users/{user_id}/roles/{place.role_id}',
        connect_retries=0,
    )
    sdk_exceptions.raise_from_response(response)
    return dataclasses.replace(place, role_id='')


def enter(conn: connection.Connection, place: Place) -> connection.Connection:
    """Return a connection whose token is for the project.

    :raises osc_lib.exceptions.CommandError: the credentials do not get there
    """
    if place.is_own:
        return conn
    why = _("they are for another project only")
    try:
        there = conn.connect_as_project({'id': place.id})
        # With OS_PROJECT_ID in the environment, the SDK of 2025.1 stays.
        if there.current_project_id == place.id:
            return there
    except ksa_exceptions.ClientException as exc:
        why = errors.explain(exc, conn)
    raise exceptions.CommandError(
        _(
            "Your credentials do not get you into project %(project)s "
            "(%(why)s): log in to it, as with --os-project-id %(id)s, and "
            "leave --project and --new-project out"
        )
        % {'project': place.name, 'why': why.removesuffix('.'), 'id': place.id}
    )


def _access(conn: connection.Connection) -> Any:
    auth: Any = conn.session.auth
    return auth.get_access(conn.session)
