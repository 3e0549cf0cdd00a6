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

"""Generated files against those that are there."""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import difflib
import os
import pathlib

from osc_gpu import findings
from osc_gpu.i18n import _
from osc_gpu.node import file_tree
from osc_gpu.node import files as node_files
from osc_gpu.node import for_devstack
from osc_gpu.node import host_kernel
from osc_gpu.node import nova_conf_check
from osc_gpu.node import releases

_MOST = 1 << 20


def check(
    wanted: Sequence[node_files.File],
    path: pathlib.Path,
    release: releases.Release,
    reader: str | None = None,
    host: str | None = None,
) -> tuple[findings.Finding, ...]:
    """Return how what is there differs from what is wanted.

    :param path: a file; or a folder, as ``file_tree.write`` fills it
    :param reader: whose files are meant, if not all
    :param host: of which node, if not of all
    :raises ValueError: it cannot be told what a file is to be compared with,
        or it is none
    :raises OSError: it cannot be read
    """
    meant = [
        file
        for file in wanted
        if reader in (None, file.reader)
        and (host is None or not file.hosts or host in file.hosts)
    ]
    if not meant:
        raise ValueError(_("of that reader or node there is no file"))
    if not path.is_dir():
        return findings.ordered(
            _compare(_pick(meant, path.name), str(path), _read(path), release)
        )
    found: list[findings.Finding] = []
    for file in meant:
        one = file
        if host is not None and file.hosts:
            one = dataclasses.replace(file, hosts=(host,))
        for place in file_tree.places(one):
            there = path / place
            if there.is_file():
                found += _compare(file, str(there), _read(there), release)
            else:
                found.append(
                    findings.Finding(
                        findings.ERROR,
                        'missing-file',
                        str(there),
                        _("it is not there"),
                        _("write it with gpu node config show --output"),
                    )
                )
    return findings.ordered(found)


def _pick(meant: Sequence[node_files.File], name: str) -> node_files.File:
    """Return the one file that a file is to be compared with."""
    same = [f for f in meant if os.path.basename(f.path) == name]
    found = same or list(meant)
    if len(found) == 1:
        return found[0]
    shown = ', '.join(
        f'{f.path} ({f.reader}{" of " if f.hosts else ""}{", ".join(f.hosts)})'
        for f in found
    )
    raise ValueError(
        _("it can be any of %s: say which with --reader or --node, or name a "
          "folder") % shown
    )  # fmt: skip


def _read(path: pathlib.Path) -> str:
    with open(path, 'rb') as file:
        content = file.read(_MOST + 1)
    try:
        if len(content) <= _MOST:
            return content.decode('utf-8')
    except UnicodeDecodeError:
        pass
    raise ValueError(_("%s is no configuration file") % path)


def _compare(
    file: node_files.File, subject: str, text: str, release: releases.Release
) -> Iterator[findings.Finding]:
    if file.path in (nova_conf_check.PATH, for_devstack.PATH):
        try:
            yield from nova_conf_check.compare(
                file.text, subject, text, release
            )
        except ValueError as exc:
            raise ValueError(f'{subject}: {exc}') from exc
    elif file.path in host_kernel.GRUB_FILES:
        yield from _lacking_arguments(file.text, subject, text)
    elif file.is_added:
        yield from _lacking(file.text, subject, text)
    else:
        yield from _differing(file.text, subject, text)


def _lacking(
    wanted: str, subject: str, text: str
) -> Iterator[findings.Finding]:
    """Yield which lines a file lacks that others write to as well."""
    there = _lines(text)
    missing = []
    done = 0
    for line in _lines(wanted):
        if line in there[done:]:
            # Order counts: YAML has the same line in several places.
            done = there.index(line, done) + 1
        else:
            missing.append(line)
    if missing:
        yield findings.Finding(
            findings.ERROR,
            'text',
            subject,
            _("%(missing)d lines are missing: %(first)s")
            % {'missing': len(missing), 'first': _shown(missing[0])},
            _("see gpu node config show"),
        )
    besides = len(there) - len(_lines(wanted)) + len(missing)
    if besides:
        yield findings.Finding(
            findings.INFO,
            'more',
            subject,
            _("%d lines are there besides") % besides,
        )


def _lacking_arguments(
    wanted: str, subject: str, text: str
) -> Iterator[findings.Finding]:
    try:
        missing = host_kernel.lacking(wanted, text)
    except ValueError as exc:
        raise ValueError(f'{subject}: {exc}') from exc
    if missing:
        yield findings.Finding(
            findings.ERROR,
            'text',
            subject,
            _("arguments of the kernel are missing: %s")
            % _shown(' '.join(missing)),
            _("see gpu node config show"),
        )


def _lines(text: str) -> list[str]:
    """Return the lines that are neither blank nor comments.

    Where it belongs is a comment above what is printed of a file.
    """
    lines = [line.rstrip() for line in text.splitlines()]
    # The kernel reads this one, if it is the first.
    program = [line for line in lines[:1] if line.startswith('#!')]
    return program + [
        line for line in lines if line and line.lstrip()[0] not in '#;'
    ]


def _shown(line: str) -> str:
    return (line if line.isprintable() else ascii(line))[:100]


def _differing(
    wanted: str, subject: str, text: str
) -> Iterator[findings.Finding]:
    """Yield how a whole file differs, but for comments and blank lines."""
    lines = [
        line
        for line in difflib.unified_diff(
            _lines(text), _lines(wanted), lineterm='', n=0
        )
        if line[:1] in '+-' and line[:3] not in ('+++', '---')
    ]
    if not lines:
        return
    missing = sum(line.startswith('+') for line in lines)
    yield findings.Finding(
        findings.ERROR,
        'text',
        subject,
        _("%(missing)d lines are missing and %(more)d are too many: %(first)s")
        % {
            'missing': missing,
            'more': len(lines) - missing,
            'first': _shown(lines[0]),
        },
        _("see gpu node config show"),
    )
