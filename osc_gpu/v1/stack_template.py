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

"""``openstack gpu stack template show``: a GPU server for Heat."""

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from osc_lib import exceptions

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import options

if TYPE_CHECKING:
    from osc_gpu.cloud import stack_template
    from osc_gpu.guest import user_data

#: The options, None by default, that only one variant has a use for.
_OF_USER = (
    'image',
    'network',
    'external_network',
    'key_name',
    'server_name',
    'guest_os',
)
_OF_ADMIN = ('project', 'user', 'vcpus', 'ram', 'disk', 'servers')


class ShowStackTemplate(command.Command):
    _description = _("""Show a Heat template for a server with a GPU.

Prints YAML for "openstack stack create --template". No cloud is asked: what
is given here are the defaults of the template's parameters. Heat makes
everything in the project of who creates the stack, so there are two variants:
with the one for an admin a project, a user, quotas and the flavor are made,
and with the one for a user, in that project, the server.""")

    auth_required = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        from osc_gpu.v1 import guest_options

        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            '--variant',
            metavar='<variant>',
            choices=('user', 'admin'),
            default='user',
            help=_("For whom: user (default) or admin"),
        )
        _add_user_options(parser)
        _add_admin_options(parser)
        guest_options.add_options(parser, knows_flavor=False)
        options.add_gpu_request_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from osc_gpu.cloud import hot
        from osc_gpu.cloud import stack_template

        if parsed_args.variant == 'admin':
            tenant = _tenant(parsed_args)
            template = stack_template.of_tenant(tenant)
        else:
            template = stack_template.of_server(_server(parsed_args))
        self.app.stdout.write(hot.dump(template))


def _add_user_options(parser: argparse.ArgumentParser) -> None:
    for option, metavar, text in (
        (
            '--flavor',
            '<flavor>',
            _("Flavor of the server (name or ID); for an admin, name of the "
              "flavor to create"),
        ),
        ('--image', '<image>', _("Image to boot from (name or ID)")),
        ('--network', '<network>', _("Network of the server (name or ID)")),
        (
            '--external-network',
            '<network>',
            _("Network of its floating IP address (name or ID; default: it "
              "gets none)"),
        ),
        (
            '--key-name',
            '<key-name>',
            _("Key pair to log in with (name; default: none)"),
        ),
        (
            '--server-name',
            '<name>',
            _("Name of the server (default: Heat makes one of the stack's)"),
        ),
    ):  # fmt: skip
        parser.add_argument(
            option, metavar=metavar, type=options.not_empty, help=text
        )


def _add_admin_options(parser: argparse.ArgumentParser) -> None:
    for option, text in (
        ('--project', _("Name of the project to create (admin only)")),
        ('--user', _("Name of the user to create (admin only)")),
    ):
        parser.add_argument(
            option, metavar='<name>', type=options.not_empty, help=text
        )
    for option, metavar, least, text in (
        ('--vcpus', '<vcpus>', 1, _("Number of vCPUs of the flavor")),
        ('--ram', '<size-mib>', 1, _("Memory size of the flavor in MiB")),
        ('--disk', '<size-gib>', 0, _("Root disk size of the flavor in GiB")),
        (
            '--servers',
            '<count>',
            1,
            _("Number of servers that quotas leave room for; default: 1"),
        ),
    ):
        parser.add_argument(
            option,
            metavar=metavar,
            type=options.whole_number(least),
            help=_("%s (admin only)") % text,
        )


def _server(parsed_args: argparse.Namespace) -> 'stack_template.Server':
    """Read back what a user's template is about."""
    from osc_gpu.cloud import flavor_specs
    from osc_gpu.cloud import stack_template

    _refuse_given(parsed_args, _OF_ADMIN, 'admin')
    if options.wanted(parsed_args) != flavor_specs.Wanted():
        raise exceptions.CommandError(
            _(
                "A GPU request is for the flavor that --variant admin "
                "creates; give --flavor here"
            )
        )
    return stack_template.Server(
        flavor=parsed_args.flavor,
        image=parsed_args.image,
        network=parsed_args.network,
        external_network=parsed_args.external_network,
        parts=_parts(parsed_args),
        key_name=parsed_args.key_name,
        name=parsed_args.server_name,
    )


def _parts(
    parsed_args: argparse.Namespace,
) -> 'tuple[user_data.Part, ...]':
    """Return what the guest is to do, as parts of its user data."""
    from osc_gpu.guest import orders
    from osc_gpu.guest import user_data
    from osc_gpu.v1 import guest_options

    if parsed_args.license_token:
        raise exceptions.CommandError(
            _(
                "--license-token: a template is no place for a secret; launch "
                "with: openstack gpu server create"
            )
        )
    order = guest_options.order_without_cloud(parsed_args)
    if order is None:
        return ()
    try:
        orders.refuse_secrets(order, _("a template"))
    except ValueError as exc:
        raise exceptions.CommandError(str(exc)) from exc
    return user_data.parts(order)


def _tenant(parsed_args: argparse.Namespace) -> 'stack_template.Tenant':
    """Read back what an admin's template is about."""
    from osc_gpu.cloud import flavor_specs
    from osc_gpu.cloud import stack_template
    from osc_gpu.v1 import guest_options

    names = (*_OF_USER, *guest_options.NAMES)
    _refuse_given(parsed_args, names, 'user')
    return stack_template.Tenant(
        project=parsed_args.project,
        user=parsed_args.user,
        flavor=parsed_args.flavor,
        vcpus=parsed_args.vcpus,
        ram=parsed_args.ram,
        disk=parsed_args.disk,
        extra_specs=flavor_specs.apply({}, options.wanted(parsed_args)),
        servers=parsed_args.servers or 1,
    )


def _refuse_given(
    parsed_args: argparse.Namespace, names: Iterable[str], variant: str
) -> None:
    for name in names:
        if getattr(parsed_args, name) is not None:
            raise exceptions.CommandError(
                _("--%(option)s goes with --variant %(variant)s only")
                % {'option': name.replace('_', '-'), 'variant': variant}
            )
