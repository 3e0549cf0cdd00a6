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

"""``openstack gpu node diff``: may servers migrate between two nodes."""

import argparse
from collections.abc import Iterable
from typing import Any

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import node_options
from osc_gpu.v1 import options


class DiffNode(command.Check):
    repair = 'Fix'

    _description = _("""Tell whether servers may migrate between two nodes.

Lists what stands in the way from the first node to the second, and what only
in the way back; nothing, if there is nothing. The exit status is 1 if an
error is in the way there. It is about cold migration: live, a server also
needs the same vGPU type by the same ID at both nodes, libvirt 8.6, QEMU 8.1
and a kernel of 5.18, or a card that Nova has as live_migratable. Of two files
of one node, from before and after a change, it lists what the node has lost,
such as VFs. No cloud is asked for anything.""")

    auth_required = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        for name, text in (
            ('source', _("File of the node that servers leave")),
            ('target', _("File of the node that servers go to")),
        ):
            parser.add_argument(
                name,
                metavar=f'<{name}>',
                type=options.not_empty,
                help=_(
                    "%s: what 'gpu node show -f json' printed there, or text "
                    "of lspci"
                )
                % text,
            )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
        from osc_gpu.node import comparison
        from osc_gpu.node import sources

        names = (parsed_args.source, parsed_args.target)
        source, target = (
            node_options.read_node(name, name, sources.read_file)
            for name in names
        )
        return self.shown(comparison.compare(source, target, names))
