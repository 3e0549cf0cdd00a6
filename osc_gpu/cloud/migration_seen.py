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

"""What one run remembers of a server that it moves."""

from collections.abc import Mapping
import dataclasses
from typing import NamedTuple

from osc_gpu.cloud import migration_state

#: How often Nova is asked for the same before it counts as failed.
MOST_TRIES = 4


class Action(NamedTuple):
    """Something that Nova is asked for, with the reason if there is one.

    ``host`` is where to, '' where Nova chooses.
    """

    name: str
    why: str = ''
    host: str = ''

    @property
    def text(self) -> str:
        """What to tell about it."""
        text = f'{self.name} to {self.host}' if self.host else self.name
        return f'{text}: {self.why}' if self.why else text


@dataclasses.dataclass(frozen=True)
class Seen:
    """What one run knows: the migrations that were over when it began.

    ``tries`` are how often each action was asked for, ``taken`` those that
    Nova took on, ``looks`` how often the server was looked at since then,
    ``still`` how often it showed the same ``sight`` as before. ``words`` say
    why the last one was chosen, or refused.
    """

    records: frozenset[str] = frozenset()
    tries: Mapping[str, int] = dataclasses.field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    looks: int = 0
    still: int = 0
    sight: str = ''
    words: str = ''

    def tried(self, action: str, times: int = 1) -> 'Seen':
        """Return what is known when an action is asked for."""
        tries = {**self.tries, action: self.tries.get(action, 0) + times}
        return dataclasses.replace(self, tries=tries)

    def took(self, action: Action) -> 'Seen':
        """Return what is known after Nova took an action on."""
        return dataclasses.replace(
            self, taken=self.taken | {action.name}, looks=0, words=action.why
        )

    def looked(self, state: migration_state.State) -> 'Seen':
        """Return what is known after one more look."""
        newest = state.newest
        sight = ' '.join(
            (
                state.server.status,
                state.server.task_state,
                newest.uuid + newest.status if newest else '',
            )
        )
        still = self.still + 1 if sight == self.sight else 0
        return dataclasses.replace(
            self, looks=self.looks + 1, still=still, sight=sight
        )

    def is_worn(self, action: str) -> bool:
        """Tell whether an action was asked for often enough."""
        return self.tries.get(action, 0) >= MOST_TRIES
