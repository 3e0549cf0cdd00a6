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


"""``openstack gpu node config compare``: nodes beside their cloud."""

import argparse
from collections.abc import Iterable
import os
from typing import Any
from typing import TYPE_CHECKING

from osc_lib import exceptions

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import conf_options
from osc_gpu.v1 import node_options
from osc_gpu.v1 import options

if TYPE_CHECKING:
    from osc_gpu.cloud import node_comparison
    from osc_gpu.node import conf_json
    from osc_gpu.node import model


class CompareNodeConfig(command.Check):
    repair = 'Fix'

    _description = _("""Compare nodes and nova.conf with a cloud (admin only).

Aliases are compared with those that flavors request and nova-api knows, and
with the resource classes of Placement; the GPUs of nodes with the devices
that Placement has of them. The exit status is 1 if there is an error.""")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        node_options.add_source_options(parser, several=True)
        parser.add_argument(
            '--config',
            metavar='<file>',
            dest='configs',
            action='append',
            default=[],
            type=options.not_empty,
            help=_(
                "nova.conf of a node or a controller (repeat option for "
                "several); without --root and --from only these are compared"
            ),
        )
        options.add_parallel_option(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
        from osc_gpu.cloud import node_comparison

        confs = [_conf(path) for path in parsed_args.configs]
        nodes = []
        if parsed_args.roots or parsed_args.files or not confs:
            nodes = [_node(n) for n in node_options.read_nodes(parsed_args)]
        found = node_comparison.compare(
            nodes,
            confs,
            node_comparison.read(self.connection, parsed_args.parallel),
        )
        return self.shown(found)


def _conf(path: str) -> 'node_comparison.Conf':
    from osc_gpu.cloud import node_comparison
    from osc_gpu.node import conf_pci

    text = conf_options.read_text('--config', path)
    try:
        found = conf_pci.read(text)
        conf_pci.check(found)
    except ValueError as exc:
        raise exceptions.CommandError(f'--config {path}: {exc}') from exc
    return node_comparison.Conf(
        os.path.basename(path),
        tuple(_alias(spec) for spec in found.aliases),
        found.reports,
        found.in_placement,
    )


def _alias(spec: 'conf_json.Spec') -> 'node_comparison.Alias':
    from osc_gpu.cloud import node_comparison

    vendor, product = (
        str(spec.get(key, '')).lower() for key in ('vendor_id', 'product_id')
    )
    return node_comparison.Alias(
        str(spec.get('name', '')).strip(),
        f'{vendor}:{product}' if vendor and product else '',
        str(spec.get('resource_class') or ''),
    )


def _node(node: 'model.Node') -> 'node_comparison.Node':
    from osc_gpu.cloud import node_comparison

    return node_comparison.Node(
        node.hostname or node.gpus[0].address,
        node.hostname,
        {
            gpu.address: {
                gpu.function.ids,
                *(vf.function.ids for vf in gpu.vfs or ()),
            }
            for gpu in node.gpus
        },
        {
            vf.function.address: vf.function.ids
            for gpu in node.gpus
            for vf in gpu.vfs or ()
        },
        # A card that can have none has all of them.
        all(gpu.vfs is not None or gpu.total_vfs == 0 for gpu in node.gpus),
    )
