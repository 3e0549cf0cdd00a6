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

"""Text into lines as ``lspci`` printed them, where line breaks were lost.

Nothing here says what a line means. What begins in the midst of a line has to
look like a line of its own, and where such a line ends, it is cut: what comes
after is somebody's words, and of no function.
"""

from collections.abc import Iterator
import re

from osc_gpu.node import gpus

#: What lspci without -n calls classes: GPUs', and of what is beside them.
CLASSES = {
    'VGA compatible controller': gpus.VGA,
    '3D controller': gpus.CONTROLLER_3D,
    'Display controller': gpus.DISPLAY,
    'Processing accelerators': gpus.ACCELERATOR,
    'Audio device': '0403',
    'USB controller': '0c03',
    'Serial bus controller': '0c80',
}
#: A time of day, 06:19:29.0, is none.
ADDRESS = (
    r'(?<![0-9a-z:.-])(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7]'
    r'(?![0-9a-z:.-])'
)
_IDS = '[0-9a-f]{4}:[0-9a-f]{4}(?![0-9a-f:])'

#: No line of lspci is longer, and none of a function.
_LONGEST = 1024
_LONGEST_HEAD = 512

#: What begins a line: a function as -n, -nn and neither tell it, what -k has
#: below it, and a tag of -vmm. Blanks are looked at once, however many.
_START = re.compile(
    rf'(?={ADDRESS}\s{{1,8}}'
    r'(?:(?:class )?[0-9a-f]{4}: [0-9a-f]{4}:'
    r'|[a-z0-9][a-z0-9 /.-]{1,60} \[[0-9a-f]{4}\]: '
    rf'|(?:{"|".join(CLASSES)}): ))'
    r'|(?<=\S)\s+(?=(?:DeviceName|Subsystem|Kernel driver in use'
    r'|Kernel modules): |[a-z]{3,12}:\t)',
    re.I,
)
_HEAD = re.compile(rf'\s*{ADDRESS}\s+\S', re.I)
#: The line of a function, as far as it goes.
_WHOLE_HEAD = re.compile(
    rf'\s*{ADDRESS}\s+(?:(?:class )?[0-9a-f]{{4}}: {_IDS}'
    rf'|\S.{{1,{_LONGEST_HEAD}}}?(?: \[{_IDS}\]|(?= \(rev [0-9a-f]{{2}}\))))'
    r'(?: \(rev [0-9a-f]{2}\))?'
    r'(?: \(prog-if [0-9a-f]{2}(?: \[[^]]{1,60}\])?\))?',
    re.I,
)
_WHOLE = re.compile(
    r'\s*(?:Kernel driver in use: [\w-]+|Kernel modules: [\w-]+(?:, [\w-]+)*)'
    r'(?=\s)'
)


def split(text: str) -> Iterator[str]:
    """Yield lines, those that lost their breaks as they were.

    What was no line of lspci's may be missing, or in parts.
    """
    for line in text.splitlines():
        for part in _START.sub('\n', line).splitlines() or ('',):
            is_head = _HEAD.match(part)
            whole = (_WHOLE_HEAD if is_head else _WHOLE).match(part)
            if whole and part[whole.end() :].strip():
                yield whole[0]
                yield ''
                part = part[whole.end() :]
            elif is_head:
                part = part[:_LONGEST_HEAD]
            if len(part) <= _LONGEST:
                yield part
