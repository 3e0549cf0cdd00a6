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


"""Files that a node itself reads, so that its GPUs are there for servers."""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence

from osc_gpu.i18n import _
from osc_gpu.node import files as node_files
from osc_gpu.node import host_division
from osc_gpu.node import host_kernel
from osc_gpu.node import host_modules
from osc_gpu.node import host_plan
from osc_gpu.node import host_udev
from osc_gpu.node import host_units
from osc_gpu.node import host_values
from osc_gpu.node import model

_KERNEL = 'grub'
#: What each tool's files of a node are: text by path.
_WRITERS: Mapping[str, Callable[[host_plan.Plan], Mapping[str, str]]] = {
    _KERNEL: host_kernel.write,
    'modprobe': host_modules.modprobe,
    'udev': host_udev.write,
    'dracut': host_modules.initramfs,
    'vfio': host_modules.vfio,
    'systemd': host_units.write,
}
TOOLS = tuple(_WRITERS)


def files(
    tool: str,
    nodes: Sequence[model.Node],
    gpus: Collection[model.Gpu],
    divisions: Sequence[host_division.Division] = (),
    functions: Collection[model.Function] = (),
) -> tuple[node_files.File, ...]:
    """Return the files of one tool; () if it has nothing to do.

    :param tool: one of ``TOOLS``
    :param nodes: those that the files are for
    :param gpus: those that are passed through, and may be those that are
        divided; other cards of the nodes stay with their hosts
    :param divisions: how some are divided
    :param functions: companions that servers get by an alias of their own,
        so that they must not be taken away
    :raises ValueError: with a sentence that says what is wrong
    """
    for node in nodes:
        host_values.check_node(node)
    for division in divisions:
        host_values.check_division(division)
    plans = (
        host_plan.make(node, gpus, divisions, functions) for node in nodes
    )
    texts = [_WRITERS[tool](plan) for plan in plans]
    paths = dict.fromkeys(path for found in texts for path in found)
    return tuple(file for path in paths for file in _merge(path, nodes, texts))


def tools(plan: host_plan.Plan) -> tuple[str, ...]:
    """Return the tools that have something to do for a node."""
    return tuple(tool for tool, write in _WRITERS.items() if write(plan))


def besides(plans: Collection[host_plan.Plan]) -> str:
    """Return what nodes need besides kernel arguments, as two lines.

    For tools that write these only; '' for nothing.
    """
    found = {tool for plan in plans for tool in tools(plan)}
    named = [tool for tool in TOOLS if tool in found and tool != _KERNEL]
    if not named:
        return ''
    return (
        'Also needed on the nodes: what gpu node config show prints with '
        f'--for\n{", ".join(named)}.'
    )


def _merge(
    path: str,
    nodes: Sequence[model.Node],
    texts: Sequence[Mapping[str, str]],
) -> list[node_files.File]:
    """Return a file for each text that nodes have at a path."""
    hosts: dict[str, list[str | None]] = {}
    for node, found in zip(nodes, texts, strict=True):
        if path in found:
            hosts.setdefault(found[path], []).append(node.hostname)
    if len(hosts) == 1 and all(path in found for found in texts):
        return [node_files.File(path, next(iter(hosts)))]
    named = [name for names in hosts.values() for name in set(names)]
    if None in named or len(set(named)) < len(named):
        raise ValueError(
            _(
                "%s differs between nodes, which have to have a host name "
                "each: read them with gpu node show -f json"
            )
            % path
        )
    return [
        node_files.File(path, text, hosts=tuple(str(name) for name in names))
        for text, names in hosts.items()
    ]
