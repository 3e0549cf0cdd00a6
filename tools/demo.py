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

"""Start a sandbox and show the main job on it, as a person would type it.

Every command is printed, run for real, and followed by its own output. The
sandbox is left running, to go on typing.
"""

import os
import pathlib
import shlex
import subprocess
import sys

BIN = pathlib.Path(sys.executable).parent
SERVERS = ('train1', 'desk1')
FLAVORS = ('a100.1', 'vgpu.1')
#: What the admin sees of the cards; the whole of it is rather wide.
COLUMNS = ('Host', 'Device', 'Model', 'Total', 'Used', 'Free', 'Servers')


def say(text: str) -> None:
    print(f'\n# {text}', flush=True)


def run(line: str, user: str = 'admin') -> None:
    """Show a command and run it; a command that fails ends the demo."""
    print(f'$ {line}', flush=True)
    program, *words = shlex.split(line)
    env = os.environ | {'OS_CLOUD': f'sandbox-{user}'}
    done = subprocess.run([str(BIN / program), *words], env=env)
    if done.returncode:
        raise SystemExit(f'demo: that failed, exit status {done.returncode}')


def ask(*words: str, user: str = 'admin') -> str:
    """Run a command of core's quietly and return what it says."""
    done = subprocess.run(
        [str(BIN / 'openstack'), *words],
        env=os.environ | {'OS_CLOUD': f'sandbox-{user}'},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def start() -> None:
    """Start a sandbox, or take the one that runs; then clients find it."""
    say('A whole OpenStack on this machine; nothing else is needed.')
    # One that runs already is taken, if it is just like this one.
    print('$ osc-gpu-sandbox up', flush=True)
    if subprocess.run([str(BIN / 'osc-gpu-sandbox'), 'up']).returncode:
        raise SystemExit(f'demo: that failed{_what_to_do()}')
    script = subprocess.run(
        [str(BIN / 'osc-gpu-sandbox'), 'env'],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    evaluate(script.stdout)
    tidy()


def _what_to_do() -> str:
    """Return how to go on when a sandbox of another kind is in the way."""
    program = BIN / 'osc-gpu-sandbox'
    status = subprocess.run([str(program), 'status'], capture_output=True)
    if status.returncode:
        return ''
    return f'; end that sandbox first: {os.path.relpath(program)} down'


def evaluate(script: str) -> None:
    """Do what a shell does with the lines of ``env``."""
    words = shlex.split(script)
    for verb, word in zip(words[::2], words[1::2], strict=True):
        name, _, value = word.partition('=')
        if verb == 'unset':
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def tidy() -> None:
    """Take away what an earlier demo left behind."""
    names = ask('server', 'list', '-f', 'value', '-c', 'Name', user='member')
    servers = [name for name in SERVERS if name in names.split()]
    if servers:
        say('Servers of an earlier demo go first.')
        run(f'openstack server delete --wait {" ".join(servers)}', 'member')
    names = ask('flavor', 'list', '-f', 'value', '-c', 'Name')
    flavors = [name for name in FLAVORS if name in names.split()]
    if flavors:
        say('Flavors of an earlier demo go first.')
        run(f'openstack flavor delete {" ".join(flavors)}')


def main() -> None:
    start()
    say('The admin makes flavors: one with a whole card, one with a vGPU.')
    run(
        'openstack gpu flavor create a100.1 --vcpus 8 --ram 32768 --disk 40'
        ' --alias a100'
    )
    run(
        'openstack gpu flavor create vgpu.1 --vcpus 4 --ram 8192 --disk 20'
        ' --vgpu'
    )
    run('openstack gpu flavor list')

    say('A tenant launches a server of each.')
    launch = 'openstack gpu server create {} --image cirros --network private'
    run(launch.format('train1 --flavor a100.1') + ' --wait', 'member')
    run(launch.format('desk1 --gpu VGPU:1') + ' --wait', 'member')
    run('openstack gpu server list', 'member')

    say('The admin sees who holds which card.')
    run('openstack gpu server list --all-projects')
    columns = ' '.join(f'-c {column}' for column in COLUMNS)
    run(f'openstack gpu inventory list --long {columns}')

    say('How many more fit, and what stands in the way; is all well?')
    run('openstack gpu capacity list')
    run('openstack gpu capacity show a100.1')
    run('openstack gpu usage list')
    run('openstack gpu inventory check')

    say('A script asks the same and reads JSON.')
    run('openstack gpu inventory list --free --host gpu3 -f json')

    activate = os.path.relpath(BIN / 'activate')
    print(f"""
The sandbox is still running. To go on typing, as its admin:

    . {activate}
    eval "$(osc-gpu-sandbox env)"
    openstack gpu inventory list --free

as its tenant:  eval "$(osc-gpu-sandbox env --user member)"
to end it:      osc-gpu-sandbox down""")


if __name__ == '__main__':
    main()
