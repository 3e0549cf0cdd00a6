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

"""A nova.conf against what it is to say of GPUs, by what both mean."""

from collections.abc import Iterable
from collections.abc import Iterator
import json
import re
from typing import NamedTuple

from osc_gpu import findings
from osc_gpu.i18n import _
from osc_gpu.node import conf_file
from osc_gpu.node import conf_json
from osc_gpu.node import for_nova
from osc_gpu.node import local_conf
from osc_gpu.node import nova_specs
from osc_gpu.node import releases
from osc_gpu.node import wanted as wanted_types

PATH = for_nova.PATH

_SPECS = (releases.ALIAS, releases.DEVICE_SPEC)
_IDS = frozenset(('vendor_id', 'product_id'))
_LISTS = (releases.MDEV_TYPES, 'device_addresses')


class _Key(NamedTuple):
    """What an option is, whatever its name.

    :param group: '' where the purpose tells all
    """

    group: str
    name: str


class _Value(NamedTuple):
    """A value, and the name that it stands under.

    :param text: as Nova reads it
    :param written: as it stands there
    """

    title: str
    text: str
    written: str
    is_old: bool


_Values = dict[_Key, list[_Value]]


def compare(
    wanted: str, subject: str, text: str, release: releases.Release
) -> Iterator[findings.Finding]:
    """Yield what a nova.conf, or a local.conf, lacks, or says otherwise.

    What it says besides is of no concern, but for aliases and devices.

    :param wanted: what is to be in it
    :raises ValueError: the text is no nova.conf
    """
    ours = _values(wanted, release)
    theirs = _values(text, release)
    for key, values in ours.items():
        there = theirs.get(key, [])
        for old in dict.fromkeys(v.title for v in there if v.is_old):
            yield findings.Finding(
                findings.WARNING,
                'old-name',
                subject,
                _("%(old)s is an old name of %(new)s")
                % {'old': old, 'new': values[0].title},
                _("rename it; see gpu node config convert"),
            )
        if key.name in _SPECS:
            yield from _compare_specs(key.name, values, subject, there)
        elif key.name == releases.FILTERS:
            yield from _compare_filters(values, subject, there)
        elif key.name in _LISTS:
            yield from _compare_lists(values, subject, there)
        elif [v.text.lower() for v in values] != [
            v.text.lower() for v in there[-1:]
        ]:
            yield _lacking(values[0], subject, there)


def _values(text: str, release: releases.Release) -> _Values:
    found: _Values = {}
    file = conf_file.parse(text)
    for block in file.blocks:
        for option in block.options:
            purpose = releases.purpose_of(option.section, option.name)
            group = re.sub('^vgpu_', 'mdev_', option.section)
            title = f'[{option.section}] {option.name}'
            is_old = False
            key = _Key(group, option.name)
            if purpose:
                best = releases.option(purpose, release)
                key = _Key('', purpose)
                is_old = best is not None and (best.group, best.name) != (
                    option.section,
                    option.name,
                )
            text = option.value
            if file.is_local_conf:
                text = local_conf.arriving(text)
            value = _Value(title, text, option.value, is_old)
            found.setdefault(key, []).append(value)
    return found


def _compare_specs(
    purpose: str, wanted: list[_Value], subject: str, there: list[_Value]
) -> Iterator[findings.Finding]:
    title = wanted[0].title
    ours = _specs(wanted)
    meant = [_meaning(purpose, spec) for spec in ours]
    try:
        theirs = _specs(there)
    except ValueError as exc:
        yield findings.Finding(
            findings.ERROR,
            'option',
            subject,
            f'{title}: {exc}',
            _("set %s") % f'{title} = {wanted[0].written}',
        )
        return
    found = [_meaning(purpose, spec) for spec in theirs]
    for value, spec in zip(wanted, ours, strict=True):
        if _meaning(purpose, spec) not in found:
            yield findings.Finding(
                findings.ERROR,
                'option',
                subject,
                _("%(title)s is not there as it is to be")
                % {'title': _named(title, spec)},
                _("set %s") % f'{title} = {value.written}',
            )
    names = {spec.get('name') for spec in ours}
    for spec in theirs:
        # An alias of that name that means something else was told of.
        is_ours = purpose == releases.ALIAS and spec.get('name') in names
        if is_ours or _meaning(purpose, spec) in meant:
            continue
        yield findings.Finding(
            findings.INFO,
            'more',
            subject,
            _("%s is there besides") % _named(title, spec),
        )


def _specs(values: Iterable[_Value]) -> list[conf_json.Spec]:
    found: list[conf_json.Spec] = []
    for value in values:
        specs = conf_json.read(value.text)
        if specs.fault:
            raise ValueError(_("Nova reads no %s") % specs.fault)
        found += specs.specs
    return found


def _meaning(purpose: str, spec: conf_json.Spec) -> conf_json.Spec:
    """Return a value as Nova takes it, with what goes without saying.

    A device has the class that its ids make, if it is given none, and an
    alias the class of its devices; one without a type is for whatever is no
    PF. Ids of devices are numbers, those of aliases are not (nova/pci:
    devspec.py, request.py); names of classes are made valid
    (nova/compute/pci_placement_translator.py).
    """
    found = dict(spec)
    if purpose == releases.DEVICE_SPEC:
        for key in _IDS & found.keys():
            found[key] = str(found[key]).lower().removeprefix('0x')
    ids = f'{found.get("vendor_id")}:{found.get("product_id")}'
    name = str(found.get('resource_class') or nova_specs.device_class(ids))
    name = name.upper()
    if not name.startswith('CUSTOM_'):
        name = 'CUSTOM_' + re.sub('[^A-Z0-9]+', '_', name)
    found['resource_class'] = name
    if purpose == releases.ALIAS:
        found.setdefault('device_type', wanted_types.PCI)
    return found


def _named(title: str, spec: conf_json.Spec) -> str:
    """Return an option, and which of its values is meant."""
    name = spec.get('name') or spec.get('address')
    shown = str(name) if name else json.dumps(spec)
    return f'{title} {shown if shown.isprintable() else ascii(shown)}'


def _compare_filters(
    wanted: list[_Value], subject: str, there: list[_Value]
) -> Iterator[findings.Finding]:
    """Which filters there are besides is the cloud's own affair."""
    names = _words(there[-1].text) if there else []
    if releases.PCI_FILTER not in names:
        yield findings.Finding(
            findings.ERROR,
            'option',
            subject,
            _("%(title)s has no %(name)s")
            % {'title': wanted[0].title, 'name': releases.PCI_FILTER},
            _("add it")
            if names
            else _("set %s") % f'{wanted[0].title} = {wanted[0].written}',
        )


def _compare_lists(
    wanted: list[_Value], subject: str, there: list[_Value]
) -> Iterator[findings.Finding]:
    names = _words(there[-1].text) if there else []
    if set(names) != set(_words(wanted[0].text)):
        yield _lacking(wanted[0], subject, there)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(',') if word.strip()]


def _lacking(
    wanted: _Value, subject: str, there: list[_Value]
) -> findings.Finding:
    if there:
        detail = _("%(title)s is %(value)s") % {
            'title': there[-1].title,
            'value': ascii(there[-1].text[:80]),
        }
    else:
        detail = _("%s is not set") % wanted.title
    return findings.Finding(
        findings.ERROR,
        'option',
        subject,
        detail,
        _("set %s") % f'{wanted.title} = {wanted.written}',
    )
