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

"""What is wrong with what servers hold."""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
import dataclasses
from typing import NamedTuple

from osc_gpu.cloud import audit_model
from osc_gpu.cloud import servers
from osc_gpu import findings
from osc_gpu.i18n import _


class _Difference(NamedTuple):
    """What a server holds of some classes together, and asks of them."""

    classes: tuple[str, ...]
    held: int
    asked: int


def judge(snapshot: audit_model.Snapshot) -> Iterator[audit_model.Problem]:
    """Judge every server whose allocations were read."""
    for server in snapshot.servers.values():
        if server.id in snapshot.held and snapshot.is_idle(server):
            yield from judge_server(snapshot, server)


def judge_server(
    snapshot: audit_model.Snapshot, server: servers.GpuServer
) -> Iterator[audit_model.Problem]:
    """Judge what a server holds, which was read, whatever it is doing."""
    yield from _wrong_amounts(snapshot, server)
    yield from _two_trees(snapshot, server)


def unexplained(snapshot: audit_model.Snapshot) -> list[str]:
    """Return the devices that are used more than by who is known to."""
    known: dict[tuple[str, str], int] = {}
    for found in snapshot.held.values():
        for uuid, amounts in found.held.items():
            for name, amount in amounts.items():
                known[uuid, name] = known.get((uuid, name), 0) + amount
    return sorted(
        provider.uuid
        for provider in snapshot.providers.values()
        if any(
            resource.used > known.get((provider.uuid, name), 0)
            and snapshot.is_judged(provider.uuid, name)
            for name, resource in provider.resources.items()
        )
    )


# More or less than asked for.


def _wrong_amounts(
    snapshot: audit_model.Snapshot, server: servers.GpuServer
) -> Iterator[audit_model.Problem]:
    # A provider that is younger than the names may be a device.
    if not snapshot.names.keys() >= snapshot.held[server.id].held.keys():
        return
    left = _left_behind(snapshot, server)
    holdings = [
        (uuid, name, amount)
        for uuid, name, amount in snapshot.gpus_held(server.id)
        if snapshot.names[uuid].root_uuid not in left
    ]
    for found in _differences(snapshot, server, holdings):
        if found.held > found.asked or (
            found.held < found.asked and server.host in snapshot.roots_of
        ):
            yield _wrong_amount(snapshot, server, holdings, found)


def _left_behind(
    snapshot: audit_model.Snapshot, server: servers.GpuServer
) -> frozenset[str]:
    """Return roots whose host cleans up when it comes back.

    The allocations of an evacuated server stay until then (facts 4).
    """
    sources = (
        record.source
        for record in snapshot.records_of.get(server.id, ())
        if record.status == audit_model.EVACUATED
        and record.kind == 'evacuation'
        and record.source != server.host
    )
    return frozenset().union(
        *(snapshot.roots_of.get(source, frozenset()) for source in sources)
    )


def _differences(
    snapshot: audit_model.Snapshot,
    server: servers.GpuServer,
    holdings: Collection[tuple[str, str, int]],
) -> Iterator[_Difference]:
    """Compare what a server holds with what its flavor asks for.

    Of aliases whose classes are not known only the sum is compared.
    """
    request = server.gpu_request
    placed = bool(server.host)
    asked = dict(request.classes) if placed else {}
    explicit = frozenset(asked)
    aliases = dict(request.aliases) if placed else {}
    known = {
        name: snapshot.alias_classes.get(name, frozenset()) for name in aliases
    }
    uncountable = not _has_pci(snapshot, server)
    pooled: frozenset[str] = frozenset()
    if all(len(classes) == 1 for classes in known.values()):
        for name, number in aliases.items():
            (resource_class,) = known[name]
            asked[resource_class] = asked.get(resource_class, 0) + number
    else:
        pooled = frozenset(
            name
            for uuid, name, _amount in holdings
            if snapshot.is_pci(uuid) and name not in explicit
        )
        held = sum(n for _uuid, name, n in holdings if name in pooled)
        number = sum(aliases.values())
        if uncountable:
            number = min(number, held)
        yield _Difference(tuple(sorted(pooled)), held, number)
    for name in sorted(asked.keys() | {name for _u, name, _n in holdings}):
        held = sum(n for _uuid, held_name, n in holdings if held_name == name)
        if name in pooled or (
            uncountable and name not in explicit and held < asked.get(name, 0)
        ):
            continue
        yield _Difference((name,), held, asked.get(name, 0))


def _has_pci(
    snapshot: audit_model.Snapshot, server: servers.GpuServer
) -> bool:
    roots = snapshot.roots_of.get(server.host, frozenset())
    return not roots.isdisjoint(snapshot.pci_roots)


def _wrong_amount(
    snapshot: audit_model.Snapshot,
    server: servers.GpuServer,
    holdings: Iterable[tuple[str, str, int]],
    found: _Difference,
) -> audit_model.Problem:
    providers = tuple(
        sorted({uuid for uuid, name, _n in holdings if name in found.classes})
    )
    is_excess = found.held > found.asked
    problem = audit_model.Problem(
        findings.ERROR,
        audit_model.EXCESS if is_excess else audit_model.MISSING,
        server.id,
        _("%(server)s holds %(held)d of %(classes)s, its flavor asks %(n)d")
        % {
            'server': audit_model.called(server),
            'held': found.held,
            'classes': ', '.join(found.classes) or server.gpu_request.text,
            'n': found.asked,
        },
        _("Migrate the server, and confirm it"),
        consumer=server.id,
        server_id=server.id,
        provider_ids=providers,
        classes=found.classes,
        amount=abs(found.held - found.asked),
        generation=snapshot.held[server.id].generation,
        hosts=snapshot.hosts(server, providers),
        project_id=server.project_id,
    )
    if not is_excess or not is_corrected(snapshot, problem):
        return problem
    return dataclasses.replace(
        problem,
        repair=_("drop %d of them; Nova adds back what the server uses")
        % problem.amount,
    )


def is_corrected(
    snapshot: audit_model.Snapshot, excess: audit_model.Problem
) -> bool:
    """Tell whether Nova adds back what is used of what is held too much.

    It does so of PCI devices that it passed through for an alias: not of
    mdevs, and not of what a flavor asks Placement alone for.
    """
    server = snapshot.servers.get(excess.server_id)
    return (
        server is not None
        and {name for name, _n in server.gpu_request.classes}.isdisjoint(
            excess.classes
        )
        and bool(excess.provider_ids)
        and all(
            uuid in snapshot.names and snapshot.is_pci(uuid)
            for uuid in excess.provider_ids
        )
    )


# On two hosts.


def _two_trees(
    snapshot: audit_model.Snapshot, server: servers.GpuServer
) -> Iterator[audit_model.Problem]:
    """Find allocations on two hosts; shared storage is none of Nova's."""
    held = snapshot.held[server.id]
    root_of = {
        uuid: snapshot.names[uuid].root_uuid
        for uuid in held.held
        if uuid in snapshot.names
    }
    roots = snapshot.hypervisors.keys() & root_of.values()
    roots -= _left_behind(snapshot, server)
    wrong = roots - snapshot.roots_of.get(server.host, frozenset())
    if len(roots) < 2 or not wrong:
        return
    elsewhere = ', '.join(sorted(snapshot.host(root) for root in wrong))
    yield audit_model.Problem(
        findings.ERROR,
        audit_model.TWO_TREES,
        server.id,
        _("%(server)s is on %(host)s, but also has allocations on %(others)s")
        % {
            'server': audit_model.called(server),
            'host': server.host or _("no host"),
            'others': elsewhere,
        },
        _("Remove those on %s (openstack resource provider allocation unset)")
        % elsewhere,
        consumer=server.id,
        server_id=server.id,
        provider_ids=tuple(
            sorted(uuid for uuid in root_of if root_of[uuid] in wrong)
        ),
        classes=tuple(
            sorted({name for _u, name, _n in snapshot.gpus_held(server.id)})
        ),
        generation=held.generation,
        hosts=snapshot.hosts(server, roots),
        project_id=server.project_id,
    )
