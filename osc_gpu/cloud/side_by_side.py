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

"""Requests that must be many, several of them under way at once."""

from collections.abc import Callable
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar('T')
R = TypeVar('R')

#: Requests under way at once, unless the user says otherwise.
DEFAULT = 8

#: As many connections to a service requests keeps alive
#: (requests.adapters.DEFAULT_POOLSIZE).
MOST = 10


def each(
    call: Callable[[T], R], items: Iterable[T], at_once: int = DEFAULT
) -> list[R]:
    """Call a function for each item, several at once; keep their order.

    The first one is called alone: with it the session discovers versions and
    logs in, which the others then need not.

    :param at_once: calls under way at a time, 1 to ``MOST``
    :raises Exception: what the first call that failed raised; calls that had
        not begun by then are not made
    """
    todo = list(items)
    done = [call(item) for item in todo[:1]]
    if at_once == 1 or len(todo) <= 2:
        return done + [call(item) for item in todo[1:]]
    from concurrent import futures

    pool = futures.ThreadPoolExecutor(min(at_once, len(todo) - 1))
    try:
        return done + list(pool.map(call, todo[1:]))
    finally:
        pool.shutdown(cancel_futures=True)
