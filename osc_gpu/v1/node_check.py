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

"""``openstack gpu node check``: what is wrong with a node for its GPUs."""

import argparse
from collections.abc import Iterable
import re
from typing import Any
from typing import TYPE_CHECKING

from osc_lib import exceptions

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import node_options
from osc_gpu.v1 import options

if TYPE_CHECKING:
    from osc_gpu.node import model

_ADDRESS = '(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}:[0-9a-f]{2}[.][0-7])'


def _address(text: str) -> str:
    found = re.fullmatch(_ADDRESS, text.lower())
    if found is None:
        raise ValueError(
            _("'%s' is not a PCI address as in 0000:84:00.0") % text
        )
    return f'{found[1] or "0000"}:{found[2]}'


def _chosen(
    node: 'model.Node', parsed_args: argparse.Namespace
) -> frozenset[str]:
    """Return the addresses of the GPUs to check; none for all.

    :raises osc_lib.exceptions.CommandError: there are none of what was named
    """
    from osc_gpu.node import uses
    from osc_gpu.node import wanted

    known = {gpu.address for gpu in node.gpus}
    for address in parsed_args.addresses:
        if address not in known:
            raise exceptions.CommandError(
                _("--address %(address)s: no GPU is there; GPUs: %(known)s")
                % {'address': address, 'known': ', '.join(sorted(known))}
            )
    chosen = set(parsed_args.addresses)
    if parsed_args.aliases:
        try:
            matched = wanted.match([node], parsed_args.aliases, ())
        except ValueError as exc:
            raise exceptions.CommandError(str(exc)) from exc
        passed = {f.address for offer in matched.offers for f in offer.passed}
        chosen |= uses.of_functions(node, passed)
    return frozenset(chosen)


def _before(node: 'model.Node', path: str | None) -> 'model.Node | None':
    """Read what a node was before.

    :raises osc_lib.exceptions.CommandError: it cannot be read, or is another
    """
    if path is None:
        return None
    from osc_gpu.node import sources

    old = node_options.read_node(f'--before {path}', path, sources.read_file)
    if old.hostname and node.hostname and old.hostname != node.hostname:
        raise exceptions.CommandError(
            _("--before %(path)s: is of %(old)s, and checked is %(new)s")
            % {'path': path, 'old': old.hostname, 'new': node.hostname}
        )
    return old


class CheckNode(command.Check):
    repair = 'Fix'

    _description = _("""Check a compute node for what its GPUs are to be for.

Lists what keeps its GPUs from servers, what may, and what could not be seen:
the exit status is 1 if any of that is an error. Fix is what an admin of the
node can type or write. Without --for, only what is wrong for any purpose is
found. With an older file of the node, GPUs and VFs that are gone are found,
too. No cloud is asked for anything.""")

    auth_required = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        from osc_gpu.node import uses
        from osc_gpu.node import wanted

        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            '--for',
            metavar='<purpose>',
            dest='purpose',
            choices=uses.PURPOSES,
            default='',
            help=_(
                "What GPUs are to be for: passthrough, vgpu for mediated "
                "devices, or vfio-vgpu for VFs of the vendor's VFIO driver"
            ),
        )
        parser.add_argument(
            '--address',
            metavar='<address>',
            dest='addresses',
            action='append',
            default=[],
            type=options.checked(_address),
            help=_(
                "Check only the GPU at this PCI address (repeat option for "
                "several; default: all but one that is in the processor, "
                "or shows the console beside other models)"
            ),
        )
        parser.add_argument(
            '--alias',
            metavar='<name>[=<vendor>:<product>]',
            dest='aliases',
            action='append',
            default=[],
            type=options.checked(wanted.parse_alias),
            help=_(
                "Check only the GPUs that are to have this PCI alias; it is "
                "refused if they are of several models (repeat option for "
                "several)"
            ),
        )
        parser.add_argument(
            '--before',
            metavar='<file>',
            help=_(
                "JSON of 'gpu node show' that the node gave before: what it "
                "has less of now is an error"
            ),
        )
        node_options.add_source_options(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
        from osc_gpu.node import checks

        (node,) = node_options.read_nodes(parsed_args)
        found = checks.check(
            node,
            parsed_args.purpose,
            _chosen(node, parsed_args),
            _before(node, parsed_args.before),
        )
        return self.shown(found)
