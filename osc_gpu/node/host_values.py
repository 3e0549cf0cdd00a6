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


"""What may stand in files that a host reads: checked before it does.

Facts come from other machines. What is not in the grammar of its kind never
gets into a unit, a rule or a shell.
"""

from collections.abc import Iterable
import re

from osc_gpu.i18n import _
from osc_gpu.node import host_division
from osc_gpu.node import model

#: A domain has four digits, or more behind Intel's VMD.
_ADDRESS = r'[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]'
_ID = '[0-9a-f]{4}'
_MODULE = '[A-Za-z0-9_-]{1,64}'
_HOSTNAME = r'[A-Za-z0-9](?:[A-Za-z0-9-]|\.(?!\.)){0,252}'
_TYPE = r'[A-Za-z][A-Za-z0-9_.-]{0,63}|[0-9]{1,9}'
#: 1g.10gb, 1g.10gb+me, 1g.24gb-me, 1g.5gb+me.all, 4g.48gb+gfx
_PROFILE = r'[1-9]g\.[0-9]{1,3}gb(?:[+-][a-z]{2,8}(?:\.[a-z]{2,8})?)?'
_ARGUMENT = '[A-Za-z0-9_.:,=-]{1,128}'


def check_node(node: model.Node) -> None:
    """Refuse a node with a value that is not what it should be.

    :raises ValueError: with a sentence that names it
    """
    if node.hostname is not None:
        _check(_HOSTNAME, node.hostname, _("host name"))
    for ids in node.vfio_ids or ():
        _check(f'{_ID}:{_ID}', ids, _("vendor and product"))
    for gpu in node.gpus:
        for function in functions(gpu):
            _check_function(function)


def functions(gpu: model.Gpu) -> Iterable[model.Function]:
    """Return all functions that are told of with a GPU."""
    yield gpu.function
    yield from gpu.companions
    yield from gpu.group or ()
    for vf in gpu.vfs or ():
        yield vf.function


def check_division(division: host_division.Division) -> None:
    """Refuse a division that no host can be told of.

    :raises ValueError: with a sentence that says why
    """
    for vgpu in division.vgpus:
        _check(_TYPE, vgpu.type, _("vGPU type"))
        if vgpu.vf is not None and not 0 <= vgpu.vf < 65536:
            raise ValueError(_("%d is no number of a VF") % vgpu.vf)
    for profile in division.mig:
        _check(_PROFILE, profile, _("MIG profile"))


def _check_function(function: model.Function) -> None:
    _check(_ADDRESS, function.address, _("PCI address"))
    for value in (function.vendor_id, function.product_id):
        _check(_ID, value, _("PCI id"))
    if function.class_id is not None:
        _check(_ID, function.class_id, _("PCI class"))
    if function.interface is not None:
        _check('[0-9a-f]{2}', function.interface, _("programming interface"))
    for module in function.modules or ():
        _check(_MODULE, module, _("kernel module"))


def _check(pattern: str, value: object, kind: str) -> None:
    if not isinstance(value, str) or not re.fullmatch(
        f'(?a:{pattern})', value
    ):
        raise ValueError(
            _("%(value)r is no %(kind)s") % {'value': value, 'kind': kind}
        )
