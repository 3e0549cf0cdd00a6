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


"""Units of systemd: what a card has to be told anew at each boot."""

from collections.abc import Mapping
from importlib import resources
import uuid

from osc_gpu.i18n import _
from osc_gpu.node import host_division
from osc_gpu.node import host_plan
from osc_gpu.node import host_udev

_UNITS = '/etc/systemd/system'
_PROGRAMS = '/usr/local/sbin/osc-gpu-'

#: What makes servers on a node: by distributions, DevStack, TripleO, Kolla.
_BEFORE = (
    'libvirtd.service',
    'virtqemud.service',
    'virtnodedevd.service',
    'nova-compute.service',
    'openstack-nova-compute.service',
    'devstack@n-cpu.service',
    'tripleo_nova_compute.service',
    'kolla-nova_compute-container.service',
    'docker.service',
)
#: What NVIDIA's driver knows its vGPU types by.
_AFTER = (
    'systemd-modules-load.service',
    'nvidia-vgpud.service',
    'nvidia-vgpu-mgr.service',
)

#: The same vGPU has the same UUID after each boot, as servers name it.
_NAMESPACE = uuid.UUID('4f1f0a5e-6c58-5e0f-9d11-6a3f1b6f0c27')


def write(plan: host_plan.Plan) -> Mapping[str, str]:
    """Return units and what they run; {} if none are needed."""
    found = {}
    bound = [
        f'{function.address}={function.ids}'
        for function in plan.by_address
        if not host_udev.is_taken_away(plan, function)
    ]
    if bound:
        found[f'{_UNITS}/osc-gpu-vfio.service'] = _unit(
            'GPUs for vfio-pci, by address',
            [f'{_PROGRAMS}vfio {" ".join(bound)}'],
        )
        found[f'{_PROGRAMS}vfio'] = _script('vfio.sh')
    for division in plan.divisions:
        address = division.gpu.address
        steps = _steps(division)
        if steps:
            name = address.replace(':', '-')
            found[f'{_UNITS}/osc-gpu-{name}.service'] = _unit(
                f'Parts of the GPU {address}',
                [f'{_PROGRAMS}divide {step}' for step in steps],
            )
            found[f'{_PROGRAMS}divide'] = _script('divide.sh')
    return found


def _steps(division: host_division.Division) -> list[str]:
    """Return how a GPU is divided, in the only order that works.

    MIG mode resets the card; sriov-manage takes the driver from it, which
    takes its parts away.
    """
    gpu = division.gpu
    address = gpu.address
    has_vfs = any(vgpu.vf is not None for vgpu in division.vgpus) or (
        not division.vgpus and bool(gpu.total_vfs)
    )
    if (has_vfs or division.mig) and (
        gpu.function.vendor_id != host_plan.NVIDIA
    ):
        raise ValueError(
            _("%s is no card of NVIDIA, whose VFs or MIG could be set up")
            % address
        )
    steps = [f'mig {address}'] if division.mig else []
    if has_vfs:
        steps.append(f'vfs {address}')
    if division.mig:
        # The larger a part, the fewer places it fits in.
        parts = sorted(division.mig, key=_slices, reverse=True)
        steps.append(f'parts {address} {",".join(parts)}')
    counts: dict[host_division.Vgpu, int] = {}
    for vgpu in division.vgpus:
        counts[vgpu] = counts.get(vgpu, 0) + 1
        place = '-' if vgpu.vf is None else str(vgpu.vf)
        if vgpu.is_mdev:
            own = f'{address} {place} {vgpu.type}'
            name = uuid.uuid5(_NAMESPACE, f'{own} {counts[vgpu]}')
            steps.append(f'mdev {own} {name}')
        else:
            steps.append(f'vfio {address} {place} {vgpu.type}')
    return steps


def _slices(profile: str) -> int:
    return int(profile.partition('g')[0])


def _unit(description: str, commands: list[str]) -> str:
    return host_plan.text(
        [
            '[Unit]',
            f'Description={description}',
            f'After={" ".join(_AFTER)}',
            f'Before={" ".join(_BEFORE)}',
            '',
            '[Service]',
            'Type=oneshot',
            'RemainAfterExit=yes',
            'TimeoutStartSec=600',
            *(f'ExecStart={command}' for command in commands),
            '',
            '[Install]',
            'WantedBy=multi-user.target',
        ]
    )


def _script(name: str) -> str:
    return (resources.files(__package__) / 'scripts' / name).read_text()
