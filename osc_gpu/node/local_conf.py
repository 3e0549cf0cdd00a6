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

"""How DevStack brings a line of local.conf to nova.conf.

DevStack (inc/meta-config) has awk make a command of each line, reads that
with ``read``, which takes one level of backslashes, and has the shell read it
within double quotes, which takes another. So a quote has three backslashes to
arrive in nova.conf; with one, or none, it is lost, and Nova finds no JSON.
"""

import re


def escaped(value: str) -> str:
    """Return what has to be in local.conf for a value to arrive."""
    return value.replace('\\', '\\' * 4).replace('"', '\\\\\\"')


def arriving(value: str) -> str:
    """Return what arrives of a value in local.conf."""
    read = re.sub(r'(?s)\\(.)', r'\1', value)
    return re.sub(r'\\([$`"\\])|"', lambda found: found[1] or '', read)
