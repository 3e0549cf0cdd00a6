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

"""What ``osc-gpu-sandbox guest`` does and prints."""

import argparse
import base64
from collections.abc import Mapping
import pathlib
import shlex
import sys
from typing import Any

from osc_gpu.i18n import _
from osc_gpu.sandbox import commands
from osc_gpu.sandbox import control
from osc_gpu.sandbox import errors
from osc_gpu.sandbox import guest_hardware
from osc_gpu.sandbox import guest_machine
from osc_gpu.sandbox import guest_systems

_SETTINGS = 'etc/osc-gpu/settings'


def say(options: argparse.Namespace) -> int:
    """Append to the console of a server's guest."""
    asked = control.Control(commands.running(options))
    server = asked.server(options.server)
    if options.text is None:
        text = sys.stdin.buffer.read().decode(errors='replace')
    else:
        text = f'{options.text}\n'
    asked.say(server['uuid'], text)
    return 0


def boot(options: argparse.Namespace) -> int:
    """Boot the guest of a server."""
    spec = commands.running(options)
    asked = control.Control(spec)
    server = asked.server(options.server)
    # It has no console to speak on unless it runs.
    asked.say(server['uuid'], '')
    gpus = guest_hardware.of_server(
        spec.topology['hosts'], asked.guests(), server['uuid']
    )
    user_data = base64.b64decode(server['user_data'] or '')
    machine = guest_machine.Machine(
        pathlib.Path(spec.state, 'guests', server['uuid'])
    )
    if not machine.system:
        system = options.os or _system_of(server, user_data)
        machine.install(
            guest_systems.SYSTEMS[system],
            server['uuid'],
            options.image_driver or '',
        )
    elif options.os not in (None, machine.system) or options.image_driver:
        raise errors.SandboxError(
            _("%(server)s has %(system)s on its disk already")
            % {'server': server['name'], 'system': machine.system}
        )
    outcome = machine.boot(user_data, gpus, options.spoil)
    asked.say(server['uuid'], outcome.console)
    _print_outcome(server, machine, outcome, len(gpus))
    return 0


def _system_of(server: Mapping[str, Any], user_data: bytes) -> str:
    """Return what is in the server's image, as far as anything tells it."""
    version = server['os_version'] or ''
    for name in (
        f'{server["os_distro"]}-{version}',
        f'{server["os_distro"]}-{version.partition(".")[0]}',
        guest_machine.setting(user_data, _SETTINGS, 'SYSTEM'),
    ):
        if name in guest_systems.SYSTEMS:
            return name
    raise errors.SandboxError(
        _(
            "neither the image nor the user data of %(server)s tells which "
            "system it has: name one with --os, of %(known)s"
        )
        % {
            'server': server['name'],
            'known': ', '.join(guest_systems.SYSTEMS),
        }
    )


def _print_outcome(
    server: Mapping[str, Any],
    machine: guest_machine.Machine,
    outcome: guest_machine.Outcome,
    gpus: int,
) -> None:
    print(_("System   %s") % machine.system)
    print(_("GPUs     %d") % gpus)
    print(_("Boots    %d") % outcome.boots)
    for what in outcome.left:
        print(_("Not done %s") % ' '.join(what.split()))
    print(_("Disk     %s") % machine.root)
    name = shlex.quote(server['name'])
    print(_("Console  openstack console log show %s") % name)
