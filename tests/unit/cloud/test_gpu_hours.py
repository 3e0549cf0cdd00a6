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
import unittest

import hypothesis
from hypothesis import strategies

from osc_gpu.cloud import gpu_hours
from osc_gpu.cloud import servers
from tests.unit.cloud import wire
from tests.unit import fake_usage
from tests.unit.fake_usage import LAB
from tests.unit.fake_usage import SHOP

DAY = datetime.date(2026, 11, 1)
NEXT = datetime.date(2026, 11, 2)
PERIOD = gpu_hours.Period(DAY, NEXT)
ALL = 'GET /os-simple-tenant-usage'
WHEN = 'start=2026-11-01T00:00:00&end=2026-11-02T00:00:00'
VGPU = {'resources:VGPU': '1'}


class TestDates(unittest.TestCase):
    def test_date(self):
        self.assertEqual(DAY, gpu_hours.parse_date('2026-11-01'))

    @hypothesis.given(strategies.dates(datetime.date(1000, 1, 1)))
    def test_any_date(self, day):
        self.assertEqual(day, gpu_hours.parse_date(day.isoformat()))

    def test_no_date(self):
        for text in (
            '', '2026-11', '2026-02-30', '20261101', '2026-11-01T00:00',
            '2026-W45-1', ' 2026-11-01', '2026-11-01\n', '0000-01-01',
            '0001-01-01',
            '٢٠٢٦-11-01', 'yesterday',
        ):  # fmt: skip
            with (
                self.subTest(text),
                self.assertRaisesRegex(ValueError, 'YYYY-MM-DD'),
            ):
                gpu_hours.parse_date(text)

    def test_period(self):
        for start, end, expected in (
            (None, None, None),
            (DAY, NEXT, PERIOD),
            (DAY, None, gpu_hours.Period(DAY)),
            (NEXT, None, gpu_hours.Period(NEXT)),
        ):
            with self.subTest(start=start, end=end):
                self.assertEqual(
                    expected, gpu_hours.check_period(start, end, NEXT)
                )

    def test_no_period(self):
        for start, end, words in (
            (None, NEXT, '--end needs --start'),
            (DAY, DAY, '--end 2026-11-01 is not after --start 2026-11-01'),
            (DAY, datetime.date(1, 1, 1), '--end 0001-01-01 is not after'),
            (NEXT, None, '--start 2026-11-02 is later than today'),
        ):
            with (
                self.subTest(start=start, end=end),
                self.assertRaisesRegex(ValueError, words),
            ):
                gpu_hours.check_period(start, end, DAY)

    def test_text(self):
        self.assertEqual('2026-11-01 to 2026-11-02', PERIOD.text)
        self.assertEqual('2026-11-01 to now', gpu_hours.Period(DAY).text)


class TestRead(fake_usage.TestCase, wire.TestCase):
    def test_all(self):
        self.ran('s1', 1.5)
        self.ran('s2', 2.0, SHOP)
        self.assertCountEqual(
            [('s1', LAB, 1.5), ('s2', SHOP, 2.0)],
            gpu_hours.read(self.conn, PERIOD),
        )
        self.assertEqual([f'{ALL}?{WHEN}&detailed=1'], self.requests)
        self.assertEqual(['2.40'], self.microversions('compute'))

    def test_project_until_now(self):
        self.ran('s1', 1.5)
        self.ran('s2', 2.0, SHOP)
        found = gpu_hours.read(self.conn, gpu_hours.Period(DAY), LAB)
        self.assertEqual((('s1', LAB, 1.5),), found)
        self.assertEqual(
            [f'{ALL}/{LAB}?start=2026-11-01T00:00:00'], self.requests
        )

    def test_nothing_ran(self):
        self.assertEqual((), gpu_hours.read(self.conn, PERIOD))
        self.assertEqual((), gpu_hours.read(self.conn, PERIOD, LAB))

    def test_pages(self):
        # Grouped by project, the last one listed is not the marker.
        self.page = 2
        for number in range(5):
            self.ran(f's{number}', 1.0, (LAB, SHOP)[number % 2])
        found = gpu_hours.read(self.conn, PERIOD)
        self.assertEqual(
            [f's{n}' for n in range(5)], sorted(f.server_id for f in found)
        )
        self.assertEqual(
            [
                f'{ALL}?{WHEN}&detailed=1',
                f'{ALL}?{WHEN}&detailed=1&marker=s1',
                f'{ALL}?{WHEN}&detailed=1&marker=s3',
            ],
            self.requests,
        )

    def test_pages_of_a_project(self):
        self.page = 1
        self.ran('s1', 1.0)
        self.ran('s2', 2.0)
        found = gpu_hours.read(self.conn, PERIOD, LAB)
        self.assertEqual(['s1', 's2'], [f.server_id for f in found])
        self.assertEqual(3, len(self.requests))

    def test_negative_hours_are_none(self):
        self.ran('s1', -3.0)
        (found,) = gpu_hours.read(self.conn, PERIOD)
        self.assertEqual(0.0, found.hours)


class TestReadRequests(fake_usage.TestCase, wire.TestCase):
    def read(self, known, **kwargs):
        return gpu_hours.read_requests(self.conn, known, PERIOD, **kwargs)

    @property
    def requests(self):
        """What was asked besides the hours themselves."""
        return [r for r in super().requests if 'os-simple-tenant' not in r]

    def known(self):
        return [servers.parse(found) for found in self.servers.values()]

    def test_no_period(self):
        found = gpu_hours.read_requests(self.conn, self.known(), None)
        self.assertEqual((), found)
        self.assertEqual([], super().requests)

    def test_all_known(self):
        gpu = self.add_server('gpu', VGPU)
        cpu = self.add_server('cpu')
        self.ran(gpu, 2.0)
        self.ran(cpu, 3.0)
        ((project, request, hours),) = self.read(self.known())
        self.assertEqual((LAB, 'VGPU:1', 2.0), (project, request.text, hours))
        self.assertEqual([], self.requests)

    def test_deleted(self):
        gone = self.add_server('gone', VGPU)
        self.ran(gone, 2.0)
        self.delete(gone)
        (found,) = self.read([])
        self.assertEqual('VGPU:1', found.gpu_request.text)
        since = 'changes-since=2026-11-01T00:00:00Z'
        self.assertEqual(
            [f'GET /servers/detail?deleted=True&{since}'], self.requests
        )

    def test_deleted_of_all_projects(self):
        gone = self.add_server('gone', {'resources:CUSTOM_A': '2'})
        self.ran(gone, 2.0)
        self.delete(gone)
        (found,) = self.read(
            [], also=['CUSTOM_A'], project_id=LAB, all_projects=True
        )
        self.assertEqual(2, found.gpu_request.count)
        (request,) = self.requests
        self.assertIn('all_tenants=True', request)
        self.assertIn(f'project_id={LAB}', request)

    def test_what_exists_is_newer(self):
        server = self.add_server('s', VGPU)
        self.ran(server, 1.0)
        self.ran('gone', 1.0)
        self.deleted.append(self.servers[server] | {'flavor': None})
        with self.assertLogs('osc_gpu.cloud', 'WARNING'):
            (found,) = self.read(self.known())
        self.assertEqual('VGPU:1', found.gpu_request.text)

    def test_purged(self):
        self.ran('gone', 1.25)
        self.ran('gone-too', 2.0)
        with self.assertLogs(gpu_hours.LOG, 'WARNING') as logs:
            self.assertEqual((), self.read([]))
        self.assertIn('flavors of 2 servers with 3.25 hours', logs.output[0])

    def test_without_hours_nobody_is_missed(self):
        self.ran('gone', 0.0)
        self.assertEqual((), self.read([]))
        self.assertEqual([], self.requests)
