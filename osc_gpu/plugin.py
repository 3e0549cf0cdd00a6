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

"""The contract with the ``openstack`` shell."""

import argparse
from typing import Any

from osc_lib import utils

from osc_gpu.i18n import _

API_NAME = 'gpu'
API_VERSION_OPTION = 'os_gpu_api_version'
# A mapping, which OpenStackClient 7.5 wants; later ones take a tuple too.
API_VERSIONS = {'1': 'osc_gpu.plugin'}
DEFAULT_API_VERSION = '1'


def make_client(instance: Any) -> Any:
    """Return the connection that the shell has already authenticated."""
    return instance.sdk_connection


def build_option_parser(
    parser: argparse.ArgumentParser,
) -> argparse.ArgumentParser:
    """Add the one global option that every client module must bring."""
    parser.add_argument(
        '--os-gpu-api-version',
        metavar='<gpu-api-version>',
        default=utils.env('OS_GPU_API_VERSION'),
        help=_("GPU command version, default=%s (Env: OS_GPU_API_VERSION)")
        % DEFAULT_API_VERSION,
    )
    return parser
