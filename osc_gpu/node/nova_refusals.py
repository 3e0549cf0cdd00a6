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

"""What Nova does not start with in aliases and device specs.

Source: Nova 34, nova/pci: request.py (get_alias_from_config), devspec.py,
utils.py.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import re
import warnings

from osc_gpu.i18n import _
from osc_gpu.node import conf_json
from osc_gpu.node import grammar
from osc_gpu.node import wanted

_IDS = ('vendor_id', 'product_id')
_ALIAS_WORDS: Mapping[str, tuple[str, ...]] = {
    'capability_type': ('pci',),
    'device_type': (wanted.PCI, wanted.PF, wanted.VF),
    'numa_policy': ('required', 'legacy', 'preferred', 'socket'),
}
_ALIAS_TEXTS = (
    *_IDS,
    *_ALIAS_WORDS,
    'live_migratable',
    'name',
    'resource_class',
    'traits',
)
_LONGEST_NAME = 256
#: What oslo.utils takes for true or false.
_SWITCHES = frozenset('true t yes y on 1 false f no n off 0'.split())

_SPEC_SWITCHES = ('live_migratable', 'managed', 'one_time_use')
_WHICH = ('address', 'devname', *_IDS)
_TAGS = frozenset(
    (
        *_SPEC_SWITCHES,
        'physical_network',
        'remote_managed',
        'resource_class',
        'traits',
        'trusted',
    )
)
_ANY = '*'
_LARGEST_ID = 0xFFFF
#: The largest domain, bus and slot.
_LARGEST = (0xFFFF, 0xFF, 0x1F)
_LARGEST_FUNCTION = 7


def of_alias(spec: conf_json.Spec) -> Iterator[str]:
    """Yield why Nova does not start with an alias that has a name.

    What it lacks, or has as another alias of its name has it, is not told of.
    """
    unknown = sorted(spec.keys() - set(_ALIAS_TEXTS))
    if unknown:
        yield _("Nova does not start with %s in an alias") % ', '.join(unknown)
    for key in _ALIAS_TEXTS:
        if key in spec and (rule := _alias_rule(key, spec[key])):
            yield _refusal(key, spec[key], rule)


def _alias_rule(key: str, value: object) -> str:
    """Return what a value should be, '' if it is that."""
    if not isinstance(value, str):
        return _("a text")
    # As with Nova, 0x1b80 and * are none.
    if key in _IDS and not grammar.HEX4.fullmatch(value.lower()):
        return _("four hex digits")
    if key in _ALIAS_WORDS and value not in _ALIAS_WORDS[key]:
        return ', '.join(_ALIAS_WORDS[key])
    if key == 'live_migratable' and not _is_switch(value):
        return _("true or false")
    if key == 'name' and len(value) > _LONGEST_NAME:
        return _("at most %d characters") % _LONGEST_NAME
    return ''


def of_device_spec(spec: conf_json.Spec) -> Iterator[str]:
    """Yield why nova-compute does not start with a device spec.

    And which devices are meant by one that names none.
    """
    for key in _IDS:
        if key in spec and not _is_id(key, spec[key]):
            yield _refusal(key, spec[key], _("at most four hex digits, or *"))
    if address := spec.get('address'):
        if spec.get('devname'):
            yield _("Nova does not start with address and devname in one spec")
        elif not _is_address(address):
            yield _refusal(
                'address',
                address,
                _(
                    "<domain>:<bus>:<slot>.<function>, with * for any, or an "
                    "object of regular expressions with these keys"
                ),
            )
    for key in _SPEC_SWITCHES:
        value = spec.get(key)
        if value is not None and not _is_switch(value):
            yield _refusal(key, value, _("true or false"))
    unknown = sorted(spec.keys() - _TAGS - set(_WHICH))
    if unknown:
        yield _(
            "Nova takes %s for a tag: no device is left out for it"
        ) % ', '.join(unknown)
    if all(spec.get(key) in (None, '', _ANY) for key in _WHICH):
        yield _(
            "without vendor_id, product_id, address and devname it is of all "
            "PCI devices of the host"
        )


def _refusal(key: str, value: object, rule: str) -> str:
    return _(
        "Nova does not start with %(key)s %(value)s: it takes %(rule)s"
    ) % {
        'key': key,
        'value': grammar.shown(value),
        'rule': rule,
    }


def _is_switch(value: object) -> bool:
    return str(value).strip().lower() in _SWITCHES


def _is_id(key: str, value: object) -> bool:
    if not isinstance(value, str):
        return False
    # Nova takes blanks off one of them only.
    text = value.strip() if key == 'vendor_id' else value
    return _is_up_to(_LARGEST_ID, text)


def _is_up_to(largest: int, text: str) -> bool:
    """Tell whether Nova reads a number or any, with 0x or without."""
    if text == _ANY:
        return True
    try:
        return int(text, 16) <= largest
    except ValueError:
        return False


def _is_address(address: object) -> bool:
    if isinstance(address, dict):
        return all(
            _is_pattern(address.get(key, ''))
            for key in ('domain', 'bus', 'slot', 'function')
        )
    if not isinstance(address, str):
        return False
    before, _dot, function = address.partition('.')
    # What is left out is any: :00. is the slot 0 of all buses.
    parts = [part.strip() or _ANY for part in before.split(':')]
    return (
        len(parts) <= len(_LARGEST)
        and all(map(_is_up_to, _LARGEST[-len(parts) :], parts))
        and (not function or _is_up_to(_LARGEST_FUNCTION, function.strip()))
    )


def _is_pattern(pattern: object) -> bool:
    if not isinstance(pattern, str):
        return False
    try:
        with warnings.catch_warnings(action='ignore'):
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True
