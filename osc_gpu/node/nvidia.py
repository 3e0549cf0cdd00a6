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

"""What NVIDIA's driver tells in files: of MIG, and of vGPUs on VFs.

What the driver tells only to programs that ask it, as nvidia-smi does, is not
told: whether MIG is on while a card has no parts, and the parts' profiles.
"""

import re

from osc_gpu.node import grammar
from osc_gpu.node import model
from osc_gpu.node import roots

_PROC = 'proc/driver/nvidia'


class Driver:
    """The driver's files below ``/proc``."""

    def __init__(self, root: roots.Root) -> None:
        """Look whether it is loaded."""
        self._root = root
        self._gpus = root.at(f'{_PROC}/gpus').names() or frozenset()

    def mig(self, address: str) -> model.Mig | None:
        """Return the parts of a GPU; None if the driver does not have it.

        The driver names a GPU by its device minor where it lists the parts.
        """
        if address not in self._gpus:
            return None
        text = self._root.at(f'{_PROC}/gpus/{address}').text('information')
        found = re.search(
            r'^Device Minor:\s*([0-9]{1,4})\s*$', text or '', re.M
        )
        if found is None:
            return None
        names = self._root.at(
            f'{_PROC}/capabilities/gpu{found[1]}/mig'
        ).names()
        if names is None:
            return None
        if any(re.fullmatch('gi[0-9]+', name) for name in names):
            return model.Mig(is_enabled=True)
        return model.Mig(instances=())


def vgpu_types(
    folder: roots.Folder | None,
) -> tuple[tuple[model.VgpuType, ...] | None, str | None]:
    """Return the vGPU types that a function can have, and which it has.

    ``creatable_vgpu_types`` has a line of headings, then ``1156 : NVIDIA
    L40S-48Q``.
    """
    text = folder.text('creatable_vgpu_types') if folder else None
    if folder is None or text is None:
        return None, None
    lines = re.findall(r'^[ \t]*([0-9]{1,10})[ \t]*:(.*)$', text, re.M)
    types = tuple(
        model.VgpuType(number, name)
        for number, name in ((n, grammar.line(rest)) for n, rest in lines)
        if name is not None
    )
    current = (folder.text('current_vgpu_type') or '').strip()
    return types, current if grammar.NUMBER.fullmatch(current) else None
