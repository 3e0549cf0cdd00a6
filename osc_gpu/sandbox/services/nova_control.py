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

"""The control API: what happens below Nova, seen and changed.

It is the sandbox's own and stands beside Nova's API, on its own port.
"""

import dataclasses
import hmac
import json
import logging
from typing import Any
from urllib import parse

from services import nova_computes
from services import nova_faults
from services import nova_guests


LOG = logging.getLogger(__name__)


class Refused(Exception):
    """A request that cannot be answered: status and sentence."""


class Control:
    """A WSGI application over the computes and the faults."""

    def __init__(
        self,
        token: str,
        computes: nova_computes.Computes,
        faults: nova_faults.Faults,
    ) -> None:
        self.ready = False
        self._token = token
        self._computes = computes
        self._faults = faults

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer with JSON, whatever happens."""
        try:
            status, body = '200 OK', self._answer(environ)
        except Refused as exc:
            status, body = str(exc.args[0]), {'error': exc.args[1]}
        except nova_computes.Unknown as exc:
            status, body = '404 Not Found', {'error': str(exc)}
        except nova_computes.Conflict as exc:
            status, body = '409 Conflict', {'error': str(exc)}
        except (TypeError, ValueError) as exc:
            status, body = '400 Bad Request', {'error': str(exc)}
        except Exception as exc:
            LOG.exception('The control API failed')
            status = '500 Internal Server Error'
            body = {'error': f'{type(exc).__name__}: {exc}'}
        data = json.dumps(body).encode()
        headers = [
            ('Content-Type', 'application/json'),
            ('Content-Length', str(len(data))),
        ]
        start_response(status, headers)
        return [data]

    def _answer(self, environ: dict[str, Any]) -> Any:
        token = environ.get('HTTP_X_SANDBOX_TOKEN', '')
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            raise Refused('401 Unauthorized', 'wrong or no X-Sandbox-Token')
        method, path = environ['REQUEST_METHOD'], environ['PATH_INFO']
        match (method, *path.strip('/').split('/')):
            case ['GET', 'status']:
                return {'ready': self.ready, 'hosts': self._computes.states()}
            case ['GET', 'guests']:
                return self._computes.guests()
            case ['GET', 'server']:
                # A name may have anything in it, so it is no part of a path.
                query = parse.parse_qs(
                    environ['QUERY_STRING'], keep_blank_values=True
                )
                return nova_guests.find(query['name'][0])
            case ['POST', 'guests', server, 'console']:
                text = str(json.loads(_body(environ))['text'])
                nova_guests.say(server, text, self._computes.guests())
                return None
            case ['GET', 'faults']:
                return self._faults.list()
            case ['POST', 'faults']:
                order = json.loads(_body(environ))
                return dataclasses.asdict(self._faults.add(**order))
            case ['DELETE', 'faults']:
                self._faults.clear()
                return self._faults.list()
            case ['POST', 'hosts', name, 'kill']:
                self._computes.kill(name)
                return self._computes.states()[name]
            case ['POST', 'hosts', name, 'start']:
                self._computes.start(name)
                return self._computes.states()[name]
        raise Refused('404 Not Found', f'no {method} {path}')


def _body(environ: dict[str, Any]) -> bytes:
    length = int(environ.get('CONTENT_LENGTH') or 0)
    data: bytes = environ['wsgi.input'].read(length)
    return data
