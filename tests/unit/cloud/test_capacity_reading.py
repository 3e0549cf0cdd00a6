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

"""A fake cloud at the wire, and what is read and judged of it."""

import re
from unittest import mock

from osc_lib import exceptions

from osc_gpu.cloud import capacity
from osc_gpu.cloud import capacity_notes
from osc_gpu.cloud import capacity_reading
from osc_gpu.cloud import placement
from tests.unit.cloud import test_capacity
from tests.unit.cloud import wire
from tests.unit import fake_cloud

A100 = fake_cloud.A100

flavor = test_capacity.flavor


class TestRead(fake_cloud.TestCase, wire.TestCase):
    def setUp(self):
        super().setUp()
        self.root = self.add_host('gpu1', VCPU=8, MEMORY_MB=4096, DISK_GB=100)

    def survey(self, *found, **more):
        del self.cloud.request_history[:]
        return capacity_reading.survey(self.conn, found, at_once=1, **more)

    def test_requests(self):
        self.add_vgpus(self.root, 2, 2)
        survey = self.survey(
            flavor({'resources:VGPU': '1'}),
            flavor({'resources:VGPU': '1'}, 'g2', vcpus=2),
        )
        self.assertEqual([4, 4], [v.fits for v in survey.verdicts])
        having = 'GET /resource_providers?resources='
        self.assertEqual(
            [
                'GET /resource_providers',
                'GET /allocation_candidates?resources=MEMORY_MB:1',
                'GET /os-hypervisors/detail',
                f'{having}DISK_GB:1',
                f'{having}MEMORY_MB:1024',
                f'{having}VCPU:1',
                f'{having}VCPU:2',
                f'{having}VGPU:1',
            ],
            self.requests,
        )

    def test_units(self):
        self.add_vgpus(self.root, 4)
        stock = {'total': 8, 'allocation_ratio': 4.0, 'max_unit': 8}
        self.placement.stock(self.root, VCPU=stock)
        eight, nine = (
            flavor({'resources:VGPU': '1'}, vcpus=n) for n in (8, 9)
        )
        survey = self.survey(eight, nine)
        self.assertEqual([4, 0], [v.fits for v in survey.verdicts])
        self.assertEqual({('VCPU', 9)}, survey.cloud.refused.keys())
        self.placement.stock(self.root, VCPU=stock | {'step_size': 3})
        self.assertEqual(0, self.survey(eight).verdicts[0].fits)

    def test_host_that_is_full(self):
        self.add_vgpus(self.root, 2, 2)
        self.placement.fill(self.root)
        survey = self.survey(flavor({'resources:VGPU': '1'}))
        (verdict,) = survey.verdicts
        self.assertEqual('VCPU on 1 host, RAM on 1 host, disk on 1 host',
                         capacity.blocked_by(verdict))  # fmt: skip
        empty = capacity.emptied(survey.cloud)
        self.assertEqual(4, capacity.judge(empty, verdict.request).fits)

    def test_closed(self):
        self.add_vgpus(self.root, 1)
        wanted = flavor({'resources:VGPU': '1'})

        def closed():
            (host,) = self.survey(wanted).cloud.hosts
            return host.closed

        self.assertEqual((), closed())
        self.hypervisors[-1]['state'] = 'down'
        self.assertEqual(('down',), closed())
        self.hypervisors[-1] |= {'state': 'up', 'status': 'disabled'}
        self.assertEqual(('disabled',), closed())
        self.hypervisors[-1]['status'] = 'enabled'
        self.placement.providers[self.root]['traits'].append(
            'COMPUTE_STATUS_DISABLED'
        )
        self.assertEqual(('disabled',), closed())
        self.hypervisors.clear()
        self.assertEqual(('no hypervisor',), closed())

    def test_aggregates(self):
        self.add_vgpus(self.root, 1)
        wanted = flavor(
            {'resources:VGPU': '1', 'aggregate_instance_extra_specs:a': 'x'}
        )
        self.assertEqual(0, self.survey(wanted).verdicts[0].fits)
        self.add_aggregate('one', ['gpu1'], a='x,y')
        self.assertEqual(1, self.survey(wanted).verdicts[0].fits)
        self.assertIn('GET /os-aggregates', self.requests)

    def test_alias_learned_without_a_probe(self):
        (card, _other) = self.add_cards(self.root, 2)
        specs = {'pci_passthrough:alias': 'a:1'}
        self.nova.add('g1', specs)
        self.add_server('s', specs, (card, {A100: 1}))
        (verdict,) = self.survey(flavor(specs)).verdicts
        self.assertEqual(
            (1, {A100: 'learned'}), (verdict.fits, verdict.classes)
        )
        self.assertFalse([r for r in self.requests if r[:4] == 'POST'])

    def test_alias_probed(self):
        self.add_cards(self.root, 2)
        specs = {'pci_passthrough:alias': 'a:1'}
        probe = mock.Mock(defined=False)
        with mock.patch.object(
            capacity_reading.aliases, 'probe_all', autospec=True
        ) as probe_all:
            probe_all.return_value = {'a': probe}
            survey = self.survey(flavor(specs))
            self.assertEqual('alias a not defined', survey.verdicts[0].why)
            probe.defined, probe.why = None, 'no image'
            survey = self.survey(flavor(specs))
            self.assertEqual(2, survey.verdicts[0].fits)
            self.assertEqual({'a': 'no image'}, survey.cloud.unproven)
            note = capacity_notes.of_aliases(*survey[:1], survey[1][0], {})
            self.assertIn('is not known: no image', note[1])
            probe_all.side_effect = OSError('disk')
            with self.assertRaises(OSError):
                self.survey(flavor(specs))
            refusal = capacity_reading.errors.sdk_exceptions
            probe_all.side_effect = refusal.ForbiddenException('no')
            survey = self.survey(flavor(specs))
            self.assertEqual({'a'}, survey.cloud.unproven.keys())

    def test_unknown_names(self):
        wanted = flavor({'resources:VGPU': '1'})
        for more, said in (
            ({'host': 'gpu9'}, "No host named 'gpu9'"),
            ({'also': ['CUSTOM_X']}, 'has CUSTOM_X.'),
            ({'given': {'a': 'CUSTOM_Y'}}, 'has CUSTOM_Y.'),
        ):
            with self.assertRaisesRegex(
                exceptions.CommandError, re.escape(said)
            ):
                self.survey(wanted, **more)

    def test_hosts_that_are_left_out(self):
        self.add_vgpus(self.root, 1)
        full = self.add_host('gpu2', VCPU=8, MEMORY_MB=4096, DISK_GB=100)
        self.add_cards(full, 3)
        wanted = flavor({'resources:VGPU': '1'})
        real = placement.read_trees

        def cut_short(conn, names, **more):
            found = real(conn, names, **more)
            return tuple(p for p in found if p.root_uuid != full)

        with mock.patch.object(placement, 'read_trees', cut_short):
            survey = self.survey(wanted)
            self.assertIsNone(survey.verdicts[0].fits)
            self.assertIn('not read', survey.verdicts[0].why)
            self.placement.fill(full)
            self.assertEqual(1, self.survey(wanted).verdicts[0].fits)

    def test_totals(self):
        (card, *_rest) = self.add_cards(self.root, 2)
        self.placement.stock(card, **{A100: (8, 6)})
        specs = {'pci_passthrough:alias': 'a:1'}
        with mock.patch.object(
            capacity_reading.aliases,
            'probe_all',
            autospec=True,
            return_value={},
        ):
            cloud, (verdict,) = self.survey(flavor(specs))
        del self.cloud.request_history[:]
        cloud = capacity_reading.with_totals(
            self.conn, cloud, verdict.classes, 1
        )
        self.assertEqual(2, len(self.requests))
        without = capacity.judge(
            cloud, verdict.request, lift=[capacity.RESERVED]
        )
        self.assertEqual((3, 4), (verdict.fits, without.fits))
