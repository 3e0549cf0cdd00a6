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

"""Options of commands that are about compute nodes: where their facts are."""

import argparse
from collections.abc import Callable
import pathlib
import sys
from typing import TYPE_CHECKING

from osc_lib import exceptions

from osc_gpu.i18n import _
from osc_gpu.v1 import options

if TYPE_CHECKING:
    from osc_gpu.node import model


def add_source_options(
    parser: argparse.ArgumentParser, several: bool = False
) -> None:
    """Add ``--root`` and ``--from``; ``read_nodes`` reads them back.

    :param several: whether either can be repeated, for several nodes
    """
    more = _(" (repeat option for several nodes)") if several else ''
    group = parser if several else parser.add_mutually_exclusive_group()
    group.add_argument(
        '--root',
        metavar='<folder>',
        dest='roots',
        action='append' if several else _One,
        default=[],
        type=options.not_empty,
        help=_(
            "Read the node whose root folder, or a copy of one with its /sys, "
            "/proc and /etc, is here (default: /)"
        )
        + more,
    )
    group.add_argument(
        '--from',
        metavar='<file>',
        dest='files',
        action='append' if several else _One,
        default=[],
        type=options.not_empty,
        help=_(
            'Read a node from this file: what "openstack gpu node show -f '
            'json" printed there, or lspci, best as "lspci -nnk -D"; - reads '
            "standard input"
        )
        + more,
    )


class _One(argparse.Action):
    """Keeps the last value, in a list as long as those of ``append``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Set the list."""
        setattr(namespace, self.dest, [values])


def read_nodes(parsed_args: argparse.Namespace) -> 'tuple[model.Node, ...]':
    """Read the nodes that the options name; without any, this machine.

    :returns: at least one, each with a GPU at least; those of --root first
    :raises osc_lib.exceptions.CommandError: one cannot be read
    """
    from osc_gpu.node import facts

    roots, files = parsed_args.roots, parsed_args.files
    if not roots and not files:
        roots = ['/']
    return (
        *(read_node(f'--root {path}', path, facts.read) for path in roots),
        *(read_node(f'--from {path}', path, _read_file) for path in files),
    )


def _read_file(path: pathlib.Path) -> 'model.Node':
    from osc_gpu.node import sources

    if str(path) == '-':
        return sources.read(sys.stdin.buffer)
    if path.is_dir():
        raise ValueError(_("is a folder: use --root"))
    return sources.read_file(path)


def read_node(
    named: str, path: str, read: 'Callable[[pathlib.Path], model.Node]'
) -> 'model.Node':
    """Read one node, which has a GPU at least.

    :param named: the option and the path, as they were typed
    :raises osc_lib.exceptions.CommandError: it cannot be read
    """
    from osc_gpu.node import gpus

    try:
        node = read(pathlib.Path(path))
    except OSError as exc:
        why = exc.strerror or type(exc).__name__
    except ValueError as exc:
        why = str(exc)
    else:
        if node.gpus:
            return node
        why = _(
            "has no GPU: none of its PCI devices is one, of the classes %s; "
            "the display of a management controller is none, nor a virtual one"
        ) % ', '.join(gpus.CLASSES)
    raise exceptions.CommandError(f'{named}: {why}')
