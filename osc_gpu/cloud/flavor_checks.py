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

"""What is wrong with GPU flavors: read what it takes, and judge them all."""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import logging
import re

from openstack import connection
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from osc_gpu.cloud import alias_classes
from osc_gpu.cloud import aliases
from osc_gpu.cloud import capacity_hosts
from osc_gpu.cloud import capacity_reading
from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import flavor_cloud_checks
from osc_gpu.cloud import flavor_facts
from osc_gpu.cloud import flavor_spec_checks
from osc_gpu.cloud import flavors
from osc_gpu.cloud import hidden_trees
from osc_gpu.cloud import placement
from osc_gpu.cloud import resource_request
from osc_gpu.cloud import rest
from osc_gpu.cloud import side_by_side
from osc_gpu import findings
from osc_gpu.i18n import _

LOG = logging.getLogger(__name__)

#: Checks that are only right if all of the cloud was read, and all aliases.
_DOUBTFUL = frozenset(
    (
        'class-without-alias',
        'never-fits',
        'too-many',
        'trait-group',
        'unknown-class',
        'unknown-trait',
    )
)


def read(
    conn: connection.Connection,
    names: Sequence[str] = (),
    also: Collection[str] = (),
    at_once: int = side_by_side.DEFAULT,
) -> tuple[findings.Finding, ...]:
    """Check flavors against their cloud, those of these names or IDs or all.

    One request for the flavors, those of capacity_reading.read and of
    aliases.probe_all. Where something is found that the cloud lacks, one
    more, those of alias_classes.read for other flavors with the same aliases,
    and one for each class or trait if Placement does not show all hosts.

    :param also: resource classes that the user says are GPUs too
    :raises CommandError: there is no such flavor
    """
    every = flavors.list_flavors(conn)
    chosen = choose(every, names, also)
    asking = [flavor for flavor in chosen if asks(flavor, also)]
    if not asking:
        return findings.ordered(_idle(chosen))
    cloud = capacity_reading.read(conn, asking, also, at_once)
    probes = _probe(conn, every, asking, at_once)
    facts = flavor_facts.Facts(cloud, probes)
    subjects = [
        flavor_facts.Subject(
            flavor, resource_request.read(flavor, also), facts, also
        )
        for flavor in asking
    ]
    found = check(subjects)
    if any(finding.check in _DOUBTFUL for finding in found):
        providers = placement.read_names(conn)
        cloud = _learn_more(conn, cloud, every, asking, providers, at_once)
        facts = _look_again(
            conn, dataclasses.replace(facts, cloud=cloud), subjects, providers
        )
        found = check(dataclasses.replace(s, facts=facts) for s in subjects)
    idle = [flavor for flavor in chosen if flavor not in asking]
    return findings.ordered((*found, *_idle(idle)))


def choose(
    every: Iterable[flavors.Flavor],
    names: Sequence[str],
    also: Collection[str] = (),
) -> list[flavors.Flavor]:
    """Return the flavors of these names or IDs, or all that ask for a GPU.

    :raises CommandError: there is no such flavor
    """
    every = list(every)
    if not names:
        return [flavor for flavor in every if asks(flavor, also)]
    by_name = {flavor.name: flavor for flavor in reversed(every)}
    by_id = {flavor.id: flavor for flavor in every}
    known = by_name | by_id
    missing = [name for name in names if name not in known]
    if missing:
        raise exceptions.CommandError(
            _("Flavor '%s' could not be found.") % missing[0]
        )
    return list({known[n].id: known[n] for n in names}.values())


def asks(flavor: flavors.Flavor, also: Collection[str] = ()) -> bool:
    """Tell whether a flavor asks for a GPU, however wrongly."""
    specs = flavor.extra_specs
    return extra_specs.ALIAS in specs or bool(
        extra_specs.gpu_slots(specs, also)
    )


def _idle(found: Iterable[flavors.Flavor]) -> Iterator[findings.Finding]:
    for flavor in found:
        yield findings.Finding(
            findings.INFO, 'no-gpu', flavor.name, _("requests no GPU")
        )


def check(
    subjects: Iterable[flavor_facts.Subject],
) -> list[findings.Finding]:
    """Check flavors; never raises.

    Whether one fits is left out where another finding explains that it does
    not.
    """
    found: list[findings.Finding] = []
    for subject in subjects:
        wrong = [
            *flavor_spec_checks.check(subject.flavor, subject.request),
            *flavor_cloud_checks.check(subject),
        ]
        explained = (
            subject.request.refused
            or subject.missing_classes
            or findings.has_error(wrong)
        )
        if not explained:
            wrong += flavor_cloud_checks.check_fit(subject)
        found += wrong
    return found


def _probe(
    conn: connection.Connection,
    every: Collection[flavors.Flavor],
    asking: Iterable[flavors.Flavor],
    at_once: int,
) -> Mapping[str, aliases.Probe]:
    """Probe the aliases of flavors; warn of those that cannot be."""
    sound = (flavor for flavor in asking if aliases.is_sound(flavor))
    names = sorted({name for f in sound for name in aliases.named_by(f)})
    if not names:
        return {}
    probes = aliases.probe_all(conn, every, names, at_once)
    unknown: dict[str, list[str]] = {}
    for name in names:
        if probes[name].defined is None:
            unknown.setdefault(probes[name].why, []).append(name)
    for why, alike in unknown.items():
        LOG.warning(
            _("Whether Nova knows %(aliases)s cannot be told: %(why)s"),
            {'aliases': ', '.join(alike), 'why': why},
        )
    return probes


def _learn_more(
    conn: connection.Connection,
    cloud: capacity_hosts.Cloud,
    every: Iterable[flavors.Flavor],
    asking: Collection[flavors.Flavor],
    names: Mapping[str, placement.Provider],
    at_once: int,
) -> capacity_hosts.Cloud:
    """Learn aliases from servers of flavors that are not checked, too.

    :param names: every provider by UUID
    """
    named = {name for flavor in asking for name in aliases.named_by(flavor)}
    unknown = named - cloud.alias_classes.keys()
    others = [
        flavor
        for flavor in every
        if flavor not in asking
        and not unknown.isdisjoint(aliases.named_by(flavor))
    ]
    if not others:
        return cloud
    learned = alias_classes.read(conn, others, names, at_once)
    return dataclasses.replace(
        cloud, alias_classes={**learned, **cloud.alias_classes}
    )


def _look_again(
    conn: connection.Connection,
    facts: flavor_facts.Facts,
    subjects: Collection[flavor_facts.Subject],
    names: Mapping[str, placement.Provider],
) -> flavor_facts.Facts:
    """Find out what hosts may have that Placement does not show together.

    :param names: every provider by UUID
    """
    shown = {provider.uuid: provider for provider in facts.providers}
    roots = {provider.root_uuid for provider in shown.values()}
    is_whole = roots <= shown.keys() and not hidden_trees.devices(names, shown)
    if names.keys() <= shown.keys():
        return dataclasses.replace(facts, is_whole=is_whole)
    classes = {name for s in subjects for name in s.missing_classes}
    traits = {name for s in subjects for name in s.missing_traits}
    return dataclasses.replace(
        facts,
        is_whole=is_whole,
        classes_elsewhere=frozenset(
            name for name in sorted(classes) if _is_class(conn, name)
        ),
        traits_elsewhere=frozenset(
            name for name in sorted(traits) if _has_carrier(conn, name)
        ),
    )


def _is_class(conn: connection.Connection, name: str) -> bool:
    try:
        rest.get(conn.placement, f'/resource_classes/{name}', '1.2')
    except sdk_exceptions.NotFoundException:
        return False
    return True


def _has_carrier(conn: connection.Connection, trait: str) -> bool:
    """Say whether any provider has a trait; Placement refuses unknown ones."""
    if not re.fullmatch('[A-Z0-9_]+', trait):
        return False
    query = {'required': trait}
    try:
        found = rest.get(conn.placement, '/resource_providers', '1.18', query)
    except sdk_exceptions.BadRequestException:
        return False
    return bool(found['resource_providers'])
