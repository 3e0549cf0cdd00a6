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

"""What an image is checked for, and the findings about it."""

from collections.abc import Iterator
import dataclasses
import shlex

from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import flavors
from osc_gpu.cloud import image_properties
from osc_gpu.cloud import images
from osc_gpu import findings

Found = Iterator[findings.Finding]

#: What `gpu server create --driver` calls the driver that an image has
#: itself, the one for vGPUs, and AMD's; all but the first and the last are
#: NVIDIA's.
NO_DRIVER = 'none'
VGPU = 'nvidia-vgpu'
AMD = 'amdgpu'

#: Of a value that is shown, at most so many characters.
_LONGEST = 60


def shown(value: str) -> str:
    """Return what anybody may have set as it can be printed on one line."""
    if len(value) > _LONGEST:
        value = f'{value[:_LONGEST]}...'
    return value if value.isprintable() else ascii(value)[1:-1]


@dataclasses.dataclass(frozen=True)
class Subject:
    """An image, and what servers from it shall be.

    :param label: what a command finds the image by.
    :param driver: what is installed when a server boots first, as `gpu server
        create --driver` calls it; '' when that is open.
    :param system: the guest system that a driver can be installed on, '' if
        the image names none.
    :param flavor: None when that is open.
    :param request: the GPUs of the flavor.
    """

    image: images.Image
    label: str
    driver: str = ''
    system: str = ''
    flavor: flavors.Flavor | None = None
    request: extra_specs.GpuRequest = dataclasses.field(
        default_factory=extra_specs.GpuRequest
    )

    def get(self, key: str) -> str:
        """Return a property as Nova reads it; '' if it is not set."""
        return image_properties.get(self.image.properties, key)

    def spec(self, key: str) -> str:
        """Return an extra spec of the flavor; '' without one."""
        specs = self.flavor.extra_specs if self.flavor else {}
        return str(specs.get(key) or '')

    @property
    def is_x86(self) -> bool:
        """Whether servers have an x86 processor, as far as is known."""
        key = image_properties.ARCHITECTURE
        return self.get(key) in ('', 'x86_64', 'i686')

    @property
    def is_aarch64(self) -> bool:
        """Whether servers have an Arm processor of 64 bits."""
        return self.get(image_properties.ARCHITECTURE) == 'aarch64'

    @property
    def is_uefi(self) -> bool:
        """Whether servers boot by UEFI."""
        firmware = self.get(image_properties.FIRMWARE_TYPE)
        return firmware == 'uefi' or (self.is_aarch64 and not firmware)

    @property
    def takes_devices(self) -> bool:
        """Whether servers get PCI devices; yes when that is open."""
        return self.flavor is None or bool(self.request.aliases)

    @property
    def secure_boot(self) -> str:
        """How Secure Boot is asked for, in the flavor or in the image."""
        return self.spec('os:secure_boot') or self.get(
            image_properties.SECURE_BOOT
        )

    def finding(
        self, severity: str, check: str, detail: str, repair: str = ''
    ) -> findings.Finding:
        """Return a finding about the image."""
        return findings.Finding(severity, check, self.label, detail, repair)

    def error(
        self, check: str, detail: str, fix: str = ''
    ) -> findings.Finding:
        """Return a finding of what breaks servers, or their GPUs."""
        return self.finding(findings.ERROR, check, detail, fix)

    def warning(
        self, check: str, detail: str, fix: str = ''
    ) -> findings.Finding:
        """Return a finding of what may."""
        return self.finding(findings.WARNING, check, detail, fix)

    def info(self, check: str, detail: str, fix: str = '') -> findings.Finding:
        """Return a finding that is advice."""
        return self.finding(findings.INFO, check, detail, fix)

    def set(self, *options: str) -> str:
        """Return the command that sets properties by our options."""
        words = ['openstack', 'gpu', 'image', 'set', *options, self.label]
        return shlex.join(words)

    def set_properties(self, **properties: str) -> str:
        """Return the command that sets properties that no option is for."""
        words = ['openstack', 'image', 'set']
        for key, value in properties.items():
            words += ['--property', f'{key}={value}']
        return shlex.join([*words, self.label])

    def unset(self, key: str) -> str:
        """Return the command that takes a property away."""
        words = ['openstack', 'image', 'unset', '--property', key, self.label]
        return shlex.join(words)
