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

import datetime

from tests.unit import base
from tests.unit import fake_usage
from tests.unit.fake_usage import LAB
from tests.unit.fake_usage import SHOP

COLUMNS = ['Project', 'Resource Class', 'Used', 'Servers', 'Limit']
LONG = ['Project ID', 'Requested']


class UsageTestCase(fake_usage.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.root = self.add_host('vgpu1')
        (self.vgpus,) = self.add_vgpus(self.root, 16)

    def add_vgpu_server(self, name: str, project: str = LAB) -> str:
        return self.add_server(
            name,
            {'resources:VGPU': '1'},
            (self.vgpus, {'VGPU': 1}),
            host='vgpu1',
            tenant_id=project,
        )

    def refuses_period(self, verb: str) -> None:
        tomorrow = datetime.datetime.now(datetime.UTC).date()
        tomorrow += datetime.timedelta(days=1)
        for options, status, words in (
            (['--end', '2026-11-01'], 1, '--end needs --start'),
            (
                ['--start', '2026-11-02', '--end', '2026-11-01'],
                1,
                'is not after --start 2026-11-02',
            ),
            (['--start', str(tomorrow)], 1, 'is later than today'),
            (
                ['--start', '1st'],
                2,
                "argument --start: '1st' is not a date, YYYY-MM-DD",
            ),
            (
                ['--start', '2026-11-01', '--end', '2026-11-31'],
                2,
                "argument --end: '2026-11-31' is not a date",
            ),
        ):
            with self.subTest(options):
                line = self.fails(
                    'gpu', 'usage', verb, *options, status=status
                )
                self.assertIn(words, line)
        self.assertEqual([], self.requests)


class TestListUsage(UsageTestCase):
    def test_empty(self):
        self.assertEqual([], self.table('gpu', 'usage', 'list'))

    def test_columns(self):
        self.add_vgpu_server('v1')
        self.add_vgpu_server('v2', SHOP)
        self.limit(SHOP, 'class:VGPU', -1)
        rows = self.table('gpu', 'usage', 'list')
        self.assertEqual(
            [
                dict(zip(COLUMNS, ('lab', 'VGPU', 1, 1, None), strict=True)),
                dict(zip(COLUMNS, ('shop', 'VGPU', 1, 1, -1), strict=True)),
            ],
            rows,
        )
        self.assertEqual(COLUMNS, list(rows[0]))

    def test_long(self):
        self.add_vgpu_server('v1')
        (row,) = self.table('gpu', 'usage', 'list', '--long')
        self.assertEqual(COLUMNS + LONG, list(row))
        self.assertEqual((LAB, 1), (row['Project ID'], row['Requested']))

    def test_hours(self):
        self.ran(self.add_vgpu_server('v1'), 1.25)
        options = ('--start', '2026-11-01', '--end', '2026-11-03')
        (row,) = self.table('gpu', 'usage', 'list', *options)
        self.assertEqual([*COLUMNS, 'GPU Hours'], list(row))
        self.assertEqual(1.25, row['GPU Hours'])
        (row,) = self.table('gpu', 'usage', 'list', '--long', *options)
        self.assertEqual([*COLUMNS, 'GPU Hours', *LONG], list(row))
        self.assertIn(
            'GET /os-simple-tenant-usage?start=2026-11-01T00:00:00'
            '&end=2026-11-03T00:00:00&detailed=1',
            self.requests,
        )

    def test_period_is_refused(self):
        self.refuses_period('list')

    def test_project(self):
        self.add_vgpu_server('v1')
        self.add_vgpu_server('v2', SHOP)
        (row,) = self.table('gpu', 'usage', 'list', '--project', 'lab')
        self.assertEqual('lab', row['Project'])
        self.assertEqual(
            [
                'GET /projects/lab',
                'GET /projects?name=lab',
                f'GET /servers/detail?project_id={LAB}&all_tenants=True',
            ],
            self.requests[:3],
        )

    def test_unknown_project(self):
        self.refuse(
            f'{base.AUTH_URL}/projects/nope', 404, 'Could not find nope.'
        )
        line = self.fails('gpu', 'usage', 'list', '--project', '')
        self.assertIn('--project is empty', line)
        line = self.fails('gpu', 'usage', 'list', '--project', 'nope')
        self.assertIn('nope', line)
        self.assertEqual(1, len(line.splitlines()))

    def test_resource_class(self):
        self.add_vgpu_server('v1')
        for name, expected in (('VGPU', 1), ('CUSTOM_ODD', 0)):
            rows = self.table('gpu', 'usage', 'list', '--resource-class', name)
            self.assertEqual(expected, len(rows))
        line = self.fails(
            'gpu', 'usage', 'list', '--resource-class', 'vgpu', status=2
        )
        self.assertIn('vgpu', line)

    def test_parallel(self):
        line = self.fails('gpu', 'usage', 'list', '--parallel', '11', status=2)
        self.assertIn("'11' is not a whole number from 1 to 10", line)
        self.assertEqual(
            [], self.table('gpu', 'usage', 'list', '--parallel', '1')
        )

    def test_tenant(self):
        self.refuse(
            f'{base.COMPUTE}/servers/detail',
            message="Policy doesn't allow os_compute_api:servers:detail:"
            'get_all_tenants to be performed.',
        )
        self.assertEqual(
            'You lack the right os_compute_api:servers:detail:'
            'get_all_tenants; ask for a role that has it',
            self.fails('gpu', 'usage', 'list'),
        )

    def test_placement_fails(self):
        self.add_vgpu_server('v1')
        self.refuse(f'{base.PLACEMENT}/usages', 503)
        line = self.fails('gpu', 'usage', 'list')
        self.assertIn(f'{base.PLACEMENT}/usages failed with HTTP 503', line)
        self.assertEqual(1, len(line.splitlines()))


class TestShowUsage(UsageTestCase):
    def test_fields(self):
        self.add_vgpu_server('v1', base.PROJECT_ID)
        self.register_limit('class:VGPU', 4)
        self.assertEqual(
            {
                'project_id': base.PROJECT_ID,
                'servers': 1,
                'used': {'VGPU': 1},
                'limits': {'VGPU': 4},
            },
            self.table('gpu', 'usage', 'show'),
        )

    def test_hours(self):
        self.ran(
            self.add_vgpu_server('v1', base.PROJECT_ID), 2.0, base.PROJECT_ID
        )
        shown = self.table('gpu', 'usage', 'show', '--start', '2026-11-01')
        self.assertEqual(
            ({'VGPU': 2.0}, '2026-11-01 to now'),
            (shown['gpu_hours'], shown['period']),
        )

    def test_resource_class(self):
        self.add_server(
            's',
            {'resources:CUSTOM_ODD': '1'},
            (self.vgpus, {'CUSTOM_ODD': 1}),
            tenant_id=base.PROJECT_ID,
        )
        shown = self.table('gpu', 'usage', 'show')
        self.assertEqual((0, {}), (shown['servers'], shown['used']))
        shown = self.table(
            'gpu', 'usage', 'show', '--resource-class', 'CUSTOM_ODD'
        )
        self.assertEqual(
            (1, {'CUSTOM_ODD': 1}), (shown['servers'], shown['used'])
        )

    def test_period_is_refused(self):
        self.refuses_period('show')

    def test_placement_fails(self):
        self.refuse(f'{base.PLACEMENT}/usages', 503)
        line = self.fails('gpu', 'usage', 'show')
        self.assertIn('failed with HTTP 503', line)
