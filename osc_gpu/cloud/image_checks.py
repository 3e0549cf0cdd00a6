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

"""What is wrong with images for servers with a GPU: read and judge them."""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses

from openstack import connection

from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import flavors
from osc_gpu.cloud import image_flavor_checks
from osc_gpu.cloud import image_properties
from osc_gpu.cloud import image_property_checks
from osc_gpu.cloud import image_subject
from osc_gpu.cloud import images
from osc_gpu.cloud import side_by_side
from osc_gpu import findings

#: Reads os_distro and os_version; says what system it is, '' if none that a
#: driver can be installed on.
SystemOf = Callable[[str, str], str]


@dataclasses.dataclass(frozen=True)
class Purpose:
    """What servers from the images shall be.

    :param flavor: name or ID, '' if that is open.
    :param driver: as `gpu server create --driver` has it, '' if that is open.
    :param also: resource classes that the user says are GPUs too.
    """

    system_of: SystemOf
    flavor: str = ''
    driver: str = ''
    also: Collection[str] = ()


def read(
    conn: connection.Connection, names: Sequence[str], purpose: Purpose
) -> tuple[findings.Finding, ...]:
    """Check images of these names or IDs, or all that servers boot from.

    One request for each image that is named, else one for every 1000; one
    more for a flavor. Advice is only given on images that are named.

    :raises CommandError: there is no such image or flavor, or several images
        of a name
    """
    flavor = None
    if purpose.flavor:
        flavor = flavors.find_flavor(conn, purpose.flavor)
    if names:
        found, labels = _find(conn, names)
    else:
        found = images.list_images(conn)
        labels = images.names(found)
    judged = (
        finding
        for image in found
        for finding in judge(image, labels[image.id], purpose, flavor)
    )
    return findings.ordered(
        finding
        for finding in judged
        if names or finding.severity != findings.INFO
    )


def _find(
    conn: connection.Connection, names: Iterable[str]
) -> tuple[list[images.Image], dict[str, str]]:
    """Return each image once, and by ID what it was called."""
    wanted = list(dict.fromkeys(names))
    found = side_by_side.each(
        lambda name: images.find_image(conn, name), wanted
    )
    labels: dict[str, str] = {}
    for name, image in zip(wanted, found, strict=True):
        labels.setdefault(image.id, name)
    return list({image.id: image for image in found}.values()), labels


def judge(
    image: images.Image,
    label: str,
    purpose: Purpose,
    flavor: flavors.Flavor | None = None,
) -> list[findings.Finding]:
    """Check one image; never raises.

    :param label: what a command finds it by
    """
    subject = image_subject.Subject(
        image,
        label,
        driver=purpose.driver,
        system=purpose.system_of(
            *(
                image_properties.get(image.properties, key)
                for key in (
                    image_properties.OS_DISTRO,
                    image_properties.OS_VERSION,
                )
            )
        ),
        flavor=flavor,
        request=extra_specs.parse(
            flavor.extra_specs if flavor else {}, purpose.also
        ),
    )
    found = list(image_property_checks.check(subject))
    if flavor:
        found += image_flavor_checks.check(subject, flavor)
    return found
