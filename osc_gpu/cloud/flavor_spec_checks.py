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

"""What is wrong with a flavor's GPU request, whatever the cloud has."""

from collections.abc import Iterator

from osc_gpu.cloud import aliases
from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import flavors
from osc_gpu.cloud import gpu_groups
from osc_gpu.cloud import resource_request
from osc_gpu import findings
from osc_gpu.i18n import _

Found = Iterator[findings.Finding]

#: MiB that a guest addresses with QEMU's default of 40 bits.
_ADDRESSED = 1 << 20
#: MiB that one large GPU maps into that, at most (an 80 GB card's BAR).
_MAPPED = 128 << 10

_MOST = 999_999_999


def error(flavor: flavors.Flavor, check: str, detail: str) -> findings.Finding:
    """Return a finding of what breaks servers or loses GPUs."""
    return findings.Finding(findings.ERROR, check, flavor.name, detail)


def warning(
    flavor: flavors.Flavor, check: str, detail: str
) -> findings.Finding:
    """Return a finding of what may."""
    return findings.Finding(findings.WARNING, check, flavor.name, detail)


def check(flavor: flavors.Flavor, request: resource_request.Request) -> Found:
    """Check what extra specs say, by their grammar; never raises."""
    yield from _check_aliases(flavor)
    yield from _check_group_policy(flavor, request)
    yield from _check_trait_groups(flavor, request)
    yield from _check_address_space(flavor, request)


def _check_aliases(flavor: flavors.Flavor) -> Found:
    value = flavor.extra_specs.get(extra_specs.ALIAS)
    if value is not None:
        for entry in str(value).split(','):
            yield from _check_entry(flavor, entry)


def _check_entry(flavor: flavors.Flavor, entry: str) -> Found:
    """Check an entry as Nova reads it (facts 1)."""
    name, _colon, count = entry.partition(':')
    said = {'entry': entry.strip(), 'name': name.strip() or '<alias>'}
    if not aliases.is_number(count):
        yield error(
            flavor,
            'malformed-alias',
            _(
                "'%(entry)s' is not <alias>:<count>: Nova fails with HTTP 500 "
                "for every server; write %(name)s:1"
            )
            % said,
        )
    elif not name.strip():
        yield error(
            flavor,
            'malformed-alias',
            _("'%(entry)s' names no alias: Nova refuses every server") % said,
        )
    elif int(count) <= 0:
        yield error(
            flavor,
            'zero-alias',
            _(
                "'%(entry)s' asks for no device: servers are made without "
                "this GPU; write %(name)s:1"
            )
            % said,
        )
    elif dict(extra_specs.parse({extra_specs.ALIAS: entry}).aliases) != {
        name.strip(): int(count)
    }:
        yield _odd_count(flavor, said, int(count))


def _odd_count(
    flavor: flavors.Flavor, said: dict[str, str], count: int
) -> findings.Finding:
    """Judge a count that Nova's validation refuses, yet its parser takes."""
    if count > _MOST:
        return error(
            flavor,
            'malformed-alias',
            _("'%(entry)s' asks for more devices than any host has") % said,
        )
    return warning(
        flavor,
        'malformed-alias',
        _(
            "'%(entry)s' is no <alias>:<count> to Nova's validation, though "
            "servers get %(count)d; write %(name)s:%(count)d"
        )
        % {**said, 'count': count},
    )


def _check_group_policy(
    flavor: flavors.Flavor, request: resource_request.Request
) -> Found:
    """See nova/scheduler/utils.py, resources_from_request_spec."""
    policy = flavor.extra_specs.get(gpu_groups.GROUP_POLICY)
    if len(request.groups) > 1 and policy not in ('none', 'isolate'):
        yield error(
            flavor,
            'group-policy',
            _(
                "groups %s need group_policy none or isolate: without it "
                "Placement refuses the request"
            )
            % ', '.join(group.name for group in request.groups),
        )


def _check_trait_groups(
    flavor: flavors.Flavor, request: resource_request.Request
) -> Found:
    """See placement/lib.py, _check_resourceless_suffix."""
    having = {'', *(group.name for group in request.groups)}
    for trait in extra_specs.grouped(extra_specs.TRAIT, flavor.extra_specs):
        key = trait.key(extra_specs.TRAIT)
        word = flavor.extra_specs[key]
        if trait.group not in having and word in ('required', 'forbidden'):
            yield error(
                flavor,
                'trait-group',
                _(
                    "%(spec)s is in group %(group)s, which asks for no "
                    "resources: Placement refuses the request"
                )
                % {'spec': f'{key}={word}', 'group': trait.group},
            )


def exceeds_default_addresses(flavor: flavors.Flavor, devices: int) -> bool:
    """Tell whether RAM and GPUs may need more than QEMU's default width.

    :param devices: PCI devices of the flavor's aliases
    """
    return bool(devices) and flavor.ram + devices * _MAPPED > _ADDRESSED


def _check_address_space(
    flavor: flavors.Flavor, request: resource_request.Request
) -> Found:
    devices = sum(count for _name, count in request.aliases)
    set_already = flavor.extra_specs.get('hw:maxphysaddr_mode')
    if exceeds_default_addresses(flavor, devices) and not set_already:
        yield warning(
            flavor,
            'maxphysaddr',
            _(
                "%(ram)d MiB of RAM and %(devices)d GPUs that map up to "
                "128 GiB each are more than the 1 TiB that a guest may "
                "address by default; set hw:maxphysaddr_mode, here or in the "
                "image"
            )
            % {'ram': flavor.ram, 'devices': devices},
        )
