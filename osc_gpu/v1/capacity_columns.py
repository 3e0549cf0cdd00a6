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

"""Columns of ``openstack gpu capacity``."""

from typing import Any
from typing import TYPE_CHECKING

from cliff import columns as cliff_columns

from osc_gpu.i18n import _

if TYPE_CHECKING:
    from osc_gpu.cloud import capacity

_UNKNOWN = 'unknown'


class CountColumn(cliff_columns.FormattableColumn[Any]):
    """A number, or the word unknown for None, which is less than any."""

    def human_readable(self) -> str:
        """Return the number or the word."""
        return str(self.machine_readable())

    def machine_readable(self) -> int | str:
        """Return the number or the word."""
        return _UNKNOWN if self._value is None else self._value

    def __lt__(self, other: Any) -> bool:
        """Compare with another column of this class."""
        mine, its = (
            -1 if c._value is None else c._value for c in (self, other)
        )
        return bool(mine < its)


def _fits(host: 'capacity.HostVerdict') -> int | str:
    return _UNKNOWN if host.unknown else host.fits


class HostsColumn(cliff_columns.FormattableColumn[Any]):
    """What each host takes, and what limits it."""

    def human_readable(self) -> str:
        """Return a line for each host: name, number, limits."""
        return '\n'.join(
            f'{host.host}: {_fits(host)} ({", ".join(host.limits)})'
            for host in self._value
        )

    def machine_readable(self) -> list[dict[str, Any]]:
        """Return a list of ``{"host", "fits", "limit"}``."""
        return [
            {'host': h.host, 'fits': _fits(h), 'limit': list(h.limits)}
            for h in self._value
        ]


class WithoutColumn(cliff_columns.FormattableColumn[Any]):
    """What would fit without each of the terms that limit."""

    def human_readable(self) -> str:
        """Return a line for each term."""
        return '\n'.join(
            (
                _("%(term)s: %(fits)d on 1 host")
                if relaxed.hosts == 1
                else _("%(term)s: %(fits)d on %(hosts)d hosts")
            )
            % relaxed._asdict()
            for relaxed in self._value
        )

    def machine_readable(self) -> list[dict[str, Any]]:
        """Return a list of ``{"term", "fits", "hosts"}``."""
        return [relaxed._asdict() for relaxed in self._value]
