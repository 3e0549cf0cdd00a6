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

from osc_lib import exceptions

from osc_gpu.cloud import license_project
from tests.unit import base
from tests.unit.cloud import wire
from tests.unit import fake_license

OWN = fake_license.OWN
OTHER = 'd' * 32


class TestCase(fake_license.TestCase, wire.TestCase):
    def find(self, project='', domain='', is_new=False, role='member'):
        return license_project.find(
            self.conn,
            license_project.Asked(project, domain, is_new, role),
        )

    def refused(self, *args, **more):
        with self.assertRaises(exceptions.CommandError) as caught:
            self.find(*args, **more)
        return str(caught.exception)


class TestFind(TestCase):
    def test_own(self):
        for asked in (
            {},
            {'project': 'admin'},
            {'project': OWN},
            {'project': 'admin', 'domain': 'default'},
            {'project': 'admin', 'domain': 'Default'},
            {'project': 'admin', 'is_new': True},
        ):
            place = self.find(**asked)
            self.assertEqual(
                (OWN, True, ()), (place.id, place.is_own, place.steps), asked
            )
        self.assertEqual([], self.requests)

    def test_one_with_a_role(self):
        self.fake.add_project(OTHER, 'lab', 'reader')
        for asked in ('lab', OTHER):
            place = self.find(asked)
            self.assertEqual(
                (OTHER, 'lab', False, ()),
                (place.id, place.name, place.is_own, place.steps),
            )
        self.assertEqual(['GET /auth/projects'] * 2, self.requests)

    def test_one_of_the_same_name_elsewhere(self):
        self.fake.add_project(OTHER, 'admin', 'member', domain='other')
        self.assertEqual(OWN, self.find('admin').id)
        for domain in ('Other', 'other'):
            self.assertEqual(OTHER, self.find('admin', domain).id)
        self.assertIn(
            "There is no role", self.refused('x', is_new=True, role='y')
        )

    def test_more_than_one(self):
        self.fake.add_project(OTHER, 'lab', 'member')
        self.fake.add_project('e' * 32, 'lab', 'member', domain='other')
        self.assertEqual(
            'There is more than one project lab; name its domain with '
            f'--project-domain, or its ID: {OTHER}, {"e" * 32}',
            self.refused('lab'),
        )
        self.assertEqual(OTHER, self.find('lab', 'default').id)

    def test_none(self):
        for be in (('member',), ('admin',)):
            self.fake.be(*be)
            self.fake.add_project(OTHER, 'lab')
            self.assertEqual(
                'You have no role in a project lab. An admin gives you one '
                f'with: openstack role add --user {self.user} --project lab '
                'member; --new-project lab makes the project',
                self.refused('lab'),
            )

    def test_a_name_is_quoted(self):
        self.assertIn("--project '$(id)' member;", self.refused('$(id)'))

    def test_domains_that_are_not_shown(self):
        self.fake.be('member')
        self.fake.add_project(OTHER, 'lab', 'member', domain='other')
        self.assertEqual(OTHER, self.find('lab', 'other').id)
        self.assertIn('You have no role', self.refused('lab', 'Other'))

    def test_no_project(self):
        token = self.token('admin')
        del token['token']['project']
        self.cloud.post(
            f'{base.AUTH_URL}/auth/tokens',
            json=token,
            headers={'X-Subject-Token': OWN},
        )
        self.assertEqual(
            'Your token is not for a project; name one with --project',
            self.refused(),
        )

    @property
    def user(self):
        auth = self.conn.session.auth
        return auth.get_access(self.conn.session).username


class TestNew(TestCase):
    def test_new(self):
        place = self.find('cs', is_new=True)
        self.assertEqual(
            ('', 'cs', 'default', 'id-member'),
            (place.id, place.name, place.domain_id, place.role_id),
        )
        self.assertEqual(
            ['project cs', f'role member for {place.user[0]} in project cs'],
            list(place.steps),
        )
        self.assertEqual(
            [
                'GET /auth/projects',
                'GET /roles?name=member',
                'GET /projects?name=cs&domain_id=default',
            ],
            self.requests,
        )

    def test_in_another_domain(self):
        self.assertEqual('other', self.find('cs', 'Other', True).domain_id)

    def test_one_that_is_there(self):
        # As when a run was killed between the project and the role.
        self.fake.add_project(OTHER, 'cs')
        place = self.find('cs', is_new=True)
        self.assertEqual((OTHER, 1), (place.id, len(place.steps)))
        # It is a name, never an ID.
        self.assertEqual('', self.find(OTHER, is_new=True).id)

    def test_one_that_was_entered(self):
        self.fake.add_project(OTHER, 'cs', 'member')
        place = self.find('cs', is_new=True, role='admin')
        self.assertEqual((OTHER, ()), (place.id, place.steps))

    def test_no_admin(self):
        self.fake.be('member')
        self.assertEqual(
            '--new-project cs takes an admin: You lack the right list_roles; '
            'ask for a role that has it',
            self.refused('cs', is_new=True),
        )

    def test_no_such_role(self):
        self.assertEqual(
            'There is no role nope: name another one with --role',
            self.refused('cs', is_new=True, role='nope'),
        )


class TestEnter(TestCase):
    def test_own(self):
        there = license_project.enter(self.conn, self.find())
        self.assertIs(self.conn, there)

    def test_other(self):
        self.fake.add_project(OTHER, 'lab', 'member')
        there = license_project.enter(self.conn, self.find('lab'))
        self.assertEqual(OTHER, there.current_project_id)
        self.assertEqual({'member'}, license_project.roles(there))

    def test_credentials_that_stay(self):
        self.fake.add_project(OTHER, 'lab', 'member')
        place = self.find('lab')
        for stays, why in (
            (True, 'they are for another project only'),
            (False, 'Not authenticated: No role'),
        ):
            self.fake.stays = stays
            self.fake.be('admin')
            with self.assertRaises(exceptions.CommandError) as caught:
                license_project.enter(self.conn, place)
            self.assertEqual(
                f'Your credentials do not get you into project lab ({why}): '
                f'log in to it, as with --os-project-id {OTHER}, and leave '
                '--project and --new-project out',
                str(caught.exception),
            )
