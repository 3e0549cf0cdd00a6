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

"""Compute nodes by hand: machines on which all is well, and their parts."""

import dataclasses

from osc_gpu.node import model

GIB = 1 << 30
NO_NOUVEAU = ('nouveau',)
VFIO = ('vfio', 'vfio_iommu_type1', 'vfio_pci')
MANAGER = ('nvidia', 'nvidia_vgpu_vfio', *VFIO)


def change(thing, **changes):
    """Return a dataclass with some of its fields changed."""
    return dataclasses.replace(thing, **changes)


def function(address, ids, class_id='0302', driver='vfio-pci', **more):
    vendor_id, product_id = ids.split(':')
    given = {
        'modules': (),
        'numa_node': 0,
        'iommu_group': str(int(address[5:7], 16)),
        'subsystem_vendor_id': vendor_id,
        'subsystem_product_id': '1234',
        'interface': '00',
    }
    return model.Function(
        address,
        vendor_id,
        product_id,
        class_id,
        driver=driver,
        **(given | more),
    )


def gpu(address, ids, driver='vfio-pci', *, memory=16 * GIB, **more):
    """Return a card, alone in its group but for its companions."""
    given = {
        'group': more.get('companions', ()),
        'bars': (model.Bar(0, 16 << 20, True), model.Bar(1, memory, True)),
        'total_vfs': 0,
        'vfs': (),
        'vgpus': model.Vgpus(),
    }
    of_function = {
        key: more.pop(key)
        for key in ('modules', 'numa_node', 'iommu_group')
        if key in more
    }
    return model.Gpu(
        function(address, ids, driver=driver, **of_function), **(given | more)
    )


def mdev(id_, name, available=1, created=0):
    return model.MdevType(id_, name, available, created)


def vfs(address, ids, count, vgpus, driver='nvidia'):
    """Return VFs of a card, all with the same to tell of vGPUs."""
    slot = address[:-4]
    return tuple(
        model.VirtualFunction(
            function(
                f'{slot}{number // 8:02x}.{number % 8}',
                ids,
                driver=driver,
                iommu_group=f'{int(address[5:7], 16)}{number:02}',
            ),
            vgpus,
        )
        for number in range(4, 4 + count)
    )


def node(*gpus, hostname='gpu1', **more):
    given = {
        'distribution': 'ubuntu-22.04',
        'kernel': '6.5.0-41-generic',
        'command_line': ('quiet', 'intel_iommu=on', 'iommu=pt'),
        'cpu_vendor': 'intel',
        'has_iommu': True,
        'secure_boot': False,
        'loaded': VFIO,
        'blacklisted': NO_NOUVEAU,
        'vfio_ids': (),
    }
    return model.Node(hostname=hostname, gpus=gpus, **(given | more))


def k80(**more):
    """Cards without companions, bound to vfio-pci."""
    cards = (gpu(f'0000:0{bus}:00.0', '10de:102d') for bus in (4, 5))
    return node(*cards, **{'vfio_ids': ('10de:102d',), **more})


def rtx6000(**more):
    """A card of four functions."""
    audio, usb, ucsi = (
        function(f'0000:3d:00.{number}', ids, class_id)
        for number, ids, class_id in (
            (1, '10de:10f7', '0403'),
            (2, '10de:1ad6', '0c03'),
            (3, '10de:1ad7', '0c80'),
        )
    )
    card = gpu('0000:3d:00.0', '10de:1e30', companions=(audio, usb, ucsi))
    return node(card, **{'vfio_ids': ('10de:10f7', '10de:1e30'), **more})


def t4(**more):
    """A card whose vGPUs are on itself."""
    types = (
        mdev('nvidia-222', 'GRID T4-1B'),
        mdev('nvidia-232', 'GRID T4-8C'),
    )
    card = gpu(
        '0000:3b:00.0',
        '10de:1eb8',
        'nvidia',
        total_vfs=16,
        vgpus=model.Vgpus(types),
    )
    return node(card, **{'loaded': MANAGER, **more})


SLICED = (mdev('nvidia-697', 'GRID A100D-40C'),)
MIG = (
    mdev('nvidia-699', 'GRID A100D-1-10C'),
    mdev('nvidia-700', 'GRID A100D-2-20C'),
)


def a100(types=SLICED, mig=None, **more):
    """A card whose vGPUs are mediated devices of its VFs."""
    address, ids = '0000:17:00.0', '10de:20b5'
    card = gpu(
        address,
        ids,
        'nvidia',
        memory=128 * GIB,
        total_vfs=16,
        vfs=vfs(address, ids, 16, model.Vgpus(types)),
        mig=mig,
    )
    return node(card, **{'loaded': MANAGER, **more})


L40S_TYPES = (
    model.VgpuType('1155', 'NVIDIA L40S-24Q'),
    model.VgpuType('1156', 'NVIDIA L40S-48Q'),
)


def l40s(**more):
    """A card whose vGPUs are VFs of the vendor's VFIO driver, all made."""
    address, ids = '0000:4a:00.0', '10de:26b9'
    made = vfs(
        address, ids, 2, model.Vgpus(vendor_types=(), vendor_type='1155')
    )
    full = vfs(address, ids, 32, model.Vgpus(vendor_types=(), vendor_type='0'))
    card = gpu(address, ids, 'nvidia', total_vfs=32, vfs=(*made, *full[2:]))
    system = {'distribution': 'ubuntu-24.04', 'kernel': '6.8.0-51-generic'}
    return node(card, **{'loaded': MANAGER, **system, **more})


def with_gpu(machine, number=0, **changes):
    """Return a node with one of its cards changed."""
    gpus = list(machine.gpus)
    gpus[number] = change(gpus[number], **changes)
    return change(machine, gpus=tuple(gpus))


def with_function(machine, number=0, **changes):
    """Return a node with the function of one of its cards changed."""
    card = machine.gpus[number]
    return with_gpu(machine, number, function=change(card.function, **changes))


def with_companion(machine, number, **changes):
    """Return a node with a companion of its first card changed."""
    card = machine.gpus[0]
    companions = list(card.companions)
    companions[number] = change(companions[number], **changes)
    return with_gpu(
        machine, companions=tuple(companions), group=tuple(companions)
    )


def with_vf(machine, number, **changes):
    """Return a node with a VF of its first card changed."""
    card = machine.gpus[0]
    found = list(card.vfs)
    found[number] = change(found[number], **changes)
    return with_gpu(machine, vfs=tuple(found))


def poorer_than(machine):
    """Yield nodes that tell one fact less."""
    for field in dataclasses.fields(machine):
        if field.name != 'gpus':
            yield change(machine, **{field.name: None})
    for field in dataclasses.fields(model.Gpu):
        if field.default is None:
            yield with_gpu(machine, **{field.name: None})
    for field in dataclasses.fields(model.Function):
        if field.default is None:
            yield with_function(machine, **{field.name: None})
            for number, _c in enumerate(machine.gpus[0].companions):
                yield with_companion(machine, number, **{field.name: None})
    for field in ('is_enabled', 'instances'):
        if machine.gpus[0].mig:
            mig = change(machine.gpus[0].mig, **{field: None})
            yield with_gpu(machine, mig=mig)
