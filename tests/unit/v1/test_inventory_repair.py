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

import io
import os
import signal
import types
from typing import Any
from unittest import mock

from osc_gpu.cloud import audit
from osc_gpu.cloud import repair
from osc_gpu.cloud import repair_excess
from osc_gpu.cloud import repair_writing
from osc_gpu.v1 import terminal
from tests.unit import base
from tests.unit import fake_cloud

A100 = fake_cloud.A100
ALIAS = {'pci_passthrough:alias': 'a100:1'}
NOBODY = '5' * 8 + '-aaaa-bbbb-cccc-' + '5' * 12
CHECK = ('gpu', 'inventory', 'check')


class TestCase(fake_cloud.TestCase):
    """A server with a card, and nothing wrong."""

    def setUp(self) -> None:
        super().setUp()
        self.root = self.add_host('gpu1')
        self.cards = self.add_cards(self.root, 4)
        self.nova.add('g1', ALIAS)
        self.server = self.add_server(
            'train',
            ALIAS,
            (self.root, {'VCPU': 2}),
            (self.cards[0], {A100: 1}),
            host='gpu1',
        )
        self.enterContext(mock.patch.object(repair_excess, 'POLL', 5.0))
        self.clock = 0.0
        self.at: dict[int, Any] = {}
        for name, do in (
            ('sleep', self._sleep),
            ('monotonic', lambda: self.clock),
        ):
            self.enterContext(mock.patch.object(repair_excess.time, name, do))

    def _sleep(self, seconds: float) -> None:
        self.clock += seconds
        for when in [when for when in self.at if when <= self.clock]:
            self.at.pop(when)()

    def orphan(self, consumer: str = NOBODY, card: int = 1) -> str:
        self.placement.hold(consumer, self.cards[card], **{A100: 1})
        return consumer

    def double(self) -> None:
        self.placement.hold(self.server, self.cards[3], **{A100: 1})

    def check(self, *argv: str, status: int = 0) -> dict[Any, str]:
        """Return check and subject -> what is said of the repair."""
        result = self.openstack(*CHECK, *argv, '-f', 'json')
        self.assertEqual((status, ''), (result.status, result.stderr))
        return {
            (row['Check'], row['Subject']): row['Repair']
            for row in result.json
        }

    @property
    def writes(self) -> list[str]:
        return [line for line in self.requests if line[:4] != 'GET ']


class TestRepair(TestCase):
    def test_nothing_wrong(self) -> None:
        self.assertEqual({}, self.check('--repair', '--yes'))
        self.assertEqual([], self.writes)

    def test_orphan(self) -> None:
        found = {('orphan', self.orphan()): 'removed'}
        self.assertEqual(found, self.check('--repair', '--yes'))
        self.assertEqual([self.server], list(self.placement.allocations))
        self.assertEqual({}, self.check())

    def test_leaked(self) -> None:
        record = self.add_migration(
            self.server, 'error', source_compute='gpu1', dest_compute=None
        )
        self.orphan(record)
        self.assertEqual(
            {('leaked-migration', record): 'removed'},
            self.check('--repair', '--yes'),
        )

    def test_excess(self) -> None:
        self.double()
        self.assertEqual(
            {('excess', self.server): 'dropped gpu1_0000:23:00.0'},
            self.check('--repair', '--yes'),
        )
        held = self.placement.allocations[self.server]
        self.assertEqual({self.root, self.cards[0]}, held.keys())
        # Ninety seconds, and some for the second looks.
        self.assertTrue(90 <= self.clock < 110, self.clock)

    def test_wait(self) -> None:
        self.double()
        self.check('--repair', '--yes', '--wait', '10')
        self.assertLess(self.clock, 30)

    def test_excess_of_vgpus(self) -> None:
        """Nova adds none of them back, so none is dropped."""
        (mdev,) = self.add_vgpus(self.root, 16)
        self.nova.add('v1', {'resources:VGPU': '1'})
        server = self.add_server(
            'desktop',
            {'resources:VGPU': '1'},
            (self.root, {'VCPU': 2}),
            (mdev, {'VGPU': 2}),
            host='gpu1',
        )
        found = self.check('--repair', '--yes', status=1)
        self.assertEqual(
            {('excess', server): 'Migrate the server, and confirm it'}, found
        )
        self.assertEqual([], self.writes)

    def test_excess_of_what_nova_does_not_pass_through(self) -> None:
        """Asked of Placement alone: Nova would add nothing back."""
        specs = {f'resources:{A100}': '1'}
        self.nova.add('g2', specs)
        server = self.add_server(
            'other',
            specs,
            (self.root, {'VCPU': 2}),
            (self.cards[1], {A100: 1}),
            (self.cards[2], {A100: 1}),
            host='gpu1',
        )
        found = self.check('--repair', '--yes', status=1)
        self.assertNotIn('drop', found['excess', server])
        self.assertEqual([], self.writes)

    def test_all_at_once(self) -> None:
        self.double()
        self.orphan()
        self.placement.stock(self.cards[2], **{A100: (1, 1)})
        self.assertEqual(
            {
                ('excess', self.server): 'dropped gpu1_0000:23:00.0',
                ('orphan', NOBODY): 'removed',
                ('reserved', 'gpu1_0000:22:00.0'): 'released',
            },
            self.check('--repair', '--yes', '--release', 'all'),
        )

    def test_what_cannot_be_mended(self) -> None:
        self.orphan()
        del self.placement.allocations[self.server][self.cards[0]]
        found = self.check('--repair', '--yes', status=1)
        self.assertEqual('removed', found.pop(('orphan', NOBODY)))
        self.assertEqual([('missing', self.server)], list(found))

    def test_left_alone(self) -> None:
        self.double()
        self.hypervisors[0]['state'] = 'down'
        found = self.check('--repair', '--yes', status=1)
        self.assertIn('host gpu1 is down', found['excess', self.server])
        self.assertEqual([], self.writes)

    def test_still_found(self) -> None:
        self.orphan()
        # Somebody makes it again, each time.
        put = self.placement._put_allocations

        def again(consumer: str, body: Any, context: Any) -> str:
            text = put(consumer, body, context)
            self.orphan()
            return text

        with mock.patch.object(self.placement, '_put_allocations', again):
            found = self.check('--repair', '--yes', status=1)
        self.assertEqual(
            {('orphan', NOBODY): 'removed, but it is still found: run again'},
            found,
        )


class TestRelease(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.once, self.kept = self.cards[1:3]
        for card in (self.once, self.kept):
            self.placement.stock(card, **{A100: (1, 1)})
        self.placement.providers[self.once]['traits'].append(
            'HW_PCI_ONE_TIME_USE'
        )

    def reserved(self) -> list[int]:
        return [
            self.placement.providers[card]['inventory'][A100]['reserved']
            for card in (self.once, self.kept)
        ]

    def test_not_told(self) -> None:
        self.check('--repair', '--yes')
        self.assertEqual([1, 1], self.reserved())

    def test_one_time_use(self) -> None:
        found = self.check('--repair', '--yes', '--release', 'one-time-use')
        self.assertEqual(
            'released', found['one-time-use', 'gpu1_0000:21:00.0']
        )
        self.assertEqual([0, 1], self.reserved())

    def test_all(self) -> None:
        self.check('--repair', '--yes', '--release', 'all')
        self.assertEqual([0, 0], self.reserved())

    def test_used_again(self) -> None:
        self.cloud.get(
            f'{base.PLACEMENT}/resource_providers/{self.once}/allocations',
            json={'allocations': {NOBODY: {'resources': {A100: 1}}}},
        )
        found = self.check(
            '--repair', '--yes', '--release', 'one-time-use', status=1
        )
        self.assertIn(
            'gpu1_0000:21:00.0 is in use',
            found['one-time-use', 'gpu1_0000:21:00.0'],
        )
        self.assertEqual([1, 1], self.reserved())

    def test_failed(self) -> None:
        for status, words in ((500, 'failed: '), (503, 'HTTP 503')):
            self.cloud.put(
                f'{base.PLACEMENT}/resource_providers/{self.kept}'
                f'/inventories/{A100}',
                status_code=status,
            )
            found = self.check(
                '--repair', '--yes', '--release', 'all', status=1
            )
            self.assertIn(words, found['reserved', 'gpu1_0000:22:00.0'])
        self.assertEqual([0, 1], self.reserved())

    def test_no_right_to_write(self) -> None:
        for card in (self.once, self.kept):
            self.cloud.put(
                f'{base.PLACEMENT}/resource_providers/{card}'
                f'/inventories/{A100}',
                status_code=403,
            )
        self.fails(*CHECK, '--repair', '--yes', '--release', 'all')
        self.assertEqual(1, len(self.writes))


class TestDryRun(TestCase):
    def test_says_what_would_be_done(self) -> None:
        self.double()
        self.orphan()
        self.placement.stock(self.cards[2], **{A100: (1, 1)})
        found = self.check('--repair', '--dry-run', status=1)
        self.assertEqual(
            'would be done: remove its allocations', found['orphan', NOBODY]
        )
        self.assertIn(
            'would be done: drop 1 of them', found['excess', self.server]
        )
        reserved = ('reserved', 'gpu1_0000:22:00.0')
        self.assertNotIn('would be done', found[reserved])
        found = self.check(
            '--repair', '--dry-run', '--release', 'all', status=1
        )
        self.assertEqual('would be done: release it', found[reserved])
        self.assertEqual([], self.writes)


class TestAsk(TestCase):
    def answer(self, text: str) -> str:
        """Run it on a terminal where somebody types; return the question."""
        stdin = mock.Mock(readline=lambda: text, isatty=lambda: True)
        stderr = io.StringIO()
        fake = types.SimpleNamespace(stdin=stdin, stderr=stderr)
        with mock.patch.object(terminal, 'sys', fake):
            self.check('--repair', status=0 if text[:1] in ('y', 'Y') else 1)
        return stderr.getvalue()

    def test_no(self) -> None:
        for text in ('', 'n\n', '\n', 'x\n', 'not yes\n'):
            self.orphan()
            self.answer(text)
            self.assertEqual([], self.writes)

    def test_yes(self) -> None:
        for text in ('y\n', 'YES\n'):
            self.orphan()
            shown = self.answer(text)
            self.assertNotIn(NOBODY, self.placement.allocations)
        self.assertEqual(
            f'{NOBODY}: 1 {A100} (gpu1_0000:21:00.0) held by a consumer that '
            'is neither a server nor a migration in progress: remove its '
            'allocations\nRepair these 1? [y/N] ',
            shown,
        )

    def test_nothing_to_ask(self) -> None:
        stdin = mock.Mock(isatty=lambda: True)
        fake = types.SimpleNamespace(stdin=stdin, stderr=io.StringIO())
        with mock.patch.object(terminal, 'sys', fake):
            self.check('--repair')
        stdin.readline.assert_not_called()


class TestRefused(TestCase):
    def test_before_anything_is_asked(self) -> None:
        for argv, words in (
            (('--repair',), 'give --yes, or --dry-run'),
            (('--yes',), 'argument --yes: it is only of use with --repair'),
            (('--dry-run',), 'argument --dry-run'),
            (('--wait', '5'), 'argument --wait'),
            (('--release', 'all'), 'argument --release'),
        ):
            self.assertIn(words, self.fails(*CHECK, *argv))
        for argv, words in (
            (('--wait', '0'), "'0' is not a whole number from 1"),
            (('--wait', 'x'), "'x' is not a whole number"),
            (('--release', 'some'), "invalid choice: 'some'"),
        ):
            line = self.fails(*CHECK, '--repair', '--yes', *argv, status=2)
            self.assertIn(words, line)
        self.assertEqual([], self.requests)

    def test_no_right_to_write(self) -> None:
        self.orphan()
        self.cloud.put(
            f'{base.PLACEMENT}/allocations/{NOBODY}',
            status_code=403,
            json={'errors': [{'detail': 'Not you.'}]},
        )
        self.assertEqual('Not you.', self.fails(*CHECK, '--repair', '--yes'))
        self.assertIn(NOBODY, self.placement.allocations)

    def test_interrupted(self) -> None:
        self.double()
        self.heed_ctrl_c()
        for how in (signal.SIGINT, signal.SIGTERM):
            self.at[20] = lambda how=how: os.kill(os.getpid(), how)
            self.assertEqual(
                'Interrupted: nothing is half done; run it again for what is '
                'left',
                self.fails(*CHECK, '--repair', '--yes'),
            )
            self.double()
            self.clock = 0


class TestReport(TestCase):
    """What is done to a problem that changes until it is done."""

    def test_judged_again_first(self) -> None:
        self.double()
        stdin = mock.Mock(isatty=lambda: True)

        def heal() -> str:
            del self.placement.allocations[self.server][self.cards[3]]
            self.placement.touch(self.server)
            return 'y'

        stdin.readline = heal
        fake = types.SimpleNamespace(stdin=stdin, stderr=io.StringIO())
        with mock.patch.object(terminal, 'sys', fake):
            found = self.check('--repair')
        self.assertEqual(
            {('excess', self.server): 'nothing to do any more'}, found
        )
        self.assertEqual([], self.writes)

    def test_new_findings_are_shown(self) -> None:
        def problem(subject: str) -> audit.Problem:
            return audit.Problem(
                'error', 'orphan', subject, 'd', consumer=subject
            )

        outcome = repair_writing.Outcome('removed')
        shown = repair.report({problem('a'): outcome}, [problem('b')])
        self.assertEqual(
            [('a', 'removed'), ('b', '')],
            [(p.subject, p.repair) for p in shown],
        )
