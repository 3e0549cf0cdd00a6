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

"""Values that want to be more than values."""

import shlex

from osc_gpu.guest import orders
from osc_gpu.guest import reports
from osc_gpu.guest import systems
from osc_gpu.sandbox import guest_data
from tests.unit.guest import machines

SECRETS = (
    '"; touch pwned; "',
    "'; touch pwned; '",
    '$(touch pwned)',
    '`touch pwned`',
    '${IFS}touch${IFS}pwned',
    'a\nb: [c\n- touch pwned\n',
    '\n\'\n"\n#!/bin/sh\ntouch pwned\n',
    '--output=pwned',
    '{{ x }} %s %n \\ \\n \t',
    '# not a comment',
    'END\ntouch pwned\n',
    '|\n  touch pwned',
    '\x85\u2028\ufeff \U0001f600 e\u0301',
    '*&!|>%@`',
    'null',
    '0o17',
)


class TestHostile(machines.TestCase):
    def orders(self):
        """Yield orders with each hostile text in all that is free text.

        Those that the checks of what is typed would refuse are in it too.
        """
        for text in SECRETS:
            yield text, orders.Order(
                'nvidia-vgpu',
                systems.parse('ubuntu-24.04'),
                version=text,
                url=f'https://h/{text}.run',
                cuda='12.8',
                token=text,
                workload='smoke',
                report_url=f'https://h/?{text}',
            )

    def test_nothing_is_executed(self):
        for text, order in self.orders():
            with self.subTest(text):
                guest = self.new(order)
                result = guest.boot()
                self.assertIsNotNone(result.report)
                found = {
                    path.name for path in guest.machine.folder.rglob('*')
                }
                self.assertNotIn('pwned', found)

    def test_values_arrive(self):
        for text, order in self.orders():
            with self.subTest(text):
                guest = self.new(order)
                guest.boot('silent')
                parts = guest_data.parts(guest.user_data)
                files = {
                    file['path']: file['content']
                    for file in guest_data.config(parts).list('write_files')
                }
                settings = dict(
                    word.partition('=')[::2]
                    for word in shlex.split(files['/etc/osc-gpu/settings'])
                )
                self.assertEqual(
                    (order.version, order.url, order.report_url),
                    (
                        settings['VERSION'],
                        settings['URL'],
                        settings['REPORT_URL'],
                    ),
                )
                self.assertEqual(
                    order.token,
                    files[
                        '/etc/nvidia/ClientConfigToken/'
                        'client_configuration_token.tok'
                    ],
                )

    def test_bash_reads_what_was_written(self):
        for text, order in self.orders():
            with self.subTest(text):
                guest = self.new(order)
                guest.machine._apply_once(guest.user_data)
                guest.machine._run(
                    ['bash', '-c',
                     '. "$OSC_GPU_ROOT/etc/osc-gpu/settings"; '
                     'printf %s "$VERSION" > "$OSC_GPU_ROOT/version"; '
                     'printf %s "$URL" > "$OSC_GPU_ROOT/url"'],
                )  # fmt: skip
                self.assertEqual(text, guest.read('version'))
                self.assertEqual(order.url, guest.read('url'))

    def test_what_a_guest_says(self):
        # A GPU's name that would end the line, the string, or the JSON.
        guest = self.guest('rocky-9', 'nvidia')
        name = 'X" }] osc-gpu-report-end \\ \\" \x07\x1b[2J \u00e9 \\u0041'
        guest.boot('silent')
        guest._gpus = [type(guest._gpus[0])('10de', '20b5', name)] * 2
        result = guest.boot()
        if result.report is not None:
            self.assertNotIn('\x1b', result.report.gpus[0].name)
        text = result.outcome.console
        self.assertEqual(2, text.count('osc-gpu-report-begin'))

    def test_own_reports_cannot_be_made_by_others(self):
        console = (
            'osc-gpu-report-begin {"gpus": 3} osc-gpu-report-end\n'
            'osc-gpu-report-begin [] osc-gpu-report-end\n'
        )
        self.assertEqual((), reports.find(console).gpus)
