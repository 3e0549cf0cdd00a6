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

"""From GPU options to a flavor's extra specs.

All pure: ``apply`` and ``take_away`` take the extra specs that a flavor has
and return those that it shall have; ``changes`` is what has to be written.
"""

from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import re

from osc_lib import exceptions

from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import gpu_groups
from osc_gpu.i18n import _

NUMA_POLICY = 'hw:pci_numa_affinity_policy'
HIDE_HYPERVISOR = 'hw:hide_hypervisor_id'
#: Nova hides the hypervisor when either of the two is true
#: (nova/virt/libvirt/driver.py, _set_features).
HIDE_HYPERVISOR_KEYS = (HIDE_HYPERVISOR, 'hide_hypervisor_id')

_TRUE = ('1', 't', 'true', 'on', 'y', 'yes')

Specs = Mapping[str, str]


def is_true(value: str) -> bool:
    """Read a boolean as Nova does (oslo_utils.strutils.bool_from_string)."""
    return value.strip().lower() in _TRUE


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What the GPU request options of a command line ask for.

    :param aliases: PCI aliases and how many devices of each.
    :param vgpus: a resource class for each vGPU.
    :param required: traits that each vGPU must have.
    :param forbidden: traits that none may have.
    :param hide_hypervisor: None when neither was asked for.
    :param properties: extra specs as given.
    """

    aliases: extra_specs.Amounts = ()
    vgpus: tuple[str, ...] = ()
    group_policy: str | None = None
    required: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    numa_policy: str | None = None
    hide_hypervisor: bool | None = None
    properties: Specs = dataclasses.field(default_factory=dict)

    def __bool__(self) -> bool:
        return self != Wanted()

    @property
    def traits(self) -> dict[str, str]:
        """The traits, each with Nova's word for it."""
        return dict.fromkeys(self.required, 'required') | dict.fromkeys(
            self.forbidden, 'forbidden'
        )


@dataclasses.dataclass(frozen=True)
class Unwanted:
    """What is to be taken out of a flavor.

    :param gpu: the whole GPU request.
    :param vgpus: resource classes, all vGPUs of which go.
    :param properties: keys of extra specs.
    """

    gpu: bool = False
    aliases: tuple[str, ...] = ()
    vgpus: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()
    numa_policy: bool = False
    hide_hypervisor: bool = False
    properties: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self != Unwanted()


@dataclasses.dataclass(frozen=True)
class Changes:
    """What to write so that one set of extra specs becomes another.

    :param post: what to set; before anything is deleted, so that a flavor
        never stands without its GPU.
    :param delete: keys to take away, in this order: a trait without its
        resources, or groups without their policy, are refused by Placement.
    """

    post: Specs
    delete: tuple[str, ...]


def changes(old: Specs, new: Specs) -> Changes:
    """Return what has to be written to get from ``old`` to ``new``."""
    gone = [key for key in old if key not in new]
    return Changes(
        {key: value for key, value in new.items() if old.get(key) != value},
        tuple(sorted(gone, key=_deletion_order)),
    )


def _deletion_order(key: str) -> tuple[int, str]:
    if extra_specs.split_key(extra_specs.TRAIT, key):
        return 0, key
    return (2 if key == gpu_groups.GROUP_POLICY else 1), key


def check(wanted: Wanted) -> None:
    """Refuse what is wrong whatever flavor it is for.

    :raises CommandError: naming the option and the value.
    """
    try:
        extra_specs.refuse_twice(name for name, _n in wanted.aliases)
    except ValueError as exc:
        raise gpu_groups.refusal('--alias', exc) from exc
    for trait in wanted.required:
        if trait in wanted.forbidden:
            raise gpu_groups.refusal(
                f'--forbid-trait {trait}',
                _("--trait requires it: give one of the two"),
            )
    for key, value in wanted.properties.items():
        _check_property(key, value)
    _refuse_overruled(_compute({}, wanted, ()), wanted)


def apply(
    old: Specs, wanted: Wanted, also: Collection[str] = ()
) -> dict[str, str]:
    """Return a flavor's extra specs with the wanted GPU request in them.

    An alias is added to those of the flavor, or gets the new count; all vGPUs
    of the classes that are asked for are replaced; what no option speaks of
    stays as it is. For a new flavor ``old`` is empty.

    :param also: resource classes that the user says are GPUs too.
    :raises CommandError: for options that contradict each other or what the
        flavor has, and when no GPU is requested.
    """
    check(wanted)
    new = _compute(old, wanted, also)
    _refuse_overruled(new, wanted)
    if wanted.group_policy and len(gpu_groups.names(new)) < 2:
        raise gpu_groups.refusal(
            f'--group-policy {wanted.group_policy}',
            _("it needs two request groups or more: give --vgpu repeatedly"),
        )
    if len(new.get(extra_specs.ALIAS, '')) > extra_specs.MAX_VALUE:
        raise gpu_groups.refusal(
            f'--alias {wanted.aliases[-1][0]}',
            _("Nova stores %d characters of aliases at most")
            % extra_specs.MAX_VALUE,
        )
    if not extra_specs.parse(new, {*also, *wanted.vgpus}):
        raise exceptions.CommandError(
            _(
                "No GPU is requested: give --alias or --vgpu. This is for GPU "
                "flavors; use `openstack flavor create` or `set` for others"
            )
        )
    return new


def _compute(
    old: Specs, wanted: Wanted, also: Collection[str]
) -> dict[str, str]:
    new = {**old, **wanted.properties}
    if wanted.aliases:
        new[extra_specs.ALIAS] = _merge_aliases(
            new.get(extra_specs.ALIAS, ''), wanted.aliases
        )
    slots = extra_specs.gpu_slots(new, {*also, *wanted.vgpus})
    if wanted.vgpus:
        slots = gpu_groups.place(
            new, slots, wanted.vgpus, wanted.traits, wanted.properties
        )
    for group in {slot.group for slot in slots} or {''}:
        new |= gpu_groups.trait_specs(group, wanted.traits)
    if wanted.group_policy:
        new[gpu_groups.GROUP_POLICY] = wanted.group_policy
    elif wanted.vgpus:
        gpu_groups.fit_policy(new)
        if gpu_groups.GROUP_POLICY not in wanted.properties:
            gpu_groups.drop_idle_policy(old, new)
    if wanted.numa_policy:
        new[NUMA_POLICY] = wanted.numa_policy
    if wanted.hide_hypervisor is not None:
        for key in HIDE_HYPERVISOR_KEYS:
            new.pop(key, None)
        new[HIDE_HYPERVISOR] = str(wanted.hide_hypervisor).lower()
    return new


def _merge_aliases(value: str, wanted: extra_specs.Amounts) -> str:
    entries = dict(extra_specs.alias_entries(value))
    entries |= {name: f'{name}:{count}' for name, count in wanted}
    return ','.join(entries.values())


def _check_property(key: str, value: str) -> None:
    """Refuse an extra spec that Nova could not store or read."""
    option = f'--property {key}={value}'
    if not re.fullmatch('[a-zA-Z0-9_:. -]{1,255}', key):
        raise gpu_groups.refusal(
            option,
            _(
                "a key has 1 to 255 characters: letters, digits, blanks and "
                "'-', '_', ':', '.'"
            ),
        )
    if len(value) > extra_specs.MAX_VALUE:
        raise gpu_groups.refusal(
            f'--property {key}',
            _("a value has %d characters at most") % extra_specs.MAX_VALUE,
        )
    if key == extra_specs.ALIAS:
        try:
            extra_specs.refuse_twice(map(_alias_with_count, value.split(',')))
        except ValueError as exc:
            raise gpu_groups.refusal(option, exc) from exc
    if extra_specs.gpu_slots([key]) and not re.fullmatch('[0-9]+', value):
        raise gpu_groups.refusal(option, _("an amount is a whole number"))


def _alias_with_count(entry: str) -> str:
    name, count = extra_specs.parse_alias(entry.strip())
    if ':' not in entry:
        raise ValueError(
            _("'%(name)s' has no count: Nova wants %(name)s:%(count)d")
            % {'name': name, 'count': count}
        )
    return name


def _refuse_overruled(new: Specs, wanted: Wanted) -> None:
    """Refuse a property that says something else than an option."""
    for key, value in wanted.properties.items():
        if new.get(key) == value or _agree(key, value, new):
            continue
        raise gpu_groups.refusal(
            f'--property {key}={value}',
            _("it contradicts %s: give one of the two") % _option_of(key),
        )


def _option_of(key: str) -> str:
    if key == extra_specs.ALIAS:
        return '--alias'
    if key == NUMA_POLICY:
        return '--numa-policy'
    if key == gpu_groups.GROUP_POLICY:
        return '--group-policy'
    if key in HIDE_HYPERVISOR_KEYS:
        return '--hide-hypervisor, --show-hypervisor'
    if extra_specs.split_key(extra_specs.TRAIT, key):
        return '--trait, --forbid-trait'
    return '--vgpu'


def _agree(key: str, value: str, new: Specs) -> bool:
    if key == extra_specs.ALIAS:
        return extra_specs.parse({key: value}) == extra_specs.parse(
            {key: new[key]}
        )
    if key in HIDE_HYPERVISOR_KEYS:
        return is_true(value) == (new[HIDE_HYPERVISOR] == 'true')
    return False


def take_away(
    old: Specs, unwanted: Unwanted, also: Collection[str] = ()
) -> dict[str, str]:
    """Return a flavor's extra specs without what is unwanted.

    :param also: resource classes that the user says are GPUs too.
    :raises CommandError: naming all that the flavor does not have.
    """
    new = dict(old)
    missing = [
        *_drop_vgpus(new, unwanted, {*also, *unwanted.vgpus}),
        *_drop_aliases(new, unwanted),
        *_drop_traits(old, new, unwanted.traits),
    ]
    for option, there, keys in (
        ('--numa-policy', unwanted.numa_policy, (NUMA_POLICY,)),
        (
            '--hide-hypervisor',
            unwanted.hide_hypervisor,
            HIDE_HYPERVISOR_KEYS,
        ),
        *((f'--property {key}', True, (key,)) for key in unwanted.properties),
    ):
        if there and not any(key in old for key in keys):
            missing.append(option)
        for key in keys if there else ():
            new.pop(key, None)
    if missing:
        raise exceptions.CommandError(
            _("The flavor has nothing of %s") % ', '.join(missing)
        )
    gpu_groups.drop_idle_policy(old, new)
    return new


def _drop_vgpus(
    new: dict[str, str], unwanted: Unwanted, also: Collection[str]
) -> Iterator[str]:
    """Take vGPUs out; yield the options for which there were none."""
    slots = extra_specs.gpu_slots(new, also)
    for name in unwanted.vgpus:
        if name not in {slot.name for slot in slots}:
            yield f'--vgpu {name}'
    if unwanted.gpu and not slots and extra_specs.ALIAS not in new:
        yield '--gpu'
    gpu_groups.drop(
        new, [s for s in slots if unwanted.gpu or s.name in unwanted.vgpus]
    )


def _drop_aliases(new: dict[str, str], unwanted: Unwanted) -> Iterator[str]:
    """Take aliases out; yield the options for which there were none."""
    if not (unwanted.aliases or unwanted.gpu):
        return
    entries = extra_specs.alias_entries(new.pop(extra_specs.ALIAS, ''))
    for name in unwanted.aliases:
        if name not in dict(entries):
            yield f'--alias {name}'
    left = [entry for name, entry in entries if name not in unwanted.aliases]
    if left and not unwanted.gpu:
        new[extra_specs.ALIAS] = ','.join(left)


def _drop_traits(
    old: Specs, new: dict[str, str], names: Collection[str]
) -> Iterator[str]:
    """Take traits out of all groups; yield the options that had none."""
    there = extra_specs.grouped(extra_specs.TRAIT, old)
    for name in names:
        if name not in {trait.name for trait in there}:
            yield f'--trait {name}'
    for trait in there:
        if trait.name in names:
            new.pop(trait.key(extra_specs.TRAIT), None)


def stray_traits(
    old: Specs, new: Specs, also: Collection[str] = ()
) -> list[str]:
    """Return traits that stood beside an ungrouped vGPU that is gone.

    They stay in the flavor, since they may be meant for the host; if they
    were meant for the vGPU, no host may have them.
    """

    def ungrouped(specs: Specs) -> bool:
        slots = extra_specs.gpu_slots(specs, also)
        return any(not slot.group for slot in slots)

    if ungrouped(new) or not ungrouped(old):
        return []
    return [trait.name for trait in gpu_groups.traits_of(new, '')]
