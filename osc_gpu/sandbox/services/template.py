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

"""Make a release's template: the databases of all services, empty but synced.

Syncing takes 2 to 3 s a database, most of it imports. Done once when a
release is installed, a sandbox starts by copying some small files.
"""

from collections.abc import Callable
from concurrent import futures
import pathlib
import subprocess
import sys

from services import common

#: The cell's databases move with the sandbox: nova_all writes their real
#: addresses into the copy.
_PLACEHOLDER = 'sqlite:///placeholder'


def _url(folder: pathlib.Path, name: str) -> str:
    return f'sqlite:///{folder / name}.sqlite'


def _run(*command: object) -> None:
    program, *rest = map(str, command)
    path = pathlib.Path(sys.prefix) / 'bin' / program
    done = subprocess.run(
        [str(path), *rest],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f'{program} {" ".join(rest)} failed:\n{done.stdout}')


def _keystone(folder: pathlib.Path) -> None:
    config = common.write_config(
        folder / 'keystone.conf',
        {'database': {'connection': _url(folder, 'keystone')}},
    )
    _run('keystone-manage', '--config-file', config, 'db_sync')


def _placement(folder: pathlib.Path) -> None:
    config = common.write_config(
        folder / 'placement.conf',
        {'placement_database': {'connection': _url(folder, 'placement')}},
    )
    _run('placement-manage', '--config-file', config, 'db', 'sync')


def _glance(folder: pathlib.Path) -> None:
    config = common.write_config(
        folder / 'glance.conf',
        {'database': {'connection': _url(folder, 'glance')}},
    )
    _run('glance-manage', '--config-file', config, 'db_sync')


def _cinder(folder: pathlib.Path) -> None:
    config = common.write_config(
        folder / 'cinder.conf',
        {'database': {'connection': _url(folder, 'cinder')}},
    )
    _run('cinder-manage', '--config-file', config, 'db', 'sync')


def _neutron(folder: pathlib.Path) -> None:
    # Neutron's migrations alter constraints, which SQLite cannot.
    code = (
        'import sys, sqlalchemy\n'
        'from neutron.db.migration.models import head\n'
        'head.get_metadata().create_all(sqlalchemy.create_engine('
        'sys.argv[1]))\n'
    )
    _run('python', '-c', code, _url(folder, 'neutron'))


def _nova(folder: pathlib.Path) -> None:
    config = common.write_config(
        folder / 'nova.conf',
        {
            'DEFAULT': {'transport_url': 'fake:/'},
            'database': {'connection': _url(folder, 'nova')},
            'api_database': {'connection': _url(folder, 'nova_api')},
        },
    )

    def manage(*words: str) -> None:
        _run('nova-manage', '--config-file', config, *words)

    manage('api_db', 'sync')
    cell0 = _url(folder, 'nova_cell0')
    manage('cell_v2', 'map_cell0', '--database_connection', cell0)
    manage('db', 'sync')
    manage(
        'cell_v2', 'create_cell', '--name', 'cell1',
        '--database_connection', _PLACEHOLDER,
        '--transport-url', 'fake:/',
    )  # fmt: skip


def main() -> None:
    """Write the databases into the folder that the command line names."""
    folder = pathlib.Path(sys.argv[1]).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    makers: tuple[Callable[[pathlib.Path], None], ...] = (
        _nova,
        _neutron,
        _keystone,
        _cinder,
        _glance,
        _placement,
    )
    with futures.ThreadPoolExecutor(max_workers=2) as pool:
        for future in [pool.submit(make, folder) for make in makers]:
            future.result()


if __name__ == '__main__':
    main()
