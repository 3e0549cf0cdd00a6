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

"""Groups of nodes by what becomes of their GPUs, for inventories."""

from collections.abc import Sequence
from typing import NamedTuple

from osc_gpu.i18n import _
from osc_gpu.node import nova_conf
from osc_gpu.node import nova_specs
from osc_gpu.node import wanted

PASSTHROUGH = 'compute_gpu'
VGPU = 'compute_vgpu'
MIG = 'compute_multi_instance_gpu'


class Group(NamedTuple):
    """Nodes of one kind.

    :param computes: their configurations; one if they are alike
    """

    name: str
    offers: tuple[wanted.Offer, ...]
    computes: tuple[nova_conf.Computes, ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of the nodes, as far as they are known."""
        return tuple(
            offer.node.hostname for offer in self.offers if offer.node.hostname
        )


def groups(asked: wanted.Wanted) -> tuple[Group, ...]:
    """Return the groups that have nodes.

    :raises ValueError: two nodes have one name
    """
    by_name: dict[str, list[wanted.Offer]] = {}
    hosts = set()
    for offer in asked.offers:
        if offer.is_empty:
            continue
        by_name.setdefault(_name(offer), []).append(offer)
        host = offer.node.hostname
        if host is not None and host in hosts:
            raise ValueError(
                _(
                    "two nodes that differ are called %s: give each a host "
                    "name of its own and read them with gpu node show -f "
                    "json, or leave one out"
                )
                % host
            )
        hosts.add(host)
    return tuple(
        Group(
            name,
            tuple(by_name[name]),
            nova_conf.computes(
                wanted.Wanted(
                    asked.release, asked.aliases, tuple(by_name[name])
                ),
                nova_specs.mdev_classes(asked),
            ),
        )
        for name in (PASSTHROUGH, VGPU, MIG)
        if name in by_name
    )


def inventory(
    found: Sequence[Group], parents: Sequence[tuple[str, Sequence[str]]]
) -> str:
    """Return an inventory in INI form.

    :param parents: groups that have other groups as members
    """
    lines: list[str] = []
    for group in found:
        lines.append(f'[{group.name}]')
        if group.hosts:
            lines += group.hosts
        else:
            lines.append("# The nodes' names, as the inventory has them.")
        lines.append('')
    for parent, children in parents:
        if children:
            lines += [f'[{parent}:children]', *children, '']
    return '\n'.join(lines)


def _name(offer: wanted.Offer) -> str:
    if any(vgpu.type.mig_profile for vgpu in offer.vgpus):
        return MIG
    return VGPU if offer.vgpus else PASSTHROUGH
