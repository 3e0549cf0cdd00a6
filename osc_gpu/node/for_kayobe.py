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

"""Kayobe's configuration, for the roles of the collection stackhpc.linux.

Paths are relative to ``$KAYOBE_CONFIG_PATH``. The role vgpu reads
``vgpu_definitions``, iommu needs nothing but its group, and grubcmdline reads
``kernel_cmdline``. What is below kolla/config Kayobe renders as the machine
that it runs on, and Kolla Ansible then for each node.
"""

import collections
from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

from osc_gpu.i18n import _
from osc_gpu.node import files as node_files
from osc_gpu.node import for_kolla_ansible
from osc_gpu.node import for_nova
from osc_gpu.node import host_files
from osc_gpu.node import host_kernel
from osc_gpu.node import host_plan
from osc_gpu.node import node_groups
from osc_gpu.node import wanted
from osc_gpu.node import wanted_vgpus
from osc_gpu.node import yaml_text

#: Kayobe's own (ansible/inventory/group_vars/all/kolla); who sets the map
#: replaces it.
_TOP_LEVEL = {
    'control': ['controllers'],
    'network': ['network'],
    'compute': ['compute'],
    'monitoring': ['monitoring'],
}
_STORAGE = '{{ kolla_overcloud_inventory_storage_groups }}'
#: Kernel arguments that may be there several times, and add up.
_ADDED = ('modprobe.blacklist', 'pci')
_DIVIDED = (node_groups.MIG, node_groups.VGPU)

#: roles/grubcmdline of stackhpc/ansible-collection-linux; its role iommu has
#: it import with arguments of its own.
_READER = """\
The role stackhpc.linux.grubcmdline reads this: a play for the group iommu
has to import it."""


def files(asked: wanted.Wanted) -> tuple[node_files.File, ...]:
    """Return what belongs below ``$KAYOBE_CONFIG_PATH``.

    :raises ValueError: a card cannot be divided by Kayobe, or nodes of a
        group differ and have no names
    """
    groups = node_groups.groups(asked)
    texts = {'inventory/gpu': _inventory(groups)}
    for group in groups:
        if group.name in _DIVIDED:
            texts |= _by_host(
                group, 'vgpu', [_definitions(o) for o in group.offers], _names
            )
        texts |= _by_host(
            group,
            'kernel',
            [_kernel(asked, o) for o in group.offers],
            functools.partial(_besides, asked),
        )
    texts['kolla.yml'] = yaml_text.dump(_top_level(groups))
    hosts = {group.name: list(group.hosts) for group in groups if group.hosts}
    if hosts:
        texts['overcloud.yml'] = yaml_text.dump(
            {'overcloud_group_hosts_map': hosts}
        )
    return (
        *(
            node_files.File(path, text, node_files.DEPLOYMENT)
            for path, text in texts.items()
        ),
        *for_kolla_ansible.overrides(
            asked, groups, 'kolla/config', is_raw=True
        ),
    )


def _inventory(groups: Sequence[node_groups.Group]) -> str:
    names = [group.name for group in groups]
    divided = [name for name in _DIVIDED if name in names]
    whole = [name for name in names if name not in divided]
    parents = [
        ('compute', names),
        ('vgpu', divided),
        ('iommu', [*whole, *(['vgpu'] if divided else [])]),
    ]
    return node_groups.inventory(groups, parents)


def _by_host(
    group: node_groups.Group,
    name: str,
    contents: Sequence[dict[str, Any]],
    remarks: Callable[[Sequence[wanted.Offer]], str],
) -> dict[str, str]:
    """Return variables of a group, or of each of its hosts if they differ.

    :param remarks: what to say of some of its hosts
    """
    if all(content == contents[0] for content in contents):
        if not contents[0]:
            return {}
        text = yaml_text.dump(contents[0], remarks(group.offers))
        return {f'inventory/group_vars/{group.name}/{name}': text}
    for_nova.check_names(group.computes)
    return {
        f'inventory/host_vars/{offer.node.hostname}/{name}': yaml_text.dump(
            content, remarks([offer])
        )
        for offer, content in zip(group.offers, contents, strict=True)
        if content
    }


def _names(offers: Sequence[wanted.Offer]) -> str:
    """Return the names of types, which nobody knows by their ids."""
    found = {v.type.id: v.type.name for o in offers for v in o.vgpus}
    return '\n'.join(
        f'{type_id} {name}' for type_id, name in sorted(found.items()) if name
    )


def _definitions(offer: wanted.Offer) -> dict[str, Any]:
    found = [
        _definition([v for v in offer.vgpus if v.gpu == gpu])
        for gpu in dict.fromkeys(vgpu.gpu for vgpu in offer.vgpus)
    ]
    return {'vgpu_definitions': found}


def _definition(vgpus: Sequence[wanted_vgpus.Vgpu]) -> dict[str, Any]:
    address = vgpus[0].gpu.address
    functions = []
    for vgpu in vgpus:
        if vgpu.index is None or not vgpu.type.is_mdev:
            raise ValueError(
                _(
                    "%s: Kayobe's role vgpu makes mediated devices on VFs and "
                    "nothing else; use --for kolla-ansible and --for systemd"
                )
                % address
            )
        functions.append({'mdev_type': vgpu.type.id, 'index': vgpu.index})
    found: dict[str, Any] = {
        'pci_address': address,
        'virtual_functions': functions,
    }
    profiles = collections.Counter(
        vgpu.type.mig_profile for vgpu in vgpus if vgpu.type.mig_profile
    )
    if profiles:
        found['mig_devices'] = dict(sorted(profiles.items()))
    return found


def _plan(asked: wanted.Wanted, offer: wanted.Offer) -> host_plan.Plan:
    return host_plan.make(
        offer.node, asked.gpus, asked.divisions, offer.passed
    )


def _besides(asked: wanted.Wanted, offers: Sequence[wanted.Offer]) -> str:
    """Return what reads kernel arguments, and what else whole cards need."""
    # The role vgpu divides the others.
    plans = [
        dataclasses.replace(_plan(asked, offer), divisions=())
        for offer in offers
    ]
    found = [_READER]
    besides = host_files.besides(plans)
    if besides:
        found.append(besides)
    has_units = any('systemd' in host_files.tools(plan) for plan in plans)
    if has_units and any(offer.vgpus for offer in offers):
        found.append(
            'Of the units only osc-gpu-vfio: the role vgpu makes vGPUs.'
        )
    return '\n'.join(found)


def _kernel(asked: wanted.Wanted, offer: wanted.Offer) -> dict[str, Any]:
    """Return kernel arguments, and which ones they replace.

    Where no card is passed through whole, the role iommu has all there is.
    """
    if not offer.passed:
        return {}
    words = host_kernel.all_arguments(_plan(asked, offer))
    if not words:
        return {}
    names = dict.fromkeys(word.partition('=')[0] for word in words)
    return {
        'kernel_cmdline': words,
        'kernel_cmdline_remove': [
            f'^{name.replace(".", "[.]")}='
            for name in names
            if name not in _ADDED
        ],
    }


def _top_level(groups: Sequence[node_groups.Group]) -> dict[str, Any]:
    """Return the map from Kolla Ansible's groups to Kayobe's."""
    names = {group.name: [group.name] for group in groups}
    found: dict[str, Any] = {}
    for name, members in (*_TOP_LEVEL.items(), ('storage', _STORAGE)):
        if name == 'compute':
            found |= {n: {'groups': m} for n, m in names.items()}
        found[name] = {'groups': members}
    return {'kolla_overcloud_inventory_top_level_group_map': found}
