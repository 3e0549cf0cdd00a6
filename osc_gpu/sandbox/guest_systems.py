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

"""What is in the images of the sandbox's guests."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class System:
    """An operating system as it lies on a new disk.

    :param version: as os-release has it, with the minor release if any
    :param kernel: the one in the image
    :param newest: the one that its mirrors have
    :param has_lspci: whether the image does
    :param has_nouveau: whether that drives NVIDIA's cards until told not to
    """

    distro: str
    version: str
    title: str
    codename: str
    kernel: str
    newest: str
    has_lspci: bool = False
    has_nouveau: bool = False

    @property
    def name(self) -> str:
        """What it is called on the command line: ubuntu-24.04, rocky-9."""
        version = self.version
        if self.has_nouveau:
            version = version.partition('.')[0]
        return f'{self.distro}-{version}'

    @property
    def os_release(self) -> str:
        """The text of /etc/os-release, of which VERSION is a part too."""
        version = f'{self.version} ({self.codename})'
        return (
            f'PRETTY_NAME="{self.title} {version}"\n'
            f'NAME="{self.title}"\n'
            f'VERSION_ID="{self.version}"\n'
            f'VERSION="{version}"\n'
            f'ID={self.distro}\n'
            'HOME_URL="https://www.example.org/"\n'
        )


def _debian(distro: str, version: str, title: str, rest: str) -> System:
    codename, kernel, newest = rest.split('|')
    return System(
        distro,
        version,
        title,
        codename,
        kernel,
        newest,
        has_lspci=distro == 'ubuntu',
    )


def _enterprise(distro: str, title: str) -> tuple[System, ...]:
    return tuple(
        System(distro, version, title, f'el{version}', kernel, newest,
               has_nouveau=True)
        for version, kernel, newest in (
            ('8.10', '4.18.0-553.el8_10.x86_64',
             '4.18.0-553.45.1.el8_10.x86_64'),
            ('9.6', '5.14.0-570.12.1.el9_6.x86_64',
             '5.14.0-570.58.1.el9_6.x86_64'),
        )
    )  # fmt: skip


_ALL = (
    _debian(
        'ubuntu', '22.04', 'Ubuntu',
        'Jammy Jellyfish|5.15.0-130-generic|5.15.0-156-generic',
    ),
    _debian(
        'ubuntu', '24.04', 'Ubuntu',
        'Noble Numbat|6.8.0-51-generic|6.8.0-84-generic',
    ),
    _debian(
        'debian', '12', 'Debian GNU/Linux',
        'bookworm|6.1.0-28-cloud-amd64|6.1.0-40-amd64',
    ),
    _debian(
        'debian', '13', 'Debian GNU/Linux',
        'trixie|6.12.41+deb13-cloud-amd64|6.12.57+deb13-amd64',
    ),
    *_enterprise('rhel', 'Red Hat Enterprise Linux'),
    *_enterprise('rocky', 'Rocky Linux'),
    *_enterprise('almalinux', 'AlmaLinux'),
)  # fmt: skip

SYSTEMS = {system.name: system for system in _ALL}
