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

"""The control API of a running sandbox, seen from outside."""

from collections.abc import Mapping
import json
from typing import Any
from urllib import error
from urllib import parse
from urllib import request

from osc_gpu.i18n import _
from osc_gpu.sandbox import errors
from osc_gpu.sandbox import spec as specs


class Unreachable(errors.SandboxError):
    """Nova's process does not answer, or not in time."""


class Control:
    """Asks the process that Nova runs in; errors are SandboxError."""

    def __init__(self, spec: specs.Spec, limit: float = 60.0) -> None:
        self._url = spec.url('control')
        self._token = spec.secrets['control']
        self._limit = limit
        # A proxy from the environment would never reach the loopback.
        self._opener = request.build_opener(request.ProxyHandler({}))

    def status(self) -> dict[str, Any]:
        """Return ``{'ready': bool, 'hosts': {name: {'state': 'up'}}}``."""
        return dict(self._ask('GET', '/status'))

    def guests(self) -> dict[str, Any]:
        """Return what each host's libvirt runs, by host name."""
        return dict(self._ask('GET', '/guests'))

    def server(self, name: str) -> dict[str, Any]:
        """Return a server by name or id, with the user data of its guest."""
        query = parse.urlencode({'name': name})
        return dict(self._ask('GET', f'/server?{query}'))

    def say(self, server: str, text: str) -> None:
        """Append to the console of the guest of a server, named by its id."""
        where = f'/guests/{parse.quote(server, safe="")}/console'
        self._ask('POST', where, {'text': text})

    def faults(self) -> list[dict[str, Any]]:
        """Return the faults that are set."""
        return list(self._ask('GET', '/faults'))

    def set_fault(self, fault: Mapping[str, Any]) -> dict[str, Any]:
        """Set a fault and return it, with its id."""
        return dict(self._ask('POST', '/faults', fault))

    def clear_faults(self) -> None:
        """Take all faults away."""
        self._ask('DELETE', '/faults')

    def change_host(self, name: str, action: str) -> str:
        """Kill or start a host's compute service; return its state."""
        where = f'/hosts/{parse.quote(name, safe="")}/{action}'
        return str(self._ask('POST', where, {})['state'])

    def _ask(
        self, method: str, where: str, body: Mapping[str, Any] | None = None
    ) -> Any:
        headers = {'X-Sandbox-Token': self._token}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers['Content-Type'] = 'application/json'
        asked = request.Request(  # noqa: S310
            self._url + where, data, headers, method=method
        )
        try:
            with self._opener.open(asked, timeout=self._limit) as answer:
                content = answer.read()
            return json.loads(content) if content else None
        except error.HTTPError as exc:
            raise errors.SandboxError(_reason(exc)) from exc
        except (OSError, ValueError) as exc:
            raise Unreachable(
                _("the sandbox's Nova does not answer: %s") % exc
            ) from exc


def _reason(exc: error.HTTPError) -> str:
    try:
        return str(json.loads(exc.read())['error'])
    except (OSError, ValueError, KeyError, TypeError):
        return _("the sandbox's Nova answered %(code)d %(reason)s") % {
            'code': exc.code,
            'reason': exc.reason,
        }
