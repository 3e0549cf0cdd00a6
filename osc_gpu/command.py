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

"""Typed bases of the commands.

osc-lib's command classes are the documented interface for plugins; here they
get the type of ``app``, the connection, and one place where the cloud's
refusals become one line.
"""

import argparse
import atexit
from collections.abc import Collection
from collections.abc import Iterable
import logging
from typing import Any
from typing import TYPE_CHECKING

from openstack import connection
from osc_lib.command import command
from osc_lib import exceptions

from osc_gpu.cloud import errors
from osc_gpu import veil

if TYPE_CHECKING:
    from osc_gpu import findings


#: Warnings of keystoneauth that an error always follows which says the same.
_FORERUNNERS = {
    'keystoneauth.discover': 'Failed to contact the endpoint at ',
    'keystoneauth.identity.generic.base': 'Failed to discover available',
    'keystoneauth.session': 'Failure: ',
}


def _soften(record: logging.LogRecord) -> bool:
    """Leave a forerunner to ``--debug``."""
    if str(record.msg).startswith(_FORERUNNERS[record.name]):
        record.levelno, record.levelname = logging.DEBUG, 'DEBUG'
    return True


class CloudMixin:
    """Give a command its connection and turn refusals into one line."""

    app: Any

    #: What went wrong although there is something to show: said after it.
    failure = ''

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Made before the shell logs in, which is where a dead Keystone shows.
        for name in _FORERUNNERS:
            logging.getLogger(name).addFilter(_soften)

    @property
    def connection(self) -> connection.Connection:
        """The SDK connection that the shell made: its auth, TLS, region."""
        conn: connection.Connection = self.app.client_manager.sdk_connection
        return conn

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run the command.

        :raises osc_lib.exceptions.CommandError: the cloud refused something,
            or the command has failed
        """
        import gc

        # Python ends with a search for garbage among all that the shell has
        # loaded, which takes it a quarter of a second.
        atexit.register(gc.freeze)
        try:
            with veil.over_logs():
                status: int = super().run(parsed_args)  # type: ignore[misc]
        except errors.REFUSALS as exc:
            raise exceptions.CommandError(
                errors.explain(exc, self.connection)
            ) from exc
        if self.failure:
            raise exceptions.CommandError(self.failure)
        return status


class Command(CloudMixin, command.Command):
    """A command that prints nothing when it succeeds."""


class Lister(CloudMixin, command.Lister):
    """A command that prints rows."""


class ShowOne(CloudMixin, command.ShowOne):
    """A command that prints the fields of one object."""


class Check(Lister):
    """A command that prints findings, and has 1 as exit status for errors."""

    has_error = False

    #: The heading of what is to be done about a finding.
    repair = 'Repair'

    def shown(
        self, found: 'Collection[findings.Finding]'
    ) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
        """Return findings as columns and rows, noting errors among them."""
        from osc_gpu import findings

        self.has_error = findings.has_error(found)
        return ('Severity', 'Check', 'Subject', 'Detail', self.repair), (
            (f.severity, f.check, f.subject, f.detail, f.repair) for f in found
        )

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run the command; return 1 for an error among the findings."""
        return super().run(parsed_args) or int(self.has_error)
