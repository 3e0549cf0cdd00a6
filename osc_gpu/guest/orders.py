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

"""What a guest is to do for its GPU: drivers, licences, reports."""

from collections.abc import Callable
import dataclasses
import re
from urllib import parse

from osc_gpu.guest import systems
from osc_gpu.i18n import _

NONE = 'none'
VGPU = 'nvidia-vgpu'
AMD = 'amdgpu'
#: What ``--driver`` takes: of the server's image, or to be installed.
DRIVERS = (NONE, 'nvidia', 'nvidia-open', VGPU, AMD)

#: FeatureType of gridd.conf: what a licence is taken for (NVIDIA, Virtual GPU
#: Client Licensing User Guide).
FEATURES = {'vgpu': 1, 'vws': 2, 'vcs': 4}

WORKLOADS = ('smoke',)

_INSTALLERS = {'apt': ('run', 'deb'), 'dnf': ('run', 'rpm')}


@dataclasses.dataclass(frozen=True)
class Order:
    """What is asked of a guest.

    :param system: what is in its image; needed to install a driver
    :param version: of the driver, such as 570 or 570.86.15; '' is the newest
    :param url: where the driver's installer is, instead of a repository
    :param cuda: version of the CUDA toolkit, such as 12.9; '' is none
    :param token: the vGPU licence's client configuration token
    :param feature: one of ``FEATURES``
    :param workload: one of ``WORKLOADS``, run once at first boot
    :param report_url: where each report is sent to, besides the console
    """

    driver: str = NONE
    system: systems.System | None = None
    version: str = ''
    url: str = dataclasses.field(default='', repr=False)
    cuda: str = ''
    token: str = dataclasses.field(default='', repr=False)
    feature: str = ''
    workload: str = ''
    report_url: str = dataclasses.field(default='', repr=False)

    @property
    def installs(self) -> bool:
        """Whether a driver has to be brought into the guest."""
        if self.driver == VGPU:
            return bool(self.url)
        return self.driver != NONE

    @property
    def vendor_id(self) -> str:
        """PCI vendor of the cards that the driver is for; '' is any."""
        if self.driver == NONE:
            return ''
        return '1002' if self.driver == AMD else '10de'


def check_version(text: str) -> str:
    """Return a driver's version, or the beginning of one.

    :raises ValueError: with a sentence that says what would be right
    """
    return _matching(
        r'[0-9]{1,4}(\.[0-9]{1,4}){0,3}',
        text,
        _("'%s' is not a version of a driver, such as 570 or 570.86.15"),
    )


def check_cuda(text: str) -> str:
    """Return a version of CUDA.

    :raises ValueError: with a sentence that says what would be right
    """
    return _matching(
        r'[0-9]{1,2}\.[0-9]{1,2}',
        text,
        _("'%s' is not a version of CUDA, such as 12.9"),
    )


def _matching(pattern: str, text: str, otherwise: str) -> str:
    if not re.fullmatch(pattern, text):
        raise ValueError(otherwise % text)
    return text


def check_url(text: str) -> str:
    """Return a URL of HTTP.

    :raises ValueError: with a sentence that says what would be right; it
        does not repeat the URL, which may hold a password
    """
    try:
        found = parse.urlsplit(text)
        right = found.scheme in ('http', 'https') and bool(found.hostname)
        # Only this tells of a port that is none.
        right = right and (found.port or 1) > 0
    except ValueError:
        right = False
    if not right or not re.fullmatch('[!-~]+', text):
        raise ValueError(
            _(
                "the URL has to begin with https:// or http:// and a host, "
                "and must not contain spaces"
            )
        )
    return text


def refuse_secrets(order: Order, what: str) -> None:
    """Refuse what does not belong into a file that is kept.

    :param what: the file, such as a recipe
    :raises ValueError: with a sentence that says what would be right; it
        does not repeat the secret
    """
    if order.token:
        raise ValueError(_("the licence token comes with each server"))
    for option, url in (
        ('--driver-url', order.url),
        ('--report-url', order.report_url),
    ):
        found = parse.urlsplit(url)
        if found.username is not None or found.password is not None:
            part = _("a user or a password")
        # Download servers take tokens there.
        elif '?' in url or '#' in url:
            part = _("a query or a fragment, which may be a secret,")
        else:
            continue
        raise ValueError(
            _(
                "%(option)s has %(part)s in it, and %(what)s is a file that "
                "is kept: give it without"
            )
            % {'option': option, 'part': part, 'what': what}
        )


def complete(
    order: Order, read_system: Callable[[], systems.System | None]
) -> Order:
    """Return an order with the system that is in the image, if it needs it.

    :param read_system: asked if the order does not say it
    :raises ValueError: with a sentence that says what would be right
    """
    # What can be refused without asking is refused first.
    _require_sound(order)
    if order.installs and order.system is None:
        order = dataclasses.replace(order, system=read_system())
        _require_sound(order)
        if order.system is None:
            raise ValueError(
                _(
                    "which system is in the image is not known: name one "
                    "with --guest-os, of %s"
                )
                % ', '.join(map(str, systems.SYSTEMS))
            )
    return order


def _require_sound(order: Order) -> None:
    for is_wrong, why in (*_of_driver(order), *_of_license(order)):
        if is_wrong:
            raise ValueError(why)


def _of_driver(order: Order) -> tuple[tuple[bool, str], ...]:
    installed = order.driver != NONE
    return (
        (
            not installed and bool(order.version or order.url or order.cuda),
            _(
                "--driver-version, --driver-url and --cuda need a --driver "
                "to install"
            ),
        ),
        (
            order.driver == VGPU
            and not order.url
            and bool(order.version or order.cuda),
            _(
                "--driver %s without --driver-url is the driver in the "
                "image: omit --driver-version and --cuda"
            )
            % VGPU,
        ),
        (
            bool(order.version and order.url),
            _("--driver-url has a version of its own: omit --driver-version"),
        ),
        (
            order.driver == AMD and bool(order.url or order.cuda),
            _("--driver-url and --cuda are for NVIDIA's drivers"),
        ),
        (
            bool(order.url) and not _can_install(order),
            _(
                "--driver-url has to end with %(known)s, for %(system)s"
            )
            % {
                'system': order.system or _("any system"),
                'known': ' or '.join(
                    f'.{name}' for name in _installers(order)
                ),
            },
        ),
    )  # fmt: skip


def _installers(order: Order) -> tuple[str, ...]:
    if order.system is None:
        return ('run', 'deb', 'rpm')
    return _INSTALLERS[order.system.family]


def _can_install(order: Order) -> bool:
    path = parse.urlsplit(order.url).path
    return path.rpartition('.')[2] in _installers(order)


def _of_license(order: Order) -> tuple[tuple[bool, str], ...]:
    return (
        (
            bool(order.token or order.feature) and order.driver != VGPU,
            _("--license-token and --license-feature need --driver %s") % VGPU,
        ),
        (
            bool(order.feature) and not order.token,
            _("--license-feature needs --license-token"),
        ),
    )
