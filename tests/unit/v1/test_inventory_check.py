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

from tests.unit import fake_cloud

A100 = fake_cloud.A100
COLUMNS = ['Severity', 'Check', 'Subject', 'Detail', 'Repair']
CHECK = ('gpu', 'inventory', 'check')


class TestCheckInventory(fake_cloud.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.root = self.add_host('gpu1')
        self.cards = self.add_cards(self.root, 2)
        self.nova.add('vgpu', {'resources:VGPU': '1'})
        self.nova.add('card', {f'resources:{A100}': '1'})

    def test_nothing(self) -> None:
        result = self.openstack(*CHECK, '-f', 'json')
        self.assertEqual(
            (0, [], ''), (result.status, result.json, result.stderr)
        )
        self.sleep.assert_not_called()

    def test_warning(self) -> None:
        self.hypervisors[0]['state'] = 'down'
        result = self.openstack(*CHECK, '-f', 'json')
        self.assertEqual((0, ''), (result.status, result.stderr))
        (row,) = result.json
        self.assertEqual(COLUMNS, list(row))
        self.assertEqual(
            ['warning', 'host-down', 'gpu1'],
            [row['Severity'], row['Check'], row['Subject']],
        )

    def test_error(self) -> None:
        self.placement.hold('nobody', self.cards[0], **{A100: 1})
        result = self.openstack(*CHECK, '-f', 'json')
        self.assertEqual((1, ''), (result.status, result.stderr))
        (row,) = result.json
        self.assertEqual(
            [
                'error',
                'orphan',
                'nobody',
                f'1 {A100} (gpu1_0000:20:00.0) held by a consumer that is '
                'neither a server nor a migration in progress',
                'remove its allocations',
            ],
            list(row.values()),
        )
        self.assertEqual(2, self.sleep.call_count)

    def test_filters(self) -> None:
        self.placement.hold('nobody', self.cards[0], **{A100: 1})
        self.add_host('gpu2')
        for argv, status in (
            (('--host', 'gpu1'), 1),
            (('--host', 'gpu2'), 0),
            (('--resource-class', A100), 1),
            (('--resource-class', 'VCPU'), 0),
            (('--parallel', '1'), 1),
        ):
            with self.subTest(argv):
                result = self.openstack(*CHECK, *argv)
                self.assertEqual((status, ''), (result.status, result.stderr))

    def test_refused(self) -> None:
        for argv, status, words in (
            (('--host', 'nowhere'), 1, "No host named 'nowhere'"),
            (
                ('--resource-class', 'CUSTOM_X'),
                1,
                'No resource provider has CUSTOM_X',
            ),
            (('--project', ''), 1, '--project is empty'),
            (('--host', ''), 2, 'argument --host: is empty'),
            (('--resource-class', 'x y'), 2, "'x y'"),
            (('--resize-age', '-1'), 2, '--resize-age'),
            (('--resize-age', 'old'), 2, "'old'"),
            (('--parallel', '11'), 2, "'11'"),
        ):
            with self.subTest(argv):
                result = self.openstack(*CHECK, *argv)
                self.assertEqual(status, result.status)
                self.assertEqual('', result.stdout)
                self.assertIn(words, result.stderr)

    def test_placement_dies_in_the_middle(self) -> None:
        self.placement.hold('nobody', self.cards[0], **{A100: 1})
        self.sleep.side_effect = lambda _seconds: self.cloud.get(
            f'{fake_cloud.base.PLACEMENT}/allocations/nobody', status_code=503
        )
        result = self.openstack(*CHECK)
        self.assertEqual((1, ''), (result.status, result.stdout))
        self.assertEqual(1, len(result.stderr.splitlines()))
        self.assertIn('HTTP 503', result.stderr)
