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

"""The console script ``osc-gpu-sandbox``.

Exit status: 0 done; 1 failed, with one line that says why (and the end of a
log, where one knows more); 2 usage; 130 interrupted. ``status`` ends with 0
when the sandbox is running, 3 when none is, 1 when only parts of one are.
"""

import argparse
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import os
import pathlib
import signal
import sys
import threading
from typing import Any

from osc_gpu.i18n import _
from osc_gpu.sandbox import commands
from osc_gpu.sandbox import errors
from osc_gpu.sandbox import guest_commands
from osc_gpu.sandbox import guest_options
from osc_gpu.sandbox import releases
from osc_gpu.sandbox import topology

POINTS = (
    'spawn',
    'claim',
    'source',
    'destination',
    'confirm',
    'revert',
    'live-check',
    'live',
    'stop',
    'start',
    'shelve',
    'offload',
)
ERRORS = ('libvirt', 'rollback', 'slow')


class Interrupted(BaseException):
    """A signal asked to stop; ``number`` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    options = make_parser().parse_args(argv)
    try:
        with _signals():
            status = int(options.run(options))
            sys.stdout.flush()
            return status
    except errors.SandboxError as exc:
        print(f'osc-gpu-sandbox: {exc}', file=sys.stderr)
        return 1
    except (Interrupted, KeyboardInterrupt) as exc:
        print(_("osc-gpu-sandbox: interrupted"), file=sys.stderr)
        return 128 + getattr(exc, 'number', int(signal.SIGINT))
    except BrokenPipeError:
        # Nobody reads on, as with `| head`; nor could an error be told.
        _drop_output()
        return 1
    except OSError as exc:
        print(f'osc-gpu-sandbox: {errors.of_system(exc)}', file=sys.stderr)
        try:
            sys.stdout.flush()
        except OSError:
            _drop_output()
        return 1


def _drop_output() -> None:
    """Let Python not try, and fail, to write the rest when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind as Ctrl-C does; the first one counts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.getsignal(number)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        # nohup ignores SIGHUP, and means it.
        if signal.getsignal(number) is not signal.SIG_IGN
    }

    def stop(number: int, frame: Any) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(number)

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog='osc-gpu-sandbox',
        description=_(
            "An OpenStack cloud with GPUs on this machine, to try, rehearse "
            "and test on"
        ),
    )
    nouns = parser.add_subparsers(metavar='<command>', required=True)
    _add_up(_add(nouns, 'up', commands.up, _("Start a sandbox")))
    text = _("End the sandbox, for certain")
    _add(nouns, 'down', commands.down, text)
    text = _("Show how the sandbox is")
    _add_format(_add(nouns, 'status', commands.status, text))
    text = _("Show how clients get to it")
    _add_env(_add(nouns, 'env', commands.env, text))
    _add_faults(nouns)
    _add_hosts(nouns)
    _add_guests(nouns)
    text = _("Install releases of OpenStack, and start nothing")
    _add_install(
        _add(nouns, 'install', commands.install, text, with_state=False)
    )
    return parser


def _add(
    where: Any,
    name: str,
    run: Callable[..., int],
    text: str,
    with_state: bool = True,
) -> argparse.ArgumentParser:
    """Add a command; ``where`` are the subparsers of argparse."""
    made: argparse.ArgumentParser = where.add_parser(
        name, help=text, description=text
    )
    made.set_defaults(run=run)
    if with_state:
        _add_state(made)
    return made


def _add_state(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--state',
        metavar='<folder>',
        help=_(
            "Folder of the sandbox (default: $OSC_GPU_SANDBOX_STATE, else "
            "osc-gpu/sandbox in the user's state folder)"
        ),
    )


def _add_faults(nouns: Any) -> None:
    actions = nouns.add_parser(
        'fault', help=_("Make things in the cloud fail or take long")
    ).add_subparsers(metavar='<action>', required=True)
    text = _("Set a fault at a point")
    _add_fault(_add(actions, 'set', commands.fault_set, text))
    text = _("List the faults")
    _add_format(_add(actions, 'list', commands.fault_list, text))
    text = _("Take all faults away")
    _add(actions, 'clear', commands.fault_clear, text)


def _add_hosts(nouns: Any) -> None:
    actions = nouns.add_parser(
        'host', help=_("Let a compute service die and come back")
    ).add_subparsers(metavar='<action>', required=True)
    for action, run, text in (
        ('kill', commands.host_kill, _("Kill a host's compute service")),
        ('start', commands.host_start, _("Start it again, guests and all")),
    ):
        parser = _add(actions, action, run, text)
        parser.add_argument('host', metavar='<host>', help=_("Host (name)"))


def _add_guests(nouns: Any) -> None:
    actions = nouns.add_parser(
        'guest', help=_("Let the guest of a server do something")
    ).add_subparsers(metavar='<action>', required=True)
    text = _("Let it write to its serial console")
    guest_options.add_say(_add(actions, 'say', guest_commands.say, text))
    text = _("Boot it in a folder: install drivers, report its GPUs")
    guest_options.add_boot(_add(actions, 'boot', guest_commands.boot, text))


def _add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '-f',
        '--format',
        metavar='<format>',
        choices=('text', 'json'),
        default='text',
        help=_("Output format: text, json (default: text)"),
    )


def _add_up(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--release',
        metavar='<release>',
        choices=releases.RELEASES,
        default=releases.DEFAULT,
        help=_("Release of OpenStack: %(choices)s (default: %(default)s)"),
    )
    cloud = parser.add_mutually_exclusive_group()
    cloud.add_argument(
        '--topology',
        metavar='<file>',
        type=pathlib.Path,
        help=_("YAML file that says what the cloud is made of"),
    )
    cloud.add_argument(
        '--hosts',
        metavar='<count>',
        type=_whole(1, topology.MAX_HOSTS),
        help=_("Make a cloud of that many hosts, no two racks alike"),
    )
    parser.add_argument(
        '--port-base',
        metavar='<port>',
        type=_whole(1, 65530),
        help=_(
            "First of seven ports in a row, and one more for each --with "
            "(default: any free ones)"
        ),
    )
    _add_placement(parser)
    _add_with(parser)


def _add_placement(parser: argparse.ArgumentParser) -> None:
    placement = parser.add_mutually_exclusive_group()
    placement.add_argument(
        '--pci-in-placement',
        action='store_true',
        default=None,
        help=_(
            "Schedule PCI devices through Placement, whatever the topology"
        ),
    )
    placement.add_argument(
        '--no-pci-in-placement',
        dest='pci_in_placement',
        action='store_false',
        default=None,
        help=_("Keep PCI devices out of Placement, whatever the topology"),
    )


def _add_with(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--with',
        metavar='<project>',
        dest='extras',
        choices=tuple(releases.EXTRAS),
        action='append',
        default=[],
        help=_("What the cloud has besides: %(choices)s (default: nothing)"),
    )


def _add_env(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--user',
        metavar='<user>',
        default='admin',
        help=_("User to be (default: admin)"),
    )
    parser.add_argument(
        '--write-clouds',
        metavar='<file>',
        type=pathlib.Path,
        help=_("Write a clouds.yaml with all users instead"),
    )


def _add_fault(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'point',
        metavar='<point>',
        choices=POINTS,
        help=_("Where: %s; source and destination are of a migration")
        % ', '.join(POINTS),
    )
    parser.add_argument(
        '--server', metavar='<server>', help=_("Only this server (name or ID)")
    )
    parser.add_argument(
        '--host', metavar='<host>', help=_("Only on this host")
    )
    parser.add_argument(
        '--error',
        metavar='<error>',
        choices=ERRORS,
        default='libvirt',
        help=_(
            "What: libvirt fails, Nova rolls back, or it is just slow "
            "(%(choices)s; default: %(default)s)"
        ),
    )
    parser.add_argument(
        '--times',
        metavar='<count>',
        type=_whole(1, 10**6),
        default=1,
        help=_("How often (default: %(default)s)"),
    )
    parser.add_argument(
        '--seconds',
        metavar='<seconds>',
        type=_whole(0, 86400),
        help=_("How slow (default: 30)"),
    )


def _add_install(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        '--release',
        metavar='<release>',
        choices=releases.RELEASES,
        action='append',
        help=_("Release to install (repeat option for several: %(choices)s)"),
    )
    which.add_argument(
        '--all', action='store_true', help=_("Install every release")
    )
    _add_with(parser)


def _whole(least: int, most: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not text.isascii() or not text.isdigit():
            raise argparse.ArgumentTypeError(_("%r is no whole number") % text)
        if not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(
                _("%(value)s is not between %(least)d and %(most)d")
                % {'value': text, 'least': least, 'most': most}
            )
        return int(text)

    return convert


if __name__ == '__main__':
    sys.exit(main())
