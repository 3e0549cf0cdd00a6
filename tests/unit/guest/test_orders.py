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

import unittest

from osc_gpu.guest import orders
from osc_gpu.guest import systems


UBUNTU = systems.parse('ubuntu-24.04')
ROCKY = systems.parse('rocky-9')


class TestValues(unittest.TestCase):
    def test_versions(self):
        for text in ('570', '570.86', '570.86.15', '6.4.1'):
            self.assertEqual(text, orders.check_version(text))
        for text in (
            '',
            '570.',
            'v570',
            '570 ',
            "5';reboot;'",
            '5\n6',
            '$(5)',
        ):
            with self.assertRaisesRegex(ValueError, 'not a version'):
                orders.check_version(text)

    def test_cuda(self):
        self.assertEqual('12.9', orders.check_cuda('12.9'))
        for text in ('', '12', '12.9.1', '12-9', '12.9\n', '12.x'):
            with self.assertRaisesRegex(ValueError, 'not a version of CUDA'):
                orders.check_cuda(text)

    def test_urls(self):
        for text in (
            'https://example.org/a.run',
            'http://user:pass@[::1]:8080/a.deb?x=$(id)&y=`z`',
            "https://h/a'b.rpm",
        ):
            self.assertEqual(text, orders.check_url(text))
        for text in (
            '',
            'ftp://h/a',
            'file:///etc/passwd',
            'https://',
            'https:///a',
            'https://h:port/',
            'https://h:99999/',
            'https://h/a b',
            'https://h/a\nb',
            'https://h/\u200b',
            '-o/etc/passwd',
        ):
            with self.assertRaises(ValueError) as caught:
                orders.check_url(text)
            self.assertIn('https://', str(caught.exception))

    def test_a_password_in_a_url_is_not_repeated(self):
        with self.assertRaises(ValueError) as caught:
            orders.check_url('https://u:secret@h/a b')
        self.assertNotIn('secret', str(caught.exception))


class TestSecrets(unittest.TestCase):
    def test_kept_files(self):
        for url, words in (
            ('https://me:top@h/x.run', 'has a user or a password in it'),
            ('https://top@h/x.run', 'a user or a password'),
            ('https://:top@h/x.run', 'a user or a password'),
            ('https://h/x.run?token=top', 'a query or a fragment'),
            ('https://h/x.run?', 'a query or a fragment'),
            ('https://h/x.run#top', 'a query or a fragment'),
        ):
            for option, more in (
                ('--driver-url', {'url': url}),
                ('--report-url', {'report_url': url}),
            ):
                with self.assertRaises(ValueError) as caught:
                    orders.refuse_secrets(
                        orders.Order('nvidia', **more), 'a note'
                    )
                said = str(caught.exception)
                self.assertTrue(said.startswith(f'{option} has '), said)
                self.assertIn(words, said)
                self.assertIn('a note is a file that is kept', said)
                self.assertNotIn('top', said)
        with self.assertRaisesRegex(ValueError, 'comes with each server'):
            orders.refuse_secrets(orders.Order('nvidia', token='t'), 'it')

    def test_no_secret(self):
        orders.refuse_secrets(
            orders.Order('nvidia', url='https://h:8/@/x.run'), 'it'
        )


class TestComplete(unittest.TestCase):
    def complete(self, order, found=None):
        return orders.complete(order, lambda: found)

    def refused(self, words, *argv, found=None, **more):
        with self.assertRaises(ValueError) as caught:
            self.complete(orders.Order(*argv, **more), found)
        self.assertIn(words, str(caught.exception))

    def test_the_image_says_it(self):
        order = self.complete(orders.Order('nvidia'), UBUNTU)
        self.assertEqual(UBUNTU, order.system)
        order = self.complete(orders.Order('nvidia', ROCKY), UBUNTU)
        self.assertEqual(ROCKY, order.system)

    def test_nothing_is_installed(self):
        order = orders.Order(report_url='https://h', workload='smoke')
        self.assertEqual(order, self.complete(order))

    def test_driver_of_the_image(self):
        order = orders.Order('nvidia-vgpu', token='t')
        self.assertFalse(order.installs)
        self.assertEqual(order, orders.complete(order, self.fail))

    def test_unknown_system(self):
        self.refused('--guest-os, of ubuntu-22.04', 'amdgpu')

    def test_it_is_not_asked_for_nothing(self):
        order = orders.Order('amdgpu', cuda='12.9')
        with self.assertRaisesRegex(ValueError, "for NVIDIA's drivers"):
            orders.complete(order, self.fail)

    def test_what_makes_no_sense(self):
        url = 'https://h/a.run'
        vgpu = {'url': url, 'system': UBUNTU}
        for words, driver, more in (
            ('need a --driver', 'none', {'version': '570'}),
            ('need a --driver', 'none', {'cuda': '12.9'}),
            ('need a --driver', 'none', {'url': url}),
            ('driver in the image', 'nvidia-vgpu', {'cuda': '12.9'}),
            ('driver in the image', 'nvidia-vgpu', {'version': '550'}),
            ('version of its own', 'nvidia-vgpu', {**vgpu, 'version': '570'}),
            ("for NVIDIA's", 'amdgpu', {'url': url}),
            ('need --driver nvidia-vgpu', 'nvidia', {'token': 't'}),
            ('need --driver nvidia-vgpu', 'none', {'feature': 'vws'}),
            ('needs --license-token', 'nvidia-vgpu',
             {**vgpu, 'feature': 'vws'}),
        ):  # fmt: skip
            self.refused(words, driver, found=UBUNTU, **more)

    def test_installers(self):
        for system, right, wrong in (
            (UBUNTU, ('run', 'deb'), ('rpm',)),
            (ROCKY, ('run', 'rpm'), ('deb',)),
        ):
            for end in right:
                url = f'https://h/driver.{end}?token=x.rpm'
                self.complete(orders.Order('nvidia', url=url), system)
            for end in wrong:
                url = f'https://h/driver.{end}'
                self.refused(str(system), 'nvidia-vgpu', url=url, found=system)

    def test_what_installs_nowhere(self):
        for end in ('.zip', '.exe', '', '.run/', '.RUN'):
            url = f'https://h/driver{end}'
            self.refused('for any system', 'nvidia', url=url, found=UBUNTU)

    def test_secrets_are_not_shown(self):
        shown = repr(
            orders.Order(
                token='top', url='https://u:top@h', report_url='https://top'
            )
        )
        self.assertNotIn('top', shown)
