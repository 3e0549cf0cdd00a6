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

"""Flavors written so that none is ever half a GPU flavor.

Everything is asked raw with explicit microversions: the SDK's own stop before
the one from which Nova validates extra specs.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import re
import shlex
import time
from typing import Any
import uuid

from openstack import connection
from openstack import exceptions as sdk_exceptions
from openstack import utils as sdk_utils
from osc_lib import exceptions
import requests

from osc_gpu.cloud import errors
from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import flavor_specs
from osc_gpu.cloud import flavors
from osc_gpu.cloud import interrupts
from osc_gpu.i18n import _

#: Nova does not validate extra specs yet.
_PLAIN = flavors.MICROVERSION
#: Nova validates extra specs.
_VALIDATED = '2.86'
#: Nova's validator knows nothing of these and refuses them, though its
#: libvirt driver reads them (2024.1 to 2026.2).
_WRONGLY_REFUSED = 'hw:maxphysaddr_'
#: Seconds to wait before each look for a flavor whose making was not
#: answered: Nova may be at it still.
_LATE = (0, 0.5, 1.5)


@dataclasses.dataclass(frozen=True)
class NewFlavor:
    """What a new flavor is, but for its extra specs; units as in Flavor.

    :param id: None to have one made.
    """

    name: str
    vcpus: int
    ram: int
    disk: int
    ephemeral: int = 0
    swap: int = 0
    is_public: bool = True
    id: str | None = None
    description: str | None = None


def create_flavor(
    conn: connection.Connection,
    new: NewFlavor,
    specs: flavor_specs.Specs,
    project_id: str | None = None,
) -> flavors.Flavor:
    """Make a flavor with its extra specs, wholly or not at all.

    The flavor gets an ID of ours unless the user has one, so that it can be
    removed even when Nova's answer to its creation is lost.

    :param project_id: the project that may use the private flavor.
    :raises CommandError: saying what became of the flavor.
    """
    if new.id is not None:
        _refuse_existing(conn, new.id)
    flavor_id = new.id or str(uuid.uuid4())
    made = None
    with interrupts.as_ctrl_c():
        try:
            made = _post_flavor(conn, new, flavor_id)
            for batch, microversion in _batches(conn, specs):
                _post_extra_specs(conn, flavor_id, batch, microversion)
            if project_id:
                access = {'addTenantAccess': {'tenant': project_id}}
                _post(conn, flavors.path(flavor_id, 'action'), access, _PLAIN)
        except BaseException as exc:
            if made is None and _is_definite(exc):
                if isinstance(exc, sdk_exceptions.ConflictException):
                    _refuse_half_made(conn, new.name, exc)
                raise
            raise exceptions.CommandError(
                _("%(why)s; %(undone)s")
                % {
                    'why': _why(exc),
                    'undone': _undo(conn, flavor_id, new.name, bool(made)),
                }
            ) from exc
    return dataclasses.replace(made, extra_specs=dict(specs))


def _refuse_half_made(
    conn: connection.Connection, name: str, conflict: Exception
) -> None:
    """Say so if the flavor that is in the way lacks its GPU.

    That is what a create leaves which is killed half-way.

    :raises CommandError: with the way to finish it.
    """
    try:
        flavor = flavors.find_flavor(conn, name)
    except errors.REFUSALS:
        return
    if not extra_specs.parse(flavor.extra_specs):
        raise exceptions.CommandError(
            _(
                "%(why)s; it requests no GPU: to give it one, type "
                "%(command)s and the same GPU options"
            )
            % {
                'why': _why(conflict),
                'command': shlex.join(
                    ['openstack', 'gpu', 'flavor', 'set', name]
                ),
            }
        ) from conflict


def write_extra_specs(
    conn: connection.Connection,
    flavor: flavors.Flavor,
    new: flavor_specs.Specs,
) -> None:
    """Make a flavor's extra specs those of ``new``, with what differs.

    First what is set, then what is taken away, one request for each key.

    :raises CommandError: saying what is left to do, when not nothing is done.
    """
    change = flavor_specs.changes(flavor.extra_specs, new)
    to_set, to_delete = dict(change.post), list(change.delete)
    with interrupts.as_ctrl_c():
        try:
            for batch, microversion in _batches(conn, change.post):
                _post_extra_specs(conn, flavor.id, batch, microversion)
                to_set = {k: v for k, v in to_set.items() if k not in batch}
            while to_delete:
                _delete(
                    conn,
                    flavors.path(flavor.id, 'os-extra_specs', to_delete[0]),
                )
                del to_delete[0]
        except BaseException as exc:
            untouched = to_set == change.post and len(to_delete) == len(
                change.delete
            )
            if untouched and isinstance(exc, errors.REFUSALS):
                raise
            raise exceptions.CommandError(
                _("%(why)s; to finish: %(commands)s")
                % {
                    'why': _why(exc),
                    'commands': _commands(flavor.id, to_set, to_delete),
                }
            ) from exc


def _commands(
    flavor_id: str, to_set: Mapping[str, str], to_delete: Iterable[str]
) -> str:
    """Word what is left to do as core's own commands."""
    left = {
        'set': [f'{key}={value}' for key, value in to_set.items()],
        'unset': list(to_delete),
    }
    return '; '.join(
        shlex.join(
            ['openstack', 'flavor', verb]
            + [word for item in items for word in ('--property', item)]
            + [flavor_id]
        )
        for verb, items in left.items()
        if items
    )


def _undo(
    conn: connection.Connection, flavor_id: str, name: str, was_made: bool
) -> str:
    """Remove a flavor that lacks its GPU; say what became of it."""
    command = shlex.join(['openstack', 'flavor', 'delete', flavor_id])
    for delay in (0,) if was_made else _LATE:
        try:
            time.sleep(delay)
            _delete(conn, flavors.path(flavor_id))
        except sdk_exceptions.NotFoundException:
            continue
        except BaseException as exc:
            left = _("is left") if was_made else _("may be left")
            return _(
                "flavor %(name)s %(left)s without its GPU request, since "
                "removing it failed too (%(why)s): remove it with %(command)s"
            ) % {
                'name': name,
                'left': left,
                'why': _why(exc),
                'command': command,
            }
        return _("the new flavor %s is removed again") % name
    return _(
        "flavor %(name)s is not there; should Nova still make it, remove it "
        "with %(command)s"
    ) % {'name': name, 'command': command}


def _why(exc: BaseException) -> str:
    """Word what went wrong as the first half of a sentence."""
    if isinstance(exc, Exception):
        return errors.explain(exc).removesuffix('.')
    return _("Interrupted")


def _is_definite(exc: BaseException) -> bool:
    """Tell whether Nova surely did nothing of what it was asked."""
    response = getattr(exc, 'response', None)
    if response is not None:
        return bool(400 <= response.status_code < 500)
    return re.search('NewConnection|NameResolution', str(exc)) is not None


def _refuse_existing(conn: connection.Connection, flavor_id: str) -> None:
    """Refuse an ID that is taken, before it could be cleaned up as ours."""
    try:
        flavors.get_flavor(conn, flavor_id)
    except sdk_exceptions.NotFoundException:
        return
    raise exceptions.CommandError(
        _("argument --id: a flavor with ID '%s' exists already") % flavor_id
    )


def _post_flavor(
    conn: connection.Connection, new: NewFlavor, flavor_id: str
) -> flavors.Flavor:
    body = {
        'id': flavor_id,
        'name': new.name,
        'vcpus': new.vcpus,
        'ram': new.ram,
        'disk': new.disk,
        'OS-FLV-EXT-DATA:ephemeral': new.ephemeral,
        'swap': new.swap,
        'os-flavor-access:is_public': new.is_public,
    }
    if new.description is not None:
        body['description'] = new.description
    made = _post(conn, '/flavors', {'flavor': body}, _PLAIN).json()['flavor']
    return flavors.read({**made, 'extra_specs': {}})


def _batches(
    conn: connection.Connection, specs: Mapping[str, str]
) -> list[tuple[dict[str, str], str]]:
    """Split extra specs by the microversion to post them at.

    A Nova older than the validation takes them at the newest that it has.
    """
    refused = {
        key: value
        for key, value in specs.items()
        if key.startswith(_WRONGLY_REFUSED)
    }
    others = {k: v for k, v in specs.items() if k not in refused}
    return [
        (
            batch,
            sdk_utils.maximum_supported_microversion(
                conn.compute, microversion
            )
            or microversion,
        )
        for batch, microversion in ((others, _VALIDATED), (refused, _PLAIN))
        if batch
    ]


def _post_extra_specs(
    conn: connection.Connection,
    flavor_id: str,
    specs: Mapping[str, str],
    microversion: str,
) -> None:
    path = flavors.path(flavor_id, 'os-extra_specs')
    _post(conn, path, {'extra_specs': dict(specs)}, microversion)


def _post(
    conn: connection.Connection,
    path: str,
    body: Mapping[str, Any],
    microversion: str,
) -> requests.Response:
    # The SDK of 2025.1 repeats a request whose connection was cut; Nova may
    # have done it, and would refuse the second one.
    response = conn.compute.post(
        path, json=body, microversion=microversion, connect_retries=0
    )
    sdk_exceptions.raise_from_response(response)
    return response


def _delete(conn: connection.Connection, path: str) -> None:
    response = conn.compute.delete(
        path, microversion=_PLAIN, connect_retries=0
    )
    sdk_exceptions.raise_from_response(response)
