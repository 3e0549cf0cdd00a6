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

"""PCI aliases: which flavors name them, and whether Nova knows them.

No API lists aliases (facts 1). Nova looks them up when a server is asked for,
before it looks up the host that the server is asked for (nova/compute/api.py:
_validate_and_build_base_options, then _provision_instances). So a server on a
host that is not there is refused in words that tell, and nothing is made.
"""

from collections.abc import Iterable
import re
from typing import Any
from typing import NamedTuple
import uuid

from openstack import connection
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from osc_gpu.cloud import errors
from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import flavors
from osc_gpu.cloud import rest
from osc_gpu.cloud import side_by_side
from osc_gpu.i18n import _

#: From here on a server may be asked for on a host, whatever its zone.
MICROVERSION = '2.74'

#: Flavors that are probed for one alias, at most, while nothing is learned.
MOST_TRIES = 3

_NOT_DEFINED = re.compile(r'PCI alias (.*) is not defined', re.DOTALL)

#: How Nova's words begin where it finds fault with what comes after the
#: aliases: the disks, then image and flavor (_check_and_transform_bdm,
#: _checks_for_create_and_rebuild).
_LATER = (
    'Block Device ',
    "Flavor's disk is ",
    "Flavor's memory is ",
    'Only volume-backed servers are allowed',
    "The created instance's disk would be too small",
)


class Probe(NamedTuple):
    """What a probe of a flavor's aliases found.

    ``defined``: Nova knows all of them, not all, or (None) it cannot be told,
    for the reason in ``why``. ``missing`` is the first alias that it does not
    know. ``why`` has Nova's own words otherwise. ``is_forbidden``: the caller
    lacks the right to probe.
    """

    defined: bool | None
    missing: str
    why: str
    is_forbidden: bool = False


# The probe.


def find_image(conn: connection.Connection) -> str | None:
    """Return the ID of the smallest active image, None if there is none.

    One request. Images of size 0 are only block device mappings.
    """
    query = {
        'status': 'active',
        'size_min': '1',
        'sort': 'size:asc',
        'limit': '1',
    }
    found = rest.get(conn.image, '/images', params=query)['images']
    return str(found[0]['id']) if found else None


def probe(
    conn: connection.Connection,
    flavor: flavors.Flavor,
    image_id: str | None,
) -> Probe:
    """Ask Nova whether it knows the aliases of a flavor; nothing is made.

    One request, and none without an image. Of several aliases Nova names the
    first one that it does not know.

    :param image_id: what ``find_image`` returned
    """
    if image_id is None:
        return Probe(None, '', _("There is no active image to probe with"))
    host = f'osc-gpu-probe-{uuid.uuid4()}'
    response = conn.compute.post(
        '/servers',
        json={
            'server': {
                'name': host,
                'host': host,
                'flavorRef': flavor.id,
                'imageRef': image_id,
                'networks': 'none',
            }
        },
        microversion=MICROVERSION,
        connect_retries=0,
    )
    try:
        sdk_exceptions.raise_from_response(response)
    except sdk_exceptions.HttpException as exc:
        return _judge(exc, host)
    return _undo(conn, response.json())


def _judge(exc: sdk_exceptions.HttpException, host: str) -> Probe:
    said = str(exc.details or '')
    words = errors.explain(exc)
    if exc.status_code == 400:
        not_defined = _NOT_DEFINED.match(said)
        if not_defined:
            return Probe(False, not_defined[1], words)
        if host in said:
            return Probe(True, '', _("Nova knows it"))
    if exc.status_code in (400, 403) and said.startswith(_LATER):
        return Probe(True, '', words)
    return Probe(None, '', words, is_forbidden=exc.status_code == 403)


def _undo(conn: connection.Connection, made: Any) -> Probe:
    """Delete what a cloud made that ignores the host it is asked for."""
    server = made.get('server') if isinstance(made, dict) else None
    server_id = server.get('id') if isinstance(server, dict) else None
    if not server_id:
        return Probe(None, '', _("Nova did not refuse the probe"))
    response = conn.compute.delete(f'/servers/{server_id}')
    if response.status_code < 400:
        why = _("Nova took the probe for a server, which was deleted: %s")
    else:
        why = _("Nova took the probe for a server; delete it: %s")
    return Probe(None, '', why % server_id)


# Which flavors to probe, and what is learned.


def named_by(flavor: flavors.Flavor) -> tuple[str, ...]:
    """Return the aliases that a flavor names, malformed or not, in order."""
    value = str(flavor.extra_specs.get(extra_specs.ALIAS) or '')
    names = (name for name, _e in extra_specs.alias_entries(value))
    return tuple(dict.fromkeys(name for name in names if name))


def is_sound(flavor: flavors.Flavor) -> bool:
    """Tell whether Nova can read what a flavor says of aliases.

    It does not look at the form before it splits (facts 1): what is malformed
    makes it fail with HTTP 500 and a traceback in its log.
    """
    for entry in str(flavor.extra_specs.get(extra_specs.ALIAS)).split(','):
        name, colon, count = entry.partition(':')
        if not (name.strip() and colon and is_number(count)):
            return False
    return True


def is_number(text: str) -> bool:
    """Tell whether Nova reads a count as a number; it uses int()."""
    try:
        int(text)
    except ValueError:
        return False
    return True


def candidates(
    found: Iterable[flavors.Flavor], names: Iterable[str]
) -> dict[str, list[flavors.Flavor]]:
    """Return for each alias the flavors to probe it with, best first.

    The fewer aliases a flavor has, the more its probe tells of each.
    """
    sound = sorted(
        (flavor for flavor in found if named_by(flavor) and is_sound(flavor)),
        key=lambda flavor: (len(named_by(flavor)), flavor.name, flavor.id),
    )
    return {
        name: [flavor for flavor in sound if name in named_by(flavor)]
        for name in names
    }


def learn(flavor: flavors.Flavor, result: Probe) -> dict[str, Probe]:
    """Return what a probe of a flavor tells of each of its aliases.

    Nova looks them up in order and stops at the first that it does not know.
    """
    names = named_by(flavor)
    if result.defined is not False:
        return dict.fromkeys(names, result)
    known = Probe(True, '', _("Nova knows it"))
    later = Probe(
        None,
        '',
        _("No flavor requests it without %s, which is not defined")
        % result.missing,
    )
    found = {}
    state = known
    for name in names:
        found[name] = state
        if name == result.missing:
            found[name], state = result, later
    return found


def probe_all(
    conn: connection.Connection,
    found: Iterable[flavors.Flavor],
    names: Iterable[str],
    at_once: int = side_by_side.DEFAULT,
) -> dict[str, Probe]:
    """Probe aliases by name: one request for the image, one for each alias.

    A second and third flavor is tried only where the first told nothing.

    :param found: the flavors that name them
    """
    choice = candidates(found, names)
    image_id = find_image(conn) if any(choice.values()) else None
    none = Probe(None, '', _("No flavor that Nova can read requests it"))
    results = dict.fromkeys(choice, none)
    for turn in range(MOST_TRIES):
        open_ = [name for name, r in results.items() if r.defined is None]
        chosen = {
            choice[name][turn].id: choice[name][turn]
            for name in open_
            if len(choice[name]) > turn
        }
        probed = side_by_side.each(
            lambda flavor: (flavor, probe(conn, flavor, image_id)),
            chosen.values(),
            at_once,
        )
        for flavor, result in probed:
            for name, told in learn(flavor, result).items():
                if name in results and results[name].defined is None:
                    results[name] = told
    return results


def refuse_forbidden(probes: Iterable[Probe]) -> None:
    """Refuse to go on for a caller who must not probe.

    :raises CommandError: with the right that is missing
    """
    for found in probes:
        if found.is_forbidden:
            raise exceptions.CommandError(
                _(
                    "Whether an alias is defined is found by asking for a "
                    "server on a host that does not exist, which takes an "
                    "admin: %s"
                )
                % found.why
            )
