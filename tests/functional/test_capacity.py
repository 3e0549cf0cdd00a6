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

"""How many servers fit: asked, and then tried until the cloud says no.

The cloud is Nova, with real servers, or Placement, asked for candidates as
Nova asks until there are none; each gets what no other host could give.
"""

import contextlib
import functools
import time
from typing import Any
from urllib import parse
import uuid

from osc_gpu.sandbox import errors
from tests.functional import base
from tests.functional import shells

A100 = 'CUSTOM_PCI_10DE_20B5'
V100 = 'CUSTOM_PCI_10DE_1DB6'


class TestCase(shells.TestCase):
    def setUp(self):
        super().setUp()
        if not self.spec.topology['pci_in_placement']:
            self.skipTest('this sandbox has its PCI devices elsewhere')

    def flavor(self, *request, vcpus=2, ram=1024):
        name = self.name('capacity')
        self.ok(
            'gpu', 'flavor', 'create', name, '--disk', '1',
            '--vcpus', str(vcpus), '--ram', str(ram), *request,
        )  # fmt: skip
        self.addCleanup(self.forget_flavor, name)
        return name

    def listed(self, flavor, *more):
        """Return the one row of a flavor."""
        (row,) = self.table(
            'gpu', 'capacity', 'list', '--flavor', flavor, *more
        )
        self.assertEqual(flavor, row['Flavor'])
        return row

    def shown(self, flavor, *more):
        return self.table('gpu', 'capacity', 'show', flavor, *more)

    def per_host(self, shown):
        return {h['host']: h['fits'] for h in shown['hosts'] if h['fits']}

    # Nova.

    def launch(self, flavor, number):
        """Launch servers, each after the other; return how many ran.

        Of two that Nova schedules at once, one may fail for a device that the
        other one got first.
        """
        compute = self.admin.compute
        flavor = compute.find_flavor(flavor, ignore_missing=False)
        image = self.admin.image.find_image('cirros', ignore_missing=False)
        name = self.name('capacity')
        self.addCleanup(self.forget_servers, name)
        running = 0
        for count in range(number):
            server = compute.create_server(
                name=f'{name}-{count}',
                flavor_id=flavor.id,
                image_id=image.id,
                networks='none',
            )
            status = base.wait_until(
                'server', functools.partial(self.built, server)
            )
            running += status == 'ACTIVE'
        return running

    def built(self, server):
        status = self.admin.compute.get_server(server).status
        return status if status in ('ACTIVE', 'ERROR') else ''

    def until_no(self, flavor, fits):
        """Launch so many servers, which must fit, and one that must not."""
        self.assertEqual(fits, self.launch(flavor, fits))
        self.assertEqual(0, self.launch(flavor, 1))

    # Placement.

    def fill(self, **query: str) -> dict[str, int]:
        """Allocate candidates until there are none; return them by host."""
        names = {
            p['uuid']: p['name']
            for p in self.placement('/resource_providers')[
                'resource_providers'
            ]
        }
        taken: dict[str, int] = {}
        project = self.admin.current_project_id
        while True:
            found = self.candidates(**query)
            if not found['allocation_requests']:
                return taken
            wanted = found['allocation_requests'][0]
            root = found['provider_summaries'][
                next(iter(wanted['allocations']))
            ]['root_provider_uuid']
            self.allocate(wanted, project)
            taken[names[root]] = taken.get(names[root], 0) + 1

    def candidates(self, **query: str) -> Any:
        asked = parse.urlencode(
            {key.rstrip('_'): value for key, value in query.items()}
        )
        return self.placement(f'/allocation_candidates?{asked}')

    def allocate(self, wanted, project):
        consumer = str(uuid.uuid4())
        placement = self.admin.placement
        path = f'/allocations/{consumer}'
        response = placement.put(
            path,
            json={
                'allocations': wanted['allocations'],
                'consumer_generation': None,
                'consumer_type': 'TEST',
                'project_id': project,
                'user_id': project,
            },
            microversion='1.39',
        )
        self.assertEqual(204, response.status_code, response.text)
        self.addCleanup(placement.delete, path)


class TestNova(TestCase):
    def test_alias(self):
        flavor = self.flavor('--alias', 'v100')
        given = self.listed(flavor, '--resource-class', f'v100={V100}')
        self.assertEqual(1, self.launch(flavor, 1))
        # Now a server tells what the alias stands for.
        row = self.listed(flavor)
        self.assertEqual(given['Fits'] - 1, row['Fits'])
        self.assertEqual((1, ''), (row['Hosts'], row['Blocked By']))
        self.assertEqual(row['Fits'], row['Free GPUs'])
        shown = self.shown(flavor)
        self.assertEqual({V100: 'learned'}, shown['resource_classes'])
        self.assertEqual({'gpu3': row['Fits']}, self.per_host(shown))
        self.until_no(flavor, row['Fits'])
        row = self.listed(flavor)
        self.assertEqual((0, 0, 0), tuple(list(row.values())[2:5]))
        self.assertEqual(f'{V100} on 1 host', row['Blocked By'])

    def test_several_vgpus_and_little_memory(self):
        flavor = self.flavor(
            '--vgpu', '--vgpu', '--group-policy', 'isolate', ram=90000
        )
        shown = self.shown(flavor)
        (host,) = self.per_host(shown)
        self.assertEqual('vgpu1', host)
        self.assertIn(
            {'host': host, 'fits': shown['fits'], 'limit': ['RAM']},
            shown['hosts'],
        )
        self.until_no(flavor, shown['fits'])
        self.assertEqual(
            {'VGPU on 1 host', 'RAM on 1 host'},
            set(self.listed(flavor)['Blocked By'].split(', ')),
        )

    def test_more_vcpus_than_a_host_has(self):
        # 65 VCPUs: four times as many are free, one server gets 64.
        flavor = self.flavor('--alias', 'v100', vcpus=65)
        given = ('--resource-class', f'v100={V100}')
        self.assertEqual(0, self.listed(flavor, *given)['Fits'])
        shown = self.shown(flavor, '--resource-class', V100)
        self.assertEqual('VCPU on 1 host', shown['blocked_by'])
        (without,) = shown['without']
        self.assertEqual(('VCPU', 1), (without['term'], without['hosts']))
        (note,) = shown['notes']
        self.assertIn('VCPU:65 is free on gpu3', note)
        self.assertEqual(0, self.launch(flavor, 1))

    def test_pinned_cpus_of_hosts_without_any_set_apart(self):
        flavor = self.flavor('--vgpu', '--property', 'hw:cpu_policy=dedicated')
        row = self.listed(flavor)
        self.assertEqual('unknown', row['Fits'])
        self.assertIn('has no PCPU', row['Blocked By'])
        self.assertEqual(1, self.launch(flavor, 1))

    def test_host_that_takes_none(self):
        flavor = self.flavor('--alias', 'v100')
        given = ('--resource-class', f'v100={V100}')
        fits = self.listed(flavor, *given)['Fits']
        self.assertGreater(fits, 0)
        (service,) = self.admin.compute.services(
            binary='nova-compute', host='gpu3'
        )
        self.addCleanup(self.admin.compute.enable_service, service)
        self.admin.compute.disable_service(service)
        row = self.listed(flavor, *given)
        self.assertEqual(
            (0, 0, 0, 'disabled on 1 host'), tuple(list(row.values())[2:])
        )
        shown = self.shown(flavor, '--resource-class', V100)
        self.assertEqual(
            [{'term': 'disabled', 'fits': fits, 'hosts': 1}],
            shown['without'],
        )
        self.assertEqual(0, self.launch(flavor, 1))
        self.admin.compute.enable_service(service)
        self.assertEqual(fits, self.listed(flavor, *given)['Fits'])

    def test_host_that_is_down(self):
        flavor = self.flavor('--alias', 'v100')
        given = ('--resource-class', f'v100={V100}')
        fits = self.listed(flavor, *given)['Fits']
        self.addCleanup(self.start, 'gpu3')
        self.control.change_host('gpu3', 'kill')
        row = base.wait_until(
            'host is down',
            lambda: [
                row
                for row in [self.listed(flavor, *given)]
                if row['Blocked By'] == 'down on 1 host'
            ],
        )[0]
        self.assertEqual((0, 0, 0), tuple(list(row.values())[2:5]))
        self.assertEqual(0, self.launch(flavor, 1))
        self.start('gpu3')
        base.wait_until(
            'host is up', lambda: self.listed(flavor, *given)['Fits'] == fits
        )

    def start(self, host):
        with contextlib.suppress(errors.SandboxError):
            # It runs already.
            self.control.change_host(host, 'start')

    def test_reserved(self):
        flavor = self.flavor('--alias', 'v100')
        cards = [
            p['uuid']
            for p in self.placement('/resource_providers')[
                'resource_providers'
            ]
            if p['name'].startswith('gpu3_0000')
        ]
        for card in cards:
            self.addCleanup(self.reserve, card, 0)
            self.reserve(card, 1)
        shown = self.shown(flavor, '--resource-class', V100)
        self.assertEqual('reserved on 1 host', shown['blocked_by'])
        self.assertEqual(
            [{'term': 'reserved', 'fits': len(cards), 'hosts': 1}],
            shown['without'],
        )
        self.assertEqual(0, self.launch(flavor, 1))

    def reserve(self, provider, amount):
        path = f'/resource_providers/{provider}/inventories'
        for _turn in range(5):
            held = self.placement(path)
            stock = held['inventories'][V100] | {
                'reserved': amount,
                'resource_provider_generation': held[
                    'resource_provider_generation'
                ],
            }
            response = self.admin.placement.put(
                f'{path}/{V100}', json=stock, microversion='1.39'
            )
            if response.status_code != 409:
                break
            time.sleep(0.2)
        self.assertEqual(200, response.status_code, response.text)

    def test_alias_that_is_not_defined(self):
        flavor = self.flavor('--alias', 'nope')
        row = self.listed(flavor)
        self.assertEqual(0, row['Fits'])
        self.assertEqual('alias nope not defined', row['Blocked By'])
        shown = self.shown(flavor, '--resource-class', V100)
        self.assertEqual('alias nope not defined', shown['blocked_by'])
        self.assertEqual('alias not defined', shown['without'][0]['term'])

    def test_aggregate(self):
        key = self.name('tier').replace('-', '_')
        flavor = self.flavor(
            '--vgpu', '--property', f'aggregate_instance_extra_specs:{key}=a'
        )
        row = self.listed(flavor)
        self.assertEqual('aggregate on 2 hosts', row['Blocked By'])
        aggregate = self.admin.compute.create_aggregate(name=key)
        self.addCleanup(self.admin.compute.delete_aggregate, aggregate)
        compute = self.admin.compute
        compute.set_aggregate_metadata(aggregate, {key: 'b,a'})
        self.addCleanup(compute.remove_host_from_aggregate, aggregate, 'vgpu2')
        compute.add_host_to_aggregate(aggregate, 'vgpu2')
        row = self.listed(flavor)
        self.assertEqual((1, ''), (row['Hosts'], row['Blocked By']))
        self.assertEqual(row['Free GPUs'], row['Fits'])


class TestPlacement(TestCase):
    host = 'VCPU:2,MEMORY_MB:1024,DISK_GB:1'

    def compare(self, flavor, *more, **query):
        shown = self.shown(flavor, *more)
        filled = self.fill(root_required='!COMPUTE_STATUS_DISABLED', **query)
        self.assertEqual(filled, self.per_host(shown))
        self.assertEqual(sum(filled.values()), shown['fits'])
        row = self.listed(flavor)
        self.assertIn(row['Fits'], (0, 'unknown'))
        return shown

    def test_amounts_of_one_device(self):
        flavor = self.flavor('--property', 'resources:VGPU=3')
        shown = self.compare(flavor, resources=f'{self.host},VGPU:3')
        self.assertEqual(3 * 5, shown['fits'])

    def test_isolated_groups(self):
        flavor = self.flavor(
            '--vgpu', '--vgpu', '--group-policy', 'isolate', vcpus=16
        )
        shown = self.compare(
            flavor,
            resources='VCPU:16,MEMORY_MB:1024,DISK_GB:1',
            resources1='VGPU:1',
            resources2='VGPU:1',
            group_policy='isolate',
        )
        self.assertGreater(shown['fits'], 0)

    def test_groups_that_share(self):
        flavor = self.flavor('--vgpu', '--vgpu', '--vgpu')
        shown = self.compare(
            flavor,
            resources=self.host,
            resources1='VGPU:1',
            resources2='VGPU:1',
            resources3='VGPU:1',
            group_policy='none',
        )
        self.assertEqual(15, shown['fits'])

    def test_aliases(self):
        flavor = self.flavor('--alias', 'a100:2')
        shown = self.compare(
            flavor, '--resource-class', A100,
            resources=self.host,
            resources_a=f'{A100}:1',
            resources_b=f'{A100}:1',
            group_policy='none',
        )  # fmt: skip
        self.assertEqual(3, shown['fits'])

    def test_vcpus(self):
        flavor = self.flavor('--vgpu', vcpus=60)
        shown = self.compare(
            flavor, resources='VCPU:60,MEMORY_MB:1024,DISK_GB:1,VGPU:1'
        )
        self.assertEqual(
            {('VCPU',)}, {tuple(h['limit']) for h in shown['hosts']}
        )

    def test_trait_of_nobody(self):
        flavor = self.flavor(
            '--vgpu', '--property', 'trait:HW_GPU_API_DXVA=required'
        )
        shown = self.compare(
            flavor, resources=f'{self.host},VGPU:1',
            required='HW_GPU_API_DXVA',
        )  # fmt: skip
        self.assertEqual('trait on 2 hosts', shown['blocked_by'])
        self.assertEqual(48, shown['without'][0]['fits'])


class TestFragments(TestCase):
    def test_warning(self):
        flavor = self.flavor('--property', 'resources:VGPU=33')
        result = self.ok('gpu', 'capacity', 'list', '--flavor', flavor)
        self.assertIn(
            '48 VGPU free in all, at most 32 on one host; rules out: '
            f'{flavor}\n',
            result.stderr,
        )
        shown = self.shown(self.flavor('--vgpu'))
        self.assertIn(flavor, shown['fragmentation'][0])


class TestWrong(TestCase):
    def test_unknown_names(self):
        flavor = self.flavor('--vgpu')
        for argv, said in (
            (('list', '--host', 'gpu77'), "No host named 'gpu77'"),
            (('list', '--flavor', 'nope'), 'nope could not be found'),
            (('show', 'nope'), 'nope could not be found'),
            (
                ('list', '--resource-class', 'CUSTOM_NOPE'),
                'No resource provider in Placement has CUSTOM_NOPE.',
            ),
            (('show', 'm1.small'), 'm1.small'),
            (
                ('show', flavor, '--resource-class', 'CUSTOM_NOPE'),
                'has 0 aliases',
            ),
        ):
            with self.subTest(argv):
                self.assertIn(said, self.fails('gpu', 'capacity', *argv))

    def test_tenant(self):
        flavor = self.flavor('--vgpu')
        for argv in (('list',), ('show', flavor)):
            line = self.fails('gpu', 'capacity', *argv, user='member')
            self.assertIn('You lack the right placement:', line)
