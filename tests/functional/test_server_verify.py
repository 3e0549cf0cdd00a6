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

"""Servers whose guests prove their GPUs, launched and asked by a tenant.

A guest boots beside the command that waits for it: what was sent to Nova is
run for real, on stand-ins for its hardware and package tools.
"""

import base64
import json
import pathlib
import tempfile

from tests.functional import base
from tests.functional import shells

RUN = 'https://mirror.example/NVIDIA-Linux-x86_64-550.144.03-grid.run'
VGPU = ('--driver', 'nvidia-vgpu', '--driver-url', RUN)


def token():
    """Return what has the form of a client configuration token."""
    parts = (
        json.dumps({'alg': 'RS256'}).encode(),
        json.dumps({'iss': 'NLS'}).encode(),
        # As many bytes as a key of 2048 bits signs with.
        bytes(range(256)),
    )
    return b'.'.join(
        base64.urlsafe_b64encode(part).rstrip(b'=') for part in parts
    )


class TestCase(shells.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def keep(self, name, content):
        """Write a file for a command; return its path."""
        path = self.folder / name
        path.write_bytes(content)
        return str(path)

    def boot(self, server, *spoils):
        """Boot the guest of a server."""
        result = base.run(
            'osc-gpu-sandbox', 'guest', 'boot', server,
            *(word for spoil in spoils for word in ('--spoil', spoil)),
            OSC_GPU_SANDBOX_STATE=str(self.state),
        )  # fmt: skip
        self.assertEqual((0, ''), (result.status, result.stderr), server)

    def create(self, request, *more, spoils=()):
        """Create a server with --verify and boot its guest meanwhile.

        Return the server's ID, and what the command left behind.
        """
        flavor = self.make_flavor(*request)
        name = self.name('server')
        self.addCleanup(self.forget_servers, name)
        process = base.begin(
            'gpu', 'server', 'create', name, '--flavor', flavor,
            '--image', 'cirros', '--network', 'private', '--verify', *more,
            '-f', 'json', env=base.cloud_of(self.state, 'member'),
        )  # fmt: skip
        try:
            server = base.wait_until(
                f'{name} built', lambda: self.built(process, name)
            )
            self.boot(server, *spoils)
            stdout, stderr = process.communicate(timeout=base.LIMIT)
        finally:
            process.kill()
            process.wait()
        return server, base.Result(process.returncode, stdout, stderr)

    def built(self, process, name):
        """Return the ID of a server that runs; None as long as none does."""
        if process.poll() is not None:
            self.fail(process.communicate())
        found = self.admin.compute.servers(
            all_projects=True, name=f'^{name}$', status='ACTIVE'
        )
        return next((server.id for server in found), None)

    def verify(self, server, status=0):
        """Ask again; return the fields, and the line of an error."""
        result = self.openstack(
            'gpu', 'server', 'verify', server, '-f', 'json', user='member'
        )
        self.assertEqual(status, result.status, result)
        return result.json, result.stderr.strip()


class TestGood(TestCase):
    def test_passthrough(self):
        users = self.keep('mine.sh', b'#!/bin/sh\necho "$(id)"\n')
        server, result = self.create(
            ('--alias', 'v100:2'), '--guest-os', 'ubuntu-24.04',
            '--driver', 'nvidia', '--driver-version', '570', '--cuda', '12.8',
            '--workload', 'smoke', '--floating-ip', 'public',
            '--user-data', users,
        )  # fmt: skip
        self.assertEqual((0, ''), (result.status, result.stderr), result)
        shown = result.json
        self.assertEqual(
            '2 of 2 GPUs, NVIDIA Tesla V100 PCIe 32GB, driver 570.195.03, '
            'CUDA 12.8',
            shown['report'],
        )
        self.assertEqual('ACTIVE', shown['status'])

        # Neutron has it at the server's port.
        ports = [p.id for p in self.admin.network.ports(device_id=server)]
        floating = list(
            self.admin.network.ips(floating_ip_address=shown['floating_ip'])
        )
        self.addCleanup(self.admin.network.delete_ip, floating[0])
        self.assertEqual(ports, [ip.port_id for ip in floating])

        # The addresses that the guest saw are those of its guest's PCI bus;
        # as many as Nova gave it.
        fields, error = self.verify(server)
        self.assertEqual(
            ('ok', [], ''), (fields['verdict'], fields['problems'], error)
        )
        self.assertEqual(
            len(self.pci_addresses(server)), len(fields['pci_addresses'])
        )
        self.assertEqual('passed', fields['workload'])
        for user in ('member', 'admin'):
            asked = self.table('gpu', 'server', 'show', server, user=user)
            self.assertEqual(shown['report'], asked['report'])

    def test_licensed_vgpu(self):
        secret = token()
        path = self.keep('token.tok', secret + b'\n')
        server, result = self.create(
            ('--vgpu',), '--guest-os', 'rocky-9', *VGPU,
            '--license-token', path, '--debug',
        )  # fmt: skip
        self.assertEqual(0, result.status, result)
        # Not even with --debug, nor as it is sent.
        self.assertNotIn(secret.decode(), result.stderr)
        self.assertIn('"user_data": "***"', result.stderr)
        self.assertRegex(
            result.json['report'], '^1 of 1 GPUs, NVIDIA .*, driver 550.144.03'
        )
        fields, _error = self.verify(server)
        self.assertRegex(fields['license'], '^Licensed')


class TestBad(TestCase):
    def short(self, words, request, *more, spoils):
        """Create a server whose guest falls short; return its ID."""
        server, result = self.create(request, *more, spoils=spoils)
        self.assertEqual(1, result.status, result)
        line = result.stderr.strip()
        self.assertRegex(
            line, f'^GPUs are not proven to work: server-[0-9-]+: .*{words}'
        )
        self.assertEqual(1, len(line.splitlines()))
        # It is shown all the same, and left.
        self.assertEqual(server, result.json['id'])
        fields, again = self.verify(server, status=1)
        self.assertEqual(('short', line), (fields['verdict'], again))
        return server

    def test_one_gpu_missing(self):
        self.short(
            'its PCI bus has 1 of 2 GPUs', ('--alias', 'v100:2'),
            '--guest-os', 'debian-12', '--driver', 'nvidia',
            spoils=['gpu-missing'],
        )  # fmt: skip

    def test_driver_failed(self):
        self.short(
            'driver nvidia: .*no driver is loaded', ('--alias', 'v100'),
            '--guest-os', 'rocky-9', '--driver', 'nvidia',
            spoils=['build'],
        )  # fmt: skip

    def test_unlicensed_then_licensed(self):
        path = self.keep('token.tok', token())
        server = self.short(
            'licen', ('--vgpu',), '--guest-os', 'ubuntu-22.04', *VGPU,
            '--license-token', path, spoils=['unlicensed'],
        )  # fmt: skip
        self.boot(server)
        fields, error = self.verify(server)
        self.assertEqual(('ok', ''), (fields['verdict'], error))

    def test_silent(self):
        server = self.make_server(
            self.make_flavor('--vgpu'), '--guest-os', 'rocky-8', *VGPU
        )['id']
        self.boot(server, 'silent')
        fields, error = self.verify(server, status=1)
        self.assertEqual('no report', fields['verdict'])
        self.assertRegex(error, 'no report is on its console$')
        self.boot(server)
        self.assertEqual('ok', self.verify(server)[0]['verdict'])
