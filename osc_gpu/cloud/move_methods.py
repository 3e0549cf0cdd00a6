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

"""How a server is best moved to another host.

Nova has three ways (facts 4). A cold migration works for every server, and
holds two sets of GPUs until it is confirmed. Shelving and unshelving holds
one, but starts the server and, without a volume, takes a copy of its disk.
A live migration takes devices that can be moved while they are in use.
"""

from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

from osc_gpu.cloud import placement
from osc_gpu.cloud import servers
from osc_gpu.i18n import _

COLD = 'cold'
SHELVE = 'shelve'
LIVE = 'live'

#: What Nova sets on the provider of a PCI device that can be moved while it
#: is in use, from 2026.2 on (users 7.8).
LIVE_TRAIT = 'HW_PCI_LIVE_MIGRATABLE'

_ACTIVE = 'ACTIVE'


class Choice(NamedTuple):
    """How to move a server, and why so, in a few words for a table."""

    method: str
    why: str


def device_traits(
    held: Mapping[str, Any], providers: Mapping[str, placement.Provider]
) -> tuple[frozenset[str], ...]:
    """Return the traits of each PCI device that a server holds.

    :param held: by the provider's UUID
    :param providers: those whose traits were read, by UUID
    """
    return tuple(
        frozenset(providers[uuid].traits)
        for uuid in held
        if uuid in providers and placement.is_pci_device(providers[uuid].name)
    )


def choose(
    server: servers.GpuServer,
    traits: Collection[frozenset[str]],
    wanted: str = '',
    may_return: bool = False,
    *,
    can_shelve: bool = True,
) -> Choice:
    """Choose how to move a server.

    :param traits: for each PCI device that it holds, those of its provider
    :param wanted: the method that the user asks for; '' leaves the choice
    :param may_return: no host is known that would take it, so that Nova may
        unshelve it where it was
    :param can_shelve: Nova can be told where to unshelve it
    """
    if wanted:
        return Choice(wanted, _("as asked"))
    if not server.gpu_request:
        return _choose_without_gpu(server)
    if server.status != _ACTIVE:
        return Choice(COLD, _("does not run"))
    if _is_live(server, traits):
        return Choice(LIVE, _("its devices move while it runs"))
    if _is_all_on_volumes(server) and not can_shelve:
        return Choice(COLD, _("Nova cannot be told where to unshelve it"))
    if _is_all_on_volumes(server) and not may_return:
        return Choice(SHELVE, _("boots from a volume: no second GPU is held"))
    if server.gpu_request.classes:
        return Choice(
            COLD, _("vGPU: --method live if its type can, which no API tells")
        )
    return Choice(COLD, _("its devices are not said to move while it runs"))


def _is_all_on_volumes(server: servers.GpuServer) -> bool:
    """Tell whether shelving copies no disk, and loses none."""
    flavor = server.own_flavor
    return not server.has_image and flavor is not None and not flavor.ephemeral


def _choose_without_gpu(server: servers.GpuServer) -> Choice:
    if server.status == _ACTIVE:
        return Choice(LIVE, _("no GPU: moves while it runs"))
    return Choice(COLD, _("no GPU, and does not run"))


def _is_live(
    server: servers.GpuServer, traits: Collection[frozenset[str]]
) -> bool:
    """Tell whether all its GPUs are devices that can be moved in use.

    Which type of vGPU can is in no API.
    """
    devices = sum(n for _name, n in server.gpu_request.aliases)
    return (
        not server.gpu_request.classes
        and len(traits) >= devices
        and all(LIVE_TRAIT in found for found in traits)
    )


def refusals(
    server: servers.GpuServer, method: str, *, can_shelve: bool = True
) -> Iterator[str]:
    """Say why a server cannot go this way (facts 4).

    :param can_shelve: Nova can be told where to unshelve it
    """
    is_active = server.status == _ACTIVE
    if method == SHELVE and not can_shelve:
        yield _(
            "to unshelve it on another host takes compute API 2.91 (Nova 26, "
            "Zed), which this cloud lacks: --method cold"
        )
    if method == LIVE and not is_active:
        yield _("it does not run: --method cold")
    if method == SHELVE and not is_active:
        yield _("shelving would start it: --method cold")
    if (
        method == SHELVE
        and server.own_flavor is not None
        and server.own_flavor.ephemeral
    ):
        yield _("shelving would lose its ephemeral disk: --method cold")
