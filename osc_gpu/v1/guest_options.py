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

"""Options that say what a guest is to do for its GPU."""

import argparse
from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import tempfile
from typing import BinaryIO
from typing import TYPE_CHECKING
from typing import TypeVar

from osc_lib import exceptions

from osc_gpu.i18n import _
from osc_gpu.v1 import options

if TYPE_CHECKING:
    from openstack import connection

    from osc_gpu.cloud import extra_specs
    from osc_gpu.guest import orders
    from osc_gpu.guest import systems

T = TypeVar('T')


def add_options(
    parser: argparse.ArgumentParser, *, knows_flavor: bool = True
) -> None:
    """Add what makes user data for the guest.

    :param knows_flavor: ``read_order`` is what reads it back
    """
    from osc_gpu.guest import orders
    from osc_gpu.guest import systems

    group = parser.add_argument_group(_("GPU in the guest"))
    group.add_argument(
        '--driver',
        metavar='<driver>',
        choices=orders.DRIVERS,
        help=_(
            "Install a driver at first boot, and report at each boot what the "
            "guest sees: nvidia, nvidia-open (open kernel modules, from "
            "Turing on), nvidia-vgpu (by --driver-url, else the image's), "
            "amdgpu; none installs nothing and reports"
        ),
    )
    group.add_argument(
        '--driver-version',
        metavar='<version>',
        type=options.checked(orders.check_version),
        help=_(
            "Version of the driver, or its beginning, such as 570 or "
            "570.86.15; for amdgpu a release of ROCm (default: the newest in "
            "the vendor's repository)"
        ),
    )
    group.add_argument(
        '--driver-url',
        metavar='<url>',
        type=options.checked(orders.check_url),
        help=_(
            "Installer of the driver, ending with .run, .deb or .rpm, on a "
            "server that the guest can reach"
        ),
    )
    group.add_argument(
        '--cuda',
        metavar='<version>',
        type=options.checked(orders.check_cuda),
        help=_("Install this version of the CUDA toolkit, such as 12.9"),
    )
    group.add_argument(
        '--guest-os',
        metavar='<distro-version>',
        type=options.checked(systems.parse),
        help=_(
            "System in the image, such as ubuntu-24.04, debian-12 or rocky-9 "
            "(default: as the image's properties os_distro and os_version say)"
        ),
    )
    if knows_flavor:
        group.add_argument(
            '--virtual-functions',
            action='store_true',
            help=_(
                "The flavor's PCI aliases stand for virtual functions with "
                "vGPUs, for --driver nvidia-vgpu"
            ),
        )
    _add_license_options(group)
    _add_report_options(group)


def _add_license_options(group: argparse._ArgumentGroup) -> None:
    from osc_gpu.guest import orders

    group.add_argument(
        '--license-token',
        metavar='<file>',
        help=_("Client configuration token of the vGPU licence service"),
    )
    group.add_argument(
        '--license-feature',
        metavar='<feature>',
        choices=tuple(orders.FEATURES),
        help=_(
            "What to take a licence for: vgpu, vws (RTX Virtual Workstation) "
            "or vcs (Virtual Compute Server) (default: vgpu)"
        ),
    )


def _add_report_options(group: argparse._ArgumentGroup) -> None:
    from osc_gpu.guest import orders

    group.add_argument(
        '--workload',
        metavar='<workload>',
        choices=orders.WORKLOADS,
        help=_(
            "Let the GPUs work once at first boot, and report the result: "
            "smoke, a small CUDA program, or the driver's own list of GPUs "
            "where no compiler is"
        ),
    )
    group.add_argument(
        '--report-url',
        metavar='<url>',
        type=options.checked(orders.check_url),
        help=_("Send each report there too, as JSON by POST"),
    )


#: The options that ask something of a guest.
NAMES = (
    'driver',
    'driver_version',
    'driver_url',
    'cuda',
    'license_token',
    'license_feature',
    'workload',
    'report_url',
)
#: Those that only a driver has a use for.
OF_DRIVER = ('guest_os', 'virtual_functions')


def read_order(
    conn: 'connection.Connection',
    parsed_args: argparse.Namespace,
    request: 'extra_specs.GpuRequest',
) -> 'orders.Order | None':
    """Return what is asked of the guest, or None if nothing is.

    One or two requests for the image, if its system has to be known.

    :raises osc_lib.exceptions.CommandError: it makes no sense together, or
        for the GPUs that are requested
    """
    from osc_gpu.cloud import guest_drivers
    from osc_gpu.guest import orders

    order = _order(parsed_args)
    if order is None:
        return None
    why = guest_drivers.misfit(
        request,
        order.driver,
        order.vendor_id,
        order.driver == orders.VGPU,
        parsed_args.virtual_functions,
    )
    if why:
        raise exceptions.CommandError(f'--driver: {why}')
    return _complete(order, lambda: _system_of(conn, parsed_args))


def order_without_cloud(
    parsed_args: argparse.Namespace,
) -> 'orders.Order | None':
    """Return what is asked of a guest of which no more is known.

    :raises osc_lib.exceptions.CommandError: it makes no sense together
    """
    order = _order(parsed_args)
    return order and _complete(order, lambda: None)


def _order(parsed_args: argparse.Namespace) -> 'orders.Order | None':
    from osc_gpu.guest import orders

    for name in OF_DRIVER:
        if getattr(parsed_args, name, None) and not parsed_args.driver:
            raise exceptions.CommandError(
                _("--%s is of no use without --driver")
                % name.replace('_', '-')
            )
    # These two are of no use without a report.
    asking = (*NAMES, 'verify', 'print_user_data')
    if not any(getattr(parsed_args, name, None) for name in asking):
        return None
    return orders.Order(
        parsed_args.driver or orders.NONE,
        version=parsed_args.driver_version or '',
        url=parsed_args.driver_url or '',
        cuda=parsed_args.cuda or '',
        token=_read_token(parsed_args.license_token),
        feature=parsed_args.license_feature or '',
        workload=parsed_args.workload or '',
        report_url=parsed_args.report_url or '',
        system=parsed_args.guest_os,
    )


def _complete(
    order: 'orders.Order',
    read_system: Callable[[], 'systems.System | None'],
) -> 'orders.Order':
    from osc_gpu.guest import orders

    try:
        return orders.complete(order, read_system)
    except ValueError as exc:
        raise exceptions.CommandError(str(exc)) from exc


def _system_of(
    conn: 'connection.Connection', parsed_args: argparse.Namespace
) -> 'systems.System | None':
    """Return what the image says is in it, None if it does not.

    :raises osc_lib.exceptions.CommandError: no driver can be installed in it
    """
    from osc_gpu.cloud import image_properties
    from osc_gpu.cloud import image_subject
    from osc_gpu.cloud import images
    from osc_gpu.guest import systems

    # A volume tells nothing of what is in it.
    if not parsed_args.image:
        return None
    image = images.find_image(conn, parsed_args.image)
    distro, version = (
        image_properties.get(image.properties, key)
        for key in (image_properties.OS_DISTRO, image_properties.OS_VERSION)
    )
    found = systems.of_image(distro, version)
    if found is None and distro and version:
        raise exceptions.CommandError(
            _(
                "a driver cannot be installed in %(distro)s %(version)s, "
                "which is in the image by its os_distro and os_version; it "
                "can in %(known)s: name one with --guest-os if the image is "
                "wrong"
            )
            % {
                'distro': image_subject.shown(distro),
                'version': image_subject.shown(version),
                'known': ', '.join(map(str, systems.SYSTEMS)),
            }
        )
    return found


def _read_token(path: str | None) -> str:
    from osc_gpu.guest import tokens

    if path is None:
        return ''
    return _of_file(
        '--license-token',
        path,
        lambda file: tokens.check(file.read(tokens.MOST + 1)),
    )


def read_user_data(path: str | None) -> bytes:
    """Return the user's own user data; it may be a pipe, so it is read once.

    :raises osc_lib.exceptions.CommandError: the file cannot be read
    """
    if not path:
        return b''
    return _of_file('--user-data', path, lambda file: file.read())


def pack(order: 'orders.Order | None', users: bytes) -> bytes:
    """Return user data as Nova takes them, with what a guest has to do.

    :raises osc_lib.exceptions.CommandError: they are too large, or cloud-init
        could not do what is in them
    """
    from osc_gpu.guest import user_data

    try:
        if order is None:
            return user_data.fit(users)
        return user_data.pack(user_data.compose(order, users))
    except ValueError as exc:
        raise exceptions.CommandError(f'--user-data: {exc}') from exc


def to_show(order: 'orders.Order', users: bytes) -> str:
    """Return what ``pack`` does, for people: readable, without the token."""
    import dataclasses

    from osc_gpu.guest import user_data

    if order.token:
        order = dataclasses.replace(order, token=_("(the licence token)"))
    return user_data.compose(order, users).decode(errors='replace')


def _of_file(option: str, path: str, make: Callable[[BinaryIO], T]) -> T:
    """Return what is made of a file that an option names.

    :raises osc_lib.exceptions.CommandError: it cannot be read, or is refused
    """
    try:
        with open(path, 'rb') as file:
            return make(file)
    except OSError as exc:
        why = exc.strerror or type(exc).__name__
    except ValueError as exc:
        why = str(exc)
    raise exceptions.CommandError(f'{option} {path}: {why}')


@contextlib.contextmanager
def as_file(content: bytes) -> Iterator[str]:
    """Give user data the name of a file that only this process can open."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield f'/dev/fd/{file.fileno()}'
