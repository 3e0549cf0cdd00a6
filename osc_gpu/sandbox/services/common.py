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

"""What every service process shares: the spec, its files, its web server.

Nothing here, or beside it, imports osc_gpu: these modules run in the virtual
environment of an OpenStack release.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import sys
from typing import Any

Options = Mapping[str, Mapping[str, object]]


@dataclasses.dataclass(frozen=True)
class Spec:
    """One sandbox, as the controller wrote it down."""

    release: str
    state: pathlib.Path
    template: pathlib.Path
    address: str
    ports: Mapping[str, int]
    secrets: Mapping[str, str]
    region: str
    topology: Mapping[str, Any]

    def url(self, service: str) -> str:
        """Return the root URL of a service, without a path."""
        return f'http://{self.address}:{self.ports[service]}'

    def database(self, name: str) -> str:
        """Return the SQLAlchemy URL of one of the sandbox's databases."""
        return f'sqlite:///{self.state / "db" / name}.sqlite'

    def copy_databases(self, *names: str) -> None:
        """Copy empty databases from the release's template, once."""
        folder = self.state / 'db'
        folder.mkdir(exist_ok=True)
        for name in names:
            target = folder / f'{name}.sqlite'
            if not target.exists():
                part = folder / f'{name}.part'
                shutil.copyfile(self.template / target.name, part)
                part.rename(target)

    def credentials(self, user: str = 'service') -> dict[str, object]:
        """Return keystoneauth options with which a service logs in."""
        return {
            'auth_type': 'password',
            'auth_url': f'{self.url("identity")}/v3',
            'username': user,
            'password': self.secrets[user],
            'project_name': 'service',
            'user_domain_id': 'default',
            'project_domain_id': 'default',
            'region_name': self.region,
        }


def load() -> Spec:
    """Read the spec that the command line names.

    The argument is taken off ``sys.argv``: the services parse what is left.
    """
    path = pathlib.Path(sys.argv.pop(1))
    data = json.loads(path.read_text())
    return Spec(
        release=data['release'],
        state=pathlib.Path(data['state']),
        template=pathlib.Path(data['template']),
        address=data['address'],
        ports=data['ports'],
        secrets=data['secrets'],
        region=data['region'],
        topology=data['topology'],
    )


def write_config(path: pathlib.Path, options: Options) -> pathlib.Path:
    """Write an oslo.config file; a list becomes a repeated option."""
    lines = []
    for section, values in options.items():
        lines.append(f'[{section}]')
        for key, value in values.items():
            several = isinstance(value, Sequence) and not isinstance(
                value, str
            )
            for item in value if several else [value]:  # type: ignore[attr-defined]
                # oslo.config substitutes $name.
                lines.append(f'{key} = {str(item).replace("$", "$$")}')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text('\n'.join(lines) + '\n')
    return path


def shipped(project: str, name: str) -> pathlib.Path:
    """Return a file that a project's wheel put below the environment's etc."""
    return pathlib.Path(sys.prefix) / 'etc' / project / name


def logging_options(spec: Spec) -> dict[str, object]:
    """Return the options that send a service's log to its standard error."""
    return {
        'debug': os.environ.get('OSC_GPU_SANDBOX_DEBUG', 'false'),
        'use_stderr': True,
        'log_dir': '',
    }


def auth_options(spec: Spec) -> dict[str, object]:
    """Return the options of keystonemiddleware's auth_token filter."""
    return spec.credentials() | {
        'www_authenticate_uri': f'{spec.url("identity")}/v3',
        'service_token_roles': 'service',
        'service_token_roles_required': 'true',
        # A token that Keystone has revoked is refused soon, and not only
        # after five minutes.
        'token_cache_time': 2,
    }


def serve(spec: Spec, service: str, application: Any) -> None:
    """Serve a WSGI application with threads until the process is ended."""
    from cheroot import wsgi

    server = wsgi.Server(
        (spec.address, spec.ports[service]), application, numthreads=8
    )
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server.start()


def advertise(spec: Spec, entry_points: str) -> None:
    """Make entry points of this process known to stevedore.

    A distribution's metadata on ``sys.path`` is all it takes; it lives in the
    sandbox's state, so that the release's environment stays as installed.
    """
    folder = spec.state / 'etc' / 'entry-points'
    info = folder / 'osc_gpu_sandbox-0.dist-info'
    info.mkdir(parents=True, exist_ok=True)
    (info / 'METADATA').write_text(
        'Metadata-Version: 2.1\nName: osc-gpu-sandbox\nVersion: 0\n'
    )
    (info / 'entry_points.txt').write_text(entry_points)
    sys.path.append(str(folder))


def wait_for_identity(spec: Spec, limit: float = 60.0) -> None:
    """Wait until Keystone and Placement answer; TimeoutError after seconds."""
    import time
    from urllib import error
    from urllib import request

    deadline = time.monotonic() + limit
    for url in (f'{spec.url("identity")}/v3', f'{spec.url("placement")}/'):
        while True:
            try:
                request.urlopen(url, timeout=5).close()  # noqa: S310
                break
            except (error.URLError, OSError) as exc:
                if time.monotonic() > deadline:
                    raise TimeoutError(f'{url}: {exc}') from exc
            time.sleep(0.1)
