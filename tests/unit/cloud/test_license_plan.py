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

import dataclasses
import unittest

from osc_lib import exceptions

from osc_gpu.cloud import license_model
from osc_gpu.cloud import license_plan
from osc_gpu.cloud import license_rules
from tests.unit.cloud import test_launch

MAC = 'fa:16:3e:a3:fd:19'
MARK = 'NVIDIA license server nls (osc-gpu)'
RULES = license_rules.wanted(['10.0.0.0/24'], False, [4])
FLAVOR = test_launch.flavor('dls')


def wanted(number=1, **changes):
    node = changes.pop('node', {})
    nodes = license_model.nodes('nls', number)
    return license_model.Wanted(
        **{
            'name': 'nls',
            'network_id': 'id-network',
            'flavor': FLAVOR,
            'image_id': 'id-image',
            'key_name': '',
            'nodes': (dataclasses.replace(nodes[0], **node), *nodes[1:]),
            'rules': RULES,
        }
        | changes
    )


def group(**changes):
    return license_model.SecurityGroup(
        **{'id': 'id-sg', 'name': 'nls', 'description': MARK, 'rules': RULES}
        | changes
    )


def port(number=1, **changes):
    return license_model.Port(
        **{
            'id': f'id-port-{number}',
            'name': f'nls-{number}',
            'network_id': 'id-network',
            'mac_address': MAC,
            'addresses': ('10.0.0.5',),
            'security_groups': ('id-sg',),
            'device_id': f'id-server-{number}',
        }
        | changes
    )


def server_group(**changes):
    return license_model.ServerGroup(
        **{
            'id': 'id-group',
            'name': 'nls',
            'policy': 'anti-affinity',
            'members': frozenset({'id-server-1', 'id-server-2'}),
        }
        | changes
    )


def server(number=1, **changes):
    return license_model.Server(
        **{
            'id': f'id-server-{number}',
            'name': f'nls-{number}',
            'status': 'ACTIVE',
            'flavor': 'dls',
            'image_id': 'id-image',
            'description': MARK,
        }
        | changes
    )


def present(**changes):
    found = {
        'group': group(),
        'server_group': server_group(),
        'ports': [port()],
        'servers': [server()],
    } | changes
    return license_model.Present(
        found['group'],
        found['server_group'],
        {item.name: item for item in found['ports']},
        {item.name: item for item in found['servers']},
    )


class TestMissing(unittest.TestCase):
    def titles(self, wanted, there):
        return [step.title for step in license_plan.missing(wanted, there)]

    def test_all_and_nothing(self):
        self.assertEqual([], self.titles(wanted(), present()))
        self.assertEqual(
            [
                'security group nls',
                'rules of security group nls',
                'port nls-1',
                'port nls-2',
                'server group nls',
                'server nls-1',
                'server nls-2',
            ],
            self.titles(wanted(2), license_model.Present()),
        )

    def test_parts(self):
        for changes, expected in (
            (
                {'group': group(rules=RULES[1:])},
                ['rules of security group nls'],
            ),
            (
                {'group': None},
                [
                    'security group nls',
                    'rules of security group nls',
                    'security group membership of port nls-1',
                ],
            ),
            ({'servers': []}, ['server nls-1']),
            ({'servers': [], 'ports': []}, ['port nls-1', 'server nls-1']),
            (
                {'servers': [], 'server_group': None},
                ['server group nls', 'server nls-1'],
            ),
            # Neither would be of any use to a server that is there.
            ({'server_group': None}, []),
            ({'ports': []}, []),
            (
                {'ports': [port(security_groups=('other',))]},
                ['security group membership of port nls-1'],
            ),
        ):
            self.assertEqual(
                expected, self.titles(wanted(), present(**changes)), changes
            )

    def test_only_rules_that_lack(self):
        (step,) = license_plan.missing(
            wanted(), present(group=group(rules=RULES[2:]))
        )
        self.assertEqual(RULES[:2], step.rules)
        self.assertEqual(
            'rules of security group nls (icmp from 10.0.0.0/24, tcp 22 from '
            '10.0.0.0/24)',
            step.text,
        )


class TestPresent(unittest.TestCase):
    def sort_out(self, *found):
        return license_plan.present('nls', ['nls-1'], *found)

    def test_others(self):
        others = group(name='NLS'), port(2), server_group(name='x'), server(2)
        self.assertEqual(
            license_model.Present(),
            self.sort_out(*([other] for other in others)),
        )

    def test_doubles(self):
        for index, (one, what) in enumerate(
            (
                (group(), 'security group nls'),
                (port(), 'port nls-1'),
                (server_group(), 'server group nls'),
                (server(), 'server nls-1'),
            )
        ):
            found = [[], [], [], []]
            found[index] = [one, dataclasses.replace(one, id='a-twin')]
            with self.assertRaisesRegex(
                exceptions.CommandError,
                f'There is more than one {what}: a-twin, {one.id}. Delete',
            ):
                self.sort_out(*found)


class TestRefusals(unittest.TestCase):
    def check(self, expected, wanted, **changes):
        found = license_plan.refusals(wanted, present(**changes))
        self.assertEqual([expected] if expected else [], list(found))

    def test_security_group(self):
        self.check('', wanted(), group=group(description='', rules=RULES))
        self.check('', wanted(), group=group(rules=()))
        self.check(
            "Security group nls (id-sg) is not of this command's making, and "
            'other servers may be in it; it lacks icmp from 10.0.0.0/24. Add '
            'them, choose another name, or leave it to this command with: '
            "openstack security group set --description 'NVIDIA license "
            "server nls (osc-gpu)' id-sg",
            wanted(),
            group=group(description='web', rules=RULES[1:]),
        )

    def test_server_group(self):
        for changes, policy, most in (
            ({'policy': 'soft-anti-affinity'}, 'soft-anti-affinity', 1),
            ({'most': 2}, 'anti-affinity', 2),
        ):
            self.check(
                'Server group nls (id-group) lets servers share a host '
                f'(policy {policy}, at most {most}): it has to be of policy '
                'anti-affinity. Choose another name, or delete it',
                wanted(),
                server_group=server_group(**changes),
            )

    def test_port(self):
        for node, changes, said in (
            ({}, {'network_id': 'other'}, 'is on network other'),
            (
                {'mac_address': 'fa:16:3e:a3:fd:20'},
                {},
                f'has MAC address {MAC}, not fa:16:3e:a3:fd:20',
            ),
            (
                {'fixed_ip': '10.0.0.6'},
                {},
                'has address 10.0.0.5, not 10.0.0.6',
            ),
            (
                {'fixed_ip': '10.0.0.6'},
                {'addresses': ()},
                'has address none, not 10.0.0.6',
            ),
        ):
            for servers in ([], [server()]):
                device = 'id-server-1' if servers else ''
                self.check(
                    f'Port nls-1 (id-port-1) {said}',
                    wanted(node=node),
                    ports=[port(device_id=device, **changes)],
                    servers=servers,
                )

    def test_port_in_use(self):
        self.check(
            'Port nls-1 (id-port-1) is in use by other',
            wanted(),
            ports=[port(device_id='other')],
            servers=[],
        )
        self.check('', wanted(), ports=[port(device_id='')], servers=[])

    def test_server(self):
        self.check('', wanted(), servers=[server(description='')])
        self.check('', wanted(), ports=[port(device_id='')])
        self.check('', wanted(), ports=[])
        self.check(
            'Server nls-1 (id-server-1) is no license server: it is not on '
            f"port nls-1, and not described as '{MARK}'. Choose another name",
            wanted(),
            servers=[server(description='web')],
            ports=[],
        )
        self.check(
            'Server nls-1 (id-server-1) is being deleted: wait until it is '
            'gone',
            wanted(),
            servers=[server(task_state='deleting')],
        )

    def test_a_server_that_nobody_asked_for(self):
        self.check('', wanted(), servers=[server(), server(2, description='')])


class TestDifferences(unittest.TestCase):
    def check(self, expected, wanted, **changes):
        found = license_plan.differences(wanted, present(**changes))
        self.assertEqual([expected] if expected else [], list(found))

    def test_none(self):
        self.check('', wanted())
        self.check('', wanted(), servers=[], ports=[port(device_id='')])
        self.assertEqual(
            (), license_plan.differences(wanted(), license_model.Present())
        )

    def test_server(self):
        for changes, said in (
            ({'flavor': 'old'}, 'has flavor old, not dls'),
            ({'image_id': 'id-old'}, 'has image id-old, not id-image'),
            ({'image_id': ''}, 'has image none, not id-image'),
        ):
            self.check(
                f'Server nls-1 (id-server-1) {said}',
                wanted(),
                servers=[server(**changes)],
            )
        self.check('', wanted(), servers=[server(key_name='me')])
        self.check(
            'Server nls-1 (id-server-1) has keypair none, not me',
            wanted(key_name='me'),
        )

    def test_group(self):
        for group in (None, server_group(members=frozenset())):
            self.check(
                'Server nls-1 (id-server-1) is not in server group nls',
                wanted(),
                server_group=group,
            )

    def test_port(self):
        for ports in ([], [port(device_id='')]):
            self.check(
                'Server nls-1 (id-server-1) is not on port nls-1',
                wanted(),
                ports=ports,
            )
            for status in ('BUILD', 'ERROR'):
                self.check(
                    '', wanted(), ports=ports, servers=[server(status=status)]
                )

    def test_security_groups(self):
        self.check(
            'Port nls-1 (id-port-1) is in other security groups too: web',
            wanted(),
            ports=[port(security_groups=('web', 'id-sg'))],
        )
        wide = license_rules.Rule(4, 'tcp', 443, 443, '0.0.0.0/0')
        self.check(
            'Security group nls (id-sg) also lets in tcp 443 from 0.0.0.0/0; '
            'remove what is too much with: openstack security group rule '
            'delete',
            wanted(),
            group=group(rules=(*RULES, wide)),
        )


class TestQuota(unittest.TestCase):
    def test_needs(self):
        steps = license_plan.missing(wanted(2), license_model.Present())
        self.assertEqual(
            (
                {
                    'instances': 2,
                    'cores': 2 * FLAVOR.vcpus,
                    'ram': 2 * FLAVOR.ram,
                    'server_groups': 1,
                },
                {'port': 2, 'security_group': 1, 'security_group_rule': 5},
            ),
            license_plan.needs(steps, FLAVOR),
        )

    def test_over_quota(self):
        needed = {'instances': 2, 'cores': 8}
        for room, expected in (
            ({}, ()),
            ({'instances': 2, 'cores': 8}, ()),
            (
                {'instances': 1, 'cores': -3},
                (
                    'Quota of instances: 2 needed, 1 left',
                    'Quota of cores: 8 needed, 0 left',
                ),
            ),
        ):
            self.assertEqual(expected, license_plan.over_quota(needed, room))
