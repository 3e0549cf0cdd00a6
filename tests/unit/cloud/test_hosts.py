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


from osc_lib import exceptions

from osc_gpu.cloud import hosts
from osc_gpu.cloud import hypervisors
from osc_gpu.cloud import inventory
from osc_gpu.cloud import marks
from tests.unit.cloud import wire
from tests.unit import fake_cloud

A100 = fake_cloud.A100


def compute(name, host='', servers=(), **more):
    return hypervisors.Hypervisor(
        f'id-{name}', name, host or name, servers=tuple(servers), **more
    )


def gpu(host, total, used, reserved=0):
    free = total - used - reserved
    return inventory.GpuInventory(
        host, 'd', '', A100, total, reserved, used, free, 'p'
    )


class TestJoin(wire.TestCase):
    def test_amounts(self):
        found = hosts.join(
            [
                compute('b', 'svc-b', ['s1', 's2'], is_enabled=False),
                compute('a', is_up=False),
            ],
            [gpu('b', 4, 1, 1), gpu('b', 1, 1), gpu('elsewhere', 9, 0)],
        )
        self.assertEqual(
            (
                ('a', 'enabled', 'down', 0, 0, 0, 0),
                ('svc-b', 'disabled', 'up', 5, 2, 2, 2),
            ),
            found,
        )

    def test_several_hypervisors(self):
        """Nova counts the servers of their service at each of them."""
        (found,) = hosts.join(
            [
                compute('n1', 'ironic', ['s1'], is_up=False),
                compute('n2', 'ironic', ['s1', 's2'], is_enabled=False),
            ],
            [gpu('n1', 8, 8), gpu('n2', 4, 0)],
        )
        self.assertEqual(('ironic', 'enabled', 'up', 12, 8, 4, 2), found)


class TestNamed(wire.TestCase):
    def named(self, name, *computes):
        return hosts.named({c.id: c for c in computes}, name)

    def refused(self, name, *computes):
        with self.assertRaises(exceptions.CommandError) as caught:
            self.named(name, *computes)
        return str(caught.exception)

    def test_service_comes_before_hypervisor(self):
        first, second = compute('a', 'b'), compute('b', 'c')
        self.assertEqual(first, self.named('b', first, second))
        self.assertEqual(first, self.named('a', first, second))

    def test_unknown(self):
        for name in ('x', '', 'A', ' a'):
            self.assertEqual(
                f"No compute service host named '{name}'; list them with: "
                'openstack gpu host list --all',
                self.refused(name, compute('a')),
            )

    def test_bare_metal(self):
        nodes = compute('n2', 'ironic'), compute('n1', 'ironic')
        self.assertIn('2 hypervisors', self.refused('ironic', *nodes))
        self.assertIn('such as n1', self.refused('ironic', *nodes))
        self.assertEqual('n2', self.named('n2', *nodes).name)


class TestRead(fake_cloud.TestCase, wire.TestCase):
    def setUp(self):
        super().setUp()
        self.root = self.add_host('gpu1')
        self.cards = self.add_cards(self.root, 2)
        self.add_host('plain')

    def test_find(self):
        self.assertEqual(self.root, hosts.find(self.conn, 'gpu1').id)
        self.assertEqual(['GET /os-hypervisors/detail'], self.requests)

    def test_every(self):
        names = [host.host for host in hosts.read(self.conn)]
        self.assertEqual(['gpu1'], names)
        names = [host.host for host in hosts.read(self.conn, every=True)]
        self.assertEqual(['gpu1', 'plain'], names)

    def test_show(self):
        self.hypervisors[0]['service']['disabled_reason'] = marks.write_drain(
            marks.Drain('abc', '2026-11-21T05:00:00Z', 'fans')
        )
        self.hypervisors[0]['status'] = 'disabled'
        self.add_server('b', {}, host='gpu1')
        self.add_server('a', {}, (self.cards[0], {A100: 1}), host='gpu1')
        self.add_server('c', {}, host='plain')
        found = hosts.show(self.conn, 'gpu1')
        self.assertEqual(('gpu1', 'disabled', 'up', 2, 1, 1, 2), found.host)
        self.assertEqual(['a', 'b'], [s.name for s in found.servers])
        self.assertEqual([1, 0], [d.used for d in found.devices])
        self.assertEqual(
            ('abc', '2026-11-21T05:00:00Z', 'fans', None), found.drain
        )
