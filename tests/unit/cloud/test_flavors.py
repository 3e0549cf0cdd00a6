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

import unittest

from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from osc_gpu.cloud import flavors
from tests.unit.cloud import wire
from tests.unit import fake_flavors


class TestCase(fake_flavors.TestCase, wire.TestCase):
    pass


class TestListFlavors(TestCase):
    def test_one_request(self) -> None:
        self.nova.add('b', {'x': 'y'}, **{'OS-FLV-EXT-DATA:ephemeral': 5})
        self.nova.add('a', swap=512, **{'os-flavor-access:is_public': False})
        found = flavors.list_flavors(self.conn)
        self.assertEqual(
            [
                flavors.Flavor(
                    'id-b', 'b', 4, 8192, 40, 5, 0, True, {'x': 'y'}
                ),
                flavors.Flavor('id-a', 'a', 4, 8192, 40, 0, 512, False, {}),
            ],
            found,
        )
        self.assertEqual(['GET /flavors/detail?is_public=None'], self.requests)
        self.assertEqual(['2.61'], self.microversions('compute'))

    def test_pages(self) -> None:
        self.nova.page = 2
        for count, asked in ((0, 1), (1, 1), (2, 1), (3, 2), (4, 2), (5, 3)):
            with self.subTest(count):
                self.cloud.reset_mock()
                self.nova.flavors.clear()
                for n in range(count):
                    self.nova.add(f'f&{n}')
                self.assertEqual(
                    [f'f&{n}' for n in range(count)],
                    [f.name for f in flavors.list_flavors(self.conn, True)],
                )
                self.assertEqual(asked, len(self.requests))
        self.assertEqual(
            [
                'GET /flavors/detail?is_public=True',
                'GET /flavors/detail?is_public=True&marker=id-f&1',
                'GET /flavors/detail?is_public=True&marker=id-f&3',
            ],
            self.requests,
        )

    def test_an_empty_page_ends_it(self) -> None:
        self.nova.page = 0
        self.nova.add('a')
        self.assertEqual([], flavors.list_flavors(self.conn))

    def test_extra_specs_that_are_not_shown(self) -> None:
        self.nova.add('a')
        self.nova.hide_extra_specs = True
        with self.assertRaisesRegex(
            exceptions.CommandError, 'os-flavor-extra-specs:index'
        ):
            flavors.list_flavors(self.conn)


class TestFindFlavor(TestCase):
    def find(self, name_or_id: str) -> str:
        return flavors.find_flavor(self.conn, name_or_id).id

    def test_an_id_goes_before_a_name(self) -> None:
        self.nova.add('42', id='1')
        self.nova.add('x', id='42')
        self.assertEqual('42', self.find('42'))
        self.assertEqual('42', self.find('x'))
        self.assertEqual(
            ['GET /flavors/detail?is_public=None'] * 2, self.requests
        )

    def test_a_flavor_that_no_list_shows(self) -> None:
        self.nova.add('x', id='a b')
        self.nova.unlisted = {'a b'}
        self.assertEqual('a b', self.find('a b'))
        self.assertTrue(self.cloud.last_request.url.endswith('/flavors/a%20b'))

    def test_none(self) -> None:
        for name in ('nope', 'a/b', '../servers', 'x?y=z', '%2e'):
            with self.subTest(name):
                with self.assertRaises(
                    sdk_exceptions.NotFoundException
                ) as caught:
                    self.find(name)
                self.assertIn(
                    f'Flavor {name} could not be found.',
                    str(caught.exception.details),
                )

    def test_names_that_would_be_another_path(self) -> None:
        self.nova.add('x')
        for name in ('', '.', '..', 'detail'):
            with self.subTest(name):
                with self.assertRaisesRegex(
                    exceptions.CommandError, f"^Flavor '{name}' could not be"
                ):
                    self.find(name)
        self.assertEqual(4, len(self.requests))


class TestWithGpu(unittest.TestCase):
    def test_sorted_and_filtered(self) -> None:
        def flavor(flavor_id: str, name: str, **specs: str) -> flavors.Flavor:
            return flavors.Flavor(
                *(flavor_id, name, 1, 1, 1, 0, 0, True),
                {key.replace('__', ':'): v for key, v in specs.items()},
            )

        given = [
            flavor('3', 'b', resources__VGPU='1'),
            flavor('2', 'b', pci_passthrough__alias='a:1'),
            flavor('1', 'c'),
            flavor('4', 'a', resources__CUSTOM_FOO='2'),
        ]
        for aliases, classes, ids in (
            ((), (), ['2', '3']),
            (('a',), (), ['2']),
            ((), ('CUSTOM_FOO',), ['4']),
            ((), ('VGPU', 'CUSTOM_FOO'), ['4', '3']),
            (('a',), ('VGPU',), []),
        ):
            with self.subTest(aliases=aliases, classes=classes):
                found = flavors.with_gpu(given, aliases, classes)
                self.assertEqual(ids, [f.id for f, _request in found])
        self.assertEqual(
            'CUSTOM_FOO:2',
            flavors.with_gpu(given, (), ('CUSTOM_FOO',))[0][1].text,
        )
