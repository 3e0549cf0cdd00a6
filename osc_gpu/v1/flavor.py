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

"""GPU flavors: ``gpu flavor create|list|set|show|unset``."""

import argparse
from collections.abc import Collection
from collections.abc import Iterable
import logging
from typing import Any
from typing import TYPE_CHECKING

from osc_lib.cli import format_columns
from osc_lib.cli import identity
from osc_lib import exceptions

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import flavor_options
from osc_gpu.v1 import options

if TYPE_CHECKING:
    from osc_gpu.cloud import flavors

LOG = logging.getLogger(__name__)

_FIELDS = (
    'id',
    'name',
    'vcpus',
    'ram',
    'disk',
    'ephemeral',
    'swap',
    'is_public',
    'gpu_request',
    'gpu_count',
    'properties',
)


def _format_flavor(
    flavor: 'flavors.Flavor', also: Collection[str]
) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    from osc_gpu.cloud import extra_specs

    request = extra_specs.parse(flavor.extra_specs, also)
    return _FIELDS, (
        flavor.id,
        flavor.name,
        flavor.vcpus,
        flavor.ram,
        flavor.disk,
        flavor.ephemeral,
        flavor.swap,
        flavor.is_public,
        request.text,
        request.count,
        format_columns.DictColumn(dict(flavor.extra_specs)),
    )


def _warn_of_unknown_classes(classes: Iterable[str]) -> None:
    from osc_gpu.cloud import resource_classes

    for name in dict.fromkeys(classes):
        if not resource_classes.is_gpu_class(name):
            # Below this level nobody would see it.
            LOG.warning(
                _(
                    "Nothing in the name of %(name)s tells that it is a GPU: "
                    "other commands count it as one with --resource-class "
                    "%(name)s"
                ),
                {'name': name},
            )


class CreateFlavor(command.ShowOne):
    _description = _("Create a flavor that requests GPUs")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        flavor_options.add_new_flavor_options(parser)
        options.add_gpu_request_options(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        from osc_gpu.cloud import flavor_specs
        from osc_gpu.cloud import flavor_writing

        if parsed_args.project and parsed_args.public:
            raise exceptions.CommandError(
                _("argument --project: it is only allowed with --private")
            )
        if parsed_args.project_domain and not parsed_args.project:
            raise exceptions.CommandError(
                _(
                    "argument --project-domain %s: it is only of use with "
                    "--project"
                )
                % parsed_args.project_domain
            )
        wanted = options.wanted(parsed_args)
        specs = flavor_specs.apply({}, wanted)
        project_id = None
        if parsed_args.project:
            project_id = identity.find_project(
                self.connection,
                parsed_args.project,
                parsed_args.project_domain,
            ).id
        flavor = flavor_writing.create_flavor(
            self.connection,
            flavor_options.new_flavor(parsed_args),
            specs,
            project_id,
        )
        _warn_of_unknown_classes(wanted.vgpus)
        return _format_flavor(flavor, wanted.vgpus)


class ListFlavor(command.Lister):
    _description = _("List flavors that request GPUs")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        from osc_gpu.cloud import extra_specs

        parser = super().get_parser(prog_name)
        public = parser.add_mutually_exclusive_group()
        for option, value, text in (
            ('--public', True, _("List only public flavors")),
            ('--private', False, _("List only private flavors")),
        ):
            public.add_argument(
                option,
                dest='public',
                action='store_const',
                const=value,
                help=text,
            )
        public.add_argument(
            '--all',
            action='store_true',
            help=_(
                "List public and private flavors (default: public ones and "
                "those of your project)"
            ),
        )
        parser.add_argument(
            '--alias',
            metavar='<name>',
            dest='aliases',
            action='append',
            default=[],
            type=options.checked(extra_specs.check_alias_name),
            help=_(
                "List only flavors that request this PCI alias (repeat option "
                "for any of several)"
            ),
        )
        options.add_resource_class_option(
            parser,
            _(
                "List only flavors that request this resource class, and "
                "count it as a GPU (repeat option for any of several)"
            ),
        )
        parser.add_argument(
            '--long',
            action='store_true',
            help=_("List additional fields in output"),
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
        from osc_gpu.cloud import flavors

        public = parsed_args.public
        is_public = None if parsed_args.all else public is not False
        found = flavors.with_gpu(
            (
                flavor
                for flavor in flavors.list_flavors(self.connection, is_public)
                if public is None or flavor.is_public == public
            ),
            parsed_args.aliases,
            parsed_args.resource_classes,
        )
        columns: tuple[str, ...] = (
            'ID',
            'Name',
            'VCPUs',
            'RAM',
            'Disk',
            'GPU Request',
            'GPU Count',
            'Public',
        )
        if parsed_args.long:
            columns += ('Properties',)
        rows = (
            (
                flavor.id,
                flavor.name,
                flavor.vcpus,
                flavor.ram,
                flavor.disk,
                request.text,
                request.count,
                flavor.is_public,
                format_columns.DictColumn(dict(flavor.extra_specs)),
            )[: len(columns)]
            for flavor, request in found
        )
        return columns, rows


class SetFlavor(command.Command):
    _description = _("Add to or replace the GPU request of a flavor")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'flavor',
            metavar='<flavor>',
            help=_("Flavor to modify (name or ID; give it before --vgpu)"),
        )
        options.add_gpu_request_options(parser)
        options.add_resource_class_option(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from osc_gpu.cloud import flavor_specs
        from osc_gpu.cloud import flavor_writing
        from osc_gpu.cloud import flavors

        wanted = options.wanted(parsed_args)
        if not wanted:
            raise exceptions.CommandError(
                _("Nothing to set: give --alias, --vgpu or another option")
            )
        flavor_specs.check(wanted)
        flavor = flavors.find_flavor(self.connection, parsed_args.flavor)
        new = flavor_specs.apply(
            flavor.extra_specs, wanted, parsed_args.resource_classes
        )
        flavor_writing.write_extra_specs(self.connection, flavor, new)
        _warn_of_unknown_classes(wanted.vgpus)


class ShowFlavor(command.ShowOne):
    _description = _("Show a flavor and the GPUs it requests")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'flavor',
            metavar='<flavor>',
            help=_("Flavor to show (name or ID)"),
        )
        options.add_resource_class_option(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        from osc_gpu.cloud import flavors

        flavor = flavors.find_flavor(self.connection, parsed_args.flavor)
        return _format_flavor(flavor, parsed_args.resource_classes)


class UnsetFlavor(command.Command):
    _description = _("Take a GPU request, or parts of it, out of a flavor")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'flavor',
            metavar='<flavor>',
            help=_("Flavor to modify (name or ID)"),
        )
        flavor_options.add_unset_options(parser)
        options.add_resource_class_option(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from osc_gpu.cloud import flavor_specs
        from osc_gpu.cloud import flavor_writing
        from osc_gpu.cloud import flavors

        unwanted = flavor_options.unwanted(parsed_args)
        if not unwanted:
            raise exceptions.CommandError(
                _("Nothing to unset: give --gpu, --alias or another option")
            )
        also = {*parsed_args.resource_classes, *unwanted.vgpus}
        flavor = flavors.find_flavor(self.connection, parsed_args.flavor)
        new = flavor_specs.take_away(flavor.extra_specs, unwanted, also)
        flavor_writing.write_extra_specs(self.connection, flavor, new)
        for trait in flavor_specs.stray_traits(flavor.extra_specs, new, also):
            LOG.warning(
                _(
                    "Flavor %(name)s keeps trait %(trait)s; if it was meant "
                    "for the vGPU, take it away with --trait %(trait)s"
                ),
                {'name': flavor.name, 'trait': trait},
            )
