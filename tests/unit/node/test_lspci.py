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

import contextlib
import textwrap
import time
import unittest

import hypothesis
from hypothesis import strategies as st

from osc_gpu.node import gpus
from osc_gpu.node import lspci
from osc_gpu.node import lspci_lines
from osc_gpu.node import model
from osc_gpu.node import records
from tests.unit.node import strategies

K80 = """\
## get GPU device IDs
ubuntu@sas03:~/devstack$ lspci -n | grep a1
04:00.0 0302: 10de:102d (rev a1)
05:00.0 0302: 10de:102d (rev a1)
86:00.0 0302: 10de:102d (rev a1)
87:00.0 0302: 10de:102d (rev a1)

## configure passthrough GPU devices in nova
"""

GTX_980M = """\
   01:00.0 VGA compatible controller [0300]: NVIDIA Corporation GM204M \
[GeForce GTX 980M] [10de:13d7] (rev a1) (prog-if 00 [VGA controller])
   01:00.1 Audio device [0403]: NVIDIA Corporation GM204 High Definition \
Audio Controller [10de:0fbb] (rev a1)
"""

#: As the fourth of the seeds prints it, and what is around it there.
GTX_980M_PAGE = (
    'From the host OS, use ``lspci -nn`` to find the PCI vendor ID and device '
    'ID for the GPU device and supporting components. These are 4-digit hex '
    'numbers. For example: .. code-block:: text 01:00.0 VGA compatible '
    'controller [0300]: NVIDIA Corporation GM204M [GeForce GTX 980M] '
    '[10de:13d7] (rev a1) (prog-if 00 [VGA controller]) 01:00.1 Audio device '
    '[0403]: NVIDIA Corporation GM204 High Definition Audio Controller '
    '[10de:0fbb] (rev a1) In this case the vendor ID is ``10de``, display ID '
    'is ``13d7`` and audio ID is ``0fbb``. Alternatively, for an Nvidia '
    'Quadro RTX 6000: .. code-block:: yaml # NVIDIA Quadro RTX 6000/8000 PCI '
    'device IDs vendor_id: "10de" display_id: "1e30" audio_id: "10f7"'
)

M10 = """\
# lspci -nnk -s 3d:00.0
3d:00.0 VGA compatible controller [0300]: NVIDIA Corporation GM107GL \
[Tesla M10] [10de:13bd] (rev a2)
      Subsystem: NVIDIA Corporation Tesla M10 [10de:1160]
      Kernel driver in use: vfio-pci
      Kernel modules: nouveau
"""

GTX_1080 = """\
Each videocard exposing a two devices in lspci

42:00.0 VGA compatible controller: NVIDIA Corporation Device 1b80 (rev a1)
42:00.1 Audio device: NVIDIA Corporation Device 10f0 (rev a1)
"""

P100 = """\
ssh -l cloud-user -i stack.pem 172.16.0.212 sudo lspci | grep -i nvidia
00:06.0 3D controller: NVIDIA Corporation GP100GL [Tesla P100 PCIe 16GB] \
(rev a1)
"""

VMM = """\
Slot:\t0001:04:00.0
Class:\t3D controller [0302]
Vendor:\tNVIDIA Corporation [10de]
Device:\tGK210GL [Tesla K80] [102d]
SVendor:\tNVIDIA Corporation [10de]
SDevice:\tDevice [106c]
PhySlot:\t4
Rev:\ta1
Driver:\tnvidia
Module:\tnvidiafb
Module:\tnouveau
NUMANode:\t1
IOMMUGroup:\t32

Slot:\t0001:05:00.0
Class:\t0302
Vendor:\t10de
Device:\t102d
Module:\tnouveau
"""

VV = """\
0000:17:00.0 3D controller [0302]: NVIDIA Corporation GA100 [A100 PCIe 80GB] \
[10de:20b5] (rev a1)
\tSubsystem: NVIDIA Corporation Device [10de:1533]
\tControl: I/O- Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr-
\tNUMA node: 1
\tIOMMU group: 40
\tRegion 0: Memory at f6000000 (32-bit, non-prefetchable) [size=16M]
\tRegion 1: Memory at <unassigned> (64-bit, prefetchable) [size=128G]
\tRegion 5: I/O ports at e000 [size=128]
\tCapabilities: [bcc v1] Single Root I/O Virtualization (SR-IOV)
\t\tInitial VFs: 16, Total VFs: 16, Number of VFs: 2, Function Dependency: 00
\t\tRegion 0: Memory at 00000000f8000000 (32-bit, non-prefetchable)
\tKernel driver in use: nvidia
\tKernel modules: nvidia_vgpu_vfio, nvidia

0000:17:00.4 3D controller [0302]: NVIDIA Corporation GA100 [A100 PCIe 80GB] \
[10de:20b5] (rev a1)
\tFlags: bus master, fast devsel, latency 0, NUMA node 1, IOMMU group 44
\tKernel driver in use: nvidia

0000:17:01.0 3D controller [0302]: NVIDIA Corporation GA100 [A100 PCIe 80GB] \
[10de:20b5] (rev a1)

"""


def _joined(text, between=' '):
    """Return a text whose line breaks are lost."""
    return between.join(text.splitlines())


def only(text):
    (gpu,) = lspci.parse(text).gpus
    return gpu


class TestSeeds(unittest.TestCase):
    """What admins have in their notes."""

    def test_numbers(self):
        node = lspci.parse(K80)
        self.assertEqual(
            ['0000:04:00.0', '0000:05:00.0', '0000:86:00.0', '0000:87:00.0'],
            [gpu.address for gpu in node.gpus],
        )
        self.assertEqual(
            model.Gpu(model.Function('0000:04:00.0', '10de', '102d', '0302')),
            node.gpus[0],
        )
        # Nothing else is told.
        self.assertEqual(model.Node(gpus=node.gpus), node)

    def test_names_and_numbers(self):
        gpu = only(GTX_980M)
        self.assertEqual(
            ('10de:13d7', '00'), (gpu.function.ids, gpu.function.interface)
        )
        (audio,) = gpu.companions
        self.assertEqual(('10de:0fbb', '0403'), (audio.ids, audio.class_id))
        self.assertIsNone(gpu.function.driver)
        self.assertIsNone(gpu.is_console)

    def test_drivers(self):
        function = only(M10).function
        self.assertEqual('vfio-pci', function.driver)
        self.assertEqual(('nouveau',), function.modules)
        self.assertEqual(
            ('10de', '1160'),
            (function.subsystem_vendor_id, function.subsystem_product_id),
        )

    def test_a_page_without_line_breaks(self):
        """As the fourth of the seeds has it."""
        record = ' '.join(line.strip() for line in M10.splitlines()[1:])
        self.assertEqual(only(M10), only(record))
        for text in (
            f'.. code-block:: text # lspci -nnk -s 3d:00.0 {record} IOMMU '
            f'should be enabled at 06:19:29.0 too, {"as well " * 9999}',
            f'{record} {record.replace("3d:00", "3e:00")} And so on.',
        ):
            found = [gpu.function for gpu in lspci.parse(text).gpus]
            self.assertEqual(only(M10).function, found[0])
            self.assertEqual('vfio-pci', found[-1].driver)
            self.assertEqual(('nouveau',), found[-1].modules)
            self.assertEqual('1160', found[-1].subsystem_product_id)
            self.assertEqual(text.count('GM107GL'), len(found))
        own = ' '.join(GTX_980M.split())
        node = lspci.parse(f'Run {own} {"and so on " * 999}{record}')
        self.assertEqual((only(GTX_980M), only(M10)), node.gpus)

    def test_names_and_numbers_without_line_breaks(self):
        start = GTX_980M_PAGE.index('01:00.0')
        end = GTX_980M_PAGE.index(' In this case')
        for text in (
            GTX_980M_PAGE,
            GTX_980M_PAGE[start:end],
            GTX_980M_PAGE[:end],
            GTX_980M_PAGE[start:],
            ' '.join(GTX_980M.splitlines()),
        ):
            with self.subTest(text):
                self.assertEqual(only(GTX_980M), only(text))

    def test_numbers_without_line_breaks(self):
        self.assertEqual(lspci.parse(K80), lspci.parse(_joined(K80)))

    def test_names_of_new_cards_without_line_breaks(self):
        self.assertEqual(only(GTX_1080), only(_joined(GTX_1080)))
        with self.assertRaisesRegex(ValueError, 'PCI ids of 0000:00:06.0'):
            lspci.parse(_joined(P100))

    def test_names(self):
        gpu = only(GTX_1080)
        self.assertEqual('10de:1b80', gpu.function.ids)
        self.assertEqual(['10de:10f0'], [f.ids for f in gpu.companions])

    def test_names_without_ids(self):
        with self.assertRaisesRegex(
            ValueError, r'PCI ids of 0000:00:06.0: .*"lspci -nnk -D"'
        ):
            lspci.parse(P100)


class TestForms(unittest.TestCase):
    def test_vmm(self):
        node = lspci.parse(VMM)
        first, second = node.gpus
        self.assertEqual(
            model.Function(
                '0001:04:00.0', '10de', '102d', '0302', None, '10de', '106c',
                'nvidia', ('nouveau', 'nvidiafb'), 1, '32',
            ),
            first.function,
        )  # fmt: skip
        self.assertEqual(
            ('10de:102d', ''), (second.function.ids, second.function.driver)
        )
        self.assertTrue(node.has_iommu)

    def test_verbose(self):
        gpu = only(VV)
        self.assertEqual(
            (
                model.Bar(0, 16 << 20, True),
                model.Bar(1, 128 << 30, False),
            ),
            gpu.bars,
        )
        self.assertEqual(
            (1, '40'), (gpu.function.numa_node, gpu.function.iommu_group)
        )
        self.assertEqual(('nvidia', 'nvidia_vgpu_vfio'), gpu.function.modules)
        self.assertEqual(16, gpu.total_vfs)
        self.assertEqual((), gpu.companions)
        self.assertEqual(
            ['0000:17:00.4', '0000:17:01.0'],
            [vf.function.address for vf in gpu.vfs],
        )
        self.assertEqual('44', gpu.vfs[0].function.iommu_group)

    def test_vfs_of_another_id(self):
        gpu = only(
            '05:00.0 1200: 1002:74a1\n05:02.0 1200: 1002:74b5\n'
            '05:02.1 1200: 1002:74b5\n'
        )
        self.assertEqual(
            ['1002:74b5'] * 2, [vf.function.ids for vf in gpu.vfs]
        )

    def test_guests_bus_is_no_link(self):
        node = lspci.parse('00:00.0 0302: 10de:15f8\n00:07.0 0302: 10de:15f8')
        self.assertEqual(2, len(node.gpus))

    def test_no_driver(self):
        for below, driver in (
            ('', None),
            ('\tKernel modules: nouveau\n', ''),
            ('\tKernel driver in use: nvidia\n', 'nvidia'),
        ):
            function = only(f'04:00.0 0302: 10de:102d\n{below}').function
            self.assertEqual(driver, function.driver)

    def test_lines_between(self):
        gpu = only(
            '04:00.0 0302: 10de:102d\n--\n\tKernel driver in use: nvidia\n'
        )
        self.assertIsNone(gpu.function.driver)

    def test_domains(self):
        node = lspci.parse(
            '10000:e1:00.0 0302: 10de:102d\n0001:01:00.0 0302: 10de:102d\r\n'
        )
        self.assertEqual(
            ['0001:01:00.0', '10000:e1:00.0'], [g.address for g in node.gpus]
        )

    def test_what_is_no_gpu(self):
        for what in (
            'VGA compatible controller [0300]: ASPEED Technology, Inc. '
            'ASPEED Graphics Family [1a03:2000] (rev 41)',
            'VGA compatible controller: ASPEED Technology, Inc. ASPEED '
            'Graphics Family (rev 41)',
            'VGA compatible controller: Matrox Electronics Systems Ltd. '
            'Integrated Matrox G200eW3 Graphics Controller (rev 04)',
            '0300: 102b:0536 (rev 04)',
            '0300: 1af4:1050 (rev 01)',
            # Huawei's management controller, and FPGAs.
            '0300: 19e5:1711 (rev 01)',
            '1200: 10ee:5000',
            '1200: 8086:bcce',
            '0604: 10b5:8747',
        ):
            with self.subTest(what):
                self.assertEqual((), lspci.parse(f'0b:00.0 {what}').gpus)

    def test_newer_than_the_table(self):
        for what in (
            '0302: 10de:fff0', '0300: 10de:fff0', '0302: fff0:0001',
            '1200: fff0:0001', '0380: 1002:fff0',
            '3D controller: Device fff0:0001',
        ):  # fmt: skip
            with self.subTest(what):
                self.assertEqual(1, len(lspci.parse(f'0b:00.0 {what}').gpus))

    def test_second_display_of_a_card(self):
        gpu = only('04:00.0 0300: 1002:fff0\n04:00.1 0380: 1002:fff1\n')
        self.assertEqual(['1002:fff1'], [f.ids for f in gpu.companions])

    def test_unknown_vendor_without_ids(self):
        with self.assertRaisesRegex(ValueError, 'PCI ids of'):
            lspci.parse('0b:00.0 3D controller: Nobody Inc. Device 0001')

    def test_names_of_what_is_elsewhere(self):
        gpu = only(
            GTX_1080
            + '00:1f.0 ISA bridge: Intel Corporation C610/X99 LPC (rev 05)\n'
            '\tKernel driver in use: lpc_ich\n'
        )
        self.assertIsNone(gpu.companions[0].driver)


class TestHostile(unittest.TestCase):
    def test_twice(self):
        with self.assertRaisesRegex(ValueError, 'has 0000:04:00.0 twice'):
            lspci.parse('04:00.0 0302: 10de:102d\n' * 2)
        with self.assertRaisesRegex(ValueError, 'twice'):
            lspci.parse(
                '0000:04:00.0 0302: 10de:102d\n' + textwrap.dedent(K80)
            )

    def test_nothing(self):
        for text in ('', 'hello\n', '04:00.0', 'zz:00.0 0302: 10de:102d'):
            with self.assertRaisesRegex(ValueError, 'has no line of lspci'):
                lspci.parse(text)

    def test_whose_ids_they_are(self):
        """Ids are of a function's own line, or it is refused."""
        head = '01:00.0 VGA compatible controller'
        nvidia = 'NVIDIA Corporation GM204M'
        card = f'{head} [0300]: {nvidia} [10de:13d7]'
        long = 'and so on ' * 60
        for text, words in (
            # What is in its line may be another's.
            (f'{head} [0300]: NVIDIA (01:00.1) Audio [10de:0fbb]', 'another'),
            (f'{head} [0300]: NVIDIA 01:00.1 | Audio [10de:0fbb]', 'another'),
            # Those of a note.
            (f'{head}: {nvidia} (rev a1) See [10de:0fbb]', 'PCI ids of'),
            (f'{head}: {nvidia}, see [10de:0fbb]', 'PCI ids of'),
            (f'{head} [0300]: {nvidia} {long}[10de:0fbb]', 'PCI ids of'),
            (f'{head}: {nvidia} {long * 99}', 'PCI ids of'),
        ):
            with self.subTest(text):
                text += '\n04:00.0 0302: 10de:102d'
                with self.assertRaisesRegex(ValueError, words):
                    lspci.parse(text)
        for more in ('', ' (rev a1)', ' (rev a1) (prog-if 00)', '\t'):
            gpu = only(f'{card}{more} is not [10de:0fbb] or 10de:0fbb')
            self.assertEqual('10de:13d7', gpu.function.ids)

    def test_time_stamps(self):
        table = '| server1 | CREATE_COMPLETE | 2017-10-01T06:19:29Z |\n'
        self.assertEqual('0000:04:00.0', only(
            f'{table}2017-10-01T00:06:19.2 3D controller [0302]: NVIDIA '
            'Corporation Device [10de:15f8] Kernel modules: nouveau\n'
            '04:00.0 0302: 10de:102d\n'
        ).address)  # fmt: skip
        text = '12:01.3 kernel: something\n' * 2 + '04:00.0 0302: 10de:102d'
        self.assertEqual('0000:04:00.0', only(text).address)

    def test_control_characters(self):
        gpu = only(
            '04:00.0 0302: 10de:102d\n\tKernel driver in use: \x1b[31mvfio\n'
            '\tKernel modules: a\x07, nouveau, $(id)\n'
        )
        # One is bound, whatever it is.
        self.assertIsNone(gpu.function.driver)
        self.assertEqual(('nouveau',), gpu.function.modules)

    def test_what_takes_long_to_match(self):
        """A large file of it takes as long as one that makes sense."""
        parts = (
            '04:00.1 ' + 'a: ' * 300, '04:00.1 a: b' + ' [' * 490,
            '04:00.1 a: b' + ' (prog-if 00' * 80, 'Slot:\t' + ' ' * 1000 + 'x',
            'Region 0: Memory at 0 ' + ' [size=' * 140, 'Flags: ' * 140,
            '04:00.1 a: b' + ' (rev a1)' * 110, '04:00.1 ' + 'Device ' * 140,
            'Flags: ' + 'NUMA node ' * 100, 'Kernel modules: a, ' * 99,
            '04:00.0 a ' * 300 + ' Kernel modules: a',
            ' Kernel modules: ' * 300, 'Kernel modules: ' + ',' * 1000,
            '04:00.1 a [0300]: b ' * 300, '04:00.1 ' + 'a [0300]:' * 300,
            '04:00.1 ' * 300, 'x ' + ' ' * 3000 + 'y', ' [10de:102d' * 300,
            '0400:04:00.1 aaaa ' * 300, 'Subsystem: ' + ' [10de:' * 300,
        )  # fmt: skip
        for part in parts:
            began = time.process_time()
            with contextlib.suppress(ValueError):
                lspci.parse('04:00.0 0302: 10de:102d\n' + f'{part}\n' * 300)
            self.assertLess(time.process_time() - began, 2, part)

    def test_one_line(self):
        """A line of a mebibyte takes as long as many that are shorter."""
        for part in ('04:00.1 a ', ' ', 'a: [10de:102d] ', '04:00.1 0302: '):
            text = part * ((1 << 20) // len(part))
            began = time.process_time()
            with self.assertRaises(ValueError):
                lspci.parse(text)
            self.assertLess(time.process_time() - began, 5, part)

    @hypothesis.settings(deadline=None)
    @hypothesis.given(st.text())
    def test_any_text(self, text):
        try:
            lspci.parse(text)
        except ValueError as exc:
            self.assertTrue(str(exc).isprintable())

    @hypothesis.settings(deadline=None, max_examples=300)
    @hypothesis.given(
        st.lists(
            st.sampled_from((*K80.splitlines(), *VMM.splitlines(),
                             *VV.splitlines(), *GTX_1080.splitlines(),
                             *P100.splitlines(), *M10.splitlines()))
            | st.builds('{} {}'.format, strategies.ADDRESSES, st.text())
            | st.text(),
            max_size=8,
        )
    )  # fmt: skip
    def test_parts_of_listings(self, lines):
        try:
            node = lspci.parse('\n'.join(lines))
        except ValueError as exc:
            self.assertTrue(str(exc).isprintable(), exc)
        else:
            # What is read can be kept.
            kept = records.as_text(node)
            self.assertEqual(node, records.load(kept))


def _line(function, numbers):
    prog_if = f' (prog-if {function.interface})' if function.interface else ''
    if numbers:
        return (
            f'{function.address} {function.class_id}: {function.ids} (rev a1)'
            f'{prog_if}'
        )
    return (
        f'{function.address} Some: class [{function.class_id}]: NVIDIA '
        f'Corporation GP100GL [Tesla P100] [{function.ids}] (rev a1){prog_if}'
    ).replace('Some: class', '3D controller')


def _below(function, numbers):
    if function.subsystem_vendor_id:
        ids = f'{function.subsystem_vendor_id}:{function.subsystem_product_id}'
        yield f'\tSubsystem: {ids if numbers else f"Some [Card] [{ids}]"}'
    if function.driver:
        yield f'\tKernel driver in use: {function.driver}'
    if function.modules is not None:
        yield f'\tKernel modules: {", ".join(function.modules)}'


def _tags(function, numbers):
    def value(name, number):
        return number if numbers else f'{name} [{number}]'

    yield f'Slot:\t{function.address}'
    yield f'Class:\t{value("3D controller", function.class_id)}'
    yield f'Vendor:\t{value("NVIDIA Corporation", function.vendor_id)}'
    yield f'Device:\t{value("GP100GL [Tesla P100]", function.product_id)}'
    if function.subsystem_vendor_id:
        yield f'SVendor:\t{value("Some", function.subsystem_vendor_id)}'
        yield f'SDevice:\t{value("Card", function.subsystem_product_id)}'
    yield 'Rev:\ta1'
    if function.interface:
        yield f'ProgIf:\t{function.interface}'
    if function.driver:
        yield f'Driver:\t{function.driver}'
    for module in function.modules or ():
        yield f'Module:\t{module}'
    yield ''


class TestRoundTrip(unittest.TestCase):
    """What is listed is read back, whatever stands between."""

    @hypothesis.settings(deadline=None)
    @hypothesis.given(
        strategies.listings(),
        st.booleans(),
        st.sampled_from(('', 'admin@node:~$ lspci -nnk -D\n', '# GPUs\n\n')),
    )
    def test_lines(self, functions, numbers, before):
        text = before + '\n'.join(
            '\n'.join([_line(f, numbers), *_below(f, numbers)])
            for f in functions
        )
        self.assertEqual(
            functions, tuple(gpu.function for gpu in lspci.parse(text).gpus)
        )

    @hypothesis.settings(deadline=None)
    @hypothesis.given(strategies.listings(), st.booleans())
    def test_tags(self, functions, numbers):
        text = '\n'.join(line for f in functions for line in _tags(f, numbers))
        self.assertEqual(
            functions, tuple(gpu.function for gpu in lspci.parse(text).gpus)
        )


@st.composite
def _cards(draw):
    """Functions as lspci lists them: cards, what is beside them, bridges."""
    with_domain = draw(st.booleans())
    found = []
    for bus in draw(st.lists(st.integers(1, 0xFF), min_size=1, max_size=4,
                             unique=True)):  # fmt: skip
        kinds = draw(
            st.sampled_from(
                (
                    (gpus.CONTROLLER_3D,),
                    (gpus.VGA, '0403'),
                    (gpus.VGA, '0403', '0c03', '0c80'),
                    (gpus.ACCELERATOR, '0604'),
                )
            )
        )
        ids = draw(st.lists(strategies.HEX4, min_size=len(kinds),
                            max_size=len(kinds), unique=True))  # fmt: skip
        found += [
            (
                f'{"0001:" if with_domain else ""}{bus:02x}:00.{number}',
                class_id,
                f'10de:{product_id}',
                draw(st.sampled_from(('', ' (rev a1)'))),
                draw(st.sampled_from(('', ' (prog-if 00 [VGA controller])'))),
                draw(st.sampled_from(('', 'nvidia', 'vfio-pci'))),
            )
            for number, (class_id, product_id) in enumerate(
                zip(kinds, ids, strict=True)
            )
        ]
    return found


_NAMES = {class_id: name for name, class_id in lspci_lines.CLASSES.items()}


def _list(functions, form):
    for address, class_id, ids, revision, prog_if, driver in functions:
        if '-nn' in form:
            what = (
                f'{_NAMES.get(class_id, "PCI bridge")} [{class_id}]: NVIDIA '
                f'Corporation GP100GL [Tesla P100 PCIe 16GB] [{ids}]'
            )
        else:
            what = f'{class_id}: {ids}'
        yield f'{address} {what}{revision}{prog_if}'
        if 'k' in form:
            yield (
                f'\tSubsystem: {ids}'
                if form == '-nk'
                else f'\tSubsystem: NVIDIA Corporation Device [{ids}]'
            )
            if driver:
                yield f'\tKernel driver in use: {driver}'
            yield '\tKernel modules: nouveau, nvidia-current'


class TestLostLineBreaks(unittest.TestCase):
    """What is in one line is what was in several."""

    @hypothesis.settings(deadline=None, max_examples=300)
    @hypothesis.given(
        _cards(),
        st.sampled_from(('-n', '-nn', '-nk', '-nnk')),
        st.sampled_from((' ', '  ', ' \t')),
        st.sampled_from(('', 'use ``lspci`` at 06:19:29.0, # lspci ')),
        st.sampled_from(('', ' ', ' In this case 10de is [10de:0fbb].')),
    )
    def test_as_with_them(self, functions, form, between, before, after):
        lines = list(_list(functions, form))
        text = before + between.join(lines) + after
        self.assertEqual(lspci.parse('\n'.join(lines)), lspci.parse(text))

    @hypothesis.settings(deadline=None)
    @hypothesis.given(strategies.listings(), st.booleans())
    def test_tags(self, functions, numbers):
        lines = [line for f in functions for line in _tags(f, numbers)]
        self.assertEqual(
            lspci.parse('\n'.join(lines)), lspci.parse(' '.join(lines))
        )

    @hypothesis.settings(deadline=None)
    @hypothesis.given(
        _cards(),
        st.sampled_from(('-n', '-nn', '-nk', '-nnk')),
        st.sampled_from(('', '|', ', ', '\\n', '<br>', ' - ')),
    )
    def test_never_others_ids(self, functions, form, between):
        """Whatever stands there instead of line breaks."""
        own = {
            f'{"" if "0001:" in address else "0000:"}{address}': ids
            for address, _class_id, ids, *_rest in functions
        }
        try:
            node = lspci.parse(between.join(_list(functions, form)))
        except ValueError:
            return
        for gpu in node.gpus:
            for function in (gpu.function, *gpu.companions):
                self.assertEqual(own[function.address], function.ids)
