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

"""A way from one compute node to another, and what stands in it."""

from collections.abc import Iterable
from collections.abc import Iterator
import dataclasses

from osc_gpu import findings
from osc_gpu.i18n import _
from osc_gpu.node import model
from osc_gpu.node import uses


Gpus = tuple[model.Gpu, ...]


@dataclasses.dataclass(frozen=True)
class Problem:
    """What stands in the way of servers, as a finding has it.

    ``what`` tells problems of the same check and subject apart.
    """

    severity: str
    check: str
    subject: str
    detail: str
    fix: str = ''
    what: str = ''

    @property
    def key(self) -> tuple[str, str, str]:
        """What it has in common with the same problem on the way back."""
        return self.check, self.subject, self.what


Problems = Iterator[Problem]


@dataclasses.dataclass(frozen=True)
class Way:
    """From which node to which, and what they are called."""

    source: model.Node
    target: model.Node
    origin: str
    to: str

    def back(self) -> 'Way':
        """Return the way back."""
        return Way(self.target, self.source, self.to, self.origin)


def kinds(node: model.Node) -> dict[str, Gpus]:
    """Return a node's cards by ids; a processor's own moves nowhere."""
    found: dict[str, list[model.Gpu]] = {}
    for gpu in node.gpus:
        if not uses.is_integrated(gpu):
            found.setdefault(gpu.function.ids, []).append(gpu)
    return {ids: tuple(gpus) for ids, gpus in found.items()}


def modes(gpus: Iterable[model.Gpu]) -> set[str | None]:
    """Return what cards are set up for; with None if one does not tell."""
    return {uses.mode(gpu) for gpu in gpus}


def fewer(way: Way, subject: str, what: str, here: int, there: int) -> Problem:
    """Say that there is less at the other node: some servers fit, not all."""
    return Problem(
        findings.WARNING,
        'count',
        subject,
        _(
            "%(to)s has %(there)d %(what)s, %(origin)s %(here)d: what takes "
            "more does not fit"
        )
        % {
            'to': way.to,
            'there': there,
            'what': what,
            'origin': way.origin,
            'here': here,
        },
        what=what,
    )
