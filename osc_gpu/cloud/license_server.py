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

"""A license server: looked for, planned, made, and what came of it.

A run that was killed is simply run again: what is there by its name is not
made a second time. Ports and their MAC addresses outlive the servers.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses

from openstack import connection
from osc_lib import exceptions

from osc_gpu.cloud import flavors
from osc_gpu.cloud import interrupts
from osc_gpu.cloud import launch
from osc_gpu.cloud import license_model
from osc_gpu.cloud import license_outcome
from osc_gpu.cloud import license_parts
from osc_gpu.cloud import license_plan
from osc_gpu.cloud import license_project
from osc_gpu.cloud import license_reading
from osc_gpu.cloud import license_rules
from osc_gpu.cloud import license_writing


@dataclasses.dataclass(frozen=True)
class Order:
    """A license server as people type it, by names or IDs.

    ``remotes`` are the networks that it lets in, none for the subnets of its
    own network.
    """

    name: str
    nodes: tuple[license_model.Node, ...]
    project: license_project.Asked
    flavor: str
    image: str
    network: str
    key_name: str = ''
    remotes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is wanted, what there is, and what is missing.

    ``differences`` is what is not as it should be and is left so.
    """

    order: Order
    place: license_project.Place
    clouds: license_reading.Clouds
    wanted: license_model.Wanted
    there: license_model.Present
    steps: tuple[license_plan.Step, ...]
    differences: tuple[str, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """What has to be made, in words."""
        return (*self.place.steps, *(step.text for step in self.steps))

    @property
    def is_settled(self) -> bool:
        """Whether nothing was missing, and nothing is under way."""
        servers = self.there.servers.values()
        return not self.steps and not any(map(launch.is_building, servers))


@dataclasses.dataclass
class Run:
    """What one run makes: ``made`` until now, and ``doing`` at the moment.

    ``hint`` says what to do if that is forbidden; ``tell`` is told of all
    that was made.
    """

    conn: connection.Connection
    tell: Callable[[str], None]
    made: list[str] = dataclasses.field(default_factory=list)
    doing: str = ''
    hint: str = ''

    def begin(self, doing: str, hint: str = '') -> None:
        """Remember what is about to be made."""
        self.doing, self.hint = doing, hint

    def end(self, made: str) -> None:
        """Remember and tell what was made."""
        self.made.append(made)
        self.begin('')
        self.tell(made)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A license server as it is, or would be.

    ``project_id`` is '' while there is none; ``steps`` is what was made, or
    has to be; ``troubles`` is what is not as it should be.
    """

    project_id: str
    wanted: license_model.Wanted
    there: license_model.Present
    steps: tuple[str, ...]
    troubles: tuple[str, ...]


def create(
    run: Run, order: Order, *, timeout: int = 0, is_dry: bool = False
) -> Outcome:
    """Make what is missing of a license server, or say what is missing.

    :param timeout: seconds to wait until its servers are built, 0 for none
    :raises osc_lib.exceptions.CommandError: it cannot be made, and why; with
        what was made until then
    """
    place = license_project.find(run.conn, order.project)
    found = _plan(run.conn, order, place)
    if not is_dry:
        with interrupts.as_ctrl_c(), _telling(run):
            found = _make(run, found)
            if not found.is_settled:
                found = _look(found, timeout)
    return Outcome(
        found.place.id,
        found.wanted,
        found.there,
        found.texts if is_dry else tuple(run.made),
        (
            *found.differences,
            *license_outcome.troubles(found.wanted, found.there, timeout),
        ),
    )


def _plan(
    conn: connection.Connection, order: Order, place: license_project.Place
) -> Plan:
    """Look up all that is named, look what there is, and judge it.

    Of a project that the user has no role in yet, only what goes into it is
    looked at.
    """
    clouds = _clouds(conn, place)
    parts = _look_up(clouds, order)
    wanted = _wanted(order, parts)
    there = license_model.Present()
    if not place.steps:
        there = license_reading.read_present(clouds, order.name, order.nodes)
    found = Plan(
        order,
        place,
        clouds,
        wanted,
        there,
        license_plan.missing(wanted, there),
        license_plan.differences(wanted, there),
    )
    reasons = (*_unfit(found, parts), *license_plan.refusals(wanted, there))
    # What is wrong already may be why it is in the way, too.
    reasons = reasons or (*_taken(found), *_over_quota(found))
    if reasons:
        raise exceptions.CommandError(' '.join(f'{why}.' for why in reasons))
    return found


def _clouds(
    conn: connection.Connection, place: license_project.Place
) -> license_reading.Clouds:
    nova, role = conn, frozenset({place.role})
    if not place.steps:
        nova = license_project.enter(conn, place)
        role = license_project.roles(nova)
    is_admin = license_project.ADMIN in license_project.roles(conn)
    return license_reading.Clouds(
        nova=nova,
        neutron=conn if is_admin else nova,
        project_id=place.id,
        is_admin=is_admin and license_project.ADMIN in role,
    )


def _look_up(
    clouds: license_reading.Clouds, order: Order
) -> license_parts.Parts:
    """Find what is named, in four requests, and one for a keypair."""
    network = license_parts.read_network(clouds.nova, order.network)
    network = license_parts.with_subnets(clouds.neutron, network)
    flavor = flavors.find_flavor(clouds.nova, order.flavor)
    image = license_parts.read_image(clouds.nova, order.image)
    if order.key_name:
        license_parts.require_keypair(clouds.nova, order.key_name)
    return license_parts.Parts(flavor, image, network)


def _wanted(order: Order, parts: license_parts.Parts) -> license_model.Wanted:
    return license_model.Wanted(
        name=order.name,
        nodes=order.nodes,
        network_id=parts.network.id,
        flavor=parts.flavor,
        image_id=parts.image.id,
        key_name=order.key_name,
        rules=license_rules.wanted(
            order.remotes or parts.network.subnets,
            len(order.nodes) > 1,
            parts.network.versions,
        ),
    )


def _unfit(found: Plan, parts: license_parts.Parts) -> tuple[str, ...]:
    """Say why what is named is of no use for what has to be made."""
    to_make = {step.what for step in found.steps}
    reasons: list[str] = []
    if license_plan.SERVER in to_make:
        reasons += license_parts.misfits(parts)
        if found.place.steps and not found.clouds.is_admin:
            reasons += license_parts.hidden(parts, found.place.name)
    if to_make & {license_plan.SERVER, license_plan.PORT}:
        reasons += license_parts.unfit(
            parts.network, found.place.id, is_admin=found.clouds.is_admin
        )
        reasons += license_parts.outside(parts.network, found.order.nodes)
    return tuple(reasons)


def _taken(found: Plan) -> tuple[str, ...]:
    to_make = {
        step.name for step in found.steps if step.what == license_plan.PORT
    }
    nodes = [node for node in found.order.nodes if node.name in to_make]
    return license_reading.read_taken(
        found.clouds, found.wanted.network_id, nodes
    )


def _over_quota(found: Plan) -> tuple[str, ...]:
    """Say which quotas are too small; two requests if anything is missing."""
    if found.place.steps or not found.steps:
        return ()
    needs = license_plan.needs(found.steps, found.wanted.flavor)
    rooms = license_reading.read_room(found.clouds)
    return tuple(
        text
        for needed, room in zip(needs, rooms, strict=True)
        for text in license_plan.over_quota(needed, room)
    )


def _make(run: Run, found: Plan) -> Plan:
    """Make what is missing, a request for each thing."""
    if found.place.steps:
        found = _plan_inside(run, found)
    there = found.there
    for step in found.steps:
        hint = license_outcome.hint(found.wanted, found.place, step)
        run.begin(step.title, hint)
        there = license_writing.take(found.clouds, found.wanted, step, there)
        run.end(license_plan.named(step, there))
    return dataclasses.replace(found, there=there)


def _plan_inside(run: Run, found: Plan) -> Plan:
    """Make the project, get into it, and look what there is in it."""
    place = found.place
    if not place.id:
        title = place.steps[0]
        run.begin(title)
        place = license_project.make(run.conn, place, found.wanted.mark)
        run.end(f'{title} ({place.id})')
    title = place.steps[0]
    run.begin(title)
    place = license_project.take_role(run.conn, place)
    run.end(title)
    return _plan(run.conn, found.order, place)


@contextlib.contextmanager
def _telling(run: Run) -> Iterator[None]:
    """Have whatever goes wrong end with what was made until then."""
    try:
        yield
    except BaseException as exc:
        told = license_outcome.stopped(run.doing, exc, run.made, run.hint)
        raise exceptions.CommandError(told) from exc


def _look(found: Plan, timeout: int) -> Plan:
    """Read the servers, once they are built if that is waited for."""
    names = [node.name for node in found.order.nodes]

    def read() -> tuple[license_model.Server, ...]:
        servers = license_reading.read_servers(
            found.clouds.nova, found.order.name
        )
        return tuple(license_plan.servers(names, servers).values())

    servers = launch.wait(read, timeout) if timeout else read()
    there = dataclasses.replace(
        found.there, servers={server.name: server for server in servers}
    )
    return dataclasses.replace(found, there=there)
