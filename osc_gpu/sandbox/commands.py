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

"""What each command of ``osc-gpu-sandbox`` does and prints.

Results go to standard output, progress and errors to standard error.
"""

import argparse
from collections.abc import Mapping
from collections.abc import Sequence
import json
import os
import pathlib
import re
import shlex
import time
from typing import Any

from osc_gpu.i18n import _
from osc_gpu.sandbox import control
from osc_gpu.sandbox import errors
from osc_gpu.sandbox import lifecycle
from osc_gpu.sandbox import processes
from osc_gpu.sandbox import progress
from osc_gpu.sandbox import releases
from osc_gpu.sandbox import spec as specs
from osc_gpu.sandbox import topology

#: variables of a shell that would lead clients away from the clouds.yaml
_MISLEADING = re.compile(
    r'OS_(AUTH|USER|PASS|PROJECT|TENANT|DOMAIN|DEFAULT_DOMAIN|SYSTEM_SCOPE|'
    r'TRUST|TOKEN|ENDPOINT|URL|REGION|CACERT|CERT|KEY|INTERFACE|IDENTITY|'
    r'PROTOCOL|ACCESS|APPLICATION|INSECURE|SERVICE|CLIENT_SECURE|COMPUTE_API|'
    r'PLACEMENT_API|NETWORK_API|IMAGE_API|VOLUME_API)'
)
_EXIT = {'running': 0, 'partial': 1, 'stopped': 3}


def up(options: argparse.Namespace) -> int:
    """Start a sandbox."""
    began = time.monotonic()
    wanted = lifecycle.Wanted(
        state=specs.state_folder(options.state),
        topology=_wanted_topology(options),
        release=options.release,
        port_base=options.port_base,
        extras=tuple(dict.fromkeys(options.extras)),
    )
    try:
        spec = lifecycle.up(wanted, progress.Progress())
    except lifecycle.Running as exc:
        if not exc.same:
            raise
        print(exc)
        return 0
    cards = [card for host in wanted.topology.hosts for card in host.cards]
    print(
        _(
            "OpenStack %(release)s is up after %(seconds).0f s: "
            "%(hosts)d hosts, %(cards)d cards"
        )
        % {
            'release': spec.release,
            'seconds': time.monotonic() - began,
            'hosts': len(wanted.topology.hosts),
            'cards': len(cards),
        }
    )
    _print_hints(spec, options.state)
    return 0


def _wanted_topology(options: argparse.Namespace) -> topology.Topology:
    if options.hosts is not None:
        wanted = topology.from_pattern(options.hosts)
    else:
        wanted = topology.load(options.topology or topology.DEFAULT)
    if options.pci_in_placement is not None:
        wanted = topology.with_pci_in_placement(
            wanted, options.pci_in_placement
        )
    return wanted


def _print_hints(spec: specs.Spec, state: str | None) -> None:
    """Say how to go on."""
    where = f' --state {shlex.quote(spec.state)}' if state else ''
    lines = [
        (f'eval "$(osc-gpu-sandbox env{where})"', _("be its admin")),
        (
            f'eval "$(osc-gpu-sandbox env{where} --user {spec.users[-1]})"',
            _("be its user %s") % spec.users[-1],
        ),
        ('openstack gpu inventory list', _("see its GPUs")),
        (f'osc-gpu-sandbox down{where}', _("end it")),
    ]
    if len(spec.users) == 1:
        del lines[1]
    width = max(len(command) for command, _text in lines)
    for command, text in lines:
        print(f'  {command:{width}}  # {text}')


def down(options: argparse.Namespace) -> int:
    """End the sandbox."""
    state = specs.state_folder(options.state)
    count = lifecycle.down(state, progress.Progress())
    if count:
        print(_("Ended; %d processes") % count)
    else:
        print(_("No sandbox was running in %s") % state)
    return 0


def status(options: argparse.Namespace) -> int:
    """Show how the sandbox is."""
    state = specs.state_folder(options.state)
    found = lifecycle.status(state)
    if options.format == 'json':
        print(json.dumps(_status_data(found, state), indent=2))
        return _EXIT[found.state]
    if found.spec is None or found.state == 'stopped':
        print(_("No sandbox is running in %s") % state)
        if found.spec is not None:
            print(_("Logs of the last one: %s") % found.spec.logs)
        print(_("Start one with: osc-gpu-sandbox up"))
        return _EXIT[found.state]
    spec = found.spec
    whole = found.state == 'running'
    print(
        _("OpenStack %(release)s, %(how)s")
        % {
            'release': spec.release,
            'how': _("running") if whole else _("running in part"),
        }
    )
    print(_("Address  %s") % spec.auth_url)
    print(_("State    %s") % spec.state)
    print(_("Logs     %s") % spec.logs)
    columns = ('name', 'pid', 'port', 'state')
    _print_table(('SERVICE', 'PID', 'PORT', 'STATE'), columns, found.services)
    hosts = [{'name': n, 'state': s} for n, s in found.hosts.items()]
    _print_table(('HOST', 'STATE'), ('name', 'state'), hosts)
    if whole:
        _print_hints(spec, options.state)
    else:
        print(_("End the rest with 'down', or start anew with 'up'"))
    return _EXIT[found.state]


def _status_data(
    found: lifecycle.Status, state: pathlib.Path
) -> dict[str, Any]:
    spec = found.spec
    return {
        'status': found.state,
        'state': str(state),
        'release': spec.release if spec else None,
        'auth_url': spec.auth_url if spec else None,
        'logs': str(spec.logs) if spec else None,
        'clouds': str(specs.clouds_path(state)) if spec else None,
        'services': list(found.services),
        'hosts': dict(found.hosts),
    }


def _print_table(
    titles: Sequence[str],
    keys: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    lines = [titles]
    for row in rows:
        cells = ['-' if row[key] is None else str(row[key]) for key in keys]
        lines.append(cells)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [c.ljust(w) for c, w in zip(line, widths, strict=True)]
        print('  '.join(cells).rstrip())


def env(options: argparse.Namespace) -> int:
    """Print what a shell must evaluate, or write a clouds.yaml."""
    spec = _running(options)
    if options.user not in spec.users:
        raise errors.SandboxError(
            _("--user: there is no %(user)s; users are %(users)s")
            % {'user': options.user, 'users': ', '.join(spec.users)}
        )
    if options.write_clouds is not None:
        specs.write_clouds(options.write_clouds, spec)
        return 0
    clouds = specs.clouds_path(pathlib.Path(spec.state))
    for name in sorted(filter(_MISLEADING.match, os.environ)):
        print(f'unset {name}')
    print(f'export OS_CLIENT_CONFIG_FILE={shlex.quote(str(clouds))}')
    print(f'export OS_CLOUD={shlex.quote(specs.cloud(options.user))}')
    _print_proxy_exception(spec.address)
    return 0


def _print_proxy_exception(address: str) -> None:
    """Keep clients from asking a proxy for what is on this machine."""
    environ = {key.lower(): value for key, value in os.environ.items()}
    exceptions = environ.get('no_proxy', '')
    if 'http_proxy' in environ and address not in exceptions.split(','):
        value = ','.join(filter(None, [exceptions, address]))
        for name in ('no_proxy', 'NO_PROXY'):
            print(f'export {name}={shlex.quote(value)}')


def _running(options: argparse.Namespace) -> specs.Spec:
    """Return the sandbox that runs; SandboxError when none does."""
    state = specs.state_folder(options.state)
    spec = specs.read(state)
    if spec is None or not processes.find(specs.path(state)):
        raise errors.SandboxError(
            _("no sandbox is running in %s; start one with 'up'") % state
        )
    return spec


def fault_set(options: argparse.Namespace) -> int:
    """Set a fault."""
    spec = _running(options)
    if options.seconds is not None and options.error != 'slow':
        raise errors.SandboxError(_("--seconds goes with --error slow only"))
    if options.host is not None:
        _check_host(spec, '--host', options.host)
    order = {
        'point': options.point,
        'server': options.server,
        'host': options.host,
        'error': options.error,
        'times': options.times,
    }
    if options.error == 'slow':
        order['seconds'] = 30 if options.seconds is None else options.seconds
    _print_faults([control.Control(spec).set_fault(order)])
    return 0


def _check_host(spec: specs.Spec, what: str, name: str) -> None:
    hosts = [host['name'] for host in spec.topology['hosts']]
    if name not in hosts:
        raise errors.SandboxError(
            _("%(what)s: there is no %(name)s; hosts are %(hosts)s")
            % {'what': what, 'name': name, 'hosts': ', '.join(hosts)}
        )


def fault_list(options: argparse.Namespace) -> int:
    """List the faults that are set."""
    faults = control.Control(_running(options)).faults()
    if options.format == 'json':
        print(json.dumps(faults, indent=2))
    else:
        _print_faults(faults)
    return 0


def _print_faults(faults: Sequence[Mapping[str, Any]]) -> None:
    keys = (
        'id', 'point', 'error', 'server', 'host', 'times', 'hits', 'seconds',
    )  # fmt: skip
    shown = [
        fault if fault['error'] == 'slow' else {**fault, 'seconds': None}
        for fault in faults
    ]
    _print_table([key.upper() for key in keys], keys, shown)


def fault_clear(options: argparse.Namespace) -> int:
    """Take all faults away."""
    control.Control(_running(options)).clear_faults()
    return 0


def host_kill(options: argparse.Namespace) -> int:
    """Kill a host's compute service."""
    return _change_host(options, 'kill')


def host_start(options: argparse.Namespace) -> int:
    """Start a host's compute service."""
    return _change_host(options, 'start')


def _change_host(options: argparse.Namespace, action: str) -> int:
    spec = _running(options)
    _check_host(spec, 'host', options.host)
    state = control.Control(spec).change_host(options.host, action)
    print(_("%(host)s is %(state)s") % {'host': options.host, 'state': state})
    return 0


def install(options: argparse.Namespace) -> int:
    """Install releases."""
    chosen = options.release or [releases.DEFAULT]
    if options.all:
        chosen = list(releases.RELEASES)
    report = progress.Progress()
    for release in dict.fromkeys(chosen):
        for extra in ('', *dict.fromkeys(options.extras)):
            place = releases.ensure(release, report, extra)
            print(
                _("%(title)s is in %(folder)s")
                % {'title': place.title, 'folder': place.folder}
            )
    return 0
