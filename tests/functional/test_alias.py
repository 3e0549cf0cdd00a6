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

"""Aliases, with Nova's configuration, database and Placement as witnesses."""

import contextlib
import sqlite3

from tests.functional import shells

KEY = 'pci_passthrough:alias'

#: What Nova writes when it takes a request for a server.
_TABLES = {
    'nova.sqlite': ('instances',),
    'nova_api.sqlite': (
        'build_requests',
        'instance_mappings',
        'request_specs',
    ),
}


class TestCase(shells.TestCase):
    def make_raw(self, value):
        """Create a flavor with an alias that Nova does not look at."""
        flavor = self.admin.compute.create_flavor(
            name=self.name('raw'), vcpus=1, ram=128, disk=1
        )
        self.addCleanup(self.forget_flavor, flavor.name)
        response = self.admin.compute.post(
            f'/flavors/{flavor.id}/os-extra_specs',
            json={'extra_specs': {KEY: value}},
            microversion='2.61',
        )
        self.assertEqual(200, response.status_code, response.text)
        return flavor.name

    def rows(self):
        """Count the rows of requests for servers, by table."""
        found = {}
        for name, tables in _TABLES.items():
            uri = f'file:{self.state / "db" / name}?mode=ro'
            with contextlib.closing(sqlite3.connect(uri, uri=True)) as db:
                for table in tables:
                    query = f'SELECT count(*), max(id) FROM {table}'
                    found[table] = db.execute(query).fetchone()
        return found

    def aliases(self, *argv):
        rows = self.table('gpu', 'alias', 'list', *argv)
        return {row['Name']: row for row in rows}


class TestAlias(TestCase):
    def test_defined_or_not(self):
        defined = self.make_flavor('--alias', 'a100:1')
        nope = self.name('nope')
        undefined = self.make_flavor('--alias', f'{nope}:1')
        before = self.rows()
        found = self.aliases()
        self.assertEqual(before, self.rows())
        self.assertEqual('yes', found['a100']['Defined'])
        self.assertIn(defined, found['a100']['Flavors'])
        self.assertEqual(
            {
                'Name': nope,
                'Defined': 'no',
                'Resource Class': 'unknown',
                'Models': [],
                'Flavors': [undefined],
                'Servers': 0,
            },
            found[nope],
        )

    def test_names_of_malformed_flavors(self):
        only, also = self.name('only'), self.name('also')
        self.make_raw(only)
        self.make_raw(f'{also}:x')
        self.make_flavor('--alias', f'{also}:1')
        found = self.aliases()
        self.assertEqual('unknown', found[only]['Defined'])
        self.assertEqual('no', found[also]['Defined'])

    def test_behind_one_that_is_not_defined(self):
        nope = self.name('nope')
        later = self.name('later')
        self.make_flavor('--alias', f'{nope}:1', '--alias', f'{later}:1')
        found = self.table('gpu', 'alias', 'show', later)
        self.assertEqual('unknown', found['defined'])
        self.assertIn(f'without {nope}', found['detail'])

    def test_what_comes_after_the_aliases(self):
        """Nova refuses the flavor for the image, and knows the alias."""
        flavor = self.admin.compute.create_flavor(
            name=self.name('no-disk'), vcpus=1, ram=128, disk=0
        )
        self.addCleanup(self.forget_flavor, flavor.name)
        self.ok(
            'gpu', 'flavor', 'set', flavor.name, '--alias', 'v100:1'
        )  # fmt: skip
        found = self.table('gpu', 'alias', 'show', 'v100')
        self.assertEqual('yes', found['defined'])

    def test_learned_from_a_server(self):
        flavor = self.make_flavor('--alias', 'v100:1')
        before = self.table('gpu', 'alias', 'show', 'v100')
        server = self.make_server(flavor)
        held = self.allocations(server['id'])
        classes = {c for amounts in held.values() for c in amounts}
        classes -= {'VCPU', 'MEMORY_MB', 'DISK_GB'}
        host = self.guest(server['id'])['host']
        found = self.aliases('--host', host)['v100']
        self.assertEqual(classes, set(found['Resource Class']))
        self.assertEqual(before['servers'] + 1, found['Servers'])
        self.assertEqual(1, len(found['Models']))
        self.assertEqual(0, self.aliases('--host', 'cpu1')['v100']['Servers'])
        project = self.admin.compute.get_server(server['id']).project_id
        of_project = self.aliases('--project', project)['v100']
        self.assertGreaterEqual(of_project['Servers'], 1)
        (resource_class,) = classes
        found = self.aliases('--resource-class', resource_class)
        self.assertIn('v100', found)
        self.assertNotIn('a100', found)

    def test_tenant(self):
        self.make_flavor('--alias', 'a100:1')
        before = self.rows()
        for argv in (('list',), ('show', 'a100')):
            line = self.fails('gpu', 'alias', *argv, user='member')
            self.assertIn('You lack the right', line)
        self.assertEqual(before, self.rows())

    def test_what_there_is_not(self):
        line = self.fails('gpu', 'alias', 'show', self.name('none'))
        self.assertIn('Nova lists no aliases', line)
        line = self.fails('gpu', 'alias', 'list', '--host', 'nowhere')
        self.assertIn("No compute service host named 'nowhere'", line)
