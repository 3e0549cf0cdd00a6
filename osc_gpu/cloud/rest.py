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

"""How every service is asked: raw, and what it refuses raised.

The microversions are explicit: neither what the user chose for core's
commands nor what the SDK's resources stop at decides what an answer has.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import logging
from typing import Any

from keystoneauth1 import adapter
from openstack import exceptions

from osc_gpu.i18n import _

Params = Mapping[str, Any]


def get(
    service: adapter.Adapter,
    path: str,
    microversion: str | None = None,
    params: Params | None = None,
) -> Any:
    """GET something and decode it.

    :raises openstack.exceptions.SDKException: the service refused, or did not
        answer with JSON
    """
    response = service.get(
        path,
        params=params or {},
        microversion=microversion,
        log=_is_debugged(),
    )
    exceptions.raise_from_response(response)
    try:
        return response.json()
    except ValueError as exc:
        raise exceptions.SDKException(
            _(
                "The %(service)s service answered GET %(path)s with something "
                "that is not JSON."
            )
            % {'service': service.service_type, 'path': path}
        ) from exc


def pages(
    service: adapter.Adapter,
    path: str,
    key: str,
    microversion: str,
    params: Params | None = None,
    *,
    marker: str = 'id',
) -> Iterator[Any]:
    """GET a list of Nova's to its end, a request for each page.

    :param key: the list's name in the answer; ``<key>_links`` tells of more
    :param marker: the field of the last item that the next page begins after
    """
    asked = dict(params or {})
    while True:
        body = get(service, path, microversion, asked)
        yield from body[key]
        if not body[key] or f'{key}_links' not in body:
            return
        asked['marker'] = body[key][-1][marker]


def _is_debugged() -> bool:
    """Say whether anybody reads what keystoneauth logs.

    It decodes an answer once more to log it, read or not, and that may be
    megabytes. The shell has loggers log all and handlers choose.
    """
    handlers = logging.getLogger().handlers
    return any(handler.level <= logging.DEBUG for handler in handlers)
