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


"""Values of options that Nova reads another way today, or not at all."""

import dataclasses
import json

from osc_gpu.i18n import _
from osc_gpu.node import conf_json
from osc_gpu.node import local_conf
from osc_gpu.node import old_filters

ALIAS = ('pci', 'alias')
SPEC = ('pci', 'device_spec')
ENABLED = ('filter_scheduler', 'enabled_filters')
AVAILABLE = ('filter_scheduler', 'available_filters')
TYPES = ('devices', 'enabled_mdev_types')

_OLD_FILTERS = 'nova.scheduler.filters.standard_filters'


@dataclasses.dataclass(frozen=True)
class Values:
    """What becomes of a value.

    :param texts: what stands there instead, each an option of its own; None
        if it may stay as it is
    :param notes: why
    """

    texts: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def convert(place: tuple[str, str], value: str, is_local_conf: bool) -> Values:
    """Convert the value of an option.

    :param place: its section and name of today
    :raises ValueError: it cannot be read
    """
    if place in (ENABLED, TYPES) and not ''.join(split(value)).isprintable():
        raise ValueError(_("it has control characters"))
    if place in (ALIAS, SPEC):
        return _json(place, value, is_local_conf)
    if place == ENABLED:
        names = split(value)
        found = old_filters.update(names)
        if found.names == names:
            return Values(notes=found.notes)
        texts = (','.join(found.names),) if found.names else ()
        return Values(texts, found.notes)
    if place == AVAILABLE and value == _OLD_FILTERS:
        return Values((old_filters.ALL,), (_("%s is gone") % _OLD_FILTERS,))
    return Values()


def split(value: str) -> tuple[str, ...]:
    """Return the items of a list option."""
    return tuple(item.strip() for item in value.split(',') if item.strip())


def _json(place: tuple[str, str], value: str, is_local_conf: bool) -> Values:
    found = conf_json.read(value, is_local_conf)
    # Device specs may be a list.
    is_split = found.is_list and place == ALIAS
    is_escaped = '\\"' in value
    notes = []
    if is_split:
        notes.append(_("each alias is a line of its own: Nova reads no list"))
    if found.fault and not (is_local_conf and is_escaped):
        notes.append(_("Nova reads no %s") % found.fault)
    if is_local_conf and not _arrives(value):
        notes.append(
            _(
                "DevStack takes away quotes that have one backslash or none, "
                "and Nova finds no JSON: they have three now"
            )
        )
    if not notes:
        return Values()
    specs: tuple[object, ...] = found.specs
    if found.is_list and not is_split:
        specs = (list(found.specs),)
    texts = (json.dumps(spec) for spec in specs)
    if is_local_conf:
        texts = (local_conf.escaped(text) for text in texts)
    return Values(tuple(texts), tuple(notes))


def _arrives(value: str) -> bool:
    """Tell whether a value of local.conf is JSON in nova.conf."""
    try:
        return not conf_json.read(local_conf.arriving(value)).fault
    except ValueError:
        return False
