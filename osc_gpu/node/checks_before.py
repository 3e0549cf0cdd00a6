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

"""What a node has less of than it had."""

from osc_gpu import findings
from osc_gpu.i18n import _
from osc_gpu.node import checks_repairs as repairs
from osc_gpu.node import checks_subject
from osc_gpu.node import model
from osc_gpu.node import uses

about = checks_subject.about
Found = checks_subject.Found
Subject = checks_subject.Subject


def check(
    subject: Subject, before: model.Node, is_chosen: bool = False
) -> Found:
    """Check for GPUs and VFs that are gone; never raises.

    :param before: the node as it was; what it does not tell is left out
    :param is_chosen: whether only some GPUs are checked
    """
    now = {gpu.address: gpu for gpu in subject.gpus}
    there = {gpu.address for gpu in subject.node.gpus}
    for old in before.gpus:
        if old.address in now:
            yield from _check_vfs(subject, old, now[old.address])
        elif old.address not in there and not is_chosen:
            yield _gone(old)


def _gone(old: model.Gpu) -> findings.Finding:
    return about(
        old,
        findings.ERROR,
        'gone',
        _("there was a GPU before: %s")
        % checks_subject.shown(uses.model_of(old)),
        _(
            "Run \"dmesg | grep -i '%s'\": a card that fell off the bus comes "
            "back when the node is powered off and on"
        )
        % old.function.slot,
    )


def _check_vfs(subject: Subject, old: model.Gpu, gpu: model.Gpu) -> Found:
    is_of_nvidia = gpu.function.vendor_id == uses.NVIDIA
    if (
        old.vfs is None
        or gpu.vfs is None
        or old.function.ids != gpu.function.ids
        # As a whole it is to have none.
        or (subject.is_passthrough and is_of_nvidia)
        or len(gpu.vfs) >= len(old.vfs)
    ):
        return
    count = len(old.vfs)
    yield about(
        gpu,
        findings.ERROR,
        'vfs',
        _("it has %(now)d VFs, and had %(count)d before")
        % {'now': len(gpu.vfs), 'count': count},
        repairs.enable_vfs(gpu)
        if is_of_nvidia
        else repairs.set_vfs(gpu, count),
    )
