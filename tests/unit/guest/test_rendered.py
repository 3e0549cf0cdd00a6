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

"""All that can be asked of a guest, as cloud-init and bash would read it."""

import itertools
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import jsonschema
import yaml

from osc_gpu.guest import orders
from osc_gpu.guest import systems
from osc_gpu.guest import user_data
from osc_gpu.sandbox import guest_disk
from tests.unit.guest import machines

SCHEMA = pathlib.Path(__file__).with_name('cloud_config_schema.json')
SHELLCHECK = pathlib.Path(sys.executable).with_name('shellcheck')
STAND_INS = pathlib.Path(guest_disk.__file__).with_name('stand_ins')


def every_order():
    """Yield every system with every driver, bare and with all it can have."""
    for system, driver in itertools.product(
        (None, *systems.SYSTEMS), orders.DRIVERS
    ):
        yield orders.Order(driver, system)
        is_nvidia = driver.startswith('nvidia')
        for url in ('', machines.RUN, machines.DEB) if is_nvidia else ('',):
            yield orders.Order(
                driver,
                system,
                cuda='12.9' if is_nvidia else '',
                url=url,
                version='' if url else '570.86.15',
                token=machines.TOKEN if url else '',
                workload='smoke',
                report_url='https://h/r',
            )


def config(order):
    (part,) = user_data.parts(order)
    # The fast one, where there is one.
    loader = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
    return yaml.load(part.text, loader)


def scripts():
    """Return name -> text of every script that a guest may get."""
    found = {
        f'{family}-setup': user_data._setup(orders.Order(system=system))
        for family, system in (
            ('none', None),
            ('apt', systems.parse('ubuntu-24.04')),
            ('dnf', systems.parse('rocky-9')),
        )
    }
    for name in ('report', 'workload'):
        found[name] = user_data.script(f'{name}.sh')
    return found


class TestConfig(unittest.TestCase):
    def test_is_valid(self):
        schema = json.loads(SCHEMA.read_text())
        jsonschema.Draft4Validator.check_schema(schema)
        validator = jsonschema.Draft4Validator(schema)
        for order in every_order():
            validator.validate(config(order))

    def test_schema_refuses(self):
        validator = jsonschema.Draft4Validator(json.loads(SCHEMA.read_text()))
        good = config(orders.Order())
        for bad in (
            good | {'runcmd': 'ls'},
            good | {'runcmd': [{}]},
            good | {'write_files': [{'content': 'x'}]},
            good | {'write_files': [{'path': '/x', 'permissions': 0o644}]},
            good | {'merge_how': 3},
            good | {'runcmds': []},
        ):
            with self.assertRaises(jsonschema.ValidationError):
                validator.validate(bad)

    def test_people_can_read_it(self):
        (part,) = user_data.parts(next(every_order()))
        self.assertIn('  content: |\n    #!/bin/bash\n    # ', part.text)
        self.assertLessEqual(max(map(len, part.text.splitlines())), 120)


class TestScripts(unittest.TestCase):
    def run_on(self, texts, *command):
        """Run a checker on some texts; return what it says."""
        with tempfile.TemporaryDirectory() as folder:
            names = []
            for name, text in texts.items():
                pathlib.Path(folder, name).write_text(text)
                names.append(name)
            done = subprocess.run(
                [*command, *names], cwd=folder, capture_output=True, text=True
            )
        return done.returncode, done.stdout + done.stderr

    def test_are_all_there(self):
        # What was asked for is in the settings, and never in a script.
        texts = set(scripts().values())
        seen = set()
        for order in every_order():
            seen |= {
                file['content']
                for file in user_data._files(order)
                if file['content'].startswith('#!')
            }
        self.assertEqual(texts, seen)

    def test_syntax(self):
        for name, text in scripts().items():
            found = self.run_on({name: text}, 'bash', '-n')
            self.assertEqual((0, ''), found, name)

    def test_shellcheck(self):
        found = self.run_on(scripts(), str(SHELLCHECK), '--severity=style')
        self.assertEqual((0, ''), found)
        # It does find something.
        bad = {'bad': '#!/bin/bash\necho $1\n'}
        self.assertEqual(1, self.run_on(bad, str(SHELLCHECK))[0])

    def test_stand_ins(self):
        texts = {path.name: path.read_text() for path in STAND_INS.iterdir()}
        found = self.run_on(
            texts, str(SHELLCHECK), '--external-sources',
            '--exclude=SC1091', '--severity=style',
        )  # fmt: skip
        self.assertEqual((0, ''), found)
