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

import itertools
from typing import Any
import unittest

from osc_gpu.cloud import migration_records
from osc_gpu.cloud import migration_steps as steps
from osc_gpu.cloud import move_methods
from tests.unit.cloud import move_parts as parts

OURS = parts.mark()


def decide(
    found: Any = None,
    *records: migration_records.MigrationRecord,
    order: steps.Order | None = None,
    seen: steps.Seen | None = None,
    stale: tuple[str, ...] = (),
) -> Any:
    return steps.decide(
        parts.state(found, *records),
        order or parts.order(),
        seen or steps.Seen(),
        stale,
    )


class TestCase(unittest.TestCase):
    def acts(self, name: str, host: str, found: Any) -> None:
        self.assertIsInstance(found, steps.Act, found)
        self.assertEqual((name, host), (found.action.name, found.action.host))

    def ends(self, result: str, found: Any, clean: bool = False) -> str:
        self.assertIsInstance(found, steps.End, found)
        self.assertEqual(
            (result, clean), (found.result, found.is_clean), found
        )
        detail: str = found.detail
        self.assertNotIn('\n', detail)
        return detail


class TestDecide(TestCase):
    """What is next for each stand, in the order of the table of facts 4."""

    def test_a_compute_service_died(self) -> None:
        """Nova takes the server for idle, and forgets its migration."""
        dead = (parts.server('ACTIVE'), parts.record('migrating'))
        seen = steps.Seen(still=steps.MOST_STILL - 1)
        self.assertIsInstance(decide(*dead, seen=seen), steps.Wait)
        seen = steps.Seen(still=steps.MOST_STILL)
        detail = self.ends(steps.POISONED, decide(*dead, seen=seen))
        self.assertIn('stands still as migrating', detail)
        moving = (parts.server('RESIZE'), parts.record('migrating'))
        self.assertIsInstance(decide(*moving, seen=seen), steps.Wait)

    def test_busy(self) -> None:
        for found, records, text in (
            (
                parts.server('RESIZE', task='resize_prep'),
                (),
                'RESIZE resize_prep',
            ),
            (parts.server('REVERT_RESIZE'), (), 'REVERT_RESIZE'),
            (
                parts.server('VERIFY_RESIZE'),
                (parts.record('confirming'),),
                'VERIFY_RESIZE confirming',
            ),
            (
                parts.server('ACTIVE'),
                (parts.record('pre-migrating'),),
                'ACTIVE pre-migrating',
            ),
        ):
            self.assertEqual(steps.Wait(text), decide(found, *records))

    def test_a_cell_does_not_answer(self) -> None:
        found = decide(parts.server('UNKNOWN', flavor=None))
        self.assertEqual(steps.Wait('its cell does not answer'), found)

    def test_unconfirmed(self) -> None:
        record = parts.record('finished')
        found = decide(parts.server('VERIFY_RESIZE', 'gpu2'), record)
        self.assertEqual(steps.Prove(record), found)

    def test_a_resize_is_its_owners(self) -> None:
        for order in (
            parts.order(),
            parts.order(is_forced=True),
            parts.order(confirms=False),
        ):
            found = decide(
                parts.server('VERIFY_RESIZE', 'gpu2'),
                parts.record('finished', kind='resize'),
                order=order,
            )
            detail = self.ends(steps.REFUSED, found, clean=True)
            self.assertIn('resize to another flavor waits', detail)

    def test_confirmed_but_not_shown_yet(self) -> None:
        for records in ((), (parts.record('confirmed'),)):
            found = decide(parts.server('VERIFY_RESIZE', 'gpu2'), *records)
            self.assertIsInstance(found, steps.Wait)

    def test_two_are_unconfirmed(self) -> None:
        for order in (parts.order(), parts.order(confirms=False)):
            found = decide(
                parts.server('VERIFY_RESIZE', 'gpu2'),
                parts.record('finished', number=1),
                parts.record('finished', number=2),
                order=order,
            )
            detail = self.ends(steps.POISONED, found)
            self.assertIn('2 migrations of it are unconfirmed', detail)

    def test_no_confirm(self) -> None:
        found = decide(
            parts.server('VERIFY_RESIZE', 'gpu2'),
            parts.record('finished'),
            order=parts.order(confirms=False),
        )
        detail = self.ends(steps.UNCONFIRMED, found)
        self.assertIn('on gpu1 and on gpu2', detail)
        self.assertTrue(
            detail.endswith(
                f'go on with: openstack gpu server migrate {parts.ID}, or '
                f'openstack gpu server recover --method revert {parts.ID}'
            ),
            detail,
        )

    def test_error(self) -> None:
        found = decide(
            parts.server(
                'ERROR', 'gpu2', fault={'message': 'libvirt\n  Error'}
            )
        )
        detail = self.ends(steps.FAILED, found)
        self.assertEqual(
            'in ERROR on gpu2: libvirt Error; see: openstack gpu server '
            f'recover {parts.ID}',
            detail,
        )

    def test_error_without_a_fault(self) -> None:
        detail = self.ends(steps.FAILED, decide(parts.server('ERROR')))
        self.assertIn('Nova names no fault', detail)

    def test_error_with_a_stale_claim(self) -> None:
        for forced in (False, True):
            found = decide(
                parts.server('ERROR', 'gpu2', fault={'message': 'KeyError'}),
                order=parts.order(is_forced=forced),
                stale=('gpu3', 'gpu1'),
            )
            detail = self.ends(steps.POISONED, found)
            self.assertIn(
                'KeyError; a PCI device is still claimed on gpu1, gpu3', detail
            )
            self.assertIn(f'recover {parts.ID}', detail)

    def test_other_statuses(self) -> None:
        for status in ('PAUSED', 'SUSPENDED', 'RESCUE'):
            for stale in ((), ('gpu2',)):
                found = decide(parts.server(status, reason=OURS), stale=stale)
                self.assertEqual(
                    f'it is {status}',
                    self.ends(steps.REFUSED, found, clean=not stale),
                )

    def test_every_stand_is_decided(self) -> None:
        for stand, task, reason, status in itertools.product(
            (
                'ACTIVE',
                'SHUTOFF',
                'ERROR',
                'VERIFY_RESIZE',
                'SHELVED',
                'X',
                '',
            ),
            ('', 'x'),
            (None, '', OURS, 'x'),
            (*migration_records.IN_PROGRESS, 'finished', 'error', 'confirmed'),
        ):
            for target, method in itertools.product(
                ('', 'gpu2'), ('cold', 'live', 'shelve')
            ):
                found = decide(
                    parts.server(stand, task=task, reason=reason),
                    parts.record(status),
                    order=parts.order(target=target, method=method),
                )
                self.assertIsInstance(
                    found, steps.Wait | steps.Act | steps.End | steps.Prove
                )


class TestShelved(TestCase):
    def test_by_somebody_else(self) -> None:
        for status in ('SHELVED', 'SHELVED_OFFLOADED'):
            for reason in (None, 'x'):
                found = decide(parts.server(status, '', reason=reason))
                self.assertEqual(
                    f'it is {status}', self.ends(steps.REFUSED, found)
                )

    def test_offload_first(self) -> None:
        found = decide(
            parts.server('SHELVED', reason=OURS),
            order=parts.order(target='gpu2'),
        )
        self.acts(steps.OFFLOAD, '', found)

    def test_unshelve(self) -> None:
        for target in ('', 'gpu2'):
            for tries in range(steps.MOST_TRIES):
                found = decide(
                    parts.server('SHELVED_OFFLOADED', '', reason=OURS),
                    order=parts.order(target=target),
                    seen=steps.Seen(tries={steps.UNSHELVE: tries}),
                )
                # Anywhere is better than nowhere.
                self.acts(steps.UNSHELVE, target if tries < 2 else '', found)

    def test_not_yet_off_its_host(self) -> None:
        """Its new guest would have the devices of the old one, too."""
        server = parts.server('SHELVED_OFFLOADED', 'gpu1', reason=OURS)
        self.assertEqual(
            steps.Wait('SHELVED_OFFLOADED, not yet off gpu1'), decide(server)
        )

    def test_worn(self) -> None:
        for status, action in (
            ('SHELVED', steps.OFFLOAD),
            ('SHELVED_OFFLOADED', steps.UNSHELVE),
        ):
            for words, why in (('', 'no host took it'), ('Quota', 'Quota')):
                found = decide(
                    parts.server(status, '', reason=OURS),
                    seen=steps.Seen(
                        tries={action: steps.MOST_TRIES}, words=words
                    ),
                )
                self.assertEqual(
                    f'it stays {status}, with its GPUs given up: {why}',
                    self.ends(steps.FAILED, found),
                )

    def test_under_somebody_elses_lock(self) -> None:
        seen = steps.Seen().tried(steps.SHELVE)
        found = decide(
            parts.server('SHELVED_OFFLOADED', '', reason='mine'), seen=seen
        )
        self.acts(steps.UNSHELVE, '', found)

    def test_back_where_it_was(self) -> None:
        seen = steps.Seen().tried(steps.SHELVE).tried(steps.UNSHELVE)
        found = decide(parts.server(reason=OURS), seen=seen)
        self.assertEqual(
            'no other host took it, so it is back on gpu1',
            self.ends(steps.FAILED, found, clean=True),
        )


class TestIdle(TestCase):
    def test_lock_first(self) -> None:
        for method in ('cold', 'live', 'shelve'):
            found = decide(order=parts.order(method=method, target='gpu2'))
            self.acts(steps.LOCK, '', found)

    def test_then_the_method(self) -> None:
        for method, action, host in (
            (move_methods.COLD, steps.MIGRATE, 'gpu2'),
            (move_methods.LIVE, steps.LIVE, 'gpu2'),
            (move_methods.SHELVE, steps.SHELVE, ''),
        ):
            for target in ('', 'gpu2'):
                found = decide(
                    parts.server(reason=OURS),
                    order=parts.order(method=method, target=target),
                )
                self.acts(action, host if target else '', found)

    def test_somebody_elses_lock_is_kept(self) -> None:
        forced = parts.order(is_forced=True)
        locked = parts.server(reason='mine')
        self.acts(steps.MIGRATE, '', decide(locked, order=forced))

    def test_somebody_else_locks_it_after_the_plan(self) -> None:
        for reason, words in (('mine', ': mine'), ('', '')):
            detail = self.ends(
                steps.REFUSED,
                decide(parts.server(reason=reason)),
                clean=True,
            )
            self.assertEqual(
                f'somebody has locked it{words}; despite that: openstack gpu '
                f'server migrate --force {parts.ID}',
                detail,
            )

    def test_somebody_else_locks_what_is_on_its_way(self) -> None:
        locked = parts.server(reason='mine')
        taken = steps.Seen(taken=frozenset((steps.MIGRATE,)))
        self.assertIsInstance(decide(locked, seen=taken), steps.Wait)
        waits = parts.server('VERIFY_RESIZE', 'gpu2', reason='mine')
        record = parts.record('finished')
        self.assertEqual(steps.Prove(record), decide(waits, record))

    def test_it_has_moved(self) -> None:
        for reason in (None, OURS, 'mine'):
            for status in ('ACTIVE', 'SHUTOFF'):
                found = decide(
                    parts.server(status, 'gpu2', reason=reason),
                    parts.record('confirmed'),
                )
                self.assertEqual('', self.ends(steps.MIGRATED, found))

    def test_a_mark_does_not_tell_that_it_has_moved(self) -> None:
        # Its owner can lock it with the very same words.
        forged = parts.server(reason=parts.mark('elsewhere'))
        self.assertTrue(parts.state(forged).has_left)
        # Who resumes must find a mark that is right.
        self.acts(steps.LOCK, '', decide(forged))
        locked = steps.Seen(taken=frozenset([steps.LOCK]))
        self.acts(steps.MIGRATE, '', decide(forged, seen=locked))

    def test_it_has_moved_with_a_stale_claim(self) -> None:
        moved = parts.server(host='gpu2', reason=OURS)
        detail = self.ends(steps.POISONED, decide(moved, stale=('gpu1',)))
        self.assertIn('it has moved; a PCI device', detail)
        forced = parts.order(is_forced=True)
        found = decide(moved, order=forced, stale=('gpu1',))
        self.ends(steps.MIGRATED, found)

    def test_a_stale_claim(self) -> None:
        detail = self.ends(steps.POISONED, decide(stale=('gpu2',)))
        self.assertIn('a migration failed; a PCI device', detail)

    def test_an_old_stale_claim_is_forced(self) -> None:
        order = parts.order(is_forced=True)
        old = parts.record('error')
        seen = steps.Seen(records=frozenset(('m-1',)))
        found = decide(None, old, order=order, seen=seen, stale=('gpu2',))
        self.acts(steps.LOCK, '', found)
        # A new one is not.
        found = decide(None, old, order=order, stale=('gpu2',))
        self.ends(steps.POISONED, found)

    def test_reverted(self) -> None:
        seen = steps.Seen(words='it holds nothing')
        found = decide(parts.server(), parts.record('reverted'), seen=seen)
        detail = self.ends(steps.REVERTED, found, clean=True)
        self.assertEqual('it holds nothing', detail)

    def test_what_was_reverted_before_is_old(self) -> None:
        seen = steps.Seen(records=frozenset(('m-1',)))
        for status in ('reverted', 'error', 'failed', 'confirmed'):
            found = decide(None, parts.record(status), seen=seen)
            self.acts(steps.LOCK, '', found)

    def test_no_valid_host(self) -> None:
        record = parts.record('error', target='')
        for words, detail in (
            (
                '',
                'if Placement has room, then a device may still be '
                'claimed: see openstack gpu inventory check',
            ),
            ('Quota', 'Quota'),
        ):
            found = decide(None, record, seen=steps.Seen(words=words))
            self.assertEqual(
                detail, self.ends(steps.FAILED, found, clean=True)
            )

    def test_its_target_did_not_take_it(self) -> None:
        for status in ('error', 'failed'):
            found = decide(None, parts.record(status))
            self.assertEqual(
                'gpu2 did not take it: see openstack server event list',
                self.ends(steps.FAILED, found, clean=True),
            )

    def test_live_falls_back(self) -> None:
        order = parts.order(
            method=move_methods.LIVE, falls_back=True, target='gpu2'
        )
        locked = parts.server(reason=OURS)
        live = parts.record('error', kind='live-migration')
        seen = steps.Seen(taken=frozenset((steps.LIVE,)), looks=9)
        found = decide(locked, live, order=order, seen=seen)
        self.acts(steps.MIGRATE, 'gpu2', found)
        # The cold one fails, too.
        cold = parts.record('error', target='', number=2)
        found = decide(locked, live, cold, order=order, seen=seen)
        self.ends(steps.FAILED, found, clean=True)

    def test_live_that_nova_refuses_falls_back(self) -> None:
        worn = steps.Seen(tries={steps.LIVE: steps.MOST_TRIES}, words='No.')
        locked = parts.server(reason=OURS)
        for falls_back in (True, False):
            order = parts.order(
                method=move_methods.LIVE, falls_back=falls_back
            )
            found = decide(locked, order=order, seen=worn)
            if falls_back:
                self.acts(steps.MIGRATE, '', found)
            else:
                self.ends(steps.FAILED, found, clean=True)

    def test_live_that_may_not_fall_back(self) -> None:
        order = parts.order(method=move_methods.LIVE)
        live = parts.record('failed', kind='live-migration')
        found = decide(parts.server(reason=OURS), live, order=order)
        self.ends(steps.FAILED, found, clean=True)

    def test_worn(self) -> None:
        for reason, action in ((None, steps.LOCK), (OURS, steps.MIGRATE)):
            seen = steps.Seen(tries={action: steps.MOST_TRIES}, words='No.')
            found = decide(parts.server(reason=reason), seen=seen)
            self.assertEqual('No.', self.ends(steps.FAILED, found, clean=True))

    def test_nothing_shows_of_what_nova_took_on(self) -> None:
        locked = parts.server(reason=OURS)
        taken = frozenset((steps.MIGRATE,))
        for looks in range(steps.MOST_LOOKS):
            found = decide(locked, seen=steps.Seen(taken=taken, looks=looks))
            self.assertIsInstance(found, steps.Wait)
        found = decide(
            locked, seen=steps.Seen(taken=taken, looks=steps.MOST_LOOKS)
        )
        detail = self.ends(steps.FAILED, found, clean=True)
        self.assertIn('Nova gave it up (migrate)', detail)
        self.assertIn(parts.ID, detail)

    def test_the_lock_was_taken_away(self) -> None:
        seen = steps.Seen(taken=frozenset((steps.LOCK,)), looks=9)
        self.acts(steps.LOCK, '', decide(seen=seen))


class TestConclude(TestCase):
    def test_confirm(self) -> None:
        found = steps.conclude(parts.order(), steps.Seen(), ())
        self.acts(steps.CONFIRM, '', found)
        assert isinstance(found, steps.Act)
        self.assertEqual('confirm', found.action.text)

    def test_revert(self) -> None:
        found = steps.conclude(parts.order(), steps.Seen(), ('a', 'b'))
        self.acts(steps.REVERT, '', found)
        assert isinstance(found, steps.Act)
        self.assertEqual('revert: a; b', found.action.text)

    def test_force(self) -> None:
        forced = parts.order(is_forced=True)
        self.acts(
            steps.CONFIRM, '', steps.conclude(forced, steps.Seen(), ('a',))
        )

    def test_worn(self) -> None:
        for doubts, action in (((), steps.CONFIRM), (('a',), steps.REVERT)):
            seen = steps.Seen(tries={action: steps.MOST_TRIES}, words='409')
            found = steps.conclude(parts.order(), seen, doubts)
            self.assertEqual(
                f'it waits in VERIFY_RESIZE, as Nova refused to {action}: 409',
                self.ends(steps.FAILED, found),
            )


class TestSeen(unittest.TestCase):
    def test_tried(self) -> None:
        seen = steps.Seen().tried('a').tried('a').tried('b', 3)
        self.assertEqual({'a': 2, 'b': 3}, seen.tries)
        self.assertFalse(seen.is_worn('a'))
        self.assertFalse(seen.is_worn('c'))
        self.assertTrue(seen.tried('a', steps.MOST_TRIES - 2).is_worn('a'))

    def test_took(self) -> None:
        seen = steps.Seen(looks=5, words='before').took(
            steps.Action('a', 'why')
        )
        self.assertEqual(
            (frozenset('a'), 0, 'why'), (seen.taken, seen.looks, seen.words)
        )
        here = parts.state(parts.server())
        again = seen.looked(here).looked(here)
        self.assertEqual((2, 1), (again.looks, again.still))
        gone = parts.state(parts.server('SHUTOFF'))
        self.assertEqual(0, again.looked(gone).still)

    def test_action(self) -> None:
        for action, text in (
            (steps.Action('confirm'), 'confirm'),
            (steps.Action('revert', 'why'), 'revert: why'),
            (steps.Action('migrate', host='gpu2'), 'migrate to gpu2'),
        ):
            self.assertEqual(text, action.text)
