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

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import yaml

from osc_gpu.guest import image_recipe
from osc_gpu.guest import orders
from osc_gpu.guest import systems
from osc_gpu.guest import user_data

KERNEL = '6.1.0-42-cloud'
#: A URL with all that a shell could take for its own.
HOSTILE = (
    "https://h/'$(touch${IFS}pwned)'`touch${IFS}pwned`\"&END;/@BUILD@/x.run"
)

#: What the programs of a system do in a throw-away folder: they write down
#: what they are asked for.
_STAND_IN = """#!/bin/bash
printf '%s' "${0##*/}" >> "$OSC_GPU_ROOT/log"
printf ' %q' "$@" >> "$OSC_GPU_ROOT/log"
echo >> "$OSC_GPU_ROOT/log"
case ${0##*/} in
curl)
    while [ $# -gt 0 ]; do
        [ "$1" != --output ] || echo 'echo "run $*" >> "$OSC_GPU_ROOT/log"' \
            > "$2"
        shift
    done
    cat > "$OSC_GPU_ROOT/curl-config" < /dev/null
    ;;
findmnt)
    case $* in
    *FSTYPE*) echo "${FSTYPE:-ext4}" ;;
    *) echo /dev/sdb3 ;;
    esac
    ;;
lsblk) echo sdb ;;
modinfo) [ -n "$MODULE" ] && echo "/lib/modules/$MODULE" ;;
esac
"""
_PROGRAMS = (
    'curl', 'dkms', 'findmnt', 'growpart', 'lsblk', 'modinfo', 'resize2fs',
    'subscription-manager', 'xfs_growfs', 'systemctl', 'modprobe',
)  # fmt: skip
_OF_FAMILY = {
    'apt': ('apt-get', 'dpkg', 'update-initramfs'),
    'dnf': ('dnf', 'dracut', 'rpm'),
}
#: Programs that a build may have from where the tests run.
_REAL = (
    'bash', 'sh', 'cat', 'cut', 'find', 'sort', 'tail', 'mkdir', 'rm', 'sed',
    'uname', 'sleep', 'grep', 'awk', 'env', 'head', 'touch', 'chmod', 'mv',
    'mktemp', 'nproc', 'tr',
)  # fmt: skip


def order(driver='none', system='ubuntu-24.04', **more):
    if driver == 'nvidia-vgpu':
        more.setdefault('url', 'https://h/NVIDIA-Linux-grid.run')
    return orders.Order(driver, systems.parse(system), **more)


def inner(text):
    """Return what runs in the image."""
    return text.split("<< 'END-OF-BUILD'\n")[1].split('\nEND-OF-BUILD\n')[0]


class TestCase(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.maxDiff = None
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.programs = self.folder / 'programs'
        self.root = self.folder / 'root'
        self.programs.mkdir()
        self.stand_in(*_PROGRAMS)
        for name in _REAL:
            (self.programs / name).symlink_to(shutil.which(name))

    def stand_in(self, *names, text=_STAND_IN):
        for name in names:
            path = self.programs / name
            path.write_text(text)
            path.chmod(0o755)

    def make_root(self, system, version=None):
        """Make what an image of a system has, as far as it is looked at."""
        found = systems.parse(system)
        for name in (
            'etc/apt/sources.list.d', 'etc/yum.repos.d', 'etc/profile.d',
            'var/lib', f'lib/modules/{KERNEL}', 'lib/modules/5.9.9-9-cloud',
            'sys/class/block/sdb3', 'var/lib/apt/lists/x',
        ):  # fmt: skip
            (self.root / name).mkdir(parents=True)
        (self.root / 'sys/class/block/sdb3/partition').write_text('3\n')
        (self.root / 'etc/os-release').write_text(
            f'ID="{found.distro}"\nVERSION_ID="{version or found.version}"\n'
        )
        self.stand_in(*_OF_FAMILY[found.family])

    def run_bash(self, text, *argv, **env):
        return subprocess.run(
            [str(self.programs / 'bash'), '-s', '--', *argv],
            input=text,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={
                'PATH': str(self.programs),
                'TMPDIR': str(self.folder),
                'OSC_GPU_ROOT': str(self.root),
                'OSC_GPU_PAUSE': '0',
                'MODULE': f'{KERNEL}/updates/dkms/x.ko',
                **env,
            },
        )

    def build(self, one, tool='virt-customize', status=0, **env):
        """Run what a recipe does in an image; return what it asked for."""
        if not self.root.exists():
            self.make_root(str(one.system))
        done = self.run_bash(inner(image_recipe.text(tool, one)), **env)
        self.assertEqual(status, done.returncode, done)
        self.assertNotIn('not found', done.stderr)
        return (self.root / 'log').read_text(), done


class TestText(unittest.TestCase):
    def every(self):
        for tool in image_recipe.TOOLS:
            for system in systems.SYSTEMS:
                for driver in orders.DRIVERS:
                    one = order(driver, str(system))
                    yield tool, one, image_recipe.text(tool, one)

    def test_nothing_is_left_open(self):
        for tool, one, text in self.every():
            with self.subTest(tool=tool, order=one):
                self.assertNotRegex(text, '@[A-Z]+@')
                self.assertNotRegex(text, '[ \t]\n')
                self.assertNotIn('\n\n\n', text)
                self.assertTrue(text.endswith('\n'))
                self.assertTrue(text.isascii())

    def test_bash_and_shellcheck(self):
        # Of drivers and versions there is nothing but values in it.
        one = dict(url=HOSTILE, version='', cuda='12.9')
        texts = {
            f'{tool}-{system}': image_recipe.text(
                tool, order('nvidia-vgpu', system, **one)
            )
            for tool in image_recipe.TOOLS
            for system in ('debian-13', 'rhel-8', 'rocky-9')
        }
        shellcheck = pathlib.Path(sys.executable).with_name('shellcheck')
        with tempfile.TemporaryDirectory() as name:
            files = []
            for stem, text in texts.items():
                for part, content in (('', text), ('-inner', inner(text))):
                    path = pathlib.Path(name, f'{stem}{part}.sh')
                    path.write_text(content)
                    files.append(str(path))
            for path in files:
                subprocess.run(['bash', '-n', path], check=True)
            done = subprocess.run(
                [str(shellcheck), '--shell', 'bash', *files],
                capture_output=True,
                text=True,
            )
        self.assertEqual((0, ''), (done.returncode, done.stdout))

    def test_the_words_that_are_told(self):
        text = image_recipe.text('virt-customize', order('nvidia'))
        self.assertIn(
            'bash ubuntu-24.04-gpu.sh <base image> ubuntu-24.04-gpu.qcow2',
            text,
        )
        self.assertIn('--network <network> --driver nvidia --verify\n', text)
        self.assertNotIn('selinux', text)
        text = image_recipe.text('virt-customize', order('none', 'rhel-9'))
        self.assertIn('--sm-credentials <user>:file:<file>', text)
        self.assertIn(
            '    --sm-register \\\n'
            '    --upload "$folder/build:/root/osc-gpu-build" \\\n'
            "    --run-command 'bash /root/osc-gpu-build' \\\n"
            '    --delete /root/osc-gpu-build \\\n'
            '    --sm-unregister \\\n'
            '    --selinux-relabel\n',
            text,
        )
        text = image_recipe.text(
            'diskimage-builder', order('nvidia-vgpu', 'rocky-9')
        )
        self.assertIn('its token comes with each server', text)
        self.assertIn('--license-token <file> --verify\n', text)
        self.assertIn('DIB_CONTAINERFILE_RUNTIME=docker', text)
        self.assertIn('export DIB_RELEASE=9\n', text)
        self.assertIn(
            'elements=(vm block-device-efi rocky-container cloud-init '
            'cloud-init-datasources cloud-init-growpart dhcp-all-interfaces '
            'openssh-server osc-gpu)',
            text,
        )
        text = image_recipe.text('diskimage-builder', order('none', 'rhel-8'))
        self.assertIn('DIB_LOCAL_IMAGE', text)

    def test_refused(self):
        for one, words in (
            (orders.Order(), '--guest-os'),
            (order('nvidia-vgpu', url='https://u@h/x.run'), 'is kept'),
            (order('nvidia-vgpu', url='https://:p@h/x.run'), 'is kept'),
            (order('nvidia-vgpu', token='t.o.p'), 'with each server'),
        ):
            with self.assertRaisesRegex(ValueError, words) as caught:
                image_recipe.text('virt-customize', one)
            self.assertNotIn('t.o.p', str(caught.exception))


class TestBuild(TestCase):
    """What is done in an image, in a folder, with programs that note it."""

    def test_every_system_and_driver(self):
        each = [(str(system), 'nvidia') for system in systems.SYSTEMS]
        for driver in orders.DRIVERS:
            each += [('debian-12', driver), ('almalinux-8', driver)]
        for name, driver in dict.fromkeys(each):
            with self.subTest(system=name, driver=driver):
                shutil.rmtree(self.root, ignore_errors=True)
                for program in sum(_OF_FAMILY.values(), ()):
                    (self.programs / program).unlink(missing_ok=True)
                log, done = self.build(order(driver, name))
                self.check_build(systems.parse(name), driver, log)
                self.assertIn('osc-gpu: tidy up', done.stdout)

    def check_build(self, system, driver, log):
        # Headers of the image's newest kernel, not of the one that runs.
        for package in ('dkms', 'gcc', 'make', 'pciutils'):
            self.assertIn(f' {package} ', log)
        headers = {'apt': 'linux-headers', 'dnf': 'kernel-devel'}
        self.assertIn(f' {headers[system.family]}-{KERNEL}', log)
        self.assertEqual(driver != 'none', 'dkms autoinstall' in log)
        initramfs = {
            'apt': f'update-initramfs -u -k {KERNEL}',
            'dnf': f'dracut --force --no-hostonly --kver {KERNEL}',
        }
        self.assertIn(initramfs[system.family], log)
        nouveau = self.root / 'etc/modprobe.d/osc-gpu-nouveau.conf'
        self.assertEqual(driver != 'amdgpu', nouveau.exists())
        for word, drivers in (
            ('cuda-drivers', ('nvidia',)),
            ('nvidia-open', ('nvidia-open',)),
            ('amdgpu-dkms', ('amdgpu',)),
            (f'--kernel-name={KERNEL}', ('nvidia-vgpu',)),
        ):
            self.assertEqual(driver in drivers, word in log, (word, log))
        if driver != 'none':
            module = 'amdgpu' if driver == 'amdgpu' else 'nvidia'
            self.assertIn(f'modinfo -k {KERNEL} -F filename {module}\n', log)
        if system.distro == 'rhel':
            self.assertIn(f'codeready-builder-for-rhel-{system.version}', log)
        # The machine that builds stays as it is, and the image is clean.
        for word in ('modprobe', 'systemctl'):
            self.assertNotIn(f'{word} ', log)
        self.assertFalse((self.root / 'var/lib/osc-gpu').exists())
        note = self.root / 'etc/osc-gpu/image'
        if driver == 'none':
            self.assertFalse(note.exists())
        else:
            self.assertEqual(driver, note.read_text().strip())

    def test_room(self):
        for fstype, words in (
            ('ext4', 'resize2fs /dev/sdb3'),
            ('xfs', 'xfs_growfs /'),
        ):
            shutil.rmtree(self.root, ignore_errors=True)
            log, _done = self.build(order(), FSTYPE=fstype)
            self.assertIn('growpart /dev/sdb 3\n', log)
            self.assertIn(words, log)
        shutil.rmtree(self.root)
        log, _done = self.build(order(), 'diskimage-builder')
        self.assertNotIn('growpart', log)

    def test_root_on_something_else(self):
        self.make_root('ubuntu-24.04')
        (self.root / 'sys/class/block/sdb3/partition').unlink()
        _log, done = self.build(order(), status=1)
        self.assertIn('room for it: failed', done.stderr)
        self.assertIn('is no partition', done.stdout)

    def test_minor_release(self):
        self.make_root('rocky-9', '9.4')
        self.build(order('amdgpu', 'rocky-9'))
        found = (self.root / 'etc/yum.repos.d/osc-gpu-rocm.repo').read_text()
        self.assertIn('/el/9.4/', found)

    def test_another_system(self):
        self.make_root('debian-12')
        (self.root / 'log').touch()
        log, done = self.build(order(system='debian-13'), status=1)
        self.assertEqual('', log)
        self.assertIn('this is debian-12', done.stdout)

    def test_no_kernel(self):
        self.make_root('debian-12')
        shutil.rmtree(self.root / 'lib/modules')
        (self.root / 'lib/modules').mkdir()
        (self.root / 'log').touch()
        _log, done = self.build(order(system='debian-12'), status=1)
        self.assertIn('there is no kernel', done.stdout)

    def test_module_is_not_built(self):
        _log, done = self.build(order('nvidia'), status=1, MODULE='')
        self.assertIn("module for the image's kernel: failed", done.stderr)

    def test_module_is_the_distributions(self):
        _log, done = self.build(
            order('amdgpu', 'rocky-9'),
            status=1,
            MODULE=f'{KERNEL}/kernel/drivers/gpu/drm/amd/amdgpu/amdgpu.ko.xz',
        )
        self.assertIn("still the distribution's own", done.stdout)

    def test_packages_cannot_be_had(self):
        self.make_root('debian-12')
        self.stand_in('apt-get', text='#!/bin/bash\nexit 1\n')
        (self.root / 'log').touch()
        _log, done = self.build(order(system='debian-12'), status=1)
        self.assertIn('kernel headers and compiler: failed', done.stderr)

    def test_cuda_and_version(self):
        log, _done = self.build(
            order('nvidia-open', version='570.86', cuda='12.9')
        )
        self.assertIn('cuda-toolkit-12-9', log)
        pin = self.root / 'etc/apt/preferences.d/osc-gpu-driver'
        self.assertIn('Pin: version 570.86.*', pin.read_text())

    def test_hostile_url(self):
        for tool in image_recipe.TOOLS:
            shutil.rmtree(self.root, ignore_errors=True)
            text = image_recipe.text(tool, order('nvidia-vgpu', url=HOSTILE))
            # Once, where it is quoted.
            self.assertEqual(1, text.count('pwned)'))
            self.build(order('nvidia-vgpu', url=HOSTILE), tool)
            self.assertEqual([], list(self.folder.rglob('pwned*')))


class TestFirstBoot(TestCase):
    """A server from such an image installs nothing that it has."""

    def boot(self, note, **more):
        """Boot with a note in the image; return what was asked for."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.make_root('rocky-9')
        if note:
            (self.root / 'etc/osc-gpu').mkdir()
            (self.root / 'etc/osc-gpu/image').write_text(note)
        report = self.root / 'usr/local/sbin/osc-gpu-report'
        report.parent.mkdir(parents=True)
        report.write_text('#!/bin/bash\n')
        report.chmod(0o755)
        (self.root / 'var/log').mkdir()
        one = order('nvidia-vgpu', 'rocky-9', token='t.o.p', **more)
        (part,) = user_data.parts(one)
        for file in yaml.safe_load(part.text)['write_files']:
            if file['path'].endswith(('/settings', '/osc-gpu-setup')):
                path = self.root / file['path'][1:]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(file['content'])
        self.stand_in('nvidia-smi', text='#!/bin/bash\necho Licensed\n')
        setup = self.root / 'usr/local/sbin/osc-gpu-setup'
        done = self.run_bash(setup.read_text())
        self.assertEqual(0, done.returncode, done)
        return (self.root / 'log').read_text()

    def test_driver_is_there(self):
        log = self.boot('nvidia-vgpu \n')
        self.assertNotIn('dnf', log)
        self.assertNotIn('curl', log)
        self.assertIn('modprobe nvidia\n', log)
        # The licence came with the server.
        self.assertIn('systemctl restart nvidia-gridd\n', log)
        log = self.boot('nvidia-vgpu 12.9\n', cuda='12.9')
        self.assertNotIn('dnf', log)

    def test_something_else_is_there(self):
        for note, more in (
            ('', {}),
            ('nvidia \n', {}),
            ('nvidia-vgpu \n', {'cuda': '12.9'}),
            ('nvidia-vgpu 12.8\n', {'cuda': '12.9'}),
        ):
            with self.subTest(note):
                log = self.boot(note, **more)
                self.assertIn('dnf --assumeyes --quiet install dkms', log)


class TestTools(TestCase):
    """What a recipe asks the tools for, and what it leaves behind."""

    def run_recipe(self, tool, one, *argv, **env):
        self.make_root(str(one.system))
        return self.run_bash(image_recipe.text(tool, one), *argv, **env)

    def names(self):
        found = {path.name for path in self.folder.iterdir()}
        return found - {'programs', 'root'}

    def test_virt_customize(self):
        self.stand_in(
            'qemu-img',
            text=_STAND_IN + 'case $1 in convert) cp -- "$4" "$5"; esac\n',
        )
        (self.programs / 'cp').symlink_to(shutil.which('cp'))
        self.stand_in(
            'virt-customize',
            text=_STAND_IN
            + 'while [ "$1" != --upload ]; do shift; done; bash "${2%:*}"\n',
        )
        (self.folder / "base 'x.qcow2").write_text('disk')
        one = order('nvidia', 'rocky-9')
        done = self.run_recipe(
            'virt-customize', one, "base 'x.qcow2", 'new $(id).qcow2',
            '--sm-credentials', 'me:file:x',
        )  # fmt: skip
        self.assertEqual(0, done.returncode, done)
        log = (self.root / 'log').read_text()
        self.assertIn(
            "qemu-img convert -O qcow2 base\\ \\'x.qcow2 "
            'new\\ \\$\\(id\\).qcow2.part\n'
            'qemu-img resize -f qcow2 new\\ \\$\\(id\\).qcow2.part +20G\n'
            # It takes the format only before the image.
            'virt-customize --format qcow2 --add '
            'new\\ \\$\\(id\\).qcow2.part --memsize 4096 --smp ',
            log,
        )
        self.assertRegex(
            log,
            '--smp [0-9]+ --sm-credentials me:file:x '
            '--upload [^ ]*/build:/root/osc-gpu-build --run-command '
            r'bash\\ /root/osc-gpu-build --delete /root/osc-gpu-build '
            '--selinux-relabel\n',
        )
        self.assertIn(f'dkms autoinstall -k {KERNEL}', log)
        self.assertEqual({"base 'x.qcow2", 'new $(id).qcow2'}, self.names())
        # Neither is overwritten.
        again = self.run_bash(
            image_recipe.text('virt-customize', one),
            "base 'x.qcow2", 'new $(id).qcow2',
        )  # fmt: skip
        self.assertEqual(1, again.returncode)
        self.assertEqual('new $(id).qcow2 exists already\n', again.stderr)

    def test_virt_customize_fails(self):
        self.stand_in('qemu-img', text='#!/bin/bash\ntouch "${!#}"\n')
        self.stand_in('virt-customize', text='#!/bin/bash\nexit 3\n')
        done = self.run_recipe('virt-customize', order(), 'base', 'new')
        self.assertEqual(3, done.returncode)
        self.assertEqual(set(), {n for n in self.names() if 'new' in n})

    def test_diskimage_builder(self):
        self.stand_in(
            'disk-image-create',
            text=_STAND_IN + 'env | grep -E "^(DIB|ELEMENTS)_" | sort '
            '>> "$OSC_GPU_ROOT/log"\n'
            'bash "${ELEMENTS_PATH%%:*}/osc-gpu/post-install.d/60-osc-gpu"\n',
        )
        done = self.run_recipe(
            'diskimage-builder', order('amdgpu', 'debian-13'), 'x y.qcow2',
            '--no-tmpfs', 'my-element', ELEMENTS_PATH='/mine',
        )  # fmt: skip
        self.assertEqual(0, done.returncode, done)
        log = (self.root / 'log').read_text()
        self.assertIn(
            'disk-image-create -t qcow2 -o x\\ y --no-tmpfs my-element vm '
            'block-device-efi debian osc-gpu\n'
            'DIB_CLOUD_INIT_DATASOURCES=OpenStack\n'
            'DIB_DEBIAN_COMPONENTS=main,contrib\n'
            'DIB_RELEASE=trixie\n',
            log,
        )
        self.assertRegex(log, 'ELEMENTS_PATH=[^ :]+:/mine\n')
        self.assertIn('amdgpu-dkms', log)
        self.assertEqual(set(), self.names())

    def test_usage(self):
        for tool in image_recipe.TOOLS:
            done = self.run_bash(image_recipe.text(tool, order()))
            self.assertEqual(2, done.returncode)
            self.assertRegex(done.stderr, '^usage: bash .* <new image>')

    def test_functions_are_those_of_the_first_boot(self):
        text = image_recipe.text('virt-customize', order())
        for name in ('fetch', 'patiently', 'is_the_system', 'cuda'):
            found = re.findall(rf'^{name}\(\) ', text, re.M)
            self.assertEqual(1, len(found), name)
