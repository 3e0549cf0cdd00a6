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

"""Nodes for hypothesis: any that the model and the grammar allow."""

from hypothesis import strategies as st

from osc_gpu.node import gpus
from osc_gpu.node import grammar
from osc_gpu.node import model


def matching(pattern):
    return st.from_regex(pattern, fullmatch=True)


ADDRESSES = st.builds(
    '{}:{:02x}:{:02x}.{}'.format,
    st.sampled_from(('0000', '0000', '0001', 'ffff', '10000')),
    st.integers(0, 0xFF),
    st.integers(0, 0x1F),
    st.integers(0, 7),
)
HEX2 = matching(grammar.HEX2)
HEX4 = matching(grammar.HEX4)
WORDS = st.text(
    'abcdefghijklmnopqrstuvwxyzABCXYZ0123456789_', min_size=1, max_size=12
)
LINES = st.text(
    st.characters(exclude_categories=('C', 'Z'), include_characters=' '),
    min_size=1,
    max_size=30,
)
COUNTS = st.integers(0, 1 << 40)


def some(items, most=3):
    return st.lists(items, max_size=most).map(tuple)


def maybe(items):
    return st.none() | items


FUNCTIONS = st.builds(
    model.Function,
    ADDRESSES,
    HEX4,
    HEX4,
    maybe(HEX4),
    maybe(HEX2),
    maybe(HEX4),
    maybe(HEX4),
    maybe(st.just('') | WORDS),
    maybe(some(WORDS)),
    maybe(st.integers(-1, 64)),
    maybe(st.integers(0, 10**9).map(str)),
)
VGPUS = st.builds(
    model.Vgpus,
    some(st.builds(model.MdevType, WORDS, maybe(LINES), COUNTS, COUNTS)),
    maybe(some(st.builds(model.VgpuType, WORDS, LINES))),
    maybe(st.integers(0, 10**9).map(str)),
)
GPUS = st.builds(
    model.Gpu,
    FUNCTIONS,
    some(FUNCTIONS),
    maybe(some(FUNCTIONS)),
    maybe(some(st.builds(model.Bar, COUNTS, COUNTS, st.booleans()))),
    maybe(COUNTS),
    maybe(st.just(())),
    maybe(VGPUS),
    maybe(st.builds(model.Mig, maybe(st.booleans()), maybe(some(WORDS)))),
    maybe(st.booleans()),
)
NODES = st.builds(
    model.Node,
    maybe(WORDS),
    maybe(WORDS),
    maybe(WORDS),
    maybe(some(LINES)),
    maybe(st.sampled_from(('intel', 'amd', ''))),
    maybe(st.booleans()),
    maybe(st.booleans()),
    maybe(some(WORDS)),
    maybe(some(WORDS)),
    maybe(some(matching(grammar.IDS))),
    st.lists(GPUS, max_size=3, unique_by=lambda gpu: gpu.address).map(tuple),
)

#: What lspci says of a GPU: one with nothing that only VFs have.
_WHAT = st.sampled_from(
    (
        ('10de', '15f8', gpus.CONTROLLER_3D),
        ('10de', '1b80', gpus.VGA),
        ('10de', 'ffff', gpus.CONTROLLER_3D),
        ('1002', '74a1', gpus.ACCELERATOR),
        ('1002', '740f', gpus.DISPLAY),
    )
)


@st.composite
def listings(draw):
    """GPUs on buses of their own, as lspci may tell them."""
    buses = draw(
        st.lists(
            st.tuples(
                st.sampled_from(('0000', '0001', '10000')),
                st.integers(1, 0xFF),
            ),
            min_size=1,
            max_size=5,
            unique=True,
        )
    )
    found = []
    for domain, bus in buses:
        vendor_id, product_id, class_id = draw(_WHAT)
        subsystem = draw(maybe(st.tuples(HEX4, HEX4))) or (None, None)
        driver = draw(maybe(st.sampled_from(('', 'nvidia', 'vfio-pci'))))
        modules = draw(
            maybe(
                st.lists(WORDS, min_size=1, max_size=3, unique=True)
                .map(sorted)
                .map(tuple)
            )
        )
        if driver == '' and modules is None:
            driver = None
        if driver is None and modules is not None:
            driver = ''
        found.append(
            model.Function(
                f'{domain}:{bus:02x}:00.0',
                vendor_id,
                product_id,
                class_id,
                draw(maybe(HEX2)),
                *subsystem,
                driver,
                modules,
            )
        )
    return tuple(sorted(found, key=gpus.order))
