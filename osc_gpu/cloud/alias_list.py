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

"""The PCI aliases that a cloud's flavors name, with all that is known."""

from collections.abc import Collection
from collections.abc import Iterable
import dataclasses

from openstack import connection

from osc_gpu.cloud import alias_classes
from osc_gpu.cloud import aliases
from osc_gpu.cloud import flavors
from osc_gpu.cloud import hypervisors
from osc_gpu.cloud import placement
from osc_gpu.cloud import resource_classes
from osc_gpu.cloud import servers
from osc_gpu.cloud import side_by_side


@dataclasses.dataclass(frozen=True)
class Alias:
    """A PCI alias that a flavor names.

    ``defined`` is None where it cannot be told; ``why`` says why, or in
    Nova's words what was found. ``resource_classes`` are those that servers
    with it hold; () while none is known. ``servers`` counts the servers whose
    own flavor requests it.
    """

    name: str
    defined: bool | None
    why: str
    resource_classes: tuple[str, ...]
    models: tuple[str, ...]
    flavors: tuple[str, ...]
    servers: int


def read(
    conn: connection.Connection,
    *,
    names: Collection[str] = (),
    host: str | None = None,
    project_id: str | None = None,
    classes: Collection[str] = (),
    at_once: int = side_by_side.DEFAULT,
) -> tuple[Alias, ...]:
    """Read the aliases that flavors name, by name.

    One request for the flavors, the servers (one per 1000), the names of
    Placement's providers and an image each; one for each alias, and one for
    each of the few servers whose allocations tell its class. Without an alias
    the first two.

    :param names: only these, unless empty
    :param host: count only servers on this host of a compute service
    :param project_id: count only servers of this project
    :param classes: only aliases known to stand for one of these, unless empty
    :raises CommandError: no such host; the caller must not probe
    """
    found = flavors.list_flavors(conn)
    running = servers.read_all(conn, all_tenants='True')
    counted = _counted(conn, running, host, project_id)
    wanted = sorted(
        {name for flavor in found for name in aliases.named_by(flavor)}
    )
    if names:
        wanted = [name for name in wanted if name in names]
    if not wanted:
        return ()
    providers = placement.read_names(conn)
    known = alias_classes.learn(
        alias_classes.sample(conn, running, at_once), providers
    )
    wanted = [
        name
        for name in wanted
        if not classes or not known.get(name, frozenset()).isdisjoint(classes)
    ]
    probes = aliases.probe_all(conn, found, wanted, at_once)
    aliases.refuse_forbidden(probes.values())
    servers.warn_of_unknown(running)
    return tuple(
        describe(name, probes[name], known.get(name, ()), found, counted)
        for name in wanted
    )


def _counted(
    conn: connection.Connection,
    running: Iterable[servers.GpuServer],
    host: str | None,
    project_id: str | None,
) -> list[servers.GpuServer]:
    """Return the servers of a host and a project; refuse an unknown host."""
    found = [s for s in running if host in (None, s.host)]
    if host is not None and not found:
        if host not in {h.host for h in hypervisors.read(conn).values()}:
            raise hypervisors.unknown(host)
    return [s for s in found if project_id in (None, s.project_id)]


def describe(
    name: str,
    probed: aliases.Probe,
    classes: Collection[str],
    found: Iterable[flavors.Flavor],
    running: Iterable[servers.GpuServer],
) -> Alias:
    """Join what is known of an alias."""
    models = {resource_classes.model(c) for c in classes} - {''}
    return Alias(
        name=name,
        defined=probed.defined,
        why=probed.why,
        resource_classes=tuple(sorted(classes)),
        models=tuple(sorted(models)),
        flavors=tuple(
            sorted(f.name for f in found if name in aliases.named_by(f))
        ),
        servers=sum(
            name in dict(server.gpu_request.aliases) for server in running
        ),
    )
