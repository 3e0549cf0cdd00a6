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


"""A way to Nova on which the actions on servers meet what a case wants."""

from collections.abc import Callable
import http.server
import json
from typing import Any

from tests.functional import matrix_cases as cases
from tests.functional import wire

_MOVES = ('migrate', 'unshelve')


class Proxy(wire.Proxy):
    """A proxy that knows the actions, and what each shall meet.

    ``meet`` is called with the name of every action and '' for all else; it
    returns what ``wire.Proxy.decide`` does, or cases.EXPIRED.
    """

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.meet: Callable[[str], Any] = lambda action: None
        self._expired: set[str] = set()

    def _forward(
        self, handler: http.server.BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        action = ''
        if handler.command == 'POST' and handler.path.endswith('/action'):
            (action,) = json.loads(body)
        verdict = self.meet(action)
        token = handler.headers.get('X-Auth-Token', '')
        if verdict == cases.EXPIRED:
            self._expired.add(token)
        if token in self._expired:
            verdict = 401
        if isinstance(verdict, int):
            return verdict, {}, b''
        if verdict != wire.CUT:
            answer = super()._forward(handler, body)
        if verdict in (wire.CUT, wire.LOSE):
            handler.close_connection = True
            raise ConnectionError(verdict)
        return answer


class Meeting:
    """What the requests of one command meet."""

    def __init__(self, fault: cases.Fault, close: Callable[[], None]) -> None:
        self._fault = fault
        self._close = close
        self._met: set[str] = set()

    def meet(self, action: str) -> Any:
        is_new = bool(action) and action not in self._met
        if self._fault.verdict == cases.GONE and self._met & {
            *_MOVES,
            'shelve',
        }:
            return 503
        self._met.add(action)
        if not is_new:
            return None
        if self._fault.closes and action in _MOVES:
            self._close()
        return (
            None if self._fault.verdict == cases.GONE else self._fault.verdict
        )
