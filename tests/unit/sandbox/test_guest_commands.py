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


import base64
import io
import json
import pathlib
from typing import Any
from unittest import mock
from urllib import error
from urllib import request

from osc_gpu.sandbox import control
from osc_gpu.sandbox import errors
from osc_gpu.sandbox import spec as specs
from osc_gpu.sandbox import topology
from tests.unit.sandbox import test_shell

SETTINGS = """#cloud-config
write_files:
- path: /etc/osc-gpu/settings
  content: |
    SYSTEM=debian-13
"""


class GuestTestCase(test_shell.ShellTestCase):
    def setUp(self) -> None:
        super().setUp()
        card = topology.Card('PCI', '10de', '20b5', '0000:20:00.0')
        cloud = topology.Topology((topology.Host('gpu1', cards=(card,)),))
        self.make_running()
        spec = specs.make('2026.2', self.state, self.folder, cloud)
        specs.write(spec)
        factory = self.patch(
            mock.patch.object(control, 'Control', autospec=True)
        )
        self.control = factory.return_value
        self.server: dict[str, Any] = {
            'uuid': 'u-1',
            'name': 'train 1',
            'os_distro': None,
            'os_version': None,
            'user_data': base64.b64encode(SETTINGS.encode()).decode(),
        }
        self.control.server.return_value = self.server
        self.control.guests.return_value = {
            'gpu1': [
                {'uuid': 'u-1', 'state': 'running', 'mdevs': [],
                 'devices': ['0000:20:00.0']},
            ]
        }  # fmt: skip


class TestSay(GuestTestCase):
    def test_text(self) -> None:
        self.assertEqual('', self.ok('guest', 'say', 'train', 'hello "x"'))
        self.control.server.assert_called_once_with('train')
        self.control.say.assert_called_once_with('u-1', 'hello "x"\n')

    def test_standard_input(self) -> None:
        stdin = io.TextIOWrapper(io.BytesIO(b'one\ntw\xff'))
        with mock.patch('sys.stdin', stdin):
            self.ok('guest', 'say', 'train')
        self.control.say.assert_called_once_with('u-1', 'one\ntw\ufffd')

    def test_refused(self) -> None:
        self.control.server.side_effect = errors.SandboxError('no server x')
        self.assertEqual('no server x', self.refused('guest', 'say', 'x', 'y'))
        self.control.say.assert_not_called()


class TestBoot(GuestTestCase):
    def console(self) -> str:
        """Return what the guest has said."""
        return ''.join(call.args[1] for call in self.control.say.mock_calls)

    def test_boot(self) -> None:
        disk = self.state / 'guests' / 'u-1' / 'root'
        self.assertEqual(
            'System   debian-13\n'
            'GPUs     1\n'
            'Boots    1\n'
            f'Disk     {disk}\n'
            "Console  openstack console log show 'train 1'\n",
            self.ok('guest', 'boot', 'train'),
        )
        self.assertIn('Linux version 6.12', self.console())
        gpus = pathlib.Path(disk.parent, 'gpus').read_text()
        self.assertIn(' 10de 20b5 0302 81920 NVIDIA A100 PCIe 80GB', gpus)

        # Another boot is one of the same disk.
        self.assertEqual(
            'train 1 has debian-13 on its disk already',
            self.refused('guest', 'boot', 'train', '--os', 'rhel-9'),
        )
        self.assertIn(
            'already',
            self.refused('guest', 'boot', 'train', '--image-driver', '570'),
        )
        self.ok(
            'guest', 'boot', 'train', '--os', 'debian-13', '--spoil',
            'gpu-missing', '--spoil', 'mirror',
        )  # fmt: skip
        self.assertEqual('', pathlib.Path(disk.parent, 'gpus').read_text())
        self.assertTrue(pathlib.Path(disk.parent, 'spoils/mirror').exists())

    def test_system(self) -> None:
        for distro, version, expected in (
            ('ubuntu', '22.04', 'ubuntu-22.04'),
            ('rocky', '9.4', 'rocky-9'),
            ('rhel', '8', 'rhel-8'),
            ('fedora', '42', 'debian-13'),
        ):
            self.server['uuid'] = expected
            self.server['os_distro'] = distro
            self.server['os_version'] = version
            text = self.ok('guest', 'boot', 'train')
            self.assertIn(f'System   {expected}\n', text)

    def test_nothing_tells_the_system(self) -> None:
        self.server['user_data'] = None
        self.assertRegex(
            self.refused('guest', 'boot', 'train'),
            '^neither the image nor the user data of train 1 tells which '
            'system it has: name one with --os, of ubuntu-22.04, ',
        )
        self.assertFalse((self.state / 'guests').exists())

    def test_driver_of_the_image(self) -> None:
        self.ok('guest', 'boot', 'x', '--os', 'rhel-9', '--image-driver', '5')
        version = self.state / 'guests/u-1/root/sys/module/nvidia/version'
        self.assertEqual('5\n', version.read_text())

    def test_what_is_not_done(self) -> None:
        self.server['user_data'] = base64.b64encode(b'#!/bin/sh\n').decode()
        text = self.ok('guest', 'boot', 'x', '--os', 'rhel-9')
        self.assertIn('\nNot done text/x-shellscript part-001\n', text)

    def test_refused(self) -> None:
        self.control.say.side_effect = errors.SandboxError('it is shutoff')
        self.assertEqual('it is shutoff', self.refused('guest', 'boot', 'x'))
        self.assertFalse((self.state / 'guests').exists())


class TestAsking(test_shell.ShellTestCase):
    """The requests, on the wire."""

    def setUp(self) -> None:
        super().setUp()
        self.asked: list[tuple[str, str, Any]] = []
        self.control = control.Control(self.make_running())
        self.patch(
            mock.patch.object(
                request.OpenerDirector, 'open', autospec=True,
                side_effect=self.answer,
            )
        )  # fmt: skip

    def answer(self, _opener: Any, asked: Any, timeout: float) -> Any:
        body = json.loads(asked.data) if asked.data else None
        where = asked.full_url.partition('//')[2].partition('/')[2]
        self.asked.append((asked.method, where, body))
        if 'none' in where:
            reason = io.BytesIO(b'{"error": "no server"}')
            raise error.HTTPError('', 404, '', None, reason)  # type: ignore[arg-type]
        return io.BytesIO(b'{"uuid": "u"}')

    def test_requests(self) -> None:
        self.assertEqual({'uuid': 'u'}, self.control.server('a/b c?\u00e4'))
        self.control.say('u/1', 'x\n')
        self.assertEqual(
            [
                ('GET', 'server?name=a%2Fb+c%3F%C3%A4', None),
                ('POST', 'guests/u%2F1/console', {'text': 'x\n'}),
            ],
            self.asked,
        )

    def test_refused(self) -> None:
        with self.assertRaisesRegex(errors.SandboxError, '^no server$'):
            self.control.server('none')
