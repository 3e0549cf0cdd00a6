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

"""The floating IP of a new server: options, and what is done with them."""

import argparse
from typing import TYPE_CHECKING

from osc_lib import exceptions

from osc_gpu.cloud import errors
from osc_gpu.i18n import _

if TYPE_CHECKING:
    from openstack import connection

    from osc_gpu.cloud import floating_ips
    from osc_gpu.cloud import servers


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of which one may be given."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        '--floating-ip',
        metavar='<network>',
        help=_(
            "Make a floating IP of this external network (name or ID) and "
            "bind it to the server; implies --wait"
        ),
    )
    group.add_argument(
        '--floating-ip-address',
        metavar='<ip-address>',
        help=_("Bind this floating IP to the server; implies --wait"),
    )


def is_asked_for(parsed_args: argparse.Namespace) -> bool:
    """Tell whether the server is to get one."""
    return bool(parsed_args.floating_ip or parsed_args.floating_ip_address)


def refuse(parsed_args: argparse.Namespace) -> None:
    """Refuse a floating IP for a server that gets no port.

    :raises osc_lib.exceptions.CommandError: there would be none
    """
    # Core's --no-network and --nic none; all else is a dict, or 'auto'.
    if is_asked_for(parsed_args) and 'none' in parsed_args.nics:
        raise exceptions.CommandError(
            _(
                "%s is of no use with --no-network or --nic none: the server "
                "has no port to bind it to"
            )
            % (
                '--floating-ip'
                if parsed_args.floating_ip
                else '--floating-ip-address'
            )
        )


def plan(
    conn: 'connection.Connection', parsed_args: argparse.Namespace
) -> 'floating_ips.Plan | None':
    """Find what is named, before anything is made; None if nothing is.

    :raises osc_lib.exceptions.CommandError: it is not there, in use, or
        cannot be bound
    """
    from osc_gpu.cloud import floating_ips

    refuse(parsed_args)
    return floating_ips.plan(
        conn, parsed_args.floating_ip, parsed_args.floating_ip_address
    )


def give(
    conn: 'connection.Connection',
    asked: 'floating_ips.Plan',
    server: 'servers.GpuServer',
) -> str:
    """Bind it to a server and return its address.

    :raises osc_lib.exceptions.CommandError: that is refused; it names the
        server, which is left
    """
    from osc_gpu.cloud import floating_ips

    try:
        return floating_ips.give(conn, asked, server.id)
    except errors.REFUSALS as exc:
        why = errors.explain(exc, conn)
    except exceptions.CommandError as exc:
        why = str(exc)
    raise exceptions.CommandError(
        _(
            "Server %(name)s (%(id)s) is created and left as it is, without a "
            "floating IP: %(why)s"
        )
        % {'name': server.name, 'id': server.id, 'why': why}
    )
