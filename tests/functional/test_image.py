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


import json
import shlex
import subprocess
import tempfile

from osc_gpu.cloud import image_properties
from osc_gpu.sandbox import furnish
from osc_gpu.sandbox import releases
from tests.functional import shells

#: What Nova itself takes, as JSON: the values of each property, and whether
#: it has the others.
_ORACLE = """
import json, sys
from nova import objects
objects.register_all()
fields = objects.image_meta.ImageMetaProps.fields
names = json.loads(sys.argv[1])
print(json.dumps({
    name: sorted(getattr(fields[name], 'valid_values', ()))
    for name in names if name in fields
}))
"""

EVERY = {
    'hw_machine_type': 'q35',
    'hw_firmware_type': 'uefi',
    'os_secure_boot': 'disabled',
    'hw_video_model': 'none',
    'hw_pci_numa_affinity_policy': 'preferred',
    'img_hide_hypervisor_id': 'true',
    'os_distro': 'ubuntu',
    'os_version': '24.04',
    'os_type': 'linux',
}


class TestCase(shells.TestCase):
    def make_image(self, *options, name='image', user='member'):
        """Upload a small image; return its name."""
        name = self.name(name)
        with tempfile.NamedTemporaryFile() as content:
            furnish.write_qcow2(content, 1 << 20)
            content.flush()
            self.ok(
                'image', 'create', name, '--file', content.name,
                '--disk-format', 'qcow2', '--container-format', 'bare',
                *options, user=user,
            )  # fmt: skip
        self.addCleanup(self.admin.image.delete_image, self.image(name)['id'])
        return name

    def image(self, name):
        """Return an image as Glance's API has it."""
        response = self.admin.image.get(
            '/images', params={'name': f'eq:{name}', 'visibility': 'all'}
        )
        (found,) = response.json()['images']
        return found

    def check(self, *argv, status=0, user='member'):
        """Return the severity, check and repair of what is found."""
        result = self.openstack(
            'gpu', 'image', 'check', *argv, '-f', 'json', user=user
        )
        self.assertEqual((status, ''), (result.status, result.stderr))
        return [(f['Severity'], f['Check'], f['Repair']) for f in result.json]

    def launch(self, image, flavor):
        """Return the words that make a server, to be taken away again."""
        name = self.name('server')
        self.addCleanup(self.forget_servers, name)
        return (
            'gpu', 'server', 'create', name, '--flavor', flavor,
            '--image', image, '--network', 'private', '--wait',
        )  # fmt: skip


class TestSetImage(TestCase):
    def test_a_server_of_all_that_can_be_set(self):
        image = self.make_image()
        before = self.image(image)
        argv = (
            'gpu', 'image', 'set', image, '--recommended',
            '--firmware-type', 'uefi', '--secure-boot', 'disabled',
            '--video-model', 'none', '--numa-policy', 'preferred',
            '--hide-hypervisor', '--guest-os', 'ubuntu-24.04',
        )  # fmt: skip
        said = self.ok(*argv, user='member')
        self.assertEqual('', said.stdout)
        self.assertIn('EFI system partition', said.stderr)
        stored = self.image(image)
        self.assertEqual(EVERY, {key: stored[key] for key in EVERY})
        # Nothing else is touched, and nothing the second time.
        changed = {key for key in stored if stored[key] != before.get(key)}
        self.assertEqual({*EVERY}, changed - {'updated_at'})
        again = self.ok(*argv, user='member')
        self.assertEqual('', again.stderr)
        self.assertEqual(stored, self.image(image))
        # What is left is advice.
        found = self.check(image, '--driver', 'nvidia')
        self.assertEqual(
            [('info', 'hide-hypervisor')], [item[:2] for item in found]
        )

        flavor = self.make_flavor('--alias', 'a100')
        server = self.table(*self.launch(image, flavor), user='member')
        self.assertEqual('ACTIVE', server['status'])
        self.assertEqual(1, len(self.guest(server['id'])['devices']))

    def test_by_an_admin(self):
        image = self.make_image()
        self.ok('gpu', 'image', 'set', self.image(image)['id'],
                '--machine-type', 'q35')  # fmt: skip
        self.assertEqual('q35', self.image(image)['hw_machine_type'])

    def test_image_of_others(self):
        before = self.image('cirros')
        line = self.fails(
            'gpu', 'image', 'set', 'cirros', '--machine-type', 'pc-q35-9.0',
            user='member',
        )  # fmt: skip
        self.assertIn('Image cirros is not changed: only its owner', line)
        self.assertEqual(before, self.image('cirros'))
        # But its faults can be seen.
        self.check('cirros')

    def test_what_would_break(self):
        image = self.make_image('--property', 'hw_disk_bus=ide')
        line = self.fails(
            'gpu', 'image', 'set', image, '--recommended', user='member'
        )
        self.assertIn('hw_disk_bus is ide, which q35 has not', line)
        self.assertNotIn('hw_machine_type', self.image(image))


class TestCheckImage(TestCase):
    def test_what_nova_refuses(self):
        """Each error is one to Nova too, and its repair mends it."""
        image = self.make_image()
        plain = self.make_flavor('--alias', 'a100')
        numa = self.make_flavor('--alias', 'a100', '--numa-policy', 'required')
        secure = self.make_flavor(
            '--alias', 'a100', '--property', 'os:secure_boot=disabled'
        )
        wide = self.make_flavor(
            '--alias', 'a100', '--property', 'hw:maxphysaddr_mode=passthrough'
        )
        for flavor, check, words, properties in (
            (
                plain,
                'unknown-value',
                'Field value UEFI is invalid',
                {'hw_firmware_type': 'UEFI'},
            ),
            (
                plain,
                'unknown-value',
                "Architecture name 'pdp11' is not valid",
                {'architecture': 'pdp11'},
            ),
            (
                numa,
                'conflict',
                "'hw_pci_numa_affinity_policy' is not permitted",
                {'hw_pci_numa_affinity_policy': 'legacy'},
            ),
            (
                secure,
                'conflict',
                'conflicting with image',
                {'os_secure_boot': 'required'},
            ),
            (
                wide,
                'conflict',
                'conflicting with image',
                {'hw_maxphysaddr_mode': 'emulate'},
            ),
            (
                plain,
                'machine-type',
                'Exceeded maximum number of retries',
                {
                    'hw_machine_type': 'pc',
                    'hw_firmware_type': 'uefi',
                    'os_secure_boot': 'required',
                },
            ),
        ):
            with self.subTest(properties):
                self.set_properties(image, properties)
                line = self.fails(*self.launch(image, flavor), user='member')
                self.assertIn(words, line)
                found = self.check(image, '--flavor', flavor, status=1)
                errors = [item for item in found if item[0] == 'error']
                self.assertEqual([check], [item[1] for item in errors])

                self.ok(*shlex.split(errors[0][2])[1:], user='member')
                self.check(image, '--flavor', flavor)
                if check == 'machine-type':
                    server = self.table(
                        *self.launch(image, flavor), user='member'
                    )
                    self.assertEqual('ACTIVE', server['status'])
                self.unset(image, *properties)

    def set_properties(self, image, properties):
        words = [
            word
            for key, value in properties.items()
            for word in ('--property', f'{key}={value}')
        ]
        self.ok('image', 'set', *words, image, user='member')

    def unset(self, image, *properties):
        stored = self.image(image)
        words = [
            word
            for key in properties
            if key in stored
            for word in ('--property', key)
        ]
        if words:
            self.ok('image', 'unset', *words, image, user='member')

    def test_sizes(self):
        flavor = self.make_flavor('--alias', 'a100')
        image = self.make_image('--min-ram', '1025', '--min-disk', '2')
        found = self.check(image, '--flavor', flavor, status=1)
        self.assertEqual(
            ['min-disk', 'min-ram'],
            [check for severity, check, _r in found if severity == 'error'],
        )
        line = self.fails(*self.launch(image, flavor), user='member')
        self.assertIn('memory is too small', line)
        self.ok('image', 'set', '--min-ram', '1024', image, user='member')
        line = self.fails(*self.launch(image, flavor), user='member')
        self.assertIn('disk is smaller than the minimum size', line)

    def test_repairs_can_be_typed(self):
        image = self.make_image(
            '--property', 'hw_machine_type=pc',
            '--property', 'img_hide_hypervisor_id=ja',
            '--property', 'hw_video_model=xen',
            '--property', 'os_secure_boot=required',
            '--property', 'hw_mem_encryption=true',
            '--property', 'os_distro=rocky',
            '--property', 'os_version=9',
            '--property', 'os_type=windows',
            name='an image; $(id)',
        )  # fmt: skip
        argv = ('gpu', 'image', 'check', image, '--driver', 'nvidia')
        typed = []
        while True:
            found = self.openstack(*argv, '-f', 'json', user='member').json
            repairs = [f['Repair'] for f in found if f['Repair']]
            # None brings back what another one has mended.
            self.assertFalse(set(repairs[:1]) & set(typed), typed)
            if not repairs:
                break
            typed += repairs[:1]
            self.ok(*shlex.split(repairs[0])[1:], user='member')
        self.assertEqual([], found)
        self.assertLess(5, len(typed))

    def test_names_of_all_kinds(self):
        for stem in (
            'a:b',
            'eq:a',
            'in:"x","y"',
            'a&b=c',
            "it's",
            'ä',
            '../x',
        ):
            with self.subTest(stem):
                image = self.make_image('--property', 'os_type=bsd', name=stem)
                for name in (image, self.image(image)['id']):
                    found = self.check(name, status=1)
                    self.assertIn('error', [item[0] for item in found])

    def test_hidden_and_twins(self):
        image = self.make_image('--property', 'os_type=bsd')
        found = self.image(image)
        self.admin.image.patch(
            f'/images/{found["id"]}',
            json=[{'op': 'replace', 'path': '/os_hidden', 'value': True}],
            headers={
                'Content-Type': 'application/openstack-images-v2.1-json-patch'
            },
        )
        self.check(image, status=1)
        line = self.fails('gpu', 'image', 'check', self.name('none'))
        self.assertIn('could not be found', line)

    def test_all(self):
        image = self.make_image('--property', 'os_type=bsd')
        for user in ('member', 'admin'):
            result = self.openstack(
                'gpu', 'image', 'check', '-f', 'json', user=user
            )
            self.assertEqual((1, ''), (result.status, result.stderr))
            self.assertIn(
                (image, 'error', 'unknown-value'),
                [
                    (f['Subject'], f['Severity'], f['Check'])
                    for f in result.json
                ],
            )
            self.assertNotIn('info', [f['Severity'] for f in result.json])


class TestNova(TestCase):
    def test_names_and_values(self):
        """Nova's own code has the properties, and just these values."""
        place = releases.installation(self.spec.release)
        names = {*EVERY, *image_properties.VALUES} - {'os_version'}
        done = subprocess.run(
            [str(place.python), '-c', _ORACLE, json.dumps(sorted(names))],
            check=True,
            capture_output=True,
            text=True,
        )
        theirs = json.loads(done.stdout)
        self.assertEqual(names, theirs.keys())
        for key, values in image_properties.VALUES.items():
            self.assertEqual(sorted(values), theirs[key], key)
