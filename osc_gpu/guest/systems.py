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

"""Operating systems of guests that a driver can be installed on.

An image says what is in it by ``os_distro`` and ``os_version``, whose values
are libosinfo's (Glance, "Useful image properties").
"""

import dataclasses
from typing import Literal

from osc_gpu.i18n import _

Family = Literal['apt', 'dnf']


@dataclasses.dataclass(frozen=True)
class System:
    """A distribution in a version, such as ubuntu 24.04.

    :param family: what installs its packages
    :param nvidia: the name of its folder in NVIDIA's package repository
    :param amd: its name in AMD's: a suite of apt, or elN
    """

    distro: str
    version: str
    family: Family
    nvidia: str
    amd: str

    def __str__(self) -> str:
        return f'{self.distro}-{self.version}'


def _enterprise(distro: str) -> tuple[System, ...]:
    return tuple(
        System(distro, number, 'dnf', f'rhel{number}', f'el{number}')
        for number in ('8', '9')
    )


SYSTEMS = (
    System('ubuntu', '22.04', 'apt', 'ubuntu2204', 'jammy'),
    System('ubuntu', '24.04', 'apt', 'ubuntu2404', 'noble'),
    # AMD builds for Debian what it builds for Ubuntu.
    System('debian', '12', 'apt', 'debian12', 'jammy'),
    System('debian', '13', 'apt', 'debian13', 'noble'),
    *_enterprise('rhel'),
    *_enterprise('rocky'),
    *_enterprise('almalinux'),
)

#: Other names of distributions that people write.
_ALSO = {
    'alma': 'almalinux',
    'redhat': 'rhel',
    'red-hat': 'rhel',
    'rockylinux': 'rocky',
}


def parse(text: str) -> System:
    """Read ``<distro>-<version>``, such as ``ubuntu-24.04`` or ``rocky-9``.

    :raises ValueError: with a sentence that says what would be right
    """
    distro, _dash, version = text.strip().lower().rpartition('-')
    found = _find(distro, version)
    if not found:
        raise ValueError(
            _("guest system '%(text)s' is not one of: %(known)s")
            % {'text': text, 'known': ', '.join(map(str, SYSTEMS))}
        )
    return found


def of_image(distro: str | None, version: str | None) -> System | None:
    """Return what an image says is in it; None if that is none of ours.

    :param distro: image property os_distro
    :param version: image property os_version
    """
    return _find((distro or '').strip().lower(), (version or '').strip())


def _find(distro: str, version: str) -> System | None:
    distro = _ALSO.get(distro, distro)
    for system in SYSTEMS:
        # A minor release counts where the major one is what is supported.
        exact = version.partition('.')[0] if _has_minors(system) else version
        if (distro, exact) == (system.distro, system.version):
            return system
    return None


def _has_minors(system: System) -> bool:
    return '.' not in system.version
