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

import os
import signal
import threading
from typing import Any
import unittest

from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions
import requests

from osc_gpu.cloud import errors
from osc_gpu.cloud import flavor_writing
from osc_gpu.cloud import flavors
from tests.unit import base
from tests.unit.cloud import wire
from tests.unit import fake_flavors

CUT = requests.exceptions.ConnectionError(
    "('Connection aborted.', ConnectionResetError(104, 'Connection reset by "
    "peer'))"
)
REFUSED = requests.exceptions.ConnectionError(
    "NewConnectionError('x: Failed to establish a new connection: [Errno 111] "
    "Connection refused')"
)
GONE = (400, 403, 404, 409)
BROKEN = (500, 503, CUT, requests.exceptions.ReadTimeout('late'))
SPECS = {'resources:VGPU': '1', 'hw:maxphysaddr_bits': '42'}


class TestCase(fake_flavors.TestCase, wire.TestCase):
    def refuse(self, function: Any, *args: Any) -> str:
        """Call what must fail; return what a user would read."""
        with self.assertRaises(
            (*errors.REFUSALS, exceptions.CommandError)
        ) as caught:
            function(self.conn, *args)
        exc = caught.exception
        self.assertIs(signal.SIG_DFL, signal.getsignal(signal.SIGTERM))
        line = (
            str(exc)
            if isinstance(exc, exceptions.CommandError)
            else errors.explain(exc)
        )
        self.assertNotIn('\n', line)
        return line


class TestCreateFlavor(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.nova.add('other', {'x': 'y'})

    def refused(self, flavor_id: str | None = None) -> str:
        new = flavor_writing.NewFlavor('g', 4, 8192, 40, id=flavor_id)
        return self.refuse(flavor_writing.create_flavor, new, SPECS, 'p')

    def assert_nothing_left(self) -> None:
        self.assertEqual(['id-other'], list(self.nova.flavors))

    def test_nova_refuses_the_flavor(self) -> None:
        for answer in GONE:
            with self.subTest(answer):
                self.nova.faults.clear()
                self.nova.fail('POST', '/flavors', answer)
                self.assertEqual('Nova is out of order.', self.refused())
                self.assertNotIn('DELETE', str(self.writes))
                self.assert_nothing_left()

    def test_nova_fails_and_may_have_made_it(self) -> None:
        for answer in BROKEN:
            for done, left in (
                (True, 'the new flavor g is removed again'),
                (
                    False,
                    'flavor g is not there; should Nova still make it, remove '
                    "it with openstack flavor delete 'big one'",
                ),
            ):
                with self.subTest(answer, done=done):
                    self.nova.faults.clear()
                    self.nova.fail('POST', '/flavors', answer, done=done)
                    line = self.refused('big one')
                    self.assertTrue(line.endswith(f'; {left}'), line)
                    self.assert_nothing_left()

    def test_an_id_of_ours_can_be_removed_as_well(self) -> None:
        self.nova.fail('POST', '/flavors', CUT, done=True)
        self.assertIn('; the new flavor g is removed', self.refused())
        self.assert_nothing_left()

    def test_nova_makes_it_after_it_was_looked_for(self) -> None:
        self.nova.fail('POST', '/flavors', CUT)

        def make_it_late(seconds: float) -> None:
            if seconds:
                self.nova.add('g', id='big')

        self.sleep.side_effect = make_it_late
        self.assertIn('; the new flavor g is removed', self.refused('big'))
        self.assertEqual(
            ['POST /flavors', *['DELETE /flavors/big'] * 2], self.requests[1:]
        )
        self.assert_nothing_left()

    def test_an_interrupt_while_it_is_looked_for(self) -> None:
        self.nova.fail('POST', '/flavors', CUT)
        self.sleep.side_effect = (None, KeyboardInterrupt)
        self.assertIn(
            'flavor g may be left without its GPU request, since removing it '
            'failed too (Interrupted): ',
            self.refused(),
        )

    def test_nova_cannot_be_reached(self) -> None:
        self.nova.fail('POST', '/flavors', REFUSED)
        self.assertEqual(
            'Cannot reach http://nova.example/v2.1/flavors: Connection '
            'refused',
            self.refused(),
        )
        self.assertEqual(1, len(self.writes))

    def test_a_later_write_fails(self) -> None:
        for path in ('/os-extra_specs', '/action'):
            for answer in (*GONE, *BROKEN):
                for done in (True, False):
                    with self.subTest(path, answer=answer, done=done):
                        self.nova.faults.clear()
                        self.nova.fail('POST', path, answer, done=done)
                        line = self.refused()
                        self.assertTrue(
                            line.endswith(
                                '; the new flavor g is removed again'
                            ),
                            line,
                        )
                        self.assert_nothing_left()

    def test_the_second_post_of_extra_specs_fails(self) -> None:
        self.cloud.post(
            f'{base.COMPUTE}/flavors/big/os-extra_specs',
            additional_matcher=lambda request: 'maxphys' in request.text,
            status_code=500,
        )
        self.assertIn('failed with HTTP 500', self.refused('big'))
        self.assertEqual(
            [
                'POST /flavors compute 2.61',
                'POST /flavors/big/os-extra_specs compute 2.86',
                'POST /flavors/big/os-extra_specs compute 2.61',
                'DELETE /flavors/big compute 2.61',
            ],
            self.writes,
        )
        self.assert_nothing_left()

    def test_an_answer_that_is_no_flavor(self) -> None:
        self.cloud.post(f'{base.COMPUTE}/flavors', text='<html>')
        self.assertEqual(
            'The cloud answered with something that is not JSON; flavor g is '
            'not there; should Nova still make it, remove it with openstack '
            'flavor delete big',
            self.refused('big'),
        )

    def test_the_removal_fails_too(self) -> None:
        for answer, why in (
            (403, 'Nova is out of order'),
            (
                503,
                'http://nova.example/v2.1/flavors/my%20g failed with HTTP '
                '503: Nova is out of order',
            ),
            (
                CUT,
                'Cannot reach http://nova.example/v2.1/flavors/my%20g: the '
                'connection was cut',
            ),
            (KeyboardInterrupt, 'Interrupted'),
        ):
            with self.subTest(answer):
                self.nova.flavors.pop('my g', None)
                self.nova.faults.clear()
                self.nova.fail('POST', '/os-extra_specs', 409)
                self.nova.fail('DELETE', '/my g', answer)
                self.assertEqual(
                    'Nova is out of order; flavor g is left without its GPU '
                    f'request, since removing it failed too ({why}): remove '
                    "it with openstack flavor delete 'my g'",
                    self.refused('my g'),
                )
                self.assertIn('my g', self.nova.flavors)

    def test_neither_making_nor_removing_is_answered(self) -> None:
        self.nova.fail('POST', '/flavors', CUT)
        self.nova.fail('DELETE', '', CUT)
        line = self.refused()
        self.assertIn('; flavor g may be left without its GPU request', line)

    def test_interrupts(self) -> None:
        for path in ('/flavors', '/os-extra_specs', '/action'):
            for done in (True, False):
                with self.subTest(path, done=done):
                    self.nova.faults.clear()
                    self.nova.fail('POST', path, KeyboardInterrupt, done=done)
                    line = self.refused()
                    self.assertTrue(line.startswith('Interrupted; '), line)
                    self.assert_nothing_left()

    def test_sigterm(self) -> None:
        def terminate(request: object) -> bool:
            os.kill(os.getpid(), signal.SIGTERM)
            return False

        self.cloud.post(
            f'{base.COMPUTE}/flavors/big/os-extra_specs',
            additional_matcher=terminate,
        )
        self.assertEqual(
            'Interrupted; the new flavor g is removed again',
            self.refused('big'),
        )
        self.assert_nothing_left()

    def test_outside_the_main_thread(self) -> None:
        new = flavor_writing.NewFlavor('g', 4, 8192, 40, id='big')
        made = []

        def create() -> None:
            made.append(flavor_writing.create_flavor(self.conn, new, SPECS))

        thread = threading.Thread(target=create)
        thread.start()
        thread.join()
        self.assertEqual(SPECS, made[0].extra_specs)
        self.assertEqual(SPECS, self.nova.specs('big'))


class TestWriteExtraSpecs(TestCase):
    NEW = {'x': 'y', 'resources1:VGPU': '1', 'resources2:VGPU': '1'}

    def setUp(self) -> None:
        super().setUp()
        self.renew()

    def renew(self) -> None:
        self.nova.faults.clear()
        old = {'x': 'y', 'resources:VGPU': '1', 'trait:T': 'required'}
        self.nova.add('g', old, id='my g')
        self.flavor = flavors.get_flavor(self.conn, 'my g')

    def refused(self, new: dict[str, str] | None = None) -> str:
        return self.refuse(
            flavor_writing.write_extra_specs, self.flavor, new or self.NEW
        )

    def test_one_after_the_other(self) -> None:
        flavor_writing.write_extra_specs(self.conn, self.flavor, self.NEW)
        self.assertEqual(self.NEW, self.nova.specs('my g'))
        url = '/flavors/my g/os-extra_specs'
        self.assertEqual(
            [
                f'POST {url} compute 2.86',
                f'DELETE {url}/trait:T compute 2.61',
                f'DELETE {url}/resources:VGPU compute 2.61',
            ],
            self.writes,
        )

    def test_nothing_to_write(self) -> None:
        flavor_writing.write_extra_specs(
            self.conn, self.flavor, self.flavor.extra_specs
        )
        self.assertEqual([], self.writes)

    def test_the_first_write_fails(self) -> None:
        for answer in (*GONE, *BROKEN):
            with self.subTest(answer):
                self.renew()
                self.nova.fail('POST', '/os-extra_specs', answer)
                self.assertNotIn('to finish', self.refused())
                self.assertEqual(
                    self.flavor.extra_specs, self.nova.specs('my g')
                )

    def test_a_later_write_fails(self) -> None:
        for answer in (*GONE, *BROKEN, KeyboardInterrupt):
            with self.subTest(answer):
                self.renew()
                self.nova.fail('DELETE', '/resources:VGPU', answer)
                line = self.refused()
                self.assertTrue(
                    line.endswith(
                        '; to finish: openstack flavor unset --property '
                        "resources:VGPU 'my g'"
                    ),
                    line,
                )
                # never without its GPU
                self.assertEqual(
                    {**self.NEW, 'resources:VGPU': '1'},
                    self.nova.specs('my g'),
                )

    def test_what_is_left_to_set_and_to_remove(self) -> None:
        self.cloud.post(
            f'{base.COMPUTE}/flavors/my%20g/os-extra_specs',
            additional_matcher=lambda request: 'maxphys' in request.text,
            status_code=500,
        )
        self.assertEqual(
            'http://nova.example/v2.1/flavors/my%20g/os-extra_specs failed '
            'with HTTP 500: Internal Server Error; to finish: openstack '
            "flavor set --property hw:maxphysaddr_mode=emulate 'my g'; "
            'openstack flavor unset --property trait:T --property '
            "resources:VGPU 'my g'",
            self.refused({**self.NEW, 'hw:maxphysaddr_mode': 'emulate'}),
        )

    def test_an_interrupt_before_anything_is_known_to_be_done(self) -> None:
        self.nova.fail('POST', '/os-extra_specs', KeyboardInterrupt)
        self.assertEqual(
            'Interrupted; to finish: openstack flavor set --property '
            "resources1:VGPU=1 --property resources2:VGPU=1 'my g'; openstack "
            'flavor unset --property trait:T --property resources:VGPU '
            "'my g'",
            self.refused(),
        )


class TestDiscovery(TestCase):
    def test_nova_is_taken_to_validate_when_it_does_not_say(self) -> None:
        for url in (base.COMPUTE, f'{base.COMPUTE}/'):
            self.cloud.get(url, status_code=503)
        new = flavor_writing.NewFlavor('g', 4, 8192, 40, id='big')
        flavor_writing.create_flavor(self.conn, new, SPECS)
        self.assertEqual(
            ['2.61', '2.61', '2.86', '2.61'], self.microversions('compute')
        )


class TestDefinite(unittest.TestCase):
    def test_a_lost_answer_is_not(self) -> None:
        for exc, definite in (
            (sdk_exceptions.SDKException('x'), False),
            (KeyboardInterrupt(), False),
        ):
            self.assertIs(definite, flavor_writing._is_definite(exc))
