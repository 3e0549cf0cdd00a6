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

import pathlib
import re
import tempfile
import unittest

import hypothesis
from hypothesis import strategies as st

from osc_gpu.node import checks
from osc_gpu.node import checks_subject
from osc_gpu.node import facts
from osc_gpu.node import model
from osc_gpu.node import uses
from tests.unit.node import machines
from tests.unit.node import nodes
from tests.unit.node import sound
from tests.unit.node.sound import change
from tests.unit.node.sound import with_companion
from tests.unit.node.sound import with_function
from tests.unit.node.sound import with_gpu
from tests.unit.node.sound import with_vf
from tests.unit.node import strategies

CARD, VGPU, VFIO = uses.PURPOSES
ANY = ''

NIC = sound.function('0000:05:10.0', '8086:1521', '0200', 'igb')
SPARE = change(NIC, driver='')


def words_of(line):
    return tuple(line.split())


def amd(line, **more):
    return sound.k80(cpu_vendor='amd', command_line=words_of(line), **more)


def k80_in_group(*others):
    return with_gpu(sound.k80(), group=others)


def lost(machine, index, **more):
    bar = model.Bar(index, 16 << 30, False)
    return change(with_gpu(machine, bars=(bar,)), **more)


def l40s_without_types(count):
    """Return an L40S with room for a vGPU on the VFs from the third on."""
    machine = sound.l40s()
    for number in range(count, 32):
        machine = with_vf(
            machine,
            number,
            vgpus=model.Vgpus(
                vendor_types=sound.L40S_TYPES[:1], vendor_type='0'
            ),
        )
    return machine


#: Name, purpose, node, what is found, and words of the fix.
FAULTS = (
    (
        'firmware of Intel',
        CARD,
        sound.k80(has_iommu=False),
        ('error', 'iommu', 'gpu1'),
        'Turn on VT-d in the firmware',
    ),
    (
        'firmware of AMD',
        CARD,
        amd('iommu=pt amd_iommu=on', has_iommu=False),
        ('error', 'iommu', 'gpu1'),
        'Turn on AMD-Vi (IOMMU) in the firmware',
    ),
    (
        'firmware, and arguments for later',
        ANY,
        amd('quiet', has_iommu=False),
        ('error', 'iommu', 'gpu1'),
        "AMD-Vi (IOMMU) in the firmware; then: Add the line 'GRUB_CMDLINE_"
        "LINUX=\"$GRUB_CMDLINE_LINUX iommu=pt\"' to /etc/default/grub.d/osc-",
    ),
    (
        'neither argument',
        CARD,
        sound.k80(has_iommu=False, command_line=('quiet',)),
        ('error', 'iommu', 'gpu1'),
        "Put what 'openstack gpu node config show --for grub --alias "
        "gpu=10de:102d' prints in /etc/default/grub.d/osc-gpu.cfg, run "
        "update-grub, and reboot; if that does not help: Turn on VT-d",
    ),
    (
        'neither argument, on Rocky',
        CARD,
        sound.k80(
            has_iommu=False, command_line=(), distribution='rocky-9.4'
        ),
        ('error', 'iommu', 'gpu1'),
        "Run grubby --update-kernel=ALL --args='intel_iommu=on iommu=pt', ",
    ),
    (
        'the misspelling of seed 004',
        CARD,
        sound.k80(has_iommu=False, command_line=('iommu_intel=on',)),
        ('error', 'iommu', 'gpu1'),
        "Take iommu_intel=on out of GRUB_CMDLINE_LINUX in /etc/default/grub "
        "or /etc/default/grub.d, put what 'openstack gpu node config show ",
    ),
    (
        'turned off',
        CARD,
        amd('amd_iommu=off', has_iommu=False, distribution='sles-15.6'),
        ('error', 'iommu', 'gpu1'),
        'grub2-mkconfig -o /boot/grub2/grub.cfg',
    ),
    (
        'misspelt, and it may be on',
        CARD,
        sound.k80(has_iommu=True, command_line=words_of('iommu-intel=on')),
        ('warning', 'iommu-argument', 'gpu1'),
        "Take iommu-intel=on out of GRUB_CMDLINE_LINUX in",
    ),
    (
        'misspelt, and it is on',
        CARD,
        sound.k80(command_line=words_of('intel_iommu=yes iommu=pt')),
        ('info', 'iommu-argument', 'gpu1'),
        'Take intel_iommu=yes out of GRUB_CMDLINE_LINUX',
    ),
    (
        'misspelt, with a shell in it',
        CARD,
        sound.k80(
            command_line=('iommu=pt', "iommu_intel=$(id)'\n"),
            distribution='rhel-9.4',
        ),
        ('info', 'iommu-argument', 'gpu1'),
        """--remove-args='iommu_intel=$(id)'"'"'\n', and""",
    ),
    (
        'no iommu=pt',
        ANY,
        sound.k80(command_line=('intel_iommu=on',)),
        ('warning', 'iommu-pt', 'gpu1'),
        "Add the line 'GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX iommu=pt\"'",
    ),
    (
        'no iommu=pt, on another processor',
        ANY,
        sound.k80(command_line=(), cpu_vendor=''),
        ('warning', 'iommu-pt', 'gpu1'),
        "$GRUB_CMDLINE_LINUX iommu.passthrough=1\"' to /etc/default/grub.d/",
    ),
    (
        'nouveau not blacklisted',
        ANY,
        sound.k80(blacklisted=('snd_hda_intel',)),
        ('warning', 'module', 'gpu1'),
        "Write 'blacklist nouveau' and 'options nouveau modeset=0' to "
        "/etc/modprobe.d/osc-gpu.conf, run update-initramfs -u -k all, and",
    ),
    (
        'nouveau not blacklisted, and passthrough',
        CARD,
        sound.k80(blacklisted=('snd_hda_intel',)),
        ('warning', 'module', 'gpu1'),
        "Put what 'openstack gpu node config show --for modprobe --alias "
        "gpu=10de:102d' prints in /etc/modprobe.d/osc-gpu.conf, run update-",
    ),
    (
        'nouveau loaded, though blacklisted',
        VGPU,
        sound.t4(loaded=(*sound.MANAGER, 'nouveau')),
        ('warning', 'module', 'gpu1'),
        "Run 'modprobe -r nouveau'",
    ),
    (
        'nvidia loaded where vfio-pci has all',
        CARD,
        sound.k80(loaded=('nvidia', *sound.VFIO)),
        ('warning', 'module', 'gpu1'),
        "Write 'blacklist nvidia' to /etc/modprobe.d/blacklist-nvidia.conf",
    ),
    (
        'Secure Boot',
        VGPU,
        sound.t4(secure_boot=True, loaded=('kvm',)),
        ('warning', 'secure-boot', 'gpu1'),
        'mokutil --import',
    ),
    (
        'no NUMA node for one',
        ANY,
        with_function(sound.k80(), 1, numa_node=-1),
        ('warning', 'numa', '0000:05:00.0'),
        'Update the firmware',
    ),
    (
        'no room for memory',
        ANY,
        lost(sound.k80(), 1),
        ('error', 'memory-regions', '0000:04:00.0'),
        "firmware; if that does not help: Add the line 'GRUB_CMDLINE_LINUX="
        "\"$GRUB_CMDLINE_LINUX pci=realloc\"' to",
    ),
    (
        'no room for memory, with pci=realloc',
        CARD,
        lost(
            sound.k80(),
            1,
            command_line=words_of('intel_iommu=on iommu=pt pci=realloc'),
        ),
        ('error', 'memory-regions', '0000:04:00.0'),
        "Turn on 'Above 4G Decoding' in the firmware",
    ),
    (
        'no room for memory of VFs',
        VGPU,
        lost(sound.a100(), 8),
        ('error', 'memory-regions', '0000:17:00.0'),
        'pci=realloc',
    ),
    (
        'nouveau',
        ANY,
        with_function(sound.k80(), driver='nouveau'),
        ('error', 'driver', '0000:04:00.0'),
        "Write 'blacklist nouveau'",
    ),
    (
        'the host has the only card',
        CARD,
        with_function(sound.rtx6000(vfio_ids=()), driver='nvidia'),
        ('error', 'driver', '0000:3d:00.0'),
        'For each <tool> of grub, modprobe, udev, dracut, vfio: put what '
        "'openstack gpu node config show --for <tool> --alias gpu=10de:1e30' "
        'prints where its first line says; then run update-grub, run update-'
        'initramfs -u -k all, and reboot',
    ),
    (
        'nouveau has the only card, on CentOS',
        CARD,
        with_function(
            sound.rtx6000(
                distribution='centos-8',
                command_line=words_of(
                    'intel_iommu=on iommu=pt vfio_pci.ids=1002:1'
                ),
                vfio_ids=('1002:0001',),
            ),
            driver='nouveau',
        ),
        ('error', 'driver', '0000:3d:00.0'),
        "; then run grubby --update-kernel=ALL --remove-args=vfio_pci.ids="
        "1002:1, run bash kernel-arguments.sh, run dracut --force",
    ),
    (
        'the host has one of two alike',
        CARD,
        with_function(sound.k80(), driver='nvidia'),
        ('warning', 'same-ids', '0000:04:00.0'),
        "'driverctl set-override 0000:04:00.0 vfio-pci'",
    ),
    (
        'vfio-pci has not taken it',
        CARD,
        with_function(sound.k80(), driver=''),
        ('warning', 'driver', '0000:04:00.0'),
        "For each <tool> of grub, modprobe, dracut, vfio: put what",
    ),
    (
        'nvidia may take it',
        CARD,
        with_function(
            sound.k80(vfio_ids=(), blacklisted=('nouveau', 'nvidia_drm')),
            driver='',
            modules=('nouveau', 'snd_hda_intel'),
        ),
        ('warning', 'driver', '0000:04:00.0'),
        '--alias gpu=10de:102d',
    ),
    (
        'other ids for vfio-pci in a file of modprobe',
        CARD,
        with_function(
            sound.node(sound.k80().gpus[0], vfio_ids=('1002:0001',)),
            driver='nvidia',
        ),
        ('error', 'driver', '0000:04:00.0'),
        "then take 'options vfio-pci ids=...' out of other files of "
        "/etc/modprobe.d, run",
    ),
    (
        'audio',
        CARD,
        with_companion(sound.rtx6000(), 0, driver='snd_hda_intel'),
        ('error', 'companion', '0000:3d:00.1'),
        "--for udev --alias gpu=10de:1e30' prints in /etc/udev/rules.d/99-",
    ),
    (
        'audio in a group of its own',
        CARD,
        with_companion(
            sound.rtx6000(), 0, driver='snd_hda_intel', iommu_group='99'
        ),
        ('warning', 'companion', '0000:3d:00.1'),
        "'echo 1 > /sys/bus/pci/devices/0000:3d:00.1/remove'",
    ),
    (
        'USB',
        CARD,
        with_companion(sound.rtx6000(), 1, driver='xhci_hcd'),
        ('error', 'companion', '0000:3d:00.2'),
        "Put what 'openstack gpu node config show --for udev --alias "
        "gpu=10de:1e30' prints in /etc/udev/rules.d/99-osc-gpu.rules, and "
        "run 'echo 1 > "
        "/sys/bus/pci/devices/0000:3d:00.2/remove'",
    ),
    (
        'UCSI',
        CARD,
        with_companion(sound.rtx6000(), 2, driver='nvidia-gpu'),
        ('error', 'companion', '0000:3d:00.3'),
        "'echo 1 > /sys/bus/pci/devices/0000:3d:00.3/remove'",
    ),
    (
        'a companion nobody has',
        CARD,
        with_companion(sound.rtx6000(), 2, driver='', modules=None),
        ('warning', 'companion', '0000:3d:00.3'),
        "'echo 1 > /sys/bus/pci/devices/0000:3d:00.3/remove'",
    ),
    (
        'a group with a network card',
        CARD,
        k80_in_group(NIC),
        ('error', 'group', '0000:04:00.0'),
        'Turn on ACS',
    ),
    (
        'a group with another card',
        CARD,
        k80_in_group(sound.k80().gpus[1].function),
        ('error', 'group', '0000:04:00.0'),
        'Turn on ACS',
    ),
    (
        'a group with what nobody uses',
        CARD,
        k80_in_group(SPARE),
        ('warning', 'group', '0000:04:00.0'),
        'Turn on ACS',
    ),
    (
        'VFs, and passthrough',
        CARD,
        sound.a100(),
        ('error', 'vfs', '0000:17:00.0'),
        "'/usr/lib/nvidia/sriov-manage -d 0000:17:00.0' while no server has",
    ),
    (
        'a vGPU, and passthrough',
        CARD,
        with_gpu(
            sound.t4(),
            vgpus=model.Vgpus(
                (sound.mdev('nvidia-232', 'GRID T4-8C', 1, 1),)
            ),
        ),
        ('error', 'vgpus', '0000:3b:00.0'),
        "'mdevctl stop --uuid <uuid>'",
    ),
    (
        'MIG, and passthrough',
        CARD,
        with_gpu(sound.k80(), mig=model.Mig(is_enabled=True)),
        ('warning', 'mig', '0000:04:00.0'),
        "'nvidia-smi -i 0000:04:00.0 -mig 0'",
    ),
    (
        'another board',
        CARD,
        with_function(sound.k80(), subsystem_product_id='106c'),
        ('warning', 'mixed', 'gpu1'),
        'resource_class',
    ),
    (
        'less memory',
        CARD,
        with_gpu(sound.k80(), bars=(model.Bar(1, 8 << 30, True),)),
        ('warning', 'mixed', 'gpu1'),
        'resource_class',
    ),
    (
        'vfio-pci where vGPUs are wanted',
        VGPU,
        with_function(
            sound.t4(
                command_line=words_of(
                    'intel_iommu=on iommu=pt vfio-pci.ids=10de:1eb8'
                )
            ),
            driver='vfio-pci',
        ),
        ('error', 'driver', '0000:3b:00.0'),
        'Take vfio-pci.ids=10de:1eb8 out of GRUB_CMDLINE_LINUX',
    ),
    (
        'vfio-pci by a file of modprobe',
        VFIO,
        with_function(
            sound.l40s(vfio_ids=('10de:26b9',)), driver='vfio-pci'
        ),
        ('error', 'driver', '0000:4a:00.0'),
        'Take 10de:26b9 out of the ids',
    ),
    (
        'vfio-pci by an override',
        VFIO,
        with_function(sound.l40s(), driver='vfio-pci'),
        ('error', 'driver', '0000:4a:00.0'),
        "Run 'driverctl unset-override 0000:4a:00.0', or take away the udev",
    ),
    (
        'nouveau where vGPUs are wanted',
        VGPU,
        with_function(sound.t4(), driver='nouveau'),
        ('error', 'driver', '0000:3b:00.0'),
        "and reboot; Run 'apt install ./nvidia-vgpu-ubuntu-<version>_amd64",
    ),
    (
        'no driver where vGPUs are wanted',
        VGPU,
        with_function(sound.t4(distribution='rhel-9.4'), driver=''),
        ('error', 'driver', '0000:3b:00.0'),
        "Run 'dnf install ./NVIDIA-vGPU-rhel-<version>.x86_64.rpm'",
    ),
    (
        'a driver without the manager',
        VGPU,
        with_gpu(sound.t4(loaded=('nvidia',)), vgpus=model.Vgpus()),
        ('error', 'driver', '0000:3b:00.0'),
        'nvidia-vgpu-ubuntu',
    ),
    (
        'a card of AMD where vGPUs are wanted',
        VGPU,
        sound.node(sound.gpu('0000:05:00.0', '1002:74a1', 'amdgpu')),
        ('error', 'no-vgpus', '0000:05:00.0'),
        "'openstack gpu node check --for passthrough'",
    ),
    (
        'a card that the table lacks',
        VFIO,
        with_gpu(sound.node(sound.k80().gpus[0]), bars=()),
        ('warning', 'no-vgpus', '0000:04:00.0'),
        '; then check again',
    ),
    (
        'a card that the table lacks, and its driver too',
        VGPU,
        with_gpu(
            with_function(
                sound.node(
                    sound.k80().gpus[0], loaded=('nvidia', 'nvidia_vgpu_vfio')
                ),
                driver='nvidia',
            ),
            bars=(),
            vgpus=model.Vgpus(),
        ),
        ('error', 'no-vgpus', '0000:04:00.0'),
        "'openstack gpu node check --for passthrough'",
    ),
    (
        'a card for games',
        VGPU,
        sound.node(sound.gpu('0000:42:00.0', '10de:1b80', 'nvidia')),
        ('error', 'no-vgpus', '0000:42:00.0'),
        "'openstack gpu node check --for passthrough'",
    ),
    (
        'mdev asked for, vendor VFIO there',
        VGPU,
        sound.l40s(),
        ('error', 'vendor-vfio', '0000:4a:00.0'),
        'gpu node check --for vfio-vgpu',
    ),
    (
        'vendor VFIO asked for, mdev there',
        VFIO,
        sound.a100(),
        ('error', 'mdev', '0000:17:00.0'),
        'enabled_mdev_types',
    ),
    (
        'neither there',
        VFIO,
        with_gpu(
            sound.a100(),
            vfs=sound.vfs('0000:17:00.0', '10de:20b5', 16, model.Vgpus()),
        ),
        ('error', 'mdev', '0000:17:00.0'),
        '--for vgpu',
    ),
    (
        'neither there with a kernel for the one',
        VFIO,
        with_gpu(
            sound.l40s(),
            vfs=sound.vfs('0000:4a:00.0', '10de:26b9', 32, model.Vgpus()),
        ),
        ('error', 'vendor-vfio', '0000:4a:00.0'),
        'nvidia-vgpu-ubuntu',
    ),
    (
        'a kernel for the other, and no driver that tells',
        VGPU,
        with_gpu(
            with_function(sound.l40s(), driver='vfio-pci'), vfs=(), vgpus=None
        ),
        ('error', 'vendor-vfio', '0000:4a:00.0'),
        '--for vfio-vgpu',
    ),
    (
        'no mdev types',
        VGPU,
        with_gpu(sound.t4(), vgpus=model.Vgpus()),
        ('error', 'mdev-types', '0000:3b:00.0'),
        'displaymodeselector',
    ),
    (
        'no VFs',
        VGPU,
        with_gpu(sound.a100(), vfs=()),
        ('error', 'vfs', '0000:17:00.0'),
        "'/usr/lib/nvidia/sriov-manage -e 0000:17:00.0'",
    ),
    (
        'no SR-IOV',
        VFIO,
        with_gpu(sound.l40s(), vfs=(), total_vfs=0),
        ('error', 'vfs', '0000:4a:00.0'),
        'Turn on SR-IOV in the firmware',
    ),
    (
        'fewer VFs',
        VGPU,
        with_gpu(sound.a100(), total_vfs=20),
        ('warning', 'vfs', '0000:17:00.0'),
        'sriov-manage',
    ),
    (
        'no type',
        VFIO,
        l40s_without_types(0),
        ('error', 'vgpu-type', '0000:4a:00.0'),
        "'echo 1155 > /sys/bus/pci/devices/0000:4a:00.4/nvidia/"
        "current_vgpu_type' for one of the types: 1155 (NVIDIA L40S-24Q); "
        'and have that run at each boot: openstack gpu node config show '
        '--for systemd --vgpu-type <name>=0000:4a:00.4',
    ),
    (
        'room for more',
        VFIO,
        l40s_without_types(1),
        ('info', 'vgpu-type', '0000:4a:00.0'),
        '0000:4a:00.5/nvidia',
    ),
    (
        'a VF at vfio-pci',
        VFIO,
        with_vf(
            sound.l40s(),
            0,
            function=sound.function('0000:4a:00.4', '10de:26b9'),
        ),
        ('error', 'driver', '0000:4a:00.4'),
        "'driverctl set-override 0000:4a:00.4 nvidia'",
    ),
    (
        'VFs in one group',
        VFIO,
        with_vf(
            sound.l40s(),
            0,
            function=sound.function(
                '0000:4a:00.4', '10de:26b9', driver='nvidia',
                iommu_group='7405',
            ),
        ),
        ('error', 'group', '0000:4a:00.0'),
        'ACS',
    ),
    (
        'time-sliced in MIG',
        ANY,
        sound.a100(mig=model.Mig(is_enabled=True)),
        ('error', 'mig-types', '0000:17:00.0'),
        '-mig 0',
    ),
    (
        'MIG types without MIG',
        VGPU,
        sound.a100(sound.MIG, mig=model.Mig(is_enabled=False)),
        ('error', 'mig-types', '0000:17:00.0'),
        "'nvidia-smi -i 0000:17:00.0 -mig 1'",
    ),
    (
        'MIG without instances',
        VGPU,
        sound.a100(
            (sound.mdev('nvidia-699', 'GRID A100D-1-10C', available=0),),
            mig=model.Mig(is_enabled=True, instances=()),
        ),
        ('error', 'mig', '0000:17:00.0'),
        '-cgi',
    ),
)  # fmt: skip

WELL = (
    (CARD, sound.k80()),
    (CARD, sound.rtx6000()),
    (VGPU, sound.t4()),
    (VGPU, sound.a100()),
    (VGPU, sound.a100(sound.MIG, model.Mig(True, ('1g.10gb', '2g.20gb')))),
    (VFIO, sound.l40s()),
    # The kernel turns it on by itself.
    (CARD, sound.k80(command_line=('iommu=pt',))),
    (CARD, amd('iommu=pt')),
    (CARD, sound.k80(command_line=words_of('quiet iommu.passthrough=1'))),
    # Removed, which udev does; blacklisted, as seed 004 has it.
    (CARD, with_gpu(sound.rtx6000(), companions=(), group=())),
    (
        CARD,
        with_companion(
            sound.rtx6000(blacklisted=('nouveau', 'snd_hda_intel')),
            0,
            driver='',
            modules=('snd_hda_intel',),
        ),
    ),
    # Libvirt binds vfio-pci; nothing else would.
    (CARD, with_function(sound.k80(vfio_ids=()), driver='')),
    # A T4 needs no IOMMU for vGPUs, and its VFs no room.
    (VGPU, sound.t4(has_iommu=False)),
    (VGPU, lost(sound.t4(), 8)),
    (CARD, lost(sound.k80(), 8)),
    # No NUMA at all; a BIOS; signed modules.
    (
        CARD,
        with_function(
            with_function(sound.k80(), numa_node=-1), 1, numa_node=-1
        ),
    ),
    (VGPU, sound.t4(secure_boot=None)),
    (VGPU, sound.t4(secure_boot=True)),
    # What shows the console is not for servers.
    (
        CARD,
        sound.node(
            sound.gpu('0000:00:02.0', '8086:3e9b', 'i915'),
            *sound.k80().gpus,
            vfio_ids=('10de:102d',),
        ),
    ),
    # VFs of AMD's cards are what servers get.
    (
        CARD,
        sound.node(
            sound.gpu(
                '0000:05:00.0',
                '1002:74a1',
                'gim',
                total_vfs=1,
                vfs=sound.vfs(
                    '0000:05:00.0', '1002:74b5', 1, None, 'vfio-pci'
                ),
            )
        ),
    ),
)


def found(machine, purpose, *addresses):
    return [
        (f.severity, f.check, f.subject)
        for f in checks.check(machine, purpose, addresses)
    ]


class TestChecks(unittest.TestCase):
    maxDiff = None

    def test_all_is_well(self):
        for number, (purpose, machine) in enumerate(WELL):
            with self.subTest(number):
                self.assertEqual((), checks.check(machine, purpose))
                self.assertEqual((), checks.check(machine))

    def test_one_fault_each(self):
        for name, purpose, machine, right, fix in FAULTS:
            with self.subTest(name):
                results = checks.check(machine, purpose)
                self.assertEqual(
                    [right],
                    [(f.severity, f.check, f.subject) for f in results],
                )
                self.assertIn(fix, results[0].repair)
                self.assertTrue(results[0].detail)

    def test_a_card_whose_vgpus_are_on_no_vf(self):
        (finding, *_others) = checks.check(recorded('t4-no-iommu'), VFIO)
        self.assertEqual('mdev', finding.check)
        self.assertIn('with any kernel', finding.detail)

    def test_articles(self):
        """A name may begin with any sound."""
        machine = sound.node(sound.gpu('0000:05:00.0', '1002:74a1', 'amdgpu'))
        (finding,) = checks.check(machine, VGPU)
        self.assertRegex(finding.detail, '^no vGPU type of this.*: AMD ')

    def test_why_there_is_no_iommu(self):
        for line, words in (
            ('iommu_intel=on', 'it does not know iommu_intel=on, which'),
            ('intel_iommu=off', 'intel_iommu=off turns it off'),
            ('iommu=off iommu_intel=on', ': iommu=off turns it off'),
            ('amd_iommu=off', 'intel_iommu=on is not among its arguments'),
            ('intel_iommu=on', 'it is off in the firmware'),
        ):
            machine = sound.k80(has_iommu=False, command_line=words_of(line))
            with self.subTest(line):
                (finding,) = checks.check(machine)
                self.assertIn(words, finding.detail)

    def test_vgpus_that_servers_may_have(self):
        """All else has to wait, and the VFs go with them."""
        results = checks.check(recorded('a100-mig'), CARD)
        said = {
            (f.subject, f.check): f.detail
            for f in results
            if f.severity == 'error'
        }
        vfs = 'it has VFs, and a card is passed whole without them'
        made = ' vGPUs are made on it, and servers may have them'
        self.assertEqual(
            {
                ('0000:17:00.0', 'vgpus'): f'4{made}',
                ('0000:17:00.0', 'vfs'): vfs,
                ('0000:65:00.0', 'vgpus'): f'2{made}',
                ('0000:65:00.0', 'vfs'): vfs,
            },
            said,
        )
        vgpus, vfs = (
            next(f for f in checks.check(sound.l40s(), CARD) if f.check == c)
            for c in ('vgpus', 'vfs')
        )
        self.assertIn('2 vGPUs', vgpus.detail)
        self.assertIn('current_vgpu_type', vgpus.repair)
        self.assertIn('sriov-manage -d 0000:4a:00.0', vfs.repair)

    def test_long_lists(self):
        names = [f'n{number}' for number in range(5)]
        self.assertEqual('n0, n1, n2, n3', checks_subject.some(names[:4]))
        self.assertEqual('n0, n1, n2 and 2 more', checks_subject.some(names))
        self.assertEqual('n0, n1', checks_subject.some(['n0', 'n1', 'n0']))

    def test_lines(self):
        for name, purpose, machine, _right, _fix in FAULTS:
            for f in checks.check(machine, purpose):
                with self.subTest(name):
                    self.assertTrue(f.detail.isprintable())
                    self.assertFalse(f.detail.endswith('.'))
                    self.assertFalse(f.repair.endswith('.'))
                    self.assertRegex(f.repair, '^[A-Z]')

    def test_only_some(self):
        machine = with_function(sound.k80(), driver='nouveau')
        self.assertEqual([], found(machine, ANY, '0000:05:00.0'))
        self.assertEqual(
            [('error', 'driver', '0000:04:00.0')],
            found(machine, ANY, '0000:04:00.0'),
        )

    def test_a_processors_own_if_named(self):
        machine = sound.node(sound.gpu('0000:00:02.0', '8086:3e9b', 'i915'))
        self.assertEqual([], found(machine, CARD))
        self.assertEqual(
            [('error', 'driver', '0000:00:02.0')],
            found(machine, CARD, '0000:00:02.0'),
        )


class TestConsole(unittest.TestCase):
    def test_the_only_model(self):
        machine = with_function(
            with_gpu(sound.rtx6000(), is_console=True), driver='nouveau'
        )
        self.assertEqual(
            [
                ('error', 'driver', '0000:3d:00.0'),
                ('warning', 'console', '0000:3d:00.0'),
            ],
            found(machine, CARD),
        )
        self.assertNotIn(
            'console', [check for _s, check, _ in found(machine, ANY)]
        )

    def test_beside_another(self):
        """It stays with the host, and so do its ids."""
        machine = sound.node(
            sound.gpu('0000:01:00.0', '10de:1cb3', 'nouveau', is_console=True),
            sound.gpu('0000:3b:00.0', '10de:1eb8', 'nvidia'),
        )
        console, driver = checks.check(machine, CARD)
        self.assertEqual(
            ('warning', 'console', '0000:01:00.0'),
            (console.severity, console.check, console.subject),
        )
        self.assertIn('it goes dark when vfio-pci takes it', console.detail)
        self.assertIn('--address 0000:01:00.0', console.repair)
        self.assertEqual('0000:3b:00.0', driver.subject)
        self.assertIn('10de:1eb8', driver.repair)
        self.assertNotIn('10de:1cb3', driver.repair)
        self.assertEqual(
            [
                ('error', 'driver', '0000:01:00.0'),
                ('warning', 'console', '0000:01:00.0'),
            ],
            found(machine, CARD, '0000:01:00.0'),
        )

    def test_dark_already(self):
        machine = with_gpu(sound.rtx6000(), is_console=True)
        self.assertEqual([], found(machine, CARD))


class TestUnknown(unittest.TestCase):
    def test_lspci(self):
        """Only ids: nothing is wrong, and nothing is well."""
        bare = model.Node(
            gpus=tuple(
                model.Gpu(model.Function(f'0000:0{n}:00.0', '10de', '102d'))
                for n in range(8)
            )
        )
        for purpose in (ANY, *uses.PURPOSES):
            with self.subTest(purpose):
                (finding,) = checks.check(bare, purpose)
                self.assertEqual(
                    ('info', 'unknown', 'this node'),
                    (finding.severity, finding.check, finding.subject),
                )
                self.assertIn('whether there is an IOMMU', finding.detail)
                self.assertEqual(
                    purpose == CARD, 'IOMMU groups' in finding.detail
                )
                self.assertEqual(
                    purpose in (VGPU, VFIO), 'vGPU' in finding.detail
                )
                self.assertIn('--from node.json', finding.repair)

    def test_each(self):
        for name, machine, word in (
            ('has_iommu', sound.k80(has_iommu=None), 'an IOMMU'),
            ('command_line', sound.k80(command_line=None), 'arguments'),
            ('loaded', sound.k80(loaded=None), 'modules'),
            ('blacklisted', sound.k80(blacklisted=None), 'modprobe'),
            ('vfio_ids', sound.k80(vfio_ids=None), 'modprobe'),
            ('driver', with_function(sound.k80(), driver=None), 'drivers'),
            ('group', with_gpu(sound.k80(), group=None), 'IOMMU groups'),
            ('bars', with_gpu(sound.k80(), bars=None), 'memory regions'),
            ('numa', with_function(sound.k80(), numa_node=None), 'NUMA'),
        ):
            with self.subTest(name):
                (finding,) = checks.check(machine, CARD)
                self.assertEqual('unknown', finding.check)
                self.assertRegex(finding.detail, f': [^,]*{word}[^,]*$')

    def test_a_fact_less(self):
        """Of a machine on which all is well, one fact less is no fault."""
        for number, (purpose, machine) in enumerate(WELL):
            for poorer in sound.poorer_than(machine):
                with self.subTest(number):
                    checked = checks.check(poorer, purpose)
                    self.assertLessEqual(
                        {f.check for f in checked}, {'unknown'}
                    )

    def test_what_was_not_asked_for(self):
        """A machine without UEFI has no Secure Boot, and says so."""
        for machine in (
            sound.k80(secure_boot=None),
            sound.k80(distribution=None, kernel=None),
            with_gpu(sound.k80(), mig=None, vgpus=None, vfs=None),
            with_gpu(sound.k80(), mig=model.Mig(), total_vfs=None),
            sound.k80(cpu_vendor=None),
        ):
            self.assertEqual((), checks.check(machine, CARD))

    def test_partly_seen(self):
        """What is seen is judged, whatever else is not."""
        machine = with_vf(l40s_without_types(0), 31, vgpus=None)
        self.assertEqual(
            [
                ('error', 'vgpu-type', '0000:4a:00.0'),
                ('info', 'unknown', 'gpu1'),
            ],
            found(machine, VFIO),
        )
        card = sound.gpu('0000:05:00.0', '1002:74a1', 'amdgpu')
        machine = with_gpu(sound.node(card), vfs=None, total_vfs=None)
        (finding,) = checks.check(machine, CARD)
        self.assertRegex(finding.detail, ': VFs$')

    def test_processor(self):
        (finding,) = checks.check(
            sound.k80(cpu_vendor=None, has_iommu=False, command_line=())
        )
        self.assertIn('VT-d or AMD-Vi', finding.repair)
        self.assertIn('intel_iommu=on iommu=pt', finding.repair)
        self.assertNotIn('in the firmware', finding.detail)

    def test_hostile_names(self):
        machine = with_function(
            sound.k80(hostname='x\x1b[31m\n' * 99, blacklisted=()),
            driver='nv\nid\x07ia' * 99,
        )
        for finding in checks.check(machine, VGPU):
            self.assertTrue(finding.subject.isprintable())
            self.assertTrue(finding.detail.isprintable())
            self.assertLess(len(finding.detail), 300)


#: What is wrong with the recorded machines, by what they are for.
RECORDED = {
    ('k80', CARD): [],
    ('p100', CARD): [],
    ('a100-sriov', VGPU): [('error', 'vfs', '0000:65:00.0')],
    ('a100-mig', VGPU): [],
    ('l40s', VFIO): [('error', 'vgpu-type', '0000:b1:00.0')],
    ('rtx6000', CARD): [
        ('error', 'driver', '0000:3d:00.0'),
        ('error', 'companion', '0000:3d:00.1'),
        ('error', 'companion', '0000:3d:00.2'),
        ('error', 'companion', '0000:3d:00.3'),
        ('warning', 'iommu-pt', 'gpu-rtx-1'),
    ],
    ('gtx1080', CARD): [
        ('error', 'group', '0000:42:00.0'),
        ('warning', 'iommu-pt', 'gpu-cloud-7'),
    ],
    ('h100-domain1', CARD): [],
    ('h100-domain1', VGPU): [('error', 'vendor-vfio', '0001:01:00.0')],
    ('t4-no-iommu', VGPU): [
        ('error', 'driver', '0000:3b:00.0'),
        ('error', 'driver', '0000:d8:00.0'),
        ('error', 'memory-regions', '0000:d8:00.0'),
        ('warning', 'secure-boot', 't4-1'),
    ],
}  # fmt: skip


def recorded(name):
    with tempfile.TemporaryDirectory() as folder:
        return facts.read(machines.build(name, pathlib.Path(folder)))


class TestRecorded(unittest.TestCase):
    maxDiff = None

    def test_recorded(self):
        for (name, purpose), right in RECORDED.items():
            with self.subTest(name):
                self.assertEqual(right, found(recorded(name), purpose))

    def test_amd(self):
        results = found(recorded('mi300x'), CARD)
        self.assertEqual(8, len(results))
        self.assertEqual(
            {('error', 'driver')},
            {(severity, c) for severity, c, _ in results},
        )


class TestAny(unittest.TestCase):
    @hypothesis.given(strategies.NODES, st.sampled_from((ANY, *uses.PURPOSES)))
    def test_never_raises(self, machine, purpose):
        for finding in checks.check(machine, purpose):
            text = (finding.subject, finding.check, finding.detail)
            self.assertTrue(all(text), finding)
            self.assertTrue(''.join(text).isprintable(), finding)
            self.assertTrue(finding.repair, finding)


class TestFixes(unittest.TestCase):
    """What a fix must not do to other cards of the host."""

    def fix(self, machine, address, check):
        results = checks.check(machine, CARD, [address])
        return next(f.repair for f in results if f.check == check)

    def test_same_ids_elsewhere(self):
        machine = sound.node(
            *(
                sound.gpu(f'0000:0{bus}:00.0', '10de:102d', 'nvidia')
                for bus in (4, 5)
            )
        )
        self.assertEqual(
            "Run 'driverctl set-override 0000:05:00.0 vfio-pci'",
            self.fix(machine, '0000:05:00.0', 'driver'),
        )

    def test_same_companion_elsewhere(self):
        one = sound.rtx6000(vfio_ids=()).gpus[0]
        companions = tuple(
            change(c, address=f'0000:3e:00.{n}')
            for n, c in enumerate(one.companions, 1)
        )
        two = sound.gpu('0000:3e:00.0', '10de:1e89', companions=companions)
        machine = sound.node(change(
            one,
            function=change(one.function, driver='nouveau'),
            companions=tuple(
                change(c, driver='xhci_hcd') for c in one.companions
            ),
        ), two)  # fmt: skip
        fix = self.fix(machine, '0000:3d:00.0', 'driver')
        self.assertIn('--alias gpu=10de:1e30', fix)
        # What follows is that card's alone.
        text = ''.join(
            nodes.files('udev', [machine], ['gpu=10de:1e30']).values()
        )
        self.assertEqual(
            ['0000:3d:00.1', '0000:3d:00.2', '0000:3d:00.3'],
            re.findall('KERNEL=="(.*?)"', text),
        )

    def test_other_distributions(self):
        for distribution, words in (
            ('rocky-9.4', 'run bash kernel-arguments.sh, run dracut --force'),
            ('opensuse-leap-15.6', 'grub2-mkconfig -o /boot/grub2/grub.cfg'),
            (None, 'update-initramfs -u -k all (or dracut --force'),
            ('arch-1', 'update-grub (or grub2-mkconfig'),
            ('debian-12', 'run update-grub, run update-initramfs -u -k all, '),
        ):
            machine = sound.node(
                sound.gpu('0000:04:00.0', '10de:102d', 'nvidia'),
                distribution=distribution,
            )
            with self.subTest(distribution):
                self.assertIn(
                    words, self.fix(machine, '0000:04:00.0', 'driver')
                )
