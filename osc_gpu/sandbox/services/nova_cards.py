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

"""The machines below libvirt: cards as libvirt would describe them.

Nova's own fake of the libvirt binding plays libvirt. Its fake PCI devices are
bound to domain 0 and to a few network cards, so the cards here bring their
own XML; the rest of Nova reads nothing else of them.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import functools
import re
from typing import Any
from xml.sax import saxutils

_DEVICE = """\
<device>
  <name>{name}</name>
  <path>/sys/devices/pci{address}</path>
  <parent>{parent}</parent>
  <driver><name>{driver}</name></driver>
  <capability type='pci'>
    <domain>{domain}</domain>
    <bus>{bus}</bus>
    <slot>{slot}</slot>
    <function>{function}</function>
    <product id='0x{product}'>{product}</product>
    <vendor id='0x{vendor}'>{vendor}</vendor>
    {capability}
    <iommuGroup number='{iommu}'>
      {own}
    </iommuGroup>
    <numa node='{numa}'/>
  </capability>
</device>"""

_MDEV_TYPE = """\
<type id='{name}'><name>{name}</name><deviceAPI>vfio-pci</deviceAPI>\
<availableInstances>{available}</availableInstances></type>"""


@dataclasses.dataclass(frozen=True)
class Address:
    """A PCI address."""

    domain: int
    bus: int
    slot: int
    function: int

    @classmethod
    def parse(cls, text: str) -> 'Address':
        """Read ``domain:bus:slot.function``, all hexadecimal."""
        return cls(*(int(part, 16) for part in re.split('[:.]', text)))

    def __str__(self) -> str:
        return (
            f'{self.domain:04x}:{self.bus:02x}:{self.slot:02x}.'
            f'{self.function:x}'
        )

    def next(self, count: int) -> 'Address':
        """Return the address that many functions further on."""
        slot, function = divmod(self.slot * 8 + self.function + count, 8)
        return dataclasses.replace(self, slot=slot, function=function)

    @property
    def name(self) -> str:
        """The name libvirt gives the device."""
        return 'pci_' + re.sub('[:.]', '_', str(self))

    @property
    def xml(self) -> str:
        return (
            f"<address domain='0x{self.domain:04x}' bus='0x{self.bus:02x}' "
            f"slot='0x{self.slot:02x}' function='0x{self.function:x}'/>"
        )


@dataclasses.dataclass(frozen=True)
class Device:
    """A PCI function as Nova's fake libvirt wants it: an object with XML."""

    address: Address
    vendor_id: str
    product_id: str
    numa_node: int
    driver: str = 'vfio-pci'
    capability: Callable[[], str] = str
    is_capable_of_mdevs: bool = False
    mac_address: None = None

    @property
    def pci_device(self) -> str:
        return self.XMLDesc(0)

    def XMLDesc(self, flags: int) -> str:
        """Describe the device, with what it can still create right now."""
        xml = _DEVICE.format(
            name=self.address.name,
            address=self.address,
            parent=f'pci_{self.address.domain:04x}_00_01_0',
            driver=self.driver,
            domain=self.address.domain,
            bus=self.address.bus,
            slot=self.address.slot,
            function=self.address.function,
            product=self.product_id,
            vendor=self.vendor_id,
            capability=self.capability(),
            iommu=self.address.bus * 256 + self.address.slot,
            own=self.address.xml,
            numa=self.numa_node,
        )
        # libvirt leaves the element out for a device without affinity.
        return xml.replace("<numa node='-1'/>", '')


class Devices(dict[str, Device]):
    """All PCI functions of a host, by libvirt's name for them."""

    def __init__(self, host: Mapping[str, Any], mdevs: Mapping[str, Any]):
        """Make the devices of a topology's host.

        ``mdevs`` are the host's mediated devices by name, as they come and
        go; each knows its ``parent`` and ``type_id``.
        """
        super().__init__()
        for card in host['cards']:
            for device in _functions(card, mdevs):
                self[device.address.name] = device

    # What nova.tests.fixtures.libvirt.Connection asks of its pci_info.

    @property
    def devices(self) -> 'Devices':
        return self

    def get_all_devices(self) -> list[str]:
        return list(self)

    def get_device_by_name(self, name: str) -> Device | None:
        return self.get(name)

    def get_all_mdev_capable_devices(self) -> list[str]:
        return [n for n, device in self.items() if device.is_capable_of_mdevs]


def functions_of(card: Mapping[str, Any]) -> list[Address]:
    """Return the addresses that servers can get of a PCI or PF card."""
    first = Address.parse(card['address'])
    if card['type'] == 'PF':
        return [first.next(n) for n in range(1, card['vfs'] + 1)]
    return [first]


def _functions(
    card: Mapping[str, Any], mdevs: Mapping[str, Any]
) -> list[Device]:
    address = Address.parse(card['address'])

    device = functools.partial(
        Device, vendor_id=card['vendor_id'], numa_node=card['numa_node']
    )
    product = card['product_id']
    if card['type'] == 'mdev':

        def types() -> str:
            made = [m.parent for m in mdevs.values()]
            left = made.count(address.name)
            return "<capability type='mdev_types'>{}</capability>".format(
                ''.join(
                    _MDEV_TYPE.format(
                        name=saxutils.escape(kind['name']),
                        available=max(0, kind['instances'] - left),
                    )
                    for kind in card['mdev_types']
                )
            )

        return [
            device(
                address,
                product_id=product,
                driver='nvidia',
                capability=types,
                is_capable_of_mdevs=True,
            )
        ]
    if card['type'] == 'PF':
        functions = functions_of(card)
        all_vfs = ''.join(vf.xml for vf in functions)
        owner = f"<capability type='phys_function'>{address.xml}</capability>"
        pf = f"<capability type='virt_functions'>{all_vfs}</capability>"
        vf_product = card['vf_product_id']
        return [
            device(
                address,
                product_id=product,
                driver='nvidia',
                capability=lambda: pf,
            ),
            *(
                device(vf, product_id=vf_product, capability=lambda: owner)
                for vf in functions
            ),
        ]
    return [device(address, product_id=product)]
