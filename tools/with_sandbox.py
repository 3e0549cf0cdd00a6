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

r"""Run a command with sandboxes of its own, and end them after it.

    python tools/with_sandbox.py [--release R] [--topology F] [--pci-off] \
        [--with P] [--sandboxes N] -- stestr run ...

The command finds the sandbox by ``OSC_GPU_SANDBOX_STATE``. Of several, each
of the command's own processes has to claim one: ``OSC_GPU_TEST_SANDBOXES``
lists their folders, as ``PATH`` lists its own. The command's exit status is
ours. When it fails, the sandboxes' logs are kept and the last errors in them
are shown.
"""

import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

SANDBOX = pathlib.Path(sys.executable).parent / 'osc-gpu-sandbox'
_KEPT = 40


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Run with a sandbox')
    parser.add_argument('--release', help='release of OpenStack')
    parser.add_argument('--topology', help='file for osc-gpu-sandbox up')
    parser.add_argument('--pci-off', action='store_true')
    parser.add_argument('--with', dest='extra', help='for osc-gpu-sandbox up')
    parser.add_argument('--sandboxes', type=int, default=1)
    parser.add_argument('command', nargs='+')
    return parser.parse_args(argv)


def _show_errors(state: pathlib.Path) -> None:
    print(f'--- the sandbox is in {state}; errors in its logs:')
    for log in sorted((state / 'logs').glob('*.log')):
        lines = log.read_text(errors='replace').splitlines()
        wrong = [line for line in lines if ' ERROR ' in line]
        for line in wrong[-_KEPT:]:
            print(f'{log.name}: {line[:300]}')


def _up(options: argparse.Namespace) -> list[str]:
    up = [str(SANDBOX), 'up']
    if options.release:
        up += ['--release', options.release]
    if options.topology:
        up += ['--topology', options.topology]
    if options.extra:
        up += ['--with', options.extra]
    if options.pci_off:
        up += ['--no-pci-in-placement']
    return up


def main(argv: list[str]) -> int:
    options = _parse(argv)
    # The sandboxes are to be taken down in any case.
    signal.signal(signal.SIGTERM, lambda *_args: sys.exit(1))
    states = [
        pathlib.Path(tempfile.mkdtemp(prefix='osc-gpu-sandbox-'))
        for _n in range(options.sandboxes)
    ]
    envs = [os.environ | {'OSC_GPU_SANDBOX_STATE': str(s)} for s in states]
    every = {'OSC_GPU_TEST_SANDBOXES': os.pathsep.join(map(str, states))}
    status, down = 0, 0
    try:
        for env in envs:
            status = status or subprocess.run(_up(options), env=env).returncode
        if not status:
            env = envs[0] if len(envs) == 1 else os.environ | every
            status = subprocess.run(options.command, env=env).returncode
    except BaseException:
        status = 1
        raise
    finally:
        for state, env in zip(states, envs, strict=True):
            if status:
                _show_errors(state)
            ended = subprocess.run([str(SANDBOX), 'down'], env=env).returncode
            down = down or ended
            if not status and not ended:
                shutil.rmtree(state)
    return status or down


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
