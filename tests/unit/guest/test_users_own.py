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

"""The user's own user data beside ours, as cloud-init takes them apart."""

import base64
import gzip
import unittest

from osc_gpu.guest import orders
from osc_gpu.guest import systems
from osc_gpu.guest import user_data
from osc_gpu.sandbox import guest_data
from tests.unit.guest import machines

ORDER = orders.Order('nvidia', systems.parse('ubuntu-24.04'), cuda='12.8')
SCRIPT = b"""#!/bin/sh
echo 'it''s $(mine)' "x" `y`\r
exit 0"""
CONFIG = """#cloud-config
merge_how: list()+dict()+str()
packages: [htop]
write_files:
- path: /etc/mine
  content: |
    hello $(x) \u00e4
runcmd:
- echo mine > /etc/mine2
- [touch, "/a b"]
- exit 3
""".encode()
MIME = b"""From nobody Sat Jan  1 00:00:00 2026
Content-Type: multipart/mixed; boundary="===B"
MIME-Version: 1.0
Number-Attachments: 3

--===B
Content-Type: text/cloud-config; charset="us-ascii"
MIME-Version: 1.0
Content-Transfer-Encoding: 7bit
Content-Disposition: attachment; filename="a.yaml"
Merge-Type: list(append)+dict(recurse_list)+str()

#cloud-config
runcmd:
- echo one
--===B
Content-Type: text/x-shellscript; charset="us-ascii"
Content-Disposition: attachment; filename="b.sh"

#!/bin/sh
echo two\r
echo three

--===B
Content-Type: text/cloud-config
Content-Disposition: attachment; filename="c.yaml"

#cloud-config
runcmd:
- echo four
- echo five
write_files:
- {path: /x, content: y}
--===B--
"""
ARCHIVE = b"""#cloud-config-archive
- type: text/cloud-config
  content: |
    runcmd: [echo a]
- "#!/bin/sh\\necho b\\n"
- content: |
    #cloud-config
    runcmd: [echo c, echo d]
"""
USERS = {
    'script': SCRIPT,
    'config': CONFIG,
    'mime': MIME,
    'crlf': MIME.replace(b'\r', b'').replace(b'\n', b'\r\n'),
    'one part': b'Content-Type: text/x-shellscript; charset="utf-8"\n'
    b'MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n'
    + base64.encodebytes(SCRIPT),
    'packed script': gzip.compress(SCRIPT),
    'packed config': gzip.compress(CONFIG),
    'packed mime': gzip.compress(MIME),
    'archive': ARCHIVE,
    'boothook': b'#cloud-boothook\n#!/bin/sh\necho x\n',
    'handler': b'#part-handler\ndef list_types(): return []\n',
    'include': b'#include\nhttps://h/one\nhttps://h/two\n',
    'include once': b'#include-once\nhttps://h/one\n',
    'jinja': b'## template: jinja\n#cloud-config\n'
    b'runcmd:\n- echo {{ v1.local_hostname }}\n',
    'blank': b'\n\n  #cloud-config\nruncmd: [x]\n',
    'binary': bytes(range(256)),
    'nothing known': b'hello\n',
    'a script that writes mail': b'#!/bin/sh\ncat <<E\nMIME-Version: 1\nE\n',
}


def found(content):
    """Return what cloud-init finds; what it does not know has two names."""
    unknown = ('text/plain', 'text/x-not-multipart')
    return [
        ('unknown' if part.type in unknown else part.type, part.content)
        for part in guest_data.parts(content)
    ]


class TestUsersOwn(unittest.TestCase):
    def test_arrive_unchanged(self):
        for name, users in USERS.items():
            with self.subTest(name):
                both = found(user_data.pack(user_data.compose(ORDER, users)))
                alone = found(user_data.compose(ORDER))
                self.assertEqual(found(users), both[:-1])
                self.assertEqual(alone, both[-1:])

    def test_in_large(self):
        users = b'#!/bin/sh\n' + b'# a long script\n' * 5000
        content = user_data.pack(user_data.compose(ORDER, users))
        self.assertLess(len(content), user_data.MOST)
        self.assertEqual(('text/x-shellscript', users), found(content)[0])

    def test_config_has_both(self):
        for name, commands, files in (
            ('config', ['echo mine > /etc/mine2', ['touch', '/a b'],
                        'exit 3'], ['/etc/mine']),
            ('mime', ['echo four', 'echo five'], ['/x']),
            ('archive', ['echo c', 'echo d'], []),
            ('packed config', ['echo mine > /etc/mine2', ['touch', '/a b'],
                               'exit 3'], ['/etc/mine']),
        ):  # fmt: skip
            with self.subTest(name):
                content = user_data.compose(ORDER, USERS[name])
                config = guest_data.config(guest_data.parts(content))
                self.assertEqual((), config.ignored)
                # Ours come first: theirs may end the script.
                ours = ['systemctl', 'systemctl', 'systemctl']
                run = config.list('runcmd')
                self.assertEqual(ours, [words[0] for words in run[:3]])
                self.assertEqual(commands, run[3:])
                paths = [file['path'] for file in config.list('write_files')]
                self.assertEqual('/etc/osc-gpu/settings', paths[0])
                self.assertEqual(files, paths[4:])

    def test_what_would_shut_ours_out(self):
        for name, users in (
            ('runcmd', b'#cloud-config\nruncmd:\n# - nothing yet\n'),
            ('write_files', b'#cloud-config\nwrite_files:\n'),
            ('runcmd', b'#cloud-config\nruncmd: ls\n'),
            ('runcmd', gzip.compress(b'#cloud-config\nruncmd: ls\n')),
            ('runcmd', MIME.replace(b'- echo five\n', b'runcmd:\n')),
        ):
            with self.subTest(users):
                # cloud-init's merging would indeed.
                own = guest_data.config(guest_data.parts(users)).values
                self.assertNotIsInstance(own[name], list)
                with self.assertRaisesRegex(ValueError, f'^{name} in the'):
                    user_data.compose(ORDER, users)

    def test_mime_that_cannot_be_read(self):
        with self.assertRaisesRegex(ValueError, 'not UTF-8: byte 19'):
            user_data.compose(ORDER, b'MIME-Version: 1.0\n\xe4')


class TestOnDisk(machines.TestCase):
    def test_theirs_is_written_and_not_run(self):
        guest = self.guest('ubuntu-24.04', 'nvidia', users=CONFIG)
        result = guest.boot()
        self.assertEqual([], result.problems)
        self.assertEqual('hello $(x) \u00e4\n', guest.read('etc/mine'))
        self.assertEqual(
            (
                'packages',
                'runcmd echo mine > /etc/mine2',
                "runcmd ['touch', '/a b']",
                'runcmd exit 3',
            ),
            result.outcome.left,
        )
