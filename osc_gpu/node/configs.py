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

"""The files of every tool that configures nodes."""

from collections.abc import Callable
from collections.abc import Mapping

from osc_gpu.node import files as node_files
from osc_gpu.node import for_devstack
from osc_gpu.node import for_kayobe
from osc_gpu.node import for_kolla_ansible
from osc_gpu.node import for_nova
from osc_gpu.node import for_tripleo
from osc_gpu.node import host_files
from osc_gpu.node import releases
from osc_gpu.node import wanted
from osc_gpu.node import wanted_notes
from osc_gpu.node import wanted_vgpus

_WRITERS: Mapping[
    str, Callable[[wanted.Wanted], tuple[node_files.File, ...]]
] = {
    'nova': for_nova.files,
    'devstack': for_devstack.files,
    'tripleo': for_tripleo.files,
    'kolla-ansible': for_kolla_ansible.files,
    'kayobe': for_kayobe.files,
}
#: What makes vGPUs, besides Nova.
_MAKERS = ('kayobe', 'systemd')
TOOLS = (*_WRITERS, *host_files.TOOLS)


def newest_release(tool: str) -> releases.Release:
    """Return the newest release that a tool can configure."""
    return for_tripleo.LAST if tool == 'tripleo' else releases.NEWEST


def files(tool: str, asked: wanted.Wanted) -> tuple[node_files.File, ...]:
    """Return the files of a tool.

    :param tool: one of ``TOOLS``
    :raises ValueError: with a sentence: it cannot do what is asked
    """
    if tool in _WRITERS or tool in _MAKERS:
        for offer in asked.offers:
            wanted_vgpus.check_counts(offer.vgpus, tool in _MAKERS)
    if tool in _WRITERS:
        found = _WRITERS[tool](asked)
    else:
        passed = [f for offer in asked.offers for f in offer.passed]
        found = host_files.files(
            tool, asked.nodes, asked.gpus, asked.divisions, passed
        )
    return wanted_notes.noted(found, wanted_notes.of(asked))
