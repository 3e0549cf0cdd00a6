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

"""Services that died, in a process that lives on.

A nova-compute that loses power stops between two things that it does. Here
it is a few threads of a process that it shares with all others, and no thread
can be ended from outside. So whatever leaves a thread for the world (a
statement to the database, a request, a message) looks first whether the
thread works for somebody who is dead, and ends it if so.
"""

import functools
import os
import sys
import time
from typing import Any
from typing import NoReturn

_NOVA = f'{os.sep}nova{os.sep}'
_SLICE = 0.1

#: the objects of dead services by their id, kept so that no id comes again
_dead: dict[int, Any] = {}


class Died(BaseException):
    """The thread's service is dead; no handler of errors may see it."""


def bury(*owners: Any) -> None:
    """End, from now on, every thread that runs a method of one of these."""
    _dead.update((id(owner), owner) for owner in owners)


def die(*args: Any, **kwargs: Any) -> NoReturn:
    """Be what a dead service calls."""
    raise Died


def check() -> None:
    """End the calling thread when it works for a dead service."""
    if not _dead:
        return
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_varnames[:1] == ('self',) and _NOVA in code.co_filename:
            if id(frame.f_locals.get('self')) in _dead:
                raise Died
        frame = frame.f_back  # type: ignore[assignment]


def sleep(seconds: float) -> None:
    """Sleep, unless the thread's service dies meanwhile."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        check()
        time.sleep(min(_SLICE, left))
    check()


def install() -> None:
    """Have every way out of a thread looked after; call it once."""
    from keystoneauth1 import session
    from oslo_messaging._drivers import impl_fake
    import sqlalchemy
    from sqlalchemy import event

    for owner, name in (
        (session.Session, 'request'),
        (impl_fake.FakeDriver, '_send'),
    ):
        setattr(owner, name, _checked(getattr(owner, name)))

    # Before BEGIN takes the write lock.
    event.listen(
        sqlalchemy.Engine,
        'before_cursor_execute',
        lambda *args: check(),
        insert=True,
    )


def _checked(method: Any) -> Any:
    @functools.wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        check()
        return method(*args, **kwargs)

    return wrapper
