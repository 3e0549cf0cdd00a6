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

from unittest import mock

from osc_gpu.cloud import aliases
from osc_gpu.cloud import flavors
from tests.unit import base
from tests.unit.cloud import wire
from tests.unit import fake_aliases
from tests.unit import fake_cloud

KEY = 'pci_passthrough:alias'


class TestCase(fake_cloud.TestCase, wire.TestCase):
    def setUp(self):
        super().setUp()
        self.aliases = fake_aliases.FakeAliases(self.nova, self.cloud)

    def add_flavor(self, name, value):
        return self.nova.add(name, {KEY: value})

    def flavor(self, value, name='g1'):
        return flavors.get_flavor(self.conn, self.add_flavor(name, value))

    @property
    def probed(self):
        return [
            request.json()['server']['flavorRef']
            for request in self.cloud.request_history
            if request.method == 'POST' and request.url.endswith('/servers')
        ]


class TestFindImage(TestCase):
    def test_smallest(self):
        found = aliases.find_image(self.conn)
        self.assertEqual(fake_aliases.IMAGE, found)
        self.assertEqual(
            ['GET /v2/images?status=active&size_min=1&sort=size:asc&limit=1'],
            self.requests,
        )

    def test_none(self):
        self.aliases.images = []
        self.assertIsNone(aliases.find_image(self.conn))


class TestProbe(TestCase):
    def probe(self, value='a:1', image=fake_aliases.IMAGE):
        return aliases.probe(self.conn, self.flavor(value), image)

    def answer(self, status, words):
        self.aliases.answers['id-g1'] = status, words
        return self.probe()

    def test_defined(self):
        self.aliases.defined = {'a', 'b'}
        self.assertIs(True, self.probe('a:1, b:2').defined)
        self.assertEqual('POST /servers', self.requests[-1])

    def test_missing(self):
        self.aliases.defined = {'a'}
        found = self.probe('a:1,no such: 1,b:1')
        self.assertEqual(
            (False, 'no such', 'PCI alias no such is not defined', False),
            found,
        )

    def test_name_with_the_words_in_it(self):
        name = 'x is not defined'
        self.assertEqual(name, self.probe(f'{name}:1').missing)

    def test_what_comes_after_the_aliases(self):
        for status, words in (
            (400, "Flavor's memory is too small for requested image."),
            (400, "Flavor's disk is too small for requested image. Flavor"),
            (400, "Flavor's disk is smaller than the minimum size"),
            (400, 'Block Device Mapping is Invalid: failed to get snapshot'),
            (
                403,
                'Only volume-backed servers are allowed for flavors with '
                'zero disk.',
            ),
        ):
            with self.subTest(words=words):
                found = self.answer(status, words)
                self.assertEqual((True, '', words, False), found)

    def test_unknown(self):
        for status, words in (
            (400, 'Invalid PCI alias definition: nonsense'),
            (400, 'Compute host other could not be found.'),
            (404, 'Flavor id-g1 could not be found.'),
            (409, 'Conflict.'),
        ):
            with self.subTest(words=words):
                found = self.answer(status, words)
                self.assertEqual((None, '', words, False), found)

    def test_malformed(self):
        found = self.answer(500, "Unexpected API Error\n<class 'ValueError'>")
        self.assertIsNone(found.defined)
        self.assertIn("HTTP 500: Unexpected API Error <class", found.why)

    def test_words_that_do_not_count_at_another_status(self):
        found = self.answer(500, 'PCI alias a is not defined')
        self.assertIsNone(found.defined)
        found = self.answer(403, 'PCI alias a is not defined')
        self.assertIsNone(found.defined)

    def test_forbidden(self):
        rule = 'os_compute_api:servers:create:requested_destination'
        found = self.answer(
            403, f"Policy doesn't allow {rule} to be performed."
        )
        self.assertIsNone(found.defined)
        self.assertIs(True, found.is_forbidden)
        self.assertIn(rule, found.why)

    def test_no_image(self):
        found = self.probe(image=None)
        self.assertEqual((None, ''), found[:2])
        self.assertIn('no active image', found.why)
        self.assertEqual([], self.probed)

    def test_a_server_is_made(self):
        self.cloud.post(
            f'{base.COMPUTE}/servers',
            status_code=202,
            json={'server': {'id': 'made'}},
        )
        gone = self.cloud.delete(
            f'{base.COMPUTE}/servers/made', status_code=204
        )
        found = self.probe()
        self.assertIsNone(found.defined)
        self.assertIn('was deleted: made', found.why)
        self.assertEqual(1, gone.call_count)

    def test_a_server_is_made_and_stays(self):
        self.cloud.post(
            f'{base.COMPUTE}/servers',
            status_code=202,
            json={'server': {'id': 'made'}},
        )
        self.cloud.delete(f'{base.COMPUTE}/servers/made', status_code=500)
        self.assertIn('delete it: made', self.probe().why)

    def test_success_without_a_server(self):
        for body in ({}, {'server': None}, {'server': []}, []):
            with self.subTest(body=body):
                del self.cloud.request_history[:]
                self.cloud.post(
                    f'{base.COMPUTE}/servers', status_code=200, json=body
                )
                self.assertIsNone(self.probe().defined)
                self.assertNotIn(
                    'DELETE', [r.method for r in self.cloud.request_history]
                )


class TestIsSound(TestCase):
    def is_sound(self, value):
        flavor = mock.Mock(spec=flavors.Flavor, extra_specs={KEY: value})
        return aliases.is_sound(flavor)

    def test_it(self):
        for value in ('a:1', 'a:0', 'a:-1', 'a:+1', 'a: 1 ', 'a:1, b:2'):
            with self.subTest(value=value):
                self.assertTrue(self.is_sound(value))
        for value in ('', 'a', 'a:', 'a:x', 'a:1:2', 'a:1,', ':1', 'a:1,b'):
            with self.subTest(value=value):
                self.assertFalse(self.is_sound(value))


class TestProbeAll(TestCase):
    def probe_all(self, *names, at_once=1):
        found = flavors.list_flavors(self.conn)
        del self.cloud.request_history[:]
        probes = aliases.probe_all(self.conn, found, names, at_once)
        return {name: probe.defined for name, probe in probes.items()}

    def test_one_for_each(self):
        self.aliases.defined = {'a', 'b'}
        self.add_flavor('1', 'a:1,b:1')
        self.add_flavor('2', 'b:1')
        self.add_flavor('3', 'a:4')
        self.add_flavor('4', 'a:1')
        for at_once in (1, 8):
            found = self.probe_all('a', 'b', at_once=at_once)
            self.assertEqual({'a': True, 'b': True}, found)
            self.assertEqual(['id-3', 'id-2'], self.probed)

    def test_one_flavor_tells_of_several(self):
        self.aliases.defined = {'a', 'b'}
        self.add_flavor('1', 'a:1,b:1')
        found = self.probe_all('a', 'b')
        self.assertEqual({'a': True, 'b': True}, found)
        self.assertEqual(['id-1'], self.probed)

    def test_only_behind_a_missing_one(self):
        self.aliases.defined = {'a', 'c'}
        self.add_flavor('1', 'a:1,b:1,c:1')
        found = self.probe_all('a', 'b', 'c')
        self.assertEqual({'a': True, 'b': False, 'c': None}, found)
        self.assertEqual(['id-1'], self.probed)

    def test_why_it_is_behind(self):
        self.add_flavor('1', 'b:1,c:1')
        found = flavors.list_flavors(self.conn)
        probes = aliases.probe_all(self.conn, found, ['b', 'c'])
        self.assertIn('without b, which is not', probes['c'].why)
        self.assertIn('PCI alias b is not', probes['b'].why)

    def test_another_flavor_tells(self):
        self.aliases.defined = {'a'}
        self.add_flavor('1', 'a:1')
        self.add_flavor('2', 'a:2')
        self.aliases.answers['id-1'] = 400, 'NUMA nonsense'
        self.assertEqual({'a': True}, self.probe_all('a'))
        self.assertEqual(['id-1', 'id-2'], self.probed)

    def test_no_more_than_three(self):
        for name in '12345':
            self.add_flavor(name, 'a:1')
            self.aliases.answers[f'id-{name}'] = 400, 'NUMA nonsense'
        self.assertEqual({'a': None}, self.probe_all('a'))
        self.assertEqual(['id-1', 'id-2', 'id-3'], self.probed)

    def test_malformed_is_not_probed(self):
        self.add_flavor('1', 'a')
        self.assertEqual({'a': None}, self.probe_all('a'))
        self.assertEqual([], self.probed)

    def test_nothing_to_probe(self):
        self.assertEqual({}, self.probe_all())
        self.assertEqual([], self.requests)
