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

"""What a check found: the shape of it, and its order."""

from collections.abc import Iterable
import dataclasses
from typing import TypeVar

ERROR = 'error'
WARNING = 'warning'
INFO = 'info'

_ORDER = (ERROR, WARNING, INFO)


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    ``severity`` is ERROR for what breaks servers or loses GPUs, WARNING for
    what will or may, INFO for what is only worth knowing. ``check`` is the
    name of the check, ``subject`` names what it is about, ``detail`` is a
    sentence, ``repair`` says what the command would do or, in the
    imperative, what an admin can; '' where nothing is to be done.
    """

    severity: str
    check: str
    subject: str
    detail: str
    repair: str = ''


F = TypeVar('F', bound=Finding)


def ordered(found: Iterable[F]) -> tuple[F, ...]:
    """Return findings by subject, the worst of each first."""
    return tuple(
        sorted(
            found,
            key=lambda f: (
                f.subject,
                _ORDER.index(f.severity),
                f.check,
                f.detail,
            ),
        )
    )


def has_error(found: Iterable[Finding]) -> bool:
    """Tell whether any finding is an error."""
    return any(finding.severity == ERROR for finding in found)
