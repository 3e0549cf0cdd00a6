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

"""A compute node as JSON, there and back."""

from typing import Any

from osc_gpu.node import model


def dump(node: model.Node) -> dict[str, Any]:
    """Return a node as JSON has it."""
    raise NotImplementedError


def load(text: str) -> model.Node:
    """Read a node from JSON.

    :raises ValueError: with a sentence that says what is wrong
    """
    raise NotImplementedError
