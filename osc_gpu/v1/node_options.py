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
import pathlib
from typing import TYPE_CHECKING

from osc_lib import exceptions

from osc_gpu.i18n import _

if TYPE_CHECKING:
    from osc_gpu.node import model


def add_source_options(
    parser: argparse.ArgumentParser, several: bool = False
) -> None:
    """Add ``--root`` and ``--from``; ``read_nodes`` reads them back.

    :param several: whether either can be repeated, for several nodes
    """
    raise NotImplementedError


def read_nodes(parsed_args: argparse.Namespace) -> 'tuple[model.Node, ...]':
    """Read the nodes that the options name; without any, this machine.

    :returns: at least one, each with a GPU at least; --root first
    :raises osc_lib.exceptions.CommandError: one cannot be read
    """
    raise NotImplementedError
