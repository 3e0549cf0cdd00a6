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

"""Images for servers with a GPU: ``gpu image check|set``."""

import argparse
from collections.abc import Iterable
import re
from typing import Any
from typing import TYPE_CHECKING

from osc_lib import exceptions

from osc_gpu import command
from osc_gpu.i18n import _
from osc_gpu.v1 import options

if TYPE_CHECKING:
    from osc_gpu.cloud import image_writing


def _system_of(distro: str, version: str) -> str:
    """Return the guest system of two properties, '' if it is none of ours."""
    from osc_gpu.guest import systems

    system = systems.of_image(distro, version)
    return str(system) if system else ''


def _guest_os(text: str) -> tuple[str, str]:
    """Read ``<distro>-<version>`` as the values of two properties.

    Of any system: images have them for others to read, too.
    """
    from osc_gpu.guest import systems

    found = re.fullmatch('([a-z][a-z0-9-]*)-([0-9][0-9a-z.]*)', text)
    if found is None:
        raise ValueError(
            _("'%s' is not <distro>-<version> as in ubuntu-24.04 or rocky-9")
            % text
        )
    system = systems.of_image(found[1], found[2])
    return system.distro if system else found[1], found[2]


def _add_machine_options(parser: argparse.ArgumentParser) -> None:
    from osc_gpu.cloud import image_properties as props

    parser.add_argument(
        '--machine-type',
        metavar='<machine-type>',
        type=options.checked(props.check_machine_type),
        help=_("QEMU machine type: q35, pc, virt or a version of one"),
    )
    for option, metavar, key, text in (
        (
            '--firmware-type',
            '<firmware-type>',
            props.FIRMWARE_TYPE,
            _(
                "Firmware that servers boot by: %s; uefi needs an image with "
                "an EFI system partition"
            ),
        ),
        (
            '--secure-boot',
            '<secure-boot>',
            props.SECURE_BOOT,
            _("Secure Boot, with firmware type uefi: %s"),
        ),
        (
            '--video-model',
            '<video-model>',
            props.VIDEO_MODEL,
            _("Emulated graphics card: %s; none takes the console with it"),
        ),
    ):
        values = props.VALUES[key]
        parser.add_argument(
            option,
            metavar=metavar,
            choices=values,
            help=text % ', '.join(values),
        )
    options.add_guest_options(parser)


def _wanted(parsed_args: argparse.Namespace) -> 'image_writing.Wanted':
    from osc_gpu.cloud import image_properties as props
    from osc_gpu.cloud import image_writing

    distro, version = parsed_args.guest_os or (None, None)
    hidden = parsed_args.hide_hypervisor
    given = {
        props.MACHINE_TYPE: parsed_args.machine_type,
        props.FIRMWARE_TYPE: parsed_args.firmware_type,
        props.SECURE_BOOT: parsed_args.secure_boot,
        props.VIDEO_MODEL: parsed_args.video_model,
        props.NUMA_POLICY: parsed_args.numa_policy,
        props.HIDE_HYPERVISOR: None if hidden is None else str(hidden).lower(),
        props.OS_DISTRO: distro,
        props.OS_VERSION: version,
        props.OS_TYPE: 'linux' if distro else None,
    }
    return image_writing.Wanted(
        {key: value for key, value in given.items() if value is not None},
        parsed_args.recommended,
    )


class CheckImage(command.Check):
    _description = _("""Check images for servers with a GPU.

Lists what keeps servers from starting or their GPUs from working, what may,
and, for images that are named, what is recommended: the exit status is 1 if
any of that is an error. Repair is what the owner of the image, or an admin,
can type.""")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        from osc_gpu.guest import orders

        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            'images',
            metavar='<image>',
            nargs='*',
            type=options.not_empty,
            help=_("Image(s) to check (name or ID); default: all"),
        )
        parser.add_argument(
            '--flavor',
            metavar='<flavor>',
            type=options.not_empty,
            help=_("Check for servers of this flavor (name or ID)"),
        )
        parser.add_argument(
            '--driver',
            metavar='<driver>',
            choices=orders.DRIVERS,
            help=_(
                "Check for servers that install this driver when they boot "
                "first: %s; none if the image has it"
            )
            % ', '.join(orders.DRIVERS),
        )
        options.add_resource_class_option(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
        from osc_gpu.cloud import image_checks

        found = image_checks.read(
            self.connection,
            parsed_args.images,
            image_checks.Purpose(
                _system_of,
                flavor=parsed_args.flavor or '',
                driver=parsed_args.driver or '',
                also=parsed_args.resource_classes,
            ),
        )
        return self.shown(found)


class SetImage(command.Command):
    _description = _("""Set what an image says for servers with a GPU.

What servers would not start with is refused. Servers that exist keep what
the image said when they were made.""")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            'image',
            metavar='<image>',
            type=options.not_empty,
            help=_("Image to modify (name or ID)"),
        )
        parser.add_argument(
            '--recommended',
            action='store_true',
            help=_(
                "Add what is recommended for a GPU and the image says nothing "
                "of: machine type q35 for x86_64, without which there is no "
                "PCIe"
            ),
        )
        _add_machine_options(parser)
        parser.add_argument(
            '--guest-os',
            metavar='<distro-version>',
            type=options.checked(_guest_os),
            help=_(
                "Linux in the image, such as ubuntu-24.04 or rocky-9; by it a "
                "driver is chosen"
            ),
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from osc_gpu.cloud import image_checks
        from osc_gpu.cloud import image_writing

        wanted = _wanted(parsed_args)
        if not wanted:
            raise exceptions.CommandError(
                _("Nothing to set: give --recommended or another option")
            )
        image_writing.write(
            self.connection,
            parsed_args.image,
            wanted,
            image_checks.Purpose(_system_of),
        )
