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

"""What is wrong with a node itself: its IOMMU, modules and firmware."""

from collections.abc import Iterable
from collections.abc import Iterator
import re

from osc_gpu import findings
from osc_gpu.i18n import _
from osc_gpu.node import checks_repairs as repairs
from osc_gpu.node import checks_subject
from osc_gpu.node import host_kernel
from osc_gpu.node import model
from osc_gpu.node import uses

Found = checks_subject.Found
shown = checks_subject.shown
some = checks_subject.some
Subject = checks_subject.Subject

#: Kernel arguments about an IOMMU (admin-guide/kernel-parameters.txt); those
#: with a dot are modules' own.
_ARGUMENTS = re.compile(
    r'iommu|(?:intel|amd|s390)_iommu|amd_iommu_(?:dump|intr)'
    r'|[a-z0-9_]*iommu[a-z0-9_]*\.[a-z0-9_]+'
)
_LIKE_ONE = re.compile('.*(?:iommu|iomu|immou).*')
#: What intel_iommu= and iommu= know (drivers/iommu/intel/iommu.c and
#: arch/x86/kernel/pci-dma.c, with what was there once, and Debian's own); of
#: any other word they do nothing.
_VALUES = {
    'intel_iommu': frozenset(
        (
            'ecs_off',
            'forcedac',
            'igfx_off',
            'intgpu_off',
            'nobounce',
            'off',
            'on',
            'pasid28',
            'sm_off',
            'sm_on',
            'sp_off',
            'strict',
            'tboot_noforce',
        )
    ),
    'iommu': frozenset(
        (
            'allowdac',
            'biomerge',
            'force',
            'forcesac',
            'merge',
            'noaperture',
            'nodac',
            'noforce',
            'nomerge',
            'nopanic',
            'nopt',
            'off',
            'panic',
            'pt',
            'soft',
            'usedac',
        )
    ),
}
#: What can take a card of a vendor.
_MODULES = {
    uses.NVIDIA: ('nouveau', 'nvidia'),
    uses.AMD: ('amdgpu', 'radeon'),
    uses.INTEL: ('i915', 'xe'),
}


def check(subject: Subject) -> Found:
    """Check the node itself; never raises."""
    yield from _check_iommu(subject)
    yield from _check_modules(subject)
    yield from _check_secure_boot(subject)
    yield from _check_numa(subject)


def _check_iommu(subject: Subject) -> Found:
    node = subject.node
    if not _needs_iommu(subject):
        return
    wrong = [word for word in _words(node) if _is_misspelt(word)]
    if node.has_iommu is False:
        yield _no_iommu(subject, wrong)
        return
    if wrong:
        is_well = node.has_iommu and _passes_through(node)
        yield subject.finding(
            findings.INFO if is_well else findings.WARNING,
            'iommu-argument',
            _("the kernel does not know %s, which does nothing") % some(wrong),
            repairs.boot_with(
                subject, _missing(node, node.has_iommu is None), wrong
            ),
        )
    elif node.command_line is not None and not _passes_through(node):
        yield subject.finding(
            findings.WARNING,
            'iommu-pt',
            _(
                "%s is not among the kernel's arguments: all DMA of the "
                "host's own devices is translated, too, which slows them down"
            )
            % _pass_through(node),
            repairs.boot_with(subject, _pass_through(node)),
        )


def _needs_iommu(subject: Subject) -> bool:
    """Tell whether it is needed: vGPUs on cards as old as T4 do without."""
    if subject.is_passthrough or subject.purpose == uses.VFIO_VGPU:
        return True
    return any(
        uses.needs_vfs(gpu) is not False
        if subject.purpose
        else not uses.has_mdev(gpu) or bool(gpu.vfs)
        for gpu in subject.gpus
    )


def _no_iommu(subject: Subject, wrong: list[str]) -> findings.Finding:
    node = subject.node
    off = [word for word in _words(node) if _turns_off(node, word)]
    add = _missing(node, True)
    if off:
        detail = _("the kernel uses no IOMMU: %s turns it off") % some(off)
    elif wrong:
        detail = _(
            "the kernel uses no IOMMU: it does not know %s, which does nothing"
        ) % some(wrong)
    elif (
        node.command_line is not None
        and node.cpu_vendor == 'intel'
        and 'intel_iommu=on' in add
    ):
        detail = _(
            "the kernel uses no IOMMU: intel_iommu=on is not among its "
            "arguments"
        )
    else:
        detail = _("the kernel uses no IOMMU")
        if node.command_line is not None and node.cpu_vendor is not None:
            detail = _("there is no IOMMU: it is off in the firmware")
        return _iommu_finding(subject, detail, _firmware_too(subject))
    fix = repairs.boot_with(subject, add, [*off, *wrong])
    return _iommu_finding(
        subject,
        detail,
        _("%(fix)s; if that does not help: %(firmware)s")
        % {'fix': fix, 'firmware': repairs.iommu_in_firmware(node)},
    )


def _iommu_finding(
    subject: Subject, detail: str, repair: str
) -> findings.Finding:
    return subject.finding(
        findings.ERROR,
        'iommu',
        _("%s; without one no server gets a card") % detail
        if subject.is_passthrough
        else detail,
        repair,
    )


def _firmware_too(subject: Subject) -> str:
    """Return what to do where only the firmware is left, or may be."""
    node = subject.node
    firmware = repairs.iommu_in_firmware(node)
    add = _missing(node, True)
    if not add:
        return firmware
    return _("%(firmware)s; then: %(fix)s") % {
        'firmware': firmware,
        'fix': repairs.boot_with(subject, add),
    }


def _words(node: model.Node) -> Iterator[str]:
    """Return arguments of the kernel that are, or look like, an IOMMU's."""
    for word in node.command_line or ():
        key = _key(word)
        if _LIKE_ONE.fullmatch(key):
            yield word


def _key(word: str) -> str:
    """Return an argument's name; the kernel takes - for _ in it."""
    return word.partition('=')[0].replace('-', '_')


def _values(node: model.Node, key: str) -> set[str]:
    return {
        value
        for word in node.command_line or ()
        if _key(word) == key
        for value in word.partition('=')[2].split(',')
    }


def _is_misspelt(word: str) -> bool:
    key = _key(word)
    if not _ARGUMENTS.fullmatch(key):
        return True
    values = word.partition('=')[2].split(',')
    return key in _VALUES and not _VALUES[key].issuperset(values)


def _turns_off(node: model.Node, word: str) -> bool:
    keys = {'intel': ('intel_iommu',), 'amd': ('amd_iommu',)}.get(
        node.cpu_vendor or '', ('intel_iommu', 'amd_iommu')
    )
    return 'off' in word.partition('=')[2].split(',') and (
        _key(word) in ('iommu', *keys)
    )


def _passes_through(node: model.Node) -> bool:
    module = _values(node, 'iommu.passthrough')
    return 'pt' in _values(node, 'iommu') or not module.isdisjoint(
        ('1', 'y', 'Y', 'on')
    )


def _missing(node: model.Node, with_intel: bool) -> str:
    """Return arguments that an IOMMU takes and the node has not."""
    add = []
    if (
        with_intel
        and node.cpu_vendor in ('intel', None)
        and 'on' not in _values(node, 'intel_iommu')
    ):
        add.append('intel_iommu=on')
    if not _passes_through(node):
        add.append(_pass_through(node))
    return ' '.join(add)


def _pass_through(node: model.Node) -> str:
    """Return the argument by which the host's own DMA is not translated."""
    if node.cpu_vendor == '':
        return host_kernel.IOMMU_PT_OF_OTHERS
    return 'iommu=pt'


def _check_modules(subject: Subject) -> Found:
    """Find modules that would take cards although none has them now."""
    node = subject.node
    cards = subject.of_nvidia if subject.is_vgpu else subject.gpus
    bound = {
        gpu.function.driver.replace('-', '_')
        for gpu in node.gpus
        if gpu.function.driver
    }
    for module in dict.fromkeys(_rivals(subject, cards)):
        if module in bound:
            continue
        is_loaded = module in (node.loaded or ())
        is_open = node.blacklisted is not None and (
            module not in node.blacklisted
        )
        if is_loaded or (is_open and _may_take(subject, cards, module)):
            yield _rival(subject, module, is_loaded, is_open)


def _rivals(subject: Subject, cards: Iterable[model.Gpu]) -> Iterator[str]:
    for gpu in cards:
        modules = _MODULES.get(gpu.function.vendor_id, ())
        if subject.is_passthrough:
            yield from modules
        elif 'nouveau' in modules:
            yield 'nouveau'


def _may_take(
    subject: Subject, cards: Iterable[model.Gpu], module: str
) -> bool:
    """Tell whether a module would take a card at the next boot.

    nouveau is in every distribution's kernel, and fast.
    """
    if module == 'nouveau':
        return True
    ids = subject.node.vfio_ids
    return ids is not None and any(
        module in (gpu.function.modules or ()) and gpu.function.ids not in ids
        for gpu in cards
    )


def _rival(
    subject: Subject, module: str, is_loaded: bool, is_open: bool
) -> findings.Finding:
    node = subject.node
    if not is_loaded:
        detail = _("%s is not blacklisted: it takes cards at a boot") % module
    elif is_open:
        detail = _("%s is loaded and not blacklisted: it may take cards")
        detail %= module
    else:
        detail = _("%s is loaded although no card has it as its driver")
        detail %= module
    return subject.finding(
        findings.WARNING,
        'module',
        detail,
        repairs.keep_out(subject, module)
        if is_open or node.blacklisted is None
        else _("Run 'modprobe -r %s'") % module,
    )


def _check_secure_boot(subject: Subject) -> Found:
    """Signed drivers are loaded in spite of it: then all is well."""
    node = subject.node
    if not (node.secure_boot and subject.is_vgpu and subject.of_nvidia):
        return
    if node.loaded is not None and 'nvidia' not in node.loaded:
        yield subject.finding(
            findings.WARNING,
            'secure-boot',
            _(
                "Secure Boot is on, and nvidia is not loaded: a module that "
                "is signed by no key of the firmware never is"
            ),
            _(
                "Sign the modules of the vGPU manager, and enrol the key with "
                "'mokutil --import <key>.der', or turn Secure Boot off"
            ),
        )


def _check_numa(subject: Subject) -> Found:
    """A machine without NUMA has no node for any card."""
    known = [
        gpu.function
        for gpu in subject.node.gpus
        if gpu.function.numa_node is not None
    ]
    if all((function.numa_node or 0) < 0 for function in known):
        return
    for function in known:
        if function.numa_node is not None and function.numa_node < 0:
            yield checks_subject.about(
                function,
                findings.WARNING,
                'numa',
                _(
                    "the firmware tells no NUMA node for it, as it does for "
                    "other cards: servers whose NUMA policy is required do "
                    "not get it"
                ),
                _("Update the firmware, or put the card in another slot"),
            )
