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

from typing import Any

from tests.unit import base
from tests.unit import fake_cloud

A100 = fake_cloud.A100


class SetTestCase(fake_cloud.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.root = self.add_host('gpu1')
        self.card, self.other = self.add_cards(self.root, 2)
        vgpu1 = self.add_host('vgpu1')
        (self.mdev,) = self.add_vgpus(vgpu1, 16)
        self.pf = self.placement.provider(
            'gpu1_0000:81:00.0', self.root, CUSTOM_A40_8Q=4
        )
        self.inventory = f'/resource_providers/{self.card}/inventories'

    def set(self, *argv: str) -> base.Result:
        return self.ok('gpu', 'inventory', 'set', *argv)

    def refuses(self, *argv: str, status: int = 1) -> str:
        line = self.fails('gpu', 'inventory', 'set', *argv, status=status)
        self.assertEqual([], self.writes)
        return line

    def stock(self, provider: str, resource_class: str = A100) -> Any:
        return self.placement.providers[provider]['inventory'][resource_class]

    @property
    def writes(self) -> list[str]:
        return [line for line in self.requests if line[:4] != 'GET ']


class TestReserve(SetTestCase):
    def test_whole_device(self) -> None:
        result = self.set('gpu1_0000:20:00.0', '--reserve')
        self.assertEqual('', result.stdout)
        self.assertEqual(1, self.stock(self.card)['reserved'])
        self.assertEqual(
            [
                'GET /resource_providers',
                f'GET {self.inventory}',
                f'PUT {self.inventory}/{A100}',
                f'GET /resource_providers/{self.card}/allocations',
            ],
            self.requests,
        )
        # Reserving everything is allowed from 1.26 on.
        self.assertEqual(['1.26'] * 2, self.microversions('placement')[1:3])

    def test_everything_else_stays(self) -> None:
        odd = {
            'total': 8,
            'reserved': 1,
            'min_unit': 2,
            'max_unit': 4,
            'step_size': 2,
            'allocation_ratio': 2.5,
        }
        self.placement.stock(self.card, **{A100: odd})
        self.set('gpu1_0000:20:00.0', '--reserve', '--amount', '3')
        self.assertEqual(odd | {'reserved': 4}, self.stock(self.card))

    def test_by_other_names(self) -> None:
        for name in (self.card, 'GPU1_0000:20:00.0', '0000:20:00.0'):
            self.placement.stock(self.card, **{A100: 1})
            self.set(name, '--reserve')
            self.assertEqual(1, self.stock(self.card)['reserved'], name)

    def test_part(self) -> None:
        self.set('0000:81:00.0', '--reserve', '--amount', '3')
        self.assertEqual(3, self.stock(self.pf, 'CUSTOM_A40_8Q')['reserved'])
        self.set('0000:81:00.0', '--reserve')
        self.assertEqual(4, self.stock(self.pf, 'CUSTOM_A40_8Q')['reserved'])

    def test_more_than_there_is(self) -> None:
        self.placement.stock(self.pf, CUSTOM_A40_8Q=(4, 3))
        self.assertEqual(
            'Cannot reserve 2 more CUSTOM_A40_8Q of gpu1_0000:81:00.0: 3 of '
            '4 are reserved.',
            self.refuses('0000:81:00.0', '--reserve', '--amount', '2'),
        )

    def test_reserved_already(self) -> None:
        self.placement.stock(self.card, **{A100: (1, 1)})
        self.set('0000:20:00.0', '--reserve')
        self.assertEqual([], self.writes)

    def test_in_use(self) -> None:
        self.add_server('s1', {}, (self.pf, {'CUSTOM_A40_8Q': 3}))
        result = self.openstack(
            'gpu', 'inventory', 'set', '0000:81:00.0', '--reserve',
            '--amount', '2',
        )  # fmt: skip
        self.assertEqual((0, ''), (result.status, result.stdout))
        self.assertEqual(
            '1 of the reserved CUSTOM_A40_8Q of gpu1_0000:81:00.0 are in use, '
            'and stay so until their servers give them back\n',
            result.stderr,
        )

    def test_others_in_use(self) -> None:
        self.add_server('s1', {}, (self.pf, {'CUSTOM_A40_8Q': 3}))
        self.set('0000:81:00.0', '--reserve', '--amount', '1')


class TestRelease(SetTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.placement.stock(self.card, **{A100: (1, 1)})
        self.placement.stock(self.pf, CUSTOM_A40_8Q=(4, 3))

    def test_whole_device(self) -> None:
        self.set('0000:20:00.0', '--release')
        self.assertEqual(0, self.stock(self.card)['reserved'])
        self.assertEqual(3, len(self.requests))

    def test_part(self) -> None:
        self.set('0000:81:00.0', '--release', '--amount', '2')
        self.assertEqual(1, self.stock(self.pf, 'CUSTOM_A40_8Q')['reserved'])

    def test_more_than_reserved(self) -> None:
        self.assertEqual(
            'Cannot release 4 CUSTOM_A40_8Q of gpu1_0000:81:00.0: only 3 of '
            '4 are reserved.',
            self.refuses('0000:81:00.0', '--release', '--amount', '4'),
        )

    def test_nothing_reserved(self) -> None:
        self.set('0000:21:00.0', '--release')
        self.assertEqual([], self.writes)


class TestClasses(SetTestCase):
    def test_vgpus(self) -> None:
        for name in ('0000:40:00.0', self.mdev):
            self.assertIn(
                'Nova resets what is reserved',
                self.refuses(name, '--reserve'),
            )
        self.assertEqual(2, len(self.requests))

    def test_vgpus_without_an_address(self) -> None:
        self.placement.provider('vgpu1_mtty_mtty', self.root, VGPU=4)
        self.assertIn(
            'vgpu1_mtty_mtty has vGPUs',
            self.refuses('vgpu1_mtty_mtty', '--reserve'),
        )

    def test_host(self) -> None:
        self.assertIn("'gpu1' is no GPU", self.refuses('gpu1', '--reserve'))
        self.assertIn(
            'What is reserved of MEMORY_MB is set in nova.conf',
            self.refuses('gpu1', '--reserve', '--resource-class', 'MEMORY_MB'),
        )

    def test_class_given(self) -> None:
        self.placement.provider('odd', self.root, CUSTOM_X=2, CUSTOM_GPU=2)
        self.set('odd', '--reserve', '--resource-class', 'CUSTOM_X')
        found = {
            p['name']: p['inventory']
            for p in self.placement.providers.values()
        }['odd']
        self.assertEqual(2, found['CUSTOM_X']['reserved'])
        self.assertEqual(0, found['CUSTOM_GPU']['reserved'])

    def test_class_not_there(self) -> None:
        self.assertEqual(
            "Resource provider 'gpu1_0000:20:00.0' has no CUSTOM_X.",
            self.refuses(
                '0000:20:00.0', '--reserve', '--resource-class', 'CUSTOM_X'
            ),
        )

    def test_several_classes(self) -> None:
        self.placement.provider('odd', self.root, PGPU=2, CUSTOM_GPU=2)
        self.assertEqual(
            "Resource provider 'odd' has several GPU classes: CUSTOM_GPU, "
            'PGPU. Choose one with --resource-class.',
            self.refuses('odd', '--reserve'),
        )

    def test_no_such_provider(self) -> None:
        self.assertIn('No resource provider', self.refuses('x', '--release'))


class TestUsage(SetTestCase):
    def test_refused_before_anything_is_asked(self) -> None:
        for argv, words in (
            ((), '--reserve --release is required'),
            (('--reserve', '--release'), 'not allowed with'),
            (('--reserve', '--amount', '0'), "'0' is not a whole number"),
            (('--reserve', '--amount', '-1'), 'not a whole number'),
            (('--reserve', '--amount', '1.5'), 'not a whole number'),
            (('--reserve', '--resource-class', 'a b'), '--resource-class'),
        ):
            line = self.refuses('0000:20:00.0', *argv, status=2)
            self.assertIn(words, line)
        self.assertEqual([], self.requests)


class TestOthersWrite(SetTestCase):
    """The provider changes between reading and writing."""

    def conflict(self, times: int, **between: Any) -> None:
        answer = self.placement._write

        def write(request: Any, context: Any) -> str:
            nonlocal times
            if times:
                times -= 1
                self.placement.touch(self.pf)
                self.placement.stock(self.pf, **between)
            return answer(request, context)

        self.cloud.put(
            f'{base.PLACEMENT}/resource_providers/{self.pf}/inventories/'
            'CUSTOM_A40_8Q',
            text=write,
        )

    def test_reads_again(self) -> None:
        self.conflict(1, CUSTOM_A40_8Q=(4, 1))
        self.set('0000:81:00.0', '--reserve', '--amount', '1')
        self.assertEqual(2, self.stock(self.pf, 'CUSTOM_A40_8Q')['reserved'])
        self.assertEqual(2, len(self.writes))

    def test_judges_again(self) -> None:
        self.conflict(1, CUSTOM_A40_8Q=(4, 4))
        line = self.fails(
            'gpu', 'inventory', 'set', '0000:81:00.0', '--reserve',
            '--amount', '1',
        )  # fmt: skip
        self.assertIn('4 of 4 are reserved', line)
        self.assertEqual(1, len(self.writes))

    def test_done_by_somebody_else(self) -> None:
        self.conflict(1, CUSTOM_A40_8Q=(4, 4))
        self.set('0000:81:00.0', '--reserve')
        self.assertEqual(1, len(self.writes))

    def test_gives_up(self) -> None:
        self.conflict(99, CUSTOM_A40_8Q=4)
        line = self.fails(
            'gpu', 'inventory', 'set', '0000:81:00.0', '--reserve'
        )
        self.assertIn('changed 5 times', line)
        self.assertEqual(5, len(self.writes))
        self.assertEqual(0, self.stock(self.pf, 'CUSTOM_A40_8Q')['reserved'])


class TestRefused(SetTestCase):
    def test_says_it_in_one_line(self) -> None:
        url = f'{base.PLACEMENT}{self.inventory}/{A100}'
        for status in (400, 403, 404, 409, 500, 503):
            self.cloud.put(
                url,
                status_code=status,
                json={'errors': [{'status': status, 'detail': 'Not now.'}]},
            )
            line = self.fails(
                'gpu', 'inventory', 'set', '0000:20:00.0', '--reserve'
            )
            self.assertIn('Not now.', line)
            self.assertEqual(1, len(line.splitlines()))
            self.assertEqual(0, self.stock(self.card)['reserved'])
