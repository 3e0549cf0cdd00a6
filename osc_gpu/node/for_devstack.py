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

"""DevStack's local.conf."""

import re

from osc_gpu.i18n import _
from osc_gpu.node import files as node_files
from osc_gpu.node import local_conf
from osc_gpu.node import nova_conf
from osc_gpu.node import wanted

PATH = 'local.conf'

#: What lib/nova has in NOVA_FILTERS besides Nova's own.
_FILTERS = ('SameHostFilter', 'DifferentHostFilter')
_SAFE = re.compile('(?a:[A-Za-z0-9_.+@-]+(?: [A-Za-z0-9_.+@-]+)*)')


def files(asked: wanted.Wanted) -> tuple[node_files.File, ...]:
    """Return what to add to local.conf: one machine has both roles.

    :raises ValueError: the nodes differ, or an alias has a name that no
        DevStack can bring to nova.conf
    """
    for alias in asked.aliases:
        if not _SAFE.fullmatch(alias.name):
            raise ValueError(
                _(
                    "DevStack cannot write the alias %r: give it a name of "
                    "letters, digits, '_', '.', '+', '@' and '-'"
                )
                % alias.name
            )
    computes = nova_conf.computes(asked)
    if len(computes) > 1:
        raise ValueError(
            _("the nodes differ: DevStack's local.conf is for one at a time")
        )
    sections = nova_conf.merged(
        nova_conf.controller(asked, _FILTERS), computes[0].sections
    )
    text = nova_conf.text(
        nova_conf.Section(
            section.name,
            tuple(
                nova_conf.Entry(entry.name, local_conf.escaped(entry.value))
                for entry in section.entries
            ),
            section.notes,
        )
        for section in sections
    )
    return (
        node_files.File(
            PATH,
            f'[[post-config|$NOVA_CONF]]\n{text}',
            node_files.DEPLOYMENT,
        ),
    )
