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

"""``openstack gpu node config``: what makes a node offer its GPUs."""

import argparse
from collections.abc import Iterable
import pathlib
from typing import Any
from typing import TYPE_CHECKING

from osc_lib import exceptions

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import node_options
from osc_gpu.v1 import options

if TYPE_CHECKING:
    from osc_gpu.node import files as node_files
    from osc_gpu.node import releases

_STATUS = _("The exit status is 1 if any finding is an error.")


class ShowNodeConfig(command.Command):
    _description = _("""Show the configuration that offers GPUs of nodes.

Prints the files, or what is to be added to them, of one tool: Nova itself, a
deployment tool, or what the host's own system reads. They follow from what
the nodes have and from what is asked of them. No cloud is asked for
anything, and nothing is changed.""")

    auth_required = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        _add_options(parser)
        parser.add_argument(
            '--output',
            metavar='<folder>',
            type=options.not_empty,
            help=_(
                "Write the files below this folder instead of printing them; "
                "a file that is there and says something else is left, and "
                "nothing is written"
            ),
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from osc_gpu.node import file_tree

        found = _files(parsed_args)
        if not parsed_args.output:
            self.app.stdout.write('\n'.join(_headed(file) for file in found))
            return
        try:
            for path in file_tree.write(
                pathlib.Path(parsed_args.output), found
            ):
                self.app.stdout.write(f'{path}\n')
        except OSError as exc:
            raise exceptions.CommandError(
                f'--output {exc.filename}: {exc.strerror}'
            ) from exc
        except ValueError as exc:
            raise exceptions.CommandError(f'--output: {exc}') from exc


class CheckNodeConfig(command.Check):
    repair = 'Fix'

    _description = _("""Compare a configuration with what offers GPUs of nodes.

Takes the options of "gpu node config show" and compares what that prints with
what is there: a nova.conf or local.conf by what it means, whatever names and
order it has, any other file line by line. Of files that others write to as
well only lines that are missing are errors.""")
    _epilog = _STATUS  # type: ignore[assignment]

    auth_required = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        _add_options(parser)
        parser.add_argument(
            '--diff',
            metavar='<path>',
            required=True,
            type=options.not_empty,
            help=_(
                "What is there: a file, or a folder that has the files where "
                "--output of gpu node config show writes them"
            ),
        )
        parser.add_argument(
            '--reader',
            metavar='<reader>',
            choices=('compute', 'controller', 'deployment'),
            help=_(
                "Whose file it is, where several have one of that name: "
                "compute, controller or deployment"
            ),
        )
        parser.add_argument(
            '--node',
            metavar='<hostname>',
            type=options.not_empty,
            help=_("Of which node it is, where nodes differ"),
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
        from osc_gpu.node import config_check

        wanted = _files(parsed_args)
        try:
            found = config_check.check(
                wanted,
                pathlib.Path(parsed_args.diff),
                _release(parsed_args),
                parsed_args.reader,
                parsed_args.node,
            )
        except OSError as exc:
            raise exceptions.CommandError(
                f'--diff {exc.filename}: {exc.strerror}'
            ) from exc
        except ValueError as exc:
            raise exceptions.CommandError(f'--diff: {exc}') from exc
        return self.shown(found)


def _add_options(parser: argparse.ArgumentParser) -> None:
    from osc_gpu.node import configs
    from osc_gpu.node import releases
    from osc_gpu.node import wanted
    from osc_gpu.node import wanted_vgpus

    parser.add_argument(
        '--for',
        metavar='<tool>',
        dest='tool',
        required=True,
        choices=configs.TOOLS,
        help=_("What reads the configuration: %s") % ', '.join(configs.TOOLS),
    )
    parser.add_argument(
        '--alias',
        metavar='<name>[=<vendor>:<product>]',
        dest='aliases',
        action='append',
        default=[],
        type=options.checked(wanted.parse_alias),
        help=_(
            "PCI alias for cards that are passed through whole, or for what "
            "else is on them; without ids the model with that name, or the "
            "only model that there is, but for what shows the host's console "
            "beside another (repeat option for several aliases)"
        ),
    )
    parser.add_argument(
        '--vgpu-type',
        metavar='<type>[=<address>[,<address>...]]',
        dest='vgpu_types',
        action='append',
        default=[],
        type=options.checked(wanted_vgpus.parse),
        help=_(
            "vGPU type by its id or name, and the cards or VFs that are to "
            "have it; without addresses all cards that can (repeat option "
            "for several types)"
        ),
    )
    parser.add_argument(
        '--release',
        metavar='<release>',
        type=options.checked(releases.parse),
        help=_(
            "Release of OpenStack that is configured, from ocata on "
            "(default: the newest, %(newest)s; for tripleo its last, %(last)s)"
        )
        % {
            'newest': releases.NEWEST,
            'last': configs.newest_release('tripleo'),
        },
    )
    node_options.add_source_options(parser, several=True)


def _release(parsed_args: argparse.Namespace) -> 'releases.Release':
    from osc_gpu.node import configs

    found: releases.Release | None = parsed_args.release
    return found or configs.newest_release(parsed_args.tool)


def _files(parsed_args: argparse.Namespace) -> 'tuple[node_files.File, ...]':
    """Return the files that the options ask for.

    :raises osc_lib.exceptions.CommandError: the nodes do not have what is
        asked for, or the release or the tool cannot
    """
    from osc_gpu.node import configs
    from osc_gpu.node import wanted

    nodes = node_options.read_nodes(parsed_args)
    try:
        asked = wanted.match(
            nodes,
            parsed_args.aliases,
            parsed_args.vgpu_types,
            _release(parsed_args),
        )
        found = configs.files(parsed_args.tool, asked)
    except ValueError as exc:
        raise exceptions.CommandError(str(exc)) from exc
    if not found:
        raise exceptions.CommandError(
            _("%s has nothing to do for what is asked") % parsed_args.tool
        )
    return found


def _headed(file: 'node_files.File') -> str:
    """Return a file with a line that says where it belongs.

    It is a comment in all that is made. A script's first line stays where it
    is: the kernel runs nothing else, and systemd asks no shell to.
    """
    hosts = f' of {", ".join(file.hosts)}' if file.hosts else ''
    header = f'# {file.path} ({file.reader}{hosts})\n'
    first, end, rest = file.text.partition('\n')
    if first.startswith('#!'):
        return f'{first}{end}{header}{rest}'
    return f'{header}{file.text}'
