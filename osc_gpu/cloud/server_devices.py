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

"""What Placement says that a server holds."""

from collections.abc import Collection
from collections.abc import Mapping
import dataclasses
import logging

from keystoneauth1 import exceptions as ksa_exceptions
from openstack import connection
from openstack import exceptions as sdk_exceptions

from osc_gpu.cloud import allocations
from osc_gpu.cloud import errors
from osc_gpu.cloud import placement
from osc_gpu.cloud import resource_classes
from osc_gpu.cloud import servers
from osc_gpu.i18n import _

LOG = logging.getLogger(__name__)

_OF_HOSTS = frozenset(('VCPU', 'PCPU', 'MEMORY_MB', 'DISK_GB'))


@dataclasses.dataclass(frozen=True, order=True)
class Device:
    """What a server holds of one resource provider and resource class.

    ``address`` is a PCI address, or the name of a provider without one.
    """

    host: str
    address: str
    resource_class: str
    amount: int


def read(
    conn: connection.Connection,
    server: servers.GpuServer,
    also: Collection[str] = (),
) -> tuple[Device, ...]:
    """Read which GPUs a server holds, as Placement says.

    One request, and one for each host that it may hold some of. Empty for
    whom Placement does not answer (tenants), without a Placement, and, with a
    warning, when Placement fails: what Nova says is worth showing then.

    :param also: resource classes that the user says are GPUs too
    """
    try:
        held = allocations.read(conn, server.id).held
        providers: dict[str, placement.Provider] = {}
        for uuid, amounts in sorted(held.items()):
            if uuid not in providers and _may_be_gpu(server, amounts, also):
                providers |= placement.read_tree(conn, uuid)
    except (
        ksa_exceptions.EndpointNotFound,
        sdk_exceptions.ForbiddenException,
        sdk_exceptions.ServiceDisabledException,
    ) as exc:
        LOG.debug('Devices are not shown: %s', exc)
        return ()
    except errors.REFUSALS as exc:
        LOG.warning(
            _("What the server holds cannot be seen: %s"),
            errors.explain(exc, conn),
        )
        return ()
    any_class = bool(server.gpu_request.aliases)
    return join(held, providers, also, any_class=any_class)


def join(
    held: Mapping[str, Mapping[str, int]],
    providers: Mapping[str, placement.Provider],
    also: Collection[str] = (),
    *,
    any_class: bool = False,
) -> tuple[Device, ...]:
    """Join what a server holds with the names of whom it holds it from.

    :param held: provider -> resource class -> amount
    :param providers: the whole trees of the providers with GPUs, by UUID
    :param any_class: a PCI device is a GPU whatever its class, as an operator
        can name it anything and only its alias requests it
    """
    found = []
    for uuid, amounts in held.items():
        provider = providers.get(uuid)
        root = providers.get(provider.root_uuid) if provider else None
        host = root.name if root else ''
        name = provider.name if provider else uuid
        address = placement.device_of(name, host)
        is_pci = address != name
        found += [
            Device(host, address, resource_class, amount)
            for resource_class, amount in amounts.items()
            if (any_class and is_pci)
            or resource_classes.is_gpu_class(resource_class, also)
        ]
    return tuple(sorted(found))


def _may_be_gpu(
    server: servers.GpuServer,
    amounts: Mapping[str, int],
    also: Collection[str],
) -> bool:
    if server.gpu_request.aliases and not _OF_HOSTS.issuperset(amounts):
        return True
    return any(resource_classes.is_gpu_class(name, also) for name in amounts)
