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

"""Kolla Ansible's overrides of nova.conf.

Every service reads nova.conf of its configuration folder, then that of its
own name, then what is in the folder of its host (ansible/roles/nova-cell,
tasks/config.yml). A later file replaces all values of an option, however many
it has. All of them are templates of Ansible.
"""

from collections.abc import Iterable
from collections.abc import Sequence

from osc_gpu.node import files as node_files
from osc_gpu.node import for_nova
from osc_gpu.node import node_groups
from osc_gpu.node import nova_conf
from osc_gpu.node import wanted

FOLDER = '/etc/kolla/config'

#: Kayobe's doc/source/multiple-environments.rst on its strategies.
_RAW = """\
# Kayobe takes the raw tags away, and what is left is no INI yet: of Kayobe's
# strategies concat, the default, can do with that, and merge_configs cannot.
"""


def files(asked: wanted.Wanted) -> tuple[node_files.File, ...]:
    """Return the overrides, and an inventory of the groups that they name.

    :raises ValueError: nodes of a group differ and have no names
    """
    found = node_groups.groups(asked)
    names = [group.name for group in found]
    return (
        *overrides(asked, found, FOLDER),
        node_files.File(
            'inventory/gpu',
            node_groups.inventory(found, [('compute', names)]),
            node_files.DEPLOYMENT,
        ),
    )


def overrides(
    asked: wanted.Wanted,
    groups: Sequence[node_groups.Group],
    folder: str,
    is_raw: bool = False,
) -> tuple[node_files.File, ...]:
    """Return the overrides of nova.conf below a folder.

    :param is_raw: whether somebody renders them before Kolla Ansible does,
        and has to leave it what depends on the node
    :raises ValueError: nodes of a group differ and have no names
    """
    common = nova_conf.controller(asked)
    texts = {f'{folder}/nova.conf': nova_conf.text(common)}
    by_group = []
    for group in groups:
        if len(group.computes) == 1:
            sections = _without(group.computes[0].sections, common)
            block = (
                f"{{% if inventory_hostname in groups['{group.name}'] %}}\n"
                f'{nova_conf.text(sections)}'
                '{% endif %}\n'
            )
            if is_raw:
                block = f'{{% raw %}}\n{block}{{% endraw %}}\n'
            by_group.append(block)
            continue
        for_nova.check_names(group.computes)
        for computes in group.computes:
            sections = _without(computes.sections, common)
            for host in computes.hosts:
                path = f'{folder}/nova/{host}/nova.conf'
                texts[path] = nova_conf.text(sections)
    if by_group:
        texts[f'{folder}/nova/nova-compute.conf'] = (
            _RAW if is_raw else ''
        ) + '\n'.join(by_group)
    return tuple(
        node_files.File(path, text, node_files.DEPLOYMENT)
        for path, text in texts.items()
        if text
    )


def _without(
    sections: Iterable[nova_conf.Section], common: Iterable[nova_conf.Section]
) -> list[nova_conf.Section]:
    """Return sections without what all services are told already."""
    told = {(s.name, entry) for s in common for entry in s.entries}
    found = []
    for section in sections:
        left = tuple(
            entry
            for entry in section.entries
            if (section.name, entry) not in told
        )
        if left:
            found.append(section._replace(entries=left))
    return found
