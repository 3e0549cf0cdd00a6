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

"""What ``gpu flavor create`` and ``unset`` are told, read back."""

import argparse
import re
from typing import TYPE_CHECKING

from osc_gpu.i18n import _
from osc_gpu.v1 import options

if TYPE_CHECKING:
    from osc_gpu.cloud import flavor_specs
    from osc_gpu.cloud import flavor_writing


def _flavor_name(text: str) -> str:
    if not text or text != text.strip() or not text.isprintable():
        raise ValueError(
            _(
                "'%s' is no name for a flavor: right are printable characters "
                "without blanks at either end"
            )
            % text
        )
    if len(text) > 255:
        raise ValueError(_("a flavor's name has 255 characters at most"))
    return text


def _flavor_id(text: str) -> str:
    # nova/api/openstack/compute/schemas/flavors.py; as a path these two would
    # name something else.
    if re.fullmatch(r'(?! )[a-zA-Z0-9. _-]{1,255}(?<! )', text) and (
        text not in ('.', '..', 'auto', 'detail')
    ):
        return text
    raise ValueError(
        _(
            "'%s' is no ID for a flavor: right are 1 to 255 letters, digits, "
            "'.', '_', '-' and blanks inside; leave --id out to have one made"
        )
        % text
    )


def add_new_flavor_options(parser: argparse.ArgumentParser) -> None:
    """Add what describes a new flavor but for its GPU request.

    ``new_flavor()`` reads it back.
    """
    parser.add_argument(
        'name',
        metavar='<name>',
        type=options.checked(_flavor_name),
        help=_("New flavor name (give it before --vgpu)"),
    )
    parser.add_argument(
        '--id',
        metavar='<id>',
        type=options.checked(_flavor_id),
        help=_("Unique flavor ID (default: a new UUID)"),
    )
    parser.add_argument(
        '--description',
        metavar='<description>',
        help=_("Description of the flavor"),
    )
    _add_size_options(parser)
    _add_access_options(parser)


def _add_size_options(parser: argparse.ArgumentParser) -> None:
    for option, metavar, least, default, text in (
        ('--vcpus', '<vcpus>', 1, None, _("Number of vCPUs")),
        ('--ram', '<size-mib>', 1, None, _("Memory size in MiB")),
        ('--disk', '<size-gib>', 0, None, _("Root disk size in GiB")),
        (
            '--ephemeral',
            '<size-gib>',
            0,
            0,
            _("Ephemeral disk size in GiB (default 0)"),
        ),
        ('--swap', '<size-mib>', 0, 0, _("Swap size in MiB (default 0)")),
    ):
        parser.add_argument(
            option,
            metavar=metavar,
            type=options.whole_number(least),
            required=default is None,
            default=default,
            help=text,
        )


def _add_access_options(parser: argparse.ArgumentParser) -> None:
    public = parser.add_mutually_exclusive_group()
    public.add_argument(
        '--public',
        dest='public',
        action='store_true',
        default=True,
        help=_("Flavor is available to all projects (default)"),
    )
    public.add_argument(
        '--private',
        dest='public',
        action='store_false',
        help=_("Flavor is not available to other projects"),
    )
    parser.add_argument(
        '--project',
        metavar='<project>',
        help=_(
            "Project that may use the flavor (name or ID; needs --private)"
        ),
    )
    parser.add_argument(
        '--project-domain',
        metavar='<project-domain>',
        help=_("Domain the project belongs to (name or ID)"),
    )


def new_flavor(
    parsed_args: argparse.Namespace,
) -> 'flavor_writing.NewFlavor':
    """Read back what ``add_new_flavor_options`` added."""
    from osc_gpu.cloud import flavor_writing

    return flavor_writing.NewFlavor(
        name=parsed_args.name,
        vcpus=parsed_args.vcpus,
        ram=parsed_args.ram,
        disk=parsed_args.disk,
        ephemeral=parsed_args.ephemeral,
        swap=parsed_args.swap,
        is_public=parsed_args.public,
        id=parsed_args.id,
        description=parsed_args.description,
    )


def add_unset_options(parser: argparse.ArgumentParser) -> None:
    """Add what says what to take out of a flavor.

    ``unwanted()`` reads it back.
    """
    from osc_gpu.cloud import extra_specs

    parser.add_argument(
        '--gpu',
        action='store_true',
        help=_("Take the whole GPU request away: aliases and vGPUs"),
    )
    for option, metavar, dest, read, text in (
        (
            '--alias',
            '<name>',
            'aliases',
            extra_specs.check_alias_name,
            _("PCI alias to take out of the request"),
        ),
        (
            '--vgpu',
            '<resource-class>',
            'vgpus',
            extra_specs.check_gpu_class,
            _(
                "Resource class whose vGPUs to take away, with the traits "
                "in their request groups"
            ),
        ),
        (
            '--trait',
            '<trait>',
            'traits',
            extra_specs.check_trait,
            _("Trait to neither require nor forbid any more"),
        ),
        (
            '--property',
            '<key>',
            'properties',
            str,
            _("Extra spec to remove"),
        ),
    ):
        parser.add_argument(
            option,
            metavar=metavar,
            dest=dest,
            action='append',
            default=[],
            type=options.checked(read),
            help=_("%s (repeat option for several)") % text,
        )
    parser.add_argument(
        '--numa-policy',
        action='store_true',
        help=_("Remove the NUMA policy of PCI devices"),
    )
    parser.add_argument(
        '--hide-hypervisor',
        action='store_true',
        help=_("Remove what is said about hiding the hypervisor"),
    )


def unwanted(parsed_args: argparse.Namespace) -> 'flavor_specs.Unwanted':
    """Read back what ``add_unset_options`` added."""
    from osc_gpu.cloud import flavor_specs

    return flavor_specs.Unwanted(
        gpu=parsed_args.gpu,
        aliases=tuple(parsed_args.aliases),
        vgpus=tuple(parsed_args.vgpus),
        traits=tuple(parsed_args.traits),
        numa_policy=parsed_args.numa_policy,
        hide_hypervisor=parsed_args.hide_hypervisor,
        properties=tuple(parsed_args.properties),
    )
