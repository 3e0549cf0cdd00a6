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

"""The GPUs of the sandbox's guests: what Nova's libvirt gave them."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import re
from typing import Any

from osc_gpu.data import pci_names
from osc_gpu.sandbox import topology

_VENDORS = {'10de': 'NVIDIA', '1002': 'AMD'}
_GRAPHICS, _3D = '0300', '0302'


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A GPU as its guest sees it.

    :param pci_class: four hexadecimal digits, of the PCI standard
    """

    vendor_id: str
    product_id: str
    name: str
    memory_mib: int = 16384
    pci_class: str = _3D


def of_server(
    hosts: Iterable[Mapping[str, Any]],
    guests: Mapping[str, Iterable[Mapping[str, Any]]],
    server: str,
) -> tuple[Gpu, ...]:
    """Return the GPUs of the guest that runs for a server.

    :param hosts: those of the sandbox's topology
    :param guests: what each host's libvirt runs, by host name
    :param server: its id
    """
    cards = {host['name']: host['cards'] for host in hosts}
    return tuple(
        gpu
        for host, found in guests.items()
        for guest in found
        if guest['uuid'] == server and guest['state'] == 'running'
        for gpu in _gpus(cards[host], guest)
    )


def _gpus(
    cards: Iterable[Mapping[str, Any]], guest: Mapping[str, Any]
) -> Iterator[Gpu]:
    by_address: dict[str, tuple[Mapping[str, Any], str]] = {}
    for card in cards:
        own, *functions = topology.Card(
            card['type'],
            card['vendor_id'],
            card['product_id'],
            card['address'].lower(),
            vfs=card.get('vfs', 0),
        ).addresses()
        by_address[own] = card, card['product_id']
        for address in functions:
            by_address[address] = card, card['vf_product_id']
    for address in guest['devices']:
        card, product = by_address[address]
        yield _whole(card['vendor_id'], product)
    for mdev in guest['mdevs']:
        card, product = by_address[mdev['parent']]
        whole = _whole(card['vendor_id'], product)
        yield dataclasses.replace(
            whole,
            name=f'{whole.name} {mdev["type"]}',
            memory_mib=2048,
            pci_class=_GRAPHICS,
        )


def _whole(vendor_id: str, product_id: str) -> Gpu:
    """Return a card as its driver names it."""
    vendor = _VENDORS.get(vendor_id, vendor_id)
    name = f'{vendor} {product_id}'
    known = pci_names.find(vendor_id, product_id)
    if known:
        # A chip, and the card that it is on in brackets.
        card = re.search(r'\[([^]]*)\]', known.device)
        name = f'{vendor} {card[1] if card else known.device}'
    size = re.search(r'\b(\d+) ?GB', name)
    return Gpu(
        vendor_id,
        product_id,
        name,
        int(size[1]) * 1024 if size else Gpu.memory_mib,
    )
