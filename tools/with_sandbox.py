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

"""Run a command with a sandbox of its own, and end the sandbox after it.

    python tools/with_sandbox.py [--release R] [--pci-off] -- stestr run ...

The command finds the sandbox by ``OSC_GPU_SANDBOX_STATE``. Its exit status is
ours. When it fails, the sandbox's logs are kept and the last errors in them
are shown.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

SANDBOX = pathlib.Path(sys.executable).parent / 'osc-gpu-sandbox'
_KEPT = 40


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Run with a sandbox')
    parser.add_argument('--release', help='release of OpenStack')
    parser.add_argument('--pci-off', action='store_true')
    parser.add_argument('command', nargs='+')
    return parser.parse_args(argv)


def _show_errors(state: pathlib.Path) -> None:
    print(f'--- the sandbox is in {state}; errors in its logs:')
    for log in sorted((state / 'logs').glob('*.log')):
        lines = log.read_text(errors='replace').splitlines()
        wrong = [line for line in lines if ' ERROR ' in line]
        for line in wrong[-_KEPT:]:
            print(f'{log.name}: {line[:300]}')


def main(argv: list[str]) -> int:
    options = _parse(argv)
    state = pathlib.Path(tempfile.mkdtemp(prefix='osc-gpu-sandbox-'))
    env = os.environ | {'OSC_GPU_SANDBOX_STATE': str(state)}
    up = [str(SANDBOX), 'up']
    if options.release:
        up += ['--release', options.release]
    if options.pci_off:
        up += ['--no-pci-in-placement']
    status = 1
    try:
        status = subprocess.run(up, env=env).returncode
        if not status:
            status = subprocess.run(options.command, env=env).returncode
    finally:
        if status:
            _show_errors(state)
        down = subprocess.run([str(SANDBOX), 'down'], env=env).returncode
        if not status and not down:
            shutil.rmtree(state)
    return status or down


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
