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

"""Taking GPUs out of scheduling, and back: what is reserved of an inventory.

Nova leaves ``reserved`` of a PCI device to the operator (users 7.5), and of
nothing else that it keeps the inventory of.
"""

from collections.abc import Mapping
import logging
from typing import Any
from typing import NamedTuple

from openstack import connection
from osc_lib import exceptions

from osc_gpu.cloud import allocations
from osc_gpu.cloud import placement
from osc_gpu.cloud import provider_names
from osc_gpu.cloud import resource_classes
from osc_gpu.cloud import rest
from osc_gpu.i18n import _

LOG = logging.getLogger(__name__)

#: From here on everything may be reserved.
_MICROVERSION = '1.26'

#: How often a write is tried while others change the provider, too.
MOST_TRIES = 5

#: Written by Nova at each update, from nova.conf.
_OF_NOVA = frozenset(('VCPU', 'PCPU', 'MEMORY_MB', 'DISK_GB'))


class Change(NamedTuple):
    """What to reserve (or to release), as a count; None is everything."""

    is_reserve: bool
    amount: int | None = None


class Inventory(NamedTuple):
    """Inventory of one class as Placement has it, with what it was read at.

    ``fields`` are all of Placement's own, so that those which are not changed
    are written back as they were.
    """

    provider: placement.Provider
    resource_class: str
    generation: int
    fields: Mapping[str, Any]

    @property
    def total(self) -> int:
        """Units that there are."""
        return int(self.fields['total'])

    @property
    def reserved(self) -> int:
        """Units that are kept from servers."""
        return int(self.fields['reserved'])


def reserved_after(found: Inventory, change: Change) -> int:
    """Return what is reserved after a change.

    :raises osc_lib.exceptions.CommandError: more than there is
    """
    total, reserved = found.total, found.reserved
    if change.amount is None:
        return total if change.is_reserve else 0
    after = reserved + (change.amount if change.is_reserve else -change.amount)
    if 0 <= after <= total:
        return after
    text = (
        _(
            "Cannot reserve %(amount)d more %(class)s of %(provider)s: "
            "%(reserved)d of %(total)d are reserved."
        )
        if change.is_reserve
        else _(
            "Cannot release %(amount)d %(class)s of %(provider)s: only "
            "%(reserved)d of %(total)d are reserved."
        )
    )
    raise exceptions.CommandError(
        text
        % {
            'amount': change.amount,
            'class': found.resource_class,
            'provider': found.provider.name,
            'reserved': reserved,
            'total': total,
        }
    )


def change_reserved(
    conn: connection.Connection,
    name_or_id: str,
    change: Change,
    resource_class: str | None = None,
) -> None:
    """Reserve a device, or release it; a warning tells what stays in use.

    Four requests at the most, unless others write at the same time.

    :param name_or_id: as provider_names.provider_named takes it
    :param resource_class: the one that is meant, GPU or not
    :raises osc_lib.exceptions.CommandError: no such provider or class, not a
        GPU, one whose reservation Nova resets, or more than there is
    """
    names = placement.read_names(conn)
    provider = provider_names.provider_named(names, name_or_id)
    # Before anything else is asked, as it needs only the name.
    refuse_what_nova_resets(provider, resource_class or '')
    after = write_reserved(conn, provider, change, resource_class)
    if after is not None and change.is_reserve:
        _warn_of_used(conn, after)


def write_reserved(
    conn: connection.Connection,
    provider: placement.Provider,
    change: Change,
    resource_class: str | None = None,
    *,
    only_unused: bool = False,
) -> Inventory | None:
    """Write what a change makes of it; None if it is so already.

    One request to read and one to write; both again, ``MOST_TRIES`` times,
    when the provider changed between the two, as it does when a server gets
    some of it.

    :param only_unused: refuse when any of it is in use; one more request
    :returns: what was written
    """
    for _try in range(MOST_TRIES):
        found = _read(conn, provider, resource_class)
        reserved = reserved_after(found, change)
        if reserved == found.reserved:
            return None
        if only_unused and _used(conn, found):
            raise exceptions.CommandError(
                _("Resource provider %s is in use.") % provider.name
            )
        after = found._replace(fields={**found.fields, 'reserved': reserved})
        if _write(conn, after):
            return after
    raise exceptions.CommandError(
        _(
            "Resource provider %(provider)s changed %(times)d times while it "
            "was to be written; nothing was. Try again."
        )
        % {'provider': provider.name, 'times': MOST_TRIES}
    )


def refuse_what_nova_resets(
    provider: placement.Provider, resource_class: str
) -> None:
    """Refuse inventory of which Nova resets what is reserved (users 7.5).

    :raises osc_lib.exceptions.CommandError: it is of mdevs, or of a host's
        processors, memory or disk
    """
    if placement.is_mdev_device(provider.name) or (
        # Parents of mdevs without an address have names of any kind.
        resource_class == 'VGPU' and not placement.is_pci_device(provider.name)
    ):
        raise exceptions.CommandError(
            _(
                "%s has vGPUs: Nova resets what is reserved of them at its "
                "next update. Disable the host's compute service instead, or "
                "give the provider a trait that flavors forbid."
            )
            % provider.name
        )
    if resource_class in _OF_NOVA:
        raise exceptions.CommandError(
            _(
                "What is reserved of %(class)s is set in nova.conf, and Nova "
                "resets it at its next update."
            )
            % {'class': resource_class}
        )


def _read(
    conn: connection.Connection,
    provider: placement.Provider,
    resource_class: str | None,
) -> Inventory:
    path = f'/resource_providers/{provider.uuid}/inventories'
    body = rest.get(conn.placement, path, _MICROVERSION)
    named = [resource_class] if resource_class else []
    found = [
        name
        for name in body['inventories']
        if (name in named if named else resource_classes.is_gpu_class(name))
    ]
    chosen = provider_names.class_meant(provider.name, found, named)
    refuse_what_nova_resets(provider, chosen)
    return Inventory(
        provider,
        chosen,
        body['resource_provider_generation'],
        body['inventories'][chosen],
    )


def _write(conn: connection.Connection, after: Inventory) -> bool:
    """Write an inventory; False if its provider changed since it was read."""
    response = conn.placement.put(
        f'/resource_providers/{after.provider.uuid}/inventories/'
        f'{after.resource_class}',
        json={
            **after.fields,
            'resource_provider_generation': after.generation,
        },
        microversion=_MICROVERSION,
    )
    return not allocations.is_conflict(response)


def _used(conn: connection.Connection, found: Inventory) -> int:
    consumers = placement.read_consumers(conn, found.provider.uuid)
    return sum(
        held.get(found.resource_class, 0) for held in consumers.values()
    )


def _warn_of_used(conn: connection.Connection, after: Inventory) -> None:
    kept = _used(conn, after) + after.reserved - after.total
    if kept > 0:
        LOG.warning(
            _(
                "%(kept)d of the reserved %(class)s of %(provider)s are in "
                "use, and stay so until their servers give them back"
            ),
            {
                'kept': kept,
                'class': after.resource_class,
                'provider': after.provider.name,
            },
        )
