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

"""``openstack gpu node show``: the GPUs of a compute node."""

import argparse
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any
from typing import TYPE_CHECKING

from cliff import columns as cliff_columns

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import node_options

if TYPE_CHECKING:
    from osc_gpu.node import model

_UNKNOWN = 'unknown'
_NONE = 'none'
_COLUMNS = (
    'Address',
    'Model',
    'IDs',
    'NUMA Node',
    'IOMMU Group',
    'Driver',
    'Companions',
    'VFs',
    'mDev Types',
)


class ValueColumn(cliff_columns.FormattableColumn[Any]):
    """A value; for people the words unknown for None, and none for ''."""

    def human_readable(self) -> str:
        """Return the value or the word."""
        if self._value is None:
            return _UNKNOWN
        return str(self._value) or _NONE

    def machine_readable(self) -> Any:
        """Return the value."""
        return self._value


class CompanionsColumn(cliff_columns.FormattableColumn[Any]):
    """Functions in a GPU's slot."""

    def human_readable(self) -> str:
        """Return a line for each: address, ids, driver."""
        return '\n'.join(
            ' '.join(filter(None, (f.address, f.ids, f.driver)))
            for f in self._value
        )

    def machine_readable(self) -> list[dict[str, Any]]:
        """Return a list of ``{"address", "ids", "driver"}``."""
        return [
            {'address': f.address, 'ids': f.ids, 'driver': f.driver}
            for f in self._value
        ]


class VfsColumn(cliff_columns.FormattableColumn[Any]):
    """How many VFs a GPU has, and can have."""

    def human_readable(self) -> str:
        """Return ``16 of 16``."""
        has, total = self._numbers()
        if total == 0:
            return '0'
        if has is None and total is None:
            return _UNKNOWN
        return _("%(has)s of %(total)s") % {
            'has': _UNKNOWN if has is None else has,
            'total': _UNKNOWN if total is None else total,
        }

    def machine_readable(self) -> dict[str, int | None]:
        """Return ``{"has", "total"}``."""
        has, total = self._numbers()
        return {'has': has, 'total': total}

    def _numbers(self) -> tuple[int | None, int | None]:
        gpu = self._value
        return None if gpu.vfs is None else len(gpu.vfs), gpu.total_vfs


class MdevTypesColumn(cliff_columns.FormattableColumn[Any]):
    """Types of mediated devices of a GPU and its VFs, added up."""

    def human_readable(self) -> str:
        """Return a line for each type: name, number, how many more.

        Those of which there is none, and can be none, are left out.
        """
        types = self.machine_readable()
        if types is None:
            return _UNKNOWN
        return '\n'.join(
            _("%(type)s: %(created)d made, %(available)d available")
            % {**one, 'type': ' '.join(filter(None, (one['id'], one['name'])))}
            for one in types
            if one['created'] or one['available']
        )

    def machine_readable(self) -> list[dict[str, Any]] | None:
        """Return a list of ``{"id", "name", "available", "created"}``."""
        gpu = self._value
        holders = [gpu, *(gpu.vfs or ())]
        if any(holder.vgpus is None for holder in holders):
            return None
        found: dict[str, dict[str, Any]] = {}
        for holder in holders:
            for one in holder.vgpus.mdev_types:
                total = found.setdefault(
                    one.id,
                    {
                        'id': one.id,
                        'name': one.name,
                        'available': 0,
                        'created': 0,
                    },
                )
                total['available'] += one.available
                total['created'] += one.created
        return list(found.values())


class ShowNode(command.Lister):
    _description = _("""Show the GPUs of a compute node.

Reads /sys, /proc and /etc of this machine, for which root's rights are not
needed, or what --root or --from names. No cloud is asked for anything. What
cannot be told from there is shown as unknown.

With -f json, and no -c, all that is known of the node is printed, as the
commands "gpu node ..." read it with --from; all other formats show the
columns of a list.""")

    auth_required = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        node_options.add_source_options(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterable[Any]]:
        (node,) = node_options.read_nodes(parsed_args)
        if _is_record(parsed_args):
            return (), (node,)
        return _COLUMNS, [_row(node, gpu) for gpu in node.gpus]

    def produce_output(
        self,
        parsed_args: argparse.Namespace,
        column_names: Sequence[str],
        data: Iterable[Any],
    ) -> int:
        """Print a node as it is read back, or rows in the format asked for."""
        if not _is_record(parsed_args):
            status: int = super().produce_output(
                parsed_args, column_names, data
            )
            return status
        from osc_gpu.node import records

        (node,) = data
        indent = None if parsed_args.noindent else 2
        self.app.stdout.write(records.as_text(node, indent))
        return 0


def _is_record(parsed_args: argparse.Namespace) -> bool:
    """Tell whether what is asked for is the file that --from reads."""
    return parsed_args.formatter == 'json' and not parsed_args.columns


def _row(node: 'model.Node', gpu: 'model.Gpu') -> tuple[Any, ...]:
    from osc_gpu.data import pci_names

    function = gpu.function
    group = '' if node.has_iommu is False else function.iommu_group
    return (
        gpu.address,
        ValueColumn(pci_names.lookup(function.vendor_id, function.product_id)),
        function.ids,
        ValueColumn(function.numa_node),
        ValueColumn(group),
        ValueColumn(function.driver),
        CompanionsColumn(gpu.companions),
        VfsColumn(gpu),
        MdevTypesColumn(gpu),
    )
