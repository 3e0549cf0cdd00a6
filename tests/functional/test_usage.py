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

"""Usage against Placement's sums, Keystone's limits and Nova's database."""

import contextlib
import datetime
import sqlite3
from typing import Any
import uuid

from tests.functional import base
from tests.functional import shells

A100 = 'CUSTOM_PCI_10DE_20B5'
COLUMNS = ['Project', 'Resource Class', 'Used', 'Servers', 'Limit']


class TestCase(shells.TestCase):
    def setUp(self):
        super().setUp()
        self.lab = self.project_id('lab')

    def project_id(self, name: str) -> str:
        return self.admin.identity.find_project(name, ignore_missing=False).id

    def usages(self, project_id: str) -> dict[str, int]:
        """What Placement counts for a project, whoever holds it."""
        found = self.placement(f'/usages?project_id={project_id}')['usages']
        used: dict[str, int] = {}
        for amounts in found.values():
            for name, amount in amounts.items():
                if name in (A100, 'VGPU'):
                    used[name] = used.get(name, 0) + amount
        return used

    def rows(self, *argv: str) -> dict[tuple[str, str], dict[str, Any]]:
        """``gpu usage list``, by project and class."""
        found = self.table('gpu', 'usage', 'list', *argv)
        return {(r['Project'], r['Resource Class']): r for r in found}

    def launched(self, server: str, when: datetime.datetime) -> None:
        """Let Nova believe for this test that a server was launched then."""
        now = datetime.datetime.now(datetime.UTC)
        self.addCleanup(self._set_launched, server, now)
        self._set_launched(server, when)

    def _set_launched(self, server: str, when: datetime.datetime) -> None:
        path = self.state / 'db' / 'nova.sqlite'
        with (
            contextlib.closing(sqlite3.connect(path, timeout=30)) as database,
            database,
        ):
            done = database.execute(
                'UPDATE instances SET launched_at = ? WHERE uuid = ?',
                [when.strftime('%Y-%m-%d %H:%M:%S.%f'), server],
            )
            self.assertEqual(1, done.rowcount)


class TestUsage(TestCase):
    def setUp(self):
        super().setUp()
        if not self.spec.topology['pci_in_placement']:
            self.skipTest('this sandbox keeps PCI out of Placement')

    def make_vgpu_server(self, user='member'):
        return self.make_server(self.make_flavor('--vgpu'), user=user)

    def test_used(self):
        before = self.rows()
        self.make_vgpu_server()
        self.make_server(self.make_flavor('--alias', 'a100:2'))
        after = self.rows('--long')
        used = self.usages(self.lab)
        for name, gpus in (('VGPU', 1), (A100, 2)):
            row = after['lab', name]
            old = before.get(('lab', name), {'Used': 0, 'Servers': 0})
            self.assertEqual([*COLUMNS, 'Project ID', 'Requested'], list(row))
            self.assertEqual(used[name], row['Used'])
            self.assertEqual(old['Used'] + gpus, row['Used'])
            self.assertEqual(old['Servers'] + 1, row['Servers'])
            self.assertEqual(self.lab, row['Project ID'])
        shown = self.table('gpu', 'usage', 'show', user='member')
        self.assertEqual(used, shown['used'])
        self.assertEqual(self.lab, shown['project_id'])
        (row,) = self.rows('--resource-class', 'VGPU', '--project', 'lab')
        self.assertEqual(('lab', 'VGPU'), row)

    def test_two_projects(self):
        self.make_vgpu_server()
        self.make_vgpu_server('admin')
        rows = self.rows()
        for name in ('lab', 'admin'):
            used = self.usages(self.project_id(name))
            self.assertEqual(used['VGPU'], rows[name, 'VGPU']['Used'])
        only = self.rows('--project', 'admin')
        self.assertEqual({'admin'}, {project for project, _c in only})
        self.assertEqual(rows['admin', 'VGPU'], only['admin', 'VGPU'])
        shown = self.table('gpu', 'usage', 'show')
        self.assertEqual(self.project_id('admin'), shown['project_id'])
        self.assertEqual(rows['admin', 'VGPU']['Used'], shown['used']['VGPU'])

    def wait_for(self, server, status):
        def there():
            found = self.admin.compute.get_server(server)
            self.assertNotEqual('ERROR', found.status)
            return found.status == status

        base.wait_until(status, there)

    def test_resize_counts_twice(self):
        server = self.make_vgpu_server()['id']
        before = self.rows()['lab', 'VGPU']
        self.admin.compute.migrate_server(server)
        self.wait_for(server, 'VERIFY_RESIZE')
        during = self.rows('--long')['lab', 'VGPU']
        self.assertEqual(before['Used'] + 1, during['Used'])
        self.assertEqual(self.usages(self.lab)['VGPU'], during['Used'])
        self.assertEqual(before['Servers'], during['Servers'])
        self.assertLess(during['Requested'], during['Used'])
        shown = self.table('gpu', 'usage', 'show', user='member')
        self.assertEqual(during['Used'], shown['used']['VGPU'])
        self.admin.compute.confirm_server_resize(server)
        self.wait_for(server, 'ACTIVE')
        base.wait_until(
            'one again', lambda: self.rows()['lab', 'VGPU'] == before
        )

    def test_leak(self):
        self.make_vgpu_server()
        before = self.rows()['lab', 'VGPU']
        found = self.placement('/allocation_candidates?resources=VGPU:1')
        leak = str(uuid.uuid4())
        path = f'/allocations/{leak}'
        self.addCleanup(self.admin.placement.delete, path, microversion='1.37')
        response = self.admin.placement.put(
            path,
            json={
                'allocations': found['allocation_requests'][0]['allocations'],
                'consumer_generation': None,
                'project_id': self.lab,
                'user_id': self.lab,
            },
            microversion='1.37',
        )
        self.assertEqual(204, response.status_code, response.text)
        after = self.rows()['lab', 'VGPU']
        self.assertEqual(
            (before['Used'] + 1, before['Servers']),
            (after['Used'], after['Servers']),
        )

    def add_registered_limit(self, name, default, **more):
        identity = self.admin.identity
        service = identity.find_service('nova') or next(
            s for s in identity.services() if s.type == 'compute'
        )
        scope = {'service_id': service.id, 'resource_name': name} | more
        limit = identity.create_registered_limit(
            default_limit=default, **scope
        )
        self.addCleanup(identity.delete_registered_limit, limit)
        return scope

    def add_limit(self, scope, project_id, limit):
        identity = self.admin.identity
        found = identity.create_limit(
            project_id=project_id, resource_limit=limit, **scope
        )
        self.addCleanup(identity.delete_limit, found)

    def test_limits(self):
        region = {'region_id': 'RegionOne'}
        scope = self.add_registered_limit('class:VGPU', 7, **region)
        self.add_limit(scope, self.lab, 3)
        self.add_registered_limit('class:PGPU', 2, **region)
        # Nova does not look at limits without its region.
        self.add_registered_limit('class:CUSTOM_NVIDIA_11', 5)
        self.make_vgpu_server()
        self.make_vgpu_server('admin')
        rows = self.rows()
        self.assertEqual(3, rows['lab', 'VGPU']['Limit'])
        self.assertEqual(7, rows['admin', 'VGPU']['Limit'])
        self.assertEqual(
            3, self.rows('--project', 'lab')['lab', 'VGPU']['Limit']
        )
        shown = self.table('gpu', 'usage', 'show', user='member')
        self.assertEqual({'PGPU': 2, 'VGPU': 3}, shown['limits'])
        shown = self.table('gpu', 'usage', 'show')
        self.assertEqual({'PGPU': 2, 'VGPU': 7}, shown['limits'])

    def test_no_limit(self):
        self.make_vgpu_server()
        self.assertIsNone(self.rows()['lab', 'VGPU']['Limit'])

    def test_hours(self):
        # A day long ago, which other tests' servers did not see.
        flavor = self.make_flavor('--alias', 'a100:2')
        server = self.make_server(flavor)
        name = server['name']
        vgpu = self.make_vgpu_server()['id']
        noon = datetime.datetime(2020, 5, 1, 12)
        self.launched(server['id'], noon)
        self.launched(vgpu, noon + datetime.timedelta(hours=9))
        when = ('--start', '2020-05-01', '--end', '2020-05-02')
        rows = self.rows(*when)
        self.assertEqual(24.0, rows['lab', A100]['GPU Hours'])
        self.assertEqual(3.0, rows['lab', 'VGPU']['GPU Hours'])
        self.assertEqual([*COLUMNS, 'GPU Hours'], list(rows['lab', A100]))
        shown = self.table('gpu', 'usage', 'show', *when, user='member')
        self.assertEqual({'VGPU': 3.0, 'a100': 24.0}, shown['gpu_hours'])
        self.assertEqual('2020-05-01 to 2020-05-02', shown['period'])
        # Neither the server nor its flavor have to be there any more.
        self.forget_servers(name)
        self.forget_flavor(flavor)
        shown = self.table('gpu', 'usage', 'show', *when, user='member')
        self.assertEqual({'VGPU': 3.0, 'a100': 24.0}, shown['gpu_hours'])
        rows = self.rows(*when, '--project', 'lab')
        hours = {c: row['GPU Hours'] for (_p, c), row in rows.items()}
        self.assertIn(24.0, [hours.get(A100), hours.get('unknown')])

    def test_stopped_server_has_hours(self):
        server = self.make_vgpu_server()['id']
        self.admin.compute.stop_server(server)
        self.wait_for(server, 'SHUTOFF')
        self.launched(server, datetime.datetime(2020, 6, 1))
        shown = self.table(
            'gpu', 'usage', 'show', '--start', '2020-06-01', '--end',
            '2020-06-03', user='member',
        )  # fmt: skip
        self.assertEqual({'VGPU': 48.0}, shown['gpu_hours'])

    def test_tenant_may_not_list(self):
        line = self.fails('gpu', 'usage', 'list', user='member')
        self.assertIn('get_all_tenants', line)

    def test_bad_input(self):
        line = self.fails('gpu', 'usage', 'list', '--project', 'nobody')
        self.assertIn('nobody', line)
        line = self.fails(
            'gpu', 'usage', 'show', '--start', '2026-02-30', status=2
        )
        self.assertIn("'2026-02-30' is not a date", line)


class TestPciOff(TestCase):
    def setUp(self):
        super().setUp()
        if self.spec.topology['pci_in_placement']:
            self.skipTest('this sandbox has PCI in Placement')

    def test_unknown(self):
        server = self.make_server(self.make_flavor('--alias', 'a100:2'))
        guest = self.guest(server['id'])
        self.assertEqual(2, len(self.pci_addresses(server['id'])))
        result = self.ok('gpu', 'usage', 'list', '-f', 'json')
        rows = {(r['Project'], r['Resource Class']): r for r in result.json}
        self.assertEqual(
            (2, 1, None),
            tuple(
                rows['lab', 'unknown'][key]
                for key in ('Used', 'Servers', 'Limit')
            ),
        )
        self.assertNotIn(A100, self.usages(self.lab))
        self.assertEqual(1, len(result.stderr.splitlines()), result.stderr)
        self.assertIn(guest['host'], result.stderr)
        result = self.ok('gpu', 'usage', 'show', '-f', 'json', user='member')
        self.assertEqual({'unknown': 2}, result.json['used'])
        self.assertIn('2 GPUs that your servers request', result.stderr)

    def test_vgpus_are_in_placement(self):
        self.make_server(self.make_flavor('--vgpu'))
        rows = self.rows()
        self.assertEqual(
            self.usages(self.lab)['VGPU'], rows['lab', 'VGPU']['Used']
        )
