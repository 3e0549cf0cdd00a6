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

"""Recipes for images that have a GPU's driver in them.

A recipe is a script for bash. What it does in the image is what a server does
at its first boot (``scripts/setup.sh`` and that of the system's family), as
far as that can be done where the guest's kernel does not run.
"""

from collections.abc import Mapping
import re
import shlex

from osc_gpu.guest import orders
from osc_gpu.guest import systems
from osc_gpu.guest import user_data
from osc_gpu.i18n import _

DISKIMAGE_BUILDER = 'diskimage-builder'
VIRT_CUSTOMIZE = 'virt-customize'
TOOLS = (DISKIMAGE_BUILDER, VIRT_CUSTOMIZE)

#: What diskimage-builder calls a system, and the elements that make it.
_RELEASES = {
    'ubuntu-22.04': 'jammy',
    'ubuntu-24.04': 'noble',
    'debian-12': 'bookworm',
    'debian-13': 'trixie',
}
_ELEMENTS = {
    'ubuntu': 'ubuntu',
    'debian': 'debian',
    'rhel': 'rhel',
    'rocky': 'rocky-container',
    'almalinux': 'almalinux-container',
}
#: A disk that boots by UEFI and by BIOS.
_DISK = ('vm', 'block-device-efi')
#: What the elements of these systems leave to others.
_DNF_ELEMENTS = (
    'cloud-init',
    'cloud-init-datasources',
    'cloud-init-growpart',
    'dhcp-all-interfaces',
    'openssh-server',
)


def text(tool: str, order: orders.Order) -> str:
    """Return the recipe of an image.

    :param tool: one of ``TOOLS``
    :param order: what shall be in the image; its system has to be known
    :raises ValueError: with a sentence that says what would be right
    """
    system = order.system
    if system is None:
        raise ValueError(_("name the system of the image with --guest-os"))
    orders.refuse_secrets(order, _("a recipe"))
    if order.driver == orders.VGPU and not order.url:
        raise ValueError(
            _(
                "--driver %s needs --driver-url: NVIDIA gives its vGPU "
                "drivers to licensees only, in no public repository"
            )
            % order.driver
        )
    is_grown = tool == VIRT_CUSTOMIZE
    make = _virt_options if is_grown else _dib_options
    name = f'{system}-gpu'
    return _filled(
        user_data.script(f'{tool}.sh'),
        {
            'SYSTEM': str(system),
            'NAME': name,
            'CONTENT': _content(order),
            'NOTES': ''.join(_notes(tool, order, system, name)),
            'LAUNCH': _launch(order),
            'OPTIONS': make(system),
            'BUILD': _build(order, system, is_grown),
        },
    )


def _filled(template: str, values: Mapping[str, str]) -> str:
    """Return a template with each ``@NAME@`` replaced, once."""
    return re.sub(
        '@([A-Z]+)@\n?',
        lambda found: (
            values[found[1]] + ('\n' if found[0][-1] == '\n' else '')
            if values[found[1]]
            else ''
        ),
        template,
    )


def _content(order: orders.Order) -> str:
    if order.driver == orders.NONE:
        return 'in which drivers can be built'
    cuda = f' and CUDA {order.cuda}' if order.cuda else ''
    return f'with the driver {order.driver}{cuda}'


def _notes(
    tool: str, order: orders.Order, system: systems.System, name: str
) -> list[str]:
    """Return what a user has to know besides, as comments."""
    found = []
    if system.distro == 'rhel' and tool == VIRT_CUSTOMIZE:
        found += [
            "# Red Hat's packages need a subscription. Its password is read "
            "from a file:",
            '#',
            f'#     bash {name}.sh <base image> {name}.qcow2 \\',
            '#         --sm-credentials <user>:file:<file>',
        ]
    elif system.distro == 'rhel':
        found += [
            "# Red Hat's image is not public: DIB_LOCAL_IMAGE has to name "
            "one. Its packages",
            '# need a subscription, by REG_METHOD and other variables: see '
            'the element',
            '# rhel-common.',
        ]
    elif system.family == 'dnf' and tool == DISKIMAGE_BUILDER:
        found += [
            '# It begins with a container, made by podman; with '
            'DIB_CONTAINERFILE_RUNTIME=docker',
            '# by Docker.',
        ]
    if order.driver == orders.VGPU:
        found += ['#'] if found else []
        found += [
            '# No licence is in the image: its token comes with each server.'
        ]
    return ['\n'.join([*found, '#'])] if found else []


def _launch(order: orders.Order) -> str:
    """Return the options of a server that finds its driver in the image."""
    if order.driver == orders.NONE:
        return '--driver <driver>'
    more = ''
    if order.driver == orders.VGPU:
        more = ' --license-token <file>'
    return f'--driver {order.driver}{more}'


def _virt_options(system: systems.System) -> str:
    """Return what virt-customize is to do, in this order."""
    there = '/root/osc-gpu-build'
    # What it runs as a script, it has /bin/sh read, which is not bash.
    words = [
        f'--upload "$folder/build:{there}"',
        f"--run-command 'bash {there}'",
        f'--delete {there}',
    ]
    if system.distro == 'rhel':
        words = ['--sm-register', *words, '--sm-unregister']
    if system.family == 'dnf':
        words.append('--selinux-relabel')
    return ' \\\n    '.join(words)


def _dib_options(system: systems.System) -> str:
    release = _RELEASES.get(str(system), system.version)
    sources = '${DIB_CLOUD_INIT_DATASOURCES:-OpenStack}'
    lines = [
        f'export DIB_RELEASE={release}',
        f'export DIB_CLOUD_INIT_DATASOURCES="{sources}"',
    ]
    elements = [*_DISK, _ELEMENTS[system.distro]]
    if system.family == 'dnf':
        lines.append("export DIB_CLOUD_INIT_GROWPART_DEVICES='[\"/\"]'")
        elements += _DNF_ELEMENTS
    if system.distro == 'debian':
        # Some of what the driver needs is not in main.
        lines.append('export DIB_DEBIAN_COMPONENTS=main,contrib')
    return '\n'.join([*lines, f'elements=({" ".join(elements)} osc-gpu)'])


def _build(order: orders.Order, system: systems.System, is_grown: bool) -> str:
    """Return the script that runs in the image."""
    settings = {
        'SYSTEM': str(system),
        'DRIVER': order.driver,
        'VERSION': order.version,
        'URL': order.url,
        'CUDA': order.cuda,
        'NVIDIA_FOLDER': system.nvidia,
        'AMD_NAME': system.amd,
        'GROW': 'true' if is_grown else 'false',
    }
    return '\n'.join(
        [
            user_data.script('image-begin.sh'),
            ''.join(
                f'{name}={shlex.quote(value)}\n'
                for name, value in settings.items()
            ),
            user_data.drivers(system).strip('\n') + '\n',
            user_data.script('image.sh').strip('\n'),
        ]
    )
