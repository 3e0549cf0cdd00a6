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

"""Which providers allocation candidates leave out, and how to find them.

Candidates for a class bring only the trees that have a unit of it left. What
they leave out is told here by names alone; ``placement`` does the asking.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import logging
from typing import TYPE_CHECKING

from osc_gpu.cloud import resource_classes
from osc_gpu.i18n import _

if TYPE_CHECKING:
    from osc_gpu.cloud import placement

LOG = logging.getLogger(__name__)

#: Classes that one command looks for among lone roots unasked, at most.
MOST_CLASSES = 10


def devices(
    names: Mapping[str, 'placement.Provider'],
    shown: Mapping[str, 'placement.Provider'],
    root_uuid: str | None = None,
) -> dict[str, list['placement.Provider']]:
    """Return, by root, what may be GPUs in the trees that are not shown.

    :param names: every provider by UUID
    :param shown: the providers of the trees that are shown, by UUID
    :param root_uuid: only those of this tree
    """
    shown_roots = {provider.root_uuid for provider in shown.values()}
    found: dict[str, list[placement.Provider]] = {}
    for provider in sorted(names.values(), key=lambda p: p.name):
        root = names.get(provider.root_uuid)
        if (
            root is not None
            and root.uuid not in shown_roots
            and root_uuid in (None, root.uuid)
            and _may_be_gpu(provider, root)
        ):
            found.setdefault(root.uuid, []).append(provider)
    return found


def _may_be_gpu(
    provider: 'placement.Provider', root: 'placement.Provider'
) -> bool:
    # Neutron names the bandwidth of a host's cards <host>:<agent>:<card>,
    # Blazar its reservations blazar_<host>.
    return provider.parent_uuid is not None and not provider.name.startswith(
        (f'{root.name}:', 'blazar_')
    )


def lone_roots(names: Mapping[str, 'placement.Provider']) -> frozenset[str]:
    """Return the UUIDs of the roots without children.

    Bare-metal nodes, which hold their GPUs themselves; but also shared
    storage and compute nodes without any devices.
    """
    parents = {provider.parent_uuid for provider in names.values()}
    return frozenset(
        provider.uuid
        for provider in names.values()
        if provider.parent_uuid is None and provider.uuid not in parents
    )


def within_bounds(
    names: Mapping[str, 'placement.Provider'],
    hidden: Mapping[str, Collection['placement.Provider']],
    most: int,
) -> dict[str, Collection['placement.Provider']]:
    """Leave out, with a warning, hosts that exceed so many providers."""
    left = most
    kept: dict[str, Collection[placement.Provider]] = {}
    for root_uuid, providers in hidden.items():
        if len(providers) <= left:
            kept[root_uuid] = providers
            left -= len(providers)
    if len(kept) < len(hidden):
        LOG.warning(
            _(
                "Missing here: %s. Placement does not show them with the "
                "others (nothing of them is free, or its "
                "max_allocation_candidates is low), and they have too many "
                "devices to ask for each. Name one with --host to see it."
            ),
            ', '.join(sorted(names[u].name for u in hidden if u not in kept)),
        )
    return kept


def classes_to_try(
    every: Iterable[str], shown: Mapping[str, 'placement.Provider']
) -> list[str]:
    """Choose the GPU classes that a lone root may have and nobody shows.

    Ironic makes up a class for each kind of node (CUSTOM_BAREMETAL_GPU), so
    those come first, then what Nova calls PCI devices, then VGPU and PGPU.
    More than ``MOST_CLASSES`` are left out with a warning.

    :param every: the names of all classes
    :param shown: the providers that are shown, by UUID
    """
    seen = {name for p in shown.values() for name in p.resources}
    wanted = sorted(
        {c for c in every if resource_classes.is_gpu_class(c)} - seen,
        key=lambda c: (
            not c.startswith('CUSTOM_'),
            resource_classes.pci_ids(c) is not None,
            c,
        ),
    )
    if wanted[MOST_CLASSES:]:
        LOG.warning(
            _(
                "GPUs of these classes may be missing here, if bare-metal "
                "nodes have them: %s. Name one with --resource-class to see "
                "them."
            ),
            ', '.join(wanted[MOST_CLASSES:]),
        )
    return wanted[:MOST_CLASSES]
