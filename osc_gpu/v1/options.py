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

"""Options that several commands share, and the types of their values."""

import argparse
from collections.abc import Callable
import re
from typing import TYPE_CHECKING
from typing import TypeVar

from osc_lib.cli import identity as identity_options
from osc_lib.cli import parseractions
from osc_lib import exceptions

from osc_gpu.i18n import _

if TYPE_CHECKING:
    from openstack import connection
    from openstack.identity.v3 import project as sdk_project

    from osc_gpu.cloud import flavor_specs

T = TypeVar('T')

#: What Nova's database can hold (nova/db/constants.py).
_MAX_INT = 0x7FFFFFFF


def checked(read: Callable[[str], T]) -> Callable[[str], T]:
    """Make an argparse type of a function that raises ValueError.

    argparse drops the sentence of a ValueError and keeps that of an
    ArgumentTypeError.
    """

    def convert(text: str) -> T:
        try:
            return read(text)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from exc

    return convert


def whole_number(least: int, most: int = _MAX_INT) -> Callable[[str], int]:
    """Make an argparse type: a whole number within bounds."""

    def convert(text: str) -> int:
        if re.fullmatch('[0-9]{1,10}', text):
            number = int(text)
            if least <= number <= most:
                return number
        raise argparse.ArgumentTypeError(
            _("'%(text)s' is not a whole number from %(least)d to %(most)d")
            % {'text': text, 'least': least, 'most': most}
        )

    return convert


def add_gpu_request_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe what GPUs a flavor requests.

    ``wanted()`` reads them back.
    """
    _add_device_options(parser)
    _add_trait_options(parser)
    add_guest_options(parser)
    parser.add_argument(
        '--property',
        metavar='<key=value>',
        dest='properties',
        action=parseractions.KeyValueAction,
        help=_(
            "Extra spec to set as given (repeat option to set multiple "
            "properties)"
        ),
    )


def _vgpu_class(text: str) -> str:
    from osc_gpu.cloud import extra_specs

    try:
        return extra_specs.check_gpu_class(text)
    except ValueError as exc:
        # --vgpu takes the next word, also when that was meant as the name.
        raise ValueError(
            _("%s; the name of the flavor goes before --vgpu") % exc
        ) from exc


def _add_device_options(parser: argparse.ArgumentParser) -> None:
    from osc_gpu.cloud import extra_specs

    parser.add_argument(
        '--alias',
        metavar='<alias>',
        dest='aliases',
        action='append',
        default=[],
        type=checked(extra_specs.parse_alias),
        help=_(
            "PCI alias of nova.conf, as <name> or <name>:<count> (repeat "
            "option to request several aliases)"
        ),
    )
    parser.add_argument(
        '--vgpu',
        metavar='<resource-class>',
        dest='vgpus',
        action='append',
        default=[],
        nargs='?',
        const='VGPU',
        type=checked(_vgpu_class),
        help=_(
            "One vGPU of this resource class: VGPU (default), PGPU or "
            "CUSTOM_* (repeat option for several vGPUs, each in a request "
            "group of its own)"
        ),
    )
    parser.add_argument(
        '--group-policy',
        metavar='<policy>',
        choices=('none', 'isolate'),
        help=_(
            "With several vGPUs: none (default) or isolate, which takes "
            "every request group from another resource provider"
        ),
    )


def _add_trait_options(parser: argparse.ArgumentParser) -> None:
    from osc_gpu.cloud import extra_specs

    for option, dest, text in (
        ('--trait', 'required', _("Trait that the vGPU must have")),
        ('--forbid-trait', 'forbidden', _("Trait it must not have")),
    ):
        parser.add_argument(
            option,
            metavar='<trait>',
            dest=dest,
            action='append',
            default=[],
            type=checked(extra_specs.check_trait),
            help=_("%s; without a vGPU the host (repeat option for several)")
            % text,
        )


def add_guest_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--numa-policy`` and ``--hide-hypervisor|--show-hypervisor``."""
    parser.add_argument(
        '--numa-policy',
        metavar='<policy>',
        choices=('required', 'preferred', 'legacy', 'socket'),
        help=_(
            "NUMA affinity of PCI devices: required, preferred, legacy or "
            "socket"
        ),
    )
    hypervisor = parser.add_mutually_exclusive_group()
    hypervisor.add_argument(
        '--hide-hypervisor',
        dest='hide_hypervisor',
        action='store_true',
        default=None,
        help=_("Hide from the guest that it runs on a hypervisor"),
    )
    hypervisor.add_argument(
        '--show-hypervisor',
        dest='hide_hypervisor',
        action='store_false',
        default=None,
        help=_("Do not hide from the guest that it runs on a hypervisor"),
    )


def wanted(parsed_args: argparse.Namespace) -> 'flavor_specs.Wanted':
    """Read back what ``add_gpu_request_options`` added."""
    from osc_gpu.cloud import flavor_specs

    return flavor_specs.Wanted(
        aliases=tuple(parsed_args.aliases),
        vgpus=tuple(parsed_args.vgpus),
        group_policy=parsed_args.group_policy,
        required=tuple(parsed_args.required),
        forbidden=tuple(parsed_args.forbidden),
        numa_policy=parsed_args.numa_policy,
        hide_hypervisor=parsed_args.hide_hypervisor,
        properties=dict(parsed_args.properties or {}),
    )


def add_resource_class_option(
    parser: argparse.ArgumentParser, help_text: str | None = None
) -> None:
    """Add ``--resource-class``; ``resource_classes`` is a list of names."""
    from osc_gpu.cloud import extra_specs

    parser.add_argument(
        '--resource-class',
        metavar='<resource-class>',
        dest='resource_classes',
        action='append',
        default=[],
        type=checked(extra_specs.check_resource_class),
        help=help_text
        or _(
            "Count this resource class as a GPU too (repeat option for "
            "several)"
        ),
    )


def not_empty(text: str) -> str:
    """Refuse an empty value, as an argparse type.

    A script's variable may be unset: without its filter, a command would be
    about the whole cloud.
    """
    if not text:
        raise argparse.ArgumentTypeError(_("is empty"))
    return text


def find_project(
    conn: 'connection.Connection', parsed_args: argparse.Namespace
) -> 'sdk_project.Project | None':
    """Find the project of ``--project``; None without that option.

    :raises CommandError: it is empty, as a variable of a script may be
    """
    if parsed_args.project is None:
        return None
    if not parsed_args.project:
        raise exceptions.CommandError(
            _("--project is empty; give a project's name or ID")
        )
    return identity_options.find_project(
        conn, parsed_args.project, parsed_args.project_domain
    )


def add_parallel_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--parallel``: how many requests may be under way at once."""
    from osc_gpu.cloud import side_by_side

    parser.add_argument(
        '--parallel',
        metavar='<requests>',
        type=whole_number(1, side_by_side.MOST),
        default=side_by_side.DEFAULT,
        help=_(
            "Where many requests are needed, send so many of them at once, "
            "1 to %d (default: %%(default)s)"
        )
        % side_by_side.MOST,
    )
