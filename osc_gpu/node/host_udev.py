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


"""Rules of udev: functions that are taken away, and cards by address."""

from collections.abc import Mapping

from osc_gpu.node import host_plan
from osc_gpu.node import host_values
from osc_gpu.node import model

FOLDER = '/etc/udev/rules.d'
PATH = f'{FOLDER}/99-osc-gpu.rules'

#: Companions that are taken away, by class; others vfio-pci keeps.
_NAMES = {
    '0403': 'audio',
    '0c03': 'USB host controllers',
    '0c80': 'USB Type-C (UCSI)',
}


def write(plan: host_plan.Plan) -> Mapping[str, str]:
    """Return the rules; {} if none are needed."""
    lines = [*_removals(plan), *_overrides(plan)]
    if not lines:
        return {}
    return {
        PATH: host_plan.text(
            [
                *host_plan.comments('They are heeded from the next boot on.'),
                *lines,
            ]
        )
    }


def is_taken_away(plan: host_plan.Plan, function: model.Function) -> bool:
    """Tell whether a companion is taken away, rather than bound."""
    return function.class_id in _NAMES and function not in plan.wanted


def _removals(plan: host_plan.Plan) -> list[str]:
    """Return rules that take companions of passed GPUs away.

    A driver that is part of the kernel, as USB's mostly is, is at a function
    before vfio-pci comes; and a companion that is gone is in no group.
    """
    lines: dict[str, str] = {}
    for gpu in plan.passed:
        for function in gpu.companions:
            if is_taken_away(plan, function):
                lines[_removal(plan, function)] = _NAMES[
                    str(function.class_id)
                ]
    found: list[str] = []
    for name in _NAMES.values():
        rules = [rule for rule, of in lines.items() if of == name]
        if rules:
            found += [f'# Companions of GPUs: {name}', *rules]
    return found


def _removal(plan: host_plan.Plan, function: model.Function) -> str:
    if function.vendor_id == host_plan.NVIDIA and not _is_kept(plan, function):
        # NVIDIA makes none of these but on its cards: the rule holds also
        # when a card goes to another slot.
        of_class = f'0x{function.class_id}{function.interface or "??"}'
        match = (
            f'ATTR{{vendor}}=="0x{function.vendor_id}", '
            f'ATTR{{class}}=="{of_class}"'
        )
    else:
        match = _here(function)
    return f'ACTION=="add", SUBSYSTEM=="pci", {match}, ATTR{{remove}}="1"'


def _is_kept(plan: host_plan.Plan, function: model.Function) -> bool:
    """Tell whether a card of the vendor keeps functions of this class."""
    passed = {f.address for f in plan.functions if f not in plan.wanted}
    return any(
        other.address not in passed
        and other.vendor_id == function.vendor_id
        # What is not known may be of it.
        and other.class_id in (function.class_id, None)
        for gpu in plan.node.gpus
        for other in host_values.functions(gpu)
    )


def _overrides(plan: host_plan.Plan) -> list[str]:
    if not plan.by_address:
        return []
    return [
        '# Cards that have the same vendor and product as one that stays with '
        'the host',
        *(
            f'ACTION=="add", SUBSYSTEM=="pci", {_here(function)}, '
            'ATTR{driver_override}="vfio-pci"'
            for function in plan.by_address
            if not is_taken_away(plan, function)
        ),
    ]


def _here(function: model.Function) -> str:
    """Match a function where it is, and only if it is what was there."""
    return (
        f'KERNEL=="{function.address}", '
        f'ATTR{{vendor}}=="0x{function.vendor_id}", '
        f'ATTR{{device}}=="0x{function.product_id}"'
    )
