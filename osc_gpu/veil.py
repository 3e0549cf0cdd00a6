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

"""What must not come into any log: user data, in which secrets are.

Nova shows a server's user data to admins, so they are in what it is sent and
in what it answers, and ``--debug`` logs both.
"""

from collections.abc import Iterator
import contextlib
import logging
import re

_USER_DATA = r'(user_data\\?["\']: ?\\?["\'])[^"\'\\]+'


class _Veil(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if 'user_data' in text:
            record.msg, record.args = re.sub(_USER_DATA, r'\1***', text), ()
        return True


@contextlib.contextmanager
def over_logs() -> Iterator[None]:
    """Take user data out of all that is logged, by whomever."""
    veil = _Veil()
    handlers = logging.getLogger().handlers[:]
    for handler in handlers:
        handler.addFilter(veil)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(veil)
