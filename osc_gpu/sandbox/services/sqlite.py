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

"""SQLite under many threads.

oslo.db opens deferred transactions. Two of them that both read first and
write later end in "database is locked" at once, whatever the timeout: neither
can be upgraded. Taking the write lock when a transaction begins cures it.
"""

import sqlite3
import threading
import time
from typing import Any

import sqlalchemy
from sqlalchemy import event

_LIMIT = 60.0
_PAUSE = 0.005

#: The connections on which a thread has begun, to know its own lock again.
_own = threading.local()


def prepare(*, immediate: bool = True) -> None:
    """Make every engine of this process safe for writers side by side.

    Keystone gets ``immediate=False``: its releases up to 29 leave a read
    transaction open, which would keep the write lock for good.
    """

    @event.listens_for(sqlalchemy.Engine, 'connect')
    def connect(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute('PRAGMA journal_mode=WAL')
        cursor.execute('PRAGMA synchronous=OFF')
        # Also for a read outside of a transaction while WAL is checkpointed.
        timeout = 250 if immediate else int(_LIMIT * 1000)
        cursor.execute(f'PRAGMA busy_timeout={timeout}')
        cursor.close()

    @event.listens_for(sqlalchemy.Engine, 'before_cursor_execute', retval=True)
    def execute(
        connection: Any,
        cursor: Any,
        statement: str,
        parameters: Any,
        context: Any,
        executemany: bool,
    ) -> tuple[str, Any]:
        # oslo.db says BEGIN itself, as a statement.
        if immediate and statement == 'BEGIN':
            if connection.dialect.name == 'sqlite':
                _begin_immediate(cursor)
                return 'SELECT 1', parameters
        return statement, parameters


def _begin_immediate(cursor: sqlite3.Cursor) -> None:
    # Placement reads in a transaction of its own inside one that writes, when
    # two allocate at once; it would wait for itself.
    begun = [c for c in getattr(_own, 'begun', ()) if _begun(c)]
    _own.begun = [*begun, cursor.connection]
    if any(_file(c) == _file(cursor.connection) for c in begun):
        cursor.execute('BEGIN')
        return
    deadline = time.monotonic() + _LIMIT
    while True:
        try:
            cursor.execute('BEGIN IMMEDIATE')
            return
        except sqlite3.OperationalError as exc:
            if 'locked' not in str(exc) or time.monotonic() > deadline:
                raise
        # Waited for here and not inside SQLite, which would stop every
        # green thread of an eventlet process.
        time.sleep(_PAUSE)


def _begun(connection: sqlite3.Connection) -> bool:
    try:
        return connection.in_transaction
    except sqlite3.ProgrammingError:  # closed meanwhile
        return False


def _file(connection: sqlite3.Connection) -> str:
    return str(connection.execute('PRAGMA database_list').fetchone()[2])
