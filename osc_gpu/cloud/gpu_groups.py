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

"""Where in a flavor's request groups its vGPUs stand, with their traits.

One vGPU is ungrouped: Nova's hard reboot looks for the literal
``resources:VGPU`` alone. Several have a group each: an ungrouped amount would
have to come from one provider, and a physical GPU gives a server one vGPU.
All functions change the extra specs that they are given.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import itertools

from osc_lib import exceptions

from osc_gpu.cloud import extra_specs
from osc_gpu.i18n import _

GROUP_POLICY = 'group_policy'

Specs = Mapping[str, str]
Slots = list[extra_specs.Grouped]


def refusal(option: str, why: object) -> exceptions.CommandError:
    """Word the refusal of an option as argparse words its own."""
    return exceptions.CommandError(
        _("argument %(option)s: %(why)s") % {'option': option, 'why': why}
    )


def names(specs: Iterable[str]) -> set[str]:
    """Return the groups that resources are asked for in, but not ''."""
    slots = extra_specs.grouped(extra_specs.RESOURCES, specs)
    return {slot.group for slot in slots} - {''}


def traits_of(specs: Iterable[str], group: str) -> Slots:
    """Return the traits of one group; '' is the ungrouped form."""
    traits = extra_specs.grouped(extra_specs.TRAIT, specs)
    return [trait for trait in traits if trait.group == group]


def trait_specs(group: str, traits: Specs) -> dict[str, str]:
    """Return the extra specs for traits, each with its word, in a group."""
    return {
        extra_specs.Grouped(group, name).key(extra_specs.TRAIT): word
        for name, word in traits.items()
    }


def drop(new: dict[str, str], slots: Slots) -> None:
    """Take vGPUs out, and the traits of groups that this empties.

    Traits of the ungrouped form stay: they may be meant for the host.
    """
    for slot in slots:
        del new[slot.key(extra_specs.RESOURCES)]
    for group in {slot.group for slot in slots} - names(new) - {''}:
        for trait in traits_of(new, group):
            del new[trait.key(extra_specs.TRAIT)]


def fit_policy(new: dict[str, str]) -> None:
    """Have a group policy where Placement demands one.

    It does so for two or more numbered groups
    (placement/handlers/allocation_candidate.py).
    """
    if len(names(new)) >= 2:
        new.setdefault(GROUP_POLICY, 'none')


def drop_idle_policy(old: Specs, new: dict[str, str]) -> None:
    """Take away a group policy that had groups and has no two left."""
    if len(names(new)) < 2 <= len(names(old)):
        new.pop(GROUP_POLICY, None)


def place(
    new: dict[str, str],
    slots: Slots,
    classes: tuple[str, ...],
    decided: Specs,
    given: Specs,
) -> Slots:
    """Put a vGPU of each class in place of those of the same classes.

    :param slots: the vGPUs that the flavor has now.
    :param decided: traits that options speak of.
    :param given: extra specs that the user gave as they are.
    :raises CommandError: when it cannot be known where a trait belongs.
    """
    replaced = [slot for slot in slots if slot.name in classes]
    traits = _collect_traits(new, replaced, decided)
    drop(new, replaced)
    if len(classes) == 1 and len(replaced) == len(slots):
        placed = [extra_specs.Grouped('', classes[0])]
    else:
        placed = _find_groups(new, replaced, classes)
        if any(not slot.group for slot in replaced):
            _move_ungrouped_traits(new, decided, given)
    for slot in placed:
        new[slot.key(extra_specs.RESOURCES)] = '1'
        new |= trait_specs(slot.group, traits.get(slot.name, {}))
    return placed


def _collect_traits(
    specs: Specs, slots: Slots, decided: Specs
) -> dict[str, dict[str, str]]:
    """Return by resource class the traits in the groups of its vGPUs."""
    traits: dict[str, dict[str, str]] = {}
    for slot in slots:
        of_class = traits.setdefault(slot.name, {})
        for trait in traits_of(specs, slot.group) if slot.group else ():
            word = specs[trait.key(extra_specs.TRAIT)]
            said = of_class.setdefault(trait.name, word)
            if said != word and trait.name not in decided:
                raise refusal(
                    f'--vgpu {slot.name}',
                    _(
                        "the flavor's request groups disagree about %s: give "
                        "--trait or --forbid-trait for it"
                    )
                    % trait.name,
                )
    return traits


def _find_groups(
    new: Specs, replaced: Slots, classes: tuple[str, ...]
) -> Slots:
    """Find a group for each vGPU: that of a former one, or a free number."""
    keys = (
        extra_specs.grouped(extra_specs.RESOURCES, new),
        extra_specs.grouped(extra_specs.TRAIT, new),
    )
    used = {key.group for key in itertools.chain(*keys)}
    former = [slot for slot in replaced if slot.group not in used | {''}]
    used |= {slot.group for slot in former}
    free = (str(n) for n in itertools.count(1) if str(n) not in used)
    placed = []
    for name in classes:
        again = next((slot for slot in former if slot.name == name), None)
        slot = again or extra_specs.Grouped(next(free), name)
        former = [other for other in former if other.group != slot.group]
        placed.append(slot)
    return placed


def _move_ungrouped_traits(
    new: dict[str, str], decided: Specs, given: Specs
) -> None:
    """Decide about traits beside a vGPU that gets a group of its own.

    Left where they are they would ask the host alone; nothing in a flavor
    tells whether that was meant.
    """
    for trait in traits_of(new, ''):
        key = trait.key(extra_specs.TRAIT)
        if key in given:
            continue
        word = new.pop(key)
        if trait.name in decided:
            continue
        option = '--forbid-trait' if word == 'forbidden' else '--trait'
        raise refusal(
            '--vgpu',
            _(
                "several vGPUs have request groups of their own, and the "
                "flavor has %(spec)s: give %(option)s too if that is meant "
                "for the vGPUs, --property %(spec)s if for the host"
            )
            % {'spec': f'{key}={word}', 'option': f'{option} {trait.name}'},
        )
