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

"""Which options Nova has for GPUs in which release, and under which names.

Sources are commits of openstack/nova; the first release that has a commit is
what ``git tag --contains`` tells. Nova accepts most old names in new releases,
too; told of here is the best name that a release has.
"""

from typing import NamedTuple

from osc_gpu.i18n import _

#: Releases by the major version of their Nova.
_NAMES = {
    15: 'ocata',
    16: 'pike',
    17: 'queens',
    18: 'rocky',
    19: 'stein',
    20: 'train',
    21: 'ussuri',
    22: 'victoria',
    23: 'wallaby',
    24: 'xena',
    25: 'yoga',
    26: 'zed',
    27: '2023.1',
    28: '2023.2',
    29: '2024.1',
    30: '2024.2',
    31: '2025.1',
    32: '2025.2',
    33: '2026.1',
    34: '2026.2',
}
RELEASES = tuple(_NAMES.values())

# What options are for.
ALIAS = 'alias'
DEVICE_SPEC = 'device-spec'
MDEV_TYPES = 'mdev-types'
FILTERS = 'filters'
REPORT_IN_PLACEMENT = 'report-in-placement'
PCI_IN_PLACEMENT = 'pci-in-placement'

# What has no name that changed.
VGPUS = 'vgpus'
SEVERAL_TYPES = 'several-types'
MDEV_CLASS = 'mdev-class'
MAX_INSTANCES = 'max-instances'
DEVICE_CLASS = 'device-class'
MANAGED = 'managed'
HIDE_BY_IMAGE = 'hide-by-image'
HIDE_BY_FLAVOR = 'hide-by-flavor'


class Release(NamedTuple):
    """A release; they compare as they came out."""

    nova: int
    name: str

    def __str__(self) -> str:
        return self.name


class Option(NamedTuple):
    """A name of an option.

    :param since: the first release that it is written for here, by the major
        version of its Nova
    :param source: where that is seen
    """

    purpose: str
    group: str
    name: str
    since: int
    source: str


#: The newest names first. Nova 15.0.0 has the names in [pci] and
#: [filter_scheduler] already; its users, and its deployment tools, had not.
OPTIONS = (
    Option(ALIAS, 'pci', 'alias', 16, '4e5ed1c489, 15.0.0'),
    Option(ALIAS, 'DEFAULT', 'pci_alias', 15, '4e5ed1c489, 15.0.0'),
    Option(DEVICE_SPEC, 'pci', 'device_spec', 26, '14e68ac6e9'),
    Option(
        DEVICE_SPEC, 'pci', 'passthrough_whitelist', 16, '4e5ed1c489, 15.0.0'
    ),
    Option(
        DEVICE_SPEC,
        'DEFAULT',
        'pci_passthrough_whitelist',
        15,
        '4e5ed1c489, 15.0.0',
    ),
    Option(MDEV_TYPES, 'devices', 'enabled_mdev_types', 24, 'ff4d0d002a'),
    Option(MDEV_TYPES, 'devices', 'enabled_vgpu_types', 17, '0b39b51ae5'),
    Option(
        FILTERS,
        'filter_scheduler',
        'enabled_filters',
        16,
        '7d0381c91a, 15.0.0',
    ),
    Option(
        FILTERS,
        'DEFAULT',
        'scheduler_default_filters',
        15,
        '50a7a3050a removes',
    ),
    Option(
        REPORT_IN_PLACEMENT, 'pci', 'report_in_placement', 26, '06389f8d84'
    ),
    Option(
        PCI_IN_PLACEMENT,
        'filter_scheduler',
        'pci_in_placement',
        27,
        '2cb1eedeaf',
    ),
)

#: Since when Nova knows something, and the commit that taught it.
_SINCE = {
    VGPUS: (17, '0b39b51ae5'),
    SEVERAL_TYPES: (21, '5b5cbc64f9'),
    MDEV_CLASS: (24, '9be996c696'),
    MAX_INSTANCES: (29, '60851e4464'),
    # In device_spec since 26 (2722038946), in aliases since 27 (b10482cbc0).
    DEVICE_CLASS: (27, 'b10482cbc0'),
    MANAGED: (31, '12905dade3'),
    HIDE_BY_IMAGE: (16, 'c7c08e590e'),
    HIDE_BY_FLAVOR: (18, 'edf67cfda2'),
}

#: The groups of a type: [vgpu_nvidia-35] since 5b5cbc64f9, [mdev_nvidia-35]
#: since ff4d0d002a.
_TYPE_GROUPS = ((24, 'mdev_'), (21, 'vgpu_'))

#: The defaults of [filter_scheduler] enabled_filters in nova/conf/scheduler.py
#: of the tags, by the first release that has them.
_FILTERS = (
    (
        24,
        'ComputeFilter ComputeCapabilitiesFilter ImagePropertiesFilter '
        'ServerGroupAntiAffinityFilter ServerGroupAffinityFilter',
    ),
    (
        20,
        'AvailabilityZoneFilter ComputeFilter ComputeCapabilitiesFilter '
        'ImagePropertiesFilter ServerGroupAntiAffinityFilter '
        'ServerGroupAffinityFilter',
    ),
    (
        16,
        'RetryFilter AvailabilityZoneFilter ComputeFilter '
        'ComputeCapabilitiesFilter ImagePropertiesFilter '
        'ServerGroupAntiAffinityFilter ServerGroupAffinityFilter',
    ),
    (
        15,
        'RetryFilter AvailabilityZoneFilter RamFilter DiskFilter '
        'ComputeFilter ComputeCapabilitiesFilter ImagePropertiesFilter '
        'ServerGroupAntiAffinityFilter ServerGroupAffinityFilter',
    ),
)

PCI_FILTER = 'PciPassthroughFilter'


def parse(text: str) -> Release:
    """Return a release by its name.

    :raises ValueError: with a sentence that says which there are
    """
    for nova, name in _NAMES.items():
        if text.lower() == name:
            return Release(nova, name)
    raise ValueError(
        _("'%(text)s' is no release of OpenStack; right are %(right)s")
        % {'text': text[:40], 'right': ', '.join(RELEASES)}
    )


NEWEST = parse(RELEASES[-1])


def option(purpose: str, release: Release) -> Option | None:
    """Return an option as a release names it; None if it has none."""
    for found in OPTIONS:
        if found.purpose == purpose and found.since <= release.nova:
            return found
    return None


def purpose_of(group: str, name: str) -> str | None:
    """Return what an option is for, by whatever name; None if not for GPUs."""
    for found in OPTIONS:
        if (found.group, found.name) == (group, name):
            return found.purpose
    return None


def has(feature: str, release: Release) -> bool:
    """Tell whether a release knows something."""
    return _SINCE[feature][0] <= release.nova


def first(feature: str) -> str:
    """Return the first release that knows something."""
    return _NAMES[_SINCE[feature][0]]


def type_group(type_id: str, release: Release) -> str:
    """Return the group of a vGPU type's own options."""
    prefix = next(p for since, p in _TYPE_GROUPS if since <= release.nova)
    return f'{prefix}{type_id}'


def filters(release: Release) -> tuple[str, ...]:
    """Return the filters that a release has by default, and the one for PCI.

    Who sets the option replaces its default.
    """
    names = next(names for since, names in _FILTERS if since <= release.nova)
    return (*names.split(), PCI_FILTER)


def is_in_placement(release: Release) -> bool:
    """Tell whether PCI devices can be scheduled by Placement."""
    return option(PCI_IN_PLACEMENT, release) is not None
