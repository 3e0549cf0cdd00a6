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

"""The sandbox's service half, as far as it needs no OpenStack."""

import importlib
import io
import json
import pathlib
import sys
import tempfile
import threading
import time
import types
import unittest
from unittest import mock
from xml.etree import ElementTree

import osc_gpu.sandbox
from osc_gpu.sandbox import shell

# These modules are the top-level package `services` of another environment.
sys.path.append(str(pathlib.Path(osc_gpu.sandbox.__file__).parent))
from services import cinder_all
from services import common
from services import heat_all
from services import nova_cards
from services import nova_computes
from services import nova_control
from services import nova_deaths
from services import nova_fakes
from services import nova_faults
from services import nova_guests


def card(**more):
    return {
        'type': 'PCI',
        'vendor_id': '10de',
        'product_id': '20b5',
        'address': '0000:20:00.0',
        'numa_node': 1,
        'resource_class': None,
        'traits': [],
        'live_migratable': False,
    } | more


MDEV = card(
    type='mdev',
    mdev_types=[
        {
            'name': 'nvidia-11',
            'instances': 4,
            'resource_class': 'VGPU',
            'enabled': False,
        },
        {
            'name': 'nvidia-12',
            'instances': 2,
            'resource_class': 'CUSTOM_NVIDIA_12',
            'enabled': True,
        },
    ],
)
PF = card(type='PF', address='10000:0a:00.0', vfs=9, vf_product_id='20b6')


def devices(*cards, mdevs=None):
    return nova_cards.Devices({'cards': cards}, {} if mdevs is None else mdevs)


def describe(device):
    return ElementTree.fromstring(device.XMLDesc(0))


class TestCards(unittest.TestCase):
    def test_address(self):
        address = nova_cards.Address.parse('10000:Af:1f.7')
        self.assertEqual('10000:af:1f.7', str(address))
        self.assertEqual('pci_10000_af_1f_7', address.name)
        first = nova_cards.Address.parse('0000:20:00.0')
        self.assertEqual('0000:20:01.1', str(first.next(9)))

    def test_whole_card(self):
        ((name, device),) = devices(card()).items()
        self.assertEqual('pci_0000_20_00_0', name)
        xml = describe(device)
        self.assertEqual('32', xml.findtext('capability/bus'))
        product = xml.find('capability/product')
        self.assertEqual('0x20b5', product.get('id'))
        self.assertEqual('1', xml.find('capability/numa').get('node'))

    def test_no_affinity(self):
        (device,) = devices(card(numa_node=-1)).values()
        self.assertIsNone(describe(device).find('capability/numa'))

    def test_virtual_functions(self):
        found = devices(PF)
        self.assertEqual(10, len(found))
        owner, *functions = found.values()
        addresses = describe(owner).findall('capability/capability/address')
        self.assertEqual(9, len(addresses))
        for function in functions:
            xml = describe(function).find('capability')
            self.assertEqual('0x20b6', xml.find('product').get('id'))
            capability = xml.find('capability')
            self.assertEqual('phys_function', capability.get('type'))
            parent = capability.find('address')
            self.assertEqual('0x10000', parent.get('domain'))
        self.assertIn('pci_10000_0a_01_1', found)

    def test_mediated_devices_use_the_card_up(self):
        made = {}
        found = devices(MDEV, mdevs=made)
        (name,) = found.get_all_mdev_capable_devices()

        def left():
            found_types = describe(found[name]).iter('availableInstances')
            return [int(element.text) for element in found_types]

        self.assertEqual([4, 2], left())
        for number in range(3):
            made[str(number)] = types.SimpleNamespace(parent=name)
        self.assertEqual([1, 0], left())


class TestConfiguration(unittest.TestCase):
    def test_device_spec(self):
        named = card(resource_class='CUSTOM_A100', traits=['CUSTOM_X'])
        host = {'cards': [named, PF, MDEV]}
        entries = [json.loads(e) for e in nova_computes.device_spec(host)]
        self.assertEqual(
            {
                'vendor_id': '10de',
                'product_id': '20b5',
                'address': '0000:20:00.0',
                'resource_class': 'CUSTOM_A100',
                'traits': 'CUSTOM_X',
            },
            entries[0],
        )
        (entry,) = nova_computes.device_spec(
            {'cards': [card(live_migratable=True)]}
        )
        self.assertEqual('yes', json.loads(entry)['live_migratable'])
        # Servers get a PF's functions, never the PF itself.
        self.assertEqual(
            ['20b6'] * 9, [entry['product_id'] for entry in entries[1:]]
        )

    def test_mdev_types(self):
        self.assertEqual(
            {
                'nvidia-12': {
                    'device_addresses': ['0000:20:00.0'],
                    'mdev_class': 'CUSTOM_NVIDIA_12',
                }
            },
            nova_computes.mdev_types({'cards': [MDEV, card()]}),
        )

    def test_files_of_secrets_are_private(self):
        with tempfile.TemporaryDirectory() as folder:
            path = common.write_config(
                pathlib.Path(folder, 'etc', 'x.conf'),
                {'DEFAULT': {'password': 'a$b', 'alias': ['one', 'two']}},
            )
            self.assertEqual(0o600, path.stat().st_mode & 0o777)
            self.assertEqual(
                '[DEFAULT]\npassword = a$$b\nalias = one\nalias = two\n',
                path.read_text(),
            )


class TestVolumes(unittest.TestCase):
    def test_configuration(self):
        state = pathlib.Path('/state')
        spec = common.Spec(
            release='2026.2',
            state=state,
            template=state,
            address='127.0.0.1',
            ports={'identity': 5000, 'image': 9292},
            secrets={'service': 'secret'},
            region='RegionOne',
            topology={},
        )
        options = cinder_all.options(spec)
        self.assertEqual(
            'sqlite:////state/db/cinder.sqlite',
            options['database']['connection'],
        )
        default = options['DEFAULT']
        # Nothing is limited, and nothing is written elsewhere.
        limits = {v for k, v in default.items() if k.startswith('quota_')}
        self.assertEqual({-1}, limits)
        for path in ('state_path', 'api_paste_config'):
            self.assertTrue(default[path].is_relative_to(state), path)
        backend = options[default['enabled_backends']]
        package, name, driver = backend['volume_driver'].split('.')
        path = pathlib.Path(osc_gpu.sandbox.__file__).parent
        source = (path / package / f'{name}.py').read_text()
        self.assertIn(f'class {driver}(', source)

    def test_driver(self):
        stub = types.SimpleNamespace(VolumeDriver=object)
        volume = types.SimpleNamespace(driver=stub)
        stubs = {'cinder': mock.Mock(), 'cinder.volume': volume}
        with mock.patch.dict(sys.modules, stubs):
            driver = importlib.import_module('services.cinder_driver').Driver()
        volume = types.SimpleNamespace(id='v1', name='volume-v1')
        found = driver.initialize_connection(volume, {'host': 'gpu1'})
        # Of these Nova asks nothing of the machine.
        self.assertEqual('rbd', found['driver_volume_type'])
        self.assertEqual('volumes/volume-v1', found['data']['name'])
        self.assertEqual('v1', found['data']['volume_id'])
        self.assertEqual(
            ({}, True), driver.clone_image(None, volume, None, {}, None)
        )
        images = mock.Mock()
        driver.copy_volume_to_image(None, volume, images, {'id': 'i1'})
        images.update.assert_called_once_with(None, 'i1', {}, mock.ANY)

    def test_connector_names_the_host(self):
        driver = mock.Mock()
        driver._host.get_hostname.return_value = 'gpu1'
        found = nova_fakes._connector(driver, None)
        self.assertEqual('gpu1', found['host'])


class TestStacks(unittest.TestCase):
    def setUp(self):
        super().setUp()
        state = pathlib.Path('/state')
        self.spec = common.Spec(
            release='2026.2',
            state=state,
            template=state,
            address='127.0.0.1',
            ports={'identity': 5000, 'orchestration': 8004},
            secrets={'service': 'secret'},
            region='RegionOne',
            topology={},
        )

    def test_configuration(self):
        options = heat_all.options(self.spec)
        default = options['DEFAULT']
        # Another length is no key to Heat.
        self.assertEqual(32, len(default['auth_encryption_key']))
        self.assertNotIn('secret', default['auth_encryption_key'])
        self.assertEqual(
            'sqlite:////state/db/heat.sqlite',
            options['database']['connection'],
        )
        # Keystone scopes it by the trust, and refuses two scopes.
        self.assertEqual('service', options['trustee']['username'])
        for name in options['trustee']:
            self.assertNotIn('project', name)

    def test_kind_of_threads(self):
        engine = types.ModuleType('heat.cmd.engine')
        stubs = {
            'heat': types.ModuleType('heat'),
            'heat.cmd': types.SimpleNamespace(engine=engine),
            'heat.cmd.engine': engine,
        }
        patcher = mock.Mock()
        for found, green in ((None, False), (patcher, True)):
            patched = stubs | {'eventlet.patcher': found}
            with mock.patch.dict(sys.modules, patched):
                self.assertIs(green, heat_all._patch())
        patcher.is_monkey_patched.return_value = False
        with mock.patch.dict(
            sys.modules, stubs | {'eventlet.patcher': patcher}
        ):
            self.assertIs(False, heat_all._patch())


class TestFaults(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.faults = nova_faults.Faults()

    def test_who_is_hit_and_how_often(self):
        self.faults.add('spawn', server='train', host='gpu1', times=2)
        hit = self.faults.hit
        self.assertIsNone(hit('source', {'train'}, 'gpu1'))
        self.assertIsNone(hit('spawn', {'other'}, 'gpu1'))
        self.assertIsNone(hit('spawn', {'train'}, 'gpu2'))
        self.assertIsNotNone(hit('spawn', {'train', 'uuid'}, 'gpu1'))
        self.assertIsNotNone(hit('spawn', {'train', 'uuid'}, 'gpu1'))
        self.assertIsNone(hit('spawn', {'train', 'uuid'}, 'gpu1'))
        self.assertEqual(2, self.faults.list()[0]['hits'])
        self.faults.clear()
        self.assertEqual([], self.faults.list())

    def test_wrong_ones(self):
        for wrong, message in (
            ({'point': 'boot'}, "no point 'boot': spawn, claim, source"),
            ({'point': 'spawn', 'error': 'x'}, "no error 'x': libvirt"),
            ({'point': 'spawn', 'times': 0}, 'times must be 1 or more'),
        ):
            with self.assertRaisesRegex(ValueError, message):
                self.faults.add(**wrong)

    def test_the_command_knows_all(self):
        self.assertEqual(tuple(nova_faults.POINTS), shell.POINTS)
        self.assertEqual(nova_faults.ERRORS, shell.ERRORS)
        for place in nova_faults._WAITS:
            self.assertIn(place, nova_faults.POINTS)

    def test_errors_that_a_place_is_not_for(self):
        self.faults.add('claim', error='slow')
        hit = self.faults.hit
        self.assertIsNone(hit('claim', {'train'}, 'gpu1', ('libvirt',)))
        self.assertIsNotNone(hit('claim', {'train'}, 'gpu1', ('slow',)))

    def test_who_is_asked(self):
        """A driver, a tracker or a manager is told; a claim has it."""
        instance = type('Instance', (), {})
        train = instance()
        train.uuid, train.display_name = 'u', 'train'
        driver = type('Driver', (), {'spawn': lambda self, *args: args})
        claim = type('Claim', (), {'test': lambda self, limits: limits})
        module = types.ModuleType('nova_of_tests')
        module.Driver, module.Claim = driver, claim
        sys.modules['nova_of_tests'] = module
        self.addCleanup(sys.modules.pop, 'nova_of_tests')
        for place in ('Driver.spawn', 'Claim.test'):
            nova_faults._wrap(
                f'nova_of_tests:{place}', self.faults, 'spawn', ('slow',)
            )

        one = driver()
        one._host = mock.Mock()
        one._host.get_hostname.return_value = 'gpu1'
        two = claim()
        two.instance, two.tracker = train, types.SimpleNamespace(host='gpu2')
        for host in ('gpu1', 'gpu2'):
            self.faults.add('spawn', 'slow', seconds=0, host=host)
        self.assertEqual(('context', train), one.spawn('context', train))
        self.assertEqual('limits', two.test('limits'))
        self.assertEqual([1, 1], [f['hits'] for f in self.faults.list()])


class TestDeaths(unittest.TestCase):
    def setUp(self):
        super().setUp()
        patched = mock.patch.dict(nova_deaths._dead, clear=True)
        patched.start()
        self.addCleanup(patched.stop)
        code = 'class Manager:\n    def work(self, what): return what()\n'
        found = {}
        exec(compile(code, '/lib/nova/compute/manager.py', 'exec'), found)
        self.manager, self.other = found['Manager'](), found['Manager']()

    def test_only_whose_service_is_dead(self):
        self.manager.work(nova_deaths.check)
        nova_deaths.bury(self.manager)
        nova_deaths.check()
        self.other.work(nova_deaths.check)
        for what in (
            nova_deaths.check,
            # However deep, and for whomever else.
            lambda: self.other.work(lambda: nova_deaths.check()),
            nova_deaths._checked(lambda: self.fail('it went on')),
            nova_deaths.die,
        ):
            with self.assertRaises(nova_deaths.Died):
                self.manager.work(what)
        # No handler of Nova's takes it for an error.
        self.assertNotIsInstance(nova_deaths.Died(), Exception)

    def test_sleep(self):
        self.manager.work(lambda: nova_deaths.sleep(0))
        threading.Timer(0.05, nova_deaths.bury, [self.manager]).start()
        began = time.monotonic()
        with self.assertRaises(nova_deaths.Died):
            self.manager.work(lambda: nova_deaths.sleep(60))
        self.assertLess(time.monotonic() - began, 10)

    def test_kill(self):
        host = {'name': 'gpu1', 'cards': []}
        computes = nova_computes.Computes({'hosts': [host]})
        compute = mock.Mock(manager=self.manager, rpcserver_alt=None)
        self.manager.rt, self.manager.driver = mock.Mock(), mock.Mock()
        computes._services['gpu1'] = compute
        with mock.patch.object(
            nova_computes, '_set_heartbeat', autospec=True
        ) as heartbeat:
            computes.kill('gpu1')
        heartbeat.assert_called_once_with('gpu1', nova_computes._LONG_AGO)
        self.assertEqual({'gpu1': {'state': 'down'}}, computes.states())
        compute.rpcserver.stop.assert_called_once_with()
        with self.assertRaises(nova_deaths.Died):
            self.manager.work(nova_deaths.check)
        with self.assertRaises(nova_deaths.Died):
            self.manager.driver._host.get_connection()
        with self.assertRaises(nova_computes.Conflict):
            computes.kill('gpu1')


class TestConsoles(unittest.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name, 'it\'s <"here">')
        patcher = mock.patch.object(
            nova_fakes,
            'console',
            autospec=True,
            side_effect=lambda uuid: self.folder / uuid / 'console.log',
        )
        patcher.start()
        self.addCleanup(patcher.stop)
        self.domain = mock.Mock(spec=['UUIDString'])
        self.domain.UUIDString.return_value = 's'

    def say(self, text, *states):
        guests = {
            f'gpu{number}': [{'uuid': 's', 'state': state}]
            for number, state in enumerate(states)
        }
        nova_guests.say('s', text, guests)

    def test_said(self):
        self.say('a\u00e4', 'running')
        self.say('b\udce4', 'shutoff', 'running')
        path = self.folder / 's/console.log'
        self.assertEqual('a\u00e4b?', path.read_text())
        # For Nova, which asks with root's help otherwise.
        self.assertEqual((b'\xa4b?', 2), nova_fakes._last_bytes(path, 3))
        self.assertEqual(0, nova_fakes._last_bytes(path, 100)[1])

    def test_only_by_what_runs(self):
        for states, message in (
            (('shutoff',), 'the guest is shutoff'),
            ((), 'no guest on any host'),
        ):
            with self.assertRaisesRegex(nova_computes.Conflict, message):
                self.say('x', *states)
        self.assertFalse(self.folder.exists())

    def test_begun_anew(self):
        start = mock.Mock(spec=[])
        nova_fakes._start(self.domain, start, 0)
        self.say('before', 'running')
        nova_fakes._start(self.domain, start, 0)
        self.assertEqual('', (self.folder / 's/console.log').read_text())
        self.assertEqual([mock.call(self.domain, 0)] * 2, start.mock_calls)

    def test_where_nova_looks(self):
        xml = nova_fakes._describe(
            self.domain,
            lambda domain, flags: (
                "<console><source path='dummy.log'/></console>"
            ),
            0,
        )
        (source,) = ElementTree.fromstring(xml)
        self.assertEqual(
            str(self.folder / 's/console.log'), source.get('path')
        )


class TestControl(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.computes = mock.create_autospec(
            nova_computes.Computes, instance=True
        )
        self.computes.states.return_value = {'gpu1': {'state': 'up'}}
        self.control = nova_control.Control(
            'secret', self.computes, nova_faults.Faults()
        )

    def ask(self, method, path, body=None, token='secret', query=''):
        data = json.dumps(body).encode()
        environ = {
            'REQUEST_METHOD': method,
            'PATH_INFO': path,
            'QUERY_STRING': query,
            'CONTENT_LENGTH': str(len(data)),
            'wsgi.input': io.BytesIO(data),
            'HTTP_X_SANDBOX_TOKEN': token,
        }
        start = mock.Mock()
        (answer,) = self.control(environ, start)
        return int(start.call_args.args[0][:3]), json.loads(answer)

    def test_status(self):
        self.assertEqual(
            (200, {'ready': False, 'hosts': {'gpu1': {'state': 'up'}}}),
            self.ask('GET', '/status'),
        )

    def test_strangers(self):
        for token in ('', 'wrong', 'sécret'):
            self.assertEqual(401, self.ask('GET', '/status', token=token)[0])

    def test_faults(self):
        status, fault = self.ask('POST', '/faults', {'point': 'source'})
        self.assertEqual((200, 'libvirt'), (status, fault['error']))
        self.assertEqual((200, [fault]), self.ask('GET', '/faults'))
        self.assertEqual(400, self.ask('POST', '/faults', {'x': 1})[0])
        self.assertEqual((200, []), self.ask('DELETE', '/faults'))

    def test_servers(self):
        found = {'uuid': 'u', 'user_data': None}
        with mock.patch.object(
            nova_guests, 'find', autospec=True, return_value=found
        ) as find:
            self.assertEqual(
                (200, found),
                self.ask('GET', '/server', query='name=a%2Fb+%C3%A4'),
            )
            find.assert_called_once_with('a/b \u00e4')
            self.ask('GET', '/server', query='name=')
            find.assert_called_with('')
            find.side_effect = nova_computes.Unknown('no server x')
            self.assertEqual(
                (404, {'error': 'no server x'}),
                self.ask('GET', '/server', query='name=x'),
            )

    def test_hosts(self):
        self.assertEqual(
            (200, {'state': 'up'}), self.ask('POST', '/hosts/gpu1/kill')
        )
        self.computes.kill.assert_called_once_with('gpu1')
        for error, status in (
            (nova_computes.Unknown('no host'), 404),
            (nova_computes.Conflict('up already'), 409),
            (RuntimeError('Nova refused'), 500),
        ):
            self.computes.start.side_effect = error
            with (
                self.assertLogs(level='ERROR')
                if status == 500
                else (mock.MagicMock())
            ):
                answer = self.ask('POST', '/hosts/gpu1/start')
            self.assertEqual(status, answer[0])
            self.assertIn(str(error), answer[1]['error'])

    def test_elsewhere(self):
        self.assertEqual(404, self.ask('GET', '/')[0])
