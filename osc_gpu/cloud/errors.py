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

"""What a cloud refuses, said in one line."""

from collections.abc import Iterator
import http.client
import re
from typing import Any

from keystoneauth1 import exceptions as ksa_exceptions
from openstack import connection
from openstack import exceptions as sdk_exceptions
import requests

from osc_gpu.i18n import _

#: Everything that the cloud, or the way to it, can answer with.
REFUSALS: tuple[type[Exception], ...] = (
    ksa_exceptions.ClientException,
    sdk_exceptions.SDKException,
    requests.exceptions.RequestException,
)

#: HTTP statuses that asking again does not change.
_LASTING = (400, 401, 403, 404, 501)

#: How each service words the policy rule that the caller fails.
_RULES = (
    # Nova, Placement
    r"Policy (?:doesn't|does not) allow (\S+) to be performed",
    # Keystone
    r'(?:You are )?not authorized to perform the requested action: '
    r'(\S+?)[.]?(?:\s|$)',
    # Glance
    r'(?:You are )?not authorized to complete (\S+) action',
    # Neutron and whoever else shows oslo.policy's own words
    r'rule:([^\s()]+).* is disallowed by policy',
    r'([^\s()]+) is disallowed by policy',
)

#: What services say around a policy rule.
_PADDING = r'403 Forbidden|Access was denied to this resource|[\W_]'

_LONGEST = 500


def may_pass(exc: Exception) -> bool:
    """Tell whether a refusal may be gone when the same is asked again."""
    response: requests.Response | None = getattr(exc, 'response', None)
    return response is None or response.status_code not in _LASTING


def explain(exc: Exception, conn: connection.Connection | None = None) -> str:
    """Say in one line what was refused and what to do.

    The cloud's own words where it said any; the policy rule that is missing
    where it named one; the address and nothing secret where it did not
    answer.

    :param conn: has the catalogue, where exceptions lack the address
    """
    response: requests.Response | None = getattr(exc, 'response', None)
    if response is not None:
        return _explain_response(response)
    if isinstance(exc, ksa_exceptions.ConnectionError):
        return _explain_connection(str(exc))
    if isinstance(exc, requests.exceptions.InvalidJSONError):
        return _("The cloud answered with something that is not JSON")
    text = _one_line(str(exc))
    if isinstance(exc, sdk_exceptions.NotSupported):
        text = _explain_discovery(text, conn)
    return _explain_endpoint(text) or text or type(exc).__name__


def _explain_response(response: requests.Response) -> str:
    status = response.status_code
    words = _words(response)
    if status >= 500:
        return _explain_failure(response, words)
    if status == 401:
        return _("Not authenticated: %s") % words
    if status == 403:
        lacking = _explain_missing_rule(words)
        if lacking:
            return lacking
    if words != _phrase(response):
        return words
    method, url = _asked(response)
    return _("%(words)s (HTTP %(status)s): %(method)s %(url)s") % {
        'words': words,
        'status': status,
        'method': method,
        'url': url,
    }


def _explain_failure(response: requests.Response, words: str) -> str:
    request_id = response.headers.get('x-openstack-request-id')
    text = _("%(url)s failed with HTTP %(status)s: %(words)s") % {
        'url': _asked(response)[1],
        'status': response.status_code,
        'words': words,
    }
    return f'{text} ({request_id})' if request_id else text


def _explain_connection(text: str) -> str:
    match = re.search(r'https?://\S+', text)
    if match is None:
        return _one_line(text)
    url = _one_line(match.group().rstrip(':'))
    errno = re.search(r"\[Errno [^]]*\] ([^'\")>]+)", text)
    if 'timed out' in text:
        reason = _("no answer in time")
    elif errno:
        reason = errno.group(1)
    elif re.search('RemoteDisconnected|Connection aborted', text):
        reason = _("the connection was cut")
    else:
        reason = text[match.end() :]
    return _("Cannot reach %(url)s: %(reason)s") % {
        'url': url,
        'reason': _one_line(reason) or _("no connection"),
    }


def _explain_endpoint(text: str) -> str | None:
    """Word a service that the catalogue lacks.

    keystoneauth says it in an EndpointNotFound, newer SDKs in the middle of a
    ServiceDisabledException.
    """
    match = re.search(r'\S+ endpoint for (\S+) service.* not found', text)
    if match is None:
        return None
    return _(
        "This cloud's catalogue has no %(service)s service for you: %(text)s"
    ) % {'service': match[1], 'text': match[0]}


def _explain_discovery(text: str, conn: connection.Connection | None) -> str:
    """Word what the SDK says of a service that does not tell its versions."""
    match = re.search(r'[Tt]he (\S+) service for \S+ exists but', text)
    if match is None:
        return text
    service = match[1]
    url = conn.config.get_endpoint_from_catalog(service) if conn else None
    if not url:
        return _("The %s service does not answer") % service
    return _("Cannot reach the %(service)s service at %(url)s") % {
        'service': service,
        'url': _one_line(url),
    }


def _explain_missing_rule(words: str) -> str | None:
    for pattern in _RULES:
        match = re.search(pattern, words)
        if match:
            break
    else:
        return None
    rule = match[1]
    # Neutron may name several, of which the others say more.
    others = 'rule:' in match[0].replace(f'rule:{rule}', '', 1)
    if others or re.sub(_PADDING, '', words.replace(match[0], '')):
        return _("You lack the right %(rule)s: %(words)s") % {
            'rule': rule,
            'words': words,
        }
    return _("You lack the right %s; ask for a role that has it") % rule


def _asked(response: requests.Response) -> tuple[str, str]:
    """Return the method and the address, its query taken away."""
    request = response.request
    method = request.method if request is not None else None
    return method or '', _one_line(response.url or '')


def _words(response: requests.Response) -> str:
    """Return what the service said, or HTTP's own word for the status."""
    try:
        said = list(dict.fromkeys(_messages(response.json())))
    except requests.exceptions.JSONDecodeError:
        text = response.text
        if 'html' in response.headers.get('content-type', ''):
            import html

            text = re.sub(r'(?is)<(head|script|style)\b.*?</\1>', ' ', text)
            text = html.unescape(re.sub(r'<[^>]+>', ' ', text))
        said = [text]
    return _one_line('; '.join(said)) or _phrase(response)


def _phrase(response: requests.Response) -> str:
    """Return HTTP's own words for a status, such as Not Found."""
    standard = http.client.responses.get(response.status_code, _("Refused"))
    return response.reason or standard


def _messages(body: Any) -> Iterator[str]:
    """Find the sentences in an error of any OpenStack service.

    Nova, Neutron and Keystone wrap one ``message`` in an object; Placement
    lists ``errors``, each with its ``detail``.
    """
    if isinstance(body, str):
        yield body
    elif isinstance(body, list):
        for item in body:
            yield from _messages(item)
    elif isinstance(body, dict):
        for key in ('message', 'detail', 'faultstring'):
            if isinstance(body.get(key), str):
                yield body[key]
                return
        for value in body.values():
            if isinstance(value, dict | list):
                yield from _messages(value)


def _one_line(text: str) -> str:
    """Put a text on one line, without the secrets that an URL can carry."""
    text = re.sub(r'\b(https?://)[^/@\s]+@', r'\1', text)
    text = re.sub(r'\b(https?://[^\s?]+)\?[^\s,;)]*', r'\1', text)
    text = re.sub(r'gAAAA[\w-]{20,}=*', '***', text)
    text = re.sub(r'(?i)(x-(?:auth|subject)-token\W+)\S+', r'\1***', text)
    text = ' '.join(text.split())
    if len(text) > _LONGEST:
        return text[:_LONGEST].rstrip() + '...'
    return text
