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

"""One sandbox, written down: where it is, who may enter, what it is made of.

The state folder holds all of it. ``sandbox.json`` is what the services read;
``clouds.yaml`` is what clients read. Both hold passwords, so both are the
user's alone.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import contextlib
import dataclasses
import json
import os
import pathlib
import random
import secrets
import socket
import tempfile
from typing import Any

from osc_gpu.i18n import _
from osc_gpu.sandbox import errors
from osc_gpu.sandbox import topology

ADDRESS = '127.0.0.1'
REGION = 'RegionOne'
SERVICES = ('identity', 'placement', 'image', 'network', 'compute', 'volume')
#: what a cloud has on request only, by what ``up --with`` calls it
EXTRAS = {'heat': 'orchestration'}
#: Below the ports that Linux gives to outgoing connections: one of those could
#: be taken again before its service comes to it.
_CHOICE = range(20000, 32768)


@dataclasses.dataclass(frozen=True)
class Spec:
    """A sandbox; the fields are the keys of ``sandbox.json``."""

    release: str
    state: str
    template: str
    address: str
    ports: Mapping[str, int]
    secrets: Mapping[str, str]
    region: str
    topology: Mapping[str, Any]

    @property
    def auth_url(self) -> str:
        """Where clients log in."""
        return f'{self.url("identity")}/v3'

    @property
    def users(self) -> tuple[str, ...]:
        """The people of this cloud, its admin first."""
        return ('admin', *(user['name'] for user in self.topology['users']))

    @property
    def logs(self) -> pathlib.Path:
        """The folder of the services' logs."""
        return pathlib.Path(self.state, 'logs')

    def url(self, service: str) -> str:
        """Return the root URL of a service, without a path."""
        return f'http://{self.address}:{self.ports[service]}'


def state_folder(given: str | None = None) -> pathlib.Path:
    """Return the state folder: as given, else by environment, else default.

    It is absolute and free of links, so that everyone finds the same
    processes by it.
    """
    if given is None:
        given = os.environ.get('OSC_GPU_SANDBOX_STATE')
    if not given:
        base = os.environ.get('XDG_STATE_HOME', '')
        if not os.path.isabs(base):
            base = os.path.expanduser('~/.local/state')
        given = os.path.join(base, 'osc-gpu', 'sandbox')
    return pathlib.Path(os.path.realpath(os.path.expanduser(given)))


def path(state: pathlib.Path) -> pathlib.Path:
    """Return where a sandbox's spec is."""
    return state / 'sandbox.json'


def clouds_path(state: pathlib.Path) -> pathlib.Path:
    """Return where a sandbox's clients find their clouds."""
    return state / 'clouds.yaml'


def services(extras: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the services of a cloud with these extras."""
    return (*SERVICES, *(EXTRAS[name] for name in extras))


def choose_ports(
    base: int | None = None, extras: Iterable[str] = ()
) -> dict[str, int]:
    """Return a free port of the loopback interface for everything.

    They are consecutive from ``base``, else any of ``_CHOICE``; all are held
    until all are chosen, so that no two are the same.
    """
    names = (*services(extras), 'control')
    with contextlib.ExitStack() as held:
        if base is None:
            return {name: _hold_any(held) for name in names}
        ports = {name: base + index for index, name in enumerate(names)}
        for name, number in ports.items():
            try:
                _hold(held, number)
            except OSError as exc:
                raise errors.SandboxError(
                    _(
                        "port %(port)d for %(name)s: %(reason)s; choose "
                        "another --port-base"
                    )
                    % {'port': number, 'name': name, 'reason': exc.strerror}
                ) from exc
        return ports


def _hold(held: contextlib.ExitStack, number: int) -> None:
    held.enter_context(socket.socket()).bind((ADDRESS, number))


def _hold_any(held: contextlib.ExitStack) -> int:
    for number in random.sample(_CHOICE, k=len(_CHOICE)):
        with contextlib.suppress(OSError):
            _hold(held, number)
            return number
    raise errors.SandboxError(
        _("no port from %(first)d to %(last)d is free")
        % {'first': _CHOICE[0], 'last': _CHOICE[-1]}
    )


def make(
    release: str,
    state: pathlib.Path,
    template: pathlib.Path,
    wanted: topology.Topology,
    port_base: int | None = None,
    extras: Iterable[str] = (),
) -> Spec:
    """Return a new sandbox with ports and passwords of its own."""
    names = ['admin', 'service', 'control']
    names += [user.name for user in wanted.users]
    return Spec(
        release=release,
        state=str(state),
        template=str(template),
        address=ADDRESS,
        ports=choose_ports(port_base, extras),
        secrets={name: secrets.token_urlsafe(18) for name in names},
        region=REGION,
        topology=plain(wanted),
    )


def plain(wanted: topology.Topology) -> dict[str, Any]:
    """Return a topology as it looks in ``sandbox.json``."""
    result: dict[str, Any] = json.loads(json.dumps(wanted.as_dict()))
    return result


def write(spec: Spec) -> None:
    """Write a sandbox into its state folder, for services and clients."""
    state = pathlib.Path(spec.state)
    content = json.dumps(dataclasses.asdict(spec), indent=1)
    write_private(path(state), content + '\n')
    write_private(clouds_path(state), clouds_yaml(spec))


def read(state: pathlib.Path) -> Spec | None:
    """Return the sandbox of a state folder, None when there is none.

    Raises SandboxError when the file is there and is no sandbox's.
    """
    try:
        data = json.loads(path(state).read_text())
        return Spec(**data)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as exc:
        raise errors.SandboxError(
            _("%(path)s is not a sandbox's: %(reason)s")
            % {'path': path(state), 'reason': exc}
        ) from exc


def clouds(spec: Spec) -> dict[str, Any]:
    """Return the entries of a clouds.yaml, one for each user."""
    projects = {
        user['name']: user['project'] for user in spec.topology['users']
    }
    projects['admin'] = 'admin'
    return {
        cloud(user): {
            'auth': {
                'auth_url': spec.auth_url,
                'username': user,
                'password': spec.secrets[user],
                'project_name': projects[user],
                'user_domain_name': 'Default',
                'project_domain_name': 'Default',
            },
            'region_name': spec.region,
            'interface': 'public',
            'identity_api_version': '3',
        }
        for user in spec.users
    }


def cloud(user: str) -> str:
    """Return what a user's cloud is called in clouds.yaml."""
    return f'sandbox-{user}'


def clouds_yaml(spec: Spec) -> str:
    """Return the text of a clouds.yaml."""
    import yaml

    head = _("# The clouds of the sandbox in %s\n") % spec.state
    body = yaml.safe_dump({'clouds': clouds(spec)}, sort_keys=False)
    return f'{head}{body}'


def write_clouds(target: pathlib.Path, spec: Spec) -> None:
    """Write the clouds into a file of the user's choice.

    Raises SandboxError when it holds anything that is not a sandbox's.
    """
    import yaml

    try:
        present = yaml.safe_load(target.read_bytes())
        others = {*present} - {'clouds'} or {
            name
            for name in present['clouds']
            if not str(name).startswith(cloud(''))
        }
    except FileNotFoundError:
        others = set()
    except (OSError, TypeError, KeyError, yaml.YAMLError) as exc:
        raise errors.SandboxError(
            _("%(path)s is there and is no sandbox's clouds.yaml: %(reason)s")
            % {'path': target, 'reason': str(exc).splitlines()[0]}
        ) from exc
    if others:
        raise errors.SandboxError(
            _(
                "%(path)s holds %(others)s, which would be lost; name another "
                "file"
            )
            % {'path': target, 'others': ', '.join(map(str, sorted(others)))}
        )
    try:
        write_private(target, clouds_yaml(spec))
    except OSError as exc:
        raise errors.SandboxError(f'{target}: {exc.strerror}') from exc


def write_private(target: pathlib.Path, content: str) -> None:
    """Write a file that only its owner can read; whole, or not at all."""
    descriptor, temporary = tempfile.mkstemp(
        dir=target.parent, prefix=f'.{target.name}.'
    )
    try:
        with os.fdopen(descriptor, 'w', encoding='utf-8') as stream:
            stream.write(content)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
