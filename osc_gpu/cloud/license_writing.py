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

"""What is written for a license server, a request for each thing.

Nothing is tried again here: what became of a request that was not answered
is found out by the next run.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
from typing import Any

from keystoneauth1 import adapter
from openstack import exceptions as sdk_exceptions

from osc_gpu.cloud import license_model
from osc_gpu.cloud import license_plan
from osc_gpu.cloud import license_reading
from osc_gpu.cloud import license_rules
from osc_gpu.cloud import servers


def take(
    clouds: license_reading.Clouds,
    wanted: license_model.Wanted,
    step: license_plan.Step,
    there: license_model.Present,
) -> license_model.Present:
    """Take a step, in one request; return what there is then."""
    return _WRITERS[step.what](clouds, wanted, step, there)


def _make_security_group(
    clouds: license_reading.Clouds,
    wanted: license_model.Wanted,
    step: license_plan.Step,
    there: license_model.Present,
) -> license_model.Present:
    body = {
        'name': step.name,
        'project_id': clouds.project_id,
        'description': wanted.mark,
    }
    made = _post(
        clouds.neutron.network, '/security-groups', {'security_group': body}
    )
    group = license_reading.parse_security_group(made['security_group'])
    return dataclasses.replace(there, security_group=group)


def _make_rules(
    clouds: license_reading.Clouds,
    wanted: license_model.Wanted,
    step: license_plan.Step,
    there: license_model.Present,
) -> license_model.Present:
    group = _group(there)
    bodies = [license_rules.as_body(rule, group.id) for rule in step.rules]
    # Neutron makes all of them or none.
    made = _post(
        clouds.neutron.network,
        '/security-group-rules',
        {'security_group_rules': bodies},
    )
    rules = license_rules.parse(made['security_group_rules'])
    group = dataclasses.replace(group, rules=group.rules + rules)
    return dataclasses.replace(there, security_group=group)


def _make_port(
    clouds: license_reading.Clouds,
    wanted: license_model.Wanted,
    step: license_plan.Step,
    there: license_model.Present,
) -> license_model.Present:
    node = next(n for n in wanted.nodes if n.name == step.name)
    body: dict[str, Any] = {
        'name': node.name,
        'project_id': clouds.project_id,
        'network_id': wanted.network_id,
        'description': wanted.mark,
        # Nova leaves those of a port alone that is there already.
        'security_groups': [_group(there).id],
    }
    if node.mac_address:
        body['mac_address'] = node.mac_address
    if node.fixed_ip:
        body['fixed_ips'] = [{'ip_address': node.fixed_ip}]
    made = _post(clouds.neutron.network, '/ports', {'port': body})
    return _with_port(there, license_reading.parse_port(made['port']))


def _join_security_group(
    clouds: license_reading.Clouds,
    wanted: license_model.Wanted,
    step: license_plan.Step,
    there: license_model.Present,
) -> license_model.Present:
    port = there.ports[step.name]
    groups = [*port.security_groups, _group(there).id]
    response = clouds.neutron.network.put(
        f'/ports/{port.id}',
        json={'port': {'security_groups': groups}},
        connect_retries=0,
    )
    sdk_exceptions.raise_from_response(response)
    made = response.json()['port']
    return _with_port(there, license_reading.parse_port(made))


def _make_server_group(
    clouds: license_reading.Clouds,
    wanted: license_model.Wanted,
    step: license_plan.Step,
    there: license_model.Present,
) -> license_model.Present:
    body = {'name': step.name, 'policy': license_plan.POLICY}
    made = _post(
        clouds.nova.compute,
        '/os-server-groups',
        {'server_group': body},
        license_reading.GROUPS,
    )
    group = license_reading.parse_server_group(made['server_group'])
    return dataclasses.replace(there, server_group=group)


def _make_server(
    clouds: license_reading.Clouds,
    wanted: license_model.Wanted,
    step: license_plan.Step,
    there: license_model.Present,
) -> license_model.Present:
    body: dict[str, Any] = {
        'name': step.name,
        'description': wanted.mark,
        'flavorRef': wanted.flavor.id,
        'imageRef': wanted.image_id,
        'networks': [{'port': there.ports[step.name].id}],
    }
    if wanted.key_name:
        body['key_name'] = wanted.key_name
    if there.server_group is None:
        raise ValueError('a server is made before its server group')
    made = _post(
        clouds.nova.compute,
        '/servers',
        {
            'server': body,
            'os:scheduler_hints': {'group': there.server_group.id},
        },
        servers.MICROVERSION,
    )
    server = license_model.Server(
        id=made['server']['id'],
        name=step.name,
        status='BUILD',
        flavor=wanted.flavor.name,
        image_id=wanted.image_id,
    )
    return dataclasses.replace(
        there, servers={**there.servers, server.name: server}
    )


_Writer = Callable[
    [
        license_reading.Clouds,
        license_model.Wanted,
        license_plan.Step,
        license_model.Present,
    ],
    license_model.Present,
]

_WRITERS: Mapping[str, _Writer] = {
    license_plan.SECURITY_GROUP: _make_security_group,
    license_plan.RULES: _make_rules,
    license_plan.PORT: _make_port,
    license_plan.MEMBERSHIP: _join_security_group,
    license_plan.SERVER_GROUP: _make_server_group,
    license_plan.SERVER: _make_server,
}


def _group(there: license_model.Present) -> license_model.SecurityGroup:
    if there.security_group is None:
        raise ValueError('something is made before its security group')
    return there.security_group


def _with_port(
    there: license_model.Present, port: license_model.Port
) -> license_model.Present:
    return dataclasses.replace(there, ports={**there.ports, port.name: port})


def _post(
    service: adapter.Adapter,
    path: str,
    body: Mapping[str, Any],
    microversion: str | None = None,
) -> Any:
    # The SDK of 2025.1 repeats a request whose connection was cut, which
    # would make things twice.
    response = service.post(
        path, json=body, microversion=microversion, connect_retries=0
    )
    sdk_exceptions.raise_from_response(response)
    return response.json()
