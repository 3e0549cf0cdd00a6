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

import json
import unittest
from unittest import mock

from keystoneauth1 import exceptions as ksa_exceptions
from openstack import exceptions as sdk_exceptions
import requests

from osc_gpu.cloud import errors
from tests.unit import base
from tests.unit.cloud import wire

ROOTS = {
    'compute': base.COMPUTE,
    'placement': base.PLACEMENT,
    'image': f'{base.IMAGE}/v2',
    'network': f'{base.NETWORK}/v2.0',
    'identity': base.AUTH_URL,
}


class WireTestCase(wire.TestCase):
    """Ask a faked service through the SDK; explain what comes back."""

    def explain(self, service: str, **answer: object) -> str:
        """Explain what a service answers to GET /x?limit=1."""
        if answer:
            self.cloud.get(f'{ROOTS[service]}/x', **answer)
        with self.assertRaises(errors.REFUSALS) as caught:
            response = getattr(self.conn, service).get(
                '/x?limit=1', connect_retries=0
            )
            sdk_exceptions.raise_from_response(response)
            response.json()
        text = errors.explain(caught.exception)
        self.assertNotIn('\n', text)
        self.assertNotIn('limit=1', text)
        return text


class TestResponses(WireTestCase):
    def test_the_clouds_own_words(self) -> None:
        for service, status, body, words in (
            (
                'compute',
                404,
                {'itemNotFound': {'code': 404, 'message': 'Flavor x gone.'}},
                'Flavor x gone.',
            ),
            (
                'compute',
                409,
                {'conflictingRequest': {'code': 409, 'message': 'In use.'}},
                'In use.',
            ),
            (
                'compute',
                400,
                {'badRequest': {'code': 400, 'message': 'Wrong\n  spec.'}},
                'Wrong spec.',
            ),
            (
                'placement',
                404,
                {
                    'errors': [
                        {
                            'status': 404,
                            'title': 'Not Found',
                            'detail': 'The resource could not be found.\n\n'
                            ' No resource provider x found  ',
                            'request_id': 'req-1',
                        }
                    ]
                },
                'The resource could not be found. No resource provider x '
                'found',
            ),
            (
                'network',
                404,
                {
                    'NeutronError': {
                        'type': 'NetworkNotFound',
                        'message': 'Network x could not be found.',
                        'detail': '',
                    }
                },
                'Network x could not be found.',
            ),
            (
                'identity',
                404,
                {
                    'error': {
                        'code': 404,
                        'message': 'Could not find project: x.',
                        'title': 'Not Found',
                    }
                },
                'Could not find project: x.',
            ),
            ('compute', 400, {'faultstring': 'a', 'x': 'b'}, 'a'),
            ('compute', 400, 'just words', 'just words'),
            (
                'compute',
                400,
                [{'message': 'a'}, {'message': 'b'}, {'message': 'a'}],
                'a; b',
            ),
        ):
            with self.subTest(service=service, status=status):
                self.assertEqual(
                    words,
                    self.explain(service, status_code=status, json=body),
                )

    def test_html_becomes_words(self) -> None:
        self.assertEqual(
            "404 Not Found No image found with ID x & 'y'",
            self.explain(
                'image',
                status_code=404,
                headers={'Content-Type': 'text/html; charset=UTF-8'},
                text='<html>\n <head>\n  <title>404 Not Found</title>\n '
                '</head>\n <style>h1 {}</style><body>\n  '
                '<h1>404 Not Found</h1>\n  '
                'No image found with ID x &amp; &#39;y&#39;<br /><br />\n\n'
                '</body></html>',
            ),
        )

    def test_no_words_at_all(self) -> None:
        for body in ('', '{}', '[]', 'null', '{"x": 1}'):
            with self.subTest(body):
                self.assertEqual(
                    'Not Found (HTTP 404): GET http://nova.example/v2.1/x',
                    self.explain('compute', status_code=404, text=body),
                )
        self.assertEqual(
            'Refused (HTTP 499): GET http://nova.example/v2.1/x',
            self.explain('compute', status_code=499),
        )

    def test_missing_rights_name_the_rule(self) -> None:
        rule = 'os_compute_api:os-flavor-manage:create'
        nova = f"Policy doesn't allow {rule} to be performed."
        glance = (
            '<html><head><title>403 Forbidden</title></head><body><h1>403 '
            'Forbidden</h1>You are not authorized to complete get_images '
            'action.<br /></body></html>'
        )
        for service, right, answer in (
            (
                'compute',
                rule,
                {'json': {'forbidden': {'code': 403, 'message': nova}}},
            ),
            (
                'placement',
                'placement:resource_providers:list',
                {
                    'json': {
                        'errors': [
                            {
                                'status': 403,
                                'title': 'Forbidden',
                                'detail': 'Access was denied to this '
                                'resource.\n\n Policy does not allow '
                                'placement:resource_providers:list to be '
                                'performed.  ',
                            }
                        ]
                    }
                },
            ),
            (
                'identity',
                'identity:list_projects',
                {
                    'json': {
                        'error': {
                            'code': 403,
                            'message': 'You are not authorized to perform '
                            'the requested action: identity:list_projects.',
                            'title': 'Forbidden',
                        }
                    }
                },
            ),
            (
                'network',
                'create_port',
                {
                    'json': {
                        'NeutronError': {
                            'message': 'rule:create_port is disallowed by '
                            'policy'
                        }
                    }
                },
            ),
            (
                'network',
                'create_port',
                {
                    'json': {
                        'NeutronError': {
                            'message': 'create_port is disallowed by policy'
                        }
                    }
                },
            ),
            (
                'image',
                'get_images',
                {'headers': {'Content-Type': 'text/html'}, 'text': glance},
            ),
        ):
            with self.subTest(service):
                self.assertEqual(
                    f'You lack the right {right}; ask for a role that has it',
                    self.explain(service, status_code=403, **answer),
                )

    def test_missing_rights_and_more_words(self) -> None:
        for rule, words in (
            (
                'create_network',
                '(rule:create_network and (rule:create_network:shared)) is '
                'disallowed by policy',
            ),
            (
                'os_compute_api:servers:create',
                'Policy does not allow os_compute_api:servers:create to be '
                'performed. The zone is closed.',
            ),
        ):
            with self.subTest(rule):
                self.assertEqual(
                    f'You lack the right {rule}: {words}',
                    self.explain(
                        'network',
                        status_code=403,
                        json={'NeutronError': {'message': words}},
                    ),
                )

    def test_a_403_that_is_no_right(self) -> None:
        self.assertEqual(
            'Quota exceeded for cores: Requested 8, but already used 4 of 10',
            self.explain(
                'compute',
                status_code=403,
                json={
                    'forbidden': {
                        'code': 403,
                        'message': 'Quota exceeded for cores: Requested 8, '
                        'but already used 4 of 10',
                    }
                },
            ),
        )
        self.assertEqual(
            'Forbidden (HTTP 403): GET http://nova.example/v2.1/x',
            self.explain('compute', status_code=403),
        )

    def test_failing_services(self) -> None:
        self.assertEqual(
            'http://nova.example/v2.1/x failed with HTTP 500: Unexpected API '
            "Error. <class 'ValueError'> (req-7)",
            self.explain(
                'compute',
                status_code=500,
                headers={'x-openstack-request-id': 'req-7'},
                json={
                    'computeFault': {
                        'code': 500,
                        'message': "Unexpected API Error.\n<class "
                        "'ValueError'>",
                    }
                },
            ),
        )
        self.assertEqual(
            'http://nova.example/v2.1/x failed with HTTP 503: Service '
            'Unavailable',
            self.explain('compute', status_code=503),
        )

    def test_an_expired_token(self) -> None:
        self.assertEqual(
            'Not authenticated: The request you have made requires '
            'authentication.',
            self.explain(
                'compute',
                status_code=401,
                json={
                    'error': {
                        'message': 'The request you have made requires '
                        'authentication.'
                    }
                },
            ),
        )

    def test_an_answer_that_is_no_json(self) -> None:
        self.assertEqual(
            'The cloud answered with something that is not JSON',
            self.explain('compute', text='<html>Welcome</html>'),
        )

    def test_neither_secrets_nor_novels(self) -> None:
        text = self.explain(
            'compute',
            status_code=400,
            text='see http://admin:s3cret@nova/v2?token=s3cret, '
            'X-Auth-Token: s3cret gAAAAA' + 'Bs3cret' * 9 + ' ' + 'x' * 9999,
        )
        self.assertNotIn('s3cret', text)
        self.assertIn('see http://nova/v2, X-Auth-Token: *** *** xxx', text)
        self.assertEqual(503, len(text))


class TestMayPass(unittest.TestCase):
    def test_statuses(self):
        for status, may_pass in (
            (400, False),
            (401, False),
            (403, False),
            (404, False),
            (409, True),
            (429, True),
            (500, True),
            # Nova's driver has no such thing.
            (501, False),
            (503, True),
        ):
            response = mock.Mock(status_code=status)
            exc = sdk_exceptions.HttpException(response=response)
            self.assertIs(may_pass, errors.may_pass(exc), status)

    def test_no_answer(self):
        self.assertTrue(errors.may_pass(ksa_exceptions.ConnectFailure('x')))


class TestConnections(WireTestCase):
    def test_no_answer(self) -> None:
        for exc, reason in (
            (
                requests.exceptions.ConnectionError(
                    "('Connection aborted.', RemoteDisconnected('Remote end "
                    "closed connection without response'))"
                ),
                'the connection was cut',
            ),
            (
                requests.exceptions.ConnectionError(
                    "('Connection aborted.', ConnectionResetError(104, "
                    "'Connection reset by peer'))"
                ),
                'the connection was cut',
            ),
            (
                requests.exceptions.ConnectionError(
                    "HTTPConnectionPool(host='nova.example', port=80): Max "
                    "retries exceeded with url: /v2.1/x?limit=1 (Caused by "
                    "NewConnectionError('<urllib3.HTTPConnection>: Failed to "
                    "establish a new connection: [Errno 111] Connection "
                    "refused'))"
                ),
                'Connection refused',
            ),
            (requests.exceptions.ConnectTimeout('x'), 'no answer in time'),
            (requests.exceptions.ReadTimeout('x'), 'no answer in time'),
            (requests.exceptions.ConnectionError(''), 'no connection'),
            (
                requests.exceptions.ChunkedEncodingError('broken:\n1 byte'),
                'broken: 1 byte',
            ),
            (
                requests.exceptions.SSLError('CERTIFICATE_VERIFY_FAILED'),
                'CERTIFICATE_VERIFY_FAILED',
            ),
        ):
            with self.subTest(str(exc)[:40]):
                self.assertEqual(
                    f'Cannot reach http://nova.example/v2.1/x: {reason}',
                    self.explain('compute', exc=exc),
                )


class TestCatalogue(WireTestCase):
    missing_services = frozenset(['placement'])

    def test_a_service_that_is_missing(self) -> None:
        self.assertEqual(
            "This cloud's catalogue has no placement service for you: public "
            "endpoint for placement service in RegionOne region not found",
            self.explain('placement'),
        )


class TestDiscovery(WireTestCase):
    """What the SDK says of a service that does not tell its versions."""

    text = (
        'The placement service for cloud:RegionOne exists but does not have '
        'any supported versions.'
    )

    def test_with_the_catalogue(self) -> None:
        self.cloud.get(
            f'{base.PLACEMENT}/', exc=requests.exceptions.ConnectionError
        )
        self.cloud.get(base.PLACEMENT, exc=requests.exceptions.ConnectionError)
        with (
            self.assertLogs('keystoneauth.discover', 'DEBUG'),
            self.assertRaises(sdk_exceptions.NotSupported) as caught,
        ):
            self.conn.placement.get('/x')
        self.assertEqual(
            'Cannot reach the placement service at http://placement.example',
            errors.explain(caught.exception, self.conn),
        )

    def test_without(self) -> None:
        self.assertEqual(
            'The placement service does not answer',
            errors.explain(sdk_exceptions.NotSupported(self.text)),
        )

    def test_not_in_the_catalogue_any_more(self) -> None:
        text = self.text.replace('placement', 'shelf')
        self.assertEqual(
            'The shelf service does not answer',
            errors.explain(sdk_exceptions.NotSupported(text), self.conn),
        )

    def test_something_else_that_is_not_supported(self) -> None:
        self.assertEqual(
            'No such thing',
            errors.explain(
                sdk_exceptions.NotSupported('No such thing'), self.conn
            ),
        )


class TestExceptions(unittest.TestCase):
    def test_what_has_no_response(self) -> None:
        for exc, text in (
            (sdk_exceptions.NotFoundException('No x found'), 'No x found'),
            (sdk_exceptions.ResourceTimeout('Waited\n  60 s'), 'Waited 60 s'),
            (ksa_exceptions.EmptyCatalog('Nothing there'), 'Nothing there'),
            (ksa_exceptions.ConnectFailure('odd'), 'odd'),
            (ksa_exceptions.ClientException(), 'ClientException'),
            (requests.exceptions.RequestException(), 'RequestException'),
        ):
            with self.subTest(text):
                self.assertEqual(text, errors.explain(exc))

    def test_every_one_is_a_refusal(self) -> None:
        for exc in (
            ksa_exceptions.ConnectFailure,
            ksa_exceptions.EndpointNotFound,
            ksa_exceptions.http.Forbidden,
            sdk_exceptions.HttpException,
            sdk_exceptions.ServiceDisabledException,
            requests.exceptions.JSONDecodeError,
        ):
            self.assertTrue(issubclass(exc, errors.REFUSALS), exc)

    def test_keystoneauths_own_errors_have_the_response_too(self) -> None:
        response = requests.Response()
        response.status_code = 403
        response._content = json.dumps(
            {'error': {'message': 'No, not you.'}}
        ).encode()
        exc = ksa_exceptions.from_response(response, 'GET', 'http://nova/x')
        self.assertEqual('No, not you.', errors.explain(exc))
