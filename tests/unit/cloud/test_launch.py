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
from unittest import mock

from osc_lib import exceptions

from osc_gpu.cloud import extra_specs
from osc_gpu.cloud import flavors
from osc_gpu.cloud import launch
from osc_gpu.cloud import servers
from tests.unit.cloud import test_servers

A100 = test_servers.A100
ID = test_servers.ID


def flavor(name='g1.a100', vcpus=8, ram=16384, disk=40, **specs):
    return flavors.Flavor(
        id=f'id-{name}',
        name=name,
        vcpus=vcpus,
        ram=ram,
        disk=disk,
        ephemeral=0,
        swap=0,
        is_public=True,
        extra_specs={key.replace('__', ':'): v for key, v in specs.items()},
    )


def alias(text):
    return {'pci_passthrough__alias': text}


class TestSmallest(unittest.TestCase):
    def pick(self, text, *found, also=()):
        request = extra_specs.parse_request(text)
        return launch.smallest(found, request, also).name

    def test_order(self):
        one = alias('a100:1')
        for smaller, larger in (
            ({'vcpus': 2, 'ram': 9000}, {'vcpus': 4, 'ram': 1000}),
            ({'ram': 1000, 'disk': 90}, {'ram': 2000, 'disk': 10}),
            ({'disk': 10}, {'disk': 20}),
            ({}, {}),
        ):
            found = [
                flavor('z' if smaller else 'a', **smaller, **one),
                flavor('b', **larger, **one),
            ]
            for order in (found, found[::-1]):
                self.assertEqual(found[0].name, self.pick('a100', *order))

    def test_exactly(self):
        found = (
            flavor('two', vcpus=1, **alias('a100:2')),
            flavor('mixed', vcpus=1, **alias('a100:1,v100:1')),
            flavor('both', vcpus=1, resources__VGPU='1', **alias('a100:1')),
            flavor('one', vcpus=64, **alias('a100:1')),
            flavor('none', vcpus=1),
        )
        self.assertEqual('one', self.pick('a100:1', *found))
        self.assertEqual('mixed', self.pick('v100:1,a100', *found))
        self.assertEqual('both', self.pick('VGPU,a100', *found))

    def test_split_requests_count_together(self):
        found = flavor('two', **alias('a100:1,a100:1'))
        self.assertEqual('two', self.pick('a100:2', found))
        groups = flavor('g', resources1__VGPU='1', resources2__VGPU='1')
        self.assertEqual('g', self.pick('VGPU:2', groups))

    def test_custom_class(self):
        found = flavor('c', resources__CUSTOM_A16_16A='1')
        self.assertEqual(
            'c',
            self.pick('CUSTOM_A16_16A', found, also=['CUSTOM_A16_16A']),
        )

    def test_none(self):
        with self.assertRaises(exceptions.CommandError) as caught:
            self.pick('a100:3', flavor(**alias('a100:2')), flavor('m1'))
        self.assertEqual(
            'No flavor requests exactly a100:3. '
            'GPU flavors: g1.a100 (a100:2).',
            str(caught.exception),
        )


class TestGpuFlavors(unittest.TestCase):
    def test_none(self):
        self.assertEqual(
            'No flavor that you can use requests a GPU.',
            launch.gpu_flavors([flavor('m1')]),
        )

    def test_five_are_named(self):
        found = [flavor(f'g{n}', **alias(f'a:{n}')) for n in range(5, 0, -1)]
        named = 'g1 (a:1), g2 (a:2), g3 (a:3), g4 (a:4), g5 (a:5)'
        self.assertEqual(f'GPU flavors: {named}.', launch.gpu_flavors(found))
        found += [flavor('m1'), flavor('z1', resources__VGPU='1')]
        self.assertEqual(
            f'GPU flavors: {named} and 1 more.', launch.gpu_flavors(found)
        )


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now = 1000.0
        self.slept = []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


class TestWait(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.time = FakeTime()
        patcher = mock.patch.object(launch, 'time', self.time)
        patcher.start()
        self.addCleanup(patcher.stop)

    def wait(self, *polls, timeout=600):
        polls = iter(polls)

        def read():
            return [
                servers.parse(test_servers.raw_server(status=status))
                for status in next(polls)
            ]

        return [s.status for s in launch.wait(read, timeout)]

    def test_at_once(self):
        self.assertEqual(['ACTIVE'], self.wait(['ACTIVE']))
        self.assertEqual([], self.time.slept)

    def test_error_ends_it(self):
        self.assertEqual(['ERROR'], self.wait(['BUILD'], ['ERROR']))
        self.assertEqual([1.0], self.time.slept)

    def test_all_of_several(self):
        self.assertEqual(
            ['ERROR', 'ACTIVE'],
            self.wait(
                ['BUILD', 'BUILD'], ['ERROR', 'UNKNOWN'], ['ERROR', 'ACTIVE']
            ),
        )

    def test_whatever_a_built_server_does(self):
        for status in ('SHUTOFF', 'PAUSED', 'REBOOT'):
            self.assertEqual([status], self.wait(['BUILD'], [status]))

    def test_pauses_grow_to_a_limit(self):
        self.wait(*[['BUILD']] * 9, ['ACTIVE'])
        self.assertEqual(
            [1.0, 1.5, 2.25, 3.375, 5.0, 5.0, 5.0, 5.0, 5.0], self.time.slept
        )

    def test_timeout(self):
        self.assertEqual(['BUILD'], self.wait(*[['BUILD']] * 3, timeout=2))
        self.assertEqual([1.0, 1.0], self.time.slept)


class TestRequireBuilt(unittest.TestCase):
    def refused(self, *raws, timeout=600):
        order = launch.Order('train', flavor(**alias('a100:2')))
        found = [servers.parse(test_servers.raw_server(**raw)) for raw in raws]
        with (
            mock.patch.object(
                launch, '_free', autospec=True, return_value='FREE'
            ),
            self.assertRaises(exceptions.CommandError) as caught,
        ):
            launch.require_built(mock.sentinel.conn, found, order, timeout)
        return str(caught.exception)

    def test_built(self):
        order = launch.Order('train', flavor(**alias('a100:2')))
        found = [servers.parse(test_servers.raw_server())]
        launch.require_built(mock.sentinel.conn, found, order, 600)

    def test_fault(self):
        self.assertEqual(
            f'Server train ({ID}) is in ERROR: KeyError.',
            self.refused(
                {'status': 'ERROR', 'fault': {'message': 'KeyError'}}
            ),
        )

    def test_fault_of_several_lines(self):
        self.assertEqual(
            f'Server train ({ID}) is in ERROR: Build of x aborted: why?',
            self.refused(
                {
                    'status': 'ERROR',
                    'fault': {'message': 'Build of x\naborted:  why?\n'},
                }
            ),
        )

    def test_no_fault(self):
        self.assertEqual(
            f'Server train ({ID}) is in ERROR: Nova names no fault.',
            self.refused({'status': 'ERROR'}),
        )

    def test_no_valid_host(self):
        self.assertEqual(
            f'Server train ({ID}) is in ERROR: No valid host was found. There '
            f'are not enough hosts available. Flavor g1.a100 (8 VCPUs, 16384 '
            f'MiB of RAM, 40 GiB of disk) requests a100:2 on one host. FREE',
            self.refused(
                {
                    'status': 'ERROR',
                    'fault': {
                        'message': 'No valid host was found. There are not '
                        'enough hosts available.'
                    },
                }
            ),
        )

    def test_timeout(self):
        self.assertEqual(
            f'Server train ({ID}) is in status BUILD after 30 seconds; it is '
            f'left as it is.',
            self.refused({'status': 'BUILD'}, timeout=30),
        )

    def test_one_fault_of_several_is_said_once(self):
        said = self.refused(
            *(
                {'id': n, 'name': f'n-{n}', 'status': 'ERROR', 'fault': fault}
                for n, fault in (
                    ('1', {'message': 'Why'}),
                    ('2', {'message': 'Other'}),
                    ('3', {'message': 'Why'}),
                )
            )
        )
        self.assertEqual(
            '3 of 3 servers are in ERROR: n-1 (1), n-3 (3): Why. n-2 (2): '
            'Other.',
            said,
        )

    def test_several(self):
        self.assertEqual(
            '1 of 3 servers are in ERROR: n-1 (1): KeyError. 1 of 3 servers '
            'are not built after 30 seconds, and are left as they are: n-2 '
            '(2) BUILD.',
            self.refused(
                {
                    'id': '1',
                    'name': 'n-1',
                    'status': 'ERROR',
                    'fault': {'message': 'KeyError'},
                },
                {'id': '2', 'name': 'n-2', 'status': 'BUILD'},
                {'id': '3', 'name': 'n-3', 'status': 'ACTIVE'},
                timeout=30,
            ),
        )
