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

import email
import gzip
import unittest

import yaml

from osc_gpu.guest import orders
from osc_gpu.guest import systems
from osc_gpu.guest import user_data

ORDER = orders.Order(
    'nvidia-vgpu',
    systems.parse('ubuntu-24.04'),
    url="https://h/a.run?x='$(reboot)'`reboot`\"",
    token='head.claims.sign',
    feature='vcs',
    workload='smoke',
    report_url='https://h/?a=b&c=$HOME',
)


def files(order):
    (part,) = user_data.parts(order)
    config = yaml.safe_load(part.text)
    return {one['path']: one for one in config['write_files']}


def parts(content):
    return email.message_from_bytes(content).get_payload()


class TestParts(unittest.TestCase):
    def test_files(self):
        found = files(ORDER)
        self.assertEqual(
            [
                '/etc/osc-gpu/settings',
                '/usr/local/sbin/osc-gpu-setup',
                '/usr/local/sbin/osc-gpu-report',
                '/etc/systemd/system/osc-gpu.service',
                '/usr/local/sbin/osc-gpu-workload',
                '/usr/local/share/osc-gpu/smoke.cu',
                '/etc/nvidia/ClientConfigToken/client_configuration_token.tok',
                '/etc/nvidia/gridd.conf',
            ],
            list(found),
        )
        self.assertEqual('0600', found['/etc/osc-gpu/settings']['permissions'])
        self.assertIn(
            'FeatureType=4\n', found['/etc/nvidia/gridd.conf']['content']
        )

    def test_only_what_is_asked_for(self):
        found = files(orders.Order())
        self.assertEqual(4, len(found))
        self.assertNotIn('apt', found['/usr/local/sbin/osc-gpu-setup'])

    def test_each_family_has_its_own(self):
        for name, has, lacks in (
            ('debian-12', 'apt-get', 'dnf'),
            ('rocky-9', 'dnf', 'apt-get'),
        ):
            order = orders.Order('nvidia', systems.parse(name))
            script = files(order)['/usr/local/sbin/osc-gpu-setup']['content']
            self.assertIn(has, script)
            self.assertNotIn(lacks, script)

    def test_secrets_are_not_shown(self):
        self.assertNotIn('claims', repr(user_data.parts(ORDER)))


class TestCompose(unittest.TestCase):
    def test_users_own(self):
        for users in (
            b'#!/bin/sh\necho $(id) "x"\r\n',
            b'#cloud-config\nusers: []\n',
            b'#include\nhttps://h/x\n',
            b'## template: jinja\n#cloud-config\n',
            b'\xff\xfe\x00binary',
        ):
            first, ours = parts(user_data.compose(ORDER, users))
            self.assertEqual('text/plain', first.get_content_type())
            self.assertEqual(users, first.get_payload(decode=True))
            self.assertEqual('text/cloud-config', ours.get_content_type())

    def test_compressed(self):
        users = gzip.compress(b'#!/bin/sh\n')
        first, _ours = parts(user_data.compose(ORDER, users))
        self.assertEqual(b'#!/bin/sh\n', first.get_payload(decode=True))

    def test_users_own_parts(self):
        own = user_data.compose(orders.Order(), b'#!/bin/sh\n')
        content = user_data.compose(ORDER, own)
        self.assertIn(own, content)
        first, _ours = parts(content)
        self.assertEqual(2, len(first.get_payload()))

    def test_what_ours_cannot_be_added_to(self):
        for users in (
            b'#cloud-config\nruncmd: ls\n',
            b'#cloud-config\nwrite_files: {}\n',
            b'MIME-Version: 1.0\n\n\xff',
        ):
            with self.assertRaises(ValueError):
                user_data.compose(ORDER, users)

    def test_the_same_again(self):
        self.assertEqual(
            user_data.compose(ORDER, b'x'), user_data.compose(ORDER, b'x')
        )


class TestPack(unittest.TestCase):
    def test_small(self):
        content = b'x' * user_data.MOST
        self.assertEqual(content, user_data.pack(content))

    def test_large(self):
        content = b'x' * (user_data.MOST + 1)
        packed = user_data.pack(content)
        self.assertEqual(content, gzip.decompress(packed))
        self.assertEqual(packed, user_data.pack(content))

    def test_too_large(self):
        import random

        content = random.Random(1).randbytes(user_data.MOST + 1)
        with self.assertRaisesRegex(ValueError, '49150 bytes, compressed'):
            user_data.pack(content)
