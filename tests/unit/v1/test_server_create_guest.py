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

"""``gpu server create`` with a driver, a floating IP and a report."""

import base64
import email
import json
import logging
import os
import pathlib
import signal
import tempfile
import time
from unittest import mock

import yaml

from osc_gpu.cloud import consoles
from osc_gpu.guest import user_data
from tests.unit import base
from tests.unit.cloud import test_launch
from tests.unit.guest import test_reports
from tests.unit.guest import test_tokens
from tests.unit.v1 import test_server
from tests.unit.v1 import test_server_create

ID = test_server.ID
ACTION = f'{test_server.SERVER}/action'
NETWORKS = f'{base.NETWORK}/v2.0/networks'
PORTS = f'{base.NETWORK}/v2.0/ports'
ADDRESSES = f'{base.NETWORK}/v2.0/floatingips'
PUBLIC = {'id': 'n-1', 'name': 'public'}
PORT = {'id': 'p-1', 'fixed_ips': [{'ip_address': '10.0.0.5'}]}
DRIVER = ('--driver', 'nvidia', '--guest-os', 'ubuntu-24.04')


class TestCase(test_server_create.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory()))  # fmt: skip
        patcher = mock.patch.object(consoles, 'time', test_launch.FakeTime())
        patcher.start()
        self.addCleanup(patcher.stop)

    def says(self, *consoles):
        self.cloud.post(ACTION, [{'json': {'output': c}} for c in consoles])

    def file(self, content):
        path = self.folder / 'file'
        path.write_bytes(content)
        return str(path)

    def failed_late(self, *argv):
        """Create a server; return its fields, and what failed afterwards."""
        self.shows(test_server.server())
        result = self.openstack(*self.argv(*argv, '-f', 'json'))
        self.assertEqual(1, result.status, result)
        self.assertNotIn('Traceback', result.stderr)
        (line,) = result.stderr.strip().splitlines()
        self.assertEqual(ID, result.json['id'])
        return result.json, line

    def sent(self):
        """Return the user data that Nova got."""
        created = self.posted()[0]['server']
        return base64.b64decode(created['user_data'])

    def image_has(self, **properties):
        """Let the image have these properties."""
        image = {
            'id': test_server_create.IMAGE_ID,
            'name': 'any',
            'status': 'active',
            **properties,
        }
        self.cloud.get(
            f'{base.IMAGE}/v2/images/{test_server_create.IMAGE_ID}', json=image
        )

    def refused(self, words, *argv):
        text = self.fails(*self.argv(*argv))
        self.assertIn(words, text)
        self.assertNotIn('\n', text.strip())
        self.assertEqual([], self.posted())
        return text


class TestDriver(TestCase):
    def test_nothing_is_asked(self):
        self.table(*self.argv())
        self.assertNotIn('user_data', self.posted()[0]['server'])

    def test_own_user_data_alone(self):
        self.table(*self.argv('--user-data', self.file(b'#!/bin/sh\n')))
        self.assertEqual(b'#!/bin/sh\n', self.sent())

    def test_driver(self):
        self.table(*self.argv(*DRIVER, '--cuda', '12.9'))
        (part,) = email.message_from_bytes(self.sent()).get_payload()
        config = yaml.safe_load(part.get_payload())
        settings = config['write_files'][0]
        self.assertEqual('/etc/osc-gpu/settings', settings['path'])
        self.assertIn('CUDA=12.9\n', settings['content'])
        self.assertIn('SYSTEM=ubuntu-24.04\n', settings['content'])

    def test_with_own_user_data(self):
        own = b'#cloud-config\npackages: [htop]\n# \xc3\xa9\n'
        self.table(*self.argv(*DRIVER, '--user-data', self.file(own)))
        first, _ours = email.message_from_bytes(self.sent()).get_payload()
        self.assertEqual(own, first.get_payload(decode=True))

    def test_the_image_says_what_is_in_it(self):
        self.image_has(os_distro='rocky', os_version='9.4')
        self.table(*self.argv('--driver', 'nvidia'))
        self.assertIn(b'SYSTEM=rocky-9\n', self.sent())
        images = [r for r in self.requests if '/images/' in r]
        self.assertEqual(2, len(images))


class TestRefused(TestCase):
    def test_unknown_system(self):
        self.refused('--guest-os', '--driver', 'nvidia')

    def test_a_system_that_no_driver_is_for(self):
        self.image_has(os_distro='fedora', os_version='40')
        text = self.refused(
            'a driver cannot be installed in fedora 40', '--driver', 'nvidia'
        )
        self.assertIn('it can in ubuntu-22.04, ', text)
        self.image_has(os_distro='x\ny', os_version='$(id)' * 99)
        self.refused(r'in x\ny $(id)', '--driver', 'nvidia')
        # Without a version it may be any.
        self.image_has(os_distro='ubuntu')
        self.refused('is not known', '--driver', 'nvidia')

    def test_misfits(self):
        self.refused('not for the cards of NVIDIA', '--driver', 'amdgpu')
        self.refused(
            'is for vGPUs', '--driver', 'nvidia-vgpu',
            '--driver-url', 'https://h/a.run',
        )  # fmt: skip

    def test_values(self):
        for option, value in (
            ('--driver', 'nvidiot'),
            ('--driver-version', 'x'),
            ('--driver-url', 'x'),
            ('--cuda', '12'),
            ('--guest-os', 'amiga-3'),
            ('--license-feature', '9'),
            ('--workload', 'hard'),
            ('--report-url', 'file:///x'),
        ):
            result = self.openstack(*self.argv(option, value))
            self.assertEqual(2, result.status)
            self.assertIn(f'argument {option}: ', result.stderr)
        self.assertEqual([], self.requests)

    def test_too_large(self):
        noise = b''.join(
            base64.b85encode(bytes([n % 251, n % 241, n % 239, n % 233]))
            for n in range(30000)
        )
        own = ('--user-data', self.file(noise))
        for argv in (DRIVER, (*DRIVER, '--print-user-data'), ()):
            self.refused(f'Nova takes at most {user_data.MOST}', *argv, *own)

    def test_from_a_pipe(self):
        for argv in ((), DRIVER):
            reading, writing = os.pipe()
            os.write(writing, b'#!/bin/sh\n: mine\n')
            os.close(writing)
            self.table(*self.argv(*argv, '--user-data', f'/dev/fd/{reading}'))
            os.close(reading)
            sent = base64.b64decode(self.posted()[-1]['server']['user_data'])
            if argv:
                sent = email.message_from_bytes(sent).get_payload(0)
                sent = sent.get_payload(decode=True)
            self.assertEqual(b'#!/bin/sh\n: mine\n', sent)

    def test_no_such_file(self):
        path = str(self.folder / 'none')
        self.refused(
            f'--user-data {path}: No such file', *DRIVER, '--user-data', path
        )
        self.refused(
            f'--license-token {path}: No such file',
            *DRIVER, '--license-token', path,
        )  # fmt: skip

    def test_what_only_a_driver_has_a_use_for(self):
        for argv in (('--guest-os', 'rocky-9'), ('--virtual-functions',)):
            for more in ((), ('--verify',), ('--print-user-data',)):
                self.refused(
                    f'{argv[0]} is of no use without --driver', *argv, *more
                )
        self.assertEqual([], [r for r in self.requests if 'images' in r])

    def test_timeout_alone(self):
        self.refused('of no use', '--timeout', '9')


class TestMisfits(TestCase):
    def test_refused(self):
        for specs, driver, words in (
            ({'pci_passthrough:alias': 'nvidia-t4:1'}, 'amdgpu', 'NVIDIA'),
            ({'pci_passthrough:alias': 'a40:1'}, 'amdgpu', 'Intel, NVIDIA'),
            ({'resources:CUSTOM_NVIDIA_A40_8Q': '1'}, 'nvidia', 'a vGPU'),
            ({'resources:CUSTOM_NVIDIA_A40_8Q': '1'}, 'amdgpu', 'NVIDIA'),
        ):
            with self.subTest((specs, driver)):
                found = test_server.flavor('g1.a100', extra_specs=specs)
                self.cloud.get(test_server.FLAVORS, json={'flavors': [found]})
                self.refused(
                    words, '--driver', driver, '--guest-os', 'ubuntu-24.04',
                    '--print-user-data',
                )  # fmt: skip


class TestLicense(TestCase):
    flavors = (
        test_server.flavor(
            'g1.a100', extra_specs={'resources:VGPU': '1'}
        ),
    )  # fmt: skip

    def setUp(self):
        super().setUp()
        self.token = test_tokens.token(exp=time.time() + 86400)
        self.vgpu = (
            '--driver', 'nvidia-vgpu', '--driver-url', 'https://h/a.run',
            '--guest-os', 'ubuntu-24.04',
            '--license-token', self.file(self.token + b'\n'),
        )  # fmt: skip

    def test_token(self):
        self.table(*self.argv(*self.vgpu, '--license-feature', 'vws'))
        self.assertIn(self.token, self.sent())
        self.assertIn(b'FeatureType=2\n', self.sent())

    def test_bad_token(self):
        for content, words in (
            (b'', 'it is empty'),
            (self.token.replace(b'.', b'.\xe2\x80\x8b', 1), 'U+200B'),
            (test_tokens.token(exp=1), 'it expired on 1970-01-01'),
        ):
            self.file(content)
            self.refused(words, *self.vgpu)

    def test_it_is_never_logged(self):
        records = []
        handler = logging.Handler(logging.DEBUG)
        handler.emit = lambda record: records.append(record.getMessage())
        root = logging.getLogger()
        root.addHandler(handler)
        self.addCleanup(root.removeHandler, handler)
        result = self.openstack('--debug', *self.argv(*self.vgpu))
        self.assertEqual(0, result.status)
        sent = base64.b64encode(self.sent()).decode()
        said = '\n'.join(records) + result.stdout + result.stderr
        self.assertNotIn(sent, said)
        self.assertNotIn(self.token.decode(), said)
        self.assertIn('"user_data": "***"', said)

    def test_print(self):
        self.cloud.reset_mock()
        result = self.ok(*self.argv(*self.vgpu, '--print-user-data'))
        self.assertTrue(result.stdout.startswith('Content-Type: multipart/'))
        self.assertNotIn(self.token.decode(), result.stdout)
        self.assertIn('(the licence token)', result.stdout)
        self.assertEqual(['GET /flavors/detail?is_public=None'], self.requests)

    def test_what_nova_answers_is_never_logged(self):
        secret = base64.b64encode(b'a secret' * 9).decode()
        server = test_server.server()
        self.cloud.get(
            test_server.SERVER,
            json={'server': server | {'OS-EXT-SRV-ATTR:user_data': secret}},
            headers={'Content-Type': 'application/json'},
        )
        self.says('')
        for verb in ('show', 'verify'):
            said = self.openstack('--debug', 'gpu', 'server', verb, ID).stderr
            self.assertIn('"OS-EXT-SRV-ATTR:user_data": "***"', said)
            self.assertNotIn(secret, said)


class TestFloatingIp(TestCase):
    def setUp(self):
        super().setUp()
        self.cloud.get(NETWORKS, json={'networks': [PUBLIC]})
        self.cloud.get(PORTS, json={'ports': [PORT]})
        made = {'floating_ip_address': '203.0.113.7'}
        self.cloud.post(ADDRESSES, status_code=201, json={'floatingip': made})

    def test_made(self):
        shown = self.table(*self.argv('--floating-ip', 'public'))
        self.assertEqual('203.0.113.7', shown['floating_ip'])
        (body,) = [
            json.loads(request.body)
            for request in self.cloud.request_history
            if request.method == 'POST' and 'floatingips' in request.url
        ]
        self.assertEqual(
            {'floatingip': {'port_id': 'p-1', 'floating_network_id': 'n-1'}},
            body,
        )
        before = self.requests.index('POST /servers')
        self.assertIn(
            'GET /v2.0/networks?router:external=true', self.requests[:before]
        )
        self.assertEqual(
            [f'GET /v2.0/ports?device_id={ID}', 'POST /v2.0/floatingips'],
            [r for r in self.requests[before:] if '/v2.0/' in r],
        )

    def test_one_that_is_there(self):
        found = {'id': 'f-1', 'port_id': None}
        self.cloud.get(ADDRESSES, json={'floatingips': [found]})
        made = {'floating_ip_address': '203.0.113.9'}
        self.cloud.put(f'{ADDRESSES}/f-1', json={'floatingip': made})
        shown = self.table(*self.argv('--floating-ip-address', '203.0.113.9'))
        self.assertEqual('203.0.113.9', shown['floating_ip'])

    def test_refused_before(self):
        self.refused(
            "no external network 'lab'; there are: public",
            '--floating-ip', 'lab',
        )  # fmt: skip
        self.cloud.get(NETWORKS, json={'networks': []})
        self.refused('there are: none', '--floating-ip', 'public')
        twice = [PUBLIC, PUBLIC | {'id': 'n-2'}]
        self.cloud.get(NETWORKS, json={'networks': twice})
        self.refused('n-1, n-2', '--floating-ip', 'public')
        self.cloud.get(ADDRESSES, json={'floatingips': []})
        self.refused('no floating IP has', '--floating-ip-address', '1.2.3.4')
        used = {'id': 'f-1', 'port_id': 'p-9'}
        self.cloud.get(ADDRESSES, json={'floatingips': [used]})
        self.refused('by port p-9', '--floating-ip-address', '1.2.3.4')
        self.refused('omit --max 2', '--floating-ip', 'public', '--max', '2')
        self.cloud.get(NETWORKS, json={'networks': [PUBLIC]})
        self.refused(
            "no external network 'lab'",
            *DRIVER, '--floating-ip', 'lab', '--print-user-data',
        )  # fmt: skip

    def test_no_port(self):
        for argv in (
            ('--floating-ip', 'public'),
            ('--floating-ip-address', '203.0.113.9'),
        ):
            for none in (('--no-network',), ('--nic', 'none')):
                self.assertIn(
                    f'{argv[0]} is of no use with --no-network',
                    self.fails(*self.without_network(), *argv, *none),
                )
        self.assertEqual([], self.posted())
        self.assertEqual([], [r for r in self.requests if '/v2.0/' in r])
        # A network may be called so.
        self.cloud.get(
            f'{base.NETWORK}/v2.0/networks/none',
            json={'network': {'id': 'n-9', 'name': 'none'}},
        )
        self.table(
            *self.without_network(),
            '--network', 'none', '--floating-ip', 'public',
        )  # fmt: skip

    def without_network(self):
        network = ('--network', test_server_create.NETWORK_ID)
        return [word for word in self.argv() if word not in network]

    def test_refused_after(self):
        for status, body, words in (
            (409, {'NeutronError': {'message': 'Quota exceeded'}}, 'Quota'),
            (404, {'NeutronError': {'message': 'No router'}}, 'No router'),
            (503, {}, 'HTTP 503'),
        ):
            self.cloud.post(ADDRESSES, status_code=status, json=body)
            shown, line = self.failed_late('--floating-ip', 'public')
            self.assertIn(f'train ({ID}) is created and left', line)
            self.assertIn(words, line)
            self.assertNotIn('floating_ip', shown)

    def test_refused_and_verified(self):
        self.cloud.post(ADDRESSES, status_code=409, json={})
        self.says(test_reports.line(TestVerify.good | {'pci': [{}]}))
        self.cloud.post(
            test_server_create.CREATE,
            json={'server': {'id': ID, 'adminPass': 'once'}},
        )
        shown, line = self.failed_late('--floating-ip', 'public', '--verify')
        self.assertEqual('once', shown['admin_password'])
        self.assertRegex(
            line, 'without a floating IP: .* not proven to work: train: its '
        )
        self.assertIn('of 2 GPUs', shown['report'])

    def test_ports(self):
        six = PORT | {'id': 'p-6', 'fixed_ips': [{'ip_address': '2001::1'}]}
        self.cloud.get(PORTS, json={'ports': [six]})
        _shown, line = self.failed_late('--floating-ip', 'public')
        self.assertIn('no port with an IPv4 address', line)
        # The first has no router; the second one has.
        two = [PORT | {'id': 'p-0', 'created_at': 'a'},
               PORT | {'created_at': 'b'}, six]  # fmt: skip
        self.cloud.get(PORTS, json={'ports': two[::-1]})
        made = {'floatingip': {'floating_ip_address': '203.0.113.7'}}
        self.cloud.post(
            ADDRESSES,
            [{'status_code': 404, 'json': {}}, {'json': made}],
        )
        self.shows(test_server.server())
        shown = self.table(*self.argv('--floating-ip', 'public'))
        self.assertEqual('203.0.113.7', shown['floating_ip'])


class TestVerify(TestCase):
    good = test_reports.GOOD | {
        'pci': [{}, {}],
        'gpus': [test_reports.A100] * 2,
        'asked': {'driver': 'nvidia'},
    }

    def test_good(self):
        self.says('', 'Booting', test_reports.line(self.good))
        shown = self.table(*self.argv(*DRIVER, '--verify'))
        self.assertEqual(
            '2 of 2 GPUs, NVIDIA A100 80GB PCIe, driver 570.86.15, CUDA 12.9',
            shown['report'],
        )

    def test_the_shell_does_not_take_it_away(self):
        self.says(test_reports.line(self.good))
        for argv in (('--verify',), ('--verify-gpu',)):
            self.shows(test_server.server())
            self.assertTrue(self.table(*self.argv(*argv))['report'])

    def test_short(self):
        one = self.good | {'gpus': [test_reports.A100], 'pci': [{}]}
        self.says(test_reports.line(one))
        result = self.openstack(*self.argv('--verify', '-f', 'json'))
        self.assertEqual(1, result.status)
        self.assertIn('1 of 2 GPUs', result.json['report'])
        self.assertEqual(
            'GPUs are not proven to work: train: its PCI bus has 1 of 2 GPUs; '
            'the driver has 1 of 2 GPUs',
            result.stderr.strip(),
        )

    def test_an_image_without_a_driver(self):
        bare = {'driver': None, 'gpus': [], 'asked': {'driver': 'none'}}
        self.says(test_reports.line(self.good | bare))
        result = self.openstack(*self.argv('--verify'))
        self.assertEqual(1, result.status)
        self.assertIn('train: no driver is loaded', result.stderr)

    def test_silent(self):
        self.says('login:')
        result = self.openstack(
            *self.argv('--verify', '--timeout', '60', '-f', 'json')
        )
        self.assertEqual(1, result.status)
        self.assertEqual('', result.json['report'])
        # What creating it took is not waited for again.
        self.assertRegex(
            result.stderr,
            r'train: no report is on its console after \d+ s: .* with: '
            f'openstack gpu server verify {test_server.ID}\n$',
        )

    def test_the_console_comes_later(self):
        self.cloud.post(
            ACTION,
            [
                {'status_code': 409},
                {'status_code': 503},
                {'json': {'output': test_reports.line(self.good)}},
            ],
        )
        self.table(*self.argv('--verify'))

    def test_no_console_at_all(self):
        self.cloud.post(ACTION, status_code=403, json={})
        _shown, line = self.failed_late('--verify')
        self.assertIn(f'train ({ID}) created, but cannot be verified', line)

    def test_deleted_meanwhile(self):
        self.cloud.post(
            ACTION,
            [
                {'json': {'output': ''}},
                {'status_code': 404,
                 'json': {'itemNotFound': {'message': 'No instance'}}},
            ],
        )  # fmt: skip
        _shown, line = self.failed_late('--verify')
        self.assertIn('cannot be verified: No instance', line)

    def test_interrupted(self):
        self.cloud.get(NETWORKS, json={'networks': [PUBLIC]})
        self.cloud.get(PORTS, json={'ports': [PORT]})
        made = {'floating_ip_address': '203.0.113.7'}
        self.cloud.post(ADDRESSES, status_code=201, json={'floatingip': made})
        self.says('')

        def terminate(_seconds):
            os.kill(os.getpid(), signal.SIGTERM)

        with mock.patch.object(
            consoles.time, 'sleep', autospec=True, side_effect=terminate
        ):
            shown, line = self.failed_late(
                '--floating-ip', 'public', '--verify'
            )
        self.assertEqual(
            f'Interrupted: train ({ID}) left as created. Look again with: '
            f'openstack gpu server verify {ID}',
            line,
        )
        self.assertEqual('203.0.113.7', shown['floating_ip'])
