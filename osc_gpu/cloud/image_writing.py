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

"""Properties of images written, unless they would break servers."""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import logging
import shlex

from openstack import connection
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from osc_gpu.cloud import errors
from osc_gpu.cloud import image_checks
from osc_gpu.cloud import image_properties
from osc_gpu.cloud import images
from osc_gpu import findings
from osc_gpu.i18n import _

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What an image shall say.

    :param properties: by name, whatever there is of them.
    :param recommended: whether to add what is recommended and missing.
    """

    properties: Mapping[str, str]
    recommended: bool = False

    def __bool__(self) -> bool:
        return bool(self.properties) or self.recommended


def changes(old: Mapping[str, str], wanted: Wanted) -> dict[str, str]:
    """Return the properties that have to be written; empty if none have."""
    new = {**old, **wanted.properties}
    if wanted.recommended:
        new |= image_properties.recommended(new)
    return {key: value for key, value in new.items() if old.get(key) != value}


def write(
    conn: connection.Connection,
    name_or_id: str,
    wanted: Wanted,
    purpose: image_checks.Purpose,
) -> None:
    """Set properties of an image, in one request; none if it has them.

    What an error of ``gpu image check`` would come of is refused before
    anything is written; of warnings, and of firmware that the system may not
    boot with, the user is told afterwards.

    :raises CommandError: it would break servers, or the image is not the
        user's
    """
    image = images.find_image(conn, name_or_id)
    change = changes(image.properties, wanted)
    if not change:
        return
    changed = dataclasses.replace(
        image, properties={**image.properties, **change}
    )
    before = image_checks.judge(image, name_or_id, purpose)
    after = image_checks.judge(changed, name_or_id, purpose)
    new = [finding for finding in after if finding not in before]
    for finding in new:
        if finding.severity == findings.ERROR:
            raise exceptions.CommandError(
                _("Image %(image)s is not changed, since then %(detail)s")
                % {'image': name_or_id, 'detail': finding.detail}
            )
    try:
        images.set_properties(conn, image, change)
    except sdk_exceptions.ForbiddenException as exc:
        raise exceptions.CommandError(
            _("Image %(image)s is not changed: %(why)s")
            % {'image': name_or_id, 'why': _why(exc)}
        ) from exc
    _warn(name_or_id, change, new)


def _why(refusal: Exception) -> str:
    why = errors.explain(refusal)
    # Glance says no more of the images of other projects, either.
    if 'modify_image' in why:
        return _("only its owner can, or an admin. %s") % why
    return why


def _warn(
    name: str, change: Mapping[str, str], new: Iterable[findings.Finding]
) -> None:
    """Tell what may go wrong; below this level nobody would see it."""
    for finding in new:
        if finding.severity == findings.WARNING:
            LOG.warning('%s: %s', finding.subject, finding.detail)
    firmware = image_properties.FIRMWARE_TYPE
    if change.get(firmware) == 'uefi':
        LOG.warning(
            _(
                "%(image)s: new servers boot by UEFI now, which they only can "
                "if the image has an EFI system partition; back with: %(back)s"
            ),
            {
                'image': name,
                'back': shlex.join(
                    [
                        *('openstack', 'gpu', 'image', 'set'),
                        *('--firmware-type', 'bios', name),
                    ]
                ),
            },
        )
