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


"""Filters of Nova's scheduler: those there are, and those there were.

By nova/scheduler/filters of Nova 34, and its release notes.
"""

from collections.abc import Sequence
import dataclasses
import difflib

from osc_gpu.i18n import _

PCI = 'PciPassthroughFilter'
ALL = 'nova.scheduler.filters.all_filters'

_KNOWN = frozenset(
    (
        'AggregateImagePropertiesIsolation',
        'AggregateInstanceExtraSpecsFilter',
        'AggregateIoOpsFilter',
        'AggregateMultiTenancyIsolation',
        'AggregateNumInstancesFilter',
        'AggregateTypeAffinityFilter',
        'AllHostsFilter',
        'ComputeCapabilitiesFilter',
        'ComputeFilter',
        'DifferentHostFilter',
        'ImagePropertiesFilter',
        'IoOpsFilter',
        'IsolatedHostsFilter',
        'JsonFilter',
        'MetricsFilter',
        'NUMATopologyFilter',
        'NumInstancesFilter',
        PCI,
        'SameHostFilter',
        'ServerGroupAffinityFilter',
        'ServerGroupAntiAffinityFilter',
        'SimpleCIDRAffinityFilter',
    )
)

_COUNTED = _("Placement counts VCPUs, memory and disk")
_OF_AGGREGATES = _(
    "Placement counts, by the allocation ratios of each host: set them in its "
    "nova.conf or by openstack resource provider inventory set, no more by "
    "aggregate"
)
_FOR_IRONIC = _("Ironic's nodes are chosen by resource class")
#: What does today what each did that is gone.
_GONE = {
    'RetryFilter': _("hosts that failed are not tried again anyway"),
    'AvailabilityZoneFilter': _("Placement chooses by availability zone"),
    'TypeAffinityFilter': _("nothing does what it did"),
    'TrustedFilter': _("nothing does what it did"),
    **dict.fromkeys(
        (
            'CoreFilter',
            'DiskFilter',
            'RamFilter',
        ),
        _COUNTED,
    ),
    **dict.fromkeys(
        (
            'AggregateCoreFilter',
            'AggregateDiskFilter',
            'AggregateRamFilter',
        ),
        _OF_AGGREGATES,
    ),
    **dict.fromkeys(
        (
            'BaremetalCoreFilter',
            'BaremetalDiskFilter',
            'BaremetalRamFilter',
            'ExactCoreFilter',
            'ExactDiskFilter',
            'ExactRamFilter',
        ),
        _FOR_IRONIC,
    ),
}


@dataclasses.dataclass(frozen=True)
class Filters:
    """A list of filters as Nova takes it today.

    :param names: what is left, each once
    :param notes: what changes by it
    """

    names: tuple[str, ...]
    notes: tuple[str, ...]


def update(names: Sequence[str]) -> Filters:
    """Take filters away that Nova no longer has; others stay."""
    gone: dict[str, list[str]] = {}
    kept = []
    for name in dict.fromkeys(names):
        if name in _GONE:
            gone.setdefault(_GONE[name], []).append(name)
        else:
            kept.append(name)
    notes = [
        _("gone: %(names)s; %(why)s") % {'names': ', '.join(found), 'why': why}
        for why, found in gone.items()
    ]
    notes += [_unknown(name) for name in kept if name not in _KNOWN]
    return Filters(tuple(kept), tuple(notes))


def _unknown(name: str) -> str:
    similar = difflib.get_close_matches(name, _KNOWN, 1, 0.8)
    if similar:
        return _(
            "%(name)s is no filter of Nova's, which does not start then: did "
            "you mean %(similar)s?"
        ) % {'name': name, 'similar': similar[0]}
    return (
        _(
            "%s is no filter of Nova's: it has to be in [filter_scheduler] "
            "available_filters, or Nova does not start"
        )
        % name
    )
