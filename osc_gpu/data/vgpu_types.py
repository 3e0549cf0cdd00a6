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

"""What NVIDIA's cards can be divided in: vGPU types and MIG profiles.

The tables ``vgpu_types.txt`` and ``mig_profiles.txt`` beside this module are
read when they are asked for first. They know no numbers: nvidia-697, or 1155,
is what a driver calls a type, and every driver numbers anew.
"""

from collections.abc import Mapping
import functools
import re
from typing import NamedTuple

VENDOR_ID = '10de'

_NAME = re.compile(
    r'(?:[A-Za-z0-9 ]* )?(?P<series>[A-Za-z0-9]+(?:-Ada)?)'
    r'-(?:(?P<slices>[1-9])-)?(?P<size>[0-9]{1,3})'
    r'(?P<kind>[A-Z])(?P<more>ME|GFX)?'
)
_MORE = {'ME': '+me', 'GFX': '+gfx'}


class Name(NamedTuple):
    """The name of a vGPU type, in its parts.

    ``bare`` is the name without the vendor, A100D-2-20C; ``profile`` is the
    MIG profile that a vGPU of this type needs, 2g.20gb, '' for none; ``size``
    is that of its memory, in GB.
    """

    bare: str
    series: str
    profile: str
    size: int


def parse(name: str) -> Name | None:
    """Take the name of a vGPU type apart; None if it is not one of NVIDIA's.

    :param name: with or without the vendor, GRID A100D-2-20C
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    profile = ''
    if found['slices']:
        more = _MORE.get(found['more'], '')
        profile = f'{found["slices"]}g.{found["size"]}gb{more}'
    bare = name.split(' ')[-1]
    return Name(bare, found['series'], profile, int(found['size']))


def of_card(product_id: str) -> Mapping[str, int] | None:
    """Return the vGPU types of a card, and how many of each it can have.

    None if nothing is known of the card. Cards of one product id may have
    the types of several series: the A2 and the A16 are both 25b6.

    :param product_id: four hex digits, of a card of NVIDIA's
    """
    product_id = product_id.lower()
    found: dict[str, int] = {}
    for (series, *ids), types in _table('vgpu_types.txt'):
        if product_id in ids:
            found |= {f'{series}-{rest}': count for rest, count in types}
    return found or None


def most(name: str) -> int | None:
    """Return how many vGPUs of a type a card can have; None if unknown.

    :param name: with or without the vendor
    """
    bare = name.split(' ')[-1]
    for (series, *_ids), types in _table('vgpu_types.txt'):
        for rest, count in types:
            if bare == f'{series}-{rest}':
                return count
    return None


def mig_profiles(product_id: str) -> Mapping[str, int] | None:
    """Return MIG profiles of a card, and how many of each it can have.

    It can have more profiles than these. None if nothing is known of it.

    :param product_id: four hex digits, of a card of NVIDIA's
    """
    for (known, *_none), profiles in _table('mig_profiles.txt'):
        if known == product_id.lower():
            return dict(profiles)
    return None


def mig_slices(product_id: str) -> int | None:
    """Return in how many slices MIG divides a card; None if unknown.

    :param product_id: four hex digits, of a card of NVIDIA's
    """
    names = [parse(name) for name in of_card(product_id) or ()]
    slices = [int(n.profile[0]) for n in names if n and n.profile]
    return max(slices, default=None)


@functools.cache
def _table(
    name: str,
) -> list[tuple[list[str], list[tuple[str, int]]]]:
    """Return what a table has: words of a heading, and what is below it."""
    from importlib import resources

    text = resources.files('osc_gpu.data').joinpath(name).read_text('utf-8')
    found: list[tuple[list[str], list[tuple[str, int]]]] = []
    for line in text.splitlines():
        if line.startswith('\t'):
            below, count = line.split()
            found[-1][1].append((below, int(count)))
        elif not line.startswith('#'):
            found.append((line.split(), []))
    return found
