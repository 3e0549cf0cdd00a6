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

"""Run a pip command with the lower bounds of our dependencies as versions.

    python tools/lowest_constraints.py                   # print them
    python tools/lowest_constraints.py -- pip install .  # run with them

The bounds are those of [project.dependencies] in pyproject.toml; nothing else
repeats them.  What the dependencies depend on in turn is not bound.
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib

PYPROJECT = pathlib.Path(__file__).parents[1] / 'pyproject.toml'

_BOUND = re.compile(r'\s*([A-Za-z0-9._-]+)\s*>=\s*([0-9][^\s,;]*)\s*')


def constraints(dependencies: list[str]) -> list[str]:
    """Return ``name==version`` of each dependency's lower bound.

    ValueError for a dependency without one: then the lowest supported
    version is not known.
    """
    lines = []
    for dependency in dependencies:
        bound = _BOUND.fullmatch(dependency)
        if bound is None:
            raise ValueError(f'not of the form name>=version: {dependency}')
        lines.append(f'{bound[1]}=={bound[2]}')
    return lines


def main(argv: list[str]) -> int:
    project = tomllib.loads(PYPROJECT.read_text(encoding='utf-8'))['project']
    text = ''.join(f'{c}\n' for c in constraints(project['dependencies']))
    command = argv[argv.index('--') + 1 :] if '--' in argv else []
    if not command:
        sys.stdout.write(text)
        return 0
    with tempfile.NamedTemporaryFile('w', suffix='.txt') as file:
        file.write(text)
        file.flush()
        return subprocess.call([*command, '--constraint', file.name])


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
