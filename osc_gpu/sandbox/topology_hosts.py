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

"""Hosts, cards and aliases, read from a topology's YAML."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

from osc_gpu.i18n import _
from osc_gpu.sandbox import topology
from osc_gpu.sandbox.yaml_reader import shown
from osc_gpu.sandbox.yaml_reader import Value

_HOST_NAME = r'[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?'
_ALIAS_NAME = r'[^\s:,"]{1,255}'
_PCI_ID = r'[0-9a-fA-F]{4}'
_ADDRESS = r'[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[01][0-9a-fA-F]\.[0-7]'
_SYMBOL = r'[A-Z][A-Z0-9_]{0,254}'
_MDEV_CLASS = r'VGPU|CUSTOM_[A-Z0-9_]{1,248}'
_MDEV_TYPE = r'[A-Za-z0-9][A-Za-z0-9._-]{0,62}'

#: what only some types of card have, beside the keys that all have
_CARD_KEYS = {
    'PCI': ('resource_class', 'traits', 'live_migratable'),
    'PF': (
        'resource_class',
        'traits',
        'live_migratable',
        'vfs',
        'vf_product_id',
    ),
    'mdev': ('mdev_types',),
}
_DEVICE_TYPES = ('type-PCI', 'type-PF', 'type-VF')
_NUMA_POLICIES = ('required', 'preferred', 'legacy', 'socket')


def hosts(value: Value) -> tuple[topology.Host, ...]:
    """Return the hosts of a topology."""
    result = value.each(_host)
    if not 1 <= len(result) <= topology.MAX_HOSTS:
        raise value.error(
            _("%(count)d hosts; there must be 1 to %(most)d")
            % {'count': len(result), 'most': topology.MAX_HOSTS}
        )
    return result


def _host(value: Value) -> topology.Host:
    fields = value.fields(
        {'name': _host_name},
        {
            'vcpus': _number(1, 4096),
            'memory_mb': _number(1, 2**26),
            'disk_gb': _number(1, 2**20),
            'numa_nodes': _number(1, 16),
            'cards': Value.items,
        },
    )
    items = fields.pop('cards', [])
    host = topology.Host(**fields)
    if host.vcpus % host.numa_nodes:
        raise value.at('vcpus').error(
            _("%(vcpus)d vCPUs do not spread evenly over %(nodes)d NUMA nodes")
            % {'vcpus': host.vcpus, 'nodes': host.numa_nodes}
        )
    cards = tuple(_card(item, host.numa_nodes) for item in items)
    _check_addresses(items, cards)
    _check_mdev_classes(items, cards)
    return dataclasses.replace(host, cards=cards)


def _host_name(value: Value) -> str:
    return value.matching(
        _HOST_NAME,
        _(
            "%(value)s is no host name; use lower-case letters, digits, "
            "'.', '_' and '-', as gpu1"
        ),
    )


def _number(least: int, most: int) -> Any:
    return functools.partial(Value.integer, least=least, most=most)


def _check_addresses(
    items: Sequence[Value], cards: Sequence[topology.Card]
) -> None:
    owners: dict[str, str] = {}
    for item, card in zip(items, cards, strict=True):
        for number, address in enumerate(card.addresses()):
            if address in owners:
                what = _("its VF %d, ") % number if number else ''
                raise item.at('address').error(
                    _("%(what)s%(address)s, is taken by %(other)s")
                    % {
                        'what': what,
                        'address': address,
                        'other': owners[address],
                    }
                )
            owners[address] = item.path


def _check_mdev_classes(
    items: Sequence[Value], cards: Sequence[topology.Card]
) -> None:
    # Nova has one mdev_class for a type, in its group [mdev_<type>]; another
    # host has a group of its own.
    first: dict[str, tuple[str, str]] = {}
    for item, card in zip(items, cards, strict=True):
        kinds = item.at('mdev_types').items() if card.mdev_types else []
        for value, kind in zip(kinds, card.mdev_types, strict=True):
            if not kind.enabled:
                continue
            where = value.at('resource_class')
            other, path = first.setdefault(
                kind.name, (kind.resource_class, where.path)
            )
            if other != kind.resource_class:
                raise where.error(
                    _(
                        "%(class)s, but %(type)s is %(other)s in %(path)s; "
                        "on one host a type has one class"
                    )
                    % {
                        'class': kind.resource_class,
                        'type': kind.name,
                        'other': other,
                        'path': path,
                    }
                )


def _card(value: Value, numa_nodes: int) -> topology.Card:
    fields = value.fields(
        {
            'type': lambda item: item.one_of(tuple(_CARD_KEYS)),
            'vendor_id': _pci_id,
            'product_id': _pci_id,
            'address': _address,
        },
        {
            'numa_node': _number(-1, numa_nodes - 1),
            'resource_class': _symbol,
            'traits': _traits,
            'live_migratable': Value.boolean,
            'vfs': _number(1, 255),
            'vf_product_id': _pci_id,
            'mdev_types': _mdev_types,
        },
    )
    kind = fields['type']
    for key in sorted({'vfs', 'mdev_types'} & set(_CARD_KEYS[kind])):
        if key not in fields:
            raise value.error(
                _("%(key)s is missing; a card of type %(kind)s has 1 or more")
                % {'key': key, 'kind': kind}
            )
    _check_card_keys(value, kind, fields)
    if kind == 'PF':
        fields.setdefault('vf_product_id', fields['product_id'])
    card = topology.Card(**fields)
    # Virtual functions follow their physical one on the same bus.
    slot, function = card.address.rsplit(':', 1)[1].split('.')
    room = 255 - (int(slot, 16) * 8 + int(function))
    if card.vfs > room:
        raise value.at('vfs').error(
            _("behind %(address)s is room for %(room)d VFs on its bus")
            % {'address': card.address, 'room': room}
        )
    return card


def _check_card_keys(value: Value, kind: str, keys: Iterable[str]) -> None:
    special = {key for own in _CARD_KEYS.values() for key in own}
    for key in keys:
        if key in special and key not in _CARD_KEYS[kind]:
            owners = [k for k, own in _CARD_KEYS.items() if key in own]
            raise value.at(key).error(
                _("a card of type %(kind)s has none, only %(owners)s has")
                % {'kind': kind, 'owners': _(" or ").join(owners)}
            )


def _mdev_types(value: Value) -> tuple[topology.MdevType, ...]:
    types = value.each(_mdev_type)
    if not types:
        raise value.error(_("empty; an mdev card has 1 type or more"))
    chosen = [item.name for item in types if item.enabled]
    if len(chosen) > 1:
        raise value.error(
            _("enabled are %s; a card creates instances of one type")
            % ', '.join(chosen)
        )
    enabled = chosen[0] if chosen else types[0].name
    return tuple(
        dataclasses.replace(item, enabled=item.name == enabled)
        for item in types
    )


def _mdev_type(value: Value) -> topology.MdevType:
    fields = value.fields(
        {
            'name': lambda item: item.matching(
                _MDEV_TYPE, _("%(value)s is no mdev type, as nvidia-11")
            )
        },
        {
            'instances': _number(1, 1024),
            'resource_class': lambda item: item.matching(
                _MDEV_CLASS,
                _("%(value)s is no class of vGPUs; use VGPU or CUSTOM_..."),
            ),
            'enabled': Value.boolean,
        },
    )
    return topology.MdevType(**({'enabled': False} | fields))


def _pci_id(value: Value) -> str:
    return value.matching(
        _PCI_ID,
        _("%(value)s is no PCI id; write four hexadecimal digits, as 10de"),
    ).lower()


def _address(value: Value) -> str:
    return value.matching(
        _ADDRESS,
        _(
            "%(value)s is no PCI address; write it with its domain, as "
            "0000:20:00.0"
        ),
    ).lower()


def _symbol(value: Value) -> str:
    return value.matching(
        _SYMBOL,
        _(
            "%(value)s is no name of Placement's; use upper-case letters, "
            "digits and '_', as CUSTOM_A100"
        ),
    )


def _traits(value: Value) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_symbol(item) for item in value.items()))


def aliases(
    value: Value, of: Iterable[topology.Host], in_placement: bool
) -> tuple[topology.Alias, ...]:
    """Return the aliases, their device types as the hosts' cards have it."""
    cards = [card for host in of for card in host.cards]
    first: dict[str, topology.Alias] = {}
    result = []
    for item in value.items():
        alias = _alias(item, cards)
        other = first.setdefault(alias.name, alias)
        if other is not alias:
            _check_second(item, alias, other, in_placement)
        result.append(alias)
    return tuple(result)


def _check_second(
    item: Value,
    alias: topology.Alias,
    other: topology.Alias,
    in_placement: bool,
) -> None:
    # Nova's rules, nova/pci/request.py get_alias_from_config.
    if in_placement:
        raise item.error(
            _(
                "the alias %s is there already; with PCI in Placement an "
                "alias has one entry"
            )
            % shown(alias.name)
        )
    for key in ('device_type', 'numa_policy'):
        if getattr(alias, key) != getattr(other, key):
            raise item.error(
                _(
                    "%(key)s differs from the other entry of the alias "
                    "%(name)s, %(other)s"
                )
                % {
                    'key': key,
                    'name': shown(alias.name),
                    'other': getattr(other, key) or _("none"),
                }
            )


def _alias(value: Value, cards: Sequence[topology.Card]) -> topology.Alias:
    fields = value.fields(
        {'name': _alias_name, 'vendor_id': _pci_id, 'product_id': _pci_id},
        {
            'device_type': lambda item: item.one_of(_DEVICE_TYPES),
            'numa_policy': lambda item: item.one_of(_NUMA_POLICIES),
            'resource_class': _symbol,
            'traits': _traits,
            'live_migratable': Value.boolean,
        },
    )
    # An alias that no card satisfies is as good as any other.
    kinds = [*_device_types(fields, cards), 'type-PCI']
    alias = topology.Alias(**({'device_type': kinds[0]} | fields))
    _check_served(value, alias, cards)
    return alias


def _alias_name(value: Value) -> str:
    return value.matching(
        _ALIAS_NAME,
        _("%(value)s is no alias; leave out spaces, ':', ',' and '\"'"),
    )


def _device_types(
    ids: Mapping[str, str], cards: Iterable[topology.Card]
) -> list[str]:
    """Return what Nova calls the devices with these ids that servers get."""
    kinds = set()
    for card in cards:
        if card.vendor_id != ids['vendor_id']:
            continue
        if card.type == 'PF' and card.vf_product_id == ids['product_id']:
            kinds.add('type-VF')
        elif card.type != 'PF' and card.product_id == ids['product_id']:
            kinds.add('type-PCI')
    return sorted(kinds)


def _check_served(
    value: Value, alias: topology.Alias, cards: Sequence[topology.Card]
) -> None:
    """Refuse an alias for a PF card that names anything but its VFs."""
    ids = dataclasses.asdict(alias)
    if alias.device_type in _device_types(ids, cards):
        return
    for card in cards:
        if (
            card.type == 'PF'
            and card.vendor_id == alias.vendor_id
            and alias.product_id in (card.product_id, card.vf_product_id)
        ):
            raise value.at('device_type').error(
                _(
                    "no server gets such a device, only the VFs of these "
                    "cards; write product_id: %s, device_type: type-VF"
                )
                % card.vf_product_id
            )
