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

"""nova.conf itself, for controllers and for compute nodes."""

from osc_gpu.i18n import _
from osc_gpu.node import files as node_files
from osc_gpu.node import nova_conf
from osc_gpu.node import wanted

PATH = '/etc/nova/nova.conf'


def files(asked: wanted.Wanted) -> tuple[node_files.File, ...]:
    """Return what to add to nova.conf.

    :raises ValueError: nodes differ and have no names
    """
    found = []
    controller = nova_conf.text(nova_conf.controller(asked))
    if controller:
        found.append(node_files.File(PATH, controller, node_files.CONTROLLER))
    computes = nova_conf.computes(asked)
    for group in computes:
        hosts: tuple[str, ...] = ()
        if len(computes) > 1:
            check_names(computes)
            hosts = group.hosts
        text = nova_conf.text(group.sections)
        found.append(node_files.File(PATH, text, hosts=hosts))
    return tuple(found)


def check_names(computes: tuple[nova_conf.Computes, ...]) -> None:
    """Refuse nodes that need configurations of their own and have no names.

    :raises ValueError: with a sentence that says what to do
    """
    names = [host for group in computes for host in group.hosts]
    if any(not group.has_names for group in computes) or len(set(names)) < len(
        names
    ):
        raise ValueError(
            _(
                "the nodes differ, and not each has a host name of its own: "
                "read them with gpu node show -f json"
            )
        )
