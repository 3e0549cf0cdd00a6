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

"""Which provider, and class of it, is meant by what a person typed."""

from collections.abc import Collection
from collections.abc import Mapping

from osc_lib import exceptions

from osc_gpu.cloud import placement
from osc_gpu.i18n import _


def host_named(
    names: Mapping[str, placement.Provider], host: str
) -> placement.Provider:
    """Return the root provider of a host.

    :raises osc_lib.exceptions.CommandError: Placement has no such host
    """
    roots = {p.name: p for p in names.values() if p.uuid == p.root_uuid}
    if host in roots:
        return roots[host]
    similar = sorted(
        name
        for name in roots
        if name.split('.')[0].lower() == host.split('.')[0].lower()
    )
    hint = _(" Did you mean %s?") % ', '.join(similar) if similar else ''
    raise exceptions.CommandError(
        _("No host named '%s' in Placement.") % host + hint
    )


def provider_named(
    names: Mapping[str, placement.Provider], name_or_id: str
) -> placement.Provider:
    """Return the one provider that is meant.

    By its ID, by its name, by its name in another case, or by its device
    (``0000:20:00.0``, ``<host>_0000:20:00.0``): the first of these that fits
    any.

    :raises osc_lib.exceptions.CommandError: it fits none, or more than one
    """
    lowered = name_or_id.lower()
    found = [p for p in names.values() if name_or_id in (p.uuid, p.name)]
    if not found:
        found = [
            p for p in names.values() if lowered in (p.uuid, p.name.lower())
        ]
    if not found:
        found = [p for p in names.values() if lowered in _devices(p, names)]
    if not found:
        raise exceptions.CommandError(
            _("No resource provider with a name or ID of '%s' in Placement.")
            % name_or_id
        )
    if len(found) > 1:
        raise exceptions.CommandError(
            _(
                "More than one resource provider is named '%(name)s': "
                "%(found)s. Give one of these."
            )
            % {
                'name': name_or_id,
                'found': ', '.join(sorted(p.name for p in found)),
            }
        )
    return found[0]


def _devices(
    provider: placement.Provider, names: Mapping[str, placement.Provider]
) -> tuple[str, ...]:
    root = names.get(provider.root_uuid)
    host = root.name if root else None
    device = placement.device_of(provider.name, host)
    if device == provider.name:
        return ()
    return (device, f'{host}_{device}'.lower())


def class_meant(
    provider_name: str, found: Collection[str], named: Collection[str] = ()
) -> str:
    """Return the one resource class of a provider that is meant.

    :param found: those of its classes that were named, or else are GPUs
    :param named: the classes that were named
    :raises osc_lib.exceptions.CommandError: there is none, or several
    """
    if len(found) == 1:
        return next(iter(found))
    if found:
        text = _(
            "Resource provider '%(provider)s' has several GPU classes: "
            "%(classes)s. Choose one with --resource-class."
        )
    elif named:
        text = _("Resource provider '%(provider)s' has no %(classes)s.")
    else:
        text = _(
            "Resource provider '%(provider)s' is no GPU: it has no inventory "
            "of a GPU class. Name a class that is one with --resource-class."
        )
    classes = ', '.join(sorted(found) or named)
    raise exceptions.CommandError(
        text % {'provider': provider_name, 'classes': classes}
    )
