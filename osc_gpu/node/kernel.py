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

"""What a node's kernel was told, and what it has loaded."""

from collections.abc import Iterator
import fnmatch
import functools
import re

from osc_gpu.node import grammar
from osc_gpu.node import roots

#: Where modprobe looks, the first first: a file there hides its namesakes.
_MODPROBE = (
    'etc/modprobe.d',
    'run/modprobe.d',
    'usr/local/lib/modprobe.d',
    'usr/lib/modprobe.d',
    'lib/modprobe.d',
)
#: Lists of modules on the command line that are not to be loaded.
_FORBIDDING = (
    'modprobe.blacklist',
    'rd.driver.blacklist',
    'module_blacklist',
)
_NOTHING = re.compile('(?:/usr)?/s?bin/(?:false|true)')
#: Of what a kernel was told, a password for its disks is no one else's matter.
_SECRETS = (
    (re.compile('(passw(?:or)?d|secret|token)([^=]*=).+', re.I), r'\1\2***'),
    (re.compile('(://|iscsi:)[^@/]*@'), r'\1***@'),
)
_MOST_ALIASES = 16 << 20


def command_line(root: roots.Root) -> tuple[str, ...] | None:
    """Return the words of the kernel's command line, without secrets.

    Quotes hold together what blanks would part.
    """
    text = root.at('proc').text('cmdline')
    if not text:
        return None
    found = re.findall(r'(?:"[^"]*"?|[^\s"])+', text)
    return tuple(_veiled(word) for word in found if grammar.is_text(word))


def _veiled(word: str) -> str:
    for pattern, instead in _SECRETS:
        word = pattern.sub(instead, word)
    return word


def values(line: tuple[str, ...], name: str) -> Iterator[str]:
    """Yield what a parameter of the command line lists.

    :param name: with underscores, for which a dash is as good
    """
    for word in line:
        key, is_given, value = word.replace('"', '').partition('=')
        if is_given and grammar.module(key) == grammar.module(name):
            yield from value.split(',')


def loaded(root: roots.Root) -> tuple[str, ...] | None:
    """Return the modules that are loaded."""
    text = root.at('proc').text('modules')
    if text is None:
        return None
    lines = (line.split() for line in text.splitlines())
    return grammar.words(words[0] for words in lines if words)


def settings(root: roots.Root) -> tuple[tuple[str, ...], ...] | None:
    """Return the lines of modprobe's files, in words; None without any."""
    files: dict[str, roots.Folder] = {}
    is_there = False
    for path in _MODPROBE:
        folder = root.at(path)
        names = folder.names()
        is_there = is_there or names is not None
        for name in names or ():
            if name.endswith('.conf'):
                files.setdefault(name, folder)
    if not is_there:
        return None
    texts = (files[name].text(name) or '' for name in sorted(files))
    return tuple(
        tuple(line.split())
        for text in texts
        for line in text.replace('\\\n', ' ').splitlines()
        if line.strip() and not line.lstrip().startswith('#')
    )


def blacklisted(
    line: tuple[str, ...] | None, lines: tuple[tuple[str, ...], ...] | None
) -> tuple[str, ...] | None:
    """Return the modules that are not to be loaded; None if one is unknown.

    :param line: the command line
    :param lines: of modprobe's files
    """
    if line is None or lines is None:
        return None
    found = [name for key in _FORBIDDING for name in values(line, key)]
    for words in lines:
        match words:
            case ('blacklist', name, *_) | ('alias', name, 'off'):
                found.append(name)
            case ('install', name, what, *_) if _NOTHING.fullmatch(what):
                found.append(name)
    return grammar.words(map(grammar.module, found))


def vfio_ids(
    line: tuple[str, ...] | None, lines: tuple[tuple[str, ...], ...] | None
) -> tuple[str, ...] | None:
    """Return vendor:product of what vfio-pci is to take, by its options."""
    if line is None or lines is None:
        return None
    found = list(values(line, 'vfio_pci.ids'))
    for words in lines:
        match words:
            case ('options', 'vfio-pci' | 'vfio_pci', *options):
                found += values(tuple(options), 'ids')
    # More may follow, such as the ids of the subsystem.
    ids = (':'.join(text.lower().split(':')[:2]) for text in found)
    return tuple(sorted({text for text in ids if grammar.IDS.fullmatch(text)}))


class Aliases:
    """Which modules claim a device, by depmod's ``modules.alias``."""

    def __init__(self, root: roots.Root, release: str | None) -> None:
        """Name the kernel; its file is read when it is needed first."""
        self._root = root
        self._release = release
        self._found: dict[str, tuple[str, ...]] = {}

    @functools.cached_property
    def _patterns(self) -> dict[str, list[tuple[str, str]]] | None:
        """Patterns and modules of PCI devices, by the pattern's vendor."""
        if self._release is None:
            return None
        text = self._root.at(f'lib/modules/{self._release}').text(
            'modules.alias', _MOST_ALIASES
        )
        if text is None:
            return None
        found: dict[str, list[tuple[str, str]]] = {}
        for line in text.splitlines():
            if line.startswith('alias pci:v'):
                _alias, pattern, *name = line.split()
                vendor = pattern[5:].partition('d')[0]
                found.setdefault(vendor, []).append((pattern, ''.join(name)))
        return found

    def of(self, modalias: str | None) -> tuple[str, ...] | None:
        """Return the modules that claim a device of this modalias."""
        if modalias is None or self._patterns is None:
            return None
        if modalias not in self._found:
            vendor = modalias[5:].partition('d')[0]
            self._found[modalias] = grammar.words(
                grammar.module(name)
                for key in (vendor, '*')
                for pattern, name in self._patterns.get(key, ())
                if fnmatch.fnmatchcase(modalias, pattern)
            )
        return self._found[modalias]
