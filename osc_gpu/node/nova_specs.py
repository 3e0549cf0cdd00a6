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

"""Devices and aliases as Nova reads them."""

from collections.abc import Iterable
import json
import re

from osc_gpu.i18n import _
from osc_gpu.node import model
from osc_gpu.node import releases
from osc_gpu.node import wanted
from osc_gpu.node import wanted_vgpus


def device_specs(
    asked: wanted.Wanted, offer: wanted.Offer
) -> list[dict[str, str]]:
    """Return which devices of a node Nova may give to servers.

    They are told by vendor and product if the node offers all it has of
    them, and by address otherwise. Where one card is a PF, its VFs have its
    ids too, and are never meant.

    :raises ValueError: a VF is not there yet, so that its address is unknown
    """
    found: list[dict[str, str]] = []
    for function in offer.passed:
        spec = dict(zip(('vendor_id', 'product_id'), _split(function.ids)))
        if not _has_all(offer, function.ids):
            spec['address'] = function.address
        if releases.is_in_placement(asked.release):
            spec['resource_class'] = device_class(function.ids)
        found.append(spec)
    for vgpu in offer.vgpus:
        if not vgpu.type.is_mdev:
            function = _function(vgpu)
            vendor_id, product_id = _split(function.ids)
            found.append(
                {
                    'vendor_id': vendor_id,
                    'product_id': product_id,
                    'address': function.address,
                    'resource_class': vgpu.type.resource_class,
                    # libvirt must not take the VF from the vendor's driver.
                    'managed': 'no',
                }
            )
    return [s for i, s in enumerate(found) if s not in found[:i]]


def alias_specs(asked: wanted.Wanted) -> list[dict[str, str]]:
    """Return the aliases as Nova reads them.

    They have the ids besides a resource class: nova-compute reads aliases
    too, and without pci_in_placement it refuses one that has no ids
    (nova/pci/request.py, _validate_required_ids).
    """
    found = []
    for alias in asked.aliases:
        vendor_id, product_id = _split(alias.ids)
        spec = {
            'vendor_id': vendor_id,
            'product_id': product_id,
            'name': alias.name,
        }
        if alias.device_type:
            spec['device_type'] = alias.device_type
        if releases.is_in_placement(asked.release):
            spec['resource_class'] = (
                alias.vgpu.resource_class
                if alias.vgpu
                else device_class(alias.ids)
            )
        found.append(spec)
    return found


def as_json(spec: dict[str, str]) -> str:
    """Return JSON that means itself wherever nova.conf comes from.

    Nova takes ``$`` for the name of an option, Ansible ``{{`` and ``{%`` for
    its own: in what was typed they are escaped as JSON has it.
    """
    items = (
        f'{_quoted(key)}: {_quoted(value)}' for key, value in spec.items()
    )
    return f'{{{", ".join(items)}}}'


def addresses(offer: wanted.Offer, type_id: str) -> tuple[str, ...]:
    """Return the functions of a node that are to have a type.

    :raises ValueError: a VF is not there yet, so that its address is unknown
    """
    found = (
        _function(vgpu).address
        for vgpu in offer.vgpus
        if vgpu.type.id == type_id
    )
    return tuple(dict.fromkeys(found))


def _function(vgpu: wanted_vgpus.Vgpu) -> model.Function:
    if vgpu.function is None:
        raise ValueError(
            _(
                "%s has no VFs yet, so their addresses are not known: make "
                "them (sriov-manage -e) and read the node again"
            )
            % vgpu.gpu.address
        )
    return vgpu.function


def mdev_classes(asked: wanted.Wanted) -> dict[str, str]:
    """Return the resource class of each type of mediated device.

    One type is VGPU: a flavor with that key alone has its vGPU made anew at
    a hard reboot (nova/virt/libvirt/driver.py, _hard_reboot). Several need
    classes, or no flavor can tell them.
    """
    types = asked.mdev_types
    if len(types) < 2 or not releases.has(releases.MDEV_CLASS, asked.release):
        return {}
    return {found.id: found.resource_class for found in types}


def _has_all(offer: wanted.Offer, ids: str) -> bool:
    """Tell whether a node offers all functions that have some ids."""
    passed = {function.address for function in offer.passed}
    return all(
        function.address in passed
        for function in _functions(offer.node)
        if function.ids == ids
    )


def _functions(node: model.Node) -> Iterable[model.Function]:
    for gpu in node.gpus:
        yield gpu.function
        yield from gpu.companions
        yield from gpu.group or ()
        for vf in gpu.vfs or ():
            yield vf.function


def _split(ids: str) -> tuple[str, str]:
    vendor_id, _colon, product_id = ids.partition(':')
    return vendor_id, product_id


def device_class(ids: str) -> str:
    """Return the class that Nova itself gives such a device."""
    return 'CUSTOM_PCI_' + ids.upper().replace(':', '_')


def _quoted(value: str) -> str:
    return re.sub(
        '[${}%#\x7f]',
        lambda found: f'\\u{ord(found[0]):04x}',
        json.dumps(value),
    )
