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

from osc_gpu.cloud import consoles
from osc_gpu.cloud import launch
from osc_gpu.v1 import guest_reports
from tests.unit import base
from tests.unit.cloud import test_launch
from tests.unit.guest import test_reports
from tests.unit.v1 import test_server

ID = test_server.ID
ACTION = f'{test_server.SERVER}/action'
VERIFY = ('gpu', 'server', 'verify', ID)
GOOD = test_reports.GOOD | {
    'pci': [{'address': '0000:00:06.0'}, {'address': '0000:00:07.0'}],
    'gpus': [test_reports.A100] * 2,
}


class TestVerifyServer(base.TestCase):
    def setUp(self):
        super().setUp()
        self.time = test_launch.FakeTime()
        for module in (consoles, guest_reports, launch):
            patcher = mock.patch.object(module, 'time', self.time)
            patcher.start()
            self.addCleanup(patcher.stop)
        self.cloud.get(
            test_server.SERVER, json={'server': test_server.server()}
        )

    def says(self, *texts):
        self.cloud.post(ACTION, [{'json': {'output': t}} for t in texts])

    def test_good(self):
        self.says(test_reports.line(GOOD))
        shown = self.table(*VERIFY)
        self.assertEqual(
            {
                'id': ID,
                'name': 'train',
                'gpu_request': 'a100:2',
                'gpu_count': 2,
                'verdict': 'ok',
                'problems': [],
                'summary': '2 of 2 GPUs, NVIDIA A100 80GB PCIe, driver '
                '570.86.15, CUDA 12.9',
                'reported_at': '2026-11-21T18:53:59Z',
                'system': 'ubuntu-24.04',
                'kernel': '6.8.0-45-generic',
                'pci_addresses': ['0000:00:06.0', '0000:00:07.0'],
                'gpus': [test_reports.A100] * 2,
                'driver': 'nvidia',
                'driver_version': '570.86.15',
                'cuda': '12.8',
                'cuda_toolkit': '12.9',
                'license': '',
                'secure_boot': False,
                'workload': 'passed',
                'workload_detail': '1 GPUs transposed a matrix',
            },
            shown,
        )
        self.assertEqual(
            [f'GET /servers/{ID}', f'POST /servers/{ID}/action'], self.requests
        )

    def test_for_people(self):
        self.says(test_reports.line(GOOD))
        shown = self.ok(*VERIFY).stdout
        self.assertIn('NVIDIA A100 80GB PCIe 81920 MiB MIG Disabled', shown)
        self.assertRegex(shown, r'\| pci_addresses +\| 0000:00:06.0 +\|\n')

    def test_a_problem_has_a_line(self):
        # Some have a comma in them.
        self.says(test_reports.line(GOOD | {'cuda_toolkit': None, 'pci': []}))
        self.assertRegex(
            self.openstack(*VERIFY).stdout,
            r'\| problems +\| its PCI bus has 0 of 2 GPUs +\|\n'
            r'\| +\| CUDA is not there, and 12.9 was asked for +\|\n',
        )

    def test_short(self):
        self.says(test_reports.line(test_reports.GOOD))
        result = self.openstack(*VERIFY, '-f', 'json')
        self.assertEqual(1, result.status)
        self.assertEqual('short', result.json['verdict'])
        self.assertIn('its PCI bus has 1 of 2 GPUs', result.stderr)

    def test_no_report_is_not_good(self):
        self.says('login:')
        result = self.openstack(*VERIFY, '-f', 'json')
        self.assertEqual(1, result.status)
        self.assertEqual('no report', result.json['verdict'])
        self.assertEqual(
            'GPUs are not proven to work: train: no report is on its console '
            'since its last boot; to wait for one, add --timeout <seconds>',
            result.stderr.strip(),
        )
        self.assertEqual([], self.time.slept)

    def test_a_report_of_an_earlier_boot(self):
        old = test_reports.line(GOOD)
        self.says(f'{old}[    0.000000] Linux version 6.8.0-45-generic\n')
        result = self.openstack(*VERIFY, '-f', 'json')
        self.assertEqual(1, result.status)
        self.assertEqual('no report', result.json['verdict'])
        self.assertEqual('', result.json['reported_at'])

    def test_a_server_that_does_not_run(self):
        for status in ('SHUTOFF', 'PAUSED', 'ERROR', 'SHELVED_OFFLOADED'):
            self.cloud.get(
                test_server.SERVER,
                json={'server': test_server.server(status=status)},
            )
            # Its console still has what it said.
            self.says(test_reports.line(GOOD))
            result = self.openstack(*VERIFY, '--timeout', '60', '-f', 'json')
            self.assertEqual(1, result.status)
            self.assertEqual(
                ('no report', [f'the server is {status}'], ''),
                tuple(
                    result.json[field]
                    for field in ('verdict', 'problems', 'summary')
                ),
            )
            self.assertIn(f'train: the server is {status}', result.stderr)
            self.assertEqual([], self.time.slept)

    def test_it_waits_for_a_start(self):
        for status in ('BUILD', 'REBOOT', 'HARD_REBOOT'):
            self.cloud.get(
                test_server.SERVER,
                [
                    {'json': {'server': test_server.server(status=now)}}
                    for now in (status, status, 'ACTIVE')
                ],
            )
            self.says('', test_reports.line(GOOD))
            shown = self.table(*VERIFY, '--timeout', '60')
            self.assertEqual('ok', shown['verdict'])
        self.cloud.get(
            test_server.SERVER,
            json={'server': test_server.server(status='REBOOT')},
        )
        self.assertIn('the server is REBOOT', self.openstack(*VERIFY).stderr)

    def test_it_waits(self):
        self.says('', '', test_reports.line(GOOD))
        self.assertEqual(
            'ok', self.table(*VERIFY, '--timeout', '60')['verdict']
        )

    def test_it_waits_no_longer(self):
        self.says('')
        result = self.openstack(*VERIFY, '--timeout', '60')
        self.assertEqual(1, result.status)
        self.assertEqual(60, sum(self.time.slept))
        self.assertIn(
            'train: no report is on its console after 60 s: it may still be '
            'installing; look again with: openstack gpu server verify '
            f'{ID}\n',
            result.stderr,
        )

    def test_interrupted(self):
        self.says('')
        with mock.patch.object(
            self.time, 'sleep', autospec=True, side_effect=KeyboardInterrupt
        ):
            text = self.fails(*VERIFY, '--timeout', '60')
        self.assertEqual('Interrupted before server train reported', text)

    def test_no_console(self):
        for status in (403, 404, 409, 500, 501):
            self.cloud.post(ACTION, status_code=status, json={})
            text = self.fails(*VERIFY)
            self.assertEqual(1, len(text.strip().splitlines()))
            self.assertEqual([], self.time.slept)

    def test_a_driver_without_consoles_is_not_waited_for(self):
        self.cloud.post(ACTION, status_code=501, json={})
        self.fails(*VERIFY, '--timeout', '60')
        self.assertEqual([], self.time.slept)

    def test_no_gpu(self):
        self.cloud.get(
            test_server.SERVER, json={'server': test_server.plain()}
        )
        text = self.fails(*VERIFY)
        self.assertIn('has flavor m1.small, without a GPU', text)
