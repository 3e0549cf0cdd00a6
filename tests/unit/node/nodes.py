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

"""Nodes for tests of configurations: recorded machines, read once."""

import dataclasses
import functools
import pathlib
import tempfile

from osc_gpu.node import configs
from osc_gpu.node import facts
from osc_gpu.node import lspci
from osc_gpu.node import model
from osc_gpu.node import releases
from osc_gpu.node import wanted
from osc_gpu.node import wanted_vgpus
from tests.unit.node import machines

#: What the Kayobe of the users' own document has, of the machine a100-mig.
KAYOBE_VGPUS = (
    'nvidia-700=0000:17:00.4,0000:17:00.5,0000:17:00.6',
    'nvidia-699=0000:17:00.7',
    'nvidia-697=0000:65:00.4,0000:65:00.5',
)


@functools.cache
def node(name: str) -> model.Node:
    """Return a recorded machine, as its files tell it."""
    with tempfile.TemporaryDirectory() as folder:
        return facts.read(machines.build(name, pathlib.Path(folder, name)))


def told(text: str) -> model.Node:
    """Return a machine of which there is only text of lspci."""
    return lspci.parse(text)


def match(nodes, aliases=(), vgpus=(), release=releases.RELEASES[-1]):
    """Return what options ask of machines, by their names or as they are."""
    return wanted.match(
        [node(n) if isinstance(n, str) else n for n in nodes],
        [wanted.parse_alias(text) for text in aliases],
        [wanted_vgpus.parse(text) for text in vgpus],
        releases.parse(release),
    )


def files(tool, *args, **more):
    """Return path -> text of what a tool is given."""
    asked = match(*args, **more)
    found = {}
    for file in configs.files(tool, asked):
        key = file.path
        if key in found:
            key = ' '.join([file.path, file.reader, *file.hosts])
        found[key] = file.text
    return found


def renamed(name: str, hostname: str | None, **more) -> model.Node:
    """Return a recorded machine by another name."""
    return dataclasses.replace(node(name), hostname=hostname, **more)
