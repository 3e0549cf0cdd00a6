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

import os
import pathlib
import socket
import stat
import tempfile
import unittest
from unittest import mock

import yaml

from osc_gpu.sandbox import errors
from osc_gpu.sandbox import spec as specs
from osc_gpu.sandbox import topology


class SpecTestCase(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.state = pathlib.Path(os.path.realpath(folder.name))

    def make(self, **more: object) -> specs.Spec:
        wanted = topology.Topology(
            (topology.Host('gpu1'),),
            users=(topology.User('ann', 'lab'), topology.User('bob', 'ops')),
        )
        template = pathlib.Path('/template')
        return specs.make('2026.2', self.state, template, wanted, **more)


class TestStateFolder(unittest.TestCase):
    def folder(self, given: str | None = None, **environ: str) -> str:
        with mock.patch.dict(os.environ, environ, clear=True):
            return str(specs.state_folder(given))

    def test_order(self) -> None:
        every = {
            'OSC_GPU_SANDBOX_STATE': '/own',
            'XDG_STATE_HOME': '/xdg',
            'HOME': '/home/ann',
        }
        self.assertEqual('/given', self.folder('/given', **every))
        self.assertEqual('/own', self.folder(**every))
        every['OSC_GPU_SANDBOX_STATE'] = ''
        self.assertEqual('/xdg/osc-gpu/sandbox', self.folder(**every))
        # A relative one is to be ignored, says the specification.
        every['XDG_STATE_HOME'] = 'xdg'
        self.assertEqual(
            '/home/ann/.local/state/osc-gpu/sandbox', self.folder(**every)
        )

    def test_absolute_and_without_links(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            real = os.path.realpath(folder)
            os.symlink(real, f'{real}/link')
            self.assertEqual(f'{real}/a', self.folder(f'{real}/link/a'))
        self.assertEqual(os.path.realpath('a'), self.folder('a'))


class TestPorts(unittest.TestCase):
    def test_free_and_all_different(self) -> None:
        ports = specs.choose_ports()

        self.assertEqual(
            [
                'identity',
                'placement',
                'image',
                'network',
                'compute',
                'volume',
                'control',
            ],
            list(ports),
        )
        self.assertEqual(7, len(set(ports.values())))
        # What Linux gives to outgoing connections may be gone again at once.
        self.assertLess(max(ports.values()), 32768)
        for number in ports.values():
            with socket.socket() as other:
                other.bind((specs.ADDRESS, number))

    def test_in_a_row(self) -> None:
        with mock.patch.object(socket, 'socket', autospec=True) as fake:
            holder = fake.return_value.__enter__.return_value
            ports = specs.choose_ports(4000)

        self.assertEqual(list(range(4000, 4007)), list(ports.values()))
        self.assertEqual(
            [mock.call((specs.ADDRESS, n)) for n in ports.values()],
            holder.bind.mock_calls,
        )

    def test_of_extras(self) -> None:
        names = list(specs.choose_ports(extras=['heat']))
        self.assertEqual(8, len(names))
        self.assertEqual(['orchestration', 'control'], names[-2:])

    def test_none_is_free(self) -> None:
        with (
            mock.patch.object(socket, 'socket', autospec=True) as fake,
            mock.patch.object(specs, '_CHOICE', range(20000, 20003)),
        ):
            holder = fake.return_value.__enter__.return_value
            holder.bind.side_effect = OSError
            with self.assertRaises(errors.SandboxError) as caught:
                specs.choose_ports()
        self.assertEqual(
            'no port from 20000 to 20002 is free', str(caught.exception)
        )

    def test_taken(self) -> None:
        with socket.socket() as other:
            other.bind((specs.ADDRESS, 0))
            taken = other.getsockname()[1]
            with self.assertRaises(errors.SandboxError) as caught:
                specs.choose_ports(taken)
        self.assertEqual(
            f'port {taken} for identity: Address already in use; choose '
            'another --port-base',
            str(caught.exception),
        )


class TestSpec(SpecTestCase):
    def test_written_and_read(self) -> None:
        spec = self.make()
        specs.write(spec)

        self.assertEqual(spec, specs.read(self.state))
        for path in (specs.path(self.state), specs.clouds_path(self.state)):
            mode = stat.S_IMODE(path.stat().st_mode)
            self.assertEqual(0o600, mode, path)
        self.assertEqual(
            ['clouds.yaml', 'sandbox.json'], sorted(os.listdir(self.state))
        )

    def test_contents(self) -> None:
        spec = self.make()

        self.assertEqual(('admin', 'ann', 'bob'), spec.users)
        self.assertEqual(
            {'admin', 'service', 'control', 'ann', 'bob'}, set(spec.secrets)
        )
        self.assertEqual(5, len(set(spec.secrets.values())))
        self.assertEqual(
            f'http://127.0.0.1:{spec.ports["identity"]}/v3', spec.auth_url
        )
        self.assertNotEqual(spec.secrets, self.make().secrets)
        self.assertEqual([], spec.topology['hosts'][0]['cards'])

    def test_none(self) -> None:
        self.assertIsNone(specs.read(self.state))
        self.assertIsNone(specs.read(self.state / 'missing'))
        (self.state / 'file').touch()
        self.assertIsNone(specs.read(self.state / 'file'))

    def test_damaged(self) -> None:
        for content in ('', '[]', '{}', '{"a": 1}', 'null'):
            with self.subTest(content):
                specs.path(self.state).write_text(content)
                with self.assertRaisesRegex(
                    errors.SandboxError, "sandbox.json is not a sandbox's: "
                ):
                    specs.read(self.state)

    def test_clouds(self) -> None:
        spec = self.make()
        specs.write(spec)

        content = yaml.safe_load(specs.clouds_path(self.state).read_text())
        clouds = content['clouds']
        self.assertEqual(
            ['sandbox-admin', 'sandbox-ann', 'sandbox-bob'], list(clouds)
        )
        self.assertEqual(
            {
                'auth_url': spec.auth_url,
                'username': 'bob',
                'password': spec.secrets['bob'],
                'project_name': 'ops',
                'user_domain_name': 'Default',
                'project_domain_name': 'Default',
            },
            clouds['sandbox-bob']['auth'],
        )
        auth = clouds['sandbox-admin']['auth']
        self.assertEqual('admin', auth['project_name'])

    def test_failed_write_leaves_the_old_file(self) -> None:
        target = self.state / 'file'
        target.write_text('old')
        with self.assertRaises(UnicodeEncodeError):
            specs.write_private(target, '\udc80')
        self.assertEqual('old', target.read_text())
        self.assertEqual(['file'], os.listdir(self.state))


class TestWriteClouds(SpecTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.spec = self.make()
        self.target = self.state / 'mine.yaml'

    def refuse(self, content: str) -> str:
        self.target.write_text(content)
        with self.assertRaises(errors.SandboxError) as caught:
            specs.write_clouds(self.target, self.spec)
        self.assertEqual(content, self.target.read_text())
        return str(caught.exception)

    def test_new_and_again(self) -> None:
        for _again in range(2):
            specs.write_clouds(self.target, self.spec)
            content = yaml.safe_load(self.target.read_text())
            self.assertEqual(specs.clouds(self.spec), content['clouds'])
            mode = stat.S_IMODE(self.target.stat().st_mode)
            self.assertEqual(0o600, mode)

    def test_clouds_of_others(self) -> None:
        message = self.refuse('clouds: {prod: {}, sandbox-x: {}}')
        self.assertEqual(
            f'{self.target} holds prod, which would be lost; name another '
            'file',
            message,
        )

    def test_other_contents(self) -> None:
        self.assertIn('holds cache', self.refuse('clouds: {}\ncache: {}'))
        for content in ('', 'text', '[1]', 'a: [', '{}', 'clouds: 1', '3'):
            with self.subTest(content):
                self.refuse(content)

    def test_impossible(self) -> None:
        for path in (self.state / 'no' / 'file', self.state):
            with self.subTest(path):
                with self.assertRaisesRegex(errors.SandboxError, str(path)):
                    specs.write_clouds(path, self.spec)
