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

"""May servers with GPUs migrate from one compute node to another.

Judged by what they take of a node: cards of some ids, vGPUs of some type.
What one of the nodes does not tell is left out, and named in one finding.
"""

from collections.abc import Iterator

from osc_gpu import findings
from osc_gpu.i18n import _
from osc_gpu.node import checks_subject
from osc_gpu.node import comparison_cards
from osc_gpu.node import comparison_vgpus
from osc_gpu.node import comparison_way as ways
from osc_gpu.node import model
from osc_gpu.node import uses

some = checks_subject.some
shown = checks_subject.shown
Gpus = ways.Gpus

#: Live migration of mediated devices (nova's admin/virtual-gpu.rst).
_LIVE_KERNEL = (5, 18)

_MODES = {
    uses.PASSTHROUGH: _("passed through"),
    uses.VGPU: _("divided into mediated devices"),
    uses.VFIO_VGPU: _("divided by the vendor's VFIO driver"),
    uses.HOST: _("used by the host"),
}


def compare(
    source: model.Node,
    target: model.Node,
    names: tuple[str, str] = ('A', 'B'),
) -> tuple[findings.Finding, ...]:
    """Compare two nodes; never raises.

    What holds from the first to the second only, or back only, says so.

    :param names: what the nodes are called if they do not say
    """
    there = ways.Way(source, target, *_called(source, target, names))
    back = there.back()
    forward = {problem.key: problem for problem in _problems(there)}
    backward = {problem.key: problem for problem in _problems(back)}
    found = [
        _finding(problem, there, key in backward)
        for key, problem in forward.items()
    ]
    for key, problem in backward.items():
        if key not in forward:
            found.append(_back_only(problem, back))
    return findings.ordered([*found, *_facts(there)])


def _called(
    source: model.Node, target: model.Node, names: tuple[str, str]
) -> tuple[str, str]:
    own = (source.hostname or names[0], target.hostname or names[1])
    if own[0] != own[1]:
        names = own
    return shown(names[0]), shown(names[1])


def _finding(
    problem: ways.Problem, way: ways.Way, is_mutual: bool
) -> findings.Finding:
    detail = problem.detail
    if not is_mutual:
        detail = _("%(detail)s; not so from %(to)s to %(origin)s") % {
            'detail': detail,
            'to': way.to,
            'origin': way.origin,
        }
    return findings.Finding(
        problem.severity, problem.check, problem.subject, detail, problem.fix
    )


def _back_only(problem: ways.Problem, way: ways.Way) -> findings.Finding:
    """What only stands in the way back is no reason not to go."""
    return findings.Finding(
        findings.INFO,
        problem.check,
        problem.subject,
        _("only from %(origin)s to %(to)s: %(detail)s")
        % {'origin': way.origin, 'to': way.to, 'detail': problem.detail},
        problem.fix,
    )


def _problems(way: ways.Way) -> ways.Problems:
    """Find what stands in the way, with whatever a server has."""
    yield from _check_iommu(way)
    there = ways.kinds(way.target)
    for ids, gpus in ways.kinds(way.source).items():
        others = there.get(ids, ())
        if not others:
            yield ways.Problem(
                findings.ERROR,
                'ids',
                ids,
                _("%(to)s has no %(model)s (%(ids)s)")
                % {
                    'to': way.to,
                    'model': shown(uses.model_of(gpus[0])),
                    'ids': ids,
                },
                _("Keep such servers to nodes that have one, by an aggregate"),
            )
        elif _has_other_mode(gpus, others):
            yield _other_mode(way, ids, gpus, others)
        else:
            yield from _check_kind(way, ids, gpus, others)


def _check_kind(
    way: ways.Way,
    ids: str,
    gpus: Gpus,
    others: Gpus,
) -> ways.Problems:
    modes = ways.modes(gpus)
    if modes & {uses.PASSTHROUGH, None}:
        yield from comparison_cards.check(way, ids, gpus, others)
    parted = list(comparison_vgpus.check_mig(way, ids, gpus, others))
    yield from parted
    if all(uses.tells_vgpus(gpu) for gpu in others):
        yield from comparison_vgpus.check_vfs(way, ids, gpus, others)
        if uses.VGPU in modes:
            yield from comparison_vgpus.check_mdev(way, ids, gpus, others)
            if not parted:
                yield from comparison_vgpus.check_room(way, ids, gpus, others)
        if uses.VFIO_VGPU in modes:
            yield from comparison_vgpus.check_vendor(way, ids, gpus, others)
    yield from comparison_cards.check_numa(way, ids, gpus, others)


def _check_iommu(way: ways.Way) -> ways.Problems:
    if way.target.has_iommu is False and way.source.has_iommu is not False:
        yield ways.Problem(
            findings.ERROR,
            'iommu',
            way.to,
            _("%s uses no IOMMU: no server gets a card there") % way.to,
            _("Run 'openstack gpu node check' on %s") % way.to,
        )


def _modes_to_find(gpus: Gpus) -> set[str]:
    """Return what servers have of cards: nothing of those the host uses."""
    return {mode for mode in ways.modes(gpus) if mode and mode != uses.HOST}


def _has_other_mode(gpus: Gpus, others: Gpus) -> bool:
    modes = ways.modes(others)
    return None not in modes and not _modes_to_find(gpus) <= modes


def _other_mode(
    way: ways.Way,
    ids: str,
    gpus: Gpus,
    others: Gpus,
) -> ways.Problem:
    there = ways.modes(others)
    wanted = sorted(mode for mode in _modes_to_find(gpus) if mode not in there)
    return ways.Problem(
        findings.ERROR,
        'mode',
        ids,
        _("cards are %(mode)s at %(origin)s, and %(there)s at %(to)s")
        % {
            'mode': some([_MODES[mode] for mode in wanted]),
            'there': some(sorted(_MODES[mode] for mode in there if mode)),
            'origin': way.origin,
            'to': way.to,
        },
        _("Run 'openstack gpu node check --for %(purpose)s' on %(to)s")
        % {'purpose': wanted[0], 'to': way.to},
    )


def _facts(way: ways.Way) -> Iterator[findings.Finding]:
    """Say what differs, and what cannot be seen; it decides nothing."""
    for check, one, other in (
        ('kernel', way.source.kernel, way.target.kernel),
        (
            'distribution',
            way.source.distribution,
            way.target.distribution,
        ),
        ('processor', _processor(way.source), _processor(way.target)),
    ):
        if one and other and one != other:
            yield findings.Finding(
                findings.INFO,
                check,
                f'{way.origin}, {way.to}',
                _("%(origin)s has %(one)s, %(to)s %(other)s")
                % {
                    'origin': way.origin,
                    'one': shown(one),
                    'to': way.to,
                    'other': shown(other),
                },
            )
    yield from _live(way)
    for name, node in ((way.origin, way.source), (way.to, way.target)):
        unknown = list(_unknown(node))
        if unknown:
            yield findings.Finding(
                findings.INFO,
                'unknown',
                name,
                _("not compared, as the source does not tell it: %s")
                % ', '.join(unknown),
                _("Run 'openstack gpu node show -f json' on that node"),
            )


def _processor(node: model.Node) -> str | None:
    return node.cpu_vendor or (_("another") if node.cpu_vendor == '' else None)


def _live(way: ways.Way) -> Iterator[findings.Finding]:
    nodes = (way.source, way.target)
    if not all(any(uses.has_mdev(g) for g in node.gpus) for node in nodes):
        return
    old = [
        f'{shown(node.kernel or "")} ({name})'
        for name, node in zip((way.origin, way.to), nodes, strict=True)
        if (uses.kernel_version(node) or _LIVE_KERNEL) < _LIVE_KERNEL
    ]
    if old:
        yield findings.Finding(
            findings.INFO,
            'live-migration',
            f'{way.origin}, {way.to}',
            _(
                "vGPUs may only migrate cold: live, Nova wants what Linux "
                "5.18 has at both, libvirt 8.6 and QEMU 8.1; older are %s"
            )
            % some(old),
        )


def _unknown(node: model.Node) -> Iterator[str]:
    gpus = node.gpus
    if node.has_iommu is None:
        yield _("whether there is an IOMMU")
    if any(gpu.function.driver is None for gpu in gpus):
        yield _("drivers")
    if any(gpu.total_vfs is None for gpu in gpus):
        yield _("SR-IOV")
    if any(
        gpu.function.vendor_id == uses.NVIDIA and not uses.tells_vgpus(gpu)
        for gpu in gpus
    ):
        yield _("vGPU types")
    if any(gpu.function.numa_node is None for gpu in gpus):
        yield _("NUMA nodes")
