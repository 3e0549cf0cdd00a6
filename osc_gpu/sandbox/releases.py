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

"""OpenStack releases, each in a virtual environment of its own.

An installation is made once, in the user's cache folder, and is complete
when its marker says what went into it; anything else there is made again.
What not every cloud has, an extra, is an environment beside its release's,
which sees that one's packages and has what they lack.
"""

from collections.abc import Mapping
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile

from osc_gpu.i18n import _
from osc_gpu.sandbox import errors
from osc_gpu.sandbox import locks
from osc_gpu.sandbox import processes
from osc_gpu.sandbox import progress
from osc_gpu.sandbox import steps

RELEASES = ('2025.1', '2025.2', '2026.1', '2026.2')
DEFAULT = RELEASES[-1]

#: oslotest and what follows is what the fakes in Nova's own wheel import;
#: cheroot serves. With SQLAlchemy 2.1 these fakes turn a warning into an
#: error, and confirming a migration answers 500.
PACKAGES = (
    'nova',
    'keystone',
    'glance',
    'cinder',
    'neutron',
    'openstack-placement',
    'oslotest',
    'testtools',
    'fixtures',
    'requests-mock',
    'wsgi-intercept',
    'cheroot',
    'SQLAlchemy<2.1',
)

#: What is installed on request only, on top of its release.
EXTRAS = {'heat': ('openstack-heat',)}

_HERE = pathlib.Path(__file__).resolve().parent
_MARKER = 'installed.json'
_PYTHONS = ((3, 11), (3, 12), (3, 13))


@dataclasses.dataclass(frozen=True)
class Installation:
    """Where a release, or an extra of it, is or will be installed."""

    release: str
    folder: pathlib.Path
    extra: str = ''

    @property
    def title(self) -> str:
        """What it is called in messages."""
        title = f'OpenStack {self.release}'
        return f'{self.extra} of {title}' if self.extra else title

    @property
    def packages(self) -> tuple[str, ...]:
        """What pip is asked for."""
        return EXTRAS[self.extra] if self.extra else PACKAGES

    @property
    def constraints(self) -> pathlib.Path:
        """The file that pins all packages."""
        return constraints_file(self.release, self.extra)

    @property
    def site_packages(self) -> pathlib.Path:
        """Where the packages are."""
        return self.venv / 'lib' / f'python{_python_version()}/site-packages'

    @property
    def venv(self) -> pathlib.Path:
        """The virtual environment."""
        return self.folder / 'venv'

    @property
    def python(self) -> pathlib.Path:
        """The interpreter that runs the services."""
        return self.venv / 'bin' / 'python'

    @property
    def template(self) -> pathlib.Path:
        """The databases a sandbox starts with; an extra has none."""
        return self.folder / 'template'

    @property
    def log(self) -> pathlib.Path:
        """The log of how it was installed."""
        return self.folder.with_name(f'{self.folder.name}.log')


def installation(release: str, extra: str = '') -> Installation:
    """Return the place of an installation for this Python.

    Each Python has its own, so that two of them do not take turns in
    replacing each other's.
    """
    base = os.environ.get('XDG_CACHE_HOME', '')
    if not os.path.isabs(base):
        base = os.path.expanduser('~/.cache')
    name = f'{_name(release, extra)}-py{_python_version()}'
    folder = pathlib.Path(base, 'osc-gpu', 'releases', name)
    return Installation(release, folder, extra)


def _name(release: str, extra: str) -> str:
    return f'{release}-{extra}' if extra else release


def _python_version() -> str:
    return '{}.{}'.format(*sys.version_info[:2])


def constraints_file(release: str, extra: str = '') -> pathlib.Path:
    """Return the file that pins all packages of a release, or of an extra."""
    return _HERE / 'constraints' / f'{_name(release, extra)}.txt'


def fingerprints(release: str, extra: str = '') -> dict[str, str]:
    """Return what an up-to-date installation's marker holds."""
    place = installation(release, extra)
    packages = [
        place.constraints.read_text(),
        *place.packages,
        _python_version(),
    ]
    venv = _digest(packages)
    if extra:
        return {'venv': _digest([venv, fingerprints(release)['venv']])}
    return {
        'venv': venv,
        'template': _digest([venv, *_template_sources('template')]),
    }


def _digest(texts: list[str]) -> str:
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def _template_sources(*modules: str) -> list[str]:
    """Return the sources of modules and of the services they import."""
    sources: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _HERE / 'services' / f'{name}.py'
        if name not in sources and path.exists():
            sources[name] = path.read_text()
            waiting += re.findall(
                r'(?m)^\s*from services import (\w+)', sources[name]
            )
    return [sources[name] for name in sorted(sources)]


def _marker(place: Installation) -> dict[str, str]:
    """Return what an installation says of itself; nothing if it is partial."""
    try:
        found = json.loads((place.folder / _MARKER).read_text())
    except (OSError, ValueError):
        return {}
    usable = isinstance(found, dict) and os.access(place.python, os.X_OK)
    return found if usable else {}


def is_complete(release: str, extra: str = '') -> bool:
    """Say whether a release is installed as this package wants it."""
    wanted = fingerprints(release, extra)
    return _marker(installation(release, extra)) == wanted


def ensure(
    release: str, report: progress.Progress, extra: str = ''
) -> Installation:
    """Install a release, or an extra of it, unless it is, and return where.

    An extra goes on top of its release, which has to be there. Raises
    SandboxError, with the end of the log, when it does not work out.
    """
    place = installation(release, extra)
    if is_complete(release, extra):
        return place
    if sys.version_info[:2] not in _PYTHONS:
        raise errors.SandboxError(
            _("Python %(found)s cannot run the services; use %(known)s")
            % {
                'found': _python_version(),
                'known': ', '.join('{}.{}'.format(*v) for v in _PYTHONS),
            }
        )

    def waiting(pid: int) -> None:
        report.step(_("Waiting for another installation (process %d)") % pid)

    lock = place.folder.with_name(f'{place.folder.name}.lock')
    with locks.exclusive(lock, waiting):
        if not is_complete(release, extra):
            _install(place, report)
    return place


def _install(place: Installation, report: progress.Progress) -> None:
    wanted = fingerprints(place.release, place.extra)
    present = _marker(place)
    place.log.write_bytes(b'')
    for left in place.folder.parent.glob(f'{place.folder.name}.tmp-*'):
        shutil.rmtree(left)
    folder = pathlib.Path(
        tempfile.mkdtemp(
            dir=place.folder.parent, prefix=f'{place.folder.name}.tmp-'
        )
    )
    made = dataclasses.replace(place, folder=folder)
    try:
        if present.get('venv') == wanted['venv']:
            _make_template(place, made, place.log, report)
            _replace_template(place, made, wanted)
        else:
            _check_unused(place)
            report.step(
                _("Installing %(title)s into %(folder)s, once")
                % {'title': place.title, 'folder': place.folder}
            )
            _make_venv(made, place, report)
            if not place.extra:
                _make_template(made, made, place.log, report)
            _move_scripts(made.venv, place.venv)
            (folder / _MARKER).write_text(json.dumps(wanted))
            shutil.rmtree(place.folder, ignore_errors=True)
            folder.rename(place.folder)
    finally:
        report.clear()
        shutil.rmtree(folder, ignore_errors=True)


def _check_unused(place: Installation) -> None:
    pids = processes.using(place.folder)
    if pids:
        raise errors.SandboxError(
            _(
                "%(title)s is to be installed anew, but a running sandbox "
                "uses it (process %(pid)d); end that first"
            )
            % {'title': place.title, 'pid': pids[0]}
        )


def _make_venv(
    made: Installation, place: Installation, report: progress.Progress
) -> None:
    report.step(_("  virtual environment"))
    # Of a virtual environment's Python, venv takes the one it is made from.
    command = [sys.executable, '-m', 'venv', str(made.venv)]
    steps.run(command, place.log, made.folder)
    constraints = [place.constraints]
    if place.extra:
        constraints.append(_put_on_top(made, installation(place.release)))
    text = place.constraints.read_text()
    pins = len(re.findall(r'(?m)^[^#\s]+==', text))
    report.step(_("  %d packages") % pins)
    count = 0

    def told(line: str) -> None:
        nonlocal count
        if line.startswith(('Collecting ', 'Processing ')):
            count = min(count + 1, pins)
            report.live(_("  fetched %d") % count)
        elif line.startswith('Installing collected packages'):
            report.live(_("  unpacking them; this takes half a minute"))

    steps.run(
        [
            str(made.python), '-m', 'pip', 'install', '--no-user',
            '--no-input', '--disable-pip-version-check',
            '--no-warn-script-location', '--progress-bar', 'off',
            *(f'--constraint={path}' for path in constraints),
            *place.packages,
        ],
        place.log,
        made.folder,
        told=told,
    )  # fmt: skip


def _put_on_top(made: Installation, below: Installation) -> pathlib.Path:
    """Let an environment see another one's packages; return their pins."""
    path = made.site_packages / 'release.pth'
    path.write_text(f'{below.site_packages}\n')
    return below.constraints


def _make_template(
    installed: Installation,
    made: Installation,
    log: pathlib.Path,
    report: progress.Progress,
) -> None:
    report.step(_("  empty databases"))
    steps.run(
        [
            str(installed.python), '-m', 'services.template',
            str(made.template),
        ],
        log,
        made.folder,
        environment=processes.environment(),
    )  # fmt: skip


def _replace_template(
    place: Installation, made: Installation, wanted: Mapping[str, str]
) -> None:
    marker = place.folder / _MARKER
    marker.unlink(missing_ok=True)
    shutil.rmtree(place.template, ignore_errors=True)
    made.template.rename(place.template)
    marker.with_suffix('.part').write_text(json.dumps(wanted))
    marker.with_suffix('.part').rename(marker)


def _move_scripts(venv: pathlib.Path, target: pathlib.Path) -> None:
    """Make the scripts of an environment name the place it moves to."""
    for script in [venv / 'pyvenv.cfg', *(venv / 'bin').iterdir()]:
        if script.is_file() and not script.is_symlink():
            content = script.read_bytes()
            moved = content.replace(os.fsencode(venv), os.fsencode(target))
            if moved != content:
                script.write_bytes(moved)
