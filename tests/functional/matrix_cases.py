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


"""The cases of the fault matrix: kinds of servers, faults, and verdicts."""

from collections.abc import Mapping
import dataclasses
from typing import Any

from tests.functional import truth
from tests.functional import wire

AT_ONCE = 'at once'
AGAIN = 'again'
RECOVERED = 'recover'
REPORTED = 'reported'
LOST = 'LOST'
#: it ended well before the fault came
MISSED = 'not met'
VERDICTS = (AT_ONCE, AGAIN, RECOVERED, REPORTED, MISSED, LOST)

#: Nova's API answers nothing more, once it has taken the move on
GONE = 'gone'
#: the token runs out
EXPIRED = 'expired'


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of server; without a method, the one that we choose."""

    specs: Mapping[str, str]
    wanted: truth.Wanted
    is_off: bool = False
    has_volume: bool = False


@dataclasses.dataclass(frozen=True)
class Fault:
    """What goes wrong, for as long as the first command runs.

    :param orders: faults of the sandbox
    :param verdict: what the first request for each action meets
    :param dies: 'source' or 'target': whose compute dies at the first order
    :param closes: every other host is closed when Nova is asked to move
    :param is_targeted: the move is ordered to one host
    :param breaks: Nova may leave what no API heals, and that must be told
    """

    orders: tuple[Mapping[str, Any], ...] = ()
    verdict: Any = None
    dies: str = ''
    closes: bool = False
    is_targeted: bool = False
    breaks: bool = False
    timeout: int = 60


_ALIAS = {'pci_passthrough:alias': 'a100:1'}
_ONE = truth.Wanted(devices=1)

KINDS: Mapping[str, Kind] = {
    'alias': Kind(_ALIAS, _ONE),
    'alias 2': Kind(
        {'pci_passthrough:alias': 'a100:2'}, truth.Wanted(devices=2)
    ),
    'vgpu': Kind({'resources:VGPU': '1'}, truth.Wanted(vgpus=1)),
    'vgpu group': Kind({'resources1:VGPU': '1'}, truth.Wanted(vgpus=1)),
    'volume': Kind(_ALIAS, _ONE, has_volume=True),
    'shut off': Kind(_ALIAS, _ONE, is_off=True),
}


def _order(point: str, error: str = 'libvirt', **more: Any) -> dict[str, Any]:
    return {'point': point, 'error': error} | more


FAULTS: Mapping[str, Fault] = {
    'no fault': Fault(),
    'no valid host': Fault(closes=True),
    'claim': Fault((_order('claim'),)),
    'targeted claim': Fault((_order('claim'),), is_targeted=True),
    'source rollback': Fault((_order('source', 'rollback'),), breaks=True),
    'source error': Fault((_order('source'),), breaks=True),
    'destination error': Fault((_order('destination'),), breaks=True),
    'confirm error': Fault((_order('confirm'),), breaks=True),
    'slow': Fault(
        (
            _order('source', 'slow', seconds=6),
            _order('destination', 'slow', seconds=6),
        ),
        timeout=10,
    ),
    'destination dies': Fault(
        (_order('destination', 'slow', seconds=60),),
        dies='target',
        is_targeted=True,
        breaks=True,
        timeout=15,
    ),
    'source dies': Fault(
        (_order('source', 'slow', seconds=60),),
        dies='source',
        breaks=True,
        timeout=15,
    ),
    'source dies confirming': Fault(
        (_order('confirm', 'slow', seconds=60),),
        dies='source',
        breaks=True,
        timeout=25,
    ),
    '409': Fault(verdict=409),
    '500': Fault(verdict=500),
    '503': Fault(verdict=503),
    'cut': Fault(verdict=wire.CUT),
    'not answered': Fault(verdict=wire.LOSE),
    'API gone': Fault(verdict=GONE),
    'token expired': Fault(verdict=EXPIRED),
}

#: where a volume-backed server, which is shelved, meets the same
SHELVING = {
    'claim': 'spawn',
    'source': 'offload',
    'destination': 'spawn',
}


@dataclasses.dataclass(frozen=True)
class Played:
    """How a case went."""

    kind: str
    fault: str
    verdict: str
    story: tuple[str, ...]
    seconds: float
    requests: int

    def __str__(self) -> str:
        lines = [f'{self.kind} x {self.fault}: {self.verdict}', *self.story]
        return '\n  '.join(lines)
