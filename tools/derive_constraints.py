#!/usr/bin/env python3
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

"""Derive the constraints of the sandbox's releases.

    tools/derive_constraints.py 2025.1 --upper upper-constraints.txt \\
        --python python3.11 --python python3.12 --python python3.13

asks the pip of each Python what it would install for the sandbox's packages
under OpenStack's upper constraints of that release, and writes the union to
``osc_gpu/sandbox/constraints/<release>.txt``: a closed set, each package
pinned, with markers where the Pythons differ. Nothing is installed. With
``--with heat`` it is what Heat needs beyond that, in ``<release>-heat.txt``.
"""

import argparse
import collections
from collections.abc import Sequence
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from osc_gpu.sandbox import releases  # noqa: E402

#: upper constraints do not name the services themselves
SERVICES = {
    '2025.1': {
        'nova': '31.3.1',
        'cinder': '26.3.0',
        'openstack-heat': '24.1.2',
        'keystone': '27.1.0',
        'glance': '30.2.0',
        'neutron': '26.0.6',
        'openstack-placement': '13.0.1',
    },
    '2025.2': {
        'nova': '32.2.1',
        'cinder': '27.0.0',
        'openstack-heat': '25.0.2',
        'keystone': '28.1.0',
        'glance': '31.1.0',
        'neutron': '27.0.4',
        'openstack-placement': '14.0.0',
    },
    '2026.1': {
        'nova': '33.0.2',
        'cinder': '28.0.0',
        'openstack-heat': '26.0.2',
        'keystone': '29.1.0',
        'glance': '32.0.0',
        'neutron': '28.0.2',
        'openstack-placement': '15.0.0',
    },
    '2026.2': {
        'nova': '34.0.0',
        'cinder': '29.0.0',
        'openstack-heat': '27.0.1',
        'keystone': '30.0.0',
        'glance': '33.0.0',
        'neutron': '29.0.0',
        'openstack-placement': '16.0.0',
    },
}

#: What upper constraints leave open and the clouds need: setuptools 82 took
#: pkg_resources away, which libraries of these releases import. And what
#: they name but its authors have withdrawn (yanked) from the index.
OVERRIDES = {
    '2025.1': {'setuptools': '75.8.2', 'fixtures': '4.2.5'},
    '2025.2': {'setuptools': '75.8.2', 'click': '8.2.1'},
    '2026.1': {'setuptools': '80.9.0', 'zstd': '1.5.7.2'},
    '2026.2': {'setuptools': '80.9.0'},
}

HEADER = """\
# What a sandbox of OpenStack {release} installs{purpose}, and nothing else:
# made by tools/derive_constraints.py, for Python {pythons}.
#
# Versions are from the upper constraints of OpenStack {release}
# (openstack/requirements, licensed under the Apache License, Version 2.0),
# narrowed to what the sandbox's packages need; the services' own versions
# and setuptools are the sandbox's choice.
"""

_PIN = re.compile(r'^([A-Za-z0-9._-]+)={2,3}([^;\s]+)\s*(?:;\s*(.*))?$')


def _canonical(name: str) -> str:
    return re.sub(r'[-_.]+', '-', name).lower()


def upper_constraints(text: str, chosen: dict[str, str]) -> str:
    """Rewrite upper constraints so that ``chosen`` pins win."""
    lines = []
    for line in text.splitlines():
        match = _PIN.match(line.strip())
        if match is None or _canonical(match[1]) in chosen:
            continue
        marker = f' ; {match[3]}' if match[3] else ''
        lines.append(f'{match[1]}=={match[2]}{marker}')
    lines += [f'{name}=={version}' for name, version in chosen.items()]
    return '\n'.join(lines) + '\n'


def closure(
    python: str, constraints: str, wanted: Sequence[str]
) -> tuple[str, dict[str, str]]:
    """Return (python version, {package: version}) of a dry run of pip."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        (path / 'c.txt').write_text(constraints)
        venv = [python, '-m', 'venv', str(path / 'venv')]
        subprocess.run(venv, check=True)
        command = [
            str(path / 'venv' / 'bin' / 'python'),
            '-m',
            'pip',
            'install',
            '--quiet',
            '--dry-run',
            '--ignore-installed',
            '--report',
            str(path / 'report.json'),
            '--constraint',
            str(path / 'c.txt'),
            *wanted,
        ]
        subprocess.run(command, check=True)
        report = json.loads((path / 'report.json').read_text())
    packages = {
        item['metadata']['name']: item['metadata']['version']
        for item in report['install']
    }
    return report['environment']['python_version'], packages


def _version_key(python: str) -> tuple[int, ...]:
    return tuple(int(part) for part in python.split('.'))


def union(closures: dict[str, dict[str, str]]) -> list[str]:
    """Join what each Python installs into lines with markers."""
    pins: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
    names: dict[str, str] = {}
    for python, packages in closures.items():
        for name, version in packages.items():
            names.setdefault(_canonical(name), name)
            pins[_canonical(name), version].append(python)
    lines = []
    for (name, version), pythons in sorted(pins.items()):
        line = f'{names[name]}=={version}'
        if len(pythons) < len(closures):
            ordered = sorted(pythons, key=_version_key)
            marker = ' or '.join(f"python_version=='{p}'" for p in ordered)
            line += f' ; {marker}'
        lines.append(line)
    return lines


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('release', choices=sorted(SERVICES))
    parser.add_argument(
        '--upper', metavar='<file>', required=True, type=pathlib.Path
    )
    parser.add_argument(
        '--python', metavar='<python>', action='append', required=True
    )
    parser.add_argument('--with', dest='extra', choices=releases.EXTRAS)
    options = parser.parse_args(argv)

    chosen = SERVICES[options.release] | OVERRIDES[options.release]
    constraints = upper_constraints(options.upper.read_text(), chosen)
    place = releases.installation(options.release, options.extra or '')
    closures = dict(
        closure(p, constraints, place.packages) for p in options.python
    )
    header = HEADER.format(
        release=options.release,
        purpose=f' for {place.extra}' if place.extra else '',
        pythons=', '.join(sorted(closures, key=_version_key)),
    )
    target = place.constraints
    lines = union(closures)
    if options.extra:
        release = releases.constraints_file(options.release).read_text()
        lines = [line for line in lines if line not in release.splitlines()]
    text = header + '\n'.join(lines) + '\n'
    temporary = target.with_suffix('.tmp')
    temporary.write_text(text)
    os.replace(temporary, target)
    return 0


if __name__ == '__main__':
    sys.exit(main())
