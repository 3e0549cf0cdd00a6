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

"""Columns that several commands have."""

from typing import Any

from cliff import columns as cliff_columns


class LinesColumn(cliff_columns.FormattableColumn[Any]):
    """Sentences, each on a line of its own, or as a list."""

    def human_readable(self) -> str:
        """Return a line for each."""
        return '\n'.join(self._value)

    def machine_readable(self) -> list[str]:
        """Return them as a list."""
        return list(self._value)
