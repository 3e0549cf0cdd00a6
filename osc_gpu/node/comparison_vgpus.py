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

"""What servers with vGPUs find, or miss, at another compute node."""

from collections import Counter

from osc_gpu import findings
from osc_gpu.i18n import _
from osc_gpu.node import checks_subject
from osc_gpu.node import comparison_way as ways
from osc_gpu.node import uses

some = checks_subject.some
shown = checks_subject.shown

Gpus = ways.Gpus


#: Differences of mdev types, and what is said of them.
_DIFFERENCES = {
    'mdev-types': _("%(to)s does not offer %(types)s"),
    'mdev-ids': _(
        "%(to)s offers %(types)s by other ids: servers cannot migrate live, "
        "and enabled_mdev_types differs"
    ),
    'mdev-names': _(
        "%(types)s are other types at %(to)s: the drivers of both differ, and "
        "a server gets another vGPU"
    ),
}


def check_mdev(
    way: ways.Way, ids: str, gpus: Gpus, others: Gpus
) -> ways.Problems:
    """Compare mdev types: a server keeps its type, by id in libvirt's XML."""
    here, there = _names(gpus), _names(others)
    names_there = frozenset(there.values())
    differing: dict[str, list[str]] = {check: [] for check in _DIFFERENCES}
    for id_, name in here.items():
        if id_ not in there:
            is_there = name and name in names_there
            differing['mdev-ids' if is_there else 'mdev-types'].append(id_)
        elif name and there[id_] and name != there[id_]:
            differing['mdev-names'].append(id_)
    used = _used(gpus)
    for check, found in differing.items():
        if found:
            is_worse = check != 'mdev-ids' and not used.isdisjoint(found)
            yield ways.Problem(
                findings.ERROR if is_worse else findings.WARNING,
                check,
                ids,
                _DIFFERENCES[check]
                % {
                    'to': way.to,
                    'types': some([_label(id_, here[id_]) for id_ in found]),
                },
                _("Install the same release of the vGPU manager on both"),
            )


def _names(gpus: Gpus) -> dict[str, str | None]:
    return {
        type_.id: type_.name for gpu in gpus for type_ in uses.mdev_types(gpu)
    }


def _label(id_: str, name: str | None) -> str:
    return f'{id_} ({name})' if name else id_


def _used(gpus: Gpus) -> set[str]:
    """Return the types that vGPUs of cards have."""
    return {
        type_.id
        for gpu in gpus
        for type_ in uses.mdev_types(gpu)
        if type_.created
    }


def check_vfs(
    way: ways.Way, ids: str, gpus: Gpus, others: Gpus
) -> ways.Problems:
    """Compare how many VFs there are to make vGPUs on."""
    here, there = (
        sum(len(gpu.vfs or ()) for gpu in kind) for kind in (gpus, others)
    )
    if there < here:
        yield ways.fewer(way, ids, _("VFs"), here, there)


def check_room(
    way: ways.Way, ids: str, gpus: Gpus, others: Gpus
) -> ways.Problems:
    """A card that is divided otherwise has no room for a type."""
    with_room = {
        type_.id
        for gpu in others
        for type_ in uses.mdev_types(gpu)
        if type_.available or type_.created
    }
    full = sorted((_used(gpus) & _names(others).keys()) - with_room)
    if full:
        names = _names(gpus)
        yield ways.Problem(
            findings.ERROR,
            'mdev-room',
            ids,
            _(
                "cards at %(to)s are divided otherwise: there is no room for "
                "%(types)s"
            )
            % {
                'to': way.to,
                'types': some([_label(id_, names[id_]) for id_ in full]),
            },
            _("Set enabled_mdev_types at %s, once no server has a vGPU there")
            % way.to,
        )


def check_vendor(
    way: ways.Way, ids: str, gpus: Gpus, others: Gpus
) -> ways.Problems:
    """Compare types of VFs: what Nova passes through is what has a type."""
    here, there = _set_types(gpus), _set_types(others)
    missing = sorted(here.keys() - there.keys())
    if missing:
        yield ways.Problem(
            findings.ERROR,
            'vgpu-types',
            ids,
            _("%(to)s has no VF of vGPU type %(types)s")
            % {'to': way.to, 'types': some(missing)},
            _(
                "Write the type to nvidia/current_vgpu_type of VFs at %s, or "
                "run 'openstack gpu node check --for vfio-vgpu' there"
            )
            % way.to,
        )
    yield from _fewer(way, ids, _("VFs of vGPU type %s"), here, there)


def _set_types(gpus: Gpus) -> Counter[str]:
    return Counter(
        vgpus.vendor_type
        for gpu in gpus
        for _function, vgpus in uses.vgpus_of(gpu)
        if vgpus.vendor_type not in (None, '', '0')
    )


def check_mig(
    way: ways.Way, ids: str, gpus: Gpus, others: Gpus
) -> ways.Problems:
    """Compare MIG, as far as both tell it."""
    here, there = _modes(gpus), _modes(others)
    if not (here and there) or here <= there:
        yield from _check_profiles(way, ids, gpus, others)
        return
    yield ways.Problem(
        findings.ERROR,
        'mig',
        ids,
        _(
            "MIG has instances on %(here)s at %(origin)s, and on %(there)s at "
            "%(to)s"
        )
        % {
            'here': _how_many(here),
            'there': _how_many(there),
            'origin': way.origin,
            'to': way.to,
        },
        _(
            "Make the same instances at both: 'nvidia-smi -mig 1', then "
            "'nvidia-smi mig -cgi'"
        ),
    )


def _check_profiles(
    way: ways.Way, ids: str, gpus: Gpus, others: Gpus
) -> ways.Problems:
    if any(gpu.mig is None or gpu.mig.instances is None for gpu in others):
        return
    here, there = _profiles(gpus), _profiles(others)
    missing = sorted(here.keys() - there.keys())
    if missing:
        yield ways.Problem(
            findings.ERROR,
            'mig-profiles',
            ids,
            _("%(to)s has no MIG instance of %(profiles)s")
            % {'to': way.to, 'profiles': some(missing)},
            _("Make them at %s with 'nvidia-smi mig -cgi'") % way.to,
        )
    yield from _fewer(way, ids, _("MIG instances of %s"), here, there)


def _fewer(
    way: ways.Way,
    ids: str,
    what: str,
    here: Counter[str],
    there: Counter[str],
) -> ways.Problems:
    """Say of what the other node has some, but less.

    :param what: with a place for its name
    """
    for name, count in here.items():
        if 0 < there[name] < count:
            yield ways.fewer(way, ids, what % shown(name), count, there[name])


def _modes(gpus: Gpus) -> set[bool]:
    """Return whether cards are parted by MIG; empty if one does not tell.

    A card that has no instances is not, whether it is on or not.
    """
    found = set()
    for gpu in gpus:
        if gpu.mig is None:
            return set()
        if gpu.mig.instances == () or gpu.mig.is_enabled is False:
            found.add(False)
        elif gpu.mig.is_enabled:
            found.add(True)
        else:
            return set()
    return found


def _how_many(modes: set[bool]) -> str:
    if modes == {True}:
        return _("all cards")
    return _("some cards") if modes == {True, False} else _("no card")


def _profiles(gpus: Gpus) -> Counter[str]:
    """Return how often a profile is there, as far as cards tell."""
    return Counter(
        profile
        for gpu in gpus
        if gpu.mig
        for profile in gpu.mig.instances or ()
    )
