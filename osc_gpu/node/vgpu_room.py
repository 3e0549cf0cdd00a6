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

"""Which vGPUs one card can have at once."""

from collections.abc import Sequence

from osc_gpu.data import vgpu_types
from osc_gpu.i18n import _
from osc_gpu.node import model
from osc_gpu.node import uses
from osc_gpu.node import vgpu_catalogue


def is_kept_by_mig(gpu: model.Gpu, found: vgpu_catalogue.VgpuType) -> bool:
    """Tell whether a card is in MIG mode, and a type is time-sliced."""
    is_parted = gpu.mig is not None and bool(gpu.mig.is_enabled)
    return is_parted and bool(found.name) and not found.mig_profile


def mig_is_on(gpu: model.Gpu, text: str) -> str:
    """Say what to do about a card in MIG mode that has not a type."""
    parts = (
        name
        for name in vgpu_types.of_card(gpu.function.product_id) or ()
        if uses.is_mig_backed(name)
    )
    return _(
        "MIG is on at %(address)s, which rules out %(type)s: run "
        "nvidia-smi -i %(address)s -mig 0 while no server has it and read "
        "the node again, or ask for a type of MIG such as %(part)s"
    ) % {
        'address': gpu.address,
        'type': text,
        'part': next(parts, '...-1-10C'),
    }


def check_mode(
    gpu: model.Gpu, types: Sequence[vgpu_catalogue.VgpuType]
) -> None:
    """Refuse types that need MIG and types that rule it out.

    :raises ValueError: with a sentence that names the card
    """
    profiles = [found.mig_profile for found in types if found.name]
    if any(profiles) and not all(profiles):
        raise ValueError(
            _(
                "%s: a card is in MIG mode or time-sliced, but types of both "
                "kinds are asked of it"
            )
            % gpu.address
        )
    for found in types:
        if is_kept_by_mig(gpu, found):
            raise ValueError(mig_is_on(gpu, found.label))


def check_mig(
    gpu: model.Gpu, types: Sequence[vgpu_catalogue.VgpuType]
) -> None:
    """Refuse more MIG instances than a card has room for.

    :raises ValueError: with a sentence that names the card
    """
    if gpu.function.vendor_id != vgpu_types.VENDOR_ID:
        return
    profiles = [found.mig_profile for found in types if found.mig_profile]
    room = vgpu_types.mig_slices(gpu.function.product_id)
    known = vgpu_types.mig_profiles(gpu.function.product_id) or {}
    for profile in dict.fromkeys(profiles):
        most = known.get(profile)
        if most is not None and profiles.count(profile) > most:
            raise ValueError(
                _("%(address)s has room for %(most)d of %(profile)s at most")
                % {'address': gpu.address, 'most': most, 'profile': profile}
            )
    slices = sum(int(profile[0]) for profile in profiles)
    if room is not None and slices > room:
        raise ValueError(
            _("%(address)s has %(room)d slices, and %(profiles)s need more")
            % {
                'address': gpu.address,
                'room': room,
                'profiles': ', '.join(profiles),
            }
        )


def check(gpu: model.Gpu, types: Sequence[vgpu_catalogue.VgpuType]) -> None:
    """Refuse more time-sliced vGPUs than a card has room for.

    They have memory of one size, unless somebody has told the driver
    otherwise (``nvidia-smi vgpu -shm``), for which no file here is.

    :param types: one for each vGPU
    :raises ValueError: with a sentence that names the card
    """
    sliced = [found for found in types if found.name and not found.mig_profile]
    known = (vgpu_types.parse(found.name) for found in sliced)
    sizes = {name.size for name in known if name}
    labels = ', '.join(dict.fromkeys(found.label for found in sliced))
    if len(sizes) > 1:
        raise ValueError(
            _(
                "%(address)s: the time-sliced vGPUs of a card have one size, "
                "but %(types)s are asked of it"
            )
            % {'address': gpu.address, 'types': labels}
        )
    rooms = (vgpu_types.most(found.name) for found in sliced)
    most = min((room for room in rooms if room is not None), default=None)
    if most is not None and len(sliced) > most:
        raise ValueError(
            _("%(address)s has room for %(most)d of %(types)s at most")
            % {'address': gpu.address, 'most': most, 'types': labels}
        )
