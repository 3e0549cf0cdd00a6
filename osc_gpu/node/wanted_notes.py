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

"""What nothing tells of cards that a configuration is for, as comments."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import textwrap
from typing import NamedTuple

from osc_gpu.node import files as node_files
from osc_gpu.node import wanted


class Note(NamedTuple):
    """What to know about files that have all of some words."""

    about: tuple[str, ...]
    text: str


def of(asked: wanted.Wanted) -> tuple[Note, ...]:
    """Return what could not be checked of what is asked for."""
    return (*_types(asked), *_device_types(asked))


def noted(
    files: Iterable[node_files.File], notes: Sequence[Note]
) -> tuple[node_files.File, ...]:
    """Return files with the notes on what they have, in front.

    All of them take # for a comment. Scripts have nothing of nodes in them.
    """
    return tuple(
        file
        if file.text.startswith('#!')
        else dataclasses.replace(
            file,
            text=''.join(
                f'# {line}\n'
                for note in notes
                if all(word in file.text for word in note.about)
                for line in textwrap.wrap(
                    note.text, 77, break_on_hyphens=False
                )
            )
            + file.text,
        )
        for file in files
    )


def _types(asked: wanted.Wanted) -> Iterator[Note]:
    cards: dict[str, list[str]] = {}
    for offer in asked.offers:
        for vgpu in offer.vgpus:
            if not vgpu.type.is_told:
                cards.setdefault(vgpu.type.id, []).append(vgpu.gpu.address)
    for type_id, addresses in cards.items():
        yield Note(
            (type_id,),
            f'Not checked whether there is a vGPU type {type_id}: '
            "a card tells its types while its driver for hosts is loaded, "
            'and lspci does not show them '
            f'({", ".join(dict.fromkeys(addresses))}).',
        )


def _device_types(asked: wanted.Wanted) -> Iterator[Note]:
    """Yield what to do about aliases of cards that may be PFs.

    Nova leaves PFs out for an alias that does not say that it is for them
    (nova/pci/stats.py, _filter_pools_for_unrequested_pfs).
    """
    untold = (alias.ids for alias in asked.aliases if not alias.device_type)
    for ids in dict.fromkeys(untold):
        yield Note(
            ('alias', ids.partition(':')[2]),
            f'Not known whether {ids} has SR-IOV: if it has, add '
            f'"device_type": "{wanted.PF}" to its alias, or no server gets '
            'one. gpu node show on the node tells, and lspci -vv as root.',
        )
