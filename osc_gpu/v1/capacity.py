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

"""``openstack gpu capacity``: how many servers of a flavor still fit."""

import argparse
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import logging
from typing import Any
from typing import TYPE_CHECKING

from osc_lib.cli import format_columns
from osc_lib import exceptions

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import columns
from osc_gpu.v1 import options

if TYPE_CHECKING:
    from openstack import connection

    from osc_gpu.cloud import capacity
    from osc_gpu.cloud import capacity_reading
    from osc_gpu.cloud import flavors
    from osc_gpu.cloud import resource_request

LOG = logging.getLogger(__name__)

_COLUMNS = (
    'Flavor',
    'GPU Request',
    'Fits',
    'Hosts',
    'Free GPUs',
    'Blocked By',
)
_FIELDS = (
    'flavor',
    'gpu_request',
    'resource_classes',
    'fits',
    'hosts_that_fit',
    'free_gpus',
    'most_free_on_one_host',
    'blocked_by',
    'without',
    'fragmentation',
    'notes',
    'hosts',
)


def _stated_class(text: str) -> tuple[str, str]:
    """Read ``[<alias>=]<class>``; the alias is '' where none is given."""
    from osc_gpu.cloud import extra_specs

    alias, equals, name = text.rpartition('=')
    if equals:
        extra_specs.check_alias_name(alias, text)
    return alias, extra_specs.check_resource_class(name)


def _add_class_option(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument(
        '--resource-class',
        metavar='<resource-class>',
        dest='resource_classes',
        action='append',
        default=[],
        type=options.checked(_stated_class),
        help=text,
    )


class ListCapacity(command.Lister):
    _description = _("List how many servers of GPU flavors fit (admin only)")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            '--host',
            metavar='<host>',
            type=options.not_empty,
            help=_("Count only this host (hypervisor hostname)"),
        )
        parser.add_argument(
            '--flavor',
            metavar='<flavor>',
            dest='flavors',
            action='append',
            default=[],
            help=_(
                "List only this flavor (name or ID; repeat option to list "
                "multiple flavors)"
            ),
        )
        _add_class_option(
            parser,
            _(
                "List only flavors that request this resource class, which "
                "counts as that of a GPU whatever its name is; as "
                "<alias>=<resource-class>: what a PCI alias stands for of "
                "which no server tells (repeat option for several)"
            ),
        )
        options.add_parallel_option(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
        from osc_gpu.cloud import capacity_reading
        from osc_gpu.cloud import flavors

        given, wanted = _stated(parsed_args)
        every = flavors.list_flavors(self.connection)
        chosen = {
            flavor.id: flavor
            for name in parsed_args.flavors
            for flavor in [_pick(self.connection, every, name)]
        }
        for flavor in chosen.values():
            _require_gpu(flavor, wanted)
        survey = capacity_reading.survey(
            self.connection,
            _with_gpu(chosen.values() or every, wanted),
            also=wanted,
            given=given,
            at_once=parsed_args.parallel,
            host=parsed_args.host,
            others=every,
        )
        _warn(survey, given)
        return _COLUMNS, _rows(
            verdict
            for verdict in survey.verdicts
            if not wanted or verdict.classes.keys() & set(wanted)
        )


def _stated(
    parsed_args: argparse.Namespace,
) -> tuple[dict[str, str], list[str]]:
    """Split what was said of classes: by alias, and without one."""
    stated = parsed_args.resource_classes
    return (
        {alias: name for alias, name in stated if alias},
        [name for alias, name in stated if not alias],
    )


def _pick(
    conn: 'connection.Connection',
    every: 'Iterable[flavors.Flavor]',
    name_or_id: str,
) -> 'flavors.Flavor':
    """Find a flavor among all; ask for one that no list shows."""
    from osc_gpu.cloud import flavors

    found = [f for f in every if f.id == name_or_id]
    found += [f for f in every if f.name == name_or_id]
    return found[0] if found else flavors.find_flavor(conn, name_or_id)


def _with_gpu(
    found: 'Iterable[flavors.Flavor]', also: Collection[str]
) -> 'list[flavors.Flavor]':
    """Return those that request GPUs, even if malformed, by name."""
    from osc_gpu.cloud import extra_specs
    from osc_gpu.cloud import resource_request

    return [
        flavor
        for flavor in sorted(found, key=lambda f: (f.name, f.id))
        if extra_specs.parse(flavor.extra_specs, also)
        or resource_request.is_malformed(flavor.extra_specs)
    ]


def _require_gpu(flavor: 'flavors.Flavor', also: Collection[str]) -> None:
    if not _with_gpu([flavor], also):
        raise exceptions.CommandError(
            _(
                "Flavor %s requests no GPU. If a resource class that it "
                "requests is one, say so with --resource-class."
            )
            % flavor.name
        )


def _warn(survey: 'capacity_reading.Survey', given: Mapping[str, str]) -> None:
    """Say what the numbers stand on, and which GPUs lie too scattered."""
    from osc_gpu.cloud import capacity_notes

    said = [
        note
        for verdict in survey.verdicts
        for note in capacity_notes.of_aliases(survey.cloud, verdict, given)
    ]
    said += [
        fragment.text
        for fragment in capacity_notes.fragments(*survey, given)
        if fragment.ruled_out
    ]
    for text in dict.fromkeys(said):
        # Below this level nobody would see it.
        LOG.warning('%s', text)


def _rows(
    verdicts: 'Iterable[capacity.Verdict]',
) -> list[tuple[Any, ...]]:
    from osc_gpu.cloud import capacity
    from osc_gpu.v1 import capacity_columns

    found = list(verdicts)
    # Plain numbers are aligned, but do not sort beside a word.
    count: Callable[[Any], Any] = int
    if any(verdict.fits is None for verdict in found):
        count = capacity_columns.CountColumn
    return [
        (
            verdict.request.flavor,
            verdict.request.gpu_request.text,
            *map(count, _numbers(verdict)[:3]),
            capacity.blocked_by(verdict),
        )
        for verdict in found
    ]


def _numbers(verdict: 'capacity.Verdict') -> tuple[int | None, ...]:
    """Return how many fit, on how many hosts, and the GPUs free for them.

    Those free in all, and on one host; None for what is not known.
    """
    if verdict.fits is None:
        return (None,) * 4
    return (
        verdict.fits,
        verdict.hosts_that_fit,
        verdict.free,
        verdict.most_free,
    )


class ShowCapacity(command.ShowOne):
    _description = _(
        "Show what limits a GPU flavor, host by host (admin only)"
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            'flavor',
            metavar='<flavor>',
            help=_("Flavor to show (name or ID)"),
        )
        _add_class_option(
            parser,
            _(
                "What the flavor's PCI alias stands for if no server tells, "
                "as <alias>=<resource-class> if it has several (repeat "
                "option); of a flavor without alias: a class to count as that "
                "of a GPU"
            ),
        )
        options.add_parallel_option(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        from osc_gpu.cloud import capacity
        from osc_gpu.cloud import capacity_notes
        from osc_gpu.cloud import capacity_reading
        from osc_gpu.cloud import flavors
        from osc_gpu.v1 import capacity_columns

        every = flavors.list_flavors(self.connection)
        flavor = _pick(self.connection, every, parsed_args.flavor)
        given, also = _given(flavor, *_stated(parsed_args))
        _require_gpu(flavor, also)
        cloud, (verdict,) = capacity_reading.survey(
            self.connection,
            [flavor],
            also=also,
            given=given,
            at_once=parsed_args.parallel,
            others=every,
        )
        if not verdict.fits:
            cloud = capacity_reading.with_totals(
                self.connection, cloud, verdict.classes, parsed_args.parallel
            )
            verdict = capacity.judge(cloud, verdict.request, given)
        others = [
            capacity.judge(cloud, request, given)
            for request in _requests(_with_gpu(every, also), also)
        ]
        fragments = [
            fragment.text
            for fragment in capacity_notes.fragments(cloud, others, given)
            if fragment.resource_class in verdict.classes
        ]
        return _FIELDS, (
            flavor.name,
            verdict.request.gpu_request.text,
            format_columns.DictColumn(dict(verdict.classes)),
            *map(capacity_columns.CountColumn, _numbers(verdict)),
            capacity.blocked_by(verdict),
            capacity_columns.WithoutColumn(
                capacity.relax(cloud, verdict, given)
            ),
            columns.LinesColumn(fragments),
            columns.LinesColumn(capacity_notes.read(cloud, verdict, given)),
            capacity_columns.HostsColumn(verdict.hosts),
        )


def _requests(
    found: 'Iterable[flavors.Flavor]', also: Collection[str]
) -> 'list[resource_request.Request]':
    from osc_gpu.cloud import resource_request

    return [resource_request.read(flavor, also) for flavor in found]


def _given(
    flavor: 'flavors.Flavor', given: dict[str, str], plain: list[str]
) -> tuple[dict[str, str], list[str]]:
    """Tell classes of a flavor's aliases from those that count as GPUs.

    :raises CommandError: if it is open which alias is meant
    """
    from osc_gpu.cloud import extra_specs

    aliases = [n for n, _c in extra_specs.parse(flavor.extra_specs).aliases]
    for alias in given:
        if alias not in aliases:
            raise exceptions.CommandError(
                _("Flavor %(flavor)s does not request alias %(alias)s.")
                % {'flavor': flavor.name, 'alias': alias}
            )
    slots = extra_specs.grouped(extra_specs.RESOURCES, flavor.extra_specs)
    asked = {slot.name for slot in slots}
    open_ = [name for name in plain if name not in asked]
    if open_ and (len(aliases) != 1 or len(open_) > 1):
        raise exceptions.CommandError(
            _(
                "Flavor %(flavor)s has %(count)d aliases and does not request "
                "%(class)s: say which alias stands for it with "
                "--resource-class <alias>=%(class)s"
            )
            % {
                'flavor': flavor.name,
                'count': len(aliases),
                'class': open_[0],
            }
        )
    also = [name for name in plain if name in asked]
    return given | dict.fromkeys(aliases[: len(open_)], ''.join(open_)), also
