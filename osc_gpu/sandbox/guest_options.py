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

"""What can be said on the command line of a guest."""

import argparse

from osc_gpu.i18n import _
from osc_gpu.sandbox import guest_disk
from osc_gpu.sandbox import guest_systems


def add_say(parser: argparse.ArgumentParser) -> None:
    """Add what a guest writes."""
    _add_server(parser)
    parser.add_argument(
        'text',
        metavar='<text>',
        nargs='?',
        help=_("What it writes (default: standard input)"),
    )


def add_boot(parser: argparse.ArgumentParser) -> None:
    """Add what is on a guest's disk, and what is wrong with it."""
    _add_server(parser)
    parser.add_argument(
        '--os',
        metavar='<os>',
        choices=guest_systems.SYSTEMS,
        help=_(
            "System on its new disk: %(choices)s (default: that of the image "
            "or of the user data)"
        ),
    )
    parser.add_argument(
        '--image-driver',
        metavar='<version>',
        help=_("Version of the NVIDIA driver on its new disk (default: none)"),
    )
    parser.add_argument(
        '--spoil',
        metavar='<what>',
        choices=guest_disk.SPOILS,
        action='append',
        default=[],
        help=_("Spoil it: %(choices)s (repeat option for several)"),
    )


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'server', metavar='<server>', help=_("Server (name or ID)")
    )
