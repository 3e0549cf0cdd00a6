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

"""A compute node as a file tells it: JSON, or text of ``lspci``."""

import pathlib
from typing import BinaryIO

from osc_gpu.i18n import _
from osc_gpu.node import lspci
from osc_gpu.node import model
from osc_gpu.node import records

#: Eight cards with all their VFs are some hundred KiB.
MOST_BYTES = 16 << 20


def read_file(path: pathlib.Path) -> model.Node:
    """Read a node from a file.

    :raises OSError: it cannot be read
    :raises ValueError: with a sentence that says what is wrong with it
    """
    with open(path, 'rb') as file:
        return read(file)


def read(file: BinaryIO) -> model.Node:
    """Read a node from what is open.

    :raises OSError: it cannot be read
    :raises ValueError: with a sentence that says what is wrong with it
    """
    content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(
            _("is larger than %d MiB: it is not of a node")
            % (MOST_BYTES >> 20)
        )
    try:
        text = content.decode('utf-8-sig')
    except UnicodeDecodeError:
        text = '\0'
    if '\0' in text:
        raise ValueError(
            _(
                'is neither text of lspci nor what "openstack gpu node show '
                '-f json" prints'
            )
        )
    if text.lstrip()[:1] in ('{', '['):
        return records.load(text)
    return lspci.parse(text)
