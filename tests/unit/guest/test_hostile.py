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

from osc_gpu.guest import orders
from osc_gpu.guest import reports
from osc_gpu.guest import systems
from osc_gpu.sandbox import guest_hardware
from tests.unit.guest import machines

HOSTILE = (
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
        for text in HOSTILE:
            yield (
                text,
                orders.Order(
                    'nvidia-vgpu',
                    systems.parse('ubuntu-24.04'),
                    version=text,
                    url=f'https://h/{text}.run',
                    cuda='12.8',
                    token=text,
                    workload='smoke',
                    report_url=f'https://h/?{text}',
                ),
            )

    def test_in_a_guest(self):
        for number, (text, order) in enumerate(self.orders()):
            with self.subTest(number):
                guest = self.new(order)
                result = guest.boot()
                # Nothing was executed, whatever else came of it.
                made = {path.name for path in guest.machine.folder.rglob('*')}
                self.assertNotIn('pwned', made)
                # It said so too.
                said = ' '.join(c if c.isprintable() else ' ' for c in text)
                asked = result.report.asked.version
                self.assertEqual(''.join(said.split()),
                                 ''.join(asked.split()))  # fmt: skip
                # And bash reads what was written.
                guest.machine._run(
                    ['bash', '-c',
                     '. "$OSC_GPU_ROOT/etc/osc-gpu/settings"; '
                     'printf "%s\\n-\\n" "$VERSION" "$URL" "$REPORT_URL" '
                     '> "$OSC_GPU_ROOT/read"'],
                )  # fmt: skip
                self.assertEqual(
                    [order.version, order.url, order.report_url],
                    guest.read_bytes('read').decode().split('\n-\n')[:-1],
                )
                token = guest.read_bytes(
                    'etc/nvidia/ClientConfigToken/'
                    'client_configuration_token.tok'
                )
                self.assertEqual(text, token.decode())

    def test_names_in_a_report(self):
        # One that would end the JSON, and one that would end the report.
        for name, shown in (
            ('X" }] \\ \\" \x07\x1b[2J \\u0041', 'X" }] \\ \\"   [2J \\u0041'),
            ('X osc-gpu-report-end Y', None),
        ):
            guest = self.guest('rocky-9', 'nvidia')
            guest._gpus = [
                guest_hardware.Gpu('10de', '20b5', name) for _each in range(2)
            ]
            report = guest.boot().report
            self.assertEqual(shown, report.gpus[0].name if report else None)

    def test_what_is_no_report(self):
        console = (
            'osc-gpu-report-begin {"gpus": 3} osc-gpu-report-end\n'
            'osc-gpu-report-begin [] osc-gpu-report-end\n'
        )
        self.assertEqual((), reports.find(console).gpus)
