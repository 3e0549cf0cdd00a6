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

from osc_gpu.cloud import images
from tests.unit.cloud import wire
from tests.unit import fake_images

NOWHERE = '11111111-2222-3333-4444-555555555555'


class TestCase(wire.TestCase):
    def setUp(self):
        super().setUp()
        self.glance = fake_images.FakeGlance(self.cloud)


class TestRead(unittest.TestCase):
    def test_properties(self):
        found = images.read(
            {
                'id': 'x',
                'name': 'n',
                'status': 'active',
                'min_ram': 64,
                'min_disk': 3,
                'size': 5,
                'virtual_size': 7,
                'owner': 'p',
                'os_hash_value': 'abc',
                'os_hidden': False,
                'tags': ['a'],
                'hw_machine_type': 'q35',
                'connection': 'hostile',
                'trait:X': 'required',
            }
        )
        self.assertEqual(
            images.Image(
                'x',
                'n',
                'active',
                64,
                3,
                5,
                7,
                {
                    'hw_machine_type': 'q35',
                    'connection': 'hostile',
                    'trait:X': 'required',
                },
            ),
            found,
        )

    def test_what_glance_does_not_know(self):
        found = images.read(
            {'id': 'x', 'status': 'queued', 'name': None, 'size': None}
        )
        self.assertEqual(
            images.Image('x', '', 'queued', 0, 0, 0, 0, {}), found
        )


class TestNames(unittest.TestCase):
    def test_what_a_command_finds(self):
        def make(number, name):
            return fake_images.make(id=f'id-{number}', name=name)

        found = images.names(
            [
                make(1, 'ubuntu'),
                make(2, 'rocky'),
                make(3, 'ubuntu'),
                make(4, ''),
                make(5, '-f'),
                make(6, 'a\x1b[2Jb'),
                make(7, 'a b; $(id)'),
            ]
        )
        self.assertEqual(
            {
                'id-1': 'id-1',
                'id-2': 'rocky',
                'id-3': 'id-3',
                'id-4': 'id-4',
                'id-5': 'id-5',
                'id-6': 'id-6',
                'id-7': 'a b; $(id)',
            },
            found,
        )


class TestListImages(TestCase):
    def test_pages(self):
        self.glance.page = 2
        for count, asked in ((0, 1), (1, 1), (2, 1), (3, 2), (4, 2), (5, 3)):
            with self.subTest(count):
                self.cloud.reset_mock()
                self.glance.images.clear()
                for n in range(count):
                    self.glance.add(f'i{n}')
                self.assertEqual(
                    [f'i{n}' for n in range(count)],
                    [image.name for image in images.list_images(self.conn)],
                )
                self.assertEqual(asked, len(self.requests))
        self.assertEqual('GET /v2/images?limit=1000', self.requests[0])
        self.assertRegex(
            self.requests[1],
            r'\AGET /v2/images[?]limit=1000&marker=[0-9a-f-]{36}\Z',
        )

    def test_what_no_server_boots_from(self):
        self.glance.add('kernel', disk_format='aki')
        self.glance.add('hidden', os_hidden=True)
        self.glance.add('disk')
        self.glance.add('queued', disk_format=None, status='queued')
        self.assertEqual(
            ['disk', 'queued'],
            [image.name for image in images.list_images(self.conn)],
        )


class TestFindImage(TestCase):
    def find(self, name):
        self.cloud.reset_mock()
        return images.find_image(self.conn, name).id

    def test_by_name(self):
        found = self.glance.add('ubuntu-24.04')
        self.glance.add('ubuntu')
        self.assertEqual(found, self.find('ubuntu-24.04'))
        self.assertEqual(
            ['GET /v2/images?name=eq:ubuntu-24.04&os_hidden=false'],
            self.requests,
        )

    def test_by_id(self):
        found = self.glance.add('ubuntu')
        self.assertEqual(found, self.find(found))
        self.assertEqual([f'GET /v2/images/{found}'], self.requests)

    def test_hidden(self):
        found = self.glance.add('old', os_hidden=True)
        self.assertEqual(found, self.find('old'))
        self.assertEqual(2, len(self.requests))

    def test_name_like_an_id(self):
        found = self.glance.add(NOWHERE)
        self.assertEqual(found, self.find(NOWHERE))
        self.assertEqual(2, len(self.requests))

    def test_hostile_names(self):
        for name in (
            'a:b', 'eq:a', 'in:"a"', '2026-11-21T05:00:00Z', 'a&status=queued',
            '../images', '%2e', 'a"b', "a'b; $(id)", 'ä', '-x',
        ):  # fmt: skip
            with self.subTest(name):
                found = self.glance.add(name)
                self.assertEqual(found, self.find(name))

    def test_none(self):
        for name in ('nothing', NOWHERE):
            with self.assertRaisesRegex(
                exceptions.CommandError,
                f"Image '{name}' could not be found.",
            ):
                self.find(name)

    def test_several(self):
        ids = [self.glance.add('twin'), self.glance.add('twin')]
        with self.assertRaisesRegex(
            exceptions.CommandError,
            f"Several images are named 'twin': give an ID, {ids[0]} or "
            f'{ids[1]}',
        ):
            self.find('twin')

    def test_refused(self):
        self.cloud.get(
            f'{wire.base.IMAGE}/v2/images/{NOWHERE}', status_code=500
        )
        with self.assertRaises(sdk_exceptions.HttpException):
            self.find(NOWHERE)


class TestSetProperties(TestCase):
    def test_one_request(self):
        image_id = self.glance.add('ubuntu', hw_machine_type='pc')
        image = images.find_image(self.conn, image_id)
        self.cloud.reset_mock()
        images.set_properties(
            self.conn,
            image,
            {'os_version': '$(id)\n"', 'hw_machine_type': 'q35'},
        )
        self.assertEqual([f'PATCH /v2/images/{image_id}'], self.requests)
        self.assertEqual(
            [
                [
                    {
                        'op': 'add',
                        'path': '/hw_machine_type',
                        'value': 'q35',
                    },
                    {
                        'op': 'add',
                        'path': '/os_version',
                        'value': '$(id)\n"',
                    },
                ]
            ],
            self.glance.patches,
        )

    def test_refused(self):
        image = images.find_image(self.conn, self.glance.add('ubuntu'))
        self.glance.refusal = (403, 'Attribute &#x27;a&#x27; is reserved.')
        with self.assertRaises(sdk_exceptions.ForbiddenException):
            images.set_properties(self.conn, image, {'a': 'b'})
