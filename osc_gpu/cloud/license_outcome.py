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

"""What came of making a license server, in words."""

from collections.abc import Iterable
import shlex

from osc_lib import exceptions

from osc_gpu.cloud import errors
from osc_gpu.cloud import flavors
from osc_gpu.cloud import license_model
from osc_gpu.cloud import license_plan
from osc_gpu.cloud import license_project
from osc_gpu.i18n import _


def stopped(
    what: str, exc: BaseException, made: Iterable[str], hint: str = ''
) -> str:
    """Word what went wrong, and how to go on.

    :param what: what was being made; '' while nothing was
    :param made: what was made before
    :param hint: what to do if it was forbidden
    """
    said = [_why(what, exc)]
    status = _status(exc)
    if status == 403 and hint:
        said.append(hint)
    before = ', '.join(made)
    if before:
        said.append(_("Made so far: %s.") % before)
    if before and status == 403:
        said.append(
            _(
                "The same command is refused again until that is settled; "
                "then it goes on."
            )
        )
    elif before or (what and not _is_refused(status)):
        said.append(_("Run the same command again to go on."))
    return ' '.join(said)


def _why(what: str, exc: BaseException) -> str:
    if isinstance(exc, exceptions.CommandError):
        why = str(exc)
    elif isinstance(exc, Exception):
        why = errors.explain(exc)
    else:
        why = _("Interrupted")
    why = why.removesuffix('.')
    if not what:
        return f'{why}.'
    if _is_refused(_status(exc)):
        return _("Cannot make %(what)s: %(why)s.") % {'what': what, 'why': why}
    return _("%(why)s; whether %(what)s is made is not known.") % {
        'why': why,
        'what': what,
    }


def _status(exc: BaseException) -> int:
    response = getattr(exc, 'response', None)
    return 0 if response is None else int(response.status_code)


def _is_refused(status: int) -> bool:
    """Tell whether surely nothing was done; 0 is no answer at all."""
    return 400 <= status < 500


def hint(
    wanted: license_model.Wanted,
    place: license_project.Place,
    step: license_plan.Step,
) -> str:
    """Say what to do if a step is forbidden; '' if that is plain."""
    nodes = {node.name: node for node in wanted.nodes}
    node = nodes.get(step.name)
    if step.what != license_plan.PORT or node is None:
        return ''
    chosen = []
    if node.mac_address:
        chosen += ['--mac-address', node.mac_address]
    if node.fixed_ip:
        chosen += ['--fixed-ip', f'ip-address={node.fixed_ip}']
    if not chosen:
        return ''
    command = ['openstack', 'port', 'create', '--network', wanted.network_id]
    command += ['--project', place.id, '--no-security-group', *chosen]
    return _(
        "Only an admin or the owner of a network chooses addresses on it: "
        "leave them to Neutron, or have an admin make the port with: "
        "%(command)s."
    ) % {'command': shlex.join([*command, node.name])}


def troubles(
    wanted: license_model.Wanted, there: license_model.Present, timeout: int
) -> tuple[str, ...]:
    """Say what became of the servers, unless all is well.

    :param timeout: how long they were waited for, in seconds
    """
    found = [there.servers.get(node.name) for node in wanted.nodes]
    servers = [server for server in found if server]
    said = []
    for server in servers:
        if server.status == 'ERROR':
            said.append(_failed(wanted, there, server))
        elif server.status == 'BUILD' and timeout:
            said.append(
                _("Server %(server)s is not built after %(seconds)d seconds")
                % {'server': server.text, 'seconds': timeout}
            )
    hosts = [server.host_id for server in servers if server.host_id]
    if len(set(hosts)) < len(hosts):
        said.append(
            _("%s are on one host: should it fail, both are gone")
            % _(" and ").join(server.text for server in servers)
        )
    return tuple(said)


def _failed(
    wanted: license_model.Wanted,
    there: license_model.Present,
    server: license_model.Server,
) -> str:
    fault = ' '.join(server.fault.split()).removesuffix('.')
    said = [
        _("Server %(server)s is in ERROR: %(fault)s")
        % {
            'server': server.text,
            'fault': fault or _("Nova names no fault"),
        }
    ]
    if 'No valid host' in fault:
        said.append(_no_host(wanted, there, server))
    again = _(
        "Delete it (openstack server delete %s) and run the same command again"
    )
    port = there.ports.get(server.name)
    kept = (
        _("; its port keeps MAC address %s") % port.mac_address if port else ''
    )
    return '. '.join((*said, again % server.id + kept))


def _no_host(
    wanted: license_model.Wanted,
    there: license_model.Present,
    server: license_model.Server,
) -> str:
    others = [
        f'{other.name} ({other.host})' if other.host else other.name
        for other in there.servers.values()
        if other.id != server.id and other.host_id
    ]
    flavor = _flavor(wanted.flavor)
    if not others:
        return _("No host has room for %s, or none that may take it") % flavor
    return _(
        "Server group %(group)s keeps its servers apart (anti-affinity), so "
        "it takes another host than that of %(others)s with room for "
        "%(flavor)s"
    ) % {
        'group': wanted.name,
        'others': ', '.join(others),
        'flavor': flavor,
    }


def _flavor(flavor: flavors.Flavor) -> str:
    return _(
        "flavor %(name)s (%(vcpus)d VCPUs, %(ram)d MiB of RAM, %(disk)d GiB "
        "of disk)"
    ) % {
        'name': flavor.name,
        'vcpus': flavor.vcpus,
        'ram': flavor.ram,
        'disk': flavor.disk,
    }
