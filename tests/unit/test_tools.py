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

"""The tools that the tox environments rest on."""

import contextlib
import importlib.util
import io
import json
import pathlib
import sys
import tempfile
from typing import Any
import unittest
from unittest import mock

TOOLS = pathlib.Path(__file__).parents[2] / 'tools'

SUMMARY = """\
======
Totals
======
Ran: 12 tests in 1.7744 sec.
 - Passed: 8
 - Skipped: 1
 - Expected Fail: 1
 - Unexpected Success: 0
 - Failed: 2
Sum of execute time for each test: 2.5483 sec.
"""


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, TOOLS / f'{name}.py')
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with mock.patch.dict(sys.modules, {name: module}):
        spec.loader.exec_module(module)
    return module


class TestLowestConstraints(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.tool = load('lowest_constraints')

    def test_bounds_become_versions(self) -> None:
        self.assertEqual(
            ['cliff==4.9.1', 'oslo.i18n==6.5.1'],
            self.tool.constraints(['cliff>=4.9.1', ' oslo.i18n >= 6.5.1 ']),
        )

    def test_a_dependency_without_a_bound(self) -> None:
        for dependency in ('cliff', 'cliff==4', 'cliff>=4,<5', 'cliff>4'):
            with self.subTest(dependency=dependency):
                with self.assertRaisesRegex(ValueError, 'cliff'):
                    self.tool.constraints([dependency])

    def test_printed_from_pyproject(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as stdout:
            self.assertEqual(0, self.tool.main([]))
        self.assertIn('openstacksdk==', stdout.getvalue())
        self.assertIn('python-openstackclient==', stdout.getvalue())

    def test_command_gets_them(self) -> None:
        script = 'import sys; sys.exit(open(sys.argv[2]).read().count("=="))'
        status = self.tool.main(['--', sys.executable, '-c', script])
        self.assertGreater(status, 3)


class TestRunTests(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.tool = load('run_tests')

    def outcome(self, output: str, status: int) -> tuple[int, int, bool]:
        outcome = self.tool.Outcome('unit')
        for line in output.splitlines(keepends=True):
            outcome.count(line)
        outcome.close(status)
        return outcome.passed, outcome.failed, outcome.ok

    def test_counts_of_stestr(self) -> None:
        self.assertEqual((9, 2, False), self.outcome(SUMMARY, 1))

    def test_several_runs_in_one_environment(self) -> None:
        self.assertEqual((18, 4, False), self.outcome(SUMMARY * 2, 1))

    def test_all_passed(self) -> None:
        good = SUMMARY.replace('Failed: 2', 'Failed: 0')
        self.assertEqual((9, 0, True), self.outcome(good, 0))

    def test_tests_passed_but_the_environment_failed(self) -> None:
        good = SUMMARY.replace('Failed: 2', 'Failed: 0')
        self.assertEqual((9, 1, False), self.outcome(good, 2))

    def test_failures_are_failures_whatever_the_status(self) -> None:
        self.assertEqual((9, 2, False), self.outcome(SUMMARY, 0))

    def test_a_check_without_tests(self) -> None:
        self.assertEqual((1, 0, True), self.outcome('fine\n', 0))
        self.assertEqual((0, 1, False), self.outcome('bad\n', 1))

    def test_a_test_run_without_tests(self) -> None:
        none = '======\nRan: 0 tests in 0.0 sec.\n - Passed: 0\n - Failed: 0\n'
        self.assertEqual((0, 1, False), self.outcome(none, 0))

    def test_last_line(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            # A stand-in for tox: the environment's name is its exit status.
            (pathlib.Path(folder) / 'tox.py').write_text(
                'import sys\n'
                f'sys.stdout.write({SUMMARY!r})\n'
                'sys.exit(int(sys.argv[-1]))\n'
            )
            with (
                mock.patch.dict('os.environ', {'PYTHONPATH': folder}),
                contextlib.redirect_stdout(io.StringIO()) as stdout,
            ):
                self.assertEqual(1, self.tool.main(['1', '1']))
        lines = stdout.getvalue().splitlines()
        self.assertEqual('18 passed, 4 failed', lines[-1])
        self.assertIn('===== 1 =====', lines)
        self.assertIn('Ran: 12 tests in 1.7744 sec.', lines)

    def test_what_failed_comes_once_more(self) -> None:
        run = (
            '{1} tests.unit.test_a.TestA.test_good [0.1s] ... ok\n'
            '{0} tests.unit.test_a.TestA.test_bad [0.100000s] ... FAILED\n'
            '\nCaptured traceback:\n~~~~\n    AssertionError: 1 != 2\n\n'
            '{1} tests.unit.test_a.TestA.test_next [0.1s] ... ok\n'
            'setUpClass (tests.unit.test_b.TestB) ... FAILED\n'
            '\n    OSError: no room\n\n'
            '==============================\n'
            'Failed 2 tests - output below:\n'
        )
        outcome = self.tool.Outcome('unit')
        for line in (run + SUMMARY).splitlines(keepends=True):
            outcome.count(line)
        self.assertEqual(
            [
                [
                    'tests.unit.test_a.TestA.test_bad',
                    'Captured traceback:',
                    '~~~~',
                    '    AssertionError: 1 != 2',
                ],
                ['setUpClass (tests.unit.test_b.TestB)',
                 '    OSError: no room'],
            ],
            outcome.failures,
        )  # fmt: skip

    def test_without_environments(self) -> None:
        with contextlib.redirect_stderr(io.StringIO()) as stderr:
            self.assertEqual(2, self.tool.main([]))
        self.assertIn('usage: ', stderr.getvalue())


class TestForgetEntryPoints(unittest.TestCase):
    def test_only_that_cache(self) -> None:
        tool = load('forget_entry_points')
        with tempfile.TemporaryDirectory() as folder:
            cache = pathlib.Path(folder)
            (cache / 'python-entrypoints').mkdir()
            (cache / 'python-entrypoints' / 'x').touch()
            (cache / 'osc-gpu').mkdir()
            with mock.patch.dict('os.environ', {'XDG_CACHE_HOME': folder}):
                tool.main()
                tool.main()
            self.assertEqual(
                ['osc-gpu'], [path.name for path in cache.iterdir()]
            )


class TestBenchCloud(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.cloud = load('bench_cloud')

    def test_three_fifths_are_in_use(self) -> None:
        for number in (5, 250, 1000):
            hosts = self.cloud.invent(number)
            used = [
                (host.name, card)
                for host in hosts
                for made in host.servers
                for card in made.cards
            ]
            self.assertEqual(number * 8 * 3 // 5, len(used))
            self.assertEqual(len(used), len(set(used)))

    def test_the_same_every_time(self) -> None:
        self.assertEqual(self.cloud.invent(30), self.cloud.invent(60)[:30])

    def test_names_are_those_that_nova_gives(self) -> None:
        hosts = self.cloud.invent(100)
        self.assertEqual('gpu0000_0000:2A:00.0', hosts[0].device(10))
        self.assertEqual('gpu0099_pci_0000_2a_00_0', hosts[99].device(10))


class TestBenchNova(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        cloud = load('bench_cloud')
        with mock.patch.dict(sys.modules, {'bench_cloud': cloud}):
            self.replay = load('bench_nova').Replay()
        self.addCleanup(self.replay._server.server_close)
        self.replay.show(cloud.invent(300))

    def get(self, path: str, method: str = 'GET') -> tuple[int, Any]:
        status, body = self.replay.answer(method, f'/v2.1{path}')
        return status, json.loads(body)

    def test_pages(self) -> None:
        ids: list[str] = []
        path = '/servers/detail?all_tenants=1'
        while path:
            _status, body = self.get(path)
            ids += [found['id'] for found in body['servers']]
            links = body.get('servers_links')
            path = links[0]['href'].split('/v2.1')[1] if links else ''
        self.assertEqual(1260, len(set(ids)))
        self.assertEqual(len(ids), len(set(ids)))
        self.assertEqual(2, self.replay.counts['GET servers'])

    def test_filters(self) -> None:
        _status, body = self.get('/servers/detail?host=gpu0001&flavor=a100.2')
        self.assertEqual(
            ['gpu0001-a100-0'], [found['name'] for found in body['servers']]
        )
        _status, body = self.get('/os-migrations?status=error')
        self.assertEqual([], body['migrations'])

    def test_not_foreseen(self) -> None:
        self.assertEqual(404, self.get('/os-keypairs')[0])
        self.assertEqual(404, self.get('/servers/nope')[0])
        self.assertEqual(400, self.get('/servers', 'POST')[0])
        self.assertIn('NOT FORESEEN GET /v2.1/os-keypairs', self.replay.counts)


class TestDeriveCloudConfigSchema(unittest.TestCase):
    SCHEMA = {
        '$schema': 'draft',
        'allOf': [{'$ref': '#/$defs/base'}, {'$ref': '#/$defs/other'},
                  {'$ref': '#/$defs/files'}],
        'additionalProperties': False,
        'properties': {'runcmd': {}, 'users': {}},
        '$defs': {
            'base': {'properties': {'merge_how': {'$ref': '#/$defs/how'},
                                    'users': {'type': 'array'}}},
            'how': {'oneOf': [{'type': 'string', 'description': 'x'},
                              {'$ref': '#/$defs/list'}]},
            'list': {'type': 'array', 'default': []},
            'other': {},
            'files': {'properties': {'runcmd': {'minItems': 1},
                                     'write_files': {}}},
        },
    }  # fmt: skip

    def setUp(self) -> None:
        super().setUp()
        self.tool = load('derive_cloud_config_schema')

    def test_derived(self) -> None:
        self.assertEqual(
            {
                '$schema': 'draft',
                '$comment': self.tool.COMMENT,
                'type': 'object',
                'additionalProperties': False,
                'properties': {
                    'merge_how': {'$ref': '#/$defs/how'},
                    'runcmd': {'minItems': 1},
                    'write_files': {},
                },
                '$defs': {
                    'how': {
                        'oneOf': [
                            {'type': 'string'},
                            {'$ref': '#/$defs/list'},
                        ]
                    },
                    'list': {'type': 'array'},
                },
            },
            self.tool.derive(self.SCHEMA),
        )

    def test_a_key_that_is_not_there(self) -> None:
        with self.assertRaises(KeyError):
            self.tool.derive(self.SCHEMA | {'allOf': []})

    def test_written(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, 'schema.json')
            path.write_text(json.dumps(self.SCHEMA))
            target = pathlib.Path(folder, 'derived.json')
            with mock.patch.object(self.tool, 'TARGET', target):
                self.assertEqual(0, self.tool.main([str(path)]))
            self.assertIn('merge_how', json.loads(target.read_text())
                          ['properties'])  # fmt: skip
        with contextlib.redirect_stderr(io.StringIO()) as stderr:
            self.assertEqual(2, self.tool.main([]))
        self.assertIn('derive_cloud_config_schema.py <', stderr.getvalue())
