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

"""What servers with whole cards find, or miss, at another compute node."""

import collections

from osc_gpu import findings
from osc_gpu.i18n import _
from osc_gpu.node import checks_subject
from osc_gpu.node import comparison_way as ways
from osc_gpu.node import uses

some = checks_subject.some
Gpus = ways.Gpus


def check(way: ways.Way, ids: str, gpus: Gpus, others: Gpus) -> ways.Problems:
    """Compare cards by what an alias takes of them."""
    if len(others) < len(gpus):
        yield ways.fewer(way, ids, _("cards"), len(gpus), len(others))
    here, there = _device_types(gpus), _device_types(others)
    if here and there and here.isdisjoint(there):
        yield _differ(
            way,
            findings.ERROR,
            'device-type',
            ids,
            (here, there),
            _(
                "cards are %(here)s at %(origin)s and %(there)s at %(to)s: an "
                "alias with a device_type does not match both"
            ),
            _("Turn SR-IOV on, or off, in the firmware of both"),
        )
    here, there = _boards(gpus), _boards(others)
    if here and there and here.isdisjoint(there):
        yield _differ(
            way,
            findings.WARNING,
            'model',
            ids,
            (here, there),
            _(
                "cards of the same ids have the subsystem %(here)s at "
                "%(origin)s, and %(there)s at %(to)s"
            ),
            _("Give each kind a resource_class of its own in device_spec"),
        )
    yield from _check_managed(way, ids, gpus, others)


def _differ(
    way: ways.Way,
    severity: str,
    check: str,
    ids: str,
    values: tuple[set[str], set[str]],
    detail: str,
    fix: str,
) -> ways.Problem:
    said = {
        'here': some(sorted(values[0])),
        'there': some(sorted(values[1])),
        'origin': way.origin,
        'to': way.to,
    }
    return ways.Problem(severity, check, ids, detail % said, fix)


def _check_managed(
    way: ways.Way, ids: str, gpus: Gpus, others: Gpus
) -> ways.Problems:
    """Libvirt binds vfio-pci itself, unless it is told not to."""
    if all(uses.is_vfio(gpu.function.driver) for gpu in gpus) and any(
        gpu.function.driver == '' for gpu in others
    ):
        yield ways.Problem(
            findings.INFO,
            'managed',
            ids,
            _(
                "cards have vfio-pci at %(origin)s, and no driver at %(to)s: "
                "that is well unless device_spec has 'managed': 'no'"
            )
            % {'origin': way.origin, 'to': way.to},
        )


def _device_types(gpus: Gpus) -> set[str]:
    """Return what Nova takes cards for: nova/virt/libvirt/host.py."""
    if any(gpu.total_vfs is None for gpu in gpus):
        return set()
    return {'type-PF' if gpu.total_vfs else 'type-PCI' for gpu in gpus}


def _boards(gpus: Gpus) -> set[str]:
    return {board for gpu in gpus if (board := uses.board_of(gpu))}


def check_numa(
    way: ways.Way, ids: str, gpus: Gpus, others: Gpus
) -> ways.Problems:
    """Compare how many cards a server finds at one NUMA node."""
    here, there = _most_near(gpus), _most_near(others)
    if here is not None and there is not None and there < here:
        yield ways.Problem(
            findings.WARNING,
            'numa',
            ids,
            _(
                "%(here)d cards share a NUMA node at %(origin)s, and "
                "%(there)d at %(to)s: a server whose NUMA policy is required "
                "may not find as many"
            )
            % {
                'here': here,
                'there': there,
                'origin': way.origin,
                'to': way.to,
            },
        )


def _most_near(gpus: Gpus) -> int | None:
    """Return how many cards at most are at one NUMA node."""
    nodes = [gpu.function.numa_node for gpu in gpus]
    if None in nodes:
        return None
    return max(collections.Counter(nodes).values())
