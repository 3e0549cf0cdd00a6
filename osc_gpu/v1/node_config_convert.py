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


"""``openstack gpu node config convert``: an old nova.conf as of today."""

import argparse
from collections.abc import Iterable
import pathlib
from typing import Any

from cliff import columns as cliff_columns
from osc_lib import exceptions

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import conf_options
from osc_gpu.v1 import options

_COLUMNS = ('Line', 'Old', 'New', 'Behaviour')


class LineColumn(cliff_columns.FormattableColumn[Any]):
    """The number of a line, empty for what has none."""

    def human_readable(self) -> str:
        """Return the number as text."""
        return '' if self._value is None else str(self._value)


class ConvertNodeConfig(command.Lister):
    _description = _("""Convert an old nova.conf or local.conf.

Lists what is called another way today, what is no longer there, and what
changes by it; what has no line is still to be done, in that order. With
--output the converted file is written, too: comments stay, and so do options
that have nothing to do with GPUs. No cloud is asked for anything.""")

    auth_required = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            '--from',
            metavar='<file>',
            dest='file',
            required=True,
            type=options.not_empty,
            help=_("A nova.conf, or a local.conf of DevStack's"),
        )
        parser.add_argument(
            '--output',
            metavar='<file>',
            type=options.not_empty,
            help=_("Write the converted file here; it must not be there yet"),
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
        from osc_gpu.node import conversion

        text = conf_options.read_text('--from', parsed_args.file)
        try:
            found = conversion.convert(text)
        except ValueError as exc:
            raise exceptions.CommandError(
                f'--from {parsed_args.file}: {exc}'
            ) from exc
        if parsed_args.output:
            _write(parsed_args.output, found.text)
        return _COLUMNS, (
            (
                LineColumn(change.line),
                change.old,
                change.new,
                change.behaviour,
            )
            for change in found.changes
        )


def _write(path: str, text: str) -> None:
    try:
        # There may be passwords in it.
        target = pathlib.Path(path)
        target.touch(mode=0o600, exist_ok=False)
        target.write_text(text)
    except OSError as exc:
        raise exceptions.CommandError(
            f'--output {path}: {exc.strerror}'
        ) from exc
