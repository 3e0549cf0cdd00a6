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


"""What changes in behaviour with the names of today."""

from collections.abc import Iterator
from collections.abc import MutableMapping
from collections.abc import Sequence

from osc_gpu.i18n import _
from osc_gpu.node import conf_json
from osc_gpu.node import conversion_values as values
from osc_gpu.node import nova_refusals
from osc_gpu.node import old_filters

Place = tuple[str, str]

REPORT = ('pci', 'report_in_placement')
IN_PLACEMENT = ('filter_scheduler', 'pci_in_placement')

_NO_FILTER = (
    _(
        "%s has to be in it for the scheduler, or servers are sent to hosts "
        "without a free card"
    )
    % old_filters.PCI
)
_FIRST = _(
    "for PCI in Placement, set it to true first, for every nova-compute with "
    "PCI devices; nova-compute does not start if it is set back"
)
_THEN = _(
    "then, when all nova-computes have reported, set it to true for nova-api, "
    "nova-scheduler and nova-conductor; no earlier, or no host is found for "
    "servers with a card"
)
_NO_CARDS = _(
    "of types without it only the first is used: list the cards that are to "
    "have %s"
)
_NO_MDEVS = _(
    "where the kernel has no mediated devices, as with Ubuntu 24.04 and RHEL "
    "10, the vendor's VFIO driver divides cards: their VFs are passed "
    "through, with managed no, by an alias of type-VF; gpu node show tells "
    "which a node has, gpu node config show writes both"
)

_OF_NAME = {
    values.ALIAS: _(
        "every nova-compute needs it as well as nova-api, or no server with "
        "it can be resized or migrated"
    ),
    values.ENABLED: _(
        "Nova no longer reads the old name: without today's, its default "
        "filters are in force, which %s is not among"
    )
    % old_filters.PCI,
    values.AVAILABLE: _("Nova no longer reads the old name"),
}


def of_name(place: Place) -> tuple[str, ...]:
    """Return what an option does under its new name."""
    return (_OF_NAME[place],) if place in _OF_NAME else ()


def of_value(
    place: Place,
    value: str,
    is_local_conf: bool,
    seen: MutableMapping[str, conf_json.Spec],
) -> tuple[str, ...]:
    """Return what Nova makes of a value today.

    :param seen: the aliases before it, by name; this one is added
    :raises ValueError: it cannot be read
    """
    if place not in (values.ALIAS, values.SPEC):
        return ()
    return tuple(
        note
        for spec in conf_json.read(value, is_local_conf).specs
        for note in (
            _of_alias(spec, seen)
            if place == values.ALIAS
            else nova_refusals.of_device_spec(spec)
        )
    )


def _of_alias(
    spec: conf_json.Spec, seen: MutableMapping[str, conf_json.Spec]
) -> Iterator[str]:
    name = str(spec.get('name') or '').strip()
    if not name:
        yield _("an alias without a name: Nova does not start")
    yield from nova_refusals.of_alias(spec)
    if not ('vendor_id' in spec and 'product_id' in spec):
        yield _(
            "Nova needs vendor_id and product_id in it, unless PCI in "
            "Placement is on and it has a resource_class"
        )
    if 'device_type' not in spec:
        yield _(
            "no card that has SR-IOV is given without \"device_type\": "
            '"type-PF"'
        )
    if name in seen:
        yield _of_repeated(name, spec, seen[name])
    seen.setdefault(name, spec)


def _of_repeated(
    name: str, spec: conf_json.Spec, first: conf_json.Spec
) -> str:
    if 'device_type' not in spec or 'device_type' not in first:
        text = _(
            "alias %s is there twice: Nova does not start unless both have a "
            "device_type"
        )
    elif any(
        (spec.get(key) or default) != (first.get(key) or default)
        for key, default in (('device_type', ''), ('numa_policy', 'legacy'))
    ):
        text = _(
            "alias %s is there twice: Nova does not start unless both have "
            "the same device_type and numa_policy"
        )
    else:
        text = _(
            "alias %s is there twice: Nova takes either card, but does not "
            "start with pci_in_placement; there, one resource_class in "
            "several device specs does the same"
        )
    return text % name


def steps(options: Sequence[tuple[Place, str]]) -> Iterator[tuple[Place, str]]:
    """Yield what has to be done besides, in this order.

    :param options: section, name and value of all there are
    """
    last = dict(options)
    if values.ALIAS in last or values.SPEC in last:
        if old_filters.PCI not in values.split(last.get(values.ENABLED, '')):
            yield values.ENABLED, _NO_FILTER
        reports = is_true(last.get(REPORT, ''))
        if not reports:
            yield REPORT, _FIRST
        if not reports or not is_true(last.get(IN_PLACEMENT, '')):
            yield IN_PLACEMENT, _THEN
    types = values.split(last.get(values.TYPES, ''))
    addressed = {place[0] for place in last if place[1] == 'device_addresses'}
    # oslo.config heeds no case in names of sections.
    addressed = {section.lower() for section in addressed}
    without = [t for t in types if f'mdev_{t}'.lower() not in addressed]
    for name in without[1:]:
        yield (f'mdev_{name}', 'device_addresses'), _NO_CARDS % name
    if types:
        yield values.SPEC, _NO_MDEVS


def is_true(value: str) -> bool:
    """Tell whether a value of a switch is on."""
    return value.lower() in ('true', '1', 'yes', 'on')
