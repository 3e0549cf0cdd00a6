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

"""``openstack gpu license server create``: NVIDIA's license appliance."""

import argparse
from collections.abc import Iterable
from typing import Any
from typing import TYPE_CHECKING

from cliff import columns as cliff_columns
from osc_lib import exceptions

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import columns
from osc_gpu.v1 import options
from osc_gpu.v1 import terminal

if TYPE_CHECKING:
    from osc_gpu.cloud import license_model
    from osc_gpu.cloud import license_server

DEFAULT_TIMEOUT = 600
DEFAULT_ROLE = 'member'

#: What Nova's database can hold, with room for the number of a node.
_LONGEST_NAME = 253

_FIELDS = (
    'name',
    'status',
    'project_id',
    'security_group_id',
    'server_group_id',
    'mac_addresses',
    'urls',
    'servers',
    'steps',
)


class NodesColumn(cliff_columns.FormattableColumn[Any]):
    """The servers of a license server: one per line, or a list of dicts."""

    def human_readable(self) -> str:
        """Return ``<name> <status> <MAC address> <addresses>`` lines."""
        return '\n'.join(
            ' '.join(
                filter(
                    None,
                    (
                        node['name'],
                        node['status'],
                        node['mac_address'],
                        *node['addresses'],
                    ),
                )
            )
            for node in self._value
        )

    def machine_readable(self) -> list[dict[str, Any]]:
        """Return all that there is to know of each."""
        return list(self._value)


class CreateLicenseServer(command.ShowOne):
    _description = _("""Create a server from NVIDIA's license appliance.

Makes a security group, a port that keeps its MAC address, an anti-affinity
server group and the server; with --ha two ports and two servers. All are
named after the license server. What is there by its name already is used, and
only what is missing is made: run the same command again after a failure, or
after the server was deleted. What differs from what is asked for is left as
it is, named, and ends the command with 1.""")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            'name',
            metavar='<name>',
            type=options.checked(_name),
            help=_(
                "Name of the security group and of the server group; the "
                "ports and servers are <name>-1 and <name>-2"
            ),
        )
        _add_server_options(parser)
        _add_address_options(parser)
        _add_project_options(parser)
        parser.add_argument(
            '--wait',
            action='store_true',
            help=_("Wait until the servers are built"),
        )
        parser.add_argument(
            '--timeout',
            metavar='<seconds>',
            type=options.whole_number(1),
            help=_(
                "Seconds after which --wait gives up, leaving the servers as "
                "they are (default: %d)"
            )
            % DEFAULT_TIMEOUT,
        )
        parser.add_argument(
            '--dry-run',
            action='store_true',
            help=_("Show what is missing; make nothing"),
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        from osc_gpu.cloud import license_server

        if parsed_args.timeout and not parsed_args.wait:
            raise exceptions.CommandError(
                _("--timeout %d is of no use without --wait")
                % parsed_args.timeout
            )
        timeout = parsed_args.timeout or DEFAULT_TIMEOUT
        outcome = license_server.create(
            license_server.Run(self.connection, terminal.progress()),
            _order(parsed_args),
            timeout=timeout if parsed_args.wait else 0,
            is_dry=parsed_args.dry_run,
        )
        self.failure = ' '.join(f'{said}.' for said in outcome.troubles)
        return _FIELDS, _values(outcome)


def _name(text: str) -> str:
    if text != text.strip() or not text.isprintable() or not text:
        raise ValueError(
            _("'%s' is empty, or has blanks around it or control characters")
            % text
        )
    if len(text) > _LONGEST_NAME:
        raise ValueError(
            _("has %(length)d characters, more than %(most)d")
            % {'length': len(text), 'most': _LONGEST_NAME}
        )
    return text


def _add_server_options(parser: argparse.ArgumentParser) -> None:
    for option, text in (
        ('--image', _("Image of the license appliance (name or ID)")),
        ('--flavor', _("Flavor of the server (name or ID)")),
        ('--network', _("Network that the port is on (name or ID)")),
    ):
        parser.add_argument(
            option,
            metavar=f'<{option[2:]}>',
            required=True,
            type=options.not_empty,
            help=text,
        )
    parser.add_argument(
        '--key-name',
        metavar='<key-name>',
        type=options.not_empty,
        help=_("Keypair to inject into the server"),
    )
    parser.add_argument(
        '--ha',
        action='store_true',
        help=_(
            "Create a second server, on another host, for high availability"
        ),
    )


def _add_address_options(parser: argparse.ArgumentParser) -> None:
    from osc_gpu.cloud import license_model
    from osc_gpu.cloud import license_rules

    parser.add_argument(
        '--mac-address',
        metavar='<mac-address>',
        dest='mac_addresses',
        action='append',
        default=[],
        type=options.checked(license_model.parse_mac),
        help=_(
            "MAC address of the port, as the license has it (default: Neutron "
            "chooses one; repeat option for the second server; admin only, "
            "unless the network is the project's)"
        ),
    )
    parser.add_argument(
        '--fixed-ip-address',
        metavar='<ip-address>',
        dest='fixed_ips',
        action='append',
        default=[],
        type=options.checked(license_model.parse_address),
        help=_(
            "IP address of the port (repeat option for the second server; "
            "admin only, unless the network is the project's)"
        ),
    )
    parser.add_argument(
        '--remote-ip',
        metavar='<ip-address>',
        dest='remote_ips',
        action='append',
        default=[],
        type=options.checked(license_rules.parse_network),
        help=_(
            "Who may reach the license server: an address, or a network such "
            "as 10.0.0.0/8; 0.0.0.0/0 is everybody (default: the subnets of "
            "--network; repeat option for several)"
        ),
    )


def _add_project_options(parser: argparse.ArgumentParser) -> None:
    project = parser.add_mutually_exclusive_group()
    project.add_argument(
        '--project',
        metavar='<project>',
        type=options.not_empty,
        help=_(
            "Project to create it in, in which you have a role (name or ID; "
            "default: yours)"
        ),
    )
    project.add_argument(
        '--new-project',
        metavar='<name>',
        type=options.not_empty,
        help=_(
            "Project to create it in, which is created unless it is there, as "
            "is your role in it (admin only)"
        ),
    )
    parser.add_argument(
        '--project-domain',
        metavar='<project-domain>',
        type=options.not_empty,
        help=_("Domain the project belongs to (name or ID)"),
    )
    parser.add_argument(
        '--role',
        metavar='<role>',
        type=options.not_empty,
        help=_("Role to take in the new project (default: %s)") % DEFAULT_ROLE,
    )


def _order(parsed_args: argparse.Namespace) -> 'license_server.Order':
    from osc_gpu.cloud import license_model
    from osc_gpu.cloud import license_project
    from osc_gpu.cloud import license_server

    project = parsed_args.project or parsed_args.new_project
    for option, value, needs, is_there in (
        (
            '--project-domain',
            parsed_args.project_domain,
            '--project',
            project,
        ),
        ('--role', parsed_args.role, '--new-project', parsed_args.new_project),
    ):
        if value and not is_there:
            raise exceptions.CommandError(
                _("%(option)s %(value)s is of no use without %(needs)s")
                % {'option': option, 'value': value, 'needs': needs}
            )
    return license_server.Order(
        name=parsed_args.name,
        nodes=license_model.nodes(
            parsed_args.name,
            2 if parsed_args.ha else 1,
            parsed_args.mac_addresses,
            parsed_args.fixed_ips,
        ),
        project=license_project.Asked(
            project or '',
            parsed_args.project_domain or '',
            bool(parsed_args.new_project),
            parsed_args.role or DEFAULT_ROLE,
        ),
        flavor=parsed_args.flavor,
        image=parsed_args.image,
        network=parsed_args.network,
        key_name=parsed_args.key_name or '',
        remotes=tuple(dict.fromkeys(parsed_args.remote_ips)),
    )


def _values(outcome: 'license_server.Outcome') -> tuple[Any, ...]:
    there = outcome.there
    nodes = [_node(node.name, there) for node in outcome.wanted.nodes]
    return (
        outcome.wanted.name,
        _status(node['status'] for node in nodes),
        outcome.project_id,
        there.security_group.id if there.security_group else '',
        there.server_group.id if there.server_group else '',
        columns.LinesColumn(
            [node['mac_address'] for node in nodes if node['mac_address']]
        ),
        columns.LinesColumn(
            [_url(address) for node in nodes for address in node['addresses']]
        ),
        NodesColumn(nodes),
        columns.LinesColumn(outcome.steps),
    )


def _node(name: str, there: 'license_model.Present') -> dict[str, Any]:
    server, port = there.servers.get(name), there.ports.get(name)
    return {
        'name': name,
        'id': server.id if server else '',
        'status': server.status if server else '',
        'port_id': port.id if port else '',
        'mac_address': port.mac_address if port else '',
        'addresses': list(port.addresses) if port else [],
    }


def _status(statuses: Iterable[str]) -> str:
    """Return the status that all servers have, or the first that is worse."""
    found = list(statuses)
    return next((s for s in found if s != 'ACTIVE'), found[0])


def _url(address: str) -> str:
    """Return where the web interface is."""
    return f'https://[{address}]/' if ':' in address else f'https://{address}/'
