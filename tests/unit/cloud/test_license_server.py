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

import itertools
import re

from osc_lib import exceptions
import requests

from osc_gpu.cloud import license_model
from osc_gpu.cloud import license_project
from osc_gpu.cloud import license_server
from tests.unit import base
from tests.unit.cloud import wire
from tests.unit import fake_license

CUT = requests.exceptions.ConnectionError('Connection aborted.')
TITLES = (
    'security group nls',
    'rules of security group nls',
    'port nls-1',
    'port nls-2',
    'server group nls',
    'server nls-1',
    'server nls-2',
)
PROJECT = ('project cloud-services', 'role member for ')


def order(number=1, project='', **more):
    return license_server.Order(
        name='nls',
        nodes=license_model.nodes('nls', number),
        project=license_project.Asked(project, '', bool(project), 'member'),
        flavor='dls',
        image='nls-3.0.0-bios',
        network='private',
        **more,
    )


class TestCase(fake_license.TestCase, wire.TestCase):
    def setUp(self):
        super().setUp()
        self.heed_ctrl_c()
        self.told = []

    def create(self, wanted, timeout=60):
        run = license_server.Run(self.conn, self.told.append)
        return license_server.create(run, wanted, timeout=timeout)

    def fails(self, wanted):
        with self.assertRaises(exceptions.CommandError) as caught:
            self.create(wanted)
        return str(caught.exception)


class TestFaults(TestCase):
    """Each write fails in every way; the same order then goes on."""

    #: what is answered, and whether it was done all the same
    answers = (
        (409, False),
        (500, False),
        (503, True),
        (CUT, False),
        (CUT, True),
        (KeyboardInterrupt(), True),
    )

    def check(self, wanted, titles, numbers):
        self.assertEqual((), self.create(wanted).troubles)
        self.assertEqual(len(titles), len(self.fake.writes))
        expected = self.fake.state
        for number, (answer, done) in itertools.product(numbers, self.answers):
            with self.subTest(number=number, answer=answer, done=done):
                self.fake.reset()
                self.fake.fail(number, answer, done=done)
                self.check_words(wanted, titles, number, answer)
                self.fake.heal()
                outcome = self.create(wanted)
                self.assertEqual((), outcome.troubles)
                self.assertEqual(expected, self.fake.state)
                left = len(titles) - number + (not done)
                self.assertEqual(left, len(self.fake.writes))
                self.assertEqual(left, len(outcome.steps))

    def check_words(self, wanted, titles, number, answer):
        self.told.clear()
        line = self.fails(wanted)
        self.assertEqual(number, len(self.fake.writes))
        begin, _so_far, made = line.partition(' Made so far: ')
        self.assertIn(titles[number - 1], begin)
        for title in titles[: number - 1]:
            self.assertIn(title, made)
        self.assertEqual(number - 1, len(self.told))
        is_sure = answer == 409
        self.assertEqual(is_sure, begin.startswith('Cannot make '), line)
        self.assertEqual(not is_sure, 'is made is not known.' in line, line)
        again = 'Run the same command again to go on.'
        self.assertEqual(number > 1 or not is_sure, again in line, line)

    def test_pair(self):
        self.check(order(2), TITLES, range(1, 8))

    def test_new_project(self):
        titles = PROJECT + tuple(t for t in TITLES if not t.endswith('-2'))
        self.check(order(project='cloud-services'), titles, (1, 2, 3))

    def test_words(self):
        self.fake.fail(3, 409)
        line = self.fails(order())
        self.assertRegex(
            line,
            r'\ACannot make port nls-1: It is out of order\. Made so far: '
            r'security group nls \([-0-9]+\), rules of security group nls '
            r'\(icmp from 10\.0\.0\.0/24, .*\)\. Run the same command again '
            r'to go on\.\Z',
        )
        self.fake.reset()
        self.fake.fail(1, KeyboardInterrupt())
        self.assertEqual(
            'Interrupted; whether security group nls is made is not known. '
            'Run the same command again to go on.',
            self.fails(order()),
        )
        self.fake.reset()
        self.fake.fail(1, CUT)
        self.assertRegex(
            self.fails(order()),
            r'the connection was cut; whether security group nls is made is '
            r'not known\. Run the same command again to go on\.\Z',
        )


class TestLater(TestCase):
    def test_a_deleted_server(self):
        before = self.create(order(2))
        self.fake.delete_server('nls-1')
        after = self.create(order(2))
        self.assertEqual(['server nls-1'], titles(after))
        self.assertEqual(
            [port.id for port in before.there.ports.values()],
            [port.id for port in after.there.ports.values()],
        )

    def test_a_server_that_is_seen_for_a_moment_longer(self):
        self.create(order())
        self.fake.delete_server('nls-1')
        ghost = self.fake.add_server('nls-1', '', status='DELETED')
        self.assertEqual(['server nls-1'], titles(self.create(order())))
        self.fake.servers.remove(ghost)
        self.assertEqual([], titles(self.create(order())))

    def test_a_server_that_is_built_meanwhile(self):
        # Its port was free when it was still being built.
        self.fake.slowness = 1
        self.create(order(), timeout=0)
        outcome = self.create(order(), timeout=0)
        self.assertEqual((), outcome.troubles)

    def test_a_deleted_port(self):
        self.create(order())
        self.fake.ports.clear()
        outcome = self.create(order())
        self.assertEqual([], titles(outcome))
        self.assertRegex(
            ' '.join(outcome.troubles),
            r'\AServer nls-1 \(.*\) is not on port nls-1\Z',
        )

    def test_rules_that_were_taken_away(self):
        self.create(order())
        (group,) = self.fake.groups
        del group['security_group_rules'][3:]
        outcome = self.create(order())
        self.assertEqual(['rules of security group nls'], titles(outcome))
        self.assertIn('tcp 443 from 10.0.0.0/24', outcome.steps[0])

    def test_other_remotes(self):
        self.create(order())
        outcome = self.create(order(remotes=('192.0.2.0/24',)))
        self.assertEqual(['rules of security group nls'], titles(outcome))
        (trouble,) = outcome.troubles
        self.assertIn('also lets in icmp from 10.0.0.0/24, tcp 22', trouble)
        self.assertIn('openstack security group rule delete', trouble)

    def test_a_port_of_an_admin(self):
        self.fake.be('member')
        self.create(order())
        self.fake.delete_server('nls-1')
        self.fake.ports[0]['description'] = ''
        self.fake.ports[0]['security_groups'] = []
        outcome = self.create(order())
        self.assertEqual(
            ['security group membership of port nls-1', 'server nls-1'],
            titles(outcome),
        )
        self.assertEqual((), outcome.troubles)
        (port,), (group,) = self.fake.ports, self.fake.groups
        self.assertEqual([group['id']], port['security_groups'])

    def test_a_look_that_fails(self):
        self.fake.slowness = 99
        self.create(order(), timeout=1)
        self.cloud.get(
            re.compile(f'{base.COMPUTE}/servers/detail'),
            [
                {'json': {'servers': self.fake.servers}},
                {'status_code': 503, 'text': 'down'},
            ],
        )
        self.assertEqual(
            'http://nova.example/v2.1/servers/detail failed with HTTP 503: '
            'down.',
            self.fails(order()),
        )

    def test_two_at_once(self):
        self.create(order())
        twin = dict(self.fake.servers[0], id='twin')
        self.fake.servers.append(twin)
        self.assertRegex(
            self.fails(order()),
            r'\AThere is more than one server nls-1: .*, twin\. Delete what ',
        )


def titles(outcome):
    return [step.partition(' (')[0] for step in outcome.steps]
