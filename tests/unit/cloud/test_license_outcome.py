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

import unittest

from osc_lib import exceptions

from osc_gpu.cloud import license_model
from osc_gpu.cloud import license_outcome
from osc_gpu.cloud import license_plan
from osc_gpu.cloud import license_project
from tests.unit.cloud import test_license_plan

present = test_license_plan.present
server = test_license_plan.server
wanted = test_license_plan.wanted


class TestTroubles(unittest.TestCase):
    def check(self, expected, servers, number=1, timeout=0, **changes):
        there = present(servers=servers, **changes)
        found = license_outcome.troubles(wanted(number), there, timeout)
        self.assertEqual([expected] if expected else [], list(found))

    def test_none(self):
        self.check('', [server(host_id='a'), server(2, host_id='b')], 2)
        self.check('', [server(status='BUILD')])
        self.check('', [server(status='SHUTOFF')], timeout=60)
        self.check('', [])

    def test_error(self):
        again = (
            'Delete it (openstack server delete id-server-1) and run the same '
            'command again; its port keeps MAC address fa:16:3e:a3:fd:19'
        )
        for fault, said in (
            ('Boom.\n Twice.', 'Boom. Twice'),
            ('', 'Nova names no fault'),
        ):
            self.check(
                f'Server nls-1 (id-server-1) is in ERROR: {said}. {again}',
                [server(status='ERROR', fault=fault)],
            )

    def test_error_without_a_port(self):
        self.check(
            'Server nls-1 (id-server-1) is in ERROR: Boom. Delete it '
            '(openstack server delete id-server-1) and run the same command '
            'again',
            [server(status='ERROR', fault='Boom')],
            ports=[],
        )

    def test_no_host_at_all(self):
        failed = [
            server(n, status='ERROR', fault='No valid host was found.')
            for n in (1, 2)
        ]
        found = license_outcome.troubles(
            wanted(2), present(servers=failed), 60
        )
        self.assertEqual(2, len(found))
        self.assertIn(
            'No host has room for flavor dls (8 VCPUs, 16384 MiB of RAM, 40 '
            'GiB of disk), or none that may take it.',
            found[0],
        )


class TestStopped(unittest.TestCase):
    def test_a_refusal_of_ours(self):
        self.assertEqual(
            'It is so. Made so far: project p. Run the same command again to '
            'go on.',
            license_outcome.stopped(
                '', exceptions.CommandError('It is so.'), ['project p']
            ),
        )

    def test_a_long_one_is_not_cut(self):
        text = 'x' * 2000
        self.assertEqual(
            f'{text}.',
            license_outcome.stopped('', exceptions.CommandError(text), []),
        )


class TestHint(unittest.TestCase):
    def hint(self, what, **node):
        place = license_project.Place('id-p', 'p', 'default', ('me', 'id'))
        step = license_plan.Step(what, 'nls-1')
        return license_outcome.hint(wanted(node=node), place, step)

    def test_hint(self):
        self.assertEqual('', self.hint(license_plan.PORT))
        self.assertEqual('', self.hint(license_plan.SERVER, mac_address='a'))
        self.assertTrue(
            self.hint(
                license_plan.PORT,
                mac_address='fa:16:3e:a3:fd:19',
                fixed_ip='10.0.0.5',
            ).endswith(
                'openstack port create --network id-network --project id-p '
                '--no-security-group --mac-address fa:16:3e:a3:fd:19 '
                '--fixed-ip ip-address=10.0.0.5 nls-1.'
            )
        )

    def test_names_are_quoted(self):
        node = license_model.Node('$(id)-1', 'fa:16:3e:a3:fd:19')
        place = license_project.Place('id-p', 'p', 'default', ('me', 'id'))
        said = license_outcome.hint(
            wanted(nodes=(node,)),
            place,
            license_plan.Step(license_plan.PORT, '$(id)-1'),
        )
        self.assertTrue(said.endswith(" '$(id)-1'."), said)
