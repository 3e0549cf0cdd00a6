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

"""What the tests of moving servers are made of, without a cloud."""

from typing import Any

from osc_gpu.cloud import audit_model
from osc_gpu.cloud import hypervisors
from osc_gpu.cloud import marks
from osc_gpu.cloud import migration_records
from osc_gpu.cloud import migration_state
from osc_gpu.cloud import migration_steps
from osc_gpu.cloud import servers

ID = '11111111-2222-3333-4444-555555555555'
PROJECT = 'c' * 32
ALIAS = {'pci_passthrough:alias': 'a100:1'}


def server(
    status: str = 'ACTIVE',
    host: str = 'gpu1',
    *,
    task: str = '',
    specs: dict[str, str] | None = None,
    reason: str | None = None,
    **more: Any,
) -> servers.GpuServer:
    """Return a server; with a reason it is locked."""
    found = {
        'id': ID,
        'name': 'train',
        'status': status,
        'tenant_id': PROJECT,
        'flavor': {'extra_specs': ALIAS if specs is None else specs},
        'OS-EXT-SRV-ATTR:host': host,
        'OS-EXT-STS:task_state': task or None,
        'hostId': marks.digest(PROJECT, host) + 'f' * 44 if host else '',
        'locked': reason is not None,
        'locked_reason': reason,
    }
    return servers.parse(found | more)


def mark(source: str = 'gpu1', verb: str = marks.MIGRATE) -> str:
    """Return our reason of a lock."""
    return marks.write_move(
        marks.Move(verb, 'abc', marks.digest(PROJECT, source))
    )


def record(
    status: str,
    source: str = 'gpu1',
    target: str = 'gpu2',
    kind: str = 'migration',
    number: int = 1,
) -> migration_records.MigrationRecord:
    return migration_records.MigrationRecord(
        f'm-{number}', status, kind, ID, source, target, f'{number}', ''
    )


def state(
    found: servers.GpuServer | None = None,
    *records: migration_records.MigrationRecord,
    began: dict[str, bool] | None = None,
) -> migration_state.State:
    return migration_state.State(found or server(), records, began or {})


def order(**changes: Any) -> migration_steps.Order:
    wanted = {'server': server(), 'run': 'abc', 'source': 'gpu1'} | changes
    return migration_steps.Order(**wanted)


def world(*hosts: hypervisors.Hypervisor) -> audit_model.Snapshot:
    """Return a world of hosts; of gpu1, gpu2 and gpu3 if none are given."""
    hosts = hosts or tuple(host(f'gpu{n}') for n in (1, 2, 3))
    return audit_model.Snapshot(
        names={},
        providers={},
        hypervisors={h.id: h for h in hosts},
        servers={},
    )


def host(name: str, **more: Any) -> hypervisors.Hypervisor:
    known = {'id': f'root-{name}', 'name': name, 'host': name, 'is_up': True}
    return hypervisors.Hypervisor(**(known | more))
