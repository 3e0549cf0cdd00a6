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

from unittest import mock

from tests.unit import base


class TestShowImageRecipe(base.TestCase):
    def show(self, *argv):
        return self.ok('gpu', 'image', 'recipe', 'show', *argv).stdout

    def test_a_script_and_nothing_else(self):
        text = self.show(
            '--for', 'virt-customize', '--guest-os', 'alma-9.4',
            '--driver', 'nvidia', '--driver-version', '570', '--cuda', '12.9',
        )  # fmt: skip
        lines = text.splitlines()
        self.assertEqual('#!/bin/bash', lines[0])
        self.assertIn('almalinux-9 with the driver nvidia and CUDA', lines[1])
        self.assertEqual('mv "$image.part" "$image"', lines[-1])
        self.assertIn('VERSION=570\n', text)

    def test_no_cloud_is_asked(self):
        self.show('--for', 'diskimage-builder', '--guest-os', 'debian-12')
        self.assertEqual([], self.cloud.request_history)
        # Nor is one needed.
        with mock.patch.object(base, 'AUTH_URL', ''):
            self.show('--for', 'diskimage-builder', '--guest-os', 'debian-12')

    def test_bad_options(self):
        tool = ('--for', 'virt-customize')
        system = ('--guest-os', 'rocky-9')
        for argv, words in (
            (tool, '--guest-os'),
            (system, '--for'),
            (('--for', 'packer', *system), 'virt-customize'),
            ((*tool, '--guest-os', 'fedora-41'), 'is not one of: ubuntu'),
            ((*tool, *system, '--driver', 'cuda'), 'amdgpu'),
            ((*tool, *system, '--driver-version', '5;id'), 'not a version'),
            ((*tool, *system, '--driver-url', 'file:///x'), 'https://'),
            ((*tool, *system, '--cuda', '$(id)'), 'not a version of CUDA'),
        ):
            with self.subTest(argv):
                said = self.fails(
                    'gpu', 'image', 'recipe', 'show', *argv, status=2
                )
                self.assertIn(words, said)

    def test_what_makes_no_sense(self):
        argv = ('--for', 'virt-customize', '--guest-os', 'rocky-9')
        for more, words in (
            (('--cuda', '12.9'), 'need a --driver'),
            (('--driver', 'nvidia-vgpu'), 'needs --driver-url'),
            (
                ('--driver', 'nvidia', '--driver-url', 'https://h/x.deb'),
                'end with .run or .rpm',
            ),
        ):
            line = self.fails('gpu', 'image', 'recipe', 'show', *argv, *more)
            self.assertIn(words, line)

    def test_secret_in_the_url(self):
        for url in (
            'https://me:passw0rd@h/x.run',
            'https://h/x.run?token=passw0rd',
        ):
            line = self.fails(
                'gpu', 'image', 'recipe', 'show', '--for', 'virt-customize',
                '--guest-os', 'rocky-9', '--driver', 'nvidia-vgpu',
                '--driver-url', url,
            )  # fmt: skip
            self.assertIn('a recipe is a file that is kept', line)
            self.assertNotIn('passw0rd', line)
