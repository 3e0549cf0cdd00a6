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

"""What Nova asks Placement for when one server of a flavor is scheduled.

After nova/scheduler/utils.py (ResourceRequest), nova/objects/request_spec.py
and the default filters: flavor and extra specs only. What images, ports and
volumes add is not known before there is a server.
"""

from collections.abc import Collection
from collections.abc import Mapping
import dataclasses
import re

from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import flavors
from osc_gpu.cloud import gpu_groups
from osc_gpu.cloud import servers
from osc_gpu.i18n import _

#: Nova leaves out every other class that is no CUSTOM_ one
#: (os_resource_classes).
_STANDARD = (
    'VCPU|MEMORY_MB|DISK_GB|PCI_DEVICE|SRIOV_NET_VF|NUMA_SOCKET|NUMA_CORE'
    '|NUMA_THREAD|NUMA_MEMORY_MB|IPV4_ADDRESS|VGPU|VGPU_DISPLAY_HEAD|PCPU'
    '|MEM_ENCRYPTION_CONTEXT|FPGA|PGPU|NET_BW_[EI]GR_KILOBIT_PER_SEC'
    '|NET_PACKET_RATE_([EI]GR_)?KILOPACKET_PER_SEC'
)
_AGGREGATE = 'aggregate_instance_extra_specs:'

#: Extra specs that demand a trait of the host, by their values.
_TRAITS = {
    ('hw:maxphysaddr_mode', 'passthrough'): (
        'COMPUTE_ADDRESS_SPACE_PASSTHROUGH'
    ),
    ('hw:maxphysaddr_mode', 'emulate'): 'COMPUTE_ADDRESS_SPACE_EMULATED',
    ('hw:pci_numa_affinity_policy', 'socket'): (
        'COMPUTE_SOCKET_PCI_NUMA_AFFINITY'
    ),
    ('os:secure_boot', 'required'): 'COMPUTE_SECURITY_UEFI_SECURE_BOOT',
    ('hw:cpu_thread_policy', 'require'): 'HW_CPU_HYPERTHREADING',
    ('hw:tpm_version', '1.2'): 'COMPUTE_SECURITY_TPM_1_2',
    ('hw:tpm_version', '2.0'): 'COMPUTE_SECURITY_TPM_2_0',
}

#: Extra specs that rule hosts out in ways that Placement knows nothing of.
_UNCOUNTED = (
    'hw:numa_[a-z]+.*'
    '|hw:mem_page_size|hw:pmem|hw:cpu_policy|accel:device_profile'
    # The default ComputeCapabilitiesFilter takes all without a scope.
    '|capabilities:.*|(?!group_policy$)[^:]+'
)


@dataclasses.dataclass(frozen=True)
class Group:
    """Amounts by resource class that all come from one provider.

    ``name`` is the suffix of the numbered group. The traits are those that
    this provider must have, or must not have.
    """

    name: str
    resources: Mapping[str, int]
    required: frozenset[str] = frozenset()
    forbidden: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Request:
    """What one server of a flavor needs of one host.

    ``resources`` are ungrouped amounts (counts, MiB, GiB) by class: each
    class from one provider, ``required`` traits on any provider that gives
    something of it, ``forbidden`` ones on none of these. Every device of
    ``aliases`` is a group of its own. ``is_isolated``: no two groups, of
    aliases too, share a provider. ``aggregates`` are the values that metadata
    of the host's aggregates has to match. ``refused`` says why Nova or
    Placement refuses it wherever there is room; '' if they do not.
    ``uncounted`` are extra specs that rule out hosts, unknown which.
    ``is_pinned``: it asks for PCPUs by a policy, and where there are none
    Nova looks for VCPUs instead (nova/scheduler/manager.py,
    select_destinations).
    """

    flavor: str
    gpu_request: extra_specs.GpuRequest
    resources: Mapping[str, int]
    required: frozenset[str] = frozenset()
    forbidden: frozenset[str] = frozenset()
    groups: tuple[Group, ...] = ()
    aliases: extra_specs.Amounts = ()
    is_isolated: bool = False
    aggregates: Mapping[str, str] = dataclasses.field(default_factory=dict)
    refused: str = ''
    uncounted: tuple[str, ...] = ()
    is_pinned: bool = False

    @property
    def gpu_classes(self) -> tuple[str, ...]:
        """The GPU classes asked for by name, not by an alias."""
        return tuple(name for name, _n in self.gpu_request.classes)

    @property
    def amounts(self) -> frozenset[tuple[str, int]]:
        """Every class and amount that one provider has to give at once."""
        groups = [self.resources, *(g.resources for g in self.groups)]
        return frozenset(item for group in groups for item in group.items())


def read(flavor: flavors.Flavor, also: Collection[str] = ()) -> Request:
    """Read what one server of a flavor needs; never raises.

    :param also: resource classes that the user says are GPUs too
    """
    specs = {key: str(value) for key, value in flavor.extra_specs.items()}
    asked = _read_amounts(specs)
    ungrouped = asked.pop('', {})
    taken = {name for group in asked.values() for name in group}
    resources = _read_flavor(flavor, specs, ungrouped, taken)
    required, forbidden = _read_traits(specs, '')
    gpu_request = extra_specs.parse(specs, also)
    groups = _read_groups(specs, asked)
    return Request(
        flavor=flavor.name,
        gpu_request=gpu_request,
        resources={name: n for name, n in resources.items() if n},
        required=required | _translated(specs),
        forbidden=forbidden | _thread_traits(specs),
        groups=tuple(group for group in groups if group.resources),
        aliases=gpu_request.aliases,
        is_isolated=specs.get(gpu_groups.GROUP_POLICY) == 'isolate',
        aggregates={
            key.removeprefix(_AGGREGATE): value
            for key, value in specs.items()
            if key.startswith(_AGGREGATE)
        },
        refused=_refused(specs, groups),
        uncounted=_read_uncounted(specs),
        is_pinned=specs.get('hw:cpu_policy') == 'dedicated',
    )


def read_server(
    server: servers.GpuServer, also: Collection[str] = ()
) -> Request | None:
    """Return what a server needs of a host; None if its flavor is hidden.

    A server that booted from a volume has no root disk on it
    (nova/scheduler/utils.py).

    :param also: resource classes that the user says are GPUs too
    """
    flavor = server.own_flavor
    if flavor is None:
        return None
    if not server.has_image:
        flavor = dataclasses.replace(flavor, disk=0)
    return read(flavor, also)


def _read_amounts(specs: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Return amounts by group and class, as far as Nova heeds them."""
    found: dict[str, dict[str, int]] = {}
    for slot in extra_specs.grouped(extra_specs.RESOURCES, specs):
        if slot.name.startswith('CUSTOM_') or re.fullmatch(
            _STANDARD, slot.name
        ):
            amount = _number(specs[slot.key(extra_specs.RESOURCES)])
            if amount is not None:
                found.setdefault(slot.group, {})[slot.name] = amount
    return found


def _number(text: str) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return None
    return number if number >= 0 else None


def _read_flavor(
    flavor: flavors.Flavor,
    specs: Mapping[str, str],
    ungrouped: Mapping[str, int],
    grouped: Collection[str],
) -> dict[str, int]:
    """Add what the flavor itself asks for to the ungrouped amounts."""
    found = dict(ungrouped)
    policy = specs.get('hw:cpu_policy')
    if policy == 'dedicated':
        isolate = specs.get('hw:emulator_threads_policy') == 'isolate'
        found['PCPU'] = flavor.vcpus + isolate
    elif policy != 'mixed' and not {'VCPU', 'PCPU'} & (
        found.keys() | set(grouped)
    ):
        found['VCPU'] = flavor.vcpus
    disk = flavor.disk + flavor.ephemeral + -(-flavor.swap // 1024)
    for name, amount in (('MEMORY_MB', flavor.ram), ('DISK_GB', disk)):
        if name not in grouped:
            found.setdefault(name, amount)
    if specs.get('hw:mem_encryption', '').lower() in ('true', '1', 'yes'):
        found['MEM_ENCRYPTION_CONTEXT'] = 1
    return found


def _read_traits(
    specs: Mapping[str, str], group: str
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the required and the forbidden traits of a group."""
    found: dict[str, set[str]] = {'required': set(), 'forbidden': set()}
    for trait in gpu_groups.traits_of(specs, group):
        word = specs[trait.key(extra_specs.TRAIT)]
        found.setdefault(word, set()).add(trait.name)
    return frozenset(found['required']), frozenset(found['forbidden'])


def _read_groups(
    specs: Mapping[str, str], asked: Mapping[str, Mapping[str, int]]
) -> list[Group]:
    traits = extra_specs.grouped(extra_specs.TRAIT, specs)
    names = dict.fromkeys((*asked, *(t.group for t in traits if t.group)))
    found = []
    for name in names:
        amounts = {rc: n for rc, n in asked.get(name, {}).items() if n}
        group = Group(name, amounts, *_read_traits(specs, name))
        if group.resources or group.required or group.forbidden:
            found.append(group)
    return found


def _translated(specs: Mapping[str, str]) -> frozenset[str]:
    """Return the traits that other extra specs demand of the host."""
    found = {_TRAITS[item] for item in specs.items() if item in _TRAITS}
    if specs.get('hw:tpm_version'):
        crb = specs.get('hw:tpm_model') == 'tpm-crb'
        found.add(f'COMPUTE_SECURITY_TPM_{"CRB" if crb else "TIS"}')
    return frozenset(found)


def _thread_traits(specs: Mapping[str, str]) -> frozenset[str]:
    isolate = specs.get('hw:cpu_thread_policy') == 'isolate'
    return frozenset(['HW_CPU_HYPERTHREADING'] if isolate else [])


def _refused(specs: Mapping[str, str], groups: Collection[Group]) -> str:
    """Say why no server of it can be, however empty the cloud is."""
    if is_malformed(specs):
        return _("malformed %s") % extra_specs.ALIAS
    bare = [group.name for group in groups if not group.resources]
    if bare:
        return _("group %s has traits without resources") % ', '.join(bare)
    has_policy = specs.get(gpu_groups.GROUP_POLICY) in ('none', 'isolate')
    if len(groups) > 1 and not has_policy:
        return _("several request groups without group_policy")
    return ''


def is_malformed(specs: Mapping[str, str]) -> bool:
    """Tell whether the aliases are not ``<name>:<count>`` (facts 1)."""
    value = specs.get(extra_specs.ALIAS)
    return value is not None and not all(
        re.fullmatch(r'[^:]*:\s*[0-9]+\s*', entry)
        for entry in str(value).split(',')
    )


def _read_uncounted(specs: Mapping[str, str]) -> tuple[str, ...]:
    found = [
        f'{key}={value}'
        for key, value in sorted(specs.items())
        if re.fullmatch(_UNCOUNTED, key)
    ]
    # Only this policy makes Nova refuse a host.
    strict = ('hw:pci_numa_affinity_policy', 'required')
    if strict in specs.items():
        found.append('='.join(strict))
    return tuple(found)
