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

"""What our commands leave in the reasons that Nova keeps, and read back.

There is no other journal. The reason of a server's lock says that it is being
moved, away from which host, and where it shall return to; hosts are told by
the digest that Nova itself shows to tenants (``hostId``), as everybody who
sees the server sees the reason. The reason of a disabled compute service,
which only admins see, says that it is being drained.
"""

import hashlib
import re
import secrets
from typing import NamedTuple

from osc_gpu.i18n import _

MIGRATE = 'migrate'
RETURN = 'return'

#: Nova takes no longer reasons (nova/api/openstack/compute/schemas).
LONGEST = 255

_DIGITS = 12

_MOVE = re.compile(
    r'osc-gpu (migrate|return) run ([0-9a-f]+) from ([0-9a-f]*)'
    r'(?: to ([0-9a-f]+))?(?:: |$)'
)
_DRAIN = re.compile(
    r'osc-gpu drain run ([0-9a-f]+) since (\S+?)(?:: (.*?))?'
    r'(; was disabled(?:: (.*))?)?',
    re.DOTALL,
)


class Move(NamedTuple):
    """A server is being moved, or waits to be.

    ``source`` and ``home`` are digests of hosts, '' for none.
    """

    verb: str
    run: str
    source: str
    home: str = ''


class Drain(NamedTuple):
    """A host is being drained, or was; ``since`` is ISO 8601 in UTC.

    ``was`` is the reason for which the host was disabled before, '' for none,
    and None where it was enabled.
    """

    run: str
    since: str
    text: str = ''
    was: str | None = None


def new_run() -> str:
    """Return a name for one run of a command."""
    return secrets.token_hex(3)


def digest(project_id: str, host: str) -> str:
    """Return what a reason says for a host (nova/api/openstack/common.py)."""
    if not host:
        return ''
    return short(
        hashlib.sha224((project_id + host).encode('utf-8')).hexdigest()
    )


def short(host_id: str) -> str:
    """Return the digest of a host, as Nova shows it whole."""
    return host_id[:_DIGITS]


def write_move(move: Move) -> str:
    """Return the reason of a lock."""
    home = f' to {move.home}' if move.home else ''
    return (
        f'osc-gpu {move.verb} run {move.run} from {move.source}{home}: '
        + _("an operator moves this server to another host")
    )


def read_move(text: str) -> Move | None:
    """Read the reason of a lock; None if it is not ours."""
    found = _MOVE.match(text)
    if found is None:
        return None
    verb, run, source, home = found.groups()
    return Move(verb, run, source, home or '')


def write_drain(drain: Drain) -> str:
    """Return the reason of a disabled service."""
    text = f': {drain.text}' if drain.text else ''
    if drain.was is not None:
        text += '; was disabled' + (f': {drain.was}' if drain.was else '')
    return f'osc-gpu drain run {drain.run} since {drain.since}{text}'


def read_drain(text: str) -> Drain | None:
    """Read the reason of a disabled service; None if it is not ours."""
    found = _DRAIN.fullmatch(text)
    if found is None:
        return None
    run, since, more, was_disabled, was = found.groups()
    return Drain(run, since, more or '', (was or '') if was_disabled else None)


def is_ours(text: str) -> bool:
    """Tell whether one of our commands locked a server."""
    return read_move(text) is not None
